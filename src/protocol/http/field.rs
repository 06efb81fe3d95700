//! The headers that say how a message is framed, coded and named.

use memchr::memchr;
use memchr::memchr_iter;
use memchr::memchr2;

use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::http::content::Coding;
use crate::protocol::http::head::Line;
use crate::protocol::http::head::Version;
use crate::protocol::http::head::split_field;
use crate::protocol::http::oddity::Oddities;
use crate::protocol::http::oddity::Oddity;

/// What a head says of the message that it opens.
#[derive(Debug)]
pub(in crate::protocol) struct Fields<'a> {
    /// The version of the start line.
    pub(super) version: Version,
    /// The first Host header.
    pub(super) host: Option<&'a [u8]>,
    /// A second Host header.
    pub(super) second_host: Option<&'a [u8]>,
    /// The first Content-Length that could be read, in bytes.
    pub(super) length: Option<u64>,
    /// Whether the body comes in chunks.
    pub(super) chunked: Chunking,
    /// Content codings in the order in which they were applied.
    pub(super) content_codings: Codings,
    /// Transfer codings but `chunked`, in the same order.
    pub(super) transfer_codings: Codings,
    /// Content-Type.
    pub(super) content_type: Option<&'a [u8]>,
    /// Content-Disposition.
    pub(super) disposition: Option<&'a [u8]>,
    /// Content-Range.
    pub(super) range: Option<&'a [u8]>,
    /// Whether there is an Upgrade header.
    pub(super) upgrade: bool,
    /// What was odd about the head.
    pub(super) oddities: Oddities,
}

/// Whether a head announces chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chunking {
    /// It does not.
    No,
    /// In a way that some recipients take for it: the body itself has to tell.
    Doubtful,
    /// It does.
    Certain,
}

/// The most codings that are undone. Real content has one, tests of evasion have three.
const MAX_CODINGS: usize = 4;

/// Codings in the order in which they were applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Codings {
    list: [Option<Coding>; MAX_CODINGS],
    count: usize,
}

impl Codings {
    /// Adds the one applied next; `false` when there are too many, and the first is forgotten.
    fn push(&mut self, coding: Coding) -> bool {
        let fits = self.count < MAX_CODINGS;
        if !fits {
            self.list.rotate_left(1);
            self.count = MAX_CODINGS - 1;
        }
        if let Some(slot) = self.list.get_mut(self.count) {
            *slot = Some(coding);
        }
        self.count += 1;
        fits
    }

    /// The codings in the order in which they are undone.
    pub(super) fn outermost_first(&self) -> impl Iterator<Item = Coding> {
        self.list.iter().rev().flatten().copied()
    }

    /// Whether there is nothing to undo.
    pub(super) const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Headers of interest here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Host,
    Upgrade,
    ContentType,
    ContentRange,
    ContentLength,
    ContentEncoding,
    TransferEncoding,
    ContentDisposition,
}

impl<'a> Fields<'a> {
    /// Reads a header section; `start_line` is looked at for what hides behind a CR.
    pub(super) fn read(start_line: &'a [u8], mut section: &'a [u8]) -> Self {
        let mut fields = Self {
            version: Version::HTTP_11,
            host: None,
            second_host: None,
            length: None,
            chunked: Chunking::No,
            content_codings: Codings::default(),
            transfer_codings: Codings::default(),
            content_type: None,
            disposition: None,
            range: None,
            upgrade: false,
            oddities: Oddities::default(),
        };
        match start_line.split_last() {
            Some((b'\r', line)) => fields.read_hidden(line),
            _ => {
                fields.oddities.note(Oddity::BareLf);
                fields.read_hidden(start_line);
            }
        }
        while let Some(line) = Line::take(&mut section) {
            if line.bare_lf {
                fields.oddities.note(Oddity::BareLf);
            }
            if line.folded {
                fields.oddities.note(Oddity::Fold);
            }
            if let Some((name, value)) = line.split() {
                let indented = matches!(line.text.first(), Some(b' ' | b'\t'));
                fields.note(name, value, indented);
            }
            fields.read_hidden(line.text);
        }
        if fields.length.is_some() && fields.chunked != Chunking::No {
            fields.oddities.note(Oddity::LengthAndChunked);
        }
        fields
    }

    /// Reads a header section that was translated from a form with a framing of its own, where
    /// transfer codings mean nothing (RFC 9113 8.2.2).
    pub(super) fn read_translated(section: &'a [u8]) -> Self {
        Self {
            chunked: Chunking::No,
            transfer_codings: Codings::default(),
            ..Self::read(b"\r", section)
        }
    }

    /// Hands on what was odd about the head.
    pub(in crate::protocol) fn report(&self, sink: &mut Sink<'_>) {
        if !self.oddities.is_empty() {
            for oddity in self.oddities.iter() {
                sink(Message::Anomaly(oddity.anomaly()));
            }
        }
    }

    /// Looks for framing and codings behind a CR inside a line, which some recipients take
    /// for a line break, and in lines that continue another.
    fn read_hidden(&mut self, text: &'a [u8]) {
        if memchr2(b'\r', b'\n', text).is_none() {
            return;
        }
        for piece in text.split(|c| matches!(c, b'\r' | b'\n')).skip(1) {
            if let Some((name, value)) = split_field(piece)
                && let Some((Name::TransferEncoding | Name::ContentEncoding, _)) = recognise(name)
            {
                self.note(name, value, true);
            }
        }
        if memchr_iter(b'\r', text).any(|cr| text.get(cr + 1) != Some(&b'\n')) {
            self.oddities.note(Oddity::BareCr);
        }
    }

    /// Takes in one header; `odd` when not every recipient would take it for one.
    fn note(&mut self, name: &[u8], value: &'a [u8], odd: bool) {
        let Some((name, junk)) = recognise(name) else {
            return;
        };
        if junk {
            self.oddities.note(Oddity::HeaderName);
        }
        let odd = odd || junk;
        match name {
            Name::Host if self.host.is_none() => self.host = Some(value),
            Name::Host => {
                self.oddities.note(Oddity::HostRepeated);
                self.second_host.get_or_insert(value);
            }
            Name::Upgrade => self.upgrade = true,
            Name::ContentType => self.content_type = self.content_type.or(Some(value)),
            Name::ContentRange => self.range = self.range.or(Some(value)),
            Name::ContentDisposition => self.disposition = self.disposition.or(Some(value)),
            Name::ContentLength => self.note_length(value),
            Name::ContentEncoding => self.note_content_codings(value),
            Name::TransferEncoding => self.note_transfer_codings(value, odd),
        }
    }

    fn note_length(&mut self, value: &[u8]) {
        // RFC 9110 8.6: a list of one number repeated is let pass
        for element in value.split(|c| *c == b',') {
            let element = element.trim_ascii();
            let digits = element.iter().take_while(|c| c.is_ascii_digit()).count();
            let number = element.iter().take(digits).try_fold(0_u64, |n, c| {
                n.checked_mul(10)?
                    .checked_add(u64::from(c.wrapping_sub(b'0')))
            });
            let number = number.filter(|_| digits > 0);
            if number.is_none() || digits < element.len() {
                self.oddities.note(Oddity::Length);
            }
            match (number, self.length) {
                (Some(new), Some(old)) if new != old => {
                    self.oddities.note(Oddity::LengthConflict);
                }
                (Some(new), _) => self.length = Some(new),
                (None, _) => {}
            }
        }
    }

    fn note_content_codings(&mut self, value: &[u8]) {
        for element in value.split(|c| *c == b',') {
            let (token, _) = Token::read(element);
            match Coding::named(token.text()) {
                Some(coding) => {
                    if !self.content_codings.push(coding) {
                        self.oddities.note(Oddity::CodingCap);
                    }
                }
                None if matches!(token.text(), b"" | b"identity") => {}
                None => self.oddities.note(Oddity::CodingUnknown),
            }
        }
    }

    fn note_transfer_codings(&mut self, value: &[u8], odd: bool) {
        let mut odd = odd || self.chunked != Chunking::No;
        let mut chunked = false;
        for element in value.split(|c| *c == b',') {
            let (token, junk) = Token::read(element);
            let text = token.text();
            odd |= junk || text.is_empty() || chunked;
            if text == b"chunked" {
                chunked = true;
            } else if let Some(coding) = Coding::named(text) {
                self.transfer_codings.push(coding);
            } else if text != b"identity" {
                odd = true;
                chunked |= text.windows(7).any(|part| part == b"chunked");
            }
        }
        if odd {
            self.oddities.note(Oddity::TransferCoding);
        }
        if chunked {
            self.chunked = self.chunked.max(if odd {
                Chunking::Doubtful
            } else {
                Chunking::Certain
            });
        }
    }
}

/// The header that `name` is, and whether it had to be cleaned of white space and
/// control bytes first.
fn recognise(name: &[u8]) -> Option<(Name, bool)> {
    if let Some(known) = lookup(name) {
        return Some((known, false));
    }
    if name.iter().all(|c| c.is_ascii_graphic()) {
        return None;
    }
    let (token, _) = Token::read(name);
    lookup(token.text()).map(|known| (known, true))
}

fn lookup(name: &[u8]) -> Option<Name> {
    let (candidate, known): (&[u8], _) = match name.len() {
        4 => (b"host", Name::Host),
        7 => (b"upgrade", Name::Upgrade),
        12 => (b"content-type", Name::ContentType),
        13 => (b"content-range", Name::ContentRange),
        14 => (b"content-length", Name::ContentLength),
        16 => (b"content-encoding", Name::ContentEncoding),
        17 => (b"transfer-encoding", Name::TransferEncoding),
        19 => (b"content-disposition", Name::ContentDisposition),
        _ => return None,
    };
    name.eq_ignore_ascii_case(candidate).then_some(known)
}

/// The most bytes of a name or coding that are compared; the longest known has 19.
const MAX_TOKEN: usize = 24;

/// A token in lower case, without what does not belong in it.
struct Token {
    bytes: [u8; MAX_TOKEN],
    length: usize,
}

impl Token {
    /// Reads an element of a list, without parameters, and whether junk was left out.
    fn read(element: &[u8]) -> (Self, bool) {
        let element = element.trim_ascii();
        let end = match memchr(b';', element) {
            None | Some(0) => element.len(),
            Some(end) => end,
        };
        let mut token = Self {
            bytes: [0; MAX_TOKEN],
            length: 0,
        };
        let mut junk = end < element.len();
        for c in element.iter().take(end) {
            if !(c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_')) {
                junk = true;
            } else if let Some(slot) = token.bytes.get_mut(token.length) {
                *slot = c.to_ascii_lowercase();
                token.length += 1;
            } else {
                junk = true;
            }
        }
        (token, junk)
    }

    fn text(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_framing_as_lenient_recipients_do() {
        use Chunking::*;
        for (section, length, chunked) in [
            ("Content-Length: 5\r\n", Some(5), No),
            ("content-length:5", Some(5), No),
            ("Content-Length: 5, 5\r\n", Some(5), No),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", Some(5), No),
            ("Content-Length: 5A\r\n", Some(5), No),
            ("Content-Length: -5\r\n", None, No),
            ("Content-Length: 99999999999999999999\r\n", None, No),
            ("Content-Length : 5\r\n", Some(5), No),
            ("Transfer-Encoding: chunked\r\n", None, Certain),
            ("Transfer-Encoding: cHUNKED\r\n", None, Certain),
            ("Transfer-Encoding: gzip, chunked\r\n", None, Certain),
            ("Transfer-Encoding: xchunked\r\n", None, Doubtful),
            ("Transfer-Encoding: chunked, x\r\n", None, Doubtful),
            ("Transfer-Encoding:\r\n chunked\r\n", None, Certain),
            ("Transfer-Encoding\r\n : chunked\r\n", None, Certain),
            ("Transfer\0-Encoding: chunked\r\n", None, Doubtful),
            ("A: b\rTransfer-Encoding: chunked\r\n", None, Doubtful),
            ("A: b\r\n Transfer-Encoding: chunked\r\n", None, Doubtful),
            ("X-Transfer-Encoding: chunked\r\n", None, No),
        ] {
            let fields = Fields::read(b"GET / HTTP/1.1\r", section.as_bytes());
            assert_eq!(fields.length, length, "{section:?}");
            assert_eq!(fields.chunked, chunked, "{section:?}");
        }
    }

    #[test]
    fn reads_codings_through_junk() {
        use Coding::*;
        for (section, codings) in [
            ("Content-Encoding: gzip\r\n", &[Gzip][..]),
            ("Content-Encoding: x-GZIP\r\n", &[Gzip]),
            ("Content-Encoding: identity, gzip,\r\n", &[Gzip]),
            ("Content-Encoding: gzip, br\r\n", &[Brotli, Gzip]),
            (
                "Content-Encoding: gzip\r\nContent-Encoding: zstd\r\n",
                &[Zstd, Gzip],
            ),
            ("Content-Encoding:: gz\0ip;\r\n", &[Gzip]),
            ("Content-Encoding: gzip_x\r\n", &[]),
            (
                "Content-Encoding: br, gzip, gzip, gzip, deflate\r\n",
                &[Deflate, Gzip, Gzip, Gzip],
            ),
        ] {
            let fields = Fields::read(b"\r", section.as_bytes());
            let found: Vec<_> = fields.content_codings.outermost_first().collect();
            assert_eq!(found, codings, "{section:?}");
        }
    }
}
