//! Elements of sets, written and read: keys, time-outs, counters, comments.

use crate::block::Cause;
use crate::block::Held;
use crate::block::netlink::Attributes;
use crate::block::netlink::Messages;
use crate::block::netlink::fixed;
use crate::block::plan::Hold;
use crate::block::plan::Key;
use crate::block::range::Family;
use crate::block::range::Range;
use crate::block::range::number_of;
use crate::block::rules::Set;
use crate::block::target::Protocol;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Flag of an element, `NFT_SET_ELEM_INTERVAL_END`: the first address after a range.
pub(super) const INTERVAL_END: u32 = 1;

/// Bytes of a comment, its final zero included (`NFTNL_UDATA_COMMENT_MAXLEN`).
const MAX_COMMENT: usize = 128;

/// The attributes behind the fixed part of an answer.
pub(super) fn attributes(body: &[u8]) -> Attributes<'_> {
    Attributes(body.get(4..).unwrap_or_default())
}

/// An element as the kernel tells it, before the two of a range are brought together.
pub(super) struct RawElement {
    key: Vec<u8>,
    is_end: bool,
    held: Held,
}

/// Reads the elements of one answer.
pub(super) fn read_elements(set: Set, body: &[u8], out: &mut Vec<RawElement>) {
    let Some(list) = attributes(body).within(3) else {
        return;
    };
    for (_, value) in list {
        let element = Attributes(value);
        let Some(key) = element.within(1).and_then(|key| key.value(1)) else {
            continue;
        };
        let is_end = element.number_u32(3).unwrap_or(0) & INTERVAL_END != 0;
        let (cause, indicator) = match element.value(6).and_then(comment_in) {
            Some(comment) => read_comment(comment),
            None => (None, "".into()),
        };
        let counter = element.within(7).filter(|e| e.text(1) == Some("counter"));
        let counter = counter.and_then(|e| e.within(2));
        let counted = |kind| counter.and_then(|c| c.number_u64(kind)).unwrap_or(0);
        // without a time-out there is none that could be over
        let remaining = element.number_u64(4).map(|timeout| {
            Duration::from_millis(element.number_u64(5).unwrap_or(timeout).min(timeout))
        });
        out.push(RawElement {
            key: key.to_vec(),
            is_end,
            held: Held {
                key: single_key(set, key).unwrap_or(Key::Address(UNKNOWN)),
                indicator,
                cause,
                remaining,
                packets: counted(2),
                bytes: counted(1),
            },
        });
    }
}

/// Stands for a key until its range is known.
const UNKNOWN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// Elements of a set, whole.
pub(super) fn join(set: Set, mut raw: Vec<RawElement>) -> Vec<Held> {
    if !set.is_interval() {
        return raw.into_iter().map(|element| element.held).collect();
    }
    let (Set::Allow(family) | Set::Networks(family)) = set else {
        return Vec::new();
    };
    // where one range ends and the next begins, the end comes first
    raw.sort_by(|a, b| a.key.cmp(&b.key).then(b.is_end.cmp(&a.is_end)));
    let mut out = Vec::with_capacity(raw.len() / 2);
    let mut raw = raw.into_iter().peekable();
    while let Some(element) = raw.next() {
        // an end whose beginning is over stands alone for a while
        if element.is_end {
            continue;
        }
        let last = match raw.peek() {
            Some(next) => number_in(&next.key).saturating_sub(1),
            None => family.greatest(),
        };
        if let Some(range) = Range::from_numbers(family, number_in(&element.key), last) {
            out.push(Held {
                key: Key::Range(range),
                ..element.held
            });
        }
    }
    out
}

/// The key of an element that is no range.
fn single_key(set: Set, key: &[u8]) -> Option<Key> {
    let address = |family: Family| -> Option<IpAddr> {
        Some(family.address(number_in(key.get(..family.width())?)))
    };
    match set {
        Set::Hosts(family) => Some(Key::Address(address(family)?)),
        Set::Services(family) => {
            let rest = key.get(family.width()..)?;
            let protocol = Protocol::from_number(*rest.first()?)?;
            let port = u16::from_be_bytes(fixed(rest, 4)?);
            Some(Key::Service(address(family)?, protocol, port))
        }
        _ => None,
    }
}

/// A number in network byte order, of at most 16 bytes.
fn number_in(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .take(16)
        .fold(0, |number, byte| number << 8 | u128::from(*byte))
}

pub(super) fn put_key(messages: &mut Messages, key: Key) {
    match key {
        Key::Address(address) => {
            let (family, number) = number_of(address);
            put_number(messages, family, number);
        }
        Key::Range(range) => put_number(messages, range.family(), range.numbers().0),
        Key::Service(address, protocol, port) => {
            let mut value = bytes_of(address);
            value.extend_from_slice(&[protocol.number(), 0, 0, 0]);
            value.extend_from_slice(&port.to_be_bytes());
            value.extend_from_slice(&[0; 2]);
            messages.put_data(1, &value);
        }
    }
}

pub(super) fn put_number(messages: &mut Messages, family: Family, number: u128) {
    messages.put_data(1, &bytes_of(family.address(number)));
}

fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A time-out, and the same as what is left of it: where an element is held already, the second
/// renews it, which the first alone does not if it is what it was.
pub(super) fn put_timeout(messages: &mut Messages, timeout: Option<Duration>) {
    if let Some(timeout) = timeout {
        messages.put_u64(4, milliseconds(timeout));
        messages.put_u64(5, milliseconds(timeout));
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    // none is no time-out at all
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// A comment, where `nft list` looks for it: type 0, length, text, zero.
pub(super) fn put_comment(messages: &mut Messages, comment: &str) {
    let mut value = vec![0, (comment.len() + 1) as u8];
    value.extend_from_slice(comment.as_bytes());
    value.push(0);
    messages.put(6, &value);
}

/// The comment in an element's user data.
fn comment_in(mut data: &[u8]) -> Option<&str> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok();
        }
        data = rest.get(usize::from(*length)..)?;
    }
    None
}

/// The comment of an element: its cause and its indicator, of printable ASCII without what could
/// end a quotation, and no longer than `nft` reads.
pub(super) fn comment_of(hold: &Hold) -> String {
    let mut comment = hold.cause.as_str().to_owned();
    comment.push(' ');
    let room = MAX_COMMENT - 1 - comment.len();
    comment.extend(hold.indicator.chars().take(room).map(|c| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    }));
    comment
}

fn read_comment(comment: &str) -> (Option<Cause>, Arc<str>) {
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    match Cause::from_word(word) {
        Some(cause) => (Some(cause), rest.into()),
        None => (None, "".into()),
    }
}

/// The indicator of a hold as its element will tell it: cut and harmless.
pub(super) fn indicator_of(hold: &Hold) -> Arc<str> {
    read_comment(&comment_of(hold)).1
}

/// Whether an element says of itself what a hold says.
pub(super) fn is_for(held: &Held, hold: &Hold) -> bool {
    held.cause == Some(hold.cause) && indicator_of(hold) == held.indicator
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn comments_are_short_harmless_and_read_back() {
        let long = "x".repeat(500);
        for (indicator, comment) in [
            ("indicator--1", "match indicator--1"),
            ("", "match "),
            ("a \"b\" \\ c", "match a 'b' ' c"),
            ("é\u{1b}[31m\n\u{202e}", "match ??[31m??"),
            (&long, &format!("match {}", "x".repeat(121))),
        ] {
            let hold = Hold {
                until: Timestamp::MAX,
                indicator: indicator.into(),
                cause: Cause::Match,
            };
            assert_eq!(comment_of(&hold), comment);
            assert!(comment.len() < MAX_COMMENT);
            let mut messages = Messages::default();
            put_comment(&mut messages, comment);
            let data = Attributes(messages.bytes()).value(6).unwrap();
            assert_eq!(comment_in(data), Some(comment));
            let (cause, read) = read_comment(comment);
            assert_eq!(cause, Some(Cause::Match));
            assert_eq!(read, indicator_of(&hold));
            // cut anywhere, it is none
            for length in 0..data.len() {
                assert_eq!(comment_in(&data[..length]), None);
            }
        }
        // of others: another type first, no word of ours
        assert_eq!(comment_in(&[1, 2, 9, 9, 0, 2, b'a', 0]), Some("a"));
        assert_eq!(read_comment("by somebody").0, None);
    }

    #[test]
    fn ranges_are_put_together_whatever_ends_are_left_over() {
        let raw = |last: u8, is_end: bool| RawElement {
            key: vec![192, 0, 2, last],
            is_end,
            held: Held {
                key: Key::Address(UNKNOWN),
                indicator: "".into(),
                cause: None,
                remaining: None,
                packets: 0,
                bytes: 0,
            },
        };
        for (elements, told) in [
            (vec![], ""),
            (vec![raw(8, true), raw(0, false)], "192.0.2.0/29"),
            // neighbours, in any order
            (
                vec![raw(8, false), raw(8, true), raw(16, true), raw(0, false)],
                "192.0.2.0/29 192.0.2.8/29",
            ),
            // the beginning of one is over already
            (
                vec![raw(4, true), raw(8, false), raw(16, true)],
                "192.0.2.8/29",
            ),
            // to the end of the family
            (vec![raw(0, false)], "192.0.2.0-255.255.255.255"),
        ] {
            let joined = join(Set::Networks(Family::V4), elements);
            let keys: Vec<String> = joined.iter().map(|held| held.key.to_string()).collect();
            assert_eq!(keys.join(" "), told);
        }
    }
}
