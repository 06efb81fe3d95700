//! Links in the text of mails.

use memchr::memchr2;

use crate::protocol::smtp::transfer::hex_digit;

/// The URLs in the texts of one mail, each once.
#[derive(Clone, Copy, Debug)]
pub struct MailLinks<'a> {
    pub(super) urls: &'a [String],
}

impl<'a> MailLinks<'a> {
    /// URLs as written, with a scheme; at most [`MAX_LINKS`].
    pub fn urls(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.urls.iter().map(String::as_str)
    }
}

/// The most links of one mail that are looked at: newsletters have some hundred.
pub const MAX_LINKS: usize = 256;

/// The most bytes that the links of one mail may take.
const MAX_LINK_BYTES: usize = 128 << 10;

/// The most bytes of a link that are kept; what follows is passed over, and the host stays.
pub const MAX_LINK: usize = 2 << 10;

/// Finds `http://` and `https://` URLs in text that streams by.
#[derive(Debug, Default)]
pub(super) struct LinkFinder {
    /// How much of `http://` was seen; one more after the `s` of `https`.
    matched: u8,
    secure: bool,
    /// Whether entities of HTML are undone.
    html: bool,
    /// The link at hand, if `inside`.
    link: Vec<u8>,
    inside: bool,
    found: Vec<String>,
    found_bytes: usize,
}

impl LinkFinder {
    /// Begins another text of the same mail.
    pub(super) fn begin(&mut self, html: bool) {
        self.matched = 0;
        self.html = html;
        self.inside = false;
    }

    /// Bytes of memory that the links take.
    pub(super) const fn held(&self) -> usize {
        self.found_bytes + self.found.capacity() * size_of::<String>() + self.link.capacity()
    }

    /// Takes in text that follows.
    pub(super) fn update(&mut self, mut text: &[u8]) {
        while let Some((byte, rest)) = text.split_first() {
            if self.inside {
                self.extend(*byte);
            } else if self.matched == 0 {
                let Some(at) = memchr2(b'h', b'H', text) else {
                    return;
                };
                self.matched = 1;
                text = text.get(at + 1..).unwrap_or_default();
                continue;
            } else {
                self.search(byte.to_ascii_lowercase());
            }
            text = rest;
        }
    }

    /// Ends a text.
    pub(super) fn finish(&mut self) {
        if self.inside {
            self.end(b' ');
        }
        self.matched = 0;
    }

    /// Takes out what was found in all texts.
    pub(super) fn take(&mut self) -> Vec<String> {
        self.found_bytes = 0;
        std::mem::take(&mut self.found)
    }

    fn search(&mut self, byte: u8) {
        const SCHEME: &[u8] = b"http";
        self.matched = match (self.matched, byte) {
            (n @ 1..=3, b) if SCHEME.get(usize::from(n)) == Some(&b) => n + 1,
            (4, b's') => 5,
            (n @ 4..=5, b':') => {
                self.secure = n == 5;
                6
            }
            (6, b'/') => 7,
            (7, b'/') => {
                let scheme: &[u8] = if self.secure { b"https://" } else { b"http://" };
                self.link.clear();
                self.link.extend_from_slice(scheme);
                self.inside = true;
                0
            }
            (_, b'h') => 1,
            _ => 0,
        };
    }

    fn extend(&mut self, byte: u8) {
        match byte {
            0..=b' '
            | 0x7f
            | b'"'
            | b'\''
            | b'<'
            | b'>'
            | b'`'
            | b'{'
            | b'}'
            | b'|'
            | b'\\'
            | b'^' => self.end(byte),
            _ if self.link.len() < MAX_LINK => self.link.push(byte),
            _ => {}
        }
    }

    /// Keeps the link that ended before this byte.
    fn end(&mut self, before: u8) {
        self.inside = false;
        let mut link = self.link.as_slice();
        if !matches!(before, b'"' | b'\'') {
            link = without_punctuation(link);
        }
        let text = match self.html && link.contains(&b'&') {
            true => String::from_utf8_lossy(&undo_entities(link)).into_owned(),
            false => String::from_utf8_lossy(link).into_owned(),
        };
        let bytes = self.found_bytes.saturating_add(text.len());
        let host_given = text
            .split_once("://")
            .is_some_and(|(_, host)| !host.is_empty());
        if host_given
            && self.found.len() < MAX_LINKS
            && bytes <= MAX_LINK_BYTES
            && !self.found.contains(&text)
        {
            self.found_bytes = bytes;
            self.found.push(text);
        }
        self.link.clear();
        self.link.shrink_to(MAX_LINK);
    }
}

/// A link in prose without what belongs to the sentence.
fn without_punctuation(mut link: &[u8]) -> &[u8] {
    while let Some((last, rest)) = link.split_last() {
        let sentence = match last {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'*' => true,
            b')' => !rest.contains(&b'('),
            b']' => !rest.contains(&b'['),
            _ => false,
        };
        if !sentence {
            break;
        }
        link = rest;
    }
    link
}

/// `&amp;` and references by number (HTML 13.5); other entities have no place in links.
fn undo_entities(link: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(link.len());
    let mut rest = link;
    while let Some((first, after)) = rest.split_first() {
        let entity = match first {
            b'&' => after.iter().take(10).position(|c| *c == b';'),
            _ => None,
        };
        let character = entity
            .and_then(|end| after.get(..end))
            .and_then(entity_character);
        match (character, entity) {
            (Some(character), Some(end)) => {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after.get(end + 1..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

fn entity_character(name: &[u8]) -> Option<char> {
    let (digits, radix) = match name {
        b"amp" => return Some('&'),
        [b'#', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'#', digits @ ..] => (digits, 10),
        _ => return None,
    };
    let number = digits.iter().try_fold(0_u32, |number, digit| {
        let digit = hex_digit(*digit)
            .map(u32::from)
            .filter(|digit| *digit < radix)?;
        number.checked_mul(radix)?.checked_add(digit)
    });
    number
        .and_then(char::from_u32)
        .filter(|c| !digits.is_empty() && !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_however_the_text_is_split() {
        for (html, text, links) in [
            (
                false,
                "see http://a.example/x?y=1#z.",
                &["http://a.example/x?y=1#z"][..],
            ),
            (
                false,
                "(HTTPS://A.example/) <http://b.example>,",
                &["https://A.example/", "http://b.example"],
            ),
            (
                false,
                "http://a.example/(x) (http://a.example/y)",
                &["http://a.example/(x)", "http://a.example/y"],
            ),
            (
                false,
                "http://a.example http://a.example\nhttp://a.example",
                &["http://a.example"],
            ),
            (
                false,
                "hhttp://a httphttps://b shttp:/ http:// x http:/http://c",
                &["http://a", "https://b", "http://c"],
            ),
            (
                false,
                "http://[2001:db8::1]:80/ x",
                &["http://[2001:db8::1]:80/"],
            ),
            (
                false,
                "http://a.example/?a=1&amp;b",
                &["http://a.example/?a=1&amp;b"],
            ),
            (
                true,
                "<a href=\"http://a.example/?a=1&amp;b=&#x41;&#66;&zz;&#1;.\">",
                &["http://a.example/?a=1&b=AB&zz;&#1;."],
            ),
            (
                true,
                "<img src=http://a.example/i.png><a href='http://b.example/'>",
                &["http://a.example/i.png", "http://b.example/"],
            ),
        ] {
            for step in 1..=text.len() {
                let mut finder = LinkFinder::default();
                finder.begin(html);
                text.as_bytes()
                    .chunks(step)
                    .for_each(|chunk| finder.update(chunk));
                finder.finish();
                assert_eq!(finder.take(), links, "{text} by {step}");
            }
        }
    }

    #[test]
    fn links_are_bounded() {
        let mut finder = LinkFinder::default();
        finder.begin(false);
        for number in 0..10 * MAX_LINKS {
            finder.update(format!("http://{number}.example/ ").as_bytes());
        }
        assert_eq!(finder.take().len(), MAX_LINKS);
        for number in 0..10 * MAX_LINKS {
            finder.update(format!("http://{number}.example/").as_bytes());
            finder.update(&vec![b'x'; 2 * MAX_LINK]);
            finder.update(b" ");
        }
        let found = finder.take();
        assert_eq!(found.len(), MAX_LINK_BYTES / MAX_LINK);
        assert!(found.iter().all(|link| link.len() == MAX_LINK));
    }
}
