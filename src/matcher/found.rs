//! What the matcher reports.

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
    /// Of a pattern over several observations: all that completed it, in order of time; what
    /// stands above is the one that did so last. Empty for a pattern that one decides.
    pub observations: Box<[Observation]>,
}

/// One of the observations that completed a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When, as of a [`Match`].
    pub timestamp: Timestamp,
    /// In which flow, likewise.
    pub flow: FlowSummary,
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
    /// `x_ja3s_hash`, `x_ja4`, `x_hassh`, `x_hassh_server`, `user_agent`. `None` for the others.
    pub property: Option<&'static str>,
    /// What else is known of it, for sightings.
    pub evidence: Evidence,
}

impl Observable {
    /// Bytes of all its texts and those of its evidence.
    pub fn text_bytes(&self) -> usize {
        let evidence = match &self.evidence {
            Evidence::None | Evidence::Certificate(_) => 0,
            Evidence::File {
                name, mime_type, ..
            } => name.as_ref().map_or(0, String::len) + mime_type.as_ref().map_or(0, String::len),
            Evidence::Mail {
                from, to, subject, ..
            } => {
                from.as_ref().map_or(0, String::len)
                    + subject.as_ref().map_or(0, String::len)
                    + to.iter()
                        .map(|address| address.len() + size_of::<String>())
                        .sum::<usize>()
            }
            Evidence::HttpRequest {
                method,
                target,
                version,
                headers,
            } => {
                method.len()
                    + target.len()
                    + version.len()
                    + headers
                        .iter()
                        .map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>())
                        .sum::<usize>()
            }
        };
        self.value.len().saturating_add(evidence)
    }
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
    /// A mail: what its header says of it.
    Mail {
        /// The first address of `From`; `None` where there is none.
        from: Option<String>,
        /// The addresses of `To`, the first some of them.
        to: Vec<String>,
        /// Decoded; `None` where there is none.
        subject: Option<String>,
        /// Whether its content is of several parts.
        is_multipart: bool,
    },
}
