//! The content of one file going one way: put in order, measured and digested.

use crate::flow::Direction;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;
use std::collections::BTreeMap;

/// Bytes that the files of one connection may hold back together while something before them is
/// outstanding: two of the reads of 1 MiB that hosts send ahead of one another.
pub(super) const MAX_HELD: usize = 2 << 20;

/// Runs of bytes that one file may hold back: hosts have fewer reads outstanding.
const MAX_RUNS: usize = 64;

/// What a run costs beside its bytes: its place in the tree, and the allocator's own.
const RUN_OVERHEAD: usize = 64;

/// What happens when bytes come twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeats {
    /// A file is read again: the same bytes.
    AreTheSame,
    /// A file is written over: what was digested is not what stays.
    Replace,
}

/// Content of one file, going one way.
#[derive(Debug)]
pub(super) struct Transfer {
    repeats: Repeats,
    /// `None`: nothing came yet.
    direction: Option<Direction>,
    digester: Option<Box<Digester>>,
    /// All before this offset was taken in.
    next: u64,
    /// The end of what lies farthest ahead.
    reach: u64,
    /// What came early, by offset.
    runs: BTreeMap<u64, Vec<u8>>,
    /// There will be no digest.
    broken: bool,
    /// The file was handed on.
    told: bool,
}

impl Transfer {
    pub(super) const fn new(repeats: Repeats) -> Self {
        Self {
            repeats,
            direction: None,
            digester: None,
            next: 0,
            reach: 0,
            runs: BTreeMap::new(),
            broken: false,
            told: false,
        }
    }

    /// The end of what lies farthest ahead.
    pub(super) const fn reach(&self) -> u64 {
        self.reach
    }

    /// Whether all of a file of this length was taken in.
    pub(super) const fn is_whole(&self, length: u64) -> bool {
        !self.broken && self.next == length && self.reach <= length
    }

    /// Bytes that are held back, with what their runs cost.
    pub(super) fn held(&self) -> usize {
        self.runs.values().map(|run| run.len() + RUN_OVERHEAD).sum()
    }

    /// Takes in content. `held`: what all files of the connection hold back.
    pub(super) fn take(
        &mut self,
        direction: Direction,
        offset: u64,
        bytes: &[u8],
        wants: &Wants,
        held: &mut usize,
    ) {
        if self.told || bytes.is_empty() {
            return;
        }
        self.direction = Some(direction);
        let Some(end) = offset.checked_add(bytes.len() as u64) else {
            return self.give_up(held);
        };
        self.reach = self.reach.max(end);
        if self.broken || !wants.any_hash() {
            // lengths are all that is asked for
            self.next = if offset <= self.next {
                self.next.max(end)
            } else {
                self.next
            };
            return;
        }
        if offset > self.next {
            self.hold(offset, bytes, held);
            return;
        }
        self.digest(offset, bytes, wants);
        while let Some(run) = self
            .runs
            .first_entry()
            .filter(|run| *run.key() <= self.next)
        {
            let (offset, bytes) = run.remove_entry();
            *held = held.saturating_sub(bytes.len() + RUN_OVERHEAD);
            self.digest(offset, &bytes, wants);
        }
        if self.broken {
            self.give_up(held);
        }
    }

    /// Some of the content was not seen, or is of no use.
    pub(super) fn give_up(&mut self, held: &mut usize) {
        self.broken = true;
        self.digester = None;
        self.release(held);
    }

    /// Hands the file on, once; `end` is its length, as far as known.
    pub(super) fn finish(
        &mut self,
        name: Option<&str>,
        end: Option<u64>,
        held: &mut usize,
        sink: &mut Sink<'_>,
    ) {
        self.release(held);
        let Some(direction) = self.direction else {
            return;
        };
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let size = end.unwrap_or(0).max(self.reach);
        let digester = self.digester.take().filter(|_| self.is_whole(size));
        let hashes = digester.map_or_else(Hashes::default, |digester| digester.finish());
        sink(Message::File(File {
            direction,
            name,
            size,
            mime_type: None,
            hashes,
        }));
    }

    /// Takes in content that begins at the next offset, or before it.
    fn digest(&mut self, offset: u64, bytes: &[u8], wants: &Wants) {
        let known = self.next.saturating_sub(offset);
        if known > 0 && self.repeats == Repeats::Replace {
            self.broken = true;
            return;
        }
        let fresh = usize::try_from(known)
            .ok()
            .and_then(|known| bytes.get(known..));
        let fresh = fresh.unwrap_or_default();
        self.digester
            .get_or_insert_with(|| Box::new(Digester::new(wants)))
            .update(fresh);
        self.next = self.next.saturating_add(fresh.len() as u64);
    }

    /// Keeps content that came early, less what came before.
    fn hold(&mut self, mut offset: u64, mut bytes: &[u8], held: &mut usize) {
        while !bytes.is_empty() {
            let before = self.runs.range(..=offset).next_back();
            let before =
                before.map(|(start, run)| (*start, start.saturating_add(run.len() as u64)));
            let after = self.runs.range(offset..).next().map(|(start, _)| *start);
            let (part, known) = match (before, after) {
                (Some((_, end)), _) if end > offset => (end - offset, true),
                (_, Some(start)) => (start - offset, false),
                _ => (u64::MAX, false),
            };
            let part = usize::try_from(part).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at(part);
            if known {
                if self.repeats == Repeats::Replace {
                    return self.give_up(held);
                }
            } else {
                let start = before
                    .filter(|(_, end)| *end == offset)
                    .map(|(start, _)| start);
                let full = start.is_none() && self.runs.len() >= MAX_RUNS;
                let overhead = if start.is_none() { RUN_OVERHEAD } else { 0 };
                if full || held.saturating_add(part.len() + overhead) > MAX_HELD {
                    return self.give_up(held);
                }
                *held += part.len() + overhead;
                self.runs
                    .entry(start.unwrap_or(offset))
                    .or_default()
                    .extend_from_slice(part);
            }
            offset = offset.saturating_add(part.len() as u64);
            bytes = rest;
        }
    }

    fn release(&mut self, held: &mut usize) {
        *held = held.saturating_sub(self.held());
        self.runs.clear();
    }
}
