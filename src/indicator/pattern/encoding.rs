//! Bytes written as text: base16 and base64 (RFC 4648).

/// The bytes of hexadecimal text; `None` for an odd length or another character.
pub(super) fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(hex_digit(*high)? << 4 | hex_digit(*low)?),
            _ => None,
        })
        .collect()
}

/// The bytes of padded base64 text; `None` where it is not exactly that.
pub(super) fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let padding = text.iter().rev().take_while(|c| **c == b'=').count();
    if padding > 2 {
        return None;
    }
    let digits = text.get(..text.len() - padding)?;
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.chunks(4) {
        let mut bits: u32 = 0;
        for digit in group {
            bits = bits << 6 | u32::from(base64_digit(*digit)?);
        }
        let [_, first, second, third] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend_from_slice([first, second, third].get(..group.len().saturating_sub(1))?);
    }
    Some(bytes)
}

const fn hex_digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

const fn base64_digit(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_is_well_formed() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("616C", Some(b"al")),
            ("616", None),
            ("6g", None),
        ] {
            assert_eq!(decode_hex(text.as_bytes()).as_deref(), bytes, "{text}");
        }
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("YWxpY2U=", Some(b"alice")),
            ("AQIDBA==", Some(&[1, 2, 3, 4])),
            ("/+8A", Some(&[0xff, 0xef, 0x00])),
            ("AQI", None),
            ("A===", None),
            ("====", None),
            ("A=BC", None),
            ("AQ_D", None),
        ] {
            assert_eq!(decode_base64(text.as_bytes()).as_deref(), bytes, "{text}");
        }
    }
}
