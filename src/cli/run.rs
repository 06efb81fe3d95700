//! `watchpost run`: the sensor on interfaces, with the exchanges of its configuration.
//!
//! Exchanges are asked and told by a child process, this very program: what they send is read
//! where it can do no harm to the sensor, and the sensor maps the set that comes of it.

use crate::block::host;
use crate::capture::live::LiveCapture;
use crate::capture::live::LiveOptions;
use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::rules;
use crate::cli::sensor;
use crate::cli::sensor::Trust;
use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::outbox;
use crate::daemon::exchange::set;
use crate::daemon::exchange::share::Planned;
use crate::daemon::exchange::share::Sharing;
use crate::daemon::exchange::window::Window;
use crate::daemon::replay::Frames;
use crate::daemon::replay::Replay;
use crate::flow::table::SHARDS;
use crate::indicator::Details;
use crate::matcher::Clock;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::set::IndicatorSet;
use crate::report::event::write_event;
use crate::report::stats;
use crate::report::table;
use crate::store::REFUTED;
use crate::store::State;
use crate::time::Timestamp;
use crate::verdict::Action;
use crate::verdict::Rules;
use clap::Args;
use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use hashbrown::HashMap;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(200);

/// How often the exchanges are asked whether they are due; each has its own interval.
const ASK_EVERY: Duration = Duration::from_secs(20);

/// How long what was gathered is not written down again, as many times as long as it took: writing
/// takes a fiftieth of the time at most.
const SAVED_AFTER: u32 = 50;

/// Explanations kept at hand, as in a replay.
const MAX_EXPLAINED: usize = 4096;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost run --interface eth0 --intel bundle.json --events -
  watchpost run --config watchpost.toml --events /var/log/watchpost/events.jsonl
  kill -HUP PID        asks the exchanges at once

Needs root or CAP_NET_RAW. SIGINT and SIGTERM end it: what was seen goes to the outbox first.
Nothing is blocked: events say what policy would block.")]
pub(super) struct Arguments {
    /// Interfaces to watch [default: those of the configuration]
    #[arg(long, short, num_args = 1.., value_name = "NAME")]
    interface: Vec<String>,
    /// Indicators from files, without any exchange
    #[arg(
        long,
        required_unless_present = "config",
        conflicts_with = "config",
        num_args = 1..,
        value_name = "SOURCE"
    )]
    intel: Vec<PathBuf>,
    /// The configuration of the sensor
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of what is kept, instead of the one that the configuration names
    #[arg(long, requires = "config", value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// Policy and allowlists: a file or a folder [default: those of the configuration, or the
    /// shipped ones]
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Append a JSON line for each match, in the shape of EVE; - is standard output
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write what was counted as one JSON object, at the end
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Threads that follow flows [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=SHARDS as i64))]
    workers: Option<u16>,
    /// Only frames that pass this expression of pcap-filter(7)
    #[arg(long, value_name = "BPF")]
    filter: Option<String>,
    /// Take frames for other hosts of the segment, too
    #[arg(long)]
    promiscuous: bool,
    /// Read mail (SMTP), SMB and FTP as well, which costs about half as much again
    #[arg(long)]
    deep: bool,
}

pub(super) fn run(arguments: &Arguments, colour: Colour) -> Result<Ended, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Running(e.to_string());
    let config = match &arguments.config {
        Some(path) if path.as_os_str() == "-" => {
            return Err(Failure::Usage(
                "--config -: the exchanges are asked by processes that need the configuration too; \
                 write it to a file"
                    .into(),
            ));
        }
        Some(path) => {
            let mut config = sensor::load(path, arguments.state.as_deref())?;
            if config.sensor.internal_by_host {
                let networks = host::networks();
                config.sensor.internal.extend(networks.map_err(|e| {
                    Failure::Running(format!("the networks of this host: {e}; name `internal`"))
                })?);
            }
            Some(config)
        }
        None => None,
    };
    let interfaces = match &config {
        Some(config) if arguments.interface.is_empty() => &config.sensor.interfaces,
        _ => &arguments.interface,
    };
    if interfaces.is_empty() {
        return Err(Failure::Usage(
            "no interface is named: use --interface, or `interfaces` in [sensor]".into(),
        ));
    }
    let rules = Arc::new(match (&arguments.rules, &config) {
        (None, Some(config)) => sensor::rules(config)?,
        (path, _) => rules::load(path.as_deref())?,
    });
    let options = LiveOptions {
        promiscuous: arguments.promiscuous,
        filter: arguments.filter.clone(),
    };
    let capture =
        LiveCapture::open(interfaces, options).map_err(|e| Failure::Usage(e.to_string()))?;
    let set = Arc::new(first_set(arguments, config.as_ref())?);
    let matcher = |set: &Arc<IndicatorSet>| {
        let subdomains = intel::subdomain_policy(&rules, set);
        Arc::new(
            Matcher::new(Arc::clone(set), Clock::Capture, subdomains).with_deep(arguments.deep),
        )
    };
    let first = matcher(&set);
    let matching = AtomicU64::new(set.indicators());
    let signals = Signals::catch().map_err(|e| fail(&e))?;
    terminal::say(
        "note",
        &format!(
            "watching {} for {} indicators; nothing is blocked",
            interfaces.join(", "),
            set.indicators()
        ),
    );
    let mut taking = Taking::new(arguments, Arc::clone(&rules), config.as_ref())?;
    let mut keeper = None;
    if let Some(config) = &config {
        let (window, left, told) =
            Window::open(&config.sensor.state).map_err(|e| Failure::Usage(e.to_string()))?;
        if let Some(told) = told {
            terminal::say("warning", &told);
        }
        // of a sensor that was killed
        taking.planned = left;
        keeper = Some(Keeper {
            config,
            window,
            next_save: Instant::now(),
            refuted_at: None,
            trouble: None,
        });
    }
    if config.as_ref().is_some_and(|config| config.block.enforce) {
        terminal::say(
            "warning",
            "[block] enforce = true: this version blocks nothing by itself; events say what would \
             be blocked, and 'watchpost block add' blocks by hand",
        );
    }
    let taking = Mutex::new(taking);
    let (swaps, next): (Sender<Arc<Matcher>>, Receiver<Arc<Matcher>>) = unbounded();
    let replay = Replay {
        frames: Frames::Live {
            capture: Box::new(capture),
            stop: Arc::clone(&signals.stop),
            news: Box::new(|news| terminal::say("note", &news)),
        },
        filter: None,
        workers: arguments
            .workers
            .map_or_else(intel::default_workers, usize::from),
    };
    let begin = Instant::now();
    let (result, keeper) = thread::scope(|scope| {
        let exchanges = config.as_ref().map(|config| {
            let (signals, taking, matching) = (&signals, &taking, &matching);
            scope.spawn(move || {
                let mut loop_ = ExchangeLoop::new(arguments, config, swaps, matching);
                while !signals.stop.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                    loop_.turn(&signals.reload, &matcher);
                    if let Some(keeper) = &mut keeper {
                        keeper.turn(taking, intel::now());
                    }
                }
                loop_.end();
                keeper
            })
        });
        let mut take = |found: Match, set: &Arc<IndicatorSet>| lock(&taking).take(&found, set);
        let result = replay.run(
            &first,
            &mut |_| next.try_iter().last(),
            &mut take,
            &mut |_| {},
        );
        // whatever ended it ends the others
        signals.stop.store(true, Ordering::Relaxed);
        (
            result,
            exchanges.and_then(|thread| thread.join().ok().flatten()),
        )
    });
    let (mut counted, _) = result.map_err(|e| fail(&e))?;
    counted.process_seconds = begin.elapsed().as_secs_f64();
    counted.peak_memory_bytes = stats::peak_memory();
    counted.indicators.loaded = matching.load(Ordering::Relaxed);
    lock(&taking).finish();
    if let Some(mut keeper) = keeper {
        keeper.turn(&taking, intel::now());
    }
    let mut taking = taking.into_inner().unwrap_or_else(PoisonError::into_inner);
    counted.matches_by_verdict = std::mem::take(&mut taking.by_verdict);
    counted.captures = interfaces
        .iter()
        .map(|name| stats::Capture {
            file: name.clone(),
            warnings: Vec::new(),
        })
        .collect();
    let waiting = taking.planned.len();
    if let Some(path) = &arguments.stats {
        let text = serde_json::to_string(&counted).map_err(|e| fail(&e))?;
        write_to(path, &format!("{text}\n")).map_err(|e| fail(&e))?;
    }
    let to_standard_output = [&arguments.events, &arguments.stats]
        .into_iter()
        .flatten()
        .any(|path| path.as_os_str() == "-");
    if !to_standard_output {
        let text = table::conclude(&counted, terminal::style(colour));
        terminal::print(&text).map_err(|e| fail(&e))?;
    }
    match waiting {
        0 => Ok(Ended::Done),
        _ => Err(Failure::Running(format!(
            "{waiting} sightings are written down but not in the outbox, since another process \
             holds the state folder; the next 'watchpost run' takes them up"
        ))),
    }
}

/// The set to begin with: of files, or of what is kept; where nothing is kept yet, an empty one.
fn first_set(arguments: &Arguments, config: Option<&Config>) -> Result<IndicatorSet, Failure> {
    let Some(config) = config else {
        let loaded = intel::load(&arguments.intel)?;
        let unusable: Vec<String> = loaded
            .sources
            .iter()
            .filter_map(intel::gave_nothing)
            .collect();
        if !unusable.is_empty() {
            return Err(Failure::Usage(unusable.join("\n")));
        }
        return Arc::try_unwrap(loaded.set)
            .map_err(|_| Failure::Running("the set is in use".into()));
    };
    let fail = |e: &dyn std::fmt::Display| Failure::Running(e.to_string());
    // makes the folder, where it is not there
    drop(State::open(&config.sensor.state).map_err(|e| fail(&e))?);
    let state = State::open_shared(&config.sensor.state).map_err(|e| fail(&e))?;
    if let Some(set) = set::open(config, &state).map_err(|e| fail(&e))? {
        return Ok(set);
    }
    // of what is kept, if anything is: a sensor does not wait for its exchanges
    let made = set::make(config, &state, intel::now()).map_err(|e| fail(&e))?;
    made.warnings
        .iter()
        .for_each(|w| terminal::say("warning", w));
    Ok(made.set)
}

/// What signals ask for.
struct Signals {
    stop: Arc<AtomicBool>,
    /// Ask the exchanges now.
    reload: Arc<AtomicBool>,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        let signals = Self {
            stop: Arc::default(),
            reload: Arc::default(),
        };
        for signal in [SIGINT, SIGTERM] {
            // the second one ends it however things stand
            flag::register_conditional_default(signal, Arc::clone(&signals.stop))?;
            flag::register(signal, Arc::clone(&signals.stop))?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.reload))?;
        Ok(signals)
    }
}

/// Has exchanges asked and told, and sees to it that what comes of it matches.
struct ExchangeLoop<'a> {
    arguments: &'a Arguments,
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
    fn new(
        arguments: &'a Arguments,
        config: &'a Config,
        swaps: Sender<Arc<Matcher>>,
        matching: &'a AtomicU64,
    ) -> Self {
        Self {
            arguments,
            config,
            swaps,
            child: None,
            next: Instant::now(),
            key: set::saved_key(&config.sensor.state),
            matching,
        }
    }

    /// Looks after the child, and starts one when it is time, or as soon as can be when `asked`.
    fn turn(&mut self, asked: &AtomicBool, matcher: &dyn Fn(&Arc<IndicatorSet>) -> Arc<Matcher>) {
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

    /// This program, as `exchange sync`: asks and tells.
    fn start(&self, more: &[&str]) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["exchange", "sync", "--quiet"]).args(more);
        if let Some(path) = &self.arguments.config {
            command.arg("--config").arg(path);
        }
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
            // it is being written: the next turn sees it
            Ok(None) => {}
            Err(error) => terminal::say("warning", &error.to_string()),
        }
    }

    /// Ends the child, if there is one: it can be ended at any moment.
    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Takes matches as they come.
struct Taking {
    rules: Arc<Rules>,
    config: Option<Config>,
    trust: Trust,
    events: Option<Events>,
    by_verdict: BTreeMap<&'static str, u64>,
    /// The set that matched last; `None`: nothing did.
    set: Option<Arc<IndicatorSet>>,
    explained: HashMap<u32, Details>,
    /// `None`: nothing is shared.
    sharing: Option<Sharing>,
    /// Sightings that the outbox has not taken yet.
    planned: Vec<Planned>,
    /// When what is gathered goes to the outbox.
    window_ends: Timestamp,
    /// Whether something was gathered that is not written down.
    is_dirty: bool,
}

struct Events {
    path: PathBuf,
    writer: BufWriter<Box<dyn Write + Send>>,
    /// Lines that could not be written since the last that could.
    lost: u64,
}

impl Taking {
    fn new(
        arguments: &Arguments,
        rules: Arc<Rules>,
        config: Option<&Config>,
    ) -> Result<Self, Failure> {
        let events = match &arguments.events {
            Some(path) => Some(Events {
                path: path.clone(),
                writer: BufWriter::new(append_to(path)?),
                lost: 0,
            }),
            None => None,
        };
        let mut taking = Self {
            rules,
            config: config.cloned(),
            trust: Trust::default(),
            events,
            by_verdict: BTreeMap::new(),
            set: None,
            explained: HashMap::new(),
            sharing: None,
            planned: Vec::new(),
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

    fn take(&mut self, found: &Match, set: &Arc<IndicatorSet>) {
        if !self.set.as_ref().is_some_and(|last| Arc::ptr_eq(last, set)) {
            // numbers of indicators are those of their set
            self.gather();
            self.explained.clear();
            self.set = Some(Arc::clone(set));
        }
        if self.explained.len() >= MAX_EXPLAINED {
            self.explained.clear();
        }
        let details = self
            .explained
            .entry(found.indicator)
            .or_insert_with(|| set.details(found.indicator));
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

    /// Ends the window when it is over. Gives the sightings that are to go to the outbox.
    fn turn(&mut self, now: Timestamp) -> Vec<Planned> {
        if let Some(config) = &self.config
            && now >= self.window_ends
        {
            self.window_ends = now + config.privacy.window;
            self.gather();
        }
        self.planned.clone()
    }

    /// The outbox has the first so many.
    fn forget(&mut self, count: usize) {
        self.planned.drain(..count.min(self.planned.len()));
        self.is_dirty = true;
    }

    /// Everything that was gathered and is not in the outbox, to be written down.
    fn unsaved(&mut self) -> Vec<Planned> {
        self.is_dirty = false;
        let mut all = self.planned.clone();
        if let (Some(sharing), Some(set)) = (&self.sharing, &self.set) {
            all.extend(sharing.plan(&mut |ordinal| set.details(ordinal)));
        }
        all
    }

    /// Makes sightings of what was gathered.
    fn gather(&mut self) {
        let (Some(sharing), Some(set), Some(config)) = (&mut self.sharing, &self.set, &self.config)
        else {
            return;
        };
        let planned = sharing.plan(&mut |ordinal| set.details(ordinal));
        self.planned.extend(planned);
        match Sharing::new(config) {
            Ok(new) => *sharing = new,
            Err(error) => {
                terminal::say("warning", &format!("nothing is shared any more: {error}"));
                self.sharing = None;
            }
        }
    }

    fn finish(&mut self) {
        if let Some(events) = &mut self.events {
            events.finish();
        }
        self.gather();
    }
}

/// Keeps what was gathered, and sees to it that it comes to the outbox. Works beside the matching:
/// what waits for a disk or for another process makes no packet wait.
struct Keeper<'a> {
    config: &'a Config,
    window: Window,
    /// When what was gathered is written down next.
    next_save: Instant,
    /// When what operators call false was written last, as far as it is known here.
    refuted_at: Option<SystemTime>,
    /// Why the outbox does not take what was gathered; `None`: it does.
    trouble: Option<String>,
}

impl Keeper<'_> {
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
                lock(taking).trust = trust;
                self.refuted_at = written;
            }
            Err(error) => terminal::say("warning", &error.to_string()),
        }
    }

    fn turn(&mut self, taking: &Mutex<Taking>, now: Timestamp) {
        self.refresh(taking);
        let leaving = lock(taking).turn(now);
        let is_due = Instant::now() >= self.next_save;
        if !leaving.is_empty() || lock(taking).is_dirty && is_due {
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

impl Events {
    /// Writes a line through to the file: whoever follows it waits for it. While the disk is full
    /// lines are lost, which is told when it begins and when it is over.
    fn write(&mut self, line: &[u8]) {
        // what could not be written of the lines before goes first
        let written = self
            .writer
            .flush()
            .and_then(|()| self.writer.write_all(line))
            .and_then(|()| self.writer.flush());
        let path = self.path.display();
        match (written, self.lost) {
            (Ok(()), 0) => {}
            (Ok(()), lost) => {
                terminal::say(
                    "warning",
                    &format!("{path}: written again; events lost: {lost}"),
                );
                self.lost = 0;
            }
            (Err(error), lost) => {
                if lost == 0 {
                    terminal::say("warning", &format!("{path}: events are lost: {error}"));
                }
                self.lost += 1;
            }
        }
    }

    /// Says how many are lost for good.
    fn finish(&mut self) {
        let _ = self.writer.flush();
        if self.lost > 0 {
            let path = self.path.display();
            terminal::say("warning", &format!("{path}: events lost: {}", self.lost));
        }
    }
}

/// A file that is appended to, or standard output.
fn append_to(path: &Path) -> Result<Box<dyn Write + Send>, Failure> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let file = File::options().append(true).create(true).open(path);
    let file =
        file.map_err(|e| Failure::Usage(format!("{}: cannot be written: {e}", path.display())))?;
    Ok(Box::new(file))
}

fn write_to(path: &Path, text: &str) -> io::Result<()> {
    if path.as_os_str() == "-" {
        return terminal::print(text);
    }
    std::fs::write(path, text)
}

fn lock(taking: &Mutex<Taking>) -> std::sync::MutexGuard<'_, Taking> {
    taking.lock().unwrap_or_else(PoisonError::into_inner)
}
