//! The classic format in all its variants.

use std::io::Cursor;
use std::io::Read;

use super::*;
use crate::capture::BLOCK_SIZE;
use crate::capture::MAX_FRAME;

const MICRO: u32 = 0xa1b2_c3d4;

#[test]
fn reads_little_endian_microseconds() {
    #[rustfmt::skip]
    let bytes = [
        0xd4, 0xc3, 0xb2, 0xa1, // magic: little-endian, microseconds
        0x02, 0x00, 0x04, 0x00, // version 2.4
        0x00, 0x00, 0x00, 0x00, // time zone
        0x00, 0x00, 0x00, 0x00, // accuracy
        0x00, 0x00, 0x04, 0x00, // snap length 262144
        0x01, 0x00, 0x00, 0x00, // link type 1: Ethernet
        // first record
        0x00, 0xf1, 0x53, 0x65, // 1700000000 seconds
        0x05, 0x00, 0x00, 0x00, // 5 microseconds
        0x03, 0x00, 0x00, 0x00, // captured: 3 bytes
        0x40, 0x00, 0x00, 0x00, // original: 64 bytes
        0xaa, 0xbb, 0xcc,
        // second record: nothing captured
        0x01, 0xf1, 0x53, 0x65, // 1700000001 seconds
        0x00, 0x00, 0x00, 0x00, // 0 microseconds
        0x00, 0x00, 0x00, 0x00, // captured: nothing
        0x00, 0x00, 0x00, 0x00, // original: nothing
    ];
    let outcome = read_all(&bytes);
    assert_eq!(
        outcome.summary(),
        [
            (1_700_000_000_000_005_000, &[0xaa, 0xbb, 0xcc][..], 64, 1, 0),
            (1_700_000_001_000_000_000, &[], 0, 1, 0),
        ]
    );
    assert_eq!((outcome.warnings, outcome.error), (vec![], None));
}

#[test]
fn reads_big_endian_nanoseconds() {
    #[rustfmt::skip]
    let bytes = [
        0xa1, 0xb2, 0x3c, 0x4d, // magic: big-endian, nanoseconds
        0x00, 0x02, 0x00, 0x04, // version 2.4
        0x00, 0x00, 0x00, 0x00, // time zone
        0x00, 0x00, 0x00, 0x00, // accuracy
        0x00, 0x00, 0xff, 0xff, // snap length
        0x24, 0x00, 0x00, 0x71, // FCS of 2 words given, link type 113: Linux cooked
        0x00, 0x00, 0x00, 0x01, // 1 second
        0x3b, 0x9a, 0xc9, 0xff, // 999999999 nanoseconds
        0x00, 0x00, 0x00, 0x01, // captured: 1 byte
        0x00, 0x00, 0x00, 0x01, // original: 1 byte
        0x7f,
    ];
    let outcome = read_all(&bytes);
    assert_eq!(outcome.summary(), [(1_999_999_999, &[0x7f][..], 1, 113, 0)]);
}

#[test]
fn reads_the_modified_record_header() {
    #[rustfmt::skip]
    let bytes = [
        0x34, 0xcd, 0xb2, 0xa1, // magic: little-endian, "modified"
        0x02, 0x00, 0x04, 0x00, // version 2.4
        0x00, 0x00, 0x00, 0x00, // time zone
        0x00, 0x00, 0x00, 0x00, // accuracy
        0xff, 0xff, 0x00, 0x00, // snap length
        0x01, 0x00, 0x00, 0x00, // link type
        0x02, 0x00, 0x00, 0x00, // 2 seconds
        0x03, 0x00, 0x00, 0x00, // 3 microseconds
        0x02, 0x00, 0x00, 0x00, // captured: 2 bytes
        0x02, 0x00, 0x00, 0x00, // original: 2 bytes
        0x07, 0x00, 0x00, 0x00, // interface index
        0x08, 0x00,             // protocol
        0x00,                   // packet type
        0x00,                   // padding
        0x11, 0x22,
    ];
    let outcome = read_all(&bytes);
    assert_eq!(
        outcome.summary(),
        [(2_000_003_000, &[0x11, 0x22][..], 2, 1, 0)]
    );
    // cut in what only this variant has
    let cut = read_all(&bytes[..46]);
    assert!(cut.error.unwrap().contains("(22 of 26 bytes)"));
}

#[test]
fn normalises_odd_fractions_and_original_lengths() {
    let order = ByteOrder::Big;
    let mut bytes = pcap_header(order, MICRO, 1);
    bytes.extend(pcap_record(order, 10, 2_500_000, &[1, 2]));
    // original length 0 (its last field, before two bytes of frame), as some tools write
    let at = bytes.len() - 6;
    bytes[at..at + 4].fill(0);
    bytes.extend(pcap_record(order, u32::MAX, u32::MAX, &[]));
    assert_eq!(
        read_all(&bytes).summary(),
        [
            (12_500_000_000, &[1, 2][..], 2, 1, 0),
            (
                u64::from(u32::MAX) * 1_000_000_000 + u64::from(u32::MAX) * 1_000,
                &[],
                0,
                1,
                0
            ),
        ]
    );
}

#[test]
fn a_record_too_long_ends_the_capture_but_keeps_what_came_before() {
    let order = ByteOrder::Little;
    let mut bytes = pcap_header(order, MICRO, 1);
    bytes.extend(pcap_record(order, 1, 0, &[9; 20]));
    let fault_at = bytes.len() as u64;
    let mut bad = pcap_record(order, 2, 0, &[]);
    bad[8..12].copy_from_slice(&(MAX_FRAME + 1).to_le_bytes()); // captured length
    bytes.extend(&bad);
    bytes.extend(pcap_record(order, 3, 0, &[9; 20]));

    let outcome = read_all(&bytes);
    assert_eq!(outcome.frames().len(), 1);
    let length = MAX_FRAME + 1;
    let fault = Fault::FrameTooLong { length };
    assert_eq!(outcome.warnings, [(fault_at, fault)]);
    assert_eq!(outcome.error, None);

    // as the first record it leaves nothing: an error that says where, what, and what to do
    let mut bytes = pcap_header(order, MICRO, 1);
    bytes.extend(&bad);
    let outcome = read_all(&bytes);
    assert_eq!(
        outcome.error.unwrap(),
        "test: at byte 24: a record claims 262145 bytes, where a frame has at most 262144; the \
         file is damaged from here on and only what came before was used; copy it again from \
         where it was captured"
    );
}

#[test]
fn the_longest_frame_is_longer_than_a_block() {
    let order = ByteOrder::Little;
    let long: Vec<u8> = (0..MAX_FRAME).map(|n| n as u8).collect();
    let mut bytes = pcap_header(order, MICRO, 1);
    bytes.extend(pcap_record(order, 1, 0, &[1; 5]));
    bytes.extend(pcap_record(order, 2, 0, &long));
    bytes.extend(pcap_record(order, 3, 0, &[3; 5]));
    let outcome = read_all(&bytes);
    let lengths: Vec<_> = outcome.frames().iter().map(|(_, b)| b.len()).collect();
    assert_eq!(lengths, [5, MAX_FRAME as usize, 5]);
    assert_eq!(outcome.blocks.len(), 3);
    assert_eq!(outcome.frames()[1].1, long);
}

#[test]
fn buffers_are_reused() {
    let order = ByteOrder::Little;
    let mut bytes = pcap_header(order, MICRO, 1);
    while bytes.len() < 5 * BLOCK_SIZE {
        bytes.extend(pcap_record(order, 1, 0, &[7; 1_000]));
    }
    let mut reader = CaptureReader::from_reader("test".to_owned(), Cursor::new(bytes)).unwrap();
    let mut block = Block::default();
    assert!(reader.next_block(&mut block).unwrap());
    let addresses = (block.bytes.as_ptr(), block.frames.as_ptr());
    let mut blocks = 1;
    while reader.next_block(&mut block).unwrap() {
        blocks += 1;
        assert_eq!((block.bytes.as_ptr(), block.frames.as_ptr()), addresses);
    }
    assert_eq!(blocks, 6);
    assert_eq!(block.bytes.len(), BLOCK_SIZE);
}

#[test]
fn refuses_what_is_no_capture() {
    let mut version = pcap_header(ByteOrder::Big, MICRO, 1);
    version[5] = 9; // major version
    for (bytes, expected) in [
        (
            &b""[..],
            "test: is empty (0 bytes), so it is no capture; was it written to the end?",
        ),
        (
            b"snoop\0\0\0\0\0\0\x02",
            "test: not a capture: it starts with 73 6e 6f 6f 70 00 00 00 \"snoop\\x00\\x00\\x00\"; \
             watchpost reads pcap and pcapng, plain or compressed by gzip or zstd (`editcap -F \
             pcapng` converts most other formats)",
        ),
        (
            b"\xd4\xc3\xb2\xa1\x02\x00",
            "test: at byte 0: the file header is cut short (6 of 24 bytes); the capture holds no \
             frame; was it copied or written to the end?",
        ),
        (
            &version,
            "test: at byte 0: pcap version 9.4 is not known; only what came before was used; \
             convert the file with `editcap -F pcapng`",
        ),
        (
            b"# a text that is longer than any file header\n",
            "test: not a capture: it starts with 23 20 61 20 74 65 78 74 \"# a text\"; watchpost \
             reads pcap and pcapng, plain or compressed by gzip or zstd (`editcap -F pcapng` \
             converts most other formats)",
        ),
    ] {
        assert_eq!(open_error(bytes).to_string(), expected);
    }
    // a header alone is a capture of nothing
    let header = pcap_header(ByteOrder::Big, MICRO, 1);
    assert_eq!(read_all(&header), Outcome::default());
}

#[test]
fn a_failing_disk_fails_after_the_frames_before_it() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(io::Error::other("bad sector")),
                count => Ok(count),
            }
        }
    }
    let order = ByteOrder::Big;
    let mut bytes = pcap_header(order, MICRO, 1);
    bytes.extend(pcap_record(order, 1, 0, &[1; 8]));
    bytes.extend([0; 5]);
    let outcome = read_from(Failing(Cursor::new(bytes.clone())));
    assert_eq!(outcome.frames().len(), 1);
    assert_eq!(
        outcome.error.unwrap(),
        "test: cannot be read on from byte 53: bad sector"
    );
    bytes.truncate(10);
    let outcome = read_from(Failing(Cursor::new(bytes)));
    assert_eq!(
        outcome.error.unwrap(),
        "test: cannot be read on from byte 10: bad sector"
    );
}

#[test]
fn a_record_of_another_block_is_no_panic() {
    let record = FrameRecord {
        timestamp: crate::time::Timestamp::MIN,
        start: u32::MAX,
        length: u32::MAX,
        original_length: u32::MAX,
        link: 1,
        interface: 0,
    };
    assert_eq!(Block::default().frame(&record), b"");
}

#[test]
fn readers_go_to_other_threads_and_records_stay_small() {
    fn is_send<T: Send>() {}
    is_send::<CaptureReader>();
    is_send::<Block>();
    assert_eq!(size_of::<FrameRecord>(), 24);
}
