use super::*;
use md5::Digest as _;
use md5::Md5;

const UP: Direction = Direction::ToServer;
const DOWN: Direction = Direction::ToClient;

const PENDING: u32 = 0x103;
const END_OF_FILE: u32 = 0xc000_0011;
const REFUSED: u32 = 0xc000_0022;

const SAME: [u8; 16] = [0xff; 16];

type Dialogue = Vec<(Direction, Vec<u8>)>;

/// A message: header, body, what follows the body.
struct Message2 {
    command: u16,
    status: u32,
    flags: u32,
    id: u64,
    tree: u32,
    body: Vec<u8>,
}

fn message(command: u16, id: u64, body: Vec<u8>) -> Message2 {
    Message2 {
        command,
        status: 0,
        flags: 0,
        id,
        tree: 5,
        body,
    }
}

impl Message2 {
    /// The same, as an answer.
    fn answer(mut self, status: u32) -> Self {
        self.flags |= 1;
        self.status = status;
        self
    }

    fn of_tree(mut self, tree: u32) -> Self {
        self.tree = tree;
        self
    }

    fn bytes(&self, next: usize) -> Vec<u8> {
        let mut out = b"\xfeSMB\x40\0\x01\0".to_vec();
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&self.command.to_le_bytes());
        out.extend_from_slice(&[1, 0]); // credits
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&(next as u32).to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&[0; 4]); // reserved
        out.extend_from_slice(&self.tree.to_le_bytes());
        out.extend_from_slice(&[9; 8]); // session
        out.extend_from_slice(&[0; 16]); // no authentication
        out.extend_from_slice(&self.body);
        out
    }
}

/// A frame of one or more messages, each but the last padded to a multiple of eight.
fn frame(messages: &[Message2]) -> Vec<u8> {
    let mut content = Vec::new();
    for (index, message) in messages.iter().enumerate() {
        let length = (wire::HEADER + message.body.len()).next_multiple_of(8);
        let last = index + 1 == messages.len();
        let mut bytes = message.bytes(if last { 0 } else { length });
        if !last {
            bytes.resize(length, 0);
        }
        content.extend_from_slice(&bytes);
    }
    framed(&content)
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut out = (content.len() as u32).to_be_bytes().to_vec();
    out.extend_from_slice(content);
    out
}

fn put(body: &mut [u8], at: usize, bytes: &[u8]) {
    body[at..at + bytes.len()].copy_from_slice(bytes);
}

/// MS-SMB2 2.2.13.
fn create(id: u64, path: &str) -> Message2 {
    let mut body = vec![0; 56];
    let name: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
    put(&mut body, 44, &120u16.to_le_bytes());
    put(&mut body, 46, &(name.len() as u16).to_le_bytes());
    body.extend_from_slice(&name);
    message(5, id, body)
}

/// MS-SMB2 2.2.14.
fn created(id: u64, file: u8, end: u64, attributes: u32) -> Message2 {
    let mut body = vec![0; 88];
    put(&mut body, 48, &end.to_le_bytes());
    put(&mut body, 56, &attributes.to_le_bytes());
    put(&mut body, 64, &[file; 16]);
    message(5, id, body).answer(0)
}

/// MS-SMB2 2.2.19.
fn read(id: u64, file: [u8; 16], offset: u64, length: u32) -> Message2 {
    let mut body = vec![0; 49];
    put(&mut body, 4, &length.to_le_bytes());
    put(&mut body, 8, &offset.to_le_bytes());
    put(&mut body, 16, &file);
    message(8, id, body)
}

/// MS-SMB2 2.2.20.
fn content(id: u64, bytes: &[u8]) -> Message2 {
    let mut body = vec![17, 0, 80, 0];
    body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(bytes);
    message(8, id, body).answer(0)
}

/// MS-SMB2 2.2.2, whatever the command.
fn error(command: u16, id: u64, status: u32) -> Message2 {
    message(command, id, vec![9, 0, 0, 0, 0, 0, 0, 0, 0]).answer(status)
}

/// MS-SMB2 2.2.21.
fn write(id: u64, file: [u8; 16], offset: u64, bytes: &[u8]) -> Message2 {
    let mut body = vec![0; 48];
    put(&mut body, 2, &112u16.to_le_bytes());
    put(&mut body, 4, &(bytes.len() as u32).to_le_bytes());
    put(&mut body, 8, &offset.to_le_bytes());
    put(&mut body, 16, &file);
    body.extend_from_slice(bytes);
    message(9, id, body)
}

/// MS-SMB2 2.2.39 with FileEndOfFileInformation.
fn resize(id: u64, file: [u8; 16], end: u64) -> Message2 {
    let mut body = vec![0; 32];
    put(&mut body, 2, &[1, 20]);
    put(&mut body, 4, &8u32.to_le_bytes());
    put(&mut body, 8, &96u16.to_le_bytes());
    put(&mut body, 16, &file);
    body.extend_from_slice(&end.to_le_bytes());
    message(17, id, body)
}

/// MS-SMB2 2.2.15.
fn close(id: u64, file: [u8; 16]) -> Message2 {
    let mut body = vec![0; 24];
    put(&mut body, 8, &file);
    message(6, id, body)
}

fn closed(id: u64) -> Message2 {
    message(6, id, vec![0; 60]).answer(0)
}

fn one(direction: Direction, message: Message2) -> (Direction, Vec<u8>) {
    (direction, frame(&[message]))
}

/// Fifty bytes, none like its neighbours.
fn text() -> Vec<u8> {
    (0..50u8).map(|n| n.wrapping_mul(37)).collect()
}

/// What a file is told as: direction, name, size, MD5.
fn told(direction: &str, name: &str, bytes: &[u8]) -> String {
    let digest: [u8; 16] = Md5::digest(bytes).into();
    format!("{direction} {name} {} {}", bytes.len(), hex(&digest))
}

fn run(pieces: &[(Direction, &[u8])], wants: &Wants) -> Vec<String> {
    let mut parser = SmbParser::new();
    let mut heard = Vec::new();
    let mut sink = |message: Message<'_>| {
        heard.push(match message {
            Message::File(file) => format!(
                "{} {} {} {}",
                if file.direction == UP { ">" } else { "<" },
                file.name.unwrap_or("-"),
                file.size,
                file.hashes
                    .md5
                    .map_or_else(|| "-".to_owned(), |digest| hex(&digest)),
            ),
            Message::Anomaly(anomaly) => anomaly.0.to_owned(),
            other => format!("{other:?}"),
        });
    };
    for (direction, bytes) in pieces {
        if parser.parse(*direction, bytes, wants, &mut sink) == Status::Done {
            sink(Message::Anomaly(Anomaly("done")));
            return heard;
        }
    }
    for direction in Direction::BOTH {
        parser.end(direction, wants, &mut sink);
    }
    heard
}

fn whole(dialogue: &Dialogue) -> Vec<(Direction, &[u8])> {
    dialogue
        .iter()
        .map(|(way, bytes)| (*way, &bytes[..]))
        .collect()
}

/// Opening of a file of fifty bytes as number 7, with message 1.
fn opened(path: &str, end: u64) -> Dialogue {
    vec![
        one(UP, create(1, path)),
        one(DOWN, created(1, 7, end, 0x80)),
    ]
}

fn with(mut before: Dialogue, after: Dialogue) -> Dialogue {
    before.extend(after);
    before
}

fn dialogues() -> Vec<(&'static str, Dialogue, Vec<String>)> {
    let file = [7; 16];
    let text = text();
    let negotiation = b"\xffSMB\x72\0\0\0\0\x18\x53\xc8".to_vec();
    vec![
        (
            "read in two, after a negotiation of version 1",
            with(
                vec![
                    (UP, framed(&negotiation)),
                    one(DOWN, message(0, 0, vec![0; 65]).answer(0)),
                    (UP, b"\x85\0\0\0".to_vec()),
                ],
                with(
                    opened("folder\\sub/tool.exe", 50),
                    vec![
                        one(UP, read(2, file, 0, 30)),
                        one(DOWN, content(2, &text[..30])),
                        one(UP, read(3, file, 30, 30)),
                        one(DOWN, content(3, &text[30..])),
                        one(UP, close(4, file)),
                        one(DOWN, closed(4)),
                    ],
                ),
            ),
            vec![told("<", "tool.exe", &text)],
        ),
        (
            "read ahead, answered late and out of order, told once though read again",
            with(
                opened("a", 50),
                vec![
                    one(UP, read(2, file, 0, 20)),
                    one(UP, read(3, file, 20, 20)),
                    one(UP, read(4, file, 40, 20)),
                    one(DOWN, error(8, 2, PENDING)),
                    one(DOWN, content(4, &text[40..])),
                    one(DOWN, content(3, &text[20..40])),
                    one(DOWN, content(2, &text[..20])),
                    one(UP, read(5, file, 0, 50)),
                    one(DOWN, content(5, &text)),
                    one(UP, close(6, file)),
                    one(DOWN, closed(6)),
                ],
            ),
            vec![told("<", "a", &text)],
        ),
        (
            "one compound from opening to closing",
            vec![
                (
                    UP,
                    frame(&[create(1, "b"), read(2, SAME, 0, 60), close(3, SAME)]),
                ),
                (
                    DOWN,
                    frame(&[created(1, 7, 50, 0), content(2, &text), closed(3)]),
                ),
            ],
            vec![told("<", "b", &text)],
        ),
        (
            "written out of order into a file made long enough before",
            with(
                opened("c\u{e9}.pdf", 0),
                vec![
                    one(UP, resize(2, file, 50)),
                    one(UP, write(3, file, 25, &text[25..])),
                    one(UP, write(4, file, 0, &text[..25])),
                    one(UP, close(5, file)),
                    one(DOWN, closed(5)),
                ],
            ),
            vec![told(">", "c\u{e9}.pdf", &text)],
        ),
        (
            "written in a compound",
            vec![
                (
                    UP,
                    frame(&[create(1, "d"), write(2, SAME, 0, &text), close(3, SAME)]),
                ),
                (DOWN, frame(&[created(1, 7, 0, 0), closed(3)])),
            ],
            vec![told(">", "d", &text)],
        ),
        (
            "written and never closed",
            with(opened("e", 0), vec![one(UP, write(2, file, 0, &text))]),
            vec![told(">", "e", &text)],
        ),
        (
            "written over, or only in part: no digest",
            with(
                with(
                    opened("f", 0),
                    vec![
                        one(UP, write(2, file, 0, &text)),
                        one(UP, write(3, file, 10, &text[..5])),
                        one(UP, close(4, file)),
                        one(DOWN, closed(4)),
                    ],
                ),
                vec![
                    one(UP, create(5, "g")),
                    one(DOWN, created(5, 8, 90, 0)),
                    one(UP, write(6, [8; 16], 0, &text)),
                    one(UP, close(7, [8; 16])),
                    one(DOWN, closed(7)),
                ],
            ),
            vec!["> f 50 -".to_owned(), "> g 90 -".to_owned()],
        ),
        (
            "read in part: no digest",
            with(
                opened("h", 50),
                vec![
                    one(UP, read(2, file, 10, 40)),
                    one(DOWN, content(2, &text[10..])),
                    one(UP, close(3, file)),
                    one(DOWN, closed(3)),
                ],
            ),
            vec!["< h 50 -".to_owned()],
        ),
        (
            "opened before the capture began, read to the end",
            vec![
                one(UP, read(2, file, 0, 50)),
                one(DOWN, content(2, &text)),
                one(UP, read(3, file, 50, 50)),
                one(DOWN, error(8, 3, END_OF_FILE)),
                one(UP, read(4, [8; 16], 0, 60)),
                one(DOWN, content(4, &text)),
                one(UP, read(5, [9; 16], 0, 50)),
                one(DOWN, content(5, &text)),
            ],
            vec![
                told("<", "-", &text),
                told("<", "-", &text),
                "< - 50 -".to_owned(),
            ],
        ),
        (
            "what is no file: a folder, a pipe, what was refused, what is empty",
            vec![
                one(UP, create(1, "folder")),
                one(DOWN, created(1, 1, 0, 0x10)),
                one(DOWN, message(3, 2, vec![16, 0, 2, 0]).answer(0).of_tree(6)),
                one(UP, create(3, "srvsvc").of_tree(6)),
                one(DOWN, created(3, 3, 0, 0x80).of_tree(6)),
                one(UP, write(4, [3; 16], 0, &text).of_tree(6)),
                one(UP, create(5, "secret")),
                one(DOWN, error(5, 5, REFUSED)),
                one(UP, create(6, "nothing")),
                one(DOWN, created(6, 6, 0, 0x80)),
                one(UP, read(7, [6; 16], 0, 10)),
                one(DOWN, error(8, 7, REFUSED)),
                one(UP, close(8, [6; 16])),
                one(DOWN, closed(8)),
            ],
            vec![],
        ),
        (
            "a file number used again though its closing was not seen",
            with(
                with(opened("i", 0), vec![one(UP, write(2, file, 0, &text))]),
                vec![
                    one(UP, create(3, "j")),
                    one(DOWN, created(3, 7, 50, 0)),
                    one(UP, read(4, file, 0, 50)),
                    one(DOWN, content(4, &text)),
                ],
            ),
            vec![told(">", "i", &text), told("<", "j", &text)],
        ),
        (
            "content beyond its message, then a compound that leads nowhere",
            with(
                opened("k", 50),
                vec![
                    one(UP, read(2, file, 0, 50)),
                    (DOWN, {
                        let mut bytes = frame(&[content(2, &text)]);
                        bytes[4 + 64 + 4] = 51;
                        bytes
                    }),
                    (UP, framed(&close(3, file).bytes(4))),
                ],
            ),
            vec!["smb.content".to_owned(), "smb.header".to_owned()],
        ),
        (
            "encrypted in the end",
            with(
                opened("l", 0),
                vec![
                    one(UP, write(2, file, 0, &text)),
                    (DOWN, framed(b"\xfdSMBxxxxxxxx")),
                ],
            ),
            vec![told(">", "l", &text), "done".to_owned()],
        ),
        (
            "a file that has grown since it was opened",
            with(
                opened("m", 30),
                vec![
                    one(UP, read(2, file, 0, 60)),
                    one(DOWN, content(2, &text)),
                    one(UP, close(3, file)),
                    one(DOWN, closed(3)),
                ],
            ),
            vec![told("<", "m", &text)],
        ),
        (
            "version 1",
            vec![
                (UP, framed(&negotiation)),
                (DOWN, framed(&negotiation)),
                (UP, framed(b"\xffSMB\x73\0")),
            ],
            vec!["done".to_owned()],
        ),
    ]
}

#[test]
fn tells_the_files() {
    for (what, dialogue, expected) in dialogues() {
        assert_eq!(
            SmbParser::probe(UP, &dialogue[0].1),
            Probe::Certain,
            "{what}"
        );
        assert_eq!(run(&whole(&dialogue), &Wants::ALL), expected, "{what}");
    }
}

#[test]
fn any_split_tells_the_same() {
    for (what, dialogue, expected) in dialogues() {
        for size in [1, 2, 3, 5, 7, 64, 100] {
            let pieces: Vec<_> = dialogue
                .iter()
                .flat_map(|(way, bytes)| bytes.chunks(size).map(|piece| (*way, piece)))
                .collect();
            assert_eq!(run(&pieces, &Wants::ALL), expected, "{what} by {size}");
        }
    }
}

#[test]
fn does_no_more_than_was_asked_for() {
    let (_, dialogue, _) = dialogues().swap_remove(0);
    let names = Wants {
        file_names: true,
        ..Wants::default()
    };
    assert_eq!(run(&whole(&dialogue), &names), ["< tool.exe 50 -"]);
    assert_eq!(run(&whole(&dialogue), &Wants::default()), ["done"]);
}

#[test]
fn recognises_frames_of_both_generations() {
    for (bytes, expected) in [
        (&b""[..], Probe::Unsure),
        (b"\0\0\0", Probe::Unsure),
        (b"\0\0\0\x54\xfeSM", Probe::Unsure),
        (b"\0\0\0\x54\xfeSMB", Probe::Certain),
        (b"\0\0\0\x54\xffSMB", Probe::Unsure),
        (b"\0\0\0\x54\xffSMBr", Probe::Certain),
        (b"\0\0\0\x54\xffSMBs", Probe::NotForUs),
        (b"\0\0\0\x54\xfdSMB", Probe::NotForUs),
        (b"\x81\0\0\x44\x20", Probe::Certain),
        (b"\x81\0\0\x45\x20", Probe::NotForUs),
        (b"GET / HTTP", Probe::NotForUs),
    ] {
        assert_eq!(SmbParser::probe(UP, bytes), expected, "{bytes:?}");
    }
}

/// Plays all that the client says of a file, what the server says with a hole of `lost` bytes
/// at `at`, and another file.
fn run_with_hole(at: usize, lost: usize) -> Vec<String> {
    let text = text();
    let mut parser = SmbParser::new();
    let mut heard = Vec::new();
    let mut sink = |message: Message<'_>| {
        if let Message::File(file) = message {
            heard.push(format!("{:?} {}", file.name, file.hashes.md5.is_some()));
        }
    };
    let read_all = |id: u64, file: u8, path: &str| {
        let up = [
            frame(&[create(id, path)]),
            frame(&[read(id + 1, [file; 16], 0, 50)]),
            frame(&[close(id + 2, [file; 16])]),
        ];
        let down = [
            frame(&[created(id, file, 50, 0)]),
            frame(&[content(id + 1, &text)]),
            frame(&[closed(id + 2)]),
        ];
        (up.concat(), down.concat())
    };
    let (up, down) = read_all(1, 7, "first");
    parser.parse(UP, &up, &Wants::ALL, &mut sink);
    parser.parse(DOWN, &down[..at], &Wants::ALL, &mut sink);
    parser.gap(DOWN, lost as u64, &Wants::ALL, &mut sink);
    parser.parse(DOWN, &down[at + lost..], &Wants::ALL, &mut sink);
    let (up, down) = read_all(11, 8, "second");
    parser.parse(UP, &up, &Wants::ALL, &mut sink);
    parser.parse(DOWN, &down, &Wants::ALL, &mut sink);
    heard
}

#[test]
fn a_hole_costs_the_file_in_it_and_no_other() {
    let first = frame(&[created(1, 7, 50, 0)]).len();
    let whole = r#"Some("first") true"#.to_owned();
    let broken = r#"Some("first") false"#.to_owned();
    let second = r#"Some("second") true"#.to_owned();
    // within the content; from the content into the answer to the closing
    assert_eq!(run_with_hole(first + 100, 10), [&broken[..], &second]);
    assert_eq!(run_with_hole(first + 100, 40), [&second[..]]);
    // of a whole frame
    assert_eq!(run_with_hole(first, 134), [&second[..]]);
    // in the answer to the opening
    let nameless = "None false".to_owned();
    assert_eq!(run_with_hole(0, 20), [nameless, second.clone()]);
    // within what is of no interest
    assert_eq!(run_with_hole(first + 134 + 90, 5), [whole, second]);
}

#[test]
fn what_is_held_back_is_bounded() {
    let mut parser = SmbParser::new();
    let mut files = Vec::new();
    let mut sink = |message: Message<'_>| {
        if let Message::File(file) = message {
            files.push((file.size, file.hashes.md5.is_some()));
        }
    };
    let piece = vec![0; 1 << 16];
    for file in 0..2_000u64 {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&file.to_le_bytes());
        // never from the start, never adjacent
        for run in 0..3 {
            let bytes = frame(&[write(file, id, 1 + run * (1 << 20), &piece)]);
            parser.parse(UP, &bytes, &Wants::ALL, &mut sink);
            parser.parse(
                UP,
                &frame(&[read(file * 3 + run, id, 0, 1)]),
                &Wants::ALL,
                &mut sink,
            );
            assert!(parser.opens.is_bounded());
        }
    }
    parser.end(UP, &Wants::ALL, &mut sink);
    parser.end(DOWN, &Wants::ALL, &mut sink);
    assert_eq!(files.len(), 2_000);
    assert!(
        files
            .iter()
            .all(|file| *file == ((2 << 20) + 1 + (1 << 16), false))
    );
}

#[test]
fn many_runs_are_given_up() {
    let file = [7; 16];
    let mut dialogue = opened("x", 0);
    let text: Vec<u8> = (0..200).collect();
    // every second byte, then the others: more runs than are kept
    for offset in (1..200).step_by(2).chain((0..200).step_by(2)) {
        let bytes = &text[offset..=offset];
        dialogue.push(one(UP, write(9, file, offset as u64, bytes)));
    }
    assert_eq!(run(&whole(&dialogue), &Wants::ALL), ["> x 200 -"]);
}

#[test]
fn mutated_messages_do_no_harm() {
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
        for _ in 0..=below(4) {
            let part = below(dialogue.len());
            let other = below(dialogue.len());
            let bytes = &mut dialogue[part].1;
            let place = below(bytes.len());
            match below(8) {
                0 => bytes.truncate(place),
                1 => dialogue.swap(part, other),
                2 => bytes.resize(bytes.len() + below(300), 0),
                _ => {
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte = [0, 1, 0x7f, 0xff, below(256) as u8][below(5)];
                    }
                }
            }
        }
        let mut parser = SmbParser::new();
        let mut size = 1 + below(400);
        for (way, bytes) in &dialogue {
            SmbParser::probe(*way, bytes);
            for piece in bytes.chunks(size) {
                if parser.parse(*way, piece, &Wants::ALL, &mut |_| {}) == Status::Done {
                    break;
                }
                if below(40) == 0 {
                    parser.gap(*way, below(200) as u64, &Wants::ALL, &mut |_| {});
                }
                assert!(parser.opens.is_bounded());
            }
            size = 1 + below(400);
        }
        for direction in Direction::BOTH {
            parser.end(direction, &Wants::ALL, &mut |_| {});
        }
        assert_eq!(parser.opens.held(), 0, "all that was held back is let go");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
