//! Transactions and questions, in the words of nf_tables: `linux/netfilter/nf_tables.h` and
//! `linux/netfilter/nfnetlink.h`.

use crate::block::elements;
use crate::block::elements::INTERVAL_END;
use crate::block::netlink::CREATE;
use crate::block::netlink::Messages;
use crate::block::netlink::REQUEST;
use crate::block::plan::Hold;
use crate::block::plan::Key;
use crate::block::range::Range;
use crate::block::rules;
use crate::block::rules::Set;
use crate::block::rules::TABLE;
use std::time::Duration;

/// `NFPROTO_INET`: tables of IPv4 and IPv6 at once.
const INET: u8 = 1;

/// `NFNL_SUBSYS_NFTABLES`, as the high byte of message types.
const SUBSYSTEM: u16 = 10 << 8;

/// Types of messages.
pub(super) const NEW_TABLE: u16 = SUBSYSTEM;
pub(super) const GET_TABLE: u16 = SUBSYSTEM | 1;
pub(super) const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
pub(super) const GET_RULE: u16 = SUBSYSTEM | 7;
const NEW_SET: u16 = SUBSYSTEM | 9;
pub(super) const GET_SET: u16 = SUBSYSTEM | 10;
pub(super) const DELETE_SET: u16 = SUBSYSTEM | 11;
pub(super) const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
pub(super) const GET_ELEMENT: u16 = SUBSYSTEM | 13;
pub(super) const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
pub(super) const GET_GENERATION: u16 = SUBSYSTEM | 16;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// Flag of a message: the rule comes after those that are there.
const APPEND: u16 = 0x800;

/// A transaction: all of it is done, or nothing.
pub(super) struct Batch {
    messages: Messages,
    /// Sequence number of the last message.
    last: u32,
    /// Which key the messages are about, by sequence number; only of those about elements.
    keys: Vec<(u32, Key)>,
}

impl Batch {
    /// Begins one that is refused with `ERESTART` unless nobody changed anything since a
    /// generation.
    pub(super) fn new(generation: u32) -> Self {
        let mut messages = Messages::default();
        let last = messages.begin(BATCH_BEGIN, REQUEST, &batch_header());
        // NFNL_BATCH_GENID
        messages.put_u32(1, generation);
        messages.end();
        Self {
            messages,
            last,
            keys: Vec::new(),
        }
    }

    /// Whether nothing was written into it.
    pub(super) fn is_empty(&self) -> bool {
        self.last == 1
    }

    /// Ends it. The last message asks for an acknowledgement, which comes when all is done.
    pub(super) fn finish(mut self) -> Finished {
        self.messages.ask_acknowledgement();
        self.messages.begin(BATCH_END, REQUEST, &batch_header());
        self.messages.end();
        Finished {
            messages: self.messages,
            last: self.last,
            keys: self.keys,
        }
    }

    /// Makes our table anew, with nothing blocked, whatever was there before.
    pub(super) fn create(&mut self, allow: &[Range]) {
        // a table that is not there can't be deleted
        self.table(NEW_TABLE, CREATE);
        self.table(DELETE_TABLE, 0);
        self.table(NEW_TABLE, CREATE);
        for set in rules::ALL {
            self.create_set(set);
        }
        self.allow(allow);
        for (chain, hook) in rules::CHAINS {
            self.begin(NEW_CHAIN, CREATE);
            self.messages.put_text(1, TABLE);
            self.messages.put_text(3, chain);
            if let Some(hook) = hook {
                let open = self.messages.open(4);
                self.messages.put_u32(1, hook);
                self.messages.put(2, &rules::PRIORITY.to_be_bytes());
                self.messages.close(open);
                self.messages.put_u32(5, rules::ACCEPT as u32);
                self.messages.put_text(7, "filter");
            }
            self.messages.end();
        }
        for (chain, expressions) in rules::rules() {
            self.begin(NEW_RULE, CREATE | APPEND);
            self.messages.put_text(1, TABLE);
            self.messages.put_text(2, chain);
            let open = self.messages.open(4);
            for expression in expressions {
                let element = self.messages.open(1);
                expression.put(&mut self.messages);
                self.messages.close(element);
            }
            self.messages.close(open);
            self.messages.end();
        }
    }

    /// Deletes our table.
    pub(super) fn delete_table(&mut self) {
        self.table(DELETE_TABLE, 0);
    }

    fn table(&mut self, kind: u16, flags: u16) {
        self.begin(kind, flags);
        self.messages.put_text(1, TABLE);
        self.messages.end();
    }

    /// Makes a set.
    pub(super) fn create_set(&mut self, set: Set) {
        let (kind, length) = set.key();
        self.begin(NEW_SET, CREATE);
        self.messages.put_text(1, TABLE);
        self.messages.put_text(2, set.name());
        self.messages.put_u32(3, set.flags());
        self.messages.put_u32(4, kind);
        self.messages.put_u32(5, length as u32);
        // an id within the transaction: every set has a place in ALL but the probe
        let place = rules::ALL.iter().position(|other| *other == set);
        self.messages
            .put_u32(10, place.map_or(0, |place| place as u32 + 1));
        if set.counts() {
            let open = self.messages.open(17);
            self.messages.put_text(1, "counter");
            let data = self.messages.open(2);
            self.messages.close(data);
            self.messages.close(open);
        }
        self.messages.end();
    }

    /// Deletes a set.
    pub(super) fn delete_set(&mut self, set: Set) {
        self.begin(DELETE_SET, 0);
        self.messages.put_text(1, TABLE);
        self.messages.put_text(2, set.name());
        self.messages.end();
    }

    /// Removes all elements of a set.
    pub(super) fn empty(&mut self, set: Set) {
        self.begin_elements(DELETE_ELEMENT, 0, set);
        self.messages.end();
    }

    /// Adds what is never blocked.
    pub(super) fn allow(&mut self, ranges: &[Range]) {
        for range in ranges {
            let set = Set::Allow(range.family());
            self.begin_elements(NEW_ELEMENT, CREATE, set);
            let list = self.messages.open(3);
            self.range(*range, |_| {});
            self.messages.close(list);
            self.messages.end();
        }
    }

    /// Lets all families pass that we look at, before anything else is asked.
    pub(super) fn pause(&mut self) {
        for family in rules::PROTOCOL_FAMILIES {
            self.begin_elements(NEW_ELEMENT, CREATE, Set::Paused);
            let list = self.messages.open(3);
            let element = self.messages.open(1);
            self.messages.put_data(1, &[family]);
            self.messages.close(element);
            self.messages.close(list);
            self.messages.end();
        }
    }

    /// Adds an element, or renews one that is held, where the kernel does so.
    ///
    /// `timeout` of `None` holds it for ever; `counted` are the packets and bytes that it begins
    /// with.
    pub(super) fn add(
        &mut self,
        key: Key,
        hold: &Hold,
        timeout: Option<Duration>,
        counted: Option<(u64, u64)>,
    ) {
        let comment = elements::comment_of(hold);
        self.begin_elements(NEW_ELEMENT, CREATE, Set::of(&key));
        self.keys.push((self.last, key));
        let list = self.messages.open(3);
        self.element(key, |messages| {
            elements::put_timeout(messages, timeout);
            elements::put_comment(messages, &comment);
            if let Some((packets, bytes)) = counted {
                let open = messages.open(7);
                messages.put_text(1, "counter");
                let data = messages.open(2);
                messages.put_u64(1, bytes);
                messages.put_u64(2, packets);
                messages.close(data);
                messages.close(open);
            }
        });
        self.messages.close(list);
        self.messages.end();
    }

    /// Removes an element; one that is not held fails the transaction with `ENOENT`.
    pub(super) fn remove(&mut self, key: Key) {
        self.begin_elements(DELETE_ELEMENT, 0, Set::of(&key));
        self.keys.push((self.last, key));
        let list = self.messages.open(3);
        self.element(key, |_| {});
        self.messages.close(list);
        self.messages.end();
    }

    /// Adds the one element of the probe.
    pub(super) fn probe(&mut self, timeout: Duration, remaining: Duration) {
        self.begin_elements(NEW_ELEMENT, CREATE, Set::Probe);
        let list = self.messages.open(3);
        let element = self.messages.open(1);
        self.messages.put_data(1, &[0; 4]);
        self.messages.put_u64(4, elements::milliseconds(timeout));
        self.messages.put_u64(5, elements::milliseconds(remaining));
        self.messages.close(element);
        self.messages.close(list);
        self.messages.end();
    }

    fn begin(&mut self, kind: u16, flags: u16) {
        self.last = self.messages.begin(kind, REQUEST | flags, &header());
    }

    fn begin_elements(&mut self, kind: u16, flags: u16, set: Set) {
        self.begin(kind, flags);
        self.messages.put_text(1, TABLE);
        self.messages.put_text(2, set.name());
    }

    /// One key, as the element or the pair of elements that it is.
    fn element(&mut self, key: Key, rest: impl FnOnce(&mut Messages)) {
        if let Key::Range(range) = key {
            return self.range(range, rest);
        }
        let element = self.messages.open(1);
        elements::put_key(&mut self.messages, key);
        rest(&mut self.messages);
        self.messages.close(element);
    }

    /// A range: an element where it begins, and one behind its end, unless the family ends there.
    fn range(&mut self, range: Range, rest: impl FnOnce(&mut Messages)) {
        let (first, last) = range.numbers();
        let element = self.messages.open(1);
        elements::put_number(&mut self.messages, range.family(), first);
        rest(&mut self.messages);
        self.messages.close(element);
        if last < range.family().greatest() {
            let element = self.messages.open(1);
            self.messages.put_u32(3, INTERVAL_END);
            elements::put_number(&mut self.messages, range.family(), last + 1);
            self.messages.close(element);
        }
    }
}

/// A transaction, ready to be sent.
pub(super) struct Finished {
    pub(super) messages: Messages,
    /// Sequence number of the message that is acknowledged.
    pub(super) last: u32,
    keys: Vec<(u32, Key)>,
}

impl Finished {
    /// The key that a message is about.
    pub(super) fn key(&self, sequence: u32) -> Option<Key> {
        let at = self
            .keys
            .binary_search_by_key(&sequence, |(s, _)| *s)
            .ok()?;
        self.keys.get(at).map(|(_, key)| *key)
    }
}

/// A question about our table, or all of a kind in it.
pub(super) fn question(kind: u16, flags: u16, set: Option<Set>) -> Messages {
    let mut messages = Messages::default();
    messages.begin(kind, REQUEST | flags, &header());
    if kind != GET_GENERATION {
        messages.put_text(1, TABLE);
    }
    if let Some(set) = set {
        messages.put_text(2, set.name());
    }
    messages.end();
    messages
}

/// A question about one element that is no range.
pub(super) fn question_about(key: Key) -> Messages {
    let mut messages = Messages::default();
    messages.begin(GET_ELEMENT, REQUEST, &header());
    messages.put_text(1, TABLE);
    messages.put_text(2, Set::of(&key).name());
    let list = messages.open(3);
    let element = messages.open(1);
    elements::put_key(&mut messages, key);
    messages.close(element);
    messages.close(list);
    messages.end();
    messages
}

/// `struct nfgenmsg` of messages about our table.
fn header() -> [u8; 4] {
    [INET, 0, 0, 0]
}

/// `struct nfgenmsg` of what begins and ends a transaction: the subsystem.
fn batch_header() -> [u8; 4] {
    [0, 0, 0, (SUBSYSTEM >> 8) as u8]
}
