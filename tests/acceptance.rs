//! The shared acceptance set: captures from the field, and what another program sees in them.

mod common;

use common::python_has;
use common::shared;
use std::process::Command;

/// Cases that do not pass yet, and what they wait for. One that passes is told, to be taken out.
const NOT_YET: [(&str, &str); 5] = [
    ("email-addr-patriots", "needs --deep"),
    ("file-ftp-exe", "needs --deep"),
    ("file-smb2-pdf", "needs --deep"),
    ("file-smtp-attachment", "needs --deep"),
    (
        "file-smtp-attachment-2",
        "its digests are of frames joined, not of the stream",
    ),
];

/// Cases that cannot pass in a format, and why.
const NEVER: [(&str, &str, &str); 1] = [(
    "plain",
    "validity-expired",
    "a list cannot say when its values end",
)];

#[test]
fn cases_that_passed_still_pass() {
    let Some(shared) = shared() else { return };
    if !python_has("argparse") {
        return;
    }
    let mut regressions = Vec::new();
    for intel in ["stix", "plain"] {
        let run = Command::new("python3")
            .arg(shared.join("acceptance/check"))
            .args([
                env!("CARGO_BIN_EXE_watchpost"),
                "--verbose",
                "--intel",
                intel,
            ])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(
            said.contains(" passed, "),
            "{said}{}",
            String::from_utf8_lossy(&run.stderr)
        );
        let mut failing = false;
        for line in said.lines() {
            if let Some(name) = line.strip_prefix("ok    ") {
                failing = false;
                // a list lacks what a case waits for, as often as not
                if intel == "stix" && is_awaited(name) {
                    println!("{name} passes: take it from the list of those that do not yet");
                }
            } else if let Some(name) = line.strip_prefix("FAIL  ") {
                let excused = NEVER
                    .iter()
                    .any(|(i, case, _)| (*i, *case) == (intel, name));
                failing = !excused && !is_awaited(name);
                if failing {
                    regressions.push(format!("{name} ({intel})"));
                }
            } else if failing && line.starts_with("      ") {
                regressions.push(line.to_owned());
            }
        }
    }
    assert!(regressions.is_empty(), "\n{}", regressions.join("\n"));
}

fn is_awaited(name: &str) -> bool {
    NOT_YET.iter().any(|(case, _)| *case == name)
}
