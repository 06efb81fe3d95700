//! Laws: nothing panics, no secret is shown.

use super::EXAMPLE;
use super::uncommented;
use crate::config::Config;
use crate::config::key;

/// What no message may hold.
const SECRET: &str = "hunter2-Zq9";

/// A small generator of numbers (xorshift64*), seeded.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Everything that is said of a text.
fn said(text: &str) -> String {
    match Config::parse("watchpost.toml", text) {
        Ok(loaded) => format!("{loaded:?}{:#?}{}", loaded, loaded.warnings.join("\n")),
        Err(error) => format!("{error}{error:?}"),
    }
}

#[test]
fn mutations_never_panic() {
    const PIECES: [&str; 20] = [
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        ".",
        ",",
        "#",
        "\n",
        "\0",
        "\u{fc}",
        "-1",
        "9999999999999999999",
        "nan",
        "true",
        "0x",
    ];
    let texts = [EXAMPLE.to_owned(), uncommented()];
    let (mut accepted, mut refused) = (0, 0);
    for seed in 1..=1_500_u64 {
        let mut numbers = Numbers(seed);
        let mut text: Vec<char> = texts[numbers.below(2)].chars().collect();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(text.len());
            let end = (at + numbers.below(12)).min(text.len());
            match numbers.below(4) {
                0 => text.truncate(at),
                1 => {
                    let other = numbers.below(text.len());
                    let copied: Vec<char> = text[at..end].to_vec();
                    text.splice(other..other, copied);
                }
                2 => {
                    text.drain(at..end);
                }
                _ => {
                    let piece = PIECES[numbers.below(PIECES.len())];
                    text.splice(at..end, piece.chars());
                }
            }
        }
        let text: String = text.into_iter().collect();
        match Config::parse("watchpost.toml", &text) {
            Ok(_) => accepted += 1,
            Err(error) => {
                refused += 1;
                assert!(!error.problem.is_empty(), "seed {seed}");
                let one_line = !error.problem.contains('\n') && error.problem.len() < 600;
                assert!(one_line, "seed {seed}: {error}");
            }
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}

/// A key that is accepted and read by nothing would be a promise that is not kept.
#[test]
fn every_key_is_read() {
    let mut cases = Vec::new();
    for (part, keys) in [
        ("sensor", &key::SENSOR[..]),
        ("rules", &key::RULES),
        ("privacy", &key::PRIVACY),
        ("block", &key::BLOCK),
    ] {
        for key in keys {
            let sensor = match part {
                "sensor" => "",
                _ => "[sensor]\nname = \"a\"\n",
            };
            // a sensor needs its name
            let name = match (part, *key) {
                ("sensor", "name") | ("rules" | "privacy" | "block", _) => "",
                _ => "name = \"a\"\n",
            };
            cases.push((*key, format!("{sensor}[{part}]\n{name}{key} = 0.5\n")));
        }
    }
    for kind in key::KINDS {
        let tables = ["query", "limits"];
        let inner = [&key::QUERY[..], &key::LIMITS];
        let mut keys: Vec<(&str, String)> = Vec::new();
        for key in key::keys_of(kind) {
            keys.push((key, format!("{key} = 0.5")));
            if let Some(at) = tables.iter().position(|table| *table == key) {
                keys.extend(
                    inner[at]
                        .iter()
                        .map(|leaf| (*leaf, format!("{key}.{leaf} = 0.5"))),
                );
            }
        }
        for (key, line) in keys {
            let mut text = "[sensor]\nname = \"a\"\n[[exchange]]\n".to_owned();
            for (needed, value) in [
                ("name", "a"),
                ("kind", kind),
                ("url", "https://a.example/"),
                ("path", "a"),
                ("token_file", "a"),
            ] {
                let has = key::keys_of(kind).contains(&needed);
                if has && needed != key && (needed != "token_file" || kind == "misp") {
                    text.push_str(&format!("{needed} = \"{value}\"\n"));
                }
            }
            cases.push((key, format!("{text}{line}\n")));
        }
    }
    assert!(cases.len() > 100);
    for (key, text) in cases {
        let error = Config::parse("watchpost.toml", &text).expect_err(&text);
        let expected = format!("`{key}` takes ");
        assert!(error.problem.starts_with(&expected), "{text}\n{error}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    for open in ["[", "{a=", "a."] {
        let text = format!("a = {}", open.repeat(100_000));
        assert!(Config::parse("a", &text).is_err());
    }
}

#[test]
fn no_message_shows_a_secret() {
    let mut texts = Vec::new();
    let literals = key::LITERAL_SECRETS.iter().map(ToString::to_string);
    let stems = ["password", "token", "pseudonym_key"];
    let references = stems
        .iter()
        .flat_map(|stem| ["env", "credential"].map(|way| format!("{stem}_{way}")));
    let keys: Vec<String> = literals.chain(references).collect();
    for kind in key::KINDS {
        for key in &keys {
            for value in [
                // no value of a key that names one: a blank, a slash
                format!("\"{SECRET} /\""),
                format!("'{SECRET} /'"),
                format!("\"\"\"\n{SECRET} /\"\"\""),
                format!("[\"{SECRET}\"]"),
                format!("{{ a = \"{SECRET}\" }}"),
                format!("\"{SECRET}"),
                SECRET.to_owned(),
                format!("\"{SECRET}\\q\""),
            ] {
                for place in [
                    format!("[[exchange]]\nname = \"a\"\nkind = \"{kind}\"\n"),
                    "[[exchange]]\n".to_owned(),
                    "[privacy]\n".to_owned(),
                    "[sensor]\n".to_owned(),
                    String::new(),
                ] {
                    texts.push(format!("{place}{key} = {value}\n"));
                }
            }
        }
        for address in [
            format!("https://sensor:{SECRET}@a.example/"),
            format!("ftp://sensor:{SECRET}@a.example/"),
            format!("sensor:{SECRET}@a.example/"),
            format!("https://sensor:{SECRET}?/@a.example/"),
            format!("https://sensor:/?{SECRET}@a.example/"),
            format!("https://{SECRET}@a.example/"),
            format!("https://a.example/?key={SECRET}"),
            format!("https://a.example/#key={SECRET}"),
            format!("http://a.example/?key={SECRET}"),
            format!("https://a.example:0/?key={SECRET}"),
            format!("https:///?key={SECRET}"),
            format!("https://a.example/?key={SECRET} "),
            format!("https://a.example/?key={SECRET}#a"),
            format!("https://a.example/?key={SECRET}{}", "a".repeat(3_000)),
        ] {
            texts.push(format!(
                "[sensor]\nname = \"a\"\n[[exchange]]\nname = \"a\"\nkind = \"{kind}\"\n\
                 token_file = \"a\"\nurl = \"{address}\"\n"
            ));
        }
        texts.push(format!(
            "[[exchange]]\nname = \"a\"\nkind = \"{kind}\"\nusername = \"sensor:{SECRET}\"\n\
             url = \"https://a.example/\"\n"
        ));
    }
    for text in &texts {
        let said = said(text);
        assert!(!said.contains(SECRET), "{text}\n{said}");
    }
    // and however such a file is broken
    for seed in 1..=20_000_u64 {
        let mut numbers = Numbers(seed);
        let text = &texts[numbers.below(texts.len())];
        let around: Vec<usize> = text
            .char_indices()
            .map(|(at, _)| at)
            .filter(|at| !inside_secret(text, *at))
            .collect();
        let at = around[numbers.below(around.len())];
        let piece = ["\"", "'", "\n", "=", "]", "}", "\\", " ", "#"][numbers.below(9)];
        let broken = format!("{}{piece}{}", &text[..at], &text[at..]);
        let said = said(&broken);
        assert!(!said.contains(SECRET), "seed {seed}: {broken}\n{said}");
    }
}

fn inside_secret(text: &str, at: usize) -> bool {
    let start = text.find(SECRET).unwrap();
    (start + 1..start + SECRET.len()).contains(&at)
}
