//! Addresses from a first to a last.

use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Addresses of one family, from a first to a last, both within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    family: Family,
    /// The address as a number; of IPv4, below 2^32.
    first: u128,
    /// Never less than `first`.
    last: u128,
}

/// Version of the Internet protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    V4,
    V6,
}

impl Range {
    /// One address.
    pub fn single(address: IpAddr) -> Self {
        let (family, number) = number_of(address);
        Self {
            family,
            first: number,
            last: number,
        }
    }

    /// The addresses of a network.
    pub fn of(network: IpNet) -> Self {
        let (family, first) = number_of(network.network());
        let (_, last) = number_of(network.broadcast());
        Self {
            family,
            first,
            last,
        }
    }

    /// From numbers; `None` where they are the wrong way round or no addresses of the family.
    pub(super) fn from_numbers(family: Family, first: u128, last: u128) -> Option<Self> {
        (first <= last && last <= family.greatest()).then_some(Self {
            family,
            first,
            last,
        })
    }

    /// The first address.
    pub fn first(self) -> IpAddr {
        self.family.address(self.first)
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        self.family.address(self.last)
    }

    /// Whether an address is within.
    pub fn contains(self, address: IpAddr) -> bool {
        let (family, number) = number_of(address);
        family == self.family && (self.first..=self.last).contains(&number)
    }

    /// Whether the two have an address in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }

    pub(super) const fn family(self) -> Family {
        self.family
    }

    /// First and last as numbers.
    pub(super) const fn numbers(self) -> (u128, u128) {
        (self.first, self.last)
    }
}

impl Family {
    /// Bytes of an address.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The last address as a number.
    pub(super) const fn greatest(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }

    pub(super) fn address(self, number: u128) -> IpAddr {
        match self {
            // no IPv4 number is made that does not fit
            Self::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

pub(super) fn number_of(address: IpAddr) -> (Family, u128) {
    match address {
        IpAddr::V4(address) => (Family::V4, u128::from(u32::from(address))),
        IpAddr::V6(address) => (Family::V6, u128::from(address)),
    }
}

impl fmt::Display for Range {
    /// As an address or a network where it is one, else `first-last`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first().fmt(f);
        }
        let bits = self.family.width() as u32 * 8;
        // a network's first address ends in as many zeros as its last ends in ones
        let differing = 128 - (self.first ^ self.last).leading_zeros();
        let mask = u128::MAX.checked_shr(128 - differing).unwrap_or(0);
        if self.first & mask == 0 && self.last & mask == mask {
            return write!(f, "{}/{}", self.first(), bits - differing);
        }
        write!(f, "{}-{}", self.first(), self.last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_as_networks_where_they_are() {
        for (first, last, written) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
            ("192.0.2.0", "192.0.2.255", "192.0.2.0/24"),
            ("192.0.2.1", "192.0.2.255", "192.0.2.1-192.0.2.255"),
            ("192.0.2.0", "192.0.2.254", "192.0.2.0-192.0.2.254"),
            ("192.0.2.127", "192.0.2.128", "192.0.2.127-192.0.2.128"),
            ("0.0.0.0", "255.255.255.255", "0.0.0.0/0"),
            ("2001:db8::", "2001:db8::1", "2001:db8::/127"),
            ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ] {
            let (family, first) = number_of(first.parse().unwrap());
            let (_, last) = number_of(last.parse().unwrap());
            let range = Range::from_numbers(family, first, last).unwrap();
            assert_eq!(range.to_string(), written);
        }
        assert_eq!(Range::from_numbers(Family::V4, 2, 1), None);
        assert_eq!(Range::from_numbers(Family::V4, 2, 1 << 32), None);
    }
}
