//! Members of JSON whose grammar is checked already.

use super::super::object::decode;
use super::super::object::kind_of_value;
use super::super::scan::Scanner;
use super::super::tally::quote;
use std::borrow::Cow;
use uuid::Uuid;

/// The text of the named members of an object, null being as good as absent;
/// an error where one is there twice, or where the value is no object.
pub(super) fn members<'a, const N: usize>(
    raw: &'a str,
    names: &[&'static str; N],
) -> Result<[Option<&'a str>; N], String> {
    let mut found = [None; N];
    each_member(raw, |name, value| {
        let at = names.iter().position(|wanted| **wanted == *name);
        match at.and_then(|at| found.get_mut(at)) {
            Some(Some(_)) => Err(format!(
                "the member {} is there twice: which one holds is unclear; remove one",
                quote(name)
            )),
            Some(place) => {
                *place = Some(value);
                Ok(())
            }
            None => Ok(()),
        }
    })?;
    Ok(found.map(|value| value.filter(|raw| *raw != "null")))
}

/// Calls `each` with the name and the text of every member of an object.
pub(super) fn each_member<'a>(
    raw: &'a str,
    mut each: impl FnMut(&str, &'a str) -> Result<(), String>,
) -> Result<(), String> {
    if !raw.starts_with('{') {
        return Err(format!("must be an object, not {}", kind_of_value(raw)));
    }
    let mut scanner = Scanner::new(raw);
    loop {
        // the brace, or the comma behind the member before
        scanner.pass();
        // the text was scanned before: what is no name here is the closing brace
        let Ok(name) = scanner.name() else {
            return Ok(());
        };
        let name = decode(name).unwrap_or_default();
        let Ok(value) = scanner.value() else {
            return Ok(());
        };
        each(&name, value)?;
        if scanner.next().is_err() {
            return Ok(());
        }
    }
}

/// Calls `each` with the index and the text of every value of a list; a value
/// that is absent, or is no list, has none.
pub(super) fn each_element<'a>(raw: Option<&'a str>, mut each: impl FnMut(usize, &'a str)) {
    let Some(raw) = raw.filter(|raw| raw.starts_with('[')) else {
        return;
    };
    let mut scanner = Scanner::new(raw);
    for index in 0.. {
        scanner.pass();
        let Ok(value) = scanner.value() else {
            return;
        };
        each(index, value);
        if scanner.next().is_err() {
            return;
        }
    }
}

/// A text, which MISP also writes as a number.
pub(super) fn text(raw: &str) -> Result<Cow<'_, str>, String> {
    match raw.as_bytes().first() {
        Some(b'-' | b'0'..=b'9') => Ok(Cow::Borrowed(raw)),
        _ => decode(raw),
    }
}

/// True or false, which MISP also writes as a number, or as either in quotes.
pub(super) fn flag(raw: &str) -> Result<bool, String> {
    match decode(raw).as_deref().unwrap_or(raw) {
        "true" | "1" => Ok(true),
        "false" | "0" | "" => Ok(false),
        other => Err(format!("{} must be true or false", quote(other))),
    }
}

/// Whether the text is a UUID in its usual form.
pub(in super::super) fn is_uuid(text: &str) -> bool {
    text.len() == 36 && Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_once() {
        let raw = r#"{"a":1,"\u0062":[{"a":2}],"c":null,"d":{}}"#;
        assert_eq!(
            members(raw, &["b", "a", "c", "e"]),
            Ok([Some(r#"[{"a":2}]"#), Some("1"), None, None])
        );
        assert_eq!(members("{}", &["a"]), Ok([None]));
        assert!(members(r#"{"a":1,"a":1}"#, &["a"]).is_err());
        assert!(members("[]", &["a"]).is_err());
    }

    #[test]
    fn flags_are_written_in_many_ways() {
        for (raw, meant) in [
            ("true", Some(true)),
            ("\"1\"", Some(true)),
            ("1", Some(true)),
            ("false", Some(false)),
            ("\"0\"", Some(false)),
            ("0", Some(false)),
            ("\"\"", Some(false)),
            ("\"yes\"", None),
            ("2", None),
            ("[]", None),
        ] {
            assert_eq!(flag(raw).ok(), meant, "{raw}");
        }
    }
}
