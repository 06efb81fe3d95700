//! `watchpost block`: what the firewall holds, and changing it by hand.

use crate::block::Backend;
use crate::block::BlockError;
use crate::block::Cause;
use crate::block::Element;
use crate::block::Held;
use crate::block::Target;
use crate::block::host;
use crate::block::netfilter::Netfilter;
use crate::block::never::Limits;
use crate::block::never::NeverBlock;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::terminal;
use crate::report::text::printable;
use clap::Args;
use clap::Subcommand;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;

/// The longest block by hand: what is meant for ever belongs into a list of indicators, where
/// somebody will find it again.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

#[derive(Debug, Subcommand)]
pub(super) enum BlockCommand {
    /// Say what is blocked: for how much longer, how often it was met, and why
    List(ListArguments),
    /// Block an address, a network or a service
    Add(AddArguments),
    /// End the block of an address, a network or a service
    Release(ReleaseArguments),
    /// Let everything pass at once; what is blocked is remembered
    Pause,
    /// End a pause
    Resume,
    /// End all blocks, and remove our table from the firewall
    Flush,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost block list
  watchpost block list --json | jq '.elements[] | select(.packets > 0)'")]
pub(super) struct ListArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost block add 203.0.113.7 --for 1h --why 'scans our mail server'
  watchpost block add 2001:db8:bad::/48 --for 7d
  watchpost block add 203.0.113.7:443/tcp --for 30m

What is never blocked (this host, its routers and resolvers, your own connection,
what the sensor protects) is refused, and said why, with exit code 2.")]
pub(super) struct AddArguments {
    /// An address, a network, or a service such as 192.0.2.1:443/tcp or `[2001:db8::1]:53/udp`
    #[arg(value_name = "VALUE")]
    target: Target,
    /// For how long: a number and s, m, h, d or w
    #[arg(long = "for", value_name = "DURATION", value_parser = read_duration)]
    duration: Duration,
    /// Why, for whoever reads the list later
    #[arg(long, value_name = "TEXT", default_value = "by hand")]
    why: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost block release 203.0.113.7

A running sensor blocks again what its indicators name: an allowlist, or `never`
in the [block] part of its configuration, keeps it from doing so.")]
pub(super) struct ReleaseArguments {
    /// What was blocked, as `watchpost block list` shows it, or any part of a network
    #[arg(value_name = "VALUE")]
    target: Target,
}

/// Runs one of the commands.
pub(super) fn run(command: BlockCommand) -> Result<Ended, Failure> {
    let protected = host::protected()
        .map_err(|e| Failure::Running(format!("reading this host's addresses and routes: {e}")))?;
    let never = NeverBlock::new(Limits::default(), protected)
        .map_err(|e| Failure::Running(e.to_string()))?;
    if let BlockCommand::Add(arguments) = &command {
        refuse(arguments, &never)?;
    }
    let mut firewall = Netfilter::open(&never).map_err(failed)?;
    match command {
        BlockCommand::List(arguments) => list(&mut firewall, arguments.json),
        BlockCommand::Add(arguments) => add(&mut firewall, arguments),
        BlockCommand::Release(arguments) => release(&mut firewall, arguments.target),
        BlockCommand::Pause => {
            firewall.pause().map_err(failed)?;
            terminal::say("note", "everything passes until 'watchpost block resume'");
            Ok(Ended::Done)
        }
        BlockCommand::Resume => {
            firewall.resume().map_err(failed)?;
            Ok(Ended::Done)
        }
        BlockCommand::Flush => {
            firewall.flush().map_err(failed)?;
            Ok(Ended::Done)
        }
    }
}

fn list(firewall: &mut Netfilter, as_json: bool) -> Result<Ended, Failure> {
    let is_paused = firewall.is_paused().map_err(failed)?;
    let mut held = firewall.list().map_err(failed)?;
    held.sort_by_key(|held| held.key);
    let text = if as_json {
        to_json(&held, is_paused)
    } else {
        to_text(&held)
    };
    terminal::print(&text).map_err(|e| Failure::Running(format!("standard output: {e}")))?;
    if is_paused {
        terminal::say(
            "note",
            "paused: everything passes until 'watchpost block resume'",
        );
    }
    Ok(Ended::Done)
}

fn to_json(held: &[Held], is_paused: bool) -> String {
    let elements: Vec<_> = held
        .iter()
        .map(|held| {
            json!({
                "target": held.key.to_string(),
                "cause": held.cause.map(Cause::as_str),
                "indicator": &*held.indicator,
                "remaining_seconds": held.remaining.map(|r| r.as_secs()),
                "packets": held.packets,
                "bytes": held.bytes,
            })
        })
        .collect();
    format!("{}\n", json!({"paused": is_paused, "elements": elements}))
}

fn to_text(held: &[Held]) -> String {
    if held.is_empty() {
        return "nothing is blocked\n".to_owned();
    }
    let targets: Vec<String> = held.iter().map(|held| held.key.to_string()).collect();
    let width = targets.iter().map(String::len).max().unwrap_or(0).max(6);
    let mut out = format!(
        "{:width$}  {:>9}  {:>10}  {:>12}  why\n",
        "target", "remaining", "packets", "bytes"
    );
    for (held, target) in held.iter().zip(targets) {
        let remaining = held.remaining.map_or_else(|| "-".to_owned(), briefly);
        let cause = held.cause.map_or("not ours", Cause::as_str);
        // writing to a String cannot fail
        let _ = writeln!(
            out,
            "{target:width$}  {remaining:>9}  {:>10}  {:>12}  {cause} {}",
            held.packets,
            held.bytes,
            printable(&held.indicator)
        );
    }
    out
}

/// Refuses what is never blocked, by what this host is.
fn refuse(arguments: &AddArguments, never: &NeverBlock) -> Result<(), Failure> {
    match never.refuse(arguments.target) {
        Some(refusal) => Err(Failure::Usage(format!("{}: {refusal}", arguments.target))),
        None => Ok(()),
    }
}

fn add(firewall: &mut Netfilter, arguments: AddArguments) -> Result<Ended, Failure> {
    // what a running sensor protects beyond: exchanges, allowlists, its configuration
    let range = arguments.target.range();
    let allowed = firewall.allowed().map_err(failed)?;
    if let Some(allowed) = allowed.iter().find(|allowed| allowed.overlaps(range)) {
        return Err(Failure::Usage(format!(
            "{}: never blocked: the sensor protects {allowed} (its allowlists and [block] never \
             say why)",
            arguments.target
        )));
    }
    let now = intel::now();
    let element = Element {
        target: arguments.target,
        until: now + arguments.duration,
        indicator: arguments.why.into(),
        cause: Cause::Operator,
    };
    let added = firewall.add(&[element], now).map_err(failed)?;
    if added == 0 {
        terminal::say(
            "note",
            &format!("{} is blocked for as long already", arguments.target),
        );
    }
    if firewall.is_paused().map_err(failed)? {
        terminal::say(
            "warning",
            "blocking is paused: nothing is held back until 'watchpost block resume'",
        );
    }
    Ok(Ended::Done)
}

fn release(firewall: &mut Netfilter, target: Target) -> Result<Ended, Failure> {
    if firewall.release(target).map_err(failed)? {
        return Ok(Ended::Done);
    }
    Err(Failure::Usage(format!(
        "{target}: is not blocked ('watchpost block list' shows what is)"
    )))
}

fn failed(error: BlockError) -> Failure {
    Failure::Running(error.to_string())
}

/// A time in its largest unit, and the next.
fn briefly(time: Duration) -> String {
    let seconds = time.as_secs();
    let (large, small, units) = match seconds {
        0..60 => return format!("{seconds}s"),
        60..3_600 => (seconds / 60, seconds % 60, "ms"),
        3_600..86_400 => (seconds / 3_600, seconds % 3_600 / 60, "hm"),
        _ => (seconds / 86_400, seconds % 86_400 / 3_600, "dh"),
    };
    let (unit, next) = units.split_at(1);
    if small == 0 {
        format!("{large}{unit}")
    } else {
        format!("{large}{unit}{small}{next}")
    }
}

/// Reads a number and its unit.
fn read_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m, h, d or w, such as 90m".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = match text.get(digits.len()..).unwrap_or_default() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(wrong()),
    };
    let duration = Duration::from_secs(number.saturating_mul(unit));
    if duration.is_zero() {
        return Err("at least 1s".to_owned());
    }
    if duration > LONGEST {
        return Err("at most 366d; what is meant for longer belongs into a list".to_owned());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_told() {
        for (text, seconds, told) in [
            ("1s", 1, "1s"),
            ("90m", 5_400, "1h30m"),
            ("61s", 61, "1m1s"),
            ("1h", 3_600, "1h"),
            ("36h", 129_600, "1d12h"),
            ("1w", 604_800, "7d"),
        ] {
            let read = read_duration(text).unwrap();
            assert_eq!(read.as_secs(), seconds, "{text}");
            assert_eq!(briefly(read), told);
        }
        for text in [
            "",
            "5",
            "h",
            "1y",
            "-1h",
            "0s",
            "367d",
            "99999999999999999999w",
            "1 h",
            "1ü",
        ] {
            assert!(read_duration(text).is_err(), "{text}");
        }
    }
}
