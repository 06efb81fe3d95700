//! Undoes what people do to values so that nobody clicks on them.

use std::borrow::Cow;

/// What stands for what, anywhere in a value; a longer one comes before its beginning.
const ANYWHERE: [(&str, &str); 11] = [
    ("[://]", "://"),
    ("[:/]", ":/"),
    ("[dot]", "."),
    ("[at]", "@"),
    ("[.]", "."),
    ("[,]", "."),
    ("[:]", ":"),
    ("[/]", "/"),
    ("[@]", "@"),
    ("[.", "."),
    (".]", "."),
];

/// What stands for what before the path of a URL alone, where it could be meant as written.
const BEFORE_PATH: [(&str, &str); 10] = [
    ("(dot)", "."),
    ("{dot}", "."),
    ("(at)", "@"),
    ("{at}", "@"),
    ("(.)", "."),
    ("{.}", "."),
    ("(@)", "@"),
    ("{@}", "@"),
    ("(.", "."),
    ("\\.", "."),
];

/// The value that a defanged one stands for; any other as it is.
pub(crate) fn refang(value: &str) -> Cow<'_, str> {
    let value = replace_tokens(value);
    match scheme_of(&value) {
        Some((defanged, scheme)) => {
            let rest = value.get(defanged..).unwrap_or_default();
            Cow::Owned(format!("{scheme}{rest}"))
        }
        None => value,
    }
}

fn replace_tokens(value: &str) -> Cow<'_, str> {
    if memchr::memchr3(b'[', b'(', b'{', value.as_bytes()).is_none()
        && !value.contains(".]")
        && !value.contains('\\')
    {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut changed = false;
    // of the slashes, the first two belong to the scheme
    let mut within_path = false;
    while let Some(first) = rest.chars().next() {
        let before_path: &[_] = if within_path { &[] } else { &BEFORE_PATH };
        let token = ANYWHERE
            .iter()
            .chain(before_path)
            .filter(|_| matches!(first, '[' | '(' | '{' | '.' | '\\'))
            .find(|(token, _)| starts_with(rest, token));
        let (taken, put) = match token {
            Some((token, meant)) => (token.len(), *meant),
            None => (
                first.len_utf8(),
                rest.get(..first.len_utf8()).unwrap_or_default(),
            ),
        };
        changed |= token.is_some();
        out.push_str(put);
        rest = rest.get(taken..).unwrap_or_default();
        within_path |= put.ends_with('/') && !out.ends_with(":/") && !out.ends_with("://");
    }
    if changed {
        Cow::Owned(out)
    } else {
        Cow::Borrowed(value)
    }
}

/// How long a defanged scheme at the start is, and which it stands for.
fn scheme_of(value: &str) -> Option<(usize, &'static str)> {
    let length = value.find("://")?;
    let scheme = value.get(..length)?.to_ascii_lowercase();
    match scheme.as_str() {
        "hxxp" | "h**p" | "hxtp" | "htxp" | "h__p" | "hzzp" => Some((length, "http")),
        "hxxps" | "h**ps" | "hxtps" | "htxps" | "h__ps" | "hzzps" => Some((length, "https")),
        _ => None,
    }
}

fn starts_with(text: &str, token: &str) -> bool {
    text.get(..token.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undoes_defanging() {
        for (written, meant) in [
            ("example.org", "example.org"),
            ("hxxp://example[.]org/", "http://example.org/"),
            ("hXXps://example.org/a", "https://example.org/a"),
            ("HXXP[://]example[dot]org", "http://example.org"),
            ("http[:]//example(.)org/x(.)y", "http://example.org/x(.)y"),
            ("h**p[:]//a{.}b{DOT}c/", "http://a.b.c/"),
            ("192[.]0[.]2[.]1", "192.0.2.1"),
            ("192.0.2[.1", "192.0.2.1"),
            ("192.0.2.]1", "192.0.2.1"),
            ("2001[:]db8[:][:]1", "2001:db8::1"),
            ("http://[2001:db8::1]:80/", "http://[2001:db8::1]:80/"),
            ("hxxp://[::]/", "http://[::]/"),
            ("user[at]example[.]org", "user@example.org"),
            ("user(@)example\\.org", "user@example.org"),
            ("http://example.org/a\\.b", "http://example.org/a\\.b"),
            ("http://example.org/a[.]php", "http://example.org/a.php"),
            ("HTTP://Example.org/", "HTTP://Example.org/"),
            ("ftp://example.org/", "ftp://example.org/"),
            ("é[.]example", "é.example"),
        ] {
            assert_eq!(refang(written), meant, "{written}");
            assert_eq!(refang(meant), meant, "once is enough");
        }
    }
}
