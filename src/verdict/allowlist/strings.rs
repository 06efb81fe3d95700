//! A set of strings in one block of memory: lists of a million entries are
//! ordinary, and a million small allocations are not.

use hashbrown::HashTable;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::ops::Range;

/// A set of strings; keyed, so that a list made by an enemy costs no more than another.
#[derive(Default)]
pub(super) struct Strings {
    /// All members, one after another.
    text: String,
    /// Where each member lies in `text`.
    table: HashTable<Range<u32>>,
    hasher: RandomState,
}

impl Strings {
    /// Adds a string; false where the set holds 4 GiB already.
    pub(super) fn insert(&mut self, member: &str) -> bool {
        let (text, hasher) = (&self.text, &self.hasher);
        let hash = hasher.hash_one(member);
        if self
            .table
            .find(hash, |at| slice(text, at) == member)
            .is_some()
        {
            return true;
        }
        let (Ok(start), Ok(end)) = (
            u32::try_from(text.len()),
            u32::try_from(text.len().saturating_add(member.len())),
        ) else {
            return false;
        };
        self.text.push_str(member);
        let (text, hasher) = (&self.text, &self.hasher);
        self.table
            .insert_unique(hash, start..end, |at| hasher.hash_one(slice(text, at)));
        true
    }

    /// Whether the string is a member.
    pub(super) fn contains(&self, member: &str) -> bool {
        !self.table.is_empty()
            && self
                .table
                .find(self.hasher.hash_one(member), |at| {
                    slice(&self.text, at) == member
                })
                .is_some()
    }

    /// Number of members.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// A member; every range of the table lies within the text.
fn slice<'a>(text: &'a str, at: &Range<u32>) -> &'a str {
    text.get(at.start as usize..at.end as usize)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_inserted_and_nothing_else() {
        let mut set = Strings::default();
        assert!(!set.contains(""));
        for n in 0..5000 {
            assert!(set.insert(&format!("member {}", n % 2500)));
        }
        assert_eq!(set.len(), 2500);
        for n in 0..2500 {
            assert!(set.contains(&format!("member {n}")));
        }
        assert!(!set.contains("member 2500"));
        assert!(!set.contains("member"));
        assert!(!set.contains("member 1member 2"));
    }
}
