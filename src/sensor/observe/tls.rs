//! What TLS and QUIC show of themselves: names, fingerprints, certificates.

use super::FlowFacts;
use super::Observer;
use super::Sight;
use super::best_digest;
use crate::flow::Direction;
use crate::matcher::Evidence;
use crate::matcher::object::TrafficView;
use crate::matcher::object::hex;
use crate::matcher::set::KeyKind;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::protocol::Hashes;
use crate::protocol::tls::Certificate;
use crate::protocol::tls::ClientHello;
use crate::protocol::tls::ServerHello;
use crate::protocol::tls::Transport;
use std::sync::Arc;

impl Observer {
    pub(super) fn observe_client_hello(&mut self, hello: &ClientHello<'_>, facts: &FlowFacts) {
        let (protocol, named, whole) = match hello.transport() {
            Transport::Tcp => ("tls", Place::TlsSni, Place::TlsClientHello),
            Transport::Quic => ("quic", Place::QuicSni, Place::QuicClientHello),
        };
        self.note_transaction(protocol);
        let direction = Direction::ToServer;
        let matcher = Arc::clone(&self.matcher);
        self.hits.begin();
        if let Some(anomaly) = hello.anomaly() {
            self.note_anomaly(anomaly.0);
        }
        if let Some(name) = hello.sni() {
            matcher.domain(name, &[], self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let sight = Sight::new(ObservableType::DomainName, name, named);
                self.report(&sight, facts, direction);
            }
        }
        let wants = matcher.wants();
        let ja3 = wants.ja3.then(|| hello.ja3());
        let ja3_text = ja3.map(|digest| hex(&digest));
        let ja4 = wants.ja4.then(|| hello.ja4());
        let view = TrafficView {
            ja3: ja3_text.as_deref(),
            ja4: ja4.as_ref().map(|ja4| ja4.as_str()),
            ..facts.view()
        };
        if let (Some(digest), Some(text)) = (ja3, &ja3_text) {
            matcher.text(KeyKind::Ja3, &digest, &view, self.now, &mut self.hits);
            self.report_fingerprint(text, "x_ja3_hash", whole, facts, direction);
        }
        if let Some(text) = view.ja4 {
            matcher.text(
                KeyKind::Ja4,
                text.as_bytes(),
                &view,
                self.now,
                &mut self.hits,
            );
            self.report_fingerprint(text, "x_ja4", whole, facts, direction);
        }
        matcher.client_hello(&view, self.now, &mut self.hits);
        self.report_flow(facts, direction);
    }

    pub(super) fn observe_server_hello(&mut self, hello: &ServerHello<'_>, facts: &FlowFacts) {
        if let Some(anomaly) = hello.anomaly() {
            self.note_anomaly(anomaly.0);
        }
        if !self.matcher.wants().ja3s {
            return;
        }
        let direction = Direction::ToClient;
        let matcher = Arc::clone(&self.matcher);
        let digest = hello.ja3s();
        let text = hex(&digest);
        let view = TrafficView {
            ja3s: Some(&text),
            ..facts.view()
        };
        self.hits.begin();
        matcher.text(KeyKind::Ja3s, &digest, &view, self.now, &mut self.hits);
        self.report_fingerprint(
            &text,
            "x_ja3s_hash",
            Place::TlsServerHello,
            facts,
            direction,
        );
        matcher.server_hello(&view, self.now, &mut self.hits);
        self.report_flow(facts, direction);
    }

    pub(super) fn observe_certificate(&mut self, certificate: &Certificate<'_>, facts: &FlowFacts) {
        let matcher = Arc::clone(&self.matcher);
        if !matcher.wants().certificates {
            return;
        }
        let hashes = matcher.certificate_hashes(certificate);
        self.hits.begin();
        for (kind, digest) in [
            (
                KeyKind::CertificateSha256,
                hashes.sha256.as_ref().map(|d| &d[..]),
            ),
            (
                KeyKind::CertificateSha1,
                hashes.sha1.as_ref().map(|d| &d[..]),
            ),
            (KeyKind::CertificateMd5, hashes.md5.as_ref().map(|d| &d[..])),
        ] {
            let Some(digest) = digest else { continue };
            matcher.certificate_digest(
                kind,
                digest,
                certificate,
                &hashes,
                self.now,
                &mut self.hits,
            );
            self.report_certificate(&hex(digest), &hashes, facts);
        }
        matcher.certificate(certificate, &hashes, self.now, &mut self.hits);
        let value = best_digest(&hashes);
        self.report_certificate(&value, &hashes, facts);
    }

    fn report_certificate(&mut self, value: &str, hashes: &Hashes, facts: &FlowFacts) {
        if self.hits.any_fresh() {
            let kind = ObservableType::X509Certificate;
            let sight = Sight {
                evidence: &|| Evidence::Certificate(*hashes),
                ..Sight::new(kind, value, Place::TlsCertificate)
            };
            self.report(&sight, facts, Direction::ToClient);
        }
    }

    pub(super) fn report_fingerprint(
        &mut self,
        value: &str,
        property: &'static str,
        place: Place,
        facts: &FlowFacts,
        direction: Direction,
    ) {
        if self.hits.any_fresh() {
            let sight = Sight::new(ObservableType::NetworkTraffic, value, place);
            self.report(
                &Sight {
                    property: Some(property),
                    ..sight
                },
                facts,
                direction,
            );
        }
    }
}
