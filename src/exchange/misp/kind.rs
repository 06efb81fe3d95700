//! Types of attributes, and the STIX patterns that say what they say.

use super::super::pattern;
use super::super::refang::refang;
use super::super::tally::quote;
use super::super::value::Value;
use std::borrow::Cow;

/// What a sensor looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen<'a> {
    /// Its STIX pattern.
    pub(super) pattern: Cow<'a, str>,
    /// Whether names below its own are meant as well.
    pub(super) subdomains: bool,
    /// Whether the attribute names a port that the pattern does not.
    pub(super) without_port: bool,
}

/// Why an attribute gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// No sensor on the wire sees such a thing, or this one does not.
    Unseeable(String),
    /// The value is none of its type.
    Broken(String),
}

/// Types that are no use, though one could think so, and why.
const EXPLAINED: [(&str, &str); 11] = [
    ("AS", "a whole network of networks is context"),
    ("community-id", "the flow it names is over"),
    ("http-method", "a method alone is in every request"),
    ("jarm-fingerprint", "needs a scan of the server"),
    ("mac-address", "is seen within its own network alone"),
    ("pattern-in-traffic", "bytes alone are not searched for"),
    ("port", "a port alone is in all traffic"),
    ("sigma", "rules of other engines are not read"),
    ("snort", "rules of other engines are not read"),
    ("whois-registrant-email", "is in no traffic"),
    ("yara", "rules of other engines are not read"),
];

/// What an attribute of this type and value asks for.
pub(super) fn read<'a>(kind: &str, value: &'a str) -> Result<Seen<'a>, Miss> {
    let value = value.trim();
    let broken = || Miss::Broken(format!("{} is no {}", quote(value), quote(kind)));
    let plain = |pattern: String| {
        Ok(Seen {
            pattern: Cow::Owned(pattern),
            ..Seen::default()
        })
    };
    let equal = |path: &str| plain(pattern::equal(path, value));
    if value.is_empty() {
        return Err(broken());
    }
    match kind {
        "ip-src" | "ip-dst" => plain(address(value).ok_or_else(broken)?.pattern()),
        "ip-src|port" => plain(endpoint("src", value).ok_or_else(broken)?),
        "ip-dst|port" => plain(endpoint("dst", value).ok_or_else(broken)?),
        "domain" | "hostname" => {
            let (name, wildcard) = name(value).ok_or_else(broken)?;
            Ok(Seen {
                pattern: Cow::Owned(name),
                subdomains: wildcard || kind == "domain",
                without_port: false,
            })
        }
        "hostname|port" => {
            let (text, _) = halves(value).ok_or_else(broken)?;
            let (name, wildcard) = name(text).ok_or_else(broken)?;
            Ok(Seen {
                pattern: Cow::Owned(name),
                subdomains: wildcard,
                without_port: true,
            })
        }
        "domain|ip" => {
            // either half alone counts
            let (domain, host) = value.split_once('|').ok_or_else(broken)?;
            let (Value::Name { name, .. }, Some(address)) =
                (parse(domain).ok_or_else(broken)?, address(host))
            else {
                return Err(broken());
            };
            let address = address.pattern();
            let address = address.trim_start_matches('[').trim_end_matches(']');
            Ok(Seen {
                pattern: Cow::Owned(format!("[domain-name:value = '{name}' OR {address}]")),
                subdomains: true,
                without_port: false,
            })
        }
        "url" => url(value),
        "uri" if value.contains("://") => url(value),
        "uri" if value.starts_with('/') => equal(pattern::REQUEST_VALUE),
        "uri" => plain(pattern::equal(pattern::REQUEST_VALUE, &format!("/{value}"))),
        "md5" | "sha1" | "sha256" => plain(hash(kind, value).ok_or_else(broken)?),
        "filename|md5" | "filename|sha1" | "filename|sha256" | "malware-sample" => {
            // file names may hold the bar, hashes do not
            let (_, digits) = value.rsplit_once('|').ok_or_else(broken)?;
            let algorithm = kind.strip_prefix("filename|").unwrap_or("md5");
            plain(hash(algorithm, digits.trim()).ok_or_else(broken)?)
        }
        "filename" | "email-attachment" => equal("file:name"),
        "x509-fingerprint-md5" | "x509-fingerprint-sha1" | "x509-fingerprint-sha256" => {
            let (pattern, digits) = pattern::certificate(value).ok_or_else(broken)?;
            let length = match kind {
                "x509-fingerprint-md5" => 32,
                "x509-fingerprint-sha1" => 40,
                _ => 64,
            };
            if digits.len() != length {
                return Err(broken());
            }
            plain(pattern)
        }
        "ja3-fingerprint-md5" => fingerprint("x_ja3_hash", value).ok_or_else(broken),
        "hassh-md5" => fingerprint("x_hassh", value).ok_or_else(broken),
        "hasshserver-md5" => fingerprint("x_hassh_server", value).ok_or_else(broken),
        "ja4-fingerprint" | "ja4" => equal("network-traffic:x_ja4"),
        "user-agent" => equal(pattern::USER_AGENT),
        "cookie" => equal(pattern::COOKIE),
        "email" | "email-src" | "email-dst" | "email-reply-to" => match parse(value) {
            Some(mail @ Value::Mail(_)) => plain(mail.pattern()),
            _ => Err(broken()),
        },
        "email-subject" => equal("email-message:subject"),
        "email-x-mailer" => equal("email-message:additional_header_fields.'X-Mailer'"),
        "email-message-id" => equal("email-message:message_id"),
        "email-src-display-name" | "email-dst-display-name" => equal("email-addr:display_name"),
        "stix2-pattern" => Ok(Seen {
            pattern: Cow::Borrowed(value),
            ..Seen::default()
        }),
        _ => {
            let explained = EXPLAINED.iter().find(|(name, _)| *name == kind);
            let kind = quote(kind);
            Err(Miss::Unseeable(match explained {
                Some((_, why)) => format!("MISP type {kind}: {why}"),
                None => format!("MISP type {kind}"),
            }))
        }
    }
}

fn parse(value: &str) -> Option<Value> {
    Value::parse(value).ok().map(|(value, _)| value)
}

fn address(value: &str) -> Option<Value> {
    parse(value).filter(|value| matches!(value, Value::Address(_) | Value::Network(_)))
}

/// The pattern of a name, and whether it is written with a wildcard.
fn name(value: &str) -> Option<(String, bool)> {
    match parse(value)? {
        name @ Value::Name { .. } => Some((name.pattern(), name.subdomains())),
        _ => None,
    }
}

/// `host|port`, in older data `host:port`; of IPv6, which has colons of its own, the former alone.
fn halves(value: &str) -> Option<(&str, u16)> {
    let (host, port) = match value.rsplit_once('|') {
        Some(halves) => halves,
        None => value.rsplit_once(':').filter(|(host, _)| {
            !host.contains(':') || host.starts_with('[') && host.ends_with(']')
        })?,
    };
    let port = port.trim().parse().ok().filter(|port| *port != 0)?;
    Some((host.trim(), port))
}

fn endpoint(side: &str, value: &str) -> Option<String> {
    let (host, port) = halves(value)?;
    let host = match address(host)? {
        Value::Address(address) => address.to_string(),
        Value::Network(network) => network.to_string(),
        _ => return None,
    };
    Some(format!(
        "[network-traffic:{side}_ref.value = '{host}' AND network-traffic:{side}_port = {port}]"
    ))
}

fn url(value: &str) -> Result<Seen<'_>, Miss> {
    let url = refang(value);
    let scheme = url
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    if url.contains(char::is_control) {
        return Err(Miss::Broken(format!("{} is no 'url'", quote(value))));
    }
    match scheme.as_deref() {
        // without a scheme it is one of http
        None | Some("http" | "https" | "ftp") => Ok(Seen {
            pattern: Cow::Owned(pattern::equal("url:value", &url)),
            ..Seen::default()
        }),
        Some(_) => Err(Miss::Unseeable(
            "MISP type 'url': its scheme is neither http, https nor ftp".to_owned(),
        )),
    }
}

fn hash(algorithm: &str, digits: &str) -> Option<String> {
    let length = match algorithm {
        "md5" => 32,
        "sha1" => 40,
        _ => 64,
    };
    match parse(digits)? {
        hash @ Value::Hash(..) if digits.len() == length => Some(hash.pattern()),
        _ => None,
    }
}

fn fingerprint(property: &str, value: &str) -> Option<Seen<'static>> {
    match parse(value)? {
        Value::Hash("MD5", digits) => Some(Seen {
            pattern: Cow::Owned(pattern::equal(
                &format!("network-traffic:{property}"),
                &digits,
            )),
            ..Seen::default()
        }),
        _ => None,
    }
}
