//! Address prefixes: which networks contain an address.
//!
//! The address space is cut at every start and end of a network into ranges
//! that do not overlap. Each range names the narrowest network that covers
//! it, and each network the next wider one around it, so that one binary
//! search finds all of them. For IPv4 a root table on the leading bits
//! narrows the search to a few entries.

use crate::matcher::bytes::put_u32s;
use crate::matcher::bytes::u32_at;
use crate::matcher::bytes::u128_at;

/// A network that stands for none.
const NO_NETWORK: u32 = u32::MAX;

/// The sections of both prefix tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrefixTable<'a> {
    /// IPv4: first range at or before each value of the leading bits.
    pub(crate) root: &'a [u8],
    /// Where ranges start, sorted: 32-bit numbers for IPv4, 128-bit for IPv6.
    pub(crate) starts: &'a [u8],
    /// The narrowest network of each range, or none.
    pub(crate) owners: &'a [u8],
    /// Each network's posting and the network around it.
    pub(crate) networks: &'a [u8],
}

/// A prefix table as written.
#[derive(Debug, Default)]
pub(crate) struct PrefixTableSections {
    pub(crate) root: Vec<u8>,
    pub(crate) starts: Vec<u8>,
    pub(crate) owners: Vec<u8>,
    pub(crate) networks: Vec<u8>,
}

impl PrefixTableSections {
    /// Builds the table of `(first address, prefix length, posting)` in a space of `bits` (32 or
    /// 128); each network occurs once.
    pub(crate) fn build(bits: u32, networks: &[(u128, u8, u32)]) -> Self {
        let mut sorted = networks.to_vec();
        sorted.sort_unstable_by_key(|n| (n.0, n.1));
        let last_address = if bits >= 128 {
            u128::MAX
        } else {
            (1 << bits) - 1
        };
        let mut starts: Vec<u128> = vec![0];
        let mut owners: Vec<u32> = vec![NO_NETWORK];
        let mut records = Vec::with_capacity(sorted.len() * 8);
        // networks that are open at this point, widest first: (last address, number)
        let mut open: Vec<(u128, u32)> = Vec::new();
        let mut cut = |at: u128, owner: u32| {
            if starts.last() == Some(&at) {
                if let Some(last) = owners.last_mut() {
                    *last = owner;
                }
            } else {
                starts.push(at);
                owners.push(owner);
            }
        };
        for (number, (first, length, posting)) in sorted.iter().enumerate() {
            while let Some((last, _)) = open.last().copied().filter(|(last, _)| last < first) {
                open.pop();
                cut(last + 1, open.last().map_or(NO_NETWORK, |o| o.1));
            }
            let around = open.last().map_or(NO_NETWORK, |o| o.1);
            put_u32s(&mut records, [*posting, around]);
            let host_bits = bits - u32::from(*length).min(bits);
            let size_less_one = if host_bits >= 128 {
                u128::MAX
            } else {
                (1 << host_bits) - 1
            };
            cut(*first, number as u32);
            open.push((first | size_less_one, number as u32));
        }
        while let Some((last, _)) = open.pop() {
            if last < last_address {
                cut(last + 1, open.last().map_or(NO_NETWORK, |o| o.1));
            }
        }
        let mut root = Vec::new();
        let mut start_bytes = Vec::new();
        if bits == 32 {
            put_u32s(&mut start_bytes, starts.iter().map(|s| *s as u32));
            put_u32s(&mut root, root_of(&starts));
        } else {
            start_bytes.extend(starts.iter().flat_map(|s| s.to_le_bytes()));
        }
        let mut owner_bytes = Vec::new();
        put_u32s(&mut owner_bytes, owners);
        Self {
            root,
            starts: start_bytes,
            owners: owner_bytes,
            networks: records,
        }
    }
}

/// For each value of the leading bits, the range in which it begins; and the last range.
fn root_of(starts: &[u128]) -> Vec<u32> {
    let bits = root_bits(starts.len());
    let mut root: Vec<u32> = (0..1_u128 << bits)
        .map(|lead| {
            starts
                .partition_point(|s| *s <= lead << (32 - bits))
                .saturating_sub(1) as u32
        })
        .collect();
    root.push(starts.len().saturating_sub(1) as u32);
    root
}

/// Leading bits of the root table: about one entry a range, between 2 and 65,536 entries.
fn root_bits(ranges: usize) -> u32 {
    ranges.max(2).ilog2().clamp(1, 16)
}

impl PrefixTable<'_> {
    /// Postings of all networks that contain an IPv4 address, narrowest first.
    #[inline]
    pub(crate) fn find_v4(&self, address: u32, found: &mut impl FnMut(u32)) {
        let entries = self.root.len() / 4;
        if entries < 3 || self.networks.is_empty() {
            return;
        }
        let bits = (entries - 1).ilog2();
        let lead = (address >> (32 - bits.min(32))) as usize;
        let mut low = u32_at(self.root, lead) as usize;
        let mut high = u32_at(self.root, lead + 1) as usize;
        // the last range whose start is not beyond the address
        while low < high {
            let middle = (low + high).div_ceil(2);
            if u32_at(self.starts, middle) <= address {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        self.report(low, found);
    }

    /// Postings of all networks that contain an IPv6 address, narrowest first.
    pub(crate) fn find_v6(&self, address: u128, found: &mut impl FnMut(u32)) {
        let (mut low, mut high) = (0, (self.starts.len() / 16).saturating_sub(1));
        while low < high {
            let middle = (low + high).div_ceil(2);
            if u128_at(self.starts, middle) <= address {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        self.report(low, found);
    }

    fn report(&self, range: usize, found: &mut impl FnMut(u32)) {
        if range >= self.owners.len() / 4 {
            return;
        }
        let mut network = u32_at(self.owners, range);
        // nesting is at most as deep as an address is long; a damaged table could loop
        for _ in 0..=128 {
            if network as usize >= self.networks.len() / 8 {
                return;
            }
            found(u32_at(self.networks, 2 * network as usize));
            network = u32_at(self.networks, 2 * network as usize + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(bits: u32, networks: &[(u128, u8, u32)], address: u128) -> Vec<u32> {
        let built = PrefixTableSections::build(bits, networks);
        let table = PrefixTable {
            root: &built.root,
            starts: &built.starts,
            owners: &built.owners,
            networks: &built.networks,
        };
        let mut found = Vec::new();
        if bits == 32 {
            table.find_v4(address as u32, &mut |p| found.push(p));
        } else {
            table.find_v6(address, &mut |p| found.push(p));
        }
        found
    }

    #[test]
    fn nested_networks_are_all_found_narrowest_first() {
        let networks = [
            (0x0A00_0000, 8, 1),
            (0x0A01_0000, 16, 2),
            (0x0A01_0100, 24, 3),
            (0x0A01_0100, 25, 4),
            (0xFFFF_FF00, 24, 5),
            (0, 0, 6),
        ];
        for (address, expected) in [
            (0x0A01_0101, &[4, 3, 2, 1, 6][..]),
            (0x0A01_0180, &[3, 2, 1, 6]),
            (0x0A01_0200, &[2, 1, 6]),
            (0x0AFF_FFFF, &[1, 6]),
            (0x0B00_0000, &[6]),
            (0xFFFF_FFFF, &[5, 6]),
            (0, &[6]),
        ] {
            assert_eq!(lookup(32, &networks, address), expected, "{address:08x}");
        }
        assert!(lookup(32, &[], 1).is_empty());
        assert!(lookup(128, &[], 1).is_empty());
        assert_eq!(
            lookup(128, &[(0, 0, 9), (1 << 64, 64, 8)], (1 << 64) + 5),
            [8, 9]
        );
        assert_eq!(lookup(128, &[(u128::MAX - 15, 124, 3)], u128::MAX), [3]);
    }

    #[test]
    fn agrees_with_a_scan_of_all_networks() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for bits in [32_u32, 128] {
            for round in 0..40 {
                let mut networks = std::collections::BTreeMap::new();
                for posting in 0..round * 4 {
                    let length = (random() % u64::from(bits + 1)) as u8;
                    let host = bits - u32::from(length);
                    // few distinct leading bytes, so that networks nest
                    let raw = u128::from(random() % 4) << (bits - 8) | u128::from(random());
                    let mask = if host >= 128 { 0 } else { u128::MAX << host };
                    let space = if bits == 128 {
                        u128::MAX
                    } else {
                        (1 << bits) - 1
                    };
                    networks.insert((raw & mask & space, length), posting as u32);
                }
                let list: Vec<_> = networks.iter().map(|((f, l), p)| (*f, *l, *p)).collect();
                for _ in 0..50 {
                    let address = (u128::from(random() % 4) << (bits - 8) | u128::from(random()))
                        & if bits == 128 { u128::MAX } else { 0xFFFF_FFFF };
                    let mut expected: Vec<_> = list
                        .iter()
                        .filter(|(first, length, _)| {
                            let host = bits - u32::from(*length);
                            host >= 128 || address >> host == first >> host
                        })
                        .map(|(_, length, posting)| (std::cmp::Reverse(*length), *posting))
                        .collect();
                    expected.sort_unstable();
                    let expected: Vec<_> = expected.into_iter().map(|e| e.1).collect();
                    assert_eq!(lookup(bits, &list, address), expected);
                }
            }
        }
    }
}
