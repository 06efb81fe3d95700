//! What was committed stays, whatever happens.

use super::*;
use crate::time::Timestamp;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// A folder for one test, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("watchpost-store-{}-{made}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read_all(store: &SourceStore) -> Vec<String> {
    let mut read = Vec::new();
    for segment in store.segments() {
        let mut documents = store.documents(segment).unwrap();
        while let Some((mut document, length)) = documents.next_document().unwrap() {
            let mut text = String::new();
            document.read_to_string(&mut text).unwrap();
            assert_eq!(text.len() as u64, length);
            read.push(text);
        }
    }
    read
}

fn append(store: &mut SourceStore, documents: &[&str], cursor: &str) {
    let mut staging = store.begin(Mode::Append).unwrap();
    for document in documents {
        staging.add(document.as_bytes()).unwrap();
    }
    let staged = staging.finish().unwrap();
    staged.commit(Some(cursor.to_owned()), |_| {}).unwrap();
}

fn parcel(exchange: &str, id: &str) -> Parcel {
    Parcel {
        id: id.into(),
        exchange: exchange.into(),
        queued: Timestamp::from_nanos(1),
        body: format!("body of {id}\nsecond line").into_bytes(),
    }
}

fn ids(due: &[Due]) -> Vec<&str> {
    due.iter().map(|due| due.parcel.id.as_str()).collect()
}

#[test]
fn pages_and_cursor_become_true_together() {
    let folder = Folder::new();
    let pulls = State::open_sources(&folder.0).unwrap();
    let mut store = pulls.source("ec3", "a/../b").unwrap();
    assert_eq!((store.cursor(), read_all(&store).len()), (None, 0));
    append(&mut store, &["one", "two"], "2");
    let mut dropped = store.begin(Mode::Append).unwrap();
    dropped.add(b"never").unwrap();
    drop(dropped);
    append(&mut store, &["three"], "3");
    store.note(|meta| meta.failures = 7).unwrap();
    let again = pulls.source("ec3", "a/../b").unwrap();
    assert_eq!(read_all(&again), ["one", "two", "three"]);
    assert_eq!((again.cursor(), again.meta().failures), (Some("3"), 7));
    let staging = store.begin(Mode::Replace).unwrap();
    staging.finish().unwrap().commit(None, |_| {}).unwrap();
    let empty = pulls.source("ec3", "a/../b").unwrap();
    assert_eq!((empty.cursor(), read_all(&empty).len()), (None, 0));
    append(&mut store, &["four"], "4");
    let expected = [("ec3".to_owned(), "a/../b".to_owned())];
    assert_eq!(pulls.sources().unwrap().names, expected);
    store.forget().unwrap();
    assert_eq!(pulls.sources().unwrap().names, []);
}

#[test]
fn segments_stay_few_and_in_order() {
    let folder = Folder::new();
    let pulls = State::open_sources(&folder.0).unwrap();
    let mut store = pulls.source("ec3", "").unwrap();
    let documents: Vec<String> = (0..300).map(|n| format!("document {n:05}")).collect();
    for document in &documents {
        append(&mut store, &[document], document);
        assert!(store.segments().len() <= 10);
    }
    assert_eq!(read_all(&store), documents);
    assert_eq!(read_all(&pulls.source("ec3", "").unwrap()), documents);
}

#[test]
fn no_parcel_is_put_off_for_good_and_none_is_due_twice_in_a_push() {
    let folder = Folder::new();
    let state = State::open(&folder.0).unwrap();
    let mut outbox = state.outbox().unwrap();
    let now = Timestamp::from_parts(1_000, 0);
    for id in ["far", "soon"] {
        outbox.put(&parcel("ec3", id)).unwrap();
    }
    let soon = now + LONGEST_PAUSE;
    outbox.attempted("ec3", "soon", soon, "no").unwrap();
    // a clock was ahead by years
    let far = soon + LONGEST_PAUSE * 24 * 365;
    outbox.attempted("ec3", "far", far, "no").unwrap();
    let due = |now, tried: &[&str]| {
        let tried = tried.iter().map(ToString::to_string).collect();
        let due = outbox.due("ec3", now, 1, &tried).unwrap();
        due.into_iter().map(|due| due.parcel.id).collect::<Vec<_>>()
    };
    assert_eq!(due(now, &[]), ["far"]);
    assert!(due(now, &["far"]).is_empty());
    // those that were tried take no other's place
    assert_eq!(due(Timestamp::MAX, &["far"]), ["soon"]);
    assert!(due(Timestamp::MAX, &["far", "soon"]).is_empty());
}

#[test]
fn a_manifest_that_could_not_be_read_again_is_not_written() {
    let folder = Folder::new();
    let pulls = State::open_sources(&folder.0).unwrap();
    let mut store = pulls.source("ec3", "").unwrap();
    append(&mut store, &["a document"], "cursor");
    let long = "x".repeat(32 << 20);
    assert!(store.note(|meta| meta.last_error = Some(long)).is_err());
    assert_eq!(read_all(&store), ["a document"]);
    assert_eq!(read_all(&pulls.source("ec3", "").unwrap()), ["a document"]);
}

#[test]
fn parcels_are_put_once_and_settled_once() {
    let folder = Folder::new();
    let state = State::open(&folder.0).unwrap();
    let at = Timestamp::from_parts;
    let mut outbox = state.outbox().unwrap();
    assert_eq!(outbox.put(&parcel("ec3", "a")).unwrap(), Put::New);
    assert_eq!(outbox.put(&parcel("ec3", "a")).unwrap(), Put::Known);
    assert_eq!(outbox.put(&parcel("misp", "a")).unwrap(), Put::New);
    assert_eq!(outbox.put(&parcel("ec3", "b")).unwrap(), Put::New);
    outbox.attempted("ec3", "a", at(10, 0), "no route").unwrap();
    assert_eq!(
        ids(&outbox.due("ec3", at(9, 0), 9, &HashSet::new()).unwrap()),
        ["b"]
    );
    let due = outbox.due("ec3", at(10, 0), 9, &HashSet::new()).unwrap();
    assert_eq!(ids(&due), ["a", "b"]);
    assert_eq!(due[0].parcel, parcel("ec3", "a"));
    assert_eq!(
        (due[0].attempts, due[0].last_error.as_deref()),
        (1, Some("no route"))
    );
    assert_eq!(
        ids(&outbox.due("ec3", at(10, 0), 1, &HashSet::new()).unwrap()),
        ["a"]
    );
    let refused = Outcome::Refused {
        reason: "no".into(),
    };
    outbox
        .settle("ec3", "a", refused.clone(), at(11, 0))
        .unwrap();
    outbox
        .settle("ec3", "a", Outcome::Accepted, at(12, 0))
        .unwrap();
    outbox
        .settle("ec3", "unknown", Outcome::Accepted, at(12, 0))
        .unwrap();
    for opened in [outbox, state.outbox().unwrap()] {
        assert_eq!(opened.outcome("ec3", "a"), Some(Some(&refused)));
        assert_eq!(opened.outcome("ec3", "b"), Some(None));
        assert_eq!(opened.outcome("ec3", "unknown"), None);
        let counts = opened.counts();
        assert_eq!((counts["ec3"].pending, counts["ec3"].refused), (1, 1));
        assert_eq!(counts["misp"].pending, 1);
    }
    assert_eq!(
        state.outbox().unwrap().put(&parcel("ec3", "a")).unwrap(),
        Put::Known
    );
}

#[test]
fn a_journal_grows_small_again() {
    let folder = Folder::new();
    let state = State::open(&folder.0).unwrap();
    let mut outbox = state.outbox().unwrap();
    let mut big = parcel("ec3", "");
    big.body = vec![b'x'; 100_000];
    for n in 0..100 {
        big.id = format!("p{n:03}");
        outbox.put(&big).unwrap();
        outbox
            .attempted("ec3", &big.id, Timestamp::MIN, "again")
            .unwrap();
    }
    let now = Timestamp::from_parts(1_000, 0);
    for n in 0..99 {
        outbox
            .settle("ec3", &format!("p{n:03}"), Outcome::Accepted, now)
            .unwrap();
    }
    outbox.sync(now).unwrap();
    let length = fs::metadata(folder.0.join("outbox.journal")).unwrap().len();
    assert!(length < 200_000, "{length}");
    outbox.put(&parcel("ec3", "after")).unwrap();
    for opened in [outbox, state.outbox().unwrap()] {
        let due = opened.due("ec3", now, 9, &HashSet::new()).unwrap();
        assert_eq!(ids(&due), ["after", "p099"]);
        assert_eq!((due[1].parcel.body.len(), due[1].attempts), (100_000, 1));
        assert_eq!(opened.counts()["ec3"].accepted, 99);
    }
}

#[test]
fn one_process_writes_and_others_read() {
    let folder = Folder::new();
    assert!(State::open_shared(&folder.0).is_err());
    let state = State::open(&folder.0).unwrap();
    let pulls = State::open_sources(&folder.0).unwrap();
    let refused = State::open(&folder.0).unwrap_err().to_string();
    let expected = format!(
        "in use by another watchpost (process {})",
        std::process::id()
    );
    assert!(refused.contains(&expected), "{refused}");
    append(&mut pulls.source("ec3", "").unwrap(), &["one"], "1");
    let shared = State::open_shared(&folder.0).unwrap();
    assert_eq!(read_all(&shared.source("ec3", "").unwrap()), ["one"]);
    assert!(
        shared
            .source("ec3", "")
            .unwrap()
            .begin(Mode::Append)
            .is_err()
    );
    drop(state);
    State::open(&folder.0).unwrap();
    fs::write(folder.0.join("format"), "watchpost state 99\n").unwrap();
    let newer = State::open(&folder.0).unwrap_err().to_string();
    assert!(newer.contains("newer"), "{newer}");
    let foreign = Folder::new();
    fs::create_dir_all(&foreign.0).unwrap();
    fs::write(foreign.0.join("photo.jpg"), "x").unwrap();
    let error = State::open(&foreign.0).unwrap_err().to_string();
    assert!(error.contains("not a state folder"), "{error}");
}

#[test]
fn refuted_indicators_are_kept() {
    let folder = Folder::new();
    let state = State::open(&folder.0).unwrap();
    let entry = RefutedEntry {
        at: Timestamp::from_parts(7, 0),
        why: "our own scanner".into(),
        source: "ec3".into(),
    };
    let mut refuted = state.refuted().unwrap();
    assert!(refuted.add("indicator--1", entry.clone()).unwrap());
    assert!(!refuted.add("indicator--1", entry.clone()).unwrap());
    assert_eq!(state.refuted().unwrap().get("indicator--1"), Some(&entry));
    assert!(refuted.remove("indicator--1").unwrap());
    assert!(!refuted.remove("indicator--1").unwrap());
    assert_eq!(state.refuted().unwrap().iter().count(), 0);
}

/// Every file that is cut off anywhere, or has one byte changed: what opens is what was there
/// before the damage, and the damage is told.
#[test]
fn damage_costs_what_it_hit_and_is_told() {
    let make = || {
        let folder = Folder::new();
        let state = State::open(&folder.0).unwrap();
        let pulls = State::open_sources(&folder.0).unwrap();
        append(
            &mut pulls.source("ec3", "").unwrap(),
            &["a long first document"],
            "1",
        );
        append(&mut pulls.source("ec3", "").unwrap(), &["two"], "2");
        let mut outbox = state.outbox().unwrap();
        for id in ["a", "b"] {
            outbox.put(&parcel("ec3", id)).unwrap();
        }
        folder
    };
    let files = |folder: &Path| {
        let mut files = vec![folder.join("outbox.journal")];
        let sources = fs::read_dir(folder.join("sources")).unwrap();
        for source in sources {
            let entries = fs::read_dir(source.unwrap().path()).unwrap();
            files.extend(entries.map(|entry| entry.unwrap().path()));
        }
        files.sort();
        files
    };
    let count = files(&make().0).len();
    assert_eq!(count, 4);
    for number in 0..count {
        let length = fs::metadata(&files(&make().0)[number]).unwrap().len();
        let step = (length as usize / 40).max(1);
        for at in (0..length as usize).step_by(step) {
            for flip in [true, false] {
                let folder = make();
                let path = &files(&folder.0)[number];
                let mut bytes = fs::read(path).unwrap();
                if flip {
                    bytes[at] ^= 0x20;
                } else {
                    bytes.truncate(at);
                }
                fs::write(path, &bytes).unwrap();
                let case = format!("{} at {at}, flip: {flip}", path.display());
                let state = State::open(&folder.0).unwrap();
                let pulls = State::open_sources(&folder.0).unwrap();
                let (store, outbox) = match (pulls.source("ec3", ""), state.outbox()) {
                    (Ok(store), Ok(outbox)) => (store, outbox),
                    // a version is what it says
                    (Err(StoreError::Newer { .. }), _) | (_, Err(StoreError::Newer { .. })) => {
                        continue;
                    }
                    (store, outbox) => panic!("{case}: {store:?} {outbox:?}"),
                };
                let read = read_all(&store);
                if path.ends_with("outbox.journal") {
                    let due = outbox
                        .due("ec3", Timestamp::MAX, 9, &HashSet::new())
                        .unwrap();
                    let kept = ids(&due);
                    assert!(["a", "b"].starts_with(&kept), "{case}: {kept:?}");
                    // one that was cut between two records is not to be told from a shorter one
                    let told = outbox.damage().is_some();
                    assert!(told || (!flip && kept.len() < 2), "{case}");
                    assert_eq!((read.len(), store.cursor()), (2, Some("2")), "{case}");
                } else {
                    assert_eq!(store.damages().len(), 1, "{case}");
                    assert_eq!(store.cursor(), None, "{case}");
                    assert!(read.len() < 2, "{case}: {read:?}");
                    assert!(read.iter().all(|d| d == "two" || d.starts_with("a long")));
                }
                // and it can be written again
                let mut store = store;
                append(&mut store, &["three"], "3");
                let mut outbox = outbox;
                outbox.put(&parcel("ec3", "c")).unwrap();
                let (store, outbox) = (pulls.source("ec3", "").unwrap(), state.outbox().unwrap());
                assert_eq!(
                    read_all(&store).last().map(String::as_str),
                    Some("three"),
                    "{case}"
                );
                assert!(
                    store.damages().is_empty() && outbox.damage().is_none(),
                    "{case}"
                );
                assert_eq!(outbox.outcome("ec3", "c"), Some(None), "{case}");
            }
        }
    }
}

/// Set for a copy of this program that is to be killed: the state folder.
const VICTIM: &str = "WATCHPOST_STORE_VICTIM";

/// What the victim does for ever: pulls pages with numbers, makes a parcel of each, and settles
/// some. It writes down what it was told is done.
#[test]
fn victim() {
    let Some(folder) = std::env::var_os(VICTIM) else {
        return;
    };
    let state = State::open(Path::new(&folder)).unwrap();
    let pulls = State::open_sources(Path::new(&folder)).unwrap();
    let mut store = pulls.source("ec3", "").unwrap();
    let mut outbox = state.outbox().unwrap();
    let mut done = File::options()
        .append(true)
        .create(true)
        .open(Path::new(&folder).with_extension("done"))
        .unwrap();
    // in one write, so that no line is torn by a kill
    let mut log = |line: String| done.write_all((line + "\n").as_bytes()).unwrap();
    loop {
        let next: u64 = store.cursor().map_or(0, |cursor| cursor.parse().unwrap());
        let pages: Vec<String> = (next..next + 3).map(|n| n.to_string()).collect();
        let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
        append(&mut store, &pages, &(next + 3).to_string());
        log(format!("page {}", next + 2));
        // what the last run pulled and did not get to
        let from = next.saturating_sub(30);
        for n in from..next + 3 {
            if outbox.put(&parcel("ec3", &n.to_string())).unwrap() == Put::New {
                log(format!("put {n}"));
            }
        }
        let now = Timestamp::from_parts(n_seconds(next), 0);
        for due in outbox.due("ec3", now, 2, &HashSet::new()).unwrap() {
            // what was sent is written before it is settled, as an exchange would
            log(format!("sent {}", due.parcel.id));
            outbox
                .settle("ec3", &due.parcel.id, Outcome::Accepted, now)
                .unwrap();
            log(format!("settled {}", due.parcel.id));
        }
        outbox.sync(now).unwrap();
    }
}

const fn n_seconds(n: u64) -> u64 {
    1_000 + n
}

#[test]
fn killed_at_any_moment_nothing_is_lost_or_doubled() {
    let rounds = std::env::var("WATCHPOST_KILL_ROUNDS");
    let rounds: u32 = rounds.ok().and_then(|n| n.parse().ok()).unwrap_or(40);
    let folder = Folder::new();
    let done = folder.0.with_extension("done");
    let _ = fs::remove_file(&done);
    let program = std::env::current_exe().unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let begin = Instant::now();
    for round in 0..rounds {
        let mut child = Command::new(&program)
            .args(["--exact", "store::tests::victim", "--test-threads=1"])
            .env(VICTIM, &folder.0)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        // from before it opens anything to some dozens of turns
        thread::sleep(Duration::from_micros(2_000 + seed % 60_000));
        child.kill().unwrap();
        assert_eq!(
            child.wait().unwrap().signal(),
            Some(9),
            "round {round}: it ended by itself"
        );
        if !folder.0.join("format").exists() {
            continue;
        }
        let state = State::open(&folder.0).unwrap();
        let pulls = State::open_sources(&folder.0).unwrap();
        let store = pulls.source("ec3", "").unwrap();
        let outbox = state.outbox().unwrap();
        assert_eq!(store.damages(), [""; 0], "round {round}");
        let pages = read_all(&store);
        let cursor: u64 = store.cursor().map_or(0, |cursor| cursor.parse().unwrap());
        let expected: Vec<String> = (0..cursor).map(|n| n.to_string()).collect();
        assert_eq!(pages, expected, "round {round}: cursor and pages");
        let text = fs::read_to_string(&done).unwrap_or_default();
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        for line in whole.lines() {
            let (what, n) = line.split_once(' ').unwrap();
            match what {
                "page" => assert!(n.parse::<u64>().unwrap() < cursor, "round {round}: {line}"),
                "settled" => {
                    let accepted = Some(Some(&Outcome::Accepted));
                    assert_eq!(outbox.outcome("ec3", n), accepted, "round {round}: {line}");
                }
                _ => assert!(outbox.outcome("ec3", n).is_some(), "round {round}: {line}"),
            }
        }
        let mut settled: Vec<&str> = whole
            .lines()
            .filter_map(|l| l.strip_prefix("settled "))
            .collect();
        let count = settled.len();
        settled.sort_unstable();
        settled.dedup();
        assert_eq!(settled.len(), count, "round {round}: settled twice");
    }
    let state = State::open(&folder.0).unwrap();
    let pulls = State::open_sources(&folder.0).unwrap();
    let pages = read_all(&pulls.source("ec3", "").unwrap()).len();
    let parcels = state.outbox().unwrap().counts()["ec3"];
    println!(
        "{rounds} kills in {:.1} s: {pages} pages, {} parcels settled, {} wait",
        begin.elapsed().as_secs_f64(),
        parcels.accepted,
        parcels.pending
    );
    assert!(pages > 0 && parcels.accepted > 0);
    let _ = fs::remove_file(&done);
}
