//! What a sensor keeps: the last good sets of its exchanges with their cursors, and the outbox of
//! what is to be told.
//!
//! One folder, its own format over plain files. Its parts move bytes and know nothing of STIX.
//! What it promises: a process that is killed at any moment, or a machine that loses power, leaves
//! what was committed and nothing of what was not.
//!
//! - A file is replaced as a whole ([`replace()`]): written beside its place, synced, renamed.
//! - A source ([`SourceStore`]) is a manifest and the segments that it names. Pages and the cursor
//!   that follows them become true together, when the manifest is replaced.
//! - The outbox ([`Outbox`]) is a journal of records with checksums. One that was cut off at the
//!   end is as if it had never been written; whoever needs to be sure calls [`Outbox::sync`].
//!
//! What is damaged is set aside under the name `….corrupt` and told, and the rest goes on.

mod journal;
mod outbox;
mod refuted;
mod replace;
mod segment;
mod source;

#[cfg(test)]
mod tests;

pub use outbox::Counts;
pub use outbox::Due;
pub use outbox::LONGEST_PAUSE;
pub use outbox::MAX_PENDING;
pub use outbox::MAX_PENDING_BYTES;
pub use outbox::Outbox;
pub use outbox::Outcome;
pub use outbox::Parcel;
pub use outbox::Put;
pub use outbox::Standing;
pub use refuted::Refuted;
pub use refuted::RefutedEntry;
pub use replace::replace;
pub use segment::Documents;
pub use source::Mode;
pub use source::Segment;
pub use source::SourceList;
pub use source::SourceMeta;
pub use source::SourceStore;
pub use source::Staging;

use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::TryLockError;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// What cannot be kept or read back.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process holds the folder.
    #[error(
        "{}: in use by another watchpost{holder}; end it, or name another folder with --state",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Its process id in brackets; empty where it is not known.
        holder: String,
    },
    /// A later version of the program wrote it.
    #[error(
        "{}: written by a newer watchpost; run that version, or name another folder with --state",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// It is none of ours.
    #[error(
        "{}: not a state folder of watchpost, and not empty; name another with --state",
        path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// The outbox can take no more.
    #[error(
        "the outbox is full ({parcels} sightings, {bytes} bytes wait): send them with 'watchpost \
         exchange push', or see 'watchpost exchange status' for why they wait"
    )]
    Full {
        /// Sightings that wait.
        parcels: usize,
        /// Their bytes.
        bytes: u64,
    },
}

impl StoreError {
    /// An error of the system about a path.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// The folder of a sensor.
#[derive(Debug)]
pub struct State {
    folder: PathBuf,
    right: Right,
    /// Held while this lives; `None`: it was opened to be read.
    _lock: Option<File>,
}

/// What of the folder may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    None,
    /// Outbox and refutations.
    Outbox,
    /// What exchanges give.
    Sources,
    /// Nothing here, but the exchanges are told.
    Push,
}

/// The file of what operators call false.
pub const REFUTED: &str = "refuted.json";

/// First bytes of the file that says what the folder is; its version follows.
const FORMAT: &str = "watchpost state ";

/// How long a folder that is in use is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The version of the folder's layout.
const VERSION: u32 = 1;

impl State {
    /// Opens a folder to write outbox and refutations, and makes it where it is not there, for its
    /// owner alone. Nobody else can write those until this is dropped, so that it is to be held
    /// for moments only, and not while a network is waited for.
    ///
    /// # Errors
    /// When another process holds it, it is not ours, or the system says no.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, "lock", Right::Outbox)
    }

    /// Opens a folder to write what exchanges give, which may take long. Nobody else can write
    /// that until this is dropped; the outbox is free.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_sources(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, "pull.lock", Right::Sources)
    }

    /// Takes the right to send what waits in the outbox; held by one process at a time, while the
    /// outbox itself is opened for moments.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub fn open_push(folder: &Path) -> Result<Self, StoreError> {
        Self::open_with(folder, "push.lock", Right::Push)
    }

    fn open_with(folder: &Path, lock: &str, right: Right) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(StoreError::io(folder))?;
        Self::make_format(folder)?;
        let path = folder.join(lock);
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(StoreError::io(&path))?;
        hold(&lock, folder, &path)?;
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()))
            .map_err(StoreError::io(&path))?;
        Ok(Self {
            folder: folder.to_owned(),
            right,
            _lock: Some(lock),
        })
    }

    /// Checks that the folder is ours, and makes it so where it is empty; several processes may
    /// do so at once.
    fn make_format(folder: &Path) -> Result<(), StoreError> {
        let path = folder.join("format");
        let found = Self::check_format(folder);
        match found {
            Err(StoreError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let lock_path = folder.join("format.lock");
        let is_ours = |name: &str| {
            // what a process that was killed left, and what file systems have of their own
            name == "lost+found"
                || name.ends_with(".lock")
                || name == "lock"
                || name.ends_with(".new")
        };
        let entries = fs::read_dir(folder).map_err(StoreError::io(folder))?;
        for entry in entries {
            let name = entry.map_err(StoreError::io(folder))?.file_name();
            if name != "format" && !is_ours(&name.to_string_lossy()) {
                return Err(StoreError::Foreign {
                    path: folder.to_owned(),
                });
            }
        }
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(StoreError::io(&lock_path))?;
        hold(&lock, folder, &lock_path)?;
        let text = format!("{FORMAT}{VERSION}\n");
        replace(&path, &[text.as_bytes()]).map_err(StoreError::io(&path))
    }

    /// Opens a folder to read, also while another process holds it.
    ///
    /// # Errors
    /// When it is not there or not ours, or the system says no.
    pub fn open_shared(folder: &Path) -> Result<Self, StoreError> {
        Self::check_format(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            right: Right::None,
            _lock: None,
        })
    }

    /// Checks that the folder is ours and of this version.
    fn check_format(folder: &Path) -> Result<(), StoreError> {
        let path = folder.join("format");
        let text = fs::read_to_string(&path).map_err(StoreError::io(&path))?;
        let version = text.strip_prefix(FORMAT).map(str::trim);
        match version.and_then(|version| version.parse::<u32>().ok()) {
            None => Err(StoreError::Foreign {
                path: folder.to_owned(),
            }),
            Some(version) if version > VERSION => Err(StoreError::Newer { path }),
            Some(_) => Ok(()),
        }
    }

    /// The place of a file of this name in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// What is kept of a collection of an exchange; of an exchange without collections under an
    /// empty name. Nothing is written before something is committed.
    ///
    /// # Errors
    /// When the system says no. What is damaged is told by [`SourceStore::damages`].
    pub fn source(&self, exchange: &str, collection: &str) -> Result<SourceStore, StoreError> {
        SourceStore::open(
            &self.folder.join("sources"),
            exchange,
            collection,
            self.right == Right::Sources,
        )
    }

    /// Everything that is kept of exchanges.
    ///
    /// # Errors
    /// When the system says no.
    pub fn sources(&self) -> Result<SourceList, StoreError> {
        source::list(&self.folder.join("sources"))
    }

    /// What waits to be told.
    ///
    /// # Errors
    /// When the system says no.
    pub fn outbox(&self) -> Result<Outbox, StoreError> {
        Outbox::open(
            &self.folder.join("outbox.journal"),
            self.right == Right::Outbox,
        )
    }

    /// Indicators that an operator calls false.
    ///
    /// # Errors
    /// When the system says no.
    pub fn refuted(&self) -> Result<Refuted, StoreError> {
        Refuted::open(&self.folder.join(REFUTED), self.right == Right::Outbox)
    }
}

/// Takes a lock, which may be held by another process for a moment.
fn hold(mut lock: &File, folder: &Path, path: &Path) -> Result<(), StoreError> {
    let begin = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            // whoever ends, or starts another program, holds it for a moment longer
            Err(TryLockError::WouldBlock) if begin.elapsed() < PATIENCE => {
                thread::sleep(PATIENCE / 50);
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // who it is helps, but may not be readable
                let _ = Read::by_ref(&mut lock).take(32).read_to_string(&mut holder);
                let known = holder.trim().parse::<u32>().ok();
                return Err(StoreError::InUse {
                    path: folder.to_owned(),
                    holder: known.map_or_else(String::new, |pid| format!(" (process {pid})")),
                });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io(path)(error)),
        }
    }
}
