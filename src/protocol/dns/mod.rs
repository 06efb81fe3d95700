//! DNS messages over UDP and TCP (RFC 1035), with multicast DNS (RFC 6762) and LLMNR (RFC 4795),
//! which have the same shape.
//!
//! A message is walked once, without allocation, and lazily: a broken tail does not lose the
//! names and addresses before it.

mod name;
mod stream;

pub use stream::DnsStream;

use std::fmt;
use std::net::IpAddr;

use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::Anomaly;
use crate::protocol::Probe;
use crate::protocol::dns::name::NameText;

/// One DNS query or response, names not yet decoded.
#[derive(Clone, Copy, Debug)]
pub struct DnsMessage<'a> {
    bytes: &'a [u8],
    id: u16,
    flags: u16,
    question_count: u16,
    /// Counts of the three sections of records.
    record_counts: [u16; 3],
}

/// The part of a message that a record stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who is responsible.
    Authority,
    /// What may be useful besides.
    Additional,
}

/// Whose name a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRole {
    /// The name that the record is about.
    Owner,
    /// The name that the record leads to.
    Target,
}

/// A name or address in a message.
///
/// Names are in normal form: ASCII letters in lower case, labels joined by dots, no final dot,
/// the root as an empty text. Octets of a label that are no printable ASCII, and dots and
/// backslashes within one, are written `\DDD` in decimal (RFC 4343 section 2.1), so that no two
/// names have the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsItem<'n> {
    /// A question.
    Question {
        /// The name asked for.
        name: &'n str,
        /// The record type asked for.
        record_type: u16,
        /// The class, with the highest bit that multicast DNS uses for its own ends.
        class: u16,
    },
    /// A name in a record; one that the same message compresses to a place already handed
    /// out does not come again, and neither does the root.
    Name {
        /// Where the record stands.
        section: Section,
        /// Whether the record is about this name or leads to it.
        role: NameRole,
        /// The type of the record.
        record_type: u16,
        /// The name in normal form.
        name: &'n str,
        /// Whether this is the name of the first question.
        same_as_question: bool,
    },
    /// An address: of A and AAAA records, and the hints of SVCB and HTTPS ones (RFC 9460
    /// section 7.3).
    Address {
        /// Where the record stands.
        section: Section,
        /// The name that the record is about, in normal form.
        owner: &'n str,
        /// The type of the record.
        record_type: u16,
        /// The address.
        address: IpAddr,
    },
}

impl<'a> DnsMessage<'a> {
    /// Reads the header of a message. The bytes may be cut short anywhere after it.
    ///
    /// Refuses what no DNS software sends: unassigned opcodes (RFC 6895 section 2.2).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let mut input = Octets::new(bytes);
        let id = input.u16("message id")?;
        let flags = input.u16("flags")?;
        if !matches!(opcode_of(flags), 0 | 1 | 2 | 4 | 5 | 6) {
            return Err(ParseError::malformed(2, "opcode"));
        }
        Ok(Self {
            bytes,
            id,
            flags,
            question_count: input.u16("question count")?,
            record_counts: [
                input.u16("answer count")?,
                input.u16("authority count")?,
                input.u16("additional count")?,
            ],
        })
    }

    /// The whole message.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The number that pairs query and response.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Whether this is a response.
    pub const fn is_response(&self) -> bool {
        self.flags & 0x8000 != 0
    }

    /// The kind of query; 0 is the usual one (RFC 6895 section 2.2).
    pub const fn opcode(&self) -> u8 {
        opcode_of(self.flags)
    }

    /// Response code of the header, 0 to 15; 3 says that the name does not exist.
    pub const fn rcode(&self) -> u8 {
        (self.flags & 0x000f) as u8
    }

    /// Whether the sender left out what did not fit.
    pub const fn truncated(&self) -> bool {
        self.flags & 0x0200 != 0
    }

    /// How many records of a section the header claims.
    pub const fn record_count(&self, section: Section) -> u16 {
        let [answers, authorities, additions] = self.record_counts;
        match section {
            Section::Answer => answers,
            Section::Authority => authorities,
            Section::Additional => additions,
        }
    }

    /// Hands the questions, then the names and addresses of the records to `each`, in the order
    /// of the message.
    ///
    /// Returns the first fault. All that stands before it was handed on, and what follows it
    /// too where the fault lies within the data of one record. `dns.truncated` says that the
    /// bytes end before the message does.
    pub fn for_each(
        &self,
        names: &mut NameBuffers,
        each: &mut dyn FnMut(DnsItem<'_>),
    ) -> Option<Anomaly> {
        names.question.clear();
        let mut walk = Walk {
            message: self.bytes,
            names,
            owner_decoded: false,
            owner_at: usize::MAX,
            seen: [usize::MAX; SEEN],
            seen_next: 0,
            fault: None,
        };
        let end = walk.run(self, each).err();
        // servers take no notice of the bit, so a query with it works
        let reserved = (self.flags & RESERVED != 0).then_some(Anomaly("dns.reserved-bit"));
        walk.fault.or(end).or(reserved)
    }

    /// How well the first question, or without one the first record, fits DNS.
    fn probe(&self, whole: bool) -> Probe {
        let records: usize = self.record_counts.iter().copied().map(usize::from).sum();
        let question = self.question_count > 0;
        if self.question_count > QUESTION_LIMIT
            || records > RECORD_LIMIT
            || self.rcode() > LAST_RCODE
            || !self.is_response() && self.rcode() != 0
            // only multicast DNS answers what was not asked in the same message
            || !question && (!self.is_response() || records == 0)
        {
            return Probe::NotForUs;
        }
        let mut input = match name::skip(self.bytes, HEADER) {
            Ok(end) => Octets::new(self.bytes.get(end..).unwrap_or_default()),
            Err(name::CUT) if !whole => return Probe::Unsure,
            Err(_) => return Probe::NotForUs,
        };
        let (Ok(kind), Ok(class)) = (input.u16("type"), input.u16("class")) else {
            return if whole {
                Probe::NotForUs
            } else {
                Probe::Unsure
            };
        };
        let plausible = if question {
            kind != 0 && matches!(class & !UNICAST, 1 | 3 | 4 | 254 | 255)
        } else {
            let is_root = self.bytes.get(HEADER) == Some(&0);
            kind != 0 && class & !UNICAST == INTERNET && !is_root
        };
        let name = self.bytes.get(HEADER..).unwrap_or_default();
        if plausible && !is_netbios(name, kind) {
            Probe::Certain
        } else {
            Probe::NotForUs
        }
    }
}

/// Whether the payload of a UDP datagram is a DNS message, on whatever port. A payload cut short
/// by the capture is still one when its first question is whole.
pub fn probe_datagram(bytes: &[u8]) -> Probe {
    DnsMessage::parse(bytes).map_or(Probe::NotForUs, |message| message.probe(true))
}

/// Where a walk through a message decodes names to: 3 KiB that are made once, not for each message.
pub struct NameBuffers {
    /// The first question's name; empty where there is none.
    question: NameText,
    /// A record's owner, unless it is the question's name.
    owner: NameText,
    /// What a record leads to.
    target: NameText,
}

impl NameBuffers {
    /// Buffers for one message at a time.
    pub const fn new() -> Self {
        Self {
            question: NameText::new(),
            owner: NameText::new(),
            target: NameText::new(),
        }
    }
}

impl Default for NameBuffers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NameBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameBuffers").finish_non_exhaustive()
    }
}

/// The state of one walk through a message.
struct Walk<'a> {
    message: &'a [u8],
    names: &'a mut NameBuffers,
    /// Whether the owner's buffer holds a name of this message.
    owner_decoded: bool,
    /// The place that `owner` was decoded from.
    owner_at: usize,
    /// Places of names that were handed out lately.
    seen: [usize; SEEN],
    seen_next: usize,
    /// The first fault within a record's data.
    fault: Option<Anomaly>,
}

/// A record without its owner.
struct Record {
    section: Section,
    kind: u16,
    class: u16,
    /// Where the data begin and end; the end may lie beyond the message.
    start: usize,
    end: usize,
}

type Each<'e> = dyn FnMut(DnsItem<'_>) + 'e;

impl Walk<'_> {
    fn run(&mut self, header: &DnsMessage<'_>, each: &mut Each<'_>) -> Result<(), Anomaly> {
        let mut at = HEADER;
        for index in 0..header.question_count {
            if index == QUESTION_LIMIT {
                return Err(Anomaly("dns.question-count"));
            }
            let buffer = if index == 0 {
                &mut self.names.question
            } else {
                self.owner_decoded = true;
                &mut self.names.owner
            };
            let end = buffer.decode(self.message, at)?;
            let mut input = Octets::new(self.message.get(end..).unwrap_or_default());
            let (Ok(record_type), Ok(class)) = (input.u16("type"), input.u16("class")) else {
                return Err(name::CUT);
            };
            each(DnsItem::Question {
                name: buffer.as_str(),
                record_type,
                class,
            });
            at = end + input.offset();
        }
        let asked = header.question_count > 0;
        let mut count = 0;
        for section in [Section::Answer, Section::Authority, Section::Additional] {
            for _ in 0..header.record_count(section) {
                if count == RECORD_LIMIT {
                    return Err(Anomaly("dns.record-count"));
                }
                count += 1;
                at = self.read_record(section, at, asked, each)?;
            }
        }
        Ok(())
    }

    /// Reads the record at `at` and returns the place after it.
    fn read_record(
        &mut self,
        section: Section,
        at: usize,
        asked: bool,
        each: &mut Each<'_>,
    ) -> Result<usize, Anomaly> {
        let place = name::place(self.message, at);
        let owner_is_question = asked && place == HEADER;
        let end = if owner_is_question {
            at + 2
        } else if place == self.owner_at && place != at {
            // the owner of the record before, compressed to one pointer
            at + 2
        } else {
            self.owner_at = place;
            self.owner_decoded = true;
            self.names.owner.decode(self.message, at)?
        };
        let mut input = Octets::new(self.message.get(end..).unwrap_or_default());
        let (Ok(kind), Ok(class), Ok(_ttl), Ok(length)) = (
            input.u16("type"),
            input.u16("class"),
            input.u32("time to live"),
            input.u16("data length"),
        ) else {
            return Err(name::CUT);
        };
        let start = end + input.offset();
        let record = Record {
            section,
            kind,
            class: class & !UNICAST,
            start,
            end: start + usize::from(length),
        };
        if !matches!(kind, kind::OPT | kind::TSIG) {
            let seen = self.remember(place);
            let name = self.owner_text(owner_is_question);
            if !seen && !name.is_empty() {
                each(DnsItem::Name {
                    section,
                    role: NameRole::Owner,
                    record_type: kind,
                    name,
                    same_as_question: owner_is_question
                        || asked && name == self.names.question.as_str(),
                });
            }
            if let Err(fault) = self.read_data(&record, asked, owner_is_question, each) {
                self.fault.get_or_insert(fault);
            }
        }
        if record.end > self.message.len() {
            return Err(name::CUT);
        }
        Ok(record.end)
    }

    fn read_data(
        &mut self,
        record: &Record,
        asked: bool,
        owner_is_question: bool,
        each: &mut Each<'_>,
    ) -> Result<(), Anomaly> {
        let limit = record.end.min(self.message.len());
        let data = self.message.get(record.start..limit).unwrap_or_default();
        let target = match record.kind {
            kind::A | kind::AAAA if record.class != INTERNET || record.start == record.end => {
                return Ok(());
            }
            kind::A | kind::AAAA => {
                let whole = limit == record.end;
                let address = match record.kind {
                    kind::A => <[u8; 4]>::try_from(data).map(IpAddr::from),
                    _ => <[u8; 16]>::try_from(data).map(IpAddr::from),
                };
                return match address {
                    Ok(address) => {
                        self.hand_on_address(record, owner_is_question, address, each);
                        Ok(())
                    }
                    Err(_) if whole => Err(DATA),
                    Err(_) => Err(name::CUT),
                };
            }
            kind::NS | kind::CNAME | kind::SOA | kind::PTR | kind::DNAME => record.start,
            kind::MX | kind::SVCB | kind::HTTPS => record.start + 2,
            kind::SRV => record.start + 6,
            _ => return Ok(()),
        };
        // an update deletes by records without data (RFC 2136 section 2.5)
        if record.start == record.end {
            return Ok(());
        }
        let place = name::place(self.message, target);
        let buffer = &mut self.names.target;
        let readable = self.message.get(..limit).unwrap_or_default();
        let end = match buffer.decode(readable, target) {
            Err(name::CUT) if limit == record.end => return Err(DATA),
            decoded => decoded?,
        };
        let name = buffer.as_str();
        let same_as_question = asked && name == self.names.question.as_str();
        let known = name.is_empty() || self.seen.contains(&place);
        if !known {
            each(DnsItem::Name {
                section: record.section,
                role: NameRole::Target,
                record_type: record.kind,
                name,
                same_as_question,
            });
        }
        self.remember(place);
        if matches!(record.kind, kind::SVCB | kind::HTTPS) {
            let parameters = self.message.get(end..limit).unwrap_or_default();
            self.read_parameters(record, owner_is_question, parameters, each)?;
        }
        Ok(())
    }

    /// The address hints of an SVCB record (RFC 9460 section 2.2).
    fn read_parameters(
        &self,
        record: &Record,
        owner_is_question: bool,
        parameters: &[u8],
        each: &mut Each<'_>,
    ) -> Result<(), Anomaly> {
        let mut input = Octets::new(parameters);
        while !input.is_empty() {
            let (Ok(key), Ok(length)) = (input.u16("key"), input.u16("length")) else {
                return Err(DATA);
            };
            let Ok(value) = input.take(usize::from(length), "value") else {
                return Err(DATA);
            };
            match key {
                IPV4_HINT => {
                    for octets in value.as_chunks::<4>().0 {
                        self.hand_on_address(record, owner_is_question, (*octets).into(), each);
                    }
                }
                IPV6_HINT => {
                    for octets in value.as_chunks::<16>().0 {
                        self.hand_on_address(record, owner_is_question, (*octets).into(), each);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn hand_on_address(
        &self,
        record: &Record,
        owner_is_question: bool,
        address: IpAddr,
        each: &mut Each<'_>,
    ) {
        each(DnsItem::Address {
            section: record.section,
            owner: self.owner_text(owner_is_question),
            record_type: record.kind,
            address,
        });
    }

    /// The owner of the current record.
    fn owner_text(&self, owner_is_question: bool) -> &str {
        if self.owner_decoded && !owner_is_question {
            self.names.owner.as_str()
        } else {
            self.names.question.as_str()
        }
    }

    /// Notes a place as handed out; whether it was one already.
    fn remember(&mut self, place: usize) -> bool {
        if self.seen.contains(&place) {
            return true;
        }
        if let Some(slot) = self.seen.get_mut(self.seen_next) {
            *slot = place;
        }
        self.seen_next = (self.seen_next + 1) % SEEN;
        false
    }
}

const fn opcode_of(flags: u16) -> u8 {
    (flags >> 11 & 0x0f) as u8
}

/// Whether this is NetBIOS name service, which borrows the shape (RFC 1002 section 4.2): half
/// octets written as letters from A to P, and types of its own.
fn is_netbios(name: &[u8], kind: u16) -> bool {
    matches!(kind, 0x20 | 0x21)
        && matches!(name, [32, label @ ..] if label.get(..32).is_some_and(|label| {
            label.iter().all(|byte| (b'a'..=b'p').contains(&byte.to_ascii_lowercase()))
        }))
}

/// Record types (IANA "Domain Name System Parameters").
mod kind {
    pub(super) const A: u16 = 1;
    pub(super) const NS: u16 = 2;
    pub(super) const CNAME: u16 = 5;
    pub(super) const SOA: u16 = 6;
    pub(super) const PTR: u16 = 12;
    pub(super) const MX: u16 = 15;
    pub(super) const AAAA: u16 = 28;
    pub(super) const SRV: u16 = 33;
    pub(super) const DNAME: u16 = 39;
    pub(super) const OPT: u16 = 41;
    pub(super) const SVCB: u16 = 64;
    pub(super) const HTTPS: u16 = 65;
    pub(super) const TSIG: u16 = 250;
}

/// Parameters of SVCB records (RFC 9460 section 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;

/// Length of the header, and so the place of the first question.
const HEADER: usize = 12;

/// The header bit that must be zero (RFC 6895 section 2).
const RESERVED: u16 = 0x0040;

/// The class of the Internet.
const INTERNET: u16 = 1;

/// The bit of a class that multicast DNS uses to wish for a unicast answer or to flush a cache
/// (RFC 6762 sections 5.4 and 10.2).
const UNICAST: u16 = 0x8000;

/// Highest response code that fits into the header and is assigned (RFC 8490).
const LAST_RCODE: u8 = 11;

/// Most questions in a message: queries have one (RFC 9619), multicast DNS asks for many in one
/// datagram, and 64 is more than fit there with names of usual length.
const QUESTION_LIMIT: u16 = 64;

/// Most records in a message: 64 KiB hold that many records of an address under a compressed
/// name, which is what large zone transfers send.
const RECORD_LIMIT: usize = 4096;

/// How many places of names are remembered: answers go through few names, each used often.
const SEEN: usize = 8;

/// Data that contradict the type of their record.
const DATA: Anomaly = Anomaly("dns.record-data");

#[cfg(test)]
mod tests;
