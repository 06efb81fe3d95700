//! LIKE: `%` stands for any text, `_` for any one character, both over line ends.
//!
//! There is no escape (STIX 2.1 section 9.6.1). Both sides are in Unicode's
//! normal form C: the operand by [`Like::new`], the value by the caller.

use memchr::memmem;

/// A LIKE operand made ready.
#[derive(Clone, Debug)]
pub(super) struct Like {
    /// What stands between the `%`: at least one piece. A value holds the first
    /// at its start, the last at its end, and the others in order between.
    pieces: Box<[Piece]>,
    /// Whether every character of the operand is one byte of Latin-1, as it
    /// must be to compare with bytes (STIX 2.1 section 9.6.1).
    latin: bool,
}

#[derive(Clone, Debug)]
struct Piece {
    text: Box<str>,
    /// Characters in `text`.
    characters: usize,
    /// Whether `_` is among them.
    wild: bool,
}

impl Like {
    /// From an operand in normal form C.
    pub(super) fn new(operand: &str) -> Self {
        let pieces = operand.split('%').map(|text| Piece {
            text: text.into(),
            characters: text.chars().count(),
            wild: text.contains('_'),
        });
        Self {
            pieces: pieces.collect(),
            latin: operand.chars().all(|c| u32::from(c) < 256),
        }
    }

    /// Whether it may be compared with bytes at all.
    pub(super) const fn is_latin(&self) -> bool {
        self.latin
    }

    /// Whether the whole value is like this. Time is linear in the value's
    /// length; with `_` between two `%`, times that piece's length.
    pub(super) fn matches(&self, value: &str) -> bool {
        let Some((first, others)) = self.pieces.split_first() else {
            return false;
        };
        let Some(mut rest) = first.strip_start(value) else {
            return false;
        };
        let Some((last, middle)) = others.split_last() else {
            return rest.is_empty();
        };
        for piece in middle {
            match piece.find(rest) {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        last.ends(rest)
    }
}

impl Piece {
    /// What follows this at the start of the value.
    fn strip_start<'v>(&self, value: &'v str) -> Option<&'v str> {
        if !self.wild {
            return value.strip_prefix(&*self.text);
        }
        let mut characters = value.chars();
        for wanted in self.text.chars() {
            let c = characters.next()?;
            if wanted != '_' && wanted != c {
                return None;
            }
        }
        Some(characters.as_str())
    }

    /// What follows the first occurrence of this in the value.
    fn find<'v>(&self, value: &'v str) -> Option<&'v str> {
        if !self.wild {
            let at = memmem::find(value.as_bytes(), self.text.as_bytes())?;
            return value.get(at + self.text.len()..);
        }
        value
            .char_indices()
            .find_map(|(at, _)| self.strip_start(value.get(at..)?))
    }

    /// Whether this stands at the end of the value.
    fn ends(&self, value: &str) -> bool {
        if !self.wild {
            return value.ends_with(&*self.text);
        }
        let start = value
            .char_indices()
            .rev()
            .nth(self.characters.saturating_sub(1));
        start
            .and_then(|(at, _)| value.get(at..))
            .and_then(|tail| self.strip_start(tail))
            .is_some_and(str::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_values() {
        for (operand, value, expected) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%", "a\nb", true),
            ("a%", "abc", true),
            ("a%", "bac", false),
            ("%c", "abc", true),
            ("%c", "cb", false),
            ("a%c", "ac", true),
            ("aa%aa", "aaa", false),
            ("a%b%c", "a-b-b-c", true),
            ("%b%b%", "a-b-c", false),
            ("_", "ü", true),
            ("_", "", false),
            ("_", "ab", false),
            ("_", "\n", true),
            ("a_c", "abc", true),
            ("%_b", "ab", true),
            ("%_b", "b", false),
            ("%a_c%", "xabxaxcx", true),
            ("%a_c%", "xabxaxxcx", false),
            ("%__", "ü", false),
            ("%ü_", "aüb", true),
            ("%%", "x", true),
            ("%.example.com", "www.example.com", true),
            ("%.example.com", "example.com", false),
        ] {
            assert_eq!(
                Like::new(operand).matches(value),
                expected,
                "{operand} {value}"
            );
        }
    }

    /// The definition, exponential but plain.
    fn naive(operand: &[char], value: &[char]) -> bool {
        match operand {
            [] => value.is_empty(),
            ['%', rest @ ..] => (0..=value.len()).any(|skip| naive(rest, &value[skip..])),
            [c, rest @ ..] => {
                value.first().is_some_and(|v| *c == '_' || c == v) && naive(rest, &value[1..])
            }
        }
    }

    #[test]
    fn agrees_with_its_definition() {
        let mut seed: u64 = 7;
        let mut text = |letters: &[char], longest: u64| -> Vec<char> {
            let mut draw = |n: u64| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) % n
            };
            let length = draw(longest + 1);
            (0..length)
                .map(|_| letters[draw(letters.len() as u64) as usize])
                .collect()
        };
        let mut matched = 0;
        for _ in 0..20_000 {
            let operand = text(&['a', 'é', '%', '_'], 6);
            let value = text(&['a', 'é', 'b'], 7);
            let expected = naive(&operand, &value);
            matched += usize::from(expected);
            let (operand, value): (String, String) =
                (operand.iter().collect(), value.iter().collect());
            assert_eq!(
                Like::new(&operand).matches(&value),
                expected,
                "{operand} {value}"
            );
        }
        assert!(matched > 1_000, "{matched}");
    }
}
