//! Documents of an exchange as they came, one after the other, compressed.
//!
//! A segment is a header and a zstd stream; within the stream each document stands behind its
//! length. Its own length and checksum are in the manifest that names it.

use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::BufWriter;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// First bytes of a segment; the last two are its version.
const MAGIC: [u8; 8] = *b"WPSEG\0\x01\0";

/// Compression: the fastest level that makes JSON a tenth.
const LEVEL: i32 = 3;

/// A segment in the making.
pub(super) struct SegmentWriter {
    encoder: zstd::Encoder<'static, Summed<BufWriter<File>>>,
    documents: u64,
    /// Bytes of documents.
    content: u64,
}

/// What a segment came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finished {
    pub(super) bytes: u64,
    pub(super) content: u64,
    pub(super) documents: u64,
    pub(super) checksum: u32,
}

impl SegmentWriter {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let mut summed = Summed {
            inner: BufWriter::new(file),
            hasher: crc32fast::Hasher::new(),
            bytes: 0,
        };
        summed.write_all(&MAGIC)?;
        Ok(Self {
            encoder: zstd::Encoder::new(summed, LEVEL)?,
            documents: 0,
            content: 0,
        })
    }

    /// Adds a document.
    pub(super) fn add(&mut self, document: &[u8]) -> io::Result<()> {
        self.encoder
            .write_all(&(document.len() as u64).to_le_bytes())?;
        self.encoder.write_all(document)?;
        self.documents += 1;
        self.content += document.len() as u64;
        Ok(())
    }

    /// Adds a document of which the length is known, as it comes.
    pub(super) fn copy(&mut self, document: &mut dyn Read, length: u64) -> io::Result<()> {
        self.encoder.write_all(&length.to_le_bytes())?;
        let copied = io::copy(&mut document.take(length), &mut self.encoder)?;
        if copied != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.documents += 1;
        self.content += length;
        Ok(())
    }

    /// Bytes of documents so far.
    pub(super) const fn content(&self) -> u64 {
        self.content
    }

    /// Makes it whole and durable; its name is yet to be.
    pub(super) fn finish(self) -> io::Result<Finished> {
        let mut summed = self.encoder.finish()?;
        summed.flush()?;
        summed.inner.get_ref().sync_all()?;
        Ok(Finished {
            bytes: summed.bytes,
            content: self.content,
            documents: self.documents,
            checksum: summed.hasher.finalize(),
        })
    }
}

/// The documents of a segment, in order.
pub struct Documents {
    decoder: zstd::Decoder<'static, BufReader<File>>,
    /// Bytes of the document at hand that were not read.
    left: u64,
}

impl Documents {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(io::Error::other("no segment of this version"));
        }
        Ok(Self {
            decoder: zstd::Decoder::new(file)?,
            left: 0,
        })
    }

    /// The next document, to be read, and its length in bytes; `None`: there is none. What was
    /// not read of the last is passed over.
    ///
    /// # Errors
    /// When the segment cannot be read.
    pub fn next_document(&mut self) -> io::Result<Option<(Document<'_>, u64)>> {
        let mut rest = Read::take(&mut self.decoder, self.left);
        io::copy(&mut rest, &mut io::sink())?;
        let mut length = [0; 8];
        match self.decoder.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        self.left = u64::from_le_bytes(length);
        let length = self.left;
        Ok(Some((Document(self), length)))
    }
}

/// A document that is being read.
pub struct Document<'a>(&'a mut Documents);

impl Read for Document<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX);
        let room = buffer.len().min(most);
        let read = self
            .0
            .decoder
            .read(buffer.get_mut(..room).unwrap_or_default())?;
        self.0.left -= read as u64;
        Ok(read)
    }
}

/// The checksum and length of a file.
pub(super) fn sum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
}

/// Sums up what is written through it.
struct Summed<W> {
    inner: W,
    hasher: crc32fast::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher
            .update(buffer.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
