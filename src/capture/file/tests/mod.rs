//! Captures written by the tests, byte by byte or by small builders.

mod compressed;
mod inputs;
mod pcap;
mod pcapng;
mod properties;

use std::cell::RefCell;
use std::io;
use std::io::Cursor;
use std::io::Read;

use crate::capture::Block;
use crate::capture::CaptureError;
use crate::capture::CaptureReader;
use crate::capture::Fault;
use crate::capture::FrameRecord;

use super::ByteOrder;

/// Everything that a capture gave.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Block by block: where each frame lay, and its bytes.
    blocks: Vec<Vec<(FrameRecord, Vec<u8>)>>,
    /// Offset and kind of every warning.
    warnings: Vec<(u64, Fault)>,
    left_out: u64,
    /// The error at the end, as a user reads it.
    error: Option<String>,
}

impl Outcome {
    fn frames(&self) -> Vec<&(FrameRecord, Vec<u8>)> {
        self.blocks.iter().flatten().collect()
    }

    /// Nanoseconds, bytes, original length, link type and interface of every frame.
    fn summary(&self) -> Vec<(u64, &[u8], u32, u16, u16)> {
        let frames = self.frames().into_iter();
        frames
            .map(|(record, bytes)| {
                (
                    record.timestamp.as_nanos(),
                    bytes.as_slice(),
                    record.original_length,
                    record.link,
                    record.interface,
                )
            })
            .collect()
    }
}

fn read_all(bytes: &[u8]) -> Outcome {
    read_from(Cursor::new(bytes.to_vec()))
}

fn read_from(reader: impl Read + Send + 'static) -> Outcome {
    match CaptureReader::from_reader("test".to_owned(), reader) {
        Ok(reader) => read_on(reader),
        Err(error) => Outcome {
            error: Some(error.to_string()),
            ..Outcome::default()
        },
    }
}

fn read_on(mut reader: CaptureReader) -> Outcome {
    thread_local! {
        /// Handed from capture to capture: what an earlier one left must not show.
        static BLOCK: RefCell<Block> = RefCell::default();
    }
    let mut outcome = Outcome::default();
    let mut block = BLOCK.take();
    loop {
        match reader.next_block(&mut block) {
            Ok(true) => {
                assert!(!block.frames.is_empty());
                let frames = block.frames.iter().map(|record| {
                    let bytes = block.frame(record);
                    assert_eq!(bytes.len(), record.length as usize);
                    assert!(record.original_length >= record.length);
                    (*record, bytes.to_vec())
                });
                outcome.blocks.push(frames.collect());
            }
            Ok(false) => break,
            Err(error) => {
                outcome.error = Some(error.to_string());
                break;
            }
        }
    }
    assert!(
        matches!(reader.next_block(&mut block), Ok(false)),
        "an end stays the end"
    );
    let warnings = reader.warnings().iter();
    outcome.warnings = warnings
        .map(|warning| (warning.offset, warning.fault.clone()))
        .collect();
    outcome.left_out = reader.warnings_left_out();
    BLOCK.set(block);
    outcome
}

fn open_error(bytes: &[u8]) -> CaptureError {
    match CaptureReader::from_reader("test".to_owned(), Cursor::new(bytes.to_vec())) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

/// A reader that gives its bytes in pieces of chosen lengths, interrupted now and then, as
/// a pipe does.
struct Trickle {
    bytes: Vec<u8>,
    at: usize,
    random: Random,
    most: u64,
}

impl Trickle {
    fn new(bytes: &[u8], seed: u64, most: u64) -> Self {
        Self {
            bytes: bytes.to_vec(),
            at: 0,
            random: Random(seed),
            most,
        }
    }
}

impl Read for Trickle {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.random.below(8) == 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = (1 + self.random.below(self.most) as usize)
            .min(out.len())
            .min(self.bytes.len() - self.at);
        out[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// SplitMix64, seeded: the same numbers at every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn u16_bytes(order: ByteOrder, n: u16) -> [u8; 2] {
    match order {
        ByteOrder::Little => n.to_le_bytes(),
        ByteOrder::Big => n.to_be_bytes(),
    }
}

fn u32_bytes(order: ByteOrder, n: u32) -> [u8; 4] {
    match order {
        ByteOrder::Little => n.to_le_bytes(),
        ByteOrder::Big => n.to_be_bytes(),
    }
}

/// A pcap file header.
fn pcap_header(order: ByteOrder, magic: u32, link: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(u32_bytes(order, magic));
    out.extend(u16_bytes(order, 2)); // major version
    out.extend(u16_bytes(order, 4)); // minor version
    out.extend([0; 8]); // time zone and accuracy, always 0
    out.extend(u32_bytes(order, 65_535)); // snap length
    out.extend(u32_bytes(order, link));
    out
}

/// A pcap record whose frame was captured whole.
fn pcap_record(order: ByteOrder, seconds: u32, fraction: u32, frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(u32_bytes(order, seconds));
    out.extend(u32_bytes(order, fraction));
    out.extend(u32_bytes(order, frame.len() as u32)); // captured length
    out.extend(u32_bytes(order, frame.len() as u32)); // original length
    out.extend(frame);
    out
}

/// A pcapng block of any type around `body`, padded.
fn block(order: ByteOrder, kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().next_multiple_of(4);
    let length = u32_bytes(order, padded as u32 + 12);
    let mut out = Vec::new();
    out.extend(u32_bytes(order, kind));
    out.extend(length);
    out.extend(body);
    out.resize(8 + padded, 0);
    out.extend(length);
    out
}

fn section_header(order: ByteOrder) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(u32_bytes(order, 0x1a2b_3c4d)); // byte-order magic
    body.extend(u16_bytes(order, 1)); // major version
    body.extend(u16_bytes(order, 0)); // minor version
    body.extend([0xff; 8]); // section length: not known
    block(order, 0x0a0d_0d0a, &body)
}

fn interface(order: ByteOrder, link: u16, snaplen: u32, options: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(u16_bytes(order, link));
    body.extend([0; 2]); // reserved
    body.extend(u32_bytes(order, snaplen));
    body.extend(options);
    block(order, 1, &body)
}

fn option(order: ByteOrder, code: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(u16_bytes(order, code));
    out.extend(u16_bytes(order, value.len() as u16));
    out.extend(value);
    out.resize(4 + value.len().next_multiple_of(4), 0);
    out
}

fn enhanced_packet(order: ByteOrder, interface: u32, ticks: u64, frame: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(u32_bytes(order, interface));
    body.extend(u32_bytes(order, (ticks >> 32) as u32)); // timestamp, upper half
    body.extend(u32_bytes(order, ticks as u32)); // timestamp, lower half
    body.extend(u32_bytes(order, frame.len() as u32)); // captured length
    body.extend(u32_bytes(order, frame.len() as u32)); // original length
    body.extend(frame);
    block(order, 6, &body)
}
