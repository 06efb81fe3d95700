//! Events of MISP, and attributes of them, in documents of any size.
//!
//! Four shapes of documents hold events: `{"Event": …}`, a list of these, and
//! either as the value of `response`. The answer to a search for attributes
//! is one of `{"response": {"Attribute": […]}}`. Each event is read whole,
//! since what decides over its attributes may come after them.

mod event;
mod feed;
mod json;
mod kind;

pub(super) use feed::events_of;
pub(super) use feed::is_feed;
pub(super) use json::is_uuid;

use super::Limits;
use super::document;
use super::document::Document;
use super::document::Next;
use super::document::Stop;
use super::error::Cause;
use super::error::LoadError;
use super::object::decode;
use super::object::kind_of_value;
use super::scan::Scanner;
use super::scan::Skipper;
use super::tally::Tally;
use super::tally::show;
use super::window::Window;
use crate::indicator::Intake;
use event::Counts;
use std::borrow::Cow;

/// Reads the document that the window stands before.
pub(super) fn read(
    window: &mut Window<'_>,
    limits: &Limits,
    file: &str,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> Result<(), LoadError> {
    let mut events = Events {
        step: Step::Document,
        within_response: false,
        member: String::new(),
        list: None,
        index: 0,
        found: false,
        counts: Counts::default(),
        largest_event: limits.largest_event,
    };
    document::read(&mut events, window, file, tally, intake)
}

/// How far a document is read.
#[derive(Debug)]
struct Events {
    step: Step,
    /// Whether members are those of the object in `response`.
    within_response: bool,
    /// The member whose value is due.
    member: String,
    /// The list whose elements are due; `None`: none is.
    list: Option<List>,
    /// Index of the next element of the list.
    index: u64,
    /// Whether an event, an attribute or an empty list of them was there.
    found: bool,
    counts: Counts,
    largest_event: usize,
}

/// Which list elements belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    /// The document itself, of events.
    Bare,
    /// `response`, of events.
    Response,
    /// `response.Attribute`.
    Attributes,
}

/// What is due next.
#[derive(Debug)]
enum Step {
    Document,
    Name {
        first: bool,
    },
    Value,
    MemberEnd,
    Element {
        first: bool,
    },
    ElementEnd,
    /// The rest of a value that is too large to be kept.
    Skip(Skipper),
    End,
}

impl Document for Events {
    fn step(
        &mut self,
        byte: u8,
        scanner: &mut Scanner<'_>,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<(), Stop> {
        self.step = match (&self.step, byte) {
            (Step::Document, b'{') => {
                scanner.pass();
                Step::Name { first: true }
            }
            (Step::Document, b'[') => {
                scanner.pass();
                self.begin(List::Bare)
            }
            (Step::Document, _) => return Ok(scanner.malformed("'{' is expected here")?),
            (Step::Name { first: true }, b'}') | (Step::MemberEnd, b'}') => {
                scanner.pass();
                if self.within_response {
                    self.within_response = false;
                    Step::MemberEnd
                } else {
                    Step::End
                }
            }
            (Step::Name { .. }, _) => {
                let name = scanner.name()?;
                self.member = decode(name).map_or_else(|_| name.to_owned(), Cow::into_owned);
                Step::Value
            }
            (Step::MemberEnd, b',') => {
                scanner.pass();
                Step::Name { first: false }
            }
            (Step::MemberEnd, _) => {
                return Ok(scanner.malformed("a comma or '}' is expected here")?);
            }
            (Step::Value, _) => self.value(byte, scanner, tally, intake)?,
            (Step::Element { first: true }, b']') | (Step::ElementEnd, b']') => {
                scanner.pass();
                match self.list.take() {
                    Some(List::Bare) | None => Step::End,
                    Some(List::Response | List::Attributes) => Step::MemberEnd,
                }
            }
            (Step::Element { .. }, _) => {
                let path = self.path().unwrap_or_default();
                let raw = scanner.value()?;
                if raw.len() > self.largest_event {
                    self.refuse_size(tally);
                } else if self.list == Some(List::Attributes) {
                    event::deliver_attribute(raw, &path, &mut self.counts, tally, intake);
                } else {
                    self.found |= self.element(raw, &path, tally, intake);
                }
                self.index += 1;
                Step::ElementEnd
            }
            (Step::ElementEnd, b',') => {
                scanner.pass();
                Step::Element { first: false }
            }
            (Step::ElementEnd, _) => {
                return Ok(scanner.malformed("a comma or ']' is expected here")?);
            }
            (Step::End, _) => {
                return Ok(scanner.malformed("nothing may follow the document")?);
            }
            // document::read deals with it
            (Step::Skip(_), _) => return Ok(()),
        };
        Ok(())
    }

    fn skipper(&mut self) -> Option<&mut Skipper> {
        match &mut self.step {
            Step::Skip(skipper) => Some(skipper),
            _ => None,
        }
    }

    fn skipped(&mut self) {
        self.step = if self.list.is_some() {
            Step::ElementEnd
        } else {
            Step::MemberEnd
        };
    }

    fn look_at_pending(&mut self, pending: &str, tally: &mut Tally) -> Result<Next, Cause> {
        if pending.len() <= self.largest_event {
            return Ok(Next::Fill);
        }
        // strings, lists and objects can be passed over; no number is that long
        let can_skip = pending.starts_with(['{', '[', '"']);
        if !can_skip || !matches!(self.step, Step::Value | Step::Element { .. }) {
            return Err(Cause::TooLarge(self.largest_event));
        }
        if self.list.is_some() || self.member == "Event" {
            self.refuse_size(tally);
        }
        self.index += 1;
        self.step = Step::Skip(Skipper::default());
        Ok(Next::Again)
    }

    fn is_whole(&self) -> bool {
        matches!(self.step, Step::End)
    }

    fn finish(&mut self, file: &str, tally: &mut Tally) -> Result<(), LoadError> {
        if !self.found {
            let what = "neither a MISP event (\"Event\": {…}) nor the answer to a search for \
                        events or attributes (\"response\": […])";
            return Err(LoadError::whole(file, Cause::Shape(what.to_owned())));
        }
        self.counts.warn(tally);
        Ok(())
    }

    fn path(&self) -> Option<String> {
        let member = match (&self.step, self.list) {
            (_, Some(List::Bare)) => format!("[{}]", self.index),
            (_, Some(List::Response)) => format!("response[{}]", self.index),
            (_, Some(List::Attributes)) => format!("response.Attribute[{}]", self.index),
            (Step::Value, None) if self.within_response => {
                format!("response.{}", show(&self.member))
            }
            (Step::Value, None) => show(&self.member),
            _ => return None,
        };
        Some(member)
    }
}

impl Events {
    fn begin(&mut self, list: List) -> Step {
        self.list = Some(list);
        self.index = 0;
        Step::Element { first: true }
    }

    /// The value of a member, of which lists and the object in `response` are only begun.
    fn value(
        &mut self,
        byte: u8,
        scanner: &mut Scanner<'_>,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<Step, Stop> {
        match (self.within_response, self.member.as_str(), byte) {
            (false, "response", b'[') => {
                scanner.pass();
                self.found = true;
                return Ok(self.begin(List::Response));
            }
            (true, "Attribute", b'[') => {
                scanner.pass();
                self.found = true;
                return Ok(self.begin(List::Attributes));
            }
            (false, "response", b'{') => {
                scanner.pass();
                self.within_response = true;
                return Ok(Step::Name { first: true });
            }
            _ => {}
        }
        let raw = scanner.value()?;
        if self.member == "Event" {
            self.found = true;
            let path = self.path().unwrap_or_default();
            if raw.len() > self.largest_event {
                self.refuse_size(tally);
            } else {
                event::deliver(raw, &path, &mut self.counts, tally, intake);
            }
        }
        Ok(Step::MemberEnd)
    }

    /// An element of a list of events; whether it is one.
    fn element(
        &mut self,
        raw: &str,
        path: &str,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> bool {
        match json::members(raw, &["Event"]) {
            Ok([Some(event)]) => {
                let path = format!("{path}.Event");
                event::deliver(event, &path, &mut self.counts, tally, intake);
                return true;
            }
            Ok([None]) if raw.starts_with('{') => {
                let reason = "the member 'Event' is missing".to_owned();
                tally.refuse("", path.to_owned(), reason);
            }
            Ok([None]) => {
                let reason = format!("must be an object, not {}", kind_of_value(raw));
                tally.refuse("", path.to_owned(), reason);
            }
            Err(reason) => tally.refuse("", path.to_owned(), reason),
        }
        false
    }

    fn refuse_size(&mut self, tally: &mut Tally) {
        let largest = self.largest_event;
        let reason = format!("the event is larger than {largest} bytes: split it");
        tally.refuse("", self.path().unwrap_or_default(), reason);
        self.found = true;
    }
}
