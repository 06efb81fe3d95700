//! Why a source gave nothing.

use super::window::Position;
use std::fmt;
use std::io;

/// A source that is unusable as a whole: which, where, why and what to do.
#[derive(Debug)]
pub struct LoadError {
    /// The file as it was named, or `-`.
    pub file: String,
    /// Where in the file; `None`: all of it.
    pub position: Option<Position>,
    /// JSON path of the member or element at fault; `None` where there is none.
    pub path: Option<String>,
    /// What is wrong.
    pub cause: Cause,
}

/// What makes a source unusable; the text of each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The file cannot be opened, listed or read.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// No byte but white space.
    #[error("it is empty: a STIX bundle, a MISP event or a list of values is expected")]
    Empty,
    /// A folder without files.
    #[error("the folder holds no file: name a folder of STIX bundles, MISP events or lists")]
    NoFiles,
    /// A folder with more files than are read.
    #[error("the folder holds more than {0} files: name a folder of bundles and lists alone")]
    TooManyFiles(usize),
    /// A list of a MISP feed's events, without them.
    #[error("the manifest of a MISP feed: name the folder that it is in")]
    MispManifest,
    /// Hashes of the values of a MISP feed, which are no indicators.
    #[error("the look-up table of a MISP feed (hashes.csv): name the folder that it is in")]
    MispHashes,
    /// Events that other members of the document come before, and long ones.
    #[error("a MISP event far behind the start of the document: put 'Event' or 'response' first")]
    MispBehind,
    /// What is known to be harmless.
    #[error("a MISP warninglist, which says what is harmless: name it with --rules")]
    Warninglist,
    /// A compiled set, which is loaded without reading it here.
    #[error("a compiled set: it cannot be merged with other sources; name it alone")]
    CompiledSet,
    /// Packed data; the word says how.
    #[error("{0} data: unpack it first")]
    Packed(&'static str),
    /// Text in another encoding than UTF-8.
    #[error("UTF-16 text: convert it to UTF-8 first")]
    Utf16,
    /// A web page or the like.
    #[error("HTML or XML, neither a STIX bundle nor a list: is it an error page of the server?")]
    Markup,
    /// Bytes that are no text at all.
    #[error("binary data, neither a STIX bundle nor a list")]
    Binary,
    /// A byte that is not UTF-8.
    #[error("byte {0:#04x} is not UTF-8: convert the file to UTF-8 or fetch it again")]
    NotUtf8(u8),
    /// JSON that breaks the grammar.
    #[error("no JSON: {0}; mend the file or fetch it again")]
    Malformed(&'static str),
    /// JSON that ends too early.
    #[error("the file ends within the JSON document: fetch it again")]
    CutShort,
    /// JSON nested beyond all use.
    #[error("nested more than {0} deep: no bundle is; the file is hostile or damaged")]
    TooDeep(u32),
    /// A member beside the objects that is beyond all use.
    #[error("larger than {0} bytes: no such member is; the file is hostile or damaged")]
    TooLarge(usize),
    /// JSON, but not of the shape that is read; what is wrong and what to do.
    #[error("{0}")]
    Shape(String),
    /// All objects were refused, each for a reason of its own.
    #[error("nothing of it can be used; {refused} objects refused, the first at {first}")]
    AllRefused {
        /// How many.
        refused: usize,
        /// Where the first of them is, and what is wrong with it.
        first: String,
    },
    /// A text without one value that a list may hold; why its first line is none.
    #[error(
        "neither a STIX bundle nor a list: none of its lines is an address, network, domain \
         name, URL, hash or mail address{0}"
    )]
    NoValue(String),
    /// Sentences with the odd line that could be a value.
    #[error(
        "neither a STIX bundle nor a list: {prose} lines of text against {values} that could be \
         values; put text behind '#'"
    )]
    Prose {
        /// Lines of several words.
        prose: u64,
        /// Lines that could be values.
        values: u64,
    },
}

impl LoadError {
    /// All of `file` is wrong.
    pub(super) fn whole(file: &str, cause: impl Into<Cause>) -> Self {
        Self {
            file: file.to_owned(),
            position: None,
            path: None,
            cause: cause.into(),
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position {
            line,
            column,
            offset,
        }) = self.position
        {
            write!(f, ": line {line}, column {column} (byte {offset})")?;
        }
        if let Some(path) = &self.path {
            write!(f, ": {path}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            _ => None,
        }
    }
}
