//! The normal form of mail addresses.

use crate::observable::name;
use std::borrow::Cow;

/// Longest mail address: 64 octets, an @ and 255 (RFC 5321 section 4.5.3.1).
pub const MAX_ADDRESS: usize = 320;

/// A mail address in normal form: lower case, the domain in A-labels.
///
/// The local part goes to lower case as well, though RFC 5321 section 2.4 leaves its letter case
/// to the receiving host: no host in use tells the cases apart, and exchanges write addresses
/// either way. Letters beyond ASCII in a local part stay as they are.
///
/// `None` for what is no address: without an @, or with nothing on either side of it.
pub fn normalise(address: &str) -> Option<Cow<'_, str>> {
    let address = address.trim();
    let (local, domain) = address.rsplit_once('@')?;
    if local.is_empty()
        || domain.is_empty()
        || address.len() > MAX_ADDRESS
        || address.chars().any(char::is_control)
    {
        return None;
    }
    let bare = domain.strip_suffix('.').unwrap_or(domain);
    if bare.is_ascii() {
        return Some(
            match address.bytes().any(|b| b.is_ascii_uppercase()) || bare != domain {
                true => Cow::Owned(format!("{local}@{bare}").to_ascii_lowercase()),
                false => Cow::Borrowed(address),
            },
        );
    }
    let domain = name::normalise(domain)?;
    Some(Cow::Owned(format!(
        "{}@{domain}",
        local.to_ascii_lowercase()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        for (address, normal) in [
            ("joe@example.org", Some("joe@example.org")),
            (" Joe.Q@Example.ORG ", Some("joe.q@example.org")),
            ("joe@example.org.", Some("joe@example.org")),
            ("JOE@bücher.example", Some("joe@xn--bcher-kva.example")),
            ("\"a@b\"@example.org", Some("\"a@b\"@example.org")),
            ("joe@[192.0.2.1]", Some("joe@[192.0.2.1]")),
            ("jörg@example.org", Some("jörg@example.org")),
            ("example.org", None),
            ("@example.org", None),
            ("joe@", None),
            ("joe\n@example.org", None),
        ] {
            assert_eq!(normalise(address).as_deref(), normal, "{address}");
        }
        assert_eq!(normalise(&format!("{}@b", "a".repeat(MAX_ADDRESS))), None);
    }
}
