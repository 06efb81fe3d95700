//! Lines of a stream, whole or, where they are too long, in pieces.

use memchr::memchr;

/// Puts lines together over calls.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The start of a piece that is not whole yet, or the last piece that was handed out.
    held: Vec<u8>,
    /// Whether `held` was handed out.
    spent: bool,
    /// Whether what comes next continues a line.
    within: bool,
}

/// A line with its end, or a piece of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Without the end of the line.
    pub(super) bytes: &'a [u8],
    /// Whether it is the first of its line.
    pub(super) starts: bool,
    pub(super) end: LineEnd,
}

/// What a piece ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LineEnd {
    /// Its line goes on.
    #[default]
    None,
    Lf,
    CrLf,
}

/// The most bytes of a line that are kept together. RFC 5321 4.5.3.1 allows 1,000 in text and
/// 512 in commands; some mailers write a paragraph a line, which content survives in pieces.
pub(super) const MAX_LINE: usize = 4 << 10;

impl LineEnd {
    pub(super) const fn bytes(self) -> &'static [u8] {
        match self {
            Self::None => b"",
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

impl<'a> Piece<'a> {
    fn new(bytes: &'a [u8], starts: bool) -> Self {
        let (bytes, end) = match bytes {
            [bytes @ .., b'\r', b'\n'] => (bytes, LineEnd::CrLf),
            [bytes @ .., b'\n'] => (bytes, LineEnd::Lf),
            bytes => (bytes, LineEnd::None),
        };
        Self { bytes, starts, end }
    }

    pub(super) fn ends(&self) -> bool {
        self.end != LineEnd::None
    }

    /// Whether the whole line is here.
    pub(super) fn is_whole(&self) -> bool {
        self.starts && self.ends()
    }
}

impl Lines {
    /// Bytes of memory that its buffer takes.
    pub(super) const fn held(&self) -> usize {
        self.held.capacity()
    }

    /// The next piece, cut at the same places however the stream is split; `None`: more is needed.
    pub(super) fn next<'a, 'b: 'a>(&'a mut self, rest: &mut &'b [u8]) -> Option<Piece<'a>> {
        if self.spent {
            self.held.clear();
            self.spent = false;
        }
        let room = MAX_LINE.saturating_sub(self.held.len());
        let all: &'b [u8] = rest;
        let window = all.get(..room).unwrap_or(all);
        let end = memchr(b'\n', window).map(|at| at + 1);
        let (now, later) = all.split_at(end.unwrap_or(window.len()));
        *rest = later;
        if end.is_none() && now.len() < room {
            self.held.extend_from_slice(now);
            return None;
        }
        let starts = !std::mem::replace(&mut self.within, end.is_none());
        if self.held.is_empty() {
            return Some(Piece::new(now, starts));
        }
        self.held.extend_from_slice(now);
        self.spent = true;
        Some(Piece::new(&self.held, starts))
    }

    /// What is left of a line when the stream ends.
    pub(super) fn finish(&mut self) -> Option<Piece<'_>> {
        let starts = !std::mem::take(&mut self.within);
        if std::mem::replace(&mut self.spent, true) || self.held.is_empty() {
            return None;
        }
        Some(Piece::new(&self.held, starts))
    }

    /// Goes on in the middle of a line: something was not seen.
    pub(super) fn lose(&mut self) {
        self.held.clear();
        self.spent = false;
        self.within = true;
    }

    /// Whether the next byte is the first of a line.
    pub(super) fn is_at_start(&self) -> bool {
        !self.within && (self.spent || self.held.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(stream: &[u8], step: usize) -> Vec<(Vec<u8>, bool, LineEnd)> {
        let mut lines = Lines::default();
        let mut all = Vec::new();
        for mut rest in stream.chunks(step) {
            while !rest.is_empty() {
                if let Some(p) = lines.next(&mut rest) {
                    all.push((p.bytes.to_vec(), p.starts, p.end));
                }
            }
        }
        all.extend(lines.finish().map(|p| (p.bytes.to_vec(), p.starts, p.end)));
        all
    }

    #[test]
    fn pieces_are_the_same_however_the_stream_is_split() {
        let long = [
            &b"x".repeat(MAX_LINE - 1)[..],
            b"\r\n\r\n",
            &b"y".repeat(2 * MAX_LINE),
            b"\nend",
        ]
        .concat();
        let whole = pieces(&long, long.len());
        assert_eq!(
            whole
                .iter()
                .map(|p| (p.0.len(), p.1, p.2))
                .collect::<Vec<_>>(),
            [
                (MAX_LINE, true, LineEnd::None),
                (0, false, LineEnd::Lf),
                (0, true, LineEnd::CrLf),
                (MAX_LINE, true, LineEnd::None),
                (MAX_LINE, false, LineEnd::None),
                (0, false, LineEnd::Lf),
                (3, true, LineEnd::None),
            ]
        );
        for step in [1, 2, 3, 7, 1000, MAX_LINE, MAX_LINE + 1] {
            assert_eq!(pieces(&long, step), whole, "{step}");
        }
    }
}
