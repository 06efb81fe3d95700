//! The block format (draft-ietf-opsawg-pcapng): sections, interfaces, packets.

use crate::capture::FrameRecord;
use crate::octets::Octets;
use crate::octets::ParseError;
use crate::time::Timestamp;

use super::ByteOrder;
use super::Next;
use super::Walk;
use super::error::Fault;
use super::error::Warnings;
use super::reader::MAX_FRAME;
use super::reader::MAX_RECORD;

/// Where a walk over the blocks stands.
#[derive(Debug)]
pub(super) struct Pcapng {
    /// Of the section that the walk is in.
    order: ByteOrder,
    /// Those that the section has described so far; a block names them by index.
    interfaces: Vec<Interface>,
    /// Of the last frame that had one.
    timestamp: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    link: u16,
    /// The most that is captured of a frame; 0: no limit.
    snaplen: u32,
    clock: Clock,
}

/// What a timestamp of an interface means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clock {
    tick: Tick,
    /// Seconds to add.
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tick {
    /// So many nanoseconds each.
    Nanoseconds(u64),
    /// So many of them are one nanosecond.
    PerNanosecond(u64),
    /// A second has two to this power of them.
    Binary(u8),
}

impl Pcapng {
    /// At the start of a file, before its first section header.
    pub(super) const fn new() -> Self {
        Self {
            order: ByteOrder::Little,
            interfaces: Vec::new(),
            timestamp: Timestamp::MIN,
        }
    }

    /// Whether a file that starts so is of this format.
    pub(super) fn is_start(head: &[u8]) -> bool {
        head.starts_with(&SECTION_HEADER.to_be_bytes())
    }

    /// Takes the whole blocks at the start of `bytes`, which come `offset` bytes after the
    /// start of the file.
    pub(super) fn walk(
        &mut self,
        bytes: &[u8],
        offset: u64,
        frames: &mut Vec<FrameRecord>,
        warnings: &mut Warnings,
    ) -> Walk {
        let mut at = 0;
        let next = loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let Some([t0, t1, t2, t3, l0, l1, l2, l3, m0, m1, m2, m3]) =
                rest.first_chunk::<MIN_BLOCK>()
            else {
                break Next::More(MIN_BLOCK);
            };
            // the type of a section header reads the same both ways, so that the order can
            // be told from the magic behind it (section 4.1)
            if u32::from_be_bytes([*t0, *t1, *t2, *t3]) == SECTION_HEADER {
                match section_order([*m0, *m1, *m2, *m3]) {
                    Ok(order) => self.order = order,
                    Err(fault) => break Next::Fault(fault),
                }
            }
            let kind = self.order.u32([*t0, *t1, *t2, *t3]);
            let length = self.order.u32([*l0, *l1, *l2, *l3]);
            // section 3.1: a multiple of 4, and at least type and both lengths
            if (length as usize) < MIN_BLOCK || !length.is_multiple_of(4) {
                break Next::Fault(Fault::BlockLength { kind, length });
            }
            let Some(block) = rest.get(..length as usize) else {
                break match kind {
                    SECTION_HEADER | INTERFACE if length as usize > MAX_RECORD => {
                        Next::Fault(Fault::BlockTooLong { kind, length })
                    }
                    ENHANCED_PACKET | SIMPLE_PACKET | PACKET if length as usize > MAX_RECORD => {
                        warnings.add(offset + at as u64, Fault::PacketTooLong { length });
                        Next::Skip(u64::from(length))
                    }
                    SECTION_HEADER | INTERFACE | ENHANCED_PACKET | SIMPLE_PACKET | PACKET => {
                        Next::More(length as usize)
                    }
                    _ => Next::Skip(u64::from(length)),
                };
            };
            let trailing = block.last_chunk().map_or(length, |b| self.order.u32(*b));
            if trailing != length {
                let leading = length;
                let fault = Fault::BlockLengthsDiffer { leading, trailing };
                warnings.add(offset + at as u64, fault);
            }
            match self.take_block(kind, block, at, frames) {
                Ok(()) => {}
                Err(Refusal::Block(fault)) => warnings.add(offset + at as u64, fault),
                Err(Refusal::Rest(fault)) => break Next::Fault(fault),
            }
            at += block.len();
        };
        Walk { consumed: at, next }
    }

    /// Takes one block, which begins `at` bytes after the start of the walk.
    fn take_block(
        &mut self,
        kind: u32,
        block: &[u8],
        at: usize,
        frames: &mut Vec<FrameRecord>,
    ) -> Result<(), Refusal> {
        let too_short = |_: ParseError| Refusal::Block(Fault::BlockContent { kind });
        let order = self.order;
        let body = block.get(..block.len() - 4).unwrap_or_default();
        let mut octets = Octets::new(body);
        octets.skip(8, "block type and length").map_err(too_short)?;
        match kind {
            ENHANCED_PACKET => {
                let packet = PacketFields {
                    interface: order.u32(octets.array("interface").map_err(too_short)?),
                    ticks: self.ticks(&mut octets).map_err(too_short)?,
                    captured: order.u32(octets.array("captured length").map_err(too_short)?),
                    original: order.u32(octets.array("original length").map_err(too_short)?),
                };
                self.push(kind, &packet, &octets, at, frames)
            }
            PACKET => {
                // obsolete (appendix A): the interface has 16 bits, and a drop count follows
                let interface = order.u16(octets.array("interface").map_err(too_short)?);
                octets.skip(2, "drops count").map_err(too_short)?;
                let packet = PacketFields {
                    interface: u32::from(interface),
                    ticks: self.ticks(&mut octets).map_err(too_short)?,
                    captured: order.u32(octets.array("captured length").map_err(too_short)?),
                    original: order.u32(octets.array("original length").map_err(too_short)?),
                };
                self.push(kind, &packet, &octets, at, frames)
            }
            SIMPLE_PACKET => {
                // section 4.4: of the first interface, without a time; captured is what the
                // snap length leaves of the original
                let original = order.u32(octets.array("original length").map_err(too_short)?);
                let snaplen = self.interfaces.first().map_or(0, |first| first.snaplen);
                let limit = if snaplen == 0 { u32::MAX } else { snaplen };
                let packet = PacketFields {
                    interface: 0,
                    ticks: None,
                    captured: original.min(limit),
                    original,
                };
                self.push(kind, &packet, &octets, at, frames)
            }
            INTERFACE => {
                let length = block.len() as u32;
                let interface = self
                    .interface(&mut octets)
                    .map_err(|_| Refusal::Rest(Fault::BlockLength { kind, length }))?;
                if self.interfaces.len() >= MAX_INTERFACES {
                    let limit = MAX_INTERFACES;
                    return Err(Refusal::Rest(Fault::TooManyInterfaces { limit }));
                }
                self.interfaces.push(interface);
                Ok(())
            }
            SECTION_HEADER => {
                let length = block.len() as u32;
                let header: Result<[u8; 8], _> = octets.array("magic and version");
                let Ok([_, _, _, _, j0, j1, n0, n1]) = header else {
                    return Err(Refusal::Rest(Fault::BlockLength { kind, length }));
                };
                let (major, minor) = (order.u16([j0, j1]), order.u16([n0, n1]));
                if major != MAJOR {
                    return Err(Refusal::Rest(Fault::Version {
                        format: "pcapng",
                        major,
                        minor,
                    }));
                }
                self.interfaces.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn ticks(&self, octets: &mut Octets<'_>) -> Result<Option<u64>, ParseError> {
        let high = self.order.u32(octets.array("timestamp (high)")?);
        let low = self.order.u32(octets.array("timestamp (low)")?);
        Ok(Some(u64::from(high) << 32 | u64::from(low)))
    }

    /// Adds the frame whose bytes are next in `octets`.
    fn push(
        &mut self,
        kind: u32,
        packet: &PacketFields,
        octets: &Octets<'_>,
        at: usize,
        frames: &mut Vec<FrameRecord>,
    ) -> Result<(), Refusal> {
        let found = self.interfaces.get(packet.interface as usize);
        let (Some(interface), Ok(index)) = (found, u16::try_from(packet.interface)) else {
            return Err(Refusal::Block(Fault::UnknownInterface {
                interface: packet.interface,
                described: self.interfaces.len(),
            }));
        };
        let length = packet.captured;
        if length > MAX_FRAME {
            return Err(Refusal::Block(Fault::PacketTooLong { length }));
        }
        if length as usize > octets.remaining() {
            return Err(Refusal::Block(Fault::BlockContent { kind }));
        }
        if let Some(ticks) = packet.ticks {
            self.timestamp = interface.clock.timestamp(ticks);
        }
        frames.push(FrameRecord {
            timestamp: self.timestamp,
            start: (at + octets.offset()) as u32,
            length,
            original_length: packet.original.max(length),
            link: interface.link,
            interface: index,
        });
        Ok(())
    }

    /// Reads an interface description behind type and length (section 4.2).
    fn interface(&self, octets: &mut Octets<'_>) -> Result<Interface, ParseError> {
        let link = self.order.u16(octets.array("link type")?);
        octets.skip(2, "reserved")?;
        let snaplen = self.order.u32(octets.array("snap length")?);
        Ok(Interface {
            link,
            snaplen,
            clock: self.clock(octets),
        })
    }

    /// Reads the clock from an interface's options; options that are cut short or have an
    /// odd length are as good as absent.
    fn clock(&self, options: &mut Octets<'_>) -> Clock {
        let mut clock = Clock {
            tick: Tick::Nanoseconds(1_000),
            offset: 0,
        };
        while let Some((code, value)) = self.option(options) {
            match (code, value) {
                (OPTION_END, _) => break,
                (OPTION_RESOLUTION, [resolution]) => clock.tick = Tick::new(*resolution),
                (OPTION_OFFSET, value) => {
                    if let Ok(offset) = value.try_into() {
                        clock.offset = self.order.u64(offset).cast_signed();
                    }
                }
                _ => {}
            }
        }
        clock
    }

    /// The next option (section 3.5): code, length, and a value padded to 32 bits.
    fn option<'a>(&self, options: &mut Octets<'a>) -> Option<(u16, &'a [u8])> {
        let code = self.order.u16(options.array("option code").ok()?);
        let length = self.order.u16(options.array("option length").ok()?) as usize;
        let value = options.take(length, "option value").ok()?;
        let padding = length.next_multiple_of(4) - length;
        options
            .skip(padding.min(options.remaining()), "option padding")
            .ok()?;
        Some((code, value))
    }
}

impl Clock {
    fn timestamp(self, ticks: u64) -> Timestamp {
        let ticks = u128::from(ticks);
        let nanos = match self.tick {
            Tick::Nanoseconds(each) => ticks * u128::from(each),
            Tick::PerNanosecond(count) => ticks / u128::from(count),
            // below 2^94, since a second has fewer than 2^30 nanoseconds
            Tick::Binary(power) => (ticks * u128::from(SECOND)) >> power,
        };
        if self.offset == 0 {
            return Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        let offset = i128::from(self.offset) * i128::from(SECOND);
        let nanos = nanos.cast_signed().saturating_add(offset).max(0);
        Timestamp::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Tick {
    /// From the value of `if_tsresol`: a negative power of 2 where the highest bit is set,
    /// otherwise of 10.
    fn new(resolution: u8) -> Self {
        let power = resolution & 0x7f;
        if resolution & 0x80 != 0 {
            Self::Binary(power)
        } else if power <= 9 {
            Self::Nanoseconds(10_u64.pow(9 - u32::from(power)))
        } else {
            // too fine for 2^64 ticks to make a nanosecond: each is none
            let count = 10_u64.checked_pow(u32::from(power) - 9);
            count.map_or(Self::Nanoseconds(0), Self::PerNanosecond)
        }
    }
}

/// What the packet blocks say of a frame.
struct PacketFields {
    interface: u32,
    /// Time since the epoch in the interface's unit; `None` where the block has none.
    ticks: Option<u64>,
    captured: u32,
    original: u32,
}

/// What a fault costs.
enum Refusal {
    /// This block alone.
    Block(Fault),
    /// All that follows.
    Rest(Fault),
}

fn section_order(magic: [u8; 4]) -> Result<ByteOrder, Fault> {
    match u32::from_be_bytes(magic) {
        BYTE_ORDER_MAGIC => Ok(ByteOrder::Big),
        other if other.swap_bytes() == BYTE_ORDER_MAGIC => Ok(ByteOrder::Little),
        other => Err(Fault::ByteOrderMagic(other)),
    }
}

const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// The only major version.
const MAJOR: u16 = 1;

/// Bytes of the shortest block: type, length and the length once more.
const MIN_BLOCK: usize = 12;

// block types
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

// options of an interface description
const OPTION_END: u16 = 0;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// Interfaces of one section: as many as a frame's 16-bit index can name. The format sets
/// no limit, and a file of nothing else must not fill the memory.
const MAX_INTERFACES: usize = 1 << 16;

const SECOND: u64 = 1_000_000_000;
