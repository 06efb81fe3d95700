//! Heads of requests and responses (RFC 9112 2 to 5, RFC 9110 7.2).
//!
//! Read as servers and browsers read them, not as the grammar forbids: what they
//! let pass an evader would use. Every departure is noted as an [`Oddity`].

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::memchr;

use crate::protocol::http::field::Fields;
use crate::protocol::http::oddity::Oddity;
use crate::protocol::http::url;

/// A request head.
#[derive(Debug)]
pub struct HttpRequest<'a> {
    /// The method as sent ("GET").
    pub method: &'a str,
    /// The request target as sent; bytes that are not UTF-8 became U+FFFD.
    pub target: &'a str,
    /// The version; 0.9 where the request line names none.
    pub version: Version,
    /// The scheme of a URL with this target: `http` in HTTP/1, and what HTTP/2 names.
    pub scheme: &'a str,
    /// The host that the request is for, in normal form: lower case, no port, no trailing
    /// dot, no IPv6 brackets. The target's own, if it has one, rules over the Host header
    /// (RFC 9112 3.2.2). `None` where the request names none.
    pub host: Option<&'a str>,
    /// The port named with `host`; `None` where it names none.
    pub port: Option<u16>,
    /// Another host that the request names, in the same form: a Host header that the target
    /// overrules, or a second Host header. `None` in all but evasive traffic.
    pub other_host: Option<&'a str>,
    fields: &'a [u8],
}

impl<'a> HttpRequest<'a> {
    /// The headers in the order sent.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.fields }
    }

    /// The value of the first header named `name`, in any letter case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().value_of(name)
    }

    /// The first User-Agent header; bytes that are not UTF-8 become U+FFFD.
    pub fn user_agent(&self) -> Option<Cow<'a, str>> {
        self.header("user-agent").map(String::from_utf8_lossy)
    }

    /// Writes the request's URL in normal form (that of [`url::normalise_url`]) into
    /// `buffer`, which it clears; `None` for CONNECT, which has no URL unless it names a path
    /// (RFC 8441 4).
    ///
    /// A target in absolute form is the URL (RFC 9112 3.2.2). Else it is the scheme, the
    /// host, the port only where the request names another than the scheme's, and the target.
    /// Without a host, the server's address and port stand for it.
    pub fn url<'b>(
        &self,
        server: IpAddr,
        server_port: u16,
        buffer: &'b mut String,
    ) -> Option<&'b str> {
        buffer.clear();
        if self.method == "CONNECT" && !self.target.starts_with('/') {
            return None;
        }
        if !self.target.starts_with('/') && url::write_absolute(self.target, buffer) {
            return Some(buffer);
        }
        let default = url::default_port(self.scheme);
        buffer.push_str(self.scheme);
        buffer.push_str("://");
        match self.host {
            Some(host) => url::write_host(host, self.port.filter(|port| *port != default), buffer),
            None => {
                let port = Some(server_port).filter(|port| *port != default);
                url::write_address(server, port, buffer);
            }
        }
        // RFC 9112 3.3: the asterisk-form stands for the server, with no path
        let path = if self.target == "*" { "" } else { self.target };
        url::write_path(path, buffer);
        Some(buffer)
    }
}

/// A response head.
#[derive(Debug)]
pub struct HttpResponse<'a> {
    /// The status code; 0 where it could not be read.
    pub status: u16,
    /// The reason phrase, without surrounding white space.
    pub reason: &'a [u8],
    /// The version of the status line.
    pub version: Version,
    /// The method of the request that this answers; `None` when the request was not
    /// seen, or had a method that RFC 9110 and RFC 5789 do not name.
    pub request_method: Option<&'static str>,
    fields: &'a [u8],
}

impl<'a> HttpResponse<'a> {
    /// The headers in the order sent.
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.fields }
    }

    /// The value of the first header named `name`, in any letter case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().value_of(name)
    }
}

/// A protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The number before the dot.
    pub major: u8,
    /// The number after it.
    pub minor: u8,
}

impl Version {
    /// HTTP/0.9, which sends no version.
    pub const HTTP_09: Self = Self { major: 0, minor: 9 };
    /// HTTP/1.1.
    pub const HTTP_11: Self = Self { major: 1, minor: 1 };
    /// HTTP/2.
    pub const HTTP_2: Self = Self { major: 2, minor: 0 };

    /// Reads `HTTP/1.1` in any letter case, and whether nothing else stands there.
    fn read(text: &[u8]) -> (Self, bool) {
        let digits = |text: &[u8]| {
            let end = text.iter().position(|c| !c.is_ascii_digit());
            let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
            let number = digits.iter().fold(0_u8, |n, c| {
                n.saturating_mul(10).saturating_add(c.wrapping_sub(b'0'))
            });
            (number, rest.len())
        };
        let text = text.get(5..).unwrap_or_default();
        let (major, left) = digits(text);
        let rest = text.get(text.len() - left..).unwrap_or_default();
        let Some(rest) = rest.strip_prefix(b".").filter(|_| left < text.len()) else {
            return (Self::HTTP_11, false);
        };
        let (minor, left) = digits(rest);
        let plain = text.len() == 3 && left == 0;
        (Self { major, minor }, plain)
    }
}

/// The headers of a head, in the order sent. Lines that are no header are passed over.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
}

impl<'a> Headers<'a> {
    fn value_of(mut self, name: &str) -> Option<&'a [u8]> {
        self.find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl<'a> Iterator for Headers<'a> {
    /// Name as sent, and value without surrounding white space; the value of a folded
    /// header (RFC 9112 5.2) holds its line breaks.
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = Line::take(&mut self.rest)?;
            if let Some((name, value)) = line.split()
                && let Ok(name) = std::str::from_utf8(name)
            {
                return Some((name, value));
            }
        }
    }
}

/// One line of a head with those that continue it, without the last line break.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a [u8],
    /// Whether a line break in or after it is LF alone.
    pub(super) bare_lf: bool,
    /// Whether further lines continue it.
    pub(super) folded: bool,
}

impl<'a> Line<'a> {
    /// The next line of a header section that is not empty; `None` at its end.
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<Self> {
        loop {
            let all: &'a [u8] = rest;
            let (mut bare_lf, mut folded, mut from) = (false, false, 0);
            let end = loop {
                let tail = all.get(from..).unwrap_or_default();
                let Some(lf) = memchr(b'\n', tail).map(|at| from + at) else {
                    from = all.len();
                    break from;
                };
                bare_lf |= lf == 0 || all.get(lf - 1) != Some(&b'\r');
                from = lf + 1;
                if !matches!(all.get(from), Some(b' ' | b'\t')) {
                    break lf;
                }
                folded = true;
            };
            *rest = all.get(from..).unwrap_or_default();
            let text = trim_end(all.get(..end).unwrap_or_default(), |c| c == b'\r');
            if !text.is_empty() {
                return Some(Self {
                    text,
                    bare_lf,
                    folded,
                });
            }
            if rest.is_empty() {
                return None;
            }
        }
    }

    /// Name and value, trimmed; `None` without a colon.
    pub(super) fn split(&self) -> Option<(&'a [u8], &'a [u8])> {
        split_field(self.text)
    }
}

/// Name and value of a header, trimmed; `None` without a colon.
pub(super) fn split_field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = text.split_at(memchr(b':', text)?);
    Some((trim(name), trim(value.get(1..).unwrap_or_default())))
}

/// Without white space and control bytes at either end.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|c| *c > b' ').unwrap_or(text.len());
    trim_end(text.get(start..).unwrap_or_default(), |c| c <= b' ')
}

fn trim_end(text: &[u8], blank: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().rposition(|c| !blank(*c)).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or_default()
}

/// Texts of a request head that are not as they were sent, reused from head to head.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Scratch {
    host: String,
    other_host: String,
    target: String,
    scheme: String,
}

impl Scratch {
    /// Bytes of memory that the texts take.
    pub(in crate::protocol) const fn held(&self) -> usize {
        self.host.capacity()
            + self.other_host.capacity()
            + self.target.capacity()
            + self.scheme.capacity()
    }
}

/// What stands in a request line, or in its place.
#[derive(Clone, Copy, Debug)]
pub(in crate::protocol) struct RequestLine<'a> {
    pub(in crate::protocol) method: &'a [u8],
    pub(in crate::protocol) target: &'a [u8],
    pub(in crate::protocol) version: Version,
    /// `http` where it is empty, or is no scheme.
    pub(in crate::protocol) scheme: &'a [u8],
}

/// Reads the head of a request, which starts with a request line. Its last line may be
/// missing, when no more of it is to be had.
pub(super) fn read_request<'a>(
    head: &'a [u8],
    scratch: &'a mut Scratch,
) -> (HttpRequest<'a>, Fields<'a>) {
    let (line, rest) = start_line(head);
    let mut fields = Fields::read(line, rest);
    let text = trim(line);
    let method_end = text.iter().position(|c| matches!(c, b' ' | b'\t'));
    let (method, after) = text.split_at(method_end.unwrap_or(text.len()));
    let after = trim(after);
    let last = after
        .iter()
        .rposition(|c| *c <= b' ')
        .map_or(0, |space| space + 1);
    let (before, protocol) = after.split_at(last);
    let (target, version) = if is_protocol(protocol) {
        let target = trim(before);
        let (version, plain) = Version::read(protocol);
        let spaces = text.len() - method.len() - target.len() - protocol.len();
        if !plain || spaces != 2 || target.iter().any(|c| *c <= b' ') {
            fields.oddities.note(Oddity::StartLine);
        }
        (target, version)
    } else {
        fields.oddities.note(Oddity::StartLine);
        (after, Version::HTTP_09)
    };
    let line = RequestLine {
        method,
        target,
        version,
        scheme: b"http",
    };
    build_request(line, rest, fields, scratch)
}

/// A request whose head came in another form, and was translated: its header section is that
/// of an HTTP/1.1 request, with a Host header (RFC 9113 8.3.1), and frames nothing.
pub(in crate::protocol) fn translate_request<'a>(
    line: RequestLine<'a>,
    section: &'a [u8],
    scratch: &'a mut Scratch,
) -> (HttpRequest<'a>, Fields<'a>) {
    build_request(line, section, Fields::read_translated(section), scratch)
}

/// A response whose head came in another form, and was translated.
pub(in crate::protocol) fn translate_response<'a>(
    status: u16,
    version: Version,
    section: &'a [u8],
    request_method: Option<&'static str>,
) -> (HttpResponse<'a>, Fields<'a>) {
    let response = HttpResponse {
        status,
        reason: b"",
        version,
        request_method,
        fields: section,
    };
    (response, Fields::read_translated(section))
}

fn build_request<'a>(
    line: RequestLine<'a>,
    section: &'a [u8],
    mut fields: Fields<'a>,
    scratch: &'a mut Scratch,
) -> (HttpRequest<'a>, Fields<'a>) {
    fields.version = line.version;
    let Scratch {
        host,
        other_host,
        target: lossy,
        scheme,
    } = scratch;
    let target = match std::str::from_utf8(line.target) {
        Ok(target) => target,
        Err(_) => {
            lossy.clear();
            lossy.push_str(&String::from_utf8_lossy(line.target));
            lossy
        }
    };
    let method = std::str::from_utf8(line.method).unwrap_or_default();
    let scheme = match std::str::from_utf8(line.scheme) {
        Ok("http") => "http",
        Ok(other) if url::is_scheme(other) => {
            scheme.clear();
            scheme.push_str(other);
            scheme.make_ascii_lowercase();
            scheme
        }
        _ => "http",
    };

    // RFC 9112 3.2: where the request says whom it is for
    let read = |value: Option<&[u8]>, host: &mut String| {
        let text = String::from_utf8_lossy(value.unwrap_or_default());
        url::normalise_authority(&text, host)
    };
    let mut port = read(fields.host, host);
    read(fields.second_host, other_host);
    let authority = if target.starts_with('/') {
        None
    } else if method == "CONNECT" {
        Some(target)
    } else {
        url::split_absolute(target).map(|(_, authority, _)| authority)
    };
    if let Some(authority) = authority {
        std::mem::swap(host, other_host);
        port = url::normalise_authority(authority, host);
        if !other_host.is_empty() && other_host != host {
            fields.oddities.note(Oddity::HostConflict);
        }
    }
    if other_host == host {
        other_host.clear();
    }
    let lawful = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b':');
    if !host.bytes().all(lawful) {
        fields.oddities.note(Oddity::HostMalformed);
    }
    let some = |text: &'a str| (!text.is_empty()).then_some(text);
    let request = HttpRequest {
        method,
        target,
        version: line.version,
        scheme,
        host: some(host),
        port,
        other_host: some(other_host),
        fields: section,
    };
    (request, fields)
}

/// Reads the head of a response, which starts with a status line.
pub(super) fn read_response<'a>(
    head: &'a [u8],
    request_method: Option<&'static str>,
) -> (HttpResponse<'a>, Fields<'a>) {
    let (line, rest) = start_line(head);
    let mut fields = Fields::read(line, rest);
    let text = trim(line);
    let version_end = text.iter().position(|c| *c <= b' ').unwrap_or(text.len());
    let (protocol, after) = text.split_at(version_end);
    let (version, plain) = Version::read(protocol);
    let after = trim(after);
    let digits = after.iter().take_while(|c| c.is_ascii_digit()).count();
    // browsers read three digits and let pass what follows
    let (code, _) = after.split_at(digits.min(3));
    let status = code.iter().fold(0_u16, |n, c| {
        n.wrapping_mul(10)
            .wrapping_add(u16::from(c.wrapping_sub(b'0')))
    });
    let reason = trim(after.get(digits..).unwrap_or_default());
    if !plain || digits != 3 {
        fields.oddities.note(Oddity::StartLine);
    }
    fields.version = version;
    let response = HttpResponse {
        status: if digits == 3 { status } else { 0 },
        reason,
        version,
        request_method,
        fields: rest,
    };
    (response, fields)
}

/// The start line without its line break, and what follows it.
fn start_line(head: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b'\n', head) {
        Some(lf) => {
            let (line, rest) = head.split_at(lf);
            (line, rest.get(1..).unwrap_or_default())
        }
        None => (head, &[]),
    }
}

/// Whether `text` starts as the name of a version does.
pub(super) fn is_protocol(text: &[u8]) -> bool {
    text.get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/"))
}
