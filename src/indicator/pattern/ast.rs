//! What a pattern says, as a tree.
//!
//! Invariant of every tree that the parser makes: `And`, `Or` and `FollowedBy`
//! hold at least two branches, a path at least one step, and no tree is deeper
//! than the parser's bounds, so that recursion over it is safe.

use std::time::Duration;

use crate::time::Timestamp;

/// The edition of the patterning language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spec {
    /// STIX 2.0 part 5: no EXISTS.
    V20,
    /// STIX 2.1 section 9: EXISTS, and no qualifier twice on one observation.
    V21,
}

/// A whole pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// What must be observed.
    pub expression: Observation,
}

/// An observation expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// `[...]`: one observation holds an object for which the comparison is true.
    Test(Comparison),
    /// All, each by observations of its own.
    And(Vec<Self>),
    /// Any of them.
    Or(Vec<Self>),
    /// All, none before the one to its left.
    FollowedBy(Vec<Self>),
    /// An expression under a condition on time or number.
    Qualified(Box<Self>, Qualifier),
}

/// A condition on when, or how often, an expression is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// `WITHIN n SECONDS`: no two of its observations further apart. The grammar
    /// allows zero, the language does not (STIX 2.1 section 9.3): it can't be met.
    Within(Duration),
    /// `REPEATS n TIMES`: that often, by different observations. Zero as above.
    Repeats(u64),
    /// `START t STOP t`: at or after the first, before the second instant.
    StartStop(Timestamp, Timestamp),
}

/// A comparison expression: what one object must be like.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// All, of the same object.
    And(Vec<Self>),
    /// Any of them.
    Or(Vec<Self>),
    /// A property against a constant.
    Property {
        /// Which property.
        path: ObjectPath,
        /// Whether NOT stands before the operator.
        negated: bool,
        /// How to compare.
        operator: Operator,
        /// What to compare with.
        operand: Operand,
    },
    /// Whether there is such a property at all.
    Exists {
        /// Which property.
        path: ObjectPath,
        /// Whether NOT stands before EXISTS.
        negated: bool,
    },
}

/// Names values inside objects of one type: `file:hashes.'SHA-256'`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectPath {
    /// The type, as STIX names it.
    pub object_type: String,
    /// The way from the object to the value; the first step is a key.
    pub steps: Vec<Step>,
}

/// One step of an object path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// To the value of a property.
    Key(String),
    /// To one element of a list, counted from 0.
    Index(usize),
    /// To every element, `[*]`.
    Any,
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `IN`
    In,
    /// `LIKE`: `%` is any text, `_` any one character.
    Like,
    /// `MATCHES`: a regular expression found anywhere.
    Matches,
    /// `ISSUBSET`: the value is an address or network inside the constant.
    IsSubset,
    /// `ISSUPERSET`: the value is an address or network around the constant.
    IsSuperset,
}

/// What stands to the right of an operator.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A constant.
    One(Literal),
    /// The set of an IN; may be empty.
    Set(Vec<Literal>),
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// A whole number that fits; greater ones are read as `Float`.
    Integer(i64),
    /// Always finite.
    Float(f64),
    /// Text, with its escapes resolved and its characters as they were written.
    String(String),
    /// `true` or `false`.
    Boolean(bool),
    /// Bytes, from `h'...'` or `b'...'`.
    Binary(Vec<u8>),
    /// `t'...'`, clamped to what a [`Timestamp`] can say; a day that its month
    /// lacks (the grammar allows 30 February) counts as the month's last.
    Timestamp(Timestamp),
}

/// What a comparison asks of the values of one path; see [`Comparison::walk`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition<'a> {
    /// To be there, or with `negated` not to be.
    Exists {
        /// Whether NOT stands before it.
        negated: bool,
    },
    /// To compare so with a constant.
    Property {
        /// Whether NOT stands before the operator.
        negated: bool,
        /// How to compare.
        operator: Operator,
        /// What to compare with.
        operand: &'a Operand,
    },
}

impl Pattern {
    /// Whether one object seen once decides the pattern: a lone `[...]`, unqualified.
    pub const fn is_single_observation(&self) -> bool {
        matches!(self.expression, Observation::Test(_))
    }
}

impl Comparison {
    /// Calls `visit` for every path with what is asked of it, from left to right.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a ObjectPath, Condition<'a>)) {
        match self {
            Self::And(branches) | Self::Or(branches) => {
                for branch in branches {
                    branch.walk(visit);
                }
            }
            Self::Property {
                path,
                negated,
                operator,
                operand,
            } => visit(
                path,
                Condition::Property {
                    negated: *negated,
                    operator: *operator,
                    operand,
                },
            ),
            Self::Exists { path, negated } => visit(path, Condition::Exists { negated: *negated }),
        }
    }
}

impl Operand {
    /// The constants, one or many.
    pub fn literals(&self) -> &[Literal] {
        match self {
            Self::One(literal) => std::slice::from_ref(literal),
            Self::Set(literals) => literals,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_every_path_from_left_to_right() {
        let text = "[a:b = 1 AND (c:d IN ('x', 'y') OR NOT EXISTS e:f) AND g:h NOT LIKE 'z']";
        let pattern = Pattern::parse(text, Spec::V21).unwrap();
        let Observation::Test(comparison) = &pattern.expression else {
            panic!("not a test");
        };
        let mut seen = Vec::new();
        comparison.walk(&mut |path, condition| {
            seen.push(match condition {
                Condition::Exists { negated } => format!("{path} exists {negated}"),
                Condition::Property {
                    negated,
                    operator,
                    operand,
                } => format!("{path} {negated} {operator} {}", operand.literals().len()),
            });
        });
        assert_eq!(
            seen,
            [
                "a:b false = 1",
                "c:d false IN 2",
                "e:f exists true",
                "g:h true LIKE 1"
            ]
        );
    }

    #[test]
    fn tells_single_observations() {
        for (text, single) in [
            ("[a:b = 1 OR c:d = 2]", true),
            ("([a:b = 1])", true),
            ("[a:b = 1] REPEATS 1 TIMES", false),
            ("[a:b = 1] OR [a:b = 2]", false),
        ] {
            let pattern = Pattern::parse(text, Spec::V21).unwrap();
            assert_eq!(pattern.is_single_observation(), single, "{text}");
        }
    }
}
