//! The block format: sections, interfaces, clocks, and blocks that are none.

use super::*;
use crate::capture::MAX_FRAME;

const LITTLE: ByteOrder = ByteOrder::Little;
const BIG: ByteOrder = ByteOrder::Big;

#[test]
fn reads_every_packet_block_by_hand() {
    #[rustfmt::skip]
    let bytes = [
        // section header
        0x0a, 0x0d, 0x0d, 0x0a, // type
        0x1c, 0x00, 0x00, 0x00, // length 28
        0x4d, 0x3c, 0x2b, 0x1a, // byte-order magic: little-endian
        0x01, 0x00, 0x00, 0x00, // version 1.0
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // section length: not known
        0x1c, 0x00, 0x00, 0x00, // length
        // interface 0: microseconds, snap length 4
        0x01, 0x00, 0x00, 0x00, // type
        0x14, 0x00, 0x00, 0x00, // length 20
        0x01, 0x00, 0x00, 0x00, // link type 1: Ethernet
        0x04, 0x00, 0x00, 0x00, // snap length
        0x14, 0x00, 0x00, 0x00, // length
        // interface 1: nanoseconds, raw IP
        0x01, 0x00, 0x00, 0x00, // type
        0x28, 0x00, 0x00, 0x00, // length 40
        0x65, 0x00, 0x00, 0x00, // link type 101: raw IP
        0x00, 0x00, 0x00, 0x00, // snap length: none
        0x02, 0x00, 0x03, 0x00, // option if_name, 3 bytes
        0x6c, 0x61, 0x6e, 0x00, // "lan" and padding
        0x09, 0x00, 0x01, 0x00, // option if_tsresol, 1 byte
        0x09, 0x00, 0x00, 0x00, // 10^-9 and padding
        0x00, 0x00, 0x00, 0x00, // end of options
        0x28, 0x00, 0x00, 0x00, // length
        // enhanced packet
        0x06, 0x00, 0x00, 0x00, // type
        0x28, 0x00, 0x00, 0x00, // length 40
        0x01, 0x00, 0x00, 0x00, // interface 1
        0x01, 0x00, 0x00, 0x00, // timestamp, upper half
        0x02, 0x00, 0x00, 0x00, // timestamp, lower half: 4294967298 ns
        0x05, 0x00, 0x00, 0x00, // captured: 5 bytes
        0x09, 0x00, 0x00, 0x00, // original: 9 bytes
        0x45, 0x01, 0x02, 0x03, 0x04, 0x00, 0x00, 0x00, // frame and padding
        0x28, 0x00, 0x00, 0x00, // length
        // simple packet: no interface, no time
        0x03, 0x00, 0x00, 0x00, // type
        0x14, 0x00, 0x00, 0x00, // length 20
        0x07, 0x00, 0x00, 0x00, // original: 7 bytes; captured by the snap length: 4
        0x0a, 0x0b, 0x0c, 0x0d, // frame
        0x14, 0x00, 0x00, 0x00, // length
        // packet (obsolete)
        0x02, 0x00, 0x00, 0x00, // type
        0x24, 0x00, 0x00, 0x00, // length 36
        0x00, 0x00,             // interface 0
        0x0c, 0x00,             // drops
        0x00, 0x00, 0x00, 0x00, // timestamp, upper half
        0x03, 0x00, 0x00, 0x00, // timestamp, lower half: 3 microseconds
        0x02, 0x00, 0x00, 0x00, // captured: 2 bytes
        0x02, 0x00, 0x00, 0x00, // original: 2 bytes
        0xee, 0xff, 0x00, 0x00, // frame and padding
        0x24, 0x00, 0x00, 0x00, // length
    ];
    let outcome = read_all(&bytes);
    assert_eq!(
        outcome.summary(),
        [
            (4_294_967_298, &[0x45, 1, 2, 3, 4][..], 9, 101, 1),
            (4_294_967_298, &[10, 11, 12, 13], 7, 1, 0),
            (3_000, &[0xee, 0xff], 2, 1, 0),
        ]
    );
    assert_eq!((outcome.warnings, outcome.error), (vec![], None));
}

#[test]
fn sections_differ_in_byte_order_and_forget_interfaces() {
    let mut bytes = section_header(BIG);
    bytes.extend(interface(BIG, 113, 0, &[]));
    bytes.extend(interface(BIG, 1, 0, &[]));
    bytes.extend(enhanced_packet(BIG, 1, 1_000_000, b"big"));
    bytes.extend(section_header(LITTLE));
    bytes.extend(interface(LITTLE, 228, 0, &[]));
    bytes.extend(enhanced_packet(LITTLE, 0, 2_000_000, b"little"));
    let stale_at = bytes.len() as u64;
    bytes.extend(enhanced_packet(
        LITTLE,
        1,
        3_000_000,
        b"of the section before",
    ));
    bytes.extend(section_header(BIG));
    bytes.extend(interface(BIG, 1, 0, &[]));
    bytes.extend(enhanced_packet(BIG, 0, 4_000_000, b"again"));
    let outcome = read_all(&bytes);
    assert_eq!(
        outcome.summary(),
        [
            (1_000_000_000, &b"big"[..], 3, 1, 1),
            (2_000_000_000, b"little", 6, 228, 0),
            (4_000_000_000, b"again", 5, 1, 0),
        ]
    );
    let (interface, described) = (1, 1);
    let fault = Fault::UnknownInterface {
        interface,
        described,
    };
    assert_eq!(outcome.warnings, [(stale_at, fault)]);
}

#[test]
fn timestamps_follow_the_clock_of_their_interface() {
    let resolution = |value: u8| option(LITTLE, 9, &[value]);
    let offset = |seconds: i64| option(LITTLE, 14, &seconds.to_le_bytes());
    let both = |value: u8, seconds: i64| [resolution(value), offset(seconds)].concat();
    // a length that if_tsresol must not have, and an option that runs out of its block
    let odd = option(LITTLE, 9, &[3, 3]);
    let runaway = vec![9, 0, 0xff, 0xff, 3, 0, 0, 0];
    for (options, ticks, nanos) in [
        (vec![], 1_500_000, 1_500_000_000),
        (resolution(0), 7, 7_000_000_000),
        (resolution(3), 7, 7_000_000),
        (resolution(6), 7, 7_000),
        (resolution(9), 7, 7),
        (resolution(12), 7_999, 7),
        (resolution(18), u64::MAX, 18_446_744_073),
        (resolution(127), u64::MAX, 0),
        (resolution(0x80), 3, 3_000_000_000),
        (resolution(0x80 | 1), 3, 1_500_000_000),
        (resolution(0x80 | 32), 5 << 31, 2_500_000_000),
        (resolution(0x80 | 64), u64::MAX, 999_999_999),
        (resolution(0xff), u64::MAX, 0),
        (resolution(0), u64::MAX, u64::MAX),
        (both(9, 10), 5, 10_000_000_005),
        (both(9, -1), 1_000_000_005, 5),
        (both(9, -2), 1_000_000_005, 0),
        (both(0, i64::MAX), u64::MAX, u64::MAX),
        (both(0, i64::MIN), u64::MAX, u64::MAX),
        (both(0, i64::MIN), 1, 0),
        (odd, 5, 5_000),
        (runaway, 5, 5_000),
    ] {
        let mut bytes = section_header(LITTLE);
        bytes.extend(interface(LITTLE, 1, 0, &options));
        bytes.extend(enhanced_packet(LITTLE, 0, ticks, b"x"));
        let outcome = read_all(&bytes);
        assert_eq!(
            outcome.summary(),
            [(nanos, &b"x"[..], 1, 1, 0)],
            "{options:02x?}"
        );
    }
}

#[test]
fn unknown_blocks_are_passed_over_whatever_their_length() {
    let mut bytes = section_header(BIG);
    bytes.extend(block(BIG, 4, b"names")); // name resolution
    bytes.extend(interface(BIG, 1, 0, &[]));
    bytes.extend(block(BIG, 5, &[0; 12])); // interface statistics
    bytes.extend(enhanced_packet(BIG, 0, 1, b"one"));
    bytes.extend(block(BIG, 0x0bad, &vec![0xaa; 3_000_000])); // custom, longer than all buffers
    bytes.extend(enhanced_packet(BIG, 0, 2, b"two"));
    bytes.extend(block(BIG, 10, &[])); // decryption secrets
    let outcome = read_all(&bytes);
    assert_eq!(
        outcome.summary(),
        [(1_000, &b"one"[..], 3, 1, 0), (2_000, b"two", 3, 1, 0)]
    );
    assert_eq!(outcome.warnings, []);

    // cut within the long block: 12 bytes of it, a packet of 36 and a block of 12 are missing
    let end = bytes.len() - 60;
    let cut = read_all(&bytes[..end]);
    assert_eq!(cut.frames().len(), 1);
    let (needed, present) = (3_000_012, 3_000_000);
    assert_eq!(
        cut.warnings,
        [(end as u64 - present, Fault::CutShort { needed, present })]
    );
}

#[test]
fn broken_packet_blocks_cost_only_themselves() {
    let mut long_claim = enhanced_packet(LITTLE, 0, 1, b"abcd");
    long_claim[20] = 5; // captured length, one more than there is
    let too_long = enhanced_packet(LITTLE, 0, 1, &vec![0; MAX_FRAME as usize + 4]);
    let far_too_long = enhanced_packet(LITTLE, 0, 1, &vec![0; 3 * MAX_FRAME as usize]);
    let far_length = far_too_long.len() as u32;
    let mut differing = enhanced_packet(LITTLE, 0, 1, b"abcd");
    let last = differing.len() - 4;
    differing[last] = 0x30; // trailing length
    let content = Fault::BlockContent { kind: 6 };
    let length = MAX_FRAME + 4;
    for (bad, fault, kept) in [
        (block(LITTLE, 6, &[0; 16]), content.clone(), 2),
        (block(LITTLE, 3, &[]), Fault::BlockContent { kind: 3 }, 2),
        (
            block(LITTLE, 2, &[0; 4]),
            Fault::BlockContent { kind: 2 },
            2,
        ),
        (long_claim, content, 2),
        (too_long, Fault::PacketTooLong { length }, 2),
        (far_too_long, Fault::PacketTooLong { length: far_length }, 2),
        (
            enhanced_packet(LITTLE, u32::MAX, 1, b"x"),
            Fault::UnknownInterface {
                interface: u32::MAX,
                described: 1,
            },
            2,
        ),
        (
            differing,
            Fault::BlockLengthsDiffer {
                leading: 36,
                trailing: 0x30,
            },
            3,
        ),
    ] {
        let mut bytes = section_header(LITTLE);
        bytes.extend(interface(LITTLE, 1, 0, &[]));
        bytes.extend(enhanced_packet(LITTLE, 0, 1, b"before"));
        let at = bytes.len() as u64;
        bytes.extend(&bad);
        bytes.extend(enhanced_packet(LITTLE, 0, 2, b"behind"));
        let outcome = read_all(&bytes);
        assert_eq!(outcome.frames().len(), kept, "{fault}");
        assert_eq!(outcome.frames().last().unwrap().1, b"behind", "{fault}");
        assert_eq!(outcome.warnings, [(at, fault)]);
        assert_eq!(outcome.error, None);
    }
}

#[test]
fn a_simple_packet_without_an_interface_is_refused() {
    let mut bytes = section_header(LITTLE);
    bytes.extend(block(LITTLE, 3, &[1, 0, 0, 0, 0xaa]));
    let error = read_all(&bytes).error.unwrap();
    assert!(
        error.contains("at byte 28: a frame names interface 0, where 0 are described"),
        "{error}"
    );
}

#[test]
fn damage_to_the_framing_ends_the_capture() {
    let mut no_magic = section_header(LITTLE);
    no_magic[8] = 0;
    let mut version = section_header(LITTLE);
    version[12] = 2; // major version
    let mut short_section = block(LITTLE, 0x0a0d_0d0a, &[0x4d, 0x3c, 0x2b, 0x1a]);
    short_section.extend([0; 8]);
    let mut odd_length = enhanced_packet(LITTLE, 0, 1, b"abcd");
    odd_length[4] = 37;
    let mut zero_length = enhanced_packet(LITTLE, 0, 1, b"abcd");
    zero_length[4] = 0;
    let long_interface = interface(LITTLE, 1, 0, &vec![0; 3 * MAX_FRAME as usize]);
    let long_length = long_interface.len() as u32;
    for (bad, fault) in [
        (no_magic, Fault::ByteOrderMagic(0x003c_2b1a)),
        (
            version,
            Fault::Version {
                format: "pcapng",
                major: 2,
                minor: 0,
            },
        ),
        (
            short_section,
            Fault::BlockLength {
                kind: 0x0a0d_0d0a,
                length: 16,
            },
        ),
        (
            odd_length,
            Fault::BlockLength {
                kind: 6,
                length: 37,
            },
        ),
        (zero_length, Fault::BlockLength { kind: 6, length: 0 }),
        (
            block(LITTLE, 1, &[1, 0, 0, 0]),
            Fault::BlockLength {
                kind: 1,
                length: 16,
            },
        ),
        (
            long_interface,
            Fault::BlockTooLong {
                kind: 1,
                length: long_length,
            },
        ),
    ] {
        let mut bytes = section_header(LITTLE);
        bytes.extend(interface(LITTLE, 1, 0, &[]));
        bytes.extend(enhanced_packet(LITTLE, 0, 1, b"before"));
        let at = bytes.len() as u64;
        bytes.extend(&bad);
        bytes.extend(enhanced_packet(LITTLE, 0, 2, b"behind"));
        let outcome = read_all(&bytes);
        assert_eq!(outcome.frames().len(), 1, "{fault}");
        assert_eq!(outcome.warnings, [(at, fault)]);
        assert_eq!(outcome.error, None);
    }
}

#[test]
fn warnings_and_interfaces_are_bounded() {
    let mut bytes = section_header(LITTLE);
    bytes.extend(interface(LITTLE, 1, 0, &[]));
    bytes.extend(enhanced_packet(LITTLE, 0, 1, b"good"));
    for _ in 0..100 {
        bytes.extend(enhanced_packet(LITTLE, 3, 1, b"bad"));
    }
    let outcome = read_all(&bytes);
    assert_eq!((outcome.warnings.len(), outcome.left_out), (16, 84));
    // the one that says why the capture ended is always kept
    bytes.extend([0; 5]);
    let outcome = read_all(&bytes);
    assert_eq!((outcome.warnings.len(), outcome.left_out), (17, 84));
    assert!(matches!(outcome.warnings[16].1, Fault::CutShort { .. }));

    let mut bytes = section_header(LITTLE);
    for _ in 0..=1 << 16 {
        bytes.extend(interface(LITTLE, 1, 0, &[]));
    }
    let error = read_all(&bytes).error.unwrap();
    assert!(error.contains("more than 65536 interfaces"), "{error}");
}
