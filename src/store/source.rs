//! The last good set of one collection, and where the next pull begins.

use super::StoreError;
use super::journal::set_aside;
use super::replace;
use super::replace::sync_folder_of;
use super::segment;
use super::segment::Documents;
use super::segment::Finished;
use super::segment::SegmentWriter;
use crate::time::Timestamp;
use serde::Deserialize;
use serde::Serialize;
use sha2::Digest as _;
use sha2::Sha256;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

/// What is known of a collection beside its documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceMeta {
    /// When a pull last went well, whether or not it brought anything; `None`: never.
    pub fetched_at: Option<Timestamp>,
    /// When a pull last failed; `None`: not since one went well.
    pub failed_at: Option<Timestamp>,
    /// Why.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Not before then; `None`: at once.
    pub next_due: Option<Timestamp>,
    /// Why what the exchange sent last was not taken; `None`: it was.
    pub held_back: Option<String>,
    /// Indicators that the set holds.
    pub indicators: u64,
    /// The server's tag of what was fetched (RFC 9110 section 8.8.3).
    pub etag: Option<String>,
    /// The server's date of it, as it was sent.
    pub last_modified: Option<String>,
}

/// Whether what comes is added, or takes the place of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Added.
    Append,
    /// Instead of everything that was there.
    Replace,
}

/// A segment that is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    file: String,
    bytes: u64,
    content: u64,
    documents: u64,
    checksum: u32,
}

impl Segment {
    /// Its name, which no other segment of the collection has or had.
    pub fn name(&self) -> &str {
        &self.file
    }

    /// Bytes of its documents.
    pub const fn content(&self) -> u64 {
        self.content
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Manifest {
    exchange: String,
    collection: String,
    /// Number of the next segment.
    next: u64,
    cursor: Option<String>,
    segments: Vec<Segment>,
    meta: SourceMeta,
}

/// What is kept of a collection.
#[derive(Debug)]
pub struct SourceStore {
    folder: PathBuf,
    writable: bool,
    manifest: Manifest,
    damages: Vec<String>,
}

/// First line of a manifest, before the length and checksum of what follows.
const MAGIC: &str = "watchpost source";
const VERSION: u32 = 1;

impl SourceStore {
    pub(super) fn open(
        sources: &Path,
        exchange: &str,
        collection: &str,
        writable: bool,
    ) -> Result<Self, StoreError> {
        let mut store = Self {
            folder: sources.join(folder_name(exchange, collection)),
            writable,
            manifest: Manifest {
                exchange: exchange.to_owned(),
                collection: collection.to_owned(),
                ..Manifest::default()
            },
            damages: Vec::new(),
        };
        let path = store.folder.join("manifest");
        match read_manifest(&path) {
            Ok(None) => {}
            Ok(Some(manifest)) => store.manifest = manifest,
            Err(Unreadable::Store(error)) => return Err(error),
            Err(Unreadable::Damaged(why)) => {
                store.tell_damage(&path, &why)?;
            }
        }
        store.check_segments()?;
        if writable {
            store.sweep()?;
        }
        Ok(store)
    }

    /// What is kept of the documents, in order.
    pub fn segments(&self) -> &[Segment] {
        &self.manifest.segments
    }

    /// The documents of a segment.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn documents(&self, segment: &Segment) -> Result<Documents, StoreError> {
        let path = self.folder.join(&segment.file);
        Documents::open(&path).map_err(StoreError::io(&path))
    }

    /// The collection; empty where the exchange has none.
    pub fn collection(&self) -> &str {
        &self.manifest.collection
    }

    /// Where the next pull begins, in the words of who pulls; `None`: at the start.
    pub fn cursor(&self) -> Option<&str> {
        self.manifest.cursor.as_deref()
    }

    /// What is known beside.
    pub const fn meta(&self) -> &SourceMeta {
        &self.manifest.meta
    }

    /// What was damaged and is missing now, for people. Where there is any, the cursor is gone,
    /// so that the next pull brings it again.
    pub fn damages(&self) -> &[String] {
        &self.damages
    }

    /// Changes what is known beside.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&mut self, change: impl FnOnce(&mut SourceMeta)) -> Result<(), StoreError> {
        let mut manifest = self.manifest.clone();
        change(&mut manifest.meta);
        self.write(manifest)
    }

    /// Begins to take documents. Nothing of them counts before they are committed.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn begin(&mut self, mode: Mode) -> Result<Staging<'_>, StoreError> {
        let fail = StoreError::io(&self.folder);
        if !self.writable {
            return Err(fail(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(fail)?;
        let name = format!("segment-{:08}", self.manifest.next);
        let path = self.folder.join(&name);
        let writer = SegmentWriter::create(&path).map_err(StoreError::io(&path))?;
        Ok(Staging {
            store: self,
            mode,
            writer: Some(writer),
            name,
            path,
        })
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(StoreError::io(&self.folder)),
        }
    }

    fn tell_damage(&mut self, path: &Path, why: &str) -> Result<(), StoreError> {
        let mut damage = format!("{}: {why}", path.display());
        if self.writable {
            match set_aside(path) {
                Ok(aside) => {
                    let _ = write!(damage, "; set aside as {}", aside.display());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io(path)(error)),
            }
        }
        self.damages.push(damage);
        Ok(())
    }

    /// Leaves out segments that are not what was committed.
    fn check_segments(&mut self) -> Result<(), StoreError> {
        let mut sound = Vec::with_capacity(self.manifest.segments.len());
        for segment in std::mem::take(&mut self.manifest.segments) {
            let path = self.folder.join(&segment.file);
            let problem = match segment::sum(&path) {
                Ok(sum) if sum == (segment.bytes, segment.checksum) => None,
                Ok(_) => Some("not what was written".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            match problem {
                None => sound.push(segment),
                Some(problem) => self.tell_damage(&path, &problem)?,
            }
        }
        self.manifest.segments = sound;
        if !self.damages.is_empty() {
            // the next pull is to bring it all again, whatever the server believes that we have
            self.manifest.cursor = None;
            self.manifest.meta.etag = None;
            self.manifest.meta.last_modified = None;
        }
        Ok(())
    }

    /// Removes what a killed process left.
    fn sweep(&self) -> Result<(), StoreError> {
        let fail = || StoreError::io(&self.folder);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(fail())?,
        };
        let kept: HashSet<&str> = self
            .manifest
            .segments
            .iter()
            .map(|segment| segment.file.as_str())
            .collect();
        for entry in entries {
            let entry = entry.map_err(fail())?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_left = name.ends_with(".new")
                || name.starts_with("segment-")
                    && !name.ends_with(".corrupt")
                    && !kept.contains(name.as_ref());
            if is_left {
                fs::remove_file(entry.path()).map_err(fail())?;
            }
        }
        Ok(())
    }

    fn write(&mut self, manifest: Manifest) -> Result<(), StoreError> {
        let path = self.folder.join("manifest");
        let fail = StoreError::io(&path);
        if !self.writable {
            return Err(fail(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        let write = || {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)?;
            let body = serde_json::to_vec(&manifest)?;
            // a longer one could not be read again, and all that it names would be lost
            if body.len() as u64 > MAX_MANIFEST / 2 {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            let checksum = crc32fast::hash(&body);
            let header = format!("{MAGIC} {VERSION} {checksum:08x}\n");
            replace(&path, &[header.as_bytes(), &body, b"\n"])
        };
        write().map_err(fail)?;
        self.manifest = manifest;
        Ok(())
    }
}

/// Documents that come in and do not count yet; dropped, they leave nothing.
pub struct Staging<'a> {
    store: &'a mut SourceStore,
    mode: Mode,
    /// `None`: committed.
    writer: Option<SegmentWriter>,
    name: String,
    path: PathBuf,
}

impl Staging<'_> {
    /// Adds a document.
    ///
    /// # Errors
    /// When it cannot be written; nothing that was staged can be committed then.
    pub fn add(&mut self, document: &[u8]) -> Result<(), StoreError> {
        let added = match &mut self.writer {
            Some(writer) => writer.add(document),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        added.map_err(|error| self.give_up(error))
    }

    /// Bytes of documents so far.
    pub fn content(&self) -> u64 {
        self.writer.as_ref().map_or(0, SegmentWriter::content)
    }

    /// Ends the segment and gives its documents, to be looked at before they count.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<Staged<Self>, StoreError> {
        let finished = match self.writer.take() {
            Some(writer) => writer.finish(),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let finished = finished.map_err(|error| self.give_up(error))?;
        Ok(Staged {
            staging: self,
            finished,
        })
    }

    fn give_up(&mut self, error: io::Error) -> StoreError {
        self.writer = None;
        StoreError::io(&self.path)(error)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let is_named = |segment: &Segment| segment.file == self.name;
        if !self.store.manifest.segments.iter().any(is_named) {
            // what stays is swept when the folder is opened next
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Documents that are all there, and still do not count.
pub struct Staged<S> {
    staging: S,
    finished: Finished,
}

impl Staged<Staging<'_>> {
    /// The documents.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn documents(&self) -> Result<Documents, StoreError> {
        let path = &self.staging.path;
        Documents::open(path).map_err(StoreError::io(path))
    }

    /// What is known beside, before.
    pub const fn meta(&self) -> &SourceMeta {
        &self.staging.store.manifest.meta
    }

    /// From here on they count, with this cursor, and what is known beside changes: all at once.
    ///
    /// # Errors
    /// When it cannot be written; nothing counts then.
    pub fn commit(
        self,
        cursor: Option<String>,
        change: impl FnOnce(&mut SourceMeta),
    ) -> Result<(), StoreError> {
        let Self {
            mut staging,
            finished,
        } = self;
        sync_folder_of(&staging.path).map_err(StoreError::io(&staging.path))?;
        let mut manifest = staging.store.manifest.clone();
        let segment = Segment {
            file: staging.name.clone(),
            bytes: finished.bytes,
            content: finished.content,
            documents: finished.documents,
            checksum: finished.checksum,
        };
        manifest.next = manifest.next.saturating_add(1);
        manifest.cursor = cursor;
        let mut dropped = Vec::new();
        if staging.mode == Mode::Replace {
            dropped = std::mem::take(&mut manifest.segments);
        }
        if segment.documents > 0 {
            manifest.segments.push(segment);
        }
        change(&mut manifest.meta);
        staging.store.write(manifest)?;
        for segment in dropped {
            // one that stays is swept when the folder is opened next
            let _ = fs::remove_file(staging.store.folder.join(segment.file));
        }
        merge_small(staging.store)?;
        staging.writer = None;
        Ok(())
    }
}

/// Keeps segments few: one that is no smaller than half of that before it is put together with
/// it, so that their sizes fall by halves and each document is copied few times.
fn merge_small(store: &mut SourceStore) -> Result<(), StoreError> {
    while let [.., before, last] = store.manifest.segments.as_slice()
        && before.content <= last.content.saturating_mul(2)
    {
        let (before, last) = (before.clone(), last.clone());
        let name = format!("segment-{:08}", store.manifest.next);
        let path = store.folder.join(&name);
        let merge = || {
            let mut writer = SegmentWriter::create(&path)?;
            for segment in [&before, &last] {
                let mut documents = Documents::open(&store.folder.join(&segment.file))?;
                while let Some((mut document, length)) = documents.next_document()? {
                    writer.copy(&mut document, length)?;
                }
            }
            writer.finish()
        };
        let finished = match merge() {
            Ok(finished) => finished,
            Err(error) => {
                // without room for both the old ones do
                let _ = fs::remove_file(&path);
                return if error.kind() == io::ErrorKind::StorageFull {
                    Ok(())
                } else {
                    Err(StoreError::io(&path)(error))
                };
            }
        };
        let mut manifest = store.manifest.clone();
        manifest.next = manifest.next.saturating_add(1);
        manifest.segments.truncate(manifest.segments.len() - 2);
        manifest.segments.push(Segment {
            file: name,
            bytes: finished.bytes,
            content: finished.content,
            documents: finished.documents,
            checksum: finished.checksum,
        });
        store.write(manifest)?;
        for segment in [before, last] {
            let _ = fs::remove_file(store.folder.join(segment.file));
        }
    }
    Ok(())
}

/// What there is of exchanges and collections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceList {
    /// Exchange and collection of each, in order of their names.
    pub names: Vec<(String, String)>,
    /// What is there and cannot be read, for people.
    pub damages: Vec<String>,
}

/// All folders of sources.
pub(super) fn list(sources: &Path) -> Result<SourceList, StoreError> {
    let mut list = SourceList::default();
    let entries = match fs::read_dir(sources) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(list),
        read => read.map_err(StoreError::io(sources))?,
    };
    for entry in entries {
        let path = entry
            .map_err(StoreError::io(sources))?
            .path()
            .join("manifest");
        match read_manifest(&path) {
            Ok(Some(manifest)) => list.names.push((manifest.exchange, manifest.collection)),
            Ok(None) => {}
            Err(Unreadable::Damaged(why)) => {
                list.damages.push(format!(
                    "{}: {why}; 'watchpost exchange pull' fetches it again",
                    path.display()
                ));
            }
            Err(Unreadable::Store(error)) => list.damages.push(error.to_string()),
        }
    }
    list.names.sort();
    list.damages.sort();
    Ok(list)
}

enum Unreadable {
    Store(StoreError),
    Damaged(String),
}

fn read_manifest(path: &Path) -> Result<Option<Manifest>, Unreadable> {
    let mut text = Vec::new();
    let read = fs::File::open(path).and_then(|file| {
        // a manifest has some hundred bytes a segment, and segments are few
        file.take(MAX_MANIFEST).read_to_end(&mut text)
    });
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unreadable::Store(StoreError::io(path)(error))),
        Ok(_) => {}
    }
    let damaged = |why: &str| Unreadable::Damaged(why.to_owned());
    let end = text.iter().position(|byte| *byte == b'\n');
    let (header, body) = text.split_at(end.ok_or_else(|| damaged("no manifest"))?);
    let header = String::from_utf8_lossy(header);
    let mut words = header
        .strip_prefix(MAGIC)
        .ok_or_else(|| damaged("no manifest"))?
        .split_ascii_whitespace();
    let version = words.next().and_then(|word| word.parse::<u32>().ok());
    let checksum = words
        .next()
        .and_then(|word| u32::from_str_radix(word, 16).ok());
    match (version, checksum) {
        (Some(version), _) if version > VERSION => Err(Unreadable::Store(StoreError::Newer {
            path: path.to_owned(),
        })),
        (Some(VERSION), Some(checksum)) => {
            let body = body.trim_ascii();
            if crc32fast::hash(body) != checksum {
                return Err(damaged("not what was written"));
            }
            let manifest: Manifest =
                serde_json::from_slice(body).map_err(|e| Unreadable::Damaged(e.to_string()))?;
            // names of files are ours, whoever could have written here
            let is_ours = |s: &Segment| {
                s.file
                    .strip_prefix("segment-")
                    .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
            };
            if !manifest.segments.iter().all(is_ours) {
                return Err(damaged("names files that are not segments"));
            }
            Ok(Some(manifest))
        }
        _ => Err(damaged("no manifest")),
    }
}

/// Bytes of the longest manifest that is read: a thousand times what one comes to.
const MAX_MANIFEST: u64 = 16 << 20;

/// A name for a folder: what is readable of both names, and what tells them apart from others.
fn folder_name(exchange: &str, collection: &str) -> String {
    let mut name: String = format!("{exchange}-{collection}")
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .take(80)
        .collect();
    let mut hasher = Sha256::new();
    // their lengths keep "a", "bc" and "ab", "c" apart
    hasher.update((exchange.len() as u64).to_le_bytes());
    hasher.update(exchange);
    hasher.update(collection);
    name.push('-');
    for byte in hasher.finalize().iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
