//! Finds what a value would meet, through the matcher that traffic goes through.

use crate::cli::Failure;
use crate::cli::explain::near;
use crate::cli::explain::near::Ask;
use crate::cli::explain::reading::What;
use crate::cli::intel;
use crate::indicator::Details;
use crate::indicator::Validity;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::matcher::Evidence;
use crate::matcher::FlowSummary;
use crate::matcher::Hits;
use crate::matcher::Lone;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::Observable;
use crate::matcher::Terms;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::report::explain::Answer;
use crate::report::explain::Counted;
use crate::report::explain::Found;
use crate::report::explain::Near;
use crate::report::explain::Partial;
use crate::report::explain::PlacedVerdict;
use crate::time::Timestamp;
use crate::verdict::Action;
use crate::verdict::Verdict;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// Matches of one value that are explained; a thousand indicators of one value are as many as a
/// set matches.
const MAX_MATCHES: usize = 1_000;

/// Patterns of several terms, and indicators nearby, that are explained of one value: more than
/// anyone reads.
const MAX_ASIDE: usize = 100;

/// A value, with what was found of it so far.
pub(super) struct Question {
    readings: Vec<What>,
    /// By ordinal, which reading matches.
    matching: BTreeMap<u32, usize>,
    /// By ordinal, why an indicator comes near.
    hosts: BTreeMap<u32, String>,
    ask: Ask,
    answer: Answer,
}

impl Question {
    /// Of a value as it was written; `readings` is not empty.
    pub(super) fn new(value: &str, readings: Vec<What>) -> Self {
        Self {
            ask: Ask::new(&readings),
            answer: Answer {
                value: value.to_owned(),
                readings: readings.iter().map(What::reading).collect(),
                matches: Counted::default(),
                terms: Counted::default(),
                near: Counted::default(),
            },
            readings,
            matching: BTreeMap::new(),
            hosts: BTreeMap::new(),
        }
    }

    /// Asks the matcher, which must not heed validity.
    fn look_up(&mut self, matcher: &Matcher, hits: &mut Hits) {
        for (number, what) in self.readings.iter().enumerate() {
            match what {
                What::Lone(lone) => {
                    for ordinal in ordinals(matcher, lone, hits) {
                        self.matching.entry(ordinal).or_insert(number);
                    }
                    let Some((host, reason)) = near::host_of(lone) else {
                        continue;
                    };
                    for ordinal in ordinals(matcher, &host, hits) {
                        self.hosts.entry(ordinal).or_insert_with(|| reason.clone());
                    }
                }
                // what matches its ends; whether it matches all between them, its pattern says
                What::Network(network) => {
                    let first = ordinals(matcher, &Lone::Address(network.network()), hits);
                    let last = ordinals(matcher, &Lone::Address(network.broadcast()), hits);
                    for ordinal in first.iter().filter(|o| last.contains(o)) {
                        self.matching.entry(*ordinal).or_insert(number);
                    }
                }
            }
        }
    }

    /// Takes an indicator into the answer, if it has to do with the value at all.
    fn consider(&mut self, ordinal: u32, details: &Details, judge: &Judge<'_>) {
        let validity = details.validity_at(judge.now);
        if let Some(number) = self.matching.get(&ordinal)
            && let Some(what) = self.readings.get(*number)
        {
            let whole = match what {
                What::Network(network) => near::covers(&details.pattern, network),
                What::Lone(_) => true,
            };
            if whole {
                self.answer.matches.push(MAX_MATCHES, || {
                    judge.found(what, details, validity, &observed_of(what))
                });
                return;
            }
        }
        if let Some(reason) = self.hosts.get(&ordinal) {
            self.answer.near.push(MAX_ASIDE, || Near {
                details: details.clone(),
                validity,
                reason: reason.clone(),
            });
            return;
        }
        let asks_more = may_ask_more(&details.pattern);
        if !asks_more && !self.ask.may_be_near(&details.pattern) {
            return;
        }
        let Some(pattern) = parse(&details.pattern) else {
            return;
        };
        if asks_more && self.try_terms(&pattern, details, validity, judge) {
            return;
        }
        if let Some(reason) = self.ask.near(&pattern) {
            self.answer.near.push(MAX_ASIDE, || Near {
                details: details.clone(),
                validity,
                reason,
            });
        }
    }

    /// Tries the value as all or a part of what a pattern asks for. Whether it is either.
    fn try_terms(
        &mut self,
        pattern: &Pattern,
        details: &Details,
        validity: Validity,
        judge: &Judge<'_>,
    ) -> bool {
        let terms = Terms::of(pattern);
        for what in &self.readings {
            let What::Lone(lone) = what else { continue };
            if terms.decides(lone) {
                self.answer.matches.push(MAX_MATCHES, || {
                    judge.found(what, details, validity, &observed_within(what))
                });
                return true;
            }
            if let Some(term) = terms.satisfied(lone) {
                self.answer.terms.push(MAX_ASIDE, || Partial {
                    details: details.clone(),
                    validity,
                    term: term.to_owned(),
                });
                return true;
            }
        }
        false
    }
}

/// What becomes of a match of an indicator.
pub(super) type Verdicts<'a> = dyn Fn(&Match, &Details) -> Verdict + 'a;

/// Answers all questions in one pass over the set.
pub(super) fn answer(
    mut questions: Vec<Question>,
    matcher: &Matcher,
    judge: &Verdicts<'_>,
    now: Timestamp,
    withholds: bool,
) -> Result<Vec<Answer>, Failure> {
    let judge = Judge {
        judge,
        now,
        withholds,
    };
    let mut hits = Hits::default();
    for question in &mut questions {
        question.look_up(matcher, &mut hits);
    }
    let set = matcher.set();
    for ordinal in set.ordinals() {
        let details = set.details(ordinal);
        if details.id.is_empty() {
            return Err(intel::damaged());
        }
        for question in &mut questions {
            question.consider(ordinal, &details, &judge);
        }
    }
    for question in &mut questions {
        let rank = |found: &Found| {
            let strongest = found.verdicts.first().map(|placed| placed.verdict.action);
            (found.withheld, strongest.map(rank_of))
        };
        question.answer.matches.kept.sort_by_key(rank);
    }
    Ok(questions.into_iter().map(|q| q.answer).collect())
}

/// Indicators that a value matches; not the parts of patterns over several observations, each of
/// which is tried as a term.
fn ordinals(matcher: &Matcher, lone: &Lone, hits: &mut Hits) -> Vec<u32> {
    hits.begin();
    matcher.lone(lone, Timestamp::MIN, hits);
    let found = hits.take_fresh().iter().copied();
    found
        .filter(|ordinal| matcher.set().part(*ordinal).is_none())
        .collect()
}

/// Whether a pattern may ask for more than one value, told without reading it: by its words
/// between comparisons, or since flows and mails as a whole are not what the matcher was asked.
fn may_ask_more(pattern: &str) -> bool {
    [
        "network-traffic",
        "email-message",
        "resolves_to_refs",
        "AND",
        "OR",
        "FOLLOWEDBY",
        "REPEATS",
        "WITHIN",
        "START",
    ]
    .into_iter()
    .any(|word| pattern.contains(word))
}

fn parse(pattern: &str) -> Option<Pattern> {
    [Spec::V21, Spec::V20]
        .into_iter()
        .find_map(|spec| Pattern::parse(pattern, spec).ok())
}

/// How a match would be reported.
struct Observed {
    observable: Observable,
    places: &'static [Place],
    /// Address of both ends of the flow.
    end: IpAddr,
}

/// A value that matches by itself.
fn observed_of(what: &What) -> Observed {
    let reading = what.reading();
    let value = match what {
        What::Network(network) => network.network().to_string(),
        What::Lone(_) => reading.value,
    };
    Observed {
        observable: Observable {
            kind: reading.kind,
            value,
            place: Place::Flow,
            property: reading.property,
            evidence: Evidence::None,
        },
        places: what.places(),
        end: Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// A value that decides a pattern over flows or mails.
fn observed_within(what: &What) -> Observed {
    let mut observed = observed_of(what);
    let flow: &[Place] = &[Place::Flow];
    match what {
        What::Lone(Lone::Address(address)) => {
            observed.observable.kind = ObservableType::NetworkTraffic;
            (observed.end, observed.places) = (*address, flow);
        }
        What::Lone(Lone::Endpoint(end)) => {
            (observed.end, observed.places) = (end.ip(), flow);
        }
        What::Lone(Lone::Mailbox(_)) => {
            observed.observable.kind = ObservableType::EmailMessage;
            observed.places = &[Place::SmtpHeader];
        }
        What::Lone(Lone::UserAgent(_)) => {
            observed.observable.property = None;
            observed.places = &[Place::HttpRequest];
        }
        What::Lone(Lone::Fingerprint(..)) => {
            observed.observable.property = None;
            observed.places = flow;
        }
        What::Lone(_) | What::Network(IpNet::V4(_) | IpNet::V6(_)) => {}
    }
    observed
}

/// What is needed to say what becomes of a match.
struct Judge<'r> {
    judge: &'r Verdicts<'r>,
    now: Timestamp,
    /// Whether what is not valid now does not match.
    withholds: bool,
}

impl Judge<'_> {
    fn found(
        &self,
        what: &What,
        details: &Details,
        validity: Validity,
        observed: &Observed,
    ) -> Found {
        Found {
            details: details.clone(),
            validity,
            withheld: self.withholds && validity != Validity::Now,
            reading: what.reading(),
            verdicts: self.verdicts(details, observed),
        }
    }

    /// What becomes of the match in each place, the gravest first.
    fn verdicts(&self, details: &Details, observed: &Observed) -> Vec<PlacedVerdict> {
        let mut verdicts: Vec<PlacedVerdict> = Vec::new();
        for place in observed.places {
            let found = Match {
                timestamp: self.now,
                flow: FlowSummary {
                    id: 0,
                    source: observed.end,
                    source_port: 0,
                    destination: observed.end,
                    destination_port: 0,
                    protocol: 0,
                    vlan: None,
                    app_proto: None,
                },
                indicator: 0,
                observable: Observable {
                    place: *place,
                    ..observed.observable.clone()
                },
                observations: Box::default(),
            };
            let verdict = (self.judge)(&found, details);
            match verdicts.iter_mut().find(|v| v.verdict == verdict) {
                Some(same) => same.places.push(*place),
                None => verdicts.push(PlacedVerdict {
                    verdict,
                    places: vec![*place],
                }),
            }
        }
        verdicts.sort_by_key(|placed| rank_of(placed.verdict.action));
        verdicts
    }
}

const fn rank_of(action: Action) -> u8 {
    match action {
        Action::Block => 0,
        Action::WouldBlock => 1,
        Action::Report => 2,
        Action::Allowlisted => 3,
    }
}
