//! What a value may be, told by its look.

use crate::exchange::ListedValue;
use crate::exchange::refang;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::matcher::Lone;
use crate::matcher::object::hex;
use crate::matcher::set::KeyKind;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::observable::mail;
use crate::observable::name;
use crate::protocol::http::normalise_url;
use crate::report::explain::Reading;
use crate::report::text::printable;
use ipnet::IpNet;
use std::net::IpAddr;

/// Longest value, in bytes: longer than any URL that servers accept.
const LONGEST: usize = 8 << 10;

/// What a value is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// One thing that traffic may show.
    Lone(Lone),
    /// A network, of which traffic shows addresses.
    Network(IpNet),
}

/// Everything that a value may be, the likeliest first; at least one. `forced`: only as this type.
pub(super) fn readings(value: &str, forced: Option<ObservableType>) -> Result<Vec<What>, String> {
    let bare = value.trim();
    if bare.is_empty() {
        return Err("the value is empty: name an address, a name, a URL, a digest, …".into());
    }
    if bare.len() > LONGEST {
        return Err(format!(
            "the value is longer than {LONGEST} bytes: nothing is"
        ));
    }
    match forced {
        None => by_look(bare),
        Some(kind) => {
            let found: Vec<What> = by_force(bare)
                .into_iter()
                .filter(|what| what.kind() == kind)
                .collect();
            if found.is_empty() {
                return Err(format!(
                    "'{}' cannot be read as {kind}: leave out --type, or name another",
                    printable(bare)
                ));
            }
            Ok(found)
        }
    }
}

fn by_look(bare: &str) -> Result<Vec<What>, String> {
    let lone = |all: Vec<Lone>| Ok(all.into_iter().map(What::Lone).collect());
    if [Spec::V21, Spec::V20]
        .into_iter()
        .any(|spec| Pattern::parse(bare, spec).is_ok())
    {
        return Err(format!(
            "'{}' is a pattern: explain a value that it asks for; 'intel list --text' finds \
             patterns, 'intel try' evaluates one",
            printable(bare)
        ));
    }
    if let Some(digits) = colon_digest(bare) {
        return lone(digests(&digits));
    }
    let reason = match ListedValue::parse(bare) {
        Ok((listed, _)) => return of_listed(bare, listed),
        Err(refused) => refused.reason,
    };
    if is_ja4(bare) {
        return lone(vec![fingerprint(KeyKind::Ja4, bare)]);
    }
    if is_meant_otherwise(bare) {
        return Err(format!("{reason} (--type forces a reading)"));
    }
    lone(texts(bare))
}

/// What a list would take for a value, and what such a value may be beside it.
fn of_listed(bare: &str, listed: ListedValue) -> Result<Vec<What>, String> {
    let lone = |all: Vec<Lone>| Ok(all.into_iter().map(What::Lone).collect());
    match listed {
        ListedValue::Address(address) => lone(vec![Lone::Address(address)]),
        ListedValue::Network(network) => Ok(vec![What::Network(network)]),
        ListedValue::Endpoint(end) => lone(vec![Lone::Endpoint(end), Lone::Address(end.ip())]),
        ListedValue::Name {
            subdomains: true,
            name,
        } => Err(format!(
            "'{}' is many names: ask for one of them, {name} or a name below it",
            printable(bare)
        )),
        ListedValue::Name { name, .. } => {
            lone(vec![Lone::Name(name), Lone::FileName(bare.to_owned())])
        }
        ListedValue::Url(url) => match normalise_url(&url) {
            Some(url) => lone(vec![Lone::Url(url)]),
            None => Err(format!("'{}' is no URL with a host", printable(bare))),
        },
        ListedValue::Hash(_, digits) => lone(digests(&digits)),
        ListedValue::Mail(address) => match mail::normalise(&address) {
            Some(address) => lone(vec![Lone::Mailbox(address.into_owned())]),
            None => Err(format!("'{}' is no mail address", printable(bare))),
        },
    }
}

/// Whether text that no list takes is an address, network or URL gone wrong, rather than a text.
fn is_meant_otherwise(bare: &str) -> bool {
    let value = refang(bare);
    let before_slash = value.split('/').next().unwrap_or_default();
    let only_numbers = value
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'/' | b':'));
    value.contains("://") || only_numbers || before_slash.parse::<IpAddr>().is_ok()
}

/// What text of no other form may be.
fn texts(bare: &str) -> Vec<Lone> {
    let value = refang(bare);
    let mut found = Vec::new();
    if value.contains('@')
        && !value.contains(char::is_whitespace)
        && let Some(address) = mail::normalise(&value)
    {
        found.push(Lone::Mailbox(address.into_owned()));
    }
    if is_single_label(&value) {
        found.extend(name::normalise(&value).map(|n| Lone::Name(n.into_owned())));
    }
    // partners leave out the scheme
    if value
        .split_once('/')
        .is_some_and(|(host, _)| host.contains('.') && name::normalise(host).is_some())
        && !value.contains(char::is_whitespace)
    {
        found.extend(normalise_url(&format!("http://{value}")).map(Lone::Url));
    }
    found.push(Lone::UserAgent(bare.to_owned()));
    if !bare.contains(['/', '\\']) {
        found.push(Lone::FileName(bare.to_owned()));
    }
    if bare.contains(char::is_whitespace) {
        found.push(Lone::Subject(bare.to_owned()));
    }
    found
}

fn is_single_label(value: &str) -> bool {
    value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Everything that a value can be made to be.
fn by_force(bare: &str) -> Vec<What> {
    let value = refang(bare);
    let mut found = by_look(bare).unwrap_or_default();
    let mut more = Vec::new();
    more.extend(name::normalise(&value).map(|n| Lone::Name(n.into_owned())));
    let with_scheme = if value.contains("://") {
        normalise_url(&value)
    } else {
        normalise_url(&format!("http://{value}"))
    };
    more.extend(with_scheme.map(Lone::Url));
    more.extend(mail::normalise(&value).map(|a| Lone::Mailbox(a.into_owned())));
    more.push(Lone::Subject(bare.to_owned()));
    more.push(Lone::FileName(bare.to_owned()));
    // digits that are a fingerprint are no user agent
    let is_fingerprint = |what: &What| matches!(what, What::Lone(Lone::Fingerprint(..)));
    if !found.iter().any(is_fingerprint) {
        more.push(Lone::UserAgent(bare.to_owned()));
    }
    for lone in more.into_iter().map(What::Lone) {
        if !found.contains(&lone) {
            found.push(lone);
        }
    }
    found
}

/// All that has as many hexadecimal digits.
fn digests(digits: &str) -> Vec<Lone> {
    let Some(bytes) = decode(digits) else {
        return Vec::new();
    };
    let digest = |kind| Lone::Digest(kind, bytes.clone());
    match bytes.len() {
        16 => vec![
            digest(KeyKind::FileMd5),
            digest(KeyKind::CertificateMd5),
            fingerprint(KeyKind::Ja3, digits),
            fingerprint(KeyKind::Ja3s, digits),
            fingerprint(KeyKind::Hassh, digits),
            fingerprint(KeyKind::HasshServer, digits),
        ],
        20 => vec![digest(KeyKind::FileSha1), digest(KeyKind::CertificateSha1)],
        32 => vec![
            digest(KeyKind::FileSha256),
            digest(KeyKind::CertificateSha256),
        ],
        _ => Vec::new(),
    }
}

fn decode(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |b: u8| char::from(b).to_digit(16);
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok())
        .collect()
}

fn fingerprint(kind: KeyKind, text: &str) -> Lone {
    Lone::Fingerprint(kind, text.to_ascii_lowercase())
}

/// A digest as certificates are shown with it: pairs of digits between colons.
fn colon_digest(text: &str) -> Option<String> {
    let pairs: Vec<&str> = text.split(':').collect();
    let is_digest = matches!(pairs.len(), 16 | 20 | 32)
        && pairs
            .iter()
            .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    is_digest.then(|| pairs.concat().to_ascii_lowercase())
}

/// Whether text has the form of a JA4 fingerprint: ten characters and twice twelve digits.
fn is_ja4(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let is_hex = |part: &&str| part.len() == 12 && part.bytes().all(|b| b.is_ascii_hexdigit());
    match parts.as_slice() {
        [head, ciphers, extensions] => {
            head.len() == 10
                && head.bytes().all(|b| b.is_ascii_alphanumeric())
                && is_hex(ciphers)
                && is_hex(extensions)
        }
        _ => false,
    }
}

impl What {
    /// The type of the observable that traffic would show.
    pub(super) const fn kind(&self) -> ObservableType {
        match self {
            Self::Network(IpNet::V4(_)) | Self::Lone(Lone::Address(IpAddr::V4(_))) => {
                ObservableType::Ipv4Addr
            }
            Self::Network(IpNet::V6(_)) | Self::Lone(Lone::Address(IpAddr::V6(_))) => {
                ObservableType::Ipv6Addr
            }
            Self::Lone(lone) => match lone {
                Lone::Name(_) => ObservableType::DomainName,
                Lone::Url(_) => ObservableType::Url,
                Lone::Mailbox(_) => ObservableType::EmailAddr,
                Lone::Subject(_) => ObservableType::EmailMessage,
                Lone::Digest(
                    KeyKind::CertificateMd5 | KeyKind::CertificateSha1 | KeyKind::CertificateSha256,
                    _,
                ) => ObservableType::X509Certificate,
                Lone::FileName(_) | Lone::Digest(..) => ObservableType::File,
                Lone::Address(_)
                | Lone::Endpoint(_)
                | Lone::Fingerprint(..)
                | Lone::UserAgent(_) => ObservableType::NetworkTraffic,
            },
        }
    }

    /// As reports say it.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            kind: self.kind(),
            property: self.property(),
            value: self.text(),
        }
    }

    const fn property(&self) -> Option<&'static str> {
        match self {
            Self::Lone(Lone::Fingerprint(kind, _)) => Some(match kind {
                KeyKind::Ja3 => "x_ja3_hash",
                KeyKind::Ja3s => "x_ja3s_hash",
                KeyKind::Hassh => "x_hassh",
                KeyKind::HasshServer => "x_hassh_server",
                _ => "x_ja4",
            }),
            Self::Lone(Lone::UserAgent(_)) => Some("user_agent"),
            _ => None,
        }
    }

    /// In normal form, as events write it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Network(network) => network.to_string(),
            Self::Lone(Lone::Address(address)) => address.to_string(),
            Self::Lone(Lone::Endpoint(end)) => end.to_string(),
            Self::Lone(
                Lone::Name(text)
                | Lone::Url(text)
                | Lone::Mailbox(text)
                | Lone::Subject(text)
                | Lone::FileName(text)
                | Lone::Fingerprint(_, text)
                | Lone::UserAgent(text),
            ) => text.clone(),
            Self::Lone(Lone::Digest(_, digest)) => hex(digest),
        }
    }

    /// Where traffic shows such a value.
    pub(super) const fn places(&self) -> &'static [Place] {
        match self {
            Self::Network(_) | Self::Lone(Lone::Address(_)) => &[
                Place::FlowSrc,
                Place::FlowDst,
                Place::FlowTunnelSrc,
                Place::FlowTunnelDst,
                Place::DnsAnswer,
                Place::HttpHeader,
                Place::SmtpHeader,
                Place::SmtpLink,
            ],
            Self::Lone(lone) => match lone {
                Lone::Address(_) | Lone::Endpoint(_) => &[Place::Flow],
                Lone::Name(_) => &[
                    Place::DnsQuery,
                    Place::DnsAnswer,
                    Place::DhcpHostName,
                    Place::TlsSni,
                    Place::QuicSni,
                    Place::HttpHost,
                    Place::SmtpLink,
                ],
                Lone::Url(_) => &[Place::HttpUrl, Place::SmtpLink],
                Lone::Mailbox(_) => &[Place::SmtpMailFrom, Place::SmtpRcptTo, Place::SmtpHeader],
                Lone::Subject(_) => &[Place::SmtpHeader],
                Lone::FileName(_) => &[
                    Place::HttpRequestBody,
                    Place::HttpResponseBody,
                    Place::SmbFile,
                    Place::SmtpAttachment,
                    Place::FtpData,
                    Place::FtpControl,
                ],
                Lone::Digest(
                    KeyKind::CertificateMd5 | KeyKind::CertificateSha1 | KeyKind::CertificateSha256,
                    _,
                ) => &[Place::TlsCertificate],
                Lone::Digest(..) => &[
                    Place::HttpRequestBody,
                    Place::HttpResponseBody,
                    Place::SmbFile,
                    Place::SmtpAttachment,
                    Place::FtpData,
                ],
                Lone::Fingerprint(KeyKind::Ja3s, _) => &[Place::TlsServerHello],
                Lone::Fingerprint(KeyKind::Hassh, _) => &[Place::SshClientKex],
                Lone::Fingerprint(KeyKind::HasshServer, _) => &[Place::SshServerKex],
                Lone::Fingerprint(..) => &[Place::TlsClientHello, Place::QuicClientHello],
                Lone::UserAgent(_) => &[Place::HttpUserAgent],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, forced: Option<ObservableType>) -> Vec<String> {
        readings(value, forced)
            .unwrap_or_else(|e| panic!("{value}: {e}"))
            .iter()
            .map(|what| {
                let reading = what.reading();
                match reading.property {
                    Some(property) => format!("{property}={}", reading.value),
                    None => format!("{}={}", reading.kind, reading.value),
                }
            })
            .collect()
    }

    #[test]
    fn values_are_told_by_their_look() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let colons = "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09";
        let ja4 = "t13i020900_bb76221c5b8c_303c7117418d";
        for (value, expected) in [
            ("192[.]0[.]2[.]1", &["ipv4-addr=192.0.2.1"][..]),
            ("::ffff:192.0.2.1", &["ipv4-addr=192.0.2.1"]),
            ("192.0.2.7/24", &["ipv4-addr=192.0.2.0/24"]),
            (
                "192.0.2.1:8443",
                &["network-traffic=192.0.2.1:8443", "ipv4-addr=192.0.2.1"],
            ),
            (
                "A[.]Example",
                &["domain-name=a.example", "file=A[.]Example"],
            ),
            ("hxxp://A[.]example", &["url=http://a.example/"]),
            ("Joe[at]a[.]example", &["email-addr=joe@a.example"]),
            (
                "localhost",
                &[
                    "domain-name=localhost",
                    "user_agent=localhost",
                    "file=localhost",
                ],
            ),
            ("curl/8.1", &["user_agent=curl/8.1"]),
            (
                "a.example/x?y",
                &["url=http://a.example/x?y", "user_agent=a.example/x?y"],
            ),
            (
                "Mozilla/5.0 (X11)",
                &[
                    "user_agent=Mozilla/5.0 (X11)",
                    "email-message=Mozilla/5.0 (X11)",
                ],
            ),
            (
                "the invoice.exe",
                &[
                    "user_agent=the invoice.exe",
                    "file=the invoice.exe",
                    "email-message=the invoice.exe",
                ],
            ),
            (ja4, &[&*format!("x_ja4={ja4}")]),
            (
                colons,
                &[
                    "file=da39a3ee5e6b4b0d3255bfef95601890afd80709",
                    "x509-certificate=da39a3ee5e6b4b0d3255bfef95601890afd80709",
                ],
            ),
            (
                md5,
                &[
                    &*format!("file={md5}"),
                    &*format!("x509-certificate={md5}"),
                    &*format!("x_ja3_hash={md5}"),
                    &*format!("x_ja3s_hash={md5}"),
                    &*format!("x_hassh={md5}"),
                    &*format!("x_hassh_server={md5}"),
                ],
            ),
        ] {
            assert_eq!(read(value, None), expected, "{value}");
        }
    }

    #[test]
    fn every_place_shows_some_value() {
        let values = [
            "192.0.2.1",
            "a.example",
            "http://a.example/",
            "joe@a.example",
            "d41d8cd98f00b204e9800998ecf8427e",
            "a subject",
        ];
        // what is seen there is a flow or a request as a whole
        let mut places = vec![Place::Flow, Place::HttpRequest];
        for value in values {
            for what in readings(value, None).unwrap() {
                places.extend(what.places());
            }
        }
        for place in Place::ALL {
            assert!(places.contains(&place), "{place}");
        }
    }

    #[test]
    fn a_type_can_be_forced() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for (value, kind, expected) in [
            (
                "192.0.2.1",
                ObservableType::DomainName,
                &["domain-name=192.0.2.1"][..],
            ),
            ("192.0.2.1", ObservableType::File, &["file=192.0.2.1"]),
            (
                "a.example",
                ObservableType::NetworkTraffic,
                &["user_agent=a.example"],
            ),
            ("a.example", ObservableType::Url, &["url=http://a.example/"]),
            (
                "a.example",
                ObservableType::EmailMessage,
                &["email-message=a.example"],
            ),
            (
                md5,
                ObservableType::X509Certificate,
                &[&*format!("x509-certificate={md5}")],
            ),
        ] {
            assert_eq!(read(value, Some(kind)), expected, "{value} {kind}");
        }
        assert!(readings("a.example", Some(ObservableType::Ipv4Addr)).is_err());
        assert!(readings("192.0.2.1", Some(ObservableType::Ipv6Addr)).is_err());
    }

    #[test]
    fn what_is_mistyped_is_told() {
        for (value, reason) in [
            ("", "empty"),
            ("   ", "empty"),
            ("192.0.2.999", "four numbers"),
            ("192.0.2.0/33", "1 to 32"),
            ("ftp://a.example/", "neither http nor https"),
            ("*.a.example", "ask for one of them"),
            ("[domain-name:value = 'a.example']", "is a pattern"),
            (&*"a".repeat(LONGEST + 1), "longer than"),
        ] {
            let found = readings(value, None).unwrap_err();
            assert!(found.contains(reason), "{value}: {found}");
        }
    }
}
