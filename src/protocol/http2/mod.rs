//! HTTP/2 in the clear (RFC 9113), by prior knowledge or after an Upgrade.
//!
//! Read first: RFC 9113 sections 4 (frames), 5.1 (stream states) and 8.1 (messages).
//!
//! Frames of both directions are followed side by side. Header blocks are decoded (`hpack`) and
//! translated to the heads of HTTP/1.1 messages (`head`), so that the same [`Message`]s come of
//! them; what a stream's DATA frames carry until its end is a file. A direction in which bytes
//! were missed outside of content is given up, since the header table hangs on every block.

mod frame;
mod head;
mod hpack;
mod huffman;
mod stream;

#[cfg(test)]
mod tests;

use std::mem;

use crate::flow::Direction;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::http::Method;
use crate::protocol::http::RequestLine;
use crate::protocol::http::Scratch;
use crate::protocol::http::Transfer;
use crate::protocol::http::Version;
use crate::protocol::http::name_of_target;
use crate::protocol::http::translate_request;
use crate::protocol::http::translate_response;
use crate::protocol::http2::frame::FrameHeader;
use crate::protocol::http2::frame::PREFACE;
use crate::protocol::http2::frame::flag;
use crate::protocol::http2::frame::kind;
use crate::protocol::http2::head::Head;
use crate::protocol::http2::hpack::Decoder;
use crate::protocol::http2::stream::Streams;

/// Follows the two directions of an HTTP/2 connection.
#[derive(Default)]
pub struct Http2Parser {
    sides: [Side; 2],
    streams: Streams,
    head: Head,
    scratch: Scratch,
}

/// One direction.
#[derive(Default)]
struct Side {
    state: State,
    /// Frame header; the first `filled` bytes of it are there. Before it, of the preface.
    header: [u8; FrameHeader::LENGTH],
    filled: usize,
    frame: FrameHeader,
    /// The start of a payload that is not whole yet.
    payload: Vec<u8>,
    /// A header block that is not whole yet; `None` between blocks.
    block: Option<Block>,
    decoder: Decoder,
}

/// A header block that goes on in CONTINUATION frames.
struct Block {
    opening: Opening,
    bytes: Vec<u8>,
}

/// What begins a header block.
#[derive(Clone, Copy)]
struct Opening {
    frame: FrameHeader,
    /// The stream that a PUSH_PROMISE promises.
    promised: Option<u32>,
}

/// What the next byte of a direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Of the client's preface, or of a server's first frame header.
    #[default]
    Start,
    /// Of a frame header.
    Header,
    /// The length of a DATA frame's padding.
    PadLength,
    /// Of content, of which so many bytes follow, and then so many of padding; the first is
    /// more than none.
    Data(usize, usize),
    /// Of a payload of which so many bytes follow; more than none.
    Payload(usize),
    /// Of what is passed over: so many bytes; more than none.
    Skip(usize),
    /// Of no interest: the direction cannot be followed any more, or has ended.
    Lost,
}

impl Http2Parser {
    /// A parser for a connection from its first bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the first bytes that were seen of a direction are HTTP/2: a client's begin with
    /// its preface, a server's with its settings.
    pub fn probe(direction: Direction, bytes: &[u8]) -> Probe {
        frame::probe(direction, bytes)
    }

    const fn side(&mut self, direction: Direction) -> &mut Side {
        let [to_server, to_client] = &mut self.sides;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    fn status(&self) -> Status {
        match self.sides.iter().all(|side| side.state == State::Lost) {
            true => Status::Done,
            false => Status::More,
        }
    }

    /// Gives a direction up.
    fn lose(&mut self, direction: Direction, why: &'static str, sink: &mut Sink<'_>) {
        sink(Message::Anomaly(Anomaly(why)));
        self.close(direction, sink);
    }

    /// Nothing further is to be learned from a direction.
    fn close(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        *self.side(direction) = Side {
            state: State::Lost,
            ..Side::default()
        };
        self.streams.cut(direction, sink);
    }

    /// Compares with the client's preface; a server has none.
    fn read_preface<'b>(
        &mut self,
        direction: Direction,
        bytes: &'b [u8],
        sink: &mut Sink<'_>,
    ) -> &'b [u8] {
        let side = self.side(direction);
        if direction == Direction::ToClient {
            side.state = State::Header;
            return bytes;
        }
        let expected = PREFACE.get(side.filled..).unwrap_or_default();
        let length = expected.len().min(bytes.len());
        let (start, rest) = bytes.split_at(length);
        if !expected.starts_with(start) {
            self.lose(direction, "http2.preface", sink);
            return &[];
        }
        side.filled += length;
        if side.filled >= PREFACE.len() {
            side.filled = 0;
            side.state = State::Header;
        }
        rest
    }

    /// Collects a frame header, and begins its frame.
    fn read_header<'b>(
        &mut self,
        direction: Direction,
        bytes: &'b [u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> &'b [u8] {
        let side = self.side(direction);
        let missing = side.header.get_mut(side.filled..).unwrap_or_default();
        let (taken, rest) = bytes.split_at(missing.len().min(bytes.len()));
        for (place, byte) in missing.iter_mut().zip(taken) {
            *place = *byte;
        }
        side.filled += taken.len();
        if side.filled >= FrameHeader::LENGTH {
            side.filled = 0;
            side.frame = FrameHeader::read(side.header);
            self.begin_frame(direction, wants, sink);
        }
        rest
    }

    /// Decides from its header what becomes of a frame.
    fn begin_frame(&mut self, direction: Direction, wants: &Wants, sink: &mut Sink<'_>) {
        let side = self.side(direction);
        let frame = side.frame;
        // RFC 9113 section 6.10: nothing comes between the frames of a header block
        let continues = frame.kind == kind::CONTINUATION;
        let lawful = match &side.block {
            Some(block) => continues && frame.stream == block.opening.frame.stream,
            None => !continues,
        };
        if !lawful {
            return self.lose(direction, "http2.continuation", sink);
        }
        // RFC 9113 sections 6.1 and 6.2
        if frame.stream == 0 && matches!(frame.kind, kind::DATA | kind::HEADERS) {
            return self.lose(direction, "http2.stream", sink);
        }
        side.state = match frame.kind {
            kind::DATA if frame.has(flag::PADDED) && frame.length > 0 => State::PadLength,
            kind::DATA => return self.begin_data(direction, frame.length, 0, sink),
            kind::HEADERS | kind::PUSH_PROMISE | kind::CONTINUATION => {
                let before = side.block.as_ref().map_or(0, |block| block.bytes.len());
                if before.saturating_add(frame.length) > MAX_BLOCK {
                    return self.lose(direction, "http2.header-block-cap", sink);
                }
                if frame.length == 0 {
                    return self.end_payload(direction, &[], wants, sink);
                }
                State::Payload(frame.length)
            }
            _ => {
                if frame.kind == kind::RST_STREAM {
                    self.streams.reset(frame.stream, sink);
                }
                self.skip(direction, frame.length);
                return;
            }
        };
    }

    /// Passes over what follows.
    const fn skip(&mut self, direction: Direction, length: usize) {
        self.side(direction).state = match length {
            0 => State::Header,
            length => State::Skip(length),
        };
    }

    /// Begins the content of a DATA frame, or what is left of it.
    fn begin_data(
        &mut self,
        direction: Direction,
        content: usize,
        padding: usize,
        sink: &mut Sink<'_>,
    ) {
        if content > 0 {
            self.side(direction).state = State::Data(content, padding);
            return;
        }
        let frame = self.side(direction).frame;
        self.skip(direction, padding);
        if frame.has(flag::END_STREAM) {
            self.streams.end(frame.stream, direction, sink);
        }
    }

    /// Reads the length of a DATA frame's padding.
    fn read_pad_length(&mut self, direction: Direction, padding: u8, sink: &mut Sink<'_>) {
        let padding = usize::from(padding);
        let content = self.side(direction).frame.length.checked_sub(padding + 1);
        match content {
            Some(content) => self.begin_data(direction, content, padding, sink),
            None => self.lose(direction, "http2.padding", sink),
        }
    }

    /// Collects a payload.
    fn read_payload<'b>(
        &mut self,
        direction: Direction,
        left: usize,
        bytes: &'b [u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> &'b [u8] {
        let (part, rest) = bytes.split_at(left.min(bytes.len()));
        let side = self.side(direction);
        if part.len() < left {
            side.payload.extend_from_slice(part);
            side.state = State::Payload(left - part.len());
        } else if side.payload.is_empty() {
            self.end_payload(direction, part, wants, sink);
        } else {
            let mut payload = mem::take(&mut side.payload);
            payload.extend_from_slice(part);
            self.end_payload(direction, &payload, wants, sink);
        }
        rest
    }

    /// Takes in a frame of a header block.
    fn end_payload(
        &mut self,
        direction: Direction,
        payload: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let side = self.side(direction);
        side.state = State::Header;
        let frame = side.frame;
        let Some((fragment, promised)) = frame.block(payload) else {
            return self.lose(direction, "http2.padding", sink);
        };
        let begun = side.block.take();
        if begun.is_none() && frame.has(flag::END_HEADERS) {
            let opening = Opening { frame, promised };
            return self.read_block(direction, opening, fragment, wants, sink);
        }
        let mut block = begun.unwrap_or(Block {
            opening: Opening { frame, promised },
            bytes: Vec::new(),
        });
        block.bytes.extend_from_slice(fragment);
        if frame.has(flag::END_HEADERS) {
            self.read_block(direction, block.opening, &block.bytes, wants, sink);
        } else {
            side.block = Some(block);
        }
    }

    /// Decodes a header block, and takes in the message that it opens.
    fn read_block(
        &mut self,
        direction: Direction,
        opening: Opening,
        block: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let mut head = mem::take(&mut self.head);
        head.clear();
        let decoder = &mut self.side(direction).decoder;
        let decoded = decoder.decode(block, &mut |name, value| head.push(name, value));
        if decoded.is_err() {
            self.lose(direction, "http2.header-block", sink);
        } else {
            head.report(sink);
            let Opening { frame, promised } = opening;
            match (direction, promised) {
                (_, Some(id)) => self.take_promise(id, &head, wants, sink),
                (Direction::ToServer, None) => self.take_request(frame, &head, wants, sink),
                (Direction::ToClient, None) => self.take_response(frame, &head, wants, sink),
            }
            if promised.is_none() && frame.has(flag::END_STREAM) {
                self.streams.end(frame.stream, direction, sink);
            }
        }
        self.head = head;
    }

    fn take_request(
        &mut self,
        frame: FrameHeader,
        head: &Head,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let stream = self.streams.open(frame.stream, sink);
        if mem::replace(&mut stream.half(Direction::ToServer).opened, true) {
            // RFC 9113 section 8.1: a trailer
            return;
        }
        let method = Method::named(&head.method);
        stream.method = Some(method);
        let connects = method == Method::Connect;
        // RFC 9113 section 8.5: a CONNECT has an authority alone
        let target = match connects && head.path.is_empty() {
            true => &head.authority,
            false => &head.path,
        };
        let line = RequestLine {
            method: &head.method,
            target,
            version: Version::HTTP_2,
            scheme: &head.scheme,
        };
        let (request, fields) = translate_request(line, &head.section, &mut self.scratch);
        fields.report(sink);
        if head.method.is_empty() || target.is_empty() {
            sink(Message::Anomaly(Anomaly("http2.request-line")));
        }
        if wants.any_file() {
            name_of_target(request.target, &mut stream.name);
        }
        if wants.any_file() && !connects && !frame.has(flag::END_STREAM) {
            // a PUT names what it stores; what a POST names is its recipient
            let given = match method {
                Method::Put => stream.name.as_str(),
                _ => "",
            };
            let mut content = Box::<Transfer>::default();
            content.begin(&fields, |name| name.push_str(given), wants);
            self.streams
                .begin(frame.stream, Direction::ToServer, content);
        }
        sink(Message::HttpRequest(request));
    }

    fn take_response(
        &mut self,
        frame: FrameHeader,
        head: &Head,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let stream = self.streams.open(frame.stream, sink);
        if stream.half(Direction::ToClient).opened {
            // RFC 9113 section 8.1: a trailer
            return;
        }
        let Some(status) = head.status() else {
            sink(Message::Anomaly(Anomaly("http2.status")));
            return;
        };
        let method = stream.method;
        let (response, fields) = translate_response(
            status,
            Version::HTTP_2,
            &head.section,
            method.and_then(Method::name),
        );
        fields.report(sink);
        // RFC 9110 section 15.2: an interim response leaves the request open
        if !matches!(status, 100..=199) {
            let tunnel = method == Some(Method::Connect) && matches!(status, 200..=299);
            stream.half(Direction::ToClient).opened = true;
            if wants.any_file() && !tunnel && !frame.has(flag::END_STREAM) {
                let mut content = Box::<Transfer>::default();
                content.begin(&fields, |name| name.push_str(&stream.name), wants);
                self.streams
                    .begin(frame.stream, Direction::ToClient, content);
            }
        }
        sink(Message::HttpResponse(response));
    }

    /// A server announces what it will send unasked (RFC 9113 section 8.4).
    fn take_promise(&mut self, id: u32, head: &Head, wants: &Wants, sink: &mut Sink<'_>) {
        let stream = self.streams.open(id, sink);
        stream.method = Some(Method::named(&head.method));
        if wants.any_file() {
            name_of_target(&String::from_utf8_lossy(&head.path), &mut stream.name);
        }
        // the client sends nothing in it
        self.streams.end(id, Direction::ToServer, sink);
    }
}

impl Parser for Http2Parser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let mut rest = bytes;
        // each turn consumes a byte at least, or leaves the start
        while !rest.is_empty() {
            match self.side(direction).state {
                State::Start => rest = self.read_preface(direction, rest, sink),
                State::Header => rest = self.read_header(direction, rest, wants, sink),
                State::PadLength => {
                    if let Some((padding, after)) = rest.split_first() {
                        rest = after;
                        self.read_pad_length(direction, *padding, sink);
                    }
                }
                State::Data(left, padding) => {
                    let (content, after) = rest.split_at(left.min(rest.len()));
                    rest = after;
                    let stream = self.side(direction).frame.stream;
                    self.streams.update(stream, direction, content, sink);
                    self.begin_data(direction, left - content.len(), padding, sink);
                }
                State::Payload(left) => {
                    rest = self.read_payload(direction, left, rest, wants, sink);
                }
                State::Skip(left) => {
                    let (skipped, after) = rest.split_at(left.min(rest.len()));
                    rest = after;
                    self.skip(direction, left - skipped.len());
                }
                State::Lost => break,
            }
        }
        self.status()
    }

    fn gap(
        &mut self,
        direction: Direction,
        length: u64,
        _wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let side = self.side(direction);
        let missing = usize::try_from(length).unwrap_or(usize::MAX);
        match side.state {
            // a hole within content, or within what is passed over, leaves the framing as it is
            State::Data(left, padding) if missing <= left => {
                let stream = side.frame.stream;
                self.streams.skip(stream, direction, length);
                self.begin_data(direction, left - missing, padding, sink);
            }
            State::Skip(left) if missing <= left => self.skip(direction, left - missing),
            State::Lost => {}
            _ => self.lose(direction, "http2.gap", sink),
        }
        self.status()
    }

    fn end(&mut self, direction: Direction, _wants: &Wants, sink: &mut Sink<'_>) {
        self.close(direction, sink);
    }

    fn held(&self) -> usize {
        size_of::<Self>()
            + self.sides.iter().map(Side::held).sum::<usize>()
            + self.streams.held()
            + self.head.held()
            + self.scratch.held()
    }
}

impl Side {
    /// Bytes of memory that its buffers and its header table take.
    fn held(&self) -> usize {
        let block = self
            .block
            .as_ref()
            .map_or(0, |block| block.bytes.capacity());
        self.payload.capacity() + block + self.decoder.held()
    }
}

/// The most bytes of a header block: what is kept of a head in HTTP/1 too. Servers take 8 to
/// 64 KiB.
const MAX_BLOCK: usize = 64 << 10;
