//! What a server says became of objects that were handed over.

use super::super::tally::show;
use super::discovery::text;
use crate::time::Timestamp;
use serde_json::Map;
use serde_json::Value;

/// Objects of a status resource that are read in each of its lists.
const MOST_LISTED: usize = 100_000;

/// A status resource (TAXII 2.1, section 4.3.1), as far as servers fill it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// By which it is asked for; `None`: it cannot be.
    pub(super) id: Option<String>,
    /// Whether all objects were dealt with.
    pub(super) complete: bool,
    /// How many objects it is about; `None`: it does not say.
    pub(super) total: Option<u64>,
    /// How many of them were stored; `None`: likewise.
    pub(super) succeeded: Option<u64>,
    /// How many were not; `None`: likewise.
    pub(super) failed: Option<u64>,
    successes: Vec<Detail>,
    failures: Vec<Detail>,
    pendings: Vec<Detail>,
}

/// What a server says of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Detail {
    id: String,
    /// `None`: it does not say, or writes no time.
    version: Option<Timestamp>,
    /// Why; empty where it does not say.
    message: String,
}

/// What a status says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was stored.
    Stored,
    /// It was not, or was there already; why.
    Failed(String),
    /// Nothing yet, or nothing at all.
    Nothing,
}

impl Status {
    /// Reads a status resource.
    pub(super) fn read(resource: &Map<String, Value>) -> Self {
        let number = |name| resource.get(name).and_then(Value::as_u64);
        let details = |name| {
            let listed = resource.get(name).and_then(Value::as_array);
            let listed = listed.into_iter().flatten().take(MOST_LISTED);
            listed.filter_map(read_detail).collect()
        };
        Self {
            id: text(resource, "id").map(str::to_owned),
            complete: text(resource, "status") == Some("complete"),
            total: number("total_count"),
            succeeded: number("success_count"),
            failed: number("failure_count"),
            successes: details("successes"),
            failures: details("failures"),
            pendings: details("pendings"),
        }
    }

    /// What it says of the object with this id and version, one of `sent` that were handed over.
    ///
    /// The lists are optional; where they lack an object, the counts decide,
    /// if they leave no doubt. `version` is `None` for an object that has none.
    pub(super) fn of(&self, id: &str, version: Option<Timestamp>, sent: u64) -> Said {
        let named = |list: &[Detail]| {
            let same = |detail: &&Detail| {
                // servers make up versions for objects that have none
                let version = version.filter(|_| detail.version.is_some());
                detail.id == id && (version.is_none() || version == detail.version)
            };
            list.iter().find(same).cloned()
        };
        if named(&self.successes).is_some() {
            return Said::Stored;
        }
        if let Some(detail) = named(&self.failures) {
            return Said::Failed(show(&detail.message));
        }
        if !self.complete || named(&self.pendings).is_some() {
            return Said::Nothing;
        }
        let listed = (self.successes.len() + self.failures.len()) as u64;
        let of_all = self.total.is_none_or(|total| total == sent);
        match (self.succeeded, self.failed) {
            _ if !of_all => Said::Nothing,
            (Some(succeeded), _) if succeeded == sent => Said::Stored,
            (_, Some(failed)) if failed == sent => Said::Failed(String::new()),
            // failures are all listed: what is not among them was stored
            (Some(succeeded), Some(failed))
                if failed == self.failures.len() as u64
                    && succeeded.checked_add(failed) == Some(sent) =>
            {
                Said::Stored
            }
            // no counts and no lists, but complete: there is nothing to complain of
            (None, None) if listed == 0 => Said::Stored,
            _ => Said::Nothing,
        }
    }
}

/// `None`: it names no object.
fn read_detail(listed: &Value) -> Option<Detail> {
    match listed {
        Value::Object(detail) => Some(Detail {
            id: text(detail, "id")?.to_owned(),
            version: text(detail, "version").and_then(Timestamp::parse_rfc3339),
            message: text(detail, "message").unwrap_or_default().to_owned(),
        }),
        // TAXII 2.0 lists ids alone
        Value::String(id) => Some(Detail {
            id: id.clone(),
            ..Detail::default()
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Status {
        Status::read(value.as_object().unwrap())
    }

    #[test]
    fn an_object_is_found_by_id_and_version_or_by_the_counts() {
        let version = Timestamp::parse_rfc3339("2026-11-25T12:00:00.5Z");
        let failed = |message: &str| Said::Failed(message.to_owned());
        for (status, said) in [
            (
                json!({"status": "complete", "successes": [
                    {"id": "a--1", "version": "2026-11-25T12:00:00.500Z"}]}),
                Said::Stored,
            ),
            (
                json!({"status": "complete", "failures": [
                    {"id": "a--1", "version": "2026-11-25T13:00:00.5+01:00", "message": "no\n"}]}),
                failed("no\\u{a}"),
            ),
            // another version of it
            (
                json!({"status": "complete", "total_count": 2, "success_count": 1,
                    "failure_count": 1, "failures": [
                    {"id": "a--1", "version": "2020-01-01T00:00:00Z"}]}),
                Said::Stored,
            ),
            // by the counts alone
            (
                json!({"status": "complete", "total_count": 2, "success_count": 2}),
                Said::Stored,
            ),
            (
                json!({"status": "complete", "total_count": 2, "failure_count": 2}),
                failed(""),
            ),
            (
                json!({"status": "complete", "success_count": 1, "failure_count": 1}),
                Said::Nothing,
            ),
            (
                json!({"status": "complete", "total_count": 7, "success_count": 7}),
                Said::Nothing,
            ),
            (json!({"status": "complete"}), Said::Stored),
            (
                json!({"status": "complete", "successes": ["a--1"]}),
                Said::Stored,
            ),
            // not yet
            (
                json!({"status": "pending", "success_count": 2}),
                Said::Nothing,
            ),
            (
                json!({"status": "complete", "pendings": [{"id": "a--1"}]}),
                Said::Nothing,
            ),
            // nonsense
            (json!({}), Said::Nothing),
            (
                json!({"status": 1, "successes": {"a--1": 1}, "failures": [1, null]}),
                Said::Nothing,
            ),
        ] {
            assert_eq!(read(&status).of("a--1", version, 2), said, "{status}");
        }
    }

    #[test]
    fn versions_that_the_server_made_up_do_not_matter() {
        let status = read(&json!({"status": "complete", "successes": [
            {"id": "ipv4-addr--1", "version": "2026-11-25T12:00:00.5Z"}]}));
        assert_eq!(status.of("ipv4-addr--1", None, 5), Said::Stored);
    }

    #[test]
    fn counts_beyond_all_bounds_say_nothing() {
        let status = read(&json!({"status": "complete", "success_count": u64::MAX,
            "failure_count": 1, "failures": [{"id": "x--1"}]}));
        assert_eq!(status.of("ipv4-addr--1", None, 2), Said::Nothing);
    }
}
