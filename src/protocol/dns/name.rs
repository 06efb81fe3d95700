//! Domain names on the wire (RFC 1035 section 4.1.4), decoded into one normal form.

use crate::protocol::Anomaly;
use crate::protocol::dns::HEADER;

/// A buffer for the text of one name.
///
/// Invariant: `length <= TEXT_LIMIT`, and the first `length` bytes are ASCII.
#[derive(Clone)]
pub(super) struct NameText {
    text: [u8; TEXT_LIMIT],
    length: usize,
}

impl NameText {
    /// A buffer that holds the root.
    pub(super) const fn new() -> Self {
        Self {
            text: [0; TEXT_LIMIT],
            length: 0,
        }
    }

    /// Holds the root again.
    pub(super) const fn clear(&mut self) {
        self.length = 0;
    }

    /// The text of the name decoded last; empty for the root.
    pub(super) fn as_str(&self) -> &str {
        let text = self.text.get(..self.length).unwrap_or_default();
        // ASCII by construction; the default is never taken
        std::str::from_utf8(text).unwrap_or_default()
    }

    /// Decodes the name at `start` of `message`; returns the place after it there.
    pub(super) fn decode(&mut self, message: &[u8], start: usize) -> Result<usize, Anomaly> {
        self.length = 0;
        walk_labels(message, start, &mut |label| self.push_label(label))
    }

    fn push_label(&mut self, label: &[u8]) {
        let start = self.length + usize::from(self.length > 0);
        let end = start + label.len();
        // a name within NAME_LIMIT has room even when every octet is escaped
        let Some(place) = self.text.get_mut(start..end) else {
            return;
        };
        let mut plain = true;
        for (to, octet) in place.iter_mut().zip(label) {
            *to = NORMAL[usize::from(*octet)];
            plain &= *to != 0;
        }
        if let Some(dot) = self.text.get_mut(self.length..start) {
            dot.fill(b'.');
        }
        self.length = start;
        if plain {
            self.length = end;
        } else {
            self.push_escaped(label);
        }
    }

    fn push_escaped(&mut self, label: &[u8]) {
        for octet in label {
            let mut push = |byte: u8| {
                if let Some(place) = self.text.get_mut(self.length) {
                    *place = byte;
                    self.length += 1;
                }
            };
            match NORMAL[usize::from(*octet)] {
                0 => {
                    push(b'\\');
                    push(b'0' + octet / 100);
                    push(b'0' + octet / 10 % 10);
                    push(b'0' + octet % 10);
                }
                byte => push(byte),
            }
        }
    }
}

/// Passes over the name at `start` of `message`; returns the place after it there.
pub(super) fn skip(message: &[u8], start: usize) -> Result<usize, Anomaly> {
    walk_labels(message, start, &mut |_| {})
}

/// Hands on the labels of the name at `start`; returns the place after it there.
#[inline]
fn walk_labels(
    message: &[u8],
    start: usize,
    each: &mut impl FnMut(&[u8]),
) -> Result<usize, Anomaly> {
    let mut at = start;
    // a pointer leads to before the labels it ends (RFC 1035 section 4.1.4: "prior")
    let mut below = start;
    let mut end = None;
    let mut wire_length = 1;
    let mut pointers = 0;
    loop {
        let Some(&octet) = message.get(at) else {
            return Err(CUT);
        };
        match octet {
            0 => return Ok(end.unwrap_or(at + 1)),
            1..=0x3f => {
                let next = at + 1 + usize::from(octet);
                let Some(label) = message.get(at + 1..next) else {
                    return Err(CUT);
                };
                wire_length += 1 + label.len();
                if wire_length > NAME_LIMIT {
                    return Err(Anomaly("dns.name-length"));
                }
                each(label);
                at = next;
            }
            0xc0.. => {
                let Some(&low) = message.get(at + 1) else {
                    return Err(CUT);
                };
                let place = pointed_place(octet, low);
                pointers += 1;
                if place >= below || place < HEADER || pointers > POINTER_LIMIT {
                    return Err(Anomaly("dns.pointer-loop"));
                }
                end.get_or_insert(at + 2);
                below = place;
                at = place;
            }
            _ => return Err(Anomaly("dns.label")),
        }
    }
}

/// Where the name at `at` really stands: where a lone pointer leads, else there.
pub(super) fn place(message: &[u8], at: usize) -> usize {
    match message.get(at..).and_then(|rest| rest.first_chunk()) {
        Some([octet, low]) if *octet >= 0xc0 => pointed_place(*octet, *low),
        _ => at,
    }
}

fn pointed_place(high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high & 0x3f, low]))
}

/// The normal form of each octet of a label; 0 where it is escaped.
const NORMAL: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = b'!';
    while octet <= b'~' {
        if octet != b'.' && octet != b'\\' {
            table[octet as usize] = octet.to_ascii_lowercase();
        }
        octet += 1;
    }
    table
};

/// Longest name on the wire, its end included (RFC 1035 section 2.3.4).
const NAME_LIMIT: usize = 255;

/// Longest text of a name: four characters for each octet of it.
const TEXT_LIMIT: usize = 4 * NAME_LIMIT;

/// Most pointers in one name: it has 127 labels at most, software needs a pointer or two, and
/// an endless chain of pointers would cost time for every name that joins it.
const POINTER_LIMIT: usize = 32;

/// The bytes end before the message does.
pub(super) const CUT: Anomaly = Anomaly("dns.truncated");
