//! One event: which of its attributes count, and the indicators they become.

use super::super::object::decode;
use super::super::tally::LONGEST_SHOWN;
use super::super::tally::Tally;
use super::super::tally::shorten;
use super::json;
use super::kind;
use super::kind::Miss;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::indicator::Tlp;
use crate::time::Timestamp;
use std::borrow::Cow;
use uuid::Uuid;

/// Namespace of the ids of what galaxies name, which exports give no id.
const GALAXIES: Uuid = Uuid::from_u128(0x3f0d_6b0e_95c2_4c39_8a57_61d4_0b7e_92ac);

/// Bytes of the tags that an indicator keeps beside its TLP: every indicator
/// of an event may need a copy. Real events have some hundred bytes.
const MOST_TAG_BYTES: usize = 4 << 10;

/// Named objects that an event puts its attributes in relation to; real ones have two or three.
const MOST_CLUSTERS: usize = 8;

/// Galaxies, by the end of their name, whose clusters an indicator indicates,
/// and what STIX calls these. The first that fits counts.
const GALAXY_KINDS: [(&str, &str); 14] = [
    ("intrusion-set", "intrusion-set"),
    ("threat-actor", "threat-actor"),
    ("microsoft-activity-group", "threat-actor"),
    ("campaign", "campaign"),
    ("malpedia", "malware"),
    ("malware", "malware"),
    ("ransomware", "malware"),
    ("banker", "malware"),
    ("stealer", "malware"),
    ("backdoor", "malware"),
    ("botnet", "malware"),
    ("rat", "malware"),
    ("android", "malware"),
    ("tool", "tool"),
];

/// What is told of the attributes of a document once all are read.
#[derive(Debug, Default)]
pub(super) struct Counts {
    attributes: u64,
    /// Attributes that are to be looked for, or no longer.
    wanted: u64,
}

impl Counts {
    /// Says why a sound document gives nothing.
    pub(super) fn warn(&self, tally: &mut Tally) {
        if self.attributes > 0 && self.wanted == 0 {
            let text = "no attribute has to_ids set: all of them are context, none is looked for";
            tally.warn(text, String::new);
        }
    }
}

/// Hands the attributes of an event to the intake; `path` is the event's.
pub(super) fn deliver(
    raw: &str,
    path: &str,
    counts: &mut Counts,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) {
    let (event, lists) = match Event::read(raw, path, tally) {
        Ok(read) => read,
        Err(reason) => return tally.refuse("", path.to_owned(), reason),
    };
    if event.published.is_none() {
        let text = "the event does not say whether it is published: taken as published";
        tally.warn(text, || path.to_owned());
    }
    let mut delivery = Delivery {
        counts,
        tally,
        intake,
    };
    json::each_element(lists.attributes, |index, raw| {
        let path = || format!("{path}.Attribute[{index}]");
        delivery.attribute(raw, &event, false, &path);
    });
    json::each_element(lists.objects, |number, raw| {
        let path = || format!("{path}.Object[{number}]");
        let [attributes, deleted] = match json::members(raw, &["Attribute", "deleted"]) {
            Ok(members) => members,
            Err(reason) => return delivery.tally.refuse("", path(), reason),
        };
        let deleted = match deleted.map_or(Ok(false), json::flag) {
            Ok(deleted) => deleted,
            Err(reason) => return delivery.tally.refuse("", path() + ".deleted", reason),
        };
        json::each_element(attributes, |index, raw| {
            let path = || format!("{}.Attribute[{index}]", path());
            delivery.attribute(raw, &event, deleted, &path);
        });
    });
}

/// Hands an attribute that names its event itself to the intake.
pub(super) fn deliver_attribute(
    raw: &str,
    path: &str,
    counts: &mut Counts,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) {
    let event = json::members(raw, &["Event"]).and_then(|[event]| match event {
        Some(event) => Event::read(event, path, tally).map(|(event, _)| event),
        None => Ok(Event::default()),
    });
    match event {
        Ok(event) => {
            let mut delivery = Delivery {
                counts,
                tally,
                intake,
            };
            delivery.attribute(raw, &event, false, &|| path.to_owned());
        }
        Err(reason) => tally.refuse("", path.to_owned(), reason),
    }
}

/// What an event says for all its attributes.
#[derive(Debug)]
struct Event<'a> {
    /// Shortened; empty where there is none.
    info: String,
    /// [`Timestamp::MIN`] where there is none.
    date: Timestamp,
    /// [`Timestamp::MIN`] where there is none.
    timestamp: Timestamp,
    /// `None`: it does not say.
    published: Option<bool>,
    tags: Tags<'a>,
    /// `identity--<uuid>` of the organisation that made it.
    created_by: Option<String>,
}

impl Default for Event<'_> {
    fn default() -> Self {
        Self {
            info: String::new(),
            date: Timestamp::MIN,
            timestamp: Timestamp::MIN,
            published: None,
            tags: Tags::default(),
            created_by: None,
        }
    }
}

/// Where the attributes of an event are.
#[derive(Clone, Copy, Debug)]
struct Lists<'a> {
    attributes: Option<&'a str>,
    objects: Option<&'a str>,
}

impl<'a> Event<'a> {
    fn read(raw: &'a str, path: &str, tally: &mut Tally) -> Result<(Self, Lists<'a>), String> {
        let names = &[
            "info",
            "date",
            "timestamp",
            "published",
            "Tag",
            "Orgc",
            "Attribute",
            "Object",
        ];
        let [
            info,
            date,
            timestamp,
            published,
            tags,
            creator,
            attributes,
            objects,
        ] = json::members(raw, names)?;
        let info = info.map(json::text).transpose().map_err(of("info"))?;
        let published = published
            .map(json::flag)
            .transpose()
            .map_err(of("published"))?;
        let date = date.and_then(|raw| {
            let date = decode(raw).ok().filter(|date| date.len() == 10);
            let time = date.and_then(|date| Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z")));
            if time.is_none() {
                tally.warn("the event's date is no date: ignored", || path.to_owned());
            }
            time
        });
        for (list, name) in [(attributes, "Attribute"), (objects, "Object")] {
            if list.is_some_and(|raw| !raw.starts_with('[')) {
                return Err(format!("{name}: must be a list"));
            }
        }
        let created_by = creator
            .and_then(|raw| json::members(raw, &["uuid"]).ok())
            .and_then(|[uuid]| decode(uuid?).ok())
            .filter(|uuid| json::is_uuid(uuid))
            .map(|uuid| format!("identity--{}", uuid.to_ascii_lowercase()));
        let event = Self {
            info: shorten(info.as_deref().unwrap_or_default().trim(), LONGEST_SHOWN),
            date: date.unwrap_or(Timestamp::MIN),
            timestamp: time(timestamp)?.unwrap_or(Timestamp::MIN),
            published,
            tags: Tags::read(tags, tally)?,
            created_by,
        };
        Ok((
            event,
            Lists {
                attributes,
                objects,
            },
        ))
    }

    /// What people are shown of one of its attributes.
    fn name_of(&self, kind: &str, value: &str) -> String {
        if self.info.is_empty() {
            shorten(&format!("{kind} {value}"), LONGEST_SHOWN)
        } else {
            format!("{} ({kind})", self.info)
        }
    }
}

/// What the tags of an event or an attribute say.
#[derive(Debug, Default)]
struct Tags<'a> {
    labels: Vec<Cow<'a, str>>,
    clusters: Vec<Cluster>,
}

/// Something that a galaxy names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cluster {
    id: String,
    kind: &'static str,
    name: String,
}

impl<'a> Tags<'a> {
    fn read(raw: Option<&'a str>, tally: &mut Tally) -> Result<Self, String> {
        let mut tags = Self::default();
        let mut fault = None;
        let mut bytes = 0;
        let mut left_out = false;
        json::each_element(raw, |_, raw| {
            let name = json::members(raw, &["name"])
                .and_then(|[name]| name.map_or(Ok(Cow::Borrowed("")), json::text));
            let name = match name {
                Ok(name) => name,
                Err(reason) => {
                    fault.get_or_insert(reason);
                    return;
                }
            };
            if let Some(galaxy) = name.strip_prefix("misp-galaxy:") {
                if tags.clusters.len() < MOST_CLUSTERS {
                    tags.clusters.extend(cluster_of(galaxy));
                }
            } else if let Some(level) = Tlp::from_label(&name) {
                // kept whatever else there is: it limits who may be told
                let known = |label: &Cow<'_, str>| Tlp::from_label(label) == Some(level);
                if !tags.labels.iter().any(known) {
                    tags.labels.push(name);
                }
            } else if !name.is_empty() && bytes + name.len() <= MOST_TAG_BYTES {
                bytes += name.len();
                tags.labels.push(name);
            } else {
                left_out |= !name.is_empty();
            }
        });
        if let Some(reason) = fault {
            return Err(format!("Tag: {reason}"));
        }
        if left_out {
            tally.warn(
                "more tags than are kept: further ones are left out",
                String::new,
            );
        }
        Ok(tags)
    }
}

/// What a tag such as `misp-galaxy:threat-actor="Sofacy"` names, read behind its first colon.
fn cluster_of(tag: &str) -> Option<Cluster> {
    let (galaxy, name) = tag.split_once('=')?;
    let name = name.strip_prefix('"')?.strip_suffix('"')?;
    let (_, kind) = GALAXY_KINDS
        .iter()
        .find(|(end, _)| galaxy == *end || galaxy.ends_with(&format!("-{end}")))?;
    let id = Uuid::new_v5(&GALAXIES, format!("{kind}\n{name}").as_bytes());
    Some(Cluster {
        id: format!("{kind}--{}", id.hyphenated()),
        kind,
        name: shorten(name, LONGEST_SHOWN),
    })
}

/// Where indicators go.
struct Delivery<'d> {
    counts: &'d mut Counts,
    tally: &'d mut Tally,
    intake: &'d mut dyn Intake,
}

impl Delivery<'_> {
    fn attribute(
        &mut self,
        raw: &str,
        event: &Event<'_>,
        object_deleted: bool,
        path: &dyn Fn() -> String,
    ) {
        self.counts.attributes += 1;
        let attribute = match Attribute::read(raw, object_deleted, self.tally) {
            Ok(attribute) => attribute,
            Err(reason) => {
                self.counts.wanted += 1;
                return self.tally.refuse(&shown_id(raw), path(), reason);
            }
        };
        let Some(attribute) = attribute else { return };
        self.counts.wanted += 1;
        let uuid = &attribute.uuid;
        if event.published == Some(false) && !attribute.deleted {
            let reason = "its event is not published: publish it in MISP and export it again";
            return self.tally.refuse(uuid, path(), reason.to_owned());
        }
        let seen = match kind::read(&attribute.kind, &attribute.value) {
            Ok(seen) => seen,
            // what is withdrawn need not be readable
            Err(_) if attribute.deleted => kind::Seen::default(),
            Err(Miss::Unseeable(reason)) => return self.tally.unseeable(uuid, reason),
            Err(Miss::Broken(reason)) => {
                return self.tally.refuse(uuid, path() + ".value", reason);
            }
        };
        if seen.without_port {
            self.tally
                .warn("hostname|port: the name matches with any port", path);
        }
        let mut labels = event.tags.labels.clone();
        for label in &attribute.tags.labels {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        let indicator = Indicator {
            id: Cow::Owned(format!("indicator--{uuid}")),
            derived_id: false,
            pattern: seen.pattern,
            pattern_version: PatternVersion::V21,
            name: Some(Cow::Owned(event.name_of(&attribute.kind, &attribute.value))),
            subdomains: seen.subdomains,
            created: event.date,
            modified: attribute.timestamp.unwrap_or(event.timestamp),
            valid_from: Timestamp::MIN,
            valid_until: None,
            revoked: attribute.deleted,
            confidence: None,
            labels,
            markings: Vec::new(),
            created_by: event.created_by.as_deref().map(Cow::Borrowed),
        };
        if self
            .tally
            .take_as(uuid, self.intake, &indicator, || path() + ".value")
        {
            let clusters = event.tags.clusters.iter().chain(&attribute.tags.clusters);
            for cluster in clusters {
                self.intake
                    .context(&cluster.id, cluster.kind, &cluster.name);
                self.intake
                    .relationship(&indicator.id, "indicates", &cluster.id);
            }
        }
    }
}

/// An attribute that is to be looked for, or no longer.
#[derive(Debug)]
struct Attribute<'a> {
    /// In lower case.
    uuid: String,
    kind: Cow<'a, str>,
    value: Cow<'a, str>,
    deleted: bool,
    /// `None`: that of its event.
    timestamp: Option<Timestamp>,
    tags: Tags<'a>,
}

impl<'a> Attribute<'a> {
    /// `None`: it is context.
    fn read(raw: &'a str, object_deleted: bool, tally: &mut Tally) -> Result<Option<Self>, String> {
        let names = &[
            "uuid",
            "type",
            "value",
            "to_ids",
            "deleted",
            "timestamp",
            "Tag",
        ];
        let [uuid, kind, value, to_ids, deleted, timestamp, tags] = json::members(raw, names)?;
        let to_ids = to_ids.map_or(Ok(false), json::flag).map_err(of("to_ids"))?;
        let deleted = deleted
            .map_or(Ok(false), json::flag)
            .map_err(of("deleted"))?;
        let deleted = deleted || object_deleted;
        if !to_ids && !deleted {
            return Ok(None);
        }
        let required = |member: Option<&'a str>, name: &'static str| match member {
            Some(raw) => json::text(raw).map_err(of(name)),
            None => Err(format!("the member '{name}' is missing")),
        };
        let uuid = required(uuid, "uuid")?;
        if !json::is_uuid(&uuid) {
            return Err("uuid: is no UUID".to_owned());
        }
        Ok(Some(Self {
            uuid: uuid.to_ascii_lowercase(),
            kind: required(kind, "type")?,
            value: required(value, "value")?,
            deleted,
            timestamp: time(timestamp)?,
            tags: Tags::read(tags, tally)?,
        }))
    }
}

/// Seconds since the epoch, as a number or in quotes.
fn time(raw: Option<&str>) -> Result<Option<Timestamp>, String> {
    let Some(raw) = raw else { return Ok(None) };
    let seconds = decode(raw).unwrap_or(Cow::Borrowed(raw));
    match seconds.parse() {
        Ok(seconds) => Ok(Some(Timestamp::from_parts(seconds, 0))),
        Err(_) => Err("timestamp: must be a number of seconds since 1970".to_owned()),
    }
}

/// The id of a broken attribute, for reports; empty where there is none.
fn shown_id(raw: &str) -> Cow<'_, str> {
    let uuid = json::members(raw, &["uuid"])
        .ok()
        .and_then(|[uuid]| decode(uuid?).ok());
    uuid.unwrap_or_default()
}

/// Says which member a reason is about.
fn of(member: &'static str) -> impl Fn(String) -> String {
    move |reason| format!("{member}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn galaxies_name_what_is_indicated() {
        for (tag, cluster) in [
            ("threat-actor=\"Sofacy\"", Some(("threat-actor", "Sofacy"))),
            (
                "mitre-enterprise-attack-malware=\"X - S0001\"",
                Some(("malware", "X - S0001")),
            ),
            ("mitre-intrusion-set=\"G\"", Some(("intrusion-set", "G"))),
            ("rat=\"R\"", Some(("malware", "R"))),
            ("mitre-tool=\"T\"", Some(("tool", "T"))),
            ("mitre-attack-pattern=\"T1059\"", None),
            ("rat=R", None),
            ("rat", None),
        ] {
            let found = cluster_of(tag);
            assert_eq!(found.as_ref().map(|c| (c.kind, &*c.name)), cluster, "{tag}");
        }
    }

    #[test]
    fn a_level_is_kept_among_any_number_of_tags() {
        let mut raw = String::from("[");
        for number in 0..1_000 {
            raw += &format!("{{\"name\":\"tag number {number}\"}},");
        }
        raw += "{\"name\":\"TLP:RED\"},{\"name\":\"tlp:red\"}]";
        let mut tally = Tally::new("x", 10);
        let tags = Tags::read(Some(&raw), &mut tally).unwrap();
        assert_eq!(
            tags.labels
                .iter()
                .filter(|l| Tlp::from_label(l).is_some())
                .count(),
            1
        );
        assert!(tags.labels.iter().map(|l| l.len()).sum::<usize>() <= MOST_TAG_BYTES + 10);
        assert_eq!(tally.finish().warnings.len(), 1);
    }
}
