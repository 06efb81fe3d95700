//! Keyed hashing for tables whose keys attackers choose.
//!
//! The key is drawn when a set is built and kept in it, so that nobody who
//! writes a bundle can aim at one slot (hash flooding), and a set finds its
//! entries again wherever it is loaded.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// The secret of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashKey(pub [u64; 2]);

impl HashKey {
    /// SipHash-1-3 of a value.
    pub fn bytes(self, value: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.0[0], self.0[1]);
        hasher.write(value);
        hasher.finish()
    }

    /// A mix of a 32-bit value: two rounds of multiply and fold.
    pub fn number(self, value: u32) -> u64 {
        let folded = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        folded(
            folded(u64::from(value) ^ self.0[0], 0x9E37_79B9_7F4A_7C15 | 1),
            self.0[1] | 1,
        )
    }
}
