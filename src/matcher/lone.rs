//! Values of which nothing else is known, as a person asks for them: not in which flow they were
//! seen, nor of which file or mail they are a part.

use crate::indicator::pattern::Comparison;
use crate::indicator::pattern::ObjectView;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Operator;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Step;
use crate::indicator::pattern::Test;
use crate::indicator::pattern::Value;
use crate::matcher::Hits;
use crate::matcher::Matcher;
use crate::matcher::lower::normalise;
use crate::matcher::lower::parse_hex;
use crate::matcher::object::hex;
use crate::matcher::program::ObjectKind;
use crate::matcher::set::KeyKind;
use crate::matcher::set::Posting;
use crate::time::Timestamp;
use std::net::IpAddr;
use std::net::SocketAddr;

/// A value in normal form, and nothing beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lone {
    /// An address.
    Address(IpAddr),
    /// An address and a port, at either end of a flow.
    Endpoint(SocketAddr),
    /// A domain name.
    Name(String),
    /// A URL.
    Url(String),
    /// A mail address.
    Mailbox(String),
    /// The subject of a mail.
    Subject(String),
    /// The name of a file.
    FileName(String),
    /// A digest of a file or certificate: which, and its bytes.
    Digest(KeyKind, Vec<u8>),
    /// A fingerprint: which, and its text in lower case.
    Fingerprint(KeyKind, String),
    /// The User-Agent of a request.
    UserAgent(String),
}

impl Matcher {
    /// Looks up a value as traffic would have it looked up.
    ///
    /// Patterns over flows and mails as a whole are not tried, since nothing is known of either:
    /// [`Terms`] tells what such a pattern would find in the value.
    pub fn lone(&self, value: &Lone, now: Timestamp, hits: &mut Hits) {
        match value {
            Lone::Address(address) => self.address(*address, now, hits),
            Lone::Endpoint(_) => {}
            Lone::Name(name) => self.domain(name, &[], now, hits),
            Lone::Url(url) => self.url(url, now, hits),
            Lone::Mailbox(address) => self.mailbox(address, "", now, hits),
            Lone::Subject(subject) => {
                self.plain(KeyKind::EmailSubject, subject.as_bytes(), now, hits);
            }
            Lone::FileName(name) => self.file_name(name, now, hits),
            Lone::Digest(kind, digest) => {
                let object = if is_of_certificate(*kind) {
                    ObjectKind::Certificate
                } else {
                    ObjectKind::File
                };
                for view in value.views() {
                    self.key(*kind, digest, object, &view, now, hits);
                    if self.programs.scans(object) {
                        self.scan(object, b"", &view, now, hits);
                    }
                }
            }
            Lone::Fingerprint(KeyKind::Ja4, text) => {
                self.plain(KeyKind::Ja4, text.as_bytes(), now, hits);
            }
            Lone::Fingerprint(kind, text) => {
                if let Some(digest) = parse_hex(text) {
                    self.plain(*kind, &digest, now, hits);
                }
            }
            Lone::UserAgent(agent) => {
                self.plain(KeyKind::UserAgent, agent.as_bytes(), now, hits);
            }
        }
    }

    /// A value that is all that an indicator asks for, without the patterns that ask for more.
    fn plain(&self, kind: KeyKind, value: &[u8], now: Timestamp, hits: &mut Hits) {
        self.each_posting(kind, value, &mut |posting| {
            if let Posting::Indicator { ordinal, .. } = posting {
                self.count(ordinal, now, hits);
            }
        });
    }
}

/// The comparisons of a pattern, ready to be tried one by one.
#[derive(Debug)]
pub struct Terms {
    /// The pattern as a whole, where one observation decides it.
    whole: Option<Test>,
    /// Those that ask for a value, each with its text.
    terms: Vec<(String, Test)>,
}

impl Terms {
    /// Makes the comparisons of a pattern ready.
    pub fn of(pattern: &Pattern) -> Self {
        let mut terms = Vec::new();
        collect(&pattern.expression, &mut terms);
        let whole = match &pattern.expression {
            Observation::Test(comparison) => ready(comparison),
            _ => None,
        };
        Self { whole, terms }
    }

    /// Whether the value is all that the pattern asks for.
    pub fn decides(&self, value: &Lone) -> bool {
        self.whole.as_ref().is_some_and(|whole| {
            let views = value.views();
            let own = |view: &&Known| !value.is_borne_by(view);
            views.iter().filter(own).any(|view| whole.matches(view))
        })
    }

    /// The first comparison that the value satisfies, as a pattern would write it.
    pub fn satisfied(&self, value: &Lone) -> Option<&str> {
        let views = value.views();
        self.terms
            .iter()
            .find(|(_, test)| views.iter().any(|view| test.matches(view)))
            .map(|(text, _)| text.as_str())
    }
}

/// Collects what asks for a value. What asks for the absence of one is satisfied by nearly all.
fn collect(observation: &Observation, terms: &mut Vec<(String, Test)>) {
    match observation {
        Observation::Test(comparison) => collect_terms(comparison, terms),
        Observation::And(all) | Observation::Or(all) | Observation::FollowedBy(all) => {
            all.iter().for_each(|one| collect(one, terms));
        }
        Observation::Qualified(inner, _) => collect(inner, terms),
    }
}

fn collect_terms(comparison: &Comparison, terms: &mut Vec<(String, Test)>) {
    match comparison {
        Comparison::And(branches) | Comparison::Or(branches) => {
            branches.iter().for_each(|b| collect_terms(b, terms));
        }
        Comparison::Property {
            negated: false,
            operator,
            ..
        } if *operator != Operator::NotEqual => {
            terms.extend(ready(comparison).map(|test| (comparison.to_string(), test)));
        }
        Comparison::Property { .. } | Comparison::Exists { .. } => {}
    }
}

fn ready(comparison: &Comparison) -> Option<Test> {
    normalise(comparison).ok().and_then(|c| Test::new(&c).ok())
}

/// An object of which a few properties are known; what it is not known to have, it has not.
#[derive(Debug)]
struct Known {
    object_type: &'static str,
    /// The names along the way to each, and its value.
    properties: Vec<(&'static [&'static str], Text)>,
}

#[derive(Debug)]
enum Text {
    String(String),
    Integer(i64),
}

impl ObjectView for Known {
    fn object_type(&self) -> &str {
        self.object_type
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        let names: Vec<&str> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Key(name) => Some(name.as_str()),
                Step::Index(_) | Step::Any => None,
            })
            .collect();
        for (path, value) in &self.properties {
            let is_it =
                path.len() == names.len() && path.iter().zip(&names).all(|(a, b)| is_same(a, b));
            if is_it {
                match value {
                    Text::String(text) => visit(Value::String(text)),
                    Text::Integer(number) => visit(Value::Integer(*number)),
                }
            }
        }
    }
}

/// Whether two names of properties mean the same: `SHA-256` and `sha256`, `User-Agent` and
/// `user-agent`.
fn is_same(a: &str, b: &str) -> bool {
    let bare = |text: &'_ str| -> Vec<u8> {
        text.bytes()
            .filter(|b| *b != b'-')
            .map(|b| b.to_ascii_lowercase())
            .collect()
    };
    a == b || bare(a) == bare(b)
}

impl Lone {
    /// Whether an object is another value that this one is said of: a name, of what it resolves to.
    fn is_borne_by(&self, view: &Known) -> bool {
        matches!(self, Self::Address(_)) && view.object_type == "domain-name"
    }

    /// The objects that may have the value.
    fn views(&self) -> Vec<Known> {
        let one = |object_type, path, text: &str| {
            vec![Known {
                object_type,
                properties: vec![(path, Text::String(text.to_owned()))],
            }]
        };
        match self {
            Self::Address(address) => {
                let kind = type_of(*address);
                let text = || Text::String(address.to_string());
                let family = || Text::String(kind.to_owned());
                vec![
                    Known {
                        object_type: kind,
                        properties: vec![(&["value"], text())],
                    },
                    Known {
                        object_type: "network-traffic",
                        properties: vec![
                            (&["src_ref", "value"], text()),
                            (&["src_ref", "type"], family()),
                        ],
                    },
                    Known {
                        object_type: "network-traffic",
                        properties: vec![
                            (&["dst_ref", "value"], text()),
                            (&["dst_ref", "type"], family()),
                        ],
                    },
                    Known {
                        object_type: "domain-name",
                        properties: vec![(&["resolves_to_refs", "value"], text())],
                    },
                ]
            }
            Self::Endpoint(end) => {
                let text = || Text::String(end.ip().to_string());
                let family = || Text::String(type_of(end.ip()).to_owned());
                let port = || Text::Integer(end.port().into());
                vec![
                    Known {
                        object_type: "network-traffic",
                        properties: vec![
                            (&["dst_ref", "value"], text()),
                            (&["dst_ref", "type"], family()),
                            (&["dst_port"], port()),
                        ],
                    },
                    Known {
                        object_type: "network-traffic",
                        properties: vec![
                            (&["src_ref", "value"], text()),
                            (&["src_ref", "type"], family()),
                            (&["src_port"], port()),
                        ],
                    },
                ]
            }
            Self::Name(name) => one("domain-name", &["value"], name),
            Self::Url(url) => one("url", &["value"], url),
            Self::Mailbox(address) => {
                let mut views = one("email-addr", &["value"], address);
                let roles: [&'static [&'static str]; 5] = [
                    &["from_ref", "value"],
                    &["sender_ref", "value"],
                    &["to_refs", "value"],
                    &["cc_refs", "value"],
                    &["bcc_refs", "value"],
                ];
                for role in roles {
                    views.extend(one("email-message", role, address));
                }
                views
            }
            Self::Subject(subject) => one("email-message", &["subject"], subject),
            Self::FileName(name) => one("file", &["name"], name),
            Self::Digest(kind, digest) => {
                let object = if is_of_certificate(*kind) {
                    "x509-certificate"
                } else {
                    "file"
                };
                let path: &'static [&'static str] = match digest.len() {
                    16 => &["hashes", "MD5"],
                    20 => &["hashes", "SHA-1"],
                    _ => &["hashes", "SHA-256"],
                };
                one(object, path, &hex(digest))
            }
            Self::Fingerprint(kind, text) => {
                let path: &'static [&'static str] = match kind {
                    KeyKind::Ja3 => &["x_ja3_hash"],
                    KeyKind::Ja3s => &["x_ja3s_hash"],
                    KeyKind::Hassh => &["x_hassh"],
                    KeyKind::HasshServer => &["x_hassh_server"],
                    _ => &["x_ja4"],
                };
                one("network-traffic", path, text)
            }
            Self::UserAgent(agent) => one(
                "network-traffic",
                &[
                    "extensions",
                    "http-request-ext",
                    "request_header",
                    "User-Agent",
                ],
                agent,
            ),
        }
    }
}

const fn is_of_certificate(kind: KeyKind) -> bool {
    matches!(
        kind,
        KeyKind::CertificateMd5 | KeyKind::CertificateSha1 | KeyKind::CertificateSha256
    )
}

const fn type_of(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ipv4-addr",
        IpAddr::V6(_) => "ipv6-addr",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::pattern::Spec;

    #[test]
    fn a_name_that_resolves_to_an_address_is_more_than_the_address() {
        let address = Lone::Address("192.0.2.1".parse().unwrap());
        let pattern = "[domain-name:resolves_to_refs[*].value = '192.0.2.1']";
        let terms = Terms::of(&Pattern::parse(pattern, Spec::V21).unwrap());
        assert!(!terms.decides(&address));
        assert!(terms.satisfied(&address).is_some());
    }

    #[test]
    fn terms_of_patterns() {
        let address = Lone::Address("192.0.2.1".parse().unwrap());
        let end = Lone::Endpoint("192.0.2.1:8443".parse().unwrap());
        let name = Lone::Name("a.example".into());
        let digest = Lone::Digest(KeyKind::FileMd5, vec![0xd4; 16]);
        let md5 = "D4".repeat(16);
        for (pattern, value, decides, satisfied) in [
            ("[domain-name:value = 'A.Example']", &name, true, true),
            ("[domain-name:value = 'b.example']", &name, false, false),
            (
                "[domain-name:value = 'a.example'] REPEATS 3 TIMES",
                &name,
                false,
                true,
            ),
            (
                "[domain-name:value = 'a.example'] FOLLOWEDBY [url:value = 'http://b.example/']",
                &name,
                false,
                true,
            ),
            (
                "[domain-name:value != 'b.example' AND domain-name:resolves_to_refs[*].value = '192.0.2.1']",
                &name,
                false,
                false,
            ),
            (
                "[domain-name:value = 'b.example' AND domain-name:resolves_to_refs[*].value = '192.0.2.1']",
                &address,
                false,
                true,
            ),
            (
                "[network-traffic:src_ref.value ISSUBSET '192.0.2.0/24']",
                &address,
                true,
                true,
            ),
            (
                "[network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 8443]",
                &address,
                false,
                true,
            ),
            (
                "[network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:dst_port = 8443]",
                &end,
                true,
                true,
            ),
            (
                "[network-traffic:dst_ref.value = '192.0.2.1' AND network-traffic:src_port = 8443]",
                &end,
                false,
                true,
            ),
            (
                &*format!("[file:hashes.'MD5' = '{md5}']"),
                &digest,
                true,
                true,
            ),
            (
                &*format!("[x509-certificate:hashes.MD5 = '{md5}']"),
                &digest,
                false,
                false,
            ),
        ] {
            let terms = Terms::of(&Pattern::parse(pattern, Spec::V21).unwrap());
            assert_eq!(terms.decides(value), decides, "{pattern} {value:?}");
            assert_eq!(
                terms.satisfied(value).is_some(),
                satisfied,
                "{pattern} {value:?}"
            );
        }
    }
}
