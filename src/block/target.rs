//! What can be blocked.

use crate::block::range::Range;
use ipnet::IpNet;
use ipnet::Ipv4Net;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What can be blocked at a firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// All traffic to and from an address.
    Address(IpAddr),
    /// All traffic to and from the addresses of a network.
    Network(IpNet),
    /// Traffic to and from one port of an address.
    Service {
        /// The address.
        address: IpAddr,
        /// The protocol that the port belongs to.
        protocol: Protocol,
        /// The port.
        port: u16,
    },
}

/// A protocol with ports that can be blocked one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number, <https://www.iana.org/assignments/protocol-numbers>.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    /// The protocol of a number; `None` for all that have no ports here.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Target {
    /// The same in its one normal form: a network of one address is an address, the bits of a
    /// network's host part are zero, and IPv4 within IPv6 (RFC 4291 section 2.5.5.2) is IPv4.
    pub fn canonical(self) -> Self {
        match self {
            Self::Address(address) => Self::Address(address.to_canonical()),
            Self::Service {
                address,
                protocol,
                port,
            } => Self::Service {
                address: address.to_canonical(),
                protocol,
                port,
            },
            Self::Network(network) => {
                let network = mapped(network).unwrap_or(network).trunc();
                if network.prefix_len() == network.max_prefix_len() {
                    Self::Address(network.addr())
                } else {
                    Self::Network(network)
                }
            }
        }
    }

    /// The addresses it covers.
    pub fn range(self) -> Range {
        match self.canonical() {
            Self::Address(address) | Self::Service { address, .. } => Range::single(address),
            Self::Network(network) => Range::of(network),
        }
    }
}

/// The IPv4 network of one within `::ffff:0:0/96`.
fn mapped(network: IpNet) -> Option<IpNet> {
    let IpNet::V6(network) = network else {
        return None;
    };
    let address = network.network().to_ipv4_mapped()?;
    let length = network.prefix_len().checked_sub(96)?;
    Some(Ipv4Net::new(address, length).ok()?.into())
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Service {
                address: IpAddr::V4(address),
                protocol,
                port,
            } => write!(f, "{address}:{port}/{protocol}"),
            Self::Service {
                address: IpAddr::V6(address),
                protocol,
                port,
            } => write!(f, "[{address}]:{port}/{protocol}"),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    /// Reads an address, a network (`192.0.2.0/24`) or a service (`192.0.2.1:443/tcp`,
    /// `[2001:db8::1]:53/udp`); the error says what was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Address(address).canonical());
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network).canonical());
        }
        let service = text.rsplit_once('/').and_then(|(socket, protocol)| {
            let socket: std::net::SocketAddr = socket.parse().ok()?;
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return None,
            };
            let target = Self::Service {
                address: socket.ip(),
                protocol,
                port: socket.port(),
            };
            Some(target.canonical())
        });
        service.ok_or_else(|| {
            "neither an address, nor a network such as 192.0.2.0/24, nor a service such as \
             192.0.2.1:443/tcp or [2001:db8::1]:53/udp"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_written_in_one_form() {
        for (text, form) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/32", "192.0.2.1"),
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::/8", "::/8"),
            ("2001:DB8:0::1", "2001:db8::1"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("192.0.2.1:443/tcp", "192.0.2.1:443/tcp"),
            ("[2001:db8::1]:53/udp", "[2001:db8::1]:53/udp"),
            ("[::ffff:192.0.2.1]:53/udp", "192.0.2.1:53/udp"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), form, "{text}");
            assert_eq!(form.parse::<Target>().unwrap(), target, "{text}");
        }
        for text in [
            "",
            "example.org",
            "192.0.2.1:443",
            "192.0.2.1:1/sctp",
            "192.0.2.0/33",
            "1",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
