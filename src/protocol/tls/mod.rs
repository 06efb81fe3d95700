//! TLS handshakes over TCP: hellos and, up to TLS 1.2, certificates.
//!
//! Read first: RFC 8446 section 5.1 (records), section 4 (handshake messages), appendix D.4
//! (change_cipher_spec that means nothing); RFC 5246 section 7.4 for what stands in clear there.
//!
//! A handshake message may be spread over records, and records over segments. A message that
//! lies in one slice is parsed where it lies; only a spread one is copied together. The parser
//! is done as soon as nothing that [`Wants`] asks for can still come, since every further byte
//! costs reassembly. Which end is the client is told by who sends the ClientHello, not by
//! [`Direction`], for a flow picked up in its middle may have them exchanged.

mod certificate;
mod fingerprint;
mod hello;

pub use certificate::Certificate;
pub use certificate::CertificateFields;
pub use fingerprint::Ja4;
pub use hello::ClientHello;
pub use hello::Extensions;
pub use hello::ServerHello;
pub use hello::Transport;

use crate::flow::Direction;
use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;

/// Parser of both directions of one TLS flow.
#[derive(Debug, Default)]
pub struct TlsParser {
    streams: [Stream; 2],
    /// The ClientHello was handed on; a second one belongs to the same handshake.
    client_hello: bool,
    /// A HelloRetryRequest was seen, and no ServerHello yet.
    retrying: bool,
    /// Nothing more can come, or nothing more can be understood.
    done: bool,
}

/// One direction: where its record layer and its current handshake message stand.
#[derive(Debug, Default)]
struct Stream {
    /// Record header; the first `record_filled` bytes of it are there.
    record: [u8; RECORD_HEADER],
    record_filled: usize,
    /// Bytes of the current record that were not yet seen; 0 between records.
    record_left: usize,
    /// Handshake message header; the first `head_filled` bytes of it are there.
    head: [u8; MESSAGE_HEADER],
    head_filled: usize,
    /// Bytes of the current handshake message's body that were not yet seen.
    body_left: usize,
    /// Whether the body of the current handshake message is worth reading.
    wanted: bool,
    /// The seen part of the body of a wanted message that is spread over several slices.
    body: Vec<u8>,
    /// Nothing more is to be learned from this direction.
    finished: bool,
    /// Bytes passed over since then.
    passed: usize,
}

impl TlsParser {
    /// A parser at the start of a flow.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a direction of a flow that begins with `bytes` is TLS: a handshake record that
    /// begins with a hello. The hello of SSL 2.0 has no record header and is not for us.
    pub fn probe(_direction: Direction, bytes: &[u8]) -> Probe {
        let length = match bytes {
            [_, _, _, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 1,
        };
        let plausible = bytes.first().is_none_or(|byte| *byte == content::HANDSHAKE)
            && bytes.get(1).is_none_or(|byte| *byte == 3)
            && bytes.get(2).is_none_or(|byte| *byte <= 4)
            && (1..=RECORD_LIMIT).contains(&length)
            && bytes.get(5).is_none_or(|byte| {
                matches!(*byte, handshake::CLIENT_HELLO | handshake::SERVER_HELLO)
            });
        match (plausible, bytes.len() > RECORD_HEADER) {
            (false, _) => Probe::NotForUs,
            (true, false) => Probe::Unsure,
            (true, true) => Probe::Certain,
        }
    }

    fn status(&self, wants: &Wants) -> Status {
        let settled = self.client_hello && !wants_server(wants);
        if self.done || settled || self.streams.iter().all(|stream| stream.finished) {
            Status::Done
        } else {
            Status::More
        }
    }

    /// Reports `anomaly` and gives the flow up.
    fn fail(&mut self, anomaly: Anomaly, sink: &mut Sink<'_>) {
        sink(Message::Anomaly(anomaly));
        self.done = true;
    }

    const fn stream(&mut self, direction: Direction) -> &mut Stream {
        let [to_server, to_client] = &mut self.streams;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// Some bytes of a record's content; `at_start` when they are its first.
    fn read_fragment(
        &mut self,
        direction: Direction,
        fragment: &[u8],
        at_start: bool,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let retrying = self.retrying;
        let stream = self.stream(direction);
        match stream.record[0] {
            content::HANDSHAKE => self.read_handshake(direction, fragment, wants, sink),
            // RFC 8446 appendix D.4: a server may send one right after HelloRetryRequest
            content::CHANGE_CIPHER_SPEC if retrying => {}
            content::CHANGE_CIPHER_SPEC | content::APPLICATION_DATA => stream.finish(),
            // a fatal alert ends the handshake; a warning (unrecognized_name) does not
            content::ALERT if at_start && fragment.first() == Some(&FATAL) => self.done = true,
            _ => {}
        }
    }

    fn read_handshake(
        &mut self,
        direction: Direction,
        fragment: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let mut rest = fragment;
        loop {
            let stream = self.stream(direction);
            if stream.head_filled < MESSAGE_HEADER {
                rest = fill(&mut stream.head, &mut stream.head_filled, rest);
                if stream.head_filled < MESSAGE_HEADER {
                    return;
                }
                let [kind, length @ ..] = stream.head;
                let [a, b, c] = length.map(usize::from);
                self.begin_message(direction, kind, a << 16 | b << 8 | c, wants, sink);
            }
            let stream = self.stream(direction);
            if stream.finished {
                return;
            }
            let (part, after) = rest.split_at(stream.body_left.min(rest.len()));
            rest = after;
            stream.body_left -= part.len();
            if stream.body_left > 0 {
                if stream.wanted {
                    stream.body.extend_from_slice(part);
                }
                return;
            }
            stream.head_filled = 0;
            if stream.wanted {
                let kind = stream.head[0];
                let mut body = std::mem::take(&mut stream.body);
                if body.is_empty() {
                    self.read_message(direction, kind, part, wants, sink);
                } else {
                    body.extend_from_slice(part);
                    self.read_message(direction, kind, &body, wants, sink);
                }
            }
            if self.done || self.stream(direction).finished {
                return;
            }
        }
    }

    /// Decides from its header what becomes of a handshake message.
    fn begin_message(
        &mut self,
        direction: Direction,
        kind: u8,
        length: usize,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let limit = match kind {
            handshake::CLIENT_HELLO if !self.client_hello => Some(HELLO_LIMIT),
            handshake::SERVER_HELLO if wants_server(wants) => Some(HELLO_LIMIT),
            handshake::CERTIFICATE if wants.certificates => Some(CERTIFICATES_LIMIT),
            // what follows the server's hello, or its last message in clear
            handshake::SERVER_HELLO | handshake::CERTIFICATE | handshake::SERVER_HELLO_DONE => {
                self.stream(direction).finish();
                return;
            }
            0..=handshake::LAST_KNOWN => None,
            _ => {
                self.fail(Anomaly("tls.handshake-type"), sink);
                None
            }
        };
        if limit.is_some_and(|limit| length > limit) {
            self.fail(Anomaly("tls.handshake-length"), sink);
        }
        let done = self.done;
        let stream = self.stream(direction);
        stream.wanted = limit.is_some();
        stream.body_left = length;
        if done {
            stream.finish();
        }
    }

    /// A complete message of a kind that [`Self::begin_message`] wanted.
    fn read_message(
        &mut self,
        direction: Direction,
        kind: u8,
        body: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        match kind {
            handshake::CLIENT_HELLO => match ClientHello::parse(body) {
                Ok(hello) => {
                    let anomaly = hello.anomaly();
                    sink(Message::ClientHello(hello));
                    if let Some(anomaly) = anomaly {
                        sink(Message::Anomaly(anomaly));
                    }
                    self.client_hello = true;
                    self.stream(direction).finish();
                }
                Err(_) => self.fail(Anomaly("tls.client-hello"), sink),
            },
            handshake::SERVER_HELLO => match ServerHello::parse(body) {
                Ok(hello) if hello.is_hello_retry_request() => self.retrying = true,
                Ok(hello) => {
                    let last = hello.is_tls13() || !wants.certificates;
                    let anomaly = hello.anomaly();
                    sink(Message::ServerHello(hello));
                    if let Some(anomaly) = anomaly {
                        sink(Message::Anomaly(anomaly));
                    }
                    self.retrying = false;
                    if last {
                        self.stream(direction).finish();
                    }
                }
                Err(_) => self.fail(Anomaly("tls.server-hello"), sink),
            },
            _ => match read_chain(body, sink) {
                Ok(()) => self.stream(direction).finish(),
                Err(_) => self.fail(Anomaly("tls.certificates"), sink),
            },
        }
    }
}

impl Parser for TlsParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let mut rest = bytes;
        while !rest.is_empty() && !self.done {
            let stream = self.stream(direction);
            if stream.finished {
                stream.passed = stream.passed.saturating_add(rest.len());
                self.done = stream.passed > PASSED_LIMIT;
                break;
            }
            if stream.record_left == 0 {
                rest = fill(&mut stream.record, &mut stream.record_filled, rest);
                if stream.record_filled == RECORD_HEADER {
                    match record_length(stream.record) {
                        Some(length) => {
                            stream.record_left = length;
                            // an empty record has nothing to wait for
                            if length == 0 {
                                stream.record_filled = 0;
                            }
                        }
                        None => self.fail(Anomaly("tls.record"), sink),
                    }
                }
                continue;
            }
            let at_start = stream.record_filled == RECORD_HEADER;
            stream.record_filled = 0;
            let (fragment, after) = rest.split_at(stream.record_left.min(rest.len()));
            stream.record_left -= fragment.len();
            rest = after;
            self.read_fragment(direction, fragment, at_start, wants, sink);
        }
        self.status(wants)
    }

    fn gap(
        &mut self,
        direction: Direction,
        length: u64,
        wants: &Wants,
        _sink: &mut Sink<'_>,
    ) -> Status {
        let stream = self.stream(direction);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        // a hole within what is passed over anyway does no harm; else the framing is lost
        let passed_over = stream.head_filled == MESSAGE_HEADER && !stream.wanted;
        if passed_over && length < stream.body_left.min(stream.record_left) {
            stream.body_left -= length;
            stream.record_left -= length;
        } else {
            stream.finish();
        }
        self.status(wants)
    }

    fn end(&mut self, direction: Direction, _wants: &Wants, _sink: &mut Sink<'_>) {
        self.stream(direction).finish();
    }

    fn held(&self) -> usize {
        let [to_server, to_client] = &self.streams;
        size_of::<Self>() + to_server.body.capacity() + to_client.body.capacity()
    }
}

impl Stream {
    fn finish(&mut self) {
        self.finished = true;
        self.body = Vec::new();
    }
}

/// Whether anything that a server sends is of interest.
const fn wants_server(wants: &Wants) -> bool {
    wants.ja3s || wants.certificates
}

/// Moves bytes into what is missing of a header and returns the bytes after them.
fn fill<'b, const N: usize>(header: &mut [u8; N], filled: &mut usize, bytes: &'b [u8]) -> &'b [u8] {
    let missing = header.get_mut(*filled..).unwrap_or_default();
    let (taken, rest) = bytes.split_at(missing.len().min(bytes.len()));
    for (place, byte) in missing.iter_mut().zip(taken) {
        *place = *byte;
    }
    *filled += taken.len();
    rest
}

/// The length that a record header gives; `None` where it is no record header.
fn record_length([kind, major, minor, high, low]: [u8; RECORD_HEADER]) -> Option<usize> {
    let length = usize::from(u16::from_be_bytes([high, low]));
    let known = (content::CHANGE_CIPHER_SPEC..=content::HEARTBEAT).contains(&kind);
    (known && major == 3 && minor <= 4 && length <= RECORD_LIMIT).then_some(length)
}

/// Hands on the certificates of a Certificate message (RFC 5246 section 7.4.2).
fn read_chain(body: &[u8], sink: &mut Sink<'_>) -> Result<(), ParseError> {
    let mut input = Octets::new(body);
    let length = input.u24("certificate list length")?;
    let mut list = input.nested(length as usize, "certificate list")?;
    let mut index = 0;
    while !list.is_empty() {
        if index == CHAIN_LIMIT {
            return Err(ParseError::malformed(list.offset(), "certificate count"));
        }
        let length = list.u24("certificate length")?;
        let der = list.take(length as usize, "certificate")?;
        sink(Message::Certificate(Certificate::new(der, index)));
        index += 1;
    }
    Ok(())
}

/// Content types of records (RFC 8446 section 5.1; RFC 6520 for heartbeat).
mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
    pub(super) const HEARTBEAT: u8 = 24;
}

/// Types of handshake messages (IANA "TLS HandshakeType").
mod handshake {
    pub(super) const CLIENT_HELLO: u8 = 1;
    pub(super) const SERVER_HELLO: u8 = 2;
    pub(super) const CERTIFICATE: u8 = 11;
    pub(super) const SERVER_HELLO_DONE: u8 = 14;
    /// next_protocol (67), the highest that browsers ever sent.
    pub(super) const LAST_KNOWN: u8 = 67;
}

/// The level of an alert that ends the connection (RFC 5246 section 7.2).
const FATAL: u8 = 2;

const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;

/// Longest content of a record: 2^14 and what TLS 1.2 lets encryption add (RFC 5246
/// section 6.2.3).
const RECORD_LIMIT: usize = (1 << 14) + 2048;

/// Longest hello: ten times the largest seen in use, those with two post-quantum key shares.
const HELLO_LIMIT: usize = 64 << 10;

/// Longest Certificate message: OpenSSL takes chains of 100 KiB unless told otherwise.
const CERTIFICATES_LIMIT: usize = 128 << 10;

/// Longest chain: OpenSSL verifies 100 certificates, no public server sends ten; each one costs
/// the matching of its fields and digests.
const CHAIN_LIMIT: usize = 32;

/// Bytes of a finished direction after which the other one is no longer waited for: more than
/// the early data (RFC 8446 section 2.3) that servers accept before they answer, 16 KiB.
const PASSED_LIMIT: usize = 64 << 10;

#[cfg(test)]
mod tests;
