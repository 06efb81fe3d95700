//! What mails show: addresses, subjects, links.

use super::FlowFacts;
use super::MAX_EVIDENCE;
use super::Observer;
use super::Sight;
use super::shorten;
use crate::flow::Direction;
use crate::matcher::Evidence;
use crate::matcher::object::MailView;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::observable::mail;
use crate::observable::name;
use crate::protocol::http::normalise_url;
use crate::protocol::smtp::Envelope;
use crate::protocol::smtp::EnvelopeAddress;
use crate::protocol::smtp::Mail;
use crate::protocol::smtp::MailLinks;
use crate::protocol::smtp::Role;
use std::net::IpAddr;
use std::sync::Arc;

impl Observer {
    /// An address that a mail's dialogue names; it counts once a mail.
    pub(super) fn observe_envelope(&mut self, named: &EnvelopeAddress<'_>, facts: &FlowFacts) {
        let matcher = Arc::clone(&self.matcher);
        if !matcher.wants_mailboxes() {
            return;
        }
        let Some(address) = mail::normalise(named.address) else {
            return;
        };
        self.hits.begin();
        matcher.mailbox(&address, "", self.now, &mut self.hits);
        if !self.hits.any_fresh() {
            return;
        }
        self.hits.begin();
        self.pass_over_envelope(named.earlier);
        matcher.mailbox(&address, "", self.now, &mut self.hits);
        if self.hits.any_fresh() {
            let place = match named.role {
                Role::MailFrom => Place::SmtpMailFrom,
                _ => Place::SmtpRcptTo,
            };
            let sight = Sight::new(ObservableType::EmailAddr, &address, place);
            self.report(&sight, facts, Direction::ToServer);
        }
    }

    /// What an envelope names was reported when it did.
    fn pass_over_envelope(&mut self, envelope: &Envelope) {
        let matcher = Arc::clone(&self.matcher);
        let withheld = (self.hits.not_yet_valid, self.hits.expired);
        for address in envelope.from().into_iter().chain(envelope.to()) {
            if let Some(address) = mail::normalise(address) {
                matcher.mailbox(&address, "", self.now, &mut self.hits);
            }
        }
        (self.hits.not_yet_valid, self.hits.expired) = withheld;
        self.hits.take_fresh();
    }

    pub(super) fn observe_mail(&mut self, mail: &Mail<'_>, facts: &FlowFacts) {
        self.note_transaction("smtp");
        let direction = Direction::ToServer;
        let matcher = Arc::clone(&self.matcher);
        self.hits.begin();
        if matcher.wants_addresses() {
            for (name, value) in mail.fields() {
                if TRACES.iter().any(|trace| trace.eq_ignore_ascii_case(name)) {
                    for_each_address(value, &mut |address| {
                        self.observe_address(address, Place::SmtpHeader, facts, direction);
                    });
                }
            }
        }
        if !matcher.wants_mails() {
            return;
        }
        let view = MailView::new(mail);
        if matcher.wants_mailboxes() {
            self.pass_over_envelope(mail.envelope());
            for (_, address, name) in view.mailboxes() {
                matcher.mailbox(address, name, self.now, &mut self.hits);
                if self.hits.any_fresh() {
                    let sight = Sight::new(ObservableType::EmailAddr, address, Place::SmtpHeader);
                    self.report(&sight, facts, direction);
                }
            }
        }
        matcher.mail(&view, self.now, &mut self.hits);
        if self.hits.any_fresh() {
            let value = match view.subject() {
                Some(subject) if !subject.is_empty() => subject.to_owned(),
                _ => mail.value("message-id").unwrap_or_default(),
            };
            let kind = ObservableType::EmailMessage;
            let evidence = || mail_evidence(&view, mail.is_multipart());
            let sight = Sight::new(kind, &value, Place::SmtpHeader);
            self.report(
                &Sight {
                    evidence: &evidence,
                    ..sight
                },
                facts,
                direction,
            );
        }
    }

    pub(super) fn observe_links(&mut self, links: &MailLinks<'_>, facts: &FlowFacts) {
        let direction = Direction::ToServer;
        let matcher = Arc::clone(&self.matcher);
        self.hits.begin();
        for url in links.urls().filter_map(normalise_url) {
            matcher.url(&url, self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let sight = Sight::new(ObservableType::Url, &url, Place::SmtpLink);
                self.report(&sight, facts, direction);
            }
            let host = host_of(&url);
            if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
                self.observe_address(address, Place::SmtpLink, facts, direction);
            } else if let Some(name) = name::normalise(host) {
                matcher.domain(&name, &[], self.now, &mut self.hits);
                if self.hits.any_fresh() {
                    let sight = Sight::new(ObservableType::DomainName, &name, Place::SmtpLink);
                    self.report(&sight, facts, direction);
                }
            }
        }
    }
}

fn mail_evidence(view: &MailView<'_>, is_multipart: bool) -> Evidence {
    let of_role = |role: Role| {
        let found = view.mailboxes().filter(move |(r, _, _)| *r == role);
        found.map(|(_, address, _)| address.to_owned())
    };
    Evidence::Mail {
        from: of_role(Role::From).next(),
        to: of_role(Role::To).take(MAX_TO).collect(),
        subject: view
            .subject()
            .map(|subject| shorten(subject, MAX_EVIDENCE).to_owned()),
        is_multipart,
    }
}

/// The host of a URL in normal form.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => authority,
    }
}

/// Calls for each IP address that a trace of a relay or of a sender names. Behind `with` and `id`
/// are names and versions of software (RFC 5321 4.4), which look like addresses.
fn for_each_address(value: &[u8], visit: &mut dyn FnMut(IpAddr)) {
    let words = value
        .split(u8::is_ascii_whitespace)
        .take_while(|word| !word.eq_ignore_ascii_case(b"with") && !word.eq_ignore_ascii_case(b"id"))
        .take(MAX_WORDS);
    for word in words.flat_map(|w| w.split(|c| !(c.is_ascii_hexdigit() || b".:".contains(c)))) {
        // "IPv6:2001:db8::1" (RFC 5321 4.1.3) falls apart at the v, and leaves "6:" behind it
        let word = word.strip_prefix(b"6:").unwrap_or(word);
        if (MIN_ADDRESS..=MAX_ADDRESS).contains(&word.len())
            && let Some(address) = std::str::from_utf8(word)
                .ok()
                .and_then(|word| word.parse().ok())
        {
            visit(address);
        }
    }
}

/// Recipients kept as evidence of a mail.
const MAX_TO: usize = 16;

/// Header fields of a mail in which relays write whom they had it from.
const TRACES: [&str; 4] = ["Received", "X-Originating-IP", "X-Sender-IP", "X-Client-IP"];

/// Shortest and longest address in text: `::1` and eight groups of four.
const MIN_ADDRESS: usize = 3;
const MAX_ADDRESS: usize = 45;

/// Words of one trace that are looked at; those of relays have a dozen or two.
const MAX_WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::End;
    use crate::flow::FlowKey;
    use crate::indicator::Indicator;
    use crate::indicator::Intake;
    use crate::indicator::PatternVersion;
    use crate::matcher::Clock;
    use crate::matcher::Matcher;
    use crate::matcher::SubdomainPolicy;
    use crate::matcher::build::SetBuilder;
    use crate::protocol::Parser;
    use crate::protocol::smtp::SmtpParser;
    use crate::time::Timestamp;
    use std::borrow::Cow;

    /// Places and values of what matches in a dialogue.
    fn observe(patterns: &[&str], text: &str) -> Vec<(&'static str, String)> {
        let mut builder = SetBuilder::new();
        builder.begin_source("test");
        for (number, pattern) in patterns.iter().enumerate() {
            let taken = builder.take(&Indicator {
                id: Cow::Owned(format!(
                    "indicator--{number:08x}-0000-4000-8000-000000000000"
                )),
                derived_id: false,
                pattern: Cow::Borrowed(pattern),
                pattern_version: PatternVersion::V21,
                name: None,
                subdomains: false,
                created: Timestamp::MIN,
                modified: Timestamp::MIN,
                valid_from: Timestamp::MIN,
                valid_until: None,
                revoked: false,
                confidence: None,
                labels: Vec::new(),
                markings: Vec::new(),
                created_by: None,
            });
            assert!(taken.is_ok(), "{pattern}");
        }
        let set = Arc::new(builder.finish(Timestamp::MIN).unwrap().set);
        let policy = SubdomainPolicy::default();
        let mut observer = Observer::new(Arc::new(Matcher::new(set, Clock::Ignore, policy)));
        let end = |last, port| {
            let address = IpAddr::from([192, 0, 2, last]);
            End::new(address.into(), port)
        };
        let (key, client_is_low) = FlowKey::new(end(1, 40_000), end(2, 25), 6);
        let mut facts = FlowFacts {
            key,
            client_is_low,
            vlan: None,
            first_seen: Timestamp::MIN,
            app_proto: Some("smtp"),
            protocol_told: true,
        };
        let wants = observer.wants();
        let mut parser = SmtpParser::new();
        parser.parse(
            Direction::ToServer,
            text.as_bytes(),
            &wants,
            &mut |message| {
                observer.observe(message, Direction::ToServer, &mut facts);
            },
        );
        let found = observer
            .found
            .into_iter()
            .map(|placed| placed.found.observable);
        found.map(|o| (o.place.as_str(), o.value)).collect()
    }

    #[test]
    fn an_address_counts_once_a_mail_and_where_it_came_first() {
        let patterns = [
            "[email-addr:value = 'a@x.example']",
            "[email-addr:value IN ('b@y.example', 'c@y.example')]",
            "[email-addr:value = 'd@x.example']",
            "[domain-name:value = 'x.example']",
            "[email-message:subject = 'bad']",
        ];
        let text = "EHLO c\r\nMAIL FROM:<A@X.example>\r\nRCPT TO:<c@y.example>\r\n\
            RCPT TO:<b@y.example>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n\
            From: <a@x.example>\r\nSender: d@x.example\r\nTo: b@y.example\r\nCc: d@x.example\r\n\
            Subject: bad\r\n\r\n.\r\nMAIL FROM:<a@x.example>\r\n";
        let expected = [
            ("smtp.mail_from", "a@x.example"),
            ("smtp.rcpt_to", "c@y.example"),
            ("smtp.header", "d@x.example"),
            ("smtp.header", "bad"),
            ("smtp.mail_from", "a@x.example"),
        ];
        assert_eq!(
            observe(&patterns, text),
            expected.map(|(p, v)| (p, v.to_owned()))
        );
    }

    #[test]
    fn links_and_attachments_are_seen_where_they_are() {
        let patterns = [
            "[url:value = 'http://bad.example/x']",
            "[domain-name:value = 'bad.example']",
            "[ipv4-addr:value = '203.0.113.7']",
            "[file:hashes.MD5 = '900150983cd24fb0d6963f7d28e17f72']",
            "[file:name = 'bad.exe']",
        ];
        let text = "EHLO c\r\nDATA\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\n\r\nsee http://BAD.example/x http://bad.example/y http://203.0.113.7:80/\r\n\
            --b\r\nContent-Type: a/b; name=bad.exe\r\nContent-Transfer-Encoding: base64\r\n\r\n\
            YWJj\r\n--b--\r\n.\r\n";
        let expected = [
            ("smtp.attachment", "900150983cd24fb0d6963f7d28e17f72"),
            ("smtp.attachment", "bad.exe"),
            ("smtp.link", "http://bad.example/x"),
            ("smtp.link", "bad.example"),
            ("smtp.link", "203.0.113.7"),
        ];
        assert_eq!(
            observe(&patterns, text),
            expected.map(|(p, v)| (p, v.to_owned()))
        );
    }

    #[test]
    fn traces_name_addresses() {
        for (value, addresses) in [
            (
                "from a.example (b.example [192.0.2.1]) by c.example with ESMTP id 1",
                &["192.0.2.1"][..],
            ),
            (
                "from [IPv6:2001:db8::1] by c (192.0.2.2)",
                &["2001:db8::1", "192.0.2.2"],
            ),
            (
                "from a (2001:db8::2) by b with Microsoft SMTP Server id 15.1.225.42; 10:15:30",
                &["2001:db8::2"],
            ),
            ("[198.51.100.7]", &["198.51.100.7"]),
            ("from a by b; Mon, 1 Jan 2024 10:11:12 +0000", &[]),
        ] {
            let mut found = Vec::new();
            for_each_address(value.as_bytes(), &mut |address| {
                found.push(address.to_string())
            });
            assert_eq!(found, addresses, "{value}");
        }
    }

    #[test]
    fn hosts_are_cut_out_of_urls() {
        for (url, host) in [
            ("http://a.example/x:y", "a.example"),
            ("http://a.example:8080/", "a.example"),
            ("http://[2001:db8::1]/", "[2001:db8::1]"),
            ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
