//! What IP carries: TCP, UDP, tunnels, and whatever else has ports or has none.

use super::Decoder;
use super::Layer;
use super::Outcome;
use super::Packet;
use super::Step;
use super::Tcp;
use super::Walk;
use super::tunnel;
use super::tunnel::Carrier;
use etherparse::IpNumber;
use std::ops::ControlFlow::Break;
use std::ops::ControlFlow::Continue;

impl Decoder {
    /// RFC 9293, section 3.1.
    #[inline(always)]
    pub(super) fn tcp(walk: &Walk<'_>, packet: &mut Packet) -> Step {
        let h = walk.cursor.peek::<20>("tcp.short")?;
        let header = usize::from(h[12] >> 4) * 4;
        if header < 20 || header > walk.cursor.wire() {
            return Break(Outcome::Anomaly("tcp.data-offset"));
        }
        *packet = Packet {
            source_port: u16::from_be_bytes([h[0], h[1]]),
            destination_port: u16::from_be_bytes([h[2], h[3]]),
            tcp: Tcp {
                sequence: u32::from_be_bytes([h[4], h[5], h[6], h[7]]),
                acknowledgment: u32::from_be_bytes([h[8], h[9], h[10], h[11]]),
                window: u16::from_be_bytes([h[14], h[15]]),
                flags: h[13],
            },
            // options are not read: those that were cut are not missed
            ..walk.packet(IpNumber::TCP, header)
        };
        Break(Outcome::Packet)
    }

    /// RFC 768, and the tunnels over UDP.
    #[inline(always)]
    pub(super) fn udp(&mut self, walk: &mut Walk<'_>, packet: &mut Packet) -> Step {
        let [a, b, c, d, e, f, _, _] = *walk.cursor.take("udp.short")?;
        match usize::from(u16::from_be_bytes([e, f])) {
            0 => {} // a jumbogram (RFC 2675, section 4), or left to the card
            length @ 8.. => {
                // a datagram that claims more than there is: what there is
                if length - 8 <= walk.cursor.wire() {
                    walk.cursor.set_end(length - 8);
                }
            }
            _ => return Break(Outcome::Anomaly("udp.length")),
        }
        *packet = Packet {
            source_port: u16::from_be_bytes([a, b]),
            destination_port: u16::from_be_bytes([c, d]),
            ..walk.packet(IpNumber::UDP, 0)
        };
        match Carrier::between(packet.source_port, packet.destination_port) {
            Some(carrier) => self.carried(walk, carrier),
            None => Break(Outcome::Packet),
        }
    }

    /// Any other protocol.
    pub(super) fn other(
        &mut self,
        walk: &mut Walk<'_>,
        number: IpNumber,
        packet: &mut Packet,
    ) -> Step {
        if walk.is_extension(number) {
            return self.extension(walk, number);
        }
        *packet = walk.packet(number, 0);
        match number {
            IpNumber::SCTP | IpNumber::UDP_LITE => {
                let header = if number == IpNumber::SCTP { 12 } else { 8 };
                let [a, b, c, d] = *walk.cursor.peek("transport.short")?;
                *packet = Packet {
                    source_port: u16::from_be_bytes([a, b]),
                    destination_port: u16::from_be_bytes([c, d]),
                    ..walk.packet(number, header)
                };
                Break(Outcome::Packet)
            }
            IpNumber::IPV4 => {
                self.enter(walk)?;
                Continue(Layer::Ipv4)
            }
            IpNumber::IPV6 => {
                self.enter(walk)?;
                Continue(Layer::Ipv6)
            }
            IpNumber::GRE => {
                self.enter(walk)?;
                tunnel::gre(&mut walk.cursor)
            }
            IpNumber::ETHER_IP => {
                self.enter(walk)?;
                tunnel::ether_ip(&mut walk.cursor)
            }
            IpNumber::MPLS_IN_IP => {
                self.enter(walk)?;
                Continue(Layer::Mpls)
            }
            ETHERNET => {
                self.enter(walk)?;
                Continue(Layer::Ethernet)
            }
            _ => Break(Outcome::Packet),
        }
    }

    /// The content of a tunnel over UDP, when the header is such a tunnel's.
    fn carried(&mut self, walk: &mut Walk<'_>, carrier: Carrier) -> Step {
        let mut within = walk.cursor;
        within.lenient = false;
        let Some(layer) = carrier.open(&mut within) else {
            return Break(Outcome::Packet);
        };
        self.enter(walk)?;
        walk.cursor = within;
        Continue(layer)
    }
}

/// Ethernet in IP, as RFC 8986 numbers it.
const ETHERNET: IpNumber = IpNumber(143);
