//! Unstructured text of headers: unfolding and encoded words (RFC 2047).

use std::borrow::Cow;

use memchr::memchr2;
use memchr::memmem;

use crate::protocol::smtp::charset;
use crate::protocol::smtp::transfer::Decoder;
use crate::protocol::smtp::transfer::hex_digit;

/// A field's value on one line (RFC 5322 2.2.3).
pub(super) fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    match memchr2(b'\r', b'\n', value) {
        None => Cow::Borrowed(value),
        Some(_) => Cow::Owned(
            value
                .iter()
                .copied()
                .filter(|c| !matches!(c, b'\r' | b'\n'))
                .collect(),
        ),
    }
}

/// Text with its encoded words undone. Those in a character set that is not known stay as sent.
pub(super) fn decode_words(value: &[u8]) -> String {
    let mut out = String::new();
    // bytes of adjacent words in one set: some senders split characters between words
    let mut run: Option<(&[u8], Vec<u8>)> = None;
    let mut rest = value;
    while let Some(at) = memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at(at);
        let Some((word, after)) = Word::read(from) else {
            flush(&mut run, &mut out);
            out.push_str(&String::from_utf8_lossy(before));
            out.push_str("=?");
            rest = from.get(2..).unwrap_or_default();
            continue;
        };
        let joined = run.is_some() && before.iter().all(u8::is_ascii_whitespace);
        match &mut run {
            Some((charset, bytes)) if joined && charset.eq_ignore_ascii_case(word.charset) => {
                bytes.extend_from_slice(&word.bytes());
            }
            _ => {
                flush(&mut run, &mut out);
                // RFC 2047 6.2: white space between encoded words is no text
                if !joined {
                    out.push_str(&String::from_utf8_lossy(before));
                }
                match word.is_known() {
                    true => run = Some((word.charset, word.bytes())),
                    false => {
                        let raw = from.get(..from.len() - after.len()).unwrap_or_default();
                        out.push_str(&String::from_utf8_lossy(raw));
                    }
                }
            }
        }
        rest = after;
    }
    flush(&mut run, &mut out);
    out.push_str(&String::from_utf8_lossy(rest));
    out
}

fn flush(run: &mut Option<(&[u8], Vec<u8>)>, out: &mut String) {
    if let Some((set, bytes)) = run.take()
        && let Some(text) = charset::decode(&String::from_utf8_lossy(set), &bytes)
    {
        out.push_str(&text);
    }
}

/// `=?charset?encoding?text?=`
struct Word<'a> {
    /// Without the language of RFC 2231 5.
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
}

impl<'a> Word<'a> {
    /// Reads a word, and what follows it.
    fn read(from: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let rest = from.strip_prefix(b"=?")?;
        let mut halves = rest.splitn(3, |c| *c == b'?');
        let (charset, encoding, rest) = (halves.next()?, halves.next()?, halves.next()?);
        let sound = !charset.is_empty() && charset.iter().all(u8::is_ascii_graphic);
        let base64 = match encoding {
            b"B" | b"b" => true,
            b"Q" | b"q" => false,
            _ => return None,
        };
        let end = memmem::find(rest, b"?=").filter(|_| sound)?;
        let (text, after) = rest.split_at(end);
        let charset = charset.split(|c| *c == b'*').next().unwrap_or_default();
        Some((
            Self {
                charset,
                base64,
                text,
            },
            after.get(2..).unwrap_or_default(),
        ))
    }

    fn is_known(&self) -> bool {
        charset::decode(&String::from_utf8_lossy(self.charset), b"").is_some()
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len());
        if self.base64 {
            let mut decoder = Decoder::named(b"base64");
            decoder.update(self.text, &mut out);
            decoder.finish(&mut out);
            return out;
        }
        // RFC 2047 4.2
        percent(self.text, b'=', &mut |byte, plain| {
            out.push(if plain && byte == b'_' { b' ' } else { byte });
        });
        out
    }
}

/// Undoes escapes of a mark and two hexadecimal digits; `plain`: the byte was not escaped.
pub(super) fn percent(mut text: &[u8], mark: u8, push: &mut dyn FnMut(u8, bool)) {
    while let Some((first, rest)) = text.split_first() {
        let escaped = match rest {
            [high, low, after @ ..] if *first == mark => hex_digit(*high)
                .zip(hex_digit(*low))
                .map(|(high, low)| (high << 4 | low, after)),
            _ => None,
        };
        match escaped {
            Some((byte, after)) => {
                push(byte, false);
                text = after;
            }
            None => {
                push(*first, true);
                text = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_are_undone() {
        for (value, text) in [
            ("plain", "plain"),
            // RFC 2047 8
            (
                "=?US-ASCII?Q?Keith_Moore?= <moore@cs>",
                "Keith Moore <moore@cs>",
            ),
            ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "Andr\u{e9} Pirard"),
            (
                "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
                "If you can read this you understand the example.",
            ),
            ("(=?ISO-8859-1?Q?a?= b)", "(a b)"),
            ("(=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=)", "(ab)"),
            ("(=?ISO-8859-1?Q?a_b?=)", "(a b)"),
            // RFC 2231 5
            ("=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"),
            // one character in two words
            ("=?utf-8?Q?=C3?= =?UTF-8?B?qQ==?=", "\u{e9}"),
            ("=?utf-8?Q?a b?=", "a b"),
            ("=?x-unknown?Q?a?= b", "=?x-unknown?Q?a?= b"),
            ("=?x-unknown?Q?a?= =?utf-8?Q?b?=", "=?x-unknown?Q?a?= b"),
            ("=?utf-8?Q?open", "=?utf-8?Q?open"),
            ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
            ("=?=?=?=?", "=?=?=?=?"),
            ("=?utf-8?Q??=", ""),
            ("1+1=2?", "1+1=2?"),
        ] {
            assert_eq!(decode_words(value.as_bytes()), text, "{value}");
        }
        assert_eq!(&*unfold(b"a\r\n b\n\tc"), b"a b\tc");
    }
}
