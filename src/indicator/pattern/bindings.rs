//! How a finite list of observations can be shared out among the parts of a
//! pattern.
//!
//! A *binding* gives every `[...]` that must hold an observation of its own; one
//! that was observed several times can be given as often. The search goes depth
//! first, cuts off what the windows already given up forbid, and gives up with an
//! error after a bounded number of steps: the question is as hard as matching in
//! hypergraphs.
//!
//! Of a group of observations under one qualifier only two instants count. One
//! may choose for each observation any instant from its first to its last, so
//! the group lies within `d` exactly when the latest *first* is at most `d` after
//! the earliest *last*; and one group may follow another exactly when the latest
//! *first* of the one is at most the earliest *last* of the other.

use std::time::Duration;

use super::flat;
use super::goal::Goal;
use crate::time::Timestamp;

/// When, and how often, an observation was made.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// When first.
    pub first: Timestamp,
    /// When last. Invariant: `first <= last`.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl Span {
    /// An observation made once.
    pub const fn at(instant: Timestamp) -> Self {
        Self {
            first: instant,
            last: instant,
            count: 1,
        }
    }
}

/// Observations by their index, each with how often it is given.
pub type Binding = Vec<(usize, u64)>;

/// The search grew beyond its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooHard;

/// Candidates looked over that count as one step, being that much cheaper.
pub(super) const SCANNED_PER_STEP: u64 = 64;

/// Most decisions on top of each other, which bounds the stack that a search takes.
const MAX_DEPTH: usize = 1_000;

/// A binding that meets the goal; `None`: there is none.
///
/// The candidates of a [`Goal::Some`] are indices of `spans`, sorted by [`Span::last`], without
/// duplicates. `steps` are those that it may take, and what is left of them then; one takes
/// less than a microsecond.
pub fn bind(
    goal: &Goal<Vec<usize>>,
    spans: &[Span],
    steps: &mut u64,
) -> Result<Option<Binding>, TooHard> {
    let available = spans
        .iter()
        .fold(0_u64, |sum, span| sum.saturating_add(span.count));
    if goal.least() > available {
        return Ok(None);
    }
    if let Some(decided) = flat::bind(goal, spans, steps)? {
        return Ok(decided);
    }
    let mut search = Search {
        spans,
        left: spans.iter().map(|span| span.count).collect(),
        groups: Vec::new(),
        given: Vec::new(),
        steps: *steps,
        depth: 0,
    };
    let found = search.run(&Agenda {
        task: Task::Bind(goal),
        next: None,
    });
    *steps = search.steps;
    Ok(found?.then_some(search.given))
}

impl Goal<Vec<usize>> {
    /// Fewest observations that can meet it; `u64::MAX` stands for "can't be met".
    fn least(&self) -> u64 {
        match self {
            Self::Some(candidates, _) if candidates.is_empty() => u64::MAX,
            Self::Some(_, times) => *times,
            Self::All(goals) | Self::Sequence(goals) => goals
                .iter()
                .fold(0, |sum: u64, goal| sum.saturating_add(goal.least())),
            Self::Any(goals) => goals.iter().map(Self::least).min().unwrap_or(u64::MAX),
            Self::Times(goal, times) => goal.least().saturating_mul(*times),
            Self::Within(goal, _) => goal.least(),
        }
    }
}

/// What is still to be done, first things first; shared between branches.
struct Agenda<'a> {
    task: Task<'a>,
    next: Option<&'a Self>,
}

#[derive(Clone, Copy)]
enum Task<'a> {
    Bind(&'a Goal<Vec<usize>>),
    /// `need` more out of `candidates`.
    Choose {
        candidates: &'a [usize],
        need: u64,
        /// Whether some of the same goal have been chosen already, before these.
        begun: bool,
    },
    /// All of these, under the rule of [`Goal::All`].
    BindAll(&'a [Goal<Vec<usize>>]),
    /// These in order, each after what the open group holds so far.
    BindSequence(&'a [Goal<Vec<usize>>]),
    /// The goal so many more times.
    BindTimes(&'a Goal<Vec<usize>>, u64),
    /// The innermost group is complete.
    Close,
}

/// A part of the pattern with a condition on time, while it is being bound.
#[derive(Clone, Copy)]
struct Group {
    within: Option<Duration>,
    /// What is added now must last until here at least.
    not_before: Timestamp,
    latest_first: Timestamp,
    earliest_last: Timestamp,
}

struct Search<'s> {
    spans: &'s [Span],
    /// How often each observation can still be given.
    left: Vec<u64>,
    /// Open groups, outermost first.
    groups: Vec<Group>,
    /// What has been given so far.
    given: Binding,
    /// Steps that are left.
    steps: u64,
    depth: usize,
}

impl Search<'_> {
    /// Whether the agenda can be finished: then all that it takes is in `given`, else everything
    /// is as it was, but for the steps counted.
    fn run(&mut self, agenda: &Agenda<'_>) -> Result<bool, TooHard> {
        self.spend(1)?;
        if self.depth == MAX_DEPTH {
            return Err(TooHard);
        }
        self.depth += 1;
        let result = self.perform(agenda);
        self.depth -= 1;
        result
    }

    fn spend(&mut self, steps: u64) -> Result<(), TooHard> {
        spend(&mut self.steps, steps)
    }

    fn perform(&mut self, agenda: &Agenda<'_>) -> Result<bool, TooHard> {
        let next = agenda.next;
        match agenda.task {
            Task::Bind(goal) => self.bind(goal, next),
            Task::BindAll([]) | Task::BindSequence([]) | Task::BindTimes(_, 0) => self.follow(next),
            Task::BindAll([goal, others @ ..]) => {
                self.both(Task::Bind(goal), Task::BindAll(others), next)
            }
            Task::BindSequence([goal, others @ ..]) => {
                let Some(before) = self.groups.last().copied() else {
                    return Ok(false);
                };
                if let Some(group) = self.groups.last_mut() {
                    group.not_before = before.latest_first;
                }
                let result = self.both(Task::Bind(goal), Task::BindSequence(others), next);
                if let Some(group) = self.groups.last_mut() {
                    *group = before;
                }
                result
            }
            Task::BindTimes(goal, times) => {
                self.both(Task::Bind(goal), Task::BindTimes(goal, times - 1), next)
            }
            Task::Choose {
                candidates,
                need,
                begun,
            } => self.choose(candidates, need, begun, next),
            Task::Close => {
                let group = self.groups.pop();
                let result = self.follow(next);
                self.groups.extend(group);
                result
            }
        }
    }

    fn follow(&mut self, next: Option<&Agenda<'_>>) -> Result<bool, TooHard> {
        match next {
            Some(agenda) => self.run(agenda),
            None => Ok(true),
        }
    }

    fn both(
        &mut self,
        first: Task<'_>,
        second: Task<'_>,
        next: Option<&Agenda<'_>>,
    ) -> Result<bool, TooHard> {
        let second = Agenda { task: second, next };
        self.run(&Agenda {
            task: first,
            next: Some(&second),
        })
    }

    fn bind(
        &mut self,
        goal: &Goal<Vec<usize>>,
        next: Option<&Agenda<'_>>,
    ) -> Result<bool, TooHard> {
        let task = match goal {
            Goal::Some(candidates, times) => Task::Choose {
                candidates,
                need: *times,
                begun: false,
            },
            Goal::All(goals) => Task::BindAll(goals),
            Goal::Times(goal, times) => Task::BindTimes(goal, *times),
            Goal::Any(goals) => {
                for goal in goals {
                    let task = Task::Bind(goal);
                    if self.run(&Agenda { task, next })? {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            Goal::Sequence(goals) => return self.open(None, Task::BindSequence(goals), next),
            Goal::Within(goal, duration) => {
                return self.open(Some(*duration), Task::Bind(goal), next);
            }
        };
        self.run(&Agenda { task, next })
    }

    /// Performs a task with a group of its own around what it binds.
    fn open(
        &mut self,
        within: Option<Duration>,
        task: Task<'_>,
        next: Option<&Agenda<'_>>,
    ) -> Result<bool, TooHard> {
        // A group holds at least one observation before its instants are read,
        // but for the first of a sequence, which then follows nothing.
        self.groups.push(Group {
            within,
            not_before: Timestamp::MIN,
            latest_first: Timestamp::MIN,
            earliest_last: Timestamp::MAX,
        });
        let result = self.both(task, Task::Close, next);
        self.groups.pop();
        result
    }

    /// Chooses `need` out of `candidates`, going from the earliest to the latest
    /// last instant, so that of a set only one order is tried.
    fn choose(
        &mut self,
        candidates: &[usize],
        need: u64,
        begun: bool,
        next: Option<&Agenda<'_>>,
    ) -> Result<bool, TooHard> {
        if need == 0 {
            return self.follow(next);
        }
        // How many there are among these and all that come after; what lies outside
        // an open group now lies outside it for good.
        let mut supply = candidates
            .iter()
            .fold(0, |sum: u64, i| sum.saturating_add(self.supply(*i)));
        self.spend(candidates.len() as u64 / SCANNED_PER_STEP)?;
        for (i, candidate) in candidates.iter().enumerate() {
            if supply < need {
                return Ok(false);
            }
            // All that is left lasts longer than what was chosen, so what fits by
            // itself fits together.
            if begun && next.is_none_or(is_only_closing) {
                self.give(candidates.get(i..).unwrap_or_default(), need);
                return Ok(true);
            }
            let (left, Some(span)) = (self.supply(*candidate), self.spans.get(*candidate)) else {
                continue;
            };
            if left == 0 {
                continue;
            }
            supply = supply.saturating_sub(left);
            let others = candidates.get(i + 1..).unwrap_or_default();
            let groups = self.groups.clone();
            for group in &mut self.groups {
                group.latest_first = group.latest_first.max(span.first);
                group.earliest_last = group.earliest_last.min(span.last);
            }
            let mut found = Ok(false);
            let most = left.min(need);
            // Most often the most is right, but another part may need the rest.
            for taken in (1..=most).rev() {
                if let Some(left) = self.left.get_mut(*candidate) {
                    *left -= taken;
                }
                self.given.push((*candidate, taken));
                found = self.run(&Agenda {
                    task: Task::Choose {
                        candidates: others,
                        need: need - taken,
                        begun: true,
                    },
                    next,
                });
                if let Some(left) = self.left.get_mut(*candidate) {
                    *left += taken;
                }
                if found != Ok(false) {
                    break;
                }
                self.given.pop();
            }
            self.groups = groups;
            if found != Ok(false) {
                return found;
            }
        }
        Ok(false)
    }

    /// Gives `need` of the candidates, earliest first.
    fn give(&mut self, candidates: &[usize], mut need: u64) {
        for candidate in candidates {
            let taken = self.supply(*candidate).min(need);
            if taken > 0 {
                self.given.push((*candidate, taken));
                need -= taken;
            }
        }
    }

    /// How often the observation can still be given without breaking an open group.
    fn supply(&self, candidate: usize) -> u64 {
        let (Some(span), Some(left)) = (self.spans.get(candidate), self.left.get(candidate)) else {
            return 0;
        };
        let fits = self.groups.iter().all(|group| {
            let latest_first = group.latest_first.max(span.first);
            let earliest_last = group.earliest_last.min(span.last);
            span.last >= group.not_before
                && group
                    .within
                    .is_none_or(|within| latest_first.since(earliest_last) <= within)
        });
        if fits { *left } else { 0 }
    }
}

/// Takes steps from those that are left.
pub(super) fn spend(left: &mut u64, steps: u64) -> Result<(), TooHard> {
    match left.checked_sub(steps) {
        Some(rest) => *left = rest,
        None => {
            *left = 0;
            return Err(TooHard);
        }
    }
    Ok(())
}

/// Whether nothing more is to be bound.
fn is_only_closing(agenda: &Agenda<'_>) -> bool {
    let mut rest = Some(agenda);
    while let Some(agenda) = rest {
        match agenda.task {
            Task::Close | Task::BindAll([]) | Task::BindSequence([]) | Task::BindTimes(_, 0) => {
                rest = agenda.next
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MAX_STEPS: u64 = 1_000_000;

    fn is_bound(goal: &Goal<Vec<usize>>, spans: &[Span]) -> Result<bool, TooHard> {
        bind(goal, spans, &mut { MAX_STEPS }).map(|binding| binding.is_some())
    }

    fn span(first: u64, last: u64, count: u64) -> Span {
        Span {
            first: Timestamp::from_parts(first, 0),
            last: Timestamp::from_parts(last, 0),
            count,
        }
    }

    const fn one(candidates: Vec<usize>) -> Goal<Vec<usize>> {
        Goal::Some(candidates, 1)
    }

    #[test]
    fn gives_each_observation_once() {
        let spans = [span(0, 0, 1), span(5, 5, 1), span(9, 9, 2)];
        let all = || one(vec![0, 1, 2]);
        for (goal, expected) in [
            (one(vec![]), false),
            (Goal::Some(vec![0, 1, 2], 4), true),
            (Goal::Some(vec![0, 1, 2], 5), false),
            (Goal::All(vec![one(vec![0]), one(vec![0])]), false),
            (Goal::All(vec![one(vec![2]), one(vec![2])]), true),
            // The greedy choice for the first leaves nothing for the second.
            (Goal::All(vec![all(), one(vec![0])]), true),
            (
                Goal::All(vec![Goal::Some(vec![0, 1, 2], 3), one(vec![2])]),
                true,
            ),
            (Goal::Sequence(vec![one(vec![1]), one(vec![0])]), false),
            (Goal::Sequence(vec![one(vec![2]), one(vec![2])]), true),
            (Goal::Sequence(vec![all(), all(), one(vec![1])]), false),
            (
                Goal::Within(
                    Box::new(Goal::Some(vec![0, 1, 2], 3)),
                    Duration::from_secs(4),
                ),
                true,
            ),
            (
                Goal::Within(
                    Box::new(Goal::Some(vec![0, 1, 2], 3)),
                    Duration::from_secs(3),
                ),
                false,
            ),
            (
                Goal::Times(Box::new(Goal::All(vec![all(), all()])), 2),
                true,
            ),
            (
                Goal::Times(Box::new(Goal::All(vec![all(), all()])), 3),
                false,
            ),
            (
                Goal::Any(vec![one(vec![]), Goal::All(vec![all(), all()])]),
                true,
            ),
        ] {
            assert_eq!(is_bound(&goal, &spans), Ok(expected), "{goal:?}");
        }
    }

    #[test]
    fn gives_up_in_time_and_within_its_stack() {
        let spans = vec![span(0, 0, 1_000_000_000); 2];
        let pair = Goal::All(vec![one(vec![0]), one(vec![1])]);
        assert_eq!(
            is_bound(&Goal::Times(Box::new(pair), 1_000_000), &spans),
            Err(TooHard)
        );
        // Enough for all of it, and far too many for any stack.
        let spans: Vec<_> = (0..5_000).map(|i| span(i, i, 1)).collect();
        let goal = Goal::Some((0..5_000).collect(), 5_000);
        assert_eq!(is_bound(&goal, &spans), Ok(true));
        let window = |seconds| Goal::Within(Box::new(goal.clone()), Duration::from_secs(seconds));
        assert_eq!(is_bound(&window(4_999), &spans), Ok(true));
        assert_eq!(is_bound(&window(4_998), &spans), Ok(false));
        let both = Goal::All(vec![goal.clone(), one(vec![0])]);
        assert_eq!(is_bound(&both, &spans), Ok(false));
        let half = Goal::Some((0..5_000).collect(), 4_999);
        let both = Goal::All(vec![half, one(vec![0])]);
        assert_eq!(is_bound(&both, &spans), Err(TooHard));
        // More holes than pigeons can't be told quickly.
        let spans = vec![span(0, 0, 1); 30];
        let holes = vec![one((0..15).collect()); 16];
        let mut goals = holes;
        goals.push(one((15..30).collect()));
        assert_eq!(is_bound(&Goal::All(goals), &spans), Err(TooHard));
    }

    /// Every binding, as instances of observations; plain and slow.
    fn enumerate(goal: &Goal<Vec<usize>>, spans: &[Span]) -> Vec<Vec<(usize, u64)>> {
        let product = |parts: &[Vec<Vec<(usize, u64)>>], sequence: bool| {
            let mut bindings: Vec<Vec<(usize, u64)>> = vec![vec![]];
            for part in parts {
                let mut longer = Vec::new();
                for left in &bindings {
                    for right in part {
                        let disjoint = left.iter().all(|instance| !right.contains(instance));
                        let latest = left.iter().map(|(i, _)| spans[*i].first).max();
                        let earliest = right.iter().map(|(i, _)| spans[*i].last).min();
                        let ordered = latest.is_none_or(|latest| Some(latest) <= earliest);
                        if disjoint && (ordered || !sequence) {
                            longer.push([left.as_slice(), right].concat());
                        }
                    }
                }
                bindings = longer;
            }
            bindings
        };
        match goal {
            Goal::Some(candidates, times) => {
                let single: Vec<_> = candidates
                    .iter()
                    .flat_map(|i| (0..spans[*i].count).map(move |n| vec![(*i, n)]))
                    .collect();
                product(&vec![single; *times as usize], false)
            }
            Goal::All(goals) | Goal::Sequence(goals) => {
                let parts: Vec<_> = goals.iter().map(|goal| enumerate(goal, spans)).collect();
                product(&parts, matches!(goal, Goal::Sequence(_)))
            }
            Goal::Any(goals) => goals
                .iter()
                .flat_map(|goal| enumerate(goal, spans))
                .collect(),
            Goal::Times(goal, times) => {
                product(&vec![enumerate(goal, spans); *times as usize], false)
            }
            Goal::Within(goal, within) => {
                let mut bindings = enumerate(goal, spans);
                bindings.retain(|binding| {
                    let latest = binding.iter().map(|(i, _)| spans[*i].first).max().unwrap();
                    let earliest = binding.iter().map(|(i, _)| spans[*i].last).min().unwrap();
                    latest.since(earliest) <= *within
                });
                bindings
            }
        }
    }

    /// How often a binding gives each observation.
    fn counts(binding: &[(usize, u64)]) -> BTreeMap<usize, u64> {
        let once: Vec<_> = binding.iter().map(|(i, _)| (*i, 1)).collect();
        sums(&once)
    }

    fn sums(given: &[(usize, u64)]) -> BTreeMap<usize, u64> {
        let mut sums = BTreeMap::new();
        for (i, n) in given {
            *sums.entry(*i).or_default() += n;
        }
        sums
    }

    struct Seed(u64);

    impl Seed {
        fn draw(&mut self, n: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % n
        }

        fn goal(&mut self, spans: usize, depth: u64) -> Goal<Vec<usize>> {
            let several = |seed: &mut Self| -> Vec<Goal<Vec<usize>>> {
                (0..2).map(|_| seed.goal(spans, depth - 1)).collect()
            };
            match if depth == 0 { 0 } else { self.draw(7) } {
                1 => Goal::All(several(self)),
                2 => Goal::Any(several(self)),
                3 | 4 => Goal::Sequence(several(self)),
                5 => Goal::Times(Box::new(self.goal(spans, depth - 1)), 2),
                6 => {
                    let within = Duration::from_secs(self.draw(5));
                    Goal::Within(Box::new(self.goal(spans, depth - 1)), within)
                }
                _ => {
                    let candidates = (0..spans).filter(|_| self.draw(2) == 0).collect();
                    Goal::Some(candidates, 1 + self.draw(2))
                }
            }
        }
    }

    #[test]
    fn agrees_with_plain_enumeration() {
        let mut seed = Seed(1);
        let mut found = 0;
        for _ in 0..3_000 {
            // Instants that are seen once are what live traffic gives.
            let live = seed.draw(2);
            let mut spans: Vec<_> = (0..1 + seed.draw(4 + live))
                .map(|_| {
                    let first = seed.draw(8);
                    let length = seed.draw(3) * seed.draw(2) * (1 - live);
                    span(first, first + length, 1 + seed.draw(2 - live))
                })
                .collect();
            spans.sort_by_key(|span| span.last);
            let depth = seed.draw(3);
            let goal = seed.goal(spans.len(), depth);
            let bindings = enumerate(&goal, &spans);
            found += usize::from(!bindings.is_empty());
            match bind(&goal, &spans, &mut { MAX_STEPS }).unwrap() {
                None => assert!(bindings.is_empty(), "{goal:?} {spans:?}"),
                Some(given) => assert!(
                    bindings.iter().any(|b| counts(b) == sums(&given)),
                    "{goal:?} {spans:?} {given:?}"
                ),
            }
        }
        assert!((500..2_500).contains(&found), "{found}");
    }
}
