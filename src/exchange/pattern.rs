//! STIX patterns that say what other formats say.

use std::borrow::Cow;

/// A `User-Agent` header of HTTP.
pub(super) const USER_AGENT: &str =
    "network-traffic:extensions.'http-request-ext'.request_header.'User-Agent'";

/// A `Cookie` header of HTTP.
pub(super) const COOKIE: &str =
    "network-traffic:extensions.'http-request-ext'.request_header.'Cookie'";

/// What an HTTP request asks for: path and query.
pub(super) const REQUEST_VALUE: &str =
    "network-traffic:extensions.'http-request-ext'.request_value";

/// The pattern that asks for one text at a path.
pub(super) fn equal(path: &str, text: &str) -> String {
    format!("[{path} = '{}']", escape(text))
}

/// The pattern that asks for a certificate by its digest, and the digits; `None`: it is none.
///
/// Colons or spaces between the digits are how people write them.
pub(super) fn certificate(digest: &str) -> Option<(String, String)> {
    let mut digits: String = digest.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
    digits.make_ascii_lowercase();
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let algorithm = match digits.len() {
        32 => "MD5",
        40 => "'SHA-1'",
        64 => "'SHA-256'",
        _ => return None,
    };
    let pattern = equal(&format!("x509-certificate:hashes.{algorithm}"), &digits);
    Some((pattern, digits))
}

/// STIX 2.1 section 9.6.1: within quotes, quotes and backslashes are escaped.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if text.contains(['\'', '\\']) {
        Cow::Owned(text.replace('\\', "\\\\").replace('\'', "\\'"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_within_their_quotes() {
        assert_eq!(equal("a:b", r"x'\y"), r"[a:b = 'x\'\\y']");
    }

    #[test]
    fn certificates_are_told_by_their_digits() {
        let digits = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for written in [
            "DA:39:A3:EE:5E:6B:4B:0D:32:55:BF:EF:95:60:18:90:AF:D8:07:09",
            "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        ] {
            let (pattern, read) = certificate(written).unwrap();
            assert_eq!(read, digits);
            assert_eq!(
                pattern,
                format!("[x509-certificate:hashes.'SHA-1' = '{digits}']")
            );
        }
        assert_eq!(certificate("da39"), None);
        assert_eq!(certificate(&"zz".repeat(20)), None);
    }
}
