//! Where bodies end: by length, by chunks, by the connection's end (RFC 9112 6 and 7).

use memchr::memchr;

use crate::protocol::http::field::Chunking;
use crate::protocol::http::field::Fields;

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes follow; more than none.
    Length(u64),
    /// Chunks follow.
    Chunked(Chunked),
    /// All bytes up to the end of the stream.
    UntilClose,
}

impl Framing {
    /// The framing of a request's body (RFC 9112 6.3); `None` without one.
    pub(super) fn of_request(fields: &Fields<'_>) -> Option<Self> {
        Self::announced(fields, None)
    }

    /// The framing of a response's body (RFC 9112 6.3); `None` without one.
    pub(super) fn of_response(
        fields: &Fields<'_>,
        status: u16,
        request_method: Option<&str>,
    ) -> Option<Self> {
        if matches!(status, 100..=199 | 204 | 304) || request_method == Some("HEAD") {
            return None;
        }
        Self::announced(fields, Some(Self::UntilClose))
    }

    /// How many of the bytes that come next are known to be content.
    pub(super) const fn known_content(self) -> u64 {
        match self {
            Self::Length(left) => left,
            Self::Chunked(Chunked {
                phase: Phase::Data(left),
                ..
            }) => left,
            Self::Chunked(_) => 0,
            Self::UntilClose => u64::MAX,
        }
    }

    /// The framing after `length` bytes that were not seen; `None` at the body's end, and
    /// where it is not known any more.
    pub(super) fn after_gap(self, length: u64) -> Option<Self> {
        match self {
            Self::Length(left) => left
                .checked_sub(length)
                .filter(|left| *left > 0)
                .map(Self::Length),
            Self::Chunked(chunked) => {
                let Phase::Data(left) = chunked.phase else {
                    return None;
                };
                let phase = match left.checked_sub(length)? {
                    0 => Phase::Size,
                    left => Phase::Data(left),
                };
                Some(Self::Chunked(Chunked { phase, ..chunked }))
            }
            Self::UntilClose => Some(self),
        }
    }

    fn announced(fields: &Fields<'_>, otherwise: Option<Self>) -> Option<Self> {
        let plain = match fields.length {
            Some(0) => None,
            Some(length) => Some(Self::Length(length)),
            None => otherwise,
        };
        let old = (fields.version.major, fields.version.minor) < (1, 1);
        match fields.chunked {
            Chunking::No => plain,
            chunking => Some(Self::Chunked(Chunked {
                phase: Phase::Size,
                first: true,
                // RFC 9112 6.1: chunks before HTTP/1.1 are a fault
                strict: chunking == Chunking::Doubtful || old,
                odd: false,
                fallback: match plain {
                    None => Fallback::Nothing,
                    Some(Self::Length(length)) => Fallback::Length(length),
                    Some(_) => Fallback::UntilClose,
                },
            })),
        }
    }
}

/// A body in chunks (RFC 9112 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked {
    pub(super) phase: Phase,
    /// Whether no size was read yet.
    first: bool,
    /// Whether chunks are doubtful, so that the first size must look like one.
    strict: bool,
    /// Whether an odd size was reported.
    pub(super) odd: bool,
    fallback: Fallback,
}

/// Where in a chunked body the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// In a chunk's size, or the line break before it.
    Size,
    /// In a size's line beyond its cap; the size.
    SizeRest(u64),
    /// In a chunk, of which so many bytes follow; more than none.
    Data(u64),
    /// After the last chunk.
    Trailer(EmptyLine),
}

impl Phase {
    /// After the line with a chunk's size; the last chunk's is 0 (RFC 9112 7.1).
    pub(super) fn of_chunk(size: u64) -> Self {
        match size {
            0 => Self::Trailer(EmptyLine::default()),
            size => Self::Data(size),
        }
    }
}

/// The framing if a body turns out not to be chunked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fallback {
    Nothing,
    Length(u64),
    UntilClose,
}

/// The most bytes of a line with a chunk's size; servers refuse lines beyond some KiB.
pub(super) const MAX_CHUNK_LINE: usize = 4 << 10;

/// What a line where a chunk's size should be says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeLine {
    /// Nothing: it is empty.
    Empty,
    /// So many bytes follow, and whether that was said oddly.
    Size(u64, bool),
    /// The body is not chunked at all; its framing, if it has any.
    NotChunked(Option<Framing>),
    /// Chunks end without a last chunk.
    Broken,
}

impl Chunked {
    /// Reads a line, without its LF, where a chunk's size should be.
    pub(super) fn read_size(&mut self, line: &[u8]) -> SizeLine {
        let text = line.trim_ascii_end();
        let size = match (self.first && self.strict, text.is_empty()) {
            (true, _) => read_strict(line),
            (false, true) => return SizeLine::Empty,
            (false, false) => read_lenient(text),
        };
        let first = std::mem::replace(&mut self.first, false);
        match (size, self.fallback) {
            (Some((size, odd)), _) => SizeLine::Size(size, odd),
            (None, Fallback::Nothing) if first => SizeLine::NotChunked(None),
            (None, Fallback::Length(length)) if first => {
                SizeLine::NotChunked(Some(Framing::Length(length)))
            }
            (None, Fallback::UntilClose) if first => {
                SizeLine::NotChunked(Some(Framing::UntilClose))
            }
            (None, _) => SizeLine::Broken,
        }
    }
}

/// A size as RFC 9112 7.1 has it, with or without an extension.
fn read_strict(line: &[u8]) -> Option<(u64, bool)> {
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    let end = text.iter().position(|c| !c.is_ascii_hexdigit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let rest = rest.trim_ascii();
    (rest.is_empty() || rest.starts_with(b";"))
        .then(|| hexadecimal(digits))
        .flatten()
        .map(|size| (size, false))
}

/// A size as any recipient reads it: leading junk that is no text, and whatever follows
/// the digits, are passed over.
fn read_lenient(text: &[u8]) -> Option<(u64, bool)> {
    let start = text.iter().position(|c| *c > b' ').unwrap_or(text.len());
    let token = text.get(start..).unwrap_or_default();
    let end = token.iter().position(|c| !c.is_ascii_hexdigit());
    let (digits, rest) = token.split_at(end.unwrap_or(token.len()));
    let plain = start == 0 && matches!(rest.first(), None | Some(b';' | b' '));
    hexadecimal(digits).map(|size| (size, !plain))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |n, c| {
        let digit = (*c as char).to_digit(16)?;
        n.checked_mul(16)?.checked_add(u64::from(digit))
    })
}

/// Finds the empty line that ends a head or a trailer, over any number of pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum EmptyLine {
    /// The line is empty so far.
    #[default]
    Empty,
    /// The line is one CR so far.
    Cr,
    /// The line is not empty.
    Filled,
}

impl EmptyLine {
    /// Within a line of which `start` was read.
    pub(super) fn within(start: &[u8]) -> Self {
        Self::Empty.extend(start)
    }

    /// How many bytes of `bytes` reach past the empty line; `None` when it is not there.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut from = 0;
        loop {
            let rest = bytes.get(from..).unwrap_or_default();
            let end = memchr(b'\n', rest);
            *self = self.extend(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
            from += end? + 1;
            if std::mem::take(self) != Self::Filled {
                return Some(from);
            }
        }
    }

    const fn extend(self, line: &[u8]) -> Self {
        match (self, line) {
            (state, []) => state,
            (Self::Empty, [b'\r']) => Self::Cr,
            _ => Self::Filled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunked(strict: bool, first: bool) -> Chunked {
        Chunked {
            phase: Phase::Size,
            first,
            strict,
            odd: false,
            fallback: Fallback::UntilClose,
        }
    }

    #[test]
    fn sizes_are_read_as_recipients_read_them() {
        use SizeLine::*;
        let not_chunked = NotChunked(Some(Framing::UntilClose));
        for (line, lenient, strict) in [
            ("1f\r", Size(31, false), Size(31, false)),
            ("1F", Size(31, false), Size(31, false)),
            ("0", Size(0, false), Size(0, false)),
            ("5;a=b\r", Size(5, false), Size(5, false)),
            ("5 ; a\r", Size(5, false), Size(5, false)),
            ("0005  \r", Size(5, false), Size(5, false)),
            ("0x\r", Size(0, true), not_chunked),
            (" 5\r", Size(5, true), not_chunked),
            ("\x0b5\r", Size(5, true), not_chunked),
            ("fx\r", Size(15, true), not_chunked),
            ("", Empty, not_chunked),
            ("\r", Empty, not_chunked),
            ("X5O!", not_chunked, not_chunked),
            ("10000000000000000\r", not_chunked, not_chunked),
        ] {
            assert_eq!(
                chunked(false, true).read_size(line.as_bytes()),
                lenient,
                "{line:?}"
            );
            assert_eq!(
                chunked(true, true).read_size(line.as_bytes()),
                strict,
                "{line:?}"
            );
        }
        assert_eq!(chunked(true, false).read_size(b"zzz\r"), Broken);
        assert_eq!(chunked(true, false).read_size(b" 5\r"), Size(5, true));
    }

    #[test]
    fn the_empty_line_is_found_over_pieces() {
        for (text, end) in [
            ("\r\n", Some(2)),
            ("a: b\r\n\r\nrest", Some(8)),
            ("a: b\n\nrest", Some(6)),
            ("a: b\n\r\r\n\nrest", Some(9)),
            ("a: b\r\n \r\n", None),
        ] {
            for cut in 0..=text.len() {
                let (one, two) = text.split_at(cut);
                let mut line = EmptyLine::default();
                let found = line
                    .find(one.as_bytes())
                    .or_else(|| line.find(two.as_bytes()).map(|n| cut + n));
                assert_eq!(found, end, "{text:?} at {cut}");
            }
        }
    }
}
