//! Dialogues, the law of the engine, and its bounds.

use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::Taken;
use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Operand;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Qualifier;
use crate::indicator::pattern::Spec;
use crate::matcher::Clock;
use crate::matcher::Evidence;
use crate::matcher::FlowSummary;
use crate::matcher::Hits;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::Observable;
use crate::matcher::SubdomainPolicy;
use crate::matcher::build::SetBuilder;
use crate::matcher::join::MAX_PER_PART;
use crate::matcher::join::MAX_PER_PATTERN;
use crate::matcher::join::Meaning;
use crate::matcher::join::lower;
use crate::matcher::lower::Term;
use crate::matcher::set::IndicatorSet;
use crate::matcher::temporal::Origin;
use crate::matcher::temporal::Temporal;
use crate::matcher::temporal::track::Arrival;
use crate::matcher::temporal::track::Limits;
use crate::matcher::temporal::track::Step;
use crate::matcher::temporal::track::Track;
use crate::matcher::tests::build;
use crate::matcher::tests::finish;
use crate::matcher::tests::indicator;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::time::Timestamp;
use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

const LIMITS: Limits = Limits {
    per_part: MAX_PER_PART,
    per_pattern: MAX_PER_PATTERN,
};

/// A pattern in which A, B and C stand for tests that the names a, b and c meet.
fn parse(short: &str) -> Pattern {
    let mut text = String::new();
    for word in short.split_inclusive([' ', '(', ')']) {
        let letter = word.trim_end_matches([' ', '(', ')']);
        if matches!(letter, "A" | "B" | "C") {
            let name = letter.to_ascii_lowercase();
            text.push_str(&word.replace(letter, &format!("[domain-name:value = '{name}']")));
        } else {
            text.push_str(word);
        }
    }
    // STIX 2.0 lets a qualifier stand twice
    Pattern::parse(&text, Spec::V20).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// A track with what its parts look for.
struct Follower {
    track: Track<String>,
    letters: Vec<BTreeSet<char>>,
    next: u64,
}

impl Follower {
    fn of(short: &str) -> Option<Self> {
        let Meaning::Joined(joined) = lower(&parse(short), false).unwrap() else {
            return None;
        };
        let letter = |term: &Term| match term {
            Term::Key { value, .. } => char::from(value[0]),
            other => panic!("{other:?}"),
        };
        let letters = joined
            .parts
            .iter()
            .map(|part| part.terms.iter().map(letter).collect())
            .collect();
        Some(Self {
            track: Track::new(joined.shape),
            letters,
            next: 0,
        })
    }

    /// One observation, told to every part that looks for it.
    fn observe(&mut self, letter: char, at: u64, limits: Limits) -> Vec<Step<String>> {
        let mut steps = Vec::new();
        let identity = self.next;
        for (part, letters) in (0..).zip(&self.letters) {
            if !letters.contains(&letter) {
                continue;
            }
            let arrival = Arrival {
                part,
                at: Timestamp::from_parts(at, 0),
                number: self.next,
                identity,
                bytes: 1,
            };
            steps.push(self.track.observe(arrival, format!("{letter}{at}"), limits));
        }
        self.next += 1;
        steps
    }

    /// What a dialogue such as "a1 b2" completes.
    fn follow(&mut self, dialogue: &str) -> Vec<String> {
        let mut completed = Vec::new();
        for word in dialogue.split_whitespace() {
            let (letter, at) = word.split_at(1);
            let letter = letter.chars().next().unwrap();
            for step in self.observe(letter, at.parse().unwrap(), LIMITS) {
                assert!(!step.given_up && step.evicted == 0);
                if let Some((what, last)) = step.completed {
                    assert_eq!(what[last], word, "{dialogue}");
                    completed.push(what.join(" "));
                }
            }
        }
        completed
    }
}

#[test]
fn dialogues() {
    for (pattern, dialogue, expected) in [
        ("A AND B", "a1 b2", &["a1 b2"][..]),
        ("A AND B", "b1 a2", &["b1 a2"]),
        // a late one counts by its own time
        ("A AND B", "b7 a2", &["a2 b7"]),
        ("A AND B", "a1 a2 a3", &[]),
        // what completed the pattern once is spent
        ("A AND B", "a1 b2 b3 a4", &["a1 b2", "b3 a4"]),
        ("A AND B", "a1 a2 a3 b4 b5", &["a1 b4", "a2 b5"]),
        // one observation is not two
        ("A AND A", "a1 a2 a3", &["a1 a2"]),
        ("A AND (A OR B)", "a1 b2", &["a1 b2"]),
        ("A AND (A OR B)", "a1 a2", &["a1 a2"]),
        ("A AND (A OR B)", "b1 b2 b3", &[]),
        ("(A AND A) OR B", "a1 b2 a3", &["b2", "a1 a3"]),
        ("A FOLLOWEDBY B", "a1 b2 b3 a4 b5", &["a1 b2", "a4 b5"]),
        ("A FOLLOWEDBY B", "b1 a2", &[]),
        ("A FOLLOWEDBY B", "b5 a3", &["a3 b5"]),
        ("A FOLLOWEDBY B", "a5 b5", &["a5 b5"]),
        ("A FOLLOWEDBY B", "b5 a5", &["b5 a5"]),
        ("A FOLLOWEDBY A", "a1 a2", &["a1 a2"]),
        (
            "A FOLLOWEDBY B FOLLOWEDBY C",
            "b1 a2 c3 b4 c5",
            &["a2 b4 c5"],
        ),
        ("A FOLLOWEDBY B FOLLOWEDBY C", "a1 c5 b3", &["a1 b3 c5"]),
        ("(A AND B) FOLLOWEDBY C", "b1 c2 a3 c4", &["b1 a3 c4"]),
        ("A FOLLOWEDBY (B AND C)", "b1 a2 c3 b4", &["a2 c3 b4"]),
        ("(A AND B) WITHIN 5 SECONDS", "a0 b5", &["a0 b5"]),
        ("(A AND B) WITHIN 5 SECONDS", "a0 b6", &[]),
        ("(A AND B) WITHIN 5 SECONDS", "a0 a4 b6", &["a4 b6"]),
        (
            "(A FOLLOWEDBY B) WITHIN 5 SECONDS",
            "a0 b6 a7 b8",
            &["a7 b8"],
        ),
        (
            "A REPEATS 3 TIMES",
            "a1 a2 a3 a4 a5 a6 a7",
            &["a1 a2 a3", "a4 a5 a6"],
        ),
        (
            "A REPEATS 3 TIMES WITHIN 2 SECONDS",
            "a0 a5 a6 a7",
            &["a5 a6 a7"],
        ),
        ("A REPEATS 3 TIMES WITHIN 2 SECONDS", "a0 a2 a4 a6", &[]),
        (
            "A REPEATS 3 TIMES WITHIN 2 SECONDS",
            "a0 a7 a5 a9 a6",
            &["a5 a6 a7"],
        ),
        (
            "(A OR B) REPEATS 2 TIMES",
            "a1 b2 b3 b4",
            &["a1 b2", "b3 b4"],
        ),
        (
            "(A REPEATS 2 TIMES) FOLLOWEDBY B",
            "a1 b2 a3 b4",
            &["a1 a3 b4"],
        ),
        (
            "(A FOLLOWEDBY B) REPEATS 2 TIMES",
            "a1 b2 b3 a4 b5",
            &["a1 b2 a4 b5"],
        ),
        (
            "(A FOLLOWEDBY B) REPEATS 2 TIMES",
            "a1 a2 b3 b4",
            &["a1 a2 b3 b4"],
        ),
        (
            "(A AND B) WITHIN 2 SECONDS FOLLOWEDBY C",
            "a1 b9 c9 a10 c99",
            &["b9 a10 c99"],
        ),
        (
            "(A FOLLOWEDBY B) OR (B FOLLOWEDBY C)",
            "b1 a2 c3 b4",
            &["b1 c3", "a2 b4"],
        ),
        (
            "A START t'1970-01-01T00:00:03Z' STOP t'1970-01-01T00:00:05Z'",
            "a2 a3 a4 a5",
            &["a3", "a4"],
        ),
        (
            "(A REPEATS 2 TIMES) START t'1970-01-01T00:00:03Z' STOP t'1970-01-01T00:00:09Z'",
            "a2 a3 a9 a4",
            &["a3 a4"],
        ),
    ] {
        let mut follower = Follower::of(pattern).unwrap_or_else(|| panic!("{pattern}"));
        assert_eq!(follower.follow(dialogue), expected, "{pattern}: {dialogue}");
    }
}

#[test]
fn what_one_observation_decides_needs_no_following() {
    for pattern in [
        "A",
        "A OR B",
        "(A OR B) OR C",
        "A REPEATS 1 TIMES",
        "A WITHIN 9 SECONDS",
    ] {
        assert!(
            matches!(lower(&parse(pattern), false), Ok(Meaning::Alone(_))),
            "{pattern}"
        );
    }
}

#[test]
fn what_can_never_be_true_is_told() {
    for (pattern, reason) in [
        (
            "A AND B WITHIN 0 SECONDS",
            "cannot be met: WITHIN 0 SECONDS",
        ),
        ("A REPEATS 0 TIMES", "cannot be met: REPEATS 0 TIMES"),
        (
            "A REPEATS 4097 TIMES",
            "asks for 4097 observations, of which 4096 are kept",
        ),
        (
            "(A AND B) REPEATS 4096 TIMES REPEATS 2 TIMES",
            "asks for 8192 observations, of which 4096 are kept",
        ),
        (
            "A START t'2000-01-01T00:00:00Z' STOP t'2000-01-01T00:00:00Z'",
            "START and STOP leave no time",
        ),
        (
            "A FOLLOWEDBY [process:name = 'x']",
            "process:name: lives on hosts, not on the wire",
        ),
    ] {
        match lower(&parse(pattern), false) {
            Ok(Meaning::Unseeable(said)) => assert_eq!(said, reason),
            other => panic!("{pattern}: {other:?}"),
        }
    }
    let mut follower = Follower::of("A AND ([process:name = 'x'] OR B)").unwrap();
    assert_eq!(follower.follow("a1 b2"), ["a1 b2"]);
    // what is broken is refused even where it could not be seen
    assert!(lower(&parse("[process:name MATCHES '('] AND B"), false).is_err());
    let deep = (0..40).fold("A".to_owned(), |inner, _| {
        format!("({inner} AND B) REPEATS 2 TIMES")
    });
    assert!(matches!(
        lower(&parse(&deep), false),
        Ok(Meaning::Unseeable(_))
    ));
    let wide = vec!["A"; 257].join(" AND ");
    assert!(matches!(
        lower(&parse(&wide), false),
        Ok(Meaning::Unseeable(_))
    ));
}

/// Every set of observations that meets an expression, each set as bits; plain and slow.
fn enumerate(expression: &Observation, seen: &[(char, u64)]) -> BTreeSet<u32> {
    let times = |set: u32| {
        (0..seen.len())
            .filter(move |i| set >> i & 1 == 1)
            .map(|i| seen[i].1)
    };
    let product = |parts: &[BTreeSet<u32>], in_order: bool| {
        let mut sets = BTreeSet::from([0]);
        for part in parts {
            let mut larger = BTreeSet::new();
            for left in &sets {
                for right in part {
                    let ordered = times(*left).max() <= times(*right).min() || *left == 0;
                    if left & right == 0 && (ordered || !in_order) {
                        larger.insert(left | right);
                    }
                }
            }
            sets = larger;
        }
        sets
    };
    let all = |branches: &[Observation]| -> Vec<BTreeSet<u32>> {
        branches
            .iter()
            .map(|branch| enumerate(branch, seen))
            .collect()
    };
    match expression {
        Observation::Test(Comparison::Property {
            operand: Operand::One(literal),
            ..
        }) => {
            let name = format!("{literal:?}");
            let meets = |i: &usize| name.contains(&format!("\"{}\"", seen[*i].0));
            (0..seen.len()).filter(meets).map(|i| 1 << i).collect()
        }
        Observation::Test(other) => panic!("{other:?}"),
        Observation::And(branches) => product(&all(branches), false),
        Observation::FollowedBy(branches) => product(&all(branches), true),
        Observation::Or(branches) => all(branches).into_iter().flatten().collect(),
        Observation::Qualified(inner, qualifier) => {
            let sets = enumerate(inner, seen);
            match *qualifier {
                Qualifier::Repeats(0) => BTreeSet::new(),
                Qualifier::Repeats(n) => product(&vec![sets; n as usize], false),
                Qualifier::Within(within) if within.is_zero() => BTreeSet::new(),
                Qualifier::Within(within) => {
                    let spread =
                        |set: &u32| times(*set).max().unwrap() - times(*set).min().unwrap();
                    sets.into_iter()
                        .filter(|s| spread(s) <= within.as_secs())
                        .collect()
                }
                Qualifier::StartStop(start, stop) => {
                    let inside = |at: u64| (start..stop).contains(&Timestamp::from_parts(at, 0));
                    sets.into_iter().filter(|s| times(*s).all(inside)).collect()
                }
            }
        }
    }
}

struct Seed(u64);

impl Seed {
    fn draw(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn pattern(&mut self, depth: u64) -> String {
        let two = |seed: &mut Self, word| {
            let (left, right) = (seed.pattern(depth - 1), seed.pattern(depth - 1));
            format!("({left} {word} {right})")
        };
        match if depth == 0 { 0 } else { self.draw(9) } {
            1 | 2 => two(self, "AND"),
            3 => two(self, "OR"),
            4 | 5 => two(self, "FOLLOWEDBY"),
            6 => {
                let n = self.draw(8).clamp(1, 3) - self.draw(20) / 19;
                format!("({} REPEATS {n} TIMES)", self.pattern(depth - 1))
            }
            7 => format!(
                "({} WITHIN {} SECONDS)",
                self.pattern(depth - 1),
                self.draw(6)
            ),
            8 if self.draw(3) == 0 => {
                let (start, length) = (self.draw(9), self.draw(9));
                let at = |second| format!("t'1970-01-01T00:00:{second:02}Z'");
                let inner = self.pattern(depth - 1);
                format!(
                    "({inner} START {} STOP {})",
                    at(start),
                    at(start + length + 1)
                )
            }
            _ => ["A", "B", "C"][self.draw(3) as usize].to_owned(),
        }
    }
}

/// Law: a pattern has been completed by now exactly when some of the observations so far meet it,
/// and whatever completes it meets it by itself.
#[test]
fn agrees_with_plain_enumeration() {
    let mut seed = Seed(0x2545_F491_4F6C_DD1D);
    let (mut completed_runs, mut other_runs) = (0, 0);
    for _ in 0..6_000 {
        let depth = 1 + seed.draw(3);
        let text = seed.pattern(depth);
        let pattern = parse(&text);
        let mut follower = match lower(&pattern, false).unwrap() {
            Meaning::Alone(_) => continue,
            Meaning::Unseeable(_) => None,
            Meaning::Joined(_) => Follower::of(&text),
        };
        let mut seen: Vec<(char, u64)> = Vec::new();
        let (mut spent, mut completed) = (0_u32, false);
        for n in 0..seed.draw(9) {
            let letter = ['a', 'b', 'c'][seed.draw(3) as usize];
            // forwards most often, now and then late
            let at = 2 * n + seed.draw(4) * seed.draw(2) - seed.draw(n + 1) * seed.draw(2);
            seen.push((letter, at));
            let steps = follower.as_mut().map(|f| f.observe(letter, at, LIMITS));
            let steps = steps.into_iter().flatten();
            let sets = enumerate(&pattern.expression, &seen);
            for step in steps {
                assert!(!step.given_up, "{text} {seen:?}");
                let Some((what, _)) = step.completed else {
                    continue;
                };
                completed = true;
                // of equal ones the earliest is meant that is not spent
                let set = what.iter().fold(0_u32, |set, word| {
                    let is = |i: &usize| format!("{}{}", seen[*i].0, seen[*i].1) == *word;
                    let free = |i: &usize| (set | spent) >> i & 1 == 0;
                    let i = (0..seen.len())
                        .find(|i| is(i) && free(i))
                        .expect("it was observed");
                    set | 1 << i
                });
                assert!(sets.contains(&set), "{text} {seen:?} {what:?}");
                spent |= set;
            }
            assert_eq!(completed, !sets.is_empty(), "{text} {seen:?}");
        }
        *if completed {
            &mut completed_runs
        } else {
            &mut other_runs
        } += 1;
    }
    assert!(
        completed_runs > 1_000 && other_runs > 1_000,
        "{completed_runs} {other_runs}"
    );
}

#[test]
fn an_endless_stream_is_bounded_and_what_is_evicted_is_counted() {
    let limits = Limits {
        per_part: 10,
        per_pattern: 15,
    };
    for (pattern, stream, kept, evicted) in [
        ("A AND B", &['a'][..], 10, 990),
        ("A AND B AND C", &['a', 'b'], 15, 985),
        // far beyond the time that it counts for, none is lost
        ("(A AND B) WITHIN 5 SECONDS", &['a'], 7, 0),
        // what follows nothing does not count
        ("A FOLLOWEDBY B", &['b'], 10, 0),
        ("A FOLLOWEDBY B", &['a'], 10, 990),
        ("A REPEATS 11 TIMES", &['a'], 10, 990),
    ] {
        let mut follower = Follower::of(pattern).unwrap();
        let mut counted = 0;
        for n in 0..1_000 {
            let letter = stream[n as usize % stream.len()];
            for step in follower.observe(letter, 100 * n, limits) {
                let is_late = pattern == "A REPEATS 11 TIMES" && step.completed.is_some();
                assert!(step.completed.is_none() || is_late, "{pattern}");
                counted += step.evicted;
            }
            assert!(follower.track.len() <= 15, "{pattern}");
        }
        if pattern == "A REPEATS 11 TIMES" {
            // the one that comes in is looked at before room is made
            assert_eq!(
                (follower.track.len(), counted),
                (1_000 % 11, 0),
                "{pattern}"
            );
            continue;
        }
        assert_eq!(
            (follower.track.len(), counted),
            (kept, evicted),
            "{pattern}"
        );
        assert_eq!(follower.track.bytes(), kept, "{pattern}");
    }
}

#[test]
fn the_number_of_repetitions_may_be_all_that_is_kept() {
    let mut follower = Follower::of("A REPEATS 4096 TIMES").unwrap();
    let dialogue: Vec<String> = (0..4_096).map(|n| format!("a{n}")).collect();
    assert_eq!(follower.follow(&dialogue.join(" ")), [dialogue.join(" ")]);
    let mut follower = Follower::of("(A REPEATS 4000 TIMES) FOLLOWEDBY B").unwrap();
    let dialogue: Vec<String> = (0..4_000).map(|n| format!("a{n}")).collect();
    let dialogue = format!("{} b5000", dialogue.join(" "));
    assert_eq!(follower.follow(&dialogue), [dialogue]);
}

/// Nothing that traffic sends makes one observation cost more than a bounded search.
#[test]
fn a_search_without_end_is_given_up_and_counted() {
    let mut follower =
        Follower::of("((A AND B) WITHIN 1 SECONDS) REPEATS 9 TIMES FOLLOWEDBY C").unwrap();
    let mut given_up = 0;
    for n in 0..2_000 {
        for letter in ['a', 'b'] {
            let at = if letter == 'a' { 10 * n } else { 10 * n + 5 };
            follower.observe(letter, at, LIMITS);
        }
    }
    for n in 0..5_000 {
        for step in follower.observe('c', 99_999 + n, LIMITS) {
            given_up += u64::from(step.given_up);
            assert!(step.completed.is_none());
        }
    }
    // most of them cost no search: each would take a millisecond
    assert_eq!(given_up, 5_000);
}

/// A match of a worker: a name, seen at a second.
fn found(indicator: u32, name: &str, second: u64) -> Match {
    Match {
        timestamp: Timestamp::from_parts(second, 0),
        flow: FlowSummary {
            id: second,
            source: "192.0.2.1".parse().unwrap(),
            source_port: 50_000,
            destination: "192.0.2.2".parse().unwrap(),
            destination_port: 53,
            protocol: 17,
            vlan: None,
            app_proto: Some("dns"),
        },
        indicator,
        observable: Observable {
            kind: ObservableType::DomainName,
            value: name.to_owned(),
            place: Place::DnsQuery,
            property: None,
            evidence: Evidence::None,
        },
        observations: Box::default(),
    }
}

const fn origin(scope: u32) -> Origin {
    Origin {
        batch: 0,
        position: 0,
        shard: 0,
        scope,
    }
}

/// What names in traffic complete, each a message of its own, a second apart: pattern and names.
fn complete(set: &Arc<IndicatorSet>, names: &[&str]) -> Vec<(String, Vec<String>)> {
    let matcher = Matcher::new(Arc::clone(set), Clock::Capture, SubdomainPolicy::default());
    let mut temporal = Temporal::new(Arc::clone(set));
    let mut hits = Hits::default();
    let mut completed = Vec::new();
    for (second, name) in (0..).zip(names) {
        hits.begin();
        matcher.domain(name, &[], Timestamp::from_parts(second, 0), &mut hits);
        let scope = hits.scope();
        for ordinal in hits.take_fresh() {
            let Some(found) = temporal.take(found(*ordinal, name, second), origin(scope)) else {
                continue;
            };
            let last = found.observations.last();
            assert!(last.is_none_or(|o| o.observable == found.observable));
            assert_eq!(
                (found.timestamp, found.flow.id),
                (Timestamp::from_parts(second, 0), second)
            );
            let names = found
                .observations
                .iter()
                .map(|o| o.observable.value.clone());
            completed.push((set.details(found.indicator).pattern, names.collect()));
        }
    }
    completed
}

const SEQUENCE: &str = "[domain-name:value = 'a'] FOLLOWEDBY [domain-name:value LIKE 'b%']";
const SINGLE: &str = "[domain-name:value = 'a']";

#[test]
fn parts_are_no_indicators_and_patterns_match_by_their_own_ordinal() {
    let set = build(&[
        SEQUENCE,
        SINGLE,
        "[domain-name:value LIKE 'b%'] REPEATS 2 TIMES",
    ]);
    assert_eq!(set.indicators(), 3);
    let patterns: Vec<_> = set.ordinals().map(|o| set.details(o).pattern).collect();
    assert_eq!(patterns[..2], [SEQUENCE, SINGLE]);
    let expected = [
        (SINGLE.to_owned(), vec![]),
        (SEQUENCE.to_owned(), vec!["a".to_owned(), "bc".to_owned()]),
        (patterns[2].clone(), vec!["bc".to_owned(), "bd".to_owned()]),
    ];
    assert_eq!(complete(&set, &["a", "bc", "x", "bd"]), expected);
    // the same from a file
    let path = std::env::temp_dir().join(format!("watchpost-shapes-{}", std::process::id()));
    let (match_part, explain_part) = set.parts().unwrap();
    fs::write(&path, [match_part, explain_part].concat()).unwrap();
    let opened = Arc::new(IndicatorSet::open(&path).unwrap());
    fs::remove_file(&path).unwrap();
    assert_eq!(complete(&opened, &["a", "bc", "x", "bd"]), expected);
}

#[test]
fn one_message_is_one_observation_of_a_name() {
    let both = "[domain-name:value = 'a'] AND [domain-name:value LIKE 'a%']";
    let set = build(&[both]);
    assert!(complete(&set, &["a"]).is_empty());
    assert_eq!(complete(&set, &["a", "a"]).len(), 1);
    assert_eq!(complete(&set, &["a", "ab"]).len(), 1);
    assert!(complete(&set, &["ab", "ab"]).is_empty());
}

#[test]
fn versions_and_sources_take_their_parts_along() {
    let version = |number, modified: u64, pattern| Indicator {
        modified: Timestamp::from_parts(modified, 0),
        ..indicator(number, pattern)
    };
    let mut builder = SetBuilder::new();
    builder.begin_source("good");
    assert_eq!(builder.take(&version(1, 1, SEQUENCE)), Ok(Taken::Loaded));
    assert_eq!(builder.take(&version(2, 1, SEQUENCE)), Ok(Taken::Loaded));
    builder.begin_source("newer");
    assert_eq!(builder.take(&version(2, 2, SINGLE)), Ok(Taken::Loaded));
    builder.begin_source("bad");
    assert_eq!(builder.take(&version(1, 2, SINGLE)), Ok(Taken::Loaded));
    assert_eq!(builder.take(&version(3, 1, SEQUENCE)), Ok(Taken::Loaded));
    builder.abandon_source();
    let (set, tallies) = finish(builder);
    assert_eq!(set.indicators(), 2);
    let loaded: Vec<_> = tallies.iter().map(|t| (t.loaded, t.superseded)).collect();
    assert_eq!(loaded, [(1, 1), (1, 0), (0, 0)]);
    let completed = complete(&set, &["a", "b"]);
    let patterns: Vec<_> = completed
        .iter()
        .map(|(pattern, _)| pattern.as_str())
        .collect();
    assert_eq!(patterns, [SINGLE, SEQUENCE]);
}

#[test]
fn validity_holds_for_each_observation() {
    let mut builder = SetBuilder::new();
    builder.begin_source("test");
    let bounded = Indicator {
        valid_from: Timestamp::from_parts(1, 0),
        valid_until: Some(Timestamp::from_parts(4, 0)),
        ..indicator(1, SEQUENCE)
    };
    assert_eq!(builder.take(&bounded), Ok(Taken::Loaded));
    let (set, _) = finish(builder);
    assert!(complete(&set, &["a", "b", "x", "x"]).is_empty());
    assert_eq!(complete(&set, &["a", "a", "x", "b"]).len(), 1);
    assert!(complete(&set, &["x", "a", "x", "x", "b"]).is_empty());
}

#[test]
fn memory_over_all_patterns_is_bounded() {
    let patterns: Vec<String> = (0..50)
        .map(|n| format!("[domain-name:value = 'n{n}'] REPEATS 4000 TIMES"))
        .collect();
    let set = build(&patterns.iter().map(String::as_str).collect::<Vec<_>>());
    let parts: Vec<u32> = (0..100).filter(|o| set.part(*o).is_some()).collect();
    assert_eq!(parts.len(), 50);
    let mut temporal = Temporal::new(Arc::clone(&set));
    temporal.max_bytes = 100_000;
    let name = "n".repeat(500);
    for n in 0..20_000_u32 {
        let part = parts[n as usize % parts.len()];
        assert!(
            temporal
                .take(found(part, &name, n.into()), origin(n))
                .is_none()
        );
        assert!(temporal.bytes <= temporal.max_bytes);
        assert!(temporal.eldest.len() <= 2 * temporal.kept + super::SLACK + 1);
    }
    let kept: usize = temporal.tracks.values().map(Track::len).sum();
    assert_eq!(kept, temporal.kept);
    let [(_, evicted), (_, given_up)] = temporal.drops();
    assert_eq!((evicted, given_up), (20_000 - kept as u64, 0));
    assert!((50..200).contains(&kept), "{kept}");
}
