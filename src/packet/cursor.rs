//! A cursor over the layers of one frame or reassembled datagram.
//!
//! Unlike [`Octets`](crate::octets::Octets) it knows two ends: where the
//! captured bytes end, and where the layer ends on the wire. Their difference
//! is what the snap length cut off, which is no fault of the sender.

use super::Outcome;
use super::Payload;
use super::Step;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

/// What is left of the layer at hand.
///
/// Passing over bytes changes `rest` and `offset` alone: two neighbouring numbers that move
/// together would be moved by one vector instruction, which waits for their stores to leave the
/// core, 30 ns a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    /// Captured bytes from here to the end of the layer.
    rest: &'a [u8],
    /// Offset of `rest` from the start of the frame or datagram.
    offset: usize,
    /// Bytes of the layer on the wire beyond the captured ones.
    beyond: usize,
    /// Whether a layer may say that it is longer than what encloses it: the frame, whose
    /// length on the wire not every capture tells, and mirrored frames that the mirror cut.
    pub(super) lenient: bool,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`, of which there were `wire` on the wire.
    pub(super) fn new(bytes: &'a [u8], wire: usize, lenient: bool) -> Self {
        Self {
            rest: bytes,
            offset: 0,
            beyond: wire.saturating_sub(bytes.len()),
            lenient,
        }
    }

    /// Captured bytes from here to the end of the layer.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes from here to the end of the layer on the wire.
    pub(super) fn wire(&self) -> usize {
        self.rest.len() + self.beyond
    }

    /// Whether the snap length cut bytes of this layer off.
    pub(super) fn is_cut(&self) -> bool {
        self.beyond > 0
    }

    /// The next `N` bytes, not passed over; `short` is the anomaly when the layer has not as many.
    #[inline(always)]
    pub(super) fn peek<const N: usize>(&self, short: &'static str) -> Step<&'a [u8; N]> {
        match self.rest.first_chunk() {
            Some(bytes) => Continue(bytes),
            None => Break(self.lack(N, short)),
        }
    }

    /// The next `N` bytes, passed over.
    #[inline(always)]
    pub(super) fn take<const N: usize>(&mut self, short: &'static str) -> Step<&'a [u8; N]> {
        let bytes = self.peek(short)?;
        self.skip(N, short)?;
        Continue(bytes)
    }

    /// Passes over `n` bytes.
    #[inline(always)]
    pub(super) fn skip(&mut self, n: usize, short: &'static str) -> Step<()> {
        match self.rest.get(n..) {
            Some(rest) => {
                self.rest = rest;
                self.offset += n;
                Continue(())
            }
            None => Break(self.lack(n, short)),
        }
    }

    /// The layer ends `n` bytes from here: what follows is padding, or is missing.
    #[inline(always)]
    pub(super) fn set_end(&mut self, n: usize) {
        match self.rest.get(..n) {
            Some(rest) => {
                self.rest = rest;
                self.beyond = 0;
            }
            None => self.beyond = n - self.rest.len(),
        }
    }

    /// The last `n` bytes are a trailer.
    pub(super) fn trim(&mut self, n: usize) {
        self.set_end(self.wire().saturating_sub(n));
    }

    /// What follows a header of `header` bytes, of which the end may be cut.
    #[inline(always)]
    pub(super) fn payload(&self, header: usize) -> Payload {
        let captured = header.min(self.rest.len());
        let length = self.rest.len() - captured;
        Payload {
            // a frame is far below 4 GiB: its captured length comes in 32 bits
            start: (self.offset + captured) as u32,
            length: length as u32,
            missing: (self.wire() - captured)
                .saturating_sub(header - captured)
                .saturating_sub(length) as u32,
        }
    }

    #[cold]
    fn lack(&self, n: usize, short: &'static str) -> Outcome {
        if n <= self.wire() {
            CUT
        } else {
            Outcome::Anomaly(short)
        }
    }
}

/// Headers that the snap length cut off.
pub(super) const CUT: Outcome = Outcome::Anomaly("frame.cut");
