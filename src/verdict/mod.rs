//! Verdicts: what becomes of a match.
//!
//! [`Rules`] are read from a folder of files: policy (TOML, see
//! [`Matching`] and docs/rules.md), allowlists (text, one value a line) and
//! MISP warninglists (JSON). They are pure: reading the files is the caller's
//! work, and so is acting on a verdict. What policy would block is
//! [`Action::WouldBlock`]; that it was blocked is said by who blocked it.

mod allowlist;
mod error;
#[cfg(test)]
pub(crate) mod fuzz;
mod policy;
mod wildcard;

pub use allowlist::AllowlistEntry;
pub use error::RulesError;
pub(crate) use error::advise;
pub(crate) use error::nearest;
pub(crate) use error::position;
pub(crate) use error::quoted;
pub(crate) use error::unknown;
pub use policy::Matching;
pub use policy::Subdomains;
pub(crate) use policy::marking;

use crate::indicator::Details;
use crate::matcher::Evidence;
use crate::matcher::Match;
use crate::observable::ObservableType;
use crate::protocol::Hashes;
use allowlist::Allowlist;
use allowlist::Subject;
use policy::Policy;
use policy::Wish;

/// Bytes of one file: a list of ten million values has as much.
const MAX_FILE_BYTES: usize = 256 << 20;

/// The shipped rules, as name and content.
const SHIPPED: [(&str, &str); 2] = [
    ("rules/policy.toml", include_str!("../../rules/policy.toml")),
    (
        "rules/never-block.txt",
        include_str!("../../rules/never-block.txt"),
    ),
];

/// What is done with a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It is reported.
    Report,
    /// It is reported, and policy would block what it names.
    WouldBlock,
    /// It is reported, and what it names was blocked.
    Block,
    /// It is reported, and an allowlist keeps policy from acting on it.
    Allowlisted,
}

impl Action {
    /// The name that events carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::WouldBlock => "would-block",
            Self::Block => "block",
            Self::Allowlisted => "allowlisted",
        }
    }
}

/// What becomes of a match, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is done.
    pub action: Action,
    /// In plain words, which rule of which file decided, or which entry of which allowlist.
    pub reason: String,
}

/// Policy and allowlists.
#[derive(Debug, Default)]
pub struct Rules {
    /// How indicators are matched.
    pub matching: Matching,
    policy: Policy,
    allowlists: Vec<Allowlist>,
    warnings: Vec<String>,
}

impl Rules {
    /// The rules that hold where none are named: the folder `rules/`, built in.
    pub fn shipped() -> Result<Self, RulesError> {
        let files = SHIPPED.map(|(name, content)| (name.to_owned(), content.to_owned()));
        Self::from_files(files.into())
    }

    /// Reads files, each a name for messages and its content, in the order in which their rules
    /// are to be tried. What a file is, its content says: TOML is policy, a JSON object a MISP
    /// warninglist, any other text an allowlist. (A name that ends in `.toml`, `.json` or `.txt`
    /// settles it, so that a broken file is told what is broken.)
    ///
    /// No file at all means: report everything.
    pub fn from_files(files: Vec<(String, String)>) -> Result<Self, RulesError> {
        let mut rules = Self::default();
        for (name, content) in files {
            rules.add(&name, &content)?;
        }
        Ok(rules)
    }

    /// What becomes of a match; `details` are those of its indicator.
    ///
    /// An allowlist goes before every rule. Never blocks what a message merely names
    /// ([`Place::names_only`](crate::observable::Place::names_only)), nor an address by a
    /// network wider than policy allows.
    pub fn judge(&self, found: &Match, details: &Details) -> Verdict {
        if let Some(entry) = self.covering(found, details) {
            return Verdict {
                action: Action::Allowlisted,
                reason: format!("covered by {entry}"),
            };
        }
        let (wish, reason) = self.policy.decide(found, details);
        if wish == Wish::Report {
            return Verdict {
                action: Action::Report,
                reason,
            };
        }
        match self.policy.restraint(found, details) {
            Some(restraint) => Verdict {
                action: Action::Report,
                reason: format!("{reason}, but {restraint}"),
            },
            None => Verdict {
                action: Action::WouldBlock,
                reason,
            },
        }
    }

    /// The allowlist entry that covers a value of this type: an address or a whole network, a
    /// name, a URL, a digest, a fingerprint or user agent.
    pub fn allows(&self, kind: ObservableType, value: &str) -> Option<AllowlistEntry<'_>> {
        self.find(&Subject::new(kind, None, value))
    }

    /// What of the files can't be used, for people; one line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn add(&mut self, name: &str, content: &str) -> Result<(), RulesError> {
        let content = content.strip_prefix('\u{feff}').unwrap_or(content);
        if content.len() > MAX_FILE_BYTES {
            let problem = format!("longer than {MAX_FILE_BYTES} bytes; split it");
            return Err(RulesError::whole(name, problem));
        }
        let list = match Format::of(name, content) {
            Format::Policy => self.policy.read(name, content, &mut self.matching)?,
            Format::Warninglist => Some(Allowlist::from_warninglist(
                name,
                content,
                &mut self.warnings,
            )?),
            Format::Values => Some(Allowlist::from_lines(name, content)?),
        };
        self.allowlists.extend(list.filter(|list| list.len() > 0));
        Ok(())
    }

    fn find(&self, subject: &Subject) -> Option<AllowlistEntry<'_>> {
        self.allowlists.iter().find_map(|list| list.covers(subject))
    }

    /// The entry that covers a match.
    ///
    /// The name of a file is not looked at where its content matched, nor the addresses of the
    /// flow where a value in it did: whoever sends the traffic chooses those.
    fn covering(&self, found: &Match, details: &Details) -> Option<AllowlistEntry<'_>> {
        let observable = &found.observable;
        if observable.kind == ObservableType::NetworkTraffic && observable.property.is_none() {
            return self.covering_flow(found, details);
        }
        let subject = Subject::new(observable.kind, observable.property, &observable.value);
        self.find(&subject).or_else(|| match &observable.evidence {
            Evidence::File { hashes, .. } => self.find_digest(hashes, Subject::file_hash),
            Evidence::Certificate(hashes) => self.find_digest(hashes, Subject::certificate_hash),
            Evidence::None | Evidence::HttpRequest { .. } | Evidence::Mail { .. } => None,
        })
    }

    /// A flow as a whole is covered where an end is that the pattern names; where it names none,
    /// both ends must be.
    fn covering_flow(&self, found: &Match, details: &Details) -> Option<AllowlistEntry<'_>> {
        let ends = [found.flow.destination, found.flow.source];
        let named = policy::named_ends(&details.pattern, ends);
        if !named.is_empty() {
            return named
                .into_iter()
                .find_map(|end| self.find(&Subject::network(end)));
        }
        let [destination, source] =
            ends.map(|end| self.find(&Subject::network(end.to_canonical().into())));
        source.and(destination)
    }

    fn find_digest(
        &self,
        hashes: &Hashes,
        subject: impl Fn(&[u8]) -> Subject,
    ) -> Option<AllowlistEntry<'_>> {
        [
            hashes.md5.as_ref().map(|d| d.as_slice()),
            hashes.sha1.as_ref().map(|d| d.as_slice()),
            hashes.sha256.as_ref().map(|d| d.as_slice()),
        ]
        .into_iter()
        .flatten()
        .find_map(|digest| self.find(&subject(digest)))
    }
}

/// What a file of rules is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// TOML.
    Policy,
    /// JSON.
    Warninglist,
    /// One value a line.
    Values,
}

impl Format {
    fn of(name: &str, content: &str) -> Self {
        match name.rsplit('.').next() {
            Some("toml") => return Self::Policy,
            Some("json") => return Self::Warninglist,
            Some("txt") => return Self::Values,
            _ => {}
        }
        let first = content
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))
            .unwrap_or_default();
        if first.starts_with('{') {
            return Self::Warninglist;
        }
        let is_key = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b" _-.\"'".contains(&b))
        };
        // A table's header, or a key with its value; in neither is an address in brackets.
        let header = first.strip_prefix('[').and_then(|rest| {
            rest.trim_start_matches('[')
                .split_once(']')
                .map(|(key, _)| key)
        });
        match header.or_else(|| first.split_once('=').map(|(key, _)| key)) {
            Some(key) if is_key(key) => Self::Policy,
            _ => Self::Values,
        }
    }
}

#[cfg(test)]
mod tests;
