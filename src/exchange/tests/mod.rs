//! What documents, objects and lists come to; other formats and the laws of loading are files of
//! their own.

mod formats;
mod laws;
mod misp;

use super::*;
use crate::indicator::Indicator;
use crate::indicator::Refusal;
use crate::indicator::Taken;
use crate::indicator::Tlp;

/// Writes down every call.
#[derive(Debug, Default, PartialEq)]
struct Record {
    calls: Vec<String>,
    abandoned: bool,
}

impl Intake for Record {
    fn begin_source(&mut self, name: &str) {
        self.calls.push(format!("begin {name}"));
    }

    fn abandon_source(&mut self) {
        self.calls.clear();
        self.abandoned = true;
    }

    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal> {
        self.calls.push(format!("{indicator:?}"));
        if indicator.revoked {
            return Ok(Taken::Revoked);
        }
        match &*indicator.pattern {
            "bad" => Err(Refusal("no pattern".into())),
            "unseeable" => Ok(Taken::Unseeable("a process".into())),
            _ => Ok(Taken::Loaded),
        }
    }

    fn context(&mut self, id: &str, kind: &str, name: &str) {
        self.calls.push(format!("context {id} {kind} {name}"));
    }

    fn relationship(&mut self, source: &str, kind: &str, target: &str) {
        self.calls
            .push(format!("relationship {source} {kind} {target}"));
    }

    fn marking(&mut self, id: &str, tlp: Tlp) {
        self.calls.push(format!("marking {id} {tlp}"));
    }
}

fn load_bytes(bytes: &[u8], limits: &Limits) -> (Record, LoadedSource) {
    let mut record = Record::default();
    let mut read = 0;
    let mut reader = bytes;
    let loaded = load_reader("in/x", &mut reader, limits, &mut record, &mut |n| read += n);
    assert!(loaded.fatal.is_some() || read == bytes.len() as u64);
    assert_eq!(record.abandoned, loaded.fatal.is_some());
    (record, loaded)
}

fn load_text(text: &str) -> (Record, LoadedSource) {
    load_bytes(text.as_bytes(), &Limits::default())
}

const ID: &str = "indicator--55a21239-65d0-41af-819f-2281f886103f";

/// A bundle around one sound indicator of version 2.1, its members changed.
///
/// A change names a member and its new text; an empty one takes the member away.
fn bundle_with(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("type", "\"indicator\"".to_owned()),
        ("spec_version", "\"2.1\"".to_owned()),
        ("id", format!("\"{ID}\"")),
        ("created", "\"2024-01-01T00:00:00.000Z\"".to_owned()),
        ("modified", "\"2024-01-02T00:00:00.000Z\"".to_owned()),
        ("pattern", "\"[ipv4-addr:value = '192.0.2.1']\"".to_owned()),
        ("pattern_type", "\"stix\"".to_owned()),
        ("valid_from", "\"2024-01-01T00:00:00Z\"".to_owned()),
    ];
    for (name, text) in changes {
        members.retain(|(member, _)| member != name);
        if !text.is_empty() {
            members.push((name, (*text).to_owned()));
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, text)| format!("\"{name}\":{text}"))
        .collect();
    format!(
        "{{\"type\":\"bundle\",\"id\":\"bundle--1\",\"objects\":[{{{}}}]}}",
        members.join(",")
    )
}

/// A bundle with something of everything.
fn rich_bundle() -> String {
    r#"{"id":"bundle--5d0092c5-5f74-4287-9642-33f4c354e56d","x_before":[{"a":[1.5e3,"é\\"]}],
"objects": [
 {"type":"marking-definition","id":"marking-definition--1","definition_type":"tlp","definition":{"x":[],"tlp":"amber"}},
 {"type":"marking-definition","id":"marking-definition--2","extensions":{"a":1,"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d":{"extension_type":"property-extension","tlp_2_0":"amber+strict"}}},
 {"type":"marking-definition","id":"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9","definition_type":"tlp","definition":{"tlp":"red"}},
 {"type":"marking-definition","id":"marking-definition--3","definition_type":"statement","definition":{"statement":"©"}},
 {"type":"malware","spec_version":"2.1","id":"malware--1","name":"M\u00e9chant \"x\"","is_family":false},
 {"type":"course-of-action","id":"course-of-action--1"},
 {"type":"relationship","id":"relationship--1","relationship_type":"indicates","source_ref":"indicator--1","target_ref":"malware--1"},
 {"type":"relationship","id":"relationship--2","relationship_type":"indicates","source_ref":"indicator--2","target_ref":"malware--1","revoked":true},
 {"type":"indicator","spec_version":"2.1","id":"indicator--55a21239-65d0-41af-819f-2281f886103f","created":"2024-01-01T00:00:00.000Z","modified":"2024-01-02T00:00:00.000Z",
  "name":"\u0414\u043e\u043c","indicator_types":["malicious-activity","b"],"labels":["a","b"],"confidence":80,"pattern":"[url:value = 'http://a.example/\\'\\\\\u00e9']","pattern_type":"stix",
  "valid_from":"2024-01-01T00:00:00Z","valid_until":"2025-01-01T00:00:00Z","created_by_ref":"identity--1","object_marking_refs":["marking-definition--1"],
  "granular_markings":[{"selectors":["name"],"marking_ref":"marking-definition--2"},{"lang":"fr","selectors":["name"]}],"extensions":{},"revoked":false},
 {"type":"indicator","id":"indicator--55a21239-65d0-41af-819f-2281f8861040","created":"2017-01-01T00:00:00Z","modified":"2017-01-01T00:00:00Z","labels":["a"],
  "pattern":"[ipv4-addr:value = '192.0.2.1']","valid_from":"2017-01-01T00:00:00Z","confidence":"high"},
 {"type":"indicator","spec_version":"2.1","id":"indicator--55a21239-65d0-41af-819f-2281f8861041","created":"2017-01-01T00:00:00Z","modified":"2017-01-01T00:00:00Z",
  "pattern":"rule a {}","pattern_type":"yara","valid_from":"2017-01-01T00:00:00Z"},
 {"type":"indicator","spec_version":"2.1","id":"indicator--55a21239-65d0-41af-819f-2281f8861042","created":"2017-01-01T00:00:00Z","modified":"2017-01-01T00:00:00Z",
  "pattern":"bad","pattern_type":"stix","valid_from":"2017-01-01T00:00:00Z"},
 null, 7, {"type":"x-unknown","anything":{"deep":[[[]]]}}, {}
],"x_after":true ,"type" : "bundle"}
"#
    .to_owned()
}

#[test]
fn passes_on_all_that_matters() {
    let (record, loaded) = load_text(&rich_bundle());
    assert!(loaded.fatal.is_none(), "{:?}", loaded.fatal);
    let mut calls = record.calls.iter();
    for expected in [
        "begin in/x",
        "marking marking-definition--1 TLP:AMBER",
        "marking marking-definition--2 TLP:AMBER+STRICT",
        "context malware--1 malware Méchant \"x\"",
        "context course-of-action--1 course-of-action ",
        "relationship indicator--1 indicates malware--1",
    ] {
        assert_eq!(calls.next().unwrap(), expected);
    }
    let full = calls.next().unwrap();
    for part in [
        "55a21239-65d0-41af-819f-2281f886103f",
        "derived_id: false",
        r#"pattern: "[url:value = 'http://a.example/\\'\\\\é']""#,
        "pattern_version: V21",
        "name: Some(\"Дом\")",
        "created: Timestamp(1704067200000000000)",
        "modified: Timestamp(1704153600000000000)",
        "valid_from: Timestamp(1704067200000000000)",
        "valid_until: Some(Timestamp(1735689600000000000))",
        "revoked: false",
        "confidence: Some(80)",
        r#"labels: ["a", "b", "malicious-activity"]"#,
        r#"markings: ["marking-definition--1", "marking-definition--2"]"#,
        r#"created_by: Some("identity--1")"#,
    ] {
        assert!(full.contains(part), "{part} in {full}");
    }
    let old = calls.next().unwrap();
    assert!(
        old.contains("V20") && old.contains("confidence: None"),
        "{old}"
    );
    assert!(calls.next().unwrap().contains("\"bad\""));
    assert_eq!(calls.next(), None);

    let report = loaded.report;
    assert_eq!(report.loaded, 2);
    assert_eq!(report.unseeable.len(), 1);
    assert!(
        report.unseeable[0]
            .reason
            .starts_with("pattern type 'yara'")
    );
    let refused: Vec<(&str, &str)> = report
        .refused
        .iter()
        .map(|refused| (&*refused.path, &*refused.reason))
        .collect();
    assert_eq!(
        refused,
        [
            ("objects[11].pattern", "no pattern"),
            ("objects[12]", "must be an object, not null"),
            ("objects[13]", "must be an object, not a number"),
            ("objects[15]", "the member 'type' is missing"),
        ]
    );
    assert_eq!(report.warnings, [""; 0]);
}

#[test]
fn members_are_checked_each_with_its_path() {
    let many = format!("[{}1]", "1,".repeat(1_000)).replace('1', "\"a\"");
    let long_id = format!("\"{}\"", "m".repeat(300));
    for (changes, path, reason) in [
        (vec![("id", "")], "", "'id' is missing"),
        (vec![("id", "5")], ".id", "must be a string, not a number"),
        (vec![("id", "\"indicator-123\"")], ".id", "and a UUID"),
        (vec![("id", "\"indicator--zzzz\"")], ".id", "and a UUID"),
        (vec![("type", "")], "", "'type' is missing"),
        (vec![("type", "5")], ".type", "must be a string"),
        (vec![("pattern", "")], "", "'pattern' is missing"),
        (vec![("pattern", "null")], "", "'pattern' is missing"),
        (vec![("pattern", "[\"a\"]")], ".pattern", "not a list"),
        (vec![("pattern", r#""\ud800""#)], ".pattern", "surrogate"),
        (vec![("pattern", "\"bad\"")], ".pattern", "no pattern"),
        (
            vec![("pattern_type", "{}")],
            ".pattern_type",
            "not an object",
        ),
        (vec![("modified", "")], "", "'modified' is missing"),
        (vec![("created", "")], "", "'created' is missing"),
        (vec![("valid_from", "")], "", "'valid_from' is missing"),
        (
            vec![("valid_from", "\"soon\"")],
            ".valid_from",
            "'soon' is no timestamp",
        ),
        (
            vec![("valid_from", "1704067200")],
            ".valid_from",
            "not a number",
        ),
        (
            vec![("valid_until", "\"2023-01-01T00:00:00Z\"")],
            ".valid_until",
            "before valid_from",
        ),
        (vec![("revoked", "\"true\"")], ".revoked", "not a string"),
        (vec![("revoked", "1")], ".revoked", "not a number"),
        (
            vec![("labels", "\"x\"")],
            ".labels",
            "must be a list, not a string",
        ),
        (vec![("labels", "[\"a\",7]")], ".labels[1]", "not a number"),
        (vec![("labels", &*many)], ".labels", "more than 1000 values"),
        (
            vec![("granular_markings", &*many)],
            ".granular_markings",
            "more than 1000 values",
        ),
        (
            vec![("indicator_types", "{}")],
            ".indicator_types",
            "must be a list",
        ),
        (
            vec![("object_marking_refs", "[null]")],
            ".object_marking_refs[0]",
            "not null",
        ),
        (
            vec![(
                "granular_markings",
                r#"[{"marking_ref":"a"},{"marking_ref":7}]"#,
            )],
            ".granular_markings[1].marking_ref",
            "not a number",
        ),
        (
            vec![("extensions", "[]")],
            ".extensions",
            "must be an object",
        ),
        (vec![("name", "5")], ".name", "not a number"),
        (vec![("name", "1e999999999")], ".name", "not a number"),
        (
            vec![("created_by_ref", "5")],
            ".created_by_ref",
            "not a number",
        ),
        (vec![("confidence", "101")], ".confidence", "from 0 to 100"),
        (
            vec![("confidence", "\"high\"")],
            ".confidence",
            "from 0 to 100",
        ),
        (
            vec![("spec_version", "2.1")],
            ".spec_version",
            "not a number",
        ),
        (
            vec![("type", "\"malware\""), ("id", &long_id)],
            ".id",
            "longer than",
        ),
        (
            vec![("type", "\"malware\""), ("name", "[]")],
            ".name",
            "not a list",
        ),
        (
            vec![("type", "\"relationship\"")],
            "",
            "'relationship_type' is missing",
        ),
        (
            vec![
                ("type", "\"marking-definition\""),
                ("definition_type", "\"tlp\""),
                ("definition", r#"{"tlp":"purple"}"#),
            ],
            ".definition",
            "'purple' is no TLP level",
        ),
    ] {
        let (_, loaded) = load_text(&bundle_with(&changes));
        assert!(loaded.fatal.is_none(), "{changes:?}: {:?}", loaded.fatal);
        let refused = &loaded.report.refused;
        assert_eq!(refused.len(), 1, "{changes:?}");
        assert_eq!(refused[0].path, format!("objects[0]{path}"), "{changes:?}");
        assert!(refused[0].reason.contains(reason), "{}", refused[0].reason);
        assert_eq!(loaded.report.loaded, 0);
    }
}

#[test]
fn what_is_odd_costs_a_warning_at_most() {
    for (changes, warning) in [
        (vec![], ""),
        (vec![("x_n", "1e999999999"), ("x_b", "[[[]]]")], ""),
        (vec![("valid_until", "null"), ("labels", "null")], ""),
        (vec![("valid_until", "\"2024-01-01T00:00:00Z\"")], ""),
        (
            vec![("pattern_type", "\"STIX\""), ("pattern_version", "\"2.0\"")],
            "",
        ),
        (vec![("pattern_type", "")], "without pattern_type"),
        (
            vec![("pattern_version", "\"3\"")],
            "pattern_version is neither",
        ),
        (vec![("spec_version", "\"3.0\"")], "spec_version is neither"),
        (
            vec![("valid_from", "\"2024-01-01T00:00:00+02:00\"")],
            "does not end in Z (objects[0].valid_from)",
        ),
        (
            vec![("modified", "\"2023-01-01T00:00:00Z\"")],
            "modified is before created",
        ),
    ] {
        let (_, loaded) = load_text(&bundle_with(&changes));
        assert_eq!(loaded.report.loaded, 1, "{changes:?} {loaded:?}");
        let warnings = loaded.report.warnings.join("; ");
        let warning = warning.replace("end in Z (", "end in Z: its offset was applied (");
        assert_eq!(warnings.is_empty(), warning.is_empty(), "{warnings}");
        assert!(warnings.contains(&warning), "{warnings}");
    }
    let revoked = [
        ("revoked", "true"),
        ("valid_until", "\"2000-01-01T00:00:00Z\""),
    ];
    assert_eq!(load_text(&bundle_with(&revoked)).1.report.revoked, 1);
}

#[test]
fn a_known_member_twice_refuses_the_object() {
    let text = bundle_with(&[]);
    for twice in [
        text.replacen("[{", r#"[{"type":"malware","#, 1),
        text.replacen("[{", r#"[{"\u0074ype":"malware","#, 1),
    ] {
        let (_, loaded) = load_text(&twice);
        assert_eq!(loaded.report.loaded, 0);
        assert_eq!(loaded.report.refused[0].path, "objects[0].type");
        assert_eq!(loaded.report.refused[0].object, ID);
    }
    let unknown = text.replacen("[{", r#"[{"x":1,"x":2,"#, 1);
    assert_eq!(load_text(&unknown).1.report.loaded, 1);
}

#[test]
fn versions_decide_the_grammar() {
    let twenty = bundle_with(&[("spec_version", "")]);
    for (text, grammar) in [
        (bundle_with(&[]), "V21"),
        (bundle_with(&[("pattern_version", "\"2.0\"")]), "V20"),
        (bundle_with(&[("spec_version", "\"2.0\"")]), "V20"),
        (
            bundle_with(&[("spec_version", "\"2.0\""), ("pattern_version", "\"2.1\"")]),
            "V21",
        ),
        (twenty.clone(), "V20"),
        (twenty.replacen('{', r#"{"spec_version":"2.0","#, 1), "V20"),
        (twenty.replacen('{', r#"{"spec_version":"2.1","#, 1), "V21"),
    ] {
        let (record, _) = load_text(&text);
        assert!(record.calls[1].contains(grammar), "{text}");
    }
}

#[test]
fn documents_of_other_shapes() {
    let one = bundle_with(&[]);
    let object = &one[one.find("[{").unwrap()..one.len() - 1];
    for (text, loads) in [
        (
            format!("{{\"more\":true,\"next\":\"5\",\"objects\":{object}}}"),
            1,
        ),
        (format!("{{\"objects\":{object},\"more\":false}}"), 1),
        (format!("{{\"objects\":{object}}}"), 1),
        ("{\"more\":false}".to_owned(), 0),
        (object.to_owned(), 1),
        ("[]".to_owned(), 0),
        ("{\"type\":\"bundle\",\"id\":\"bundle--1\"}".to_owned(), 0),
        (format!("\u{feff}{one}"), 1),
        (format!(" \r\n\t{one}\n\n"), 1),
        (one.replacen("\"id\":\"bundle--1\",", "", 1), 1),
        (one.replacen("\"bundle--1\"", "5", 1), 1),
    ] {
        let (_, loaded) = load_text(&text);
        assert!(loaded.fatal.is_none(), "{text}: {:?}", loaded.fatal);
        assert_eq!(loaded.report.loaded, loads, "{text}");
    }
}

#[test]
fn documents_that_are_refused_whole() {
    let one = bundle_with(&[]);
    let deep = "[".repeat(100_000);
    for (text, message) in [
        (String::new(), "in/x: it is empty"),
        (" \n\t ".to_owned(), "in/x: it is empty"),
        ("null".to_owned(), "neither a STIX bundle nor a list"),
        ("\"bundle\"".to_owned(), "neither a STIX bundle nor a list"),
        ("5".to_owned(), "neither a STIX bundle nor a list"),
        ("{}".to_owned(), "neither a STIX bundle"),
        ("{\"a\":1}".to_owned(), "neither a STIX bundle"),
        (format!("{one}x"), "nothing may follow the document"),
        (
            format!("{one}\n{one}"),
            "line 2, column 1 (byte 321): no JSON: nothing may follow",
        ),
        (format!("// c\n{one}"), "neither a STIX bundle nor a list"),
        (one.replace('"', "'"), "line 1, column 2 (byte 1)"),
        (
            one.replacen("\"2.1\"", "NaN", 1),
            "objects[0]: no JSON: this begins no JSON value",
        ),
        (
            one.replacen("\"2.1\"", "-Infinity", 1),
            "a digit is expected",
        ),
        (one.replacen("stix", "st\nix", 1), "control character"),
        (one.replacen("stix", "\\x", 1), "escape sequence"),
        (
            one.replacen("bundle\"", "bundel\"", 1),
            ": type: must be 'bundle', not 'bundel'",
        ),
        (
            one.replacen("\"bundle\"", "7", 1),
            ": type: must be a string, not a number",
        ),
        (
            one.replacen("{", "{\"type\":\"bundle\",", 1),
            ": type: is there twice",
        ),
        (
            one.replacen("]}", "],\"objects\":[]}", 1),
            ": objects: is there twice",
        ),
        (
            "{\"type\":\"bundle\",\"objects\":\"x\"}".to_owned(),
            "objects: must be a list, not a string",
        ),
        (
            "{\"type\":\"bundle\",\"objects\":{}}".to_owned(),
            "objects: must be a list, not an object",
        ),
        (one.replacen("]}", ",]}", 1), "this begins no JSON value"),
        (one.replacen("]}", "]", 1), "ends within the JSON document"),
        (
            one.replacen("\"2.1\"", &deep, 1),
            "nested more than 128 deep",
        ),
        ("[{}, 5]".to_owned(), "without a STIX object"),
        (deep.clone(), "nested more than 128 deep"),
        (
            "{\"80c2998c-da58-41bd-9487-06e5a05a4981\":{\"Orgc\":{}}}".to_owned(),
            "the manifest of a MISP feed: name the folder",
        ),
        (
            "{\"name\":\"x\",\"type\":\"cidr\",\"list\":[\"192.0.2.0/24\"]}".to_owned(),
            "a MISP warninglist, which says what is harmless: name it with --rules",
        ),
        (
            format!("{},80c2998c-da58-41bd-9487-06e5a05a4981\n", "0".repeat(32)),
            "hashes.csv",
        ),
        (
            format!("{{\"x\":\"{}\",\"Event\":{{}}}}", "a".repeat(300 << 10)),
            "a MISP event far behind the start",
        ),
        ("WPSET\0\0".to_owned(), "a compiled set"),
        (
            "\u{1f}\u{8b}".to_owned(),
            "neither a STIX bundle nor a list",
        ),
        ("<html></html>".to_owned(), "HTML or XML"),
        ("a\0\0\0".to_owned(), "UTF-16"),
        ("abc\0\0\0".to_owned(), "binary data"),
        ("# only\n; comments\n".to_owned(), "comments alone"),
    ] {
        let (record, loaded) = load_text(&text);
        let error = loaded.fatal.map(|e| e.to_string()).unwrap_or_default();
        let start: String = text.chars().take(60).collect();
        assert!(
            error.starts_with("in/x: ") && error.contains(message),
            "{start}: {error}"
        );
        assert!(record.calls.is_empty());
        assert_eq!(loaded.report.loaded, 0);
    }
    for (bytes, message) in [
        (b"\x1f\x8b\x08\0".as_slice(), "gzip"),
        (b"\xff\xfe{\0", "UTF-16"),
        (b"{\0\"\0", "UTF-16"),
        (
            b"{\"type\":\"bundle\",\"id\":\"\xc0\xaf\"}",
            "column 24 (byte 23): id: byte 0xc0 is not UTF-8",
        ),
        (
            b"{\"type\":\"bundle\",\"x\":[\n\"\xed\xa0\x80\"]}",
            "line 2, column 2 (byte 24): x: byte 0xed",
        ),
        (b"{\"type\":\"bundle\"}\xff", "byte 0xff"),
    ] {
        let (_, loaded) = load_bytes(bytes, &Limits::default());
        let error = loaded.fatal.map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn lists_become_indicators() {
    let long = format!("http://a.example/{}", "a".repeat(20_000));
    let text = format!(
        "\u{feff}# domains\r\nExample.org\r\n\r\n*.a.example # below too\n{long}\n192.0.2.9/24\nlocalhost\ncaf\u{e9}.example"
    );
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\nb\xe9.example\n# caf\xe9\n192.0.2.9/24");
    let (record, loaded) = load_bytes(&bytes, &Limits::default());
    assert!(loaded.fatal.is_none(), "{:?}", loaded.fatal);
    assert_eq!(loaded.report.loaded, 5);
    let first = &record.calls[1];
    assert!(first.contains(&derive_id("x", "example.org")), "{first}");
    assert!(first.contains("derived_id: true") && first.contains("subdomains: false"));
    assert!(record.calls[2].contains("subdomains: true"));
    assert_eq!(record.calls[3], record.calls[5]);
    let refused: Vec<&str> = loaded.report.refused.iter().map(|r| &*r.path).collect();
    assert_eq!(refused, ["line 5", "line 7", "line 9"]);
    assert_eq!(loaded.report.warnings.len(), 2);
    assert!(loaded.report.warnings[1].ends_with("(line 6 and 1 more)"));

    let prose = "A licence of many words\nthat names a site:\n  http://a.example/\nand goes on at length.\n";
    let error = load_text(prose).1.fatal.unwrap();
    assert!(
        matches!(
            error.cause,
            Cause::Prose {
                prose: 3,
                values: 1
            }
        ),
        "{error}"
    );
}

#[test]
fn kinds_are_told_by_the_first_bytes() {
    for (bytes, kind) in [
        ("{\"type\":\"bundle\",", SourceKind::Stix),
        (
            " \n{ \"id\": \"bundle--x\", \"type\": \"bundle\"",
            SourceKind::Stix,
        ),
        ("{\"id\":\"bundle--x\",\"objects\":[", SourceKind::Stix),
        ("{\"more\":false,\"objects\":[", SourceKind::Envelope),
        ("{\"objects\":[", SourceKind::Envelope),
        ("[{\"type\":\"indicator\"", SourceKind::Objects),
        ("{\"Event\":", SourceKind::Misp),
        ("[{\"Event\":", SourceKind::Misp),
        ("{\"response\":", SourceKind::Misp),
        (
            "{\"80c2998c-da58-41bd-9487-06e5a05a4981\":",
            SourceKind::MispManifest,
        ),
        (
            "{\"name\":\"x\",\"type\":\"cidr\",\"list\":[",
            SourceKind::Warninglist,
        ),
        ("{\"matching_attributes\":[", SourceKind::Warninglist),
        (
            "#fields\tindicator\tindicator_type\n",
            SourceKind::ZeekIntel,
        ),
        (
            "# x\n#separator \\x09\n#fields\tindicator\tindicator_type\n",
            SourceKind::ZeekIntel,
        ),
        ("# x\n0.0.0.0 a.example\n", SourceKind::Hosts),
        (
            "127.0.0.1\tlocalhost\n::1 localhost\n192.0.2.1 x.example\n",
            SourceKind::Hosts,
        ),
        ("127.0.0.1\n0.0.0.0\n", SourceKind::List),
        ("date,url\n1,http://a.example/\n", SourceKind::Table),
        ("# date,url\n1,http://a.example/\n", SourceKind::Table),
        ("a.example,url\n", SourceKind::Dataset),
        ("YS5leGFtcGxlLm9yZw==\n", SourceKind::Dataset),
        ("YS5leGFtcGxlLm9yZw==\nTW96aWxsYQ==\n", SourceKind::List),
        ("192.0.2.1,\n192.0.2.2,\n", SourceKind::List),
        ("http://a.example/a,b\n", SourceKind::List),
        ("a.example # x, y\n", SourceKind::List),
        ("{\"x\":", SourceKind::Json),
        ("{", SourceKind::Json),
        ("{\"é", SourceKind::Json),
        ("example.org\n", SourceKind::List),
        ("[2001:db8::1]:443\n", SourceKind::List),
        ("[2001:db8::1]", SourceKind::List),
        ("[1, 2]\n", SourceKind::Json),
        ("BZh.example\n", SourceKind::List),
        ("# x", SourceKind::List),
        ("WPSET\x01", SourceKind::CompiledSet),
        ("", SourceKind::Unknown(Unknown::Empty)),
        ("PK\x03\x04", SourceKind::Unknown(Unknown::Packed("zip"))),
    ] {
        assert_eq!(kind_of(bytes.as_bytes()), kind, "{bytes:?}");
    }
}

#[test]
fn folders_are_read_in_order() {
    let folder = std::env::temp_dir().join(format!("watchpost-exchange-{}", std::process::id()));
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("b.txt", "192.0.2.2");
    write("a/z.json", &bundle_with(&[]));
    write("a/broken.json", "{");
    write(".hidden", "192.0.2.3");
    write("broken/x", "{");
    write(
        "feed/manifest.json",
        "{\"80c2998c-da58-41bd-9487-06e5a05a4981\":{}}",
    );
    let mut record = Record::default();
    let sources = [
        folder.join("a"),
        folder.join("broken"),
        folder.join("feed"),
        folder.join("b.txt"),
        folder.join("missing"),
    ];
    let loaded = load(&sources, &mut record, &mut |_| {});
    let seen: Vec<(&str, u64, bool, bool)> = loaded
        .iter()
        .map(|source| {
            let name = source.report.file.rsplit('/').next().unwrap();
            let loaded = source.report.loaded;
            (
                name,
                loaded,
                source.fatal.is_some(),
                source.skipped.is_some(),
            )
        })
        .collect();
    std::fs::create_dir(folder.join("empty")).unwrap();
    let empty = load(&[folder.join("empty")], &mut record, &mut |_| {});
    let all = load(std::slice::from_ref(&folder), &mut record, &mut |_| {});
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(
        seen,
        [
            ("broken.json", 0, false, true),
            ("z.json", 1, false, false),
            ("x", 0, true, false),
            ("80c2998c-da58-41bd-9487-06e5a05a4981.json", 0, true, false),
            ("b.txt", 1, false, false),
            ("missing", 0, true, false),
        ]
    );
    assert!(matches!(
        empty[0].fatal.as_ref().unwrap().cause,
        Cause::NoFiles
    ));
    let names: Vec<&str> = all
        .iter()
        .map(|source| {
            source
                .report
                .file
                .strip_prefix(&*folder.to_string_lossy())
                .unwrap()
        })
        .collect();
    assert_eq!(
        names,
        [
            "/a/broken.json",
            "/a/z.json",
            "/b.txt",
            "/broken/x",
            "/feed/80c2998c-da58-41bd-9487-06e5a05a4981.json"
        ]
    );
}
