//! A window that moves over a source of any size, in bounded memory.

use std::io;
use std::io::Read;

/// The part of a source that is read and not yet used up.
///
/// Invariant: `start <= end <= buffer.len()`.
pub(super) struct Window<'r> {
    reader: &'r mut dyn Read,
    progress: &'r mut dyn FnMut(u64),
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    /// Of `start`, from the start of the source, in bytes.
    offset: u64,
    /// Line feeds before `start`.
    lines: u64,
    /// Offset of the first byte of the line that `start` is in.
    line_start: u64,
}

/// Where in a source something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Counted from 1.
    pub line: u64,
    /// In bytes, counted from 1.
    pub column: u64,
    /// In bytes from the start of the source.
    pub offset: u64,
}

impl<'r> Window<'r> {
    /// A window of `size` bytes at first; `progress` is told of bytes as they are read.
    pub(super) fn new(
        reader: &'r mut dyn Read,
        progress: &'r mut dyn FnMut(u64),
        size: usize,
    ) -> Self {
        Self {
            reader,
            progress,
            buffer: vec![0; size.max(1)],
            start: 0,
            end: 0,
            ended: false,
            offset: 0,
            lines: 0,
            line_start: 0,
        }
    }

    /// Reads on until the window is full or the source ends; a window that
    /// nothing was taken from grows first, to twice its size.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len().saturating_mul(2), 0);
        }
        while !self.ended {
            let free = self.buffer.get_mut(self.end..).unwrap_or_default();
            if free.is_empty() {
                break;
            }
            let room = free.len();
            match self.reader.read(free) {
                Ok(0) => self.ended = true,
                Ok(read) => {
                    // a reader that claims more than there was room for is wrong
                    let read = read.min(room);
                    self.end += read;
                    (self.progress)(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is read and not used up.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// The text that [`Self::bytes`] begin with, and whether a byte follows
    /// that no further one can make UTF-8.
    pub(super) fn text(&self) -> (&str, bool) {
        let bytes = self.bytes();
        match std::str::from_utf8(bytes) {
            Ok(text) => (text, false),
            Err(error) => {
                let sound = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let broken = error.error_len().is_some() || self.ended;
                (std::str::from_utf8(sound).unwrap_or_default(), broken)
            }
        }
    }

    /// Whether the source has nothing beyond [`Self::bytes`].
    pub(super) const fn ended(&self) -> bool {
        self.ended
    }

    /// Uses up the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        let here = self.position(count);
        self.offset = here.offset;
        self.lines = here.line - 1;
        self.line_start = here.offset - (here.column - 1);
        self.start += count;
    }

    /// Where the byte `at` of [`Self::bytes`] is in the source.
    pub(super) fn position(&self, at: usize) -> Position {
        let before = self.bytes();
        let before = before.get(..at).unwrap_or(before);
        let offset = self.offset + before.len() as u64;
        let line_start = match memchr::memrchr(b'\n', before) {
            Some(last) => self.offset + last as u64 + 1,
            None => self.line_start,
        };
        Position {
            line: 1 + self.lines + memchr::memchr_iter(b'\n', before).count() as u64,
            column: 1 + offset - line_start,
            offset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_lines_and_columns_whatever_was_consumed() {
        let text = b"ab\ncd\n\nefg";
        for first in 0..=text.len() {
            let mut reader = text.as_slice();
            let mut read = 0;
            let mut progress = |bytes| read += bytes;
            let mut window = Window::new(&mut reader, &mut progress, 64);
            window.fill().unwrap();
            window.consume(first);
            for (at, line, column) in [(9, 4, 3), (6, 3, 1), (1, 1, 2), (5, 2, 3)] {
                if at >= first {
                    let expected = Position {
                        line,
                        column,
                        offset: at as u64,
                    };
                    assert_eq!(window.position(at - first), expected, "{first}");
                }
            }
            drop(window);
            assert_eq!(read, text.len() as u64);
        }
    }

    #[test]
    fn grows_when_nothing_was_taken() {
        let text = [7_u8; 100];
        let mut reader = text.as_slice();
        let mut progress = |_| {};
        let mut window = Window::new(&mut reader, &mut progress, 8);
        for length in [8, 16, 32, 64, 100] {
            assert!(!window.ended());
            window.fill().unwrap();
            assert_eq!(window.bytes().len(), length);
        }
        assert!(window.ended());
    }

    #[test]
    fn tells_text_that_is_cut_from_text_that_is_broken() {
        for (bytes, sound, broken) in [
            (b"a\xc3\xa9b".as_slice(), 4, false),
            (b"ab\xff", 2, true),
            (b"a\xc0\x80", 1, true),
            (b"a\xe2\x82x", 1, true),
        ] {
            let mut reader = bytes;
            let mut progress = |_| {};
            let mut window = Window::new(&mut reader, &mut progress, bytes.len());
            window.fill().unwrap();
            let (text, seen) = window.text();
            assert_eq!((text.len(), seen), (sound, broken), "{bytes:x?}");
        }
        let mut reader = b"a\xe2\x82\xac".as_slice();
        let mut progress = |_| {};
        let mut window = Window::new(&mut reader, &mut progress, 2);
        window.fill().unwrap();
        assert_eq!(window.text(), ("a", false));
        window.fill().unwrap();
        assert_eq!(window.text(), ("a€", false));
    }
}
