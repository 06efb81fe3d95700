//! A bounded, blocking HTTP client for exchanges.
//!
//! A [`Client`] belongs to one origin, that of [`ClientOptions::url`]: its
//! credentials go there and nowhere else. Everything a server can stretch has
//! a bound: the head, the body (the caller states how long it may be, once
//! unpacked), the time, the redirects. What is not complete is an error, never
//! a short success. Nothing is tried twice here; [`backoff`] and
//! [`HttpError::is_transient`] are for callers that do.

mod body;
mod error;
mod media;
mod options;
mod url;
mod wait;

pub use body::Body;
pub use error::HttpCause;
pub use error::HttpError;
pub use media::MediaType;
pub use options::ClientCertificate;
pub use options::ClientOptions;
pub use options::Credentials;
pub use url::Url;
pub use url::UrlError;
pub use wait::LONGEST_RETRY_AFTER;
pub use wait::backoff;
pub use wait::read_retry_after;

use self::body::Coding;
use super::tally::show;
use crate::time::Timestamp;
use std::io::Read;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use ureq::http;
use ureq::http::HeaderMap;
use ureq::http::HeaderValue;
use ureq::http::header;

/// No answer is waited for longer, whatever the options say.
const LONGEST_OVERALL: Duration = Duration::from_secs(24 * 60 * 60);

/// Redirects that are followed: one for a missing slash, one for a moved server, and some.
const MOST_REDIRECTS: usize = 5;

/// Bytes of a head; as much as servers accept themselves.
const LONGEST_HEAD: usize = 64 << 10;

/// Bytes of the body of a refusal that an error keeps: a sentence for people.
const LONGEST_SAID: u64 = 4 << 10;

/// Bytes of an ETag or date that are sent back; longer ones are left out.
const LONGEST_VALIDATOR: usize = 512;

/// Headers that follow a redirect to another origin: they hold no secret.
const HARMLESS: [&str; 4] = ["accept", "if-none-match", "if-modified-since", "range"];

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fetches.
    Get,
    /// Fetches the head alone.
    Head,
    /// Hands over data.
    Post,
    /// Removes.
    Delete,
}

/// What the copy of a resource that a caller holds is known by (RFC 9110, 8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// As the server sent it, with its quotes; `None`: it sent none.
    pub etag: Option<String>,
    /// As the server sent it; `None`: it sent none.
    pub last_modified: Option<String>,
}

/// What [`Client::get_if_changed`] found.
#[derive(Debug)]
pub enum Fetched {
    /// What the caller holds is still what the server has.
    NotModified,
    /// Something else, or the server does not know.
    Changed(Response),
}

/// Asks one server.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where credentials may go.
    url: Url,
    /// Sends the client's certificate.
    own: ureq::Agent,
    /// Does not.
    foreign: ureq::Agent,
    /// Value of `Authorization`; `None`: there are no credentials of that kind.
    authorization: Option<HeaderValue>,
    allow_clear: bool,
    overall_timeout: Duration,
}

impl Client {
    /// A client for the server of `options.url`; nothing is sent yet.
    ///
    /// Fails where a file of certificates cannot be read or used, and where a
    /// credential holds what no header may hold.
    pub fn new(options: &ClientOptions) -> Result<Self, HttpError> {
        let prepared = options.prepare()?;
        Ok(Self {
            url: options.url.clone(),
            own: prepared.own,
            foreign: prepared.foreign,
            authorization: prepared.authorization,
            allow_clear: options.allow_clear,
            overall_timeout: options.overall_timeout,
        })
    }

    /// The address that the client was made for.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Fetches `url`; the status is 2xx, all else is an error.
    pub fn get(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
        self.send(Method::Get, url, headers, &[])
    }

    /// Fetches the head of `url`; the status is 2xx, all else is an error.
    pub fn head(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
        self.send(Method::Head, url, headers, &[])
    }

    /// Hands `body` over to `url`, with its length; the status is 2xx, all else is an error.
    pub fn post(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, HttpError> {
        self.send(Method::Post, url, headers, body)
    }

    /// Removes what is at `url`; the status is 2xx, all else is an error.
    pub fn delete(&self, url: &Url, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
        self.send(Method::Delete, url, headers, &[])
    }

    /// Fetches `url` unless it is what `held` describes.
    pub fn get_if_changed(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        held: &Validators,
    ) -> Result<Fetched, HttpError> {
        let mut headers = headers.to_vec();
        // where both are sent, servers go by the ETag (RFC 9110, 13.2.2)
        if let Some(etag) = &held.etag {
            headers.push(("if-none-match", etag));
        }
        if let Some(date) = &held.last_modified {
            headers.push(("if-modified-since", date));
        }
        match self.send(Method::Get, url, &headers, &[]) {
            Ok(response) => Ok(Fetched::Changed(response)),
            Err(error) if error.status() == Some(304) && *held != Validators::default() => {
                Ok(Fetched::NotModified)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a request and follows redirects, credentials only on the client's own origin.
    ///
    /// A redirect to another origin is followed for GET and HEAD alone, and
    /// none leads from https to http, or from elsewhere to this host.
    pub fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response, HttpError> {
        let deadline = Instant::now() + self.overall_timeout.min(LONGEST_OVERALL);
        let mut method = method;
        let mut url = url.clone();
        let mut foreign = false;
        for _ in 0..=MOST_REDIRECTS {
            let response = self.send_once(method, &url, headers, body, foreign, deadline)?;
            if !matches!(response.status, 301 | 302 | 303 | 307 | 308) {
                return response.judge();
            }
            let Some(location) = response.header("location") else {
                return response.judge();
            };
            let next = url
                .join(location)
                .map_err(|error| HttpError::new(&url, error.into()))?;
            if let Some(why) = objection(method, response.status, &url, &next) {
                let to = next.to_string();
                return Err(HttpError::new(&url, HttpCause::Redirect { to, why }));
            }
            if response.status == 303 && method != Method::Head {
                method = Method::Get;
            }
            foreign |= !next.has_origin_of(&url);
            url = next;
        }
        let to = url.to_string();
        let why = "it redirects too often; write the address of the resource itself";
        Err(HttpError::new(&url, HttpCause::Redirect { to, why }))
    }

    /// `foreign`: a redirect has led away from the origin that was asked first.
    fn send_once(
        &self,
        method: Method,
        url: &Url,
        headers: &[(&str, &str)],
        body: &[u8],
        foreign: bool,
        deadline: Instant,
    ) -> Result<Response, HttpError> {
        let fail = |cause| HttpError::new(url, cause);
        let loopback = url.is_loopback();
        if !url.is_https() && !loopback && !self.allow_clear {
            return Err(fail(HttpCause::Clear));
        }
        let own = !foreign && url.has_origin_of(&self.url);
        let mut request = http::Request::builder()
            .method(match method {
                Method::Get => http::Method::GET,
                Method::Head => http::Method::HEAD,
                Method::Post => http::Method::POST,
                Method::Delete => http::Method::DELETE,
            })
            .uri(url.to_text())
            .header(header::ACCEPT_ENCODING, "gzip");
        for (name, value) in headers {
            if !foreign || HARMLESS.iter().any(|kept| kept.eq_ignore_ascii_case(name)) {
                request = request.header(*name, *value);
            }
        }
        if let Some(value) = self.authorization.as_ref().filter(|_| own) {
            request = request.header(header::AUTHORIZATION, value.clone());
        }
        let agent = if own { &self.own } else { &self.foreign };
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(fail(HttpCause::TimedOut("all in all")));
        }
        let invalid = |_| {
            let what = "a header of the request holds what no header may hold: check what is set";
            fail(HttpCause::Options(what.to_owned()))
        };
        let sent = if method == Method::Post {
            let request = request.body(body).map_err(invalid)?;
            let configured = agent.configure_request(request).timeout_global(Some(left));
            // what stays on this host needs no proxy, and must not go to one
            agent.run(
                if loopback {
                    configured.proxy(None)
                } else {
                    configured
                }
                .build(),
            )
        } else {
            let request = request.body(()).map_err(invalid)?;
            let configured = agent.configure_request(request).timeout_global(Some(left));
            agent.run(
                if loopback {
                    configured.proxy(None)
                } else {
                    configured
                }
                .build(),
            )
        };
        let answer = sent.map_err(|error| HttpError::from_ureq(url, error, LONGEST_HEAD as u64))?;
        let (parts, body) = answer.into_parts();
        Ok(Response {
            url: url.clone(),
            status: parts.status.as_u16(),
            headers: Box::new(parts.headers),
            has_body: method != Method::Head && !matches!(parts.status.as_u16(), 204 | 304),
            body,
        })
    }
}

/// Why a redirect is not followed; `None`: it is.
fn objection(method: Method, status: u16, from: &Url, to: &Url) -> Option<&'static str> {
    let changes = matches!(method, Method::Post | Method::Delete) && status != 303;
    if from.is_https() && !to.is_https() {
        Some("it would leave encryption; tell the server's operator")
    } else if to.is_loopback() && !from.is_loopback() {
        Some("it points at this host; tell the server's operator")
    } else if changes && !from.has_origin_of(to) {
        Some("data goes to no other server than the one named; if it has moved, name that one")
    } else if method == Method::Post && matches!(status, 301 | 302) {
        Some("the data would be lost on the way; write the address that it names")
    } else {
        None
    }
}

/// The head of an answer, and its body to be read.
#[derive(Debug)]
pub struct Response {
    url: Url,
    status: u16,
    headers: Box<HeaderMap>,
    has_body: bool,
    body: ureq::Body,
}

impl Response {
    /// The status, from 200 to 299.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The address that answered, behind all redirects.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// The first header of a name, in any letter case; `None`: there is none, or it is not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type; `None`: there is none.
    pub fn media_type(&self) -> Option<MediaType> {
        MediaType::parse(self.header("content-type")?)
    }

    /// The server's clock as it answered, in whole seconds; `None`: it does not say.
    pub fn date(&self) -> Option<Timestamp> {
        wait::read_date(self.header("date")?)
    }

    /// What the answer will be known by when it is asked for again.
    pub fn validators(&self) -> Validators {
        let take = |name| {
            let value: &str = self.header(name)?;
            (value.len() <= LONGEST_VALIDATOR).then(|| value.to_owned())
        };
        Validators {
            etag: take("etag"),
            last_modified: take("last-modified"),
        }
    }

    /// Makes sure that the server calls the body JSON, of whatever kind.
    pub fn expect_json(self) -> Result<Self, HttpError> {
        match self.media_type() {
            Some(kind) if kind.is_json() => Ok(self),
            Some(kind) => Err(HttpError::unexpected(
                &self.url,
                format!(
                    "the answer is {}, not JSON: is it a page to sign in? check URL and credentials",
                    show(&kind.essence)
                ),
            )),
            None => Err(HttpError::unexpected(
                &self.url,
                "the answer is not said to be JSON: check the URL",
            )),
        }
    }

    /// The body as a reader of at most `limit` bytes, counted once it is unpacked.
    pub fn body(self, limit: u64) -> Result<Body, HttpError> {
        let coding = match self.headers.get(header::CONTENT_ENCODING) {
            None => Coding::Identity,
            Some(value) => match value.to_str().unwrap_or("?").trim() {
                "" | "identity" => Coding::Identity,
                word if word.eq_ignore_ascii_case("gzip") => Coding::Gzip,
                word if word.eq_ignore_ascii_case("x-gzip") => Coding::Gzip,
                _ => {
                    let what = "the body is packed in a way that was not asked for: tell the \
                                server's operator";
                    return Err(HttpError::unexpected(&self.url, what));
                }
            },
        };
        let length = self
            .header("content-length")
            .and_then(|value| value.trim().parse::<u64>().ok())
            // of two lengths, that of the framing counts (RFC 9112, 6.3)
            .filter(|_| self.has_body && !self.headers.contains_key(header::TRANSFER_ENCODING));
        if coding == Coding::Identity && length.is_some_and(|length| length > limit) {
            return Err(HttpError::new(&self.url, HttpCause::TooLarge(limit)));
        }
        // a body that is not there is not packed either
        let coding = if self.has_body && length != Some(0) {
            coding
        } else {
            Coding::Identity
        };
        let reader = self.body.into_with_config().limit(u64::MAX).reader();
        Ok(Body::new(reader, length, coding, self.url, limit))
    }

    /// The whole body, of at most `limit` bytes once it is unpacked.
    pub fn bytes(self, limit: u64) -> Result<Vec<u8>, HttpError> {
        self.body(limit)?.read_all()
    }

    /// Makes errors of all but 2xx.
    fn judge(self) -> Result<Self, HttpError> {
        let code = self.status;
        if (200..300).contains(&code) {
            return Ok(self);
        }
        let url = self.url.clone();
        let retry_after = self
            .header("retry-after")
            .and_then(|value| read_retry_after(value, now()));
        Err(HttpError::new(
            &url,
            HttpCause::Status {
                code,
                retry_after,
                said: self.said(),
            },
        ))
    }

    /// The start of the body of a refusal, where it is text that people read.
    fn said(self) -> String {
        let kind = self.media_type();
        let readable = kind.is_none_or(|kind| kind.is_json() || kind.essence == "text/plain");
        let mut start = Vec::new();
        if readable && let Ok(body) = self.body(u64::MAX) {
            // what came before it broke is all there is
            let _ = body.take(LONGEST_SAID).read_to_end(&mut start);
        }
        String::from_utf8_lossy(&start).into_owned()
    }
}

/// The time of the clock, against which servers' dates are held.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::MIN + since.unwrap_or_default()
}
