//! QUIC handshakes (RFC 9000, RFC 9001, RFC 9369): the ClientHello in Initial packets.
//!
//! Read first: RFC 9000 sections 12.2 (coalesced packets) and 17.2 (long headers), RFC 9001
//! sections 5.2 (keys of Initial packets) and 5.4 (header protection).
//!
//! Initial packets are encrypted with keys that follow from the connection id in the client's
//! first one, so that anyone on the path can read them; everything later is out of sight. The
//! parser opens what authenticates, puts CRYPTO frames in order over packets and datagrams, and
//! is done with the ClientHello. Packets that do not authenticate are passed over, as a server
//! passes over them.

mod frame;
mod packet;
mod protection;

#[cfg(test)]
mod tests;

use crate::flow::Direction;
use crate::flow::assembler::Assembler;
use crate::flow::assembler::Chunk;
use crate::flow::assembler::Overlap;
use crate::octets::Octets;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::quic::frame::Crypto;
use crate::protocol::quic::frame::Frames;
use crate::protocol::quic::packet::ConnectionId;
use crate::protocol::quic::packet::Initial;
use crate::protocol::quic::packet::Packets;
use crate::protocol::quic::packet::Version;
use crate::protocol::quic::protection::Keys;
use crate::protocol::tls::ClientHello;
use crate::protocol::tls::Transport;

/// Looks for the ClientHello in the datagrams of one flow.
#[derive(Debug, Default)]
pub struct QuicParser {
    /// Oldest first.
    handshakes: Vec<Handshake>,
    /// Whose packets opened with the keys of a client; `None` before any did.
    client: Option<Direction>,
    /// A packet's copy, decrypted in place; reused.
    packet: Vec<u8>,
    /// Datagrams taken so far.
    datagrams: u32,
}

/// A client's side of one handshake, as far as it was seen.
#[derive(Debug)]
struct Handshake {
    version: Version,
    /// What the keys follow from: the destination of the client's first packet, or of the first
    /// after a Retry.
    destination: ConnectionId,
    keys: Keys,
    /// The largest packet number that authenticated; `None` before the first.
    largest: Option<u64>,
    assembler: Assembler,
    /// The CRYPTO stream from its start, as far as it is without holes.
    stream: Vec<u8>,
}

impl QuicParser {
    /// A parser at the start of a flow, or wherever it was first seen.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a datagram carries an Initial packet of a known version.
    ///
    /// What is no QUIC fails at its first byte or at the version that follows.
    pub fn probe_datagram(bytes: &[u8]) -> Probe {
        match Packets::new(bytes).next() {
            Some(_) => Probe::Certain,
            None => Probe::NotForUs,
        }
    }

    /// Takes the next datagram that one end sent.
    ///
    /// The ClientHello is handed on with the datagram that completes it, and the client is who
    /// sent that: `direction` may say otherwise where the start of the flow was not seen.
    pub fn datagram(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        _wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        self.datagrams = self.datagrams.saturating_add(1);
        if self.client.is_none_or(|client| client == direction) {
            let mut first = None;
            for initial in Packets::new(bytes).take(MAX_COALESCED) {
                // RFC 9000 section 12.2: one datagram is for one connection
                if *first.get_or_insert(initial.destination) != initial.destination {
                    break;
                }
                let Some(at) = self.open(&initial) else {
                    continue;
                };
                self.client = Some(direction);
                match self.read_frames(at, sink) {
                    Ok(false) => {}
                    Ok(true) => return Status::Done,
                    // a server gives such a handshake up; another may be the real one
                    Err(anomaly) => {
                        sink(Message::Anomaly(anomaly));
                        self.handshakes.remove(at);
                    }
                }
            }
        }
        if self.datagrams >= MAX_DATAGRAMS {
            return Status::Done;
        }
        Status::More
    }

    /// Bytes of memory that handshakes and buffers take.
    pub fn held(&self) -> usize {
        let handshakes = self.handshakes.iter().map(|handshake| {
            size_of::<Handshake>() + handshake.stream.capacity() + handshake.assembler.buffered()
        });
        size_of::<Self>() + self.packet.capacity() + handshakes.sum::<usize>()
    }

    /// Decrypts a packet into [`Self::packet`], and finds the handshake whose keys opened it.
    fn open(&mut self, initial: &Initial<'_>) -> Option<usize> {
        let same = |handshake: &Handshake| {
            handshake.version == initial.version && handshake.destination == initial.destination
        };
        // usually the client's first destination; then the one that its server chose
        let known = self.handshakes.iter().position(same);
        let others = 0..self.handshakes.len();
        let order = known
            .into_iter()
            .chain(others.filter(|at| known != Some(*at)));
        for at in order {
            if let Some(handshake) = self.handshakes.get_mut(at)
                && handshake.version == initial.version
                && handshake.open(initial, &mut self.packet)
            {
                return Some(at);
            }
        }
        if known.is_some() {
            return None;
        }
        let mut handshake = Handshake::new(initial.version, initial.destination)?;
        if !handshake.open(initial, &mut self.packet) {
            return None;
        }
        if self.handshakes.len() >= MAX_HANDSHAKES {
            self.handshakes.remove(0);
        }
        self.handshakes.push(handshake);
        self.handshakes.len().checked_sub(1)
    }

    /// Takes in the CRYPTO frames of the packet that was opened last, and tells whether the
    /// ClientHello was handed on.
    fn read_frames(&mut self, at: usize, sink: &mut Sink<'_>) -> Result<bool, Anomaly> {
        let Some(handshake) = self.handshakes.get_mut(at) else {
            return Ok(false);
        };
        let mut frames = Frames::new(&self.packet);
        for crypto in frames.by_ref() {
            handshake.take_in(&crypto, sink);
        }
        if frames.is_broken() {
            sink(Message::Anomaly(Anomaly("quic.frame")));
        }
        handshake.read_hello(sink)
    }
}

impl Handshake {
    /// A handshake in which nothing was seen; `None` where no keys follow from its destination.
    fn new(version: Version, destination: ConnectionId) -> Option<Self> {
        Some(Self {
            keys: Keys::of_client(version, destination.as_slice())?,
            version,
            destination,
            largest: None,
            assembler: Assembler::new(Overlap::FirstWins),
            stream: Vec::new(),
        })
    }

    /// Decrypts a packet into `out`; `false` when it is not this handshake's.
    fn open(&mut self, initial: &Initial<'_>, out: &mut Vec<u8>) -> bool {
        match self.keys.open(initial, self.largest, out) {
            Some(number) => {
                self.largest = self.largest.max(Some(number));
                true
            }
            None => false,
        }
    }

    /// Takes in a piece of the CRYPTO stream, whatever its place.
    fn take_in(&mut self, crypto: &Crypto<'_>, sink: &mut Sink<'_>) {
        let end = crypto.offset.saturating_add(crypto.bytes.len() as u64);
        if end > MAX_STREAM as u64 {
            sink(Message::Anomaly(Anomaly("quic.crypto-cap")));
            return;
        }
        let stream = &mut self.stream;
        let inserted = self.assembler.insert(
            crypto.offset,
            crypto.bytes,
            MAX_STREAM.saturating_sub(self.assembler.buffered()),
            &mut |chunk| match chunk {
                Chunk::Bytes(bytes) => stream.extend_from_slice(bytes),
                // no hole is ever passed over
                Chunk::Gap(_) => {}
            },
        );
        if inserted.conflicting {
            sink(Message::Anomaly(Anomaly("quic.crypto-conflict")));
        }
    }

    /// Hands on the ClientHello, if all of it is there, and tells whether it was.
    fn read_hello(&self, sink: &mut Sink<'_>) -> Result<bool, Anomaly> {
        let mut stream = Octets::new(&self.stream);
        let Ok(kind) = stream.u8("handshake type") else {
            return Ok(false);
        };
        // RFC 9001 section 4: a client's handshake begins with its ClientHello
        if kind != CLIENT_HELLO {
            return Err(Anomaly("quic.handshake-type"));
        }
        let Ok(length) = stream.u24("handshake length") else {
            return Ok(false);
        };
        if length as usize > MAX_STREAM - MESSAGE_HEADER {
            return Err(Anomaly("quic.handshake-length"));
        }
        let Ok(body) = stream.take(length as usize, "client hello") else {
            return Ok(false);
        };
        let hello = ClientHello::parse(body).map_err(|_| Anomaly("quic.client-hello"))?;
        let anomaly = hello.anomaly();
        sink(Message::ClientHello(hello.over(Transport::Quic)));
        if let Some(anomaly) = anomaly {
            sink(Message::Anomaly(anomaly));
        }
        Ok(true)
    }
}

/// Most bytes of a CRYPTO stream: twenty times the largest hello in use, those with post-quantum
/// key shares; servers take 4 to 16 KiB (RFC 9000 section 7.5 asks for 4,096 bytes).
const MAX_STREAM: usize = 32 << 10;

/// Most handshakes that are followed side by side in one flow: clients that share a port among
/// their connections, and decoys between the parts of a hello.
const MAX_HANDSHAKES: usize = 4;

/// Most Initial packets of one datagram: clients put all of theirs into one, tests put three.
const MAX_COALESCED: usize = 8;

/// Datagrams of both ends after which a hello is no longer waited for: ten transmissions of the
/// longest hello in six datagrams.
const MAX_DATAGRAMS: u32 = 64;

/// The handshake message type of a ClientHello (RFC 8446 section 4).
const CLIENT_HELLO: u8 = 1;

/// Type and length before a handshake message, in bytes.
const MESSAGE_HEADER: usize = 4;
