//! The TAXII client against all that servers were seen to do, and some that they could.
//!
//! The numbers are those of the list of what servers do (medallion 3.0 and OpenTAXII 0.9 were
//! measured); `tests/taxii_push.rs` plays what concerns handing over.

mod scripted;

use flate2::Compression;
use flate2::write::GzEncoder;
use scripted::Asked;
use scripted::Reply;
use scripted::Server;
use scripted::answer;
use scripted::exchange::COLLECTION;
use scripted::exchange::DATE;
use scripted::exchange::Fault;
use scripted::exchange::LENGTH;
use scripted::exchange::MEDIA_TYPE;
use scripted::exchange::Pages;
use scripted::exchange::Token;
use scripted::exchange::client;
use scripted::exchange::client_at;
use scripted::exchange::go_on;
use scripted::exchange::objects_path;
use scripted::exchange::only_collection;
use scripted::exchange::page;
use scripted::exchange::standard;
use scripted::exchange::taxii;
use scripted::raw;
use scripted::silence;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;
use watchpost::exchange::http::Client;
use watchpost::exchange::http::ClientOptions;
use watchpost::exchange::http::HttpCause;
use watchpost::exchange::http::Url;
use watchpost::exchange::taxii::Collection;
use watchpost::exchange::taxii::Cursor;
use watchpost::exchange::taxii::PullError;
use watchpost::exchange::taxii::PullLimits;
use watchpost::exchange::taxii::Pulled;
use watchpost::exchange::taxii::TaxiiCause;
use watchpost::exchange::taxii::TaxiiClient;
use watchpost::exchange::taxii::TaxiiError;
use watchpost::exchange::taxii::find;

/// A server with one collection, whose objects `reply` gives.
fn serve(reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Server {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |asked, _| {
        standard(asked, LENGTH).unwrap_or_else(|| {
            reply(
                asked,
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst),
            )
        })
    })
}

/// What a caller has who commits pages with their cursors, until it is killed.
#[derive(Clone, Debug, Default)]
struct Store {
    ids: Vec<String>,
    cursor: Cursor,
    pages: Vec<Vec<u8>>,
}

impl Store {
    fn pull(
        &mut self,
        client: &TaxiiClient,
        collection: &Collection,
        limits: &PullLimits,
        killed_at: Option<usize>,
    ) -> Result<Pulled, PullError<&'static str>> {
        let mut pages = 0;
        let from = self.cursor;
        client.pull(
            collection,
            from,
            limits,
            &mut go_on,
            &mut |body, objects, cursor| {
                if Some(pages) == killed_at {
                    return Err("killed");
                }
                pages += 1;
                let envelope: Value = serde_json::from_slice(body).unwrap();
                let listed = envelope["objects"].as_array();
                let listed = listed.map(Vec::as_slice).unwrap_or_default();
                assert_eq!(listed.len() as u64, objects);
                let ids = listed
                    .iter()
                    .map(|o| o["id"].as_str().unwrap_or("?").to_owned());
                self.ids.extend(ids);
                self.pages.push(body.to_vec());
                // as it is kept: as a text
                if let Some(cursor) = cursor {
                    self.cursor = cursor.to_string().parse().unwrap();
                }
                Ok(())
            },
        )
    }
}

fn pull(server: &Server, limits: &PullLimits) -> (Store, Result<Pulled, TaxiiError>) {
    let client = client(server);
    let collection = only_collection(&client);
    let mut store = Store::default();
    let pulled = store.pull(&client, &collection, limits, None);
    let pulled = pulled.map_err(|error| match error {
        PullError::Taxii(error) => error,
        PullError::Store(error) => panic!("{error}"),
    });
    (store, pulled)
}

fn of(objects: u32) -> PullLimits {
    PullLimits {
        page_objects: objects,
        ..PullLimits::default()
    }
}

fn numbered(count: usize, micros: impl Fn(usize) -> u64) -> Vec<(String, u64)> {
    (0..count).map(|n| (format!("o--{n}"), micros(n))).collect()
}

fn all_of(count: usize) -> BTreeSet<String> {
    numbered(count, |_| 0)
        .into_iter()
        .map(|(id, _)| id)
        .collect()
}

// ---- the way to the collections

#[test]
fn quirks_1_and_2_media_types_are_sent_in_the_one_form_that_all_take() {
    // `standard` answers 406 and 415 to any other
    let server = serve(|_, _| taxii(200, &[], &json!({})));
    let (_, pulled) = pull(&server, &of(10));
    pulled.unwrap();
    let forms: BTreeSet<_> = server
        .asked()
        .iter()
        .map(|asked| asked.header("accept").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(forms, BTreeSet::from([MEDIA_TYPE.to_owned()]));
}

#[test]
fn quirk_3_types_of_answers_are_read_with_patience() {
    for kind in [
        "application/taxii+json; version=2.1",
        "application/taxii+json;version=\"2.1\"; charset=UTF-8",
        "Application/JSON",
        "application/stix+json;version=2.1",
    ] {
        let header = format!("Content-Type: {kind}");
        let server = serve(move |_, _| answer(200, &[&header], r#"{"objects":[{"id":"a"}]}"#));
        let (store, pulled) = pull(&server, &of(10));
        assert_eq!((store.ids.len(), pulled.unwrap().objects), (1, 1), "{kind}");
    }
    // no type at all
    let server = serve(|_, _| answer(200, &[], "{}"));
    pull(&server, &of(10)).1.unwrap();
    // a page to sign in is no collection
    let server = serve(|_, _| page(200));
    let error = pull(&server, &of(10)).1.unwrap_err();
    assert!(error.to_string().contains("text/html"), "{error}");
    // errors are never expected to be JSON
    for code in [400, 401, 403, 404, 406] {
        let server = serve(move |_, _| page(code));
        let error = pull(&server, &of(10)).1.unwrap_err();
        assert_eq!(error.http().unwrap().status(), Some(code));
    }
}

#[test]
fn quirk_4_addresses_end_with_a_slash_and_redirects_to_one_are_followed() {
    let server = serve(|_, _| taxii(200, &[], &json!({})));
    for named in ["/taxii2", "/taxii2/", "/partners", "/partners/"] {
        let collection = only_collection(&client_at(&server.url(named)));
        assert_eq!(
            collection.url().path(),
            format!("/partners/collections/{COLLECTION}/")
        );
    }
    for asked in server.asked() {
        assert!(
            asked.path().ends_with('/') && !asked.path().contains("//"),
            "{asked:?}"
        );
    }
    // a server that has moved, on the same origin: credentials and headers go along
    let server = Server::start(|asked, _| match asked.path().strip_prefix("/new") {
        Some(path) => {
            let target = path.to_owned();
            let moved = Asked {
                target,
                ..asked.clone()
            };
            assert!(asked.header("authorization").is_some());
            standard(&moved, LENGTH).unwrap_or_else(|| taxii(200, &[], &json!({})))
        }
        None => answer(308, &[&format!("Location: /new{}", asked.target)], ""),
    });
    assert_eq!(only_collection(&client(&server)).id, COLLECTION);
}

#[test]
fn quirk_5_api_roots_are_resolved_and_strangers_get_no_credentials() {
    let stranger = Server::start(|asked, _| {
        assert!(asked.header("authorization").is_none());
        standard(asked, LENGTH).unwrap_or_else(|| page(404))
    });
    let foreign = stranger.url("/partners/");
    let server = Server::start(move |asked, _| match asked.path() {
        "/taxii2/" => {
            let roots = json!([
                "/partners/",
                "../partners",
                "/gone/",
                "/old/",
                foreign,
                "ftp://x/",
                7
            ]);
            taxii(
                200,
                &[],
                &json!({"title": "t", "default": "/partners/", "api_roots": roots}),
            )
        }
        "/old/" => taxii(200, &[], &json!({"versions": ["taxii-2.0"]})),
        _ => standard(asked, LENGTH).unwrap_or_else(|| page(404)),
    });
    let directory = client(&server).directory(&mut go_on).unwrap();
    // its own once, although it is named three times, and the stranger's
    assert_eq!(directory.collections.len(), 2, "{directory:?}");
    assert_eq!(directory.failed.len(), 2, "{directory:?}");
    assert!(!stranger.asked().is_empty());
    for asked in stranger.asked() {
        assert!(asked.header("authorization").is_none());
    }
    // nothing but failures: the first of them is told
    let server = Server::start(|asked, _| match asked.path() {
        "/taxii2/" => taxii(200, &[], &json!({"api_roots": ["/a/", "/b/"]})),
        _ => page(403),
    });
    let error = client(&server).directory(&mut go_on).unwrap_err();
    assert_eq!(error.http().unwrap().status(), Some(403));
    let server = Server::start(|_, _| taxii(200, &[], &json!({"title": "t"})));
    let error = client(&server).directory(&mut go_on).unwrap_err();
    assert!(matches!(error.cause, TaxiiCause::NoApiRoot), "{error}");
}

#[test]
fn quirk_6_collections_are_found_by_id_alias_or_title() {
    let listed = json!([
        {"id": "AAAA-1", "title": "One", "alias": "first", "can_read": true, "can_write": false},
        {"id": "aaaa-2", "title": "Two", "can_read": false, "can_write": "yes"},
        {"id": "aaaa-3", "title": "Two", "can_read": true},
        {"title": "without id"}, "nonsense", null,
    ]);
    let server = Server::start(move |asked, _| match asked.path() {
        "/partners/collections/" => taxii(200, &[], &json!({ "collections": listed })),
        _ => standard(asked, LENGTH).unwrap(),
    });
    let client = client(&server);
    let collections = client.directory(&mut go_on).unwrap().collections;
    assert_eq!(collections.len(), 3);
    let found = |wanted| find(client.url(), &collections, wanted);
    assert_eq!(found("aaaa-1").unwrap().title, "One");
    assert_eq!(found("first").unwrap().title, "One");
    assert_eq!(found("One").unwrap().id, "AAAA-1");
    let error = found("Two").unwrap_err().to_string();
    assert!(error.contains("aaaa-2, aaaa-3"), "{error}");
    let error = found("Three\n").unwrap_err().to_string();
    assert!(
        error.contains("'One' (AAAA-1)") && error.contains("'Three\\u{a}'"),
        "{error}"
    );
    // what may not be read or written is not asked for
    let asked = server.asked().len();
    let closed = found("aaaa-2").unwrap();
    assert!(!closed.can_write);
    let pulled = Store::default().pull(&client, closed, &of(1), None);
    let Err(PullError::Taxii(error)) = pulled else {
        panic!("{pulled:?}");
    };
    assert!(matches!(error.cause, TaxiiCause::NotReadable), "{error}");
    assert_eq!(server.asked().len(), asked);
    // no member, no collections
    let server = Server::start(|asked, _| match asked.path() {
        "/partners/collections/" => taxii(200, &[], &json!({})),
        _ => standard(asked, LENGTH).unwrap(),
    });
    assert!(
        client_at(&server.url("/taxii2/"))
            .directory(&mut go_on)
            .unwrap()
            .collections
            .is_empty()
    );
}

// ---- paging

#[test]
fn quirk_7_nothing_new_is_an_empty_object() {
    let server = serve(|_, _| taxii(200, &[], &json!({})));
    let client = client(&server);
    let collection = only_collection(&client);
    let mut store = Store {
        cursor: "taxii1:2026-03-01T00:00:00Z".parse().unwrap(),
        ..Store::default()
    };
    let before = store.cursor;
    let pulled = store.pull(&client, &collection, &of(10), None).unwrap();
    assert_eq!(
        (pulled.pages, pulled.objects, pulled.cursor),
        (1, 0, before)
    );
    assert_eq!(store.cursor, before);
}

#[test]
fn quirk_8_a_lost_answer_or_token_loses_no_object() {
    for token in [Token::Session, Token::Place, Token::Refused, Token::None] {
        for fault in [
            Fault::None,
            Fault::Lost,
            Fault::Half,
            Fault::Busy,
            Fault::Forgets,
        ] {
            for at in [0, 1, 4] {
                let pages = Pages::new(numbered(100, |n| n as u64 * 10_000), 10, token);
                let server = serve(move |asked, number| {
                    pages.reply(asked, if number == at { fault } else { Fault::None })
                });
                let (store, pulled) = pull(&server, &of(50));
                let ids: BTreeSet<String> = store.ids.iter().cloned().collect();
                assert_eq!(ids, all_of(100), "{token:?} {fault:?} {at}");
                let pulled = pulled.unwrap();
                if fault == Fault::None && matches!(token, Token::Session | Token::Place) {
                    assert_eq!((pulled.pages, pulled.restarts), (10, 0));
                }
                assert!(
                    store.ids.len() < 130,
                    "{token:?} {fault:?} {at}: {}",
                    store.ids.len()
                );
            }
        }
    }
}

#[test]
fn quirk_9_pages_end_where_the_server_says_so_and_no_round_is_endless() {
    // more, but neither a way nor objects: that is all
    let server = serve(|_, _| taxii(200, &[], &json!({"more": true})));
    assert_eq!(pull(&server, &of(10)).1.unwrap().objects, 0);
    // the ways in which a server can go round in circles
    let same = json!({"more": true, "next": "x", "objects": [{"id": "a"}]});
    let empty = json!({"more": true, "next": "x"});
    let dead_end = json!({"more": true, "objects": [{"id": "a"}]});
    for (body, at_most) in [(same, 2), (empty, 10), (dead_end, 2)] {
        let server = serve(move |_, _| taxii(200, &[], &body));
        let error = pull(&server, &of(10)).1.unwrap_err();
        assert!(matches!(error.cause, TaxiiCause::NoProgress(_)), "{error}");
        let asked = server.asked().len() - 3;
        assert!(asked <= at_most, "{asked}");
    }
    // a circle of several pages, with tokens that differ
    let server = serve(|_, number| {
        let body = json!({"more": true, "next": number, "objects": [{"id": number % 3}]});
        taxii(200, &[], &body)
    });
    let error = pull(&server, &of(10)).1.unwrap_err();
    assert!(matches!(error.cause, TaxiiCause::NoProgress(_)), "{error}");
    // no circle, but no end either
    let server = serve(|_, number| {
        let body = json!({"more": true, "next": number, "objects": [{"id": number}]});
        taxii(200, &[], &body)
    });
    let limits = PullLimits {
        objects: 50,
        ..of(10)
    };
    let (store, pulled) = pull(&server, &limits);
    let error = pulled.unwrap_err();
    assert!(matches!(error.cause, TaxiiCause::TooMuch { .. }), "{error}");
    assert_eq!(store.ids.len(), 50);
}

#[test]
fn quirk_10_objects_that_share_a_date_are_not_cut_apart() {
    // all of one date, over ten pages; killed after each of them
    for killed_at in 0..10 {
        let pages = Pages::new(numbered(100, |_| 5), 10, Token::Session);
        let server = serve(move |asked, _| pages.reply(asked, Fault::None));
        let client = client(&server);
        let collection = only_collection(&client);
        let mut store = Store::default();
        store
            .pull(&client, &collection, &of(10), Some(killed_at))
            .unwrap_err();
        store.pull(&client, &collection, &of(10), None).unwrap();
        let ids: BTreeSet<String> = store.ids.iter().cloned().collect();
        assert_eq!(ids, all_of(100), "killed at {killed_at}");
        // and nothing comes again once it is done
        let pulled = store.pull(&client, &collection, &of(10), None).unwrap();
        assert_eq!(pulled.objects, 0);
    }
    // no dates at all: the next pull begins where the server's clock was
    let mut pages = Pages::new(numbered(30, |n| n as u64), 10, Token::Place);
    pages.dated = false;
    let server = serve(move |asked, _| pages.reply(asked, Fault::None));
    let (store, pulled) = pull(&server, &of(10));
    assert_eq!(store.ids.len(), 30);
    let cursor = pulled.unwrap().cursor.to_string();
    assert!(cursor.contains("2026-11-25T11:59:00"), "{cursor}");
}

#[test]
fn quirk_11_times_are_sent_with_microseconds_in_utc() {
    let server = serve(|_, _| taxii(200, &[], &json!({})));
    let client = client(&server);
    let collection = only_collection(&client);
    for (stored, sent) in [
        ("taxii1:2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000000Z"),
        (
            "taxii1:2026-03-01T00:00:00.123456789Z",
            "2026-03-01T00:00:00.123456Z",
        ),
    ] {
        let mut store = Store {
            cursor: stored.parse().unwrap(),
            ..Store::default()
        };
        store.pull(&client, &collection, &of(10), None).unwrap();
        let asked = server.asked().pop().unwrap();
        assert_eq!(asked.query("added_after").as_deref(), Some(sent));
        assert_eq!(asked.query("limit").as_deref(), Some("10"));
    }
}

#[test]
fn quirks_12_and_13_objects_pass_as_they_are_whatever_they_are() {
    let objects = json!([
        {"id": "indicator--1", "modified": "2026-01-02T00:00:00Z", "spec_version": "campaign"},
        {"id": "indicator--1", "modified": "2026-01-01T00:00:00Z"},
        {"id": "x-odd--1", "type": "x-odd", "spec_version": 7},
        {"no": "id"}, "no object", 5, null, [],
    ]);
    let body = json!({ "objects": objects });
    let server = serve(move |_, _| taxii(200, &[], &json!({ "objects": objects })));
    let (store, pulled) = pull(&server, &of(10));
    assert_eq!(pulled.unwrap().objects, 8);
    assert_eq!(store.pages, [body.to_string().into_bytes()]);
}

/// The law: whatever the pages and whatever goes wrong, no object is left out, and it ends.
#[test]
fn no_object_is_ever_left_out() {
    let mut random = 0x1234_5678_9abc_def0_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for round in 0..60 {
        let count = next(120) as usize;
        // many share a date, some are a few microseconds apart
        let spread = [1, 3, 2_000, 1_000_000][next(4) as usize];
        let mut micros: Vec<u64> = (0..count)
            .map(|_| next(spread * 20) / spread * 1_500)
            .collect();
        micros.sort_unstable();
        let tokens = [Token::Session, Token::Place];
        let token = tokens[next(2) as usize];
        let mut pages = Pages::new(numbered(count, |n| micros[n]), 8 + next(30) as usize, token);
        pages.dated = next(5) > 0;
        let fault_seed = next(u64::MAX);
        let server = serve(move |asked, number| {
            let mixed = (number as u64 ^ fault_seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
            let fault = match mixed {
                0 | 1 => Fault::Lost,
                2 | 3 => Fault::Half,
                4 | 5 => Fault::Busy,
                6 => Fault::Forgets,
                _ => Fault::None,
            };
            pages.reply(asked, fault)
        });
        let client = client(&server);
        let collection = only_collection(&client);
        let mut store = Store::default();
        let mut done = false;
        for _ in 0..40 {
            // killed now and then, and given up now and then; what was committed holds
            let killed_at = (next(3) == 0).then(|| next(4) as usize);
            if store.pull(&client, &collection, &of(20), killed_at).is_ok() {
                done = true;
                break;
            }
        }
        assert!(done, "round {round} does not end");
        let ids: BTreeSet<String> = store.ids.iter().cloned().collect();
        assert_eq!(ids, all_of(count), "round {round}");
    }
}

// ---- errors

#[test]
fn quirk_20_what_is_forbidden_is_told_with_what_to_do_and_asked_once() {
    for (code, told) in [(401, "password"), (403, "permission"), (404, "permission")] {
        let server = serve(move |_, _| page(code));
        let (_, pulled) = pull(&server, &of(10));
        let error = pulled.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
        assert!(!error.is_transient());
        assert_eq!(server.asked().len(), 4);
    }
}

#[test]
fn quirk_22_servers_are_given_the_time_they_ask_for() {
    for (code, header, wait) in [
        (429, "Retry-After: 3", 3),
        (503, "Retry-After: Wed, 25 Nov 2037 12:00:30 GMT", 3_600),
    ] {
        let server = serve(move |_, number| match number {
            0 | 1 => answer(code, &[header], ""),
            _ => taxii(200, &[], &json!({"objects": [{"id": "a"}]})),
        });
        let client = client(&server);
        let collection = only_collection(&client);
        let mut waits = Vec::new();
        let pulled = client.pull(
            &collection,
            Cursor::START,
            &of(10),
            &mut |wait| {
                waits.push(wait);
                true
            },
            &mut |_, _, _| Ok::<(), Infallible>(()),
        );
        assert_eq!(pulled.unwrap().objects, 1);
        assert_eq!(waits, [Duration::from_secs(wait); 2]);
    }
    // nobody is asked for ever, and whoever wants to stop can
    let server = serve(|_, _| answer(503, &[], ""));
    let error = pull(&server, &of(10)).1.unwrap_err();
    assert_eq!(error.http().unwrap().status(), Some(503));
    assert!(server.asked().len() < 12, "{}", server.asked().len());
    let client = client(&server);
    let collection = only_collection(&client);
    let before = server.asked().len();
    let stopped = client.pull(
        &collection,
        Cursor::START,
        &of(10),
        &mut |_| false,
        &mut |_, _, _| Ok::<(), Infallible>(()),
    );
    let Err(PullError::Taxii(error)) = stopped else {
        panic!("{stopped:?}");
    };
    assert!(matches!(error.cause, TaxiiCause::Stopped), "{error}");
    assert_eq!(server.asked().len(), before + 1);
    // a range without objects that cannot be satisfied
    let server = serve(|_, _| page(416));
    assert_eq!(pull(&server, &of(10)).1.unwrap().objects, 0);
    // moved
    for code in [301, 302, 307, 308] {
        let server = serve(move |asked, _| match asked.path() {
            "/moved/" => {
                assert!(asked.query("limit").is_some());
                taxii(200, &[], &json!({"objects": [{"id": "a"}]}))
            }
            _ => {
                let query = asked.target.split_once('?').unwrap().1;
                answer(code, &[&format!("Location: /moved/?{query}")], "")
            }
        });
        assert_eq!(pull(&server, &of(10)).1.unwrap().objects, 1, "{code}");
    }
}

#[test]
fn quirk_23_a_removal_without_a_body_is_one() {
    let server = serve(|asked, _| {
        assert_eq!(asked.method, "DELETE");
        answer(200, &[], "")
    });
    let url = Url::parse(&server.url(&objects_path())).unwrap();
    let client = Client::new(&ClientOptions::new(url.clone())).unwrap();
    let response = client.delete(&url, &[("accept", MEDIA_TYPE)]).unwrap();
    assert_eq!(
        (response.status(), response.bytes(1).unwrap().len()),
        (200, 0)
    );
}

#[test]
fn broken_answers_are_tried_again_and_then_told() {
    let good = || taxii(200, &[], &json!({"objects": [{"id": "a"}]}));
    // (what comes at first, whether it may come right later)
    type Make = fn() -> Reply;
    let cases: [(&str, Make, bool); 8] = [
        ("nothing", || raw(""), true),
        ("slow", || silence(Duration::from_secs(2)), true),
        (
            "half, without a length",
            || raw("HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"objects\":[{}"),
            true,
        ),
        (
            "empty",
            || answer(200, &["Content-Type: application/json"], ""),
            true,
        ),
        (
            "no JSON",
            || answer(200, &["Content-Type: application/json"], "{objects}"),
            false,
        ),
        (
            "no envelope",
            || answer(200, &["Content-Type: application/json"], "[1,2,3]"),
            false,
        ),
        (
            "no UTF-8",
            || {
                answer(
                    200,
                    &["Content-Type: application/json"],
                    b"{\"a\":\"\xff\"}",
                )
            },
            false,
        ),
        ("no HTTP", || raw("220 mail.example ESMTP\r\n\r\n"), false),
    ];
    for (what, bad, heals) in cases {
        let server = serve(move |_, number| if number == 0 { bad() } else { good() });
        let (_, pulled) = pull(&server, &of(10));
        match pulled {
            Ok(pulled) => assert!(heals && pulled.objects == 1, "{what}"),
            Err(error) => {
                assert!(!heals, "{what}: {error}");
                assert!(error.to_string().len() < 400, "{error}");
            }
        }
    }
}

#[test]
fn pages_that_are_too_large_are_asked_for_in_smaller_ones() {
    // 10 kB an object; the client takes 100 kB at once
    let server = serve(|asked, _| {
        let limit: usize = asked.query("limit").unwrap().parse().unwrap();
        let from: usize = asked.query("next").map_or(0, |next| next.parse().unwrap());
        let to = (from + limit).min(40);
        let text = "x".repeat(10_000);
        let objects: Vec<Value> = (from..to).map(|n| json!({"id": n, "text": text})).collect();
        let mut body = json!({ "objects": objects });
        if to < 40 {
            body["more"] = json!(true);
            body["next"] = json!(to.to_string());
        }
        taxii(200, &[], &body)
    });
    let limits = PullLimits {
        page_bytes: 100_000,
        ..of(1_000)
    };
    let (store, pulled) = pull(&server, &limits);
    assert_eq!((store.ids.len(), pulled.unwrap().objects), (40, 40));
    // one object alone is too large, and a bomb is, whatever is asked for
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"{\"objects\":[\"").unwrap();
    encoder.write_all(&vec![b' '; 8 << 20]).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 100_000);
    let server = serve(move |_, _| {
        let headers = [
            "Content-Type: application/json",
            "Content-Encoding: gzip",
            DATE,
        ];
        answer(200, &headers, bomb.clone())
    });
    let error = pull(&server, &limits).1.unwrap_err();
    let too_large = matches!(error.http().unwrap().cause, HttpCause::TooLarge(100_000));
    assert!(too_large, "{error}");
    assert!(server.asked().len() < 20);
}

#[test]
fn very_many_objects_pass_in_little_memory() {
    const PAGES: usize = 150;
    let filler = "x".repeat(900);
    let server = serve(move |asked, _| {
        let number: usize = asked.query("next").map_or(0, |next| next.parse().unwrap());
        let objects: Vec<Value> = (0..1_000)
            .map(|n| json!({"id": format!("{number}-{n}"), "text": filler}))
            .collect();
        let mut body = json!({ "objects": objects });
        if number + 1 < PAGES {
            body["more"] = json!(true);
            body["next"] = json!((number + 1).to_string());
        }
        taxii(200, &[], &body)
    });
    let client = client(&server);
    let collection = only_collection(&client);
    let (mut before, mut highest) = (0, 0);
    let pulled = client
        .pull(
            &collection,
            Cursor::START,
            &PullLimits::default(),
            &mut go_on,
            &mut |_, _, _| {
                if before == 0 {
                    before = resident();
                }
                highest = highest.max(resident());
                Ok::<(), Infallible>(())
            },
        )
        .unwrap();
    assert_eq!(pulled.objects, 1_000 * PAGES as u64);
    assert!(pulled.bytes > 130 << 20, "{}", pulled.bytes);
    // the server and other tests are in the same process
    assert!(
        highest - before.min(highest) < 100 << 20,
        "{before} to {highest}"
    );
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = status.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
