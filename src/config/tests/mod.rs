//! What a configuration says; docs/watchpost.toml.

mod bad;
mod laws;

use super::*;
use crate::config::key;

/// The shipped example.
pub(super) const EXAMPLE: &str = include_str!("../../../docs/watchpost.toml");

/// The least that is a configuration.
const LEAST: &str = "[sensor]\nname = \"gateway-1\"\n";

/// The example with every key that is commented out made to count.
pub(super) fn uncommented() -> String {
    EXAMPLE
        .lines()
        .map(|line| {
            // prose has a blank behind its sign
            let is_prose = line.starts_with("# ") || line == "#";
            let line = if is_prose {
                line
            } else {
                line.strip_prefix('#').unwrap_or(line)
            };
            format!("{line}\n")
        })
        .collect()
}

#[track_caller]
pub(super) fn read(text: &str) -> Loaded {
    Config::parse("/etc/watchpost/watchpost.toml", text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// An exchange of this kind, of the least that it needs and `more`.
fn exchange(kind: &str, more: &str) -> Exchange {
    let least = match kind {
        "folder" => "path = \"lists\"",
        "misp" => "url = \"https://a.example/\"\ntoken_file = \"misp.key\"",
        _ => "url = \"https://a.example/\"",
    };
    let text = format!("{LEAST}[[exchange]]\nname = \"a\"\nkind = \"{kind}\"\n{least}\n{more}\n");
    read(&text).config.exchanges.remove(0)
}

#[test]
fn the_example_says_nothing_but_defaults() {
    let loaded = read(EXAMPLE);
    assert_eq!(loaded, read(LEAST));
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn the_example_parses_with_every_key() {
    let loaded = read(&uncommented());
    let line_of = |start: &str| {
        let before = uncommented()
            .lines()
            .position(|line| line.starts_with(start));
        before.unwrap() + 1
    };
    let expected = [
        (
            line_of("url = \"http://"),
            7,
            "insecure_http: indicators and the secret to sign in cross the network in the clear",
        ),
        (
            line_of("prefix_v4"),
            13,
            "prefix_v4 counts only with addresses = \"prefix\"",
        ),
        (
            line_of("prefix_v6"),
            13,
            "prefix_v6 counts only with addresses = \"prefix\"",
        ),
        (
            line_of("pseudonym_key_file"),
            22,
            "the key of pseudonyms counts only with addresses = \"pseudonym\"",
        ),
    ];
    let expected = expected.map(|(line, column, text)| {
        format!("/etc/watchpost/watchpost.toml:{line}:{column}: {text}")
    });
    assert_eq!(loaded.warnings, expected);
    let kinds: Vec<&str> = loaded
        .config
        .exchanges
        .iter()
        .map(|exchange| exchange.kind.as_str())
        .collect();
    assert_eq!(kinds, key::KINDS, "one of each kind");
}

#[test]
fn the_example_shows_the_defaults() {
    let mut shown = read(&uncommented()).config;
    let mut default = read(LEAST).config;
    // where the example shows what has no default
    shown.sensor.organisation = None;
    shown.sensor.interfaces.clear();
    shown.sensor.internal.sort_unstable();
    default.sensor.internal.sort_unstable();
    assert!(default.sensor.internal_by_host && !shown.sensor.internal_by_host);
    default.sensor.internal_by_host = false;
    shown.rules.paths.clear();
    shown.privacy.internal_domains.clear();
    shown.block.never.clear();
    assert_eq!(shown.sensor, default.sensor);
    assert_eq!(shown.rules, default.rules);
    assert_eq!(shown.privacy, default.privacy);
    assert_eq!(shown.block, default.block);
    let [taxii, misp] = [0, 1].map(|at| &shown.exchanges[at]);
    let least = exchange("taxii", "");
    assert_eq!(taxii.interval, least.interval);
    assert_eq!(taxii.action, least.action);
    assert_eq!(taxii.share, least.share);
    assert_eq!(taxii.limits, least.limits);
    let Kind::Misp { query: shown, .. } = &misp.kind else {
        panic!("{misp:?}");
    };
    let Kind::Misp {
        query, sightings, ..
    } = exchange("misp", "").kind
    else {
        panic!();
    };
    assert!(!sightings);
    assert_eq!(
        (shown.to_ids, shown.published, shown.last),
        (query.to_ids, query.published, query.last)
    );
}

#[test]
fn the_example_has_every_key() {
    let (before, exchanges) = EXAMPLE.split_once("#[[exchange]]").unwrap();
    let (exchanges, privacy) = exchanges.split_once("\n[privacy]\n").unwrap();
    let (privacy, block) = privacy.split_once("\n[block]\n").unwrap();
    let (sensor, rules) = before.split_once("\n[rules]\n").unwrap();
    let within = |part: &'static str, keys: &[&'static str]| -> Vec<(&'static str, String)> {
        keys.iter().map(|key| (part, (*key).to_owned())).collect()
    };
    let dotted = |name: &str, keys: &[&str]| -> Vec<(&'static str, String)> {
        keys.iter()
            .map(|key| (exchanges, format!("{name}.{key}")))
            .collect()
    };
    let plain: Vec<&str> = key::EXCHANGE
        .iter()
        .map(|(key, _)| *key)
        .filter(|key| !["query", "limits"].contains(key))
        .collect();
    let every = [
        within(sensor, &key::SENSOR),
        within(rules, &key::RULES),
        within(exchanges, &plain),
        dotted("query", &key::QUERY),
        dotted("limits", &key::LIMITS),
        within(privacy, &key::PRIVACY),
        within(block, &key::BLOCK),
    ]
    .concat();
    assert!(every.len() > 50);
    for (part, key) in every {
        let set = |line: &str| {
            let line = line.strip_prefix('#').unwrap_or(line);
            line.strip_prefix(&key)
                .is_some_and(|rest| rest.starts_with(" = "))
        };
        let explained = part.lines().any(set) || part.contains(&format!("`{key}`"));
        assert!(explained, "docs/watchpost.toml does not explain {key}");
    }
}

#[test]
fn what_the_design_fixes_is_read() {
    let text = r#"
        [sensor]
        name = "gateway-1"
        organisation = "Example Org"
        state = "state"
        interfaces = ["eth0", "eth1", "eth0"]
        internal = ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]

        [rules]
        paths = ["rules", "/srv/rules"]

        [[exchange]]
        name = "ec3"
        kind = "taxii"
        url = "https://exchange.example/taxii2/"
        collections = ["91a7b528-80eb-42ed-a74d-c6fbd5a26116"]
        sightings = "52892447-4d7e-4f70-b94d-d7f22742ff63"
        username = "sensor"
        password_file = "ec3.password"
        client_certificate = "a.pem"
        client_key = "a.key"
        ca = "/ca.pem"
        interval = "15m"
        action = "block"
        confidence = 0
        share = ["TLP:CLEAR", "tlp:green", "TLP:AMBER", "TLP:WHITE", "unmarked"]
        also_share_to = ["b"]
        expire_after = "2d"
        limits = { shrink_percent = 20, max_bytes = 0x400 }

        [[exchange]]
        name = "b"
        kind = "misp"
        url = "http://[::1]:8080/"
        token_env = "B_KEY"
        sightings = true
        query = { tags = ["!x"], types = ["filename|md5"], to_ids = false, last = "all" }

        [privacy]
        addresses = "prefix"
        prefix_v4 = 16
        names = "keep"
        internal_domains = [".Corp.Example.", "b\u00fccher.example"]
        window = "90s"

        [block]
        enforce = true
        never = ["192.0.2.1", "2001:db8::/32", "Example.org", "*.example.net", ".example.com"]
        lease = "2h"
        widest_ipv4 = 24
        widest_ipv6 = 64
        max_add = 1
    "#;
    let Loaded { config, warnings } = read(text);
    assert_eq!(warnings, Vec::<String>::new());
    let folder = Path::new("/etc/watchpost");
    let networks =
        |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let url = |exchange: &Exchange| exchange.kind.url().unwrap().as_str().to_owned();
    assert_eq!(
        config.sensor,
        Sensor {
            name: "gateway-1".into(),
            organisation: Some("Example Org".into()),
            state: folder.join("state"),
            interfaces: vec!["eth0".into(), "eth1".into()],
            internal: networks(&["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]),
            internal_by_host: false,
        }
    );
    assert_eq!(
        config.rules.paths,
        [folder.join("rules"), "/srv/rules".into()]
    );
    let [ec3, b] = config.exchanges.as_slice() else {
        panic!("{:?}", config.exchanges);
    };
    assert_eq!(url(ec3), "https://exchange.example/taxii2/");
    assert_eq!(
        *ec3,
        Exchange {
            name: "ec3".into(),
            kind: Kind::Taxii {
                url: ec3.kind.url().unwrap().clone(),
                collections: vec!["91a7b528-80eb-42ed-a74d-c6fbd5a26116".into()],
                sightings: Some("52892447-4d7e-4f70-b94d-d7f22742ff63".into()),
            },
            credentials: Credentials::Basic {
                username: "sensor".into(),
                password: SecretSource::File(folder.join("ec3.password")),
            },
            tls: Tls {
                client: Some(ClientCertificate {
                    certificate: folder.join("a.pem"),
                    key: folder.join("a.key"),
                }),
                ca: Some("/ca.pem".into()),
            },
            allow_clear: false,
            interval: Duration::from_secs(900),
            action: Action::Block,
            confidence: Some(0),
            share: vec![Some(Tlp::Clear), Some(Tlp::Green), Some(Tlp::Amber), None],
            also_share_to: vec!["b".into()],
            expire_after: Some(Duration::from_secs(2 * 86_400)),
            limits: Limits {
                shrink_percent: 20,
                grow_factor: 10,
                at_least: 100,
                max_bytes: 1024,
                max_objects: 5_000_000,
            },
        }
    );
    assert_eq!(url(b), "http://[::1]:8080/");
    assert_eq!(
        b.kind,
        Kind::Misp {
            url: b.kind.url().unwrap().clone(),
            query: MispQuery {
                tags: vec!["!x".into()],
                types: vec!["filename|md5".into()],
                to_ids: false,
                published: true,
                last: None,
            },
            sightings: true,
        }
    );
    assert_eq!(
        b.credentials,
        Credentials::Key {
            token: SecretSource::Environment("B_KEY".into())
        }
    );
    assert_eq!(
        config.privacy,
        Privacy {
            addresses: Addresses::Prefix { v4: 16, v6: 48 },
            names: Names::Keep,
            internal_domains: vec!["corp.example".into(), "xn--bcher-kva.example".into()],
            window: Duration::from_secs(90),
        }
    );
    let never: Vec<String> = config.block.never.iter().map(Never::to_string).collect();
    assert_eq!(
        never,
        [
            "192.0.2.1",
            "2001:db8::/32",
            "example.org",
            ".example.net",
            ".example.com"
        ]
    );
    assert!(config.block.enforce);
    assert_eq!(config.block.lease, Duration::from_secs(7_200));
    assert_eq!(
        (config.block.widest_ipv4, config.block.widest_ipv6),
        (24, 64)
    );
    assert_eq!(config.block.max_add, 1);
}

#[test]
fn ways_to_sign_in() {
    let token = || SecretSource::Credential("t".into());
    for (kind, keys, expected) in [
        ("taxii", "", Credentials::None),
        (
            "url",
            "token_credential = \"t\"",
            Credentials::Bearer { token: token() },
        ),
        (
            "misp-feed",
            "username = \"u\"\npassword_credential = \"t\"",
            Credentials::Basic {
                username: "u".into(),
                password: token(),
            },
        ),
    ] {
        let exchange = exchange(kind, keys);
        assert_eq!(exchange.credentials, expected, "{kind} {keys}");
        assert_eq!(
            exchange.credentials.secret().is_some(),
            expected != Credentials::None
        );
    }
}

#[test]
fn warnings_of_what_is_likely_not_meant() {
    const TAXII: &str =
        "[[exchange]]\nname = \"a\"\nkind = \"taxii\"\nurl = \"https://a.example/\"\n";
    const TAKES: &str = "sightings = \"x\"\n";
    for (text, expected) in [
        (
            format!("{TAXII}{TAKES}share = []"),
            "3:1: exchange a: share is empty: no sighting of its indicators leaves",
        ),
        (
            format!("{TAXII}insecure_http = true"),
            "7:17: insecure_http = true is not needed by this url: leave it out, so that no \
             redirect leads to one in the clear",
        ),
        (
            "[[exchange]]\nname = \"a\"\nkind = \"url\"\nurl = \"http://a.example/\"\n\
             insecure_http = true"
                .to_owned(),
            "6:7: insecure_http: indicators cross the network in the clear",
        ),
        (
            format!("{TAXII}{TAKES}[privacy]\naddresses = \"keep\""),
            "8:1: addresses = \"keep\": internal addresses leave with sightings",
        ),
        (
            format!("{TAXII}[block]\nenforce = true\nnever = [\"192.0.2.1\"]"),
            "8:11: enforce = true, but no exchange says action = \"block\": none of their \
             indicators will block",
        ),
        (
            "[block]\nenforce = true".to_owned(),
            "4:11: enforce = true without never: name there what must stay reachable, such as \
             resolvers and the addresses you administer from",
        ),
        (
            format!(
                "[[exchange]]\nname = \"b\"\nkind = \"folder\"\npath = \"/b\"\n\
                 share = [\"unmarked\"]\nalso_share_to = [\"a\"]\n{TAXII}{TAKES}"
            ),
            "8:18: also_share_to: nothing goes to `a`: no marking is in the share of both",
        ),
        (
            format!(
                "[[exchange]]\nname = \"b\"\nkind = \"folder\"\npath = \"/b\"\n\
                 share = [\"TLP:RED\"]\nalso_share_to = [\"a\"]\n{TAXII}{TAKES}\
                 share = [\"TLP:RED\"]"
            ),
            "3:1: exchange b: share has TLP:RED, and also_share_to sends what it allows to others \
             than those who marked it",
        ),
    ] {
        let warnings = read(&format!("{LEAST}{text}\n")).warnings;
        let expected = format!("/etc/watchpost/watchpost.toml:{expected}");
        assert_eq!(warnings, [expected], "{text}");
    }
}

#[test]
fn files() {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    let folder = std::env::temp_dir().join(format!("watchpost-config-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("watchpost.toml");
    let named = path.display();
    let said = |path: &Path| Config::load(path).unwrap_err().to_string();
    assert_eq!(
        said(&path),
        format!(
            "{named}: cannot be read: No such file or directory (os error 2); an example is \
             docs/watchpost.toml"
        )
    );
    assert_eq!(
        said(&folder),
        format!(
            "{}: is a folder: name the file in it that is meant",
            folder.display()
        )
    );
    fs::write(&path, b"[sensor]\nname = \"\xff\"\n").unwrap();
    assert_eq!(
        said(&path),
        format!("{named}:2:9: not UTF-8 text: save it as UTF-8")
    );
    fs::write(&path, " ".repeat(MAX_FILE_BYTES as usize + 1)).unwrap();
    assert_eq!(
        said(&path),
        format!("{named}: more than 1048576 bytes: is it the right file?")
    );
    fs::write(&path, format!("\u{feff}{LEAST}state = \"s\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let loaded = Config::load(&path).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.sensor.state, folder.join("s"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(
        Config::load(&path).unwrap().warnings,
        [format!(
            "{named}: every user of this host can change it (mode 0666): chmod 644 it"
        )]
    );
    fs::remove_dir_all(&folder).unwrap();
    // a name without a folder is that of a file in the working folder
    let loaded = Config::parse("watchpost.toml", &format!("{LEAST}state = \"s\"\n")).unwrap();
    assert_eq!(
        loaded.config.sensor.state,
        std::env::current_dir().unwrap().join("s")
    );
}
