//! The tables and sections of a set, laid out.

use crate::matcher::exact::ByteTableSections;
use crate::matcher::join::PART_FLAG;
use crate::matcher::prefix::PrefixTableSections;
use crate::matcher::program::ProgramText;
use crate::matcher::set::HEADER_LENGTH;
use crate::matcher::set::Header;
use crate::matcher::set::Posting;
use crate::matcher::set::SECTIONS;

/// An indicator, or a part of one, as the records of a set say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) attributes: u32,
    /// Where its explanation begins, or which part of a pattern it is.
    pub(crate) word: u64,
    pub(crate) source: u32,
    pub(crate) alive: bool,
    /// How many of the records after it are its parts.
    pub(crate) parts: u32,
}

impl Record {
    pub(crate) const fn is_indicator(&self) -> bool {
        self.alive && self.word & PART_FLAG == 0
    }
}

/// Values of one kind, before they are laid out.
#[derive(Debug, Default)]
pub(crate) struct TermTable {
    /// Hash, place among the values, length, posting.
    pub(crate) terms: Vec<(u64, u32, u32, u32)>,
    pub(crate) values: Vec<u8>,
}

/// Which postings still count.
pub(crate) struct Alive<'a> {
    pub(crate) records: &'a [Record],
    pub(crate) programs: &'a [ProgramText],
}

impl Alive<'_> {
    pub(crate) fn ordinal(&self, ordinal: u32) -> bool {
        self.records.get(ordinal as usize).is_some_and(|r| r.alive)
    }

    pub(crate) fn holds(&self, packed: u32) -> bool {
        match Posting::unpack(packed) {
            Posting::Indicator { ordinal, .. } => self.ordinal(ordinal),
            Posting::Program(n) => self
                .programs
                .get(n as usize)
                .is_some_and(|p| self.ordinal(p.ordinal)),
        }
    }
}

/// Postings of values that several indicators share.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) words: Vec<u32>,
    /// Postings that found no place.
    pub(crate) crowded_out: u64,
}

/// Indicators that one value is reported for: a hundred partners name the same address, a
/// thousand do not, and each costs a line of output for each match.
const MAX_SHARED: usize = 1_024;

impl Lists {
    pub(crate) fn posting(&mut self, postings: impl Iterator<Item = u32>) -> u32 {
        let start = self.words.len();
        self.words.push(0);
        self.words.extend(postings);
        let list = &mut self.words[start + 1..];
        list.sort_unstable();
        let mut unique = list.to_vec();
        unique.dedup();
        // the lowest ordinals stay: those that were loaded first
        self.crowded_out += unique.len().saturating_sub(MAX_SHARED) as u64;
        unique.truncate(MAX_SHARED);
        if let [only] = unique[..] {
            self.words.truncate(start);
            return only;
        }
        self.words.truncate(start);
        self.words.push(unique.len() as u32);
        self.words.extend(unique);
        Posting::pack_list(start as u32)
    }
}

impl TermTable {
    pub(crate) fn lay_out(mut self, alive: &Alive<'_>, lists: &mut Lists) -> ByteTableSections {
        self.terms
            .retain(|(_, _, _, posting)| alive.holds(*posting));
        let values = &self.values;
        let value = |start: u32, length: u32| -> &[u8] {
            values
                .get(start as usize..start as usize + length as usize)
                .unwrap_or_default()
        };
        self.terms.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| value(a.1, a.2).cmp(value(b.1, b.2)))
                .then(a.3.cmp(&b.3))
        });
        let entries: Vec<(u64, &[u8], u32)> = self
            .terms
            .chunk_by(|a, b| a.0 == b.0 && value(a.1, a.2) == value(b.1, b.2))
            .map(|same| {
                let (hash, start, length, posting) = same[0];
                let posting = match same {
                    [_] => posting,
                    _ => lists.posting(same.iter().map(|t| t.3)),
                };
                (hash, value(start, length), posting)
            })
            .collect();
        if entries.is_empty() {
            ByteTableSections::default()
        } else {
            ByteTableSections::build(&entries)
        }
    }
}

/// The networks of one address family.
pub(crate) fn lay_out_networks(
    bits: u32,
    mut networks: Vec<(u128, u8, u32)>,
    alive: &Alive<'_>,
    lists: &mut Lists,
) -> PrefixTableSections {
    networks.retain(|(_, _, posting)| alive.holds(*posting));
    networks.sort_unstable();
    let unique: Vec<_> = networks
        .chunk_by(|a, b| (a.0, a.1) == (b.0, b.1))
        .map(|same| {
            (
                same[0].0,
                same[0].1,
                lists.posting(same.iter().map(|n| n.2)),
            )
        })
        .collect();
    if unique.is_empty() {
        PrefixTableSections::default()
    } else {
        PrefixTableSections::build(bits, &unique)
    }
}

/// The match part: header, directory, sections.
pub(crate) fn assemble(mut header: Header, sections: &[Vec<u8>]) -> Vec<u8> {
    let aligned = |n: usize| n.next_multiple_of(8);
    let directory_end = HEADER_LENGTH + SECTIONS * 16;
    let total = sections
        .iter()
        .fold(directory_end, |at, s| at + aligned(s.len()));
    let mut out = Vec::with_capacity(total);
    out.resize(HEADER_LENGTH, 0);
    let mut at = directory_end;
    for section in sections {
        out.extend((at as u64).to_le_bytes());
        out.extend((section.len() as u64).to_le_bytes());
        at += aligned(section.len());
    }
    for section in sections {
        out.extend_from_slice(section);
        out.resize(aligned(out.len()), 0);
    }
    header.match_length = out.len() as u64;
    out[..HEADER_LENGTH].copy_from_slice(&header.write());
    header.checksum = crc32fast::hash(&out[Header::CHECKED_FROM..]);
    out[..HEADER_LENGTH].copy_from_slice(&header.write());
    out
}
