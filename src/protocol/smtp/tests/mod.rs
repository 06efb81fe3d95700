//! Dialogues, and the laws that hold for each of them.

mod dialogues;

use std::fmt::Write as _;

use crate::flow::Direction;
use crate::flow::Direction::ToClient;
use crate::flow::Direction::ToServer;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Status;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;
use crate::protocol::smtp::MAX_DEPTH;
use crate::protocol::smtp::MAX_HEADER;
use crate::protocol::smtp::MAX_PARTS;
use crate::protocol::smtp::MAX_RECIPIENTS;
use crate::protocol::smtp::SmtpParser;
use crate::protocol::smtp::tests::dialogues::dialogues;

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
    parser: SmtpParser,
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
        Message::EnvelopeAddress(named) => {
            let earlier = named.earlier.from().is_some() as usize + named.earlier.to().count();
            format!("{:?} {} after {earlier}", named.role, named.address)
        }
        Message::Mail(mail) => {
            let mut text = "mail".to_owned();
            if mail.is_multipart() {
                text += " of parts";
            }
            let _ = write!(text, " {:?}", mail.subject().unwrap_or_default());
            mail.for_each_address(&mut |role, mailbox| {
                let _ = write!(text, " {role:?}={}", mailbox.address);
            });
            let _ = write!(text, " to {}", mail.envelope().to().count());
            text
        }
        Message::MailLinks(links) => {
            format!("links {}", links.urls().collect::<Vec<_>>().join(" "))
        }
        Message::File(file) => {
            assert_eq!(file.direction, ToServer);
            format!(
                "file {} {} {} {}",
                file.name.unwrap_or("-"),
                file.mime_type.unwrap_or("-"),
                file.size,
                digest_text(&file.hashes)
            )
        }
        Message::Anomaly(anomaly) => anomaly.0.to_owned(),
        other => panic!("not of mail: {other:?}"),
    }
}

fn digest_text(hashes: &Hashes) -> String {
    match hashes.sha256 {
        None => "-".to_owned(),
        Some(sha256) => sha256
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

/// What is told of a whole file.
fn file(name: &str, mime_type: &str, content: impl AsRef<[u8]>) -> String {
    let content = content.as_ref();
    let mut digester = Digester::new(&Wants::ALL);
    digester.update(content);
    let digest = digest_text(&digester.finish());
    format!("file {name} {mime_type} {} {digest}", content.len())
}

/// What is told of a file that was seen in part.
fn partial(name: &str, mime_type: &str, size: usize) -> String {
    format!("file {name} {mime_type} {size} -")
}

/// A small generator of numbers (xorshift64*), seeded.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
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

fn play_split(turns: &[Turn], numbers: &mut Numbers, most: usize) -> Vec<String> {
    let mut listener = Listener::default();
    for turn in turns {
        match turn {
            Turn::Bytes(direction, bytes) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(1 + numbers.below(most)));
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
    let mut numbers = Numbers(1);
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
fn content_that_nobody_asks_for_is_passed_over() {
    for (name, turns, events) in dialogues() {
        let heard = play(&turns, &Wants::default());
        let content = ["file ", "links ", "mime.base64", "mime.header-cap"];
        let expected: Vec<_> = events
            .into_iter()
            .filter(|event| !content.iter().any(|content| event.starts_with(content)))
            .collect();
        assert_eq!(heard, expected, "{name}");
    }
}

#[test]
fn mutations_harm_nobody() {
    let mut numbers = Numbers(2);
    let dialogues = dialogues();
    for at in 0..12_000 {
        let (name, turns, _) = &dialogues[at % dialogues.len()];
        let mut turns = turns.clone();
        for turn in &mut turns {
            let Turn::Bytes(_, bytes) = turn else {
                continue;
            };
            for _ in 0..numbers.below(6).min(bytes.len()) {
                let at = numbers.below(bytes.len());
                match numbers.below(4) {
                    0 => bytes[at] = numbers.below(256) as u8,
                    1 => bytes[at] ^= 1 << numbers.below(8),
                    2 => bytes.insert(at, b"\r\n :.-=\""[numbers.below(8)]),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    break;
                }
            }
        }
        if numbers.below(3) == 0 {
            let place = numbers.below(turns.len() + 1);
            let direction = [ToClient, ToServer][numbers.below(2)];
            turns.insert(place, Turn::Gap(direction, numbers.below(50) as u64));
        }
        let whole = play(&turns, &Wants::ALL);
        if at % 4 == 0 {
            let heard = play_split(&turns, &mut numbers, 40);
            assert_eq!(heard, whole, "{name}, mutation {at}");
        }
    }
}

/// The events of one mail that is sent without more ado.
fn send(mail: &str) -> Vec<String> {
    let text = format!("EHLO x\r\nDATA\r\n{mail}\r\n.\r\n");
    play(&[client(text)], &Wants::ALL)
}

#[test]
fn headers_are_bounded() {
    let mut header = "Subject: kept\r\n".to_owned();
    while header.len() < 3 * MAX_HEADER {
        header += "X-Filler: of some length, so that the header grows and grows\r\n";
    }
    header += "From: late@example.org\r\n";
    let heard = send(&format!("{header}\r\nbody\r\n"));
    assert_eq!(
        heard,
        [
            "mime.header-cap",
            "mail \"kept\" to 0",
            &file("-", "text/plain", "body\r\n\r\n"),
        ]
    );
    let list = "To: a@example.org,".to_owned() + &"a@example.org,".repeat(4000);
    let heard = send(&format!("{list}\r\n\r\nbody"));
    assert!(heard[0].matches("To=").count() <= 512, "{}", heard[0].len());
}

#[test]
fn nesting_is_bounded() {
    let mut mail = String::new();
    for depth in 0..MAX_DEPTH + 5 {
        let _ = write!(
            mail,
            "Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n"
        );
    }
    mail += "\r\ndeep";
    let heard = send(&mail);
    assert_eq!(heard[0], "mail of parts \"\" to 0");
    assert_eq!(heard[1], "mime.depth-cap");
    assert_eq!(heard.len(), 3);

    let enclosed = "Content-Type: message/rfc822\r\n\r\n".repeat(2 * MAX_PARTS);
    let heard = send(&format!("{enclosed}x: y\r\n\r\ndeep"));
    assert_eq!(heard, ["mail \"\" to 0", "mime.part-cap"]);
}

#[test]
fn parts_are_bounded() {
    let mut mail = "Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_owned();
    for number in 0..2 * MAX_PARTS {
        let _ = write!(mail, "--b\r\n\r\n{number}\r\n");
    }
    let heard = send(&mail);
    let files = heard
        .iter()
        .filter(|event| event.starts_with("file"))
        .count();
    assert_eq!(files, MAX_PARTS - 1);
    assert!(heard.contains(&"mime.part-cap".to_owned()));
}

#[test]
fn recipients_are_bounded() {
    let mut text = "EHLO x\r\n".to_owned();
    for number in 0..2 * MAX_RECIPIENTS {
        let _ = write!(text, "RCPT TO:<{number}@example.org>\r\n");
    }
    let heard = play(&[client(text)], &Wants::ALL);
    assert_eq!(heard.len(), 2 * MAX_RECIPIENTS);
    assert!(heard[2 * MAX_RECIPIENTS - 1].ends_with(&format!(" after {MAX_RECIPIENTS}")));
}
