//! SMB 2 and 3 without encryption: files that are read and written.
//!
//! Read first: MS-SMB2 section 2.1 (framing over TCP; RFC 1002 section 4.3 over NetBIOS),
//! section 2.2.1 (header), sections 2.2.13 to 2.2.22 (CREATE, CLOSE, READ, WRITE), section
//! 3.2.4.1.4 (compounds).
//!
//! Content is digested as it comes; only the beginnings of messages are copied together. Who
//! asks and who answers is told by the messages, not by [`Direction`], for a flow picked up in
//! its middle may have its ends exchanged. What is encrypted ends the work: nothing is told by
//! it.

mod opens;
mod transfer;
mod wire;

#[cfg(test)]
mod tests;

use crate::flow::Direction;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::smb::opens::Content;
use crate::protocol::smb::opens::Opens;
use crate::protocol::smb::wire::Header;

/// Parser of both directions of one SMB connection.
#[derive(Debug, Default)]
pub struct SmbParser {
    streams: [Stream; 2],
    opens: Opens,
    /// Nothing more can be understood.
    done: bool,
}

/// One direction: where its frames and their messages stand.
#[derive(Debug, Default)]
struct Stream {
    step: Step,
    /// Bytes of the current frame that were not yet seen.
    frame_left: usize,
    /// Of those, the bytes of the current message.
    message_left: usize,
    /// The beginning of the current message, or the header of a frame.
    head: Vec<u8>,
    /// How much of it there must be to go on.
    goal: usize,
    /// Whether the current message is the first of its frame.
    first: bool,
    /// The header of the current message.
    header: Option<Header>,
    /// Nothing follows.
    ended: bool,
    /// The last bytes, while searching for a frame.
    window: u128,
}

#[derive(Clone, Copy, Debug, Default)]
enum Step {
    /// The header of a frame comes.
    #[default]
    Frame,
    /// The beginning of a message comes.
    Head,
    /// Content comes, after so many bytes of padding.
    Content(Content, usize),
    /// The rest of the message is of no interest.
    Skip,
    /// Where frames begin is not known any more.
    Lost,
}

impl SmbParser {
    /// A parser at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a direction of a flow that begins with `bytes` is SMB: a frame with a message of
    /// version 2, or of version 1 that negotiates, since that may lead to version 2; or the
    /// request for a NetBIOS session.
    pub fn probe(_direction: Direction, bytes: &[u8]) -> Probe {
        let starts: [(&[u8], &[u8]); 3] = [
            (&[SESSION_MESSAGE], &wire::MAGIC_2),
            (&[SESSION_MESSAGE], b"\xffSMB\x72"),
            // RFC 1002 section 4.3.2: two encoded names of 32 octets
            (b"\x81\0\0\x44", b"\x20"),
        ];
        let agree = |(seen, wanted): (&u8, &u8)| seen == wanted;
        let fits = |(frame, magic): &&(&[u8], &[u8])| {
            let message = bytes.get(FRAME_HEADER..).unwrap_or_default();
            bytes.iter().zip(*frame).all(agree) && message.iter().zip(*magic).all(agree)
        };
        match starts.iter().find(fits) {
            None => Probe::NotForUs,
            Some((_, magic)) if bytes.len() >= FRAME_HEADER + magic.len() => Probe::Certain,
            Some(_) => Probe::Unsure,
        }
    }

    const fn stream(&mut self, direction: Direction) -> &mut Stream {
        let [to_server, to_client] = &mut self.streams;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// Goes on with what there is of a head, now that it is as long as it must be.
    fn read_head(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        let stream = self.stream(direction);
        if stream.header.is_none() && stream.head.len() < wire::HEADER {
            let magic = stream.head.first_chunk();
            let negotiates = stream.head.get(MAGIC..) == Some(&[wire::NEGOTIATE_1]);
            match magic {
                Some(&wire::MAGIC_2) if stream.frame_left + MAGIC >= wire::HEADER => {
                    stream.goal = wire::HEADER;
                }
                Some(&wire::MAGIC_1) if stream.head.len() == MAGIC && stream.frame_left > 0 => {
                    stream.goal = MAGIC + 1;
                }
                Some(&wire::MAGIC_1) if negotiates => stream.skip_frame(),
                // version 1 goes on, or all that follows is hidden
                Some(&wire::MAGIC_1 | &wire::MAGIC_ENCRYPTED) => {
                    self.done = true;
                    self.opens.finish(sink);
                }
                Some(&wire::MAGIC_2) => {
                    stream.skip_frame();
                    sink(Message::Anomaly(Anomaly("smb.header")));
                }
                // compressed, or not SMB at all
                _ => stream.skip_frame(),
            }
            return;
        }
        if stream.header.is_none() {
            stream.read_header(sink);
            if let Some(header) = stream.header
                && stream.first
                && !header.response
            {
                self.opens.begin_compound();
            }
        }
        let stream = self.stream(direction);
        if matches!(stream.step, Step::Head)
            && stream.head.len() >= stream.goal
            && let Some(header) = stream.header
        {
            stream.step = Step::Skip;
            let Some(command) = header.command(&stream.head) else {
                return;
            };
            let seen = stream.head.len();
            let content = self.opens.handle(&header, command, sink);
            if let Some(content) = content {
                self.begin_content(direction, content, seen, sink);
            }
        }
    }

    fn begin_content(
        &mut self,
        direction: Direction,
        content: Content,
        seen: usize,
        sink: &mut Sink<'_>,
    ) {
        if content.length == 0 {
            return;
        }
        let stream = self.stream(direction);
        let length = usize::try_from(content.length).unwrap_or(usize::MAX);
        let padding = content.at.checked_sub(seen);
        match padding.filter(|n| n.saturating_add(length) <= stream.message_left) {
            Some(padding) => stream.step = Step::Content(content, padding),
            None => {
                self.opens.give_up(&content);
                sink(Message::Anomaly(Anomaly("smb.content")));
            }
        }
    }

    /// Takes in some content or padding before it; returns how many bytes that were.
    fn read_content(
        &mut self,
        direction: Direction,
        (mut content, padding): (Content, usize),
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> usize {
        if padding > 0 {
            let taken = padding.min(bytes.len());
            self.stream(direction).step = Step::Content(content, padding - taken);
            return taken;
        }
        let length = usize::try_from(content.length).unwrap_or(usize::MAX);
        let part = bytes.get(..length).unwrap_or(bytes);
        self.opens.take(&mut content, direction, part, wants, sink);
        self.stream(direction).step = if content.length > 0 {
            Step::Content(content, 0)
        } else {
            Step::Skip
        };
        part.len()
    }
}

impl Parser for SmbParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        self.done |= !wants.any_file();
        let mut rest = bytes;
        while !rest.is_empty() && !self.done {
            let stream = self.stream(direction);
            let taken = match stream.step {
                Step::Frame => stream.read_frame(rest),
                Step::Lost => stream.search(rest),
                Step::Head => {
                    let missing = stream.goal.saturating_sub(stream.head.len());
                    let part = rest.get(..missing.min(stream.message_left)).unwrap_or(rest);
                    stream.head.extend_from_slice(part);
                    stream.consume(part.len());
                    if stream.head.len() >= stream.goal || stream.message_left == 0 {
                        self.read_head(direction, sink);
                    }
                    part.len()
                }
                Step::Content(content, padding) => {
                    let taken = self.read_content(direction, (content, padding), rest, wants, sink);
                    self.stream(direction).consume(taken);
                    taken
                }
                Step::Skip => {
                    let taken = stream.message_left.min(rest.len());
                    stream.consume(taken);
                    taken
                }
            };
            self.stream(direction).go_on();
            rest = rest.get(taken..).unwrap_or_default();
        }
        if self.done {
            Status::Done
        } else {
            Status::More
        }
    }

    fn gap(
        &mut self,
        direction: Direction,
        length: u64,
        _wants: &Wants,
        _sink: &mut Sink<'_>,
    ) -> Status {
        let stream = self.stream(direction);
        let step = stream.step;
        let within = usize::try_from(length)
            .ok()
            .filter(|n| *n <= stream.frame_left);
        match (step, within) {
            (Step::Head | Step::Content(..) | Step::Skip, Some(length)) => {
                stream.skip_frame();
                stream.consume(length);
                stream.go_on();
            }
            _ => {
                stream.step = Step::Lost;
                stream.window = 0;
            }
        }
        if let Step::Content(content, _) = step {
            self.opens.give_up(&content);
        }
        if self.done {
            Status::Done
        } else {
            Status::More
        }
    }

    fn end(&mut self, direction: Direction, _wants: &Wants, sink: &mut Sink<'_>) {
        let stream = self.stream(direction);
        stream.skip_frame();
        stream.ended = true;
        if self.streams.iter().all(|stream| stream.ended) {
            self.opens.finish(sink);
        }
    }

    fn held(&self) -> usize {
        let [to_server, to_client] = &self.streams;
        size_of::<Self>()
            + to_server.head.capacity()
            + to_client.head.capacity()
            + self.opens.memory()
    }
}

impl Stream {
    /// Takes in bytes of a frame's header; returns how many.
    fn read_frame(&mut self, bytes: &[u8]) -> usize {
        let missing = FRAME_HEADER.saturating_sub(self.head.len());
        let part = bytes.get(..missing).unwrap_or(bytes);
        self.head.extend_from_slice(part);
        if let [kind, high, middle, low] = *self.head.as_slice() {
            self.begin_frame(kind, u32::from_be_bytes([0, high, middle, low]) as usize);
        }
        part.len()
    }

    fn begin_frame(&mut self, kind: u8, length: usize) {
        self.head.clear();
        self.frame_left = length;
        self.message_left = length;
        self.first = true;
        match kind {
            _ if length == 0 => self.step = Step::Frame,
            SESSION_MESSAGE => self.begin_message(),
            // RFC 1002 section 4.3: of the session itself, and to keep it alive
            _ => self.step = Step::Skip,
        }
    }

    fn begin_message(&mut self) {
        self.head.clear();
        self.header = None;
        self.goal = MAGIC;
        self.step = Step::Head;
    }

    /// Reads a message's header and decides how much more of it is wanted.
    fn read_header(&mut self, sink: &mut Sink<'_>) {
        let whole = self.head.len() + self.frame_left;
        let header = Header::parse(&self.head);
        let Some(header) =
            header.filter(|h| h.next == 0 || (wire::HEADER..whole).contains(&h.next))
        else {
            sink(Message::Anomaly(Anomaly("smb.header")));
            return self.skip_frame();
        };
        if header.next > 0 {
            self.message_left = header.next - self.head.len();
        }
        match header.wanted() {
            Some(wanted) => self.goal = wanted.min(self.head.len() + self.message_left),
            None => self.step = Step::Skip,
        }
        self.header = Some(header);
    }

    /// Once a message is over, the next one comes, or the next frame.
    fn go_on(&mut self) {
        if self.message_left > 0 || matches!(self.step, Step::Frame | Step::Lost) {
            return;
        }
        if self.frame_left > 0 {
            self.message_left = self.frame_left;
            self.first = false;
            self.begin_message();
        } else {
            self.head.clear();
            self.step = Step::Frame;
        }
    }

    fn skip_frame(&mut self) {
        self.message_left = self.frame_left;
        self.step = Step::Skip;
    }

    const fn consume(&mut self, length: usize) {
        self.message_left = self.message_left.saturating_sub(length);
        self.frame_left = self.frame_left.saturating_sub(length);
    }

    /// Searches for a frame with a message of version 2; returns how many bytes were looked at.
    fn search(&mut self, bytes: &[u8]) -> usize {
        for (index, byte) in bytes.iter().enumerate() {
            self.window = self.window << 8 | u128::from(*byte);
            let [.., kind, high, middle, low, a, b, c, d, e, f] = self.window.to_be_bytes();
            let start = [a, b, c, d, e, f];
            let length = u32::from_be_bytes([0, high, middle, low]) as usize;
            if kind == SESSION_MESSAGE && start == START_2 && length >= wire::HEADER {
                self.begin_frame(kind, length);
                self.head.extend_from_slice(&start);
                self.goal = wire::HEADER;
                self.consume(start.len());
                return index + 1;
            }
        }
        bytes.len()
    }
}

/// Type and length before each message (MS-SMB2 section 2.1).
const FRAME_HEADER: usize = 4;

/// Type of a NetBIOS session packet that carries a message (RFC 1002 section 4.3.1).
const SESSION_MESSAGE: u8 = 0;

/// Bytes by which generations are told apart.
const MAGIC: usize = 4;

/// How every header of version 2 begins: the magic bytes, and its length.
const START_2: [u8; 6] = *b"\xfeSMB\x40\0";
