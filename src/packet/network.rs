//! IPv4 and IPv6 with its extension headers.

use super::Address;
use super::AddressPair;
use super::Decoder;
use super::Layer;
use super::Outcome;
use super::Step;
use super::Walk;
use super::cursor::CUT;
use super::fragment::Fragment;
use super::fragment::Inserted;
use super::fragment::Key;
use etherparse::IpNumber;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

impl Decoder {
    /// IP by its version.
    pub(super) fn ip(walk: &Walk<'_>) -> Step {
        match walk.cursor.peek::<1>("ip.short")?[0] >> 4 {
            4 => Continue(Layer::Ipv4),
            6 => Continue(Layer::Ipv6),
            _ => Break(Outcome::Anomaly("ip.version")),
        }
    }

    /// RFC 791. The header's checksum is not looked at: offloading leaves it to the card.
    #[inline(always)]
    pub(super) fn ipv4(&mut self, walk: &mut Walk<'_>) -> Step {
        let h = walk.cursor.peek::<20>("ipv4.short")?;
        if h[0] >> 4 != 4 {
            return Break(Outcome::Anomaly("ipv4.version"));
        }
        let header = usize::from(h[0] & 0x0f) * 4;
        if header < 20 {
            return Break(Outcome::Anomaly("ipv4.header-length"));
        }
        let total = usize::from(u16::from_be_bytes([h[2], h[3]]));
        if total >= header {
            if total > walk.cursor.wire() && !walk.cursor.lenient {
                return Break(Outcome::Anomaly("ipv4.total-length"));
            }
            walk.cursor.set_end(total);
        } else if total != 0 {
            // 0: segmentation is left to the card, and the frame tells the length
            return Break(Outcome::Anomaly("ipv4.total-length"));
        }
        walk.cursor.skip(header, "ipv4.header-length")?;
        walk.pair = AddressPair {
            source: Address::v4(u32::from_be_bytes([h[12], h[13], h[14], h[15]])),
            destination: Address::v4(u32::from_be_bytes([h[16], h[17], h[18], h[19]])),
        };
        let fragment = u16::from_be_bytes([h[6], h[7]]);
        if fragment & 0x3fff != 0 {
            return self.fragment(
                walk,
                u32::from(u16::from_be_bytes([h[4], h[5]])),
                u32::from(fragment & 0x1fff) * 8,
                fragment & 0x2000 != 0,
                h[9],
            );
        }
        Continue(Layer::Protocol(IpNumber(h[9])))
    }

    /// RFC 8200, section 3.
    #[inline(always)]
    pub(super) fn ipv6(&mut self, walk: &mut Walk<'_>) -> Step {
        if walk.cursor.peek::<40>("ipv6.short")?[0] >> 4 != 6 {
            return Break(Outcome::Anomaly("ipv6.version"));
        }
        let [_, _, _, _, a, b, next, _] = *walk.cursor.take("ipv6.short")?;
        walk.pair = AddressPair {
            source: Address::v6(u128::from_be_bytes(*walk.cursor.take("ipv6.short")?)),
            destination: Address::v6(u128::from_be_bytes(*walk.cursor.take("ipv6.short")?)),
        };
        let length = usize::from(u16::from_be_bytes([a, b]));
        let next = IpNumber(next);
        // 0: a jumbogram (RFC 2675), or segmentation left to the card: the frame tells
        if length != 0 || next == IpNumber::IPV6_NO_NEXT_HEADER {
            if length > walk.cursor.wire() && !walk.cursor.lenient {
                return Break(Outcome::Anomaly("ipv6.payload-length"));
            }
            walk.cursor.set_end(length);
        }
        if walk.pair.source.is_v4() || walk.pair.destination.is_v4() {
            return Break(Outcome::Anomaly("ipv6.reserved-address")); // see Address
        }
        Continue(Layer::Protocol(next))
    }

    /// An extension header of IPv6, or a header of its kind that IPv4 may have too.
    pub(super) fn extension(&mut self, walk: &mut Walk<'_>, number: IpNumber) -> Step {
        if number == IpNumber::IPV6_FRAGMENTATION_HEADER {
            // RFC 8200, section 4.5: next header, reserved, offset and flag, identification
            let [next, _, a, b, identification @ ..] = *walk.cursor.take::<8>("ipv6.extension")?;
            let offset = u16::from_be_bytes([a, b]);
            if offset & 0xfff9 == 0 {
                return Continue(Layer::Protocol(IpNumber(next))); // atomic: RFC 6946
            }
            let identification = u32::from_be_bytes(identification);
            return self.fragment(
                walk,
                identification,
                u32::from(offset & 0xfff8),
                offset & 1 != 0,
                next,
            );
        }
        let [next, length] = *walk.cursor.peek("ipv6.extension")?;
        let length = match number {
            // RFC 4302, section 2.2: units of 4 bytes, less 2
            IpNumber::AUTHENTICATION_HEADER => (usize::from(length) + 2) * 4,
            _ => (usize::from(length) + 1) * 8,
        };
        walk.cursor.skip(length, "ipv6.extension")?;
        Continue(Layer::Protocol(IpNumber(next)))
    }

    /// Keeps a fragment; goes on with the datagram when it is the one that was missing.
    #[cold]
    fn fragment(
        &mut self,
        walk: &Walk<'_>,
        identification: u32,
        offset: u32,
        more: bool,
        protocol: u8,
    ) -> Step {
        if walk.cursor.is_cut() {
            return Break(CUT);
        }
        let AddressPair {
            source,
            destination,
        } = walk.pair;
        let key = Key {
            source,
            destination,
            identification,
            protocol: if source.is_v4() { protocol } else { 0 },
            depth: self.tunnels.len() as u8,
            vlan: walk.vlan.id(),
        };
        let fragment = Fragment {
            offset,
            more,
            protocol: IpNumber(protocol),
            bytes: walk.cursor.rest(),
        };
        let whole = &mut self.reassembled;
        match self.fragments.insert(key, &fragment, walk.now, whole) {
            Inserted::Kept => Break(Outcome::Fragment),
            Inserted::Whole(protocol) => Continue(Layer::Reassembled(protocol)),
            Inserted::Refused(kind) => Break(Outcome::Anomaly(kind)),
        }
    }
}
