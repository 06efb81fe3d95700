//! Objects of live traffic, as patterns look at them.

use crate::flow::End;
use crate::indicator::pattern::ObjectView;
use crate::indicator::pattern::Step;
use crate::indicator::pattern::Value;
use crate::protocol::Hashes;
use crate::protocol::http::HttpRequest;
use crate::protocol::tls::Certificate;
use crate::time::Timestamp;
use std::fmt::Write as _;
use std::net::IpAddr;

/// An address, as `ipv4-addr` or `ipv6-addr`.
#[derive(Debug)]
pub(crate) struct AddressView(pub(crate) IpAddr);

/// A name, with the addresses that the same message gives it.
#[derive(Debug)]
pub(crate) struct DomainView<'a> {
    pub(crate) name: &'a str,
    pub(crate) resolves_to: &'a [IpAddr],
}

/// A URL.
#[derive(Debug)]
pub(crate) struct UrlView<'a>(pub(crate) &'a str);

/// A transferred file.
#[derive(Debug)]
pub(crate) struct FileView<'a> {
    pub(crate) name: Option<&'a str>,
    /// `None`: not known.
    pub(crate) size: Option<u64>,
    pub(crate) mime_type: Option<&'a str>,
    pub(crate) hashes: Hashes,
}

/// A certificate, parsed when asked beyond its digests.
#[derive(Debug)]
pub(crate) struct CertificateView<'a> {
    pub(crate) certificate: &'a Certificate<'a>,
    pub(crate) hashes: Hashes,
}

/// A flow, with the message that makes it interesting now.
#[derive(Clone, Copy, Debug)]
pub struct TrafficView<'a> {
    /// The end that opened the flow.
    pub client: End,
    /// The other end.
    pub server: End,
    /// IP protocol number.
    pub protocol: u8,
    /// Recognised protocol; `None`: none yet.
    pub app_proto: Option<&'a str>,
    /// First packet.
    pub start: Timestamp,
    /// The request that was just completed.
    pub http: Option<&'a HttpRequest<'a>>,
    /// Of the ClientHello that was just completed, in hex.
    pub ja3: Option<&'a str>,
    /// Of the ServerHello that was just completed, in hex.
    pub ja3s: Option<&'a str>,
    /// Of the ClientHello that was just completed.
    pub ja4: Option<&'a str>,
    /// Of the SSH client's key exchange that was just completed, in hex.
    pub hassh: Option<&'a str>,
    /// Of the SSH server's key exchange that was just completed, in hex.
    pub hassh_server: Option<&'a str>,
}

impl ObjectView for AddressView {
    fn object_type(&self) -> &str {
        address_type(&self.0)
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        if matches!(steps, [Step::Key(only)] if only == "value") {
            visit(Value::String(&self.0.to_string()));
        }
    }
}

impl ObjectView for DomainView<'_> {
    fn object_type(&self) -> &str {
        "domain-name"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        match (first_name(steps), steps) {
            ("value", [_]) => visit(Value::String(self.name)),
            ("resolves_to_refs", [_]) => visit(Value::Structure),
            ("resolves_to_refs", [_, at, Step::Key(last)]) => {
                for address in chosen(self.resolves_to, at) {
                    match last.as_str() {
                        "value" => visit(Value::String(&address.to_string())),
                        "type" => visit(Value::String(address_type(address))),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

impl ObjectView for UrlView<'_> {
    fn object_type(&self) -> &str {
        "url"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        if matches!(steps, [Step::Key(only)] if only == "value") {
            visit(Value::String(self.0));
        }
    }
}

impl ObjectView for FileView<'_> {
    fn object_type(&self) -> &str {
        "file"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        match steps {
            [Step::Key(only)] => match only.as_str() {
                "name" => self.name.into_iter().for_each(|n| visit(Value::String(n))),
                "size" => self.size.into_iter().for_each(|size| {
                    visit(Value::Integer(i64::try_from(size).unwrap_or(i64::MAX)));
                }),
                "mime_type" => self
                    .mime_type
                    .into_iter()
                    .for_each(|m| visit(Value::String(m))),
                "hashes" => visit(Value::Structure),
                _ => {}
            },
            [Step::Key(first), Step::Key(algorithm)] if first == "hashes" => {
                visit_digest(&self.hashes, algorithm, visit);
            }
            _ => {}
        }
    }
}

impl ObjectView for CertificateView<'_> {
    fn object_type(&self) -> &str {
        "x509-certificate"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        match steps {
            [Step::Key(first), Step::Key(algorithm)] if first == "hashes" => {
                visit_digest(&self.hashes, algorithm, visit);
            }
            [Step::Key(first)] if first == "hashes" => visit(Value::Structure),
            [Step::Key(only)] => {
                let Some(fields) = self.certificate.fields() else {
                    return;
                };
                match only.as_str() {
                    "serial_number" => visit(Value::String(&fields.serial_number)),
                    "issuer" => visit(Value::String(&fields.issuer)),
                    "subject" => visit(Value::String(&fields.subject)),
                    "validity_not_before" => visit(Value::Timestamp(fields.validity_not_before)),
                    "validity_not_after" => visit(Value::Timestamp(fields.validity_not_after)),
                    "version" => visit(Value::String(&fields.version.to_string())),
                    "signature_algorithm" => visit(Value::String(&fields.signature_algorithm)),
                    "subject_public_key_algorithm" => {
                        visit(Value::String(&fields.subject_public_key_algorithm));
                    }
                    "is_self_signed" => visit(Value::Boolean(fields.is_self_signed)),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

impl TrafficView<'_> {
    /// As `network-traffic:protocols` lists them: outermost first, lower case.
    fn protocols(&self) -> [Option<&str>; 3] {
        let network = if self.client.address().is_ipv4() {
            "ipv4"
        } else {
            "ipv6"
        };
        let transport = match self.protocol {
            1 => Some("icmp"),
            6 => Some("tcp"),
            17 => Some("udp"),
            58 => Some("ipv6-icmp"),
            132 => Some("sctp"),
            _ => None,
        };
        [Some(network), transport, self.app_proto]
    }

    fn visit_header(&self, name: &str, at: Option<&Step>, visit: &mut dyn FnMut(Value<'_>)) {
        let Some(http) = self.http else { return };
        let matching = http.headers().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        for (number, (_, value)) in matching.enumerate() {
            let wanted = match at {
                None | Some(Step::Any) => true,
                Some(Step::Index(index)) => *index == number,
                Some(Step::Key(_)) => false,
            };
            if wanted {
                visit(Value::String(&String::from_utf8_lossy(value)));
            }
        }
    }
}

impl ObjectView for TrafficView<'_> {
    fn object_type(&self) -> &str {
        "network-traffic"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        let mut text =
            |value: Option<&str>| value.into_iter().for_each(|v| visit(Value::String(v)));
        let first = first_name(steps);
        match (first, steps) {
            ("src_ref" | "dst_ref", [_, rest @ ..]) => {
                let end = if first == "src_ref" {
                    self.client
                } else {
                    self.server
                };
                match rest {
                    [] => visit(Value::Structure),
                    [Step::Key(k)] if k == "value" => {
                        visit(Value::String(&end.address().to_string()));
                    }
                    [Step::Key(k)] if k == "type" => {
                        visit(Value::String(address_type(&end.address())));
                    }
                    _ => {}
                }
            }
            ("src_port", [_]) => visit(Value::Integer(self.client.port().into())),
            ("dst_port", [_]) => visit(Value::Integer(self.server.port().into())),
            ("start", [_]) => visit(Value::Timestamp(self.start)),
            ("protocols", [_]) => visit(Value::Structure),
            ("protocols", [_, at]) => {
                let known: Vec<&str> = self.protocols().into_iter().flatten().collect();
                for protocol in chosen(&known, at) {
                    visit(Value::String(protocol));
                }
            }
            ("x_ja3_hash", [_]) => text(self.ja3),
            ("x_ja3s_hash", [_]) => text(self.ja3s),
            ("x_ja4", [_]) => text(self.ja4),
            ("x_hassh", [_]) => text(self.hassh),
            ("x_hassh_server", [_]) => text(self.hassh_server),
            ("extensions", [_, Step::Key(extension), rest @ ..])
                if extension == "http-request-ext" && self.http.is_some() =>
            {
                let Some(http) = self.http else { return };
                match rest {
                    [] => visit(Value::Structure),
                    [Step::Key(k)] => match k.as_str() {
                        "request_method" => {
                            visit(Value::String(&http.method.to_ascii_lowercase()));
                        }
                        "request_value" => visit(Value::String(http.target)),
                        "request_version" => visit(Value::String(&format!(
                            "HTTP/{}.{}",
                            http.version.major, http.version.minor
                        ))),
                        "request_header" => visit(Value::Structure),
                        _ => {}
                    },
                    [Step::Key(k), Step::Key(name)] if k == "request_header" => {
                        self.visit_header(name, None, visit);
                    }
                    [Step::Key(k), Step::Key(name), at] if k == "request_header" => {
                        self.visit_header(name, Some(at), visit);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

/// Hex in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
            // writing to a String cannot fail
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The STIX type of an address.
fn address_type(address: &IpAddr) -> &'static str {
    if address.is_ipv4() {
        "ipv4-addr"
    } else {
        "ipv6-addr"
    }
}

/// The name of the first step; empty where it is none.
fn first_name(steps: &[Step]) -> &str {
    match steps.first() {
        Some(Step::Key(name)) => name,
        _ => "",
    }
}

/// The elements of a list that a step names.
fn chosen<'l, T>(list: &'l [T], at: &Step) -> &'l [T] {
    match at {
        Step::Any => list,
        Step::Index(n) => list.get(*n..=*n).unwrap_or_default(),
        Step::Key(_) => &[],
    }
}

fn visit_digest(hashes: &Hashes, algorithm: &str, visit: &mut dyn FnMut(Value<'_>)) {
    let bare: String = algorithm.chars().filter(|c| *c != '-').collect();
    let digest: Option<&[u8]> = match bare.to_ascii_uppercase().as_str() {
        "MD5" => hashes.md5.as_ref().map(|d| &d[..]),
        "SHA1" => hashes.sha1.as_ref().map(|d| &d[..]),
        "SHA256" => hashes.sha256.as_ref().map(|d| &d[..]),
        _ => None,
    };
    if let Some(digest) = digest {
        visit(Value::String(&hex(digest)));
    }
}
