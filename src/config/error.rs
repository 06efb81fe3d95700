//! What is wrong in a configuration file, and what to do about it.

use crate::verdict::advise;
use crate::verdict::position;
use crate::verdict::quoted;
use std::fmt;
use std::path::Path;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, as the caller named it.
    pub file: String,
    /// Line and column, both from 1, the column in characters; `None`: the file as a whole.
    pub position: Option<(usize, usize)>,
    /// What is wrong and what to do.
    pub problem: String,
}

impl ConfigError {
    /// About a whole file.
    pub(super) fn whole(file: &str, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            problem: problem.into(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.problem),
            None => write!(f, "{}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The file that is read: what turns an offset within it into an error.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    /// Folder of relative paths.
    pub(super) folder: &'a Path,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// About the byte at `offset`.
    pub(super) fn at(&self, offset: usize, problem: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            position: Some(position(self.text, offset)),
            problem: problem.into(),
        }
    }

    /// Line and column of a byte, both from 1.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        position(self.text, offset)
    }

    /// As [`Self::at`], of what can be used all the same.
    pub(super) fn warning(&self, offset: usize, text: impl Into<String>) -> String {
        self.at(offset, text).to_string()
    }

    /// A path as it is meant: relative ones are so to the folder of the file.
    pub(super) fn absolute(&self, path: PathBuf) -> PathBuf {
        let joined = self.folder.join(path);
        // fails only without a working folder, and then no relative path leads anywhere
        std::path::absolute(&joined).unwrap_or(joined)
    }

    /// What the TOML reader says, with the nearest known key or value.
    pub(super) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        let span = error.span().unwrap_or_default();
        let problem = match error.message() {
            "duplicate key" => {
                let key = self.text.get(span.clone()).unwrap_or_default();
                format!("{} is here a second time: keep one", quoted(key))
            }
            message => advise(message),
        };
        self.at(span.start, problem)
    }
}
