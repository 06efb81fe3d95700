//! What of a match may leave the organisation.
//!
//! A sighting that is shared says which indicator was seen, when, how often, and what matched,
//! not whose host it was: internal addresses become what policy says, and a text that names
//! something internal stays here as a whole, since a part that is left out can be guessed from
//! the rest.

use super::Observation;
use super::ToldEnd;
use super::ToldFlow;
use crate::matcher::Evidence;
use crate::matcher::FlowSummary;
use crate::matcher::Observable;
use crate::observable::ObservableType;
use crate::observable::Place;
use ipcrypt_rs::IpcryptPfx;
use ipnet::IpNet;
use sha2::Digest as _;
use sha2::Sha256;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::Arc;

/// What must not leave, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Privacy {
    /// Networks of the organisation.
    pub internal: Vec<IpNet>,
    /// Domains of the organisation, in lower case, without a final dot; with all below them.
    pub internal_domains: Vec<String>,
    /// What becomes of addresses in these networks.
    pub addresses: Addresses,
    /// Whether texts that name internal hosts or mailboxes leave.
    pub keep_names: bool,
}

/// What becomes of an internal address.
#[derive(Clone)]
pub enum Addresses {
    /// It does not leave.
    Omit,
    /// Its network leaves, by these numbers of bits.
    Prefix {
        /// Of an IPv4 address, at most 32.
        v4: u8,
        /// Of an IPv6 address, at most 128.
        v6: u8,
    },
    /// An address that stands for it: hosts of one network stay together.
    Pseudonym(Pseudonyms),
    /// It leaves as it is.
    Keep,
}

/// A keyed cipher that maps addresses to addresses and keeps common prefixes common
/// (ipcrypt-pfx).
#[derive(Clone)]
pub struct Pseudonyms(Arc<IpcryptPfx>);

/// A key from which no cipher can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is unsuitable: choose another")]
pub struct UnsuitableKey;

impl Pseudonyms {
    /// The cipher of a secret of any length.
    ///
    /// # Errors
    /// When both halves of the secret's digest are the same, which no secret is known to give.
    pub fn new(secret: &[u8]) -> Result<Self, UnsuitableKey> {
        let key: [u8; 32] = Sha256::digest(secret).into();
        let (first, second) = key.split_at(16);
        if first == second {
            return Err(UnsuitableKey);
        }
        Ok(Self(Arc::new(IpcryptPfx::new(key))))
    }

    /// The address that stands for this one.
    pub fn of(&self, address: IpAddr) -> IpAddr {
        self.0.encrypt_ipaddr(address)
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Omit => f.write_str("Omit"),
            Self::Prefix { v4, v6 } => write!(f, "Prefix {{ v4: {v4}, v6: {v6} }}"),
            // the key is nobody's business
            Self::Pseudonym(_) => f.write_str("Pseudonym"),
            Self::Keep => f.write_str("Keep"),
        }
    }
}

impl Privacy {
    /// Whether an address is one of the organisation's.
    pub fn is_internal(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.internal.iter().any(|net| net.contains(&address))
    }

    /// Whether everything leaves as it is.
    fn is_open(&self) -> bool {
        matches!(self.addresses, Addresses::Keep) && self.keep_names
    }

    /// The address that leaves in place of this one; `None`: none does.
    fn told_address(&self, address: IpAddr) -> Option<IpAddr> {
        if !self.is_internal(address) {
            return Some(address);
        }
        match &self.addresses {
            Addresses::Omit => None,
            Addresses::Keep => Some(address),
            Addresses::Pseudonym(pseudonyms) => Some(pseudonyms.of(address)),
            Addresses::Prefix { v4, v6 } => {
                let bits = if address.is_ipv4() { *v4 } else { *v6 };
                IpNet::new(address, bits).ok().map(|net| net.network())
            }
        }
    }

    /// The flow as it may be told.
    ///
    /// Where internal addresses are left out, so is the flow of what matched by itself: whose it
    /// was is nobody's business, even where nobody said which networks are internal.
    pub(super) fn told_flow(&self, flow: &FlowSummary, kind: ObservableType) -> ToldFlow {
        let mut told = ToldFlow::of(flow);
        if self.is_open() {
            return told;
        }
        let is_part = kind == ObservableType::NetworkTraffic;
        if matches!(self.addresses, Addresses::Omit) && !is_part {
            (told.source, told.destination) = (None, None);
            told.app_proto = None;
            told.protocol = 0;
        }
        // what only tells apart whose flow it was would keep like things apart
        told.id = 0;
        told.vlan = None;
        let end = |end: Option<ToldEnd>| {
            let end = end?;
            let address = self.told_address(end.address)?;
            // the port of an internal client tells nothing, and its flows apart
            let port = end.port.filter(|_| !self.is_internal(end.address));
            Some(ToldEnd { address, port })
        };
        told.source = end(told.source);
        told.destination = end(told.destination);
        told
    }

    /// What was seen, as it may be told; `None`: nothing of it.
    pub(super) fn told_observable<'a>(
        &self,
        observable: &'a Observable,
    ) -> Option<Cow<'a, Observable>> {
        if self.is_open() {
            return Some(Cow::Borrowed(observable));
        }
        // what a host of this network calls itself is a name of this network
        if observable.place == Place::DhcpHostName && !self.keep_names {
            return None;
        }
        let mut told = observable.clone();
        if let (ObservableType::Ipv4Addr | ObservableType::Ipv6Addr, Ok(address)) =
            (observable.kind, observable.value.parse::<IpAddr>())
        {
            told.value = self.told_address(address)?.to_string();
            told.evidence = Evidence::None;
            return Some(Cow::Owned(told));
        }
        if self.names_internal(&told.value) {
            return None;
        }
        self.reduce(&mut told);
        Some(Cow::Owned(told))
    }

    /// Leaves of the evidence what belongs to what matched.
    fn reduce(&self, observable: &mut Observable) {
        let is_bare = observable.value.is_empty();
        let keep = match &mut observable.evidence {
            Evidence::None | Evidence::Certificate(_) => true,
            Evidence::File { name, .. } => {
                // a name that did not match is the organisation's own word for the file
                if name.as_deref() != Some(observable.value.as_str()) {
                    *name = None;
                }
                true
            }
            Evidence::HttpRequest {
                target, headers, ..
            } => {
                // the request itself matched, or else a part of it that is in the value
                observable.kind == ObservableType::NetworkTraffic
                    && is_bare
                    && !self.names_internal(target)
                    && !headers.iter().any(|(_, value)| self.names_internal(value))
            }
            Evidence::Mail {
                from, to, subject, ..
            } => {
                to.clear();
                if from
                    .as_deref()
                    .is_some_and(|from| self.names_internal(from))
                {
                    *from = None;
                }
                subject.as_deref().is_none_or(|s| !self.names_internal(s))
            }
        };
        if !keep {
            observable.evidence = Evidence::None;
        }
    }

    /// Whether a text holds an address or name of the organisation that may not leave.
    fn names_internal(&self, text: &str) -> bool {
        let mut text = Cow::Borrowed(text);
        // what is escaped, and what is escaped twice, since an escape may stand in a parameter
        for _ in 0..=2 {
            if self.names_internal_plainly(&text) {
                return true;
            }
            match unescape(&text) {
                Some(plain) => text = Cow::Owned(plain),
                None => return false,
            }
        }
        false
    }

    fn names_internal_plainly(&self, text: &str) -> bool {
        let holds_address = || {
            addresses_in(text)
                .into_iter()
                .any(|address| self.is_internal(address))
        };
        let holds_name = || {
            text.split(|c: char| !(c.is_alphanumeric() || "-_.".contains(c)))
                .any(|word| self.is_internal_name(word))
        };
        !matches!(self.addresses, Addresses::Keep) && holds_address()
            || !self.keep_names && holds_name()
    }

    fn is_internal_name(&self, word: &str) -> bool {
        let word = word.trim_matches(['.', '-', '_']);
        let name = match word.is_ascii() {
            true => word.to_ascii_lowercase(),
            // the domains are in A-labels
            false => idna::domain_to_ascii(word).unwrap_or_default(),
        };
        self.internal_domains.iter().any(|domain| {
            name.strip_suffix(domain.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '_']))
        })
    }
}

/// Every address that a text holds, in whatever stands around it: as it is usually written, and
/// as the name of its reverse look-up.
fn addresses_in(text: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for run in text.split(|c: char| !(c.is_ascii_digit() || c == '.')) {
        let groups: Vec<&str> = run.split('.').collect();
        let quads = groups.windows(4).map(|quad| quad.join("."));
        found.extend(quads.filter_map(|quad| quad.parse::<Ipv4Addr>().ok().map(IpAddr::V4)));
    }
    for run in text.split(|c: char| !(c.is_ascii_hexdigit() || c == ':' || c == '.')) {
        let whole = run.trim_end_matches('.');
        // ":443" may follow an address without brackets
        let host = whole.rsplit_once(':').map_or(whole, |(host, _)| host);
        let forms = [whole, host, whole.trim_matches(':')];
        found.extend(
            forms
                .iter()
                .filter_map(|form| form.parse::<Ipv6Addr>().ok().map(IpAddr::V6)),
        );
    }
    if text.to_ascii_lowercase().contains(".arpa") {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)));
        found.extend(words.filter_map(reversed_address));
    }
    found
}

/// The address of the name of a reverse look-up (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reversed_address(name: &str) -> Option<IpAddr> {
    let lower = name.trim_matches('.').to_ascii_lowercase();
    if let Some(labels) = lower.strip_suffix(".in-addr.arpa") {
        let labels: Vec<&str> = labels.rsplit('.').take(4).collect();
        return labels.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    let nibbles = lower.strip_suffix(".ip6.arpa")?;
    let mut bits = 0u128;
    let mut count = 0;
    for label in nibbles.rsplit('.').take(32) {
        let nibble = u8::from_str_radix(label, 16).ok().filter(|n| *n < 16)?;
        bits = bits << 4 | u128::from(nibble);
        count += 1;
    }
    (count == 32).then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
}

/// A text with its percent-escapes undone (RFC 3986 section 2.1); `None`: there is none.
fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    (plain.len() < bytes.len()).then(|| String::from_utf8_lossy(&plain).into_owned())
}

/// The kinds of place of some observations, for people.
pub(super) fn places(observations: &[Observation]) -> String {
    let mut places: Vec<&str> = observations
        .iter()
        .filter_map(|o| o.observable.as_deref().map(|seen| seen.place.as_str()))
        .collect();
    places.sort_unstable();
    places.dedup();
    places.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privacy(addresses: Addresses) -> Privacy {
        let nets = ["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"];
        Privacy {
            internal: nets.iter().filter_map(|net| net.parse().ok()).collect(),
            internal_domains: vec!["corp.example".into()],
            addresses,
            keep_names: false,
        }
    }

    fn seen(kind: ObservableType, value: &str, evidence: Evidence) -> Observable {
        Observable {
            kind,
            value: value.into(),
            place: Place::HttpUrl,
            property: None,
            evidence,
        }
    }

    #[test]
    fn texts_that_name_something_internal_are_found() {
        let closed = privacy(Addresses::Omit);
        for text in [
            "10.0.0.5",
            "http://10.0.0.5/x",
            "http://10.0.0.5:8080/x",
            "a=10.1.2.3;",
            "%3D10.1.2.3",
            "v10.1.2.3.4",
            "1.10.1.2.3",
            "http://[fd00::1]:80/",
            "fd00::1",
            "FD00::1:443",
            "5.0.0.10.in-addr.arpa",
            "_dns.5.0.0.10.IN-ADDR.ARPA.",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
            "https://intranet.corp.example/x",
            "CORP.EXAMPLE.",
            "someone@corp.example",
            "re: host a.corp.example, again",
            "::ffff:10.0.0.5",
            "?u=alice%40corp.example",
            "http%3A%2F%2Fcorp%2Eexample%2Fx",
            "%31%30.1.2.3",
            "a%2525corp.example%252fx",
            "10%252E1%252E2%252E3",
            "fd00%3A%3A1",
            "x_corp.example",
            "-corp.example-",
        ] {
            assert!(closed.names_internal(text), "{text}");
        }
        for text in [
            "203.0.113.5",
            "http://203.0.113.5/10/0/0/5",
            "2001:db8::1",
            "5.113.0.203.in-addr.arpa",
            "https://corp.example.net/",
            "mycorp.example",
            "fd00 files",
            "version 10.0.0",
            "",
        ] {
            assert!(!closed.names_internal(text), "{text}");
        }
        let open = Privacy {
            keep_names: true,
            ..privacy(Addresses::Keep)
        };
        assert!(!open.names_internal("http://10.0.0.5/ a.corp.example"));
    }

    #[test]
    fn internal_addresses_become_what_policy_says() {
        let pseudonyms = Pseudonyms::new(b"a secret").unwrap();
        let internal: IpAddr = "10.1.2.3".parse().unwrap();
        let neighbour: IpAddr = "10.1.2.4".parse().unwrap();
        let external: IpAddr = "203.0.113.5".parse().unwrap();
        let v6: IpAddr = "fd00:1:2:3::4".parse().unwrap();
        let told = |addresses: Addresses, address| privacy(addresses).told_address(address);
        let prefix = Addresses::Prefix { v4: 24, v6: 48 };
        assert_eq!(told(Addresses::Omit, internal), None);
        assert_eq!(told(Addresses::Keep, internal), Some(internal));
        assert_eq!(told(prefix.clone(), internal), "10.1.2.0".parse().ok());
        assert_eq!(told(prefix, v6), "fd00:1:2::".parse().ok());
        let pseudonym = told(Addresses::Pseudonym(pseudonyms.clone()), internal);
        assert_eq!(pseudonym, Some(pseudonyms.of(internal)));
        assert_ne!(pseudonym, Some(internal));
        let beside = pseudonyms.of(neighbour);
        let (Some(IpAddr::V4(one)), IpAddr::V4(other)) = (pseudonym, beside) else {
            panic!("not of the family of what they stand for");
        };
        // 10.1.2.3 and 10.1.2.4 have 29 bits in common
        assert_eq!((one.to_bits() ^ other.to_bits()).leading_zeros(), 29);
        for addresses in [Addresses::Omit, Addresses::Pseudonym(pseudonyms)] {
            assert_eq!(told(addresses, external), Some(external));
        }
    }

    #[test]
    fn a_flow_leaves_where_it_is_what_matched() {
        let flow = FlowSummary {
            id: 7,
            source: "10.1.2.3".parse().unwrap(),
            source_port: 50_000,
            destination: "203.0.113.5".parse().unwrap(),
            destination_port: 443,
            protocol: 6,
            vlan: Some(3),
            app_proto: Some("tls"),
        };
        let end = |address: &str, port| {
            Some(ToldEnd {
                address: address.parse().unwrap(),
                port,
            })
        };
        let server = end("203.0.113.5", Some(443));
        let prefix = Addresses::Prefix { v4: 16, v6: 48 };
        for (addresses, kind, source, destination) in [
            (Addresses::Omit, ObservableType::DomainName, None, None),
            (Addresses::Omit, ObservableType::Ipv4Addr, None, None),
            (
                Addresses::Omit,
                ObservableType::NetworkTraffic,
                None,
                server,
            ),
            (
                prefix,
                ObservableType::DomainName,
                end("10.1.0.0", None),
                server,
            ),
        ] {
            let told = privacy(addresses).told_flow(&flow, kind);
            assert_eq!((told.source, told.destination), (source, destination));
            assert_eq!((told.id, told.vlan), (0, None));
        }
        let open = Privacy {
            keep_names: true,
            ..privacy(Addresses::Keep)
        };
        assert_eq!(
            open.told_flow(&flow, ObservableType::Url),
            ToldFlow::of(&flow)
        );
    }

    #[test]
    fn evidence_is_what_matched() {
        let closed = privacy(Addresses::Omit);
        let told =
            |observable: &Observable| closed.told_observable(observable).map(Cow::into_owned);
        let file = |value: &str| {
            seen(
                ObservableType::File,
                value,
                Evidence::File {
                    name: Some("payroll.doc".into()),
                    size: 5,
                    mime_type: None,
                    hashes: Default::default(),
                },
            )
        };
        let name_of = |observable: Option<Observable>| match observable.map(|o| o.evidence) {
            Some(Evidence::File { name, .. }) => name,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            name_of(told(&file("d41d8cd98f00b204e9800998ecf8427e"))),
            None
        );
        let name = Some("payroll.doc".to_owned());
        assert_eq!(name_of(told(&file("payroll.doc"))), name);
        let request = |kind, value: &str, host: &str| {
            seen(
                kind,
                value,
                Evidence::HttpRequest {
                    method: "GET".into(),
                    target: "/x".into(),
                    version: "HTTP/1.1".into(),
                    headers: vec![("Host".into(), host.into())],
                },
            )
        };
        let url = request(ObservableType::Url, "http://c2.example/x", "c2.example");
        assert_eq!(told(&url).unwrap().evidence, Evidence::None);
        let whole = request(ObservableType::NetworkTraffic, "", "c2.example");
        assert_eq!(told(&whole).unwrap(), whole);
        let own = request(ObservableType::NetworkTraffic, "", "www.corp.example");
        assert_eq!(told(&own).unwrap().evidence, Evidence::None);
        let mail = seen(
            ObservableType::EmailMessage,
            "invoice",
            Evidence::Mail {
                from: Some("boss@corp.example".into()),
                to: vec!["you@corp.example".into()],
                subject: Some("invoice".into()),
                is_multipart: false,
            },
        );
        let expected = Evidence::Mail {
            from: None,
            to: Vec::new(),
            subject: Some("invoice".into()),
            is_multipart: false,
        };
        assert_eq!(told(&mail).unwrap().evidence, expected);
        let address = seen(ObservableType::Ipv4Addr, "10.0.0.5", Evidence::None);
        assert_eq!(told(&address), None);
        let url = seen(ObservableType::Url, "http://10.0.0.5/x", Evidence::None);
        assert_eq!(told(&url), None);
    }
}
