//! One pattern over several observations: what was observed of it so far.
//!
//! An observation that comes in is the only one that can complete the pattern:
//! what was there before did not. Whatever lies on the way from the whole
//! pattern to the part that was observed therefore bounds the time of all the
//! others, which most often settles the question by a few look-ups.

use crate::flow::table::TCP_TIMEOUT;
use crate::indicator::pattern::Goal;
use crate::indicator::pattern::Span;
use crate::indicator::pattern::TooHard;
use crate::indicator::pattern::bind;
use crate::matcher::join::Shape;
use crate::time::Timestamp;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Most steps of one search, which take about a millisecond.
const MAX_STEPS: u64 = 4_096;

/// Candidates whose listing takes as long as a step.
const LISTED_PER_STEP: u64 = 32;

/// The same where an observation may be of several parts, and must be listed once.
const SHARED_PER_STEP: u64 = 4;

/// Steps that each observation earns its pattern: what searches cost on average, some thirty
/// microseconds at worst.
const EARNED_STEPS: u64 = 128;

/// Steps that a pattern can save up: searches of full length one after the other.
const MAX_SAVED_STEPS: u64 = 64 * MAX_STEPS;

/// By how much an observation may come late: what a flow still holds is told at its end, with the
/// time of its last packet. Twice the time-out leaves room for large blocks.
const LATENESS: Duration = TCP_TIMEOUT.saturating_mul(2);

/// How many observations are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) per_part: usize,
    pub(super) per_pattern: usize,
}

/// An observation that comes in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Which part of the pattern it is of.
    pub(super) part: u32,
    pub(super) at: Timestamp,
    /// Greater than all before.
    pub(super) number: u64,
    /// The same for all parts that one observation is of.
    pub(super) identity: u64,
    /// Memory that it takes.
    pub(super) bytes: usize,
}

/// What became of an observation.
#[derive(Debug)]
pub(super) struct Step<O> {
    /// What completed the pattern, in order of time, and which of it came last.
    pub(super) completed: Option<(Vec<O>, usize)>,
    /// Whether it is kept under its own number, even if not for long.
    pub(super) is_kept: bool,
    /// Observations that found no room; not those that only a late one could have made count.
    pub(super) evicted: u64,
    /// Whether the search for a completion took too long, or was not made since others did.
    pub(super) given_up: bool,
}

impl<O> Step<O> {
    const fn nothing() -> Self {
        Self {
            completed: None,
            is_kept: false,
            evicted: 0,
            given_up: false,
        }
    }
}

/// The observations of one pattern that are not spent. `O` is what is to be said of each.
#[derive(Debug)]
pub(super) struct Track<O> {
    shape: Shape,
    /// By part: how far apart from another one its observations may be and count.
    reaches: Vec<Option<Duration>>,
    /// By part: its observations in order of time.
    queues: Vec<VecDeque<Key>>,
    kept: BTreeMap<u64, Kept<O>>,
    bytes: usize,
    /// Identity and number of the observation that came last.
    last: Option<(u64, u64)>,
    /// Whether an observation may be of several parts.
    shares: bool,
    /// Steps that searches may take.
    steps: u64,
}

/// Orders observations by time, and those of one instant as they came.
type Key = (Timestamp, u64);

#[derive(Debug)]
struct Kept<O> {
    at: Timestamp,
    bytes: usize,
    /// How many queues it is in; not 0.
    queues: usize,
    what: O,
}

/// Some of the observations of a part.
#[derive(Clone, Debug)]
struct Slice {
    part: u32,
    range: Range<usize>,
}

/// What a binding must hold, and from when until when, both included, the others can be.
#[derive(Clone, Copy, Debug)]
struct Quest {
    /// The observation that came in; `None` where the goal may do without.
    trigger: Option<Arrival>,
    from: Timestamp,
    until: Timestamp,
    /// How often the goal is to be met.
    times: u64,
}

impl<O> Track<O> {
    pub(super) fn new(shape: Shape) -> Self {
        let parts = shape.windows.len();
        let mut reaches = vec![None; parts];
        note_reaches(&shape.goal, None, &mut reaches);
        Self {
            shape,
            reaches,
            queues: vec![VecDeque::new(); parts],
            kept: BTreeMap::new(),
            bytes: 0,
            last: None,
            shares: false,
            steps: MAX_SAVED_STEPS,
        }
    }

    /// What it follows.
    pub(super) const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Observations that are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Memory that they take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn holds(&self, number: u64) -> bool {
        self.kept.contains_key(&number)
    }

    /// Takes an observation of a part.
    pub(super) fn observe(&mut self, arrival: Arrival, what: O, limits: Limits) -> Step<O> {
        let mut step = Step::nothing();
        let part = arrival.part as usize;
        let window = self.shape.windows.get(part);
        if !window.is_some_and(|w| (w.0..w.1).contains(&arrival.at.as_nanos())) {
            return step;
        }
        let again = self.last.filter(|last| last.0 == arrival.identity);
        let number = again.map_or(arrival.number, |last| last.1);
        let mut arrival = Arrival { number, ..arrival };
        match (again, self.kept.get_mut(&number)) {
            (None, _) => {
                self.bytes += arrival.bytes;
                self.kept.insert(
                    number,
                    Kept {
                        at: arrival.at,
                        bytes: arrival.bytes,
                        queues: 0,
                        what,
                    },
                );
                self.last = Some((arrival.identity, number));
                step.is_kept = true;
            }
            (Some(_), Some(kept)) => {
                arrival.at = kept.at;
                self.shares = true;
            }
            // another part of it completed the pattern
            (Some(_), None) => return step,
        }
        self.drop_stale(part, arrival.at);
        let key = (arrival.at, number);
        if let Some(queue) = self.queues.get_mut(part)
            && let Err(place) = queue.binary_search(&key)
            && let Some(kept) = self.kept.get_mut(&number)
        {
            queue.insert(place, key);
            kept.queues += 1;
        }
        match self.find(arrival) {
            Ok(Some(numbers)) => step.completed = self.spend(&numbers),
            Ok(None) => step.evicted = self.make_room(arrival, limits),
            Err(TooHard) => {
                step.given_up = true;
                step.evicted = self.make_room(arrival, limits);
            }
        }
        step
    }

    /// Gives an observation up; returns the memory that it took.
    pub(super) fn forget(&mut self, number: u64) -> Option<usize> {
        let kept = self.remove(number)?;
        Some(kept.bytes)
    }

    fn remove(&mut self, number: u64) -> Option<Kept<O>> {
        let kept = self.kept.remove(&number)?;
        self.bytes -= kept.bytes;
        for queue in &mut self.queues {
            if let Ok(place) = queue.binary_search(&(kept.at, number)) {
                queue.remove(place);
            }
        }
        Some(kept)
    }

    /// Takes out what completed the pattern.
    fn spend(&mut self, numbers: &[u64]) -> Option<(Vec<O>, usize)> {
        let mut spent: Vec<(Timestamp, u64, O)> = numbers
            .iter()
            .filter_map(|number| {
                let kept = self.remove(*number)?;
                Some((kept.at, *number, kept.what))
            })
            .collect();
        spent.sort_by_key(|(at, number, _)| (*at, *number));
        let last = (0..spent.len()).max_by_key(|i| spent.get(*i).map(|s| s.1))?;
        Some((spent.into_iter().map(|(_, _, what)| what).collect(), last))
    }

    /// Drops the observations of a part that are too old for any to come.
    fn drop_stale(&mut self, part: usize, now: Timestamp) {
        let Some(reach) = self.reaches.get(part).copied().flatten() else {
            return;
        };
        while let Some(key) = self.queues.get(part).and_then(VecDeque::front).copied()
            && key.0 + reach + LATENESS < now
        {
            self.drop_from(part, key);
        }
    }

    /// Drops an observation from one part; it stays with others.
    fn drop_from(&mut self, part: usize, key: Key) {
        if let Some(queue) = self.queues.get_mut(part)
            && let Ok(place) = queue.binary_search(&key)
        {
            queue.remove(place);
        }
        if let Some(kept) = self.kept.get_mut(&key.1) {
            kept.queues -= 1;
            if kept.queues == 0 {
                self.bytes -= kept.bytes;
                self.kept.remove(&key.1);
            }
        }
    }

    /// Evicts what is beyond the limits; returns how many could still have counted.
    fn make_room(&mut self, arrival: Arrival, limits: Limits) -> u64 {
        let mut evicted = 0;
        let part = arrival.part as usize;
        while self
            .queues
            .get(part)
            .is_some_and(|q| q.len() > limits.per_part)
        {
            evicted += self.evict_from(part, arrival.at);
        }
        while self.kept.len() > limits.per_pattern {
            let longest =
                (0..self.queues.len()).max_by_key(|p| self.queues.get(*p).map(VecDeque::len));
            evicted += self.evict_from(longest.unwrap_or(part), arrival.at);
        }
        evicted
    }

    /// Evicts the observation of a part that is furthest from now, most often the eldest.
    fn evict_from(&mut self, part: usize, now: Timestamp) -> u64 {
        let Some(queue) = self.queues.get(part) else {
            return 0;
        };
        let (Some(first), Some(last)) = (queue.front().copied(), queue.back().copied()) else {
            return 0;
        };
        let key = if last.0.since(now) > now.since(first.0) {
            last
        } else {
            first
        };
        let reach = self.reaches.get(part).copied().flatten();
        let counts = reach.is_none_or(|reach| key.0 + reach >= now)
            && self.can_follow(&self.shape.goal, part, key.0);
        self.drop_from(part, key);
        u64::from(counts)
    }

    /// Whether what an observation must follow has been observed before it.
    fn can_follow(&self, goal: &Goal<Vec<u32>>, part: usize, at: Timestamp) -> bool {
        match goal {
            Goal::Within(goal, _) => self.can_follow(goal, part, at),
            Goal::Any(goals) => goals
                .iter()
                .filter(|goal| holds(goal, part as u32))
                .all(|goal| self.can_follow(goal, part, at)),
            Goal::Sequence(goals) => {
                let place = goals.iter().position(|goal| holds(goal, part as u32));
                let before = place.and_then(|place| goals.get(place.checked_sub(1)?));
                let quest = Quest {
                    trigger: None,
                    from: Timestamp::MIN,
                    until: at,
                    times: 1,
                };
                before.is_none_or(|goal| self.plan(goal, quest).is_some())
            }
            _ => true,
        }
    }

    /// The numbers of observations that complete the pattern, now that this one is there.
    fn find(&mut self, arrival: Arrival) -> Result<Option<Vec<u64>>, TooHard> {
        self.steps = (self.steps + EARNED_STEPS).min(MAX_SAVED_STEPS);
        let quest = Quest {
            trigger: Some(arrival),
            from: Timestamp::MIN,
            until: Timestamp::MAX,
            times: 1,
        };
        let Some(plan) = self.plan(&self.shape.goal, quest) else {
            return Ok(None);
        };
        let mut candidates = 0;
        plan.for_each_choice(&mut |slices| {
            candidates += slices.iter().map(|s| s.range.len() as u64).sum::<u64>();
        });
        let per_step = if self.shares {
            SHARED_PER_STEP
        } else {
            LISTED_PER_STEP
        };
        let listing = candidates / per_step;
        // a search that is cut short is of no use
        let Some(rest) = self.steps.checked_sub(listing + MAX_STEPS) else {
            return Err(TooHard);
        };
        let mut steps = MAX_STEPS;
        let found = self.search(plan, &mut steps);
        self.steps = rest + steps;
        found
    }

    fn search(&self, plan: Goal<Vec<Slice>>, steps: &mut u64) -> Result<Option<Vec<u64>>, TooHard> {
        let mut numbers = Vec::new();
        let mut spans = Vec::new();
        let mut places: HashMap<u64, usize> = HashMap::new();
        let goal = plan.map(&mut |slices: Vec<Slice>| {
            let mut keys: Vec<Key> = Vec::new();
            for slice in &slices {
                if let Some(queue) = self.queues.get(slice.part as usize) {
                    keys.extend(queue.range(slice.range.clone()));
                }
            }
            if slices.len() > 1 {
                keys.sort_unstable();
                keys.dedup();
            }
            let mut place = |(at, number): Key| {
                numbers.push(number);
                spans.push(Span::at(at));
                numbers.len() - 1
            };
            if self.shares {
                let shared = |key: Key| *places.entry(key.1).or_insert_with(|| place(key));
                keys.into_iter().map(shared).collect()
            } else {
                keys.into_iter().map(place).collect()
            }
        });
        let binding = bind(&goal, &spans, steps)?;
        Ok(binding.map(|given| {
            let given = given
                .into_iter()
                .filter_map(|(i, _)| numbers.get(i).copied());
            given.collect()
        }))
    }

    /// Which observations each choice can be of; `None`: there are too few.
    fn plan(&self, goal: &Goal<Vec<u32>>, quest: Quest) -> Option<Goal<Vec<Slice>>> {
        let leads = |goal: &Goal<Vec<u32>>| quest.trigger.is_some_and(|t| holds(goal, t.part));
        // what to look for where the trigger is not
        let elsewhere = Quest {
            trigger: None,
            ..quest
        };
        Some(match goal {
            Goal::Some(parts, times) => {
                let slices = match quest.trigger {
                    Some(trigger) if *times == 1 => vec![self.only(trigger)?],
                    _ => parts.iter().map(|part| self.slice(*part, quest)).collect(),
                };
                let available: usize = slices.iter().map(|slice| slice.range.len()).sum();
                if (available as u64) < times.saturating_mul(quest.times) {
                    return None;
                }
                Goal::Some(slices, *times)
            }
            Goal::All(goals) => Goal::All(
                goals
                    .iter()
                    .map(|goal| self.plan(goal, if leads(goal) { quest } else { elsewhere }))
                    .collect::<Option<_>>()?,
            ),
            Goal::Any(goals) => {
                let led = goals.iter().position(leads);
                if let Some(goal) = led.and_then(|place| goals.get(place)) {
                    return self.plan(goal, quest);
                }
                // how often each of several is met is open
                let once = Quest {
                    times: 1,
                    ..elsewhere
                };
                let able: Vec<_> = goals.iter().filter_map(|g| self.plan(g, once)).collect();
                if able.is_empty() {
                    return None;
                }
                Goal::Any(able)
            }
            Goal::Sequence(goals) => {
                let led = goals.iter().position(leads);
                let plan = |(place, goal): (usize, &Goal<Vec<u32>>)| match (led, quest.trigger) {
                    (Some(led), Some(trigger)) if place < led => {
                        let until = elsewhere.until.min(trigger.at);
                        self.plan(goal, Quest { until, ..elsewhere })
                    }
                    (Some(led), Some(trigger)) if place > led => {
                        let from = elsewhere.from.max(trigger.at);
                        self.plan(goal, Quest { from, ..elsewhere })
                    }
                    (Some(_), _) => self.plan(goal, quest),
                    (None, _) => self.plan(goal, elsewhere),
                };
                Goal::Sequence(goals.iter().enumerate().map(plan).collect::<Option<_>>()?)
            }
            Goal::Times(goal, times) => {
                // the trigger is in one of them, and the others may be elsewhere
                let each = Quest {
                    times: quest.times.saturating_mul(*times),
                    ..elsewhere
                };
                Goal::Times(Box::new(self.plan(goal, each)?), *times)
            }
            Goal::Within(goal, within) => {
                let mut quest = quest;
                if let Some(trigger) = quest.trigger {
                    let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
                    let earliest = trigger.at.as_nanos().saturating_sub(nanos);
                    quest.from = quest.from.max(Timestamp::from_nanos(earliest));
                    quest.until = quest.until.min(trigger.at + *within);
                }
                Goal::Within(Box::new(self.plan(goal, quest)?), *within)
            }
        })
    }

    /// The observation that came in.
    fn only(&self, trigger: Arrival) -> Option<Slice> {
        let queue = self.queues.get(trigger.part as usize)?;
        let place = queue.binary_search(&(trigger.at, trigger.number)).ok()?;
        Some(Slice {
            part: trigger.part,
            range: place..place + 1,
        })
    }

    fn slice(&self, part: u32, quest: Quest) -> Slice {
        let range = self.queues.get(part as usize).map_or(0..0, |queue| {
            let start = queue.partition_point(|key| key.0 < quest.from);
            let end = queue.partition_point(|key| key.0 <= quest.until);
            start..end.max(start)
        });
        Slice { part, range }
    }
}

/// Whether a part belongs to a goal.
fn holds(goal: &Goal<Vec<u32>>, part: u32) -> bool {
    match goal {
        Goal::Some(parts, _) => parts.contains(&part),
        Goal::All(goals) | Goal::Any(goals) | Goal::Sequence(goals) => {
            goals.iter().any(|goal| holds(goal, part))
        }
        Goal::Times(goal, _) | Goal::Within(goal, _) => holds(goal, part),
    }
}

/// What lies under a WITHIN that spans a whole alternative is of no use without something newer.
fn note_reaches(goal: &Goal<Vec<u32>>, reach: Option<Duration>, reaches: &mut [Option<Duration>]) {
    match goal {
        Goal::Within(goal, within) => {
            let reach = reach.map_or(*within, |reach| reach.min(*within));
            note_reaches(goal, Some(reach), reaches);
        }
        Goal::Any(goals) => {
            for goal in goals {
                note_reaches(goal, reach, reaches);
            }
        }
        _ => goal.for_each_choice(&mut |parts| {
            for part in parts {
                if let Some(place) = reaches.get_mut(*part as usize) {
                    *place = reach;
                }
            }
        }),
    }
}
