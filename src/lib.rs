//! watchpost: a network sensor with indicator blocking.

pub mod capture;
pub mod flow;
pub mod octets;
pub mod protocol;
pub mod time;
