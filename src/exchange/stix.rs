//! STIX bundles and TAXII envelopes of any size, in bounded memory.
//!
//! Objects go to the intake as they come; what proves later that the document
//! is no bundle makes the caller take them back.

use super::Limits;
use super::document;
use super::document::Document;
use super::document::Next;
use super::document::Stop;
use super::error::Cause;
use super::error::LoadError;
use super::object::Object;
use super::object::Surroundings;
use super::object::decode;
use super::object::kind_of_value;
use super::scan::Scanner;
use super::scan::Skipper;
use super::source::SourceKind;
use super::source::kind_of_member;
use super::tally::Tally;
use super::tally::quote;
use super::tally::show;
use super::window::Window;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use std::borrow::Cow;

/// Reads the document that the window stands before.
pub(super) fn read(
    window: &mut Window<'_>,
    limits: &Limits,
    file: &str,
    tally: &mut Tally,
    intake: &mut dyn Intake,
) -> Result<(), LoadError> {
    let mut bundle = Bundle::new(limits.largest_object);
    document::read(&mut bundle, window, file, tally, intake)
}

/// How far a document is read.
#[derive(Debug)]
struct Bundle {
    step: Step,
    /// Whether the document is a list of objects without a bundle around it.
    bare: bool,
    /// Index of the next element of `objects`.
    index: u64,
    /// The member whose value is due.
    member: String,
    has_type: bool,
    has_objects: bool,
    /// Whether any element of `objects` says a type.
    has_typed: bool,
    /// `more` or `next`, which only an envelope has.
    has_more: bool,
    has_id: bool,
    version: Option<PatternVersion>,
    largest_object: usize,
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
    /// The rest of an element that is too large to be kept.
    Skip(Skipper),
    ElementEnd,
    End,
}

impl Document for Bundle {
    fn step(
        &mut self,
        byte: u8,
        scanner: &mut Scanner<'_>,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<(), Stop> {
        self.step = match (&self.step, byte) {
            (Step::Element { first: true }, b']') | (Step::ElementEnd, b']') => {
                scanner.pass();
                if self.bare {
                    Step::End
                } else {
                    Step::MemberEnd
                }
            }
            (Step::Element { .. }, _) => {
                self.element(byte, scanner, tally, intake)?;
                Step::ElementEnd
            }
            (Step::ElementEnd, b',') => {
                scanner.pass();
                Step::Element { first: false }
            }
            (Step::ElementEnd, _) => {
                return Ok(scanner.malformed("a comma or ']' is expected here")?);
            }
            (Step::Document, b'{') => {
                scanner.pass();
                Step::Name { first: true }
            }
            (Step::Document, b'[') => {
                scanner.pass();
                self.bare = true;
                self.has_objects = true;
                tally.warn(
                    "a bare list of objects, without a bundle around it",
                    String::new,
                );
                Step::Element { first: true }
            }
            (Step::Document, _) => {
                return Ok(scanner.malformed("'{' is expected here")?);
            }
            (Step::Name { first: true }, b'}') | (Step::MemberEnd, b'}') => {
                scanner.pass();
                Step::End
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
            (Step::Value, b'[') if self.member == "objects" => {
                self.once(self.has_objects)?;
                self.has_objects = true;
                scanner.pass();
                Step::Element { first: true }
            }
            (Step::Value, _) => {
                // seen before the value is whole, so that a long one does not hide it
                if !self.has_type
                    && let Some(kind) = kind_of_member(&self.member)
                {
                    return Err(Stop::Shape(match kind {
                        SourceKind::MispManifest => Cause::MispManifest,
                        SourceKind::Warninglist => Cause::Warninglist,
                        _ => Cause::MispBehind,
                    }));
                }
                let mut ahead = scanner.clone();
                let raw = ahead.value()?;
                self.value(raw, tally)?;
                *scanner = ahead;
                Step::MemberEnd
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
        self.step = Step::ElementEnd;
    }

    fn look_at_pending(&mut self, pending: &str, tally: &mut Tally) -> Result<Next, Cause> {
        if pending.len() <= self.largest_object {
            return Ok(Next::Fill);
        }
        if !matches!(self.step, Step::Element { .. }) {
            return Err(Cause::TooLarge(self.largest_object));
        }
        let mut object = Object::default();
        // being cut it is faulty; the members before the cut are there
        let _ = object.scan(&mut Scanner::new(pending));
        let path = self.surroundings().path();
        tally.refuse(&object.shown_id(), path, self.too_large());
        self.has_typed |= object.has_type();
        self.index += 1;
        self.step = Step::Skip(Skipper::default());
        Ok(Next::Again)
    }

    fn is_whole(&self) -> bool {
        matches!(self.step, Step::End)
    }

    fn finish(&mut self, file: &str, tally: &mut Tally) -> Result<(), LoadError> {
        if !(self.has_type || self.has_objects || self.has_more) {
            let what = "neither a STIX bundle (\"type\": \"bundle\") nor a TAXII envelope \
                        (\"objects\": […]) nor a MISP event (\"Event\": {…})";
            return Err(LoadError::whole(file, Cause::Shape(what.to_owned())));
        }
        // a list of anything else is not meant for us
        if self.bare && self.index > 0 && !self.has_typed {
            let what = "a list of JSON values without a STIX object";
            return Err(LoadError::whole(file, Cause::Shape(what.to_owned())));
        }
        if self.has_type && !self.has_id {
            tally.warn("the bundle has no id", String::new);
        }
        Ok(())
    }

    fn path(&self) -> Option<String> {
        match self.step {
            Step::Value => Some(show(&self.member)),
            Step::Element { .. } | Step::Skip(_) => Some(self.surroundings().path()),
            _ => None,
        }
    }
}

impl Bundle {
    const fn new(largest_object: usize) -> Self {
        Self {
            step: Step::Document,
            bare: false,
            index: 0,
            member: String::new(),
            has_type: false,
            has_objects: false,
            has_typed: false,
            has_more: false,
            has_id: false,
            version: None,
            largest_object,
        }
    }

    /// One element of `objects`.
    fn element(
        &mut self,
        byte: u8,
        scanner: &mut Scanner<'_>,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<(), Stop> {
        let surroundings = self.surroundings();
        if byte == b'{' {
            let start = scanner.at();
            let mut object = Object::default();
            object.scan(scanner)?;
            self.has_typed |= object.has_type();
            if scanner.at() - start > self.largest_object {
                tally.refuse(&object.shown_id(), surroundings.path(), self.too_large());
            } else {
                object.deliver(&surroundings, tally, intake);
            }
        } else {
            let kind = kind_of_value(scanner.value()?);
            let reason = format!("must be an object, not {kind}");
            tally.refuse("", surroundings.path(), reason);
        }
        self.index += 1;
        Ok(())
    }

    /// A member beside the objects.
    fn value(&mut self, raw: &str, tally: &mut Tally) -> Result<(), Stop> {
        match self.member.as_str() {
            "type" => {
                self.once(self.has_type)?;
                self.has_type = true;
                match decode(raw).as_deref() {
                    Ok("bundle") => {}
                    Ok(kind) => {
                        let kind = quote(kind);
                        return shape(format!(
                            "must be 'bundle', not {kind}: put objects into a bundle's 'objects'"
                        ));
                    }
                    Err(reason) => return shape(reason.clone()),
                }
            }
            "objects" => {
                return shape(format!("must be a list, not {}", kind_of_value(raw)));
            }
            "id" => {
                self.has_id = true;
                let id = decode(raw);
                if !id.is_ok_and(|id| id.starts_with("bundle--")) {
                    tally.warn("the bundle's id is no bundle id", String::new);
                }
            }
            "spec_version" => match decode(raw).as_deref() {
                Ok("2.0") => self.version = Some(PatternVersion::V20),
                Ok("2.1") => {
                    self.version = Some(PatternVersion::V21);
                    if self.has_objects {
                        tally.warn(
                            "the bundle's spec_version 2.1 comes after its objects: those that \
                             say none were read as 2.0",
                            String::new,
                        );
                    }
                }
                _ => tally.warn("the bundle's spec_version is unknown: ignored", String::new),
            },
            "more" | "next" => self.has_more = true,
            _ => {}
        }
        Ok(())
    }

    const fn surroundings(&self) -> Surroundings {
        Surroundings {
            index: self.index,
            bare: self.bare,
            version: self.version,
        }
    }

    fn too_large(&self) -> String {
        format!(
            "the object is larger than {} bytes: no indicator is",
            self.largest_object
        )
    }

    /// Members that decide must not be there twice.
    fn once(&self, seen: bool) -> Result<(), Stop> {
        if seen {
            return shape("is there twice: which one holds is unclear; remove one".to_owned());
        }
        Ok(())
    }
}

fn shape<T>(what: String) -> Result<T, Stop> {
    Err(Stop::Shape(Cause::Shape(what)))
}
