//! Flows: both directions of one key, and the streams within.
//!
//! [`FlowTable`](table::FlowTable) finds the flow of a packet and forgets old ones, [`TcpConnection`](tcp::TcpConnection)
//! follows one TCP connection and yields the bytes of both directions in
//! order, [`Assembler`](assembler::Assembler) does the ordering.

pub mod assembler;
pub mod table;
pub mod tcp;

use crate::packet::Address;
use crate::packet::Packet;
use std::net::IpAddr;

/// Which end of a flow sent something. The client opened the flow, or is
/// taken to have done so when its opening was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

impl Direction {
    /// Both, in the order of their indices.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// The other way.
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 for the client's, 1 for the server's: an index into pairs.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// One end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct End {
    address: Address,
    port: u16,
}

impl End {
    /// An address with a port; 0 for protocols without ports.
    pub const fn new(address: Address, port: u16) -> Self {
        Self { address, port }
    }

    /// The address.
    pub const fn address(&self) -> IpAddr {
        self.address.ip()
    }

    /// 0 for protocols without ports.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

/// What makes packets belong together: two ends, in order, and the IP protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The lesser end.
    pub low: End,
    /// The greater end.
    pub high: End,
    /// IP protocol number.
    pub protocol: u8,
}

impl FlowKey {
    /// The key of a packet's innermost flow, and whether the sender is the lesser end.
    pub fn of_packet(packet: &Packet) -> (Self, bool) {
        let source = End::new(packet.source, packet.source_port);
        let destination = End::new(packet.destination, packet.destination_port);
        Self::new(source, destination, packet.protocol)
    }

    /// The key of a packet, and whether its source is the lesser end.
    pub fn new(source: End, destination: End, protocol: u8) -> (Self, bool) {
        if source <= destination {
            (
                Self {
                    low: source,
                    high: destination,
                    protocol,
                },
                true,
            )
        } else {
            (
                Self {
                    low: destination,
                    high: source,
                    protocol,
                },
                false,
            )
        }
    }
}
