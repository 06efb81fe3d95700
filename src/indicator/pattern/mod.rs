//! STIX patterns: text to meaning, and meaning to a verdict over objects.
//!
//! Read first: STIX 2.1 section 9, or STIX 2.0 part 5.
//!
//! * [`Pattern::parse`] turns text into the tree of [`Observation`] and [`Comparison`], refusing
//!   what the grammar of its [`Spec`] refuses, with the place in the text.
//! * [`Test`] is one comparison expression made ready: it asks one object,
//!   whatever it is made of, through [`ObjectView`].
//! * [`Goal`] is what several observations must be like together, and [`bind`]
//!   shares observations out among its parts.
//! * [`try_pattern`] evaluates a whole pattern over a finite list of
//!   observed-data in JSON. Live traffic reaches [`Test`] and [`bind`] without it.

mod ast;
mod bindings;
mod compare;
mod dialect;
mod display;
mod encoding;
mod error;
mod evaluate;
mod flat;
#[cfg(test)]
pub(crate) mod fuzz;
mod goal;
mod hash;
mod lexer;
mod like;
mod observed;
mod parse;

pub use self::ast::Comparison;
pub use self::ast::Condition;
pub use self::ast::Literal;
pub use self::ast::ObjectPath;
pub use self::ast::Observation;
pub use self::ast::Operand;
pub use self::ast::Operator;
pub use self::ast::Pattern;
pub use self::ast::Qualifier;
pub use self::ast::Spec;
pub use self::ast::Step;
pub use self::bindings::Binding;
pub use self::bindings::Span;
pub use self::bindings::TooHard;
pub use self::bindings::bind;
pub use self::compare::Value;
pub use self::error::PatternError;
pub use self::error::Problem;
pub use self::evaluate::ObjectView;
pub use self::evaluate::Test;
pub use self::evaluate::TestError;
pub use self::evaluate::TestProblem;
pub use self::goal::Candidates;
pub use self::goal::Goal;
pub use self::goal::Window;
pub use self::observed::TryError;
pub use self::observed::try_pattern;
