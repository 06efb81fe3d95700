//! One TCP connection: segments in, ordered bytes of both directions out.
//!
//! Read RFC 9293 sections 3.4 (sequence numbers) and 3.10.7 (arriving
//! segments) first. The sensor is neither end: it believes what the other
//! end acknowledges, picks connections up in the middle, and never waits for
//! ever for bytes that the capture lost.

use crate::flow::Direction;
use crate::flow::assembler::Assembler;
use crate::flow::assembler::Chunk;
use crate::flow::assembler::Overlap;
use crate::packet::Tcp;
use crate::time::Timestamp;
use std::time::Duration;

/// Bytes that one direction may hold back while something before them is missing: a full
/// receive window of a fast path (RFC 7323 allows 1 GiB, hosts offer up to 6 MiB, senders
/// rarely have more than 1 MiB beyond a loss).
pub const MAX_HELD_PER_STREAM: usize = 1 << 20;

/// Once the receiver has acknowledged missing bytes, so much capture time may pass until they
/// count as lost by the capture: packets of one host are reordered by milliseconds at most.
pub const GAP_PATIENCE: Duration = Duration::from_millis(500);

/// A segment farther ahead than this belongs to no window that hosts offer (RFC 7323 section 2.2:
/// 1 GiB at most); it is passed over, since believing it would blind the sensor.
const MAX_AHEAD: u64 = 1 << 30;

/// A segment, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// Sequence number of the first byte, or of the SYN.
    pub sequence: u32,
    /// Valid when [`Tcp::ACK`] is set.
    pub acknowledgment: u32,
    /// [`Tcp::SYN`] and its like.
    pub flags: u8,
    /// The bytes that were captured.
    pub payload: &'a [u8],
    /// Bytes of the payload beyond those, cut off by the capture's snap length.
    pub missing: u32,
}

/// What a connection yields.
#[derive(Debug, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// The next bytes of a direction.
    Bytes(Direction, &'a [u8]),
    /// Bytes of a direction that were never seen.
    Gap(Direction, u64),
    /// A direction has ended; nothing follows in it.
    End(Direction),
}

/// Odd things about a segment, as data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// It repeats bytes with other content.
    pub conflicting: bool,
    /// It lies beyond any window.
    pub beyond_window: bool,
    /// Bytes of it that found no room.
    pub refused: usize,
}

/// One TCP connection.
#[derive(Debug)]
pub struct TcpConnection {
    streams: [Stream; 2],
}

#[derive(Debug)]
struct Stream {
    assembler: Assembler,
    /// Sequence number of the stream's first byte; `None` until something told it.
    base: Option<u32>,
    /// Whether the SYN itself was seen.
    opened: bool,
    /// Offset of the end; `None` until a FIN was seen.
    end: Option<u64>,
    /// Highest offset that the other end has acknowledged.
    acknowledged: u64,
    /// Since when held bytes wait for an acknowledged hole; `None`: they do not.
    waiting_since: Option<Timestamp>,
    ended: bool,
}

impl Stream {
    const fn new(overlap: Overlap) -> Self {
        Self {
            assembler: Assembler::new(overlap),
            base: None,
            opened: false,
            end: None,
            acknowledged: 0,
            waiting_since: None,
            ended: false,
        }
    }

    /// Offset of a sequence number, which may lie before or beyond the next byte;
    /// `None` before the start of the stream.
    fn offset(&self, sequence: u32) -> Option<u64> {
        let next = self.assembler.next_offset();
        let expected = self.base?.wrapping_add(next as u32);
        let distance = sequence.wrapping_sub(expected) as i32;
        next.checked_add_signed(i64::from(distance))
    }
}

impl TcpConnection {
    /// A connection of which nothing is known yet.
    pub const fn new(overlap: Overlap) -> Self {
        Self {
            streams: [Stream::new(overlap), Stream::new(overlap)],
        }
    }

    /// Whether both directions have ended.
    pub fn is_over(&self) -> bool {
        self.streams.iter().all(|s| s.ended)
    }

    /// Bytes held back in both directions.
    pub fn held(&self) -> usize {
        self.streams.iter().map(|s| s.assembler.buffered()).sum()
    }

    /// Sequence number of a direction's first byte; `None`: not known.
    pub fn first_sequence(&self, direction: Direction) -> Option<u32> {
        self.streams[direction.index()].base
    }

    /// Client and server were mistaken for one another: each takes the other's stream.
    pub fn swap_directions(&mut self) {
        self.streams.reverse();
    }

    /// Whether a SYN with this sequence number opens another connection than this one.
    pub fn is_reopened_by(&self, direction: Direction, sequence: u32) -> bool {
        let stream = &self.streams[direction.index()];
        stream
            .base
            .is_some_and(|base| base != sequence.wrapping_add(1))
            && (stream.opened || stream.assembler.next_offset() > 0)
    }

    /// Takes a segment and yields what is now in order. `room` is how many bytes more may be
    /// held back, all connections of the shard together.
    pub fn handle(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        now: Timestamp,
        room: usize,
        yield_event: &mut dyn FnMut(StreamEvent<'_>),
    ) -> Oddities {
        let mut oddities = Oddities::default();
        if segment.flags & Tcp::ACK != 0 {
            self.acknowledge(direction, segment, now, yield_event);
        }
        let stream = &mut self.streams[direction.index()];
        let mut sequence = segment.sequence;
        if segment.flags & Tcp::SYN != 0 {
            sequence = sequence.wrapping_add(1);
            if stream.assembler.next_offset() == 0 && stream.assembler.buffered() == 0 {
                stream.base = Some(sequence);
            }
            stream.opened = true;
        }
        let length = segment.payload.len() as u64 + u64::from(segment.missing);
        if length > 0 && stream.base.is_none() {
            stream.base = Some(sequence);
        }
        if !stream.ended && (length > 0 || segment.flags & Tcp::FIN != 0) {
            match stream.offset(sequence) {
                Some(offset) if offset > stream.assembler.next_offset() + MAX_AHEAD => {
                    oddities.beyond_window = true;
                }
                Some(offset) => {
                    if segment.flags & Tcp::FIN != 0 && stream.end.is_none() {
                        stream.end = Some(offset + length);
                    }
                    stream.take(
                        direction,
                        offset,
                        segment,
                        now,
                        room,
                        &mut oddities,
                        yield_event,
                    );
                }
                // before the first byte that was seen: an old retransmission
                None => {}
            }
            stream.end_if_complete(direction, yield_event);
        }
        if segment.flags & Tcp::RST != 0
            && segment.sequence_is_plausible(&self.streams[direction.index()])
        {
            self.finish(yield_event);
        }
        oddities
    }

    /// The connection is over, whatever is missing: yields what is held, with its gaps, and
    /// both ends.
    pub fn finish(&mut self, yield_event: &mut dyn FnMut(StreamEvent<'_>)) {
        for direction in Direction::BOTH {
            let stream = &mut self.streams[direction.index()];
            while stream
                .assembler
                .pass_gap(&mut |chunk| pass_on(direction, &chunk, yield_event))
            {}
            if !stream.ended {
                stream.ended = true;
                yield_event(StreamEvent::End(direction));
            }
        }
    }

    /// The other direction's bytes up to here were received, though perhaps not captured.
    fn acknowledge(
        &mut self,
        direction: Direction,
        segment: &Segment<'_>,
        now: Timestamp,
        yield_event: &mut dyn FnMut(StreamEvent<'_>),
    ) {
        let opened_here = self.streams[direction.index()].opened;
        let other = direction.reverse();
        let stream = &mut self.streams[other.index()];
        if stream.base.is_none() && opened_here && segment.flags & Tcp::SYN == 0 {
            // the handshake's last segment acknowledges a SYN that was not seen (yet)
            stream.base = Some(segment.acknowledgment);
        }
        if let Some(offset) = stream.offset(segment.acknowledgment) {
            let limit = stream.assembler.next_offset() + MAX_AHEAD;
            stream.acknowledged = stream.acknowledged.max(offset.min(limit));
        }
        stream.pass_acknowledged_gap(other, now, yield_event);
        stream.end_if_complete(other, yield_event);
    }
}

impl Stream {
    #[expect(
        clippy::too_many_arguments,
        reason = "one call site, all of it per segment"
    )]
    fn take(
        &mut self,
        direction: Direction,
        offset: u64,
        segment: &Segment<'_>,
        now: Timestamp,
        room: usize,
        oddities: &mut Oddities,
        yield_event: &mut dyn FnMut(StreamEvent<'_>),
    ) {
        let pass = &mut |chunk: Chunk<'_>| pass_on(direction, &chunk, yield_event);
        let room = room.min(MAX_HELD_PER_STREAM.saturating_sub(self.assembler.buffered()));
        let mut inserted = self.assembler.insert(offset, segment.payload, room, pass);
        if inserted.refused > 0 && self.assembler.pass_gap(pass) {
            // full: what is missing will not come, so that at least this segment is seen
            inserted = self.assembler.insert(offset, segment.payload, room, pass);
        }
        oddities.conflicting |= inserted.conflicting;
        oddities.refused += inserted.refused;
        let captured_end = offset + segment.payload.len() as u64;
        if segment.missing > 0 && self.assembler.next_offset() == captured_end {
            self.assembler
                .skip_to(captured_end + u64::from(segment.missing), pass);
        }
        self.pass_acknowledged_gap(direction, now, yield_event);
    }

    fn pass_acknowledged_gap(
        &mut self,
        direction: Direction,
        now: Timestamp,
        yield_event: &mut dyn FnMut(StreamEvent<'_>),
    ) {
        let waits =
            self.assembler.buffered() > 0 && self.acknowledged > self.assembler.next_offset();
        if !waits {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert(now);
        if now.since(since) > GAP_PATIENCE {
            self.assembler
                .pass_gap(&mut |chunk| pass_on(direction, &chunk, yield_event));
            self.waiting_since = None;
        }
    }

    fn end_if_complete(
        &mut self,
        direction: Direction,
        yield_event: &mut dyn FnMut(StreamEvent<'_>),
    ) {
        if !self.ended
            && self
                .end
                .is_some_and(|end| self.assembler.next_offset() >= end)
        {
            self.ended = true;
            yield_event(StreamEvent::End(direction));
        }
    }
}

impl Segment<'_> {
    /// A reset counts only near the window (RFC 9293 section 3.10.7.4), so that a blind one
    /// does not end what the sensor sees.
    fn sequence_is_plausible(&self, stream: &Stream) -> bool {
        stream.offset(self.sequence).is_none_or(|offset| {
            offset.abs_diff(stream.assembler.next_offset()) <= MAX_HELD_PER_STREAM as u64
        })
    }
}

fn pass_on(direction: Direction, chunk: &Chunk<'_>, yield_event: &mut dyn FnMut(StreamEvent<'_>)) {
    yield_event(match chunk {
        Chunk::Bytes(bytes) => StreamEvent::Bytes(direction, bytes),
        Chunk::Gap(length) => StreamEvent::Gap(direction, *length),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::ToClient;
    use Direction::ToServer;

    const SA: u8 = Tcp::SYN | Tcp::ACK;

    /// Plays (direction, sequence, acknowledgment, flags, payload, milliseconds) and writes down
    /// what comes out: `>` to the server, `<` to the client, `(n)` a gap, `.` an end.
    fn play(segments: &[(Direction, u32, u32, u8, &str, u64)]) -> String {
        let mut connection = TcpConnection::new(Overlap::FirstWins);
        let mut log = String::new();
        for (direction, sequence, acknowledgment, flags, payload, at) in segments {
            let segment = Segment {
                sequence: *sequence,
                acknowledgment: *acknowledgment,
                flags: *flags,
                payload: payload.as_bytes(),
                missing: 0,
            };
            let now = Timestamp::from_nanos(at * 1_000_000);
            connection.handle(*direction, &segment, now, usize::MAX, &mut |e| {
                note(&e, &mut log)
            });
        }
        log.push('|');
        connection.finish(&mut |e| note(&e, &mut log));
        log
    }

    fn note(event: &StreamEvent<'_>, log: &mut String) {
        let (direction, text) = match event {
            StreamEvent::Bytes(d, bytes) => (d, String::from_utf8_lossy(bytes).into_owned()),
            StreamEvent::Gap(d, n) => (d, format!("({n})")),
            StreamEvent::End(d) => (d, ".".into()),
        };
        log.push(if *direction == ToServer { '>' } else { '<' });
        log.push_str(&text);
    }

    #[test]
    fn dialogues() {
        let ack = Tcp::ACK;
        let fin = Tcp::FIN | Tcp::ACK;
        let rst = Tcp::RST;
        for (name, segments, expected) in [
            (
                "whole, with sequence numbers that wrap",
                &[
                    (ToServer, u32::MAX - 1, 0, Tcp::SYN, "", 0),
                    (ToClient, 99, u32::MAX, SA, "", 0),
                    (ToServer, u32::MAX, 100, ack, "get", 1),
                    (ToClient, 100, 2, ack, "ok", 2),
                    (ToServer, 2, 102, fin, "", 3),
                    (ToClient, 102, 3, fin, "", 3),
                ][..],
                ">get<ok>.<.|",
            ),
            (
                "retransmitted, out of order, overlapping",
                &[
                    (ToServer, 9, 0, Tcp::SYN, "", 0),
                    (ToServer, 12, 0, ack, "cd", 1),
                    (ToServer, 10, 0, ack, "ab", 2),
                    (ToServer, 10, 0, ack, "abcdef", 3),
                ],
                ">ab>cd>ef|>.<.",
            ),
            (
                "picked up in the middle",
                &[
                    (ToClient, 500, 40, ack, "body", 0),
                    (ToServer, 40, 504, ack, "next", 1),
                ],
                "<body>next|>.<.",
            ),
            (
                "a hole that the receiver has acknowledged is given up after a while",
                &[
                    (ToServer, 9, 0, Tcp::SYN, "", 0),
                    (ToServer, 10, 0, ack, "a", 1),
                    (ToServer, 13, 0, ack, "d", 2),
                    (ToClient, 50, 14, ack, "", 3),
                    (ToClient, 50, 14, ack, "", 600),
                ],
                ">a>(2)>d|>.<.",
            ),
            (
                "a hole that nobody acknowledged stays until the end",
                &[
                    (ToServer, 9, 0, Tcp::SYN, "", 0),
                    (ToServer, 13, 0, ack, "d", 2),
                    (ToServer, 14, 0, ack, "e", 9_000),
                ],
                "|>(3)>de>.<.",
            ),
            (
                "the server's first bytes come before its SYN",
                &[
                    (ToServer, 9, 0, Tcp::SYN, "", 0),
                    (ToServer, 10, 100, ack, "get", 1),
                    (ToClient, 101, 13, ack, "k", 2),
                    (ToClient, 100, 13, ack, "o", 3),
                    (ToClient, 99, 10, SA, "", 4),
                ],
                ">get<o<k|>.<.",
            ),
            (
                "a reset ends both directions, a blind one nothing",
                &[
                    (ToServer, 9, 0, Tcp::SYN, "", 0),
                    (ToServer, 10, 0, ack, "a", 1),
                    (ToServer, 0x8000_0000, 0, rst, "", 2),
                    (ToServer, 11, 0, ack, "b", 3),
                    (ToServer, 12, 0, rst, "", 4),
                    (ToServer, 12, 0, ack, "c", 5),
                ],
                ">a>b>.<.|",
            ),
            (
                "data with the SYN and with the FIN",
                &[
                    (ToServer, 9, 0, Tcp::SYN, "ab", 0),
                    (ToServer, 12, 0, fin, "c", 1),
                    (ToServer, 12, 0, fin, "c", 2),
                ],
                ">ab>c>.|<.",
            ),
        ] {
            assert_eq!(play(segments), expected, "{name}");
        }
    }

    #[test]
    fn bytes_cut_by_the_snap_length_are_a_gap() {
        let mut connection = TcpConnection::new(Overlap::FirstWins);
        let mut log = String::new();
        for (sequence, payload) in [(10, "ab"), (20, "kl")] {
            let segment = Segment {
                sequence,
                acknowledgment: 0,
                flags: Tcp::ACK,
                payload: payload.as_bytes(),
                missing: 8,
            };
            connection.handle(ToServer, &segment, Timestamp::MIN, 100, &mut |e| {
                note(&e, &mut log)
            });
        }
        assert_eq!(log, ">ab>(8)>kl>(8)");
    }

    #[test]
    fn another_connection_on_the_same_ports_is_told() {
        let mut connection = TcpConnection::new(Overlap::FirstWins);
        let syn = Segment {
            sequence: 9,
            acknowledgment: 0,
            flags: Tcp::SYN,
            payload: b"",
            missing: 0,
        };
        connection.handle(ToServer, &syn, Timestamp::MIN, 0, &mut |_| ());
        assert!(!connection.is_reopened_by(ToServer, 9));
        assert!(connection.is_reopened_by(ToServer, 77));
    }
}
