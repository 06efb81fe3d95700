//! The loop with exchanges by the command: pull, match, push, and what may go wrong between.

mod common;
mod scripted;

use common::BUNDLE;
use common::CAPTURE;
use common::Folder;
use common::live::Running;
use common::live::ask;
use common::live::events;
use common::live::port;
use scripted::Asked;
use scripted::Reply;
use scripted::Server;
use scripted::answer;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::time::Instant;

const MEDIA_TYPE: &str = "Content-Type: application/taxii+json;version=2.1";
const COLLECTION: &str = "91a7b528-80eb-42ed-a74d-c6fbd5a26116";

/// A folder with a configuration of one exchange.
fn sensor(exchange: &str) -> Folder {
    let folder = Folder::new();
    folder.write(
        "wp.toml",
        format!(
            "[sensor]\nname = 'gateway-1'\nstate = 'state'\n\
             internal = ['198.51.100.0/24', '192.0.2.53', '2001:db8:1::/48']\n\
             [[exchange]]\nname = 'ec3'\n\
             share = ['TLP:CLEAR', 'TLP:GREEN', 'TLP:AMBER', 'TLP:AMBER+STRICT', 'TLP:RED', 'unmarked']\n\
             {exchange}\n"
        ),
    );
    folder
}

fn list(count: usize) -> String {
    (0..count)
        .map(|n| format!("198.18.{}.{}\n", n / 250, n % 250 + 1))
        .collect()
}

#[test]
fn a_set_stays_until_a_better_one_comes() {
    let answers: Arc<Mutex<(u16, String, String)>> = Arc::default();
    let set = |status: u16, etag: &str, body: String| {
        *answers.lock().unwrap() = (status, etag.to_owned(), body);
    };
    let given = Arc::clone(&answers);
    let server = Server::start(move |asked: &Asked, _| {
        let (status, etag, body) = given.lock().unwrap().clone();
        if asked.header("if-none-match") == Some(&etag) {
            return answer(304, &[], "");
        }
        let etag = format!("ETag: {etag}");
        answer(status, &["Content-Type: text/plain", &etag], body)
    });
    let folder = sensor(&format!(
        "kind = 'url'\nurl = '{}'",
        server.url("/list.txt")
    ));
    let status = || {
        folder
            .run("exchange status --config wp.toml --json")
            .exits(0)
            .json()
    };
    let indicators = || status()["exchanges"][0]["collections"][0]["indicators"].clone();

    folder
        .run("exchange status --config wp.toml")
        .exits(2)
        .says(&["exchange pull"]);
    set(200, "\"1\"", list(200));
    let pulled = folder.run("exchange pull --config wp.toml").exits(0);
    assert!(
        pulled.out.contains("200 indicators in all"),
        "{}",
        pulled.out
    );
    let again = folder.run("exchange pull --config wp.toml").exits(0);
    assert_eq!(again.out, "ec3: nothing new\n");
    let not_due = folder.run("exchange pull --config wp.toml --due").exits(0);
    assert!(not_due.out.contains("not due before"), "{}", not_due.out);

    // fails, is suddenly small, is no list at all, is suddenly large: the last good set stays
    set(500, "\"2\"", "broken".into());
    let failed = folder.run("exchange pull --config wp.toml").exits(1);
    assert!(failed.out.contains("status 500"), "{}", failed.out);
    assert_eq!(indicators(), 200);
    set(200, "\"3\"", list(10));
    let held = folder.run("exchange pull --config wp.toml").exits(0);
    assert!(
        held.out.contains("held back: it has 10 indicators"),
        "{}",
        held.out
    );
    assert_eq!(indicators(), 200);
    set(200, "\"4\"", "<html>sign in</html>".into());
    folder.run("exchange pull --config wp.toml").exits(1);
    assert_eq!(indicators(), 200);
    set(200, "\"5\"", list(2_500));
    let held = folder.run("exchange pull --config wp.toml").exits(0);
    assert!(held.out.contains("grow_factor = 10"), "{}", held.out);
    assert_eq!(indicators(), 200);
    let why = status()["exchanges"][0]["collections"][0]["held_back"].clone();
    assert!(why.as_str().unwrap().contains("2500 indicators"), "{why}");
    // and a person may take it
    let taken = folder
        .run("exchange pull ec3 --accept --config wp.toml")
        .exits(0);
    assert!(
        taken.out.contains("2,500 indicators match"),
        "{}",
        taken.out
    );
    assert_eq!(
        status()["exchanges"][0]["collections"][0]["held_back"],
        Value::Null
    );
    // a limit is a limit, whoever asks
    let config = String::from_utf8(folder.read("wp.toml")).unwrap();
    folder.write("wp.toml", format!("{config}limits.max_objects = 3000\n"));
    set(200, "\"6\"", list(3_001));
    let failed = folder
        .run("exchange pull --accept --config wp.toml")
        .exits(1);
    assert!(
        failed.out.contains("more than limits.max_objects = 3000"),
        "{}",
        failed.out
    );
    assert_eq!(indicators(), 2_500);
    folder
        .run("exchange pull nobody --config wp.toml")
        .exits(2)
        .says(&["nobody: no such exchange; there are: ec3"]);
}

#[test]
fn a_folder_is_watched() {
    let folder = sensor("kind = 'folder'\npath = 'partners'");
    folder.write("partners/list.txt", list(3));
    folder.write("partners/photo.png", b"\x89PNG\0\0\xff");
    folder
        .run("exchange pull --config wp.toml")
        .exits(0)
        .says(&["photo.png"]);
    let again = folder.run("exchange pull --config wp.toml").exits(0);
    assert_eq!(again.out, "ec3: nothing new\n");
    folder.write("partners/more.txt", "203.0.113.66\n");
    let more = folder.run("exchange pull --config wp.toml").exits(0);
    assert!(more.out.contains("4 indicators in all"), "{}", more.out);
    let ran = folder
        .run(&format!(
            "replay {CAPTURE} --config wp.toml --events e.jsonl -q"
        ))
        .exits(0);
    assert_eq!(ran.err, "");
    let events = folder.lines("e.jsonl");
    assert_eq!(common::text(&events[0], "/indicator/source"), "ec3");
    fs::remove_dir_all(folder.path("partners")).unwrap();
    folder.run("exchange pull --config wp.toml").exits(1);
    folder
        .run(&format!("replay {CAPTURE} --config wp.toml -q"))
        .exits(0);
}

/// What a MISP was asked, and how it stands.
#[derive(Default)]
struct Misp {
    sightings: Vec<Value>,
    busy: bool,
    unknown: Vec<String>,
}

/// A MISP as far as recorded pairs say; it was not compared with a live one.
fn misp_reply(misp: &Mutex<Misp>, events: &Value, asked: &Asked) -> Reply {
    let mut misp = misp.lock().unwrap();
    let json = |status, value: Value| {
        answer(
            status,
            &["Content-Type: application/json; charset=UTF-8"],
            value.to_string(),
        )
    };
    if asked.header("authorization") != Some("0123456789abcdef0123456789abcdef01234567") {
        return json(
            403,
            json!({"name": "Authentication failed.", "message": "no"}),
        );
    }
    match asked.path() {
        "/misp/events/restSearch" => {
            let body = asked.json();
            assert_eq!(
                (&body["to_ids"], &body["published"]),
                (&json!(1), &json!(1))
            );
            if body["page"] == 1 {
                json(200, json!({"response": events}))
            } else {
                json(200, json!({"response": []}))
            }
        }
        "/misp/sightings/add" => {
            if misp.busy {
                return answer(
                    429,
                    &["Retry-After: 5", "Content-Type: application/json"],
                    "{}",
                );
            }
            let body = asked.json();
            if misp.unknown.iter().any(|uuid| body["uuid"] == **uuid) {
                return json(
                    403,
                    json!({"saved": false, "name": "Could not add Sighting", "errors": "unknown"}),
                );
            }
            misp.sightings.push(body);
            json(200, json!({"Sighting": {"id": "1"}}))
        }
        _ => json(404, json!({"name": "Not found"})),
    }
}

#[test]
fn a_misp_is_told_what_was_seen_and_what_is_false() {
    let uuid = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let attribute = |n: u32, kind: &str, value: &str| {
        json!({"uuid": uuid(n), "type": kind, "category": "Network activity", "value": value,
            "to_ids": true, "timestamp": "1709294400"})
    };
    let events = json!([{"Event": {
    "uuid": uuid(100), "info": "Paper Lantern", "date": "2026-11-01", "published": true,
    "timestamp": "1709294400", "Tag": [{"name": "tlp:amber"}],
    "Attribute": [
        attribute(1, "ip-dst", "203.0.113.66"),
        attribute(2, "domain", "lantern.example"),
        attribute(3, "ip-dst", "203.0.113.77"),
        attribute(4, "ip-dst", "192.0.2.99"),
    ]}}]);
    let misp: Arc<Mutex<Misp>> = Arc::default();
    let state = Arc::clone(&misp);
    let server = Server::start(move |asked, _| misp_reply(&state, &events, asked));
    let folder = sensor(&format!(
        "kind = 'misp'\nurl = '{}'\ntoken_file = 'key'\nsightings = true",
        server.url("/misp")
    ));
    let key = folder.write("key", "0123456789abcdef0123456789abcdef01234567\n");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();

    let pulled = folder.run("exchange pull --config wp.toml").exits(0);
    assert!(
        pulled.out.contains("4 indicators match"),
        "{}{}",
        pulled.out,
        pulled.err
    );
    folder
        .run(&format!("replay {CAPTURE} --config wp.toml --share -q"))
        .exits(0)
        .says(&["outbox: 3 for ec3"]);
    // the same capture once more brings nothing new
    folder
        .run(&format!("replay {CAPTURE} --config wp.toml --share -q"))
        .exits(0)
        .says(&["nothing new; 3 known already"]);
    misp.lock().unwrap().busy = true;
    let busy = folder.run("exchange push --config wp.toml").exits(1);
    assert!(busy.out.contains("3 wait"), "{}", busy.out);
    misp.lock().unwrap().busy = false;
    misp.lock().unwrap().unknown = vec![uuid(3)];
    let told = folder.run("exchange push --now --config wp.toml").exits(0);
    assert!(
        told.out.contains("2 accepted, 1 refused, 0 wait"),
        "{}",
        told.out
    );
    folder.run("exchange push --now --config wp.toml").exits(0);
    let sightings = std::mem::take(&mut misp.lock().unwrap().sightings);
    let mut seen: Vec<&str> = sightings
        .iter()
        .filter_map(|s| s["uuid"].as_str())
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [uuid(1), uuid(2)]);
    for sighting in &sightings {
        assert_eq!(
            (&sighting["type"], &sighting["source"]),
            (&json!("0"), &json!("gateway-1"))
        );
        // when the capture was taken
        let at = sighting["timestamp"].as_u64().unwrap();
        assert!((1_700_000_000..1_800_000_000).contains(&at), "{at}");
    }
    // false positives
    let id = format!("indicator--{}", uuid(1));
    folder
        .run_with(
            &[
                "sightings",
                "refute",
                &id,
                "--why",
                "our own scanner",
                "--config",
                "wp.toml",
            ],
            b"",
        )
        .exits(0);
    folder.run("exchange push --config wp.toml").exits(0);
    let sightings = std::mem::take(&mut misp.lock().unwrap().sightings);
    assert_eq!(sightings.len(), 1);
    assert_eq!(
        (&sightings[0]["uuid"], &sightings[0]["type"]),
        (&json!(uuid(1)), &json!("1"))
    );
    folder
        .run(&format!(
            "replay {CAPTURE} --config wp.toml --events e.jsonl -q"
        ))
        .exits(0);
    let refuted: Vec<Value> = folder
        .lines("e.jsonl")
        .into_iter()
        .filter(|event| common::text(event, "/indicator/id") == id)
        .collect();
    assert!(!refuted.is_empty());
    for event in refuted {
        assert_eq!(common::text(&event, "/verdict/action"), "allowlisted");
        assert!(common::text(&event, "/verdict/reason").contains("our own scanner"));
    }
    folder
        .run(&format!("sightings refute {id} --config wp.toml"))
        .exits(2);
    folder
        .run(&format!("sightings refute {id} --undo --config wp.toml"))
        .exits(0);
}

/// A TAXII collection that remembers: objects in order of their coming, and how often each came.
#[derive(Default)]
struct Taxii {
    objects: Vec<Value>,
    came: BTreeMap<String, u32>,
}

const DATE: &str = "Date: Wed, 25 Nov 2026 12:00:00 GMT";

fn taxii_reply(taxii: &Mutex<Taxii>, asked: &Asked) -> Reply {
    let json = |status, headers: &[&str], value: Value| {
        let all: Vec<&str> = [MEDIA_TYPE, DATE].iter().chain(headers).copied().collect();
        answer(status, &all, value.to_string())
    };
    let objects_path = format!("/partners/collections/{COLLECTION}/objects/");
    let mut taxii = taxii.lock().unwrap();
    match (asked.method.as_str(), asked.path()) {
        (_, "/taxii2/") => json(200, &[], json!({"title": "t", "api_roots": ["/partners/"]})),
        (_, "/partners/") => json(
            200,
            &[],
            json!({"title": "r", "versions": ["application/taxii+json;version=2.1"],
                "max_content_length": 1 << 20}),
        ),
        (_, "/partners/collections/") => json(
            200,
            &[],
            json!({"collections": [{"id": COLLECTION, "title": "Partners", "can_read": true,
                "can_write": true}]}),
        ),
        ("POST", path) if path == objects_path => {
            let envelope = asked.json();
            let mut successes = Vec::new();
            let mut failures = Vec::new();
            for object in envelope["objects"].as_array().unwrap() {
                let id = object["id"].as_str().unwrap().to_owned();
                *taxii.came.entry(id.clone()).or_default() += 1;
                let told = json!({"id": id, "version": "2026-11-25T12:00:00.000Z"});
                // an object that is there is a failure to some servers
                if taxii.objects.iter().any(|o| o["id"] == *id) {
                    failures.push(told);
                } else {
                    taxii.objects.push(object.clone());
                    successes.push(told);
                }
            }
            let total = successes.len() + failures.len();
            json(
                202,
                &[],
                json!({"id": COLLECTION, "status": "complete", "total_count": total,
                    "success_count": successes.len(), "failure_count": failures.len(),
                    "pending_count": 0, "successes": successes, "failures": failures}),
            )
        }
        ("GET", path) if path == objects_path => {
            let from: usize = asked.query("next").map_or(0, |next| next.parse().unwrap());
            let page: Vec<Value> = taxii.objects.iter().skip(from).take(7).cloned().collect();
            let next = from + page.len();
            let mut body = json!({"objects": page, "more": next < taxii.objects.len()});
            body["next"] = json!(next.to_string());
            let last = "X-TAXII-Date-Added-Last: 2026-11-20T00:00:00.000000Z";
            let first = "X-TAXII-Date-Added-First: 2026-11-20T00:00:00.000000Z";
            json(200, &[first, last], body)
        }
        ("GET", path) => {
            let id = path
                .strip_prefix(&objects_path)
                .and_then(|rest| rest.split('/').next());
            let found: Vec<&Value> = taxii
                .objects
                .iter()
                .filter(|o| Some(o["id"].as_str().unwrap()) == id)
                .collect();
            if path.ends_with("/versions/") && !found.is_empty() {
                let version = found[0]["modified"].clone();
                return json(200, &[], json!({"versions": [version]}));
            }
            json(
                if found.is_empty() { 404 } else { 200 },
                &[],
                json!({"objects": found}),
            )
        }
        _ => json(404, &[], json!({"title": "no"})),
    }
}

/// One of two API roots fails: what its collections gave before goes on matching, whatever the
/// other says; once it is plain that it has none any more, they are forgotten.
#[test]
fn a_root_that_fails_takes_nothing_with_it() {
    let failing = Arc::new(Mutex::new(Some(200)));
    let status = Arc::clone(&failing);
    let server = Server::start(move |asked, _| {
        let json = |status, value: Value| answer(status, &[MEDIA_TYPE, DATE], value.to_string());
        let (root, rest) = asked.path().split_at(asked.path().len().min(3));
        let number = if root == "/a/" { 1 } else { 2 };
        let collection = COLLECTION.replace("91a7b528", &format!("91a7b52{number}"));
        let status = *status.lock().unwrap();
        match (root, rest, status) {
            ("/ta", "xii2/", Some(_)) => {
                json(200, json!({"title": "t", "api_roots": ["/a/", "/b/"]}))
            }
            ("/ta", "xii2/", None) => json(200, json!({"title": "t", "api_roots": ["/a/"]})),
            ("/b/", _, Some(status)) if status != 200 => json(status, json!({"title": "no"})),
            (_, "", _) => json(
                200,
                json!({"title": "r", "max_content_length": 1 << 20,
                "versions": ["application/taxii+json;version=2.1"]}),
            ),
            (_, "collections/", _) => json(
                200,
                json!({"collections": [
                {"id": collection, "title": root, "can_read": true, "can_write": false}]}),
            ),
            _ => json(
                200,
                json!({"objects": [{
                    "type": "indicator", "spec_version": "2.1",
                    "id": format!("indicator--{collection}"),
                    "created": "2026-11-01T00:00:00Z", "modified": "2026-11-01T00:00:00Z",
                    "pattern_type": "stix", "valid_from": "2026-11-01T00:00:00Z",
                    "pattern": format!("[ipv4-addr:value = '198.18.0.{number}']"),
                }]}),
            ),
        }
    });
    let folder = sensor(&format!(
        "kind = 'taxii'\nurl = '{}'",
        server.url("/taxii2/")
    ));
    let kept = || {
        let pulled = folder.run("exchange pull --config wp.toml");
        let status = folder.run("exchange status --config wp.toml --json").json();
        let collections = status["exchanges"][0]["collections"].as_array().unwrap();
        let indicators = |c: &Value| c["indicators"].as_u64().unwrap_or_default();
        (
            collections.iter().map(indicators).sum::<u64>(),
            pulled.out + &pulled.err,
        )
    };
    assert_eq!(kept().0, 2);
    *failing.lock().unwrap() = Some(403);
    let (indicators, told) = kept();
    assert_eq!(indicators, 2, "{told}");
    assert!(
        told.contains("403") && !told.contains("forgotten"),
        "{told}"
    );
    *failing.lock().unwrap() = None;
    let (indicators, told) = kept();
    assert_eq!(indicators, 1, "{told}");
    assert!(told.contains("forgotten"), "{told}");
}

/// Pulls, replays and pushes in a row, over and over, killed at any moment: in the end the
/// exchange has each sighting, and nothing was skipped on the way in.
#[test]
fn killed_at_any_moment_the_loop_closes_all_the_same() {
    let rounds = std::env::var("WATCHPOST_KILL_ROUNDS");
    let rounds: u32 = rounds.ok().and_then(|n| n.parse().ok()).unwrap_or(30);
    let bundle: Value = serde_json::from_slice(&fs::read(BUNDLE).unwrap()).unwrap();
    let seeded = bundle["objects"].as_array().unwrap().clone();
    let taxii = Arc::new(Mutex::new(Taxii {
        objects: seeded.clone(),
        came: BTreeMap::new(),
    }));
    let state = Arc::clone(&taxii);
    let server = Server::start(move |asked, _| taxii_reply(&state, asked));
    let folder = sensor(&format!(
        "kind = 'taxii'\nurl = '{}'\nsightings = '{COLLECTION}'\ncollections = ['Partners']",
        server.url("/taxii2/")
    ));
    let commands = [
        "exchange pull --config wp.toml".to_owned(),
        format!("replay {CAPTURE} --config wp.toml --share -q"),
        "exchange push --now --config wp.toml".to_owned(),
    ];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let begin = Instant::now();
    let mut killed = 0;
    for round in 0..rounds {
        let command = &commands[round as usize % commands.len()];
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchpost"))
            .args(command.split_whitespace())
            .current_dir(folder.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        thread::sleep(Duration::from_micros(1_000 + seed % 150_000));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // left alone, it comes to its end
    for command in &commands {
        folder.run(command).exits(0);
    }
    let taxii = taxii.lock().unwrap();
    let sightings: Vec<&Value> = taxii
        .objects
        .iter()
        .filter(|o| o["type"] == "sighting")
        .collect();
    let expected = sensor_alone();
    let mut told: Vec<(&str, u64)> = sightings
        .iter()
        .map(|s| {
            (
                s["sighting_of_ref"].as_str().unwrap(),
                s["count"].as_u64().unwrap(),
            )
        })
        .collect();
    told.sort_unstable();
    let expected: Vec<(&str, u64)> = expected.iter().map(|(id, n)| (id.as_str(), *n)).collect();
    assert_eq!(told, expected, "each indicator once, with its count");
    let sent_again = taxii.came.values().filter(|n| **n > 1).count();
    println!(
        "{killed} of {rounds} killed in {:.1} s: {} sightings, of {} objects {sent_again} came again",
        begin.elapsed().as_secs_f64(),
        sightings.len(),
        taxii.came.len()
    );
}

/// Indicators of the sample and how often each is seen in its capture, by a sensor without any
/// exchange, and without what allowlists cover.
fn sensor_alone() -> Vec<(String, u64)> {
    let folder = Folder::new();
    folder
        .run(&format!(
            "replay {CAPTURE} --intel {BUNDLE} --sightings s.json -q"
        ))
        .exits(0);
    let bundle = folder.json("s.json");
    let mut seen: Vec<(String, u64)> = bundle["objects"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|o| o["type"] == "sighting" && o["labels"] != json!(["allowlisted"]))
        .map(|s| {
            let id = s["sighting_of_ref"].as_str().unwrap().to_owned();
            (id, s["count"].as_u64().unwrap())
        })
        .collect();
    seen.sort_unstable();
    seen
}

/// A sensor that is killed in the middle of its window tells what it had gathered when it starts
/// again, and tells it once.
#[test]
fn a_window_outlives_its_sensor() {
    let bundle: Value = serde_json::from_slice(&fs::read(BUNDLE).unwrap()).unwrap();
    let taxii = Arc::new(Mutex::new(Taxii {
        objects: bundle["objects"].as_array().unwrap().clone(),
        came: BTreeMap::new(),
    }));
    let state = Arc::clone(&taxii);
    let server = Server::start(move |asked, _| taxii_reply(&state, asked));
    let folder = sensor(&format!(
        "kind = 'taxii'\nurl = '{}'\nsightings = '{COLLECTION}'\ncollections = ['Partners']",
        server.url("/taxii2/")
    ));
    folder.run("exchange pull --config wp.toml").exits(0);
    let (_socket, port) = port();
    let command = format!("run|-i|lo|--config|wp.toml|--events|e.jsonl|--filter|udp port {port}");
    let mut asked = 0;
    for _ in 0..3 {
        let Some(running) = Running::start(&folder, &command) else {
            return;
        };
        for _ in 0..4 {
            ask(port, "cdn.lantern.example");
            asked += 1;
        }
        events(&folder, asked);
        // two turns of what keeps it
        thread::sleep(Duration::from_millis(700));
        running.kill();
    }
    // a second one beside it is refused
    let running = Running::start(&folder, &command).unwrap();
    let arguments: Vec<&str> = command.split('|').collect();
    folder
        .run_with(&arguments, b"")
        .exits(2)
        .says(&["another 'watchpost run' uses this state folder"]);
    running.end();
    folder.run("exchange push --config wp.toml").exits(0);
    let taxii = taxii.lock().unwrap();
    let sightings = taxii.objects.iter().filter(|o| o["type"] == "sighting");
    let counts: Vec<u64> = sightings.filter_map(|s| s["count"].as_u64()).collect();
    assert_eq!(counts.iter().sum::<u64>(), asked as u64, "{counts:?}");
}

/// A TAXII exchange with the shipped bundle, and a sensor of it that may block.
fn partner_and_sensor() -> (Arc<Mutex<Taxii>>, Server, Folder) {
    let bundle: Value = serde_json::from_slice(&fs::read(BUNDLE).unwrap()).unwrap();
    let taxii = Arc::new(Mutex::new(Taxii {
        objects: bundle["objects"].as_array().unwrap().clone(),
        came: BTreeMap::new(),
    }));
    let state = Arc::clone(&taxii);
    let server = Server::start(move |asked, _| taxii_reply(&state, asked));
    let folder = sensor(&format!(
        "kind = 'taxii'\nurl = '{}'\nsightings = '{COLLECTION}'\ncollections = ['Partners']\n\
         action = 'block'",
        server.url("/taxii2/")
    ));
    folder.run("exchange pull --config wp.toml").exits(0);
    (taxii, server, folder)
}

/// Changes the configuration of a sensor.
fn change(folder: &Folder, from: &str, to: &str) {
    let config = String::from_utf8(folder.read("wp.toml")).unwrap();
    assert!(config.contains(from), "{config}");
    folder.write("wp.toml", config.replace(from, to));
}

/// What the shipped capture comes to: how many events have which verdict.
fn verdicts(folder: &Folder) -> BTreeMap<String, usize> {
    folder
        .run(&format!(
            "replay {CAPTURE} --config wp.toml --events e.jsonl -q"
        ))
        .exits(0);
    let mut verdicts = BTreeMap::new();
    for event in folder.lines("e.jsonl") {
        let action = common::text(&event, "/verdict/action").to_owned();
        *verdicts.entry(action).or_default() += 1;
    }
    verdicts
}

#[test]
fn what_waits_goes_only_if_the_configuration_still_agrees() {
    let changes = [
        (
            "share = ['TLP:CLEAR'",
            "share = [] #",
            "not among the markings",
        ),
        (
            "internal = ['198",
            "internal = ['10.0.0.0/8', '198",
            "another [privacy]",
        ),
        ("/taxii2/'", "/taxii2/?other'", "another address"),
    ];
    for (from, to, why) in changes {
        let (taxii, _server, folder) = partner_and_sensor();
        folder
            .run(&format!("replay {CAPTURE} --config wp.toml --share -q"))
            .exits(0)
            .says(&["13 for ec3"]);
        change(&folder, from, to);
        let shown = folder.run("sightings preview --config wp.toml").exits(0);
        assert_eq!(shown.out, "nothing would leave\n", "{to}");
        let pushed = folder.run("exchange push --config wp.toml");
        assert!(
            pushed.out.contains("0 accepted, 0 refused, 0 wait"),
            "{}",
            pushed.out
        );
        assert!(pushed.out.contains(why), "{}", pushed.out);
        assert_eq!(taxii.lock().unwrap().came.len(), 0, "{to}");
    }
    // one that is called false in the meantime, while the others go; and its opinion goes, or not
    let (taxii, _server, folder) = partner_and_sensor();
    folder
        .run(&format!("replay {CAPTURE} --config wp.toml --share -q"))
        .exits(0);
    let lines = folder
        .run("sightings list --config wp.toml --json")
        .exits(0);
    let first = common::lines(&lines.out).remove(0);
    let indicator = common::text(&first, "/indicator");
    folder
        .run(&format!("sightings refute {indicator} --config wp.toml"))
        .exits(0);
    folder
        .run(&format!(
            "sightings refute {indicator} --undo --config wp.toml"
        ))
        .exits(0);
    folder
        .run(&format!("sightings refute {indicator} --config wp.toml"))
        .exits(0);
    let pushed = folder.run("exchange push --config wp.toml").exits(0);
    assert!(
        pushed.out.contains("withdrawn 1: an operator called"),
        "{}",
        pushed.out
    );
    let told = taxii.lock().unwrap();
    let of = |kind: &str| told.objects.iter().filter(|o| o["type"] == kind).count();
    assert_eq!((of("sighting"), of("opinion")), (12, 1));
}

#[test]
fn nothing_would_block_that_never_may() {
    let (_taxii, _server, folder) = partner_and_sensor();
    let before = verdicts(&folder);
    assert!(before["would-block"] > 3, "{before:?}");
    change(
        &folder,
        "[[exchange]]",
        "[block]\nnever = ['.lantern.example', '203.0.113.0/24', '2001:db8:66::/48']\n[[exchange]]",
    );
    let after = verdicts(&folder);
    let events = folder.lines("e.jsonl");
    let is_named = |event: &&Value| {
        let value = common::text(event, "/observable/value");
        ["lantern.example", "203.0.113.", "2001:db8:66:"]
            .iter()
            .any(|n| value.contains(n))
    };
    let named: Vec<&Value> = events.iter().filter(is_named).collect();
    let action = |event: &Value| common::text(event, "/verdict/action").to_owned();
    assert!(named.iter().all(|event| action(event) == "report"));
    let told = |event: &&&Value| {
        common::text(event, "/verdict/reason").starts_with("key `never` of [block] names it")
    };
    assert!(named.iter().filter(told).count() > 3);
    assert!(
        after.get("would-block") < before.get("would-block"),
        "{after:?}"
    );
    // where nobody knows what was called false, nothing blocks
    folder.write("state/refuted.json", "{ damaged");
    let damaged = verdicts(&folder);
    assert_eq!(damaged.get("would-block"), None, "{damaged:?}");
}

#[test]
fn what_is_not_read_any_more_matches_no_more() {
    let (_taxii, server, folder) = partner_and_sensor();
    assert!(!verdicts(&folder).is_empty());
    // the same name for something else
    folder.write("partners/list.txt", "198.18.0.1\n");
    let url = server.url("/taxii2/");
    let taxii = format!(
        "kind = 'taxii'\nurl = '{url}'\nsightings = '{COLLECTION}'\ncollections = ['Partners']"
    );
    change(&folder, &taxii, "kind = 'folder'\npath = 'partners'");
    folder.run("exchange pull --config wp.toml").exits(0);
    assert!(verdicts(&folder).is_empty());
}

#[test]
fn no_exchange_speaks_for_another() {
    let folder = sensor("kind = 'folder'\npath = 'first'\naction = 'block'");
    let config = String::from_utf8(folder.read("wp.toml")).unwrap();
    folder.write(
        "wp.toml",
        format!("{config}\n[[exchange]]\nname = 'other'\nkind = 'folder'\npath = 'second'\n"),
    );
    let bundle = common::bundle();
    folder.write("first/bundle.json", bundle.to_string());
    folder.write("second/list.txt", "198.18.0.1\n");
    folder.run("exchange pull --config wp.toml").exits(0);
    let alone = verdicts(&folder);
    // the other withdraws all of it
    let mut withdrawn = bundle;
    for object in withdrawn["objects"].as_array_mut().unwrap() {
        if object["type"] == "indicator" {
            object["revoked"] = json!(true);
            object["modified"] = json!("2026-11-25T00:00:00.000Z");
        }
    }
    folder.write("second/bundle.json", withdrawn.to_string());
    folder.run("exchange pull --config wp.toml").exits(0);
    assert_eq!(verdicts(&folder), alone);
}
