//! What partners share, read from files: STIX bundles, TAXII envelopes, MISP
//! events and feeds, plain lists, and what other sensors read; and the way to
//! the partners, over [`http`] and with [`taxii`].
//!
//! [`load`] takes the sources that a user named and hands every indicator to
//! an [`Intake`]. What a file is, its content says, never its name. Files of
//! any size load in bounded memory. A broken object costs itself alone; a
//! document that is broken as a whole costs all of it, since nobody can say
//! what its author meant, and the intake forgets what came of it.

mod dataset;
mod document;
mod error;
#[cfg(test)]
pub(crate) mod fuzz;
mod hosts;
pub mod http;
mod lines;
mod list;
mod misp;
pub mod misp_server;
mod object;
mod pattern;
mod refang;
mod scan;
mod source;
mod stix;
mod table;
mod tally;
pub mod taxii;
mod trust;
mod value;
mod window;
mod zeek;

#[cfg(test)]
mod tests;

pub use error::Cause;
pub use error::LoadError;
pub use lines::NAMESPACE;
pub use lines::derive_id;
pub(crate) use refang::refang;
pub use source::SourceKind;
pub use source::Unknown;
pub use source::kind_of;
pub use source::load_reader;
pub use source::source_files;
pub(crate) use tally::shorten;
pub use trust::Trusted;
pub(crate) use value::Value as ListedValue;
pub use window::Position;

use crate::indicator::Intake;
use crate::indicator::SourceReport;
use std::path::PathBuf;

/// Bounds of what is read; the defaults leave room for all that is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the largest STIX object that is read; a larger one is refused and passed over.
    pub largest_object: usize,
    /// Bytes of the largest MISP event, and of a feed's manifest, that is read; likewise.
    pub largest_event: usize,
    /// Bytes of the longest line of a list.
    pub longest_line: usize,
    /// Refused objects that a report lists, and as many that cannot be seen; further ones it counts.
    pub listed: usize,
    /// Files of a folder.
    pub files: usize,
    /// Folders within folders below the one named.
    pub folder_depth: usize,
    /// Bytes that are read at once.
    pub window: usize,
}

impl Limits {
    /// Indicators stay below 100 KiB; reports and small samples as base64 go on to a few MiB.
    pub const LARGEST_OBJECT: usize = 16 << 20;
    /// Events without samples stay below 10 MB; one is held whole, since what decides over its
    /// attributes may come after them.
    pub const LARGEST_EVENT: usize = 64 << 20;
    /// Browsers and servers stop at 8 KiB for a URL, the longest value there is.
    pub const LONGEST_LINE: usize = 16 << 10;
    /// More than anybody reads; some 30 MB when each shows a long value.
    pub const LISTED: usize = 100_000;
    /// A folder with more is no folder of bundles, but somebody's home.
    pub const FILES: usize = 100_000;
    /// Deeper than any published tree of bundles, and enough to stop.
    pub const FOLDER_DEPTH: usize = 16;
    /// Large enough that reading costs no calls, small enough for the cache of a core.
    pub const WINDOW: usize = 256 << 10;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            largest_object: Self::LARGEST_OBJECT,
            largest_event: Self::LARGEST_EVENT,
            longest_line: Self::LONGEST_LINE,
            listed: Self::LISTED,
            files: Self::FILES,
            folder_depth: Self::FOLDER_DEPTH,
            window: Self::WINDOW,
        }
    }
}

/// What became of one file.
#[derive(Debug)]
pub struct LoadedSource {
    /// What it gave; empty where it gave nothing.
    pub report: SourceReport,
    /// Why it gave nothing at all; `None`: it did, or `skipped` says more.
    pub fatal: Option<LoadError>,
    /// Why it gave nothing, where other files of the same folder did; `None` for all others.
    pub skipped: Option<LoadError>,
}

impl LoadedSource {
    /// A source that could not even be begun.
    fn failed(error: LoadError) -> Self {
        Self {
            report: SourceReport {
                file: error.file.clone(),
                ..SourceReport::default()
            },
            fatal: Some(error),
            skipped: None,
        }
    }
}

/// Loads every source, in order, and says what became of each file.
///
/// A source is a file, a folder (its files in order of their paths, and those
/// of the folders in it), or standard input as `-`. `progress` is told how
/// many bytes were read since it was told last.
pub fn load(
    sources: &[PathBuf],
    intake: &mut dyn Intake,
    progress: &mut dyn FnMut(u64),
) -> Vec<LoadedSource> {
    load_within(&Limits::default(), sources, intake, progress)
}

/// As [`load`], within other limits.
pub fn load_within(
    limits: &Limits,
    sources: &[PathBuf],
    intake: &mut dyn Intake,
    progress: &mut dyn FnMut(u64),
) -> Vec<LoadedSource> {
    let mut loaded = Vec::new();
    for path in sources {
        source::load(path, limits, intake, progress, &mut loaded);
    }
    loaded
}
