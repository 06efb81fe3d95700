//! Policy: rules that decide what becomes of a match.
//!
//! A policy file is TOML with the parts `[policy]`, `[matching]`, `[[rule]]`
//! and `[allow]`; of the rules, the first that fits decides.

use super::allowlist::Allowlist;
use super::allowlist::canonical;
use super::error::RulesError;
use super::error::quoted;
use super::error::unknown;
use super::wildcard::Wildcard;
use crate::indicator::Details;
use crate::indicator::Tlp;
use crate::matcher::Match;
use crate::observable::ObservableType;
use crate::observable::Place;
use ipnet::IpNet;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::Unexpected;
use std::collections::BTreeMap;
use std::net::IpAddr;
use toml::Spanned;

/// What an indicator without a confidence counts as, unless `default_confidence` says otherwise:
/// the middle of the scale (STIX 2.1 appendix A).
const DEFAULT_CONFIDENCE: u8 = 50;

/// Networks wider than this never block, unless `widest_ipv4` says
/// otherwise: a /16 is already 65,536 addresses.
const WIDEST_IPV4: u8 = 16;

/// As [`WIDEST_IPV4`] for IPv6: a /48 is what one site is given (RFC 6177).
const WIDEST_IPV6: u8 = 48;

/// Whether a domain name of an indicator takes its subdomains too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subdomains {
    /// Where the indicator says so.
    #[default]
    AsWritten,
    /// Always.
    Always,
}

/// How indicators are matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// For sources that no exception names.
    pub subdomains: Subdomains,
    /// Exceptions by source; the most exact first.
    sources: Vec<(Wildcard, Subdomains)>,
}

impl Matching {
    /// Whether any source is treated apart.
    pub const fn has_exceptions(&self) -> bool {
        !self.sources.is_empty()
    }

    /// What holds for the indicators of a source.
    pub fn subdomains_for(&self, source: &str) -> Subdomains {
        self.sources
            .iter()
            .find(|(name, _)| name.fits_source(source))
            .map_or(self.subdomains, |(_, subdomains)| *subdomains)
    }
}

/// What policy wants done with a match, before restraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Wish {
    Report,
    Block,
}

impl Wish {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Block => "block",
        }
    }
}

/// The rules of all policy files, in order.
#[derive(Debug, Default)]
pub(super) struct Policy {
    rules: Vec<Rule>,
    settings: Settings,
    /// Files whose `[policy]` and `[matching]` were read; both may be said once only.
    settings_file: Option<String>,
    matching_file: Option<String>,
}

#[derive(Debug)]
struct Settings {
    default_action: Wish,
    default_confidence: u8,
    widest_ipv4: u8,
    widest_ipv6: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            default_action: Wish::Report,
            default_confidence: DEFAULT_CONFIDENCE,
            widest_ipv4: WIDEST_IPV4,
            widest_ipv6: WIDEST_IPV6,
        }
    }
}

impl Policy {
    /// Adds what a policy file says; its `[allow]`, if any, is handed back.
    pub(super) fn read(
        &mut self,
        file: &str,
        text: &str,
        matching: &mut Matching,
    ) -> Result<Option<Allowlist>, RulesError> {
        let document: Document =
            toml::from_str(text).map_err(|error| RulesError::toml(file, text, &error))?;
        if let Some(section) = document.policy {
            say_once(&mut self.settings_file, "[policy]", file, text, &section)?;
            self.settings = section.into_inner().into();
        }
        if let Some(section) = document.matching {
            say_once(&mut self.matching_file, "[matching]", file, text, &section)?;
            *matching = section.into_inner().into();
        }
        for (n, section) in document.rule.into_iter().enumerate() {
            self.rules.push(Rule::new(section, n + 1, file, text)?);
        }
        document
            .allow
            .map(|allow| {
                let values = allow
                    .values
                    .iter()
                    .map(|v| (v.span().start, v.get_ref().trim()));
                let name = allow.name.as_deref().unwrap_or(file);
                Allowlist::from_values(name, file, text, values)
            })
            .transpose()
    }

    /// What the first fitting rule wants, and which it is.
    pub(super) fn decide(&self, found: &Match, details: &Details) -> (Wish, String) {
        let confidence = details
            .confidence
            .unwrap_or(self.settings.default_confidence);
        if let Some(rule) = self
            .rules
            .iter()
            .find(|rule| rule.fits(found, details, confidence))
        {
            let wish = rule.wish;
            return (wish, format!("{} says {}", rule.title, wish.as_str()));
        }
        let wish = self.settings.default_action;
        let reason = match (&self.settings_file, self.rules.is_empty()) {
            (None, true) => "there are no rules, and every match is reported".to_owned(),
            (None, false) => "no rule fits, and such a match is reported".to_owned(),
            (Some(file), _) => format!(
                "no rule fits, and the default_action of {file} is {}",
                wish.as_str()
            ),
        };
        (wish, reason)
    }

    /// Why a match must not block whatever the rules say; `None`: it may.
    pub(super) fn restraint(&self, found: &Match, details: &Details) -> Option<String> {
        let observable = &found.observable;
        if observable.place.names_only() {
            return Some(format!(
                "what a message merely names ({}) never blocks by itself",
                observable.place
            ));
        }
        let address = match observable.kind {
            ObservableType::Ipv4Addr | ObservableType::Ipv6Addr => canonical(&observable.value),
            _ => return None,
        };
        let named = address.and_then(|address| narrowest(&details.pattern, address));
        let Some(network) = named else {
            return Some("the indicator's pattern does not name the address".to_owned());
        };
        let widest = match network {
            IpNet::V4(_) => self.settings.widest_ipv4,
            IpNet::V6(_) => self.settings.widest_ipv6,
        };
        (network.prefix_len() < widest)
            .then(|| format!("the network {network} is wider than /{widest}"))
    }
}

/// The addresses among `ends` that the pattern names, alone or by a network.
pub(super) fn named_ends(pattern: &str, ends: [IpAddr; 2]) -> Vec<IpNet> {
    ends.into_iter()
        .map(|end| IpNet::from(end.to_canonical()))
        .filter(|end| narrowest(pattern, *end).is_some())
        .collect()
}

/// The narrowest network among a pattern's string literals that covers `address`.
fn narrowest(pattern: &str, address: IpNet) -> Option<IpNet> {
    literals(pattern)
        .filter_map(|literal| canonical(&literal))
        .filter(|network| network.contains(&address))
        .max_by_key(IpNet::prefix_len)
}

/// The string literals of a STIX pattern (STIX 2.1 section 9.6.1: within single quotes, where a
/// backslash takes the next character as it is).
fn literals(pattern: &str) -> impl Iterator<Item = String> {
    let mut rest = pattern.chars();
    std::iter::from_fn(move || {
        rest.find(|c| *c == '\'')?;
        let mut literal = String::new();
        loop {
            match rest.next()? {
                '\'' => return Some(literal),
                '\\' => literal.push(rest.next()?),
                other => literal.push(other),
            }
        }
    })
}

/// One rule; an absent condition always holds.
#[derive(Debug)]
struct Rule {
    /// As a reason names it, with its file.
    title: String,
    types: Option<Vec<ObservableType>>,
    places: Option<Vec<Wildcard>>,
    min_confidence: Option<u8>,
    tlp: Option<Vec<Option<Tlp>>>,
    sources: Option<Vec<Wildcard>>,
    labels: Option<Vec<Wildcard>>,
    wish: Wish,
}

impl Rule {
    fn new(
        section: RuleSection,
        number: usize,
        file: &str,
        text: &str,
    ) -> Result<Self, RulesError> {
        let at = |offset, problem| RulesError::at(file, text, offset, problem);
        let title = match &section.name {
            Some(name) => format!("rule {} of {file}", quoted(name)),
            None => format!("rule {number} of {file}"),
        };
        Ok(Self {
            title,
            types: alternatives(section.types, kind, at)?,
            places: alternatives(section.places, place, at)?,
            min_confidence: section.min_confidence.map(|percent| percent.0),
            tlp: alternatives(section.tlp, marking, at)?,
            sources: section.sources.map(wildcards),
            labels: section.labels.map(wildcards),
            wish: section.action,
        })
    }

    fn fits(&self, found: &Match, details: &Details, confidence: u8) -> bool {
        let observable = &found.observable;
        holds(&self.types, |kind| *kind == observable.kind)
            && holds(&self.places, |place| place.fits(observable.place.as_str()))
            && self.min_confidence.is_none_or(|least| confidence >= least)
            && holds(&self.tlp, |tlp| *tlp == details.tlp)
            && holds(&self.sources, |source| source.fits_source(&details.source))
            && holds(&self.labels, |wanted| {
                details.labels.iter().any(|label| wanted.fits(label))
            })
    }
}

/// Whether a condition is absent or one of its alternatives holds.
fn holds<T>(condition: &Option<Vec<T>>, holds: impl FnMut(&T) -> bool) -> bool {
    condition
        .as_ref()
        .is_none_or(|alternatives| alternatives.iter().any(holds))
}

/// Reads the alternatives of a condition; an error is placed at the one that is wrong.
fn alternatives<T>(
    words: Option<Vec<Spanned<String>>>,
    read: impl Fn(&str) -> Result<T, String>,
    at: impl Fn(usize, String) -> RulesError,
) -> Result<Option<Vec<T>>, RulesError> {
    words
        .map(|words| {
            words
                .iter()
                .map(|word| read(word.get_ref()).map_err(|problem| at(word.span().start, problem)))
                .collect()
        })
        .transpose()
}

fn wildcards(patterns: Vec<String>) -> Vec<Wildcard> {
    patterns.iter().map(|p| Wildcard::new(p)).collect()
}

/// Refuses a part that another file has too: which of the two would hold, nobody could tell.
fn say_once<T>(
    said: &mut Option<String>,
    part: &str,
    file: &str,
    text: &str,
    section: &Spanned<T>,
) -> Result<(), RulesError> {
    if let Some(other) = said {
        let problem = format!("{part} is in {other} already; keep one of the two");
        return Err(RulesError::at(file, text, section.span().start, problem));
    }
    *said = Some(file.to_owned());
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    policy: Option<Spanned<PolicySection>>,
    matching: Option<Spanned<MatchingSection>>,
    #[serde(default)]
    rule: Vec<RuleSection>,
    allow: Option<AllowSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicySection {
    default_action: Option<Wish>,
    default_confidence: Option<UpTo<100>>,
    widest_ipv4: Option<UpTo<32>>,
    widest_ipv6: Option<UpTo<128>>,
}

impl From<PolicySection> for Settings {
    fn from(section: PolicySection) -> Self {
        Self {
            default_action: section.default_action.unwrap_or(Wish::Report),
            default_confidence: section
                .default_confidence
                .map_or(DEFAULT_CONFIDENCE, |n| n.0),
            widest_ipv4: section.widest_ipv4.map_or(WIDEST_IPV4, |n| n.0),
            widest_ipv6: section.widest_ipv6.map_or(WIDEST_IPV6, |n| n.0),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MatchingSection {
    #[serde(default)]
    subdomains: Subdomains,
    #[serde(default)]
    source: BTreeMap<String, SourceSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceSection {
    subdomains: Subdomains,
}

impl From<MatchingSection> for Matching {
    fn from(section: MatchingSection) -> Self {
        let mut sources: Vec<_> = section
            .source
            .iter()
            .map(|(name, source)| (Wildcard::new(name), source.subdomains))
            .collect();
        sources.sort_by_key(|(name, _)| (!name.is_plain(), usize::MAX - name.weight()));
        Self {
            subdomains: section.subdomains,
            sources,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleSection {
    name: Option<String>,
    types: Option<Vec<Spanned<String>>>,
    places: Option<Vec<Spanned<String>>>,
    min_confidence: Option<UpTo<100>>,
    tlp: Option<Vec<Spanned<String>>>,
    sources: Option<Vec<String>>,
    labels: Option<Vec<String>>,
    action: Wish,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowSection {
    name: Option<String>,
    values: Vec<Spanned<String>>,
}

/// A whole number from 0 to `MAX`.
struct UpTo<const MAX: u8>(u8);

impl<'de, const MAX: u8> Deserialize<'de> for UpTo<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer)?;
        match u8::try_from(number) {
            Ok(small) if small <= MAX => Ok(Self(small)),
            _ => Err(D::Error::invalid_value(
                Unexpected::Signed(number),
                &format!("a whole number from 0 to {MAX}").as_str(),
            )),
        }
    }
}

/// Every type; a test fails where one is missing.
const KINDS: [ObservableType; 9] = [
    ObservableType::Ipv4Addr,
    ObservableType::Ipv6Addr,
    ObservableType::DomainName,
    ObservableType::Url,
    ObservableType::EmailAddr,
    ObservableType::EmailMessage,
    ObservableType::File,
    ObservableType::X509Certificate,
    ObservableType::NetworkTraffic,
];

/// Every level; `None` is an indicator without any.
const MARKINGS: [(Option<Tlp>, &str); 6] = [
    (Some(Tlp::Clear), Tlp::Clear.as_str()),
    (Some(Tlp::Green), Tlp::Green.as_str()),
    (Some(Tlp::Amber), Tlp::Amber.as_str()),
    (Some(Tlp::AmberStrict), Tlp::AmberStrict.as_str()),
    (Some(Tlp::Red), Tlp::Red.as_str()),
    (None, "unmarked"),
];

/// A type by its STIX name.
fn kind(name: &str) -> Result<ObservableType, String> {
    KINDS
        .into_iter()
        .find(|kind| kind.as_str() == name)
        .ok_or_else(|| unknown("type", name, &KINDS.map(ObservableType::as_str)))
}

/// Places by name; `flow.*` names several.
fn place(name: &str) -> Result<Wildcard, String> {
    let wildcard = Wildcard::new(name);
    match Place::ALL.iter().any(|place| wildcard.fits(place.as_str())) {
        true => Ok(wildcard),
        false => Err(unknown("place", name, &Place::ALL.map(Place::as_str))),
    }
}

/// A TLP level, of version 1 or 2, or "unmarked".
pub(crate) fn marking(name: &str) -> Result<Option<Tlp>, String> {
    match Tlp::from_label(name) {
        None if name != "unmarked" => {
            Err(unknown("marking", name, &MARKINGS.map(|(_, name)| name)))
        }
        level => Ok(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_marking_can_be_named() {
        for kind in KINDS {
            // A type that is added must be added to the list as well.
            match kind {
                ObservableType::Ipv4Addr
                | ObservableType::Ipv6Addr
                | ObservableType::DomainName
                | ObservableType::Url
                | ObservableType::EmailAddr
                | ObservableType::EmailMessage
                | ObservableType::File
                | ObservableType::X509Certificate
                | ObservableType::NetworkTraffic => {}
            }
            assert_eq!(super::kind(kind.as_str()), Ok(kind));
        }
        for (level, name) in MARKINGS {
            assert_eq!(marking(name), Ok(level));
        }
    }

    #[test]
    fn literals_of_patterns() {
        for (pattern, expected) in [
            ("[a:b = 'c']", &["c"][..]),
            (
                "[a:b = 'c' AND d:'e-f'.g IN ('', 'h')]",
                &["c", "e-f", "", "h"],
            ),
            (r"[a:b = 'it\'s' OR a:b = 'c']", &["it's", "c"]),
            (r"[a:b = 'it\\' OR a:b = 'c']", &["it\\", "c"]),
            ("[a:b = 'open", &[]),
            ("", &[]),
        ] {
            let all: Vec<_> = literals(pattern).collect();
            assert_eq!(all, expected, "{pattern}");
        }
    }
}
