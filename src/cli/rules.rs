//! Reading rules for the policy floor, which does no I/O.

use crate::cli::Failure;
use crate::verdict::Rules;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// The rules at a path (a file, or the files of a folder in order of their names), or the
/// shipped ones.
pub(super) fn load(path: Option<&Path>) -> Result<Rules, Failure> {
    let Some(path) = path else {
        return Rules::shipped().map_err(|e| Failure::Running(e.to_string()));
    };
    let failed = |path: &Path, error: &dyn std::fmt::Display| {
        Failure::Usage(format!(
            "{}: the rules cannot be read: {error}",
            path.display()
        ))
    };
    let metadata = fs::metadata(path).map_err(|e| failed(path, &e))?;
    let paths = if metadata.is_dir() {
        let found = rules_of_folder(path).map_err(|e| failed(path, &e))?;
        if found.is_empty() {
            return Err(failed(
                path,
                &"no file of the folder ends in .toml, .json or .txt",
            ));
        }
        found
    } else {
        vec![path.to_owned()]
    };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let content = fs::read_to_string(&path).map_err(|e| failed(&path, &e))?;
        files.push((path.display().to_string(), content));
    }
    Rules::from_files(files).map_err(|e| Failure::Usage(e.to_string()))
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
