//! How commands end: 0 done, 1 failed while running, 2 used wrongly or a named source gave
//! nothing, 3 something matched and `--fail-on-match` was given.

mod common;

use common::BUNDLE;
use common::CAPTURE;
use common::Folder;
use common::LIST;
use common::bundle;
use common::indicator;
use std::fs;

#[test]
fn what_was_typed_wrongly_is_told() {
    let folder = Folder::new();
    for (arguments, said) in [
        ("", "Usage"),
        ("reply", "unrecognized subcommand"),
        ("replay", "CAPTURE"),
        (&format!("replay --intel {BUNDLE}"), "CAPTURE"),
        (&format!("replay {CAPTURE}"), "--intel"),
        (
            &format!("replay {CAPTURE} --intel {BUNDLE} --workers 0"),
            "--workers",
        ),
        (
            &format!("replay {CAPTURE} --intel {BUNDLE} --validity never"),
            "--validity",
        ),
        (
            &format!("replay {CAPTURE} --intel {BUNDLE} --filter nonsense!"),
            "filter 'nonsense!'",
        ),
        (
            &format!("replay {CAPTURE} --intel {BUNDLE} --rules absent"),
            "absent",
        ),
        (&format!("replay - {CAPTURE} --intel -"), "standard input"),
        (
            &format!("replay {CAPTURE} --intel {BUNDLE} --events - --stats -"),
            "standard output",
        ),
        ("intel check", "SOURCE"),
        ("intel compile list.txt", "--output"),
        ("intel try", "--pattern"),
        ("block", "Usage"),
        ("block add 192.0.2.1", "--for"),
        ("block add 192.0.2.1 --for 1y", "90m"),
        ("block add example.org --for 1h", "neither an address"),
        ("block add 127.0.0.1 --for 1h", "loopback"),
        ("block add 0.0.0.0/0 --for 1h", "too wide"),
    ] {
        let ran = folder.run(arguments).exits(2).says(&[said]);
        assert_eq!(ran.out, "", "{arguments}");
    }
    for arguments in [
        "--help",
        "--version",
        "replay --help",
        "intel --help",
        "intel check --help",
        "block --help",
        "block add --help",
    ] {
        let ran = folder.run(arguments).exits(0).says_nothing();
        assert!(ran.out.contains("watchpost"), "{arguments}: {}", ran.out);
    }
}

#[test]
fn captures_that_give_nothing_are_told() {
    let folder = Folder::new();
    let capture = fs::read(CAPTURE).unwrap();
    folder.write("empty.pcap", "");
    folder.write("text.pcap", "this is no capture\n");
    // as far as the header of the first record
    folder.write("begun.pcap", &capture[..30]);
    fs::create_dir(folder.path("folder")).unwrap();
    for (named, parts) in [
        ("absent.pcap", &["absent.pcap: cannot be opened"][..]),
        ("empty.pcap", &["empty.pcap: is empty"]),
        (
            "text.pcap",
            &["text.pcap: not a capture", "pcap and pcapng"],
        ),
        ("begun.pcap", &["begun.pcap: ", "cut short"]),
        ("folder", &["folder: no capture in this folder"]),
    ] {
        folder
            .run(&format!("replay {named} --intel {BUNDLE}"))
            .exits(2)
            .says(parts);
    }
    // others are used nevertheless
    for arguments in [
        format!("{CAPTURE} text.pcap"),
        format!("text.pcap {CAPTURE}"),
    ] {
        folder
            .run(&format!(
                "replay {arguments} --intel {BUNDLE} --events e.jsonl --fail-on-match"
            ))
            .exits(2)
            .says(&["text.pcap: not a capture"]);
        assert!(!folder.lines("e.jsonl").is_empty());
    }
    // a capture in which nothing happened is one
    folder.write("quiet.pcap", &capture[..24]);
    folder
        .run(&format!("replay quiet.pcap --intel {BUNDLE}"))
        .exits(0)
        .says_nothing();
}

#[test]
fn sources_that_give_nothing_are_told_with_the_place() {
    let folder = Folder::new();
    let shipped = fs::read_to_string(BUNDLE).unwrap();
    folder.write("cut.json", &shipped[..shipped.len() / 2]);
    // line 4 of the shipped bundle opens the array of objects
    folder.write(
        "comma.json",
        shipped.replacen("\"objects\": [", "\"objects\": [,", 1),
    );
    folder.write("other.json", r#"{"answer": 42}"#);
    folder.write(
        "prose.txt",
        "Dear colleagues,\nplease find below what we saw.\nYours\n",
    );
    folder.write("binary", b"\x7fELF\x02\x01\x01\0\0\0\xff");
    folder.write("empty.txt", "");
    fs::create_dir(folder.path("folder")).unwrap();
    for (named, parts) in [
        ("absent.json", &["absent.json: "][..]),
        (
            "cut.json",
            &["cut.json: line ", "column ", "objects[", "ends within"],
        ),
        ("comma.json", &["comma.json: line 4, column "]),
        ("other.json", &["other.json: neither a STIX bundle"]),
        ("prose.txt", &["prose.txt: ", "line 1"]),
        ("binary", &["binary: binary data"]),
        ("empty.txt", &["empty.txt: it is empty"]),
        ("folder", &["folder: "]),
    ] {
        let ran = folder
            .run(&format!("replay {CAPTURE} --intel {named}"))
            .exits(2)
            .says(parts);
        // nothing was looked for, so nothing is said of what was found
        assert_eq!(ran.out, "", "{named}");
        folder
            .run(&format!("intel check {named}"))
            .exits(2)
            .says(parts);
        folder
            .run(&format!("intel compile {named} --output {named}.set"))
            .exits(2)
            .says(parts);
        assert!(!folder.path(&format!("{named}.set")).exists());
        // others are used nevertheless
        folder
            .run(&format!(
                "replay {CAPTURE} --intel {named} {LIST} --events e.jsonl"
            ))
            .exits(2)
            .says(parts);
        assert!(!folder.lines("e.jsonl").is_empty(), "{named}");
    }
}

#[test]
fn broken_objects_cost_a_warning_and_themselves() {
    let folder = Folder::new();
    let mut bundle = bundle();
    indicator(&mut bundle, "Control server of Lamplighter")["pattern"] =
        "[ipv4-addr:value = '203.0.113.66'".into();
    indicator(&mut bundle, "Link in the invoices")["valid_from"] = "yesterday".into();
    bundle["objects"]
        .as_array_mut()
        .unwrap()
        .push("no object".into());
    folder.write("some.json", bundle.to_string());
    folder
        .run(&format!(
            "replay {CAPTURE} --intel some.json --events e.jsonl --stats stats -q"
        ))
        .exits(0)
        .says(&[
            "warning: some.json: objects refused: 3",
            "objects[",
            "intel check",
        ]);
    // 20 of the whole bundle
    assert_eq!(folder.lines("e.jsonl").len(), 18);
    let refused = folder.json("stats")["indicators"]["refused"].clone();
    assert_eq!(
        refused
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_u64().unwrap())
            .sum::<u64>(),
        3
    );
    folder
        .run("intel check some.json")
        .exits(2)
        .says(&["can't be loaded: 3"]);
    folder
        .run("intel compile some.json --output some.set")
        .exits(0)
        .says(&["refused objects: 3"]);
    assert!(folder.path("some.set").exists());
}

#[test]
fn a_bundle_that_has_expired_is_used_with_a_warning() {
    let folder = Folder::new();
    let mut bundle = bundle();
    for object in bundle["objects"].as_array_mut().unwrap() {
        if object["type"] == "indicator" {
            object["valid_until"] = "2024-03-01T00:00:00Z".into();
        }
    }
    folder.write("old.json", bundle.to_string());
    let ran = folder
        .run(&format!(
            "replay {CAPTURE} --intel old.json --fail-on-match"
        ))
        .exits(0)
        .says(&[
            "warning: old.json: all 15 indicators have expired",
            "--validity ignore",
        ]);
    assert!(ran.out.contains("No indicator matched."), "{}", ran.out);
    folder
        .run(&format!(
            "replay {CAPTURE} --intel old.json --fail-on-match --validity ignore"
        ))
        .exits(3);
}

#[test]
fn fail_on_match_says_whether_something_matched() {
    let folder = Folder::new();
    folder.write("none.txt", "nothing.example\n");
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {BUNDLE} --fail-on-match -q"
        ))
        .exits(3);
    folder
        .run(&format!(
            "replay {CAPTURE} --intel none.txt --fail-on-match -q"
        ))
        .exits(0);
    folder
        .run(&format!("replay {CAPTURE} --intel {BUNDLE} -q"))
        .exits(0);
    // what an allowlist covers matched as well
    folder.write("loopback.txt", "127.0.0.1\n");
    folder
        .run(&format!(
            "replay {CAPTURE} --intel loopback.txt --fail-on-match -q"
        ))
        .exits(3);
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    for option in ["--events", "--sightings", "--stats"] {
        // before anything is read
        for path in ["absent/file", "."] {
            let ran = folder
                .run(&format!(
                    "replay {CAPTURE} --intel {BUNDLE} {option} {path}"
                ))
                .exits(2)
                .says(&[path, "cannot be written"]);
            assert_eq!(ran.out, "");
        }
        // a disk that is full
        if fs::exists("/dev/full").unwrap_or(false) {
            folder
                .run(&format!(
                    "replay {CAPTURE} --intel {BUNDLE} {option} /dev/full"
                ))
                .exits(1)
                .says(&["/dev/full: cannot be written"]);
        }
    }
    folder
        .run(&format!("intel compile {BUNDLE} --output absent/file.set"))
        .exits(1)
        .says(&["absent/file.set: cannot be written"]);
}

#[test]
fn rules_with_a_mistake_are_told_with_the_place() {
    let folder = Folder::new();
    folder.write("typo.toml", "[policy]\ndefault_acton = \"report\"\n");
    folder.write("value.txt", "192.0.2.0/24\n192.0.2.0/99\n");
    fs::create_dir(folder.path("empty")).unwrap();
    for (rules, parts) in [
        (
            "typo.toml",
            &["typo.toml:2:", "default_acton", "default_action"][..],
        ),
        ("value.txt", &["value.txt:2"]),
        ("empty", &["empty: "]),
        ("absent", &["absent: "]),
    ] {
        folder
            .run(&format!(
                "replay {CAPTURE} --intel {BUNDLE} --rules {rules}"
            ))
            .exits(2)
            .says(parts);
        folder
            .run(&format!("intel check {BUNDLE} --rules {rules}"))
            .exits(2)
            .says(parts);
    }
}

#[test]
fn an_output_never_destroys_an_input_or_another_output() {
    let folder = Folder::new();
    let capture = fs::read(CAPTURE).expect("the capture is shipped");
    let bundle = fs::read(BUNDLE).expect("the bundle is shipped");
    folder.write("c.pcap", &capture);
    folder.write("b.json", &bundle);
    folder.write("same", b"");
    for (arguments, said) in [
        (
            "replay c.pcap --intel b.json --events c.pcap",
            "is an input as well",
        ),
        (
            "replay c.pcap --intel b.json --stats b.json",
            "is an input as well",
        ),
        (
            "replay . --intel b.json --sightings ./c.pcap",
            "is an input as well",
        ),
        (
            "intel compile b.json --output b.json",
            "is an input as well",
        ),
        (
            "replay c.pcap --intel b.json --events same --stats same",
            "the same file",
        ),
        (
            "replay c.pcap --intel b.json --events new --stats new",
            "two outputs",
        ),
    ] {
        folder.run(arguments).exits(2).says(&[said]);
    }
    assert_eq!(
        fs::read(folder.path("c.pcap")).expect("it is there"),
        capture
    );
    assert_eq!(
        fs::read(folder.path("b.json")).expect("it is there"),
        bundle
    );
}
