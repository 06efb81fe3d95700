//! How values stand to constants, kind by kind (STIX 2.1 section 9.6.1).

use std::cmp::Ordering;

use super::ast::Literal;
use crate::time::Timestamp;

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

/// How a value stands to a constant.
pub(super) enum Comparability {
    Ordered(Ordering),
    /// Comparable kinds, but this text is no bytes (STIX 2.1 section 9.6.1).
    Different,
    /// Kinds that have no order between them.
    None,
}

/// Whether they are equal; things of different kinds are not. `None` when a text
/// that should be a timestamp is none: then nothing can be said.
pub(super) fn equals(value: Value<'_>, literal: &Literal) -> Option<bool> {
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

/// How the value stands to the constant.
pub(super) fn compare(value: Value<'_>, literal: &Literal) -> Comparability {
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
pub(super) fn compare_latin(text: &str, bytes: &[u8]) -> Option<Ordering> {
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
