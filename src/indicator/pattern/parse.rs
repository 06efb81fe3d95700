//! Tokens to a tree, by recursive descent.
//!
//! Observation operators bind in the order AND, OR, FOLLOWEDBY, from tight to
//! loose; inside brackets AND binds tighter than OR (STIX 2.1 sections 9.4, 9.6).

use std::time::Duration;

use super::ast::Comparison;
use super::ast::Literal;
use super::ast::ObjectPath;
use super::ast::Observation;
use super::ast::Operand;
use super::ast::Operator;
use super::ast::Pattern;
use super::ast::Qualifier;
use super::ast::Spec;
use super::ast::Step;
use super::encoding;
use super::error::PatternError;
use super::error::Problem;
use super::hash;
use super::lexer::Kind;
use super::lexer::Lexer;
use super::lexer::Token;
use super::lexer::is_space;
use crate::time::Timestamp;

/// Longest pattern, in bytes: some ten thousand alternatives, a hundred times
/// the longest that is shared in practice.
const MAX_LENGTH: usize = 1 << 20;

/// Deepest nesting of parentheses, of both kinds together: twice what the
/// conformance patterns of OASIS use, and a small part of a thread's stack.
const MAX_NESTING: usize = 128;

/// Most qualifiers in a row on one expression; there are three kinds. Together
/// with [`MAX_NESTING`] it bounds how deep a tree can be.
const MAX_QUALIFIERS: usize = 8;

/// Most steps in one object path; JSON itself is rarely nested half as deep.
const MAX_STEPS: usize = 64;

/// Longest piece of the text that an error repeats, in characters.
const MAX_QUOTED: usize = 40;

impl Pattern {
    /// Reads a pattern as `spec` defines the language.
    pub fn parse(text: &str, spec: Spec) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            return Err(PatternError {
                offset: 0,
                line: 1,
                column: 0,
                problem: Problem::TooLarge {
                    what: "bytes",
                    limit: MAX_LENGTH,
                },
            });
        }
        let mut parser = Parser::new(text, spec);
        parser.check_start()?;
        let expression = parser.observations()?;
        match parser.token.kind {
            Kind::End => Ok(Self { expression }),
            _ => Err(parser.unexpected("AND, OR, FOLLOWEDBY, a qualifier or the end")),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    spec: Spec,
    lexer: Lexer<'t>,
    /// The first token not yet used.
    token: Token,
    /// Parentheses open at `token`.
    nesting: usize,
}

type Parsed<T> = Result<T, PatternError>;

impl<'t> Parser<'t> {
    fn new(text: &'t str, spec: Spec) -> Self {
        let mut lexer = Lexer::new(text, spec);
        let token = lexer.next_token();
        Self {
            text,
            spec,
            lexer,
            token,
            nesting: 0,
        }
    }

    /// A pattern starts with its bracket: no comment stands before it.
    fn check_start(&self) -> Parsed<()> {
        let first = self
            .text
            .char_indices()
            .find(|(_, c)| *c != '(' && !is_space(*c));
        match first {
            Some((_, '[')) => Ok(()),
            Some((offset, _)) => {
                let found = self.quote(offset, self.text.len());
                Err(self.error(offset, unexpected(found, "'[' or '('")))
            }
            None => {
                let found = "the end".to_owned();
                Err(self.error(self.text.len(), unexpected(found, "'[' or '('")))
            }
        }
    }

    /// A whole expression, up to what can't continue it.
    fn observations(&mut self) -> Parsed<Observation> {
        let first = self.alternatives()?;
        if self.token.kind != Kind::FollowedBy {
            return Ok(first);
        }
        let mut sequence = vec![first];
        while self.take(Kind::FollowedBy) {
            sequence.push(self.alternatives()?);
        }
        Ok(Observation::FollowedBy(sequence))
    }

    fn alternatives(&mut self) -> Parsed<Observation> {
        let first = self.conjunction()?;
        if self.token.kind != Kind::Or {
            return Ok(first);
        }
        let mut branches = vec![first];
        while self.take(Kind::Or) {
            branches.push(self.conjunction()?);
        }
        Ok(Observation::Or(branches))
    }

    fn conjunction(&mut self) -> Parsed<Observation> {
        let first = self.observation()?;
        if self.token.kind != Kind::And {
            return Ok(first);
        }
        let mut branches = vec![first];
        while self.take(Kind::And) {
            branches.push(self.observation()?);
        }
        Ok(Observation::And(branches))
    }

    /// `[...]` or `(...)`, with its qualifiers.
    fn observation(&mut self) -> Parsed<Observation> {
        match self.token.kind {
            Kind::OpenBracket => {
                self.advance();
                let comparison = self.comparison()?;
                self.expect(Kind::CloseBracket, "AND, OR or ']'")?;
                self.qualifiers(Observation::Test(comparison), self.spec == Spec::V21)
            }
            Kind::OpenParenthesis => {
                self.open()?;
                let inner = self.observations()?;
                self.close("AND, OR, FOLLOWEDBY, a qualifier or ')'")?;
                self.qualifiers(inner, false)
            }
            _ => Err(self.unexpected("'[' or '('")),
        }
    }

    /// `strict`: the same kind of qualifier may not come twice. It may behind
    /// parentheses, even around one pair of brackets (STIX 2.1 section 9.3).
    fn qualifiers(&mut self, mut expression: Observation, strict: bool) -> Parsed<Observation> {
        let (mut seen, mut count) = ([false; 3], 0);
        loop {
            let start = self.token.start;
            let (place, word) = match self.token.kind {
                Kind::Within => (0, "WITHIN"),
                Kind::Repeats => (1, "REPEATS"),
                Kind::Start => (2, "START"),
                _ => return Ok(expression),
            };
            let qualifier = self.qualifier()?;
            if let Some(seen) = seen.get_mut(place)
                && std::mem::replace(seen, true)
                && strict
            {
                let problem = Problem::DuplicateQualifier { qualifier: word };
                return Err(self.error(start, problem));
            }
            count += 1;
            if count > MAX_QUALIFIERS {
                return Err(self.too_large(start, "qualifiers in a row", MAX_QUALIFIERS));
            }
            expression = Observation::Qualified(Box::new(expression), qualifier);
        }
    }

    /// One qualifier; the token is one of its three keywords.
    fn qualifier(&mut self) -> Parsed<Qualifier> {
        let kind = self.token.kind;
        self.advance();
        match kind {
            Kind::Within => {
                let text = self.token_text();
                if !matches!(self.token.kind, Kind::Integer | Kind::Float) || text.starts_with('-')
                {
                    return Err(self.unexpected("a positive number"));
                }
                let duration = seconds(text);
                self.advance();
                self.expect(Kind::Seconds, "SECONDS")?;
                Ok(Qualifier::Within(duration))
            }
            Kind::Repeats => {
                let text = self.token_text();
                if self.token.kind != Kind::Integer || text.starts_with('-') {
                    return Err(self.unexpected("a positive whole number"));
                }
                let times = text.parse().unwrap_or(u64::MAX);
                self.advance();
                self.expect(Kind::Times, "TIMES")?;
                Ok(Qualifier::Repeats(times))
            }
            _ => {
                let start = self.instant()?;
                self.expect(Kind::Stop, "STOP")?;
                let stop = self.instant()?;
                Ok(Qualifier::StartStop(start, stop))
            }
        }
    }

    fn instant(&mut self) -> Parsed<Timestamp> {
        if self.token.kind != Kind::Timestamp {
            return Err(self.unexpected("a timestamp (t'...')"));
        }
        let instant = timestamp(self.body(2));
        self.advance();
        Ok(instant)
    }

    fn comparison(&mut self) -> Parsed<Comparison> {
        let first = self.comparison_and()?;
        if self.token.kind != Kind::Or {
            return Ok(first);
        }
        let mut branches = vec![first];
        while self.take(Kind::Or) {
            branches.push(self.comparison_and()?);
        }
        Ok(Comparison::Or(branches))
    }

    fn comparison_and(&mut self) -> Parsed<Comparison> {
        let first = self.property_test()?;
        if self.token.kind != Kind::And {
            return Ok(first);
        }
        let mut branches = vec![first];
        while self.take(Kind::And) {
            branches.push(self.property_test()?);
        }
        Ok(Comparison::And(branches))
    }

    fn property_test(&mut self) -> Parsed<Comparison> {
        match self.token.kind {
            Kind::OpenParenthesis => {
                self.open()?;
                let inner = self.comparison()?;
                self.close("AND, OR or ')'")?;
                Ok(inner)
            }
            Kind::Exists => {
                self.advance();
                let path = self.object_path()?;
                Ok(Comparison::Exists {
                    path,
                    negated: false,
                })
            }
            Kind::Not if self.spec == Spec::V21 => {
                self.advance();
                self.expect(Kind::Exists, "EXISTS (NOT else stands behind the path)")?;
                let path = self.object_path()?;
                Ok(Comparison::Exists {
                    path,
                    negated: true,
                })
            }
            _ => self.property(),
        }
    }

    fn property(&mut self) -> Parsed<Comparison> {
        let path = self.object_path()?;
        let negated = self.take(Kind::Not);
        let operator = match self.token.kind {
            Kind::Equal => Operator::Equal,
            Kind::NotEqual => Operator::NotEqual,
            Kind::Less => Operator::Less,
            Kind::LessEqual => Operator::LessEqual,
            Kind::Greater => Operator::Greater,
            Kind::GreaterEqual => Operator::GreaterEqual,
            Kind::In => Operator::In,
            Kind::Like => Operator::Like,
            Kind::Matches => Operator::Matches,
            Kind::IsSubset => Operator::IsSubset,
            Kind::IsSuperset => Operator::IsSuperset,
            _ if negated => return Err(self.unexpected("a comparison operator")),
            _ => return Err(self.unexpected("a step of the path, NOT or a comparison operator")),
        };
        self.advance();
        let start = self.token.start;
        let operand = match operator {
            Operator::Equal | Operator::NotEqual => Operand::One(self.literal()?),
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                if matches!(self.token.kind, Kind::True | Kind::False) {
                    return Err(self.unexpected("a constant that has an order"));
                }
                Operand::One(self.literal()?)
            }
            Operator::In => Operand::Set(self.set()?),
            Operator::Like | Operator::Matches | Operator::IsSubset | Operator::IsSuperset => {
                if self.token.kind != Kind::String {
                    return Err(self.unexpected("a string"));
                }
                Operand::One(self.literal()?)
            }
        };
        if let Some(algorithm) = hash::find_malformed(&path, operator, &operand) {
            return Err(self.error(start, Problem::Hash { algorithm }));
        }
        Ok(Comparison::Property {
            path,
            negated,
            operator,
            operand,
        })
    }

    fn object_path(&mut self) -> Parsed<ObjectPath> {
        if !matches!(self.token.kind, Kind::Word | Kind::HyphenatedWord) {
            return Err(self.unexpected("an object path"));
        }
        let object_type = self.token_text().to_owned();
        self.advance();
        self.expect(Kind::Colon, "':'")?;
        let mut steps = Vec::with_capacity(2);
        steps.push(Step::Key(self.key()?));
        loop {
            let start = self.token.start;
            let step = match self.token.kind {
                Kind::Dot => {
                    self.advance();
                    Step::Key(self.key()?)
                }
                Kind::OpenBracket => {
                    self.advance();
                    let step = self.index()?;
                    self.expect(Kind::CloseBracket, "']'")?;
                    step
                }
                _ => return Ok(ObjectPath { object_type, steps }),
            };
            if steps.len() == MAX_STEPS {
                return Err(self.too_large(start, "steps in a path", MAX_STEPS));
            }
            steps.push(step);
        }
    }

    fn key(&mut self) -> Parsed<String> {
        let key = match self.token.kind {
            Kind::Word => self.token_text().to_owned(),
            Kind::String => unescape(self.body(1)),
            Kind::HyphenatedWord => {
                return Err(self.unexpected("a property name (with a hyphen: in quotes)"));
            }
            _ => return Err(self.unexpected("a property name")),
        };
        self.advance();
        Ok(key)
    }

    fn index(&mut self) -> Parsed<Step> {
        let text = self.token_text();
        let step = match self.token.kind {
            Kind::Asterisk => Step::Any,
            // No list is as long as a number that does not fit.
            Kind::Integer if !text.starts_with('-') => {
                Step::Index(text.parse().unwrap_or(usize::MAX))
            }
            _ => return Err(self.unexpected("'*' or a whole number from 0")),
        };
        self.advance();
        Ok(step)
    }

    fn set(&mut self) -> Parsed<Vec<Literal>> {
        self.expect(Kind::OpenParenthesis, "'('")?;
        let mut literals = Vec::new();
        if self.take(Kind::CloseParenthesis) {
            return Ok(literals);
        }
        loop {
            literals.push(self.literal()?);
            if self.take(Kind::Comma) {
                continue;
            }
            self.expect(Kind::CloseParenthesis, "',' or ')'")?;
            return Ok(literals);
        }
    }

    fn literal(&mut self) -> Parsed<Literal> {
        let literal = match self.token.kind {
            Kind::String => Literal::String(unescape(self.body(1))),
            Kind::Integer => {
                let text = self.token_text();
                match text.parse() {
                    Ok(number) => Literal::Integer(number),
                    Err(_) => Literal::Float(float(text)),
                }
            }
            Kind::Float => Literal::Float(float(self.token_text())),
            Kind::True => Literal::Boolean(true),
            Kind::False => Literal::Boolean(false),
            Kind::Timestamp => Literal::Timestamp(timestamp(self.body(2))),
            // The lexer has checked both forms.
            Kind::Hex => {
                Literal::Binary(encoding::decode_hex(self.body(2).as_bytes()).unwrap_or_default())
            }
            Kind::Binary => {
                let bytes = encoding::decode_base64(self.body(2).as_bytes());
                Literal::Binary(bytes.unwrap_or_default())
            }
            _ => return Err(self.unexpected("a constant")),
        };
        self.advance();
        Ok(literal)
    }

    fn open(&mut self) -> Parsed<()> {
        if self.nesting == MAX_NESTING {
            let what = "parentheses inside each other";
            return Err(self.too_large(self.token.start, what, MAX_NESTING));
        }
        self.nesting += 1;
        self.advance();
        Ok(())
    }

    fn close(&mut self, expected: &'static str) -> Parsed<()> {
        self.expect(Kind::CloseParenthesis, expected)?;
        self.nesting -= 1;
        Ok(())
    }

    fn advance(&mut self) {
        self.token = self.lexer.next_token();
    }

    /// Uses the token up if it is of this kind.
    fn take(&mut self, kind: Kind) -> bool {
        let is = self.token.kind == kind;
        if is {
            self.advance();
        }
        is
    }

    fn expect(&mut self, kind: Kind, expected: &'static str) -> Parsed<()> {
        if self.take(kind) {
            Ok(())
        } else {
            Err(self.unexpected(expected))
        }
    }

    fn token_text(&self) -> &'t str {
        self.text
            .get(self.token.start..self.token.end)
            .unwrap_or_default()
    }

    /// The token without the `prefix` bytes that open it and the quote that ends it.
    fn body(&self, prefix: usize) -> &'t str {
        self.text
            .get(self.token.start + prefix..self.token.end.saturating_sub(1))
            .unwrap_or_default()
    }

    #[cold]
    fn unexpected(&self, expected: &'static str) -> PatternError {
        let found = match self.token.kind {
            Kind::End => "the end".to_owned(),
            Kind::Unknown(what) => what.to_owned(),
            _ => self.quote(self.token.start, self.token.end),
        };
        self.error(self.token.start, unexpected(found, expected))
    }

    #[cold]
    fn too_large(&self, offset: usize, what: &'static str, limit: usize) -> PatternError {
        self.error(offset, Problem::TooLarge { what, limit })
    }

    #[cold]
    fn error(&self, offset: usize, problem: Problem) -> PatternError {
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        PatternError {
            offset,
            line: 1 + before.matches('\n').count(),
            column: before
                .get(line_start..)
                .map_or(0, |line| line.chars().count()),
            problem,
        }
    }

    /// A piece of the text for an error: short, in one line.
    fn quote(&self, start: usize, end: usize) -> String {
        let piece = self.text.get(start..end).unwrap_or_default();
        let mut chars = piece.chars();
        let mut quoted = String::from("`");
        for c in chars.by_ref().take(MAX_QUOTED) {
            if c.is_control() {
                quoted.extend(c.escape_default());
            } else {
                quoted.push(c);
            }
        }
        if chars.next().is_some() {
            quoted.push('…');
        }
        quoted.push('`');
        quoted
    }
}

const fn unexpected(found: String, expected: &'static str) -> Problem {
    Problem::Unexpected { found, expected }
}

/// The text between the quotes of a string constant.
fn unescape(body: &str) -> String {
    if memchr::memchr(b'\\', body.as_bytes()).is_none() {
        return body.to_owned();
    }
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        // The lexer lets a backslash stand only before what it escapes.
        match c {
            '\\' => text.extend(chars.next()),
            _ => text.push(c),
        }
    }
    text
}

/// A number that the lexer has cut, never infinite.
fn float(text: &str) -> f64 {
    text.parse::<f64>()
        .unwrap_or_default()
        .clamp(f64::MIN, f64::MAX)
}

/// A number of seconds, exact to the nanosecond, cut off beyond.
fn seconds(text: &str) -> Duration {
    let text = text.strip_prefix('+').unwrap_or(text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = if whole.is_empty() { "0" } else { whole };
    let nanos = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(9)
        .fold(0, |n: u32, c| n * 10 + u32::from(c.wrapping_sub(b'0')));
    match whole.parse() {
        Ok(whole) => Duration::new(whole, nanos),
        Err(_) => Duration::MAX,
    }
}

/// An instant whose shape the lexer has checked, on a day that may not exist.
fn timestamp(body: &str) -> Timestamp {
    if let Some(instant) = Timestamp::parse_rfc3339(body) {
        return instant;
    }
    let (Some(month), Some(rest)) = (body.get(..8), body.get(10..)) else {
        return Timestamp::MIN;
    };
    ["30", "29", "28"]
        .iter()
        .find_map(|day| Timestamp::parse_rfc3339(&format!("{month}{day}{rest}")))
        .unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(text: &str) -> Comparison {
        match Pattern::parse(text, Spec::V21).unwrap().expression {
            Observation::Test(comparison) => comparison,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_comparison() {
        assert_eq!(
            test("[file:hashes.'SHA-1'[0][*] NOT LIKE 'a\\'b\\\\']"),
            Comparison::Property {
                path: ObjectPath {
                    object_type: "file".to_owned(),
                    steps: vec![
                        Step::Key("hashes".to_owned()),
                        Step::Key("SHA-1".to_owned()),
                        Step::Index(0),
                        Step::Any,
                    ],
                },
                negated: true,
                operator: Operator::Like,
                operand: Operand::One(Literal::String("a'b\\".to_owned())),
            }
        );
    }

    #[test]
    fn reads_constants() {
        for (text, literal) in [
            ("+5", Literal::Integer(5)),
            ("-9223372036854775808", Literal::Integer(i64::MIN)),
            (
                "9223372036854775808",
                Literal::Float(9_223_372_036_854_775_808.0),
            ),
            ("-.5", Literal::Float(-0.5)),
            ("''", Literal::String(String::new())),
            ("true", Literal::Boolean(true)),
            ("h'00ff'", Literal::Binary(vec![0, 255])),
            ("b'AP8='", Literal::Binary(vec![0, 255])),
            (
                "t'1970-01-01T00:00:01.5Z'",
                Literal::Timestamp(Timestamp::from_parts(1, 500_000_000)),
            ),
            (
                "t'1970-02-31T00:00:00Z'",
                Literal::Timestamp(Timestamp::from_parts(58 * 86_400, 0)),
            ),
        ] {
            let Comparison::Property { operand, .. } = test(&format!("[a:b = {text}]")) else {
                panic!("{text}");
            };
            assert_eq!(operand, Operand::One(literal), "{text}");
        }
        let huge = format!("[a:b = {}]", "9".repeat(400));
        let Comparison::Property { operand, .. } = test(&huge) else {
            panic!("{huge}");
        };
        assert_eq!(operand, Operand::One(Literal::Float(f64::MAX)));
    }

    #[test]
    fn binds_operators_by_their_order() {
        let shape = |text: &str| {
            fn shape(observation: &Observation) -> String {
                let join = |name: &str, branches: &[Observation]| {
                    let branches: Vec<_> = branches.iter().map(shape).collect();
                    format!("{name}({})", branches.join(" "))
                };
                match observation {
                    Observation::Test(_) => "t".to_owned(),
                    Observation::And(branches) => join("and", branches),
                    Observation::Or(branches) => join("or", branches),
                    Observation::FollowedBy(branches) => join("then", branches),
                    Observation::Qualified(inner, _) => format!("{}*", shape(inner)),
                }
            }
            shape(&Pattern::parse(text, Spec::V21).unwrap().expression)
        };
        let t = "[a:b = 1]";
        for (text, expected) in [
            ("x OR x AND x FOLLOWEDBY x", "then(or(t and(t t)) t)"),
            ("x AND x WITHIN 1 SECONDS", "and(t t*)"),
            ("(x AND x) WITHIN 1 SECONDS", "and(t t)*"),
            ("x AND x AND (x AND x)", "and(t t and(t t))"),
            ("x FOLLOWEDBY (x OR x) REPEATS 2 TIMES", "then(t or(t t)*)"),
        ] {
            assert_eq!(shape(&text.replace('x', t)), expected, "{text}");
        }
    }

    #[test]
    fn says_where_and_what() {
        for (text, spec, message) in [
            (
                "",
                Spec::V21,
                "line 1, column 0: found the end, expected '[' or '('",
            ),
            (
                "/* c */ [a:b = 1]",
                Spec::V21,
                "line 1, column 0: found `/* c */ [a:b = 1]`, expected '[' or '('",
            ),
            (
                "[a:b = ]",
                Spec::V21,
                "line 1, column 7: found `]`, expected a constant",
            ),
            (
                "[a:'ü'\n\tAND = 1]",
                Spec::V21,
                "line 2, column 1: found `AND`, expected a step of the path, NOT or a comparison operator",
            ),
            (
                "[a:b = 'C:\\Windows']",
                Spec::V20,
                "line 1, column 7: found a string with a lone backslash (write it twice), expected a constant",
            ),
            (
                "[some-type:needs-quotes = 1]",
                Spec::V21,
                "line 1, column 11: found `needs-quotes`, expected a property name (with a hyphen: in quotes)",
            ),
            (
                "[a:b = 1] REPEATS 2 TIMES REPEATS 3 TIMES",
                Spec::V21,
                "line 1, column 26: second REPEATS on the same observation",
            ),
            (
                "[a:hashes.MD5 = 'f00']",
                Spec::V21,
                "line 1, column 16: a constant is no MD5 hash",
            ),
            (
                "[a:b = 1] START '2024-01-01T00:00:00Z' STOP '2024-01-02T00:00:00Z'",
                Spec::V20,
                "line 1, column 16: found `'2024-01-01T00:00:00Z'`, expected a timestamp (t'...')",
            ),
            (
                "[a:b = 1",
                Spec::V21,
                "line 1, column 8: found the end, expected AND, OR or ']'",
            ),
        ] {
            let error = Pattern::parse(text, spec).unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
        }
    }

    #[test]
    fn bounds_what_it_takes() {
        let nested = |n: usize| format!("{}[a:b = 1]{}", "(".repeat(n), ")".repeat(n));
        assert!(Pattern::parse(&nested(MAX_NESTING), Spec::V21).is_ok());
        assert!(Pattern::parse(&nested(MAX_NESTING + 1), Spec::V21).is_err());
        assert!(Pattern::parse(&nested(20_000), Spec::V21).is_err());
        let inside = |n: usize| format!("[{}a:b = 1{}]", "(".repeat(n), ")".repeat(n));
        assert!(Pattern::parse(&inside(MAX_NESTING), Spec::V21).is_ok());
        assert!(Pattern::parse(&inside(20_000), Spec::V21).is_err());
        assert!(Pattern::parse(&"(".repeat(20_000), Spec::V21).is_err());
        let many = vec!["[domain-name:value = 'some-name.example.com']"; 10_000].join(" OR ");
        let pattern = Pattern::parse(&many, Spec::V21).unwrap();
        assert!(matches!(&pattern.expression, Observation::Or(b) if b.len() == 10_000));
        let chain = |n: usize| format!("([a:b = 1]){}", " WITHIN 1 SECONDS".repeat(n));
        assert!(Pattern::parse(&chain(MAX_QUALIFIERS), Spec::V20).is_ok());
        assert!(Pattern::parse(&chain(10_000), Spec::V20).is_err());
        let path = |n: usize| format!("[a:b{} = 1]", "[0]".repeat(n));
        assert!(Pattern::parse(&path(MAX_STEPS - 1), Spec::V20).is_ok());
        assert!(Pattern::parse(&path(MAX_STEPS), Spec::V20).is_err());
        let long = format!("[a:b = '{}']", "x".repeat(MAX_LENGTH));
        assert!(Pattern::parse(&long, Spec::V20).is_err());
    }
}
