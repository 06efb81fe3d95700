//! What MISP's events, answers and feeds come to.

use super::*;

const UUID: &str = "80c2998c-da58-41bd-9487-06e5a05a4981";

/// An attribute, its members changed as those of [`bundle_with`].
fn attribute_with(changes: &[(&str, &str)]) -> String {
    let mut members = vec![
        ("uuid", format!("\"{UUID}\"")),
        ("type", "\"ip-dst\"".to_owned()),
        ("value", "\"192.0.2.1\"".to_owned()),
        ("to_ids", "true".to_owned()),
        ("timestamp", "\"1704067200\"".to_owned()),
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
    format!("{{{}}}", members.join(","))
}

fn attribute(kind: &str, value: &str) -> String {
    let value = serde_json::to_string(value).unwrap();
    attribute_with(&[("type", &format!("\"{kind}\"")), ("value", &value)])
}

/// A published event around attributes.
fn event(attributes: &[String]) -> String {
    format!(
        "{{\"Event\":{{\"info\":\"Info\",\"published\":true,\"Attribute\":[{}]}}}}",
        attributes.join(",")
    )
}

/// An event with something of everything.
pub(super) fn rich_event() -> String {
    r#"{"Event":{"uuid":"d8596d7d-c2b5-42cb-b1cd-69c9a89c4545","info":"Wave \"12\"","date":"2024-01-01","published":"1",
 "timestamp":"1704153600","threat_level_id":"2","Orgc":{"name":"X","uuid":"55F6EA5E-2C60-40E5-964F-47A8950D210F"},
 "Tag":[{"name":"tlp:amber","colour":"\u00e9"},{"name":"misp-galaxy:threat-actor=\"Sofacy\""},{"name":"misp-galaxy:mitre-attack-pattern=\"T1\""}],
 "ShadowAttribute":[{"uuid":"00000000-0000-4000-8000-000000000001","type":"ip-dst","value":"192.0.2.66","to_ids":true}],
 "Attribute":[
  {"uuid":"00000000-0000-4000-8000-00000000000A","type":"ip-dst","value":"192.0.2.1","to_ids":true,"timestamp":1704067200,"deleted":false,
   "Tag":[{"name":"tlp:red"},{"name":"tlp:amber"},{"name":"x"}],"data":null,
   "ShadowAttribute":[{"uuid":"00000000-0000-4000-8000-000000000002","type":"ip-dst","value":"192.0.2.67","to_ids":true}]},
  {"uuid":"00000000-0000-4000-8000-00000000000b","type":"domain","value":"A.example","to_ids":"0"},
  {"uuid":"00000000-0000-4000-8000-00000000000c","type":"domain","value":"B.example","to_ids":1},
  {"uuid":"00000000-0000-4000-8000-00000000000d","type":"mutex","value":"m","to_ids":true},
  {"uuid":"00000000-0000-4000-8000-00000000000e","type":"ip-src","value":"b.example","to_ids":true},
  {"uuid":"00000000-0000-4000-8000-00000000000f","type":"ip-src","value":"192.0.2.3","to_ids":true,"deleted":"1","timestamp":"1704067300"}],
 "Object":[{"name":"file","uuid":"00000000-0000-4000-8000-000000000010","Attribute":[
  {"uuid":"00000000-0000-4000-8000-000000000011","type":"filename|md5","value":"a|b|D41D8CD98F00B204E9800998ECF8427E","to_ids":true,"object_relation":"x"},
  {"uuid":"00000000-0000-4000-8000-000000000012","type":"stix2-pattern","value":"bad","to_ids":true}]},
  {"deleted":true,"Attribute":[{"uuid":"00000000-0000-4000-8000-000000000013","type":"domain","value":"c.example","to_ids":false}]}]
}}"#
    .to_owned()
}

#[test]
fn passes_on_all_that_matters() {
    let (record, loaded) = load_text(&rich_event());
    assert!(loaded.fatal.is_none(), "{:?}", loaded.fatal);
    let report = loaded.report;
    assert_eq!((report.loaded, report.revoked), (3, 2));
    let refused: Vec<_> = report
        .refused
        .iter()
        .map(|r| (&*r.object, &*r.path))
        .collect();
    assert_eq!(
        refused,
        [
            (
                "00000000-0000-4000-8000-00000000000e",
                "Event.Attribute[4].value"
            ),
            (
                "00000000-0000-4000-8000-000000000012",
                "Event.Object[0].Attribute[1].value"
            ),
        ]
    );
    assert_eq!(report.unseeable.len(), 1);
    assert_eq!(
        report.unseeable[0].object,
        "00000000-0000-4000-8000-00000000000d"
    );
    assert_eq!(report.unseeable[0].reason, "MISP type 'mutex'");
    assert_eq!(report.warnings, [""; 0]);

    let first = &record.calls[1];
    for part in [
        "id: \"indicator--00000000-0000-4000-8000-00000000000a\"",
        "derived_id: false",
        "pattern: \"[ipv4-addr:value = '192.0.2.1']\"",
        r#"name: Some("Wave \"12\" (ip-dst)")"#,
        "subdomains: false",
        "created: Timestamp(1704067200000000000)",
        "modified: Timestamp(1704067200000000000)",
        "valid_from: Timestamp(0)",
        "valid_until: None",
        "revoked: false",
        r#"labels: ["tlp:amber", "tlp:red", "x"]"#,
        "created_by: Some(\"identity--55f6ea5e-2c60-40e5-964f-47a8950d210f\")",
    ] {
        assert!(first.contains(part), "{part} in {first}");
    }
    let actor = &record.calls[2];
    assert!(
        actor.starts_with("context threat-actor--") && actor.ends_with(" Sofacy"),
        "{actor}"
    );
    let id = actor.split(' ').nth(1).unwrap();
    assert_eq!(
        record.calls[3],
        format!("relationship indicator--00000000-0000-4000-8000-00000000000a indicates {id}")
    );
    let domain = record
        .calls
        .iter()
        .find(|call| call.contains("b.example"))
        .unwrap();
    assert!(domain.contains("subdomains: true"), "{domain}");
    // without a time of its own, that of the event
    assert!(
        domain.contains("modified: Timestamp(1704153600000000000)"),
        "{domain}"
    );
    let all = record.calls.join("\n");
    for never in ["192.0.2.66", "192.0.2.67", "a.example"] {
        assert!(!all.contains(never), "{never}");
    }
    assert!(all.contains("[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']"));
}

#[test]
fn types_become_patterns() {
    let md5 = "d41d8cd98f00b204e9800998ecf8427e";
    let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let header = "network-traffic:extensions.'http-request-ext'.request_header";
    let target = "network-traffic:extensions.'http-request-ext'.request_value";
    let endpoint = |side: &str, host: &str, port: u16| {
        format!(
            "network-traffic:{side}_ref.value = '{host}' AND network-traffic:{side}_port = {port}"
        )
    };
    for (kind, value, expected, subdomains) in [
        (
            "ip-src",
            "192.0.2.1",
            "ipv4-addr:value = '192.0.2.1'",
            false,
        ),
        (
            "ip-dst",
            "192.0.2.9/24",
            "ipv4-addr:value = '192.0.2.0/24'",
            false,
        ),
        (
            "ip-dst",
            "2001:DB8::1",
            "ipv6-addr:value = '2001:db8::1'",
            false,
        ),
        (
            "ip-dst",
            "192[.]0.2.1",
            "ipv4-addr:value = '192.0.2.1'",
            false,
        ),
        (
            "ip-dst|port",
            "192.0.2.1|443",
            &endpoint("dst", "192.0.2.1", 443),
            false,
        ),
        (
            "ip-dst|port",
            "192.0.2.1:443",
            &endpoint("dst", "192.0.2.1", 443),
            false,
        ),
        (
            "ip-src|port",
            "2001:db8::1|80",
            &endpoint("src", "2001:db8::1", 80),
            false,
        ),
        (
            "ip-dst|port",
            "[2001:db8::1]:80",
            &endpoint("dst", "2001:db8::1", 80),
            false,
        ),
        (
            "domain",
            "A.example.",
            "domain-name:value = 'a.example'",
            true,
        ),
        (
            "domain",
            "bücher.example",
            "domain-name:value = 'xn--bcher-kva.example'",
            true,
        ),
        (
            "hostname",
            "www.a.example",
            "domain-name:value = 'www.a.example'",
            false,
        ),
        (
            "hostname",
            "*.a.example",
            "domain-name:value = 'a.example'",
            true,
        ),
        (
            "hostname|port",
            "a.example|8443",
            "domain-name:value = 'a.example'",
            false,
        ),
        (
            "domain|ip",
            "a.example|192.0.2.1",
            "domain-name:value = 'a.example' OR ipv4-addr:value = '192.0.2.1'",
            true,
        ),
        (
            "url",
            "hxxp://a[.]example/x'y",
            r"url:value = 'http://a.example/x\'y'",
            false,
        ),
        ("url", "a.example/x", "url:value = 'a.example/x'", false),
        (
            "uri",
            "/gate.php?a=1",
            &format!("{target} = '/gate.php?a=1'"),
            false,
        ),
        ("uri", "gate.php", &format!("{target} = '/gate.php'"), false),
        (
            "md5",
            &md5.to_uppercase(),
            &format!("file:hashes.MD5 = '{md5}'"),
            false,
        ),
        (
            "sha1",
            sha1,
            &format!("file:hashes.'SHA-1' = '{sha1}'"),
            false,
        ),
        (
            "sha256",
            sha256,
            &format!("file:hashes.'SHA-256' = '{sha256}'"),
            false,
        ),
        (
            "filename|sha256",
            &format!("a b|c.exe|{sha256}"),
            &format!("file:hashes.'SHA-256' = '{sha256}'"),
            false,
        ),
        (
            "malware-sample",
            &format!("x.exe|{md5}"),
            &format!("file:hashes.MD5 = '{md5}'"),
            false,
        ),
        ("filename", r"a\b.exe", r"file:name = 'a\\b.exe'", false),
        (
            "x509-fingerprint-sha1",
            &sha1.to_uppercase(),
            &format!("x509-certificate:hashes.'SHA-1' = '{sha1}'"),
            false,
        ),
        (
            "ja3-fingerprint-md5",
            md5,
            &format!("network-traffic:x_ja3_hash = '{md5}'"),
            false,
        ),
        (
            "hassh-md5",
            md5,
            &format!("network-traffic:x_hassh = '{md5}'"),
            false,
        ),
        (
            "hasshserver-md5",
            md5,
            &format!("network-traffic:x_hassh_server = '{md5}'"),
            false,
        ),
        (
            "ja4-fingerprint",
            "t13d",
            "network-traffic:x_ja4 = 't13d'",
            false,
        ),
        (
            "user-agent",
            "Bot/1",
            &format!("{header}.'User-Agent' = 'Bot/1'"),
            false,
        ),
        (
            "cookie",
            "a=1",
            &format!("{header}.'Cookie' = 'a=1'"),
            false,
        ),
        (
            "email-src",
            "x@A.example",
            "email-addr:value = 'x@a.example'",
            false,
        ),
        (
            "email-subject",
            "Invoice #42",
            "email-message:subject = 'Invoice #42'",
            false,
        ),
    ] {
        let (record, loaded) = load_text(&event(&[attribute(kind, value)]));
        assert_eq!(loaded.report.loaded, 1, "{kind} {value}: {loaded:?}");
        let pattern = format!("pattern: {:?}", format!("[{expected}]"));
        assert!(
            record.calls[1].contains(&pattern),
            "{kind}: {}",
            record.calls[1]
        );
        let flag = format!("subdomains: {subdomains}");
        assert!(
            record.calls[1].contains(&flag),
            "{kind}: {}",
            record.calls[1]
        );
        assert_eq!(
            loaded.report.warnings.len(),
            usize::from(kind == "hostname|port"),
            "{kind}"
        );
    }
    let (record, _) = load_text(&event(&[attribute("stix2-pattern", " [a:b = 'x'] ")]));
    assert!(record.calls[1].contains("pattern: \"[a:b = 'x']\""));
}

#[test]
fn what_does_not_load_is_told() {
    for (kind, value, reason) in [
        ("ip-dst", "a.example", "'a.example' is no 'ip-dst'"),
        ("ip-dst", "0.0.0.0/0", "is no 'ip-dst'"),
        ("ip-dst|port", "192.0.2.1|0", "is no 'ip-dst|port'"),
        ("ip-dst|port", "192.0.2.1", "is no 'ip-dst|port'"),
        ("ip-dst|port", "2001:db8::1:80", "is no 'ip-dst|port'"),
        ("domain", "192.0.2.1", "is no 'domain'"),
        ("domain", " ", "is no 'domain'"),
        ("domain|ip", "a.example", "is no 'domain|ip'"),
        ("domain|ip", "192.0.2.1|a.example", "is no 'domain|ip'"),
        ("url", "http://a.example/\u{1}", "is no 'url'"),
        ("md5", "d41d8cd9", "is no 'md5'"),
        ("sha1", "d41d8cd98f00b204e9800998ecf8427e", "is no 'sha1'"),
        ("filename|md5", "x.exe", "is no 'filename|md5'"),
        (
            "x509-fingerprint-sha256",
            "d41d8cd98f00b204e9800998ecf8427e",
            "is no 'x509",
        ),
        ("hassh-md5", "x", "is no 'hassh-md5'"),
        ("email", "x", "is no 'email'"),
    ] {
        let (_, loaded) = load_text(&event(&[attribute(kind, value)]));
        let refused = &loaded.report.refused;
        assert_eq!(refused.len(), 1, "{kind} {value}");
        assert_eq!(
            (&*refused[0].object, &*refused[0].path),
            (UUID, "Event.Attribute[0].value")
        );
        assert!(refused[0].reason.contains(reason), "{}", refused[0].reason);
    }
    for (kind, value, reason) in [
        ("regkey", "HKLM", "MISP type 'regkey'"),
        ("btc", "1", "MISP type 'btc'"),
        ("of-tomorrow", "1", "MISP type 'of-tomorrow'"),
        ("filename|imphash", "x|y", "MISP type 'filename|imphash'"),
        (
            "snort",
            "alert",
            "MISP type 'snort': rules of other engines are not read",
        ),
        ("url", "tcp://192.0.2.1:5", "neither http, https nor ftp"),
    ] {
        let (_, loaded) = load_text(&event(&[attribute(kind, value)]));
        let unseeable = &loaded.report.unseeable;
        assert_eq!(unseeable.len(), 1, "{kind} {value}");
        assert_eq!(unseeable[0].object, UUID);
        assert!(
            unseeable[0].reason.contains(reason),
            "{}",
            unseeable[0].reason
        );
    }
    for (changes, reason) in [
        (vec![("uuid", "")], "'uuid' is missing"),
        (vec![("uuid", "\"../../etc/passwd\"")], "uuid: is no UUID"),
        (vec![("type", "")], "'type' is missing"),
        (vec![("type", "[]")], "type: must be a string"),
        (vec![("value", "null")], "'value' is missing"),
        (vec![("value", "{}")], "value: must be a string"),
        (
            vec![("to_ids", "\"maybe\"")],
            "to_ids: 'maybe' must be true or false",
        ),
        (vec![("deleted", "7")], "deleted: '7' must be"),
        (vec![("timestamp", "\"soon\"")], "timestamp: must be"),
        (vec![("Tag", "[{\"name\":{}}]")], "Tag: must be a string"),
        (vec![("Tag", "[7]")], "Tag: must be an object"),
        (
            vec![("x", "1,\"type\":\"domain\"")],
            "the member 'type' is there twice",
        ),
    ] {
        let (_, loaded) = load_text(&event(&[attribute_with(&changes), attribute_with(&[])]));
        assert_eq!(loaded.report.loaded, 1, "a broken one costs itself alone");
        let refused = &loaded.report.refused;
        assert_eq!(refused.len(), 1, "{changes:?}");
        assert_eq!(refused[0].path, "Event.Attribute[0]");
        assert!(refused[0].reason.contains(reason), "{}", refused[0].reason);
    }
}

#[test]
fn events_are_loaded_as_they_are_published() {
    let one = event(&[attribute_with(&[])]);
    for (text, loaded, refused, warning) in [
        (one.clone(), 1, "", ""),
        (one.replace("true,\"Att", "\"1\",\"Att"), 1, "", ""),
        (
            one.replace("true,\"Att", "false,\"Att"),
            0,
            "its event is not published",
            "",
        ),
        (
            one.replace("true,\"Att", "\"0\",\"Att"),
            0,
            "its event is not published",
            "",
        ),
        (
            one.replace("true,\"Att", "null,\"Att"),
            1,
            "",
            "taken as published",
        ),
        (one.replace("true,\"Att", "[],\"Att"), 0, "published: ", ""),
        (
            one.replace("[{", "[7,{"),
            1,
            "must be an object, not a number",
            "",
        ),
        (
            one.replace("\"Attribute\":[", "\"Attribute\":7,\"x\":["),
            0,
            "Attribute: must be",
            "",
        ),
        (
            one.replace("\"to_ids\":true,", ""),
            0,
            "",
            "no attribute has to_ids set",
        ),
        (
            one.replace("\"info\"", "\"date\":\"x\",\"info\""),
            1,
            "",
            "no date: ignored (Event)",
        ),
    ] {
        let (_, source) = load_text(&text);
        assert!(source.fatal.is_none(), "{text}");
        assert_eq!(source.report.loaded, loaded, "{text}");
        let first = source
            .report
            .refused
            .first()
            .map_or("", |refused| &*refused.reason);
        assert!(
            first.contains(refused) && first.is_empty() == refused.is_empty(),
            "{first}"
        );
        let warnings = source.report.warnings.join(";");
        assert!(warnings.contains(warning), "{warnings}");
        assert_eq!(warnings.is_empty(), warning.is_empty(), "{warnings}");
    }
    // what is withdrawn stays so, whatever else is odd
    let withdrawn = one
        .replace("true,\"Att", "false,\"Att")
        .replace("192.0.2.1\"", "x\",\"deleted\":1");
    assert_eq!(load_text(&withdrawn).1.report.revoked, 1);
}

#[test]
fn documents_of_every_shape() {
    let one = event(&[attribute_with(&[])]);
    let bare = attribute_with(&[("Event", "{\"info\":\"Of it\",\"uuid\":\"x\"}")]);
    for (text, loaded, path) in [
        (one.clone(), 1, ""),
        (format!("[{one}, {one}]"), 2, ""),
        (format!("{{\"response\":[{one},{one}]}}"), 2, ""),
        (format!("{{\"response\":{one}}}"), 1, ""),
        (
            format!("{{\"response\":{{\"Attribute\":[{bare},{bare}]}}}}"),
            2,
            "",
        ),
        ("{\"response\":[]}".to_owned(), 0, ""),
        ("{\"response\":{\"Attribute\":[]}}".to_owned(), 0, ""),
        (
            format!("{{\"response\":[{one},{{}}, 7, {one}],\"x\":[{{}}]}}"),
            2,
            "response[1]",
        ),
        (format!("\u{feff} [{one},null]\n"), 1, "[1]"),
        ("{\"Event\":[]}".to_owned(), 0, "Event"),
    ] {
        let (record, source) = load_text(&text);
        assert!(source.fatal.is_none(), "{text}: {:?}", source.fatal);
        assert_eq!(source.report.loaded, loaded, "{text}");
        let first = source
            .report
            .refused
            .first()
            .map_or("", |refused| &*refused.path);
        assert_eq!(first, path, "{text}");
        assert_eq!(
            text.contains("Of it"),
            record
                .calls
                .iter()
                .any(|call| call.contains("Of it (ip-dst)"))
        );
    }
    for (text, message) in [
        ("{\"response\":{}}".to_owned(), "neither a MISP event"),
        ("{\"response\":7}".to_owned(), "neither a MISP event"),
        (format!("{one}x"), "nothing may follow"),
        (one.replace("}}", "}"), "ends within the JSON document"),
        (one.replace("true", "tru"), "Event: no JSON"),
        (format!("[{one},{{\"Event\":nul}}]"), "[1]: no JSON"),
        (format!("{{\"response\":[{one} {one}]}}"), "a comma or ']'"),
    ] {
        let (record, source) = load_text(&text);
        let error = source
            .fatal
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(message), "{text}: {error}");
        assert!(record.calls.is_empty());
    }
}

#[test]
fn an_event_too_large_costs_itself_alone() {
    let limits = Limits {
        largest_event: 4_000,
        window: 256,
        ..Limits::default()
    };
    let one = event(&[attribute_with(&[])]);
    let large = one.replacen(
        "\"info\"",
        &format!("\"x\":\"{}\",\"info\"", "\\\"{[é".repeat(2_000)),
        1,
    );
    for (text, loaded, path) in [
        (format!("[{one},{large},{one}]"), 2, "[1]"),
        (
            format!("{{\"response\":[{large},{one}]}}"),
            1,
            "response[0]",
        ),
        (
            format!("{{\"x\":1,\"Event\":{}}}", &large[9..large.len() - 1]),
            0,
            "Event",
        ),
    ] {
        // the kind must be told before
        let text = text.replacen("{\"x\":1,", "{", 1);
        let (_, source) = load_bytes(text.as_bytes(), &limits);
        assert!(source.fatal.is_none(), "{:?}", source.fatal);
        assert_eq!(source.report.loaded, loaded);
        assert_eq!(source.report.refused[0].path, path);
        assert!(
            source.report.refused[0]
                .reason
                .contains("larger than 4000 bytes")
        );
    }
}

#[test]
fn a_feed_is_the_events_that_its_manifest_names() {
    let folder = std::env::temp_dir().join(format!("watchpost-misp-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("feed")).unwrap();
    let write =
        |name: &str, text: &str| std::fs::write(folder.join("feed").join(name), text).unwrap();
    let one = event(&[attribute_with(&[])]);
    let other = "ad13e3e8-5208-4802-88a2-389c791b5c03";
    let missing = "d8596d7d-c2b5-42cb-b1cd-69c9a89c4545";
    write(&format!("{UUID}.json"), &one);
    write(&format!("{other}.json"), &one);
    write("hashes.csv", &format!("{},{UUID}\n", "0".repeat(32)));
    std::fs::write(folder.join("secret.json"), &one).unwrap();
    std::fs::write(
        folder.join("draft.json"),
        one.replace("true,\"Att", "false,\"Att"),
    )
    .unwrap();
    let load_feed = |manifest: &str| {
        write("manifest.json", manifest);
        let mut record = Record::default();
        let loaded = load(&[folder.join("feed")], &mut record, &mut |_| {});
        let seen: Vec<(String, u64, String)> = loaded
            .iter()
            .map(|source| {
                let fault = source.fatal.as_ref().or(source.skipped.as_ref());
                (
                    source.report.file.rsplit('/').next().unwrap().to_owned(),
                    source.report.loaded,
                    fault.map(|error| error.to_string()).unwrap_or_default(),
                )
            })
            .collect();
        seen
    };
    let one_named = load_feed(&format!("{{\"{UUID}\":{{}}}}"));
    let tricks = load_feed(&format!(
        "{{\"{other}\":{{}},\"../secret\":{{}},\"{missing}\":{{}},\"{UUID}\":{{}}}}"
    ));
    let cut = load_feed(&format!("{{\"{UUID}\":{{}}"));
    // what is refused whole is passed over beside others, and told where it is alone
    let mut record = Record::default();
    let beside = load(std::slice::from_ref(&folder), &mut record, &mut |_| {});
    std::fs::remove_file(folder.join("secret.json")).unwrap();
    std::fs::remove_dir_all(folder.join("feed")).unwrap();
    let alone = load(std::slice::from_ref(&folder), &mut record, &mut |_| {});
    std::fs::remove_dir_all(&folder).unwrap();
    let draft = |sources: &[LoadedSource]| {
        let draft = sources
            .iter()
            .find(|source| source.report.file.ends_with("draft.json"));
        draft
            .map(|draft| (draft.report.refused.len(), draft.skipped.is_some()))
            .unwrap()
    };
    assert_eq!((draft(&beside), draft(&alone)), ((1, true), (1, false)));
    let told = beside.iter().find_map(|source| match &source.skipped {
        Some(error) if error.file.ends_with("draft.json") => Some(error.to_string()),
        _ => None,
    });
    assert!(told.is_some_and(|told| told.contains("its event is not published")));
    assert_eq!(one_named, [(format!("{UUID}.json"), 1, String::new())]);
    let names: Vec<(&str, u64)> = tricks.iter().map(|(file, n, _)| (&**file, *n)).collect();
    assert_eq!(
        names,
        [
            ("manifest.json", 0),
            (&*format!("{UUID}.json"), 1),
            (&*format!("{other}.json"), 1),
            (&*format!("{missing}.json"), 0),
        ]
    );
    assert!(
        tricks[0].2.contains("../secret: is no UUID"),
        "{}",
        tricks[0].2
    );
    assert!(tricks[3].2.contains("cannot be read"), "{}", tricks[3].2);
    assert!(
        cut[0].2.contains("ends within the JSON document"),
        "{}",
        cut[0].2
    );
}
