//! Indicators that an operator calls false.

use super::StoreError;
use super::journal::set_aside;
use super::replace;
use crate::time::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// Why an indicator is called false.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefutedEntry {
    /// When the operator said so.
    pub at: Timestamp,
    /// In the operator's words; empty: not said.
    pub why: String,
    /// The exchange that gave the indicator.
    pub source: String,
}

/// The set of them, by the indicator's id; kept in one file that is replaced as a whole.
#[derive(Debug)]
pub struct Refuted {
    path: PathBuf,
    writable: bool,
    entries: BTreeMap<String, RefutedEntry>,
    damage: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct File {
    watchpost_refuted: u32,
    indicators: BTreeMap<String, RefutedEntry>,
}

const VERSION: u32 = 1;

impl Refuted {
    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, StoreError> {
        let mut refuted = Self {
            path: path.to_owned(),
            writable,
            entries: BTreeMap::new(),
            damage: None,
        };
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(refuted),
            read => read.map_err(StoreError::io(path))?,
        };
        match serde_json::from_slice::<File>(&text) {
            Ok(file) if file.watchpost_refuted > VERSION => {
                return Err(StoreError::Newer {
                    path: path.to_owned(),
                });
            }
            Ok(file) => refuted.entries = file.indicators,
            Err(error) => {
                let mut damage = format!("{}: damaged: {error}", path.display());
                if writable {
                    let aside = set_aside(path).map_err(StoreError::io(path))?;
                    damage.push_str(&format!("; set aside as {}", aside.display()));
                }
                refuted.damage = Some(damage);
            }
        }
        Ok(refuted)
    }

    /// What was damaged, for people; `None`: nothing.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Whether an indicator is called false, and why.
    pub fn get(&self, indicator: &str) -> Option<&RefutedEntry> {
        self.entries.get(indicator)
    }

    /// All of them, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RefutedEntry)> {
        self.entries.iter().map(|(id, entry)| (id.as_str(), entry))
    }

    /// Adds one; whether it was not there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, indicator: &str, entry: RefutedEntry) -> Result<bool, StoreError> {
        let before = self.entries.insert(indicator.to_owned(), entry);
        self.write()?;
        Ok(before.is_none())
    }

    /// Takes one back; whether it was there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn remove(&mut self, indicator: &str) -> Result<bool, StoreError> {
        let was_there = self.entries.remove(indicator).is_some();
        if was_there {
            self.write()?;
        }
        Ok(was_there)
    }

    fn write(&self) -> Result<(), StoreError> {
        let fail = StoreError::io(&self.path);
        if !self.writable {
            return Err(fail(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let file = File {
            watchpost_refuted: VERSION,
            indicators: self.entries.clone(),
        };
        let written = serde_json::to_vec_pretty(&file)
            .map_err(io::Error::from)
            .and_then(|text| replace(&self.path, &[&text, b"\n"]));
        written.map_err(fail)
    }
}
