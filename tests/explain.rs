//! `watchpost intel explain` and `list`, as a user runs them.

mod common;

use common::CAPTURE;
use common::Folder;
use common::Ran;
use common::lines;
use common::text;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::BufRead;
use std::io::BufReader;
use std::process::Command;
use std::process::Stdio;

/// Makes a bundle whose indicators have their number in their id.
fn bundle() -> Value {
    let red = "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed";
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let mut objects = vec![
        json!({
            "type": "malware", "spec_version": "2.1", "is_family": true,
            "id": "malware--00000000-0000-4000-8000-000000000001",
            "created": "2024-01-01T00:00:00Z", "modified": "2024-01-01T00:00:00Z",
            "name": "Lamplighter",
        }),
        json!({
            "type": "course-of-action", "spec_version": "2.1",
            "id": "course-of-action--00000000-0000-4000-8000-000000000002",
            "created": "2024-01-01T00:00:00Z", "modified": "2024-01-01T00:00:00Z",
            "name": "Block and clean",
        }),
        relationship(
            3,
            "indicates",
            &id(1),
            "malware--00000000-0000-4000-8000-000000000001",
        ),
        relationship(
            4,
            "mitigates",
            "course-of-action--00000000-0000-4000-8000-000000000002",
            &id(1),
        ),
    ];
    for (number, name, pattern, more) in [
        (
            1,
            "C2",
            "[domain-name:value = 'c2.example']",
            json!({"confidence": 90}),
        ),
        (
            2,
            "Network",
            "[ipv4-addr:value = '198.51.100.0/24']",
            json!({"confidence": 80}),
        ),
        (
            3,
            "Link",
            "[url:value = 'http://www.example.org/Mal']",
            json!({}),
        ),
        (
            4,
            "Old name",
            "[domain-name:value = 'old.example']",
            json!({"valid_until": "2024-02-01T00:00:00Z"}),
        ),
        (
            5,
            "Coming name",
            "[domain-name:value = 'coming.example']",
            json!({"valid_from": "2999-01-01T00:00:00Z"}),
        ),
        (
            6,
            "Localhost",
            "[ipv4-addr:value = '127.0.0.1']",
            json!({"confidence": 99}),
        ),
        (
            7,
            "Panel",
            "[network-traffic:dst_ref.value = '203.0.113.7' AND network-traffic:dst_port = 8443]",
            json!({}),
        ),
        (
            8,
            "Beacon",
            "[domain-name:value = 'beacon.example'] FOLLOWEDBY [ipv4-addr:value = '203.0.113.8']",
            json!({}),
        ),
        (
            9,
            "Dropper",
            &*format!("[file:hashes.MD5 = '{md5}']"),
            json!({"labels": ["dropper"]}),
        ),
        (
            10,
            "Client",
            &*format!("[network-traffic:x_ja3_hash = '{md5}']"),
            json!({}),
        ),
        (
            11,
            "Sender",
            "[email-addr:value = 'joe@c2.example']",
            json!({}),
        ),
        (
            12,
            "Secret",
            "[file:name = 'invoice.exe']",
            json!({"object_marking_refs": [red], "name": "Secret\u{1b}[31m\u{202e}"}),
        ),
        (
            13,
            "Sweeper",
            "[network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' LIKE 'Sweeper/%']",
            json!({}),
        ),
    ] {
        let mut object = json!({
            "type": "indicator", "spec_version": "2.1", "id": id(number),
            "created": "2024-01-01T00:00:00Z", "modified": "2024-01-02T00:00:00Z",
            "indicator_types": ["malicious-activity"], "name": name,
            "pattern": pattern, "pattern_type": "stix", "valid_from": "2024-01-01T00:00:00Z",
        });
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        objects.push(object);
    }
    json!({
        "type": "bundle", "id": "bundle--00000000-0000-4000-8000-000000000000",
        "objects": objects,
    })
}

fn id(number: u32) -> String {
    format!("indicator--00000000-0000-4000-8000-{number:012}")
}

fn relationship(number: u32, kind: &str, source: &str, target: &str) -> Value {
    json!({
        "type": "relationship", "spec_version": "2.1",
        "id": format!("relationship--00000000-0000-4000-8000-{number:012}"),
        "created": "2024-01-01T00:00:00Z", "modified": "2024-01-01T00:00:00Z",
        "relationship_type": kind, "source_ref": source, "target_ref": target,
    })
}

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("b.json", bundle().to_string());
    folder
}

/// Numbers of the indicators under a key of an answer.
fn numbers(answer: &Value, key: &str) -> Vec<u32> {
    let entries = answer[key].as_array().unwrap();
    entries
        .iter()
        .map(|entry| {
            let id = text(entry, "/indicator/id");
            id.rsplit('-').next().unwrap().parse().unwrap()
        })
        .collect()
}

fn explain(folder: &Folder, value: &str, more: &[&str]) -> Value {
    let mut arguments = vec!["intel", "explain", value, "--intel", "b.json", "--json"];
    arguments.extend(more);
    folder.run_with(&arguments, b"").exits(0).json()
}

/// The strongest verdict and where it holds.
fn verdict(answer: &Value) -> (&str, Vec<&str>) {
    let first = &answer["matches"][0]["verdicts"][0];
    let places = first["places"].as_array().unwrap();
    (
        text(first, "/action"),
        places.iter().filter_map(Value::as_str).collect(),
    )
}

#[test]
fn a_value_meets_what_traffic_would_meet() {
    let folder = folder();
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let none: &[u32] = &[];
    for (value, matches, terms, near) in [
        ("c2.example", &[1][..], none, none),
        ("C2[.]EXAMPLE.", &[1], none, none),
        ("www.c2.example", none, none, &[1][..]),
        ("example", none, none, &[1, 4, 5, 8]),
        ("198.51.100.77", &[2], none, none),
        ("198.51.100.0/25", &[2], none, none),
        ("198.51.0.0/16", none, none, &[2]),
        ("198.51.101.1", none, none, none),
        ("http://www.example.org/Mal", &[3], none, none),
        ("hxxp://WWW.example[.]org:80/Mal#x", &[3], none, none),
        ("http://www.example.org/mal", none, none, &[3]),
        ("https://www.example.org/Mal", none, none, &[3]),
        ("www.example.org", none, none, &[3]),
        ("http://c2.example/x", none, none, &[1]),
        ("joe@c2.example", &[11], none, &[1]),
        ("JOE@c2[.]example", &[11], none, &[1]),
        ("old.example", &[4], none, none),
        ("coming.example", &[5], none, none),
        ("127.0.0.1", &[6], none, none),
        ("203.0.113.7", none, &[7], none),
        ("203.0.113.7:8443", &[7], none, none),
        ("203.0.113.7:443", none, &[7], none),
        ("beacon.example", none, &[8], none),
        ("203.0.113.8", none, &[8], none),
        (md5, &[9, 10], none, none),
        ("Sweeper/1.0", &[13], none, none),
        ("invoice.exe", &[12], none, none),
        ("nothing.test", none, none, none),
    ] {
        let answer = explain(&folder, value, &[]);
        assert_eq!(answer["value"], value);
        for (key, expected) in [("matches", matches), ("terms", terms), ("near", near)] {
            assert_eq!(
                numbers(&answer, key),
                expected,
                "{key} of {value}: {answer:#}"
            );
        }
    }
    let only = explain(&folder, md5, &["--type", "file"]);
    assert_eq!(numbers(&only, "matches"), [9]);
}

#[test]
fn validity_withholds_and_is_told() {
    let folder = folder();
    for (value, valid) in [("old.example", "past"), ("coming.example", "future")] {
        let answer = explain(&folder, value, &[]);
        assert_eq!(answer["matches"][0]["withheld"], true, "{value}");
        assert_eq!(answer["matches"][0]["indicator"]["valid"], valid);
        let answer = explain(&folder, value, &["--validity", "ignore"]);
        assert_eq!(answer["matches"][0]["withheld"], false, "{value}");
    }
}

#[test]
fn policy_says_where_it_would_block() {
    let folder = folder();
    let answer = explain(&folder, "c2.example", &[]);
    assert_eq!(
        verdict(&answer),
        ("would-block", vec!["dns.query", "tls.sni", "http.host"])
    );
    let rest = &answer["matches"][0]["verdicts"][1];
    assert_eq!(rest["action"], "report");
    let answer = explain(&folder, "127.0.0.1", &[]);
    assert_eq!(verdict(&answer).0, "allowlisted");
    assert!(text(&answer, "/matches/0/verdicts/0/reason").contains("127.0.0.0/8"));

    folder.write("rules/p.toml", "[policy]\ndefault_action = \"block\"\n");
    let answer = explain(&folder, "198.51.100.7", &["--rules", "rules"]);
    let (action, places) = verdict(&answer);
    assert_eq!(action, "would-block");
    assert_eq!(
        places,
        ["flow.src", "flow.dst", "flow.tunnel.src", "flow.tunnel.dst"]
    );
    let named = answer["matches"][0]["verdicts"].as_array().unwrap();
    let reason = named
        .iter()
        .find(|v| v["places"][0] == "dns.answer")
        .map(|v| text(v, "/reason"));
    assert!(
        reason.unwrap().contains("never blocks by itself"),
        "{answer:#}"
    );

    folder.write("rules/p.toml", "[matching]\nsubdomains = \"always\"\n");
    let answer = explain(&folder, "www.c2.example", &["--rules", "rules"]);
    assert_eq!(numbers(&answer, "matches"), [1]);
}

#[test]
fn an_answer_has_every_reason() {
    let folder = folder();
    let answer = explain(&folder, "c2.example", &[]);
    let keys: BTreeSet<&str> = answer
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        BTreeSet::from(["value", "read_as", "matches", "terms", "near"])
    );
    let indicator = &answer["matches"][0]["indicator"];
    for (key, expected) in [
        ("id", json!(id(1))),
        ("name", json!("C2")),
        ("pattern", json!("[domain-name:value = 'c2.example']")),
        ("source", json!("b.json")),
        ("confidence", json!(90)),
        ("labels", json!(["malicious-activity"])),
        ("modified", json!("2024-01-02T00:00:00.000000Z")),
        ("valid_from", json!("2024-01-01T00:00:00.000000Z")),
        ("valid", json!("now")),
        (
            "indicates",
            json!([{"type": "malware", "name": "Lamplighter"}]),
        ),
        (
            "countermeasures",
            json!([{"type": "course-of-action", "name": "Block and clean"}]),
        ),
    ] {
        assert_eq!(indicator[key], expected, "{key}");
    }
    let ran = folder
        .run("intel explain c2.example www.c2.example 203.0.113.7 old.example --intel b.json")
        .exits(0)
        .says_nothing();
    for part in [
        "WOULD BLOCK  C2",
        "Lamplighter (malware)",
        "Block and clean (course-of-action)",
        "seen in dns.query, tls.sni, http.host: rule `confident addresses and names`",
        "NO MATCH  C2",
        "c2.example is loaded for that name alone",
        "ONE TERM  Panel",
        "network-traffic:dst_port = 8443",
        "EXPIRED  Old name",
    ] {
        assert!(
            ran.out.contains(part),
            "'{part}' is missing in:\n{}",
            ran.out
        );
    }
}

#[test]
fn a_compiled_set_answers_as_its_sources_do() {
    let folder = folder();
    folder.run("intel compile b.json --output i.set").exits(0);
    let plain = folder.run("intel list --intel b.json --json").exits(0);
    let compiled = folder.run("intel list --intel i.set --json").exits(0);
    assert_eq!(lines(&plain.out), lines(&compiled.out));
    let of = |set: &str| {
        folder
            .run(&format!(
                "intel explain c2.example 203.0.113.8 --intel {set}"
            ))
            .exits(0)
            .out
    };
    assert_eq!(of("b.json"), of("i.set"));
}

fn listed(ran: &Ran) -> Vec<u32> {
    lines(&ran.out)
        .iter()
        .map(|line| {
            text(line, "/id")
                .rsplit('-')
                .next()
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

#[test]
fn list_filters() {
    let folder = folder();
    folder.write("list.txt", "192.0.2.1\n");
    for (filters, expected) in [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13][..]),
        ("--type domain-name", &[1, 4, 5, 8]),
        ("--type network-traffic", &[7, 10, 13]),
        ("--type ipv4-addr", &[2, 6, 8]),
        ("--type x509-certificate", &[]),
        ("--marking red", &[12]),
        ("--marking TLP:RED", &[12]),
        ("--marking unmarked --type file", &[9]),
        ("--valid past", &[4]),
        ("--valid future", &[5]),
        ("--valid now --type domain-name", &[1, 8]),
        (
            "--valid 2024-01-15T00:00:00Z --type domain-name",
            &[1, 4, 8],
        ),
        ("--valid 2023-01-15T00:00:00Z", &[]),
        ("--label DROPPER", &[9]),
        ("--label drop", &[]),
        ("--text C2", &[1, 11]),
        ("--text panel", &[7]),
        ("--source B.js --limit 2", &[1, 2]),
        ("--source nowhere", &[]),
    ] {
        let ran = folder
            .run(&format!("intel list --intel b.json --json {filters}"))
            .exits(0);
        assert_eq!(listed(&ran), expected, "{filters}");
        let says_so = ran.err.contains("no indicator fits");
        assert_eq!(says_so, expected.is_empty(), "{filters}: {}", ran.err);
    }
    let ran = folder
        .run("intel list --intel b.json list.txt --source list.txt --json")
        .exits(0);
    let line = ran.json();
    assert_eq!(line["pattern"], "[ipv4-addr:value = '192.0.2.1']");
    assert_eq!(line.get("modified"), None, "a list does not say");
}

#[test]
fn what_sources_say_is_harmless() {
    let folder = folder();
    for command in [
        "intel list --intel b.json",
        "intel list --intel b.json --json",
        "intel explain invoice.exe --intel b.json",
        "intel explain invoice.exe --intel b.json --json",
    ] {
        let ran = folder.run(command).exits(0);
        assert!(ran.out.contains("Secret"), "{command}: {}", ran.out);
        assert!(!ran.out.contains(['\u{1b}', '\u{202e}']), "{command}");
    }
    let ran = folder.run("intel list --intel b.json").exits(0);
    assert_eq!(ran.out.lines().count(), 14, "{}", ran.out);
}

#[test]
fn used_wrongly() {
    let folder = folder();
    folder.write("broken.json", "{\"type\": \"bundle\", \"objects\": [");
    for (arguments, parts) in [
        ("explain --intel b.json", &["VALUE"][..]),
        ("explain a.example", &["--intel"]),
        ("explain 192.0.2.999 --intel b.json", &["four numbers"]),
        (
            "explain *.a.example --intel b.json",
            &["a.example", "ask for one"],
        ),
        (
            "explain a.example --type ipv4-addr --intel b.json",
            &["cannot be read as ipv4-addr", "--type"],
        ),
        ("explain a.example --intel nowhere.json", &["nowhere.json"]),
        ("explain a.example --intel broken.json", &["broken.json"]),
        ("list --intel broken.json", &["broken.json"]),
        ("list --intel nowhere.json", &["nowhere.json"]),
        ("list", &["--intel"]),
        ("list --intel b.json --marking pink", &["pink", "TLP:RED"]),
        ("list --intel b.json --valid soon", &["now, past, future"]),
        ("list --intel b.json --limit 0", &["limit"]),
    ] {
        folder
            .run(&format!("intel {arguments}"))
            .exits(2)
            .says(parts);
    }
    // one usable source is enough
    folder
        .run("intel explain c2.example --intel broken.json b.json")
        .exits(0)
        .says(&["warning: broken.json"]);
    let ran = folder
        .run(&format!("intel list --intel {CAPTURE}"))
        .exits(2);
    assert_eq!(ran.out, "");
}

#[test]
fn a_reader_that_went_away_ends_the_list_quietly() {
    let folder = Folder::new();
    let lines: Vec<String> = (0..20_000)
        .map(|n| format!("10.{}.{}.1", n / 250, n % 250))
        .collect();
    let path = folder.write("list.txt", lines.join("\n"));
    for json in [&[][..], &["--json"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchpost"))
            .args(["intel", "list", "--intel"])
            .arg(&path)
            .args(json)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        assert!(!first.is_empty());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    }
}
