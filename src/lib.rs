//! watchpost: a network sensor with indicator blocking.

pub mod capture;
pub mod cli;
pub mod daemon;
pub mod exchange;
pub mod flow;
pub mod indicator;
pub mod matcher;
pub mod observable;
pub mod octets;
pub mod packet;
pub mod protocol;
pub mod report;
pub mod sensor;
pub mod sighting;
pub mod time;
pub mod verdict;
