use super::*;
use crate::indicator::Context;
use crate::matcher::Evidence;
use crate::matcher::FlowSummary;
use crate::matcher::Observable;
use crate::observable::ObservableType;
use crate::report::stats::Capture;
use crate::report::stats::Indicators;
use crate::report::stats::Withheld;
use crate::report::text::is_hazardous;

/// 2024-03-01T10:00:00Z
const START: u64 = 1_709_287_200;

fn found(indicator: u32, value: &str, place: Place, second: u64, host: u8) -> Match {
    Match {
        timestamp: Timestamp::from_parts(START + second, 0),
        flow: FlowSummary {
            id: second / 10,
            source: IpAddr::from([10, 0, 0, host]),
            source_port: 50_000,
            destination: "198.51.100.7".parse().unwrap(),
            destination_port: 443,
            protocol: 6,
            vlan: None,
            app_proto: None,
        },
        indicator,
        observations: Box::default(),
        observable: Observable {
            kind: ObservableType::DomainName,
            value: value.to_owned(),
            place,
            property: None,
            evidence: Evidence::None,
        },
    }
}

fn details(indicator: u32) -> Details {
    let indicates = |kind: &str, name: &str| Context {
        id: format!("{kind}--1"),
        kind: kind.to_owned(),
        name: name.to_owned(),
    };
    Details {
        id: format!("indicator--{indicator}"),
        source: "/etc/watchpost/ec3".to_owned(),
        name: (indicator == 1).then(|| "Loader of\nspring".to_owned()),
        confidence: Some([20, 90, 50, 10, 80][indicator as usize % 5]),
        indicates: if indicator.is_multiple_of(2) {
            vec![
                indicates("malware", "Emotet"),
                indicates("intrusion-set", "TA542"),
            ]
        } else {
            Vec::new()
        },
        ..Details::default()
    }
}

fn sample() -> Summary {
    let mut summary = Summary::new();
    for i in 0..12 {
        let place = [Place::DnsQuery, Place::TlsSni][i as usize % 2];
        let found = found(0, "c2.example.com", place, i * 26, 5 + i as u8 % 5);
        summary.record(&found, Action::Block);
    }
    let url = "http://update.some-long-name.example/downloads/2024/spring/invoice-0001.exe";
    summary.record(&found(1, url, Place::HttpUrl, 5, 9), Action::WouldBlock);
    summary.record(&found(1, url, Place::HttpUrl, 200_000, 9), Action::Report);
    for i in 0..2_000 {
        let address = format!("192.0.2.{}", i % 200);
        let found = found(2, &address, Place::FlowDst, 7 * i, (i % 250) as u8);
        summary.record(&found, Action::Report);
    }
    let nasty = "evil\u{1b}[2J\u{202e}moc.example";
    summary.record(
        &found(3, nasty, Place::HttpHost, 61, 9),
        Action::Allowlisted,
    );
    let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let file = found(4, hash, Place::HttpResponseBody, 70, 11);
    summary.record(&file, Action::Report);
    summary
}

fn stats() -> Stats {
    Stats {
        packets: 48_213,
        bytes: 31_400_000,
        flows: 1_204,
        anomalies: BTreeMap::from([("tcp.overlap", 30), ("dns.pointer-loop", 3)]),
        drops: BTreeMap::from([("flow-table-full", 12)]),
        matches: 2_016,
        matches_by_verdict: BTreeMap::from([
            ("allowlisted", 1),
            ("block", 12),
            ("report", 2_002),
            ("would-block", 1),
        ]),
        indicators: Indicators {
            loaded: 48_000,
            refused: BTreeMap::from([("no pattern".to_owned(), 7)]),
            withheld: Withheld {
                not_yet_valid: 2,
                expired: 1,
            },
        },
        load_seconds: 0.83,
        process_seconds: 2.31,
        captures: vec![Capture {
            file: "office.pcap".to_owned(),
            warnings: vec!["cut short after 48,213 packets".to_owned()],
        }],
        ..Stats::default()
    }
}

fn style(width: u16) -> Style {
    Style {
        width,
        ..Style::default()
    }
}

#[test]
fn draws_what_was_seen() {
    let drawn = concat!(
        "Seen                          Hosts             When (UTC)         Verdict\n",
        "────────────────────────────────────────────────────────────────────────────────\n",
        "c2.example.com                10.0.0.5          2024-03-01         block\n",
        "dns.query, tls.sni            10.0.0.6          10:00:00–10:04:46  12 matches\n",
        "Emotet (malware) +1           and 3 more                           12 flows\n",
        "\n",
        "http://update…voice-0001.exe  10.0.0.9          2024-03-01 10:00–  1 would-block\n",
        "http.url                                        2024-03-03 17:33   1 report\n",
        "Loader of\\u{a}spring                                               2 flows\n",
        "\n",
        "e3b0c44298fc1…95991b7852b855  198.51.100.7      2024-03-01         report\n",
        "http.response.body                              10:01:10           1 match\n",
        "Emotet (malware) +1                                                1 flow\n",
        "\n",
        "192.0.2.0                     10.0.0.0          2024-03-01         report\n",
        "and over 7 more; flow.dst     10.0.0.1          10:00:00–13:53:13  2,000 matches\n",
        "Emotet (malware) +1           and over 14 more                     over 64 flows\n",
        "\n",
        "evil\\u{1b}[2J…2e}moc.example  10.0.0.9          2024-03-01         allowlisted\n",
        "http.host                                       10:01:01           1 match\n",
        "                                                                   1 flow\n",
    );
    assert_eq!(sample().render(&mut details, style(80)), drawn);
}

#[test]
fn concludes_in_plain_words() {
    let said = concat!(
        "2,016 matches: 12 blocked, 1 would have been blocked, 2,002 reported, 1\n",
        "  allowlisted.\n",
        "Read 48,213 packets (31.4 MB) in 1,204 flows from office.pcap in 2.3 s, 20,871\n",
        "  packets a second.\n",
        "Matched against 48,000 indicators, loaded in 830 ms; 7 refused (intel check says\n",
        "  why).\n",
        "3 more matches withheld: 2 of indicators not yet valid then, 1 of indicators\n",
        "  that had expired (--validity ignore counts them).\n",
        "Malformed or evasive traffic: 30 tcp.overlap, 3 dns.pointer-loop.\n",
        "Lost and not looked at: 12 flow-table-full.\n",
    );
    assert_eq!(conclude(&stats(), style(80)), said);
    assert_eq!(
        conclude(&Stats::default(), style(80)),
        "No indicator matched.\n\
         Read 0 packets (0 B) in 0 flows in 0 ms.\n\
         Matched against 0 indicators, loaded in 0 ms.\n"
    );
}

#[test]
fn keeps_to_the_width_and_stays_harmless() {
    for width in 0..240 {
        for order in [Order::Count, Order::Severity] {
            let style = Style {
                order,
                ..style(width)
            };
            let drawn = sample().render(&mut details, style);
            for line in drawn.lines() {
                assert!(columns(line) <= usize::from(width.max(MIN_WIDTH)), "{line}");
                assert!(!line.contains(is_hazardous), "{line}");
                assert_eq!(line, line.trim_end());
            }
        }
    }
}

#[test]
fn colours_only_when_asked() {
    let plain = sample().render(&mut details, style(100)) + &conclude(&stats(), style(100));
    assert!(!plain.contains('\u{1b}'));
    let style = Style {
        colour: true,
        ..style(100)
    };
    let coloured = sample().render(&mut details, style) + &conclude(&stats(), style);
    // without its escape sequences (CSI ... m) it says the same
    let mut bare = String::new();
    for (i, part) in coloured.split('\u{1b}').enumerate() {
        let text = match i {
            0 => part,
            _ => part.split_once('m').unwrap().1,
        };
        bare.push_str(text);
    }
    let trimmed: Vec<&str> = bare.lines().map(str::trim_end).collect();
    assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
}

#[test]
fn orders_and_limits() {
    let first = |order, rows| -> (Vec<String>, String) {
        let style = Style {
            order,
            rows,
            ..style(140)
        };
        let drawn = sample().render(&mut details, style);
        let mut lines = drawn.lines().skip(2);
        let names = lines
            .by_ref()
            .step_by(3)
            .take(rows)
            .map(|l| l[..9].to_owned());
        (names.collect(), drawn.lines().last().unwrap().to_owned())
    };
    let (names, last) = first(Order::Count, 2);
    assert_eq!(names, ["192.0.2.0", "c2.exampl"]);
    assert_eq!(last, "and 3 more indicators");
    let (names, _) = first(Order::Severity, 3);
    assert_eq!(names, ["c2.exampl", "http://up", "e3b0c4429"]);
    assert_eq!(Summary::new().render(&mut details, style(80)), "");
}

#[test]
fn memory_stays_bounded() {
    let mut summary = Summary::new();
    let value = "é".repeat(MAX_VALUE_BYTES);
    for i in 0..u32::try_from(MAX_ENTRIES).unwrap() + 5 {
        summary.record(&found(i, &value, Place::DnsQuery, 1, 1), Action::Report);
    }
    for i in 0..2_000 {
        let value = format!("{i}.example");
        let found = found(7, &value, Place::DnsQuery, i * 10, (i % 200) as u8);
        summary.record(&found, Action::Report);
    }
    assert_eq!(summary.entries.len(), MAX_ENTRIES);
    assert_eq!(summary.beyond, 5);
    let entry = &summary.entries[&7];
    assert_eq!(entry.count, 2_001);
    assert_eq!(entry.values.kept.len(), MAX_VALUES);
    assert_eq!(entry.hosts.kept.len(), MAX_HOSTS);
    assert_eq!(entry.flows.kept.len(), MAX_FLOWS);
    assert!(entry.values.cut && entry.hosts.cut && entry.flows.cut);
    assert!(entry.values.kept.iter().all(|v| v.len() <= MAX_VALUE_BYTES));
    let drawn = summary.render(&mut details, style(80));
    assert!(drawn.ends_with("and 9,975 more indicators\nand 5 matches of further indicators\n"));
}
