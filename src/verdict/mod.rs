//! Verdicts: what policy makes of a match.

/// What is done about a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Written down.
    Report,
    /// Would have been blocked, but the sensor does not enforce.
    WouldBlock,
    /// Blocked at the firewall.
    Block,
    /// Covered by an allowlist.
    Allowlisted,
}

impl Action {
    /// The name that events carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::WouldBlock => "would-block",
            Self::Block => "block",
            Self::Allowlisted => "allowlisted",
        }
    }
}

/// What policy says of a match, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is done.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
}
