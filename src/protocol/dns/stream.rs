//! DNS over TCP: messages with a length before each (RFC 7766 section 8).

use crate::flow::Direction;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::dns::DnsMessage;
use crate::protocol::dns::HEADER;

/// Parser of both directions of one DNS flow over TCP.
///
/// A message that lies in one slice is handed on from there. A direction holds at most one
/// incomplete message, which its 16-bit length bounds to 64 KiB.
#[derive(Debug, Default)]
pub struct DnsStream {
    /// Incomplete message of each direction, its length included.
    pending: [Vec<u8>; 2],
    /// Framing was lost.
    done: bool,
}

impl DnsStream {
    /// A parser at the start of a flow.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a direction of a flow that begins with `bytes` is DNS over TCP.
    pub fn probe(bytes: &[u8]) -> Probe {
        let Some((length, rest)) = split_length(bytes) else {
            return Probe::Unsure;
        };
        let message = rest.get(..length).unwrap_or(rest);
        match DnsMessage::parse(message) {
            _ if length < HEADER => Probe::NotForUs,
            Ok(header) => header.probe(message.len() == length),
            Err(error) if error.is_incomplete() => Probe::Unsure,
            Err(_) => Probe::NotForUs,
        }
    }

    fn read(&mut self, message: &[u8], sink: &mut Sink<'_>) {
        match DnsMessage::parse(message) {
            Ok(message) => sink(Message::Dns(message)),
            Err(_) => {
                sink(Message::Anomaly(Anomaly("dns.header")));
                self.done = true;
            }
        }
    }
}

impl Parser for DnsStream {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        _wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let mut rest = bytes;
        while !rest.is_empty() && !self.done {
            let [to_server, to_client] = &mut self.pending;
            let pending = match direction {
                Direction::ToServer => to_server,
                Direction::ToClient => to_client,
            };
            if pending.is_empty()
                && let Some((length, after)) = split_length(rest)
                && let Some((message, after)) = after.split_at_checked(length)
            {
                rest = after;
                self.read(message, sink);
                continue;
            }
            let missing = match split_length(pending) {
                Some((length, body)) => length.saturating_sub(body.len()),
                None => LENGTH - pending.len(),
            };
            let (part, after) = rest.split_at(missing.min(rest.len()));
            rest = after;
            pending.extend_from_slice(part);
            if split_length(pending).is_some_and(|(length, body)| body.len() == length) {
                let whole = std::mem::take(pending);
                self.read(whole.get(LENGTH..).unwrap_or_default(), sink);
            }
        }
        if self.done {
            Status::Done
        } else {
            Status::More
        }
    }

    fn gap(
        &mut self,
        _direction: Direction,
        _length: u64,
        _wants: &Wants,
        _sink: &mut Sink<'_>,
    ) -> Status {
        // where the next message begins cannot be told
        self.done = true;
        Status::Done
    }

    fn end(&mut self, direction: Direction, _wants: &Wants, _sink: &mut Sink<'_>) {
        let [to_server, to_client] = &mut self.pending;
        *match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        } = Vec::new();
    }

    fn held(&self) -> usize {
        let [to_server, to_client] = &self.pending;
        size_of::<Self>() + to_server.capacity() + to_client.capacity()
    }
}

/// The length that `bytes` begin with, and the bytes after it.
fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
    Some((usize::from(u16::from_be_bytes(*length)), rest))
}

const LENGTH: usize = 2;
