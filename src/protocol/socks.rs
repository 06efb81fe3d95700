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
        let mut input = Octets::new(bytes);
        match (plausible, read_opening(&mut input)) {
            (true, Ok(_)) if input.is_empty() => Probe::Certain,
            (true, Err(error)) if error.is_incomplete() && bytes.len() < MESSAGE_LIMIT => {
                Probe::Unsure
            }
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
