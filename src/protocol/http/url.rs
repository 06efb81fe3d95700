//! The one normal form of hosts and URLs, for traffic and for indicators.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::net::Ipv6Addr;

/// The normal form of the URL that `text` spells, so that a request's URL and an
/// indicator's compare byte for byte; `None` when it names no scheme or no host.
///
/// Scheme and host go to lower case, a host that is not ASCII to its A-labels
/// (RFC 5891), a textual IPv6 address to RFC 5952. User information (which never
/// travels in a request's target), the scheme's default port, a trailing dot of
/// the host and the fragment are dropped. An empty path becomes `/`. Path and query
/// stay as they are, their letter case and percent-encoding included.
pub fn normalise_url(text: &str) -> Option<String> {
    let mut url = String::with_capacity(text.len() + 1);
    write_absolute(text.trim(), &mut url).then_some(url)
}

/// Appends the normal form of an absolute URL; `false`, and nothing, when it is none.
pub(super) fn write_absolute(text: &str, url: &mut String) -> bool {
    let Some((scheme, authority, path)) = split_absolute(text) else {
        return false;
    };
    let mut host = String::new();
    let port = normalise_authority(authority, &mut host);
    if host.is_empty() {
        return false;
    }
    let start = url.len();
    url.push_str(scheme);
    if let Some(written) = url.get_mut(start..) {
        written.make_ascii_lowercase();
    }
    let default = default_port(url.get(start..).unwrap_or_default());
    url.push_str("://");
    write_host(&host, port.filter(|port| *port != default), url);
    write_path(path, url);
    true
}

/// Scheme, authority, and what follows them, of a URL with an authority (RFC 3986 3).
pub(super) fn split_absolute(text: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    if !is_scheme(scheme) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((scheme, authority, path))
}

/// Whether `text` is a scheme (RFC 3986 3.1).
pub(super) fn is_scheme(text: &str) -> bool {
    let lawful = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'-' | b'.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(lawful)
}

/// The port that URLs of a scheme, in lower case, need not name; 0 where that is not known.
pub(super) fn default_port(scheme: &str) -> u16 {
    match scheme {
        "http" => 80,
        "https" => 443,
        "ftp" => 21,
        _ => 0,
    }
}

/// Appends a host in URL form, and a port where one is to be named.
pub(super) fn write_host(host: &str, port: Option<u16>, url: &mut String) {
    if host.contains(':') {
        url.push('[');
        url.push_str(host);
        url.push(']');
    } else {
        url.push_str(host);
    }
    if let Some(port) = port {
        // writing to a String cannot fail
        let _ = write!(url, ":{port}");
    }
}

/// Appends an address in URL form, and a port where one is to be named.
pub(super) fn write_address(address: IpAddr, port: Option<u16>, url: &mut String) {
    let _ = match (address, port) {
        (IpAddr::V4(address), None) => write!(url, "{address}"),
        (IpAddr::V4(address), Some(port)) => write!(url, "{address}:{port}"),
        (IpAddr::V6(address), None) => write!(url, "[{address}]"),
        (IpAddr::V6(address), Some(port)) => write!(url, "[{address}]:{port}"),
    };
}

/// Appends path and query as they are, without the fragment, and never an empty path.
pub(super) fn write_path(path: &str, url: &mut String) {
    if !path.starts_with('/') {
        url.push('/');
    }
    url.push_str(path.split('#').next().unwrap_or_default());
}

/// Writes the normal form of an authority's host into `host`, which it clears, and
/// gives its port. IPv6 brackets, user information and a trailing dot are dropped.
pub(super) fn normalise_authority(authority: &str, host: &mut String) -> Option<u16> {
    host.clear();
    let authority = authority.trim();
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, rest)| rest);
    let bracketed = authority
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'));
    let (name, port) = if let Some((name, rest)) = bracketed {
        (name, rest.strip_prefix(':'))
    } else if authority.parse::<Ipv6Addr>().is_ok() {
        (authority, None)
    } else {
        match authority.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, None),
        }
    };
    if let Ok(address) = name.parse::<Ipv6Addr>() {
        let _ = write!(host, "{address}");
    } else {
        let name = name.trim().trim_end_matches('.');
        match name.is_ascii() {
            true => host.push_str(name),
            false => match idna::domain_to_ascii(name) {
                Ok(ascii) => host.push_str(&ascii),
                Err(_) => host.push_str(name),
            },
        }
        host.make_ascii_lowercase();
    }
    port.and_then(|port| port.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_one_normal_form() {
        for (text, normal) in [
            ("http://example.org/a", Some("http://example.org/a")),
            (
                "HTTP://EXAMPLE.org/A?B=%2f",
                Some("http://example.org/A?B=%2f"),
            ),
            ("http://example.org", Some("http://example.org/")),
            ("http://example.org?x", Some("http://example.org/?x")),
            ("http://example.org:80/", Some("http://example.org/")),
            ("https://example.org:443/", Some("https://example.org/")),
            ("https://example.org:80/", Some("https://example.org:80/")),
            ("http://example.org:/", Some("http://example.org/")),
            (
                "http://example.org.:8080/",
                Some("http://example.org:8080/"),
            ),
            ("http://user:pw@example.org/x", Some("http://example.org/x")),
            ("http://example.org/x#top", Some("http://example.org/x")),
            (
                "http://[2001:DB8:0::1]:80/x",
                Some("http://[2001:db8::1]/x"),
            ),
            (
                "http://[2001:db8::1]:81/x",
                Some("http://[2001:db8::1]:81/x"),
            ),
            (
                " http://bücher.example/ü ",
                Some("http://xn--bcher-kva.example/ü"),
            ),
            ("http://192.0.2.1:7080/Ok", Some("http://192.0.2.1:7080/Ok")),
            ("example.org/x", None),
            ("http:///x", None),
            ("://x/", None),
            ("", None),
        ] {
            assert_eq!(normalise_url(text).as_deref(), normal, "{text}");
            if let Some(normal) = normal {
                assert_eq!(normalise_url(normal).as_deref(), Some(normal), "{text}");
            }
        }
    }

    #[test]
    fn authorities_split_into_host_and_port() {
        for (authority, host, port) in [
            ("Example.ORG", "example.org", None),
            ("example.org:8080", "example.org", Some(8080)),
            ("example.org:99999", "example.org", None),
            ("example.org.", "example.org", None),
            ("[::1]:8080", "::1", Some(8080)),
            ("2001:DB8::1", "2001:db8::1", None),
            ("a@b:1", "b", Some(1)),
            ("[", "[", None),
            ("", "", None),
        ] {
            let mut out = String::from("before");
            assert_eq!(
                normalise_authority(authority, &mut out),
                port,
                "{authority}"
            );
            assert_eq!(out, host, "{authority}");
        }
    }
}
