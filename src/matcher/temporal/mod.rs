//! Patterns over several observations, followed over time.
//!
//! Read first: STIX 2.1 sections 9.3 and 9.4.
//!
//! Workers report what they find of each part of such a pattern; wherever their
//! matches come together in one order, [`Temporal`] puts the parts together.
//! What one observation is, is what counts as one match. It is kept until it
//! completes a pattern, and then spent: no second completion uses it. Only
//! capture time counts, so that observations may come late and out of order.
//!
//! All that is kept is bounded, per part and per pattern ([`MAX_PER_PART`],
//! [`MAX_PER_PATTERN`]) and in bytes over all patterns; what is evicted is
//! counted.

mod track;

use crate::matcher::Match;
use crate::matcher::Observation;
use crate::matcher::join::MAX_PER_PART;
use crate::matcher::join::MAX_PER_PATTERN;
use crate::matcher::join::Part;
use crate::matcher::set::IndicatorSet;
use crate::matcher::temporal::track::Arrival;
use crate::matcher::temporal::track::Limits;
use crate::matcher::temporal::track::Track;
use crate::observable::ObservableType;
use hashbrown::HashMap;
use siphasher::sip::SipHasher13;
use std::collections::VecDeque;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;

/// Bytes that observations of all patterns may take together.
const MAX_BYTES: usize = 64 << 20;

/// Memory of an observation beside its texts: itself and its places in the queues.
const OVERHEAD: usize = size_of::<Observation>() + 128;

/// Entries that the queue of eviction may have beyond twice what is kept.
const SLACK: usize = 1_024;

/// Puts observations together to patterns. Takes matches in the order of the capture.
#[derive(Debug)]
pub struct Temporal {
    set: Arc<IndicatorSet>,
    limits: Limits,
    max_bytes: usize,
    tracks: HashMap<u32, Track<Box<Observation>>>,
    /// Pattern and number of what was kept, the eldest first; of some nothing is left.
    eldest: VecDeque<(u32, u64)>,
    kept: usize,
    bytes: usize,
    next: u64,
    evicted: u64,
    given_up: u64,
}

/// Where a match was made, as far as it tells observations apart: two matches of one scope, of
/// the same object there, are one observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Number of the block that the packet came in.
    pub batch: u64,
    /// Its place there.
    pub position: u32,
    /// Shard of its flow.
    pub shard: u8,
    /// Message, flow or transfer; see [`crate::matcher::Hits::scope`].
    pub scope: u32,
}

impl Temporal {
    /// Follows the patterns of a set.
    pub fn new(set: Arc<IndicatorSet>) -> Self {
        let limits = Limits {
            per_part: MAX_PER_PART,
            per_pattern: MAX_PER_PATTERN,
        };
        Self {
            set,
            limits,
            max_bytes: MAX_BYTES,
            tracks: HashMap::new(),
            eldest: VecDeque::new(),
            kept: 0,
            bytes: 0,
            next: 0,
            evicted: 0,
            given_up: 0,
        }
    }

    /// Takes what a worker found. Gives back a match of an indicator as it is, and for a part of
    /// a pattern the match of the pattern if that completes it.
    pub fn take(&mut self, found: Match, origin: Origin) -> Option<Match> {
        match self.set.part(found.indicator) {
            None => Some(found),
            Some(part) => self.take_part(part, found, origin),
        }
    }

    /// Goes on with another set: a pattern that is in it in the same version keeps what was
    /// observed of it, and what was observed of others is forgotten.
    pub fn set_set(&mut self, set: Arc<IndicatorSet>) {
        let before = std::mem::replace(&mut self.set, set);
        if self.tracks.is_empty() {
            return;
        }
        let version = |set: &IndicatorSet, pattern| {
            let details = set.details(pattern);
            (details.id, details.modified, details.pattern)
        };
        let now_at: HashMap<_, u32> = self
            .set
            .patterns()
            .map(|pattern| (version(&self.set, pattern), pattern))
            .collect();
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for (pattern, track) in std::mem::take(&mut self.tracks) {
            match now_at.get(&version(&before, pattern)) {
                // its window of validity is part of its shape
                Some(now) if self.set.shape(*now).as_ref() == Some(track.shape()) => {
                    moved.insert(pattern, *now);
                    self.tracks.insert(*now, track);
                }
                _ => {
                    self.kept -= track.len();
                    self.bytes -= track.bytes();
                }
            }
        }
        self.eldest.retain_mut(|(pattern, _)| {
            moved.get(pattern).is_some_and(|now| {
                *pattern = *now;
                true
            })
        });
    }

    /// What was lost, by cause.
    pub const fn drops(&self) -> [(&'static str, u64); 2] {
        [
            ("pattern-observations-evicted", self.evicted),
            ("pattern-searches-given-up", self.given_up),
        ]
    }

    fn take_part(&mut self, part: Part, found: Match, origin: Origin) -> Option<Match> {
        let track = match self.tracks.entry(part.pattern) {
            hashbrown::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hashbrown::hash_map::Entry::Vacant(entry) => {
                // a set that lies has parts without a shape
                entry.insert(Track::new(self.set.shape(part.pattern)?))
            }
        };
        let identity = identify(&found, origin);
        let observation = Box::new(Observation {
            timestamp: found.timestamp,
            flow: found.flow,
            observable: found.observable,
        });
        let bytes = OVERHEAD + observation.observable.text_bytes();
        let (kept, before) = (track.len(), track.bytes());
        let number = self.next;
        let step = track.observe(
            Arrival {
                part: part.number,
                at: observation.timestamp,
                number,
                identity,
                bytes,
            },
            observation,
            self.limits,
        );
        self.kept = self.kept + track.len() - kept;
        self.bytes = self.bytes + track.bytes() - before;
        self.evicted += step.evicted;
        self.given_up += u64::from(step.given_up);
        if step.is_kept {
            self.next += 1;
            self.eldest.push_back((part.pattern, number));
            self.bound();
        }
        let (observations, last) = step.completed?;
        let observations: Box<[Observation]> = observations.into_iter().map(|o| *o).collect();
        let last = observations.get(last)?.clone();
        Some(Match {
            timestamp: last.timestamp,
            flow: last.flow,
            indicator: part.pattern,
            observable: last.observable,
            observations,
        })
    }

    /// Evicts the eldest until what is kept is within its bounds.
    fn bound(&mut self) {
        while self.bytes > self.max_bytes
            && let Some((pattern, number)) = self.eldest.pop_front()
        {
            if let Some(track) = self.tracks.get_mut(&pattern)
                && let Some(bytes) = track.forget(number)
            {
                self.kept -= 1;
                self.bytes -= bytes;
                self.evicted += 1;
            }
        }
        if self.eldest.len() > 2 * self.kept + SLACK {
            let tracks = &self.tracks;
            self.eldest.retain(|(pattern, number)| {
                tracks
                    .get(pattern)
                    .is_some_and(|track| track.holds(*number))
            });
        }
    }
}

/// A number for the observation that a match was made of. Of one message there may be several
/// names and addresses, each an observation, and one file, certificate or flow, however many of
/// its values matched.
fn identify(found: &Match, origin: Origin) -> u64 {
    // a fixed key: only matches that follow one another are compared
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    origin.hash(&mut hasher);
    let observable = &found.observable;
    hasher.write(observable.kind.as_str().as_bytes());
    match observable.kind {
        ObservableType::File | ObservableType::X509Certificate | ObservableType::NetworkTraffic => {
        }
        _ => hasher.write(observable.value.as_bytes()),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
