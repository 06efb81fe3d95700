//! What a flow carries: recognised by content, then parsed.

use crate::flow::Direction;
use crate::flow::assembler::Overlap;
use crate::flow::table::Flow;
use crate::flow::tcp::StreamEvent;
use crate::flow::tcp::TcpConnection;
use crate::packet::Packet;
use crate::packet::Tcp;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Status;
use crate::protocol::dns;
use crate::protocol::dns::DnsMessage;
use crate::protocol::quic::QuicParser;
use crate::protocol::registry::STREAM_PROTOCOLS;
use crate::protocol::registry::StreamProtocol;
use crate::sensor::observe::FTP_DATA;
use crate::sensor::observe::FlowFacts;
use crate::sensor::observe::Observer;
use crate::sensor::raw::RawTransfer;

/// Bytes of a direction that are kept until a protocol is recognised: a request line with a long
/// target fits (RFC 9112 section 3 asks for 8,000 octets at least).
const MAX_PROBED: usize = 8 << 10;

/// Bytes up to which the protocols are asked at every segment; beyond, whenever they have doubled.
pub(super) const ALWAYS_PROBED: usize = 256;

/// Datagrams of a flow that may be no known protocol before it is given up: a resolver's port
/// carries DNS from its first.
const MAX_UNKNOWN_DATAGRAMS: u8 = 4;

/// What the sensor keeps for a flow.
#[derive(Debug)]
pub(super) struct FlowState {
    pub(super) stream: Stream,
    /// Recognised protocol; `None`: none yet.
    pub(super) app_proto: Option<&'static str>,
    /// Whether patterns over the protocol have been evaluated.
    pub(super) protocol_told: bool,
}

#[derive(Debug)]
pub(super) enum Stream {
    /// Followed.
    Tcp(Box<TcpState>),
    /// Datagrams, each on its own; how many were of no known protocol.
    Datagrams { unknown: u8 },
    /// Datagrams of a QUIC connection whose ClientHello is not whole yet.
    Quic(Box<QuicParser>),
    /// Nothing more to be seen.
    Ignored {
        /// The client's first sequence number, to tell a new connection on the same ports.
        first_sequence: Option<u32>,
    },
}

#[derive(Debug)]
pub(super) struct TcpState {
    pub(super) connection: TcpConnection,
    pub(super) application: Application,
}

/// The parser of a stream, or the search for one.
pub(super) struct Application {
    parser: Option<Box<dyn Parser>>,
    /// First bytes of each direction, while no protocol is certain.
    probed: [Vec<u8>; 2],
    /// Whether the opening was seen, so that client and server are not in doubt.
    oriented: bool,
    /// How many of those were there when the protocols were asked last.
    asked: [usize; 2],
    /// Directions whose bytes are of no known protocol.
    unknown: [bool; 2],
    /// Whether this is a file without any protocol around it.
    raw: Raw,
    /// Bytes of memory that all of this took after the last event.
    held: usize,
    /// Client and server were mistaken for one another; not yet told to the flow.
    swapped: bool,
    done: bool,
}

/// One side sends, the other is silent, and nothing is recognised: an FTP data connection.
enum Raw {
    /// It may be.
    Possible,
    /// It is, as far as can be seen.
    Running(Box<RawTransfer>),
    /// It is not, or nobody asks for it.
    RuledOut,
}

impl std::fmt::Debug for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application")
            .field("recognised", &self.parser.is_some())
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

impl FlowState {
    /// Bytes of memory that it takes beside the table's slot and its connection, as a shard
    /// counts them.
    pub(super) fn held(&self) -> usize {
        match &self.stream {
            Stream::Tcp(tcp) => tcp.connection.held() + tcp.application.held(),
            Stream::Quic(parser) => parser.held(),
            Stream::Datagrams { .. } | Stream::Ignored { .. } => 0,
        }
    }

    /// Drops what is kept of the stream, and looks at nothing more of it.
    pub(super) fn ignore(&mut self) {
        let first_sequence = match &self.stream {
            Stream::Tcp(tcp) => tcp.connection.first_sequence(Direction::ToServer),
            Stream::Ignored { first_sequence } => *first_sequence,
            Stream::Datagrams { .. } | Stream::Quic(_) => None,
        };
        self.stream = Stream::Ignored { first_sequence };
    }

    /// For a flow that begins with this packet.
    pub(super) fn new(packet: &Packet) -> Self {
        let opens = packet.tcp.flags & Tcp::SYN != 0;
        let stream = match packet.protocol {
            Packet::TCP => Stream::Tcp(Box::new(TcpState {
                connection: TcpConnection::new(Overlap::FirstWins),
                application: Application {
                    parser: None,
                    probed: [Vec::new(), Vec::new()],
                    oriented: opens,
                    asked: [0; 2],
                    unknown: [false; 2],
                    // of a file whose beginning may be missing nothing can be told
                    raw: if opens { Raw::Possible } else { Raw::RuledOut },
                    held: 0,
                    swapped: false,
                    done: false,
                },
            })),
            _ => Stream::Datagrams { unknown: 0 },
        };
        Self {
            stream,
            app_proto: None,
            protocol_told: false,
        }
    }

    /// Whether a SYN of the client (or of the other end) opens another connection than this one.
    pub(super) fn is_reopened_by(&self, from_client: bool, sequence: u32) -> bool {
        match &self.stream {
            Stream::Tcp(tcp) => {
                let direction = if from_client {
                    Direction::ToServer
                } else {
                    Direction::ToClient
                };
                tcp.connection.is_reopened_by(direction, sequence)
            }
            Stream::Ignored {
                first_sequence: Some(first),
            } => !from_client || *first != sequence.wrapping_add(1),
            Stream::Ignored {
                first_sequence: None,
            } => true,
            Stream::Datagrams { .. } | Stream::Quic(_) => false,
        }
    }
}

impl Application {
    pub(super) const fn is_done(&self) -> bool {
        self.done
    }

    /// Bytes of memory that the parser takes, or what is kept until there is one.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Whether client and server proved to be the other way round since the last call.
    pub(super) const fn take_swapped(&mut self) -> bool {
        std::mem::replace(&mut self.swapped, false)
    }

    /// Takes what a connection yields. `facts` learns the protocol.
    pub(super) fn take(
        &mut self,
        event: &StreamEvent<'_>,
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) {
        if self.done {
            return;
        }
        self.dispatch(event, facts, observer);
        let [to_server, to_client] = &self.probed;
        let probed = to_server.capacity() + to_client.capacity();
        let raw = match &self.raw {
            Raw::Running(_) => size_of::<RawTransfer>(),
            Raw::Possible | Raw::RuledOut => 0,
        };
        self.held = probed + raw + self.parser.as_ref().map_or(0, |parser| parser.held());
    }

    fn dispatch(
        &mut self,
        event: &StreamEvent<'_>,
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) {
        match *event {
            StreamEvent::Bytes(direction, bytes) => {
                self.take_bytes(told(direction, self.swapped), bytes, facts, observer);
            }
            StreamEvent::Gap(direction, length) => {
                observer.drop_one("tcp-gap");
                self.settle_both(direction, facts, observer);
                if self.done {
                    return;
                }
                let direction = told(direction, self.swapped);
                if let Some(parser) = &mut self.parser {
                    let wants = observer.wants();
                    let status = parser.gap(direction, length, &wants, &mut |message| {
                        observer.observe(message, direction, facts);
                    });
                    self.done |= status == Status::Done;
                } else {
                    // what was kept is of no use without what is missing
                    self.probed[direction.index()] = Vec::new();
                    self.asked[direction.index()] = 0;
                    match &mut self.raw {
                        Raw::Running(raw) if raw.direction() == direction => raw.lose(length),
                        raw => *raw = Raw::RuledOut,
                    }
                }
            }
            StreamEvent::End(direction) => {
                self.settle_both(direction, facts, observer);
                if self.done {
                    return;
                }
                let direction = told(direction, self.swapped);
                if let Some(parser) = &mut self.parser {
                    let wants = observer.wants();
                    parser.end(direction, &wants, &mut |message| {
                        observer.observe(message, direction, facts);
                    });
                } else {
                    self.end_raw(direction, facts, observer);
                }
            }
        }
    }

    fn take_bytes(
        &mut self,
        direction: Direction,
        mut bytes: &[u8],
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) {
        // each turn recognises or leaves a protocol, and leaving one consumes bytes or ends the turn
        while !bytes.is_empty() && !self.done {
            if self.parser.is_none() {
                self.probe(direction, bytes, facts, observer);
                return;
            }
            match self.parse(direction, bytes, facts, observer) {
                Some(consumed) if consumed < bytes.len() => bytes = &bytes[consumed..],
                _ => return,
            }
        }
    }

    /// Gives bytes to the parser. `Some`: it left the stream after so many bytes.
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) -> Option<usize> {
        let parser = self.parser.as_mut()?;
        let wants = observer.wants();
        let status = parser.parse(direction, bytes, &wants, &mut |message| {
            observer.observe(message, direction, facts);
        });
        match status {
            Status::More => None,
            Status::Done => {
                self.done = true;
                None
            }
            Status::Switch(consumed) => {
                self.parser = None;
                self.unknown = [false; 2];
                self.asked = [0; 2];
                self.raw = Raw::RuledOut;
                Some(consumed.min(bytes.len()))
            }
        }
    }

    fn probe(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) {
        if self.has_sent(direction.reverse()) {
            self.raw = Raw::RuledOut;
        }
        if self.unknown[direction.index()] {
            if let Raw::Running(raw) = &mut self.raw {
                raw.take(bytes);
            }
            return;
        }
        let mut kept = std::mem::take(&mut self.probed[direction.index()]);
        let known = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        // asked again at every segment, a long unknown text would cost the square of its length
        let asked = &mut self.asked[direction.index()];
        let soon = known.len() > ALWAYS_PROBED && known.len() < 2 * *asked;
        if soon && known.len() <= MAX_PROBED && !bytes.is_empty() {
            self.probed[direction.index()] = kept;
            return;
        }
        *asked = known.len();
        match recognise(direction, known, self.oriented, observer.wants().deep) {
            Recognised::As(protocol, seen_as) => {
                let before = self.swapped;
                if self.settle(direction.reverse(), facts, observer) {
                    let direction = told(direction, self.swapped != before);
                    return self.take_bytes(direction, known, facts, observer);
                }
                if seen_as != direction {
                    self.swapped = !self.swapped;
                    facts.swap();
                    self.probed.reverse();
                }
                self.parser = Some((protocol.parser)());
                self.raw = Raw::RuledOut;
                facts.app_proto = Some(protocol.name);
                observer.observe_protocol_once(facts);
                self.parse_recognised(seen_as, known, facts, observer);
            }
            Recognised::NotYet if known.len() <= MAX_PROBED => {
                if kept.is_empty() {
                    kept = bytes.to_vec();
                }
                self.probed[direction.index()] = kept;
            }
            Recognised::NotYet | Recognised::Never => {
                self.unknown[direction.index()] = true;
                self.done = self.unknown == [true; 2];
                self.begin_raw(direction, known, facts, observer);
            }
        }
    }

    /// As [`Self::settle`] for both, the named one last, before something happens in it.
    fn settle_both(
        &mut self,
        direction: Direction,
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) {
        for either in [direction.reverse(), direction] {
            self.settle(told(either, self.swapped), facts, observer);
        }
    }

    /// Asks the protocols of what a direction has sent since they were asked last: in fewer
    /// segments it would have been asked of at once. Whether one is recognised now.
    fn settle(
        &mut self,
        direction: Direction,
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) -> bool {
        let index = direction.index();
        if self.parser.is_some() || self.asked[index] >= self.probed[index].len() {
            return false;
        }
        self.probe(direction, &[], facts, observer);
        self.parser.is_some()
    }

    /// Whether a direction has sent anything that was not recognised yet.
    const fn has_sent(&self, direction: Direction) -> bool {
        self.unknown[direction.index()] || !self.probed[direction.index()].is_empty()
    }

    /// The first bytes of a direction are of no known protocol.
    fn begin_raw(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        facts: &FlowFacts,
        observer: &Observer,
    ) {
        let Raw::Possible = self.raw else { return };
        let wants = observer.wants();
        self.raw = if wants.deep && wants.any_hash() && facts.may_carry_ftp_data() {
            let mut raw = RawTransfer::new(direction, &wants);
            raw.take(bytes);
            Raw::Running(Box::new(raw))
        } else {
            Raw::RuledOut
        };
    }

    fn end_raw(&mut self, direction: Direction, facts: &mut FlowFacts, observer: &mut Observer) {
        let kept = std::mem::take(&mut self.probed[direction.index()]);
        if !kept.is_empty() && !self.has_sent(direction.reverse()) {
            // a short file, of which too little came to rule every protocol out
            self.begin_raw(direction, &kept, facts, observer);
        }
        match std::mem::replace(&mut self.raw, Raw::RuledOut) {
            Raw::Running(raw) if raw.direction() == direction => {
                facts.app_proto = Some(FTP_DATA);
                observer.observe_protocol_once(facts);
                observer.observe(Message::File(raw.finish()), direction, facts);
            }
            // the silent side may end first
            other => self.raw = other,
        }
    }

    /// The other direction's bytes may have come first and wait; then those at hand.
    fn parse_recognised(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        facts: &mut FlowFacts,
        observer: &mut Observer,
    ) {
        let waiting = std::mem::take(&mut self.probed[direction.reverse().index()]);
        if !waiting.is_empty() {
            self.take_bytes(direction.reverse(), &waiting, facts, observer);
        }
        self.take_bytes(direction, bytes, facts, observer);
    }
}

/// The direction that is meant, where client and server may be the other way round.
const fn told(direction: Direction, swapped: bool) -> Direction {
    if swapped {
        direction.reverse()
    } else {
        direction
    }
}

/// What the first bytes of a direction are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recognised {
    /// As this protocol, sent in this direction.
    As(&'static StreamProtocol, Direction),
    NotYet,
    Never,
}

/// Asks every protocol for the direction that is believed; then for the other, at once where the
/// connection's opening was not seen, else (`oriented`) only where nothing is possible: some
/// clients serve whom they connect to.
///
/// Of several that are certain that one is taken which fewer bytes would have made certain, as it
/// would be if they had come one by one.
pub(super) fn recognise(
    direction: Direction,
    bytes: &[u8],
    oriented: bool,
    deep: bool,
) -> Recognised {
    let begins_with_text = bytes
        .first()
        .is_some_and(|b| matches!(b, b'\t' | b'\r' | b'\n' | b' '..=b'~'));
    let mut unsure = false;
    let mut certain: Option<(&'static StreamProtocol, Direction)> = None;
    for seen_as in [direction, direction.reverse()] {
        if oriented && (unsure || certain.is_some()) {
            break;
        }
        for protocol in STREAM_PROTOCOLS
            .iter()
            .filter(|p| (begins_with_text || !p.is_text) && (deep || !p.is_deep))
        {
            match (protocol.probe)(seen_as, bytes) {
                Probe::Certain => {
                    let is_earlier = certain.is_none_or(|(other, other_as)| {
                        certain_from(protocol, seen_as, bytes)
                            < certain_from(other, other_as, bytes)
                    });
                    if is_earlier {
                        certain = Some((protocol, seen_as));
                    }
                }
                Probe::Unsure => unsure = true,
                Probe::NotForUs => {}
            }
        }
    }
    match certain {
        Some((protocol, seen_as)) => Recognised::As(protocol, seen_as),
        None if unsure => Recognised::NotYet,
        None => Recognised::Never,
    }
}

/// How many bytes make a protocol certain that is certain of all of them.
fn certain_from(protocol: &StreamProtocol, seen_as: Direction, bytes: &[u8]) -> usize {
    let (mut too_few, mut enough) = (0, bytes.len());
    while enough - too_few > 1 {
        let half = too_few + (enough - too_few) / 2;
        let start = bytes.get(..half).unwrap_or(bytes);
        match (protocol.probe)(seen_as, start) {
            Probe::Certain => enough = half,
            Probe::Unsure | Probe::NotForUs => too_few = half,
        }
    }
    enough
}

/// Takes a UDP payload.
pub(super) fn handle_datagram(
    flow: &mut Flow<FlowState>,
    direction: Direction,
    payload: &[u8],
    observer: &mut Observer,
) {
    if payload.is_empty() {
        return;
    }
    let opens_quic = flow.state.app_proto.is_none()
        && matches!(flow.state.stream, Stream::Datagrams { .. })
        && QuicParser::probe_datagram(payload) == Probe::Certain;
    if opens_quic {
        flow.state.app_proto = Some("quic");
        flow.state.stream = Stream::Quic(Box::new(QuicParser::new()));
    }
    match &flow.state.stream {
        Stream::Datagrams { .. } => {}
        Stream::Quic(_) => return handle_quic(flow, direction, payload, observer),
        Stream::Tcp(_) | Stream::Ignored { .. } => return,
    }
    if dns::probe_datagram(payload) == Probe::Certain
        && let Ok(message) = DnsMessage::parse(payload)
    {
        flow.state.app_proto = Some("dns");
        let mut facts = FlowFacts::of(flow);
        if message.is_response() == (direction == Direction::ToServer) && is_opening(flow) {
            // the query was not seen
            flow.client_is_low = !flow.client_is_low;
            facts.swap();
            observer.observe_protocol_once(&mut facts);
            flow.state.protocol_told = facts.protocol_told;
            observer.observe(Message::Dns(message), direction.reverse(), &mut facts);
            return;
        }
        observer.observe_protocol_once(&mut facts);
        flow.state.protocol_told = facts.protocol_told;
        observer.observe(Message::Dns(message), direction, &mut facts);
        return;
    }
    let ports = (flow.key.low.port(), flow.key.high.port());
    let mut facts = FlowFacts::of(flow);
    if flow.state.app_proto.is_none_or(|name| name == "dhcp")
        && observer.observe_dhcp(payload, ports, direction, &mut facts)
    {
        flow.state.app_proto = facts.app_proto;
        flow.state.protocol_told = facts.protocol_told;
        return;
    }
    if let (None, Stream::Datagrams { unknown }) = (flow.state.app_proto, &mut flow.state.stream) {
        *unknown += 1;
        if *unknown >= MAX_UNKNOWN_DATAGRAMS {
            let mut facts = FlowFacts::of(flow);
            observer.observe_protocol_once(&mut facts);
            flow.state.protocol_told = facts.protocol_told;
            flow.state.ignore();
        }
    }
}

/// Takes a datagram of a QUIC connection.
fn handle_quic(
    flow: &mut Flow<FlowState>,
    direction: Direction,
    payload: &[u8],
    observer: &mut Observer,
) {
    let mut facts = FlowFacts::of(flow);
    let Stream::Quic(parser) = &mut flow.state.stream else {
        return;
    };
    observer.observe_protocol_once(&mut facts);
    let wants = observer.wants();
    let mut swapped = false;
    let status = parser.datagram(direction, payload, &wants, &mut |message| {
        // only a client says hello, so that its direction is known from here on
        if direction == Direction::ToClient
            && !swapped
            && matches!(message, Message::ClientHello(_))
        {
            swapped = true;
            facts.swap();
        }
        observer.observe(message, Direction::ToServer, &mut facts);
    });
    flow.state.protocol_told = facts.protocol_told;
    flow.client_is_low ^= swapped;
    if status == Status::Done {
        flow.state.ignore();
    }
}

/// Whether a flow has seen no packet but its first.
fn is_opening(flow: &Flow<FlowState>) -> bool {
    flow.first_seen == flow.last_seen && !flow.state.protocol_told
}
