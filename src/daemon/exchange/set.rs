//! The set that matches, made of the last good sets of all exchanges.

use crate::config::Config;
use crate::config::Exchange;
use crate::config::Kind;
use crate::exchange::Limits;
use crate::exchange::Trusted;
use crate::exchange::load_reader;
use crate::matcher::build::SetBuilder;
use crate::matcher::set::IndicatorSet;
use crate::store;
use crate::store::SourceStore;
use crate::store::State;
use crate::store::StoreError;
use crate::time::Timestamp;
use crate::verdict::Action;
use crate::verdict::Verdict;
use sha2::Digest as _;
use sha2::Sha256;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The file of the compiled set, in the state folder.
const SET: &str = "indicators.set";

/// The file that says what the compiled set was made of.
const KEY: &str = "indicators.key";

/// What kept a set from being made.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// The state folder cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The set cannot be laid out.
    #[error("indicator set: {0}")]
    Set(String),
    /// The compiled set cannot be written.
    #[error("{}: cannot be written: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A set that was made.
#[derive(Debug)]
pub struct Made {
    /// The set.
    pub set: IndicatorSet,
    /// By exchange, in the order of the configuration: how many of its indicators can match.
    pub loaded: Vec<(String, u64)>,
    /// What was damaged or could not be read, for people.
    pub warnings: Vec<String>,
    /// What it was made of.
    key: String,
}

/// Makes the set of what is kept of the configured exchanges. `now` tells which have expired.
///
/// # Errors
/// When the state folder cannot be read.
pub fn make(config: &Config, state: &State, now: Timestamp) -> Result<Made, MakeError> {
    let mut builder = SetBuilder::new();
    let mut warnings = Vec::new();
    let mut key = Key::new();
    warnings.extend(state.sources()?.damages);
    for exchange in &config.exchanges {
        key.add_exchange(exchange);
        // no exchange withdraws what another gave, or gives another version of it
        builder.begin_scope();
        for store in sources(state, exchange)? {
            warnings.extend(store.damages().iter().cloned());
            key.add_source(exchange, &store);
            load(exchange, &store, &mut builder, &mut warnings)?;
        }
    }
    let built = builder
        .finish(now)
        .map_err(|e| MakeError::Set(e.to_string()))?;
    let loaded_of = |exchange: &Exchange| {
        let of = built.sources.iter().filter(|(n, _)| *n == exchange.name);
        of.map(|(_, tally)| tally.loaded).sum()
    };
    let loaded = config
        .exchanges
        .iter()
        .map(|exchange| (exchange.name.clone(), loaded_of(exchange)))
        .collect();
    Ok(Made {
        set: built.set,
        loaded,
        warnings,
        key: key.finish(),
    })
}

/// Writes a set to the state folder, whence [`open`] maps it.
///
/// # Errors
/// When it cannot be written.
pub fn save(made: &Made, state: &State) -> Result<(), MakeError> {
    let Some((matching, explaining)) = made.set.parts() else {
        return Ok(());
    };
    let write = |name: &str, parts: &[&[u8]]| {
        let path = state.path(name);
        store::replace(&path, parts).map_err(|error| MakeError::Write { path, error })
    };
    // a key without its set would vouch for another
    write(KEY, &[b"\n"])?;
    write(SET, &[matching, explaining])?;
    write(KEY, &[made.key.as_bytes(), b"\n"])
}

/// The set that was saved, if it is of what is kept now; `None`: it has to be made.
///
/// # Errors
/// When the state folder cannot be read.
pub fn open(config: &Config, state: &State) -> Result<Option<IndicatorSet>, MakeError> {
    let mut key = Key::new();
    for exchange in &config.exchanges {
        key.add_exchange(exchange);
        for store in sources(state, exchange)? {
            key.add_source(exchange, &store);
        }
    }
    let saved = fs::read_to_string(state.path(KEY)).unwrap_or_default();
    if saved.trim() != key.finish() {
        return Ok(None);
    }
    // a set of another version or a damaged one is made anew
    Ok(IndicatorSet::open(&state.path(SET)).ok())
}

/// What the set that was saved last was made of; `None`: none was. Read without any lock: it
/// tells whether there is something to open.
pub fn saved_key(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join(KEY)).ok()
}

/// What is kept of the collections of an exchange, in order of their names.
///
/// # Errors
/// When the state folder cannot be read.
pub fn sources(state: &State, exchange: &Exchange) -> Result<Vec<SourceStore>, StoreError> {
    let names = state.sources()?.names;
    let has_collections = matches!(exchange.kind, Kind::Taxii { .. });
    // of an exchange that was of another kind once, nothing counts
    let of = names.iter().filter(|(name, collection)| {
        *name == exchange.name && (has_collections || collection.is_empty())
    });
    of.map(|(name, collection)| state.source(name, collection))
        .collect()
}

/// What becomes of a match when its exchange may do no more than this.
pub fn cap(verdict: Verdict, exchange: Option<&Exchange>) -> Verdict {
    match exchange {
        Some(exchange)
            if exchange.action == crate::config::Action::Report
                && matches!(verdict.action, Action::WouldBlock | Action::Block) =>
        {
            Verdict {
                action: Action::Report,
                reason: format!(
                    "exchange {} may only report (key `action`); else: {}",
                    exchange.name, verdict.reason
                ),
            }
        }
        _ => verdict,
    }
}

fn load(
    exchange: &Exchange,
    store: &SourceStore,
    builder: &mut SetBuilder,
    warnings: &mut Vec<String>,
) -> Result<(), StoreError> {
    let seen = store.meta().fetched_at.unwrap_or(Timestamp::MIN);
    let mut trusted = Trusted {
        intake: builder,
        confidence: exchange.confidence,
        valid_until: exchange.expire_after.map(|after| seen + after),
    };
    for segment in store.segments() {
        let mut documents = store.documents(segment)?;
        loop {
            let mut document = match documents.next_document() {
                Ok(Some((document, _))) => document,
                Ok(None) => break,
                Err(error) => {
                    warnings.push(format!("{}: {error}", exchange.name));
                    break;
                }
            };
            let limits = Limits::default();
            let loaded = load_reader(
                &exchange.name,
                &mut document,
                &limits,
                &mut trusted,
                &mut |_| {},
            );
            if let Some(error) = loaded.fatal {
                warnings.push(error.to_string());
            }
        }
    }
    Ok(())
}

/// A digest of all that a set is made of.
struct Key(Sha256);

impl Key {
    fn new() -> Self {
        let mut hasher = Sha256::new();
        // another version of the program may make another set of the same
        hasher.update(env!("CARGO_PKG_VERSION"));
        Self(hasher)
    }

    fn add_exchange(&mut self, exchange: &Exchange) {
        let Exchange {
            name,
            confidence,
            expire_after,
            ..
        } = exchange;
        self.add(&format!("{name:?} {confidence:?} {expire_after:?}"));
    }

    fn add_source(&mut self, exchange: &Exchange, store: &SourceStore) {
        for segment in store.segments() {
            self.add(&format!("{segment:?}"));
        }
        // when the exchange was asked last counts only where indicators end by it
        if exchange.expire_after.is_some() {
            self.add(&format!("{:?}", store.meta().fetched_at));
        }
    }

    fn add(&mut self, text: &str) {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }
}
