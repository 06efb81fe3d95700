//! Header lists as the heads of HTTP/1.1 messages (RFC 9113 section 8.3).

use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Sink;

/// The head of a message in the making; reused from block to block.
#[derive(Debug, Default)]
pub(super) struct Head {
    pub(super) method: Vec<u8>,
    pub(super) scheme: Vec<u8>,
    pub(super) authority: Vec<u8>,
    pub(super) path: Vec<u8>,
    pub(super) status: Vec<u8>,
    /// The header section of the same message in HTTP/1.1, Host first.
    pub(super) section: Vec<u8>,
    /// Size of the header list so far (RFC 9113 section 6.5.2), in bytes.
    size: usize,
    /// Whether a field other than a pseudo-header was seen.
    regular: bool,
    faults: Faults,
}

/// What was wrong with a header list, each kind told once.
#[derive(Debug, Default)]
struct Faults {
    cap: bool,
    pseudo: bool,
    name: bool,
    value: bool,
}

impl Head {
    /// Forgets the message before.
    pub(super) fn clear(&mut self) {
        for part in [
            &mut self.method,
            &mut self.scheme,
            &mut self.authority,
            &mut self.path,
            &mut self.status,
            &mut self.section,
        ] {
            if part.capacity() > KEPT_CAPACITY {
                *part = Vec::new();
            }
            part.clear();
        }
        self.size = 0;
        self.regular = false;
        self.faults = Faults::default();
    }

    /// Bytes of memory that its parts take.
    pub(super) const fn held(&self) -> usize {
        self.method.capacity()
            + self.scheme.capacity()
            + self.authority.capacity()
            + self.path.capacity()
            + self.status.capacity()
            + self.section.capacity()
    }

    /// Takes in the next field.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        let size = name.len().saturating_add(value.len()) + FIELD_OVERHEAD;
        self.size = self.size.saturating_add(size);
        if self.size > MAX_LIST {
            self.faults.cap = true;
        } else if let Some(name) = name.strip_prefix(b":") {
            self.push_pseudo(name, value);
        } else {
            self.push_regular(name, value);
        }
    }

    /// Hands on what was wrong.
    pub(super) fn report(&self, sink: &mut Sink<'_>) {
        let Faults {
            cap,
            pseudo,
            name,
            value,
        } = self.faults;
        for (there, anomaly) in [
            (cap, "http2.header-list-cap"),
            (pseudo, "http2.pseudo-header"),
            (name, "http2.header-name"),
            (value, "http2.header-value"),
        ] {
            if there {
                sink(Message::Anomaly(Anomaly(anomaly)));
            }
        }
    }

    /// The status code; `None` where it is not three digits.
    pub(super) fn status(&self) -> Option<u16> {
        let text = std::str::from_utf8(&self.status).ok()?;
        let code = text.parse().ok().filter(|code| (100..=999).contains(code));
        code.filter(|_| text.len() == 3)
    }

    /// Takes in a pseudo-header, its colon taken off; the first of a name counts.
    fn push_pseudo(&mut self, name: &[u8], value: &[u8]) {
        let part = match name {
            b"method" => &mut self.method,
            b"scheme" => &mut self.scheme,
            b"authority" => &mut self.authority,
            b"path" => &mut self.path,
            b"status" => &mut self.status,
            // RFC 8441 section 4
            b"protocol" => return,
            _ => {
                self.faults.pseudo = true;
                return;
            }
        };
        // RFC 9113 section 8.3: once each, and before all other fields
        self.faults.pseudo |= self.regular || !part.is_empty();
        if part.is_empty() {
            self.faults.value |= push_value(value, part);
            if name == b"authority" && !part.is_empty() {
                write_field(&mut self.section, b"host", part);
            }
        }
    }

    fn push_regular(&mut self, name: &[u8], value: &[u8]) {
        self.regular = true;
        // RFC 9113 section 8.2.1
        if name.is_empty() || name.iter().any(|c| *c <= b' ' || *c >= 0x7f || *c == b':') {
            self.faults.name = true;
            return;
        }
        self.faults.name |= name.iter().any(u8::is_ascii_uppercase);
        // RFC 9113 section 8.3.1: the same host a second time says nothing
        if name.eq_ignore_ascii_case(b"host") && value.eq_ignore_ascii_case(&self.authority) {
            return;
        }
        self.section.extend_from_slice(name);
        self.section.extend_from_slice(b": ");
        self.faults.value |= push_value(value, &mut self.section);
        self.section.extend_from_slice(b"\r\n");
    }
}

fn write_field(section: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    section.extend_from_slice(name);
    section.extend_from_slice(b": ");
    section.extend_from_slice(value);
    section.extend_from_slice(b"\r\n");
}

/// Appends a value, with spaces for what would end its line; whether there was any of that.
fn push_value(value: &[u8], out: &mut Vec<u8>) -> bool {
    let breaks = |c: u8| matches!(c, b'\r' | b'\n' | 0);
    out.extend(value.iter().map(|c| if breaks(*c) { b' ' } else { *c }));
    value.iter().any(|c| breaks(*c))
}

/// The largest header list that is kept, in bytes: what is kept of a head in HTTP/1 too.
/// Fields beyond it are decoded, and forgotten.
const MAX_LIST: usize = 64 << 10;

/// What a field counts beside its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Capacity of a buffer that is kept between blocks, in bytes.
const KEPT_CAPACITY: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&str, &str)]) -> (String, Vec<&'static str>) {
        let mut head = Head::default();
        // what an earlier block left must not matter
        head.push(b"x", b"y\0");
        head.push(b":path", b"/before");
        head.clear();
        for (name, value) in fields {
            head.push(name.as_bytes(), value.as_bytes());
        }
        let mut faults = Vec::new();
        head.report(&mut |message| {
            if let Message::Anomaly(anomaly) = message {
                faults.push(anomaly.0);
            }
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            format!("{}\n{}", text(&head.path), text(&head.section)),
            faults,
        )
    }

    #[test]
    fn lists_become_header_sections() {
        let long = "x".repeat(MAX_LIST);
        for (fields, section, faults) in [
            (
                &[(":path", "/a"), (":authority", "a.example"), ("x-y", "1")][..],
                "/a\nhost: a.example\r\nx-y: 1\r\n",
                &[][..],
            ),
            (
                &[(":authority", "a.example"), ("host", "A.example")],
                "\nhost: a.example\r\n",
                &[],
            ),
            (
                &[(":authority", "a.example"), ("host", "b.example")],
                "\nhost: a.example\r\nhost: b.example\r\n",
                &[],
            ),
            (
                &[(":path", "/a"), (":path", "/b")],
                "/a\n",
                &["http2.pseudo-header"],
            ),
            (
                &[("x", "1"), (":path", "/a")],
                "/a\nx: 1\r\n",
                &["http2.pseudo-header"],
            ),
            (
                &[(":pat", "/a"), (":protocol", "websocket")],
                "\n",
                &["http2.pseudo-header"],
            ),
            (
                &[("X", "1"), ("a b", "2"), ("", "3"), ("a:b", "4")],
                "\nX: 1\r\n",
                &["http2.header-name"],
            ),
            (
                &[("x", "1\r\nhost: b")],
                "\nx: 1  host: b\r\n",
                &["http2.header-value"],
            ),
            (
                &[("x", &long), ("y", "1")],
                "\n",
                &["http2.header-list-cap"],
            ),
        ] {
            assert_eq!(read(fields), (section.to_owned(), faults.to_vec()));
        }
    }

    #[test]
    fn status_codes_have_three_digits() {
        for (text, status) in [
            ("200", Some(200)),
            ("099", None),
            ("+20", None),
            ("2000", None),
            ("", None),
        ] {
            let head = Head {
                status: text.as_bytes().to_vec(),
                ..Head::default()
            };
            assert_eq!(head.status(), status, "{text}");
        }
    }
}
