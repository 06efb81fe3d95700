//! The shared conformance bundles and MISP events: each must come to what their expectations say.
//!
//! Patterns are not compiled here, so that files which are broken within a
//! pattern alone only have to load cleanly.

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use watchpost::exchange::Limits;
use watchpost::exchange::LoadedSource;
use watchpost::exchange::load;
use watchpost::exchange::load_within;
use watchpost::indicator::Indicator;
use watchpost::indicator::Intake;
use watchpost::indicator::Refusal;
use watchpost::indicator::Taken;
use watchpost::indicator::Tlp;
use watchpost::time::Timestamp;

/// Keeps the newest version of each indicator, the first of equals.
#[derive(Default)]
struct Newest {
    indicators: BTreeMap<String, Kept>,
    taken: u64,
}

struct Kept {
    pattern: String,
    modified: Timestamp,
    valid_from: Timestamp,
    valid_until: Option<Timestamp>,
    revoked: bool,
}

impl Intake for Newest {
    fn begin_source(&mut self, _: &str) {}

    fn abandon_source(&mut self) {
        *self = Self::default();
    }

    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal> {
        self.taken += 1;
        let newest = self
            .indicators
            .get(&*indicator.id)
            .map(|kept| kept.modified);
        if newest.is_none_or(|newest| newest < indicator.modified) {
            let kept = Kept {
                pattern: indicator.pattern.to_string(),
                modified: indicator.modified,
                valid_from: indicator.valid_from,
                valid_until: indicator.valid_until,
                revoked: indicator.revoked,
            };
            self.indicators.insert(indicator.id.to_string(), kept);
        }
        Ok(if indicator.revoked {
            Taken::Revoked
        } else {
            Taken::Loaded
        })
    }

    fn context(&mut self, _: &str, _: &str, _: &str) {}
    fn relationship(&mut self, _: &str, _: &str, _: &str) {}
    fn marking(&mut self, _: &str, _: Tlp) {}
}

impl Newest {
    /// Patterns that match at the end of 2024.
    fn active(&self) -> Vec<&str> {
        let now = Timestamp::parse_rfc3339("2024-12-31T00:00:00Z").unwrap();
        self.indicators
            .values()
            .filter(|kept| !kept.revoked && kept.valid_from <= now)
            .filter(|kept| kept.valid_until.is_none_or(|until| now < until))
            .map(|kept| &*kept.pattern)
            .collect()
    }
}

/// The folder of shared vectors; `None`, said with a word, where it is missing.
fn shared(folder: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("WATCHPOST_SHARED") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let folder = root.join(folder);
    if !folder.is_dir() {
        eprintln!("skipped: {} is missing", folder.display());
        return None;
    }
    Some(folder)
}

fn load_one(path: &Path) -> (Newest, LoadedSource) {
    let mut newest = Newest::default();
    let mut loaded = load(&[path.to_owned()], &mut newest, &mut |_| {});
    assert_eq!(loaded.len(), 1);
    (newest, loaded.remove(0))
}

#[test]
fn bundles_come_to_what_is_expected() {
    let Some(folder) = shared("conformance/bundles") else {
        return;
    };
    let expectations = std::fs::read_to_string(folder.join("expectations.json")).unwrap();
    let expectations: serde_json::Value = serde_json::from_str(&expectations).unwrap();
    let mut seen = 0;
    for (file, expected) in expectations["files"].as_object().unwrap() {
        let (newest, loaded) = load_one(&folder.join(file));
        let strings = |value: &serde_json::Value| -> Vec<String> {
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            list.iter()
                .map(|v| v.as_str().unwrap().to_owned())
                .collect()
        };
        let refused = loaded.report.refused.len();
        let outcome = match &loaded.fatal {
            Some(error) => {
                assert_eq!(newest.taken, 0, "{file}");
                assert!(error.to_string().contains(file.as_str()), "{error}");
                "reject"
            }
            None if refused > 0 => "skip-object",
            None if file.starts_with("invalid/") => "accept-object",
            None => "accept",
        };
        let mut allowed = strings(&expected["alternatives"]);
        allowed.push(expected["outcome"].as_str().unwrap().to_owned());
        if allowed.iter().any(|allowed| allowed == "accept") {
            allowed.push("accept-object".to_owned());
        }
        // what is broken within a pattern, the compiler of patterns refuses
        let compiler_decides = file.starts_with("invalid/pattern-") && outcome == "accept-object";
        assert!(
            compiler_decides || allowed.iter().any(|allowed| allowed == outcome),
            "{file}: {outcome} is none of {allowed:?}: {loaded:?}"
        );
        if outcome == "accept" {
            let count = |key: &str| expected[key].as_u64();
            let indicators = newest.indicators.len() as u64;
            let active = newest.active();
            assert_eq!(
                Some(indicators),
                count("indicators").or(Some(indicators)),
                "{file}"
            );
            let duplicates = file.starts_with("valid/revoked");
            assert!(
                duplicates || count("active_indicators") == Some(active.len() as u64),
                "{file}: {active:?}"
            );
            if let Some(patterns) = expected.get("active_patterns") {
                assert_eq!(active, strings(patterns), "{file}");
            }
        }
        if loaded.fatal.is_none() {
            for pattern in strings(&expected["active_patterns_must_include"]) {
                assert!(newest.active().contains(&&*pattern), "{file}: {pattern}");
            }
        }
        seen += 1;
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn misp_events_load_or_say_why_not() {
    let Some(folder) = shared("conformance/misp/events") else {
        return;
    };
    for (file, refusals, message) in [
        ("eset-bespin.json", 0, ""),
        ("eset-kessel.json", 0, ""),
        (
            "eset-cloudmensis.misp.json",
            11,
            "its event is not published",
        ),
    ] {
        let (newest, loaded) = load_one(&folder.join(file));
        assert!(loaded.fatal.is_none(), "{file}: {:?}", loaded.fatal);
        assert_eq!(newest.taken, 0, "{file}");
        assert_eq!(loaded.report.refused.len(), refusals, "{file}");
        for refused in loaded.report.refused {
            assert!(refused.reason.contains(message), "{file}: {refused:?}");
        }
    }
    let (_, loaded) = load_one(&folder.join("eset-truncated-4000-bytes.json"));
    let error = loaded.fatal.expect("it is cut short").to_string();
    assert!(error.contains("ends within the JSON document"), "{error}");
}

#[test]
fn a_misp_feed_loads() {
    let Some(folder) = shared("conformance/misp/feed-example") else {
        return;
    };
    let mut newest = Newest::default();
    let loaded = load(std::slice::from_ref(&folder), &mut newest, &mut |_| {});
    // one of each event, in the order of their ids; hashes.csv is no source
    let counts: Vec<_> = loaded
        .iter()
        .map(|source| {
            assert!(
                source.fatal.is_none() && source.skipped.is_none(),
                "{source:?}"
            );
            let report = &source.report;
            (
                report.loaded,
                report.revoked,
                report.refused.len(),
                report.unseeable.len(),
            )
        })
        .collect();
    assert_eq!(counts, [(4, 1, 0, 1), (6, 0, 0, 2), (18, 0, 0, 1)]);
    let active = newest.active();
    for pattern in [
        "[domain-name:value = 'mixed.example']",
        "[ipv4-addr:value = '198.51.100.30']",
        "[ipv4-addr:value = '203.0.113.0/24']",
        "[domain-name:value = 'evil.example' OR ipv4-addr:value = '198.51.100.9']",
        "[file:hashes.'SHA-256' = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855']",
    ] {
        assert!(active.contains(&pattern), "{pattern}: {active:?}");
    }
    for never in ["8.8.8.8", "198.51.100.20", "EvilBot/1.0"] {
        assert!(
            !active.iter().any(|pattern| pattern.contains(never)),
            "{never}"
        );
    }
    // the manifest and the look-up table by themselves are no sources
    for (file, message) in [
        ("manifest.json", "the manifest"),
        ("hashes.csv", "hashes.csv"),
    ] {
        let (_, loaded) = load_one(&folder.join(file));
        let error = loaded.fatal.expect("no source").to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn warninglists_belong_to_the_rules() {
    let Some(folder) = shared("conformance/misp/warninglists") else {
        return;
    };
    let mut newest = Newest::default();
    let loaded = load(&[folder], &mut newest, &mut |_| {});
    assert!(loaded.len() > 5);
    for source in loaded {
        let error = source.fatal.expect("no source").to_string();
        assert!(error.contains("name it with --rules"), "{error}");
    }
    assert_eq!(newest.taken, 0);
}

#[test]
fn any_window_reads_the_same() {
    let Some(folder) = shared("conformance/bundles") else {
        return;
    };
    for file in [
        "valid/oasis-apt1.json",
        "valid/escaped-unicode.json",
        "invalid/nan.json",
    ] {
        let (whole, expected) = load_one(&folder.join(file));
        for window in [64, 1_000, 4_096] {
            let limits = Limits {
                window,
                ..Limits::default()
            };
            let mut newest = Newest::default();
            let loaded = load_within(&limits, &[folder.join(file)], &mut newest, &mut |_| {});
            assert_eq!(
                format!("{:?}", loaded[0]),
                format!("{expected:?}"),
                "{file} {window}"
            );
            assert_eq!(newest.active(), whole.active(), "{file} {window}");
        }
    }
}
