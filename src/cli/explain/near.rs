//! What comes near a value and does not match it, and why.

use crate::cli::explain::reading::What;
use crate::indicator::pattern::Condition;
use crate::indicator::pattern::Literal;
use crate::indicator::pattern::Observation;
use crate::indicator::pattern::Operator;
use crate::indicator::pattern::Pattern;
use crate::indicator::pattern::Spec;
use crate::matcher::Lone;
use crate::observable::name;
use crate::protocol::http::normalise_url;
use ipnet::IpNet;
use std::net::IpAddr;

/// What to look for nearby.
#[derive(Debug, Default)]
pub(super) struct Ask {
    name: Option<String>,
    address: Option<IpAddr>,
    network: Option<IpNet>,
    url: Option<String>,
    /// In lower case: what the pattern of whatever is near has in it; empty: anything.
    needle: String,
}

impl Ask {
    pub(super) fn new(readings: &[What]) -> Self {
        let mut ask = Self::default();
        let telling = |what: &&What| {
            matches!(
                what,
                What::Network(_) | What::Lone(Lone::Name(_) | Lone::Address(_) | Lone::Url(_))
            )
        };
        match readings.iter().find(telling) {
            Some(What::Lone(Lone::Name(name))) => {
                // the name of an owner: what is above that is everyone's
                let mut dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
                let start = dots.nth(1).unwrap_or(0);
                ask.needle = name.get(start..).unwrap_or_default().to_owned();
                ask.name = Some(name.clone());
            }
            Some(What::Lone(Lone::Address(address))) => {
                ask.needle = address.to_string();
                ask.address = Some(*address);
            }
            Some(What::Lone(Lone::Url(url))) => {
                ask.needle = host(url).unwrap_or_default();
                ask.url = Some(url.clone());
            }
            Some(What::Network(network)) => ask.network = Some(*network),
            _ => {}
        }
        ask
    }

    /// Whether a pattern is worth reading.
    pub(super) fn may_be_near(&self, pattern: &str) -> bool {
        if self.network.is_some() {
            return pattern.contains("-addr:");
        }
        if self.needle.is_empty() {
            return false;
        }
        // a name beyond ASCII is written otherwise than in normal form
        !pattern.is_ascii() || pattern.to_ascii_lowercase().contains(&self.needle)
    }

    /// Why a pattern does not match the value that it comes near; `None`: it does not come near.
    pub(super) fn near(&self, pattern: &Pattern) -> Option<String> {
        let mut reason = None;
        each_literal(&pattern.expression, &mut |kind, literal| {
            if reason.is_none() {
                reason = match kind {
                    "domain-name" => self.near_name(literal),
                    "url" => self.near_url(literal),
                    "ipv4-addr" | "ipv6-addr" => self.near_address(literal),
                    _ => None,
                };
            }
        });
        reason
    }

    fn near_name(&self, literal: &str) -> Option<String> {
        let name = self.name.as_deref()?;
        let loaded = name::normalise(literal)?;
        if is_below(name, &loaded) {
            return Some(format!(
                "{loaded} is loaded for that name alone, and {name} is below it (subdomains = \
                 \"always\" in the rules would match it)"
            ));
        }
        is_below(&loaded, name).then(|| {
            format!("{loaded} is loaded, a name below {name}; no name stands for those above it")
        })
    }

    fn near_url(&self, literal: &str) -> Option<String> {
        let loaded =
            normalise_url(literal).or_else(|| normalise_url(&format!("http://{literal}")))?;
        let host = host(&loaded)?;
        let is_host = self.name.as_deref() == Some(&*host)
            || self
                .address
                .is_some_and(|a| host.parse::<IpAddr>() == Ok(a));
        if is_host {
            return Some("a URL matches as a whole, never by its host alone".into());
        }
        let asked = self.url.as_deref()?;
        if asked == loaded || self::host(asked)? != host {
            return None;
        }
        let rest = |url: &str| url.split_once("://").map(|(_, rest)| rest.to_owned());
        Some(if rest(asked) == rest(&loaded) {
            "it differs in its scheme, and a URL matches as a whole".into()
        } else {
            "another URL of the same host, and a URL matches as a whole: path, query and letter \
             case count"
                .into()
        })
    }

    fn near_address(&self, literal: &str) -> Option<String> {
        let asked = self.network?;
        let loaded = network_of(literal)?;
        (asked.contains(&loaded) && asked != loaded)
            .then(|| format!("it matches only {loaded}, a part of {asked}"))
    }
}

/// What else of a value traffic shows by itself, and why its indicators are no match of the value.
pub(super) fn host_of(value: &Lone) -> Option<(Lone, String)> {
    match value {
        Lone::Url(url) => {
            let host = host(url)?;
            let reason = format!(
                "it matches {host}, the host of the URL, where that is seen by itself: 'intel \
                 explain {host}' says more"
            );
            let lone = match host.parse::<IpAddr>() {
                Ok(address) => Lone::Address(address),
                Err(_) => Lone::Name(host),
            };
            Some((lone, reason))
        }
        Lone::Mailbox(address) => {
            let (_, domain) = address.rsplit_once('@')?;
            let reason = format!(
                "it matches the name {domain} where that is seen by itself, not mail addresses of \
                 it"
            );
            Some((Lone::Name(domain.to_owned()), reason))
        }
        _ => None,
    }
}

/// Whether a pattern has an address or network around all of a network.
pub(super) fn covers(pattern: &str, asked: &IpNet) -> bool {
    let mut covers = false;
    if let Ok(pattern) = Pattern::parse(pattern, Spec::V21) {
        each_literal(&pattern.expression, &mut |_, literal| {
            covers |= network_of(literal).is_some_and(|loaded| loaded.contains(asked));
        });
    }
    covers
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above)
        .is_some_and(|rest| rest.ends_with('.'))
}

/// The host of a URL in normal form, an IPv6 address without its brackets.
fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    Some(host.to_owned())
}

fn network_of(text: &str) -> Option<IpNet> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => text.parse::<IpNet>().ok().map(|n| n.trunc()),
    }
}

/// Calls `visit` with the type and the text of every constant that a pattern asks for.
fn each_literal(observation: &Observation, visit: &mut dyn FnMut(&str, &str)) {
    match observation {
        Observation::Test(comparison) => comparison.walk(&mut |path, condition| {
            if let Condition::Property {
                negated: false,
                operator: Operator::Equal | Operator::In | Operator::IsSubset,
                operand,
            } = condition
            {
                for literal in operand.literals() {
                    if let Literal::String(text) = literal {
                        visit(&path.object_type, text);
                    }
                }
            }
        }),
        Observation::And(all) | Observation::Or(all) | Observation::FollowedBy(all) => {
            all.iter().for_each(|one| each_literal(one, visit));
        }
        Observation::Qualified(inner, _) => each_literal(inner, visit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::explain::reading::readings;

    #[test]
    fn what_is_near_has_a_reason() {
        for (value, pattern, reason) in [
            (
                "x.a.example",
                "[domain-name:value = 'A.Example']",
                Some("a.example is loaded for that name alone"),
            ),
            ("xa.example", "[domain-name:value = 'a.example']", None),
            (
                "a.example",
                "[domain-name:value IN ('b.example', 'c2.a.example')]",
                Some("below a.example"),
            ),
            (
                "a.example",
                "[url:value = 'http://A.example/x']",
                Some("as a whole"),
            ),
            (
                "a.example",
                "[url:value = 'http://b.example/a.example']",
                None,
            ),
            (
                "192.0.2.1",
                "[url:value = 'http://192.0.2.1:8080/x']",
                Some("as a whole"),
            ),
            (
                "2001:db8::1",
                "[url:value = 'http://[2001:db8::1]/x']",
                Some("as a whole"),
            ),
            (
                "http://a.example/x",
                "[url:value = 'https://a.example/x']",
                Some("scheme"),
            ),
            (
                "http://a.example/x",
                "[url:value = 'http://a.example/y']",
                Some("same host"),
            ),
            (
                "192.0.2.0/24",
                "[ipv4-addr:value = '192.0.2.7']",
                Some("only 192.0.2.7/32"),
            ),
            ("192.0.2.0/24", "[ipv4-addr:value = '192.0.3.7']", None),
            ("a.example", "[domain-name:value != 'x.a.example']", None),
        ] {
            let ask = Ask::new(&readings(value, None).unwrap());
            let parsed = Pattern::parse(pattern, Spec::V21).unwrap();
            let found = ask.near(&parsed);
            match reason {
                Some(part) => {
                    assert!(ask.may_be_near(pattern), "{value} {pattern}");
                    let found = found.unwrap_or_else(|| panic!("{value} {pattern}"));
                    assert!(found.contains(part), "{value} {pattern}: {found}");
                }
                None => assert_eq!(found, None, "{value} {pattern}"),
            }
        }
    }

    #[test]
    fn networks_are_covered_as_a_whole_or_not() {
        let asked = "192.0.2.0/24".parse().unwrap();
        for (pattern, covered) in [
            ("[ipv4-addr:value = '192.0.2.0/24']", true),
            ("[ipv4-addr:value ISSUBSET '192.0.0.0/16']", true),
            (
                "[ipv4-addr:value IN ('192.0.2.0/25', '192.0.2.128/25')]",
                false,
            ),
            ("[domain-name:value = 'a.example']", false),
        ] {
            assert_eq!(covers(pattern, &asked), covered, "{pattern}");
        }
    }
}
