//! Our table, in the words of nf_tables: `linux/netfilter/nf_tables.h`.
//!
//! As `nft list table inet watchpost` shows it, for one family:
//!
//! ```text
//! set allow4    { type ipv4_addr; flags interval }                      never blocked
//! set hosts4    { type ipv4_addr; flags timeout; counter }              single addresses
//! set networks4 { type ipv4_addr; flags interval,timeout; counter }     ranges
//! set services4 { type ipv4_addr . inet_proto . inet_service; flags timeout; counter }
//! set paused    { type nf_proto; flags timeout }                        families that all pass
//! chain refuse  { meta l4proto tcp reject with tcp reset; reject with icmpx admin-prohibited }
//! chain to4     { ip daddr @allow4 return; ip daddr @hosts4 goto refuse; … }
//! chain from4   { ip saddr @allow4 return; ip saddr @hosts4 drop; … }
//! chain forward { type filter hook forward priority filter - 10
//!                 meta nfproto @paused accept; jump to4; jump from4; … }
//! chain input   { … iif lo accept; jump from4 … }
//! chain output  { … jump to4 … }
//! ```
//!
//! What is sent *to* a blocked address is refused, so that whoever sent it knows at once. What
//! comes *from* one is dropped: answering would tell a scanner that somebody is here, and let
//! a forged source address aim our answers at others. A connection that was open when its
//! address was blocked ends with the next packet that our side sends.
//!
//! What the kernel itself answers on behalf of a blocked address to a process of this host
//! comes in by `lo`, and has that address as its source: therefore the rule for `lo`.

use crate::block::Cause;
use crate::block::Held;
use crate::block::netlink::Attributes;
use crate::block::netlink::CREATE;
use crate::block::netlink::Messages;
use crate::block::netlink::REQUEST;
use crate::block::netlink::fixed;
use crate::block::plan::Hold;
use crate::block::plan::Key;
use crate::block::range::Family;
use crate::block::range::Range;
use crate::block::range::number_of;
use crate::block::target::Protocol;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The name of our table.
pub(super) const TABLE: &str = "watchpost";

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

/// Flags of sets, `enum nft_set_flags`.
const INTERVAL: u32 = 0x4;
const TIMEOUT: u32 = 0x10;

/// Flag of an element, `NFT_SET_ELEM_INTERVAL_END`: the first address after a range.
const INTERVAL_END: u32 = 1;

/// `NFT_TABLE_F_DORMANT`: the chains of the table are not asked.
pub(super) const DORMANT: u32 = 1;

/// Types of keys as `nft` numbers them (`enum datatypes`), to list sets by; a key of several
/// parts has six bits for each.
const TYPE_PROTOCOL_FAMILY: u32 = 2;
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const PROTOCOL_FAMILIES: [u8; 2] = [2, 10];

/// Hooks, `enum nf_inet_hooks`.
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_OUTPUT: u32 = 3;

/// Priority of our chains: before the firewalls of distributions, containers and firewalld
/// (0 and later), after connection tracking (-200) and translation of addresses (-100).
const PRIORITY: i32 = -10;

/// Verdicts, `NF_*` and `enum nft_verdicts`.
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const JUMP: i32 = -3;
const GOTO: i32 = -4;
const RETURN: i32 = -5;

/// Keys of `meta`, `enum nft_meta_keys`.
const META_IIF: u32 = 4;
const META_FAMILY: u32 = 15;
const META_PROTOCOL: u32 = 16;

/// The first register of 16 bytes, and what the words after its first and its last are called.
const REGISTER: u32 = 1;
const WORD_1: u32 = 9;
const WORD_4: u32 = 12;

/// The first interface of every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// Bytes of a comment, its final zero included (`NFTNL_UDATA_COMMENT_MAXLEN`).
const MAX_COMMENT: usize = 128;

/// What is blocked, by kind, and what never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Allow(Family),
    Hosts(Family),
    Networks(Family),
    Services(Family),
    Paused,
    /// Stands for a moment only: shows how this kernel renews.
    Probe,
}

/// The sets that hold blocks.
pub(super) const BLOCKING: [Set; 6] = [
    Set::Hosts(Family::V4),
    Set::Hosts(Family::V6),
    Set::Services(Family::V4),
    Set::Services(Family::V6),
    Set::Networks(Family::V4),
    Set::Networks(Family::V6),
];

/// The sets of our table.
const ALL: [Set; 9] = [
    Set::Allow(Family::V4),
    Set::Allow(Family::V6),
    Set::Hosts(Family::V4),
    Set::Hosts(Family::V6),
    Set::Networks(Family::V4),
    Set::Networks(Family::V6),
    Set::Services(Family::V4),
    Set::Services(Family::V6),
    Set::Paused,
];

impl Set {
    /// The set that a key belongs to.
    pub(super) fn of(key: &Key) -> Self {
        match key {
            Key::Address(address) => Self::Hosts(number_of(*address).0),
            Key::Range(range) => Self::Networks(range.family()),
            Key::Service(address, ..) => Self::Services(number_of(*address).0),
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Allow(Family::V4) => "allow4",
            Self::Allow(Family::V6) => "allow6",
            Self::Hosts(Family::V4) => "hosts4",
            Self::Hosts(Family::V6) => "hosts6",
            Self::Networks(Family::V4) => "networks4",
            Self::Networks(Family::V6) => "networks6",
            Self::Services(Family::V4) => "services4",
            Self::Services(Family::V6) => "services6",
            Self::Paused => "paused",
            Self::Probe => "probe",
        }
    }

    const fn is_interval(self) -> bool {
        matches!(self, Self::Allow(_) | Self::Networks(_))
    }

    const fn counts(self) -> bool {
        !matches!(self, Self::Allow(_) | Self::Paused | Self::Probe)
    }

    const fn flags(self) -> u32 {
        match self {
            Self::Allow(_) => INTERVAL,
            Self::Networks(_) => INTERVAL | TIMEOUT,
            _ => TIMEOUT,
        }
    }

    /// Type of its keys as `nft` numbers it, and their length.
    const fn key(self) -> (u32, usize) {
        match self {
            Self::Paused => (TYPE_PROTOCOL_FAMILY, 1),
            Self::Probe => (TYPE_IPV4, 4),
            Self::Allow(family) | Self::Hosts(family) | Self::Networks(family) => {
                (type_of(family), family.width())
            }
            Self::Services(family) => (
                (type_of(family) << 6 | TYPE_PROTOCOL) << 6 | TYPE_PORT,
                // each part takes a multiple of four bytes
                family.width() + 8,
            ),
        }
    }
}

const fn type_of(family: Family) -> u32 {
    match family {
        Family::V4 => TYPE_IPV4,
        Family::V6 => TYPE_IPV6,
    }
}

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
        for set in ALL {
            self.create_set(set);
        }
        self.allow(allow);
        for (chain, hook) in CHAINS {
            self.begin(NEW_CHAIN, CREATE);
            self.messages.put_text(1, TABLE);
            self.messages.put_text(3, chain);
            if let Some(hook) = hook {
                let open = self.messages.open(4);
                self.messages.put_u32(1, hook);
                self.messages.put(2, &PRIORITY.to_be_bytes());
                self.messages.close(open);
                self.messages.put_u32(5, ACCEPT as u32);
                self.messages.put_text(7, "filter");
            }
            self.messages.end();
        }
        for (chain, expressions) in rules() {
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
        let place = ALL.iter().position(|other| *other == set);
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
        for family in PROTOCOL_FAMILIES {
            self.begin_elements(NEW_ELEMENT, CREATE, Set::Paused);
            let list = self.messages.open(3);
            let element = self.messages.open(1);
            put_data(&mut self.messages, 1, &[family]);
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
        let comment = comment_of(hold);
        self.begin_elements(NEW_ELEMENT, CREATE, Set::of(&key));
        self.keys.push((self.last, key));
        let list = self.messages.open(3);
        self.element(key, |messages| {
            put_timeout(messages, timeout);
            put_comment(messages, &comment);
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
        put_data(&mut self.messages, 1, &[0; 4]);
        self.messages.put_u64(4, milliseconds(timeout));
        self.messages.put_u64(5, milliseconds(remaining));
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
        put_key(&mut self.messages, key);
        rest(&mut self.messages);
        self.messages.close(element);
    }

    /// A range: an element where it begins, and one behind its end, unless the family ends there.
    fn range(&mut self, range: Range, rest: impl FnOnce(&mut Messages)) {
        let (first, last) = range.numbers();
        let element = self.messages.open(1);
        put_number(&mut self.messages, range.family(), first);
        rest(&mut self.messages);
        self.messages.close(element);
        if last < range.family().greatest() {
            let element = self.messages.open(1);
            self.messages.put_u32(3, INTERVAL_END);
            put_number(&mut self.messages, range.family(), last + 1);
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
    put_key(&mut messages, key);
    messages.close(element);
    messages.close(list);
    messages.end();
    messages
}

/// The attributes behind the fixed part of an answer.
pub(super) fn attributes(body: &[u8]) -> Attributes<'_> {
    Attributes(body.get(4..).unwrap_or_default())
}

/// The names of our sets and chains, and how many rules each chain has.
pub(super) fn expected_sets() -> Vec<&'static str> {
    ALL.iter().map(|set| set.name()).collect()
}

/// How many rules each chain has, in order of their names.
pub(super) fn expected_rules() -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for (chain, _) in rules() {
        *counted.entry(chain.to_owned()).or_insert(0) += 1;
    }
    counted
}

/// An element as the kernel tells it, before the two of a range are brought together.
pub(super) struct RawElement {
    key: Vec<u8>,
    is_end: bool,
    held: Held,
}

/// Reads the elements of one answer.
pub(super) fn read_elements(set: Set, body: &[u8], out: &mut Vec<RawElement>) {
    let Some(list) = attributes(body).within(3) else {
        return;
    };
    for (_, value) in list {
        let element = Attributes(value);
        let Some(key) = element.within(1).and_then(|key| key.value(1)) else {
            continue;
        };
        let is_end = element.number_u32(3).unwrap_or(0) & INTERVAL_END != 0;
        let (cause, indicator) = match element.value(6).and_then(comment_in) {
            Some(comment) => read_comment(comment),
            None => (None, "".into()),
        };
        let counter = element.within(7).filter(|e| e.text(1) == Some("counter"));
        let counter = counter.and_then(|e| e.within(2));
        let counted = |kind| counter.and_then(|c| c.number_u64(kind)).unwrap_or(0);
        // without a time-out there is none that could be over
        let remaining = element.number_u64(4).map(|timeout| {
            Duration::from_millis(element.number_u64(5).unwrap_or(timeout).min(timeout))
        });
        out.push(RawElement {
            key: key.to_vec(),
            is_end,
            held: Held {
                key: single_key(set, key).unwrap_or(Key::Address(UNKNOWN)),
                indicator,
                cause,
                remaining,
                packets: counted(2),
                bytes: counted(1),
            },
        });
    }
}

/// Stands for a key until its range is known.
const UNKNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Elements of a set, whole.
pub(super) fn join(set: Set, mut raw: Vec<RawElement>) -> Vec<Held> {
    if !set.is_interval() {
        return raw.into_iter().map(|element| element.held).collect();
    }
    let (Set::Allow(family) | Set::Networks(family)) = set else {
        return Vec::new();
    };
    // where one range ends and the next begins, the end comes first
    raw.sort_by(|a, b| a.key.cmp(&b.key).then(b.is_end.cmp(&a.is_end)));
    let mut out = Vec::with_capacity(raw.len() / 2);
    let mut raw = raw.into_iter().peekable();
    while let Some(element) = raw.next() {
        // an end whose beginning is over stands alone for a while
        if element.is_end {
            continue;
        }
        let last = match raw.peek() {
            Some(next) => number_in(&next.key).saturating_sub(1),
            None => family.greatest(),
        };
        if let Some(range) = Range::from_numbers(family, number_in(&element.key), last) {
            out.push(Held {
                key: Key::Range(range),
                ..element.held
            });
        }
    }
    out
}

/// The key of an element that is no range.
fn single_key(set: Set, key: &[u8]) -> Option<Key> {
    let address = |family: Family| -> Option<IpAddr> {
        Some(family.address(number_in(key.get(..family.width())?)))
    };
    match set {
        Set::Hosts(family) => Some(Key::Address(address(family)?)),
        Set::Services(family) => {
            let rest = key.get(family.width()..)?;
            let protocol = Protocol::from_number(*rest.first()?)?;
            let port = u16::from_be_bytes(fixed(rest, 4)?);
            Some(Key::Service(address(family)?, protocol, port))
        }
        _ => None,
    }
}

/// A number in network byte order, of at most 16 bytes.
fn number_in(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .take(16)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

fn put_key(messages: &mut Messages, key: Key) {
    match key {
        Key::Address(address) => {
            let (family, number) = number_of(address);
            put_number(messages, family, number);
        }
        Key::Range(range) => put_number(messages, range.family(), range.numbers().0),
        Key::Service(address, protocol, port) => {
            let mut value = bytes_of(address);
            value.extend_from_slice(&[protocol.number(), 0, 0, 0]);
            value.extend_from_slice(&port.to_be_bytes());
            value.extend_from_slice(&[0; 2]);
            put_data(messages, 1, &value);
        }
    }
}

fn put_number(messages: &mut Messages, family: Family, number: u128) {
    put_data(messages, 1, &bytes_of(family.address(number)));
}

fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A value, as keys and comparisons hold it.
fn put_data(messages: &mut Messages, kind: u16, value: &[u8]) {
    let open = messages.open(kind);
    messages.put(1, value);
    messages.close(open);
}

/// A time-out, and the same as what is left of it: where an element is held already, the second
/// renews it, which the first alone does not if it is what it was.
fn put_timeout(messages: &mut Messages, timeout: Option<Duration>) {
    if let Some(timeout) = timeout {
        messages.put_u64(4, milliseconds(timeout));
        messages.put_u64(5, milliseconds(timeout));
    }
}

fn milliseconds(time: Duration) -> u64 {
    // none is no time-out at all
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A comment, where `nft list` looks for it: type 0, length, text, zero.
fn put_comment(messages: &mut Messages, comment: &str) {
    let mut value = vec![0, (comment.len() + 1) as u8];
    value.extend_from_slice(comment.as_bytes());
    value.push(0);
    messages.put(6, &value);
}

/// The comment in an element's user data.
fn comment_in(mut data: &[u8]) -> Option<&str> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        }
        data = rest.get(usize::from(*length)..)?;
    }
    None
}

/// The comment of an element: its cause and its indicator, of printable ASCII without what could
/// end a quotation, and no longer than `nft` reads.
fn comment_of(hold: &Hold) -> String {
    let mut comment = hold.cause.as_str().to_owned();
    comment.push(' ');
    let room = MAX_COMMENT - 1 - comment.len();
    comment.extend(hold.indicator.chars().take(room).map(|c| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    }));
    comment
}

fn read_comment(comment: &str) -> (Option<Cause>, Arc<str>) {
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    match Cause::from_word(word) {
        Some(cause) => (Some(cause), rest.into()),
        None => (None, "".into()),
    }
}

/// The indicator of a hold as its element will tell it: cut and harmless.
pub(super) fn indicator_of(hold: &Hold) -> Arc<str> {
    read_comment(&comment_of(hold)).1
}

/// Whether an element says of itself what a hold says.
pub(super) fn is_for(held: &Held, hold: &Hold) -> bool {
    held.cause == Some(hold.cause) && indicator_of(hold) == held.indicator
}

/// `struct nfgenmsg` of messages about our table.
fn header() -> [u8; 4] {
    [INET, 0, 0, 0]
}

/// `struct nfgenmsg` of what begins and ends a transaction: the subsystem.
fn batch_header() -> [u8; 4] {
    [0, 0, 0, (SUBSYSTEM >> 8) as u8]
}

/// Our chains; those that the kernel calls, with their hooks.
const CHAINS: [(&str, Option<u32>); 8] = [
    ("refuse", None),
    ("to4", None),
    ("to6", None),
    ("from4", None),
    ("from6", None),
    ("forward", Some(HOOK_FORWARD)),
    ("input", Some(HOOK_INPUT)),
    ("output", Some(HOOK_OUTPUT)),
];

/// One step of a rule.
enum Expression {
    /// Loads something about the packet into a register.
    Meta { key: u32, register: u32 },
    /// Loads bytes of a header into a register; base 1 is the network header, 2 the transport's.
    Payload {
        base: u32,
        offset: u32,
        length: u32,
        register: u32,
    },
    /// Goes on if the first register has this value.
    Is(Vec<u8>),
    /// Goes on if what begins in the first register is in a set.
    In(Set),
    /// Ends the rule with a verdict, and where to go.
    Verdict(i32, Option<&'static str>),
    /// Refuses the packet: TCP by a reset, or anything by ICMP.
    Refuse { reset: bool },
}

const fn number_of_family(family: Family) -> u8 {
    match family {
        Family::V4 => PROTOCOL_FAMILIES[0],
        Family::V6 => PROTOCOL_FAMILIES[1],
    }
}

/// Our rules, in order, each with its chain.
///
/// Each asks for the family although its chain has packets of one only: `nft list` can then say
/// `ip daddr` instead of an offset.
fn rules() -> Vec<(&'static str, Vec<Expression>)> {
    use Expression::In;
    use Expression::Is;
    use Expression::Meta;
    use Expression::Refuse;
    use Expression::Verdict;
    let load = |key| Meta {
        key,
        register: REGISTER,
    };
    let tcp = vec![Protocol::Tcp.number()];
    let mut out = vec![
        (
            "refuse",
            vec![load(META_PROTOCOL), Is(tcp), Refuse { reset: true }],
        ),
        ("refuse", vec![Refuse { reset: false }]),
    ];
    for (family, to, from) in [(Family::V4, "to4", "from4"), (Family::V6, "to6", "from6")] {
        let (source, destination) = match family {
            Family::V4 => (12, 16),
            Family::V6 => (8, 24),
        };
        // the ports: RFC 9293 section 3.1, RFC 768
        for (chain, address, port, verdict) in [
            (to, destination, 2, Verdict(GOTO, Some("refuse"))),
            (from, source, 0, Verdict(DROP, None)),
        ] {
            let load_address = || Expression::Payload {
                base: 1,
                offset: address,
                length: family.width() as u32,
                register: REGISTER,
            };
            let again = || match &verdict {
                Verdict(code, chain) => Verdict(*code, *chain),
                _ => Verdict(DROP, None),
            };
            let word = match family {
                Family::V4 => WORD_1,
                Family::V6 => WORD_4,
            };
            out.push((
                chain,
                vec![
                    load(META_FAMILY),
                    Is(vec![number_of_family(family)]),
                    load_address(),
                    In(Set::Allow(family)),
                    Verdict(RETURN, None),
                ],
            ));
            for set in [Set::Hosts(family), Set::Networks(family)] {
                out.push((
                    chain,
                    vec![
                        load(META_FAMILY),
                        Is(vec![number_of_family(family)]),
                        load_address(),
                        In(set),
                        again(),
                    ],
                ));
            }
            out.push((
                chain,
                vec![
                    load(META_FAMILY),
                    Is(vec![number_of_family(family)]),
                    load_address(),
                    Meta {
                        key: META_PROTOCOL,
                        register: word,
                    },
                    Expression::Payload {
                        base: 2,
                        offset: port,
                        length: 2,
                        register: word + 1,
                    },
                    In(Set::Services(family)),
                    again(),
                ],
            ));
        }
    }
    for (chain, directions) in [
        ("forward", &["to", "from"][..]),
        ("input", &["from"]),
        ("output", &["to"]),
    ] {
        out.push((
            chain,
            vec![load(META_FAMILY), In(Set::Paused), Verdict(ACCEPT, None)],
        ));
        if chain == "input" {
            let loopback = LOOPBACK_INDEX.to_ne_bytes().to_vec();
            out.push((
                chain,
                vec![load(META_IIF), Is(loopback), Verdict(ACCEPT, None)],
            ));
        }
        for direction in directions {
            for family in PROTOCOL_FAMILIES {
                let target = match (*direction, family) {
                    ("to", 2) => "to4",
                    ("to", _) => "to6",
                    (_, 2) => "from4",
                    _ => "from6",
                };
                out.push((
                    chain,
                    vec![
                        load(META_FAMILY),
                        Is(vec![family]),
                        Verdict(JUMP, Some(target)),
                    ],
                ));
            }
        }
    }
    out
}

impl Expression {
    fn put(&self, messages: &mut Messages) {
        messages.put_text(
            1,
            match self {
                Self::Meta { .. } => "meta",
                Self::Payload { .. } => "payload",
                Self::Is(_) => "cmp",
                Self::In(_) => "lookup",
                Self::Verdict(..) => "immediate",
                Self::Refuse { .. } => "reject",
            },
        );
        let data = messages.open(2);
        match self {
            Self::Meta { key, register } => {
                messages.put_u32(2, *key);
                messages.put_u32(1, *register);
            }
            Self::Payload {
                base,
                offset,
                length,
                register,
            } => {
                messages.put_u32(1, *register);
                messages.put_u32(2, *base);
                messages.put_u32(3, *offset);
                messages.put_u32(4, *length);
            }
            Self::Is(value) => {
                messages.put_u32(1, REGISTER);
                // NFT_CMP_EQ
                messages.put_u32(2, 0);
                put_data(messages, 3, value);
            }
            Self::In(set) => {
                messages.put_text(1, set.name());
                messages.put_u32(2, REGISTER);
            }
            Self::Verdict(code, chain) => {
                // NFT_REG_VERDICT
                messages.put_u32(1, 0);
                let value = messages.open(2);
                let verdict = messages.open(2);
                messages.put(1, &code.to_be_bytes());
                if let Some(chain) = chain {
                    messages.put_text(2, chain);
                }
                messages.close(verdict);
                messages.close(value);
            }
            Self::Refuse { reset } => {
                // NFT_REJECT_TCP_RST, or NFT_REJECT_ICMPX_UNREACH with "admin prohibited"
                messages.put_u32(1, if *reset { 1 } else { 2 });
                messages.put(2, &[if *reset { 0 } else { 3 }]);
            }
        }
        messages.close(data);
    }
}
