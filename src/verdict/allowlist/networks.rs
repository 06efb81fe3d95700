//! A set of networks, as sorted ranges that do not overlap.

use ipnet::IpNet;
use ipnet::Ipv4Net;
use ipnet::Ipv6Net;
use std::net::IpAddr;

/// A set of networks. [`Networks::seal`] must follow the last insertion.
#[derive(Default)]
pub(super) struct Networks {
    /// After sealing: sorted, and none lies within another.
    v4: Vec<Ipv4Net>,
    /// As `v4`.
    v6: Vec<Ipv6Net>,
}

impl Networks {
    /// Adds a network, in canonical form (see [`canonical`]).
    pub(super) fn insert(&mut self, network: IpNet) {
        match network {
            IpNet::V4(network) => self.v4.push(network),
            IpNet::V6(network) => self.v6.push(network),
        }
    }

    /// Sorts, and drops the networks that lie within others: what is left
    /// is disjoint, since two networks either nest or have nothing in common.
    pub(super) fn seal(&mut self) {
        self.v4
            .sort_unstable_by_key(|n| (n.network(), n.prefix_len()));
        self.v4.dedup_by(|next, kept| kept.contains(&*next));
        self.v4.shrink_to_fit();
        self.v6
            .sort_unstable_by_key(|n| (n.network(), n.prefix_len()));
        self.v6.dedup_by(|next, kept| kept.contains(&*next));
        self.v6.shrink_to_fit();
    }

    /// The member that covers the whole of `network`.
    pub(super) fn covering(&self, network: IpNet) -> Option<IpNet> {
        match network {
            IpNet::V4(network) => {
                let after = self
                    .v4
                    .partition_point(|n| n.network() <= network.network());
                let candidate = self.v4.get(after.checked_sub(1)?)?;
                candidate.contains(&network).then_some((*candidate).into())
            }
            IpNet::V6(network) => {
                let after = self
                    .v6
                    .partition_point(|n| n.network() <= network.network());
                let candidate = self.v6.get(after.checked_sub(1)?)?;
                candidate.contains(&network).then_some((*candidate).into())
            }
        }
    }

    /// Number of members; less than was inserted where networks nested.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

/// Reads an address or a network (host bits are put to zero); an IPv4 one
/// written as IPv6 (`::ffff:192.0.2.1`, RFC 4291 section 2.5.5.2) becomes IPv4.
pub(in crate::verdict) fn canonical(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    if let IpNet::V6(v6) = network
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Some(prefix) = v6.prefix_len().checked_sub(96)
    {
        return Some(Ipv4Net::new(v4, prefix).ok()?.trunc().into());
    }
    Some(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covering(set: &Networks, text: &str) -> Option<String> {
        set.covering(canonical(text).unwrap())
            .map(|n| n.to_string())
    }

    #[test]
    fn reads_one_form() {
        for (text, form) in [
            ("192.0.2.1", Some("192.0.2.1/32")),
            ("192.0.2.77/24", Some("192.0.2.0/24")),
            ("2001:DB8::/32", Some("2001:db8::/32")),
            ("::ffff:192.0.2.1", Some("192.0.2.1/32")),
            ("::ffff:192.0.2.0/120", Some("192.0.2.0/24")),
            ("::ffff:0:0/90", Some("::ffc0:0:0/90")),
            ("192.0.2.1/33", None),
            ("192.0.2.256", None),
            ("192.0.2", None),
            ("", None),
        ] {
            assert_eq!(
                canonical(text).map(|n| n.to_string()).as_deref(),
                form,
                "{text}"
            );
        }
    }

    #[test]
    fn agrees_with_a_naive_scan() {
        let mut state = 7_u32;
        let mut random = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) % below
        };
        for _ in 0..50 {
            let mut set = Networks::default();
            let mut all = Vec::new();
            for _ in 0..random(40) {
                let network = canonical(&format!(
                    "10.0.{}.{}/{}",
                    random(4),
                    random(256),
                    18 + random(15)
                ))
                .unwrap();
                all.push(network);
                set.insert(network);
            }
            set.seal();
            for _ in 0..200 {
                let sought = canonical(&format!(
                    "10.0.{}.{}/{}",
                    random(5),
                    random(256),
                    20 + random(13)
                ))
                .unwrap();
                assert_eq!(
                    set.covering(sought).is_some(),
                    all.iter().any(|n| n.contains(&sought)),
                    "{sought} in {all:?}"
                );
            }
        }
    }

    #[test]
    fn the_ends_of_the_address_space() {
        let mut set = Networks::default();
        for text in ["0.0.0.0/32", "255.255.255.255/32", "::/128", "ff00::/8"] {
            set.insert(canonical(text).unwrap());
        }
        set.seal();
        assert_eq!(
            covering(&set, "255.255.255.255").as_deref(),
            Some("255.255.255.255/32")
        );
        assert_eq!(covering(&set, "0.0.0.0").as_deref(), Some("0.0.0.0/32"));
        assert_eq!(
            covering(&set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").as_deref(),
            Some("ff00::/8")
        );
        assert_eq!(covering(&set, "0.0.0.0/0"), None);
        assert_eq!(covering(&set, "::/0"), None);
    }
}
