//! Hands objects over to a collection, and finds out what became of each.

use super::super::http::HttpCause;
use super::super::http::HttpError;
use super::super::http::Url;
use super::super::tally::show;
use super::ACCEPT;
use super::LARGEST_LISTING;
use super::POST_HEADERS;
use super::Pause;
use super::TaxiiClient;
use super::discovery::Collection;
use super::discovery::read_object;
use super::error::TaxiiCause;
use super::error::TaxiiError;
use super::expect_taxii;
use super::status::Said;
use super::status::Status;
use crate::time::Timestamp;
use serde_json::Value;
use std::collections::HashMap;

/// What stands around the objects of an envelope.
const OPENING: &[u8] = b"{\"objects\":[";
const CLOSING: &[u8] = b"]}";

/// Objects of a type that were refused one by one, and none accepted, before no more are sent.
const MOST_REFUSED_OF_TYPE: u32 = 3;

/// The reason of a server that gives none.
const SAYS_NOTHING: &str = "the server does not say why";

/// Bytes of all versions of one object.
const LARGEST_VERSIONS: u64 = 64 << 20;

/// Bounds of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushLimits {
    /// Objects of an envelope. At least 1.
    pub envelope_objects: usize,
    /// Bytes of an envelope; less where the server takes less.
    pub envelope_bytes: u64,
    /// How often a status is asked for until it is complete.
    pub polls: u32,
}

impl PushLimits {
    /// A server that stores them one by one still answers in time.
    pub const ENVELOPE_OBJECTS: usize = 100;
    /// No more than this is lost where a connection breaks.
    pub const ENVELOPE_BYTES: u64 = 1 << 20;
    /// With pauses that double, some minutes.
    pub const POLLS: u32 = 8;
}

impl Default for PushLimits {
    fn default() -> Self {
        Self {
            envelope_objects: Self::ENVELOPE_OBJECTS,
            envelope_bytes: Self::ENVELOPE_BYTES,
            polls: Self::POLLS,
        }
    }
}

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The collection has it.
    Accepted,
    /// The server does not take it, and will not; why, for people. Where the collection cannot be
    /// read, it may also be there already: some servers call that a failure.
    Refused {
        /// As the server says it, shortened and escaped, or what is wrong with the object.
        reason: String,
    },
    /// Nobody knows: hand it over again later. The collection may have it already, which does
    /// no harm: it knows objects by id and version.
    Unknown,
}

/// What became of a push.
#[derive(Debug)]
pub struct Pushed {
    /// Id and outcome of each object, in the order in which they were given; the id is empty
    /// where an object has none.
    pub outcomes: Vec<(String, Outcome)>,
    /// Why some outcomes are unknown; `None`: none is, or the server does not say.
    pub failure: Option<TaxiiError>,
}

impl TaxiiClient {
    /// Hands `objects` over to `collection`, in their order, in as many envelopes as it takes.
    ///
    /// An object that the server does not take costs itself alone: what is
    /// refused together is tried in halves, and in the end one by one. What
    /// the server calls a failure is looked up before it counts as one, since
    /// an object that is there already is one to some servers.
    ///
    /// Fails where the collection is not one to write to; all else is in the
    /// outcomes.
    pub fn push(
        &self,
        collection: &Collection,
        objects: &[&Value],
        limits: &PushLimits,
        pause: Pause<'_>,
    ) -> Result<Pushed, TaxiiError> {
        if !collection.can_write {
            return Err(TaxiiError::new(&collection.url(), TaxiiCause::NotWritable));
        }
        let mut delivery = Delivery::new(self, collection, objects, limits, pause);
        for envelope in delivery.envelopes() {
            if let Err(error) = delivery.deliver(&envelope) {
                delivery.failure = Some(error);
                break;
            }
        }
        Ok(delivery.finish())
    }
}

/// An object to be handed over.
struct Item {
    id: String,
    kind: String,
    /// When it was modified; `None`: objects of its type have no versions.
    version: Option<Timestamp>,
    /// Its JSON.
    text: Vec<u8>,
    /// `None`: not settled yet.
    outcome: Option<Outcome>,
}

/// A push under way.
struct Delivery<'a> {
    client: &'a TaxiiClient,
    collection: &'a Collection,
    url: Url,
    limits: PushLimits,
    /// Bytes of an envelope.
    room: usize,
    pause: Pause<'a>,
    items: Vec<Item>,
    /// Objects of each type that the server broke down over, while it took none of the type.
    broken_over: HashMap<String, u32>,
    /// Objects that the server broke down over, and how: refused, if it takes others.
    suspects: Vec<(usize, HttpError)>,
    failure: Option<TaxiiError>,
}

/// What the server made of one envelope.
enum Verdict {
    /// It gave a status.
    Status(Status),
    /// It refuses all of it, or breaks down over it.
    Refused(HttpError),
}

impl<'a> Delivery<'a> {
    fn new(
        client: &'a TaxiiClient,
        collection: &'a Collection,
        objects: &[&Value],
        limits: &PushLimits,
        pause: Pause<'a>,
    ) -> Self {
        let most = collection.root.max_content_length;
        let room = usize::try_from(most.min(limits.envelope_bytes)).unwrap_or(usize::MAX);
        let items = objects.iter().map(|object| Item::new(object, most));
        Self {
            client,
            collection,
            url: collection.url().with_folders(&["objects"]),
            limits: *limits,
            room,
            items: items.collect(),
            pause,
            broken_over: HashMap::new(),
            suspects: Vec::new(),
            failure: None,
        }
    }

    /// The objects to be sent, in groups that an envelope holds: their places in the list.
    fn envelopes(&self) -> Vec<Vec<usize>> {
        let mut envelopes = Vec::new();
        let mut current: Vec<usize> = Vec::new();
        let empty = OPENING.len() + CLOSING.len();
        let mut length = empty;
        for (at, item) in self.items.iter().enumerate() {
            if item.outcome.is_some() {
                continue;
            }
            let added = item.text.len() + usize::from(!current.is_empty());
            let full = current.len() >= self.limits.envelope_objects.max(1);
            if !current.is_empty() && (full || length + added > self.room) {
                envelopes.push(std::mem::take(&mut current));
                length = empty;
            }
            length += item.text.len() + usize::from(!current.is_empty());
            current.push(at);
        }
        if !current.is_empty() {
            envelopes.push(current);
        }
        envelopes
    }

    /// Hands one envelope over, in parts if need be; an error ends the push.
    fn deliver(&mut self, envelope: &[usize]) -> Result<(), TaxiiError> {
        // what is still to be sent, the next last
        let mut stack = vec![envelope.to_vec()];
        while let Some(mut group) = stack.pop() {
            group.retain(|at| !self.is_hopeless(*at));
            if group.is_empty() {
                continue;
            }
            match self.send(&group)? {
                Verdict::Status(status) => self.settle(&group, status)?,
                Verdict::Refused(error) => {
                    if let [only] = group.as_slice() {
                        self.insist(*only, error)?;
                        continue;
                    }
                    let (first, second) = self.split(&group);
                    stack.push(second);
                    stack.push(first);
                }
            }
        }
        Ok(())
    }

    /// Two parts of a group that was refused, both not empty.
    ///
    /// What servers stumble over most are objects without versions, so the
    /// first cut is between them and the others.
    fn split(&self, group: &[usize]) -> (Vec<usize>, Vec<usize>) {
        let has_version = |at: &usize| self.items.get(*at).is_some_and(|i| i.version.is_some());
        let (with, without): (Vec<usize>, Vec<usize>) =
            group.iter().partition(|at| has_version(at));
        if !with.is_empty() && !without.is_empty() {
            return (with, without);
        }
        let (first, second) = group.split_at(group.len() / 2);
        (first.to_vec(), second.to_vec())
    }

    /// Sends a group until the server says something about it; an error ends the push.
    fn send(&mut self, group: &[usize]) -> Result<Verdict, TaxiiError> {
        let body = self.envelope(group);
        let sent = self.client.persist(self.pause, || {
            match self.client.http.post(&self.url, &POST_HEADERS, &body) {
                Ok(response) => {
                    let url = response.url().clone();
                    // what comes back may be anything: the objects are with the server all the same
                    let answer = response.bytes(LARGEST_LISTING).unwrap_or_default();
                    let resource = read_object(&url, &answer).unwrap_or_default();
                    Ok(Verdict::Status(Status::read(&resource)))
                }
                Err(error) => match error.status() {
                    // with an object of its own fault as with a failing disk
                    Some(400 | 409 | 413 | 422 | 500 | 501) => Ok(Verdict::Refused(error)),
                    _ => Err(error),
                },
            }
        });
        match sent {
            Ok(verdict) => Ok(verdict),
            Err(error) => {
                let arrived = error.http().is_some_and(|http| {
                    !http.was_not_sent() && http.status().is_none() && http.is_transient()
                });
                if arrived {
                    // the answers were lost, not the objects, perhaps
                    self.look_up(group, None)?;
                }
                Err(error)
            }
        }
    }

    fn envelope(&self, group: &[usize]) -> Vec<u8> {
        let mut body = OPENING.to_vec();
        for (number, item) in group
            .iter()
            .filter_map(|at| self.items.get(*at))
            .enumerate()
        {
            if number > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&item.text);
        }
        body.extend_from_slice(CLOSING);
        body
    }

    /// Waits until a status is complete, and settles the outcomes by it.
    fn settle(&mut self, group: &[usize], status: Status) -> Result<(), TaxiiError> {
        let status = self.poll(status)?;
        let mut doubtful = Vec::new();
        for at in group {
            let Some(item) = self.items.get_mut(*at) else {
                continue;
            };
            match status.of(&item.id, item.version, group.len() as u64) {
                Said::Stored => {
                    item.outcome = Some(Outcome::Accepted);
                    self.broken_over.remove(&item.kind);
                }
                Said::Failed(reason) => doubtful.push((*at, Some(reason))),
                Said::Nothing => doubtful.push((*at, None)),
            }
        }
        for (at, reason) in doubtful {
            self.look_up(&[at], reason)?;
        }
        Ok(())
    }

    /// Asks for a status until it is complete, or for as long as is decent.
    fn poll(&mut self, mut status: Status) -> Result<Status, TaxiiError> {
        for attempt in 1..=self.limits.polls {
            let Some(id) = status.id.as_deref().filter(|_| !status.complete) else {
                break;
            };
            let url = self.collection.root.url.with_folders(&["status", id]);
            let wait = super::backoff(attempt, self.client.seed);
            if !(self.pause)(wait) {
                return Err(TaxiiError::new(&url, TaxiiCause::Stopped));
            }
            match self.client.fetch_object(&url, self.pause) {
                Ok(resource) => {
                    let id = status.id.take();
                    status = Status::read(&resource);
                    status.id = status.id.or(id);
                }
                // statuses do not live for ever; the objects can be asked for themselves
                Err(error) if error.http().is_some_and(|e| e.status().is_some()) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(status)
    }

    /// Settles outcomes by what is in the collection; `reason`: the server calls them failed.
    ///
    /// What cannot be looked up stays unsettled, unless it is called failed.
    fn look_up(&mut self, group: &[usize], reason: Option<String>) -> Result<(), TaxiiError> {
        for at in group {
            let Some(item) = self.items.get(*at) else {
                continue;
            };
            let found = self.find(&item.id.clone(), item.version)?;
            let outcome = match (found, &reason) {
                (Some(true), _) => Some(Outcome::Accepted),
                (Some(false), Some(reason)) => Some(refused(reason)),
                // to hand it over again and again would not make it clearer
                (None, Some(reason)) if !self.collection.can_read => {
                    let reason = if reason.is_empty() {
                        SAYS_NOTHING
                    } else {
                        reason
                    };
                    Some(refused(&format!("{reason} (or it is there already)")))
                }
                (Some(false) | None, _) => None,
            };
            if let Some(item) = self.items.get_mut(*at) {
                item.outcome = outcome;
            }
        }
        Ok(())
    }

    /// Whether the collection has an object in this version; `None`: it cannot be asked.
    fn find(&mut self, id: &str, version: Option<Timestamp>) -> Result<Option<bool>, TaxiiError> {
        if !self.collection.can_read {
            return Ok(None);
        }
        let mut url = self.url.with_folders(&[id]);
        if version.is_some() {
            url = url.with_query("match[version]", "all");
        }
        let answer = self.client.persist(self.pause, || {
            let response = self.client.http.get(&url, &[ACCEPT])?;
            expect_taxii(response)?.bytes(LARGEST_VERSIONS)
        });
        let body = match answer {
            Ok(body) => body,
            Err(error) => {
                return match error.http().and_then(HttpError::status) {
                    Some(404) => Ok(Some(false)),
                    Some(_) => Ok(None),
                    None => Err(error),
                };
            }
        };
        let Ok(resource) = read_object(&url, &body) else {
            return Ok(None);
        };
        let listed = resource.get("objects").and_then(Value::as_array);
        let mut listed = listed.into_iter().flatten();
        Ok(Some(listed.any(|object| {
            object.get("id").and_then(Value::as_str) == Some(id)
                && (version.is_none() || version_of(object) == version)
        })))
    }

    /// Deals with an object that the server refuses on its own: a breakdown may have been chance.
    fn insist(&mut self, at: usize, error: HttpError) -> Result<(), TaxiiError> {
        if !is_breakdown(&error) {
            return self.refuse(at, error);
        }
        self.client.wait(1, &error, self.pause)?;
        match self.send(&[at])? {
            Verdict::Status(status) => self.settle(&[at], status),
            Verdict::Refused(error) => self.refuse(at, error),
        }
    }

    /// Settles an object that the server refuses on its own.
    fn refuse(&mut self, at: usize, error: HttpError) -> Result<(), TaxiiError> {
        let breakdown = is_breakdown(&error);
        let reason = reason_of(&error);
        self.look_up(&[at], (!breakdown).then_some(reason))?;
        let Some(item) = self.items.get(at) else {
            return Ok(());
        };
        if breakdown && item.outcome.is_none() {
            *self.broken_over.entry(item.kind.clone()).or_default() += 1;
            self.suspects.push((at, error));
        }
        Ok(())
    }

    /// Whether the server has broken down over so many of a type that no more are sent.
    fn is_hopeless(&self, at: usize) -> bool {
        self.items
            .get(at)
            .is_some_and(|item| self.broken_over.get(&item.kind) >= Some(&MOST_REFUSED_OF_TYPE))
    }

    fn finish(mut self) -> Pushed {
        let accepts = |item: &Item| item.outcome == Some(Outcome::Accepted);
        let works = self.items.iter().any(accepts);
        // a server that takes others means these; one that takes none may be broken itself
        if works && self.failure.is_none() {
            for at in 0..self.items.len() {
                let hopeless = self.is_hopeless(at);
                let suspect = self.suspects.iter().find(|(suspect, _)| *suspect == at);
                let reason = match suspect {
                    Some((_, error)) => reason_of(error),
                    None if hopeless => "the server breaks down over objects of this type".into(),
                    None => continue,
                };
                if let Some(item) = self.items.get_mut(at) {
                    item.outcome.get_or_insert_with(|| refused(&reason));
                }
            }
        } else if let Some((_, error)) = self.suspects.pop() {
            self.failure.get_or_insert_with(|| error.into());
        }
        let outcomes = self.items.into_iter();
        Pushed {
            outcomes: outcomes
                .map(|item| (item.id, item.outcome.unwrap_or(Outcome::Unknown)))
                .collect(),
            failure: self.failure,
        }
    }
}

impl Item {
    /// An object, refused at once where no server can take it.
    fn new(object: &Value, most: u64) -> Self {
        let text = |name| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut item = Self {
            id: text("id").to_owned(),
            kind: text("type").to_owned(),
            version: version_of(object),
            text: serde_json::to_vec(object).unwrap_or_default(),
            outcome: None,
        };
        let length = item.text.len() + OPENING.len() + CLOSING.len();
        let wrong = if item.id.is_empty() || item.kind.is_empty() {
            Some("it has no id or no type".to_owned())
        } else if length as u64 > most {
            Some(format!(
                "it has {length} bytes, and the server takes {most}"
            ))
        } else {
            None
        };
        item.outcome = wrong.map(|reason| Outcome::Refused { reason });
        item
    }
}

/// Whether the server failed, and did not refuse.
const fn is_breakdown(error: &HttpError) -> bool {
    matches!(error.status(), Some(500 | 501))
}

/// When an object was modified; `None`: it has no such time.
fn version_of(object: &Value) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(object.get("modified")?.as_str()?)
}

fn refused(reason: &str) -> Outcome {
    let reason = match reason.trim() {
        "" => SAYS_NOTHING.to_owned(),
        reason => show(reason),
    };
    Outcome::Refused { reason }
}

/// What a server says of a request that it refuses; error bodies have no one form.
fn reason_of(error: &HttpError) -> String {
    let HttpCause::Status { code, said, .. } = &error.cause else {
        return error.to_string();
    };
    let told = match serde_json::from_str(said) {
        Ok(Value::Object(resource)) => ["description", "title", "message", "name"]
            .into_iter()
            .filter_map(|name| resource.get(name))
            .map(|told| match told {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
            .find(|told| !told.is_empty()),
        _ => None,
    };
    match told {
        Some(told) => format!("status {code}: {}", show(&told)),
        None => format!("status {code}"),
    }
}
