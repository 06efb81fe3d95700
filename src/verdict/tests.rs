use super::*;
use crate::indicator::Tlp;
use crate::matcher::FlowSummary;
use crate::matcher::Observable;
use crate::observable::Place;
use crate::time::Timestamp;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Instant;

fn rules(files: &[(&str, &str)]) -> Result<Rules, RulesError> {
    Rules::from_files(
        files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
            .collect(),
    )
}

fn found(kind: ObservableType, value: &str, place: Place) -> Match {
    Match {
        timestamp: Timestamp::MIN,
        flow: FlowSummary {
            id: 1,
            source: IpAddr::from([10, 0, 0, 1]),
            source_port: 40_000,
            destination: IpAddr::from([203, 0, 113, 1]),
            destination_port: 443,
            protocol: 6,
            vlan: None,
            app_proto: None,
        },
        indicator: 0,
        observations: Box::default(),
        observable: Observable {
            kind,
            value: value.to_owned(),
            place,
            property: None,
            evidence: Evidence::None,
        },
    }
}

fn address(value: &str) -> Match {
    let kind = match value.contains(':') {
        true => ObservableType::Ipv6Addr,
        false => ObservableType::Ipv4Addr,
    };
    found(kind, value, Place::FlowDst)
}

fn name(value: &str) -> Match {
    found(ObservableType::DomainName, value, Place::DnsQuery)
}

fn details(pattern: &str, confidence: Option<u8>) -> Details {
    Details {
        pattern: pattern.to_owned(),
        source: "/srv/intel/partner.json".to_owned(),
        confidence,
        ..Details::default()
    }
}

const BLOCK_ALL: &str = "[[rule]]\naction = 'block'\n";

#[test]
fn the_shipped_rules_are_sound() {
    let rules = Rules::shipped().unwrap();
    assert_eq!(rules.warnings(), [""; 0]);
    assert_eq!(rules.matching, Matching::default());
    let pattern = "[ipv4-addr:value = '203.0.113.1']";
    for (found, details, action) in [
        (
            address("203.0.113.1"),
            details(pattern, Some(90)),
            Action::WouldBlock,
        ),
        (
            address("203.0.113.1"),
            details(pattern, Some(69)),
            Action::Report,
        ),
        (
            address("203.0.113.1"),
            details(pattern, None),
            Action::Report,
        ),
        (name("a.example"), details("", Some(90)), Action::WouldBlock),
        (
            found(ObservableType::Url, "http://a.example/x", Place::HttpUrl),
            details("", Some(100)),
            Action::Report,
        ),
        (
            found(ObservableType::Ipv4Addr, "203.0.113.1", Place::DnsAnswer),
            details(pattern, Some(100)),
            Action::Report,
        ),
        (
            address("127.0.0.1"),
            details("", Some(100)),
            Action::Allowlisted,
        ),
        (address("::"), details("", None), Action::Allowlisted),
        (address("fe80::1"), details("", None), Action::Allowlisted),
        (address("239.1.2.3"), details("", None), Action::Allowlisted),
        (
            name("localhost"),
            details("", Some(90)),
            Action::Allowlisted,
        ),
    ] {
        let verdict = rules.judge(&found, &details);
        assert_eq!(verdict.action, action, "{found:?} {verdict:?}");
    }
}

#[test]
fn no_rules_report_everything() {
    for files in [
        &[][..],
        &[("a.toml", "")],
        &[("m", "[matching]\nsubdomains = \"always\"\n")],
        &[("list", "# nothing\n")],
    ] {
        let rules = rules(files).unwrap();
        let verdict = rules.judge(&address("192.0.2.1"), &details("", Some(100)));
        assert_eq!(verdict.action, Action::Report);
        assert_eq!(
            verdict.reason,
            "there are no rules, and every match is reported"
        );
    }
}

#[test]
fn the_first_rule_that_fits_decides() {
    let text = "
        [policy]
        default_action = 'block'
        [[rule]]
        name = 'doubtful'
        labels = ['benign', 'test-*']
        action = 'report'
        [[rule]]
        types = ['domain-name']
        action = 'block'
        [[rule]]
        action = 'report'
    ";
    let rules = rules(&[("p", text)]).unwrap();
    let mut labelled = details("", None);
    labelled.labels = vec!["x".to_owned(), "Test-1".to_owned()];
    let address_details = details("[ipv4-addr:value = '192.0.2.1']", None);
    for (found, details, action, reason) in [
        (
            name("a.example"),
            &labelled,
            Action::Report,
            "rule `doubtful` of p says report",
        ),
        (
            name("a.example"),
            &details("", None),
            Action::WouldBlock,
            "rule 2 of p says block",
        ),
        (
            address("192.0.2.1"),
            &address_details,
            Action::Report,
            "rule 3 of p says report",
        ),
    ] {
        let verdict = rules.judge(&found, details);
        assert_eq!((verdict.action, verdict.reason.as_str()), (action, reason));
    }
}

#[test]
fn every_condition_of_a_rule() {
    let base = details("[ipv4-addr:value = '192.0.2.1']", Some(60));
    let amber = Details {
        tlp: Some(Tlp::Amber),
        ..base.clone()
    };
    let labelled = Details {
        labels: vec!["malicious-activity".to_owned()],
        ..base.clone()
    };
    let unsure = Details {
        confidence: None,
        ..base.clone()
    };
    for (condition, details, fits) in [
        ("types = ['ipv4-addr']", &base, true),
        ("types = ['ipv6-addr', 'url']", &base, false),
        ("types = []", &base, false),
        ("places = ['flow.dst']", &base, true),
        ("places = ['flow.*']", &base, true),
        ("places = ['flow.src', 'dns.query']", &base, false),
        ("min_confidence = 60", &base, true),
        ("min_confidence = 61", &base, false),
        ("min_confidence = 50", &unsure, true),
        ("min_confidence = 51", &unsure, false),
        ("tlp = ['TLP:AMBER']", &amber, true),
        ("tlp = ['tlp:amber']", &amber, true),
        ("tlp = ['TLP:AMBER+STRICT', 'TLP:WHITE']", &amber, false),
        ("tlp = ['unmarked']", &amber, false),
        ("tlp = ['unmarked']", &base, true),
        ("tlp = ['TLP:CLEAR']", &base, false),
        ("sources = ['*.json']", &base, true),
        ("sources = ['partner.json']", &base, true),
        ("sources = ['other*', '/srv/*']", &base, true),
        ("sources = ['other*']", &base, false),
        ("labels = ['malicious-*']", &labelled, true),
        ("labels = ['malicious']", &labelled, false),
        ("labels = ['*']", &base, false),
    ] {
        let text = format!("[[rule]]\n{condition}\naction = 'block'\n");
        let rules = rules(&[("p.toml", &text)]).unwrap();
        let verdict = rules.judge(&address("192.0.2.1"), details);
        let expected = match fits {
            true => Action::WouldBlock,
            false => Action::Report,
        };
        assert_eq!(verdict.action, expected, "{condition}: {verdict:?}");
    }
}

#[test]
fn what_is_named_only_or_too_wide_never_blocks() {
    let rules = rules(&[("p.toml", BLOCK_ALL)]).unwrap();
    let own = rules_with_widths();
    for (value, pattern, default, narrow) in [
        ("192.0.2.1", "[ipv4-addr:value = '192.0.2.1']", true, true),
        (
            "192.0.2.1",
            "[ipv4-addr:value = '192.0.2.1/32']",
            true,
            true,
        ),
        (
            "192.0.2.1",
            "[ipv4-addr:value ISSUBSET '192.0.2.0/24']",
            true,
            false,
        ),
        (
            "192.0.2.1",
            "[ipv4-addr:value ISSUBSET '192.0.0.0/16']",
            true,
            false,
        ),
        (
            "192.0.2.1",
            "[ipv4-addr:value = '192.0.0.0/15']",
            false,
            false,
        ),
        (
            "192.0.2.1",
            "[ipv4-addr:value IN ('0.0.0.0/0', '192.0.2.1')]",
            true,
            true,
        ),
        (
            "192.0.2.1",
            "[ipv4-addr:value != '198.51.100.1']",
            false,
            false,
        ),
        ("192.0.2.1", "[ipv4-addr:value LIKE '%']", false, false),
        (
            "192.0.2.1",
            "[a:b = 'it\\'s' OR ipv4-addr:value = '192.0.2.1']",
            true,
            true,
        ),
        ("192.0.2.1", "[a:b = 'open", false, false),
        ("192.0.2.1", "", false, false),
        (
            "2001:db8::1",
            "[ipv6-addr:value = '2001:DB8:0::1']",
            true,
            true,
        ),
        (
            "2001:db8::1",
            "[ipv6-addr:value = '2001:db8::/48']",
            true,
            false,
        ),
        (
            "2001:db8::1",
            "[ipv6-addr:value = '2001:db8::/32']",
            false,
            false,
        ),
    ] {
        for (rules, blocks) in [(&rules, default), (&own, narrow)] {
            let verdict = rules.judge(&address(value), &details(pattern, None));
            let expected = match blocks {
                true => Action::WouldBlock,
                false => Action::Report,
            };
            assert_eq!(verdict.action, expected, "{pattern} {verdict:?}");
        }
    }
    for place in Place::ALL {
        for kind in [ObservableType::Ipv4Addr, ObservableType::DomainName] {
            let verdict = rules.judge(
                &found(kind, "192.0.2.1", place),
                &details("[ipv4-addr:value = '192.0.2.1']", None),
            );
            let blocks = verdict.action == Action::WouldBlock;
            assert_eq!(blocks, !place.names_only(), "{place} {verdict:?}");
        }
    }
}

fn rules_with_widths() -> Rules {
    let text = format!("[policy]\nwidest_ipv4 = 25\nwidest_ipv6 = 64\n{BLOCK_ALL}");
    rules(&[("p.toml", &text)]).unwrap()
}

#[test]
fn how_sources_are_matched() {
    let text = "
        [matching]
        subdomains = 'as-written'
        [matching.source.'*.json']
        subdomains = 'always'
        [matching.source.'misp*.json']
        subdomains = 'as-written'
        [matching.source.'misp-1.json']
        subdomains = 'always'
    ";
    let matching = rules(&[("p", text)]).unwrap().matching;
    for (source, subdomains) in [
        ("list.txt", Subdomains::AsWritten),
        ("/srv/a.json", Subdomains::Always),
        ("/srv/misp-2.json", Subdomains::AsWritten),
        ("misp-1.json", Subdomains::Always),
    ] {
        assert_eq!(matching.subdomains_for(source), subdomains, "{source}");
    }
}

#[test]
fn slips_are_told_with_their_place_and_a_way_out() {
    for (text, expected) in [
        (
            "[[rule]]\ntpyes = []\naction = 'block'",
            "p.toml:2:1: unknown key `tpyes`; did you mean `types`?",
        ),
        (
            "[[rules]]\naction = 'block'",
            "p.toml:1:3: unknown key `rules`; did you mean `rule`?",
        ),
        (
            "[matching]\nsubdomain = 'always'",
            "p.toml:2:1: unknown key `subdomain`; did you mean `subdomains`?",
        ),
        (
            "[matching]\nsubdomains = 'alway'",
            "p.toml:2:14: unknown value `alway`; did you mean `always`?",
        ),
        (
            "[[rule]]\naction = 'drop'",
            "p.toml:2:10: unknown value `drop`; known here: report, block",
        ),
        (
            "[[rule]]\ntypes = ['url', 'ipv4_addr']\naction = 'block'",
            "p.toml:2:17: unknown type `ipv4_addr`; did you mean `ipv4-addr`?",
        ),
        (
            "[[rule]]\nplaces = ['flow.dest']\naction = 'block'",
            "p.toml:2:11: unknown place `flow.dest`; did you mean `flow.dst`?",
        ),
        (
            "[[rule]]\ntlp = ['TLP:GREEM']\naction = 'block'",
            "p.toml:2:8: unknown marking `TLP:GREEM`; did you mean `TLP:GREEN`?",
        ),
        (
            "[[rule]]\nmin_confidence = 101\naction = 'block'",
            "p.toml:2:18: invalid value: integer `101`, expected a whole number from 0 to 100",
        ),
        (
            "[[rule]]\nmin_confidence = -1\naction = 'block'",
            "p.toml:2:18: invalid value: integer `-1`, expected a whole number from 0 to 100",
        ),
        ("[[rule]]\nname = 'x'", "p.toml:1:1: missing field `action`"),
        (
            "[allow]\nvalues = [\n  '192.0.2.1',\n  '192.0.2.300',\n]",
            "p.toml:4:3: `192.0.2.300` is not an address or network",
        ),
        (
            "[sensor]\nname = 'a'",
            "p.toml:1:2: unknown key `sensor`; known here: policy, matching, rule, allow",
        ),
    ] {
        let error = rules(&[("p.toml", text)]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = rules(&[("p.toml", "[[rule]\naction = 1")]).unwrap_err();
    assert!(error.to_string().starts_with("p.toml:1:"), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn one_part_cannot_be_in_two_files() {
    let first = (
        "a.toml",
        "[policy]\n[matching]\n[[rule]]\naction = 'report'",
    );
    for (second, expected) in [
        (
            "[[rule]]\naction = 'block'\n[policy]\n",
            "b.toml:3:1: [policy] is in a.toml already; keep one of the two",
        ),
        (
            "[matching]\n",
            "b.toml:1:1: [matching] is in a.toml already; keep one of the two",
        ),
    ] {
        let error = rules(&[first, ("b.toml", second)]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let both = rules(&[first, ("b.toml", BLOCK_ALL)]).unwrap();
    let verdict = both.judge(&name("a.example"), &details("", None));
    assert_eq!(verdict.reason, "rule 1 of a.toml says report");
}

#[test]
fn files_are_told_apart_by_content() {
    for (name, content, format) in [
        ("rules", "# a comment\n\n[policy]", Format::Policy),
        ("rules", "[[rule]] # one\n", Format::Policy),
        ("rules", "[matching.source.\"a\"]", Format::Policy),
        ("rules", "allow.values = []", Format::Policy),
        ("rules", "  {\"list\": []}", Format::Warninglist),
        ("rules", "[2001:db8::1]", Format::Values),
        ("rules", "192.0.2.1\n[policy]", Format::Values),
        ("rules", "http://a.example/?a=b", Format::Values),
        ("rules", "", Format::Values),
        ("a.toml", "192.0.2.1", Format::Policy),
        ("a.json", "192.0.2.1", Format::Warninglist),
        ("a.txt", "{", Format::Values),
    ] {
        assert_eq!(Format::of(name, content), format, "{name} {content}");
    }
    let rules = rules(&[(
        "a.toml",
        "\u{feff}[allow]\nname = 'n'\nvalues = ['a.example']",
    )]);
    let rules = rules.unwrap();
    let entry = rules.allows(ObservableType::DomainName, "A.example");
    assert_eq!(entry.map(|e| e.list), Some("n"));
}

#[test]
fn an_allowlist_goes_before_every_rule() {
    let list = r#"{"name": "ours", "type": "cidr", "list": ["192.0.2.0/24"]}"#;
    let rules = rules(&[("p.toml", BLOCK_ALL), ("l.json", list)]).unwrap();
    let pattern = "[ipv4-addr:value ISSUBSET '192.0.0.0/16']";
    // By a network, it is the address seen that is looked up.
    let verdict = rules.judge(&address("192.0.2.9"), &details(pattern, None));
    assert_eq!(verdict.action, Action::Allowlisted);
    assert_eq!(
        verdict.reason,
        "covered by entry `192.0.2.0/24` of allowlist `ours` (l.json)"
    );
    let verdict = rules.judge(&address("192.0.3.9"), &details(pattern, None));
    assert_eq!(verdict.action, Action::WouldBlock);
    assert!(
        rules
            .allows(ObservableType::Ipv4Addr, "192.0.2.128/25")
            .is_some()
    );
    assert!(
        rules
            .allows(ObservableType::Ipv4Addr, "192.0.0.0/16")
            .is_none()
    );
}

#[test]
fn files_are_covered_by_any_digest_and_never_by_a_name_of_the_senders_choice() {
    let list = "d41d8cd98f00b204e9800998ecf8427e\nsetup.exe\n";
    let rules = rules(&[("p.toml", BLOCK_ALL), ("l", list)]).unwrap();
    let md5 = [
        0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42,
        0x7e,
    ];
    let file = |value: &str, md5| {
        let mut found = found(ObservableType::File, value, Place::HttpResponseBody);
        found.observable.evidence = Evidence::File {
            name: Some("setup.exe".to_owned()),
            size: 0,
            mime_type: None,
            hashes: Hashes {
                md5,
                ..Hashes::default()
            },
        };
        found
    };
    let sha256 = "a".repeat(64);
    for (found, action) in [
        (file(&sha256, Some(md5)), Action::Allowlisted),
        (file(&sha256, None), Action::WouldBlock),
        (file("setup.exe", None), Action::Allowlisted),
        (file("other.exe", Some([0; 16])), Action::WouldBlock),
    ] {
        assert_eq!(
            rules.judge(&found, &details("", None)).action,
            action,
            "{found:?}"
        );
    }
    let mut certificate = found(
        ObservableType::X509Certificate,
        "CN=a",
        Place::TlsCertificate,
    );
    certificate.observable.evidence = Evidence::Certificate(Hashes {
        md5: Some(md5),
        ..Hashes::default()
    });
    let verdict = rules.judge(&certificate, &details("", None));
    assert_eq!(verdict.action, Action::Allowlisted);
}

#[test]
fn a_flow_is_covered_by_the_end_that_is_meant() {
    // The flow goes from 10.0.0.1 to 203.0.113.1.
    let flow = found(ObservableType::NetworkTraffic, "tcp/443", Place::Flow);
    let server = "[network-traffic:dst_ref.value = '203.0.113.1']";
    let ports = "[network-traffic:dst_port = 443]";
    for (list, pattern, action) in [
        ("203.0.113.1", server, Action::Allowlisted),
        ("10.0.0.0/8", server, Action::WouldBlock),
        ("203.0.113.1", ports, Action::WouldBlock),
        ("10.0.0.0/8", ports, Action::WouldBlock),
        ("10.0.0.0/8\n203.0.113.0/24", ports, Action::Allowlisted),
    ] {
        let rules = rules(&[("p.toml", BLOCK_ALL), ("l", list)]).unwrap();
        let verdict = rules.judge(&flow, &details(pattern, None));
        assert_eq!(verdict.action, action, "{list} {pattern} {verdict:?}");
    }
    let mut agent = found(
        ObservableType::NetworkTraffic,
        "Agent/1.0",
        Place::HttpUserAgent,
    );
    agent.observable.property = Some("user_agent");
    let rules = rules(&[
        ("p.toml", BLOCK_ALL),
        ("l", "Agent/1.0\n10.0.0.0/8\n203.0.113.1"),
    ]);
    let verdict = rules.unwrap().judge(&agent, &details("", None));
    assert_eq!(
        verdict.reason,
        "covered by entry `agent/1.0` of allowlist l"
    );
}

/// Never is anything blocked that an allowlist covers, nor anything called
/// allowlisted that none covers.
#[test]
fn what_is_covered_never_blocks() {
    let mut state = 11_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let labels = ["a", "b", "example", "org"];
    let mut seen = [0_usize; 2];
    for _ in 0..300 {
        let mut lists = [const { Vec::new() }; 3];
        for _ in 0..1 + random(6) {
            lists[0].push(format!("10.0.{}.0/{}", random(4), 22 + random(9)));
            lists[1].push(format!(
                "{}.{}",
                labels[random(labels.len())],
                labels[random(labels.len())]
            ));
            lists[2].push(format!("/^{}/", labels[random(labels.len())]));
        }
        let file = |n: usize, kind: &str| {
            let list = serde_json::json!({"name": kind, "type": kind, "list": lists[n]});
            (format!("{kind}.json"), list.to_string())
        };
        let files = vec![
            ("p.toml".to_owned(), BLOCK_ALL.to_owned()),
            file(0, "cidr"),
            file(1, ["hostname", "string", "substring"][random(3)]),
            file(2, "regex"),
        ];
        let rules = Rules::from_files(files).unwrap();
        for _ in 0..30 {
            let host = match random(2) {
                0 => format!("10.0.{}.{}", random(5), random(256)),
                _ => format!(
                    "{}.{}.{}",
                    labels[random(labels.len())],
                    labels[random(labels.len())],
                    labels[random(labels.len())]
                ),
            };
            let is_address = host.starts_with("10.");
            let found = match random(2) {
                0 if is_address => address(&host),
                0 => name(&host),
                _ => found(
                    ObservableType::Url,
                    &format!("http://{host}:8080/x"),
                    Place::HttpUrl,
                ),
            };
            let verdict = rules.judge(&found, &details(&format!("'{host}'"), Some(100)));
            let kind = found.observable.kind;
            let covered = rules.allows(kind, &found.observable.value).is_some();
            seen[usize::from(covered)] += 1;
            let expected = match covered {
                true => Action::Allowlisted,
                false => Action::WouldBlock,
            };
            assert_eq!(verdict.action, expected, "{found:?} {verdict:?}");
        }
    }
    assert!(seen.iter().all(|n| *n > 500), "{seen:?}");
}

#[test]
fn a_million_entries() {
    let mut text = String::new();
    let mut json = String::from(r#"{"name": "m", "type": "hostname", "list": ["#);
    for n in 0..500_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        text.push_str(&format!("10.{a}.{b}.{c}\nhost-{n}.example.org\n"));
        json.push_str(&format!("\"name-{n}.example.net\","));
    }
    json.push_str("\"last\"]}");
    let files = [("l.txt", text.as_str()), ("l.json", json.as_str())];
    let start = Instant::now();
    let rules = rules(&files).unwrap();
    println!("1.5 million entries loaded in {:?}", start.elapsed());
    for (kind, value, covered) in [
        (ObservableType::Ipv4Addr, "10.7.161.31", true),
        (ObservableType::Ipv4Addr, "10.7.161.32", false),
        (ObservableType::DomainName, "host-499999.example.org", true),
        (ObservableType::DomainName, "host-500000.example.org", false),
        (ObservableType::Url, "http://a.name-0.example.net/", true),
        (ObservableType::DomainName, "example.net", false),
    ] {
        assert_eq!(rules.allows(kind, value).is_some(), covered, "{value}");
    }
}

#[test]
fn hostile_files_end_in_an_error_or_in_rules() {
    let mut state = 3_u64;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let seeds = [
        include_str!("../../rules/policy.toml"),
        include_str!("../../rules/never-block.txt"),
        r#"{"name": "n", "type": "regex", "list": ["/a(b|c)*/i", "{x{3}}"]}"#,
        r#"{"type": "hostname", "list": [".a.example", "рф"], "matching_attributes": ["url"]}"#,
    ];
    for _ in 0..2_000 {
        let mut text: Vec<char> = seeds[random(seeds.len())].chars().collect();
        for _ in 0..1 + random(4) {
            let at = random(text.len().max(1));
            match random(3) {
                0 if at < text.len() => drop(text.remove(at)),
                1 => text.insert(
                    at,
                    ['"', '{', ']', '\u{0}', '/', '\u{10ffff}', '.'][random(7)],
                ),
                _ => text.truncate(at.max(1)),
            }
        }
        let text: String = text.into_iter().collect();
        for name in ["a", "a.toml", "a.json", "a.txt"] {
            match rules(&[(name, &text)]) {
                Ok(rules) => {
                    let url = found(ObservableType::Url, &text, Place::HttpUrl);
                    rules.judge(&url, &details(&text, None));
                }
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
    }
}

#[test]
fn nesting_does_not_exhaust_the_stack() {
    for text in [
        "a = ".to_owned() + &"[".repeat(200_000),
        "[a".to_owned() + &".a".repeat(200_000),
    ] {
        assert!(rules(&[("a.toml", &text)]).is_err());
    }
    let pattern = "'".repeat(100_001) + "\\";
    let rules = rules(&[("a.toml", BLOCK_ALL)]).unwrap();
    let verdict = rules.judge(&address("192.0.2.1"), &details(&pattern, None));
    assert_eq!(verdict.action, Action::Report);
}

/// The lists that MISP ships, where they are at hand.
#[test]
fn real_warninglists() {
    let shared = match std::env::var_os("WATCHPOST_SHARED") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let Ok(folder) = std::fs::read_dir(shared.join("conformance/misp/warninglists")) else {
        println!("skipped: ../shared is missing");
        return;
    };
    let mut files: Vec<(String, String)> = folder
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    let rules = Rules::from_files(files).unwrap();
    assert_eq!(rules.warnings(), [""; 0]);
    use ObservableType::*;
    for (kind, value, list) in [
        (
            Ipv4Addr,
            "192.168.1.1",
            Some("List of RFC 1918 CIDR blocks"),
        ),
        (
            Ipv4Addr,
            "45.83.65.9",
            Some("Alphastrike research IP Ranges Used for Scanning"),
        ),
        (
            Ipv6Addr,
            "2001:db8:1::1",
            Some("List of RFC 3849 CIDR blocks"),
        ),
        (DomainName, "com", Some("TLDs as known by IANA")),
        (
            DomainName,
            "captive.apple.com",
            Some("Captive Portal Detection Hostnames"),
        ),
        (DomainName, "x.captive.apple.com", None),
        (
            DomainName,
            "aadrm.com",
            Some("List of known Office 365 URLs"),
        ),
        (
            Url,
            "https://www.arstechnica.com/x",
            Some("List of known security providers/vendors blog domain"),
        ),
        (
            DomainName,
            "cdn.corona-data.ch",
            Some("Covid-19 Krassi's Whitelist"),
        ),
        (
            DomainName,
            "www.tria.ge",
            Some(
                "List of known domains used by automated malware analysis services & security vendors",
            ),
        ),
        (
            EmailAddr,
            "Abuse@a.example",
            Some("Common contact e-mail addresses"),
        ),
        (EmailAddr, "joe@a.example", None),
        // the domain of an address is no name of its own
        (EmailAddr, "joe@captive.apple.com", None),
        (Ipv4Addr, "203.0.113.7", None),
        (DomainName, "evil.example", None),
    ] {
        let entry = rules.allows(kind, value);
        assert_eq!(entry.map(|e| e.list), list, "{value}");
    }
}
