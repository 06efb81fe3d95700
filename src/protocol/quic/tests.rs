use super::*;

use Direction::ToClient;
use Direction::ToServer;

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

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            list.swap(at, self.below(at + 1));
        }
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

/// A number of variable length in four bytes.
fn variable4(number: usize) -> [u8; 4] {
    (number as u32 | 0x8000_0000).to_be_bytes()
}

fn crypto(offset: usize, bytes: &[u8]) -> Vec<u8> {
    [&[6][..], &variable4(offset), &variable4(bytes.len()), bytes].concat()
}

/// A ClientHello that names `name`, in its handshake message, and padded with an extension.
fn hello(name: &str, padding: usize) -> Vec<u8> {
    let length16 = |content: &[u8]| [&(content.len() as u16).to_be_bytes(), content].concat();
    let host = [&[0][..], &length16(name.as_bytes())].concat();
    let server_name = [&[0, 0][..], &length16(&length16(&host))].concat();
    let pad = [&[0, 21][..], &length16(&vec![0; padding])].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        // no session id, one cipher suite, one compression method
        &[0, 0, 2, 0x13, 1, 1, 0],
        &length16(&[server_name, pad].concat()),
    ]
    .concat();
    [&[1][..], &(body.len() as u32).to_be_bytes()[1..], &body].concat()
}

/// A client, or what an evader makes of one.
#[derive(Clone)]
struct Client {
    version: Version,
    number: u32,
    /// What its keys follow from.
    secret: Vec<u8>,
    /// Where its packets go.
    destination: Vec<u8>,
    token: Vec<u8>,
    /// The first packet number.
    sent: u64,
}

impl Client {
    fn new(version: Version, destination: &[u8]) -> Self {
        Self {
            version,
            number: match version {
                Version::Draft29 => 0xff00_001d,
                Version::V1 => 1,
                Version::V2 => 0x6b33_43cf,
            },
            secret: destination.to_vec(),
            destination: destination.to_vec(),
            token: Vec::new(),
            sent: 0,
        }
    }

    /// An Initial packet.
    fn packet(&mut self, frames: &[u8]) -> Vec<u8> {
        let mut connection = [0; MAX_ID];
        connection[..self.secret.len()].copy_from_slice(&self.secret);
        let keys = Keys::of_client(self.version, &connection[..self.secret.len()]).unwrap();
        let kind = if self.version == Version::V2 { 1 } else { 0 };
        let header = [
            &[0xc0 | kind << 4 | 1][..],
            &self.number.to_be_bytes(),
            &[self.destination.len() as u8],
            &self.destination,
            // a source connection id of three bytes
            &[3, 1, 2, 3],
            &variable4(self.token.len()),
            &self.token,
            &variable4(2 + frames.len().max(4) + 16),
            &(self.sent as u16).to_be_bytes(),
        ]
        .concat();
        let padded = [frames, &vec![0; 4_usize.saturating_sub(frames.len())]].concat();
        let packet = keys.seal(&header, self.sent, &padded);
        self.sent += 1;
        packet
    }

    /// A 0-RTT packet, which nobody here can read.
    fn early(&self) -> Vec<u8> {
        let kind = if self.version == Version::V2 { 2 } else { 1 };
        [
            &[0xc0 | kind << 4][..],
            &self.number.to_be_bytes(),
            &[self.destination.len() as u8],
            &self.destination,
            &[0],
            &variable4(30),
            &[0x5a; 30],
        ]
        .concat()
    }
}

const MAX_ID: usize = 20;

/// What a parser says of datagrams, up to and including its last status.
fn run(datagrams: &[(Direction, Vec<u8>)]) -> (Vec<String>, Status) {
    let mut parser = QuicParser::new();
    let mut heard = Vec::new();
    let mut status = Status::More;
    for (direction, bytes) in datagrams {
        if status == Status::Done {
            break;
        }
        status = parser.datagram(*direction, bytes, &Wants::ALL, &mut |message| {
            heard.push(match message {
                Message::ClientHello(hello) => {
                    assert_eq!(hello.transport(), Transport::Quic);
                    format!(
                        "{} {}",
                        &hello.ja4().as_str()[..4],
                        hello.sni().unwrap_or("-")
                    )
                }
                Message::Anomaly(anomaly) => anomaly.0.to_owned(),
                other => panic!("{other:?}"),
            });
        });
    }
    (heard, status)
}

fn heard(datagrams: &[Vec<u8>]) -> Vec<String> {
    let datagrams: Vec<_> = datagrams
        .iter()
        .map(|bytes| (ToServer, bytes.clone()))
        .collect();
    run(&datagrams).0
}

/// The CRYPTO frame of RFC 9001 appendix A.2.
const SAMPLE_CRYPTO: &str = "\
    060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e86804fe3a47f06a2b69484c000004\
    13011302010000c000000010000e00000b6578616d706c652e636f6dff01000100000a00080006001d00170018\
    00100007000504616c706e000500050100000000003300260024001d00209370b2c9caa47fbabaf4559fedba75\
    3de171fa71f50f1ce15d43e994ec74d748002b0003020304000d0010000e040305030603020308040805080600\
    2d00020101001c00024001003900320408ffffffffffffffff05048000ffff07048000ffff0801100104800075\
    300901100f088394c8f03e51570806048000ffff";

/// RFC 9001 appendix A.2, RFC 9369 appendix A.2.
#[test]
fn the_samples_of_the_specifications() {
    let destination = bytes_of("8394c8f03e515708");
    for (version, header, protected, tag) in [
        (
            Version::V1,
            "c300000001088394c8f03e5157080000449e00000002",
            "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11",
            Some("e221af44860018ab0856972e194cd934"),
        ),
        (
            Version::V2,
            "d36b3343cf088394c8f03e5157080000449e00000002",
            "d76b3343cf088394c8f03e5157080000449ea0c95e82",
            None,
        ),
    ] {
        let mut frames = bytes_of(SAMPLE_CRYPTO);
        frames.resize(1162, 0);
        let keys = Keys::of_client(version, &destination).unwrap();
        let packet = keys.seal(&bytes_of(header), 2, &frames);
        assert_eq!(packet.len(), 1200);
        assert_eq!(hex_of(&packet[..protected.len() / 2]), protected);
        if let Some(tag) = tag {
            assert_eq!(hex_of(&packet[1184..]), tag);
        }
        assert_eq!(QuicParser::probe_datagram(&packet), Probe::Certain);
        assert_eq!(heard(&[packet]), ["q13d example.com"]);
    }
}

#[test]
fn probes_tell_quic_from_what_looks_like_it() {
    let sound = Client::new(Version::V1, &[9; 8]).packet(&[0; 100]);
    assert_eq!(QuicParser::probe_datagram(&sound), Probe::Certain);
    let changed = |place: usize, byte: u8| {
        let mut bytes = sound.clone();
        bytes[place] = byte;
        bytes
    };
    for bytes in [
        Vec::new(),
        b"\xc0".to_vec(),
        // the form, the fixed bit, a Handshake packet, a Retry
        changed(0, 0x40),
        changed(0, 0x80),
        changed(0, 0xe0),
        changed(0, 0xf0),
        // Version Negotiation, another version
        changed(4, 0),
        changed(4, 2),
        // connection ids longer than any
        changed(5, 21),
        changed(14, 21),
        // a packet that goes beyond the datagram
        sound[..sound.len() - 1].to_vec(),
    ] {
        assert_eq!(
            QuicParser::probe_datagram(&bytes),
            Probe::NotForUs,
            "{bytes:x?}"
        );
    }
}

#[test]
fn hellos_are_found_however_they_are_sent() {
    let first = || Client::new(Version::V1, &[1; 8]);
    let message = hello("a.example", 1500);
    let (head, tail) = message.split_at(700);
    let both = |client: &mut Client| {
        vec![
            client.packet(&crypto(700, tail)),
            client.packet(&crypto(0, head)),
        ]
    };
    let found = vec!["q12d a.example".to_owned()];

    for version in [Version::Draft29, Version::V1, Version::V2] {
        let mut client = Client::new(version, &[1; 8]);
        assert_eq!(heard(&both(&mut client)), found, "{version:?}");
    }
    // the same in one datagram, behind a packet of another kind
    let mut client = first();
    let early = client.early();
    assert_eq!(
        heard(&[[vec![early], both(&mut client)].concat().concat()]),
        found
    );
    // frames of one packet in any order, between others
    let shuffled = [
        &[0, 1][..],
        &crypto(700, tail),
        &[1],
        &crypto(0, head),
        &[0; 9],
    ]
    .concat();
    assert_eq!(heard(&[first().packet(&shuffled)]), found);
    // the second part goes to the connection id that the server chose, with the first's keys
    let mut client = first();
    let one = client.packet(&crypto(0, head));
    client.destination = vec![2; 5];
    assert_eq!(heard(&[one, client.packet(&crypto(700, tail))]), found);
    // a Retry: the keys follow from what the server chose, the hello comes again
    let mut client = first();
    let one = client.packet(&crypto(0, head));
    client.secret = vec![2; 5];
    client.destination = vec![2; 5];
    client.token = vec![3; 900];
    let mut datagrams = vec![one];
    datagrams.extend(both(&mut client));
    assert_eq!(heard(&datagrams), found);
    // other handshakes between its parts, complete or not
    let mut parts = both(&mut first());
    for decoy in 2..=3 {
        let mut other = Client::new(Version::V1, &[decoy; 8]);
        parts.insert(
            1,
            other.packet(&crypto(0, &hello("b.example", 1500)[..600])),
        );
    }
    assert_eq!(heard(&parts), found);
    // packet numbers beyond their two bytes
    let mut client = first();
    client.sent = 0x7fff;
    let one = client.packet(&crypto(0, head));
    client.sent = 0x1_0002;
    let two = client.packet(&[1]);
    let mut client_again = client.clone();
    client_again.sent = 0xfffe;
    let three = client_again.packet(&[1]);
    client.sent = 0x1_0003;
    assert_eq!(
        heard(&[one, three, two, client.packet(&crypto(700, tail))]),
        found
    );
}

#[test]
fn the_client_is_who_says_hello() {
    let whole = Client::new(Version::V1, &[1; 8]).packet(&crypto(0, &hello("a.example", 0)));
    let found = vec!["q12d a.example".to_owned()];
    // the start of the flow was not seen
    assert_eq!(
        run(&[(ToClient, whole.clone())]),
        (found.clone(), Status::Done)
    );
    // what the server sends is passed over
    let server = Client::new(Version::V1, &[]).early();
    let datagrams = [
        (ToClient, server),
        (ToClient, vec![0x40; 60]),
        (ToServer, whole),
    ];
    assert_eq!(run(&datagrams), (found, Status::Done));
}

#[test]
fn odd_handshakes_are_told_and_left() {
    let message = hello("a.example", 0);
    for (stream, expected) in [
        (crypto(0, &[2, 0, 0, 0]), "quic.handshake-type"),
        (crypto(0, &[1, 0xff, 0, 0]), "quic.handshake-length"),
        (crypto(0, &[1, 0, 0, 2, 3, 3]), "quic.client-hello"),
        (crypto(MAX_STREAM, b"x"), "quic.crypto-cap"),
        (vec![0x08, 0, 0], "quic.frame"),
        (
            [crypto(2, b"ab"), crypto(1, b"xyz")].concat(),
            "quic.crypto-conflict",
        ),
    ] {
        // a handshake of its own after it is found
        let one = Client::new(Version::V1, &[1; 8]).packet(&stream);
        let two = Client::new(Version::V1, &[2; 8]).packet(&crypto(0, &message));
        assert_eq!(heard(&[one, two]), [expected, "q12d a.example"]);
    }
}

#[test]
fn what_never_becomes_a_hello_is_given_up() {
    let mut client = Client::new(Version::V1, &[1; 8]);
    let mut packet = client.packet(&crypto(0, &hello("a.example", 0)));
    // the tag is wrong: a server passes over it
    *packet.last_mut().unwrap() ^= 1;
    let datagrams = vec![(ToServer, packet); MAX_DATAGRAMS as usize];
    assert_eq!(run(&datagrams[1..]), (vec![], Status::More));
    assert_eq!(run(&datagrams), (vec![], Status::Done));
    // hostile numbers of handshakes and of packets in one datagram hold no memory
    let mut parser = QuicParser::new();
    for id in 0..50 {
        let mut client = Client::new(Version::V1, &[id; 8]);
        let bytes = client.packet(&crypto(5, &[1; 900])).repeat(20);
        parser.datagram(ToServer, &bytes, &Wants::ALL, &mut |_| {});
        assert!(parser.handshakes.len() <= MAX_HANDSHAKES);
    }
}

/// Law: any split, order and duplication of a hello into frames, packets and datagrams yields
/// the hello, once.
#[test]
fn any_split_yields_the_hello() {
    let mut random = Random(0x51ec);
    for round in 0..400 {
        let message = hello("split.example", random.below(4000));
        let mut frames = Vec::new();
        let mut at = 0;
        while at < message.len() {
            let end = (at + 1 + random.below(900)).min(message.len());
            // some overlap with what lies before
            let start = at - random.below(20).min(at);
            frames.push(crypto(start, &message[start..end]));
            if random.below(4) == 0 {
                frames.push(crypto(start, &message[start..end]));
            }
            if random.below(4) == 0 {
                frames.push(vec![0; random.below(9)]);
            }
            at = end;
        }
        random.shuffle(&mut frames);
        let version = [Version::Draft29, Version::V1, Version::V2][round % 3];
        let mut client = Client::new(version, &[7; 12]);
        let mut datagrams = vec![Vec::new()];
        while !frames.is_empty() {
            let count = 1 + random.below(3);
            let packet: Vec<u8> = frames.drain(..count.min(frames.len())).flatten().collect();
            let packet = client.packet(&packet);
            if random.below(2) == 0 {
                datagrams.push(Vec::new());
            }
            datagrams.last_mut().unwrap().extend(packet);
        }
        random.shuffle(&mut datagrams);
        assert_eq!(heard(&datagrams), ["q12d split.example"], "round {round}");
    }
}

#[test]
fn mutated_datagrams_do_no_harm() {
    let message = hello("a.example", 300);
    let mut client = Client::new(Version::V1, &[1; 8]);
    let seeds = [
        client.packet(&crypto(0, &message)),
        [client.early(), client.packet(&crypto(0, &message[..99]))].concat(),
        Client::new(Version::V2, &[]).packet(&crypto(9, &message)),
    ];
    let keys = Keys::of_client(Version::V1, &[1; 8]).unwrap();
    let mut random = Random(0x5eed);
    for round in 0..10_000 {
        let mutate = |bytes: &mut Vec<u8>, random: &mut Random| {
            for _ in 0..=random.below(4) {
                let place = random.below(bytes.len());
                match random.below(4) {
                    _ if bytes.is_empty() => {}
                    0 => bytes[place] = random.next() as u8,
                    1 => bytes[place] = [0, 1, 0x3f, 0x40, 0xff][random.below(5)],
                    2 => bytes.truncate(place),
                    _ => bytes.insert(place, random.next() as u8),
                }
            }
        };
        // what is around the protection, and what it protects
        let mut bytes = seeds[round % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        let mut frames = [
            &crypto(3, &message[3..])[..],
            &[2, 5, 0, 1, 0, 1, 1],
            &crypto(0, &message),
        ]
        .concat();
        mutate(&mut frames, &mut random);
        frames.resize(frames.len().max(4), 0);
        let header = [
            &bytes_of("c10000000108")[..],
            &[1; 8],
            &[0, 0],
            &variable4(2 + frames.len() + 16),
            &[0, 1],
        ]
        .concat();
        heard(&[bytes, keys.seal(&header, 1, &frames)]);
    }
}
