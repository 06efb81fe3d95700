//! Allowlists: values that policy must not act upon.
//!
//! A list is one of our own (values in a policy file, or one a line in a text
//! file) or a MISP warninglist. It changes the verdict on a match, never the
//! match itself.

mod networks;
mod strings;
mod value;
mod warninglist;

use super::error::RulesError;
use super::error::quoted;
use aho_corasick::AhoCorasick;
use networks::Networks;
pub(super) use networks::canonical;
use regex::bytes::Regex;
use std::fmt;
use std::net::SocketAddr;
use strings::Strings;
use value::Facets;
pub(super) use value::Subject;
use value::is_digest;
use value::is_like_address;
use value::is_name;
use value::name_form;
pub(super) use value::network_text;
use value::text_form;
use value::url_form;

/// The entry of an allowlist that covers a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowlistEntry<'a> {
    /// The list's own name; the file's where it has none.
    pub list: &'a str,
    /// The file that it came from.
    pub file: &'a str,
    /// The entry, in normal form.
    pub entry: String,
}

impl fmt::Display for AllowlistEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of allowlist ", quoted(&self.entry))?;
        match self.list == self.file {
            true => f.write_str(self.file),
            false => write!(f, "{} ({})", quoted(self.list), self.file),
        }
    }
}

/// One list.
#[derive(Default)]
pub(super) struct Allowlist {
    name: String,
    file: String,
    /// The kinds of values that it is about.
    facets: Facets,
    networks: Networks,
    /// Whole values.
    exact: Strings,
    /// Whether a name in `exact` covers URLs at that host as well.
    exact_hosts: bool,
    /// Names that cover themselves and everything below them, and URLs there.
    suffixes: Strings,
    /// Parts of values.
    substrings: Option<(AhoCorasick, Vec<String>)>,
    /// As written, and compiled.
    regexes: Vec<(String, Regex)>,
}

impl Allowlist {
    /// A list of values, one a line. What follows a `#`, at the start of a
    /// line or after a blank, is a comment.
    pub(super) fn from_lines(file: &str, text: &str) -> Result<Self, RulesError> {
        let mut offset = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            let start = offset;
            offset += line.len();
            let value = without_comment(line);
            let indent = value.len() - value.trim_start().len();
            (start + indent, value.trim())
        });
        Self::from_values(
            file,
            file,
            text,
            lines.filter(|(_, value)| !value.is_empty()),
        )
    }

    /// A list of values, each with its offset in `text`.
    pub(super) fn from_values<'v>(
        name: &str,
        file: &str,
        text: &str,
        values: impl Iterator<Item = (usize, &'v str)>,
    ) -> Result<Self, RulesError> {
        let mut list = Self {
            name: name.to_owned(),
            file: file.to_owned(),
            facets: Facets::ALL,
            exact_hosts: true,
            ..Self::default()
        };
        for (offset, value) in values {
            list.add(value)
                .map_err(|problem| RulesError::at(file, text, offset, problem))?;
        }
        list.networks.seal();
        Ok(list)
    }

    /// Reads a MISP warninglist; what can't be used of it becomes warnings.
    pub(super) fn from_warninglist(
        file: &str,
        text: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Self, RulesError> {
        warninglist::read(file, text, warnings)
    }

    /// Number of entries; less than was written where some say the same.
    pub(super) fn len(&self) -> usize {
        let substrings = self.substrings.as_ref().map_or(0, |(_, all)| all.len());
        self.networks.len()
            + self.exact.len()
            + self.suffixes.len()
            + substrings
            + self.regexes.len()
    }

    /// The entry that covers the value.
    pub(super) fn covers(&self, subject: &Subject) -> Option<AllowlistEntry<'_>> {
        if !self.facets.meet(subject.facets) {
            return None;
        }
        self.by_network(subject)
            .or_else(|| self.by_name(subject))
            .or_else(|| self.by_text(subject))
            .map(|entry| AllowlistEntry {
                list: &self.name,
                file: &self.file,
                entry,
            })
    }

    fn by_network(&self, subject: &Subject) -> Option<String> {
        self.networks.covering(subject.network?).map(network_text)
    }

    fn by_name(&self, subject: &Subject) -> Option<String> {
        let host = subject.host.as_deref()?;
        if self.exact_hosts && self.exact.contains(host) {
            return Some(host.to_owned());
        }
        if self.suffixes.len() == 0 {
            return None;
        }
        let parents = host.match_indices('.').map(|(at, _)| at + 1);
        std::iter::once(0)
            .chain(parents)
            .filter_map(|start| host.get(start..))
            .find(|name| self.suffixes.contains(name))
            .map(str::to_owned)
    }

    fn by_text(&self, subject: &Subject) -> Option<String> {
        let text = subject.text.as_str();
        if self.exact.contains(text) {
            return Some(text.to_owned());
        }
        // An entry without a scheme covers the URL under any scheme.
        if let Some((_, rest)) = text.split_once("://")
            && subject.facets.meet(Facets::URL)
            && self.exact.contains(rest)
        {
            return Some(rest.to_owned());
        }
        if let Some((automaton, entries)) = &self.substrings
            && let Some(found) = automaton.find(text)
        {
            return entries.get(found.pattern().as_usize()).cloned();
        }
        self.regexes
            .iter()
            .find(|(_, regex)| regex.is_match(text.as_bytes()))
            .map(|(written, _)| written.clone())
    }

    /// Adds a value of one of our own lists; the error says what is wrong with it.
    fn add(&mut self, value: &str) -> Result<(), String> {
        if let Some(network) = canonical(value.trim_matches(['[', ']'])) {
            self.networks.insert(network);
            return Ok(());
        }
        let sound = if is_digest(value) {
            self.exact.insert(&text_form(value))
        } else if is_like_address(value) {
            return Err(format!("{} is not an address or network", quoted(value)));
        } else if has_port(value) {
            return Err(format!(
                "{} has a port; an allowlist takes the address or name alone",
                quoted(value)
            ));
        } else if let Some(name) = without_dot(value) {
            let name = name_form(name);
            if !is_name(&name) {
                return Err(format!("{} is not a domain name", quoted(value)));
            }
            self.suffixes.insert(&name)
        } else if value.contains("://") {
            self.exact.insert(&url_form(value))
        } else if value.contains('*') && !value.contains(char::is_whitespace) {
            return Err(format!(
                "{} has a `*` that is not at its front; only `*.example.org` is understood",
                quoted(value)
            ));
        } else if value
            .split_once(char::is_whitespace)
            .is_some_and(|(first, _)| canonical(first).is_some())
        {
            return Err(format!(
                "{} is more than one value; write one a line",
                quoted(value)
            ));
        } else {
            self.add_text(value)
        };
        match sound {
            true => Ok(()),
            false => Err(TOO_LONG.to_owned()),
        }
    }

    /// Adds a name, a URL without scheme, a file name or a user agent: which
    /// of them can't be told from the text, so every form of it is a member.
    fn add_text(&mut self, value: &str) -> bool {
        let name = name_form(value);
        let as_name = !is_name(&name) || self.exact.insert(&name);
        let as_url = !value.contains('/') || self.exact.insert(&url_form(value));
        as_name && as_url && self.exact.insert(&text_form(value))
    }
}

impl fmt::Debug for Allowlist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowlist")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("facets", &self.facets)
            .field("entries", &self.len())
            .finish()
    }
}

/// What is said of a list whose strings do not fit one set.
const TOO_LONG: &str = "the list holds more than 4 GiB of text; split it";

/// Whether the value is an address or name with a port.
fn has_port(value: &str) -> bool {
    value.parse::<SocketAddr>().is_ok()
        || value.split_once(':').is_some_and(|(name, port)| {
            is_name(&name_form(name)) && name.contains('.') && port.parse::<u16>().is_ok()
        })
}

/// What follows the `.` or `*.` of an entry that means a name and everything below it.
fn without_dot(entry: &str) -> Option<&str> {
    entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'))
}

/// The line up to its comment.
fn without_comment(line: &str) -> &str {
    let comment = line
        .match_indices('#')
        .map(|(at, _)| at)
        .find(|at| match line.get(..*at) {
            Some(before) => before.is_empty() || before.ends_with(char::is_whitespace),
            None => false,
        });
    comment.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observable::ObservableType;
    use crate::observable::ObservableType::*;

    fn covered(list: &Allowlist, kind: ObservableType, value: &str) -> Option<String> {
        list.covers(&Subject::new(kind, None, value))
            .map(|e| e.entry)
    }

    #[test]
    fn what_values_of_our_own_cover() {
        let text = "\u{20}# ours\n192.0.2.0/24 # office\n[2001:db8::1]\nWWW.Example.org.\n\
                    *.example.net\n.example.com\nhttp://example.edu/A\nexample.edu/b\n\
                    D4:1D:8C:D9:8F:00:B2:04:E9:80:09:98:EC:F8:42:7E\nsetup.exe\n\
                    Mozilla/5.0 (X11) #1\nb\u{fc}cher.example\n";
        let list = Allowlist::from_lines("ours.txt", text).unwrap();
        for (kind, value, entry) in [
            (Ipv4Addr, "192.0.2.77", Some("192.0.2.0/24")),
            (Ipv4Addr, "192.0.2.128/25", Some("192.0.2.0/24")),
            (Ipv4Addr, "192.0.0.0/16", None),
            (Ipv4Addr, "192.0.3.1", None),
            (Ipv6Addr, "2001:db8::1", Some("2001:db8::1")),
            (Ipv6Addr, "::ffff:192.0.2.1", Some("192.0.2.0/24")),
            (DomainName, "www.example.org", Some("www.example.org")),
            (DomainName, "a.www.example.org", None),
            (DomainName, "example.org", None),
            (DomainName, "example.net", Some("example.net")),
            (DomainName, "a.b.example.net", Some("example.net")),
            (DomainName, "badexample.net", None),
            (DomainName, "a.EXAMPLE.com.", Some("example.com")),
            (
                DomainName,
                "xn--bcher-kva.example",
                Some("xn--bcher-kva.example"),
            ),
            (
                Url,
                "http://www.example.org:8080/x",
                Some("www.example.org"),
            ),
            (Url, "https://192.0.2.1/", Some("192.0.2.0/24")),
            (Url, "http://a.example.net/", Some("example.net")),
            (Url, "http://EXAMPLE.edu/A", Some("http://example.edu/A")),
            (Url, "http://example.edu/a", None),
            (Url, "https://example.edu/A", None),
            (Url, "https://example.edu/b", Some("example.edu/b")),
            (Url, "http://www.example.org@203.0.113.1/", None),
            (Url, "http://203.0.113.1/?http://www.example.org/", None),
            (
                File,
                "d41d8cd98f00b204e9800998ecf8427e",
                Some("d41d8cd98f00b204e9800998ecf8427e"),
            ),
            (File, "Setup.exe", Some("setup.exe")),
            (
                NetworkTraffic,
                "mozilla/5.0 (x11)",
                Some("mozilla/5.0 (x11)"),
            ),
        ] {
            assert_eq!(covered(&list, kind, value).as_deref(), entry, "{value}");
        }
    }

    #[test]
    fn a_slip_in_a_list_of_our_own_is_an_error_with_its_place() {
        for (text, line, word) in [
            ("192.0.2.1\n  192.0.2.300\n", (2, 3), "not an address"),
            ("10.0.0.0/33", (1, 1), "not an address"),
            ("192.0.2.1:443", (1, 1), "port"),
            ("example.org:443", (1, 1), "port"),
            ("*.", (1, 1), "not a domain name"),
            (".a b", (1, 1), "not a domain name"),
            ("*example*", (1, 1), "only `*.example.org`"),
            ("\n\n0.0.0.0 example.org", (3, 1), "one a line"),
        ] {
            let error = Allowlist::from_lines("a.txt", text).unwrap_err();
            assert_eq!(error.position, Some(line), "{text}");
            assert!(error.problem.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn entries_say_where_they_are_from() {
        let list = Allowlist::from_values("ours", "p.toml", "", [(0, "a.example")].into_iter());
        let list = list.unwrap();
        let entry = list.covers(&Subject::new(DomainName, None, "a.example"));
        assert_eq!(
            entry.unwrap().to_string(),
            "entry `a.example` of allowlist `ours` (p.toml)"
        );
    }
}
