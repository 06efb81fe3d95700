//! The way of what was gathered to the outbox.

use crate::cli::Failure;
use crate::cli::run::taking::Taking;
use crate::cli::run::taking::lock;
use crate::cli::sensor;
use crate::cli::sensor::Trust;
use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::outbox;
use crate::daemon::exchange::share::Planned;
use crate::daemon::exchange::window::Window;
use crate::store::REFUTED;
use crate::time::Timestamp;
use std::sync::Mutex;
use std::time::Instant;
use std::time::SystemTime;

/// How long what was gathered is not written down again, as many times as long as it took: writing
/// takes a fiftieth of the time at most.
const SAVED_AFTER: u32 = 50;

/// Keeps what was gathered, and sees to it that it comes to the outbox. Works beside the matching:
/// what waits for a disk or for another process makes no packet wait.
pub(super) struct Keeper<'a> {
    config: &'a Config,
    window: Window,
    /// When what was gathered is written down next.
    next_save: Instant,
    /// When what operators call false was written last, as far as it is known here.
    refuted_at: Option<SystemTime>,
    /// Why the outbox does not take what was gathered; `None`: it does.
    trouble: Option<String>,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(config: &'a Config, window: Window) -> Self {
        Self {
            config,
            window,
            next_save: Instant::now(),
            refuted_at: None,
            trouble: None,
        }
    }

    /// Takes up what operators called false meanwhile.
    fn refresh(&mut self, taking: &Mutex<Taking>) {
        let path = self.config.sensor.state.join(REFUTED);
        let written = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        if written == self.refuted_at {
            return;
        }
        let trust = sensor::open_shared(self.config).and_then(|s| Trust::of(self.config, &s));
        match trust {
            Ok(trust) => {
                lock(taking).set_trust(trust);
                self.refuted_at = written;
            }
            Err(error) => terminal::say("warning", &error.to_string()),
        }
    }

    pub(super) fn turn(&mut self, taking: &Mutex<Taking>, now: Timestamp) {
        self.refresh(taking);
        let leaving = lock(taking).turn(now);
        let is_due = Instant::now() >= self.next_save;
        if !leaving.is_empty() || lock(taking).is_dirty() && is_due {
            self.save(taking);
        }
        if leaving.is_empty() {
            return;
        }
        if let Err(error) = self.put(&leaving, now) {
            // they wait, and are written down; the same trouble is told once
            let error = error.to_string();
            if self.trouble.as_ref() != Some(&error) {
                let waiting = leaving.len();
                terminal::say(
                    "warning",
                    &format!("{waiting} sightings wait here: {error}"),
                );
                self.trouble = Some(error);
            }
            return;
        }
        self.trouble = None;
        // what was put is what was written: put twice, it is the same
        lock(taking).forget(leaving.len());
        self.save(taking);
    }

    /// Writes down everything that was gathered and is not in the outbox.
    fn save(&mut self, taking: &Mutex<Taking>) {
        let begin = Instant::now();
        let all = lock(taking).unsaved();
        let saved = match all.is_empty() {
            true => self.window.clear(),
            false => self.window.save(&all),
        };
        if let Err(error) = saved {
            terminal::say("warning", &error.to_string());
        }
        self.next_save = Instant::now() + begin.elapsed() * SAVED_AFTER;
    }

    fn put(&self, leaving: &[Planned], now: Timestamp) -> Result<(), Failure> {
        let state = sensor::open(self.config)?;
        outbox::put(&state, leaving, now).map_err(|e| Failure::Running(e.to_string()))?;
        Ok(())
    }
}
