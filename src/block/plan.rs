//! What the kernel shall hold: the elements that are wanted, cut so that it can.
//!
//! The kernel refuses ranges that overlap, and gives each one time-out. So networks are cut
//! where any of them begins or ends, and each piece is held until the latest end of those that
//! cover it: no address is blocked longer than an indicator asks for, nor beyond one's borders.
//! When the longest-lived of nested networks ends, the pieces of the others are still there.

use crate::block::Cause;
use crate::block::Element;
use crate::block::range::Range;
use crate::block::target::Protocol;
use crate::block::target::Target;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long the kernel holds what nobody renews: a sensor that died leaves nothing for longer.
pub const LEASE: Duration = Duration::from_secs(3_600);

/// What the kernel holds as one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// One address.
    Address(IpAddr),
    /// A range of addresses; no two of a plan overlap.
    Range(Range),
    /// One port of an address.
    Service(IpAddr, Protocol, u16),
}

impl Key {
    /// The key of a target.
    pub fn of(target: Target) -> Self {
        match target.canonical() {
            Target::Address(address) => Self::Address(address),
            network @ Target::Network(_) => Self::Range(network.range()),
            Target::Service {
                address,
                protocol,
                port,
            } => Self::Service(address, protocol, port),
        }
    }
}

impl Key {
    /// What is left of it when a target is let go: of a range, up to two ranges; of anything
    /// else, all or nothing.
    pub(super) fn without(self, released: Target) -> Vec<Self> {
        let range = released.range();
        let is_within = match (self, Self::of(released)) {
            (held, service @ Self::Service(..)) => held == service,
            (Self::Address(address) | Self::Service(address, ..), _) => range.contains(address),
            (Self::Range(held), _) if held.overlaps(range) => return cut_out(held, range),
            (Self::Range(_), _) => false,
        };
        if is_within { Vec::new() } else { vec![self] }
    }
}

/// What of a range is left without another that overlaps it.
fn cut_out(held: Range, released: Range) -> Vec<Key> {
    let ((first, last), (from, to)) = (held.numbers(), released.numbers());
    let before = from
        .checked_sub(1)
        .and_then(|end| Range::from_numbers(held.family(), first, end));
    let after = to
        .checked_add(1)
        .and_then(|start| Range::from_numbers(held.family(), start, last));
    before.into_iter().chain(after).map(Key::Range).collect()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address(address) => address.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Service(address, protocol, port) => Target::Service {
                address,
                protocol,
                port,
            }
            .fmt(f),
        }
    }
}

/// How long a key is to be held, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// When it ends.
    pub until: Timestamp,
    /// The indicator that asks for the latest end; of several, the first by id.
    pub indicator: Arc<str>,
    /// What led to it.
    pub cause: Cause,
}

/// Everything that shall be held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    holds: BTreeMap<Key, Hold>,
}

/// What leads from one plan to another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Keys to remove, before anything is added: a new range may take the place of several.
    pub remove: Vec<Key>,
    /// Keys to add, or to hold until another time or for another indicator.
    pub set: Vec<(Key, Hold)>,
}

impl Plan {
    /// Plans for what of the elements is still wanted at `now`.
    pub fn new<'e>(elements: impl IntoIterator<Item = &'e Element>, now: Timestamp) -> Self {
        let holds = elements.into_iter().map(|element| {
            let hold = Hold {
                until: element.until,
                indicator: Arc::clone(&element.indicator),
                cause: element.cause,
            };
            (Key::of(element.target), hold)
        });
        Self::merge(holds, now)
    }

    /// Plans for ranges that were cut before, of this plan and of others, and cuts them anew.
    pub fn merge(holds: impl IntoIterator<Item = (Key, Hold)>, now: Timestamp) -> Self {
        let mut plan = Self::default();
        let mut networks = Vec::new();
        for (key, hold) in holds.into_iter().filter(|(_, hold)| hold.until > now) {
            match key {
                Key::Range(range) => networks.push((range, hold)),
                key => plan.offer(key, hold),
            }
        }
        plan.holds.extend(
            cut(networks)
                .into_iter()
                .map(|(range, hold)| (Key::Range(range), hold)),
        );
        plan
    }

    fn offer(&mut self, key: Key, hold: Hold) {
        match self.holds.get_mut(&key) {
            Some(held) if rank(held) <= rank(&hold) => {}
            Some(held) => *held = hold,
            None => {
                self.holds.insert(key, hold);
            }
        }
    }

    /// What is held, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Hold)> {
        self.holds.iter()
    }

    /// How a key is held.
    pub fn hold(&self, key: &Key) -> Option<&Hold> {
        self.holds.get(key)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.holds.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.holds.is_empty()
    }

    /// What leads from `self` to `next`.
    pub fn difference(&self, next: &Self) -> Difference {
        let remove = self
            .holds
            .keys()
            .filter(|key| !next.holds.contains_key(key))
            .copied()
            .collect();
        let set = next
            .holds
            .iter()
            .filter(|(key, hold)| self.holds.get(key) != Some(hold))
            .map(|(key, hold)| (*key, hold.clone()))
            .collect();
        Difference { remove, set }
    }
}

/// For how long the kernel is told to hold what ends at `until`: the lease, or less. Zero when
/// it has ended. Cut to whole milliseconds, which is what the kernel counts.
pub fn timeout(until: Timestamp, now: Timestamp, lease: Duration) -> Duration {
    let left = until.since(now).min(lease);
    Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}

/// Whether an element that the kernel holds for `remaining` needs another time-out: because it
/// would outlast its end, or because half of its lease is over and its end is further away.
pub fn needs_renewal(
    remaining: Option<Duration>,
    until: Timestamp,
    now: Timestamp,
    lease: Duration,
) -> bool {
    let wanted = timeout(until, now, lease);
    match remaining {
        None => true,
        Some(remaining) if remaining > wanted => remaining - wanted > TOLERANCE,
        Some(remaining) => wanted - remaining > TOLERANCE && remaining <= lease / 2,
    }
}

/// By how much a time-out may miss what is wanted before it is set anew: the kernel rounds up to
/// its ticks, and asking takes time.
const TOLERANCE: Duration = Duration::from_millis(100);

/// What goes first: the latest end, then the first by id.
fn rank(hold: &Hold) -> (std::cmp::Reverse<Timestamp>, &str, Cause) {
    (std::cmp::Reverse(hold.until), &hold.indicator, hold.cause)
}

/// Cuts networks into ranges that do not overlap, in order.
///
/// A sweep over all borders, with those that cover the place in hand in order of rank; ranges
/// that touch and are held alike become one. At most two ranges less one come of each network.
fn cut(mut networks: Vec<(Range, Hold)>) -> Vec<(Range, Hold)> {
    // equal networks: the one that ranks first is enough
    networks.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| rank(x).cmp(&rank(y))));
    networks.dedup_by(|(next, _), (kept, _)| next == kept);
    let mut out: Vec<(Range, Hold)> = Vec::with_capacity(networks.len());
    // positions in `networks` in order of rank, so that sets of them are cheap to keep
    let mut order: Vec<usize> = (0..networks.len()).collect();
    order.sort_by(|a, b| rank(&networks[*a].1).cmp(&rank(&networks[*b].1)));
    // each border: family, place, and whether a network begins (true) or has ended before it
    let mut borders = Vec::with_capacity(networks.len() * 2);
    for (place, at) in order.iter().enumerate() {
        let range = networks[*at].0;
        let (first, last) = range.numbers();
        borders.push((range.family(), first, true, place));
        if last < range.family().greatest() {
            borders.push((range.family(), last + 1, false, place));
        }
    }
    borders.sort_unstable();
    let mut covering = BTreeSet::new();
    for (at, (family, place, begins, network)) in borders.iter().copied().enumerate() {
        if begins {
            covering.insert(network);
        } else {
            covering.remove(&network);
        }
        let following = borders.get(at + 1).filter(|next| next.0 == family);
        let end = match following {
            Some(next) if next.1 == place => continue,
            Some(next) => next.1 - 1,
            None => family.greatest(),
        };
        if let Some(first) = covering.first()
            && let Some(range) = Range::from_numbers(family, place, end)
        {
            push(&mut out, range, &networks[order[*first]].1);
        }
        if following.is_none() {
            // those that reach to the last address have no border there
            covering.clear();
        }
    }
    out
}

/// Adds a range, to the one before if it goes on from there and is held alike.
fn push(out: &mut Vec<(Range, Hold)>, range: Range, hold: &Hold) {
    let (first, last) = range.numbers();
    if let Some((before, held)) = out.last_mut()
        && before.family() == range.family()
        && before.numbers().1.checked_add(1) == Some(first)
        && held == hold
        && let Some(joined) = Range::from_numbers(range.family(), before.numbers().0, last)
    {
        *before = joined;
        return;
    }
    out.push((range, hold.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    fn second(n: u64) -> Timestamp {
        Timestamp::from_parts(n, 0)
    }

    fn element(target: &str, until: u64, indicator: &str) -> Element {
        Element {
            target: target.parse().unwrap(),
            until: second(until),
            indicator: indicator.into(),
            cause: Cause::Intel,
        }
    }

    /// A plan as text: key, end in seconds, indicator.
    fn told(plan: &Plan) -> Vec<String> {
        plan.iter()
            .map(|(key, hold)| {
                let seconds = hold.until.as_nanos() / 1_000_000_000;
                format!("{key} {seconds} {}", hold.indicator)
            })
            .collect()
    }

    #[test]
    fn nested_networks_leave_what_they_should() {
        for (elements, wanted) in [
            (
                // the narrow one lives longer
                &[("192.0.2.0/24", 10, "a"), ("192.0.2.64/26", 20, "b")][..],
                &[
                    "192.0.2.0/26 10 a",
                    "192.0.2.64/26 20 b",
                    "192.0.2.128/25 10 a",
                ][..],
            ),
            (
                // the wide one lives longer
                &[("192.0.2.0/24", 20, "a"), ("192.0.2.64/26", 10, "b")],
                &["192.0.2.0/24 20 a"],
            ),
            (
                // at the edges, and equal ones
                &[
                    ("192.0.2.0/24", 10, "a"),
                    ("192.0.2.0/25", 20, "b"),
                    ("192.0.2.0/24", 10, "c"),
                ],
                &["192.0.2.0/25 20 b", "192.0.2.128/25 10 a"],
            ),
            (
                // neighbours of one end stay two: each names its own indicator
                &[("192.0.2.0/25", 10, "a"), ("192.0.2.128/25", 10, "b")],
                &["192.0.2.0/25 10 a", "192.0.2.128/25 10 b"],
            ),
            (
                &[("192.0.2.0/25", 10, "a"), ("192.0.2.128/25", 10, "a")],
                &["192.0.2.0/24 10 a"],
            ),
            (
                // to the end of each family
                &[
                    ("240.0.0.0/4", 10, "a"),
                    ("ff00::/8", 10, "b"),
                    ("::/8", 10, "a"),
                ],
                &["240.0.0.0/4 10 a", "::/8 10 a", "ff00::/8 10 b"],
            ),
            (
                // single addresses and services are no ranges; ended ones are nothing
                &[
                    ("192.0.2.1", 10, "a"),
                    ("192.0.2.1/32", 20, "b"),
                    ("192.0.2.1:1/tcp", 5, "c"),
                    ("192.0.2.9", 1, "a"),
                    ("192.0.2.0/24", 1, "a"),
                ],
                &["192.0.2.1 20 b", "192.0.2.1:1/tcp 5 c"],
            ),
        ] {
            let elements: Vec<_> = elements
                .iter()
                .map(|(target, until, id)| element(target, *until, id))
                .collect();
            assert_eq!(told(&Plan::new(&elements, second(1))), wanted);
        }
    }

    /// The end of the block of an address, as the elements say it, one by one.
    fn naive(elements: &[Element], address: IpAddr, now: Timestamp) -> Option<Timestamp> {
        elements
            .iter()
            .filter(|e| e.until > now && e.target.range().contains(address))
            .map(|e| e.until)
            .max()
    }

    fn planned(plan: &Plan, address: IpAddr) -> Option<Timestamp> {
        plan.iter()
            .filter(|(key, _)| match key {
                Key::Address(held) => *held == address,
                Key::Range(range) => range.contains(address),
                Key::Service(..) => false,
            })
            .map(|(_, hold)| hold.until)
            .max()
    }

    /// Seeded, so that what fails fails again (xorshift64).
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }
    }

    /// An address of few, so that networks meet: at the start, the middle and the end of a family.
    fn some_address(dice: &mut Dice) -> IpAddr {
        let low = dice.roll(256);
        match dice.roll(4) {
            0 => std::net::Ipv4Addr::from(0xc000_0200 | low as u32).into(),
            1 => std::net::Ipv4Addr::from(0xffff_ff00 | low as u32).into(),
            2 => std::net::Ipv6Addr::from((0x2001_0db8 << 96) | u128::from(low)).into(),
            _ => std::net::Ipv6Addr::from(!0xff | u128::from(low)).into(),
        }
    }

    fn some_elements(dice: &mut Dice) -> Vec<Element> {
        (0..dice.roll(40))
            .map(|_| {
                let address = some_address(dice);
                let most = if address.is_ipv4() { 32 } else { 128 };
                let prefix = (most - dice.roll(9)) as u8;
                Element {
                    target: Target::Network(IpNet::new(address, prefix).unwrap()).canonical(),
                    until: second(dice.roll(6)),
                    indicator: format!("indicator--{}", dice.roll(3)).into(),
                    cause: Cause::Intel,
                }
            })
            .collect()
    }

    #[test]
    fn a_plan_blocks_each_address_exactly_as_long_as_its_elements_say() {
        let mut dice = Dice(0x5eed);
        for round in 0..300 {
            let elements = some_elements(&mut dice);
            let now = second(dice.roll(4));
            let plan = Plan::new(&elements, now);
            // whatever the order they come in
            let mut turned = elements.clone();
            turned.reverse();
            assert_eq!(plan, Plan::new(&turned, now), "round {round}");
            // and a plan is its own plan
            let again = plan.iter().map(|(key, hold)| (*key, hold.clone()));
            assert_eq!(plan, Plan::merge(again, now), "round {round}");
            for low in 0..256_u32 {
                for address in [
                    IpAddr::from(std::net::Ipv4Addr::from(0xc000_0200 | low)),
                    std::net::Ipv4Addr::from(0xffff_ff00 | low).into(),
                    std::net::Ipv6Addr::from((0x2001_0db8 << 96) | u128::from(low)).into(),
                    std::net::Ipv6Addr::from(!0xff | u128::from(low)).into(),
                ] {
                    assert_eq!(
                        planned(&plan, address),
                        naive(&elements, address, now),
                        "round {round}: {address} of {elements:?}"
                    );
                }
            }
            let ranges: Vec<Range> = plan
                .iter()
                .filter_map(|(key, _)| match key {
                    Key::Range(range) => Some(*range),
                    _ => None,
                })
                .collect();
            for pair in ranges.windows(2) {
                assert!(
                    pair[0].family() != pair[1].family()
                        || pair[0].numbers().1 < pair[1].numbers().0,
                    "round {round}: {} and {} overlap",
                    pair[0],
                    pair[1]
                );
            }
        }
    }

    #[test]
    fn differences_lead_from_one_plan_to_the_other() {
        let mut dice = Dice(0xd1ff);
        for _ in 0..300 {
            let old = Plan::new(&some_elements(&mut dice), second(0));
            let new = Plan::new(&some_elements(&mut dice), second(0));
            let difference = old.difference(&new);
            let mut holds = old.holds.clone();
            for key in &difference.remove {
                assert!(holds.remove(key).is_some());
            }
            for (key, hold) in difference.set {
                assert_ne!(holds.insert(key, hold.clone()), Some(hold));
            }
            assert_eq!(holds, new.holds);
            assert_eq!(new.difference(&new), Difference::default());
        }
    }

    #[test]
    fn what_is_let_go_is_let_go_exactly() {
        let key = |text: &str| Key::of(text.parse().unwrap());
        for (held, released, left) in [
            ("192.0.2.1", "192.0.2.1", ""),
            ("192.0.2.1", "192.0.2.2", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.0/24", ""),
            ("192.0.2.1", "2001:db8::/32", "192.0.2.1"),
            ("192.0.2.1", "192.0.2.1:1/tcp", "192.0.2.1"),
            ("192.0.2.1:1/tcp", "192.0.2.1:1/tcp", ""),
            ("192.0.2.1:1/tcp", "192.0.2.1:1/udp", "192.0.2.1:1/tcp"),
            ("192.0.2.1:1/tcp", "192.0.2.1", ""),
            ("192.0.2.0/24", "192.0.2.1:1/tcp", "192.0.2.0/24"),
            ("192.0.2.0/24", "192.0.2.0/24", ""),
            ("192.0.2.0/24", "192.0.0.0/16", ""),
            ("192.0.2.0/24", "192.0.2.0/25", "192.0.2.128/25"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.2.0-192.0.2.254"),
            (
                "192.0.2.0/24",
                "192.0.2.64/26",
                "192.0.2.0/26 192.0.2.128/25",
            ),
            ("192.0.2.0/24", "192.0.3.0/24", "192.0.2.0/24"),
            ("::/19", "::/20", "0:1000::/20"),
            ("ff00::/8", "ff80::/9", "ff00::/9"),
        ] {
            let after = key(held).without(released.parse().unwrap());
            let told: Vec<String> = after.iter().map(Key::to_string).collect();
            assert_eq!(told.join(" "), left, "{held} without {released}");
        }
    }

    #[test]
    fn leases_end_with_what_they_are_for() {
        let lease = Duration::from_secs(100);
        let seconds = Duration::from_secs;
        for (until, remaining, wanted, renewed) in [
            // as soon as half of it is over, not before
            (1_000, Some(seconds(100)), 100, false),
            (1_000, Some(seconds(51)), 100, false),
            (1_000, Some(seconds(50)), 100, true),
            (1_000, None, 100, true),
            // near the end there is nothing left to renew
            (40, Some(seconds(40)), 40, false),
            (40, Some(seconds(30)), 40, true),
            (0, Some(seconds(1)), 0, true),
            // what would outlast it is cut short
            (40, Some(seconds(41)), 40, true),
        ] {
            let now = second(0);
            assert_eq!(timeout(second(until), now, lease), seconds(wanted));
            assert_eq!(
                needs_renewal(remaining, second(until), now, lease),
                renewed,
                "{until} {remaining:?}"
            );
        }
        assert_eq!(timeout(Timestamp::MAX, second(0), lease), lease);
        // never longer than is left
        let until = Timestamp::from_nanos(1_999_999);
        assert_eq!(
            timeout(until, Timestamp::MIN, lease),
            Duration::from_millis(1)
        );
    }
}
