//! The pattern language against conformance vectors of the OASIS tools, and
//! against itself.

use std::path::PathBuf;

use serde_json::Value;
use watchpost::indicator::pattern::Pattern;
use watchpost::indicator::pattern::PatternError;
use watchpost::indicator::pattern::Problem;
use watchpost::indicator::pattern::Spec;
use watchpost::indicator::pattern::try_pattern;

#[test]
fn agrees_on_syntax() {
    let Some(rows) = read_rows("syntax.jsonl") else {
        return;
    };
    let mut wrong = Vec::new();
    let mut scored = 0;
    for row in rows.iter().filter(|row| !is_disputed(row)) {
        let parsed = Pattern::parse(text(row, "pattern"), spec(row));
        scored += 1;
        if parsed.is_ok() != row["valid"].as_bool().unwrap() {
            wrong.push(format!(
                "{}: {} gives {parsed:?}",
                row["id"], row["pattern"]
            ));
        }
    }
    assert!(scored > 1_000, "only {scored} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn agrees_on_matching() {
    let Some(rows) = read_rows("matching.jsonl") else {
        return;
    };
    let mut wrong = Vec::new();
    let mut scored = 0;
    for row in rows.iter().filter(|row| !is_disputed(row)) {
        let parsed = Pattern::parse(text(row, "pattern"), spec(row));
        let observed = row["observations"].as_array().unwrap();
        let outcome = parsed.as_ref().map(|p| try_pattern(p, observed));
        let right = match (row["match"].as_bool(), row["error"].as_str()) {
            // The matcher of OASIS lets pass what its validator refuses.
            (Some(false), _) if is_duplicate_qualifier(&parsed) => true,
            (Some(expected), _) => matches!(&outcome, Ok(Ok(found)) if *found == expected),
            (None, Some("parse")) => outcome.is_err(),
            (None, _) => matches!(&outcome, Ok(Ok(false) | Err(_))),
        };
        scored += 1;
        if !right {
            let expected = (&row["match"], &row["error"]);
            wrong.push(format!(
                "{}: {} gives {outcome:?}, not {expected:?}",
                row["id"], row["pattern"]
            ));
        }
    }
    assert!(scored > 600, "only {scored} rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows of a vector file; `None` where there is no shared folder.
fn read_rows(name: &str) -> Option<Vec<Value>> {
    let shared = match std::env::var_os("WATCHPOST_SHARED") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    if !shared.is_dir() {
        println!("skipped: ../shared is missing");
        return None;
    }
    let path = shared.join("conformance/patterns").join(name);
    let lines = std::fs::read_to_string(path).unwrap();
    Some(
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn is_duplicate_qualifier(parsed: &Result<Pattern, PatternError>) -> bool {
    parsed
        .as_ref()
        .is_err_and(|error| matches!(error.problem, Problem::DuplicateQualifier { .. }))
}

fn is_disputed(row: &Value) -> bool {
    row["disputed"].as_bool() == Some(true)
}

fn text<'r>(row: &'r Value, name: &str) -> &'r str {
    row[name].as_str().unwrap()
}

fn spec(row: &Value) -> Spec {
    match text(row, "spec") {
        "2.0" => Spec::V20,
        _ => Spec::V21,
    }
}
