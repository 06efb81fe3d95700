//! `watchpost intel explain`.

mod find;
mod near;
mod reading;

use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::explain::find::Question;
use crate::cli::intel;
use crate::cli::kind::KindName;
use crate::cli::sensor::Sources;
use crate::cli::terminal;
use crate::indicator::Details;
use crate::matcher::Clock;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::report::explain::render;
use crate::report::explain::write_answer;
use clap::Args;
use clap::ValueEnum;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, Args)]
#[command(
    // the other way round, the last values would be taken for sources
    override_usage = "watchpost intel explain [OPTIONS] <VALUE>... --intel <SOURCE>...",
    after_help = "\
Examples:
  watchpost intel explain c2.example --intel bundle.json
  watchpost intel explain 192.0.2.7 'hxxp://c2[.]example/a' --intel feeds/ list.txt
  watchpost intel explain 1c4d2f45cc6219bf74a6d1c64ff4758e --type network-traffic --intel b.json
  watchpost intel explain c2.example --config watchpost.toml
  watchpost intel explain old.example --intel indicators.set --validity ignore --json | jq .near

A value is told by its look, and may be several things at once: 32 hexadecimal digits are a digest
or a fingerprint. It is looked up as traffic would have it looked up; what only comes near is
listed with the reason why it does not match. Exits 0 whether or not something would match, 2 if
used wrongly or no source is usable."
)]
pub(super) struct Arguments {
    /// Addresses, networks, names, URLs, digests, mail addresses, fingerprints, user agents, names
    /// of files; defanged ones too
    #[arg(required = true, value_name = "VALUE")]
    values: Vec<String>,
    #[command(flatten)]
    sources: Sources,
    /// Policy and allowlists: a file or a folder [default: the shipped ones]
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Print a JSON object for each value, each on a line
    #[arg(long)]
    json: bool,
    /// Whether indicators that are not valid now are withheld
    #[arg(long, value_enum, default_value_t = Validity::Now, value_name = "CLOCK")]
    validity: Validity,
    /// Take the values for this type, whatever they look like
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<KindName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Validity {
    /// The present
    Now,
    /// None: expired and future indicators match too
    Ignore,
}

pub(super) fn run(arguments: &Arguments, colour: Colour) -> Result<Ended, Failure> {
    let kind = arguments.kind.map(KindName::observable);
    let mut questions = Vec::with_capacity(arguments.values.len());
    for value in &arguments.values {
        let readings = reading::readings(value, kind).map_err(Failure::Usage)?;
        questions.push(Question::new(value.trim(), readings));
    }
    let judged = arguments.sources.load(arguments.rules.as_deref())?;
    judged
        .rules
        .warnings()
        .iter()
        .for_each(|w| terminal::say("warning", w));
    let subdomains = intel::subdomain_policy(&judged.rules, &judged.set);
    // what is withheld is told apart afterwards, so that it can be shown
    let matcher = Matcher::new(Arc::clone(&judged.set), Clock::Ignore, subdomains);
    let withholds = arguments.validity == Validity::Now;
    let judge =
        |found: &Match, details: &Details| judged.trust.judge(&judged.rules, found, details);
    let answers = find::answer(questions, &matcher, &judge, intel::now(), withholds)?;
    let style = terminal::style(colour);
    let mut out = Vec::new();
    for (number, answer) in answers.iter().enumerate() {
        if arguments.json {
            write_answer(&mut out, answer);
        } else {
            if number > 0 {
                out.push(b'\n');
            }
            out.extend_from_slice(render(answer, style).as_bytes());
        }
    }
    terminal::print(&String::from_utf8_lossy(&out)).map_err(|e| Failure::Running(e.to_string()))?;
    Ok(Ended::Done)
}
