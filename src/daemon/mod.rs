//! Threads and channels around the sensor: the only user of all floors.

pub mod filter;
pub mod replay;
