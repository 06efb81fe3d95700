//! From what a user named to the captures to read.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use crate::capture::Input;

use super::error::CaptureError;
use super::reader::CaptureReader;

/// The captures to read, in order.
#[derive(Debug, Default)]
pub struct ExpandedInputs {
    /// Files as named; in place of a folder, the captures in it, by name.
    pub inputs: Vec<Input>,
    /// Files in named folders that are not read.
    pub passed_over: Vec<PassedOver>,
}

/// A file in a named folder that is not read, and why.
#[derive(Debug)]
pub struct PassedOver {
    /// The file, or a folder too far down.
    pub path: PathBuf,
    /// Why, as a sentence that names it.
    pub reason: String,
}

/// Finds the captures that `paths` name: `-` is standard input, a folder stands for the
/// captures in it and below, told by content.
///
/// A file that is named itself is not looked into here; that it is no capture is an error
/// of [`CaptureReader::open`].
pub fn expand_inputs(paths: &[PathBuf]) -> Result<ExpandedInputs, CaptureError> {
    let mut expanded = ExpandedInputs::default();
    for path in paths {
        if path.as_os_str() == "-" {
            if expanded.inputs.contains(&Input::StandardInput) {
                return Err(CaptureError::StandardInputTwice);
            }
            expanded.inputs.push(Input::StandardInput);
        } else if fs::metadata(path)
            .map_err(|e| open_error(path, e))?
            .is_dir()
        {
            expand_folder(path, &mut expanded)?;
        } else {
            expanded.inputs.push(Input::Path(path.clone()));
        }
    }
    Ok(expanded)
}

fn expand_folder(folder: &Path, expanded: &mut ExpandedInputs) -> Result<(), CaptureError> {
    let (inputs, passed_over) = (expanded.inputs.len(), expanded.passed_over.len());
    let mut seen = 0;
    // what is still to be looked at, the next one last
    let mut pending = vec![(folder.to_owned(), 0)];
    while let Some((path, depth)) = pending.pop() {
        // links to folders are not followed (below the named one), for they may form circles
        let is_folder = depth == 0 || fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
        let found = if !is_folder {
            look_into(&path).map(|input| expanded.inputs.push(input))
        } else if depth > MAX_DEPTH {
            let shown = path.display();
            Err(format!(
                "{shown}: more than {MAX_DEPTH} folders below the one named; name it itself"
            ))
        } else {
            match list(&path, MAX_FILES - seen) {
                Ok(entries) => {
                    seen += entries.len();
                    pending.extend(entries.into_iter().rev().map(|entry| (entry, depth + 1)));
                    Ok(())
                }
                Err(error) if depth == 0 => return Err(open_error(&path, error)),
                Err(error) => Err(open_error(&path, error).to_string()),
            }
        };
        if seen >= MAX_FILES {
            return Err(CaptureError::TooManyFiles {
                folder: folder.display().to_string(),
                limit: MAX_FILES,
            });
        }
        if let Err(reason) = found {
            expanded.passed_over.push(PassedOver { path, reason });
        }
    }
    if expanded.inputs.len() == inputs {
        return Err(CaptureError::NoCaptures {
            folder: folder.display().to_string(),
            passed_over: expanded.passed_over.len() - passed_over,
        });
    }
    Ok(())
}

/// At most `limit` entries of a folder, by name.
fn list(folder: &Path, limit: usize) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.take(limit);
    let mut entries: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    Ok(entries)
}

/// A file of a folder as an input, or why it is none.
fn look_into(path: &Path) -> Result<Input, String> {
    let metadata = fs::metadata(path).map_err(|e| open_error(path, e).to_string())?;
    // a pipe or device would be waited for, and a link to a folder is not followed
    if !metadata.is_file() {
        return Err(format!("{}: not a regular file", path.display()));
    }
    let input = Input::Path(path.to_owned());
    match CaptureReader::open(input.clone()) {
        Ok(_) => Ok(input),
        Err(error) => Err(error.to_string()),
    }
}

fn open_error(path: &Path, source: io::Error) -> CaptureError {
    CaptureError::Open {
        file: path.display().to_string(),
        source,
    }
}

/// How far down a named folder is searched: enough for year, month, day and hour folders
/// of several sensors.
const MAX_DEPTH: usize = 8;

/// Files and folders looked at in one named folder: two years of a capture a minute.
const MAX_FILES: usize = 1 << 20;
