//! A mail as its envelope and header show it.

use std::borrow::Cow;

use crate::protocol::smtp::address::Mailbox;
use crate::protocol::smtp::address::for_each_mailbox;
use crate::protocol::smtp::word::decode_words;
use crate::protocol::smtp::word::unfold;

/// Whom a mail is from and for, as the dialogue says (RFC 5321 2.3.1), so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub(super) from: Option<String>,
    pub(super) to: Vec<String>,
}

/// The most recipients of one mail that are remembered: RFC 5321 4.5.3.1.8 asks servers for 100.
pub const MAX_RECIPIENTS: usize = 128;

/// The most addresses of one header that are looked at; lists beyond that are no one's mail.
pub const MAX_ADDRESSES: usize = 512;

/// The most fields of one header that are looked at: those that relays add are some dozens.
pub const MAX_FIELDS: usize = 512;

/// The most bytes of one field's value that are decoded; folded lists of recipients fit.
const MAX_VALUE: usize = 16 << 10;

impl Envelope {
    /// The reverse-path; `None` for the null path, or where it was not seen.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// The forward-paths, at most [`MAX_RECIPIENTS`].
    pub fn to(&self) -> impl Iterator<Item = &str> {
        self.to.iter().map(String::as_str)
    }

    /// Bytes of memory that the addresses take.
    pub(super) fn held(&self) -> usize {
        let from = self.from.as_ref().map_or(0, String::capacity);
        let to: usize = self.to.iter().map(String::capacity).sum();
        self.to.capacity() * size_of::<String>() + from + to
    }

    pub(super) fn clear(&mut self) {
        self.from = None;
        self.to.clear();
    }
}

/// An address that MAIL or RCPT named, as soon as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvelopeAddress<'a> {
    /// Whose it is: [`Role::MailFrom`] or [`Role::RcptTo`].
    pub role: Role,
    /// `local@domain` as sent.
    pub address: &'a str,
    /// What the same mail's dialogue named before.
    pub earlier: &'a Envelope,
}

/// What an address does in a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Reverse-path of the envelope.
    MailFrom,
    /// Forward-path of the envelope.
    RcptTo,
    /// `From`
    From,
    /// `Sender`
    Sender,
    /// `Reply-To`
    ReplyTo,
    /// `To`
    To,
    /// `Cc`
    Cc,
    /// `Bcc`
    Bcc,
    /// `Return-Path`
    ReturnPath,
}

impl Role {
    /// The role of the addresses in a field.
    fn of_field(name: &str) -> Option<Self> {
        const FIELDS: [(&str, Role); 7] = [
            ("from", Role::From),
            ("sender", Role::Sender),
            ("reply-to", Role::ReplyTo),
            ("to", Role::To),
            ("cc", Role::Cc),
            ("bcc", Role::Bcc),
            ("return-path", Role::ReturnPath),
        ];
        FIELDS
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, role)| *role)
    }
}

/// A mail whose header is complete (RFC 5322 2.2).
///
/// What it holds is read and decoded when asked for.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) header: &'a [u8],
    pub(super) multipart: bool,
}

impl<'a> Mail<'a> {
    /// Whom it is from and for, as the dialogue said.
    pub const fn envelope(&self) -> &'a Envelope {
        self.envelope
    }

    /// Whether its content is of several parts.
    pub const fn is_multipart(&self) -> bool {
        self.multipart
    }

    /// Names and values of the fields, as sent; at most [`MAX_FIELDS`].
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        Fields { rest: self.header }.take(MAX_FIELDS)
    }

    /// The decoded values of the fields of a name, in their order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = String> {
        self.fields()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| decode_value(v))
    }

    /// The decoded value of the first field of a name.
    pub fn value(&self, name: &str) -> Option<String> {
        self.values(name).next()
    }

    /// The subject, decoded.
    pub fn subject(&self) -> Option<String> {
        self.value("subject")
    }

    /// Calls for each address of the header, at most [`MAX_ADDRESSES`].
    pub fn for_each_address(&self, visit: &mut dyn FnMut(Role, Mailbox<'_>)) {
        let mut left = MAX_ADDRESSES;
        for (name, value) in self.fields() {
            if let Some(role) = Role::of_field(name) {
                let found = for_each_mailbox(&whole(value), left, &mut |m| visit(role, m));
                left = left.saturating_sub(found);
            }
        }
    }
}

/// A value on one line, cut to its cap.
fn whole(value: &[u8]) -> Cow<'_, [u8]> {
    unfold(value.get(..MAX_VALUE).unwrap_or(value).trim_ascii())
}

/// The decoded text of a field's value.
pub fn decode_value(value: &[u8]) -> String {
    decode_words(&whole(value))
}

/// Fields of a header.
pub(super) struct Fields<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let end = end_of_field(self.rest);
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            if let Some(name) = field_name(field) {
                let value = field.get(name.len()..).unwrap_or_default();
                let colon = value.iter().position(|c| *c == b':').map_or(0, |at| at + 1);
                return Some((name, value.get(colon..).unwrap_or_default().trim_ascii()));
            }
        }
    }
}

/// Where the lines of the first field end: before the first that is not folded.
fn end_of_field(bytes: &[u8]) -> usize {
    let folded = |at: &usize| matches!(bytes.get(*at + 1), Some(b' ' | b'\t'));
    let mut ends = memchr::memchr_iter(b'\n', bytes).skip_while(folded);
    ends.next().map_or(bytes.len(), |at| at + 1)
}

/// The name of a line that opens a field (RFC 5322 2.2, and white space before the colon as
/// RFC 5322 4.5 bears it).
pub(super) fn field_name(line: &[u8]) -> Option<&str> {
    let end = line
        .iter()
        .position(|c| *c == b':' || !c.is_ascii_graphic())?;
    let (name, rest) = line.split_at(end);
    let sound = !name.is_empty() && rest.trim_ascii_start().first() == Some(&b':');
    std::str::from_utf8(name).ok().filter(|_| sound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        let header = b"Received: from a\r\n\tby b\r\nX-Empty:\r\n\
            Subject: =?utf-8?Q?caf=C3=A9?=\r\n =?utf-8?Q?_noir?=\r\nno field\r\n\
            from : Joe <joe@example.org>\nTo: a@x.example,\r\n b@x.example\r\nX: cut";
        let envelope = Envelope::default();
        let mail = Mail {
            envelope: &envelope,
            header,
            multipart: false,
        };
        let names: Vec<&str> = mail.fields().map(|(name, _)| name).collect();
        assert_eq!(names, ["Received", "X-Empty", "Subject", "from", "To", "X"]);
        assert_eq!(mail.subject().as_deref(), Some("caf\u{e9} noir"));
        assert_eq!(mail.value("received").as_deref(), Some("from a\tby b"));
        assert_eq!(mail.value("x-empty").as_deref(), Some(""));
        assert_eq!(mail.value("x").as_deref(), Some("cut"));
        assert_eq!(mail.value("y"), None);
        let mut all = Vec::new();
        mail.for_each_address(&mut |role, m| all.push((role, m.address.to_owned())));
        let expected = [
            (Role::From, "joe@example.org".to_owned()),
            (Role::To, "a@x.example".to_owned()),
            (Role::To, "b@x.example".to_owned()),
        ];
        assert_eq!(all, expected);
    }
}
