//! Collections of a TAXII server: pulled page by page, and told what was seen.

use crate::config::Exchange;
use crate::config::Kind;
use crate::daemon::exchange::pull::Brought;
use crate::daemon::exchange::pull::LONGEST_PULL;
use crate::daemon::exchange::pull::Options;
use crate::daemon::exchange::pull::PullError;
use crate::daemon::exchange::pull::PullReport;
use crate::daemon::exchange::pull::Pulled;
use crate::daemon::exchange::pull::client;
use crate::daemon::exchange::pull::looks_wrong;
use crate::daemon::exchange::pull::not_due;
use crate::daemon::exchange::pull::note_success;
use crate::daemon::exchange::pull::read;
use crate::daemon::exchange::pull::read_kept;
use crate::daemon::exchange::pull::settle;
use crate::daemon::exchange::share::Saying;
use crate::exchange::taxii;
use crate::exchange::taxii::Collection;
use crate::exchange::taxii::Cursor;
use crate::exchange::taxii::PullLimits;
use crate::exchange::taxii::PushLimits;
use crate::exchange::taxii::TaxiiClient;
use crate::exchange::taxii::TaxiiError;
use crate::exchange::taxii::find;
use crate::store::Due;
use crate::store::Mode;
use crate::store::Outcome;
use crate::store::Segment;
use crate::store::SourceMeta;
use crate::store::SourceStore;
use crate::store::State;
use crate::store::StoreError;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::HashSet;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How often a collection is read anew from its start: what a server deletes goes without a word.
const WHOLE_EVERY: Duration = Duration::from_secs(7 * 86_400);

/// Bytes of pages that are committed together: less costs more syncs, more is pulled again after
/// a kill.
const CHUNK: usize = 8 << 20;

impl From<TaxiiError> for PullError {
    fn from(error: TaxiiError) -> Self {
        Self::Taxii(error)
    }
}

impl From<taxii::PullError<Self>> for PullError {
    fn from(error: taxii::PullError<Self>) -> Self {
        match error {
            taxii::PullError::Store(error) => error,
            taxii::PullError::Taxii(error) => Self::Taxii(error),
        }
    }
}

/// Asks every collection that the configuration names, or all that can be read.
pub(super) fn pull(
    exchange: &Exchange,
    state: &State,
    options: Options,
    now: Timestamp,
    seed: u64,
) -> Result<Vec<PullReport>, StoreError> {
    // under no collection stands how the server itself was reached
    let mut server = state.source(&exchange.name, "")?;
    if let Some(report) = not_due(exchange, &server, options, now) {
        return Ok(vec![report]);
    }
    let report = |collection: &str, outcome, warnings| PullReport {
        exchange: exchange.name.clone(),
        collection: collection.to_owned(),
        outcome,
        warnings,
    };
    let found = collections(exchange, seed);
    let mut warnings = Vec::new();
    // what could not be asked may have any of them
    let knows_all;
    let (client, collections) = match found {
        Ok((client, collections, failed)) => {
            knows_all = failed.is_empty();
            warnings.extend(failed);
            let brought = Ok((Pulled::Unchanged, Vec::new()));
            settle(exchange, &mut server, brought, &mut warnings, now, seed)?;
            (client, collections)
        }
        Err(error) => {
            let outcome = settle(exchange, &mut server, Err(error), &mut warnings, now, seed)?;
            return Ok(vec![report("", outcome, warnings)]);
        }
    };
    // what is not asked for any more, or is gone, matches no more
    let is_asked = |id: &String| id.is_empty() || collections.iter().any(|c| c.id == *id);
    for (name, id) in state.sources()?.names {
        if knows_all && name == exchange.name && !is_asked(&id) {
            state.source(&name, &id)?.forget()?;
            warnings.push(format!(
                "{name}: collection {id} is not read any more: forgotten"
            ));
        }
    }
    let mut reports = Vec::new();
    for collection in collections {
        let mut store = state.source(&exchange.name, &collection.id)?;
        warnings.extend(store.damages().iter().cloned());
        let brought = pull_collection(exchange, &client, &collection, &mut store, options, now);
        let outcome = settle(exchange, &mut store, brought, &mut warnings, now, seed)?;
        let title = if collection.title.is_empty() {
            &collection.id
        } else {
            &collection.title
        };
        reports.push(report(title, outcome, std::mem::take(&mut warnings)));
    }
    Ok(reports)
}

/// A client, the collections to read, and what of the server could not be asked.
fn collections(
    exchange: &Exchange,
    seed: u64,
) -> Result<(TaxiiClient, Vec<Collection>, Vec<String>), PullError> {
    let Kind::Taxii {
        collections,
        sightings,
        ..
    } = &exchange.kind
    else {
        return Err(PullError::Unusable("it is no TAXII server".into()));
    };
    let client = TaxiiClient::new(client(exchange)?, seed);
    let directory = client.directory(&mut wait)?;
    let failed = directory.failed.iter().map(ToString::to_string).collect();
    let there = directory.collections;
    let mut chosen = Vec::new();
    if collections.is_empty() {
        // what we tell is not asked for again
        let is_told = |c: &Collection| {
            sightings.as_deref().is_some_and(|wanted| {
                find(client.url(), &there, wanted).is_ok_and(|found| found.id == c.id)
            })
        };
        chosen.extend(there.iter().filter(|c| c.can_read && !is_told(c)).cloned());
        if chosen.is_empty() {
            return Err(PullError::Unusable(
                "no collection of the server can be read with these credentials".into(),
            ));
        }
    }
    for wanted in collections {
        chosen.push(find(client.url(), &there, wanted)?.clone());
    }
    Ok((client, chosen, failed))
}

fn pull_collection(
    exchange: &Exchange,
    client: &TaxiiClient,
    collection: &Collection,
    store: &mut SourceStore,
    options: Options,
    now: Timestamp,
) -> Brought {
    let kept = store.cursor().and_then(Kept::read);
    let limits = PullLimits {
        bytes: exchange.limits.max_bytes,
        objects: exchange.limits.max_objects,
        ..PullLimits::default()
    };
    // what is added counts with what is there
    let there = store.segments().iter().map(Segment::content);
    let room = PullLimits {
        bytes: limits.bytes.saturating_sub(there.sum()),
        ..limits
    };
    match kept {
        Some(kept) if kept.whole_at.is_none() || !is_over(kept.whole_at, now) => {
            let from = kept.cursor;
            match kept.whole_at {
                // the first reading was broken off: it goes on
                None => pull_first(exchange, client, collection, store, from, &room, now),
                Some(_) => pull_more(
                    exchange, client, collection, store, kept, &room, options, now,
                ),
            }
        }
        None if store.segments().is_empty() => pull_first(
            exchange,
            client,
            collection,
            store,
            Cursor::START,
            &limits,
            now,
        ),
        _ => pull_anew(exchange, client, collection, store, &limits, options, now),
    }
}

fn is_over(whole_at: Option<Timestamp>, now: Timestamp) -> bool {
    // one to come was set by a clock that went wrong
    whole_at.is_none_or(|at| at > now || now.since(at) >= WHOLE_EVERY)
}

/// Reads a collection for the first time: what came counts chunk by chunk, so that a large one
/// gets here however often the way is broken.
fn pull_first(
    exchange: &Exchange,
    client: &TaxiiClient,
    collection: &Collection,
    store: &mut SourceStore,
    from: Cursor,
    limits: &PullLimits,
    now: Timestamp,
) -> Brought {
    let mut pages: Vec<Vec<u8>> = Vec::new();
    let mut held = 0;
    let mut bytes = 0;
    let mut reached = from;
    let begin = Instant::now();
    let pulled = client.pull(
        collection,
        from,
        limits,
        &mut wait,
        &mut |page, count, cursor| {
            if count > 0 {
                held += page.len();
                bytes += page.len() as u64;
                pages.push(page.to_vec());
            }
            reached = cursor.unwrap_or(reached);
            let is_over = begin.elapsed() > LONGEST_PULL;
            if held >= CHUNK || is_over {
                held = 0;
                let kept = Kept {
                    whole_at: None,
                    cursor: reached,
                };
                commit(store, &mut pages, kept, |_| {})?;
            }
            check_time(begin)
        },
    )?;
    let kept = Kept {
        whole_at: Some(now),
        cursor: pulled.cursor,
    };
    commit(store, &mut pages, kept, |meta| note_success(meta, now))?;
    let report = read_kept(exchange, store)?;
    let (indicators, warnings) = (report.indicators, report.warnings);
    store.note(|meta| meta.indicators = indicators)?;
    Ok((Pulled::Taken { bytes, indicators }, warnings))
}

/// Ends a pull that takes too long; what is committed of it stays.
fn check_time(begin: Instant) -> Result<(), PullError> {
    if begin.elapsed() <= LONGEST_PULL {
        return Ok(());
    }
    let minutes = LONGEST_PULL.as_secs() / 60;
    Err(PullError::Unusable(format!(
        "the collection took longer than {minutes} minutes: the next pull goes on"
    )))
}

fn commit(
    store: &mut SourceStore,
    pages: &mut Vec<Vec<u8>>,
    kept: Kept,
    change: impl FnOnce(&mut SourceMeta),
) -> Result<(), StoreError> {
    let mut staging = store.begin(Mode::Append)?;
    for page in pages.drain(..) {
        staging.add(&page)?;
    }
    staging.finish()?.commit(Some(kept.write()), change)
}

/// Reads what was added, and takes it if that looks right.
#[expect(
    clippy::too_many_arguments,
    reason = "all of it decides what is asked and taken"
)]
fn pull_more(
    exchange: &Exchange,
    client: &TaxiiClient,
    collection: &Collection,
    store: &mut SourceStore,
    kept: Kept,
    limits: &PullLimits,
    options: Options,
    now: Timestamp,
) -> Brought {
    let mut staging = store.begin(Mode::Append)?;
    let begin = Instant::now();
    let mut objects = 0;
    let pulled = client.pull(
        collection,
        kept.cursor,
        limits,
        &mut wait,
        &mut |page, count, _| {
            objects += count;
            if count > 0 {
                staging.add(page)?;
            }
            check_time(begin)
        },
    )?;
    let bytes = staging.content();
    let kept = Kept {
        cursor: pulled.cursor,
        ..kept
    };
    let staged = staging.finish()?;
    if objects == 0 {
        staged.commit(Some(kept.write()), |meta| note_success(meta, now))?;
        return Ok((Pulled::Unchanged, Vec::new()));
    }
    let report = read(exchange, &mut staged.documents()?)?;
    let before = staged.meta().indicators;
    // what is added takes nothing away
    let wrong = looks_wrong(&exchange.limits, before, before.max(report.indicators));
    if let Some(why) = wrong.filter(|_| !options.accept) {
        return Ok((Pulled::HeldBack(why), report.warnings));
    }
    staged.commit(Some(kept.write()), |meta| note_success(meta, now))?;
    // some of it may have been there before
    let indicators = read_kept(exchange, store)?.indicators;
    store.note(|meta| meta.indicators = indicators)?;
    Ok((Pulled::Taken { bytes, indicators }, report.warnings))
}

/// Reads a collection from its start, in the place of what is kept.
fn pull_anew(
    exchange: &Exchange,
    client: &TaxiiClient,
    collection: &Collection,
    store: &mut SourceStore,
    limits: &PullLimits,
    options: Options,
    now: Timestamp,
) -> Brought {
    let mut staging = store.begin(Mode::Replace)?;
    let begin = Instant::now();
    let pulled = client.pull(
        collection,
        Cursor::START,
        limits,
        &mut wait,
        &mut |page, count, _| {
            if count > 0 {
                staging.add(page)?;
            }
            check_time(begin)
        },
    )?;
    let bytes = staging.content();
    let staged = staging.finish()?;
    let report = read(exchange, &mut staged.documents()?)?;
    let before = staged.meta().indicators;
    let wrong = looks_wrong(&exchange.limits, before, report.indicators);
    if let Some(why) = wrong.filter(|_| !options.accept) {
        return Ok((Pulled::HeldBack(why), report.warnings));
    }
    let kept = Kept {
        whole_at: Some(now),
        cursor: pulled.cursor,
    };
    let indicators = report.indicators;
    staged.commit(Some(kept.write()), |meta| {
        note_success(meta, now);
        meta.indicators = indicators;
    })?;
    Ok((Pulled::Taken { bytes, indicators }, report.warnings))
}

/// The collection that takes the sightings of an exchange.
pub(super) fn destination(
    exchange: &Exchange,
    seed: u64,
) -> Result<(TaxiiClient, Collection), PullError> {
    let Kind::Taxii {
        sightings: Some(wanted),
        ..
    } = &exchange.kind
    else {
        return Err(PullError::Unusable(
            "it is given no place for sightings (key `sightings`)".into(),
        ));
    };
    let client = TaxiiClient::new(client(exchange)?, seed);
    let directory = client.directory(&mut wait)?;
    let collection = find(client.url(), &directory.collections, wanted)?.clone();
    Ok((client, collection))
}

/// What became of sayings.
pub(super) struct Told {
    /// Of each, in their order; `None`: nobody knows yet.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// Why nobody does.
    pub(super) error: Option<TaxiiError>,
}

/// Hands sayings over, each object once. A saying has arrived when what it says last has: what
/// that refers to and the server will not keep is missing there, but says nothing by itself.
///
/// The definition of our extension stays here: it is the same for everybody, and a server in wide
/// use (medallion 3.0) can give out nothing more of a collection with an object that has a
/// `version`.
pub(super) fn tell(
    client: &TaxiiClient,
    collection: &Collection,
    sayings: &[(Due, Saying)],
) -> Told {
    let mut there: HashSet<&str> = HashSet::new();
    let mut objects: Vec<&Value> = Vec::new();
    for (_, saying) in sayings {
        for object in &saying.objects {
            let is_definition = object
                .get("type")
                .is_some_and(|t| t == "extension-definition");
            if !is_definition && there.insert(id_of(object)) {
                objects.push(object);
            }
        }
    }
    let limits = PushLimits::default();
    let pushed = match client.push(collection, &objects, &limits, &mut wait) {
        Ok(pushed) => pushed,
        Err(error) => {
            return Told {
                outcomes: vec![None; sayings.len()],
                error: Some(error),
            };
        }
    };
    let outcomes: HashMap<&str, &taxii::Outcome> = pushed
        .outcomes
        .iter()
        .map(|(id, outcome)| (id.as_str(), outcome))
        .collect();
    let outcome_of = |(_, saying): &(Due, Saying)| {
        let last = saying.objects.last().map(id_of).unwrap_or_default();
        match outcomes.get(last) {
            Some(taxii::Outcome::Accepted) => Some(Outcome::Accepted),
            Some(taxii::Outcome::Refused { reason }) => Some(Outcome::Refused {
                reason: reason.clone(),
            }),
            Some(taxii::Outcome::Unknown) | None => None,
        }
    };
    Told {
        outcomes: sayings.iter().map(outcome_of).collect(),
        error: pushed.failure,
    }
}

fn id_of(object: &Value) -> &str {
    object.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// What is kept as the cursor of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    /// When it was read from its start to its end; `None`: not yet to the end.
    whole_at: Option<Timestamp>,
    cursor: Cursor,
}

impl Kept {
    /// `None`: it says nothing that can be used, and the collection is read anew.
    fn read(text: &str) -> Option<Self> {
        let (whole_at, cursor) = text.split_once(' ')?;
        let whole_at = match whole_at {
            "-" => None,
            seconds => Some(Timestamp::from_parts(seconds.parse().ok()?, 0)),
        };
        Some(Self {
            whole_at,
            cursor: cursor.parse().ok()?,
        })
    }

    fn write(self) -> String {
        let whole_at = self.whole_at.map_or_else(
            || "-".to_owned(),
            |at| (at.as_nanos() / 1_000_000_000).to_string(),
        );
        format!("{whole_at} {}", self.cursor)
    }
}

/// Waits as long as asked.
fn wait(pause: Duration) -> bool {
    thread::sleep(pause);
    true
}
