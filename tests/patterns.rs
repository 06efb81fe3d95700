//! The pattern language against conformance vectors of the OASIS tools, and
//! against itself.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use watchpost::indicator::pattern::Comparison;
use watchpost::indicator::pattern::Literal;
use watchpost::indicator::pattern::ObjectPath;
use watchpost::indicator::pattern::Observation;
use watchpost::indicator::pattern::Operand;
use watchpost::indicator::pattern::Operator;
use watchpost::indicator::pattern::Pattern;
use watchpost::indicator::pattern::PatternError;
use watchpost::indicator::pattern::Problem;
use watchpost::indicator::pattern::Qualifier;
use watchpost::indicator::pattern::Spec;
use watchpost::indicator::pattern::Step;
use watchpost::indicator::pattern::try_pattern;
use watchpost::time::Timestamp;

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

#[test]
fn reads_what_it_writes() {
    let mut seed = Seed(1);
    for _ in 0..20_000 {
        let pattern = Pattern {
            expression: seed.observation(3),
        };
        let text = pattern.to_string();
        match Pattern::parse(&text, Spec::V21) {
            Ok(parsed) => assert_eq!(parsed, pattern, "{text}"),
            Err(error) => panic!("{text}: {error}"),
        }
    }
}

#[test]
fn survives_hostile_text() {
    let pieces = [
        "[",
        "]",
        "(",
        ")",
        ":",
        ".",
        ",",
        "*",
        "=",
        "!=",
        "<>",
        " ",
        "\n",
        "'",
        "\\",
        "\\'",
        "/*",
        "*/",
        "//",
        "AND",
        " OR ",
        " NOT ",
        " IN ",
        " LIKE ",
        " EXISTS ",
        " FOLLOWEDBY ",
        " WITHIN ",
        " SECONDS",
        " REPEATS ",
        "t'",
        "h'",
        "b'",
        "-",
        "+",
        "0",
        "9",
        ".5",
        "é",
        "\0",
        "\u{3000}",
        "a",
        "a-b",
        "hashes",
        "'x'",
    ];
    let mut seed = Seed(2);
    let mut parsed = 0;
    for round in 0..30_000 {
        let mut text = if round % 2 == 0 {
            seed.observation(2).to_string()
        } else {
            String::new()
        };
        for _ in 0..1 + seed.draw(if round % 2 == 0 { 3 } else { 20 }) {
            let mut at = seed.draw(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match text[at..].chars().next() {
                Some(_) if seed.draw(3) == 0 => drop(text.remove(at)),
                _ => text.insert_str(at, seed.pick(&pieces)),
            }
        }
        for spec in [Spec::V20, Spec::V21] {
            match Pattern::parse(&text, spec) {
                Ok(pattern) => {
                    let again = Pattern::parse(&pattern.to_string(), spec);
                    assert_eq!(again.as_ref(), Ok(&pattern), "{text}");
                    // The error or answer does not matter here; that there is one does.
                    let _ = try_pattern(&pattern, &[]);
                    parsed += 1;
                }
                Err(error) => {
                    assert!(text.is_char_boundary(error.offset), "{text}");
                    let message = error.to_string();
                    assert!(message.chars().all(|c| !c.is_control()), "{message:?}");
                }
            }
        }
    }
    assert!(parsed > 1_000, "{parsed}");
}

/// A small generator of random patterns.
struct Seed(u64);

impl Seed {
    /// A number below `n`.
    fn draw(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.draw(choices.len())]
    }

    fn several<T>(&mut self, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..2 + self.draw(2)).map(|_| one(self)).collect()
    }

    fn observation(&mut self, depth: usize) -> Observation {
        match if depth == 0 { 0 } else { self.draw(8) } {
            1 => Observation::And(self.several(|seed| seed.observation(depth - 1))),
            2 => Observation::Or(self.several(|seed| seed.observation(depth - 1))),
            3 => Observation::FollowedBy(self.several(|seed| seed.observation(depth - 1))),
            4..7 => {
                let inner = Box::new(self.observation(depth - 1));
                Observation::Qualified(inner, self.qualifier())
            }
            _ => Observation::Test(self.comparison(depth)),
        }
    }

    fn qualifier(&mut self) -> Qualifier {
        match self.draw(3) {
            0 => Qualifier::Within(Duration::new(
                self.draw(1_000) as u64,
                self.pick(&[0, 1, 500_000_000, 999_999_999]),
            )),
            1 => Qualifier::Repeats(self.pick(&[0, 1, 5, u64::MAX])),
            _ => Qualifier::StartStop(self.instant(), self.instant()),
        }
    }

    fn instant(&mut self) -> Timestamp {
        let nanos = self.pick(&[0, 1, 120_000_000, 999_999_000]);
        let instant = Timestamp::from_parts(self.draw(1 << 31) as u64, nanos);
        self.pick(&[instant, Timestamp::MIN, Timestamp::MAX])
    }

    fn comparison(&mut self, depth: usize) -> Comparison {
        let negated = self.draw(2) == 0;
        match if depth == 0 { 4 } else { self.draw(6) } {
            0 => Comparison::And(self.several(|seed| seed.comparison(depth - 1))),
            1 => Comparison::Or(self.several(|seed| seed.comparison(depth - 1))),
            2 => Comparison::Exists {
                path: self.path(),
                negated,
            },
            _ => {
                let operator = self.pick(&[
                    Operator::Equal,
                    Operator::NotEqual,
                    Operator::Less,
                    Operator::LessEqual,
                    Operator::Greater,
                    Operator::GreaterEqual,
                    Operator::In,
                    Operator::Like,
                    Operator::Matches,
                    Operator::IsSubset,
                    Operator::IsSuperset,
                ]);
                let operand = match operator {
                    Operator::Equal | Operator::NotEqual => Operand::One(self.literal(true)),
                    Operator::In => {
                        let count = self.draw(4);
                        Operand::Set((0..count).map(|_| self.literal(true)).collect())
                    }
                    Operator::Like
                    | Operator::Matches
                    | Operator::IsSubset
                    | Operator::IsSuperset => Operand::One(Literal::String(self.text())),
                    _ => Operand::One(self.literal(false)),
                };
                Comparison::Property {
                    path: self.path(),
                    negated,
                    operator,
                    operand,
                }
            }
        }
    }

    fn path(&mut self) -> ObjectPath {
        let key = |seed: &mut Self| match seed.draw(4) {
            0 => Step::Key(seed.text()),
            _ => Step::Key(
                seed.pick(&["value", "IN", "EXISTS", "a_ref", "_", "x1"])
                    .to_owned(),
            ),
        };
        let mut steps = vec![key(self)];
        for _ in 0..self.draw(4) {
            steps.push(match self.draw(3) {
                0 => Step::Index(self.pick(&[0, 7, usize::MAX])),
                1 => Step::Any,
                _ => key(self),
            });
        }
        ObjectPath {
            object_type: self
                .pick(&["file", "ipv4-addr", "x_a-", "AND-1"])
                .to_owned(),
            steps,
        }
    }

    fn literal(&mut self, unordered: bool) -> Literal {
        match self.draw(if unordered { 6 } else { 5 }) {
            0 => Literal::Integer(self.pick(&[0, -1, 443, i64::MAX, i64::MIN])),
            1 => Literal::Float(self.pick(&[0.0, -0.5, 1e300, 5e-324, 7.0, f64::MAX])),
            2 => Literal::String(self.text()),
            3 => Literal::Binary((0..self.draw(5)).map(|n| n as u8 * 67).collect()),
            4 => Literal::Timestamp(self.instant()),
            _ => Literal::Boolean(self.draw(2) == 0),
        }
    }

    fn text(&mut self) -> String {
        let length = self.draw(6);
        (0..length)
            .map(|_| {
                self.pick(&[
                    'a', 'B', '\'', '\\', ' ', '\n', '\0', 'é', '日', '/', '*', '-',
                ])
            })
            .collect()
    }
}
