//! The architecture: which module may import which.
//!
//! The table below is the drawing. A module imports only what stands above it
//! there (a lower floor), or further to the left in its own line; what stands
//! in the same cell never imports each other. `src/lib.rs` says the same in
//! prose, and must agree.

use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Each floor from its first module to its last; modules of one cell are siblings.
const FLOORS: [&[&[&str]]; 10] = [
    /* 0 bytes and time */ &[&["octets", "time"]],
    /* 1 frames         */ &[&["capture"]],
    /* 2 packets        */ &[&["packet"]],
    /* 3 flows, streams */ &[&["flow"]],
    /* 4 messages       */ &[&["protocol"]],
    /* 5 meaning        */ &[&["observable"], &["indicator"]],
    /* 6 look-up        */ &[&["matcher"]],
    /* 7 consequences   */ &[&["verdict", "sighting"]],
    /* 8 edges          */ &[&["block", "exchange", "report", "store"]],
    /* 9 assembly       */ &[&["sensor"], &["config"], &["daemon"], &["cli"]],
];

/// What sees every floor: the library, the program, and the tests that run all targets of fuzzing.
const OVER_ALL: [&str; 3] = ["lib", "main", "fuzz"];

/// Where a module stands: its floor, and its cell within.
fn place_of(module: &str) -> Option<(usize, usize)> {
    FLOORS.iter().enumerate().find_map(|(floor, cells)| {
        let cell = cells
            .iter()
            .position(|siblings| siblings.contains(&module))?;
        Some((floor, cell))
    })
}

#[test]
fn every_import_goes_to_a_lower_floor() {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    assert!(files.len() > 50, "only {} files were found", files.len());
    let mut offences = Vec::new();
    for path in files {
        let content = fs::read_to_string(&path).unwrap();
        offences.extend(judge(path.strip_prefix(root()).unwrap(), &content));
    }
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn the_map_in_lib_agrees_with_the_drawing() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let drawn: Vec<(usize, &str)> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, cells)| cells.iter().copied().flatten().map(move |m| (floor, *m)))
        .collect();
    for (floor, module) in &drawn {
        let row = map
            .lines()
            .find(|line| line.starts_with(&format!("//! | {floor} |")));
        assert!(
            row.is_some_and(|row| row.contains(&format!("[`{module}`]"))),
            "the table of src/lib.rs does not have {module} on floor {floor}"
        );
    }
    let declared: Vec<&str> = map
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .filter(|module| !OVER_ALL.contains(module))
        .collect();
    for module in &declared {
        assert!(
            place_of(module).is_some(),
            "{module} has no floor: draw it in tests/floors.rs"
        );
    }
    assert_eq!(
        declared.len(),
        drawn.len(),
        "drawn, but not in src/lib.rs: {drawn:?}"
    );
}

#[test]
fn what_breaks_the_rules_is_found() {
    for (file, line, found) in [
        ("flow/tcp.rs", "use crate::packet::Packet;", None),
        ("flow/tcp.rs", "use crate::flow::Direction;", None),
        ("indicator/mod.rs", "use crate::observable::Place;", None),
        ("cli/replay.rs", "use crate::daemon::replay::Replay;", None),
        ("flow/tcp.rs", "    // see crate::matcher", None),
        (
            "flow/tcp.rs",
            "let a = \"//\"; // crate::matcher::Match",
            None,
        ),
        ("flow/tcp.rs", "    pub(in crate::flow) fn a() {}", None),
        ("flow/tcp.rs", "use super::table::Flow;", None),
        (
            "verdict/allowlist/value.rs",
            "use super::super::error::RulesError;",
            None,
        ),
        ("time.rs", "mod tests {\n    use super::*;\n}", None),
        (
            "flow/tcp.rs",
            "use crate::protocol::Parser;",
            Some("flow (floor 3) imports protocol (floor 4)"),
        ),
        (
            "flow/tcp.rs",
            "    let a = crate::matcher::Match::new();",
            Some("imports matcher (floor 6)"),
        ),
        (
            "flow/tcp.rs",
            "fn a(b: &crate::cli::Ended, c: crate::packet::Packet) {",
            Some("imports cli"),
        ),
        (
            "flow/tcp.rs",
            "let a = \"//\"; crate::cli::run()",
            Some("imports cli"),
        ),
        (
            "observable/mod.rs",
            "use crate::indicator::Details;",
            Some("observable (floor 5)"),
        ),
        (
            "verdict/mod.rs",
            "use crate::sighting::Sightings;",
            Some("sighting (floor 7)"),
        ),
        (
            "report/event.rs",
            "use crate::exchange::LoadError;",
            Some("exchange (floor 8)"),
        ),
        (
            "sensor/mod.rs",
            "use crate::daemon::Replay;",
            Some("daemon (floor 9)"),
        ),
        (
            "time.rs",
            "use crate::octets::Octets;",
            Some("octets (floor 0)"),
        ),
        (
            "flow/tcp.rs",
            "use crate::flew::Direction;",
            Some("flew, which has no floor"),
        ),
        (
            "report/event.rs",
            "pub use crate::matcher::Match;",
            Some("passes on matcher"),
        ),
        (
            "report/event.rs",
            "pub(crate) use crate::matcher::Match;",
            Some("passes on matcher"),
        ),
        (
            "flow/tcp.rs",
            "use crate::flow::{Direction, End};",
            Some("one import a line"),
        ),
        (
            "flow/tcp.rs",
            "use std::{fs, io};",
            Some("one import a line"),
        ),
        ("flow/tcp.rs", "use crate::{", Some("one import a line")),
        (
            "flow/tcp.rs",
            "use super::super::packet::Packet;",
            Some("leaves its module by super"),
        ),
        (
            "flow/mod.rs",
            "use super::packet::Packet;",
            Some("leaves its module by super"),
        ),
        (
            "flow/mod.rs",
            "    let a = super::packet::size();",
            Some("leaves its module by super"),
        ),
        (
            "time.rs",
            "use super::octets::Octets;",
            Some("leaves its module by super"),
        ),
    ] {
        let offences = judge(&Path::new("src").join(file), line);
        match found {
            None => assert!(offences.is_empty(), "{offences:?}"),
            Some(found) => {
                let all = offences.join("\n");
                assert!(all.contains(found), "{file}: {line}\nis told as: {all}");
                assert!(all.starts_with(&format!("src/{file}:1: ")), "{all}");
            }
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// What in a file breaks the rules: file, line, and how.
fn judge(path: &Path, content: &str) -> Vec<String> {
    let names: Vec<String> = path
        .with_extension("")
        .components()
        .skip(1)
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .filter(|name| name != "mod")
        .collect();
    let module = names[0].as_str();
    if OVER_ALL.contains(&module) {
        return Vec::new();
    }
    let mut offences = Vec::new();
    // where the modules within the file begin that are open
    let mut inline = Vec::new();
    for (number, line) in content.lines().enumerate() {
        let code = without_comment(line);
        let mut tell = |what: String| {
            offences.push(format!("{}:{}: {what}", path.display(), number + 1));
        };
        let statement = code.trim_start();
        let (is_import, passes_on) = match statement.strip_prefix("pub") {
            Some(rest) => {
                let rest = rest.find(") use ").map_or(rest, |at| &rest[at + 1..]);
                (rest.starts_with(" use "), rest.starts_with(" use "))
            }
            None => (statement.starts_with("use "), false),
        };
        if is_import && code.contains('{') {
            tell("one import a line, without braces".into());
        }
        for (at, _) in code.match_indices("crate::") {
            // not the end of another word
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let rest = &code[at + "crate::".len()..];
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            let target = &rest[..end.unwrap_or(rest.len())];
            if target.is_empty() || target == module {
                continue;
            }
            if let Some(offence) = compare(module, target) {
                tell(offence);
            } else if passes_on {
                tell(format!("{module} passes on {target}: name it where it is"));
            }
        }
        // files are formatted: a module within ends at a brace below its beginning
        let indent = code.len() - statement.len();
        let declared = statement.trim_start_matches("pub ").starts_with("mod ");
        if declared && statement.trim_end().ends_with('{') {
            inline.push(indent);
        } else if statement.starts_with('}') && inline.last() == Some(&indent) {
            inline.pop();
        }
        for (at, _) in code.match_indices("super::") {
            if code[..at].ends_with("super::") {
                continue;
            }
            let climbed = code[at..]
                .split("::")
                .take_while(|part| *part == "super")
                .count();
            if climbed >= names.len() + inline.len() {
                tell(format!(
                    "{module} leaves its module by super: name it from crate"
                ));
            }
        }
    }
    offences
}

/// Why one module may not import another; `None`: it may.
fn compare(module: &str, target: &str) -> Option<String> {
    let Some(own) = place_of(module) else {
        return Some(format!("{module} has no floor: draw it in tests/floors.rs"));
    };
    let Some(other) = place_of(target) else {
        return Some(format!("{module} imports {target}, which has no floor"));
    };
    (other >= own).then(|| {
        format!(
            "{module} (floor {}) imports {target} (floor {}): only what is drawn above or to the \
             left of it",
            own.0, other.0
        )
    })
}

/// A line up to its comment; `//` within quotes is none.
fn without_comment(line: &str) -> &str {
    let mut from = 0;
    while let Some(at) = line[from..].find("//").map(|at| from + at) {
        if line[..at].matches('"').count().is_multiple_of(2) {
            return &line[..at];
        }
        from = at + 2;
    }
    line
}
