//! What a client must know of an envelope: how many objects, and whether more follow.

use super::super::object::decode;
use super::super::scan::Fault;
use super::super::scan::Scanner;
use sha2::Digest as _;
use sha2::Sha256;

/// Bytes of a `next`; it goes into a URL, which servers cut at 8 KiB.
const LONGEST_NEXT: usize = 4 << 10;

/// An envelope (TAXII 2.1, section 3.7), but for its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Whether more follow.
    pub(super) more: bool,
    /// What to ask for next, opaque; `None`: the server does not say.
    pub(super) next: Option<String>,
    /// Elements of `objects`.
    pub(super) objects: u64,
    /// Digest of the text of `objects`, by which a page is known again.
    pub(super) digest: [u8; 16],
}

impl Envelope {
    /// Reads an envelope.
    pub(super) fn read(body: &[u8]) -> Result<Self, NoEnvelope> {
        let other = |what: &str| NoEnvelope::Other(what.to_owned());
        let text = std::str::from_utf8(body).map_err(|_| other("it is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut envelope = Self {
            more: false,
            next: None,
            objects: 0,
            digest: [0; 16],
        };
        match envelope.scan(&mut Scanner::new(text)) {
            Ok(()) => Ok(envelope),
            Err(Problem::Shape(what)) => Err(other(what)),
            Err(Problem::Json(Fault::Incomplete)) => Err(NoEnvelope::CutShort),
            Err(Problem::Json(Fault::Malformed { at, what })) => {
                Err(NoEnvelope::Other(format!("no JSON: at byte {at}, {what}")))
            }
            Err(Problem::Json(Fault::TooDeep { .. })) => Err(other("it is nested beyond all use")),
        }
    }

    fn scan(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Problem> {
        if scanner.next()? != b'{' {
            return Err(Problem::Shape("it is JSON, but no object"));
        }
        scanner.pass();
        if scanner.next()? == b'}' {
            return Ok(());
        }
        loop {
            let name = scanner.name()?;
            let name = decode(name).unwrap_or_default();
            match name.as_ref() {
                "objects" => {
                    scanner.next()?;
                    let start = scanner.rest();
                    self.objects = count(scanner)?;
                    let length = start.len().saturating_sub(scanner.rest().len());
                    let digest = Sha256::digest(start.get(..length).unwrap_or_default());
                    for (to, from) in self.digest.iter_mut().zip(digest) {
                        *to = from;
                    }
                }
                "more" => self.more = matches!(scanner.value()?, "true" | "\"true\""),
                "next" => self.next = read_next(scanner.value()?)?,
                _ => {
                    scanner.value()?;
                }
            }
            match scanner.next()? {
                b',' => scanner.pass(),
                b'}' => return Ok(()),
                _ => scanner.malformed("a comma or '}' is expected here")?,
            }
        }
    }
}

/// Why a body is no envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoEnvelope {
    /// It ends too early, which the server of HTTP/1.0 cannot say otherwise.
    CutShort,
    /// It is something else; what.
    Other(String),
}

enum Problem {
    Json(Fault),
    Shape(&'static str),
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Json(fault)
    }
}

/// Passes over a list and counts its elements; `null` has none.
fn count(scanner: &mut Scanner<'_>) -> Result<u64, Problem> {
    if scanner.next()? != b'[' {
        return match scanner.value()? {
            "null" => Ok(0),
            _ => Err(Problem::Shape("its 'objects' is no list")),
        };
    }
    scanner.pass();
    if scanner.next()? == b']' {
        scanner.pass();
        return Ok(0);
    }
    let mut elements = 0;
    loop {
        scanner.value()?;
        elements += 1;
        match scanner.next()? {
            b',' => scanner.pass(),
            b']' => {
                scanner.pass();
                return Ok(elements);
            }
            _ => scanner.malformed("a comma or ']' is expected here")?,
        }
    }
}

/// A token: a string, or what some servers have instead, a number.
fn read_next(raw: &str) -> Result<Option<String>, Problem> {
    if raw.len() > LONGEST_NEXT {
        return Err(Problem::Shape("its 'next' is longer than any URL may be"));
    }
    if raw.starts_with('"') {
        let token = decode(raw).map_err(|_| Problem::Shape("its 'next' is no text"))?;
        return Ok(Some(token.into_owned()).filter(|token| !token.is_empty()));
    }
    let number = raw.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    Ok(number.then(|| raw.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_as_servers_write_them() {
        for (text, more, next, objects) in [
            ("{}", false, None, 0),
            ("\u{feff}{ }", false, None, 0),
            (r#"{"objects":[]}"#, false, None, 0),
            (
                r#"{"objects":null,"more":false,"next":null}"#,
                false,
                None,
                0,
            ),
            (
                r#"{"more":true,"next":"a\"b","objects":[{},{"objects":[1,2]},3]}"#,
                true,
                Some("a\"b"),
                3,
            ),
            (
                r#"{"next":17,"more":true,"objects":[{}]}"#,
                true,
                Some("17"),
                1,
            ),
            (r#"{"next":"","more":true,"id":[[]]}"#, true, None, 0),
            (r#"{"more":1,"next":{}}"#, false, None, 0),
            (
                r#"{"type":"bundle","id":"bundle--1","objects":[{}]}"#,
                false,
                None,
                1,
            ),
        ] {
            let envelope = Envelope::read(text.as_bytes()).unwrap();
            assert_eq!(envelope.more, more, "{text}");
            assert_eq!(envelope.next.as_deref(), next, "{text}");
            assert_eq!(envelope.objects, objects, "{text}");
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        let deep = format!("{{\"objects\":[{}", "[".repeat(100_000));
        let long = format!("{{\"next\":\"{}\"}}", "x".repeat(LONGEST_NEXT));
        for text in [
            "",
            "[]",
            "\"objects\"",
            "<html>",
            "{",
            r#"{"objects":[{}"#,
            r#"{"objects":[{},]}"#,
            r#"{"objects":{}}"#,
            r#"{"objects":"x"}"#,
            r#"{"more":true"#,
            &deep,
            &long,
        ] {
            assert!(Envelope::read(text.as_bytes()).is_err(), "{text:.40}");
        }
        assert!(Envelope::read(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn the_digest_goes_by_the_objects_alone() {
        let digest = |text: &str| Envelope::read(text.as_bytes()).unwrap().digest;
        let first = digest(r#"{"more":true,"next":"1","objects":[{"id":"a"}]}"#);
        assert_eq!(first, digest(r#"{"objects":[{"id":"a"}],"next":"2"}"#));
        assert_ne!(first, digest(r#"{"objects":[{"id":"b"}],"next":"2"}"#));
    }
}
