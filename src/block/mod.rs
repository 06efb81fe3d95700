//! Blocking at the firewall: addresses, networks and services, each for a time.
//!
//! What is wanted is a list of [`Element`]s. [`never::NeverBlock`] strikes out what no indicator
//! may ever block, and says why. [`plan::Plan`] cuts the rest into what the kernel can hold:
//! single addresses and services as they are, networks as ranges that do not overlap, each held
//! for as long as the longest-lived of those who asked for it. A [`Backend`] makes it so:
//! [`netfilter::Netfilter`] in a table of its own, [`dry_run::DryRun`] in its memory only.
//!
//! Whoever owns a plan gives it to [`Backend::sync`] when it changed, when
//! [`Backend::is_disturbed`], and at least every half [`plan::LEASE`]: the kernel forgets what
//! is not renewed, with nobody's help.

mod batch;
pub mod dry_run;
mod elements;
mod error;
pub mod host;
mod mirror;
pub mod netfilter;
mod netlink;
pub mod never;
pub mod plan;
mod range;
mod rules;
mod target;

pub use error::BlockError;
pub use range::Range;
pub use target::Protocol;
pub use target::Target;

use crate::time::Timestamp;
use plan::Key;
use plan::Plan;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Something to be blocked, for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// What.
    pub target: Target,
    /// When the block ends; [`Timestamp::MAX`]: when it is taken back.
    pub until: Timestamp,
    /// Id of the indicator that asks for it; of the operator's own, the reason that was given.
    pub indicator: Arc<str>,
    /// What led to it.
    pub cause: Cause,
}

/// What led to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// An indicator names it; it was blocked ahead of any traffic.
    Intel,
    /// Traffic matched an indicator.
    Match,
    /// An operator blocked it by hand. [`Backend::sync`] leaves it where it is; where an
    /// indicator asks for the same for longer, it becomes that indicator's.
    Operator,
}

impl Cause {
    /// The word that stands before the indicator in comments of the kernel's elements.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intel => "intel",
            Self::Match => "match",
            Self::Operator => "operator",
        }
    }

    /// The cause that a word stands for; `None` for any other word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Intel, Self::Match, Self::Operator]
            .into_iter()
            .find(|cause| cause.as_str() == word)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An element that a backend holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What is blocked.
    pub key: Key,
    /// Id of the indicator, cut to what the kernel's comment can hold; empty: the element was
    /// not made by watchpost.
    pub indicator: Arc<str>,
    /// What led to it; `None`: the element was not made by watchpost.
    pub cause: Option<Cause>,
    /// How long the backend will hold it; `None`: for ever.
    pub remaining: Option<Duration>,
    /// Packets that met it.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

/// What a call of [`Backend::sync`] changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Elements that were added.
    pub added: usize,
    /// Elements whose time was renewed.
    pub renewed: usize,
    /// Elements that were removed.
    pub removed: usize,
    /// Whether the whole table had to be made, since it was missing or not as it should be.
    pub restored: bool,
}

/// Where blocks are held.
pub trait Backend {
    /// Holds exactly what the plan says at `now`, and what operators blocked by hand.
    ///
    /// Elements are renewed when half of their lease is over. An error may leave a part done;
    /// the next call does the rest.
    fn sync(&mut self, plan: &Plan, now: Timestamp) -> Result<Synced, BlockError>;

    /// Holds these as well, at once; what is held already is held until the later end.
    /// Returns how many keys were added or renewed.
    fn add(&mut self, elements: &[Element], now: Timestamp) -> Result<usize, BlockError>;

    /// Lets a target go, whoever blocked it: of a network that covers it, just what it is; of
    /// an address or a network, its services too. Returns whether any of it was held.
    fn release(&mut self, target: Target) -> Result<bool, BlockError>;

    /// Everything held, in no particular order.
    fn list(&mut self) -> Result<Vec<Held>, BlockError>;

    /// Whether somebody else changed what is held, or may have, since the last
    /// [`sync`](Self::sync): it should be called then. Cheap.
    fn is_disturbed(&mut self) -> Result<bool, BlockError>;

    /// Lets everything pass at once, and goes on holding what is held.
    fn pause(&mut self) -> Result<(), BlockError>;

    /// Ends a pause.
    fn resume(&mut self) -> Result<(), BlockError>;

    /// Whether it is paused.
    fn is_paused(&mut self) -> Result<bool, BlockError>;

    /// Lets everything go, and leaves nothing behind.
    fn flush(&mut self) -> Result<(), BlockError>;
}
