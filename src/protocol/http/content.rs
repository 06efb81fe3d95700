//! Undoing of content and transfer codings (RFC 9110 8.4, RFC 9112 7), piece by piece.
//!
//! Content is not trusted to be in the coding that its head claims: as long as nothing
//! was passed on, what does not decode is taken as it is, as lenient recipients do.
//! Checksums are not compared: recipients go by the content. What is passed on is
//! capped by size, by ratio, and in memory.

use brotli_decompressor::Allocator;
use brotli_decompressor::BrotliDecompressStream;
use brotli_decompressor::BrotliResult;
use brotli_decompressor::BrotliState;
use brotli_decompressor::SliceWrapper;
use brotli_decompressor::StandardAlloc;
use flate2::Decompress;
use flate2::FlushDecompress;
use zstd::zstd_safe::DCtx;
use zstd::zstd_safe::DParameter;
use zstd::zstd_safe::InBuffer;
use zstd::zstd_safe::OutBuffer;

use crate::protocol::http::oddity::Oddity;

/// A coding that can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, or RFC 1951 alone as some servers send it.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The coding of that name, which is in lower case (RFC 9110 8.4.1).
    pub(super) const fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            b"deflate" | b"x-deflate" => Some(Self::Deflate),
            b"br" => Some(Self::Brotli),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// The most bytes that a body may expand to: installers and disk images of today fit,
/// and a flow of bombs costs no more than as many bytes sent plainly.
const MAX_EXPANDED: u64 = 256 << 20;

/// The most bytes out for one byte in. Text and executables stay below 20; deflate ends
/// near 1032, brotli and zstd nowhere.
const MAX_RATIO: u64 = 100;

/// Below this size the ratio is free, since small bodies of one repeated byte are common.
const FREE_EXPANSION: u64 = 512 << 10;

/// The most bytes of windows and buffers that the codings of one body may take: the largest
/// window of brotli (RFC 7932 9.1: 16 MiB), and 2 MiB for its tables and another coding.
const MAX_MEMORY: usize = 18 << 20;

/// Bytes of input for which output is held back, so that content which is not encoded at
/// all can still be taken as it is. Plain content fails to decode far sooner.
const TRIAL: usize = 512;

/// Size of a stage's output buffer in bytes: as large as pays off for hashing.
const OUTPUT: usize = 16 << 10;

/// An inflater's state and window, in bytes.
const INFLATE_MEMORY: usize = 48 << 10;

/// RFC 9659: a window beyond 8 MiB is not for HTTP.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Codings being undone, outermost first.
pub(super) struct Decoder {
    stages: Vec<Stage>,
    input: u64,
}

impl Decoder {
    /// For codings named outermost first.
    pub(super) fn new(codings: impl Iterator<Item = Coding>) -> Self {
        let stages = codings.map(Stage::new).collect();
        Self { stages, input: 0 }
    }

    /// Bytes of windows and buffers that decoding takes now.
    pub(super) fn held(&self) -> usize {
        self.stages.iter().map(Stage::held).sum()
    }

    /// Passes on what the bytes that follow those before decode to. After an error
    /// nothing further can be decoded.
    pub(super) fn update(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Oddity> {
        self.input = self.input.saturating_add(bytes.len() as u64);
        let limit = self.limit();
        feed(&mut self.stages, bytes, limit, sink)?;
        if self.held() > MAX_MEMORY {
            return Err(Oddity::DecoderMemory);
        }
        Ok(())
    }

    /// Passes on what was held back; whether the content is whole.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<bool, Oddity> {
        let limit = self.limit();
        let mut whole = true;
        let mut stages = self.stages.as_mut_slice();
        while let Some((stage, inner)) = stages.split_first_mut() {
            let mut pass = |bytes: &[u8]| feed(inner, bytes, limit, sink);
            whole &= stage.finish(&mut pass)?;
            stages = inner;
        }
        Ok(whole)
    }

    /// The most bytes that a stage may have produced by now.
    fn limit(&self) -> u64 {
        self.input
            .saturating_mul(MAX_RATIO)
            .clamp(FREE_EXPANSION, MAX_EXPANDED)
    }

    /// Whether some coding that was claimed was not there.
    pub(super) fn is_plain(&self) -> bool {
        self.stages
            .iter()
            .any(|stage| matches!(stage.engine, Engine::Plain))
    }
}

fn feed(
    stages: &mut [Stage],
    bytes: &[u8],
    limit: u64,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), Oddity> {
    match stages.split_first_mut() {
        Some((stage, inner)) => {
            stage.update(bytes, limit, &mut |bytes| feed(inner, bytes, limit, sink))
        }
        None => {
            sink(bytes);
            Ok(())
        }
    }
}

/// Where a stage's output goes.
type Pass<'s> = dyn FnMut(&[u8]) -> Result<(), Oddity> + 's;

/// The undoing of one coding.
struct Stage {
    engine: Engine,
    output: Box<[u8]>,
    /// Bytes of `output` that wait; none after the trial.
    filled: usize,
    /// Input of the trial; `None` after it.
    trial: Option<Vec<u8>>,
    produced: u64,
}

impl Stage {
    fn new(coding: Coding) -> Self {
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Gzip::new()),
            Coding::Deflate => Engine::Deflate(Deflate::new(Wrapper::Unknown(None))),
            Coding::Brotli => Engine::Brotli(Brotli::default()),
            Coding::Zstd => Engine::Zstd(Zstd::default()),
        };
        Self {
            engine,
            output: vec![0; OUTPUT].into_boxed_slice(),
            filled: 0,
            trial: Some(Vec::new()),
            produced: 0,
        }
    }

    fn held(&self) -> usize {
        let trial = self.trial.as_ref().map_or(0, Vec::capacity);
        size_of::<Self>() + OUTPUT + trial + self.engine.held()
    }

    fn update(&mut self, mut bytes: &[u8], limit: u64, pass: &mut Pass<'_>) -> Result<(), Oddity> {
        while let Some(held) = self.trial.as_mut()
            && !bytes.is_empty()
        {
            let (now, later) = bytes.split_at(bytes.len().min(TRIAL.saturating_sub(held.len())));
            held.extend_from_slice(now);
            let full = held.len() >= TRIAL;
            bytes = later;
            match self.run(now, limit, pass) {
                Ok(()) if full => self.end_trial(pass)?,
                Ok(()) => {}
                Err(Oddity::CodingBroken) if self.trial.is_some() => self.fall_back(limit, pass)?,
                Err(oddity) => return Err(oddity),
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.run(bytes, limit, pass)
    }

    /// Ends the trial, if it is on, and tells whether the content is whole.
    fn finish(&mut self, pass: &mut Pass<'_>) -> Result<bool, Oddity> {
        if self.trial.as_ref().is_some_and(|held| !held.is_empty())
            && self.filled == 0
            && !self.engine.has_ended()
        {
            // so short that it may well be no coding at all
            self.engine = Engine::Plain;
            let held = self.trial.take().unwrap_or_default();
            pass(&held)?;
        }
        self.end_trial(pass)?;
        Ok(self.engine.is_whole())
    }

    fn end_trial(&mut self, pass: &mut Pass<'_>) -> Result<(), Oddity> {
        self.trial = None;
        let filled = std::mem::take(&mut self.filled);
        pass(self.output.get(..filled).unwrap_or_default())
    }

    /// Takes the trial's input in another way, which in the end is as it is.
    fn fall_back(&mut self, limit: u64, pass: &mut Pass<'_>) -> Result<(), Oddity> {
        if self.engine.has_ended() {
            // part of it was in the coding
            self.end_trial(pass)?;
            return Err(Oddity::CodingBroken);
        }
        self.filled = 0;
        self.produced = 0;
        let held = self.trial.take().unwrap_or_default();
        if let Engine::Deflate(deflate) = &mut self.engine
            && deflate.wrapper == Wrapper::Zlib
        {
            // the first two bytes only looked like a header of RFC 1950
            *deflate = Deflate::new(Wrapper::Raw);
            self.trial = Some(Vec::new());
            return self.update(&held, limit, pass);
        }
        self.engine = Engine::Plain;
        pass(&held)
    }

    fn run(&mut self, mut bytes: &[u8], limit: u64, pass: &mut Pass<'_>) -> Result<(), Oddity> {
        if matches!(self.engine, Engine::Plain) {
            return pass(bytes);
        }
        loop {
            let room = self.output.get_mut(self.filled..).unwrap_or_default();
            let (consumed, produced) = self.engine.step(bytes, room)?;
            bytes = bytes.get(consumed..).unwrap_or_default();
            self.filled += produced;
            self.produced = self.produced.saturating_add(produced as u64);
            if self.produced > limit {
                return Err(Oddity::Expansion);
            }
            if self.trial.is_none() || self.filled >= OUTPUT {
                self.end_trial(pass)?;
            }
            if produced == 0 && (consumed == 0 || bytes.is_empty()) {
                return Ok(());
            }
        }
    }
}

/// What undoes a coding.
enum Engine {
    Gzip(Gzip),
    Deflate(Deflate),
    Brotli(Brotli),
    Zstd(Zstd),
    /// Nothing: the content is as it was sent.
    Plain,
}

impl Engine {
    /// Decodes some of `bytes` into `room`: how many bytes were consumed, and how many
    /// produced. What follows the end of the content is consumed and ignored.
    fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Oddity> {
        match self {
            Self::Gzip(gzip) => gzip.step(bytes, room),
            Self::Deflate(deflate) => deflate.step(bytes, room),
            Self::Brotli(brotli) => brotli.step(bytes, room),
            Self::Zstd(zstd) => zstd.step(bytes, room),
            Self::Plain => Ok((bytes.len(), 0)),
        }
    }

    /// Bytes that the decoder takes.
    fn held(&self) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate(_) => INFLATE_MEMORY,
            Self::Brotli(brotli) => brotli.held(),
            Self::Zstd(zstd) => zstd.state.as_ref().map_or(0, DCtx::sizeof),
            Self::Plain => 0,
        }
    }

    /// Whether content was decoded to an end, be it that more may follow.
    fn has_ended(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.members,
            Self::Deflate(deflate) => deflate.inflate.ended,
            Self::Brotli(brotli) => brotli.ended,
            Self::Zstd(zstd) => zstd.frames,
            Self::Plain => true,
        }
    }

    /// Whether all that began was decoded to its end.
    fn is_whole(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.members && gzip.phase != GzipPhase::Content,
            Self::Zstd(zstd) => zstd.frames && (zstd.at_boundary || zstd.ended),
            other => other.has_ended(),
        }
    }
}

/// RFC 1951.
struct Inflate {
    state: Decompress,
    ended: bool,
    broken: bool,
}

impl Inflate {
    fn new() -> Self {
        Self {
            state: Decompress::new(false),
            ended: false,
            broken: false,
        }
    }

    fn restart(&mut self) {
        self.state.reset(false);
        self.ended = false;
    }

    fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Oddity> {
        if self.broken {
            return Err(Oddity::CodingBroken);
        }
        let (before, behind) = (self.state.total_in(), self.state.total_out());
        match self.state.decompress(bytes, room, FlushDecompress::None) {
            Ok(status) => self.ended = status == flate2::Status::StreamEnd,
            Err(_) => self.broken = true,
        }
        let consumed = self.state.total_in().saturating_sub(before) as usize;
        let produced = self.state.total_out().saturating_sub(behind) as usize;
        if self.broken && produced == 0 {
            return Err(Oddity::CodingBroken);
        }
        Ok((consumed, produced))
    }
}

/// RFC 1952, of any number of members, with anything after them.
struct Gzip {
    inflate: Inflate,
    phase: GzipPhase,
    flags: u8,
    /// Whether a member was decoded to its end.
    members: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GzipPhase {
    /// The fixed header, so many bytes of which were read.
    Fixed(u8),
    /// FEXTRA's length, of which the low byte may have been read.
    ExtraLength(Option<u8>),
    /// FEXTRA, of which so many bytes follow.
    Extra(u16),
    /// FNAME, to its zero.
    Name,
    /// FCOMMENT, to its zero.
    Comment,
    /// FHCRC, of which so many bytes follow.
    HeaderChecksum(u8),
    /// The compressed blocks.
    Content,
    /// CRC32 and ISIZE, of which so many bytes follow.
    Footer(u8),
    /// What is no further member.
    Trailing,
}

impl Gzip {
    fn new() -> Self {
        Self {
            inflate: Inflate::new(),
            phase: GzipPhase::Fixed(0),
            flags: 0,
            members: false,
        }
    }

    fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Oddity> {
        let mut consumed = 0;
        while self.phase != GzipPhase::Content {
            let Some(byte) = bytes.get(consumed) else {
                return Ok((consumed, 0));
            };
            if self.phase == GzipPhase::Trailing {
                return Ok((bytes.len(), 0));
            }
            self.read_frame(*byte)?;
            consumed += 1;
        }
        let (inflated, produced) = self
            .inflate
            .step(bytes.get(consumed..).unwrap_or_default(), room)?;
        if self.inflate.ended {
            self.members = true;
            self.phase = GzipPhase::Footer(8);
        }
        Ok((consumed + inflated, produced))
    }

    /// Takes in a byte of a header or footer (RFC 1952 2.3). Reserved flags are ignored.
    fn read_frame(&mut self, byte: u8) -> Result<(), Oddity> {
        const FHCRC: u8 = 2;
        const FEXTRA: u8 = 4;
        const FNAME: u8 = 8;
        const FCOMMENT: u8 = 16;
        let after = match self.phase {
            GzipPhase::Fixed(at) => {
                let lawful = match at {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    2 => byte == 8,
                    _ => true,
                };
                if !lawful && self.members {
                    self.phase = GzipPhase::Trailing;
                    return Ok(());
                }
                if !lawful {
                    return Err(Oddity::CodingBroken);
                }
                if at == 3 {
                    self.flags = byte;
                }
                if at < 9 {
                    self.phase = GzipPhase::Fixed(at + 1);
                    return Ok(());
                }
                self.inflate.restart();
                0
            }
            GzipPhase::ExtraLength(None) => {
                self.phase = GzipPhase::ExtraLength(Some(byte));
                return Ok(());
            }
            GzipPhase::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => FEXTRA,
                length => {
                    self.phase = GzipPhase::Extra(length);
                    return Ok(());
                }
            },
            GzipPhase::Extra(1) => FEXTRA,
            GzipPhase::Extra(left) => {
                self.phase = GzipPhase::Extra(left.saturating_sub(1));
                return Ok(());
            }
            GzipPhase::Name if byte == 0 => FNAME,
            GzipPhase::Comment if byte == 0 => FCOMMENT,
            GzipPhase::HeaderChecksum(1) => FHCRC,
            GzipPhase::HeaderChecksum(left) => {
                self.phase = GzipPhase::HeaderChecksum(left.saturating_sub(1));
                return Ok(());
            }
            GzipPhase::Footer(left) => {
                self.phase = match left.saturating_sub(1) {
                    0 => GzipPhase::Fixed(0),
                    left => GzipPhase::Footer(left),
                };
                return Ok(());
            }
            GzipPhase::Name | GzipPhase::Comment | GzipPhase::Content | GzipPhase::Trailing => {
                return Ok(());
            }
        };
        // the optional parts stand in this order, which is not that of their flags
        let order = [FEXTRA, FNAME, FCOMMENT, FHCRC];
        let done = order.iter().position(|flag| *flag == after);
        let next = order
            .iter()
            .skip(done.map_or(0, |at| at + 1))
            .find(|flag| self.flags & **flag != 0);
        self.phase = match next {
            Some(&FEXTRA) => GzipPhase::ExtraLength(None),
            Some(&FNAME) => GzipPhase::Name,
            Some(&FCOMMENT) => GzipPhase::Comment,
            Some(_) => GzipPhase::HeaderChecksum(2),
            None => GzipPhase::Content,
        };
        Ok(())
    }
}

/// RFC 1950, or RFC 1951 alone.
struct Deflate {
    inflate: Inflate,
    wrapper: Wrapper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrapper {
    /// Not yet known; perhaps the first byte.
    Unknown(Option<u8>),
    /// The header of RFC 1950.
    Zlib,
    /// None.
    Raw,
}

impl Deflate {
    fn new(wrapper: Wrapper) -> Self {
        Self {
            inflate: Inflate::new(),
            wrapper,
        }
    }

    fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Oddity> {
        if self.inflate.ended {
            return Ok((bytes.len(), 0));
        }
        let Wrapper::Unknown(first) = self.wrapper else {
            return self.inflate.step(bytes, room);
        };
        match (first, bytes) {
            (_, []) => Ok((0, 0)),
            (None, [first, ..]) => {
                self.wrapper = Wrapper::Unknown(Some(*first));
                Ok((1, 0))
            }
            (Some(first), [second, ..]) => {
                // RFC 1950 2.2: method 8, a checksum over both bytes, no preset dictionary
                let check = u16::from_be_bytes([first, *second]);
                if first & 0x0f == 8 && check.is_multiple_of(31) && second & 0x20 == 0 {
                    self.wrapper = Wrapper::Zlib;
                    return Ok((1, 0));
                }
                self.wrapper = Wrapper::Raw;
                let (_, produced) = self.inflate.step(&[first, *second], room)?;
                Ok((1, produced))
            }
        }
    }
}

/// RFC 7932, without the large windows of later drafts.
#[derive(Default)]
struct Brotli {
    state: Option<Box<BrotliState<Counted, Counted, Counted>>>,
    ended: bool,
    broken: bool,
}

/// Hands out memory, and counts what is out.
#[derive(Default)]
struct Counted {
    bytes: usize,
}

impl<T: Clone + Default> Allocator<T> for Counted {
    type AllocatedMemory = <StandardAlloc as Allocator<T>>::AllocatedMemory;

    fn alloc_cell(&mut self, length: usize) -> Self::AllocatedMemory {
        self.bytes = self
            .bytes
            .saturating_add(length.saturating_mul(size_of::<T>()));
        StandardAlloc::default().alloc_cell(length)
    }

    fn free_cell(&mut self, cell: Self::AllocatedMemory) {
        self.bytes = self.bytes.saturating_sub(size_of_val(cell.slice()));
    }
}

impl Brotli {
    /// Its window, as large as the stream declares it (RFC 7932 9.1), and its tables.
    fn held(&self) -> usize {
        self.state.as_ref().map_or(0, |state| {
            let parts = [&state.alloc_u8, &state.alloc_u32, &state.alloc_hc];
            size_of_val(state.as_ref()) + parts.iter().map(|part| part.bytes).sum::<usize>()
        })
    }

    fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Oddity> {
        if self.broken {
            return Err(Oddity::CodingBroken);
        }
        if self.ended {
            return Ok((bytes.len(), 0));
        }
        let state = self.state.get_or_insert_with(|| {
            Box::new(BrotliState::new_strict(
                Counted::default(),
                Counted::default(),
                Counted::default(),
            ))
        });
        let (mut left, mut consumed) = (bytes.len(), 0);
        let (mut space, mut produced, mut total) = (room.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut consumed,
            bytes,
            &mut space,
            &mut produced,
            room,
            &mut total,
            state,
        );
        match result {
            BrotliResult::ResultSuccess => self.ended = true,
            BrotliResult::ResultFailure => self.broken = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        if self.broken && produced == 0 {
            return Err(Oddity::CodingBroken);
        }
        Ok((consumed, produced))
    }
}

/// RFC 8878, of any number of frames, with anything after them.
#[derive(Default)]
struct Zstd {
    state: Option<DCtx<'static>>,
    /// Whether the next byte starts a frame.
    at_boundary: bool,
    /// Whether a frame was decoded to its end.
    frames: bool,
    /// Whether what followed was no frame.
    ended: bool,
}

impl Zstd {
    fn step(&mut self, bytes: &[u8], room: &mut [u8]) -> Result<(usize, usize), Oddity> {
        // RFC 8878 3.1: frames start with 28, skippable ones with 50 to 5f
        if self.at_boundary
            && let Some(first) = bytes.first()
        {
            self.ended |= !matches!(first, 0x28 | 0x50..=0x5f);
        }
        if self.ended {
            return Ok((bytes.len(), 0));
        }
        let state = match &mut self.state {
            Some(state) => state,
            None => {
                let mut state = DCtx::try_create().ok_or(Oddity::DecoderMemory)?;
                state
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))
                    .map_err(|_| Oddity::DecoderMemory)?;
                self.state.insert(state)
            }
        };
        let mut input = InBuffer::around(bytes);
        let mut output = OutBuffer::around(room);
        let hint = state
            .decompress_stream(&mut output, &mut input)
            .map_err(|_| Oddity::CodingBroken)?;
        let (consumed, produced) = (input.pos(), output.pos());
        if consumed > 0 || produced > 0 {
            self.at_boundary = hint == 0;
            self.frames |= hint == 0;
        }
        Ok((consumed, produced))
    }
}
