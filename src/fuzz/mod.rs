//! Fuzzing, on stable Rust and with nothing but this: see docs/fuzzing.md.
//!
//! What must hold for every input is said beside what takes the input, in files named `fuzz.rs`;
//! [`targets`] is the list of them. `cargo test` replays the inputs kept in `tests/corpus` and
//! mutates them for a moment; [`for_long`] goes on for as long as it is told.

#[cfg(fuzz_coverage)]
mod coverage;
mod drive;
mod mutate;
mod tests;

use crate::capture;
use crate::exchange;
use crate::indicator;
use crate::matcher;
use crate::packet;
use crate::protocol;
use crate::protocol::registry::STREAM_PROTOCOLS;
use crate::sensor;
use crate::verdict;

/// What takes inputs, and the laws that hold for each.
struct Target {
    /// Names the folder of its inputs.
    name: &'static str,
    /// What inputs are made of, for mutation to put in.
    words: &'static [&'static [u8]],
    /// How many times as long as others it may take.
    patience: u32,
    /// Takes an input, panics where a law is broken, and tells what the input led to.
    body: Box<Body>,
}

type Body = dyn Fn(&[u8], &mut dyn FnMut(&str));

impl Target {
    fn new(
        name: &'static str,
        words: &'static [&'static [u8]],
        body: impl Fn(&[u8], &mut dyn FnMut(&str)) + 'static,
    ) -> Self {
        Self {
            name,
            words,
            patience: 1,
            body: Box::new(body),
        }
    }

    /// One whose inputs may take so many times as long.
    fn with_patience(self, patience: u32) -> Self {
        Self { patience, ..self }
    }
}

/// Every target: one line each, but for the protocols, which have a list of their own.
fn targets() -> Vec<Target> {
    let mut targets: Vec<Target> = STREAM_PROTOCOLS
        .iter()
        .map(|protocol| {
            Target::new(protocol.name, words_of(protocol.name), |input, seen| {
                protocol::fuzz::stream(protocol, input, seen);
            })
        })
        .collect();
    targets.extend([
        Target::new("dns-datagram", &[], protocol::fuzz::dns_datagram),
        Target::new("dhcp", &[], protocol::fuzz::dhcp),
        Target::new("quic", TURNS, protocol::fuzz::quic_datagrams),
        Target::new("packet", &[b"\xfe|\xfe\0\x01\x01"], packet::fuzz::decode),
        Target::new("sensor", &[b"\xfe|\xfe\0\x65\x01"], sensor::fuzz::handle),
        Target::new("segments", HTTP, sensor::fuzz::segments),
        Target::new("capture", CAPTURE, capture::fuzz::read),
        Target::new("bundle", BUNDLE, exchange::fuzz::load),
        Target::new("misp", MISP, exchange::fuzz::load),
        Target::new("list", LIST, exchange::fuzz::load),
        Target::new("pattern", PATTERN, indicator::pattern::fuzz::parse),
        // the bound on its work is some seconds, since it is a command of its own
        Target::new("evaluation", PATTERN, indicator::pattern::fuzz::evaluate).with_patience(200),
        Target::new("matching", MATCHING, matcher::fuzz::find),
        Target::new("set", &[], matcher::fuzz::open),
        Target::new("rules", RULES, verdict::fuzz::read),
    ]);
    targets
}

/// What dialogues in a protocol are made of; for one that is not here, turns alone.
fn words_of(protocol: &str) -> &'static [&'static [u8]] {
    match protocol {
        "http" => HTTP,
        "smtp" => SMTP,
        "ftp" => FTP,
        _ => TURNS,
    }
}

/// Marks of [`protocol::fuzz`].
const TURNS: &[&[u8]] = &[
    b"\xfe>\xfe",
    b"\xfe<\xfe",
    b"\xfe)\xfe\x04",
    b"\xfe(\xfe\x04",
    b"\xfe]\xfe",
    b"\xfe[\xfe",
];

const HTTP: &[&[u8]] = &[
    b"\xfe>\xfe",
    b"\xfe<\xfe",
    b"\xfe)\xfe\x04",
    b"\xfe(\xfe\x04",
    b"\xfe]\xfe",
    b"\xfe[\xfe",
    b"\r\n",
    b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n",
    b"HEAD /a HTTP/1.0\r\n",
    b"CONNECT a.example:443 HTTP/1.1\r\n",
    b"POST http://a.example/b?c HTTP/1.1\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 204 \r\n",
    b"HTTP/1.1 206 Partial Content\r\n",
    b"HTTP/1.1 304 \r\n",
    b"Host: a.example\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: deflate, br\r\n",
    b"Content-Type: multipart/form-data; boundary=x\r\n",
    b"Content-Disposition: attachment; filename*=UTF-8''a%20b\r\n",
    b"Content-Range: bytes 0-4/5\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"0\r\n\r\n",
    b"\r\n5\r\nabcde\r\n",
    b"--x\r\n",
    b"--x--\r\n",
];

const SMTP: &[&[u8]] = &[
    b"\xfe>\xfe",
    b"\xfe<\xfe",
    b"\xfe)\xfe\x04",
    b"\xfe(\xfe\x04",
    b"\xfe]\xfe",
    b"\r\n",
    b"\r\n.\r\n",
    b"EHLO a.example\r\n",
    b"MAIL FROM:<a@a.example>\r\n",
    b"RCPT TO:<b@b.example>\r\n",
    b"DATA\r\n",
    b"BDAT 5 LAST\r\n",
    b"STARTTLS\r\n",
    b"RSET\r\n",
    b"AUTH PLAIN \r\n",
    b"250 ok\r\n",
    b"250-PIPELINING\r\n",
    b"354 go on\r\n",
    b"220 a ESMTP\r\n",
    b"550 no\r\n",
    b"From: a <a@a.example>\r\n",
    b"Subject: =?utf-8?B?w6k=?=\r\n",
    b"Subject: =?iso-8859-1?Q?a=20b?=\r\n",
    b"Content-Type: multipart/mixed; boundary=\"x\"\r\n\r\n",
    b"Content-Type: text/html; charset=utf-8\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n\r\n",
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
    b"Content-Disposition: attachment; filename=\"a.exe\"\r\n",
    b"--x\r\n",
    b"--x--\r\n",
    b"begin 644 a\r\n",
    b"http://a.example/b ",
    b"<a href=\"http://a.example/\">",
    b"=3D=\r\n",
];

const FTP: &[&[u8]] = &[
    b"\xfe>\xfe",
    b"\xfe<\xfe",
    b"\xfe)\xfe\x04",
    b"\xfe(\xfe\x04",
    b"\r\n",
    b"USER a\r\n",
    b"PASV\r\n",
    b"EPSV\r\n",
    b"RETR a/b.exe\r\n",
    b"STOR c\r\n",
    b"AUTH TLS\r\n",
    b"220 ready\r\n",
    b"220-a\r\n",
    b"150 opening\r\n",
    b"226 done\r\n",
    b"234 go on\r\n",
    b"227 passive (192,0,2,1,4,5)\r\n",
];

const CAPTURE: &[&[u8]] = &[
    b"\xd4\xc3\xb2\xa1\x02\0\x04\0",
    b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a",
    b"\x01\0\0\0\x14\0\0\0\x01\0\0\0\0\0\x04\0\x14\0\0\0",
    b"\x06\0\0\0\x24\0\0\0",
    b"\x03\0\0\0\x14\0\0\0\x04\0\0\0abcd\x14\0\0\0",
    b"\x09\0\x01\0\x06\0\0\0",
    b"\x28\xb5\x2f\xfd",
    b"\x1f\x8b\x08\0",
];

const BUNDLE: &[&[u8]] = &[
    b"{\"type\":\"bundle\",\"objects\":[",
    b"{\"objects\":[",
    b"\"type\":\"indicator\",",
    b"\"spec_version\":\"2.1\",",
    b"\"pattern_type\":\"stix\",",
    b"\"pattern\":\"[ipv4-addr:value = '192.0.2.1']\",",
    b"\"revoked\":true,",
    b"\"valid_until\":\"2025-01-01T00:00:00Z\",",
    b"\"confidence\":101,",
    b"\"object_marking_refs\":[\"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9\"],",
    b"\"modified\":\"2024-01-02T00:00:00.000Z\",",
    b"{\"type\":\"relationship\",\"id\":\"relationship--1\",\"relationship_type\":\"indicates\",\"source_ref\":\"indicator--1\",\"target_ref\":\"malware--1\"},",
    b"\\u00e9",
    b"\\ud800",
    b"null",
    b"1e999",
    b"[[[[",
    b"}]}",
];

const MISP: &[&[u8]] = &[
    b"{\"Event\":{",
    b"{\"response\":[",
    b"\"Attribute\":[",
    b"\"Object\":[",
    b"\"Tag\":[{\"name\":\"tlp:amber\"}]",
    b"\"to_ids\":true,",
    b"\"deleted\":true,",
    b"\"type\":\"ip-dst|port\",",
    b"\"type\":\"domain|ip\",",
    b"\"type\":\"filename|md5\",",
    b"\"type\":\"url\",",
    b"\"type\":\"ja3-fingerprint-md5\",",
    b"\"value\":\"192.0.2.1|80\",",
    b"\"timestamp\":\"1700000000\",",
    b"\"uuid\":\"55a21239-65d0-41af-819f-2281f886103f\",",
    b"\"first_seen\":\"2024-01-01T00:00:00.000000+00:00\",",
    b"{\"matching_attributes\":[\"url\"],\"list\":[\"a\"]}",
    b"\"category\":\"Network activity\",",
    b"null",
];

const LIST: &[&[u8]] = &[
    b"192.0.2.1\n",
    b"192.0.2.0/24\n",
    b"2001:db8::/33\n",
    b"[2001:db8::1]:443",
    b"*.a.example\n",
    b".b.example\n",
    b"hxxp://a[.]example/b\n",
    b"http://a.example/\n",
    b"0.0.0.0 a.example b.example\n",
    b"127.0.0.1 localhost\n",
    b"#fields\tindicator\tindicator_type\tmeta.desc\n",
    b"192.0.2.1\tIntel::ADDR\tx\n",
    b"a.example/b\tIntel::URL\tx\n",
    b"#separator \\x09\n",
    b"\"id\",\"dateadded\",\"url\"\n",
    b"first_seen_utc,dst_ip,dst_port\n",
    b"md5_hash;name\n",
    b"YS5leGFtcGxl,3\n",
    b"d41d8cd98f00b204e9800998ecf8427e\n",
    b"d41d8cd98f00b204e9800998ecf8427e,55a21239-65d0-41af-819f-2281f886103f\n",
    b"a@a.example\n",
    b"\"a \"\"b\"\";c\"",
    b"xn--bcher-kva.example\n",
    b"# comment\n",
    b"; comment\n",
    b" // comment\n",
    b"\xef\xbb\xbf",
    b"b\xc3\xbccher.example\r\n",
    b"\xff\xfe",
];

const PATTERN: &[&[u8]] = &[
    b"[a:b = 1]",
    b" AND ",
    b" OR ",
    b" FOLLOWEDBY ",
    b" NOT ",
    b" IN ('x', 2)",
    b" LIKE 'a%_'",
    b" MATCHES '^a+$'",
    b" ISSUBSET '192.0.2.0/24'",
    b" ISSUPERSET '192.0.2.1'",
    b" EXISTS a:b",
    b" WITHIN 5 SECONDS",
    b" REPEATS 2 TIMES",
    b" START t'2020-01-01T00:00:00Z' STOP t'2021-01-01T00:00:00Z'",
    b"h'00ff'",
    b"b'AAA='",
    b"t'2020-02-30T23:59:60.123Z'",
    b"true",
    b"-1.5e3",
    b"9223372036854775808",
    b"[*]",
    b"[0]",
    b".'a-b'",
    b"file:hashes.MD5",
    b"'d41d8cd98f00b204e9800998ecf8427e'",
    b"!=",
    b"<>",
    b"<=",
    b"==",
    b"/* c */",
    b"// c\n",
    b"(",
    b")",
    b"[",
    b"]",
    b"'\\'\\\\'",
    b"_ref.",
    b"{\"type\":\"observed-data\",\"id\":\"observed-data--1\",\"first_observed\":\"2020-01-01T00:00:00Z\",\"last_observed\":\"2020-01-01T00:00:01Z\",\"number_observed\":1,\"objects\":{\"0\":{\"type\":\"a\",\"b\":1}}}",
    b"\"b_refs\":[\"0\"]",
    b"\"b\":[1,\"x\",{\"c\":true}]",
];

const MATCHING: &[&[u8]] = &[
    b"[domain-name:value = 'a.example']",
    b"[url:value LIKE 'http://%']",
    b"domain-name:value",
    b"url:value",
    b"domain-name:resolves_to_refs[*].value",
    b" = 'www.a.example'",
    b" != 'A.example'",
    b" IN ('a.example', 'b.example')",
    b" LIKE '%.example'",
    b" LIKE 'a_b%'",
    b" MATCHES '^a+\\\\.'",
    b" MATCHES 'x|y'",
    b" NOT",
    b" AND ",
    b" OR ",
    b" EXISTS domain-name:value",
    b"(",
    b")",
    b" > 'a'",
    b" <= 'b'",
    b"'192.0.2.1'",
    b" ISSUBSET '192.0.2.0/24'",
    b"\n",
    b"www.a.example",
    b"http://a.example/b?c",
    b"xn--bcher-kva.example",
    b"b\xc3\xbccher.example",
];

const RULES: &[&[u8]] = &[
    b"[policy]\n",
    b"default_action = \"block\"\n",
    b"default_confidence = 50\n",
    b"widest_ipv4 = 16\n",
    b"[matching]\n",
    b"subdomains = \"always\"\n",
    b"[[rule]]\n",
    b"name = \"x\"\n",
    b"types = [\"ipv4-addr\"]\n",
    b"places = [\"flow.*\"]\n",
    b"min_confidence = 70\n",
    b"action = \"block\"\n",
    b"[[allowlist]]\n",
    b"values = [\"a.example\"]\n",
    b"{\"name\":\"x\",\"type\":\"hostname\",\"list\":[\"a.example\"],\"matching_attributes\":[\"domain\"],\"version\":1}",
    b"\"type\":\"cidr\"",
    b"\"type\":\"regex\"",
    b"\"type\":\"substring\"",
    b"\"type\":\"string\"",
    b"\"list\":[\"/^a.*$/i\",\"192.0.2.0/24\"]",
    b"192.0.2.1\n",
    b".a.example\n",
    b"*.b.example # c\n",
    b"http://a.example/*\n",
    b"10.0.0.0/8\n",
    b"2001:db8::/32\n",
    b"a@a.example\n",
];
