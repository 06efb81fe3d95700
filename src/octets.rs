//! A cursor over untrusted bytes that always knows its offset.
//!
//! Every parser of the sensor reads through [`Octets`], so that no length or
//! offset taken from the wire is ever used as an unchecked index, and every
//! error says where it happened.

use std::fmt;

/// Why bytes could not be read as what they claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Offset of the offending field from the start of the parsed unit, in bytes.
    pub offset: usize,
    /// What was being read, as a noun phrase ("record length").
    pub what: &'static str,
    /// Lack of bytes or a value that must not be.
    pub kind: ParseErrorKind,
}

/// The two ways in which bytes fail; the first may heal when more arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseErrorKind {
    /// The bytes end early; at least this many more are needed.
    Incomplete(usize),
    /// The value contradicts its specification.
    Malformed,
}

impl ParseError {
    /// A value at `offset` that its specification forbids.
    pub const fn malformed(offset: usize, what: &'static str) -> Self {
        Self {
            offset,
            what,
            kind: ParseErrorKind::Malformed,
        }
    }

    /// Whether more bytes could make the parse succeed.
    pub const fn is_incomplete(&self) -> bool {
        matches!(self.kind, ParseErrorKind::Incomplete(_))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ParseErrorKind::Incomplete(n) => {
                write!(
                    f,
                    "{} at offset {}: {n} bytes more needed",
                    self.what, self.offset
                )
            }
            ParseErrorKind::Malformed => {
                write!(f, "{} at offset {}: malformed", self.what, self.offset)
            }
        }
    }
}

impl std::error::Error for ParseError {}

/// A cursor over untrusted bytes.
///
/// Invariant: `0 <= offset <= bytes.len()`.
#[derive(Clone, Copy, Debug)]
pub struct Octets<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Octets<'a> {
    /// A cursor at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes between the start and the cursor.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes between the cursor and the end.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Whether nothing is left to read.
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// What is left, without consuming it.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.offset..).unwrap_or_default()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], ParseError> {
        let end = self.offset.checked_add(n);
        match end.and_then(|end| self.bytes.get(self.offset..end)) {
            Some(taken) => {
                self.offset += n;
                Ok(taken)
            }
            None => Err(ParseError {
                offset: self.offset,
                what,
                kind: ParseErrorKind::Incomplete(n - self.remaining()),
            }),
        }
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ParseError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    /// Passes over `n` bytes.
    pub fn skip(&mut self, n: usize, what: &'static str) -> Result<(), ParseError> {
        self.take(n, what).map(|_| ())
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, ParseError> {
        self.array::<1>(what).map(|[b]| b)
    }

    /// A 16-bit number in network byte order.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, ParseError> {
        self.array(what).map(u16::from_be_bytes)
    }

    /// A 24-bit number in network byte order.
    pub fn u24(&mut self, what: &'static str) -> Result<u32, ParseError> {
        self.array::<3>(what)
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// A 32-bit number in network byte order.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, ParseError> {
        self.array(what).map(u32::from_be_bytes)
    }

    /// A 64-bit number in network byte order.
    pub fn u64(&mut self, what: &'static str) -> Result<u64, ParseError> {
        self.array(what).map(u64::from_be_bytes)
    }

    /// A cursor over the next `n` bytes alone, which are consumed here.
    pub fn nested(&mut self, n: usize, what: &'static str) -> Result<Self, ParseError> {
        self.take(n, what).map(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_knows_its_offset() {
        let mut o = Octets::new(&[1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(o.u8("a"), Ok(1));
        assert_eq!(o.u16("b"), Ok(0x0203));
        assert_eq!(o.u24("c"), Ok(0x0004_0506));
        assert_eq!(o.offset(), 6);
        assert_eq!(
            o.u16("d"),
            Err(ParseError {
                offset: 6,
                what: "d",
                kind: ParseErrorKind::Incomplete(1)
            })
        );
        assert_eq!(o.rest(), &[7]);
    }

    #[test]
    fn a_length_beyond_the_address_space_is_an_error() {
        let mut o = Octets::new(&[0; 4]);
        o.u8("a").unwrap();
        assert!(o.take(usize::MAX, "huge").unwrap_err().is_incomplete());
    }
}
