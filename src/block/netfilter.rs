//! The kernel's firewall: blocks in a table of our own, `inet watchpost`.
//!
//! The table has no owner: what it holds stays while the sensor restarts, and each element goes
//! when its time is over, whether anybody lives or not. It is changed by transactions, each
//! bound to the generation of the rule set that was read before: if anybody else changed
//! anything meanwhile, the kernel refuses, and we read again. Nothing of anybody else's tables
//! is read or changed.

use crate::block::Backend;
use crate::block::BlockError;
use crate::block::Cause;
use crate::block::Element;
use crate::block::Held;
use crate::block::Synced;
use crate::block::batch;
use crate::block::batch::Batch;
use crate::block::elements;
use crate::block::mirror::Clock;
use crate::block::mirror::Mirror;
use crate::block::netlink::DUMP;
use crate::block::netlink::Messages;
use crate::block::netlink::Refused;
use crate::block::netlink::Socket;
use crate::block::never::NeverBlock;
use crate::block::plan;
use crate::block::plan::Hold;
use crate::block::plan::Key;
use crate::block::plan::Plan;
use crate::block::range::Family;
use crate::block::range::Range;
use crate::block::rules;
use crate::block::rules::BLOCKING;
use crate::block::rules::Set;
use crate::block::target::Target;
use crate::time::Timestamp;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use std::time::Instant;

/// Single addresses, services and ranges that are held: a million take about 200 MB of kernel
/// memory, time-outs, counters and comments included.
pub const MOST_HELD: usize = 2_000_000;

/// Ranges that are held in one family: all of them are put in place by one transaction, and
/// each change of an interval set walks the whole of it (5 ms at a hundred thousand).
pub const MOST_RANGES: usize = 200_000;

/// Elements of one transaction where they may come in several: a batch of this size is below
/// 2 MB and holds the kernel's lock for some tens of milliseconds.
const CHUNK: usize = 10_000;

/// How often a change is tried again because somebody else changed something meanwhile, or an
/// element's time was over just then.
const ATTEMPTS: usize = 10;

/// How the time of an element that is held is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// By adding it again (Linux 6.12 and later).
    AddAgain,
    /// By removing and adding it in one transaction: older kernels take the second addition,
    /// and let the element keep its old time. What it counted is carried over.
    Replace,
}

/// Blocks held by nf_tables.
pub struct Netfilter {
    socket: Socket,
    /// What is never blocked, in order.
    allow: Vec<Range>,
    lease: Duration,
    /// How this kernel renews; `None`: it was not asked yet.
    renewal: Option<Renewal>,
    /// Generation of the rule set in which our table was whole; `None`: it was not looked at yet.
    whole: Option<u32>,
    /// Generation in which it held what the last plan says; `None`: no plan was put in place.
    synced: Option<u32>,
    /// What it holds in that generation; `None`: it has to be read.
    mirror: Option<Mirror>,
}

/// What was changed in vain.
enum Failure {
    /// Somebody was faster: read again.
    Stale,
    /// It does not work.
    Final(BlockError),
}

impl From<BlockError> for Failure {
    fn from(error: BlockError) -> Self {
        Self::Final(error)
    }
}

impl Netfilter {
    /// Opens the firewall of the network namespace of this process. Nothing is changed yet.
    pub fn open(never: &NeverBlock) -> Result<Self, BlockError> {
        let socket = Socket::netfilter().map_err(|e| failure("opening the firewall", e))?;
        let opened = Self {
            socket,
            allow: never.ranges(),
            lease: plan::LEASE,
            renewal: None,
            whole: None,
            synced: None,
            mirror: None,
        };
        match opened.ask_generation() {
            // no part of the kernel answers
            Err(e) if is(&e, Errno::INVAL) => Err(BlockError::Unsupported {
                what: "opening the firewall",
            }),
            Err(e) => Err(failure("opening the firewall", e)),
            Ok(_) => Ok(opened),
        }
    }

    /// Holds what nobody renews for this long, instead of [`plan::LEASE`].
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Renews in this way, instead of asking the kernel which one works.
    #[must_use]
    pub fn with_renewal(mut self, renewal: Renewal) -> Self {
        self.renewal = Some(renewal);
        self
    }

    /// Protects what is never blocked now; the next [`sync`](Backend::sync) puts it in place.
    pub fn set_never(&mut self, never: &NeverBlock) {
        self.allow = never.ranges();
        self.whole = None;
        self.synced = None;
    }

    /// What the kernel is told never to block, in order: of whoever made the table.
    pub fn allowed(&self) -> Result<Vec<Range>, BlockError> {
        let mut out = Vec::new();
        for family in [Family::V4, Family::V6] {
            let elements = self.elements(Set::Allow(family))?;
            out.extend(elements.into_iter().filter_map(|held| match held.key {
                Key::Range(range) => Some(range),
                _ => None,
            }));
        }
        out.sort_unstable();
        Ok(out)
    }

    /// Makes the table, unless it is there and whole. Returns whether it had to be made.
    fn ensure(&mut self, exact: bool) -> Result<bool, Failure> {
        let generation = self.generation()?;
        let is_known = if exact { self.synced } else { self.whole } == Some(generation);
        if is_known {
            return Ok(false);
        }
        if self.is_whole()? {
            self.whole = Some(generation);
            if exact {
                self.ensure_allowed(generation)?;
            }
            return Ok(false);
        }
        let mut batch = Batch::new(generation);
        batch.create(&self.allow);
        self.whole = Some(self.commit(batch, generation)?);
        Ok(true)
    }

    /// Protects exactly what is never blocked.
    fn ensure_allowed(&mut self, generation: u32) -> Result<(), Failure> {
        if self.allowed()? == self.allow {
            return Ok(());
        }
        let mut batch = Batch::new(generation);
        batch.empty(Set::Allow(Family::V4));
        batch.empty(Set::Allow(Family::V6));
        batch.allow(&self.allow);
        self.commit(batch, generation)?;
        Ok(())
    }

    /// Whether our table has its sets and rules, and is not asleep.
    fn is_whole(&self) -> Result<bool, BlockError> {
        let doing = "reading the firewall";
        let table = self.socket.ask(&batch::question(batch::GET_TABLE, 0, None));
        match table {
            Err(e) if is(&e, Errno::NOENT) => return Ok(false),
            Err(e) => return Err(failure(doing, e)),
            Ok(body) => {
                if elements::attributes(&body).number_u32(2).unwrap_or(0) & rules::DORMANT != 0 {
                    return Ok(false);
                }
            }
        }
        let mut sets = Vec::new();
        self.dump(
            doing,
            &batch::question(batch::GET_SET, DUMP, None),
            &mut |body| sets.extend(elements::attributes(body).text(2).map(str::to_owned)),
        )?;
        let has_sets = rules::expected_sets()
            .iter()
            .all(|name| sets.iter().any(|set| set == name));
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        self.dump(
            doing,
            &batch::question(batch::GET_RULE, DUMP, None),
            &mut |body| {
                let attributes = elements::attributes(body);
                if attributes.text(1) == Some(rules::TABLE)
                    && let Some(chain) = attributes.text(2)
                {
                    *counted.entry(chain.to_owned()).or_insert(0) += 1;
                }
            },
        )?;
        Ok(has_sets && counted == rules::expected_rules())
    }

    /// The elements of a set, of one moment. None where the set is not there.
    fn elements(&self, set: Set) -> Result<Vec<Held>, BlockError> {
        let doing = "reading what is blocked";
        for _ in 0..ATTEMPTS {
            let mut raw = Vec::new();
            let question = batch::question(batch::GET_ELEMENT, DUMP, Some(set));
            let asked = self.socket.dump(&question, &mut |body| {
                elements::read_elements(set, body, &mut raw);
            });
            match asked {
                Ok(true) => return Ok(elements::join(set, raw)),
                // changed meanwhile
                Ok(false) => {}
                Err(e) if is(&e, Errno::NOENT) => return Ok(Vec::new()),
                Err(e) => return Err(failure(doing, e)),
            }
        }
        Err(BlockError::Contended)
    }

    /// One element that is no range.
    fn element(&self, key: Key) -> Result<Option<Held>, BlockError> {
        match self.socket.ask(&batch::question_about(key)) {
            Ok(body) => {
                let mut raw = Vec::new();
                elements::read_elements(Set::of(&key), &body, &mut raw);
                Ok(elements::join(Set::of(&key), raw).pop())
            }
            Err(e) if is(&e, Errno::NOENT) => Ok(None),
            Err(e) => Err(failure("reading what is blocked", e)),
        }
    }

    fn dump(
        &self,
        doing: &'static str,
        question: &Messages,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<(), BlockError> {
        match self.socket.dump(question, each) {
            // what changed meanwhile also changed the generation, so it is looked at again
            Ok(_) => Ok(()),
            Err(e) if is(&e, Errno::NOENT) => Ok(()),
            Err(e) => Err(failure(doing, e)),
        }
    }

    /// The generation of the whole rule set of this namespace: every transaction begins another.
    fn generation(&self) -> Result<u32, BlockError> {
        self.ask_generation()
            .map_err(|e| failure("reading the firewall's generation", e))
    }

    fn ask_generation(&self) -> io::Result<u32> {
        let question = batch::question(batch::GET_GENERATION, 0, None);
        let body = self.socket.ask(&question)?;
        elements::attributes(&body)
            .number_u32(1)
            .ok_or_else(|| io::Error::other("the answer has no number"))
    }

    /// Does a transaction that was made for a generation. Returns the one that it begins.
    fn commit(&mut self, batch: Batch, generation: u32) -> Result<u32, Failure> {
        if batch.is_empty() {
            return Ok(generation);
        }
        let batch = batch.finish();
        match self.socket.exchange(&batch.messages, batch.last) {
            Ok(()) => {
                // 0 is passed over, nf_tables_commit in net/netfilter/nf_tables_api.c
                let next = generation.wrapping_add(1).max(1);
                for known in [&mut self.whole, &mut self.synced] {
                    if *known == Some(generation) {
                        *known = Some(next);
                    }
                }
                Ok(next)
            }
            Err(Refused { error, .. }) if error.raw_os_error() == Some(ERESTART) => {
                Err(Failure::Stale)
            }
            Err(Refused { sequence, error }) => Err(match batch.key(sequence) {
                // its time was over just then, or a set went away
                Some(_) if is(&error, Errno::NOENT) => Failure::Stale,
                Some(key) => BlockError::Element { key, error }.into(),
                None if is(&error, Errno::NOENT) || is(&error, Errno::OPNOTSUPP) => {
                    BlockError::Unsupported {
                        what: "making the table 'inet watchpost'",
                    }
                    .into()
                }
                None => failure("changing the firewall", error).into(),
            }),
        }
    }

    /// Tries something that needs an unchanged rule set, as often as makes sense.
    fn attempt<T>(
        &mut self,
        mut change: impl FnMut(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, BlockError> {
        for _ in 0..ATTEMPTS {
            let failure = match change(self) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            self.whole = None;
            self.synced = None;
            if let Failure::Final(error) = failure {
                return Err(error);
            }
        }
        Err(BlockError::Contended)
    }

    /// Asks the kernel how it renews, on a set that is there for this question only.
    fn renewal(&mut self) -> Result<Renewal, Failure> {
        if let Some(renewal) = self.renewal {
            return Ok(renewal);
        }
        let (long, short) = (Duration::from_secs(3_600), Duration::from_secs(60));
        let generation = self.generation()?;
        let mut batch = Batch::new(generation);
        batch.create_set(Set::Probe);
        batch.probe(long, short);
        let generation = self.commit(batch, generation)?;
        let mut batch = Batch::new(generation);
        batch.probe(long, long);
        self.commit(batch, generation)?;
        let asked = self.elements(Set::Probe)?;
        // the second addition begins no generation where it changed nothing
        let generation = self.generation()?;
        let mut batch = Batch::new(generation);
        batch.delete_set(Set::Probe);
        self.commit(batch, generation)?;
        let is_renewed = asked
            .first()
            .and_then(|held| held.remaining)
            .is_some_and(|remaining| remaining > short);
        let renewal = if is_renewed {
            Renewal::AddAgain
        } else {
            Renewal::Replace
        };
        self.renewal = Some(renewal);
        Ok(renewal)
    }

    /// How long the kernel is told to hold something. What an operator blocked nobody renews.
    fn timeout(&self, hold: &Hold, now: Timestamp) -> Duration {
        let lease = match hold.cause {
            Cause::Operator => Duration::MAX,
            Cause::Intel | Cause::Match => self.lease,
        };
        plan::timeout(hold.until, now, lease)
    }

    /// Whether what is held needs another time-out or another indicator.
    fn needs(&self, held: &Held, hold: &Hold, now: Timestamp) -> Need {
        if !elements::is_for(held, hold) {
            return Need::Comment;
        }
        let lease = match hold.cause {
            Cause::Operator => hold.until.since(now),
            Cause::Intel | Cause::Match => self.lease,
        };
        if plan::needs_renewal(held.remaining, hold.until, now, lease) {
            Need::Time
        } else {
            Need::Nothing
        }
    }

    /// Brings single addresses and services to what is wanted, in transactions of a bounded size.
    fn sync_singles(
        &mut self,
        held: &HashMap<Key, Held>,
        wanted: &Plan,
        clock: Clock,
        synced: &mut Synced,
    ) -> Result<(), Failure> {
        let surplus = held
            .values()
            .filter(|h| !matches!(h.key, Key::Range(_)) && wanted.hold(&h.key).is_none());
        let mut changes: Vec<Change<'_>> = surplus.map(|h| Change::Remove(h.key)).collect();
        for (key, hold) in wanted.iter() {
            if matches!(key, Key::Range(_)) {
                continue;
            }
            match held.get(key) {
                None => changes.push(Change::Add(*key, hold)),
                Some(held) => match self.needs(held, hold, clock.given) {
                    Need::Nothing => {}
                    Need::Time => changes.push(Change::Renew(*key, hold)),
                    Need::Comment => changes.push(Change::Replace(*key, hold)),
                },
            }
        }
        self.change(&changes, clock, synced)
    }

    fn change(
        &mut self,
        changes: &[Change<'_>],
        clock: Clock,
        synced: &mut Synced,
    ) -> Result<(), Failure> {
        let renews = changes.iter().any(|c| matches!(c, Change::Renew(..)));
        let renewal = if renews {
            self.renewal()?
        } else {
            Renewal::AddAgain
        };
        for chunk in changes.chunks(CHUNK) {
            let generation = self.generation()?;
            let mut batch = Batch::new(generation);
            let now = clock.now();
            for change in chunk {
                let (key, hold) = match *change {
                    Change::Remove(key) => {
                        batch.remove(key);
                        continue;
                    }
                    Change::Add(key, hold)
                    | Change::Renew(key, hold)
                    | Change::Replace(key, hold) => (key, hold),
                };
                let replaces = match change {
                    Change::Replace(..) => true,
                    Change::Renew(..) => renewal == Renewal::Replace,
                    Change::Add(..) | Change::Remove(_) => false,
                };
                let mut counted = None;
                if replaces && let Some(held) = self.element(key)? {
                    batch.remove(key);
                    counted = Some((held.packets, held.bytes));
                }
                batch.add(key, hold, Some(self.timeout(hold, now)), counted);
            }
            self.commit(batch, generation)?;
            for change in chunk {
                match change {
                    Change::Remove(_) => synced.removed += 1,
                    Change::Add(..) => synced.added += 1,
                    Change::Renew(..) | Change::Replace(..) => synced.renewed += 1,
                }
            }
        }
        Ok(())
    }

    /// Brings the ranges of a family to what is wanted, all at once: no packet sees a part.
    fn sync_ranges(
        &mut self,
        family: Family,
        held: &HashMap<Key, Held>,
        wanted: &Plan,
        clock: Clock,
        generation: u32,
        synced: &mut Synced,
    ) -> Result<u32, Failure> {
        let of_family = |key: &Key| matches!(key, Key::Range(range) if range.family() == family);
        let wanted: Vec<(Key, &Hold)> = wanted
            .iter()
            .filter(|(key, _)| of_family(key))
            .map(|(key, hold)| (*key, hold))
            .collect();
        let kept = wanted.iter().filter(|(key, _)| held.contains_key(key));
        let (mut same, mut renewed) = (0, 0);
        for (key, hold) in kept {
            match held.get(key).map(|h| self.needs(h, hold, clock.given)) {
                Some(Need::Nothing) => same += 1,
                _ => renewed += 1,
            }
        }
        let before = held.keys().filter(|key| of_family(key)).count();
        if same == before && same == wanted.len() {
            return Ok(generation);
        }
        if wanted.len() > MOST_RANGES {
            return Err(BlockError::TooMany {
                wanted: wanted.len(),
                most: MOST_RANGES,
            }
            .into());
        }
        let counters = self.held(&[Set::Networks(family)])?;
        let mut batch = Batch::new(generation);
        batch.empty(Set::Networks(family));
        let now = clock.now();
        for (key, hold) in &wanted {
            let counted = counters.get(key).map(|h| (h.packets, h.bytes));
            batch.add(*key, hold, Some(self.timeout(hold, now)), counted);
        }
        let generation = self.commit(batch, generation)?;
        synced.added += wanted.len() - same - renewed;
        synced.renewed += renewed;
        synced.removed += before - same - renewed;
        Ok(generation)
    }

    /// Everything held, by key.
    fn held(&self, sets: &[Set]) -> Result<HashMap<Key, Held>, BlockError> {
        let mut all = HashMap::new();
        for set in sets {
            all.extend(
                self.elements(*set)?
                    .into_iter()
                    .map(|held| (held.key, held)),
            );
        }
        Ok(all)
    }

    fn sync_once(&mut self, plan: &Plan, now: Timestamp) -> Result<Synced, Failure> {
        let restored = self.ensure(true)?;
        let mut synced = Synced {
            restored,
            ..Synced::default()
        };
        let clock = Clock::start(now);
        let mut generation = self.generation()?;
        let began = Instant::now();
        let held = match self.mirror.take() {
            Some(mirror) if self.synced == Some(generation) => mirror.at(began),
            _ => self.held(&BLOCKING)?,
        };
        // whatever anybody else changes from here on makes it another generation
        self.synced = Some(generation);
        let by_hand = held
            .values()
            .filter(|h| h.cause == Some(Cause::Operator))
            .map(|held| (held.key, hold_of(held, now)));
        let planned = plan.iter().map(|(key, hold)| (*key, hold.clone()));
        let wanted = Plan::merge(by_hand.chain(planned), now);
        if wanted.len() > MOST_HELD {
            return Err(BlockError::TooMany {
                wanted: wanted.len(),
                most: MOST_HELD,
            }
            .into());
        }
        let mut untouched = Vec::new();
        for family in [Family::V4, Family::V6] {
            let before = generation;
            generation = self.sync_ranges(family, &held, &wanted, clock, before, &mut synced)?;
            if generation == before {
                untouched.push(family);
            }
        }
        self.sync_singles(&held, &wanted, clock, &mut synced)?;
        self.mirror = Some(self.reflect(&held, &wanted, began, clock, &untouched));
        Ok(synced)
    }

    /// What is held after a plan was put in place. What was set anew has, at most, what it would
    /// have if it had been set just now: so that it is never thought to end before it does.
    fn reflect(
        &self,
        before: &HashMap<Key, Held>,
        wanted: &Plan,
        began: Instant,
        clock: Clock,
        untouched: &[Family],
    ) -> Mirror {
        let (as_of, now) = (Instant::now(), clock.now());
        let held = wanted.iter().map(|(key, hold)| {
            let known = before.get(key).filter(|held| {
                let is_kept = match key {
                    Key::Range(range) => untouched.contains(&range.family()),
                    _ => true,
                };
                is_kept && matches!(self.needs(held, hold, clock.given), Need::Nothing)
            });
            let remaining = match known {
                Some(held) => held.remaining.map(|r| r.saturating_sub(as_of - began)),
                None => Some(self.timeout(hold, now)),
            };
            (*key, held_for(*key, hold, remaining))
        });
        Mirror::new(as_of, held.collect())
    }

    fn add_once(&mut self, elements: &[Element], now: Timestamp) -> Result<usize, Failure> {
        self.ensure(false)?;
        let clock = Clock::start(now);
        let new = Plan::new(elements, now);
        let mut synced = Synced::default();
        let mut changes = Vec::new();
        for (key, hold) in new.iter().filter(|(key, _)| !matches!(key, Key::Range(_))) {
            match self.element(*key)? {
                None => changes.push(Change::Add(*key, hold)),
                Some(held) if outlasts(&held, self.timeout(hold, now)) => {}
                Some(held) if elements::is_for(&held, hold) => {
                    changes.push(Change::Renew(*key, hold));
                }
                Some(_) => changes.push(Change::Replace(*key, hold)),
            }
        }
        self.change(&changes, clock, &mut synced)?;
        for change in &changes {
            if let Change::Add(key, hold) | Change::Renew(key, hold) | Change::Replace(key, hold) =
                change
            {
                let timeout = self.timeout(hold, clock.now());
                if let Some(mirror) = &mut self.mirror {
                    mirror.insert(held_for(*key, hold, Some(timeout)));
                }
            }
        }
        for family in [Family::V4, Family::V6] {
            let of_family =
                |key: &Key| matches!(key, Key::Range(range) if range.family() == family);
            if !new.iter().any(|(key, _)| of_family(key)) {
                continue;
            }
            let generation = self.generation()?;
            let held = self.held(&[Set::Networks(family)])?;
            let before = held.values().map(|held| (held.key, hold_of(held, now)));
            let added = new.iter().map(|(key, hold)| (*key, hold.clone()));
            let wanted = Plan::merge(before.chain(added), now);
            self.mirror = None;
            self.sync_ranges(family, &held, &wanted, clock, generation, &mut synced)?;
        }
        Ok(synced.added + synced.renewed)
    }

    fn release_once(&mut self, target: Target) -> Result<bool, Failure> {
        let generation = self.generation()?;
        let family = target.range().family();
        let mut batch = Batch::new(generation);
        let single = Key::of(target);
        match single {
            Key::Address(_) | Key::Service(..) => {
                if self.element(single)?.is_some() {
                    batch.remove(single);
                }
            }
            Key::Range(_) => {}
        }
        let of_others = match single {
            Key::Service(..) => &[][..],
            Key::Address(_) => &[Set::Services(family)],
            Key::Range(_) => &[Set::Hosts(family), Set::Services(family)],
        };
        for set in of_others {
            for held in self.elements(*set)? {
                if held.key.without(target).is_empty() {
                    batch.remove(held.key);
                }
            }
        }
        let ranges = match single {
            Key::Service(..) => Vec::new(),
            _ => self.elements(Set::Networks(family))?,
        };
        if ranges.iter().any(|h| h.key.without(target) != [h.key]) {
            batch.empty(Set::Networks(family));
            for held in ranges {
                // the rest ends when it would have ended
                let hold = hold_of(&held, Timestamp::MIN);
                for key in held.key.without(target) {
                    let counted = Some((held.packets, held.bytes));
                    batch.add(key, &hold, held.remaining, counted);
                }
            }
        }
        let was_held = !batch.is_empty();
        self.mirror = None;
        self.commit(batch, generation)?;
        Ok(was_held)
    }
}

impl Backend for Netfilter {
    fn sync(&mut self, plan: &Plan, now: Timestamp) -> Result<Synced, BlockError> {
        let mut restored = false;
        let mut synced = self.attempt(|this| {
            // what was made before the attempt failed was made all the same
            this.sync_once(plan, now)
                .inspect(|s| restored |= s.restored)
        })?;
        synced.restored |= restored;
        Ok(synced)
    }

    fn add(&mut self, elements: &[Element], now: Timestamp) -> Result<usize, BlockError> {
        self.attempt(|this| this.add_once(elements, now))
    }

    fn release(&mut self, target: Target) -> Result<bool, BlockError> {
        self.attempt(|this| this.release_once(target))
    }

    fn list(&mut self) -> Result<Vec<Held>, BlockError> {
        let mut all = Vec::new();
        for set in BLOCKING {
            all.extend(self.elements(set)?);
        }
        Ok(all)
    }

    fn is_disturbed(&mut self) -> Result<bool, BlockError> {
        Ok(self.synced != Some(self.generation()?))
    }

    fn pause(&mut self) -> Result<(), BlockError> {
        self.attempt(|this| {
            this.ensure(false)?;
            let generation = this.generation()?;
            let mut batch = Batch::new(generation);
            batch.pause();
            this.commit(batch, generation)?;
            Ok(())
        })
    }

    fn resume(&mut self) -> Result<(), BlockError> {
        self.attempt(|this| {
            this.ensure(false)?;
            let generation = this.generation()?;
            let mut batch = Batch::new(generation);
            batch.empty(Set::Paused);
            this.commit(batch, generation)?;
            Ok(())
        })
    }

    fn is_paused(&mut self) -> Result<bool, BlockError> {
        Ok(!self.elements(Set::Paused)?.is_empty())
    }

    fn flush(&mut self) -> Result<(), BlockError> {
        self.attempt(|this| {
            let generation = this.generation()?;
            let question = batch::question(batch::GET_TABLE, 0, None);
            match this.socket.ask(&question) {
                Err(e) if is(&e, Errno::NOENT) => return Ok(()),
                Err(e) => return Err(failure("reading the firewall", e).into()),
                Ok(_) => {}
            }
            let mut batch = Batch::new(generation);
            batch.delete_table();
            this.commit(batch, generation)?;
            this.whole = None;
            this.synced = None;
            Ok(())
        })
    }
}

/// Something to be done to one element that is no range.
enum Change<'a> {
    Remove(Key),
    Add(Key, &'a Hold),
    /// Only its time is another.
    Renew(Key, &'a Hold),
    /// Its comment is another, which the kernel changes in no other way.
    Replace(Key, &'a Hold),
}

/// What an element that is held needs.
enum Need {
    Nothing,
    Time,
    Comment,
}

/// Whether what is held ends no earlier than in a time; a second is as good as none, or the
/// same element would be renewed for each packet.
fn outlasts(held: &Held, timeout: Duration) -> bool {
    held.remaining
        .is_none_or(|remaining| remaining + Duration::from_secs(1) >= timeout)
}

/// What the kernel tells of an element that was just set, and met nothing yet.
fn held_for(key: Key, hold: &Hold, remaining: Option<Duration>) -> Held {
    Held {
        key,
        indicator: elements::indicator_of(hold),
        cause: Some(hold.cause),
        remaining,
        packets: 0,
        bytes: 0,
    }
}

/// What is held, as a hold of its own.
fn hold_of(held: &Held, now: Timestamp) -> Hold {
    Hold {
        until: held
            .remaining
            .map_or(Timestamp::MAX, |remaining| now + remaining),
        indicator: held.indicator.clone(),
        cause: held.cause.unwrap_or(Cause::Operator),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// `ERESTART`: the generation is another. No program sees it but through netlink.
const ERESTART: i32 = 85;

fn failure(doing: &'static str, error: io::Error) -> BlockError {
    if is(&error, Errno::PERM) || is(&error, Errno::ACCESS) {
        return BlockError::NotPermitted;
    }
    // no such protocol, or no answer from it: built without
    if [Errno::PROTONOSUPPORT, Errno::AFNOSUPPORT, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| is(&error, *errno))
    {
        return BlockError::Unsupported { what: doing };
    }
    BlockError::Io { doing, error }
}
