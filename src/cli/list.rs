//! `watchpost intel list`.

use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::intel;
use crate::cli::kind::KindName;
use crate::cli::replay;
use crate::cli::sensor::Sources;
use crate::cli::terminal;
use crate::indicator::Details;
use crate::indicator::Tlp;
use crate::indicator::Validity;
use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::observable::ObservableType;
use crate::report::indicator::write_indicator;
use crate::report::indicator::write_row;
use crate::report::indicator::write_titles;
use crate::time::Timestamp;
use crate::verdict::marking;
use clap::Args;
use std::io;
use std::io::BufWriter;
use std::io::Write;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost intel list --intel bundle.json
  watchpost intel list --intel feeds/ --type domain-name --valid now --limit 50
  watchpost intel list --intel indicators.set --marking TLP:RED --json | jq -r .pattern
  watchpost intel list --intel bundle.json --valid 2024-03-01T00:00:00Z --text lantern

Filters narrow each other down. Exits 2 if used wrongly, or if no source is usable.")]
pub(super) struct Arguments {
    #[command(flatten)]
    sources: Sources,
    /// Only patterns that ask for this type of observable
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<KindName>,
    /// Only sources whose name has this in it
    #[arg(long, value_name = "TEXT")]
    source: Option<String>,
    /// Only this marking: a TLP level, or "unmarked"
    #[arg(long, value_name = "TLP", value_parser = marking_named)]
    marking: Option<Marking>,
    /// Only what is valid now, was valid in the past, will be in the future, or is valid at an
    /// instant
    #[arg(long, value_name = "now|past|future|TIMESTAMP", value_parser = when)]
    valid: Option<When>,
    /// Only with this label, indicator type or tag; letter case does not count
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Only with this in the name or the pattern; letter case does not count
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print a JSON object an indicator, each on a line
    #[arg(long)]
    json: bool,
}

/// `None`: unmarked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Marking(Option<Tlp>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Present(Validity),
    At(Timestamp),
}

/// A TLP level with or without "TLP:", or "unmarked".
fn marking_named(name: &str) -> Result<Marking, String> {
    let lower = name.to_ascii_lowercase();
    let with_prefix = format!("tlp:{lower}");
    if Tlp::from_label(&with_prefix).is_some() {
        return Ok(Marking(Tlp::from_label(&with_prefix)));
    }
    marking(&lower).map(Marking)
}

fn when(text: &str) -> Result<When, String> {
    Ok(match text {
        "now" => When::Present(Validity::Now),
        "past" => When::Present(Validity::Past),
        "future" => When::Present(Validity::Future),
        _ => When::At(Timestamp::parse_rfc3339(text).ok_or(
            "neither now, past, future nor an instant such as 2024-03-01T00:00:00Z (RFC 3339)",
        )?),
    })
}

pub(super) fn run(arguments: &Arguments, colour: Colour) -> Result<Ended, Failure> {
    let set = arguments.sources.load(None)?.set;
    let now = intel::now();
    let filter = Filter::new(arguments);
    let style = terminal::style(colour);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut line = Vec::new();
    let mut listed = 0;
    for ordinal in set.ordinals() {
        if arguments.limit.is_some_and(|limit| listed >= limit) {
            break;
        }
        let details = set.details(ordinal);
        if details.id.is_empty() {
            return Err(intel::damaged());
        }
        let validity = details.validity_at(now);
        if !filter.fits(&details, validity) {
            continue;
        }
        line.clear();
        if arguments.json {
            write_indicator(&mut line, &details, validity);
        } else {
            if listed == 0 {
                write_titles(&mut line, style);
            }
            write_row(&mut line, &details, validity, style);
        }
        listed += 1;
        if let Err(error) = out.write_all(&line) {
            return ended(error);
        }
    }
    if let Err(error) = out.flush() {
        return ended(error);
    }
    if listed == 0 {
        let text = if set.indicators() == 0 {
            "the sources have no indicator that can match"
        } else {
            "no indicator fits all of the filters; leave some out"
        };
        terminal::say("note", text);
    }
    Ok(Ended::Done)
}

/// A reader that has enough (`| head`) ends the work, and is no fault.
fn ended(error: io::Error) -> Result<Ended, Failure> {
    replay::ignore_gone_reader(error)
        .map(|()| Ended::Done)
        .map_err(|e| Failure::Running(format!("standard output: {e}")))
}

struct Filter {
    kind: Option<ObservableType>,
    source: Option<String>,
    marking: Option<Marking>,
    valid: Option<When>,
    label: Option<String>,
    text: Option<String>,
}

impl Filter {
    fn new(arguments: &Arguments) -> Self {
        let lower = |text: &Option<String>| text.as_ref().map(|t| t.to_lowercase());
        Self {
            kind: arguments.kind.map(KindName::observable),
            source: lower(&arguments.source),
            marking: arguments.marking,
            valid: arguments.valid,
            label: lower(&arguments.label),
            text: lower(&arguments.text),
        }
    }

    /// `validity` is that of the present.
    fn fits(&self, details: &Details, validity: Validity) -> bool {
        let has = |text: &str, part: &str| text.to_lowercase().contains(part);
        self.marking.is_none_or(|m| m.0 == details.tlp)
            && self.valid.is_none_or(|when| match when {
                When::Present(wanted) => wanted == validity,
                When::At(instant) => details.validity_at(instant) == Validity::Now,
            })
            && self.source.as_ref().is_none_or(|s| has(&details.source, s))
            && self.label.as_ref().is_none_or(|l| {
                details
                    .labels
                    .iter()
                    .any(|label| label.to_lowercase() == *l)
            })
            && self.text.as_ref().is_none_or(|t| {
                has(&details.pattern, t) || details.name.as_ref().is_some_and(|n| has(n, t))
            })
            && self
                .kind
                .is_none_or(|kind| asks_for(&details.pattern, kind))
    }
}

/// Whether a pattern has a comparison over this type.
fn asks_for(pattern: &str, kind: ObservableType) -> bool {
    // most patterns are told without reading them
    pattern.contains(kind.as_str())
        && [Spec::V21, Spec::V20]
            .into_iter()
            .find_map(|spec| Pattern::parse(pattern, spec).ok())
            .is_some_and(|parsed| observes(&parsed.expression, kind))
}

fn observes(observation: &Observation, kind: ObservableType) -> bool {
    match observation {
        Observation::Test(comparison) => compares(comparison, kind),
        Observation::And(all) | Observation::Or(all) | Observation::FollowedBy(all) => {
            all.iter().any(|one| observes(one, kind))
        }
        Observation::Qualified(inner, _) => observes(inner, kind),
    }
}

fn compares(comparison: &Comparison, kind: ObservableType) -> bool {
    let mut any = false;
    comparison.walk(&mut |path, _| any |= path.object_type == kind.as_str());
    any
}
