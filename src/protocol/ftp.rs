//! FTP, the control connection: which files are fetched and stored, and when it turns into TLS.
//!
//! Read first: RFC 959 section 4 (commands and replies) and 5.4 (their order), RFC 4217 section 4
//! (AUTH TLS). The files themselves go over connections of their own, which carry nothing else:
//! there the sensor takes them for what they are by their shape.

use crate::flow::Direction;
use crate::protocol::Anomaly;
use crate::protocol::FileName;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::Sink;
use crate::protocol::Status;
use crate::protocol::Wants;

/// Parser of both directions of one control connection.
#[derive(Debug, Default)]
pub struct FtpParser {
    lines: [Lines; 2],
    /// The reply of several lines that has begun; `None`: none has.
    open_reply: Option<[u8; 3]>,
    transfer: Option<Transfer>,
    /// The client asked for TLS, and has no answer yet.
    asks_for_tls: bool,
    /// Nothing more is to be learned.
    done: bool,
}

/// The lines of one direction.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line of which the end is to come.
    kept: Vec<u8>,
    /// What comes up to the end of the line is of no use.
    skips: bool,
}

/// A transfer that was asked for.
#[derive(Debug)]
struct Transfer {
    direction: Direction,
    name: String,
    /// The server has said that it begins.
    begun: bool,
}

impl FtpParser {
    /// A parser at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a direction of a flow that begins with `bytes` is FTP. A server tells by its
    /// second reply, for its first is like that of mail servers; a client by a command that no
    /// other protocol has.
    pub fn probe(direction: Direction, bytes: &[u8]) -> Probe {
        let unsure = if bytes.len() <= MAX_PROBED {
            Probe::Unsure
        } else {
            Probe::NotForUs
        };
        // most streams are none of ours, and their lines need not be found
        let can_open = match direction {
            Direction::ToClient => matches!(bytes, [] | [b'1' | b'2', ..]),
            Direction::ToServer => {
                let word = bytes.get(..=MAX_VERB).unwrap_or(bytes);
                let verb = word.iter().take_while(|byte| byte.is_ascii_alphabetic());
                let verb = verb.count();
                verb <= MAX_VERB && matches!(word.get(verb), None | Some(b' ' | b'\r' | b'\n'))
            }
        };
        if !can_open {
            return Probe::NotForUs;
        }
        let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
        match direction {
            Direction::ToClient => probe_replies(&mut lines).unwrap_or(unsure),
            Direction::ToServer => lines.find_map(probe_command).unwrap_or(unsure),
        }
    }

    /// Takes a line without its end. Whether it is the one after which TLS begins.
    fn take_line(
        &mut self,
        direction: Direction,
        line: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match direction {
            Direction::ToServer => self.take_command(line, wants),
            Direction::ToClient => return self.take_reply_line(line, sink),
        }
        false
    }

    fn take_command(&mut self, line: &[u8], wants: &Wants) {
        let (verb, argument) = split_command(line);
        let direction = match verb.to_ascii_uppercase().as_slice() {
            b"RETR" => Direction::ToClient,
            b"STOR" | b"STOU" | b"APPE" => Direction::ToServer,
            b"AUTH" => {
                self.asks_for_tls = is_tls(argument);
                return;
            }
            // RFC 4217 section 4: a client that wants to be safe has asked by now
            b"PASS" => {
                self.done |= !wants.file_names;
                return;
            }
            _ => return,
        };
        if wants.file_names {
            let name = name_of_path(argument);
            let begun = false;
            self.transfer = (!name.is_empty()).then_some(Transfer {
                direction,
                name,
                begun,
            });
        }
    }

    fn take_reply_line(&mut self, line: &[u8], sink: &mut Sink<'_>) -> bool {
        let Some((code, last)) = reply_code(line) else {
            return false;
        };
        match self.open_reply {
            // RFC 959 section 4.2: only the same code with a space ends it
            Some(open) if open != code || !last => return false,
            None if !last => {
                self.open_reply = Some(code);
                return false;
            }
            _ => self.open_reply = None,
        }
        match (&code, &mut self.transfer) {
            (b"234", _) if self.asks_for_tls => return true,
            ([b'4' | b'5', ..], _) => {
                self.asks_for_tls = false;
                self.transfer = None;
            }
            ([b'1', ..], Some(transfer)) => transfer.begun = true,
            (b"226" | b"250", Some(transfer)) if transfer.begun => {
                let Transfer {
                    direction, name, ..
                } = transfer;
                sink(Message::FileName(FileName {
                    direction: *direction,
                    name,
                }));
                self.transfer = None;
            }
            _ => {}
        }
        false
    }

    const fn lines(&mut self, direction: Direction) -> &mut Lines {
        let [to_server, to_client] = &mut self.lines;
        match direction {
            Direction::ToServer => to_server,
            Direction::ToClient => to_client,
        }
    }
}

impl Parser for FtpParser {
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status {
        let mut used = 0;
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            used += piece.len();
            let lines = self.lines(direction);
            let fits = lines.kept.len() + piece.len() <= MAX_LINE;
            let (complete, part) = match piece.strip_suffix(b"\n") {
                Some(part) => (true, part),
                None => (false, piece),
            };
            if !fits && !lines.skips {
                lines.skips = true;
                lines.kept.clear();
                sink(Message::Anomaly(Anomaly("ftp.line")));
            }
            let lines = self.lines(direction);
            if !complete {
                if !lines.skips {
                    lines.kept.extend_from_slice(part);
                }
                continue;
            }
            if std::mem::take(&mut lines.skips) {
                continue;
            }
            let mut kept = std::mem::take(&mut lines.kept);
            let line = if kept.is_empty() {
                part
            } else {
                kept.extend_from_slice(part);
                &kept
            };
            if self.take_line(direction, line, wants, sink) {
                return Status::Switch(used);
            }
            if self.done {
                return Status::Done;
            }
        }
        Status::More
    }

    fn gap(
        &mut self,
        direction: Direction,
        _length: u64,
        _wants: &Wants,
        _sink: &mut Sink<'_>,
    ) -> Status {
        let lines = self.lines(direction);
        lines.kept.clear();
        lines.skips = true;
        // a command or a reply may have been lost
        self.transfer = None;
        self.open_reply = None;
        if self.done {
            Status::Done
        } else {
            Status::More
        }
    }

    fn end(&mut self, _direction: Direction, _wants: &Wants, _sink: &mut Sink<'_>) {
        self.done = true;
    }

    fn held(&self) -> usize {
        let [to_server, to_client] = &self.lines;
        let name = self.transfer.as_ref().map_or(0, |t| t.name.capacity());
        size_of::<Self>() + to_server.kept.capacity() + to_client.kept.capacity() + name
    }
}

/// What a server's replies tell; `None`: too little.
fn probe_replies(lines: &mut dyn Iterator<Item = &[u8]>) -> Option<Probe> {
    let mut number = 0;
    let mut open: Option<[u8; 3]> = None;
    for line in lines {
        let code = reply_code(line);
        if number == 0 && open.is_none() {
            // 120: in some minutes (RFC 959 section 5.4)
            let start = line.get(..3).unwrap_or(line);
            let greets = [b"220", b"120"].iter().any(|code| code.starts_with(start));
            if !greets || line.len() > 3 && code.is_none() {
                return Some(Probe::NotForUs);
            }
        }
        if number == 0
            && line
                .windows(4)
                .any(|word| word.eq_ignore_ascii_case(b"SMTP"))
        {
            return Some(Probe::NotForUs);
        }
        if !line.ends_with(b"\n") {
            return None;
        }
        match (open, code) {
            (Some(open), Some((code, true))) if open != code => continue,
            (None, Some((code, false))) => {
                open = Some(code);
                continue;
            }
            (_, Some((code, true))) => {
                open = None;
                match &code {
                    b"120" | b"220" if number == 0 => {}
                    code if SECOND_REPLIES.contains(code) => return Some(Probe::Certain),
                    // refused: it may yet be either
                    [b'5', ..] => {}
                    _ => return Some(Probe::NotForUs),
                }
                // after "in some minutes" the greeting proper is to come
                number += usize::from(code != *b"120");
            }
            (Some(_), _) => {}
            (None, None) => return Some(Probe::NotForUs),
        }
    }
    None
}

/// What a client's line tells; `None`: nothing.
fn probe_command(line: &[u8]) -> Option<Probe> {
    let (verb, argument) = split_command(line.trim_ascii_end());
    let complete = line.ends_with(b"\n");
    let plausible = verb.len() <= MAX_VERB && verb.iter().all(u8::is_ascii_alphabetic);
    if !plausible || complete && verb.is_empty() {
        return Some(Probe::NotForUs);
    }
    if !complete {
        return None;
    }
    let verb = verb.to_ascii_uppercase();
    match verb.as_slice() {
        b"AUTH" if is_tls(argument) => Some(Probe::Certain),
        verb if FIRST_COMMANDS.contains(&verb) => Some(Probe::Certain),
        // POP3 and IRC have these as well
        b"USER" | b"PASS" | b"NOOP" | b"HELP" | b"STAT" | b"QUIT" => None,
        _ => Some(Probe::NotForUs),
    }
}

fn split_command(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|byte| *byte == b' ') {
        Some(space) => {
            let (verb, argument) = line.split_at(space);
            (verb, argument.get(1..).unwrap_or_default())
        }
        None => (line, &[]),
    }
}

/// RFC 4217 section 17: TLS, and what it was called before.
fn is_tls(mechanism: &[u8]) -> bool {
    [&b"TLS"[..], b"TLS-C", b"SSL", b"TLS-P"]
        .iter()
        .any(|name| mechanism.trim_ascii().eq_ignore_ascii_case(name))
}

/// The code at the start of a reply's line, and whether the line is its last (RFC 959 section
/// 4.2); `None`: a line within a reply.
fn reply_code(line: &[u8]) -> Option<([u8; 3], bool)> {
    let (code, rest) = line.split_first_chunk::<3>()?;
    let is_code = matches!(code, [b'1'..=b'6', b'0'..=b'9', b'0'..=b'9']);
    let last = match rest.first() {
        Some(b'-') => false,
        None | Some(b' ' | b'\r' | b'\n') => true,
        Some(_) => return None,
    };
    is_code.then_some((*code, last))
}

/// The last part of a path.
fn name_of_path(path: &[u8]) -> String {
    let name = path
        .rsplit(|byte| matches!(byte, b'/' | b'\\'))
        .next()
        .unwrap_or_default();
    let name = String::from_utf8_lossy(name.get(..MAX_NAME).unwrap_or(name));
    name.trim().to_owned()
}

/// Longest line that is read: a command with the longest path of Linux.
const MAX_LINE: usize = 8 + 4096;

/// Longest name of a file that is kept: no file system has longer ones.
const MAX_NAME: usize = 255;

/// Bytes without a telling command or reply that are waited for: a long notice of access.
const MAX_PROBED: usize = 2 << 10;

/// Longest command verb (RFC 959 section 5.3).
const MAX_VERB: usize = 4;

/// Replies to a first command that mail servers do not give: login, features, system, folder,
/// options, passive mode, and security.
const SECOND_REPLIES: [[u8; 3]; 13] = [
    *b"200", *b"202", *b"211", *b"215", *b"227", *b"229", *b"230", *b"232", *b"234", *b"257",
    *b"331", *b"332", *b"530",
];

/// Commands that FTP alone has.
const FIRST_COMMANDS: [&[u8]; 10] = [
    b"FEAT", b"SYST", b"OPTS", b"PASV", b"EPSV", b"EPRT", b"TYPE", b"CWD", b"PWD", b"PBSZ",
];

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Direction = Direction::ToServer;
    const DOWN: Direction = Direction::ToClient;

    type Dialogue = Vec<(Direction, &'static str)>;

    /// The names, anomalies and last status; stops where the parser does. A switch says how many
    /// bytes of its direction came before.
    fn run(pieces: &[(Direction, &[u8])], wants: &Wants) -> (Vec<String>, Status) {
        let mut parser = FtpParser::new();
        let mut told = Vec::new();
        let mut count = [0; 2];
        for (direction, bytes) in pieces {
            let status = parser.parse(*direction, bytes, wants, &mut |message| match message {
                Message::FileName(file) => {
                    let way = if file.direction == UP { ">" } else { "<" };
                    told.push(format!("{way} {}", file.name));
                }
                Message::Anomaly(anomaly) => told.push(anomaly.0.to_owned()),
                other => told.push(format!("{other:?}")),
            });
            match status {
                Status::More => count[direction.index()] += bytes.len(),
                Status::Switch(used) => {
                    return (told, Status::Switch(count[direction.index()] + used));
                }
                Status::Done => return (told, Status::Done),
            }
        }
        (told, Status::More)
    }

    fn run_whole(dialogue: &Dialogue, wants: &Wants) -> (Vec<String>, Status) {
        let pieces: Vec<_> = dialogue
            .iter()
            .map(|(way, text)| (*way, text.as_bytes()))
            .collect();
        run(&pieces, wants)
    }

    fn dialogues() -> Vec<(&'static str, Dialogue, Vec<&'static str>, Status)> {
        vec![
            (
                "fetched, stored, refused, given up",
                vec![
                    (DOWN, "220 ready\r\n"),
                    (UP, "USER me\r\n"),
                    (DOWN, "331 password?\r\n"),
                    (UP, "PASS x\r\n"),
                    (DOWN, "230 welcome\r\n"),
                    (UP, "retr pub/tool.exe\r\n"),
                    (DOWN, "150 here it comes (5 bytes)\r\n"),
                    (
                        DOWN,
                        "226-Done\r\n 226 not yet\r\n250 nor now\r\n226 Done\r\n",
                    ),
                    (UP, "STOR loot.zip\r\n"),
                    (DOWN, "125 go on\r\n250 thanks\r\n"),
                    (UP, "RETR secret\r\n"),
                    (DOWN, "550 no\r\n"),
                    (UP, "RETR big\r\n"),
                    (DOWN, "150 go on\r\n"),
                    (DOWN, "426 given up\r\n226 given up\r\n"),
                    (UP, "CWD x\r\nRETR \r\n"),
                    (DOWN, "250 moved\r\n550 what?\r\n"),
                ],
                vec!["< tool.exe", "> loot.zip"],
                Status::More,
            ),
            (
                "secured",
                vec![
                    (DOWN, "220 ready\r\n"),
                    (UP, "AUTH GSSAPI\r\n"),
                    (DOWN, "234 no, the other\r\n"),
                    (UP, "AUTH SSL\r\n"),
                    (DOWN, "504 no\r\n"),
                    (DOWN, "234 unasked\r\n"),
                    (UP, "AUTH TLS\r\n"),
                    (DOWN, "234-go\r\n234 on\r\n\x16\x03"),
                ],
                vec![],
                Status::Switch(67),
            ),
        ]
    }

    #[test]
    fn tells_the_names_and_the_switch() {
        for (what, dialogue, names, status) in dialogues() {
            let (told, last) = run_whole(&dialogue, &Wants::ALL);
            assert_eq!(
                (told, last),
                (names.iter().map(|n| (*n).to_owned()).collect(), status),
                "{what}"
            );
        }
    }

    #[test]
    fn any_split_tells_the_same() {
        for (what, dialogue, _, _) in dialogues() {
            let expected = run_whole(&dialogue, &Wants::ALL);
            for size in [1, 2, 3, 5, 7, 11] {
                let pieces: Vec<_> = dialogue
                    .iter()
                    .flat_map(|(way, text)| text.as_bytes().chunks(size).map(|piece| (*way, piece)))
                    .collect();
                assert_eq!(run(&pieces, &Wants::ALL), expected, "{what} by {size}");
            }
        }
    }

    #[test]
    fn does_no_more_than_was_asked_for() {
        let dialogues = dialogues();
        let (_, plain, ..) = &dialogues[0];
        assert_eq!(run_whole(plain, &Wants::default()), (vec![], Status::Done));
        let (_, secured, ..) = &dialogues[1];
        assert_eq!(
            run_whole(secured, &Wants::default()),
            (vec![], Status::Switch(67))
        );
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let long = [&b"RETR "[..], &[b'x'; MAX_LINE], b"\r\nRETR a\\b\r\n"].concat();
        let answer = (DOWN, &b"150 x\r\n226 y\r\n"[..]);
        let expected = vec!["ftp.line".to_owned(), "< b".to_owned()];
        for size in [1, 7, MAX_LINE, MAX_LINE + 1, long.len()] {
            let mut pieces: Vec<_> = long.chunks(size).map(|piece| (UP, piece)).collect();
            pieces.push(answer);
            assert_eq!(run(&pieces, &Wants::ALL).0, expected, "by {size}");
        }
    }

    #[test]
    fn a_hole_costs_the_transfer_around_it() {
        let mut parser = FtpParser::new();
        let mut names = Vec::new();
        let mut sink = |message: Message<'_>| {
            if let Message::FileName(file) = message {
                names.push(file.name.to_owned());
            }
        };
        parser.parse(UP, b"RETR a\r\n", &Wants::ALL, &mut sink);
        parser.parse(DOWN, b"150 x\r\n", &Wants::ALL, &mut sink);
        parser.gap(DOWN, 9, &Wants::ALL, &mut sink);
        parser.parse(DOWN, b"it\r\n226 y\r\n", &Wants::ALL, &mut sink);
        parser.parse(UP, b"RETR b\r\n", &Wants::ALL, &mut sink);
        parser.parse(DOWN, b"150 x\r\n226 y\r\n", &Wants::ALL, &mut sink);
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn is_told_from_its_neighbours() {
        for (way, bytes, expected) in [
            (DOWN, &b""[..], Probe::Unsure),
            (DOWN, b"2", Probe::Unsure),
            (DOWN, b"220 (vsFTPd 3.0.2)\r\n", Probe::Unsure),
            (DOWN, b"220 (vsFTPd 3.0.2)\r\n331 x\r\n", Probe::Certain),
            (
                DOWN,
                b"120 soon\r\n220 now\r\n530 who are you?\r\n",
                Probe::Certain,
            ),
            (
                DOWN,
                b"220-Hello\r\n331 not yet\r\n220 Hello\r\n",
                Probe::Unsure,
            ),
            (
                DOWN,
                b"220-Hello\r\n331 not yet\r\n220 Hello\r\n230 x\r\n",
                Probe::Certain,
            ),
            (
                DOWN,
                b"220 a\r\n500 what?\r\n211-Features\r\n",
                Probe::Unsure,
            ),
            (
                DOWN,
                b"220 a\r\n500 what?\r\n211-Features\r\n211 End\r\n",
                Probe::Certain,
            ),
            (DOWN, b"220 mail.example ESMTP", Probe::NotForUs),
            (DOWN, b"220 mail.example\r\n250 hello\r\n", Probe::NotForUs),
            (DOWN, b"+OK ready\r\n", Probe::NotForUs),
            (DOWN, b"220x", Probe::NotForUs),
            (DOWN, b"SSH-2.0-x\r\n", Probe::NotForUs),
            (UP, b"US", Probe::Unsure),
            (UP, b"USER me\r\n", Probe::Unsure),
            (UP, b"USER me\r\nPASS x\r\nSYST\r\n", Probe::Certain),
            (UP, b"USER me\r\nPASS x\r\nUIDL\r\n", Probe::NotForUs),
            (UP, b"auth tls\r\n", Probe::Certain),
            (UP, b"AUTH PLAIN\r\n", Probe::NotForUs),
            (UP, b"EHLO me\r\n", Probe::NotForUs),
            (UP, b"NICK me\r\n", Probe::NotForUs),
            (UP, b"GET / HTTP/1.1\r\n", Probe::NotForUs),
            (UP, b"\x16\x03\x01", Probe::NotForUs),
            (UP, b"\r\n", Probe::NotForUs),
            (UP, &[b'A'; 9], Probe::NotForUs),
            (UP, &[b' '; MAX_PROBED + 1], Probe::NotForUs),
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(FtpParser::probe(way, bytes), expected, "{text}");
        }
    }

    #[test]
    fn mutated_dialogues_do_no_harm() {
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
            let seed = &seeds[round % seeds.len()].1;
            let mut dialogue: Vec<_> = seed
                .iter()
                .map(|(way, text)| (*way, text.as_bytes().to_vec()))
                .collect();
            for _ in 0..=below(4) {
                let part = below(dialogue.len());
                let bytes = &mut dialogue[part].1;
                let place = below(bytes.len());
                match below(6) {
                    0 => bytes.truncate(place),
                    1 => bytes.resize(bytes.len() + below(9_000), b' '),
                    _ => {
                        if let Some(byte) = bytes.get_mut(place) {
                            *byte = [b'\n', b'-', b' ', b'2', below(256) as u8][below(5)];
                        }
                    }
                }
            }
            let mut parser = FtpParser::new();
            for (way, bytes) in &dialogue {
                FtpParser::probe(*way, bytes);
                for piece in bytes.chunks(1 + below(700)) {
                    let status = parser.parse(*way, piece, &Wants::ALL, &mut |_| {});
                    assert!(!matches!(status, Status::Switch(used) if used > piece.len()));
                    assert!(
                        parser
                            .lines
                            .iter()
                            .all(|lines| lines.kept.len() <= MAX_LINE)
                    );
                    if below(40) == 0 {
                        parser.gap(*way, 1, &Wants::ALL, &mut |_| {});
                    }
                }
            }
        }
    }
}
