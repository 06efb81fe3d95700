//! Compressed captures: told by content, whole, in parts and damaged.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::capture::BLOCK_SIZE;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A capture of a little more than `size` bytes that does not pack too well.
fn capture(size: usize) -> Vec<u8> {
    let order = ByteOrder::Little;
    let mut random = Random(7);
    let mut bytes = pcap_header(order, 0xa1b2_c3d4, 1);
    while bytes.len() < size {
        let length = random.below(1_500) as usize;
        let frame: Vec<u8> = (0..length).map(|_| random.below(16) as u8).collect();
        bytes.extend(pcap_record(order, 1, 0, &frame));
    }
    bytes
}

#[test]
fn compressed_captures_give_the_blocks_of_plain_ones() {
    let bytes = capture(2 * BLOCK_SIZE + 1_000);
    let (first, second) = bytes.split_at(bytes.len() / 3);
    let plain = read_all(&bytes);
    assert_eq!(plain.blocks.len(), 3);
    // a zstd frame to be skipped: magic, length 3, content
    let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0xyz".to_vec();
    for (name, packed) in [
        ("gzip", gzip(&bytes)),
        (
            "gzip members",
            [gzip(first), gzip(b""), gzip(second)].concat(),
        ),
        (
            "gzip padded",
            [gzip(first), vec![0; 9], gzip(second), vec![0; 700]].concat(),
        ),
        ("zstd", zstd(&bytes)),
        (
            "zstd frames",
            [zstd(first), zstd(b""), zstd(second)].concat(),
        ),
        (
            "zstd skippable",
            [skippable.clone(), zstd(&bytes), skippable].concat(),
        ),
    ] {
        assert_eq!(read_all(&packed), plain, "{name}");
        for seed in 0..3 {
            let trickle = Trickle::new(&packed, seed, 40_000);
            assert_eq!(read_from(trickle), plain, "{name} in pieces");
        }
    }
}

#[test]
fn a_compressed_capture_cut_anywhere_gives_the_frames_before() {
    let bytes = capture(3_000);
    let whole = read_all(&bytes);
    let whole = whole.summary();
    for (format, packed) in [("gzip", gzip(&bytes)), ("zstd", zstd(&bytes))] {
        let mut most = 0;
        for cut in 1..packed.len() {
            let outcome = read_all(&packed[..cut]);
            let frames = outcome.summary();
            assert!(whole.starts_with(&frames), "{format} cut at {cut}");
            most = most.max(frames.len());
            if frames.is_empty() {
                assert!(outcome.error.is_some(), "{format} cut at {cut}");
            } else {
                assert_eq!(outcome.error, None);
                let expected = Fault::CompressedCutShort { format };
                assert_eq!(outcome.warnings.len(), 1);
                assert_eq!(outcome.warnings[0].1, expected, "{format} cut at {cut}");
            }
        }
        // all that is missing last is the checksum
        assert_eq!(most, whole.len(), "{format}");
    }
}

#[test]
fn what_was_unpacked_before_the_damage_is_used() {
    let bytes = capture(2 * BLOCK_SIZE);
    let whole = read_all(&bytes);
    let whole = whole.summary();
    for (format, mut packed) in [("gzip", gzip(&bytes)), ("zstd", zstd(&bytes))] {
        // the checksum behind the data: of gzip with the length behind it
        let behind = if format == "gzip" { 8 } else { 4 };
        let checksum = packed.len() - behind;
        packed[checksum] ^= 0x55;
        let outcome = read_all(&packed);
        assert_eq!(outcome.summary(), whole, "{format}");
        let (offset, fault) = &outcome.warnings[0];
        assert_eq!(*offset, bytes.len() as u64, "{format}");
        assert!(
            matches!(fault, Fault::Compression { format: f, .. } if *f == format),
            "{fault}"
        );
        assert_eq!(outcome.error, None);
        for seed in 0..3 {
            let trickle = Trickle::new(&packed, seed, 9_000);
            assert_eq!(read_from(trickle), outcome, "{format} in pieces");
        }
    }
    let mut packed = gzip(&bytes);
    packed.extend(b"no member");
    let outcome = read_all(&packed);
    assert_eq!(outcome.summary(), whole);
    assert_eq!(outcome.warnings.len(), 1);
}

#[test]
fn a_zstd_window_beyond_the_limit_is_refused() {
    #[rustfmt::skip]
    let packed = [
        0x28, 0xb5, 0x2f, 0xfd, // magic
        0x00,                   // frame header: a window descriptor and nothing else
        0x90,                   // window: 2^28 bytes
        0x01, 0x00, 0x00,       // last block, raw, empty
    ];
    let error = open_error(&packed).to_string();
    assert!(
        error.starts_with(
            "test: at byte 0 of the unpacked data: the zstd data cannot be unpacked: "
        ),
        "{error}"
    );
    assert!(error.contains("memory"), "{error}");
    // one power of two less is taken: and then holds nothing
    let mut packed = packed;
    packed[5] = 0x88;
    let error = open_error(&packed).to_string();
    assert!(error.contains("packed in it by zstd"), "{error}");
}

#[test]
fn says_what_is_packed_instead_of_a_capture() {
    let error = open_error(&gzip(b"hello, this is some text")).to_string();
    assert!(
        error.starts_with(
            "test: not a capture: what is packed in it by gzip starts with 68 65 6c 6c 6f 2c 20 \
             74 \"hello, t\";"
        ),
        "{error}"
    );
    let error = open_error(&zstd(b"")).to_string();
    assert!(
        error.contains("zstd starts with nothing (0 bytes);"),
        "{error}"
    );
    let error = open_error(b"\x1f\x8b\x08 nonsense that is no gzip member").to_string();
    assert!(error.contains("gzip data cannot be unpacked"), "{error}");
}
