//! Network addresses in the form that compares and hashes fastest.

use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// An IPv4 or IPv6 address as one number.
///
/// IPv4 addresses are kept in a block (`::fffe:0:0/96`) of the IPv6 space that is reserved
/// and has no use (RFC 4291, section 2.4): the decoder refuses packets that carry it, so
/// that two different hosts never share a value. It is not the block of IPv4-mapped
/// addresses: those stay what they are, and are seen in traffic.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    // two halves, since a u128 is aligned to 16 octets and would waste a third of a flow's key
    upper: u64,
    lower: u64,
}

impl Address {
    /// From the number that the four octets form in network byte order.
    pub const fn v4(bits: u32) -> Self {
        Self {
            upper: 0,
            lower: BLOCK << 32 | bits as u64,
        }
    }

    /// From the number that the sixteen octets form in network byte order.
    pub const fn v6(bits: u128) -> Self {
        Self {
            upper: (bits >> 64) as u64,
            lower: bits as u64,
        }
    }

    /// The number; an IPv4 address has its own in the lower 32 bits.
    pub const fn bits(self) -> u128 {
        (self.upper as u128) << 64 | self.lower as u128
    }

    /// Whether this is an IPv4 address.
    pub const fn is_v4(self) -> bool {
        self.upper == 0 && self.lower >> 32 == BLOCK
    }

    /// The same address as the standard library knows it.
    pub const fn ip(self) -> IpAddr {
        if self.is_v4() {
            IpAddr::V4(Ipv4Addr::from_bits(self.lower as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(self.bits()))
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.to_bits())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::v6(address.to_bits())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        address.ip()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip().fmt(f)
    }
}

/// The two addresses of one IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressPair {
    /// The sender's.
    pub source: Address,
    /// The receiver's.
    pub destination: Address,
}

/// The upper 96 bits of IPv4 addresses.
const BLOCK: u64 = 0xfffe;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_both_ways() {
        for text in [
            "0.0.0.0",
            "192.0.2.1",
            "255.255.255.255",
            "::",
            "::1",
            "2001:db8::ffff:1",
        ] {
            let ip: IpAddr = text.parse().unwrap();
            let address = Address::from(ip);
            assert_eq!(address.ip(), ip);
            assert_eq!(address.is_v4(), ip.is_ipv4());
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn a_mapped_address_is_another_than_the_ipv4_address() {
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let plain: IpAddr = "192.0.2.1".parse().unwrap();
        assert_ne!(Address::from(mapped), Address::from(plain));
        assert_eq!(Address::from(mapped).ip(), mapped);
    }
}
