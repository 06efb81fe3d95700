//! Indicators: what partners share, as meaning, without any engine.
//!
//! [`Indicator`] is one indicator as an exchange said it, [`Details`] is what
//! the sensor keeps of it to explain a match, and [`Intake`] is the door
//! through which the loaders of all formats hand them in.

pub mod pattern;

use crate::time::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use std::borrow::Cow;
use std::fmt;

/// One indicator, whatever format it came in: its pattern is always STIX.
#[derive(Clone, Debug)]
pub struct Indicator<'a> {
    /// `indicator--<uuid>`: the exchange's own id, or one derived from the source.
    pub id: Cow<'a, str>,
    /// Whether the id was derived here, since the format has none (a list line).
    pub derived_id: bool,
    /// STIX pattern as written, or the one that says what the format said.
    pub pattern: Cow<'a, str>,
    /// Which version of the pattern grammar holds.
    pub pattern_version: PatternVersion,
    /// A name for people; `None` where the source gives none.
    pub name: Option<Cow<'a, str>>,
    /// Whether subdomains of a domain name are meant as well (a MISP `domain`, a line `*.example.org`).
    pub subdomains: bool,
    /// When this object was made; [`Timestamp::MIN`] where the format does not say.
    pub created: Timestamp,
    /// The version: the greatest `modified` of an id wins.
    pub modified: Timestamp,
    /// Matches from here on.
    pub valid_from: Timestamp,
    /// Matches before this; `None`: without end.
    pub valid_until: Option<Timestamp>,
    /// Withdrawn by its source: it and its older versions match nothing.
    pub revoked: bool,
    /// 0 to 100 (STIX 2.1 appendix A); `None` where the source does not say.
    pub confidence: Option<u8>,
    /// `labels` and `indicator_types`, MISP tags.
    pub labels: Vec<Cow<'a, str>>,
    /// `object_marking_refs`, as ids.
    pub markings: Vec<Cow<'a, str>>,
    /// `created_by_ref`; `None` where absent.
    pub created_by: Option<Cow<'a, str>>,
}

/// Grammar of a pattern: 2.1 knows EXISTS and forbids doubled qualifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternVersion {
    /// STIX 2.0 part 5.
    V20,
    /// STIX 2.1 section 9.
    V21,
}

/// Traffic light protocol, versions 1 and 2 (`White` of version 1 is `Clear`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tlp {
    /// No limit on disclosure.
    #[serde(rename = "TLP:CLEAR")]
    Clear,
    /// The community.
    #[serde(rename = "TLP:GREEN")]
    Green,
    /// The organisation and its clients.
    #[serde(rename = "TLP:AMBER")]
    Amber,
    /// The organisation alone.
    #[serde(rename = "TLP:AMBER+STRICT")]
    AmberStrict,
    /// The recipients alone.
    #[serde(rename = "TLP:RED")]
    Red,
}

impl Tlp {
    /// As TLP 2.0 writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "TLP:CLEAR",
            Self::Green => "TLP:GREEN",
            Self::Amber => "TLP:AMBER",
            Self::AmberStrict => "TLP:AMBER+STRICT",
            Self::Red => "TLP:RED",
        }
    }

    /// The level that a well-known marking-definition id stands for: those of
    /// STIX 2.1 section 7.2.1.4 and of the OASIS common object repository.
    pub fn from_marking(id: &str) -> Option<Self> {
        Some(match id.strip_prefix("marking-definition--")? {
            "613f2e26-407d-48c7-9eca-b8e91df99dc9" | "94868c89-83c2-464b-929b-a1a8aa3c8487" => {
                Self::Clear
            }
            "34098fce-860f-48ae-8e50-ebd3cc5e41da" | "bab4a63c-aed9-4cf5-a766-dfca5abac2bb" => {
                Self::Green
            }
            "f88d31f6-486f-44da-b317-01333bde0b82" | "55d920b0-5e8b-4f79-9ee9-91f868d9b421" => {
                Self::Amber
            }
            "939a9414-2ddd-4d32-a0cd-375ea402b003" => Self::AmberStrict,
            "5e57c739-391a-4eb3-b6be-7d15ca92d5ed" | "e828b379-4e03-4974-9ac4-e53a884c97c1" => {
                Self::Red
            }
            _ => return None,
        })
    }

    /// Reads `tlp:amber+strict`, `TLP:WHITE` and the like.
    pub fn from_label(label: &str) -> Option<Self> {
        let label = label.trim();
        let level = label.get(..4).filter(|p| p.eq_ignore_ascii_case("tlp:"))?;
        let level = label.get(level.len()..).unwrap_or_default().trim();
        Some(match level.to_ascii_lowercase().as_str() {
            "white" | "clear" => Self::Clear,
            "green" => Self::Green,
            "amber" => Self::Amber,
            "amber+strict" => Self::AmberStrict,
            "red" => Self::Red,
            _ => return None,
        })
    }
}

impl fmt::Display for Tlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an indicator set keeps of an indicator to explain a match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// `indicator--<uuid>`.
    pub id: String,
    /// Whether the id was derived here (the indicator then goes into sightings bundles itself).
    pub derived_id: bool,
    /// As the source wrote it.
    pub pattern: String,
    /// For people; `None` where the source gives none.
    pub name: Option<String>,
    /// File or exchange that it came from.
    pub source: String,
    /// 0 to 100; `None` where the source does not say.
    pub confidence: Option<u8>,
    /// Labels, indicator types, tags.
    pub labels: Vec<String>,
    /// Ids of marking definitions.
    pub markings: Vec<String>,
    /// The strictest TLP among markings and labels; `None`: unmarked.
    pub tlp: Option<Tlp>,
    /// `created_by_ref`; `None` where absent.
    pub created_by: Option<String>,
    /// When the object was made.
    pub created: Timestamp,
    /// Version of the object.
    pub modified: Timestamp,
    /// Matches from here on.
    pub valid_from: Timestamp,
    /// Matches before this; `None`: without end.
    pub valid_until: Option<Timestamp>,
    /// What the relationships of its bundle say that it indicates: campaigns, malware, actors.
    pub indicates: Vec<Context>,
    /// Courses of action that mitigate it or what it indicates.
    pub countermeasures: Vec<Context>,
}

impl Details {
    /// Whether the indicator is valid at an instant.
    pub fn validity_at(&self, instant: Timestamp) -> Validity {
        if instant < self.valid_from {
            Validity::Future
        } else if self.valid_until.is_some_and(|until| instant >= until) {
            Validity::Past
        } else {
            Validity::Now
        }
    }
}

/// How an instant lies to the time in which an indicator is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Within: from `valid_from` on and before `valid_until`.
    Now,
    /// The indicator has expired.
    Past,
    /// The indicator is not valid yet.
    Future,
}

impl Validity {
    /// In one word: `now`, `past`, `future`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Past => "past",
            Self::Future => "future",
        }
    }
}

/// A named object that stands in relation to an indicator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Context {
    /// Its STIX id.
    pub id: String,
    /// Its STIX type: `malware`, `campaign`, `course-of-action`, …
    pub kind: String,
    /// Its name; empty where it has none.
    pub name: String,
}

/// What became of an indicator that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It will match.
    Loaded,
    /// It says that it is withdrawn: it and its older versions match nothing.
    Revoked,
    /// It is sound, but a sensor on the wire cannot see what it asks for; the reason, for people.
    Unseeable(String),
}

/// Why an indicator cannot be used, for people: what is wrong, where in the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// Takes what loaders read; an indicator set in the making is one.
pub trait Intake {
    /// Everything from here on comes from this source (a file's path, an exchange's name).
    fn begin_source(&mut self, name: &str);

    /// Forgets all that came since the last `begin_source`: the source proved unusable as a whole.
    fn abandon_source(&mut self);

    /// One indicator.
    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal>;

    /// A named object that indicators may be related to.
    fn context(&mut self, id: &str, kind: &str, name: &str);

    /// A relationship (STIX 2.1 section 5.1): ids of its ends and its type.
    fn relationship(&mut self, source: &str, kind: &str, target: &str);

    /// A marking definition that is not one of the well-known ones but says a TLP level.
    fn marking(&mut self, id: &str, tlp: Tlp);
}

/// What loading one source came to; `intel check` prints it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceReport {
    /// The file, or `-`.
    pub file: String,
    /// Indicators that can match.
    pub loaded: u64,
    /// Objects that are broken, or whose pattern is.
    pub refused: Vec<Refused>,
    /// Indicators that ask for what a network sensor cannot see.
    pub unseeable: Vec<Unseeable>,
    /// Loaded, but `valid_until` is past.
    pub expired: u64,
    /// Withdrawn by their source.
    pub revoked: u64,
    /// Older versions of indicators that are there in a newer one.
    pub superseded: u64,
    /// The same version once more.
    pub duplicate: u64,
    /// Loaded, but an allowlist covers what they match.
    pub allowlisted: u64,
    /// What was odd without costing an object (a byte order mark, an unknown version).
    pub warnings: Vec<String>,
}

/// A broken object.
#[derive(Clone, Debug, Serialize)]
pub struct Refused {
    /// The object's id; empty where it has none.
    pub object: String,
    /// JSON path, or line in a list (`objects[3].pattern`, `line 7`).
    pub path: String,
    /// What is wrong and what to do.
    pub reason: String,
}

/// A sound indicator that cannot be seen on a wire.
#[derive(Clone, Debug, Serialize)]
pub struct Unseeable {
    /// The indicator's id.
    pub object: String,
    /// What it asks for.
    pub reason: String,
}
