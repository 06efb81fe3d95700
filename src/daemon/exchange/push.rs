//! Sending what waits in the outbox.
//!
//! A parcel is settled once its exchange has it, and tried again until then. A TAXII server knows
//! an object by its id, so that nothing is there twice however often it is sent. A MISP does not:
//! where an answer was lost, a sighting may be there twice, which is said rather than hidden.

use crate::config::Config;
use crate::config::Exchange;
use crate::config::Kind;
use crate::daemon::exchange::pull::PullError;
use crate::daemon::exchange::pull::client;
use crate::daemon::exchange::share::Saying;
use crate::daemon::exchange::share::Says;
use crate::daemon::exchange::taxii;
use crate::exchange::http::backoff;
use crate::exchange::misp_server::MispServer;
use crate::exchange::misp_server::SightingKind;
use crate::exchange::misp_server::Told;
use crate::store::Due;
use crate::store::Outbox;
use crate::store::Outcome;
use crate::store::State;
use crate::store::StoreError;
use crate::time::Timestamp;
use std::time::Duration;

/// Parcels that are read from the outbox at once.
const BATCH: usize = 200;

/// The longest pause before a parcel is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// What came of telling an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Parcels that it has.
    pub accepted: u64,
    /// Ids of parcels that it will not take, and its words.
    pub refused: Vec<(String, String)>,
    /// Parcels that wait.
    pub waiting: u64,
    /// Why it stopped; `None`: everything that was due was tried.
    pub error: Option<String>,
}

/// Sends what is due for an exchange. `due`: everything whose next attempt is not later.
///
/// # Errors
/// When the state folder cannot be read or written; what the exchange does is in the report.
pub fn push(
    exchange: &Exchange,
    config: &Config,
    state: &State,
    due: Timestamp,
    now: Timestamp,
    seed: u64,
) -> Result<PushReport, StoreError> {
    let mut outbox = state.outbox()?;
    let mut report = PushReport {
        error: outbox.damage().map(str::to_owned),
        ..PushReport::default()
    };
    if !outbox.due(&exchange.name, due, 1)?.is_empty() {
        let mut courier = Courier {
            exchange,
            outbox: &mut outbox,
            report: &mut report,
            due,
            now,
            seed,
        };
        let sent = match &exchange.kind {
            Kind::Misp { .. } => courier.tell_misp(&config.sensor.name),
            _ => courier.tell_taxii(),
        };
        match sent {
            Ok(()) => {}
            Err(PullError::Store(error)) => return Err(error),
            Err(error) => report.error = Some(error.to_string()),
        }
    }
    outbox.sync(now)?;
    let counts = outbox.counts();
    report.waiting = counts
        .get(exchange.name.as_str())
        .map_or(0, |counts| counts.pending);
    Ok(report)
}

/// Takes parcels to one exchange.
struct Courier<'a> {
    exchange: &'a Exchange,
    outbox: &'a mut Outbox,
    report: &'a mut PushReport,
    due: Timestamp,
    now: Timestamp,
    seed: u64,
}

impl Courier<'_> {
    fn next(&self) -> Result<Vec<Due>, StoreError> {
        self.outbox.due(&self.exchange.name, self.due, BATCH)
    }

    fn tell_misp(&mut self, source: &str) -> Result<(), PullError> {
        let server = MispServer::new(client(self.exchange)?);
        loop {
            let batch = self.next()?;
            if batch.is_empty() {
                return Ok(());
            }
            for due in batch {
                let Some(saying) = self.read(&due)? else {
                    continue;
                };
                let attribute = saying.indicator.strip_prefix("indicator--");
                let (kind, at) = match saying.says {
                    Says::Seen { last, .. } => (SightingKind::Seen, last),
                    Says::False { at } => (SightingKind::FalsePositive, at),
                };
                match server.tell(attribute.unwrap_or_default(), kind, at, source) {
                    Ok(Told::Accepted) => self.settle(&due, Outcome::Accepted)?,
                    Ok(Told::Refused(reason)) => self.settle(&due, Outcome::Refused { reason })?,
                    Err(error) => {
                        // what stops one would stop the next
                        let pause = error.retry_after();
                        self.put_off(&due, &error.to_string(), pause)?;
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn tell_taxii(&mut self) -> Result<(), PullError> {
        let (client, collection) = taxii::destination(self.exchange, self.seed)?;
        loop {
            let batch = self.next()?;
            if batch.is_empty() {
                return Ok(());
            }
            let mut sayings = Vec::new();
            for due in batch {
                if let Some(saying) = self.read(&due)? {
                    sayings.push((due, saying));
                }
            }
            let told = taxii::tell(&client, &collection, &sayings);
            let stopped = told.error;
            for ((due, _), outcome) in sayings.iter().zip(told.outcomes) {
                match outcome {
                    Some(outcome) => self.settle(due, outcome)?,
                    None => {
                        let error = stopped.as_ref().map(ToString::to_string);
                        let error = error.unwrap_or_else(|| "the server does not say".into());
                        let pause = stopped
                            .as_ref()
                            .and_then(|e| e.http())
                            .and_then(|http| http.retry_after());
                        self.put_off(due, &error, pause)?;
                    }
                }
            }
            if let Some(error) = stopped {
                return Err(error.into());
            }
        }
    }

    /// What a parcel says; `None`: it is not to be read, and settled.
    fn read(&mut self, due: &Due) -> Result<Option<Saying>, StoreError> {
        match serde_json::from_slice(&due.parcel.body) {
            Ok(saying) => Ok(Some(saying)),
            Err(error) => {
                let reason = format!("the parcel cannot be read: {error}");
                self.settle(due, Outcome::Refused { reason })?;
                Ok(None)
            }
        }
    }

    fn settle(&mut self, due: &Due, outcome: Outcome) -> Result<(), StoreError> {
        match &outcome {
            Outcome::Accepted => self.report.accepted += 1,
            Outcome::Refused { reason } => self
                .report
                .refused
                .push((due.parcel.id.clone(), reason.clone())),
            Outcome::Withdrawn => {}
        }
        self.outbox
            .settle(&self.exchange.name, &due.parcel.id, outcome, self.now)
    }

    /// It is tried again later: after what the exchange asks for, or longer each time.
    fn put_off(
        &mut self,
        due: &Due,
        error: &str,
        asked: Option<Duration>,
    ) -> Result<(), StoreError> {
        let pause = asked.unwrap_or_else(|| {
            // minutes rather than the seconds within one attempt
            backoff(due.attempts.saturating_add(6), self.seed).min(LONGEST_PAUSE)
        });
        let next =
            (self.now + pause).max(Timestamp::from_nanos(self.due.as_nanos().saturating_add(1)));
        self.outbox
            .attempted(&self.exchange.name, &due.parcel.id, next, error)
    }
}
