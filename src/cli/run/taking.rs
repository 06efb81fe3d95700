//! What becomes of a match: a verdict, an event, a part of a sighting.

use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::intel::Explained;
use crate::cli::run::events::Events;
use crate::cli::sensor;
use crate::cli::sensor::Trust;
use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::share::Planned;
use crate::daemon::exchange::share::Sharing;
use crate::matcher::Match;
use crate::matcher::set::IndicatorSet;
use crate::report::event::write_event;
use crate::store::MAX_PENDING;
use crate::time::Timestamp;
use crate::verdict::Action;
use crate::verdict::Rules;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Takes matches as they come.
pub(super) struct Taking {
    rules: Arc<Rules>,
    config: Option<Config>,
    trust: Trust,
    events: Option<Events>,
    by_verdict: BTreeMap<&'static str, u64>,
    /// Of the set that matched last; `None`: nothing did.
    explained: Option<Explained>,
    /// `None`: nothing is shared.
    sharing: Option<Sharing>,
    /// Sightings that the outbox has not taken yet, at most as many as it could hold.
    planned: Vec<Planned>,
    /// When what is gathered goes to the outbox.
    window_ends: Timestamp,
    /// Whether something was gathered that is not written down.
    is_dirty: bool,
}

impl Taking {
    /// `left` was gathered by a sensor that was killed.
    pub(super) fn new(
        events: Option<Events>,
        rules: Arc<Rules>,
        config: Option<&Config>,
        left: Vec<Planned>,
    ) -> Result<Self, Failure> {
        let mut taking = Self {
            rules,
            config: config.cloned(),
            trust: Trust::default(),
            events,
            by_verdict: BTreeMap::new(),
            explained: None,
            sharing: None,
            planned: left,
            window_ends: Timestamp::MIN,
            is_dirty: false,
        };
        if let Some(config) = config {
            let state = sensor::open_shared(config)?;
            taking.trust = Trust::of(config, &state)?;
            taking.sharing = Some(Sharing::new(config).map_err(|e| Failure::Usage(e.to_string()))?);
            taking.window_ends = intel::now() + config.privacy.window;
        }
        Ok(taking)
    }

    pub(super) fn take(&mut self, found: &Match, set: &Arc<IndicatorSet>) {
        if !self
            .explained
            .as_ref()
            .is_some_and(|last| Arc::ptr_eq(last.set(), set))
        {
            // numbers of indicators are those of their set
            self.gather();
            self.explained = None;
        }
        let explained = self
            .explained
            .get_or_insert_with(|| Explained::new(Arc::clone(set)));
        let details = explained.details(found.indicator);
        if details.id.is_empty() {
            // without its marking a match must go nowhere
            return;
        }
        let verdict = self.trust.judge(&self.rules, found, details);
        *self.by_verdict.entry(verdict.action.as_str()).or_default() += 1;
        if let Some(sharing) = &mut self.sharing {
            sharing.record(found, verdict.action == Action::Allowlisted);
            self.is_dirty = true;
        }
        if let Some(events) = &mut self.events {
            let mut line = Vec::new();
            write_event(&mut line, found, details, &verdict);
            events.write(&line);
        }
    }

    /// Ends the window when it is over. Whether sightings are to go to the outbox.
    pub(super) fn turn(&mut self, now: Timestamp) -> bool {
        if let Some(config) = &self.config
            && now >= self.window_ends
        {
            self.window_ends = now + config.privacy.window;
            self.gather();
        }
        !self.planned.is_empty()
    }

    /// The sightings that are to go to the outbox.
    pub(super) fn leaving(&self) -> Vec<Planned> {
        self.planned.clone()
    }

    /// The outbox has the first so many.
    pub(super) fn forget(&mut self, count: usize) {
        self.planned.drain(..count.min(self.planned.len()));
        self.is_dirty = true;
    }

    /// Everything that was gathered and is not in the outbox, to be written down.
    pub(super) fn unsaved(&mut self) -> Vec<Planned> {
        self.is_dirty = false;
        let mut all = self.planned.clone();
        if let (Some(sharing), Some(explained)) = (&self.sharing, &self.explained) {
            all.extend(sharing.plan(&mut |ordinal| explained.set().details(ordinal)));
        }
        all
    }

    /// Makes sightings of what was gathered.
    fn gather(&mut self) {
        let (Some(sharing), Some(explained), Some(config)) =
            (&mut self.sharing, &self.explained, &self.config)
        else {
            return;
        };
        let planned = sharing.plan(&mut |ordinal| explained.set().details(ordinal));
        let found = planned.len();
        let room = MAX_PENDING.saturating_sub(self.planned.len());
        self.planned.extend(planned.into_iter().take(room));
        if found > room {
            let lost = found - room;
            terminal::say(
                "warning",
                &format!("{lost} sightings are lost: {MAX_PENDING} wait for the outbox already"),
            );
        }
        match Sharing::new(config) {
            Ok(new) => *sharing = new,
            Err(error) => {
                terminal::say("warning", &format!("nothing is shared any more: {error}"));
                self.sharing = None;
            }
        }
    }

    /// Whether something was gathered that is not written down.
    pub(super) const fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Takes up what operators called false meanwhile.
    pub(super) fn set_trust(&mut self, trust: Trust) {
        self.trust = trust;
    }

    /// Sightings that the outbox has not taken, and matches by what was decided.
    pub(super) fn into_counts(self) -> (usize, BTreeMap<&'static str, u64>) {
        (self.planned.len(), self.by_verdict)
    }

    pub(super) fn finish(&mut self) {
        if let Some(events) = &mut self.events {
            events.finish();
        }
        self.gather();
    }
}

pub(super) fn lock(taking: &Mutex<Taking>) -> MutexGuard<'_, Taking> {
    taking.lock().unwrap_or_else(PoisonError::into_inner)
}
