//! Patterns over several observations, made ready.
//!
//! Each `[...]` of such a pattern is a *part*: workers look for it as for a
//! pattern of its own. The [`Shape`] says what the observations of the parts
//! must be like together, which [`crate::matcher::temporal`] follows.

use crate::indicator::Refusal;
use crate::indicator::pattern::Candidates;
use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::Goal;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Qualifier;
use crate::indicator::pattern::Window;
use crate::matcher::bytes::u32_at;
use crate::matcher::bytes::u64_at;
use crate::matcher::lower::Lowered;
use crate::matcher::lower::lower_comparison;
use crate::matcher::set::IndicatorSet;
use crate::matcher::set::SHAPE_INDEX;
use crate::matcher::set::SHAPES;
use crate::time::Timestamp;
use serde::Deserialize;
use serde::Serialize;

/// A pattern over several observations.
#[derive(Debug)]
pub(crate) struct Joined {
    pub(crate) shape: Shape,
    /// At least one.
    pub(crate) parts: Vec<Lowered>,
}

/// A pattern over several observations without its comparisons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    /// Chooses from the observations of some parts, by their numbers. No part is there twice.
    pub(crate) goal: Goal<Vec<u32>>,
    /// By part: nanoseconds from which on, and before which, its observations count.
    pub(crate) windows: Vec<(u64, u64)>,
}

/// What a record that is no indicator of its own stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Ordinal of the pattern.
    pub(crate) pattern: u32,
    /// Which of its parts.
    pub(crate) number: u32,
}

/// What a pattern needs of the tables.
#[derive(Debug)]
pub(crate) enum Meaning {
    /// One observation decides.
    Alone(Lowered),
    /// Several do.
    Joined(Joined),
    /// No traffic can make it true; why, for people.
    Unseeable(String),
}

/// Set in the place of an explanation where the record is a part of a pattern: the number of the
/// part is then in the upper half, the ordinal of the pattern in the lower.
pub(crate) const PART_FLAG: u64 = 1 << 63;

/// Bytes of an entry of the index of shapes, sorted by ordinal: ordinal, length, start.
pub(crate) const SHAPE_ENTRY: usize = 16;

/// Observations that are kept for one part of a pattern: enough for every number of repetitions
/// that means anything to a person, and some hundred KiB.
pub(crate) const MAX_PER_PART: usize = 4_096;

/// Observations that are kept for one pattern.
pub(crate) const MAX_PER_PATTERN: usize = 4 * MAX_PER_PART;

/// Parts of one pattern: a few are usual, and each costs a look at each observation.
const MAX_PARTS: usize = 256;

/// Levels of goals in one another: ten times what is shared, and within what JSON readers take.
const MAX_DEPTH: usize = 32;

/// Makes a pattern ready. `subdomains`: its domain names stand for those below them as well.
pub(crate) fn lower(pattern: &Pattern, subdomains: bool) -> Result<Meaning, Refusal> {
    let mut parts = Parts {
        subdomains,
        parts: Vec::new(),
        reason: None,
    };
    let goal = Goal::of(&pattern.expression, &mut parts)?;
    let goal = parts.prune(goal, 1);
    Ok(match (goal, parts.reason.take()) {
        (None, reason) => Meaning::Unseeable(reason.unwrap_or_default()),
        (Some(goal), _) => parts.finish(goal),
    })
}

impl IndicatorSet {
    /// The part of a pattern that an ordinal stands for; `None`: an indicator.
    #[inline]
    pub(crate) fn part(&self, ordinal: u32) -> Option<Part> {
        if self.section(SHAPE_INDEX).is_empty() {
            return None;
        }
        let word = self.record_word(ordinal)?;
        (word & PART_FLAG != 0).then_some(Part {
            pattern: word as u32,
            number: ((word & !PART_FLAG) >> 32) as u32,
        })
    }

    /// Ordinals of the patterns over several observations.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = u32> {
        let (entries, _) = self.section(SHAPE_INDEX).as_chunks::<SHAPE_ENTRY>();
        entries.iter().map(|entry| u32_at(entry, 0))
    }

    /// The shape of a pattern over several observations.
    pub(crate) fn shape(&self, ordinal: u32) -> Option<Shape> {
        let (entries, _) = self.section(SHAPE_INDEX).as_chunks::<SHAPE_ENTRY>();
        let at = entries.binary_search_by_key(&ordinal, |entry| u32_at(entry, 0));
        let entry = entries.get(at.ok()?)?;
        let start = usize::try_from(u64_at(entry, 1)).ok()?;
        let end = start.checked_add(u32_at(entry, 1) as usize)?;
        serde_json::from_slice(self.section(SHAPES).get(start..end)?).ok()
    }
}

/// Collects the parts of a pattern.
struct Parts {
    subdomains: bool,
    parts: Vec<(Window, Lowered)>,
    /// Why the first of what can never be true can't.
    reason: Option<String>,
}

const ALWAYS: Window = (Timestamp::MIN, Timestamp::MAX);

impl Candidates for Parts {
    /// Numbers of parts.
    type Choice = Vec<u32>;
    type Error = Refusal;

    fn of_test(
        &mut self,
        comparison: &Comparison,
        windows: &[Window],
    ) -> Result<Goal<Vec<u32>>, Refusal> {
        let mut lowered = Lowered::default();
        lower_comparison(comparison, self.subdomains, &mut lowered)?;
        if lowered.terms.is_empty() && lowered.programs.is_empty() {
            let reason = lowered.unseeable.take();
            return Ok(self.never(|| reason.unwrap_or_else(|| "asks for nothing".into())));
        }
        let window = windows.iter().fold(ALWAYS, |(from, until), window| {
            (from.max(window.0), until.min(window.1))
        });
        if window.0 >= window.1 {
            return Ok(self.never(|| "START and STOP leave no time".into()));
        }
        let number = self.parts.len() as u32;
        self.parts.push((window, lowered));
        Ok(Goal::Some(vec![number], 1))
    }

    /// Parts under the same window become one.
    fn join(&mut self, choices: Vec<Vec<u32>>) -> Vec<u32> {
        let mut joined: Vec<u32> = Vec::new();
        for number in choices.into_iter().flatten() {
            let Some((window, lowered)) = self.parts.get_mut(number as usize) else {
                continue;
            };
            let (window, lowered) = (*window, std::mem::take(lowered));
            let host = joined
                .iter()
                .copied()
                .find(|host| self.window(*host) == Some(window))
                .unwrap_or(number);
            if host == number {
                joined.push(number);
            }
            if let Some((_, host)) = self.parts.get_mut(host as usize) {
                host.terms.extend(lowered.terms);
                host.programs.extend(lowered.programs);
            }
        }
        joined
    }

    fn of_unmet(&mut self, qualifier: Qualifier) -> Result<Goal<Vec<u32>>, Refusal> {
        Ok(self.never(|| format!("cannot be met: {qualifier}")))
    }
}

impl Parts {
    fn never(&mut self, reason: impl FnOnce() -> String) -> Goal<Vec<u32>> {
        self.reason.get_or_insert_with(reason);
        Goal::Any(Vec::new())
    }

    fn window(&self, number: u32) -> Option<Window> {
        self.parts.get(number as usize).map(|(window, _)| *window)
    }

    /// The goal without what can't be met; `None`: nothing is left. `times`: how often the goal
    /// must be met.
    fn prune(&mut self, goal: Goal<Vec<u32>>, times: u64) -> Option<Goal<Vec<u32>>> {
        let mut all = |goals: Vec<Goal<Vec<u32>>>| {
            let pruned: Option<Vec<_>> = goals.into_iter().map(|g| self.prune(g, times)).collect();
            pruned
        };
        Some(match goal {
            Goal::All(goals) => Goal::All(all(goals)?),
            Goal::Sequence(goals) => Goal::Sequence(all(goals)?),
            Goal::Any(goals) => {
                let mut left: Vec<_> = goals
                    .into_iter()
                    .filter_map(|goal| self.prune(goal, times))
                    .collect();
                match left.len() {
                    0 => return None,
                    1 => left.remove(0),
                    _ => Goal::Any(left),
                }
            }
            Goal::Some(parts, own) => {
                let needed = own.saturating_mul(times);
                if needed > MAX_PER_PART as u64 {
                    self.never(|| {
                        format!("asks for {needed} observations, of which {MAX_PER_PART} are kept")
                    });
                    return None;
                }
                Goal::Some(parts, own)
            }
            Goal::Times(goal, own) => {
                let goal = self.prune(*goal, times.saturating_mul(own))?;
                Goal::Times(Box::new(goal), own)
            }
            Goal::Within(goal, within) => Goal::Within(Box::new(self.prune(*goal, times)?), within),
        })
    }

    /// Numbers the parts that are left from 0 on.
    fn finish(mut self, goal: Goal<Vec<u32>>) -> Meaning {
        let depth = goal.depth();
        if depth > MAX_DEPTH {
            return Meaning::Unseeable(format!(
                "nests observations {depth} deep, of which {MAX_DEPTH} are followed"
            ));
        }
        let (mut windows, mut parts) = (Vec::new(), Vec::new());
        let goal = goal.map(&mut |numbers: Vec<u32>| {
            let mut own = Vec::with_capacity(numbers.len());
            for number in numbers {
                if let Some((window, lowered)) = self.parts.get_mut(number as usize) {
                    own.push(parts.len() as u32);
                    windows.push((window.0.as_nanos(), window.1.as_nanos()));
                    parts.push(std::mem::take(lowered));
                }
            }
            own
        });
        let count = parts.len();
        if count > MAX_PARTS {
            return Meaning::Unseeable(format!(
                "joins {count} observations, of which {MAX_PARTS} are followed"
            ));
        }
        let always = (ALWAYS.0.as_nanos(), ALWAYS.1.as_nanos());
        if matches!(goal, Goal::Some(_, 1)) && windows == [always] && parts.len() == 1 {
            return Meaning::Alone(parts.remove(0));
        }
        Meaning::Joined(Joined {
            shape: Shape { goal, windows },
            parts,
        })
    }
}
