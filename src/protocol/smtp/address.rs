//! Addresses in header fields (RFC 5322 3.4) and in paths (RFC 5321 4.1.2).

use std::borrow::Cow;

use crate::protocol::smtp::word::decode_words;

/// One address of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mailbox<'m> {
    /// `local@domain` as sent.
    pub address: &'m str,
    /// The name beside it, decoded; empty where there is none.
    pub display_name: &'m str,
}

/// Longest address that is one: RFC 5321 4.5.3.1 allows 64 octets, an @ and 255.
const MAX_ADDRESS: usize = 320;

/// Calls for each address of an unfolded list, up to `limit`.
pub(super) fn for_each_mailbox(
    list: &[u8],
    limit: usize,
    visit: &mut dyn FnMut(Mailbox<'_>),
) -> usize {
    let mut found = 0;
    let mut take = |piece: &[u8]| {
        if found < limit
            && let Some((address, name)) = read_mailbox(piece)
        {
            found += 1;
            visit(Mailbox {
                address: &address,
                display_name: &name,
            });
        }
    };
    let (mut quoted, mut escaped, mut comment, mut angle) = (false, false, 0_u32, false);
    let mut start = 0;
    for (at, byte) in list.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted || comment > 0 => escaped = true,
            b'"' if comment == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => comment = comment.saturating_add(1),
            b')' => comment = comment.saturating_sub(1),
            _ if comment > 0 => {}
            b'<' => angle = true,
            b'>' => angle = false,
            b',' | b';' if !angle => {
                take(list.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            // the name of a group, or "mailto:"
            b':' if !angle => start = at + 1,
            _ => {}
        }
    }
    take(list.get(start..).unwrap_or_default());
    found
}

/// The address of a path, as MAIL and RCPT name it: with or without brackets, and perhaps with
/// parameters after it. `None` for the null path and for what is no address.
pub(super) fn read_path(text: &[u8]) -> Option<Cow<'_, str>> {
    let text = text.trim_ascii();
    let inner = match text.strip_prefix(b"<") {
        Some(inner) => {
            let mut quoted = false;
            let end = inner.iter().position(|c| {
                quoted ^= *c == b'"';
                *c == b'>' && !quoted
            });
            inner.get(..end.unwrap_or(inner.len())).unwrap_or_default()
        }
        None => text
            .split(u8::is_ascii_whitespace)
            .next()
            .unwrap_or_default(),
    };
    address_of(inner)
}

/// An address without route and white space around it.
fn address_of(text: &[u8]) -> Option<Cow<'_, str>> {
    let mut text = text.trim_ascii();
    // RFC 5321 appendix C: a source route ends with a colon
    if text.starts_with(b"@") {
        let colon = text.iter().position(|c| *c == b':')?;
        text = text.get(colon + 1..)?.trim_ascii();
    }
    let at = text.iter().rposition(|c| *c == b'@')?;
    let sound = at > 0
        && at + 1 < text.len()
        && text.len() <= MAX_ADDRESS
        && !text.iter().any(u8::is_ascii_control);
    sound.then(|| String::from_utf8_lossy(text))
}

/// The address and the display name of one piece of a list.
fn read_mailbox(piece: &[u8]) -> Option<(Cow<'_, str>, String)> {
    let piece = piece.trim_ascii();
    if let Some(open) = piece.iter().rposition(|c| *c == b'<') {
        let (name, rest) = piece.split_at(open);
        let inner = rest.get(1..)?.split(|c| *c == b'>').next()?;
        return Some((address_of(inner)?, display_name(name)));
    }
    let quoted = piece.starts_with(b"\"") && piece.windows(2).any(|pair| pair == b"\"@");
    if quoted {
        return Some((address_of(piece)?, String::new()));
    }
    // "joe@example.org (Joe)"
    let (bare, comment) = match piece.iter().position(|c| *c == b'(') {
        Some(open) => {
            let (bare, comment) = piece.split_at(open);
            (bare, comment.get(1..).unwrap_or_default())
        }
        None => (piece, &[][..]),
    };
    let word = bare
        .split(u8::is_ascii_whitespace)
        .find(|word| word.contains(&b'@'))?;
    let comment = comment.strip_suffix(b")").unwrap_or(comment);
    Some((address_of(word)?, display_name(comment)))
}

fn display_name(text: &[u8]) -> String {
    let text = text.trim_ascii();
    let bare = text.strip_prefix(b"\"").and_then(|t| t.strip_suffix(b"\""));
    decode_words(bare.unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        for (list, expected) in [
            ("joe@example.org", &[("joe@example.org", "")][..]),
            ("Joe <joe@example.org>", &[("joe@example.org", "Joe")]),
            (
                "\"Q, Joe\" <joe@example.org>,",
                &[("joe@example.org", "Q, Joe")],
            ),
            (
                "joe@example.org (Joe, that is)",
                &[("joe@example.org", "Joe, that is")],
            ),
            (
                "A:a@x.example,B <b@x.example>;, c@x.example",
                &[
                    ("a@x.example", ""),
                    ("b@x.example", "B"),
                    ("c@x.example", ""),
                ],
            ),
            ("undisclosed-recipients:;", &[]),
            ("mailto:a@x.example", &[("a@x.example", "")]),
            (
                "<@one.example,@two.example:a@x.example>",
                &[("a@x.example", "")],
            ),
            ("\"a b\"@x.example", &[("\"a b\"@x.example", "")]),
            (
                "\"ceo@bank.example\" <a@x.example>",
                &[("a@x.example", "ceo@bank.example")],
            ),
            (
                "=?utf-8?Q?J=C3=A9?= <a@x.example>",
                &[("a@x.example", "J\u{e9}")],
            ),
            ("j\u{e9}@x.example", &[("j\u{e9}@x.example", "")]),
            ("< a@x.example >", &[("a@x.example", "")]),
            ("\"open <a@x.example>", &[("a@x.example", "\"open")]),
            ("<a@x.example", &[("a@x.example", "")]),
            ("a b@x.example c", &[("b@x.example", "")]),
            ("<>, <@>, a@, @b, nobody", &[]),
            ("", &[]),
        ] {
            let mut all = Vec::new();
            for_each_mailbox(list.as_bytes(), 16, &mut |m| {
                all.push((m.address.to_owned(), m.display_name.to_owned()));
            });
            let all: Vec<(&str, &str)> = all.iter().map(|(a, n)| (&**a, &**n)).collect();
            assert_eq!(all, expected, "{list}");
        }
        let mut count = 0;
        for_each_mailbox(&b"a@b,".repeat(100), 16, &mut |_| count += 1);
        assert_eq!(count, 16);
    }

    #[test]
    fn paths_are_read() {
        for (path, address) in [
            ("<a@x.example>", Some("a@x.example")),
            (" <a@x.example> SIZE=10 BODY=8BITMIME", Some("a@x.example")),
            ("a@x.example SIZE=10", Some("a@x.example")),
            ("<\"a>b\"@x.example>", Some("\"a>b\"@x.example")),
            ("<@one.example:a@x.example>", Some("a@x.example")),
            ("<a@[192.0.2.1]>", Some("a@[192.0.2.1]")),
            ("<>", None),
            ("<postmaster>", None),
            ("", None),
        ] {
            assert_eq!(read_path(path.as_bytes()).as_deref(), address, "{path}");
        }
    }
}
