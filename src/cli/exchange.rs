//! `watchpost exchange`: asking the exchanges, and telling them.

use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::sensor;
use crate::cli::sensor::Place;
use crate::cli::terminal;
use crate::config::Config;
use crate::config::Exchange;
use crate::daemon::exchange::pull;
use crate::daemon::exchange::pull::Options;
use crate::daemon::exchange::pull::PullReport;
use crate::daemon::exchange::pull::Pulled;
use crate::daemon::exchange::push;
use crate::daemon::exchange::push::PushReport;
use crate::daemon::exchange::set;
use crate::report::text::grouped;
use crate::report::text::printable;
use crate::store::Counts;
use crate::store::SourceStore;
use crate::store::State;
use crate::time::Timestamp;
use clap::Args;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::hash::RandomState;
use std::thread;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost exchange pull --config watchpost.toml
  watchpost exchange pull ec3 --accept            take what was held back
  */5 * * * *  watchpost exchange pull --due      in a crontab: each at its interval

Exits 1 where an exchange could not be read; its last good set stays in use.")]
pub(super) struct PullArguments {
    /// Only these exchanges [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// Only what is due by its interval
    #[arg(long)]
    due: bool,
    /// Take what looks wrong beside the last set (suddenly small or large), too
    #[arg(long)]
    accept: bool,
    /// Say only what went wrong
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost sightings preview        what waits, to the letter
  watchpost exchange push            send it

Exits 1 where an exchange could not be told; what waits stays in the outbox.")]
pub(super) struct PushArguments {
    /// Only to these exchanges [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    place: Place,
    /// Also what is not due yet, since it failed a short while ago
    #[arg(long)]
    now: bool,
    /// Say only what went wrong
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct SyncArguments {
    #[command(flatten)]
    place: Place,
    /// Only what is due by its interval
    #[arg(long)]
    due: bool,
    /// Say only what went wrong
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn pull(arguments: &PullArguments) -> Result<Ended, Failure> {
    let config = arguments.place.load()?;
    let chosen = choose(&config, &arguments.names)?;
    let state =
        State::open_sources(&config.sensor.state).map_err(|e| Failure::Running(e.to_string()))?;
    let fail = |e: &dyn std::fmt::Display| Failure::Running(e.to_string());
    let options = Options {
        accept: arguments.accept,
        due_only: arguments.due,
    };
    let bar = terminal::progress("{spinner} {msg}");
    bar.enable_steady_tick(TICK);
    let names: Vec<&str> = chosen.iter().map(|e| e.name.as_str()).collect();
    bar.set_message(format!("asking {}", names.join(", ")));
    // side by side: together they take as long as the slowest
    let pulled: Vec<_> = thread::scope(|scope| {
        let ask = |exchange| {
            let state = &state;
            scope.spawn(move || pull::pull(exchange, state, options, intel::now(), seed()))
        };
        let asked: Vec<_> = chosen.into_iter().map(ask).collect();
        asked
            .into_iter()
            .map(thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut reports = Vec::new();
    for report in pulled {
        let report = report.map_err(|_| {
            Failure::Running("internal error: a pull stopped; please report this".into())
        })?;
        reports.extend(report.map_err(|e| fail(&e))?);
    }
    // a set of the same as before need not be made again
    let mut total = None;
    if set::open(&config, &state).map_err(|e| fail(&e))?.is_none() {
        bar.set_message("compiling the indicators");
        let made = set::make(&config, &state, intel::now()).map_err(|e| fail(&e))?;
        set::save(&made, &state).map_err(|e| fail(&e))?;
        total = Some(made.set.indicators());
    }
    bar.finish_and_clear();
    let mut text = String::new();
    for report in &reports {
        report
            .warnings
            .iter()
            .for_each(|w| terminal::say("warning", w));
        let went_wrong = matches!(report.outcome, Pulled::Failed(_) | Pulled::HeldBack(_));
        if went_wrong || !arguments.quiet {
            let _ = writeln!(text, "{}", describe(report));
        }
    }
    if let Some(total) = total.filter(|_| !arguments.quiet) {
        let _ = writeln!(text, "{} indicators match from now on", grouped(total));
    }
    tell(&text, arguments.quiet)?;
    let failed = reports
        .iter()
        .filter(|r| matches!(r.outcome, Pulled::Failed(_)))
        .count();
    match failed {
        0 => Ok(Ended::Done),
        count => Err(Failure::Running(format!(
            "not read: {count} of {}; what they gave last stays in use",
            reports.len()
        ))),
    }
}

fn describe(report: &PullReport) -> String {
    let name = match report.collection.as_str() {
        "" => report.exchange.clone(),
        collection => format!("{}, {collection}", report.exchange),
    };
    let what = match &report.outcome {
        Pulled::NotDue(at) => format!("not due before {}", at.to_rfc3339(0)),
        Pulled::Unchanged => "nothing new".to_owned(),
        Pulled::Taken { bytes, indicators } => format!(
            "{} bytes; {} indicators in all",
            grouped(*bytes),
            grouped(*indicators)
        ),
        Pulled::HeldBack(why) => format!("held back: {why}"),
        Pulled::Failed(why) => format!("failed: {why}"),
    };
    printable(&format!("{name}: {what}")).into_owned()
}

pub(super) fn push(arguments: &PushArguments) -> Result<Ended, Failure> {
    let config = arguments.place.load()?;
    let chosen = choose(&config, &arguments.names)?;
    let sending =
        State::open_push(&config.sensor.state).map_err(|e| Failure::Running(e.to_string()))?;
    let due = if arguments.now {
        Timestamp::MAX
    } else {
        intel::now()
    };
    let bar = terminal::progress("{spinner} {msg}");
    bar.enable_steady_tick(TICK);
    let mut text = String::new();
    let mut failed = 0;
    for exchange in chosen.iter().filter(|exchange| exchange.takes_sightings()) {
        bar.set_message(format!("telling {}", exchange.name));
        let report = push::push(exchange, &config, due, intel::now(), seed())
            .map_err(|e| Failure::Running(e.to_string()))?;
        failed += usize::from(report.error.is_some());
        let went_wrong =
            report.error.is_some() || !report.refused.is_empty() || !report.withdrawn.is_empty();
        if went_wrong || !arguments.quiet {
            text.push_str(&describe_push(exchange, &report));
        }
    }
    drop(sending);
    bar.finish_and_clear();
    if text.is_empty() && !arguments.quiet {
        text.push_str("no exchange takes sightings (key `sightings`)\n");
    }
    tell(&text, arguments.quiet)?;
    match failed {
        0 => Ok(Ended::Done),
        count => Err(Failure::Running(format!(
            "not told all: {count}; what waits stays in the outbox"
        ))),
    }
}

/// Prints what came of it; where only what went wrong is told, among the messages.
fn tell(text: &str, quiet: bool) -> Result<(), Failure> {
    if quiet {
        terminal::say("warning", text);
        return Ok(());
    }
    terminal::print(text).map_err(|e| Failure::Running(e.to_string()))
}

fn describe_push(exchange: &Exchange, report: &PushReport) -> String {
    let mut text = format!(
        "{}: {} accepted, {} refused, {} wait\n",
        exchange.name,
        report.accepted,
        report.refused.len(),
        report.waiting
    );
    for (id, reason) in report.refused.iter().take(SHOWN) {
        let line = format!("  refused {id}: {reason}");
        let _ = writeln!(text, "{}", printable(&line));
    }
    if report.refused.len() > SHOWN {
        let _ = writeln!(text, "  and {} more", report.refused.len() - SHOWN);
    }
    let mut withdrawn: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, why) in &report.withdrawn {
        *withdrawn.entry(why).or_default() += 1;
    }
    for (why, count) in withdrawn {
        let _ = writeln!(
            text,
            "  {}",
            printable(&format!("withdrawn {count}: {why}"))
        );
    }
    if let Some(error) = &report.error {
        let _ = writeln!(text, "  {}", printable(error));
    }
    text
}

pub(super) fn sync(arguments: SyncArguments) -> Result<Ended, Failure> {
    let SyncArguments { place, due, quiet } = arguments;
    let pulled = pull(&PullArguments {
        names: Vec::new(),
        place: place.clone(),
        due,
        accept: false,
        quiet,
    });
    let pushed = push(&PushArguments {
        names: Vec::new(),
        place,
        now: false,
        quiet,
    });
    // one that fails keeps nothing from the other
    pulled.and(pushed)
}

pub(super) fn status(arguments: &StatusArguments, colour: Colour) -> Result<Ended, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Running(e.to_string());
    let config = arguments.place.load()?;
    let state = sensor::open_shared(&config)?;
    let sources = state.sources().map_err(|e| fail(&e))?;
    sources
        .damages
        .iter()
        .for_each(|damage| terminal::say("warning", damage));
    let outbox = state.outbox().map_err(|e| fail(&e))?;
    if let Some(damage) = outbox.damage() {
        terminal::say("warning", damage);
    }
    let counts = outbox.counts();
    let mut told = Vec::new();
    for exchange in &config.exchanges {
        let sources = set::sources(&state, exchange).map_err(|e| fail(&e))?;
        let counts = counts.get(exchange.name.as_str()).copied();
        told.push((exchange, sources, counts.unwrap_or_default()));
    }
    let text = if arguments.json {
        let exchanges: Vec<Value> = told
            .iter()
            .map(|(exchange, sources, counts)| status_value(exchange, sources, *counts))
            .collect();
        format!("{}\n", json!({ "exchanges": exchanges }))
    } else {
        let style = terminal::style(colour);
        let mut text = String::new();
        for (exchange, sources, counts) in &told {
            text.push_str(&status_text(exchange, sources, *counts, style.colour));
        }
        text
    };
    terminal::print(&text).map_err(|e| fail(&e))?;
    Ok(Ended::Done)
}

fn status_value(exchange: &Exchange, sources: &[SourceStore], counts: Counts) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_rfc3339(0));
    let collections: Vec<Value> = sources
        .iter()
        .map(|source| {
            let meta = source.meta();
            json!({
                "collection": source.collection(),
                "indicators": meta.indicators,
                "fetched_at": time(meta.fetched_at),
                "next_due": time(meta.next_due),
                "failures": meta.failures,
                "last_error": meta.last_error,
                "held_back": meta.held_back,
                "damages": source.damages(),
            })
        })
        .collect();
    json!({
        "name": exchange.name,
        "kind": exchange.kind.as_str(),
        "collections": collections,
        "outbox": {
            "pending": counts.pending,
            "accepted": counts.accepted,
            "refused": counts.refused,
            "withdrawn": counts.withdrawn,
            "oldest": time(counts.oldest),
        },
    })
}

fn status_text(
    exchange: &Exchange,
    sources: &[SourceStore],
    counts: Counts,
    colour: bool,
) -> String {
    let (bold, plain) = if colour {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut text = format!(
        "{bold}{}{plain} ({})\n",
        exchange.name,
        exchange.kind.as_str()
    );
    if sources.is_empty() {
        text.push_str("  nothing was fetched yet\n");
    }
    for source in sources {
        let meta = source.meta();
        // of a server with collections, how it was reached itself
        let is_server = source.collection().is_empty() && sources.len() > 1;
        if is_server && meta.last_error.is_none() {
            continue;
        }
        let name = match source.collection() {
            "" => String::new(),
            collection => format!("{collection}: "),
        };
        let mut line = format!("{name}{} indicators", grouped(meta.indicators));
        if let Some(at) = meta.fetched_at {
            let _ = write!(line, ", asked last {}", at.to_rfc3339(0));
        }
        if let Some(at) = meta.next_due {
            let _ = write!(line, ", due {}", at.to_rfc3339(0));
        }
        let _ = writeln!(text, "  {}", printable(&line));
        if let Some(why) = &meta.held_back {
            let _ = writeln!(text, "  {}", printable(&format!("held back: {why}")));
        }
        if let Some(error) = &meta.last_error {
            let line = format!("failed {} times in a row: {error}", meta.failures);
            let _ = writeln!(text, "  {}", printable(&line));
        }
        for damage in source.damages() {
            let _ = writeln!(text, "  {}", printable(&format!("damaged: {damage}")));
        }
    }
    if exchange.takes_sightings() {
        let _ = write!(
            text,
            "  outbox: {} wait, {} accepted, {} refused",
            grouped(counts.pending),
            grouped(counts.accepted),
            grouped(counts.refused)
        );
        if let Some(oldest) = counts.oldest {
            let _ = write!(text, "; the oldest since {}", oldest.to_rfc3339(0));
        }
        text.push('\n');
    }
    text
}

/// The exchanges of these names, or all.
fn choose<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a Exchange>, Failure> {
    if config.exchanges.is_empty() {
        return Err(Failure::Usage(
            "the configuration names no exchange: add [[exchange]]".into(),
        ));
    }
    if names.is_empty() {
        return Ok(config.exchanges.iter().collect());
    }
    let find = |name: &String| {
        let known = || {
            let names = config.exchanges.iter().map(|e| e.name.as_str());
            names.collect::<Vec<_>>().join(", ")
        };
        let found = config.exchanges.iter().find(|e| e.name == *name);
        found.ok_or_else(|| {
            Failure::Usage(format!("{name}: no such exchange; there are: {}", known()))
        })
    };
    names.iter().map(find).collect()
}

/// Chooses the pauses of this sensor.
fn seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Refusals that are told one by one.
const SHOWN: usize = 10;
