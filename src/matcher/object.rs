//! Objects of live traffic, as patterns look at them.

use crate::flow::End;
use crate::indicator::pattern::ObjectView;
use crate::indicator::pattern::Step;
use crate::indicator::pattern::Value;
use crate::observable::mail;
use crate::protocol::Hashes;
use crate::protocol::http::HttpRequest;
use crate::protocol::smtp::Mail;
use crate::protocol::smtp::Role;
use crate::protocol::smtp::decode_value;
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

/// A mail address in normal form.
#[derive(Debug)]
pub(crate) struct MailboxView<'a> {
    pub(crate) address: &'a str,
    pub(crate) display_name: &'a str,
}

/// A mail, with what its header says of people.
#[derive(Debug)]
pub struct MailView<'a> {
    mail: &'a Mail<'a>,
    subject: Option<String>,
    mailboxes: Vec<(Role, String, String)>,
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

impl ObjectView for MailboxView<'_> {
    fn object_type(&self) -> &str {
        "email-addr"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        match (first_name(steps), steps) {
            ("value", [_]) => visit(Value::String(self.address)),
            ("display_name", [_]) if !self.display_name.is_empty() => {
                visit(Value::String(self.display_name));
            }
            _ => {}
        }
    }
}

impl<'a> MailView<'a> {
    /// Reads the parts of a header that are always looked at.
    pub fn new(mail: &'a Mail<'a>) -> Self {
        let mut mailboxes = Vec::new();
        mail.for_each_address(&mut |role, mailbox| {
            if let Some(address) = mail::normalise(mailbox.address) {
                mailboxes.push((role, address.into_owned(), mailbox.display_name.to_owned()));
            }
        });
        Self {
            mail,
            subject: mail.subject(),
            mailboxes,
        }
    }

    /// The subject, decoded.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Every address of the header and the name beside it, in normal form and in their order.
    pub fn mailboxes(&self) -> impl Iterator<Item = (Role, &str, &str)> {
        self.mailboxes
            .iter()
            .map(|(role, address, name)| (*role, &**address, &**name))
    }

    /// Every address of the header in normal form.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.mailboxes.iter().map(|(_, address, _)| &**address)
    }

    /// All that a pattern can look at, as one text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (_, value) in self.mail.fields() {
            text.push_str(&decode_value(value));
            text.push('\n');
        }
        for (_, address, name) in &self.mailboxes {
            for piece in [address, name] {
                text.push_str(piece);
                text.push('\n');
            }
        }
        text
    }

    /// The mailboxes of one role.
    fn visit_mailboxes(
        &self,
        role: Role,
        at: Option<&Step>,
        rest: &[Step],
        visit: &mut dyn FnMut(Value<'_>),
    ) {
        let of_role = self.mailboxes.iter().filter(|(r, _, _)| *r == role);
        for (number, (_, address, display_name)) in of_role.enumerate() {
            if !is_chosen(number, at) {
                continue;
            }
            match rest {
                [] => visit(Value::Structure),
                [Step::Key(key)] if key == "type" => visit(Value::String("email-addr")),
                rest => MailboxView {
                    address,
                    display_name,
                }
                .resolve(rest, visit),
            }
        }
    }

    fn visit_fields(&self, name: &str, at: Option<&Step>, visit: &mut dyn FnMut(Value<'_>)) {
        for (number, value) in self.mail.values(name).enumerate() {
            if is_chosen(number, at) {
                visit(Value::String(&value));
            }
        }
    }
}

impl ObjectView for MailView<'_> {
    fn object_type(&self) -> &str {
        "email-message"
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        let first = Some(&Step::Index(0));
        match (first_name(steps), steps) {
            ("subject", [_]) => self
                .subject()
                .into_iter()
                .for_each(|s| visit(Value::String(s))),
            ("is_multipart", [_]) => visit(Value::Boolean(self.mail.is_multipart())),
            ("message_id", [_]) => self.visit_fields("message-id", first, visit),
            ("content_type", [_]) => self.visit_fields("content-type", first, visit),
            // STIX 2.1 section 6.6: one author; those of a list are each looked at
            ("from_ref", [_, rest @ ..]) => self.visit_mailboxes(Role::From, None, rest, visit),
            ("sender_ref", [_, rest @ ..]) => {
                self.visit_mailboxes(Role::Sender, None, rest, visit);
            }
            ("to_refs", [_, at, rest @ ..]) => {
                self.visit_mailboxes(Role::To, Some(at), rest, visit);
            }
            ("cc_refs", [_, at, rest @ ..]) => {
                self.visit_mailboxes(Role::Cc, Some(at), rest, visit);
            }
            ("bcc_refs", [_, at, rest @ ..]) => {
                self.visit_mailboxes(Role::Bcc, Some(at), rest, visit);
            }
            ("received_lines", [_, at]) => self.visit_fields("received", Some(at), visit),
            ("additional_header_fields", [_, Step::Key(name)]) => {
                self.visit_fields(name, None, visit);
            }
            ("additional_header_fields", [_, Step::Key(name), at]) => {
                self.visit_fields(name, Some(at), visit);
            }
            ("to_refs" | "cc_refs" | "bcc_refs" | "received_lines", [_])
            | ("additional_header_fields", [_]) => visit(Value::Structure),
            _ => {}
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
            if is_chosen(number, at) {
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

/// Whether a step names the element of this number; none names all.
fn is_chosen(number: usize, at: Option<&Step>) -> bool {
    match at {
        None | Some(Step::Any) => true,
        Some(Step::Index(index)) => *index == number,
        Some(Step::Key(_)) => false,
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
