//! A file of records that only grows, and is sound up to its last whole record.
//!
//! A record is its length, a checksum and its bytes. A process that is killed, or a disk that is
//! full, leaves at most one record unfinished, at the end.

use super::StoreError;
use super::replace;
use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// First bytes of a journal; the version follows.
const MAGIC: [u8; 8] = *b"WPJOURN\0";
const VERSION: u32 = 1;
const HEADER: u64 = 12;

/// Length and checksum of a record.
const RECORD_HEADER: u64 = 8;

/// Bytes of the largest record: a sighting with all its evidence has less than one.
pub(super) const MAX_RECORD: usize = 16 << 20;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    length: u32,
}

/// A journal that is open.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    /// `None`: there is no file, since nothing was ever written.
    file: Option<File>,
    /// Bytes that are sound.
    length: u64,
    writable: bool,
}

impl Journal {
    /// Opens a journal and hands over every sound record. What follows the last of them is cut
    /// off if this may write, and told.
    pub(super) fn open(
        path: &Path,
        writable: bool,
        take: &mut dyn FnMut(Place, &[u8]),
    ) -> Result<(Self, Option<String>), StoreError> {
        let mut journal = Self {
            path: path.to_owned(),
            file: None,
            length: HEADER,
            writable,
        };
        let fail = StoreError::io(path);
        let file = match File::options().read(true).write(writable).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((journal, None)),
            opened => opened.map_err(fail)?,
        };
        let size = file.metadata().map_err(StoreError::io(path))?.len();
        let mut header = [0; HEADER as usize];
        let begins = file.read_exact_at(&mut header, 0).is_ok();
        let version = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if begins && header[..8] == MAGIC && version > VERSION {
            return Err(StoreError::Newer {
                path: path.to_owned(),
            });
        }
        if !begins || header[..8] != MAGIC || version != VERSION {
            if size == 0 || !writable {
                let problem =
                    (size > 0).then(|| format!("{}: damaged at its start", path.display()));
                return Ok((journal, problem));
            }
            let aside = set_aside(path).map_err(StoreError::io(path))?;
            let problem = format!(
                "{}: damaged at its start, set aside as {}",
                path.display(),
                aside.display()
            );
            return Ok((journal, Some(problem)));
        }
        let mut reader = BufReader::with_capacity(1 << 20, &file);
        reader
            .seek_relative(HEADER as i64)
            .map_err(StoreError::io(path))?;
        let mut record = Vec::new();
        while let Some(length) = read_record(&mut reader, &mut record) {
            let place = Place {
                offset: journal.length + RECORD_HEADER,
                length,
            };
            take(place, &record);
            journal.length += RECORD_HEADER + u64::from(length);
        }
        let mut problem = None;
        if journal.length < size {
            problem = Some(format!(
                "{}: {} bytes at its end are no whole record, and were left out",
                path.display(),
                size - journal.length
            ));
            if writable {
                keep_tail(path, &file, journal.length, size).map_err(StoreError::io(path))?;
                file.set_len(journal.length).map_err(StoreError::io(path))?;
            }
        }
        journal.file = Some(file);
        Ok((journal, problem))
    }

    /// Bytes of the journal.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Appends a record. It survives the end of the process at once, and a loss of power after
    /// [`sync`](Self::sync).
    pub(super) fn append(&mut self, record: &[u8]) -> Result<Place, StoreError> {
        let fail = |error| StoreError::io(&self.path)(error);
        if record.len() > MAX_RECORD {
            return Err(fail(io::Error::other("a record larger than any sighting")));
        }
        let file = match &self.file {
            Some(file) => file,
            None => {
                let mut header = MAGIC.to_vec();
                header.extend(VERSION.to_le_bytes());
                replace(&self.path, &[&header]).map_err(fail)?;
                let file = open_private(&self.path).map_err(fail)?;
                self.length = HEADER;
                self.file.insert(file)
            }
        };
        let bytes = framed(record);
        // in one call, so that a full disk leaves no more than one unfinished record
        if let Err(error) = file.write_all_at(&bytes, self.length) {
            // what was written of it would be in the way of the next
            let _ = file.set_len(self.length);
            return Err(StoreError::io(&self.path)(error));
        }
        let place = Place {
            offset: self.length + RECORD_HEADER,
            length: record.len() as u32,
        };
        self.length += bytes.len() as u64;
        Ok(place)
    }

    /// Makes everything that was appended durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        match &self.file {
            Some(file) => file.sync_data().map_err(StoreError::io(&self.path)),
            None => Ok(()),
        }
    }

    /// Reads a record again.
    pub(super) fn read(&self, place: Place) -> Result<Vec<u8>, StoreError> {
        let fail = StoreError::io(&self.path);
        let Some(file) = &self.file else {
            return Err(fail(io::ErrorKind::NotFound.into()));
        };
        let mut record = vec![0; place.length as usize];
        file.read_exact_at(&mut record, place.offset)
            .map_err(fail)?;
        Ok(record)
    }

    /// Replaces the whole journal by these records; gives their places.
    pub(super) fn rewrite(&mut self, records: &[Vec<u8>]) -> Result<Vec<Place>, StoreError> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            places.push(Place {
                offset: bytes.len() as u64 + RECORD_HEADER,
                length: record.len() as u32,
            });
            bytes.extend(framed(record));
        }
        replace(&self.path, &[&bytes]).map_err(StoreError::io(&self.path))?;
        self.file = Some(open_private(&self.path).map_err(StoreError::io(&self.path))?);
        self.length = bytes.len() as u64;
        Ok(places)
    }

    /// Whether this may write.
    pub(super) const fn is_writable(&self) -> bool {
        self.writable
    }
}

fn framed(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u32).to_le_bytes();
    let mut bytes = Vec::with_capacity(record.len() + RECORD_HEADER as usize);
    bytes.extend(length);
    bytes.extend(checksum(length, record).to_le_bytes());
    bytes.extend(record);
    bytes
}

/// Of the length as well, so that a run of zeros is no record.
fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(b"record");
    hasher.update(&length);
    hasher.update(record);
    hasher.finalize()
}

/// The length of the next record, which is read into the buffer; `None`: none is whole.
fn read_record(reader: &mut impl Read, record: &mut Vec<u8>) -> Option<u32> {
    let mut header = [0; RECORD_HEADER as usize];
    reader.read_exact(&mut header).ok()?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = [l0, l1, l2, l3];
    let size = u32::from_le_bytes(length);
    if size as usize > MAX_RECORD {
        return None;
    }
    record.clear();
    reader
        .take(u64::from(size))
        .read_to_end(record)
        .ok()
        .filter(|read| *read == size as usize)?;
    (checksum(length, record) == u32::from_le_bytes([c0, c1, c2, c3])).then_some(size)
}

fn open_private(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Keeps what is cut off, where it is more than one unfinished record can be: somebody may want
/// to look at it.
fn keep_tail(path: &Path, file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut tail = vec![0; (to - from).min(MAX_RECORD as u64) as usize];
    file.read_exact_at(&mut tail, from)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".corrupt");
    let mut kept = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(PathBuf::from(aside))?;
    kept.write_all(&tail)
}

/// Renames what is damaged; gives its new name.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".corrupt");
    let aside = PathBuf::from(aside);
    std::fs::rename(path, &aside)?;
    Ok(aside)
}
