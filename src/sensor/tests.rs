//! What the flows of a shard may take together.

use super::*;
use crate::packet::Address;
use crate::sensor::application::Recognised;
use crate::sensor::application::recognise;
use crate::sensor::raw::tests::pattern;
use crate::sensor::raw::tests::sensor;

/// One end of a connection sends in order.
struct Sender {
    shard: u8,
    port: u16,
    from_client: bool,
    sequence: u32,
}

impl Sender {
    fn client(shard: u8, port: u16) -> Self {
        Self {
            shard,
            port,
            from_client: true,
            sequence: 1,
        }
    }

    fn send(&mut self, sensor: &mut Sensor, flags: u8, payload: &[u8]) {
        let ends = [(Address::v4(1), self.port), (Address::v4(2), 80)];
        let [source, destination] = match self.from_client {
            true => ends,
            false => [ends[1], ends[0]],
        };
        let packet = Packet {
            source: source.0,
            source_port: source.1,
            destination: destination.0,
            destination_port: destination.1,
            protocol: Packet::TCP,
            tcp: Tcp {
                sequence: self.sequence,
                flags,
                ..Tcp::default()
            },
            ..Packet::default()
        };
        sensor.handle_packet(&Arrival {
            timestamp: Timestamp::MIN,
            position: 0,
            shard: self.shard,
            hash: u64::from(self.port) << 40 | u64::from(self.port),
            packet: &packet,
            payload,
            tunnels: &[],
        });
        self.sequence += payload.len() as u32;
    }
}

/// What each shard's flows take in truth.
fn recounted(sensor: &mut Sensor) -> Vec<Held> {
    let mut counted = Vec::new();
    for shard in &mut sensor.shards {
        let mut sum = Held::default();
        for slot in 0..MAX_FLOWS_PER_SHARD as u32 {
            if let Some(flow) = shard.flows.flow_mut(slot) {
                sum.replace(Held::default(), Held::of(&flow.state));
            }
        }
        counted.push(sum);
    }
    counted
}

/// What floods of unfinished messages begin with: a request line, a ClientHello, and a DNS
/// message with its length before it.
const FLOODS: [&[u8]; 3] = [
    b"GET /",
    // a record of 16,000 bytes, ClientHello of 15,000
    b"\x16\x03\x01\x3e\x80\x01\x00\x3a\x98\x03\x03",
    // 15,000 bytes, number 7, a query with one question for a name of one label
    b"\x3a\x98\0\x07\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01",
];

#[test]
fn unfinished_messages_stay_below_the_budget() {
    for (number, start) in FLOODS.into_iter().enumerate() {
        let mut payload = start.to_vec();
        payload.resize(4_000, b'a');
        let flood = |sensor: &mut Sensor, shards: &[u8]| {
            for port in 1..=6_000 {
                for shard in shards {
                    Sender::client(*shard, port).send(sensor, Tcp::ACK, &payload);
                    let held = sensor.shards[usize::from(*shard)].held;
                    assert!(held.all <= MAX_HELD_PER_SHARD, "flood {number}");
                }
            }
            sensor.counters().drops.get("parser-memory-full").copied()
        };
        let mut both = sensor("[file:size = 1]");
        let given_up = flood(&mut both, &[0, 1]).unwrap_or(0);
        // most of what came is still there
        assert!(
            (1_000..4_000).contains(&given_up),
            "flood {number}: {given_up}"
        );
        assert!(both.shards[0].held.all > MAX_HELD_PER_SHARD - 16_000);
        let shards = both
            .shards
            .iter()
            .map(|shard| shard.held)
            .collect::<Vec<_>>();
        assert_eq!(recounted(&mut both), shards, "flood {number}");

        // the same from two sensors with one shard each
        let [mut one, mut other] = [(); 2].map(|()| sensor("[file:size = 1]"));
        let apart = [flood(&mut one, &[0]), flood(&mut other, &[1])];
        assert_eq!(apart.into_iter().flatten().sum::<u64>(), given_up);

        both.finish();
        assert_eq!(both.shards[0].held, Held::default(), "flood {number}");
    }
}

#[test]
fn flows_in_disorder_are_counted_and_forgotten() {
    let mut sensor = sensor("[file:size = 1]");
    for port in 1..=3_000 {
        let mut sender = Sender::client(0, port);
        sender.send(&mut sensor, Tcp::SYN, b"");
        sender.sequence += 10;
        for _ in 0..20 {
            sender.sequence += 1;
            sender.send(&mut sensor, Tcp::ACK, b"x");
        }
        let held = sensor.shards[0].held;
        assert!(held.reassembly <= MAX_REASSEMBLY_PER_SHARD);
    }
    assert!(sensor.shards[0].held.reassembly > MAX_REASSEMBLY_PER_SHARD - 100);
    assert!(sensor.counters().drops.contains_key("tcp-reassembly-full"));
    let shards = sensor.shards.iter().map(|shard| shard.held);
    assert_eq!(shards.collect::<Vec<_>>(), recounted(&mut sensor));
    for port in 1..=3_000 {
        Sender::client(0, port).send(&mut sensor, Tcp::RST, b"");
    }
    assert_eq!(sensor.shards[0].held, Held::default());
}

#[test]
fn large_windows_in_one_shard_leave_the_others_alone() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n";
    // RFC 7932 section 9.1: WBITS 1111 for a window of 16 MiB; section 9.2: MNIBBLES 10, MLEN of
    // 16 MiB, ISUNCOMPRESSED
    let wide = (0b1111 | 0b10 << 5 | ((16 << 20) - 1) << 7 | 1_u32 << 31).to_le_bytes();
    let flood = [&head[..], &wide, &[b'a'; 1_000]].concat();
    // WBITS 0 for a window of 64 KiB, MNIBBLES 00; the last byte is ISLAST and ISLASTEMPTY
    let content = b"what is looked for ".repeat(100);
    let narrow = ((content.len() as u32 - 1) << 4 | 1 << 20).to_le_bytes();
    let response = [&head[..], &narrow[..3], &content, &[3]].concat();

    let mut sensor = sensor(&pattern(&content));
    for port in 1..=25 {
        let mut sender = Sender::client(0, port);
        sender.from_client = false;
        sender.send(&mut sensor, Tcp::ACK, &flood);
    }
    assert!(sensor.shards[0].held.all > 16 << 20);
    assert_eq!(sensor.counters().drops["parser-memory-full"], 24);
    for shard in [0, 1] {
        let mut sender = Sender::client(shard, 100);
        sender.from_client = false;
        sender.send(&mut sensor, Tcp::ACK, &response);
        sender.send(&mut sensor, Tcp::FIN, b"");
        assert_eq!(sensor.drain().len(), 1, "shard {shard}");
    }
    assert_eq!(sensor.counters().drops["parser-memory-full"], 24);
}

#[test]
fn hosts_are_known_by_what_they_call_themselves() {
    let mut sensor = sensor("[domain-name:value = 'laptop']");
    let mut payload = vec![0; 236];
    payload[..3].copy_from_slice(&[1, 1, 6]);
    payload.extend(b"\x63\x82\x53\x63\x35\x01\x01\x0c\x06LAPTOP\xff");
    let ends = [(Address::v4(0), 68), (Address::v4(!0), 67)];
    let packet = Packet {
        source: ends[0].0,
        source_port: ends[0].1,
        destination: ends[1].0,
        destination_port: ends[1].1,
        protocol: Packet::UDP,
        ..Packet::default()
    };
    for position in 0..2 {
        sensor.handle_packet(&Arrival {
            timestamp: Timestamp::MIN,
            position,
            shard: 0,
            hash: 1,
            packet: &packet,
            payload: &payload,
            tunnels: &[],
        });
    }
    let found = sensor.drain();
    // once a message
    assert_eq!(found.len(), 2);
    let first = &found[0].found;
    assert_eq!(first.observable.place.as_str(), "dhcp.host_name");
    assert_eq!(first.observable.value, "laptop");
    assert_eq!(first.flow.app_proto, Some("dhcp"));
    assert_eq!(sensor.counters().transactions.get("dhcp"), Some(&2));
}

#[test]
fn what_is_recognised_does_not_depend_on_how_much_came_at_once() {
    for (bytes, name) in [
        // a request line to HTTP, once it is whole; SMTP says so five bytes earlier
        (&b"EHLO HTTP/1.1\r\n"[..], "smtp"),
        (b"GET / HTTP/1.1\r\n", "http"),
    ] {
        for length in 1..=bytes.len() {
            match recognise(Direction::ToServer, &bytes[..length], true, true) {
                Recognised::As(protocol, _) => assert_eq!(protocol.name, name, "{length} bytes"),
                Recognised::NotYet => assert!(length < bytes.len()),
                Recognised::Never => panic!("{name} is not recognised"),
            }
        }
    }
}
