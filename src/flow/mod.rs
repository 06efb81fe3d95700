//! Flows: both directions of one conversation key, and the streams within.

/// Which end of a flow sent something. The client opened the flow, or is
/// taken to have done so when its opening was not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

impl Direction {
    /// The other way.
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 for the client's, 1 for the server's: an index into pairs.
    pub const fn index(self) -> usize {
        self as usize
    }
}
