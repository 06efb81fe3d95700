//! Reports: what the sensor says of its work to people and programs on the spot.
//!
//! [`event`] writes one JSON line a match, [`stats`] counts everything else
//! for `--stats`, and [`table`] shows both to whoever looks at the terminal.

pub mod check;
pub mod event;
pub mod stats;
pub mod table;
pub mod text;
