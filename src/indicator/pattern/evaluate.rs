//! One comparison expression against one object.
//!
//! Whatever the object is made of, it answers through [`ObjectView`]; the test
//! itself allocates only to normalise text beyond ASCII.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use unicode_normalization::IsNormalized;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::is_nfc_quick;

use super::ast::Comparison;
use super::ast::Literal;
use super::ast::ObjectPath;
use super::ast::Operand;
use super::ast::Operator;
use super::ast::Step;
use super::compare::Comparability;
use super::compare::Value;
use super::compare::compare;
use super::compare::compare_latin;
use super::compare::equals;
use super::dialect;
use super::like::Like;
use crate::time::Timestamp;

/// An object that patterns can ask.
pub trait ObjectView {
    /// Its type, as STIX names it.
    fn object_type(&self) -> &str;

    /// Calls `visit` for every value that the steps reach, never where there is none.
    ///
    /// A list is one [`Value::Structure`] unless `[*]` or an index opens it; a
    /// property that refers to another object (`_ref`) leads into that object.
    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>));
}

/// A comparison expression made ready.
#[derive(Clone, Debug)]
pub struct Test {
    node: Node,
}

/// Why a comparison can't be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestError {
    /// The path whose comparison it is.
    pub path: String,
    /// What is wrong with its constant.
    pub problem: TestProblem,
}

/// What is wrong with a constant that the grammar takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestProblem {
    /// A regular expression that we can't run: malformed, or with look-around or
    /// back-references, which can take exponential time.
    Expression {
        /// As the expression compiler says it, in one line.
        reason: String,
    },
    /// A regular expression whose program would be larger than this many bytes.
    ExpressionTooLarge(usize),
    /// A LIKE operand longer than this many bytes.
    LikeTooLong(usize),
    /// The constant of ISSUBSET or ISSUPERSET is neither address nor network.
    Address(String),
    /// Operator and operand do not belong together; no parsed pattern is like that.
    Operand,
}

impl fmt::Display for TestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        match &self.problem {
            TestProblem::Expression { reason } => {
                write!(f, "unsupported regular expression: {reason}")
            }
            TestProblem::ExpressionTooLarge(limit) => {
                write!(f, "regular expression needs more than {limit} bytes")
            }
            TestProblem::LikeTooLong(limit) => {
                write!(f, "operand of LIKE is longer than {limit} bytes")
            }
            TestProblem::Address(text) => write!(f, "no address or network: {text:?}"),
            TestProblem::Operand => f.write_str("operand does not fit its operator"),
        }
    }
}

impl std::error::Error for TestError {}

/// Largest compiled regular expression, and largest table that matching may grow
/// for it, in bytes: an expression of a few hundred characters over all of Unicode
/// fits, and one of nested repetitions does not.
const EXPRESSION_SIZE: usize = 1 << 20;

/// Longest LIKE operand, in bytes; bounds the product with a value's length. No
/// URL that servers accept is longer.
const LIKE_LENGTH: usize = 8 << 10;

impl Test {
    /// Compiles regular expressions, networks and sets.
    pub fn new(comparison: &Comparison) -> Result<Self, TestError> {
        Ok(Self {
            node: Node::new(comparison)?,
        })
    }

    /// Whether the comparison is true of this one object.
    pub fn matches(&self, object: &dyn ObjectView) -> bool {
        self.node.matches(object)
    }
}

#[derive(Clone, Debug)]
enum Node {
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Property {
        path: ObjectPath,
        negated: bool,
        predicate: Predicate,
    },
    Exists {
        path: ObjectPath,
        negated: bool,
    },
}

impl Node {
    fn new(comparison: &Comparison) -> Result<Self, TestError> {
        let all = |branches: &[Comparison]| -> Result<_, TestError> {
            branches.iter().map(Self::new).collect()
        };
        Ok(match comparison {
            Comparison::And(branches) => Self::All(all(branches)?),
            Comparison::Or(branches) => Self::Any(all(branches)?),
            Comparison::Property {
                path,
                negated,
                operator,
                operand,
            } => Self::Property {
                path: path.clone(),
                negated: *negated,
                predicate: Predicate::new(path, *operator, operand).map_err(|problem| {
                    TestError {
                        path: path.to_string(),
                        problem,
                    }
                })?,
            },
            Comparison::Exists { path, negated } => Self::Exists {
                path: path.clone(),
                negated: *negated,
            },
        })
    }

    fn matches(&self, object: &dyn ObjectView) -> bool {
        match self {
            Self::All(branches) => branches.iter().all(|branch| branch.matches(object)),
            Self::Any(branches) => branches.iter().any(|branch| branch.matches(object)),
            Self::Property {
                path,
                negated,
                predicate,
            } => {
                // An absent property is never visited: every test of it is
                // false, NOT and != among them (STIX 2.1 section 9.6.1).
                let mut found = false;
                object.object_type() == path.object_type && {
                    object.resolve(&path.steps, &mut |value| {
                        found = found || predicate.holds(value, *negated);
                    });
                    found
                }
            }
            Self::Exists { path, negated } => {
                let mut found = false;
                object.object_type() == path.object_type && {
                    object.resolve(&path.steps, &mut |_| found = true);
                    found != *negated
                }
            }
        }
    }
}

/// What one value must be like.
#[derive(Clone, Debug)]
enum Predicate {
    Equal(Constant),
    NotEqual(Constant),
    Order(Operator, Literal),
    In(Set),
    Like(Like),
    Matches {
        text: regex::Regex,
        /// For the values of binary properties; `None` where the path names none,
        /// or where the expression holds a character that is no byte.
        bytes: Option<regex::bytes::Regex>,
    },
    Subset(IpNet),
    Superset(IpNet),
}

/// What a value may equal.
#[derive(Clone, Debug)]
enum Constant {
    Literal(Literal),
    /// A network where addresses are compared: equals what lies in it.
    Network(IpNet),
}

/// What IN looks through.
#[derive(Clone, Debug)]
struct Set {
    /// Sorted.
    strings: Box<[Box<str>]>,
    others: Box<[Constant]>,
    /// Whether strings must be looked for among the bytes too.
    latin: bool,
}

impl Predicate {
    fn new(path: &ObjectPath, operator: Operator, operand: &Operand) -> Result<Self, TestProblem> {
        Ok(match (operator, operand) {
            (Operator::Equal, Operand::One(literal)) => Self::Equal(Constant::new(path, literal)),
            (Operator::NotEqual, Operand::One(literal)) => {
                Self::NotEqual(Constant::new(path, literal))
            }
            (
                Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual,
                Operand::One(literal),
            ) => Self::Order(operator, literal.clone()),
            (Operator::In, Operand::Set(literals)) => Self::In(Set::new(path, literals)),
            (Operator::Like, Operand::One(Literal::String(operand))) => {
                if operand.len() > LIKE_LENGTH {
                    return Err(TestProblem::LikeTooLong(LIKE_LENGTH));
                }
                Self::Like(Like::new(&normalize(operand)))
            }
            (Operator::Matches, Operand::One(Literal::String(expression))) => {
                let expression = normalize(expression);
                let binary =
                    is_binary_path(path).then(|| dialect::translate_for_bytes(&expression));
                Self::Matches {
                    text: compile(&dialect::translate(&expression))?,
                    bytes: match binary.flatten() {
                        Some(expression) => Some(compile_for_bytes(&expression)?),
                        None => None,
                    },
                }
            }
            (Operator::IsSubset, Operand::One(Literal::String(text))) => {
                Self::Subset(parse_operand_network(text)?)
            }
            (Operator::IsSuperset, Operand::One(Literal::String(text))) => {
                Self::Superset(parse_operand_network(text)?)
            }
            _ => return Err(TestProblem::Operand),
        })
    }

    fn holds(&self, value: Value<'_>, negated: bool) -> bool {
        let result = match self {
            Self::Equal(constant) => match constant.equals(value) {
                Some(equal) => equal,
                None => return false,
            },
            Self::NotEqual(constant) => match constant.equals(value) {
                Some(equal) => !equal,
                None => return false,
            },
            Self::Order(operator, literal) => match compare(value, literal) {
                Comparability::Ordered(ordering) => match operator {
                    Operator::Less => ordering.is_lt(),
                    Operator::LessEqual => ordering.is_le(),
                    Operator::Greater => ordering.is_gt(),
                    _ => ordering.is_ge(),
                },
                Comparability::Different => false,
                // Without an order NOT has nothing to turn.
                Comparability::None => return false,
            },
            Self::In(set) => match set.contains(value) {
                Some(contained) => contained,
                None => return false,
            },
            Self::Like(like) => match value {
                Value::String(text) => like.matches(&normalize(text)),
                Value::Bytes(bytes) if like.is_latin() => {
                    std::str::from_utf8(bytes).is_ok_and(|text| like.matches(&normalize(text)))
                }
                _ => false,
            },
            Self::Matches { text, bytes } => match value {
                Value::String(value) => text.is_match(&normalize(value)),
                Value::Bytes(value) => bytes.as_ref().is_some_and(|regex| regex.is_match(value)),
                _ => false,
            },
            Self::Subset(network) => {
                parse_value_network(value).is_some_and(|value| network.contains(&value))
            }
            Self::Superset(network) => {
                parse_value_network(value).is_some_and(|value| value.contains(network))
            }
        };
        result != negated
    }
}

impl Constant {
    fn new(path: &ObjectPath, literal: &Literal) -> Self {
        if let Literal::String(text) = literal
            && text.contains('/')
            && is_address_path(path)
            && let Some(network) = parse_network(text)
        {
            return Self::Network(network);
        }
        Self::Literal(literal.clone())
    }

    /// As [`equals`].
    fn equals(&self, value: Value<'_>) -> Option<bool> {
        match self {
            Self::Literal(literal) => equals(value, literal),
            Self::Network(network) => {
                Some(parse_value_network(value).is_some_and(|value| network.contains(&value)))
            }
        }
    }
}

impl Set {
    fn new(path: &ObjectPath, literals: &[Literal]) -> Self {
        let (mut strings, mut others) = (Vec::new(), Vec::new());
        for literal in literals {
            match (Constant::new(path, literal), literal) {
                (Constant::Literal(_), Literal::String(text)) => {
                    strings.push(text.as_str().into());
                }
                (constant, _) => others.push(constant),
            }
        }
        strings.sort_unstable();
        strings.dedup();
        Self {
            latin: is_binary_path(path),
            strings: strings.into(),
            others: others.into(),
        }
    }

    /// As [`equals`].
    fn contains(&self, value: Value<'_>) -> Option<bool> {
        let among_strings = match value {
            Value::String(text) => self
                .strings
                .binary_search_by(|string| (**string).cmp(text))
                .is_ok(),
            Value::Bytes(bytes) if self.latin => self
                .strings
                .iter()
                .any(|string| compare_latin(string, bytes) == Some(Ordering::Equal)),
            Value::Timestamp(instant) => self
                .strings
                .iter()
                .any(|string| Timestamp::parse_rfc3339(string) == Some(instant)),
            _ => false,
        };
        if among_strings {
            return Some(true);
        }
        let mut known = true;
        for other in &self.others {
            match other.equals(value) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => known = false,
            }
        }
        known.then_some(false)
    }
}

fn parse_value_network(value: Value<'_>) -> Option<IpNet> {
    match value {
        Value::String(text) => parse_network(text),
        _ => None,
    }
}

/// A network, or an address as the network of it alone.
fn parse_network(text: &str) -> Option<IpNet> {
    if text.contains('/') {
        text.parse().ok()
    } else {
        text.parse::<IpAddr>().ok().map(IpNet::from)
    }
}

fn parse_operand_network(text: &str) -> Result<IpNet, TestProblem> {
    parse_network(text).ok_or_else(|| TestProblem::Address(text.to_owned()))
}

/// Whether the path leads to the text of an address: of an address object, or of
/// one that a reference leads to.
fn is_address_path(path: &ObjectPath) -> bool {
    let is_key = |step: &Step, end: &str| matches!(step, Step::Key(key) if key.ends_with(end));
    match path.steps.as_slice() {
        [Step::Key(value)] => {
            value == "value" && matches!(path.object_type.as_str(), "ipv4-addr" | "ipv6-addr")
        }
        [.., references, Step::Index(_) | Step::Any, Step::Key(value)] => {
            value == "value" && is_key(references, "_refs")
        }
        [.., reference, Step::Key(value)] => value == "value" && is_key(reference, "_ref"),
        _ => false,
    }
}

/// Whether STIX says by the property's name that it holds bytes.
fn is_binary_path(path: &ObjectPath) -> bool {
    matches!(path.steps.last(), Some(Step::Key(key)) if key.ends_with("_bin") || key.ends_with("_hex"))
}

/// Normal form C, which LIKE and MATCHES compare in.
fn normalize(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

fn compile(expression: &str) -> Result<regex::Regex, TestProblem> {
    regex::RegexBuilder::new(expression)
        .size_limit(EXPRESSION_SIZE)
        .dfa_size_limit(EXPRESSION_SIZE)
        .build()
        .map_err(refuse)
}

fn compile_for_bytes(expression: &str) -> Result<regex::bytes::Regex, TestProblem> {
    regex::bytes::RegexBuilder::new(expression)
        .unicode(false)
        .size_limit(EXPRESSION_SIZE)
        .dfa_size_limit(EXPRESSION_SIZE)
        .build()
        .map_err(refuse)
}

fn refuse(error: regex::Error) -> TestProblem {
    match error {
        regex::Error::CompiledTooBig(limit) => TestProblem::ExpressionTooLarge(limit),
        other => {
            // The last of its lines says what is wrong; those before draw it.
            let text = other.to_string();
            let line = text.lines().last().unwrap_or_default();
            let reason = line.strip_prefix("error: ").unwrap_or(line).to_owned();
            TestProblem::Expression { reason }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::Observation;
    use super::super::ast::Pattern;
    use super::super::ast::Spec;
    use super::*;

    /// An object as a list of paths with their values.
    struct Flat(&'static str, Vec<(&'static str, Value<'static>)>);

    impl ObjectView for Flat {
        fn object_type(&self) -> &str {
            self.0
        }

        fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
            let path = ObjectPath {
                object_type: "x".to_owned(),
                steps: steps.to_vec(),
            };
            for (name, value) in &self.1 {
                if path.to_string() == format!("x:{name}") {
                    visit(*value);
                }
            }
        }
    }

    fn test(text: &str) -> Result<Test, TestError> {
        match Pattern::parse(text, Spec::V21).unwrap().expression {
            Observation::Test(comparison) => Test::new(&comparison),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn compares_by_kind() {
        let object = Flat(
            "x",
            vec![
                ("null", Value::Null),
                ("yes", Value::Boolean(true)),
                ("five", Value::Integer(5)),
                ("half", Value::Float(5.5)),
                ("big", Value::Integer(9_007_199_254_740_993)),
                ("text", Value::String("hello")),
                ("latin", Value::String("\u{e9}")),
                ("wide", Value::String("ă")),
                ("raw_bin", Value::Bytes(b"alice")),
                ("list", Value::Structure),
                ("day", Value::Timestamp(Timestamp::from_parts(86_400, 0))),
                ("when", Value::String("1970-01-02T00:00:00.000Z")),
                ("many[*]", Value::Integer(1)),
                ("many[*]", Value::Integer(2)),
            ],
        );
        for (condition, expected) in [
            ("five = 5", true),
            ("five = 5.0", true),
            ("five NOT = 5", false),
            ("five NOT != 5", true),
            ("five > 4.9", true),
            ("five = '5'", false),
            ("five != '5'", true),
            ("five > '4'", false),
            // Kinds without an order: false, with and without NOT.
            ("five NOT > '4'", false),
            ("five = true", false),
            ("yes = 1", false),
            ("yes = true", true),
            ("half < 6", true),
            ("half >= 5", true),
            // Not the same number, though the same as a float.
            ("big = 9007199254740992.0", false),
            ("big > 9007199254740992.0", true),
            ("big < 9223372036854775808", true),
            ("null = 1", false),
            ("null != 1", true),
            ("null < 1", false),
            ("list = 'x'", false),
            ("list != 'x'", true),
            // An absent property makes every test false.
            ("absent = 1", false),
            ("absent != 1", false),
            ("absent NOT = 1", false),
            ("absent NOT LIKE 'x'", false),
            ("text = 'hello'", true),
            ("text = 'Hello'", false),
            ("text > 'alice'", true),
            ("text IN ('goodbye', 'hello')", true),
            ("text IN (1, 'x')", false),
            ("text NOT IN (1, 'x')", true),
            ("text IN ()", false),
            ("five IN (4, 5.0, 'x')", true),
            ("raw_bin = 'alice'", true),
            ("raw_bin = h'616c696365'", true),
            ("raw_bin IN ('bob', 'alice')", true),
            ("raw_bin > 'aardvark'", true),
            ("raw_bin < 'ă'", false),
            ("raw_bin NOT < 'ă'", true),
            ("raw_bin LIKE 'al%'", true),
            ("raw_bin MATCHES '^\\\\x61l.c'", true),
            ("raw_bin MATCHES 'ă'", false),
            ("latin = h'e9'", true),
            ("wide = h'03'", false),
            ("wide != h'03'", true),
            ("day = t'1970-01-02T00:00:00Z'", true),
            ("day > '1970-01-01T00:00:00Z'", true),
            ("day IN ('1970-01-02T00:00:00Z')", true),
            ("when = t'1970-01-02T00:00:00Z'", true),
            ("when < t'1970-01-02T00:00:00.001Z'", true),
            ("when IN (t'1970-01-02T00:00:00Z')", true),
            // A text that is no timestamp decides nothing.
            ("text = t'1970-01-02T00:00:00Z'", false),
            ("text != t'1970-01-02T00:00:00Z'", false),
            ("text NOT IN (t'1970-01-02T00:00:00Z')", false),
            ("many[*] = 2", true),
            ("many[*] != 2", true),
            ("many[*] > 2", false),
        ] {
            let test = test(&format!("[x:{condition}]")).unwrap();
            assert_eq!(test.matches(&object), expected, "{condition}");
        }
        assert!(!test("[y:five = 5]").unwrap().matches(&object));
    }

    #[test]
    fn searches_text() {
        let text = |text: &'static str| Flat("x", vec![("t", Value::String(text))]);
        for (value, condition, expected) in [
            ("hello", "MATCHES 'l+'", true),
            ("hello", "NOT MATCHES 'l+'", false),
            ("hello", "MATCHES '^l'", false),
            ("a\nb", "MATCHES 'a.b'", false),
            ("a\nb", "LIKE 'a%b'", true),
            ("a\nb", "LIKE 'a_b'", true),
            ("hello", "LIKE 'ell'", false),
            ("HELLO", "MATCHES '(?i)hello'", true),
            ("HELLO", "LIKE 'hello'", false),
            // Normal form C for these, not for =.
            ("d\u{323}\u{307}", "LIKE '\u{1e0d}\u{307}'", true),
            ("\u{1e0d}\u{307}", "MATCHES '^\u{1e0b}\u{323}$'", true),
            ("d\u{323}\u{307}", "= '\u{1e0d}\u{307}'", false),
        ] {
            let test = test(&format!("[x:t {condition}]")).unwrap();
            assert_eq!(test.matches(&text(value)), expected, "{value} {condition}");
        }
    }

    #[test]
    fn contains_addresses() {
        for (path, value, condition, expected) in [
            ("x:t", "198.51.100.7", "ISSUBSET '198.51.100.0/24'", true),
            ("x:t", "198.51.100.7", "ISSUBSET '198.51.100.9/24'", true),
            ("x:t", "198.51.100.7", "ISSUBSET '198.51.100.7'", true),
            ("x:t", "198.51.0.0/16", "ISSUBSET '198.51.100.0/24'", false),
            (
                "x:t",
                "198.51.100.128/25",
                "ISSUBSET '198.51.100.0/24'",
                true,
            ),
            ("x:t", "2001:db8::1", "ISSUBSET '198.51.100.0/24'", false),
            ("x:t", "2001:db8::1", "NOT ISSUBSET '198.51.100.0/24'", true),
            ("x:t", "2001:DB8:0::1", "ISSUBSET '2001:db8::/32'", true),
            ("x:t", "no address", "ISSUBSET '0.0.0.0/0'", false),
            ("x:t", "198.51.100.7", "ISSUPERSET '198.51.100.7/32'", true),
            ("x:t", "198.51.0.0/16", "ISSUPERSET '198.51.100.7'", true),
            ("x:t", "2001:db8::/32", "ISSUPERSET '2001:db8:1::/48'", true),
            (
                "x:t",
                "198.51.100.0/24",
                "ISSUPERSET '198.51.0.0/16'",
                false,
            ),
            // = with a network contains where addresses are, and only there.
            ("ipv4-addr:value", "192.0.2.9", "= '192.0.2.0/24'", true),
            ("ipv4-addr:value", "192.0.3.9", "= '192.0.2.0/24'", false),
            ("ipv4-addr:value", "192.0.3.9", "!= '192.0.2.0/24'", true),
            (
                "ipv4-addr:value",
                "192.0.2.9",
                "NOT = '192.0.2.0/24'",
                false,
            ),
            (
                "ipv4-addr:value",
                "192.0.2.9",
                "IN ('x', '192.0.2.0/24')",
                true,
            ),
            ("ipv4-addr:value", "192.0.2.9", "= '192.0.2.9'", true),
            ("ipv6-addr:value", "2001:db8::9", "= '2001:db8::/32'", true),
            ("ipv4-addr:value", "192.0.2.0/24", "= '192.0.2.0/24'", true),
            (
                "network-traffic:dst_ref.value",
                "192.0.2.9",
                "= '192.0.2.0/24'",
                true,
            ),
            (
                "domain-name:resolves_to_refs[*].value",
                "192.0.2.9",
                "= '192.0.2.9/32'",
                true,
            ),
            ("x:value", "192.0.2.9", "= '192.0.2.0/24'", false),
            ("url:value", "192.0.2.0/24", "= '192.0.2.0/24'", true),
        ] {
            let test = test(&format!("[{path} {condition}]")).unwrap();
            let (object_type, name) = path.split_once(':').unwrap();
            let object = Flat(object_type, vec![(name, Value::String(value))]);
            assert_eq!(
                test.matches(&object),
                expected,
                "{path} {value} {condition}"
            );
        }
    }

    #[test]
    fn asks_one_object_alone() {
        let object = Flat("a", vec![("b", Value::Integer(1)), ("c", Value::Null)]);
        for (text, expected) in [
            ("[a:b = 1 AND a:c != 2]", true),
            ("[a:b = 1 AND x:c = 2]", false),
            ("[a:b = 1 OR x:c = 2]", true),
            ("[a:b = 2 OR a:b = 1 AND a:b = 2]", false),
            ("[(a:b = 2 OR a:b = 1) AND a:b < 2]", true),
            ("[EXISTS a:b]", true),
            ("[EXISTS a:c]", true),
            ("[EXISTS a:d]", false),
            ("[NOT EXISTS a:b]", false),
            ("[NOT EXISTS a:d]", true),
            // Other objects are not asked, so they lack nothing.
            ("[NOT EXISTS x:b]", false),
        ] {
            assert_eq!(test(text).unwrap().matches(&object), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_run() {
        for (text, message) in [
            (
                "[a:b MATCHES '(unclosed']",
                "a:b: unsupported regular expression: unclosed group",
            ),
            (
                "[a:b MATCHES '(?=x)y']",
                "a:b: unsupported regular expression: look-around, including look-ahead and look-behind, is not supported",
            ),
            (
                "[a:b MATCHES '(x)\\\\1']",
                "a:b: unsupported regular expression: backreferences are not supported",
            ),
            (
                "[a:b MATCHES '((a{200}){200}){200}']",
                "a:b: regular expression needs more than 1048576 bytes",
            ),
            (
                "[a:b = 1 AND a:c ISSUBSET 'x/24']",
                "a:c: no address or network: \"x/24\"",
            ),
        ] {
            assert_eq!(test(text).unwrap_err().to_string(), message, "{text}");
        }
        assert!(test("[a:b MATCHES '\\\\w{1,20}\\\\s\\\\p{L}+']").is_ok());
        let long = format!("[a:b LIKE '{}']", "_".repeat(LIKE_LENGTH + 1));
        assert!(test(&long).is_err());
    }
}
