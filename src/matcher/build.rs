//! Building an indicator set from what loaders hand in.
//!
//! Indicators are lowered to table entries as they come; which version of an
//! id counts is settled on the way. [`SetBuilder::finish`] drops what was
//! superseded or withdrawn, and lays out the tables.

use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::indicator::Refusal;
use crate::indicator::Taken;
use crate::indicator::Tlp;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::matcher::bytes::put_u32s;
use crate::matcher::exact;
use crate::matcher::hash::HashKey;
use crate::matcher::join::Joined;
use crate::matcher::join::Meaning;
use crate::matcher::join::PART_FLAG;
use crate::matcher::join::lower;
use crate::matcher::layout::Alive;
use crate::matcher::layout::Lists;
use crate::matcher::layout::Record;
use crate::matcher::layout::TermTable;
use crate::matcher::layout::assemble;
use crate::matcher::layout::lay_out_networks;
use crate::matcher::lower::Lowered;
use crate::matcher::lower::Term;
use crate::matcher::program::ProgramText;
use crate::matcher::set;
use crate::matcher::set::ExplainIndex;
use crate::matcher::set::Explanation;
use crate::matcher::set::Header;
use crate::matcher::set::IndicatorSet;
use crate::matcher::set::KeyKind;
use crate::matcher::set::MAX_ORDINAL;
use crate::matcher::set::Posting;
use crate::matcher::set::SECTIONS;
use crate::matcher::set::SetError;
use crate::matcher::set::Shared;
use crate::time::Timestamp;
use hashbrown::HashMap;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use uuid::Uuid;

/// Named objects that a set keeps: bounds what relationships can make it remember.
const MAX_CONTEXTS: usize = 1 << 20;

/// Relationships likewise.
const MAX_RELATIONSHIPS: usize = 1 << 22;

/// Named objects that one indicator is said to indicate, and that counter it: what a person reads.
const MAX_RELATED: usize = 32;

/// What became of the indicators of one source, once all sources are in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// They can match.
    pub loaded: u64,
    /// Withdrawn by their source.
    pub revoked: u64,
    /// There is a newer version.
    pub superseded: u64,
    /// The same version came before.
    pub duplicate: u64,
    /// Loaded, but over at the time asked for.
    pub expired: u64,
    /// The same id and version came before with other content; the first was kept.
    pub contradictory: u64,
}

/// A finished set, and what became of its sources.
#[derive(Debug)]
pub struct Built {
    /// The set.
    pub set: IndicatorSet,
    /// By source, in their order: its name, and what became of its indicators.
    pub sources: Vec<(String, Tally)>,
    /// Values of indicators that are not matched, since a thousand others have the same value.
    pub crowded_out: u64,
}

/// An indicator set in the making.
#[derive(Debug)]
pub struct SetBuilder {
    key: HashKey,
    sources: Vec<(String, Tally)>,
    records: Vec<Record>,
    v4: Vec<(u32, u32)>,
    prefixes_v4: Vec<(u128, u8, u32)>,
    prefixes_v6: Vec<(u128, u8, u32)>,
    tables: Vec<TermTable>,
    programs: Vec<ProgramText>,
    /// Shapes of patterns over several observations, in JSON, by ordinal.
    shapes: Vec<(u32, Vec<u8>)>,
    versions: HashMap<u128, Version>,
    /// Number of the scope of versions at hand.
    scope: u32,
    attributes: HashMap<(Timestamp, Timestamp, u32), u32>,
    shared: HashMap<Shared, u32>,
    explain: Vec<u8>,
    contexts: HashMap<String, (String, String)>,
    relationships: Vec<(String, String, String)>,
    markings: HashMap<String, Tlp>,
    /// What the current source changed, to undo it: (id, what was known before).
    undo: Vec<(u128, Option<Version>)>,
    source_start: usize,
    subtrees: bool,
}

#[derive(Clone, Copy, Debug)]
struct Version {
    modified: Timestamp,
    /// `None`: withdrawn, or nothing of it can be seen.
    ordinal: Option<u32>,
    content: u64,
}

impl Default for SetBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl SetBuilder {
    /// An empty set with a hash key of its own.
    pub fn new() -> Self {
        // RandomState is seeded by the system; hashing different bytes gives independent halves
        let state = RandomState::new();
        let draw = |n: u8| {
            let mut hasher = state.build_hasher();
            hasher.write_u8(n);
            hasher.finish()
        };
        Self::with_key(HashKey([draw(1), draw(2)]))
    }

    /// As [`Self::new`], with a key that others may know.
    pub(crate) fn with_key(key: HashKey) -> Self {
        Self {
            key,
            sources: Vec::new(),
            records: Vec::new(),
            v4: Vec::new(),
            prefixes_v4: Vec::new(),
            prefixes_v6: Vec::new(),
            tables: KeyKind::ALL.iter().map(|_| TermTable::default()).collect(),
            programs: Vec::new(),
            shapes: Vec::new(),
            versions: HashMap::new(),
            scope: 0,
            attributes: HashMap::new(),
            shared: HashMap::new(),
            explain: Vec::new(),
            contexts: HashMap::new(),
            relationships: Vec::new(),
            markings: HashMap::new(),
            undo: Vec::new(),
            source_start: 0,
            subtrees: false,
        }
    }

    /// What comes from here on is another party's: of an id its versions, and that it withdraws
    /// one, say nothing of what came before.
    pub fn begin_scope(&mut self) {
        self.scope += 1;
    }

    /// Lays out the set. `now` decides what its tallies count as expired (whether that matches
    /// is for the clock that matching uses).
    pub fn finish(mut self, now: Timestamp) -> Result<Built, SetError> {
        let attributes = self.attribute_table();
        for record in self.records.iter().filter(|r| r.is_indicator()) {
            if let Some((_, tally)) = self.sources.get_mut(record.source as usize) {
                tally.loaded += 1;
                let over = attributes
                    .get(record.attributes as usize)
                    .is_some_and(|a| a.1 <= now);
                tally.expired += u64::from(over);
            }
        }
        let indicators = self.records.iter().filter(|r| r.is_indicator()).count() as u64;
        let mut sections: Vec<Vec<u8>> = vec![Vec::new(); SECTIONS];
        let mut lists = Lists::default();
        let alive = Alive {
            records: &self.records,
            programs: &self.programs,
        };

        for (kind, table) in std::mem::take(&mut self.tables).into_iter().enumerate() {
            let built = table.lay_out(&alive, &mut lists);
            let first = set::BYTE_TABLES + 4 * kind;
            sections[first] = built.filter;
            sections[first + 1] = built.slots;
            sections[first + 2] = built.terms;
            sections[first + 3] = built.values;
        }
        let mut v4 = std::mem::take(&mut self.v4);
        v4.retain(|(_, posting)| alive.holds(*posting));
        v4.sort_unstable();
        let v4: Vec<(u32, u32)> = v4
            .chunk_by(|a, b| a.0 == b.0)
            .map(|same| (same[0].0, lists.posting(same.iter().map(|e| e.1))))
            .collect();
        (sections[set::V4_FILTER], sections[set::V4_SLOTS]) = exact::build_numbers(self.key, &v4);
        for (bits, networks, first) in [
            (32, std::mem::take(&mut self.prefixes_v4), set::PREFIXES_V4),
            (128, std::mem::take(&mut self.prefixes_v6), set::PREFIXES_V6),
        ] {
            let built = lay_out_networks(bits, networks, &alive, &mut lists);
            sections[first] = built.root;
            sections[first + 1] = built.starts;
            sections[first + 2] = built.owners;
            sections[first + 3] = built.networks;
        }
        let gone = ProgramText::NONE;
        let programs: Vec<&ProgramText> = self
            .programs
            .iter()
            .map(|p| if alive.ordinal(p.ordinal) { p } else { &gone })
            .collect();
        if programs.iter().any(|p| !p.is_none()) {
            sections[set::PROGRAMS] = serde_json::to_vec(&programs).unwrap_or_default();
        }
        for (ordinal, shape) in self.shapes.iter().filter(|s| alive.ordinal(s.0)) {
            let start = sections[set::SHAPES].len() as u64;
            sections[set::SHAPES].extend_from_slice(shape);
            put_u32s(
                &mut sections[set::SHAPE_INDEX],
                [*ordinal, shape.len() as u32],
            );
            sections[set::SHAPE_INDEX].extend(start.to_le_bytes());
        }
        put_u32s(&mut sections[set::LISTS], lists.words.iter().copied());
        for record in &self.records {
            let attributes = if record.alive {
                record.attributes
            } else {
                set::NO_ATTRIBUTES
            };
            sections[set::RECORDS].extend(attributes.to_le_bytes());
            sections[set::RECORDS].extend(record.word.to_le_bytes());
        }
        for (valid_from, valid_until, source) in &attributes {
            for number in [
                valid_from.as_nanos(),
                valid_until.as_nanos(),
                u64::from(*source),
            ] {
                sections[set::ATTRIBUTES].extend(number.to_le_bytes());
            }
        }
        let explain = self.finish_explanations();
        let tallies = std::mem::take(&mut self.sources);
        let header = Header {
            match_length: 0,
            explain_length: explain.len() as u64,
            checksum: 0,
            key: self.key,
            indicators,
            subtrees: self.subtrees,
        };
        let match_part = assemble(header, &sections);
        Ok(Built {
            set: IndicatorSet::from_parts(match_part, explain)?,
            sources: tallies,
            crowded_out: lists.crowded_out,
        })
    }

    fn attribute_table(&self) -> Vec<(Timestamp, Timestamp, u32)> {
        let mut table: Vec<_> = self.attributes.iter().map(|(k, n)| (*n, *k)).collect();
        table.sort_unstable_by_key(|(n, _)| *n);
        table.into_iter().map(|(_, k)| k).collect()
    }

    /// Adds the index that explanations share.
    fn finish_explanations(&mut self) -> Vec<u8> {
        let mut shared: Vec<_> = self.shared.drain().collect();
        shared.sort_unstable_by_key(|(_, n)| *n);
        let mut index = ExplainIndex {
            shared: shared.into_iter().map(|(s, _)| self.marked(s)).collect(),
            sources: self.sources.iter().map(|s| s.0.clone()).collect(),
            ..ExplainIndex::default()
        };
        self.relate(&mut index);
        let mut explain = std::mem::take(&mut self.explain);
        set::encode_index(&mut explain, &index);
        explain
    }

    /// Resolves relationships: indicator indicates X; a course of action mitigates X or the indicator.
    fn relate(&mut self, index: &mut ExplainIndex) {
        self.relationships.sort_unstable();
        self.relationships.dedup();
        let mut indicates: HashMap<u32, Vec<&str>> = HashMap::new();
        let mut countered_by: HashMap<&str, Vec<&str>> = HashMap::new();
        for (source, kind, target) in &self.relationships {
            match kind.as_str() {
                "indicates" | "based-on" if self.contexts.contains_key(target) => {
                    for ordinal in self.ordinals_of(source) {
                        indicates.entry(ordinal).or_default().push(target);
                    }
                }
                "mitigates" | "remediates" | "investigates"
                    if self.contexts.contains_key(source) =>
                {
                    countered_by.entry(target).or_default().push(source);
                }
                _ => {}
            }
        }
        // before lists are joined, so that many times many stays few
        for list in indicates.values_mut().chain(countered_by.values_mut()) {
            list.sort_unstable();
            list.dedup();
            list.truncate(MAX_RELATED);
        }
        let mut related: HashMap<u32, (Vec<&str>, Vec<&str>)> = HashMap::new();
        for (ordinal, targets) in indicates {
            let entry = related.entry(ordinal).or_default();
            for target in &targets {
                entry
                    .1
                    .extend(countered_by.get(target).into_iter().flatten());
            }
            entry.1.sort_unstable();
            entry.1.dedup();
            entry.1.truncate(MAX_RELATED);
            entry.0 = targets;
        }
        for (target, actions) in &countered_by {
            for ordinal in self.ordinals_of(target) {
                related.entry(ordinal).or_default().1.extend(actions);
            }
        }
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut ordinals: Vec<u32> = related.keys().copied().collect();
        ordinals.sort_unstable();
        for ordinal in ordinals {
            let Some((mut indicated, mut countering)) = related.remove(&ordinal) else {
                continue;
            };
            let mut number = |ids: &mut Vec<&str>| -> Vec<u32> {
                // numbers only go to ids that live in self.contexts
                ids.sort_unstable();
                ids.dedup();
                ids.truncate(MAX_RELATED);
                let mut out = Vec::with_capacity(ids.len());
                for id in ids.iter() {
                    if let Some(n) = numbers.get(*id) {
                        out.push(*n);
                    } else if let Some((id, (kind, name))) = self.contexts.get_key_value(*id) {
                        let n = index.contexts.len() as u32;
                        index
                            .contexts
                            .push((id.clone(), kind.clone(), name.clone()));
                        numbers.insert(id, n);
                        out.push(n);
                    }
                }
                out
            };
            let entry = (ordinal, number(&mut indicated), number(&mut countering));
            index.related.push(entry);
        }
    }

    /// Of an id in every scope.
    fn ordinals_of(&self, id: &str) -> impl Iterator<Item = u32> {
        let key = self.id_key(id);
        (0..=self.scope).filter_map(move |scope| self.versions.get(&scoped(key, scope))?.ordinal)
    }

    /// The uuid of an id, or a hash of an id that has none.
    fn id_key(&self, id: &str) -> u128 {
        id.strip_prefix("indicator--")
            .and_then(|u| Uuid::try_parse(u).ok())
            .map_or_else(
                || {
                    let hash = u128::from(self.key.bytes(id.as_bytes()));
                    hash << 64 | u128::from(self.key.bytes(&[id.as_bytes(), b"."].concat()))
                },
                |uuid| uuid.as_u128(),
            )
    }

    fn tally(&mut self) -> &mut Tally {
        if self.sources.is_empty() {
            self.sources.push((String::new(), Tally::default()));
        }
        let last = self.sources.len() - 1;
        &mut self.sources[last].1
    }

    /// Takes the record of an older version out, which belongs to whichever source brought it.
    fn supersede(&mut self, ordinal: Option<u32>) {
        if let Some(source) = self.switch(ordinal, false)
            && let Some((_, tally)) = self.sources.get_mut(source as usize)
        {
            tally.superseded += 1;
        }
    }

    /// Takes a record out with its parts, or back in; gives its source if that changed anything.
    fn switch(&mut self, ordinal: Option<u32>, alive: bool) -> Option<u32> {
        let start = ordinal? as usize;
        let record = self.records.get(start).filter(|r| r.alive != alive)?;
        let (source, parts) = (record.source, record.parts as usize);
        for record in self.records.iter_mut().skip(start).take(1 + parts) {
            record.alive = alive;
        }
        Some(source)
    }

    fn add_record(&mut self, indicator: &Indicator<'_>) -> Result<u32, Refusal> {
        let ordinal = self.records.len() as u32;
        if ordinal >= MAX_ORDINAL {
            return Err(too_many());
        }
        let source = self.sources.len().saturating_sub(1) as u32;
        let valid_until = indicator.valid_until.unwrap_or(Timestamp::MAX);
        let next = self.attributes.len() as u32;
        let attributes = *self
            .attributes
            .entry((indicator.valid_from, valid_until, source))
            .or_insert(next);
        let shared = self.shared_members(indicator, source);
        let explanation = set::encode(
            &mut self.explain,
            shared,
            &Explanation {
                id: &indicator.id,
                derived_id: indicator.derived_id,
                name: indicator.name.as_deref(),
                pattern: &indicator.pattern,
                created: indicator.created,
                modified: indicator.modified,
                valid_from: indicator.valid_from,
                valid_until,
            },
        );
        self.records.push(Record {
            attributes,
            word: explanation,
            source,
            alive: true,
            parts: 0,
        });
        Ok(ordinal)
    }

    /// Adds a pattern over several observations, whose record is the last: its parts come next.
    fn add_joined(&mut self, ordinal: u32, joined: Joined) -> Result<(), Refusal> {
        let Some(mut record) = self.records.last().copied() else {
            return Ok(());
        };
        let shape = serde_json::to_vec(&joined.shape).map_err(|e| Refusal(e.to_string()))?;
        if ordinal as usize + joined.parts.len() >= MAX_ORDINAL as usize {
            return Err(too_many());
        }
        self.shapes.push((ordinal, shape));
        for (number, part) in (0_u64..).zip(joined.parts) {
            let ordinal_of_part = self.records.len() as u32;
            record.word = PART_FLAG | number << 32 | u64::from(ordinal);
            self.records.push(record);
            self.add_lowered(ordinal_of_part, part)?;
            if let Some(pattern) = self.records.get_mut(ordinal as usize) {
                pattern.parts += 1;
            }
        }
        Ok(())
    }

    /// With the level of markings that were defined after what they mark, or more strictly.
    fn marked(&self, mut shared: Shared) -> Shared {
        let levels = shared
            .markings
            .iter()
            .filter_map(|id| self.markings.get(id));
        shared.tlp = levels.copied().max().max(shared.tlp);
        shared
    }

    fn shared_members(&mut self, indicator: &Indicator<'_>, source: u32) -> u32 {
        let from_markings = indicator.markings.iter().filter_map(|id| {
            Tlp::from_marking(id).or_else(|| self.markings.get(id.as_ref()).copied())
        });
        let from_labels = indicator.labels.iter().filter_map(|l| Tlp::from_label(l));
        let shared = Shared {
            source,
            confidence: indicator.confidence,
            labels: indicator
                .labels
                .iter()
                .map(|l| l.clone().into_owned())
                .collect(),
            markings: indicator
                .markings
                .iter()
                .map(|m| m.clone().into_owned())
                .collect(),
            tlp: from_markings.chain(from_labels).max(),
            created_by: indicator
                .created_by
                .clone()
                .map(std::borrow::Cow::into_owned),
        };
        let next = self.shared.len() as u32;
        *self.shared.entry(shared).or_insert(next)
    }

    fn add_lowered(&mut self, ordinal: u32, lowered: Lowered) -> Result<(), Refusal> {
        for term in &lowered.terms {
            self.add_term(term, |subtree| Posting::Indicator { ordinal, subtree });
        }
        for program in lowered.programs {
            let number = self.programs.len() as u32;
            if number >= MAX_ORDINAL {
                return Err(Refusal(format!(
                    "more than {MAX_ORDINAL} programs in one set"
                )));
            }
            for anchor in &program.anchors {
                self.add_term(anchor, |_| Posting::Program(number));
            }
            self.programs.push(ProgramText::new(ordinal, &program));
        }
        Ok(())
    }

    fn add_term(&mut self, term: &Term, posting: impl Fn(bool) -> Posting) {
        match term {
            Term::V4(address) => self.v4.push((*address, posting(false).pack())),
            Term::NetworkV4(first, length) => {
                self.prefixes_v4
                    .push((u128::from(*first), *length, posting(false).pack()));
            }
            Term::NetworkV6(first, length) => {
                self.prefixes_v6
                    .push((*first, *length, posting(false).pack()));
            }
            Term::Key {
                kind,
                value,
                subtree,
            } => {
                self.subtrees |= *subtree;
                let hash = self.key.bytes(value);
                let table = &mut self.tables[*kind as usize];
                let start = table.values.len() as u32;
                table.values.extend_from_slice(value);
                table
                    .terms
                    .push((hash, start, value.len() as u32, posting(*subtree).pack()));
            }
        }
    }
}

impl Intake for SetBuilder {
    fn begin_source(&mut self, name: &str) {
        self.sources.push((name.to_owned(), Tally::default()));
        self.undo.clear();
        self.source_start = self.records.len();
    }

    fn abandon_source(&mut self) {
        for record in self.records.iter_mut().skip(self.source_start) {
            record.alive = false;
        }
        while let Some((id, before)) = self.undo.pop() {
            match before {
                Some(version) => {
                    if let Some(source) = self.switch(version.ordinal, true)
                        && let Some((_, tally)) = self.sources.get_mut(source as usize)
                    {
                        tally.superseded = tally.superseded.saturating_sub(1);
                    }
                    self.versions.insert(id, version);
                }
                None => {
                    self.versions.remove(&id);
                }
            }
        }
        for record in self.records.iter_mut().skip(self.source_start) {
            record.alive = false;
        }
        *self.tally() = Tally::default();
    }

    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal> {
        let spec = match indicator.pattern_version {
            PatternVersion::V20 => Spec::V20,
            PatternVersion::V21 => Spec::V21,
        };
        let id = scoped(self.id_key(&indicator.id), self.scope);
        let known = self.versions.get(&id).copied();
        let content = self.key.bytes(indicator.pattern.as_bytes());
        if let Some(known) = known {
            if indicator.modified < known.modified {
                self.tally().superseded += 1;
                return Ok(Taken::Loaded);
            }
            if indicator.modified == known.modified && !indicator.revoked {
                self.tally().duplicate += 1;
                self.tally().contradictory += u64::from(content != known.content);
                return Ok(Taken::Loaded);
            }
        }
        if indicator.revoked {
            self.tally().revoked += 1;
            self.supersede(known.and_then(|k| k.ordinal));
            self.undo.push((id, known));
            self.versions.insert(
                id,
                Version {
                    modified: indicator.modified,
                    ordinal: None,
                    content,
                },
            );
            return Ok(Taken::Revoked);
        }
        let pattern =
            Pattern::parse(&indicator.pattern, spec).map_err(|e| Refusal(e.to_string()))?;
        let meaning = lower(&pattern, indicator.subdomains)?;
        self.supersede(known.and_then(|k| k.ordinal));
        self.undo.push((id, known));
        if let Meaning::Unseeable(reason) = meaning {
            self.versions.insert(
                id,
                Version {
                    modified: indicator.modified,
                    ordinal: None,
                    content,
                },
            );
            return Ok(Taken::Unseeable(reason));
        }
        let ordinal = self.add_record(indicator)?;
        self.versions.insert(
            id,
            Version {
                modified: indicator.modified,
                ordinal: Some(ordinal),
                content,
            },
        );
        match meaning {
            Meaning::Alone(lowered) => self.add_lowered(ordinal, lowered)?,
            Meaning::Joined(joined) => self.add_joined(ordinal, joined)?,
            Meaning::Unseeable(_) => {}
        }
        Ok(Taken::Loaded)
    }

    fn context(&mut self, id: &str, kind: &str, name: &str) {
        if self.contexts.len() < MAX_CONTEXTS {
            self.contexts
                .insert(id.to_owned(), (kind.to_owned(), name.to_owned()));
        }
    }

    fn relationship(&mut self, source: &str, kind: &str, target: &str) {
        if self.relationships.len() < MAX_RELATIONSHIPS {
            self.relationships
                .push((source.to_owned(), kind.to_owned(), target.to_owned()));
        }
    }

    fn marking(&mut self, id: &str, tlp: Tlp) {
        // two that say one id mean two things: the stricter is safe
        let known = self.markings.entry(id.to_owned()).or_insert(tlp);
        *known = tlp.max(*known);
    }
}

/// Keeps ids of one scope apart from those of others.
const fn scoped(key: u128, scope: u32) -> u128 {
    // an odd number with half of its bits set
    key ^ (scope as u128).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

fn too_many() -> Refusal {
    Refusal(format!("more than {MAX_ORDINAL} indicators in one set"))
}
