//! The lines of a text, one by one, and the indicators that they say.
//!
//! Each value becomes an indicator whose id follows from the source's name and
//! the value, so that the same file names the same indicators everywhere.

use super::Limits;
use super::error::LoadError;
use super::tally::Tally;
use super::tally::quote;
use super::value::HostBits;
use super::value::Value;
use super::window::Window;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::time::Timestamp;
use std::borrow::Cow;
use uuid::Uuid;

/// Namespace of the ids of indicators that come from lines; it must never
/// change, or every list would name other indicators than before.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x8c1f_5be2_37d4_4a0e_9b56_d02e_7ac3_41f9);

/// Takes the lines of a text.
pub(super) trait LineReader {
    /// One line that is not blank, without its end; `number` counts from 1.
    fn line(&mut self, number: u64, line: &str, output: &mut Output<'_>);

    /// The text has ended; an error says that it is not of the format after all.
    fn finish(&mut self, file: &str, output: &mut Output<'_>) -> Result<(), LoadError>;
}

/// Where the indicators of lines go.
pub(super) struct Output<'a> {
    /// The source's file name without its folder, which ids follow from.
    pub(super) name: &'a str,
    /// Counts them.
    pub(super) tally: &'a mut Tally,
    /// Takes them.
    pub(super) intake: &'a mut dyn Intake,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    /// Its STIX pattern.
    pub(super) pattern: Cow<'a, str>,
    /// The same for values that mean the same.
    pub(super) normal_form: Cow<'a, str>,
    /// Whether names below it are meant as well.
    pub(super) subdomains: bool,
    /// For people; `None` where the line gives none.
    pub(super) title: Option<&'a str>,
}

/// The id of the indicator that a line says: `name` is the file name without
/// its folder, `normal_form` that of the value.
pub fn derive_id(name: &str, normal_form: &str) -> String {
    let name = format!("{name}\n{normal_form}");
    format!(
        "indicator--{}",
        Uuid::new_v5(&NAMESPACE, name.as_bytes()).hyphenated()
    )
}

/// Reads the text that the window stands before.
pub(super) fn read(
    reader: &mut dyn LineReader,
    window: &mut Window<'_>,
    limits: &Limits,
    file: &str,
    output: &mut Output<'_>,
) -> Result<(), LoadError> {
    let mut lines = Lines {
        number: window.position(0).line,
        longest: limits.longest_line,
        too_long: false,
    };
    loop {
        let bytes = window.bytes();
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(end);
            lines.line(line, reader, output);
            rest = behind.get(1..).unwrap_or_default();
        }
        if window.ended() {
            if !rest.is_empty() {
                lines.line(rest, reader, output);
            }
            return reader.finish(file, output);
        }
        if rest.len() > lines.longest && !lines.too_long {
            lines.refuse_length(output);
        }
        let done = if lines.too_long {
            bytes.len()
        } else {
            bytes.len() - rest.len()
        };
        window.consume(done);
        if let Err(error) = window.fill() {
            return Err(LoadError::whole(file, error));
        }
    }
}

/// How far a text is read.
#[derive(Debug)]
struct Lines {
    /// Of the next line, counted from 1.
    number: u64,
    /// In bytes.
    longest: usize,
    /// Whether the rest of a line that was refused for its length is still to come.
    too_long: bool,
}

impl Lines {
    fn line(&mut self, line: &[u8], reader: &mut dyn LineReader, output: &mut Output<'_>) {
        if self.too_long {
            self.too_long = false;
        } else if line.len() > self.longest {
            self.refuse_length(output);
            self.too_long = false;
        } else {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match std::str::from_utf8(line) {
                Ok(text) if text.trim().is_empty() => {}
                Ok(text) => reader.line(self.number, text, output),
                // what is not UTF-8 within a comment does no harm
                Err(_) => match std::str::from_utf8(without_comment(line)) {
                    Ok(text) if text.trim().is_empty() => {}
                    Ok(text) => reader.line(self.number, text, output),
                    Err(_) => {
                        let shown = quote(&String::from_utf8_lossy(line.trim_ascii()));
                        let reason = format!("{shown} is not UTF-8: convert the list to UTF-8");
                        output.refuse(self.number, reason);
                    }
                },
            }
        }
        self.number += 1;
    }

    fn refuse_length(&mut self, output: &mut Output<'_>) {
        let longest = self.longest;
        let reason = format!("the line is longer than {longest} bytes: write one value a line");
        output.refuse(self.number, reason);
        self.too_long = true;
    }
}

impl Output<'_> {
    /// The line is of no use.
    pub(super) fn refuse(&mut self, number: u64, reason: String) {
        self.tally.refuse("", place(number), reason);
    }

    /// The line says a value by its form.
    pub(super) fn value(
        &mut self,
        number: u64,
        value: &Value,
        HostBits(cut_off): HostBits,
        title: Option<&str>,
    ) {
        if cut_off {
            self.tally.warn(
                "a network's address lies within it: its host bits were cut off",
                || place(number),
            );
        }
        let statement = Statement {
            pattern: Cow::Owned(value.pattern()),
            normal_form: value.normal_form(),
            subdomains: value.subdomains(),
            title,
        };
        self.statement(number, statement);
    }

    /// The line says something.
    pub(super) fn statement(&mut self, number: u64, statement: Statement<'_>) {
        let indicator = Indicator {
            id: Cow::Owned(derive_id(self.name, &statement.normal_form)),
            derived_id: true,
            pattern: statement.pattern,
            pattern_version: PatternVersion::V21,
            name: statement.title.map(Cow::Borrowed),
            subdomains: statement.subdomains,
            created: Timestamp::MIN,
            modified: Timestamp::MIN,
            valid_from: Timestamp::MIN,
            valid_until: None,
            revoked: false,
            confidence: None,
            labels: Vec::new(),
            markings: Vec::new(),
            created_by: None,
        };
        self.tally.take(self.intake, &indicator, || place(number));
    }
}

/// Where a line is, for reports.
pub(super) fn place(number: u64) -> String {
    format!("line {number}")
}

/// What comes before a comment.
pub(super) fn without_comment(line: &[u8]) -> &[u8] {
    let begins_comment = |at: usize| {
        let behind = line.get(at..).unwrap_or_default();
        let mark = matches!(behind, [b'#' | b';', ..] | [b'/', b'/', ..]);
        let free = match at.checked_sub(1).and_then(|before| line.get(before)) {
            None => true,
            Some(before) => before.is_ascii_whitespace(),
        };
        mark && free
    };
    let end = memchr::memchr3_iter(b'#', b';', b'/', line).find(|at| begins_comment(*at));
    line.get(..end.unwrap_or(line.len())).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_stand_apart() {
        for (line, value) in [
            ("# all", ""),
            ("; all", ""),
            ("// all", ""),
            ("  // all", "  "),
            ("a.example # why", "a.example "),
            ("a.example\t;why", "a.example\t"),
            ("http://a.example/#part", "http://a.example/#part"),
            ("http://a.example/a;b//c", "http://a.example/a;b//c"),
            ("http://a.example/#part // why", "http://a.example/#part "),
        ] {
            assert_eq!(without_comment(line.as_bytes()), value.as_bytes(), "{line}");
        }
    }

    #[test]
    fn ids_never_change() {
        // computed once with Python's uuid.uuid5
        assert_eq!(
            derive_id("list.txt", "192.0.2.1"),
            "indicator--e4c188b2-d27f-5f20-872c-3d1b8df31684"
        );
    }
}
