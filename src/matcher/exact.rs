//! Exact tables: a value in normal form to its postings.
//!
//! Two shapes. [`ByteTable`] holds values of any length: open-addressed slots
//! of (tag, term), terms of (where the value lies, posting), the values one
//! after the other. [`NumberTable`] holds IPv4 addresses: slots of (address,
//! posting). Both have a filter before them, compare the whole value before
//! they say yes, and are built once and read ever after.

use crate::matcher::bytes::put_u32s;
use crate::matcher::bytes::u32_at;
use crate::matcher::filter;
use crate::matcher::hash::HashKey;
use std::hint::black_box;

/// A posting that stands for none. No real posting has this value.
pub(crate) const NO_POSTING: u32 = u32::MAX;

/// Slots a key: 1.25, so that a search for an absent key that passed the filter looks at about three.
fn slots_for(keys: usize) -> usize {
    keys + keys / 4 + 1
}

/// Where the search for a hash begins.
#[inline]
fn slot_of(hash: u64, slots: usize) -> usize {
    (((hash >> 32) * slots as u64) >> 32) as usize
}

/// The sections of a table of byte strings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByteTable<'a> {
    pub(crate) filter: &'a [u8],
    pub(crate) slots: &'a [u8],
    pub(crate) terms: &'a [u8],
    pub(crate) values: &'a [u8],
}

/// A table of byte strings as written.
#[derive(Debug, Default)]
pub(crate) struct ByteTableSections {
    pub(crate) filter: Vec<u8>,
    pub(crate) slots: Vec<u8>,
    pub(crate) terms: Vec<u8>,
    pub(crate) values: Vec<u8>,
}

impl ByteTableSections {
    /// Builds the table of `(hash, value, posting)`; each value occurs once, together they are
    /// shorter than 4 GiB.
    pub(crate) fn build(entries: &[(u64, &[u8], u32)]) -> Self {
        let slots = slots_for(entries.len());
        let mut table: Vec<(u32, u32)> = vec![(0, NO_POSTING); slots];
        let mut terms = Vec::with_capacity(entries.len() * 8 + 4);
        let mut values = Vec::new();
        for (term, (hash, value, posting)) in entries.iter().enumerate() {
            let mut at = slot_of(*hash, slots);
            while table[at].1 != NO_POSTING {
                at = (at + 1) % slots;
            }
            table[at] = (*hash as u32, term as u32);
            put_u32s(&mut terms, [values.len() as u32, *posting]);
            values.extend_from_slice(value);
        }
        put_u32s(&mut terms, [values.len() as u32]);
        let mut bytes = Vec::with_capacity(slots * 8);
        put_u32s(
            &mut bytes,
            table.into_iter().flat_map(|(tag, term)| [tag, term]),
        );
        Self {
            filter: filter::build(entries.iter().map(|e| e.0)),
            slots: bytes,
            terms,
            values,
        }
    }
}

impl<'a> ByteTable<'a> {
    /// The posting of a value.
    #[inline]
    pub(crate) fn find(&self, hash: u64, value: &[u8]) -> Option<u32> {
        if !filter::may_hold(self.filter, hash) {
            return None;
        }
        self.search(hash, value)
    }

    fn search(&self, hash: u64, value: &[u8]) -> Option<u32> {
        let slots = self.slots.len() / 8;
        let mut at = slot_of(hash, slots);
        for _ in 0..slots {
            let term = u32_at(self.slots, 2 * at + 1);
            if term == NO_POSTING {
                return None;
            }
            if u32_at(self.slots, 2 * at) == hash as u32 && self.value(term as usize) == Some(value)
            {
                return Some(u32_at(self.terms, 2 * term as usize + 1));
            }
            at = (at + 1) % slots;
        }
        None
    }

    fn value(&self, term: usize) -> Option<&'a [u8]> {
        let start = u32_at(self.terms, 2 * term) as usize;
        let end = u32_at(self.terms, 2 * term + 2) as usize;
        self.values.get(start..end)
    }
}

/// The sections of a table of IPv4 addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberTable<'a> {
    pub(crate) filter: &'a [u8],
    pub(crate) slots: &'a [u8],
}

/// A table of IPv4 addresses as written: its filter and its slots.
pub(crate) fn build_numbers(key: HashKey, entries: &[(u32, u32)]) -> (Vec<u8>, Vec<u8>) {
    let slots = slots_for(entries.len());
    let mut table: Vec<(u32, u32)> = vec![(0, NO_POSTING); slots];
    for (number, posting) in entries {
        let mut at = slot_of(key.number(*number), slots);
        while table[at].1 != NO_POSTING {
            at = (at + 1) % slots;
        }
        table[at] = (*number, *posting);
    }
    let mut bytes = Vec::with_capacity(slots * 8);
    put_u32s(
        &mut bytes,
        table
            .into_iter()
            .flat_map(|(number, posting)| [number, posting]),
    );
    (
        filter::build(entries.iter().map(|e| key.number(e.0))),
        bytes,
    )
}

impl NumberTable<'_> {
    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        (0..self.slots.len() / 8).all(|at| u32_at(self.slots, 2 * at + 1) == NO_POSTING)
    }

    /// Brings what a look-up of an address reads first into the cache.
    #[inline]
    pub(crate) fn touch(&self, key: HashKey, number: u32) {
        black_box(filter::may_hold(self.filter, key.number(number)));
    }

    /// The posting of an address.
    #[inline]
    pub(crate) fn find(&self, key: HashKey, number: u32) -> Option<u32> {
        let hash = key.number(number);
        if !filter::may_hold(self.filter, hash) {
            return None;
        }
        let slots = self.slots.len() / 8;
        let mut at = slot_of(hash, slots);
        for _ in 0..slots {
            let posting = u32_at(self.slots, 2 * at + 1);
            if posting == NO_POSTING {
                return None;
            }
            if u32_at(self.slots, 2 * at) == number {
                return Some(posting);
            }
            at = (at + 1) % slots;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: HashKey = HashKey([3, 4]);

    #[test]
    fn byte_strings_are_found_and_no_others() {
        for count in [0_usize, 1, 2, 1_000] {
            let values: Vec<String> = (0..count).map(|n| format!("name-{n}.example")).collect();
            let entries: Vec<_> = values
                .iter()
                .enumerate()
                .map(|(n, v)| (KEY.bytes(v.as_bytes()), v.as_bytes(), n as u32))
                .collect();
            let built = ByteTableSections::build(&entries);
            let table = ByteTable {
                filter: &built.filter,
                slots: &built.slots,
                terms: &built.terms,
                values: &built.values,
            };
            let find = |v: &str| table.find(KEY.bytes(v.as_bytes()), v.as_bytes());
            for (n, value) in values.iter().enumerate() {
                assert_eq!(find(value), Some(n as u32));
                assert_eq!(find(&format!("{value}x")), None);
            }
            assert_eq!(find(""), None);
            // a hash alone is never enough
            if let Some((hash, _, _)) = entries.first() {
                assert_eq!(table.find(*hash, b"another value"), None);
            }
        }
    }

    #[test]
    fn numbers_are_found_and_no_others() {
        for count in [0_u32, 1, 5, 10_000] {
            let entries: Vec<_> = (0..count)
                .map(|n| (n.wrapping_mul(0x0100_0193), n))
                .collect();
            let (filter, slots) = build_numbers(KEY, &entries);
            let table = NumberTable {
                filter: &filter,
                slots: &slots,
            };
            for (number, posting) in &entries {
                assert_eq!(table.find(KEY, *number), Some(*posting));
            }
            let all: std::collections::HashSet<_> = entries.iter().map(|e| e.0).collect();
            for n in 0..20_000_u32 {
                let other = n.wrapping_mul(0x9E37_79B9);
                assert_eq!(table.find(KEY, other).is_some(), all.contains(&other));
            }
        }
    }

    #[test]
    fn damaged_tables_neither_panic_nor_loop() {
        let entries = [
            (KEY.bytes(b"a"), &b"a"[..], 0),
            (KEY.bytes(b"b"), &b"b"[..], 1),
        ];
        let built = ByteTableSections::build(&entries);
        for cut in 0..built.slots.len() {
            let table = ByteTable {
                filter: &[0xFF; 8],
                slots: &built.slots[..cut],
                terms: &built.terms[..cut.min(built.terms.len())],
                values: &built.values[..cut % 2],
            };
            table.find(KEY.bytes(b"a"), b"a");
        }
        let full = NumberTable {
            filter: &[0xFF; 8],
            slots: &[7; 64],
        };
        assert_eq!(full.find(KEY, 1), None);
        let empty = NumberTable {
            filter: &[],
            slots: &[],
        };
        assert_eq!(empty.find(KEY, 1), None);
    }
}
