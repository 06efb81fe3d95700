//! Fingerprints of hellos: JA3, JA3S and JA4. Nothing is computed until asked for.
//!
//! JA4's sister fingerprints are under a licence that forbids them here.

use std::fmt;
use std::fmt::Write;

use md5::Digest as _;
use md5::Md5;
use sha2::Sha256;

use crate::protocol::tls::hello::ClientHello;
use crate::protocol::tls::hello::ServerHello;
use crate::protocol::tls::hello::Transport;
use crate::protocol::tls::hello::extension;

/// A JA4 fingerprint: always 36 ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ja4([u8; 36]);

impl Ja4 {
    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        // ASCII by construction; the default is never taken
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ClientHello<'_> {
    /// JA3: MD5 of [`Self::ja3_string`].
    pub fn ja3(&self) -> [u8; 16] {
        md5_of(|out| self.write_ja3(out))
    }

    /// The text beneath JA3: `version,ciphers,extensions,groups,point formats`, decimal
    /// numbers joined by `-`, GREASE left out.
    pub fn ja3_string(&self) -> String {
        let mut out = String::new();
        // writing to a String cannot fail
        let _ = self.write_ja3(&mut out);
        out
    }

    /// JA4; it begins with `t` over TCP and with `q` over QUIC.
    ///
    /// A first application protocol that begins or ends with an ASCII character other than a
    /// letter or digit stands there in hexadecimal.
    pub fn ja4(&self) -> Ja4 {
        let version = self
            .supported_versions()
            .filter(|version| !is_grease(*version))
            .max()
            .unwrap_or_else(|| self.legacy_version());
        let mut ciphers: Vec<u16> = self
            .cipher_suites()
            .filter(|cipher| !is_grease(*cipher))
            .collect();
        let mut extensions: Vec<u16> = self
            .extensions()
            .map(|(kind, _)| kind)
            .filter(|kind| !is_grease(*kind))
            .collect();
        let extension_count = extensions.len();
        let named = extensions.contains(&extension::SERVER_NAME);
        extensions.retain(|kind| *kind != extension::SERVER_NAME && *kind != extension::ALPN);
        ciphers.sort_unstable();
        extensions.sort_unstable();

        let mut out = Ja4Writer::default();
        out.push(match self.transport() {
            Transport::Tcp => b"t",
            Transport::Quic => b"q",
        });
        out.push(version_code(version));
        out.push(if named { b"d" } else { b"i" });
        out.push(&two_digits(ciphers.len()));
        out.push(&two_digits(extension_count));
        out.push(&protocol_code(self.alpn().next().unwrap_or_default()));
        out.push(b"_");
        out.push(&short_hash(&ciphers, [].into_iter()));
        out.push(b"_");
        let signatures = self
            .signature_algorithms()
            .filter(|algorithm| !is_grease(*algorithm));
        out.push(&short_hash(&extensions, signatures));
        Ja4(out.text)
    }

    fn write_ja3(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{},", self.legacy_version())?;
        write_numbers(out, self.cipher_suites())?;
        out.write_char(',')?;
        write_numbers(out, self.extensions().map(|(kind, _)| kind))?;
        out.write_char(',')?;
        write_numbers(out, self.supported_groups())?;
        out.write_char(',')?;
        write_numbers(
            out,
            self.point_formats().iter().map(|byte| u16::from(*byte)),
        )
    }
}

impl ServerHello<'_> {
    /// JA3S: MD5 of [`Self::ja3s_string`].
    pub fn ja3s(&self) -> [u8; 16] {
        md5_of(|out| self.write_ja3s(out))
    }

    /// The text beneath JA3S: `version,cipher,extensions`, decimal, GREASE left out.
    pub fn ja3s_string(&self) -> String {
        let mut out = String::new();
        // writing to a String cannot fail
        let _ = self.write_ja3s(&mut out);
        out
    }

    fn write_ja3s(&self, out: &mut dyn Write) -> fmt::Result {
        write!(out, "{},{},", self.legacy_version(), self.cipher_suite())?;
        write_numbers(out, self.extensions().map(|(kind, _)| kind))
    }
}

/// Whether a value is one of the sixteen reserved by GREASE (RFC 8701 section 2).
const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn write_numbers(out: &mut dyn Write, numbers: impl Iterator<Item = u16>) -> fmt::Result {
    let mut first = true;
    for number in numbers.filter(|number| !is_grease(*number)) {
        if !first {
            out.write_char('-')?;
        }
        first = false;
        write!(out, "{number}")?;
    }
    Ok(())
}

/// MD5 of what `write` writes, without holding the text.
fn md5_of(write: impl FnOnce(&mut dyn Write) -> fmt::Result) -> [u8; 16] {
    struct Hasher(Md5);
    impl Write for Hasher {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut hasher = Hasher(Md5::new());
    // hashing cannot fail
    let _ = write(&mut hasher);
    hasher.0.finalize().into()
}

const fn version_code(version: u16) -> &'static [u8; 2] {
    match version {
        0x0304 => b"13",
        0x0303 => b"12",
        0x0302 => b"11",
        0x0301 => b"10",
        0x0300 => b"s3",
        0x0002 => b"s2",
        0xfeff => b"d1",
        0xfefd => b"d2",
        0xfefc => b"d3",
        _ => b"00",
    }
}

/// A count in two decimal digits, 99 for all beyond.
fn two_digits(count: usize) -> [u8; 2] {
    let count = u8::try_from(count.min(99)).unwrap_or(99);
    [b'0' + count / 10, b'0' + count % 10]
}

/// First and last character of an application protocol.
///
/// Octets beyond ASCII count as `9` each: the specification asks for hex there, but both
/// implementations of its authors write `99`, and so do the indicators made with them.
fn protocol_code(protocol: &[u8]) -> [u8; 2] {
    let (Some(first), Some(last)) = (protocol.first(), protocol.last()) else {
        return *b"00";
    };
    if !first.is_ascii() || !last.is_ascii() {
        [*first, *last].map(|octet| if octet.is_ascii() { octet } else { b'9' })
    } else if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        [*first, *last]
    } else {
        [hex_digit(first >> 4), hex_digit(last & 0x0f)]
    }
}

/// The first 12 hexadecimal digits of SHA-256 over `sorted`, then `_` and `ordered` where that
/// is not empty; all values as four hexadecimal digits joined by commas. No values at all: zeros.
fn short_hash(sorted: &[u16], ordered: impl Iterator<Item = u16>) -> [u8; 12] {
    if sorted.is_empty() {
        return [b'0'; 12];
    }
    let mut hasher = Sha256::new();
    let mut separator: &[u8] = b"";
    let mut update = |value: u16, separator: &[u8]| {
        hasher.update(separator);
        hasher.update(hex4(value));
    };
    for value in sorted {
        update(*value, separator);
        separator = b",";
    }
    separator = b"_";
    for value in ordered {
        update(value, separator);
        separator = b",";
    }
    let mut out = [b'0'; 12];
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(hasher.finalize()) {
        *pair = [hex_digit(byte >> 4), hex_digit(byte & 0x0f)];
    }
    out
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 {
        b'0' + nibble
    } else {
        b'a' + (nibble & 0x0f) - 10
    }
}

const fn hex4(value: u16) -> [u8; 4] {
    let [high, low] = value.to_be_bytes();
    [
        hex_digit(high >> 4),
        hex_digit(high & 0x0f),
        hex_digit(low >> 4),
        hex_digit(low & 0x0f),
    ]
}

/// Fills the 36 characters in order.
struct Ja4Writer {
    text: [u8; 36],
    filled: usize,
}

impl Default for Ja4Writer {
    fn default() -> Self {
        Self {
            text: [b'0'; 36],
            filled: 0,
        }
    }
}

impl Ja4Writer {
    fn push(&mut self, part: &[u8]) {
        let end = self.filled + part.len();
        if let Some(place) = self.text.get_mut(self.filled..end) {
            place.copy_from_slice(part);
            self.filled = end;
        }
    }
}
