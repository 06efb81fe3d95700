//! The body of an answer, bounded and complete or an error.

use super::error::HttpCause;
use super::error::HttpError;
use super::url::Url;
use flate2::read::MultiGzDecoder;
use std::fmt;
use std::io;
use std::io::Read;

/// What a body claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Nothing in between.
    Identity,
    /// gzip (RFC 1952), one or more members.
    Gzip,
}

/// A body as a reader; give it to whoever reads streams.
///
/// Its errors are [`HttpError`]s in the guise of an [`io::Error`]
/// ([`HttpError::from_io`] takes them back): of a body that is longer than the
/// limit once unpacked, that ends before its length is reached, or whose
/// connection breaks. It ends well only where the server said that it ends.
pub struct Body {
    source: Source,
    url: Url,
    /// Bytes that may still be read.
    left: u64,
    limit: u64,
}

enum Source {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<Counted>>),
}

impl Body {
    /// A body of `length` packed bytes (`None`: it did not say), of at most `limit` unpacked.
    pub(super) fn new(
        reader: ureq::BodyReader<'static>,
        length: Option<u64>,
        coding: Coding,
        url: Url,
        limit: u64,
    ) -> Self {
        let counted = Counted {
            reader,
            missing: length,
        };
        Self {
            source: match coding {
                Coding::Identity => Source::Plain(counted),
                Coding::Gzip => Source::Gzip(Box::new(MultiGzDecoder::new(counted))),
            },
            url,
            left: limit,
            limit,
        }
    }

    /// Reads all of it.
    pub fn read_all(mut self) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(HttpError::from_io(&self.url, error)),
        }
    }

    fn fail(&self, error: io::Error) -> io::Error {
        let corrupt = matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
        ) && matches!(self.source, Source::Gzip(_))
            && error
                .get_ref()
                .is_none_or(|inner| !inner.is::<rustls::Error>());
        io::Error::other(if corrupt {
            HttpError::unexpected(
                &self.url,
                "it is said to be gzip, and is not: try again later",
            )
        } else {
            HttpError::from_io(&self.url, error)
        })
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Body of {}, {} bytes left of the limit",
            self.url, self.left
        )
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // one byte beyond the limit tells a body of just that length from a longer one
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let room = buffer.len().min(most);
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        let read = match &mut self.source {
            Source::Plain(reader) => reader.read(buffer),
            Source::Gzip(reader) => reader.read(buffer),
        };
        let count = match read {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.fail(error)),
        };
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let cause = HttpCause::TooLarge(self.limit);
                return Err(io::Error::other(HttpError::new(&self.url, cause)));
            }
        }
        Ok(count)
    }
}

/// The packed bytes, held against the length that the server stated.
struct Counted {
    reader: ureq::BodyReader<'static>,
    /// Bytes still to come; `None`: nobody knows.
    missing: Option<u64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if let Some(missing) = &mut self.missing {
            *missing = missing.saturating_sub(count as u64);
            if count == 0 && *missing > 0 && !buffer.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(count)
    }
}
