//! A configured sensor, for every command that takes `--config`.

use crate::cli::Failure;
use crate::cli::config;
use crate::cli::intel;
use crate::cli::rules;
use crate::cli::terminal;
use crate::config::Config;
use crate::config::DEFAULT_PATH;
use crate::config::Exchange;
use crate::daemon::exchange::set;
use crate::matcher::set::IndicatorSet;
use crate::store::RefutedEntry;
use crate::store::State;
use crate::verdict::Action;
use crate::verdict::Rules;
use crate::verdict::Verdict;
use clap::Args;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

/// Where the configuration and the state are.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// The configuration; - is standard input
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    pub(super) config: PathBuf,
    /// The folder of what is kept, instead of the one that the configuration names
    #[arg(long, value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
}

impl Place {
    /// Reads the configuration, and tells what is odd about it.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        load(&self.config, self.state.as_deref())
    }
}

/// Reads a configuration, and tells what is odd about it. `state` takes the place of its own.
pub(super) fn load(path: &Path, state: Option<&Path>) -> Result<Config, Failure> {
    let loaded = config::load(path)?;
    loaded
        .warnings
        .iter()
        .for_each(|w| terminal::say("warning", w));
    let mut config = loaded.config;
    if let Some(state) = state {
        config.sensor.state = state.to_owned();
    }
    Ok(config)
}

/// The state folder, to write. Waits for nobody for long.
pub(super) fn open(config: &Config) -> Result<State, Failure> {
    State::open(&config.sensor.state).map_err(|e| Failure::Running(e.to_string()))
}

/// The state folder, to read.
pub(super) fn open_shared(config: &Config) -> Result<State, Failure> {
    let folder = &config.sensor.state;
    if !folder.join("format").exists() {
        return Err(Failure::Usage(format!(
            "{}: nothing is kept there yet; 'watchpost exchange pull' fetches the indicators",
            folder.display()
        )));
    }
    State::open_shared(folder).map_err(|e| Failure::Running(e.to_string()))
}

/// The rules of a configuration.
pub(super) fn rules(config: &Config) -> Result<Rules, Failure> {
    rules::load_all(&config.rules.paths)
}

/// The set of the last good sets.
pub(super) fn indicators(config: &Config, state: &State) -> Result<IndicatorSet, Failure> {
    let fail = |e: set::MakeError| Failure::Running(e.to_string());
    if let Some(set) = set::open(config, state).map_err(fail)? {
        return Ok(set);
    }
    let made = set::make(config, state, intel::now()).map_err(fail)?;
    made.warnings
        .iter()
        .for_each(|w| terminal::say("warning", w));
    if made.set.indicators() == 0 {
        return Err(Failure::Usage(format!(
            "{}: no exchange has given an indicator that can match; 'watchpost exchange status' \
             says more",
            config.sensor.state.display()
        )));
    }
    Ok(made.set)
}

/// What exchanges and operators add to the rules.
#[derive(Debug, Default)]
pub(super) struct Trust {
    exchanges: Vec<Exchange>,
    refuted: BTreeMap<String, RefutedEntry>,
}

impl Trust {
    pub(super) fn of(config: &Config, state: &State) -> Result<Self, Failure> {
        let refuted = state
            .refuted()
            .map_err(|e| Failure::Running(e.to_string()))?;
        if let Some(damage) = refuted.damage() {
            terminal::say("warning", damage);
        }
        Ok(Self {
            exchanges: config.exchanges.clone(),
            refuted: refuted
                .iter()
                .map(|(id, entry)| (id.to_owned(), entry.clone()))
                .collect(),
        })
    }

    /// What becomes of a verdict on a match of this indicator.
    pub(super) fn judge(&self, verdict: Verdict, indicator: &str, source: &str) -> Verdict {
        if let Some(entry) = self.refuted.get(indicator) {
            let why = match entry.why.as_str() {
                "" => String::new(),
                why => format!(": {why}"),
            };
            return Verdict {
                action: Action::Allowlisted,
                reason: format!(
                    "an operator called the indicator false on {}{why}",
                    entry.at.to_rfc3339(0)
                ),
            };
        }
        let exchange = self.exchanges.iter().find(|e| e.name == source);
        set::cap(verdict, exchange)
    }
}
