//! Handing objects over to TAXII servers that take them in their own ways.
//!
//! The numbers are those of `tests/taxii_quirks.rs`.

mod scripted;

use scripted::Asked;
use scripted::Reply;
use scripted::Server;
use scripted::answer;
use scripted::exchange::LENGTH;
use scripted::exchange::client;
use scripted::exchange::go_on;
use scripted::exchange::objects_path;
use scripted::exchange::only_collection;
use scripted::exchange::page;
use scripted::exchange::standard;
use scripted::exchange::taxii;
use scripted::raw;
use serde_json::Value;
use serde_json::json;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use watchpost::exchange::taxii::Outcome;
use watchpost::exchange::taxii::PushLimits;
use watchpost::exchange::taxii::Pushed;
use watchpost::exchange::taxii::TaxiiCause;

/// What a server does with what it is handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Takes all, says so object by object, and calls what it has already a failure.
    Medallion,
    /// Breaks down over objects without `modified`, stores nothing of such an envelope.
    OpenTaxii,
    /// Stores what comes before a bad object, and refuses the envelope.
    Half,
    /// Answers with counts alone.
    Counts,
    /// Says that it will, and does so when asked for the third time.
    Slow,
    /// Says that it will, and never does.
    Never,
    /// Stores, and says nothing.
    Silent,
    /// Stores, and forgets the status.
    Forgets,
    /// Takes nothing, and breaks down.
    Broken,
}

/// A collection to write to.
struct Inbox {
    habit: Habit,
    max_content_length: u64,
    stored: Mutex<Vec<Value>>,
    polls: AtomicUsize,
}

fn key(object: &Value) -> (Value, Value) {
    (object["id"].clone(), object["modified"].clone())
}

impl Inbox {
    fn start(habit: Habit, max_content_length: u64) -> (Server, Arc<Self>) {
        let inbox = Arc::new(Self {
            habit,
            max_content_length,
            stored: Mutex::default(),
            polls: AtomicUsize::new(0),
        });
        let own = inbox.clone();
        let server = Server::start(move |asked, _| {
            standard(asked, own.max_content_length).unwrap_or_else(|| own.reply(asked))
        });
        (server, inbox)
    }

    fn ids(&self) -> Vec<String> {
        let stored = self.stored.lock().unwrap();
        let ids = stored.iter().map(|o| o["id"].as_str().unwrap().to_owned());
        ids.collect()
    }

    fn reply(&self, asked: &Asked) -> Reply {
        let path = asked.path().to_owned();
        if asked.method == "POST" {
            assert_eq!(path, objects_path());
            return self.take(asked);
        }
        if path.starts_with("/partners/status/") {
            let polls = self.polls.fetch_add(1, Ordering::SeqCst);
            return match self.habit {
                Habit::Forgets => page(404),
                Habit::Slow if polls >= 2 => {
                    taxii(200, &[], &json!({"id": "s", "status": "complete"}))
                }
                _ => taxii(200, &[], &json!({"id": "s", "status": "pending"})),
            };
        }
        // an object by its id
        let id = path
            .strip_prefix(&objects_path())
            .unwrap()
            .trim_end_matches('/');
        let stored = self.stored.lock().unwrap();
        let found: Vec<&Value> = stored.iter().filter(|o| o["id"] == id).collect();
        match (found.is_empty(), asked.query("match[version]").as_deref()) {
            (true, _) => taxii(200, &[], &json!({})),
            (false, Some("all")) => taxii(200, &[], &json!({ "objects": found })),
            (false, _) => taxii(200, &[], &json!({ "objects": [found.last()] })),
        }
    }

    fn take(&self, asked: &Asked) -> Reply {
        assert!(asked.body.starts_with(b"{\"objects\":[{"), "{asked:?}");
        if asked.body.len() as u64 > self.max_content_length {
            return page(413);
        }
        let envelope = asked.json();
        assert_eq!(envelope.as_object().unwrap().len(), 1);
        let objects = envelope["objects"].as_array().unwrap();
        let mut stored = self.stored.lock().unwrap();
        if self.habit == Habit::Broken {
            return page(500);
        }
        if self.habit == Habit::OpenTaxii && objects.iter().any(|o| o.get("modified").is_none()) {
            return page(500);
        }
        let (mut successes, mut failures) = (Vec::new(), Vec::new());
        for object in objects {
            if object.get("bad").is_some() {
                if self.habit != Habit::Half {
                    stored.retain(|stored| !objects.iter().any(|o| key(o) == key(stored)));
                }
                let told = json!({"title": "Bad", "description": ["bad", {"object": 1}]});
                return taxii(422, &[], &told);
            }
            let detail = json!({"id": object["id"], "message": "Unable to process object",
                "version": object.get("modified").cloned()
                    .unwrap_or_else(|| json!("2026-11-25T12:00:00.000000Z"))});
            if stored.iter().any(|known| key(known) == key(object)) {
                failures.push(detail);
            } else {
                stored.push(object.clone());
                successes.push(detail);
            }
        }
        let mut status = json!({"id": "s", "status": "complete", "total_count": objects.len(),
            "success_count": successes.len(), "failure_count": failures.len(),
            "pending_count": 0});
        match self.habit {
            Habit::Medallion | Habit::OpenTaxii | Habit::Half => {
                status["successes"] = json!(successes);
                status["failures"] = json!(failures);
            }
            Habit::Slow | Habit::Forgets => {
                status = json!({"id": "s", "status": "pending", "total_count": objects.len()});
            }
            Habit::Never => {
                let all = |o: &Value| !objects.iter().any(|own| key(own) == key(o));
                stored.retain(all);
                status = json!({"id": "s", "status": "pending", "total_count": objects.len()});
            }
            Habit::Silent => return answer(202, &["Content-Type: text/html"], "<p>thanks"),
            Habit::Counts | Habit::Broken => {}
        }
        taxii(202, &[], &status)
    }
}

/// What a sensor hands over about one sighting, in the order of references.
fn sighting(number: usize) -> Vec<Value> {
    let modified = "2026-11-25T11:00:00.500Z";
    vec![
        json!({"type": "ipv4-addr", "id": format!("ipv4-addr--{number}"), "value": "192.0.2.1"}),
        json!({"type": "observed-data", "id": format!("observed-data--{number}"),
            "modified": modified, "object_refs": [format!("ipv4-addr--{number}")]}),
        json!({"type": "sighting", "id": format!("sighting--{number}"), "modified": modified,
            "observed_data_refs": [format!("observed-data--{number}")]}),
    ]
}

fn sightings(count: usize) -> Vec<Value> {
    (0..count).flat_map(sighting).collect()
}

fn push(server: &Server, objects: &[Value], limits: &PushLimits) -> Pushed {
    let client = client(server);
    let collection = only_collection(&client);
    let objects: Vec<&Value> = objects.iter().collect();
    let pushed = client
        .push(&collection, &objects, limits, &mut go_on)
        .unwrap();
    let ids = pushed.outcomes.iter().map(|(id, _)| id.as_str());
    let own = objects.iter().map(|o| o["id"].as_str().unwrap_or_default());
    assert!(ids.eq(own), "{pushed:?}");
    pushed
}

fn posts(server: &Server) -> usize {
    server
        .asked()
        .iter()
        .filter(|asked| asked.method == "POST")
        .count()
}

#[track_caller]
fn all(pushed: &Pushed, outcome: &Outcome) {
    assert!(
        pushed.outcomes.iter().all(|(_, own)| own == outcome),
        "{pushed:?}"
    );
}

fn reason_of<'a>(pushed: &'a Pushed, wanted: &str) -> &'a str {
    let (_, outcome) = pushed.outcomes.iter().find(|(id, _)| id == wanted).unwrap();
    match outcome {
        Outcome::Refused { reason } => reason,
        other => panic!("{wanted}: {other:?}"),
    }
}

#[test]
fn quirk_14_a_status_is_waited_for_but_not_for_ever() {
    for (habit, accepted, polls) in [
        (Habit::Medallion, true, 0),
        (Habit::Counts, true, 0),
        (Habit::Slow, true, 3),
        (Habit::Silent, true, 0),
        (Habit::Forgets, true, 1),
        (Habit::Never, false, 8),
    ] {
        let (server, inbox) = Inbox::start(habit, LENGTH);
        let pushed = push(&server, &sightings(2), &PushLimits::default());
        all(
            &pushed,
            if accepted {
                &Outcome::Accepted
            } else {
                &Outcome::Unknown
            },
        );
        assert!(pushed.failure.is_none(), "{pushed:?}");
        assert_eq!(inbox.polls.load(Ordering::SeqCst), polls, "{habit:?}");
        assert_eq!(
            posts(&server),
            1,
            "{habit:?}: nothing is sent blindly again"
        );
    }
}

#[test]
fn quirk_15_what_is_there_already_is_no_failure() {
    let (server, inbox) = Inbox::start(Habit::Medallion, LENGTH);
    let objects = sightings(2);
    all(
        &push(&server, &objects, &PushLimits::default()),
        &Outcome::Accepted,
    );
    all(
        &push(&server, &objects, &PushLimits::default()),
        &Outcome::Accepted,
    );
    assert_eq!(inbox.ids().len(), 6);
    // where nothing can be looked up, the server's word counts, and its doubt is told
    let client = client(&server);
    let mut closed = only_collection(&client);
    closed.can_read = false;
    let again: Vec<&Value> = objects.iter().collect();
    let pushed = client.push(&closed, &again, &PushLimits::default(), &mut go_on);
    let pushed = pushed.unwrap();
    let told = "Unable to process object (or it is there already)";
    assert_eq!(reason_of(&pushed, "sighting--1"), told);
    // but another version of it is another object
    let mut newer = sighting(1).pop().unwrap();
    newer["modified"] = json!("2026-11-25T11:30:00.500Z");
    let server = Server::start(move |asked, _| {
        let status = json!({"status": "complete", "failures":
            [{"id": "sighting--1", "message": "no"}]});
        let old = json!({"objects": [sighting(1).pop().unwrap()]});
        standard(asked, LENGTH).unwrap_or_else(|| match asked.method.as_str() {
            "POST" => taxii(202, &[], &status),
            _ => taxii(200, &[], &old),
        })
    });
    let pushed = push(&server, &[newer], &PushLimits::default());
    assert_eq!(reason_of(&pushed, "sighting--1"), "no");
}

#[test]
fn quirk_16_a_bad_object_costs_itself_alone() {
    for habit in [Habit::Half, Habit::Medallion] {
        let (server, inbox) = Inbox::start(habit, LENGTH);
        let mut objects = sightings(10);
        objects[7]["bad"] = json!(true);
        objects[20]["bad"] = json!(true);
        let pushed = push(&server, &objects, &PushLimits::default());
        let refused: Vec<&str> = pushed
            .outcomes
            .iter()
            .filter(|(_, outcome)| *outcome != Outcome::Accepted)
            .map(|(id, _)| id.as_str())
            .collect();
        assert_eq!(refused, ["observed-data--2", "sighting--6"], "{habit:?}");
        // what servers say of errors has any form
        let reason = reason_of(&pushed, "sighting--6");
        assert_eq!(reason, r#"status 422: ["bad",{"object":1}]"#);
        assert_eq!(inbox.ids().len(), 28);
        assert!(posts(&server) < 25, "{}", posts(&server));
    }
}

#[test]
fn quirk_17_what_the_server_breaks_down_over_takes_nothing_else_down() {
    let (server, inbox) = Inbox::start(Habit::OpenTaxii, LENGTH);
    let mut objects = sightings(20);
    objects.push(json!({"type": "marking-definition", "id": "marking-definition--1"}));
    let pushed = push(&server, &objects, &PushLimits::default());
    for (id, outcome) in &pushed.outcomes {
        let versioned = id.starts_with("sighting") || id.starts_with("observed-data");
        assert_eq!(
            *outcome == Outcome::Accepted,
            versioned,
            "{id}: {outcome:?}"
        );
    }
    assert!(pushed.failure.is_none());
    assert!(reason_of(&pushed, "marking-definition--1").contains("500"));
    assert!(reason_of(&pushed, "ipv4-addr--19").contains("breaks down"));
    assert_eq!(inbox.ids().len(), 40);
    // and it is not asked object by object what it will not take
    assert!(posts(&server) < 30, "{}", posts(&server));
}

#[test]
fn a_server_that_breaks_down_over_everything_refuses_nothing() {
    let (server, _) = Inbox::start(Habit::Broken, LENGTH);
    let pushed = push(&server, &sightings(50), &PushLimits::default());
    all(&pushed, &Outcome::Unknown);
    let failure = pushed.failure.unwrap();
    assert_eq!(failure.http().unwrap().status(), Some(500));
    assert!(failure.is_transient());
    assert!(posts(&server) < 60, "{}", posts(&server));
    // one breakdown by chance is none
    let count = AtomicUsize::new(0);
    let server = Server::start(move |asked, _| {
        standard(asked, LENGTH).unwrap_or_else(|| {
            let number = count.fetch_add(1, Ordering::SeqCst);
            match (asked.method.as_str(), number) {
                ("POST", 0) => page(500),
                ("POST", _) => taxii(202, &[], &json!({"status": "complete"})),
                _ => taxii(200, &[], &json!({})),
            }
        })
    });
    let one = [sighting(1).pop().unwrap()];
    all(
        &push(&server, &one, &PushLimits::default()),
        &Outcome::Accepted,
    );
}

#[test]
fn quirk_18_envelopes_are_envelopes_and_nothing_is_not_sent() {
    let (server, _) = Inbox::start(Habit::Medallion, LENGTH);
    let pushed = push(&server, &[], &PushLimits::default());
    assert!(pushed.outcomes.is_empty() && pushed.failure.is_none());
    let pushed = push(
        &server,
        &[json!({"no": "id"}), json!(7)],
        &PushLimits::default(),
    );
    assert!(reason_of(&pushed, "").contains("no id"));
    assert_eq!(posts(&server), 0);
    // `take` asserts the form of all others
    push(&server, &sightings(1), &PushLimits::default());
    assert_eq!(posts(&server), 1);
}

#[test]
fn quirk_19_envelopes_stay_within_what_the_server_takes() {
    let (server, inbox) = Inbox::start(Habit::Medallion, 1_000);
    let mut objects = sightings(20);
    objects[5]["padding"] = json!("x".repeat(2_000));
    let pushed = push(&server, &objects, &PushLimits::default());
    assert!(reason_of(&pushed, "sighting--1").contains("the server takes 1000"));
    assert_eq!(inbox.ids().len(), 59);
    for asked in server.asked() {
        assert!(asked.body.len() <= 1_000, "{}", asked.body.len());
    }
    // by count, too
    let (server, _) = Inbox::start(Habit::Medallion, LENGTH);
    let limits = PushLimits {
        envelope_objects: 7,
        ..PushLimits::default()
    };
    all(&push(&server, &sightings(5), &limits), &Outcome::Accepted);
    assert_eq!(posts(&server), 3);
    // a server that takes less than it says
    let server = Server::start(|asked, _| {
        standard(asked, LENGTH).unwrap_or_else(|| match asked.body.len() {
            0 => taxii(200, &[], &json!({})),
            1..=600 => taxii(202, &[], &json!({"status": "complete"})),
            _ => page(413),
        })
    });
    all(
        &push(&server, &sightings(20), &PushLimits::default()),
        &Outcome::Accepted,
    );
}

#[test]
fn quirks_20_and_21_what_is_forbidden_ends_the_push_and_refuses_nothing() {
    for code in [401, 403, 404, 415] {
        let server = Server::start(move |asked, _| {
            standard(asked, LENGTH).unwrap_or_else(|| match code {
                401 => page(401),
                _ => taxii(
                    code,
                    &[],
                    &json!({"code": code, "name": "No", "description": {}}),
                ),
            })
        });
        let pushed = push(&server, &sightings(100), &PushLimits::default());
        all(&pushed, &Outcome::Unknown);
        let failure = pushed.failure.unwrap();
        assert_eq!(failure.http().unwrap().status(), Some(code));
        assert_eq!(posts(&server), 1, "{code}");
    }
    // a collection that is said to be closed is not even asked
    let (server, _) = Inbox::start(Habit::Medallion, LENGTH);
    let client = client(&server);
    let mut collection = only_collection(&client);
    collection.can_write = false;
    let object = json!({"type": "x", "id": "x--1"});
    let pushed = client.push(&collection, &[&object], &PushLimits::default(), &mut go_on);
    let error = pushed.unwrap_err();
    assert!(matches!(error.cause, TaxiiCause::NotWritable), "{error}");
    assert_eq!(posts(&server), 0);
}

#[test]
fn quirk_22_a_busy_server_gets_the_same_again_later() {
    for (code, moved) in [(429, false), (503, false), (308, true), (307, true)] {
        let (_, inbox) = Inbox::start(Habit::Medallion, LENGTH);
        let count = AtomicUsize::new(0);
        let own = inbox.clone();
        let server = Server::start(move |asked, _| {
            standard(asked, LENGTH).unwrap_or_else(|| {
                if count.fetch_add(1, Ordering::SeqCst) > 0 {
                    own.reply(asked)
                } else if moved {
                    answer(code, &[&format!("Location: {}", asked.target)], "")
                } else {
                    answer(code, &["Retry-After: 1"], "")
                }
            })
        });
        all(
            &push(&server, &sightings(2), &PushLimits::default()),
            &Outcome::Accepted,
        );
        assert_eq!(inbox.ids().len(), 6, "{code}");
    }
}

#[test]
fn lost_answers_are_asked_for_and_lose_nothing() {
    // the first `lost` answers to a POST are lost, the objects are stored
    for (lost, lookups) in [(1, true), (2, true), (99, true), (99, false)] {
        let (_, inbox) = Inbox::start(Habit::Medallion, LENGTH);
        let count = AtomicUsize::new(0);
        let own = inbox.clone();
        let server = Server::start(move |asked, _| {
            standard(asked, LENGTH).unwrap_or_else(|| {
                let reply = own.reply(asked);
                let post = asked.method == "POST";
                let is_lost = if post {
                    count.fetch_add(1, Ordering::SeqCst) < lost
                } else {
                    !lookups
                };
                if is_lost { raw("") } else { reply }
            })
        });
        let pushed = push(&server, &sightings(2), &PushLimits::default());
        let known = if lookups {
            Outcome::Accepted
        } else {
            Outcome::Unknown
        };
        all(&pushed, &known);
        assert_eq!(pushed.failure.is_some(), lost == 99);
        assert_eq!(inbox.ids().len(), 6, "stored once");
        assert!(posts(&server) <= 4);
    }
    // nothing listens any more
    let (server, _) = Inbox::start(Habit::Medallion, LENGTH);
    let client = client(&server);
    let collection = only_collection(&client);
    drop(server);
    let objects = sightings(200);
    let objects: Vec<&Value> = objects.iter().collect();
    let pushed = client
        .push(&collection, &objects, &PushLimits::default(), &mut go_on)
        .unwrap();
    all(&pushed, &Outcome::Unknown);
    assert!(pushed.failure.unwrap().is_transient());
}
