//! Dialogues, and the laws that hold for each of them.

mod captures;
mod dialogues;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use crate::flow::Direction;
use crate::flow::Direction::ToClient;
use crate::flow::Direction::ToServer;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;
use crate::protocol::http::HttpParser;
use crate::protocol::http::tests::dialogues::GET;
use crate::protocol::http::tests::dialogues::brotli;
use crate::protocol::http::tests::dialogues::dialogues;
use crate::protocol::http::tests::dialogues::gzip;
use crate::protocol::http::tests::dialogues::response;
use crate::protocol::http::tests::dialogues::wide_brotli;
use crate::protocol::http::tests::dialogues::zstd;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What one side sends, or what of it was never seen.
#[derive(Clone, Debug)]
enum Turn {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, u64),
}

fn client(bytes: impl AsRef<[u8]>) -> Turn {
    Turn::Bytes(ToServer, bytes.as_ref().to_vec())
}

fn server(bytes: impl AsRef<[u8]>) -> Turn {
    Turn::Bytes(ToClient, bytes.as_ref().to_vec())
}

/// Runs a parser and writes down what it says.
#[derive(Default)]
struct Listener {
    parser: HttpParser,
    events: Vec<String>,
    /// Bytes that each side has sent, up to a switch.
    sent: [u64; 2],
    switched: bool,
}

impl Listener {
    fn hear(&mut self, direction: Direction, bytes: &[u8], wants: &Wants) {
        if self.switched {
            return;
        }
        let events = &mut self.events;
        let status = self.parser.parse(direction, bytes, wants, &mut |message| {
            events.push(describe(&message));
        });
        let sent = &mut self.sent[direction.index()];
        if let Status::Switch(consumed) = status {
            assert!(consumed <= bytes.len());
            *sent += consumed as u64;
            self.events.push(format!("switch {direction:?} at {sent}"));
            self.switched = true;
        }
        *sent += bytes.len() as u64;
    }

    fn miss(&mut self, direction: Direction, length: u64, wants: &Wants) {
        let events = &mut self.events;
        self.parser.gap(direction, length, wants, &mut |message| {
            events.push(describe(&message));
        });
    }

    fn end(mut self, wants: &Wants) -> Vec<String> {
        if !self.switched {
            for direction in [ToServer, ToClient] {
                let events = &mut self.events;
                self.parser.end(direction, wants, &mut |message| {
                    events.push(describe(&message));
                });
            }
        }
        self.events
    }
}

fn describe(message: &Message<'_>) -> String {
    match message {
        Message::HttpRequest(request) => {
            let mut url = String::new();
            let mut text = format!(
                "{} {} host={}",
                request.method,
                request.url(SERVER, 80, &mut url).unwrap_or("-"),
                request.host.unwrap_or("-"),
            );
            if let Some(port) = request.port {
                let _ = write!(text, " port={port}");
            }
            if let Some(other) = request.other_host {
                let _ = write!(text, " other={other}");
            }
            if let Some(agent) = request.user_agent() {
                let _ = write!(text, " agent={agent}");
            }
            text
        }
        Message::HttpResponse(response) => format!(
            "{} to {}",
            response.status,
            response.request_method.unwrap_or("-")
        ),
        Message::File(file) => format!(
            "file {:?} {} {} {} {}",
            file.direction,
            file.name.unwrap_or("-"),
            file.mime_type.unwrap_or("-"),
            file.size,
            hex(&file.hashes)
        ),
        Message::Anomaly(anomaly) => anomaly.0.to_owned(),
        other => panic!("not of this protocol: {other:?}"),
    }
}

fn hex(hashes: &Hashes) -> String {
    let Some(sha256) = hashes.sha256 else {
        return "-".to_owned();
    };
    sha256.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The event of a whole file.
fn file(direction: Direction, name: &str, mime_type: &str, content: &[u8]) -> String {
    let mut digester = Digester::new(&Wants::ALL);
    digester.update(content);
    format!(
        "file {direction:?} {name} {mime_type} {} {}",
        content.len(),
        hex(&digester.finish())
    )
}

/// The event of a file that was not seen whole.
fn partial(direction: Direction, name: &str, mime_type: &str, size: u64) -> String {
    format!("file {direction:?} {name} {mime_type} {size} -")
}

fn play(turns: &[Turn], wants: &Wants) -> Vec<String> {
    let mut listener = Listener::default();
    for turn in turns {
        match turn {
            Turn::Bytes(direction, bytes) => listener.hear(*direction, bytes, wants),
            Turn::Gap(direction, length) => listener.miss(*direction, *length, wants),
        }
    }
    listener.end(wants)
}

/// A small generator of numbers (xorshift64*), for splits and mutations.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }
}

fn play_split(turns: &[Turn], numbers: &mut Numbers, most: usize) -> Vec<String> {
    let mut listener = Listener::default();
    for turn in turns {
        match turn {
            Turn::Bytes(direction, bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let length = 1 + numbers.below(most.min(rest.len()));
                    let (now, later) = rest.split_at(length);
                    listener.hear(*direction, now, &Wants::ALL);
                    rest = later;
                }
            }
            Turn::Gap(direction, length) => listener.miss(*direction, *length, &Wants::ALL),
        }
    }
    listener.end(&Wants::ALL)
}

#[test]
fn dialogues_are_heard() {
    for (name, turns, events) in dialogues() {
        assert_eq!(play(&turns, &Wants::ALL), events, "{name}");
    }
}

#[test]
fn any_split_yields_the_same_messages() {
    let mut numbers = Numbers::new(1);
    for (name, turns, events) in dialogues() {
        for most in [1, 2, 7, 100, 1460] {
            for _ in 0..3 {
                let heard = play_split(&turns, &mut numbers, most);
                assert_eq!(heard, events, "{name} in pieces of at most {most}");
            }
        }
    }
}

#[test]
fn files_that_nobody_asks_for_are_passed_over() {
    for (name, turns, events) in dialogues() {
        let heard = play(&turns, &Wants::default());
        let bodies = ["file ", "http.content-not", "http.content-coding-b"];
        let expected: Vec<_> = events
            .into_iter()
            .filter(|event| !bodies.iter().any(|body| event.starts_with(body)))
            .collect();
        assert_eq!(heard, expected, "{name}");
    }
}

#[test]
fn mutations_harm_nobody() {
    let mut numbers = Numbers::new(2);
    let mut dialogues = dialogues();
    // the long ones are slow, and odd in their length alone
    dialogues.retain(|(name, ..)| !matches!(*name, "a long head" | "a head without end"));
    for at in 0..12_000 {
        let (name, turns, _) = &dialogues[at % dialogues.len()];
        let mut turns = turns.clone();
        for turn in &mut turns {
            let Turn::Bytes(_, bytes) = turn else {
                continue;
            };
            for _ in 0..numbers.below(6).min(bytes.len()) {
                // heads are short: most changes fall on them
                let span = if numbers.below(3) > 0 {
                    120
                } else {
                    bytes.len()
                };
                let at = numbers.below(span.min(bytes.len()));
                match numbers.below(4) {
                    0 => bytes[at] = numbers.below(256) as u8,
                    1 => bytes[at] ^= 1 << numbers.below(8),
                    2 => bytes.insert(at, b"\r\n :,;0\0"[numbers.below(8)]),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    break;
                }
            }
        }
        if numbers.below(4) == 0 {
            let place = numbers.below(turns.len() + 1);
            turns.insert(place, Turn::Gap(ToClient, numbers.below(50) as u64));
        }
        let whole = play(&turns, &Wants::ALL);
        if at % 8 == 0 {
            let heard = play_split(&turns, &mut numbers, 40);
            assert_eq!(heard, whole, "{name}, mutation {at}");
        }
    }
}

#[test]
fn bombs_stop_early() {
    let zeros = vec![0; 12 << 20];
    for (coding, body) in [
        ("gzip", gzip(&zeros)),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        let head = format!("Content-Encoding: {coding}\r\n");
        let heard = play(&[client(GET), response(&head, &body)], &Wants::ALL);
        assert_eq!(heard[2], "http.expansion-cap", "{coding}");
        let as_sent = partial(ToClient, "a.bin", "-", body.len() as u64);
        assert_eq!(heard[3..], [as_sent], "{coding}");
    }
}

#[test]
fn decoders_count_while_they_are_open() {
    let content: Vec<u8> = (0..50_000_u32).map(|n| n.wrapping_mul(n) as u8).collect();
    for (coding, body, least, most) in [
        ("identity", content.clone(), 0, 8),
        ("gzip", gzip(&content), 40, 100),
        ("br", brotli(&content), 64, 200),
        ("gzip, br", brotli(&gzip(&content)), 80, 300),
        ("zstd", zstd(&content), 64, 9 << 10),
    ] {
        let head = format!("Content-Encoding: {coding}\r\n");
        let mut listener = Listener::default();
        listener.hear(ToServer, GET.as_bytes(), &Wants::ALL);
        let Turn::Bytes(_, bytes) = response(&head, &body) else {
            unreachable!();
        };
        let (start, end) = bytes.split_at(bytes.len() - 1);
        listener.hear(ToClient, start, &Wants::ALL);
        let held = listener.parser.held() >> 10;
        assert!((least..most).contains(&held), "{coding}: {held} KiB");
        listener.hear(ToClient, end, &Wants::ALL);
        let held = listener.parser.held() >> 10;
        assert!(held < 8, "{coding}: {held} KiB");
        let events = listener.end(&Wants::ALL);
        let whole = file(ToClient, "a.bin", "-", &content);
        assert_eq!(events[2..], [whole], "{coding}");
    }
}

#[test]
fn one_body_has_one_large_window() {
    let noise = [7; 2_000];
    for (coding, body, capped) in [
        ("br", wide_brotli(&noise), false),
        ("br, br", wide_brotli(&wide_brotli(&noise)), true),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        let mut listener = Listener::default();
        listener.hear(ToServer, GET.as_bytes(), &Wants::ALL);
        listener.hear(ToClient, &[head.as_bytes(), &body].concat(), &Wants::ALL);
        let held = listener.parser.held();
        assert_eq!(held > 16 << 20, !capped, "{coding}: {held}");
        assert!(held < 17 << 20, "{coding}: {held}");
        let events = listener.end(&Wants::ALL);
        let cap = "http.decoder-memory-cap".to_owned();
        assert_eq!(events.contains(&cap), capped, "{coding}");
    }
}
