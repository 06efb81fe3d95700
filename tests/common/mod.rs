//! What tests of the command share: running it as a user does, in a folder of its own.

#![allow(dead_code, reason = "each file of tests uses a part of this")]

pub(crate) mod live;

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;

/// The capture that is shipped.
pub(crate) const CAPTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/sample/capture.pcap");

/// The bundle that is shipped with it.
pub(crate) const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/sample/bundle.json");

/// The list that is shipped with it.
pub(crate) const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/sample/list.txt");

/// What a run of the command left behind.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code; -1: ended by a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Ran {
    /// Asserts the exit code, and shows what was said where it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }

    /// Asserts that standard error has all of these.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.err.contains(part),
                "'{part}' is missing in: {}",
                self.err
            );
        }
        self
    }

    /// Asserts that standard error is empty.
    #[track_caller]
    pub(crate) fn says_nothing(self) -> Self {
        assert_eq!(self.err, "");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// A folder for one test, removed with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes an empty folder.
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "watchpost-test-{}-{}",
            std::process::id(),
            MADE.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Where a file of it is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and the folder it is in.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Reads a file.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Reads a file of JSON lines.
    #[track_caller]
    pub(crate) fn lines(&self, name: &str) -> Vec<Value> {
        lines(&String::from_utf8(self.read(name)).unwrap())
    }

    /// Reads a file of one JSON value.
    #[track_caller]
    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Runs the command in this folder; arguments are separated by blanks.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        self.run_with(&arguments.split_whitespace().collect::<Vec<_>>(), b"")
    }

    /// Runs the command in this folder, with something on its standard input.
    pub(crate) fn run_with(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchpost"))
            .args(arguments)
            .current_dir(&self.0)
            .env_remove("NO_COLOR")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let output = std::thread::scope(|scope| {
            // a command that fails early reads nothing of it
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output().unwrap()
        });
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // what is left of it is in the folder for temporary files
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The values of JSON lines.
pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A text at a JSON pointer, or none.
pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The shipped bundle, to be changed.
pub(crate) fn bundle() -> Value {
    serde_json::from_slice(&fs::read(BUNDLE).unwrap()).unwrap()
}

/// The indicator of the shipped bundle that has this name.
#[track_caller]
pub(crate) fn indicator<'b>(bundle: &'b mut Value, name: &str) -> &'b mut Value {
    let objects = bundle["objects"].as_array_mut().unwrap();
    objects
        .iter_mut()
        .find(|o| o["type"] == "indicator" && o["name"] == name)
        .unwrap_or_else(|| panic!("no indicator is named {name}"))
}

/// The folder of shared captures and checks, where there is one. Says so where there is none.
pub(crate) fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("WATCHPOST_SHARED").map_or_else(beside, PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    println!("skipped: ../shared is missing");
    None
}

/// Whether Python has these modules. Says so where it has not.
pub(crate) fn python_has(modules: &str) -> bool {
    let has = Command::new("python3")
        .args(["-c", &format!("import {modules}")])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has {
        println!("skipped: python3 with {modules} is missing");
    }
    has
}
