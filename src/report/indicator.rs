//! Indicators as such: as events name them, as JSON with all that is known, and as a table.

use crate::indicator::Context;
use crate::indicator::Details;
use crate::indicator::Validity;
use crate::report::event::write_line;
use crate::report::table::Style;
use crate::report::text::columns;
use crate::report::text::printable;
use crate::report::text::shorten;
use crate::time::Timestamp;
use serde::Serialize;

/// An indicator as an event names it.
#[derive(Serialize)]
pub(super) struct EventIndicator<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    pattern: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<u8>,
    labels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tlp: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    indicates: Vec<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    r#type: &'a str,
    name: &'a str,
}

impl<'a> EventIndicator<'a> {
    pub(super) fn new(details: &'a Details) -> Self {
        Self {
            id: &details.id,
            name: details.name.as_deref(),
            pattern: &details.pattern,
            source: &details.source,
            confidence: details.confidence.map(|c| c.min(100)),
            labels: &details.labels,
            valid_until: details.valid_until.map(|until| until.to_rfc3339(6)),
            tlp: details.tlp.map(|tlp| tlp.as_str()),
            indicates: named(&details.indicates),
        }
    }
}

fn named(contexts: &[Context]) -> Vec<Named<'_>> {
    contexts
        .iter()
        .map(|context| Named {
            r#type: &context.kind,
            name: &context.name,
        })
        .collect()
}

/// All that is known of an indicator, under the keys that events have and some more. Times that
/// its source does not say are left out.
#[derive(Serialize)]
pub(super) struct FullIndicator<'a> {
    #[serde(flatten)]
    event: EventIndicator<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_from: Option<String>,
    valid: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    markings: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    countermeasures: Vec<Named<'a>>,
}

impl<'a> FullIndicator<'a> {
    pub(super) fn new(details: &'a Details, validity: Validity) -> Self {
        Self {
            event: EventIndicator::new(details),
            created: said(details.created),
            modified: said(details.modified),
            valid_from: said(details.valid_from),
            valid: validity.as_str(),
            created_by: details.created_by.as_deref(),
            markings: &details.markings,
            countermeasures: named(&details.countermeasures),
        }
    }
}

fn said(time: Timestamp) -> Option<String> {
    (time != Timestamp::MIN).then(|| time.to_rfc3339(6))
}

/// Appends an indicator as one line of JSON; `validity` is that of the instant of the question.
pub fn write_indicator(out: &mut Vec<u8>, details: &Details, validity: Validity) {
    write_line(out, &FullIndicator::new(details, validity));
}

/// Columns of a listing before the last, which takes what is left: validity, end of it, marking,
/// confidence, source.
const WIDTHS: [usize; 5] = [7, 10, 16, 4, 24];

/// Columns that the last column has at least.
const LEAST: usize = 24;

/// Between columns.
const GAP: &str = "  ";

/// The titles above [`write_row`], with their line feed.
pub fn write_titles(out: &mut Vec<u8>, style: Style) {
    let titles = ["valid", "until", "marking", "conf", "source"];
    let cells = titles.map(str::to_owned);
    let line = row(&cells, "indicator", style);
    let line = line.trim_end();
    let (bold, plain) = if style.colour {
        ("\u{1b}[1m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    out.extend_from_slice(format!("{bold}{line}{plain}\n").as_bytes());
}

/// Appends an indicator as one row of a listing, with its line feed: its name, or its pattern
/// where it has none, and its pattern beside the name where there is room.
pub fn write_row(out: &mut Vec<u8>, details: &Details, validity: Validity, style: Style) {
    let state = match validity {
        Validity::Now => "valid",
        Validity::Past => "expired",
        Validity::Future => "not yet",
    };
    let until = details.valid_until.map_or_else(
        || "-".to_owned(),
        |until| until.to_rfc3339(0).chars().take(10).collect(),
    );
    let cells = [
        state.to_owned(),
        until,
        details
            .tlp
            .map_or("unmarked", |tlp| tlp.as_str())
            .to_owned(),
        details
            .confidence
            .map_or_else(|| "-".to_owned(), |c| c.min(100).to_string()),
        details.source.clone(),
    ];
    let room = last_width(style);
    let pattern = printable(&details.pattern);
    let what = match &details.name {
        Some(name) if !name.is_empty() => {
            // the pattern takes what the name leaves, and half at least
            let name = printable(name);
            let half = columns(&pattern).min(room / 2) + GAP.len();
            let name = shorten(&name, room.saturating_sub(half));
            let left = room.saturating_sub(columns(&name) + GAP.len());
            format!("{name}{GAP}{}", shorten(&pattern, left))
        }
        _ => pattern.into_owned(),
    };
    let line = row(&cells, &what, style);
    out.extend_from_slice(line.trim_end().as_bytes());
    out.push(b'\n');
}

fn row(cells: &[String; 5], last: &str, style: Style) -> String {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        let text = printable(cell);
        let text = shorten(&text, width);
        line.push_str(&text);
        line.extend(std::iter::repeat_n(
            ' ',
            width.saturating_sub(columns(&text)),
        ));
        line.push_str(GAP);
    }
    line.push_str(&shorten(last, last_width(style)));
    line
}

/// Columns that are left for the last column.
fn last_width(style: Style) -> usize {
    let used: usize = WIDTHS.iter().map(|width| width + GAP.len()).sum();
    usize::from(style.width).saturating_sub(used).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::Tlp;
    use serde_json::Value;

    fn sample() -> Details {
        Details {
            id: "indicator--1".into(),
            pattern: "[domain-name:value = 'a.example']".into(),
            name: Some("Name\u{1b}[31m".into()),
            source: "/srv/intel/a-long-way/to/partners/bundle.json".into(),
            tlp: Some(Tlp::AmberStrict),
            valid_from: Timestamp::from_parts(1_700_000_000, 0),
            ..Details::default()
        }
    }

    #[test]
    fn rows_are_aligned_and_harmless() {
        let style = Style {
            width: 110,
            ..Style::default()
        };
        let mut out = Vec::new();
        write_titles(&mut out, style);
        write_row(&mut out, &sample(), Validity::Now, style);
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [titles, row] = lines.as_slice() else {
            panic!("{text}");
        };
        let at = titles.find("indicator").unwrap();
        let starts = row.char_indices().nth(at).map(|(i, _)| &row[i..]).unwrap();
        assert!(starts.starts_with("Name\\u{1b}[31m"), "{text}");
        assert!(columns(row) <= 110 && !row.contains('\u{1b}'), "{text}");
        assert!(row.contains("TLP:AMBER+STRICT") && row.contains("bundle.json"));
    }

    #[test]
    fn json_has_the_keys_of_events_and_no_time_that_nobody_said() {
        let mut out = Vec::new();
        write_indicator(&mut out, &sample(), Validity::Past);
        let line = String::from_utf8(out).unwrap();
        assert!(!line.contains('\u{1b}'));
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["id"], "indicator--1");
        assert_eq!(value["tlp"], "TLP:AMBER+STRICT");
        assert_eq!(value["valid"], "past");
        assert_eq!(value["valid_from"], "2023-11-14T22:13:20.000000Z");
        for absent in ["created", "modified", "valid_until", "created_by"] {
            assert_eq!(value.get(absent), None, "{absent}");
        }
    }
}
