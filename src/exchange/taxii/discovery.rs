//! From the address of a server to its collections.

use super::super::http::Url;
use super::super::tally::quote;
use super::super::tally::show;
use super::LARGEST_LISTING;
use super::Pause;
use super::TaxiiClient;
use super::error::TaxiiCause;
use super::error::TaxiiError;
use serde_json::Map;
use serde_json::Value;

/// API roots that are asked; no server has as many.
const MOST_ROOTS: usize = 64;

/// Collections of an API root that are listed.
const MOST_COLLECTIONS: usize = 10_000;

/// Bytes of an id, alias or title that is kept.
const LONGEST_NAME: usize = 1 << 10;

/// Bytes of a message to a server that does not state a limit: far below that of any.
const DEFAULT_CONTENT_LENGTH: u64 = 1 << 20;

/// Collections that an error names.
const MOST_SHOWN: usize = 10;

/// An API root (TAXII 2.1, section 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRoot {
    /// Its address, with a slash at the end.
    pub url: Url,
    /// For people; empty where it has none.
    pub title: String,
    /// Bytes of the longest request that it takes.
    pub max_content_length: u64,
}

/// A collection (TAXII 2.1, section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Where it is.
    pub root: ApiRoot,
    /// A UUID, as the server writes it.
    pub id: String,
    /// Another id, for people; `None`: it has none.
    pub alias: Option<String>,
    /// For people; empty where it has none.
    pub title: String,
    /// Whether these credentials may read it.
    pub can_read: bool,
    /// Whether these credentials may write it.
    pub can_write: bool,
}

/// What a server has, as far as it can be asked.
#[derive(Debug, Default)]
pub struct Directory {
    /// In the order of the server.
    pub collections: Vec<Collection>,
    /// API roots that could not be asked, while others could: why.
    pub failed: Vec<TaxiiError>,
}

impl Collection {
    /// Its address, with a slash at the end.
    pub fn url(&self) -> Url {
        self.root.url.with_folders(&["collections", &self.id])
    }
}

impl TaxiiClient {
    /// The collections of all API roots of the server.
    ///
    /// The client's URL may be that of the discovery resource or of an API
    /// root. Fails where nothing can be asked; where only some API roots
    /// cannot, [`Directory::failed`] says why.
    pub fn directory(&self, pause: Pause<'_>) -> Result<Directory, TaxiiError> {
        // without the slash servers redirect, or know of nothing
        let url = self.url().with_folders(&[]);
        let resource = self.fetch_object(&url, pause)?;
        if let Some(root) = read_root(&url, &resource) {
            let collections = self.collections(&root, pause)?;
            let failed = Vec::new();
            return Ok(Directory {
                collections,
                failed,
            });
        }
        let roots = read_roots(&url, &resource);
        let mut directory = Directory::default();
        let mut reached = false;
        for root in roots {
            let found = match self.root(&root, pause) {
                Ok(Some(root)) => self.collections(&root, pause),
                Ok(None) => Err(TaxiiError::not_taxii(&root, "no API root of version 2.1")),
                Err(error) => Err(error),
            };
            match found {
                Ok(mut found) => {
                    reached = true;
                    directory.collections.append(&mut found);
                }
                Err(error) if matches!(error.cause, TaxiiCause::Stopped) => return Err(error),
                Err(error) => directory.failed.push(error),
            }
        }
        match (reached, directory.failed.is_empty()) {
            (true, _) => Ok(directory),
            (false, false) => Err(directory.failed.swap_remove(0)),
            (false, true) => Err(TaxiiError::new(&url, TaxiiCause::NoApiRoot)),
        }
    }

    /// `None`: it is there, but speaks another version.
    fn root(&self, url: &Url, pause: Pause<'_>) -> Result<Option<ApiRoot>, TaxiiError> {
        let resource = self.fetch_object(url, pause)?;
        Ok(read_root(url, &resource))
    }

    fn collections(&self, root: &ApiRoot, pause: Pause<'_>) -> Result<Vec<Collection>, TaxiiError> {
        let url = root.url.with_folders(&["collections"]);
        let resource = self.fetch_object(&url, pause)?;
        // the member is absent where there are none
        let Some(Value::Array(listed)) = resource.get("collections") else {
            return Ok(Vec::new());
        };
        Ok(listed
            .iter()
            .take(MOST_COLLECTIONS)
            .filter_map(|listed| read_collection(root, listed.as_object()?))
            .collect())
    }

    /// Fetches a resource that is a JSON object.
    pub(super) fn fetch_object(
        &self,
        url: &Url,
        pause: Pause<'_>,
    ) -> Result<Map<String, Value>, TaxiiError> {
        let body = self.fetch(url, LARGEST_LISTING, pause)?;
        read_object(url, &body)
    }
}

/// Finds the collection that a user means: by id, else by alias, else by title.
pub fn find<'a>(
    server: &Url,
    collections: &'a [Collection],
    wanted: &str,
) -> Result<&'a Collection, TaxiiError> {
    let all = || collections.iter();
    let by_id: Vec<_> = all()
        .filter(|c| c.id.eq_ignore_ascii_case(wanted))
        .collect();
    let by_alias: Vec<_> = all()
        .filter(|c| c.alias.as_deref() == Some(wanted))
        .collect();
    let by_title: Vec<_> = all().filter(|c| c.title == wanted).collect();
    let found = [by_id, by_alias, by_title]
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default();
    match found.as_slice() {
        // one collection under several API roots is still one
        [first, rest @ ..] if rest.iter().all(|other| other.id == first.id) => Ok(first),
        [] => Err(TaxiiError::new(
            server,
            TaxiiCause::NoCollection {
                wanted: quote(wanted),
                have: list(all().map(|c| format!("'{}' ({})", show(&c.title), show(&c.id)))),
            },
        )),
        several => Err(TaxiiError::new(
            server,
            TaxiiCause::Ambiguous {
                wanted: quote(wanted),
                ids: list(several.iter().map(|c| show(&c.id))),
            },
        )),
    }
}

/// Reads a body that must be a JSON object.
pub(super) fn read_object(url: &Url, body: &[u8]) -> Result<Map<String, Value>, TaxiiError> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(resource)) => Ok(resource),
        Ok(_) => Err(TaxiiError::not_taxii(url, "it is JSON, but no object")),
        Err(error) => Err(TaxiiError::not_taxii(url, format!("no JSON: {error}"))),
    }
}

/// The text of a member; `None`: it is absent, empty, something else, or beyond all use.
pub(super) fn text<'a>(resource: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = resource.get(name)?.as_str()?;
    (!text.is_empty() && text.len() <= LONGEST_NAME).then_some(text)
}

/// The API roots that a discovery resource names, the default one first.
fn read_roots(url: &Url, resource: &Map<String, Value>) -> Vec<Url> {
    let listed = resource.get("api_roots").and_then(Value::as_array);
    let named = text(resource, "default")
        .into_iter()
        .chain(listed.into_iter().flatten().filter_map(Value::as_str));
    let mut roots: Vec<Url> = Vec::new();
    for name in named.take(MOST_ROOTS) {
        // some servers name them by their paths alone
        let Ok(root) = url.join(name) else { continue };
        let root = root.with_folders(&[]);
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    roots
}

/// Reads an API root resource; `None`: it is another one, or of another version.
fn read_root(url: &Url, resource: &Map<String, Value>) -> Option<ApiRoot> {
    let versions = resource.get("versions")?.as_array()?;
    versions
        .iter()
        .filter_map(Value::as_str)
        // `taxii-2.1` is how drafts of the standard wrote it
        .find(|version| version.contains("2.1"))?;
    let length = resource.get("max_content_length").and_then(Value::as_u64);
    Some(ApiRoot {
        url: url.clone(),
        title: text(resource, "title").unwrap_or_default().to_owned(),
        max_content_length: length.filter(|l| *l > 0).unwrap_or(DEFAULT_CONTENT_LENGTH),
    })
}

/// `None`: it has no id, so that it cannot be asked.
fn read_collection(root: &ApiRoot, listed: &Map<String, Value>) -> Option<Collection> {
    let may = |name| listed.get(name).and_then(Value::as_bool) == Some(true);
    Some(Collection {
        root: root.clone(),
        id: text(listed, "id")?.to_owned(),
        alias: text(listed, "alias").map(str::to_owned),
        title: text(listed, "title").unwrap_or_default().to_owned(),
        can_read: may("can_read"),
        can_write: may("can_write"),
    })
}

fn list(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.take(MOST_SHOWN + 1).collect();
    if names.is_empty() {
        return "none at all; is there a permission missing?".to_owned();
    }
    if names.len() > MOST_SHOWN {
        names.truncate(MOST_SHOWN);
        names.push("more".to_owned());
    }
    names.join(", ")
}
