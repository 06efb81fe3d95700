//! The parts of the file but for exchanges, and what holds between parts.

use super::Action;
use super::Addresses;
use super::Block;
use super::Config;
use super::Exchange;
use super::Loaded;
use super::MAX_EXCHANGES;
use super::Names;
use super::Privacy;
use super::RulePaths;
use super::Sensor;
use super::error::ConfigError;
use super::error::Source;
use super::exchange;
use super::exchange::Draft;
use super::key;
use super::reader::Field;
use super::reader::Section;
use super::value;
use super::value::LEASES;
use super::value::WINDOWS;
use crate::verdict::unknown;
use ipnet::IpNet;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where a sensor keeps what it must not lose (Filesystem Hierarchy Standard 3.0, section 5.8).
const DEFAULT_STATE: &str = "/var/lib/watchpost";

/// What is internal where the file does not say: private (RFC 1918), shared (RFC 6598), link
/// local (RFC 3927, RFC 4291), unique local (RFC 4193) and loopback addresses.
const DEFAULT_INTERNAL: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "127.0.0.0/8",
    "fc00::/7",
    "fe80::/10",
    "::1/128",
];

/// Bits of an internal IPv4 address that leave under `addresses = "prefix"`: of 256 hosts, which
/// it was stays here.
const DEFAULT_PREFIX_V4: u8 = 24;

/// As [`DEFAULT_PREFIX_V4`]: a site (RFC 6177).
const DEFAULT_PREFIX_V6: u8 = 48;

/// Sightings of an hour are one: an exchange wants to know that an indicator lives, not how busy
/// a host is.
const DEFAULT_WINDOW: Duration = Duration::from_secs(3_600);

/// A block outlives its sensor by no more.
const DEFAULT_LEASE: Duration = Duration::from_secs(3_600);

/// Networks wider than this never reach the firewall: a /16 is 65,536 addresses.
const DEFAULT_WIDEST_V4: u8 = 16;

/// As [`DEFAULT_WIDEST_V4`]: a /48 is one site (RFC 6177).
const DEFAULT_WIDEST_V6: u8 = 48;

/// Blocks of one update: more at once is likelier a mistake of a partner than an attack.
const DEFAULT_MAX_ADD: u64 = 10_000;

/// Most of [`DEFAULT_MAX_ADD`] that can be asked for: what a set of nftables holds in memory.
const MOST_ADDED: u64 = 10_000_000;

/// Reads the file.
pub(super) fn read(source: &Source<'_>) -> Result<Loaded, ConfigError> {
    let mut document = Section::document(source)?;
    document.check_keys(&key::TOP, |name| {
        (name == "exchanges").then(|| "unknown key `exchanges`; write [[exchange]] for each".into())
    })?;
    let mut warnings = Vec::new();
    let sensor = read_sensor(document.part("sensor", "[sensor]")?)?;
    let rules = read_rules(document.part("rules", "[rules]")?)?;
    let sections = document.tables("exchange", "[[exchange]]")?;
    if let Some(beyond) = sections.get(MAX_EXCHANGES) {
        return Err(beyond.wrong(format!("more than {MAX_EXCHANGES} exchanges")));
    }
    let mut drafts = Vec::with_capacity(sections.len());
    for section in sections {
        drafts.push(exchange::read(section, &mut warnings)?);
    }
    check_names(source, &drafts)?;
    check_also_share_to(source, &drafts, &mut warnings)?;
    let exchanges: Vec<Exchange> = drafts.into_iter().map(|draft| draft.exchange).collect();
    let privacy = document.part("privacy", "[privacy]")?;
    let privacy = read_privacy(privacy, &exchanges, &mut warnings)?;
    let block = read_block(
        document.part("block", "[block]")?,
        &exchanges,
        &mut warnings,
    )?;
    Ok(Loaded {
        config: Config {
            sensor,
            rules,
            exchanges,
            privacy,
            block,
        },
        warnings,
    })
}

fn read_sensor(mut section: Section<'_>) -> Result<Sensor, ConfigError> {
    section.check_keys(&key::SENSOR, |_| None)?;
    let source = section.source();
    let name = section.text("name", value::title)?;
    let name = section.require(name, "name", "gateway-1")?.value;
    let organisation = Field::value(section.text("organisation", value::title)?);
    let state = section.text("state", value::path)?;
    let state = Field::value(state).unwrap_or_else(|| DEFAULT_STATE.into());
    let interfaces = values(section.texts("interfaces", value::interface)?);
    let internal = section.texts("internal", value::network)?;
    Ok(Sensor {
        name,
        organisation,
        state: source.absolute(state),
        interfaces,
        internal_by_host: internal.is_none(),
        internal: match internal {
            Some(fields) => values(Some(fields)),
            None => default_internal(),
        },
    })
}

fn default_internal() -> Vec<IpNet> {
    DEFAULT_INTERNAL
        .iter()
        .filter_map(|network| network.parse().ok())
        .collect()
}

fn read_rules(mut section: Section<'_>) -> Result<RulePaths, ConfigError> {
    section.check_keys(&key::RULES, |_| None)?;
    let source = section.source();
    let paths: Vec<PathBuf> = values(section.texts("paths", value::path)?);
    Ok(RulePaths {
        paths: paths
            .into_iter()
            .map(|path| source.absolute(path))
            .collect(),
    })
}

/// Two exchanges of one name would share a folder of the state.
fn check_names(source: &Source<'_>, drafts: &[Draft]) -> Result<(), ConfigError> {
    let mut seen = HashMap::new();
    for draft in drafts {
        let lower = draft.exchange.name.to_ascii_lowercase();
        if let Some(first) = seen.insert(lower, draft.name_offset) {
            let (line, _) = source.position(first);
            let problem = format!(
                "name: the exchange of line {line} is called `{}` as well; names must differ in \
                 more than letter case",
                draft.exchange.name
            );
            return Err(source.at(draft.name_offset, problem));
        }
    }
    Ok(())
}

/// Exchanges that sightings go on to must exist, be others, and take sightings.
fn check_also_share_to(
    source: &Source<'_>,
    drafts: &[Draft],
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let by_name: HashMap<&str, &Exchange> = drafts
        .iter()
        .map(|draft| (draft.exchange.name.as_str(), &draft.exchange))
        .collect();
    for draft in drafts {
        for target in &draft.also_share_to {
            let name = target.value.as_str();
            let wrong = |problem: String| {
                Err(source.at(target.offset, format!("also_share_to: {problem}")))
            };
            match by_name.get(name) {
                None => {
                    let names: Vec<&str> =
                        drafts.iter().map(|d| d.exchange.name.as_str()).collect();
                    return wrong(unknown("exchange", name, &names));
                }
                Some(exchange) if exchange.name == draft.exchange.name => {
                    return wrong(format!("`{name}` is this exchange itself"));
                }
                Some(exchange) if !exchange.takes_sightings() => {
                    return wrong(format!(
                        "`{name}` takes no sightings: it has no sightings key"
                    ));
                }
                Some(exchange) => {
                    let share = &draft.exchange.share;
                    if !share.iter().any(|marking| exchange.share.contains(marking)) {
                        let text = format!(
                            "also_share_to: nothing goes to `{name}`: no marking is in the share \
                             of both"
                        );
                        warnings.push(source.warning(target.offset, text));
                    }
                }
            }
        }
    }
    Ok(())
}

fn read_privacy(
    mut section: Section<'_>,
    exchanges: &[Exchange],
    warnings: &mut Vec<String>,
) -> Result<Privacy, ConfigError> {
    section.check_keys(&key::PRIVACY, |_| None)?;
    let source = section.source();
    let words = [
        ("omit", Mode::Omit),
        ("prefix", Mode::Prefix),
        ("pseudonym", Mode::Pseudonym),
        ("keep", Mode::Keep),
    ];
    let mode = section.word("addresses", &words)?.unwrap_or(Mode::Omit);
    let v4 = section.number("prefix_v4", 0..=32)?;
    let v6 = section.number("prefix_v6", 0..=128)?;
    let key = section.secret([
        "pseudonym_key_file",
        "pseudonym_key_env",
        "pseudonym_key_credential",
    ])?;
    let mut idle = |offset: Option<usize>, key: &str, needed: &str| {
        if let Some(offset) = offset {
            let text = format!("{key} counts only with addresses = \"{needed}\"");
            warnings.push(source.warning(offset, text));
        }
    };
    if mode != Mode::Prefix {
        idle(v4.as_ref().map(|field| field.offset), "prefix_v4", "prefix");
        idle(v6.as_ref().map(|field| field.offset), "prefix_v6", "prefix");
    }
    if mode != Mode::Pseudonym {
        let offset = key.as_ref().map(|field| field.offset);
        idle(offset, "the key of pseudonyms", "pseudonym");
    }
    let addresses = match mode {
        Mode::Omit => Addresses::Omit,
        Mode::Keep => Addresses::Keep,
        Mode::Prefix => Addresses::Prefix {
            v4: Field::value(v4).unwrap_or(DEFAULT_PREFIX_V4),
            v6: Field::value(v6).unwrap_or(DEFAULT_PREFIX_V6),
        },
        Mode::Pseudonym => Addresses::Pseudonym {
            key: section
                .require(key, "pseudonym_key_file", "/etc/watchpost/pseudonym.key")?
                .value,
        },
    };
    let names = section
        .word("names", &[("omit", Names::Omit), ("keep", Names::Keep)])?
        .unwrap_or(Names::Omit);
    let internal_domains = values(section.texts("internal_domains", value::internal_domain)?);
    let window = section.text("window", |text| WINDOWS.read(text))?;
    if mode == Mode::Keep && exchanges.iter().any(Exchange::takes_sightings) {
        let text = "addresses = \"keep\": internal addresses leave with sightings";
        warnings.push(source.warning(section.offset(), text));
    }
    Ok(Privacy {
        addresses,
        names,
        internal_domains,
        window: Field::value(window).unwrap_or(DEFAULT_WINDOW),
    })
}

/// What becomes of internal addresses, before what it needs is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Omit,
    Prefix,
    Pseudonym,
    Keep,
}

fn read_block(
    mut section: Section<'_>,
    exchanges: &[Exchange],
    warnings: &mut Vec<String>,
) -> Result<Block, ConfigError> {
    section.check_keys(&key::BLOCK, |_| None)?;
    let source = section.source();
    let enforce = section.flag("enforce")?;
    let never = values(section.texts("never", value::never)?);
    let lease = section.text("lease", |text| LEASES.read(text))?;
    let widest_ipv4 = section.number("widest_ipv4", 0..=32)?;
    let widest_ipv6 = section.number("widest_ipv6", 0..=128)?;
    let max_add = section.number("max_add", 1..=MOST_ADDED)?;
    if let Some(enforce) = enforce.as_ref().filter(|enforce| enforce.value) {
        let may_block = exchanges.iter().any(|e| e.action == Action::Block);
        if !exchanges.is_empty() && !may_block {
            let text = "enforce = true, but no exchange says action = \"block\": none of their \
                        indicators will block";
            warnings.push(source.warning(enforce.offset, text));
        }
        if never.is_empty() {
            let text = "enforce = true without never: name there what must stay reachable, such \
                        as resolvers and the addresses you administer from";
            warnings.push(source.warning(enforce.offset, text));
        }
    }
    Ok(Block {
        enforce: Field::value(enforce).unwrap_or(false),
        never,
        lease: Field::value(lease).unwrap_or(DEFAULT_LEASE),
        widest_ipv4: Field::value(widest_ipv4).unwrap_or(DEFAULT_WIDEST_V4),
        widest_ipv6: Field::value(widest_ipv6).unwrap_or(DEFAULT_WIDEST_V6),
        max_add: Field::value(max_add).unwrap_or(DEFAULT_MAX_ADD),
    })
}

/// The values alone; none where the key is absent.
pub(super) fn values<T>(fields: Option<Vec<Field<T>>>) -> Vec<T> {
    let fields = fields.unwrap_or_default();
    fields.into_iter().map(|field| field.value).collect()
}
