//! The sensor on a real interface: loopback, filtered to a port of the test's own.

mod common;

use common::Folder;
use common::live::Running;
use common::live::ask;
use common::live::events;
use common::live::port;
use common::text;
use std::thread;
use std::time::Duration;
use std::time::Instant;

#[test]
fn what_comes_is_matched_at_once() {
    let folder = Folder::new();
    let (_socket, port) = port();
    folder.write("list.txt", "evil.example\n127.0.0.1\n");
    let Some(running) = Running::start(
        &folder,
        &format!(
            "run|-i|lo|--intel|list.txt|--events|e.jsonl|--stats|s.json|--filter|udp port {port}"
        ),
    ) else {
        return;
    };
    ask(port, "evil.example");
    ask(port, "good.example");
    let begin = Instant::now();
    // two flows with the address of this host, one with the name
    let found = events(&folder, 3);
    println!("told after {:?}", begin.elapsed());
    let names: Vec<&str> = found.iter().map(|e| text(e, "/observable/value")).collect();
    assert_eq!(names.iter().filter(|n| **n == "127.0.0.1").count(), 2);
    assert_eq!(names.iter().filter(|n| **n == "evil.example").count(), 1);
    assert_eq!(text(&found[0], "/alert/action"), "allowed");
    running.end();
    let stats = folder.json("s.json");
    assert_eq!(
        (&stats["packets"], &stats["matches"]),
        (&2.into(), &3.into())
    );
    assert_eq!(stats["drops"], serde_json::json!({}));
    assert_eq!(stats["captures"][0]["file"], "lo");
}

#[test]
fn what_partners_add_matches_without_a_restart() {
    let folder = Folder::new();
    let (_socket, port) = port();
    folder.write("partners/list.txt", "first.example\n");
    folder.write(
        "wp.toml",
        "[sensor]\nname = 'gateway-1'\nstate = 'state'\ninterfaces = ['lo']\n\
         [[exchange]]\nname = 'ec3'\nkind = 'folder'\npath = 'partners'\n",
    );
    let Some(running) = Running::start(
        &folder,
        &format!("run|--config|wp.toml|--events|e.jsonl|--stats|s.json|--filter|udp port {port}"),
    ) else {
        return;
    };
    // it began with nothing, and has asked the exchange
    running.wait_for("1 indicators from now on");
    // taken over between two blocks
    thread::sleep(Duration::from_millis(300));
    ask(port, "second.example");
    ask(port, "first.example");
    assert_eq!(
        text(&events(&folder, 1)[0], "/observable/value"),
        "first.example"
    );
    folder.write("partners/more.txt", "second.example\n");
    running.signal("-HUP");
    running.wait_for("2 indicators from now on");
    thread::sleep(Duration::from_millis(300));
    ask(port, "second.example");
    let found = events(&folder, 2);
    assert_eq!(text(&found[1], "/observable/value"), "second.example");
    assert_eq!(text(&found[1], "/indicator/source"), "ec3");
    running.end();
    let stats = folder.json("s.json");
    assert_eq!((&stats["packets"], &stats["swaps"]), (&3.into(), &2.into()));
    let pause = stats["longest_swap_seconds"].as_f64().unwrap();
    println!("longest pause by a swap: {pause:.6} s");
    assert_eq!(stats["indicators"]["loaded"], 2);
}

#[test]
fn what_cannot_be_watched_is_said() {
    let folder = Folder::new();
    folder.write("list.txt", "evil.example\n");
    for (arguments, part) in [
        ("run --intel list.txt", "no interface is named"),
        (
            "run -i nosuch0 --intel list.txt",
            "nosuch0: cannot be watched",
        ),
        ("run -i lo --intel absent.txt", "absent.txt"),
        ("run -i lo", "--intel"),
        ("run --config absent.toml", "absent.toml"),
    ] {
        let ran = folder.run(arguments).exits(2);
        let is_allowed = !ran.err.contains("no permission");
        assert!(
            !is_allowed || ran.err.contains(part),
            "{arguments}: {}",
            ran.err
        );
    }
}
