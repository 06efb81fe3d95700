//! A TAXII server of the tests' own that has the habits of real ones.

use super::Asked;
use super::Reply;
use super::Server;
use super::answer;
use super::raw;
use serde_json::Value;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use watchpost::exchange::http::Client;
use watchpost::exchange::http::ClientOptions;
use watchpost::exchange::http::Credentials;
use watchpost::exchange::http::Url;
use watchpost::exchange::taxii::Collection;
use watchpost::exchange::taxii::TaxiiClient;
use watchpost::time::Timestamp;

pub(crate) const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";

/// The collection that the servers here have.
pub(crate) const COLLECTION: &str = "91a7b528-80eb-42ed-a74d-c6fbd5a26116";

/// The server's clock, far behind all dates of the objects here.
pub(crate) const DATE: &str = "Date: Wed, 25 Nov 2026 12:00:00 GMT";

/// Bytes of a request that they take.
pub(crate) const LENGTH: u64 = 1 << 20;

/// A client that does not wait long.
pub(crate) fn client_at(url: &str) -> TaxiiClient {
    let mut options = ClientOptions::new(Url::parse(url).unwrap());
    options.credentials = Credentials::Basic {
        username: "sensor".into(),
        password: "s3cret".into(),
    };
    options.connect_timeout = Duration::from_secs(5);
    options.read_timeout = Duration::from_millis(700);
    options.overall_timeout = Duration::from_secs(5);
    TaxiiClient::new(Client::new(&options).unwrap(), 7)
}

pub(crate) fn client(server: &Server) -> TaxiiClient {
    client_at(&server.url("/taxii2"))
}

/// A pause that takes no time.
pub(crate) fn go_on(_: Duration) -> bool {
    true
}

pub(crate) fn only_collection(client: &TaxiiClient) -> Collection {
    let directory = client.directory(&mut go_on).unwrap();
    assert!(directory.failed.is_empty(), "{:?}", directory.failed);
    let [only] = directory.collections.as_slice() else {
        panic!("{directory:?}");
    };
    only.clone()
}

/// Where its objects are.
pub(crate) fn objects_path() -> String {
    format!("/partners/collections/{COLLECTION}/objects/")
}

/// An answer as TAXII servers give it.
pub(crate) fn taxii(status: u16, headers: &[&str], body: &Value) -> Reply {
    let kind = format!("Content-Type: {MEDIA_TYPE}");
    let mut all = vec![kind.as_str(), DATE];
    all.extend_from_slice(headers);
    answer(status, &all, body.to_string())
}

/// An answer of a web server that knows nothing of TAXII.
pub(crate) fn page(status: u16) -> Reply {
    answer(
        status,
        &["Content-Type: text/html"],
        "<!doctype html><title>no</title>",
    )
}

/// Discovery, one API root and one collection; `None`: something else is asked for.
///
/// As strict as servers are: an `Accept` of another form is not taken.
pub(crate) fn standard(asked: &Asked, max_content_length: u64) -> Option<Reply> {
    if asked.header("accept") != Some(MEDIA_TYPE) {
        return Some(page(406));
    }
    if asked.method == "POST" {
        if asked.header("content-type") != Some(MEDIA_TYPE) {
            return Some(page(415));
        }
        if asked.header("content-length").is_none() {
            return Some(page(400));
        }
    }
    let resource = match asked.path() {
        "/taxii2/" => json!({"title": "t", "default": "/partners/", "api_roots": ["/partners/"]}),
        "/partners/" => json!({"title": "r", "versions": [MEDIA_TYPE],
            "max_content_length": max_content_length}),
        "/partners/collections/" => json!({"collections": [{"id": COLLECTION, "title": "Partners",
            "alias": "partners", "can_read": true, "can_write": true,
            "media_types": ["application/stix+json;version=2.1"]}]}),
        _ => return None,
    };
    Some(taxii(200, &[], &resource))
}

/// How a server lets a client go on to the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// One for the whole paging; each use advances; it wants all of the first request again.
    Session,
    /// A new one for each page, good for ever.
    Place,
    /// A new one for each page, and the server does not know it again.
    Refused,
    /// None: dates alone lead on.
    None,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing bad.
    None,
    /// It is carried out, and the answer is lost on the way.
    Lost,
    /// It is carried out, and half of the answer is lost on the way.
    Half,
    /// The server is busy.
    Busy,
    /// The server forgets all sessions, and then answers.
    Forgets,
}

/// A collection that is read page by page.
pub(crate) struct Pages {
    /// Id, and date of addition in microseconds from [`Pages::EPOCH`], in the order of dates.
    pub(crate) objects: Vec<(String, u64)>,
    /// Objects of a page, whatever the client asks for.
    pub(crate) cap: usize,
    pub(crate) token: Token,
    /// Whether pages tell the dates of their objects.
    pub(crate) dated: bool,
    sessions: Mutex<HashMap<String, Session>>,
}

struct Session {
    filters: String,
    at: usize,
    of: Vec<usize>,
}

impl Pages {
    /// 2026-01-01, in seconds from 1970.
    const EPOCH: u64 = 1_767_225_600;

    pub(crate) fn new(objects: Vec<(String, u64)>, cap: usize, token: Token) -> Self {
        Self {
            objects,
            cap,
            token,
            dated: true,
            sessions: Mutex::default(),
        }
    }

    fn time(micros: u64) -> Timestamp {
        Timestamp::from_parts(Self::EPOCH, micros * 1_000)
    }

    pub(crate) fn reply(&self, asked: &Asked, fault: Fault) -> Reply {
        if fault == Fault::Busy {
            return answer(503, &["Retry-After: 2", "Content-Type: text/html"], "busy");
        }
        if fault == Fault::Forgets {
            self.sessions.lock().unwrap().clear();
        }
        let (status, headers, body) = self.carry_out(asked);
        match fault {
            Fault::Lost => raw(""),
            Fault::Half => {
                let body = body.to_string();
                let half = body.get(..body.len() / 2).unwrap().to_owned();
                raw(format!(
                    "HTTP/1.1 {status} Said\r\nContent-Type: {MEDIA_TYPE}\r\n\
                     Content-Length: {}\r\n\r\n{half}",
                    body.len()
                ))
            }
            _ => {
                let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
                taxii(status, &headers, &body)
            }
        }
    }

    fn carry_out(&self, asked: &Asked) -> (u16, Vec<String>, Value) {
        let refuse = |status| (status, Vec::new(), json!({"title": "no"}));
        let Some(limit) = asked.query("limit").and_then(|l| l.parse::<usize>().ok()) else {
            return refuse(500);
        };
        if limit == 0 {
            return refuse(500);
        }
        let after = asked.query("added_after");
        if after
            .as_ref()
            .is_some_and(|a| a.len() != 27 || !a.ends_with('Z'))
        {
            return refuse(400);
        }
        let time = after
            .as_deref()
            .map(|a| Timestamp::parse_rfc3339(a).unwrap());
        let matching = || {
            let all = self.objects.iter().enumerate();
            let new = all.filter(|(_, (_, micros))| time.is_none_or(|t| Self::time(*micros) > t));
            new.map(|(at, _)| at).collect::<Vec<usize>>()
        };
        let size = limit.min(self.cap);
        let filters = format!("{after:?} {limit}");
        let mut sessions = self.sessions.lock().unwrap();
        let (part, next, more) = match (self.token, asked.query("next")) {
            (Token::Session, Some(token)) => {
                let Some(session) = sessions.get_mut(&token) else {
                    return refuse(400);
                };
                if session.filters != filters {
                    return refuse(500);
                }
                let part: Vec<usize> = session
                    .of
                    .iter()
                    .skip(session.at)
                    .take(size)
                    .copied()
                    .collect();
                session.at += part.len();
                let more = session.at < session.of.len();
                (part, Some(token), more)
            }
            (Token::Session, None) => {
                let of = matching();
                let part: Vec<usize> = of.iter().take(size).copied().collect();
                let token = format!("session-{}", sessions.len());
                let more = part.len() < of.len();
                let at = part.len();
                sessions.insert(token.clone(), Session { filters, at, of });
                (part, Some(token), more)
            }
            (Token::Refused, Some(_)) => return refuse(400),
            (Token::None, Some(_)) => return refuse(400),
            (Token::Place | Token::Refused | Token::None, token) => {
                let from: usize = token.map_or(0, |token| token.parse().unwrap());
                let of: Vec<usize> = matching().into_iter().filter(|at| *at >= from).collect();
                let part: Vec<usize> = of.iter().take(size).copied().collect();
                let next = part.last().map(|last| (last + 1).to_string());
                let more = part.len() < of.len();
                (part, next.filter(|_| self.token != Token::None), more)
            }
        };
        let mut body = json!({});
        let mut headers = Vec::new();
        if let (Some(first), Some(last)) = (part.first(), part.last()) {
            if self.dated {
                for (name, at) in [("First", first), ("Last", last)] {
                    let date = Self::time(self.objects[*at].1).to_rfc3339(6);
                    headers.push(format!("X-TAXII-Date-Added-{name}: {date}"));
                }
            }
            let objects = part.iter().map(|at| json!({"id": self.objects[*at].0}));
            body["objects"] = objects.collect();
        }
        if more {
            body["more"] = json!(true);
            if let Some(next) = next {
                body["next"] = json!(next);
            }
        }
        (200, headers, body)
    }
}
