//! Laws of reading captures, for files of any kind.

use crate::capture::Block;
use crate::capture::CaptureReader;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Cursor;
use std::io::Read;
use std::io::Write;

/// Gives few bytes a read.
struct Trickle {
    bytes: Cursor<Vec<u8>>,
    step: usize,
}

impl Read for Trickle {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.step = (self.step * 5 + 3) % 64;
        let length = buffer.len().min(1 + self.step);
        self.bytes.read(&mut buffer[..length])
    }
}

/// Law: however the bytes of a capture arrive, be it packed, it gives the same frames, warnings
/// and errors; frames lie within their block, one after the other.
pub(crate) fn read(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let whole = read_all(Cursor::new(input.to_vec()));
    for event in &whole {
        seen(event);
    }
    let trickle = Trickle {
        bytes: Cursor::new(input.to_vec()),
        step: 0,
    };
    assert_eq!(read_all(trickle), whole, "in pieces");
    // what is packed twice is no capture, and a file's errors name what packed it
    let is_packed = input.starts_with(b"\x1f\x8b") || input.starts_with(b"\x28\xb5\x2f\xfd");
    let failed = whole.iter().any(|event| event.starts_with("error"));
    if is_packed || failed {
        return;
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(input).unwrap();
    assert_eq!(read_all(Cursor::new(gzip.finish().unwrap())), whole, "gzip");
    let zstd = zstd::encode_all(input, 1).unwrap();
    assert_eq!(read_all(Cursor::new(zstd)), whole, "zstd");
}

/// What a capture gives, in words.
fn read_all(bytes: impl Read + Send + 'static) -> Vec<String> {
    let mut events = Vec::new();
    let mut reader = match CaptureReader::from_reader("x".to_owned(), bytes) {
        Ok(reader) => reader,
        Err(error) => return vec![format!("error {error}")],
    };
    let mut block = Block::default();
    loop {
        match reader.next_block(&mut block) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                events.push(format!("error {error}"));
                break;
            }
        }
        let mut end = 0;
        for record in &block.frames {
            let bytes = block.frame(record);
            assert_eq!(bytes.len(), record.length as usize);
            assert!(record.start >= end, "frames overlap");
            assert!(record.original_length >= record.length);
            end = record.start + record.length;
            let sum = crc32fast::hash(bytes);
            events.push(format!(
                "{} of {} link {} on {} at {:?}: {sum}",
                record.length,
                record.original_length,
                record.link,
                record.interface,
                record.timestamp
            ));
        }
    }
    assert!(matches!(reader.next_block(&mut block), Ok(false)));
    for warning in reader.warnings() {
        events.push(format!("{} {:?}", warning.offset, warning.fault));
    }
    events.push(format!("{} left out", reader.warnings_left_out()));
    events
}
