//! What the texts of other sensors come to.

use super::*;

/// Patterns of what loads, and the places of what is refused.
fn outcome(text: &str) -> (Vec<String>, Vec<String>, LoadedSource) {
    let (record, loaded) = load_text(text);
    assert!(loaded.fatal.is_none(), "{text}: {:?}", loaded.fatal);
    let patterns = record.calls.iter().skip(1).map(|call| {
        let (_, behind) = call.split_once("pattern: \"[").unwrap();
        behind.split("]\"").next().unwrap().to_owned()
    });
    let refused = loaded
        .report
        .refused
        .iter()
        .map(|refused| refused.path.clone());
    (patterns.collect(), refused.collect(), loaded)
}

#[test]
fn intelligence_of_zeek() {
    let text = "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n\
        192.0.2.1\tIntel::ADDR\tx\tA scanner\r\n\
        # a comment\n\
        a.example\tIntel::DOMAIN\tx\t-\n\
        a.example/x,y\tIntel::URL\tx\n\
        root\tIntel::USER_NAME\tx\t-\n\
        b.example\tIntel::ADDR\tx\t-\n\
        short\n\
        Bot 1.0\tIntel::SOFTWARE\tx\t-\n";
    let (patterns, refused, loaded) = outcome(text);
    assert_eq!(
        patterns,
        [
            "ipv4-addr:value = '192.0.2.1'",
            "domain-name:value = 'a.example'",
            "url:value = 'a.example/x,y'",
            "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' = 'Bot 1.0'",
        ]
    );
    assert_eq!(refused, ["line 7", "line 8"]);
    assert_eq!(loaded.report.unseeable[0].object, "line 6");
    assert_eq!(
        loaded.report.unseeable[0].reason,
        "Zeek type 'Intel::USER_NAME'"
    );
    let (record, _) = load_text(text);
    assert!(record.calls[1].contains("name: Some(\"A scanner\")"));
    assert!(record.calls[1].contains(&derive_id("x", "192.0.2.1")));
    assert!(
        record.calls[2].contains("name: None") && record.calls[2].contains("subdomains: false")
    );
}

#[test]
fn hosts_files() {
    let text = "# Title: hosts\n\n127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n\
        255.255.255.255 broadcasthost\nff02::1 ip6-allnodes\n0.0.0.0 0.0.0.0\n\n\
        0.0.0.0 a.example # b\n127.0.0.1\tB.example c.example\n192.0.2.1 d.example\n\
        0.0.0.0 bad_\u{1}name.example\n0.0.0.0 e.example\n";
    let (patterns, refused, loaded) = outcome(text);
    assert_eq!(
        patterns,
        ["a", "b", "c", "e"].map(|name| format!("domain-name:value = '{name}.example'"))
    );
    assert_eq!(refused, ["line 11", "line 12"], "{loaded:?}");
}

#[test]
fn tables() {
    for (text, patterns, refused) in [
        (
            "id,domain,note\n1,a.example,\"x, y\"\n2,B.example,\n3,,\n4\n5,bad,\n",
            vec![
                "domain-name:value = 'a.example'",
                "domain-name:value = 'b.example'",
            ],
            vec!["line 5", "line 6"],
        ),
        (
            "# all times in UTC\n# id,dateadded,url,tags\n\"1\",\"2024\",\"http://a.example/x,y\",\"a,b\"\n",
            vec!["url:value = 'http://a.example/x,y'"],
            vec![],
        ),
        (
            "\"note\";\"ip\"\n\"several\nlines; of\n\"\"it\"\"\";192.0.2.1\n\"x\";192.0.2.2\n",
            vec![
                "ipv4-addr:value = '192.0.2.1'",
                "ipv4-addr:value = '192.0.2.2'",
            ],
            vec![],
        ),
        (
            "\u{feff}value\tto_ids\na.example\t1\nb.example\t0\n",
            vec!["domain-name:value = 'a.example'"],
            vec![],
        ),
        (
            "ip\n192.0.2.1\n\n# x\n192.0.2.2\n",
            vec![
                "ipv4-addr:value = '192.0.2.1'",
                "ipv4-addr:value = '192.0.2.2'",
            ],
            vec![],
        ),
        (
            "note,ip\na,192.0.2.1\n\"open,192.0.2.2\nb,192.0.2.3\n",
            vec!["ipv4-addr:value = '192.0.2.1'"],
            vec!["line 3"],
        ),
    ] {
        let (seen, places, _) = outcome(text);
        assert_eq!(seen, patterns, "{text}");
        assert_eq!(places, refused, "{text}");
    }
    let endless = format!("note,ip\n\"{}", "lines and lines\n".repeat(10_000));
    let (_, refused, _) = outcome(&format!("{endless}\",192.0.2.1\n"));
    assert!(
        refused.contains(&"line 2".to_owned()),
        "{:?}",
        refused.first()
    );
}

#[test]
fn datasets() {
    for (text, patterns, refused) in [
        (
            "YS5leGFtcGxl\nYi5leGFtcGxl,3\n!!\n",
            vec![],
            vec!["line 1", "line 2", "line 3"],
        ),
        (
            "192.0.2.1\n192.0.2.2,a word\n",
            vec![
                "ipv4-addr:value = '192.0.2.1'",
                "ipv4-addr:value = '192.0.2.2'",
            ],
            vec![],
        ),
        (
            "YS5leGFtcGxl\naHR0cDovL2IuZXhhbXBsZS94,3\n",
            vec![
                "domain-name:value = 'a.example'",
                "url:value = 'http://b.example/x'",
            ],
            vec![],
        ),
    ] {
        let (record, loaded) = load_text(text);
        if patterns.is_empty() {
            // not all of it is base64 of values: read as a list, which it is not
            assert!(loaded.fatal.is_some());
            assert!(record.calls.is_empty());
            continue;
        }
        let (seen, places, _) = outcome(text);
        assert_eq!(seen, patterns, "{text}");
        assert_eq!(places, refused, "{text}");
    }
    let many = format!("{}TW96aWxsYQ==\n", "YS5leGFtcGxl\n".repeat(200));
    let (patterns, refused, _) = outcome(&many);
    assert_eq!(
        (patterns.len(), refused),
        (200, vec!["line 201".to_owned()])
    );
    // the same value has the same id, however it is written
    let (record, _) = load_text("YS5leGFtcGxl\n");
    assert!(record.calls[1].contains(&derive_id("x", "a.example")));
}
