//! Text to tokens, as the grammar of OASIS cuts them: the longest wins, and of
//! two equally long ones a keyword.

use super::ast::Spec;

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Byte offset of its first byte.
    pub(super) start: usize,
    /// Byte offset behind its last byte.
    pub(super) end: usize,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Float,
    /// `h'...'`, an even number of hexadecimal digits.
    Hex,
    /// `b'...'`, padded base64.
    Binary,
    /// `'...'`, escapes not yet resolved.
    String,
    True,
    False,
    /// `t'...'`, of the right shape.
    Timestamp,
    And,
    Or,
    Not,
    FollowedBy,
    Like,
    Matches,
    IsSuperset,
    IsSubset,
    Exists,
    In,
    Start,
    Stop,
    Seconds,
    Within,
    Repeats,
    Times,
    /// LAST is reserved and stands nowhere.
    Last,
    /// An identifier that may name a type or a property.
    Word,
    /// One that may name a type only.
    HyphenatedWord,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Colon,
    Dot,
    Comma,
    OpenParenthesis,
    CloseParenthesis,
    OpenBracket,
    CloseBracket,
    Asterisk,
    End,
    /// What is no token, as a noun phrase.
    Unknown(&'static str),
}

/// Cuts tokens off a text.
pub(super) struct Lexer<'t> {
    text: &'t str,
    /// Where the next token, or what is skipped before it, starts.
    /// Invariant: a character boundary, `<= text.len()`.
    offset: usize,
    spec: Spec,
}

impl<'t> Lexer<'t> {
    pub(super) const fn new(text: &'t str, spec: Spec) -> Self {
        Self {
            text,
            offset: 0,
            spec,
        }
    }

    /// The next token; at the end, `End` for ever.
    pub(super) fn next_token(&mut self) -> Token {
        self.skip();
        let start = self.offset;
        let rest = self.rest();
        let (kind, length) = match rest.first() {
            None => (Kind::End, 0),
            Some(c) => self.cut(*c, rest),
        };
        self.offset = start + length;
        Token {
            kind,
            start,
            end: self.offset,
        }
    }

    fn rest(&self) -> &'t [u8] {
        self.text.as_bytes().get(self.offset..).unwrap_or_default()
    }

    /// Moves over white space and comments. An unclosed comment is none.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let length = match rest {
                [c, ..] if c.is_ascii() && is_space(char::from(*c)) => 1,
                [b'/', b'/', ..] => rest
                    .iter()
                    .position(|c| matches!(c, b'\r' | b'\n'))
                    .unwrap_or(rest.len()),
                [b'/', b'*', comment @ ..] => match memchr::memmem::find(comment, b"*/") {
                    Some(at) => at + 4,
                    None => return,
                },
                [c, ..] if !c.is_ascii() => match self.text.get(self.offset..) {
                    Some(text) => match text.chars().next() {
                        Some(c) if is_space(c) => c.len_utf8(),
                        _ => return,
                    },
                    None => return,
                },
                _ => return,
            };
            self.offset += length;
        }
    }

    /// The kind and length in bytes of the token at the start of `rest`, whose
    /// first byte is `first`.
    fn cut(&self, first: u8, rest: &[u8]) -> (Kind, usize) {
        let second = rest.get(1).copied().unwrap_or(0);
        match first {
            b'[' => (Kind::OpenBracket, 1),
            b']' => (Kind::CloseBracket, 1),
            b'(' => (Kind::OpenParenthesis, 1),
            b')' => (Kind::CloseParenthesis, 1),
            b':' => (Kind::Colon, 1),
            b',' => (Kind::Comma, 1),
            b'*' => (Kind::Asterisk, 1),
            b'=' if second == b'=' => (Kind::Equal, 2),
            b'=' => (Kind::Equal, 1),
            b'!' if second == b'=' => (Kind::NotEqual, 2),
            b'<' if second == b'>' => (Kind::NotEqual, 2),
            b'<' if second == b'=' => (Kind::LessEqual, 2),
            b'<' => (Kind::Less, 1),
            b'>' if second == b'=' => (Kind::GreaterEqual, 2),
            b'>' => (Kind::Greater, 1),
            b'\'' => cut_string(rest),
            b'h' | b'b' | b't' if second == b'\'' => cut_prefixed(first, rest),
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.cut_word(rest),
            b'0'..=b'9' | b'+' | b'-' | b'.' => cut_number(rest),
            _ => {
                let length = self
                    .text
                    .get(self.offset..)
                    .and_then(|text| text.chars().next())
                    .map_or(1, char::len_utf8);
                (Kind::Unknown("a character that means nothing here"), length)
            }
        }
    }

    fn cut_word(&self, rest: &[u8]) -> (Kind, usize) {
        let mut kind = Kind::Word;
        let mut length = 0;
        for c in rest {
            match c {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => {}
                b'-' => kind = Kind::HyphenatedWord,
                _ => break,
            }
            length += 1;
        }
        if kind == Kind::Word
            && let Some(keyword) = rest.get(..length).and_then(keyword)
            && !(keyword == Kind::Exists && self.spec == Spec::V20)
        {
            kind = keyword;
        }
        (kind, length)
    }
}

/// Whether a key can stand in a path without quotes, in both editions.
pub(super) fn is_plain_key(key: &str) -> bool {
    let bytes = key.as_bytes();
    bytes
        .first()
        .is_some_and(|c| c.is_ascii_alphabetic() || *c == b'_')
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || *c == b'_')
        && keyword(bytes).is_none()
}

/// Whether the grammar skips this character between tokens.
pub(super) const fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t'..='\r'
            | '\u{85}'
            | '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
    )
}

/// Keywords are written in exactly this case.
fn keyword(word: &[u8]) -> Option<Kind> {
    Some(match word {
        b"AND" => Kind::And,
        b"OR" => Kind::Or,
        b"NOT" => Kind::Not,
        b"FOLLOWEDBY" => Kind::FollowedBy,
        b"LIKE" => Kind::Like,
        b"MATCHES" => Kind::Matches,
        b"ISSUPERSET" => Kind::IsSuperset,
        b"ISSUBSET" => Kind::IsSubset,
        b"EXISTS" => Kind::Exists,
        b"LAST" => Kind::Last,
        b"IN" => Kind::In,
        b"START" => Kind::Start,
        b"STOP" => Kind::Stop,
        b"SECONDS" => Kind::Seconds,
        b"true" => Kind::True,
        b"false" => Kind::False,
        b"WITHIN" => Kind::Within,
        b"REPEATS" => Kind::Repeats,
        b"TIMES" => Kind::Times,
        _ => return None,
    })
}

/// A string constant; a backslash stands before a quote or a backslash only.
fn cut_string(rest: &[u8]) -> (Kind, usize) {
    let mut at = 1;
    loop {
        let tail = rest.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'\'', b'\\', tail) else {
            return (Kind::Unknown("a string that does not end"), 1);
        };
        at += found;
        match (rest.get(at), rest.get(at + 1)) {
            (Some(b'\''), _) => return (Kind::String, at + 1),
            (_, Some(b'\'' | b'\\')) => at += 2,
            _ => {
                let what = "a string with a lone backslash (write it twice)";
                return (Kind::Unknown(what), 1);
            }
        }
    }
}

/// A binary or timestamp constant; `rest` starts with a letter and a quote.
fn cut_prefixed(prefix: u8, rest: &[u8]) -> (Kind, usize) {
    let body = rest.get(2..).unwrap_or_default();
    let Some(length) = memchr::memchr(b'\'', body) else {
        return (Kind::Unknown("a constant that does not end"), 2);
    };
    let body = body.get(..length).unwrap_or_default();
    let kind = match prefix {
        b'h' if body.len().is_multiple_of(2) && body.iter().all(u8::is_ascii_hexdigit) => Kind::Hex,
        b'h' => Kind::Unknown("a malformed hexadecimal constant"),
        b'b' if is_base64(body) => Kind::Binary,
        b'b' => Kind::Unknown("a malformed base64 constant"),
        _ if is_timestamp(body) => Kind::Timestamp,
        _ => Kind::Unknown("a malformed timestamp (write t'2024-01-31T23:59:59Z')"),
    };
    (kind, length + 3)
}

/// At least one group of four; only the last may be padded.
fn is_base64(body: &[u8]) -> bool {
    let padding = body.iter().rev().take_while(|c| **c == b'=').count();
    !body.is_empty()
        && body.len().is_multiple_of(4)
        && padding <= 2
        && body
            .iter()
            .take(body.len() - padding)
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/'))
}

/// `YYYY-MM-DDThh:mm:ss[.f]Z`, capitals only; 31 days in every month, 60 seconds allowed.
fn is_timestamp(body: &[u8]) -> bool {
    let [
        y0,
        y1,
        y2,
        y3,
        b'-',
        m0,
        m1,
        b'-',
        d0,
        d1,
        b'T',
        h0,
        h1,
        b':',
        n0,
        n1,
        b':',
        s0,
        s1,
        rest @ ..,
    ] = body
    else {
        return false;
    };
    let digits = [y0, y1, y2, y3, m0, m1, d0, d1, h0, h1, n0, n1, s0, s1];
    if !digits.iter().all(|c| c.is_ascii_digit()) {
        return false;
    }
    let fraction = match rest {
        [b'Z'] => true,
        [b'.', fraction @ .., b'Z'] => {
            !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    // Two digits compare as text.
    let within = |low: &[u8; 2], a: &u8, b: &u8, high: &[u8; 2]| {
        let pair = [*a, *b];
        *low <= pair && pair <= *high
    };
    fraction
        && within(b"01", m0, m1, b"12")
        && within(b"01", d0, d1, b"31")
        && within(b"00", h0, h1, b"23")
        && within(b"00", n0, n1, b"59")
        && within(b"00", s0, s1, b"60")
}

/// A number, or the lone sign or point that does not start one.
fn cut_number(rest: &[u8]) -> (Kind, usize) {
    let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
    let digits = count_digits(rest, sign);
    let point = sign + digits;
    if rest.get(point) == Some(&b'.') {
        let fraction = count_digits(rest, point + 1);
        if fraction > 0 {
            return (Kind::Float, point + 1 + fraction);
        }
    }
    match (digits, rest.get(sign)) {
        (0, Some(b'.')) if sign == 0 => (Kind::Dot, 1),
        (0, _) => (Kind::Unknown("a sign without a number"), 1),
        // Whole numbers have no leading zeros: what follows the zero is another token.
        (_, Some(b'0')) => (Kind::Integer, sign + 1),
        _ => (Kind::Integer, point),
    }
}

fn count_digits(rest: &[u8], from: usize) -> usize {
    rest.iter()
        .skip(from)
        .take_while(|c| c.is_ascii_digit())
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str, spec: Spec) -> Vec<(Kind, &str)> {
        let mut lexer = Lexer::new(text, spec);
        let mut kinds = Vec::new();
        loop {
            let token = lexer.next_token();
            if token.kind == Kind::End {
                return kinds;
            }
            kinds.push((token.kind, &text[token.start..token.end]));
        }
    }

    #[test]
    fn cuts_the_longest_token() {
        for (text, expected) in [
            ("05", &[(Kind::Integer, "0"), (Kind::Integer, "5")][..]),
            ("05.5", &[(Kind::Float, "05.5")]),
            ("-.5", &[(Kind::Float, "-.5")]),
            ("5.", &[(Kind::Integer, "5"), (Kind::Dot, ".")]),
            ("1.2.3", &[(Kind::Float, "1.2"), (Kind::Float, ".3")]),
            ("AND-x", &[(Kind::HyphenatedWord, "AND-x")]),
            ("ANDx", &[(Kind::Word, "ANDx")]),
            ("and", &[(Kind::Word, "and")]),
            ("LIKE'x'", &[(Kind::Like, "LIKE"), (Kind::String, "'x'")]),
            (
                "'a\\'b' 'c'",
                &[(Kind::String, "'a\\'b'"), (Kind::String, "'c'")],
            ),
            ("'\\\\'", &[(Kind::String, "'\\\\'")]),
            ("h''", &[(Kind::Hex, "h''")]),
            ("b'AQI='", &[(Kind::Binary, "b'AQI='")]),
            (
                "<><=<",
                &[
                    (Kind::NotEqual, "<>"),
                    (Kind::LessEqual, "<="),
                    (Kind::Less, "<"),
                ],
            ),
            (
                "/* a */]// ]\n[",
                &[(Kind::CloseBracket, "]"), (Kind::OpenBracket, "[")],
            ),
            ("\u{a0}\u{3000}x\u{b}", &[(Kind::Word, "x")]),
        ] {
            assert_eq!(kinds(text, Spec::V21), expected, "{text}");
        }
    }

    #[test]
    fn knows_exists_in_one_edition_only() {
        assert_eq!(kinds("EXISTS", Spec::V20), [(Kind::Word, "EXISTS")]);
        assert_eq!(kinds("EXISTS", Spec::V21), [(Kind::Exists, "EXISTS")]);
    }

    #[test]
    fn refuses_what_is_no_token() {
        for text in [
            "'open",
            "'a\\n'",
            "'a\\",
            "h'0'",
            "h'0g'",
            "b''",
            "b'AQI'",
            "b'===='",
            "t'open",
            "t'2024-13-01T12:00:00Z'",
            "t'2024-01-32T12:00:00Z'",
            "t'2024-01-01T24:00:00Z'",
            "t'2024-01-01T00:60:00Z'",
            "t'2024-01-01T00:00:61Z'",
            "t'2024-01-01T00:00:00.Z'",
            "t'2024-01-01t00:00:00Z'",
            "+",
            "#",
            "/* open",
            "\u{180e}",
        ] {
            let kinds = kinds(text, Spec::V21);
            assert!(matches!(kinds[0].0, Kind::Unknown(_)), "{text}: {kinds:?}");
        }
    }
}
