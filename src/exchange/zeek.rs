//! Intelligence files of Zeek: a `#fields` line names the columns, tabs part them.

use super::error::LoadError;
use super::lines::LineReader;
use super::lines::Output;
use super::lines::Statement;
use super::lines::place;
use super::pattern;
use super::tally::quote;
use super::value::Value;
use std::borrow::Cow;

/// What begins the line that names the columns.
const FIELDS: &str = "#fields";

/// What Zeek writes into a column without a value.
const UNSET: &str = "-";

/// How far a file is read.
#[derive(Debug, Default)]
pub(super) struct ZeekIntel {
    columns: Option<Columns>,
}

/// Which column holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    indicator: usize,
    kind: usize,
    /// `None`: there is none.
    description: Option<usize>,
}

/// Whether the line names the columns of such a file.
pub(super) fn names_columns(line: &str) -> bool {
    columns_of(line).is_some()
}

impl LineReader for ZeekIntel {
    fn line(&mut self, number: u64, line: &str, output: &mut Output<'_>) {
        if line.starts_with('#') {
            self.columns = columns_of(line).or(self.columns);
            return;
        }
        let Some(columns) = self.columns else {
            let reason = "stands before the line that names the columns (#fields)".to_owned();
            return output.refuse(number, reason);
        };
        let values: Vec<&str> = line.split('\t').map(str::trim).collect();
        let (Some(indicator), Some(kind)) =
            (values.get(columns.indicator), values.get(columns.kind))
        else {
            let reason = "has fewer columns than #fields names: tabs part them".to_owned();
            return output.refuse(number, reason);
        };
        let description = columns.description.and_then(|at| values.get(at).copied());
        let title = description.filter(|text| !text.is_empty() && *text != UNSET);
        match read(kind, indicator) {
            Ok(statement) => output.statement(number, Statement { title, ..statement }),
            Err(Unusable::Broken(reason)) => output.refuse(number, reason),
            Err(Unusable::Unseeable(reason)) => output.tally.unseeable(&place(number), reason),
        }
    }

    fn finish(&mut self, _: &str, _: &mut Output<'_>) -> Result<(), LoadError> {
        Ok(())
    }
}

/// Why a line gives nothing.
#[derive(Debug, PartialEq, Eq)]
enum Unusable {
    Broken(String),
    Unseeable(String),
}

fn columns_of(line: &str) -> Option<Columns> {
    let names: Vec<&str> = line.strip_prefix(FIELDS)?.split_whitespace().collect();
    let at = |wanted: &str| names.iter().position(|name| *name == wanted);
    Some(Columns {
        indicator: at("indicator")?,
        kind: at("indicator_type")?,
        description: at("meta.desc"),
    })
}

/// What an indicator of one of Zeek's types says.
fn read<'a>(kind: &str, text: &'a str) -> Result<Statement<'a>, Unusable> {
    let broken = || Unusable::Broken(format!("{} is no {}", quote(text), quote(kind)));
    let other = |path: &str| {
        let pattern = pattern::equal(path, text);
        Ok(Statement {
            normal_form: Cow::Owned(pattern.clone()),
            pattern: Cow::Owned(pattern),
            subdomains: false,
            title: None,
        })
    };
    if text.is_empty() {
        return Err(broken());
    }
    match kind {
        "Intel::SOFTWARE" => other(pattern::USER_AGENT),
        "Intel::FILE_NAME" => other("file:name"),
        // written without its scheme, which is how indicators say http
        "Intel::URL" if !text.contains("://") => other("url:value"),
        "Intel::CERT_HASH" => {
            let (pattern, _) = pattern::certificate(text).ok_or_else(broken)?;
            Ok(Statement {
                normal_form: Cow::Owned(pattern.clone()),
                pattern: Cow::Owned(pattern),
                subdomains: false,
                title: None,
            })
        }
        "Intel::ADDR" | "Intel::SUBNET" | "Intel::DOMAIN" | "Intel::URL" | "Intel::FILE_HASH"
        | "Intel::EMAIL" => {
            let (value, _) =
                Value::parse(text).map_err(|no_value| Unusable::Broken(no_value.reason))?;
            let fits = match kind {
                "Intel::ADDR" => matches!(value, Value::Address(_)),
                "Intel::SUBNET" => matches!(value, Value::Network(_) | Value::Address(_)),
                "Intel::DOMAIN" => matches!(value, Value::Name { .. }),
                "Intel::URL" => matches!(value, Value::Url(_)),
                "Intel::FILE_HASH" => matches!(value, Value::Hash(..)),
                _ => matches!(value, Value::Mail(_)),
            };
            if !fits {
                return Err(broken());
            }
            Ok(Statement {
                pattern: Cow::Owned(value.pattern()),
                normal_form: Cow::Owned(value.normal_form().into_owned()),
                subdomains: value.subdomains(),
                title: None,
            })
        }
        _ => Err(Unusable::Unseeable(format!("Zeek type {}", quote(kind)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_become_patterns() {
        for (kind, text, pattern) in [
            (
                "Intel::ADDR",
                "192.0.2.1",
                "[ipv4-addr:value = '192.0.2.1']",
            ),
            (
                "Intel::SUBNET",
                "192.0.2.0/24",
                "[ipv4-addr:value = '192.0.2.0/24']",
            ),
            (
                "Intel::DOMAIN",
                "A.example",
                "[domain-name:value = 'a.example']",
            ),
            ("Intel::URL", "a.example/x", "[url:value = 'a.example/x']"),
            (
                "Intel::FILE_HASH",
                "D41D8CD98F00B204E9800998ECF8427E",
                "[file:hashes.MD5 = 'd41d8cd98f00b204e9800998ecf8427e']",
            ),
            (
                "Intel::CERT_HASH",
                "da39a3ee5e6b4b0d3255bfef95601890afd80709",
                "[x509-certificate:hashes.'SHA-1' = 'da39a3ee5e6b4b0d3255bfef95601890afd80709']",
            ),
            (
                "Intel::SOFTWARE",
                "Bot's/1",
                r"[network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' = 'Bot\'s/1']",
            ),
            (
                "Intel::EMAIL",
                "x@A.example",
                "[email-addr:value = 'x@a.example']",
            ),
            ("Intel::FILE_NAME", "a b.exe", "[file:name = 'a b.exe']"),
        ] {
            assert_eq!(read(kind, text).unwrap().pattern, pattern, "{kind}");
        }
        for (kind, text) in [
            ("Intel::ADDR", "a.example"),
            ("Intel::SUBNET", "a.example"),
            ("Intel::DOMAIN", "192.0.2.1"),
            ("Intel::FILE_HASH", "a.example"),
            ("Intel::CERT_HASH", "a.example"),
            ("Intel::EMAIL", "a.example"),
            ("Intel::FILE_NAME", ""),
        ] {
            assert!(
                matches!(read(kind, text), Err(Unusable::Broken(_))),
                "{kind}"
            );
        }
        assert!(matches!(
            read("Intel::USER_NAME", "x"),
            Err(Unusable::Unseeable(_))
        ));
    }

    #[test]
    fn columns_are_named_in_any_order() {
        assert_eq!(
            columns_of("#fields\tmeta.desc\tindicator_type\tindicator"),
            Some(Columns {
                indicator: 2,
                kind: 1,
                description: Some(0)
            })
        );
        assert!(names_columns(
            "#fields\tindicator\tindicator_type\tmeta.source"
        ));
        assert!(!names_columns("#fields\tts\tuid"));
        assert!(!names_columns("# indicator indicator_type"));
    }
}
