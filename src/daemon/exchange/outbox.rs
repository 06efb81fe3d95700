//! Putting into the outbox what may leave.

use crate::daemon::exchange::share::Planned;
use crate::daemon::exchange::share::Saying;
use crate::daemon::exchange::share::Says;
use crate::store::Outcome;
use crate::store::Put;
use crate::store::State;
use crate::store::StoreError;
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// What became of sightings on their way to the outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutReport {
    /// By exchange: parcels that wait from now on.
    pub new: BTreeMap<String, u64>,
    /// Parcels that were there before, settled or not.
    pub known: u64,
    /// By exchange and reason: what does not go there.
    pub held: BTreeMap<(String, String), u64>,
    /// Parcels that found no room, and what is full; `None`: all did.
    pub refused: Option<(u64, String)>,
}

/// Puts what was planned and is not held into the outbox; durable when this returns. What finds no
/// room there is counted: it would find none later either.
///
/// # Errors
/// When the outbox cannot be read or written; what was put before stays.
pub fn put(state: &State, planned: &[Planned], now: Timestamp) -> Result<PutReport, StoreError> {
    let mut outbox = state.outbox()?;
    let mut report = PutReport::default();
    for one in planned {
        if let Some(held) = one.held {
            let key = (one.exchange.clone(), held.to_string());
            *report.held.entry(key).or_default() += 1;
            continue;
        }
        match outbox.put(&one.parcel(now)) {
            Ok(Put::New) => *report.new.entry(one.exchange.clone()).or_default() += 1,
            Ok(Put::Known) => report.known += 1,
            Err(full @ StoreError::Full { .. }) => {
                let (count, _) = report.refused.get_or_insert_with(|| (0, full.to_string()));
                *count += 1;
            }
            Err(error) => return Err(error),
        }
    }
    outbox.sync(now)?;
    Ok(report)
}

/// Takes back what was to be told of an indicator that is called false no more.
///
/// # Errors
/// When the outbox cannot be read or written.
pub fn withdraw_refutation(
    state: &State,
    indicator: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut outbox = state.outbox()?;
    let mut about: Vec<(String, String)> = Vec::new();
    outbox.each(&mut |one| {
        if let Ok(saying) = serde_json::from_slice::<Saying>(one.body)
            && saying.indicator == indicator
            && matches!(saying.says, Says::False { .. })
        {
            about.push((one.exchange.to_owned(), one.id.to_owned()));
        }
    })?;
    for (exchange, id) in about {
        outbox.settle(&exchange, &id, Outcome::Withdrawn, now)?;
    }
    outbox.sync(now)
}

impl fmt::Display for PutReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (exchange, count) in &self.new {
            parts.push(format!("{count} for {exchange}"));
        }
        if parts.is_empty() {
            parts.push("nothing new".into());
        }
        write!(f, "outbox: {}", parts.join(", "))?;
        if self.known > 0 {
            write!(f, "; {} known already", self.known)?;
        }
        for ((exchange, reason), count) in &self.held {
            write!(f, "\nheld back from {exchange}: {count}: {reason}")?;
        }
        if !self.new.is_empty() {
            f.write_str(
                "\n'watchpost sightings preview' shows them, 'watchpost exchange push' sends them",
            )?;
        }
        Ok(())
    }
}
