//! One `[[exchange]]`.

use super::Action;
use super::ClientCertificate;
use super::Credentials;
use super::Exchange;
use super::Kind;
use super::Limits;
use super::MispQuery;
use super::Tls;
use super::error::ConfigError;
use super::key;
use super::parts::values;
use super::reader::Field;
use super::reader::Section;
use super::secret::SecretSource;
use super::value;
use super::value::INTERVALS;
use super::value::LIVES;
use super::value::Reach;
use super::value::Url;
use crate::indicator::Tlp;
use crate::verdict::marking;
use crate::verdict::quoted;
use crate::verdict::unknown;
use std::path::PathBuf;
use std::time::Duration;

/// As often as partners change their sets, and no burden to a server.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// Sightings of what anybody may know go back; all else only where somebody says so.
const DEFAULT_SHARE: [Option<Tlp>; 2] = [Some(Tlp::Clear), Some(Tlp::Green)];

/// Age of events that a MISP is asked for: of all ages, a large one gives years of noise.
const DEFAULT_LAST: Duration = Duration::from_secs(30 * 86_400);

/// A set that changes by more is likelier a mistake at the other end; small sets change by much.
const DEFAULT_LIMITS: Limits = Limits {
    shrink_percent: 50,
    grow_factor: 10,
    at_least: 100,
    max_bytes: 1 << 30,
    max_objects: 5_000_000,
};

/// Most that `grow_factor` can be: more is no limit at all.
const MOST_GROWTH: u32 = 1_000_000;

/// Most bytes of a pull that can be asked for: a disk's worth.
const MOST_BYTES: u64 = 1 << 40;

/// Most objects that can be asked for: ordinals of the compiled set have 32 bits.
const MOST_OBJECTS: u64 = 1 << 31;

/// An exchange before it is held against the others.
pub(super) struct Draft {
    pub(super) exchange: Exchange,
    /// Offset of its name.
    pub(super) name_offset: usize,
    /// As in the exchange, with places.
    pub(super) also_share_to: Vec<Field<String>>,
}

/// Reads an exchange.
pub(super) fn read(
    mut section: Section<'_>,
    warnings: &mut Vec<String>,
) -> Result<Draft, ConfigError> {
    let source = section.source();
    let kind = read_kind_word(&mut section)?;
    let name = section.text("name", value::exchange_name)?;
    let name = section.require(name, "name", "partner")?;
    let web = match kind {
        "folder" => None,
        _ => Some(read_web(&mut section, kind, warnings)?),
    };
    let kind = match (kind, &web) {
        ("taxii", Some(web)) => Kind::Taxii {
            url: web.url.clone(),
            collections: values(section.texts("collections", value::title)?),
            sightings: Field::value(section.text("sightings", value::title)?),
        },
        ("misp", Some(web)) => Kind::Misp {
            url: web.url.clone(),
            query: read_query(section.part("query", "query")?)?,
            sightings: Field::value(section.flag("sightings")?).unwrap_or(false),
        },
        ("misp-feed", Some(web)) => Kind::MispFeed {
            url: web.url.clone(),
        },
        (_, Some(web)) => Kind::Url {
            url: web.url.clone(),
        },
        (_, None) => {
            let path = section.text("path", value::path)?;
            let path = section.require(path, "path", "/var/lib/lists/partner")?;
            let path = source.absolute(path.value);
            Kind::Folder { path }
        }
    };
    let interval = section.text("interval", |text| INTERVALS.read(text))?;
    let actions = [("report", Action::Report), ("block", Action::Block)];
    let action = section.word("action", &actions)?.unwrap_or(Action::Report);
    let confidence = Field::value(section.number("confidence", 0..=100)?);
    let share = section.texts("share", marking)?;
    let also_share_to = section.texts("also_share_to", value::exchange_name)?;
    let also_share_to = also_share_to.unwrap_or_default();
    let expire_after = Field::value(section.text("expire_after", |text| LIVES.read(text))?);
    let limits = read_limits(&mut section)?;
    let mut exchange = Exchange {
        name: name.value,
        kind,
        credentials: Credentials::None,
        tls: Tls::default(),
        allow_clear: false,
        interval: Field::value(interval).unwrap_or(DEFAULT_INTERVAL),
        action,
        confidence,
        share: match share {
            Some(_) => values(share),
            None => DEFAULT_SHARE.to_vec(),
        },
        also_share_to: also_share_to
            .iter()
            .map(|field| field.value.clone())
            .collect(),
        expire_after,
        limits,
    };
    if let Some(web) = web {
        exchange.credentials = web.credentials;
        exchange.tls = web.tls;
        exchange.allow_clear = web.allow_clear;
    }
    warn(&section, &exchange, warnings);
    Ok(Draft {
        exchange,
        name_offset: name.offset,
        also_share_to,
    })
}

/// Reads what kind it is, and refuses keys of other kinds.
fn read_kind_word(section: &mut Section<'_>) -> Result<&'static str, ConfigError> {
    let kind = section.text("kind", |text| {
        let found = key::KINDS.into_iter().find(|kind| *kind == text);
        found.ok_or_else(|| unknown("value", text, &key::KINDS))
    })?;
    let Some(kind) = kind else {
        let all = key::EXCHANGE.map(|(key, _)| key);
        section.check_keys(&all, |_| None)?;
        return Err(section.wrong(format!(
            "[[exchange]] has no kind: write kind = \"{}\"",
            key::KINDS.join("\" or \"")
        )));
    };
    let kind = kind.value;
    section.check_keys(&key::keys_of(kind), |name| {
        let kinds = key::kinds_of(name)?;
        Some(format!(
            "`{name}` belongs to kind = \"{}\"; this exchange is \"{kind}\"",
            kinds.join("\", \"")
        ))
    })?;
    Ok(kind)
}

/// What all exchanges have that are asked by HTTP.
struct Web {
    url: Url,
    credentials: Credentials,
    tls: Tls,
    allow_clear: bool,
}

fn read_web(
    section: &mut Section<'_>,
    kind: &str,
    warnings: &mut Vec<String>,
) -> Result<Web, ConfigError> {
    let source = section.source();
    let url = section.text("url", value::url)?;
    let url = section.require(url, "url", "https://…")?;
    let insecure = section.flag("insecure_http")?;
    let allow_clear = insecure.as_ref().is_some_and(|insecure| insecure.value);
    let (address, reach) = url.value;
    let credentials = read_credentials(section, kind)?;
    match (reach, insecure) {
        (Reach::Clear, _) if !allow_clear => {
            let problem = format!(
                "url: {} is not encrypted: anybody on the way can change what is blocked; write \
                 https://, or insecure_http = true if there is no other way",
                quoted(&address.to_string())
            );
            return Err(source.at(url.offset, problem));
        }
        (Reach::Clear, _) => {
            let what = match credentials {
                Credentials::None => "indicators",
                _ => "indicators and the secret to sign in",
            };
            let text = format!("insecure_http: {what} cross the network in the clear");
            warnings.push(source.warning(url.offset, text));
        }
        (Reach::Safe, Some(insecure)) if insecure.value => {
            let text = "insecure_http = true is not needed by this url: leave it out, so that no \
                        redirect leads to one in the clear";
            warnings.push(source.warning(insecure.offset, text));
        }
        (Reach::Safe, _) => {}
    }
    Ok(Web {
        url: address,
        credentials,
        tls: read_tls(section)?,
        allow_clear,
    })
}

fn read_credentials(section: &mut Section<'_>, kind: &str) -> Result<Credentials, ConfigError> {
    let source = section.source();
    let username = section.text("username", value::username)?;
    let password = section.secret(["password_file", "password_env", "password_credential"])?;
    let token = section.secret(["token_file", "token_env", "token_credential"])?;
    if kind == "misp" {
        let token: Field<SecretSource> =
            section.require(token, "token_file", "/etc/watchpost/misp.key")?;
        return Ok(Credentials::Key { token: token.value });
    }
    match (username, password, token) {
        (None, None, None) => Ok(Credentials::None),
        (None, None, Some(token)) => Ok(Credentials::Bearer { token: token.value }),
        (Some(username), Some(password), None) => Ok(Credentials::Basic {
            username: username.value,
            password: password.value,
        }),
        (Some(username), None, None) => Err(source.at(
            username.offset,
            "username needs a password: write password_file, password_env or password_credential",
        )),
        (None, Some(password), None) => Err(source.at(
            password.offset,
            "a password needs a username: write username = \"sensor\"",
        )),
        (username, password, Some(token)) => {
            let others = [username.map(|f| f.offset), password.map(|f| f.offset)];
            let last = others.into_iter().flatten().chain([token.offset]).max();
            Err(source.at(
                last.unwrap_or(token.offset),
                "a password and a token: sign in with one of the two",
            ))
        }
    }
}

fn read_tls(section: &mut Section<'_>) -> Result<Tls, ConfigError> {
    let source = section.source();
    let certificate = section.text("client_certificate", value::path)?;
    let key = section.text("client_key", value::path)?;
    let ca = section.text("ca", value::path)?;
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(ClientCertificate {
            certificate: source.absolute(certificate.value),
            key: source.absolute(key.value),
        }),
        (None, None) => None,
        (Some(certificate), None) => {
            let problem = "client_certificate needs its key: write client_key = \"PATH\"";
            return Err(source.at(certificate.offset, problem));
        }
        (None, Some(key)) => {
            let problem = "client_key needs its certificate: write client_certificate = \"PATH\"";
            return Err(source.at(key.offset, problem));
        }
    };
    let ca: Option<PathBuf> = Field::value(ca).map(|path| source.absolute(path));
    Ok(Tls { client, ca })
}

fn read_query(mut section: Section<'_>) -> Result<MispQuery, ConfigError> {
    section.check_keys(&key::QUERY, |_| None)?;
    let last = section.text("last", |text| match text {
        "all" => Ok(None),
        _ => LIVES.read(text).map(Some),
    })?;
    Ok(MispQuery {
        tags: values(section.texts("tags", value::title)?),
        types: values(section.texts("types", value::attribute_type)?),
        to_ids: Field::value(section.flag("to_ids")?).unwrap_or(true),
        published: Field::value(section.flag("published")?).unwrap_or(true),
        last: Field::value(last).unwrap_or(Some(DEFAULT_LAST)),
    })
}

fn read_limits(section: &mut Section<'_>) -> Result<Limits, ConfigError> {
    let mut section = section.part("limits", "limits")?;
    section.check_keys(&key::LIMITS, |_| None)?;
    let shrink_percent = section.number("shrink_percent", 1..=100)?;
    let grow_factor = section.number("grow_factor", 2..=MOST_GROWTH)?;
    let at_least = section.number("at_least", 0..=MOST_OBJECTS)?;
    let max_bytes = section.number("max_bytes", 1..=MOST_BYTES)?;
    let max_objects = section.number("max_objects", 1..=MOST_OBJECTS)?;
    let default = DEFAULT_LIMITS;
    Ok(Limits {
        shrink_percent: Field::value(shrink_percent).unwrap_or(default.shrink_percent),
        grow_factor: Field::value(grow_factor).unwrap_or(default.grow_factor),
        at_least: Field::value(at_least).unwrap_or(default.at_least),
        max_bytes: Field::value(max_bytes).unwrap_or(default.max_bytes),
        max_objects: Field::value(max_objects).unwrap_or(default.max_objects),
    })
}

/// What is allowed and likely not meant.
fn warn(section: &Section<'_>, exchange: &Exchange, warnings: &mut Vec<String>) {
    let mut tell = |text: String| {
        let text = format!("exchange {}: {text}", exchange.name);
        warnings.push(section.source().warning(section.offset(), text));
    };
    let sends = exchange.takes_sightings() || !exchange.also_share_to.is_empty();
    if sends && exchange.share.is_empty() {
        tell("share is empty: no sighting of its indicators leaves".to_owned());
    }
    for level in [Tlp::AmberStrict, Tlp::Red] {
        if exchange.share.contains(&Some(level)) && !exchange.also_share_to.is_empty() {
            tell(format!(
                "share has {level}, and also_share_to sends what it allows to others than those \
                 who marked it"
            ));
        }
    }
}
