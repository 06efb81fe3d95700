//! Plain lists: one value a line.
//!
//! `#`, `;` and `//` begin a comment at the start of a line or after white
//! space; within a value they belong to it.

use super::error::Cause;
use super::error::LoadError;
use super::lines::LineReader;
use super::lines::Output;
use super::lines::without_comment;
use super::value::Value;

/// How far a list is read.
#[derive(Debug, Default)]
pub(super) struct List {
    values: u64,
    prose: u64,
}

impl LineReader for List {
    fn line(&mut self, number: u64, line: &str, output: &mut Output<'_>) {
        let value = text_without_comment(line);
        if value.is_empty() {
            return;
        }
        match Value::parse(value) {
            Ok((value, host_bits)) => {
                output.value(number, &value, host_bits, None);
                self.values += 1;
            }
            Err(no_value) => {
                output.refuse(number, no_value.reason);
                self.prose += u64::from(no_value.prose);
            }
        }
    }

    fn finish(&mut self, file: &str, output: &mut Output<'_>) -> Result<(), LoadError> {
        let cause = if self.values == 0 {
            Cause::NoValue(match output.tally.first_refused() {
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

/// A line without its comment and the white space before that.
pub(super) fn text_without_comment(line: &str) -> &str {
    // a comment begins with an ASCII character, so that what is before it is text
    std::str::from_utf8(without_comment(line.as_bytes()))
        .unwrap_or_default()
        .trim()
}
