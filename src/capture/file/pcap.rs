//! The classic format (draft-ietf-opsawg-pcap): a file header, then records.

use crate::capture::FrameRecord;
use crate::time::Timestamp;

use super::ByteOrder;
use super::Next;
use super::Walk;
use super::error::Fault;
use super::reader::MAX_FRAME;

/// What the file header says about all records.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pcap {
    order: ByteOrder,
    /// Nanoseconds in a unit of the fraction field.
    unit: u64,
    /// Bytes before a record's frame.
    record_header: usize,
    link: u16,
}

impl Pcap {
    /// Reads the file header; `None` where its magic is another's.
    pub(super) fn new(header: &[u8; Self::HEADER]) -> Option<Result<Self, Fault>> {
        let [m0, m1, m2, m3, j0, j1, n0, n1, .., l0, l1, l2, l3] = *header;
        let magic = [m0, m1, m2, m3];
        let (order, (unit, record_header)) = [ByteOrder::Little, ByteOrder::Big]
            .into_iter()
            .find_map(|order| Some((order, record_format(order.u32(magic))?)))?;
        let (major, minor) = (order.u16([j0, j1]), order.u16([n0, n1]));
        if major != MAJOR {
            return Some(Err(Fault::Version {
                format: "pcap",
                major,
                minor,
            }));
        }
        Some(Ok(Self {
            order,
            unit,
            record_header,
            // the upper half is not the link type's: reserved bits and the FCS length
            link: (order.u32([l0, l1, l2, l3]) & 0xffff) as u16,
        }))
    }

    /// Takes the whole records at the start of `bytes`.
    pub(super) fn walk(&self, bytes: &[u8], frames: &mut Vec<FrameRecord>) -> Walk {
        let order = self.order;
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(header) = rest.first_chunk::<RECORD_HEADER>() else {
                return Walk {
                    consumed: at,
                    next: Next::More(self.record_header),
                };
            };
            let [
                s0,
                s1,
                s2,
                s3,
                f0,
                f1,
                f2,
                f3,
                c0,
                c1,
                c2,
                c3,
                o0,
                o1,
                o2,
                o3,
            ] = *header;
            let captured = order.u32([c0, c1, c2, c3]);
            if captured > MAX_FRAME {
                return Walk {
                    consumed: at,
                    next: Next::Fault(Fault::FrameTooLong { length: captured }),
                };
            }
            let needed = self.record_header + captured as usize;
            if rest.len() < needed {
                return Walk {
                    consumed: at,
                    next: Next::More(needed),
                };
            }
            let seconds = u64::from(order.u32([s0, s1, s2, s3]));
            let fraction = u64::from(order.u32([f0, f1, f2, f3]));
            frames.push(FrameRecord {
                // a fraction of more than a second carries over
                timestamp: Timestamp::from_parts(seconds, fraction * self.unit),
                start: (at + self.record_header) as u32,
                length: captured,
                original_length: order.u32([o0, o1, o2, o3]).max(captured),
                link: self.link,
                interface: 0,
            });
            at += needed;
        }
    }

    /// Bytes of the file header.
    pub(super) const HEADER: usize = 24;
}

/// The unit of fractions in nanoseconds and the length of a record header, by magic.
const fn record_format(magic: u32) -> Option<(u64, usize)> {
    match magic {
        0xa1b2_c3d4 => Some((1_000, RECORD_HEADER)),
        0xa1b2_3c4d => Some((1, RECORD_HEADER)),
        // "modified" libpcap of the 1990s: interface, protocol and packet type follow
        0xa1b2_cd34 => Some((1_000, RECORD_HEADER + 8)),
        _ => None,
    }
}

/// The only major version ever in use.
const MAJOR: u16 = 2;

/// Bytes of a record header that all variants share: seconds, fraction, captured and
/// original length.
const RECORD_HEADER: usize = 16;
