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
use crate::indicator::Details;
use crate::matcher::Match;
use crate::matcher::set::IndicatorSet;
use crate::store::RefutedEntry;
use crate::store::State;
use crate::verdict::Action;
use crate::verdict::Rules;
use crate::verdict::Verdict;
use clap::Args;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

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

/// Where indicators come from: files, or the exchanges of a sensor.
#[derive(Debug, Args)]
pub(super) struct Sources {
    /// STIX bundles, MISP events and feeds, lists, folders of them, or one compiled set
    #[arg(
        long,
        required_unless_present = "config",
        conflicts_with = "config",
        num_args = 1..,
        value_name = "SOURCE"
    )]
    pub(super) intel: Vec<PathBuf>,
    /// The configuration of a sensor: its rules, and what its exchanges gave last
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The folder of what that sensor keeps, instead of the one that its configuration names
    #[arg(long, requires = "config", value_name = "FOLDER")]
    pub(super) state: Option<PathBuf>,
}

/// Indicators with what decides about their matches.
pub(super) struct Judged {
    pub(super) set: Arc<IndicatorSet>,
    pub(super) rules: Rules,
    pub(super) trust: Trust,
}

impl Sources {
    /// Loads the indicators, and the rules: those that are named, or the sensor's.
    pub(super) fn load(&self, named_rules: Option<&Path>) -> Result<Judged, Failure> {
        let Some(path) = &self.config else {
            return Ok(Judged {
                rules: rules::load(named_rules)?,
                set: intel::load_usable(&self.intel)?.set,
                trust: Trust::default(),
            });
        };
        let config = load(path, self.state.as_deref())?;
        let state = open_shared(&config)?;
        Ok(Judged {
            rules: match named_rules {
                Some(path) => rules::load(Some(path))?,
                None => rules(&config)?,
            },
            set: Arc::new(indicators(&config, &state)?),
            trust: Trust::of(&config, &state)?,
        })
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
    /// Whether some of them could not be read.
    is_damaged: bool,
    /// What never blocks, as an allowlist; `None`: nothing is named.
    never: Option<Rules>,
    /// Bits of the widest networks that may block, by family: IPv4, IPv6.
    widest: (u8, u8),
}

impl Trust {
    pub(super) fn of(config: &Config, state: &State) -> Result<Self, Failure> {
        let refuted = state
            .refuted()
            .map_err(|e| Failure::Running(e.to_string()))?;
        if let Some(damage) = refuted.damage() {
            terminal::say("warning", damage);
        }
        let never: String = config
            .block
            .never
            .iter()
            .map(|never| format!("{never}\n"))
            .collect();
        let never = match never.is_empty() {
            true => None,
            false => Some(
                Rules::from_files(vec![("[block] never".to_owned(), never)])
                    .map_err(|e| Failure::Usage(e.to_string()))?,
            ),
        };
        Ok(Self {
            is_damaged: refuted.damage().is_some(),
            never,
            widest: (config.block.widest_ipv4, config.block.widest_ipv6),
            exchanges: config.exchanges.clone(),
            refuted: refuted
                .iter()
                .map(|(id, entry)| (id.to_owned(), entry.clone()))
                .collect(),
        })
    }

    /// What the rules say of a match, and exchanges and operators to that.
    pub(super) fn judge(&self, rules: &Rules, found: &Match, details: &Details) -> Verdict {
        let verdict = rules.judge(found, details);
        if let Some(entry) = self.refuted.get(&details.id) {
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
        let exchange = self.exchanges.iter().find(|e| e.name == details.source);
        let verdict = set::cap(verdict, exchange);
        match self.objection(found, details) {
            Some(reason) if matches!(verdict.action, Action::WouldBlock | Action::Block) => {
                Verdict {
                    action: Action::Report,
                    reason: format!("{reason}; else: {}", verdict.reason),
                }
            }
            _ => verdict,
        }
    }

    /// Why a match never blocks, whatever rules say; `None`: it may.
    fn objection(&self, found: &Match, details: &Details) -> Option<String> {
        if self.is_damaged {
            return Some("what operators called false cannot be read".into());
        }
        let observable = &found.observable;
        if let Some(never) = &self.never
            && never.allows(observable.kind, &observable.value).is_some()
        {
            return Some("key `never` of [block] names it".into());
        }
        let (ipv4, ipv6) = self.widest;
        let networks = details
            .pattern
            .split('\'')
            .filter_map(|text| text.parse().ok());
        let is_wide = |network: IpNet| match network {
            IpNet::V4(network) => network.prefix_len() < ipv4,
            IpNet::V6(network) => network.prefix_len() < ipv6,
        };
        networks
            .into_iter()
            .any(is_wide)
            .then(|| "its network is wider than `widest_ipv4` or `widest_ipv6` of [block]".into())
    }
}
