//! Goals that need no search.
//!
//! A flat goal asks for so many observations of each of several groups, in
//! their order or in any, perhaps within some time: nearly all patterns that
//! are shared are flat. Where every observation is an instant, was made once
//! and belongs to one group, taking the earliest of each is right, and a window
//! only ever moves forward.

use std::time::Duration;

use super::bindings::Binding;
use super::bindings::SCANNED_PER_STEP;
use super::bindings::Span;
use super::bindings::TooHard;
use super::bindings::spend;
use super::goal::Goal;
use crate::time::Timestamp;

/// The binding of the earliest observations that meets a flat goal, or `Some(None)` where there
/// is none; `None`: the goal is not flat.
#[expect(clippy::option_option, reason = "decided or not, then bound or not")]
pub(super) fn bind(
    goal: &Goal<Vec<usize>>,
    spans: &[Span],
    steps: &mut u64,
) -> Result<Option<Option<Binding>>, TooHard> {
    spend(steps, 1 + spans.len() as u64 / SCANNED_PER_STEP)?;
    let Some(flat) = Flat::of(goal, spans) else {
        return Ok(None);
    };
    // Nothing before this instant can be part of a binding.
    let mut from = Timestamp::MIN;
    loop {
        let Some((given, first, last)) = flat.take_earliest(from) else {
            return Ok(Some(None));
        };
        match flat.within {
            // All that begins at `from` or later ends at `last` or later.
            Some(within) if last.since(first) > within => {
                spend(steps, flat.groups.len() as u64)?;
                from = earlier(last, within);
            }
            _ => return Ok(Some(Some(given))),
        }
    }
}

struct Flat<'a> {
    groups: Vec<(&'a [usize], u64)>,
    ordered: bool,
    within: Option<Duration>,
    spans: &'a [Span],
}

impl<'a> Flat<'a> {
    fn of(goal: &'a Goal<Vec<usize>>, spans: &'a [Span]) -> Option<Self> {
        let (goal, within) = match goal {
            Goal::Within(goal, within) => (goal.as_ref(), Some(*within)),
            goal => (goal, None),
        };
        let goals = match goal {
            Goal::Some(..) => std::slice::from_ref(goal),
            Goal::All(goals) | Goal::Sequence(goals) => goals,
            _ => return None,
        };
        let mut taken = vec![false; spans.len()];
        let mut groups = Vec::with_capacity(goals.len());
        for goal in goals {
            let Goal::Some(candidates, times) = goal else {
                return None;
            };
            for candidate in candidates {
                let span = spans.get(*candidate)?;
                let taken = taken.get_mut(*candidate)?;
                if *taken || span.count != 1 || span.first != span.last {
                    return None;
                }
                *taken = true;
            }
            groups.push((candidates.as_slice(), *times));
        }
        Some(Self {
            groups,
            ordered: matches!(goal, Goal::Sequence(_)),
            within,
            spans,
        })
    }

    /// The earliest observations from an instant on, with the first and last instant of them.
    fn take_earliest(&self, from: Timestamp) -> Option<(Binding, Timestamp, Timestamp)> {
        let mut given = Binding::new();
        let (mut floor, mut first, mut last) = (from, Timestamp::MAX, Timestamp::MIN);
        for (candidates, times) in &self.groups {
            let start = candidates.partition_point(|i| self.at(*i) < floor);
            let times = usize::try_from(*times).ok()?;
            let chosen = candidates.get(start..start.checked_add(times)?)?;
            for candidate in chosen {
                let at = self.at(*candidate);
                (first, last) = (first.min(at), last.max(at));
                given.push((*candidate, 1));
            }
            if self.ordered {
                floor = last.max(floor);
            }
        }
        Some((given, first, last))
    }

    fn at(&self, candidate: usize) -> Timestamp {
        self.spans
            .get(candidate)
            .map_or(Timestamp::MAX, |span| span.last)
    }
}

fn earlier(instant: Timestamp, by: Duration) -> Timestamp {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(instant.as_nanos().saturating_sub(nanos))
}
