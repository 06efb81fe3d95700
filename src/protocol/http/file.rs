//! A file in transfer: its name, its type, its size and its running digests.

use std::borrow::Cow;

use crate::flow::Direction;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;
use crate::protocol::http::content::Decoder;
use crate::protocol::http::field::Fields;
use crate::protocol::http::oddity::Oddity;

/// The most bytes of a file's name that are kept: no file system has longer names.
pub(super) const MAX_NAME: usize = 255;

/// The most bytes of a media type that are kept: RFC 6838 4.2 allows 127 on either side
/// of the slash.
const MAX_MIME_TYPE: usize = 255;

/// The body that is being transferred in one direction; reused from body to body.
#[derive(Default)]
pub(in crate::protocol) struct Transfer {
    /// Whether a body that someone asks for is in transfer.
    active: bool,
    /// Empty when the transfer gives none.
    name: String,
    /// Empty when the sender names none.
    mime_type: String,
    /// Bytes of decoded content.
    size: u64,
    /// Bytes of content as it was sent.
    sent: u64,
    digester: Digester,
    /// `None` when the content is sent as it is.
    decoder: Option<Decoder>,
    /// Whether all content was seen so far, and is of a whole file.
    whole: bool,
    /// Whether decoding was given up.
    stopped: bool,
}

impl Transfer {
    /// Starts a body. `write_name` writes what it is called if the head does not say.
    pub(in crate::protocol) fn begin(
        &mut self,
        fields: &Fields<'_>,
        write_name: impl FnOnce(&mut String),
        wants: &Wants,
    ) {
        self.active = wants.any_file();
        if !self.active {
            return;
        }
        self.name.clear();
        match fields.disposition.and_then(file_name) {
            Some(given) => push_name(&given, &mut self.name),
            None => write_name(&mut self.name),
        }
        self.mime_type.clear();
        if let Some(value) = fields.content_type {
            let value = value.split(|c| *c == b';').next().unwrap_or_default();
            let value = value.trim_ascii();
            let value = value.get(..MAX_MIME_TYPE).unwrap_or(value);
            self.mime_type.push_str(&String::from_utf8_lossy(value));
            self.mime_type.make_ascii_lowercase();
        }
        self.size = 0;
        self.sent = 0;
        self.digester = Digester::new(wants);
        self.whole = fields.range.is_none_or(is_whole_range);
        self.stopped = false;
        self.decoder = None;
        if !(fields.content_codings.is_empty() && fields.transfer_codings.is_empty()) {
            let codings = fields
                .transfer_codings
                .outermost_first()
                .chain(fields.content_codings.outermost_first());
            self.decoder = Some(Decoder::new(codings));
        }
    }

    /// Bytes of memory that its texts and its decoder take.
    pub(in crate::protocol) fn held(&self) -> usize {
        let decoder = self.decoder.as_ref().map_or(0, Decoder::held);
        self.name.capacity() + self.mime_type.capacity() + decoder
    }

    /// Takes in the content that follows.
    pub(in crate::protocol) fn update(&mut self, bytes: &[u8], sink: &mut Sink<'_>) {
        if !self.active {
            return;
        }
        self.sent = self.sent.saturating_add(bytes.len() as u64);
        if self.stopped {
            return;
        }
        let Some(decoder) = &mut self.decoder else {
            self.size = self.size.saturating_add(bytes.len() as u64);
            if self.whole {
                self.digester.update(bytes);
            }
            return;
        };
        let (size, digester) = (&mut self.size, &mut self.digester);
        let result = decoder.update(bytes, &mut |bytes| {
            *size = size.saturating_add(bytes.len() as u64);
            digester.update(bytes);
        });
        if let Err(oddity) = result {
            self.stop(oddity, sink);
        }
    }

    /// Passes over content that was never seen.
    pub(in crate::protocol) fn skip(&mut self, length: u64) {
        self.whole = false;
        self.sent = self.sent.saturating_add(length);
        if self.decoder.take().is_some() {
            // what follows a hole cannot be decoded
            self.stopped = true;
        } else {
            self.size = self.size.saturating_add(length);
        }
    }

    /// Ends the body, and hands the file on if it has any content.
    pub(in crate::protocol) fn finish(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        if !std::mem::take(&mut self.active) {
            return;
        }
        if let Some(mut decoder) = self.decoder.take() {
            let (size, digester) = (&mut self.size, &mut self.digester);
            let result = decoder.finish(&mut |bytes| {
                *size = size.saturating_add(bytes.len() as u64);
                digester.update(bytes);
            });
            if decoder.is_plain() {
                sink(Message::Anomaly(Oddity::NotEncoded.anomaly()));
            }
            match result {
                Ok(true) => {}
                Ok(false) => {
                    self.whole = false;
                    sink(Message::Anomaly(Oddity::CodingBroken.anomaly()));
                }
                Err(oddity) => self.stop(oddity, sink),
            }
        }
        let digester = std::mem::take(&mut self.digester);
        let hashes = match self.whole && !self.stopped {
            true => digester.finish(),
            false => Hashes::default(),
        };
        // how much there would have been after decoding is not known
        let size = if self.stopped { self.sent } else { self.size };
        if size > 0 {
            sink(Message::File(File {
                direction,
                name: some(&self.name),
                size,
                mime_type: some(&self.mime_type),
                hashes,
            }));
        }
    }

    /// Gives decoding up: neither size nor digests of the content will be known.
    pub(in crate::protocol) fn stop(&mut self, oddity: Oddity, sink: &mut Sink<'_>) {
        self.decoder = None;
        self.stopped = true;
        sink(Message::Anomaly(oddity.anomaly()));
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Whether a Content-Range (RFC 9110 14.4) is of the whole file; one that cannot be read
/// says nothing.
fn is_whole_range(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return true;
    };
    let Some((range, total)) = text.trim().split_once('/') else {
        return true;
    };
    let range = range.trim_start_matches(|c: char| !c.is_ascii_digit());
    let Some((first, last)) = range.split_once('-') else {
        return true;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match (number(first), number(last), number(total)) {
        (Some(first), Some(last), Some(total)) => first == 0 && last.checked_add(1) == Some(total),
        (Some(first), _, _) => first == 0 && total.trim() != "*",
        _ => true,
    }
}

/// Writes the last segment of a target's path into `name`, which it clears, with
/// percent-encoding undone where that gives text.
pub(in crate::protocol) fn name_of_target(target: &str, name: &mut String) {
    name.clear();
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let (path, _) = target.split_at(end);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let Some((_, segment)) = path.rsplit_once('/') else {
        return;
    };
    match segment.contains('%') {
        true => push_name(&undo_percent(segment), name),
        false => push_name(segment, name),
    }
}

/// The file name that a Content-Disposition gives (RFC 6266 4.3); the extended form
/// rules over the plain one.
fn file_name(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = String::from_utf8_lossy(value);
    let mut plain = None;
    let mut rest = text.as_ref();
    while let Some((parameter, after)) = next_parameter(rest) {
        rest = after;
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("filename*") {
            if let Some(name) = read_extended(value) {
                return Some(Cow::Owned(name));
            }
        } else if name.eq_ignore_ascii_case("filename") && plain.is_none() {
            plain = Some(unquote(value));
        }
    }
    plain.map(Cow::Owned)
}

/// The first parameter of a header's value, and what follows its semicolon.
fn next_parameter(text: &str) -> Option<(&str, &str)> {
    if text.is_empty() {
        return None;
    }
    let (mut quoted, mut escaped) = (false, false);
    let end = text.bytes().position(|c| {
        match c {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' => return !quoted,
            _ => {}
        }
        false
    });
    let (parameter, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((parameter, rest.get(1..).unwrap_or_default()))
}

/// A value without its quotes and their escapes (RFC 9110 5.6.4).
fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            // some senders escape nothing but write paths: only these two are escapes
            '\\' => match characters.next_if(|next| matches!(next, '"' | '\\')) {
                Some(next) => out.push(next),
                None => out.push(c),
            },
            _ => out.push(c),
        }
    }
    out
}

/// A value in the form `UTF-8'en'percent-encoded` (RFC 8187).
fn read_extended(value: &str) -> Option<String> {
    let value = value.trim_matches('"');
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let bytes = percent_bytes(encoded);
    if charset.eq_ignore_ascii_case("iso-8859-1") {
        return Some(bytes.into_iter().map(char::from).collect());
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn undo_percent(text: &str) -> Cow<'_, str> {
    match String::from_utf8(percent_bytes(text)) {
        Ok(decoded) => Cow::Owned(decoded),
        Err(_) => Cow::Borrowed(text),
    }
}

fn percent_bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((first, rest)) = bytes.split_first() {
        let pair = rest.split_at_checked(2).filter(|_| *first == b'%');
        let digit = |c: &u8| (*c as char).to_digit(16).map(|digit| digit as u8);
        let decoded = pair.and_then(|(pair, rest)| match pair {
            [high, low] => Some((digit(high)? << 4 | digit(low)?, rest)),
            _ => None,
        });
        let (byte, rest) = decoded.unwrap_or((*first, rest));
        out.push(byte);
        bytes = rest;
    }
    out
}

/// Appends a name without folders and control characters, cut to its cap.
fn push_name(given: &str, name: &mut String) {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    for c in last.trim().chars().filter(|c| !c.is_control()) {
        if name.len() + c.len_utf8() > MAX_NAME {
            break;
        }
        name.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_content_disposition() {
        for (value, name) in [
            (r#"attachment; filename="a.txt""#, Some("a.txt")),
            ("attachment;filename=a.txt", Some("a.txt")),
            (
                r#"attachment; FileName = "a; b.txt"; x=y"#,
                Some("a; b.txt"),
            ),
            (r#"attachment; filename="a\"b.txt""#, Some("a\"b.txt")),
            (r#"attachment; filename="C:\dir\a.txt""#, Some("a.txt")),
            (r#"attachment; filename="../../etc/passwd""#, Some("passwd")),
            (
                "attachment; filename*=UTF-8''na%C3%AFve.txt",
                Some("naïve.txt"),
            ),
            (
                "x; filename=a; filename*=iso-8859-1'en'%a3.txt",
                Some("£.txt"),
            ),
            ("x; filename*=UTF-8''b%2Fc; filename=a", Some("c")),
            (r#"attachment; filename="open"#, Some("open")),
            ("attachment", None),
        ] {
            let mut out = String::new();
            let found = file_name(value.as_bytes());
            if let Some(found) = &found {
                push_name(found, &mut out);
            }
            assert_eq!(found.map(|_| out.as_str()), name, "{value}");
        }
    }

    #[test]
    fn names_come_from_targets() {
        for (target, name) in [
            ("/a/b.exe", "b.exe"),
            ("/a/b.exe?c=/d#e", "b.exe"),
            ("/a/", ""),
            ("/", ""),
            ("/my%20file.exe", "my file.exe"),
            ("/%ff", "%ff"),
            ("/%2e%2e%2fx", "x"),
            ("http://example.org", ""),
            ("http://example.org/x", "x"),
            ("*", ""),
        ] {
            let mut out = String::from("before");
            name_of_target(target, &mut out);
            assert_eq!(out, name, "{target}");
        }
    }

    #[test]
    fn ranges_are_whole_or_not() {
        for (value, whole) in [
            ("bytes 0-67/68", true),
            ("bytes 0-66/68", false),
            ("bytes 1-67/68", false),
            ("bytes 0-67/*", false),
            ("bytes 0-18446744073709551615/0", false),
            ("nonsense", true),
        ] {
            assert_eq!(is_whole_range(value.as_bytes()), whole, "{value}");
        }
    }
}
