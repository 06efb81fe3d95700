//! Files that are refused, each with what is said.

use super::LEAST;
use crate::config::Config;

/// An exchange without a kind.
const EXCHANGE: &str = "[[exchange]]\nname = \"a\"\n";

const TAXII: &str = "[[exchange]]\nname = \"a\"\nkind = \"taxii\"\nurl = \"https://a.example/\"\n";

const MISP: &str = "[[exchange]]\nname = \"a\"\nkind = \"misp\"\nurl = \"https://a.example/\"\n\
                    token_file = \"a\"\n";

const OTHER: &str = "[[exchange]]\nname = \"b\"\nkind = \"taxii\"\nurl = \"https://a.example/\"\n";

/// What is said of the text behind the least configuration, which has two lines.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let text = format!("{LEAST}{text}");
    match Config::parse("w.toml", &text) {
        Ok(loaded) => panic!("accepted: {text}\n{loaded:?}"),
        Err(error) => assert_eq!(error.to_string(), format!("w.toml:{expected}"), "{text}"),
    }
}

#[test]
fn no_toml() {
    for (text, expected) in [
        (
            "name \"a\"".to_owned(),
            "3:6: key with no value, expected `=`",
        ),
        (
            "state = \"a".to_owned(),
            "3:11: invalid basic string, expected `\"`",
        ),
        (
            "state = a".to_owned(),
            "3:9: string values must be quoted, expected literal string",
        ),
        (
            "name = \"b\"".to_owned(),
            "3:1: `name` is here a second time: keep one",
        ),
        (
            "[sensor]".to_owned(),
            "3:2: `sensor` is here a second time: keep one",
        ),
        (
            "a = 1 2".to_owned(),
            "3:5: string values must be quoted, expected literal string",
        ),
        (
            "internal = [\"a\"".to_owned(),
            "3:16: unclosed array, expected `]`",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn keys() {
    for (text, expected) in [
        (
            "stat = \"a\"".to_owned(),
            "3:1: unknown key `stat`; did you mean `state`?",
        ),
        (
            "zzzzzzzz = 1".to_owned(),
            "3:1: unknown key `zzzzzzzz`; known here: name, organisation, state, \
             interfaces, internal",
        ),
        (
            "[senser]".to_owned(),
            "3:2: unknown key `senser`; did you mean `sensor`?",
        ),
        (
            "[exchanges]".to_owned(),
            "3:2: unknown key `exchanges`; write [[exchange]] for each",
        ),
        (
            "[block]\nenforced = true".to_owned(),
            "4:1: unknown key `enforced`; did you mean `enforce`?",
        ),
        (
            "[rules]\npath = \"a\"".to_owned(),
            "4:1: unknown key `path`; did you mean `paths`?",
        ),
        (
            "[privacy]\nadresses = \"omit\"".to_owned(),
            "4:1: unknown key `adresses`; did you mean `addresses`?",
        ),
        (
            format!("{TAXII}colections = []"),
            "7:1: unknown key `colections`; did you mean `collections`?",
        ),
        (
            format!("{TAXII}zzzzzzzz = 1"),
            "7:1: unknown key `zzzzzzzz`; known here: name, kind, url, collections, \
             sightings, username, password_file, password_env, password_credential, \
             token_file, token_env, token_credential, client_certificate, client_key, ca, \
             insecure_http, interval, action, confidence, share, also_share_to, \
             expire_after, limits",
        ),
        (
            format!("{EXCHANGE}kind = \"misp\"\ncollections = []"),
            "6:1: `collections` belongs to kind = \"taxii\"; this exchange is \"misp\"",
        ),
        (
            format!("{EXCHANGE}kind = \"folder\"\nurl = \"https://a.example/\""),
            "6:1: `url` belongs to kind = \"taxii\", \"misp\", \"misp-feed\", \"url\"; this \
             exchange is \"folder\"",
        ),
        (
            format!("{EXCHANGE}kind = \"misp\"\nusername = \"a\""),
            "6:1: `username` belongs to kind = \"taxii\", \"misp-feed\", \"url\"; this exchange \
             is \"misp\"",
        ),
        (
            format!("{TAXII}query.tags = []"),
            "7:1: `query` belongs to kind = \"misp\"; this exchange is \"taxii\"",
        ),
        (
            format!("{TAXII}limits.shrink = 1"),
            "7:8: unknown key `shrink`; known here: shrink_percent, grow_factor, at_least, \
             max_bytes, max_objects",
        ),
        (
            format!("{MISP}query.type = []"),
            "8:7: unknown key `type`; did you mean `types`?",
        ),
        (
            "[[exchange]]\nnam = \"a\"".to_owned(),
            "4:1: unknown key `nam`; did you mean `name`?",
        ),
        (
            "enforce = true".to_owned(),
            "3:1: `enforce` belongs to [block]",
        ),
        (
            format!("{TAXII}addresses = \"keep\""),
            "7:1: `addresses` belongs to [privacy]",
        ),
        (
            format!("{TAXII}max_bytes = 1"),
            "7:1: `max_bytes` belongs to limits, as in limits.max_bytes",
        ),
        (
            "[privacy]\nprefix = 24".to_owned(),
            "4:1: unknown key `prefix`; did you mean `prefix_v4`?",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn parts() {
    for (text, expected) in [
        (
            "[exchange]\nname = \"a\"".to_owned(),
            "3:1: each exchange is a table of its own: write [[exchange]]",
        ),
        (
            "[[block]]\nenforce = true".to_owned(),
            "3:1: there is one [block] only: no list, no double brackets",
        ),
        (
            "[block]\nnever = \"a\"".to_owned(),
            "4:9: `never` takes a list of texts, such as [\"a\", \"b\"], not a text",
        ),
        (
            "privacy = 1".to_owned(),
            "3:1: unknown key `privacy`; known here: name, organisation, state, interfaces, \
             internal",
        ),
        (
            "exchange = [1]".to_owned(),
            "3:1: unknown key `exchange`; known here: name, organisation, state, \
             interfaces, internal",
        ),
        (
            format!("{TAXII}limits = 1"),
            "7:10: `limits` takes a table, not a whole number",
        ),
        (
            format!("{TAXII}[[exchange.limits]]"),
            "7:1: there is one limits only: no list, no double brackets",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn types() {
    for (text, expected) in [
        (
            "state = 1".to_owned(),
            "3:9: `state` takes a text in quotes, not a whole number",
        ),
        (
            "interfaces = \"eth0\"".to_owned(),
            "3:14: `interfaces` takes a list of texts, such as [\"a\", \"b\"], not a text",
        ),
        (
            "interfaces = [1]".to_owned(),
            "3:15: `interfaces` takes a list of texts, such as [\"a\", \"b\"], not a whole \
             number",
        ),
        (
            "[block]\nenforce = \"true\"".to_owned(),
            "4:11: `enforce` takes true or false, without quotes, not a text",
        ),
        (
            "[block]\nenforce = 1".to_owned(),
            "4:11: `enforce` takes true or false, without quotes, not a whole number",
        ),
        (
            format!("{TAXII}interval = 15"),
            "7:12: `interval` takes a text in quotes, not a whole number",
        ),
        (
            format!("{TAXII}confidence = \"60\""),
            "7:14: `confidence` takes a whole number, not a text",
        ),
        (
            format!("{TAXII}confidence = 1.5"),
            "7:14: `confidence` takes a whole number, not a number with a point",
        ),
        (
            format!("{TAXII}share = 1979-05-27"),
            "7:9: `share` takes a list of texts, such as [\"a\", \"b\"], not a date",
        ),
        (
            format!("{TAXII}action = true"),
            "7:10: `action` takes a text in quotes, not true or false",
        ),
        (
            format!("{TAXII}url = {{ a = 1 }}"),
            "7:1: `url` is here a second time: keep one",
        ),
        (
            format!("{TAXII}collections = [[\"a\"]]"),
            "7:16: `collections` takes a list of texts, such as [\"a\", \"b\"], not a list",
        ),
        (
            format!("{TAXII}sightings = true"),
            "7:13: `sightings` takes a text in quotes, not true or false",
        ),
        (
            format!("{MISP}sightings = \"a\""),
            "8:13: `sightings` takes true or false, without quotes, not a text",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn absent() {
    for (text, expected) in [
        (
            EXCHANGE.to_owned(),
            "3:1: [[exchange]] has no kind: write kind = \"taxii\" or \"misp\" or \"misp-feed\" \
             or \"url\" or \"folder\"",
        ),
        (
            "[[exchange]]\nkind = \"url\"".to_owned(),
            "3:1: [[exchange]] has no name: write name = \"partner\"",
        ),
        (
            format!("{EXCHANGE}kind = \"url\""),
            "3:1: [[exchange]] has no url: write url = \"https://…\"",
        ),
        (
            format!("{EXCHANGE}kind = \"folder\""),
            "3:1: [[exchange]] has no path: write path = \"/var/lib/lists/partner\"",
        ),
        (
            format!("{EXCHANGE}kind = \"misp\"\nurl = \"https://a.example/\""),
            "3:1: [[exchange]] has no token_file: write token_file = \
             \"/etc/watchpost/misp.key\"",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn values() {
    for (text, expected) in [
        (
            "state = \"\"".to_owned(),
            "3:9: state: an empty path: leave the key out or fill it",
        ),
        (
            "state = \"~/state\"".to_owned(),
            "3:9: state: only a shell knows what ~ is: write the whole path",
        ),
        (
            "organisation = \" \"".to_owned(),
            "3:16: organisation: an empty text: leave the key out or fill it",
        ),
        (
            "organisation = \"a\\nb\"".to_owned(),
            "3:16: organisation: `a\\nb` is no name: at most 255 bytes, no control \
             characters",
        ),
        (
            "interfaces = [\"a/b\"]".to_owned(),
            "3:15: interfaces: `a/b` is no name of a network interface",
        ),
        (
            "internal = [\"10.0.0.1/8\"]".to_owned(),
            "3:13: internal: `10.0.0.1/8` is an address within a network; did you mean \
             `10.0.0.0/8`?",
        ),
        (
            "internal = [\"10.0.0.0/33\"]".to_owned(),
            "3:13: internal: `10.0.0.0/33` is no network, such as \"10.0.0.0/8\"",
        ),
        (
            "internal = [\"a\"]".to_owned(),
            "3:13: internal: `a` is no network, such as \"10.0.0.0/8\"",
        ),
        (
            "[[exchange]]\nname = \"a b\"\nkind = \"url\"".to_owned(),
            "4:8: name: `a b` is no name for an exchange: 1 to 64 letters, digits, '.', '_' \
             and '-', the first a letter or digit",
        ),
        (
            "[[exchange]]\nname = \"../a\"\nkind = \"url\"".to_owned(),
            "4:8: name: `../a` is no name for an exchange: 1 to 64 letters, digits, '.', \
             '_' and '-', the first a letter or digit",
        ),
        (
            format!("{EXCHANGE}kind = \"taxi\""),
            "5:8: kind: unknown value `taxi`; did you mean `taxii`?",
        ),
        (
            format!("{EXCHANGE}kind = \"stix\""),
            "5:8: kind: unknown value `stix`; known here: taxii, misp, misp-feed, url, \
             folder",
        ),
        (
            format!("{TAXII}interval = \"15\""),
            "7:12: interval: `15` is no duration: write a whole number and s, m, h or d, \
             such as \"15m\"",
        ),
        (
            format!("{TAXII}interval = \"1.5h\""),
            "7:12: interval: `1.5h` is no duration: write a whole number and s, m, h or d, \
             such as \"15m\"",
        ),
        (
            format!("{TAXII}interval = \"5s\""),
            "7:12: interval: `5s` is out of bounds: from \"10s\" to \"30d\"",
        ),
        (
            format!("{TAXII}interval = \"31d\""),
            "7:12: interval: `31d` is out of bounds: from \"10s\" to \"30d\"",
        ),
        (
            format!("{TAXII}interval = \"99999999999999999999d\""),
            "7:12: interval: `99999999999999999999d` is no duration: write a whole number \
             and s, m, h or d, such as \"15m\"",
        ),
        (
            format!("{TAXII}interval = \"9999999999999999999d\""),
            "7:12: interval: `9999999999999999999d` is no duration: write a whole number \
             and s, m, h or d, such as \"15m\"",
        ),
        (
            format!("{TAXII}expire_after = \"1s\""),
            "7:16: expire_after: `1s` is out of bounds: from \"1m\" to \"3650d\"",
        ),
        (
            format!("{TAXII}action = \"blok\""),
            "7:10: action: unknown value `blok`; did you mean `block`?",
        ),
        (
            format!("{TAXII}action = \"drop\""),
            "7:10: action: unknown value `drop`; known here: report, block",
        ),
        (
            format!("{TAXII}confidence = 101"),
            "7:14: confidence: a whole number from 0 to 100 is meant",
        ),
        (
            format!("{TAXII}confidence = -1"),
            "7:14: confidence: a whole number from 0 to 100 is meant",
        ),
        (
            format!("{TAXII}limits.shrink_percent = 0"),
            "7:25: shrink_percent: a whole number from 1 to 100 is meant",
        ),
        (
            format!("{TAXII}limits.grow_factor = 1"),
            "7:22: grow_factor: a whole number from 2 to 1000000 is meant",
        ),
        (
            format!("{TAXII}limits.max_bytes = 0xffffffffffff"),
            "7:20: max_bytes: a whole number from 1 to 1099511627776 is meant",
        ),
        (
            format!("{TAXII}limits.at_least = 9223372036854775808"),
            "7:19: at_least: a whole number from 0 to 2147483648 is meant",
        ),
        (
            format!("{TAXII}share = [\"TLP:AMBR\"]"),
            "7:10: share: unknown marking `TLP:AMBR`; did you mean `TLP:AMBER`?",
        ),
        (
            format!("{TAXII}share = [\"CLEAR\"]"),
            "7:10: share: unknown marking `CLEAR`; known here: TLP:CLEAR, TLP:GREEN, \
             TLP:AMBER, TLP:AMBER+STRICT, TLP:RED, unmarked",
        ),
        (
            format!("{MISP}query.types = [\"ip dst\"]"),
            "8:16: types: `ip dst` is no type of MISP, such as \"ip-dst\"",
        ),
        (
            format!("{MISP}query.last = \"al\""),
            "8:14: last: `al` is no duration: write a whole number and s, m, h or d, such \
             as \"15m\"",
        ),
        (
            "[privacy]\naddresses = \"hash\"".to_owned(),
            "4:13: addresses: unknown value `hash`; known here: omit, prefix, pseudonym, \
             keep",
        ),
        (
            "[privacy]\naddresses = \"pseudonym\"".to_owned(),
            "3:1: [privacy] has no pseudonym_key_file: write pseudonym_key_file = \
             \"/etc/watchpost/pseudonym.key\"",
        ),
        (
            "[privacy]\nprefix_v4 = 33".to_owned(),
            "4:13: prefix_v4: a whole number from 0 to 32 is meant",
        ),
        (
            "[privacy]\nwindow = \"8d\"".to_owned(),
            "4:10: window: `8d` is out of bounds: from \"1m\" to \"7d\"",
        ),
        (
            "[privacy]\ninternal_domains = [\"a..b\"]".to_owned(),
            "4:21: internal_domains: `a..b` is no domain name",
        ),
        (
            "[block]\nnever = [\"192.0.2\"]".to_owned(),
            "4:10: never: `192.0.2` is no address, network or domain name",
        ),
        (
            "[block]\nnever = [\"192.0.2.1/24\"]".to_owned(),
            "4:10: never: `192.0.2.1/24` is an address within a network; did you mean \
             `192.0.2.0/24`?",
        ),
        (
            "[block]\nnever = [\"a*.example\"]".to_owned(),
            "4:10: never: `a*.example` is no address, network or domain name",
        ),
        (
            "[block]\nnever = [\"http://a.example/\"]".to_owned(),
            "4:10: never: `http://a.example/` is no address, network or domain name",
        ),
        (
            "[block]\nlease = \"2d\"".to_owned(),
            "4:9: lease: `2d` is out of bounds: from \"1m\" to \"1d\"",
        ),
        (
            "[block]\nmax_add = 0".to_owned(),
            "4:11: max_add: a whole number from 1 to 10000000 is meant",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn addresses() {
    for (text, expected) in [
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"a.example\""),
            "6:7: url: `a.example` does not begin with https://",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"ftp://a.example/\""),
            "6:7: url: `ftp://a.example/` does not begin with https://",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://\""),
            "6:7: url: `https://` names no host",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://a b/\""),
            "6:7: url: `https://a b/` holds white space or characters beyond ASCII: write \
             them as %XX",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://a.example:0/\""),
            "6:7: url: `https://a.example:0/` has no lawful port: from 1 to 65535",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://a.example:99999/\""),
            "6:7: url: `https://a.example:99999/` has no lawful port: from 1 to 65535",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://[::g]/\""),
            "6:7: url: `https://[::g]/` names no host",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://[::1\""),
            "6:7: url: `https://[::1` names no host",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://a.example/#b\""),
            "6:7: url: `https://a.example/#…` has a fragment (#), which no server sees",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"https://u:p@a.example/\""),
            "6:7: url: credentials do not belong in a URL: use username with password_file, \
             or token_file",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"http://a.example/?b=c\""),
            "6:7: url: `http://a.example/?…` is not encrypted: anybody on the way can \
             change what is blocked; write https://, or insecure_http = true if there is no \
             other way",
        ),
        (
            format!("{EXCHANGE}kind = \"url\"\nurl = \"http://192.0.2.1/\""),
            "6:7: url: `http://192.0.2.1/` is not encrypted: anybody on the way can change \
             what is blocked; write https://, or insecure_http = true if there is no other \
             way",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn secrets() {
    for (text, expected) in [
        (
            format!("{TAXII}password = \"hunter2\""),
            "7:1: no secret is written into this file: put it into a file of its own (chmod \
             600) and write password_file = \"PATH\"; or password_env = \"VARIABLE\"; or \
             password_credential = \"NAME\" of systemd",
        ),
        (
            format!("{TAXII}Token = \"hunter2\""),
            "7:1: no secret is written into this file: put it into a file of its own (chmod \
             600) and write token_file = \"PATH\"; or token_env = \"VARIABLE\"; or \
             token_credential = \"NAME\" of systemd",
        ),
        (
            format!("{EXCHANGE}kind = \"misp\"\npassword = \"hunter2\""),
            "6:1: no secret is written into this file: put it into a file of its own (chmod \
             600) and write token_file = \"PATH\"; or token_env = \"VARIABLE\"; or \
             token_credential = \"NAME\" of systemd",
        ),
        (
            format!("{EXCHANGE}kind = \"misp\"\nkey = 12345"),
            "6:1: no secret is written into this file: put it into a file of its own (chmod \
             600) and write token_file = \"PATH\"; or token_env = \"VARIABLE\"; or \
             token_credential = \"NAME\" of systemd",
        ),
        (
            "[privacy]\npseudonym_key = \"hunter2\"".to_owned(),
            "4:1: no secret is written into this file: put it into a file of its own (chmod \
             600) and write pseudonym_key_file = \"PATH\"; or pseudonym_key_env = \"VARIABLE\"; \
             or pseudonym_key_credential = \"NAME\" of systemd",
        ),
        (
            format!("{EXCHANGE}kind = \"folder\"\npassword = \"hunter2\""),
            "6:1: unknown key `password`; known here: name, kind, path, interval, action, \
             confidence, share, also_share_to, expire_after, limits",
        ),
        (
            format!("{TAXII}username = \"sensor:hunter2\""),
            "7:12: username: a username with a colon, which HTTP cannot send; the password \
             has a key of its own, such as password_file",
        ),
        (
            format!("{TAXII}username = \"a\"\npassword_env = \"hunter 2\""),
            "8:16: password_env: the name of an environment variable is meant, of letters, \
             digits and '_'; never the secret itself",
        ),
        (
            format!("{TAXII}username = \"a\"\npassword_credential = \"hunter/2\""),
            "8:23: password_credential: the name of a credential of systemd is meant, \
             without '/' and blanks; never the secret itself",
        ),
        (
            format!("{TAXII}username = \"a\"\npassword_file = \"a\"\npassword_env = \"A\""),
            "9:16: password_file and password_env say where the same secret is: keep one",
        ),
        (
            format!("{TAXII}username = \"a\""),
            "7:12: username needs a password: write password_file, password_env or \
             password_credential",
        ),
        (
            format!("{TAXII}password_file = \"a\""),
            "7:17: a password needs a username: write username = \"sensor\"",
        ),
        (
            format!("{TAXII}token_file = \"a\"\nusername = \"a\"\npassword_file = \"a\""),
            "9:17: a password and a token: sign in with one of the two",
        ),
        (
            format!("{TAXII}token_file = \"a\"\nusername = \"a\""),
            "8:12: a password and a token: sign in with one of the two",
        ),
        (
            format!("{TAXII}client_key = \"a\""),
            "7:14: client_key needs its certificate: write client_certificate = \"PATH\"",
        ),
        (
            format!("{TAXII}client_certificate = \"a\""),
            "7:22: client_certificate needs its key: write client_key = \"PATH\"",
        ),
    ] {
        refused(&text, expected);
    }
}

#[test]
fn between() {
    for (text, expected) in [
        (
            format!("{TAXII}{TAXII}"),
            "8:8: name: the exchange of line 4 is called `a` as well; names must differ in \
             more than letter case",
        ),
        (
            format!(
                "{OTHER}[[exchange]]\nname = \"B\"\nkind = \"url\"\nurl = \"https://a.example/\"\n"
            ),
            "8:8: name: the exchange of line 4 is called `B` as well; names must differ in \
             more than letter case",
        ),
        (
            format!("{TAXII}also_share_to = [\"a\"]"),
            "7:18: also_share_to: `a` is this exchange itself",
        ),
        (
            format!("{TAXII}also_share_to = [\"b\"]"),
            "7:18: also_share_to: unknown exchange `b`; did you mean `a`?",
        ),
        (
            format!("{TAXII}also_share_to = [\"bc\"]\n{OTHER}"),
            "7:18: also_share_to: unknown exchange `bc`; did you mean `b`?",
        ),
        (
            format!("{TAXII}also_share_to = [\"b\"]\n{OTHER}"),
            "7:18: also_share_to: `b` takes no sightings: it has no sightings key",
        ),
    ] {
        refused(&text, expected);
    }
}
