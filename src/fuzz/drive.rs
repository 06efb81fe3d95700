//! Runs targets on inputs, keeps those that lead somewhere new, and makes findings small.

use super::Target;
use super::mutate::Numbers;
use super::mutate::mutate;
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::LazyLock;
use std::sync::Once;
use std::time::Duration;
use std::time::Instant;

/// What any input may take, in units of [`UNIT`]: some 25 ms where code is optimised.
const TIME_AT_ONCE: u32 = 100;

/// What each KiB of it may take besides: some 2.5 ms for all runs of a body together.
const TIME_PER_KIB: u32 = 10;

/// Runs that make one finding smaller.
const MOST_TRIALS: u32 = 3_000;

/// Kinds of behaviour of one target that are told apart: more of them where code says nothing.
const MOST_BEHAVIOUR: u64 = if cfg!(fuzz_coverage) {
    1 << 10
} else {
    1 << 13
};

/// Inputs that are kept of one target in memory: at the bound on length, 64 MiB.
const MOST_KEPT: usize = 8 << 10;

/// Symbols of a text that tell one behaviour from another.
const TELLING_SYMBOLS: usize = 80;

/// A measure of time that goes with the machine, and with how the code was compiled.
static UNIT: LazyLock<Duration> = LazyLock::new(|| {
    let bytes = vec![7_u8; 256 << 10];
    let times = (0..5).map(|_| {
        let start = Instant::now();
        black_box(hash_of(black_box(&bytes)));
        start.elapsed()
    });
    times.min().unwrap_or_default()
});

/// What an input must not lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A panic: where, and what it said.
    Panic { place: String, message: String },
    /// More time than its length allows.
    Slow { took: Duration, limit: Duration },
}

impl Fault {
    /// Whether both have the same cause, as far as that can be told.
    fn is_like(&self, other: &Self) -> bool {
        self.cause() == other.cause()
    }

    /// Where it comes from.
    pub(super) fn cause(&self) -> &str {
        match self {
            Self::Panic { place, .. } => place,
            Self::Slow { .. } => "slow",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { place, message } => write!(f, "panics at {place}: {message}"),
            Self::Slow { took, limit } => write!(f, "takes {took:?}, more than {limit:?}"),
        }
    }
}

/// What inputs of one target led to so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    behaviour: HashSet<u64>,
    /// By place in the code: how often it was passed by one input, as a set of orders of magnitude.
    #[cfg(fuzz_coverage)]
    places: Vec<u8>,
}

impl Seen {
    /// Places in code and behaviour that were seen.
    pub(super) fn len(&self) -> usize {
        #[cfg(fuzz_coverage)]
        let places = self.places.iter().filter(|seen| **seen != 0).count();
        #[cfg(not(fuzz_coverage))]
        let places = 0;
        places + self.behaviour.len()
    }

    fn add_behaviour(&mut self, text: &str) -> bool {
        self.behaviour.insert(shape_of(text) % MOST_BEHAVIOUR)
    }

    #[cfg(fuzz_coverage)]
    fn add_places(&mut self) -> bool {
        let mut fresh = false;
        super::coverage::take(&mut |place, count| {
            if place >= self.places.len() {
                self.places.resize(place + 1, 0);
            }
            let magnitude = 1 << count.ilog2();
            fresh |= self.places[place] & magnitude == 0;
            self.places[place] |= magnitude;
        });
        fresh
    }

    #[cfg(not(fuzz_coverage))]
    const fn add_places(&mut self) -> bool {
        false
    }
}

/// Fuzzes one target.
pub(super) struct Fuzzer<'t> {
    pub(super) target: &'t Target,
    pub(super) seen: Seen,
    /// Inputs that led somewhere new, in the order in which they were found.
    pub(super) kept: Vec<Vec<u8>>,
    /// Runs so far.
    pub(super) runs: u64,
    numbers: Numbers,
    /// Holds the input at hand, for faults that end the program; `None`: nowhere.
    current: Option<File>,
}

impl<'t> Fuzzer<'t> {
    pub(super) fn new(target: &'t Target, seed: u64, current: Option<File>) -> Self {
        Self {
            target,
            seen: Seen::default(),
            kept: Vec::new(),
            runs: 0,
            numbers: Numbers::new(seed),
            current,
        }
    }

    /// Runs one input; it is kept where it leads somewhere new.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(), Fault> {
        if let Some(file) = &self.current {
            // without it, a fault that ends the program would be hard to find, nothing worse
            let _ = file.write_all_at(input, 0);
            let _ = file.set_len(input.len() as u64);
        }
        self.runs += 1;
        let mut fresh = false;
        let seen = &mut self.seen;
        let outcome = run(self.target, input, &mut |text| {
            fresh |= seen.add_behaviour(text);
        });
        fresh |= self.seen.add_places();
        // what takes long would be mutated at the cost of all others
        let quick = outcome
            .as_ref()
            .is_ok_and(|took| *took < limit_of(input) / 4);
        if fresh && quick && self.kept.len() < MOST_KEPT {
            self.kept.push(input.to_vec());
        }
        outcome.map(|_| ())
    }

    /// Mutates what was kept, until a fault or the end of the time.
    pub(super) fn fuzz(&mut self, time: Duration) -> Result<(), (Fault, Vec<u8>)> {
        let start = Instant::now();
        while start.elapsed() < time {
            let mut input = self.pick().to_vec();
            let other = self.pick().to_vec();
            mutate(&mut input, &other, self.target.words, &mut self.numbers);
            self.take(&input).map_err(|fault| (fault, input))?;
        }
        Ok(())
    }

    /// One of the inputs kept: as often one of the latest, from which most is to be learnt.
    fn pick(&mut self) -> &[u8] {
        let kept = self.kept.len();
        let latest = match self.numbers.below(2) {
            0 => kept,
            _ => 1 + kept / 8,
        };
        let at = kept.saturating_sub(1 + self.numbers.below(latest));
        self.kept.get(at).map_or(&[], Vec::as_slice)
    }
}

/// Runs a target once, and tells how long it took. Tells `seen` what it led to.
pub(super) fn run(
    target: &Target,
    input: &[u8],
    seen: &mut dyn FnMut(&str),
) -> Result<Duration, Fault> {
    let limit = limit_of(input) * target.patience;
    let mut took = run_once(target, input, seen)?;
    // the machine may have been busy with other things
    for _ in 0..3 {
        if took > limit {
            let before = processor_time();
            let elapsed = run_once(target, input, &mut |_| {})?;
            let busy = processor_time().zip(before);
            took = took.min(busy.map_or(elapsed, |(after, before)| after.saturating_sub(before)));
        }
    }
    match took <= limit {
        true => Ok(took),
        false => Err(Fault::Slow { took, limit }),
    }
}

/// How long this thread has had a processor; `None` where the system does not say.
pub(super) fn processor_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// How long an input may take.
pub(super) fn limit_of(input: &[u8]) -> Duration {
    let kib = u32::try_from(input.len() / 1024).unwrap_or(u32::MAX);
    *UNIT
        * TIME_PER_KIB
            .saturating_mul(kib)
            .saturating_add(TIME_AT_ONCE)
}

/// How long a run took.
fn run_once(target: &Target, input: &[u8], seen: &mut dyn FnMut(&str)) -> Result<Duration, Fault> {
    listen_to_panics();
    HEARD.set(Some(None));
    let start = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| (target.body)(input, seen)));
    let took = start.elapsed();
    match (ended, HEARD.take().flatten()) {
        (Ok(()), _) => Ok(took),
        (Err(_), heard) => Err(heard.unwrap_or_else(|| Fault::Panic {
            place: "unknown".to_owned(),
            message: String::new(),
        })),
    }
}

thread_local! {
    /// `None`: panics of this thread are no concern of ours; else the one that was heard.
    static HEARD: RefCell<Option<Option<Fault>>> = const { RefCell::new(None) };
}

/// Keeps quiet about panics while a target runs, and writes down where they come from.
fn listen_to_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let ours = HEARD.with_borrow_mut(|heard| match heard {
                Some(heard) => {
                    let place = info.location().map(ToString::to_string);
                    heard.get_or_insert(Fault::Panic {
                        place: place.unwrap_or_default(),
                        message: info.payload_as_str().unwrap_or_default().to_owned(),
                    });
                    true
                }
                None => false,
            });
            if !ours {
                before(info);
            }
        }));
    });
}

/// The smallest input found that has the same fault.
pub(super) fn minimise(target: &Target, input: &[u8], fault: &Fault) -> Vec<u8> {
    let mut smallest = input.to_vec();
    let mut trials = 0;
    let mut fails = |candidate: &[u8]| {
        trials += 1;
        let same = run(target, candidate, &mut |_| {}).is_err_and(|other| other.is_like(fault));
        (same, trials >= MOST_TRIALS)
    };
    let mut piece = smallest.len().next_power_of_two() / 2;
    while piece > 0 {
        let mut at = 0;
        let mut shrunk = false;
        while at < smallest.len() {
            let mut candidate = smallest.clone();
            candidate.drain(at..(at + piece).min(smallest.len()));
            let (same, over) = fails(&candidate);
            if same {
                smallest = candidate;
                shrunk = true;
            } else {
                at += piece;
            }
            if over {
                return smallest;
            }
        }
        if !(shrunk && piece == 1) {
            piece /= 2;
        }
    }
    // what does not matter is made plain
    for at in 0..smallest.len() {
        for plain in [b'a', b'0', 0] {
            let mut candidate = smallest.clone();
            candidate[at] = plain;
            if smallest[at].is_ascii_alphanumeric() || smallest[at] == 0 {
                continue;
            }
            let (same, over) = fails(&candidate);
            if same {
                smallest = candidate;
            }
            if over {
                return smallest;
            }
        }
    }
    smallest
}

/// What is left of a text without the values in it: names and signs; what stands in quotes is
/// left out, and of numbers one after the other there is one.
fn shape_of(text: &str) -> u64 {
    let mut shape = Vec::with_capacity(TELLING_SYMBOLS);
    let mut quoted = false;
    for byte in text.bytes() {
        let symbol = match byte {
            b'"' => {
                quoted = !quoted;
                byte
            }
            _ if quoted || matches!(byte, b' ' | b',') => continue,
            b'0'..=b'9' if shape.last() == Some(&b'0') => continue,
            b'0'..=b'9' => b'0',
            _ => byte,
        };
        shape.push(symbol);
        if shape.len() == TELLING_SYMBOLS {
            break;
        }
    }
    hash_of(&shape)
}

/// FNV-1a.
pub(super) fn hash_of(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
