use super::*;
use crate::flow::Direction;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Status;
use crate::protocol::Wants;

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

/// Labels with their lengths and the root's; `\x..` escapes are the caller's.
fn wire(name: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name {
        out.push(label.len() as u8);
        out.extend_from_slice(label);
    }
    out.push(0);
    out
}

fn message(flags: u16, counts: [u16; 4], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0x12, 0x34];
    out.extend(flags.to_be_bytes());
    out.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    out.extend(parts.concat());
    out
}

fn question(name: &[u8], kind: u16) -> Vec<u8> {
    [name, &kind.to_be_bytes(), &[0, 1]].concat()
}

fn record(owner: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let mut out = owner.to_vec();
    out.extend(kind.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 60]);
    out.extend((data.len() as u16).to_be_bytes());
    out.extend(data);
    out
}

/// A pointer to the first question's name.
const ASKED: &[u8] = &[0xc0, 12];

/// www.Example.com A: a CNAME to cdn.example.net, two A records there, an OPT record.
fn answer() -> Vec<u8> {
    let name = wire(&[b"www", b"Example", b"com"]);
    // header 12, question 17 + 4: the CNAME's owner at 33, its data at 45
    message(
        0x8180,
        [1, 3, 0, 1],
        &[
            &question(&name, 1),
            &record(ASKED, 5, &wire(&[b"cdn", b"example", b"NET"])),
            &record(&[0xc0, 45], 1, &[192, 0, 2, 1]),
            &record(&[0xc0, 45], 1, &[192, 0, 2, 2]),
            // OPT: root owner
            &record(&[0], 41, &[]),
        ],
    )
}

/// Everything handed out, as text, and the fault.
fn walk(bytes: &[u8]) -> (Vec<String>, Option<Anomaly>) {
    let mut items = Vec::new();
    let message = DnsMessage::parse(bytes).expect("a header");
    let fault = message.for_each(&mut NameBuffers::new(), &mut |item| {
        items.push(match item {
            DnsItem::Question {
                name, record_type, ..
            } => format!("question {name} {record_type}"),
            DnsItem::Name {
                role,
                name,
                same_as_question,
                ..
            } => format!(
                "{} {name}{}",
                match role {
                    NameRole::Owner => "owner",
                    NameRole::Target => "target",
                },
                if same_as_question { " asked" } else { "" }
            ),
            DnsItem::Address { owner, address, .. } => format!("{owner} is {address}"),
        });
    });
    (items, fault)
}

#[test]
fn hands_out_questions_names_and_addresses_in_order() {
    let bytes = answer();
    let message = DnsMessage::parse(&bytes).unwrap();
    assert_eq!(message.id(), 0x1234);
    assert!(message.is_response());
    assert!(!message.truncated());
    assert_eq!(message.rcode(), 0);
    assert_eq!(message.opcode(), 0);
    assert_eq!(message.record_count(Section::Answer), 3);
    let (items, fault) = walk(&bytes);
    assert_eq!(
        items,
        [
            "question www.example.com 1",
            "owner www.example.com asked",
            "target cdn.example.net",
            // the owner of the A records is the target above, and does not come again
            "cdn.example.net is 192.0.2.1",
            "cdn.example.net is 192.0.2.2",
        ]
    );
    assert_eq!(fault, None);
}

#[test]
fn reads_the_targets_of_every_kind_of_record() {
    let name = wire(&[b"a", b"example"]);
    let target = wire(&[b"T", b"example"]);
    let ipv6 = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let with = |head: &[u8], tail: &[u8]| [head, &target, tail].concat();
    let hints = [
        &[0, 4, 0, 8, 192, 0, 2, 1, 192, 0, 2, 2][..],
        &[0, 6, 0, 16],
        &ipv6,
    ]
    .concat();
    let cases: [(u16, Vec<u8>, &[&str]); 12] = [
        (2, target.clone(), &["target t.example"]),
        (5, target.clone(), &["target t.example"]),
        (6, with(&[], &[0; 21]), &["target t.example"]),
        (12, target.clone(), &["target t.example"]),
        (15, with(&[0, 10], &[]), &["target t.example"]),
        (33, with(&[0, 1, 0, 2, 1, 187], &[]), &["target t.example"]),
        (39, target.clone(), &["target t.example"]),
        (28, ipv6.to_vec(), &["a.example is 2001:db8::1"]),
        (
            65,
            with(&[0, 1], &hints),
            &[
                "target t.example",
                "a.example is 192.0.2.1",
                "a.example is 192.0.2.2",
                "a.example is 2001:db8::1",
            ],
        ),
        // an alias to the owner itself is no new name
        (64, vec![0, 1, 0], &[]),
        // null MX (RFC 7505)
        (15, vec![0, 0, 0], &[]),
        (16, b"\x05a.b.c".to_vec(), &[]),
    ];
    for (kind, data, expected) in cases {
        let bytes = message(
            0x8180,
            [1, 1, 0, 0],
            &[&question(&name, kind), &record(ASKED, kind, &data)],
        );
        let (items, fault) = walk(&bytes);
        assert_eq!(items[0], format!("question a.example {kind}"));
        assert_eq!(items[1], "owner a.example asked");
        assert_eq!(items[2..], *expected, "type {kind}");
        assert_eq!(fault, None, "type {kind}");
    }
}

#[test]
fn writes_names_in_one_normal_form() {
    let long = [b'a'; 63];
    let cases: [(&[&[u8]], &str); 7] = [
        (&[], ""),
        (&[b"COM"], "com"),
        (&[b"a", b"B-c", b"_Tcp"], "a.b-c._tcp"),
        // one label with a dot is another name than two labels
        (&[b"a.b", b"c"], "a\\046b.c"),
        (&[b"a\\b"], "a\\092b"),
        (&[b"\x00 \xff"], "\\000\\032\\255"),
        (&[&long, &long, &long, &long[..61]], ""),
    ];
    for (labels, text) in cases {
        let bytes = message(0x0100, [1, 0, 0, 0], &[&question(&wire(labels), 1)]);
        let text = match labels.len() {
            4 => labels
                .iter()
                .map(|label| String::from_utf8_lossy(label).into_owned())
                .collect::<Vec<_>>()
                .join("."),
            _ => text.to_owned(),
        };
        assert_eq!(
            walk(&bytes),
            (vec![format!("question {text} 1")], None),
            "{labels:?}"
        );
    }
    // the longest text: every octet escaped
    let wild = [0xff; 63];
    let bytes = message(
        0x0100,
        [1, 0, 0, 0],
        &[&question(&wire(&[&wild, &wild, &wild, &wild[..61]]), 1)],
    );
    assert_eq!(walk(&bytes).0[0].matches("\\255").count(), 3 * 63 + 61);
}

#[test]
fn an_owner_written_out_is_still_the_name_asked_for() {
    let name = wire(&[b"a", b"example"]);
    let shouted = wire(&[b"A", b"EXAMPLE"]);
    let bytes = message(
        0x8180,
        [1, 1, 0, 0],
        &[&question(&name, 1), &record(&shouted, 1, &[192, 0, 2, 1])],
    );
    assert_eq!(
        walk(&bytes).0[1..],
        ["owner a.example asked", "a.example is 192.0.2.1"]
    );
}

#[test]
fn a_broken_tail_does_not_lose_the_head() {
    let name = wire(&[b"a", b"example"]);
    let good = record(ASKED, 1, &[192, 0, 2, 1]);
    let long = [b'a'; 63];
    let long_name = wire(&[&long, &long, &long, &long[..62]]);
    // header 12 + question 15 + record 16: the tail stands at 43
    let cases: [(&str, Vec<u8>); 6] = [
        ("dns.pointer-loop", record(&[0xc0, 43], 1, &[0; 4])),
        ("dns.pointer-loop", record(&[0xc0, 60], 1, &[0; 4])),
        ("dns.pointer-loop", record(&[0xc0, 3], 1, &[0; 4])),
        ("dns.label", record(&[0x41, b'a', 0], 1, &[0; 4])),
        ("dns.name-length", record(&long_name, 1, &[0; 4])),
        ("dns.truncated", record(b"\x05ab", 1, &[0; 4])[..3].to_vec()),
    ];
    for (fault, tail) in cases {
        let bytes = message(0x8180, [1, 2, 0, 0], &[&question(&name, 1), &good, &tail]);
        let (items, found) = walk(&bytes);
        assert_eq!(
            items,
            [
                "question a.example 1",
                "owner a.example asked",
                "a.example is 192.0.2.1"
            ],
            "{fault}"
        );
        assert_eq!(found, Some(Anomaly(fault)));
    }
}

#[test]
fn wrong_data_of_one_record_do_not_lose_the_next() {
    let name = wire(&[b"a", b"example"]);
    let good = record(ASKED, 1, &[192, 0, 2, 1]);
    for bad in [
        record(ASKED, 1, &[1, 2, 3]),
        record(ASKED, 28, &[1; 15]),
        // the name of the target ends beyond the data
        record(ASKED, 5, b"\x01"),
        record(ASKED, 65, &[0, 1, 0, 0, 4, 0, 9]),
    ] {
        let bytes = message(0x8180, [1, 2, 0, 0], &[&question(&name, 1), &bad, &good]);
        let (items, fault) = walk(&bytes);
        assert_eq!(items.last().unwrap(), "a.example is 192.0.2.1");
        assert_eq!(fault, Some(DATA), "{bad:?}");
    }
}

#[test]
fn a_set_reserved_bit_hides_nothing() {
    let bytes = message(0x0140, [1, 0, 0, 0], &[&question(&wire(&[b"a"]), 1)]);
    assert_eq!(
        walk(&bytes),
        (
            vec!["question a 1".to_owned()],
            Some(Anomaly("dns.reserved-bit"))
        )
    );
}

#[test]
fn a_payload_cut_anywhere_yields_a_head_of_the_items() {
    let whole = answer();
    let (all, _) = walk(&whole);
    let mut most = 0;
    for length in HEADER..whole.len() {
        let (items, fault) = walk(&whole[..length]);
        assert_eq!(items, all[..items.len()], "{length}");
        assert!(items.len() >= most);
        most = items.len();
        assert_eq!(fault, Some(name::CUT), "{length}");
        let expected = if length >= 33 {
            Probe::Certain
        } else {
            Probe::NotForUs
        };
        assert_eq!(probe_datagram(&whole[..length]), expected, "{length}");
    }
    assert_eq!(most, all.len());
}

#[test]
fn walks_no_more_than_it_should() {
    let name = wire(&[b"a", b"example"]);
    let mut bytes = message(0x8180, [1, 5000, 0, 0], &[&question(&name, 1)]);
    for _ in 0..5000 {
        bytes.extend(record(ASKED, 16, &[]));
    }
    assert_eq!(walk(&bytes).1, Some(Anomaly("dns.record-count")));
    let asked = question(&name, 1);
    let bytes = message(0x0100, [200, 0, 0, 0], &vec![&asked[..]; 200]);
    let (items, fault) = walk(&bytes);
    assert_eq!(items.len(), usize::from(QUESTION_LIMIT));
    assert_eq!(fault, Some(Anomaly("dns.question-count")));
    // pointers to pointers, each lawful by itself
    let mut bytes = message(0x8180, [0, 1, 0, 0], &[&[0]]);
    for place in 0..100_u16 {
        let before = if place == 0 { 12 } else { 11 + 2 * place };
        bytes.extend((0xc000 | before).to_be_bytes());
    }
    let mut name = NameText::new();
    let last = bytes.len() - 2;
    assert_eq!(name.decode(&bytes, 13 + 2 * 20), Ok(15 + 2 * 20));
    assert_eq!(name.decode(&bytes, last), Err(Anomaly("dns.pointer-loop")));
}

#[test]
fn recognises_dns_by_content_alone() {
    let name = wire(&[b"a", b"local"]);
    let netbios = wire(&[b"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
    let mut flush = record(&name, 1, &[192, 0, 2, 1]);
    let class = name.len() + 2;
    flush[class] = 0x80;
    let mut strange_class = question(&name, 1);
    *strange_class.last_mut().unwrap() = 77;
    let cases: [(&str, Vec<u8>, Probe); 13] = [
        ("answer", answer(), Probe::Certain),
        (
            "query",
            message(0x0100, [1, 0, 0, 0], &[&question(&name, 1)]),
            Probe::Certain,
        ),
        (
            "multicast",
            message(0x8400, [0, 1, 0, 0], &[&flush]),
            Probe::Certain,
        ),
        (
            "no such name",
            message(0x8183, [1, 0, 0, 0], &[&question(&name, 28)]),
            Probe::Certain,
        ),
        (
            "netbios",
            message(0x0110, [1, 0, 0, 0], &[&question(&netbios, 0x20)]),
            Probe::NotForUs,
        ),
        (
            "class",
            message(0x0100, [1, 0, 0, 0], &[&strange_class]),
            Probe::NotForUs,
        ),
        (
            "opcode",
            message(0x7900, [1, 0, 0, 0], &[&question(&name, 1)]),
            Probe::NotForUs,
        ),
        (
            "reserved bit",
            message(0x0140, [1, 0, 0, 0], &[&question(&name, 1)]),
            Probe::Certain,
        ),
        (
            "failed query",
            message(0x0103, [1, 0, 0, 0], &[&question(&name, 1)]),
            Probe::NotForUs,
        ),
        (
            "header alone",
            message(0x8180, [0; 4], &[]),
            Probe::NotForUs,
        ),
        ("zeros", vec![0; 64], Probe::NotForUs),
        ("nothing", vec![], Probe::NotForUs),
        (
            "text",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            Probe::NotForUs,
        ),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(probe_datagram(&bytes), expected, "{what}");
    }
    let mut random = Random(7);
    for _ in 0..20_000 {
        let bytes: Vec<u8> = (0..random.below(80)).map(|_| random.next() as u8).collect();
        assert_eq!(probe_datagram(&bytes), Probe::NotForUs, "{bytes:02x?}");
    }
}

/// Length-prefixed messages.
fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        out.extend((message.len() as u16).to_be_bytes());
        out.extend_from_slice(message);
    }
    out
}

fn read_stream(pieces: &[&[u8]]) -> (Vec<String>, Status) {
    let mut stream = DnsStream::new();
    let mut out = Vec::new();
    let mut status = Status::More;
    for piece in pieces {
        status = stream.parse(
            Direction::ToClient,
            piece,
            &Wants::default(),
            &mut |message| match message {
                Message::Dns(message) => out.push(format!("{:02x?}", message.bytes())),
                other => out.push(format!("{other:?}")),
            },
        );
        if status == Status::Done {
            break;
        }
    }
    (out, status)
}

#[test]
fn any_split_of_a_stream_yields_the_same_messages() {
    let mut broken = answer();
    broken[2] = 0x79;
    let query = message(0x0100, [1, 0, 0, 0], &[&question(&wire(&[b"a"]), 1)]);
    for messages in [
        vec![&answer()[..], &query, &answer(), &query],
        vec![&query[..], &broken, &query],
        vec![&query[..], b"short", &query],
    ] {
        let bytes = framed(&messages);
        let expected = read_stream(&[&bytes]);
        assert!(expected.0.len() >= 2);
        let bytewise: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read_stream(&bytewise), expected);
        let mut random = Random(42);
        for _ in 0..200 {
            let mut rest = &bytes[..];
            let mut pieces = Vec::new();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + random.below(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(read_stream(&pieces), expected);
        }
    }
}

#[test]
fn a_stream_is_told_by_its_first_message() {
    let bytes = framed(&[&answer(), &answer()]);
    // length 2, header 12, question 21
    for length in 0..bytes.len() {
        let expected = if length < 2 + 33 {
            Probe::Unsure
        } else {
            Probe::Certain
        };
        assert_eq!(DnsStream::probe(&bytes[..length]), expected, "{length}");
    }
    for other in [
        &b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\x03\x00\x00\x00",
        b"\x00\x05abcde",
    ] {
        assert_eq!(DnsStream::probe(other), Probe::NotForUs, "{other:02x?}");
    }
}

#[test]
fn a_gap_ends_a_stream() {
    let mut stream = DnsStream::new();
    let status = stream.gap(Direction::ToClient, 1, &Wants::ALL, &mut |_| {});
    assert_eq!(status, Status::Done);
}

#[test]
fn mutated_messages_do_no_harm() {
    let seeds = [
        answer(),
        message(
            0x8180,
            [1, 1, 1, 0],
            &[
                &question(&wire(&[b"a", b"example"]), 65),
                &record(ASKED, 65, b"\x00\x01\x00\x00\x04\x00\x04\xc0\x00\x02\x01"),
                &record(ASKED, 6, &[0xc0, 12, 0xc0, 12, 0, 0, 0, 1]),
            ],
        ),
    ];
    let mut random = Random(0x5eed);
    for round in 0..10_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=random.below(6) {
            let place = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[place] = random.next() as u8,
                1 => bytes[place] = [0, 0xc0, 0xff, 0x3f][random.below(4)],
                2 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, random.next() as u8),
            }
        }
        probe_datagram(&bytes);
        if let Ok(message) = DnsMessage::parse(&bytes) {
            message.for_each(&mut NameBuffers::new(), &mut |item| {
                if let DnsItem::Name { name, .. } = item {
                    assert!(name.bytes().all(|byte| byte.is_ascii_graphic()));
                    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
                }
            });
        }
        read_stream(&[&framed(&[&bytes])]);
    }
}
