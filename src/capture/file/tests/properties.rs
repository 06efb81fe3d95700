//! What must hold for every capture, however it arrives and whatever was done to it.

use super::*;
use crate::capture::BLOCK_SIZE;
use crate::capture::MAX_FRAME;

const LITTLE: ByteOrder = ByteOrder::Little;
const BIG: ByteOrder = ByteOrder::Big;

/// A capture and the offsets at which its header and each of its frames' records end.
struct Known {
    bytes: Vec<u8>,
    header_end: usize,
    ends: Vec<usize>,
    /// Ends of all blocks or records, those without frames included.
    boundaries: Vec<usize>,
}

fn pcap(order: ByteOrder, lengths: &[usize]) -> Known {
    let bytes = pcap_header(order, 0xa1b2_3c4d, 1);
    let mut known = Known {
        header_end: bytes.len(),
        boundaries: vec![bytes.len()],
        ends: vec![],
        bytes,
    };
    for (n, length) in lengths.iter().enumerate() {
        let frame = vec![n as u8; *length];
        known.bytes.extend(pcap_record(order, n as u32, 0, &frame));
        known.ends.push(known.bytes.len());
        known.boundaries.push(known.bytes.len());
    }
    known
}

fn pcapng(order: ByteOrder, lengths: &[usize]) -> Known {
    let mut known = Known {
        bytes: vec![],
        // the first bytes that are looked at to tell the format
        header_end: 24,
        ends: vec![],
        boundaries: vec![],
    };
    let mut add = |block: Vec<u8>, is_frame: bool| {
        known.bytes.extend(block);
        known.boundaries.push(known.bytes.len());
        if is_frame {
            known.ends.push(known.bytes.len());
        }
    };
    for (n, length) in lengths.iter().enumerate() {
        if n % 40 == 0 {
            let order = if n % 80 == 0 { order } else { BIG };
            add(section_header(order), false);
            let options = [option(order, 9, &[9]), option(order, 14, &[0; 8])].concat();
            add(interface(order, 1, 0, &options), false);
        }
        if n % 7 == 3 {
            let order = if n % 80 < 40 { order } else { BIG };
            add(block(order, 0x8000_0001, &vec![1; 5 * length]), false);
        }
        let order = if n % 80 < 40 { order } else { BIG };
        let frame = vec![n as u8; *length];
        add(enhanced_packet(order, 0, n as u64, &frame), true);
    }
    known
}

#[test]
fn block_boundaries_depend_on_the_bytes_alone() {
    let mut random = Random(1);
    let mut lengths: Vec<_> = (0..900).map(|_| random.below(1_600) as usize).collect();
    lengths[300] = MAX_FRAME as usize;
    lengths[301] = 0;
    lengths[500] = BLOCK_SIZE - 16;
    for (name, known) in [
        ("pcap", pcap(LITTLE, &lengths)),
        ("pcapng", pcapng(LITTLE, &lengths)),
    ] {
        let expected = read_all(&known.bytes);
        assert_eq!(expected.frames().len(), lengths.len(), "{name}");
        assert!(expected.blocks.len() > 4, "{name}");
        assert_eq!((&expected.warnings, &expected.error), (&vec![], &None));
        for (seed, most) in [
            (1, 100_000),
            (2, 3_000_000),
            (3, 1_460),
            (4, 65_536),
            (5, 61),
        ] {
            let outcome = read_from(Trickle::new(&known.bytes, seed, most));
            assert!(
                outcome == expected,
                "{name} in pieces of up to {most} bytes"
            );
        }
    }
}

#[test]
fn a_capture_cut_anywhere_gives_the_frames_before_the_cut() {
    let lengths = [0, 1, 2, 3, 4, 60, 17, 5];
    for (name, known) in [
        ("little-endian pcap", pcap(LITTLE, &lengths)),
        ("big-endian pcap", pcap(BIG, &lengths)),
        ("little-endian pcapng", pcapng(LITTLE, &lengths)),
        ("big-endian pcapng", pcapng(BIG, &lengths)),
    ] {
        for cut in 0..=known.bytes.len() {
            let outcome = read_all(&known.bytes[..cut]);
            let frames = known.ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(outcome.frames().len(), frames, "{name} cut at {cut}");
            let at_boundary = known.boundaries.contains(&cut);
            let is_error = cut < known.header_end || frames == 0 && !at_boundary;
            assert_eq!(outcome.error.is_some(), is_error, "{name} cut at {cut}");
            let is_warning = !is_error && !at_boundary;
            assert_eq!(
                outcome.warnings.len(),
                usize::from(is_warning),
                "{name} cut at {cut}"
            );
            if let [(offset, Fault::CutShort { needed, present })] = outcome.warnings[..] {
                let start = known.boundaries.iter().rev().find(|end| **end < cut);
                assert_eq!(offset, *start.unwrap() as u64);
                assert_eq!(present, cut as u64 - offset);
                assert!(needed > present);
            }
        }
    }
}

#[test]
fn mutated_captures_neither_panic_nor_loop() {
    let lengths = [0, 1, 2, 3, 4, 60, 17, 5];
    let captures = [
        pcap(LITTLE, &lengths).bytes,
        pcap(BIG, &lengths).bytes,
        pcapng(LITTLE, &lengths).bytes,
        pcapng(BIG, &lengths).bytes,
        zstd::encode_all(&pcap(LITTLE, &lengths).bytes[..], 1).unwrap(),
    ];
    let mut random = Random(2);
    let mut warned = 0;
    for round in 0..10_000 {
        let mut bytes = captures[round % captures.len()].clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len() as u64) as usize;
            match random.below(5) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = random.next() as u8,
                2 => bytes[at] = [0, 0xff, 0x7f, 0x80][random.below(4) as usize],
                3 => drop(bytes.remove(at)),
                _ => bytes.insert(at, random.next() as u8),
            }
        }
        let outcome = read_all(&bytes);
        // a frame has a header of at least 12 bytes; zstd packs no more than some 30 of them
        // into a byte here
        assert!(outcome.frames().len() <= bytes.len() * 30, "round {round}");
        assert!(outcome.blocks.len() <= 3, "round {round}");
        warned += usize::from(!outcome.warnings.is_empty() || outcome.error.is_some());
    }
    assert!(warned > 1_000, "{warned}");
}
