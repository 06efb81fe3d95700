//! The matcher as a whole: what is loaded matches, and nothing else does.

use crate::flow::Direction;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::indicator::Taken;
use crate::matcher::Clock;
use crate::matcher::Hits;
use crate::matcher::Matcher;
use crate::matcher::SubdomainPolicy;
use crate::matcher::build::SetBuilder;
use crate::matcher::build::Tally;
use crate::matcher::object::MailView;
use crate::matcher::set::IndicatorSet;
use crate::matcher::set::SetError;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Wants;
use crate::protocol::http;
use crate::protocol::smtp::SmtpParser;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::fs;
use std::net::IpAddr;
use std::sync::Arc;

pub(super) fn indicator<'a>(number: u32, pattern: &'a str) -> Indicator<'a> {
    Indicator {
        id: Cow::Owned(format!(
            "indicator--{number:08x}-0000-4000-8000-000000000000"
        )),
        derived_id: false,
        pattern: Cow::Borrowed(pattern),
        pattern_version: PatternVersion::V21,
        name: None,
        subdomains: false,
        created: Timestamp::MIN,
        modified: Timestamp::from_parts(100, 0),
        valid_from: Timestamp::MIN,
        valid_until: None,
        revoked: false,
        confidence: None,
        labels: Vec::new(),
        markings: Vec::new(),
        created_by: None,
    }
}

pub(super) fn finish(builder: SetBuilder) -> (Arc<IndicatorSet>, Vec<Tally>) {
    let built = builder
        .finish(Timestamp::from_parts(1_000, 0))
        .expect("a sound set");
    (
        Arc::new(built.set),
        built.sources.into_iter().map(|(_, tally)| tally).collect(),
    )
}

pub(super) fn build(patterns: &[&str]) -> Arc<IndicatorSet> {
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    for (number, pattern) in patterns.iter().enumerate() {
        let taken = builder.take(&indicator(number as u32, pattern));
        assert_eq!(taken, Ok(Taken::Loaded), "{pattern}");
    }
    finish(builder).0
}

fn matcher(set: &Arc<IndicatorSet>) -> Matcher {
    Matcher::new(Arc::clone(set), Clock::Capture, SubdomainPolicy::default())
}

/// The patterns that a value satisfies, in the order of their ordinals.
fn found(set: &Arc<IndicatorSet>, look: impl Fn(&Matcher, &mut Hits)) -> Vec<String> {
    let matcher = matcher(set);
    let mut hits = Hits::default();
    hits.begin();
    look(&matcher, &mut hits);
    let mut ordinals = hits.take_fresh().to_vec();
    ordinals.sort_unstable();
    ordinals
        .into_iter()
        .map(|o| set.details(o).pattern)
        .collect()
}

fn names(set: &Arc<IndicatorSet>, name: &str) -> Vec<String> {
    found(set, |m, hits| m.domain(name, &[], Timestamp::MIN, hits))
}

fn addresses(set: &Arc<IndicatorSet>, address: &str) -> Vec<String> {
    let address: IpAddr = address.parse().expect("an address");
    found(set, |m, hits| m.address(address, Timestamp::MIN, hits))
}

fn urls(set: &Arc<IndicatorSet>, url: &str) -> Vec<String> {
    let url = http::normalise_url(url).expect("a URL");
    found(set, |m, hits| m.url(&url, Timestamp::MIN, hits))
}

#[test]
fn values_match_in_their_normal_form_and_are_never_widened() {
    let set = build(&[
        "[domain-name:value = 'Bad.Example']",
        "[domain-name:value IN ('one.example', 'two.example')]",
        "[ipv4-addr:value = '192.0.2.7']",
        "[ipv4-addr:value = '198.51.100.0/24']",
        "[ipv4-addr:value ISSUBSET '198.51.100.128/25']",
        "[ipv6-addr:value = '2001:0DB8:0::0001']",
        "[url:value = 'HTTP://Bad.Example:80/Path?q#f']",
        "[url:value = 'bare.example/x']",
    ]);
    for (seen, expected) in [
        (
            names(&set, "bad.example"),
            &["[domain-name:value = 'Bad.Example']"][..],
        ),
        (names(&set, "sub.bad.example"), &[]),
        (names(&set, "bad.example.org"), &[]),
        (
            names(&set, "two.example"),
            &["[domain-name:value IN ('one.example', 'two.example')]"],
        ),
        (
            addresses(&set, "192.0.2.7"),
            &["[ipv4-addr:value = '192.0.2.7']"],
        ),
        (addresses(&set, "192.0.2.8"), &[]),
        (
            addresses(&set, "198.51.100.5"),
            &["[ipv4-addr:value = '198.51.100.0/24']"],
        ),
        (
            addresses(&set, "198.51.100.200"),
            &[
                "[ipv4-addr:value = '198.51.100.0/24']",
                "[ipv4-addr:value ISSUBSET '198.51.100.128/25']",
            ],
        ),
        (
            addresses(&set, "2001:db8::1"),
            &["[ipv6-addr:value = '2001:0DB8:0::0001']"],
        ),
        (
            urls(&set, "http://bad.example/Path?q"),
            &["[url:value = 'HTTP://Bad.Example:80/Path?q#f']"],
        ),
        (urls(&set, "http://bad.example/path?q"), &[]),
        (urls(&set, "http://bad.example/"), &[]),
        (
            urls(&set, "http://bare.example/x"),
            &["[url:value = 'bare.example/x']"],
        ),
    ] {
        assert_eq!(seen, expected);
    }
}

#[test]
fn every_operator_works_on_names() {
    for (pattern, matching, others) in [
        (
            "[domain-name:value != 'a.example']",
            "b.example",
            "a.example",
        ),
        (
            "[domain-name:value NOT = 'a.example']",
            "b.example",
            "a.example",
        ),
        (
            "[domain-name:value LIKE '%.EXAMPLE']",
            "x.example",
            "example.org",
        ),
        ("[domain-name:value LIKE 'ab_']", "abc", "abcd"),
        (
            "[domain-name:value MATCHES '^C2-[0-9]+[.]']",
            "c2-77.example",
            "c2-x.example",
        ),
        ("[domain-name:value > 'm']", "n.example", "a.example"),
        ("[domain-name:value <= 'b']", "a.example", "c.example"),
        ("[EXISTS domain-name:value]", "any.example", ""),
        (
            "[domain-name:value LIKE 'a%' AND domain-name:value LIKE '%z']",
            "a.z",
            "a.y",
        ),
        (
            "[domain-name:value = 'a.example' OR url:value = 'http://u/']",
            "a.example",
            "u",
        ),
    ] {
        let set = build(&[pattern]);
        assert_eq!(names(&set, matching), [pattern]);
        if !others.is_empty() {
            assert!(names(&set, others).is_empty(), "{pattern} of {others}");
        }
    }
}

#[test]
fn subdomains_match_only_where_somebody_said_so() {
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    let narrow = indicator(1, "[domain-name:value = 'narrow.example']");
    let wide = Indicator {
        subdomains: true,
        ..indicator(2, "[domain-name:value = 'wide.example']")
    };
    for one in [&narrow, &wide] {
        builder.take(one).expect("sound");
    }
    let (set, _) = finish(builder);
    assert!(names(&set, "a.narrow.example").is_empty());
    assert_eq!(
        names(&set, "a.b.wide.example"),
        ["[domain-name:value = 'wide.example']"]
    );
    assert!(names(&set, "awide.example").is_empty());
    let always = SubdomainPolicy {
        always: true,
        ..SubdomainPolicy::default()
    };
    let of_source = SubdomainPolicy {
        always_of_source: vec![true],
        ..SubdomainPolicy::default()
    };
    for policy in [always, of_source] {
        let matcher = Matcher::new(Arc::clone(&set), Clock::Capture, policy);
        let mut hits = Hits::default();
        matcher.domain("a.narrow.example", &[], Timestamp::MIN, &mut hits);
        assert_eq!(hits.take_fresh().len(), 1);
    }
}

#[test]
fn the_newest_version_wins_wherever_it_stands() {
    let version = |modified: u64, pattern| Indicator {
        modified: Timestamp::from_parts(modified, 0),
        ..indicator(1, pattern)
    };
    let (old, new) = (
        "[domain-name:value = 'old.example']",
        "[domain-name:value = 'new.example']",
    );
    for order in [[(1, old), (2, new)], [(2, new), (1, old)]] {
        let mut builder = SetBuilder::new();
        builder.begin_source("test");
        for (modified, pattern) in order {
            builder.take(&version(modified, pattern)).expect("sound");
        }
        let (set, tallies) = finish(builder);
        assert!(names(&set, "old.example").is_empty());
        assert_eq!(names(&set, "new.example").len(), 1);
        assert_eq!((tallies[0].loaded, tallies[0].superseded), (1, 1));
    }
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    builder.take(&version(1, old)).expect("sound");
    builder.take(&version(1, new)).expect("sound");
    builder
        .take(&Indicator {
            revoked: true,
            ..version(2, old)
        })
        .expect("sound");
    builder.take(&version(1, old)).expect("sound");
    let (set, tallies) = finish(builder);
    assert!(names(&set, "old.example").is_empty() && names(&set, "new.example").is_empty());
    let expected = Tally {
        revoked: 1,
        superseded: 2,
        duplicate: 1,
        contradictory: 1,
        ..Tally::default()
    };
    assert_eq!(tallies[0], expected);
}

#[test]
fn a_source_that_proves_unusable_leaves_no_trace() {
    let mut builder = SetBuilder::new();
    builder.begin_source("good");
    builder
        .take(&indicator(1, "[domain-name:value = 'kept.example']"))
        .expect("sound");
    builder.begin_source("bad");
    let newer = Indicator {
        modified: Timestamp::from_parts(200, 0),
        ..indicator(1, "[domain-name:value = 'gone.example']")
    };
    builder.take(&newer).expect("sound");
    builder
        .take(&indicator(2, "[domain-name:value = 'other.example']"))
        .expect("sound");
    builder.abandon_source();
    let (set, tallies) = finish(builder);
    assert_eq!(names(&set, "kept.example").len(), 1);
    assert!(names(&set, "gone.example").is_empty() && names(&set, "other.example").is_empty());
    assert_eq!(
        (tallies[0].loaded, tallies[0].superseded, tallies[1]),
        (1, 0, Tally::default())
    );
}

#[test]
fn validity_is_half_open_and_what_it_withholds_is_counted() {
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    let bounded = Indicator {
        valid_from: Timestamp::from_parts(10, 0),
        valid_until: Some(Timestamp::from_parts(20, 0)),
        ..indicator(1, "[domain-name:value = 'a.example']")
    };
    builder.take(&bounded).expect("sound");
    let (set, tallies) = finish(builder);
    assert_eq!(tallies[0].expired, 1);
    for (clock, at, expected) in [
        (Clock::Capture, 9, (0, 1, 0)),
        (Clock::Capture, 10, (1, 0, 0)),
        (Clock::Capture, 19, (1, 0, 0)),
        (Clock::Capture, 20, (0, 0, 1)),
        (Clock::At(Timestamp::from_parts(15, 0)), 99, (1, 0, 0)),
        (Clock::Ignore, 99, (1, 0, 0)),
    ] {
        let matcher = Matcher::new(Arc::clone(&set), clock, SubdomainPolicy::default());
        let mut hits = Hits::default();
        matcher.domain("a.example", &[], Timestamp::from_parts(at, 0), &mut hits);
        let seen = (hits.take_fresh().len(), hits.not_yet_valid, hits.expired);
        assert_eq!(seen, expected, "{clock:?} at {at}");
    }
}

#[test]
fn a_name_that_was_quiet_once_still_matches_later() {
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    let later = Indicator {
        valid_from: Timestamp::from_parts(10, 0),
        ..indicator(1, "[domain-name:value = 'a.example']")
    };
    builder.take(&later).expect("sound");
    let matcher = matcher(&finish(builder).0);
    let mut hits = Hits::default();
    for (at, expected) in [(1, 0), (11, 1), (12, 0)] {
        if at == 11 {
            hits.begin();
        }
        matcher.domain("a.example", &[], Timestamp::from_parts(at, 0), &mut hits);
        matcher.domain("b.example", &[], Timestamp::from_parts(at, 0), &mut hits);
        assert_eq!(hits.take_fresh().len(), expected, "at {at}");
    }
    hits.begin();
    matcher.domain("a.example", &[], Timestamp::from_parts(13, 0), &mut hits);
    assert_eq!(hits.take_fresh().len(), 1);
}

#[test]
fn what_cannot_be_seen_or_said_is_told_apart() {
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    for (pattern, expected) in [
        ("[process:name = 'x']", "unseeable"),
        ("[file:hashes.'SHA-512' = 'aa']", "refused"),
        ("[ipv4-addr:value = 'a.example']", "refused"),
        ("[ipv4-addr:value ISSUBSET '192.0.2.0/33']", "refused"),
        ("[domain-name:value MATCHES '(?=x)']", "refused"),
        (
            "[domain-name:value = 'a' AND url:value = 'http://b/']",
            "unseeable",
        ),
        (
            "[process:name = 'x' OR domain-name:value = 'a.example']",
            "loaded",
        ),
        ("[domain-name:value = ", "refused"),
    ] {
        let taken = match builder.take(&indicator(pattern.len() as u32, pattern)) {
            Ok(Taken::Loaded) => "loaded",
            Ok(Taken::Unseeable(_)) => "unseeable",
            Ok(Taken::Revoked) => "revoked",
            Err(_) => "refused",
        };
        assert_eq!(taken, expected, "{pattern}");
    }
}

/// Law: the tables agree with a scan of all values.
#[test]
fn tables_agree_with_a_naive_scan() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for _ in 0..30 {
        let mut patterns: Vec<String> = Vec::new();
        let mut plain: Vec<(String, Vec<String>)> = Vec::new();
        for _ in 0..random(60) {
            let name = format!("{}.{}.example", random(8), random(8));
            let other = format!("{}.example", random(8));
            let pattern = if random(2) == 0 {
                plain.push((String::new(), vec![name.clone()]));
                format!("[domain-name:value = '{name}']")
            } else {
                plain.push((String::new(), vec![name.clone(), other.clone()]));
                format!("[domain-name:value IN ('{name}', '{other}')]")
            };
            if let Some(last) = plain.last_mut() {
                last.0.clone_from(&pattern);
            }
            patterns.push(pattern);
        }
        let set = build(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
        for a in 0..8 {
            for b in 0..9 {
                let name = if b == 8 {
                    format!("{a}.example")
                } else {
                    format!("{a}.{b}.example")
                };
                let expected: Vec<_> = plain
                    .iter()
                    .filter(|(_, values)| values.contains(&name))
                    .map(|(pattern, _)| pattern.clone())
                    .collect();
                assert_eq!(names(&set, &name), expected, "{name}");
            }
        }
    }
}

#[test]
fn a_set_comes_back_from_its_file_and_damage_is_told() {
    let folder = std::env::temp_dir().join(format!("watchpost-set-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join("set");
    let set = build(&[
        "[domain-name:value = 'a.example']",
        "[domain-name:value LIKE 'b%']",
    ]);
    let (match_part, explain_part) = set.parts().expect("it was built here");
    let whole = [match_part, explain_part].concat();
    let write = |bytes: &[u8]| fs::write(&path, bytes).expect("the folder is ours");
    write(&whole);
    let opened = Arc::new(IndicatorSet::open(&path).expect("it is whole"));
    assert_eq!(
        names(&opened, "a.example"),
        ["[domain-name:value = 'a.example']"]
    );
    assert_eq!(names(&opened, "bcd"), ["[domain-name:value LIKE 'b%']"]);
    // cut short under an open set: explanations go, matching stays
    write(&whole[..match_part.len()]);
    assert_eq!(names(&opened, "a.example"), [""]);
    for cut in 0..whole.len() {
        write(&whole[..cut]);
        assert!(IndicatorSet::open(&path).is_err(), "cut at {cut}");
    }
    for at in 0..match_part.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        write(&damaged);
        assert!(IndicatorSet::open(&path).is_err(), "byte {at}");
    }
    let mut newer = whole;
    newer[8] += 1;
    write(&newer);
    assert!(matches!(
        IndicatorSet::open(&path),
        Err(SetError::Version { .. })
    ));
    fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// The patterns that a mail as a whole satisfies.
fn mails(set: &Arc<IndicatorSet>, header: &str) -> Vec<String> {
    let text = format!("EHLO x\r\nDATA\r\n{header}\r\n\r\n.\r\n");
    let mut all = Vec::new();
    let mut parser = SmtpParser::new();
    parser.parse(
        Direction::ToServer,
        text.as_bytes(),
        &Wants::default(),
        &mut |message| {
            if let Message::Mail(mail) = message {
                let view = MailView::new(&mail);
                all = found(set, |m, hits| m.mail(&view, Timestamp::MIN, hits));
            }
        },
    );
    all
}

#[test]
fn mail_addresses_match_whole_and_whatever_their_letter_case() {
    let set = build(&[
        "[email-addr:value = 'Joe@Bad.Example']",
        "[email-addr:value LIKE '%@evil.example']",
        "[email-addr:value MATCHES '^CEO']",
        "[email-addr:display_name = 'The Boss']",
        "[domain-name:value = 'bad.example']",
        "[email-message:from_ref.value = 'joe@bad.example']",
    ]);
    let look = |address: &str, name: &str| {
        found(&set, |m, hits| {
            m.mailbox(address, name, Timestamp::MIN, hits)
        })
    };
    for (address, name, expected) in [
        (
            "joe@bad.example",
            "",
            &["[email-addr:value = 'Joe@Bad.Example']"][..],
        ),
        ("xjoe@bad.example", "", &[]),
        ("joe@bad.example.org", "", &[]),
        ("joe@sub.bad.example", "", &[]),
        (
            "any@evil.example",
            "x",
            &["[email-addr:value LIKE '%@evil.example']"],
        ),
        ("any@notevil.example", "evil.example", &[]),
        ("ceo@x.example", "", &["[email-addr:value MATCHES '^CEO']"]),
        (
            "a@x.example",
            "The Boss",
            &["[email-addr:display_name = 'The Boss']"],
        ),
    ] {
        assert_eq!(look(address, name), expected, "{address}");
    }
    assert!(names(&set, "bad.example").len() == 1);
}

#[test]
fn mails_match_by_their_header() {
    let header = "Received: from a.example\r\nReceived: from b.example\r\n\
        Message-ID: <1@x.example>\r\nContent-Type: multipart/mixed; boundary=b\r\n\
        From: \"The Boss\" <Boss@X.example>\r\nSender: s@x.example\r\n\
        To: a@y.example, b@y.example\r\nCc: c@y.example\r\nBcc: d@y.example\r\n\
        X-Mailer: =?utf-8?Q?Evil=20Mailer?= 1\r\nSubject: =?utf-8?B?SW52b2ljZSA0Mg==?=";
    for (pattern, matches) in [
        ("email-message:subject = 'Invoice 42'", true),
        ("email-message:subject = 'invoice 42'", false),
        ("email-message:subject = 'Invoice 4'", false),
        ("email-message:subject LIKE 'Invoice%'", true),
        ("email-message:subject LIKE '%43'", false),
        ("email-message:from_ref.value = 'BOSS@x.example'", true),
        ("email-message:from_ref.value = 's@x.example'", false),
        ("email-message:from_ref.display_name = 'The Boss'", true),
        ("email-message:sender_ref.value = 's@x.example'", true),
        ("email-message:to_refs[*].value = 'b@y.example'", true),
        ("email-message:to_refs[1].value = 'b@y.example'", true),
        ("email-message:to_refs[0].value = 'b@y.example'", false),
        ("email-message:to_refs[*].value = 'c@y.example'", false),
        (
            "email-message:cc_refs[*].value IN ('x@y.example', 'c@y.example')",
            true,
        ),
        ("email-message:bcc_refs[*].value LIKE 'd@%'", true),
        ("email-message:message_id = '<1@x.example>'", true),
        ("email-message:is_multipart = true", true),
        ("email-message:is_multipart = false", false),
        ("email-message:received_lines[*] LIKE '%b.example'", true),
        ("email-message:received_lines[0] LIKE '%b.example'", false),
        (
            "email-message:additional_header_fields.'X-Mailer' = 'Evil Mailer 1'",
            true,
        ),
        (
            "email-message:additional_header_fields.'x-mailer'[0] LIKE 'evil%'",
            false,
        ),
        (
            "email-message:from_ref.value = 'boss@x.example' AND email-message:subject MATCHES '4.$'",
            true,
        ),
        (
            "email-message:from_ref.value = 'boss@x.example' AND email-message:subject = 'x'",
            false,
        ),
    ] {
        let pattern = format!("[{pattern}]");
        let set = build(&[&pattern]);
        assert!(matcher(&set).wants_mails(), "{pattern}");
        assert_eq!(
            mails(&set, header),
            vec![pattern.clone(); usize::from(matches)],
            "{pattern}"
        );
    }
}

#[test]
fn texts_are_not_searched_for_where_no_text_is_given() {
    let file = |name| crate::protocol::File {
        direction: Direction::ToClient,
        name,
        size: 1,
        mime_type: Some("application/x-evil"),
        hashes: crate::protocol::Hashes::default(),
    };
    let set = build(&["[file:mime_type LIKE '%evil']", "[file:name LIKE 'evil%']"]);
    let look = |name| found(&set, |m, hits| m.file(&file(name), Timestamp::MIN, hits)).len();
    assert_eq!(
        (look(None), look(Some("evil.exe")), look(Some("x"))),
        (1, 2, 1)
    );
}
