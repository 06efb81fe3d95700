//! What is to be told to exchanges, until they have said that they have it.
//!
//! A parcel is put once, by its id and exchange; it waits, is tried, and is settled. All of this
//! is in a journal, so that nothing is told twice after it was settled, and nothing that waits is
//! forgotten. What is settled is remembered by its key alone, for as long as the same parcel could
//! be made again.

use super::StoreError;
use super::journal::Journal;
use super::journal::Place;
use crate::time::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

/// Parcels that may wait: at one a minute and indicator, weeks of a quarrel with an exchange.
pub const MAX_PENDING: usize = 200_000;

/// The longest that a parcel is put off: one an hour is no burden to an exchange.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// Their bytes: a sighting with fifty observations has some 50 KB, most have a tenth.
pub const MAX_PENDING_BYTES: u64 = 2 << 30;

/// How long what is settled is remembered: longer than any capture is replayed again by mistake.
const REMEMBERED: Duration = Duration::from_secs(400 * 86_400);

/// Bytes of a journal that are not worth rewriting it.
const SMALL: u64 = 4 << 20;

/// Something to be told to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The same for the same content, whenever it is made.
    pub id: String,
    /// To whom.
    pub exchange: String,
    /// When it was put.
    pub queued: Timestamp,
    /// The content, in the words of who puts it; at most 16 MiB with its names.
    pub body: Vec<u8>,
}

/// Whether a parcel was new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It waits from now on.
    New,
    /// It waits already, or was settled.
    Known,
}

/// How a parcel ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The exchange has it.
    Accepted,
    /// The exchange will never take it.
    Refused {
        /// Its words.
        reason: String,
    },
    /// It is not to be told any more.
    Withdrawn,
}

/// A parcel that can be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The parcel.
    pub parcel: Parcel,
    /// How often it was tried before.
    pub attempts: u32,
    /// What went wrong last; `None`: nothing yet.
    pub last_error: Option<String>,
}

/// How a parcel stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// To whom it goes.
    pub exchange: &'a str,
    /// Its id.
    pub id: &'a str,
    /// When it was put, or settled.
    pub at: Timestamp,
    /// How it ended; `None`: it waits.
    pub outcome: Option<&'a Outcome>,
    /// The content of one that waits; of others nothing is kept.
    pub body: &'a [u8],
}

/// Parcels of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They wait.
    pub pending: u64,
    /// The exchange has them.
    pub accepted: u64,
    /// The exchange will not take them.
    pub refused: u64,
    /// They were taken back.
    pub withdrawn: u64,
    /// When the one that waits longest was put; `None`: none waits.
    pub oldest: Option<Timestamp>,
}

/// The journal and what it comes to.
#[derive(Debug)]
pub struct Outbox {
    journal: Journal,
    entries: BTreeMap<Key, Entry>,
    pending: usize,
    pending_bytes: u64,
    damage: Option<String>,
}

/// Exchange and id.
type Key = (String, String);

#[derive(Clone, Debug)]
enum Entry {
    Pending {
        queued: Timestamp,
        place: Place,
        /// Bytes of the record that put it.
        bytes: u64,
        attempts: u32,
        next_due: Timestamp,
        last_error: Option<String>,
    },
    Settled {
        at: Timestamp,
        outcome: Outcome,
    },
}

/// What a record says. The body of a parcel follows the first line.
#[derive(Debug, Serialize, Deserialize)]
enum Line {
    Put {
        exchange: String,
        id: String,
        queued: Timestamp,
    },
    Attempted {
        exchange: String,
        id: String,
        attempts: u32,
        next_due: Timestamp,
        error: String,
    },
    Settled {
        exchange: String,
        id: String,
        at: Timestamp,
        outcome: Outcome,
    },
}

impl Outbox {
    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, StoreError> {
        let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
        let (journal, damage) = Journal::open(path, writable, &mut |place, record| {
            if let Some(line) = read_line(record) {
                apply(&mut entries, line, place, record.len() as u64);
            }
        })?;
        let mut outbox = Self {
            journal,
            entries,
            pending: 0,
            pending_bytes: 0,
            damage,
        };
        for entry in outbox.entries.values() {
            if let Entry::Pending { bytes, .. } = entry {
                outbox.pending += 1;
                outbox.pending_bytes += bytes;
            }
        }
        Ok(outbox)
    }

    /// What was damaged, for people; `None`: nothing.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Puts a parcel. It survives the end of the process at once.
    ///
    /// # Errors
    /// When there is no room, or the system says no.
    pub fn put(&mut self, parcel: &Parcel) -> Result<Put, StoreError> {
        let key = (parcel.exchange.clone(), parcel.id.clone());
        if self.entries.contains_key(&key) {
            return Ok(Put::Known);
        }
        let bytes = parcel.body.len() as u64;
        if self.pending >= MAX_PENDING || self.pending_bytes + bytes > MAX_PENDING_BYTES {
            return Err(StoreError::Full {
                parcels: self.pending,
                bytes: self.pending_bytes,
            });
        }
        let line = Line::Put {
            exchange: parcel.exchange.clone(),
            id: parcel.id.clone(),
            queued: parcel.queued,
        };
        let record = write_line(&line, &parcel.body);
        let place = self.journal.append(&record)?;
        self.pending += 1;
        self.pending_bytes += record.len() as u64;
        apply(&mut self.entries, line, place, record.len() as u64);
        Ok(Put::New)
    }

    /// Parcels of an exchange that can be tried, the one that waits longest first, at most so many;
    /// those in `tried` are passed over.
    ///
    /// # Errors
    /// When a body cannot be read.
    pub fn due(
        &self,
        exchange: &str,
        now: Timestamp,
        most: usize,
        tried: &HashSet<String>,
    ) -> Result<Vec<Due>, StoreError> {
        // one that is further off was put off by a clock that went wrong
        let furthest = now + LONGEST_PAUSE;
        let mut waiting: Vec<(Timestamp, &str)> = self
            .of(exchange)
            .filter_map(|(id, entry)| match entry {
                Entry::Pending {
                    queued, next_due, ..
                } if (*next_due <= now || *next_due > furthest) && !tried.contains(id) => {
                    Some((*queued, id))
                }
                _ => None,
            })
            .collect();
        waiting.sort_unstable();
        waiting.truncate(most);
        let mut due = Vec::with_capacity(waiting.len());
        for (queued, id) in waiting {
            if let Some(Entry::Pending {
                place,
                attempts,
                last_error,
                ..
            }) = self.entries.get(&(exchange.to_owned(), id.to_owned()))
            {
                let record = self.journal.read(*place)?;
                due.push(Due {
                    parcel: Parcel {
                        id: id.to_owned(),
                        exchange: exchange.to_owned(),
                        queued,
                        body: body_of(&record).to_vec(),
                    },
                    attempts: *attempts,
                    last_error: last_error.clone(),
                });
            }
        }
        Ok(due)
    }

    /// An attempt failed; the next is not due before then.
    ///
    /// # Errors
    /// When the system says no.
    pub fn attempted(
        &mut self,
        exchange: &str,
        id: &str,
        next_due: Timestamp,
        error: &str,
    ) -> Result<(), StoreError> {
        let key = (exchange.to_owned(), id.to_owned());
        let Some(Entry::Pending { attempts, .. }) = self.entries.get(&key) else {
            return Ok(());
        };
        self.record(Line::Attempted {
            exchange: exchange.to_owned(),
            id: id.to_owned(),
            attempts: attempts.saturating_add(1),
            next_due,
            error: error.to_owned(),
        })
    }

    /// A parcel has ended. Of one that is settled the first end stands.
    ///
    /// # Errors
    /// When the system says no.
    pub fn settle(
        &mut self,
        exchange: &str,
        id: &str,
        outcome: Outcome,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let key = (exchange.to_owned(), id.to_owned());
        let Some(Entry::Pending { bytes, .. }) = self.entries.get(&key) else {
            return Ok(());
        };
        let bytes = *bytes;
        self.record(Line::Settled {
            exchange: exchange.to_owned(),
            id: id.to_owned(),
            at,
            outcome,
        })?;
        self.pending -= 1;
        self.pending_bytes -= bytes;
        Ok(())
    }

    /// Makes everything durable, and the journal small where most of it is settled.
    ///
    /// # Errors
    /// When the system says no.
    pub fn sync(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let length = self.journal.length();
        if self.journal.is_writable() && length > SMALL && self.pending_bytes < length / 4 {
            self.compact(now)?;
        }
        self.journal.sync()
    }

    /// By exchange, in order of their names, how its parcels stand.
    pub fn counts(&self) -> BTreeMap<&str, Counts> {
        let mut counts: BTreeMap<&str, Counts> = BTreeMap::new();
        for ((exchange, _), entry) in &self.entries {
            let counts = counts.entry(exchange).or_default();
            match entry {
                Entry::Pending { queued, .. } => {
                    counts.pending += 1;
                    let oldest = counts.oldest.unwrap_or(*queued).min(*queued);
                    counts.oldest = Some(oldest);
                }
                Entry::Settled { outcome, .. } => match outcome {
                    Outcome::Accepted => counts.accepted += 1,
                    Outcome::Refused { .. } => counts.refused += 1,
                    Outcome::Withdrawn => counts.withdrawn += 1,
                },
            }
        }
        counts
    }

    /// How a parcel stands: `None`: it is not known; inside, `None`: it waits.
    pub fn outcome(&self, exchange: &str, id: &str) -> Option<Option<&Outcome>> {
        match self.entries.get(&(exchange.to_owned(), id.to_owned()))? {
            Entry::Pending { .. } => Some(None),
            Entry::Settled { outcome, .. } => Some(Some(outcome)),
        }
    }

    /// Every parcel, in order of exchange and id.
    ///
    /// # Errors
    /// When a body cannot be read.
    pub fn each(&self, take: &mut dyn FnMut(Standing<'_>)) -> Result<(), StoreError> {
        for ((exchange, id), entry) in &self.entries {
            let record;
            let (at, outcome, body) = match entry {
                Entry::Pending { queued, place, .. } => {
                    record = self.journal.read(*place)?;
                    (*queued, None, body_of(&record))
                }
                Entry::Settled { at, outcome } => (*at, Some(outcome), &b""[..]),
            };
            take(Standing {
                exchange,
                id,
                at,
                outcome,
                body,
            });
        }
        Ok(())
    }

    fn of<'a>(&'a self, exchange: &'a str) -> impl Iterator<Item = (&'a str, &'a Entry)> {
        self.entries
            .range((exchange.to_owned(), String::new())..)
            .take_while(move |((of, _), _)| of == exchange)
            .map(|((_, id), entry)| (id.as_str(), entry))
    }

    fn record(&mut self, line: Line) -> Result<(), StoreError> {
        let record = write_line(&line, b"");
        let place = self.journal.append(&record)?;
        apply(&mut self.entries, line, place, record.len() as u64);
        Ok(())
    }

    /// Writes the journal anew, with what still counts.
    fn compact(&mut self, now: Timestamp) -> Result<(), StoreError> {
        self.entries.retain(|_, entry| match entry {
            Entry::Pending { .. } => true,
            Entry::Settled { at, .. } => now.since(*at) < REMEMBERED,
        });
        let mut records = Vec::new();
        for ((exchange, id), entry) in &self.entries {
            match entry {
                Entry::Pending {
                    place,
                    attempts,
                    next_due,
                    last_error,
                    ..
                } => {
                    records.push(self.journal.read(*place)?);
                    if *attempts > 0 {
                        let line = Line::Attempted {
                            exchange: exchange.clone(),
                            id: id.clone(),
                            attempts: *attempts,
                            next_due: *next_due,
                            error: last_error.clone().unwrap_or_default(),
                        };
                        records.push(write_line(&line, b""));
                    }
                }
                Entry::Settled { at, outcome } => {
                    let line = Line::Settled {
                        exchange: exchange.clone(),
                        id: id.clone(),
                        at: *at,
                        outcome: outcome.clone(),
                    };
                    records.push(write_line(&line, b""));
                }
            }
        }
        let places = self.journal.rewrite(&records)?;
        let mut entries = BTreeMap::new();
        for (record, place) in records.iter().zip(places) {
            if let Some(line) = read_line(record) {
                apply(&mut entries, line, place, record.len() as u64);
            }
        }
        self.entries = entries;
        Ok(())
    }
}

fn apply(entries: &mut BTreeMap<Key, Entry>, line: Line, at_place: Place, record_bytes: u64) {
    match line {
        Line::Put {
            exchange,
            id,
            queued,
        } => {
            entries.entry((exchange, id)).or_insert(Entry::Pending {
                queued,
                place: at_place,
                bytes: record_bytes,
                attempts: 0,
                next_due: Timestamp::MIN,
                last_error: None,
            });
        }
        Line::Attempted {
            exchange,
            id,
            attempts: count,
            next_due: due,
            error,
        } => {
            if let Some(Entry::Pending {
                attempts,
                next_due,
                last_error,
                ..
            }) = entries.get_mut(&(exchange, id))
            {
                *attempts = count;
                *next_due = due;
                *last_error = Some(error);
            }
        }
        Line::Settled {
            exchange,
            id,
            at,
            outcome,
        } => {
            let entry = entries.entry((exchange, id));
            let settled = Entry::Settled { at, outcome };
            entry
                .and_modify(|entry| {
                    if matches!(entry, Entry::Pending { .. }) {
                        *entry = settled.clone();
                    }
                })
                .or_insert(settled);
        }
    }
}

fn write_line(line: &Line, body: &[u8]) -> Vec<u8> {
    // keys of JSON objects are strings here, so that this does not fail
    let mut record = serde_json::to_vec(line).unwrap_or_default();
    record.push(b'\n');
    record.extend_from_slice(body);
    record
}

/// `None`: of a kind that is not known.
fn read_line(record: &[u8]) -> Option<Line> {
    let line = record.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line).ok()
}

fn body_of(record: &[u8]) -> &[u8] {
    let start = record.iter().position(|byte| *byte == b'\n');
    record
        .get(start.map_or(record.len(), |start| start + 1)..)
        .unwrap_or_default()
}
