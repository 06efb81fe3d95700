//! Header compression (RFC 7541): one decoder a direction, which follows its dynamic table.
//!
//! A block that cannot be decoded leaves the table unknown, and with it everything that
//! follows in its direction.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::http2::huffman;

/// Decodes the header blocks of one direction.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    table: Table,
    /// What a name or a value decoded to; reused.
    name: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    /// Bytes of memory that the table and the buffers take.
    pub(super) fn held(&self) -> usize {
        let entries = self.table.entries.capacity() * size_of::<Entry>();
        self.table.size + entries + self.name.capacity() + self.value.capacity()
    }

    /// Hands each field of a block to `emit`: name and value.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        emit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), ParseError> {
        let mut input = Octets::new(block);
        let mut at_start = true;
        while !input.is_empty() {
            let offset = input.offset();
            let first = input.u8("representation")?;
            match first {
                // RFC 7541 section 6.1
                0x80.. => {
                    let index = integer(&mut input, first, 7)?;
                    let (name, value) = self
                        .table
                        .entry(index)
                        .ok_or_else(|| ParseError::malformed(offset, "index"))?;
                    emit(name, value);
                }
                // RFC 7541 section 6.2.1
                0x40..0x80 => {
                    let index = integer(&mut input, first, 6)?;
                    self.read_literal(&mut input, index, true, emit)?;
                }
                // RFC 7541 section 6.3, and section 4.2 for its place
                0x20..0x40 => {
                    let size = integer(&mut input, first, 5)?;
                    if !at_start || size > MAX_TABLE {
                        return Err(ParseError::malformed(offset, "table size"));
                    }
                    self.table.limit = size;
                    self.table.evict(0);
                    continue;
                }
                // RFC 7541 sections 6.2.2 and 6.2.3
                0x00..0x20 => {
                    let index = integer(&mut input, first, 4)?;
                    self.read_literal(&mut input, index, false, emit)?;
                }
            }
            at_start = false;
        }
        for buffer in [&mut self.name, &mut self.value] {
            if buffer.capacity() > KEPT_CAPACITY {
                *buffer = Vec::new();
            }
        }
        Ok(())
    }

    /// Reads a field whose value follows, and whose name does where `index` is 0.
    fn read_literal(
        &mut self,
        input: &mut Octets<'_>,
        index: usize,
        keep: bool,
        emit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), ParseError> {
        let offset = input.offset();
        let known = match index {
            0 => None,
            index => Some(
                self.table
                    .name(index)
                    .ok_or_else(|| ParseError::malformed(offset, "index"))?,
            ),
        };
        let name = match &known {
            Some(name) => name.as_slice(),
            None => string(input, &mut self.name)?,
        };
        let value = string(input, &mut self.value)?;
        emit(name, value);
        if keep {
            let size = name.len() + value.len() + ENTRY_OVERHEAD;
            self.table.evict(size);
            // RFC 7541 section 4.4: what does not fit empties the table, and is no error
            if size <= self.table.limit {
                let name = match &known {
                    Some(name) => name.clone(),
                    None => Name::Shared(name.into()),
                };
                let value = value.into();
                self.table.push(Entry { name, value }, size);
            }
        }
        Ok(())
    }
}

/// The dynamic table (RFC 7541 section 2.3.2), newest entry first.
///
/// Invariant: `size` is the sum of the entries' sizes, at most `limit`.
#[derive(Debug)]
struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    limit: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            size: 0,
            limit: INITIAL_TABLE,
        }
    }
}

impl Table {
    /// Name and value at an index over both tables.
    fn entry(&self, index: usize) -> Option<(&[u8], &[u8])> {
        let at = index.checked_sub(1)?;
        if let Some((name, value)) = STATIC.get(at) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        let entry = self.entries.get(at - STATIC.len())?;
        Some((entry.name.as_slice(), &entry.value))
    }

    fn name(&self, index: usize) -> Option<Name> {
        let at = index.checked_sub(1)?;
        match STATIC.get(at) {
            Some((name, _)) => Some(Name::Static(name.as_bytes())),
            None => Some(self.entries.get(at - STATIC.len())?.name.clone()),
        }
    }

    /// Makes room for an entry of `size`, or as much as there can be.
    fn evict(&mut self, size: usize) {
        while self.size.saturating_add(size) > self.limit
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size = self.size.saturating_sub(oldest.size());
        }
    }

    fn push(&mut self, entry: Entry, size: usize) {
        self.size += size;
        self.entries.push_front(entry);
    }
}

#[derive(Debug)]
struct Entry {
    name: Name,
    value: Box<[u8]>,
}

impl Entry {
    fn size(&self) -> usize {
        self.name.as_slice().len() + self.value.len() + ENTRY_OVERHEAD
    }
}

/// The name of an entry. Shared, for two bytes of a block can add an entry with the longest
/// name in the table.
#[derive(Clone, Debug)]
enum Name {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
}

impl Name {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

/// A number with a prefix of `bits` bits, the last of `first` (RFC 7541 section 5.1).
fn integer(input: &mut Octets<'_>, first: u8, bits: u32) -> Result<usize, ParseError> {
    let mask = (1_usize << bits) - 1;
    let mut number = usize::from(first) & mask;
    if number < mask {
        return Ok(number);
    }
    for shift in (0..7 * MAX_INTEGER).step_by(7) {
        let byte = input.u8("number")?;
        number += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ParseError::malformed(input.offset(), "number"))
}

/// A string (RFC 7541 section 5.2), where it lies or decoded into `buffer`.
fn string<'b: 's, 's>(
    input: &mut Octets<'b>,
    buffer: &'s mut Vec<u8>,
) -> Result<&'s [u8], ParseError> {
    let first = input.u8("string length")?;
    let length = integer(input, first, 7)?;
    let offset = input.offset();
    let bytes = input.take(length, "string")?;
    if first & 0x80 == 0 {
        return Ok(bytes);
    }
    buffer.clear();
    if !huffman::decode(bytes, buffer) {
        return Err(ParseError::malformed(offset, "huffman code"));
    }
    Ok(buffer)
}

/// Size of the dynamic table before it is told (RFC 9113 section 6.5.2), in bytes.
const INITIAL_TABLE: usize = 4096;

/// The largest dynamic table that is followed, in bytes: what browsers allow, the largest of
/// any client or server in wide use.
const MAX_TABLE: usize = 64 << 10;

/// What an entry counts beside its name and value (RFC 7541 section 4.1).
const ENTRY_OVERHEAD: usize = 32;

/// The most bytes of a number after its prefix: 28 bits, more than any length or index.
const MAX_INTEGER: usize = 4;

/// Capacity of a buffer that is kept between blocks, in bytes.
const KEPT_CAPACITY: usize = 1 << 10;

/// The static table (RFC 7541 appendix A).
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Option<String> {
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        decoder
            .decode(block, &mut |name, value| {
                fields.push(format!("{}: {}", text(name), text(value)));
            })
            .ok()?;
        Some(fields.join("\n"))
    }

    const REQUESTS: [(&str, usize); 3] = [
        (
            ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com",
            57,
        ),
        (
            ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com\n\
             cache-control: no-cache",
            110,
        ),
        (
            ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\n\
             custom-key: custom-value",
            164,
        ),
    ];

    const RESPONSES: [(&str, usize); 3] = [
        (
            ":status: 302\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
             location: https://www.example.com",
            222,
        ),
        (
            ":status: 307\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\n\
             location: https://www.example.com",
            222,
        ),
        (
            ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\n\
             location: https://www.example.com\ncontent-encoding: gzip\n\
             set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            215,
        ),
    ];

    /// RFC 7541 appendix C.3 to C.6: blocks, and the size of the table after each.
    #[test]
    fn the_examples_of_the_specification() {
        for (limit, expected, blocks) in [
            (
                4096,
                REQUESTS,
                [
                    "828684410f7777772e6578616d706c652e636f6d",
                    "828684be58086e6f2d6361636865",
                    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
                ],
            ),
            (
                4096,
                REQUESTS,
                [
                    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
                    "828684be5886a8eb10649cbf",
                    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
                ],
            ),
            (
                256,
                RESPONSES,
                [
                    "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a\
                     323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
                    "4803333037c1c0bf",
                    "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69\
                     707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d6178\
                     2d6167653d333630303b2076657273696f6e3d31",
                ],
            ),
            (
                256,
                RESPONSES,
                [
                    "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29\
                     ad171863c78f0b97c8e9ae82ae43d3",
                    "4883640effc1c0bf",
                    "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7\
                     f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d50\
                     07",
                ],
            ),
        ] {
            let mut decoder = Decoder::default();
            decoder.table.limit = limit;
            for ((fields, size), block) in expected.iter().zip(blocks) {
                let found = decode(&mut decoder, &bytes_of(block));
                assert_eq!(found.as_deref(), Some(*fields));
                assert_eq!(decoder.table.size, *size);
            }
        }
    }

    /// RFC 7541 appendix C.2, and C.1 for numbers.
    #[test]
    fn single_representations() {
        for (block, fields, entries) in [
            (
                "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
                Some("custom-key: custom-header"),
                1,
            ),
            (
                "040c2f73616d706c652f70617468",
                Some(":path: /sample/path"),
                0,
            ),
            (
                "100870617373776f726406736563726574",
                Some("password: secret"),
                0,
            ),
            ("82", Some(":method: GET"), 0),
            ("", Some(""), 0),
            // no entry has index 0, nor is there any in the dynamic table
            ("80", None, 0),
            ("be", None, 0),
            ("7f0000", None, 0),
            // a number, a string beyond the block; a number without an end
            ("ff", None, 0),
            ("0403612f", None, 0),
            ("ff80808080", None, 0),
            ("ff8080808000", None, 0),
            // a table of 256 bytes, then one of 1; after a field; beyond what is followed
            ("3fe1012182", Some(":method: GET"), 0),
            ("8220", None, 0),
            ("3fe1ff03", Some(""), 0),
            ("3fe2ff03", None, 0),
            // a name without bytes, and a value of the wrong code
            ("400000", Some(": "), 1),
            ("0081ff", None, 0),
        ] {
            let block = bytes_of(block);
            let mut decoder = Decoder::default();
            let found = decode(&mut decoder, &block);
            assert_eq!(found.as_deref(), fields, "{block:x?}");
            assert_eq!(decoder.table.entries.len(), entries, "{block:x?}");
        }
        let mut input = Octets::new(&[0x9a, 0x0a]);
        assert_eq!(integer(&mut input, 0x1f, 5), Ok(1337));
        assert_eq!(integer(&mut input, 0xea, 5), Ok(10));
    }

    #[test]
    fn what_does_not_fit_empties_the_table() {
        let mut decoder = Decoder::default();
        let field = |length: u16| {
            let long = [
                &[0x40, 1, b'a', 0x7f][..],
                &number(length),
                &vec![b'x'; length.into()],
            ];
            long.concat()
        };
        fn number(length: u16) -> [u8; 2] {
            let rest = length - 0x7f;
            [rest as u8 | 0x80, (rest >> 7) as u8]
        }
        assert!(decode(&mut decoder, &field(4096 - 33)).is_some());
        assert_eq!((decoder.table.size, decoder.table.entries.len()), (4096, 1));
        assert!(decode(&mut decoder, &field(4096 - 32)).is_some());
        assert_eq!((decoder.table.size, decoder.table.entries.len()), (0, 0));
    }

    /// The name of the oldest entry, which it pushes out, must stay what it was.
    #[test]
    fn an_entry_may_push_out_the_one_it_is_named_after() {
        let mut decoder = Decoder::default();
        // a table of 40 bytes
        let first = bytes_of("3f094004616263640131");
        assert_eq!(decode(&mut decoder, &first).as_deref(), Some("abcd: 1"));
        let again = bytes_of("7e0132be");
        assert_eq!(
            decode(&mut decoder, &again).as_deref(),
            Some("abcd: 2\nabcd: 2")
        );
        assert_eq!(decoder.table.entries.len(), 1);
    }
}
