//! DHCP: what a host calls itself when it asks for an address.
//!
//! Read first: RFC 2131 section 2 and RFC 2132 section 3.14 (DHCPv4), RFC 4702 (its name in
//! full), RFC 8415 sections 8 and 9 and RFC 4704 (DHCPv6). Only what clients say is of interest:
//! servers repeat it. A relay's message is looked into, since behind one nothing else is seen.

use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::Probe;

/// Hands over the names by which the client of a message calls itself, as it wrote them; text
/// that is no UTF-8 is passed over. Whether the message is one of a client, relayed or not.
///
/// `ports` are those of the datagram: DHCPv6 has nothing else to be recognised by.
pub fn client_names(payload: &[u8], ports: (u16, u16), take: &mut dyn FnMut(&str)) -> bool {
    if probe_v4(payload) == Probe::Certain {
        return names_v4(payload, take);
    }
    is_v6(ports) && names_v6(payload, MAX_RELAYS, take)
}

/// Whether a datagram is DHCPv4, by its cookie.
pub fn probe_v4(payload: &[u8]) -> Probe {
    let sound = matches!(payload, [BOOT_REQUEST | BOOT_REPLY, _, 0..=16, ..])
        && payload.get(COOKIE_AT..OPTIONS_AT) == Some(&COOKIE);
    if sound {
        Probe::Certain
    } else {
        Probe::NotForUs
    }
}

fn names_v4(payload: &[u8], take: &mut dyn FnMut(&str)) -> bool {
    let mut options = Octets::new(payload.get(OPTIONS_AT..).unwrap_or_default());
    // what is cut short has given what it had
    let _ = each_option_v4(&mut options, &mut |code, value| match code {
        HOST_NAME => take_text(value, take),
        CLIENT_FQDN => {
            // flags, and two octets without meaning
            if let [flags, _, _, name @ ..] = value {
                if flags & ENCODED != 0 {
                    take_labels(name, take);
                } else {
                    take_text(name, take);
                }
            }
        }
        _ => {}
    });
    payload.first() == Some(&BOOT_REQUEST)
}

fn each_option_v4(
    options: &mut Octets<'_>,
    each: &mut dyn FnMut(u8, &[u8]),
) -> Result<(), ParseError> {
    loop {
        match options.u8("option")? {
            PAD => {}
            END => return Ok(()),
            code => {
                let length = usize::from(options.u8("option length")?);
                each(code, options.take(length, "option")?);
            }
        }
    }
}

fn is_v6((one, other): (u16, u16)) -> bool {
    const CLIENT: u16 = 546;
    const SERVER: u16 = 547;
    [one, other]
        .iter()
        .all(|port| matches!(*port, CLIENT | SERVER))
}

/// Whether the message is one of a client.
fn names_v6(payload: &[u8], relays: usize, take: &mut dyn FnMut(&str)) -> bool {
    let (is_relayed, header) = match payload.first() {
        Some(&RELAY_FORWARD) => (true, RELAY_HEADER),
        Some(kind) if CLIENT_MESSAGES.contains(kind) => (false, CLIENT_HEADER),
        _ => return false,
    };
    let Some(options) = payload.get(header..) else {
        return false;
    };
    let mut is_client = !is_relayed;
    // what is cut short has given what it had
    let _ = each_option_v6(&mut Octets::new(options), &mut |code, value| match code {
        CLIENT_FQDN_V6 if !is_relayed => take_labels(value.get(1..).unwrap_or_default(), take),
        RELAY_MESSAGE if is_relayed && relays > 0 => {
            is_client |= names_v6(value, relays - 1, take);
        }
        _ => {}
    });
    is_client
}

fn each_option_v6(
    options: &mut Octets<'_>,
    each: &mut dyn FnMut(u16, &[u8]),
) -> Result<(), ParseError> {
    while !options.is_empty() {
        let code = options.u16("option")?;
        let length = usize::from(options.u16("option length")?);
        each(code, options.take(length, "option")?);
    }
    Ok(())
}

/// A name in text; senders may end it with a zero.
fn take_text(value: &[u8], take: &mut dyn FnMut(&str)) {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    if let Ok(name) = std::str::from_utf8(text)
        && !name.is_empty()
    {
        take(name);
    }
}

/// A name as in DNS but without pointers (RFC 8415 section 10), or the first labels of one.
fn take_labels(value: &[u8], take: &mut dyn FnMut(&str)) {
    let mut input = Octets::new(value);
    let mut name = String::new();
    while let Ok(length @ 1..=63) = input.u8("label length") {
        let Ok(Ok(label)) = input
            .take(usize::from(length), "label")
            .map(std::str::from_utf8)
        else {
            return;
        };
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(label);
    }
    if !name.is_empty() {
        take(&name);
    }
}

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;

/// Place of the cookie: behind the fixed fields of BOOTP.
const COOKIE_AT: usize = 236;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
const OPTIONS_AT: usize = COOKIE_AT + COOKIE.len();

const PAD: u8 = 0;
const HOST_NAME: u8 = 12;
const CLIENT_FQDN: u8 = 81;
const END: u8 = 255;

/// The name is in labels, not in text (RFC 4702 section 2.1).
const ENCODED: u8 = 0x04;

const RELAY_FORWARD: u8 = 12;

/// Type, hops, two addresses (RFC 8415 section 9).
const RELAY_HEADER: usize = 34;

/// Type and transaction (RFC 8415 section 8).
const CLIENT_HEADER: usize = 4;

/// SOLICIT, REQUEST, CONFIRM, RENEW, REBIND, RELEASE, DECLINE, INFORMATION-REQUEST.
const CLIENT_MESSAGES: [u8; 8] = [1, 3, 4, 5, 6, 8, 9, 11];

const RELAY_MESSAGE: u16 = 9;
const CLIENT_FQDN_V6: u16 = 39;

/// Relays that a message passed: no network has more in a row (RFC 8415 section 7.6 says 8 hops).
const MAX_RELAYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(payload: &[u8], ports: (u16, u16)) -> (bool, Vec<String>) {
        let mut names = Vec::new();
        let is_client = client_names(payload, ports, &mut |name| names.push(name.to_owned()));
        (is_client, names)
    }

    fn v4(operation: u8, options: &[u8]) -> Vec<u8> {
        let mut message = vec![0; COOKIE_AT];
        message[..3].copy_from_slice(&[operation, 1, 6]);
        message.extend(COOKIE);
        message.extend(options);
        message
    }

    #[test]
    fn what_clients_of_v4_call_themselves() {
        let ports = (68, 67);
        let options = [&[53, 1, 3, 12, 6][..], b"LAPTOP", &[255]].concat();
        let expected = (true, vec!["LAPTOP".to_owned()]);
        assert_eq!(names(&v4(BOOT_REQUEST, &options), ports), expected);
        // the ports do not matter
        assert_eq!(names(&v4(BOOT_REQUEST, &options), (1, 2)), expected);
        assert!(!names(&v4(BOOT_REPLY, &options), ports).0);
        let text = [&[0, 81, 11, 0, 0, 0][..], b"pc.a.x\0\0", &[255]].concat();
        assert_eq!(names(&v4(BOOT_REQUEST, &text), ports).1, ["pc.a.x"]);
        let labels = [&[81, 10, 4, 0, 0][..], b"\x02pc\x01a\x00", &[255]].concat();
        assert_eq!(names(&v4(BOOT_REQUEST, &labels), ports).1, ["pc.a"]);
        for broken in [
            &[][..],
            &[12],
            &[12, 9, b'a'],
            &[12, 0, 255],
            &[12, 1, 0xff, 255],
            &[81, 2, 4, 0],
            &[81, 5, 4, 0, 0, 9, b'a'],
            &[81, 5, 4, 0, 0, 0xc0, 12],
        ] {
            let none = (true, Vec::new());
            assert_eq!(names(&v4(BOOT_REQUEST, broken), ports), none, "{broken:?}");
        }
        let whole = v4(BOOT_REQUEST, &options);
        for length in 0..whole.len() {
            names(&whole[..length], ports);
        }
        assert!(!names(&whole[..COOKIE_AT], ports).0);
    }

    #[test]
    fn what_clients_of_v6_call_themselves() {
        let ports = (546, 547);
        let option = |code: u16, value: &[u8]| {
            let length = value.len() as u16;
            [&code.to_be_bytes()[..], &length.to_be_bytes(), value].concat()
        };
        let solicit = [&[1, 7, 7, 7][..], &option(39, b"\x01\x02pc\x01a\x00")].concat();
        assert_eq!(names(&solicit, ports), (true, vec!["pc.a".to_owned()]));
        assert_eq!(names(&solicit, (546, 53)), (false, Vec::new()));
        // a byte too many, an option cut short: what came before them counts
        for tail in [&[0][..], &[0, 1, 0, 9, 7]] {
            let cut = [&solicit, tail].concat();
            assert_eq!(names(&cut, ports).1, ["pc.a"], "{tail:?}");
            let relayed = [&[12; 34][..], &option(9, &cut), tail].concat();
            assert_eq!(names(&relayed, (547, 547)).1, ["pc.a"], "{tail:?}");
        }
        let partial = [&[3, 7, 7, 7][..], &option(39, b"\x01\x02pc")].concat();
        assert_eq!(names(&partial, ports), (true, vec!["pc".to_owned()]));
        let advertise = [&[2, 7, 7, 7][..], &option(39, b"\x01\x02pc")].concat();
        assert_eq!(names(&advertise, ports), (false, Vec::new()));
        let mut relayed = solicit;
        for relay in 0..12 {
            let (is_client, seen) = names(&relayed, (547, 547));
            assert_eq!(
                (is_client, seen.len()),
                (relay <= 8, usize::from(relay <= 8))
            );
            relayed = [&[12; 34][..], &option(9, &relayed)].concat();
        }
    }
}
