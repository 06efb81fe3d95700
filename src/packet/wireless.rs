//! IEEE 802.11 data frames, and the headers that captures put before them.
//!
//! Read first: IEEE 802.11-2020 section 9.2 and 9.3.2, <https://www.radiotap.org>.

use super::Layer;
use super::LinkType;
use super::Outcome;
use super::Step;
use super::cursor::Cursor;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

/// An 802.11 frame without preamble. `padded`: the header is padded to 4 bytes, as some
/// hardware has it.
pub(super) fn ieee80211(cursor: &mut Cursor<'_>, padded: bool) -> Step {
    let [control, flags] = *cursor.peek("ieee80211.short")?;
    if control & 0x03 != 0 {
        return Break(Outcome::Anomaly("ieee80211.version"));
    }
    // management, control, and data frames without data are of no interest, and what is
    // protected cannot be read
    let is_data = control & 0x0c == 0x08;
    let (quality, no_data) = (control & 0x80 != 0, control & 0x40 != 0);
    if !is_data || no_data || flags & PROTECTED != 0 {
        return Break(Outcome::NotIp);
    }
    let h = cursor.peek::<24>("ieee80211.short")?;
    if flags & MORE_FRAGMENTS != 0 || h[22] & 0x0f != 0 {
        return Break(Outcome::Anomaly("ieee80211.fragment"));
    }
    let mut length = 24;
    if flags & (TO_DS | FROM_DS) == TO_DS | FROM_DS {
        length += 6; // the fourth address
    }
    let at_quality = length;
    if quality {
        length += 2;
        if flags & ORDER != 0 {
            length += 4; // high throughput control
        }
    }
    let aggregated = quality
        && cursor
            .rest()
            .get(at_quality)
            .is_some_and(|quality| quality & 0x80 != 0);
    if padded {
        length = length.next_multiple_of(4);
    }
    cursor.skip(length, "ieee80211.short")?;
    if aggregated {
        // an A-MSDU; its first part stands for all: a frame is one packet to us
        let h = cursor.take::<14>("ieee80211.short")?;
        let length = usize::from(u16::from_be_bytes([h[12], h[13]]));
        if length > cursor.wire() {
            return Break(Outcome::Anomaly("ieee80211.length"));
        }
        cursor.set_end(length);
    }
    Continue(Layer::Llc)
}

/// Radiotap: version, padding, header length, a bitmap of fields, the fields; little-endian.
pub(super) fn radiotap(cursor: &mut Cursor<'_>) -> Step {
    let [version, _, a, b, c, d, e, f] = *cursor.peek("radiotap.short")?;
    if version != 0 {
        return Break(Outcome::Anomaly("radiotap.version"));
    }
    let length = usize::from(u16::from_le_bytes([a, b]));
    let header = cursor.rest().get(..length).unwrap_or_default();
    let present = u32::from_le_bytes([c, d, e, f]);
    cursor.skip(length.max(8), "radiotap.length")?;
    let mut at = 8;
    let mut word = present;
    while word & 1 << 31 != 0 {
        let Some(next) = header.get(at..).and_then(|rest| rest.first_chunk()) else {
            return Break(Outcome::Anomaly("radiotap.length"));
        };
        word = u32::from_le_bytes(*next);
        at += 4;
    }
    if present & 1 != 0 {
        at = at.next_multiple_of(8) + 8; // the time
    }
    let flags = if present & 2 != 0 {
        header.get(at).copied().unwrap_or_default()
    } else {
        0
    };
    if flags & RADIOTAP_CHECKSUM != 0 {
        cursor.trim(4);
    }
    ieee80211(cursor, flags & RADIOTAP_PADDED != 0)
}

/// The Prism header, or the AVS header that drivers give in its place.
pub(super) fn prism_or_avs(cursor: &mut Cursor<'_>) -> Step {
    let [a, b, c, d, length @ ..] = *cursor.peek::<8>("prism.short")?;
    let big = u32::from_be_bytes(length);
    let length = match [a, b, c, d] {
        // AVS: magic and version, then the length, in network byte order
        [0x80, 0x21, 0x10, _] => big,
        // Prism: a message code and the length in the byte order of the capturing host
        _ => big.min(big.swap_bytes()),
    };
    cursor.skip(length as usize, "prism.length")?;
    ieee80211(cursor, false)
}

/// Per-packet information: version, flags, header length, link type, fields; little-endian.
pub(super) fn ppi(cursor: &mut Cursor<'_>) -> Step {
    let [version, _, a, b, c, d, _, _] = *cursor.peek("ppi.short")?;
    if version != 0 {
        return Break(Outcome::Anomaly("ppi.version"));
    }
    let length = usize::from(u16::from_le_bytes([a, b]));
    let link = LinkType(u16::from_le_bytes([c, d]));
    let mut fields = cursor.rest().get(8..length).unwrap_or_default();
    cursor.skip(length.max(8), "ppi.length")?;
    if link == LinkType::IEEE802_11 {
        // type, length, value; the 802.11 common field has flags behind a time of 8 bytes
        while let [a, b, c, d, values @ ..] = fields {
            let kind = u16::from_le_bytes([*a, *b]);
            let length = usize::from(u16::from_le_bytes([*c, *d]));
            if kind == PPI_COMMON && values.get(8).is_some_and(|flags| flags & 1 != 0) {
                cursor.trim(4); // the frame check sequence
            }
            fields = values.get(length..).unwrap_or_default();
        }
    }
    Continue(Layer::Link(link))
}

const TO_DS: u8 = 0x01;
const FROM_DS: u8 = 0x02;
const MORE_FRAGMENTS: u8 = 0x04;
const PROTECTED: u8 = 0x40;
const ORDER: u8 = 0x80;

/// The frame check sequence is at the end.
const RADIOTAP_CHECKSUM: u8 = 0x10;
/// The 802.11 header is padded to 4 bytes.
const RADIOTAP_PADDED: u8 = 0x20;

const PPI_COMMON: u16 = 2;
