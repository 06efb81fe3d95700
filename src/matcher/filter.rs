//! A Bloom filter of one word a key: says "not there" from the cache.
//!
//! Most traffic meets no indicator. One look at a table that stays in the
//! second-level cache spares the miss in the big one, so that a million
//! indicators cost little more than a thousand.

use crate::matcher::bytes::u64_at;

/// Filter bits that a key is given. With [`BITS_SET`] bits in one word about one absent key in
/// seventy passes; 16 bits would halve that and leave the second-level cache at 400 k keys.
const BITS_PER_KEY: usize = 12;

/// Bits that a key sets in its word.
const BITS_SET: u32 = 4;

/// Builds the filter of some hashes, as 64-bit words.
pub(crate) fn build(hashes: impl ExactSizeIterator<Item = u64>) -> Vec<u8> {
    let words = (hashes.len() * BITS_PER_KEY).div_ceil(64).max(1);
    let mut filter = vec![0_u64; words];
    for hash in hashes {
        filter[word_of(hash, words)] |= mask_of(hash);
    }
    filter.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Whether a key with this hash may be there.
#[inline]
pub(crate) fn may_hold(filter: &[u8], hash: u64) -> bool {
    let mask = mask_of(hash);
    u64_at(filter, word_of(hash, filter.len() / 8)) & mask == mask
}

/// Upper half of the hash, spread over the words.
#[inline]
fn word_of(hash: u64, words: usize) -> usize {
    (((hash >> 32) * words as u64) >> 32) as usize
}

/// Lower bits of the hash, six for each bit set.
#[inline]
fn mask_of(hash: u64) -> u64 {
    (0..BITS_SET).fold(0, |mask, i| mask | 1 << ((hash >> (6 * i)) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::hash::HashKey;

    #[test]
    fn holds_what_was_put_in_and_little_else() {
        let key = HashKey([1, 2]);
        for count in [0_u32, 1, 10, 10_000] {
            let filter = build((0..count).map(|n| key.number(n)));
            assert!((0..count).all(|n| may_hold(&filter, key.number(n))));
            let strangers = (count..count + 10_000)
                .filter(|&n| may_hold(&filter, key.number(n)))
                .count();
            assert!(
                strangers < 400,
                "{strangers} of 10000 strangers pass a filter of {count}"
            );
        }
    }
}
