//! The frames of Initial packets (RFC 9000 sections 12.4 and 19).

use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::quic::packet::length;
use crate::protocol::quic::packet::variable;

/// A CRYPTO frame: a piece of the handshake's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crypto<'a> {
    /// Where in the stream the piece lies; below 2^62.
    pub(super) offset: u64,
    pub(super) bytes: &'a [u8],
}

/// The CRYPTO frames of a decrypted packet, in order; others are passed over.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    rest: Octets<'a>,
    broken: bool,
}

impl<'a> Frames<'a> {
    pub(super) const fn new(frames: &'a [u8]) -> Self {
        Self {
            rest: Octets::new(frames),
            broken: false,
        }
    }

    /// Whether a frame was met that no Initial packet may carry, or that is malformed.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken
    }

    /// The next CRYPTO frame; `Ok(None)` at the end.
    fn read(&mut self) -> Result<Option<Crypto<'a>>, ParseError> {
        let input = &mut self.rest;
        while !input.is_empty() {
            match variable(input, "frame type")? {
                PADDING | PING => {}
                kind @ (ACK | ACK_ECN) => skip_ack(input, kind == ACK_ECN)?,
                CRYPTO => {
                    let offset = variable(input, "crypto offset")?;
                    let length = length(input, "crypto length")?;
                    let bytes = input.take(length, "crypto data")?;
                    return Ok(Some(Crypto { offset, bytes }));
                }
                CONNECTION_CLOSE => {
                    variable(input, "error code")?;
                    variable(input, "frame type")?;
                    let length = length(input, "reason length")?;
                    input.skip(length, "reason")?;
                }
                _ => return Err(ParseError::malformed(input.offset(), "frame type")),
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Crypto<'a>;

    fn next(&mut self) -> Option<Crypto<'a>> {
        if self.broken {
            return None;
        }
        self.read().unwrap_or_else(|_| {
            self.broken = true;
            None
        })
    }
}

/// RFC 9000 section 19.3.
fn skip_ack(input: &mut Octets<'_>, counts: bool) -> Result<(), ParseError> {
    variable(input, "largest acknowledged")?;
    variable(input, "acknowledgment delay")?;
    let ranges = variable(input, "range count")?;
    variable(input, "first range")?;
    // each range takes bytes, so that a false count ends with the packet
    for _ in 0..ranges {
        variable(input, "gap")?;
        variable(input, "range")?;
    }
    if counts {
        for _ in 0..3 {
            variable(input, "congestion count")?;
        }
    }
    Ok(())
}

/// Frame types that Initial packets may carry (RFC 9000 table 3).
const PADDING: u64 = 0x00;
const PING: u64 = 0x01;
const ACK: u64 = 0x02;
const ACK_ECN: u64 = 0x03;
const CRYPTO: u64 = 0x06;
const CONNECTION_CLOSE: u64 = 0x1c;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(frames: &[u8]) -> (Vec<(u64, &[u8])>, bool) {
        let mut read = Frames::new(frames);
        let pieces = read
            .by_ref()
            .map(|crypto| (crypto.offset, crypto.bytes))
            .collect();
        (pieces, read.is_broken())
    }

    #[test]
    fn finds_pieces_between_other_frames() {
        let frames = [
            &[PADDING as u8, PING as u8][..],
            // largest 9, delay 2^14 in four bytes, one range more, first 0, gap 1, range 2
            &[ACK as u8, 9, 0x80, 0, 0x40, 0, 1, 0, 1, 2],
            // offset 0, length 2 written in eight bytes
            &[CRYPTO as u8, 0, 0xc0, 0, 0, 0, 0, 0, 0, 2, b'a', b'b'],
            // the same with three counts and no range
            &[ACK_ECN as u8, 9, 0, 0, 0, 1, 2, 3],
            // code 1, frame 6, reason of one byte
            &[CONNECTION_CLOSE as u8, 1, 6, 1, b'x'],
            &[CRYPTO as u8, 0x40, 70, 1, b'c', PADDING as u8],
        ]
        .concat();
        assert_eq!(read(&frames), (vec![(0, &b"ab"[..]), (70, b"c")], false));
    }

    #[test]
    fn what_cannot_be_read_ends_the_packet() {
        for (frames, pieces) in [
            // STREAM is no frame of Initial packets
            (&[CRYPTO as u8, 0, 1, b'a', 0x08, 0, 0][..], 1),
            // beyond the packet
            (&[CRYPTO as u8, 0, 2, b'a'], 0),
            (
                &[
                    CRYPTO as u8,
                    0,
                    0xff,
                    0xff,
                    0xff,
                    0xff,
                    0xff,
                    0xff,
                    0xff,
                    0xff,
                ],
                0,
            ),
            // more ranges than bytes
            (
                &[
                    ACK as u8, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
                ],
                0,
            ),
            (&[CRYPTO as u8], 0),
        ] {
            let (found, broken) = read(frames);
            assert_eq!((found.len(), broken), (pieces, true), "{frames:?}");
        }
    }
}
