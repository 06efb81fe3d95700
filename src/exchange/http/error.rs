//! Why a request came to nothing.

use super::url::Url;
use super::url::UrlError;
use crate::exchange::tally::quote;
use crate::exchange::tally::shorten;
use crate::exchange::tally::show;
use std::fmt;
use std::io;
use std::time::Duration;
use ureq::Timeout;

/// Characters of an address that an error shows; servers choose where redirects lead.
const LONGEST_URL_SHOWN: usize = 300;

/// A request that came to nothing: which, why, and what to do.
///
/// Shows neither credentials nor the query of the address.
#[derive(Debug)]
pub struct HttpError {
    /// The address asked, without its query, shortened where it is very long.
    pub url: String,
    /// What went wrong.
    pub cause: HttpCause,
}

/// What can go wrong with a request; the text of each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum HttpCause {
    /// The address is none.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A file of certificates or keys, or a credential, cannot be used; which, and why.
    #[error("{0}")]
    Options(String),
    /// The name of the host has no address.
    #[error("no address is known for {0}: check the name in the URL, and the host's DNS")]
    Resolve(String),
    /// No connection comes about; why.
    #[error("no connection: {0}; check that the server runs and a firewall or proxy lets it pass")]
    Connect(String),
    /// TLS fails: the certificate, the client's certificate or the protocol; why.
    #[error("no TLS: {0}; where the server has a private CA, name its certificate as `ca`")]
    Tls(String),
    /// It took too long; what did.
    #[error("no answer in time ({0}): try again later, or check the way there")]
    TimedOut(&'static str),
    /// The server says no.
    #[error("{}", show_status(*code, *retry_after, said))]
    Status {
        /// From 300 to 599.
        code: u16,
        /// When to come back at the earliest, at most [`super::LONGEST_RETRY_AFTER`]; `None`: it
        /// does not say.
        retry_after: Option<Duration>,
        /// The start of the body, as sent; empty where there is none, or it is not text.
        said: String,
    },
    /// A redirect that is not followed: where to, and why not.
    #[error("it redirects to {to}, which is not followed: {why}")]
    Redirect {
        /// The address, without its query.
        to: String,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The request would go over the network unencrypted.
    #[error(
        "not encrypted: anybody on the way could read and change it; write https://, or allow \
         clear text for this exchange if there is no other way"
    )]
    Clear,
    /// The answer, unpacked, is longer than what is read.
    #[error("the answer is larger than {0} bytes: raise the limit if that is right")]
    TooLarge(u64),
    /// The answer ends before its end.
    #[error("the answer was cut short: try again later")]
    CutShort,
    /// The connection broke while the request or the answer was on its way; why.
    #[error("the connection broke: {0}; try again later")]
    Broken(String),
    /// The answer is not what was asked for: what it is, and what to do.
    #[error("{0}")]
    Unexpected(String),
}

impl HttpError {
    /// What went wrong with `url`.
    pub fn new(url: &Url, cause: HttpCause) -> Self {
        Self {
            url: shorten(&url.to_string(), LONGEST_URL_SHOWN),
            cause,
        }
    }

    /// The answer of `url` is something else than what was asked for.
    pub fn unexpected(url: &Url, what: impl Into<String>) -> Self {
        Self::new(url, HttpCause::Unexpected(what.into()))
    }

    /// Takes an error back out of the one that [`super::Body`] gave as a reader.
    ///
    /// Any other error of reading is a broken connection.
    pub fn from_io(url: &Url, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(error) => Self::from_ureq(url, ureq::Error::from(error), 0),
        }
    }

    /// Whether the same request may succeed later, as things stand.
    pub const fn is_transient(&self) -> bool {
        match &self.cause {
            HttpCause::Resolve(_)
            | HttpCause::Connect(_)
            | HttpCause::TimedOut(_)
            | HttpCause::CutShort
            | HttpCause::Broken(_) => true,
            // RFC 9110, 15.5.9, 15.6; RFC 6585, 4; RFC 8470, 5.2; not 501 and 505
            HttpCause::Status { code, .. } => {
                matches!(
                    code,
                    408 | 425 | 429 | 500 | 502 | 503 | 504 | 507 | 520..=599
                )
            }
            _ => false,
        }
    }

    /// Whether the server cannot have seen the request.
    pub const fn was_not_sent(&self) -> bool {
        matches!(
            &self.cause,
            HttpCause::Url(_)
                | HttpCause::Options(_)
                | HttpCause::Resolve(_)
                | HttpCause::Connect(_)
                | HttpCause::Tls(_)
                | HttpCause::Clear
        )
    }

    /// The status that the server answered with; `None`: it failed otherwise.
    pub const fn status(&self) -> Option<u16> {
        match &self.cause {
            HttpCause::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// When the server wants to be asked again at the earliest; `None`: it did not say.
    pub const fn retry_after(&self) -> Option<Duration> {
        match &self.cause {
            HttpCause::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// What ureq's error means. `limit` is the most bytes a head may have.
    pub(super) fn from_ureq(url: &Url, error: ureq::Error, limit: u64) -> Self {
        let cause = match error {
            ureq::Error::Io(error) => cause_of_io(url, &error),
            ureq::Error::HostNotFound => HttpCause::Resolve(url.host().to_owned()),
            ureq::Error::Timeout(timeout) => HttpCause::TimedOut(match timeout {
                Timeout::Resolve => "looking up the name",
                Timeout::Connect => "connecting",
                Timeout::SendRequest | Timeout::SendBody | Timeout::PerWrite => "sending",
                Timeout::RecvResponse | Timeout::RecvBody | Timeout::PerRead => "waiting for data",
                _ => "all in all",
            }),
            ureq::Error::ConnectionFailed => HttpCause::Connect("it was not established".into()),
            ureq::Error::ConnectProxyFailed(why) => {
                HttpCause::Connect(format!("the proxy refuses it: {}", quote(&why)))
            }
            ureq::Error::InvalidProxyUrl => HttpCause::Connect(
                "the proxy named in the environment (HTTPS_PROXY, ALL_PROXY) is no URL".into(),
            ),
            ureq::Error::Tls(why) => HttpCause::Tls(why.to_owned()),
            ureq::Error::Rustls(error) => HttpCause::Tls(show(&error.to_string())),
            ureq::Error::TlsRequired => HttpCause::Tls("the connection is not encrypted".into()),
            ureq::Error::LargeResponseHeader(..) => HttpCause::TooLarge(limit),
            ureq::Error::BodyStalled => HttpCause::CutShort,
            error => HttpCause::Unexpected(format!(
                "no answer of HTTP/1.1: {}; is it the right address?",
                quote(&error.to_string())
            )),
        };
        Self::new(url, cause)
    }
}

/// What an error of the network, of TLS or of the resolver means.
fn cause_of_io(url: &Url, error: &io::Error) -> HttpCause {
    let inner = error.get_ref();
    if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return HttpCause::Tls(show(&tls.to_string()));
    }
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            HttpCause::TimedOut("waiting for data")
        }
        io::ErrorKind::UnexpectedEof => HttpCause::CutShort,
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::NotConnected => HttpCause::Broken(error.to_string()),
        // a resolver's failure has no kind and no number of its own
        _ if error.raw_os_error().is_none() && error.to_string().contains("lookup address") => {
            HttpCause::Resolve(url.host().to_owned())
        }
        io::ErrorKind::InvalidInput => HttpCause::Resolve(url.host().to_owned()),
        _ if error.raw_os_error().is_some() => HttpCause::Connect(error.to_string()),
        _ => HttpCause::Broken(quote(&error.to_string())),
    }
}

fn show_status(code: u16, retry_after: Option<Duration>, said: &str) -> String {
    let meaning = match code {
        400 => "the server does not understand the request",
        401 => "the server does not know who asks: check user name, password or token",
        403 => "the server does not allow it: ask its operator for the permission",
        404 | 410 => "there is no such thing: check the URL, the collection, and the permission",
        406 => "the server does not speak this version: is it the right URL?",
        407 => "the proxy wants a user name and password: name them in its URL",
        413 => "the request is too large for the server",
        429 => "the server is asked too often: ask less often",
        500..=599 => "the server has failed: try again later, or tell its operator",
        _ => "the server refuses",
    };
    let mut text = format!("status {code}, {meaning}");
    if let Some(wait) = retry_after {
        text.push_str(&format!("; it asks for {} s of patience", wait.as_secs()));
    }
    if !said.trim().is_empty() {
        text.push_str(&format!("; it says {}", quote(said.trim())));
    }
    text
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.cause)
    }
}

impl std::error::Error for HttpError {}
