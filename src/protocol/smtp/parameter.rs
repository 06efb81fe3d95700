//! Values with parameters (RFC 2045 5.1), and those in several pieces or languages (RFC 2231).

use crate::protocol::smtp::charset;
use crate::protocol::smtp::word::decode_words;
use crate::protocol::smtp::word::percent;

/// A field's value up to its first semicolon, and its parameters.
#[derive(Debug, Default)]
pub(super) struct Structured<'a> {
    /// In lower case.
    pub(super) value: String,
    parameters: Vec<(&'a [u8], &'a [u8])>,
}

/// Parameters of one field that are looked at; a long name in pieces has a dozen.
const MAX_PARAMETERS: usize = 64;

impl<'a> Structured<'a> {
    /// Reads an unfolded value.
    pub(super) fn read(value: &'a [u8]) -> Self {
        let mut pieces = Split { rest: value };
        let value = pieces.next().unwrap_or_default().trim_ascii();
        let value = value
            .split(|c| b"( \t".contains(c))
            .next()
            .unwrap_or_default();
        let parameters = pieces.take(MAX_PARAMETERS).filter_map(|parameter| {
            let equals = parameter.iter().position(|c| *c == b'=')?;
            let (name, value) = parameter.split_at(equals);
            Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
        });
        Self {
            parameters: parameters.collect(),
            value: String::from_utf8_lossy(value).to_ascii_lowercase(),
        }
    }

    /// A parameter as it was sent, without quotes.
    pub(super) fn raw(&self, name: &str) -> Option<Vec<u8>> {
        let found = self
            .parameters
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| unquote(value))
    }

    /// A parameter as text. The form of RFC 2231 rules over the plain one, in which many senders
    /// put encoded words although RFC 2047 5 forbids it.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.extended(name)
            .or_else(|| self.raw(name).map(|value| decode_words(&value)))
    }

    /// `name*=`, or `name*0=`, `name*0*=` and so on.
    fn extended(&self, name: &str) -> Option<String> {
        let mut pieces: Vec<(u16, bool, &[u8])> = Vec::new();
        for (n, value) in &self.parameters {
            let Some((base, tail)) = n.split_at_checked(name.len()) else {
                continue;
            };
            let Some(tail) = tail.strip_prefix(b"*") else {
                continue;
            };
            if !base.eq_ignore_ascii_case(name.as_bytes()) {
                continue;
            }
            let encoded = tail.is_empty() || tail.ends_with(b"*");
            let digits = tail.strip_suffix(b"*").unwrap_or(tail);
            let number = match digits {
                b"" => Some(0),
                digits => std::str::from_utf8(digits)
                    .ok()
                    .and_then(|d| d.parse().ok()),
            };
            pieces.extend(number.map(|number| (number, encoded, *value)));
        }
        pieces.sort_by_key(|piece| piece.0);
        let mut set = String::new();
        let mut bytes = Vec::new();
        for (at, (_, encoded, value)) in pieces.iter().enumerate() {
            let value = unquote(value);
            if !encoded {
                bytes.extend_from_slice(&value);
                continue;
            }
            let mut parts = value.splitn(3, |c| *c == b'\'');
            let content = match (at, parts.next(), parts.next(), parts.next()) {
                (0, Some(charset), Some(_), Some(content)) => {
                    set = String::from_utf8_lossy(charset).into_owned();
                    content
                }
                _ => &value,
            };
            percent(content, b'%', &mut |byte, _| bytes.push(byte));
        }
        if pieces.is_empty() {
            return None;
        }
        let decoded = charset::decode(&set, &bytes);
        Some(decoded.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Pieces between semicolons that are not quoted.
struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.iter().position(|c| {
            match c {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b';' => return !quoted,
                _ => {}
            }
            false
        });
        let (piece, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.get(1..).unwrap_or_default();
        Some(piece)
    }
}

/// A value without quotes; of escapes only those that a quoted string needs, since some senders
/// write paths.
fn unquote(value: &[u8]) -> Vec<u8> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return value.to_vec();
    };
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => out.push(
                bytes
                    .next_if(|next| matches!(next, b'"' | b'\\'))
                    .unwrap_or(byte),
            ),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_every_form() {
        for (value, kind, name) in [
            ("attachment", "attachment", None),
            ("Attachment; filename=a.txt", "attachment", Some("a.txt")),
            (
                "attachment;FileName=\"a; b.txt\" ;x",
                "attachment",
                Some("a; b.txt"),
            ),
            (r#"x; filename="a\"b\c.txt""#, "x", Some(r#"a"b\c.txt"#)),
            (
                "x; filename=my file (1).txt; a=b",
                "x",
                Some("my file (1).txt"),
            ),
            (
                "x; filename=\"=?utf-8?B?w6kucGRm?=\"",
                "x",
                Some("\u{e9}.pdf"),
            ),
            // RFC 2231 3 and 4
            (
                "x; filename*0=\"long\"; filename*1=\"name\"",
                "x",
                Some("longname"),
            ),
            (
                "x; filename*1=b; filename*0=a; filename*10=c",
                "x",
                Some("abc"),
            ),
            (
                "x; filename*0*=us-ascii'en'This%20is%20; filename*1*=%2A%2A%2Afun; filename*2=\"!%20\"",
                "x",
                Some("This is ***fun!%20"),
            ),
            (
                "x; filename*=iso-8859-1'en'%a3.txt; filename=a",
                "x",
                Some("\u{a3}.txt"),
            ),
            ("x; filename*=utf-8''a'b", "x", Some("a'b")),
            ("x; filename*=%41", "x", Some("A")),
            ("x; filename*x=a", "x", None),
            ("x; filename=\"open", "x", Some("open")),
            (";;;=;filename=", "", Some("")),
        ] {
            let read = Structured::read(value.as_bytes());
            assert_eq!(read.value, kind, "{value}");
            assert_eq!(read.text("filename").as_deref(), name, "{value}");
        }
        let many = "x".to_owned() + &"; a=b".repeat(100_000);
        assert_eq!(
            Structured::read(many.as_bytes()).parameters.len(),
            MAX_PARAMETERS
        );
    }
}
