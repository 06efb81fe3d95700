//! Link headers, and what lies between them and IP: VLAN tags, LLC, PPP, MPLS.
//!
//! Read first: <https://www.tcpdump.org/linktypes.html>.

use super::Layer;
use super::Outcome;
use super::Step;
use super::Walk;
use super::cursor::Cursor;
use super::wireless;
use etherparse::EtherType;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

/// How frames of a capture begin: a LINKTYPE_ value of pcap and pcapng.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: an address family in the byte order of the capturing host.
    pub const NULL: Self = Self(0);
    /// Ethernet II and IEEE 802.3.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without address and control fields.
    pub const PPP: Self = Self(9);
    /// FDDI.
    pub const FDDI: Self = Self(10);
    /// PPP in HDLC-like framing (RFC 1662), or Cisco HDLC.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE without the Ethernet header.
    pub const PPP_ETHER: Self = Self(51);
    /// An IP packet, told by its version.
    pub const RAW: Self = Self(101);
    /// DLT_RAW as most systems number it, written to files by mistake.
    pub const DLT_RAW: Self = Self(12);
    /// DLT_RAW as OpenBSD numbers it, written to files by mistake.
    pub const DLT_RAW_OPENBSD: Self = Self(14);
    /// Cisco HDLC.
    pub const C_HDLC: Self = Self(104);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// OpenBSD loopback: an address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// OpenBSD's decrypted IPsec.
    pub const ENC: Self = Self(109);
    /// Linux cooked capture.
    pub const LINUX_SLL: Self = Self(113);
    /// OpenBSD's packet filter log.
    pub const PFLOG: Self = Self(117);
    /// IEEE 802.11 behind a Prism header.
    pub const PRISM: Self = Self(119);
    /// IEEE 802.11 behind a radiotap header.
    pub const IEEE802_11_RADIOTAP: Self = Self(127);
    /// IEEE 802.11 behind an AVS header.
    pub const AVS: Self = Self(163);
    /// Per-packet information around another link type.
    pub const PPI: Self = Self(192);
    /// PPP behind one byte that tells the direction.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// An IPv4 packet.
    pub const IPV4: Self = Self(228);
    /// An IPv6 packet.
    pub const IPV6: Self = Self(229);
    /// Linux netfilter log.
    pub const NFLOG: Self = Self(239);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
}

/// Passes over the header of a link type.
#[inline(always)]
pub(super) fn link(cursor: &mut Cursor<'_>, link: LinkType) -> Step {
    match link {
        LinkType::ETHERNET => ethernet(cursor),
        _ => other_link(cursor, link),
    }
}

/// Ethernet II or IEEE 802.3.
#[inline(always)]
pub(super) fn ethernet(cursor: &mut Cursor<'_>) -> Step {
    let h = cursor.take::<14>("ethernet.short")?;
    Continue(type_or_length(u16::from_be_bytes([h[12], h[13]])))
}

fn other_link(cursor: &mut Cursor<'_>, link: LinkType) -> Step {
    match link {
        LinkType::NULL | LinkType::LOOP => {
            let family = u32::from_be_bytes(*cursor.take("null.short")?);
            match (family, family.swap_bytes()) {
                (2, _) | (_, 2) => Continue(Layer::Ipv4),
                // AF_INET6 of Linux, NetBSD and OpenBSD, FreeBSD, macOS
                (10 | 24 | 28 | 30, _) | (_, 10 | 24 | 28 | 30) => Continue(Layer::Ipv6),
                _ => Break(Outcome::NotIp),
            }
        }
        LinkType::RAW | LinkType::DLT_RAW | LinkType::DLT_RAW_OPENBSD => Continue(Layer::Ip),
        LinkType::IPV4 => Continue(Layer::Ipv4),
        LinkType::IPV6 => Continue(Layer::Ipv6),
        LinkType::LINUX_SLL => {
            // packet type, ARPHRD_ type, address length, address, protocol
            let h = cursor.take::<16>("sll.short")?;
            let hardware = u16::from_be_bytes([h[2], h[3]]);
            cooked(hardware, u16::from_be_bytes([h[14], h[15]]))
        }
        LinkType::LINUX_SLL2 => {
            // protocol, reserved, interface, ARPHRD_ type, packet type, address length, address
            let h = cursor.take::<20>("sll2.short")?;
            let hardware = u16::from_be_bytes([h[8], h[9]]);
            cooked(hardware, u16::from_be_bytes([h[0], h[1]]))
        }
        LinkType::PPP => Continue(Layer::Ppp),
        LinkType::PPP_WITH_DIR => {
            cursor.skip(1, "ppp.short")?;
            Continue(Layer::Ppp)
        }
        LinkType::PPP_HDLC => match cursor.peek("ppp.short")? {
            [CISCO_UNICAST | CISCO_MULTICAST] => cisco_hdlc(cursor),
            _ => Continue(Layer::Ppp),
        },
        LinkType::C_HDLC => cisco_hdlc(cursor),
        LinkType::PPP_ETHER => pppoe(cursor),
        LinkType::FDDI => {
            // frame control, two addresses; LLC frames are 0b01xx_0xxx
            match cursor.take::<13>("fddi.short")? {
                [control, ..] if control & 0xc8 == 0x40 => Continue(Layer::Llc),
                _ => Break(Outcome::NotIp),
            }
        }
        LinkType::ENC => {
            // address family, security parameter index, flags
            cursor.skip(12, "enc.short")?;
            Continue(Layer::Ip)
        }
        LinkType::PFLOG => {
            // the header's length without padding, address family, action, ...
            let [length, ..] = *cursor.peek::<4>("pflog.short")?;
            cursor.skip(usize::from(length).next_multiple_of(4), "pflog.short")?;
            Continue(Layer::Ip)
        }
        LinkType::NFLOG => nflog(cursor),
        LinkType::IEEE802_11 => wireless::ieee80211(cursor, false),
        LinkType::IEEE802_11_RADIOTAP => wireless::radiotap(cursor),
        LinkType::PRISM | LinkType::AVS => wireless::prism_or_avs(cursor),
        LinkType::PPI => wireless::ppi(cursor),
        _ => Break(Outcome::Unsupported(link)),
    }
}

/// What the field behind the addresses of Ethernet says: an EtherType, or the length of an
/// LLC frame (IEEE 802.3, section 3.2.6).
#[inline(always)]
fn type_or_length(value: u16) -> Layer {
    if value >= 0x0600 {
        Layer::EtherType(EtherType(value))
    } else {
        Layer::Llc
    }
}

/// What an EtherType stands for.
#[inline(always)]
pub(super) fn ether_type(walk: &mut Walk<'_>, kind: EtherType) -> Step {
    match kind {
        EtherType::IPV4 => Continue(Layer::Ipv4),
        EtherType::IPV6 => Continue(Layer::Ipv6),
        _ => other_ether_type(walk, kind),
    }
}

fn other_ether_type(walk: &mut Walk<'_>, kind: EtherType) -> Step {
    let cursor = &mut walk.cursor;
    match kind {
        EtherType::VLAN_TAGGED_FRAME
        | EtherType::PROVIDER_BRIDGING
        | EtherType::VLAN_DOUBLE_TAGGED_FRAME
        | DOUBLE_TAGGED_9200 => {
            let [a, b, c, d] = *cursor.take("vlan.short")?;
            if !walk.inside {
                walk.vlan.add(u16::from_be_bytes([a, b]));
            }
            Continue(type_or_length(u16::from_be_bytes([c, d])))
        }
        BACKBONE_BRIDGING => {
            // IEEE 802.1ah: flags and service id, then the customer's frame
            cursor.skip(4, "backbone.short")?;
            Continue(Layer::Ethernet)
        }
        FABRIC_PATH => {
            // Cisco: a tag behind addresses of its own, then the frame
            cursor.skip(2, "fabric-path.short")?;
            Continue(Layer::Ethernet)
        }
        VN_TAG | E_TAG => {
            // tags of ports: 4 bytes, or 6 (IEEE 802.1BR)
            let tag = if kind == E_TAG { 6 } else { 4 };
            cursor.skip(tag, "port-tag.short")?;
            let inner = u16::from_be_bytes(*cursor.take("port-tag.short")?);
            Continue(type_or_length(inner))
        }
        MPLS | MPLS_UPSTREAM => Continue(Layer::Mpls),
        PPPOE => pppoe(cursor),
        PPP => Continue(Layer::Ppp),
        BRIDGED_ETHERNET => Continue(Layer::Ethernet),
        SERVICE_HEADER => Continue(Layer::ServiceHeader),
        _ => Break(Outcome::NotIp),
    }
}

/// Linux's two cooked headers. `hardware` tells how to read `protocol`.
fn cooked(hardware: u16, protocol: u16) -> Step {
    match (hardware, protocol) {
        // netlink has families of its own there; radiotap frames have none
        (ARPHRD_NETLINK, _) => Break(Outcome::NotIp),
        (ARPHRD_RADIOTAP, _) => Continue(Layer::Link(LinkType::IEEE802_11_RADIOTAP)),
        (_, SLL_ETHERNET) => Continue(Layer::Ethernet),
        (_, SLL_LLC) => Continue(Layer::Llc),
        (_, SLL_PPP) => Continue(Layer::Ppp),
        (_, 0x0600..) => Continue(Layer::EtherType(EtherType(protocol))),
        _ => Break(Outcome::NotIp),
    }
}

/// IEEE 802.2 logical link control.
pub(super) fn llc(cursor: &mut Cursor<'_>) -> Step {
    match cursor.take::<3>("llc.short")? {
        // SNAP (RFC 1042): organisation, then an EtherType where the organisation is none,
        // or 802.1H's bridge-tunnel encapsulation
        [0xaa, 0xaa, 0x03] => match *cursor.take::<5>("llc.short")? {
            [0, 0, 0 | 0xf8, high, low] => {
                Continue(Layer::EtherType(EtherType(u16::from_be_bytes([high, low]))))
            }
            _ => Break(Outcome::NotIp),
        },
        // the service access point of IP itself (RFC 948)
        [0x06, 0x06, 0x03] => Continue(Layer::Ipv4),
        _ => Break(Outcome::NotIp),
    }
}

/// PPP (RFC 1661, RFC 1662): address and control may be left out, and so may the upper byte
/// of the protocol.
pub(super) fn ppp(cursor: &mut Cursor<'_>) -> Step {
    if cursor.rest().starts_with(&[0xff, 0x03]) {
        cursor.skip(2, "ppp.short")?;
    }
    let [first] = *cursor.take("ppp.short")?;
    let protocol = if first & 1 == 1 {
        u16::from(first)
    } else {
        let [second] = *cursor.take("ppp.short")?;
        u16::from_be_bytes([first, second])
    };
    match protocol {
        0x0021 => Continue(Layer::Ipv4),
        0x0057 => Continue(Layer::Ipv6),
        0x0281 | 0x0283 => Continue(Layer::Mpls),
        _ => Break(Outcome::NotIp),
    }
}

/// PPPoE (RFC 2516, section 4); discovery has other codes.
fn pppoe(cursor: &mut Cursor<'_>) -> Step {
    let [version_type, code, _, _, a, b] = *cursor.take("pppoe.short")?;
    if version_type != 0x11 {
        return Break(Outcome::Anomaly("pppoe.version"));
    }
    if code != 0 {
        return Break(Outcome::NotIp);
    }
    let length = usize::from(u16::from_be_bytes([a, b]));
    if length <= cursor.wire() {
        cursor.set_end(length);
    }
    Continue(Layer::Ppp)
}

/// Address, control, EtherType.
fn cisco_hdlc(cursor: &mut Cursor<'_>) -> Step {
    let [_, _, high, low] = *cursor.take("hdlc.short")?;
    let kind = EtherType(u16::from_be_bytes([high, low]));
    Continue(Layer::EtherType(kind))
}

/// Netfilter log: family, version, resource id, then records of length, type and value in
/// the byte order of the capturing host, of which one is the packet.
fn nflog(cursor: &mut Cursor<'_>) -> Step {
    let [family, version, _, _] = *cursor.take("nflog.short")?;
    if version != 0 {
        return Break(Outcome::Anomaly("nflog.version"));
    }
    loop {
        let [a, b, c, d] = *cursor.peek("nflog.no-payload")?;
        let little = usize::from(u16::from_le_bytes([a, b]));
        let (length, kind) = if (4..=cursor.wire()).contains(&little) {
            (little, u16::from_le_bytes([c, d]))
        } else {
            let big = usize::from(u16::from_be_bytes([a, b]));
            (big, u16::from_be_bytes([c, d]))
        };
        if length < 4 {
            return Break(Outcome::Anomaly("nflog.length"));
        }
        if kind & 0x7fff == NFULA_PAYLOAD {
            if length <= cursor.wire() {
                cursor.set_end(length);
            }
            cursor.skip(4, "nflog.length")?;
            return match family {
                2 => Continue(Layer::Ipv4),
                10 => Continue(Layer::Ipv6),
                _ => Break(Outcome::NotIp),
            };
        }
        cursor.skip(length.next_multiple_of(4), "nflog.length")?;
    }
}

/// A label of an MPLS stack (RFC 3032). What lies under the last one is not told: IP by its
/// version, else Ethernet, behind a control word (RFC 4385, RFC 4448) where there is one.
pub(super) fn mpls(cursor: &mut Cursor<'_>) -> Step {
    let [_, _, bottom, _] = cursor.take::<4>("mpls.short")?;
    if bottom & 1 == 0 {
        return Continue(Layer::Mpls);
    }
    let rest = cursor.rest();
    let [first] = cursor.peek("mpls.short")?;
    let number_at = |at| {
        let number = rest.get(at..).and_then(|rest| rest.first_chunk());
        number.map(|number| usize::from(u16::from_be_bytes(*number)))
    };
    let is_ethernet = number_at(12).is_some_and(|kind| known_type(kind as u16));
    match first >> 4 {
        // a card's address may begin so too, and a source address look like an EtherType
        4 if !is_ethernet || number_at(2) == Some(cursor.wire()) => Continue(Layer::Ipv4),
        6 if !is_ethernet || number_at(4).map(|n| n + 40) == Some(cursor.wire()) => {
            Continue(Layer::Ipv6)
        }
        0 if !is_ethernet => {
            cursor.skip(4, "mpls.short")?;
            Continue(Layer::Ethernet)
        }
        // an associated channel (RFC 5586)
        1 if !is_ethernet => Break(Outcome::NotIp),
        _ => Continue(Layer::Ethernet),
    }
}

/// EtherTypes by which Ethernet is told from what else may lie there.
fn known_type(kind: u16) -> bool {
    matches!(
        EtherType(kind),
        EtherType::IPV4
            | EtherType::IPV6
            | EtherType::ARP
            | EtherType::VLAN_TAGGED_FRAME
            | EtherType::PROVIDER_BRIDGING
            | MPLS
            | PPPOE
    )
}

const MPLS: EtherType = EtherType(0x8847);
const MPLS_UPSTREAM: EtherType = EtherType(0x8848);
const PPPOE: EtherType = EtherType(0x8864);
/// PPP as GRE carries it (RFC 2637).
const PPP: EtherType = EtherType(0x880b);
/// Transparent Ethernet bridging (RFC 1701).
const BRIDGED_ETHERNET: EtherType = EtherType(0x6558);
/// Network service header (RFC 8300).
const SERVICE_HEADER: EtherType = EtherType(0x894f);
const BACKBONE_BRIDGING: EtherType = EtherType(0x88e7);
const FABRIC_PATH: EtherType = EtherType(0x8903);
const VN_TAG: EtherType = EtherType(0x8926);
const E_TAG: EtherType = EtherType(0x893f);
/// Tags of switches older than IEEE 802.1ad.
const DOUBLE_TAGGED_9200: EtherType = EtherType(0x9200);

const ARPHRD_RADIOTAP: u16 = 803;
const ARPHRD_NETLINK: u16 = 824;
/// Linux's ETH_P_ values below 0x600.
const SLL_ETHERNET: u16 = 3;
const SLL_LLC: u16 = 4;
const SLL_PPP: u16 = 8;

const CISCO_UNICAST: u8 = 0x0f;
const CISCO_MULTICAST: u8 = 0x8f;

const NFULA_PAYLOAD: u16 = 9;
