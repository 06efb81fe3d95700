//! The indicator set: immutable, compact, position-independent.
//!
//! One run of bytes in two parts. The *match part* holds all that matching
//! reads: tables, records, the programs of patterns that are more than one
//! comparison and the shapes of those over several observations. It is read into memory as a whole, checked, and shared by all
//! workers. The *explain part* holds what only explains a match to a person;
//! of a set in a file it stays there, and is read record by record.
//!
//! ```text
//! header       magic "WPSET\0\r\n", format version, byte order, lengths, checksum, hash key, counts
//! directory    offset and length of each section, in the order of `Section`
//! sections     8-byte aligned
//! explain      records one after the other, then the index (JSON), each with length and checksum
//! ```
//!
//! Numbers are little endian. The match part of a file is read into pages of
//! our own, large ones where the system has them, which takes milliseconds: a
//! file that is cut short while it is in use costs an explanation, never the
//! program. Every read is bounds checked ([`crate::matcher::bytes`]), so that a file which
//! passes its checksum and still lies matches wrongly at worst.

use crate::indicator::Context;
use crate::indicator::Details;
use crate::indicator::Tlp;
use crate::matcher::bytes::u32_at;
use crate::matcher::bytes::u64_at;
use crate::matcher::exact::ByteTable;
use crate::matcher::exact::NumberTable;
use crate::matcher::hash::HashKey;
use crate::matcher::prefix::PrefixTable;
use crate::octets::Octets;
use crate::octets::ParseError;
use crate::time::Timestamp;
use memmap2::Advice;
use memmap2::MmapMut;
use serde::Deserialize;
use serde::Serialize;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// First bytes of a set: unlike any text, and damaged by transfers that touch line ends.
pub const MAGIC: [u8; 8] = *b"WPSET\0\r\n";

/// Version of the format: raised with every change that an older program would misread.
pub const FORMAT_VERSION: u32 = 3;

/// Reads 0x04030201 where the byte order differs.
const BYTE_ORDER: u32 = 0x0102_0304;

pub(crate) const HEADER_LENGTH: usize = 80;

/// Sections of the match part that are not tables of values.
pub(crate) const RECORDS: usize = 0;
pub(crate) const ATTRIBUTES: usize = 1;
pub(crate) const LISTS: usize = 2;
pub(crate) const PROGRAMS: usize = 3;
pub(crate) const V4_FILTER: usize = 4;
pub(crate) const V4_SLOTS: usize = 5;
pub(crate) const PREFIXES_V4: usize = 6;
pub(crate) const PREFIXES_V6: usize = 10;
pub(crate) const SHAPE_INDEX: usize = 14;
pub(crate) const SHAPES: usize = 15;
pub(crate) const BYTE_TABLES: usize = 16;
pub(crate) const SECTIONS: usize = BYTE_TABLES + 4 * KeyKind::COUNT;

/// Bytes of a record: its attributes, and where its explanation begins or which part it is.
pub(crate) const RECORD_LENGTH: usize = 12;

/// Attributes of a record that was superseded or withdrawn.
pub(crate) const NO_ATTRIBUTES: u32 = u32::MAX;

/// Bytes of a tuple of attributes: validity and source.
pub(crate) const ATTRIBUTES_LENGTH: usize = 24;

/// Longest explanation of one indicator that is read: a pattern and its names; loaders refuse
/// objects far below this.
const MAX_EXPLANATION: usize = 64 << 20;

/// Kinds of values that are looked up as byte strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// 16 bytes.
    Ipv6,
    /// Lower-case A-labels without a final dot.
    Domain,
    /// Normal form of [`crate::protocol::http`].
    Url,
    /// 16 bytes.
    FileMd5,
    /// 20 bytes.
    FileSha1,
    /// 32 bytes.
    FileSha256,
    /// As sent.
    FileName,
    /// 16 bytes.
    CertificateMd5,
    /// 20 bytes.
    CertificateSha1,
    /// 32 bytes.
    CertificateSha256,
    /// 16 bytes.
    Ja3,
    /// 16 bytes.
    Ja3s,
    /// 36 characters.
    Ja4,
    /// As sent.
    UserAgent,
    /// Destination port, two bytes in network byte order: anchors of traffic programs.
    DestinationPort,
    /// Source port, likewise.
    SourcePort,
    /// 16 bytes.
    Hassh,
    /// 16 bytes.
    HasshServer,
    /// Normal form of [`crate::observable::mail`].
    EmailAddr,
    /// Subject of a mail, decoded.
    EmailSubject,
}

impl KeyKind {
    /// How many there are.
    pub const COUNT: usize = 20;

    /// Every kind, in the order of their tables.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Ipv6,
        Self::Domain,
        Self::Url,
        Self::FileMd5,
        Self::FileSha1,
        Self::FileSha256,
        Self::FileName,
        Self::CertificateMd5,
        Self::CertificateSha1,
        Self::CertificateSha256,
        Self::Ja3,
        Self::Ja3s,
        Self::Ja4,
        Self::UserAgent,
        Self::DestinationPort,
        Self::SourcePort,
        Self::Hassh,
        Self::HasshServer,
        Self::EmailAddr,
        Self::EmailSubject,
    ];
}

/// What a table entry stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posting {
    /// The value is all that this indicator asks for. `subtree`: names below it as well.
    Indicator { ordinal: u32, subtree: bool },
    /// The value calls for this program.
    Program(u32),
}

const LIST_FLAG: u32 = 1 << 31;
const SUBTREE_FLAG: u32 = 1 << 30;
const PROGRAM_FLAG: u32 = 1 << 29;

/// Indicators, and programs, that one set holds: what a posting has bits for.
pub(crate) const MAX_ORDINAL: u32 = PROGRAM_FLAG - 1;

impl Posting {
    pub(crate) const fn pack(self) -> u32 {
        match self {
            Self::Indicator {
                ordinal,
                subtree: false,
            } => ordinal,
            Self::Indicator {
                ordinal,
                subtree: true,
            } => ordinal | SUBTREE_FLAG,
            Self::Program(index) => index | PROGRAM_FLAG,
        }
    }

    pub(crate) const fn pack_list(at: u32) -> u32 {
        at | LIST_FLAG
    }

    pub(crate) const fn unpack(packed: u32) -> Self {
        if packed & PROGRAM_FLAG != 0 {
            Self::Program(packed & MAX_ORDINAL)
        } else {
            Self::Indicator {
                ordinal: packed & MAX_ORDINAL,
                subtree: packed & SUBTREE_FLAG != 0,
            }
        }
    }
}

/// Why a compiled set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// The system said no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Not a set at all.
    #[error("not a compiled indicator set")]
    NotASet,
    /// Made by another version.
    #[error(
        "compiled set of format {found}, this version reads format {FORMAT_VERSION}: compile it again from its sources"
    )]
    Version {
        /// Format of the file.
        found: u32,
    },
    /// Made on a machine with the other byte order.
    #[error("compiled set of the other byte order: compile it again on this kind of machine")]
    ByteOrder,
    /// Shorter than its header says.
    #[error("compiled set cut short: {found} of {expected} bytes: copy or compile it again")]
    CutShort {
        /// Bytes that are there.
        found: u64,
        /// Bytes that its header promises.
        expected: u64,
    },
    /// Not what was written.
    #[error(
        "compiled set is damaged: checksum {found:08x}, its header says {expected:08x}: copy or compile it again"
    )]
    Checksum {
        /// Of the bytes that are there.
        found: u32,
        /// Of the bytes that were written.
        expected: u32,
    },
    /// A header that contradicts itself.
    #[error("compiled set is damaged: {0}: compile it again")]
    Damaged(&'static str),
}

/// An immutable set of indicators, ready to match.
#[derive(Debug)]
pub struct IndicatorSet {
    bytes: MatchPart,
    sections: Vec<Range<usize>>,
    key: HashKey,
    indicators: u64,
    subtrees: bool,
    explain: ExplainPart,
    index: ExplainIndex,
}

/// Where the match part lies.
#[derive(Debug)]
enum MatchPart {
    /// Built here.
    Heap(Vec<u8>),
    /// Read from a file.
    Pages(MmapMut),
}

impl MatchPart {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Heap(bytes) => bytes,
            Self::Pages(pages) => pages,
        }
    }

    /// Reads `length` bytes of a file from its start.
    fn read(file: &File, length: usize) -> std::io::Result<Self> {
        let mut pages = MmapMut::map_anon(length)?;
        // a set of millions spans thousands of small pages, whose faults cost more than the
        // reading and whose misses more than the look-ups; where large ones are not to be had,
        // small ones do
        let _ = pages.advise(Advice::HugePage);
        file.read_exact_at(&mut pages, 0)?;
        Ok(Self::Pages(pages))
    }
}

#[derive(Debug)]
enum ExplainPart {
    Memory(Vec<u8>),
    File { file: File, start: u64, length: u64 },
}

/// What explanations share, so that a million indicators of one source cost one copy.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ExplainIndex {
    /// Tuples of shared members.
    pub(crate) shared: Vec<Shared>,
    /// Named objects.
    pub(crate) contexts: Vec<(String, String, String)>,
    /// By ordinal, sorted: what it indicates, what counters it (numbers of contexts).
    pub(crate) related: Vec<(u32, Vec<u32>, Vec<u32>)>,
    /// Names of the sources, by number.
    pub(crate) sources: Vec<String>,
}

/// Members that many indicators have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) source: u32,
    pub(crate) confidence: Option<u8>,
    pub(crate) labels: Vec<String>,
    pub(crate) markings: Vec<String>,
    pub(crate) tlp: Option<Tlp>,
    pub(crate) created_by: Option<String>,
}

/// When a record matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) valid_from: Timestamp,
    /// [`Timestamp::MAX`]: without end.
    pub(crate) valid_until: Timestamp,
    pub(crate) source: u32,
}

impl IndicatorSet {
    /// Reads a compiled set. Its explain part stays in the file.
    pub fn open(path: &Path) -> Result<Self, SetError> {
        let file = File::open(path)?;
        let found = file.metadata()?.len();
        let mut header = vec![0; HEADER_LENGTH.min(usize::try_from(found).unwrap_or(usize::MAX))];
        file.read_exact_at(&mut header, 0)?;
        let lengths = Header::parse(&header)?;
        let expected = lengths.match_length.saturating_add(lengths.explain_length);
        if found < expected {
            return Err(SetError::CutShort { found, expected });
        }
        let length = usize::try_from(lengths.match_length)
            .map_err(|_| SetError::Damaged("larger than the memory"))?;
        let bytes = MatchPart::read(&file, length)?;
        let explain = ExplainPart::File {
            file,
            start: lengths.match_length,
            length: lengths.explain_length,
        };
        Self::new(bytes, explain)
    }

    /// From both parts in memory.
    pub(crate) fn from_parts(match_part: Vec<u8>, explain_part: Vec<u8>) -> Result<Self, SetError> {
        Self::new(
            MatchPart::Heap(match_part),
            ExplainPart::Memory(explain_part),
        )
    }

    fn new(match_part: MatchPart, explain: ExplainPart) -> Result<Self, SetError> {
        let bytes = match_part.bytes();
        let header = Header::parse(bytes)?;
        let checked = bytes.get(Header::CHECKED_FROM..).unwrap_or_default();
        let found = crc32fast::hash(checked);
        if found != header.checksum {
            return Err(SetError::Checksum {
                found,
                expected: header.checksum,
            });
        }
        let directory = bytes
            .get(HEADER_LENGTH..HEADER_LENGTH + SECTIONS * 16)
            .ok_or(SetError::Damaged("no directory"))?;
        let mut sections = Vec::with_capacity(SECTIONS);
        for section in 0..SECTIONS {
            let start = usize::try_from(u64_at(directory, 2 * section)).ok();
            let length = usize::try_from(u64_at(directory, 2 * section + 1)).ok();
            let range = start
                .zip(length)
                .and_then(|(start, length)| Some(start..start.checked_add(length)?))
                .filter(|range| range.end <= bytes.len())
                .ok_or(SetError::Damaged("a section lies outside"))?;
            sections.push(range);
        }
        let mut set = Self {
            sections,
            key: header.key,
            indicators: header.indicators,
            subtrees: header.subtrees,
            explain,
            index: ExplainIndex::default(),
            bytes: match_part,
        };
        set.index = set
            .read_index()
            .ok_or(SetError::Damaged("its explanations"))?;
        Ok(set)
    }

    /// Indicators that can match.
    pub const fn indicators(&self) -> u64 {
        self.indicators
    }

    /// Bytes that matching reads.
    pub fn match_bytes(&self) -> u64 {
        self.bytes.bytes().len() as u64
    }

    /// Bytes that only explain a match to a person.
    pub const fn explain_bytes(&self) -> u64 {
        match &self.explain {
            ExplainPart::Memory(bytes) => bytes.len() as u64,
            ExplainPart::File { length, .. } => *length,
        }
    }

    /// Both parts, as a file holds them. Only for a set that was built, not opened.
    pub fn parts(&self) -> Option<(&[u8], &[u8])> {
        match &self.explain {
            ExplainPart::Memory(explain) => Some((self.bytes.bytes(), explain)),
            ExplainPart::File { .. } => None,
        }
    }

    /// What an indicator is, for people. Empty, without even an id, where its explanation was
    /// damaged or cut off since the set was opened.
    pub fn details(&self, ordinal: u32) -> Details {
        let offset = self.record_word(ordinal).unwrap_or(0);
        let index = &self.index;
        let mut details = self
            .read_explanation(offset)
            .and_then(|b| decode(&b, index).ok())
            .unwrap_or_default();
        if let Ok(at) = index.related.binary_search_by_key(&ordinal, |r| r.0) {
            let (_, indicates, countermeasures) = &index.related[at];
            details.indicates = contexts(index, indicates);
            details.countermeasures = contexts(index, countermeasures);
        }
        details
    }

    /// Ordinals of the indicators that can match.
    pub fn ordinals(&self) -> impl Iterator<Item = u32> + '_ {
        let records = self.section(RECORDS).chunks_exact(RECORD_LENGTH);
        records
            .zip(0..)
            .filter(|(record, ordinal)| {
                u32_at(record, 0) != NO_ATTRIBUTES && self.part(*ordinal).is_none()
            })
            .map(|(_, n)| n)
    }

    /// What a record holds beside its attributes.
    pub(crate) fn record_word(&self, ordinal: u32) -> Option<u64> {
        let start = usize::try_from(ordinal).ok()?.checked_mul(RECORD_LENGTH)?;
        let bytes = self.section(RECORDS).get(start + 4..start + 12)?;
        bytes.try_into().ok().map(u64::from_le_bytes)
    }

    /// Names of the sources that the set was made of.
    pub fn sources(&self) -> &[String] {
        &self.index.sources
    }

    /// Whether any name of the set stands for those below it as well.
    pub(crate) const fn has_subtrees(&self) -> bool {
        self.subtrees
    }

    pub(crate) const fn key(&self) -> HashKey {
        self.key
    }

    #[inline]
    pub(crate) fn section(&self, section: usize) -> &[u8] {
        self.sections
            .get(section)
            .and_then(|r| self.bytes.bytes().get(r.clone()))
            .unwrap_or_default()
    }

    pub(crate) fn attributes(&self, ordinal: u32) -> Attributes {
        let record = ordinal as usize * RECORD_LENGTH / 4;
        let at = u32_at(self.section(RECORDS), record) as usize;
        let attributes = self.section(ATTRIBUTES);
        let word = at * ATTRIBUTES_LENGTH / 8;
        Attributes {
            valid_from: Timestamp::from_nanos(u64_at(attributes, word)),
            valid_until: Timestamp::from_nanos(u64_at(attributes, word + 1)),
            source: u64_at(attributes, word + 2) as u32,
        }
    }

    #[inline]
    pub(crate) fn v4(&self) -> NumberTable<'_> {
        NumberTable {
            filter: self.section(V4_FILTER),
            slots: self.section(V4_SLOTS),
        }
    }

    #[inline]
    pub(crate) fn prefixes(&self, first_section: usize) -> PrefixTable<'_> {
        PrefixTable {
            root: self.section(first_section),
            starts: self.section(first_section + 1),
            owners: self.section(first_section + 2),
            networks: self.section(first_section + 3),
        }
    }

    #[inline]
    pub(crate) fn table(&self, kind: KeyKind) -> ByteTable<'_> {
        let first = BYTE_TABLES + 4 * kind as usize;
        ByteTable {
            filter: self.section(first),
            slots: self.section(first + 1),
            terms: self.section(first + 2),
            values: self.section(first + 3),
        }
    }

    /// Whether any value of a kind is looked up.
    pub(crate) fn has(&self, kind: KeyKind) -> bool {
        !self.section(BYTE_TABLES + 4 * kind as usize + 3).is_empty()
    }

    /// Whether any address is looked up.
    pub(crate) fn has_addresses(&self) -> bool {
        self.has(KeyKind::Ipv6)
            || !self.v4().is_empty()
            || [PREFIXES_V4, PREFIXES_V6]
                .iter()
                .any(|first| !self.section(first + 3).is_empty())
    }

    /// The postings that a packed one stands for.
    pub(crate) fn unpack(&self, packed: u32, found: &mut impl FnMut(Posting)) {
        if packed & LIST_FLAG == 0 {
            found(Posting::unpack(packed));
            return;
        }
        let lists = self.section(LISTS);
        let at = (packed & !LIST_FLAG) as usize;
        for i in 0..u32_at(lists, at) as usize {
            if at + 1 + i >= lists.len() / 4 {
                return;
            }
            found(Posting::unpack(u32_at(lists, at + 1 + i)));
        }
    }

    fn read_index(&self) -> Option<ExplainIndex> {
        let end = self.explain_bytes().checked_sub(INDEX_TAIL)?;
        let tail = self.read_at(end, INDEX_TAIL)?;
        let length = u64_at(&tail, 0);
        let bytes = self.read_at(end.checked_sub(length)?, length)?;
        let whole = u64::from(crc32fast::hash(&bytes)) == u64_at(&tail, 1);
        whole.then(|| serde_json::from_slice(&bytes).ok())?
    }

    /// A record, if it is as it was written.
    fn read_explanation(&self, offset: u64) -> Option<Vec<u8>> {
        let head = self.read_at(offset, RECORD_HEAD as u64)?;
        let start = offset.checked_add(RECORD_HEAD as u64)?;
        let record = self.read_at(start, u64::from(u32_at(&head, 0)))?;
        (crc32fast::hash(&record) == u32_at(&head, 1)).then_some(record)
    }

    fn read_at(&self, offset: u64, length: u64) -> Option<Vec<u8>> {
        let end = offset.checked_add(length)?;
        if end > self.explain_bytes()
            || length > MAX_EXPLANATION.max(self.bytes.bytes().len()) as u64
        {
            return None;
        }
        match &self.explain {
            ExplainPart::Memory(bytes) => Some(bytes.get(offset as usize..end as usize)?.to_vec()),
            ExplainPart::File { file, start, .. } => {
                let mut bytes = vec![0; length as usize];
                file.read_exact_at(&mut bytes, start.checked_add(offset)?)
                    .ok()?;
                Some(bytes)
            }
        }
    }
}

/// The header, read.
pub(crate) struct Header {
    pub(crate) match_length: u64,
    pub(crate) explain_length: u64,
    pub(crate) checksum: u32,
    pub(crate) key: HashKey,
    pub(crate) indicators: u64,
    /// Whether any name stands for those below it as well.
    pub(crate) subtrees: bool,
}

impl Header {
    /// The checksum covers the match part from here on: all but magic, version, order and itself.
    pub(crate) const CHECKED_FROM: usize = 24;

    pub(crate) fn write(&self) -> [u8; HEADER_LENGTH] {
        let mut out = Vec::with_capacity(HEADER_LENGTH);
        out.extend(MAGIC);
        out.extend(FORMAT_VERSION.to_le_bytes());
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend(self.checksum.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        for number in [
            self.match_length,
            self.explain_length,
            self.key.0[0],
            self.key.0[1],
            self.indicators,
            u64::from(self.subtrees),
        ] {
            out.extend(number.to_le_bytes());
        }
        let mut header = [0; HEADER_LENGTH];
        header[..out.len()].copy_from_slice(&out);
        header
    }

    fn parse(bytes: &[u8]) -> Result<Self, SetError> {
        if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
            return Err(SetError::NotASet);
        }
        if bytes.len() < HEADER_LENGTH {
            let found = bytes.len() as u64;
            return Err(SetError::CutShort {
                found,
                expected: HEADER_LENGTH as u64,
            });
        }
        let order = u32_at(bytes, 3);
        if order == BYTE_ORDER.swap_bytes() {
            return Err(SetError::ByteOrder);
        }
        let found = u32_at(bytes, 2);
        if found != FORMAT_VERSION {
            return Err(SetError::Version { found });
        }
        if order != BYTE_ORDER {
            return Err(SetError::Damaged("no byte order mark"));
        }
        // no checksum covers these four bytes
        if u32_at(bytes, 5) != 0 {
            return Err(SetError::Damaged("its header"));
        }
        let header = Self {
            checksum: u32_at(bytes, 4),
            match_length: u64_at(bytes, 3),
            explain_length: u64_at(bytes, 4),
            key: HashKey([u64_at(bytes, 5), u64_at(bytes, 6)]),
            indicators: u64_at(bytes, 7),
            subtrees: u64_at(bytes, 8) != 0,
        };
        if header.match_length < HEADER_LENGTH as u64 {
            return Err(SetError::Damaged("shorter than its header"));
        }
        Ok(header)
    }
}

fn contexts(index: &ExplainIndex, numbers: &[u32]) -> Vec<Context> {
    numbers
        .iter()
        .filter_map(|n| index.contexts.get(*n as usize))
        .map(|(id, kind, name)| Context {
            id: id.clone(),
            kind: kind.clone(),
            name: name.clone(),
        })
        .collect()
}

/// Appends the explanation of one indicator and returns where it begins.
pub(crate) fn encode(out: &mut Vec<u8>, shared: u32, details: &Explanation<'_>) -> u64 {
    let start = out.len() as u64;
    out.extend([0; RECORD_HEAD]);
    out.extend(shared.to_be_bytes());
    out.push(u8::from(details.derived_id) | u8::from(details.name.is_some()) << 1);
    for time in [
        details.created,
        details.modified,
        details.valid_from,
        details.valid_until,
    ] {
        out.extend(time.as_nanos().to_be_bytes());
    }
    for text in [
        details.id,
        details.name.unwrap_or_default(),
        details.pattern,
    ] {
        out.extend((text.len() as u32).to_be_bytes());
        out.extend(text.as_bytes());
    }
    let body = start as usize + RECORD_HEAD;
    let record = out.get(body..).unwrap_or_default();
    let head = [record.len() as u32, crc32fast::hash(record)];
    if let Some(place) = out.get_mut(start as usize..body) {
        place.copy_from_slice(&head.map(u32::to_le_bytes).concat());
    }
    start
}

/// Appends the index that explanations share: itself, its length, its checksum.
pub(crate) fn encode_index(out: &mut Vec<u8>, index: &ExplainIndex) {
    let text = serde_json::to_vec(index).unwrap_or_default();
    out.extend_from_slice(&text);
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(u64::from(crc32fast::hash(&text)).to_le_bytes());
}

/// Bytes before an explanation: its length and its checksum.
const RECORD_HEAD: usize = 8;

/// Bytes behind the index: its length and its checksum.
const INDEX_TAIL: u64 = 16;

/// What an explanation says of one indicator alone.
pub(crate) struct Explanation<'a> {
    pub(crate) id: &'a str,
    pub(crate) derived_id: bool,
    pub(crate) name: Option<&'a str>,
    pub(crate) pattern: &'a str,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) valid_from: Timestamp,
    /// [`Timestamp::MAX`]: without end.
    pub(crate) valid_until: Timestamp,
}

fn decode(bytes: &[u8], index: &ExplainIndex) -> Result<Details, ParseError> {
    let mut o = Octets::new(bytes);
    let shared = o.u32("shared members")? as usize;
    let flags = o.u8("flags")?;
    let mut time = || o.u64("time").map(Timestamp::from_nanos);
    let (created, modified, valid_from, valid_until) = (time()?, time()?, time()?, time()?);
    let mut text = || -> Result<String, ParseError> {
        let length = o.u32("text length")? as usize;
        Ok(String::from_utf8_lossy(o.take(length, "text")?).into_owned())
    };
    let (id, name, pattern) = (text()?, text()?, text()?);
    let shared = index.shared.get(shared).cloned().unwrap_or_default();
    Ok(Details {
        id,
        derived_id: flags & 1 != 0,
        pattern,
        name: (flags & 2 != 0).then_some(name),
        source: index
            .sources
            .get(shared.source as usize)
            .cloned()
            .unwrap_or_default(),
        confidence: shared.confidence,
        labels: shared.labels,
        markings: shared.markings,
        tlp: shared.tlp,
        created_by: shared.created_by,
        created,
        modified,
        valid_from,
        valid_until: (valid_until != Timestamp::MAX).then_some(valid_until),
        indicates: Vec::new(),
        countermeasures: Vec::new(),
    })
}
