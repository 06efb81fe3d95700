//! Which files a source is, and what each of them holds, told by content.

use super::Limits;
use super::LoadedSource;
use super::dataset;
use super::dataset::Dataset;
use super::error::Cause;
use super::error::LoadError;
use super::hosts;
use super::hosts::Hosts;
use super::lines;
use super::lines::LineReader;
use super::lines::Output;
use super::list::List;
use super::list::text_without_comment;
use super::misp;
use super::object::decode;
use super::scan::Scanner;
use super::stix;
use super::table::Header;
use super::table::Table;
use super::tally::Tally;
use super::value::Value;
use super::window::Window;
use super::zeek;
use super::zeek::ZeekIntel;
use crate::indicator::Intake;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

/// The first bytes of every compiled set.
const COMPILED_MAGIC: &[u8] = b"WPSET";

/// UTF-8's own byte order mark (RFC 8259 section 8.1 lets parsers pass over it).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines with a value that tell one kind of text from another: a screen or two.
const TELLING_LINES: usize = 100;

/// What a source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A STIX bundle.
    Stix,
    /// A TAXII 2.1 envelope.
    Envelope,
    /// A bare list of STIX objects.
    Objects,
    /// Events of MISP, or attributes of them.
    Misp,
    /// What lists the events of a MISP feed.
    MispManifest,
    /// Hashes of the values of a MISP feed.
    MispHashes,
    /// Values that MISP knows to be harmless.
    Warninglist,
    /// One value a line.
    List,
    /// An intelligence file of Zeek.
    ZeekIntel,
    /// A hosts file that leads names nowhere.
    Hosts,
    /// CSV with a header.
    Table,
    /// A dataset of Suricata.
    Dataset,
    /// A set compiled by watchpost.
    CompiledSet,
    /// JSON whose beginning does not say more.
    Json,
    /// Nothing that is read.
    Unknown(Unknown),
}

/// What else a source turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// White space alone.
    Empty,
    /// Packed, by the named means.
    Packed(&'static str),
    /// Text in UTF-16.
    Utf16,
    /// HTML or XML.
    Markup,
    /// No text.
    Binary,
}

/// What a source holds, by its first bytes: some thousand, or all where there are less.
pub fn kind_of(first_bytes: &[u8]) -> SourceKind {
    let bytes = first_bytes;
    if bytes.starts_with(COMPILED_MAGIC) {
        return SourceKind::CompiledSet;
    }
    let unknown = SourceKind::Unknown;
    for (magic, name) in [
        (b"\x1f\x8b".as_slice(), "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"PK\x03\x04", "zip"),
    ] {
        if bytes.starts_with(magic) {
            return unknown(Unknown::Packed(name));
        }
    }
    // the digit between the two is the size of its blocks
    if bytes.starts_with(b"BZh") && bytes.get(4..10) == Some(b"1AY&SY") {
        return unknown(Unknown::Packed("bzip2"));
    }
    // without a mark, a zero beside the first character of a text gives UTF-16 away
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0xff, ..] | [1..=0xff, 0, ..] = bytes {
        return unknown(Unknown::Utf16);
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    match bytes.trim_ascii_start().first() {
        None => unknown(Unknown::Empty),
        // an IPv6 address may stand in brackets
        Some(b'[') if begins_with_value(bytes) => SourceKind::List,
        Some(b'{' | b'[') => kind_of_json(sound_text(bytes)).unwrap_or(SourceKind::Json),
        Some(b'<') => unknown(Unknown::Markup),
        Some(_) if memchr::memchr(0, bytes).is_some() => unknown(Unknown::Binary),
        Some(_) => kind_of_text(bytes),
    }
}

/// What kind of text this is, by its lines; the last is left out where it could be cut.
fn kind_of_text(bytes: &[u8]) -> SourceKind {
    let whole = memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |end| end + 1);
    let lines: Vec<&str> = bytes
        .get(..whole)
        .unwrap_or_default()
        .split(|b| *b == b'\n')
        .map(|line| sound_text(line.get(..Limits::LONGEST_LINE).unwrap_or(line)))
        .collect();
    let comments = || {
        lines
            .iter()
            .take_while(|line| line.trim().is_empty() || line.starts_with('#'))
    };
    if comments().any(|line| zeek::names_columns(line)) {
        return SourceKind::ZeekIntel;
    }
    if header_of(bytes).is_some() {
        return SourceKind::Table;
    }
    let values = || {
        let texts = lines.iter().map(|line| text_without_comment(line));
        texts.filter(|text| !text.is_empty()).take(TELLING_LINES)
    };
    let (all, hosts) = values().fold((0, 0), |(all, hosts), line| {
        (
            all + 1,
            hosts + usize::from(hosts::names_of(line).is_some()),
        )
    });
    if hosts * 2 > all {
        return SourceKind::Hosts;
    }
    let mut kind = SourceKind::List;
    for line in values() {
        match dataset::form_of(line) {
            Some(dataset::Form::Plain) => {}
            Some(dataset::Form::Dataset) => kind = SourceKind::Dataset,
            Some(dataset::Form::FeedHash) => return SourceKind::MispHashes,
            None => return SourceKind::List,
        }
    }
    kind
}

/// The header of a table, by the first bytes of it.
fn header_of(bytes: &[u8]) -> Option<Header> {
    Header::find(bytes.split(|b| *b == b'\n').map(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        sound_text(line.get(..Limits::LONGEST_LINE).unwrap_or(line))
    }))
}

/// What a document with a member of this name is, if the name alone says so.
pub(super) fn kind_of_member(name: &str) -> Option<SourceKind> {
    match name {
        "Event" | "response" => Some(SourceKind::Misp),
        "matching_attributes" => Some(SourceKind::Warninglist),
        name if misp::is_uuid(name) => Some(SourceKind::MispManifest),
        _ => None,
    }
}

/// `None` where the text does not say, be it for its end.
fn kind_of_json(text: &str) -> Option<SourceKind> {
    let mut scanner = Scanner::new(text);
    let list = scanner.next().ok()? == b'[';
    if list {
        scanner.pass();
        if scanner.next().ok()? != b'{' {
            return None;
        }
    }
    let mut bundle_id = false;
    loop {
        scanner.pass();
        let name = decode(scanner.name().ok()?).ok()?;
        if let Some(kind) = kind_of_member(&name) {
            return Some(kind);
        }
        match &*name {
            "type" if list => return Some(SourceKind::Objects),
            "objects" if bundle_id => return Some(SourceKind::Stix),
            "objects" | "more" | "next" => return Some(SourceKind::Envelope),
            "list" if !list && scanner.next() == Ok(b'[') => return Some(SourceKind::Warninglist),
            _ => {}
        }
        let value = decode(scanner.value().ok()?);
        match (&*name, value.as_deref()) {
            ("type", Ok("bundle")) => return Some(SourceKind::Stix),
            ("id", Ok(id)) => bundle_id = id.starts_with("bundle--"),
            _ => {}
        }
        scanner.next().ok()?;
    }
}

/// The files that loading this path reads, in their order: itself, or those of a folder.
///
/// # Errors
/// When the folder cannot be read, or has no files.
pub fn source_files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    if path.is_dir() {
        // what is no file is told when the files are loaded
        files_of(path, &Limits::default(), &mut Vec::new())
    } else {
        Ok(vec![path.to_owned()])
    }
}

/// Loads one named source: a file, standard input as `-`, or the files of a folder.
pub(super) fn load(
    path: &Path,
    limits: &Limits,
    intake: &mut dyn Intake,
    progress: &mut dyn FnMut(u64),
    loaded: &mut Vec<LoadedSource>,
) {
    let name = path.to_string_lossy();
    if name == "-" {
        let mut input = io::stdin().lock();
        loaded.push(load_reader("-", &mut input, limits, intake, progress));
        return;
    }
    if !path.is_dir() {
        loaded.push(load_file(path, limits, intake, progress));
        return;
    }
    let mut faults = Vec::new();
    let files = match files_of(path, limits, &mut faults) {
        Ok(files) => files,
        Err(error) => {
            loaded.push(LoadedSource::failed(error));
            return;
        }
    };
    let first = loaded.len();
    loaded.extend(faults.into_iter().map(LoadedSource::failed));
    for file in files {
        loaded.push(load_file(&file, limits, intake, progress));
    }
    // a folder gave nothing when none of its files did; beside others, one is passed over
    let of_folder = loaded.get_mut(first..).unwrap_or_default();
    if of_folder.iter().any(|file| file.fatal.is_none()) {
        for file in &mut *of_folder {
            file.skipped = file.fatal.take();
        }
    }
    if of_folder
        .iter()
        .any(|file| file.skipped.is_none() && !is_refused_whole(file))
    {
        for file in of_folder.iter_mut().filter(|file| is_refused_whole(file)) {
            let report = &file.report;
            let first = report.refused.first().map(|first| Cause::AllRefused {
                refused: report.refused.len(),
                first: format!("{}: {}", first.path, first.reason),
            });
            file.skipped = first.map(|cause| LoadError::whole(&report.file, cause));
        }
    }
}

/// Whether the file is sound, but every object that counts was refused.
fn is_refused_whole(file: &LoadedSource) -> bool {
    let report = &file.report;
    file.fatal.is_none()
        && file.skipped.is_none()
        && report.loaded + report.revoked == 0
        && report.unseeable.is_empty()
        && !report.refused.is_empty()
}

/// Loads what a reader gives; `name` is a file's path, an exchange's name, or `-`.
pub fn load_reader(
    name: &str,
    reader: &mut dyn Read,
    limits: &Limits,
    intake: &mut dyn Intake,
    progress: &mut dyn FnMut(u64),
) -> LoadedSource {
    let mut tally = Tally::new(name, limits.listed);
    let mut window = Window::new(reader, progress, limits.window);
    intake.begin_source(name);
    let result = read(&mut window, limits, name, &mut tally, intake);
    if result.is_err() {
        intake.abandon_source();
        tally.abandon();
    }
    LoadedSource {
        report: tally.finish(),
        fatal: result.err(),
        skipped: None,
    }
}

fn load_file(
    path: &Path,
    limits: &Limits,
    intake: &mut dyn Intake,
    progress: &mut dyn FnMut(u64),
) -> LoadedSource {
    let name = path.to_string_lossy();
    match std::fs::File::open(path) {
        Ok(mut file) => load_reader(&name, &mut file, limits, intake, progress),
        Err(error) => LoadedSource::failed(LoadError::whole(&name, error)),
    }
}

fn read(
    window: &mut Window<'_>,
    limits: &Limits,
    file: &str,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> Result<(), LoadError> {
    let fail = |error: io::Error| LoadError::whole(file, error);
    window.fill().map_err(fail)?;
    if window.bytes().starts_with(BYTE_ORDER_MARK) {
        window.consume(BYTE_ORDER_MARK.len());
        tally.warn("begins with a byte order mark: ignored", String::new);
    }
    // white space before the content takes no room, however long
    loop {
        let bytes = window.bytes();
        let blank = bytes.len() - bytes.trim_ascii_start().len();
        let all = blank == bytes.len();
        window.consume(blank);
        if !all || window.ended() {
            break;
        }
        window.fill().map_err(fail)?;
    }
    // the rest of the first bytes, where white space has pushed them out
    if window.bytes().len() < limits.window {
        window.fill().map_err(fail)?;
    }
    let kind = kind_of(window.bytes());
    let cause = match kind {
        SourceKind::Stix | SourceKind::Envelope | SourceKind::Objects | SourceKind::Json => {
            return stix::read(window, limits, file, tally, intake);
        }
        SourceKind::Misp => return misp::read(window, limits, file, tally, intake),
        SourceKind::List => {
            return read_lines(&mut List::default(), window, limits, file, tally, intake);
        }
        SourceKind::ZeekIntel => {
            return read_lines(
                &mut ZeekIntel::default(),
                window,
                limits,
                file,
                tally,
                intake,
            );
        }
        SourceKind::Hosts => return read_lines(&mut Hosts, window, limits, file, tally, intake),
        SourceKind::Dataset => {
            return read_lines(&mut Dataset, window, limits, file, tally, intake);
        }
        SourceKind::Table => match header_of(window.bytes()) {
            Some(header) => {
                let mut table = Table::new(header);
                return read_lines(&mut table, window, limits, file, tally, intake);
            }
            None => Cause::Binary,
        },
        SourceKind::MispManifest => Cause::MispManifest,
        SourceKind::MispHashes => Cause::MispHashes,
        SourceKind::Warninglist => Cause::Warninglist,
        SourceKind::CompiledSet => Cause::CompiledSet,
        SourceKind::Unknown(unknown) => match unknown {
            Unknown::Empty => Cause::Empty,
            Unknown::Packed(how) => Cause::Packed(how),
            Unknown::Utf16 => Cause::Utf16,
            Unknown::Markup => Cause::Markup,
            Unknown::Binary => Cause::Binary,
        },
    };
    Err(LoadError::whole(file, cause))
}

fn read_lines(
    reader: &mut dyn LineReader,
    window: &mut Window<'_>,
    limits: &Limits,
    file: &str,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> Result<(), LoadError> {
    let name = match file.rsplit(['/', std::path::MAIN_SEPARATOR]).next() {
        Some(name) if !name.is_empty() => name,
        _ => file,
    };
    let mut output = Output {
        name,
        tally,
        intake,
    };
    lines::read(reader, window, limits, file, &mut output)
}

/// The files of a folder and its folders, in order of their paths.
///
/// Hidden ones are left out, and so are links to folders, which could lead in
/// circles. Of a MISP feed, the events are there that its manifest names.
/// `faults` is given what is wrong without being a file.
fn files_of(
    folder: &Path,
    limits: &Limits,
    faults: &mut Vec<LoadError>,
) -> Result<Vec<PathBuf>, LoadError> {
    let name = folder.to_string_lossy();
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        if misp::is_feed(&folder) {
            match misp::events_of(&folder, limits, faults) {
                Ok(events) => files.extend(events),
                Err(error) => faults.push(error),
            }
            if files.len() + folders.len() > limits.files {
                return Err(LoadError::whole(&name, Cause::TooManyFiles(limits.files)));
            }
            continue;
        }
        let fail = |error: io::Error| LoadError::whole(&folder.to_string_lossy(), error);
        for entry in std::fs::read_dir(&folder).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_dir() {
                if depth < limits.folder_depth {
                    folders.push((entry.path(), depth + 1));
                }
            } else if entry.path().is_file() {
                files.push(entry.path());
            }
            if files.len() + folders.len() > limits.files {
                return Err(LoadError::whole(&name, Cause::TooManyFiles(limits.files)));
            }
        }
    }
    if files.is_empty() && faults.is_empty() {
        return Err(LoadError::whole(&name, Cause::NoFiles));
    }
    files.sort();
    Ok(files)
}

/// Whether the first line is a value of a list.
fn begins_with_value(bytes: &[u8]) -> bool {
    let line = bytes.trim_ascii_start().split(|b| *b == b'\n').next();
    let text = sound_text(line.unwrap_or_default());
    text.len() <= Limits::LONGEST_LINE && Value::parse(text).is_ok()
}

/// The text that bytes begin with.
fn sound_text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let sound = bytes.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(sound).unwrap_or_default()
        }
    }
}
