//! Observables: typed values seen in traffic, in one normal form, and where.

pub mod mail;
pub mod name;

use std::fmt;

/// What an observable is, as STIX 2.1 section 6 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObservableType {
    /// `ipv4-addr`
    Ipv4Addr,
    /// `ipv6-addr`
    Ipv6Addr,
    /// `domain-name`
    DomainName,
    /// `url`
    Url,
    /// `email-addr`
    EmailAddr,
    /// `email-message`
    EmailMessage,
    /// `file`
    File,
    /// `x509-certificate`
    X509Certificate,
    /// `network-traffic`: ports, protocols, requests, fingerprints
    NetworkTraffic,
}

impl ObservableType {
    /// The STIX type name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4Addr => "ipv4-addr",
            Self::Ipv6Addr => "ipv6-addr",
            Self::DomainName => "domain-name",
            Self::Url => "url",
            Self::EmailAddr => "email-addr",
            Self::EmailMessage => "email-message",
            Self::File => "file",
            Self::X509Certificate => "x509-certificate",
            Self::NetworkTraffic => "network-traffic",
        }
    }
}

impl fmt::Display for ObservableType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where in the traffic an observable was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Source address of the packet that opened the flow.
    FlowSrc,
    /// Destination address of the packet that opened the flow.
    FlowDst,
    /// Source address of an enclosing IP header.
    FlowTunnelSrc,
    /// Destination address of an enclosing IP header.
    FlowTunnelDst,
    /// The flow itself: its ends, ports and protocols together.
    Flow,
    /// The question of a DNS message.
    DnsQuery,
    /// A record of a DNS message.
    DnsAnswer,
    /// What a host calls itself when it asks for an address.
    DhcpHostName,
    /// The server name of a TLS ClientHello.
    TlsSni,
    /// A TLS ClientHello as a whole (its fingerprint).
    TlsClientHello,
    /// A TLS ServerHello as a whole (its fingerprint).
    TlsServerHello,
    /// A certificate that a TLS server showed.
    TlsCertificate,
    /// The server name of a ClientHello over QUIC.
    QuicSni,
    /// A ClientHello over QUIC as a whole (its fingerprint).
    QuicClientHello,
    /// The host that an HTTP request names.
    HttpHost,
    /// The full URL of an HTTP request.
    HttpUrl,
    /// The User-Agent of an HTTP request.
    HttpUserAgent,
    /// A header field of an HTTP message.
    HttpHeader,
    /// An HTTP request as a whole.
    HttpRequest,
    /// The content that an HTTP request carried.
    HttpRequestBody,
    /// The content that an HTTP response carried.
    HttpResponseBody,
    /// The key exchange of an SSH client (its fingerprint).
    SshClientKex,
    /// The key exchange of an SSH server (its fingerprint).
    SshServerKex,
    /// A file that was read or written over SMB.
    SmbFile,
    /// The sender that the dialogue of a mail names.
    SmtpMailFrom,
    /// A recipient that the dialogue of a mail names.
    SmtpRcptTo,
    /// The header of a mail: what it names, and the mail as a whole.
    SmtpHeader,
    /// A part of a mail, as a file.
    SmtpAttachment,
    /// A link in the text of a mail.
    SmtpLink,
    /// A file that went over an FTP data connection.
    FtpData,
    /// The name of a file on an FTP control connection.
    FtpControl,
}

impl Place {
    /// Every place, in the order of their declaration.
    pub const ALL: [Self; 31] = [
        Self::FlowSrc,
        Self::FlowDst,
        Self::FlowTunnelSrc,
        Self::FlowTunnelDst,
        Self::Flow,
        Self::DnsQuery,
        Self::DnsAnswer,
        Self::DhcpHostName,
        Self::TlsSni,
        Self::TlsClientHello,
        Self::TlsServerHello,
        Self::TlsCertificate,
        Self::QuicSni,
        Self::QuicClientHello,
        Self::HttpHost,
        Self::HttpUrl,
        Self::HttpUserAgent,
        Self::HttpHeader,
        Self::HttpRequest,
        Self::HttpRequestBody,
        Self::HttpResponseBody,
        Self::SshClientKex,
        Self::SshServerKex,
        Self::SmbFile,
        Self::SmtpMailFrom,
        Self::SmtpRcptTo,
        Self::SmtpHeader,
        Self::SmtpAttachment,
        Self::SmtpLink,
        Self::FtpData,
        Self::FtpControl,
    ];

    /// The name that events carry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlowSrc => "flow.src",
            Self::FlowDst => "flow.dst",
            Self::FlowTunnelSrc => "flow.tunnel.src",
            Self::FlowTunnelDst => "flow.tunnel.dst",
            Self::Flow => "flow",
            Self::DnsQuery => "dns.query",
            Self::DnsAnswer => "dns.answer",
            Self::DhcpHostName => "dhcp.host_name",
            Self::TlsSni => "tls.sni",
            Self::TlsClientHello => "tls.client_hello",
            Self::TlsServerHello => "tls.server_hello",
            Self::TlsCertificate => "tls.certificate",
            Self::QuicSni => "quic.sni",
            Self::QuicClientHello => "quic.client_hello",
            Self::HttpHost => "http.host",
            Self::HttpUrl => "http.url",
            Self::HttpUserAgent => "http.user_agent",
            Self::HttpHeader => "http.header",
            Self::HttpRequest => "http.request",
            Self::HttpRequestBody => "http.request.body",
            Self::HttpResponseBody => "http.response.body",
            Self::SshClientKex => "ssh.client_kex",
            Self::SshServerKex => "ssh.server_kex",
            Self::SmbFile => "smb.file",
            Self::SmtpMailFrom => "smtp.mail_from",
            Self::SmtpRcptTo => "smtp.rcpt_to",
            Self::SmtpHeader => "smtp.header",
            Self::SmtpAttachment => "smtp.attachment",
            Self::SmtpLink => "smtp.link",
            Self::FtpData => "ftp.data",
            Self::FtpControl => "ftp.control",
        }
    }

    /// Whether a message merely *names* what matched here: such a match is
    /// reported and never blocks by itself.
    pub const fn names_only(self) -> bool {
        matches!(
            self,
            Self::DnsAnswer
                | Self::DhcpHostName
                | Self::HttpHeader
                | Self::SmtpHeader
                | Self::SmtpLink
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
