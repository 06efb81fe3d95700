//! The flow table: bounded, keyed against flooding, with expiry and eviction.
//!
//! A table is one *shard* of all flows. The number of shards is fixed
//! ([`SHARDS`]) whatever the number of workers, and every bound holds per
//! shard, so that what is evicted does not depend on how many workers run.

use crate::flow::FlowKey;
use crate::time::Timestamp;
use hashbrown::HashTable;
use std::hint::black_box;
use std::time::Duration;

/// Shards of the flow table; each worker owns some. The most workers that can have work.
pub const SHARDS: usize = 64;

/// Flows that one shard holds: with [`SHARDS`], a million flows, a minute of 17,000 new flows a
/// second, which is more than a 10 Gbit/s uplink of an office shows. In the sensor that is about
/// 450 MiB: 120 bytes a flow here, some 10 in the index, and 320 for the state of a TCP connection
/// before anything is held back or parsed.
pub const MAX_FLOWS_PER_SHARD: usize = 1 << 14;

/// A TCP connection without a packet for this long is over. Clients and
/// middleboxes keep idle connections alive at shorter intervals; Zeek's default too.
pub const TCP_TIMEOUT: Duration = Duration::from_secs(300);

/// A TCP connection that was closed is remembered for stray packets.
pub const TCP_CLOSED_TIMEOUT: Duration = Duration::from_secs(60);

/// A flow of UDP or another protocol is over after this long without a packet (RFC 4787 section
/// 4.3 lets address translators forget after two minutes; resolvers answer within seconds).
pub const DATAGRAM_TIMEOUT: Duration = Duration::from_secs(60);

/// Entries that an eviction looks at, to drop the one idle for longest.
const EVICTION_SAMPLE: usize = 16;

/// A flow, with what its user keeps for it.
#[derive(Debug)]
pub struct Flow<T> {
    /// Keyed hash of the key, the same in both directions.
    pub hash: u64,
    /// Both ends and the protocol.
    pub key: FlowKey,
    /// Whether the client is the lesser end of the key.
    pub client_is_low: bool,
    /// Whether both directions have ended.
    pub closed: bool,
    /// Outermost VLAN of the first packet; `None`: untagged.
    pub vlan: Option<u16>,
    /// First packet.
    pub first_seen: Timestamp,
    /// Latest packet; `last_seen >= first_seen`.
    pub last_seen: Timestamp,
    /// What its user keeps.
    pub state: T,
}

impl<T> Flow<T> {
    /// Whether a packet at `now` is too late to belong to it.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let timeout = match self.key.protocol {
            6 if self.closed => TCP_CLOSED_TIMEOUT,
            6 => TCP_TIMEOUT,
            _ => DATAGRAM_TIMEOUT,
        };
        now.since(self.last_seen) > timeout
    }
}

/// Where a flow is. With a part of its hash, so that neither a search nor growth of the index
/// looks at flows that are not meant: each look would be a miss of the cache.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u32,
    slot: u32,
}

impl Entry {
    const fn new(hash: u64, slot: u32) -> Self {
        Self {
            tag: hash as u32,
            slot,
        }
    }
}

/// One shard of the flow table.
#[derive(Debug)]
pub struct FlowTable<T> {
    index: HashTable<Entry>,
    flows: Vec<Option<Flow<T>>>,
    free: Vec<u32>,
    hand: usize,
    capacity: usize,
}

impl<T> FlowTable<T> {
    /// A table of at most `capacity` flows (at least one).
    pub fn new(capacity: usize) -> Self {
        Self {
            index: HashTable::new(),
            flows: Vec::new(),
            free: Vec::new(),
            hand: 0,
            capacity: capacity.clamp(1, u32::MAX as usize),
        }
    }

    /// Flows in the table.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The slot of a key, if it has a flow.
    pub fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        let flows = &self.flows;
        self.index
            .find(spread(hash as u32), |entry| {
                entry.tag == hash as u32 && holds(flows, entry.slot, hash, key)
            })
            .map(|entry| entry.slot)
    }

    /// Brings what a search for `hash` needs into the cache, so that the searches for several
    /// flows wait for memory together. Says whether such a flow seems to be there.
    pub fn touch(&self, hash: u64) -> bool {
        let entry = self
            .index
            .find(spread(hash as u32), |entry| entry.tag == hash as u32);
        let flow = entry.and_then(|entry| self.flows.get(entry.slot as usize)?.as_ref());
        black_box(flow.map(|flow| (flow.hash, flow.last_seen))).is_some()
    }

    /// The flow in a slot.
    pub fn flow_mut(&mut self, slot: u32) -> Option<&mut Flow<T>> {
        self.flows.get_mut(slot as usize)?.as_mut()
    }

    /// Takes in a flow whose key is not there. A full table gives up the flow idle for longest
    /// among a few, which is returned.
    pub fn insert(&mut self, flow: Flow<T>) -> (u32, Option<Flow<T>>) {
        let evicted = if self.len() >= self.capacity {
            self.evict()
        } else {
            None
        };
        let hash = flow.hash;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.flows[slot as usize] = Some(flow);
                slot
            }
            None => {
                self.flows.push(Some(flow));
                (self.flows.len() - 1) as u32
            }
        };
        let entry = Entry::new(hash, slot);
        self.index
            .insert_unique(spread(entry.tag), entry, |entry| spread(entry.tag));
        (slot, evicted)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, slot: u32) -> Option<Flow<T>> {
        let flow = self.flows.get_mut(slot as usize)?.take()?;
        if let Ok(entry) = self
            .index
            .find_entry(spread(flow.hash as u32), |entry| entry.slot == slot)
        {
            entry.remove();
        }
        self.free.push(slot);
        Some(flow)
    }

    /// Takes out the flows that are over at `now`, in the order of their slots.
    pub fn expire(&mut self, now: Timestamp, ended: &mut dyn FnMut(Flow<T>)) {
        for slot in 0..self.flows.len() {
            if self.flows[slot]
                .as_ref()
                .is_some_and(|flow| flow.is_over(now))
                && let Some(flow) = self.remove(slot as u32)
            {
                ended(flow);
            }
        }
    }

    /// Takes out every flow, in the order of their slots.
    pub fn drain(&mut self, ended: &mut dyn FnMut(Flow<T>)) {
        self.index.clear();
        self.free.clear();
        for flow in self.flows.drain(..).flatten() {
            ended(flow);
        }
    }

    fn evict(&mut self) -> Option<Flow<T>> {
        let mut oldest: Option<(Timestamp, usize)> = None;
        for _ in 0..EVICTION_SAMPLE.min(self.flows.len()) {
            self.hand = (self.hand + 1) % self.flows.len();
            if let Some(flow) = &self.flows[self.hand]
                && oldest.is_none_or(|(seen, _)| flow.last_seen < seen)
            {
                oldest = Some((flow.last_seen, self.hand));
            }
        }
        self.remove(oldest?.1 as u32)
    }
}

fn holds<T>(flows: &[Option<Flow<T>>], slot: u32, hash: u64, key: &FlowKey) -> bool {
    flows
        .get(slot as usize)
        .and_then(Option::as_ref)
        .is_some_and(|flow| flow.hash == hash && flow.key == *key)
}

/// A hash for the index, which takes the place from the lower bits and a mark from the uppermost.
const fn spread(tag: u32) -> u64 {
    (tag as u64) << 32 | tag as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::End;
    use crate::packet::Address;

    fn flow(n: u32, seen: u64) -> Flow<u32> {
        let end = |n: u32| End::new(Address::v4(n), 1);
        let (key, client_is_low) = FlowKey::new(end(n), end(n + 1), 17);
        let seen = Timestamp::from_parts(seen, 0);
        Flow {
            hash: u64::from(n) << 7,
            key,
            client_is_low,
            closed: false,
            vlan: None,
            first_seen: seen,
            last_seen: seen,
            state: n,
        }
    }

    #[test]
    fn finds_what_was_put_in_and_reuses_slots() {
        let mut table = FlowTable::new(100);
        for n in 0..100 {
            assert!(table.insert(flow(n, 10)).1.is_none());
        }
        for n in 0..100 {
            let sought = flow(n, 0);
            let slot = table.find(sought.hash, &sought.key).expect("it is there");
            assert_eq!(table.flow_mut(slot).map(|f| f.state), Some(n));
        }
        let one = flow(7, 0);
        let slot = table.find(one.hash, &one.key).expect("it is there");
        assert_eq!(table.remove(slot).map(|f| f.state), Some(7));
        assert_eq!(table.find(one.hash, &one.key), None);
        assert_eq!(table.insert(flow(200, 10)).0, slot);
    }

    #[test]
    fn a_full_table_gives_up_an_idle_flow() {
        let mut table = FlowTable::new(EVICTION_SAMPLE);
        for n in 0..EVICTION_SAMPLE as u32 {
            table.insert(flow(n, if n == 5 { 1 } else { 10 }));
        }
        let (_, evicted) = table.insert(flow(99, 11));
        assert_eq!(evicted.map(|f| f.state), Some(5));
        assert_eq!(table.len(), EVICTION_SAMPLE);
    }

    #[test]
    fn flows_end_by_time() {
        let mut table = FlowTable::new(10);
        table.insert(flow(1, 0));
        table.insert(flow(2, 30));
        let mut ended = Vec::new();
        table.expire(Timestamp::from_parts(60, 0), &mut |f| ended.push(f.state));
        assert!(ended.is_empty());
        table.expire(Timestamp::from_parts(61, 0), &mut |f| ended.push(f.state));
        assert_eq!(ended, [1]);
        table.drain(&mut |f| ended.push(f.state));
        assert_eq!(ended, [1, 2]);
        assert!(table.is_empty());
    }
}
