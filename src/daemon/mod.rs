//! Threads and channels around the sensor: the only user of all floors.

pub mod exchange;
pub mod filter;
pub mod replay;
