//! What is wrong in a file of rules, and what to do about it.

use std::fmt;
use std::ops::Range;

/// Text of a file that a message repeats is cut after this many characters:
/// a message is one line for a person.
const MAX_QUOTED: usize = 60;

/// Keys longer than this are not compared with the known ones: comparing
/// costs the product of both lengths, and no known key is half as long.
const MAX_COMPARED: usize = 64;

/// A file of rules that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line and column, both from 1, the column in characters; `None` where it is the file as a whole.
    pub position: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub problem: String,
}

impl RulesError {
    /// About a whole file.
    pub(super) fn whole(file: &str, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            problem: problem.into(),
        }
    }

    /// About the byte at `offset` of `text`.
    pub(super) fn at(file: &str, text: &str, offset: usize, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: Some(position(text, offset)),
            problem: problem.into(),
        }
    }

    /// What the TOML reader says, with the nearest known key or value.
    pub(super) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let Range { start, .. } = error.span().unwrap_or_default();
        Self::at(file, text, start, advise(error.message()))
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for RulesError {}

/// Text from a file within a message: on one line, and not too long.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(MAX_QUOTED)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(MAX_QUOTED).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The known word that `word` is most likely to be a slip of, if any is near.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Rewrites serde's "unknown field `a`, expected one of `b`, `c`" so that it
/// names the nearest of the known ones; other messages stay as they are.
pub(crate) fn advise(message: &str) -> String {
    let message = message.trim().replace('\n', "; ");
    let what = match message.split('`').next() {
        Some("unknown field ") => "key",
        Some("unknown variant ") => "value",
        _ => return message,
    };
    let mut words = message.split('`').skip(1).step_by(2);
    let Some(word) = words.next() else {
        return message;
    };
    let known: Vec<&str> = words.collect();
    unknown(what, word, &known)
}

/// Says that a word is none of the known ones, and which of them is likely meant.
pub(crate) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("unknown {what} {}; did you mean `{meant}`?", quoted(word)),
        None => format!(
            "unknown {what} {}; known here: {}",
            quoted(word),
            known.join(", ")
        ),
    }
}

/// Line and column of a byte offset, both from 1.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let before = text.get(..offset).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (above, y) in row.iter_mut().skip(1).zip(&b) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *above;
            left = replaced.min(diagonal + 1).min(left + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, edits) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("types", "types", 0),
            ("tpyes", "types", 2),
            ("type", "types", 1),
            ("places", "place", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn positions_count_characters() {
        let text = "a\n\u{fc}b\nc";
        for (offset, expected) in [
            (0, (1, 1)),
            (2, (2, 1)),
            (4, (2, 2)),
            (3, (2, 1)),
            (99, (3, 2)),
        ] {
            assert_eq!(position(text, offset), expected, "{offset}");
        }
    }

    #[test]
    fn what_is_far_from_everything_is_not_guessed() {
        assert_eq!(nearest("zzzz", ["types", "places"]), None);
        assert_eq!(nearest(&"types".repeat(1000), ["types"]), None);
        assert_eq!(nearest("TYPES", ["types"]), Some("types"));
    }

    #[test]
    fn quotes_stay_on_one_line() {
        assert_eq!(quoted("a\nb\u{1b}[0m"), "`a\\nb\\u{1b}[0m`");
        assert!(quoted(&"x".repeat(1000)).len() < 80);
    }
}
