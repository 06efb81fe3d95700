//! One part of a mail: what its header says, and its content as a file.

use crate::flow::Direction;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;
use crate::protocol::smtp::line::LineEnd;
use crate::protocol::smtp::line::Piece;
use crate::protocol::smtp::link::LinkFinder;
use crate::protocol::smtp::mail::Fields;
use crate::protocol::smtp::oddity;
use crate::protocol::smtp::parameter::Structured;
use crate::protocol::smtp::transfer::Decoder;
use crate::protocol::smtp::word::unfold;

/// What the header of a part says of its content (RFC 2045 3).
#[derive(Debug, Default)]
pub(super) struct PartHead {
    /// In lower case, without parameters.
    pub(super) mime_type: String,
    /// Of a multipart (RFC 2046 5.1.1); `None` for the others, and where it is missing.
    pub(super) boundary: Option<Vec<u8>>,
    pub(super) decoder: Decoder,
    /// File name; empty where none is given.
    name: String,
}

/// A leaf whose content streams by; reused from part to part.
#[derive(Debug, Default)]
pub(super) struct Part {
    name: String,
    mime_type: String,
    decoder: Decoder,
    /// Whether it is handed on as a file.
    is_file: bool,
    /// Whether links are looked for in it.
    is_text: bool,
    digester: Digester,
    size: u64,
    /// Whether all of it was seen.
    whole: bool,
    /// The end of the last line: before a boundary it belongs to that (RFC 2046 5.1.1).
    pending: LineEnd,
    decoded: Vec<u8>,
}

/// The most bytes of a file's name that are kept: no file system has longer names.
const MAX_NAME: usize = 255;

/// The most bytes of a media type that are kept: RFC 6838 4.2 allows 127 on either side of the
/// slash.
const MAX_MIME_TYPE: usize = 255;

/// The most bytes of a boundary: RFC 2046 5.1.1 allows 70, some senders write longer ones.
pub(super) const MAX_BOUNDARY: usize = 255;

impl PartHead {
    /// Reads the header of a part. `implied`: its type where the header names none.
    pub(super) fn read(header: &[u8], implied: &str) -> Self {
        let mut head = Self::default();
        let mut named = false;
        for (name, value) in (Fields { rest: header }) {
            if name.eq_ignore_ascii_case("content-type") && head.mime_type.is_empty() {
                let value = unfold(value);
                let read = Structured::read(&value);
                if read.value.starts_with("multipart/") {
                    let boundary = read.raw("boundary");
                    head.boundary = boundary.filter(|b| (1..=MAX_BOUNDARY).contains(&b.len()));
                }
                if !named {
                    head.name = read.text("name").unwrap_or_default();
                }
                head.mime_type = read.value;
            } else if name.eq_ignore_ascii_case("content-disposition") && !named {
                let value = unfold(value);
                if let Some(name) = Structured::read(&value).text("filename") {
                    head.name = name;
                    named = true;
                }
            } else if name.eq_ignore_ascii_case("content-transfer-encoding") {
                head.decoder = Decoder::named(value);
            }
        }
        if head.mime_type.is_empty() || head.mime_type.len() > MAX_MIME_TYPE {
            head.mime_type = implied.to_owned();
        }
        head.name = file_name(&head.name);
        head
    }
}

impl Part {
    /// Bytes of memory that its texts and its buffer take.
    pub(super) const fn held(&self) -> usize {
        self.name.capacity() + self.mime_type.capacity() + self.decoded.capacity()
    }

    /// Starts a part; whether any of its content is asked for.
    pub(super) fn begin(&mut self, head: PartHead, wants: &Wants, links: &mut LinkFinder) -> bool {
        self.is_file = wants.any_file();
        let html = head.mime_type == "text/html";
        self.is_text = wants.links && (html || head.mime_type == "text/plain");
        self.name = head.name;
        self.mime_type = head.mime_type;
        self.decoder = head.decoder;
        self.digester = Digester::new(wants);
        self.size = 0;
        self.whole = true;
        self.pending = LineEnd::None;
        if self.is_text {
            links.begin(html);
        }
        self.is_file || self.is_text
    }

    /// Takes in the content that follows.
    pub(super) fn update(&mut self, piece: &Piece<'_>, links: &mut LinkFinder) {
        self.decoded.clear();
        let pending = std::mem::replace(&mut self.pending, piece.end);
        if pending == LineEnd::None && matches!(self.decoder, Decoder::Identity) {
            return self.take(piece.bytes, links);
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        self.decoder.update(pending.bytes(), &mut decoded);
        self.decoder.update(piece.bytes, &mut decoded);
        self.take(&decoded, links);
        self.decoded = decoded;
    }

    /// Passes over content that was never seen.
    pub(super) const fn skip(&mut self) {
        self.whole = false;
    }

    /// Ends the part, and hands it on if it has any content. `last_line`: its last line end is
    /// content too, since no boundary follows.
    pub(super) fn finish(&mut self, last_line: bool, links: &mut LinkFinder, sink: &mut Sink<'_>) {
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        if last_line {
            self.decoder.update(self.pending.bytes(), &mut decoded);
        }
        if !self.decoder.finish(&mut decoded) {
            oddity::report(oddity::AFTER_PADDING, sink);
        }
        self.take(&decoded, links);
        self.decoded = decoded;
        if self.is_text {
            links.finish();
        }
        let digester = std::mem::take(&mut self.digester);
        if self.is_file && self.size > 0 {
            let hashes = if self.whole {
                digester.finish()
            } else {
                Hashes::default()
            };
            sink(Message::File(File {
                direction: Direction::ToServer,
                name: Some(self.name.as_str()).filter(|name| !name.is_empty()),
                size: self.size,
                mime_type: Some(self.mime_type.as_str()).filter(|kind| !kind.is_empty()),
                hashes,
            }));
        }
    }

    fn take(&mut self, content: &[u8], links: &mut LinkFinder) {
        self.size = self.size.saturating_add(content.len() as u64);
        if self.whole {
            self.digester.update(content);
        }
        if self.is_text {
            links.update(content);
        }
    }
}

/// A name without folders and control characters, cut to its cap.
fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name = String::new();
    for c in last.trim().chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        name.push(c);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        for (header, mime_type, boundary, name) in [
            ("", "text/plain", None, ""),
            (
                "Content-Type: Text/HTML; charset=x\r\n",
                "text/html",
                None,
                "",
            ),
            (
                "Content-Type: multipart/mixed;\r\n boundary=\"a b\"\r\n",
                "multipart/mixed",
                Some("a b"),
                "",
            ),
            (
                "Content-Type: multipart/mixed; boundary=\"\"\r\n",
                "multipart/mixed",
                None,
                "",
            ),
            (
                "Content-Type: a/b; boundary=c; name=d\r\n",
                "a/b",
                None,
                "d",
            ),
            (
                "Content-Type: a/b; name=c\r\nContent-Disposition: attachment; filename=d\r\n",
                "a/b",
                None,
                "d",
            ),
            (
                "Content-Disposition: x; filename=\"..\\\\e/d\r\n\t.exe\"\r\nContent-Type: a/b; name=c\r\n",
                "a/b",
                None,
                "d.exe",
            ),
        ] {
            let head = PartHead::read(header.as_bytes(), "text/plain");
            assert_eq!(head.mime_type, mime_type, "{header}");
            assert_eq!(
                head.boundary.as_deref(),
                boundary.map(str::as_bytes),
                "{header}"
            );
            assert_eq!(head.name, name, "{header}");
        }
        let long = format!("Content-Type: a/b; name={}\r\n", "\u{e9}".repeat(1000));
        assert_eq!(PartHead::read(long.as_bytes(), "").name.len(), MAX_NAME - 1);
    }
}
