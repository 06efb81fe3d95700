//! The command while it watches an interface.

use super::Folder;
use super::lines;
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
pub(crate) struct Running {
    child: Child,
    said: Receiver<String>,
}

impl Running {
    /// Starts it in a folder; `None`: there is no permission to watch, which is said.
    pub(crate) fn start(folder: &Folder, arguments: &str) -> Option<Self> {
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

    pub(crate) fn wait_for(&self, part: &str) {
        let begin = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(begin.elapsed());
            let line = self.said.recv_timeout(left).expect("it says so in time");
            if line.contains(part) {
                return;
            }
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Asks it to end, and waits for it.
    pub(crate) fn end(mut self) {
        self.signal("-TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Running {
    /// Ends it as nobody can refuse.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks a port of this host for a name; nobody answers.
pub(crate) fn ask(port: u16, name: &str) {
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
pub(crate) fn port() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

/// The events, once there are so many.
pub(crate) fn events(folder: &Folder, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let written = fs::read_to_string(folder.path("e.jsonl")).unwrap_or_default();
        let whole = written.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let events = lines(whole);
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
