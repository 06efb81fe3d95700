//! Where heads start and end, and whether a flow is HTTP at all.

use memchr::memchr;

use crate::flow::Direction;
use crate::protocol::Probe;
use crate::protocol::http::exchange::Method;
use crate::protocol::http::head::is_protocol;

/// The most bytes of a method. The longest registered one has 17.
const MAX_METHOD: usize = 32;

/// The most bytes of a line that has to be whole to tell whether it is a request line.
const MAX_LINE: usize = 8 << 10;

/// Whether the first bytes that were seen of a direction are HTTP/1.
pub(super) fn probe(direction: Direction, bytes: &[u8]) -> Probe {
    let blank = bytes.iter().position(|c| !matches!(c, b'\r' | b'\n'));
    let text = bytes
        .get(blank.unwrap_or(bytes.len())..)
        .unwrap_or_default();
    let certain = match direction {
        Direction::ToClient => has_prefix(text, b"HTTP/1."),
        // no other protocol has these methods with these targets, whatever follows them: what the
        // line goes on with must not matter, for it may come in another segment
        Direction::ToServer if is_plain_request(text) => Some(true),
        Direction::ToServer => opens_request(text, true),
    };
    match certain {
        Some(true) => Probe::Certain,
        Some(false) => Probe::NotForUs,
        None => Probe::Unsure,
    }
}

/// What the bytes where a head should be turned out to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collected {
    /// A whole head of so many bytes.
    Head(usize),
    /// A line that opens no head.
    Junk,
    /// The start of a head.
    Part,
}

/// Looks for a whole head at the start of `bytes`, of which the first `scanned`, which it
/// updates, were looked at before. `lost` asks for a start that cannot be mistaken.
pub(super) fn collect(
    direction: Direction,
    bytes: &[u8],
    scanned: &mut usize,
    lost: bool,
) -> Collected {
    match opens_head(direction, bytes, lost) {
        Some(true) => {}
        Some(false) => return Collected::Junk,
        None => return Collected::Part,
    }
    let mut from = *scanned;
    loop {
        let tail = bytes.get(from..).unwrap_or_default();
        let Some(lf) = memchr(b'\n', tail).map(|at| from + at) else {
            *scanned = bytes.len();
            return Collected::Part;
        };
        // browsers take one CR for part of the line's end, but not several
        match bytes.get(lf + 1..).unwrap_or_default() {
            [b'\n', ..] => return Collected::Head(lf + 2),
            [b'\r', b'\n', ..] => return Collected::Head(lf + 3),
            [] | [b'\r'] => {
                *scanned = lf;
                return Collected::Part;
            }
            _ => from = lf + 1,
        }
    }
}

/// Whether `bytes` start with a start line; `None` when more of it is needed to tell.
pub(super) fn opens_head(direction: Direction, bytes: &[u8], lost: bool) -> Option<bool> {
    match (direction, lost) {
        (Direction::ToServer, _) => opens_request(bytes, lost),
        (Direction::ToClient, false) => has_prefix(bytes, b"HTTP/"),
        (Direction::ToClient, true) => has_prefix(bytes, b"HTTP/1."),
    }
}

/// Whether `bytes` start with a request line: a token, white space, and, unless the method
/// is well known and `strict` is not set, a version at the line's end.
fn opens_request(bytes: &[u8], strict: bool) -> Option<bool> {
    let Some(end) = bytes.iter().position(|c| !is_token(*c)) else {
        return (bytes.len() > MAX_METHOD).then_some(false);
    };
    let (method, after) = bytes.split_at(end);
    if method.is_empty() || end > MAX_METHOD || !matches!(after.first(), Some(b' ' | b'\t')) {
        return Some(false);
    }
    if !strict && Method::named(method) != Method::Other {
        return Some(true);
    }
    let window = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let end = memchr(b'\n', window);
    let line = window
        .get(..end.unwrap_or(window.len()))
        .unwrap_or_default();
    // a line of text may go on, other bytes are no request line
    let blank = |c: u8| matches!(c, b'\t' | b'\r');
    if line.iter().any(|c| *c < b' ' && !blank(*c)) {
        return Some(false);
    }
    if end.is_none() {
        return (window.len() >= MAX_LINE).then_some(false);
    }
    let line = line.trim_ascii_end();
    let last = line.rsplit(|c| *c <= b' ').next().unwrap_or_default();
    let version: &[u8] = if strict { b"HTTP/1." } else { b"HTTP/" };
    Some(is_protocol(last) && has_prefix(last, version) == Some(true))
}

/// Whether a request line begins as no other protocol's does.
fn is_plain_request(text: &[u8]) -> bool {
    const STARTS: [&[u8]; 9] = [
        b"GET /",
        b"GET http",
        b"POST /",
        b"POST http",
        b"HEAD /",
        b"HEAD http",
        b"PUT /",
        b"PATCH /",
        b"DELETE /",
    ];
    STARTS.iter().any(|start| text.starts_with(start))
}

/// Whether `text` starts with `prefix` in any letter case; `None` when it may yet.
fn has_prefix(text: &[u8], prefix: &[u8]) -> Option<bool> {
    let length = text.len().min(prefix.len());
    let same = text
        .iter()
        .zip(prefix)
        .all(|(one, other)| one.eq_ignore_ascii_case(other));
    match same {
        true if length == prefix.len() => Some(true),
        true => None,
        false => Some(false),
    }
}

/// A byte of a token (RFC 9110 5.6.2).
const fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(
            c,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_http_from_what_looks_like_it() {
        use Direction::*;
        use Probe::*;
        for (direction, text, expected) in [
            (ToServer, "GET / HTTP/1.1\r\n", Certain),
            (ToServer, "\r\nGET / HTTP/1.0\r\n", Certain),
            (ToServer, "GET /", Certain),
            (ToServer, "GET /\0\n", Certain),
            (ToServer, "GET /old\r\n", Certain),
            (ToServer, "GET ", Unsure),
            (ToServer, "G", Unsure),
            (ToServer, "", Unsure),
            (ToServer, "GET key\r\n", NotForUs),
            (ToServer, "CONNECT example.org:443 HTTP/1.1\r\n", Certain),
            (ToServer, "CONNECT example.org:443", Unsure),
            (ToServer, "PROPFIND /dav HTTP/1.1\r\n", Certain),
            (ToServer, "M-SEARCH * HTTP/1.1\r\n", Certain),
            (ToServer, "OPTIONS * RTSP/1.0\r\n", NotForUs),
            (ToServer, "OPTIONS sip:a@example.org SIP/2.0\r\n", NotForUs),
            (ToServer, "PRI * HTTP/2.0\r\n\r\n", NotForUs),
            (ToServer, "EHLO example.org\r\n", NotForUs),
            (ToServer, "USER anonymous\r\n", NotForUs),
            (ToServer, "NICK x\r\nUSER x 0 * :x\r\n", NotForUs),
            (ToServer, "SSH-2.0-OpenSSH_9.6\r\n", NotForUs),
            (ToServer, "\x16\x03\x01\x02\x00", NotForUs),
            (ToServer, "A \x00\x01", NotForUs),
            (ToClient, "HTTP/1.1 200 OK\r\n", Certain),
            (ToClient, "HTTP/1.", Certain),
            (ToClient, "HTT", Unsure),
            (ToClient, "HTTP/2", NotForUs),
            (ToClient, "220 smtp.example.org ESMTP\r\n", NotForUs),
            (ToClient, "RTSP/1.0 200 OK\r\n", NotForUs),
            (ToClient, "SSH-2.0-OpenSSH_9.6\r\n", NotForUs),
        ] {
            assert_eq!(probe(direction, text.as_bytes()), expected, "{text:?}");
        }
        let long = [b"X ".as_slice(), &[b'a'; MAX_LINE]].concat();
        assert_eq!(probe(ToServer, &long), NotForUs);
    }

    #[test]
    fn heads_end_at_the_empty_line_whatever_the_pieces() {
        for (text, end) in [
            ("GET / HTTP/1.1\r\n\r\nrest", 18),
            ("GET / HTTP/1.1\na: b\n\nrest", 21),
            ("GET / HTTP/1.1\r\na: b\n\r\r\n\r\n", 26),
        ] {
            let bytes = text.as_bytes();
            let mut scanned = 0;
            for cut in 0..=bytes.len() {
                let found = collect(Direction::ToServer, &bytes[..cut], &mut scanned, false);
                match cut < end {
                    true => assert_eq!(found, Collected::Part, "{text:?} at {cut}"),
                    false => {
                        assert_eq!(found, Collected::Head(end), "{text:?} at {cut}");
                        break;
                    }
                }
            }
        }
    }
}
