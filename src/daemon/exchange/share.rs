//! From matches to parcels: what leaves, and to whom.

use crate::config::Addresses;
use crate::config::Config;
use crate::config::Kind;
use crate::config::Names;
use crate::config::SecretError;
use crate::indicator::Details;
use crate::indicator::Tlp;
use crate::matcher::Match;
use crate::sighting;
use crate::sighting::Destination;
use crate::sighting::Held;
use crate::sighting::Object;
use crate::sighting::Privacy;
use crate::sighting::Pseudonyms;
use crate::sighting::Reporter;
use crate::sighting::Sightings;
use crate::sighting::UnsuitableKey;
use crate::sighting::may_go;
use crate::store::Parcel;
use crate::store::Refuted;
use crate::store::RefutedEntry;
use crate::time::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;
use sha2::Digest as _;
use sha2::Sha256;

/// Why nothing can be shared.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The key of pseudonyms cannot be read.
    #[error("[privacy] key: {0}")]
    Secret(#[from] SecretError),
    /// Or not used.
    #[error("[privacy] key: {0}")]
    Key(#[from] UnsuitableKey),
}

/// What a parcel says, as its body in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saying {
    /// The indicator's id.
    pub indicator: String,
    /// What of it.
    pub says: Says,
    /// In STIX 2.1: what is said last, behind all that it refers to.
    pub objects: Vec<Value>,
    /// What decides whether it may go.
    pub terms: Terms,
}

/// What was so when a saying was made: it goes only if the configuration of the day agrees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The exchange that gave the indicator.
    pub source: String,
    /// The indicator's marking.
    pub tlp: Option<Tlp>,
    /// Its labels.
    pub labels: Vec<String>,
    /// Where the exchange was that it is for; empty: on no server.
    pub to: String,
    /// A digest of the privacy policy.
    pub privacy: String,
}

/// What can be said of an indicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It was seen.
    Seen {
        /// So many times.
        count: u64,
        /// From then on.
        first: Timestamp,
        /// Last then.
        last: Timestamp,
    },
    /// An operator calls it false, and said so then.
    False {
        /// When.
        at: Timestamp,
    },
}

/// A sighting, and where it goes.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The id of what is said.
    pub id: String,
    /// The exchange.
    pub exchange: String,
    /// What is said; the same for every exchange.
    pub saying: Saying,
    /// Why it does not go; `None`: it does.
    pub held: Option<Held>,
    /// The indicator's name; `None` where it has none.
    pub name: Option<String>,
}

impl Planned {
    /// The parcel that it is, put at this time.
    pub fn parcel(&self, queued: Timestamp) -> Parcel {
        Parcel {
            id: self.id.clone(),
            exchange: self.exchange.clone(),
            queued,
            // every key is a string here, so that this does not fail
            body: serde_json::to_vec(&self.saying).unwrap_or_default(),
        }
    }
}

/// Gathers matches as sightings that may leave.
#[derive(Debug)]
pub struct Sharing {
    sightings: Sightings,
    reporter: Reporter,
    config: Config,
}

impl Sharing {
    /// By the configuration's policy.
    ///
    /// # Errors
    /// When a key that the policy needs cannot be read.
    pub fn new(config: &Config) -> Result<Self, ShareError> {
        Ok(Self {
            sightings: Sightings::to_share(privacy(config)?),
            reporter: reporter(config),
            config: config.clone(),
        })
    }

    /// Whether nothing was gathered.
    pub fn is_empty(&self) -> bool {
        self.sightings.is_empty()
    }

    /// Adds a match.
    pub fn record(&mut self, found: &Match, allowlisted: bool) {
        self.sightings.record(found, allowlisted);
    }

    /// Everything that was gathered, for each exchange: what goes to it, and what does not and
    /// why. What no policy lets go anywhere but to its own source is not named for the others.
    pub fn plan(&self, details: &mut dyn FnMut(u32) -> Details) -> Vec<Planned> {
        let mut planned = Vec::new();
        let (reporter, config) = (&self.reporter, &self.config);
        self.sightings
            .each(reporter, details, &mut |details, allowlisted, objects| {
                let Some((id, saying)) = seen(details, &objects) else {
                    return;
                };
                planned.extend(plan(config, details, allowlisted, &id, &saying));
            });
        planned
    }
}

/// What is said of an indicator that an operator calls false, for each exchange.
pub fn plan_refutation(config: &Config, details: &Details, entry: &RefutedEntry) -> Vec<Planned> {
    let objects = sighting::refute(&reporter(config), details, entry.at, &entry.why);
    let Some(last) = objects.last() else {
        return Vec::new();
    };
    let id = last.id().to_owned();
    let saying = Saying {
        indicator: details.id.clone(),
        says: Says::False { at: entry.at },
        objects: values(&objects),
        terms: Terms::default(),
    };
    plan(config, details, false, &id, &saying)
}

/// The id of a bundle of these objects.
pub fn bundle_id(objects: &[Value]) -> String {
    let ids = objects.iter().filter_map(|o| o.get("id")?.as_str());
    sighting::bundle_id(ids)
}

/// Whether a saying that waits for an exchange may still go there.
///
/// # Errors
/// Why it may not: it is withdrawn then.
pub fn still_goes(
    config: &Config,
    refuted: &Refuted,
    exchange: &str,
    saying: &Saying,
) -> Result<(), String> {
    let terms = &saying.terms;
    let destinations = destinations(config);
    let to = destinations
        .iter()
        .find(|destination| destination.name == exchange)
        .ok_or("the configuration names no such exchange any more")?;
    if terms.to != address_of(config, exchange) {
        return Err("the exchange is at another address now".into());
    }
    let details = Details {
        source: terms.source.clone(),
        tlp: terms.tlp,
        labels: terms.labels.clone(),
        ..Details::default()
    };
    may_go(&details, false, to).map_err(|held| held.to_string())?;
    if matches!(saying.says, Says::Seen { .. }) {
        if refuted.get(&saying.indicator).is_some() {
            return Err("an operator called the indicator false".into());
        }
        if terms.privacy != privacy_digest(config) {
            return Err("it was made under another [privacy]".into());
        }
    }
    Ok(())
}

/// The address of an exchange, without what may be secret; empty where it has none.
fn address_of(config: &Config, exchange: &str) -> String {
    let of = config.exchanges.iter().find(|e| e.name == exchange);
    let url = of.and_then(|exchange| exchange.kind.url());
    url.map(ToString::to_string).unwrap_or_default()
}

/// Tells one privacy policy from another. Keys are named by their places, not by themselves.
fn privacy_digest(config: &Config) -> String {
    // networks of the host come and go, and only a running sensor knows them
    let internal = (!config.sensor.internal_by_host).then_some(&config.sensor.internal);
    let policy = (
        &config.privacy.addresses,
        config.privacy.names,
        &config.privacy.internal_domains,
        internal,
    );
    let digest = Sha256::digest(format!("{policy:?}"));
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// Who says it.
pub fn reporter(config: &Config) -> Reporter {
    Reporter {
        name: config.sensor.name.clone(),
        organisation: config.sensor.organisation.clone(),
    }
}

fn plan(
    config: &Config,
    details: &Details,
    allowlisted: bool,
    id: &str,
    saying: &Saying,
) -> Vec<Planned> {
    let mut planned = Vec::new();
    for destination in destinations(config) {
        let held = may_go(details, allowlisted, &destination).err();
        if held == Some(Held::OtherSource) {
            continue;
        }
        planned.push(Planned {
            id: id.to_owned(),
            exchange: destination.name.clone(),
            saying: Saying {
                terms: Terms {
                    source: details.source.clone(),
                    tlp: details.tlp,
                    labels: details.labels.clone(),
                    to: address_of(config, &destination.name),
                    privacy: privacy_digest(config),
                },
                ..saying.clone()
            },
            held,
            name: details.name.clone(),
        });
    }
    planned
}

/// The id of a sighting, which is the last of the objects, and what it says.
fn seen(details: &Details, objects: &[Object]) -> Option<(String, Saying)> {
    let sighting = objects.last()?;
    let time = |name| {
        let text = sighting.property(name)?.as_str()?;
        Timestamp::parse_rfc3339(text)
    };
    let saying = Saying {
        indicator: details.id.clone(),
        says: Says::Seen {
            count: sighting.property("count")?.as_u64()?,
            first: time("first_seen")?,
            last: time("last_seen")?,
        },
        objects: values(objects),
        terms: Terms::default(),
    };
    Some((sighting.id().to_owned(), saying))
}

fn values(objects: &[Object]) -> Vec<Value> {
    let values = objects.iter().map(serde_json::to_value);
    // every key is a string here, so that none fails
    values.filter_map(Result::ok).collect()
}

fn destinations(config: &Config) -> Vec<Destination> {
    let also_from = |name: &String| {
        let from = config.exchanges.iter();
        from.filter(|other| other.also_share_to.contains(name))
            .map(|other| (other.name.clone(), other.share.clone()))
            .collect()
    };
    config
        .exchanges
        .iter()
        .map(|exchange| Destination {
            name: exchange.name.clone(),
            takes_sightings: exchange.takes_sightings(),
            markings: exchange.share.clone(),
            // a MISP knows sightings of its own attributes alone
            also_from: match exchange.kind {
                Kind::Misp { .. } => Vec::new(),
                _ => also_from(&exchange.name),
            },
        })
        .collect()
}

fn privacy(config: &Config) -> Result<Privacy, ShareError> {
    let addresses = match &config.privacy.addresses {
        Addresses::Omit => sighting::Addresses::Omit,
        Addresses::Keep => sighting::Addresses::Keep,
        Addresses::Prefix { v4, v6 } => sighting::Addresses::Prefix { v4: *v4, v6: *v6 },
        Addresses::Pseudonym { key } => {
            let secret = key.read()?.secret;
            let pseudonyms = Pseudonyms::new(secret.expose().as_bytes())?;
            sighting::Addresses::Pseudonym(pseudonyms)
        }
    };
    Ok(Privacy {
        internal: config.sensor.internal.clone(),
        internal_domains: config.privacy.internal_domains.clone(),
        addresses,
        keep_names: config.privacy.names == Names::Keep,
    })
}
