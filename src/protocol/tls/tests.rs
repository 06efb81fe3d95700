use super::*;
use crate::time::Timestamp;

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

fn bytes_of(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_length16(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes(), content].concat()
}

fn with_length24(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes()[1..], content].concat()
}

fn numbers16(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &with_length16(data)].concat()
}

fn server_name(name: &[u8]) -> Vec<u8> {
    extension(
        0,
        &with_length16(&[&[0][..], &with_length16(name)].concat()),
    )
}

fn protocols(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|name| [&[name.len() as u8], *name].concat())
        .collect();
    extension(16, &with_length16(&list))
}

/// The body of a ClientHello.
fn client_body(ciphers: &[u16], extensions: &[Vec<u8>]) -> Vec<u8> {
    [
        &[3, 3][..],
        &[7; 32],
        // no session id
        &[0],
        &with_length16(&numbers16(ciphers)),
        // the null compression alone
        &[1, 0],
        &with_length16(&extensions.concat()),
    ]
    .concat()
}

/// The body of a ServerHello.
fn server_body(random: &[u8; 32], extensions: &[Vec<u8>]) -> Vec<u8> {
    [
        &[3, 3][..],
        random,
        &[0],
        &[0xc0, 0x2f],
        &[0],
        &with_length16(&extensions.concat()),
    ]
    .concat()
}

fn handshake_message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &with_length24(body)].concat()
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &with_length16(content)].concat()
}

/// A ClientHello in the way of a browser: GREASE first and last, a name in mixed case.
fn browser_body() -> Vec<u8> {
    client_body(
        &[0x2a2a, 0x1301, 0x1302, 0xc02b, 0x002f],
        &[
            extension(0x3a3a, &[]),
            server_name(b"WWW.Bad.example."),
            extension(10, &with_length16(&numbers16(&[0x4a4a, 29, 23]))),
            extension(11, &[1, 0]),
            protocols(&[b"h2", b"http/1.1"]),
            extension(13, &with_length16(&numbers16(&[0x0403, 0x0804]))),
            extension(43, &[6, 0x5a, 0x5a, 3, 4, 3, 3]),
            extension(0x6a6a, &[0]),
        ],
    )
}

fn tls13_server() -> Vec<u8> {
    handshake_message(2, &server_body(&[9; 32], &[extension(43, &[3, 4])]))
}

fn tls12_server() -> Vec<u8> {
    handshake_message(2, &server_body(&[9; 32], &[extension(0xff01, &[0])]))
}

fn retry_request() -> Vec<u8> {
    let random = bytes_of("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c");
    handshake_message(
        2,
        &server_body(&random.try_into().unwrap(), &[extension(43, &[3, 4])]),
    )
}

fn chain(certificates: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = certificates
        .iter()
        .flat_map(|der| with_length24(der))
        .collect();
    handshake_message(11, &with_length24(&list))
}

const UP: Direction = Direction::ToServer;
const DOWN: Direction = Direction::ToClient;

/// Messages as text, and the last status; stops where the parser is done.
fn run(dialogue: &[(Direction, &[u8])], wants: &Wants) -> (Vec<String>, Status) {
    let mut parser = TlsParser::new();
    let mut out = Vec::new();
    let mut status = Status::More;
    for (direction, bytes) in dialogue {
        status = parser.parse(*direction, bytes, wants, &mut |message| {
            out.push(match message {
                Message::ClientHello(hello) => format!(
                    "client {} {}",
                    hello.sni().unwrap_or("-"),
                    hello.ja3_string()
                ),
                Message::ServerHello(hello) => format!("server {}", hello.ja3s_string()),
                Message::Certificate(certificate) => format!(
                    "certificate {} {}",
                    certificate.index(),
                    hex_of(certificate.der())
                ),
                Message::Anomaly(anomaly) => anomaly.0.to_owned(),
                other => format!("{other:?}"),
            });
        });
        if status == Status::Done {
            break;
        }
    }
    (out, status)
}

const CLIENT: &str = "client www.bad.example 771,4865-4866-49195-47,0-10-11-16-13-43,29-23,0";
const SERVER12: &str = "server 771,49199,65281";
const SERVER13: &str = "server 771,49199,43";

/// What each end sends, in turn.
type Dialogue = Vec<(Direction, Vec<u8>)>;

/// Dialogues, each with the messages that it yields.
fn dialogues() -> Vec<(&'static str, Dialogue, Vec<String>)> {
    let hello = handshake_message(1, &browser_body());
    let certificates = chain(&[b"first", b"second"]);
    let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    vec![
        (
            "TLS 1.2, all of the server in one record",
            vec![
                (UP, record(22, &hello)),
                (
                    DOWN,
                    record(
                        22,
                        &[tls12_server(), certificates.clone(), vec![14, 0, 0, 0]].concat(),
                    ),
                ),
                (UP, record(20, &[1])),
            ],
            text(&[
                CLIENT,
                SERVER12,
                "certificate 0 6669727374",
                "certificate 1 7365636f6e64",
            ]),
        ),
        (
            "handshake over many small records, with a warning between",
            vec![
                (
                    UP,
                    hello.chunks(9).flat_map(|part| record(22, part)).collect(),
                ),
                (DOWN, record(21, &[1, 112])),
                (
                    DOWN,
                    [tls12_server(), certificates.clone()]
                        .concat()
                        .chunks(5)
                        .flat_map(|part| record(22, part))
                        .collect(),
                ),
            ],
            text(&[
                CLIENT,
                SERVER12,
                "certificate 0 6669727374",
                "certificate 1 7365636f6e64",
            ]),
        ),
        (
            "TLS 1.3 after a retry: one handshake",
            vec![
                (UP, record(22, &hello)),
                (
                    DOWN,
                    [record(22, &retry_request()), record(20, &[1])].concat(),
                ),
                (UP, [record(20, &[1]), record(22, &hello)].concat()),
                (
                    DOWN,
                    [record(22, &tls13_server()), record(23, &[0x5a; 90])].concat(),
                ),
            ],
            text(&[CLIENT, SERVER13]),
        ),
        (
            "resumption sends no certificate",
            vec![
                (UP, record(22, &hello)),
                (
                    DOWN,
                    [
                        record(22, &tls12_server()),
                        record(22, &[4, 0, 0, 3, 1, 2, 3]),
                        record(20, &[1]),
                        record(22, &[0xee; 40]),
                    ]
                    .concat(),
                ),
            ],
            text(&[CLIENT, SERVER12]),
        ),
        (
            "a refusal",
            vec![(UP, record(22, &hello)), (DOWN, record(21, &[2, 40]))],
            text(&[CLIENT]),
        ),
        (
            "the server seen first, ends exchanged",
            vec![
                (UP, record(22, &tls13_server())),
                (DOWN, record(22, &hello)),
            ],
            text(&[SERVER13, CLIENT]),
        ),
    ]
}

#[test]
fn reads_handshakes_and_is_done_when_nothing_can_come() {
    for (what, dialogue, expected) in dialogues() {
        let dialogue: Vec<_> = dialogue
            .iter()
            .map(|(way, bytes)| (*way, &bytes[..]))
            .collect();
        assert_eq!(
            run(&dialogue, &Wants::ALL),
            (expected, Status::Done),
            "{what}"
        );
        // with nothing wanted but the name, the client's hello ends it
        let (messages, status) = run(&dialogue, &Wants::default());
        assert_eq!(
            (messages, status),
            (vec![CLIENT.to_owned()], Status::Done),
            "{what}"
        );
    }
}

#[test]
fn without_certificates_the_hello_of_the_server_ends_it() {
    let wants = Wants {
        ja3s: true,
        ..Wants::default()
    };
    let hello = record(22, &handshake_message(1, &browser_body()));
    let server = record(22, &tls12_server());
    assert_eq!(run(&[(UP, &hello)], &wants).1, Status::More);
    assert_eq!(
        run(&[(UP, &hello), (DOWN, &server)], &wants),
        (vec![CLIENT.to_owned(), SERVER12.to_owned()], Status::Done)
    );
}

#[test]
fn any_split_yields_the_same_messages() {
    let mut random = Random(11);
    for (what, dialogue, expected) in dialogues() {
        for round in 0..60 {
            let mut pieces: Vec<(Direction, &[u8])> = Vec::new();
            for (way, bytes) in &dialogue {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let most = if round == 0 { 1 } else { rest.len().min(120) };
                    let (piece, after) = rest.split_at(1 + random.below(most));
                    pieces.push((*way, piece));
                    rest = after;
                }
            }
            assert_eq!(
                run(&pieces, &Wants::ALL),
                (expected.clone(), Status::Done),
                "{what}"
            );
        }
    }
}

#[test]
fn gives_up_what_is_no_handshake() {
    let hello = handshake_message(1, &browser_body());
    let long_chain = chain(&vec![&b"x"[..]; CHAIN_LIMIT + 1]);
    let cases: [(&str, Vec<u8>); 8] = [
        ("tls.record", b"GET / HTTP/1.1\r\n".to_vec()),
        ("tls.record", [&[22, 3, 1, 0xff, 0xff][..], &hello].concat()),
        ("tls.handshake-type", record(22, &[99, 0, 0, 1, 0])),
        ("tls.handshake-length", record(22, &[1, 1, 0, 1, 3, 3])),
        ("tls.handshake-length", record(22, &[11, 2, 0, 1, 3, 3])),
        (
            "tls.client-hello",
            record(22, &handshake_message(1, &[3, 3])),
        ),
        (
            "tls.server-hello",
            record(22, &handshake_message(2, &[3, 3])),
        ),
        (
            "tls.certificates",
            record(22, &handshake_message(11, &[0, 0, 9, 0, 0, 9])),
        ),
    ];
    for (anomaly, bytes) in cases {
        assert_eq!(
            run(&[(DOWN, &bytes)], &Wants::ALL),
            (vec![anomaly.to_owned()], Status::Done)
        );
    }
    let (messages, status) = run(&[(DOWN, &record(22, &long_chain))], &Wants::ALL);
    assert_eq!(messages.len(), CHAIN_LIMIT + 1);
    assert_eq!(messages.last().unwrap(), "tls.certificates");
    assert_eq!(status, Status::Done);
}

#[test]
fn does_not_wait_for_ever_for_the_other_end() {
    let hello = record(22, &handshake_message(1, &browser_body()));
    let data = vec![0; PASSED_LIMIT];
    let (_, status) = run(&[(UP, &hello), (UP, &data)], &Wants::ALL);
    assert_eq!(status, Status::More);
    let (_, status) = run(&[(UP, &hello), (UP, &data), (UP, &[0])], &Wants::ALL);
    assert_eq!(status, Status::Done);
}

#[test]
fn a_gap_ends_a_direction_unless_it_lies_in_what_is_passed_over() {
    let nothing: &mut Sink<'_> = &mut |_| {};
    let hello = record(22, &handshake_message(1, &browser_body()));
    let mut parser = TlsParser::new();
    parser.parse(UP, &hello, &Wants::ALL, nothing);
    // 100 of a certificate status of 500 bytes, which nobody wants
    let status = record(22, &handshake_message(22, &[0; 500]));
    parser.parse(DOWN, &status[..109], &Wants::ALL, nothing);
    assert_eq!(parser.gap(DOWN, 300, &Wants::ALL, nothing), Status::More);
    parser.parse(DOWN, &status[409..], &Wants::ALL, nothing);
    let mut seen = Vec::new();
    parser.parse(
        DOWN,
        &record(22, &tls12_server()),
        &Wants::ALL,
        &mut |message| {
            seen.push(matches!(message, Message::ServerHello(_)));
        },
    );
    assert_eq!(seen, [true]);
    assert_eq!(parser.gap(DOWN, 1, &Wants::ALL, nothing), Status::Done);

    let mut parser = TlsParser::new();
    parser.parse(UP, &hello[..20], &Wants::ALL, nothing);
    assert_eq!(parser.gap(UP, 1, &Wants::ALL, nothing), Status::More);
    parser.end(DOWN, &Wants::ALL, nothing);
    assert_eq!(parser.parse(UP, &hello, &Wants::ALL, nothing), Status::Done);
}

#[test]
fn recognises_tls_by_its_first_record() {
    let hello = record(22, &handshake_message(1, &browser_body()));
    for length in 0..hello.len() {
        let expected = if length < 6 {
            Probe::Unsure
        } else {
            Probe::Certain
        };
        assert_eq!(TlsParser::probe(UP, &hello[..length]), expected);
    }
    for other in [
        // the hello of SSL 2.0: length with its first bit set, type 1, version 3.1
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0][..],
        b"GET / HTTP/1.1\r\n",
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0, 4, 16],
        &[22, 2],
        &[21, 3, 1, 0, 2, 2, 40],
    ] {
        assert_eq!(TlsParser::probe(UP, other), Probe::NotForUs, "{other:?}");
    }
}

#[test]
fn reads_the_lists_of_a_hello() {
    let body = browser_body();
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.legacy_version(), 0x0303);
    assert_eq!(hello.random(), [7; 32]);
    assert!(
        hello
            .cipher_suites()
            .eq([0x2a2a, 0x1301, 0x1302, 0xc02b, 0x002f])
    );
    assert!(hello.alpn().eq([&b"h2"[..], b"http/1.1"]));
    assert!(hello.supported_versions().eq([0x5a5a, 0x0304, 0x0303]));
    assert!(hello.supported_groups().eq([0x4a4a, 29, 23]));
    assert!(hello.signature_algorithms().eq([0x0403, 0x0804]));
    assert_eq!(hello.point_formats(), [0]);
    assert_eq!(hello.extensions().count(), 8);
    assert_eq!(hello.anomaly(), None);
    assert_eq!(
        ServerHello::parse(&tls13_server()[4..]).unwrap().version(),
        0x0304
    );
    assert_eq!(
        ServerHello::parse(&tls12_server()[4..]).unwrap().version(),
        0x0303
    );
}

#[test]
fn a_name_is_taken_in_normal_form_or_not_at_all() {
    let long = [b'a'; 254];
    let cases: [(&[u8], Option<&str>); 8] = [
        (b"a.example", Some("a.example")),
        (b"A.Example.", Some("a.example")),
        (b"192.0.2.1", Some("192.0.2.1")),
        (b"", None),
        (b".", None),
        (b"a\xff.example", None),
        (b"a\0.example", None),
        (&long, None),
    ];
    for (name, expected) in cases {
        let body = client_body(&[0x1301], &[server_name(name)]);
        let hello = ClientHello::parse(&body).unwrap();
        assert_eq!(hello.sni(), expected, "{name:?}");
        let anomaly = expected.is_none().then_some(Anomaly("tls.server-name"));
        assert_eq!(hello.anomaly(), anomaly, "{name:?}");
    }
    let body = client_body(&[0x1301], &[]);
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!((hello.sni(), hello.anomaly()), (None, None));
}

#[test]
fn a_broken_extension_does_not_hide_the_name() {
    // the second extension claims more than there is
    let broken = vec![0, 13, 0xff, 0xff, 1];
    let body = client_body(&[0x1301], &[server_name(b"bad.example"), broken]);
    let hello = ClientHello::parse(&body).unwrap();
    assert_eq!(hello.sni(), Some("bad.example"));
    assert_eq!(hello.anomaly(), Some(Anomaly("tls.extensions")));
    assert_eq!(hello.extensions().count(), 1);
}

#[test]
fn mutated_handshakes_do_no_harm() {
    let seeds: Vec<_> = dialogues()
        .into_iter()
        .map(|(_, dialogue, _)| dialogue)
        .collect();
    let mut random = Random(0x5eed);
    for round in 0..10_000 {
        let mut dialogue = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(5) {
            let part = random.below(dialogue.len());
            let bytes = &mut dialogue[part].1;
            let place = random.below(bytes.len());
            match random.below(4) {
                _ if bytes.is_empty() => {}
                0 => bytes[place] = random.next() as u8,
                1 => bytes[place] = [0, 1, 0x16, 0xff][random.below(4)],
                2 => bytes.truncate(place),
                _ => bytes.insert(place, random.next() as u8),
            }
        }
        let pieces: Vec<_> = dialogue
            .iter()
            .map(|(way, bytes)| (*way, &bytes[..]))
            .collect();
        let whole = run(&pieces, &Wants::ALL);
        let split: Vec<_> = pieces
            .iter()
            .flat_map(|(way, bytes)| bytes.chunks(37).map(|piece| (*way, piece)))
            .collect();
        assert_eq!(run(&split, &Wants::ALL), whole);
        if let Ok(hello) = ClientHello::parse(dialogue[0].1.get(9..).unwrap_or_default()) {
            assert_eq!(hello.ja4().as_str().len(), 36);
            hello.ja3();
        }
    }
}

/// A ClientHello of OpenSSL 3.0 in its record: TLS 1.2, two suites, bad.example.
const OPENSSL_HELLO: &str = "\
    160301006f0100006b0303f678bec043be6d27e7a92a14f19176513bb0f88e424c55a6982a990883ccf3e100\
    0006c02f002f00ff0100003c00000010000e00000b6261642e6578616d706c65000b000403000102000a0006\
    0004001d0017002300000016000000170000000d0006000404030401";

/// A certificate of OpenSSL 3.0: key on P-256, signed by itself, names bad.example,
/// *.Bad.example and 192.0.2.1.
const CERTIFICATE: &str = "\
    30820223308201c9a003020102020a009a36f7d432f4ab70ea300a06082a8648ce3d0403023055310b300906\
    035504061302444531143012060355040a0c0b4578616d706c65204f72673114301206035504030c0b426164\
    2e6578616d706c65311a301806092a864886f70d010901160b6140622e6578616d706c65301e170d32363131\
    32343032313932395a170d3336313132313032313932395a3055310b30090603550406130244453114301206\
    0355040a0c0b4578616d706c65204f72673114301206035504030c0b4261642e6578616d706c65311a301806\
    092a864886f70d010901160b6140622e6578616d706c653059301306072a8648ce3d020106082a8648ce3d03\
    010703420004a6450e768430deba3fccab893b69c3d659211487e6fac204bf2c87d3acb40c3c2c6ff0e0d9a9\
    fc36c4637d691d7f917d3e985a4c3ffa6ceff3263883158ba9f8a38180307e301d0603551d0e041604145361\
    6a6a481d17abb50a0ce611dd81f42d350425301f0603551d2304183016801453616a6a481d17abb50a0ce611\
    dd81f42d350425300f0603551d130101ff040530030101ff302b0603551d1104243022820b6261642e657861\
    6d706c65820d2a2e4261642e6578616d706c658704c0000201300a06082a8648ce3d04030203480030450220\
    7eead8d80865de11582b9fa87927bb914ced55bfb4bdef0d245a4738056e2195022100ea5d3b0869ddc5276b\
    8329a3c434feae50fc90a929a47651d4e5af9279e54138";

#[test]
fn fingerprints_agree_with_those_of_others() {
    let bytes = bytes_of(OPENSSL_HELLO);
    // after the record's and the message's header
    let hello = ClientHello::parse(&bytes[9..]).unwrap();
    // as tshark 4.0 has it
    assert_eq!(
        hello.ja3_string(),
        "771,49199-47-255,0-11-10-35-22-23-13,29-23,0-1-2"
    );
    assert_eq!(hex_of(&hello.ja3()), "caa011576206b748c302c3016308551a");
    // the hashed texts: 002f,00ff,c02f and 000a,000b,000d,0016,0017,0023_0403,0401
    assert_eq!(hello.ja4().as_str(), "t12d030700_78ff622567f0_cf2350eb60cd");

    // Chrome's, the example of the JA4 specification
    let extensions: Vec<_> = [
        0x001b, 0x0a0a, 0x0033, 0x4469, 0x0017, 0x002d, 0x0005, 0x0023, 0x0012, 0xff01, 0x000b,
        0x000a, 0x0015,
    ]
    .iter()
    .map(|kind| extension(*kind, &[]))
    .chain([
        server_name(b"a.example"),
        protocols(&[b"h2", b"http/1.1"]),
        extension(43, &[6, 0x0a, 0x0a, 3, 4, 3, 3]),
        extension(
            13,
            &with_length16(&numbers16(&[
                0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
            ])),
        ),
    ])
    .collect();
    let ciphers = [
        0x5a5a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    let body = client_body(&ciphers, &extensions);
    let hello = ClientHello::parse(&body).unwrap();
    let expected = "13d1516h2_8daaf6152771_e5627efa2ab1";
    assert_eq!(hello.ja4().to_string(), format!("t{expected}"));
    let hello = hello.over(Transport::Quic);
    assert_eq!(hello.ja4().to_string(), format!("q{expected}"));
}

#[test]
fn ja4_says_what_is_missing_or_beyond_count() {
    let many: Vec<u16> = (0..200).collect();
    let cases: [(Vec<u8>, &str); 3] = [
        (
            client_body(&[], &[]),
            "t12i000000_000000000000_000000000000",
        ),
        (client_body(&many, &[]), "t12i990000_"),
        // name and protocols count, but are not hashed
        (
            client_body(&[], &[server_name(b"a"), protocols(&[b"h2"])]),
            "t12d0002h2_000000000000_000000000000",
        ),
    ];
    for (body, expected) in cases {
        let ja4 = ClientHello::parse(&body).unwrap().ja4().to_string();
        assert!(ja4.starts_with(expected), "{ja4} {expected}");
    }
    for (protocol, expected) in [
        (&b"http/1.1"[..], "h1"),
        (b"h", "hh"),
        (b"", "00"),
        (b"\xab", "99"),
        (b"\xab\xcd", "99"),
        (b"0\xab", "09"),
        (b"01\xab\xcd", "09"),
        (b"0\xab\xcd1", "01"),
        (b" ", "20"),
    ] {
        let body = client_body(&[], &[protocols(&[protocol, b"h3"])]);
        let ja4 = ClientHello::parse(&body).unwrap().ja4().to_string();
        assert_eq!(&ja4[8..10], expected, "{protocol:?}");
    }
}

#[test]
fn reads_the_fields_of_a_certificate() {
    let der = bytes_of(CERTIFICATE);
    let certificate = Certificate::new(&der, 0);
    // as openssl has them
    assert_eq!(
        hex_of(&certificate.md5()),
        "0f0eeed63ac71ab8647bcef7bdabd512"
    );
    assert_eq!(
        hex_of(&certificate.sha1()),
        "b0b198223c770a43e33d767e56e3c1e5c1064da0"
    );
    assert_eq!(
        hex_of(&certificate.sha256()),
        "1171fa6dfb77b652638c3b4440f44dc452359b60de5f46bbf2ad6fc6b452cf61"
    );
    let name = "C=DE, O=Example Org, CN=Bad.example, emailAddress=a@b.example";
    assert_eq!(
        certificate.fields(),
        Some(CertificateFields {
            version: 3,
            serial_number: "9a:36:f7:d4:32:f4:ab:70:ea".to_owned(),
            issuer: name.to_owned(),
            subject: name.to_owned(),
            validity_not_before: Timestamp::parse_rfc3339("2026-11-24T02:19:29Z").unwrap(),
            validity_not_after: Timestamp::parse_rfc3339("2036-11-21T02:19:29Z").unwrap(),
            subject_public_key_algorithm: "id-ecPublicKey".to_owned(),
            signature_algorithm: "ecdsa-with-SHA256".to_owned(),
            is_self_signed: true,
            subject_alternative_names: vec!["bad.example".to_owned(), "*.bad.example".to_owned()],
        })
    );
}

#[test]
fn mutated_certificates_do_no_harm() {
    let der = bytes_of(CERTIFICATE);
    assert_eq!(Certificate::new(&der[..100], 0).fields(), None);
    let mut random = Random(3);
    for _ in 0..10_000 {
        let mut bytes = der.clone();
        for _ in 0..=random.below(4) {
            let place = random.below(bytes.len());
            match random.below(4) {
                0 => bytes.truncate(place.max(1)),
                1 => bytes[place] = [0, 0x30, 0x7f, 0x80, 0x84, 0xff][random.below(6)],
                _ => bytes[place] = random.next() as u8,
            }
        }
        Certificate::new(&bytes, 0).fields();
    }
}
