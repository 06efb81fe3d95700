//! Reports: what the sensor says of its work to people and programs on the spot.
//!
//! [`event`] writes one JSON line a match, [`stats`] counts everything else
//! for `--stats`, and [`table`] shows both to whoever looks at the terminal.
//! [`indicator`] and [`explain`] say what indicators are and what a value would meet.

pub mod check;
pub mod event;
pub mod explain;
pub mod indicator;
pub mod stats;
pub mod table;
pub mod text;
