//! A file that goes over a connection of its own, with no protocol around it.
//!
//! FTP sends files so (RFC 959 section 3.2). Which file it is was agreed upon in another flow,
//! which another worker may hold; the shape of this one is all there is to tell it by.

use crate::flow::Direction;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;

/// Longest file that is digested: what a FAT file system can hold, and more than programs and
/// documents have. What goes on for longer is a stream rather than a file.
const MAX_RAW_FILE: u64 = 4 << 30;

/// A file in transfer.
pub(super) struct RawTransfer {
    direction: Direction,
    size: u64,
    /// `None`: part of it was not seen, or it is too long.
    digester: Option<Digester>,
}

impl RawTransfer {
    pub(super) fn new(direction: Direction, wants: &Wants) -> Self {
        Self {
            direction,
            size: 0,
            digester: Some(Digester::new(wants)),
        }
    }

    /// Who sends it.
    pub(super) const fn direction(&self) -> Direction {
        self.direction
    }

    /// Takes in the bytes that follow.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > MAX_RAW_FILE {
            self.digester = None;
        }
        if let Some(digester) = &mut self.digester {
            digester.update(bytes);
        }
    }

    /// Passes over bytes that were not seen.
    pub(super) fn lose(&mut self, length: u64) {
        self.size = self.size.saturating_add(length);
        self.digester = None;
    }

    /// The whole file.
    pub(super) fn finish(self) -> File<'static> {
        let hashes = self.digester.map_or_else(Hashes::default, Digester::finish);
        File {
            direction: self.direction,
            name: None,
            size: self.size,
            mime_type: None,
            hashes,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::indicator::Indicator;
    use crate::indicator::Intake;
    use crate::indicator::PatternVersion;
    use crate::matcher::Clock;
    use crate::matcher::Matcher;
    use crate::matcher::SubdomainPolicy;
    use crate::matcher::build::SetBuilder;
    use crate::matcher::object::hex;
    use crate::observable::Place;
    use crate::packet::Address;
    use crate::packet::Packet;
    use crate::packet::Tcp;
    use crate::sensor::Arrival;
    use crate::sensor::Sensor;
    use crate::time::Timestamp;
    use md5::Digest as _;
    use md5::Md5;
    use std::borrow::Cow;
    use std::sync::Arc;

    pub(in crate::sensor) fn sensor(pattern: &str) -> Sensor {
        let mut builder = SetBuilder::new();
        builder.begin_source("test");
        let indicator = Indicator {
            id: Cow::Borrowed("indicator--00000000-0000-4000-8000-000000000000"),
            derived_id: false,
            pattern: Cow::Borrowed(pattern),
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
        };
        builder.take(&indicator).expect("a pattern that is seen");
        let built = builder.finish(Timestamp::MIN).expect("a sound set");
        let policy = SubdomainPolicy::default();
        let matcher = Matcher::new(Arc::new(built.set), Clock::Ignore, policy).with_deep(true);
        Sensor::new(Arc::new(matcher))
    }

    /// A segment: whether the client sends it, its place in the stream (0: the SYN), flags,
    /// content.
    type Piece<'a> = (bool, u32, u8, &'a [u8]);

    /// Plays the segments of one connection; says where the pattern matched, and in what.
    fn play(pattern: &str, ports: (u16, u16), pieces: &[Piece<'_>]) -> Vec<(Place, &'static str)> {
        let mut sensor = sensor(pattern);
        for (position, (from_client, sequence, flags, payload)) in pieces.iter().enumerate() {
            let ends = [(Address::v4(1), ports.0), (Address::v4(2), ports.1)];
            let (source, destination) = match from_client {
                true => (ends[0], ends[1]),
                false => (ends[1], ends[0]),
            };
            let packet = Packet {
                source: source.0,
                destination: destination.0,
                source_port: source.1,
                destination_port: destination.1,
                protocol: Packet::TCP,
                tcp: Tcp {
                    sequence: 1_000 + sequence,
                    flags: *flags,
                    ..Tcp::default()
                },
                ..Packet::default()
            };
            sensor.handle_packet(&Arrival {
                timestamp: Timestamp::MIN,
                position: position as u32,
                shard: 0,
                hash: 7,
                packet: &packet,
                payload,
                tunnels: &[],
            });
        }
        sensor.finish();
        let found = sensor.drain();
        found
            .iter()
            .map(|placed| {
                let flow = &placed.found.flow;
                let place = placed.found.observable.place;
                (place, flow.app_proto.unwrap_or_default())
            })
            .collect()
    }

    pub(in crate::sensor) fn pattern(content: &[u8]) -> String {
        let digest: [u8; 16] = Md5::digest(content).into();
        format!("[file:hashes.MD5 = '{}']", hex(&digest))
    }

    const OPENING: [Piece<'static>; 2] = [
        (true, 0, Tcp::SYN, b""),
        (false, 0, Tcp::SYN | Tcp::ACK, b""),
    ];

    const FOUND: (Place, &str) = (Place::FtpData, "ftp-data");

    #[test]
    fn what_looks_like_ftp_data_is_a_file() {
        let binary: Vec<u8> = (0..3_000u32).map(|n| n.wrapping_mul(n) as u8).collect();
        let text = b"a line of text\r\n".repeat(200);
        for content in [&binary, &text, &b"short".to_vec(), &b"220 ".to_vec()] {
            let middle = content.len() / 2;
            let (first, last) = content.split_at(middle);
            let (at, end) = (1 + middle as u32, 1 + content.len() as u32);
            for from_client in [true, false] {
                let fin = (from_client, end, Tcp::FIN, &b""[..]);
                let data = [(from_client, 1, 0, first), (from_client, at, 0, last), fin];
                let whole = [&OPENING[..], &data].concat();
                let without_end = [&OPENING[..], &data[..2]].concat();
                let in_disorder = [&OPENING[..], &[data[1], data[0], fin]].concat();
                let answered = [
                    &OPENING[..],
                    &data[..1],
                    &[(!from_client, 1, 0, b"ok")],
                    &data[1..],
                ];
                let greeted = [&OPENING[..], &[(!from_client, 1, 0, b"hi")], &data];
                let holed = [
                    &OPENING[..],
                    &data[..1],
                    &[(from_client, end, Tcp::FIN, b"")],
                ];
                let unopened = data.to_vec();
                for (what, ports, pieces, expected) in [
                    ("passive", (40_000, 50_000), &whole, &[FOUND][..]),
                    ("active", (20, 50_000), &whole, &[FOUND]),
                    (
                        "cut off by the capture",
                        (20, 50_000),
                        &without_end,
                        &[FOUND],
                    ),
                    ("in disorder", (40_000, 50_000), &in_disorder, &[FOUND]),
                    ("to a service", (40_000, 993), &whole, &[]),
                    ("answered", (40_000, 50_000), &answered.concat(), &[]),
                    ("greeted", (40_000, 50_000), &greeted.concat(), &[]),
                    ("with a hole", (40_000, 50_000), &holed.concat(), &[]),
                    ("not opened", (40_000, 50_000), &unopened, &[]),
                ] {
                    let found = play(&pattern(content), ports, pieces);
                    let length = content.len();
                    assert_eq!(found, expected, "{what}, {length} bytes, {from_client}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_done_where_no_digest_is_asked_for() {
        let pieces = [&OPENING[..], &[(false, 1, Tcp::FIN, &b"\0\x01\x02"[..])]].concat();
        assert_eq!(
            play(&pattern(b"\0\x01\x02"), (2_000, 3_000), &pieces),
            [FOUND]
        );
        assert!(play("[file:size = 3]", (2_000, 3_000), &pieces).is_empty());
    }

    #[test]
    fn what_is_lost_or_too_long_has_no_digest() {
        let mut raw = RawTransfer::new(Direction::ToClient, &Wants::ALL);
        raw.take(b"ab");
        raw.lose(3);
        raw.take(b"c");
        let file = raw.finish();
        assert_eq!((file.size, file.hashes), (6, Hashes::default()));
        let mut raw = RawTransfer::new(Direction::ToClient, &Wants::ALL);
        raw.size = MAX_RAW_FILE;
        raw.take(b"a");
        let file = raw.finish();
        assert_eq!(
            (file.size, file.hashes),
            (MAX_RAW_FILE + 1, Hashes::default())
        );
    }
}
