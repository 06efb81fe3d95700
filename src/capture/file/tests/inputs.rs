//! Folders, files and standard input as a user names them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process;

use super::*;
use crate::capture::Input;
use crate::capture::expand_inputs;

/// A folder of its own for one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("watchpost-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small_capture() -> Vec<u8> {
    let order = ByteOrder::Little;
    let mut bytes = pcap_header(order, 0xa1b2_c3d4, 1);
    bytes.extend(pcap_record(order, 1, 0, b"frame"));
    bytes
}

fn names(folder: &Path, inputs: &[Input]) -> Vec<String> {
    let name = |input: &Input| match input {
        Input::Path(path) => path.strip_prefix(folder).unwrap().display().to_string(),
        Input::StandardInput => "-".to_owned(),
    };
    inputs.iter().map(name).collect()
}

#[test]
fn a_folder_stands_for_its_captures() {
    let folder = Folder::new("captures");
    folder.write("b.pcap", &small_capture());
    folder.write("a.log", &small_capture());
    folder.write("notes.pcap", b"these are only notes about captures");
    folder.write("empty.pcap", b"");
    folder.write("c/d/deep.pcap", &small_capture());
    folder.write("z.pcap", &small_capture());
    folder.write("1/2/3/4/5/6/7/8/9/too-deep.pcap", &small_capture());
    symlink(&folder.0, folder.0.join("circle")).unwrap();
    symlink(folder.0.join("b.pcap"), folder.0.join("link.pcap")).unwrap();

    let named = [
        folder.0.join("z.pcap"),
        PathBuf::from("-"),
        folder.0.clone(),
    ];
    let expanded = expand_inputs(&named).unwrap();
    assert_eq!(
        names(&folder.0, &expanded.inputs),
        [
            "z.pcap",
            "-",
            "a.log",
            "b.pcap",
            "c/d/deep.pcap",
            "link.pcap",
            "z.pcap"
        ]
    );
    let passed_over: Vec<_> = expanded
        .passed_over
        .iter()
        .map(|passed| {
            assert!(passed.reason.contains(&passed.path.display().to_string()));
            let path = passed.path.strip_prefix(&folder.0).unwrap();
            path.display().to_string()
        })
        .collect();
    assert_eq!(
        passed_over,
        ["1/2/3/4/5/6/7/8/9", "circle", "empty.pcap", "notes.pcap"]
    );
    let reader = CaptureReader::open(expanded.inputs[0].clone()).unwrap();
    let total = small_capture().len() as u64;
    assert_eq!(reader.progress().total, Some(total));
    assert_eq!(read_on(reader).frames().len(), 1);
}

#[test]
fn progress_counts_the_bytes_of_the_file() {
    let folder = Folder::new("progress");
    folder.write("a.pcap", &small_capture());
    let path = folder.0.join("a.pcap");
    let mut reader = CaptureReader::open(Input::Path(path)).unwrap();
    let mut block = Block::default();
    while reader.next_block(&mut block).unwrap() {}
    let progress = reader.progress();
    assert_eq!(Some(progress.consumed), progress.total);
}

#[test]
fn refuses_what_names_no_capture() {
    let folder = Folder::new("none");
    folder.write("notes.txt", b"only notes");
    let missing = folder.0.join("missing.pcap");
    for (paths, expected) in [
        (
            vec![missing.clone()],
            format!(
                "{}: cannot be opened: No such file or directory (os error 2)",
                missing.display()
            ),
        ),
        (
            vec![folder.0.clone()],
            format!(
                "{}: no capture in this folder (1 files passed over); watchpost reads pcap and \
                 pcapng, plain or compressed by gzip or zstd",
                folder.0.display()
            ),
        ),
        (
            vec![PathBuf::from("-"), PathBuf::from("-")],
            "standard input is named twice as a capture; name `-` once".to_owned(),
        ),
    ] {
        assert_eq!(expand_inputs(&paths).unwrap_err().to_string(), expected);
    }
    // a file that is named itself is left to the reader
    let notes = folder.0.join("notes.txt");
    let expanded = expand_inputs(std::slice::from_ref(&notes)).unwrap();
    assert_eq!(expanded.inputs, [Input::Path(notes.clone())]);
    let error = CaptureReader::open(Input::Path(notes)).err().unwrap();
    assert!(matches!(error, CaptureError::NotCapture { .. }), "{error}");
}
