//! SSH transport: who speaks it, and what both sides offer before anything is encrypted.
//!
//! Read first: RFC 4253 section 4.2 (version exchange), section 6 (packets), section 7.1
//! (KEXINIT). Keys that are exchanged later in a connection are exchanged in its cipher, so that
//! each side offers once. A direction that nobody asks for is passed over, and the parser is
//! done as soon as no other is left.

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
use md5::Digest as _;
use md5::Md5;
use memchr::memmem;

/// One side's offer of algorithms (RFC 4253 section 7.1).
#[derive(Clone, Copy, Debug)]
pub struct KeyExchange<'a> {
    direction: Direction,
    software: &'a str,
    lists: [&'a [u8]; LISTS],
}

/// Parser of both directions of one SSH connection.
#[derive(Debug, Default)]
pub struct SshParser {
    streams: [Stream; 2],
}

#[derive(Debug, Default)]
struct Stream {
    step: Step,
    /// Bytes of a line or packet of which the rest is to come.
    kept: Vec<u8>,
    /// What the version line called the software.
    software: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    /// Before the version line; so many bytes of other lines came.
    Lines(usize),
    /// After it; so many packets came.
    Packets(u8),
    /// Nothing more is to be learned from this direction.
    #[default]
    Finished,
}

impl<'a> KeyExchange<'a> {
    /// Who offers.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The software that the version line named, without comments ("OpenSSH_9.6").
    pub const fn software(&self) -> &'a str {
        self.software
    }

    /// HASSH of a client, HASSHServer of a server: MD5 of the lists of key exchange, and of
    /// encryption, authentication and compression of what that side sends, joined by `;`.
    pub fn fingerprint(&self) -> [u8; 16] {
        let [
            kex,
            _,
            ciphers,
            ciphers_back,
            macs,
            macs_back,
            packing,
            packing_back,
        ] = self.lists;
        let offered = match self.direction {
            Direction::ToServer => [kex, ciphers, macs, packing],
            Direction::ToClient => [kex, ciphers_back, macs_back, packing_back],
        };
        let mut digest = Md5::new();
        for (number, list) in offered.into_iter().enumerate() {
            if number > 0 {
                digest.update(b";");
            }
            digest.update(list);
        }
        digest.finalize().into()
    }

    /// Reads what follows the message number.
    fn parse(direction: Direction, software: &'a str, body: &'a [u8]) -> Result<Self, ParseError> {
        let mut input = Octets::new(body);
        input.skip(COOKIE, "cookie")?;
        let mut lists: [&[u8]; LISTS] = [&[]; LISTS];
        for list in &mut lists {
            let length = input.u32("name-list length")?;
            *list = input.take(length as usize, "name-list")?;
        }
        Ok(Self {
            direction,
            software,
            lists,
        })
    }
}

impl SshParser {
    /// A parser at the start of a connection.
    pub fn new() -> Self {
        let stream = || Stream {
            step: Step::Lines(0),
            ..Stream::default()
        };
        Self {
            streams: [stream(), stream()],
        }
    }

    /// Whether a direction of a flow that begins with `bytes` is SSH. A server may send some
    /// lines before its version.
    pub fn probe(direction: Direction, bytes: &[u8]) -> Probe {
        match probe_version(bytes) {
            Probe::NotForUs if direction == Direction::ToClient => {}
            told => return told,
        }
        let text = bytes.get(..MAX_PRELUDE).unwrap_or(bytes);
        let starts = memmem::find_iter(text, b"\nSSH-").map(|at| text.split_at(at + 1));
        for (before, line) in starts {
            if probe_version(line) == Probe::Certain {
                return match is_text(before) {
                    true => Probe::Certain,
                    false => Probe::NotForUs,
                };
            }
        }
        if bytes.len() <= MAX_PRELUDE && is_text(text) {
            Probe::Unsure
        } else {
            Probe::NotForUs
        }
    }

    fn status(&self, wants: &Wants) -> Status {
        let settled = |direction: Direction| {
            !is_wanted(direction, wants) || self.stream(direction).step == Step::Finished
        };
        if Direction::BOTH.into_iter().all(settled) {
            Status::Done
        } else {
            Status::More
        }
    }

    const fn stream(&self, direction: Direction) -> &Stream {
        let [to_server, to_client] = &self.streams;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }

    const fn stream_mut(&mut self, direction: Direction) -> &mut Stream {
        let [to_server, to_client] = &mut self.streams;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }
}

impl Parser for SshParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        if is_wanted(direction, wants) {
            self.stream_mut(direction).take(direction, bytes, sink);
        }
        self.status(wants)
    }

    fn gap(
        &mut self,
        direction: Direction,
        _length: u64,
        wants: &Wants,
        _sink: &mut Sink<'_>,
    ) -> Status {
        self.stream_mut(direction).finish();
        self.status(wants)
    }

    fn end(&mut self, direction: Direction, _wants: &Wants, _sink: &mut Sink<'_>) {
        self.stream_mut(direction).finish();
    }

    fn held(&self) -> usize {
        let [to_server, to_client] = &self.streams;
        size_of::<Self>() + to_server.held() + to_client.held()
    }
}

impl Stream {
    /// Bytes of memory that its texts take.
    const fn held(&self) -> usize {
        self.kept.capacity() + self.software.capacity()
    }

    fn take(&mut self, direction: Direction, bytes: &[u8], sink: &mut Sink<'_>) {
        let mut kept = std::mem::take(&mut self.kept);
        let all = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept
        };
        let mut rest = all;
        while self.step != Step::Finished {
            let mut input = Octets::new(rest);
            match self.read(direction, &mut input, sink) {
                Ok(()) => rest = input.rest(),
                Err(error) if error.is_incomplete() => {
                    let used = all.len() - rest.len();
                    if kept.is_empty() {
                        kept = rest.to_vec();
                    } else {
                        kept.drain(..used);
                    }
                    self.kept = kept;
                    return;
                }
                Err(error) => {
                    sink(Message::Anomaly(Anomaly(error.what)));
                    self.finish();
                }
            }
        }
    }

    /// Reads one line or packet. What is malformed is called by the name of its anomaly.
    fn read(
        &mut self,
        direction: Direction,
        input: &mut Octets<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), ParseError> {
        match self.step {
            Step::Lines(before) => self.read_line(direction, before, input),
            Step::Packets(before) => self.read_packet(direction, before, input, sink),
            Step::Finished => Ok(()),
        }
    }

    fn read_line(
        &mut self,
        direction: Direction,
        before: usize,
        input: &mut Octets<'_>,
    ) -> Result<(), ParseError> {
        let refuse = || ParseError::malformed(0, "ssh.version");
        let rest = input.rest();
        let Some(end) = rest.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
            return if rest.len() < MAX_LINE {
                input.skip(rest.len() + 1, "line")
            } else {
                Err(refuse())
            };
        };
        let line = input.take(end + 1, "line")?;
        let Some(version) = line.strip_prefix(b"SSH-") else {
            // RFC 4253 section 4.2: the server may say something first, the client may not
            let before = before + line.len();
            if direction == Direction::ToServer || before > MAX_PRELUDE {
                return Err(refuse());
            }
            self.step = Step::Lines(before);
            return Ok(());
        };
        let version = version.trim_ascii_end();
        let mut halves = version.splitn(2, |byte| *byte == b'-');
        let protocol = halves.next().unwrap_or_default();
        let software = halves.next().ok_or_else(refuse)?;
        let software = software
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or_default();
        self.software = String::from_utf8_lossy(software).into_owned();
        // RFC 4253 section 5.1: 1.99 speaks version 2 as well; version 1 offers nothing
        self.step = match protocol {
            b"2.0" | b"1.99" => Step::Packets(0),
            _ => Step::Finished,
        };
        Ok(())
    }

    fn read_packet(
        &mut self,
        direction: Direction,
        before: u8,
        input: &mut Octets<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), ParseError> {
        let refuse = || ParseError::malformed(0, "ssh.packet");
        let length = input.u32("packet length")? as usize;
        if !(MIN_PACKET..=MAX_PACKET).contains(&length) {
            return Err(refuse());
        }
        let mut packet = Octets::new(input.take(length, "packet")?);
        let padding = usize::from(packet.u8("padding length").map_err(|_| refuse())?);
        let payload = packet.remaining().checked_sub(padding).ok_or_else(refuse)?;
        let payload = packet.take(payload, "payload").map_err(|_| refuse())?;
        let Some((number, body)) = payload.split_first() else {
            return Err(refuse());
        };
        match *number {
            KEXINIT => {
                let exchange = KeyExchange::parse(direction, &self.software, body)
                    .map_err(|_| ParseError::malformed(0, "ssh.kexinit"))?;
                sink(Message::Ssh(exchange));
                self.finish();
            }
            DISCONNECT => self.finish(),
            IGNORE..=DEBUG if before < MAX_EARLY => self.step = Step::Packets(before + 1),
            _ => return Err(refuse()),
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.step = Step::Finished;
        self.kept = Vec::new();
    }
}

const fn is_wanted(direction: Direction, wants: &Wants) -> bool {
    match direction {
        Direction::ToServer => wants.hassh,
        Direction::ToClient => wants.hassh_server,
    }
}

/// Whether bytes begin with a version line of any version there ever was.
/// Whether there is no control character but those of lines; 0x80 and up may be UTF-8.
fn is_text(bytes: &[u8]) -> bool {
    let is_control =
        |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\r' | b'\n') || byte == 0x7f;
    // without a way out of the loop several bytes are compared at once
    bytes.chunks(64).all(|chunk| {
        !chunk
            .iter()
            .fold(false, |found, byte| found | is_control(*byte))
    })
}

fn probe_version(bytes: &[u8]) -> Probe {
    const START: &[u8] = b"SSH-";
    let common = bytes.iter().zip(START).all(|(byte, wanted)| byte == wanted);
    match bytes.get(START.len()..) {
        _ if !common => Probe::NotForUs,
        Some([b'1' | b'2', b'.', ..]) => Probe::Certain,
        None | Some([] | [b'1' | b'2']) => Probe::Unsure,
        Some(_) => Probe::NotForUs,
    }
}

/// Lists of KEXINIT up to those of compression; languages follow.
const LISTS: usize = 8;

const COOKIE: usize = 16;

/// Message numbers (RFC 4250 section 4.1.2).
const DISCONNECT: u8 = 1;
const IGNORE: u8 = 2;
const DEBUG: u8 = 4;
const KEXINIT: u8 = 20;

/// Longest line: RFC 4253 section 4.2 allows 255 octets for the version.
const MAX_LINE: usize = 255;

/// Bytes of lines before a server's version: a notice of access. The RFC sets no limit.
const MAX_PRELUDE: usize = 1 << 10;

/// Shortest packet: padding length, message number and four octets of padding (RFC 4253
/// section 6).
const MIN_PACKET: usize = 6;

/// Longest packet: what every implementation must take (RFC 4253 section 6.1).
const MAX_PACKET: usize = 35_000;

/// Packets before KEXINIT: RFC 4253 section 7.1 has it follow the version at once.
const MAX_EARLY: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Direction = Direction::ToServer;
    const DOWN: Direction = Direction::ToClient;

    type Dialogue = Vec<(Direction, Vec<u8>)>;

    /// A packet: length, padding length, payload, padding.
    fn packet(payload: &[u8]) -> Vec<u8> {
        let mut packet = (payload.len() as u32 + 5).to_be_bytes().to_vec();
        packet.push(4);
        packet.extend_from_slice(payload);
        packet.extend_from_slice(&[0; 4]);
        packet
    }

    /// KEXINIT: number, cookie, ten lists, guess, reserved.
    fn kexinit(lists: [&str; LISTS]) -> Vec<u8> {
        let mut payload = vec![KEXINIT];
        payload.extend_from_slice(&[0xaa; COOKIE]);
        for list in lists.into_iter().chain(["", ""]) {
            payload.extend_from_slice(&(list.len() as u32).to_be_bytes());
            payload.extend_from_slice(list.as_bytes());
        }
        payload.extend_from_slice(&[0; 5]);
        packet(&payload)
    }

    const LISTED: [&str; LISTS] = [
        "curve25519-sha256,kex-strict-c-v00@openssh.com",
        "ssh-ed25519",
        "aes128-ctr",
        "aes256-ctr",
        "hmac-sha2-256",
        "hmac-sha2-512",
        "none",
        "zlib",
    ];

    fn joined(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    /// What a parser says of a dialogue, as text, and its last status.
    fn run(pieces: &[(Direction, &[u8])], wants: &Wants) -> (Vec<String>, Status) {
        let mut parser = SshParser::new();
        let mut told = Vec::new();
        let mut status = Status::More;
        for (direction, bytes) in pieces {
            status = parser.parse(*direction, bytes, wants, &mut |message| {
                told.push(match message {
                    Message::Ssh(exchange) => format!(
                        "{:?} {} {}",
                        exchange.direction(),
                        exchange.software(),
                        hex(&exchange.fingerprint())
                    ),
                    Message::Anomaly(anomaly) => anomaly.0.to_owned(),
                    other => format!("{other:?}"),
                });
            });
            if status == Status::Done {
                break;
            }
        }
        (told, status)
    }

    fn run_whole(dialogue: &Dialogue, wants: &Wants) -> (Vec<String>, Status) {
        let pieces: Vec<_> = dialogue
            .iter()
            .map(|(way, bytes)| (*way, &bytes[..]))
            .collect();
        run(&pieces, wants)
    }

    /// `printf 'KEX;CIPHERS;MACS;COMPRESSION' | md5sum` of the lists above.
    const CLIENT: &str = "ToServer OpenSSH_9.6 4d4233d29ee9add4ae70ac4fc7743ba9";
    const SERVER: &str = "ToClient dropbear e2ea6794c9b87254c4bda7f0d9e579db";

    fn dialogues() -> Vec<(&'static str, Dialogue, Vec<&'static str>, Status)> {
        let client = b"SSH-2.0-OpenSSH_9.6 Debian-3\r\n";
        let server = b"SSH-1.99-dropbear\n";
        let kex = kexinit(LISTED);
        vec![
            (
                "both sides",
                vec![
                    (UP, joined(&[client, &kex])),
                    (DOWN, joined(&[server, &kex])),
                ],
                vec![CLIENT, SERVER],
                Status::Done,
            ),
            (
                "lines and packets before what counts",
                vec![
                    (DOWN, joined(&[b"Keep out\r\nReally\r\n", server])),
                    (UP, client.to_vec()),
                    (UP, joined(&[&packet(&[IGNORE, 0, 0, 0, 0]), &kex])),
                    (DOWN, kex.clone()),
                ],
                vec![CLIENT, SERVER],
                Status::Done,
            ),
            (
                "a server that hangs up",
                vec![
                    (DOWN, joined(&[server, &packet(&[DISCONNECT, 0, 0, 0, 2])])),
                    (UP, joined(&[client, &kex])),
                ],
                vec![CLIENT],
                Status::Done,
            ),
            (
                "version 1",
                vec![
                    (DOWN, b"SSH-1.5-Cisco-1.25\n".to_vec()),
                    (UP, b"SSH-1.5-old\n".to_vec()),
                ],
                vec![],
                Status::Done,
            ),
            (
                "a client that chats first",
                vec![(UP, joined(&[b"hello\r\n", client, &kex]))],
                vec!["ssh.version"],
                Status::More,
            ),
            (
                "no KEXINIT where it belongs",
                vec![(UP, joined(&[client, &packet(&[21])]))],
                vec!["ssh.packet"],
                Status::More,
            ),
            (
                "too many packets before it",
                vec![(UP, joined(&[client, &packet(&[IGNORE]).repeat(5), &kex]))],
                vec!["ssh.packet"],
                Status::More,
            ),
            (
                "a list beyond its packet",
                vec![(
                    UP,
                    joined(&[
                        client,
                        &packet(&[&[KEXINIT][..], &[0; COOKIE], &[0, 0, 0, 9, 0]].concat()),
                    ]),
                )],
                vec!["ssh.kexinit"],
                Status::More,
            ),
            (
                "a packet that is too long",
                vec![(UP, joined(&[client, &[0, 0, 0x88, 0xb9, 4]]))],
                vec!["ssh.packet"],
                Status::More,
            ),
            (
                "padding beyond its packet",
                vec![(UP, joined(&[client, &[0, 0, 0, 6, 6, 20, 0, 0, 0, 0]]))],
                vec!["ssh.packet"],
                Status::More,
            ),
        ]
    }

    #[test]
    fn tells_what_both_sides_offer() {
        for (what, dialogue, expected, status) in dialogues() {
            let (told, last) = run_whole(&dialogue, &Wants::ALL);
            assert_eq!(told, expected, "{what}");
            assert_eq!(last, status, "{what}");
        }
    }

    #[test]
    fn any_split_tells_the_same() {
        for (what, dialogue, expected, status) in dialogues() {
            for size in [1, 2, 3, 5, 7, 64] {
                let pieces: Vec<_> = dialogue
                    .iter()
                    .flat_map(|(way, bytes)| bytes.chunks(size).map(|piece| (*way, piece)))
                    .collect();
                let (told, last) = run(&pieces, &Wants::ALL);
                assert_eq!(told, expected, "{what} by {size}");
                assert_eq!(last, status, "{what} by {size}");
            }
        }
    }

    #[test]
    fn does_no_more_than_was_asked_for() {
        let (_, dialogue, _, _) = dialogues().swap_remove(0);
        let client = Wants {
            hassh: true,
            ..Wants::default()
        };
        let server = Wants {
            hassh_server: true,
            ..Wants::default()
        };
        for (wants, expected) in [
            (client, vec![CLIENT.to_owned()]),
            (server, vec![SERVER.to_owned()]),
            (Wants::default(), vec![]),
        ] {
            assert_eq!(run_whole(&dialogue, &wants), (expected, Status::Done));
        }
    }

    #[test]
    fn recognises_versions_and_what_may_come_before() {
        for (way, bytes, expected) in [
            (UP, &b""[..], Probe::Unsure),
            (UP, b"SS", Probe::Unsure),
            (UP, b"SSH-2", Probe::Unsure),
            (UP, b"SSH-2.0-x", Probe::Certain),
            (DOWN, b"SSH-1.5-x", Probe::Certain),
            (UP, b"SSH-x", Probe::NotForUs),
            (UP, b"hello\r\nSSH-2.0-x", Probe::NotForUs),
            (DOWN, b"hello\r\nSSH-", Probe::Unsure),
            (DOWN, b"hello\r\nSSH-2.0-x", Probe::Certain),
            (DOWN, b"hello SSH-2.0-x", Probe::Unsure),
            (DOWN, b"\x00\x01", Probe::NotForUs),
            (DOWN, b"\x00\nSSH-2.0-x", Probe::NotForUs),
            (DOWN, &[b'x'; MAX_PRELUDE + 1], Probe::NotForUs),
        ] {
            assert_eq!(SshParser::probe(way, bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_hole_ends_a_direction() {
        let mut parser = SshParser::new();
        assert_eq!(parser.gap(UP, 1, &Wants::ALL, &mut |_| {}), Status::More);
        assert_eq!(parser.gap(DOWN, 1, &Wants::ALL, &mut |_| {}), Status::Done);
    }

    #[test]
    fn mutated_exchanges_do_no_harm() {
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
            let mut dialogue = seeds[round % seeds.len()].1.clone();
            for _ in 0..=below(3) {
                let part = below(dialogue.len());
                let bytes = &mut dialogue[part].1;
                let place = below(bytes.len());
                match below(4) {
                    0 => bytes.truncate(place),
                    1 => bytes.resize(bytes.len() + below(70_000), b'x'),
                    _ => {
                        if let Some(byte) = bytes.get_mut(place) {
                            *byte = below(256) as u8;
                        }
                    }
                }
            }
            let mut parser = SshParser::new();
            for (way, bytes) in &dialogue {
                SshParser::probe(*way, bytes);
                for piece in bytes.chunks(1 + below(2_000)) {
                    if parser.parse(*way, piece, &Wants::ALL, &mut |_| {}) == Status::Done {
                        break;
                    }
                    let kept = parser.streams.iter().map(|stream| stream.kept.len());
                    assert!(kept.max() <= Some(MAX_PACKET + 4));
                }
            }
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
