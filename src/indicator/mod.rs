//! Indicators: what exchanges share, compiled into what the matcher compares with.

pub mod pattern;
