//! Captures of the acceptance set, next to the project where it is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use crate::flow::Direction;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Parser;
use crate::protocol::Wants;
use crate::protocol::http::HttpParser;
use crate::protocol::http::tests::SERVER;

/// What was heard in a capture, over all of its flows.
#[derive(Default)]
struct Heard {
    digests: Vec<String>,
    urls: Vec<String>,
    hosts: Vec<String>,
    agents: Vec<String>,
}

impl Heard {
    fn note(&mut self, message: &Message<'_>) {
        match message {
            Message::HttpRequest(request) => {
                let mut url = String::new();
                self.urls
                    .extend(request.url(SERVER, 80, &mut url).map(str::to_owned));
                self.hosts.extend(request.host.map(str::to_owned));
                self.agents
                    .extend(request.user_agent().map(|agent| agent.into_owned()));
            }
            Message::File(file) => {
                let Hashes { md5, sha1, sha256 } = file.hashes;
                self.digests.extend(md5.map(|digest| hex(&digest)));
                self.digests.extend(sha1.map(|digest| hex(&digest)));
                self.digests.extend(sha256.map(|digest| hex(&digest)));
            }
            _ => {}
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A flow being put together: a parser, and what came too early, by sequence number.
struct Flow {
    client: (Vec<u8>, u16),
    parser: HttpParser,
    next: [Option<u32>; 2],
    early: [BTreeMap<u32, Vec<u8>>; 2],
}

/// Hears a capture (classic pcap of Ethernet) of TCP over IPv4 on any port.
fn hear(capture: &Path) -> Heard {
    let bytes = fs::read(capture).unwrap();
    assert_eq!(&bytes[..4], b"\xd4\xc3\xb2\xa1", "{}", capture.display());
    let mut flows: Vec<Flow> = Vec::new();
    let mut heard = Heard::default();
    let mut rest = &bytes[24..];
    while rest.len() > 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        let frame = &rest[16..16 + length];
        rest = &rest[16 + length..];
        if frame.len() < 54 || frame[12..14] != [8, 0] || frame[23] != 6 {
            continue;
        }
        let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        let header = usize::from(frame[14] & 15) * 4;
        let packet = &frame[14..frame.len().min(14 + total)];
        let tcp = &packet[header..];
        let port = |at: usize| u16::from_be_bytes([tcp[at], tcp[at + 1]]);
        let source = (packet[12..16].to_vec(), port(0));
        let target = (packet[16..20].to_vec(), port(2));
        let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
        let syn = tcp[13] & 2 != 0;
        let known = flows
            .iter()
            .any(|flow| flow.client == source || flow.client == target);
        if syn && tcp[13] & 16 == 0 || !known && port(0) > port(2) {
            flows.push(Flow {
                client: source.clone(),
                parser: HttpParser::new(),
                next: [None, None],
                early: [BTreeMap::new(), BTreeMap::new()],
            });
        }
        let flow = flows
            .iter_mut()
            .rev()
            .find(|flow| flow.client == source || flow.client == target);
        let Some(flow) = flow else {
            continue;
        };
        let direction = match flow.client == source {
            true => Direction::ToServer,
            false => Direction::ToClient,
        };
        let side = direction.index();
        let next = flow.next[side].get_or_insert(sequence);
        if syn {
            *next = sequence.wrapping_add(1);
        }
        if !payload.is_empty() {
            flow.early[side].insert(sequence, payload.to_vec());
        }
        while let Some((&sequence, _)) = flow.early[side].first_key_value() {
            let ahead = sequence.wrapping_sub(*next) as i32;
            if ahead > 0 {
                break;
            }
            let payload = flow.early[side].remove(&sequence).unwrap();
            let old = ahead.unsigned_abs() as usize;
            let Some(new) = payload.get(old..).filter(|new| !new.is_empty()) else {
                continue;
            };
            *next = next.wrapping_add(new.len() as u32);
            flow.parser
                .parse(direction, new, &Wants::ALL, &mut |m| heard.note(&m));
        }
    }
    for flow in &mut flows {
        for direction in [Direction::ToServer, Direction::ToClient] {
            flow.parser
                .end(direction, &Wants::ALL, &mut |m| heard.note(&m));
        }
    }
    heard
}

/// The acceptance cases; `None` where they are not there.
fn cases() -> Option<PathBuf> {
    let shared = std::env::var_os("WATCHPOST_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let cases = shared.join("acceptance/cases");
    if !cases.is_dir() {
        println!("skipped: ../shared is missing");
        return None;
    }
    Some(cases)
}

#[test]
fn acceptance_captures_are_heard() {
    let Some(cases) = cases() else {
        return;
    };
    let mut compared = 0;
    for case in [
        "file-http-chunked",
        "file-http-deflate-eicar",
        "file-http-gzip",
        "file-http-gzip-pipelined",
        "file-http-pdf",
        "file-http-xgzip-eicar",
        "tcp-reorder-file",
        "url-pipelined",
        "user-agent-nikto",
        "http-host-bro",
    ] {
        let heard = hear(&cases.join(case).join("capture.pcap"));
        let expected = fs::read(cases.join(case).join("expected.json")).unwrap();
        let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
        for row in expected.as_array().unwrap() {
            let value = row["value"].as_str().unwrap();
            let (values, count) = match row["observable"].as_str().unwrap() {
                "file" => (&heard.digests, &row["by_location"]["file"]),
                "url" => (&heard.urls, &row["by_location"]["http.request"]),
                "http-user-agent" => (&heard.agents, &row["packets_or_events"]),
                "domain-name" => (&heard.hosts, &row["by_location"]["http.host"]),
                other => panic!("{case}: {other}"),
            };
            let found = values.iter().filter(|found| *found == value).count();
            assert_eq!(Some(found as u64), count.as_u64(), "{case}: {value}");
            compared += 1;
        }
    }
    assert!(compared > 20);
}
