//! Laws of the sensor, for frames of any kind.

use crate::flow::table::SHARDS;
use crate::matcher::Clock;
use crate::matcher::Matcher;
use crate::matcher::SubdomainPolicy;
use crate::matcher::fuzz::set;
use crate::packet::Decoder;
use crate::packet::HashKey;
use crate::packet::Outcome;
use crate::packet::Packet;
use crate::packet::flow_hash;
use crate::packet::fuzz::frames;
use crate::sensor::Arrival;
use crate::sensor::Held;
use crate::sensor::MAX_HELD_PER_SHARD;
use crate::sensor::Sensor;
use std::sync::Arc;
use std::sync::LazyLock;

/// How many frames come between two searches for flows that are over.
const FRAMES_A_TIMEOUT: usize = 8;

/// Law: what is found and counted does not depend on how many sensors share the shards; what
/// flows hold stays below its bound, and nothing is held at the end.
pub(crate) fn handle(input: &[u8], seen: &mut dyn FnMut(&str)) {
    static MATCHER: LazyLock<Arc<Matcher>> = LazyLock::new(|| {
        let subdomains = SubdomainPolicy {
            always: true,
            ..SubdomainPolicy::default()
        };
        Arc::new(Matcher::new(Arc::new(set()), Clock::Capture, subdomains).with_deep(true))
    });
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
