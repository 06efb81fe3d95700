//! What `intel explain` prints: what a value would meet in the indicators, and why.

use crate::indicator::Context;
use crate::indicator::Details;
use crate::indicator::Validity;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::report::event::write_line;
use crate::report::indicator::FullIndicator;
use crate::report::table::Style;
use crate::report::text::columns;
use crate::report::text::counted;
use crate::report::text::printable;
use crate::time::Timestamp;
use crate::verdict::Action;
use crate::verdict::Verdict;
use serde::Serialize;
use std::fmt::Write as _;

/// A value, and what it would meet.
#[derive(Debug)]
pub struct Answer {
    /// As it was asked for.
    pub value: String,
    /// What it may be; at least one.
    pub readings: Vec<Reading>,
    /// Indicators that would match it, and those that validity withholds.
    pub matches: Counted<Found>,
    /// Patterns that ask for more than the value.
    pub terms: Counted<Partial>,
    /// Indicators that come near it and do not match.
    pub near: Counted<Near>,
}

/// The first of some findings, and how many were left out.
#[derive(Debug)]
pub struct Counted<T> {
    /// Those that are kept.
    pub kept: Vec<T>,
    /// Further ones.
    pub left_out: u64,
}

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            left_out: 0,
        }
    }
}

impl<T> Counted<T> {
    /// Keeps a finding while there are fewer than `most`; counts it otherwise.
    pub fn push(&mut self, most: usize, finding: impl FnOnce() -> T) {
        if self.kept.len() < most {
            self.kept.push(finding());
        } else {
            self.left_out += 1;
        }
    }
}

/// What a value is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its type.
    pub kind: ObservableType,
    /// Of network-traffic, which property; `None` for the others.
    pub property: Option<&'static str>,
    /// In normal form.
    pub value: String,
}

/// An indicator that would match, now or at another time.
#[derive(Debug)]
pub struct Found {
    /// What the set knows of it.
    pub details: Details,
    /// How the present lies to its validity.
    pub validity: Validity,
    /// Whether its validity keeps it from matching.
    pub withheld: bool,
    /// As what the value matches.
    pub reading: Reading,
    /// What becomes of the match, by where the value is seen.
    pub verdicts: Vec<PlacedVerdict>,
}

/// A verdict, and the places where it is the one.
#[derive(Debug)]
pub struct PlacedVerdict {
    /// What is done and why.
    pub verdict: Verdict,
    /// Where the value must be seen for it.
    pub places: Vec<Place>,
}

/// A pattern of which the value is one term.
#[derive(Debug)]
pub struct Partial {
    /// What the set knows of its indicator.
    pub details: Details,
    /// How the present lies to its validity.
    pub validity: Validity,
    /// The comparison that the value satisfies.
    pub term: String,
}

/// An indicator that comes near.
#[derive(Debug)]
pub struct Near {
    /// What the set knows of it.
    pub details: Details,
    /// How the present lies to its validity.
    pub validity: Validity,
    /// Why it does not match, for people.
    pub reason: String,
}

/// Appends an answer as one line of JSON.
pub fn write_answer(out: &mut Vec<u8>, answer: &Answer) {
    write_line(out, &JsonAnswer::new(answer));
}

#[derive(Serialize)]
struct JsonAnswer<'a> {
    value: &'a str,
    read_as: Vec<JsonReading<'a>>,
    matches: Vec<JsonFound<'a>>,
    terms: Vec<JsonPartial<'a>>,
    near: Vec<JsonNear<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    matches_left_out: u64,
    #[serde(skip_serializing_if = "is_zero")]
    terms_left_out: u64,
    #[serde(skip_serializing_if = "is_zero")]
    near_left_out: u64,
}

#[derive(Serialize)]
struct JsonReading<'a> {
    r#type: &'static str,
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    property: Option<&'static str>,
}

#[derive(Serialize)]
struct JsonFound<'a> {
    indicator: FullIndicator<'a>,
    observable: JsonReading<'a>,
    withheld: bool,
    verdicts: Vec<JsonVerdict<'a>>,
}

#[derive(Serialize)]
struct JsonVerdict<'a> {
    action: &'static str,
    reason: &'a str,
    places: Vec<&'static str>,
}

#[derive(Serialize)]
struct JsonPartial<'a> {
    indicator: FullIndicator<'a>,
    term: &'a str,
}

#[derive(Serialize)]
struct JsonNear<'a> {
    indicator: FullIndicator<'a>,
    reason: &'a str,
}

impl<'a> JsonAnswer<'a> {
    fn new(answer: &'a Answer) -> Self {
        Self {
            value: &answer.value,
            read_as: answer.readings.iter().map(JsonReading::new).collect(),
            matches: answer.matches.kept.iter().map(JsonFound::new).collect(),
            terms: answer
                .terms
                .kept
                .iter()
                .map(|partial| JsonPartial {
                    indicator: FullIndicator::new(&partial.details, partial.validity),
                    term: &partial.term,
                })
                .collect(),
            near: answer
                .near
                .kept
                .iter()
                .map(|near| JsonNear {
                    indicator: FullIndicator::new(&near.details, near.validity),
                    reason: &near.reason,
                })
                .collect(),
            matches_left_out: answer.matches.left_out,
            terms_left_out: answer.terms.left_out,
            near_left_out: answer.near.left_out,
        }
    }
}

impl<'a> JsonReading<'a> {
    fn new(reading: &'a Reading) -> Self {
        Self {
            r#type: reading.kind.as_str(),
            value: &reading.value,
            property: reading.property,
        }
    }
}

impl<'a> JsonFound<'a> {
    fn new(found: &'a Found) -> Self {
        Self {
            indicator: FullIndicator::new(&found.details, found.validity),
            observable: JsonReading::new(&found.reading),
            withheld: found.withheld,
            verdicts: found
                .verdicts
                .iter()
                .map(|placed| JsonVerdict {
                    action: placed.verdict.action.as_str(),
                    reason: &placed.verdict.reason,
                    places: placed.places.iter().map(|p| p.as_str()).collect(),
                })
                .collect(),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An answer for a terminal, with its line feeds.
pub fn render(answer: &Answer, style: Style) -> String {
    let mut page = Page {
        out: String::new(),
        style,
    };
    page.paint(BOLD, &printable(&answer.value));
    page.end_line();
    page.sentence(&conclude(answer));
    page.sentence(&format!("Read as {}.", readings(&answer.readings)));
    for found in answer.matches.kept.iter().take(style.rows) {
        page.found(found);
    }
    page.left(&answer.matches, "more match");
    for partial in answer.terms.kept.iter().take(style.rows) {
        page.heading("ONE TERM", YELLOW, &partial.details);
        page.field("satisfied", &partial.term);
        page.field(
            "but",
            "this pattern asks for more than the value, and matches only with all of it",
        );
        page.details(&partial.details, partial.validity);
    }
    page.left(
        &answer.terms,
        "more pattern that asks for more than the value",
    );
    for near in answer.near.kept.iter().take(style.rows) {
        page.heading("NO MATCH", "", &near.details);
        page.field("because", &near.reason);
        page.brief(&near.details, near.validity);
    }
    page.left(&answer.near, "more indicator nearby");
    page.out
}

fn conclude(answer: &Answer) -> String {
    let all = answer.matches.kept.len() as u64 + answer.matches.left_out;
    let withheld = answer.matches.kept.iter().filter(|f| f.withheld).count() as u64;
    let mut text = match all.saturating_sub(withheld) {
        0 => "No indicator would match it.".to_owned(),
        some => format!("{} would match it.", counted(some, "indicator")),
    };
    if withheld > 0 {
        // writing to a String cannot fail
        let _ = write!(
            text,
            " {} withheld, since it is not valid now (--validity ignore lets all match).",
            match withheld {
                1 => "1 is".to_owned(),
                many => format!("{many} are"),
            }
        );
    }
    text
}

fn readings(readings: &[Reading]) -> String {
    let mut said: Vec<&str> = Vec::new();
    for reading in readings {
        let what = reading.words();
        if !said.contains(&what) {
            said.push(what);
        }
    }
    match said.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

impl Reading {
    fn words(&self) -> &'static str {
        match (self.kind, self.property) {
            (ObservableType::Ipv4Addr, _) if self.value.contains('/') => "an IPv4 network",
            (ObservableType::Ipv6Addr, _) if self.value.contains('/') => "an IPv6 network",
            (ObservableType::Ipv4Addr, _) => "an IPv4 address",
            (ObservableType::Ipv6Addr, _) => "an IPv6 address",
            (ObservableType::DomainName, _) => "a domain name",
            (ObservableType::Url, _) => "a URL",
            (ObservableType::EmailAddr, _) => "a mail address",
            (ObservableType::EmailMessage, _) => "the subject of a mail",
            (ObservableType::File, _) => "a file",
            (ObservableType::X509Certificate, _) => "a certificate",
            (ObservableType::NetworkTraffic, property) => match property {
                Some("x_ja3_hash") => "JA3",
                Some("x_ja3s_hash") => "JA3S",
                Some("x_ja4") => "JA4",
                Some("x_hassh") => "HASSH of a client",
                Some("x_hassh_server") => "HASSH of a server",
                Some(_) => "a user agent",
                None => "an end of a flow",
            },
        }
    }
}

/// Text under way.
struct Page {
    out: String,
    style: Style,
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// Columns before what a field says: an indent of 4 and its label.
const LABELLED: usize = 18;

/// Columns that text has at least, on however narrow a terminal.
const LEAST: usize = 40;

impl Page {
    fn paint(&mut self, code: &str, text: &str) {
        if self.style.colour && !code.is_empty() {
            let _ = write!(self.out, "\u{1b}[{code}m{text}\u{1b}[0m");
        } else {
            self.out.push_str(text);
        }
    }

    fn end_line(&mut self) {
        self.out.push('\n');
    }

    fn sentence(&mut self, text: &str) {
        self.out.push_str("  ");
        self.flow(text, 2);
    }

    /// Text from the column at hand on, its further lines below its first.
    fn flow(&mut self, text: &str, column: usize) {
        let text = printable(text);
        let width = usize::from(self.style.width).max(column + LEAST);
        let mut used = column;
        for (number, word) in text.split(' ').enumerate() {
            let length = columns(word);
            if number > 0 && used + 1 + length > width {
                self.end_line();
                self.out.extend(std::iter::repeat_n(' ', column));
                used = column;
            } else if number > 0 {
                self.out.push(' ');
                used += 1;
            }
            self.out.push_str(word);
            used += length;
        }
        self.end_line();
    }

    fn heading(&mut self, what: &str, code: &str, details: &Details) {
        self.end_line();
        self.out.push_str("  ");
        self.paint(code, what);
        self.out.push_str("  ");
        let title = name_of(details).unwrap_or(&details.pattern);
        self.flow(title, 2 + what.len() + 2);
    }

    fn field(&mut self, label: &str, text: &str) {
        if !text.is_empty() {
            let gap = LABELLED.saturating_sub(4 + 1);
            let _ = write!(self.out, "    {label:<gap$} ");
            self.flow(text, LABELLED);
        }
    }

    fn left<T>(&mut self, findings: &Counted<T>, noun: &str) {
        let hidden = findings.kept.len().saturating_sub(self.style.rows) as u64;
        let left = hidden + findings.left_out;
        if left > 0 {
            self.end_line();
            self.sentence(&format!("and {} (--json has more)", counted(left, noun)));
        }
    }

    fn found(&mut self, found: &Found) {
        let (what, code) = match (found.withheld, found.validity, found.strongest()) {
            (true, Validity::Future, _) => ("NOT YET VALID", YELLOW),
            (true, _, _) => ("EXPIRED", YELLOW),
            (_, _, Some(Action::Block | Action::WouldBlock)) => ("WOULD BLOCK", RED),
            (_, _, Some(Action::Allowlisted)) => ("ALLOWLISTED", GREEN),
            (_, _, _) => ("REPORT", BOLD),
        };
        self.heading(what, code, &found.details);
        if found.withheld {
            self.field(
                "but",
                "withheld: it matches only what is seen while it is valid",
            );
        }
        self.details(&found.details, found.validity);
        for placed in &found.verdicts {
            let places: Vec<&str> = placed.places.iter().map(|p| p.as_str()).collect();
            let label = match placed.verdict.action {
                Action::Report => "report",
                Action::WouldBlock | Action::Block => "would block",
                Action::Allowlisted => "allowlisted",
            };
            let text = format!("seen in {}: {}", places.join(", "), placed.verdict.reason);
            self.field(label, &text);
        }
    }

    /// All that is known of an indicator.
    fn details(&mut self, details: &Details, validity: Validity) {
        self.brief(details, validity);
        let markings = match (details.tlp, details.markings.as_slice()) {
            (Some(tlp), _) => tlp.to_string(),
            (None, []) => "unmarked".to_owned(),
            (None, ids) => ids.join(", "),
        };
        self.field("marking", &markings);
        let confidence = details.confidence.map_or_else(
            || "not said by its source".to_owned(),
            |c| format!("{} of 100", c.min(100)),
        );
        self.field("confidence", &confidence);
        self.field("labels", &details.labels.join(", "));
        self.field("indicates", &names(&details.indicates));
        self.field("countered by", &names(&details.countermeasures));
    }

    /// What tells an indicator from others, and when it is valid.
    fn brief(&mut self, details: &Details, validity: Validity) {
        if name_of(details).is_some() {
            self.field("pattern", &details.pattern);
        }
        let version = if details.modified == Timestamp::MIN {
            String::new()
        } else {
            format!(", version of {}", details.modified.to_rfc3339(0))
        };
        self.field("indicator", &format!("{}{version}", details.id));
        self.field("source", &details.source);
        self.field("valid", &window(details, validity));
    }
}

impl Found {
    fn strongest(&self) -> Option<Action> {
        let rank = |action: &Action| match action {
            Action::Block => 0,
            Action::WouldBlock => 1,
            Action::Allowlisted => 2,
            Action::Report => 3,
        };
        self.verdicts
            .iter()
            .map(|placed| placed.verdict.action)
            .min_by_key(rank)
    }
}

/// `None`: the source gave none that says anything.
fn name_of(details: &Details) -> Option<&str> {
    details.name.as_deref().filter(|name| !name.is_empty())
}

fn window(details: &Details, validity: Validity) -> String {
    let from = match details.valid_from {
        Timestamp::MIN => String::new(),
        from => format!("from {} ", from.to_rfc3339(0)),
    };
    let until = match details.valid_until {
        Some(until) => format!("until {}", until.to_rfc3339(0)),
        None => "without end".to_owned(),
    };
    let now = match validity {
        Validity::Now => "",
        Validity::Past => ": expired",
        Validity::Future => ": not yet valid",
    };
    format!("{from}{until}{now}")
}

fn names(contexts: &[Context]) -> String {
    let names: Vec<String> = contexts
        .iter()
        .map(|context| match context.name.as_str() {
            "" => context.id.clone(),
            name => format!("{name} ({})", context.kind),
        })
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> Details {
        Details {
            id: "indicator--1".into(),
            pattern: "[domain-name:value = 'a.example']".into(),
            name: Some("Name\u{1b}[31m of \u{202e}it".into()),
            source: "b.json".into(),
            indicates: vec![Context {
                id: "malware--1".into(),
                kind: "malware".into(),
                name: "Lamplighter\n".into(),
            }],
            ..Details::default()
        }
    }

    fn answer() -> Answer {
        let reading = Reading {
            kind: ObservableType::DomainName,
            property: None,
            value: "a.example".into(),
        };
        let mut answer = Answer {
            value: "A.example\u{7}".into(),
            readings: vec![reading.clone()],
            matches: Counted::default(),
            terms: Counted::default(),
            near: Counted::default(),
        };
        for (validity, withheld) in [(Validity::Now, false), (Validity::Past, true)] {
            answer.matches.push(2, || Found {
                details: details(),
                validity,
                withheld,
                reading: reading.clone(),
                verdicts: vec![PlacedVerdict {
                    verdict: Verdict {
                        action: Action::WouldBlock,
                        reason: "rule 1 says block".into(),
                    },
                    places: vec![Place::DnsQuery, Place::TlsSni],
                }],
            });
        }
        answer.matches.push(2, || unreachable!());
        answer
    }

    #[test]
    fn text_says_all_and_is_harmless() {
        let text = render(
            &answer(),
            Style {
                width: 60,
                ..Style::default()
            },
        );
        for part in [
            "2 indicators would match it. 1 is withheld",
            "WOULD BLOCK  Name\\u{1b}[31m",
            "EXPIRED",
            "seen in dns.query, tls.sni: rule 1 says\n                  block",
            "Lamplighter\\u{a} (malware)",
            "unmarked",
            "and 1 more match",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let hazards = |c: char| c != '\n' && crate::report::text::is_hazardous(c);
        assert!(!text.contains(hazards), "{text}");
    }

    #[test]
    fn json_is_one_harmless_line() {
        let mut out = Vec::new();
        write_answer(&mut out, &answer());
        let line = String::from_utf8(out).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains(['\u{1b}', '\u{202e}', '\u{7}']));
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["matches_left_out"], 1);
        assert_eq!(value["matches"][1]["withheld"], true);
        assert_eq!(value["matches"][0]["verdicts"][0]["places"][1], "tls.sni");
        assert_eq!(value["read_as"][0]["type"], "domain-name");
    }
}
