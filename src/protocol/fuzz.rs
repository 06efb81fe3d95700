//! Laws of parsers, for inputs of any kind.
//!
//! An input is a dialogue: bytes, with marks of three bytes where the speaker changes or
//! something is missing, so that a change to one turn leaves the others whole.

use crate::flow::Direction;
use crate::flow::Direction::ToClient;
use crate::flow::Direction::ToServer;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::dhcp::client_names;
use crate::protocol::dhcp::probe_v4;
use crate::protocol::dns::DnsMessage;
use crate::protocol::dns::NameBuffers;
use crate::protocol::dns::probe_datagram;
use crate::protocol::quic::QuicParser;
use crate::protocol::registry::StreamProtocol;

/// Bytes that one parser may hold: what all flows of a shard may take together. The largest
/// windows of decoders are not far below.
const MOST_HELD: usize = 20 << 20;

/// Turns of one dialogue.
const MOST_TURNS: usize = 64;

/// Around the byte that says what a mark means; in no text, and rare in binary protocols.
const MARK: u8 = 0xfe;

/// What happens in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn<'i> {
    Bytes(Direction, &'i [u8]),
    /// So many bytes were never seen.
    Gap(Direction, u64),
    End(Direction),
}

/// Reads a dialogue: `>` and `<` begin bytes to the server and the client, `)` and `(` are gaps
/// of 2^n bytes, n being the byte behind the mark, `]` and `[` end a direction.
pub(crate) fn turns(input: &[u8]) -> Vec<Turn<'_>> {
    let mut turns = Vec::new();
    let mut rest = input;
    let mut direction = ToServer;
    while !rest.is_empty() && turns.len() < MOST_TURNS {
        let end = rest.windows(3).position(|window| {
            matches!(
                window,
                [MARK, b'<' | b'>' | b'(' | b')' | b'[' | b']', MARK]
            )
        });
        let (bytes, after) = rest.split_at(end.unwrap_or(rest.len()));
        if !bytes.is_empty() {
            turns.push(Turn::Bytes(direction, bytes));
        }
        rest = after.get(3..).unwrap_or_default();
        match after.get(1) {
            Some(b'>') => direction = ToServer,
            Some(b'<') => direction = ToClient,
            Some(sign @ (b'(' | b')')) => {
                let exponent = rest.first().map_or(0, |byte| byte % 40);
                rest = rest.get(1..).unwrap_or_default();
                turns.push(Turn::Gap(towards(*sign == b')'), 1 << exponent));
            }
            Some(sign) => turns.push(Turn::End(towards(*sign == b']'))),
            None => {}
        }
    }
    turns
}

const fn towards(server: bool) -> Direction {
    if server { ToServer } else { ToClient }
}

/// Law: however a dialogue is cut into calls, a parser says the same, leaves at the same byte
/// and stays below its bound; and what a protocol says of the first bytes of a stream, it says
/// of more of them.
pub(crate) fn stream(protocol: &StreamProtocol, input: &[u8], seen: &mut dyn FnMut(&str)) {
    let turns = turns(input);
    let whole = play(protocol, &turns, &Wants::ALL, &mut |length| length);
    for event in &whole {
        seen(event);
    }
    let single = play(protocol, &turns, &Wants::ALL, &mut |_| 1);
    assert_eq!(single, whole, "byte by byte");
    let mut step = 0_usize;
    let mixed = play(protocol, &turns, &Wants::ALL, &mut |_| {
        step = (step * 5 + 3) % 64;
        1 + step
    });
    assert_eq!(mixed, whole, "in pieces");
    let lazy = play(protocol, &turns, &Wants::default(), &mut |length| length);
    let lazy_single = play(protocol, &turns, &Wants::default(), &mut |_| 1);
    assert_eq!(lazy_single, lazy, "byte by byte, without files");
    probe(protocol, &turns, seen);
}

/// Plays a dialogue to a new parser, in pieces of the lengths that are given, and tells what it
/// says.
fn play(
    protocol: &StreamProtocol,
    turns: &[Turn<'_>],
    wants: &Wants,
    piece: &mut dyn FnMut(usize) -> usize,
) -> Vec<String> {
    let mut parser = (protocol.parser)();
    let mut events = Vec::new();
    let mut sent = [0_u64; 2];
    let mut ended = [false; 2];
    for turn in turns {
        let (Turn::Bytes(direction, _) | Turn::Gap(direction, _) | Turn::End(direction)) = *turn;
        if ended[direction.index()] {
            continue;
        }
        match *turn {
            Turn::Bytes(_, mut bytes) => {
                while !bytes.is_empty() {
                    let (now, later) = bytes.split_at(piece(bytes.len()).min(bytes.len()));
                    let status = parser.parse(direction, now, wants, &mut |message| {
                        events.push(describe(&message));
                    });
                    assert_bounded(&*parser);
                    match status {
                        Status::More => sent[direction.index()] += now.len() as u64,
                        Status::Done => {
                            events.push("done".to_owned());
                            return events;
                        }
                        Status::Switch(consumed) => {
                            assert!(consumed <= now.len(), "more than there was is consumed");
                            let at = sent[direction.index()] + consumed as u64;
                            events.push(format!("switch {direction:?} at {at}"));
                            return events;
                        }
                    }
                    bytes = later;
                }
            }
            Turn::Gap(_, length) => {
                let status = parser.gap(direction, length, wants, &mut |message| {
                    events.push(describe(&message));
                });
                assert_bounded(&*parser);
                match status {
                    Status::More => {}
                    Status::Done => {
                        events.push("done".to_owned());
                        return events;
                    }
                    Status::Switch(_) => panic!("a gap is no place to leave at"),
                }
            }
            Turn::End(_) => {
                ended[direction.index()] = true;
                parser.end(direction, wants, &mut |message| {
                    events.push(describe(&message));
                });
            }
        }
    }
    for direction in Direction::BOTH {
        if !ended[direction.index()] {
            parser.end(direction, wants, &mut |message| {
                events.push(describe(&message));
            });
        }
    }
    assert_bounded(&*parser);
    events
}

fn assert_bounded(parser: &dyn Parser) {
    let held = parser.held();
    assert!(held <= MOST_HELD, "{held} bytes are held");
}

fn describe(message: &Message<'_>) -> String {
    match message {
        Message::Dns(message) => {
            let mut items = format!("{message:?}");
            let fault = message.for_each(&mut NameBuffers::new(), &mut |item| {
                items.push_str(&format!("{item:?}"));
            });
            format!("{items}{fault:?}")
        }
        message => format!("{message:?}"),
    }
}

/// Law: an answer about first bytes holds for all that begin so.
fn probe(protocol: &StreamProtocol, turns: &[Turn<'_>], seen: &mut dyn FnMut(&str)) {
    if protocol.name == "socks" {
        // a greeting of three bytes is known by its end alone
        return;
    }
    for direction in Direction::BOTH {
        let first = turns.iter().find_map(|turn| match turn {
            Turn::Bytes(at, bytes) if *at == direction => Some(*bytes),
            _ => None,
        });
        let bytes = first.unwrap_or_default();
        let mut decided = Probe::Unsure;
        for length in 1..=bytes.len().min(600) {
            let answer = (protocol.probe)(direction, &bytes[..length]);
            assert!(
                decided == Probe::Unsure || answer == decided,
                "{decided:?} became {answer:?} at {length} bytes"
            );
            decided = answer;
        }
        seen(&format!("probe {direction:?} {decided:?}"));
    }
}

/// Law: what a DNS message says does not depend on what the buffers for names held before, and
/// of a message cut short it says the same up to there.
pub(crate) fn dns_datagram(input: &[u8], seen: &mut dyn FnMut(&str)) {
    seen(&format!("{:?}", probe_datagram(input)));
    let Ok(message) = DnsMessage::parse(input) else {
        return;
    };
    let walk = |message: &DnsMessage<'_>, names: &mut NameBuffers| {
        let mut items = Vec::new();
        let fault = message.for_each(names, &mut |item| items.push(format!("{item:?}")));
        (items, fault)
    };
    let mut names = NameBuffers::new();
    let (items, fault) = walk(&message, &mut names);
    seen(&format!("{fault:?}"));
    for item in &items {
        seen(item);
    }
    assert_eq!(walk(&message, &mut names), (items.clone(), fault));
    for cut in (12..input.len()).step_by(1 + input.len() / 16) {
        let Ok(message) = DnsMessage::parse(&input[..cut]) else {
            continue;
        };
        // the last name may be another, for lack of what it leads to
        let (mut before, _) = walk(&message, &mut names);
        before.pop();
        assert!(
            items.starts_with(&before),
            "at {cut}: {before:?} of {items:?}"
        );
    }
}

/// Law: the names in a DHCP message are parts of it that do not overlap, and one that is cut
/// short says the same up to there, as long as it is still taken for the same version.
pub(crate) fn dhcp(input: &[u8], seen: &mut dyn FnMut(&str)) {
    // the first byte chooses the ports, by which DHCPv6 is known
    let Some((ports, payload)) = input.split_first() else {
        return;
    };
    let ports = if *ports == 6 { (546, 547) } else { (68, 67) };
    let names = |payload: &[u8]| {
        let mut names: Vec<String> = Vec::new();
        let is_client = client_names(payload, ports, &mut |name| names.push(name.to_owned()));
        (is_client, names)
    };
    let (is_client, all) = names(payload);
    assert!(all.iter().map(String::len).sum::<usize>() <= payload.len());
    assert!(all.iter().all(|name| !name.is_empty()));
    seen(&format!("{is_client} {}", all.len().min(9)));
    for cut in (0..payload.len()).step_by(1 + payload.len() / 16) {
        if probe_v4(&payload[..cut]) != probe_v4(payload) {
            continue;
        }
        let (_, before) = names(&payload[..cut]);
        assert!(all.starts_with(&before), "at {cut}: {before:?} of {all:?}");
    }
}

/// Law: a QUIC parser says the same twice, holds no more than its bound, and comes to an end.
pub(crate) fn quic_datagrams(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let turns = turns(input);
    let listen = || {
        let mut parser = QuicParser::new();
        let mut events = Vec::new();
        for turn in &turns {
            let Turn::Bytes(direction, bytes) = *turn else {
                continue;
            };
            events.push(format!("{:?}", QuicParser::probe_datagram(bytes)));
            let status = parser.datagram(direction, bytes, &Wants::ALL, &mut |message| {
                events.push(describe(&message));
            });
            let held = parser.held();
            assert!(held <= MOST_HELD / 64, "{held} bytes are held");
            if status == Status::Done {
                events.push("done".to_owned());
                break;
            }
        }
        events
    };
    let events = listen();
    for event in &events {
        seen(event);
    }
    assert_eq!(listen(), events);
}
