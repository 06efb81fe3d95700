//! Reading rules for the policy floor, which does no I/O.

use crate::cli::Failure;
use crate::verdict::Rules;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The rules at a path (a file, or the files of a folder in order of their names), or the
/// shipped ones.
pub(super) fn load(path: Option<&Path>) -> Result<Rules, Failure> {
    load_all(path.as_slice())
}

/// The rules at all paths, in their order; of none, the shipped ones.
pub(super) fn load_all(paths: &[impl AsRef<Path>]) -> Result<Rules, Failure> {
    if paths.is_empty() {
        return Rules::shipped().map_err(|e| Failure::Running(e.to_string()));
    }
    let mut files = Vec::new();
    for path in paths {
        for path in files_at(path.as_ref())? {
            let content = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
            files.push((path.display().to_string(), content));
        }
    }
    Rules::from_files(files).map_err(|e| Failure::Usage(e.to_string()))
}

/// A file itself, or the rules of a folder.
fn files_at(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = fs::metadata(path).map_err(|e| failed(path, &e))?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let found = rules_of_folder(path).map_err(|e| failed(path, &e))?;
    if found.is_empty() {
        return Err(failed(
            path,
            &"no file of the folder ends in .toml, .json or .txt",
        ));
    }
    Ok(found)
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Usage(format!(
        "{}: the rules cannot be read: {error}",
        path.display()
    ))
}

/// Only the folder itself: what lies deeper (samples, notes) are no rules.
fn rules_of_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_rules = path
            .extension()
            .is_some_and(|e| ["toml", "json", "txt"].iter().any(|known| e == *known));
        if is_rules && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}
