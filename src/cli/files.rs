//! Output files: never one of the inputs, never one another.

use crate::cli::Failure;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;

/// Refuses an output that is an input, lies in a folder of inputs, or is another output:
/// writing it would destroy what is to be read. Only regular files count; standard output and
/// devices may be named as often as the caller likes.
pub(super) fn check_outputs(outputs: &[&Path], inputs: &[&Path]) -> Result<(), Failure> {
    let mut known: Vec<((u64, u64), &Path)> = Vec::new();
    for output in outputs {
        let Some(identity) = identity(output) else {
            continue;
        };
        for input in inputs {
            let same = self::identity(input) == Some(identity) || contains(input, output);
            if same {
                return Err(Failure::Usage(format!(
                    "{}: is an input as well ({}): name another file to write",
                    output.display(),
                    input.display()
                )));
            }
        }
        if let Some((_, other)) = known.iter().find(|(known, _)| *known == identity) {
            return Err(Failure::Usage(format!(
                "{} and {}: are the same file: name one for each output",
                other.display(),
                output.display()
            )));
        }
        known.push((identity, output));
    }
    // files that do not exist yet are told apart by their names
    for (at, output) in outputs.iter().enumerate() {
        let twice = outputs.iter().skip(at + 1).any(|other| other == output);
        if twice && output.as_os_str() != "-" && !output.exists() {
            return Err(Failure::Usage(format!(
                "{}: is named for two outputs: name one file for each",
                output.display()
            )));
        }
    }
    Ok(())
}

/// Device and inode of a regular file that exists.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether a folder of inputs holds a file.
fn contains(folder: &Path, file: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { fs::canonicalize(path).ok() };
    folder.is_dir()
        && real(folder)
            .zip(real(file))
            .is_some_and(|(folder, file)| file.starts_with(folder))
}
