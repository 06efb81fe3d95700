//! One STIX object: from its text to the intake.
//!
//! Members keep their text until something asks for them, so that objects of
//! no interest cost one scan and nothing more. A known member that is there
//! twice refuses the object: components that pick different ones would
//! disagree about what was shared. Members that nothing here reads may be
//! anything.

use super::scan::Fault;
use super::scan::Scanner;
use super::tally::LONGEST_SHOWN;
use super::tally::Tally;
use super::tally::quote;
use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::PatternVersion;
use crate::indicator::Tlp;
use crate::time::Timestamp;
use std::borrow::Cow;

/// Ids and references beyond this are refused: a type name and a UUID need
/// less than 100 bytes, and sets keep many of them.
const LONGEST_ID: usize = 256;

/// Values of a list of labels or markings beyond this refuse the object: real
/// ones have some dozen, and each is compared with all the others.
const MOST_VALUES: usize = 1_000;

/// The extension by which STIX 2.1 says TLP 2.0.
const TLP_2_EXTENSION: &str = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";

/// Types whose objects explain what an indicator indicates, or what helps against it.
const CONTEXT_TYPES: [&str; 9] = [
    "attack-pattern",
    "campaign",
    "course-of-action",
    "infrastructure",
    "intrusion-set",
    "malware",
    "threat-actor",
    "tool",
    "vulnerability",
];

/// Declares the members that are read, and how an object names them.
macro_rules! members {
    ($($member:ident = $name:literal,)*) => {
        /// A member of a STIX object that is read here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Member { $($member,)* }

        impl Member {
            const NAMES: &'static [&'static str] = &[$($name,)*];

            fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$member),)*
                    _ => None,
                }
            }

            const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

members! {
    Confidence = "confidence",
    Created = "created",
    CreatedByRef = "created_by_ref",
    Definition = "definition",
    DefinitionType = "definition_type",
    Extensions = "extensions",
    GranularMarkings = "granular_markings",
    Id = "id",
    IndicatorTypes = "indicator_types",
    Labels = "labels",
    Modified = "modified",
    Name = "name",
    ObjectMarkingRefs = "object_marking_refs",
    Pattern = "pattern",
    PatternType = "pattern_type",
    PatternVersion = "pattern_version",
    RelationshipType = "relationship_type",
    Revoked = "revoked",
    SourceRef = "source_ref",
    SpecVersion = "spec_version",
    TargetRef = "target_ref",
    Type = "type",
    ValidFrom = "valid_from",
    ValidUntil = "valid_until",
}

/// The text of the members of one object that are read.
#[derive(Debug, Default)]
pub(super) struct Object<'a> {
    values: [Option<&'a str>; Member::NAMES.len()],
    /// One bit a member, set where its value is a string with an escape sequence.
    escaped: u32,
    twice: Option<Member>,
}

/// Where an object is, and what its surroundings say for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// Index among the objects.
    pub(super) index: u64,
    /// Whether the list of objects is the document itself.
    pub(super) bare: bool,
    /// `spec_version` of the bundle, if it came before its objects.
    pub(super) version: Option<PatternVersion>,
}

impl Surroundings {
    /// JSON path of the object.
    pub(super) fn path(&self) -> String {
        let root = if self.bare { "" } else { "objects" };
        format!("{root}[{}]", self.index)
    }
}

/// What refuses an object.
#[derive(Debug)]
struct Broken {
    /// JSON path within the object, with its leading dot; empty: the object itself.
    path: String,
    reason: String,
}

impl Broken {
    fn member(member: Member, reason: impl Into<String>) -> Self {
        Self {
            path: format!(".{}", member.name()),
            reason: reason.into(),
        }
    }
}

impl<'a> Object<'a> {
    /// Reads the object that the scanner stands before; its first byte is a brace.
    ///
    /// After a fault, the members before it are there.
    pub(super) fn scan(&mut self, scanner: &mut Scanner<'a>) -> Result<(), Fault> {
        scanner.pass();
        if scanner.next()? == b'}' {
            scanner.pass();
            return Ok(());
        }
        loop {
            let name = scanner.name()?;
            let member = named(name, scanner.escaped());
            let value = scanner.value()?;
            if let Some(member) = member {
                self.escaped |= u32::from(scanner.escaped()) << member as u32;
                let place = self.values.get_mut(member as usize);
                if place.is_some_and(|place| place.replace(value).is_some()) {
                    self.twice = Some(member);
                }
            }
            match scanner.next()? {
                b',' => scanner.pass(),
                b'}' => {
                    scanner.pass();
                    return Ok(());
                }
                _ => return scanner.malformed("a comma or '}' is expected here"),
            }
        }
    }

    /// Whether it says a type at all, as everything of STIX does.
    pub(super) fn has_type(&self) -> bool {
        self.value(Member::Type).is_some()
    }

    /// The id, for reports; empty where there is none.
    pub(super) fn shown_id(&self) -> Cow<'a, str> {
        self.text(Member::Id).ok().flatten().unwrap_or_default()
    }

    /// Hands the object to the intake, by its type.
    pub(super) fn deliver(
        &self,
        surroundings: &Surroundings,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) {
        if let Err(Broken { path, reason }) = self.try_deliver(surroundings, tally, intake) {
            tally.refuse(&self.shown_id(), surroundings.path() + &path, reason);
        }
    }

    fn try_deliver(
        &self,
        surroundings: &Surroundings,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<(), Broken> {
        if let Some(member) = self.twice {
            return Err(Broken::member(
                member,
                "is there twice: which one holds is unclear; remove one",
            ));
        }
        let kind = self.required(Member::Type)?;
        match &*kind {
            "indicator" => self.deliver_indicator(surroundings, tally, intake),
            "relationship" => self.deliver_relationship(intake),
            "marking-definition" => self.deliver_marking(intake),
            kind if CONTEXT_TYPES.contains(&kind) => {
                let name = self.text(Member::Name)?.unwrap_or_default();
                intake.context(&self.reference(Member::Id)?, kind, &name);
                Ok(())
            }
            // STIX 2.1 section 3.2: what a consumer does not know it ignores
            _ => Ok(()),
        }
    }

    /// STIX 2.0 part 2 section 2.5, STIX 2.1 section 4.7.
    fn deliver_indicator(
        &self,
        surroundings: &Surroundings,
        tally: &mut Tally,
        intake: &mut dyn Intake,
    ) -> Result<(), Broken> {
        let path = || surroundings.path();
        let id = self.required(Member::Id)?;
        if !is_indicator_id(&id) {
            let reason = format!("{} must be 'indicator--' and a UUID", quote(&id));
            return Err(Broken::member(Member::Id, reason));
        }
        let (version, said) = self.version(surroundings, tally)?;
        match self.text(Member::PatternType)? {
            Some(kind) if kind.eq_ignore_ascii_case("stix") => {}
            Some(kind) => {
                let reason = format!(
                    "pattern type {}: only STIX patterns can match",
                    quote(&kind)
                );
                tally.unseeable(&id, reason);
                return Ok(());
            }
            None if said == PatternVersion::V21 => {
                tally.warn("without pattern_type: read as a STIX pattern", path);
            }
            None => {}
        }
        let pattern = self.required(Member::Pattern)?;
        let created = self.required_time(Member::Created, surroundings, tally)?;
        let modified = self.required_time(Member::Modified, surroundings, tally)?;
        if modified < created {
            tally.warn("modified is before created", path);
        }
        let valid_from = self.required_time(Member::ValidFrom, surroundings, tally)?;
        let valid_until = self.time(Member::ValidUntil, surroundings, tally)?;
        let revoked = self.boolean(Member::Revoked)?;
        // a withdrawal holds whatever else is odd; an empty span matches nothing and is lawful
        if valid_until.is_some_and(|until| until < valid_from) && !revoked {
            let reason = "is before valid_from: it could never match; correct one of them";
            return Err(Broken::member(Member::ValidUntil, reason));
        }
        if let Some(raw) = self.value(Member::Extensions)
            && !raw.starts_with('{')
        {
            return Err(wrong_type(Member::Extensions, "an object", raw));
        }
        let mut labels = self.texts(Member::Labels)?;
        for kind in self.texts(Member::IndicatorTypes)? {
            if !labels.contains(&kind) {
                labels.push(kind);
            }
        }
        let indicator = Indicator {
            id,
            derived_id: false,
            pattern,
            pattern_version: version,
            name: self.text(Member::Name)?,
            subdomains: false,
            created,
            modified,
            valid_from,
            valid_until,
            revoked,
            confidence: self.confidence(said)?,
            labels,
            markings: self.markings()?,
            created_by: self.text(Member::CreatedByRef)?,
        };
        tally.take(intake, &indicator, || {
            surroundings.path() + "." + Member::Pattern.name()
        });
        Ok(())
    }

    /// STIX 2.1 section 5.1.
    fn deliver_relationship(&self, intake: &mut dyn Intake) -> Result<(), Broken> {
        let kind = self.reference(Member::RelationshipType)?;
        let source = self.reference(Member::SourceRef)?;
        let target = self.reference(Member::TargetRef)?;
        if !self.boolean(Member::Revoked)? {
            intake.relationship(&source, &kind, &target);
        }
        Ok(())
    }

    /// STIX 2.1 section 7.2.1, and the TLP 2.0 extension.
    fn deliver_marking(&self, intake: &mut dyn Intake) -> Result<(), Broken> {
        let id = self.reference(Member::Id)?;
        // those mean what the specification says, whatever a bundle calls them
        if Tlp::from_marking(&id).is_some() {
            return Ok(());
        }
        let level = match self.text(Member::DefinitionType)? {
            Some(kind) if kind == "tlp" => self
                .value(Member::Definition)
                .and_then(|raw| member_of(raw, "tlp"))
                .map(|raw| (Member::Definition, raw)),
            _ => self
                .value(Member::Extensions)
                .and_then(|raw| member_of(raw, TLP_2_EXTENSION))
                .and_then(|raw| member_of(raw, "tlp_2_0"))
                .map(|raw| (Member::Extensions, raw)),
        };
        let Some((member, raw)) = level else {
            return Ok(());
        };
        let level = decode(raw).map_err(|reason| Broken::member(member, reason))?;
        match Tlp::from_label(&format!("tlp:{level}")) {
            Some(tlp) => intake.marking(&id, tlp),
            None => {
                let reason = format!("{} is no TLP level", quote(&level));
                return Err(Broken::member(member, reason));
            }
        }
        Ok(())
    }

    /// Which pattern grammar holds, and which version of STIX the object is of.
    ///
    /// STIX 2.1 section 3.2: an object without `spec_version` is of version 2.0;
    /// but where the bundle says 2.1 up front, that is what its author meant.
    /// Section 4.7: `pattern_version` overrules both for the pattern.
    fn version(
        &self,
        surroundings: &Surroundings,
        tally: &mut Tally,
    ) -> Result<(PatternVersion, PatternVersion), Broken> {
        let path = || surroundings.path();
        let said = match self.text(Member::SpecVersion)?.as_deref() {
            None => surroundings.version.unwrap_or(PatternVersion::V20),
            Some("2.0") => PatternVersion::V20,
            Some("2.1") => PatternVersion::V21,
            Some(_) => {
                tally.warn("spec_version is neither 2.0 nor 2.1: read as 2.1", path);
                PatternVersion::V21
            }
        };
        let grammar = match self.text(Member::PatternVersion)?.as_deref() {
            Some("2.0") => PatternVersion::V20,
            Some("2.1") => PatternVersion::V21,
            Some(_) => {
                tally.warn("pattern_version is neither 2.0 nor 2.1: ignored", path);
                said
            }
            None => said,
        };
        Ok((grammar, said))
    }

    /// STIX 2.1 section 3.2; version 2.0 has no such member, so that there
    /// something else of the name means nothing.
    fn confidence(&self, said: PatternVersion) -> Result<Option<u8>, Broken> {
        let Some(raw) = self.value(Member::Confidence) else {
            return Ok(None);
        };
        match raw.parse::<u8>() {
            Ok(confidence) if confidence <= 100 => Ok(Some(confidence)),
            _ if said == PatternVersion::V20 => Ok(None),
            _ => Err(Broken::member(
                Member::Confidence,
                format!("{} must be a whole number from 0 to 100", quote(raw)),
            )),
        }
    }

    /// The markings of the object, and those of its parts: what may not be
    /// told of a part may not be told of the whole.
    fn markings(&self) -> Result<Vec<Cow<'a, str>>, Broken> {
        let mut markings = self.texts(Member::ObjectMarkingRefs)?;
        self.elements(Member::GranularMarkings, |index, raw| {
            // the other kind of granular marking says a language
            let Some(marking) = member_of(raw, "marking_ref") else {
                return Ok(());
            };
            let marking = decode(marking).map_err(|reason| Broken {
                path: format!(".{}[{index}].marking_ref", Member::GranularMarkings.name()),
                reason,
            })?;
            if !markings.contains(&marking) {
                markings.push(marking);
            }
            Ok(())
        })?;
        Ok(markings)
    }

    /// The text of a member; null stands for an absent one, as many producers write it.
    fn value(&self, member: Member) -> Option<&'a str> {
        let value = self.values.get(member as usize).copied().flatten();
        value.filter(|raw| *raw != "null")
    }

    #[inline]
    fn text(&self, member: Member) -> Result<Option<Cow<'a, str>>, Broken> {
        let Some(raw) = self.value(member) else {
            return Ok(None);
        };
        let plain = self.escaped >> member as u32 & 1 == 0;
        match within_quotes(raw) {
            Some(inner) if plain => Ok(Some(Cow::Borrowed(inner))),
            _ => match decode(raw) {
                Ok(text) => Ok(Some(text)),
                Err(reason) => Err(Broken::member(member, reason)),
            },
        }
    }

    fn required(&self, member: Member) -> Result<Cow<'a, str>, Broken> {
        self.text(member)?.ok_or_else(|| missing(member))
    }

    /// An id or a type name, which sets keep.
    fn reference(&self, member: Member) -> Result<Cow<'a, str>, Broken> {
        let text = self.required(member)?;
        if text.len() > LONGEST_ID {
            let reason = format!("is longer than {LONGEST_ID} bytes");
            return Err(Broken::member(member, reason));
        }
        Ok(text)
    }

    /// Calls `each` with the index and the text of every value of a list; an absent one has none.
    fn elements(
        &self,
        member: Member,
        mut each: impl FnMut(usize, &'a str) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let Some(raw) = self.value(member) else {
            return Ok(());
        };
        if !raw.starts_with('[') {
            return Err(wrong_type(member, "a list", raw));
        }
        let mut scanner = Scanner::new(raw);
        for index in 0.. {
            // the bracket, or the comma behind the value before
            scanner.pass();
            // the text was scanned before: what is no value here is the closing bracket
            let Ok(value) = scanner.value() else {
                break;
            };
            if index == MOST_VALUES {
                let reason = format!("has more than {MOST_VALUES} values");
                return Err(Broken::member(member, reason));
            }
            each(index, value)?;
            if scanner.next().is_err() {
                break;
            }
        }
        Ok(())
    }

    fn texts(&self, member: Member) -> Result<Vec<Cow<'a, str>>, Broken> {
        let mut texts = Vec::new();
        self.elements(member, |index, raw| {
            let text = decode(raw).map_err(|reason| Broken {
                path: format!(".{}[{index}]", member.name()),
                reason,
            })?;
            texts.push(text);
            Ok(())
        })?;
        Ok(texts)
    }

    fn boolean(&self, member: Member) -> Result<bool, Broken> {
        match self.value(member) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(raw) => Err(wrong_type(member, "true or false", raw)),
        }
    }

    fn time(
        &self,
        member: Member,
        surroundings: &Surroundings,
        tally: &mut Tally,
    ) -> Result<Option<Timestamp>, Broken> {
        let Some(text) = self.text(member)? else {
            return Ok(None);
        };
        let Some(time) = Timestamp::parse_rfc3339(&text) else {
            let shown = quote(&text);
            let reason = format!("{shown} is no timestamp like 2024-01-01T00:00:00Z");
            return Err(Broken::member(member, reason));
        };
        // STIX 2.1 section 2.16
        if !text.ends_with('Z') {
            tally.warn(
                "a timestamp does not end in Z: its offset was applied",
                || format!("{}.{}", surroundings.path(), member.name()),
            );
        }
        Ok(Some(time))
    }

    fn required_time(
        &self,
        member: Member,
        surroundings: &Surroundings,
        tally: &mut Tally,
    ) -> Result<Timestamp, Broken> {
        self.time(member, surroundings, tally)?
            .ok_or_else(|| missing(member))
    }
}

/// What kind of value this text is.
pub(super) fn kind_of_value(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The string that a JSON value says; an error names what else it is.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, String> {
    let Some(inner) = within_quotes(raw) else {
        return Err(format!("must be a string, not {}", kind_of_value(raw)));
    };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(inner));
    }
    // what the scanner let through can only be half of a surrogate pair
    serde_json::from_str::<String>(raw)
        .map(Cow::Owned)
        .map_err(|_| "holds half of a surrogate pair".to_owned())
}

/// What stands between the quotes of a string; `None`: the value is something else.
#[inline]
fn within_quotes(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"')
}

/// The member called `name` of the object with this text, which was scanned before.
fn member_of<'a>(raw: &'a str, name: &str) -> Option<&'a str> {
    if !raw.starts_with('{') {
        return None;
    }
    let mut scanner = Scanner::new(raw);
    loop {
        scanner.pass();
        let found = decode(scanner.name().ok()?).ok()?;
        let value = scanner.value().ok()?;
        if found == name {
            return Some(value);
        }
        scanner.next().ok()?;
    }
}

/// The member that a name, still in its quotes, stands for.
#[inline]
fn named(name: &str, escaped: bool) -> Option<Member> {
    if escaped {
        Member::named(&decode(name).ok()?)
    } else {
        Member::named(within_quotes(name)?)
    }
}

fn missing(member: Member) -> Broken {
    let reason = format!("the member '{}' is missing", member.name());
    Broken {
        path: String::new(),
        reason,
    }
}

fn wrong_type(member: Member, wanted: &str, raw: &str) -> Broken {
    Broken::member(
        member,
        format!("must be {wanted}, not {}", kind_of_value(raw)),
    )
}

/// STIX 2.1 section 2.9: the type, two hyphens, a UUID in its usual form.
fn is_indicator_id(id: &str) -> bool {
    id.len() < LONGEST_SHOWN
        && id
            .strip_prefix("indicator--")
            .is_some_and(|uuid| uuid.len() == 36 && uuid::Uuid::try_parse(uuid).is_ok())
}
