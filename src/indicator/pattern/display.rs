//! Writes patterns in one canonical form, which parses to the same tree.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use super::ast::Comparison;
use super::ast::Literal;
use super::ast::ObjectPath;
use super::ast::Observation;
use super::ast::Operand;
use super::ast::Operator;
use super::ast::Pattern;
use super::ast::Qualifier;
use super::ast::Step;
use super::lexer::is_plain_key;
use crate::time::Timestamp;

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expression.fmt(f)
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(comparison) => write!(f, "[{comparison}]"),
            Self::And(branches) | Self::Or(branches) | Self::FollowedBy(branches) => {
                let word = match self {
                    Self::And(_) => " AND ",
                    Self::Or(_) => " OR ",
                    _ => " FOLLOWEDBY ",
                };
                for (i, branch) in branches.iter().enumerate() {
                    if i > 0 {
                        f.write_str(word)?;
                    }
                    if branch.rank() < self.rank() {
                        branch.fmt(f)?;
                    } else {
                        write!(f, "({branch})")?;
                    }
                }
                Ok(())
            }
            Self::Qualified(inner, qualifier) => {
                // Parentheses keep the same kind of qualifier apart (STIX 2.1 section 9.3).
                if inner.rank() <= self.rank() && !inner.carries(qualifier) {
                    write!(f, "{inner} {qualifier}")
                } else {
                    write!(f, "({inner}) {qualifier}")
                }
            }
        }
    }
}

impl Observation {
    /// How loosely its top binds; only looser-bound branches need parentheses.
    const fn rank(&self) -> u8 {
        match self {
            Self::Test(_) => 0,
            Self::Qualified(..) => 1,
            Self::And(_) => 2,
            Self::Or(_) => 3,
            Self::FollowedBy(_) => 4,
        }
    }

    /// Whether one of its own qualifiers is of this kind.
    fn carries(&self, kind: &Qualifier) -> bool {
        let mut expression = self;
        while let Self::Qualified(inner, qualifier) = expression {
            if std::mem::discriminant(qualifier) == std::mem::discriminant(kind) {
                return true;
            }
            expression = inner;
        }
        false
    }
}

impl fmt::Display for Qualifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Within(duration) => write!(f, "WITHIN {} SECONDS", Seconds(duration)),
            Self::Repeats(times) => write!(f, "REPEATS {times} TIMES"),
            Self::StartStop(start, stop) => {
                write!(f, "START {} STOP {}", Instant(start), Instant(stop))
            }
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::And(branches) => {
                for (i, branch) in branches.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" AND ")?;
                    }
                    match branch {
                        Self::And(_) | Self::Or(_) => write!(f, "({branch})")?,
                        _ => branch.fmt(f)?,
                    }
                }
                Ok(())
            }
            Self::Or(branches) => {
                for (i, branch) in branches.iter().enumerate() {
                    if i > 0 {
                        f.write_str(" OR ")?;
                    }
                    match branch {
                        Self::Or(_) => write!(f, "({branch})")?,
                        _ => branch.fmt(f)?,
                    }
                }
                Ok(())
            }
            Self::Property {
                path,
                negated,
                operator,
                operand,
            } => {
                let not = if *negated { "NOT " } else { "" };
                write!(f, "{path} {not}{operator} {operand}")
            }
            Self::Exists { path, negated } => {
                let not = if *negated { "NOT " } else { "" };
                write!(f, "{not}EXISTS {path}")
            }
        }
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.object_type)?;
        for (i, step) in self.steps.iter().enumerate() {
            match step {
                Step::Key(key) => {
                    if i > 0 {
                        f.write_char('.')?;
                    }
                    if is_plain_key(key) {
                        f.write_str(key)?;
                    } else {
                        Quoted(key).fmt(f)?;
                    }
                }
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Any => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "IN",
            Self::Like => "LIKE",
            Self::Matches => "MATCHES",
            Self::IsSubset => "ISSUBSET",
            Self::IsSuperset => "ISSUPERSET",
        })
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(literal) => literal.fmt(f),
            Self::Set(literals) => {
                f.write_char('(')?;
                for (i, literal) in literals.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    literal.fmt(f)?;
                }
                f.write_char(')')
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => {
                // The grammar knows no exponents and tells floats by their point.
                let text = format!("{number}");
                f.write_str(&text)?;
                if text.contains('.') {
                    Ok(())
                } else {
                    f.write_str(".0")
                }
            }
            Self::String(text) => Quoted(text).fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::Binary(bytes) => {
                f.write_str("h'")?;
                for byte in bytes {
                    write!(f, "{byte:02x}")?;
                }
                f.write_char('\'')
            }
            Self::Timestamp(instant) => Instant(*instant).fmt(f),
        }
    }
}

/// A string constant.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('\'')?;
        for c in self.0.chars() {
            if matches!(c, '\'' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('\'')
    }
}

/// A timestamp constant, with as many digits as it needs.
struct Instant(Timestamp);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let digits = match nanos {
            n if n.is_multiple_of(1_000_000_000) => 0,
            n if n.is_multiple_of(1_000_000) => 3,
            n if n.is_multiple_of(1_000) => 6,
            _ => 9,
        };
        write!(f, "t'{}'", self.0.to_rfc3339(digits))
    }
}

/// A number of seconds, as a decimal fraction.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_secs())?;
        if self.0.subsec_nanos() > 0 {
            let fraction = format!("{:09}", self.0.subsec_nanos());
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::Spec;
    use super::*;

    #[test]
    fn writes_the_canonical_form() {
        for (text, canonical) in [
            ("  [a:b=1]/* c */", "[a:b = 1]"),
            ("[(a:b == 1)]", "[a:b = 1]"),
            (
                "[a:'b'.'c d'.'AND'[0][*] <> 'x\\'\\\\']",
                "[a:b.'c d'.'AND'[0][*] != 'x\\'\\\\']",
            ),
            (
                "[a:b = 05.50 AND (a:c = +5 OR a:d=-.5)]",
                "[a:b = 5.5 AND (a:c = 5 OR a:d = -0.5)]",
            ),
            ("[a:b IN(1,true , b'AQI=')]", "[a:b IN (1, true, h'0102')]"),
            (
                "[a:b = t'2024-01-15T12:30:45.120Z']",
                "[a:b = t'2024-01-15T12:30:45.120Z']",
            ),
            (
                "[a:b = 99999999999999999999]",
                "[a:b = 100000000000000000000.0]",
            ),
            (
                "(([a:b=1] AND [a:b=2]) AND [a:b=3] OR [a:b=4]) FOLLOWEDBY ([a:b=5])",
                "([a:b = 1] AND [a:b = 2]) AND [a:b = 3] OR [a:b = 4] FOLLOWEDBY [a:b = 5]",
            ),
            (
                "([a:b=1] WITHIN 5.50 SECONDS REPEATS 2 TIMES) WITHIN 6 SECONDS",
                "([a:b = 1] WITHIN 5.5 SECONDS REPEATS 2 TIMES) WITHIN 6 SECONDS",
            ),
            (
                "([a:b=1] OR [a:b=2]) REPEATS 2 TIMES",
                "([a:b = 1] OR [a:b = 2]) REPEATS 2 TIMES",
            ),
        ] {
            let pattern = Pattern::parse(text, Spec::V21).unwrap();
            assert_eq!(pattern.to_string(), canonical, "{text}");
            let again = Pattern::parse(canonical, Spec::V21).unwrap();
            assert_eq!(again, pattern, "{text}");
        }
    }
}
