//! A TAXII 2.1 client: finds collections, pulls what is new, pushes objects.
//!
//! Read first: TAXII 2.1, sections 3.4 and 3.5 (paging), 4.3.1 (status), 5.4
//! and 5.5 (objects). Servers differ from it, and from each other; what they
//! do was measured, and `tests/taxii_quirks.rs` plays all of it.
//!
//! A pull hands over page by page, each with the [`Cursor`] that holds once
//! the page is stored. Objects may come more than once: whoever takes them
//! goes by id and `modified`. None is ever left out because of how pages are
//! cut, how clocks go, or where a pull broke off.

mod cursor;
mod discovery;
mod envelope;
mod error;
mod pull;
mod push;
mod status;

pub use cursor::Cursor;
pub use cursor::CursorError;
pub use discovery::ApiRoot;
pub use discovery::Collection;
pub use discovery::Directory;
pub use discovery::find;
pub use error::PullError;
pub use error::TaxiiCause;
pub use error::TaxiiError;
pub use pull::PullLimits;
pub use pull::Pulled;
pub use pull::StorePage;
pub use push::Outcome;
pub use push::PushLimits;
pub use push::Pushed;

use super::http::Client;
use super::http::HttpError;
use super::http::Response;
use super::http::Url;
use super::http::backoff;
use std::time::Duration;

/// The one form that all servers take: no blank, no quotes.
const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";

/// The header that every request has.
const ACCEPT: (&str, &str) = ("accept", MEDIA_TYPE);

/// The headers that every POST has.
const POST_HEADERS: [(&str, &str); 2] = [ACCEPT, ("content-type", MEDIA_TYPE)];

/// How often a request is sent before its failure counts.
const TRIES: u32 = 4;

/// Bytes of a resource that lists what there is; ten thousand collections have fewer.
const LARGEST_LISTING: u64 = 16 << 20;

/// Waits; `false`: whoever owns the client wants it to stop.
pub type Pause<'a> = &'a mut dyn FnMut(Duration) -> bool;

/// Asks one TAXII server.
#[derive(Clone, Debug)]
pub struct TaxiiClient {
    http: Client,
    /// Chooses pauses; differs from sensor to sensor.
    seed: u64,
}

impl TaxiiClient {
    /// A client for the server whose discovery or API root is at the URL of `http`.
    ///
    /// `seed` spreads the pauses before repetitions; it should differ from
    /// sensor to sensor.
    pub const fn new(http: Client, seed: u64) -> Self {
        Self { http, seed }
    }

    /// The address of the server, as it was named.
    pub const fn url(&self) -> &Url {
        self.http.url()
    }

    /// Fetches a resource, again where that may help.
    fn fetch(&self, url: &Url, limit: u64, pause: Pause<'_>) -> Result<Vec<u8>, TaxiiError> {
        self.persist(pause, || self.fetch_once(url, limit))
    }

    fn fetch_once(&self, url: &Url, limit: u64) -> Result<Vec<u8>, HttpError> {
        let response = self.http.get(url, &[ACCEPT])?;
        expect_taxii(response)?.bytes(limit)
    }

    /// Does something again and again while that may help.
    fn persist<T>(
        &self,
        pause: Pause<'_>,
        mut act: impl FnMut() -> Result<T, HttpError>,
    ) -> Result<T, TaxiiError> {
        let mut attempt = 0;
        loop {
            let error = match act() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempt += 1;
            if attempt == TRIES || !error.is_transient() {
                return Err(error.into());
            }
            self.wait(attempt, &error, pause)?;
        }
    }

    /// Waits as the server asks for, or as many sensors at once should.
    fn wait(&self, attempt: u32, error: &HttpError, pause: Pause<'_>) -> Result<(), TaxiiError> {
        let wait = error.retry_after();
        let wait = wait.unwrap_or_else(|| backoff(attempt, self.seed));
        if pause(wait) {
            Ok(())
        } else {
            Err(TaxiiError::new(self.url(), TaxiiCause::Stopped))
        }
    }
}

/// Makes sure that a resource is in a kind of JSON that TAXII servers give.
///
/// Version and charset are not asked for: servers write them as they like.
fn expect_taxii(response: Response) -> Result<Response, HttpError> {
    match response.media_type() {
        // where the body is empty, servers leave its type out
        None => Ok(response),
        Some(_) => response.expect_json(),
    }
}
