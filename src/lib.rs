//! watchpost: a network sensor with indicator blocking.

pub mod exchange;
pub mod flow;
pub mod indicator;
pub mod matcher;
pub mod observable;
pub mod octets;
pub mod protocol;
pub mod time;
