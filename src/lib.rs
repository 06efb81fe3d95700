//! watchpost: a network sensor with indicator blocking.

pub mod flow;
pub mod indicator;
pub mod matcher;
pub mod observable;
pub mod octets;
pub mod protocol;
pub mod time;
pub mod verdict;
