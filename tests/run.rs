//! The sensor on a real interface: loopback, filtered to a port of the test's own.

mod common;

use common::Folder;
use common::text;
use serde_json::Value;
use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::net::UdpSocket;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command while it runs; ended with it.
struct Running {
    child: Child,
    said: Receiver<String>,
}

impl Running {
    /// Starts it in a folder; `None`: there is no permission to watch, which is said.
    fn start(folder: &Folder, arguments: &str) -> Option<Self> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_watchpost"))
            .args(arguments.split('|'))
            .current_dir(folder.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut running = Self { child, said };
        let first = running.said.recv_timeout(PATIENCE).unwrap_or_default();
        if first.contains("no permission") {
            println!("skipped: {first}");
            running.child.wait().unwrap();
            return None;
        }
        assert!(first.contains("watching lo"), "{first}");
        Some(running)
    }

    fn wait_for(&self, part: &str) {
        let begin = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let line = self.said.recv_timeout(left).expect("it says so in time");
            if line.contains(part) {
                return;
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Asks it to end, and waits for it.
    fn end(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a port of this host for a name; nobody answers.
fn ask(port: u16, name: &str) {
    let mut query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00".to_vec();
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.send_to(&query, (Ipv4Addr::LOCALHOST, port)).unwrap();
}

/// A port that nobody else uses while the socket lives.
fn port() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// The events, once there are so many.
fn events(folder: &Folder, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let written = fs::read_to_string(folder.path("e.jsonl")).unwrap_or_default();
        let whole = written.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = common::lines(whole);
        if events.len() >= count {
            return events;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "{} of {count} events",
            events.len()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

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
