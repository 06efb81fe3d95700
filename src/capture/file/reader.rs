//! Captures in blocks: what the buffer cuts in two is carried to the next.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::io::Read;
use std::mem;
use std::os::fd::AsFd;

use crate::capture::Block;
use crate::capture::FrameRecord;
use crate::capture::Input;

use super::Next;
use super::Walk;
use super::error::CaptureError;
use super::error::Fault;
use super::error::Warning;
use super::error::Warnings;
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::source::Source;
use super::source::Stop;

/// Reads a recorded capture, whatever its format and compression.
///
/// Where faults left no frame at all, that is an error, since the capture gave nothing;
/// otherwise they are warnings, and the frames before (and, where possible, behind) them
/// are delivered.
pub struct CaptureReader {
    source: Source,
    format: Format,
    state: State,
    /// The beginning of the record that the last block cut in two.
    carry: Vec<u8>,
    /// Bytes of the (unpacked) capture before those in `carry`.
    offset: u64,
    /// Length of the record at `offset` if nobody wants it, otherwise 0; then `carry` is
    /// empty.
    skip: u64,
    /// Bytes of that record already passed over; `<= skip`.
    skipped: u64,
    delivered: bool,
    warnings: Warnings,
    total: Option<u64>,
}

impl CaptureReader {
    /// Opens a capture and reads the header that tells its format. On a pipe this waits
    /// for the header to arrive.
    pub fn open(input: Input) -> Result<Self, CaptureError> {
        let name = input.to_string();
        let file = match &input {
            Input::Path(path) => File::open(path),
            // a descriptor of our own, without the buffer that `Stdin` puts in between
            Input::StandardInput => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        };
        let file = file.map_err(|source| CaptureError::Open {
            file: name.clone(),
            source,
        })?;
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file());
        let total = metadata.map(|metadata| metadata.len());
        Self::start(name, Box::new(file), total)
    }

    /// Reads a capture from anywhere; `name` stands for the file in messages.
    pub fn from_reader(
        name: String,
        reader: impl Read + Send + 'static,
    ) -> Result<Self, CaptureError> {
        Self::start(name, Box::new(reader), None)
    }

    fn start(
        name: String,
        reader: Box<dyn Read + Send>,
        total: Option<u64>,
    ) -> Result<Self, CaptureError> {
        let mut warnings = Warnings::new(name);
        let mut source = match Source::new(reader) {
            Ok(source) => source,
            Err(stop) => return Err(refuse_start(&warnings, 0, &[], None, Some(stop))),
        };
        warnings.compressed = source.compression().is_some();
        let mut head = [0; Pcap::HEADER];
        let (count, stop) = source.fill(&mut head);
        let (format, carry) = match Pcap::new(&head) {
            Some(Ok(pcap)) if stop.is_none() => (Format::Pcap(pcap), Vec::new()),
            Some(Err(fault)) if stop.is_none() => {
                return Err(CaptureError::Unusable(warnings.warning(0, fault)));
            }
            None if stop.is_none() && Pcapng::is_start(&head) => {
                (Format::Pcapng(Pcapng::new()), head.to_vec())
            }
            _ => {
                let head = head.get(..count).unwrap_or_default();
                let compression = source.compression();
                let read = source.read();
                return Err(refuse_start(&warnings, read, head, compression, stop));
            }
        };
        Ok(Self {
            source,
            offset: (Pcap::HEADER - carry.len()) as u64,
            format,
            state: State::Reading,
            carry,
            skip: 0,
            skipped: 0,
            delivered: false,
            warnings,
            total,
        })
    }

    /// Refills `block` with the next frames, at least one; `false` at the end.
    ///
    /// After an error the capture is at its end.
    pub fn next_block(&mut self, block: &mut Block) -> Result<bool, CaptureError> {
        block.frames.clear();
        while block.frames.is_empty() {
            match mem::replace(&mut self.state, State::Ended) {
                State::Reading => self.state = self.read_block(block),
                State::Failed(error) => return Err(error),
                State::Ended => return Ok(false),
            }
        }
        self.delivered = true;
        Ok(true)
    }

    fn read_block(&mut self, block: &mut Block) -> State {
        if block.bytes.len() < BLOCK_SIZE {
            block.bytes.resize(BLOCK_SIZE, 0);
        }
        if let Some(state) = self.pass_over(&mut block.bytes) {
            return state;
        }
        let mut target = BLOCK_SIZE;
        let mut filled = self.carry.len();
        if let Some(start) = block.bytes.get_mut(..filled) {
            start.copy_from_slice(&self.carry);
        }
        self.carry.clear();
        loop {
            if block.bytes.len() < target {
                block.bytes.resize(target, 0);
            }
            let room = block.bytes.get_mut(filled..target).unwrap_or_default();
            let (count, stop) = self.source.fill(room);
            filled += count;
            let bytes = block.bytes.get(..filled).unwrap_or_default();
            let walk = self
                .format
                .walk(bytes, self.offset, &mut block.frames, &mut self.warnings);
            match (walk.next, stop) {
                // a single record longer than a block
                (Next::More(needed), None) if walk.consumed == 0 && needed > target => {
                    target = needed;
                }
                (next, stop) => {
                    let rest = bytes.get(walk.consumed..).unwrap_or_default();
                    self.offset += walk.consumed as u64;
                    return self.finish_block(rest, next, stop, block.frames.is_empty());
                }
            }
        }
    }

    /// Settles what becomes of the bytes behind the last frame of a block.
    fn finish_block(&mut self, rest: &[u8], next: Next, stop: Option<Stop>, empty: bool) -> State {
        let present = rest.len() as u64;
        let (needed, stop) = match (next, stop) {
            (Next::Fault(fault), _) => return self.end_early(self.offset, fault, empty),
            (Next::More(_), None) => {
                self.carry.extend_from_slice(rest);
                return State::Reading;
            }
            (Next::Skip(length), None) => {
                self.skip = length;
                self.skipped = present;
                return State::Reading;
            }
            (Next::More(needed), Some(stop)) => (needed as u64, stop),
            (Next::Skip(length), Some(stop)) => (length, stop),
        };
        self.finish(stop, needed, present, empty)
    }

    /// Reads and forgets what is to be passed over; a state where the capture ends in it.
    fn pass_over(&mut self, buffer: &mut [u8]) -> Option<State> {
        while self.skipped < self.skip {
            let left = usize::try_from(self.skip - self.skipped).unwrap_or(usize::MAX);
            let count = left.min(buffer.len());
            let (count, stop) = self
                .source
                .fill(buffer.get_mut(..count).unwrap_or_default());
            self.skipped += count as u64;
            if let Some(stop) = stop {
                return Some(self.finish(stop, self.skip, self.skipped, true));
            }
        }
        self.offset += self.skip;
        (self.skip, self.skipped) = (0, 0);
        None
    }

    /// Settles how the capture ends where `present` of `needed` bytes are left.
    fn finish(&mut self, stop: Stop, needed: u64, present: u64, empty: bool) -> State {
        match stop {
            Stop::End if present == 0 => match self.warnings.kept() {
                [first, ..] if empty && !self.delivered => {
                    State::Failed(CaptureError::Unusable(first.clone()))
                }
                _ => State::Ended,
            },
            Stop::End => self.end_early(self.offset, Fault::CutShort { needed, present }, empty),
            Stop::Fault(fault) => self.end_early(self.offset + present, fault, empty),
            Stop::Failed(source) => State::Failed(CaptureError::Read {
                file: self.warnings.file().to_owned(),
                offset: self.source.read(),
                source,
            }),
        }
    }

    /// Ends the capture with a warning, or with an error where it gave no frame at all.
    fn end_early(&mut self, offset: u64, fault: Fault, empty: bool) -> State {
        if empty && !self.delivered {
            return State::Failed(CaptureError::Unusable(self.warnings.warning(offset, fault)));
        }
        self.warnings.add_last(offset, fault);
        State::Ended
    }

    /// What is to be told although the rest was used, in the order of the capture.
    pub fn warnings(&self) -> &[Warning] {
        self.warnings.kept()
    }

    /// How many further warnings there were that [`Self::warnings`] does not keep.
    pub const fn warnings_left_out(&self) -> u64 {
        self.warnings.left_out()
    }

    /// How far the reading has come.
    pub fn progress(&self) -> Progress {
        Progress {
            consumed: self.source.read(),
            total: self.total,
        }
    }
}

/// How much of a file has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read of the file as it lies on the disk (compressed, where it is).
    pub consumed: u64,
    /// Bytes of the file when it was opened; `None` for what has no length, such as a pipe.
    pub total: Option<u64>,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl Format {
    fn walk(
        &mut self,
        bytes: &[u8],
        offset: u64,
        frames: &mut Vec<FrameRecord>,
        warnings: &mut Warnings,
    ) -> Walk {
        match self {
            Self::Pcap(pcap) => pcap.walk(bytes, frames),
            Self::Pcapng(pcapng) => pcapng.walk(bytes, offset, frames, warnings),
        }
    }
}

enum State {
    Reading,
    /// To be told at the next call: a block of frames came with the failure.
    Failed(CaptureError),
    Ended,
}

/// Why a file that starts with `head` (all of it, where `stop` is given) is no capture;
/// `read` bytes of the file were looked at.
fn refuse_start(
    warnings: &Warnings,
    read: u64,
    head: &[u8],
    compression: Option<&'static str>,
    stop: Option<Stop>,
) -> CaptureError {
    let file = warnings.file().to_owned();
    match stop {
        Some(Stop::Failed(source)) => CaptureError::Read {
            file,
            offset: read,
            source,
        },
        Some(Stop::Fault(fault)) => {
            CaptureError::Unusable(warnings.warning(head.len() as u64, fault))
        }
        Some(Stop::End) if read == 0 => CaptureError::Empty { file },
        Some(Stop::End) if is_header_start(head) => {
            let fault = Fault::HeaderCutShort {
                needed: Pcap::HEADER as u64,
                present: head.len() as u64,
            };
            CaptureError::Unusable(warnings.warning(0, fault))
        }
        Some(Stop::End) | None => CaptureError::NotCapture {
            file,
            inside: match compression {
                Some("gzip") => "what is packed in it by gzip ",
                Some(_) => "what is packed in it by zstd ",
                None => "it ",
            },
            start: describe(head),
        },
    }
}

/// Whether bytes are the beginning of a capture that ends within its header.
fn is_header_start(head: &[u8]) -> bool {
    let mut padded = [0; Pcap::HEADER];
    for (to, from) in padded.iter_mut().zip(head) {
        *to = *from;
    }
    head.len() >= 4 && (Pcap::new(&padded).is_some() || Pcapng::is_start(head))
}

/// The first bytes of a file, for a person to recognise it by.
fn describe(head: &[u8]) -> String {
    let shown = head.get(..SHOWN).unwrap_or(head);
    if shown.is_empty() {
        return "nothing (0 bytes)".to_owned();
    }
    let mut out = String::new();
    for byte in shown {
        // writing to a String cannot fail
        let _ = write!(out, "{byte:02x} ");
    }
    let _ = write!(out, "\"{}\"", shown.escape_ascii());
    out
}

/// Bytes read at a time. Measured on captures in the page cache: reading 64 KiB at a time
/// takes a tenth longer (system calls), 1 MiB a twentieth (the frames have left the
/// second-level cache when they are looked at); 512 KiB is no faster and holds more memory.
pub const BLOCK_SIZE: usize = 256 * 1024;

/// The most bytes that a frame can have: what libpcap and its kin capture at most
/// (`MAXIMUM_SNAPLEN`), four times the longest IP packet. A larger length is damage.
pub const MAX_FRAME: u32 = 256 * 1024;

/// The longest record that is held whole: a frame and as much again of options.
pub(super) const MAX_RECORD: usize = 2 * MAX_FRAME as usize;

/// Bytes of a file's start that are shown to the user.
const SHOWN: usize = 8;

const _: () = assert!(MAX_RECORD >= BLOCK_SIZE && MAX_RECORD <= u32::MAX as usize);
