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
use crate::daemon::exchange::share::still_goes;
use crate::daemon::exchange::taxii;
use crate::exchange::http::HttpError;
use crate::exchange::http::backoff;
use crate::exchange::misp_server::MispServer;
use crate::exchange::misp_server::SightingKind;
use crate::exchange::misp_server::Told;
use crate::exchange::taxii::TaxiiError;
use crate::store::Due;
use crate::store::LONGEST_PAUSE;
use crate::store::Outbox;
use crate::store::Outcome;
use crate::store::Refuted;
use crate::store::State;
use crate::store::StoreError;
use crate::time::Timestamp;
use std::collections::HashSet;
use std::time::Duration;

/// Parcels that are read from the outbox at once.
const BATCH: usize = 200;

/// What came of telling an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushReport {
    /// Parcels that it has.
    pub accepted: u64,
    /// Ids of parcels that it will not take, and its words.
    pub refused: Vec<(String, String)>,
    /// Ids of parcels that are not to go any more, and why.
    pub withdrawn: Vec<(String, String)>,
    /// Parcels that wait.
    pub waiting: u64,
    /// Why it stopped; `None`: everything that was due was tried.
    pub error: Option<String>,
}

/// Sends what is due for an exchange. `due`: everything whose next attempt is not later. Whoever
/// calls holds [`State::open_push`]; the outbox is opened for moments alone.
///
/// # Errors
/// When the state folder cannot be read or written; what the exchange does is in the report.
pub fn push(
    exchange: &Exchange,
    config: &Config,
    due: Timestamp,
    now: Timestamp,
    seed: u64,
) -> Result<PushReport, StoreError> {
    let mut courier = Courier {
        exchange,
        config,
        report: PushReport::default(),
        due,
        now,
        seed,
        tried: HashSet::new(),
    };
    let sent = match courier.next()?.is_empty() {
        true => Ok(()),
        false => match &exchange.kind {
            Kind::Misp { .. } => courier.tell_misp(&config.sensor.name),
            _ => courier.tell_taxii(),
        },
    };
    let mut report = courier.report;
    match sent {
        Ok(()) => {}
        Err(PullError::Store(error)) => return Err(error),
        Err(error) => report.error = Some(error.to_string()),
    }
    let mut outbox = State::open(&config.sensor.state)?.outbox()?;
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
    config: &'a Config,
    report: PushReport,
    due: Timestamp,
    now: Timestamp,
    seed: u64,
    /// Parcels that were put off: each is tried once in a push.
    tried: HashSet<String>,
}

/// What became of a parcel.
enum Step {
    Settled(Outcome),
    /// It is tried again, not before then, for this reason.
    PutOff(Timestamp, String),
}

impl Courier<'_> {
    /// Does something with the outbox, which nobody else touches meanwhile.
    fn with_outbox<T>(
        &self,
        act: impl FnOnce(&State, &mut Outbox) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let state = State::open(&self.config.sensor.state)?;
        let mut outbox = state.outbox()?;
        act(&state, &mut outbox)
    }

    /// What is due, and what it says; what may not go any more is settled.
    fn next(&mut self) -> Result<Vec<(Due, Saying)>, StoreError> {
        loop {
            let (batch, refuted, damage) = self.with_outbox(|state, outbox| {
                let batch = outbox.due(&self.exchange.name, self.due, BATCH, &self.tried)?;
                Ok((batch, state.refuted()?, outbox.damage().map(str::to_owned)))
            })?;
            if damage.is_some() {
                self.report.error = damage;
            }
            let were_some = !batch.is_empty();
            let mut goes = Vec::new();
            let mut steps = Vec::new();
            for due in batch {
                match self.read(&refuted, &due) {
                    Ok(saying) => goes.push((due, saying)),
                    Err(outcome) => steps.push((due, Step::Settled(outcome))),
                }
            }
            self.note(steps)?;
            if !goes.is_empty() || !were_some {
                return Ok(goes);
            }
        }
    }

    /// What a parcel says, or how it ends without being sent.
    fn read(&mut self, refuted: &Refuted, due: &Due) -> Result<Saying, Outcome> {
        let saying: Saying = serde_json::from_slice(&due.parcel.body).map_err(|error| {
            let reason = format!("the parcel cannot be read: {error}");
            Outcome::Refused { reason }
        })?;
        match still_goes(self.config, refuted, &self.exchange.name, &saying) {
            Ok(()) => Ok(saying),
            Err(why) => {
                self.report.withdrawn.push((due.parcel.id.clone(), why));
                Err(Outcome::Withdrawn)
            }
        }
    }

    /// Writes down what became of parcels.
    fn note(&mut self, steps: Vec<(Due, Step)>) -> Result<(), StoreError> {
        if steps.is_empty() {
            return Ok(());
        }
        self.with_outbox(|_, outbox| {
            let name = &self.exchange.name;
            for (due, step) in &steps {
                let id = &due.parcel.id;
                match step {
                    Step::Settled(outcome) => {
                        outbox.settle(name, id, outcome.clone(), self.now)?;
                    }
                    Step::PutOff(next, error) => outbox.attempted(name, id, *next, error)?,
                }
            }
            // what an exchange has it must not be told again, whatever happens here
            outbox.sync(self.now)
        })?;
        for (due, step) in steps {
            match step {
                Step::Settled(Outcome::Accepted) => self.report.accepted += 1,
                Step::Settled(Outcome::Refused { reason }) => {
                    self.report.refused.push((due.parcel.id, reason));
                }
                Step::Settled(Outcome::Withdrawn) => {}
                Step::PutOff(..) => {
                    self.tried.insert(due.parcel.id);
                }
            }
        }
        Ok(())
    }

    fn tell_misp(&mut self, source: &str) -> Result<(), PullError> {
        let server = MispServer::new(client(self.exchange)?);
        loop {
            let batch = self.next()?;
            if batch.is_empty() {
                return Ok(());
            }
            for (due, saying) in batch {
                let attribute = saying.indicator.strip_prefix("indicator--");
                let (kind, at) = match saying.says {
                    Says::Seen { last, .. } => (SightingKind::Seen, last),
                    Says::False { at } => (SightingKind::FalsePositive, at),
                };
                // written down one by one: a MISP does not know a sighting again
                match server.tell(attribute.unwrap_or_default(), kind, at, source) {
                    Ok(Told::Accepted) => {
                        self.note(vec![(due, Step::Settled(Outcome::Accepted))])?;
                    }
                    Ok(Told::Refused(reason)) => {
                        self.note(vec![(due, Step::Settled(Outcome::Refused { reason }))])?;
                    }
                    Err(error) => {
                        // what stops one would stop the next
                        let step = self.put_off(&due, &error.to_string(), error.retry_after());
                        self.note(vec![(due, step)])?;
                        return Err(error.into());
                    }
                }
            }
        }
    }

    fn tell_taxii(&mut self) -> Result<(), PullError> {
        let (client, collection) = taxii::destination(self.exchange, self.seed)?;
        loop {
            let sayings = self.next()?;
            if sayings.is_empty() {
                return Ok(());
            }
            let told = taxii::tell(&client, &collection, &sayings);
            let error = told.error.as_ref().map_or_else(
                || "the server does not say what became of it".to_owned(),
                ToString::to_string,
            );
            let http = told.error.as_ref().and_then(TaxiiError::http);
            let asked = http.and_then(HttpError::retry_after);
            let mut steps = Vec::new();
            for ((due, _), outcome) in sayings.into_iter().zip(told.outcomes) {
                let step = match outcome {
                    Some(outcome) => Step::Settled(outcome),
                    None => {
                        self.report.error = Some(error.clone());
                        self.put_off(&due, &error, asked)
                    }
                };
                steps.push((due, step));
            }
            self.note(steps)?;
            if let Some(error) = told.error {
                return Err(error.into());
            }
        }
    }

    /// It is tried again later: after what the exchange asks for, or longer each time.
    fn put_off(&self, due: &Due, error: &str, asked: Option<Duration>) -> Step {
        let pause = asked.unwrap_or_else(|| {
            // minutes rather than the seconds within one attempt
            backoff(due.attempts.saturating_add(6), self.seed)
        });
        Step::PutOff(self.now + pause.min(LONGEST_PAUSE), error.to_owned())
    }
}
