//! The bytes of a capture, unpacked, as many at a time as are asked for.

use std::io;
use std::io::Read;

use super::compressed::Decompressor;
use super::error::Fault;

/// Why a source gave fewer bytes than were asked for.
pub(super) enum Stop {
    /// There are no more.
    End,
    /// What follows cannot be unpacked.
    Fault(Fault),
    /// The system could not read.
    Failed(io::Error),
}

/// The unpacked bytes of a file.
pub(super) enum Source {
    Plain(Raw),
    Compressed(Box<Compressed>),
}

impl Source {
    /// Tells by its first bytes whether the file is compressed.
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Result<Self, Stop> {
        let mut raw = Raw {
            reader,
            head: [0; HEAD],
            head_at: 0,
            head_end: 0,
            read: 0,
        };
        let mut head = [0; HEAD];
        let (count, stop) = raw.fill(&mut head);
        if let Some(stop @ Stop::Failed(_)) = stop {
            return Err(stop);
        }
        raw.head = head;
        raw.head_end = count;
        Ok(match Decompressor::detect(&head)? {
            Some(decompressor) => Self::Compressed(Box::new(Compressed {
                raw,
                decompressor,
                input: vec![0; INPUT_SIZE],
                at: 0,
                end: 0,
                stop: None,
            })),
            None => Self::Plain(raw),
        })
    }

    /// Fills `out` as far as there are bytes: short reads are gathered, so that the
    /// outcome does not depend on how the bytes arrive.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> (usize, Option<Stop>) {
        match self {
            Self::Plain(raw) => raw.fill(out),
            Self::Compressed(compressed) => compressed.fill(out),
        }
    }

    /// The compression format's name; `None` for a plain file.
    pub(super) fn compression(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) => None,
            Self::Compressed(compressed) => Some(compressed.decompressor.name()),
        }
    }

    /// Bytes of the file read so far, compressed where it is.
    pub(super) fn read(&self) -> u64 {
        match self {
            Self::Plain(raw) => raw.read,
            Self::Compressed(compressed) => compressed.raw.read,
        }
    }
}

/// The bytes of a file as they are.
pub(super) struct Raw {
    reader: Box<dyn Read + Send>,
    /// The first bytes, read to tell the format and given out again.
    head: [u8; HEAD],
    head_at: usize,
    head_end: usize,
    read: u64,
}

impl Raw {
    fn fill(&mut self, out: &mut [u8]) -> (usize, Option<Stop>) {
        let mut filled = 0;
        if let Some(head) = self.head.get(self.head_at..self.head_end) {
            filled = head.len().min(out.len());
            for (to, from) in out.iter_mut().zip(head) {
                *to = *from;
            }
            self.head_at += filled;
        }
        while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.reader.read(room) {
                Ok(0) => return (filled, Some(Stop::End)),
                Ok(count) => {
                    // a reader that claims more than there was room for is wrong, not trusted
                    let count = count.min(room.len());
                    filled += count;
                    self.read = self.read.saturating_add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (filled, Some(Stop::Failed(error))),
            }
        }
        (filled, None)
    }
}

/// A compressed file and its unpacking.
pub(super) struct Compressed {
    raw: Raw,
    decompressor: Decompressor,
    input: Vec<u8>,
    /// What is not yet unpacked: `input[at..end]`; `at <= end <= input.len()`.
    at: usize,
    end: usize,
    /// Why nothing follows behind `end`.
    stop: Option<Stop>,
}

impl Compressed {
    fn fill(&mut self, out: &mut [u8]) -> (usize, Option<Stop>) {
        let mut filled = 0;
        while let Some(room) = out.get_mut(filled..).filter(|room| !room.is_empty()) {
            if self.at == self.end && self.stop.is_none() {
                // always whole chunks, for a broken file to give the same from a pipe
                let (count, stop) = self.raw.fill(&mut self.input);
                (self.at, self.end, self.stop) = (0, count, stop);
            }
            let input = self.input.get(self.at..self.end).unwrap_or_default();
            let step = self.decompressor.step(input, room);
            self.at += step.read;
            filled += step.written;
            if let Err(fault) = step.outcome {
                return (filled, Some(Stop::Fault(fault)));
            }
            if step.read == 0 && step.written == 0 && (self.at < self.end || self.stop.is_some()) {
                return (filled, Some(self.ended()));
            }
        }
        (filled, None)
    }

    /// Why the decompressor has nothing more to give.
    fn ended(&mut self) -> Stop {
        let format = self.decompressor.name();
        if self.at < self.end {
            let reason = "no progress".to_owned();
            return Stop::Fault(Fault::Compression { format, reason });
        }
        match self.stop.take() {
            Some(Stop::End) | None if self.decompressor.is_between() => Stop::End,
            Some(Stop::End) | None => Stop::Fault(Fault::CompressedCutShort { format }),
            Some(other) => other,
        }
    }
}

/// Bytes that tell compressed files from plain ones.
const HEAD: usize = 4;

/// Compressed bytes read at a time: unpacked they are about one block.
const INPUT_SIZE: usize = 64 * 1024;
