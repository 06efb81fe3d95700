//! MISP warninglists: `{name, description, version, type, list, matching_attributes}`.

use super::Allowlist;
use super::TOO_LONG;
use super::canonical;
use super::is_name;
use super::name_form;
use super::network_text;
use super::strings::Strings;
use super::text_form;
use super::url_form;
use super::value::Facets;
use super::without_dot;
use crate::verdict::error::RulesError;
use crate::verdict::error::quoted;
use crate::verdict::error::unknown;
use aho_corasick::AhoCorasick;
use aho_corasick::AhoCorasickKind;
use regex::bytes::Regex;
use regex::bytes::RegexBuilder;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Visitor;
use std::borrow::Cow;
use std::fmt;

/// Bytes of all entries of a substring list: its automaton takes some forty
/// times as much. The largest list that MISP ships has 3 KiB.
const MAX_SUBSTRING_BYTES: usize = 1 << 20;

/// Expressions of a regex list: they are tried one after another. The largest
/// list that MISP ships has 33.
const MAX_REGEXES: usize = 512;

/// Bytes of one expression as written.
const MAX_REGEX_BYTES: usize = 4096;

/// Bytes of one expression compiled, and of its cache: a counted repetition
/// of a few characters could ask for gigabytes.
const MAX_COMPILED_BYTES: usize = 256 << 10;

/// The types of lists, as MISP names them.
const KINDS: [&str; 5] = ["string", "substring", "hostname", "cidr", "regex"];

/// Reads a list; entries that can't be used become warnings, one for all of the same fault.
pub(super) fn read(
    file: &str,
    text: &str,
    warnings: &mut Vec<String>,
) -> Result<Allowlist, RulesError> {
    let document: Document<'_> = serde_json::from_str(text).map_err(|error| RulesError {
        file: file.to_owned(),
        position: Some((error.line(), error.column())),
        problem: format!("not a MISP warninglist: {}", without_position(&error)),
    })?;
    let Some(entries) = document.list else {
        return Err(RulesError::whole(
            file,
            "not a MISP warninglist: it is JSON, but has no `list`",
        ));
    };
    let mut list = Allowlist {
        name: document.name.unwrap_or_else(|| file.to_owned()),
        file: file.to_owned(),
        facets: facets(document.matching_attributes.as_deref()),
        ..Allowlist::default()
    };
    let mut faults = Faults {
        list: format!("{} ({file})", quoted(&list.name)),
        warnings,
    };
    if list.facets == Facets::NONE {
        faults.say("concerns no value that traffic shows: it covers nothing");
    }
    // A list without a type is one of strings, as MISP takes it.
    match document.kind.as_deref().unwrap_or("string") {
        "string" => read_strings(&mut list, &entries, &mut faults),
        "hostname" => read_hostnames(&mut list, &entries, &mut faults),
        "cidr" => read_networks(&mut list, &entries, &mut faults),
        "substring" => read_substrings(&mut list, &entries, &mut faults),
        "regex" => {
            read_regexes(&mut list, &entries, &mut faults);
            Ok(())
        }
        other => Err(unknown("type", other, &KINDS)),
    }
    .map_err(|problem| RulesError::whole(file, problem))?;
    list.networks.seal();
    Ok(list)
}

/// The list as JSON; keys that say nothing to us are passed over.
#[derive(Deserialize)]
struct Document<'a> {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(borrow)]
    list: Option<Vec<Entry<'a>>>,
    matching_attributes: Option<Vec<String>>,
}

/// One entry, borrowed where JSON needs no unescaping.
struct Entry<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Entry<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Entry(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Entry(Cow::Owned(text.to_owned())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Entry(Cow::Owned(number.to_string())))
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

/// Collects what is wrong with a list.
struct Faults<'w> {
    /// The list's name and file.
    list: String,
    warnings: &'w mut Vec<String>,
}

impl Faults<'_> {
    fn say(&mut self, what: &str) {
        self.warnings
            .push(format!("warninglist {} {what}", self.list));
    }

    /// `unused` entries are not what the list's type asks for; `first` is one of them.
    fn say_unused(&mut self, unused: usize, first: Option<&str>, what: &str) {
        if let Some(first) = first {
            self.say(&format!(
                "has entries that are {what} ({unused}), which were left out; the first is {}",
                quoted(first)
            ));
        }
    }
}

fn facets(attributes: Option<&[String]>) -> Facets {
    match attributes {
        None | Some([]) => Facets::ALL,
        Some(attributes) => attributes
            .iter()
            .fold(Facets::NONE, |all, one| all | Facets::of_misp(one)),
    }
}

fn read_strings(
    list: &mut Allowlist,
    entries: &[Entry<'_>],
    faults: &mut Faults<'_>,
) -> Result<(), String> {
    let mut empty = 0;
    for entry in texts(entries) {
        if entry.is_empty() {
            empty += 1;
            continue;
        }
        let sound = if let Some(name) = suffix(entry) {
            // `.example.org` can be the whole of no value: the name and what is below it is meant.
            list.suffixes.insert(&name)
        } else if let Some(address) = canonical(entry) {
            list.exact.insert(&network_text(address))
        } else if entry.contains("://") {
            list.exact.insert(&url_form(entry))
        } else {
            let name = match entry.is_ascii() {
                true => None,
                false => Some(name_form(entry)).filter(|name| is_name(name)),
            };
            name.is_none_or(|name| list.exact.insert(&name)) && list.exact.insert(&text_form(entry))
        };
        fits(sound)?;
    }
    faults.say_unused(empty, (empty > 0).then_some(""), "empty");
    Ok(())
}

fn read_hostnames(
    list: &mut Allowlist,
    entries: &[Entry<'_>],
    faults: &mut Faults<'_>,
) -> Result<(), String> {
    let (mut unused, mut first) = (0, None);
    for entry in texts(entries) {
        if let Some(address) = canonical(entry) {
            list.networks.insert(address);
            continue;
        }
        let name = suffix(entry).unwrap_or_else(|| name_form(entry));
        if !is_name(&name) {
            unused += 1;
            first.get_or_insert(entry);
            continue;
        }
        fits(list.suffixes.insert(&name))?;
    }
    faults.say_unused(unused, first, "not host names");
    Ok(())
}

fn read_networks(
    list: &mut Allowlist,
    entries: &[Entry<'_>],
    faults: &mut Faults<'_>,
) -> Result<(), String> {
    let (mut unused, mut first, mut everything) = (0, None, None);
    for entry in texts(entries) {
        let Some(network) = canonical(entry) else {
            unused += 1;
            first.get_or_insert(entry);
            continue;
        };
        if network.prefix_len() == 0 {
            everything.get_or_insert(entry);
        }
        list.networks.insert(network);
    }
    faults.say_unused(unused, first, "not addresses or networks");
    if let Some(everything) = everything {
        faults.say(&format!(
            "covers every address by its entry {}",
            quoted(everything)
        ));
    }
    Ok(())
}

fn read_substrings(
    list: &mut Allowlist,
    entries: &[Entry<'_>],
    faults: &mut Faults<'_>,
) -> Result<(), String> {
    let mut seen = Strings::default();
    let mut wanted = Vec::new();
    let (mut bytes, mut empty) = (0_usize, 0);
    for entry in texts(entries) {
        let entry = text_form(entry);
        // Nothing is part of everything.
        if entry.is_empty() {
            empty += 1;
            continue;
        }
        if seen.contains(&entry) {
            continue;
        }
        bytes = bytes.saturating_add(entry.len());
        if bytes > MAX_SUBSTRING_BYTES {
            return Err(format!(
                "a list of substrings takes at most {MAX_SUBSTRING_BYTES} bytes; split it, or use \
                 the type `string` or `hostname`"
            ));
        }
        fits(seen.insert(&entry))?;
        wanted.push(entry.into_owned());
    }
    faults.say_unused(empty, (empty > 0).then_some(""), "empty");
    if !wanted.is_empty() {
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            // Not left to chance: a table of all transitions takes a hundred times the memory.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&wanted)
            .map_err(|error| format!("the substrings cannot be compiled: {error}"))?;
        list.substrings = Some((automaton, wanted));
    }
    Ok(())
}

fn read_regexes(list: &mut Allowlist, entries: &[Entry<'_>], faults: &mut Faults<'_>) {
    if entries.len() > MAX_REGEXES {
        faults.say(&format!(
            "has {} expressions; those after the first {MAX_REGEXES} were left out",
            entries.len()
        ));
    }
    for entry in entries.iter().take(MAX_REGEXES) {
        match compile(&entry.0) {
            Ok(regex) => list.regexes.push((entry.0.clone().into_owned(), regex)),
            Err(problem) => faults.say(&format!(
                "has the expression {}, which was left out: {problem}",
                quoted(&entry.0)
            )),
        }
    }
}

/// Compiles an expression with PHP's delimiters and flags, `/…/i`.
fn compile(written: &str) -> Result<Regex, String> {
    if written.len() > MAX_REGEX_BYTES {
        return Err(format!("it is longer than {MAX_REGEX_BYTES} bytes"));
    }
    let written = written.trim();
    let open = written.chars().next().ok_or("it is empty")?;
    let close = match open {
        '(' => ')',
        '{' => '}',
        '[' => ']',
        '<' => '>',
        other if !other.is_ascii_punctuation() || other == '\\' => {
            return Err("it has no delimiters, as in /…/".to_owned());
        }
        other => other,
    };
    let body = written.get(open.len_utf8()..).unwrap_or_default();
    let (pattern, flags) = body
        .rsplit_once(close)
        .ok_or("it has no closing delimiter")?;
    if pattern.is_empty() {
        return Err("it is empty, and would cover everything".to_owned());
    }
    let anchored = flags.contains('A').then(|| format!("\\A(?:{pattern})"));
    let mut builder = RegexBuilder::new(anchored.as_deref().unwrap_or(pattern));
    builder
        .size_limit(MAX_COMPILED_BYTES)
        .dfa_size_limit(MAX_COMPILED_BYTES)
        // Without `u`, PHP's classes are those of ASCII.
        .unicode(flags.contains('u') || !pattern.is_ascii());
    for flag in flags.trim().chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'm' => builder.multi_line(true),
            's' => builder.dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            'U' => builder.swap_greed(true),
            // Said above (A, u), always so (D), or without meaning for a test (g, S).
            'A' | 'u' | 'D' | 'g' | 'S' => &mut builder,
            other => return Err(format!("its flag `{}` is not known", other.escape_debug())),
        };
    }
    let regex = builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("compiled it would take more than {limit} bytes")
        }
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim().trim_start_matches("error: ").to_owned()
        }
    })?;
    match regex.is_match(b"") {
        true => Err("it matches nothing at all, and so would cover everything".to_owned()),
        false => Ok(regex),
    }
}

/// The name after a leading `.` or `*.`, in normal form.
fn suffix(entry: &str) -> Option<Cow<'_, str>> {
    let name = without_dot(entry)?;
    Some(name_form(name)).filter(|name| is_name(name))
}

fn texts<'e>(entries: &'e [Entry<'_>]) -> impl Iterator<Item = &'e str> {
    entries.iter().map(|entry| entry.0.trim())
}

fn fits(sound: bool) -> Result<(), String> {
    match sound {
        true => Ok(()),
        false => Err(TOO_LONG.to_owned()),
    }
}

/// A JSON error's text without "at line 1 column 2", which is said elsewhere.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text.get(..at).unwrap_or_default().to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observable::ObservableType;
    use crate::observable::ObservableType::*;
    use crate::verdict::allowlist::Subject;

    fn list(json: &str) -> (Allowlist, Vec<String>) {
        let mut warnings = Vec::new();
        let list = read("list.json", json, &mut warnings).unwrap();
        (list, warnings)
    }

    fn covered(list: &Allowlist, kind: ObservableType, value: &str) -> Option<String> {
        let property = (kind == NetworkTraffic).then_some("x_ja3_hash");
        list.covers(&Subject::new(kind, property, value))
            .map(|e| e.entry)
    }

    /// Type and text of a value, and the entry that covers it.
    type Case = (ObservableType, &'static str, Option<&'static str>);

    #[test]
    fn what_each_type_of_list_covers() {
        let cases: &[(&str, &[Case])] = &[
            (
                r#"{"name": "n", "type": "string", "list":
                    ["A.example", ".akadns.net", "2001:DB8::1", "HTTP://a.example/X", "рф", "AA:BB"]}"#,
                &[
                    (DomainName, "a.example", Some("a.example")),
                    (DomainName, "b.a.example", None),
                    (DomainName, "x.akadns.net", Some("akadns.net")),
                    (DomainName, "xn--p1ai", Some("xn--p1ai")),
                    (Ipv6Addr, "2001:db8::1", Some("2001:db8::1")),
                    (Url, "http://A.example/X", Some("http://a.example/X")),
                    (Url, "http://a.example/x", None),
                ],
            ),
            (
                r#"{"list": ["d41d8cd98f00b204e9800998ecf8427e"]}"#,
                &[
                    (
                        File,
                        "D41D8CD98F00B204E9800998ECF8427E",
                        Some("d41d8cd98f00b204e9800998ecf8427e"),
                    ),
                    (
                        NetworkTraffic,
                        "d41d8cd98f00b204e9800998ecf8427e",
                        Some("d41d8cd98f00b204e9800998ecf8427e"),
                    ),
                ],
            ),
            (
                r#"{"type": "hostname", "list": ["A.example", ".b.example", "192.0.2.1"]}"#,
                &[
                    (DomainName, "x.y.a.example", Some("a.example")),
                    (DomainName, "b.example", Some("b.example")),
                    (DomainName, "xa.example", None),
                    (DomainName, "example", None),
                    (Url, "http://x.a.example:81/?q", Some("a.example")),
                    (Url, "http://evil.example/a.example", None),
                    (Url, "http://a.example@evil.example/", None),
                    (Url, "http://192.0.2.1/", Some("192.0.2.1")),
                    (File, "a.example", None),
                ],
            ),
            (
                r#"{"type": "cidr", "list": ["10.0.0.1/8", "192.0.2.1", "2001:DB8::/32"]}"#,
                &[
                    (Ipv4Addr, "10.255.0.1", Some("10.0.0.0/8")),
                    (Ipv4Addr, "192.0.2.1", Some("192.0.2.1")),
                    (Ipv4Addr, "192.0.2.2", None),
                    (Ipv6Addr, "2001:db8:ffff::", Some("2001:db8::/32")),
                    (DomainName, "10.0.0.1", None),
                ],
            ),
            (
                r#"{"type": "substring", "list": ["Tria.GE", "x"]}"#,
                &[
                    (DomainName, "www.tria.ge", Some("tria.ge")),
                    (Url, "http://a/TRIA.ge", Some("tria.ge")),
                    (DomainName, "tria", None),
                ],
            ),
            (
                r#"{"type": "regex", "list": ["/^ad[0-9]+\\./i", "~^a/b$~", "{c+d}x", "/B$/A"]}"#,
                &[
                    (DomainName, "AD12.example", Some("/^ad[0-9]+\\./i")),
                    (DomainName, "x.ad12.example", None),
                    (File, "a/b", Some("~^a/b$~")),
                    (File, "xccdx", Some("{c+d}x")),
                    (File, "ab", None),
                ],
            ),
            (
                r#"{"type": "string", "matching_attributes": ["filename|md5", "phone-number"],
                    "list": ["a.example"]}"#,
                &[
                    (File, "a.example", Some("a.example")),
                    (DomainName, "a.example", None),
                    (NetworkTraffic, "a.example", None),
                ],
            ),
            (
                r#"{"type": "hostname", "matching_attributes": ["hostname"], "list": ["a.example"]}"#,
                &[
                    (DomainName, "a.example", Some("a.example")),
                    (Url, "http://a.example/", None),
                ],
            ),
        ];
        for (json, values) in cases {
            let (list, warnings) = list(json);
            assert_eq!(warnings, [""; 0], "{json}");
            for (kind, value, entry) in *values {
                assert_eq!(
                    covered(&list, *kind, value).as_deref(),
                    *entry,
                    "{json} {value}"
                );
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_and_the_rest_stays() {
        let bomb = format!(r#""/{}a{}/""#, "(".repeat(9), "{999})".repeat(9));
        for (kind, entries, warning) in [
            (
                "cidr",
                r#""10.0.0.0/33", "a", "10.0.0.0/8""#,
                "(2), which were left out",
            ),
            ("cidr", r#""0.0.0.0/0""#, "covers every address"),
            (
                "hostname",
                r#""a b", "", "a.example""#,
                "(2), which were left out",
            ),
            ("substring", r#""", "a""#, "empty"),
            ("string", r#""", "a""#, "empty"),
            ("regex", r#""/(?=a)b/", "/a/""#, "look-around"),
            ("regex", r#""/(a)\\1/", "/a/""#, "backreferences"),
            ("regex", r#""a", "/a/""#, "delimiters"),
            ("regex", r#""/a", "/a/""#, "closing delimiter"),
            ("regex", r#""//", "/a/""#, "cover everything"),
            ("regex", r#""/.*/", "/a/""#, "cover everything"),
            ("regex", r#""/a/q", "/a/""#, "flag `q`"),
            ("regex", r#""", "/a/""#, "empty"),
            ("regex", &bomb, "more than 262144 bytes"),
            ("regex", &format!(r#""/{}/""#, "(".repeat(3000)), "left out"),
            (
                "regex",
                &format!(r#""/{}/""#, "a".repeat(5000)),
                "longer than",
            ),
            ("regex", &vec![r#""/a/""#; 600].join(","), "first 512"),
        ] {
            let json = format!(r#"{{"name": "N", "type": "{kind}", "list": [{entries}]}}"#);
            let (list, warnings) = list(&json);
            assert_eq!(warnings.len(), 1, "{kind} {warnings:?}");
            assert!(warnings[0].contains(warning), "{warnings:?}");
            assert!(warnings[0].starts_with("warninglist `N` (list.json) "));
            assert!(!warnings[0].contains('\n'));
            if entries.contains(',') {
                assert!(list.len() >= 1, "{entries}");
            }
        }
        let (list, warnings) = list(r#"{"list": ["1"], "matching_attributes": ["phone-number"]}"#);
        assert!(warnings[0].contains("covers nothing"), "{warnings:?}");
        assert_eq!(covered(&list, File, "1"), None);
    }

    #[test]
    fn broken_files_say_where() {
        let long = format!(
            r#"{{"type": "substring", "list": ["{}"]}}"#,
            "a".repeat(MAX_SUBSTRING_BYTES + 1)
        );
        for (json, position, problem) in [
            ("{\n \"list\": [\"a\",]}", Some((2, 15)), "trailing comma"),
            ("{\"list\": [\"a\"", Some((1, 13)), "EOF"),
            ("{\"list\": [null]}", Some((1, 14)), "expected a string"),
            ("{\"list\": {}}", Some((1, 9)), "expected a sequence"),
            ("[\"a\"]", Some((1, 5)), "not a MISP warninglist"),
            ("{\"name\": \"a\"}", None, "no `list`"),
            (
                "{\"type\": \"cdir\", \"list\": []}",
                None,
                "did you mean `cidr`?",
            ),
            (
                "{\"type\": \"zzzzz\", \"list\": []}",
                None,
                "known here: string",
            ),
            ("", Some((1, 0)), "EOF"),
            (&long, None, "split it"),
        ] {
            let error = read("l.json", json, &mut Vec::new()).unwrap_err();
            assert!(error.problem.contains(problem), "{error}");
            assert_eq!(error.position, position, "{error}");
        }
        let deep = "[".repeat(1_000_000);
        assert!(read("l.json", &deep, &mut Vec::new()).is_err());
    }
}
