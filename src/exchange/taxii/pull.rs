//! Reads what is new in a collection, page by page.

use super::super::http::HttpCause;
use super::super::http::HttpError;
use super::super::http::Url;
use super::ACCEPT;
use super::Pause;
use super::TaxiiClient;
use super::cursor::Cursor;
use super::cursor::Progress;
use super::discovery::Collection;
use super::envelope::Envelope;
use super::envelope::NoEnvelope;
use super::error::PullError;
use super::error::TaxiiCause;
use super::error::TaxiiError;
use super::expect_taxii;
use crate::time::Timestamp;
use std::collections::HashSet;

/// Failures in a row, without coming further, before a pull gives up.
const MOST_FAILURES: u32 = 5;

/// Empty pages in a row that promise more.
const MOST_EMPTY: u32 = 3;

/// Pages of a pull: at 16 bytes each, what is remembered of them stays below 16 MB.
const MOST_PAGES: u64 = 1_000_000;

/// Bounds of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullLimits {
    /// Objects of a page that the server is asked for; it may give fewer. At least 1.
    pub page_objects: u32,
    /// Bytes of the largest page that is read, unpacked. A server whose page is larger is asked
    /// for fewer objects.
    pub page_bytes: u64,
    /// Bytes of all pages together.
    pub bytes: u64,
    /// Objects of all pages together.
    pub objects: u64,
}

impl PullLimits {
    /// Servers cap it at some hundreds or thousands anyway.
    pub const PAGE_OBJECTS: u32 = 1_000;
    /// A page is held in memory; servers that know no pages give all at once.
    pub const PAGE_BYTES: u64 = 256 << 20;
    /// Far more than any partner shares.
    pub const BYTES: u64 = 16 << 30;
    /// More than a sensor holds in memory.
    pub const OBJECTS: u64 = 50_000_000;
}

impl Default for PullLimits {
    fn default() -> Self {
        Self {
            page_objects: Self::PAGE_OBJECTS,
            page_bytes: Self::PAGE_BYTES,
            bytes: Self::BYTES,
            objects: Self::OBJECTS,
        }
    }
}

/// What a pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Pages handed over.
    pub pages: u64,
    /// Objects in them; those that came twice count twice.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// How often the paging was begun anew, where the server or the way to it failed.
    pub restarts: u64,
    /// Where the next pull begins.
    pub cursor: Cursor,
}

/// Stores a page as the server sent it, with the number of its objects, and the cursor that holds
/// once it is stored, if that changes.
pub type StorePage<'a, E> = &'a mut dyn FnMut(&[u8], u64, Option<Cursor>) -> Result<(), E>;

impl TaxiiClient {
    /// Hands everything over that was added to `collection` since `from`.
    ///
    /// `store` gets each page as the server sent it (an envelope), the number
    /// of its objects, and the cursor that holds once the page is stored:
    /// commit both together. `None` leaves the cursor as it is. The cursor of
    /// the last page is that of [`Pulled`], and there is always a last page,
    /// if an empty one. Objects may come more than once, and in several
    /// versions.
    ///
    /// Fails where the server, or the way to it, does so for good; what was
    /// handed over before holds, and the next pull goes on behind it.
    pub fn pull<E>(
        &self,
        collection: &Collection,
        from: Cursor,
        limits: &PullLimits,
        pause: Pause<'_>,
        store: StorePage<'_, E>,
    ) -> Result<Pulled, PullError<E>> {
        let url = collection.url();
        if !collection.can_read {
            return Err(TaxiiError::new(&url, TaxiiCause::NotReadable).into());
        }
        let mut walk = Walk::new(url.with_folders(&["objects"]), from, limits);
        loop {
            let page = match self.fetch_page(&walk) {
                Ok(page) => page,
                Err(error) => {
                    self.recover(&mut walk, error, pause)?;
                    continue;
                }
            };
            let cursor = walk.take(&page)?;
            store(&page.body, page.envelope.objects, cursor).map_err(PullError::Store)?;
            if page.is_last() {
                return Ok(walk.pulled);
            }
            walk.turn(&page)?;
        }
    }

    fn fetch_page(&self, walk: &Walk) -> Result<Page, TaxiiError> {
        let url = walk.address();
        let response = match self.http.get(&url, &[ACCEPT]) {
            Ok(response) => response,
            // some servers call a range without objects one that cannot be given
            Err(error) if error.status() == Some(416) => return Ok(Page::nothing()),
            Err(error) => return Err(error.into()),
        };
        let response = expect_taxii(response)?;
        let added = |name| Timestamp::parse_rfc3339(response.header(name)?.trim());
        let first = added("x-taxii-date-added-first");
        let last = added("x-taxii-date-added-last");
        let date = response.date();
        let body = response.bytes(walk.page_bytes)?;
        let envelope = Envelope::read(&body).map_err(|error| match error {
            NoEnvelope::CutShort => HttpError::new(&url, HttpCause::CutShort).into(),
            NoEnvelope::Other(what) => TaxiiError::not_taxii(&url, what),
        })?;
        Ok(Page {
            body,
            envelope,
            first,
            last,
            date,
        })
    }

    /// Prepares another attempt after a failure, or gives up.
    fn recover(
        &self,
        walk: &mut Walk,
        error: TaxiiError,
        pause: Pause<'_>,
    ) -> Result<(), TaxiiError> {
        let TaxiiCause::Http(http) = &error.cause else {
            return Err(error);
        };
        if matches!(http.cause, HttpCause::TooLarge(_)) && walk.limit > 1 {
            walk.limit = (walk.limit / 2).max(1);
            walk.restart();
            return Ok(());
        }
        // a token that has expired, or that the server does not know again
        let lost_token = walk.next.is_some() && may_be_of_token(http);
        walk.failures += 1;
        if walk.failures > MOST_FAILURES || !(http.is_transient() || lost_token) {
            return Err(error);
        }
        self.wait(walk.failures, http, pause)?;
        if walk.next.is_some() {
            // the server may have moved on although its answer was lost: only the date is sure
            walk.restart();
        }
        Ok(())
    }
}

/// Whether a refusal in mid-paging can be one of the token alone.
fn may_be_of_token(error: &HttpError) -> bool {
    error
        .status()
        .is_some_and(|code| code >= 400 && !matches!(code, 401 | 403 | 407))
}

/// One page as it came.
struct Page {
    body: Vec<u8>,
    envelope: Envelope,
    /// When the first of its objects was added; `None`: the server does not say.
    first: Option<Timestamp>,
    /// When the last of its objects was added; `None`: likewise.
    last: Option<Timestamp>,
    /// The server's clock; `None`: likewise.
    date: Option<Timestamp>,
}

impl Page {
    /// The page of a range without objects.
    fn nothing() -> Self {
        Self {
            body: b"{}".to_vec(),
            envelope: Envelope {
                more: false,
                next: None,
                objects: 0,
                digest: [0; 16],
            },
            first: None,
            last: None,
            date: None,
        }
    }

    /// Whether nothing follows; where nothing leads on, nothing does.
    const fn is_last(&self) -> bool {
        let envelope = &self.envelope;
        !envelope.more || (envelope.next.is_none() && envelope.objects == 0)
    }
}

/// A pull under way.
struct Walk {
    url: Url,
    limits: PullLimits,
    page_bytes: u64,
    /// What the server is asked for; the same all through one paging.
    limit: u32,
    /// Where this paging began.
    after: Option<Timestamp>,
    /// `None`: the next page is the first of a paging.
    next: Option<String>,
    progress: Progress,
    failures: u32,
    empty: u32,
    /// Digests of the pages of this paging.
    seen: HashSet<[u8; 16]>,
    pulled: Pulled,
}

impl Walk {
    fn new(url: Url, from: Cursor, limits: &PullLimits) -> Self {
        Self {
            url,
            limits: *limits,
            page_bytes: limits.page_bytes,
            limit: limits.page_objects.max(1),
            after: from.added_after(),
            next: None,
            progress: Progress::new(from),
            failures: 0,
            empty: 0,
            seen: HashSet::new(),
            pulled: Pulled {
                pages: 0,
                objects: 0,
                bytes: 0,
                restarts: 0,
                cursor: from,
            },
        }
    }

    fn address(&self) -> Url {
        let mut url = self.url.clone();
        if let Some(after) = self.after {
            // microseconds in UTC: other forms are refused, or break servers
            url = url.with_query("added_after", &after.to_rfc3339(6));
        }
        // servers want all of the first request again with each token
        url = url.with_query("limit", &self.limit.to_string());
        match &self.next {
            Some(token) => url.with_query("next", token),
            None => url,
        }
    }

    /// Begins the paging anew behind what was handed over.
    fn restart(&mut self) {
        self.next = None;
        self.after = self.progress.safe().added_after();
        self.progress.restart();
        self.seen.clear();
        self.empty = 0;
        self.pulled.restarts += 1;
    }

    /// Holds a page against the bounds, and finds the cursor that holds behind it.
    fn take(&mut self, page: &Page) -> Result<Option<Cursor>, TaxiiError> {
        let envelope = &page.envelope;
        if envelope.objects > 0 && !self.seen.insert(envelope.digest) && envelope.more {
            return Err(self.lost("the same page came twice"));
        }
        self.progress.answered(page.date);
        let pulled = &mut self.pulled;
        pulled.pages += 1;
        pulled.objects = pulled.objects.saturating_add(envelope.objects);
        pulled.bytes = pulled.bytes.saturating_add(page.body.len() as u64);
        for (what, count, limit) in [
            ("pages", pulled.pages, MOST_PAGES),
            ("objects", pulled.objects, self.limits.objects),
            ("bytes", pulled.bytes, self.limits.bytes),
        ] {
            if count > limit {
                let cause = TaxiiCause::TooMuch { what, limit };
                return Err(TaxiiError::new(&self.url, cause));
            }
        }
        let before = self.progress.safe();
        let cursor = self.progress.page(page.first, page.last, envelope.objects);
        if self.progress.safe().added_after() > before.added_after() {
            self.failures = 0;
        }
        if page.is_last() {
            self.pulled.cursor = self.progress.end();
            return Ok(Some(self.pulled.cursor));
        }
        Ok(cursor)
    }

    /// Goes on to the page behind one that is stored.
    fn turn(&mut self, page: &Page) -> Result<(), TaxiiError> {
        if page.envelope.objects > 0 {
            self.empty = 0;
        } else {
            self.empty += 1;
            if self.empty > MOST_EMPTY {
                return Err(self.lost("one empty page after the other promises more"));
            }
        }
        if page.envelope.next.is_some() {
            self.next.clone_from(&page.envelope.next);
            return Ok(());
        }
        // more, but no way to it: only dates lead on
        let before = self.after;
        self.restart();
        if self.after <= before {
            return Err(self.lost("more objects are promised, but no way leads to them"));
        }
        Ok(())
    }

    fn lost(&self, how: &'static str) -> TaxiiError {
        TaxiiError::new(&self.url, TaxiiCause::NoProgress(how))
    }
}
