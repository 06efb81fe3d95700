//! Nothing internal leaves: over every capture of the shared acceptance set and every policy but
//! the open one, no internal address occurs in any byte of what would be sent.

mod common;

use common::shared;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use watchpost::capture::Block;
use watchpost::capture::CaptureReader;
use watchpost::capture::Input;
use watchpost::daemon::replay::Frames;
use watchpost::daemon::replay::Replay;
use watchpost::exchange;
use watchpost::matcher::Clock;
use watchpost::matcher::Match;
use watchpost::matcher::Matcher;
use watchpost::matcher::SubdomainPolicy;
use watchpost::matcher::build::SetBuilder;
use watchpost::matcher::set::IndicatorSet;
use watchpost::packet::Decoder;
use watchpost::packet::LinkType;
use watchpost::packet::Outcome;
use watchpost::packet::Packet;
use watchpost::sighting::Addresses;
use watchpost::sighting::Privacy;
use watchpost::sighting::Pseudonyms;
use watchpost::sighting::Reporter;
use watchpost::sighting::Sightings;
use watchpost::time::Timestamp;

/// What the organisation of a capture has: private networks, and everybody who speaks first but
/// is not what an indicator names.
fn internal_networks(capture: &Path, named: &BTreeSet<String>) -> (Vec<IpNet>, BTreeSet<IpAddr>) {
    let mut networks: Vec<IpNet> = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
        .iter()
        .filter_map(|net| net.parse().ok())
        .collect();
    let mut all = BTreeSet::new();
    let mut opened = BTreeSet::new();
    let mut reader = CaptureReader::open(Input::Path(capture.to_owned())).unwrap();
    let (mut block, mut decoder) = (Block::default(), Decoder::new());
    let mut packet = Packet::default();
    while reader.next_block(&mut block).unwrap() {
        for frame in &block.frames {
            let link = LinkType(frame.link);
            let bytes = block.frame(frame);
            let outcome = decoder.decode(
                link,
                frame.timestamp,
                bytes,
                frame.original_length,
                &mut packet,
            );
            if outcome == Outcome::Packet {
                all.extend([packet.source.ip(), packet.destination.ip()]);
                if packet.source_port >= 1_024 && packet.destination_port < 1_024 {
                    opened.insert(packet.source.ip());
                }
            }
        }
    }
    networks.extend(
        opened
            .iter()
            .filter(|address| !named.contains(&address.to_string()))
            .map(|address| IpNet::from(*address)),
    );
    let is_internal = |a: &IpAddr| networks.iter().any(|net| net.contains(a));
    let internal = all.into_iter().filter(is_internal).collect();
    (networks, internal)
}

/// The policy that lets everything leave: by it the test sees that there is something to see.
const OPEN: &str = "open";

fn policies(networks: &[IpNet]) -> Vec<(&'static str, Privacy)> {
    let pseudonyms = Pseudonyms::new(b"of this test").unwrap();
    [
        ("omit", Addresses::Omit),
        ("prefix", Addresses::Prefix { v4: 16, v6: 32 }),
        ("pseudonym", Addresses::Pseudonym(pseudonyms)),
        (OPEN, Addresses::Keep),
    ]
    .into_iter()
    .map(|(name, addresses)| {
        let privacy = Privacy {
            internal: networks.to_vec(),
            internal_domains: vec!["lan".into(), "local".into()],
            addresses,
            keep_names: name == OPEN,
        };
        (name, privacy)
    })
    .collect()
}

/// Whether an address stands in a text, and is not part of a longer one.
fn holds(text: &str, address: &str) -> bool {
    let is_part = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    text.match_indices(address).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + address.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(|c| c.is_ascii_hexdigit() || c == ':')
    })
}

#[test]
fn no_internal_address_leaves() {
    let Some(shared) = shared() else { return };
    let (mut cases, mut objects_seen, mut open_told) = (0, 0, 0);
    let mut folders: Vec<PathBuf> = fs::read_dir(shared.join("acceptance/cases"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        let capture = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| {
                path.file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("capture.")
            })
            .unwrap();
        let bundle = folder.join("bundle.json");
        let text = fs::read_to_string(&bundle).unwrap();
        let named: BTreeSet<String> = text.split('\'').map(str::to_owned).collect();
        let (networks, internal) = internal_networks(&capture, &named);
        let mut builder = SetBuilder::new();
        exchange::load(&[bundle], &mut builder, &mut |_| {});
        let set = Arc::new(builder.finish(Timestamp::MIN).unwrap().set);
        let policy = SubdomainPolicy::default();
        let matcher = Matcher::new(Arc::clone(&set), Clock::Ignore, policy).with_deep(true);
        let mut found: Vec<Match> = Vec::new();
        Replay {
            frames: Frames::Recorded(vec![Input::Path(capture)]),
            filter: None,
            workers: 2,
        }
        .run(
            &Arc::new(matcher),
            &mut |_| None,
            &mut |one: Match, _: &Arc<IndicatorSet>| found.push(one),
            &mut |_| {},
        )
        .unwrap();
        for (name, privacy) in policies(&networks) {
            let mut sightings = Sightings::to_share(privacy);
            found.iter().for_each(|one| sightings.record(one, false));
            let reporter = Reporter {
                name: "gateway-1".into(),
                organisation: None,
            };
            let mut sent = Vec::new();
            sightings.each(
                &reporter,
                &mut |ordinal| set.details(ordinal),
                &mut |_, _, objects| {
                    objects_seen += objects.len();
                    sent.extend(serde_json::to_vec(&objects).unwrap());
                },
            );
            let text = String::from_utf8(sent).unwrap();
            for address in &internal {
                let told = holds(&text, &address.to_string());
                if name == OPEN {
                    open_told += usize::from(told);
                    continue;
                }
                let folder = folder.display();
                assert!(!told, "{folder}, {name}: {address} would leave in {text}");
            }
        }
        cases += 1;
    }
    println!("{cases} captures, {objects_seen} objects, {open_told} addresses by the open policy");
    assert!(cases > 50 && objects_seen > 1_000 && open_told > 50);
}
