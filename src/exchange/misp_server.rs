//! A MISP instance, asked over its REST interface.
//!
//! What it answers to a search is handed on as it came: documents of events, which
//! [`load_reader`](super::load_reader) reads. Sightings are told one by one, since a MISP knows no
//! counts, and since only so the answer says of which of them it speaks.

use super::http::Client;
use super::http::Fetched;
use super::http::HttpError;
use super::http::Response;
use super::http::Url;
use super::http::Validators;
use super::misp::is_uuid;
use crate::time::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// Events of one page: some hundred attributes each make a few megabytes.
const PAGE: u32 = 50;

/// Pages of one search: half a million events, several times what any instance publishes.
const MOST_PAGES: u32 = 10_000;

/// Bytes of an answer that is no page of events.
const LARGEST_ANSWER: u64 = 1 << 20;

/// Longest text that says who saw something: the column of MISP's table.
const LONGEST_SOURCE: usize = 255;

/// Which events a search asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// One of these tags; a leading `!`: not this one. Empty: any.
    pub tags: Vec<String>,
    /// Types of attributes; empty: all.
    pub types: Vec<String>,
    /// Only attributes that are meant for detection.
    pub to_ids: bool,
    /// Only events that are published.
    pub published: bool,
    /// Only events published within so many seconds; `None`: of any age.
    pub last_seconds: Option<u64>,
}

impl Search {
    fn body(&self) -> Value {
        let mut body = json!({"returnFormat": "json"});
        let mut set = |name: &str, value: Value| {
            if let Value::Object(members) = &mut body {
                members.insert(name.to_owned(), value);
            }
        };
        if self.published {
            set("published", 1.into());
        }
        if self.to_ids {
            set("to_ids", 1.into());
        }
        if !self.tags.is_empty() {
            set("tags", self.tags.clone().into());
        }
        if !self.types.is_empty() {
            set("type", self.types.clone().into());
        }
        if let Some(seconds) = self.last_seconds {
            set("last", format!("{seconds}s").into());
        }
        body
    }
}

/// What is told of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SightingKind {
    /// It was seen (type 0).
    Seen,
    /// It is a false positive (type 1).
    FalsePositive,
}

/// What became of a sighting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The instance has it.
    Accepted,
    /// It will not take it; its words.
    Refused(String),
}

/// Takes a page of a search as it came, and how many events it has.
pub type TakePage<'a, E> = dyn FnMut(&[u8], u64) -> Result<(), E> + 'a;

/// A MISP instance.
#[derive(Clone, Debug)]
pub struct MispServer {
    client: Client,
    base: Url,
}

impl MispServer {
    /// The instance at the address of a client, which may have a path.
    pub fn new(client: Client) -> Self {
        let base = client.url().clone();
        Self { client, base }
    }

    /// Hands on every page of a search, and how many events it has, until there is none left.
    /// `limit`: bytes of all pages together.
    ///
    /// # Errors
    /// When the instance does not answer as one, or `take` fails.
    pub fn search<E: From<HttpError>>(
        &self,
        search: &Search,
        limit: u64,
        take: &mut TakePage<'_, E>,
    ) -> Result<(), E> {
        let url = self.action("events", "restSearch")?;
        let mut left = limit;
        let mut before = Vec::new();
        for page in 1..=MOST_PAGES {
            let mut body = search.body();
            body["limit"] = PAGE.into();
            body["page"] = page.into();
            let bytes = self.post(&url, &body)?.expect_json()?.bytes(left)?;
            left -= bytes.len() as u64;
            let events = count_events(&url, &bytes)?;
            if events == 0 {
                return Ok(());
            }
            // an instance that does not know pages answers each with the same
            if bytes == before {
                return Ok(());
            }
            take(&bytes, events)?;
            before = bytes;
        }
        let what = format!("it has more than {MOST_PAGES} pages: narrow the query");
        Err(HttpError::unexpected(&url, what).into())
    }

    /// Whether anything of a search changed since a time.
    ///
    /// # Errors
    /// When the instance does not answer as one.
    pub fn has_changed(&self, search: &Search, since: Timestamp) -> Result<bool, HttpError> {
        let url = self.action("events", "restSearch")?;
        let mut body = search.body();
        body["metadata"] = true.into();
        body["limit"] = 1.into();
        body["page"] = 1.into();
        body["timestamp"] = (since.as_nanos() / 1_000_000_000).to_string().into();
        let bytes = self
            .post(&url, &body)?
            .expect_json()?
            .bytes(LARGEST_ANSWER)?;
        Ok(count_events(&url, &bytes)? > 0)
    }

    /// Tells of an attribute that it was seen, or is false, at a time. Refused is what the
    /// instance will refuse again; whatever may pass is an error.
    ///
    /// # Errors
    /// When the instance does not answer, or not as one.
    pub fn tell(
        &self,
        attribute: &str,
        kind: SightingKind,
        at: Timestamp,
        source: &str,
    ) -> Result<Told, HttpError> {
        if !is_uuid(attribute) {
            return Ok(Told::Refused(
                "the indicator is no attribute of a MISP".into(),
            ));
        }
        let url = self.action("sightings", "add")?;
        let source: String = source.chars().take(LONGEST_SOURCE).collect();
        let body = json!({
            "uuid": attribute,
            "type": match kind {
                SightingKind::Seen => "0",
                SightingKind::FalsePositive => "1",
            },
            "source": source,
            "timestamp": at.as_nanos() / 1_000_000_000,
        });
        let answer = match self.post(&url, &body) {
            Ok(response) => response.expect_json()?.bytes(LARGEST_ANSWER)?,
            Err(error) => return judge(error),
        };
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|e| HttpError::unexpected(&url, format!("no answer of a MISP: {e}")))?;
        match answer.errors {
            Some(errors) => Ok(Told::Refused(
                answer.message.unwrap_or_else(|| errors.to_string()),
            )),
            None => Ok(Told::Accepted),
        }
    }

    fn action(&self, controller: &str, action: &str) -> Result<Url, HttpError> {
        let url = self.base.with_folders(&[controller]).join(action);
        url.map_err(|error| HttpError::new(&self.base, error.into()))
    }

    fn post(&self, url: &Url, body: &Value) -> Result<Response, HttpError> {
        let headers = [
            ("Accept", "application/json"),
            ("Content-Type", "application/json"),
        ];
        self.client.post(url, &headers, body.to_string().as_bytes())
    }
}

/// A refusal of a sighting itself is final; one of who asks may be mended, and anything else pass.
fn judge(error: HttpError) -> Result<Told, HttpError> {
    match error.status() {
        Some(400 | 404 | 405 | 422) => Ok(Told::Refused(error.to_string())),
        // "Could not add sighting": nobody may see the attribute any more
        Some(403)
            if error
                .to_string()
                .to_ascii_lowercase()
                .contains("add sighting") =>
        {
            Ok(Told::Refused(error.to_string()))
        }
        _ => Err(error),
    }
}

#[derive(Deserialize)]
struct Answer {
    errors: Option<Value>,
    message: Option<String>,
}

/// Events of an answer to a search, without reading them.
fn count_events(url: &Url, bytes: &[u8]) -> Result<u64, HttpError> {
    #[derive(Deserialize)]
    struct Page {
        response: Option<Response>,
        errors: Option<Value>,
        message: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Response {
        Events(Vec<serde::de::IgnoredAny>),
        Event(serde::de::IgnoredAny),
    }
    let page: Page = serde_json::from_slice(bytes)
        .map_err(|e| HttpError::unexpected(url, format!("no answer of a MISP: {e}")))?;
    match (page.response, page.errors) {
        (_, Some(errors)) => {
            let message = page.message.unwrap_or_else(|| errors.to_string());
            Err(HttpError::unexpected(url, message))
        }
        (Some(Response::Events(events)), None) => Ok(events.len() as u64),
        (Some(Response::Event(_)), None) => Ok(1),
        (None, None) => Err(HttpError::unexpected(
            url,
            "no answer of a MISP: no `response`",
        )),
    }
}

/// The folder of a MISP feed on a web server.
#[derive(Clone, Debug)]
pub struct MispFeed {
    client: Client,
}

/// Bytes of the largest manifest: a thousand times that of the largest public feed.
const LARGEST_MANIFEST: u64 = 256 << 20;

/// An event as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FeedEvent {
    /// Its uuid.
    pub uuid: String,
    /// Its version, as the manifest writes it.
    pub timestamp: String,
}

impl MispFeed {
    /// The feed at the address of a client: that of the folder, or of its manifest.
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The events of the feed, in order of their uuids, and by what the manifest is known;
    /// `None`: it is what the caller holds.
    ///
    /// # Errors
    /// When there is no manifest, or it is none.
    pub fn manifest(
        &self,
        held: &Validators,
    ) -> Result<Option<(Vec<FeedEvent>, Validators)>, HttpError> {
        let url = self.folder().with_file("manifest.json");
        let response = match self.client.get_if_changed(&url, &[], held)? {
            Fetched::NotModified => return Ok(None),
            Fetched::Changed(response) => response,
        };
        let validators = response.validators();
        let bytes = response.bytes(LARGEST_MANIFEST)?;
        let manifest: BTreeMap<String, ManifestEntry> = serde_json::from_slice(&bytes)
            .map_err(|e| HttpError::unexpected(&url, format!("no manifest of a feed: {e}")))?;
        // a uuid becomes part of an address
        let events = manifest
            .into_iter()
            .filter(|(uuid, _)| is_uuid(uuid))
            .map(|(uuid, entry)| FeedEvent {
                uuid,
                timestamp: text_of(&entry.timestamp),
            })
            .collect();
        Ok(Some((events, validators)))
    }

    /// An event of the feed, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it is not there or larger.
    pub fn event(&self, uuid: &str, limit: u64) -> Result<Vec<u8>, HttpError> {
        let url = self.folder().with_file(&format!("{uuid}.json"));
        self.client.get(&url, &[])?.bytes(limit)
    }

    fn folder(&self) -> Folder<'_> {
        Folder(self.client.url())
    }
}

/// Where the files of a feed are.
struct Folder<'a>(&'a Url);

impl Folder<'_> {
    fn with_file(&self, name: &str) -> Url {
        let url = self.0;
        let path = url.path();
        // the address of the manifest, or of the folder with or without its slash
        let base = match path.rsplit_once('/') {
            Some((_, "manifest.json")) => url.join(name),
            Some((_, "")) => url.join(name),
            _ => url.with_folders(&[]).join(name),
        };
        // a name of hexadecimal digits and a folder of ours always join
        base.unwrap_or_else(|_| url.clone())
    }
}

#[derive(Deserialize)]
struct ManifestEntry {
    #[serde(default)]
    timestamp: Value,
}

/// The version of an event of a feed: its uuid and timestamp; `None`: it is no event.
pub fn version_of_event(document: &[u8]) -> Option<FeedEvent> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "Event")]
        event: Event,
    }
    #[derive(Deserialize)]
    struct Event {
        uuid: String,
        timestamp: Value,
    }
    let document: Document = serde_json::from_slice(document).ok()?;
    Some(FeedEvent {
        uuid: document.event.uuid,
        timestamp: text_of(&document.event.timestamp),
    })
}

/// Numbers may be written as text.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
