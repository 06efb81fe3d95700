//! What the kernel holds, as far as it follows from what it was told.

use crate::block::Held;
use crate::block::plan::Key;
use crate::time::Timestamp;
use std::collections::HashMap;

use std::time::Instant;

/// What the kernel held at one moment, so that it need not be read again: it walks a hash set
/// from its beginning for each 32 KiB of a list, which takes seconds for a hundred thousand
/// addresses and minutes for a million. Costs about 150 bytes an element.
pub(super) struct Mirror {
    /// When the elements had what remains to them.
    as_of: Instant,
    held: HashMap<Key, Held>,
}

impl Mirror {
    /// From what was held when reading it began.
    pub(super) fn new(as_of: Instant, held: HashMap<Key, Held>) -> Self {
        Self { as_of, held }
    }

    /// What is held at an instant: what is over until then is gone.
    pub(super) fn at(mut self, now: Instant) -> HashMap<Key, Held> {
        let passed = now.saturating_duration_since(self.as_of);
        self.held.retain(|_, held| match &mut held.remaining {
            None => true,
            Some(remaining) => {
                *remaining = remaining.saturating_sub(passed);
                !remaining.is_zero()
            }
        });
        self.held
    }

    /// Notes what was put in place since.
    pub(super) fn insert(&mut self, mut held: Held) {
        let passed = self.as_of.elapsed();
        held.remaining = held.remaining.map(|remaining| remaining + passed);
        self.held.insert(held.key, held);
    }
}

/// A time that was given, and goes on: loading a million elements takes seconds, by which none
/// of them may outlast its end.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    /// What was given.
    pub(super) given: Timestamp,
    began: Instant,
}

impl Clock {
    pub(super) fn start(given: Timestamp) -> Self {
        Self {
            given,
            began: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Timestamp {
        self.given + self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_mirrored_ages() {
        let key = |text: &str| Key::of(text.parse().unwrap());
        let held = |text: &str, remaining: Option<u64>| Held {
            key: key(text),
            indicator: "i".into(),
            cause: None,
            remaining: remaining.map(Duration::from_secs),
            packets: 0,
            bytes: 0,
        };
        let began = Instant::now();
        let all = [
            held("192.0.2.1", Some(10)),
            held("192.0.2.2", Some(20)),
            held("192.0.2.3", None),
        ];
        let mirror = Mirror::new(began, all.map(|h| (h.key, h)).into());
        let left = mirror.at(began + Duration::from_secs(10));
        assert_eq!(left.len(), 2);
        let second = &left[&key("192.0.2.2")];
        assert_eq!(second.remaining, Some(Duration::from_secs(10)));
        assert_eq!(left[&key("192.0.2.3")].remaining, None);
    }
}
