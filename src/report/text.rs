//! Text for terminals: harmless, short, aligned.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text from traffic or from an exchange made harmless for a terminal: control characters,
/// escape sequences, and characters that are invisible or turn the direction of writing are
/// written as `\u{..}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hazardous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hazardous(c) {
            // writing to a String cannot fail
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a character can end a line, command a terminal, hide, or reorder its neighbours.
pub fn is_hazardous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                        // soft hyphen: invisible
            | '\u{61c}'                     // Arabic letter mark
            | '\u{180b}'..='\u{180f}'       // Mongolian variation selectors, vowel separator
            | '\u{200b}'..='\u{200f}'       // zero width, directional marks
            | '\u{2028}'..='\u{202e}'       // line and paragraph separators, embeddings
            | '\u{2060}'..='\u{206f}'       // joiners, invisible operators, isolates
            | '\u{fe00}'..='\u{fe0f}'       // variation selectors
            | '\u{feff}'                    // byte order mark
            | '\u{fff9}'..='\u{fffb}'       // interlinear annotation
            | '\u{e0000}'..='\u{e0fff}'     // tags, variation selectors
        )
}

/// Columns that harmless text takes on a terminal. An estimate: East Asian wide characters and
/// pictographs take two, combining marks none.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

fn columns_of(c: char) -> usize {
    match c {
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{20d0}'..='\u{20ff}' => 0,
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f000}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// Harmless text in at most `width` columns: what is longer loses its middle, since names are
/// told apart at their ends.
pub(super) fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    if columns(text) <= width {
        return Cow::Borrowed(text);
    }
    let room = width.saturating_sub(1);
    // the end tells more than the beginning
    let head = fitting(text.chars(), room / 2);
    let tail: Vec<char> = fitting(text.chars().rev(), room - room / 2).collect();
    let mut out: String = head.collect();
    out.push('…');
    out.extend(tail.iter().rev());
    Cow::Owned(out)
}

/// As many characters from the front as fit.
fn fitting(chars: impl Iterator<Item = char>, room: usize) -> impl Iterator<Item = char> {
    chars.scan(0, move |taken, c| {
        *taken += columns_of(c);
        (*taken <= room).then_some(c)
    })
}

/// A number in groups of three digits: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun: `1 packet`, `2 packets`, `3 matches`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = match noun {
        _ if number == 1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{plural}", grouped(number))
}

/// A length of content with a unit that suits it: `512 B`, `1.4 MB`.
pub(super) fn sized(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in UNITS {
        // 999.95 and more would be written as 1000.0
        if value < 999.95 {
            break;
        }
        value /= 1_000.0;
        unit = larger;
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_text_harmless() {
        for (text, harmless) in [
            ("c2.example.com/a?b=\\x", "c2.example.com/a?b=\\x"),
            ("bücher.例え 😀", "bücher.例え 😀"),
            (
                "\u{1b}[2J\u{1b}]0;owned\u{7}",
                "\\u{1b}[2J\\u{1b}]0;owned\\u{7}",
            ),
            ("a\r\nb\tc\0\u{7f}", "a\\u{d}\\u{a}b\\u{9}c\\u{0}\\u{7f}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("evil\u{202e}gnp.exe", "evil\\u{202e}gnp.exe"),
            (
                "a\u{200b}b\u{2066}\u{feff}\u{2028}",
                "a\\u{200b}b\\u{2066}\\u{feff}\\u{2028}",
            ),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(printable(text), harmless);
        }
        assert!(matches!(printable("a.example"), Cow::Borrowed(_)));
        let all: String = (0..=0x10ffff).filter_map(char::from_u32).collect();
        assert!(!printable(&all).chars().any(is_hazardous));
    }

    #[test]
    fn shortens_in_the_middle() {
        for (text, width, short) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "ab…efg"),
            ("abcdefg", 1, "…"),
            ("abcdefg", 0, "…"),
            ("例え例え例え", 7, "例…え"),
            ("", 0, ""),
        ] {
            assert_eq!(shorten(text, width), short, "{text} {width}");
            assert!(columns(&shorten(text, width)) <= width.max(1));
        }
    }

    #[test]
    fn writes_numbers_for_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "match"), "1 match");
        assert_eq!(counted(2_000, "match"), "2,000 matches");
        assert_eq!(counted(0, "packet"), "0 packets");
        for (bytes, text) in [
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_999, "1.0 MB"),
            (31_400_000, "31.4 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(sized(bytes), text);
        }
    }
}
