//! The values that a list may hold, each told by its form.

use super::pattern::escape;
use super::refang::refang;
use super::tally::quote;
use ipnet::IpNet;
use std::borrow::Cow;
use std::net::IpAddr;
use std::net::SocketAddr;

/// Longest domain name in text, without the dot at its end (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

/// Longest label of a domain name (RFC 1035 section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// One value, in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// An address; IPv4 mapped into IPv6 is IPv4.
    Address(IpAddr),
    /// A network with no host bits set, neither a single address nor all of them.
    Network(IpNet),
    /// An address and a port, which is not 0.
    Endpoint(SocketAddr),
    /// A domain name in lower-case A-labels, without the dot at its end.
    Name {
        /// At least two labels.
        name: String,
        /// Whether names below it are meant as well.
        subdomains: bool,
    },
    /// An `http` or `https` URL as written.
    Url(String),
    /// A hash: its name as a step in a STIX path, and its digits in lower case.
    Hash(&'static str, String),
    /// A mail address; its domain is in lower-case A-labels.
    Mail(String),
}

/// Why a line is no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoValue {
    /// What is wrong and what to do, for people.
    pub(crate) reason: String,
    /// Whether it is several words.
    pub(crate) prose: bool,
}

impl From<String> for NoValue {
    fn from(reason: String) -> Self {
        Self {
            reason,
            prose: false,
        }
    }
}

/// What reading a value found worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostBits(pub(crate) bool);

impl Value {
    /// Reads a value, defanged or not, with quotes or a comma around it or not.
    pub(crate) fn parse(line: &str) -> Result<(Self, HostBits), NoValue> {
        let bare = strip_wrapping(line);
        if bare.contains(char::is_whitespace) {
            let words = bare.split_whitespace().count();
            return Err(NoValue {
                reason: format!("{} is no single value: write one a line", quote(bare)),
                prose: words > 2,
            });
        }
        let value = refang(bare);
        let value = &*value;
        if value.contains("://") {
            return Ok((Self::url(value)?, HostBits(false)));
        }
        if let Ok(address) = unbracket(value).parse::<IpAddr>() {
            return Ok((Self::Address(address.to_canonical()), HostBits(false)));
        }
        if let Some((address, prefix)) = value.split_once('/') {
            return Self::network(value, address, prefix);
        }
        let plain = if value.contains('@') {
            Self::mail(value)
        } else if let Ok(endpoint) = value.parse::<SocketAddr>() {
            Self::endpoint(value, endpoint)
        } else if is_hexadecimal(value) {
            Self::hash(value)
        } else {
            Self::name(value)
        };
        Ok((plain?, HostBits(false)))
    }

    /// The STIX pattern that says the value.
    pub(super) fn pattern(&self) -> String {
        match self {
            Self::Address(address) => {
                format!("[{}:value = '{address}']", family(*address))
            }
            Self::Network(network) => {
                format!("[{}:value = '{network}']", family(network.addr()))
            }
            Self::Endpoint(endpoint) => format!(
                "[network-traffic:dst_ref.value = '{}' AND network-traffic:dst_port = {}]",
                endpoint.ip(),
                endpoint.port()
            ),
            Self::Name { name, .. } => format!("[domain-name:value = '{name}']"),
            Self::Url(url) => format!("[url:value = '{}']", escape(url)),
            Self::Hash(name, digits) => format!("[file:hashes.{name} = '{digits}']"),
            Self::Mail(address) => format!("[email-addr:value = '{}']", escape(address)),
        }
    }

    /// The normal form: values that mean the same have the same.
    pub(super) fn normal_form(&self) -> Cow<'_, str> {
        match self {
            Self::Address(address) => Cow::Owned(address.to_string()),
            Self::Network(network) => Cow::Owned(network.to_string()),
            Self::Endpoint(endpoint) => Cow::Owned(endpoint.to_string()),
            Self::Name {
                name,
                subdomains: true,
            } => Cow::Owned(format!(".{name}")),
            Self::Name { name: text, .. }
            | Self::Url(text)
            | Self::Hash(_, text)
            | Self::Mail(text) => Cow::Borrowed(text),
        }
    }

    /// Whether names below the value's are meant as well.
    pub(super) const fn subdomains(&self) -> bool {
        matches!(
            self,
            Self::Name {
                subdomains: true,
                ..
            }
        )
    }

    fn url(value: &str) -> Result<Self, String> {
        let shown = || quote(value);
        let (scheme, rest) = value.split_once("://").unwrap_or_default();
        if !["http", "https"]
            .iter()
            .any(|s| s.eq_ignore_ascii_case(scheme))
        {
            return Err(format!(
                "the scheme of {} is neither http nor https: no other can be seen; give the \
                 host's name or address alone",
                shown()
            ));
        }
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let authority = rest.get(..end).unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return Err(format!("the URL {} names no host", shown()));
        }
        if value.contains(char::is_control) {
            return Err(format!("the URL {} holds control characters", shown()));
        }
        Ok(Self::Url(value.to_owned()))
    }

    fn network(value: &str, address: &str, prefix: &str) -> Result<(Self, HostBits), NoValue> {
        let shown = quote(value);
        let Ok(address) = unbracket(address).parse::<IpAddr>() else {
            return Err(format!(
                "{shown} is neither a network nor a URL: a URL needs http:// or https:// before it"
            )
            .into());
        };
        let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
        let network = prefix
            .parse()
            .ok()
            .filter(|_| digits)
            .and_then(|prefix: u8| IpNet::new(address, prefix).ok());
        let Some(network) = network else {
            let most = if address.is_ipv4() { 32 } else { 128 };
            return Err(format!(
                "{shown} is no network: its prefix length must be a number from 1 to {most}"
            )
            .into());
        };
        let masked = network.trunc();
        let host_bits = HostBits(masked != network);
        match masked.prefix_len() {
            0 => Err(format!("{shown} covers every address: write smaller networks").into()),
            length if length == masked.max_prefix_len() => {
                Ok((Self::Address(address.to_canonical()), host_bits))
            }
            _ => Ok((Self::Network(masked), host_bits)),
        }
    }

    fn endpoint(value: &str, endpoint: SocketAddr) -> Result<Self, NoValue> {
        if endpoint.port() == 0 {
            return Err(format!("port 0 of {} is on no wire", quote(value)).into());
        }
        let address = endpoint.ip().to_canonical();
        Ok(Self::Endpoint(SocketAddr::new(address, endpoint.port())))
    }

    /// A hash, told by how many digits it has.
    pub(super) fn hash(value: &str) -> Result<Self, NoValue> {
        let name = match value.len() {
            32 => "MD5",
            40 => "'SHA-1'",
            64 => "'SHA-256'",
            length => {
                return Err(format!(
                    "{} is no hash: MD5 has 32 digits, SHA-1 40, SHA-256 64, this has {length}",
                    quote(value)
                )
                .into());
            }
        };
        Ok(Self::Hash(name, value.to_ascii_lowercase()))
    }

    fn mail(value: &str) -> Result<Self, NoValue> {
        match value.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !local.contains('@') => {
                let domain = normal_name(domain, value)?;
                Ok(Self::Mail(format!("{local}@{domain}")))
            }
            _ => Err(format!("{} is no mail address", quote(value)).into()),
        }
    }

    fn name(value: &str) -> Result<Self, NoValue> {
        let below = value.strip_prefix("*.").or_else(|| value.strip_prefix('.'));
        Ok(Self::Name {
            name: normal_name(below.unwrap_or(value), value)?,
            subdomains: below.is_some(),
        })
    }
}

/// A domain name in normal form; `value` is what a message shows.
fn normal_name(name: &str, value: &str) -> Result<String, NoValue> {
    let shown = || quote(value);
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = if name.is_ascii() {
        name.to_ascii_lowercase()
    } else if name.len() > 4 * LONGEST_NAME {
        // a character takes four bytes at most, and what is longer takes long to convert
        return Err(format!("{} is longer than any domain name", shown()).into());
    } else {
        idna::domain_to_ascii(name)
            .map_err(|_| format!("{} is no internationalised domain name", shown()))?
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let lawful = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if !name.bytes().all(|c| lawful(c) || c == b'.') {
        if let Some((_, port)) = name.rsplit_once(':')
            && !port.is_empty()
            && port.bytes().all(|c| c.is_ascii_digit())
        {
            let shown = shown();
            return Err(format!("{shown} is a name with a port: give the name alone").into());
        }
        return Err(format!(
            "{} is no address, network, domain name, URL, hash or mail address",
            shown()
        )
        .into());
    }
    let top = name.rsplit('.').next().unwrap_or_default();
    if !top.is_empty() && top.bytes().all(|c| c.is_ascii_digit()) {
        let why = "is neither an address nor a name: addresses are four numbers from 0 to 255 \
                   without leading zeros";
        return Err(format!("{} {why}", shown()).into());
    }
    if !name.contains('.') {
        return Err(format!(
            "{} is a single label: a domain name has a dot between two at least",
            shown()
        )
        .into());
    }
    let lengths = 1..=LONGEST_LABEL;
    if name.len() > LONGEST_NAME || !name.split('.').all(|label| lengths.contains(&label.len())) {
        return Err(format!(
            "{} is no domain name: its labels must have 1 to {LONGEST_LABEL} characters, \
             {LONGEST_NAME} in all",
            shown()
        )
        .into());
    }
    Ok(name.to_owned())
}

/// Without a comma at the end and quotes around.
fn strip_wrapping(line: &str) -> &str {
    let mut bare = line.trim();
    loop {
        let before = bare;
        bare = bare.strip_suffix([',', ';']).unwrap_or(bare).trim_end();
        for quote in ['"', '\'', '`'] {
            let inner = bare.strip_prefix(quote).and_then(|b| b.strip_suffix(quote));
            bare = inner.unwrap_or(bare).trim();
        }
        if bare.len() == before.len() {
            return bare;
        }
    }
}

/// An IPv6 address may stand in brackets.
fn unbracket(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .filter(|text| text.contains(':'))
        .unwrap_or(text)
}

/// Long enough to be meant as a hash, and of no other characters than digits of one.
fn is_hexadecimal(value: &str) -> bool {
    /// Shorter ones are words or names of hosts.
    const SHORTEST: usize = 24;
    value.len() >= SHORTEST && value.bytes().all(|b| b.is_ascii_hexdigit())
}

const fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ipv4-addr",
        IpAddr::V6(_) => "ipv6-addr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pattern and normal form of a line.
    fn read(line: &str) -> (String, String, bool) {
        let (value, _) = Value::parse(line).unwrap_or_else(|e| panic!("{line}: {e:?}"));
        (
            value.pattern(),
            value.normal_form().into_owned(),
            value.subdomains(),
        )
    }

    #[test]
    fn tells_values_by_their_form() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (line, pattern, normal) in [
            ("192.0.2.1", "[ipv4-addr:value = '192.0.2.1']", "192.0.2.1"),
            (
                "192[.]0[.]2[.]1",
                "[ipv4-addr:value = '192.0.2.1']",
                "192.0.2.1",
            ),
            (
                "2001:DB8:0:0::1",
                "[ipv6-addr:value = '2001:db8::1']",
                "2001:db8::1",
            ),
            (
                "[2001:db8::1]",
                "[ipv6-addr:value = '2001:db8::1']",
                "2001:db8::1",
            ),
            (
                "::ffff:192.0.2.1",
                "[ipv4-addr:value = '192.0.2.1']",
                "192.0.2.1",
            ),
            (
                "192.0.2.0/24",
                "[ipv4-addr:value = '192.0.2.0/24']",
                "192.0.2.0/24",
            ),
            (
                "192.0.2.7/32",
                "[ipv4-addr:value = '192.0.2.7']",
                "192.0.2.7",
            ),
            (
                "2001:DB8::/32",
                "[ipv6-addr:value = '2001:db8::/32']",
                "2001:db8::/32",
            ),
            (
                "192.0.2.1:8080",
                "[network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 8080]",
                "192.0.2.1:8080",
            ),
            (
                "[2001:db8::1]:443",
                "[network-traffic:dst_ref.value = '2001:db8::1' AND network-traffic:dst_port = 443]",
                "[2001:db8::1]:443",
            ),
            (
                "Example.ORG.",
                "[domain-name:value = 'example.org']",
                "example.org",
            ),
            (
                "_x.a-b.example",
                "[domain-name:value = '_x.a-b.example']",
                "_x.a-b.example",
            ),
            (
                "example[.]org,",
                "[domain-name:value = 'example.org']",
                "example.org",
            ),
            (
                "\"example.org\",",
                "[domain-name:value = 'example.org']",
                "example.org",
            ),
            (
                "'example.org'",
                "[domain-name:value = 'example.org']",
                "example.org",
            ),
            (
                "bücher.example",
                "[domain-name:value = 'xn--bcher-kva.example']",
                "xn--bcher-kva.example",
            ),
            (
                "xn--bcher-kva.example",
                "[domain-name:value = 'xn--bcher-kva.example']",
                "xn--bcher-kva.example",
            ),
            (
                ".a.example",
                "[domain-name:value = 'a.example']",
                ".a.example",
            ),
            (
                "*.A.example",
                "[domain-name:value = 'a.example']",
                ".a.example",
            ),
            (
                "hxxps://Example[.]org/A'b\\c?d#e",
                "[url:value = 'https://Example.org/A\\'b\\\\c?d#e']",
                "https://Example.org/A'b\\c?d#e",
            ),
            (
                "http://[2001:db8::1]/",
                "[url:value = 'http://[2001:db8::1]/']",
                "http://[2001:db8::1]/",
            ),
            (
                "joe[at]Example[.]org",
                "[email-addr:value = 'joe@example.org']",
                "joe@example.org",
            ),
            (
                "o'x@example.org",
                "[email-addr:value = 'o\\'x@example.org']",
                "o'x@example.org",
            ),
        ] {
            let subdomains = normal.starts_with('.');
            assert_eq!(
                read(line),
                (pattern.into(), normal.into(), subdomains),
                "{line}"
            );
        }
        for (name, digits) in [("MD5", md5), ("'SHA-1'", sha1), ("'SHA-256'", sha256)] {
            let pattern = format!("[file:hashes.{name} = '{digits}']");
            let expected = (pattern, digits.to_owned(), false);
            assert_eq!(read(digits), expected);
            assert_eq!(read(&digits.to_uppercase()), expected);
        }
    }

    #[test]
    fn says_that_host_bits_were_cut_off() {
        for (line, normal, host_bits) in [
            ("192.0.2.77/24", "192.0.2.0/24", true),
            ("192.0.2.64/26", "192.0.2.64/26", false),
            ("2001:db8::1/64", "2001:db8::/64", true),
            ("192.0.2.77/32", "192.0.2.77", false),
        ] {
            let (value, found) = Value::parse(line).unwrap();
            assert_eq!(
                (&*value.normal_form(), found.0),
                (normal, host_bits),
                "{line}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_value() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example", "abcdefg.".repeat(32));
        for (line, reason) in [
            ("localhost", "single label"),
            (".com", "single label"),
            ("*.com", "single label"),
            ("*.", "single label"),
            ("a..example", "1 to 63"),
            (&*long_label, "1 to 63"),
            (&*long_name, "253 in all"),
            ("*.*.example", "no address"),
            ("exa mple.org", "one a line"),
            ("192.0.2.1,bad", "no address"),
            ("1.2.3", "four numbers"),
            ("256.1.1.1", "four numbers"),
            ("192.0.02.1", "four numbers"),
            ("192.0.2.1.", "four numbers"),
            ("192.0.2.1-192.0.2.9", "four numbers"),
            ("fe80::1%eth0", "no address"),
            ("192.0.2.0/33", "1 to 32"),
            ("192.0.2.0/", "1 to 32"),
            ("192.0.2.0/+8", "1 to 32"),
            ("192.0.2.0/255.255.255.0", "1 to 32"),
            ("2001:db8::/129", "1 to 128"),
            ("0.0.0.0/0", "every address"),
            ("::/0", "every address"),
            ("192.0.2.1:0", "port 0"),
            ("192.0.2.1:65536", "with a port"),
            ("example.org:80", "with a port"),
            ("example.org/path", "http://"),
            ("ftp://example.org/", "neither http nor https"),
            ("http://", "no host"),
            ("http:///x", "no host"),
            ("http://:80/", "no host"),
            ("http://user@/", "no host"),
            ("@example.org", "no mail address"),
            ("a@b@example.org", "no mail address"),
            ("joe@localhost", "single label"),
            ("d41d8cd98f00b204e9800998ecf8427e0", "this has 33"),
            ("ex\u{202e}ample.org", "no internationalised"),
            ("\u{1b}[31m.example", "no address"),
            (&*"é".repeat(2_000), "longer than any"),
            ("null", "single label"),
            ("\"\"", "single label"),
        ] {
            let found = Value::parse(line).unwrap_err();
            assert!(found.reason.contains(reason), "{line}: {}", found.reason);
            assert!(found.reason.len() < 400 && !found.reason.contains('\u{1b}'));
        }
    }

    #[test]
    fn any_text_is_a_value_or_refused() {
        let spare = [
            "a",
            "example",
            "192",
            "0",
            "2",
            "1",
            "255",
            ".",
            ".",
            ".",
            "[.]",
            "(.)",
            "-",
            "_",
            ":",
            ":",
            "::",
            "2001:db8",
            "/",
            "/24",
            ":80",
            "[",
            "]",
            "@",
            "[at]",
            "*.",
            "#",
            "\\",
            "'",
            "\"",
            ",",
            ";",
            "x",
            "hxxp",
            "https",
            "://",
            "\u{e9}",
            "\u{3002}",
            "\u{202e}",
            "\u{ff0e}",
            "%",
            " ",
            "d41d8cd98f00b204e9800998ecf8427e",
        ];
        let mut seed = 0x1234_5678_9abc_def1_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below as u64) as usize
        };
        let mut values = 0;
        for _ in 0..30_000 {
            let line: String = (0..=random(8))
                .map(|_| spare[random(spare.len())])
                .collect();
            if let Ok((value, _)) = Value::parse(&line) {
                values += 1;
                // the normal form is a value that means the same
                let again = Value::parse(&value.normal_form()).map(|(value, _)| value);
                if !matches!(value, Value::Url(_) | Value::Mail(_)) {
                    assert_eq!(again, Ok(value), "{line}");
                }
            }
        }
        assert!(values > 300, "{values}");
    }
}
