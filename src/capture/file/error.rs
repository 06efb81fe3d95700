//! What can be wrong with a recorded capture, and what to do about it.

use std::fmt;
use std::io;

use super::reader::MAX_FRAME;
use super::reader::MAX_RECORD;

/// Why a capture, or the rest of it, gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It could not be opened.
    #[error("{file}: cannot be opened: {source}")]
    Open {
        /// The capture.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// Reading it failed; frames before that place were delivered.
    #[error("{file}: cannot be read on from byte {offset}: {source}")]
    Read {
        /// The capture.
        file: String,
        /// Bytes of the file (compressed, where it is) read before.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// It has no bytes at all.
    #[error("{file}: is empty (0 bytes), so it is no capture; was it written to the end?")]
    Empty {
        /// The capture.
        file: String,
    },
    /// It is something else.
    #[error(
        "{file}: not a capture: {inside}starts with {start}; watchpost reads pcap and pcapng, \
         plain or compressed by gzip or zstd (`editcap -F pcapng` converts most other formats)"
    )]
    NotCapture {
        /// The file.
        file: String,
        /// Where the bytes were found, as the beginning of a clause; empty for a plain file.
        inside: &'static str,
        /// Its first bytes, in hexadecimal and as text.
        start: String,
    },
    /// It is a capture, but broken before its first frame.
    #[error("{0}")]
    Unusable(Warning),
    /// A folder in which nothing is a capture.
    #[error(
        "{folder}: no capture in this folder ({passed_over} files passed over); watchpost reads \
         pcap and pcapng, plain or compressed by gzip or zstd"
    )]
    NoCaptures {
        /// The folder.
        folder: String,
        /// Files that were looked at.
        passed_over: usize,
    },
    /// A folder with more files than are looked at.
    #[error("{folder}: more than {limit} files in this folder; name folders further down")]
    TooManyFiles {
        /// The folder.
        folder: String,
        /// How many files are looked at.
        limit: usize,
    },
    /// Standard input can be read only once.
    #[error("standard input is named twice as a capture; name `-` once")]
    StandardInputTwice,
}

/// Something to tell the user although the rest of the capture was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The capture.
    pub file: String,
    /// Offset of the record at fault from the start of the capture, in bytes;
    /// in the unpacked bytes where the file is compressed.
    pub offset: u64,
    /// Whether the file is compressed.
    pub compressed: bool,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unpacked = if self.compressed {
            " of the unpacked data"
        } else {
            ""
        };
        write!(
            f,
            "{}: at byte {}{unpacked}: {}; {}",
            self.file,
            self.offset,
            self.fault,
            self.fault.advice()
        )
    }
}

/// What is wrong at one place of a capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file header, or the first section's, ends early.
    #[error("the file header is cut short ({present} of {needed} bytes)")]
    HeaderCutShort {
        /// Bytes that the header has.
        needed: u64,
        /// Bytes that are there.
        present: u64,
    },
    /// The capture ends within a record.
    #[error("the last record is cut short ({present} of {needed} bytes)")]
    CutShort {
        /// Bytes that the record has, as far as can be told.
        needed: u64,
        /// Bytes that are there.
        present: u64,
    },
    /// A pcap record with a frame longer than any can be.
    #[error("a record claims {length} bytes, where a frame has at most {MAX_FRAME}")]
    FrameTooLong {
        /// The length claimed.
        length: u32,
    },
    /// A pcapng packet block with a frame longer than any can be.
    #[error("a packet of {length} bytes, where a frame has at most {MAX_FRAME}")]
    PacketTooLong {
        /// The length claimed.
        length: u32,
    },
    /// A pcapng block whose length cannot be.
    #[error("a block of type {kind:#010x} claims a length of {length} bytes, which cannot be")]
    BlockLength {
        /// The block's type.
        kind: u32,
        /// The length claimed.
        length: u32,
    },
    /// A pcapng block that would have to be held whole, and is too long for that.
    #[error("a block of type {kind:#010x} has {length} bytes, where at most {MAX_RECORD} are read")]
    BlockTooLong {
        /// The block's type.
        kind: u32,
        /// The length claimed.
        length: u32,
    },
    /// A pcapng block too short for its own fields, or for the frame that it claims.
    #[error("a block of type {kind:#010x} is too short for what it claims to hold")]
    BlockContent {
        /// The block's type.
        kind: u32,
    },
    /// A pcapng block whose two lengths differ.
    #[error("a block begins with a length of {leading} bytes and ends with {trailing}")]
    BlockLengthsDiffer {
        /// The length at its start.
        leading: u32,
        /// The length at its end.
        trailing: u32,
    },
    /// A pcapng section whose byte order cannot be told.
    #[error("a section begins with the byte-order magic {0:#010x}, which is none")]
    ByteOrderMagic(u32),
    /// A version of the format that is not known.
    #[error("{format} version {major}.{minor} is not known")]
    Version {
        /// The format's name.
        format: &'static str,
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A frame of an interface that its section did not describe.
    #[error("a frame names interface {interface}, where {described} are described")]
    UnknownInterface {
        /// The interface named.
        interface: u32,
        /// How many interfaces the section has described so far.
        described: usize,
    },
    /// More interfaces in one section than are followed.
    #[error("a section describes more than {limit} interfaces")]
    TooManyInterfaces {
        /// How many are followed.
        limit: usize,
    },
    /// The compressed data end early.
    #[error("the {format} data end early")]
    CompressedCutShort {
        /// The compression format's name.
        format: &'static str,
    },
    /// The compressed data cannot be unpacked on.
    #[error("the {format} data cannot be unpacked: {reason}")]
    Compression {
        /// The compression format's name.
        format: &'static str,
        /// What the decompressor said.
        reason: String,
    },
}

impl Fault {
    /// What was done about it, and what the user can do.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::HeaderCutShort { .. } => {
                "the capture holds no frame; was it copied or written to the end?"
            }
            Self::CutShort { .. } | Self::CompressedCutShort { .. } => {
                "what came before was used; was the capture copied or written to the end?"
            }
            Self::BlockLengthsDiffer { .. } => {
                "the first was believed and reading went on; was the capture copied whole?"
            }
            Self::UnknownInterface { .. }
            | Self::BlockContent { .. }
            | Self::PacketTooLong { .. } => {
                "the block was passed over and the rest was used; was the capture copied whole?"
            }
            Self::FrameTooLong { .. }
            | Self::BlockLength { .. }
            | Self::ByteOrderMagic(_)
            | Self::Compression { .. } => {
                "the file is damaged from here on and only what came before was used; copy it \
                 again from where it was captured"
            }
            Self::BlockTooLong { .. } | Self::TooManyInterfaces { .. } => {
                "only what came before was used; write it anew with `editcap -F pcap`"
            }
            Self::Version { .. } => {
                "only what came before was used; convert the file with `editcap -F pcapng`"
            }
        }
    }
}

/// Warnings of one capture, the first of them kept and the others counted.
pub(super) struct Warnings {
    file: String,
    pub(super) compressed: bool,
    kept: Vec<Warning>,
    left_out: u64,
}

impl Warnings {
    pub(super) const fn new(file: String) -> Self {
        Self {
            file,
            compressed: false,
            kept: Vec::new(),
            left_out: 0,
        }
    }

    pub(super) fn add(&mut self, offset: u64, fault: Fault) {
        if self.kept.len() < MAX_WARNINGS {
            let warning = self.warning(offset, fault);
            self.kept.push(warning);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Adds the one that ends the capture, whatever the number of those before.
    pub(super) fn add_last(&mut self, offset: u64, fault: Fault) {
        let warning = self.warning(offset, fault);
        self.kept.push(warning);
    }

    pub(super) fn warning(&self, offset: u64, fault: Fault) -> Warning {
        Warning {
            file: self.file.clone(),
            offset,
            compressed: self.compressed,
            fault,
        }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn kept(&self) -> &[Warning] {
        &self.kept
    }

    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }
}

/// Warnings kept of one capture, but for its last: more than a person reads, and a capture of nothing but
/// broken blocks must not fill the memory.
const MAX_WARNINGS: usize = 16;
