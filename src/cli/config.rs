//! `watchpost config check`: what a configuration says, in plain words.

use crate::cli::Ended;
use crate::cli::Failure;
use crate::cli::rules;
use crate::cli::terminal;
use crate::config::Action;
use crate::config::Addresses;
use crate::config::Block;
use crate::config::Config;
use crate::config::Credentials;
use crate::config::DEFAULT_PATH;
use crate::config::Exchange;
use crate::config::Kind;
use crate::config::Loaded;
use crate::config::MAX_FILE_BYTES;
use crate::config::MispQuery;
use crate::config::Names;
use crate::config::Privacy;
use crate::config::SecretError;
use crate::config::SecretProblem;
use crate::config::SecretSource;
use crate::config::Sensor;
use crate::config::check_private_file;
use crate::indicator::Tlp;
use crate::report::text::grouped;
use crate::report::text::printable;
use clap::Args;
use std::fmt::Display;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Where the kernel shows its interfaces.
const INTERFACES: &str = "/sys/class/net";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  watchpost config check
  watchpost config check watchpost.toml
  sudo -u watchpost watchpost config check      as whom the sensor runs: can it read its secrets?

Exits 2 where the file is wrong, or where what it names cannot be used. Nothing is asked of any
exchange, and no secret is shown.")]
pub(super) struct CheckArguments {
    /// The configuration; - is standard input
    #[arg(value_name = "FILE", default_value = DEFAULT_PATH)]
    file: PathBuf,
}

pub(super) fn check(arguments: &CheckArguments) -> Result<Ended, Failure> {
    let Loaded { config, warnings } = load(&arguments.file)?;
    terminal::print(&describe(&config)).map_err(|e| Failure::Running(e.to_string()))?;
    let mut found = Found {
        warnings,
        problems: Vec::new(),
    };
    found.look(&config);
    for warning in &found.warnings {
        terminal::say("warning", warning);
    }
    if found.problems.is_empty() {
        Ok(Ended::Done)
    } else {
        Err(Failure::Usage(found.problems.join("\n")))
    }
}

pub(super) fn load(path: &Path) -> Result<Loaded, Failure> {
    let loaded = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|e| Failure::Usage(format!("standard input cannot be read: {e}")))?;
        Config::parse("standard input", &text)
    } else {
        Config::load(path)
    };
    loaded.map_err(|e| Failure::Usage(e.to_string()))
}

/// What is found where the configuration points to.
struct Found {
    /// What is likely not meant.
    warnings: Vec<String>,
    /// What keeps a sensor from working.
    problems: Vec<String>,
}

impl Found {
    fn look(&mut self, config: &Config) {
        for interface in &config.sensor.interfaces {
            if !Path::new(INTERFACES).join(interface).exists() {
                let text = format!("interfaces: this host has no interface {interface}");
                self.warnings.push(text);
            }
        }
        if config.sensor.state.exists() && !config.sensor.state.is_dir() {
            let text = format!("state: {} is no folder", config.sensor.state.display());
            self.problems.push(text);
        }
        match rules::load_all(&config.rules.paths) {
            Ok(rules) => self.warnings.extend(rules.warnings().iter().cloned()),
            Err(failure) => self.problems.push(failure.to_string()),
        }
        for exchange in &config.exchanges {
            self.look_at_exchange(exchange);
        }
        if let Addresses::Pseudonym { key } = &config.privacy.addresses {
            self.read_secret("privacy", key);
        }
    }

    fn look_at_exchange(&mut self, exchange: &Exchange) {
        let who = format!("exchange {}", exchange.name);
        if let Some(secret) = exchange.credentials.secret() {
            self.read_secret(&who, secret);
        }
        if let Some(client) = &exchange.tls.client {
            self.open(&who, &client.certificate);
            let checked = check_private_file(&client.key);
            self.note(&who, checked);
        }
        if let Some(ca) = &exchange.tls.ca {
            self.open(&who, ca);
        }
        if let Kind::Folder { path } = &exchange.kind
            && let Err(error) = fs::metadata(path)
        {
            let text = format!("{who}: {}: cannot be read: {error}", path.display());
            self.problems.push(text);
        }
    }

    fn read_secret(&mut self, who: &str, source: &SecretSource) {
        self.note(who, source.read().map(|read| read.warning));
    }

    fn note(&mut self, who: &str, checked: Result<Option<String>, SecretError>) {
        match checked {
            Ok(None) => {}
            Ok(Some(warning)) => self.warnings.push(format!("{who}: {warning}")),
            // what only the service has cannot be judged from a shell
            Err(
                error @ SecretError {
                    problem: SecretProblem::NotSet | SecretProblem::NoCredentials,
                    ..
                },
            ) => self.warnings.push(format!("{who}: not checked: {error}")),
            Err(error) => self.problems.push(format!("{who}: {error}")),
        }
    }

    fn open(&mut self, who: &str, path: &Path) {
        let is_file = File::open(path).and_then(|file| Ok(file.metadata()?.is_file()));
        match is_file {
            Ok(true) => {}
            Ok(false) => self
                .problems
                .push(format!("{who}: {} is no file", path.display())),
            Err(error) => self.problems.push(format!(
                "{who}: {}: cannot be read: {error}",
                path.display()
            )),
        }
    }
}

/// The configuration in plain words, a part after the other.
fn describe(config: &Config) -> String {
    let mut out = String::new();
    describe_sensor(&mut out, &config.sensor, &config.rules.paths);
    for exchange in &config.exchanges {
        describe_exchange(&mut out, exchange);
    }
    if config.exchanges.is_empty() {
        part(
            &mut out,
            "No exchange: indicators come from the command line alone",
        );
    }
    describe_privacy(&mut out, &config.privacy);
    describe_block(&mut out, &config.block);
    out
}

fn describe_sensor(out: &mut String, sensor: &Sensor, rules: &[PathBuf]) {
    match &sensor.organisation {
        Some(organisation) => part(out, &format!("Sensor {} of {organisation}", sensor.name)),
        None => part(out, &format!("Sensor {}", sensor.name)),
    }
    let watched = match sensor.interfaces.as_slice() {
        [] => "what the command line names".to_owned(),
        names => names.join(", "),
    };
    line(out, "watches", &watched);
    let mut internal = listed(&sensor.internal, ", ");
    if internal.is_empty() {
        internal.push_str("nothing");
    }
    if sensor.internal_by_host {
        internal.push_str(", and the networks of this host");
    }
    line(out, "internal", &internal);
    line(out, "state", &sensor.state.display().to_string());
    let rules = match rules {
        [] => "those that come with watchpost".to_owned(),
        paths => listed(paths.iter().map(|path| path.display()), ", "),
    };
    line(out, "rules", &rules);
}

fn describe_exchange(out: &mut String, exchange: &Exchange) {
    let what = match &exchange.kind {
        Kind::Taxii { url, .. } => format!("TAXII server {url}"),
        Kind::Misp { url, .. } => format!("MISP server {url}"),
        Kind::MispFeed { url } => format!("feed of MISP {url}"),
        Kind::Url { url } => format!("document {url}"),
        Kind::Folder { path } => format!("files of {}", path.display()),
    };
    part(out, &format!("Exchange {}: {what}", exchange.name));
    let mut read = format!("every {}", spoken(exchange.interval));
    match &exchange.kind {
        Kind::Taxii { collections, .. } if collections.is_empty() => {
            read.push_str(", all collections that can be read");
        }
        Kind::Taxii { collections, .. } => {
            let _ = write!(read, ", collections {}", collections.join(", "));
        }
        Kind::Misp { query, .. } => read.push_str(&describe_query(query)),
        Kind::MispFeed { .. } | Kind::Url { .. } | Kind::Folder { .. } => {}
    }
    line(out, "read", &read);
    if exchange.kind.url().is_some() {
        line(out, "sign-in", &describe_credentials(&exchange.credentials));
    }
    if let Some(client) = &exchange.tls.client {
        let (certificate, key) = (client.certificate.display(), client.key.display());
        let shown = format!("{certificate}, with the key {key}");
        line(out, "certificate", &shown);
    }
    if let Some(ca) = &exchange.tls.ca {
        let trusted = format!("servers whose issuer is in {}", ca.display());
        line(out, "trusted", &trusted);
    }
    if exchange.allow_clear {
        line(
            out,
            "encryption",
            "none needed: requests may cross a network in the clear",
        );
    }
    let mut may = match exchange.action {
        Action::Report => "are reported, and never block".to_owned(),
        Action::Block => "block where the rules say so".to_owned(),
    };
    if let Some(confidence) = exchange.confidence {
        let _ = write!(may, "; without a confidence they count as {confidence}");
    }
    if let Some(after) = exchange.expire_after {
        let _ = write!(may, "; without an end they end after {}", spoken(after));
    }
    line(out, "indicators", &may);
    line(out, "goes back", &describe_sharing(exchange));
    let limits = &exchange.limits;
    line(
        out,
        "held back",
        &format!(
            "a set that loses more than {} % of its indicators or has more than {} times as many, \
             from {} on",
            limits.shrink_percent,
            grouped(limits.grow_factor.into()),
            grouped(limits.at_least)
        ),
    );
    line(
        out,
        "at most",
        &format!(
            "{} bytes, {} objects a pull",
            grouped(limits.max_bytes),
            grouped(limits.max_objects)
        ),
    );
}

fn describe_query(query: &MispQuery) -> String {
    let mut out = String::new();
    if !query.types.is_empty() {
        let _ = write!(out, ", types {}", query.types.join(", "));
    }
    let (without, with): (Vec<&str>, Vec<&str>) = query
        .tags
        .iter()
        .map(String::as_str)
        .partition(|tag| tag.starts_with('!'));
    if !with.is_empty() {
        let _ = write!(out, ", tagged {}", with.join(" or "));
    }
    for tag in without {
        let _ = write!(out, ", not tagged {}", tag.trim_start_matches('!'));
    }
    if query.to_ids {
        out.push_str(", for detection");
    }
    if query.published {
        out.push_str(", published");
    }
    if let Some(last) = query.last {
        let _ = write!(out, ", of the last {}", spoken(last));
    }
    out
}

fn describe_credentials(credentials: &Credentials) -> String {
    match credentials {
        Credentials::None => "none".to_owned(),
        Credentials::Basic { username, password } => {
            format!("as {username}, with the password in {}", password.shown())
        }
        Credentials::Bearer { token } => format!("with the token in {}", token.shown()),
        Credentials::Key { token } => format!("with the key in {}", token.shown()),
    }
}

fn describe_sharing(exchange: &Exchange) -> String {
    let targets: Vec<String> = match &exchange.kind {
        Kind::Taxii {
            sightings: Some(collection),
            ..
        } => Some(format!("into collection {collection}")),
        Kind::Misp {
            sightings: true, ..
        } => Some("as sightings of its attributes".to_owned()),
        _ => None,
    }
    .into_iter()
    .chain(exchange.also_share_to.iter().map(|to| format!("to {to}")))
    .collect();
    if targets.is_empty() || exchange.share.is_empty() {
        return "nothing".to_owned();
    }
    let markings = exchange
        .share
        .iter()
        .map(|marking| marking.map_or("unmarked", Tlp::as_str));
    format!(
        "sightings of indicators that are {}, {}",
        listed(markings, " or "),
        targets.join(" and ")
    )
}

fn describe_privacy(out: &mut String, privacy: &Privacy) {
    part(out, "Privacy: of what is internal, in what leaves");
    let addresses = match &privacy.addresses {
        Addresses::Omit => "are left out".to_owned(),
        Addresses::Prefix { v4, v6 } => {
            format!("leave as their network: {v4} bits of IPv4, {v6} of IPv6")
        }
        Addresses::Pseudonym { key } => {
            format!("leave as pseudonyms, under the key in {}", key.shown())
        }
        Addresses::Keep => "leave as they are".to_owned(),
    };
    line(out, "addresses", &addresses);
    let mut names = match privacy.names {
        Names::Omit => "are left out".to_owned(),
        Names::Keep => "leave as they are".to_owned(),
    };
    if privacy.internal_domains.is_empty() {
        names.push_str("; no domain is named as internal");
    } else {
        let _ = write!(names, ": {} and below", privacy.internal_domains.join(", "));
    }
    line(out, "names", &names);
    let window = format!("gathered for {}, then sent as one", spoken(privacy.window));
    line(out, "sightings", &window);
}

fn describe_block(out: &mut String, block: &Block) {
    part(
        out,
        if block.enforce {
            "Blocking: asked for, but this version blocks by 'watchpost block add' alone; events say what \
             would be blocked"
        } else {
            "Blocking: a dry run; events say what would be blocked"
        },
    );
    let mut never = listed(&block.never, ", ");
    if never.is_empty() {
        never.push_str("what allowlists cover");
    }
    line(out, "never", &never);
    let widest = format!(
        "networks wider than /{} and /{}",
        block.widest_ipv4, block.widest_ipv6
    );
    line(out, "nor", &widest);
    let lease = format!("{}, renewed by a living sensor", spoken(block.lease));
    line(out, "each for", &lease);
    let most = format!("{} by one update", grouped(block.max_add));
    line(out, "at most", &most);
}

/// The heading of a part.
fn part(out: &mut String, title: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    // writing to a String cannot fail
    let _ = writeln!(out, "{}", printable(title));
}

/// A line of a part.
fn line(out: &mut String, what: &str, text: &str) {
    let _ = writeln!(out, "  {what:<12}{}", printable(text));
}

fn listed(items: impl IntoIterator<Item = impl Display>, between: &str) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(between)
}

/// A duration in the largest unit that fits: `15 minutes`.
fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute")];
    let (number, unit) = units
        .into_iter()
        .find(|(length, _)| seconds >= *length && seconds.is_multiple_of(*length))
        .map_or((seconds, "second"), |(length, unit)| {
            (seconds / length, unit)
        });
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_words() {
        for (seconds, text) in [
            (1, "1 second"),
            (90, "90 seconds"),
            (900, "15 minutes"),
            (3_600, "1 hour"),
            (86_400, "1 day"),
            (90_000, "25 hours"),
            (0, "0 seconds"),
        ] {
            assert_eq!(spoken(Duration::from_secs(seconds)), text);
        }
    }
}
