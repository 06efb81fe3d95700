//! Laws of loading: chunks do not matter, nothing panics, what is cut short stays out.

use super::*;
use std::io::Read;

/// Gives at most so many bytes a read.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.1.min(buffer.len()).min(self.0.len());
        buffer[..size].copy_from_slice(&self.0[..size]);
        self.0 = &self.0[size..];
        Ok(size)
    }
}

#[test]
fn chunks_do_not_matter() {
    let list = "\u{feff}# list\r\n192.0.2.1\r\n\r\nbücher.example ; x\nbad line\n*.a.example\nhxxp://a[.]example/x";
    for text in [
        rich_bundle(),
        list.to_owned(),
        misp::rich_event(),
        format!("[{}, 7]", misp::rich_event()),
        rich_bundle().replace("{}\n]", "nul\n]"),
    ] {
        let (record, whole) = load_text(&text);
        for size in 1..=64 {
            let mut trickled = Record::default();
            let mut reader = Trickle(text.as_bytes(), size);
            let limits = Limits {
                // as small as the first bytes that tell what a file is may be
                window: 24 + size,
                ..Limits::default()
            };
            let loaded = load_reader("in/x", &mut reader, &limits, &mut trickled, &mut |_| {});
            assert_eq!(trickled, record, "{size}");
            assert_eq!(format!("{loaded:?}"), format!("{whole:?}"), "{size}");
        }
    }
}

#[test]
fn every_truncation_is_refused_cleanly() {
    for text in [
        rich_bundle(),
        misp::rich_event(),
        format!("{{\"response\":[{}]}}", misp::rich_event()),
    ] {
        refuse_truncations(&text);
    }
}

fn refuse_truncations(text: &str) {
    let sound = text.trim_end().len();
    for end in 0..sound {
        let (record, loaded) = load_bytes(&text.as_bytes()[..end], &Limits::default());
        let error = loaded.fatal.unwrap_or_else(|| panic!("{end} bytes load"));
        assert!(record.calls.is_empty());
        assert!(
            matches!(
                error.cause,
                Cause::CutShort | Cause::Empty | Cause::NotUtf8(_)
            ),
            "{end}: {error}"
        );
    }
    assert!(
        load_bytes(&text.as_bytes()[..sound], &Limits::default())
            .1
            .fatal
            .is_none()
    );
}

#[test]
fn mutations_never_panic() {
    let text = rich_bundle();
    let event = misp::rich_event();
    let texts = [
        "# x\n192.0.2.1\n2001:db8::/33\n[2001:db8::1]:443 // y\n*.bücher.example\nhxxps://a[.]example/\n",
        "#fields\tindicator\tindicator_type\tmeta.desc\n192.0.2.1\tIntel::ADDR\tx\na.example/é\tIntel::URL\n",
        "0.0.0.0 a.example b.example # c\n127.0.0.1\tbücher.example\n",
        "# x\n\"note\";\"url\"\n\"a\n\"\"b;\";\"http://a.example/\"\n;http://b.example/é\n",
        "YS5leGFtcGxl\naHR0cDovL2IuZXhhbXBsZS94,3\n192.0.2.1\n",
        &event,
        &event,
        &text,
        &text,
        &text,
    ];
    let spare = b"{}[]\",:\\u1.-\x00\xff\xc3#;/\n";
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let (mut loads, mut fatal) = (0, 0);
    for round in 0..10_000 {
        let mut bytes = texts[round % texts.len()].as_bytes().to_vec();
        for _ in 0..=random(3) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = spare[random(spare.len())],
                1 => bytes.insert(at, spare[random(spare.len())]),
                2 => bytes[at] ^= 1 << random(8),
                _ => drop(bytes.splice(at..(at + random(9)).min(bytes.len()), [])),
            }
        }
        let limits = Limits {
            window: 64 + random(500),
            largest_object: 400 + random(1_000),
            largest_event: 400 + random(4_000),
            ..Limits::default()
        };
        let (_, loaded) = load_bytes(&bytes, &limits);
        fatal += u32::from(loaded.fatal.is_some());
        loads += u32::from(loaded.report.loaded > 0);
    }
    assert!(loads > 3_000 && fatal > 1_000, "{loads} {fatal}");
}

#[test]
fn an_object_too_large_costs_itself_alone() {
    let limits = Limits {
        largest_object: 2_000,
        window: 256,
        ..Limits::default()
    };
    let one = bundle_with(&[]);
    let object = &one[one.find("[{").unwrap() + 1..one.len() - 2];
    let large = |bytes: usize| {
        let blob = "\\\"{[é".repeat(bytes / 6);
        object.replacen("}", &format!(",\"x_blob\":\"{blob}\"}}"), 1)
    };
    for bytes in [3_000, 50_000] {
        let text = one.replacen(object, &format!("{},{object}", large(bytes)), 1);
        let (_, loaded) = load_bytes(text.as_bytes(), &limits);
        assert_eq!((loaded.report.loaded, loaded.report.refused.len()), (1, 1));
        assert_eq!(loaded.report.refused[0].object, ID);
        assert_eq!(loaded.report.refused[0].path, "objects[0]");
        assert!(
            loaded.report.refused[0]
                .reason
                .contains("larger than 2000 bytes")
        );
    }
    assert_eq!(
        load_bytes(large(1_200).as_bytes(), &limits).1.report.loaded,
        0
    );
    let member = one.replacen('{', &format!("{{\"x\":\"{}\",", "A".repeat(9_000)), 1);
    let error = load_bytes(member.as_bytes(), &limits).1.fatal.unwrap();
    assert!(matches!(error.cause, Cause::TooLarge(2_000)), "{error}");
}

#[test]
fn endless_white_space_takes_no_room() {
    let mut record = Record::default();
    let blank = std::io::repeat(b' ').take(100 << 20);
    let one = bundle_with(&[]);
    for (mut reader, fatal) in [
        (Box::new(blank) as Box<dyn Read>, true),
        (
            Box::new(std::io::repeat(b'\n').take(20 << 20).chain(one.as_bytes())),
            false,
        ),
        (
            Box::new(one.as_bytes().chain(std::io::repeat(b'\n').take(20 << 20))),
            false,
        ),
    ] {
        let limits = Limits {
            largest_object: 1 << 20,
            ..Limits::default()
        };
        let loaded = load_reader("x", &mut reader, &limits, &mut record, &mut |_| {});
        assert_eq!(loaded.fatal.is_some(), fatal);
    }
}
