//! A frame at the link becomes the packet of its innermost flow, or the anomaly that
//! stopped us.
//!
//! [`Decoder::decode`] walks from layer to layer. Each step reads one header and says which
//! layer follows, so VLANs, labels and tunnels nest in any order; the walk ends at the
//! innermost transport header. When an outer IP header proves to carry a tunnel, its own
//! packet is filled in first: should what is inside be no packet after all, that outer
//! packet is the answer, and [`Decoder::inner_anomaly`] says why. Fragments are put together
//! at any depth, and the walk goes on in the reassembled datagram.
//!
//! What a packet is decoded to depends on it alone, and on fragments before it. Messages
//! quoted in ICMP errors are not followed. No checksum is verified: offloading leaves them
//! to the network card, after the capture.
//!
//! The walk runs once a packet on the thread that reads, so that headers are read by hand
//! here: etherparse gives the names of numbers, and the packets of the tests.

mod address;
mod cursor;
mod fragment;
#[cfg(test)]
pub(crate) mod fuzz;
mod hash;
mod link;
mod network;
#[cfg(test)]
mod tests;
mod transport;
mod tunnel;
mod wireless;

pub use address::Address;
pub use address::AddressPair;
pub use fragment::FRAGMENT_TIMEOUT;
pub use fragment::FragmentCounters;
pub use fragment::MAX_DATAGRAMS;
pub use fragment::MAX_FRAGMENT_MEMORY;
pub use hash::HashKey;
pub use hash::flow_hash;
pub use hash::flow_shard;
pub use link::LinkType;

use crate::time::Timestamp;
use cursor::Cursor;
use etherparse::EtherType;
use etherparse::IpNumber;
use fragment::Fragments;
use std::ops::ControlFlow;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

/// The most IP headers around the innermost one. Real nesting ends at three (a mirror of a
/// provider's tunnel of a customer's tunnel); deeper ones are followed up to here, and taken
/// for the flow of the tunnel there.
pub const MAX_TUNNEL_DEPTH: usize = 8;

/// The most headers in one frame, each VLAN tag, label and IPv6 extension counted: far
/// beyond any real frame, and bounds the time that one can take.
pub const MAX_LAYERS: u32 = 128;

/// Decodes frames one after the other; owns the fragments that wait for others.
#[derive(Debug)]
pub struct Decoder {
    /// IP headers around the innermost one of the last frame; `len() <= MAX_TUNNEL_DEPTH`.
    tunnels: Vec<AddressPair>,
    /// What stopped us within a tunnel of the last frame.
    inner_anomaly: Option<&'static str>,
    /// The last datagram put together.
    reassembled: Vec<u8>,
    fragments: Fragments,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// One that has seen no frame.
    pub fn new() -> Self {
        Self {
            tunnels: Vec::with_capacity(MAX_TUNNEL_DEPTH),
            inner_anomaly: None,
            reassembled: Vec::new(),
            fragments: Fragments::default(),
        }
    }

    /// Decodes one frame; never fails, since what cannot be followed is said in the outcome.
    ///
    /// `original_length` is the frame's length on the wire, greater than `frame.len()` when
    /// the snap length cut it. `packet` is filled for [`Outcome::Packet`], and undefined (but
    /// valid) for others.
    pub fn decode(
        &mut self,
        link: LinkType,
        timestamp: Timestamp,
        frame: &[u8],
        original_length: u32,
        packet: &mut Packet,
    ) -> Outcome {
        self.tunnels.clear();
        self.inner_anomaly = None;
        let mut walk = Walk {
            cursor: Cursor::new(frame, original_length as usize, true),
            now: timestamp,
            pair: AddressPair::default(),
            vlan: Vlan::NONE,
            inside: false,
            reassembled: false,
            outer: None,
            layers: 0,
        };
        match self.walk(&mut walk, Layer::Link(link), packet) {
            Break(Outcome::Packet) => Outcome::Packet,
            Break(outcome) => self.conclude(&walk, outcome),
            Continue(protocol) => self.decode_reassembled(&walk, protocol, packet),
        }
    }

    /// The last datagram put together of fragments: what [`Packet::payload`] is part of when
    /// [`Packet::reassembled`] is set, until the next call of [`decode`](Self::decode).
    pub fn reassembled(&self) -> &[u8] {
        &self.reassembled
    }

    /// The payload of the packet that `frame` was decoded to last.
    pub fn payload<'a>(&'a self, frame: &'a [u8], packet: &Packet) -> &'a [u8] {
        let bytes = if packet.reassembled {
            &self.reassembled
        } else {
            frame
        };
        packet.payload.within(bytes)
    }

    /// The IP headers around the innermost one of the last frame, outermost first.
    pub fn tunnels(&self) -> &[AddressPair] {
        &self.tunnels
    }

    /// What stopped us within a tunnel, when the last outcome is the packet of that tunnel
    /// itself. `None` when nothing did, or what is in the tunnel is not IP.
    pub fn inner_anomaly(&self) -> Option<&'static str> {
        self.inner_anomaly
    }

    /// Gives up fragments that have waited since before `now` - [`FRAGMENT_TIMEOUT`].
    pub fn expire(&mut self, now: Timestamp) {
        self.fragments.expire(now);
    }

    /// What became of fragments so far.
    pub fn fragment_counters(&self) -> FragmentCounters {
        self.fragments.counters()
    }

    /// Bytes that waiting fragments take; at most [`MAX_FRAGMENT_MEMORY`].
    pub fn fragment_memory(&self) -> usize {
        self.fragments.memory()
    }

    /// Datagrams that wait for fragments; at most [`MAX_DATAGRAMS`].
    pub fn fragmented_datagrams(&self) -> usize {
        self.fragments.len()
    }

    /// Walks until an outcome, or until a datagram is put together, of which this is the
    /// protocol.
    #[inline]
    fn walk(
        &mut self,
        walk: &mut Walk<'_>,
        mut layer: Layer,
        packet: &mut Packet,
    ) -> ControlFlow<Outcome, IpNumber> {
        loop {
            if walk.layers == MAX_LAYERS {
                return Break(Outcome::Anomaly("frame.layers"));
            }
            walk.layers += 1;
            layer = match layer {
                Layer::Link(kind) => link::link(&mut walk.cursor, kind),
                Layer::Ethernet => link::ethernet(&mut walk.cursor),
                Layer::EtherType(kind) => link::ether_type(walk, kind),
                Layer::Ipv4 => self.ipv4(walk),
                Layer::Ipv6 => self.ipv6(walk),
                Layer::Protocol(IpNumber::TCP) => Self::tcp(walk, packet),
                Layer::Protocol(IpNumber::UDP) => self.udp(walk, packet),
                Layer::Protocol(number) => self.other(walk, number, packet),
                Layer::Ip => Self::ip(walk),
                Layer::Llc => link::llc(&mut walk.cursor),
                Layer::Mpls => link::mpls(&mut walk.cursor),
                Layer::Ppp => link::ppp(&mut walk.cursor),
                Layer::ServiceHeader => tunnel::service_header(&mut walk.cursor),
                Layer::Reassembled(protocol) => return Continue(protocol),
            }?;
        }
    }

    /// Goes on in the datagram that was just put together, and in the ones put together of
    /// what it carries.
    #[cold]
    fn decode_reassembled(
        &mut self,
        frame: &Walk<'_>,
        mut protocol: IpNumber,
        packet: &mut Packet,
    ) -> Outcome {
        let mut state = frame.within(&[]);
        loop {
            // the walk may put the next one together
            let datagram = std::mem::take(&mut self.reassembled);
            let mut walk = state.within(&datagram);
            match self.walk(&mut walk, Layer::Protocol(protocol), packet) {
                Break(outcome) => {
                    let outcome = self.conclude(&walk, outcome);
                    self.reassembled = datagram;
                    return outcome;
                }
                Continue(next) => {
                    protocol = next;
                    state = walk.within(&[]);
                }
            }
        }
    }

    /// The tunnel's own packet stands for what in it could not be followed.
    #[cold]
    fn conclude(&mut self, walk: &Walk<'_>, outcome: Outcome) -> Outcome {
        match (outcome, walk.outer) {
            (Outcome::Packet | Outcome::Fragment, _) | (_, None) => outcome,
            (_, Some(depth)) => {
                if let Outcome::Anomaly(kind) = outcome {
                    self.inner_anomaly = Some(kind);
                }
                self.tunnels.truncate(depth);
                Outcome::Packet
            }
        }
    }

    /// Goes into the tunnel whose own packet has been filled in.
    fn enter(&mut self, walk: &mut Walk<'_>) -> Step<()> {
        walk.outer = Some(self.tunnels.len());
        if self.tunnels.len() >= MAX_TUNNEL_DEPTH {
            return Break(Outcome::Anomaly("tunnel.depth"));
        }
        self.tunnels.push(walk.pair);
        walk.inside = true;
        walk.cursor.lenient = false;
        Continue(())
    }
}

/// A decoded packet of the innermost flow: plain data, reused from frame to frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// The sender, of the innermost IP header.
    pub source: Address,
    /// The receiver, of the innermost IP header.
    pub destination: Address,
    /// The sender's port; 0 where the protocol has none.
    pub source_port: u16,
    /// The receiver's port; 0 where the protocol has none.
    pub destination_port: u16,
    /// The protocol in the innermost IP header, behind IPv6 extension headers.
    pub protocol: u8,
    /// Whether the payload lies in [`Decoder::reassembled`], not in the frame.
    pub reassembled: bool,
    /// The outermost VLAN of the frame.
    pub vlan: Vlan,
    /// Fields of the TCP header; zeros for other protocols.
    pub tcp: Tcp,
    /// What follows the transport header; for protocols other than TCP, UDP, UDP-Lite and
    /// SCTP, what follows the IP headers.
    pub payload: Payload,
}

impl Packet {
    /// The protocol number of ICMP.
    pub const ICMP: u8 = IpNumber::ICMP.0;
    /// The protocol number of TCP.
    pub const TCP: u8 = IpNumber::TCP.0;
    /// The protocol number of UDP.
    pub const UDP: u8 = IpNumber::UDP.0;
    /// The protocol number of ICMPv6.
    pub const ICMPV6: u8 = IpNumber::IPV6_ICMP.0;
    /// The protocol number of SCTP.
    pub const SCTP: u8 = IpNumber::SCTP.0;
}

/// What flow tracking needs of a TCP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Of the first payload byte, or of SYN.
    pub sequence: u32,
    /// The sequence number that the sender expects next; meaningless without [`Tcp::ACK`].
    pub acknowledgment: u32,
    /// The receive window, not scaled.
    pub window: u16,
    /// [`Tcp::FIN`] and its like.
    pub flags: u8,
}

impl Tcp {
    /// No more bytes from the sender.
    pub const FIN: u8 = 0x01;
    /// Opens the connection.
    pub const SYN: u8 = 0x02;
    /// Breaks the connection off.
    pub const RST: u8 = 0x04;
    /// Asks for delivery at once.
    pub const PSH: u8 = 0x08;
    /// The acknowledgment number counts.
    pub const ACK: u8 = 0x10;
    /// The urgent pointer counts.
    pub const URG: u8 = 0x20;
}

/// Where a payload lies in the frame or reassembled datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Offset of its first byte.
    pub start: u32,
    /// Its captured length in bytes; `start + length` is within the frame or datagram.
    pub length: u32,
    /// Bytes at its end that the snap length cut off.
    pub missing: u32,
}

impl Payload {
    /// Its captured bytes, out of the frame or datagram.
    pub fn within(self, bytes: &[u8]) -> &[u8] {
        let from = self.start as usize;
        bytes
            .get(from..from.saturating_add(self.length as usize))
            .unwrap_or_default()
    }
}

/// A VLAN, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vlan(u16);

impl Vlan {
    /// Untagged, or tagged with the id 0, which names no VLAN (IEEE 802.1Q, section 9.6).
    pub const NONE: Self = Self(0);

    /// Its id, from 1 to 4095; `None` when there is no VLAN.
    pub const fn id(self) -> Option<u16> {
        match self.0 {
            0 => None,
            id => Some(id),
        }
    }

    /// Takes the id of a tag unless one outside of it had any.
    fn add(&mut self, tag: u16) {
        if *self == Self::NONE {
            self.0 = tag & 0x0fff;
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The packet is filled in.
    Packet,
    /// A fragment that is kept until the others come.
    Fragment,
    /// Nothing odd and no IP: ARP, spanning tree, management frames, what is encrypted.
    NotIp,
    /// Malformed, evasive, or cut before the headers end; a stable name in the form
    /// `layer.what` ("ipv4.header-length").
    Anomaly(&'static str),
    /// Frames of this link type cannot be decoded.
    Unsupported(LinkType),
}

/// What one step of the walk leads to: the next layer, or the outcome.
type Step<T = Layer> = ControlFlow<Outcome, T>;

/// What begins where the cursor stands.
#[derive(Clone, Copy, Debug)]
enum Layer {
    /// A frame.
    Link(LinkType),
    /// The addresses of Ethernet.
    Ethernet,
    /// What an EtherType stands for.
    EtherType(EtherType),
    /// IEEE 802.2.
    Llc,
    /// A label.
    Mpls,
    /// PPP, from address or protocol on.
    Ppp,
    /// A network service header.
    ServiceHeader,
    /// IP of the version that it says.
    Ip,
    Ipv4,
    Ipv6,
    /// What a protocol number of IP stands for.
    Protocol(IpNumber),
    /// The same, in the datagram that was just put together.
    Reassembled(IpNumber),
}

/// Where a walk is, and what it met.
struct Walk<'a> {
    cursor: Cursor<'a>,
    /// When the frame was captured.
    now: Timestamp,
    /// The addresses of the last IP header.
    pair: AddressPair,
    /// The outermost VLAN.
    vlan: Vlan,
    /// Whether a tunnel was entered.
    inside: bool,
    /// Whether the cursor is in a reassembled datagram.
    reassembled: bool,
    /// How many tunnels were around the packet filled in last, when that was a tunnel's own
    /// and lies in the bytes at hand.
    outer: Option<usize>,
    /// Headers so far; `<= MAX_LAYERS`.
    layers: u32,
}

impl Walk<'_> {
    /// The same walk, gone on in a reassembled datagram.
    fn within<'b>(&self, datagram: &'b [u8]) -> Walk<'b> {
        Walk {
            cursor: Cursor::new(datagram, datagram.len(), false),
            now: self.now,
            pair: self.pair,
            vlan: self.vlan,
            inside: self.inside,
            reassembled: true,
            outer: None,
            layers: self.layers,
        }
    }

    /// A packet without ports, whose transport header is `header` bytes long.
    #[inline(always)]
    fn packet(&self, protocol: IpNumber, header: usize) -> Packet {
        Packet {
            source: self.pair.source,
            destination: self.pair.destination,
            source_port: 0,
            destination_port: 0,
            protocol: protocol.0,
            reassembled: self.reassembled,
            vlan: self.vlan,
            tcp: Tcp::default(),
            payload: self.cursor.payload(header),
        }
    }

    /// Whether a protocol number is a header before another here.
    fn is_extension(&self, number: IpNumber) -> bool {
        match number {
            IpNumber::AUTHENTICATION_HEADER => true,
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_FRAGMENTATION_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS => !self.pair.source.is_v4(),
            // alone they are the packet
            IpNumber::MOBILITY_HEADER | IpNumber::HIP | IpNumber::SHIM6 => {
                let no_next = IpNumber::IPV6_NO_NEXT_HEADER.0;
                let next = self.cursor.rest().first();
                !self.pair.source.is_v4() && next.is_some_and(|next| *next != no_next)
            }
            _ => false,
        }
    }
}
