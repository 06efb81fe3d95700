//! Another set of indicators takes over while packets come: what matches before and after is
//! exactly what the set in force at that time says.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use watchpost::capture::Input;
use watchpost::daemon::replay::Frames;
use watchpost::daemon::replay::Replay;
use watchpost::exchange::Limits;
use watchpost::exchange::load_reader;
use watchpost::matcher::Clock;
use watchpost::matcher::Match;
use watchpost::matcher::Matcher;
use watchpost::matcher::SubdomainPolicy;
use watchpost::matcher::build::SetBuilder;
use watchpost::matcher::set::IndicatorSet;
use watchpost::time::Timestamp;

/// Packets of the capture, one each millisecond.
const PACKETS: u32 = 40_000;

/// Addresses that they go to, in turn.
const ADDRESSES: u32 = 200;

/// Each packet goes to 198.18.0.0 + its number modulo [`ADDRESSES`], in a flow of its own.
fn write_capture(path: &Path) {
    let mut bytes = Vec::new();
    // libpcap, little-endian, microseconds, raw IP
    bytes.extend(0xa1b2_c3d4_u32.to_le_bytes());
    bytes.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    bytes.extend(101_u32.to_le_bytes());
    for number in 0..PACKETS {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0];
        packet.extend((0x0a00_0000 + number / 50_000).to_be_bytes());
        packet.extend(destination(number).to_be_bytes());
        packet.extend(((1_024 + number % 50_000) as u16).to_be_bytes());
        packet.extend([0x23, 0x28, 0, 8, 0, 0]);
        bytes.extend((1_700_000_000 + number / 1_000).to_le_bytes());
        bytes.extend((number % 1_000 * 1_000).to_le_bytes());
        bytes.extend((packet.len() as u32).to_le_bytes());
        bytes.extend((packet.len() as u32).to_le_bytes());
        bytes.extend(packet);
    }
    fs::write(path, bytes).unwrap();
}

fn destination(number: u32) -> u32 {
    0xc612_0000 + number % ADDRESSES
}

fn time_of(number: u32) -> Timestamp {
    Timestamp::from_nanos((1_700_000_000_000 + u64::from(number)) * 1_000_000)
}

/// A set with the addresses whose number leaves `rest` when divided by 3, with `more` that occur
/// nowhere, and with a sequence that needs observations over the whole capture.
fn set(rest: u32, more: u32, sequence: bool) -> IndicatorSet {
    let mut objects = Vec::new();
    let indicator = |id: u32, pattern: String| {
        format!(
            r#"{{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-{id:012x}","created":"2020-01-01T00:00:00.000Z","modified":"2020-01-01T00:00:00.000Z","valid_from":"2020-01-01T00:00:00Z","pattern_type":"stix","pattern":"{pattern}"}}"#
        )
    };
    let mut address = |number: u32, of: &str| {
        let octets = number.to_be_bytes().map(|b| b.to_string()).join(".");
        objects.push(indicator(
            number,
            format!("[ipv4-addr:value = '{octets}'{of}]"),
        ));
    };
    for n in (0..ADDRESSES).filter(|n| n % 3 == rest) {
        address(0xc612_0000 + n, "");
    }
    for n in 0..more {
        address(0x2000_0000 + n, "");
    }
    if sequence {
        let pattern = "[ipv4-addr:value = '198.18.0.1'] REPEATS 150 TIMES WITHIN 100000 SECONDS";
        objects.push(indicator(7, pattern.into()));
    }
    let bundle = format!(
        r#"{{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[{}]}}"#,
        objects.join(",")
    );
    let mut builder = SetBuilder::new();
    let loaded = load_reader(
        "swap",
        &mut bundle.as_bytes(),
        &Limits::default(),
        &mut builder,
        &mut |_| {},
    );
    assert!(loaded.fatal.is_none(), "{loaded:?}");
    builder.finish(Timestamp::MIN).unwrap().set
}

fn matcher(set: IndicatorSet) -> Arc<Matcher> {
    Arc::new(Matcher::new(
        Arc::new(set),
        Clock::Capture,
        SubdomainPolicy::default(),
    ))
}

/// What matched: when, and the last digits of the indicator's id.
type Found = Vec<(Timestamp, String)>;

/// Replays with a set that changes after `due` seconds of capture, if a block ends; gives what
/// matched, from when on which set was in force, and the longest pause in seconds.
fn replay(
    capture: &Path,
    workers: usize,
    sets: &[Arc<Matcher>],
    due: u64,
) -> (Found, Vec<(Timestamp, usize)>, f64) {
    let mut in_force = vec![(Timestamp::MIN, 0)];
    let mut found: Found = Vec::new();
    let replay = Replay {
        frames: Frames::Recorded(vec![Input::Path(capture.to_owned())]),
        filter: None,
        workers,
    };
    let mut next = |first: Timestamp| {
        let passed = first.as_nanos().saturating_sub(time_of(0).as_nanos()) / 1_000_000_000;
        if passed < due * in_force.len() as u64 {
            return None;
        }
        let index = in_force.len() % sets.len();
        in_force.push((first, index));
        sets.get(index).cloned()
    };
    let mut take = |one: Match, set: &Arc<IndicatorSet>| {
        let id = set.details(one.indicator).id;
        found.push((one.timestamp, id[id.len() - 12..].to_owned()));
    };
    let (stats, reports) = replay
        .run(&sets[0], &mut next, &mut take, &mut |_| {})
        .unwrap();
    assert!(reports.iter().all(|r| r.fatal.is_none()), "{reports:?}");
    assert_eq!(stats.packets, u64::from(PACKETS));
    assert_eq!(stats.swaps, in_force.len() as u64 - 1);
    (found, in_force, stats.longest_swap_seconds)
}

fn expected(in_force: &[(Timestamp, usize)]) -> Found {
    (0..PACKETS)
        .filter(|number| {
            let at = time_of(*number);
            let last = in_force.iter().rev().find(|(from, _)| *from <= at);
            last.is_some_and(|(_, index)| number % ADDRESSES % 3 == *index as u32)
        })
        .map(|number| (time_of(number), format!("{:012x}", destination(number))))
        .collect()
}

fn in_a_folder(test: impl FnOnce(&Path)) {
    let folder = std::env::temp_dir().join(format!(
        "watchpost-swap-{}-{:?}",
        std::process::id(),
        Instant::now()
    ));
    fs::create_dir_all(&folder).unwrap();
    let capture = folder.join("capture.pcap");
    write_capture(&capture);
    test(&capture);
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn each_set_matches_in_its_own_time() {
    // larger sets by hand: they take minutes to build without optimisation
    let more = std::env::var("WATCHPOST_SWAP_INDICATORS");
    let more = more.ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let sets: Vec<_> = (0..3).map(|rest| matcher(set(rest, more, false))).collect();
    in_a_folder(|capture| {
        for workers in [1, 2, 8] {
            let (found, in_force, pause) = replay(capture, workers, &sets, 1);
            assert!(in_force.len() > 3, "{in_force:?}");
            assert_eq!(found, expected(&in_force), "{workers} workers");
            println!(
                "{workers} workers, {} swaps: {pause:.6} s at most",
                in_force.len() - 1
            );
        }
    });
}

#[test]
fn a_sequence_outlives_a_swap_if_its_indicator_does() {
    in_a_folder(|capture| {
        let completed = |sets: &[Arc<Matcher>]| {
            let (found, _, _) = replay(capture, 2, sets, 5);
            found.iter().filter(|(_, id)| id.ends_with("0007")).count()
        };
        // 200 observations, of which 150 are needed
        let (with, without) = (matcher(set(3, 10, true)), matcher(set(3, 10, false)));
        let other = matcher(set(3, 99, true));
        assert_eq!(completed(&[Arc::clone(&with)]), 1);
        assert_eq!(completed(&[Arc::clone(&with), other]), 1);
        assert_eq!(completed(&[with, without]), 0);
    });
}
