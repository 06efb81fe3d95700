//! Laws of the decoder, for frames of any kind.

use crate::packet::Decoder;
use crate::packet::LinkType;
use crate::packet::MAX_DATAGRAMS;
use crate::packet::MAX_FRAGMENT_MEMORY;
use crate::packet::MAX_TUNNEL_DEPTH;
use crate::packet::Outcome;
use crate::packet::Packet;
use crate::time::Timestamp;

/// Frames of one input.
const MOST_FRAMES: usize = 64;

/// Between two frames; rare within one.
const MARK: &[u8] = b"\xfe|\xfe";

/// A frame as a capture gives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'i> {
    pub(crate) link: LinkType,
    pub(crate) timestamp: Timestamp,
    pub(crate) bytes: &'i [u8],
    /// Greater than the length of the bytes where the capture cut the frame.
    pub(crate) original_length: u32,
}

/// Reads frames, with marks of three bytes between them. Each begins with its link type (two
/// bytes) and a byte whose lower four bits say how long after the one before it came (2^n
/// milliseconds; all zeros: 1 s back), the upper ones how many times 16 bytes were cut off.
pub(crate) fn frames(input: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    let mut now = Timestamp::from_nanos(1_700_000_000_000_000_000);
    let mut rest = Some(input);
    while let Some(bytes) = rest.filter(|_| frames.len() < MOST_FRAMES) {
        let end = bytes.windows(MARK.len()).position(|window| window == MARK);
        let frame = &bytes[..end.unwrap_or(bytes.len())];
        rest = end.map(|end| &bytes[end + MARK.len()..]);
        let [high, low, flags, frame @ ..] = frame else {
            continue;
        };
        now = match flags & 0x0f {
            0 => Timestamp::from_nanos(now.as_nanos() - 1_000_000_000),
            exponent => Timestamp::from_nanos(now.as_nanos() + (1_000_000 << exponent)),
        };
        frames.push(Frame {
            link: LinkType(u16::from_be_bytes([*high, *low])),
            timestamp: now,
            bytes: frame,
            original_length: frame.len() as u32 + u32::from(flags >> 4) * 16,
        });
    }
    frames
}

/// Law: a frame is decoded to the same, whatever frames came before it, as long as none of them
/// was a fragment; payloads and tunnels lie within bounds, and so does what fragments take.
pub(crate) fn decode(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let mut decoder = Decoder::new();
    let mut any_fragment = false;
    for frame in frames(input) {
        let mut packet = Packet::default();
        let outcome = decoder.decode(
            frame.link,
            frame.timestamp,
            frame.bytes,
            frame.original_length,
            &mut packet,
        );
        let inner = decoder.inner_anomaly();
        seen(&format!("{outcome:?} {inner:?}"));
        any_fragment |= outcome == Outcome::Fragment || packet.reassembled;
        if outcome == Outcome::Packet {
            let payload = decoder.payload(frame.bytes, &packet);
            assert_eq!(payload.len(), packet.payload.length as usize);
            seen(&format!(
                "{} in {} tunnels, reassembled {}, vlan {}, cut {}",
                usize::from(packet.protocol) + 1000,
                decoder.tunnels().len(),
                packet.reassembled,
                packet.vlan.id().is_some(),
                packet.payload.missing > 0,
            ));
        }
        assert!(decoder.tunnels().len() <= MAX_TUNNEL_DEPTH);
        assert!(decoder.fragment_memory() <= MAX_FRAGMENT_MEMORY);
        assert!(decoder.fragmented_datagrams() <= MAX_DATAGRAMS);
        if any_fragment {
            continue;
        }
        let mut alone = Decoder::new();
        let mut packet_alone = Packet::default();
        let outcome_alone = alone.decode(
            frame.link,
            frame.timestamp,
            frame.bytes,
            frame.original_length,
            &mut packet_alone,
        );
        assert_eq!(outcome_alone, outcome);
        assert_eq!(alone.inner_anomaly(), inner);
        if outcome == Outcome::Packet {
            assert_eq!(packet_alone, packet);
            assert_eq!(alone.tunnels(), decoder.tunnels());
        }
    }
    decoder.expire(Timestamp::MAX);
    assert_eq!(decoder.fragmented_datagrams(), 0);
    assert_eq!(decoder.fragment_memory(), 0);
}
