//! Flows: both directions of one key, and the streams within.
//!
//! [`FlowTable`] finds the flow of a packet and forgets old ones, [`TcpConnection`]
//! follows one TCP connection and yields the bytes of both directions in
//! order, [`Assembler`](assembler::Assembler) does the ordering.

pub mod assembler;
pub mod table;
pub mod tcp;

use std::net::IpAddr;
use std::net::Ipv6Addr;

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
    /// IPv6 address, or IPv4 address in its IPv4-mapped form.
    address: u128,
    /// 0 for protocols without ports.
    port: u16,
}

impl End {
    /// An address with a port.
    pub fn new(address: IpAddr, port: u16) -> Self {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Self { address, port }
    }

    /// The address; an IPv4-mapped IPv6 address comes back as IPv4.
    pub fn address(&self) -> IpAddr {
        let v6 = Ipv6Addr::from_bits(self.address);
        v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
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
