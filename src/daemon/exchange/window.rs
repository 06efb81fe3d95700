//! The sightings of the window at hand, kept while they are gathered.
//!
//! What a sensor gathers goes to the outbox when its window is over. Until then it is written
//! down as often as it changes and time allows, so that a sensor that is killed finds it when it
//! starts again. What is put into the outbox is always what was written last: whoever puts it a
//! second time puts the same parcels, and the outbox knows them.

use crate::daemon::exchange::share::Planned;
use crate::daemon::exchange::share::Saying;
use crate::store::replace;
use serde::Deserialize;
use serde::Serialize;
use std::fs;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// The file of the window, in the state folder.
const FILE: &str = "window.json";

/// Held by the one sensor that gathers here.
const LOCK: &str = "run.lock";

/// The version of the file.
const VERSION: u32 = 1;

/// What is written of a window.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    watchpost_window: u32,
    parcels: Vec<Kept>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    exchange: String,
    id: String,
    saying: Saying,
}

/// Why a window cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum WindowError {
    /// Another sensor gathers here.
    #[error("{}: another 'watchpost run' uses this state folder; end it, or name another with --state", .0.display())]
    InUse(PathBuf),
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// The window of one sensor; no other gathers in the same folder while it lives.
#[derive(Debug)]
pub struct Window {
    path: PathBuf,
    /// Whether there is something in the file.
    is_written: bool,
    _lock: File,
}

impl Window {
    /// Opens the window of a state folder, and gives what a sensor that was killed had gathered.
    /// What cannot be read of it is set aside, and told.
    ///
    /// # Errors
    /// When another sensor holds it, or the system says no.
    pub fn open(folder: &Path) -> Result<(Self, Vec<Planned>, Option<String>), WindowError> {
        let lock_path = folder.join(LOCK);
        let fail = |path: &Path, error| WindowError::Io {
            path: path.to_owned(),
            error,
        };
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(|e| fail(&lock_path, e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WindowError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(fail(&lock_path, error)),
        }
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|e| fail(&path, e))?,
        };
        let mut window = Self {
            path,
            is_written: !bytes.is_empty(),
            _lock: lock,
        };
        if bytes.is_empty() {
            return Ok((window, Vec::new(), None));
        }
        match serde_json::from_slice::<Written>(&bytes) {
            Ok(written) if written.watchpost_window == VERSION => {
                let planned = written.parcels.into_iter().map(Kept::planned).collect();
                Ok((window, planned, None))
            }
            _ => {
                let aside = window.path.with_extension("json.corrupt");
                fs::rename(&window.path, &aside).map_err(|e| fail(&window.path, e))?;
                window.is_written = false;
                let told = format!(
                    "{}: cannot be read, set aside as {}",
                    window.path.display(),
                    aside.display()
                );
                Ok((window, Vec::new(), Some(told)))
            }
        }
    }

    /// Writes down what would go to the outbox now.
    ///
    /// # Errors
    /// When it cannot be written; what was written before is still there.
    pub fn save(&mut self, planned: &[Planned]) -> Result<(), WindowError> {
        let leaving = planned.iter().filter(|one| one.held.is_none());
        let written = Written {
            watchpost_window: VERSION,
            parcels: leaving.map(Kept::of).collect(),
        };
        let saved = serde_json::to_vec(&written)
            .map_err(io::Error::from)
            .and_then(|bytes| replace(&self.path, &[&bytes]));
        saved.map_err(|error| WindowError::Io {
            path: self.path.clone(),
            error,
        })?;
        self.is_written = true;
        Ok(())
    }

    /// What was written is in the outbox.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn clear(&mut self) -> Result<(), WindowError> {
        if !self.is_written {
            return Ok(());
        }
        fs::remove_file(&self.path).map_err(|error| WindowError::Io {
            path: self.path.clone(),
            error,
        })?;
        self.is_written = false;
        Ok(())
    }
}

impl Kept {
    fn of(planned: &Planned) -> Self {
        Self {
            exchange: planned.exchange.clone(),
            id: planned.id.clone(),
            saying: planned.saying.clone(),
        }
    }

    fn planned(self) -> Planned {
        Planned {
            id: self.id,
            exchange: self.exchange,
            saying: self.saying,
            held: None,
            name: None,
        }
    }
}
