//! Content-Transfer-Encodings (RFC 2045 6), undone as content streams by.

/// Undoes one encoding.
#[derive(Debug, Default)]
pub(super) enum Decoder {
    /// 7bit, 8bit, binary, or something unknown.
    #[default]
    Identity,
    Base64(Base64),
    QuotedPrintable(QuotedPrintable),
}

/// RFC 2045 6.8.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    /// Bits of the digits of a quantum that is not whole.
    bits: u32,
    /// How many digits that are, below 4.
    digits: u8,
    /// Whether padding ended the content.
    ended: bool,
    /// Whether digits followed the padding.
    overrun: bool,
}

/// RFC 2045 6.7.
#[derive(Debug, Default)]
pub(super) struct QuotedPrintable {
    escape: Escape,
    /// White space that counts only if the line goes on.
    blank: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Escape {
    #[default]
    None,
    /// After `=`.
    Open,
    /// After `=` and a digit.
    Half(u8),
    /// After `=` and white space: a soft line break, or nothing.
    Blank,
}

/// White space at the end of a line that is kept back: no line of RFC 2045 6.7 is longer than 76.
const MAX_BLANK: usize = 256;

impl Decoder {
    /// The decoder for the value of a Content-Transfer-Encoding field.
    pub(super) fn named(value: &[u8]) -> Self {
        let name = value
            .trim_ascii()
            .split(|c| b";( \t".contains(c))
            .next()
            .unwrap_or_default();
        if name.eq_ignore_ascii_case(b"base64") {
            Self::Base64(Base64::default())
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable(QuotedPrintable::default())
        } else {
            Self::Identity
        }
    }

    /// Appends what `bytes` stand for.
    pub(super) fn update(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Identity => out.extend_from_slice(bytes),
            Self::Base64(base64) => base64.update(bytes, out),
            Self::QuotedPrintable(quoted) => bytes.iter().for_each(|b| quoted.push(*b, out)),
        }
    }

    /// Appends what is left at the end; whether all was well.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Identity => true,
            Self::Base64(base64) => base64.finish(out),
            Self::QuotedPrintable(quoted) => {
                match quoted.escape {
                    Escape::Half(digit) => out.extend([b'=', digit]),
                    Escape::None | Escape::Open | Escape::Blank => {}
                }
                true
            }
        }
    }
}

impl Base64 {
    fn update(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            if self.digits == 0 && !self.ended {
                bytes = take_quanta(bytes, out);
            }
            let Some((byte, rest)) = bytes.split_first() else {
                return;
            };
            bytes = rest;
            let value = value_of(*byte);
            if value == NO_DIGIT {
                // RFC 2045 6.8: what is no digit is passed over
                if *byte == b'=' && self.digits >= 2 && !self.ended {
                    self.end_quantum(out);
                    self.ended = true;
                }
                continue;
            }
            if self.ended {
                self.overrun = true;
                return;
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.digits += 1;
            if self.digits == 4 {
                let [_, first, second, third] = self.bits.to_be_bytes();
                out.extend([first, second, third]);
                (self.bits, self.digits) = (0, 0);
            }
        }
    }

    /// The bytes of a quantum of two or three digits.
    fn end_quantum(&mut self, out: &mut Vec<u8>) {
        match self.digits {
            2 => out.push((self.bits >> 4) as u8),
            3 => out.extend([(self.bits >> 10) as u8, (self.bits >> 2) as u8]),
            _ => {}
        }
        (self.bits, self.digits) = (0, 0);
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        // many senders leave the padding out
        self.end_quantum(out);
        !self.overrun
    }
}

/// Decodes the whole quanta that `bytes` begin with; what follows them.
fn take_quanta<'a>(bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let (quanta, _) = bytes.as_chunks::<4>();
    let mut taken = 0;
    for quantum in quanta {
        let values = quantum.map(value_of);
        if values.contains(&NO_DIGIT) {
            break;
        }
        let [_, first, second, third] = values
            .iter()
            .fold(0, |bits, value| bits << 6 | u32::from(*value))
            .to_be_bytes();
        out.extend_from_slice(&[first, second, third]);
        taken += quantum.len();
    }
    bytes.get(taken..).unwrap_or_default()
}

fn value_of(byte: u8) -> u8 {
    DIGITS.get(usize::from(byte)).copied().unwrap_or(NO_DIGIT)
}

impl QuotedPrintable {
    fn push(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.escape {
            Escape::None => self.push_plain(byte, out),
            Escape::Open => match byte {
                _ if byte.is_ascii_hexdigit() => self.escape = Escape::Half(byte),
                b'\n' => self.escape = Escape::None,
                b' ' | b'\t' | b'\r' => self.escape = Escape::Blank,
                _ => self.restore(&[], byte, out),
            },
            Escape::Half(high) => match (hex_digit(high), hex_digit(byte)) {
                (Some(upper), Some(lower)) => {
                    out.push(upper << 4 | lower);
                    self.escape = Escape::None;
                }
                _ => self.restore(&[high], byte, out),
            },
            Escape::Blank => match byte {
                b'\n' => self.escape = Escape::None,
                b' ' | b'\t' | b'\r' => {}
                _ => self.restore(&[], byte, out),
            },
        }
    }

    /// What looked like an escape was none.
    fn restore(&mut self, digits: &[u8], byte: u8, out: &mut Vec<u8>) {
        self.escape = Escape::None;
        out.push(b'=');
        out.extend_from_slice(digits);
        self.push_plain(byte, out);
    }

    fn push_plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b' ' | b'\t' | b'\r' if self.blank.len() < MAX_BLANK => self.blank.push(byte),
            b'\n' => {
                // RFC 2045 6.7 (3): white space at the end of a line was added on the way
                if self.blank.last() == Some(&b'\r') {
                    out.push(b'\r');
                }
                self.blank.clear();
                out.push(b'\n');
            }
            _ => {
                out.append(&mut self.blank);
                match byte {
                    b'=' => self.escape = Escape::Open,
                    _ => out.push(byte),
                }
            }
        }
    }
}

pub(super) fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Stands for a byte that is no digit of base64.
const NO_DIGIT: u8 = 64;

/// The value of each byte as a digit of base64, or [`NO_DIGIT`].
const DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_undone_however_split() {
        for (encoding, content, decoded, sound) in [
            ("7bit", "a=3D\r\n", "a=3D\r\n", true),
            ("x-unknown", "YQ==", "YQ==", true),
            ("base64", "", "", true),
            // RFC 4648 10
            ("BASE64", "Zg==", "f", true),
            ("base64", "Zm8=", "fo", true),
            ("base64", "Zm9v", "foo", true),
            ("base64 (comment)", "Zm9v\r\nYmFy\r\n", "foobar", true),
            ("base64", "Zm 9v!YmE", "fooba", true),
            ("base64", "Zm9vY", "foo", true),
            ("base64", "=Zm9v", "foo", true),
            ("base64", "Zg==\r\n--\r\n", "f", true),
            ("base64", "Zg==\r\nfooter", "f", false),
            ("quoted-printable", "a=3Db=3d\r\n", "a=b=\r\n", true),
            ("Quoted-Printable", "a =\r\nb=\nc= \t\r\nd", "a bcd", true),
            ("quoted-printable", "a \t\r\nb \nc ", "a\r\nb\nc", true),
            ("quoted-printable", "a=ZZ=4=4Z=", "a=ZZ=4=4Z", true),
            ("quoted-printable", "a=4", "a=4", true),
            ("quoted-printable", "a= b\rc", "a=b\rc", true),
            ("quoted-printable", "==41", "=A", true),
        ] {
            for step in 1..=content.len().max(1) {
                let mut decoder = Decoder::named(encoding.as_bytes());
                let mut out = Vec::new();
                content
                    .as_bytes()
                    .chunks(step)
                    .for_each(|c| decoder.update(c, &mut out));
                assert_eq!(decoder.finish(&mut out), sound, "{content:?}");
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    decoded,
                    "{content:?} by {step}"
                );
            }
        }
    }

    #[test]
    fn white_space_without_end_is_not_kept_back() {
        let mut decoder = Decoder::named(b"quoted-printable");
        let mut out = Vec::new();
        decoder.update(&vec![b' '; 10 * MAX_BLANK], &mut out);
        assert!(out.len() >= 8 * MAX_BLANK);
        let Decoder::QuotedPrintable(quoted) = decoder else {
            panic!("not quoted-printable")
        };
        assert!(quoted.blank.len() <= MAX_BLANK);
    }
}
