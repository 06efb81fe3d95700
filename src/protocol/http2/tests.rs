use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;
use std::net::Ipv4Addr;

use super::huffman::tests::encode;
use super::*;
use crate::protocol::digest::Digester;
use crate::protocol::http::HttpParser;

use Direction::ToClient;
use Direction::ToServer;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A small generator of pseudo-random numbers (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// What one side sends, or what of it was never seen.
#[derive(Clone, Debug)]
enum Turn {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, u64),
}

fn client(parts: &[Vec<u8>]) -> Turn {
    Turn::Bytes(ToServer, parts.concat())
}

fn server(parts: &[Vec<u8>]) -> Turn {
    Turn::Bytes(ToClient, parts.concat())
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn preface() -> Vec<u8> {
    // INITIAL_WINDOW_SIZE, and a PRIORITY and a WINDOW_UPDATE that mean nothing here
    let settings = frame(kind::SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]);
    let priority = frame(2, 0, 3, &[0, 0, 0, 0, 200]);
    [
        PREFACE,
        &settings,
        &priority,
        &frame(8, 0, 0, &[0, 1, 0, 0]),
    ]
    .concat()
}

fn settings() -> Vec<u8> {
    let acknowledgment = frame(kind::SETTINGS, 1, 0, &[]);
    [
        frame(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
        acknowledgment,
    ]
    .concat()
}

fn string(text: &[u8], coded: bool) -> Vec<u8> {
    let bytes = if coded { encode(text) } else { text.to_vec() };
    let flag = if coded { 0x80 } else { 0 };
    let mut out = Vec::new();
    match bytes.len() {
        length @ 0..0x7f => out.push(flag | length as u8),
        length => {
            let rest = length - 0x7f;
            out.extend([
                flag | 0x7f,
                rest as u8 | 0x80,
                (rest >> 7) as u8 | 0x80,
                (rest >> 14) as u8,
            ]);
        }
    }
    out.extend(bytes);
    out
}

/// A header block; fields whose name ends with `+` are added to the table.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, (name, value)) in fields.iter().enumerate() {
        let kept = name.ends_with('+');
        out.push(if kept { 0x40 } else { 0x10 });
        out.extend(string(name.trim_end_matches('+').as_bytes(), at % 2 == 0));
        out.extend(string(value.as_bytes(), at % 3 == 0));
    }
    out
}

const HEADERS_END: u8 = flag::END_HEADERS | flag::END_STREAM;

fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example:8080"),
        (":path", path),
        ("user-agent", "agent/1"),
    ];
    frame(kind::HEADERS, HEADERS_END, stream, &block(&fields))
}

fn ok(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[(":status", "200")], fields].concat();
    frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&fields))
}

fn data(stream: u32, flags: u8, content: &[u8]) -> Vec<u8> {
    frame(kind::DATA, flags, stream, content)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn describe(message: &Message<'_>) -> String {
    match message {
        Message::HttpRequest(request) => {
            assert_eq!(request.version, Version::HTTP_2);
            let mut url = String::new();
            let mut text = format!(
                "{} {} {}",
                request.method,
                request.target,
                request.url(SERVER, 80, &mut url).unwrap_or("-"),
            );
            if let Some(other) = request.other_host {
                let _ = write!(text, " other={other}");
            }
            if let Some(agent) = request.user_agent() {
                let _ = write!(text, " agent={agent}");
            }
            text
        }
        Message::HttpResponse(response) => {
            format!(
                "{} to {}",
                response.status,
                response.request_method.unwrap_or("-")
            )
        }
        Message::File(file) => {
            let sha256 = file.hashes.sha256.map(|digest| hex(&digest[..4]));
            format!(
                "file {:?} {} {} {} {}",
                file.direction,
                file.name.unwrap_or("-"),
                file.mime_type.unwrap_or("-"),
                file.size,
                sha256.as_deref().unwrap_or("-")
            )
        }
        Message::Anomaly(anomaly) => anomaly.0.to_owned(),
        other => panic!("not of this protocol: {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file as [`describe`] has it.
fn file(direction: &str, name: &str, mime_type: &str, content: &[u8]) -> String {
    let mut digester = Digester::new(&Wants::ALL);
    digester.update(content);
    let sha256 = digester.finish().sha256.unwrap();
    format!(
        "file {direction} {name} {mime_type} {} {}",
        content.len(),
        hex(&sha256[..4])
    )
}

/// What a parser says of a dialogue, of which each turn is cut into pieces.
fn run(turns: &[Turn], pieces: &mut dyn FnMut(usize) -> usize) -> Vec<String> {
    let mut parser = Http2Parser::new();
    let mut events = Vec::new();
    for turn in turns {
        match turn {
            Turn::Bytes(direction, bytes) => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(pieces(rest.len()).clamp(1, rest.len()));
                    rest = after;
                    parser.parse(*direction, piece, &Wants::ALL, &mut |message| {
                        events.push(describe(&message));
                    });
                }
            }
            Turn::Gap(direction, length) => {
                parser.gap(*direction, *length, &Wants::ALL, &mut |message| {
                    events.push(describe(&message));
                });
            }
        }
    }
    for direction in Direction::BOTH {
        parser.end(direction, &Wants::ALL, &mut |message| {
            events.push(describe(&message))
        });
    }
    assert_eq!(parser.status(), Status::Done);
    events
}

type Dialogue = (&'static str, Vec<Turn>, Vec<String>);

fn dialogues() -> Vec<Dialogue> {
    let texts = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let get_a = "GET /a http://a.example:8080/a agent=agent/1";
    let end = flag::END_STREAM;
    let mut list: Vec<Dialogue> = Vec::new();

    list.push((
        "a file",
        vec![
            client(&[preface(), get(1, "/dir/a.exe?x")]),
            server(&[
                settings(),
                ok(
                    1,
                    &[
                        ("content-type", "Text/Plain; charset=x"),
                        ("content-length", "7"),
                    ],
                ),
                data(1, 0, b"con"),
                data(1, end, b"tent"),
            ]),
        ],
        [
            texts(&[
                "GET /dir/a.exe?x http://a.example:8080/dir/a.exe?x agent=agent/1",
                "200 to GET",
            ]),
            vec![file("ToClient", "a.exe", "text/plain", b"content")],
        ]
        .concat(),
    ));

    let page = b"page ".repeat(900);
    let zipped = gzip(&page);
    let (one, two) = zipped.split_at(20);
    let put = [
        (":method", "PUT"),
        (":scheme", "https"),
        (":authority", "A.example:443"),
        (":path", "/up/b.bin"),
    ];
    list.push((
        "streams side by side, one of them an upload, one coded and padded",
        vec![
            client(&[
                preface(),
                get(1, "/a"),
                frame(kind::HEADERS, flag::END_HEADERS, 3, &block(&put)),
                data(3, 0, b"up"),
            ]),
            server(&[
                settings(),
                ok(1, &[("content-encoding", "gzip")]),
                data(1, flag::PADDED, &[&[3][..], one, &[0; 3]].concat()),
            ]),
            client(&[data(3, end | flag::PADDED, b"\x01load\0")]),
            server(&[
                frame(kind::HEADERS, HEADERS_END, 3, &block(&[(":status", "204")])),
                data(1, flag::PADDED, &[0]),
                data(1, 0, two),
                data(1, end, b""),
            ]),
        ],
        [
            texts(&[
                get_a,
                "PUT /up/b.bin https://a.example/up/b.bin",
                "200 to GET",
            ]),
            vec![file("ToServer", "b.bin", "-", b"upload")],
            texts(&["204 to PUT"]),
            vec![file("ToClient", "a", "-", &page)],
        ]
        .concat(),
    ));

    // a block of three frames with padding and priority; the next refers to what it added
    let kept = block(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority+", "b.example"),
        (":path", "/1"),
        ("user-agent+", "kept/2"),
    ]);
    let head = [&[2, 0, 0, 0, 0, 16][..], &kept[..9], &[0, 0]].concat();
    // GET, http, user-agent and authority of the table, a path without an index
    let short = [&[0x82, 0x86, 0xbf, 0x04, 2][..], b"/2", &[0xbe]].concat();
    list.push((
        "a block in pieces, and the table after it",
        vec![client(&[
            preface(),
            frame(kind::HEADERS, end | flag::PADDED | flag::PRIORITY, 1, &head),
            frame(kind::CONTINUATION, 0, 1, &kept[9..12]),
            frame(kind::CONTINUATION, flag::END_HEADERS, 1, &kept[12..]),
            frame(kind::HEADERS, HEADERS_END, 3, &short),
        ])],
        texts(&[
            "GET /1 http://b.example/1 agent=kept/2",
            "GET /2 http://b.example/2 agent=kept/2",
        ]),
    ));

    list.push((
        "interim responses and trailers",
        vec![
            client(&[preface(), get(1, "/a")]),
            server(&[
                settings(),
                frame(
                    kind::HEADERS,
                    flag::END_HEADERS,
                    1,
                    &block(&[(":status", "103")]),
                ),
                ok(1, &[]),
                data(1, 0, b"body"),
                frame(
                    kind::HEADERS,
                    HEADERS_END,
                    1,
                    &block(&[("grpc-status", "0")]),
                ),
                // a ping in between, and a response to what was not seen
                frame(6, 0, 0, &[0; 8]),
                ok(9, &[]),
                data(9, end, b"unknown"),
            ]),
        ],
        [
            texts(&[get_a, "103 to GET", "200 to GET"]),
            vec![file("ToClient", "a", "-", b"body")],
            texts(&["200 to -"]),
            vec![file("ToClient", "-", "-", b"unknown")],
        ]
        .concat(),
    ));

    let connect = [(":method", "CONNECT"), (":authority", "c.example:25")];
    let extended = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "d.example"),
        (":path", "/chat"),
    ];
    list.push((
        "tunnels are no files",
        vec![
            client(&[
                preface(),
                frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&connect)),
                frame(kind::HEADERS, flag::END_HEADERS, 3, &block(&extended)),
                data(1, end, b"EHLO"),
            ]),
            server(&[settings(), ok(1, &[]), ok(3, &[]), data(1, end, b"220")]),
        ],
        texts(&[
            "CONNECT c.example:25 -",
            "CONNECT /chat https://d.example/chat",
            "200 to CONNECT",
            "200 to CONNECT",
        ]),
    ));

    let promise = block(&[(":method", "GET"), (":path", "/style.css")]);
    list.push((
        "pushed files have names",
        vec![
            client(&[preface(), get(1, "/a")]),
            server(&[
                settings(),
                frame(
                    kind::PUSH_PROMISE,
                    flag::END_HEADERS,
                    1,
                    &[&[0, 0, 0, 2][..], &promise].concat(),
                ),
                ok(2, &[]),
                data(2, end, b"css"),
            ]),
        ],
        [
            texts(&[get_a, "200 to GET"]),
            vec![file("ToClient", "style.css", "-", b"css")],
        ]
        .concat(),
    ));

    list.push((
        "content that ends before its end",
        vec![
            client(&[preface(), get(1, "/a"), get(3, "/a"), get(5, "/a")]),
            server(&[
                settings(),
                ok(1, &[]),
                data(1, 0, b"cut"),
                ok(3, &[]),
                data(3, 0, b"off"),
            ]),
            client(&[frame(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
            server(&[data(1, 0, b"late")]),
        ],
        [
            texts(&[
                get_a,
                get_a,
                get_a,
                "200 to GET",
                "200 to GET",
                "http.body-cut",
            ]),
            vec![file("ToClient", "a", "-", b"cut")],
            texts(&["http.body-cut"]),
            vec![file("ToClient", "a", "-", b"off")],
        ]
        .concat(),
    ));

    let smuggled = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a.example"),
        (":path", "/x"),
        ("host", "b.example"),
        ("transfer-encoding", "gzip, chunked"),
        ("x", "1\r\nuser-agent: y"),
    ];
    list.push((
        "what HTTP/1 would trip over",
        vec![
            client(&[
                preface(),
                frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&smuggled)),
                data(1, end, b"plain"),
                frame(kind::HEADERS, HEADERS_END, 3, &block(&[("x", "y")])),
            ]),
            server(&[frame(
                kind::HEADERS,
                HEADERS_END,
                1,
                &block(&[(":status", "abc")]),
            )]),
        ],
        [
            texts(&[
                "http2.header-value",
                "http.host-repeated",
                "GET /x http://a.example/x other=b.example",
            ]),
            vec![file("ToServer", "-", "-", b"plain")],
            texts(&["http2.request-line", "  http://192.0.2.1/", "http2.status"]),
        ]
        .concat(),
    ));

    list.push((
        "holes within content",
        vec![
            client(&[preface(), get(1, "/a"), get(3, "/a")]),
            server(&[
                settings(),
                ok(1, &[]),
                frame(0, 0, 1, b"123456")[..11].to_vec(),
            ]),
            Turn::Gap(ToClient, 4),
            server(&[data(1, end, b"78")]),
            // all of a frame is content and missing
            server(&[ok(3, &[]), frame(0, end, 3, b"123456")[..9].to_vec()]),
            Turn::Gap(ToClient, 6),
            server(&[ok(5, &[])]),
        ],
        texts(&[
            get_a,
            get_a,
            "200 to GET",
            "file ToClient a - 8 -",
            "200 to GET",
            "file ToClient a - 6 -",
            "200 to -",
            "http.body-cut",
        ]),
    ));

    // what loses a direction; the other goes on
    for (what, turns, anomaly) in [
        (
            "preface",
            vec![Turn::Bytes(ToServer, PREFACE.replace_at(20))],
            "http2.preface",
        ),
        (
            "another frame within a block",
            vec![client(&[
                preface(),
                frame(kind::HEADERS, 0, 1, &kept),
                data(1, 0, b""),
            ])],
            "http2.continuation",
        ),
        (
            "another stream's frame within a block",
            vec![client(&[
                preface(),
                frame(kind::HEADERS, 0, 1, &kept),
                frame(kind::CONTINUATION, 4, 3, b""),
            ])],
            "http2.continuation",
        ),
        (
            "a frame that continues nothing",
            vec![client(&[preface(), frame(kind::CONTINUATION, 4, 1, &kept)])],
            "http2.continuation",
        ),
        (
            "padding beyond the frame",
            vec![client(&[preface(), data(1, flag::PADDED, &[5, 0, 0])])],
            "http2.padding",
        ),
        (
            "no stream",
            vec![client(&[preface(), frame(kind::HEADERS, 5, 0, &kept)])],
            "http2.stream",
        ),
        (
            "no header block",
            vec![client(&[preface(), frame(kind::HEADERS, 5, 1, &[0xff; 9])])],
            "http2.header-block",
        ),
        (
            "a block without an end",
            vec![client(&[
                preface(),
                frame(kind::HEADERS, 0, 1, &[0; 16384]),
                frame(kind::CONTINUATION, 0, 1, &[0; 16384]).repeat(4),
            ])],
            "http2.header-block-cap",
        ),
        (
            "a hole within a frame header",
            vec![client(&[preface(), vec![0, 0]]), Turn::Gap(ToServer, 7)],
            "http2.gap",
        ),
    ] {
        let mut turns = turns;
        turns.push(client(&[get(11, "/never")]));
        turns.push(server(&[settings(), ok(1, &[]), data(1, end, b"x")]));
        let mut expected = texts(&[anomaly, "200 to -"]);
        expected.push(file("ToClient", "-", "-", b"x"));
        list.push((what, turns, expected));
    }
    list
}

trait ReplaceAt {
    fn replace_at(&self, place: usize) -> Vec<u8>;
}

impl ReplaceAt for [u8] {
    fn replace_at(&self, place: usize) -> Vec<u8> {
        let mut bytes = self.to_vec();
        bytes[place] = b'!';
        bytes
    }
}

#[test]
fn dialogues_yield_messages() {
    for (name, turns, expected) in dialogues() {
        assert_eq!(run(&turns, &mut |length| length), expected, "{name}");
    }
}

#[test]
fn any_split_yields_the_same() {
    let mut random = Random(0x0002_0002);
    for (name, turns, expected) in dialogues() {
        assert_eq!(run(&turns, &mut |_| 1), expected, "{name} byte by byte");
        for _ in 0..20 {
            assert_eq!(
                run(&turns, &mut |_| 1 + random.below(40)),
                expected,
                "{name}"
            );
        }
    }
}

#[test]
fn mutated_dialogues_do_no_harm() {
    let seeds: Vec<_> = dialogues().into_iter().map(|(_, turns, _)| turns).collect();
    let mut random = Random(0x5eed);
    for round in 0..10_000 {
        let mut turns = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(5) {
            let part = random.below(turns.len());
            let Turn::Bytes(_, bytes) = &mut turns[part] else {
                continue;
            };
            // leave large dialogues to the other tests
            bytes.truncate(4096);
            // the preface is not what is tested here
            let place = match bytes.starts_with(PREFACE) {
                true => PREFACE.len() + random.below(bytes.len() - PREFACE.len()),
                false => random.below(bytes.len()),
            };
            match random.below(5) {
                _ if place >= bytes.len() => {}
                0 => bytes[place] = random.next() as u8,
                1 => bytes[place] = [0, 1, 4, 9, 0x40, 0x7f, 0xff][random.below(7)],
                2 => bytes.truncate(place),
                3 => {
                    let copy = bytes[place..].to_vec();
                    bytes.extend(copy);
                }
                _ => bytes.insert(place, random.next() as u8),
            }
        }
        let whole = run(&turns, &mut |length| length);
        assert_eq!(run(&turns, &mut |_| 37), whole);
    }
}

/// Two bytes of a block may stand for a field of kilobytes.
#[test]
fn hostile_blocks_cost_what_they_weigh() {
    let long = "x".repeat(4000);
    let first = block(&[(long.as_str(), ""), ("k+", &long)]);
    // the long field again and again; then entries named after the long one, which push it out
    let bomb = [&[0xbe_u8; 30_000][..], &[0x7e, 0].repeat(15_000)].concat();
    let turns = [client(&[
        preface(),
        frame(
            kind::HEADERS,
            HEADERS_END,
            1,
            &[&first[..], &[0xbe]].concat(),
        ),
        frame(kind::HEADERS, HEADERS_END, 3, &bomb),
    ])];
    let events = run(&turns, &mut |length| length);
    assert!(
        events.contains(&"http2.header-list-cap".to_owned()),
        "{events:?}"
    );
}

#[test]
fn only_what_is_asked_for_is_followed() {
    let (_, turns, expected) = dialogues().swap_remove(0);
    let mut parser = Http2Parser::new();
    let mut events = Vec::new();
    for turn in &turns {
        if let Turn::Bytes(direction, bytes) = turn {
            parser.parse(*direction, bytes, &Wants::default(), &mut |message| {
                events.push(describe(&message));
            });
        }
    }
    assert_eq!(events, expected[..2]);
}

#[test]
fn an_upgrade_leads_here() {
    let mut http = HttpParser::new();
    let mut heard = 0;
    let upgrade = "GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                   Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let status = http.parse(ToServer, upgrade.as_bytes(), &Wants::ALL, &mut |_| {
        heard += 1
    });
    assert_eq!(status, Status::More);
    let switching =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let answer = [&switching[..], &settings(), &ok(1, &[]), &data(1, 1, b"x")].concat();
    let status = http.parse(ToClient, &answer, &Wants::ALL, &mut |_| heard += 1);
    assert_eq!((status, heard), (Status::Switch(switching.len()), 2));
    let rest = &answer[switching.len()..];
    assert_eq!(Http2Parser::probe(ToClient, rest), Probe::Certain);
    assert_eq!(Http2Parser::probe(ToServer, &preface()), Probe::Certain);
    let turns = [
        Turn::Bytes(ToClient, rest.to_vec()),
        client(&[preface(), get(3, "/b")]),
    ];
    assert_eq!(
        run(&turns, &mut |length| length),
        [
            "200 to -",
            &file("ToClient", "-", "-", b"x"),
            "GET /b http://a.example:8080/b agent=agent/1"
        ]
    );
}

#[test]
fn streams_share_the_memory_for_decoding() {
    // RFC 7932: a window and a block of 16 MiB that is not compressed, and its start
    let wide = (0b1111 | 0b10 << 5 | ((16 << 20) - 1) << 7 | 1_u32 << 31).to_le_bytes();
    let body = [&wide[..], &[7; 1_000]].concat();
    let mut parser = Http2Parser::new();
    let mut events = Vec::new();
    let mut hear = |parser: &mut Http2Parser, bytes: &[u8]| {
        parser.parse(ToClient, bytes, &Wants::ALL, &mut |message| {
            events.push(describe(&message));
        });
        parser.held()
    };
    let empty = hear(&mut parser, &settings());
    for stream in [1, 3, 5] {
        let part = [
            ok(stream, &[("content-encoding", "br")]),
            data(stream, 0, &body),
        ];
        let held = hear(&mut parser, &part.concat());
        assert!((16 << 20..17 << 20).contains(&held), "{stream}: {held}");
    }
    let part = [
        ok(7, &[("content-encoding", "gzip")]),
        data(7, 0, &gzip(b"x")),
    ];
    let before = parser.held();
    assert!(hear(&mut parser, &part.concat()) > before);
    let reset = |stream| frame(kind::RST_STREAM, 0, stream, &[0; 4]);
    let ends = [
        data(5, 1, b"x"),
        data(1, 1, b"x"),
        reset(3),
        data(7, 1, b""),
    ];
    hear(&mut parser, &ends.concat());
    // the halves that requests would end
    let resets = [1, 5, 7].map(reset).concat();
    let held = hear(&mut parser, &resets);
    assert!(held < empty + (4 << 10), "{empty}, then {held}");
    let caps = events
        .iter()
        .filter(|event| *event == "http.decoder-memory-cap");
    assert_eq!(caps.count(), 2);
    assert!(
        events.contains(&file("ToClient", "-", "-", b"x")),
        "{events:?}"
    );
}
