//! The way of what was gathered to the outbox.

use crate::cli::Failure;
use crate::cli::run::taking::Taking;
use crate::cli::run::taking::lock;
use crate::cli::sensor;
use crate::cli::sensor::Trust;
use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::outbox;
use crate::daemon::exchange::window::Window;
use crate::store::REFUTED;
use crate::time::Timestamp;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// How long what was gathered is not written down again, as many times as long as it took: writing
/// takes a fiftieth of the time at most.
const SAVED_AFTER: u32 = 50;

/// How long a put that failed waits before it is tried again, twice as long each time. Who holds
/// the state folder mostly lets go of it at once; a full disk stays full for longer.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Keeps what was gathered, and sees to it that it comes to the outbox. Works beside the matching:
/// what waits for a disk or for another process makes no packet wait.
pub(super) struct Keeper<'a> {
    config: &'a Config,
    window: Window,
    /// When what was gathered is written down next.
    next_save: Instant,
    /// When what operators call false was written last, as far as it is known here.
    refuted_at: Option<SystemTime>,
    /// When what was gathered is put next, after a failure.
    next_put: Instant,
    /// How long the next failure puts it off.
    pause: Duration,
    /// Whether the outbox did not take what was gathered last.
    is_troubled: bool,
}

impl<'a> Keeper<'a> {
    pub(super) fn new(config: &'a Config, window: Window) -> Self {
        Self {
            config,
            window,
            next_save: Instant::now(),
            refuted_at: None,
            next_put: Instant::now(),
            pause: FIRST_PAUSE,
            is_troubled: false,
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
        let are_leaving = lock(taking).turn(now);
        if are_leaving && Instant::now() >= self.next_put {
            self.put(taking, now);
        } else if Instant::now() >= self.next_save && lock(taking).is_dirty() {
            self.save(taking);
        }
    }

    /// Ends it: what is left is put without waiting for its time.
    pub(super) fn finish(&mut self, taking: &Mutex<Taking>, now: Timestamp) {
        self.next_put = Instant::now();
        self.turn(taking, now);
    }

    /// Puts into the outbox what is to go there.
    fn put(&mut self, taking: &Mutex<Taking>, now: Timestamp) {
        let leaving = lock(taking).leaving();
        // what is put is what was written: put twice, it is the same
        self.save(taking);
        let put = sensor::open(self.config).and_then(|state| {
            outbox::put(&state, &leaving, now).map_err(|e| Failure::Running(e.to_string()))
        });
        match put {
            Ok(put) => {
                self.pause = FIRST_PAUSE;
                self.tell(
                    put.refused
                        .map(|(count, full)| format!("{count} sightings are lost: {full}")),
                );
                lock(taking).forget(leaving.len());
                self.save(taking);
            }
            Err(error) => {
                // they wait, and are written down
                self.next_put = Instant::now() + self.pause;
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.tell(Some(format!(
                    "{} sightings wait here: {error}",
                    leaving.len()
                )));
            }
        }
    }

    /// Tells of trouble once, however long it lasts and however much it grows.
    fn tell(&mut self, trouble: Option<String>) {
        let is_new = trouble.is_some() && self.is_troubled != trouble.is_some();
        self.is_troubled = trouble.is_some();
        if let Some(trouble) = trouble.filter(|_| is_new) {
            terminal::say("warning", &trouble);
        }
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
}
