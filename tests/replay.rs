//! `watchpost replay`, as a user runs it, over the sample that is shipped.

mod common;

use common::BUNDLE;
use common::CAPTURE;
use common::Folder;
use common::LIST;
use common::bundle;
use common::indicator;
use common::lines;
use common::python_has;
use common::shared;
use common::text;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Command;

/// What the sample shows: indicator, value, place, and how often. No value: the one that stands
/// in the pattern, which changes whenever the capture is made anew.
const EXPECTED: [(&str, &str, &str, u64); 17] = [
    ("Certificate of the login page", "", "tls.certificate", 1),
    (
        "Control server of Lamplighter",
        "203.0.113.66",
        "flow.dst",
        1,
    ),
    (
        "Control server of Lamplighter, IPv6",
        "2001:db8:66::66",
        "dns.answer",
        1,
    ),
    (
        "Control server of Lamplighter, IPv6",
        "2001:db8:66::66",
        "flow.dst",
        1,
    ),
    (
        "Control server of Lamplighter, IPv6",
        "2001:db8:66::66",
        "http.header",
        1,
    ),
    ("Lamplighter, first stage", "", "http.response.body", 1),
    ("Lamplighter, second stage", "", "http.response.body", 1),
    (
        "Link in the invoices",
        "http://files.lantern.example/download/update.bin",
        "http.url",
        1,
    ),
    (
        "Name behind Paper Lantern",
        "edge.night-ferry.example",
        "dns.answer",
        1,
    ),
    // in a question and in the response to it
    (
        "Name of Paper Lantern",
        "cdn.lantern.example",
        "dns.query",
        2,
    ),
    ("Name of Paper Lantern", "cdn.lantern.example", "tls.sni", 1),
    ("Panel of Night Ferry", "203.0.113.77:8443", "flow", 1),
    // over TCP and over UDP
    (
        "Rented network of Night Ferry",
        "192.0.2.200",
        "dns.answer",
        2,
    ),
    (
        "Rented network of Night Ferry",
        "192.0.2.200",
        "flow.dst",
        1,
    ),
    ("TLS client of Lamplighter 1", "", "tls.client_hello", 1),
    ("TLS client of Lamplighter 2", "", "tls.client_hello", 1),
    (
        "User agent of Lamplighter",
        "Lamplighter/2.1",
        "http.user_agent",
        1,
    ),
];

/// Matched, and covered by an allowlist that is shipped.
const ALLOWLISTED: (&str, &str, &str, u64) =
    ("Where a parked name points", "127.0.0.1", "dns.answer", 1);

/// Asked for and answered, which are two matches once its time is ignored.
const EXPIRED: (&str, &str, &str, u64) = (
    "Name of Paper Lantern, given up",
    "old.lantern.example",
    "dns.query",
    2,
);

#[test]
fn the_sample_shows_what_was_planted_and_no_neighbour() {
    let folder = Folder::new();
    let events = replay(&folder, &[CAPTURE], "");
    let mut expected: Vec<_> = EXPECTED.to_vec();
    expected.push(ALLOWLISTED);
    assert_seen(&events, &expected);
    for event in &events {
        let named = text(event, "/indicator/name");
        let action = text(event, "/verdict/action");
        assert_eq!(action == "allowlisted", named == ALLOWLISTED.0, "{event}");
        // nothing that a message only names is worth a block
        if action == "would-block" {
            assert!(!["dns.answer", "http.header"].contains(&text(event, "/observable/place")));
        }
    }
}

#[test]
fn a_list_shows_the_same_values_as_the_bundle() {
    let folder = Folder::new();
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {LIST} --events e.jsonl --quiet"
        ))
        .exits(0)
        .says_nothing();
    let seen: BTreeMap<String, u64> = count(&folder.lines("e.jsonl"), |event| {
        text(event, "/observable/place").to_owned()
    });
    let expected = [
        ("dns.answer", 4),
        ("dns.query", 2),
        ("flow.dst", 3),
        ("http.header", 1),
        ("http.response.body", 1),
        ("http.url", 1),
        ("tls.sni", 1),
    ];
    assert_eq!(
        seen,
        expected.map(|(place, n)| (place.to_owned(), n)).into()
    );
}

#[test]
fn any_number_of_workers_gives_the_same_bytes() {
    let folder = Folder::new();
    let mut first = None;
    for workers in [1, 2, 8] {
        folder
            .run(&format!(
                "replay {CAPTURE} --intel {BUNDLE} --workers {workers} --events e --sightings s"
            ))
            .exits(0);
        let written = (folder.read("e"), folder.read("s"));
        assert!(!written.0.is_empty());
        let first = first.get_or_insert_with(|| written.clone());
        assert!(*first == written, "{workers} workers");
    }
}

#[test]
fn patterns_over_several_observations_name_what_completed_them() {
    let folder = Folder::new();
    let (name, address) = (
        "[domain-name:value = 'cdn.lantern.example']",
        "[ipv4-addr:value = '203.0.113.66']",
    );
    let patterns = [
        format!("{name} AND {address}"),
        format!("{name} FOLLOWEDBY {address}"),
        format!("({address} AND {address}) OR ({name} REPEATS 2 TIMES)"),
        format!("({name} AND {address}) WITHIN 0.000001 SECONDS"),
        format!("{name} REPEATS 4000 TIMES"),
        format!("{name} FOLLOWEDBY [domain-name:value = 'absent.example']"),
    ];
    let mut bundle = bundle();
    let template = indicator(&mut bundle, "Control server of Lamplighter").clone();
    let objects = (0..).zip(&patterns).map(|(n, pattern)| {
        let mut object = template.clone();
        object["id"] = format!("indicator--0000000{n}-0000-4000-8000-000000000000").into();
        object["pattern"] = pattern.as_str().into();
        object
    });
    bundle["objects"] = objects.collect();
    folder.write("b.json", bundle.to_string());
    let mut first = None;
    for workers in [1, 2, 8] {
        let files = "--events e --sightings s --stats t";
        folder
            .run(&format!(
                "replay {CAPTURE} --intel b.json --workers {workers} {files}"
            ))
            .exits(0);
        let written = (folder.read("e"), folder.read("s"));
        let first = first.get_or_insert_with(|| written.clone());
        assert!(*first == written, "{workers} workers");
    }
    let events = folder.lines("e");
    assert_eq!(folder.json("t")["matches"], events.len());
    let mut completed = BTreeMap::<&str, u64>::new();
    for event in &events {
        let observations = event["observations"].as_array().expect("it has several");
        let times: Vec<_> = observations.iter().map(|o| text(o, "/timestamp")).collect();
        assert!(times.is_sorted() && observations.len() == 2, "{event}");
        let keys = ["observable", "flow_id", "timestamp"];
        let last = |o: &Value| keys.iter().all(|key| o[key] == event[key]);
        assert!(observations.iter().any(last), "{event}");
        *completed
            .entry(text(event, "/indicator/pattern"))
            .or_default() += 1;
    }
    let counts = patterns
        .each_ref()
        .map(|p| completed.get(p.as_str()).copied().unwrap_or(0));
    assert_eq!(counts, [1, 1, 1, 0, 0, 0]);
    let sightings = folder.json("s");
    let objects = sightings["objects"].as_array().expect("a bundle");
    let evidence: Vec<usize> = objects
        .iter()
        .filter_map(|o| Some(o["observed_data_refs"].as_array()?.len()))
        .collect();
    assert_eq!(evidence, [2, 2, 2]);
}

#[test]
fn compressed_and_piped_captures_are_the_capture() {
    let folder = Folder::new();
    let plain = fs::read(CAPTURE).unwrap();
    let expected = replay(&folder, &[CAPTURE], "");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 3).unwrap();
    for (name, bytes) in [
        ("a.pcap.gz", gzip),
        ("a.pcap.zst", zstd),
        ("no-ending", plain),
    ] {
        folder.write(name, &bytes);
        assert_eq!(replay(&folder, &[name], ""), expected, "{name}");
        let arguments = ["replay", "-", "--intel", BUNDLE, "--events", "-"];
        let piped = folder.run_with(&arguments, &bytes).exits(0).says_nothing();
        assert_eq!(lines(&piped.out), expected, "{name} piped");
    }
}

#[test]
fn a_dash_is_standard_input_and_output() {
    let folder = Folder::new();
    let expected = replay(&folder, &[CAPTURE], "");
    let bundle = fs::read(BUNDLE).unwrap();
    let arguments = ["replay", CAPTURE, "--intel", "-", "--events", "-"];
    let ran = folder.run_with(&arguments, &bundle).exits(0).says_nothing();
    let mut events = lines(&ran.out);
    for event in &mut events {
        assert_eq!(event["indicator"]["source"], "-");
        event["indicator"]["source"] = BUNDLE.into();
    }
    assert_eq!(events, expected);

    // where data goes to standard output, nothing else does
    let stats = folder
        .run(&format!("replay {CAPTURE} --intel {BUNDLE} --stats -"))
        .exits(0);
    assert_eq!(stats.json()["matches"], expected.len());
    let sightings = folder
        .run(&format!("replay {CAPTURE} --intel {BUNDLE} --sightings -"))
        .exits(0);
    assert_eq!(sightings.json()["type"], "bundle");
}

#[test]
fn a_filter_limits_what_is_looked_at() {
    let folder = Folder::new();
    let all = replay(&folder, &[CAPTURE], "");
    for (filter, keeps) in [
        (
            "port 53",
            (|event| text(event, "/app_proto") == "dns") as fn(&Value) -> bool,
        ),
        ("tcp port 443", |event| {
            event["src_port"] == 443 || event["dest_port"] == 443
        }),
        ("ip6", |event| text(event, "/src_ip").contains(':')),
        ("icmp", |_| false),
    ] {
        let arguments = [
            "replay", CAPTURE, "--intel", BUNDLE, "--events", "-", "--filter", filter,
        ];
        let ran = folder.run_with(&arguments, b"").exits(0).says_nothing();
        let expected: Vec<&Value> = all.iter().filter(|event| keeps(event)).collect();
        assert_eq!(
            lines(&ran.out).iter().collect::<Vec<_>>(),
            expected,
            "{filter}"
        );
        assert!(
            filter == "icmp" || !expected.is_empty(),
            "{filter} proves nothing"
        );
    }
}

#[test]
fn validity_is_judged_by_the_clock_that_was_chosen() {
    const NOTHING: &[(&str, &str, &str, u64)] = &[];
    let folder = Folder::new();
    let mut valid = EXPECTED.to_vec();
    valid.push(ALLOWLISTED);
    let mut with_expired = valid.clone();
    with_expired.push(EXPIRED);
    // seconds since the epoch: before the bundle's indicators, while all are valid
    let (early, amidst) = (1_700_000_000, 1_720_000_000);
    folder.write("early.pcap", captured_at(early));
    folder.write("amidst.pcap", captured_at(amidst));
    for (capture, clock, expected, (not_yet, expired)) in [
        (CAPTURE, "capture", &valid[..], (0, 2)),
        (CAPTURE, "now", &valid, (0, 2)),
        (CAPTURE, "ignore", &with_expired, (0, 0)),
        ("amidst.pcap", "capture", &with_expired, (0, 0)),
        ("amidst.pcap", "now", &valid, (0, 2)),
        ("early.pcap", "capture", NOTHING, (22, 0)),
        ("early.pcap", "ignore", &with_expired, (0, 0)),
    ] {
        let events = replay(
            &folder,
            &[capture],
            &format!("--validity {clock} --stats stats"),
        );
        assert_seen(&events, expected);
        let withheld = &folder.json("stats")["indicators"]["withheld"];
        assert_eq!(withheld["not_yet_valid"], not_yet, "{capture} {clock}");
        assert_eq!(withheld["expired"], expired, "{capture} {clock}");
    }
    // and a person is told
    let ran = folder
        .run(&format!("replay {CAPTURE} --intel {BUNDLE}"))
        .exits(0);
    assert!(ran.out.contains("2 more matches withheld"), "{}", ran.out);
    let ran = folder
        .run(&format!("replay early.pcap --intel {BUNDLE}"))
        .exits(0);
    assert!(ran.out.contains("No indicator matched."), "{}", ran.out);
    assert!(ran.out.contains("not yet valid"), "{}", ran.out);
}

#[test]
fn an_allowlist_changes_the_verdict_and_never_the_match() {
    let folder = Folder::new();
    let before = replay(&folder, &[CAPTURE], "");
    folder.write(
        "ours/partners.txt",
        "203.0.113.66\n.lantern.example  # a friend\n",
    );
    folder.write("ours/notes.md", "no rules\n");
    let after = replay(
        &folder,
        &[CAPTURE],
        "--rules ours --sightings s --stats stats",
    );
    let mut covered = 0;
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        for part in ["timestamp", "flow_id", "indicator", "observable"] {
            assert_eq!(before[part], after[part]);
        }
        let value = text(after, "/observable/value");
        if value == "203.0.113.66" || value.contains("lantern.example") {
            covered += 1;
            assert_eq!(after["verdict"]["action"], "allowlisted");
            assert!(
                text(after, "/verdict/reason").contains("partners.txt"),
                "{after}"
            );
        } else {
            assert_eq!(after["verdict"]["action"], "report", "{after}");
        }
    }
    // the address; the name three times; the URL at a covered name
    assert_eq!(covered, 5);
    assert_eq!(folder.json("stats")["matches_by_verdict"]["allowlisted"], 5);
    let bundle = folder.json("s");
    let sightings = sightings(&bundle);
    assert_eq!(sightings.len(), 14);
}

#[test]
fn several_captures_are_read_in_order_and_folders_by_name() {
    let folder = Folder::new();
    let (first, second) = (captured_at(1_760_000_000), captured_at(1_770_000_000));
    folder.write("day/2.pcap", &second);
    folder.write("day/1.pcap", &first);
    folder.write("day/notes.txt", "not a capture\n");
    folder.write("other.pcap", &first);
    let once = replay(&folder, &["other.pcap"], "");
    let named = replay(&folder, &["day/1.pcap", "day/2.pcap"], "--stats stats");
    assert_eq!(named.len(), 2 * once.len());
    assert_eq!(named[..once.len()], once);
    let times: Vec<&str> = named
        .iter()
        .map(|event| text(event, "/timestamp"))
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    let stats = folder.json("stats");
    assert_eq!(stats["captures"][0]["file"], "day/1.pcap");
    assert_eq!(stats["captures"][1]["file"], "day/2.pcap");

    let ran = folder
        .run(&format!("replay day --intel {BUNDLE} --events e.jsonl -q"))
        .exits(0);
    ran.says(&["day/notes.txt"]);
    assert_eq!(folder.lines("e.jsonl"), named);
}

#[test]
fn a_capture_cut_short_is_used_as_far_as_it_goes() {
    let folder = Folder::new();
    let whole = replay(&folder, &[CAPTURE], "");
    let bytes = fs::read(CAPTURE).unwrap();
    folder.write("cut.pcap", &bytes[..bytes.len() - 11]);
    let ran = folder
        .run(&format!(
            "replay cut.pcap --intel {BUNDLE} --events e.jsonl --stats stats"
        ))
        .exits(0)
        .says(&["warning: cut.pcap: ", "cut short"]);
    // the last packet is the answer of which the last match is made
    let (last, others) = whole.split_last().unwrap();
    assert_eq!(text(last, "/observable/place"), "dns.answer");
    assert_eq!(folder.lines("e.jsonl"), others);
    assert!(ran.out.contains("19 matches"), "{}", ran.out);
    let warnings = folder.json("stats")["captures"][0]["warnings"].clone();
    assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings}");
}

#[test]
fn output_files_are_written_from_their_start() {
    let folder = Folder::new();
    for name in ["e", "s", "t"] {
        folder.write(name, vec![b'x'; 1 << 20]);
    }
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {BUNDLE} --events e --sightings s --stats t --quiet"
        ))
        .exits(0)
        .says_nothing();
    assert!(!folder.lines("e").is_empty());
    folder.json("s");
    folder.json("t");
}

#[test]
fn without_a_match_there_is_an_identity_and_no_event() {
    let folder = Folder::new();
    folder.write("list.txt", "nothing.example\n");
    let ran = folder
        .run(&format!(
            "replay {CAPTURE} --intel list.txt --events e --sightings s"
        ))
        .exits(0)
        .says_nothing();
    assert!(ran.out.contains("No indicator matched."), "{}", ran.out);
    assert!(folder.read("e").is_empty());
    let bundle = folder.json("s");
    let objects = bundle["objects"].as_array().unwrap();
    assert_eq!(objects.len(), 1, "{bundle}");
    assert_eq!(objects[0]["type"], "identity");
}

#[test]
fn sightings_say_what_the_events_say() {
    let folder = Folder::new();
    let events = replay(&folder, &[CAPTURE], "--sightings s");
    let said = count(&events, |event| text(event, "/indicator/id").to_owned());
    let bundle = folder.json("s");
    let sighted: BTreeMap<String, u64> = sightings(&bundle)
        .iter()
        .map(|s| {
            (
                text(s, "/sighting_of_ref").to_owned(),
                s["count"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(sighted, said);
    for sighting in sightings(&bundle) {
        let times: Vec<&str> = events
            .iter()
            .filter(|event| event["indicator"]["id"] == sighting["sighting_of_ref"])
            .map(|event| text(event, "/timestamp"))
            .collect();
        assert_eq!(Some(&text(sighting, "/first_seen")), times.iter().min());
        assert_eq!(Some(&text(sighting, "/last_seen")), times.iter().max());
    }

    let Some(shared) = shared() else { return };
    if python_has("stix2, stix2validator") {
        let judged = Command::new("python3")
            .arg(shared.join("conformance/check_sightings.py"))
            .arg(folder.path("s"))
            .args(["--known-indicators", BUNDLE])
            .output()
            .unwrap();
        assert!(
            judged.status.success(),
            "{}",
            String::from_utf8_lossy(&judged.stdout)
        );
    }
}

#[test]
fn events_keep_to_their_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/event.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let folder = Folder::new();
    let mut events = replay(&folder, &[CAPTURE], "--validity ignore");
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {LIST} --events e.jsonl -q"
        ))
        .exits(0);
    events.extend(folder.lines("e.jsonl"));
    for event in &events {
        if let Err(fault) = keep_to(&schema, event) {
            panic!("{fault} in {event}");
        }
    }
    // that the check sees something
    let mut broken = events[0].clone();
    broken["observable"]["place"] = "nowhere".into();
    assert!(keep_to(&schema, &broken).is_err());
    broken = events[0].clone();
    broken["alert"]["more"] = 1.into();
    assert!(keep_to(&schema, &broken).is_err());
    broken = events[0].clone();
    broken.as_object_mut().unwrap().remove("verdict");
    assert!(keep_to(&schema, &broken).is_err());
}

#[test]
fn names_match_as_written_unless_the_rules_widen_them() {
    let folder = Folder::new();
    let mut bundle = bundle();
    let parent = "[domain-name:value = 'Lantern.Example']";
    indicator(&mut bundle, "Name of Paper Lantern")["pattern"] = parent.into();
    folder.write("b.json", bundle.to_string());
    folder.write("wide.toml", "[matching]\nsubdomains = \"always\"\n");
    let seen = |rules: &str| -> Vec<String> {
        folder
            .run(&format!(
                "replay {CAPTURE} --intel b.json --events e.jsonl -q {rules}"
            ))
            .exits(0);
        let events = folder.lines("e.jsonl");
        let named = events
            .iter()
            .filter(|event| event["indicator"]["pattern"] == parent)
            .map(|event| text(event, "/observable/value").to_owned());
        named.collect()
    };
    assert_eq!(seen(""), [""; 0]);
    let mut widened = seen("--rules wide.toml");
    widened.sort();
    widened.dedup();
    assert_eq!(
        widened,
        [
            "beacon", "cdn", "files", "login", "not-cdn", "old", "parked"
        ]
        .map(|name| format!("{name}.lantern.example"))
    );
}

/// Replays with the shipped bundle, and returns the events.
#[track_caller]
fn replay(folder: &Folder, captures: &[&str], options: &str) -> Vec<Value> {
    let captures = captures.join(" ");
    folder
        .run(&format!(
            "replay {captures} --intel {BUNDLE} --events events.jsonl --quiet {options}"
        ))
        .exits(0);
    folder.lines("events.jsonl")
}

#[track_caller]
fn assert_seen(events: &[Value], expected: &[(&str, &str, &str, u64)]) {
    let mut bundle = bundle();
    let seen = count(events, |event| {
        let [name, value, place] =
            ["/indicator/name", "/observable/value", "/observable/place"].map(|p| text(event, p));
        let pattern = text(indicator(&mut bundle, name), "/pattern").to_owned();
        let changes = expected.iter().any(|(n, v, ..)| *n == name && v.is_empty());
        let value = if changes && pattern.contains(value) {
            ""
        } else {
            value
        };
        (name.to_owned(), value.to_owned(), place.to_owned())
    });
    let expected: BTreeMap<_, u64> = expected
        .iter()
        .map(|(name, value, place, n)| {
            ((name.to_string(), value.to_string(), place.to_string()), *n)
        })
        .collect();
    assert_eq!(seen, expected);
}

fn count<K: Ord>(events: &[Value], mut key: impl FnMut(&Value) -> K) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(key(event)).or_default() += 1;
    }
    counts
}

fn sightings(bundle: &Value) -> Vec<&Value> {
    bundle["objects"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|o| o["type"] == "sighting")
        .collect()
}

/// The sample as if it had been captured at another time, in seconds since the epoch.
fn captured_at(seconds: u32) -> Vec<u8> {
    let mut bytes = fs::read(CAPTURE).unwrap();
    // pcap: a header of 24 bytes; records of seconds, microseconds, two lengths, and the frame
    let mut at = 24;
    let mut first = None;
    while at < bytes.len() {
        let number = |from: usize| u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap());
        let (time, length) = (number(at), number(at + 8) as usize);
        let first = *first.get_or_insert(time);
        bytes[at..at + 4].copy_from_slice(&(seconds + (time - first)).to_le_bytes());
        at += 16 + length;
    }
    bytes
}

/// The part of JSON schema that the schema of events is written in.
fn keep_to(schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, wanted) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                other => panic!("type {other}"),
            },
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_u64() >= wanted.as_u64(),
            "maximum" => value.as_u64() <= wanted.as_u64(),
            "minItems" => value.as_array().unwrap().len() as u64 >= wanted.as_u64().unwrap(),
            "maxItems" => value.as_array().unwrap().len() as u64 <= wanted.as_u64().unwrap(),
            "pattern" => regex::Regex::new(wanted.as_str().unwrap())
                .unwrap()
                .is_match(value.as_str().unwrap_or_default()),
            "format" => {
                assert_eq!(wanted, "date-time");
                let text = value.as_str().unwrap_or_default();
                watchpost::time::Timestamp::parse_rfc3339(text).is_some() && text.ends_with('Z')
            }
            "required" => {
                let mut keys = wanted.as_array().unwrap().iter().filter_map(Value::as_str);
                keys.all(|key| value.get(key).is_some())
            }
            "properties" => {
                for (key, schema) in wanted.as_object().unwrap() {
                    if let Some(value) = value.get(key) {
                        keep_to(schema, value).map_err(|fault| format!("{key}: {fault}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(wanted, false);
                let known = schema["properties"].as_object().unwrap();
                value
                    .as_object()
                    .is_some_and(|v| v.keys().all(|key| known.contains_key(key)))
            }
            "items" => {
                for value in value.as_array().into_iter().flatten() {
                    keep_to(wanted, value)?;
                }
                true
            }
            "$schema" | "title" | "description" => true,
            other => panic!("the schema uses '{other}', which this check does not know"),
        };
        if !holds {
            return Err(format!("{keyword} {wanted} does not hold"));
        }
    }
    Ok(())
}

#[test]
fn any_number_of_captures_is_replayed() {
    let folder = Folder::new();
    let many = vec![CAPTURE; 40].join(" ");
    for workers in [1, 2, 8] {
        let arguments =
            format!("replay {many} --intel {BUNDLE} --stats - --workers {workers} --quiet");
        let one = folder
            .run(&format!("replay {CAPTURE} --intel {BUNDLE} --stats -"))
            .exits(0);
        let all = folder.run(&arguments).exits(0);
        let packets = |stats: &Value| stats["packets"].as_u64().expect("a number");
        assert_eq!(packets(&all.json()), 40 * packets(&one.json()));
    }
}
