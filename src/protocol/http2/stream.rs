//! Streams (RFC 9113 section 5): a request and its response each.

use std::collections::BTreeMap;

use crate::flow::Direction;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Sink;
use crate::protocol::http::Method;
use crate::protocol::http::Oddity;
use crate::protocol::http::Transfer;

/// The streams that are open.
#[derive(Default)]
pub(super) struct Streams {
    /// By identifier, which is the order in which they were opened.
    open: BTreeMap<u32, Stream>,
    /// Bytes of memory that content in transfer takes.
    held: usize,
}

/// A stream.
#[derive(Default)]
pub(super) struct Stream {
    /// The request's method; `None` where its head was not seen.
    pub(super) method: Option<Method>,
    /// What the response's content is called if it does not say; empty when nothing does.
    pub(super) name: String,
    halves: [Half; 2],
}

/// One direction of a stream.
#[derive(Default)]
pub(super) struct Half {
    /// Whether the head that opens content was seen; another one is a trailer.
    pub(super) opened: bool,
    ended: bool,
    /// The content in transfer, if anyone asks for it.
    content: Option<Box<Transfer>>,
}

impl Streams {
    /// The stream of that identifier, which is opened if it is not open.
    pub(super) fn open(&mut self, id: u32, sink: &mut Sink<'_>) -> &mut Stream {
        if self.open.len() >= MAX_STREAMS && !self.open.contains_key(&id) {
            self.evict(sink);
        }
        self.open.entry(id).or_default()
    }

    /// Bytes of memory that streams and their content take.
    pub(super) fn held(&self) -> usize {
        self.held + self.open.len() * STREAM_MEMORY
    }

    /// A direction of an open stream begins to transfer content.
    pub(super) fn begin(&mut self, id: u32, direction: Direction, content: Box<Transfer>) {
        if let Some(stream) = self.open.get_mut(&id) {
            self.held += memory_of(&content);
            let before = stream.half(direction).content.replace(content);
            self.held -= before.map_or(0, |before| memory_of(&before));
        }
    }

    /// The content that a direction of a stream transfers goes on. Beyond what one connection
    /// may take for decoding, that content is not decoded any more.
    pub(super) fn update(
        &mut self,
        id: u32,
        direction: Direction,
        bytes: &[u8],
        sink: &mut Sink<'_>,
    ) {
        let Some(content) = self.content(id, direction) else {
            return;
        };
        let before = memory_of(content);
        content.update(bytes, sink);
        let after = memory_of(content);
        self.held = self.held.saturating_sub(before) + after;
        if self.held > MAX_CONTENT
            && after > before
            && let Some(content) = self.content(id, direction)
        {
            content.stop(Oddity::DecoderMemory, sink);
            let stopped = memory_of(content);
            self.held = self.held.saturating_sub(after) + stopped;
        }
    }

    /// Content of a direction was not seen.
    pub(super) fn skip(&mut self, id: u32, direction: Direction, length: u64) {
        if let Some(content) = self.content(id, direction) {
            let before = memory_of(content);
            content.skip(length);
            let after = memory_of(content);
            self.held = self.held.saturating_sub(before) + after;
        }
    }

    fn content(&mut self, id: u32, direction: Direction) -> Option<&mut Transfer> {
        let stream = self.open.get_mut(&id)?;
        stream.half(direction).content.as_deref_mut()
    }

    /// A direction of a stream ended as it should.
    pub(super) fn end(&mut self, id: u32, direction: Direction, sink: &mut Sink<'_>) {
        let Some(stream) = self.open.get_mut(&id) else {
            return;
        };
        let half = stream.half(direction);
        half.ended = true;
        if let Some(mut content) = half.content.take() {
            self.held = self.held.saturating_sub(memory_of(&content));
            content.finish(direction, sink);
        }
        if stream.halves.iter().all(|half| half.ended) {
            self.open.remove(&id);
        }
    }

    /// A stream was reset (RFC 9113 section 6.4).
    pub(super) fn reset(&mut self, id: u32, sink: &mut Sink<'_>) {
        if let Some(mut stream) = self.open.remove(&id) {
            for direction in Direction::BOTH {
                let freed = stream.cut(direction, sink);
                self.held = self.held.saturating_sub(freed);
            }
        }
    }

    /// Nothing further will be seen of a direction.
    pub(super) fn cut(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        for stream in self.open.values_mut() {
            let freed = stream.cut(direction, sink);
            self.held = self.held.saturating_sub(freed);
        }
        self.open
            .retain(|_, stream| !stream.halves.iter().all(|half| half.ended));
    }

    /// Forgets one: the oldest that is half over, for its other half may never be seen; else
    /// the oldest.
    fn evict(&mut self, sink: &mut Sink<'_>) {
        let half_over = |stream: &Stream| stream.halves.iter().any(|half| half.ended);
        let spent = self
            .open
            .iter()
            .find(|(_, stream)| half_over(stream))
            .map(|(id, _)| *id);
        let Some(id) = spent.or_else(|| self.open.keys().next().copied()) else {
            return;
        };
        if spent.is_none() {
            sink(Message::Anomaly(Anomaly("http2.stream-cap")));
        }
        self.reset(id, sink);
    }
}

impl Stream {
    pub(super) const fn half(&mut self, direction: Direction) -> &mut Half {
        let [to_server, to_client] = &mut self.halves;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    /// Ends a direction before its end; how many bytes of memory its content took.
    fn cut(&mut self, direction: Direction, sink: &mut Sink<'_>) -> usize {
        let half = self.half(direction);
        half.ended = true;
        let Some(mut content) = half.content.take() else {
            return 0;
        };
        let held = memory_of(&content);
        sink(Message::Anomaly(Oddity::BodyCut.anomaly()));
        content.finish(direction, sink);
        held
    }
}

/// Bytes of memory that content in transfer takes.
fn memory_of(content: &Transfer) -> usize {
    size_of::<Transfer>() + content.held()
}

/// The most streams that are open at once: what servers allow, 100 to 128 (RFC 9113
/// section 6.5.2 asks for 100 at least).
const MAX_STREAMS: usize = 128;

/// The most bytes of memory for the content of one connection: the largest window of brotli
/// (RFC 7932 section 9.1) or two of zstd (RFC 9659), beside some of deflate.
const MAX_CONTENT: usize = 18 << 20;

/// What a stream takes beside its content, in bytes: itself, and the name of a file (255 bytes,
/// in a buffer that may be twice as large).
const STREAM_MEMORY: usize = size_of::<Stream>() + 512;

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::ToClient;
    use Direction::ToServer;

    #[test]
    fn streams_that_are_half_over_make_room_first() {
        let mut streams = Streams::default();
        let mut anomalies = 0;
        let mut sink = |message: Message<'_>| {
            assert!(matches!(
                message,
                Message::Anomaly(Anomaly("http2.stream-cap"))
            ));
            anomalies += 1;
        };
        let mut id = 1;
        for _ in 0..MAX_STREAMS {
            streams.open(id, &mut sink);
            id += 2;
        }
        streams.end(7, ToClient, &mut sink);
        streams.open(id, &mut sink);
        assert!(!streams.open.contains_key(&7) && streams.open.contains_key(&1));
        streams.open(id + 2, &mut sink);
        assert!(!streams.open.contains_key(&1) && streams.open.contains_key(&3));
        assert_eq!(streams.open.len(), MAX_STREAMS);
        streams.end(3, ToServer, &mut sink);
        streams.end(3, ToClient, &mut sink);
        assert!(!streams.open.contains_key(&3));
        streams.cut(ToServer, &mut sink);
        streams.cut(ToClient, &mut sink);
        assert!(streams.open.is_empty());
        assert_eq!(anomalies, 1);
    }
}
