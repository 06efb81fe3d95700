//! Puts the bytes of one stream direction in order.
//!
//! An [`Assembler`] knows nothing of TCP, flows or parsers: it takes
//! `(offset, bytes)` and yields bytes in order, or the gap before them. What
//! arrives in order passes through without being copied.
//!
//! Law: any split, reordering and duplication of a byte string into segments
//! yields that string.

use std::collections::VecDeque;

/// Which bytes count where segments overlap with other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Bytes that came first, as Linux and the BSDs mostly do.
    FirstWins,
    /// Bytes that came last, among those not yet handed on.
    LastWins,
}

/// What an assembler yields.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// The next bytes.
    Bytes(&'a [u8]),
    /// This many bytes were never seen.
    Gap(u64),
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Bytes that were there already.
    pub repeated: usize,
    /// Bytes that were there already with other content: evasion, or a broken sender.
    pub conflicting: bool,
    /// Bytes refused since the buffer is full.
    pub refused: usize,
}

/// The bytes of one direction, in the making.
///
/// Invariants: pieces are sorted, do not overlap one another, and all
/// lie beyond `next`; `buffered` is the sum of their lengths, at most the limit.
#[derive(Debug)]
pub struct Assembler {
    next: u64,
    pieces: VecDeque<Piece>,
    buffered: usize,
    overlap: Overlap,
}

#[derive(Debug)]
struct Piece {
    start: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Pieces that one direction may hold: bounds the time of an insertion by an
/// attacker who sends every second byte. A real path reorders a few dozen.
pub const MAX_PIECES: usize = 512;

/// Bytes up to which a piece grows by those that touch its end, so that a burst behind one lost
/// segment is a few pieces; longer ones would be copied too often while they grow.
const MAX_PIECE: usize = 64 << 10;

impl Assembler {
    /// An empty stream that begins at offset 0.
    pub const fn new(overlap: Overlap) -> Self {
        Self {
            next: 0,
            pieces: VecDeque::new(),
            buffered: 0,
            overlap,
        }
    }

    /// Offset of the first byte not yet yielded.
    pub const fn next_offset(&self) -> u64 {
        self.next
    }

    /// Bytes held back since others before them are missing.
    pub const fn buffered(&self) -> usize {
        self.buffered
    }

    /// Takes `bytes` that lie at `offset` of the stream and yields what is now in order.
    ///
    /// At most `room` bytes more are buffered; the rest is refused.
    pub fn insert(
        &mut self,
        offset: u64,
        bytes: &[u8],
        room: usize,
        yield_chunk: &mut dyn FnMut(Chunk<'_>),
    ) -> Inserted {
        let mut inserted = Inserted::default();
        let end = offset.saturating_add(bytes.len() as u64);
        if end <= self.next {
            inserted.repeated = bytes.len();
            return inserted;
        }
        let mut start = offset;
        let mut fresh = bytes;
        if start < self.next {
            let old = usize::try_from(self.next - start)
                .unwrap_or(usize::MAX)
                .min(fresh.len());
            inserted.repeated = old;
            fresh = &fresh[old..];
            start = self.next;
        }
        let meets_piece = self.pieces.front().is_some_and(|p| p.start < end);
        if start == self.next && !meets_piece {
            self.next = end;
            yield_chunk(Chunk::Bytes(fresh));
        } else if start == self.next && self.overlap == Overlap::FirstWins {
            self.yield_around_pieces(start, fresh, &mut inserted, yield_chunk);
        } else {
            self.hold(start, fresh, room, &mut inserted);
        }
        self.drain(yield_chunk);
        inserted
    }

    /// Gives up the hole before the first held piece: yields the gap and what follows it.
    ///
    /// Returns whether there was one.
    pub fn pass_gap(&mut self, yield_chunk: &mut dyn FnMut(Chunk<'_>)) -> bool {
        let Some(first) = self.pieces.front() else {
            return false;
        };
        let gap = first.start - self.next;
        self.next = first.start;
        yield_chunk(Chunk::Gap(gap));
        self.drain(yield_chunk);
        true
    }

    /// Passes over bytes up to `offset` that will never come, where nothing is held before it.
    pub fn skip_to(&mut self, offset: u64, yield_chunk: &mut dyn FnMut(Chunk<'_>)) {
        while self.pieces.front().is_some_and(|p| p.start <= offset) {
            self.pass_gap(yield_chunk);
        }
        if offset > self.next {
            let gap = offset - self.next;
            self.next = offset;
            yield_chunk(Chunk::Gap(gap));
        }
    }

    /// In-order bytes that run into held pieces: the held ones came first.
    fn yield_around_pieces(
        &mut self,
        mut start: u64,
        mut fresh: &[u8],
        inserted: &mut Inserted,
        yield_chunk: &mut dyn FnMut(Chunk<'_>),
    ) {
        while !fresh.is_empty() {
            let Some(first) = self.pieces.front() else {
                self.next = start + fresh.len() as u64;
                yield_chunk(Chunk::Bytes(fresh));
                return;
            };
            let before = usize::try_from(first.start - start).unwrap_or(usize::MAX);
            if before >= fresh.len() {
                self.next = start + fresh.len() as u64;
                yield_chunk(Chunk::Bytes(fresh));
                return;
            }
            let (head, tail) = fresh.split_at(before);
            let shared = tail.len().min(first.bytes.len());
            inserted.repeated += shared;
            inserted.conflicting |= tail[..shared] != first.bytes[..shared];
            if !head.is_empty() {
                yield_chunk(Chunk::Bytes(head));
            }
            self.next = first.start;
            start = first.end();
            fresh = &tail[shared..];
            self.yield_first(yield_chunk);
        }
    }

    /// Keeps bytes beyond `next` until those before them come.
    fn hold(&mut self, mut start: u64, mut fresh: &[u8], mut room: usize, inserted: &mut Inserted) {
        let mut at = self.pieces.partition_point(|p| p.end() <= start);
        while !fresh.is_empty() {
            match self
                .pieces
                .get_mut(at)
                .filter(|p| p.start < start + fresh.len() as u64)
            {
                Some(piece) if piece.start <= start => {
                    // the part that the piece covers
                    let from = usize::try_from(start - piece.start).unwrap_or(usize::MAX);
                    let shared = (piece.bytes.len() - from).min(fresh.len());
                    let (new, rest) = fresh.split_at(shared);
                    let old = &mut piece.bytes[from..from + shared];
                    inserted.repeated += shared;
                    if old != new {
                        inserted.conflicting = true;
                        if self.overlap == Overlap::LastWins {
                            old.copy_from_slice(new);
                        }
                    }
                    start += shared as u64;
                    fresh = rest;
                    at += 1;
                }
                blocking => {
                    // the part before the next piece, if there is one in the way
                    let length = blocking.map_or(fresh.len(), |p| (p.start - start) as usize);
                    let (new, rest) = fresh.split_at(length.min(fresh.len()));
                    let touched = at
                        .checked_sub(1)
                        .and_then(|before| self.pieces.get_mut(before))
                        .filter(|p| p.end() == start && p.bytes.len() < MAX_PIECE);
                    if new.len() > room {
                        inserted.refused += new.len();
                    } else if let Some(touched) = touched {
                        room -= new.len();
                        self.buffered += new.len();
                        touched.bytes.extend_from_slice(new);
                    } else if self.pieces.len() >= MAX_PIECES {
                        inserted.refused += new.len();
                    } else {
                        room -= new.len();
                        self.buffered += new.len();
                        self.pieces.insert(
                            at,
                            Piece {
                                start,
                                bytes: new.to_vec(),
                            },
                        );
                        at += 1;
                    }
                    start += new.len() as u64;
                    fresh = rest;
                }
            }
        }
    }

    fn drain(&mut self, yield_chunk: &mut dyn FnMut(Chunk<'_>)) {
        while self.pieces.front().is_some_and(|p| p.start == self.next) {
            self.yield_first(yield_chunk);
        }
    }

    fn yield_first(&mut self, yield_chunk: &mut dyn FnMut(Chunk<'_>)) {
        if let Some(first) = self.pieces.pop_front() {
            self.buffered -= first.bytes.len();
            self.next = first.end();
            yield_chunk(Chunk::Bytes(&first.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// xorshift64*, so that a failing case is named by its seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n.max(1)
        }
    }

    fn feed(assembler: &mut Assembler, offset: u64, bytes: &[u8], out: &mut Vec<u8>) -> Inserted {
        assembler.insert(offset, bytes, usize::MAX, &mut |chunk| match chunk {
            Chunk::Bytes(bytes) => out.extend_from_slice(bytes),
            Chunk::Gap(n) => panic!("gap of {n}"),
        })
    }

    #[test]
    fn shapes() {
        // (segments as (offset, text), what comes out)
        let table: &[(&[(u64, &str)], &str)] = &[
            (&[(0, "abc"), (3, "def")], "abcdef"),
            (&[(3, "def"), (0, "abc")], "abcdef"),
            (&[(0, "abc"), (0, "abc"), (1, "bcd")], "abcd"),
            (&[(2, "c"), (4, "e"), (0, "abcdef")], "abcdef"),
            (&[(1, "b"), (1, "bcd"), (0, "a")], "abcd"),
            (&[(4, "ef"), (2, "cdef"), (0, "ab")], "abcdef"),
            (&[(5, "f")], ""),
            (&[(0, "")], ""),
        ];
        for overlap in [Overlap::FirstWins, Overlap::LastWins] {
            for (segments, expected) in table {
                let mut assembler = Assembler::new(overlap);
                let mut out = Vec::new();
                for (offset, text) in *segments {
                    feed(&mut assembler, *offset, text.as_bytes(), &mut out);
                }
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    *expected,
                    "{segments:?} {overlap:?}"
                );
            }
        }
    }

    #[test]
    fn overlaps_follow_the_policy_and_are_told() {
        for (overlap, expected) in [(Overlap::FirstWins, "abXXe"), (Overlap::LastWins, "abcde")] {
            let mut assembler = Assembler::new(overlap);
            let mut out = Vec::new();
            assert!(!feed(&mut assembler, 2, b"XX", &mut out).conflicting);
            assert!(feed(&mut assembler, 0, b"abcde", &mut out).conflicting);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn gaps_are_told_and_what_follows_is_kept() {
        let mut assembler = Assembler::new(Overlap::FirstWins);
        let mut log = Vec::new();
        let mut note = |chunk: Chunk<'_>| match chunk {
            Chunk::Bytes(bytes) => log.push(String::from_utf8_lossy(bytes).into_owned()),
            Chunk::Gap(n) => log.push(format!("<{n}>")),
        };
        assembler.insert(0, b"ab", usize::MAX, &mut note);
        assembler.insert(5, b"fg", usize::MAX, &mut note);
        assert!(assembler.pass_gap(&mut note));
        assembler.skip_to(9, &mut note);
        assembler.insert(9, b"j", usize::MAX, &mut note);
        assert!(!assembler.pass_gap(&mut note));
        assert_eq!(log, ["ab", "<3>", "fg", "<2>", "j"]);
    }

    #[test]
    fn a_full_buffer_refuses() {
        let mut assembler = Assembler::new(Overlap::FirstWins);
        let inserted = assembler.insert(10, b"abcd", 3, &mut |_| panic!("nothing is in order"));
        assert_eq!(inserted.refused, 4);
        // a burst behind one lost segment fills no table of pieces
        let mut burst = Assembler::new(Overlap::FirstWins);
        for i in 0..4 * MAX_PIECES as u64 {
            let inserted = burst.insert(1 + i, b"x", usize::MAX, &mut |_| panic!("a hole"));
            assert_eq!(inserted.refused, 0);
        }
        for i in 0..2 * MAX_PIECES as u64 {
            assembler.insert(2 * i + 2, b"x", usize::MAX, &mut |_| {
                panic!("nothing is in order")
            });
        }
        assert_eq!(assembler.buffered(), MAX_PIECES);
    }

    #[test]
    fn any_split_order_and_repetition_yields_the_string() {
        for seed in 1..=2_000 {
            let mut random = Random(seed);
            let text: Vec<u8> = (0..random.below(300))
                .map(|_| random.below(256) as u8)
                .collect();
            let mut segments = Vec::new();
            let mut at = 0;
            while at < text.len() {
                let length = 1 + random.below(20).min(text.len() - at - 1);
                segments.push((at, at + length));
                at += length;
            }
            for _ in 0..random.below(10) {
                let a = random.below(text.len());
                segments.push((a, (a + random.below(40)).min(text.len())));
            }
            for i in (1..segments.len()).rev() {
                segments.swap(i, random.below(i + 1));
            }
            for overlap in [Overlap::FirstWins, Overlap::LastWins] {
                let mut assembler = Assembler::new(overlap);
                let mut out = Vec::new();
                for (a, b) in &segments {
                    feed(&mut assembler, *a as u64, &text[*a..*b], &mut out);
                }
                assert_eq!(out, text, "seed {seed}");
                assert_eq!(assembler.buffered(), 0, "seed {seed}");
            }
        }
    }
}
