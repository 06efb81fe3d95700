//! A MISP instance, asked over its REST interface.
//!
//! What it answers to a search is handed on as it came: documents of events, which
//! [`load_reader`](super::load_reader) reads. Sightings are told one by one, since a MISP knows no
//! counts, and since only so the answer says of which of them it speaks.

use super::http::Client;
use super::http::Fetched;
use super::http::HttpCause;
use super::http::HttpError;
use super::http::Response;
use super::http::Url;
use super::http::Validators;
use super::misp::is_uuid;
use super::tally::show;
use crate::time::Timestamp;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;

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
    /// It will not take it; its words, as an error shows them.
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
        let mut before = None;
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
            let digest = Sha256::digest(&bytes);
            if before.as_ref() == Some(&digest) {
                return Ok(());
            }
            take(&bytes, events)?;
            before = Some(digest);
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
        match self.post(&url, &body) {
            Ok(response) => {
                let answer = response.expect_json()?.bytes(LARGEST_ANSWER)?;
                judge_answer(&url, &answer)
            }
            Err(error) => judge(error),
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
/// Only MISP's own words refuse: a proxy in front of it says 404 as well, while MISP is down.
fn judge(error: HttpError) -> Result<Told, HttpError> {
    let HttpCause::Status { code, said, .. } = &error.cause else {
        return Err(error);
    };
    let is_final = match code {
        400 | 404 | 405 | 422 => true,
        // "Could not add Sighting": nobody may see the attribute any more
        403 => said.to_ascii_lowercase().contains("add sighting"),
        _ => false,
    };
    let answer: Option<Answer> = serde_json::from_str(said).ok().filter(|_| is_final);
    match answer.as_ref().and_then(words_of) {
        Some(words) => Ok(Told::Refused(format!("status {code}: {words}"))),
        None => Err(error),
    }
}

/// What an answer of status 2xx says of a sighting.
///
/// MISP's `SightingsController::add` gives the sighting, or in older versions a message or whether
/// it was saved; what it refuses may have status 200 and a message alone.
fn judge_answer(url: &Url, answer: &[u8]) -> Result<Told, HttpError> {
    let answer: Answer = serde_json::from_slice(answer).map_err(|e| not_misp(url, &e))?;
    let has = |name: &str| answer.get(name).is_some_and(|value| !value.is_null());
    let denies = |name: &str| answer.get(name).and_then(Value::as_bool) == Some(false);
    let message = answer.get("message").and_then(Value::as_str);
    let could_not = message.is_some_and(|m| m.to_ascii_lowercase().contains("could not add"));
    if has("errors") || denies("saved") || denies("success") || (could_not && !has("Sighting")) {
        let words = words_of(&answer);
        return Ok(Told::Refused(
            words.unwrap_or_else(|| "it does not say why".into()),
        ));
    }
    match ["Sighting", "message", "saved", "success"]
        .into_iter()
        .any(has)
    {
        true => Ok(Told::Accepted),
        false => Err(not_misp(url, &"it says nothing of the sighting")),
    }
}

/// An answer that is no page of events: an object, and nothing else.
type Answer = Map<String, Value>;

/// MISP's words in an answer, as an error shows them; `None`: there are none.
fn words_of(answer: &Answer) -> Option<String> {
    ["message", "errors", "name"]
        .into_iter()
        .filter_map(|name| answer.get(name))
        .filter(|value| !value.is_null())
        .map(text_of)
        .find(|words| !words.is_empty())
        .map(|words| show(&words))
}

/// What is wrong with an answer may quote it, at any length.
fn not_misp(url: &Url, what: &dyn fmt::Display) -> HttpError {
    let what = format!("no answer of a MISP: {}", show(&what.to_string()));
    HttpError::unexpected(url, what)
}

/// Events of an answer to a search, without reading them.
fn count_events(url: &Url, bytes: &[u8]) -> Result<u64, HttpError> {
    #[derive(Deserialize)]
    struct Page {
        response: Option<EventCount>,
        errors: Option<IgnoredAny>,
    }
    let page: Page = serde_json::from_slice(bytes).map_err(|e| not_misp(url, &e))?;
    match (page.response, page.errors) {
        (_, Some(_)) => {
            // as values, a page takes many times its size
            let answer: Option<Answer> = Some(bytes)
                .filter(|bytes| bytes.len() as u64 <= LARGEST_ANSWER)
                .and_then(|bytes| serde_json::from_slice(bytes).ok());
            let words = answer.as_ref().and_then(words_of);
            let words = words.unwrap_or_else(|| "it answers with errors".into());
            Err(HttpError::unexpected(url, words))
        }
        (Some(EventCount(events)), None) => Ok(events),
        (None, None) => Err(not_misp(url, &"no `response`")),
    }
}

/// How many events `response` has: a list of them, or one. An untagged enum would keep all of it
/// as serde's `Content`, many times its size.
struct EventCount(u64);

impl<'de> Deserialize<'de> for EventCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;

        impl<'de> Visitor<'de> for Counter {
            type Value = EventCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events, or an event")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<EventCount, A::Error> {
                let mut events = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    events += 1;
                }
                Ok(EventCount(events))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut event: A) -> Result<EventCount, A::Error> {
                while event.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(EventCount(1))
            }
        }

        deserializer.deserialize_any(Counter)
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
        let manifest: BTreeMap<String, ManifestEntry> =
            serde_json::from_slice(&bytes).map_err(|e| {
                let what = format!("no manifest of a feed: {}", show(&e.to_string()));
                HttpError::unexpected(&url, what)
            })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        Url::parse("https://misp.example/sightings/add").unwrap()
    }

    fn refusal(code: u16, said: &str) -> Result<Told, HttpError> {
        let cause = HttpCause::Status {
            code,
            retry_after: None,
            said: said.to_owned(),
        };
        judge(HttpError::new(&url(), cause))
    }

    #[test]
    fn only_words_of_a_misp_refuse_for_good() {
        let refused = |code, said, words: &str| {
            assert_eq!(refusal(code, said).unwrap(), Told::Refused(words.into()));
        };
        let name = r#"{"saved":false,"name":"Could not add Sighting","errors":"unknown"}"#;
        refused(403, name, "status 403: unknown");
        refused(
            404,
            r#"{"message":"Invalid\n"}"#,
            r"status 404: Invalid\u{a}",
        );
        refused(405, r#"{"name":"No"}"#, "status 405: No");
        for (code, said) in [
            (404, ""),
            (404, "<html>404 Not Found</html>"),
            (405, r#""no""#),
            (400, r#"{"status":"down"}"#),
            (422, r#"{"message":null}"#),
            (403, r#"{"name":"Authentication failed.","message":"no"}"#),
            (500, r#"{"message":"no"}"#),
        ] {
            let error = refusal(code, said).unwrap_err();
            assert_eq!(error.status(), Some(code), "{said}");
        }
    }

    #[test]
    fn only_what_a_misp_answers_is_accepted() {
        let judged = |answer: &str| judge_answer(&url(), answer.as_bytes());
        for answer in [
            r#"{"Sighting":{"id":"1"}}"#,
            r#"{"message":"1 sighting successfully added."}"#,
            r#"{"saved":true,"success":true,"name":"1 sighting added.","errors":null}"#,
            r#"{"saved":true,"success":"1 sighting  added."}"#,
        ] {
            assert_eq!(judged(answer).unwrap(), Told::Accepted, "{answer}");
        }
        for (answer, words) in [
            (
                r#"{"message":"Could not add the Sighting. Reason: none"}"#,
                "Could not add the Sighting. Reason: none",
            ),
            (r#"{"saved":true,"errors":["none"]}"#, r#"["none"]"#),
            (r#"{"saved":false}"#, "it does not say why"),
        ] {
            assert_eq!(judged(answer).unwrap(), Told::Refused(words.into()));
        }
        for answer in [
            "{}",
            r#"{"status":"ok"}"#,
            "[]",
            "1",
            r#"{"Sighting":null}"#,
        ] {
            let error = judged(answer).unwrap_err().to_string();
            assert!(error.contains("no answer of a MISP"), "{answer}: {error}");
        }
    }

    #[test]
    fn hostile_words_are_shown_short() {
        let long = "x\\u001b".repeat(100_000);
        let answer = format!(r#"{{"errors":"{long}"}}"#);
        let Told::Refused(words) = judge_answer(&url(), answer.as_bytes()).unwrap() else {
            panic!("it is accepted");
        };
        assert!(words.len() < 2_000 && !words.contains('\u{1b}'), "{words}");
        let page = format!(r#"{{"response":"{long}"}}"#);
        let error = count_events(&url(), page.as_bytes()).unwrap_err();
        assert!(error.to_string().len() < 2_000);
    }

    #[test]
    fn events_are_counted() {
        let count = |page: &str| count_events(&url(), page.as_bytes());
        for (page, events) in [
            (r#"{"response":[]}"#, 0),
            (r#"{"response":[{"Event":{}},{"Event":{"a":[1]}}]}"#, 2),
            (r#"{"response":{"Attribute":[]}}"#, 1),
        ] {
            assert_eq!(count(page).unwrap(), events, "{page}");
        }
        for (page, what) in [
            (r#"{"response":[],"errors":["no"]}"#, r#"["no"]"#),
            (r#"{"message":"no","errors":{}}"#, "no"),
            (r#"{"response":null}"#, "no `response`"),
            (r#"{"response":1}"#, "a list of events, or an event"),
            (r#"{"response":[1}"#, "no answer of a MISP"),
        ] {
            let error = count(page).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
