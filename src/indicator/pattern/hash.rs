//! The form that hashes of known algorithms must have.
//!
//! A hash of the wrong length can match nothing; a pattern that holds one is
//! refused, since its author meant something else (STIX 2.1 section 10.7).

use super::ast::Literal;
use super::ast::ObjectPath;
use super::ast::Operand;
use super::ast::Operator;
use super::ast::Step;

/// The algorithm that a comparison of hashes names, when one of its constants
/// can't be a hash of it.
///
/// Only comparisons with whole values are looked at: LIKE and MATCHES lawfully
/// name parts of a hash.
pub(super) fn find_malformed(
    path: &ObjectPath,
    operator: Operator,
    operand: &Operand,
) -> Option<&'static str> {
    if !matches!(
        operator,
        Operator::Equal | Operator::NotEqual | Operator::In
    ) {
        return None;
    }
    let Some((Step::Key(selector), before)) = path.steps.split_last() else {
        return None;
    };
    if !before
        .iter()
        .any(|step| matches!(step, Step::Key(key) if key == "hashes"))
    {
        return None;
    }
    let form = FORMS.iter().find(|form| form.is_named(selector))?;
    let well_formed = |literal: &Literal| match literal {
        Literal::String(text) => form.allows(text),
        _ => false,
    };
    (!operand.literals().iter().all(well_formed)).then_some(form.name)
}

/// What the text of a hash looks like.
struct Form {
    /// As the STIX hash vocabulary writes it.
    name: &'static str,
    /// Lawful numbers of hexadecimal digits; empty for ssdeep, which is no hexadecimal.
    digits: &'static [usize],
}

impl Form {
    /// Whether a key of a hashes dictionary names this algorithm, in any case and
    /// with any hyphens.
    fn is_named(&self, selector: &str) -> bool {
        let letters = |name: &'static str| name.bytes().filter(|c| *c != b'-');
        let given = selector.bytes().filter(|c| !matches!(c, b'-' | b'\''));
        given.map(|c| c.to_ascii_uppercase()).eq(letters(self.name))
    }

    fn allows(&self, text: &str) -> bool {
        if self.digits.is_empty() {
            return (1..=SSDEEP_MAX).contains(&text.len())
                && text
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || b"/+:.".contains(&c));
        }
        self.digits.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit())
    }
}

/// Longest ssdeep text: a block size, two pieces of 64 and 32, doubled when not
/// truncated, and two colons.
const SSDEEP_MAX: usize = 148;

const FORMS: &[Form] = &[
    form("MD5", &[32]),
    form("SHA-1", &[40]),
    form("SHA-256", &[64]),
    form("SHA-512", &[128]),
    form("SHA-224", &[56]),
    form("SHA-384", &[96]),
    form("SHA3-224", &[56]),
    form("SHA3-256", &[64]),
    form("SHA3-384", &[96]),
    form("SHA3-512", &[128]),
    form("MD6", &[32, 40, 56, 64, 96, 128]),
    form("RIPEMD-160", &[40]),
    form("SSDEEP", &[]),
    form("WHIRLPOOL", &[128]),
];

const fn form(name: &'static str, digits: &'static [usize]) -> Form {
    Form { name, digits }
}

#[cfg(test)]
mod tests {
    use super::super::ast::Pattern;
    use super::super::ast::Spec;

    #[test]
    fn checks_whole_hashes_only() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for (text, fine) in [
            (format!("[file:hashes.MD5 = '{md5}']"), true),
            (format!("[file:hashes.'m-d5' != '{md5}']"), true),
            (format!("[file:hashes.md5 = '{md5}0']"), false),
            (format!("[file:hashes.'SHA-1' = '{md5}']"), false),
            (format!("[file:hashes.MD5 IN ('{md5}', '{md5}')]"), true),
            (format!("[file:hashes.MD5 IN ('{md5}', 'f00')]"), false),
            ("[file:hashes.MD5 = 5]".to_owned(), false),
            ("[file:hashes.MD5 LIKE 'd41d%']".to_owned(), true),
            ("[file:hashes.imphash = 'x']".to_owned(), true),
            ("[file:other.MD5 = 'x']".to_owned(), true),
            ("[file:hashes.SSDEEP = '3:a+/:b']".to_owned(), true),
            ("[file:hashes.ssdeep = 'no spaces']".to_owned(), false),
        ] {
            for spec in [Spec::V20, Spec::V21] {
                let parsed = Pattern::parse(&text, spec);
                assert_eq!(parsed.is_ok(), fine, "{text}: {parsed:?}");
            }
        }
    }
}
