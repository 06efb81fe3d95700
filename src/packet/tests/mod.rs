//! Frames built byte by byte and with etherparse, and what they must be decoded to.

mod broken;
mod links;
mod reassembly;
mod tunnels;

use super::*;
use etherparse::PacketBuilder;

/// What the innermost packets of these tests carry.
const PAYLOAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// 192.0.2.1:40000 to 198.51.100.2:80, TCP, carrying [`PAYLOAD`].
fn tcp4() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 1], [198, 51, 100, 2], 64)
        .tcp(40_000, 80, 0x0102_0304, 0x2000)
        .ack(0x0a0b_0c0d)
        .psh()
        .write(&mut out, PAYLOAD)
        .unwrap();
    out
}

/// [2001:db8::1]:40000 to [2001:db8::2]:53, UDP, carrying [`PAYLOAD`].
fn udp6() -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv6(v6(1), v6(2), 64)
        .udp(40_000, 53)
        .write(&mut out, PAYLOAD)
        .unwrap();
    out
}

fn v6(last: u8) -> [u8; 16] {
    let mut address = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    address[15] = last;
    address
}

/// An IPv4 header without options, of any protocol, before `content`: 203.0.113.1 to
/// 203.0.113.2, with a checksum of 0.
fn ipv4(protocol: u8, content: &[u8]) -> Vec<u8> {
    let total = (20 + content.len() as u16).to_be_bytes();
    let mut out = vec![
        0x45, 0, total[0], total[1], // version and header length, type, total length
        0x12, 0x34, 0, 0, // identification, not fragmented
        64, protocol, 0, 0, // time to live, protocol, checksum
        203, 0, 113, 1, // source
        203, 0, 113, 2, // destination
    ];
    out.extend(content);
    out
}

/// An IPv6 header before `content`: 2001:db8::f1 to 2001:db8::f2.
fn ipv6(next: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    let mut out = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    out.extend(v6(0xf1));
    out.extend(v6(0xf2));
    out.extend(content);
    out
}

/// A UDP datagram in IPv4 from 203.0.113.1 to 203.0.113.2.
fn udp4(source: u16, destination: u16, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    PacketBuilder::ipv4([203, 0, 113, 1], [203, 0, 113, 2], 64)
        .udp(source, destination)
        .write(&mut out, content)
        .unwrap();
    out
}

/// An Ethernet frame.
fn ethernet(kind: u16, content: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]; // destination, source
    out.extend(kind.to_be_bytes());
    out.extend(content);
    out
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A decoder, what it said last, and the packet.
struct Bench {
    decoder: Decoder,
    packet: Packet,
    outcome: Outcome,
    frame: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        Self {
            decoder: Decoder::new(),
            packet: Packet::default(),
            outcome: Outcome::NotIp,
            frame: Vec::new(),
        }
    }

    /// A frame of which all was captured.
    fn of(link: LinkType, frame: &[u8]) -> Self {
        let mut bench = Self::new();
        bench.decode(link, frame);
        bench
    }

    fn decode(&mut self, link: LinkType, frame: &[u8]) -> Outcome {
        self.decode_cut(link, frame, frame.len())
    }

    /// A frame that was `wire` bytes long.
    fn decode_cut(&mut self, link: LinkType, frame: &[u8], wire: usize) -> Outcome {
        let now = Timestamp::from_parts(1, 0);
        self.frame = frame.to_vec();
        self.outcome = self
            .decoder
            .decode(link, now, frame, wire as u32, &mut self.packet);
        self.outcome
    }

    fn payload(&self) -> &[u8] {
        self.decoder.payload(&self.frame, &self.packet)
    }

    /// Source, destination, protocol of the packet.
    fn flow(&self) -> String {
        format!(
            "{} {} > {} {} {}",
            self.packet.source,
            self.packet.source_port,
            self.packet.destination,
            self.packet.destination_port,
            self.packet.protocol
        )
    }

    /// Asserts that this is the packet of [`tcp4`].
    #[track_caller]
    fn is_tcp4(&self, name: &str) {
        assert_eq!(self.outcome, Outcome::Packet, "{name}");
        assert_eq!(self.flow(), TCP4, "{name}");
        assert_eq!(self.payload(), PAYLOAD, "{name}");
        assert_eq!(self.packet.payload.missing, 0, "{name}");
        assert_eq!(self.decoder.inner_anomaly(), None, "{name}");
    }

    /// Asserts that this is the packet of [`udp6`].
    #[track_caller]
    fn is_udp6(&self, name: &str) {
        assert_eq!(self.outcome, Outcome::Packet, "{name}");
        assert_eq!(self.flow(), UDP6, "{name}");
        assert_eq!(self.payload(), PAYLOAD, "{name}");
        assert_eq!(self.decoder.inner_anomaly(), None, "{name}");
    }

    fn tunnels(&self) -> Vec<String> {
        let pairs = self.decoder.tunnels().iter();
        pairs
            .map(|pair| format!("{} > {}", pair.source, pair.destination))
            .collect()
    }
}

const TCP4: &str = "192.0.2.1 40000 > 198.51.100.2 80 6";
const UDP6: &str = "2001:db8::1 40000 > 2001:db8::2 53 17";
/// The headers that [`ipv4`] and [`udp4`] make.
const OUTER4: &str = "203.0.113.1 > 203.0.113.2";
/// The header that [`ipv6`] makes.
const OUTER6: &str = "2001:db8::f1 > 2001:db8::f2";

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % n
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}
