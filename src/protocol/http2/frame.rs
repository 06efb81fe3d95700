//! Frame headers and the padding within frames (RFC 9113 sections 4.1 and 6).

use crate::flow::Direction;
use crate::protocol::Probe;

/// The header of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameHeader {
    /// Length of the payload in bytes; below 2^24.
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl FrameHeader {
    /// Length of a frame's header in bytes.
    pub(super) const LENGTH: usize = 9;

    pub(super) const fn read(bytes: [u8; Self::LENGTH]) -> Self {
        let [a, b, c, kind, flags, stream @ ..] = bytes;
        Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind,
            flags,
            // the first bit is reserved, and to be ignored
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        }
    }

    /// Whether a flag is set.
    pub(super) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// What of a HEADERS, CONTINUATION or PUSH_PROMISE frame is header block, and the stream
    /// that a PUSH_PROMISE promises; `None` where its parts exceed the frame.
    pub(super) fn block<'a>(&self, payload: &'a [u8]) -> Option<(&'a [u8], Option<u32>)> {
        if self.kind == kind::CONTINUATION {
            return Some((payload, None));
        }
        let (padding, mut rest) = match payload.split_first() {
            Some((padding, rest)) if self.has(flag::PADDED) => (usize::from(*padding), rest),
            None if self.has(flag::PADDED) => return None,
            _ => (0, payload),
        };
        let mut promised = None;
        if self.kind == kind::PUSH_PROMISE {
            let (id, after) = rest.split_first_chunk::<4>()?;
            promised = Some(u32::from_be_bytes(*id) & 0x7fff_ffff);
            rest = after;
        } else if self.has(flag::PRIORITY) {
            rest = rest.get(PRIORITY_LENGTH..)?;
        }
        let end = rest.len().checked_sub(padding)?;
        Some((rest.get(..end)?, promised))
    }
}

/// Whether a direction begins as HTTP/2 does: the client's with the preface, the server's with
/// a SETTINGS frame (RFC 9113 section 3.4).
pub(super) fn probe(direction: Direction, bytes: &[u8]) -> Probe {
    match direction {
        Direction::ToServer => {
            let length = bytes.len().min(PREFACE.len());
            match bytes.get(..length) == PREFACE.get(..length) {
                false => Probe::NotForUs,
                true if length < PREFACE.len() => Probe::Unsure,
                true => Probe::Certain,
            }
        }
        Direction::ToClient => probe_settings(bytes),
    }
}

fn probe_settings(bytes: &[u8]) -> Probe {
    let mut header = [0; FrameHeader::LENGTH];
    // what is missing is taken for what it should be
    header[3] = kind::SETTINGS;
    for (place, byte) in header.iter_mut().zip(bytes) {
        *place = *byte;
    }
    let frame = FrameHeader::read(header);
    let plausible = frame.kind == kind::SETTINGS
        && frame.flags == 0
        && frame.stream == 0
        && frame.length <= MAX_SETTINGS
        && (bytes.len() < 3 || frame.length.is_multiple_of(SETTING_LENGTH));
    if !plausible {
        return Probe::NotForUs;
    }
    let after = bytes.get(FrameHeader::LENGTH..).unwrap_or_default();
    if frame.length == 0 {
        // so many zeros need the next frame beside them
        return match after.first_chunk() {
            None => Probe::Unsure,
            Some(next) if FrameHeader::read(*next).kind <= kind::CONTINUATION => Probe::Certain,
            Some(_) => Probe::NotForUs,
        };
    }
    match after.first_chunk().map(|id| u16::from_be_bytes(*id)) {
        None => Probe::Unsure,
        // those that are registered (IANA "HTTP/2 Settings"), and greased ones
        Some(id) if (1..=0x10).contains(&id) || id & 0x0f0f == 0x0a0a => Probe::Certain,
        Some(_) => Probe::NotForUs,
    }
}

/// What a client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113 section 6).
pub(super) mod kind {
    pub(in crate::protocol::http2) const DATA: u8 = 0;
    pub(in crate::protocol::http2) const HEADERS: u8 = 1;
    pub(in crate::protocol::http2) const RST_STREAM: u8 = 3;
    pub(in crate::protocol::http2) const SETTINGS: u8 = 4;
    pub(in crate::protocol::http2) const PUSH_PROMISE: u8 = 5;
    pub(in crate::protocol::http2) const CONTINUATION: u8 = 9;
}

/// Frame flags (RFC 9113 section 6).
pub(super) mod flag {
    pub(in crate::protocol::http2) const END_STREAM: u8 = 0x01;
    pub(in crate::protocol::http2) const END_HEADERS: u8 = 0x04;
    pub(in crate::protocol::http2) const PADDED: u8 = 0x08;
    pub(in crate::protocol::http2) const PRIORITY: u8 = 0x20;
}

/// Length of the priority in a HEADERS frame, in bytes.
const PRIORITY_LENGTH: usize = 5;

/// Length of one setting, in bytes.
const SETTING_LENGTH: usize = 6;

/// Longest first SETTINGS frame, in bytes: twice the settings that are registered.
const MAX_SETTINGS: usize = 32 * SETTING_LENGTH;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_tell_http2_from_what_looks_like_it() {
        use Direction::*;
        use Probe::*;
        for (direction, bytes, expected) in [
            (ToServer, PREFACE, Certain),
            (ToServer, &PREFACE[..23], Unsure),
            (ToServer, b"", Unsure),
            (ToServer, b"PRI * HTTP/2.0\r\n\r\nXX", NotForUs),
            (ToServer, b"POST / HTTP/1.1", NotForUs),
            // one setting: MAX_CONCURRENT_STREAMS
            (ToClient, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x80", Certain),
            (ToClient, b"\0\0\x06\x04\0\0\0\0\0\0", Unsure),
            (ToClient, b"\0\0\x06\x04\0\0\0\0\0\x77\x77", NotForUs),
            (ToClient, b"\0\0\x06\x04\x01\0\0\0\0", NotForUs),
            (ToClient, b"\0\0\x06\x04\0\0\0\0\x01", NotForUs),
            (ToClient, b"\0\0\x07\x04", NotForUs),
            (ToClient, b"\0\x01", NotForUs),
            (ToClient, b"\0\0", Unsure),
            (ToClient, b"\0\0\x06\x05", NotForUs),
            // no setting, and the acknowledgment of the client's
            (
                ToClient,
                b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0",
                Certain,
            ),
            (ToClient, b"\0\0\0\x04\0\0\0\0\0", Unsure),
            (
                ToClient,
                b"\0\0\0\x04\0\0\0\0\0\0\0\0\x44\x01\0\0\0\0",
                NotForUs,
            ),
            (ToClient, b"HTTP/1.1 200 OK\r\n", NotForUs),
        ] {
            assert_eq!(probe(direction, bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn blocks_are_what_padding_and_priority_leave() {
        for (kind, flags, payload, block) in [
            (kind::HEADERS, 0, &b"abc"[..], Some((&b"abc"[..], None))),
            (
                kind::HEADERS,
                flag::PADDED,
                b"\x02abc\0\0",
                Some((b"abc", None)),
            ),
            (
                kind::HEADERS,
                flag::PRIORITY,
                b"12345abc",
                Some((b"abc", None)),
            ),
            (
                kind::HEADERS,
                flag::PADDED | flag::PRIORITY,
                b"\x0112345abc\0",
                Some((b"abc", None)),
            ),
            (kind::HEADERS, flag::PADDED, b"\x03abc", Some((b"", None))),
            (kind::HEADERS, flag::PADDED, b"\x04abc", None),
            (kind::HEADERS, flag::PADDED, b"", None),
            (kind::HEADERS, flag::PRIORITY, b"1234", None),
            (
                kind::PUSH_PROMISE,
                0,
                b"\x80\0\0\x02abc",
                Some((b"abc", Some(2))),
            ),
            (kind::PUSH_PROMISE, 0, b"\0\0\0", None),
            (
                kind::CONTINUATION,
                0xff,
                b"\x09abc",
                Some((b"\x09abc", None)),
            ),
        ] {
            let header = FrameHeader {
                length: payload.len(),
                kind,
                flags,
                stream: 1,
            };
            assert_eq!(header.block(payload), block, "{payload:x?}");
        }
    }
}
