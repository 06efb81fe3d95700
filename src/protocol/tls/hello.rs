//! ClientHello and ServerHello (RFC 5246 section 7.4.1, RFC 8446 section 4.1).
//!
//! The fixed head must be right; the extension block is read as far as it is
//! sound, so that a hello that a lax server would take cannot hide its name.

use std::borrow::Cow;

use crate::octets::Octets;
use crate::octets::ParseError;
use crate::protocol::Anomaly;

/// What carries a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Records over a stream.
    Tcp,
    /// CRYPTO frames of QUIC (RFC 9001 section 4).
    Quic,
}

/// A ClientHello. Borrows the handshake message body.
#[derive(Debug)]
pub struct ClientHello<'a> {
    transport: Transport,
    legacy_version: u16,
    random: &'a [u8],
    cipher_suites: &'a [u8],
    extensions: &'a [u8],
    sni: Option<Cow<'a, str>>,
    alpn: &'a [u8],
    supported_versions: &'a [u8],
    supported_groups: &'a [u8],
    point_formats: &'a [u8],
    signature_algorithms: &'a [u8],
    anomaly: Option<Anomaly>,
}

/// A ServerHello or HelloRetryRequest. Borrows the handshake message body.
#[derive(Debug)]
pub struct ServerHello<'a> {
    legacy_version: u16,
    random: &'a [u8],
    cipher_suite: u16,
    extensions: &'a [u8],
    selected_version: Option<u16>,
    anomaly: Option<Anomaly>,
}

/// The extensions of a hello, in order: type and content.
#[derive(Clone, Debug)]
pub struct Extensions<'a>(Octets<'a>);

impl<'a> ClientHello<'a> {
    /// Reads the body of a handshake message of type 1, its four-byte header taken off, that
    /// came over TCP; [`Self::over`] says otherwise.
    ///
    /// Faults in the extension block do not fail: what stands before the fault counts, and
    /// [`Self::anomaly`] tells of it.
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut input = Octets::new(body);
        let legacy_version = input.u16("client version")?;
        let random = input.take(32, "client random")?;
        let length = input.u8("session id length")?;
        input.skip(usize::from(length), "session id")?;
        let length = input.u16("cipher suites length")?;
        let cipher_suites = input.take(usize::from(length), "cipher suites")?;
        let length = input.u8("compression methods length")?;
        input.skip(usize::from(length), "compression methods")?;
        let (extensions, sound) = extension_block(&mut input);
        let mut hello = Self {
            transport: Transport::Tcp,
            legacy_version,
            random,
            cipher_suites,
            extensions,
            sni: None,
            alpn: &[],
            supported_versions: &[],
            supported_groups: &[],
            point_formats: &[],
            signature_algorithms: &[],
            anomaly: (!sound).then_some(EXTENSIONS),
        };
        let mut named = false;
        for (kind, data) in hello.extensions() {
            match kind {
                // RFC 8446 section 4.2 forbids a second one; the first counts
                extension::SERVER_NAME if !named => {
                    named = true;
                    hello.read_server_name(data);
                }
                extension::ALPN => hello.alpn = list16(data),
                extension::SUPPORTED_VERSIONS => hello.supported_versions = list8(data),
                extension::SUPPORTED_GROUPS => hello.supported_groups = list16(data),
                extension::POINT_FORMATS => hello.point_formats = list8(data),
                extension::SIGNATURE_ALGORITHMS => hello.signature_algorithms = list16(data),
                _ => {}
            }
        }
        Ok(hello)
    }

    /// The same, carried by another transport.
    #[must_use]
    pub const fn over(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// What carried it.
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// The server's name in normal form (lower-case, no final dot); `None` where the client
    /// named none or wrote it unlawfully (RFC 6066 section 3), which is an anomaly.
    pub fn sni(&self) -> Option<&str> {
        self.sni.as_deref()
    }

    /// What was wrong with an otherwise readable hello.
    pub const fn anomaly(&self) -> Option<Anomaly> {
        self.anomaly
    }

    /// `legacy_version`: at most 0x0303, since TLS 1.3 hides behind it.
    pub const fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// The client's 32 random bytes.
    pub const fn random(&self) -> &'a [u8] {
        self.random
    }

    /// Cipher suites in the client's order, GREASE among them.
    pub fn cipher_suites(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.cipher_suites)
    }

    /// Extensions in the client's order, GREASE among them.
    pub const fn extensions(&self) -> Extensions<'a> {
        Extensions(Octets::new(self.extensions))
    }

    /// `supported_versions` (RFC 8446 section 4.2.1), GREASE among them; empty when absent.
    pub fn supported_versions(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.supported_versions)
    }

    /// `supported_groups` (RFC 8422 section 5.1.1), GREASE among them; empty when absent.
    pub fn supported_groups(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.supported_groups)
    }

    /// `ec_point_formats` (RFC 8422 section 5.1.2); empty when absent.
    pub const fn point_formats(&self) -> &'a [u8] {
        self.point_formats
    }

    /// `signature_algorithms` (RFC 8446 section 4.2.3); empty when absent.
    pub fn signature_algorithms(&self) -> impl Iterator<Item = u16> + use<'a> {
        numbers(self.signature_algorithms)
    }

    /// Application protocols in the client's order (RFC 7301), as opaque bytes.
    pub fn alpn(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut list = Octets::new(self.alpn);
        std::iter::from_fn(move || {
            let length = list.u8("protocol name length").ok()?;
            list.take(usize::from(length), "protocol name").ok()
        })
    }

    fn read_server_name(&mut self, data: &'a [u8]) {
        let mut list = Octets::new(list16(data));
        let mut name = None;
        while let (Ok(kind), Ok(length)) = (list.u8("name type"), list.u16("name length")) {
            let Ok(bytes) = list.take(usize::from(length), "server name") else {
                break;
            };
            if kind == HOST_NAME {
                name = normal_name(bytes);
                break;
            }
        }
        if name.is_none() {
            self.anomaly = Some(SERVER_NAME);
        }
        self.sni = name;
    }
}

impl<'a> ServerHello<'a> {
    /// Reads the body of a handshake message of type 2, its four-byte header taken off.
    ///
    /// As lenient with extensions as [`ClientHello::parse`].
    pub fn parse(body: &'a [u8]) -> Result<Self, ParseError> {
        let mut input = Octets::new(body);
        let legacy_version = input.u16("server version")?;
        let random = input.take(32, "server random")?;
        let length = input.u8("session id length")?;
        input.skip(usize::from(length), "session id")?;
        let cipher_suite = input.u16("cipher suite")?;
        input.skip(1, "compression method")?;
        let (extensions, sound) = extension_block(&mut input);
        let selected_version = Extensions(Octets::new(extensions))
            .find(|(kind, _)| *kind == extension::SUPPORTED_VERSIONS)
            .and_then(|(_, data)| Octets::new(data).u16("selected version").ok());
        Ok(Self {
            legacy_version,
            random,
            cipher_suite,
            extensions,
            selected_version,
            anomaly: (!sound).then_some(EXTENSIONS),
        })
    }

    /// What was wrong with an otherwise readable hello.
    pub const fn anomaly(&self) -> Option<Anomaly> {
        self.anomaly
    }

    /// The version of the header field: 0x0303 for TLS 1.3 too.
    pub const fn legacy_version(&self) -> u16 {
        self.legacy_version
    }

    /// The version that both will speak.
    pub fn version(&self) -> u16 {
        self.selected_version.unwrap_or(self.legacy_version)
    }

    /// The server's 32 random bytes.
    pub const fn random(&self) -> &'a [u8] {
        self.random
    }

    /// The cipher suite that both will use.
    pub const fn cipher_suite(&self) -> u16 {
        self.cipher_suite
    }

    /// Extensions in the server's order.
    pub const fn extensions(&self) -> Extensions<'a> {
        Extensions(Octets::new(self.extensions))
    }

    /// Whether everything after this message is encrypted: TLS 1.3 and its drafts (0x7fxx).
    pub fn is_tls13(&self) -> bool {
        self.selected_version
            .is_some_and(|version| version == 0x0304 || version >> 8 == 0x7f)
    }

    /// Whether this asks the client for another ClientHello (RFC 8446 section 4.1.3).
    pub fn is_hello_retry_request(&self) -> bool {
        self.random == HELLO_RETRY_RANDOM
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.0.u16("extension type").ok()?;
        let length = self.0.u16("extension length").ok()?;
        let data = self.0.take(usize::from(length), "extension").ok()?;
        Some((kind, data))
    }
}

/// The sound head of the extension block at the end of a hello, and whether all of it is sound.
fn extension_block<'a>(input: &mut Octets<'a>) -> (&'a [u8], bool) {
    // before TLS 1.3 a hello may end without the block (RFC 5246 section 7.4.1.2)
    if input.is_empty() {
        return (&[], true);
    }
    let Ok(length) = input.u16("extensions length") else {
        return (&[], false);
    };
    let claimed = usize::from(length);
    let sound = claimed == input.remaining();
    let rest = input.rest();
    let block = rest.get(..claimed).unwrap_or(rest);
    let mut extensions = Extensions(Octets::new(block));
    let mut end = 0;
    while extensions.next().is_some() {
        end = extensions.0.offset();
    }
    let head = block.get(..end).unwrap_or_default();
    (head, sound && end == block.len())
}

/// The content of a list with a 16-bit length; as much of it as there is.
fn list16(data: &[u8]) -> &[u8] {
    let mut input = Octets::new(data);
    let length = input.u16("list length").map_or(0, usize::from);
    let rest = input.rest();
    rest.get(..length).unwrap_or(rest)
}

/// The content of a list with an 8-bit length; as much of it as there is.
fn list8(data: &[u8]) -> &[u8] {
    let mut input = Octets::new(data);
    let length = input.u8("list length").map_or(0, usize::from);
    let rest = input.rest();
    rest.get(..length).unwrap_or(rest)
}

fn numbers(list: &[u8]) -> impl Iterator<Item = u16> + use<'_> {
    list.as_chunks::<2>()
        .0
        .iter()
        .map(|pair| u16::from_be_bytes(*pair))
}

/// The normal form of a name; `None` for what cannot be one.
fn normal_name(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('.').unwrap_or(text);
    if text.is_empty() || text.len() > NAME_LIMIT {
        return None;
    }
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return None;
    }
    Some(if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    })
}

/// Extension types (IANA "TLS ExtensionType Values").
pub(super) mod extension {
    pub(in crate::protocol::tls) const SERVER_NAME: u16 = 0;
    pub(in crate::protocol::tls) const SUPPORTED_GROUPS: u16 = 10;
    pub(in crate::protocol::tls) const POINT_FORMATS: u16 = 11;
    pub(in crate::protocol::tls) const SIGNATURE_ALGORITHMS: u16 = 13;
    pub(in crate::protocol::tls) const ALPN: u16 = 16;
    pub(in crate::protocol::tls) const SUPPORTED_VERSIONS: u16 = 43;
}

/// The only name type there is (RFC 6066 section 3).
const HOST_NAME: u8 = 0;

/// Longest name in text: what a DNS name of 255 bytes comes to (RFC 1035 section 2.3.4).
const NAME_LIMIT: usize = 253;

/// SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const HELLO_RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

const EXTENSIONS: Anomaly = Anomaly("tls.extensions");
const SERVER_NAME: Anomaly = Anomaly("tls.server-name");
