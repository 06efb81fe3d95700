//! Sightings: many matches become one statement for the exchange that gave the indicator.
//!
//! [`Sightings`] takes matches as they come and keeps, for each indicator, an
//! exact count and time window and a bounded number of observations as
//! evidence. [`Sightings::into_bundle`] says it in STIX 2.1. What comes out
//! depends on the matches, the indicators and the reporter alone: no clock, no
//! randomness, so the same capture and intel give the same bytes.

mod bundle;
mod identifier;
mod marking;
mod observed;
mod privacy;
mod share;

pub use bundle::Bundle;
pub use identifier::Object;
pub use privacy::Addresses;
pub use privacy::Privacy;
pub use privacy::Pseudonyms;
pub use privacy::UnsuitableKey;
pub use share::Destination;
pub use share::Held;
pub use share::may_go;

use bundle::BundleIdentifier;
use bundle::Teller;

use crate::indicator::Details;
use crate::matcher::Evidence;
use crate::matcher::FlowSummary;
use crate::matcher::Match;
use crate::matcher::Observable;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::net::IpAddr;

/// Who says that something was sighted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// The sensor's name.
    pub name: String,
    /// Whose sensor it is; `None` where not said.
    pub organisation: Option<String>,
}

/// Matches, aggregated by indicator.
#[derive(Debug, Default)]
pub struct Sightings {
    /// By ordinal of the indicator, and whether an allowlist covered the match: what is
    /// allowlisted may have to stay here while the rest is shared.
    seen: BTreeMap<(u32, bool), Seen>,
    /// Memory that observations take, in bytes.
    kept_bytes: usize,
    /// What may be told of a match; `None`: all, since it stays here.
    privacy: Option<Privacy>,
}

impl Sightings {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing seen yet; what is recorded is what may leave, and nothing else is kept.
    pub fn to_share(privacy: Privacy) -> Self {
        Self {
            privacy: Some(privacy),
            ..Self::default()
        }
    }

    /// Adds a match. The first [`MAX_OBSERVATIONS`] of an indicator that differ are kept as
    /// evidence, in the order of the calls; all count.
    ///
    /// Of what may leave, a match of which nothing may be told is none: that it happened would
    /// tell whoever made the indicator that there is such an address or name.
    pub fn record(&mut self, found: &Match, allowlisted: bool) {
        if let Some(privacy) = &self.privacy {
            let tells = |observable: &Observable| privacy.told_observable(observable).is_some();
            let mut observed = found.observations.iter().map(|o| &o.observable);
            if !tells(&found.observable) && !observed.any(tells) {
                return;
            }
        }
        let seen = self
            .seen
            .entry((found.indicator, allowlisted))
            .or_insert_with(|| Seen {
                window: Window::new(),
                observations: Vec::new(),
            });
        seen.window.add(found.timestamp);
        let mut keep = |at, flow: &FlowSummary, observable: &Observable| {
            let kept_bytes = &mut self.kept_bytes;
            let Some(privacy) = &self.privacy else {
                return seen.keep(at, ToldFlow::of(flow), Some(observable), kept_bytes);
            };
            let told = privacy.told_observable(observable);
            seen.keep(
                at,
                privacy.told_flow(flow, observable.kind),
                told.as_deref(),
                kept_bytes,
            );
        };
        if found.observations.is_empty() {
            keep(found.timestamp, &found.flow, &found.observable);
        }
        for observation in &found.observations {
            keep(
                observation.timestamp,
                &observation.flow,
                &observation.observable,
            );
        }
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// One STIX 2.1 bundle of everything recorded: the reporter's identity first, then for
    /// each indicator its evidence and its sighting, in order of first sight.
    ///
    /// `details` explains an indicator by its ordinal. The bundle takes several times the
    /// memory of what was recorded; [`write_bundle`](Self::write_bundle) does not.
    pub fn into_bundle(
        self,
        reporter: &Reporter,
        details: &mut dyn FnMut(u32) -> Details,
    ) -> Bundle {
        let mut objects = Vec::new();
        let told = self.tell(reporter, details, &mut |object| {
            objects.push(object);
            Ok(())
        });
        debug_assert!(told.is_ok(), "collecting in memory does not fail");
        Bundle::new(objects)
    }

    /// Writes the bundle that [`into_bundle`](Self::into_bundle) makes, object by object, and
    /// a line feed.
    pub fn write_bundle(
        &self,
        reporter: &Reporter,
        details: &mut dyn FnMut(u32) -> Details,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        // the identifier comes first, and hangs on all that follows
        let mut id = BundleIdentifier::new();
        self.tell(reporter, details, &mut |object| {
            id.add(&object);
            Ok(())
        })?;
        write!(
            out,
            "{{\"type\":\"bundle\",\"id\":\"{}\",\"objects\":[",
            id.finish()
        )?;
        let mut separator = "\n";
        self.tell(reporter, details, &mut |object| {
            out.write_all(separator.as_bytes())?;
            separator = ",\n";
            serde_json::to_writer(&mut *out, &object).map_err(io::Error::from)
        })?;
        out.write_all(b"\n]}\n")
    }

    /// Hands over each sighting by itself, in order of first sight: its indicator, whether an
    /// allowlist covered it, and the objects of a bundle of it alone, the sighting last.
    pub fn each(
        &self,
        reporter: &Reporter,
        details: &mut dyn FnMut(u32) -> Details,
        take: &mut dyn FnMut(&Details, bool, Vec<Object>),
    ) {
        for (_, _, allowlisted, indicator, seen) in self.in_order(details) {
            let details = details(indicator);
            let mut objects = Vec::new();
            let told = Teller::new(reporter, &mut |object| {
                objects.push(object);
                Ok(())
            })
            .and_then(|mut teller| {
                teller.describes = self.privacy.is_some();
                teller.tell(&details, allowlisted, seen)
            });
            debug_assert!(told.is_ok(), "collecting in memory does not fail");
            take(&details, allowlisted, objects);
        }
    }

    /// Hands over every object of the bundle, in its order.
    fn tell(
        &self,
        reporter: &Reporter,
        details: &mut dyn FnMut(u32) -> Details,
        emit: &mut dyn FnMut(Object) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut teller = Teller::new(reporter, emit)?;
        for (_, _, allowlisted, indicator, seen) in self.in_order(details) {
            teller.tell(&details(indicator), allowlisted, seen)?;
        }
        Ok(())
    }

    /// Everything recorded, by first sight and the indicator's id.
    fn in_order(
        &self,
        details: &mut dyn FnMut(u32) -> Details,
    ) -> Vec<(Timestamp, String, bool, u32, &Seen)> {
        // ordinals hang on the order of the sources: an order by ids does not
        let mut order: Vec<(Timestamp, String, bool, u32, &Seen)> = self
            .seen
            .iter()
            .map(|(&(indicator, allowlisted), seen)| {
                let id = details(indicator).id;
                (seen.window.first, id, allowlisted, indicator, seen)
            })
            .collect();
        order.sort_by(|a, b| (a.0, &a.1, a.2, a.3).cmp(&(b.0, &b.1, b.2, b.3)));
        order
    }
}

/// What an operator who calls an indicator false says of it: the objects of an opinion, which is
/// the last of them. `why`: in the operator's words, empty where nothing was said.
pub fn refute(reporter: &Reporter, details: &Details, at: Timestamp, why: &str) -> Vec<Object> {
    bundle::opinion(reporter, details, at, why)
}

/// The id of a bundle of objects with these ids, in this order.
pub fn bundle_id<'a>(ids: impl Iterator<Item = &'a str>) -> String {
    let mut id = BundleIdentifier::new();
    ids.for_each(|object| id.add_id(object));
    id.finish()
}

/// What was seen of one indicator.
#[derive(Debug)]
struct Seen {
    window: Window,
    observations: Vec<Observation>,
}

impl Seen {
    /// Keeps an observation as evidence, within the bounds. `observable`: `None` where it is not
    /// told.
    fn keep(
        &mut self,
        at: Timestamp,
        flow: ToldFlow,
        observable: Option<&Observable>,
        kept_bytes: &mut usize,
    ) {
        let fits = observable.is_some_and(|o| o.text_bytes() <= MAX_TEXT_BYTES);
        let evidence = match observable {
            Some(observable) if fits => &observable.evidence,
            _ => &Evidence::None,
        };
        if let Some(observation) = self
            .observations
            .iter_mut()
            .find(|o| o.is_of(&flow, observable, evidence))
        {
            observation.window.add(at);
            return;
        }
        if self.observations.len() >= MAX_OBSERVATIONS {
            return;
        }
        let mut observation = Observation {
            flow,
            observable: None,
            window: Window::new(),
        };
        if let Some(observable) = observable.filter(|o| o.value.len() <= MAX_TEXT_BYTES) {
            observation.observable = Some(Box::new(Observable {
                kind: observable.kind,
                value: observable.value.clone(),
                place: observable.place,
                property: observable.property,
                evidence: evidence.clone(),
            }));
        }
        if kept_bytes.saturating_add(observation.bytes()) > MAX_KEPT_BYTES {
            if !self.observations.is_empty() {
                return;
            }
            observation.observable = None;
        }
        observation.window.add(at);
        *kept_bytes = kept_bytes.saturating_add(observation.bytes());
        self.observations.push(observation);
    }
}

/// How often, and between when and when.
#[derive(Clone, Copy, Debug)]
struct Window {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Window {
    const fn new() -> Self {
        Self {
            count: 0,
            first: Timestamp::MAX,
            last: Timestamp::MIN,
        }
    }

    fn add(&mut self, at: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.first = self.first.min(at);
        self.last = self.last.max(at);
    }

    /// The count as STIX 2.1 sections 4.14 and 5.2 bound it.
    fn stix_count(&self) -> u64 {
        self.count.clamp(1, MAX_COUNT)
    }
}

/// One observable in one flow, however often.
#[derive(Debug)]
struct Observation {
    flow: ToldFlow,
    /// `None` where it was too large to keep, or is not told.
    observable: Option<Box<Observable>>,
    window: Window,
}

/// A flow as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ToldFlow {
    /// Number of the flow; 0: it is not told apart from others that look the same.
    id: u64,
    /// The side that sent what matched; `None`: not told.
    source: Option<ToldEnd>,
    /// The other side.
    destination: Option<ToldEnd>,
    /// IP protocol number.
    protocol: u8,
    is_ipv4: bool,
    vlan: Option<u16>,
    app_proto: Option<&'static str>,
}

/// An end of a flow as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ToldEnd {
    address: IpAddr,
    /// `None`: not told; 0 for protocols without ports.
    port: Option<u16>,
}

impl ToldFlow {
    /// All of it.
    fn of(flow: &FlowSummary) -> Self {
        let end = |address, port| {
            Some(ToldEnd {
                address,
                port: Some(port),
            })
        };
        Self {
            id: flow.id,
            source: end(flow.source, flow.source_port),
            destination: end(flow.destination, flow.destination_port),
            protocol: flow.protocol,
            is_ipv4: flow.source.is_ipv4(),
            vlan: flow.vlan,
            app_proto: flow.app_proto,
        }
    }
}

impl Observation {
    fn is_of(&self, flow: &ToldFlow, observable: Option<&Observable>, evidence: &Evidence) -> bool {
        self.flow == *flow
            && match (&self.observable, observable) {
                (Some(kept), Some(observable)) => {
                    kept.kind == observable.kind
                        && kept.place == observable.place
                        && kept.property == observable.property
                        && kept.value == observable.value
                        && kept.evidence == *evidence
                }
                (Some(_), None) => false,
                (None, None) => true,
                // too large to compare: what was seen in this flow then counts as one
                (None, Some(observable)) => observable.value.len() > MAX_TEXT_BYTES,
            }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
            + self
                .observable
                .as_ref()
                .map_or(0, |o| size_of::<Observable>() + o.text_bytes())
    }
}

/// Observations that differ and are kept of one indicator: enough to show where to look, and
/// few enough that a bundle stays readable when a scan matches millions of times.
pub const MAX_OBSERVATIONS: usize = 50;

/// Bytes of text that one observation may bring. Longer than any URL that servers take
/// (8000, RFC 9110 section 4.1); what is larger is kept without its evidence.
pub const MAX_TEXT_BYTES: usize = 16 * 1024;

/// Bytes that the observations of all indicators may take together. Beyond it an indicator
/// keeps its first flow alone, so that memory grows with indicators and no longer with traffic.
pub const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;

/// The greatest `count` of a sighting and `number_observed` (STIX 2.1 sections 5.2 and 4.14).
pub const MAX_COUNT: u64 = 999_999_999;

#[cfg(test)]
mod tests;
