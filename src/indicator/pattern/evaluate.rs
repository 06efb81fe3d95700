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

/// A value inside an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'v> {
    /// JSON's null: it is there, and equals nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(&'v str),
    /// Content of a binary property (`payload_bin`, `magic_number_hex`).
    Bytes(&'v [u8]),
    /// An instant.
    Timestamp(Timestamp),
    /// A list or dictionary, or the end of a reference: exists, compares with nothing.
    Structure,
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

    /// Whether they are equal; things of different kinds are not. `None` when a
    /// text that should be a timestamp is none: then nothing can be said.
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

    /// As [`Constant::equals`].
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

/// How a value stands to a constant.
enum Comparability {
    Ordered(Ordering),
    /// Comparable kinds, but this text is no bytes (STIX 2.1 section 9.6.1).
    Different,
    /// Kinds that have no order between them.
    None,
}

fn equals(value: Value<'_>, literal: &Literal) -> Option<bool> {
    match (value, literal) {
        (Value::Boolean(value), Literal::Boolean(literal)) => Some(value == *literal),
        (Value::String(value), Literal::String(literal)) => Some(value == literal),
        (Value::String(value), Literal::Timestamp(literal)) => {
            parse_value_timestamp(value).map(|value| value == *literal)
        }
        _ => match compare(value, literal) {
            Comparability::Ordered(ordering) => Some(ordering.is_eq()),
            Comparability::Different | Comparability::None => Some(false),
        },
    }
}

fn compare(value: Value<'_>, literal: &Literal) -> Comparability {
    let ordering = match (value, literal) {
        (Value::Integer(value), Literal::Integer(literal)) => Some(value.cmp(literal)),
        (Value::Integer(value), Literal::Float(literal)) => compare_numbers(value, *literal),
        (Value::Float(value), Literal::Integer(literal)) => {
            compare_numbers(*literal, value).map(Ordering::reverse)
        }
        (Value::Float(value), Literal::Float(literal)) => value.partial_cmp(literal),
        // By code point, which the order of UTF-8 bytes is.
        (Value::String(value), Literal::String(literal)) => Some(value.cmp(literal)),
        (Value::Bytes(value), Literal::Binary(literal)) => Some(value.cmp(literal)),
        (Value::String(value), Literal::Binary(literal)) => {
            return compare_latin(value, literal)
                .map_or(Comparability::Different, Comparability::Ordered);
        }
        (Value::Bytes(value), Literal::String(literal)) => {
            return compare_latin(literal, value).map_or(Comparability::Different, |ordering| {
                Comparability::Ordered(ordering.reverse())
            });
        }
        (Value::Timestamp(value), Literal::Timestamp(literal)) => Some(value.cmp(literal)),
        (Value::String(value), Literal::Timestamp(literal)) => {
            parse_value_timestamp(value).map(|value| value.cmp(literal))
        }
        (Value::Timestamp(value), Literal::String(literal)) => {
            Timestamp::parse_rfc3339(literal).map(|literal| value.cmp(&literal))
        }
        _ => None,
    };
    ordering.map_or(Comparability::None, Comparability::Ordered)
}

/// Exact, where a conversion of either would round.
fn compare_numbers(whole: i64, float: f64) -> Option<Ordering> {
    /// 2^63, the first number beyond `i64`.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        None
    } else if float >= BEYOND {
        Some(Ordering::Less)
    } else if float < -BEYOND {
        Some(Ordering::Greater)
    } else {
        // In range, so the conversion only cuts the fraction off.
        let cut = float as i64;
        let fraction = float - cut as f64;
        Some(whole.cmp(&cut).then(0.0.partial_cmp(&fraction)?))
    }
}

/// Text against bytes: each character is the byte of its number (STIX 2.1
/// section 9.6.1). `None` when one is no byte.
fn compare_latin(text: &str, bytes: &[u8]) -> Option<Ordering> {
    if text.chars().any(|c| u32::from(c) > 255) {
        return None;
    }
    Some(
        text.chars()
            .map(u32::from)
            .cmp(bytes.iter().copied().map(u32::from)),
    )
}

/// As STIX writes them: in UTC, with capitals (STIX 2.1 section 3.2).
fn parse_value_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.get(10) != Some(&b'T') || bytes.last() != Some(&b'Z') {
        return None;
    }
    Timestamp::parse_rfc3339(text)
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
