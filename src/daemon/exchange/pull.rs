//! Asking the exchanges what is new, and keeping it.
//!
//! What an exchange gives counts only once it has been read and looks like what it gave before:
//! one that fails, is suddenly empty or suddenly huge leaves the last good set as it is, and why
//! is kept beside it.

use crate::config::Credentials;
use crate::config::Exchange;
use crate::config::Kind;
use crate::config::Limits;
use crate::config::MispQuery;
use crate::exchange;
use crate::exchange::http::Client;
use crate::exchange::http::ClientCertificate;
use crate::exchange::http::ClientOptions;
use crate::exchange::http::Credentials as Presented;
use crate::exchange::http::Fetched;
use crate::exchange::http::HttpError;
use crate::exchange::http::LONGEST_RETRY_AFTER;
use crate::exchange::http::Url;
use crate::exchange::http::Validators;
use crate::exchange::http::backoff;
use crate::exchange::load_reader;
use crate::exchange::misp_server::FeedEvent;
use crate::exchange::misp_server::MispFeed;
use crate::exchange::misp_server::MispServer;
use crate::exchange::misp_server::Search;
use crate::exchange::misp_server::version_of_event;
use crate::exchange::shorten;
use crate::exchange::source_files;
use crate::exchange::taxii::TaxiiError;
use crate::indicator::Refused;
use crate::matcher::build::SetBuilder;
use crate::matcher::object::hex;
use crate::store::Documents;
use crate::store::Mode;
use crate::store::SourceMeta;
use crate::store::SourceStore;
use crate::store::State;
use crate::store::StoreError;
use crate::time::Timestamp;
use sha2::Digest;
use sha2::Sha256;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// After that everything is asked for once more: what was withdrawn without a word goes then.
const WHOLE_SEARCH_EVERY: Duration = Duration::from_secs(86_400);

/// How long one request may take: a gigabyte at 30 Mbit/s. Others wait for a server that dawdles.
const LONGEST_REQUEST: Duration = Duration::from_secs(5 * 60);

/// Characters of the reason of a failure that are kept: an exchange chooses the words of some.
const LONGEST_REASON: usize = 1_000;

/// How long a collection may be read in one go, however many pages it has: the other exchanges
/// wait as long at most.
pub(super) const LONGEST_PULL: Duration = Duration::from_secs(15 * 60);

/// Clocks differ, and what is published takes a while to be found.
const OVERLAP: Duration = Duration::from_secs(10 * 60);

/// How an exchange is asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Take what looks wrong.
    pub accept: bool,
    /// Only what is due.
    pub due_only: bool,
}

/// What came of asking for one collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullReport {
    /// The exchange.
    pub exchange: String,
    /// The collection; empty where it has none, or none was reached.
    pub collection: String,
    /// What came of it.
    pub outcome: Pulled,
    /// What was odd about what it gave, for people.
    pub warnings: Vec<String>,
}

/// How a pull ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pulled {
    /// It is not due before then.
    NotDue(Timestamp),
    /// Nothing has changed.
    Unchanged,
    /// It is kept.
    Taken {
        /// Bytes that came.
        bytes: u64,
        /// Indicators that the whole of it has that can match.
        indicators: u64,
    },
    /// It does not look right: what was there before stays.
    HeldBack(String),
    /// It could not be had: what was there before stays.
    Failed(String),
}

/// Why nothing came.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Taxii(TaxiiError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Unusable(String),
}

impl PullError {
    /// How long the exchange asks to be left alone; `None`: it does not say.
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http(error) => error.retry_after(),
            Self::Taxii(error) => error.http().and_then(HttpError::retry_after),
            _ => None,
        }
    }
}

/// Asks one exchange for everything that it gives. `now` is the time of the clock, and `seed`
/// spreads the next attempts of many sensors.
///
/// # Errors
/// When the state folder cannot be read or written; what the exchange does is in the reports.
pub fn pull(
    exchange: &Exchange,
    state: &State,
    options: Options,
    now: Timestamp,
    seed: u64,
) -> Result<Vec<PullReport>, StoreError> {
    let mut store = state.source(&exchange.name, "")?;
    if let Some(report) = not_due(exchange, &store, options, now) {
        return Ok(vec![report]);
    }
    let mut warnings = store.damages().to_vec();
    let pulled = match &exchange.kind {
        Kind::Folder { path } => pull_folder(exchange, path, &mut store, options, now),
        Kind::Url { .. } => pull_url(exchange, &mut store, options, now),
        Kind::MispFeed { .. } => pull_feed(exchange, &mut store, options, now),
        Kind::Misp { query, .. } => pull_misp(exchange, query, &mut store, options, now),
        Kind::Taxii { .. } => return super::taxii::pull(exchange, state, options, now, seed),
    };
    let outcome = settle(exchange, &mut store, pulled, &mut warnings, now, seed)?;
    Ok(vec![PullReport {
        exchange: exchange.name.clone(),
        collection: String::new(),
        outcome,
        warnings,
    }])
}

/// What is said of an exchange that is not due; `None`: it is.
pub(super) fn not_due(
    exchange: &Exchange,
    store: &SourceStore,
    options: Options,
    now: Timestamp,
) -> Option<PullReport> {
    // one that is further off than any pause was set by a clock that went wrong
    let furthest = now + exchange.interval.max(LONGEST_RETRY_AFTER);
    let due = store
        .meta()
        .next_due
        .filter(|due| *due > now && *due <= furthest);
    due.filter(|_| options.due_only).map(|due| PullReport {
        exchange: exchange.name.clone(),
        collection: String::new(),
        outcome: Pulled::NotDue(due),
        warnings: Vec::new(),
    })
}

/// What a pull brought: how it ended, and what was odd.
pub(super) type Brought = Result<(Pulled, Vec<String>), PullError>;

/// Keeps beside the set how the pull ended and when the next is due.
pub(super) fn settle(
    exchange: &Exchange,
    store: &mut SourceStore,
    brought: Brought,
    warnings: &mut Vec<String>,
    now: Timestamp,
    seed: u64,
) -> Result<Pulled, StoreError> {
    match brought {
        Ok((pulled, more)) => {
            warnings.extend(more);
            store.note(|meta| {
                meta.next_due = Some(now + exchange.interval);
                match &pulled {
                    Pulled::HeldBack(why) => meta.held_back = Some(why.clone()),
                    Pulled::Unchanged => {
                        meta.fetched_at = Some(now);
                        clear_failures(meta);
                    }
                    _ => {}
                }
            })?;
            Ok(pulled)
        }
        Err(PullError::Store(error)) => Err(error),
        Err(error) => {
            let why = shorten(&error.to_string(), LONGEST_REASON);
            store.note(|meta| {
                meta.failures = meta.failures.saturating_add(1);
                meta.failed_at = Some(now);
                meta.last_error = Some(why.clone());
                let pause = backoff(meta.failures, seed);
                let asked = error.retry_after().unwrap_or_default();
                // no sooner than asked, no later than usual
                meta.next_due = Some(now + pause.min(exchange.interval).max(asked));
            })?;
            Ok(Pulled::Failed(why))
        }
    }
}

/// The exchange was asked, and everything is well.
pub(super) fn note_success(meta: &mut SourceMeta, now: Timestamp) {
    meta.fetched_at = Some(now);
    meta.held_back = None;
    clear_failures(meta);
}

fn clear_failures(meta: &mut SourceMeta) {
    meta.failures = 0;
    meta.failed_at = None;
    meta.last_error = None;
}

/// A client for the exchange, which presents itself as the configuration says.
pub(super) fn client(exchange: &Exchange) -> Result<Client, PullError> {
    let unusable = |what: &dyn std::fmt::Display| PullError::Unusable(what.to_string());
    let Some(url) = exchange.kind.url() else {
        return Err(unusable(&"it is on this host"));
    };
    let url = Url::parse(url.as_str()).map_err(|e| unusable(&e))?;
    let secret = match exchange.credentials.secret() {
        Some(source) => source
            .read()
            .map_err(|e| unusable(&e))?
            .secret
            .expose()
            .to_owned(),
        None => String::new(),
    };
    let mut options = ClientOptions::new(url);
    options.credentials = match &exchange.credentials {
        Credentials::None => Presented::None,
        Credentials::Basic { username, .. } => Presented::Basic {
            username: username.clone(),
            password: secret,
        },
        Credentials::Bearer { .. } => Presented::Bearer(secret),
        Credentials::Key { .. } => Presented::Key(secret),
    };
    options.certificate = exchange.tls.client.as_ref().map(|files| ClientCertificate {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
    });
    options.ca.clone_from(&exchange.tls.ca);
    options.allow_clear = exchange.allow_clear;
    options.overall_timeout = LONGEST_REQUEST;
    Ok(Client::new(&options)?)
}

/// Puts documents in the place of what was there, if they look right.
fn take_whole(
    exchange: &Exchange,
    store: &mut SourceStore,
    cursor: Option<String>,
    options: Options,
    change: impl FnOnce(&mut SourceMeta),
    now: Timestamp,
    bring: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), StoreError>) -> Result<(), PullError>,
) -> Brought {
    let mut staging = store.begin(Mode::Replace)?;
    bring(&mut |document| staging.add(document))?;
    let bytes = staging.content();
    let staged = staging.finish()?;
    let read = read(exchange, &mut staged.documents()?)?;
    if read.documents == read.broken && read.documents > 0 {
        return Err(PullError::Unusable(read.warnings.join("; ")));
    }
    let most = exchange.limits.max_objects;
    if read.objects > most {
        let what = format!(
            "{} indicators, more than limits.max_objects = {most}",
            read.objects
        );
        return Err(PullError::Unusable(what));
    }
    let before = staged.meta().indicators;
    let wrong = looks_wrong(&exchange.limits, before, read.indicators);
    if let Some(why) = wrong.filter(|_| !options.accept) {
        return Ok((Pulled::HeldBack(why), read.warnings));
    }
    staged.commit(cursor, |meta| {
        note_success(meta, now);
        meta.indicators = read.indicators;
        change(meta);
    })?;
    let taken = Pulled::Taken {
        bytes,
        indicators: read.indicators,
    };
    Ok((taken, read.warnings))
}

/// What documents hold.
pub(super) struct ReadReport {
    documents: u64,
    /// Documents that cannot be read at all.
    broken: u64,
    /// Indicators, whatever became of them.
    pub(super) objects: u64,
    /// Indicators that can match.
    pub(super) indicators: u64,
    pub(super) warnings: Vec<String>,
}

/// Reads documents as the set will, to know what they hold.
pub(super) fn read(
    exchange: &Exchange,
    documents: &mut Documents,
) -> Result<ReadReport, PullError> {
    let mut reading = Reading::new(exchange);
    reading.take(documents)?;
    reading.finish()
}

/// Reads everything that is kept of a collection, likewise.
pub(super) fn read_kept(exchange: &Exchange, store: &SourceStore) -> Result<ReadReport, PullError> {
    let mut reading = Reading::new(exchange);
    for segment in store.segments() {
        reading.take(&mut store.documents(segment)?)?;
    }
    reading.finish()
}

/// Documents that are being read.
struct Reading<'a> {
    exchange: &'a Exchange,
    builder: SetBuilder,
    report: ReadReport,
    refused: usize,
    /// The first object that was refused.
    first: Option<Refused>,
}

impl<'a> Reading<'a> {
    fn new(exchange: &'a Exchange) -> Self {
        Self {
            exchange,
            builder: SetBuilder::new(),
            report: ReadReport {
                documents: 0,
                broken: 0,
                objects: 0,
                indicators: 0,
                warnings: Vec::new(),
            },
            refused: 0,
            first: None,
        }
    }

    fn take(&mut self, documents: &mut Documents) -> Result<(), PullError> {
        let unusable = |e: io::Error| PullError::Unusable(format!("what was stored: {e}"));
        while let Some((mut document, _)) = documents.next_document().map_err(unusable)? {
            let loaded = load_reader(
                &self.exchange.name,
                &mut document,
                &exchange::Limits::default(),
                &mut self.builder,
                &mut |_| {},
            );
            self.report.documents += 1;
            if let Some(error) = loaded.fatal {
                self.report.broken += 1;
                self.report.warnings.push(error.to_string());
            }
            let report = &loaded.report;
            let others = report.refused.len() + report.unseeable.len();
            self.report.objects += report.loaded + report.revoked + others as u64;
            self.refused += report.refused.len();
            let mut refused = loaded.report.refused.into_iter();
            self.first = self.first.take().or_else(|| refused.next());
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ReadReport, PullError> {
        if let Some(first) = self.first {
            self.report.warnings.push(format!(
                "{}: objects refused: {}; the first at {}: {}",
                self.exchange.name, self.refused, first.path, first.reason
            ));
        }
        let built = self
            .builder
            .finish(Timestamp::MIN)
            .map_err(|e| PullError::Unusable(e.to_string()))?;
        self.report.indicators = built.set.indicators();
        Ok(self.report)
    }
}

/// Why a set does not look like the one before it; `None`: it does.
pub(super) fn looks_wrong(limits: &Limits, before: u64, after: u64) -> Option<String> {
    if before.max(after) < limits.at_least || before == 0 {
        return None;
    }
    let lost = before.saturating_sub(after);
    // in u128: both may be large
    if u128::from(lost) * 100 > u128::from(before) * u128::from(limits.shrink_percent) {
        return Some(format!(
            "it has {after} indicators, where there were {before} (limits.shrink_percent = {}): the \
             last set stays; 'watchpost exchange pull --accept' takes the new one",
            limits.shrink_percent
        ));
    }
    if u128::from(after) > u128::from(before) * u128::from(limits.grow_factor) {
        return Some(format!(
            "it has {after} indicators, where there were {before} (limits.grow_factor = {}): the \
             last set stays; 'watchpost exchange pull --accept' takes the new one",
            limits.grow_factor
        ));
    }
    None
}

fn pull_url(
    exchange: &Exchange,
    store: &mut SourceStore,
    options: Options,
    now: Timestamp,
) -> Brought {
    let client = client(exchange)?;
    let held = held(store.meta(), options);
    let response = match client.get_if_changed(client.url(), &[], &held)? {
        Fetched::NotModified => return Ok((Pulled::Unchanged, Vec::new())),
        Fetched::Changed(response) => response,
    };
    let validators = response.validators();
    let bytes = response.bytes(exchange.limits.max_bytes)?;
    let change = |meta: &mut SourceMeta| note_validators(meta, validators);
    take_whole(exchange, store, None, options, change, now, |add| {
        Ok(add(&bytes)?)
    })
}

/// By what the set at hand is known to the server.
fn held(meta: &SourceMeta, options: Options) -> Validators {
    // what was held back is asked for again
    if options.accept || meta.held_back.is_some() {
        return Validators::default();
    }
    Validators {
        etag: meta.etag.clone(),
        last_modified: meta.last_modified.clone(),
    }
}

fn note_validators(meta: &mut SourceMeta, validators: Validators) {
    meta.etag = validators.etag;
    meta.last_modified = validators.last_modified;
}

fn pull_folder(
    exchange: &Exchange,
    path: &Path,
    store: &mut SourceStore,
    options: Options,
    now: Timestamp,
) -> Brought {
    let unusable =
        |e: &dyn std::fmt::Display| PullError::Unusable(format!("{}: {e}", path.display()));
    let files = source_files(path).map_err(|e| unusable(&e))?;
    let mut state = Sha256::new();
    let mut bytes = 0;
    for file in &files {
        let metadata = fs::metadata(file).map_err(|e| unusable(&e))?;
        bytes += metadata.len();
        let line = format!(
            "{} {} {}.{:09}\n",
            file.display(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        );
        state.update(line);
    }
    let state = hex(&state.finalize());
    if bytes > exchange.limits.max_bytes {
        return Err(unusable(&format!(
            "{bytes} bytes, more than limits.max_bytes = {}",
            exchange.limits.max_bytes
        )));
    }
    let is_same = store.cursor() == Some(state.as_str()) && store.meta().held_back.is_none();
    if is_same && !options.accept {
        return Ok((Pulled::Unchanged, Vec::new()));
    }
    let cursor = Some(state);
    // what is no source lies in many folders, and costs itself alone
    let loaded = exchange::load(&[path.to_owned()], &mut SetBuilder::new(), &mut |_| {});
    let passed_over: HashMap<String, String> = loaded
        .into_iter()
        .filter_map(|file| file.fatal.or(file.skipped))
        .map(|error| (error.file.clone(), error.to_string()))
        .collect();
    let is_source = |file: &&PathBuf| !passed_over.contains_key(file.to_string_lossy().as_ref());
    let files: Vec<&PathBuf> = files.iter().filter(is_source).collect();
    let mut told: Vec<String> = passed_over.values().cloned().collect();
    told.sort_unstable();
    if files.is_empty() {
        return Err(PullError::Unusable(told.join("; ")));
    }
    let (pulled, warnings) = take_whole(
        exchange,
        store,
        cursor,
        options,
        |_| {},
        now,
        |add| {
            for file in &files {
                let mut document = Vec::new();
                let read = fs::File::open(file).and_then(|opened| {
                    // it may have grown since
                    opened
                        .take(exchange.limits.max_bytes)
                        .read_to_end(&mut document)
                });
                read.map_err(|e| PullError::Unusable(format!("{}: {e}", file.display())))?;
                add(&document)?;
            }
            Ok(())
        },
    )?;
    told.extend(warnings);
    Ok((pulled, told))
}

fn pull_feed(
    exchange: &Exchange,
    store: &mut SourceStore,
    options: Options,
    now: Timestamp,
) -> Brought {
    let feed = MispFeed::new(client(exchange)?);
    let held = held(store.meta(), options);
    let Some((events, validators)) = feed.manifest(&held)? else {
        return Ok((Pulled::Unchanged, Vec::new()));
    };
    if events.len() as u64 > exchange.limits.max_objects {
        return Err(PullError::Unusable(format!(
            "{} events, more than limits.max_objects = {}",
            events.len(),
            exchange.limits.max_objects
        )));
    }
    let mut kept = kept_events(store)?;
    let missing = RefCell::new(Vec::new());
    let change = |meta: &mut SourceMeta| {
        // an event that was not there yet is asked for again
        let is_whole = missing.borrow().is_empty();
        note_validators(
            meta,
            if is_whole {
                validators
            } else {
                Validators::default()
            },
        );
    };
    let (pulled, mut warnings) = take_whole(exchange, store, None, options, change, now, |add| {
        let mut left = exchange.limits.max_bytes;
        for event in &events {
            let document = match kept.remove(event) {
                Some(document) => document,
                None => match feed.event(&event.uuid, left) {
                    Ok(document) => document,
                    // one that is gone costs itself alone
                    Err(error) if error.status() == Some(404) => {
                        missing.borrow_mut().push(error.to_string());
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                },
            };
            left = left.saturating_sub(document.len() as u64);
            add(&document)?;
        }
        Ok(())
    })?;
    warnings.extend(missing.into_inner());
    Ok((pulled, warnings))
}

/// The events that are kept, by their versions.
fn kept_events(store: &SourceStore) -> Result<HashMap<FeedEvent, Vec<u8>>, PullError> {
    let mut kept = HashMap::new();
    for segment in store.segments() {
        let mut documents = store.documents(segment)?;
        // what cannot be read is fetched again
        while let Ok(Some((mut document, _))) = documents.next_document() {
            let mut bytes = Vec::new();
            if document.read_to_end(&mut bytes).is_ok()
                && let Some(version) = version_of_event(&bytes)
            {
                kept.insert(version, bytes);
            }
        }
    }
    Ok(kept)
}

fn pull_misp(
    exchange: &Exchange,
    query: &MispQuery,
    store: &mut SourceStore,
    options: Options,
    now: Timestamp,
) -> Brought {
    let server = MispServer::new(client(exchange)?);
    let search = Search {
        tags: query.tags.clone(),
        types: query.types.clone(),
        to_ids: query.to_ids,
        published: query.published,
        last_seconds: query.last.map(|last| last.as_secs()),
    };
    // the cursor: when everything was fetched last, in seconds
    let whole_at = store
        .cursor()
        .and_then(|cursor| cursor.parse().ok())
        .map(|seconds| Timestamp::from_parts(seconds, 0))
        // one to come was set by a clock that went wrong
        .filter(|at| *at <= now && now.since(*at) < WHOLE_SEARCH_EVERY)
        .filter(|_| store.meta().held_back.is_none() && !options.accept);
    if let Some(at) = whole_at {
        let since = at.as_nanos().saturating_sub(OVERLAP.as_nanos() as u64);
        if !server.has_changed(&search, Timestamp::from_nanos(since))? {
            return Ok((Pulled::Unchanged, Vec::new()));
        }
    }
    let cursor = Some((now.as_nanos() / 1_000_000_000).to_string());
    let limits = exchange.limits;
    take_whole(
        exchange,
        store,
        cursor,
        options,
        |_| {},
        now,
        |add| {
            let mut events = 0;
            server.search(&search, limits.max_bytes, &mut |page, count| {
                events += count;
                if events > limits.max_objects {
                    return Err(PullError::Unusable(format!(
                        "more than limits.max_objects = {} events: narrow the query",
                        limits.max_objects
                    )));
                }
                Ok(add(page)?)
            })
        },
    )
}
