//! Long headers (RFC 9000 section 17.2), as far as a datagram's Initial packets need them.

use crate::octets::Octets;
use crate::octets::ParseError;

/// A version of QUIC whose Initial packets can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Drafts 29 to 32, which browsers spoke before the RFC.
    Draft29,
    /// RFC 9000, and drafts 33 and 34, which have its keys.
    V1,
    /// RFC 9369.
    V2,
}

impl Version {
    const fn of_number(number: u32) -> Option<Self> {
        match number {
            0x0000_0001 | 0xff00_0021 | 0xff00_0022 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            0xff00_001d..=0xff00_0020 => Some(Self::Draft29),
            _ => None,
        }
    }

    /// What the two type bits of a long header say in this version.
    const fn kind(self, first: u8) -> Kind {
        match (self, first >> 4 & 3) {
            // RFC 9369 section 3.2: the types are numbered anew
            (Self::V2, 1) | (Self::V1 | Self::Draft29, 0) => Kind::Initial,
            (Self::V2, 0) | (Self::V1 | Self::Draft29, 3) => Kind::Retry,
            _ => Kind::Other,
        }
    }
}

/// Kinds of packets with a long header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Initial,
    /// Has no length; nothing can follow it.
    Retry,
    /// 0-RTT or Handshake: a length, and what nobody else can read.
    Other,
}

/// A connection id of at most 20 bytes (RFC 9000 section 17.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConnectionId {
    bytes: [u8; MAX_CONNECTION_ID],
    length: u8,
}

impl ConnectionId {
    fn read(input: &mut Octets<'_>) -> Result<Self, ParseError> {
        let length = input.u8("connection id length")?;
        if usize::from(length) > MAX_CONNECTION_ID {
            return Err(ParseError::malformed(
                input.offset(),
                "connection id length",
            ));
        }
        let taken = input.take(usize::from(length), "connection id")?;
        let mut bytes = [0; MAX_CONNECTION_ID];
        for (place, byte) in bytes.iter_mut().zip(taken) {
            *place = *byte;
        }
        Ok(Self { bytes, length })
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

/// An Initial packet, still protected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial<'a> {
    pub(super) version: Version,
    pub(super) destination: ConnectionId,
    /// The packet from its first byte to its last.
    pub(super) bytes: &'a [u8],
    /// Where in `bytes` the packet number begins; at most `bytes.len()`.
    pub(super) number_at: usize,
}

/// The Initial packets of a datagram, in order. Other packets with a length are passed over;
/// what has none, or cannot be read, ends the datagram.
#[derive(Clone, Debug)]
pub(super) struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Packets<'a> {
    pub(super) const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// Reads the packet at the start of what is left. `Ok(None)`: one of another kind.
    fn read(&mut self) -> Result<Option<Initial<'a>>, ParseError> {
        let all = std::mem::take(&mut self.rest);
        let mut input = Octets::new(all);
        let first = input.u8("first byte")?;
        if first & LONG_HEADER != LONG_HEADER {
            return Err(ParseError::malformed(0, "long header"));
        }
        let version = Version::of_number(input.u32("version")?)
            .ok_or_else(|| ParseError::malformed(1, "version"))?;
        let kind = version.kind(first);
        let destination = ConnectionId::read(&mut input)?;
        ConnectionId::read(&mut input)?;
        match kind {
            Kind::Retry => return Err(ParseError::malformed(0, "packet type")),
            Kind::Initial => {
                let length = length(&mut input, "token length")?;
                input.skip(length, "token")?;
            }
            Kind::Other => {}
        }
        let length = length(&mut input, "packet length")?;
        let number_at = input.offset();
        input.skip(length, "packet")?;
        let (bytes, rest) = all.split_at_checked(input.offset()).unwrap_or((all, &[]));
        self.rest = rest;
        Ok((kind == Kind::Initial).then_some(Initial {
            version,
            destination,
            bytes,
            number_at,
        }))
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Initial<'a>;

    fn next(&mut self) -> Option<Initial<'a>> {
        // each turn consumes a header at least, or empties what is left
        loop {
            match self.read() {
                Ok(Some(initial)) => return Some(initial),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }
}

/// A number of variable length (RFC 9000 section 16).
pub(super) fn variable(input: &mut Octets<'_>, what: &'static str) -> Result<u64, ParseError> {
    let first = input.u8(what)?;
    let mut number = u64::from(first & 0x3f);
    for _ in 1..1_u32 << (first >> 6) {
        number = number << 8 | u64::from(input.u8(what)?);
    }
    Ok(number)
}

/// A length in bytes; what no memory could hold is longer than any datagram anyway.
pub(super) fn length(input: &mut Octets<'_>, what: &'static str) -> Result<usize, ParseError> {
    variable(input, what).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// The bits of a long header's first byte that are set: the form and the fixed one.
const LONG_HEADER: u8 = 0xc0;

/// RFC 9000 section 17.2, in all versions that are read here.
const MAX_CONNECTION_ID: usize = 20;
