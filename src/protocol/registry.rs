//! The protocols that streams are probed for: one line each.

use crate::flow::Direction;
use crate::protocol::Parser;
use crate::protocol::Probe;
use crate::protocol::dns::DnsStream;
use crate::protocol::ftp::FtpParser;
use crate::protocol::http::HttpParser;
use crate::protocol::http2::Http2Parser;
use crate::protocol::smb::SmbParser;
use crate::protocol::smtp::SmtpParser;
use crate::protocol::socks::SocksParser;
use crate::protocol::ssh::SshParser;
use crate::protocol::tls::TlsParser;

/// A protocol over a reliable stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamProtocol {
    /// Name in events and statistics.
    pub name: &'static str,
    /// Whether it begins with printable text in both directions, so that it need not be asked of
    /// bytes that do not.
    pub is_text: bool,
    /// Whether it is looked for only when deep inspection is asked for: its streams carry much
    /// content, which costs as much to follow as all the others together.
    pub is_deep: bool,
    /// Looks at the first bytes of one direction.
    pub probe: fn(Direction, &[u8]) -> Probe,
    /// A parser for one flow.
    pub parser: fn() -> Box<dyn Parser>,
}

/// Every protocol, in the order in which they are asked; the first that is certain is taken.
pub const STREAM_PROTOCOLS: &[StreamProtocol] = &[
    StreamProtocol {
        name: "tls",
        is_text: false,
        is_deep: false,
        probe: TlsParser::probe,
        parser: || Box::new(TlsParser::new()),
    },
    StreamProtocol {
        name: "http",
        is_text: true,
        is_deep: false,
        probe: HttpParser::probe,
        parser: || Box::new(HttpParser::new()),
    },
    StreamProtocol {
        name: "http2",
        is_text: false,
        is_deep: false,
        probe: Http2Parser::probe,
        parser: || Box::new(Http2Parser::new()),
    },
    StreamProtocol {
        name: "ssh",
        is_text: true,
        is_deep: false,
        probe: SshParser::probe,
        parser: || Box::new(SshParser::new()),
    },
    StreamProtocol {
        name: "smb",
        is_text: false,
        is_deep: true,
        probe: SmbParser::probe,
        parser: || Box::new(SmbParser::new()),
    },
    StreamProtocol {
        name: "smtp",
        is_text: true,
        is_deep: true,
        probe: SmtpParser::probe,
        parser: || Box::new(SmtpParser::new()),
    },
    StreamProtocol {
        name: "ftp",
        is_text: true,
        is_deep: true,
        probe: FtpParser::probe,
        parser: || Box::new(FtpParser::new()),
    },
    StreamProtocol {
        name: "socks",
        is_text: false,
        is_deep: false,
        probe: SocksParser::probe,
        parser: || Box::new(SocksParser::new()),
    },
    StreamProtocol {
        name: "dns",
        is_text: false,
        is_deep: false,
        probe: |_, bytes| DnsStream::probe(bytes),
        parser: || Box::new(DnsStream::new()),
    },
];
