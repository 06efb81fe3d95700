//! IP fragments, put together within bounds.
//!
//! Read first: RFC 791 section 3.2, RFC 8200 section 4.5, RFC 5722.
//!
//! Overlap: in IPv4 the bytes that came first win. In IPv6 an overlap drops the
//! datagram with all its fragments, also those still to come (RFC 5722, section 4).
//! Exact duplicates are harmless in both. Eviction: the datagram whose first seen
//! fragment came earliest.

use super::Address;
use crate::time::Timestamp;
use etherparse::IpNumber;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Duration;

/// How long a datagram waits for its missing fragments, in capture time. Linux waits 30 s
/// for IPv4; RFC 8200 says 60 s for IPv6, but what a gateway lacks after 30 s was lost.
pub const FRAGMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The most bytes that waiting fragments may take, their book-keeping counted: four times
/// Linux's `ipfrag_high_thresh`, enough for 250 datagrams of the greatest length.
pub const MAX_FRAGMENT_MEMORY: usize = 16 << 20;

/// The most datagrams that may wait: bounds the table where fragments are tiny.
pub const MAX_DATAGRAMS: usize = 16_384;

/// What became of fragments, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentCounters {
    /// Put together.
    pub reassembled: u64,
    /// Given up after [`FRAGMENT_TIMEOUT`].
    pub expired: u64,
    /// Given up for want of memory or of a place in the table.
    pub evicted: u64,
    /// Fragments (not datagrams) whose bytes overlapped others and were no duplicates.
    pub overlapping: u64,
}

/// The datagrams that wait for fragments.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    /// Keyed against flooding by the standard library's random state.
    table: HashMap<Key, Datagram>,
    /// The table's keys by [`Datagram::serial`]: eldest first.
    order: BTreeMap<u64, Key>,
    /// The serial that the next datagram gets.
    serial: u64,
    /// Bytes that the table takes; `<= MAX_FRAGMENT_MEMORY` between calls.
    memory: usize,
    counters: FragmentCounters,
}

impl Fragments {
    /// Keeps a fragment, or writes the datagram that it completes to `whole`.
    pub(super) fn insert(
        &mut self,
        key: Key,
        fragment: &Fragment<'_>,
        now: Timestamp,
        whole: &mut Vec<u8>,
    ) -> Inserted {
        let mut bytes = fragment.bytes;
        if fragment.more && !bytes.len().is_multiple_of(8) {
            if key.is_v6() {
                return Inserted::Refused("fragment.length"); // RFC 8200, section 4.5
            }
            bytes = bytes.get(..bytes.len() & !7).unwrap_or_default(); // as hosts do
        }
        // a datagram is at most 65,535 bytes long
        let end = fragment.offset as usize + bytes.len();
        if bytes.is_empty() || end > usize::from(u16::MAX) {
            return Inserted::Refused("fragment.length");
        }
        if self
            .table
            .get(&key)
            .is_some_and(|datagram| now.since(datagram.started) >= FRAGMENT_TIMEOUT)
        {
            self.remove(&key);
            self.counters.expired += 1;
        }
        let serial = self.serial;
        let datagram = self.table.entry(key).or_insert_with(|| {
            self.serial += 1;
            self.memory += Datagram::OVERHEAD;
            self.order.insert(serial, key);
            Datagram::new(serial, now, fragment.protocol)
        });
        let before = datagram.memory();
        let added = datagram.add(key.is_v6(), fragment, bytes);
        self.memory = self.memory.saturating_sub(before) + datagram.memory();
        match added {
            Added::Kept => {}
            Added::Overlap => self.counters.overlapping += 1,
            Added::Refused(kind) => return Inserted::Refused(kind),
            Added::Poisoned => {
                self.counters.overlapping += 1;
                return Inserted::Refused("fragment.overlap");
            }
        }
        if datagram.is_whole() {
            datagram.write(whole);
            let protocol = datagram.protocol;
            self.remove(&key);
            self.counters.reassembled += 1;
            return Inserted::Whole(protocol);
        }
        while self.memory > MAX_FRAGMENT_MEMORY || self.table.len() > MAX_DATAGRAMS {
            let Some(eldest) = self.eldest() else { break };
            self.remove(&eldest);
            self.counters.evicted += 1;
        }
        Inserted::Kept
    }

    /// Gives up what has waited for [`FRAGMENT_TIMEOUT`].
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(eldest) = self.eldest() {
            match self.table.get(&eldest) {
                Some(datagram) if now.since(datagram.started) < FRAGMENT_TIMEOUT => return,
                _ => {
                    self.remove(&eldest);
                    self.counters.expired += 1;
                }
            }
        }
    }

    /// What became of fragments so far.
    pub(super) fn counters(&self) -> FragmentCounters {
        self.counters
    }

    /// Bytes that waiting fragments take.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Datagrams that wait.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    fn eldest(&self) -> Option<Key> {
        self.order.first_key_value().map(|(_, key)| *key)
    }

    fn remove(&mut self, key: &Key) {
        if let Some(datagram) = self.table.remove(key) {
            self.order.remove(&datagram.serial);
            self.memory = self
                .memory
                .saturating_sub(datagram.memory() + Datagram::OVERHEAD);
        }
    }
}

/// What tells the fragments of one datagram from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The header's source.
    pub(super) source: Address,
    /// The header's destination.
    pub(super) destination: Address,
    /// Its identification; 16 bits of it in IPv4.
    pub(super) identification: u32,
    /// The protocol in IPv4 (RFC 791); 0 in IPv6, where only the first fragment's counts.
    pub(super) protocol: u8,
    /// IP headers around this one: another tunnel, another host's numbering.
    pub(super) depth: u8,
    /// The outermost VLAN.
    pub(super) vlan: Option<u16>,
}

impl Key {
    fn is_v6(&self) -> bool {
        !self.source.is_v4()
    }
}

/// One fragment.
pub(super) struct Fragment<'a> {
    /// Where its bytes belong in the datagram, in bytes; a multiple of 8.
    pub(super) offset: u32,
    /// Whether more follow.
    pub(super) more: bool,
    /// What the datagram carries, as this fragment has it.
    pub(super) protocol: IpNumber,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    /// Others are missing.
    Kept,
    /// The datagram is complete, and this is what it carries.
    Whole(IpNumber),
    /// It contradicts its specification or other fragments.
    Refused(&'static str),
}

enum Added {
    Kept,
    Overlap,
    Poisoned,
    Refused(&'static str),
}

/// A datagram of which fragments are missing.
#[derive(Debug)]
struct Datagram {
    /// Its rank by age.
    serial: u64,
    /// When its first seen fragment came.
    started: Timestamp,
    /// What it carries.
    protocol: IpNumber,
    /// Its length in bytes; `None` until the last fragment came.
    length: Option<u32>,
    /// How many of its bytes came.
    covered: u32,
    /// Whether IPv6 fragments overlapped.
    poisoned: bool,
    /// Ordered and disjoint; at most 8,192, since offsets count in units of 8.
    pieces: Vec<Piece>,
    /// The pieces' bytes, in order of arrival.
    bytes: Vec<u8>,
}

impl Datagram {
    /// What a datagram takes beside its pieces and bytes: its places in both tables, rounded up.
    const OVERHEAD: usize = 320;

    fn new(serial: u64, started: Timestamp, protocol: IpNumber) -> Self {
        Self {
            serial,
            started,
            protocol,
            length: None,
            covered: 0,
            poisoned: false,
            pieces: Vec::new(),
            bytes: Vec::new(),
        }
    }

    fn add(&mut self, is_v6: bool, fragment: &Fragment<'_>, bytes: &[u8]) -> Added {
        if self.poisoned {
            return Added::Refused("fragment.overlap");
        }
        let start = fragment.offset;
        let end = start + bytes.len() as u32; // below 65,536
        let last = self.pieces.last().map_or(0, |piece| piece.end);
        let contradicts = match self.length {
            Some(length) if fragment.more => end > length,
            Some(length) => end != length,
            None => !fragment.more && end < last,
        };
        if contradicts {
            return Added::Refused("fragment.end");
        }
        let touching = self.pieces.partition_point(|piece| piece.end <= start);
        let overlaps = self
            .pieces
            .get(touching)
            .is_some_and(|piece| piece.start < end);
        if overlaps && self.stored(touching, start, end) == Some(bytes) {
            return Added::Kept; // a duplicate
        }
        if overlaps && is_v6 {
            self.poisoned = true;
            self.pieces = Vec::new();
            self.bytes = Vec::new();
            return Added::Poisoned;
        }
        if !fragment.more {
            self.length = Some(end);
        }
        if is_v6 && start == 0 {
            self.protocol = fragment.protocol; // RFC 8200, section 4.5: the first fragment's
        }
        self.fill_gaps(touching, start, bytes);
        if overlaps {
            Added::Overlap
        } else {
            Added::Kept
        }
    }

    /// The bytes from `start` to `end` when one piece, at `index`, has them all.
    fn stored(&self, index: usize, start: u32, end: u32) -> Option<&[u8]> {
        let piece = self.pieces.get(index)?;
        let from = piece.at + start.checked_sub(piece.start)?;
        if end > piece.end {
            return None;
        }
        self.bytes.get(from as usize..(from + end - start) as usize)
    }

    /// Keeps those of `bytes`, which belong at `start`, that no piece has yet. `index` is the
    /// first piece that ends behind `start`.
    fn fill_gaps(&mut self, mut index: usize, start: u32, bytes: &[u8]) {
        let end = start + bytes.len() as u32;
        let mut from = start;
        while from < end {
            let (to, next) = match self.pieces.get(index) {
                Some(piece) if piece.start < end => (piece.start, piece.end),
                _ => (end, end),
            };
            if let Some(gap) = bytes.get((from - start) as usize..).filter(|_| from < to) {
                let gap = gap.get(..(to - from) as usize).unwrap_or(gap);
                let at = self.bytes.len() as u32;
                self.bytes.extend_from_slice(gap);
                self.covered += to - from;
                match index.checked_sub(1).and_then(|i| self.pieces.get_mut(i)) {
                    // in order of arrival as in order of place: one piece
                    Some(before)
                        if before.end == from && before.at + (before.end - before.start) == at =>
                    {
                        before.end = to;
                    }
                    _ => {
                        let piece = Piece {
                            start: from,
                            end: to,
                            at,
                        };
                        self.pieces.insert(index, piece);
                        index += 1;
                    }
                }
            }
            from = from.max(next);
            index += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.length == Some(self.covered)
    }

    fn write(&self, whole: &mut Vec<u8>) {
        whole.clear();
        whole.reserve(self.covered as usize);
        for piece in &self.pieces {
            let to = piece.at + piece.end - piece.start;
            whole.extend(
                self.bytes
                    .get(piece.at as usize..to as usize)
                    .unwrap_or_default(),
            );
        }
    }

    fn memory(&self) -> usize {
        self.bytes.capacity() + self.pieces.capacity() * size_of::<Piece>()
    }
}

/// Consecutive bytes of a datagram.
///
/// Invariant: `start < end <= 65_535`.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Its place in the datagram.
    start: u32,
    /// Where it ends in the datagram.
    end: u32,
    /// Its place in [`Datagram::bytes`].
    at: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Timestamp = Timestamp::from_parts(1, 0);

    fn key(v6: bool, identification: u32) -> Key {
        let address = |n: u32| {
            if v6 {
                Address::v6(u128::from(n))
            } else {
                Address::v4(n)
            }
        };
        Key {
            source: address(1),
            destination: address(2),
            identification,
            protocol: 17,
            depth: 0,
            vlan: None,
        }
    }

    fn fragment(offset: u32, more: bool, bytes: &[u8]) -> Fragment<'_> {
        Fragment {
            offset,
            more,
            protocol: IpNumber::UDP,
            bytes,
        }
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) as usize % n
        }
    }

    #[test]
    fn any_order_and_duplication_yields_the_datagram() {
        let mut random = Random(7);
        for round in 0..400 {
            let v6 = round % 2 == 0;
            let length = 1 + random.below(if round == 0 { 65_535 } else { 3_000 });
            let datagram: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            let mut cuts = vec![0];
            while *cuts.last().unwrap() + 8 < length {
                let next = cuts.last().unwrap() + 8 * (1 + random.below(40));
                cuts.push(next.min((length - 1) & !7));
            }
            cuts.dedup();
            cuts.push(length);
            let mut parts: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
            for i in (1..parts.len()).rev() {
                parts.swap(i, random.below(i + 1));
            }
            // duplicates of all but the one that completes
            let mut sent = Vec::new();
            for (i, part) in parts.iter().enumerate() {
                sent.push(*part);
                if i + 1 < parts.len() && random.below(3) == 0 {
                    sent.push(parts[random.below(i + 1)]);
                }
            }
            let mut fragments = Fragments::default();
            let mut whole = Vec::new();
            for (i, (from, to)) in sent.iter().enumerate() {
                let part = fragment(*from as u32, *to < length, &datagram[*from..*to]);
                let result = fragments.insert(key(v6, 1), &part, SECOND, &mut whole);
                if i + 1 < sent.len() {
                    assert_eq!(
                        result,
                        Inserted::Kept,
                        "round {round}, {part:?}",
                        part = (from, to)
                    );
                } else {
                    assert_eq!(result, Inserted::Whole(IpNumber::UDP), "round {round}");
                }
            }
            assert_eq!(whole, datagram);
            assert_eq!(fragments.memory(), 0);
            assert_eq!(fragments.len(), 0);
            assert!(fragments.order.is_empty());
            assert_eq!(fragments.counters().overlapping, 0);
        }
    }

    #[test]
    fn random_overlaps_keep_the_bytes_that_came_first() {
        let mut random = Random(11);
        for _ in 0..300 {
            let length = 8 * (1 + random.below(60));
            let mut model: Vec<Option<u8>> = vec![None; length];
            let mut fragments = Fragments::default();
            let mut whole = Vec::new();
            loop {
                let from = random.below(length / 8) * 8;
                let to = (from + 8 * (1 + random.below(12))).min(length);
                let bytes: Vec<u8> = (from..to).map(|_| random.below(256) as u8).collect();
                for (place, byte) in model[from..to].iter_mut().zip(&bytes) {
                    place.get_or_insert(*byte);
                }
                let part = fragment(from as u32, to < length, &bytes);
                match fragments.insert(key(false, 1), &part, SECOND, &mut whole) {
                    Inserted::Kept => assert!(model.contains(&None)),
                    Inserted::Whole(_) => break,
                    Inserted::Refused(kind) => panic!("{kind}"),
                }
            }
            let expected: Vec<u8> = model.into_iter().map(Option::unwrap).collect();
            assert_eq!(whole, expected);
        }
    }

    #[test]
    fn an_overlap_in_ipv6_drops_the_datagram_for_good() {
        let mut fragments = Fragments::default();
        let mut whole = Vec::new();
        let mut insert = |offset, more, bytes: &[u8]| {
            fragments.insert(
                key(true, 1),
                &fragment(offset, more, bytes),
                SECOND,
                &mut whole,
            )
        };
        assert_eq!(insert(0, true, &[1; 16]), Inserted::Kept);
        assert_eq!(insert(0, true, &[1; 16]), Inserted::Kept);
        assert_eq!(
            insert(8, true, &[1; 16]),
            Inserted::Refused("fragment.overlap")
        );
        assert_eq!(
            insert(0, true, &[1; 16]),
            Inserted::Refused("fragment.overlap")
        );
        assert_eq!(
            insert(16, false, &[1; 16]),
            Inserted::Refused("fragment.overlap")
        );
        assert_eq!(fragments.counters().overlapping, 1);
        assert_eq!(fragments.memory(), Datagram::OVERHEAD);
    }

    #[test]
    fn contradicting_ends_and_lengths_are_refused() {
        type Part = (u32, bool, usize); // offset, more, length
        let cases: &[(bool, &[Part], &str)] = &[
            // two last fragments
            (false, &[(16, false, 8), (24, false, 8)], "fragment.end"),
            (false, &[(16, false, 8), (8, false, 8)], "fragment.end"),
            // a middle one behind the last
            (false, &[(16, false, 8), (24, true, 8)], "fragment.end"),
            (true, &[(24, true, 8), (16, false, 8)], "fragment.end"),
            // nothing in it
            (false, &[(16, true, 0)], "fragment.length"),
            (false, &[(16, true, 7)], "fragment.length"),
            // IPv6 keeps to units of 8
            (true, &[(16, true, 9)], "fragment.length"),
            // beyond the longest datagram
            (false, &[(65_528, false, 8)], "fragment.length"),
        ];
        for (v6, parts, expected) in cases {
            let mut fragments = Fragments::default();
            let mut result = Inserted::Kept;
            for (offset, more, length) in *parts {
                let bytes = vec![0; *length];
                let part = fragment(*offset, *more, &bytes);
                result = fragments.insert(key(*v6, 1), &part, SECOND, &mut Vec::new());
            }
            assert_eq!(result, Inserted::Refused(expected), "{parts:?}");
        }
    }

    #[test]
    fn ipv4_cuts_an_odd_middle_fragment_to_whole_units() {
        let mut fragments = Fragments::default();
        let mut whole = Vec::new();
        let first = fragment(0, true, b"0123456789");
        let last = fragment(8, false, b"ab");
        fragments.insert(key(false, 1), &first, SECOND, &mut whole);
        let result = fragments.insert(key(false, 1), &last, SECOND, &mut whole);
        assert_eq!(result, Inserted::Whole(IpNumber::UDP));
        assert_eq!(whole, b"01234567ab");
    }

    #[test]
    fn waits_no_longer_than_the_timeout() {
        let first = fragment(0, true, &[1; 8]);
        let last = fragment(8, false, &[2; 8]);
        let late = SECOND + FRAGMENT_TIMEOUT;
        let mut fragments = Fragments::default();
        let mut whole = Vec::new();
        fragments.insert(key(false, 1), &first, SECOND, &mut whole);
        // without a call of expire
        let result = fragments.insert(key(false, 1), &last, late, &mut whole);
        assert_eq!(result, Inserted::Kept);
        assert_eq!(fragments.counters().expired, 1);
        // and with one
        fragments.expire(late);
        assert_eq!(fragments.len(), 1);
        fragments.expire(late + FRAGMENT_TIMEOUT);
        assert_eq!((fragments.len(), fragments.memory()), (0, 0));
        assert_eq!(fragments.counters().expired, 2);
    }

    #[test]
    fn stays_within_its_bounds_and_evicts_the_eldest() {
        // (bytes a fragment, its offset): many small ones, then some of full length
        for (length, count) in [(8, 40_000), (32_000, 2_000)] {
            let bytes = vec![0; length];
            let mut fragments = Fragments::default();
            let mut whole = Vec::new();
            for identification in 0..count {
                let part = fragment(8, true, &bytes);
                let result =
                    fragments.insert(key(false, identification), &part, SECOND, &mut whole);
                assert_eq!(result, Inserted::Kept);
                assert!(fragments.memory() <= MAX_FRAGMENT_MEMORY);
                assert!(fragments.len() <= MAX_DATAGRAMS);
                assert_eq!(fragments.len(), fragments.order.len());
            }
            let evicted = fragments.counters().evicted;
            assert_eq!(evicted as usize + fragments.len(), count as usize);
            assert!(evicted > 0);
            assert!(!fragments.table.contains_key(&key(false, 0)));
            assert!(fragments.table.contains_key(&key(false, count - 1)));
        }
    }
}
