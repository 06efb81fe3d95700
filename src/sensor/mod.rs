//! The sensor: decoded packets in, matches out. No I/O, no clock.
//!
//! A [`Sensor`] owns some shards of the flow table and is driven by one thread:
//! [`handle_packet`](Sensor::handle_packet) for each packet of its shards,
//! [`handle_timeout`](Sensor::handle_timeout) now and then with the capture
//! time, [`finish`](Sensor::finish) at the end; [`drain`](Sensor::drain) hands
//! out what matched, each with its place in the order of the capture. What
//! comes out of a shard depends on the packets of that shard alone, so the
//! number of sensors makes no difference.

mod application;
mod observe;
mod raw;

#[cfg(test)]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use crate::flow::Direction;
use crate::flow::FlowKey;
use crate::flow::table::Flow;
use crate::flow::table::FlowTable;
use crate::flow::table::MAX_FLOWS_PER_SHARD;
use crate::flow::table::SHARDS;
use crate::flow::tcp::Oddities;
use crate::flow::tcp::Segment;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::packet::AddressPair;
use crate::packet::Packet;
use crate::packet::Tcp;
use crate::sensor::application::FlowState;
use crate::sensor::application::Stream;
use crate::sensor::observe::FlowFacts;
use crate::sensor::observe::Observer;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that the TCP connections of one shard may hold back together: with all shards, 256 MiB.
const MAX_REASSEMBLY_PER_SHARD: usize = 4 << 20;

/// Bytes that the connections and parsers of one shard may take together: with all shards,
/// 1.25 GiB. A body with the largest window of brotli (RFC 7932 section 9.1: 16 MiB) still finds
/// room beside others, and each flow of a full shard has 1,280 bytes, about what a parser of HTTP
/// takes that waits.
const MAX_HELD_PER_SHARD: usize = 20 << 20;

/// How much capture time passes between two searches for flows that are over.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);

/// Follows the flows of some shards and looks for indicators in them.
#[derive(Debug)]
pub struct Sensor {
    matcher: Arc<Matcher>,
    shards: Vec<Shard>,
    observer: Observer,
    next_expiry: Timestamp,
}

#[derive(Debug)]
struct Shard {
    flows: FlowTable<FlowState>,
    held: Held,
}

/// Bytes of memory that the flows of a shard take beside their places in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    /// What connections hold back.
    reassembly: usize,
    /// That, and what parsers take.
    all: usize,
}

impl Held {
    /// What one flow takes.
    fn of(state: &FlowState) -> Self {
        let reassembly = match &state.stream {
            Stream::Tcp(tcp) => tcp.connection.held(),
            _ => 0,
        };
        Self {
            reassembly,
            all: state.held(),
        }
    }

    /// A flow took `before`, and takes `now`.
    const fn replace(&mut self, before: Self, now: Self) {
        self.reassembly = (self.reassembly + now.reassembly).saturating_sub(before.reassembly);
        self.all = (self.all + now.all).saturating_sub(before.all);
    }
}

/// A packet, as the dispatcher hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Capture time.
    pub timestamp: Timestamp,
    /// Its place in the capture; order of arrival.
    pub position: u32,
    /// Which shard its flow belongs to; below [`SHARDS`].
    pub shard: u8,
    /// Keyed hash of its flow, the same in both directions.
    pub hash: u64,
    /// The decoded headers.
    pub packet: &'a Packet,
    /// What they carry.
    pub payload: &'a [u8],
    /// Enclosing IP headers, outermost first.
    pub tunnels: &'a [AddressPair],
}

/// A match with its place in the order of the capture.
#[derive(Debug)]
pub struct Placed {
    /// Sorts matches as one worker would have found them: position of the packet, shard, number.
    pub order: (u32, u8, u32),
    /// Message, flow or transfer; see [`crate::matcher::Hits::scope`].
    pub scope: u32,
    /// The match, of an indicator or of a part of one.
    pub found: Match,
}

/// What a sensor counted.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Flows seen.
    pub flows: u64,
    /// Finished messages by protocol.
    pub transactions: BTreeMap<&'static str, u64>,
    /// Malformed or evasive traffic by kind.
    pub anomalies: BTreeMap<&'static str, u64>,
    /// What was lost unseen, by cause.
    pub drops: BTreeMap<&'static str, u64>,
    /// Matches withheld since the indicator was not valid yet.
    pub not_yet_valid: u64,
    /// Matches withheld since the indicator was not valid any more.
    pub expired: u64,
}

impl Sensor {
    /// A sensor that has seen nothing.
    pub fn new(matcher: Arc<Matcher>) -> Self {
        let shard = || Shard {
            flows: FlowTable::new(MAX_FLOWS_PER_SHARD),
            held: Held::default(),
        };
        Self {
            observer: Observer::new(Arc::clone(&matcher)),
            matcher,
            shards: (0..SHARDS).map(|_| shard()).collect(),
            next_expiry: Timestamp::MIN,
        }
    }

    /// From here on another set matches. Flows go on: what of them was looked at already is not
    /// looked at again, and a file that is in transfer has the digests that were asked for when it
    /// began.
    pub fn set_matcher(&mut self, matcher: Arc<Matcher>) {
        self.observer.set_matcher(Arc::clone(&matcher));
        self.matcher = matcher;
    }

    /// Brings what a packet of one of its shards will need into the cache. Called for some
    /// packets before they are handled, their waits for memory overlap.
    pub fn touch(&self, shard: u8, hash: u64, packet: &Packet) {
        let Some(shard) = self.shards.get(usize::from(shard)) else {
            return;
        };
        if !shard.flows.touch(hash) {
            self.matcher.touch(packet.source);
            self.matcher.touch(packet.destination);
        }
    }

    /// Takes a packet of one of its shards.
    pub fn handle_packet(&mut self, arrival: &Arrival<'_>) {
        let Self {
            shards,
            observer,
            matcher,
            ..
        } = self;
        let Some(shard) = shards.get_mut(usize::from(arrival.shard)) else {
            return;
        };
        observer.arrive(arrival);
        let (key, source_is_low) = FlowKey::of_packet(arrival.packet);
        let slot = shard.find(&key, arrival, source_is_low, observer);
        let slot = match slot {
            Some(slot) => slot,
            None => shard.open(key, source_is_low, arrival, observer, matcher),
        };
        let Some(flow) = shard.flows.flow_mut(slot) else {
            return;
        };
        flow.last_seen = flow.last_seen.max(arrival.timestamp);
        let direction = if source_is_low == flow.client_is_low {
            Direction::ToServer
        } else {
            Direction::ToClient
        };
        let before = Held::of(&flow.state);
        match arrival.packet.protocol {
            Packet::TCP => {
                let room = MAX_REASSEMBLY_PER_SHARD.saturating_sub(shard.held.reassembly);
                handle_segment(flow, direction, arrival, room, observer);
            }
            Packet::UDP => application::handle_datagram(flow, direction, arrival.payload, observer),
            _ => return,
        }
        let now = Held::of(&flow.state);
        shard.held.replace(before, now);
        if shard.held.all > MAX_HELD_PER_SHARD && now.all > before.all {
            // the flow that grew is given up, for it may be the cause
            observer.drop_one("parser-memory-full");
            ignore(flow, observer);
            shard.held.replace(now, Held::default());
        }
    }

    /// Ends the flows that are over at `now`. What that yields is placed after all packets so far.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        // a clock that was set back would else stop the search until it has caught up
        let set_back = now + EXPIRY_INTERVAL < self.next_expiry;
        if now < self.next_expiry && !set_back {
            return;
        }
        self.next_expiry = now + EXPIRY_INTERVAL;
        let observer = &mut self.observer;
        for (number, shard) in self.shards.iter_mut().enumerate() {
            observer.arrive_late(number);
            let Shard { flows, held } = shard;
            flows.expire(now, &mut |flow| end_flow(flow, held, observer));
        }
    }

    /// Ends all flows: the capture is over.
    pub fn finish(&mut self) {
        let observer = &mut self.observer;
        for (number, shard) in self.shards.iter_mut().enumerate() {
            observer.arrive_late(number);
            let Shard { flows, held } = shard;
            flows.drain(&mut |flow| end_flow(flow, held, observer));
        }
    }

    /// Hands out what matched since the last call.
    pub fn drain(&mut self) -> Vec<Placed> {
        std::mem::take(&mut self.observer.found)
    }

    /// What was counted so far.
    pub const fn counters(&mut self) -> &Counters {
        self.observer.settle_counters();
        &self.observer.counters
    }
}

impl Shard {
    /// The live flow of a packet. A flow that is over, or whose ports another connection uses
    /// now, is ended first.
    fn find(
        &mut self,
        key: &FlowKey,
        arrival: &Arrival<'_>,
        source_is_low: bool,
        observer: &mut Observer,
    ) -> Option<u32> {
        let slot = self.flows.find(arrival.hash, key)?;
        let flow = self.flows.flow_mut(slot)?;
        let tcp = &arrival.packet.tcp;
        let opens = key.protocol == Packet::TCP && tcp.flags & (Tcp::SYN | Tcp::ACK) == Tcp::SYN;
        let over = flow.is_over(arrival.timestamp)
            || opens
                && flow
                    .state
                    .is_reopened_by(source_is_low == flow.client_is_low, tcp.sequence);
        if !over {
            return Some(slot);
        }
        if let Some(flow) = self.flows.remove(slot) {
            end_flow(flow, &mut self.held, observer);
        }
        None
    }

    /// Takes in the flow that a packet opens, and looks at its addresses.
    fn open(
        &mut self,
        key: FlowKey,
        source_is_low: bool,
        arrival: &Arrival<'_>,
        observer: &mut Observer,
        matcher: &Matcher,
    ) -> u32 {
        let packet = arrival.packet;
        let answers = packet.protocol == Packet::TCP
            && packet.tcp.flags & (Tcp::SYN | Tcp::ACK) == Tcp::SYN | Tcp::ACK;
        let flow = Flow {
            hash: arrival.hash,
            key,
            client_is_low: source_is_low != answers,
            closed: false,
            vlan: packet.vlan.id(),
            first_seen: arrival.timestamp,
            last_seen: arrival.timestamp,
            state: FlowState::new(packet),
        };
        observer.counters.flows += 1;
        let facts = FlowFacts::of(&flow);
        observer.observe_opening(&facts, source_is_low, arrival.tunnels, matcher);
        let (slot, evicted) = self.flows.insert(flow);
        if let Some(evicted) = evicted {
            observer.drop_one("flow-table-full");
            end_flow(evicted, &mut self.held, observer);
        }
        slot
    }
}

/// Feeds a segment to its connection. `room` is how many bytes more the shard may hold back.
fn handle_segment(
    flow: &mut Flow<FlowState>,
    direction: Direction,
    arrival: &Arrival<'_>,
    room: usize,
    observer: &mut Observer,
) {
    let mut facts = FlowFacts::of(flow);
    let Stream::Tcp(tcp) = &mut flow.state.stream else {
        return;
    };
    let header = &arrival.packet.tcp;
    let segment = Segment {
        sequence: header.sequence,
        acknowledgment: header.acknowledgment,
        flags: header.flags,
        payload: arrival.payload,
        missing: arrival.packet.payload.missing,
    };
    let (connection, application) = (&mut tcp.connection, &mut tcp.application);
    let oddities = connection.handle(direction, &segment, arrival.timestamp, room, &mut |event| {
        application.take(&event, &mut facts, observer);
    });
    note(oddities, observer);
    if application.take_swapped() {
        connection.swap_directions();
        flow.client_is_low = !flow.client_is_low;
    }
    flow.closed = connection.is_over();
    flow.state.app_proto = facts.app_proto;
    flow.state.protocol_told = facts.protocol_told;
    if application.is_done() || flow.closed {
        ignore(flow, observer);
    }
}

/// Looks at nothing more of a flow.
fn ignore(flow: &mut Flow<FlowState>, observer: &mut Observer) {
    let mut facts = FlowFacts::of(flow);
    observer.observe_protocol_once(&mut facts);
    flow.state.protocol_told = facts.protocol_told;
    flow.state.ignore();
}

fn note(oddities: Oddities, observer: &mut Observer) {
    if oddities.conflicting {
        observer.note_anomaly("tcp.conflicting-overlap");
    }
    if oddities.beyond_window {
        observer.note_anomaly("tcp.beyond-window");
    }
    if oddities.refused > 0 {
        observer.drop_one("tcp-reassembly-full");
    }
}

/// Yields what a flow still holds.
fn end_flow(mut flow: Flow<FlowState>, held: &mut Held, observer: &mut Observer) {
    held.replace(Held::of(&flow.state), Held::default());
    let mut facts = FlowFacts::of(&flow);
    observer.set_time(flow.last_seen);
    if let Stream::Tcp(tcp) = &mut flow.state.stream {
        let application = &mut tcp.application;
        tcp.connection
            .finish(&mut |event| application.take(&event, &mut facts, observer));
    }
    observer.observe_protocol_once(&mut facts);
    observer.restore_time();
}
