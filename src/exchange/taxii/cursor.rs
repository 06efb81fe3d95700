//! How far a collection was read.

use crate::time::Timestamp;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How far a collection was read; kept as a text that means nothing to its keeper.
///
/// A cursor belongs to one collection of one server. It is a point of that
/// server's own time: everything added to the collection up to it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// `None`: nothing was read.
    added_after: Option<Timestamp>,
}

/// A text that is no cursor, or one of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored cursor is none of TAXII: remove it, and the collection is read anew")]
pub struct CursorError;

/// What a cursor's text begins with; the number is its version.
const PREFIX: &str = "taxii1:";

/// The text of the cursor before everything.
const START: &str = "start";

/// An object may become visible this long after the time that the server calls its addition:
/// it was stored in a transaction, or by another machine. Only then is its time behind us.
const SETTLE: Duration = Duration::from_secs(60);

/// Servers write times cut or rounded to milliseconds, and order by what is behind them.
const MARGIN: Duration = Duration::from_millis(1);

impl Cursor {
    /// Before everything.
    pub const START: Self = Self { added_after: None };

    /// From the value of `added_after` that goes on here; `None`: from the start.
    pub(super) const fn new(added_after: Option<Timestamp>) -> Self {
        Self { added_after }
    }

    /// What `added_after` goes on here; `None`: none, everything is new.
    pub(super) const fn added_after(&self) -> Option<Timestamp> {
        self.added_after
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.added_after {
            Some(time) => write!(f, "{PREFIX}{}", time.to_rfc3339(9)),
            None => write!(f, "{PREFIX}{START}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        match text.strip_prefix(PREFIX) {
            Some(START) => Ok(Self::START),
            Some(time) => match Timestamp::parse_rfc3339(time) {
                Some(time) => Ok(Self::new(Some(time))),
                None => Err(CursorError),
            },
            None => Err(CursorError),
        }
    }
}

/// What a pull has learnt of the server's time, and what cursors follow from it.
///
/// Many objects have one date of addition, and `added_after` leaves out all
/// that have it. So a cursor in mid-collection stays before the newest date
/// seen, and none passes the server's clock as it was when the pull began:
/// what is added meanwhile may come with an earlier date.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    start: Cursor,
    /// The server's clock at the first answer; `None`: it does not tell.
    opened: Option<Timestamp>,
    /// Date of the newest object seen; `None`: no page told.
    newest: Option<Timestamp>,
    /// Date of the newest object of the page before; `None`: there is none, or it did not tell.
    before: Option<Timestamp>,
    /// Whether any object was seen.
    seen: bool,
    /// Whether pages come in the order of their dates, as far as known.
    sorted: bool,
    /// Where a broken pull goes on.
    safe: Cursor,
}

impl Progress {
    /// A pull that goes on from `start`.
    pub(super) const fn new(start: Cursor) -> Self {
        Self {
            start,
            opened: None,
            newest: None,
            before: None,
            seen: false,
            sorted: true,
            safe: start,
        }
    }

    /// Where a broken pull goes on: all before it was handed over.
    pub(super) const fn safe(&self) -> Cursor {
        self.safe
    }

    /// The paging begins anew from [`Self::safe`].
    pub(super) const fn restart(&mut self) {
        self.before = None;
    }

    /// An answer was given at `date`, by the server's clock.
    pub(super) fn answered(&mut self, date: Option<Timestamp>) {
        self.opened = self.opened.or(date);
    }

    /// A page whose objects were added from `first` to `last`, where the server says so, and
    /// more follow: the cursor that holds once it is stored. `None`: nothing can be said.
    pub(super) fn page(
        &mut self,
        first: Option<Timestamp>,
        last: Option<Timestamp>,
        objects: u64,
    ) -> Option<Cursor> {
        self.seen |= objects > 0;
        let lowest = [first, last].into_iter().flatten().min();
        if lowest.is_some() && lowest < self.before {
            self.sorted = false;
            self.safe = self.start;
        }
        self.newest = self.newest.max(last);
        self.before = last;
        if !self.sorted {
            // what earlier pages promised does not hold
            return Some(self.start);
        }
        let reached = self.not_ahead(earlier(last?, MARGIN));
        let cursor = Cursor::new(self.start.added_after().max(Some(reached)));
        self.safe = cursor;
        Some(cursor)
    }

    /// The cursor once all of the collection is stored.
    pub(super) fn end(&self) -> Cursor {
        let start = self.start.added_after();
        let reached = match (self.newest, self.opened) {
            (Some(newest), Some(_)) => Some(newest),
            // no clock to hold it against: what is newest may still get company
            (Some(newest), None) => Some(earlier(newest, SETTLE)),
            // pages without dates: all up to the beginning of the pull was seen
            (None, Some(opened)) if self.seen => Some(opened),
            (None, _) => None,
        };
        Cursor::new(start.max(reached).map(|time| self.not_ahead(time)))
    }

    /// `time`, but no later than what the server's clock has left behind.
    ///
    /// Where that clock was set back, this goes back too: better twice than never.
    fn not_ahead(&self, time: Timestamp) -> Timestamp {
        match self.opened {
            Some(opened) => time.min(earlier(opened, SETTLE)),
            None => time,
        }
    }
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_sub(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_parts(1_000_000 + seconds, 0)
    }

    fn cursor(seconds: u64) -> Cursor {
        Cursor::new(Some(at(seconds)))
    }

    #[test]
    fn texts_go_there_and_back() {
        let time = Timestamp::parse_rfc3339("2026-11-25T12:00:00.123456789Z");
        for cursor in [Cursor::START, Cursor::new(time), cursor(0)] {
            let text = cursor.to_string();
            assert!(text.len() < 40, "{text}");
            assert_eq!(text.parse(), Ok(cursor), "{text}");
        }
        for text in [
            "",
            "start",
            "taxii1:",
            "taxii1:soon",
            "taxii2:start",
            "misp:1",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }

    #[test]
    fn the_cursor_in_mid_collection_stays_before_the_newest_date() {
        let mut progress = Progress::new(cursor(0));
        progress.answered(Some(at(1_000)));
        let reached = progress.page(Some(at(10)), Some(at(20)), 20).unwrap();
        assert_eq!(reached.added_after(), Some(earlier(at(20), MARGIN)));
        assert_eq!(progress.safe(), reached);
        progress.page(Some(at(20)), Some(at(20)), 20);
        assert_eq!(progress.end(), cursor(20));
    }

    #[test]
    fn no_cursor_passes_the_clock_of_the_server() {
        // (start, server's clock, newest date) to the cursor at the end
        for (start, opened, newest, end) in [
            (None, Some(1_000), Some(20), Some(20)),
            // just added: others of that time may still come
            (None, Some(1_000), Some(990), Some(940)),
            // dates from the future must not blind us
            (None, Some(1_000), Some(99_000), Some(940)),
            // nothing new: nothing changes
            (Some(20), Some(1_000), None, Some(20)),
            (None, Some(1_000), None, None),
            // the server's clock was set back
            (Some(900), Some(500), None, Some(440)),
            // the server ignores added_after, and gives old ones again
            (Some(900), Some(2_000), Some(20), Some(900)),
            // no clock
            (Some(20), None, Some(500), Some(440)),
            (Some(20), None, None, Some(20)),
        ] {
            let mut progress = Progress::new(Cursor::new(start.map(at)));
            progress.answered(opened.map(at));
            progress.answered(Some(at(50_000)));
            if opened.is_none() {
                progress.opened = None;
            }
            progress.page(None, newest.map(at), u64::from(newest.is_some()));
            assert_eq!(
                progress.end(),
                Cursor::new(end.map(at)),
                "{start:?} {opened:?} {newest:?}"
            );
        }
    }

    #[test]
    fn pages_without_dates_reach_to_the_beginning_of_the_pull() {
        let mut progress = Progress::new(cursor(0));
        progress.answered(Some(at(1_000)));
        assert_eq!(progress.page(None, None, 5), None);
        progress.answered(Some(at(2_000)));
        assert_eq!(progress.end(), cursor(940));
    }

    #[test]
    fn pages_out_of_order_take_back_what_was_promised() {
        let mut progress = Progress::new(cursor(0));
        progress.answered(Some(at(1_000)));
        assert!(progress.page(Some(at(50)), Some(at(60)), 5).is_some());
        assert_eq!(
            progress.page(Some(at(10)), Some(at(70)), 5),
            Some(cursor(0))
        );
        assert_eq!(progress.safe(), cursor(0));
        assert_eq!(
            progress.page(Some(at(80)), Some(at(90)), 5),
            Some(cursor(0))
        );
        assert_eq!(progress.end(), cursor(90));
    }
}
