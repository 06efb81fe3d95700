//! The address of a resource on an exchange.

use std::fmt;
use std::net::IpAddr;
use ureq::http::Uri;

/// Longest address that is followed: servers stop at 8 KiB.
const LONGEST: usize = 8 << 10;

/// An absolute `http` or `https` address, without user name and fragment.
///
/// Shown without its query, which may hold a secret; [`Url::to_text`] gives all of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url {
    https: bool,
    /// Lower case; an IPv6 address in its brackets.
    host: String,
    port: u16,
    /// Begins with a slash.
    path: String,
    /// Without the question mark; `None`: there is none.
    query: Option<String>,
}

/// Why a text is no address that can be asked; says what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http` nor `https`.
    #[error("it does not begin with https:// or http://")]
    Scheme,
    /// It has a user name or a password in it, which would show in messages.
    #[error("it holds a user name or password: name them as credentials, and leave them out here")]
    UserInfo,
    /// Longer than servers take.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// Anything else.
    #[error("it is no valid URL: write it as https://host/path, with special characters as %XX")]
    Malformed,
}

impl Url {
    /// Reads an absolute address (RFC 3986); a fragment is left out.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > LONGEST {
            return Err(UrlError::TooLong);
        }
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        // as browsers do; a host in other letters fails below
        let text = escape_where(text, |byte| !byte.is_ascii());
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(UrlError::Scheme);
        };
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlError::Scheme),
        };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        if text.contains(|c: char| c.is_ascii_control()) || authority.contains('%') {
            return Err(UrlError::Malformed);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Malformed)?;
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.is_empty() {
            return Err(UrlError::Malformed);
        }
        let port = match authority.rsplit_once(':') {
            Some((_, digits)) if !digits.contains(']') && !digits.is_empty() => {
                digits.parse().map_err(|_| UrlError::Malformed)?
            }
            _ => default_port(https),
        };
        let path = match uri.path() {
            "" => "/",
            path => path,
        };
        Ok(Self {
            https,
            path: without_dots(path),
            query: uri.query().map(str::to_owned),
            host,
            port,
        })
    }

    /// What `reference` means where it stands in the resource at this address (RFC 3986, 5.2).
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = reference.trim();
        let reference = reference
            .split_once('#')
            .map_or(reference, |(before, _)| before);
        let before_path = reference.split(['/', '?']).next().unwrap_or_default();
        if before_path.contains(':') {
            return Self::parse(reference);
        }
        let origin = self.origin();
        let text = if reference.starts_with("//") {
            format!("{}:{reference}", self.scheme())
        } else if reference.starts_with('/') {
            format!("{origin}{reference}")
        } else if reference.starts_with('?') {
            format!("{origin}{}{reference}", self.path)
        } else if reference.is_empty() {
            self.to_text()
        } else {
            let folder = self.path.rfind('/').and_then(|at| self.path.get(..=at));
            format!("{origin}{}{reference}", folder.unwrap_or("/"))
        };
        Self::parse(&text)
    }

    /// The same with `name=value` added to its query, escaped.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        let pair = format!("{}={}", escape(name), escape(value));
        self.query = Some(match self.query {
            Some(query) if !query.is_empty() => format!("{query}&{pair}"),
            _ => pair,
        });
        self
    }

    /// The same with `segments` below its path, each escaped, and a slash at the end.
    ///
    /// The query is left out.
    #[must_use]
    pub fn with_folders(&self, segments: &[&str]) -> Self {
        let mut path = self.path.clone();
        if !path.ends_with('/') {
            path.push('/');
        }
        for segment in segments {
            // one of dots alone would climb out of its folder; no resource has such a name
            path.push_str(&escape(segment).replace('.', "%2E"));
            path.push('/');
        }
        Self {
            path,
            query: None,
            ..self.clone()
        }
    }

    /// The whole address, with its query.
    pub fn to_text(&self) -> String {
        match &self.query {
            Some(query) => format!("{}{}?{query}", self.origin(), self.path),
            None => format!("{}{}", self.origin(), self.path),
        }
    }

    /// Scheme, host and port, such as `https://exchange.example`; no slash at the end.
    pub fn origin(&self) -> String {
        let (scheme, host) = (self.scheme(), &self.host);
        match self.port {
            port if port == default_port(self.https) => format!("{scheme}://{host}"),
            port => format!("{scheme}://{host}:{port}"),
        }
    }

    /// Whether both are of one scheme, host and port (RFC 6454, section 5).
    pub fn has_origin_of(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// Whether what is sent there is encrypted.
    pub const fn is_https(&self) -> bool {
        self.https
    }

    /// Whether what is sent there stays on this host.
    pub fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            // RFC 6761, section 6.3: the name means loopback, whatever a resolver says
            Err(_) => bare == "localhost",
        }
    }

    /// Host name or address, in lower case.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path, from its first slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// All but the unreserved characters as `%XX` (RFC 3986, 2.3).
fn escape(text: &str) -> String {
    escape_where(text, |byte| {
        !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    })
}

/// The bytes that are `special` as `%XX`; all that are not ASCII must be.
fn escape_where(text: &str, special: impl Fn(u8) -> bool) -> String {
    use fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if special(byte) {
            // writing to a String cannot fail
            let _ = write!(escaped, "%{byte:02X}");
        } else {
            escaped.push(char::from(byte));
        }
    }
    escaped
}

/// A path without its `.` and `..` (RFC 3986, 5.2.4); what climbs above the root stays there.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_as_in_rfc_3986() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        for (reference, meant) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("http://x:8080/y#z", "http://x:8080/y"),
            ("HTTPS://X:443", "https://x/"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("/taxii2/7e0e/", "http://a/taxii2/7e0e/"),
            ("/\u{202e}é?ü", "http://a/%E2%80%AE%C3%A9?%C3%BC"),
        ] {
            assert_eq!(
                base.join(reference).unwrap().to_text(),
                meant,
                "{reference}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("exchange.example", UrlError::Scheme),
            ("ftp://exchange.example/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("https://user:secret@host/", UrlError::UserInfo),
            ("https://host:99999/", UrlError::Malformed),
            ("https:///path", UrlError::Malformed),
            ("https://ho st/", UrlError::Malformed),
            ("https://host/a\r\nX: y", UrlError::Malformed),
            ("https://host/a\u{7f}", UrlError::Malformed),
            ("https://h%6fst/", UrlError::Malformed),
            ("https://höst/", UrlError::Malformed),
            ("https://[::1/", UrlError::Malformed),
        ] {
            assert_eq!(Url::parse(text), Err(error), "{text}");
        }
        let long = format!("https://host/{}", "a".repeat(LONGEST));
        assert_eq!(Url::parse(&long), Err(UrlError::TooLong));
    }

    #[test]
    fn origins_and_loopback() {
        let url = |text: &str| Url::parse(text).unwrap();
        assert!(url("https://a.example/x").has_origin_of(&url("https://A.example:443/y")));
        for other in [
            "http://a.example/",
            "https://a.example:444/",
            "https://b.example/",
        ] {
            assert!(!url("https://a.example/").has_origin_of(&url(other)));
        }
        for (text, loopback) in [
            ("http://127.0.0.1:5000/", true),
            ("http://127.9.9.9/", true),
            ("http://[::1]:80/", true),
            ("http://localhost/", true),
            ("http://127.0.0.1.example/", false),
            ("http://192.0.2.1/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(url(text).is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn queries_and_folders_are_escaped_and_queries_not_shown() {
        let url = Url::parse("https://h/api").unwrap();
        let asked = url
            .clone()
            .with_query("added_after", "a b&c")
            .with_query("next", "é=");
        assert_eq!(
            asked.to_text(),
            "https://h/api?added_after=a%20b%26c&next=%C3%A9%3D"
        );
        assert_eq!(asked.to_string(), "https://h/api");
        let below = url.with_folders(&["collections", "../x y"]);
        assert_eq!(below.to_text(), "https://h/api/collections/%2E%2E%2Fx%20y/");
    }
}
