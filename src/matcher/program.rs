//! Programs: comparisons that no table can decide alone, over objects of live traffic.

use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::Literal;
use crate::indicator::pattern::ObjectPath;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Operand;
use crate::indicator::pattern::Operator;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::indicator::pattern::Step;
use crate::indicator::pattern::Test;
use crate::matcher::lower;
use crate::matcher::set::IndicatorSet;
use crate::matcher::set::PROGRAMS;
use aho_corasick::AhoCorasick;
use aho_corasick::MatchKind;
use hashbrown::HashMap;
use serde::Deserialize;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// What a program is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum ObjectKind {
    Address,
    Domain,
    Url,
    File,
    Certificate,
    Traffic,
    Mailbox,
    Mail,
}

impl ObjectKind {
    pub(crate) const COUNT: usize = 8;
}

/// When everything that a traffic program asks of is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// At the first packet.
    Flow,
    /// Once the protocol is recognised, or given up.
    Protocol,
    /// At each HTTP request.
    HttpRequest,
    /// At a TLS ClientHello.
    ClientHello,
    /// At a TLS ServerHello.
    ServerHello,
    /// At the key exchange of an SSH client.
    ClientKex,
    /// At the key exchange of an SSH server.
    ServerKex,
}

impl Stage {
    pub(crate) const COUNT: usize = 7;

    /// Whether one event can answer what belongs to both.
    pub(crate) fn joins(self, other: Self) -> bool {
        self <= Self::Protocol || other <= Self::Protocol || self == other
    }
}

/// A program as a set keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProgramText {
    pub(crate) ordinal: u32,
    pattern: String,
    object: ObjectKind,
    stage: Stage,
    anchored: bool,
}

impl ProgramText {
    /// Keeps the place of a program whose indicator is gone.
    pub(crate) const NONE: Self = Self {
        ordinal: u32::MAX,
        pattern: String::new(),
        object: ObjectKind::Address,
        stage: Stage::Flow,
        anchored: true,
    };

    pub(crate) fn new(ordinal: u32, program: &lower::Program) -> Self {
        let pattern = Pattern {
            expression: Observation::Test(program.test.clone()),
        };
        Self {
            ordinal,
            pattern: pattern.to_string(),
            object: program.object,
            stage: program.stage,
            anchored: !program.anchors.is_empty(),
        }
    }

    pub(crate) const fn is_none(&self) -> bool {
        self.pattern.is_empty()
    }
}

/// A program made ready.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) ordinal: u32,
    pub(crate) object: ObjectKind,
    pub(crate) stage: Stage,
    pub(crate) test: Test,
}

/// All programs of a set, by what calls for them.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    programs: Vec<Option<Program>>,
    /// Programs without anchors, by kind of object; of traffic by stage below.
    scans: [Scan; ObjectKind::COUNT],
    /// Traffic programs without anchors, by stage.
    traffic: [Vec<u32>; Stage::COUNT],
    /// Whether anchored traffic programs wait for a stage.
    anchored: [bool; Stage::COUNT],
    /// What the programs read of files.
    pub(crate) reads: Reads,
}

/// Which properties any program reads, so that no others are worked out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reads {
    pub(crate) md5: bool,
    pub(crate) sha1: bool,
    pub(crate) sha256: bool,
    pub(crate) files: bool,
    pub(crate) certificates: bool,
    pub(crate) ja3: bool,
    pub(crate) ja3s: bool,
    pub(crate) ja4: bool,
    pub(crate) hassh: bool,
    pub(crate) hassh_server: bool,
    pub(crate) resolved: bool,
}

/// Programs that must be evaluated for every object of a kind, unless a text that they need is
/// missing from it.
#[derive(Debug, Default)]
struct Scan {
    /// Finds needed texts; the number of a text is the index into `needing`.
    texts: Option<AhoCorasick>,
    /// By text: the programs that need it.
    needing: Vec<Vec<u32>>,
    always: Vec<u32>,
}

/// Shortest needed text that is searched for; shorter ones are found in everything.
const MIN_NEEDED_TEXT: usize = 3;

impl Programs {
    /// Makes the programs of a set ready. What does not parse in a damaged set is left out.
    pub(crate) fn of(set: &IndicatorSet) -> Self {
        let texts: Vec<ProgramText> =
            serde_json::from_slice(set.section(PROGRAMS)).unwrap_or_default();
        let mut programs = Self::default();
        let mut needed: [Vec<(Vec<String>, u32)>; ObjectKind::COUNT] = Default::default();
        for (number, text) in texts.iter().enumerate() {
            let number = number as u32;
            let parsed = Pattern::parse(&text.pattern, Spec::V21).ok();
            let comparison = parsed.and_then(|pattern| match pattern.expression {
                Observation::Test(comparison) => Some(comparison),
                _ => None,
            });
            let ready = comparison.and_then(|c| Test::new(&c).ok().map(|test| (c, test)));
            let Some((comparison, test)) = ready else {
                programs.programs.push(None);
                continue;
            };
            programs.reads.note(&comparison);
            if text.object == ObjectKind::Traffic {
                if text.anchored {
                    programs.anchored[text.stage as usize] = true;
                } else {
                    programs.traffic[text.stage as usize].push(number);
                }
            } else if !text.anchored {
                let mut texts = Vec::new();
                collect_needed(&comparison, &mut texts);
                if texts.is_empty() {
                    programs.scans[text.object as usize].always.push(number);
                } else {
                    needed[text.object as usize].push((texts, number));
                }
            }
            let (object, stage) = (text.object, text.stage);
            programs.programs.push(Some(Program {
                ordinal: text.ordinal,
                object,
                stage,
                test,
            }));
        }
        for (scan, needed) in programs.scans.iter_mut().zip(needed) {
            scan.search_for(needed);
        }
        programs
    }

    pub(crate) fn program(&self, number: u32) -> Option<&Program> {
        self.programs.get(number as usize)?.as_ref()
    }

    /// Whether any program is about traffic at this stage.
    #[inline]
    pub(crate) fn wants_stage(&self, stage: Stage) -> bool {
        self.anchored[stage as usize] || !self.traffic[stage as usize].is_empty()
    }

    /// Whether anchors may call for a traffic program at this stage.
    pub(crate) fn anchored_at(&self, stage: Stage) -> bool {
        self.anchored[stage as usize]
    }

    /// Traffic programs to evaluate at this stage whatever the anchors.
    pub(crate) fn unanchored_at(&self, stage: Stage) -> &[u32] {
        &self.traffic[stage as usize]
    }

    /// Whether objects of a kind must be scanned.
    #[inline]
    pub(crate) fn scans(&self, object: ObjectKind) -> bool {
        let scan = &self.scans[object as usize];
        !scan.always.is_empty() || scan.texts.is_some()
    }

    /// Calls for the programs that may be true of an object with this text, each once.
    pub(crate) fn scan(
        &self,
        object: ObjectKind,
        text: &[u8],
        seen: &mut SeenTexts,
        call: &mut dyn FnMut(u32),
    ) {
        let scan = &self.scans[object as usize];
        for number in &scan.always {
            call(*number);
        }
        if let Some(texts) = &scan.texts {
            seen.begin(scan.needing.len());
            for found in texts.find_overlapping_iter(text) {
                let found = found.pattern().as_usize();
                if seen.is_first(found) {
                    for number in scan.needing.get(found).into_iter().flatten() {
                        call(*number);
                    }
                }
            }
        }
    }
}

/// Which needed texts were found in the text at hand: one that occurs a thousand times calls for
/// its programs once.
#[derive(Debug, Default)]
pub(crate) struct SeenTexts {
    /// By text: the turn in which it was found last.
    turns: Vec<u32>,
    turn: u32,
}

impl SeenTexts {
    fn begin(&mut self, texts: usize) {
        self.turn = self.turn.wrapping_add(1);
        if self.turns.len() < texts || self.turn == 0 {
            self.turns.clear();
            self.turns.resize(texts, 0);
            self.turn = 1;
        }
    }

    fn is_first(&mut self, text: usize) -> bool {
        self.turns
            .get_mut(text)
            .is_some_and(|turn| std::mem::replace(turn, self.turn) != self.turn)
    }
}

impl Scan {
    /// Searches for one text of each program: the one that fewest others need as well, and of
    /// those the longest.
    fn search_for(&mut self, needed: Vec<(Vec<String>, u32)>) {
        if needed.is_empty() {
            return;
        }
        let mut wanted: HashMap<&str, u32> = HashMap::new();
        for text in needed.iter().flat_map(|(texts, _)| texts) {
            *wanted.entry(text).or_default() += 1;
        }
        let mut programs: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (texts, number) in &needed {
            let rarity = |text: &&String| (wanted.get(text.as_str()).copied(), Reverse(text.len()));
            if let Some(best) = texts.iter().min_by_key(rarity) {
                programs.entry(best).or_default().push(*number);
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(programs.keys());
        match automaton {
            Ok(automaton) => {
                self.texts = Some(automaton);
                self.needing = programs.into_values().collect();
            }
            // too many texts for one automaton: slower, and still right
            Err(_) => self.always.extend(programs.into_values().flatten()),
        }
    }
}

impl Reads {
    fn note(&mut self, comparison: &Comparison) {
        comparison.walk(&mut |path, _| {
            let name = path.to_string();
            let digest = |names: &[&str]| {
                let bare = name.replace(['-', '\''], "").to_ascii_lowercase();
                names.iter().any(|n| bare.ends_with(&format!(".{n}")))
            };
            match path.object_type.as_str() {
                "file" => {
                    self.files = true;
                    self.md5 |= digest(&["md5"]);
                    self.sha1 |= digest(&["sha1"]);
                    self.sha256 |= digest(&["sha256"]);
                }
                "x509-certificate" => self.certificates = true,
                "domain-name" => self.resolved |= name.contains("resolves_to_refs"),
                "network-traffic" => {
                    self.ja3 |= name.ends_with("x_ja3_hash");
                    self.ja3s |= name.ends_with("x_ja3s_hash");
                    self.ja4 |= name.ends_with("x_ja4");
                    self.hassh |= name.ends_with("x_hassh");
                    self.hassh_server |= name.ends_with("x_hassh_server");
                }
                _ => {}
            }
        });
    }
}

/// Whether the text of an object that is searched holds what is at this path.
fn is_searched(path: &ObjectPath) -> bool {
    let only = |name: &str| matches!(path.steps.as_slice(), [Step::Key(key)] if key == name);
    match path.object_type.as_str() {
        "ipv4-addr" | "ipv6-addr" | "domain-name" | "url" | "email-addr" => only("value"),
        "file" => only("name"),
        "email-message" => true,
        _ => false,
    }
}

/// Texts each of which must occur in the searched text for the comparison to be true.
fn collect_needed(comparison: &Comparison, texts: &mut Vec<String>) {
    match comparison {
        Comparison::And(branches) => branches.iter().for_each(|b| collect_needed(b, texts)),
        Comparison::Property {
            path,
            operator: Operator::Equal,
            operand: Operand::One(Literal::String(text)),
            negated: false,
        } if path.object_type == "email-message" => {
            texts.extend(Some(text.clone()).filter(|text| can_be_searched(text)));
        }
        Comparison::Property {
            path,
            operator: Operator::Like,
            operand: Operand::One(Literal::String(wildcard)),
            negated: false,
        } if is_searched(path) => {
            let pieces = wildcard
                .split(['%', '_'])
                .filter(|piece| can_be_searched(piece));
            texts.extend(pieces.map(str::to_owned));
        }
        _ => {}
    }
}

/// What is not ASCII may be written in several ways that are the same text.
fn can_be_searched(text: &str) -> bool {
    text.len() >= MIN_NEEDED_TEXT && text.is_ascii()
}
