//! The configuration of a sensor: `watchpost.toml`, read whole and checked, or refused with the
//! place and what to write instead.
//!
//! [`Config::load`] reads a file, [`Config::parse`] a text. docs/watchpost.toml is the reference
//! of every key; a test holds it to the tables that the reader works by. Secrets are not in the
//! file: a [`SecretSource`] says where one is, and reads it when it is needed.

mod error;
mod exchange;
mod key;
mod parts;
mod reader;
mod secret;
mod value;

pub use error::ConfigError;
pub use secret::ReadSecret;
pub use secret::Secret;
pub use secret::SecretError;
pub use secret::SecretProblem;
pub use secret::SecretSource;
pub use secret::check_private_file;
pub use value::Never;
pub use value::Url;

use crate::indicator::Tlp;
use error::Source;
use ipnet::IpNet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a configuration: some hundred exchanges with long lists have a tenth of it.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Exchanges of one sensor: each is a folder of the state and a task of its own.
const MAX_EXCHANGES: usize = 256;

/// Where the configuration is when nobody names another.
pub const DEFAULT_PATH: &str = "/etc/watchpost/watchpost.toml";

/// A configuration that can be used, and what an operator should know of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is likely not meant, or dangerous; each with its place, one line, for people.
    pub warnings: Vec<String>,
}

/// What `watchpost.toml` says. Paths are absolute: those in the file are relative to its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `[sensor]`
    pub sensor: Sensor,
    /// `[rules]`
    pub rules: RulePaths,
    /// `[[exchange]]`, in the order of the file; their names differ, letter case aside.
    pub exchanges: Vec<Exchange>,
    /// `[privacy]`
    pub privacy: Privacy,
    /// `[block]`
    pub block: Block,
}

/// Who watches, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sensor {
    /// Name in the identity that reports sightings.
    pub name: String,
    /// Whose sensor it is; `None`: sightings do not say.
    pub organisation: Option<String>,
    /// Folder of what is kept: last good sets, cursors, outbox, sightings.
    pub state: PathBuf,
    /// Interfaces to watch, in order, each once; empty: those of the command line.
    pub interfaces: Vec<String>,
    /// Networks whose addresses are internal.
    pub internal: Vec<IpNet>,
    /// Whether the networks of the host's interfaces are internal as well: only where the file
    /// does not say what is. Who runs live adds them; a replay has no host.
    pub internal_by_host: bool,
}

/// Where rules and allowlists are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePaths {
    /// Files and folders, read in this order; empty: the shipped rules hold.
    pub paths: Vec<PathBuf>,
}

/// A partner, or a list, that indicators come from and sightings may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Name in events, tables and the state folder: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What it is, and what to read of it.
    pub kind: Kind,
    /// How to sign in.
    pub credentials: Credentials,
    /// Certificates of the connection.
    pub tls: Tls,
    /// Whether requests may leave this host without TLS (`insecure_http`). Loopback always may.
    pub allow_clear: bool,
    /// Time between two pulls.
    pub interval: Duration,
    /// The most that its indicators may do, whatever the rules say.
    pub action: Action,
    /// 0 to 100, for indicators that state none; `None`: the rules' `default_confidence`.
    pub confidence: Option<u8>,
    /// Markings of indicators whose sightings may go back to it, each once; of an indicator, the
    /// strictest counts. `None`: an indicator without a level.
    pub share: Vec<Option<Tlp>>,
    /// Names of other exchanges that get the sightings of its indicators, too, as far as their
    /// own `share` and this one allow the marking. Each exists and takes sightings.
    pub also_share_to: Vec<String>,
    /// When indicators without `valid_until` end, counted from when they were last seen in a
    /// pull; `None`: when the exchange withdraws them.
    pub expire_after: Option<Duration>,
    /// What a pull may bring.
    pub limits: Limits,
}

impl Exchange {
    /// Whether sightings are sent to it.
    pub const fn takes_sightings(&self) -> bool {
        match &self.kind {
            Kind::Taxii { sightings, .. } => sightings.is_some(),
            Kind::Misp { sightings, .. } => *sightings,
            Kind::MispFeed { .. } | Kind::Url { .. } | Kind::Folder { .. } => false,
        }
    }
}

/// What an exchange is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A TAXII 2.1 server.
    Taxii {
        /// Its discovery or an API root.
        url: Url,
        /// Ids or titles of the collections to read, each once; empty: all that are readable.
        collections: Vec<String>,
        /// Id or title of the collection that sightings are added to; `None`: none are sent.
        sightings: Option<String>,
    },
    /// A MISP server.
    Misp {
        /// Its base address.
        url: Url,
        /// Which attributes to read.
        query: MispQuery,
        /// Whether sightings are sent.
        sightings: bool,
    },
    /// The folder of a MISP feed on a web server: `manifest.json` and events.
    MispFeed {
        /// The folder.
        url: Url,
    },
    /// One document on a web server, in any format that `--intel` takes.
    Url {
        /// The document.
        url: Url,
    },
    /// A file or folder on this host, in any format that `--intel` takes.
    Folder {
        /// The file or folder.
        path: PathBuf,
    },
}

impl Kind {
    /// As `kind` names it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Taxii { .. } => "taxii",
            Self::Misp { .. } => "misp",
            Self::MispFeed { .. } => "misp-feed",
            Self::Url { .. } => "url",
            Self::Folder { .. } => "folder",
        }
    }

    /// Where it is; `None`: on this host.
    pub const fn url(&self) -> Option<&Url> {
        match self {
            Self::Taxii { url, .. }
            | Self::Misp { url, .. }
            | Self::MispFeed { url }
            | Self::Url { url } => Some(url),
            Self::Folder { .. } => None,
        }
    }
}

/// Filters of MISP's `restSearch`; an attribute is read where all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MispQuery {
    /// One of these tags, on the attribute or its event; a leading `!`: not this one. Empty: any.
    pub tags: Vec<String>,
    /// Types of attributes (`type` of the search); empty: all.
    pub types: Vec<String>,
    /// Only attributes that are meant for detection.
    pub to_ids: bool,
    /// Only events that are published.
    pub published: bool,
    /// Only events published within this time; whole seconds, at least one minute. `None`: of
    /// any age.
    pub last: Option<Duration>,
}

/// How to sign in to an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all.
    None,
    /// HTTP Basic (RFC 7617).
    Basic {
        /// User name, without a colon.
        username: String,
        /// Password.
        password: SecretSource,
    },
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer {
        /// Token.
        token: SecretSource,
    },
    /// `Authorization: …`, the key alone, as MISP wants it.
    Key {
        /// Key of the account.
        token: SecretSource,
    },
}

impl Credentials {
    /// The secret to sign in with; `None`: there is none.
    pub const fn secret(&self) -> Option<&SecretSource> {
        match self {
            Self::None => None,
            Self::Basic { password, .. } => Some(password),
            Self::Bearer { token } | Self::Key { token } => Some(token),
        }
    }
}

/// Certificates of a TLS connection, all in PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What this sensor shows; `None`: nothing.
    pub client: Option<ClientCertificate>,
    /// Who may have issued the server's certificate; `None`: whom this host trusts.
    pub ca: Option<PathBuf>,
}

/// A certificate of this sensor, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate and those that lead to its issuer.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The most that indicators of an exchange may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be reported.
    Report,
    /// Block, where the rules say so.
    Block,
}

/// What one pull may bring; beyond the first three, the last good set is kept until a person
/// agrees, beyond the last two, the pull ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Per cent, 1 to 100: a set that loses more of its indicators than this is held back.
    pub shrink_percent: u8,
    /// A set that has more than so many times the indicators of the last is held back; at least 2.
    pub grow_factor: u32,
    /// Both count only where the larger of the two sets has at least so many indicators.
    pub at_least: u64,
    /// Bytes of one pull, uncompressed.
    pub max_bytes: u64,
    /// Objects (STIX), attributes (MISP) or lines of one pull.
    pub max_objects: u64,
}

/// What may leave the network with a sighting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// What becomes of internal addresses.
    pub addresses: Addresses,
    /// What becomes of internal names.
    pub names: Names,
    /// Domains whose names, and those below them, are internal: lower case, no final dot.
    pub internal_domains: Vec<String>,
    /// Sightings of an indicator are gathered for so long, then sent as one.
    pub window: Duration,
}

/// What becomes of internal addresses that leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// They are left out.
    Omit,
    /// Their network leaves, of so many bits.
    Prefix {
        /// Bits of IPv4, 0 to 32.
        v4: u8,
        /// Bits of IPv6, 0 to 128.
        v6: u8,
    },
    /// A pseudonym leaves, the same for the same address under the same key.
    Pseudonym {
        /// The key.
        key: SecretSource,
    },
    /// They leave as they are.
    Keep,
}

/// What becomes of internal names that leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// They are left out.
    Omit,
    /// They leave as they are.
    Keep,
}

/// What reaches the firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Whether anything does; `false`: a dry run.
    pub enforce: bool,
    /// What never does, whatever rules, indicators and commands say.
    pub never: Vec<Never>,
    /// How long a block stands without a living sensor, which renews it at half.
    pub lease: Duration,
    /// Bits, 0 to 32: IPv4 networks wider than this never do, whatever the rules say.
    pub widest_ipv4: u8,
    /// Bits, 0 to 128: as above for IPv6.
    pub widest_ipv6: u8,
    /// Blocks that one update of the firewall may add; one that would add more adds none until
    /// a person agrees.
    pub max_add: u64,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or says what cannot be meant.
    pub fn load(path: &Path) -> Result<Loaded, ConfigError> {
        let name = path.display().to_string();
        let fail = |problem: String| ConfigError::whole(&name, problem);
        let unreadable = |error: std::io::Error| {
            fail(format!(
                "cannot be read: {error}; an example is docs/watchpost.toml"
            ))
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(fail(
                "is a folder: name the file in it that is meant".to_owned(),
            ));
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..at).unwrap_or_default());
            let source = Source {
                file: &name,
                folder: Path::new(""),
                text: &before,
            };
            source.at(at, "not UTF-8 text: save it as UTF-8")
        })?;
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        let mut loaded = Self::parse_within(&name, folder, &text)?;
        if metadata.mode() & 0o002 != 0 {
            loaded.warnings.insert(
                0,
                format!(
                    "{name}: every user of this host can change it (mode {:04o}): chmod 644 it",
                    metadata.mode() & 0o7777
                ),
            );
        }
        Ok(loaded)
    }

    /// Reads a text; `file_name` is its name for messages, and its folder that of relative paths.
    ///
    /// # Errors
    /// When it says what cannot be meant; the first such place is told.
    pub fn parse(file_name: &str, text: &str) -> Result<Loaded, ConfigError> {
        let folder = Path::new(file_name)
            .parent()
            .unwrap_or_else(|| Path::new(""));
        Self::parse_within(file_name, folder, text)
    }

    fn parse_within(file: &str, folder: &Path, text: &str) -> Result<Loaded, ConfigError> {
        if text.len() as u64 > MAX_FILE_BYTES {
            let problem = format!("more than {MAX_FILE_BYTES} bytes: is it the right file?");
            return Err(ConfigError::whole(file, problem));
        }
        parts::read(&Source {
            file,
            folder,
            text: text.strip_prefix('\u{feff}').unwrap_or(text),
        })
    }
}

#[cfg(test)]
mod tests;
