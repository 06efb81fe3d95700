//! Why a TAXII server gave or took nothing.

use super::super::http::HttpError;
use super::super::http::Url;
use super::super::tally::shorten;
use std::fmt;

/// Characters of an address that an error shows; servers choose their own.
const LONGEST_URL_SHOWN: usize = 300;

/// What a TAXII server was asked in vain: where, why, and what to do.
#[derive(Debug)]
pub struct TaxiiError {
    /// The address at fault.
    pub url: String,
    /// What is wrong.
    pub cause: TaxiiCause,
}

/// What can go wrong; the text of each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TaxiiCause {
    /// The request came to nothing.
    #[error("{}", .0.cause)]
    Http(HttpError),
    /// The answer is no resource of TAXII 2.1; what it is.
    #[error("the answer is no TAXII 2.1 resource: {0}; is it the right URL?")]
    NotTaxii(String),
    /// The server names no API root that can be used.
    #[error("the server names no API root of TAXII 2.1: is it a TAXII 2.0 server, or another URL?")]
    NoApiRoot,
    /// No collection of that id, alias or title; those that there are.
    #[error("there is no collection {wanted}: there are {have}")]
    NoCollection {
        /// As it was asked for, in quotes.
        wanted: String,
        /// Titles and ids, for people.
        have: String,
    },
    /// Several collections of that title or alias; their ids.
    #[error("several collections are called {wanted}: write the id instead, one of {ids}")]
    Ambiguous {
        /// As it was asked for, in quotes.
        wanted: String,
        /// Their ids, for people.
        ids: String,
    },
    /// The server says that the collection cannot be read with these credentials.
    #[error("the collection cannot be read: ask the server's operator for the permission")]
    NotReadable,
    /// The server says that the collection cannot be written with these credentials.
    #[error("the collection cannot be written: ask the server's operator for the permission")]
    NotWritable,
    /// The server goes round in circles; how.
    #[error("the server's pages lead nowhere: {0}; tell its operator")]
    NoProgress(&'static str),
    /// The collection is larger than a pull may be; what of it, and the limit.
    #[error("the collection has more than {limit} {what}: raise the limit if that is right")]
    TooMuch {
        /// What is counted.
        what: &'static str,
        /// The most that is taken.
        limit: u64,
    },
    /// Whoever owns the client stopped it.
    #[error("stopped")]
    Stopped,
}

impl TaxiiError {
    /// What went wrong at `url`.
    pub(super) fn new(url: &Url, cause: TaxiiCause) -> Self {
        Self {
            url: shorten(&url.to_string(), LONGEST_URL_SHOWN),
            cause,
        }
    }

    /// The answer from `url` is none of TAXII.
    pub(super) fn not_taxii(url: &Url, what: impl Into<String>) -> Self {
        Self::new(url, TaxiiCause::NotTaxii(what.into()))
    }

    /// Why the request failed; `None`: it did not, but what came of it is of no use.
    pub const fn http(&self) -> Option<&HttpError> {
        match &self.cause {
            TaxiiCause::Http(error) => Some(error),
            _ => None,
        }
    }

    /// Whether it may go better later, as things stand.
    pub const fn is_transient(&self) -> bool {
        match &self.cause {
            TaxiiCause::Http(error) => error.is_transient(),
            TaxiiCause::Stopped => true,
            _ => false,
        }
    }
}

impl From<HttpError> for TaxiiError {
    fn from(error: HttpError) -> Self {
        Self {
            url: error.url.clone(),
            cause: TaxiiCause::Http(error),
        }
    }
}

impl fmt::Display for TaxiiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.cause)
    }
}

impl std::error::Error for TaxiiError {}

/// Why a pull ended early; what was stored before it did holds.
#[derive(Debug)]
pub enum PullError<E> {
    /// The server, or the way to it.
    Taxii(TaxiiError),
    /// Whoever takes the pages.
    Store(E),
}

impl<E> From<TaxiiError> for PullError<E> {
    fn from(error: TaxiiError) -> Self {
        Self::Taxii(error)
    }
}

impl<E: fmt::Display> fmt::Display for PullError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taxii(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for PullError<E> {}
