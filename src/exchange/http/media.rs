//! Media types of answers.

/// A media type with its parameters (RFC 9110, 8.3.1), in lower case but for their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaType {
    /// Such as `application/taxii+json`.
    pub essence: String,
    /// Name and value, unquoted; at most [`MOST_PARAMETERS`].
    pub parameters: Vec<(String, String)>,
}

/// Parameters that are read; no media type has more than two.
const MOST_PARAMETERS: usize = 8;

impl MediaType {
    /// Reads the value of a `Content-Type`; `None`: it is none.
    ///
    /// Tolerant as clients must be: blanks around separators, quotes or not, trailing semicolons.
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = split_unquoted(value);
        let essence = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = essence.split_once('/')?;
        if ![kind, subtype].into_iter().all(is_token) {
            return None;
        }
        let parameters = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), unquote(value.trim())))
            .take(MOST_PARAMETERS)
            .collect();
        Some(Self {
            essence,
            parameters,
        })
    }

    /// The value of a parameter; `None`: there is none of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(own, _)| own == name)?;
        Some(&found.1)
    }

    /// Whether it is JSON of any kind (RFC 6839, 3.1).
    pub fn is_json(&self) -> bool {
        self.essence.ends_with("/json") || self.essence.ends_with("+json")
    }
}

/// The parts between semicolons that stand outside quotes.
fn split_unquoted(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    value.split(move |c| {
        let separates = c == ';' && !quoted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && c == '\\' && !escaped;
        separates
    })
}

fn unquote(value: &str) -> String {
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let Some(inner) = inner else {
        return value.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut escaped = false;
    for c in inner.chars() {
        if c == '\\' && !escaped {
            escaped = true;
        } else {
            plain.push(c);
            escaped = false;
        }
    }
    plain
}

/// RFC 9110, 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_as_servers_write_them() {
        for (value, essence, version) in [
            (
                "application/taxii+json;version=2.1",
                Some("application/taxii+json"),
                Some("2.1"),
            ),
            (
                "Application/TAXII+JSON ; Charset=utf-8; Version=\"2.1\";",
                Some("application/taxii+json"),
                Some("2.1"),
            ),
            ("text/html; charset=\"a;b\\\"c;d\"", Some("text/html"), None),
            ("application/json", Some("application/json"), None),
            ("application", None, None),
            ("", None, None),
            ("a b/c", None, None),
            ("/", None, None),
        ] {
            let read = MediaType::parse(value);
            assert_eq!(
                read.as_ref().map(|t| t.essence.as_str()),
                essence,
                "{value}"
            );
            let read = read.as_ref().and_then(|t| t.parameter("version"));
            assert_eq!(read, version, "{value}");
        }
        let quoted = MediaType::parse("text/html; charset=\"a;b\\\"c;d\"").unwrap();
        assert_eq!(quoted.parameter("charset"), Some("a;b\"c;d"));
        for (value, json) in [
            ("application/json", true),
            ("application/stix+json", true),
            ("text/html", false),
            ("application/jsonp", false),
        ] {
            assert_eq!(MediaType::parse(value).unwrap().is_json(), json, "{value}");
        }
    }
}
