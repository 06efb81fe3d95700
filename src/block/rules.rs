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

use crate::block::netlink::Messages;
use crate::block::plan::Key;
use crate::block::range::Family;
use crate::block::range::number_of;
use crate::block::target::Protocol;
use std::collections::BTreeMap;

/// The name of our table.
pub(super) const TABLE: &str = "watchpost";

/// Flags of sets, `enum nft_set_flags`.
const INTERVAL: u32 = 0x4;
const TIMEOUT: u32 = 0x10;

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
pub(super) const PROTOCOL_FAMILIES: [u8; 2] = [2, 10];

/// Hooks, `enum nf_inet_hooks`.
const HOOK_INPUT: u32 = 1;
const HOOK_FORWARD: u32 = 2;
const HOOK_OUTPUT: u32 = 3;

/// Priority of our chains: before the firewalls of distributions, containers and firewalld
/// (0 and later), after connection tracking (-200) and translation of addresses (-100).
pub(super) const PRIORITY: i32 = -10;

/// Verdicts, `NF_*` and `enum nft_verdicts`.
const DROP: i32 = 0;
pub(super) const ACCEPT: i32 = 1;
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
pub(super) const ALL: [Set; 9] = [
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

    pub(super) const fn is_interval(self) -> bool {
        matches!(self, Self::Allow(_) | Self::Networks(_))
    }

    pub(super) const fn counts(self) -> bool {
        !matches!(self, Self::Allow(_) | Self::Paused | Self::Probe)
    }

    pub(super) const fn flags(self) -> u32 {
        match self {
            Self::Allow(_) => INTERVAL,
            Self::Networks(_) => INTERVAL | TIMEOUT,
            _ => TIMEOUT,
        }
    }

    /// Type of its keys as `nft` numbers it, and their length.
    pub(super) const fn key(self) -> (u32, usize) {
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

/// Our chains; those that the kernel calls, with their hooks.
pub(super) const CHAINS: [(&str, Option<u32>); 8] = [
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
pub(super) enum Expression {
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
pub(super) fn rules() -> Vec<(&'static str, Vec<Expression>)> {
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
    /// Writes it: its name, and what it needs.
    pub(super) fn put(&self, messages: &mut Messages) {
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
                messages.put_data(3, value);
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
