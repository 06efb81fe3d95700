//! Protocol parsers: streams and datagrams in, messages out.
//!
//! One file a protocol. A parser knows nothing of flows, indicators or
//! matching: it is given bytes in order and hands finished [`Message`]s to a
//! callback, borrowing from its input wherever it can. It recognises its
//! protocol by content ([`Probe`]), never by port, does only the work that
//! [`Wants`] asks for, bounds what it buffers by named constants, and reports
//! odd or evasive traffic as [`Anomaly`] values, never as errors or panics.

pub mod dhcp;
pub mod digest;
pub mod dns;
pub mod ftp;
pub mod http;
pub mod http2;
pub mod quic;
pub mod registry;
pub mod smb;
pub mod smtp;
pub mod socks;
pub mod ssh;
pub mod tls;

#[cfg(test)]
pub(crate) mod fuzz;

use crate::flow::Direction;

/// What a parser says of the first bytes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// This is the protocol.
    Certain,
    /// Too few bytes to tell; ask again with more.
    Unsure,
    /// This is something else.
    NotForUs,
}

/// What a parser wants after having been given bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Bytes of both directions, as before.
    More,
    /// Nothing further in this flow can be of interest: stop reassembling it.
    Done,
    /// From here on the flow carries another protocol (CONNECT, Upgrade, SOCKS): probe
    /// again from the first byte that follows. The number says how many bytes of the
    /// slice given last were consumed (`<= bytes.len()`); the other direction starts
    /// anew at its next byte.
    Switch(usize),
}

/// What the loaded indicator set can match, so that no other work is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// MD5 of transferred files.
    pub md5: bool,
    /// SHA-1 of transferred files.
    pub sha1: bool,
    /// SHA-256 of transferred files.
    pub sha256: bool,
    /// Names or sizes of transferred files (content need not be hashed).
    pub file_names: bool,
    /// Links in the texts of mails.
    pub links: bool,
    /// TLS certificates, in any way.
    pub certificates: bool,
    /// JA3 of TLS clients.
    pub ja3: bool,
    /// JA3S of TLS servers.
    pub ja3s: bool,
    /// JA4 of TLS clients.
    pub ja4: bool,
    /// HASSH of SSH clients.
    pub hassh: bool,
    /// HASSH of SSH servers.
    pub hassh_server: bool,
    /// Mail, SMB and FTP are to be read as well.
    pub deep: bool,
}

impl Wants {
    /// Everything that a parser can do.
    pub const ALL: Self = Self {
        md5: true,
        sha1: true,
        sha256: true,
        file_names: true,
        links: true,
        certificates: true,
        ja3: true,
        ja3s: true,
        ja4: true,
        hassh: true,
        hassh_server: true,
        deep: true,
    };

    /// Whether any digest of file contents is asked for.
    pub const fn any_hash(&self) -> bool {
        self.md5 || self.sha1 || self.sha256
    }

    /// Whether finished files are of any interest.
    pub const fn any_file(&self) -> bool {
        self.any_hash() || self.file_names
    }
}

/// A finished unit of a protocol, borrowed from the stream or from the parser.
#[derive(Debug)]
pub enum Message<'a> {
    /// A DNS query or response.
    Dns(dns::DnsMessage<'a>),
    /// A TLS ClientHello, over TCP or QUIC.
    ClientHello(tls::ClientHello<'a>),
    /// A TLS ServerHello.
    ServerHello(tls::ServerHello<'a>),
    /// One certificate of a TLS Certificate message (up to TLS 1.2).
    Certificate(tls::Certificate<'a>),
    /// An HTTP request head; sent when the head is complete.
    HttpRequest(http::HttpRequest<'a>),
    /// An HTTP response head.
    HttpResponse(http::HttpResponse<'a>),
    /// One side's half of an SSH key exchange.
    Ssh(ssh::KeyExchange<'a>),
    /// An address that a mail's dialogue named.
    EnvelopeAddress(smtp::EnvelopeAddress<'a>),
    /// A mail whose header is complete.
    Mail(smtp::Mail<'a>),
    /// The links in a mail's texts; sent when the mail has ended.
    MailLinks(smtp::MailLinks<'a>),
    /// A file whose transfer has finished.
    File(File<'a>),
    /// The name of a file whose content goes another way.
    FileName(FileName<'a>),
    /// Malformed or evasive traffic.
    Anomaly(Anomaly),
}

/// A finished transfer.
#[derive(Debug)]
pub struct File<'a> {
    /// The way that the content went.
    pub direction: Direction,
    /// The name that the transfer gave (no folders); `None` where it gave none.
    pub name: Option<&'a str>,
    /// Content length in bytes, after content decoding.
    pub size: u64,
    /// The media type that the sender named, without parameters.
    pub mime_type: Option<&'a str>,
    /// Digests of the decoded content; only those asked for, and none when part of it was not seen.
    pub hashes: Hashes,
}

/// What one flow calls a file that another flow carries.
#[derive(Clone, Copy, Debug)]
pub struct FileName<'a> {
    /// The way that the content went, between the ends of this flow.
    pub direction: Direction,
    /// Without folders.
    pub name: &'a str,
}

/// Digests of a file or certificate. `None`: not asked for, or not computable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// MD5 (RFC 1321).
    pub md5: Option<[u8; 16]>,
    /// SHA-1 (FIPS 180-4).
    pub sha1: Option<[u8; 20]>,
    /// SHA-256 (FIPS 180-4).
    pub sha256: Option<[u8; 32]>,
}

/// Malformed or evasive traffic, as data: counted by kind and never fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anomaly(
    /// Stable name in the form `protocol.what` ("dns.pointer-loop").
    pub &'static str,
);

/// Hands finished messages on.
pub type Sink<'s> = dyn FnMut(Message<'_>) + 's;

/// A parser of one protocol over a reliable stream.
///
/// Law: any split of a direction's bytes into calls yields the same messages.
pub trait Parser: Send {
    /// The next bytes of one direction, in order.
    fn parse(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status;

    /// `length` bytes of one direction were never seen; what follows comes after them.
    fn gap(
        &mut self,
        direction: Direction,
        length: u64,
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) -> Status;

    /// One direction ended (FIN, RST, time-out or end of capture); nothing follows in it.
    fn end(&mut self, direction: Direction, wants: &Wants, sink: &mut Sink<'_>);

    /// Bytes of memory that the parser takes now: itself, its buffers and its decoders.
    ///
    /// Asked for after every call, so that it must cost next to nothing.
    fn held(&self) -> usize;
}
