//! The keys of the file, part by part: what the reader accepts and docs/watchpost.toml explains.

/// Kinds of exchanges, as `kind` names them.
pub(super) const KINDS: [&str; 5] = ["taxii", "misp", "misp-feed", "url", "folder"];

/// Kinds that are asked by HTTP.
const WEB: &[&str] = &["taxii", "misp", "misp-feed", "url"];

/// Kinds that take a user and a password; MISP takes the key of an account alone.
const BASIC: &[&str] = &["taxii", "misp-feed", "url"];

/// The parts of the file.
pub(super) const TOP: [&str; 5] = ["sensor", "rules", "exchange", "privacy", "block"];

pub(super) const SENSOR: [&str; 5] = ["name", "organisation", "state", "interfaces", "internal"];

pub(super) const RULES: [&str; 1] = ["paths"];

/// Keys of an exchange, and the kinds that have them.
pub(super) const EXCHANGE: [(&str, &[&str]); 25] = [
    ("name", &KINDS),
    ("kind", &KINDS),
    ("url", WEB),
    ("path", &["folder"]),
    ("collections", &["taxii"]),
    ("sightings", &["taxii", "misp"]),
    ("query", &["misp"]),
    ("username", BASIC),
    ("password_file", BASIC),
    ("password_env", BASIC),
    ("password_credential", BASIC),
    ("token_file", WEB),
    ("token_env", WEB),
    ("token_credential", WEB),
    ("client_certificate", WEB),
    ("client_key", WEB),
    ("ca", WEB),
    ("insecure_http", WEB),
    ("interval", &KINDS),
    ("action", &KINDS),
    ("confidence", &KINDS),
    ("share", &KINDS),
    ("also_share_to", &KINDS),
    ("expire_after", &KINDS),
    ("limits", &KINDS),
];

pub(super) const QUERY: [&str; 5] = ["tags", "types", "to_ids", "published", "last"];

pub(super) const LIMITS: [&str; 5] = [
    "shrink_percent",
    "grow_factor",
    "at_least",
    "max_bytes",
    "max_objects",
];

pub(super) const PRIVACY: [&str; 9] = [
    "addresses",
    "prefix_v4",
    "prefix_v6",
    "pseudonym_key_file",
    "pseudonym_key_env",
    "pseudonym_key_credential",
    "names",
    "internal_domains",
    "window",
];

pub(super) const BLOCK: [&str; 6] = [
    "enforce",
    "never",
    "lease",
    "widest_ipv4",
    "widest_ipv6",
    "max_add",
];

/// Names under which people write a secret into the file itself.
pub(super) const LITERAL_SECRETS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "token",
    "bearer",
    "key",
    "apikey",
    "api_key",
    "authkey",
    "auth_key",
    "secret",
    "pseudonym_key",
];

/// The part that a key belongs to; `None`: no key, or one of several parts.
pub(super) fn part_of(key: &str) -> Option<&'static str> {
    let exchange = EXCHANGE.map(|(name, _)| name);
    let parts = [
        ("[sensor]", &SENSOR[..]),
        ("[rules]", &RULES),
        ("[[exchange]]", &exchange),
        ("query, as in query.tags", &QUERY),
        ("limits, as in limits.max_bytes", &LIMITS),
        ("[privacy]", &PRIVACY),
        ("[block]", &BLOCK),
    ];
    let mut having = parts.into_iter().filter(|(_, keys)| keys.contains(&key));
    match (having.next(), having.next()) {
        (Some((part, _)), None) => Some(part),
        _ => None,
    }
}

/// The kinds that have a key of an exchange; `None`: no such key.
pub(super) fn kinds_of(key: &str) -> Option<&'static [&'static str]> {
    EXCHANGE
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, kinds)| *kinds)
}

/// The keys that a kind of exchange has.
pub(super) fn keys_of(kind: &str) -> Vec<&'static str> {
    EXCHANGE
        .iter()
        .filter(|(_, kinds)| kinds.contains(&kind))
        .map(|(name, _)| *name)
        .collect()
}
