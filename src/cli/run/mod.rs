//! `watchpost run`: the sensor on interfaces, with the exchanges of its configuration.
//!
//! Exchanges are asked and told by a child process, this very program: what they send is read
//! where it can do no harm to the sensor, and the sensor maps the set that comes of it.

mod events;
mod exchanges;
mod keeper;
mod taking;

use crate::block::host;
use crate::capture::live::LiveCapture;
use crate::capture::live::LiveOptions;
use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::rules;
use crate::cli::run::events::Events;
use crate::cli::run::exchanges::ExchangeLoop;
use crate::cli::run::keeper::Keeper;
use crate::cli::run::taking::Taking;
use crate::cli::run::taking::lock;
use crate::cli::sensor;
use crate::cli::sensor::Sources;
use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::set;
use crate::daemon::exchange::window::Window;
use crate::daemon::replay::Frames;
use crate::daemon::replay::Replay;
use crate::flow::table::SHARDS;
use crate::matcher::Clock;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::set::IndicatorSet;
use crate::report::stats;
use crate::report::table;
use crate::store::State;
use clap::Args;
use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::unbounded;
use signal_hook::consts::SIGHUP;
use signal_hook::consts::SIGINT;
use signal_hook::consts::SIGTERM;
use signal_hook::flag;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How often what is due is looked for: a person who sends a signal does not notice the wait.
const TICK: Duration = Duration::from_millis(200);

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
    #[command(flatten)]
    sources: Sources,
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
    let config = match &arguments.sources.config {
        Some(path) if path.as_os_str() == "-" => {
            return Err(Failure::Usage(
                "--config -: the exchanges are asked by processes that need the configuration too; \
                 write it to a file"
                    .into(),
            ));
        }
        Some(path) => {
            let mut config = sensor::load(path, arguments.sources.state.as_deref())?;
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
    let mut left = Vec::new();
    let mut keeper = None;
    if let Some(config) = &config {
        let (window, unsent, told) =
            Window::open(&config.sensor.state).map_err(|e| Failure::Usage(e.to_string()))?;
        if let Some(told) = told {
            terminal::say("warning", &told);
        }
        left = unsent;
        keeper = Some(Keeper::new(config, window));
    }
    let events = arguments.events.as_deref().map(Events::open).transpose()?;
    let taking = Taking::new(events, Arc::clone(&rules), config.as_ref(), left)?;
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
        let sensor = arguments.sources.config.as_ref().zip(config.as_ref());
        let exchanges = sensor.map(|(path, config)| {
            let (signals, taking, matching) = (&signals, &taking, &matching);
            scope.spawn(move || {
                let mut loop_ = ExchangeLoop::new(path, config, swaps, matching);
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
        keeper.finish(&taking, intel::now());
    }
    let taking = taking.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (waiting, by_verdict) = taking.into_counts();
    counted.matches_by_verdict = by_verdict;
    counted.captures = interfaces
        .iter()
        .map(|name| stats::Capture {
            file: name.clone(),
            warnings: Vec::new(),
        })
        .collect();
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
        let loaded = intel::load(&arguments.sources.intel)?;
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

fn write_to(path: &Path, text: &str) -> io::Result<()> {
    if path.as_os_str() == "-" {
        return terminal::print(text);
    }
    std::fs::write(path, text)
}
