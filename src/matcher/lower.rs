//! From the meaning of a pattern to what the tables look up.
//!
//! A comparison that asks for one value of one property becomes a table
//! entry. Anything more becomes a [`Program`]: the comparison itself, with its
//! constants in normal form, and *anchors*, values of which one must be there
//! for it to be true, so that it is evaluated only then. What a sensor on the
//! wire cannot see is told apart from what is wrong.

use crate::indicator::Refusal;
use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::Condition;
use crate::indicator::pattern::Literal;
use crate::indicator::pattern::ObjectPath;
use crate::indicator::pattern::Operand;
use crate::indicator::pattern::Operator;
use crate::indicator::pattern::Step;
use crate::indicator::pattern::Test;
use crate::matcher::program::ObjectKind;
use crate::matcher::program::Stage;
use crate::matcher::set::KeyKind;
use crate::observable::mail;
use crate::observable::name;
use crate::protocol::http;
use ipnet::IpNet;
use std::net::IpAddr;

/// A value that a table looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// An IPv4 address.
    V4(u32),
    /// First address and prefix length.
    NetworkV4(u32, u8),
    /// First address and prefix length.
    NetworkV6(u128, u8),
    /// Any other value in its normal form. `subtree`: names below it as well.
    Key {
        kind: KeyKind,
        value: Vec<u8>,
        subtree: bool,
    },
}

/// A comparison that must be evaluated.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) test: Comparison,
    pub(crate) object: ObjectKind,
    pub(crate) stage: Stage,
    /// One of these is there whenever the comparison is true; none: always to be evaluated.
    pub(crate) anchors: Vec<Term>,
}

/// What is asked of one observation, made ready for the tables.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    /// Each is all that is asked for.
    pub(crate) terms: Vec<Term>,
    pub(crate) programs: Vec<Program>,
    /// Why some of it can't be seen; `None`: all can.
    pub(crate) unseeable: Option<String>,
}

/// Anchors that one program may have; more are cheaper to evaluate than to keep.
const MAX_ANCHORS: usize = 1 << 12;

/// Adds what a comparison asks of one observation.
pub(crate) fn lower_comparison(
    comparison: &Comparison,
    subdomains: bool,
    lowered: &mut Lowered,
) -> Result<(), Refusal> {
    if let Comparison::Or(branches) = comparison {
        return branches
            .iter()
            .try_for_each(|b| lower_comparison(b, subdomains, lowered));
    }
    if let Comparison::Property {
        path,
        negated: false,
        operator,
        operand,
    } = comparison
        && let Some(terms) = terms_of(path, *operator, operand, subdomains)?
        && decides_alone(path)
    {
        lowered.terms.extend(terms);
        return Ok(());
    }
    match classify_comparison(comparison) {
        Err(reason) => {
            Test::new(comparison).map_err(|e| Refusal(e.to_string()))?;
            lowered.unseeable = Some(reason);
        }
        Ok((object, stage)) => {
            let test = normalise(comparison)?;
            Test::new(&test).map_err(|e| Refusal(e.to_string()))?;
            let anchors = anchors_of(&test)?
                .filter(|a| a.len() <= MAX_ANCHORS)
                .unwrap_or_default();
            lowered.programs.push(Program {
                test,
                object,
                stage,
                anchors,
            });
        }
    }
    Ok(())
}

/// Whether a value at this path says all: table entries of addresses and ports also serve as
/// anchors of programs over traffic and mails, for which the side matters.
fn decides_alone(path: &ObjectPath) -> bool {
    let first = key(path, 0);
    match path.object_type.as_str() {
        "network-traffic" => {
            !matches!(first, Some("src_ref" | "dst_ref" | "src_port" | "dst_port"))
        }
        // entries of addresses are what `email-addr` asks for: here the role matters
        "email-message" => first == Some("subject"),
        _ => true,
    }
}

/// What kind of object a comparison is about, and when all of it is known.
fn classify_comparison(comparison: &Comparison) -> Result<(ObjectKind, Stage), String> {
    let mut kind: Result<Option<(ObjectKind, Stage)>, String> = Ok(None);
    comparison.walk(&mut |path, _: Condition<'_>| {
        let Ok(known) = &kind else { return };
        kind = match (known, classify(path)) {
            (_, Err(reason)) => Err(reason),
            (None, Ok(found)) => Ok(Some(found)),
            (Some((object, stage)), Ok(found)) if *object == found.0 => {
                if stage.joins(found.1) {
                    Ok(Some((*object, (*stage).max(found.1))))
                } else {
                    Err("asks one message to be of two protocols".into())
                }
            }
            (Some(_), Ok(_)) => Err("asks one object to be of two types".into()),
        };
    });
    kind?.ok_or_else(|| "asks for nothing".into())
}

/// What a path names in traffic, or why it cannot be seen there.
fn classify(path: &ObjectPath) -> Result<(ObjectKind, Stage), String> {
    let unseeable = || Err(format!("{path} cannot be seen on the wire"));
    let first = key(path, 0);
    match path.object_type.as_str() {
        "ipv4-addr" | "ipv6-addr" if first == Some("value") => {
            Ok((ObjectKind::Address, Stage::Flow))
        }
        "domain-name" if matches!(first, Some("value" | "resolves_to_refs")) => {
            Ok((ObjectKind::Domain, Stage::Flow))
        }
        "url" if first == Some("value") => Ok((ObjectKind::Url, Stage::Flow)),
        "file" => match first {
            Some("hashes") => match path.steps.get(1) {
                Some(Step::Key(name)) if file_hash(name).is_some() => {
                    Ok((ObjectKind::File, Stage::Flow))
                }
                _ => Err(format!("{path}: this digest is not computed")),
            },
            Some("name" | "size" | "mime_type") => Ok((ObjectKind::File, Stage::Flow)),
            _ => unseeable(),
        },
        "x509-certificate" => match first {
            Some(
                "hashes"
                | "serial_number"
                | "issuer"
                | "subject"
                | "validity_not_before"
                | "validity_not_after"
                | "version"
                | "signature_algorithm"
                | "subject_public_key_algorithm"
                | "is_self_signed",
            ) => Ok((ObjectKind::Certificate, Stage::Flow)),
            _ => unseeable(),
        },
        "network-traffic" => match first {
            Some("src_ref" | "dst_ref") if matches!(key(path, 1), Some("value" | "type")) => {
                Ok((ObjectKind::Traffic, Stage::Flow))
            }
            Some("src_port" | "dst_port" | "start") => Ok((ObjectKind::Traffic, Stage::Flow)),
            Some("protocols") => Ok((ObjectKind::Traffic, Stage::Protocol)),
            Some("x_ja3_hash" | "x_ja4") => Ok((ObjectKind::Traffic, Stage::ClientHello)),
            Some("x_ja3s_hash") => Ok((ObjectKind::Traffic, Stage::ServerHello)),
            Some("x_hassh") => Ok((ObjectKind::Traffic, Stage::ClientKex)),
            Some("x_hassh_server") => Ok((ObjectKind::Traffic, Stage::ServerKex)),
            Some("extensions") if key(path, 1) == Some("http-request-ext") => match key(path, 2) {
                None
                | Some("request_method" | "request_value" | "request_version" | "request_header") => {
                    Ok((ObjectKind::Traffic, Stage::HttpRequest))
                }
                _ => unseeable(),
            },
            _ => unseeable(),
        },
        "email-addr" if matches!(first, Some("value" | "display_name")) => {
            Ok((ObjectKind::Mailbox, Stage::Flow))
        }
        "email-message" => match first {
            Some(
                "subject"
                | "message_id"
                | "is_multipart"
                | "content_type"
                | "received_lines"
                | "additional_header_fields",
            ) => Ok((ObjectKind::Mail, Stage::Flow)),
            Some("from_ref" | "sender_ref")
                if matches!(key(path, 1), Some("value" | "display_name" | "type")) =>
            {
                Ok((ObjectKind::Mail, Stage::Flow))
            }
            Some("to_refs" | "cc_refs" | "bcc_refs")
                if matches!(key(path, 2), Some("value" | "display_name" | "type")) =>
            {
                Ok((ObjectKind::Mail, Stage::Flow))
            }
            _ => unseeable(),
        },
        "process"
        | "windows-registry-key"
        | "mutex"
        | "user-account"
        | "directory"
        | "software" => Err(format!("{path}: lives on hosts, not on the wire")),
        _ => unseeable(),
    }
}

/// The name of a step, if it is one.
fn key(path: &ObjectPath, at: usize) -> Option<&str> {
    match path.steps.get(at)? {
        Step::Key(name) => Some(name),
        _ => None,
    }
}

fn file_hash(name: &str) -> Option<(KeyKind, usize)> {
    let bare: String = name.chars().filter(|c| *c != '-').collect();
    match bare.to_ascii_uppercase().as_str() {
        "MD5" => Some((KeyKind::FileMd5, 16)),
        "SHA1" => Some((KeyKind::FileSha1, 20)),
        "SHA256" => Some((KeyKind::FileSha256, 32)),
        _ => None,
    }
}

/// The table entries that say the same as a comparison; `None`: no table can.
fn terms_of(
    path: &ObjectPath,
    operator: Operator,
    operand: &Operand,
    subdomains: bool,
) -> Result<Option<Vec<Term>>, Refusal> {
    let Some(kind) = lookup_of(path) else {
        return Ok(None);
    };
    let fits = match operator {
        Operator::Equal | Operator::In => true,
        Operator::IsSubset => matches!(kind, Lookup::V4 | Lookup::V6 | Lookup::AnyAddress),
        _ => false,
    };
    if !fits {
        return Ok(None);
    }
    let mut terms = Vec::with_capacity(operand.literals().len());
    for literal in operand.literals() {
        match kind.term(path, literal, subdomains)? {
            Some(term) => terms.push(term),
            None => return Ok(None),
        }
    }
    Ok(Some(terms))
}

/// How the values of a path are looked up.
#[derive(Clone, Copy)]
enum Lookup {
    V4,
    V6,
    AnyAddress,
    Name,
    Url,
    Mailbox,
    Digest(KeyKind, usize),
    Port(KeyKind),
    Text(KeyKind),
}

fn lookup_of(path: &ObjectPath) -> Option<Lookup> {
    let last = path.steps.len();
    match (path.object_type.as_str(), key(path, 0)?) {
        ("ipv4-addr", "value") if last == 1 => Some(Lookup::V4),
        ("ipv6-addr", "value") if last == 1 => Some(Lookup::V6),
        ("domain-name", "value") if last == 1 => Some(Lookup::Name),
        ("url", "value") if last == 1 => Some(Lookup::Url),
        ("email-addr", "value") if last == 1 => Some(Lookup::Mailbox),
        ("email-message", "subject") if last == 1 => Some(Lookup::Text(KeyKind::EmailSubject)),
        ("email-message", "from_ref" | "sender_ref" | "to_refs" | "cc_refs" | "bcc_refs")
            if key(path, last.saturating_sub(1)) == Some("value") =>
        {
            Some(Lookup::Mailbox)
        }
        ("file", "hashes") if last == 2 => {
            file_hash(key(path, 1)?).map(|(kind, length)| Lookup::Digest(kind, length))
        }
        ("file", "name") if last == 1 => Some(Lookup::Text(KeyKind::FileName)),
        ("x509-certificate", "hashes") if last == 2 => {
            let (kind, length) = file_hash(key(path, 1)?)?;
            let kind = match kind {
                KeyKind::FileMd5 => KeyKind::CertificateMd5,
                KeyKind::FileSha1 => KeyKind::CertificateSha1,
                _ => KeyKind::CertificateSha256,
            };
            Some(Lookup::Digest(kind, length))
        }
        ("network-traffic", "src_ref" | "dst_ref")
            if last == 2 && key(path, 1) == Some("value") =>
        {
            Some(Lookup::AnyAddress)
        }
        ("network-traffic", "src_port") if last == 1 => Some(Lookup::Port(KeyKind::SourcePort)),
        ("network-traffic", "dst_port") if last == 1 => {
            Some(Lookup::Port(KeyKind::DestinationPort))
        }
        ("network-traffic", "x_ja3_hash") if last == 1 => Some(Lookup::Digest(KeyKind::Ja3, 16)),
        ("network-traffic", "x_ja3s_hash") if last == 1 => Some(Lookup::Digest(KeyKind::Ja3s, 16)),
        ("network-traffic", "x_hassh") if last == 1 => Some(Lookup::Digest(KeyKind::Hassh, 16)),
        ("network-traffic", "x_hassh_server") if last == 1 => {
            Some(Lookup::Digest(KeyKind::HasshServer, 16))
        }
        ("network-traffic", "x_ja4") if last == 1 => Some(Lookup::Text(KeyKind::Ja4)),
        ("network-traffic", "extensions") if is_user_agent(path) => {
            Some(Lookup::Text(KeyKind::UserAgent))
        }
        _ => None,
    }
}

/// `extensions.'http-request-ext'.request_header.'User-Agent'`, with `[0]` or `[*]` or without:
/// STIX 2.0 holds a text there, 2.1 a list.
fn is_user_agent(path: &ObjectPath) -> bool {
    key(path, 1) == Some("http-request-ext")
        && key(path, 2) == Some("request_header")
        && key(path, 3).is_some_and(|name| name.eq_ignore_ascii_case("user-agent"))
        && matches!(path.steps.get(4..), Some([] | [Step::Index(0) | Step::Any]))
}

impl Lookup {
    /// The entry for one constant; `None` where the types differ and nothing can match.
    fn term(
        self,
        path: &ObjectPath,
        literal: &Literal,
        subdomains: bool,
    ) -> Result<Option<Term>, Refusal> {
        if let Self::Port(kind) = self {
            let Literal::Integer(port) = literal else {
                return Ok(None);
            };
            let Ok(port) = u16::try_from(*port) else {
                return Ok(None);
            };
            let value = port.to_be_bytes().to_vec();
            return Ok(Some(Term::Key {
                kind,
                value,
                subtree: false,
            }));
        }
        let Literal::String(text) = literal else {
            return Ok(None);
        };
        let refuse =
            |what: &str| Refusal(format!("{path}: '{}' is not {what}", text.escape_debug()));
        let keyed = |kind, value: Vec<u8>| Term::Key {
            kind,
            value,
            subtree: false,
        };
        Ok(Some(match self {
            Self::V4 | Self::V6 | Self::AnyAddress => {
                let network = parse_network(text)
                    .filter(|n| match self {
                        Self::V4 => n.addr().is_ipv4(),
                        Self::V6 => n.addr().is_ipv6(),
                        _ => true,
                    })
                    .ok_or_else(|| refuse("an address or network of this kind"));
                match network {
                    Ok(network) => address_term(&network),
                    // src_ref and dst_ref may name hosts in other ways; those just do not match
                    Err(_) if matches!(self, Self::AnyAddress) => return Ok(None),
                    Err(refusal) => return Err(refusal),
                }
            }
            Self::Name => {
                let name = name::normalise(text).ok_or_else(|| refuse("a domain name"))?;
                let value = name.into_owned().into_bytes();
                Term::Key {
                    kind: KeyKind::Domain,
                    value,
                    subtree: subdomains,
                }
            }
            Self::Url => {
                let url = normalise_url(text).ok_or_else(|| refuse("a URL"))?;
                keyed(KeyKind::Url, url.into_bytes())
            }
            Self::Mailbox => {
                let address = mail::normalise(text).ok_or_else(|| refuse("a mail address"))?;
                keyed(KeyKind::EmailAddr, address.into_owned().into_bytes())
            }
            Self::Digest(kind, length) => {
                let digest = parse_hex(text).filter(|d| d.len() == length);
                keyed(
                    kind,
                    digest.ok_or_else(|| refuse(&format!("{length} bytes in hex")))?,
                )
            }
            Self::Text(kind) => keyed(kind, text.clone().into_bytes()),
            Self::Port(_) => return Ok(None),
        }))
    }
}

/// Whether mail addresses are at this path.
fn is_mailbox(path: &ObjectPath) -> bool {
    matches!(path.object_type.as_str(), "email-addr" | "email-message")
        && key(path, path.steps.len().saturating_sub(1)) == Some("value")
        && key(path, 0) != Some("additional_header_fields")
}

/// A URL in normal form. Many partners leave out the scheme; what a sensor sees of such a URL is
/// the one with `http`.
fn normalise_url(text: &str) -> Option<String> {
    if text.contains("://") {
        http::normalise_url(text)
    } else {
        http::normalise_url(&format!("http://{text}"))
    }
}

/// An address, or a network with any host bits cleared.
fn parse_network(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok().map(|n| n.trunc()),
    }
}

fn address_term(network: &IpNet) -> Term {
    match network {
        IpNet::V4(n) if n.prefix_len() == 32 => Term::V4(n.addr().to_bits()),
        IpNet::V4(n) => Term::NetworkV4(n.network().to_bits(), n.prefix_len()),
        IpNet::V6(n) if n.prefix_len() == 128 => Term::Key {
            kind: KeyKind::Ipv6,
            value: n.addr().octets().to_vec(),
            subtree: false,
        },
        IpNet::V6(n) => Term::NetworkV6(n.network().to_bits(), n.prefix_len()),
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some((digit(*high)? << 4 | digit(*low)?) as u8),
            _ => None,
        })
        .collect()
}

/// Values of which one is there whenever the comparison is true; `None`: no such values.
fn anchors_of(comparison: &Comparison) -> Result<Option<Vec<Term>>, Refusal> {
    match comparison {
        Comparison::Property {
            path,
            negated: false,
            operator,
            operand,
        } => terms_of(path, *operator, operand, false),
        Comparison::And(branches) => {
            let mut best: Option<Vec<Term>> = None;
            for branch in branches {
                if let Some(anchors) = anchors_of(branch)?
                    && best.as_ref().is_none_or(|b| cost(&anchors) < cost(b))
                {
                    best = Some(anchors);
                }
            }
            Ok(best)
        }
        Comparison::Or(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                match anchors_of(branch)? {
                    Some(anchors) => all.extend(anchors),
                    None => return Ok(None),
                }
            }
            Ok(Some(all))
        }
        Comparison::Property { .. } | Comparison::Exists { .. } => Ok(None),
    }
}

/// How often anchors will call for an evaluation, roughly: ports and networks often.
fn cost(anchors: &[Term]) -> usize {
    anchors
        .iter()
        .map(|anchor| match anchor {
            Term::Key {
                kind: KeyKind::DestinationPort | KeyKind::SourcePort,
                value,
                ..
            } => match value.as_slice() {
                // ports of services carry most flows, any other port few
                [high, low] if u16::from_be_bytes([*high, *low]) >= 10_000 => 100,
                _ => 10_000,
            },
            Term::NetworkV4(..) | Term::NetworkV6(..) => 1_000,
            Term::V4(_) | Term::Key { .. } => 1,
        })
        .sum()
}

/// The comparison with its constants in the normal forms that traffic is shown in.
pub(crate) fn normalise(comparison: &Comparison) -> Result<Comparison, Refusal> {
    Ok(match comparison {
        Comparison::And(branches) => {
            Comparison::And(branches.iter().map(normalise).collect::<Result<_, _>>()?)
        }
        Comparison::Or(branches) => {
            Comparison::Or(branches.iter().map(normalise).collect::<Result<_, _>>()?)
        }
        Comparison::Exists { .. } => comparison.clone(),
        Comparison::Property {
            path,
            negated,
            operator,
            operand,
        } => {
            let each = |literal: &Literal| match literal {
                Literal::String(text) => Literal::String(normal_text(path, *operator, text)),
                other => other.clone(),
            };
            Comparison::Property {
                path: path.clone(),
                negated: *negated,
                operator: *operator,
                operand: match operand {
                    Operand::One(literal) => Operand::One(each(literal)),
                    Operand::Set(literals) => Operand::Set(literals.iter().map(each).collect()),
                },
            }
        }
    })
}

fn normal_text(path: &ObjectPath, operator: Operator, text: &str) -> String {
    let equal = matches!(
        operator,
        Operator::Equal | Operator::NotEqual | Operator::In
    );
    let ignores_case = match (path.object_type.as_str(), key(path, 0)) {
        ("domain-name", Some("value")) | ("file" | "x509-certificate", Some("hashes")) => true,
        (
            "network-traffic",
            Some("protocols" | "x_ja3_hash" | "x_ja3s_hash" | "x_hassh" | "x_hassh_server"),
        ) => true,
        ("email-addr", _) | ("email-message", Some(_)) => is_mailbox(path),
        ("network-traffic", Some("extensions")) => key(path, 2) == Some("request_method"),
        _ => false,
    };
    let is_address = matches!(
        (
            path.object_type.as_str(),
            key(path, path.steps.len().saturating_sub(1))
        ),
        ("ipv4-addr" | "ipv6-addr" | "network-traffic", Some("value"))
    ) || key(path, 0) == Some("resolves_to_refs");
    if operator == Operator::Matches {
        return if ignores_case {
            format!("(?i){text}")
        } else {
            text.to_owned()
        };
    }
    if equal && is_address {
        return match parse_network(text) {
            Some(n) if n.prefix_len() == n.max_prefix_len() => n.addr().to_string(),
            Some(n) => n.to_string(),
            None => text.to_owned(),
        };
    }
    if equal && path.object_type == "domain-name" {
        return name::normalise(text).map_or_else(|| text.to_owned(), |n| n.into_owned());
    }
    if equal && is_mailbox(path) {
        return mail::normalise(text).map_or_else(|| text.to_lowercase(), |a| a.into_owned());
    }
    if equal && path.object_type == "url" {
        return normalise_url(text).unwrap_or_else(|| text.to_owned());
    }
    if ignores_case {
        text.to_lowercase()
    } else {
        text.to_owned()
    }
}
