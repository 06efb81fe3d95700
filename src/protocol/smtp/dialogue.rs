//! The dialogue of a client and a server (RFC 5321 3 and 4, RFC 2920, RFC 3030, RFC 3207).

use std::mem;

use crate::flow::Direction;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::smtp::address::read_path;
use crate::protocol::smtp::body::Context;
use crate::protocol::smtp::body::MailReader;
use crate::protocol::smtp::line::LineEnd;
use crate::protocol::smtp::line::Lines;
use crate::protocol::smtp::line::MAX_LINE;
use crate::protocol::smtp::line::Piece;
use crate::protocol::smtp::mail::Envelope;
use crate::protocol::smtp::mail::EnvelopeAddress;
use crate::protocol::smtp::mail::MAX_RECIPIENTS;
use crate::protocol::smtp::mail::Role;
use crate::protocol::smtp::oddity;
use crate::protocol::smtp::probe;

/// Follows the two streams of an SMTP flow.
#[derive(Debug, Default)]
pub struct SmtpParser {
    client: Lines,
    server: Lines,
    dialogue: Dialogue,
}

#[derive(Debug, Default)]
struct Dialogue {
    state: State,
    envelope: Envelope,
    mail: MailReader,
    /// The server's answer to DATA.
    answer: Answer,
    /// Whether the client's next line answers a challenge of AUTH.
    challenged: bool,
    /// Whether commands end with a bare LF: then so does what the server takes for lines.
    bare: bool,
    /// Whether the last line of the mail ended with CR LF.
    after_crlf: bool,
    /// Whether bytes of the client were never seen since the last command that was.
    missed: bool,
    /// Whether commands followed STARTTLS at once; told once.
    injected: bool,
}

/// What the client's next bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Command,
    /// A mail if the server agrees to DATA, commands if not.
    Data,
    /// Lines of a mail.
    Mail,
    /// So many bytes of a mail; the last, or not.
    Chunk { left: u64, last: bool },
    /// After STARTTLS: TLS if the server agrees, commands if not.
    StartTls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    Unseen,
    Agreed,
    Refused,
}

/// A command that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// EHLO, HELO, LHLO.
    Hello,
    /// MAIL and its older kin, with what follows the colon.
    Mail(&'a [u8]),
    /// RCPT.
    Recipient(&'a [u8]),
    Data,
    /// BDAT (RFC 3030); no size where that is no number.
    Chunk {
        size: Option<u64>,
        last: bool,
    },
    Reset,
    StartTls,
    /// NOOP, QUIT and the like.
    Other,
}

/// The first byte of a TLS record of a handshake (RFC 8446 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

impl SmtpParser {
    /// A parser for a flow from its first bytes, or from wherever it was first seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the first bytes that were seen of a direction are SMTP.
    pub fn probe(direction: Direction, bytes: &[u8]) -> Probe {
        probe::probe(direction, bytes)
    }

    fn parse_client(&mut self, bytes: &[u8], wants: &Wants, sink: &mut Sink<'_>) -> Status {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if let State::Chunk { left, last } = self.dialogue.state {
                let length = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                let (chunk, later) = rest.split_at(length);
                rest = later;
                self.dialogue.take_chunk(chunk, left, last, wants, sink);
                continue;
            }
            if self.dialogue.state == State::StartTls
                && *first == TLS_HANDSHAKE
                && self.client.is_at_start()
            {
                return Status::Switch(bytes.len() - rest.len());
            }
            let Some(piece) = self.client.next(&mut rest) else {
                break;
            };
            self.dialogue.take_piece(&piece, wants, sink);
        }
        Status::More
    }

    fn parse_server(&mut self, bytes: &[u8], wants: &Wants, sink: &mut Sink<'_>) -> Status {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(piece) = self.server.next(&mut rest) else {
                break;
            };
            // RFC 5321 4.2.1: a hyphen after the code says that more lines follow
            if let Some((code, [] | [b' ', ..])) = piece.bytes.split_at_checked(3)
                && piece.starts
            {
                // RFC 3207 4: TLS begins behind the 220
                if code == b"220" && self.dialogue.state == State::StartTls {
                    return Status::Switch(bytes.len() - rest.len());
                }
                if self.dialogue.take_answer(code, wants, sink) {
                    self.client = Lines::default();
                }
            }
        }
        Status::More
    }
}

impl Parser for SmtpParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        match direction {
            Direction::ToServer => self.parse_client(bytes, wants, sink),
            Direction::ToClient => self.parse_server(bytes, wants, sink),
        }
    }

    fn gap(
        &mut self,
        direction: Direction,
        length: u64,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        match direction {
            Direction::ToClient => {
                self.server.lose();
                // the answer may have been among what was missed
                if self.dialogue.answer == Answer::Refused {
                    self.dialogue.answer = Answer::Unseen;
                }
            }
            Direction::ToServer => {
                oddity::report(oddity::GAP, sink);
                if self.dialogue.miss(length, wants, sink) {
                    self.client.lose();
                }
            }
        }
        Status::More
    }

    fn end(&mut self, direction: Direction, wants: &Wants, sink: &mut Sink<'_>) {
        if direction == Direction::ToServer {
            if let Some(piece) = self.client.finish() {
                self.dialogue.take_piece(&piece, wants, sink);
            }
            self.dialogue.end_mail(false, wants, sink);
            self.dialogue.state = State::Command;
        }
    }

    fn held(&self) -> usize {
        size_of::<Self>()
            + self.client.held()
            + self.server.held()
            + self.dialogue.envelope.held()
            + self.dialogue.mail.held()
    }
}

impl Dialogue {
    /// Takes a line of the client, or a piece of one.
    fn take_piece(&mut self, piece: &Piece<'_>, wants: &Wants, sink: &mut Sink<'_>) {
        if self.state == State::Data {
            let refused = match self.answer {
                Answer::Agreed => false,
                Answer::Refused => true,
                // no mail begins with a command
                Answer::Unseen => piece.is_whole() && Command::read(piece.bytes).is_some(),
            };
            self.state = match refused {
                true => State::Command,
                false => self.begin_mail(),
            };
        }
        match self.state {
            State::Mail => self.take_text(piece, wants, sink),
            _ => self.take_command(piece, wants, sink),
        }
    }

    fn begin_mail(&mut self) -> State {
        self.mail.begin();
        self.after_crlf = true;
        State::Mail
    }

    fn take_command(&mut self, piece: &Piece<'_>, wants: &Wants, sink: &mut Sink<'_>) {
        if !piece.starts {
            return;
        }
        if mem::take(&mut self.challenged) {
            return;
        }
        let Some(command) = Command::read(piece.bytes) else {
            return;
        };
        if piece.bytes.len() >= MAX_LINE {
            oddity::report(oddity::LONG_COMMAND, sink);
        }
        if self.state == State::StartTls && !mem::replace(&mut self.injected, true) {
            oddity::report(oddity::STARTTLS_INJECTION, sink);
        }
        self.bare = piece.end == LineEnd::Lf;
        self.missed = false;
        self.state = State::Command;
        match command {
            Command::Hello | Command::Reset => {
                self.end_mail(false, wants, sink);
                self.envelope.clear();
            }
            Command::Mail(path) => {
                self.end_mail(false, wants, sink);
                self.envelope.clear();
                if let Some(address) = read_path(path) {
                    self.tell(Role::MailFrom, &address, sink);
                    self.envelope.from = Some(address.into_owned());
                }
            }
            Command::Recipient(path) => {
                if let Some(address) = read_path(path) {
                    self.tell(Role::RcptTo, &address, sink);
                    if self.envelope.to.len() < MAX_RECIPIENTS {
                        self.envelope.to.push(address.into_owned());
                    }
                }
            }
            Command::Data => {
                self.answer = Answer::Unseen;
                self.state = State::Data;
            }
            Command::Chunk { size: None, .. } => oddity::report(oddity::CHUNK_SIZE, sink),
            Command::Chunk {
                size: Some(size),
                last,
            } => {
                if !self.mail.is_reading() {
                    self.mail.begin();
                }
                self.take_chunk(&[], size, last, wants, sink);
            }
            Command::StartTls => {
                self.injected = false;
                self.state = State::StartTls;
            }
            Command::Other => {}
        }
    }

    fn tell(&self, role: Role, address: &str, sink: &mut Sink<'_>) {
        let earlier = &self.envelope;
        sink(Message::EnvelopeAddress(EnvelopeAddress {
            role,
            address,
            earlier,
        }));
    }

    /// Takes bytes of a chunk of which `left` are to come.
    fn take_chunk(
        &mut self,
        bytes: &[u8],
        left: u64,
        last: bool,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let mut context = Context {
            envelope: &self.envelope,
            wants,
            sink,
        };
        self.mail.update(bytes, &mut context);
        let left = left.saturating_sub(bytes.len() as u64);
        self.state = match left {
            0 => State::Command,
            left => State::Chunk { left, last },
        };
        if left == 0 && last {
            self.end_mail(true, wants, sink);
            self.envelope.clear();
        }
    }

    /// Takes a line of a mail (RFC 5321 4.5.2), or a piece of one.
    fn take_text(&mut self, piece: &Piece<'_>, wants: &Wants, sink: &mut Sink<'_>) {
        let at_crlf = mem::replace(&mut self.after_crlf, piece.end == LineEnd::CrLf);
        let mut piece = *piece;
        if piece.starts {
            if self.missed && shows_missed_end(&piece) {
                self.end_mail(false, wants, sink);
                self.state = State::Command;
                return self.take_command(&piece, wants, sink);
            }
            // RFC 5321 4.1.1.4: only CR LF ends a line, unless nothing here does with CR
            let strict = at_crlf && piece.end == LineEnd::CrLf;
            if piece.bytes == b"." && piece.ends() {
                if strict || self.bare || self.missed {
                    self.end_mail(true, wants, sink);
                    self.envelope.clear();
                    self.state = State::Command;
                    return;
                }
                oddity::report(oddity::BARE_LF_DOT, sink);
            }
            if at_crlf || self.bare {
                piece.bytes = piece.bytes.strip_prefix(b".").unwrap_or(piece.bytes);
            }
        }
        let mut context = Context {
            envelope: &self.envelope,
            wants,
            sink,
        };
        self.mail.take(&piece, &mut context);
    }

    /// Takes the last line of an answer; whether the client's next byte is the first of a line.
    fn take_answer(&mut self, code: &[u8], wants: &Wants, sink: &mut Sink<'_>) -> bool {
        self.challenged = code == b"334" && self.state == State::Command;
        match (self.state, code) {
            (State::Data, b"354") => self.answer = Answer::Agreed,
            (State::Data, [b'4' | b'5', ..]) if self.answer == Answer::Unseen => {
                self.answer = Answer::Refused;
            }
            // the DATA command was missed
            (State::Command, b"354") if self.missed => {
                self.state = self.begin_mail();
                return true;
            }
            // the end of the mail was missed
            (State::Mail, [b'2' | b'4' | b'5', ..])
                if self.missed && self.answer == Answer::Agreed =>
            {
                self.end_mail(false, wants, sink);
                self.envelope.clear();
                self.state = State::Command;
            }
            _ => {}
        }
        false
    }

    /// Bytes of the client were never seen; whether they ended in the middle of a line.
    fn miss(&mut self, length: u64, wants: &Wants, sink: &mut Sink<'_>) -> bool {
        self.challenged = false;
        match self.state {
            State::Chunk { left, last } if length <= left => {
                self.mail.skip();
                self.state = State::Chunk {
                    left: left - length,
                    last,
                };
                if left == length {
                    self.take_chunk(&[], 0, last, wants, sink);
                }
                return false;
            }
            State::Chunk { .. } => {
                self.mail.skip();
                self.end_mail(false, wants, sink);
                self.envelope.clear();
                self.state = State::Command;
            }
            State::Data if self.answer != Answer::Refused => {
                self.state = self.begin_mail();
                self.mail.skip();
            }
            State::Mail => self.mail.skip(),
            State::Data | State::Command | State::StartTls => {}
        }
        self.missed = true;
        true
    }

    fn end_mail(&mut self, whole: bool, wants: &Wants, sink: &mut Sink<'_>) {
        if self.mail.is_reading() {
            let mut context = Context {
                envelope: &self.envelope,
                wants,
                sink,
            };
            self.mail.end(whole, &mut context);
        }
    }
}

/// Whether a line in a mail with a gap is the command after that mail.
fn shows_missed_end(piece: &Piece<'_>) -> bool {
    piece.is_whole()
        && match Command::read(piece.bytes) {
            Some(Command::Mail(path)) => path.trim_ascii_start().starts_with(b"<"),
            Some(Command::Reset | Command::StartTls | Command::Data) => true,
            Some(Command::Other) => piece.bytes.eq_ignore_ascii_case(b"QUIT"),
            _ => false,
        }
}

impl<'a> Command<'a> {
    /// Reads a command line without its end; `None` for what is none.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        let end = line
            .iter()
            .position(|c| !c.is_ascii_alphanumeric())
            .unwrap_or(line.len());
        let (verb, rest) = line.split_at(end);
        let argument = rest.trim_ascii_start();
        let verb = |name: &str| verb.eq_ignore_ascii_case(name.as_bytes());
        let alone = argument.is_empty();
        if verb("EHLO") || verb("HELO") || verb("LHLO") {
            return Some(Self::Hello);
        }
        if verb("MAIL") || verb("SEND") || verb("SOML") || verb("SAML") {
            return path_after(argument, b"FROM").map(Self::Mail);
        }
        if verb("RCPT") {
            return path_after(argument, b"TO").map(Self::Recipient);
        }
        if verb("BDAT") && rest.starts_with(b" ") {
            let mut words = argument
                .split(u8::is_ascii_whitespace)
                .filter(|w| !w.is_empty());
            let size = words
                .next()
                .and_then(|w| std::str::from_utf8(w).ok()?.parse().ok());
            let last = words
                .next()
                .is_some_and(|w| w.eq_ignore_ascii_case(b"LAST"));
            return Some(Self::Chunk { size, last });
        }
        if verb("DATA") && alone {
            return Some(Self::Data);
        }
        if verb("RSET") && alone {
            return Some(Self::Reset);
        }
        if verb("STARTTLS") && alone {
            return Some(Self::StartTls);
        }
        ((verb("QUIT") && alone) || (verb("NOOP") && (alone || rest.starts_with(b" "))))
            .then_some(Self::Other)
    }
}

/// What follows `FROM:` or `TO:`, whose colon some senders leave out.
fn path_after<'a>(argument: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = argument.split_at_checked(word.len())?;
    let rest = rest.trim_ascii_start();
    let path = rest
        .strip_prefix(b":")
        .or_else(|| rest.starts_with(b"<").then_some(rest))?;
    start.eq_ignore_ascii_case(word).then_some(path)
}
