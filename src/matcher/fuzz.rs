//! Laws of compiled sets, for files damaged in any way.

use crate::flow::Direction;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::indicator::Taken;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::indicator::pattern::Test;
use crate::matcher::Clock;
use crate::matcher::Hits;
use crate::matcher::Matcher;
use crate::matcher::SubdomainPolicy;
use crate::matcher::build::SetBuilder;
use crate::matcher::hash::HashKey;
use crate::matcher::lower::normalise;
use crate::matcher::object::DomainView;
use crate::matcher::object::UrlView;
use crate::matcher::set::HEADER_LENGTH;
use crate::matcher::set::Header;
use crate::matcher::set::IndicatorSet;
use crate::observable::name;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::http;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::LazyLock;

/// Bytes of one change to a set: what to do, where, and with what.
const CHANGE: usize = 8;

/// Changes of one input.
const MOST_CHANGES: usize = 64;

/// Something of every kind of value and of every way to ask for it.
pub(crate) const PATTERNS: [&str; 36] = [
    "[ipv4-addr:value = '192.0.2.1']",
    "[ipv4-addr:value = '192.0.2.1'] AND [domain-name:value = 'a.example']",
    "[ipv4-addr:value = '198.51.100.0/24']",
    "[ipv4-addr:value ISSUBSET '198.51.100.128/25']",
    "[ipv6-addr:value = '2001:db8::1']",
    "[ipv6-addr:value = '2001:db8::/32']",
    "[domain-name:value = 'a.example']",
    "[domain-name:value = 'www.a.example']",
    "[domain-name:value LIKE '%.b.example']",
    "[domain-name:value MATCHES '^c[0-9]+\\\\.example$']",
    "[domain-name:value = 'a.example' AND domain-name:resolves_to_refs[*].value = '192.0.2.1']",
    "[url:value = 'http://www.a.example/a/b.bin?c=d']",
    "[url:value LIKE 'http://%.exe']",
    "[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
    "[file:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709']",
    "[file:hashes.'SHA-256' = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']",
    "[file:name = 'a.exe']",
    "[file:name LIKE '%.exe' AND file:size > 3]",
    "[file:size = 5]",
    "[file:mime_type = 'text/plain']",
    "[x509-certificate:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709']",
    "[x509-certificate:subject LIKE '%a.example%']",
    "[network-traffic:x_ja3_hash = 'd41d8cd98f00b204e9800998ecf8427e']",
    "[network-traffic:x_ja3s_hash = 'd41d8cd98f00b204e9800998ecf8427e']",
    "[network-traffic:x_ja4 LIKE 't13%']",
    "[network-traffic:x_hassh = 'd41d8cd98f00b204e9800998ecf8427e']",
    "[network-traffic:dst_port = 80 AND network-traffic:protocols[*] = 'http']",
    "[network-traffic:src_ref.value = '192.0.2.1' OR network-traffic:dst_port = 53]",
    "[network-traffic:protocols[*] = 'dns']",
    "[network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' = 'curl/8']",
    "[network-traffic:extensions.'http-request-ext'.request_method = 'post']",
    "[email-addr:value = 'a@a.example']",
    "[email-message:subject LIKE '%b%']",
    "[domain-name:value = 'a.example'] FOLLOWEDBY [url:value LIKE 'http:%'] WITHIN 60 SECONDS",
    "[ipv4-addr:value ISSUBSET '192.0.2.0/24'] REPEATS 2 TIMES",
    "[domain-name:value LIKE '%'] START t'2020-01-01T00:00:00Z' STOP t'2030-01-01T00:00:00Z'",
];

/// A set of [`PATTERNS`].
pub(crate) fn set() -> IndicatorSet {
    let mut builder = SetBuilder::with_key(HashKey([1, 2]));
    builder.begin_source("fuzz");
    for (number, pattern) in PATTERNS.iter().enumerate() {
        // what a sensor cannot see is left out
        let _ = builder.take(&indicator(number, pattern));
    }
    let built = builder.finish(Timestamp::MIN).unwrap();
    assert!(built.set.indicators() > 25);
    built.set
}

fn indicator(number: usize, pattern: &str) -> Indicator<'_> {
    Indicator {
        id: Cow::Owned(format!(
            "indicator--{number:08x}-0000-4000-8000-000000000000"
        )),
        derived_id: false,
        pattern: Cow::Borrowed(pattern),
        pattern_version: PatternVersion::V21,
        name: Some(Cow::Borrowed("a name")),
        subdomains: number % 2 == 1,
        created: Timestamp::MIN,
        modified: Timestamp::MIN,
        valid_from: Timestamp::MIN,
        valid_until: None,
        revoked: false,
        confidence: Some(50),
        labels: vec![Cow::Borrowed("a label")],
        markings: Vec::new(),
        created_by: None,
    }
}

/// Law: a set that is not as it was written is refused; one whose checksum was made to fit, by
/// somebody who means harm, is refused or matches wrongly at worst, and explains nothing that it
/// cannot.
///
/// An input is a list of changes to a set. Of the first byte of each, the lowest bit says which
/// part to change, the next two how: one byte, four bytes, eight bytes, or an end at this place;
/// the highest one keeps the place within header and directory.
pub(crate) fn open(input: &[u8], seen: &mut dyn FnMut(&str)) {
    static SET: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
        let set = set();
        let (matching, explaining) = set.parts().unwrap();
        (matching.to_vec(), explaining.to_vec())
    });
    let sound = &*SET;
    let (mut matching, mut explaining) = sound.clone();
    for change in input.chunks_exact(CHANGE).take(MOST_CHANGES) {
        let part = match change[0] & 1 {
            0 => &mut matching,
            _ => &mut explaining,
        };
        let range = match change[0] & 0x80 {
            0 => part.len(),
            _ => part.len().min(2048),
        };
        let place = u32::from_be_bytes([0, change[1], change[2], change[3]]) as usize;
        let at = place % range.max(1);
        let value = u32::from_be_bytes([change[4], change[5], change[6], change[7]]);
        let bytes = u64::from(value).to_le_bytes();
        let (at, width) = match (change[0] >> 1) & 3 {
            0 => (at, 1),
            1 => (at & !3, 4),
            2 => (at & !7, 8),
            _ => {
                part.truncate(at);
                continue;
            }
        };
        for (to, from) in part.iter_mut().skip(at).zip(&bytes[..width]) {
            *to = *from;
        }
    }
    let header = HEADER_LENGTH.min(matching.len());
    let intact = (&matching, &explaining) == (&sound.0, &sound.1);
    if matching != sound.0 {
        // by chance, the sum of one in four milliards fits
        let refused = IndicatorSet::from_parts(matching.clone(), explaining.clone());
        assert!(
            header < HEADER_LENGTH || refused.is_err(),
            "a damaged set is taken"
        );
    }
    if header == HEADER_LENGTH {
        let sum = crc32fast::hash(&matching[Header::CHECKED_FROM..]);
        matching[16..20].copy_from_slice(&sum.to_le_bytes());
    }
    match IndicatorSet::from_parts(matching, explaining) {
        Ok(set) => look_up(&Arc::new(set), intact, seen),
        Err(error) => {
            assert!(!intact, "{error}");
            seen(&error.to_string());
        }
    }
}

fn look_up(set: &Arc<IndicatorSet>, intact: bool, seen: &mut dyn FnMut(&str)) {
    let subdomains = SubdomainPolicy {
        always: true,
        ..SubdomainPolicy::default()
    };
    let matcher = Matcher::new(Arc::clone(set), Clock::Capture, subdomains);
    let now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let mut hits = Hits::default();
    let mut found = Vec::new();
    let file = File {
        direction: Direction::ToClient,
        name: Some("a.exe"),
        size: 5,
        mime_type: Some("text/plain"),
        hashes: Hashes::default(),
    };
    let looks: [&dyn Fn(&mut Hits); 8] = [
        &|hits| matcher.address([192, 0, 2, 1].into(), now, hits),
        &|hits| matcher.address([198, 51, 100, 200].into(), now, hits),
        &|hits| matcher.address("2001:db8::1".parse().unwrap(), now, hits),
        &|hits| matcher.domain("www.a.example", &[[192, 0, 2, 1].into()], now, hits),
        &|hits| matcher.domain("c1.example", &[], now, hits),
        &|hits| matcher.url("http://www.a.example/a/b.bin?c=d", now, hits),
        &|hits| matcher.file(&file, now, hits),
        &|hits| matcher.mailbox("a@a.example", "", now, hits),
    ];
    for look in looks {
        hits.begin();
        look(&mut hits);
        found.extend_from_slice(hits.take_fresh());
    }
    assert!(!intact || found.len() > 10, "{found:?}");
    seen(&format!("{found:?} {:?}", matcher.wants()));
    for ordinal in set.ordinals().take(64) {
        assert!(!intact || !set.details(ordinal).pattern.is_empty());
    }
    for ordinal in found.into_iter().chain([u32::MAX]) {
        set.details(ordinal);
        seen(&format!("{:?} {:?}", set.part(ordinal), set.shape(ordinal)));
    }
}

/// Law: a set of one pattern finds a name or URL if, and only if, the pattern is true of it: no
/// table, filter or search before the pattern hides or adds anything.
///
/// An input is a pattern, a line end, and a name or URL.
pub(crate) fn find(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let Some((text, value)) = std::str::from_utf8(input)
        .ok()
        .and_then(|text| text.rsplit_once('\n'))
    else {
        return;
    };
    let Ok(Pattern {
        expression: Observation::Test(comparison),
    }) = Pattern::parse(text, Spec::V21)
    else {
        return;
    };
    let mut builder = SetBuilder::with_key(HashKey([1, 2]));
    builder.begin_source("fuzz");
    let taken = builder.take(&indicator(0, text));
    seen(&format!("{taken:?}"));
    if taken != Ok(Taken::Loaded) {
        return;
    }
    let test = Test::new(&normalise(&comparison).unwrap()).unwrap();
    let set = Arc::new(builder.finish(Timestamp::MIN).unwrap().set);
    let matcher = Matcher::new(set, Clock::Ignore, SubdomainPolicy::default());
    let now = Timestamp::MIN;
    let mut hits = Hits::default();
    hits.begin();
    let expected = if value.contains("://") {
        let Some(url) = http::normalise_url(value) else {
            return;
        };
        matcher.url(&url, now, &mut hits);
        test.matches(&UrlView(&url))
    } else {
        let Some(name) = name::normalise(value) else {
            return;
        };
        let resolves_to = [[192, 0, 2, 1].into()];
        matcher.domain(&name, &resolves_to, now, &mut hits);
        test.matches(&DomainView {
            name: &name,
            resolves_to: &resolves_to,
        })
    };
    let found = !hits.take_fresh().is_empty();
    seen(&format!("{expected} {found} {comparison:?}"));
    assert_eq!(found, expected, "found, of {value}");
}
