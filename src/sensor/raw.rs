//! A file that goes over a connection of its own, with no protocol around it.
//!
//! FTP sends files so (RFC 959 section 3.2). Which file it is was agreed upon in another flow,
//! which another worker may hold; the shape of this one is all there is to tell it by.

use crate::flow::Direction;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;

/// Longest file that is digested: what a FAT file system can hold, and more than programs and
/// documents have. What goes on for longer is a stream rather than a file.
const MAX_RAW_FILE: u64 = 4 << 30;

/// A file in transfer.
pub(super) struct RawTransfer {
    direction: Direction,
    size: u64,
    /// `None`: part of it was not seen, or it is too long.
    digester: Option<Digester>,
}

impl RawTransfer {
    pub(super) fn new(direction: Direction, wants: &Wants) -> Self {
        Self {
            direction,
            size: 0,
            digester: Some(Digester::new(wants)),
        }
    }

    /// Who sends it.
    pub(super) const fn direction(&self) -> Direction {
        self.direction
    }

    /// Takes in the bytes that follow.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > MAX_RAW_FILE {
            self.digester = None;
        }
        if let Some(digester) = &mut self.digester {
            digester.update(bytes);
        }
    }

    /// Passes over bytes that were not seen.
    pub(super) fn lose(&mut self, length: u64) {
        self.size = self.size.saturating_add(length);
        self.digester = None;
    }

    /// The whole file.
    pub(super) fn finish(self) -> File<'static> {
        let hashes = self.digester.map_or_else(Hashes::default, Digester::finish);
        File {
            direction: self.direction,
            name: None,
            size: self.size,
            mime_type: None,
            hashes,
        }
    }
}
