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
    pub(super) content: Option<Box<Transfer>>,
}

impl Streams {
    /// The stream of that identifier, which is opened if it is not open.
    pub(super) fn open(&mut self, id: u32, sink: &mut Sink<'_>) -> &mut Stream {
        if self.open.len() >= MAX_STREAMS && !self.open.contains_key(&id) {
            self.evict(sink);
        }
        self.open.entry(id).or_default()
    }

    /// The content that a direction of a stream transfers.
    pub(super) fn content(&mut self, id: u32, direction: Direction) -> Option<&mut Transfer> {
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
                stream.cut(direction, sink);
            }
        }
    }

    /// Nothing further will be seen of a direction.
    pub(super) fn cut(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        for stream in self.open.values_mut() {
            stream.cut(direction, sink);
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

    /// Ends a direction before its end.
    fn cut(&mut self, direction: Direction, sink: &mut Sink<'_>) {
        let half = self.half(direction);
        half.ended = true;
        if let Some(mut content) = half.content.take() {
            sink(Message::Anomaly(Oddity::BodyCut.anomaly()));
            content.finish(direction, sink);
        }
    }
}

/// The most streams that are open at once: what servers allow, 100 to 128 (RFC 9113
/// section 6.5.2 asks for 100 at least).
const MAX_STREAMS: usize = 128;

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
