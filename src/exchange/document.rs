//! Steps through a JSON document of any size, in bounded memory.
//!
//! A [`Document`] takes its text in steps: a member's name, a member's value,
//! one element of a list. A step that meets the end of the window is taken
//! again once more of the source is there.

use super::error::Cause;
use super::error::LoadError;
use super::scan::DEEPEST;
use super::scan::Fault;
use super::scan::Scanner;
use super::scan::Skipper;
use super::tally::Tally;
use super::window::Window;
use crate::indicator::Intake;

/// A format of documents, and how far one is read.
pub(super) trait Document {
    /// Takes one step whole, or none of it; `byte` is the next one.
    fn step(
        &mut self,
        byte: u8,
        scanner: &mut Scanner<'_>,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<(), Stop>;

    /// Passes over the rest of a value too large to be kept; `None`: there is none.
    fn skipper(&mut self) -> Option<&mut Skipper>;

    /// The value that was passed over has ended.
    fn skipped(&mut self);

    /// Looks at a value whose end is not there yet; one that has outgrown the
    /// limit is refused, and passed over from here on.
    fn look_at_pending(&mut self, pending: &str, tally: &mut Tally) -> Result<Next, Cause>;

    /// Whether nothing but white space may follow.
    fn is_whole(&self) -> bool;

    /// The end of the document: was it of the format at all?
    fn finish(&mut self, file: &str, tally: &mut Tally) -> Result<(), LoadError>;

    /// JSON path of what is due; `None` where that is no member or element.
    fn path(&self) -> Option<String>;
}

/// How to go on at the end of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// With more of the source.
    Fill,
    /// With what is there.
    Again,
}

/// Why the steps stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The text is no JSON, or not all of it.
    Fault(Fault),
    /// The document is of another shape than the format's.
    Shape(Cause),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Reads the document that the window stands before.
pub(super) fn read(
    document: &mut dyn Document,
    window: &mut Window<'_>,
    file: &str,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> Result<(), LoadError> {
    loop {
        let (text, broken) = window.text();
        let mut scanner = Scanner::new(text);
        let (done, stop) = steps(document, &mut scanner, tally, intake);
        let next = match stop {
            Stop::Fault(Fault::Incomplete) if broken => {
                let at = text.len();
                let byte = window.bytes().get(at).copied().unwrap_or_default();
                Err((at, Cause::NotUtf8(byte)))
            }
            Stop::Fault(Fault::Incomplete) if window.ended() => {
                if document.is_whole() {
                    return document.finish(file, tally);
                }
                Err((text.len(), Cause::CutShort))
            }
            Stop::Fault(Fault::Incomplete) => {
                let pending = text.get(done..).unwrap_or_default();
                match document.look_at_pending(pending, tally) {
                    Ok(next) => Ok(next),
                    Err(cause) => Err((done, cause)),
                }
            }
            Stop::Fault(Fault::Malformed { at, what }) => Err((at, Cause::Malformed(what))),
            Stop::Fault(Fault::TooDeep { at }) => Err((at, Cause::TooDeep(DEEPEST))),
            Stop::Shape(cause) => Err((scanner.at(), cause)),
        };
        let next = match next {
            Ok(next) => next,
            Err((at, cause)) => {
                return Err(LoadError {
                    file: file.to_owned(),
                    position: Some(window.position(at)),
                    path: document.path(),
                    cause,
                });
            }
        };
        window.consume(done);
        if next == Next::Fill
            && let Err(error) = window.fill()
        {
            return Err(LoadError::whole(file, error));
        }
    }
}

/// Takes steps while the text lasts: how much of it is used up, and what stopped them.
fn steps(
    document: &mut dyn Document,
    scanner: &mut Scanner<'_>,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> (usize, Stop) {
    loop {
        if let Some(skipper) = document.skipper() {
            let (used, ended) = skipper.skip(scanner.rest());
            scanner.advance(used);
            if !ended {
                return (scanner.at(), Fault::Incomplete.into());
            }
            document.skipped();
            continue;
        }
        // white space is used up at once, so that endless white space takes no room
        let byte = match scanner.next() {
            Ok(byte) => byte,
            Err(fault) => return (scanner.at(), fault.into()),
        };
        let done = scanner.at();
        if let Err(stop) = document.step(byte, scanner, tally, intake) {
            return (done, stop);
        }
    }
}
