//! Matching: observables against the indicator set.

use crate::observable::ObservableType;
use crate::observable::Place;
use crate::protocol::Hashes;
use crate::time::Timestamp;
use std::net::IpAddr;

/// An observable in traffic that satisfied an indicator.
#[derive(Clone, Debug)]
pub struct Match {
    /// When: capture time of the packet that completed the observable.
    pub timestamp: Timestamp,
    /// In which flow, seen from the side that sent what matched.
    pub flow: FlowSummary,
    /// Ordinal of the indicator in its set.
    pub indicator: u32,
    /// What was seen.
    pub observable: Observable,
}

/// A flow as a report names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSummary {
    /// Stable number from the flow's key and start.
    pub id: u64,
    /// The side that sent what matched.
    pub source: IpAddr,
    /// 0 for protocols without ports.
    pub source_port: u16,
    /// The other side.
    pub destination: IpAddr,
    /// 0 for protocols without ports.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Outermost VLAN; `None`: untagged.
    pub vlan: Option<u16>,
    /// Name of the recognised protocol ("dns", "tls", "http"); `None`: not recognised.
    pub app_proto: Option<&'static str>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observable {
    /// Its type.
    pub kind: ObservableType,
    /// As a user would write it.
    pub value: String,
    /// Where it was.
    pub place: Place,
    /// For fingerprints and user agents, which property of network-traffic: `x_ja3_hash`,
    /// `x_ja3s_hash`, `x_ja4`, `user_agent`. `None` for the others.
    pub property: Option<&'static str>,
    /// What else is known of it, for sightings.
    pub evidence: Evidence,
}

/// What else a sighting can say of an observable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing beyond the value.
    #[default]
    None,
    /// A file: name, length and the digests that were computed.
    File {
        /// `None` where the transfer gave none.
        name: Option<String>,
        /// Bytes.
        size: u64,
        /// `None` where not said.
        mime_type: Option<String>,
        /// Digests; `None` inside: not computed.
        hashes: Hashes,
    },
    /// A certificate: its digests.
    Certificate(Hashes),
    /// An HTTP request: method, target as sent, version ("HTTP/1.1") and the header that matters.
    HttpRequest {
        /// `GET`
        method: String,
        /// Request target as sent.
        target: String,
        /// `HTTP/1.1`
        version: String,
        /// Host and User-Agent as sent, where present.
        headers: Vec<(String, String)>,
    },
}
