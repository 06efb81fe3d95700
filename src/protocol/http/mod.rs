//! HTTP/1 (RFC 9110, RFC 9112).
//!
//! Two streams, each a series of heads and bodies, are followed side by side: `head` and
//! `field` read heads, `url` has the normal form of hosts and URLs, `body` finds where
//! bodies end, `content` undoes codings, `file` names, measures and digests what was
//! transferred, and `exchange` remembers which request a response answers. What one side
//! lacks, because it was never seen, the other does without.
//!
//! A stream that is lost (bytes that are no head, or a gap where framing hung on what
//! was missed) is found again at the next line that opens a head.

mod body;
mod content;
mod exchange;
mod field;
mod file;
mod head;
mod oddity;
mod side;
mod start;
mod url;

#[cfg(test)]
mod tests;

use std::mem;

use memchr::memchr;

use crate::flow::Direction;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::http::body::EmptyLine;
use crate::protocol::http::body::Framing;
use crate::protocol::http::exchange::Exchanges;
use crate::protocol::http::side::Side;
use crate::protocol::http::side::State;
use crate::protocol::http::start::Collected;

pub use crate::protocol::http::head::Headers;
pub use crate::protocol::http::head::HttpRequest;
pub use crate::protocol::http::head::HttpResponse;
pub use crate::protocol::http::head::Version;
pub use crate::protocol::http::side::MAX_HEAD;
pub use crate::protocol::http::url::normalise_url;

// for HTTP/2, whose messages are the same
pub(in crate::protocol) use crate::protocol::http::exchange::Method;
pub(in crate::protocol) use crate::protocol::http::file::Transfer;
pub(in crate::protocol) use crate::protocol::http::file::name_of_target;
pub(in crate::protocol) use crate::protocol::http::head::RequestLine;
pub(in crate::protocol) use crate::protocol::http::head::Scratch;
pub(in crate::protocol) use crate::protocol::http::head::translate_request;
pub(in crate::protocol) use crate::protocol::http::head::translate_response;
pub(in crate::protocol) use crate::protocol::http::oddity::Oddity;

/// Follows the two streams of an HTTP/1 flow.
#[derive(Default)]
pub struct HttpParser {
    client: Side,
    server: Side,
    exchanges: Exchanges,
    scratch: Scratch,
}

impl HttpParser {
    /// A parser for a flow from its first bytes, or from wherever it was first seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the first bytes that were seen of a direction are HTTP/1.
    pub fn probe(direction: Direction, bytes: &[u8]) -> Probe {
        start::probe(direction, bytes)
    }

    const fn side(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::ToServer => &mut self.client,
            Direction::ToClient => &mut self.server,
        }
    }

    /// Collects a head, and reads it when it is whole or too long to keep.
    fn read_head(
        &mut self,
        direction: Direction,
        rest: &mut &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Handover {
        let side = self.side(direction);
        if side.held.is_empty() {
            // RFC 9112 2.2: empty lines before a head are passed over
            let blank = rest.iter().position(|c| *c > b' ').unwrap_or(rest.len());
            *rest = rest.get(blank..).unwrap_or_default();
            let all: &[u8] = rest;
            let window = all.get(..MAX_HEAD).unwrap_or(all);
            if window.is_empty() {
                return Handover::No;
            }
            let collected = start::collect(direction, window, &mut side.scanned, side.lost);
            if collected == Collected::Part && window.len() < MAX_HEAD {
                side.held.extend_from_slice(window);
                *rest = &[];
                return Handover::No;
            }
            let taken = self.take(direction, window, collected, wants, sink);
            *rest = all.get(taken.bytes..).unwrap_or_default();
            return taken.handover;
        }
        let before = side.held.len();
        let room = MAX_HEAD.saturating_sub(before);
        let added = rest.get(..room).unwrap_or(rest);
        side.held.extend_from_slice(added);
        let collected = start::collect(direction, &side.held, &mut side.scanned, side.lost);
        if collected == Collected::Part && side.held.len() < MAX_HEAD {
            *rest = &[];
            return Handover::No;
        }
        let mut held = mem::take(&mut side.held);
        let taken = self.take(direction, &held, collected, wants, sink);
        if let Some(ahead) = taken.bytes.checked_sub(before) {
            *rest = rest.get(ahead..).unwrap_or_default();
            held.clear();
        } else {
            // only a line that proved to be no chunk's size was held with lines after it
            *rest = rest.get(added.len()..).unwrap_or_default();
            held.drain(..taken.bytes);
        }
        self.side(direction).reuse(held);
        taken.handover
    }

    /// Takes from `bytes` the head or the junk that was found at its start.
    fn take(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        collected: Collected,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Taken {
        let side = self.side(direction);
        side.scanned = 0;
        match collected {
            Collected::Junk => {
                side.lose(Oddity::Junk, sink);
                let line = memchr(b'\n', bytes).map(|lf| lf + 1);
                side.state = line.map_or(State::Junk, |_| State::Head);
                Taken {
                    bytes: line.unwrap_or(bytes.len()),
                    handover: Handover::No,
                }
            }
            Collected::Head(end) => {
                let head = bytes.get(..end).unwrap_or(bytes);
                Taken {
                    bytes: head.len(),
                    handover: self.take_head(direction, head, None, wants, sink),
                }
            }
            Collected::Part => {
                // nobody hides a request behind the length of its head
                sink(Message::Anomaly(Oddity::HeadCap.anomaly()));
                let (head, partial) = split_lines(bytes);
                let line = EmptyLine::within(partial);
                Taken {
                    bytes: bytes.len(),
                    handover: self.take_head(direction, head, Some(line), wants, sink),
                }
            }
        }
    }

    /// Reads a head and what it says of the body. `cut` is where, in its last line, a head
    /// beyond the cap was cut.
    fn take_head(
        &mut self,
        direction: Direction,
        head: &[u8],
        cut: Option<EmptyLine>,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Handover {
        self.side(direction).lost = false;
        let (framing, handover) = match direction {
            Direction::ToServer => self.take_request(head, wants, sink),
            Direction::ToClient => self.take_response(head, wants, sink),
        };
        self.side(direction).state = match (cut, framing) {
            (Some(line), framing) => State::HeadRest(line, framing),
            (None, Some(framing)) => State::Body(framing),
            (None, None) if handover == Handover::Awaited => State::Tunnel,
            (None, None) => State::Head,
        };
        handover
    }

    fn take_request(
        &mut self,
        head: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> (Option<Framing>, Handover) {
        let (request, mut fields) = head::read_request(head, &mut self.scratch);
        let method = Method::named(request.method.as_bytes());
        let remembered = self.exchanges.push(method, fields.upgrade, |name| {
            if wants.any_file() {
                name_of_target(request.target, name);
            }
        });
        // where responses are never seen, this says nothing of the traffic
        if !remembered && self.server.seen {
            fields.oddities.note(Oddity::PipelineCap);
        }
        fields.report(sink);
        // RFC 9110 9.3.6: what follows a CONNECT is no body
        if method == Method::Connect {
            sink(Message::HttpRequest(request));
            return (None, Handover::Awaited);
        }
        let framing = Framing::of_request(&fields);
        if framing.is_some() {
            let name = |name: &mut String| {
                // a PUT names what it stores; what a POST names is its recipient
                if method == Method::Put {
                    name_of_target(request.target, name);
                }
            };
            self.client.transfer.begin(&fields, name, wants);
        }
        sink(Message::HttpRequest(request));
        (framing, Handover::No)
    }

    fn take_response(
        &mut self,
        head: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> (Option<Framing>, Handover) {
        if mem::take(&mut self.server.missed) {
            // how many responses were missed is unknown: this one answers the last request
            self.exchanges.keep_newest();
        }
        let request = self.exchanges.oldest();
        let method = request.map(|request| request.method);
        let (response, fields) = head::read_response(head, method.and_then(Method::name));
        let status = response.status;
        fields.report(sink);
        let switched = match status {
            // RFC 9110 9.3.6
            200..=299 => method == Some(Method::Connect),
            // RFC 9110 15.2.2
            101 => request.is_none_or(|request| request.upgrade),
            _ => false,
        };
        let framing =
            Framing::of_response(&fields, status, response.request_method).filter(|_| !switched);
        if framing.is_some() {
            let name = |name: &mut String| {
                name.push_str(request.map_or("", |request| request.name.as_str()));
            };
            self.server.transfer.begin(&fields, name, wants);
        }
        sink(Message::HttpResponse(response));
        if switched {
            return (None, Handover::Now);
        }
        // RFC 9110 15.2: an interim response leaves the request open
        if !matches!(status, 100..=199) {
            self.exchanges.pop();
            if method == Some(Method::Connect) && self.client.state == State::Tunnel {
                self.client.state = State::Head;
            }
        }
        (framing, Handover::No)
    }

    /// Hands on a request whose head was interrupted, if it says for whom it is.
    fn salvage(&mut self, direction: Direction, wants: &Wants, sink: &mut Sink<'_>) {
        let side = self.side(direction);
        let held = mem::take(&mut side.held);
        side.scanned = 0;
        if held.is_empty() {
            return;
        }
        let lost = side.lost;
        let (head, _) = split_lines(&held);
        if start::opens_head(direction, head, lost) != Some(true) {
            return;
        }
        sink(Message::Anomaly(Oddity::HeadCut.anomaly()));
        if direction == Direction::ToServer {
            let (request, _) = head::read_request(head, &mut self.scratch);
            if request.host.is_some() || request.version == Version::HTTP_09 {
                self.take_request(head, wants, sink);
            }
        }
    }
}

impl Parser for HttpParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let mut rest = bytes;
        while !rest.is_empty() {
            let server_seen = self.server.seen;
            let side = self.side(direction);
            side.seen = true;
            match side.state {
                State::Head => {
                    if self.read_head(direction, &mut rest, wants, sink) == Handover::Now {
                        return Status::Switch(bytes.len() - rest.len());
                    }
                }
                State::Junk => {
                    let line = memchr(b'\n', rest).map(|lf| lf + 1);
                    rest = rest.get(line.unwrap_or(rest.len())..).unwrap_or_default();
                    if line.is_some() {
                        side.state = State::Head;
                    }
                }
                State::HeadRest(mut line, framing) => {
                    let end = line.find(rest);
                    rest = rest.get(end.unwrap_or(rest.len())..).unwrap_or_default();
                    side.state = match (end, framing) {
                        (None, framing) => State::HeadRest(line, framing),
                        (Some(_), Some(framing)) => State::Body(framing),
                        (Some(_), None) => State::Head,
                    };
                }
                State::Body(framing) => side.read_body(direction, framing, &mut rest, sink),
                // the answer will never be seen
                State::Tunnel if !server_seen => {
                    return Status::Switch(bytes.len() - rest.len());
                }
                State::Tunnel | State::Closed => rest = &[],
            }
        }
        Status::More
    }

    fn gap(
        &mut self,
        direction: Direction,
        length: u64,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let side = self.side(direction);
        side.seen = true;
        match side.state {
            State::Head => {
                self.salvage(direction, wants, sink);
                self.side(direction).lose(Oddity::Gap, sink);
            }
            State::Junk | State::HeadRest(..) => side.lose(Oddity::Gap, sink),
            State::Body(framing) => side.skip_body(direction, framing, length, sink),
            State::Tunnel | State::Closed => {}
        }
        Status::More
    }

    fn end(&mut self, direction: Direction, wants: &Wants, sink: &mut Sink<'_>) {
        match self.side(direction).state {
            State::Head => self.salvage(direction, wants, sink),
            State::Body(framing) => self.side(direction).end_body(direction, framing, sink),
            State::Junk | State::HeadRest(..) | State::Tunnel | State::Closed => {}
        }
        let side = self.side(direction);
        side.held = Vec::new();
        side.state = State::Closed;
    }

    fn held(&self) -> usize {
        size_of::<Self>()
            + self.client.memory()
            + self.server.memory()
            + self.exchanges.held()
            + self.scratch.held()
    }
}

/// What becomes of the flow after a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handover {
    /// It stays HTTP.
    No,
    /// A CONNECT request asks for another protocol.
    Awaited,
    /// It carries another protocol from here on.
    Now,
}

/// What was taken at the place of a head.
struct Taken {
    bytes: usize,
    handover: Handover,
}

/// The whole lines of `bytes`, and the start of the one after them.
fn split_lines(bytes: &[u8]) -> (&[u8], &[u8]) {
    let lines = bytes.iter().rposition(|c| *c == b'\n');
    bytes.split_at(lines.map_or(0, |lf| lf + 1))
}
