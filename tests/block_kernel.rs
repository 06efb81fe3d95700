//! Blocking, as the kernel does it: client, gateway and server in network namespaces of their
//! own, with real traffic between them.
//!
//! Needs root and `ip`; says "skipped" where it has not. A test runs twice: outside, where it
//! makes the namespaces and starts itself again in that of the gateway; and there.

mod common;

use std::collections::BTreeMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::net::UdpSocket;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use watchpost::block::Backend;
use watchpost::block::Cause;
use watchpost::block::Element;
use watchpost::block::Held;
use watchpost::block::host;
use watchpost::block::netfilter::Netfilter;
use watchpost::block::netfilter::Renewal;
use watchpost::block::never::Limits;
use watchpost::block::never::NeverBlock;
use watchpost::block::plan::Plan;
use watchpost::time::Timestamp;

/// In the environment of a test that runs in the gateway: the prefix of the namespaces.
const LAB: &str = "WATCHPOST_TEST_LAB";

/// In the environment of a process that serves or asks: what it does.
const ROLE: &str = "WATCHPOST_TEST_ROLE";

/// The server's addresses, and the client's.
const SERVER: [&str; 4] = [
    "198.51.100.2",
    "198.51.100.10",
    "198.51.100.11",
    "198.51.100.12",
];
const SERVER6: [&str; 3] = ["2001:db8:2::2", "2001:db8:2::10", "2001:db8:2::11"];
const CLIENT: &str = "192.0.2.2";

/// Ports that are served, by TCP and UDP.
const PORTS: [u16; 2] = [7001, 7002];

/// How long an answer is awaited.
const PATIENCE: Duration = Duration::from_secs(2);

#[test]
fn elements_stop_their_traffic_and_nothing_else() {
    in_lab("elements_stop_their_traffic_and_nothing_else", |lab| {
        let everything = [
            "tcp 198.51.100.2 7001",
            "tcp 198.51.100.10 7001",
            "tcp 198.51.100.11 7001",
            "tcp 198.51.100.11 7002",
            "udp 198.51.100.10 7001",
            "udp 198.51.100.11 7001",
            "udp 198.51.100.2 7001",
            "tcp 2001:db8:2::2 7001",
            "tcp 2001:db8:2::10 7001",
            "udp 2001:db8:2::10 7001",
            "tcp 2001:db8:2::11 7001",
            "tcp 2001:db8:2::11 7002",
        ];
        for question in everything {
            assert_eq!(lab.client(question), "open", "{question}");
        }
        assert_eq!(lab.server("udp-from 198.51.100.10 192.0.2.2 7001"), "open");

        let has_python = common::python_has("socket");
        if has_python {
            assert_eq!(lab.client("echo 198.51.100.10"), "open");
        }

        let mut firewall = open();
        let plan = plan(&[
            ("198.51.100.10", 3_600),
            ("2001:db8:2::10", 3_600),
            ("198.51.100.11:7001/tcp", 3_600),
            ("[2001:db8:2::11]:7001/tcp", 3_600),
        ]);
        let synced = firewall.sync(&plan, now()).unwrap();
        assert_eq!((synced.added, synced.restored), (4, true), "{synced:?}");
        for question in everything {
            let is_blocked = question.contains("::10 ")
                || question.contains(".10 ")
                || question.starts_with("tcp") && question.contains("11 7001");
            let wanted = if is_blocked { "refused" } else { "open" };
            assert_eq!(lab.client(question), wanted, "{question}");
        }
        if has_python {
            assert_eq!(lab.client("echo 198.51.100.10"), "refused");
            assert_eq!(lab.client("echo 198.51.100.11"), "open");
        }
        // from it: nothing comes, and it is not answered
        assert_eq!(
            lab.server("udp-from 198.51.100.10 192.0.2.2 7001"),
            "silent"
        );
        assert_eq!(lab.server("udp-from 198.51.100.12 192.0.2.2 7001"), "open");
        // the gateway's own traffic
        for (question, wanted) in [
            ("tcp 198.51.100.10 7001", "refused"),
            ("tcp 2001:db8:2::10 7001", "refused"),
            ("udp 198.51.100.10 7001", "refused"),
            ("tcp 198.51.100.2 7001", "open"),
            ("tcp 198.51.100.11 7001", "refused"),
            ("tcp 198.51.100.11 7002", "open"),
        ] {
            assert_eq!(ask(question), wanted, "from the gateway: {question}");
        }

        let held = listed(&mut firewall);
        assert_eq!(held.len(), 4);
        let met = &held["198.51.100.10"];
        assert!(met.packets >= 3 && met.bytes >= 120, "{met:?}");
        assert_eq!(&*met.indicator, "indicator--198.51.100.10");
        assert_eq!(met.cause, Some(Cause::Intel));
        let remaining = met.remaining.unwrap();
        assert!(remaining.as_secs() > 3_500 && remaining.as_secs() <= 3_600);
        assert!(held["[2001:db8:2::11]:7001/tcp"].packets > 0);

        if let Some(text) = nft(&["list", "set", "inet", "watchpost", "hosts4"]) {
            assert!(
                text.contains("comment \"intel indicator--198.51.100.10\""),
                "{text}"
            );
        }

        let synced = firewall.sync(&Plan::default(), now()).unwrap();
        assert_eq!(synced.removed, 4);
        for question in everything {
            assert_eq!(lab.client(question), "open", "{question}");
        }
    });
}

#[test]
fn what_is_over_passes_with_nobody_there() {
    in_lab("what_is_over_passes_with_nobody_there", |lab| {
        let began = Instant::now();
        let plan = plan(&[
            ("198.51.100.10", 4),
            ("198.51.100.11:7001/tcp", 4),
            // nested: the wider ends first
            ("2001:db8:2::10/124", 4),
            ("2001:db8:2::10/128", 3_600),
        ]);
        {
            let mut firewall = open();
            firewall.sync(&plan, now()).unwrap();
        }
        let questions = [
            "tcp 198.51.100.10 7001",
            "tcp 198.51.100.11 7001",
            "tcp 2001:db8:2::11 7001",
        ];
        for question in questions {
            assert_eq!(lab.client(question), "refused", "{question}");
        }
        assert!(began.elapsed() < Duration::from_secs(4), "too slow to tell");
        thread::sleep(Duration::from_millis(4_200).saturating_sub(began.elapsed()));
        for question in questions {
            assert_eq!(lab.client(question), "open", "{question}");
        }
        assert_eq!(lab.client("tcp 2001:db8:2::10 7001"), "refused");
        assert_eq!(listed(&mut open()).len(), 1);
    });
}

#[test]
fn networks_are_blocked_to_their_borders() {
    in_lab("networks_are_blocked_to_their_borders", |lab| {
        let mut firewall = open();
        let began = Instant::now();
        // 8 to 15 for a moment, 10 and 11 of them for longer
        let short = plan(&[
            ("198.51.100.8/29", 4),
            ("198.51.100.10/31", 3_600),
            ("2001:db8:2::10/125", 3_600),
        ]);
        firewall.sync(&short, now()).unwrap();
        for (question, wanted) in [
            ("tcp 198.51.100.10 7001", "refused"),
            ("tcp 198.51.100.11 7001", "refused"),
            ("tcp 198.51.100.12 7001", "refused"),
            ("tcp 198.51.100.2 7001", "open"),
            ("tcp 2001:db8:2::10 7001", "refused"),
            ("udp 2001:db8:2::11 7001", "refused"),
            ("tcp 2001:db8:2::2 7001", "open"),
        ] {
            assert_eq!(lab.client(question), wanted, "{question}");
        }
        assert!(began.elapsed() < Duration::from_secs(4), "too slow to tell");
        let keys: Vec<String> = listed(&mut firewall).into_keys().collect();
        assert_eq!(
            keys,
            [
                "198.51.100.10/31",
                "198.51.100.12/30",
                "198.51.100.8/31",
                "2001:db8:2::10/125"
            ]
        );
        thread::sleep(Duration::from_millis(4_200).saturating_sub(began.elapsed()));
        assert_eq!(lab.client("tcp 198.51.100.12 7001"), "open");
        assert_eq!(lab.client("tcp 198.51.100.11 7001"), "refused");

        // one address is let go out of it, and what was counted stays
        let before = listed(&mut firewall)["198.51.100.10/31"].packets;
        assert!(before > 0);
        assert!(firewall.release("198.51.100.11".parse().unwrap()).unwrap());
        assert_eq!(lab.client("tcp 198.51.100.11 7001"), "open");
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
        assert!(listed(&mut firewall)["198.51.100.10"].packets > before);

        // whatever is blocked, what is protected is not
        let own = plan(&[("198.51.100.0/24", 3_600)]);
        firewall.sync(&own, now()).unwrap();
        assert_eq!(lab.client("tcp 198.51.100.2 7001"), "refused");
        assert_eq!(lab.client("tcp 198.51.100.1 7001"), "open");
    });
}

#[test]
fn what_others_flush_is_put_back() {
    in_lab("what_others_flush_is_put_back", |lab| {
        let question = "tcp 198.51.100.10 7001";
        let plan = plan(&[("198.51.100.10", 3_600), ("203.0.113.0/24", 3_600)]);
        let mut firewall = open();
        assert!(firewall.is_disturbed().unwrap());
        firewall.sync(&plan, now()).unwrap();
        assert!(!firewall.is_disturbed().unwrap());
        assert_eq!(lab.client(question), "refused");

        open().flush().unwrap();
        assert_eq!(lab.client(question), "open");
        assert!(firewall.is_disturbed().unwrap());
        let synced = firewall.sync(&plan, now()).unwrap();
        assert_eq!((synced.added, synced.restored), (2, true));
        assert!(!firewall.is_disturbed().unwrap());
        assert_eq!(lab.client(question), "refused");

        // one element only
        assert!(open().release("198.51.100.10".parse().unwrap()).unwrap());
        assert!(firewall.is_disturbed().unwrap());
        let synced = firewall.sync(&plan, now()).unwrap();
        assert_eq!((synced.added, synced.restored), (1, false));
        assert_eq!(lab.client(question), "refused");

        // with the usual tool: everything, the rules, a chain, the elements of a set; the table
        // put to sleep
        for arguments in [
            &["flush", "ruleset"][..],
            &["flush", "table", "inet", "watchpost"],
            &["flush", "chain", "inet", "watchpost", "to4"],
            &["flush", "set", "inet", "watchpost", "hosts4"],
            &["flush", "set", "inet", "watchpost", "allow4"],
            &["add", "table", "inet", "watchpost", "{ flags dormant; }"],
        ] {
            if nft(arguments).is_none() {
                break;
            }
            assert!(firewall.is_disturbed().unwrap(), "{arguments:?}");
            firewall.sync(&plan, now()).unwrap();
            assert!(!firewall.is_disturbed().unwrap(), "{arguments:?}");
            assert_eq!(lab.client(question), "refused", "{arguments:?}");
            assert!(!open().allowed().unwrap().is_empty());
        }
        // somebody else's table is left alone, whatever we do
        if nft(&["add", "table", "inet", "other"]).is_some() {
            assert!(firewall.is_disturbed().unwrap());
            let synced = firewall.sync(&plan, now()).unwrap();
            assert_eq!(synced, Default::default());
            firewall.flush().unwrap();
            let left = nft(&["list", "tables"]).unwrap();
            assert_eq!(left.trim(), "table inet other");
        }
        firewall.flush().unwrap();
        firewall.flush().unwrap();
        assert_eq!(lab.client(question), "open");
    });
}

#[test]
fn a_pause_lets_everything_pass_and_forgets_nothing() {
    in_lab("a_pause_lets_everything_pass_and_forgets_nothing", |lab| {
        let mut firewall = open();
        let mut talk = lab.talk("198.51.100.10 7001");
        assert_eq!(talk.say(), "open");
        firewall
            .sync(&plan(&[("198.51.100.10", 3_600)]), now())
            .unwrap();
        // a connection that is open ends, and is told so
        assert_eq!(talk.say(), "refused");
        for question in ["tcp 198.51.100.10 7001", "udp 198.51.100.10 7001"] {
            assert_eq!(lab.client(question), "refused");
            firewall.pause().unwrap();
            firewall.pause().unwrap();
            assert!(firewall.is_paused().unwrap());
            assert_eq!(lab.client(question), "open");
            assert_eq!(listed(&mut firewall).len(), 1);
            firewall.resume().unwrap();
            firewall.resume().unwrap();
            assert!(!firewall.is_paused().unwrap());
            assert_eq!(lab.client(question), "refused");
        }
        // a new plan does not end a pause
        firewall.pause().unwrap();
        firewall
            .sync(&plan(&[("198.51.100.11", 3_600)]), now())
            .unwrap();
        assert!(open().is_paused().unwrap());
        assert_eq!(lab.client("tcp 198.51.100.11 7001"), "open");
    });
}

#[test]
fn leases_are_renewed_and_counters_kept() {
    in_lab("leases_are_renewed_and_counters_kept", |lab| {
        for renewal in [None, Some(Renewal::AddAgain), Some(Renewal::Replace)] {
            let lease = Duration::from_secs(4);
            let mut firewall = open().with_lease(lease);
            if let Some(renewal) = renewal {
                firewall = firewall.with_renewal(renewal);
            }
            let keys = [
                "198.51.100.10",
                "198.51.100.12/30",
                "198.51.100.11:7001/tcp",
            ];
            let wanted = plan(&keys.map(|key| (key, 3_600)));
            assert_eq!(firewall.sync(&wanted, now()).unwrap().added, 3);
            assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
            assert_eq!(lab.client("tcp 198.51.100.12 7001"), "refused");
            let synced = firewall.sync(&wanted, now()).unwrap();
            assert_eq!(synced, Default::default(), "{renewal:?}");
            thread::sleep(Duration::from_millis(2_500));
            let synced = firewall.sync(&wanted, now()).unwrap();
            assert_eq!(synced.renewed, 3, "{renewal:?} {synced:?}");
            let held = listed(&mut firewall);
            for key in keys {
                let remaining = held[key].remaining.unwrap();
                assert!(
                    remaining > Duration::from_secs(3) && remaining <= lease,
                    "{renewal:?}: {key} {remaining:?}"
                );
            }
            assert!(held["198.51.100.10"].packets > 0, "{renewal:?}");
            assert!(held["198.51.100.12/30"].packets > 0, "{renewal:?}");
            assert!(!firewall.is_disturbed().unwrap());

            // what ends sooner is cut short, and goes to whom it is for now
            let mut sooner = elements(&[("198.51.100.10", 2)]);
            sooner[0].indicator = "indicator--other".into();
            let synced = firewall.sync(&Plan::new(&sooner, now()), now()).unwrap();
            assert_eq!((synced.renewed, synced.removed), (1, 2), "{renewal:?}");
            let held = listed(&mut firewall);
            let held = &held["198.51.100.10"];
            assert!(held.remaining.unwrap() <= Duration::from_secs(2));
            assert_eq!(&*held.indicator, "indicator--other");
            assert!(held.packets > 0);
            firewall.flush().unwrap();
        }
    });
}

#[test]
fn what_is_blocked_by_hand_stays_through_plans() {
    in_lab("what_is_blocked_by_hand_stays_through_plans", |lab| {
        let mut firewall = open();
        let planned = plan(&[("198.51.100.11", 3_600)]);
        firewall.sync(&planned, now()).unwrap();
        let folder = common::Folder::new();
        for (arguments, code, said) in [
            ("block add 198.51.100.10 --for 2h --why noise", 0, ""),
            ("block add 198.51.100.12/31 --for 2h", 0, ""),
            ("block add 198.51.100.10 --for 1h", 0, "for as long already"),
            (
                "block add 198.51.100.1 --for 1h",
                2,
                "an address of this host",
            ),
            ("block add 198.51.100.0/24 --for 1h", 2, "198.51.100.1 is"),
            ("block add ::1 --for 1h", 2, "loopback"),
            ("block add example.org --for 1h", 2, "neither an address"),
            ("block add 198.51.100.10 --for ever", 2, "such as 90m"),
            ("block add 198.51.100.10", 2, "--for"),
            ("block release 198.51.100.99", 2, "is not blocked"),
        ] {
            let _ = folder.run(arguments).exits(code).says(&[said]);
        }
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
        assert!(firewall.is_disturbed().unwrap());
        firewall.sync(&planned, now()).unwrap();
        firewall.sync(&Plan::default(), now()).unwrap();
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
        assert_eq!(lab.client("tcp 198.51.100.12 7001"), "refused");
        assert_eq!(lab.client("tcp 198.51.100.11 7001"), "open");

        // root, without the one right that it takes
        let denied = Command::new("setpriv")
            .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])
            .arg(env!("CARGO_BIN_EXE_watchpost"))
            .args(["block", "list"])
            .output();
        match denied {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(output.status.code(), Some(1), "{said}");
                assert!(said.contains("run as root or with CAP_NET_ADMIN"), "{said}");
            }
            Err(_) => println!("skipped: setpriv is not installed"),
        }

        let ran = folder.run("block list").exits(0).says_nothing();
        assert!(ran.out.contains("operator noise"), "{}", ran.out);
        let told = folder.run("block list --json").exits(0).json();
        let element = &told["elements"][0];
        assert_eq!(element["target"], "198.51.100.10");
        assert_eq!(element["indicator"], "noise");
        assert!(element["remaining_seconds"].as_u64().unwrap() > 7_000);
        assert!(element["packets"].as_u64().unwrap() > 0);
        let _ = folder.run("block pause").exits(0);
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "open");
        let told = folder.run("block list --json").exits(0).json();
        assert_eq!(told["paused"], true);
        let _ = folder.run("block resume").exits(0).says_nothing();
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
        let _ = folder.run("block release 198.51.100.10").exits(0);
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "open");
        let _ = folder.run("block flush").exits(0).says_nothing();
        let ran = folder.run("block list").exits(0).says_nothing();
        assert_eq!(ran.out, "nothing is blocked\n");
    });
}

#[test]
fn matches_are_added_one_by_one() {
    in_lab("matches_are_added_one_by_one", |lab| {
        let mut firewall = open();
        let added = |firewall: &mut Netfilter, target: &str, seconds| {
            let mut elements = elements(&[(target, seconds)]);
            elements[0].cause = Cause::Match;
            firewall.add(&elements, now()).unwrap()
        };
        assert_eq!(added(&mut firewall, "198.51.100.10", 60), 1);
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
        // held until the later end
        assert_eq!(added(&mut firewall, "198.51.100.10", 30), 0);
        assert_eq!(added(&mut firewall, "198.51.100.10", 90), 1);
        assert_eq!(added(&mut firewall, "198.51.100.12/31", 90), 1);
        assert_eq!(added(&mut firewall, "198.51.100.12/31", 30), 0);
        assert_eq!(added(&mut firewall, "198.51.100.8/29", 30), 2);
        let held = listed(&mut firewall);
        assert!(held["198.51.100.10"].remaining.unwrap() > Duration::from_secs(80));
        assert!(held["198.51.100.10"].packets > 0);
        assert_eq!(held["198.51.100.10"].cause, Some(Cause::Match));
        let keys: Vec<&str> = held.keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "198.51.100.10",
                "198.51.100.12/31",
                "198.51.100.14/31",
                "198.51.100.8/30"
            ]
        );
        assert_eq!(added(&mut firewall, "198.51.100.2", 0), 0);
    });
}

#[test]
fn the_kernel_holds_what_the_plan_says_whatever_came_before() {
    in_lab(
        "the_kernel_holds_what_the_plan_says_whatever_came_before",
        |_| {
            // seeded, so that what fails fails again (xorshift64)
            let mut state = 0x5eed_u64;
            let mut roll = |sides: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % sides
            };
            let mut some = |most: u64| -> Vec<Element> {
                (0..roll(most))
                    .map(|_| {
                        let low = roll(64);
                        let target = match roll(6) {
                            0 => format!("203.0.113.{low}"),
                            1 => format!("203.0.113.{low}:{}/tcp", roll(3)),
                            2 => format!("2001:db8:bad::{low:x}"),
                            3 => format!("2001:db8:bad::{low:x}/{}", 120 + roll(8)),
                            // to the end of the family as well
                            4 => format!("255.255.255.{}/{}", 190 + low, 26 + roll(6)),
                            _ => format!("203.0.113.{low}/{}", 26 + roll(6)),
                        };
                        Element {
                            target: target.parse().unwrap(),
                            until: now() + Duration::from_secs(600 * (1 + roll(10))),
                            indicator: format!("indicator--{}", roll(3)).into(),
                            cause: Cause::Match,
                        }
                    })
                    .collect()
            };
            let told = |held: Vec<Held>| -> BTreeMap<String, (String, u64)> {
                held.into_iter()
                    .map(|held| {
                        let remaining = held.remaining.unwrap() + Duration::from_secs(30);
                        let minutes = remaining.as_secs() / 60;
                        (held.key.to_string(), (held.indicator.to_string(), minutes))
                    })
                    .collect()
            };
            let lease = Duration::from_secs(86_400);
            let mut firewall = open().with_lease(lease);
            let mut other = open().with_lease(lease);
            for round in 0..60 {
                let wanted = some(40);
                let plan = Plan::new(&wanted, now());
                firewall.sync(&plan, now()).unwrap();
                let expected: BTreeMap<String, (String, u64)> = plan
                    .iter()
                    .map(|(key, hold)| {
                        let left = hold.until.since(now()) + Duration::from_secs(30);
                        let minutes = left.as_secs() / 60;
                        (key.to_string(), (hold.indicator.to_string(), minutes))
                    })
                    .collect();
                // those that end later than was asked would be a fault; that the time of one
                // that has half of its lease left is not put off is none
                let held = told(firewall.list().unwrap());
                assert_eq!(
                    held.keys().collect::<Vec<_>>(),
                    expected.keys().collect::<Vec<_>>(),
                    "round {round}"
                );
                for (key, (indicator, minutes)) in &expected {
                    assert_eq!(&held[key].0, indicator, "round {round}: {key}");
                    assert!(held[key].1 <= *minutes, "round {round}: {key}");
                }
                assert!(!firewall.is_disturbed().unwrap());
                // somebody else, or we ourselves, in between
                match round % 3 {
                    0 => drop(other.add(&some(10), now()).unwrap()),
                    1 => drop(firewall.add(&some(10), now()).unwrap()),
                    _ => drop(firewall.release("203.0.113.0/27".parse().unwrap()).unwrap()),
                }
            }
        },
    );
}

#[test]
fn large_plans_are_loaded() {
    in_lab("large_plans_are_loaded", |lab| {
        let mut wanted: Vec<Element> = Vec::new();
        let mut add = |target: String| {
            wanted.push(Element {
                indicator: format!("indicator--{target}").into(),
                target: target.parse().unwrap(),
                until: now() + Duration::from_secs(86_400),
                cause: Cause::Intel,
            });
        };
        for number in 0..100_000_u32 {
            add(Ipv4Addr::from((20 << 24) + number * 7).to_string());
        }
        for number in 0..20_000_u32 {
            add(format!("{}/26", Ipv4Addr::from((30 << 24) + number * 128)));
        }
        add("198.51.100.10".into());
        let mut firewall = open();
        let timed = |what: &str, began: Instant| {
            println!("{what}: {:.2} s", began.elapsed().as_secs_f64());
        };
        let began = Instant::now();
        let plan = Plan::new(&wanted, now());
        timed("planned", began);
        let began = Instant::now();
        let synced = firewall.sync(&plan, now()).unwrap();
        timed("100,001 addresses and 20,000 networks loaded", began);
        assert_eq!(synced.added, 120_001);
        let began = Instant::now();
        assert_eq!(firewall.sync(&plan, now()).unwrap(), Default::default());
        timed("compared, nothing to do", began);
        let began = Instant::now();
        assert_eq!(firewall.list().unwrap().len(), 120_001);
        timed("listed", began);
        let began = Instant::now();
        let one = elements(&[("198.51.100.11", 3_600)]);
        assert_eq!(firewall.add(&one, now()).unwrap(), 1);
        timed("one address added", began);
        assert_eq!(lab.client("tcp 198.51.100.10 7001"), "refused");
        assert_eq!(lab.client("tcp 198.51.100.11 7001"), "refused");
        assert_eq!(lab.client("tcp 198.51.100.2 7001"), "open");
        let began = Instant::now();
        assert_eq!(
            firewall.sync(&Plan::default(), now()).unwrap().removed,
            120_002
        );
        timed("all removed", began);
    });
}

/// The part of a process that serves or asks; as a test of its own, it does nothing.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    if let Some(addresses) = role.strip_prefix("serve ") {
        serve(addresses);
    } else if let Some(target) = role.strip_prefix("talk ") {
        talk(target);
    } else {
        println!("ANSWER {}", ask(&role));
    }
}

/// Echoes on all ports of these addresses until standard input ends.
fn serve(addresses: &str) {
    for address in addresses.split(' ') {
        let address: IpAddr = address.parse().unwrap();
        for port in PORTS {
            let socket = UdpSocket::bind((address, port)).unwrap();
            let listener = TcpListener::bind((address, port)).unwrap();
            thread::spawn(move || {
                let mut buffer = [0; 64];
                while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                    // a peer that is gone is none of ours
                    let _ = socket.send_to(&buffer[..length], peer);
                }
            });
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || echo(stream));
                }
            });
        }
    }
    println!("ANSWER serving");
    let _ = std::io::stdin().read(&mut [0]);
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 64];
    while let Ok(length) = stream.read(&mut buffer) {
        if length == 0 || stream.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
}

/// Keeps a connection, and exchanges something over it for each line of standard input.
fn talk(target: &str) {
    let (address, port) = target.split_once(' ').unwrap();
    let target = SocketAddr::new(address.parse().unwrap(), port.parse().unwrap());
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE).unwrap();
    println!("ANSWER connected");
    for _ in std::io::stdin().lines() {
        println!("ANSWER {}", exchange(&mut stream));
    }
}

fn exchange(stream: &mut TcpStream) -> &'static str {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 5];
    verdict(
        stream
            .write_all(b"hello")
            .and_then(|()| stream.read_exact(&mut buffer)),
    )
}

/// What becomes of one attempt: "open", "refused" (at once), or "silent".
fn ask(question: &str) -> &'static str {
    let words: Vec<&str> = question.split(' ').collect();
    let asked = match words[..] {
        ["tcp", address, port] => {
            let target = SocketAddr::new(address.parse().unwrap(), port.parse().unwrap());
            match TcpStream::connect_timeout(&target, PATIENCE) {
                Ok(mut stream) => return exchange(&mut stream),
                Err(error) => Err(error),
            }
        }
        ["udp", address, port] => {
            let any = if address.contains(':') {
                "::"
            } else {
                "0.0.0.0"
            };
            ask_udp(any, address, port)
        }
        ["udp-from", from, address, port] => ask_udp(from, address, port),
        ["echo", address] => return ask_echo(address),
        _ => panic!("{question}"),
    };
    verdict(asked)
}

fn ask_udp(from: &str, address: &str, port: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind((from.parse::<IpAddr>().unwrap(), 0))?;
    socket.connect((address.parse::<IpAddr>().unwrap(), port.parse().unwrap()))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"hello")?;
    socket.recv(&mut [0; 5]).map(drop)
}

/// Whether an ICMP echo is answered; by python3, since a raw socket takes more than the standard
/// library has.
fn ask_echo(address: &str) -> &'static str {
    let program = "\
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.settimeout(2)
s.connect((sys.argv[1], 0))
s.send(bytes([8, 0, 0xf7, 0xfd, 0, 1, 0, 1]))
try:
    print('open' if s.recv(64)[20] == 0 else 'other')
except TimeoutError:
    print('silent')
except OSError:
    print('refused')
";
    let output = Command::new("python3")
        .args(["-c", program, address])
        .output()
        .unwrap();
    match output.stdout.trim_ascii() {
        b"open" => "open",
        b"refused" => "refused",
        b"silent" => "silent",
        _ => panic!("{}", String::from_utf8_lossy(&output.stderr)),
    }
}

fn verdict(asked: std::io::Result<()>) -> &'static str {
    use std::io::ErrorKind;
    match asked.map_err(|e| e.kind()) {
        Ok(()) => "open",
        Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => "silent",
        Err(
            ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::HostUnreachable
            | ErrorKind::PermissionDenied,
        ) => "refused",
        Err(other) => panic!("{other:?}"),
    }
}

/// The firewall of the namespace that the test runs in, with what protects it.
fn open() -> Netfilter {
    let never = NeverBlock::new(Limits::default(), host::protected().unwrap()).unwrap();
    Netfilter::open(&never).unwrap()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_parts(since.as_secs(), u64::from(since.subsec_nanos()))
}

fn elements(wanted: &[(&str, u64)]) -> Vec<Element> {
    wanted
        .iter()
        .map(|(target, seconds)| Element {
            target: target.parse().unwrap(),
            until: now() + Duration::from_secs(*seconds),
            indicator: format!("indicator--{target}").into(),
            cause: Cause::Intel,
        })
        .collect()
}

fn plan(wanted: &[(&str, u64)]) -> Plan {
    Plan::new(&elements(wanted), now())
}

/// What is held, by its name.
fn listed(firewall: &mut Netfilter) -> BTreeMap<String, Held> {
    let held = firewall.list().unwrap();
    held.into_iter().map(|h| (h.key.to_string(), h)).collect()
}

/// What `nft` says, where it is installed.
fn nft(arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new("nft").args(arguments).output() else {
        println!("skipped: nft {}: it is not installed", arguments.join(" "));
        return None;
    };
    assert!(
        output.status.success(),
        "nft {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Runs a test in the gateway of a lab of its own.
fn in_lab(name: &str, test: impl FnOnce(&Lab)) {
    if let Ok(prefix) = std::env::var(LAB) {
        return test(&Lab { prefix });
    }
    let Some(made) = Made::new() else { return };
    let gateway = made.lab.namespace("g");
    let program = std::env::current_exe().unwrap();
    let mut serving = [
        made.lab.start(
            "s",
            &format!("serve {} {}", SERVER.join(" "), SERVER6.join(" ")),
        ),
        made.lab.start("c", &format!("serve {CLIENT}")),
        made.lab.start("g", "serve 198.51.100.1"),
    ];
    for process in &mut serving {
        assert_eq!(process.answer(), "serving");
    }
    // until both ends found each other
    for question in ["tcp 198.51.100.2 7001", "tcp 2001:db8:2::2 7001"] {
        let open = (0..10).any(|_| made.lab.client(question) == "open");
        assert!(open, "the lab does not work: {question}");
    }
    let status = Command::new("ip")
        .args(["netns", "exec", &gateway])
        .arg(program)
        .args(["--exact", name, "--nocapture"])
        .env(LAB, &made.lab.prefix)
        .status()
        .unwrap();
    assert!(status.success(), "in the gateway: {status}");
}

/// Client, gateway and server, by the prefix of their namespaces' names.
struct Lab {
    prefix: String,
}

impl Lab {
    fn namespace(&self, which: &str) -> String {
        format!("{}-{which}", self.prefix)
    }

    fn client(&self, question: &str) -> String {
        self.start("c", question).answer()
    }

    fn server(&self, question: &str) -> String {
        self.start("s", question).answer()
    }

    /// Opens a connection of the client that stays open.
    fn talk(&self, target: &str) -> Started {
        let mut talk = self.start("c", &format!("talk {target}"));
        assert_eq!(talk.answer(), "connected");
        talk
    }

    fn start(&self, which: &str, role: &str) -> Started {
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.namespace(which)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "role", "--nocapture"])
            .env(ROLE, role)
            .env_remove(LAB)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Started { child, output }
    }
}

/// A process of ours; ends with this.
struct Started {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Started {
    fn say(&mut self) -> String {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            if self.output.read_line(&mut line).unwrap() == 0 {
                return "nothing".to_owned();
            }
            // the harness begins a line of its own before it
            if let Some((_, answer)) = line.split_once("ANSWER ") {
                return answer.trim().to_owned();
            }
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // what is left to be said is of no interest, but must not hold it up
        let _ = std::io::copy(&mut self.output, &mut std::io::sink());
        let _ = self.child.wait();
    }
}

/// A lab that this process made; goes with this.
struct Made {
    lab: Lab,
}

impl Made {
    /// Makes one, or says why not.
    fn new() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!(
            "wp{}n{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let made = Self {
            lab: Lab { prefix },
        };
        let [c, g, s] = ["c", "g", "s"].map(|which| made.lab.namespace(which));
        match Command::new("ip").args(["netns", "add", &c]).output() {
            Err(_) => {
                println!("skipped: ip is not installed");
                return None;
            }
            Ok(output) if !output.status.success() => {
                println!(
                    "skipped: network namespaces need root: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                return None;
            }
            Ok(_) => {}
        }
        ip(&format!("netns add {g}"));
        ip(&format!("netns add {s}"));
        for namespace in [&c, &g, &s] {
            ip(&format!("-n {namespace} link set lo up"));
            // no waiting for who else may have an address
            for which in ["all", "default"] {
                let set = format!("echo 0 > /proc/sys/net/ipv6/conf/{which}/accept_dad");
                ip_with(&["netns", "exec", namespace, "sh", "-c", &set]);
            }
        }
        ip(&format!(
            "link add name eth0 netns {c} type veth peer name gwc netns {g}"
        ));
        ip(&format!(
            "link add name eth0 netns {s} type veth peer name gws netns {g}"
        ));
        for (namespace, device, addresses) in [
            (&c, "eth0", &[CLIENT, "2001:db8:1::2"][..]),
            (&g, "gwc", &["192.0.2.1", "2001:db8:1::1"]),
            (&g, "gws", &["198.51.100.1", "2001:db8:2::1"]),
            (&s, "eth0", &SERVER),
            (&s, "eth0", &SERVER6),
        ] {
            for address in addresses {
                let length = if address.contains(':') {
                    "/64 nodad"
                } else {
                    "/24"
                };
                ip(&format!(
                    "-n {namespace} addr add {address}{length} dev {device}"
                ));
            }
            ip(&format!("-n {namespace} link set {device} up"));
        }
        ip(&format!("-n {c} route add default via 192.0.2.1"));
        ip(&format!("-n {c} -6 route add default via 2001:db8:1::1"));
        ip(&format!("-n {s} route add default via 198.51.100.1"));
        ip(&format!("-n {s} -6 route add default via 2001:db8:2::1"));
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let set = format!("echo 1 > /proc/sys/net/{setting}");
            ip_with(&["netns", "exec", &g, "sh", "-c", &set]);
        }
        Some(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for which in ["c", "g", "s"] {
            let name = self.lab.namespace(which);
            // those that were never made can't be deleted
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn ip(arguments: &str) {
    ip_with(&arguments.split(' ').collect::<Vec<_>>());
}

fn ip_with(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
