//! Cyber-observables (STIX 2.1 section 6) of an observation.

use super::Observation;
use super::ToldEnd;
use super::ToldFlow;
use super::identifier::Object;
use crate::matcher::Evidence;
use crate::matcher::Observable;
use crate::observable::ObservableType;
use crate::protocol::Hashes;
use idna::AsciiDenyList;
use idna::uts46::Hyphens;
use idna::uts46::Uts46;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::net::IpAddr;
use std::net::Ipv6Addr;

/// The property extension of network-traffic for what STIX has no property for.
pub(super) const TRAFFIC_EXTENSION: &str =
    "extension-definition--4ed29a99-01e6-4576-b360-f217c943a233";

/// The objects of one observation, what was seen first and its flow last, and whether
/// [`TRAFFIC_EXTENSION`] is among them. None is there twice; there is none at all where neither
/// may be told.
pub(super) fn cyber_observables(observation: &Observation) -> (Vec<Object>, bool) {
    let observable = observation.observable.as_deref();
    let mut objects = match observable {
        Some(observable) if observable.kind == ObservableType::EmailMessage => mail(observable),
        observable => observable.and_then(sighted).into_iter().collect(),
    };
    let unsaid = objects.is_empty();
    let mut refer = |address: IpAddr| {
        let object = address_object(address);
        let id = object.id().to_owned();
        if !objects.iter().any(|o| o.id() == id) {
            objects.push(object);
        }
        id
    };
    let flow = &observation.flow;
    let source = flow.source.map(|end| refer(end.address));
    let destination = flow.destination.map(|end| refer(end.address));
    if source.is_none() && destination.is_none() {
        // STIX 2.1 section 6.12: traffic has at least one of its ends
        return (objects, false);
    }
    let mut properties = traffic_properties(flow, source, destination);
    let mut extended = false;
    if let Some(observable) = observable {
        let (extensions, own) = extensions(observable, unsaid);
        if !extensions.is_empty() {
            properties.push(("extensions", Value::Object(extensions)));
        }
        extended = own;
    }
    // all of them contribute to the identifier (STIX 2.1 section 6.12)
    let traffic = Object::cyber_observable("network-traffic", &properties.clone(), properties);
    objects.push(traffic);
    (objects, extended)
}

/// The observable as an object of its own; `None` where the flow says it all, or where the
/// value cannot lawfully be written.
fn sighted(observable: &Observable) -> Option<Object> {
    let value = observable.value.as_str();
    if value.is_empty() {
        return None;
    }
    match observable.kind {
        ObservableType::Ipv4Addr | ObservableType::Ipv6Addr => {
            value.parse().ok().map(address_object)
        }
        ObservableType::DomainName => is_domain_name(value).then(|| valued("domain-name", value)),
        ObservableType::Url => Some(valued("url", &uri(value)?)),
        ObservableType::EmailAddr => is_mail_address(value).then(|| valued("email-addr", value)),
        ObservableType::File => file(observable),
        ObservableType::X509Certificate => {
            let hashes = match &observable.evidence {
                Evidence::Certificate(hashes) => hash_members(hashes),
                _ => Map::new(),
            };
            let hashes = if hashes.is_empty() {
                hash_of_text(value)?
            } else {
                hashes
            };
            let chosen = Value::Object(preferred(&hashes)?);
            Some(Object::cyber_observable(
                "x509-certificate",
                &[("hashes", chosen)],
                vec![("hashes", Value::Object(hashes))],
            ))
        }
        ObservableType::NetworkTraffic | ObservableType::EmailMessage => None,
    }
}

fn address_object(address: IpAddr) -> Object {
    let kind = match address {
        IpAddr::V4(_) => "ipv4-addr",
        IpAddr::V6(_) => "ipv6-addr",
    };
    valued(kind, &address.to_string())
}

fn valued(kind: &'static str, value: &str) -> Object {
    let properties = vec![("value", Value::from(value))];
    Object::cyber_observable(kind, &properties.clone(), properties)
}

fn file(observable: &Observable) -> Option<Object> {
    let mut hashes = Map::new();
    let mut file_name = None;
    let mut rest = Vec::new();
    if let Evidence::File {
        name,
        size,
        mime_type,
        hashes: digests,
    } = &observable.evidence
    {
        hashes = hash_members(digests);
        file_name = name.as_deref().filter(|n| !n.is_empty());
        rest.push(("size", Value::from(*size)));
        if let Some(mime_type) = mime_type.as_deref().filter(|m| is_mime_type(m)) {
            rest.push(("mime_type", Value::from(mime_type)));
        }
    }
    // STIX 2.1 section 6.7.1: a file has at least hashes or a name
    if hashes.is_empty() && file_name.is_none() {
        match hash_of_text(&observable.value) {
            Some(of_value) => hashes = of_value,
            None => file_name = Some(&observable.value),
        }
    }
    let mut properties = Vec::new();
    let mut contributing = Vec::new();
    if let Some(chosen) = preferred(&hashes) {
        contributing.push(("hashes", Value::Object(chosen)));
        properties.push(("hashes", Value::Object(hashes)));
    }
    if let Some(name) = file_name {
        contributing.push(("name", Value::from(name)));
        properties.push(("name", Value::from(name)));
    }
    properties.extend(rest);
    Some(Object::cyber_observable("file", &contributing, properties))
}

/// A mail, and the addresses that it refers to behind it. None without a subject or author,
/// which would make all such mails one (STIX 2.1 section 6.6).
fn mail(observable: &Observable) -> Vec<Object> {
    let Evidence::Mail {
        from,
        to,
        subject,
        is_multipart,
    } = &observable.evidence
    else {
        return Vec::new();
    };
    let mut objects: Vec<Object> = Vec::new();
    let mut refer = |address: &str| {
        let object = is_mail_address(address).then(|| valued("email-addr", address))?;
        let id = object.id().to_owned();
        if !objects.iter().any(|o| o.id() == id) {
            objects.push(object);
        }
        Some(Value::from(id))
    };
    let mut properties = vec![("is_multipart", Value::from(*is_multipart))];
    let mut contributing = Vec::new();
    if let Some(from) = from.as_deref().and_then(&mut refer) {
        contributing.push(("from_ref", from));
    }
    let mut recipients: Vec<Value> = to.iter().filter_map(|address| refer(address)).collect();
    recipients.dedup();
    if !recipients.is_empty() {
        properties.push(("to_refs", Value::from(recipients)));
    }
    if let Some(subject) = subject.as_deref().filter(|subject| !subject.is_empty()) {
        contributing.push(("subject", Value::from(subject)));
    }
    if contributing.is_empty() {
        return Vec::new();
    }
    properties.extend(contributing.iter().cloned());
    let mail = Object::cyber_observable("email-message", &contributing, properties);
    objects.insert(0, mail);
    objects
}

fn traffic_properties(
    flow: &ToldFlow,
    source: Option<String>,
    destination: Option<String>,
) -> Vec<(&'static str, Value)> {
    let mut properties = Vec::new();
    properties.extend(source.map(|id| ("src_ref", Value::from(id))));
    properties.extend(destination.map(|id| ("dst_ref", Value::from(id))));
    if has_ports(flow.protocol) {
        let port = |end: Option<ToldEnd>| end.and_then(|end| end.port);
        properties.extend(port(flow.source).map(|port| ("src_port", Value::from(port))));
        properties.extend(port(flow.destination).map(|port| ("dst_port", Value::from(port))));
    }
    properties.push(("protocols", protocols(flow)));
    properties
}

/// Extensions of network-traffic that an observable asks for, and whether
/// [`TRAFFIC_EXTENSION`] is among them. `unsaid`: there is no object of its own for it.
fn extensions(observable: &Observable, unsaid: bool) -> (Map<String, Value>, bool) {
    let mut extensions = Map::new();
    let mut request_seen = false;
    if let Evidence::HttpRequest {
        method,
        target,
        version,
        headers,
    } = &observable.evidence
    {
        let request = http_request(method, target, version, headers);
        extensions.insert("http-request-ext".to_owned(), request);
        request_seen = true;
    }
    let name = match observable.property {
        Some("user_agent") if request_seen => None,
        Some(property) if property.starts_with("x_") => Some(property.to_owned()),
        Some(property) => Some(format!("x_{property}")),
        None if unsaid && observable.kind != ObservableType::NetworkTraffic => {
            Some("x_value".to_owned())
        }
        None => None,
    };
    let Some(name) = name.filter(|_| !observable.value.is_empty()) else {
        return (extensions, false);
    };
    extensions.insert(
        TRAFFIC_EXTENSION.to_owned(),
        json!({"extension_type": "property-extension", name: observable.value}),
    );
    (extensions, true)
}

/// From the outermost in, in lower case (STIX 2.1 section 6.12.1).
fn protocols(flow: &ToldFlow) -> Value {
    let mut names = vec![if flow.is_ipv4 { "ipv4" } else { "ipv6" }];
    names.extend(match flow.protocol {
        1 => Some("icmp"),
        2 => Some("igmp"),
        6 => Some("tcp"),
        17 => Some("udp"),
        33 => Some("dccp"),
        47 => Some("gre"),
        50 => Some("esp"),
        51 => Some("ah"),
        58 => Some("ipv6-icmp"),
        132 => Some("sctp"),
        136 => Some("udplite"),
        _ => None,
    });
    names.extend(flow.app_proto);
    Value::from(
        names
            .iter()
            .map(|name| name.to_ascii_lowercase())
            .collect::<Vec<_>>(),
    )
}

/// Protocols with ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 33 | 132 | 136)
}

/// STIX 2.1 section 6.12.3: method and version in lower case, header names as sent.
fn http_request(method: &str, target: &str, version: &str, headers: &[(String, String)]) -> Value {
    let mut request = Map::new();
    request.insert("request_method".into(), method.to_ascii_lowercase().into());
    request.insert("request_value".into(), target.into());
    if !version.is_empty() {
        request.insert(
            "request_version".into(),
            version.to_ascii_lowercase().into(),
        );
    }
    let mut fields = Map::new();
    for (name, value) in headers {
        if !is_dictionary_key(name) {
            continue;
        }
        let values = fields
            .entry(name.as_str())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(Value::from(value.as_str()));
        }
    }
    if !fields.is_empty() {
        request.insert("request_header".into(), Value::Object(fields));
    }
    Value::Object(request)
}

/// STIX 2.1 section 2.3: letters, digits, hyphen and underscore, at most 250 of them.
fn is_dictionary_key(name: &str) -> bool {
    (1..=250).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// STIX 2.1 section 6.7.1: a name from IANA's registry, whose top-level types are these.
fn is_mime_type(text: &str) -> bool {
    const TYPES: [&str; 10] = [
        "application",
        "audio",
        "font",
        "haptics",
        "image",
        "message",
        "model",
        "multipart",
        "text",
        "video",
    ];
    text.len() <= 255
        && text.split_once('/').is_some_and(|(top, sub)| {
            TYPES.contains(&top)
                && !sub.is_empty()
                && sub
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        })
}

/// Every digest under its name in STIX's vocabulary (section 10.8).
fn hash_members(hashes: &Hashes) -> Map<String, Value> {
    let mut members = Map::new();
    let digests: [(&str, Option<&[u8]>); 3] = [
        ("MD5", hashes.md5.as_ref().map(<[u8; 16]>::as_slice)),
        ("SHA-1", hashes.sha1.as_ref().map(<[u8; 20]>::as_slice)),
        ("SHA-256", hashes.sha256.as_ref().map(<[u8; 32]>::as_slice)),
    ];
    for (name, digest) in digests {
        if let Some(digest) = digest {
            members.insert(name.to_owned(), Value::from(hex(digest)));
        }
    }
    members
}

/// The digest that a value written in hexadecimal is; `None` where it is no digest.
fn hash_of_text(value: &str) -> Option<Map<String, Value>> {
    let name = match value.len() {
        32 => "MD5",
        40 => "SHA-1",
        64 => "SHA-256",
        _ => return None,
    };
    value.bytes().all(|b| b.is_ascii_hexdigit()).then(|| {
        let mut members = Map::new();
        members.insert(name.to_owned(), Value::from(value.to_ascii_lowercase()));
        members
    })
}

/// The one hash that contributes to an identifier: the first of MD5, SHA-1, SHA-256, SHA-512
/// (STIX 2.1 section 2.9).
fn preferred(hashes: &Map<String, Value>) -> Option<Map<String, Value>> {
    let (name, value) = ["MD5", "SHA-1", "SHA-256"]
        .iter()
        .find_map(|name| hashes.get_key_value(*name))?;
    let mut one = Map::new();
    one.insert(name.clone(), value.clone());
    Some(one)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0xf] {
            out.push(char::from(DIGITS[usize::from(nibble)]));
        }
    }
    out
}

/// Whether STIX takes it for a domain name: RFC 1034 and RFC 5890 (section 6.4). What DNS
/// carries beyond that (underscores, spaces, symbols) is no name of a host.
fn is_domain_name(value: &str) -> bool {
    let name = value.strip_suffix('.').unwrap_or(value);
    let lawful_labels = name.split('.').all(|label| {
        (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    });
    if name.len() > 253 || !lawful_labels {
        return false;
    }
    let (unicode, lawful) =
        Uts46::new().to_unicode(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    lawful.is_ok()
        // names in letters beyond ASCII are written as they are, or not at all
        && (name.is_ascii() || unicode == name)
        // symbols are mapped by UTS 46 but not allowed by RFC 5892
        && unicode
            .chars()
            .all(|c| c.is_alphanumeric() || c == '-' || c == '.')
}

/// Whether STIX takes it for a mail address: an addr-spec of RFC 5322 (STIX 2.1 section 6.5), with
/// a local part of atoms and a domain name.
fn is_mail_address(value: &str) -> bool {
    value.rsplit_once('@').is_some_and(|(local, domain)| {
        let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&c);
        local.len() <= 64
            && local
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(atom))
            && is_domain_name(domain)
    })
}

/// A URL as RFC 3986 allows it: what may not stand there is percent-encoded. `None` where
/// scheme or authority are beyond repair.
fn uri(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(':')?;
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        || !scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    {
        return None;
    }
    let mut out = format!("{scheme}:");
    let mut path = rest;
    if let Some(after) = rest.strip_prefix("//") {
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        write_authority(authority, &mut out)?;
        path = behind;
    }
    let (hierarchy, fragment) = match path.split_once('#') {
        Some((hierarchy, fragment)) => (hierarchy, Some(fragment)),
        None => (path, None),
    };
    encode(hierarchy, b":/?@", &mut out);
    if let Some(fragment) = fragment {
        out.push('#');
        encode(fragment, b":/?@", &mut out);
    }
    Some(out)
}

/// RFC 3986 section 3.2: user information, a name or a bracketed address, a port.
fn write_authority(authority: &str, out: &mut String) -> Option<()> {
    out.push_str("//");
    let mut host = authority;
    if let Some((user, rest)) = authority.rsplit_once('@') {
        encode(user, b":", out);
        out.push('@');
        host = rest;
    }
    let port = if let Some(bracketed) = host.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        out.push_str(&format!("[{address}]"));
        port
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        encode(name, b"", out);
        port
    };
    let digits = port.strip_prefix(':').unwrap_or(port);
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    out.push_str(port);
    Some(())
}

/// Percent-encodes all but unreserved characters, sub-delimiters, what is encoded already,
/// and `also` (RFC 3986 section 2).
fn encode(text: &str, also: &[u8], out: &mut String) {
    let bytes = text.as_bytes();
    for (i, &byte) in bytes.iter().enumerate() {
        let encoded = byte == b'%'
            && bytes
                .get(i + 1..i + 3)
                .is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        if encoded
            || byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=".contains(&byte)
            || also.contains(&byte)
        {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push_str(&hex(&[byte]).to_ascii_uppercase());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_urls_as_rfc_3986_allows() {
        for (value, written) in [
            ("http://a.example/x?y=1#z", Some("http://a.example/x?y=1#z")),
            (
                "http://[2001:db8::1]:80/[x]",
                Some("http://[2001:db8::1]:80/%5Bx%5D"),
            ),
            (
                "http://a/é b%zz%41#a#b",
                Some("http://a/%C3%A9%20b%25zz%41#a%23b"),
            ),
            ("http://a/\u{1b}[2J\"<>", Some("http://a/%1B%5B2J%22%3C%3E")),
            (
                "http://u@v:w@a_b.example:8080",
                Some("http://u%40v:w@a_b.example:8080"),
            ),
            ("http://[2001:db8::1/", None),
            ("http://a:b/", None),
            ("no scheme", None),
            ("1http://a", None),
        ] {
            assert_eq!(uri(value).as_deref(), written, "{value}");
        }
    }

    #[test]
    fn takes_for_domain_names_what_stix_takes() {
        let long = format!("{}.example", "a".repeat(64));
        let deep = "a.".repeat(130);
        for (value, lawful) in [
            ("a.example", true),
            ("A.Example.", true),
            ("1.2.3.4", true),
            ("xn--bcher-kva.example", true),
            ("b\u{fc}cher.example", true),
            ("B\u{dc}cher.example", false),
            ("xn--i-7iq.example", false), // I, heart: RFC 5892 disallows symbols
            ("xn--zzzzzzzzzzz999.example", false),
            ("_dmarc.example", false),
            ("-a.example", false),
            ("ab--c.example", false),
            ("a..example", false),
            ("a b.example", false),
            ("a\u{0}.example", false),
            ("", false),
            (&long, false),
            (&deep, false),
        ] {
            assert_eq!(is_domain_name(value), lawful, "{value}");
        }
    }

    #[test]
    fn takes_for_mail_addresses_what_stix_takes() {
        for (value, lawful) in [
            ("joe.q+x@example.org", true),
            ("joe@b\u{fc}cher.example", true),
            ("j\u{f6}rg@example.org", false),
            ("\"joe q\"@example.org", false),
            ("joe.@example.org", false),
            ("@example.org", false),
            ("joe@[192.0.2.1]", false),
            ("joe", false),
        ] {
            assert_eq!(is_mail_address(value), lawful, "{value}");
        }
    }

    #[test]
    fn takes_the_hash_that_comes_first() {
        let all = Hashes {
            md5: Some([0xab; 16]),
            sha1: Some([1; 20]),
            sha256: Some([2; 32]),
        };
        let names = |hashes: &Hashes| -> Option<String> {
            preferred(&hash_members(hashes)).and_then(|one| one.keys().next().cloned())
        };
        assert_eq!(names(&all).as_deref(), Some("MD5"));
        assert_eq!(
            names(&Hashes { md5: None, ..all }).as_deref(),
            Some("SHA-1")
        );
        assert_eq!(
            names(&Hashes {
                md5: None,
                sha1: None,
                ..all
            })
            .as_deref(),
            Some("SHA-256")
        );
        assert_eq!(names(&Hashes::default()), None);
        assert_eq!(hash_members(&all)["MD5"], Value::from("ab".repeat(16)));
    }

    #[test]
    fn keeps_to_lawful_media_types() {
        for (text, lawful) in [
            ("application/vnd.ms-excel", true),
            ("text/html", true),
            ("text/", false),
            ("text", false),
            ("x-shockwave/flash", false),
            ("text/html; charset=utf-8", false),
        ] {
            assert_eq!(is_mime_type(text), lawful, "{text}");
        }
    }
}
