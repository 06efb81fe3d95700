//! Where frames come from: the edge that reads.
//!
//! Recorded captures are read in large blocks into buffers that the caller
//! hands back; a frame is a slice of its block and is never copied. Where one
//! block ends and the next begins depends on the bytes of the capture alone,
//! never on how they arrived: a file, the same file compressed and the same
//! bytes through a pipe give the same blocks.

mod file;
#[cfg(test)]
pub(crate) mod fuzz;
pub mod live;

pub use file::BLOCK_SIZE;
pub use file::CaptureError;
pub use file::CaptureReader;
pub use file::ExpandedInputs;
pub use file::Fault;
pub use file::MAX_FRAME;
pub use file::PassedOver;
pub use file::Progress;
pub use file::Warning;
pub use file::expand_inputs;

use std::fmt;
use std::path::PathBuf;

use crate::time::Timestamp;

/// A block of a capture: bytes as they were read, and where the frames lie in them.
///
/// Reusable: a source overwrites both vectors and keeps their memory.
#[derive(Debug, Default)]
pub struct Block {
    /// What was read; the bytes behind the last frame mean nothing.
    pub bytes: Vec<u8>,
    /// The frames in the order of the capture, none overlapping another.
    pub frames: Vec<FrameRecord>,
}

impl Block {
    /// The bytes of one of this block's frames; empty for a record of another block
    /// that does not fit into this one.
    pub fn frame(&self, record: &FrameRecord) -> &[u8] {
        let start = record.start as usize;
        start
            .checked_add(record.length as usize)
            .and_then(|end| self.bytes.get(start..end))
            .unwrap_or_default()
    }
}

/// One frame of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameRecord {
    /// When it was captured. Where the capture does not say (pcapng Simple Packet
    /// Blocks), that of the frame before it.
    pub timestamp: Timestamp,
    /// Offset of its first byte in the block.
    pub start: u32,
    /// Bytes captured; `start + length <= bytes.len()` of the block.
    pub length: u32,
    /// Bytes at the link; `>= length`.
    pub original_length: u32,
    /// The `LINKTYPE_` of the interface.
    pub link: u16,
    /// The interface: its index in the section of a pcapng file, otherwise 0.
    pub interface: u16,
}

/// A recorded capture to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file, or what behaves as one (a named pipe).
    Path(PathBuf),
    /// Standard input.
    StandardInput,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::StandardInput => f.write_str("standard input"),
        }
    }
}
