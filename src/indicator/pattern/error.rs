//! Why a text is no pattern.

use std::fmt;

/// Why a text is no pattern, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    /// Where it was noticed, in bytes from the start.
    pub offset: usize,
    /// The same place: its line, the first being 1.
    pub line: usize,
    /// The same place: characters before it in its line, so that the first is 0.
    pub column: usize,
    /// What was wrong.
    pub problem: Problem,
}

/// What is wrong with a text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something stands where the grammar wants something else.
    Unexpected {
        /// What stands there, as a noun phrase or a piece of the text.
        found: String,
        /// What the grammar wants, as a noun phrase.
        expected: &'static str,
    },
    /// STIX 2.1 section 9.3: the same kind of qualifier twice on one observation.
    DuplicateQualifier {
        /// Its keyword.
        qualifier: &'static str,
    },
    /// A constant can't be a hash of the algorithm that the path names.
    Hash {
        /// As the STIX hash vocabulary names it.
        algorithm: &'static str,
    },
    /// Lawful but larger than we take.
    TooLarge {
        /// What is bounded, as a plural noun phrase.
        what: &'static str,
        /// How many we take.
        limit: usize,
    },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        match &self.problem {
            Problem::Unexpected { found, expected } => {
                write!(f, "found {found}, expected {expected}")
            }
            Problem::DuplicateQualifier { qualifier } => {
                write!(f, "second {qualifier} on the same observation")
            }
            Problem::Hash { algorithm } => write!(f, "a constant is no {algorithm} hash"),
            Problem::TooLarge { what, limit } => write!(f, "more than {limit} {what}"),
        }
    }
}

impl std::error::Error for PatternError {}
