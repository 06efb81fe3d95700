//! Plain lists: one value a line.
//!
//! `#`, `;` and `//` begin a comment at the start of a line or after white
//! space; within a value they belong to it. Each value becomes an indicator
//! whose id follows from the list's name and the value, so that the same list
//! names the same indicators everywhere.

use super::Limits;
use super::error::Cause;
use super::error::LoadError;
use super::tally::Tally;
use super::tally::quote;
use super::value::Value;
use super::window::Window;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::time::Timestamp;
use std::borrow::Cow;
use uuid::Uuid;

/// Namespace of the ids of indicators that come from list lines; it must
/// never change, or every list would name other indicators than before.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x8c1f_5be2_37d4_4a0e_9b56_d02e_7ac3_41f9);

/// The id of the indicator that a list says: `name` is the list's file name
/// without its folder, `normal_form` that of the value.
pub fn derive_id(name: &str, normal_form: &str) -> String {
    let name = format!("{name}\n{normal_form}");
    format!(
        "indicator--{}",
        Uuid::new_v5(&NAMESPACE, name.as_bytes()).hyphenated()
    )
}

/// Reads the list that the window stands before; `name` is its file name
/// without its folder, `file` what errors say.
pub(super) fn read(
    window: &mut Window<'_>,
    limits: &Limits,
    file: &str,
    name: &str,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> Result<(), LoadError> {
    let mut list = List {
        name,
        line: window.position(0).line,
        too_long: false,
        values: 0,
        prose: 0,
    };
    loop {
        let bytes = window.bytes();
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, behind) = rest.split_at(end);
            list.line(line, limits, tally, intake);
            rest = behind.get(1..).unwrap_or_default();
        }
        if window.ended() {
            if !rest.is_empty() {
                list.line(rest, limits, tally, intake);
            }
            return list.finish(file, tally);
        }
        if rest.len() > limits.longest_line && !list.too_long {
            list.too_long(limits, tally);
        }
        let done = if list.too_long {
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

/// How far a list is read.
#[derive(Debug)]
struct List<'a> {
    name: &'a str,
    /// Of the next line, counted from 1.
    line: u64,
    /// Whether the rest of a line that was refused for its length is still to come.
    too_long: bool,
    values: u64,
    prose: u64,
}

impl List<'_> {
    fn line(&mut self, line: &[u8], limits: &Limits, tally: &mut Tally, intake: &mut dyn Intake) {
        if self.too_long {
            self.too_long = false;
        } else if line.len() > limits.longest_line {
            self.too_long(limits, tally);
            self.too_long = false;
        } else {
            let value = without_comment(line).trim_ascii();
            if !value.is_empty() {
                self.value(value, tally, intake);
            }
        }
        self.line += 1;
    }

    fn value(&mut self, value: &[u8], tally: &mut Tally, intake: &mut dyn Intake) {
        let place = || format!("line {}", self.line);
        let Ok(text) = std::str::from_utf8(value) else {
            let shown = quote(&String::from_utf8_lossy(value));
            let reason = format!("{shown} is not UTF-8: convert the list to UTF-8");
            tally.refuse("", place(), reason);
            return;
        };
        let (value, host_bits) = match Value::parse(text) {
            Ok(found) => found,
            Err(no_value) => {
                tally.refuse("", place(), no_value.reason);
                self.prose += u64::from(no_value.prose);
                return;
            }
        };
        if host_bits.0 {
            tally.warn(
                "a network's address lies within it: its host bits were cut off",
                place,
            );
        }
        let indicator = Indicator {
            id: Cow::Owned(derive_id(self.name, &value.normal_form())),
            derived_id: true,
            pattern: Cow::Owned(value.pattern()),
            pattern_version: PatternVersion::V21,
            name: None,
            subdomains: value.subdomains(),
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
        tally.take(intake, &indicator, place);
        self.values += 1;
    }

    fn too_long(&mut self, limits: &Limits, tally: &mut Tally) {
        let longest = limits.longest_line;
        tally.refuse(
            "",
            format!("line {}", self.line),
            format!("the line is longer than {longest} bytes: write one value a line"),
        );
        self.too_long = true;
    }

    fn finish(&self, file: &str, tally: &Tally) -> Result<(), LoadError> {
        let cause = if self.values == 0 {
            Cause::NoValue(match tally.first_refused() {
                Some(first) => format!("; {}: {}", first.path, first.reason),
                None => "; it holds comments alone".to_owned(),
            })
        } else if self.prose > self.values {
            // a licence or a read-me names a site or two: that makes no list
            Cause::Prose {
                prose: self.prose,
                values: self.values,
            }
        } else {
            return Ok(());
        };
        Err(LoadError::whole(file, cause))
    }
}

/// What comes before a comment.
fn without_comment(line: &[u8]) -> &[u8] {
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
