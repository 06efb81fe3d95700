//! What no indicator can block: the core that everything to be blocked is checked against.
//!
//! Some addresses mean the same everywhere (loopback, multicast, …) and are always protected.
//! The rest the caller names: addresses and next hops of this host, its resolvers and its
//! operator's connection ([`host`](crate::block::host) reads them), the exchanges, allowlists,
//! `[block] never`. A backend lets all of them pass before it looks at what is blocked, too, so
//! that nothing that was blocked earlier, or by hand, cuts them off.

use crate::block::Element;
use crate::block::range::Family;
use crate::block::range::Range;
use crate::block::target::Target;
use crate::time::Timestamp;
use ipnet::IpNet;
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The widest IPv4 network that can be blocked: no registry ever gave out a wider one.
pub const WIDEST_IPV4: u8 = 8;

/// The widest IPv6 network that can be blocked: the widest that a registry gave to one holder.
pub const WIDEST_IPV6: u8 = 19;

/// How many elements one update may add: what a set of a million indicators of all kinds has,
/// with room. More at once is more likely a mistake upstream than the state of the world.
pub const MOST_ADDED: usize = 1_000_000;

/// How many protected networks are kept: allowlists of hundreds of thousands are known, and the
/// kernel looks up each packet among them.
pub const MOST_PROTECTED: usize = 500_000;

/// Why something is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It means "this host on this network", RFC 1122 section 3.2.1.3 and RFC 4291 section 2.5.2.
    Unspecified,
    /// The host itself.
    Loopback,
    /// Addresses that are valid on one link only.
    LinkLocal,
    /// Groups of hosts.
    Multicast,
    /// All hosts of a network.
    Broadcast,
    /// An address of this host.
    Own,
    /// A router that this host sends through.
    NextHop,
    /// A name server that this host asks.
    Resolver,
    /// The other end of the connection that the operator typed at.
    OperatorConnection,
    /// An exchange; its name.
    Exchange(Arc<str>),
    /// Named by configuration or an allowlist; which entry of which file, for people.
    Listed(Arc<str>),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unspecified => f.write_str("the unspecified address"),
            Self::Loopback => f.write_str("loopback"),
            Self::LinkLocal => f.write_str("link-local"),
            Self::Multicast => f.write_str("multicast"),
            Self::Broadcast => f.write_str("broadcast"),
            Self::Own => f.write_str("an address of this host"),
            Self::NextHop => f.write_str("the next hop of a route"),
            Self::Resolver => f.write_str("a name server that this host asks"),
            Self::OperatorConnection => f.write_str("the other end of the operator's connection"),
            Self::Exchange(name) => write!(f, "the exchange {name}"),
            Self::Listed(entry) => f.write_str(entry),
        }
    }
}

/// A network that is never blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// The network.
    pub network: IpNet,
    /// Why.
    pub why: Why,
}

/// Why a target is not blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has addresses in common with something that is protected.
    Protected(Protected),
    /// It is a network wider than is allowed.
    TooWide {
        /// Its prefix length.
        prefix: u8,
        /// The shortest that is allowed.
        shortest: u8,
    },
    /// Its time is over.
    Ended {
        /// When it ended.
        until: Timestamp,
    },
    /// The update already adds as many as it may.
    TooMany {
        /// How many.
        most: usize,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protected(Protected { network, why }) => {
                if network.prefix_len() == network.max_prefix_len() {
                    write!(f, "never blocked: {} is {why}", network.addr())
                } else {
                    write!(f, "never blocked: {network} is {why}")
                }
            }
            Self::TooWide { prefix, shortest } => write!(
                f,
                "too wide: networks are blocked from /{shortest} on, this is a /{prefix}"
            ),
            Self::Ended { until } => write!(f, "ended: valid until {}", until.to_rfc3339(0)),
            Self::TooMany { most } => write!(f, "too many: one update adds at most {most}"),
        }
    }
}

/// How far blocking may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Shortest prefix of an IPv4 network, 0 to 32.
    pub widest_ipv4: u8,
    /// Shortest prefix of an IPv6 network, 0 to 128.
    pub widest_ipv6: u8,
    /// Elements that one update may add.
    pub most_added: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            widest_ipv4: WIDEST_IPV4,
            widest_ipv6: WIDEST_IPV6,
            most_added: MOST_ADDED,
        }
    }
}

/// What became of elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Those that can be blocked, in the order given.
    pub elements: Vec<Element>,
    /// Those that can't, and why.
    pub refused: Vec<(Element, Refusal)>,
}

/// More networks than [`MOST_PROTECTED`] were to be protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{named} networks that are never to be blocked: at most {MOST_PROTECTED} can be held; \
     name wider networks, or fewer"
)]
pub struct TooManyProtected {
    /// How many were named.
    pub named: usize,
}

/// Everything that is never blocked.
#[derive(Clone, Debug)]
pub struct NeverBlock {
    limits: Limits,
    /// Sorted by first address; may nest.
    protected: Vec<(Range, Protected)>,
    /// For each of `protected`, which of those up to it in its family reaches furthest.
    furthest: Vec<usize>,
}

impl NeverBlock {
    /// Protects these, and what is always protected.
    pub fn new(
        limits: Limits,
        named: impl IntoIterator<Item = Protected>,
    ) -> Result<Self, TooManyProtected> {
        let mut protected: Vec<(Range, Protected)> = always()
            .into_iter()
            .chain(named)
            .map(|p| (Target::Network(p.network).range(), p))
            .collect();
        if protected.len() > MOST_PROTECTED {
            return Err(TooManyProtected {
                named: protected.len(),
            });
        }
        // stable: of equal ones the first named gives the reason
        protected.sort_by_key(|(range, _)| *range);
        protected.dedup_by(|(next, _), (kept, _)| next == kept);
        let mut furthest: Vec<usize> = Vec::with_capacity(protected.len());
        for (at, (range, _)) in protected.iter().enumerate() {
            let reached = furthest.last().copied().filter(|before| {
                let (other, _) = &protected[*before];
                other.family() == range.family() && other.numbers().1 >= range.numbers().1
            });
            furthest.push(reached.unwrap_or(at));
        }
        Ok(Self {
            limits,
            protected,
            furthest,
        })
    }

    /// Why a target can't be blocked; `None`: it can.
    pub fn refuse(&self, target: Target) -> Option<Refusal> {
        if let Target::Network(network) = target.canonical() {
            let (prefix, shortest) = match network {
                IpNet::V4(network) => (network.prefix_len(), self.limits.widest_ipv4),
                IpNet::V6(network) => (network.prefix_len(), self.limits.widest_ipv6),
            };
            if prefix < shortest {
                return Some(Refusal::TooWide { prefix, shortest });
            }
        }
        self.protecting(target.range())
            .map(|protected| Refusal::Protected(protected.clone()))
    }

    /// Something protected that has addresses in common with a range.
    fn protecting(&self, range: Range) -> Option<&Protected> {
        let (first, last) = range.numbers();
        let begun = self.protected.partition_point(|(other, _)| {
            (other.family(), other.numbers().0) <= (range.family(), last)
        });
        // the ranges of the other family, which may stand before, have nothing in common
        let (reach, protected) = self
            .protected
            .get(*self.furthest.get(begun.checked_sub(1)?)?)?;
        (reach.family() == range.family() && reach.numbers().1 >= first).then_some(protected)
    }

    /// Parts elements that can be blocked at `now` from those that can't. Those whose target
    /// `is_held` already do not count as added.
    pub fn admit(
        &self,
        elements: impl IntoIterator<Item = Element>,
        now: Timestamp,
        mut is_held: impl FnMut(Target) -> bool,
    ) -> Admitted {
        let mut admitted = Admitted::default();
        let mut added = HashSet::new();
        for mut element in elements {
            element.target = element.target.canonical();
            let refusal = if element.until <= now {
                Some(Refusal::Ended {
                    until: element.until,
                })
            } else {
                self.refuse(element.target)
            };
            let refusal = refusal.or_else(|| {
                let most = self.limits.most_added;
                if is_held(element.target) || added.contains(&element.target) {
                    return None;
                }
                if added.len() >= most {
                    return Some(Refusal::TooMany { most });
                }
                added.insert(element.target);
                None
            });
            match refusal {
                Some(refusal) => admitted.refused.push((element, refusal)),
                None => admitted.elements.push(element),
            }
        }
        admitted
    }

    /// Everything protected, joined to ranges that neither overlap nor touch, in order.
    pub fn ranges(&self) -> Vec<Range> {
        let mut out: Vec<Range> = Vec::new();
        for (range, _) in &self.protected {
            let (first, last) = range.numbers();
            if let Some(before) = out.last_mut()
                && before.family() == range.family()
                && before.numbers().1.saturating_add(1) >= first
                && let Some(joined) = Range::from_numbers(
                    range.family(),
                    before.numbers().0,
                    before.numbers().1.max(last),
                )
            {
                *before = joined;
                continue;
            }
            out.push(*range);
        }
        out
    }

    /// Everything protected, and why, in order of addresses.
    pub fn iter(&self) -> impl Iterator<Item = &Protected> {
        self.protected.iter().map(|(_, protected)| protected)
    }
}

/// What means the same on every host.
fn always() -> Vec<Protected> {
    let v4 = |number: u32, length: u8, why: Why| {
        network_of(Family::V4, u128::from(number), length).map(|network| Protected { network, why })
    };
    let v6 = |number: u128, length: u8, why: Why| {
        network_of(Family::V6, number, length).map(|network| Protected { network, why })
    };
    [
        // RFC 1122 section 3.2.1.3
        v4(0, 8, Why::Unspecified),
        v4(127 << 24, 8, Why::Loopback),
        // RFC 3927
        v4(169 << 24 | 254 << 16, 16, Why::LinkLocal),
        // RFC 5771
        v4(224 << 24, 4, Why::Multicast),
        // RFC 919
        v4(u32::MAX, 32, Why::Broadcast),
        // RFC 4291 sections 2.5.2, 2.5.3, 2.5.6 and 2.7
        v6(0, 128, Why::Unspecified),
        v6(1, 128, Why::Loopback),
        v6(0xfe80 << 112, 10, Why::LinkLocal),
        v6(0xff << 120, 8, Why::Multicast),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn network_of(family: Family, number: u128, length: u8) -> Option<IpNet> {
    IpNet::new(family.address(number), length).ok()
}

impl Protected {
    /// One address.
    pub fn address(address: IpAddr, why: Why) -> Self {
        Self {
            network: address.to_canonical().into(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Cause;

    fn never(named: &[(&str, Why)]) -> NeverBlock {
        let named = named.iter().map(|(network, why)| Protected {
            network: network.parse().unwrap(),
            why: why.clone(),
        });
        NeverBlock::new(Limits::default(), named).unwrap()
    }

    fn element(target: &str, until: u64) -> Element {
        Element {
            target: target.parse().unwrap(),
            until: Timestamp::from_parts(until, 0),
            indicator: "indicator--1".into(),
            cause: Cause::Intel,
        }
    }

    #[test]
    fn what_is_refused_is_told_why() {
        let never = never(&[
            ("198.51.100.1/32", Why::Own),
            ("198.51.100.254/32", Why::NextHop),
            ("203.0.113.0/24", Why::Listed("allow.txt, line 3".into())),
            ("203.0.113.7/32", Why::Exchange("ec3".into())),
            ("192.0.2.53/32", Why::Resolver),
            ("2001:db8::22/128", Why::OperatorConnection),
        ]);
        for (target, said) in [
            ("127.0.0.1", "never blocked: 127.0.0.0/8 is loopback"),
            ("127.9.0.0/16", "127.0.0.0/8 is loopback"),
            ("0.0.0.0", "unspecified"),
            ("169.254.1.1", "link-local"),
            ("224.0.0.251", "multicast"),
            ("239.1.2.3", "multicast"),
            ("255.255.255.255", "255.255.255.255 is broadcast"),
            ("::", ":: is the unspecified address"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("fe80::1", "link-local"),
            ("ff02::1", "multicast"),
            (
                "::/16",
                "too wide: networks are blocked from /19 on, this is a /16",
            ),
            ("::/19", "loopback"),
            ("0.0.0.0/0", "too wide"),
            ("8.0.0.0/7", "blocked from /8 on, this is a /7"),
            ("2000::/18", "too wide"),
            ("198.51.100.1", "198.51.100.1 is an address of this host"),
            ("198.51.100.1:22/tcp", "an address of this host"),
            ("198.51.100.0/24", "next hop"),
            ("198.51.100.0/25", "address of this host"),
            ("198.51.100.254", "next hop"),
            ("203.0.113.200", "203.0.113.0/24 is allow.txt, line 3"),
            ("203.0.113.0/30", "allow.txt"),
            ("203.0.0.0/16", "allow.txt"),
            ("192.0.2.53:53/udp", "name server"),
            ("2001:db8::/32", "operator's connection"),
        ] {
            let refusal = never.refuse(target.parse().unwrap());
            let text = refusal.map(|r| r.to_string()).unwrap_or_default();
            assert!(text.contains(said), "{target}: {text}");
        }
        for target in [
            "198.51.100.2",
            "198.51.100.2/31",
            "198.51.100.128/26",
            "204.0.0.0/8",
            "126.0.0.0/8",
            "1.0.0.0/8",
            "223.255.255.255",
            "240.0.0.1",
            "::2",
            "2001:db8::21",
            "2001:db8::23",
            "fe00::/19",
            "fec0::1",
        ] {
            assert_eq!(never.refuse(target.parse().unwrap()), None, "{target}");
        }
    }

    #[test]
    fn refusal_is_overlap_with_anything_protected() {
        // every place and width within two networks, against the plain question
        let named: Vec<Protected> = [
            "192.0.2.0/26",
            "192.0.2.8/29",
            "192.0.2.100/32",
            "192.0.2.96/30",
        ]
        .iter()
        .map(|network| Protected {
            network: network.parse().unwrap(),
            why: Why::Own,
        })
        .collect();
        let never = NeverBlock::new(Limits::default(), named.clone()).unwrap();
        for prefix in 24..=32 {
            for low in 0..=255_u32 {
                let address = std::net::Ipv4Addr::from(0xc000_0200 | low);
                let target = Target::Network(IpNet::new(address.into(), prefix).unwrap());
                let range = target.range();
                let plain = named.iter().any(|p| {
                    range.contains(p.network.addr()) || p.network.contains(&range.first())
                });
                assert_eq!(never.refuse(target).is_some(), plain, "{target}");
            }
        }
        let ranges = never.ranges();
        for low in 0..=255_u32 {
            let address = std::net::Ipv4Addr::from(0xc000_0200 | low).into();
            assert_eq!(
                ranges
                    .iter()
                    .filter(|range| range.contains(address))
                    .count(),
                usize::from(named.iter().any(|p| p.network.contains(&address))),
                "{address}"
            );
        }
    }

    #[test]
    fn an_update_adds_no_more_than_it_may() {
        let limits = Limits {
            most_added: 2,
            ..Limits::default()
        };
        let never = NeverBlock::new(limits, []).unwrap();
        let held: Target = "192.0.2.9".parse().unwrap();
        let elements = [
            element("192.0.2.1", 10),
            element("127.0.0.1", 10),
            element("192.0.2.9", 10),
            element("192.0.2.8", 5),
            element("192.0.2.2", 10),
            element("192.0.2.1", 20),
            element("192.0.2.3", 10),
        ];
        let admitted = never.admit(elements, Timestamp::from_parts(5, 0), |target| {
            target == held
        });
        let told: Vec<String> = admitted
            .elements
            .iter()
            .map(|e| e.target.to_string())
            .collect();
        assert_eq!(told, ["192.0.2.1", "192.0.2.9", "192.0.2.2", "192.0.2.1"]);
        let told: Vec<String> = admitted
            .refused
            .iter()
            .map(|(e, refusal)| format!("{} {refusal}", e.target))
            .collect();
        assert_eq!(
            told,
            [
                "127.0.0.1 never blocked: 127.0.0.0/8 is loopback",
                "192.0.2.8 ended: valid until 1970-01-01T00:00:05Z",
                "192.0.2.3 too many: one update adds at most 2",
            ]
        );
    }
}
