//! Values in the one form in which they are compared, and what of an
//! observable an allowlist looks at.

use super::networks::canonical;
use crate::observable::ObservableType;
use ipnet::IpNet;
use std::borrow::Cow;
use std::ops::BitOr;

/// Names longer than this are not handed to the IDNA tables, whose work
/// grows faster than the name; RFC 1035 section 2.3.4 allows 255 octets, and
/// four octets of UTF-8 can stand for one character.
const MAX_IDNA_BYTES: usize = 1024;

/// Kinds of values, as a set: what a list is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facets(u16);

impl Facets {
    /// Nothing that is seen in traffic.
    pub(super) const NONE: Self = Self(0);
    /// IP addresses.
    pub(super) const ADDRESS: Self = Self(1);
    /// Domain names.
    pub(super) const NAME: Self = Self(1 << 1);
    /// URLs.
    pub(super) const URL: Self = Self(1 << 2);
    /// Digests of files.
    pub(super) const FILE_HASH: Self = Self(1 << 3);
    /// Names of files.
    pub(super) const FILE_NAME: Self = Self(1 << 4);
    /// Certificates: digests, names, serial numbers.
    pub(super) const CERTIFICATE: Self = Self(1 << 5);
    /// Fingerprints of TLS and SSH.
    pub(super) const FINGERPRINT: Self = Self(1 << 6);
    /// User agents.
    pub(super) const USER_AGENT: Self = Self(1 << 7);
    /// Other properties of traffic; no MISP type is about them.
    pub(super) const OTHER: Self = Self(1 << 8);
    /// Mail addresses.
    pub(super) const MAIL: Self = Self(1 << 9);
    /// Everything.
    pub(super) const ALL: Self = Self(u16::MAX);

    /// Whether the two have anything in common.
    pub(super) const fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What a MISP attribute type holds; of a composite type, either half counts.
    pub(super) fn of_misp(attribute: &str) -> Self {
        attribute.split('|').fold(Self::NONE, |facets, half| {
            facets
                | match half {
                    "ip-src" | "ip-dst" | "ip" => Self::ADDRESS,
                    "domain" | "hostname" => Self::NAME,
                    "url" | "uri" | "link" => Self::URL,
                    "email" | "email-src" | "email-dst" | "email-reply-to" => Self::MAIL,
                    "filename" | "attachment" | "email-attachment" => Self::FILE_NAME,
                    "malware-sample" => Self::FILE_NAME | Self::FILE_HASH,
                    "ja3-fingerprint-md5"
                    | "jarm-fingerprint"
                    | "hassh-md5"
                    | "hasshserver-md5" => Self::FINGERPRINT,
                    "user-agent" => Self::USER_AGENT,
                    "all" | "ALL" => Self::ALL,
                    "md5" | "sha1" | "sha224" | "sha256" | "sha384" | "sha512" | "sha512/224"
                    | "sha512/256" | "sha3-224" | "sha3-256" | "sha3-384" | "sha3-512" => {
                        Self::FILE_HASH
                    }
                    other if other.starts_with("x509-fingerprint-") => Self::CERTIFICATE,
                    _ => Self::NONE,
                }
        })
    }
}

impl BitOr for Facets {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::verdict) struct Subject {
    /// The kind of value.
    pub(super) facets: Facets,
    /// The value in normal form.
    pub(super) text: String,
    /// The address or network; `None` where the value is neither, nor a URL with an address for a host.
    pub(super) network: Option<IpNet>,
    /// The host of a URL, or the name itself; `None` for the other kinds and for addresses.
    pub(super) host: Option<String>,
}

impl Subject {
    /// A value of an observable; `property` as [`crate::matcher::Observable`] has it.
    pub(in crate::verdict) fn new(
        kind: ObservableType,
        property: Option<&str>,
        value: &str,
    ) -> Self {
        match kind {
            ObservableType::Ipv4Addr | ObservableType::Ipv6Addr => match canonical(value) {
                Some(network) => Self::network(network),
                None => Self::text(Facets::ADDRESS, value),
            },
            ObservableType::DomainName => {
                let name = name_form(value).into_owned();
                Self {
                    facets: Facets::NAME,
                    host: Some(name.clone()),
                    network: None,
                    text: name,
                }
            }
            ObservableType::Url => Self::url(value),
            ObservableType::EmailAddr => Self::text(Facets::MAIL, value),
            // no list is about whole mails
            ObservableType::EmailMessage => Self::text(Facets::NONE, value),
            ObservableType::File => {
                let facets = match is_digest(value) {
                    true => Facets::FILE_HASH,
                    false => Facets::FILE_NAME,
                };
                Self::text(facets, value)
            }
            ObservableType::X509Certificate => Self::text(Facets::CERTIFICATE, value),
            ObservableType::NetworkTraffic => match property {
                Some("user_agent") => Self::text(Facets::USER_AGENT, value),
                Some(property) if property.starts_with("x_") => {
                    Self::text(Facets::FINGERPRINT, value)
                }
                Some(_) => Self::text(Facets::OTHER, value),
                None => Self::text(
                    Facets::FINGERPRINT | Facets::USER_AGENT | Facets::OTHER,
                    value,
                ),
            },
        }
    }

    /// A digest of a file's content.
    pub(in crate::verdict) fn file_hash(digest: &[u8]) -> Self {
        Self::text(Facets::FILE_HASH, &hexadecimal(digest))
    }

    /// A digest of a certificate.
    pub(in crate::verdict) fn certificate_hash(digest: &[u8]) -> Self {
        Self::text(Facets::CERTIFICATE, &hexadecimal(digest))
    }

    /// An address or a network.
    pub(in crate::verdict) fn network(network: IpNet) -> Self {
        Self {
            facets: Facets::ADDRESS,
            text: network_text(network),
            network: Some(network),
            host: None,
        }
    }

    fn url(value: &str) -> Self {
        let text = url_form(value);
        let host = text.split_once("://").and_then(|(_, rest)| host_of(rest));
        let network = host.and_then(|host| canonical(host.trim_matches(['[', ']'])));
        Self {
            facets: Facets::URL,
            host: host.filter(|_| network.is_none()).map(str::to_owned),
            network,
            text,
        }
    }

    fn text(facets: Facets, value: &str) -> Self {
        Self {
            facets,
            text: text_form(value).into_owned(),
            network: None,
            host: None,
        }
    }
}

/// A domain name in lower case and A-labels (RFC 5890), without the dot of the root.
pub(super) fn name_form(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.is_ascii()
        && name.len() <= MAX_IDNA_BYTES
        && let Ok(ascii) = idna::domain_to_ascii(name)
    {
        return Cow::Owned(ascii);
    }
    text_form(name)
}

/// Any other value: letter case does not count; the colons of a digest neither.
pub(super) fn text_form(text: &str) -> Cow<'_, str> {
    if text.contains(':') && is_digest(text) {
        return Cow::Owned(text.replace(':', "").to_ascii_lowercase());
    }
    if text.is_ascii() {
        return match text.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(text.to_ascii_lowercase()),
            false => Cow::Borrowed(text),
        };
    }
    Cow::Owned(text.to_lowercase())
}

/// A URL with scheme and host in normal form (RFC 3986 section 6.2.2 and
/// 6.2.3): no user, no default port, no fragment, `/` for an empty path. The
/// path keeps its letter case.
///
/// What has no scheme is taken for the rest of a URL.
pub(super) fn url_form(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (String::new(), url),
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match scheme.as_str() {
        "http" => host.strip_suffix(":80").unwrap_or(host),
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => host,
    };
    let (host, port) = match host.rsplit_once(':') {
        // Within brackets, colons are the address's own.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host, None),
    };
    let mut form = String::with_capacity(url.len().saturating_add(1));
    if !scheme.is_empty() {
        form.push_str(&scheme);
        form.push_str("://");
    }
    form.push_str(&name_form(host));
    if let Some(port) = port {
        form.push(':');
        form.push_str(port);
    }
    if !path.starts_with('/') {
        form.push('/');
    }
    form.push_str(path);
    form
}

/// The host of a URL in normal form, without its scheme.
fn host_of(rest: &str) -> Option<&str> {
    let authority = rest.split(['/', '?']).next()?;
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    };
    (!host.is_empty()).then_some(host)
}

/// Whether the text is a digest in hexadecimal, with or without colons, of a
/// length that MD5, SHA-1 or a SHA-2 has.
pub(super) fn is_digest(text: &str) -> bool {
    let mut digits = 0_usize;
    for c in text.bytes() {
        match c {
            b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' => digits += 1,
            b':' if digits.is_multiple_of(2) => {}
            _ => return false,
        }
    }
    matches!(digits, 32 | 40 | 56 | 64 | 96 | 128)
}

/// Whether the text, in normal form, can be a domain name (RFC 1035 section
/// 2.3.1, with the underscore of service names, and not ending in a number).
pub(super) fn is_name(form: &str) -> bool {
    form.len() <= 253
        && form.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        && !form
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the text can only be meant as an address or a network, sound or not.
pub(super) fn is_like_address(text: &str) -> bool {
    let only = |more: &[u8]| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || b == b'/' || more.contains(&b))
    };
    let v4 = text.contains('.') && only(b".");
    let v6 = text.bytes().filter(|b| *b == b':').count() >= 2 && only(b":.abcdefABCDEF");
    v4 || v6 || (text.contains('/') && only(b"."))
}

/// A network as a user would write it: one address has no prefix length.
pub(in crate::verdict) fn network_text(network: IpNet) -> String {
    match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    }
}

/// Lower-case hexadecimal digits.
fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_one_form() {
        for (url, form) in [
            ("HTTP://Example.ORG", "http://example.org/"),
            ("http://example.org:80/A?b#c", "http://example.org/A?b"),
            ("https://example.org:80/", "https://example.org:80/"),
            ("http://user:pw@example.org./x", "http://example.org/x"),
            ("http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080/"),
            (
                "http://example.org?q=http://a",
                "http://example.org/?q=http://a",
            ),
            ("Example.org/Path", "example.org/Path"),
            ("http://", "http:///"),
            ("", "/"),
        ] {
            assert_eq!(url_form(url), form, "{url}");
        }
    }

    #[test]
    fn hosts_of_urls() {
        for (url, host, network) in [
            ("http://example.org/x", Some("example.org"), None),
            ("http://example.org:8080/x", Some("example.org"), None),
            ("http://192.0.2.1/x", None, Some("192.0.2.1/32")),
            ("http://[2001:db8::1]:8080/x", None, Some("2001:db8::1/128")),
            // What stands after the @ is the host, whatever stands before it.
            ("http://example.org@192.0.2.1/", None, Some("192.0.2.1/32")),
            ("http:///x", None, None),
            ("mailto:a@example.org", None, None),
        ] {
            let subject = Subject::new(ObservableType::Url, None, url);
            assert_eq!(subject.host.as_deref(), host, "{url}");
            assert_eq!(
                subject.network.map(|n| n.to_string()).as_deref(),
                network,
                "{url}"
            );
        }
    }

    #[test]
    fn names_have_one_form() {
        for (name, form) in [
            ("Example.ORG.", "example.org"),
            ("B\u{fc}cher.example", "xn--bcher-kva.example"),
            (".", ""),
        ] {
            assert_eq!(name_form(name), form, "{name}");
        }
        assert!(name_form(&"\u{fc}".repeat(5_000)).len() >= 5_000);
    }

    #[test]
    fn kinds_of_text_are_told_apart() {
        assert!(is_digest("d41d8cd98f00b204e9800998ecf8427e"));
        assert!(is_digest("D4:1D:8C:D9:8F:00:B2:04:E9:80:09:98:EC:F8:42:7E"));
        assert!(!is_digest("d41d8cd98f00b204e9800998ecf8427"));
        assert!(!is_digest("2001:db8::1"));
        for name in ["a", "a.example", "_dmarc.a.example", "bad.cafe", "1.x"] {
            assert!(is_name(name), "{name}");
        }
        for other in ["", "a..b", "a b", "1.2.3", "a/b", ".a", "curl/7.1"] {
            assert!(!is_name(other), "{other}");
        }
        for address in ["192.0.2.300", "10.0.0.0/33", "2001:db8:::1", "10/8"] {
            assert!(is_like_address(address), "{address}");
        }
        for other in ["bad.cafe", "curl/7.88", "12", "a:b"] {
            assert!(!is_like_address(other), "{other}");
        }
    }

    #[test]
    fn attribute_types_of_misp() {
        for (attribute, facets) in [
            ("ip-src|port", Facets::ADDRESS),
            ("domain|ip", Facets::ADDRESS | Facets::NAME),
            ("filename|sha256", Facets::FILE_NAME | Facets::FILE_HASH),
            ("x509-fingerprint-sha1", Facets::CERTIFICATE),
            ("email-src", Facets::MAIL),
            ("phone-number", Facets::NONE),
            ("", Facets::NONE),
        ] {
            assert_eq!(Facets::of_misp(attribute), facets, "{attribute}");
        }
    }
}
