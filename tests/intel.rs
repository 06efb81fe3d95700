//! `watchpost intel check`, `compile` and `try`, as a user runs them.

mod common;

use common::BUNDLE;
use common::CAPTURE;
use common::Folder;
use common::LIST;
use common::bundle;
use common::indicator;
use common::text;
use serde_json::Value;
use serde_json::json;
use std::fs;
use std::process::Command;

/// Where the version of the format stands in a compiled set: after eight bytes of magic.
const VERSION_AT: usize = 8;

#[test]
fn check_says_what_loads() {
    let folder = Folder::new();
    let ran = folder
        .run(&format!("intel check --json {BUNDLE} {LIST}"))
        .exits(0)
        .says_nothing();
    let sources = ran.json()["sources"].clone();
    assert_eq!(sources.as_array().map(Vec::len), Some(2));
    let (stix, list) = (&sources[0], &sources[1]);
    assert_eq!(stix["file"], BUNDLE);
    assert_eq!(list["file"], LIST);
    for (key, of_bundle, of_list) in [
        ("loaded", 15, 7),
        ("expired", 1, 0),
        ("revoked", 1, 0),
        ("superseded", 0, 0),
        ("duplicate", 0, 0),
        ("allowlisted", 1, 0),
    ] {
        assert_eq!(stix[key], of_bundle, "{key} of the bundle");
        assert_eq!(list[key], of_list, "{key} of the list");
    }
    for source in [stix, list] {
        assert_eq!(source["refused"], json!([]));
        assert_eq!(source.get("error"), None);
    }
    let process = indicator(&mut bundle(), "Process of Lamplighter")["id"].clone();
    assert_eq!(stix["unseeable"].as_array().map(Vec::len), Some(1));
    assert_eq!(stix["unseeable"][0]["object"], process);
    assert!(
        text(stix, "/unseeable/0/reason").contains("process:name"),
        "{stix}"
    );
    assert_eq!(list["unseeable"], json!([]));

    let ran = folder
        .run(&format!("intel check {BUNDLE} {LIST}"))
        .exits(0)
        .says_nothing();
    for part in ["list.txt", "process:name", "22 indicators can match"] {
        assert!(
            ran.out.contains(part),
            "'{part}' is missing in: {}",
            ran.out
        );
    }
}

#[test]
fn check_says_what_does_not_load_and_why() {
    let folder = Folder::new();
    let mut broken = bundle();
    let name = "Control server of Lamplighter";
    let id = indicator(&mut broken, name)["id"].clone();
    indicator(&mut broken, name)["pattern"] = "[ipv4-addr:value = '203.0.113.66'".into();
    let place = broken["objects"]
        .as_array()
        .unwrap()
        .iter()
        .position(|o| o["id"] == id)
        .unwrap();
    let again = indicator(&mut broken, "Name of Paper Lantern").clone();
    let mut older = indicator(&mut broken, "Link in the invoices").clone();
    older["modified"] = "2023-01-01T00:00:00Z".into();
    older["created"] = "2023-01-01T00:00:00Z".into();
    broken["objects"]
        .as_array_mut()
        .unwrap()
        .extend([again, older]);
    folder.write("b.json", broken.to_string());
    folder.write("list.txt", "192.0.2.1\n192.0.2.999\n");
    let ran = folder.run("intel check --json b.json list.txt").exits(2);
    let sources = ran.json()["sources"].clone();
    let refused = &sources[0]["refused"];
    assert_eq!(refused.as_array().map(Vec::len), Some(1), "{refused}");
    assert_eq!(refused[0]["object"], id);
    assert_eq!(refused[0]["path"], format!("objects[{place}].pattern"));
    assert!(
        text(refused, "/0/reason").contains("column 33"),
        "{refused}"
    );
    assert_eq!(sources[0]["loaded"], 14);
    assert_eq!(sources[0]["duplicate"], 1);
    assert_eq!(sources[0]["superseded"], 1);
    assert_eq!(sources[1]["loaded"], 1);
    assert_eq!(sources[1]["refused"][0]["path"], "line 2");

    // a source that gives nothing is in the list all the same
    folder.write("cut.json", "{\"type\": \"bundle\", \"objects\": [");
    let ran = folder.run("intel check --json cut.json list.txt").exits(2);
    let sources = ran.json()["sources"].clone();
    assert_eq!(sources[0]["file"], "cut.json");
    assert_eq!(sources[0]["loaded"], 0);
    assert!(text(&sources, "/0/error").contains("line 1"), "{sources}");
    assert_eq!(sources[1]["loaded"], 1);
}

#[test]
fn check_heeds_the_rules_that_are_named() {
    let folder = Folder::new();
    folder.write("allow.txt", "203.0.113.66\n.lantern.example\n");
    let ran = folder
        .run(&format!("intel check --json {BUNDLE} --rules allow.txt"))
        .exits(0);
    // the address, two names, the URL
    assert_eq!(ran.json()["sources"][0]["allowlisted"], 4);
}

#[test]
fn a_compiled_set_is_the_bundle() {
    let folder = Folder::new();
    let ran = folder
        .run(&format!(
            "intel compile --json {BUNDLE} --output sample.set"
        ))
        .exits(0)
        .says_nothing();
    let figures = ran.json();
    assert_eq!(figures["indicators"], 15);
    let size =
        figures["match_bytes"].as_u64().unwrap() + figures["explain_bytes"].as_u64().unwrap();
    assert_eq!(size, folder.read("sample.set").len() as u64);
    let outputs = |intel: &str, name: &str| {
        folder
            .run(&format!(
                "replay {CAPTURE} --intel {intel} --events {name}.e --sightings {name}.s \
                 --stats {name}.t -q"
            ))
            .exits(0)
            .says_nothing();
        let stats = folder.json(&format!("{name}.t"));
        (
            folder.lines(&format!("{name}.e")),
            folder.read(&format!("{name}.s")),
            [
                stats["matches_by_verdict"].clone(),
                stats["indicators"].clone(),
            ],
        )
    };
    assert_eq!(outputs("sample.set", "set"), outputs(BUNDLE, "bundle"));
    // to standard output, and the figures beside it
    let piped = Command::new(env!("CARGO_BIN_EXE_watchpost"))
        .args(["intel", "compile", BUNDLE, "--output", "-"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&piped.stderr).contains("15 indicators"));
    folder.write("piped.set", &piped.stdout);
    assert_eq!(outputs("piped.set", "piped"), outputs(BUNDLE, "bundle"));

    // both sources in one
    folder
        .run(&format!("intel compile {BUNDLE} {LIST} --output both.set"))
        .exits(0);
    let both = outputs("both.set", "both");
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {BUNDLE} {LIST} --events e -q"
        ))
        .exits(0);
    assert_eq!(both.0, folder.lines("e"));
    assert_eq!(both.0.len(), 33);
}

#[test]
fn a_set_replaces_another_in_one_step() {
    let folder = Folder::new();
    folder
        .run(&format!("intel compile {LIST} --output a.set"))
        .exits(0);
    let list = folder.read("a.set");
    folder
        .run("intel compile absent.json --output a.set")
        .exits(2);
    assert_eq!(folder.read("a.set"), list);
    folder
        .run(&format!("intel compile {BUNDLE} --output a.set"))
        .exits(0);
    assert_ne!(folder.read("a.set"), list);
    // and nothing is left beside it
    let beside = fs::read_dir(folder.path(".")).unwrap().count();
    assert_eq!(beside, 1);
}

#[test]
fn a_set_that_is_not_whole_is_refused_with_advice() {
    let folder = Folder::new();
    let figures = folder
        .run(&format!("intel compile --json {BUNDLE} --output whole.set"))
        .exits(0)
        .json();
    let whole = folder.read("whole.set");
    let refused = |what: &str, content: &[u8], parts: &[&str]| {
        folder.write("a.set", content);
        let ran = folder
            .run(&format!("replay {CAPTURE} --intel a.set"))
            .exits(2)
            .says(&["a.set: "]);
        assert_eq!(ran.out, "", "{what}");
        ran.says(parts);
    };
    for length in [8, 9, 79, 80, 500, whole.len() / 2, whole.len() - 1] {
        refused(
            "cut short",
            &whole[..length],
            &["cut short", "copy or compile it again"],
        );
    }
    let mut newer = whole.clone();
    newer[VERSION_AT] += 1;
    refused(
        "newer",
        &newer,
        &[
            &format!("format {}", whole[VERSION_AT] + 1),
            "compile it again from its sources",
        ],
    );
    // every part of what is matched against, and its header but four bytes that mean nothing
    let matching = figures["match_bytes"].as_u64().unwrap() as usize;
    for at in (8..20).chain(24..80).chain((80..matching).step_by(97)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        refused("damaged", &damaged, &[]);
    }
    // the magic gone, it is no set; nor anything else
    let mut other = whole.clone();
    other[0] ^= 0x40;
    refused("other", &other, &["binary data"]);

    folder
        .run(&format!("replay {CAPTURE} --intel whole.set {LIST}"))
        .exits(2)
        .says(&["whole.set: a compiled set is used alone", "intel compile"]);
}

#[test]
fn try_answers_for_a_pattern() {
    let folder = Folder::new();
    let id = "8c1ce1e4-0b0f-4a51-8a3e-5d6a7e1f3c11";
    let observed = json!({
        "type": "bundle",
        "id": format!("bundle--{id}"),
        "objects": [
            {
                "type": "observed-data", "spec_version": "2.1", "id": format!("observed-data--{id}"),
                "created": "2024-02-01T00:00:00Z", "modified": "2024-02-01T00:00:00Z",
                "first_observed": "2024-02-01T00:00:00Z", "last_observed": "2024-02-01T00:00:00Z",
                "number_observed": 1, "object_refs": [format!("domain-name--{id}")]
            },
            {
                "type": "domain-name", "spec_version": "2.1", "id": format!("domain-name--{id}"),
                "value": "cdn.lantern.example"
            }
        ]
    })
    .to_string();
    folder.write("observed.json", &observed);
    folder.write("cut.json", &observed[..observed.len() / 2]);
    let run = |arguments: &[&str], input: &str| {
        folder.run_with(
            &[&["intel", "try", "--pattern"], arguments].concat(),
            input.as_bytes(),
        )
    };
    let (same, other) = ["cdn", "edge"]
        .map(|name| format!("[domain-name:value = '{name}.lantern.example']"))
        .into();
    for (pattern, answer) in [
        (&same, "{\"match\": true}\n"),
        (&other, "{\"match\": false}\n"),
    ] {
        let ran = run(&[pattern, "observed.json"], "").exits(0).says_nothing();
        assert_eq!(ran.out, answer);
        assert_eq!(run(&[pattern, "-"], &observed).exits(0).out, answer);
        assert_eq!(
            run(&[pattern, "--spec", "2.0", "observed.json"], "")
                .exits(0)
                .out,
            answer
        );
    }
    let ran = run(&[&same[..same.len() - 1], "observed.json"], "").exits(2);
    assert_eq!(ran.out, "");
    ran.says(&["line 1, column "]);
    run(&[&same, "absent.json"], "")
        .exits(2)
        .says(&["absent.json: "]);
    run(&[&same, "cut.json"], "")
        .exits(2)
        .says(&["cut.json: ", "line 1"]);
}

#[test]
fn a_pattern_that_the_wire_shows_is_the_pattern_that_try_knows() {
    let folder = Folder::new();
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {BUNDLE} --sightings s -q"
        ))
        .exits(0);
    // what was sighted of an indicator satisfies its pattern
    let sightings = folder.json("s");
    let mut tried = 0;
    let objects: &Vec<Value> = sightings["objects"].as_array().unwrap();
    for sighting in objects.iter().filter(|o| o["type"] == "sighting") {
        let mut shared = bundle();
        let shared = shared["objects"].as_array_mut().unwrap();
        let indicator = shared
            .iter()
            .find(|o| o["id"] == sighting["sighting_of_ref"])
            .unwrap();
        let pattern = text(indicator, "/pattern");
        // fingerprints are in observed data as an extension, under names of their own; and STIX
        // 2.1 holds a list of user agents, which patterns in use take for the text of 2.0
        if pattern.contains(":x_") || pattern.contains("'User-Agent'") {
            continue;
        }
        let ran = folder
            .run_with(&["intel", "try", "--pattern", pattern, "s"], b"")
            .exits(0);
        assert_eq!(ran.out, "{\"match\": true}\n", "{pattern}");
        tried += 1;
    }
    assert_eq!(tried, 11);
}
