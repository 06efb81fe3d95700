//! Counts what loading one source came to, in bounded memory.

use crate::indicator::Indicator;
use crate::indicator::Intake;
use crate::indicator::Refused;
use crate::indicator::SourceReport;
use crate::indicator::Taken;
use crate::indicator::Unseeable;

/// The report of one source in the making.
#[derive(Debug)]
pub(super) struct Tally {
    report: SourceReport,
    listed_at_most: usize,
    refused_beyond: u64,
    unseeable_beyond: u64,
    oddities: Vec<Oddity>,
}

/// One kind of warning, said once for all its cases.
#[derive(Debug)]
struct Oddity {
    text: &'static str,
    /// Where it was first met; empty: the source as a whole.
    first: String,
    more: u64,
}

impl Tally {
    /// Nothing loaded yet; of refused and of unseeable objects `listed_at_most` are listed each.
    pub(super) fn new(file: &str, listed_at_most: usize) -> Self {
        Self {
            report: SourceReport {
                file: file.to_owned(),
                ..SourceReport::default()
            },
            listed_at_most,
            refused_beyond: 0,
            unseeable_beyond: 0,
            oddities: Vec::new(),
        }
    }

    /// Hands an indicator in; `path` says where it is, should it be refused.
    pub(super) fn take(
        &mut self,
        intake: &mut dyn Intake,
        indicator: &Indicator<'_>,
        path: impl FnOnce() -> String,
    ) {
        self.take_as(&indicator.id, intake, indicator, path);
    }

    /// As [`Self::take`], for formats whose objects have other ids than the
    /// indicators they become. Whether the indicator will match.
    pub(super) fn take_as(
        &mut self,
        object: &str,
        intake: &mut dyn Intake,
        indicator: &Indicator<'_>,
        path: impl FnOnce() -> String,
    ) -> bool {
        let taken = intake.take(indicator);
        let matches = taken == Ok(Taken::Loaded);
        match taken {
            Ok(Taken::Loaded) => self.report.loaded += 1,
            Ok(Taken::Revoked) => self.report.revoked += 1,
            Ok(Taken::Unseeable(reason)) => self.unseeable(object, reason),
            Err(refusal) => self.refuse(object, path(), refusal.0),
        }
        matches
    }

    /// A broken object.
    pub(super) fn refuse(&mut self, object: &str, path: String, reason: String) {
        if self.report.refused.len() < self.listed_at_most {
            self.report.refused.push(Refused {
                object: show(object),
                path,
                reason,
            });
        } else {
            self.refused_beyond += 1;
        }
    }

    /// An indicator that asks for what no network sensor sees.
    pub(super) fn unseeable(&mut self, object: &str, reason: String) {
        if self.report.unseeable.len() < self.listed_at_most {
            self.report.unseeable.push(Unseeable {
                object: show(object),
                reason,
            });
        } else {
            self.unseeable_beyond += 1;
        }
    }

    /// Something odd that cost nothing; `place` is asked for the first of its kind.
    pub(super) fn warn(&mut self, text: &'static str, place: impl FnOnce() -> String) {
        match self.oddities.iter_mut().find(|oddity| oddity.text == text) {
            Some(oddity) => oddity.more += 1,
            None => self.oddities.push(Oddity {
                text,
                first: place(),
                more: 0,
            }),
        }
    }

    /// What the first refused object suffered from; `None`: nothing was refused.
    pub(super) fn first_refused(&self) -> Option<&Refused> {
        self.report.refused.first()
    }

    /// Forgets all counts: the source proved unusable.
    pub(super) fn abandon(&mut self) {
        *self = Self::new(&self.report.file, self.listed_at_most);
    }

    /// The finished report.
    pub(super) fn finish(mut self) -> SourceReport {
        for Oddity { text, first, more } in self.oddities {
            self.report.warnings.push(match (first.as_str(), more) {
                ("", _) => text.to_owned(),
                (first, 0) => format!("{text} ({first})"),
                (first, more) => format!("{text} ({first} and {more} more)"),
            });
        }
        for (beyond, what) in [
            (self.refused_beyond, "refused objects"),
            (self.unseeable_beyond, "indicators that cannot be seen"),
        ] {
            if beyond > 0 {
                let warning = format!("{beyond} more {what} are not listed");
                self.report.warnings.push(warning);
            }
        }
        self.report
    }
}

/// Characters of an id or value that a report shows: more than any lawful id has.
pub(super) const LONGEST_SHOWN: usize = 120;

/// At most `longest` characters of `text`, and an ellipsis where more are left out.
pub(crate) fn shorten(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A value for an error message: as [`show`] gives it, in quotes.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", show(text))
}

/// A hostile text for people: on one line, escaped where it could forge what is around it, not too long.
pub(super) fn show(text: &str) -> String {
    let shortened = shorten(text, LONGEST_SHOWN);
    if !shortened.contains(|c: char| c.is_control() || is_formatting(c)) {
        return shortened;
    }
    let mut shown = String::with_capacity(shortened.len());
    for c in shortened.chars() {
        if c.is_control() || is_formatting(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Characters that change the direction of text or do not show.
const fn is_formatting(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_say_so() {
        let mut tally = Tally::new("x", 2);
        for i in 0..5 {
            tally.refuse("id", format!("line {i}"), "bad".into());
            tally.warn("odd", || format!("line {i}"));
        }
        tally.warn("odd as a whole", String::new);
        let report = tally.finish();
        assert_eq!(report.refused.len(), 2);
        assert_eq!(
            report.warnings,
            [
                "odd (line 0 and 4 more)",
                "odd as a whole",
                "3 more refused objects are not listed"
            ]
        );
    }

    #[test]
    fn shows_hostile_text_on_one_line() {
        assert_eq!(quote("a\nb\u{1b}[1m é"), r"'a\u{a}b\u{1b}[1m é'");
        assert_eq!(quote("\u{202e}x"), r"'\u{202e}x'");
        assert_eq!(quote(&"x".repeat(1_000)).chars().count(), LONGEST_SHOWN + 3);
    }
}
