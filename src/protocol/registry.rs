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
    /// Looks at the first bytes of one direction.
    pub probe: fn(Direction, &[u8]) -> Probe,
    /// A parser for one flow.
    pub parser: fn() -> Box<dyn Parser>,
}

/// Every protocol, in the order in which they are asked; the first that is certain is taken.
pub const STREAM_PROTOCOLS: &[StreamProtocol] = &[
    StreamProtocol {
        name: "tls",
        probe: TlsParser::probe,
        parser: || Box::new(TlsParser::new()),
    },
    StreamProtocol {
        name: "http",
        probe: HttpParser::probe,
        parser: || Box::new(HttpParser::new()),
    },
    StreamProtocol {
        name: "http2",
        probe: Http2Parser::probe,
        parser: || Box::new(Http2Parser::new()),
    },
    StreamProtocol {
        name: "ssh",
        probe: SshParser::probe,
        parser: || Box::new(SshParser::new()),
    },
    StreamProtocol {
        name: "smb",
        probe: SmbParser::probe,
        parser: || Box::new(SmbParser::new()),
    },
    StreamProtocol {
        name: "smtp",
        probe: SmtpParser::probe,
        parser: || Box::new(SmtpParser::new()),
    },
    StreamProtocol {
        name: "ftp",
        probe: FtpParser::probe,
        parser: || Box::new(FtpParser::new()),
    },
    StreamProtocol {
        name: "socks",
        probe: SocksParser::probe,
        parser: || Box::new(SocksParser::new()),
    },
    StreamProtocol {
        name: "dns",
        probe: |_, bytes| DnsStream::probe(bytes),
        parser: || Box::new(DnsStream::new()),
    },
];
