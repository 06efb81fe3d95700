//! Feeds of MISP: folders of events, and a manifest that names those that count.

use super::super::Limits;
use super::super::SourceKind;
use super::super::error::Cause;
use super::super::error::LoadError;
use super::super::kind_of;
use super::super::scan::Fault;
use super::super::scan::Scanner;
use super::super::tally::show;
use super::json;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

/// What lists the events of a feed.
const MANIFEST: &str = "manifest.json";

/// Bytes that tell whether a file is a manifest: its first member does.
const TELLING_BYTES: u64 = 4_096;

/// Whether the folder is one that MISP publishes as a feed.
pub(in super::super) fn is_feed(folder: &Path) -> bool {
    let mut start = Vec::new();
    let path = folder.join(MANIFEST);
    path.is_file()
        && File::open(path)
            .and_then(|file| file.take(TELLING_BYTES).read_to_end(&mut start))
            .is_ok()
        && kind_of(&start) == SourceKind::MispManifest
}

/// The files of the events that a feed's manifest names, in the order of their
/// ids. A name in it that is no UUID could lead anywhere: `faults` is given it.
pub(in super::super) fn events_of(
    folder: &Path,
    limits: &Limits,
    faults: &mut Vec<LoadError>,
) -> Result<Vec<PathBuf>, LoadError> {
    let path = folder.join(MANIFEST);
    let file = path.to_string_lossy();
    let fail = |cause: Cause| LoadError::whole(&file, cause);
    let mut bytes = Vec::new();
    // a byte more than is read, to see that there is one
    let most = limits.largest_event as u64 + 1;
    File::open(&path)
        .and_then(|manifest| manifest.take(most).read_to_end(&mut bytes))
        .map_err(|error| fail(error.into()))?;
    if bytes.len() > limits.largest_event {
        return Err(fail(Cause::TooLarge(limits.largest_event)));
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| {
        let byte = bytes.get(error.valid_up_to()).copied();
        fail(Cause::NotUtf8(byte.unwrap_or_default()))
    })?;
    let text = text.trim_start_matches('\u{feff}').trim_ascii();
    let mut scanner = Scanner::new(text);
    match scanner.value() {
        Ok(whole) if whole.len() == text.len() => {}
        Ok(_) => return Err(fail(Cause::Malformed("nothing may follow the document"))),
        Err(Fault::Malformed { what, .. }) => return Err(fail(Cause::Malformed(what))),
        Err(Fault::Incomplete) => return Err(fail(Cause::CutShort)),
        Err(Fault::TooDeep { .. }) => {
            return Err(fail(Cause::TooDeep(super::super::scan::DEEPEST)));
        }
    }
    let mut events = Vec::new();
    let listed = json::each_member(text, |name, _| {
        if json::is_uuid(name) {
            events.push(folder.join(format!("{name}.json")));
        } else if faults.len() < limits.listed {
            faults.push(LoadError {
                file: file.clone().into_owned(),
                position: None,
                path: Some(show(name)),
                cause: Cause::Shape("is no UUID, so that it names no event".to_owned()),
            });
        }
        if events.len() > limits.files {
            return Err(String::new());
        }
        Ok(())
    });
    if listed.is_err() {
        return Err(fail(Cause::TooManyFiles(limits.files)));
    }
    events.sort();
    events.dedup();
    Ok(events)
}
