//! Datasets of Suricata: a value a line, texts in base64, and what is known of it behind a comma.

use super::error::LoadError;
use super::lines::LineReader;
use super::lines::Output;
use super::list::text_without_comment;
use super::value::HostBits;
use super::value::Value;
use uuid::Uuid;

/// A dataset being read.
#[derive(Debug, Default)]
pub(super) struct Dataset;

/// What a line of a dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The value itself, as in a list.
    Plain,
    /// Only a dataset has such a line.
    Dataset,
    /// A line of `hashes.csv`, which MISP feeds have: a hash and an event's id.
    FeedHash,
}

/// What form the line has; `None`: it is no line of a dataset.
pub(super) fn form_of(line: &str) -> Option<Form> {
    let text = text_without_comment(line);
    if Value::parse(text).is_ok() {
        return Some(Form::Plain);
    }
    let (value, behind) = text.split_once(',').unwrap_or((text, ""));
    if behind.len() == 36 && Uuid::try_parse(behind).is_ok() && is_md5(value) {
        return Some(Form::FeedHash);
    }
    read(text).map(|_| Form::Dataset)
}

impl LineReader for Dataset {
    fn line(&mut self, number: u64, line: &str, output: &mut Output<'_>) {
        let text = text_without_comment(line);
        if text.is_empty() {
            return;
        }
        match read(text) {
            Some((value, host_bits)) => output.value(number, &value, host_bits, None),
            None => {
                let reason = match Value::parse(text) {
                    Err(no_value) => no_value.reason,
                    Ok(_) => return,
                };
                output.refuse(number, format!("{reason}, nor one of these in base64"));
            }
        }
    }

    fn finish(&mut self, _: &str, _: &mut Output<'_>) -> Result<(), LoadError> {
        Ok(())
    }
}

fn read(text: &str) -> Option<(Value, HostBits)> {
    if let Ok(whole) = Value::parse(text) {
        return Some(whole);
    }
    let first = text.split(',').next().unwrap_or_default().trim();
    if let Ok(plain) = Value::parse(first) {
        return Some(plain);
    }
    let decoded = String::from_utf8(decode_base64(first)?).ok()?;
    Value::parse(&decoded).ok()
}

fn is_md5(value: &str) -> bool {
    value.len() == 32 && value.bytes().all(|b| b.is_ascii_hexdigit())
}

/// RFC 4648 section 4; `None` for anything else.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let six = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0x3fff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_base64() {
        for (text, bytes) in [
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("YS5leGFtcGxlLm9yZw==", Some("a.example.org")),
            ("Zm9", None),
            ("Z===", None),
            ("Zm9v====", None),
            ("Zm=v", None),
            ("Zm9-", None),
            ("", None),
        ] {
            assert_eq!(
                decode_base64(text).as_deref(),
                bytes.map(str::as_bytes),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_have_forms() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for (line, form) in [
            ("a.example", Some(Form::Plain)),
            (md5, Some(Form::Plain)),
            ("http://a.example/a,b", Some(Form::Plain)),
            ("YS5leGFtcGxl", Some(Form::Dataset)),
            ("YS5leGFtcGxl,10", Some(Form::Dataset)),
            ("192.0.2.1,3", Some(Form::Dataset)),
            (&format!("{md5},a word"), Some(Form::Dataset)),
            (
                &format!("{md5},80c2998c-da58-41bd-9487-06e5a05a4981"),
                Some(Form::FeedHash),
            ),
            ("TW96aWxsYS81LjA=", None),
            ("some words", None),
        ] {
            assert_eq!(form_of(line), form, "{line}");
        }
    }
}
