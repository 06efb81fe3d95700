//! What observations must be there for a pattern to be true.
//!
//! A [`Goal`] is an observation expression without its comparisons: in their
//! place it says which observations can be given to each. [`Goal::of`] obeys
//! STIX 2.1 sections 9.3 and 9.4 for whoever knows where observations come
//! from; [`super::bindings`] shares them out.

use std::time::Duration;

use serde::Deserialize;
use serde::Serialize;

use super::ast::Comparison;
use super::ast::Observation;
use super::ast::Qualifier;
use crate::time::Timestamp;

/// What must be bound. `C` says which observations there are to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Goal<C> {
    /// So many of these, all different.
    Some(C, u64),
    /// Each, with observations of its own.
    All(Vec<Self>),
    /// One of them; of none: can't be met.
    Any(Vec<Self>),
    /// Each, none before the one to its left.
    Sequence(Vec<Self>),
    /// The goal so often, with different observations.
    Times(Box<Self>, u64),
    /// The goal, with no two observations further apart.
    Within(Box<Self>, Duration),
}

/// START and STOP around an expression: at or after the first, before the second instant.
pub type Window = (Timestamp, Timestamp);

/// Knows which observations a comparison can be given.
pub trait Candidates {
    /// Says which observations there are to choose from.
    type Choice;
    /// Why a pattern can't be used.
    type Error;

    /// What a `[...]` asks for; an observation counts under `windows` if it was made within all.
    fn of_test(
        &mut self,
        comparison: &Comparison,
        windows: &[Window],
    ) -> Result<Goal<Self::Choice>, Self::Error>;

    /// What is in any of these, each observation once.
    fn join(&mut self, choices: Vec<Self::Choice>) -> Self::Choice;

    /// What becomes of an expression under a qualifier that can't be met.
    fn of_unmet(&mut self, qualifier: Qualifier) -> Result<Goal<Self::Choice>, Self::Error>;
}

impl<C> Goal<C> {
    /// What must be bound for an expression to be true.
    pub fn of<S: Candidates<Choice = C>>(
        expression: &Observation,
        source: &mut S,
    ) -> Result<Self, S::Error> {
        plan(expression, &[], source)
    }

    /// Levels of goals in one another.
    pub fn depth(&self) -> usize {
        match self {
            Self::Some(..) => 1,
            Self::All(goals) | Self::Any(goals) | Self::Sequence(goals) => {
                1 + goals.iter().map(Self::depth).max().unwrap_or(0)
            }
            Self::Times(goal, _) | Self::Within(goal, _) => 1 + goal.depth(),
        }
    }

    /// Calls `visit` for every choice, from left to right.
    pub fn for_each_choice<'a>(&'a self, visit: &mut dyn FnMut(&'a C)) {
        match self {
            Self::Some(choice, _) => visit(choice),
            Self::All(goals) | Self::Any(goals) | Self::Sequence(goals) => {
                goals.iter().for_each(|goal| goal.for_each_choice(visit));
            }
            Self::Times(goal, _) | Self::Within(goal, _) => goal.for_each_choice(visit),
        }
    }

    /// The same goal over other choices.
    pub fn map<D>(self, change: &mut dyn FnMut(C) -> D) -> Goal<D> {
        let mut all = |goals: Vec<Self>| goals.into_iter().map(|goal| goal.map(change)).collect();
        match self {
            Self::All(goals) => Goal::All(all(goals)),
            Self::Any(goals) => Goal::Any(all(goals)),
            Self::Sequence(goals) => Goal::Sequence(all(goals)),
            Self::Some(choice, times) => Goal::Some(change(choice), times),
            Self::Times(goal, times) => Goal::Times(Box::new(goal.map(change)), times),
            Self::Within(goal, within) => Goal::Within(Box::new(goal.map(change)), within),
        }
    }
}

fn plan<S: Candidates>(
    expression: &Observation,
    windows: &[Window],
    source: &mut S,
) -> Result<Goal<S::Choice>, S::Error> {
    let plan_all = |branches: &[Observation], source: &mut S| {
        branches
            .iter()
            .map(|branch| plan(branch, windows, source))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match expression {
        Observation::Test(comparison) => source.of_test(comparison, windows)?,
        Observation::And(branches) => {
            let mut goals = Vec::with_capacity(branches.len());
            for goal in plan_all(branches, source)? {
                match goal {
                    Goal::All(inner) => goals.extend(inner),
                    goal => goals.push(goal),
                }
            }
            Goal::All(goals)
        }
        // What follows all of a sequence follows its last and the ones before that.
        Observation::FollowedBy(branches) => {
            let mut goals = Vec::with_capacity(branches.len());
            for goal in plan_all(branches, source)? {
                match goal {
                    Goal::Sequence(inner) => goals.extend(inner),
                    goal => goals.push(goal),
                }
            }
            Goal::Sequence(goals)
        }
        Observation::Or(branches) => {
            let goals = plan_all(branches, source)?;
            join(goals, source)
        }
        Observation::Qualified(inner, qualifier) => match *qualifier {
            Qualifier::Within(duration) if duration.is_zero() => source.of_unmet(*qualifier)?,
            Qualifier::Repeats(0) => source.of_unmet(*qualifier)?,
            Qualifier::Within(duration) => match plan(inner, windows, source)? {
                // One observation is within any time of itself.
                goal @ Goal::Some(_, 1) => goal,
                Goal::Within(goal, inner) => Goal::Within(goal, inner.min(duration)),
                goal => Goal::Within(Box::new(goal), duration),
            },
            Qualifier::Repeats(times) => match plan(inner, windows, source)? {
                goal if times == 1 => goal,
                Goal::Some(choice, inner) => Goal::Some(choice, inner.saturating_mul(times)),
                Goal::Times(goal, inner) => Goal::Times(goal, inner.saturating_mul(times)),
                goal => Goal::Times(Box::new(goal), times),
            },
            Qualifier::StartStop(start, stop) => {
                let windows = [windows, &[(start, stop)]].concat();
                plan(inner, &windows, source)?
            }
        },
    })
}

/// Alternatives that need one observation each are one choice among all theirs.
fn join<S: Candidates>(goals: Vec<Goal<S::Choice>>, source: &mut S) -> Goal<S::Choice> {
    let mut singles = Vec::new();
    let mut others = Vec::new();
    for goal in goals {
        match goal {
            Goal::Some(choice, 1) => singles.push(choice),
            Goal::Any(inner) => others.extend(inner),
            goal => others.push(goal),
        }
    }
    if !singles.is_empty() {
        others.push(Goal::Some(source.join(singles), 1));
    }
    match others.len() {
        1 => others.remove(0),
        _ => Goal::Any(others),
    }
}
