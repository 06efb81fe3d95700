//! What `intel check` prints: source by source, what loads and what does not.

use crate::indicator::SourceReport;
use crate::report::table::RULED;
use crate::report::table::Style;
use crate::report::text::counted;
use crate::report::text::grouped;
use crate::report::text::printable;
use crate::report::text::shorten;
use comfy_table::Cell;
use comfy_table::CellAlignment;
use comfy_table::ContentArrangement;
use comfy_table::Table;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Refused objects that are listed one by one; the JSON form lists all.
const MAX_LISTED: usize = 20;

/// Draws the table, the refused objects, and the reasons why others cannot be seen.
pub fn render(reports: &[&SourceReport], indicators: u64, style: Style) -> String {
    let mut out = draw(reports, style);
    for report in reports {
        list_refused(report, style, &mut out);
    }
    count_unseeable(reports, style, &mut out);
    for report in reports {
        for warning in &report.warnings {
            say(
                &mut out,
                &format!("{}: {}", printable(&report.file), printable(warning)),
            );
        }
    }
    say(
        &mut out,
        &format!("{} can match.", counted(indicators, "indicator")),
    );
    out
}

fn draw(reports: &[&SourceReport], style: Style) -> String {
    let mut table = Table::new();
    table
        .load_style(RULED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(style.width);
    let names = [
        "source",
        "loaded",
        "refused",
        "unseeable",
        "expired",
        "revoked",
        "superseded",
        "duplicate",
        "allowlisted",
    ];
    table.set_header(names);
    for report in reports {
        let counts = [
            report.loaded,
            report.refused.len() as u64,
            report.unseeable.len() as u64,
            report.expired,
            report.revoked,
            report.superseded,
            report.duplicate,
            report.allowlisted,
        ];
        let source = shorten(
            &printable(&report.file),
            usize::from(style.width / 3).max(16),
        )
        .into_owned();
        let cells = counts.map(|n| Cell::new(grouped(n)).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(source)).chain(cells));
    }
    format!("{table}\n")
}

fn list_refused(report: &SourceReport, style: Style, out: &mut String) {
    if report.refused.is_empty() {
        return;
    }
    let heading = counted(report.refused.len() as u64, "refused object");
    say(
        out,
        &format!("\n{} of {}:", heading, printable(&report.file)),
    );
    for refused in report.refused.iter().take(MAX_LISTED) {
        let object = if refused.object.is_empty() {
            "(no id)"
        } else {
            &refused.object
        };
        let line = format!("{} {}: {}", refused.path, object, refused.reason);
        // a long reason wraps on a terminal; only an absurd one is cut
        say(
            out,
            &format!(
                "  {}",
                shorten(&printable(&line), usize::from(style.width) * 4)
            ),
        );
    }
    let left = report.refused.len().saturating_sub(MAX_LISTED);
    if left > 0 {
        say(
            out,
            &format!("  and {} more; --json lists all", grouped(left as u64)),
        );
    }
}

fn count_unseeable(reports: &[&SourceReport], style: Style, out: &mut String) {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for unseeable in reports.iter().flat_map(|r| &r.unseeable) {
        *reasons.entry(unseeable.reason.as_str()).or_default() += 1;
    }
    if reasons.is_empty() {
        return;
    }
    say(out, "\nCannot be seen on the wire, by reason:");
    let mut sorted: Vec<_> = reasons.into_iter().collect();
    sorted.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let left = sorted.len().saturating_sub(MAX_LISTED);
    for (reason, count) in sorted.into_iter().take(MAX_LISTED) {
        let reason = shorten(
            &printable(reason),
            usize::from(style.width).saturating_sub(10),
        )
        .into_owned();
        say(out, &format!("{:>8}  {reason}", grouped(count)));
    }
    if left > 0 {
        say(
            out,
            &format!(
                "          and {} more reasons; --json lists all",
                grouped(left as u64)
            ),
        );
    }
}

fn say(out: &mut String, line: &str) {
    // writing to a String cannot fail
    let _ = writeln!(out, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::Refused;
    use crate::indicator::Unseeable;

    #[test]
    fn tells_what_loads_and_what_does_not() {
        let report = SourceReport {
            file: "bundle.json".into(),
            loaded: 1_234,
            refused: vec![Refused {
                object: "indicator--1".into(),
                path: "objects[3].pattern".into(),
                reason: "no operator\u{1b}[31m".into(),
            }],
            unseeable: vec![
                Unseeable {
                    object: "a".into(),
                    reason: "lives on hosts".into(),
                },
                Unseeable {
                    object: "b".into(),
                    reason: "lives on hosts".into(),
                },
            ],
            ..SourceReport::default()
        };
        let text = render(
            &[&report],
            1_234,
            Style {
                width: 120,
                ..Style::default()
            },
        );
        for part in [
            "bundle.json",
            "1,234",
            "objects[3].pattern",
            "       2  lives on hosts",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
