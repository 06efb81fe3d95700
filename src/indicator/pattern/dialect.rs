//! From the regular expressions that patterns hold to those that we run.
//!
//! STIX asks for PCRE (STIX 2.1 section 9.6.1). What runs here takes linear
//! time, so back-references and look-around are refused where it refuses them;
//! the rest differs in a few notations, which are rewritten.

/// The same expression in the notation of the `regex` crate.
pub(super) fn translate(expression: &str) -> String {
    let mut out = String::with_capacity(expression.len() + 8);
    let mut rest = expression;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        rest = match c {
            '\\' => push_escape(&mut out, behind, in_class),
            '[' if in_class => {
                // Only a POSIX class nests, as in `[[:digit:]_]`.
                match behind.strip_prefix(':').and_then(|tail| tail.find(":]")) {
                    Some(length) => push_piece(&mut out, rest, length + 4),
                    None => push_literal(&mut out, '[', behind),
                }
            }
            '[' => {
                in_class = true;
                out.push('[');
                let behind = match behind.strip_prefix('^') {
                    Some(behind) => {
                        out.push('^');
                        behind
                    }
                    None => behind,
                };
                // Directly behind the bracket it stands for itself.
                match behind.strip_prefix(']') {
                    Some(behind) => push_literal(&mut out, ']', behind),
                    None => behind,
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
                behind
            }
            // Set operations that PCRE does not have.
            '&' | '~' if in_class => push_literal(&mut out, c, behind),
            // Of two hyphens the first spans a range, unless it is its lower end.
            '-' if in_class && behind.starts_with('-') && !out.ends_with('[') => {
                out.push_str(r"-\-");
                behind.get(1..).unwrap_or_default()
            }
            '-' if in_class && behind.starts_with('-') => push_literal(&mut out, c, behind),
            '{' if !in_class && !is_repetition(behind) => push_literal(&mut out, c, behind),
            _ => {
                out.push(c);
                behind
            }
        };
    }
    out
}

/// The same expression for bytes: what lies beyond ASCII names bytes of Latin-1.
/// `None` when it names a character that no byte is.
pub(super) fn translate_for_bytes(expression: &str) -> Option<String> {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(expression.len() + 8);
    for c in translate(expression).chars() {
        match u32::from(c) {
            0..0x80 => out.push(c),
            byte @ 0x80..0x100 => write!(out, "\\x{byte:02x}").ok()?,
            _ => return None,
        }
    }
    Some(out)
}

/// Writes an escape; `behind` is what follows its backslash. Returns what follows it.
fn push_escape<'e>(out: &mut String, behind: &'e str, in_class: bool) -> &'e str {
    let Some(c) = behind.chars().next() else {
        out.push('\\');
        return behind;
    };
    let tail = behind.get(c.len_utf8()..).unwrap_or_default();
    match c {
        // Ends of words elsewhere, themselves in PCRE.
        '<' | '>' => out.push(c),
        'Z' if !in_class => out.push_str(r"\z"),
        'b' if in_class => out.push_str(r"\x08"),
        'e' => out.push_str(r"\x1b"),
        'h' if in_class => out.push_str(r" \t"),
        'h' => out.push_str(r"[ \t]"),
        '/' | '"' | '\'' | '@' | ',' | ';' | ':' | '=' | '!' | '%' | '`' | '_' => out.push(c),
        'x' | 'p' | 'P' | 'u' | 'k' | 'g' => {
            out.push('\\');
            out.push(c);
            if tail.starts_with('{')
                && let Some(length) = tail.find('}')
            {
                return push_piece(out, tail, length + 1);
            }
        }
        _ => {
            out.push('\\');
            out.push(c);
        }
    }
    tail
}

/// Writes `length` bytes of `rest` as they are and returns what follows.
fn push_piece<'e>(out: &mut String, rest: &'e str, length: usize) -> &'e str {
    let (piece, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
    out.push_str(piece);
    behind
}

fn push_literal<'e>(out: &mut String, c: char, behind: &'e str) -> &'e str {
    out.push('\\');
    out.push(c);
    behind
}

/// Whether `{` and what follows it repeat something; else PCRE takes the brace as it is.
fn is_repetition(behind: &str) -> bool {
    let Some((inside, _)) = behind.split_once('}') else {
        return false;
    };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty()
        && least.bytes().all(|c| c.is_ascii_digit())
        && most.bytes().all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_what_differs() {
        for (expression, matching, other) in [
            (r"^https?:\/\/[^/]+\/x\-y$", "http://a/x-y", "http:/a/x-y"),
            (r"a{b", "a{b", "ab"),
            (r"^a{2}$", "aa", "a{2}"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^\x{61}\p{L}$", "ab", "a1"),
            (r"^[[]$", "[", "]"),
            (r"^[]a]$", "]", "["),
            (r"^[^]]$", "a", "]"),
            (r"^[[:digit:]_]+$", "1_2", ":"),
            (r"^[a&&b]+$", "a&b", "c"),
            (r"^[a~~b]+$", "a~b", "c"),
            (r"^[+--]+$", "+,-", "a"),
            (r"^[--/]+$", "-./", "+"),
            (r"^\<a\>$", "<a>", "a"),
            (r"a\Z", "ba", "ab"),
            (r"^[\b]$", "\x08", "b"),
            (r"^[IMPORTANT] Please", "I Please", "[IMPORTANT] Please"),
            (r"^a\hb$", "a\tb", "ab"),
            (r"^\_\@$", "_@", r"\_\@"),
        ] {
            let translated = translate(expression);
            let regex = regex::Regex::new(&translated)
                .unwrap_or_else(|error| panic!("{expression} {translated} {error}"));
            assert!(
                regex.is_match(matching),
                "{expression} {translated} {matching}"
            );
            assert!(!regex.is_match(other), "{expression} {translated} {other}");
        }
    }

    #[test]
    fn takes_latin_for_bytes() {
        assert_eq!(
            translate_for_bytes("a[é]\\xff").as_deref(),
            Some("a[\\xe9]\\xff")
        );
        assert_eq!(translate_for_bytes("ă"), None);
    }

    #[test]
    fn survives_what_is_no_expression() {
        for expression in ["\\", "[", "[[:", "[^", "\\x{", "a{", "[\\", "é\\é", "[]"] {
            let _ = regex::Regex::new(&translate(expression));
        }
    }
}
