//! `watchpost sightings`: what is told to exchanges, before and after.

use crate::capture;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::sensor;
use crate::cli::sensor::Place;
use crate::cli::sensor::Trust;
use crate::cli::terminal;
use crate::daemon::exchange::outbox;
use crate::daemon::exchange::share;
use crate::daemon::exchange::share::Planned;
use crate::daemon::exchange::share::Saying;
use crate::daemon::exchange::share::Says;
use crate::daemon::exchange::share::Sharing;
use crate::daemon::replay::Frames;
use crate::daemon::replay::Replay;
use crate::indicator::Details;
use crate::matcher::Clock;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::set::IndicatorSet;
use crate::report::text::grouped;
use crate::report::text::printable;
use crate::store::Outbox;
use crate::store::Outcome;
use crate::store::RefutedEntry;
use crate::store::Standing;
use crate::verdict::Action;
use clap::Args;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost sightings preview                       what waits in the outbox
  watchpost sightings preview capture.pcap          what a capture would bring to leave, and to whom
  watchpost sightings preview capture.pcap --json | jq '.[] | select(.held == null)'

Nothing is sent and nothing is kept.")]
pub(super) struct PreviewArguments {
    /// Captures to replay; none: what waits in the outbox is shown
    #[arg(value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Read mail (SMTP), SMB and FTP as well
    #[arg(long)]
    deep: bool,
    /// Print a JSON list with every object that would leave
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    place: Place,
    /// Only of this exchange
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// Print JSON Lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  watchpost sightings export > sightings.json       what waits, as one STIX 2.1 bundle")]
pub(super) struct ExportArguments {
    #[command(flatten)]
    place: Place,
    /// Only what waits for this exchange
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost sightings refute indicator--0f5c… --why 'our own scanner'
  watchpost sightings refute indicator--0f5c… --undo

The indicator is never blocked on from then on, and its exchange is told when you push: a MISP by
a false-positive sighting, a TAXII collection by a STIX opinion.")]
pub(super) struct RefuteArguments {
    /// The indicator's id, as events name it
    #[arg(value_name = "INDICATOR")]
    indicator: String,
    /// Why, for whoever reads it at the exchange
    #[arg(long, default_value = "", value_name = "TEXT")]
    why: String,
    /// Take it back; what was told already stays told
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    place: Place,
}

pub(super) fn preview(arguments: &PreviewArguments) -> Result<Ended, Failure> {
    let config = arguments.place.load()?;
    let state = sensor::open_shared(&config)?;
    let planned = if arguments.captures.is_empty() {
        let fail = |e: &dyn std::fmt::Display| Failure::Running(e.to_string());
        let refuted = state.refuted().map_err(|e| fail(&e))?;
        let mut waiting = waiting(&state.outbox().map_err(|e| fail(&e))?)?;
        waiting.retain(|one| {
            match share::still_goes(&config, &refuted, &one.exchange, &one.saying) {
                Ok(()) => true,
                Err(why) => {
                    let text = format!("{} for {}: does not leave: {why}", one.id, one.exchange);
                    terminal::say("note", &text);
                    false
                }
            }
        });
        waiting
    } else {
        let set = Arc::new(sensor::indicators(&config, &state)?);
        let rules = sensor::rules(&config)?;
        let trust = Trust::of(&config, &state)?;
        let mut sharing = Sharing::new(&config).map_err(|e| Failure::Usage(e.to_string()))?;
        let expanded = capture::expand_inputs(&arguments.captures)
            .map_err(|e| Failure::Usage(e.to_string()))?;
        let subdomains = intel::subdomain_policy(&rules, &set);
        let matcher = Matcher::new(Arc::clone(&set), Clock::Capture, subdomains);
        let matcher = Arc::new(matcher.with_deep(arguments.deep));
        let replay = Replay {
            frames: Frames::Recorded(expanded.inputs),
            filter: None,
            workers: intel::default_workers(),
        };
        let mut take = |found: Match, set: &Arc<IndicatorSet>| {
            let details = set.details(found.indicator);
            let verdict = trust.judge(&rules, &found, &details);
            sharing.record(&found, verdict.action == Action::Allowlisted);
        };
        let (_, reports) = replay
            .run(&matcher, &mut |_| None, &mut take, &mut |_| {})
            .map_err(|e| Failure::Running(e.to_string()))?;
        let broken: Vec<String> = reports.into_iter().filter_map(|r| r.fatal).collect();
        if !broken.is_empty() {
            return Err(Failure::Usage(broken.join("\n")));
        }
        sharing.plan(&mut |ordinal| set.details(ordinal))
    };
    let text = if arguments.json {
        let values: Vec<Value> = planned.iter().map(planned_value).collect();
        format!("{}\n", Value::from(values))
    } else {
        describe(&planned)
    };
    terminal::print(&text).map_err(|e| Failure::Running(e.to_string()))?;
    Ok(Ended::Done)
}

/// What waits in the outbox.
fn waiting(outbox: &Outbox) -> Result<Vec<Planned>, Failure> {
    if let Some(damage) = outbox.damage() {
        terminal::say("warning", damage);
    }
    let mut planned = Vec::new();
    outbox
        .each(&mut |one| {
            // of what is settled there is no content
            if let Ok(saying) = serde_json::from_slice::<Saying>(one.body) {
                planned.push(Planned {
                    id: one.id.to_owned(),
                    exchange: one.exchange.to_owned(),
                    saying,
                    held: None,
                    name: None,
                });
            }
        })
        .map_err(|e| Failure::Running(e.to_string()))?;
    Ok(planned)
}

fn planned_value(planned: &Planned) -> Value {
    json!({
        "exchange": planned.exchange,
        "id": planned.id,
        "indicator": planned.saying.indicator,
        "held": planned.held.map(|held| held.to_string()),
        "objects": planned.saying.objects,
    })
}

fn describe(planned: &[Planned]) -> String {
    let mut text = String::new();
    let mut by_exchange: BTreeMap<&str, Vec<&Planned>> = BTreeMap::new();
    for one in planned {
        by_exchange.entry(&one.exchange).or_default().push(one);
    }
    for (exchange, planned) in by_exchange {
        let leaving = planned.iter().filter(|one| one.held.is_none()).count();
        let _ = writeln!(text, "{exchange}: {leaving} would leave");
        for one in planned {
            let name = one
                .name
                .as_deref()
                .map_or_else(String::new, |n| format!(" \"{n}\""));
            let held = one
                .held
                .map_or_else(String::new, |held| format!("; held back: {held}"));
            let line = format!(
                "{}{name}: {}{held}",
                one.saying.indicator,
                says(&one.saying)
            );
            let _ = writeln!(text, "  {}", printable(&line));
            if one.held.is_none() {
                for line in values_that_leave(&one.saying) {
                    let _ = writeln!(text, "      {}", printable(&line));
                }
            }
        }
    }
    if text.is_empty() {
        text.push_str("nothing would leave\n");
    }
    text
}

fn says(saying: &Saying) -> String {
    match saying.says {
        Says::Seen { count, first, last } => format!(
            "seen {} times, {} to {}",
            grouped(count),
            first.to_rfc3339(0),
            last.to_rfc3339(0)
        ),
        Says::False { at } => format!("called false on {}", at.to_rfc3339(0)),
    }
}

/// The values of cyber-observables, and what is said in words: all that is not the same for
/// every sighting.
fn values_that_leave(saying: &Saying) -> Vec<String> {
    let mut lines = Vec::new();
    for object in &saying.objects {
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let Some(kind) = text("type") else {
            continue;
        };
        let line = match kind {
            "sighting" => text("description").map(str::to_owned),
            "opinion" => text("explanation").map(|why| format!("because: {why}")),
            "identity" | "marking-definition" | "observed-data" | "extension-definition" => None,
            "network-traffic" => {
                let mut object = object.clone();
                if let Value::Object(members) = &mut object {
                    for member in ["id", "type", "spec_version", "src_ref", "dst_ref"] {
                        members.remove(member);
                    }
                }
                Some(format!("{kind}: {object}"))
            }
            _ => {
                let value = ["value", "name", "subject", "pattern"]
                    .iter()
                    .find_map(|n| text(n));
                let value = value.map_or_else(
                    || {
                        object
                            .get("hashes")
                            .map(Value::to_string)
                            .unwrap_or_default()
                    },
                    str::to_owned,
                );
                Some(format!("{kind}: {value}"))
            }
        };
        lines.extend(line);
    }
    lines
}

pub(super) fn list(arguments: &ListArguments) -> Result<Ended, Failure> {
    let config = arguments.place.load()?;
    let state = sensor::open_shared(&config)?;
    let outbox = state
        .outbox()
        .map_err(|e| Failure::Running(e.to_string()))?;
    let mut text = String::new();
    outbox
        .each(&mut |one| {
            let Standing {
                exchange,
                id,
                at,
                outcome,
                body,
            } = one;
            if arguments
                .exchange
                .as_deref()
                .is_some_and(|only| only != exchange)
            {
                return;
            }
            let saying = serde_json::from_slice::<Saying>(body).ok();
            let stands = match outcome {
                None => "waits".to_owned(),
                Some(Outcome::Accepted) => "accepted".to_owned(),
                Some(Outcome::Refused { reason }) => format!("refused: {reason}"),
                Some(Outcome::Withdrawn) => "withdrawn".to_owned(),
            };
            if arguments.json {
                let value = json!({
                    "exchange": exchange,
                    "id": id,
                    "at": at.to_rfc3339(0),
                    "state": stands,
                    "indicator": saying.as_ref().map(|s| &s.indicator),
                    "says": saying.as_ref().map(says),
                });
                let _ = writeln!(text, "{value}");
            } else {
                let about = saying.map_or_else(String::new, |saying| {
                    format!("; {}: {}", saying.indicator, says(&saying))
                });
                let at = at.to_rfc3339(0);
                let line = format!("{at}  {exchange}  {id}  {stands}{about}");
                let _ = writeln!(text, "{}", printable(&line));
            }
        })
        .map_err(|e| Failure::Running(e.to_string()))?;
    terminal::print(&text).map_err(|e| Failure::Running(e.to_string()))?;
    Ok(Ended::Done)
}

pub(super) fn export(arguments: &ExportArguments) -> Result<Ended, Failure> {
    let config = arguments.place.load()?;
    let state = sensor::open_shared(&config)?;
    let outbox = state
        .outbox()
        .map_err(|e| Failure::Running(e.to_string()))?;
    let mut objects = Vec::new();
    let mut there: HashSet<String> = HashSet::new();
    for planned in waiting(&outbox)? {
        if arguments
            .exchange
            .as_deref()
            .is_some_and(|only| only != planned.exchange)
        {
            continue;
        }
        for object in planned.saying.objects {
            let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
            if there.insert(id.to_owned()) {
                objects.push(object);
            }
        }
    }
    let id = share::bundle_id(&objects);
    let bundle = json!({"type": "bundle", "id": id, "objects": objects});
    terminal::print(&format!("{bundle}\n")).map_err(|e| Failure::Running(e.to_string()))?;
    Ok(Ended::Done)
}

pub(super) fn refute(arguments: &RefuteArguments) -> Result<Ended, Failure> {
    let fail = |e: &dyn std::fmt::Display| Failure::Running(e.to_string());
    let config = arguments.place.load()?;
    let state = sensor::open(&config)?;
    let mut refuted = state.refuted().map_err(|e| fail(&e))?;
    if let Some(damage) = refuted.damage() {
        terminal::say("warning", damage);
    }
    if arguments.undo {
        outbox::withdraw_refutation(&state, &arguments.indicator, intel::now())
            .map_err(|e| fail(&e))?;
        let was_there = refuted.remove(&arguments.indicator).map_err(|e| fail(&e))?;
        let text = if was_there {
            "taken back: the rules decide about it again\n"
        } else {
            "it was not called false\n"
        };
        terminal::print(text).map_err(|e| fail(&e))?;
        return Ok(Ended::Done);
    }
    let set = sensor::indicators(&config, &state)?;
    let Some(details) = find(&set, &arguments.indicator) else {
        return Err(Failure::Usage(format!(
            "{}: no such indicator in what the exchanges gave last; 'watchpost intel list' names \
             them",
            arguments.indicator
        )));
    };
    let entry = RefutedEntry {
        at: intel::now(),
        why: arguments.why.clone(),
        source: details.source.clone(),
    };
    if refuted.get(&details.id).is_some() {
        return Err(Failure::Usage(format!(
            "{}: it is called false already; --undo takes that back",
            details.id
        )));
    }
    refuted
        .add(&details.id, entry.clone())
        .map_err(|e| fail(&e))?;
    let planned = share::plan_refutation(&config, &details, &entry);
    let put = outbox::put(&state, &planned, entry.at).map_err(|e| fail(&e))?;
    terminal::print(&format!(
        "{}: never blocked on from now on\n{put}\n",
        printable(&details.id)
    ))
    .map_err(|e| fail(&e))?;
    match put.refused {
        None => Ok(Ended::Done),
        Some((_, full)) => Err(Failure::Running(format!(
            "the exchange is not told: {full}"
        ))),
    }
}

/// The indicator of an id.
fn find(set: &IndicatorSet, id: &str) -> Option<Details> {
    set.ordinals()
        .map(|ordinal| set.details(ordinal))
        .find(|details| details.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn what_leaves_is_shown_in_short() {
        let saying = Saying {
            indicator: "indicator--1".into(),
            says: Says::Seen {
                count: 1_234,
                first: Timestamp::from_parts(0, 0),
                last: Timestamp::from_parts(60, 0),
            },
            terms: share::Terms::default(),
            objects: vec![
                json!({"type": "identity", "name": "gateway-1"}),
                json!({"type": "domain-name", "value": "c2.example"}),
                json!({"type": "file", "hashes": {"MD5": "00"}}),
                json!({"type": "network-traffic", "id": "x", "dst_port": 53}),
                json!({"type": "sighting", "description": "seen at dns.query"}),
            ],
        };
        assert_eq!(
            values_that_leave(&saying),
            [
                "domain-name: c2.example",
                "file: {\"MD5\":\"00\"}",
                "network-traffic: {\"dst_port\":53,\"type\":\"network-traffic\"}",
                "seen at dns.query"
            ]
            .map(|line| line.replace(",\"type\":\"network-traffic\"", ""))
        );
        let planned = Planned {
            id: "sighting--1".into(),
            exchange: "ec3".into(),
            saying,
            held: None,
            name: Some("evil\u{1b}[2J".into()),
        };
        let text = describe(&[planned]);
        assert!(
            text.starts_with("ec3: 1 would leave\n  indicator--1 \"evil"),
            "{text}"
        );
        assert!(
            text.contains("seen 1,234 times, 1970-01-01T00:00:00Z"),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
