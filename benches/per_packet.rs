//! What runs for every packet, floor by floor. Prints figures; asserts none.
//!
//! `cargo bench` runs all, `cargo bench -- matcher` those of one floor.

use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use etherparse::PacketBuilder;
use std::borrow::Cow;
use std::hint::black_box;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::sync::Arc;
use watchpost::flow::Direction;
use watchpost::flow::assembler::Overlap;
use watchpost::flow::tcp::Segment;
use watchpost::flow::tcp::TcpConnection;
use watchpost::indicator::Indicator;
use watchpost::indicator::Intake;
use watchpost::indicator::PatternVersion;
use watchpost::matcher::Clock;
use watchpost::matcher::Hits;
use watchpost::matcher::Matcher;
use watchpost::matcher::SubdomainPolicy;
use watchpost::matcher::build::SetBuilder;
use watchpost::packet::Decoder;
use watchpost::packet::HashKey;
use watchpost::packet::LinkType;
use watchpost::packet::Packet;
use watchpost::packet::Tcp;
use watchpost::packet::flow_hash;
use watchpost::protocol::Parser;
use watchpost::protocol::Wants;
use watchpost::protocol::dns::DnsMessage;
use watchpost::protocol::dns::NameBuffers;
use watchpost::protocol::http::HttpParser;
use watchpost::sensor::Arrival;
use watchpost::sensor::Sensor;
use watchpost::time::Timestamp;

/// A query for `www.example.org`, of type A.
const DNS_QUERY: &[u8] =
    b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x03org\x00\x00\x01\x00\x01";

const HTTP_REQUEST: &[u8] =
    b"GET /index.html HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\n\r\n";

fn frame(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 7], 64)
        .udp(40_000, 53);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder
        .write(&mut frame, payload)
        .expect("the payload fits");
    frame
}

fn packet(criterion: &mut Criterion) {
    let frame = frame(DNS_QUERY);
    let mut decoder = Decoder::new();
    let mut packet = Packet::default();
    criterion.bench_function("packet/decode", |b| {
        b.iter(|| {
            let length = frame.len() as u32;
            decoder.decode(
                LinkType::ETHERNET,
                Timestamp::MIN,
                black_box(&frame),
                length,
                &mut packet,
            )
        });
    });
    let key = HashKey::new([1, 2]);
    criterion.bench_function("packet/flow_hash", |b| {
        b.iter(|| flow_hash(black_box(&packet), &key))
    });
}

fn flow(criterion: &mut Criterion) {
    let payload = [0_u8; 1400];
    let mut connection = TcpConnection::new(Overlap::FirstWins);
    let mut sequence = 1_u32;
    criterion.bench_function("flow/segment_in_order", |b| {
        b.iter(|| {
            let segment = Segment {
                sequence,
                acknowledgment: 1,
                flags: Tcp::ACK,
                payload: black_box(&payload),
                missing: 0,
            };
            sequence = sequence.wrapping_add(payload.len() as u32);
            connection.handle(
                Direction::ToClient,
                &segment,
                Timestamp::MIN,
                0,
                &mut |event| {
                    black_box(&event);
                },
            )
        });
    });
}

fn protocol(criterion: &mut Criterion) {
    let mut names = NameBuffers::new();
    criterion.bench_function("protocol/dns_query", |b| {
        b.iter(|| {
            let message = DnsMessage::parse(black_box(DNS_QUERY)).expect("it is a query");
            message.for_each(&mut names, &mut |item| {
                black_box(&item);
            })
        });
    });
    let mut parser = HttpParser::new();
    criterion.bench_function("protocol/http_request", |b| {
        b.iter(|| {
            parser.parse(
                Direction::ToServer,
                black_box(HTTP_REQUEST),
                &Wants::default(),
                &mut |message| {
                    black_box(&message);
                },
            )
        });
    });
}

/// A set of names and addresses that no benchmark looks up.
fn matcher_of(indicators: u32) -> Arc<Matcher> {
    let mut builder = SetBuilder::new();
    builder.begin_source("bench");
    for n in 0..indicators {
        let pattern = if n % 2 == 0 {
            format!("[domain-name:value = 'host{n}.bench.invalid']")
        } else {
            format!(
                "[ipv4-addr:value = '{}']",
                Ipv4Addr::from_bits(0x0B00_0000 + n)
            )
        };
        let taken = builder.take(&Indicator {
            id: Cow::Owned(format!("indicator--{n:08x}-0000-4000-8000-000000000000")),
            derived_id: false,
            pattern: Cow::Owned(pattern),
            pattern_version: PatternVersion::V21,
            name: None,
            subdomains: false,
            created: Timestamp::MIN,
            modified: Timestamp::MIN,
            valid_from: Timestamp::MIN,
            valid_until: None,
            revoked: false,
            confidence: None,
            labels: Vec::new(),
            markings: Vec::new(),
            created_by: None,
        });
        taken.expect("it is an indicator");
    }
    let set = builder.finish(Timestamp::MIN).expect("it is a set").set;
    let subdomains = SubdomainPolicy {
        always: true,
        ..SubdomainPolicy::default()
    };
    Arc::new(Matcher::new(Arc::new(set), Clock::Capture, subdomains))
}

fn matcher(criterion: &mut Criterion) {
    let names: Vec<String> = (0..100_000)
        .map(|n| format!("www{n}.site.example"))
        .collect();
    for size in [1_000, 1_000_000] {
        let matcher = matcher_of(size);
        let mut hits = Hits::default();
        let mut n = 0;
        criterion.bench_with_input(
            BenchmarkId::new("matcher/absent_address", size),
            &size,
            |b, _| {
                b.iter(|| {
                    n = (n + 7) % 100_000;
                    hits.begin();
                    let address = IpAddr::V4(Ipv4Addr::from_bits(0xC000_0200 + n));
                    matcher.address(black_box(address), Timestamp::MIN, &mut hits);
                });
            },
        );
        let mut n = 0;
        criterion.bench_with_input(
            BenchmarkId::new("matcher/absent_name", size),
            &size,
            |b, _| {
                b.iter(|| {
                    n = (n + 7) % names.len();
                    hits.begin();
                    matcher.domain(black_box(&names[n]), &[], Timestamp::MIN, &mut hits);
                });
            },
        );
    }
}

fn sensor(criterion: &mut Criterion) {
    let matcher = matcher_of(1_000);
    let frame = frame(DNS_QUERY);
    let mut packet = Packet::default();
    let length = frame.len() as u32;
    let mut decoder = Decoder::new();
    decoder.decode(
        LinkType::ETHERNET,
        Timestamp::MIN,
        &frame,
        length,
        &mut packet,
    );
    let mut sensor = Sensor::new(matcher);
    let key = HashKey::new([1, 2]);
    let mut position = 0;
    criterion.bench_function("sensor/dns_query", |b| {
        b.iter(|| {
            position += 1;
            packet.source_port = position as u16;
            sensor.handle_packet(&Arrival {
                timestamp: Timestamp::from_nanos(u64::from(position) * 25_000),
                position,
                shard: 0,
                hash: flow_hash(&packet, &key),
                packet: black_box(&packet),
                payload: packet.payload.within(&frame),
                tunnels: &[],
            });
        });
    });
}

criterion_group!(per_packet, packet, flow, protocol, matcher, sensor);
criterion_main!(per_packet);
