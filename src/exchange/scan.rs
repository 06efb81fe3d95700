//! A JSON structure scanner: finds where values end without building them.
//!
//! It checks the grammar of RFC 8259 in full, never recurses, and tells a text
//! that ends too early from one that is wrong, so that its caller can read on
//! and try again from the same place.

/// Nesting beyond this is refused: real bundles stay below 20, and one bit a
/// level is all the memory that a scan takes.
pub(super) const DEEPEST: u32 = u128::BITS;

/// Why a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The text ends within a value; more of it may heal that.
    Incomplete,
    /// The byte at `at` must not be there.
    Malformed {
        /// Index into the scanned text.
        at: usize,
        /// What is wrong, for people.
        what: &'static str,
    },
    /// More than [`DEEPEST`] lists and objects within each other.
    TooDeep {
        /// Index into the scanned text.
        at: usize,
    },
}

/// A place in JSON text.
///
/// Invariant: `0 <= at <= text.len()`, and `at` is a character boundary.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    escaped: bool,
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of `text`.
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            escaped: false,
        }
    }

    /// Bytes between the start and here.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Passes over white space and gives the byte behind it, without passing over that one.
    #[inline]
    pub(super) fn next(&mut self) -> Result<u8, Fault> {
        loop {
            match self.bytes.get(self.at) {
                None => return Err(Fault::Incomplete),
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return Ok(byte),
            }
        }
    }

    /// Passes over the byte that [`Self::next`] gave.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.at = (self.at + 1).min(self.bytes.len());
    }

    /// Whether the string passed over last holds an escape sequence.
    pub(super) const fn escaped(&self) -> bool {
        self.escaped
    }

    /// What is not passed over yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Passes over `count` bytes, which must end at a character boundary.
    pub(super) fn advance(&mut self, count: usize) {
        self.at = self.at.saturating_add(count).min(self.bytes.len());
    }

    /// Something here is wrong.
    pub(super) const fn malformed<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault::Malformed { at: self.at, what })
    }

    /// A member's name, with its quotes, and the colon behind it.
    #[inline]
    pub(super) fn name(&mut self) -> Result<&'a str, Fault> {
        if self.next()? != b'"' {
            return self.malformed("the name of a member in double quotes is expected here");
        }
        let name = self.string()?;
        if self.next()? != b':' {
            return self.malformed("a colon is expected here");
        }
        self.pass();
        Ok(name)
    }

    /// One whole value: its text.
    pub(super) fn value(&mut self) -> Result<&'a str, Fault> {
        let mut byte = self.next()?;
        let start = self.at;
        // one bit a level, the innermost lowest: 1 an object, 0 a list
        let mut kinds: u128 = 0;
        let mut depth: u32 = 0;
        loop {
            match byte {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    if depth == DEEPEST {
                        return Err(Fault::TooDeep { at: self.at });
                    }
                    let object = byte == b'{';
                    self.pass();
                    depth += 1;
                    kinds = kinds << 1 | u128::from(object);
                    byte = self.next()?;
                    if byte != if object { b'}' } else { b']' } {
                        if object {
                            self.name()?;
                            byte = self.next()?;
                        }
                        continue;
                    }
                    // empty: the closing byte is met again below
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return self.malformed("this begins no JSON value"),
            }
            loop {
                if depth == 0 {
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                }
                let object = kinds & 1 == 1;
                match (self.next()?, object) {
                    (b',', _) => {
                        self.pass();
                        if object {
                            self.name()?;
                        }
                        byte = self.next()?;
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.pass();
                        depth -= 1;
                        kinds >>= 1;
                    }
                    (_, true) => return self.malformed("a comma or '}' is expected here"),
                    (_, false) => return self.malformed("a comma or ']' is expected here"),
                }
            }
        }
    }

    /// A string, with its quotes; the scanner stands on the first of them.
    #[inline]
    fn string(&mut self) -> Result<&'a str, Fault> {
        let start = self.at;
        let mut at = start + 1;
        self.escaped = false;
        loop {
            at = plain_end(self.bytes, at);
            match self.bytes.get(at) {
                None => return Err(Fault::Incomplete),
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                }
                Some(b'\\') => {
                    self.escaped = true;
                    at = escape_end(self.bytes, at)?;
                }
                Some(_) => {
                    let what = "a control character must be escaped within a string";
                    return Err(Fault::Malformed { at, what });
                }
            }
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.pass();
        }
        // RFC 8259 section 6: no leading zeros
        if self.bytes.get(self.at) == Some(&b'0') {
            self.pass();
            if self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
                return self.malformed("a number must not begin with 0");
            }
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.pass();
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.pass();
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.pass();
            }
            self.digits()?;
        }
        if self.at == self.bytes.len() {
            return Err(Fault::Incomplete);
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Fault> {
        match self.bytes.get(self.at) {
            None => return Err(Fault::Incomplete),
            Some(byte) if byte.is_ascii_digit() => {}
            Some(_) => return self.malformed("a digit is expected here"),
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        for expected in word.bytes() {
            match self.bytes.get(self.at) {
                None => return Err(Fault::Incomplete),
                Some(byte) if *byte == expected => self.pass(),
                Some(_) => return self.malformed("this begins no JSON value"),
            }
        }
        Ok(())
    }
}

/// Finds the end of a value too large to be kept, piece by piece.
///
/// It knows strings, escapes and nesting alone; whether the rest is lawful
/// JSON is not asked, since nothing of the value is used.
#[derive(Debug, Default)]
pub(super) struct Skipper {
    depth: u64,
    within_string: bool,
    escaped: bool,
}

impl Skipper {
    /// Goes on through `bytes`: how many of them belong to the value, and whether it ended there.
    ///
    /// The first byte of the value is the bracket or quote that opens it.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if self.escaped {
                self.escaped = false;
            } else if self.within_string {
                match byte {
                    b'"' => self.within_string = false,
                    b'\\' => self.escaped = true,
                    _ => {
                        let rest = bytes.get(at..).unwrap_or_default();
                        at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                        continue;
                    }
                }
            } else {
                match byte {
                    b'"' => self.within_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
            }
            if self.depth == 0 && !self.within_string {
                return (at, true);
            }
        }
        (at, false)
    }
}

/// The first place from `at` on that ends a run of plain characters within a
/// string: a quote, a backslash, a control character, or the end of the bytes.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        // the lowest bit set in each sum marks the first byte that is zero, or less than 0x20
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let stops = (quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash
            | word.wrapping_sub(ONES * 0x20) & !word)
            & HIGH;
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes
        .get(at)
        .is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20))
    {
        at += 1;
    }
    at
}

/// Behind the escape sequence whose backslash is at `at` (RFC 8259 section 7).
fn escape_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at + 1) {
        None => Err(Fault::Incomplete),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            for at in at + 2..at + 6 {
                match bytes.get(at) {
                    None => return Err(Fault::Incomplete),
                    Some(byte) if byte.is_ascii_hexdigit() => {}
                    Some(_) => {
                        let what = "four hexadecimal digits must follow \\u";
                        return Err(Fault::Malformed { at, what });
                    }
                }
            }
            Ok(at + 6)
        }
        Some(_) => Err(Fault::Malformed {
            at: at + 1,
            what: "no such escape sequence",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `text` is one JSON value, by the scanner.
    fn accepts(text: &str) -> bool {
        // a number ends with what follows it
        let padded = format!("{text} ");
        let mut scanner = Scanner::new(&padded);
        scanner.value().is_ok() && scanner.next() == Err(Fault::Incomplete)
    }

    #[test]
    fn agrees_with_serde_json_on_a_table() {
        for text in [
            "{}",
            "[]",
            "[[],{}]",
            r#"{"a":1,"b":[1,2,{"c":null}],"d":true,"e":false}"#,
            "0",
            "-0",
            "01",
            "1.",
            "1.5e+7",
            "1e",
            "-",
            "+1",
            "1e999999999",
            r#""\u00e9\n\\\"""#,
            r#""\x""#,
            r#""\u12g4""#,
            "\"a\tb\"",
            "\"a\u{7f}b\"",
            "\"äöü€𐍈 plain text longer than eight\"",
            "NaN",
            "-Infinity",
            "nul",
            "nullx",
            "tru e",
            "{'a':1}",
            "{a:1}",
            r#"{"a" 1}"#,
            r#"{"a":}"#,
            r#"{"a":1,}"#,
            "[1,]",
            "[,1]",
            "[1 2]",
            "[1}",
            r#"{"a":1]"#,
            "[1]]",
            "// c\n1",
            "",
            " ",
        ] {
            let serde = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
            assert_eq!(accepts(text), serde, "{text:?}");
        }
    }

    #[test]
    fn agrees_with_serde_json_on_mutations() {
        let sound =
            r#"{"a":[1,-2.5e3,"x\u00e9\\ y",{"b":null,"c":[true,false,[]]}],"dd":"0123456789"}"#;
        let spare = b"{}[]\",:\\ue1.-ntf \x01";
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let mut accepted = 0;
        for _ in 0..20_000 {
            let mut bytes = sound.as_bytes().to_vec();
            for _ in 0..=random(2) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = spare[random(spare.len())],
                    1 => bytes.insert(at, spare[random(spare.len())]),
                    _ => {
                        bytes.remove(at);
                    }
                }
            }
            let text = String::from_utf8(bytes).unwrap();
            let serde = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            assert_eq!(accepts(&text), serde, "{text:?}");
            accepted += u32::from(serde);
        }
        assert!(accepted > 500, "{accepted} of the mutations are sound");
    }

    #[test]
    fn every_prefix_of_a_sound_value_is_incomplete() {
        let sound = r#"{"a":[1,-2.5e3,"x\u00e9\\ é",{"b":null}],"d":"0123456789 "}"#;
        for end in (0..sound.len()).filter(|end| sound.is_char_boundary(*end)) {
            assert_eq!(
                Scanner::new(&sound[..end]).value(),
                Err(Fault::Incomplete),
                "{end}"
            );
        }
        assert_eq!(Scanner::new(sound).value(), Ok(sound));
    }

    #[test]
    fn depth_is_bounded() {
        let deepest = DEEPEST as usize;
        let lawful = format!("{}{}", "[".repeat(deepest), "]".repeat(deepest));
        assert_eq!(Scanner::new(&lawful).value(), Ok(lawful.as_str()));
        let beyond = "[".repeat(10_000_000);
        assert_eq!(
            Scanner::new(&beyond).value(),
            Err(Fault::TooDeep { at: deepest })
        );
        let objects = r#"{"a":"#.repeat(deepest + 1);
        assert_eq!(
            Scanner::new(&objects).value(),
            Err(Fault::TooDeep { at: 5 * deepest })
        );
    }

    #[test]
    fn stops_at_the_first_byte_that_ends_a_plain_run() {
        for stop in [b'"', b'\\', 0, 0x1f] {
            for at in 0..40 {
                let mut bytes = vec![0xc3; 40];
                bytes[at] = stop;
                assert_eq!(plain_end(&bytes, 0), at, "{stop:#x}");
                bytes[at] = b' ';
                assert_eq!(plain_end(&bytes, 0), 40);
            }
        }
    }

    #[test]
    fn skips_in_any_pieces() {
        let text = r#"{"a":["}",{"b":"\"]\\"}]},"#;
        for size in 1..text.len() {
            let mut skipper = Skipper::default();
            let mut passed = 0;
            for piece in text.as_bytes().chunks(size) {
                let (used, ended) = skipper.skip(piece);
                passed += used;
                if ended {
                    break;
                }
            }
            assert_eq!(passed, text.len() - 1, "{size}");
        }
    }
}
