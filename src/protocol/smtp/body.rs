//! A mail line by line: its header, and its parts however they are nested (RFC 2046 5.1).

use std::mem;

use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::Wants;
use crate::protocol::smtp::line::Lines;
use crate::protocol::smtp::line::Piece;
use crate::protocol::smtp::link::LinkFinder;
use crate::protocol::smtp::link::MailLinks;
use crate::protocol::smtp::mail::Envelope;
use crate::protocol::smtp::mail::Mail;
use crate::protocol::smtp::mail::field_name;
use crate::protocol::smtp::oddity;
use crate::protocol::smtp::part::MAX_BOUNDARY;
use crate::protocol::smtp::part::Part;
use crate::protocol::smtp::part::PartHead;
use crate::protocol::smtp::transfer::Decoder;

/// Reads one mail after the other.
#[derive(Debug, Default)]
pub(super) struct MailReader {
    state: State,
    /// Lines of a mail that comes in chunks.
    lines: Lines,
    header: Vec<u8>,
    /// Whether the header at hand is the mail's own.
    root: bool,
    /// Whether the header at hand is that of a mail within a part.
    enclosed: bool,
    /// Whether the header at hand grew beyond its cap.
    cut: bool,
    /// Whether bytes of the header at hand, or behind it, were never seen.
    missed: bool,
    /// Whether the rest of the line at hand follows a gap.
    torn: bool,
    /// Multiparts that are open, the outermost first.
    open: Vec<Multipart>,
    parts: usize,
    part: Part,
    links: LinkFinder,
}

/// What the next line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No mail.
    #[default]
    Idle,
    /// In a header.
    Header,
    /// In the content of a leaf.
    Leaf,
    /// At the first line of a leaf that is a mail, if it is not encoded in spite of its header.
    EncodedMail,
    /// Nobody's content: before, between and after parts, and in parts that are not asked for.
    Nothing,
}

#[derive(Debug)]
struct Multipart {
    boundary: Vec<u8>,
    digest: bool,
}

/// What a mail is read for and with.
pub(super) struct Context<'c, 's> {
    pub(super) envelope: &'c Envelope,
    pub(super) wants: &'c Wants,
    pub(super) sink: &'c mut Sink<'s>,
}

/// The most bytes of one header that are kept: what servers take (Postfix: 100 KiB in all) is
/// mostly traces of relays, and what is looked at stands before 64 KiB.
pub const MAX_HEADER: usize = 64 << 10;

/// Multiparts within multiparts that are followed; forwarded mail seldom passes 5.
pub const MAX_DEPTH: usize = 16;

/// Parts of one mail that are looked at.
pub const MAX_PARTS: usize = 1 << 10;

/// Capacity of the header's buffer that is kept between mails, in bytes.
const KEPT_CAPACITY: usize = 8 << 10;

impl MailReader {
    /// Starts a mail.
    pub(super) fn begin(&mut self) {
        *self = Self {
            header: mem::take(&mut self.header),
            part: mem::take(&mut self.part),
            root: true,
            state: State::Header,
            ..Self::default()
        };
        self.header.clear();
        self.header.shrink_to(KEPT_CAPACITY);
    }

    /// Bytes of memory that its buffers take.
    pub(super) fn held(&self) -> usize {
        self.lines.held()
            + self.header.capacity()
            + self.open.len() * (size_of::<Multipart>() + MAX_BOUNDARY)
            + self.part.held()
            + self.links.held()
    }

    /// Whether a mail is being read.
    pub(super) fn is_reading(&self) -> bool {
        self.state != State::Idle
    }

    /// Takes bytes of a mail that comes in chunks.
    pub(super) fn update(&mut self, mut bytes: &[u8], context: &mut Context<'_, '_>) {
        let mut lines = mem::take(&mut self.lines);
        while let Some(piece) = lines.next(&mut bytes) {
            self.take(&piece, context);
        }
        self.lines = lines;
    }

    /// Takes a line, or a piece of one.
    pub(super) fn take(&mut self, piece: &Piece<'_>, context: &mut Context<'_, '_>) {
        if piece.is_whole() && !self.open.is_empty() && self.cross_boundary(piece.bytes, context) {
            return;
        }
        if self.state == State::Header {
            if piece.starts {
                self.torn = false;
            } else if self.torn {
                return;
            } else {
                return self.keep(piece, context);
            }
            match piece.bytes.first() {
                None => return self.end_header(context),
                Some(b' ' | b'\t') if !self.header.is_empty() => {
                    return self.keep(piece, context);
                }
                Some(_) if field_name(piece.bytes).is_some() => return self.keep(piece, context),
                // the line that mailboxes put before a mail
                Some(_) if self.header.is_empty() && piece.bytes.starts_with(b"From ") => return,
                // content without an empty line before it
                Some(_) => self.end_header(context),
            }
        }
        if self.state == State::EncodedMail && piece.starts {
            // base64 has no colons, and no receiver goes by the encoding then
            if field_name(piece.bytes).is_some() {
                self.enclose();
                return self.keep(piece, context);
            }
            if !piece.bytes.is_empty() {
                self.state = State::Leaf;
            }
        }
        match self.state {
            State::Leaf | State::EncodedMail => self.part.update(piece, &mut self.links),
            State::Header | State::Idle | State::Nothing => {}
        }
    }

    /// Passes over bytes that were never seen, and goes on in the middle of a line.
    pub(super) fn skip(&mut self) {
        self.lines.lose();
        self.part.skip();
        self.missed |= self.state == State::Header;
        self.torn = true;
    }

    /// Ends the mail. `whole`: not by force.
    pub(super) fn end(&mut self, whole: bool, context: &mut Context<'_, '_>) {
        let mut lines = mem::take(&mut self.lines);
        if let Some(piece) = lines.finish() {
            self.take(&piece, context);
        }
        if self.state == State::Header && (self.root || !self.header.is_empty()) {
            self.end_header(context);
        }
        if !whole {
            self.part.skip();
            oddity::report(oddity::MAIL_CUT, context.sink);
        }
        self.end_part(context);
        let urls = self.links.take();
        if !urls.is_empty() {
            (context.sink)(Message::MailLinks(MailLinks { urls: &urls }));
        }
        self.state = State::Idle;
        self.open = Vec::new();
    }

    fn keep(&mut self, piece: &Piece<'_>, context: &mut Context<'_, '_>) {
        if self.header.len() + piece.bytes.len() + 2 > MAX_HEADER {
            if !mem::replace(&mut self.cut, true) {
                oddity::report(oddity::HEADER_CAP, context.sink);
            }
            return;
        }
        self.header.extend_from_slice(piece.bytes);
        self.header.extend_from_slice(piece.end.bytes());
    }

    /// A header is complete: what follows is content of its kind.
    fn end_header(&mut self, context: &mut Context<'_, '_>) {
        let header = mem::take(&mut self.header);
        self.cut = false;
        let implied = match self.open.last() {
            // RFC 2046 5.1.5
            Some(multipart) if multipart.digest && !self.enclosed => "message/rfc822",
            _ => "text/plain",
        };
        let head = PartHead::read(&header, implied);
        let multipart = head.mime_type.starts_with("multipart/");
        if mem::replace(&mut self.root, false) {
            let envelope = context.envelope;
            (context.sink)(Message::Mail(Mail {
                envelope,
                header: &header,
                multipart,
            }));
        }
        self.header = header;
        self.header.clear();
        self.state = self.state_after(head, context);
    }

    fn state_after(&mut self, mut head: PartHead, context: &mut Context<'_, '_>) -> State {
        if !context.wants.any_file() && !context.wants.links {
            return State::Nothing;
        }
        if self.parts >= MAX_PARTS {
            return State::Nothing;
        }
        self.parts += 1;
        if self.parts == MAX_PARTS {
            oddity::report(oddity::PART_CAP, context.sink);
        }
        if let Some(boundary) = head.boundary.take() {
            if self.open.len() < MAX_DEPTH {
                let digest = head.mime_type == "multipart/digest";
                self.open.push(Multipart { boundary, digest });
                return State::Nothing;
            }
            oddity::report(oddity::DEPTH_CAP, context.sink);
        }
        // RFC 2046 5.2.1 forbids encodings here; where there is one, it is a file
        let enclosed = matches!(head.mime_type.as_str(), "message/rfc822" | "message/global");
        let encoded = !matches!(head.decoder, Decoder::Identity);
        if enclosed && !encoded {
            self.enclose();
            return State::Header;
        }
        let wanted = self.part.begin(head, context.wants, &mut self.links);
        if self.missed {
            self.part.skip();
        }
        match (wanted, enclosed) {
            (true, false) => State::Leaf,
            (true, true) => State::EncodedMail,
            (false, _) => State::Nothing,
        }
    }

    /// Goes on with the header of a mail within a part.
    fn enclose(&mut self) {
        self.enclosed = true;
        self.header.clear();
        self.state = State::Header;
    }

    /// Whether a line is a boundary of an open multipart, which it then opens or closes.
    fn cross_boundary(&mut self, line: &[u8], context: &mut Context<'_, '_>) -> bool {
        let Some(line) = line.strip_prefix(b"--") else {
            return false;
        };
        let line = line.trim_ascii_end();
        let mut closes = false;
        let found = self.open.iter().rposition(|multipart| {
            match line.strip_prefix(multipart.boundary.as_slice()) {
                Some(b"") => true,
                Some(b"--") => {
                    closes = true;
                    true
                }
                _ => false,
            }
        });
        let Some(found) = found else { return false };
        if self.state == State::Header && !self.header.is_empty() {
            self.end_header(context);
        }
        self.end_part(context);
        // RFC 2046 5.1.2: the boundary of an outer multipart ends those within
        if closes {
            self.open.truncate(found);
            self.state = State::Nothing;
        } else {
            self.open.truncate(found + 1);
            self.header.clear();
            self.enclosed = false;
            self.missed = false;
            self.state = State::Header;
        }
        true
    }

    fn end_part(&mut self, context: &mut Context<'_, '_>) {
        if matches!(self.state, State::Leaf | State::EncodedMail) {
            self.state = State::Nothing;
            // the last line end of a mail without parts is its own
            self.part
                .finish(self.open.is_empty(), &mut self.links, context.sink);
        }
    }
}
