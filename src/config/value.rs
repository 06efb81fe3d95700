//! Values of the configuration as text: durations, URLs, names, networks.

use crate::observable::name;
use crate::verdict::quoted;
use ipnet::IpNet;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

/// The web address of an exchange: http or https, a host, no user, no fragment.
///
/// Some servers take a key in the query: `Debug` and `Display` show none of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// The whole address, to be asked for and not to be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_query(&self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// What never reaches the firewall. `Display` writes it as an allowlist has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Never {
    /// An address or network.
    Network(IpNet),
    /// A domain name in normal form: A-labels in lower case, no final dot.
    Name {
        /// The name.
        name: String,
        /// Whether everything below it is meant as well (`.example.org`, `*.example.org`).
        below: bool,
    },
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Self::Network(network) => write!(f, "{network}"),
            Self::Name { name, below: false } => f.write_str(name),
            Self::Name { name, below: true } => write!(f, ".{name}"),
        }
    }
}

/// Time between two pulls. Below it a poll is a burden to every server; above it, an indicator
/// that was withdrawn lives on.
pub(super) const INTERVALS: Bounds = Bounds::new("10s", 10, "30d", 30 * DAY);

/// Time that sightings are gathered for: a minute is what a burst of matches needs; after a week
/// nobody acts on them.
pub(super) const WINDOWS: Bounds = Bounds::new("1m", 60, "7d", 7 * DAY);

/// Time that a block outlives its sensor: it is renewed at half, and the firewall counts seconds.
pub(super) const LEASES: Bounds = Bounds::new("1m", 60, "1d", DAY);

/// Life of an indicator without an end of its own, and age of events: ten years are for ever.
pub(super) const LIVES: Bounds = Bounds::new("1m", 60, "3650d", 3_650 * DAY);

const DAY: u64 = 86_400;

/// Bytes of the longest URL: what servers and proxies take at least (RFC 9110 section 4.1) is
/// 8000, and no address of an exchange has a quarter of it.
const LONGEST_URL: usize = 2_000;

/// Bytes of the longest name of anything: of a file on Linux.
const LONGEST_NAME: usize = 255;

/// Bytes of an exchange's name: it stands in tables, events and the names of folders.
const LONGEST_EXCHANGE_NAME: usize = 64;

/// Bytes of the name of a network interface (IFNAMSIZ without its final zero).
const LONGEST_INTERFACE: usize = 15;

/// The least and the most of a duration, also as text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    shown: [&'static str; 2],
    seconds: [u64; 2],
}

impl Bounds {
    const fn new(
        shown_least: &'static str,
        least: u64,
        shown_most: &'static str,
        most: u64,
    ) -> Self {
        Self {
            shown: [shown_least, shown_most],
            seconds: [least, most],
        }
    }

    /// Reads a duration within the bounds.
    pub(super) fn read(self, text: &str) -> Result<Duration, String> {
        let read = duration(text)?;
        let [least, most] = self.seconds;
        if (least..=most).contains(&read.as_secs()) {
            return Ok(read);
        }
        let [least, most] = self.shown;
        Err(format!(
            "{} is out of bounds: from \"{least}\" to \"{most}\"",
            quoted(text)
        ))
    }
}

/// Reads `90s`, `15m`, `1h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "{} is no duration: write a whole number and s, m, h or d, such as \"15m\"",
            quoted(text)
        )
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds_of_unit = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds_of_unit).ok_or_else(wrong)?;
    Ok(Duration::from_secs(seconds))
}

/// How a URL is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// By TLS, or without leaving this host.
    Safe,
    /// In the clear, over a network.
    Clear,
}

/// Checks the URL of an exchange (RFC 3986, no more of it than is needed): http or https, a host,
/// no credentials, no fragment.
pub(super) fn url(text: &str) -> Result<(Url, Reach), String> {
    let shown = match text.contains('@') {
        // it may hold a password, wherever that ends
        true => "the address".to_owned(),
        false => quoted(&without_query(text)),
    };
    if text.len() > LONGEST_URL {
        return Err(format!("{shown} is longer than {LONGEST_URL} bytes"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!(
            "{shown} holds white space or characters beyond ASCII: write them as %XX"
        ));
    }
    let lower = text.to_ascii_lowercase();
    let (is_clear, rest) = if let Some(rest) = lower.strip_prefix("https://") {
        (false, rest)
    } else if let Some(rest) = lower.strip_prefix("http://") {
        (true, rest)
    } else {
        return Err(format!("{shown} does not begin with https://"));
    };
    if rest.contains('#') {
        return Err(format!("{shown} has a fragment (#), which no server sees"));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(
            "credentials do not belong in a URL: use username with password_file, or token_file"
                .into(),
        );
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) = bracketed.split_once(']').unwrap_or_default();
            let address = host.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
            (address.map(|a| a.is_loopback()), port)
        }
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at(end);
            (is_host(host).then(|| is_loopback(host)), port)
        }
    };
    let Some(is_loopback) = host else {
        return Err(format!("{shown} names no host"));
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|n| n > 0)
    };
    if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
        return Err(format!("{shown} has no lawful port: from 1 to 65535"));
    }
    let reach = if is_clear && !is_loopback {
        Reach::Clear
    } else {
        Reach::Safe
    };
    Ok((Url(text.to_owned()), reach))
}

/// A web address without what may hold a secret: what follows its path.
fn without_query(text: &str) -> Cow<'_, str> {
    match text.find(['?', '#']) {
        // both are one byte
        Some(end) => Cow::Owned(format!("{}…", text.get(..=end).unwrap_or_default())),
        None => Cow::Borrowed(text),
    }
}

fn is_host(host: &str) -> bool {
    let is_lawful = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !host.is_empty() && host.len() <= LONGEST_NAME && host.bytes().all(is_lawful)
}

/// Whether a host is this one: 127.0.0.0/8, or a name that RFC 6761 section 6.3 keeps for it.
fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Checks the name of an exchange, which becomes the name of a folder.
pub(super) fn exchange_name(text: &str) -> Result<String, String> {
    let is_lawful = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let lawful = (1..=LONGEST_EXCHANGE_NAME).contains(&text.len())
        && text.bytes().all(is_lawful)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    lawful.then(|| text.to_owned()).ok_or_else(|| {
        format!(
            "{} is no name for an exchange: 1 to {LONGEST_EXCHANGE_NAME} letters, digits, '.', \
             '_' and '-', the first a letter or digit",
            quoted(text)
        )
    })
}

/// Checks a name for people, or one that a server chose: something, on one line, not too long.
pub(super) fn title(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("an empty text: leave the key out or fill it".into());
    }
    if text.len() > LONGEST_NAME || text.chars().any(char::is_control) {
        return Err(format!(
            "{} is no name: at most {LONGEST_NAME} bytes, no control characters",
            quoted(text)
        ));
    }
    Ok(text.to_owned())
}

/// Checks a user name: no colon (RFC 7617 section 2).
pub(super) fn username(text: &str) -> Result<String, String> {
    title(text)?;
    if text.contains(':') {
        // not repeated: what follows the colon may be the password
        return Err(
            "a username with a colon, which HTTP cannot send; the password has a key of \
                    its own, such as password_file"
                .into(),
        );
    }
    Ok(text.to_owned())
}

/// Checks the name of a network interface.
pub(super) fn interface(text: &str) -> Result<String, String> {
    let lawful = (1..=LONGEST_INTERFACE).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        && !matches!(text, "." | "..");
    lawful
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{} is no name of a network interface", quoted(text)))
}

/// Reads a network; an address is the network of it alone.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text
        .parse()
        .map_err(|_| format!("{} is no network, such as \"10.0.0.0/8\"", quoted(text)))?;
    let whole = network.trunc();
    if whole != network {
        return Err(format!(
            "{} is an address within a network; did you mean `{whole}`?",
            quoted(text)
        ));
    }
    Ok(network)
}

/// Reads a value that must never be blocked: an address, a network, or a domain name.
pub(super) fn never(text: &str) -> Result<Never, String> {
    let address = text.split('/').next().unwrap_or_default();
    if address.parse::<IpAddr>().is_ok() {
        return network(text).map(Never::Network);
    }
    let rest = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
    match domain(rest.unwrap_or(text)) {
        Some(name) => Ok(Never::Name {
            name,
            below: rest.is_some(),
        }),
        None => Err(format!(
            "{} is no address, network or domain name",
            quoted(text)
        )),
    }
}

/// Reads a domain that stands for everything below it as well; `.` or `*.` may go before it.
pub(super) fn internal_domain(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
    domain(rest.unwrap_or(text)).ok_or_else(|| format!("{} is no domain name", quoted(text)))
}

/// A domain name in normal form; `None` for what a resolver would read as something else.
fn domain(text: &str) -> Option<String> {
    let is_lawful = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    name::normalise(text)
        .filter(|name| name.bytes().all(is_lawful))
        // 63 bytes: RFC 1035 section 2.3.4
        .filter(|name| name.split('.').all(|label| label.len() <= 63))
        // 192.0.2 is a slip, not a name
        .filter(|name| !name.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        .map(Cow::into_owned)
}

/// Checks the name of an environment variable.
pub(super) fn variable(text: &str) -> Result<String, String> {
    let lawful = text.len() <= LONGEST_NAME
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty();
    lawful.then(|| text.to_owned()).ok_or_else(|| {
        // not repeated: it may be the secret itself
        "the name of an environment variable is meant, of letters, digits and '_'; never the \
         secret itself"
            .into()
    })
}

/// Checks the name of a systemd credential, which is the name of a file in one folder.
pub(super) fn credential(text: &str) -> Result<String, String> {
    let lawful = (1..=LONGEST_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        && !matches!(text, "." | "..");
    lawful.then(|| text.to_owned()).ok_or_else(|| {
        // not repeated: it may be the secret itself
        "the name of a credential of systemd is meant, without '/' and blanks; never the secret \
         itself"
            .into()
    })
}

/// Checks a path: something, no control character, and nothing that only a shell expands.
pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("an empty path: leave the key out or fill it".into());
    }
    if text.chars().any(char::is_control) {
        return Err("a path with control characters: is it meant?".into());
    }
    if text == "~" || text.starts_with("~/") {
        return Err("only a shell knows what ~ is: write the whole path".into());
    }
    Ok(PathBuf::from(text))
}

/// Reads a type of MISP attributes, such as `ip-dst` or `filename|md5`.
pub(super) fn attribute_type(text: &str) -> Result<String, String> {
    let is_lawful = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'|' | b'_' | b'.');
    let lawful = (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(is_lawful);
    lawful
        .then(|| text.to_owned())
        .ok_or_else(|| format!("{} is no type of MISP, such as \"ip-dst\"", quoted(text)))
}
