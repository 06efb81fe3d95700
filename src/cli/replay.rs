//! `watchpost replay`.

use crate::capture;
use crate::capture::Input;
use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::files;
use crate::cli::intel;
use crate::cli::intel::Explained;
use crate::cli::rules;
use crate::cli::sensor;
use crate::cli::sensor::Sources;
use crate::cli::sensor::Trust;
use crate::cli::terminal;
use crate::config::Config;
use crate::daemon::exchange::outbox;
use crate::daemon::exchange::share;
use crate::daemon::exchange::share::Sharing;
use crate::daemon::filter::Filter;
use crate::daemon::replay::CaptureReport;
use crate::daemon::replay::Frames;
use crate::daemon::replay::Replay;
use crate::exchange::LoadedSource;
use crate::flow::table::SHARDS;
use crate::matcher::Clock;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::set::IndicatorSet;
use crate::report::event::write_event;
use crate::report::stats;
use crate::report::stats::Stats;
use crate::report::table;
use crate::report::table::Summary;
use crate::sighting::Reporter;
use crate::sighting::Sightings;
use crate::store::State;
use crate::verdict::Action;
use crate::verdict::Rules;
use clap::Args;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Who reports where nobody said.
const DEFAULT_NAME: &str = "watchpost";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost replay capture.pcap --intel bundle.json
  tcpdump -w - -c 1000 | watchpost replay - --intel list.txt
  watchpost replay captures/ --intel indicators.set --events events.jsonl --stats -
  watchpost replay old.pcapng --intel new.json --validity ignore --filter 'port 53'
  watchpost replay capture.pcap --config watchpost.toml --share

Captures are pcap or pcapng, plain or compressed with gzip or zstd.
Exit codes: 0 done; 1 failed while running; 2 used wrongly, or a source gave nothing;
3 something matched and --fail-on-match was given.")]
pub(super) struct Arguments {
    /// Capture files, or folders of them, in order; - is standard input
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    #[command(flatten)]
    sources: Sources,
    /// Put what matched into the sensor's outbox, for `watchpost exchange push` to send
    #[arg(long, requires = "config")]
    share: bool,
    /// Policy and allowlists: a file or a folder [default: the shipped ones]
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Write a JSON line for each match, in the shape of EVE
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Write the sightings as one STIX 2.1 bundle
    #[arg(long, value_name = "FILE")]
    sightings: Option<PathBuf>,
    /// Write what was counted as one JSON object
    #[arg(long, value_name = "FILE")]
    stats: Option<PathBuf>,
    /// Threads that follow flows [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=SHARDS as i64))]
    workers: Option<u16>,
    /// Only frames that pass this expression of pcap-filter(7)
    #[arg(long, value_name = "BPF")]
    filter: Option<String>,
    /// Read mail (SMTP), SMB and FTP as well, which costs about half as much again
    #[arg(long)]
    deep: bool,
    /// Which clock decides whether an indicator is valid
    #[arg(long, value_enum, default_value_t = Validity::Capture, value_name = "CLOCK")]
    validity: Validity,
    /// Exit with 3 if anything matched
    #[arg(long)]
    fail_on_match: bool,
    /// Print no table
    #[arg(long, short)]
    quiet: bool,
    /// Name of the sensor in sightings [default: the configuration's, or watchpost]
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Validity {
    /// The time of the packets
    Capture,
    /// The present
    Now,
    /// None: expired and future indicators match too
    Ignore,
}

pub(super) fn run(arguments: Arguments, colour: Colour) -> Result<Ended, Failure> {
    check_standard_streams(&arguments)?;
    if arguments.sources.config.is_none() && (arguments.share || arguments.sources.state.is_some())
    {
        return Err(Failure::Usage(
            "--share and --state belong to a sensor: name its --config instead of --intel".into(),
        ));
    }
    let sensor = match &arguments.sources.config {
        Some(path) => Some(Sensor::open(path, &arguments)?),
        None => None,
    };
    let rules = match (&arguments.rules, &sensor) {
        (None, Some(sensor)) => sensor::rules(&sensor.config)?,
        (path, _) => rules::load(path.as_deref())?,
    };
    rules
        .warnings()
        .iter()
        .for_each(|w| terminal::say("warning", w));
    let filter = match &arguments.filter {
        Some(expression) => {
            Some(Filter::new(expression).map_err(|e| Failure::Usage(e.to_string()))?)
        }
        None => None,
    };
    let expanded =
        capture::expand_inputs(&arguments.captures).map_err(|e| Failure::Usage(e.to_string()))?;
    expanded
        .passed_over
        .iter()
        .for_each(|p| terminal::say("note", &p.reason));
    check_files(&arguments, &expanded.inputs, sensor.as_ref())?;
    let begin = Instant::now();
    let loaded = match &sensor {
        Some(sensor) => intel::Loaded {
            set: Arc::new(sensor::indicators(&sensor.config, &sensor.state)?),
            sources: Vec::new(),
        },
        None => intel::load(&arguments.sources.intel)?,
    };
    let unusable = tell_sources(&loaded.sources, true);
    if !unusable.is_empty() && unusable.len() == loaded.sources.len() {
        return Err(Failure::Usage(unusable.join("\n")));
    }
    let clock = match arguments.validity {
        Validity::Capture => Clock::Capture,
        Validity::Now => Clock::At(intel::now()),
        Validity::Ignore => Clock::Ignore,
    };
    let subdomains = intel::subdomain_policy(&rules, &loaded.set);
    let matcher = Arc::new(
        Matcher::new(Arc::clone(&loaded.set), clock, subdomains).with_deep(arguments.deep),
    );
    let load_seconds = begin.elapsed().as_secs_f64();
    let mut taker = Taker::new(&arguments, &rules, Arc::clone(&loaded.set), sensor)?;
    let replay = Replay {
        frames: Frames::Recorded(expanded.inputs),
        filter,
        workers: workers(&arguments),
    };
    let begin = Instant::now();
    let bar = terminal::progress("{spinner} {msg} {bytes} of {total_bytes} [{wide_bar}] {eta}");
    let mut take = |found: Match, _: &Arc<IndicatorSet>| taker.take(&found);
    let result = replay.run(&matcher, &mut |_| None, &mut take, &mut |at| {
        if !bar.is_hidden() {
            bar.set_message(at.file.to_owned());
            bar.set_length(at.total.unwrap_or(at.consumed));
            bar.set_position(at.consumed);
        }
    });
    bar.finish_and_clear();
    let (mut counted, captures) = result.map_err(|e| Failure::Running(e.to_string()))?;
    counted.load_seconds = load_seconds;
    counted.process_seconds = begin.elapsed().as_secs_f64();
    counted.peak_memory_bytes = stats::peak_memory();
    counted.matches_by_verdict = std::mem::take(&mut taker.by_verdict);
    note_indicators(&mut counted, &loaded.set, &loaded.sources);
    let mut failures = unusable;
    for capture in captures {
        failures.extend(tell_capture(&mut counted, capture));
    }
    taker.finish(&arguments, &counted, colour)?;
    if !failures.is_empty() {
        return Err(Failure::Usage(failures.join("\n")));
    }
    let matched = counted.matches > 0 && arguments.fail_on_match;
    Ok(if matched { Ended::Matched } else { Ended::Done })
}

/// The sensor whose configuration was named.
struct Sensor {
    config: Config,
    state: State,
    trust: Trust,
    /// `None`: nothing is shared.
    sharing: Option<Sharing>,
}

impl Sensor {
    fn open(path: &Path, arguments: &Arguments) -> Result<Self, Failure> {
        let config = sensor::load(path, arguments.sources.state.as_deref())?;
        let state = sensor::open_shared(&config)?;
        let trust = Trust::of(&config, &state)?;
        let mut sharing = None;
        if arguments.share {
            // told now rather than after a long replay
            drop(sensor::open(&config)?);
            sharing = Some(Sharing::new(&config).map_err(|e| Failure::Usage(e.to_string()))?);
        }
        Ok(Self {
            config,
            state,
            trust,
            sharing,
        })
    }

    /// Puts what was gathered into the outbox.
    fn share(&self, set: &IndicatorSet) -> Result<(), Failure> {
        let Some(sharing) = &self.sharing else {
            return Ok(());
        };
        let planned = sharing.plan(&mut |ordinal| set.details(ordinal));
        let state = sensor::open(&self.config)?;
        let put = outbox::put(&state, &planned, intel::now())
            .map_err(|e| Failure::Running(e.to_string()))?;
        terminal::say("note", &put.to_string());
        match put.refused {
            None => Ok(()),
            Some((count, full)) => Err(Failure::Running(format!("{count} sightings: {full}"))),
        }
    }
}

/// Standard input is read once, and standard output takes one kind of data.
fn check_standard_streams(arguments: &Arguments) -> Result<(), Failure> {
    let is_standard = |path: &PathBuf| path.as_os_str() == "-";
    if arguments.captures.iter().any(is_standard) && arguments.sources.intel.iter().any(is_standard)
    {
        return Err(Failure::Usage(
            "-: standard input is either a capture or indicators; name a file for one of them"
                .into(),
        ));
    }
    let outputs = [&arguments.events, &arguments.sightings, &arguments.stats];
    if outputs
        .into_iter()
        .flatten()
        .filter(|path| is_standard(path))
        .count()
        > 1
    {
        return Err(Failure::Usage(
            "-: only one of --events, --sightings and --stats can go to standard output".into(),
        ));
    }
    Ok(())
}

/// No output may be an input or another output.
fn check_files(
    arguments: &Arguments,
    captures: &[Input],
    sensor: Option<&Sensor>,
) -> Result<(), Failure> {
    let outputs: Vec<&Path> = [&arguments.events, &arguments.sightings, &arguments.stats]
        .into_iter()
        .filter_map(Option::as_deref)
        .collect();
    let captures = captures.iter().filter_map(|input| match input {
        Input::Path(path) => Some(path.as_path()),
        Input::StandardInput => None,
    });
    let inputs: Vec<&Path> = captures
        .chain(arguments.sources.intel.iter().map(PathBuf::as_path))
        .chain(arguments.sources.config.as_deref())
        .chain(sensor.map(|sensor| sensor.config.sensor.state.as_path()))
        .chain(arguments.rules.as_deref())
        .collect();
    files::check_outputs(&outputs, &inputs)
}

fn workers(arguments: &Arguments) -> usize {
    arguments
        .workers
        .map_or_else(intel::default_workers, usize::from)
}

/// Tells what was odd about the sources, with `tells_expired` also whether all of one is expired;
/// returns why some gave nothing.
pub(super) fn tell_sources(sources: &[LoadedSource], tells_expired: bool) -> Vec<String> {
    let mut unusable = Vec::new();
    for source in sources {
        let report = &source.report;
        report
            .warnings
            .iter()
            .for_each(|w| terminal::say("warning", &format!("{}: {w}", report.file)));
        if let Some(reason) = intel::gave_nothing(source) {
            unusable.push(reason);
            continue;
        }
        if let Some(skipped) = &source.skipped {
            terminal::say("warning", &skipped.to_string());
            continue;
        }
        if let Some(first) = report.refused.first() {
            terminal::say(
                "warning",
                &format!(
                    "{}: objects refused: {}; the first at {}: {} ('watchpost intel check' tells all)",
                    report.file,
                    report.refused.len(),
                    first.path,
                    first.reason
                ),
            );
        }
        if report.loaded == 0 {
            terminal::say(
                "warning",
                &format!("{}: no indicator of it can match", report.file),
            );
        } else if tells_expired && report.expired == report.loaded {
            terminal::say(
                "warning",
                &format!(
                    "{}: all {} indicators have expired by now; they match only what was captured \
                     while they were valid (--validity ignore matches all)",
                    report.file, report.loaded
                ),
            );
        }
    }
    unusable
}

/// Tells what was odd about a capture; returns why it gave nothing.
fn tell_capture(counted: &mut Stats, capture: CaptureReport) -> Option<String> {
    capture
        .warnings
        .iter()
        .for_each(|w| terminal::say("warning", w));
    counted.captures.push(stats::Capture {
        file: capture.file,
        warnings: capture.warnings,
    });
    capture.fatal
}

fn note_indicators(counted: &mut Stats, set: &IndicatorSet, sources: &[LoadedSource]) {
    counted.indicators.loaded = set.indicators();
    for source in sources {
        for refused in &source.report.refused {
            *counted
                .indicators
                .refused
                .entry(refused.reason.clone())
                .or_default() += 1;
        }
    }
}

/// Takes matches in order: judges them, writes them down.
struct Taker<'r> {
    rules: &'r Rules,
    /// `None`: indicators come from files.
    sensor: Option<Sensor>,
    explained: Explained,
    events: Option<Output>,
    sightings: Option<Sightings>,
    summary: Summary,
    by_verdict: BTreeMap<&'static str, u64>,
    line: Vec<u8>,
    failed: Option<io::Error>,
    /// Whether the set could not say what an indicator is.
    damaged: bool,
}

impl<'r> Taker<'r> {
    fn new(
        arguments: &Arguments,
        rules: &'r Rules,
        set: Arc<IndicatorSet>,
        sensor: Option<Sensor>,
    ) -> Result<Self, Failure> {
        let events = arguments
            .events
            .as_deref()
            .map(Output::create)
            .transpose()?;
        // the other files are made now, so that a wrong path is told before a long replay
        for path in [&arguments.sightings, &arguments.stats]
            .into_iter()
            .flatten()
        {
            Output::create(path)?;
        }
        Ok(Self {
            rules,
            sensor,
            explained: Explained::new(set),
            events,
            sightings: arguments.sightings.is_some().then(Sightings::new),
            summary: Summary::new(),
            by_verdict: BTreeMap::new(),
            line: Vec::new(),
            failed: None,
            damaged: false,
        })
    }

    fn take(&mut self, found: &Match) {
        let details = self.explained.details(found.indicator);
        if details.id.is_empty() {
            // without its marking a match must go nowhere
            self.damaged = true;
            return;
        }
        let verdict = match &mut self.sensor {
            None => self.rules.judge(found, details),
            Some(sensor) => {
                let verdict = sensor.trust.judge(self.rules, found, details);
                if let Some(sharing) = &mut sensor.sharing {
                    sharing.record(found, verdict.action == Action::Allowlisted);
                }
                verdict
            }
        };
        *self.by_verdict.entry(verdict.action.as_str()).or_default() += 1;
        if let Some(sightings) = &mut self.sightings {
            sightings.record(found, verdict.action == Action::Allowlisted);
        }
        self.summary.record(found, verdict.action);
        if let Some(events) = self.events.as_mut().filter(|_| self.failed.is_none()) {
            self.line.clear();
            write_event(&mut self.line, found, details, &verdict);
            self.failed = events.writer.write_all(&self.line).err();
        }
    }

    fn finish(
        mut self,
        arguments: &Arguments,
        counted: &Stats,
        colour: Colour,
    ) -> Result<(), Failure> {
        if self.damaged {
            return Err(intel::damaged());
        }
        let written = [
            self.write_events(arguments),
            self.write_sightings(arguments),
            write_stats(arguments, counted),
        ];
        let outputs = [&arguments.events, &arguments.sightings, &arguments.stats];
        let stdout_is_data = outputs
            .into_iter()
            .flatten()
            .any(|path| path.as_os_str() == "-");
        if !arguments.quiet && !stdout_is_data {
            let style = terminal::style(colour);
            let set = Arc::clone(self.explained.set());
            let table = self
                .summary
                .render(&mut |ordinal| set.details(ordinal), style);
            let space = if table.is_empty() { "" } else { "\n" };
            let text = format!("{table}{space}{}", table::conclude(counted, style));
            terminal::print(&text).map_err(|e| Failure::Running(e.to_string()))?;
        }
        let shared = match &self.sensor {
            Some(sensor) => sensor.share(self.explained.set()),
            None => Ok(()),
        };
        // each output is tried; the first failure is told
        written.into_iter().chain([shared]).collect()
    }

    fn write_events(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        let (Some(mut events), Some(path)) = (self.events.take(), &arguments.events) else {
            return Ok(());
        };
        let failed = self.failed.take();
        failed
            .map_or_else(|| events.writer.flush(), Err)
            .or_else(ignore_gone_reader)
            .map_err(|e| not_written(path, &e))
    }

    fn write_sightings(&mut self, arguments: &Arguments) -> Result<(), Failure> {
        let (Some(sightings), Some(path)) = (self.sightings.take(), &arguments.sightings) else {
            return Ok(());
        };
        let mut reporter = match &self.sensor {
            Some(sensor) => share::reporter(&sensor.config),
            None => Reporter {
                name: DEFAULT_NAME.into(),
                organisation: None,
            },
        };
        if let Some(name) = &arguments.sensor {
            reporter.name.clone_from(name);
        }
        let set = Arc::clone(self.explained.set());
        let mut output = Output::create(path)?;
        sightings
            .write_bundle(
                &reporter,
                &mut |ordinal| set.details(ordinal),
                &mut output.writer,
            )
            .and_then(|()| output.writer.flush())
            .or_else(ignore_gone_reader)
            .map_err(|e| not_written(path, &e))
    }
}

fn write_stats(arguments: &Arguments, counted: &Stats) -> Result<(), Failure> {
    let Some(path) = &arguments.stats else {
        return Ok(());
    };
    let mut output = Output::create(path)?;
    serde_json::to_writer(&mut output.writer, counted)
        .map_err(io::Error::from)
        .and_then(|()| output.writer.write_all(b"\n"))
        .and_then(|()| output.writer.flush())
        .or_else(ignore_gone_reader)
        .map_err(|e| not_written(path, &e))
}

/// A file that is written from its start, or standard output.
struct Output {
    writer: BufWriter<Box<dyn Write + Send>>,
}

impl Output {
    fn create(path: &Path) -> Result<Self, Failure> {
        let writer: Box<dyn Write + Send> = if path.as_os_str() == "-" {
            Box::new(io::stdout())
        } else {
            let file = File::create(path).map_err(|e| {
                Failure::Usage(format!("{}: cannot be written: {e}", path.display()))
            })?;
            Box::new(file)
        };
        Ok(Self {
            writer: BufWriter::new(writer),
        })
    }
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::Running(format!("{}: cannot be written: {error}", path.display()))
}

/// A reader that went away (`| head`) is no fault.
pub(super) fn ignore_gone_reader(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Ok(())
    } else {
        Err(error)
    }
}
