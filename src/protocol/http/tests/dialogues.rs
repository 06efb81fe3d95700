//! The table of dialogues.

use std::io::Write as _;

use crate::flow::Direction::ToClient;
use crate::flow::Direction::ToServer;
use crate::protocol::http::tests::Numbers;
use crate::protocol::http::tests::Turn;
use crate::protocol::http::tests::client;
use crate::protocol::http::tests::file;
use crate::protocol::http::tests::partial;
use crate::protocol::http::tests::server;

/// Its name, what is sent, and what is to be heard of it.
pub(super) type Dialogue = (&'static str, Vec<Turn>, Vec<String>);

#[derive(Default)]
struct Table(Vec<Dialogue>);

impl Table {
    fn add(&mut self, name: &'static str, turns: Vec<Turn>, events: Vec<String>) {
        self.0.push((name, turns, events));
    }

    /// A dialogue of [`GET`] and an answer.
    fn fetch(&mut self, name: &'static str, answer: Turn, mut events: Vec<String>) {
        events.insert(0, GOT.to_owned());
        self.add(name, vec![client(GET), answer], events);
    }
}

/// Content that no coding makes smaller.
fn noise(length: usize) -> Vec<u8> {
    let mut numbers = Numbers::new(7);
    (0..length).map(|_| numbers.below(256) as u8).collect()
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::encode_all(content, 1).unwrap()
}

/// Brotli without compression (RFC 7932 9.2): a window of 64 KiB (bit 0), then for each
/// block ISLAST 0, MNIBBLES 00, MLEN - 1 in 16 bits, ISUNCOMPRESSED 1, padding, content;
/// at the end ISLAST 1, ISLASTEMPTY 1. One block, to keep to bytes.
pub(super) fn brotli(content: &[u8]) -> Vec<u8> {
    let header = (u32::try_from(content.len() - 1).unwrap() << 4) | 1 << 20;
    let mut out = header.to_le_bytes()[..3].to_vec();
    out.extend_from_slice(content);
    out.push(3);
    out
}

/// The start of such a stream with the largest window (RFC 7932 9.1: WBITS 1111), which a
/// block of 16 MiB (MNIBBLES 10) makes the decoder allocate.
pub(super) fn wide_brotli(start: &[u8]) -> Vec<u8> {
    let header = 0b1111 | 0b10 << 5 | ((16 << 20) - 1) << 7 | 1_u32 << 31;
    [&header.to_le_bytes()[..], start].concat()
}

/// "The quick brown fox jumps over the lazy dog. " twenty times, as brotli makes it.
const FOX_BROTLI: &[u8] = &[
    0x1b, 0x83, 0x03, 0x88, 0x2c, 0x0e, 0x78, 0xd3, 0xd0, 0x95, 0x5d, 0x97, 0x10, 0xbb, 0x17, 0x2b,
    0xa9, 0xca, 0xd0, 0x92, 0xcc, 0x8c, 0xad, 0x41, 0x5c, 0xe6, 0xf2, 0x36, 0xc8, 0x19, 0x9e, 0x9e,
    0x0a, 0x7b, 0x83, 0x0d, 0x38, 0x70, 0x48, 0x20, 0x6f, 0x24, 0xbe, 0x41, 0xa7, 0x15, 0xce, 0x1c,
    0x1e, 0x27, 0xaa, 0x29, 0x38, 0xc2, 0x89, 0xb8, 0x4f, 0x83, 0x01,
];

const FOX: &str = "The quick brown fox jumps over the lazy dog. ";

pub(super) fn response(head: &str, body: &[u8]) -> Turn {
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{head}{length}\r\n").into_bytes();
    bytes.extend_from_slice(body);
    server(bytes)
}

fn chunks(content: &[u8], sizes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, chunk) in content.chunks(sizes).enumerate() {
        let extension = if at == 1 { ";name=\"v\"" } else { "" };
        write!(out, "{:x}{extension}\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nX-Trailer: yes\r\n\r\n");
    out
}

pub(super) const GET: &str = "GET /dir/a.bin HTTP/1.1\r\nHost: example.org\r\n\r\n";
const GOT: &str = "GET http://example.org/dir/a.bin host=example.org";

/// Every dialogue with what is to be heard of it.
pub(super) fn dialogues() -> Vec<Dialogue> {
    let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let of_a = |content: &[u8]| file(ToClient, "a.bin", "-", content);
    let fox = FOX.repeat(20).into_bytes();
    let noise = noise(3000);
    let mut table = Table::default();
    let answered = |events: &[String]| [&["200 to GET".to_owned()], events].concat();

    table.fetch("plain", response("", &noise), answered(&[of_a(&noise)]));
    table.fetch(
        "typed and named",
        response(
            "Content-Type: Text/Plain; charset=x\r\nContent-Disposition: attachment; \
             filename=\"b c.txt\"\r\n",
            b"abc",
        ),
        answered(&[file(ToClient, "b c.txt", "text/plain", b"abc")]),
    );
    table.fetch("empty", response("", b""), answered(&[]));
    table.fetch(
        "chunked",
        server(
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(),
                &chunks(&noise, 700),
            ]
            .concat(),
        ),
        answered(&[of_a(&noise)]),
    );
    table.fetch(
        "until close",
        server([b"HTTP/1.0 200 OK\r\n\r\n".as_slice(), &noise].concat()),
        answered(&[of_a(&noise)]),
    );
    for (name, coding, body, content) in [
        ("gzip", "gzip", gzip(&fox), &fox),
        ("gzip large", "gzip", gzip(&noise), &noise),
        ("x-gzip", "X-GZip", gzip(&fox), &fox),
        (
            "gzip members",
            "gzip",
            [gzip(&fox[..100]), gzip(&fox[100..])].concat(),
            &fox,
        ),
        ("zlib", "deflate", zlib(&fox), &fox),
        ("zlib large", "deflate", zlib(&noise), &noise),
        ("deflate", "deflate", deflate(&fox), &fox),
        ("deflate large", "deflate", deflate(&noise), &noise),
        ("brotli", "br", FOX_BROTLI.to_vec(), &fox),
        ("brotli large", "br", brotli(&noise), &noise),
        ("zstd", "zstd", zstd(&fox), &fox),
        ("zstd large", "zstd", zstd(&noise), &noise),
        (
            "zstd frames",
            "zstd",
            [zstd(&fox[..100]), zstd(&fox[100..])].concat(),
            &fox,
        ),
        ("stacked", "gzip, br", brotli(&gzip(&fox)), &fox),
        (
            "stacked thrice",
            "zstd, deflate, gzip",
            gzip(&zlib(&zstd(&noise))),
            &noise,
        ),
    ] {
        let head = format!("Content-Encoding: {coding}\r\n");
        table.fetch(name, response(&head, &body), answered(&[of_a(content)]));
    }
    table.fetch(
        "gzip, with what does not belong to it after it",
        response(
            "Content-Encoding: gzip\r\n",
            &[gzip(&fox), vec![0; 600]].concat(),
        ),
        answered(&[of_a(&fox)]),
    );
    table.fetch(
        "gzip without its checksum",
        response(
            "Content-Encoding: gzip\r\n",
            &gzip(&noise)[..gzip(&noise).len() - 8],
        ),
        answered(&[of_a(&noise)]),
    );
    table.fetch(
        "gzip in chunks, as a transfer coding",
        server(
            [
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n".as_slice(),
                &chunks(&gzip(&fox), 20),
            ]
            .concat(),
        ),
        answered(&[of_a(&fox)]),
    );
    for (name, coding, content) in [
        ("not gzip", "gzip", fox.clone()),
        ("not deflate", "deflate", fox.clone()),
        ("not zstd", "zstd", fox.clone()),
        ("neither gzip nor gzip", "gzip, gzip", noise.clone()),
        ("short", "gzip", b"\x1f".to_vec()),
    ] {
        let head = format!("Content-Encoding: {coding}\r\n");
        table.fetch(
            name,
            response(&head, &content),
            answered(&["http.content-not-encoded".to_owned(), of_a(&content)]),
        );
    }
    // 78 01 is a header of RFC 1950, and also starts a stored block of RFC 1951: padding
    // bits, then LEN 1 and its complement; behind its one byte a last, empty block
    let ambiguous = b"\x78\x01\x00\xfe\xffh\x01\x00\x00\xff\xff";
    table.fetch(
        "stored block with padding bits",
        response("Content-Encoding: deflate\r\n", ambiguous),
        answered(&[of_a(b"h")]),
    );
    table.fetch(
        "an unknown coding",
        response("Content-Encoding: lzma\r\n", &fox),
        [
            &["http.content-coding-unknown".to_owned()],
            answered(&[of_a(&fox)]).as_slice(),
        ]
        .concat(),
    );
    table.add(
        "pipelined",
        vec![
            client(
                "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\r\nHost: b\r\n\r\n\
                 GET /3?x=/y HTTP/1.1\r\nHost: c\r\n\r\n",
            ),
            server(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\n\
                 Content-Length: 100\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 3\r\n\r\n333",
            ),
        ],
        vec![
            "GET http://a/1 host=a".to_owned(),
            "HEAD http://b/2 host=b".to_owned(),
            "GET http://c/3?x=/y host=c".to_owned(),
            "200 to GET".to_owned(),
            file(ToClient, "1", "-", b"1"),
            "200 to HEAD".to_owned(),
            "404 to GET".to_owned(),
            file(ToClient, "3", "-", b"333"),
        ],
    );
    table.add(
        "upload after 100-continue",
        vec![
            client(
                "PUT /up/x.doc HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
                 Content-Type: application/msword\r\nContent-Length: 5\r\n\r\n",
            ),
            server("HTTP/1.1 100 Continue\r\n\r\n"),
            client("hello"),
            server("HTTP/1.1 204 No Content\r\n\r\n"),
            client("GET /n HTTP/1.1\r\nHost: a\r\n\r\n"),
            server("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
        ],
        vec![
            "PUT http://a/up/x.doc host=a".to_owned(),
            "100 to PUT".to_owned(),
            file(ToServer, "x.doc", "application/msword", b"hello"),
            "204 to PUT".to_owned(),
            "GET http://a/n host=a".to_owned(),
            "304 to GET".to_owned(),
        ],
    );
    table.add(
        "post",
        vec![client(
            "POST /gate.php HTTP/1.1\r\nHost: a\r\nUser-Agent: x/1\r\nContent-Length: 3\r\n\r\n\
             a=bGET / HTTP/1.1\r\nhost:b\r\n\r\n",
        )],
        vec![
            "POST http://a/gate.php host=a agent=x/1".to_owned(),
            file(ToServer, "-", "-", b"a=b"),
            "GET http://b/ host=b".to_owned(),
        ],
    );
    table.add(
        "connect",
        vec![
            client("CONNECT Example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
            server("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"),
            client("CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
            server("HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x01"),
        ],
        vec![
            "CONNECT - host=example.org port=443".to_owned(),
            "407 to CONNECT".to_owned(),
            file(ToClient, "-", "-", b"no"),
            "CONNECT - host=example.org port=443".to_owned(),
            "200 to CONNECT".to_owned(),
            "switch ToClient at 79".to_owned(),
        ],
    );
    table.add(
        "connect, with the client alone seen",
        vec![client(
            "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n\x16\x03\x01",
        )],
        text(&["CONNECT - host=a port=443", "switch ToServer at 39"]),
    );
    table.add(
        "upgrade",
        vec![
            client("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"),
            server("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n\x01\x05"),
        ],
        text(&[
            "GET http://a/chat host=a",
            "101 to GET",
            "switch ToClient at 46",
        ]),
    );
    table.add(
        "the server alone seen",
        vec![server(
            [
                b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".as_slice(),
                b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-5/6\r\nContent-Length: 3\r\n\r\ndef",
                b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-2/3\r\nContent-Length: 3\r\n\r\nghi",
            ]
            .concat(),
        )],
        vec![
            "200 to -".to_owned(),
            file(ToClient, "-", "-", b"abc"),
            "206 to -".to_owned(),
            partial(ToClient, "-", "-", 3),
            "206 to -".to_owned(),
            file(ToClient, "-", "-", b"ghi"),
        ],
    );
    table.add(
        "hosts and targets",
        vec![client(
            "GET HTTP://Proxied.Example:8080/P?q#f HTTP/1.1\r\nHost: proxied.example:8080\r\n\r\n\
             GET http://front.example/ HTTP/1.1\r\nHost: back.example\r\n\r\n\
             GET /x HTTP/1.1\r\nHost: ONE.example.:80\r\nHost: two.example\r\n\r\n\
             GET /x HTTP/1.1\r\nHost: [2001:DB8::1]:8080\r\n\r\n\
             OPTIONS * HTTP/1.1\r\nHost: a:81\r\n\r\n\
             GET /x HTTP/1.0\r\n\r\n\
             get /lower HTTP/1.1\r\nHost: a\r\n\r\n\
             GET /x HTTP/1.1\r\nHost: a b\r\n\r\n",
        )],
        text(&[
            "GET http://proxied.example:8080/P?q host=proxied.example port=8080",
            "http.host-conflict",
            "GET http://front.example/ host=front.example other=back.example",
            "http.host-repeated",
            "GET http://one.example/x host=one.example port=80 other=two.example",
            "GET http://[2001:db8::1]:8080/x host=2001:db8::1 port=8080",
            "OPTIONS http://a:81/ host=a port=81",
            "GET http://192.0.2.1/x host=-",
            "get http://a/lower host=a",
            "http.host-malformed",
            "GET http://a b/x host=a b",
        ]),
    );
    table.add(
        "sloppy heads",
        vec![
            client("\r\n\r\nGET  /a b  HTTP/1.1\nHost : a\nX: 1\n 2\n\n"),
            server("HTTP/1.1 200\nContent-Length: 1\n\nx"),
            client("GET /old\r\n\r\n"),
        ],
        vec![
            "http.bare-lf".to_owned(),
            "http.folded-header".to_owned(),
            "http.start-line".to_owned(),
            "GET http://a/a b host=a".to_owned(),
            "http.bare-lf".to_owned(),
            "200 to GET".to_owned(),
            file(ToClient, "a b", "-", b"x"),
            "http.start-line".to_owned(),
            "GET http://192.0.2.1/old host=-".to_owned(),
        ],
    );
    table.add(
        "a request whose chunks are none",
        vec![client(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n\
             GET /next HTTP/1.1\r\nHost: b\r\n\r\n",
        )],
        text(&[
            "http.transfer-coding",
            "POST http://a/ host=a",
            "http.transfer-coding",
            "GET http://b/next host=b",
        ]),
    );
    for (name, head, body, odd, content) in [
        (
            "odd chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: x,chunked\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            &["http.transfer-coding"][..],
            "abc",
        ),
        (
            "odd and no chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: x,chunked\r\n\r\n",
            "plain\r\n\r\n",
            &["http.transfer-coding"],
            "plain\r\n\r\n",
        ),
        (
            "old chunks and a length",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            &["http.length-and-chunked"],
            "abc",
        ),
        (
            "no chunks but a length",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n",
            "plain\n",
            &["http.length-and-chunked"],
            "plain\n",
        ),
        (
            "a CR hides chunks",
            "HTTP/1.1 200 OK\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            &["http.bare-cr", "http.transfer-coding"],
            "abc",
        ),
        (
            "lengths in conflict",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "abc",
            &["http.content-length-conflict"],
            "abc",
        ),
        (
            "no length",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "abc",
            &["http.content-length"],
            "abc",
        ),
    ] {
        let not_chunked = head.contains("hunked") && body.starts_with('p');
        let events = odd.iter().map(|odd| (*odd).to_owned());
        let mut events: Vec<String> = events.chain(["200 to GET".to_owned()]).collect();
        if not_chunked {
            events.push("http.transfer-coding".to_owned());
        }
        events.push(of_a(content.as_bytes()));
        table.fetch(name, server([head, body].concat()), events);
    }
    table.fetch(
        "sloppy chunks",
        server(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
             \n 3x\r\nabc 2 ; y\ndeHTTP/1.1 200 OK\r\n",
        ),
        answered(&[
            "http.chunk-size".to_owned(),
            of_a(b"abcde"),
            "http.chunk-size".to_owned(),
        ]),
    );
    table.fetch(
        "cut",
        server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
        answered(&["http.body-cut".to_owned(), of_a(b"abc")]),
    );
    table.fetch(
        "chunks cut",
        server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        answered(&["http.body-cut".to_owned(), of_a(b"abc")]),
    );
    table.fetch(
        "last chunk cut",
        server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0"),
        answered(&[of_a(b"abc")]),
    );
    table.fetch(
        "gzip cut",
        response("Content-Encoding: gzip\r\n", &gzip(&noise)[..2000]),
        answered(&[
            "http.content-coding-broken".to_owned(),
            partial(ToClient, "a.bin", "-", 1985),
        ]),
    );
    table.fetch(
        "junk before and after",
        server("junk\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxjunk\nHTTP/1.1 204 x\r\n\r\n"),
        vec![
            "http.junk".to_owned(),
            "200 to GET".to_owned(),
            of_a(b"x"),
            "http.junk".to_owned(),
            "204 to -".to_owned(),
        ],
    );
    let long = format!("X: {}\r\n", "y".repeat(100)).repeat(700);
    table.fetch(
        "a long head",
        response(&format!("Content-Type: a/b\r\n{long}"), b"abc"),
        vec![
            "http.head-cap".to_owned(),
            "200 to GET".to_owned(),
            file(ToClient, "a.bin", "a/b", b"abc"),
        ],
    );
    table.add(
        "a head without end",
        vec![
            client(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nX: {}",
                "y".repeat(70_000)
            )),
            client("\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n"),
        ],
        text(&[
            "http.head-cap",
            "GET http://a/ host=a",
            "GET http://a/next host=a",
        ]),
    );
    table.add(
        "a head cut",
        vec![
            client("GET /x HTTP/1.1\r\nHost: a\r\nUser-Ag"),
            Turn::Gap(ToServer, 10),
            client("GET /not-found\r\nGET /y HTTP/1.1\r\nHost: a\r\nUser-Ag"),
        ],
        text(&[
            "http.head-cut",
            "GET http://a/x host=a",
            "http.gap",
            "http.head-cut",
            "GET http://a/y host=a",
        ]),
    );
    table.add(
        "gaps in bodies",
        vec![
            client(GET.repeat(4)),
            server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"),
            Turn::Gap(ToClient, 5),
            server("deHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
            Turn::Gap(ToClient, 2),
            server("e\r\n1\r\nf\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"),
            Turn::Gap(ToClient, 2),
            server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"),
            Turn::Gap(ToClient, 20),
            server("lost\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
        ],
        [
            vec![GOT.to_owned(); 4],
            text(&["200 to GET"]),
            vec![partial(ToClient, "a.bin", "-", 10)],
            text(&["200 to GET"]),
            vec![partial(ToClient, "a.bin", "-", 6)],
            text(&["200 to GET"]),
            vec![partial(ToClient, "a.bin", "-", 4)],
            text(&["200 to GET"]),
            vec![partial(ToClient, "a.bin", "-", 4)],
            text(&["http.gap", "200 to -"]),
            vec![file(ToClient, "-", "-", b"x")],
        ]
        .concat(),
    );
    table.0
}
