//! Recorded captures: pcap and pcapng, plain or compressed, in large blocks.
//!
//! [`CaptureReader`] fills a block from a source (`source`, with the
//! decompressors of `compressed`) and has the format (`pcap`, `pcapng`) walk
//! its records; a record that the block cuts in two is carried over to the
//! next. `inputs` turns what a user named into a list of files.

mod compressed;
mod error;
mod inputs;
mod pcap;
mod pcapng;
mod reader;
mod source;

#[cfg(test)]
mod tests;

pub use error::CaptureError;
pub use error::Fault;
pub use error::Warning;
pub use inputs::ExpandedInputs;
pub use inputs::PassedOver;
pub use inputs::expand_inputs;
pub use reader::BLOCK_SIZE;
pub use reader::CaptureReader;
pub use reader::MAX_FRAME;
pub use reader::Progress;

/// The byte order that a file was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }

    fn u64(self, bytes: [u8; 8]) -> u64 {
        match self {
            Self::Little => u64::from_le_bytes(bytes),
            Self::Big => u64::from_be_bytes(bytes),
        }
    }
}

/// How far a format came in the bytes of a block.
struct Walk {
    /// Bytes of whole records; never more than there were.
    consumed: usize,
    next: Next,
}

/// Why a walk stopped behind the bytes that it consumed.
enum Next {
    /// The next record needs this many bytes, more than are left
    /// (`<= reader::MAX_RECORD`).
    More(usize),
    /// This many bytes are of no interest, more than are left.
    Skip(u64),
    /// Records cannot be told any more.
    Fault(Fault),
}
