//! `watchpost config check`: what is understood of a configuration, and what is not usable.

mod common;

use common::Folder;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CONFIG: &str = r#"
[sensor]
name = "gateway-1"
organisation = "Example Org"
internal = ["10.0.0.0/8"]

[rules]
paths = ["rules"]

[[exchange]]
name = "ec3"
kind = "taxii"
url = "https://exchange.example/taxii2/"
collections = ["91a7b528-80eb-42ed-a74d-c6fbd5a26116"]
sightings = "52892447-4d7e-4f70-b94d-d7f22742ff63"
username = "sensor"
password_file = "ec3.password"
interval = "15m"
action = "block"
share = ["TLP:CLEAR", "TLP:GREEN", "TLP:AMBER"]

[[exchange]]
name = "lists"
kind = "folder"
path = "lists"
also_share_to = ["ec3"]
expire_after = "2d"
confidence = 40

[block]
never = ["192.0.2.1", ".example.org"]
"#;

/// A folder with a configuration and all that it names.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("watchpost.toml", CONFIG);
    folder.write(
        "rules/policy.toml",
        "[policy]\ndefault_action = \"report\"\n",
    );
    folder.write("lists/a.txt", "192.0.2.9\n");
    write_password(&folder, 0o600);
    folder
}

fn write_password(folder: &Folder, mode: u32) {
    let path = folder.write("ec3.password", "hunter2-Zq9\n");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_understood_is_told_in_plain_words() {
    let folder = folder();
    let ran = folder
        .run("config check watchpost.toml")
        .exits(0)
        .says_nothing();
    let root = fs::canonicalize(folder.path(".")).unwrap();
    let root = root.display();
    let expected = format!(
        "\
Sensor gateway-1 of Example Org
  watches     what the command line names
  internal    10.0.0.0/8
  state       /var/lib/watchpost
  rules       {root}/rules

Exchange ec3: TAXII server https://exchange.example/taxii2/
  read        every 15 minutes, collections 91a7b528-80eb-42ed-a74d-c6fbd5a26116
  sign-in     as sensor, with the password in {root}/ec3.password
  indicators  block where the rules say so
  goes back   sightings of indicators that are TLP:CLEAR or TLP:GREEN or TLP:AMBER, into \
collection 52892447-4d7e-4f70-b94d-d7f22742ff63
  held back   a set that loses more than 50 % of its indicators or has more than 10 times as \
many, from 100 on
  at most     1,073,741,824 bytes, 5,000,000 objects a pull

Exchange lists: files of {root}/lists
  read        every 15 minutes
  indicators  are reported, and never block; without a confidence they count as 40; without an \
end they end after 2 days
  goes back   sightings of indicators that are TLP:CLEAR or TLP:GREEN, to ec3
  held back   a set that loses more than 50 % of its indicators or has more than 10 times as \
many, from 100 on
  at most     1,073,741,824 bytes, 5,000,000 objects a pull

Privacy: of what is internal, in what leaves
  addresses   are left out
  names       are left out; no domain is named as internal
  sightings   gathered for 1 hour, then sent as one

Blocking: a dry run; events say what would be blocked
  never       192.0.2.1, .example.org
  nor         networks wider than /16 and /48
  each for    1 hour, renewed by a living sensor
  at most     10,000 by one update
"
    );
    assert_eq!(ran.out, expected);
}

#[test]
fn the_shipped_example_is_fine() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/watchpost.toml");
    let ran = Folder::new()
        .run(&format!("config check {example}"))
        .exits(0)
        .says_nothing();
    assert!(ran.out.contains("No exchange"), "{}", ran.out);
}

#[test]
fn standard_input() {
    let folder = folder();
    let ran = folder
        .run_with(&["config", "check", "-"], CONFIG.as_bytes())
        .exits(0);
    assert!(ran.out.contains("Exchange ec3"), "{}", ran.out);
    folder
        .run_with(&["config", "check", "-"], b"[sensor]\nnam = \"a\"\n")
        .exits(2)
        .says(&["standard input:2:1: unknown key `nam`; did you mean `name`?"]);
}

#[test]
fn what_cannot_be_used_is_told() {
    let folder = folder();
    let run = || folder.run("config check watchpost.toml");

    write_password(&folder, 0o644);
    let ran = run().exits(2).says(&[
        "error: exchange ec3: ",
        "ec3.password: every user of this host can read or write it (mode 0644): chmod 600 it",
    ]);
    assert!(!format!("{}{}", ran.out, ran.err).contains("hunter2"));
    write_password(&folder, 0o640);
    run().exits(0).says(&[
        "warning: exchange ec3: ",
        "its group can read or write it (mode 0640)",
    ]);
    folder.write("ec3.password", "two\nlines\n");
    fs::set_permissions(
        folder.path("ec3.password"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    run().exits(2).says(&["it is not one line of UTF-8 text"]);
    fs::remove_file(folder.path("ec3.password")).unwrap();
    fs::remove_dir_all(folder.path("lists")).unwrap();
    folder.write("rules/policy.toml", "[polcy]\n");
    run().exits(2).says(&[
        "ec3.password: it cannot be read: No such file",
        "exchange lists: ",
        "lists: cannot be read: No such file",
        "policy.toml:1:2: unknown key `polcy`; did you mean `policy`?",
    ]);

    let text = "[sensor]\nname = \"a\"\ninterfaces = [\"lo\", \"absent0\"]\n\
                [[exchange]]\nname = \"b\"\nkind = \"url\"\nurl = \"https://b.example/?key=hunter2\"\n\
                token_env = \"WATCHPOST_NO_SUCH_TOKEN\"\nca = \"absent.pem\"\n";
    folder.write("watchpost.toml", text);
    let ran = run().exits(2).says(&[
        "warning: interfaces: this host has no interface absent0\n",
        "warning: exchange b: not checked: $WATCHPOST_NO_SUCH_TOKEN: the environment variable is \
         not set\n",
        "absent.pem: cannot be read: No such file",
    ]);
    assert!(ran.out.contains("document https://b.example/?…\n"));
    assert!(!format!("{}{}", ran.out, ran.err).contains("hunter2"));

    folder.run("config check absent.toml").exits(2).says(&[
        "absent.toml: cannot be read: No such file",
        "docs/watchpost.toml",
    ]);
}
