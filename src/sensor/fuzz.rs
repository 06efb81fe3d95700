//! Laws of the sensor, for frames of any kind.

use crate::flow::Direction;
use crate::flow::table::SHARDS;
use crate::matcher::Clock;
use crate::matcher::Matcher;
use crate::matcher::SubdomainPolicy;
use crate::matcher::fuzz::set;
use crate::packet::Address;
use crate::packet::Decoder;
use crate::packet::HashKey;
use crate::packet::Outcome;
use crate::packet::Packet;
use crate::packet::Tcp;
use crate::packet::flow_hash;
use crate::packet::fuzz::frames;
use crate::protocol::fuzz::Turn;
use crate::protocol::fuzz::turns;
use crate::sensor::Arrival;
use crate::sensor::Held;
use crate::sensor::MAX_HELD_PER_SHARD;
use crate::sensor::Sensor;
use crate::sensor::application::ALWAYS_PROBED;
use crate::sensor::application::Recognised;
use crate::sensor::application::recognise;
use crate::time::Timestamp;
use std::sync::Arc;
use std::sync::LazyLock;

/// How many frames come between two searches for flows that are over.
const FRAMES_A_TIMEOUT: usize = 8;

/// Of the segments that a connection is cut into, in bytes.
const LONGEST_PIECE: usize = 64;

/// Looks for something of everything.
static MATCHER: LazyLock<Arc<Matcher>> = LazyLock::new(|| {
    let subdomains = SubdomainPolicy {
        always: true,
        ..SubdomainPolicy::default()
    };
    Arc::new(Matcher::new(Arc::new(set()), Clock::Capture, subdomains).with_deep(true))
});

/// Law: what is found and counted does not depend on how many sensors share the shards; what
/// flows hold stays below its bound, and nothing is held at the end.
pub(crate) fn handle(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let run = |sensors: usize| {
        let mut sensors: Vec<Sensor> = (0..sensors)
            .map(|_| Sensor::new(Arc::clone(&MATCHER)))
            .collect();
        feed(input, &mut sensors);
        let mut found = Vec::new();
        let mut counted = Vec::new();
        for sensor in &mut sensors {
            let matches = sensor.drain().into_iter();
            found.extend(matches.map(|placed| (placed.order, format!("{:?}", placed.found))));
            let counters = sensor.counters().clone();
            for counts in [counters.transactions, counters.anomalies, counters.drops] {
                counted.extend(counts);
            }
            counted.push(("flows", counters.flows));
        }
        found.sort();
        let mut sums = std::collections::BTreeMap::new();
        for (name, count) in counted {
            *sums.entry(name).or_insert(0) += count;
        }
        (found, sums)
    };
    let one = run(1);
    for (_, found) in &one.0 {
        seen(found);
    }
    for name in one.1.keys() {
        seen(name);
    }
    let two = run(2);
    assert_eq!(two.0, one.0, "matches");
    assert_eq!(two.1, one.1, "counters");
}

/// Gives each frame to the sensor that has its shard.
fn feed(input: &[u8], sensors: &mut [Sensor]) {
    let key = HashKey::new([1, 2]);
    let mut decoder = Decoder::new();
    for (position, frame) in frames(input).into_iter().enumerate() {
        let mut packet = Packet::default();
        let outcome = decoder.decode(
            frame.link,
            frame.timestamp,
            frame.bytes,
            frame.original_length,
            &mut packet,
        );
        if outcome == Outcome::Packet {
            let hash = flow_hash(&packet, &key);
            let shard = (hash >> 32) as u8 % SHARDS as u8;
            let count = sensors.len();
            let sensor = &mut sensors[usize::from(shard) % count];
            sensor.touch(shard, hash, &packet);
            sensor.handle_packet(&Arrival {
                timestamp: frame.timestamp,
                position: position as u32,
                shard,
                hash,
                packet: &packet,
                payload: decoder.payload(frame.bytes, &packet),
                tunnels: decoder.tunnels(),
            });
            let held = sensor.shards[usize::from(shard)].held;
            assert!(held.all <= MAX_HELD_PER_SHARD, "{held:?}");
        }
        if position % FRAMES_A_TIMEOUT == FRAMES_A_TIMEOUT - 1 {
            for sensor in &mut *sensors {
                sensor.handle_timeout(frame.timestamp);
            }
        }
    }
    for sensor in sensors {
        sensor.finish();
        for shard in &sensor.shards {
            assert_eq!(shard.held, Held::default(), "held at the end");
        }
    }
}

/// Law: what is recognised, found and counted in a connection does not depend on how its bytes
/// are cut into segments. An input is a dialogue as [`turns`] reads it.
pub(crate) fn segments(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let turns = turns(input);
    if turns
        .iter()
        .any(|turn| matches!(turn, Turn::Bytes(_, [4 | 5, ..])))
    {
        // a greeting of SOCKS has no more than three bytes, and is known by its end alone
        return;
    }
    if Direction::BOTH
        .into_iter()
        .any(|at| stays_unknown(at, &turns))
    {
        return;
    }
    let whole = converse(&turns, &mut |length| length);
    for event in &whole {
        seen(event);
    }
    let single = converse(&turns, &mut |_| 1);
    assert_eq!(single, whole, "byte by byte");
    let mut step = 0_usize;
    let mixed = converse(&turns, &mut |_| {
        step = (step * 5 + 3) % LONGEST_PIECE;
        1 + step
    });
    assert_eq!(mixed, whole, "in pieces");
}

/// Whether a direction may be recognised by so many bytes only that the sensor asks no longer at
/// every segment, the last of which may end before.
fn stays_unknown(direction: Direction, turns: &[Turn<'_>]) -> bool {
    let mut start = Vec::new();
    for turn in turns {
        match turn {
            Turn::Bytes(at, bytes) if *at == direction => start.extend_from_slice(bytes),
            _ => {}
        }
    }
    let is_long = start.len() > ALWAYS_PROBED;
    start.truncate(ALWAYS_PROBED - LONGEST_PIECE);
    is_long && matches!(recognise(direction, &start, true, true), Recognised::NotYet)
}

/// What a sensor finds and counts in one connection, in segments of the lengths that are given.
fn converse(turns: &[Turn<'_>], length: &mut dyn FnMut(usize) -> usize) -> Vec<String> {
    let mut sensor = Sensor::new(Arc::clone(&MATCHER));
    let mut sequences = [100_u32, 900];
    let mut send = |direction: Direction, flags: u8, payload: &[u8], skipped: u32| {
        let ends = [
            (Address::v4(0xC000_0201), 40_000),
            (Address::v4(0xC633_64C8), 80),
        ];
        let (source, destination) = match direction {
            Direction::ToServer => (ends[0], ends[1]),
            Direction::ToClient => (ends[1], ends[0]),
        };
        let [own, other] = match direction {
            Direction::ToServer => [0, 1],
            Direction::ToClient => [1, 0],
        };
        sequences[own] = sequences[own].wrapping_add(skipped);
        let packet = Packet {
            source: source.0,
            source_port: source.1,
            destination: destination.0,
            destination_port: destination.1,
            protocol: Packet::TCP,
            tcp: Tcp {
                sequence: sequences[own],
                acknowledgment: sequences[other],
                window: u16::MAX,
                flags,
            },
            ..Packet::default()
        };
        let taken = payload.len() as u32 + u32::from(flags & (Tcp::SYN | Tcp::FIN) != 0);
        sequences[own] = sequences[own].wrapping_add(taken);
        sensor.handle_packet(&Arrival {
            timestamp: Timestamp::from_nanos(1_700_000_000_000_000_000),
            position: 0,
            shard: 0,
            hash: 7,
            packet: &packet,
            payload,
            tunnels: &[],
        });
    };
    send(Direction::ToServer, Tcp::SYN, b"", 0);
    send(Direction::ToClient, Tcp::SYN | Tcp::ACK, b"", 0);
    let mut ended = [false; 2];
    let mut skipped = [0; 2];
    for turn in turns {
        let (Turn::Bytes(direction, _) | Turn::Gap(direction, _) | Turn::End(direction)) = *turn;
        let index = direction.index();
        match *turn {
            _ if ended[index] => {}
            Turn::Bytes(_, mut bytes) => {
                while !bytes.is_empty() {
                    let (now, later) = bytes.split_at(length(bytes.len()).min(bytes.len()));
                    let skipped = std::mem::take(&mut skipped[index]);
                    send(direction, Tcp::ACK | Tcp::PSH, now, skipped);
                    bytes = later;
                }
            }
            Turn::Gap(_, length) => skipped[index] += length as u32 & 0x3fff,
            Turn::End(_) => {
                ended[index] = true;
                let skipped = std::mem::take(&mut skipped[index]);
                send(direction, Tcp::ACK | Tcp::FIN, b"", skipped);
            }
        }
    }
    sensor.finish();
    let mut told: Vec<String> = sensor
        .drain()
        .into_iter()
        .map(|placed| format!("{:?}", placed.found))
        .collect();
    let counters = sensor.counters();
    for counts in [&counters.transactions, &counters.anomalies] {
        told.extend(counts.iter().map(|count| format!("{count:?}")));
    }
    told
}
