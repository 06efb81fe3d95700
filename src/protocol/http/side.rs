//! One direction of a flow: where in its heads and bodies it is.

use std::mem;

use memchr::memchr;

use crate::flow::Direction;
use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::http::body::Chunked;
use crate::protocol::http::body::EmptyLine;
use crate::protocol::http::body::Framing;
use crate::protocol::http::body::MAX_CHUNK_LINE;
use crate::protocol::http::body::Phase;
use crate::protocol::http::body::SizeLine;
use crate::protocol::http::file::Transfer;
use crate::protocol::http::oddity::Oddity;

/// One direction.
#[derive(Default)]
pub(super) struct Side {
    pub(super) state: State,
    /// The start of a head or of a chunk's size line that is not whole yet.
    pub(super) held: Vec<u8>,
    /// Bytes of `held` in which the end of a head need not be looked for again.
    pub(super) scanned: usize,
    /// Whether what comes next is searched for a head, instead of expected to be one.
    pub(super) lost: bool,
    /// Whether bytes were missed that may have held heads.
    pub(super) missed: bool,
    /// Whether any byte was seen, or missed.
    pub(super) seen: bool,
    pub(super) transfer: Transfer,
}

/// What the next byte of a direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// In or before a head.
    #[default]
    Head,
    /// In a line that opens no head.
    Junk,
    /// In a head that is too long to keep; its body follows.
    HeadRest(EmptyLine, Option<Framing>),
    /// In a body.
    Body(Framing),
    /// After a CONNECT request that no response has answered.
    Tunnel,
    /// After the end.
    Closed,
}

/// The most bytes of a head that are kept. Servers take 8 to 32 KiB of request, browsers
/// 256 KiB of response; what is beyond 64 KiB does not frame or name a body in practice.
pub const MAX_HEAD: usize = 64 << 10;

/// Capacity of a buffer that a direction may keep while it holds nothing, in bytes.
const KEPT_CAPACITY: usize = 4 << 10;

impl Side {
    /// Goes on in search of a head.
    pub(super) fn lose(&mut self, why: Oddity, sink: &mut Sink<'_>) {
        self.missed |= why == Oddity::Gap;
        if !mem::replace(&mut self.lost, true) {
            sink(Message::Anomaly(why.anomaly()));
        }
        self.state = State::Head;
    }

    /// Takes back the buffer of what was held, unless it is empty and has grown large.
    pub(super) fn reuse(&mut self, held: Vec<u8>) {
        if held.capacity() <= KEPT_CAPACITY || !held.is_empty() {
            self.held = held;
        }
    }

    /// Bytes of memory that its buffers and the body in transfer take.
    pub(super) fn memory(&self) -> usize {
        self.held.capacity() + self.transfer.held()
    }

    /// Takes from the body what of it is in `rest`.
    pub(super) fn read_body(
        &mut self,
        direction: Direction,
        framing: Framing,
        rest: &mut &[u8],
        sink: &mut Sink<'_>,
    ) {
        match framing {
            Framing::Length(left) => {
                let left = self.pass_on(left, rest, sink);
                if left == 0 {
                    self.transfer.finish(direction, sink);
                    self.state = State::Head;
                } else {
                    self.state = State::Body(Framing::Length(left));
                }
            }
            Framing::UntilClose => {
                self.transfer.update(rest, sink);
                *rest = &[];
            }
            Framing::Chunked(mut chunked) => {
                chunked.phase = match chunked.phase {
                    Phase::Size => return self.read_size(direction, chunked, rest, sink),
                    Phase::SizeRest(size) => match memchr(b'\n', rest) {
                        Some(lf) => {
                            *rest = rest.get(lf + 1..).unwrap_or_default();
                            Phase::of_chunk(size)
                        }
                        None => {
                            *rest = &[];
                            Phase::SizeRest(size)
                        }
                    },
                    Phase::Data(left) => match self.pass_on(left, rest, sink) {
                        0 => Phase::Size,
                        left => Phase::Data(left),
                    },
                    Phase::Trailer(mut line) => match line.find(rest) {
                        Some(end) => {
                            *rest = rest.get(end..).unwrap_or_default();
                            self.state = State::Head;
                            return;
                        }
                        None => {
                            *rest = &[];
                            Phase::Trailer(line)
                        }
                    },
                };
                self.state = State::Body(Framing::Chunked(chunked));
            }
        }
    }

    /// Passes over bytes of a body that were never seen.
    pub(super) fn skip_body(
        &mut self,
        direction: Direction,
        framing: Framing,
        length: u64,
        sink: &mut Sink<'_>,
    ) {
        self.transfer.skip(length.min(framing.known_content()));
        if let Some(framing) = framing.after_gap(length) {
            self.state = State::Body(framing);
            return;
        }
        self.held.clear();
        self.transfer.finish(direction, sink);
        self.state = State::Head;
        if framing != Framing::Length(length) {
            self.lose(Oddity::Gap, sink);
        }
    }

    /// Ends a body with the stream.
    pub(super) fn end_body(&mut self, direction: Direction, framing: Framing, sink: &mut Sink<'_>) {
        let held = mem::take(&mut self.held);
        let cut = match framing {
            Framing::UntilClose => false,
            Framing::Length(_) => true,
            Framing::Chunked(mut chunked) => match chunked.phase {
                Phase::Size if held.is_empty() => true,
                Phase::Size => match chunked.read_size(&held) {
                    SizeLine::NotChunked(framing) => {
                        sink(Message::Anomaly(Oddity::TransferCoding.anomaly()));
                        self.take_unchunked(direction, framing, &held, sink);
                        matches!(self.state, State::Body(Framing::Length(_)))
                    }
                    SizeLine::Size(size, _) => size > 0,
                    SizeLine::Empty | SizeLine::Broken => true,
                },
                Phase::SizeRest(size) => size > 0,
                Phase::Data(_) => true,
                Phase::Trailer(_) => false,
            },
        };
        if cut {
            sink(Message::Anomaly(Oddity::BodyCut.anomaly()));
        }
        self.transfer.finish(direction, sink);
    }

    /// Passes on up to `left` bytes of content; how many are left then.
    fn pass_on(&mut self, left: u64, rest: &mut &[u8], sink: &mut Sink<'_>) -> u64 {
        let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
        let (now, later) = rest.split_at(length);
        self.transfer.update(now, sink);
        *rest = later;
        left.saturating_sub(length as u64)
    }

    /// Reads a line where a chunk's size should be.
    fn read_size(
        &mut self,
        direction: Direction,
        mut chunked: Chunked,
        rest: &mut &[u8],
        sink: &mut Sink<'_>,
    ) {
        let room = MAX_CHUNK_LINE.saturating_sub(self.held.len());
        let all: &[u8] = rest;
        let window = all.get(..room).unwrap_or(all);
        let end = memchr(b'\n', window).map(|lf| lf + 1);
        if end.is_none() && window.len() < room {
            self.held.extend_from_slice(window);
            *rest = &[];
            return;
        }
        let (piece, after) = all.split_at(end.unwrap_or(window.len()));
        *rest = after;
        let mut held = mem::take(&mut self.held);
        let line = if held.is_empty() {
            piece
        } else {
            held.extend_from_slice(piece);
            &held
        };
        match chunked.read_size(line.strip_suffix(b"\n").unwrap_or(line)) {
            SizeLine::Empty => self.state = State::Body(Framing::Chunked(chunked)),
            SizeLine::Size(size, odd) => {
                if odd && !mem::replace(&mut chunked.odd, true) {
                    sink(Message::Anomaly(Oddity::ChunkSize.anomaly()));
                }
                if size == 0 {
                    self.transfer.finish(direction, sink);
                }
                chunked.phase = match end {
                    Some(_) => Phase::of_chunk(size),
                    None => Phase::SizeRest(size),
                };
                self.state = State::Body(Framing::Chunked(chunked));
            }
            SizeLine::NotChunked(framing) => {
                sink(Message::Anomaly(Oddity::TransferCoding.anomaly()));
                self.take_unchunked(direction, framing, line, sink);
                if framing.is_none() {
                    // what was taken for a size opens the next head
                    self.held.extend_from_slice(line.trim_ascii_start());
                    return;
                }
            }
            SizeLine::Broken => {
                self.transfer.finish(direction, sink);
                self.lose(Oddity::ChunkSize, sink);
                if end.is_none() {
                    self.state = State::Junk;
                }
            }
        }
        held.clear();
        self.reuse(held);
    }

    /// Goes on with a body that proved not to be chunked, and starts with `bytes`.
    fn take_unchunked(
        &mut self,
        direction: Direction,
        framing: Option<Framing>,
        mut bytes: &[u8],
        sink: &mut Sink<'_>,
    ) {
        match framing {
            Some(framing) => {
                self.state = State::Body(framing);
                // bytes beyond a length that small belong to nothing
                self.read_body(direction, framing, &mut bytes, sink);
            }
            None => {
                self.transfer.finish(direction, sink);
                self.state = State::Head;
            }
        }
    }
}
