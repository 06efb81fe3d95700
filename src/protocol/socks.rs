//! SOCKS: the opening of a tunnel, after which the flow carries another protocol.
//!
//! Version 4 and 4a (the NEC and Taiwan memos), version 5 (RFC 1928) without authentication or
//! with name and password (RFC 1929). Nothing is handed on but anomalies: what is asked of the
//! proxy shows again in the protocol inside.

use crate::flow::Direction;
use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;

/// Parser of the negotiation of one flow.
#[derive(Debug, Default)]
pub struct SocksParser {
    step: Step,
    /// Bytes of each direction that no step has used yet.
    pending: [Vec<u8>; 2],
}

/// What is to come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// The client's first message, of either version.
    #[default]
    Opening,
    /// The server's answer to a version 4 request; so many, the last of which opens the tunnel.
    Reply4(u8),
    /// The server's choice of a method.
    Method,
    /// The client's name and password.
    Credentials,
    /// The server's judgement of them.
    Judgement,
    /// The client's version 5 request.
    Request,
    /// The server's answer to it; so many, the last of which opens the tunnel.
    Reply5(u8),
    /// The tunnel is open.
    Open,
    /// There will be none.
    Closed,
}

impl SocksParser {
    /// A parser at the start of a flow.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a flow begins with `bytes` of a SOCKS client, which are one whole message, since
    /// the client then waits. A server's answer alone is too little to tell SOCKS by.
    pub fn probe(direction: Direction, bytes: &[u8]) -> Probe {
        if direction == Direction::ToClient {
            return Probe::NotForUs;
        }
        let plausible = match bytes {
            [] => true,
            [4, rest @ ..] => {
                let command = rest.first().is_none_or(|command| matches!(command, 1 | 2));
                let port = rest.get(1..3).is_none_or(|port| port != [0, 0]);
                let text = rest.get(7..).unwrap_or_default();
                command
                    && port
                    && text
                        .iter()
                        .all(|byte| *byte == 0 || byte.is_ascii_graphic())
            }
            [5, rest @ ..] => {
                let methods = rest.get(1..).unwrap_or_default();
                rest.first().is_none_or(|count| *count > 0)
                    && methods
                        .iter()
                        .all(|method| *method <= LAST_METHOD || *method >= 0x80)
            }
            _ => false,
        };
        if !plausible {
            return Probe::NotForUs;
        }
        let mut input = Octets::new(bytes);
        match read_opening(&mut input) {
            Ok(_) if input.is_empty() => Probe::Certain,
            Err(error) if error.is_incomplete() && bytes.len() < MESSAGE_LIMIT => Probe::Unsure,
            _ => Probe::NotForUs,
        }
    }
}

impl Parser for SocksParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        _wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let [to_server, to_client] = &mut self.pending;
        let own = match direction {
            Direction::ToServer => &mut *to_server,
            Direction::ToClient => &mut *to_client,
        };
        own.extend_from_slice(bytes);
        loop {
            let pending = match self.step.speaker() {
                Direction::ToServer => &mut *to_server,
                Direction::ToClient => &mut *to_client,
            };
            let mut input = Octets::new(pending);
            match self.step.read(&mut input) {
                Ok(next) => {
                    let used = input.offset();
                    pending.drain(..used);
                    self.step = next;
                }
                Err(error) if error.is_incomplete() => {
                    // early data of the client (RFC 1928 knows none): no step will need it
                    to_server.truncate(MESSAGE_LIMIT);
                    to_client.truncate(MESSAGE_LIMIT);
                    return Status::More;
                }
                Err(_) => {
                    sink(Message::Anomaly(Anomaly("socks.negotiation")));
                    self.step = Step::Closed;
                }
            }
            match self.step {
                Step::Open => {
                    let unused = match direction {
                        Direction::ToServer => to_server.len(),
                        Direction::ToClient => to_client.len(),
                    };
                    return Status::Switch(bytes.len().saturating_sub(unused));
                }
                Step::Closed => return Status::Done,
                _ => {}
            }
        }
    }

    fn gap(
        &mut self,
        _direction: Direction,
        _length: u64,
        _wants: &Wants,
        _sink: &mut Sink<'_>,
    ) -> Status {
        self.step = Step::Closed;
        Status::Done
    }

    fn end(&mut self, _direction: Direction, _wants: &Wants, _sink: &mut Sink<'_>) {
        self.step = Step::Closed;
    }

    fn held(&self) -> usize {
        let [to_server, to_client] = &self.pending;
        size_of::<Self>() + to_server.capacity() + to_client.capacity()
    }
}

impl Step {
    /// Who sends the message of this step.
    const fn speaker(self) -> Direction {
        match self {
            Self::Opening | Self::Credentials | Self::Request => Direction::ToServer,
            _ => Direction::ToClient,
        }
    }

    /// Reads the message of this step and says what follows.
    fn read(self, input: &mut Octets<'_>) -> Result<Self, ParseError> {
        match self {
            Self::Opening => read_opening(input),
            Self::Reply4(count) => {
                expect(input, 0, "reply version")?;
                let code = input.u8("reply code")?;
                input.skip(6, "reply address")?;
                Ok(if code == GRANTED_4 {
                    after_reply(count, Self::Reply4)
                } else {
                    Self::Closed
                })
            }
            Self::Method => {
                expect(input, 5, "method version")?;
                Ok(match input.u8("method")? {
                    NO_AUTHENTICATION => Self::Request,
                    NAME_AND_PASSWORD => Self::Credentials,
                    _ => Self::Closed,
                })
            }
            Self::Credentials => {
                expect(input, 1, "credentials version")?;
                for what in ["name", "password"] {
                    let length = input.u8(what)?;
                    input.skip(usize::from(length), what)?;
                }
                Ok(Self::Judgement)
            }
            Self::Judgement => {
                expect(input, 1, "judgement version")?;
                Ok(match input.u8("judgement")? {
                    0 => Self::Request,
                    _ => Self::Closed,
                })
            }
            Self::Request => {
                expect(input, 5, "request version")?;
                let command = input.u8("command")?;
                read_address(input)?;
                match command {
                    CONNECT => Ok(Self::Reply5(1)),
                    BIND => Ok(Self::Reply5(2)),
                    // the datagrams go another way (RFC 1928 section 7)
                    UDP_ASSOCIATE => Ok(Self::Closed),
                    _ => Err(ParseError::malformed(1, "command")),
                }
            }
            Self::Reply5(count) => {
                expect(input, 5, "reply version")?;
                let code = input.u8("reply code")?;
                read_address(input)?;
                Ok(if code == 0 {
                    after_reply(count, Self::Reply5)
                } else {
                    Self::Closed
                })
            }
            Self::Open | Self::Closed => Ok(self),
        }
    }
}

/// BIND is answered twice: when the proxy listens, and when its peer has come.
fn after_reply(count: u8, again: fn(u8) -> Step) -> Step {
    if count > 1 {
        again(count - 1)
    } else {
        Step::Open
    }
}

fn read_opening(input: &mut Octets<'_>) -> Result<Step, ParseError> {
    if input.u8("version")? == 5 {
        let count = input.u8("method count")?;
        input.skip(usize::from(count), "methods")?;
        return Ok(Step::Method);
    }
    let command = input.u8("command")?;
    input.skip(2, "port")?;
    let address: [u8; 4] = input.array("address")?;
    skip_text(input, "user id")?;
    // version 4a: an address that cannot be, and the name after the user id
    if matches!(address, [0, 0, 0, last] if last != 0) {
        skip_text(input, "host name")?;
    }
    match command {
        CONNECT => Ok(Step::Reply4(1)),
        BIND => Ok(Step::Reply4(2)),
        _ => Err(ParseError::malformed(1, "command")),
    }
}

/// Reserved octet, address type, address and port (RFC 1928 section 4).
fn read_address(input: &mut Octets<'_>) -> Result<(), ParseError> {
    input.skip(1, "reserved")?;
    let at = input.offset();
    let length = match input.u8("address type")? {
        1 => 4,
        3 => usize::from(input.u8("host name length")?),
        4 => 16,
        _ => return Err(ParseError::malformed(at, "address type")),
    };
    input.skip(length, "address")?;
    input.skip(2, "port")
}

/// Passes over a text that ends with a zero octet.
fn skip_text(input: &mut Octets<'_>, what: &'static str) -> Result<(), ParseError> {
    for _ in 0..TEXT_LIMIT {
        if input.u8(what)? == 0 {
            return Ok(());
        }
    }
    Err(ParseError::malformed(input.offset(), what))
}

fn expect(input: &mut Octets<'_>, value: u8, what: &'static str) -> Result<(), ParseError> {
    let at = input.offset();
    if input.u8(what)? == value {
        Ok(())
    } else {
        Err(ParseError::malformed(at, what))
    }
}

const CONNECT: u8 = 1;
const BIND: u8 = 2;
const UDP_ASSOCIATE: u8 = 3;

/// "Request granted" (SOCKS 4 memo).
const GRANTED_4: u8 = 90;

const NO_AUTHENTICATION: u8 = 0;
const NAME_AND_PASSWORD: u8 = 2;

/// Highest method number that IANA has given out; 0x80 and above are private.
const LAST_METHOD: u8 = 9;

/// Longest user id or host name of version 4, its end included: names have 255 octets at most.
const TEXT_LIMIT: usize = 256;

/// Longest message: a version 4a request with user id and host name.
const MESSAGE_LIMIT: usize = 8 + 2 * TEXT_LIMIT;

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Direction = Direction::ToServer;
    const DOWN: Direction = Direction::ToClient;

    /// The last status and the anomalies; stops where the parser does.
    fn run(dialogue: &[(Direction, &[u8])]) -> (Status, Vec<&'static str>) {
        let mut parser = SocksParser::new();
        let mut anomalies = Vec::new();
        let mut status = Status::More;
        for (direction, bytes) in dialogue {
            status = parser.parse(*direction, bytes, &Wants::ALL, &mut |message| {
                if let Message::Anomaly(anomaly) = message {
                    anomalies.push(anomaly.0);
                }
            });
            if status != Status::More {
                break;
            }
        }
        (status, anomalies)
    }

    type Dialogue = Vec<(Direction, &'static [u8])>;

    fn dialogues() -> Vec<(&'static str, Dialogue, Status)> {
        // port 443 of 192.0.2.1
        let reply5: &[u8] = b"\x05\0\0\x01\xc0\0\x02\x01\x01\xbb";
        vec![
            (
                "4",
                vec![
                    (UP, b"\x04\x01\x01\xbb\xc0\0\x02\x01me\0"),
                    (DOWN, b"\0\x5a\0\0\0\0\0\0"),
                ],
                Status::Switch(8),
            ),
            (
                "4a, with the first of the tunnel",
                vec![
                    (UP, b"\x04\x01\x01\xbb\0\0\0\x01\0bad.example\0"),
                    (DOWN, b"\0\x5a\0\0\0\0\0\x00220 mail"),
                ],
                Status::Switch(8),
            ),
            (
                "4 refused",
                vec![
                    (UP, b"\x04\x01\x01\xbb\xc0\0\x02\x01\0"),
                    (DOWN, b"\0\x5b\0\0\0\0\0\0"),
                ],
                Status::Done,
            ),
            (
                "5 to a name",
                vec![
                    (UP, b"\x05\x01\0"),
                    (DOWN, b"\x05\0"),
                    (UP, b"\x05\x01\0\x03\x0bbad.example\x01\xbb"),
                    (DOWN, reply5),
                ],
                Status::Switch(10),
            ),
            (
                "5 with a password, waiting for a peer",
                vec![
                    (UP, b"\x05\x02\0\x02"),
                    (DOWN, b"\x05\x02"),
                    (UP, b"\x01\x02me\x06secret"),
                    (DOWN, b"\x01\0"),
                    // BIND for 2001:db8::1
                    (
                        UP,
                        b"\x05\x02\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb",
                    ),
                    (DOWN, reply5),
                    (DOWN, b"\x05\0\0\x01\xc0\0\x02\x01\x01\xbbSSH-2.0"),
                ],
                Status::Switch(10),
            ),
            (
                "5 for datagrams",
                vec![
                    (UP, b"\x05\x01\0"),
                    (DOWN, b"\x05\0"),
                    (UP, b"\x05\x03\0\x01\0\0\0\0\0\0"),
                ],
                Status::Done,
            ),
            (
                "5 without a method in common",
                vec![(UP, b"\x05\x01\x01"), (DOWN, b"\x05\xff")],
                Status::Done,
            ),
        ]
    }

    #[test]
    fn leads_to_the_tunnel() {
        for (what, dialogue, expected) in dialogues() {
            assert_eq!(
                SocksParser::probe(UP, dialogue[0].1),
                Probe::Certain,
                "{what}"
            );
            assert_eq!(run(&dialogue), (expected, vec![]), "{what}");
        }
    }

    #[test]
    fn any_split_leads_to_the_same_byte() {
        for (what, dialogue, _) in dialogues() {
            // the bytes up to the switch, counted over all calls
            let consumed = |pieces: &[(Direction, &[u8])]| {
                let mut parser = SocksParser::new();
                let mut count = 0;
                for (direction, bytes) in pieces {
                    match parser.parse(*direction, bytes, &Wants::ALL, &mut |_| {}) {
                        Status::More => count += bytes.len(),
                        Status::Switch(used) => return Some(count + used),
                        Status::Done => return None,
                    }
                }
                panic!("{what}: neither open nor closed");
            };
            let whole = consumed(&dialogue);
            for size in 1..8 {
                let pieces: Vec<_> = dialogue
                    .iter()
                    .flat_map(|(way, bytes)| bytes.chunks(size).map(|piece| (*way, piece)))
                    .collect();
                assert_eq!(consumed(&pieces), whole, "{what} by {size}");
            }
        }
    }

    #[test]
    fn recognises_a_whole_first_message_only() {
        for (bytes, expected) in [
            (&b""[..], Probe::Unsure),
            (b"\x05", Probe::Unsure),
            (b"\x05\x02\0", Probe::Unsure),
            (b"\x05\x01\0", Probe::Certain),
            (b"\x05\x01\0\0", Probe::NotForUs),
            (b"\x05\0", Probe::NotForUs),
            (b"\x05\x01\x40", Probe::NotForUs),
            (b"\x04\x01\0\x50\xc0\0\x02\x01", Probe::Unsure),
            (b"\x04\x09\0\x50\xc0\0\x02\x01\0", Probe::NotForUs),
            (b"\x04\x01\0\0\xc0\0\x02\x01\0", Probe::NotForUs),
            (b"GET / HTTP/1.1", Probe::NotForUs),
        ] {
            assert_eq!(SocksParser::probe(UP, bytes), expected, "{bytes:02x?}");
        }
        assert_eq!(SocksParser::probe(DOWN, b"\x05\0"), Probe::NotForUs);
    }

    #[test]
    fn odd_answers_are_an_anomaly() {
        for answer in [&b"HTTP/1.1 200 OK\r\n"[..], b"\x04\0"] {
            assert_eq!(
                run(&[(UP, b"\x05\x01\0"), (DOWN, answer)]),
                (Status::Done, vec!["socks.negotiation"])
            );
        }
        let mut parser = SocksParser::new();
        let status = parser.gap(DOWN, 1, &Wants::ALL, &mut |_| {});
        assert_eq!(status, Status::Done);
    }

    #[test]
    fn mutated_negotiations_do_no_harm() {
        // xorshift64
        let mut state = 0x5eed_u64;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % limit.max(1) as u64) as usize
        };
        let seeds = dialogues();
        for round in 0..10_000 {
            let mut dialogue: Vec<_> = seeds[round % seeds.len()]
                .1
                .iter()
                .map(|(way, bytes)| (*way, bytes.to_vec()))
                .collect();
            let part = below(dialogue.len());
            let bytes = &mut dialogue[part].1;
            let place = below(bytes.len());
            bytes[place] = below(256) as u8;
            if below(4) == 0 {
                bytes.resize(below(700), 0);
            }
            SocksParser::probe(UP, &dialogue[0].1);
            let mut parser = SocksParser::new();
            for (way, bytes) in &dialogue {
                let status = parser.parse(*way, bytes, &Wants::ALL, &mut |_| {});
                assert!(!matches!(status, Status::Switch(used) if used > bytes.len()));
                if status != Status::More {
                    break;
                }
                assert!(
                    parser
                        .pending
                        .iter()
                        .all(|kept| kept.len() <= MESSAGE_LIMIT)
                );
            }
        }
    }
}
