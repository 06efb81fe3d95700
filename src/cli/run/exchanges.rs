//! The child process that asks and tells the exchanges.

use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::set;
use crate::matcher::Matcher;
use crate::matcher::set::IndicatorSet;
use crate::store::State;
use crossbeam_channel::Sender;
use std::io;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// The program that runs, even after an upgrade took its place on the disk (proc(5)).
const THIS_PROGRAM: &str = "/proc/self/exe";

/// How often a child looks whether an exchange is due. Intervals below it are served at this pace;
/// a shorter one would start processes that mostly find nothing due.
const ASK_EVERY: Duration = Duration::from_secs(20);

/// Has exchanges asked and told, and sees to it that what comes of it matches.
pub(super) struct ExchangeLoop<'a> {
    /// The file of the configuration, for the child.
    path: &'a Path,
    config: &'a Config,
    swaps: Sender<Arc<Matcher>>,
    child: Option<Child>,
    next: Instant,
    /// What the set that matches was made of.
    key: Option<String>,
    /// Indicators that match.
    matching: &'a AtomicU64,
}

impl<'a> ExchangeLoop<'a> {
    pub(super) fn new(
        path: &'a Path,
        config: &'a Config,
        swaps: Sender<Arc<Matcher>>,
        matching: &'a AtomicU64,
    ) -> Self {
        Self {
            path,
            config,
            swaps,
            child: None,
            next: Instant::now(),
            key: set::saved_key(&config.sensor.state),
            matching,
        }
    }

    /// Looks after the child, and starts one when it is time, or as soon as can be when `asked`.
    pub(super) fn turn(
        &mut self,
        asked: &AtomicBool,
        matcher: &dyn Fn(&Arc<IndicatorSet>) -> Arc<Matcher>,
    ) {
        if let Some(child) = &mut self.child {
            match child.try_wait() {
                Ok(None) => return,
                Ok(Some(_)) | Err(_) => self.child = None,
            }
            self.take_over(matcher);
        }
        let asked = asked.swap(false, Ordering::Relaxed);
        if !asked && Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + ASK_EVERY;
        let due: &[&str] = if asked { &[] } else { &["--due"] };
        match self.start(due) {
            Ok(child) => self.child = Some(child),
            Err(error) => {
                terminal::say(
                    "warning",
                    &format!("the exchanges cannot be asked: {error}"),
                );
            }
        }
    }

    /// This program as `exchange sync`: asks and tells.
    fn start(&self, more: &[&str]) -> io::Result<Child> {
        let mut command = Command::new(THIS_PROGRAM);
        command.args(["exchange", "sync", "--quiet"]).args(more);
        command.arg("--config").arg(self.path);
        command.arg("--state").arg(&self.config.sensor.state);
        command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    }

    /// Maps the set that the child made, if it made one.
    fn take_over(&mut self, matcher: &dyn Fn(&Arc<IndicatorSet>) -> Arc<Matcher>) {
        let key = set::saved_key(&self.config.sensor.state);
        if key == self.key {
            return;
        }
        let opened = State::open_shared(&self.config.sensor.state)
            .map_err(set::MakeError::from)
            .and_then(|state| set::open(self.config, &state));
        match opened {
            Ok(Some(set)) => {
                let set = Arc::new(set);
                let count = set.indicators();
                if self.swaps.send(matcher(&set)).is_ok() {
                    self.matching.store(count, Ordering::Relaxed);
                    terminal::say("note", &format!("{count} indicators from now on"));
                }
                self.key = key;
            }
            // what is kept has changed since it was made: the next child makes it anew
            Ok(None) => {}
            Err(error) => terminal::say("warning", &error.to_string()),
        }
    }

    /// Ends the child, if there is one: it can be ended at any moment.
    pub(super) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
