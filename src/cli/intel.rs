//! `watchpost intel check` and `try`, and loading indicators for every command.

use crate::cli::Colour;
use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::replay;
use crate::cli::rules;
use crate::cli::terminal;
use crate::exchange;
use crate::exchange::LoadedSource;
use crate::flow::table::SHARDS;
use crate::indicator::Details;
use crate::indicator::SourceReport;
use crate::indicator::pattern;
use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::Condition;
use crate::indicator::pattern::Literal;
use crate::indicator::pattern::ObjectPath;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::matcher::SubdomainPolicy;
use crate::matcher::build::SetBuilder;
use crate::matcher::set::IndicatorSet;
use crate::matcher::set::MAGIC;
use crate::observable::ObservableType;
use crate::report::check;
use crate::time::Timestamp;
use crate::verdict::Rules;
use crate::verdict::Subdomains;
use clap::Args;
use clap::ValueEnum;
use hashbrown::HashMap;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Details kept at hand: some megabytes, far more indicators than are busy at a time.
const MAX_EXPLAINED: usize = 4096;

/// What the indicators of one set are: a busy one is looked up once, not at each match.
pub(super) struct Explained {
    set: Arc<IndicatorSet>,
    details: HashMap<u32, Details>,
}

impl Explained {
    pub(super) fn new(set: Arc<IndicatorSet>) -> Self {
        Self {
            set,
            details: HashMap::new(),
        }
    }

    pub(super) const fn set(&self) -> &Arc<IndicatorSet> {
        &self.set
    }

    /// What the indicator of this number is.
    pub(super) fn details(&mut self, ordinal: u32) -> &Details {
        if self.details.len() >= MAX_EXPLAINED && !self.details.contains_key(&ordinal) {
            self.details.clear();
        }
        self.details
            .entry(ordinal)
            .or_insert_with(|| self.set.details(ordinal))
    }
}
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Observed data that `intel try` reads, each file: what fits in memory many times over.
const MAX_OBSERVED: u64 = 256 << 20;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost intel check bundle.json
  watchpost intel check --json feeds/ | jq '.sources[].refused'

Exits 2 where some of it can't load.")]
pub(super) struct CheckArguments {
    /// STIX bundles, MISP events and feeds, lists, folders of them; - is standard input
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Policy and allowlists: a file or a folder [default: the shipped ones]
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost intel try --pattern \"[domain-name:value = 'a.example']\" observed.json
  watchpost intel try --spec 2.0 --pattern \"[file:size > 5]\"     checks the syntax alone")]
pub(super) struct TryArguments {
    /// Edition of the patterning language
    #[arg(long, value_enum, default_value_t = SpecName::V21, value_name = "EDITION")]
    spec: SpecName,
    /// The pattern
    #[arg(long)]
    pattern: String,
    /// Bundles of observed data; - is standard input
    #[arg(value_name = "OBSERVED")]
    observed: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SpecName {
    /// STIX 2.0 part 5
    #[value(name = "2.0")]
    V20,
    /// STIX 2.1 section 9
    #[value(name = "2.1")]
    V21,
}

/// Indicators, ready, and what became of their sources.
pub(super) struct Loaded {
    pub(super) set: Arc<IndicatorSet>,
    pub(super) sources: Vec<LoadedSource>,
}

/// Loads sources. A compiled set is used as it is, and alone.
pub(super) fn load(sources: &[PathBuf]) -> Result<Loaded, Failure> {
    let compiled = sources.iter().find(|path| is_compiled(path));
    if let (Some(path), [_]) = (compiled, sources) {
        let set = IndicatorSet::open(path)
            .map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))?;
        return Ok(Loaded {
            set: Arc::new(set),
            sources: Vec::new(),
        });
    }
    if let Some(path) = compiled {
        return Err(Failure::Usage(format!(
            "{}: a compiled set is used alone: compile all sources into one with \
             'watchpost intel compile'",
            path.display()
        )));
    }
    let bar = terminal::progress("{spinner} reading indicators: {bytes}");
    let mut builder = SetBuilder::new();
    let mut loaded = exchange::load(sources, &mut builder, &mut |bytes| bar.inc(bytes));
    bar.finish_and_clear();
    let built = builder
        .finish(now())
        .map_err(|e| Failure::Running(format!("indicator set: {e}")))?;
    if built.crowded_out > 0 {
        terminal::say(
            "warning",
            &format!(
                "{} values are not matched, since a thousand other indicators have the same value",
                built.crowded_out
            ),
        );
    }
    // a report and a tally for each file that was begun, in the same order
    let begun = loaded
        .iter_mut()
        .filter(|l| l.fatal.is_none() && l.skipped.is_none());
    let mut tallies = built.sources.into_iter();
    for source in begun {
        if let Some((_, tally)) = tallies
            .by_ref()
            .find(|(name, _)| *name == source.report.file)
        {
            source.report.loaded = tally.loaded;
            source.report.revoked = tally.revoked;
            source.report.superseded = tally.superseded;
            source.report.duplicate = tally.duplicate;
            source.report.expired = tally.expired;
            if tally.contradictory > 0 {
                source.report.warnings.push(format!(
                    "{} of the duplicates have another pattern; the first was kept",
                    tally.contradictory
                ));
            }
        }
    }
    Ok(Loaded {
        set: Arc::new(built.set),
        sources: loaded,
    })
}

/// Loads sources, tells what was odd about them, and goes on while any of them is usable.
pub(super) fn load_usable(sources: &[PathBuf]) -> Result<Loaded, Failure> {
    let loaded = load(sources)?;
    // what is expired, both who asks for it and who lists it are shown
    let unusable = replay::tell_sources(&loaded.sources, false);
    if !unusable.is_empty() && unusable.len() == loaded.sources.len() {
        return Err(Failure::Usage(unusable.join("\n")));
    }
    for reason in unusable {
        terminal::say("warning", &reason);
    }
    Ok(loaded)
}

/// That a set cannot say what its indicators are.
pub(super) fn damaged() -> Failure {
    Failure::Running(
        "the compiled set is damaged where it says what its indicators are: compile it again"
            .into(),
    )
}

fn is_compiled(path: &Path) -> bool {
    let mut first = [0; MAGIC.len()];
    path.is_file()
        && File::open(path)
            .and_then(|mut file| file.read_exact(&mut first))
            .is_ok()
        && first == MAGIC
}

/// The present. Only the edge reads the clock.
/// Names that are matched with all below them, by the rules.
pub(super) fn subdomain_policy(rules: &Rules, set: &IndicatorSet) -> SubdomainPolicy {
    SubdomainPolicy {
        always: rules.matching.subdomains == Subdomains::Always && !rules.matching.has_exceptions(),
        always_of_source: if rules.matching.has_exceptions() {
            let always =
                |source: &String| rules.matching.subdomains_for(source) == Subdomains::Always;
            set.sources().iter().map(always).collect()
        } else {
            Vec::new()
        },
    }
}

/// As many as there are processors, and can have work.
pub(super) fn default_workers() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(SHARDS)
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_parts(since.as_secs(), u64::from(since.subsec_nanos()))
}

/// Whether a source gave nothing at all.
pub(super) fn gave_nothing(source: &LoadedSource) -> Option<String> {
    if let Some(fatal) = &source.fatal {
        return Some(fatal.to_string());
    }
    let report = &source.report;
    let any = report.loaded + report.revoked + report.superseded + report.duplicate;
    match report.refused.first() {
        // beside other files of its folder, it is passed over
        _ if source.skipped.is_some() => None,
        Some(first) if any == 0 && report.unseeable.is_empty() => Some(format!(
            "{}: nothing of it can be used; objects refused: {}; the first at {}: {}",
            report.file,
            report.refused.len(),
            first.path,
            first.reason
        )),
        _ => None,
    }
}

pub(super) fn check(arguments: &CheckArguments, colour: Colour) -> Result<Ended, Failure> {
    let rules = rules::load(arguments.rules.as_deref())?;
    let mut loaded = load(&arguments.sources)?;
    count_allowlisted(&loaded.set, &rules, &mut loaded.sources);
    let reports: Vec<&SourceReport> = loaded.sources.iter().map(|s| &s.report).collect();
    if arguments.json {
        let mut sources = Vec::with_capacity(reports.len());
        for source in &loaded.sources {
            let mut report = serde_json::to_value(&source.report).unwrap_or_default();
            let failed = source.fatal.as_ref().or(source.skipped.as_ref());
            if let (Value::Object(members), Some(error)) = (&mut report, failed) {
                members.insert("error".into(), json!(error.to_string()));
            }
            sources.push(report);
        }
        let text = serde_json::to_string(&json!({ "sources": sources })).unwrap_or_default();
        terminal::print(&format!("{text}\n")).map_err(|e| Failure::Running(e.to_string()))?;
    } else {
        let text = check::render(&reports, loaded.set.indicators(), terminal::style(colour));
        terminal::print(&text).map_err(|e| Failure::Running(e.to_string()))?;
    }
    let faults: Vec<String> = loaded
        .sources
        .iter()
        .filter_map(|s| s.fatal.as_ref().or(s.skipped.as_ref()))
        .map(ToString::to_string)
        .collect();
    if !faults.is_empty() {
        return Err(Failure::Usage(faults.join("\n")));
    }
    let refused: usize = reports.iter().map(|r| r.refused.len()).sum();
    if refused > 0 {
        return Err(Failure::Usage(format!(
            "objects that can't be loaded: {refused}; see the reasons above"
        )));
    }
    Ok(Ended::Done)
}

/// Counts, by source, the indicators whose every value an allowlist covers.
fn count_allowlisted(set: &IndicatorSet, rules: &Rules, sources: &mut [LoadedSource]) {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for ordinal in set.ordinals() {
        let details = set.details(ordinal);
        if is_allowlisted(&details.pattern, rules) {
            *counts.entry(details.source).or_default() += 1;
        }
    }
    for source in sources {
        if let Some(count) = counts.remove(&source.report.file) {
            source.report.allowlisted = count;
        }
    }
}

fn is_allowlisted(text: &str, rules: &Rules) -> bool {
    let Ok(pattern) = Pattern::parse(text, Spec::V21) else {
        return false;
    };
    let Observation::Test(comparison) = &pattern.expression else {
        return false;
    };
    let (mut any, mut all) = (false, true);
    visit_values(comparison, &mut |kind, value| {
        any = true;
        all &= rules.allows(kind, value).is_some();
    });
    any && all
}

fn visit_values(comparison: &Comparison, visit: &mut dyn FnMut(ObservableType, &str)) {
    comparison.walk(&mut |path: &ObjectPath, condition| {
        let kind = match path.object_type.as_str() {
            "ipv4-addr" => ObservableType::Ipv4Addr,
            "ipv6-addr" => ObservableType::Ipv6Addr,
            "domain-name" => ObservableType::DomainName,
            "url" => ObservableType::Url,
            "file" => ObservableType::File,
            "x509-certificate" => ObservableType::X509Certificate,
            _ => return,
        };
        if let Condition::Property {
            negated: false,
            operand,
            ..
        } = condition
        {
            for literal in operand.literals() {
                if let Literal::String(value) = literal {
                    visit(kind, value);
                }
            }
        }
    });
}

pub(super) fn try_pattern(arguments: &TryArguments) -> Result<Ended, Failure> {
    let spec = match arguments.spec {
        SpecName::V20 => Spec::V20,
        SpecName::V21 => Spec::V21,
    };
    let usage = |e: &dyn std::fmt::Display| Failure::Usage(e.to_string());
    let parsed = Pattern::parse(&arguments.pattern, spec).map_err(|e| usage(&e))?;
    let answer = if arguments.observed.is_empty() {
        json!({ "valid": true })
    } else {
        let observed = arguments
            .observed
            .iter()
            .map(|p| read_json(p))
            .collect::<Result<Vec<_>, _>>()?;
        let matched = pattern::try_pattern(&parsed, &observed).map_err(|e| usage(&e))?;
        json!({ "match": matched })
    };
    // with a space after the colon, as the contract shows it
    let text = answer.to_string().replace("\":", "\": ");
    terminal::print(&format!("{text}\n")).map_err(|e| Failure::Running(e.to_string()))?;
    Ok(Ended::Done)
}

fn read_json(path: &Path) -> Result<Value, Failure> {
    let failed = |e: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "{}: observed data cannot be read: {e}",
            path.display()
        ))
    };
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_OBSERVED).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(MAX_OBSERVED).read_to_end(&mut bytes))
    };
    read.map_err(|e| failed(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| failed(&e))
}
