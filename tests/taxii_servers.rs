//! The TAXII client against a real server: medallion, of OASIS, from PyPI.
//!
//! The server runs on loopback out of a virtual environment in the folder for
//! temporary files of tests. Where Python or PyPI is out of reach, the test
//! says so and is skipped.

mod common;
mod scripted;

use common::BUNDLE;
use common::CAPTURE;
use common::Folder;
use common::python_has;
use common::shared;
use scripted::exchange::client_at;
use scripted::exchange::go_on;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Duration;
use watchpost::exchange::Limits;
use watchpost::exchange::load_reader;
use watchpost::exchange::taxii::Collection;
use watchpost::exchange::taxii::Cursor;
use watchpost::exchange::taxii::Outcome;
use watchpost::exchange::taxii::PullError;
use watchpost::exchange::taxii::PullLimits;
use watchpost::exchange::taxii::Pulled;
use watchpost::exchange::taxii::PushLimits;
use watchpost::exchange::taxii::TaxiiClient;
use watchpost::exchange::taxii::find;
use watchpost::indicator::Indicator;
use watchpost::indicator::Intake;
use watchpost::indicator::Refusal;
use watchpost::indicator::Taken;
use watchpost::indicator::Tlp;

/// The server and the partner's client, with what they need, as they were tried.
const PACKAGES: [&str; 7] = [
    "medallion==3.0.0",
    "Flask==3.1.3",
    "Werkzeug==3.1.9",
    "Flask-HTTPAuth==4.8.1",
    "pytz==2026.6",
    "six==1.17.0",
    "taxii2-client==2.3.0",
];

const READ_WRITE: &str = "2b9c1fd6-1a52-4c1b-8b57-5d6a7d2f0a01";
const WRITE_ONLY: &str = "2b9c1fd6-1a52-4c1b-8b57-5d6a7d2f0a02";
const CLOSED: &str = "2b9c1fd6-1a52-4c1b-8b57-5d6a7d2f0a03";
const MEDIA_TYPE: &str = "application/taxii+json;version=2.1";

/// Objects of a page, at most.
const PAGE: u32 = 20;

/// Objects that the partner shares: more than four pages.
const SEEDED: usize = 95;

/// A server that runs until it is dropped.
struct Medallion {
    process: Child,
    /// Of the virtual environment.
    folder: PathBuf,
    /// Of this server alone.
    run: PathBuf,
    port: u16,
}

/// One installs at a time.
static INSTALLING: Mutex<()> = Mutex::new(());

impl Medallion {
    /// Starts one for a test; `None`: it cannot run here, which is said.
    fn start(test: &str) -> Option<Self> {
        match Self::try_start(test) {
            Ok(server) => Some(server),
            Err(why) => {
                // past what captures the output of tests that succeed
                let told = format!("skipped {test}: {why}\n");
                std::io::stderr().write_all(told.as_bytes()).unwrap();
                None
            }
        }
    }

    fn try_start(test: &str) -> Result<Self, String> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("medallion");
        let run = folder.join(test);
        fs::create_dir_all(&run).unwrap();
        {
            let _one = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
            install(&folder)?;
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let root = format!("http://127.0.0.1:{port}/partners/");
        let data = run.join("data.json");
        fs::write(&data, contents(&root).to_string()).unwrap();
        let config = json!({
            "backend": {
                "module": "medallion.backends.memory_backend",
                "module_class": "MemoryBackend",
                "filename": data,
            },
            "users": {"sensor": "s3cret"},
            "taxii": {"max_page_size": PAGE},
        });
        fs::write(run.join("config.json"), config.to_string()).unwrap();
        let log = File::create(run.join("log")).unwrap();
        let process = Command::new(folder.join("venv/bin/medallion"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .arg(run.join("config.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            folder,
            run,
            port,
        };
        for _ in 0..300 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(server);
            }
            let ended = server.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", server.log());
            thread::sleep(Duration::from_millis(100));
        }
        panic!("medallion does not listen: {}", server.log());
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.run.join("log")).unwrap_or_default()
    }

    /// What the partner's client prints.
    fn partner(&self, action: &str, argument: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/medallion.py");
        let collection = self.url(&format!("/partners/collections/{READ_WRITE}/"));
        let ran = Command::new(self.folder.join("venv/bin/python"))
            .arg(script)
            .args([action, &collection, "sensor", "s3cret", argument])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{told}\n{}", self.log());
        String::from_utf8(ran.stdout).unwrap()
    }
}

impl Drop for Medallion {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the virtual environment, unless an earlier run did.
fn install(folder: &Path) -> Result<(), String> {
    let stamp = folder.join("installed");
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    let venv = folder.join("venv");
    let _ = fs::remove_dir_all(&venv);
    let run = |command: &mut Command| match command.output() {
        Ok(ran) if ran.status.success() => Ok(()),
        Ok(ran) => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
        .map_err(|error| format!("no virtual environment of Python: {error}"))?;
    let mut pip = Command::new(venv.join("bin/python"));
    let options = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    run(pip.args(options).args(PACKAGES))
        .map_err(|error| format!("packages cannot be installed from PyPI: {error}"))?;
    fs::write(stamp, wanted).unwrap();
    Ok(())
}

/// A server with one API root, whose collections are empty, in medallion's own form.
fn contents(root: &str) -> Value {
    let collection = |id, title, can_read, can_write| {
        json!({"id": id, "title": title, "can_read": can_read, "can_write": can_write,
            "media_types": ["application/stix+json;version=2.1"],
            "objects": [], "manifest": []})
    };
    json!({
        "/discovery": {"title": "partners", "default": root, "api_roots": [root]},
        "partners": {
            "information": {"title": "partners", "versions": [MEDIA_TYPE],
                "max_content_length": 100_000},
            "status": [],
            "collections": [
                collection(READ_WRITE, "indicators and sightings", true, true),
                collection(WRITE_ONLY, "inbox", false, true),
                collection(CLOSED, "closed", false, false),
            ],
        },
    })
}

/// What is loaded of the pages.
#[derive(Default)]
struct Loaded(BTreeSet<String>);

impl Intake for Loaded {
    fn begin_source(&mut self, _: &str) {}
    fn abandon_source(&mut self) {
        panic!("a page is unusable as a whole");
    }
    fn take(&mut self, indicator: &Indicator<'_>) -> Result<Taken, Refusal> {
        self.0.insert(indicator.id.to_string());
        Ok(Taken::Loaded)
    }
    fn context(&mut self, _: &str, _: &str, _: &str) {}
    fn relationship(&mut self, _: &str, _: &str, _: &str) {}
    fn marking(&mut self, _: &str, _: Tlp) {}
}

/// Pulls as a sensor does, and is killed as page number `killed_at` comes.
fn pull(
    client: &TaxiiClient,
    collection: &Collection,
    cursor: &mut Cursor,
    loaded: &mut Loaded,
    killed_at: Option<u64>,
) -> Result<Pulled, PullError<&'static str>> {
    let limits = PullLimits {
        page_objects: PAGE,
        ..PullLimits::default()
    };
    let mut pages = 0;
    let from = *cursor;
    client.pull(
        collection,
        from,
        &limits,
        &mut go_on,
        &mut |body, objects, reached| {
            if Some(pages) == killed_at {
                return Err("killed");
            }
            pages += 1;
            assert!(objects <= u64::from(PAGE));
            if objects > 0 {
                let mut reader = body;
                let file = load_reader("p", &mut reader, &Limits::default(), loaded, &mut |_| {});
                assert!(
                    file.fatal.is_none() && file.report.refused.is_empty(),
                    "{file:?}"
                );
            }
            *cursor = reached.unwrap_or(*cursor);
            Ok(())
        },
    )
}

/// A sighting of an indicator, and all that belongs to it.
fn sighting(of: &str) -> Vec<Value> {
    let time = "2026-11-25T11:00:00.000Z";
    let id = |kind: &str| format!("{kind}--6f1c62a1-7d4b-4c9e-9c54-3f0a5f1e4c21");
    let object = |kind: &str, more: Value| {
        let mut object = json!({"type": kind, "spec_version": "2.1", "id": id(kind),
            "created": time, "modified": time});
        let members = more.as_object().unwrap().clone();
        object.as_object_mut().unwrap().extend(members);
        object
    };
    vec![
        object(
            "identity",
            json!({"name": "gateway-1", "identity_class": "system"}),
        ),
        json!({"type": "domain-name", "spec_version": "2.1", "id": id("domain-name"),
            "value": "n7.example"}),
        object(
            "observed-data",
            json!({"first_observed": time, "last_observed": time, "number_observed": 3,
                "object_refs": [id("domain-name")]}),
        ),
        object(
            "sighting",
            json!({"sighting_of_ref": of, "count": 3, "first_seen": time, "last_seen": time,
                "where_sighted_refs": [id("identity")],
                "observed_data_refs": [id("observed-data")]}),
        ),
    ]
}

#[test]
fn medallion_gives_what_partners_share_and_takes_sightings() {
    let Some(server) = Medallion::start("pages") else {
        return;
    };
    server.partner("seed", &SEEDED.to_string());
    let client = client_at(&server.url("/taxii2"));
    let collections = client.directory(&mut go_on).unwrap().collections;
    assert_eq!(collections.len(), 3);
    let title = "indicators and sightings";
    let collection = find(client.url(), &collections, title).unwrap();
    assert_eq!(collection.root.max_content_length, 100_000);

    // all of it, in pages
    let (mut cursor, mut loaded) = (Cursor::START, Loaded::default());
    let pulled = pull(&client, collection, &mut cursor, &mut loaded, None).unwrap();
    assert_eq!(
        (pulled.pages, pulled.objects, pulled.restarts),
        (5, SEEDED as u64, 0)
    );
    assert_eq!(loaded.0.len(), SEEDED);
    assert_eq!(cursor, pulled.cursor);

    // killed after each of its pages, and gone on
    for killed_at in 0..5 {
        let (mut cursor, mut loaded) = (Cursor::START, Loaded::default());
        pull(
            &client,
            collection,
            &mut cursor,
            &mut loaded,
            Some(killed_at),
        )
        .unwrap_err();
        let cursor = &mut cursor.to_string().parse().unwrap();
        pull(&client, collection, cursor, &mut loaded, None).unwrap();
        assert_eq!(loaded.0.len(), SEEDED, "killed at {killed_at}");
    }

    // a sighting, twice: the second time medallion calls all of it failed
    let seen = loaded.0.first().unwrap().clone();
    let objects = sighting(&seen);
    let objects: Vec<&Value> = objects.iter().collect();
    for _ in 0..2 {
        let pushed = client
            .push(collection, &objects, &PushLimits::default(), &mut go_on)
            .unwrap();
        assert!(pushed.failure.is_none(), "{pushed:?}");
        for (id, outcome) in &pushed.outcomes {
            assert_eq!(*outcome, Outcome::Accepted, "{id}");
        }
    }
    let id = objects[3]["id"].as_str().unwrap();
    let fetched: Value = serde_json::from_str(&server.partner("fetch", id)).unwrap();
    assert_eq!(fetched["objects"], json!([objects[3]]));

    // the sensor gets it too, as all that is new since
    let pulled = pull(&client, collection, &mut cursor, &mut loaded, None).unwrap();
    assert!(pulled.objects >= 4, "{pulled:?}");

    // an inbox takes it without giving anything, and what is closed is not even asked
    let inbox = find(client.url(), &collections, WRITE_ONLY).unwrap();
    let pushed = client
        .push(inbox, &objects, &PushLimits::default(), &mut go_on)
        .unwrap();
    let accepted = |(_, outcome): &(String, Outcome)| *outcome == Outcome::Accepted;
    assert!(pushed.outcomes.iter().all(accepted), "{pushed:?}");
    let closed = find(client.url(), &collections, CLOSED).unwrap();
    pull(&client, closed, &mut cursor, &mut loaded, None).unwrap_err();
    let pushed = client.push(closed, &objects, &PushLimits::default(), &mut go_on);
    assert!(pushed.is_err());

    // in many envelopes, each within what the server takes
    let padding = "x".repeat(3_000);
    let many: Vec<Value> = (0..80)
        .map(|n| {
            let id = format!("note--6f1c62a1-7d4b-4c9e-9c54-{n:012}");
            let time = "2026-11-25T11:00:00.000Z";
            json!({"type": "note", "spec_version": "2.1", "id": id, "created": time,
                "modified": time, "content": padding, "object_refs": [seen]})
        })
        .collect();
    let many: Vec<&Value> = many.iter().collect();
    let pushed = client
        .push(collection, &many, &PushLimits::default(), &mut go_on)
        .unwrap();
    assert!(pushed.outcomes.iter().all(accepted), "{pushed:?}");
}

/// A configuration of a sensor that reads and writes the partners' collection.
fn sensor(server: &Medallion) -> Folder {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let password = folder.write("password", "s3cret\n");
    fs::set_permissions(password, fs::Permissions::from_mode(0o600)).unwrap();
    let url = server.url("/taxii2/");
    folder.write(
        "wp.toml",
        format!(
            "[sensor]\nname = 'gateway-1'\nstate = 'state'\n\
             internal = ['198.51.100.0/24', '192.0.2.53', '2001:db8:1::/48']\n\
             [[exchange]]\nname = 'partners'\nkind = 'taxii'\nurl = '{url}'\n\
             collections = ['indicators and sightings']\nsightings = '{READ_WRITE}'\n\
             username = 'sensor'\npassword_file = 'password'\n\
             share = ['TLP:CLEAR', 'TLP:GREEN', 'TLP:AMBER', 'TLP:RED', 'unmarked']\n"
        ),
    );
    folder
}

/// Sightings of a list of objects: how often each indicator was seen.
fn counts(objects: &Value) -> BTreeMap<String, u64> {
    let objects = objects.as_array().unwrap().iter();
    objects
        .filter(|o| o["type"] == "sighting" && o["labels"] != json!(["allowlisted"]))
        .map(|o| {
            let indicator = o["sighting_of_ref"].as_str().unwrap().to_owned();
            (indicator, o["count"].as_u64().unwrap())
        })
        .collect()
}

/// The whole way round: a partner's bundle into the server, pulled, a capture replayed, sightings
/// pushed, and fetched by the partner again.
#[test]
fn the_partner_learns_what_was_seen() {
    let Some(server) = Medallion::start("loop") else {
        return;
    };
    server.partner("add", BUNDLE);
    let folder = sensor(&server);
    folder.run("exchange pull --config wp.toml").exits(0);
    folder
        .run(&format!(
            "replay {CAPTURE} --config wp.toml --share --sightings local.json -q"
        ))
        .exits(0);
    let pushed = folder.run("exchange push --config wp.toml").exits(0);
    assert!(
        pushed.out.contains("13 accepted, 0 refused, 0 wait"),
        "{}",
        pushed.out
    );
    // a second time there is nothing to tell
    let again = folder.run("exchange push --config wp.toml").exits(0);
    assert!(
        again.out.contains("0 accepted, 0 refused, 0 wait"),
        "{}",
        again.out
    );
    let all: Value = serde_json::from_str(&server.partner("all", "")).unwrap();
    let told = counts(&all["objects"]);
    assert_eq!(told.len(), 13);
    assert_eq!(told, counts(&folder.json("local.json")["objects"]));
    if let Some(shared) = shared().filter(|_| python_has("stix2")) {
        let ours: Vec<&Value> = all["objects"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|o| {
                let kind = o["type"].as_str().unwrap();
                ![
                    "indicator",
                    "relationship",
                    "campaign",
                    "malware",
                    "intrusion-set",
                    "course-of-action",
                ]
                .contains(&kind)
            })
            .collect();
        let bundle = json!({"type": "bundle",
            "id": "bundle--2b9c1fd6-1a52-4c1b-8b57-5d6a7d2f0a04", "objects": ours});
        folder.write("fetched.json", bundle.to_string());
        let judged = Command::new("python3")
            .arg(shared.join("conformance/check_sightings.py"))
            .arg(folder.path("fetched.json"))
            .args(["--known-indicators", BUNDLE])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&judged.stdout);
        assert!(judged.status.success(), "{said}");
    }
    // what an operator calls false comes to the partner as an opinion
    let (indicator, _) = told.first_key_value().unwrap();
    folder
        .run(&format!(
            "sightings refute {indicator} --why scanner --config wp.toml"
        ))
        .exits(0);
    folder.run("exchange push --config wp.toml").exits(0);
    let all: Value = serde_json::from_str(&server.partner("all", "")).unwrap();
    let objects = all["objects"].as_array().unwrap();
    let opinion = objects.iter().find(|o| o["type"] == "opinion").unwrap();
    assert_eq!(opinion["object_refs"], json!([indicator]));
    assert_eq!(opinion["opinion"], "strongly-disagree");
}

/// Large bundles of the field through pages of twenty, against the same bundles from files.
#[test]
fn playbooks_come_whole_through_small_pages() {
    let Some(shared) = shared() else { return };
    let corpus = Command::new(shared.join("corpus/unpack")).output().unwrap();
    let folder = String::from_utf8(corpus.stdout).unwrap();
    let bundles = Path::new(folder.trim()).join("bundles");
    let mut playbooks: Vec<PathBuf> = fs::read_dir(bundles.join("unit42-playbooks/playbook_json"))
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    playbooks.sort();
    assert!(!playbooks.is_empty(), "{}", bundles.display());
    let Some(server) = Medallion::start("playbooks") else {
        return;
    };
    for playbook in playbooks.iter().take(PLAYBOOKS) {
        server.partner("add", &playbook.display().to_string());
    }
    let folder = sensor(&server);
    let pulled = folder.run("exchange pull --config wp.toml").exits(0);
    let mut command: Vec<String> = vec!["intel".into(), "compile".into(), "--json".into()];
    command.extend(
        playbooks
            .iter()
            .take(PLAYBOOKS)
            .map(|p| p.display().to_string()),
    );
    command.extend(["--output".into(), "files.set".into()]);
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    let compiled = folder.run_with(&arguments, b"").exits(0).json();
    let status = folder
        .run("exchange status --config wp.toml --json")
        .exits(0)
        .json();
    let collections = status["exchanges"][0]["collections"].as_array().unwrap();
    let kept: u64 = collections
        .iter()
        .filter_map(|c| c["indicators"].as_u64())
        .sum();
    assert_eq!(
        Some(kept),
        compiled["indicators"].as_u64(),
        "{}",
        pulled.out
    );
    println!("{kept} indicators through pages of {PAGE}");
    assert!(kept > 100);
}

/// Playbooks that are sent: the server takes a second for each hundred objects that it has.
const PLAYBOOKS: usize = 3;
