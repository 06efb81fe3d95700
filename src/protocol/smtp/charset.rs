//! Character sets of headers.
//!
//! UTF-8 and the one-byte sets that mail is written in; what is written in another stays as it
//! was sent.

/// Text of bytes in a character set by its name (RFC 2047 2); `None` where the set is not known.
pub(super) fn decode(charset: &str, bytes: &[u8]) -> Option<String> {
    let upper = match charset.to_ascii_lowercase().as_str() {
        "utf-8" | "utf8" | "us-ascii" | "ascii" => {
            return Some(String::from_utf8_lossy(bytes).into_owned());
        }
        "iso-8859-1" | "latin1" | "windows-1252" | "cp1252" => WINDOWS_1252,
        "windows-1250" | "cp1250" => WINDOWS_1250,
        "windows-1251" | "cp1251" => WINDOWS_1251,
        "iso-8859-2" | "latin2" => ISO_8859_2,
        "iso-8859-5" => ISO_8859_5,
        "iso-8859-15" | "latin9" => ISO_8859_15,
        "koi8-r" | "koi8-u" => KOI8_R,
        _ => return None,
    };
    let upper: Vec<char> = upper.chars().collect();
    let character = |byte: &u8| match byte.checked_sub(0x80) {
        None => char::from(*byte),
        Some(at) => upper
            .get(usize::from(at))
            .copied()
            .unwrap_or(char::REPLACEMENT_CHARACTER),
    };
    Some(bytes.iter().map(character).collect())
}

/// 0x80 to 0xff.
const WINDOWS_1250: &str = concat!(
    "€�‚�„…†‡�‰Š‹ŚŤŽŹ�‘’“”•–—�™š›śťžź",
    "\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\u{ad}®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż",
    "ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß",
    "ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
);

/// 0x80 to 0xff.
const WINDOWS_1251: &str = concat!(
    "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—�™љ›њќћџ",
    "\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕї",
    "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
);

/// 0x80 to 0xff.
const WINDOWS_1252: &str = concat!(
    "€�‚ƒ„…†‡ˆ‰Š‹Œ�Ž��‘’“”•–—˜™š›œ�žŸ",
    "\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß",
    "àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
);

/// 0x80 to 0xff.
const ISO_8859_2: &str = concat!(
    "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}",
    "\u{a0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{ad}ŽŻ°ą˛ł´ľśˇ¸šşťź˝žż",
    "ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß",
    "ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙",
);

/// 0x80 to 0xff.
const ISO_8859_5: &str = concat!(
    "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}",
    "\u{a0}ЁЂЃЄЅІЇЈЉЊЋЌ\u{ad}ЎЏАБВГДЕЖЗИЙКЛМНОП",
    "РСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмноп",
    "рстуфхцчшщъыьэюя№ёђѓєѕіїјљњћќ§ўџ",
);

/// 0x80 to 0xff.
const ISO_8859_15: &str = concat!(
    "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\u{8d}\u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}",
    "\u{a0}¡¢£€¥Š§š©ª«¬\u{ad}®¯°±²³Žµ¶·ž¹º»ŒœŸ¿",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß",
    "àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
);

/// 0x80 to 0xff.
const KOI8_R: &str = concat!(
    "─│┌┐└┘├┤┬┴┼▀▄█▌▐░▒▓⌠■∙√≈≤≥\u{a0}⌡°²·÷",
    "═║╒ё╓╔╕╖╗╘╙╚╛╜╝╞╟╠╡Ё╢╣╤╥╦╧╨╩╪╫╬©",
    "юабцдефгхийклмнопярстужвьызшэщчъ",
    "ЮАБЦДЕФГХИЙКЛМНОПЯРСТУЖВЬЫЗШЭЩЧЪ",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_whole() {
        for (charset, bytes, text) in [
            ("UTF-8", &b"na\xc3\xafve"[..], Some("na\u{ef}ve")),
            ("utf-8", b"\xff", Some("\u{fffd}")),
            ("ISO-8859-1", b"\xa3\xff", Some("\u{a3}\u{ff}")),
            ("windows-1252", b"\x80", Some("\u{20ac}")),
            ("windows-1250", b"\x8a", Some("\u{160}")),
            ("windows-1251", b"\xcf\xff", Some("\u{41f}\u{44f}")),
            ("iso-8859-2", b"\xa1", Some("\u{104}")),
            ("iso-8859-5", b"\xbf\xff", Some("\u{41f}\u{45f}")),
            ("iso-8859-15", b"\xa4", Some("\u{20ac}")),
            ("KOI8-R", b"\xf0\xff", Some("\u{41f}\u{42a}")),
            ("x-unknown", b"a", None),
        ] {
            assert_eq!(decode(charset, bytes).as_deref(), text, "{charset}");
        }
        for table in [
            WINDOWS_1250,
            WINDOWS_1251,
            WINDOWS_1252,
            ISO_8859_2,
            ISO_8859_5,
            ISO_8859_15,
            KOI8_R,
        ] {
            assert_eq!(table.chars().count(), 128);
        }
    }
}
