//! The symmetric hash that chooses a flow's worker.

use super::Packet;

/// A secret that makes hashes unpredictable to senders of traffic.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 2]);

impl HashKey {
    /// From 16 random bytes as two numbers.
    pub const fn new(key: [u64; 2]) -> Self {
        Self(key)
    }
}

/// A keyed hash of addresses, ports and protocol, the same for both directions.
///
/// Multiplies and folds as wyhash does. Meant for choosing a worker and a table's
/// slot: not a cryptographic hash.
#[inline]
pub fn flow_hash(packet: &Packet, key: &HashKey) -> u64 {
    let HashKey([k0, k1]) = *key;
    let source = (packet.source.bits(), packet.source_port);
    let destination = (packet.destination.bits(), packet.destination_port);
    let (low, high) = if source <= destination {
        (source, destination)
    } else {
        (destination, source)
    };
    let rest = u64::from(low.1) << 32 | u64::from(high.1) << 8 | u64::from(packet.protocol);
    let first = fold((low.0 >> 64) as u64 ^ k0, low.0 as u64 ^ k1);
    let second = fold((high.0 >> 64) as u64 ^ k1 ^ ODD, high.0 as u64 ^ k0 ^ SALT);
    fold(first ^ rest ^ k1, second ^ k0.rotate_left(32) ^ ODD)
}

/// A number of 6 bits from addresses and ports, the same for both directions and in every run.
///
/// It chooses the shard of a flow, which must not hang on the run; whoever sends traffic can
/// therefore aim at a shard, but not at a slot of its table, which [`flow_hash`] chooses.
#[inline]
pub fn flow_shard(packet: &Packet) -> u8 {
    let both = packet.source.bits() ^ packet.destination.bits();
    let ports = u64::from(packet.source_port ^ packet.destination_port);
    let mixed = (both as u64 ^ ((both >> 64) as u64).rotate_left(32)).wrapping_mul(ODD);
    // what the multiplication brought to the top goes down again, to be spread once more
    let mixed = (mixed ^ mixed >> 32 ^ ports << 16).wrapping_mul(SALT | 1);
    (mixed >> 58) as u8
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Fractional digits of pi and e: numbers with nothing up their sleeve.
const ODD: u64 = 0x243f_6a88_85a3_08d3;
const SALT: u64 = 0xb7e1_5162_8aed_2a6b;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Address;

    fn packet(seed: u64) -> Packet {
        let r = |n: u64| fold(seed ^ SALT, n.wrapping_add(ODD));
        let address = |n| {
            if seed.is_multiple_of(2) {
                Address::v4(0x0a00_0000 | (r(n) as u32 & 0xffff))
            } else {
                Address::v6(0x2001_0db8 << 96 | u128::from(r(n)))
            }
        };
        Packet {
            source: address(1),
            destination: address(2),
            source_port: r(3) as u16,
            destination_port: 443,
            protocol: Packet::TCP,
            ..Packet::default()
        }
    }

    #[test]
    fn both_directions_hash_alike() {
        let key = HashKey::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        let other = HashKey::new([1, 2]);
        for seed in 0..2_000 {
            let there = packet(seed);
            let back = Packet {
                source: there.destination,
                destination: there.source,
                source_port: there.destination_port,
                destination_port: there.source_port,
                ..there
            };
            assert_eq!(flow_hash(&there, &key), flow_hash(&back, &key));
            assert_ne!(flow_hash(&there, &key), flow_hash(&there, &other));
            let crossed = Packet {
                source_port: there.destination_port,
                destination_port: there.source_port,
                ..there
            };
            assert_ne!(
                flow_hash(&there, &key),
                flow_hash(&crossed, &key),
                "ports belong to ends"
            );
            let udp = Packet {
                protocol: Packet::UDP,
                ..there
            };
            assert_ne!(flow_hash(&there, &key), flow_hash(&udp, &key));
        }
    }

    #[test]
    fn shards_are_even_and_the_same_for_both_directions() {
        let mut shards = [0_u32; 64];
        for seed in 0..64_000 {
            let there = packet(seed);
            let back = Packet {
                source: there.destination,
                destination: there.source,
                source_port: there.destination_port,
                destination_port: there.source_port,
                ..there
            };
            assert_eq!(flow_shard(&there), flow_shard(&back));
            shards[usize::from(flow_shard(&there))] += 1;
        }
        // one client and one server, as in a test of throughput
        for port in 1_024..65_024 {
            let flow = Packet {
                source_port: port,
                ..packet(2)
            };
            shards[usize::from(flow_shard(&flow))] += 1;
        }
        assert!(
            shards.iter().all(|n| (1_700..2_300).contains(n)),
            "{shards:?}"
        );
    }

    #[test]
    fn spreads_over_workers() {
        let key = HashKey::new([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
        for shift in [0, 8, 32, 61] {
            let mut workers = [0_u32; 8];
            for seed in 0..8_000 {
                workers[(flow_hash(&packet(seed), &key) >> shift) as usize % 8] += 1;
            }
            assert!(
                workers.iter().all(|n| (850..1_150).contains(n)),
                "shift {shift}: {workers:?}"
            );
        }
    }
}
