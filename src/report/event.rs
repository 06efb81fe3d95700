//! Event lines: one JSON object a match, in the shape of Suricata's EVE.
//!
//! What reads EVE reads these; `indicator`, `observable` and `verdict` are
//! ours. Every key and every place is listed in `docs/event.schema.json`.

use crate::indicator::Details;
use crate::matcher::FlowSummary;
use crate::matcher::Match;
use crate::matcher::Observable;
use crate::report::indicator::EventIndicator;
use crate::report::text::is_hazardous;
use crate::verdict::Action;
use crate::verdict::Verdict;
use serde::Serialize;
use serde_json::ser::CompactFormatter;
use serde_json::ser::Formatter;
use siphasher::sip::SipHasher24;
use std::borrow::Cow;
use std::hash::Hasher as _;
use std::io;
use std::net::IpAddr;

/// Appends the event of a match: one line of ASCII or harmless text, with its line feed.
///
/// Keys come in a fixed order; those of which nothing is known are left out.
pub fn write_event(out: &mut Vec<u8>, found: &Match, details: &Details, verdict: &Verdict) {
    write_line(out, &Event::new(found, details, verdict));
}

/// Appends a value as one line of JSON, harmless for terminals and for what reads lines; nothing
/// where the value has no JSON.
pub fn write_line(out: &mut Vec<u8>, value: &impl Serialize) {
    let start = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, OneLine);
    if value.serialize(&mut serializer).is_err() {
        // writing to memory does not fail, and no key here is other than a string
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}

/// The number that stands for an indicator in `alert.signature_id`: the same wherever and
/// whenever, from 1 to 2³¹ − 1. The upper 31 bits of SipHash-2-4 of the id, with a key of zeros.
pub fn signature_id(indicator: &str) -> u32 {
    let mut hasher = SipHasher24::new();
    hasher.write(indicator.as_bytes());
    ((hasher.finish() >> 33) as u32).max(1)
}

#[derive(Serialize)]
struct Event<'a> {
    timestamp: String,
    flow_id: u64,
    event_type: &'static str,
    src_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    dest_ip: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    proto: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<[u16; 1]>,
    alert: Alert<'a>,
    indicator: EventIndicator<'a>,
    observable: EventObservable<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    observations: Vec<EventObservation<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observations_left_out: Option<usize>,
    verdict: EventVerdict<'a>,
}

#[derive(Serialize)]
struct Alert<'a> {
    action: &'static str,
    gid: u32,
    signature_id: u32,
    rev: u32,
    signature: Cow<'a, str>,
    category: Cow<'a, str>,
    severity: u8,
}

#[derive(Serialize)]
struct EventObservable<'a> {
    r#type: &'static str,
    value: &'a str,
    place: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    property: Option<&'static str>,
}

#[derive(Serialize)]
struct EventObservation<'a> {
    observable: EventObservable<'a>,
    flow_id: u64,
    timestamp: String,
}

#[derive(Serialize)]
struct EventVerdict<'a> {
    action: &'static str,
    reason: &'a str,
}

impl<'a> Event<'a> {
    fn new(found: &'a Match, details: &'a Details, verdict: &'a Verdict) -> Self {
        let flow = &found.flow;
        let ports = has_ports(flow.protocol);
        Self {
            timestamp: found.timestamp.to_rfc3339(6),
            flow_id: flow.id,
            event_type: "alert",
            src_ip: flow.source,
            src_port: ports.then_some(flow.source_port),
            dest_ip: flow.destination,
            dest_port: ports.then_some(flow.destination_port),
            proto: protocol_name(flow),
            app_proto: flow.app_proto,
            vlan: flow.vlan.map(|id| [id]),
            alert: Alert {
                action: match verdict.action {
                    Action::Block => "blocked",
                    Action::Report | Action::WouldBlock | Action::Allowlisted => "allowed",
                },
                gid: GENERATOR,
                signature_id: signature_id(&details.id),
                rev: 1,
                signature: one_line(details.name.as_deref().unwrap_or(&details.pattern)),
                category: one_line(
                    details
                        .labels
                        .first()
                        .map_or("Threat indicator", String::as_str),
                ),
                severity: severity(details.confidence),
            },
            indicator: EventIndicator::new(details),
            observable: EventObservable::new(&found.observable),
            observations: found
                .observations
                .iter()
                .take(MAX_OBSERVATIONS)
                .map(|observation| EventObservation {
                    observable: EventObservable::new(&observation.observable),
                    flow_id: observation.flow.id,
                    timestamp: observation.timestamp.to_rfc3339(6),
                })
                .collect(),
            observations_left_out: found
                .observations
                .len()
                .checked_sub(MAX_OBSERVATIONS)
                .filter(|left_out| *left_out > 0),
            verdict: EventVerdict {
                action: verdict.action.as_str(),
                reason: &verdict.reason,
            },
        }
    }
}

impl<'a> EventObservable<'a> {
    fn new(observable: &'a Observable) -> Self {
        Self {
            r#type: observable.kind.as_str(),
            value: &observable.value,
            place: observable.place.as_str(),
            property: observable.property,
        }
    }
}

/// EVE's severity, 1 the gravest, from the ranges of STIX 2.1 appendix A: high from 70, low
/// below 30. What says nothing of its confidence is in the middle.
pub(super) fn severity(confidence: Option<u8>) -> u8 {
    match confidence {
        Some(70..) => 1,
        Some(30..) | None => 2,
        Some(_) => 3,
    }
}

fn protocol_name(flow: &FlowSummary) -> Cow<'static, str> {
    match flow.protocol {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        58 => "IPv6-ICMP".into(),
        other => other.to_string().into(),
    }
}

/// Protocols with ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// A title of one line: control characters become spaces, and a long pattern is cut.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_SIGNATURE_BYTES && !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .scan(0, |length, c| {
            *length += c.len_utf8();
            (*length <= MAX_SIGNATURE_BYTES).then_some(c)
        })
        .collect();
    if line.len() < text.len() {
        line.push('…');
    }
    Cow::Owned(line)
}

/// JSON on one line for whatever reads lines: beside what JSON asks to escape, whatever some
/// reader takes for the end of a line, or some terminal for an order, is escaped as well.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(|b| b < 0x7f) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hazardous(*c)) {
            let (harmless, from) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, harmless)?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = from.get(c.len_utf8()..).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

/// EVE's generator id of rules that people write.
const GENERATOR: u32 = 1;

/// Observations that an event names: a line stays below what readers of lines take.
const MAX_OBSERVATIONS: usize = 1_000;

/// Bytes of `alert.signature`: a title; the pattern in full is in `indicator.pattern`.
const MAX_SIGNATURE_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::Context;
    use crate::indicator::Tlp;
    use crate::matcher::Evidence;
    use crate::matcher::Observation;
    use crate::observable::ObservableType;
    use crate::observable::Place;
    use crate::time::Timestamp;
    use serde_json::Value;
    use std::collections::BTreeSet;

    fn sample() -> (Match, Details, Verdict) {
        let found = Match {
            timestamp: Timestamp::from_nanos(1_709_287_200_123_456_789),
            flow: FlowSummary {
                id: 1_234_567_890_123,
                source: "10.0.0.5".parse().unwrap(),
                source_port: 51_514,
                destination: "198.51.100.7".parse().unwrap(),
                destination_port: 443,
                protocol: 6,
                vlan: Some(12),
                app_proto: Some("tls"),
            },
            indicator: 0,
            observable: Observable {
                kind: ObservableType::NetworkTraffic,
                value: "0c".repeat(16),
                place: Place::TlsClientHello,
                property: Some("x_ja3_hash"),
                evidence: Evidence::None,
            },
            observations: Box::default(),
        };
        let details = Details {
            id: "indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f".to_owned(),
            pattern: "[network-traffic:x_ja3_hash = '0c0c']".to_owned(),
            name: Some("Emotet's loader".to_owned()),
            source: "ec3".to_owned(),
            confidence: Some(85),
            labels: vec!["malicious-activity".to_owned(), "tlp:amber".to_owned()],
            tlp: Some(Tlp::Amber),
            valid_until: Some(Timestamp::from_nanos(1_735_689_600_000_000_000)),
            indicates: vec![Context {
                id: "malware--1".to_owned(),
                kind: "malware".to_owned(),
                name: "Emotet".to_owned(),
            }],
            ..Details::default()
        };
        let verdict = Verdict {
            action: Action::Block,
            reason: "ec3 may block".to_owned(),
        };
        (found, details, verdict)
    }

    fn bare() -> (Match, Details, Verdict) {
        let (mut found, mut details, mut verdict) = sample();
        found.flow.protocol = 58;
        found.flow.source = "2001:db8::1".parse().unwrap();
        found.flow.destination = "2001:db8:0:0:1::2".parse().unwrap();
        found.flow.vlan = None;
        found.flow.app_proto = None;
        found.observable = Observable {
            kind: ObservableType::Ipv6Addr,
            value: "2001:db8:0:0:1::2".to_owned(),
            place: Place::FlowDst,
            property: None,
            evidence: Evidence::None,
        };
        details = Details {
            id: details.id,
            pattern: "[ipv6-addr:value = '2001:db8:0:0:1::2']".to_owned(),
            source: "list.txt".to_owned(),
            ..Details::default()
        };
        verdict.action = Action::Allowlisted;
        verdict.reason = "own network".to_owned();
        (found, details, verdict)
    }

    /// Of a pattern over several observations.
    fn joined(count: usize) -> (Match, Details, Verdict) {
        let (mut found, details, verdict) = sample();
        let observation = |n: usize| Observation {
            timestamp: Timestamp::from_parts(1_709_287_200, n as u64 * 1_000),
            flow: FlowSummary {
                id: n as u64,
                ..found.flow.clone()
            },
            observable: found.observable.clone(),
        };
        found.observations = (0..count).map(observation).collect();
        (found, details, verdict)
    }

    fn line((found, details, verdict): &(Match, Details, Verdict)) -> String {
        let mut out = Vec::new();
        write_event(&mut out, found, details, verdict);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_golden_lines() {
        let full = concat!(
            r#"{"timestamp":"2024-03-01T10:00:00.123456Z","flow_id":1234567890123,"#,
            r#""event_type":"alert","src_ip":"10.0.0.5","src_port":51514,"#,
            r#""dest_ip":"198.51.100.7","dest_port":443,"proto":"TCP","app_proto":"tls","#,
            r#""vlan":[12],"alert":{"action":"blocked","gid":1,"signature_id":SID,"#,
            r#""rev":1,"signature":"Emotet's loader","category":"malicious-activity","#,
            r#""severity":1},"#,
            r#""indicator":{"id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","#,
            r#""name":"Emotet's loader","pattern":"[network-traffic:x_ja3_hash = '0c0c']","#,
            r#""source":"ec3","confidence":85,"labels":["malicious-activity","tlp:amber"],"#,
            r#""valid_until":"2025-01-01T00:00:00.000000Z","tlp":"TLP:AMBER","#,
            r#""indicates":[{"type":"malware","name":"Emotet"}]},"#,
            r#""observable":{"type":"network-traffic","#,
            r#""value":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","place":"tls.client_hello","#,
            r#""property":"x_ja3_hash"},"#,
            r#""verdict":{"action":"block","reason":"ec3 may block"}}"#,
            "\n"
        );
        let bare_line = concat!(
            r#"{"timestamp":"2024-03-01T10:00:00.123456Z","flow_id":1234567890123,"#,
            r#""event_type":"alert","src_ip":"2001:db8::1","dest_ip":"2001:db8::1:0:0:2","#,
            r#""proto":"IPv6-ICMP","alert":{"action":"allowed","gid":1,"signature_id":SID,"#,
            r#""rev":1,"signature":"[ipv6-addr:value = '2001:db8:0:0:1::2']","#,
            r#""category":"Threat indicator","severity":2},"#,
            r#""indicator":{"id":"indicator--8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f","#,
            r#""pattern":"[ipv6-addr:value = '2001:db8:0:0:1::2']","source":"list.txt","labels":[]},"#,
            r#""observable":{"type":"ipv6-addr","value":"2001:db8:0:0:1::2","#,
            r#""place":"flow.dst"},"#,
            r#""verdict":{"action":"allowlisted","reason":"own network"}}"#,
            "\n"
        );
        // SipHash-2-4 of the id, computed apart from this program
        assert_eq!(line(&sample()), full.replace("SID", SAMPLE_SID));
        assert_eq!(line(&bare()), bare_line.replace("SID", SAMPLE_SID));
    }

    #[test]
    fn names_every_observation_up_to_a_bound() {
        let line_of_two = line(&joined(2));
        let expected = concat!(
            r#""observations":[{"observable":{"type":"network-traffic","#,
            r#""value":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","place":"tls.client_hello","#,
            r#""property":"x_ja3_hash"},"flow_id":0,"timestamp":"2024-03-01T10:00:00.000000Z"},"#,
            r#"{"observable":{"type":"network-traffic","#,
            r#""value":"0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c","place":"tls.client_hello","#,
            r#""property":"x_ja3_hash"},"flow_id":1,"timestamp":"2024-03-01T10:00:00.000001Z"}],"#,
            r#""verdict""#,
        );
        assert!(line_of_two.contains(expected), "{line_of_two}");
        for (count, named, left_out) in [
            (312, 312, Value::Null),
            (1_000, 1_000, Value::Null),
            (1_001, 1_000, Value::from(1)),
        ] {
            let event: Value = serde_json::from_str(&line(&joined(count))).unwrap();
            assert_eq!(event["observations"].as_array().unwrap().len(), named);
            assert_eq!(event["observations_left_out"], left_out);
        }
    }

    const SAMPLE_SID: &str = "132480185";

    #[test]
    fn nothing_from_the_wire_breaks_a_line() {
        let (mut found, mut details, verdict) = sample();
        let nasty: String = (0..0x100_u32)
            .chain(0x2000..0x2070)
            .chain([0xfeff, 0xe0001, 0x1f600, 0x10ffff])
            .filter_map(char::from_u32)
            .collect();
        found.observable.value.clone_from(&nasty);
        details.name = Some(format!("{nasty}\r\n{}", "é".repeat(1000)));
        let line = line(&(found, details.clone(), verdict));
        assert_eq!(line.find('\n'), Some(line.len() - 1));
        let body = line.trim_end_matches('\n');
        assert!(!body.chars().any(|c| c.is_control() || is_hazardous(c)));
        let event: Value = serde_json::from_str(body).unwrap();
        assert_eq!(event["observable"]["value"], nasty);
        assert_eq!(event["indicator"]["name"], details.name.unwrap());
        let signature = event["alert"]["signature"].as_str().unwrap();
        assert!(signature.len() <= MAX_SIGNATURE_BYTES + "…".len());
        assert!(!signature.contains(char::is_control) && signature.ends_with('…'));
    }

    #[test]
    fn severity_follows_confidence() {
        for (confidence, graveness) in [
            (None, 2),
            (Some(0), 3),
            (Some(29), 3),
            (Some(30), 2),
            (Some(69), 2),
            (Some(70), 1),
            (Some(255), 1),
        ] {
            assert_eq!(severity(confidence), graveness, "{confidence:?}");
        }
    }

    #[test]
    fn signature_ids_are_numbers_that_eve_takes() {
        for i in 0..1000 {
            let id = signature_id(&format!("indicator--{i}"));
            assert!((1..=0x7fff_ffff).contains(&id));
        }
    }

    fn schema() -> Value {
        serde_json::from_str(include_str!("../../docs/event.schema.json")).unwrap()
    }

    /// A part of the schema, or the one that it refers to.
    fn followed(part: &Value) -> Value {
        match part["$ref"].as_str() {
            Some(reference) => {
                let pointer = reference.strip_prefix('#').unwrap();
                schema().pointer(pointer).unwrap().clone()
            }
            None => part.clone(),
        }
    }

    /// Walks an event beside the schema: every key is listed, and with its type.
    fn conforms(event: &Value, part: &Value, path: &str) -> BTreeSet<String> {
        let schema = &followed(part);
        let mut seen = BTreeSet::new();
        let is = match event {
            Value::Object(_) => "object",
            Value::Array(_) => "array",
            Value::String(_) => "string",
            Value::Number(_) => "integer",
            _ => "null",
        };
        assert_eq!(schema["type"], is, "{path}");
        assert!(schema["description"].is_string(), "{path}: no description");
        if let Some(lawful) = schema["enum"].as_array() {
            assert!(lawful.contains(event), "{path}: {event}");
        }
        if let Value::Object(members) = event {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            for (key, value) in members {
                let path = format!("{path}.{key}");
                let sub = &schema["properties"][key];
                assert!(sub.is_object(), "{path} is not in the schema");
                seen.extend(conforms(value, sub, &path));
                seen.insert(path);
            }
            for key in schema["required"].as_array().unwrap() {
                assert!(members.contains_key(key.as_str().unwrap()), "{path}: {key}");
            }
        }
        if let Value::Array(items) = event {
            for item in items {
                seen.extend(conforms(item, &schema["items"], &format!("{path}[]")));
            }
        }
        seen
    }

    fn keys_of(part: &Value, path: &str, keys: &mut BTreeSet<String>) {
        let schema = &followed(part);
        if let Some(properties) = schema["properties"].as_object() {
            for (key, sub) in properties {
                let path = format!("{path}.{key}");
                keys_of(sub, &path, keys);
                keys.insert(path);
            }
        }
        if schema["items"].is_object() {
            keys_of(&schema["items"], &format!("{path}[]"), keys);
        }
    }

    #[test]
    fn schema_lists_every_key_place_and_action() {
        let schema = schema();
        let mut listed = BTreeSet::new();
        keys_of(&schema, "", &mut listed);
        let parse = |sample| -> Value { serde_json::from_str(&line(&sample)).unwrap() };
        let mut full = conforms(&parse(sample()), &schema, "");
        full.extend(conforms(&parse(joined(1_001)), &schema, ""));
        assert_eq!(full, listed, "the schema lists what no event has");
        let bare = conforms(&parse(bare()), &schema, "");
        let mut required = BTreeSet::new();
        for path in &bare {
            let (parent, key) = path.rsplit_once('.').unwrap();
            let parent = parent
                .split('.')
                .skip(1)
                .fold(&schema, |s, part| &s["properties"][part]);
            if parent["required"].as_array().unwrap().contains(&key.into()) {
                required.insert(path.clone());
            }
        }
        assert_eq!(
            bare, required,
            "every event has keys that the schema calls optional"
        );

        let observable = &schema["properties"]["observable"]["properties"];
        assert_eq!(
            observable["place"]["enum"],
            Value::from(Place::ALL.map(Place::as_str).to_vec())
        );
        let types = [
            ObservableType::Ipv4Addr,
            ObservableType::Ipv6Addr,
            ObservableType::DomainName,
            ObservableType::Url,
            ObservableType::EmailAddr,
            ObservableType::EmailMessage,
            ObservableType::File,
            ObservableType::X509Certificate,
            ObservableType::NetworkTraffic,
        ];
        assert_eq!(
            observable["type"]["enum"],
            Value::from(types.map(ObservableType::as_str).to_vec())
        );
        let actions = [
            Action::Report,
            Action::WouldBlock,
            Action::Block,
            Action::Allowlisted,
        ];
        assert_eq!(
            schema["properties"]["verdict"]["properties"]["action"]["enum"],
            Value::from(actions.map(Action::as_str).to_vec())
        );
        let levels = [
            Tlp::Clear,
            Tlp::Green,
            Tlp::Amber,
            Tlp::AmberStrict,
            Tlp::Red,
        ];
        assert_eq!(
            schema["properties"]["indicator"]["properties"]["tlp"]["enum"],
            Value::from(levels.map(Tlp::as_str).to_vec())
        );
    }
}
