//! The loop with the exchanges: their indicators into the matcher, what was seen of them back.
//!
//! [`pull`] asks each exchange that is due and keeps what it gives as the last good set, [`set`]
//! makes of all last good sets the one that matches, [`share`] makes parcels of matches, which
//! [`window`] keeps until they go to the [`outbox`], and [`push`] sends what waits there.

pub mod outbox;
pub mod pull;
pub mod push;
pub mod set;
pub mod share;
mod taxii;
pub mod window;
