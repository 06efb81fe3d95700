//! The normal form of domain names.

use std::borrow::Cow;

/// Longest domain name in text form (RFC 1035 section 2.3.4: 255 octets on the wire).
pub const MAX_NAME: usize = 253;

/// A domain name in normal form: A-labels in lower case, without a final dot.
///
/// `None` for what is no domain name: empty, too long, or with an empty label.
pub fn normalise(name: &str) -> Option<Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let normal = if !name.is_ascii() {
        Cow::Owned(idna::domain_to_ascii(name).ok()?)
    } else if name.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    };
    let sound = !normal.is_empty()
        && normal.len() <= MAX_NAME
        && normal.split('.').all(|label| !label.is_empty())
        && !normal
            .bytes()
            .any(|b| b.is_ascii_control() || b" /:@\\".contains(&b));
    sound.then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        for (name, normal) in [
            ("example.org", Some("example.org")),
            ("EXAMPLE.Org.", Some("example.org")),
            ("_dmarc.example.org", Some("_dmarc.example.org")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("a b.example", None),
            ("http://a.example", None),
        ] {
            assert_eq!(normalise(name).as_deref(), normal, "{name}");
        }
    }
}
