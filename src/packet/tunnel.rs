//! Headers of tunnels: what is in them. A header that is not as it must be is no anomaly
//! where only a port led to it: then the datagram is what its own header says.

use super::Layer;
use super::Outcome;
use super::Step;
use super::cursor::Cursor;
use super::wireless;
use etherparse::EtherType;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

/// A tunnel over UDP, as its port names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Geneve,
    Gre,
    GtpU,
    L2tp,
    Teredo,
    Vxlan,
    VxlanGeneric,
}

impl Carrier {
    /// The tunnel that a datagram between two ports may be part of.
    ///
    /// The port may be the source: a Teredo server answers from its port, and some VXLAN
    /// hosts send from theirs. But a datagram to a well-known port is for that service,
    /// whatever port its sender chose to be taken for a tunnel.
    #[inline(always)]
    pub(super) fn between(source: u16, destination: u16) -> Option<Self> {
        match Self::at(destination) {
            None if destination >= 1024 => Self::at(source),
            carrier => carrier,
        }
    }

    /// The header's content, when this is such a header.
    pub(super) fn open(self, cursor: &mut Cursor<'_>) -> Option<Layer> {
        let step = match self {
            Self::Geneve => geneve(cursor),
            Self::Gre => gre_over_udp(cursor),
            Self::GtpU => gtp_u(cursor),
            Self::L2tp => l2tp(cursor),
            Self::Teredo => teredo(cursor),
            Self::Vxlan => vxlan(cursor),
            Self::VxlanGeneric => vxlan_generic(cursor),
        };
        step.continue_value()
    }

    #[inline(always)]
    fn at(port: u16) -> Option<Self> {
        match port {
            1701 => Some(Self::L2tp),
            2152 => Some(Self::GtpU),
            3544 => Some(Self::Teredo),
            4754 => Some(Self::Gre),
            // 8472: Linux's number before there was one
            4789 | 8472 => Some(Self::Vxlan),
            4790 => Some(Self::VxlanGeneric),
            6081 => Some(Self::Geneve),
            _ => None,
        }
    }
}

/// GRE: version 0 (RFC 1701, RFC 2784, RFC 2890) or 1 (RFC 2637, section 4.1).
pub(super) fn gre(cursor: &mut Cursor<'_>) -> Step {
    let [a, b, c, d] = *cursor.take("gre.short")?;
    let (flags, kind) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    match flags & GRE_VERSION {
        0 => {}
        1 => return pptp(cursor, flags),
        _ => return Break(Outcome::Anomaly("gre.version")),
    }
    for (flag, length) in [
        (GRE_CHECKSUM | GRE_ROUTING, 4),
        (GRE_KEY, 4),
        (GRE_SEQUENCE, 4),
    ] {
        if flags & flag != 0 {
            cursor.skip(length, "gre.short")?;
        }
    }
    if flags & GRE_ROUTING != 0 {
        // source route entries: address family, offset, length, route; nothing ends them
        loop {
            let [family_high, family_low, _, length] = *cursor.take("gre.short")?;
            if [family_high, family_low, length] == [0; 3] {
                break;
            }
            cursor.skip(usize::from(length), "gre.short")?;
        }
    }
    match kind {
        ERSPAN_1_2 if flags & GRE_SEQUENCE == 0 => mirrored(cursor), // type I has no header
        ERSPAN_1_2 => {
            cursor.skip(8, "erspan.short")?;
            mirrored(cursor)
        }
        ERSPAN_3 => {
            let h = cursor.take::<12>("erspan.short")?;
            if h[11] & 1 != 0 {
                cursor.skip(8, "erspan.short")?; // the platform's own
            }
            let is_ip = h[10] >> 2 & 0x1f == 2;
            let layer = mirrored(cursor)?;
            Continue(if is_ip { Layer::Ip } else { layer })
        }
        WCCP => {
            // version 2 has a redirect header, told by what IP cannot begin with
            if cursor.peek::<1>("gre.short")?[0] >> 4 != 4 {
                cursor.skip(4, "gre.short")?;
            }
            Continue(Layer::Ipv4)
        }
        ARUBA_FIRST..=ARUBA_LAST | ARUBA_OTHER => wireless::ieee80211(cursor, false),
        _ => Continue(Layer::EtherType(EtherType(kind))),
    }
}

/// Ethernet in IP (RFC 3378).
pub(super) fn ether_ip(cursor: &mut Cursor<'_>) -> Step {
    match cursor.take("etherip.short")? {
        [0x30, 0] => Continue(Layer::Ethernet),
        _ => Break(Outcome::Anomaly("etherip.version")),
    }
}

/// Network service header (RFC 8300, section 2.2).
pub(super) fn service_header(cursor: &mut Cursor<'_>) -> Step {
    let [_, length, _, next] = *cursor.peek("nsh.short")?;
    let length = usize::from(length & 0x3f) * 4;
    if length < 8 {
        return Break(Outcome::Anomaly("nsh.length"));
    }
    cursor.skip(length, "nsh.short")?;
    next_protocol(next)
}

/// The frame of a mirror port, which may have been cut to fit.
fn mirrored(cursor: &mut Cursor<'_>) -> Step {
    cursor.lenient = true;
    Continue(Layer::Ethernet)
}

/// GRE version 1, behind its first 4 bytes: key (payload length and call), sequence,
/// acknowledgment.
fn pptp(cursor: &mut Cursor<'_>, flags: u16) -> Step {
    let [a, b, _, _] = *cursor.take("gre.short")?;
    for flag in [GRE_SEQUENCE, GRE_ACKNOWLEDGMENT] {
        if flags & flag != 0 {
            cursor.skip(4, "gre.short")?;
        }
    }
    let length = usize::from(u16::from_be_bytes([a, b]));
    if length == 0 {
        return Break(Outcome::NotIp); // an acknowledgment alone
    }
    if length <= cursor.wire() {
        cursor.set_end(length);
    }
    Continue(Layer::Ppp)
}

/// RFC 8086, section 3.1: neither routing nor reserved bits.
fn gre_over_udp(cursor: &mut Cursor<'_>) -> Step {
    let flags = u16::from_be_bytes(*cursor.peek("gre.short")?);
    if flags & !(GRE_CHECKSUM | GRE_KEY | GRE_SEQUENCE) != 0 {
        return Break(Outcome::NotIp);
    }
    gre(cursor)
}

/// RFC 7348, section 5: flags, of which one must be set, network identifier, and reserved
/// bits, which receivers ignore and extensions use; then a frame.
fn vxlan(cursor: &mut Cursor<'_>) -> Step {
    match cursor.take::<8>("vxlan.short")? {
        [flags, ..] if flags & VXLAN_NETWORK != 0 => Continue(Layer::Ethernet),
        _ => Break(Outcome::NotIp),
    }
}

/// VXLAN's generic extension (draft-ietf-nvo3-vxlan-gpe): another flag says that the fourth
/// byte names what follows.
fn vxlan_generic(cursor: &mut Cursor<'_>) -> Step {
    let h = cursor.peek::<8>("vxlan.short")?;
    if h[0] & VXLAN_NEXT == 0 {
        return vxlan(cursor);
    }
    cursor.skip(8, "vxlan.short")?;
    next_protocol(h[3])
}

/// The numbers that VXLAN's generic extension and the network service header share.
fn next_protocol(next: u8) -> Step {
    match next {
        1 => Continue(Layer::Ipv4),
        2 => Continue(Layer::Ipv6),
        3 => Continue(Layer::Ethernet),
        4 => Continue(Layer::ServiceHeader),
        5 => Continue(Layer::Mpls),
        _ => Break(Outcome::NotIp),
    }
}

/// RFC 8926, section 3.4: version and length of options, flags and reserved bits, protocol,
/// network identifier, reserved bits, options. Receivers ignore reserved bits.
fn geneve(cursor: &mut Cursor<'_>) -> Step {
    let [version, flags, a, b, _, _, _, _] = *cursor.take("geneve.short")?;
    if version >> 6 != 0 || flags & GENEVE_CONTROL != 0 {
        return Break(Outcome::NotIp);
    }
    cursor.skip(usize::from(version & 0x3f) * 4, "geneve.short")?;
    Continue(Layer::EtherType(EtherType(u16::from_be_bytes([a, b]))))
}

/// 3GPP TS 29.281, section 5.1: flags, message type, length, tunnel, and where one of three
/// flags is set, sequence, N-PDU number and the type of the first extension header.
fn gtp_u(cursor: &mut Cursor<'_>) -> Step {
    let [flags, message, a, b, _, _, _, _] = *cursor.take("gtp.short")?;
    let length = usize::from(u16::from_be_bytes([a, b]));
    // version 1, not GTP', reserved bit 0; a packet of the user
    if flags & 0xf8 != 0x30 || message != 0xff || length > cursor.wire() {
        return Break(Outcome::NotIp);
    }
    cursor.set_end(length);
    if flags & 0x07 != 0 {
        let [_, _, _, mut next] = *cursor.take("gtp.short")?;
        // section 5.2: length in units of 4 bytes, content, the type of the next
        while flags & GTP_EXTENSION != 0 && next != 0 {
            let [units] = *cursor.peek("gtp.short")?;
            let length = usize::from(units) * 4;
            if length == 0 {
                return Break(Outcome::NotIp);
            }
            next = cursor.rest().get(length - 1).copied().unwrap_or_default();
            cursor.skip(length, "gtp.short")?;
        }
    }
    ip_within(cursor)
}

/// RFC 4380, section 5.1.1: authentication, origin, both or none, then IPv6.
fn teredo(cursor: &mut Cursor<'_>) -> Step {
    if cursor.rest().starts_with(&[0, 1]) {
        // lengths of client identifier and authentication value; nonce and confirmation
        let [_, _, identifier, value] = *cursor.take("teredo.short")?;
        cursor.skip(
            usize::from(identifier) + usize::from(value) + 9,
            "teredo.short",
        )?;
    }
    if cursor.rest().starts_with(&[0, 0]) {
        cursor.skip(8, "teredo.short")?;
    }
    let h = cursor.peek::<40>("teredo.short")?;
    let length = usize::from(u16::from_be_bytes([h[4], h[5]])) + 40;
    // trailers (RFC 6081, section 4.6) count where an address is a Teredo client's
    let client = h[8..12] == TEREDO_PREFIX || h[24..28] == TEREDO_PREFIX;
    if h[0] >> 4 == 6 && (length == cursor.wire() || (client && length < cursor.wire())) {
        Continue(Layer::Ipv6)
    } else {
        Break(Outcome::NotIp)
    }
}

/// RFC 2661, section 3.1: flags and version, length, tunnel and session, sequence numbers,
/// offset, as the flags say; data messages carry PPP.
fn l2tp(cursor: &mut Cursor<'_>) -> Step {
    let flags = u16::from_be_bytes(*cursor.take("l2tp.short")?);
    if flags & (L2TP_CONTROL | L2TP_FIXED) != L2TP_VERSION_2 {
        return Break(Outcome::NotIp);
    }
    if flags & L2TP_LENGTH != 0 {
        // of the whole message, of which 4 bytes are read
        let length = usize::from(u16::from_be_bytes(*cursor.take("l2tp.short")?));
        match length.checked_sub(4) {
            Some(length) if length <= cursor.wire() => cursor.set_end(length),
            _ => return Break(Outcome::NotIp),
        }
    }
    cursor.skip(4, "l2tp.short")?;
    if flags & L2TP_SEQUENCE != 0 {
        cursor.skip(4, "l2tp.short")?;
    }
    if flags & L2TP_OFFSET != 0 {
        let padding = usize::from(u16::from_be_bytes(*cursor.take("l2tp.short")?));
        cursor.skip(padding, "l2tp.short")?;
    }
    Continue(Layer::Ppp)
}

/// IP by its version, of no greater length than there is.
fn ip_within(cursor: &Cursor<'_>) -> Step {
    let [version, _, a, b, c, d] = *cursor.peek("ip.short")?;
    match version >> 4 {
        4 if usize::from(u16::from_be_bytes([a, b])) <= cursor.wire() => Continue(Layer::Ipv4),
        6 if usize::from(u16::from_be_bytes([c, d])) + 40 <= cursor.wire() => Continue(Layer::Ipv6),
        _ => Break(Outcome::NotIp),
    }
}

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_ACKNOWLEDGMENT: u16 = 0x0080;
const GRE_VERSION: u16 = 0x0007;

/// Mirrored frames (draft-foschiano-erspan): types I and II, and type III.
const ERSPAN_1_2: u16 = 0x88be;
const ERSPAN_3: u16 = 0x22eb;
/// Redirected packets (draft-wilson-wrec-wccp-v2).
const WCCP: u16 = 0x883e;
/// 802.11 frames between Aruba's access points and controllers.
const ARUBA_FIRST: u16 = 0x8200;
const ARUBA_LAST: u16 = 0x8370;
const ARUBA_OTHER: u16 = 0x9000;

const VXLAN_NETWORK: u8 = 0x08;
const VXLAN_NEXT: u8 = 0x04;

/// RFC 4380, section 2.6.
const TEREDO_PREFIX: [u8; 4] = [0x20, 0x01, 0, 0];

const GENEVE_CONTROL: u8 = 0x80;

const GTP_EXTENSION: u8 = 0x04;

const L2TP_CONTROL: u16 = 0x8000;
const L2TP_LENGTH: u16 = 0x4000;
const L2TP_SEQUENCE: u16 = 0x0800;
const L2TP_OFFSET: u16 = 0x0200;
/// Reserved bits, which must be 0, and the version.
const L2TP_FIXED: u16 = 0x34ff;
const L2TP_VERSION_2: u16 = 0x0002;
