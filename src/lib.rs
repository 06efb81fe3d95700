//! watchpost: a network sensor that matches traffic against shared threat
//! indicators and tells those who shared them what it saw.
//!
//! # The path of one packet
//!
//! A block of a capture is read into a reused buffer ([`capture`]); the frames
//! in it are slices. Each frame is decoded, through whatever tunnels it is
//! wrapped in and with its fragments put together, to the packet of its
//! innermost flow ([`packet`]). The hash of that flow, the same in both
//! directions, settles its shard, and the shard its worker ([`daemon`]).
//!
//! The worker finds the packet's flow in the shard's table, or opens one
//! ([`flow`]); TCP segments become streams of ordered bytes. What a stream or
//! datagram carries is recognised by content and parsed into messages
//! ([`protocol`]): a DNS answer, a ClientHello, an HTTP request, a finished
//! file. A parser that can see nothing more of interest says so, and the rest
//! of the flow costs one look-up a packet.
//!
//! Out of packets and messages come typed values in one normal form
//! ([`observable`]). The matcher looks them up in an immutable indicator set
//! ([`matcher`]), which was compiled from what partners share: their
//! [`indicator`]s, read by loaders ([`exchange`]). A look-up costs one glance
//! at a filter in the cache; only what passes it costs more. Of a pattern over
//! several observations workers find the parts; where their matches come
//! together in one order, [`matcher::temporal`] puts the parts together.
//!
//! A match gets a [`verdict`] from policy and allowlists, becomes a line of
//! the event file and a row of the table ([`report`]), and is gathered with
//! its like into a [`sighting`], the STIX object that goes back to the
//! exchange the indicator came from. What may leave and to whom is settled
//! there; what is to leave waits in the outbox of the [`store`], beside the
//! last good set of each exchange, until the exchange says that it has it. A
//! child process pulls and pushes; the set that it compiles takes over between
//! two blocks ([`daemon`]).
//!
//! What a sensor watches, whom it hears and what may leave it, one file says,
//! read whole and checked before anything starts ([`config`]).
//!
//! What shall be blocked, an address, a network or a service, is checked
//! against what may never be, and held by the kernel for a time ([`block`]).
//!
//! # The floors
//!
//! A module imports only from lower floors; `tests/floors.rs` holds the table
//! and fails on any other import.
//!
//! | floor | modules |
//! |---|---|
//! | 0 | [`octets`]: a cursor over untrusted bytes; [`time`]: capture time |
//! | 1 | [`capture`]: frames in blocks, from files and interfaces |
//! | 2 | [`packet`]: frame to packet |
//! | 3 | [`flow`]: flow table, TCP streams |
//! | 4 | [`protocol`]: streams to messages, one file or folder a protocol |
//! | 5 | [`observable`], then [`indicator`]: typed values; what is looked for, as meaning |
//! | 6 | [`matcher`]: the compiled set and its engines |
//! | 7 | [`verdict`], [`sighting`]: what to do about a match; what to tell of it |
//! | 8 | [`block`], [`exchange`], [`report`], [`store`]: the firewall; formats in and exchanges both ways; events, statistics and tables out; what is kept |
//! | 9 | [`sensor`], then [`config`], then [`daemon`], then [`cli`]: assembly |
//!
//! What must hold for every input is said in files named `fuzz.rs` beside what
//! takes the input; `fuzz`, a part of the tests, sees every floor and runs them.
//!
//! # Where new things go
//!
//! - A protocol: a file in [`protocol`] and a line in [`protocol::registry`]; what it shows of
//!   interest is looked up in `sensor/observe`.
//! - A format of indicators: a loader in [`exchange`] that feeds [`indicator::Intake`].
//! - An exchange: a variant of [`config::Kind`] and its keys in [`config`], a client in
//!   [`exchange`] over [`exchange::http`], and how it is asked and told in
//!   [`daemon::exchange::pull`] and [`daemon::exchange::push`].
//! - A firewall: an implementation of [`block::Backend`] in [`block`].
//! - A kind of value to look up: a [`matcher::set::KeyKind`].

// in the order of the floors
pub mod octets;
pub mod time;

pub mod capture;

pub mod packet;

pub mod flow;

pub mod protocol;

pub mod observable;

pub mod indicator;

pub mod matcher;

pub mod sighting;
pub mod verdict;

pub mod block;
pub mod exchange;
pub mod report;
pub mod store;

pub mod sensor;

pub mod config;

pub mod daemon;

pub mod cli;

#[cfg(test)]
mod fuzz;
