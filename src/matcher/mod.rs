//! Matching: observables against the indicator set.
//!
//! [`SetBuilder`](build::SetBuilder) makes an [`IndicatorSet`] of what loaders
//! hand in, [`Matcher`] looks observables up in it. A lookup costs one look at
//! a filter that stays in the cache; only what passes it costs more, and only
//! what an indicator truly asks for is reported.

pub mod build;
pub mod hash;
pub mod object;
pub mod set;
pub mod temporal;

mod bytes;
mod exact;
mod filter;
mod found;
#[cfg(test)]
pub(crate) mod fuzz;
mod join;
mod layout;
mod lone;
mod lower;
mod prefix;
mod program;
#[cfg(test)]
mod tests;

pub use found::Evidence;
pub use found::FlowSummary;
pub use found::Match;
pub use found::Observable;
pub use found::Observation;
pub use lone::Lone;
pub use lone::Terms;

use crate::flow::End;
use crate::indicator::pattern::ObjectView;
use crate::matcher::object::AddressView;
use crate::matcher::object::CertificateView;
use crate::matcher::object::DomainView;
use crate::matcher::object::FileView;
use crate::matcher::object::MailView;
use crate::matcher::object::MailboxView;
use crate::matcher::object::TrafficView;
use crate::matcher::object::UrlView;
use crate::matcher::program::ObjectKind;
use crate::matcher::program::Programs;
use crate::matcher::program::SeenTexts;
use crate::matcher::program::Stage;
use crate::matcher::set::IndicatorSet;
use crate::matcher::set::KeyKind;
use crate::matcher::set::PREFIXES_V4;
use crate::matcher::set::PREFIXES_V6;
use crate::matcher::set::Posting;
use crate::packet::Address;
use crate::protocol::File;
use crate::protocol::Hashes;
use crate::protocol::Wants;
use crate::protocol::tls::Certificate;
use crate::time::Timestamp;
use hashbrown::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

/// Which clock decides what is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Capture time: an indicator matches what happened while it was valid.
    #[default]
    Capture,
    /// One instant for all: the present, say.
    At(Timestamp),
    /// None: `valid_from` and `valid_until` do not count.
    Ignore,
}

/// How far names match below themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubdomainPolicy {
    /// Every name stands for those below it, whatever its source said.
    pub always: bool,
    /// By number of source: the same for the names of one source.
    pub always_of_source: Vec<bool>,
}

/// Looks observables up in one indicator set. Shared by all workers.
#[derive(Debug)]
pub struct Matcher {
    set: Arc<IndicatorSet>,
    programs: Programs,
    clock: Clock,
    subdomains: SubdomainPolicy,
    walks_parents: bool,
    addresses: bool,
    wants: Wants,
}

/// Ordinals of the indicators that matched within one scope: a message, a flow, a transfer.
///
/// An indicator counts once in a scope, by whichever of its values was seen first.
#[derive(Debug)]
pub struct Hits {
    seen: Distinct,
    fresh: usize,
    /// Number of the scope, which tells it from the others of its time.
    scope: u32,
    /// Those that validity withheld, which count once likewise.
    withheld: Distinct,
    /// Hashes of names that lately matched nothing, each at a place that it names itself.
    quiet_names: Vec<u64>,
    seen_texts: SeenTexts,
    /// Matches withheld since the indicator was not valid yet.
    pub not_yet_valid: u64,
    /// Matches withheld since the indicator was not valid any more.
    pub expired: u64,
}

/// Names that are remembered to match nothing: 32 KiB, which stays in the first-level cache. Half
/// of all DNS messages repeat the name of the message before, and few names make up the rest.
const QUIET_NAMES: usize = 1 << 12;

impl Default for Hits {
    fn default() -> Self {
        Self {
            seen: Distinct::default(),
            fresh: 0,
            scope: 0,
            withheld: Distinct::default(),
            quiet_names: vec![0; QUIET_NAMES],
            seen_texts: SeenTexts::default(),
            not_yet_valid: 0,
            expired: 0,
        }
    }
}

impl Hits {
    /// What was found out about the set so far holds no more, since another follows.
    pub fn forget_set(&mut self) {
        self.seen.clear();
        self.withheld.clear();
        self.quiet_names.fill(0);
    }

    /// Begins a new scope.
    #[inline]
    pub fn begin(&mut self) {
        self.seen.clear();
        self.withheld.clear();
        self.fresh = 0;
        self.scope = self.scope.wrapping_add(1);
    }

    /// Number of the scope at hand: what has the same is of one message, flow or transfer.
    pub const fn scope(&self) -> u32 {
        self.scope
    }

    /// Whether something was added since the last [`Hits::take_fresh`].
    #[inline]
    pub fn any_fresh(&self) -> bool {
        self.fresh < self.seen.ordinals.len()
    }

    /// What was added since the last call.
    pub fn take_fresh(&mut self) -> &[u32] {
        let fresh = self.seen.ordinals.get(self.fresh..).unwrap_or_default();
        self.fresh = self.seen.ordinals.len();
        fresh
    }

    fn quiet_name(&mut self, hash: u64) -> &mut u64 {
        // the mask keeps the index below the length
        &mut self.quiet_names[hash as usize & (QUIET_NAMES - 1)]
    }

    /// Grows whenever something is counted, valid or not.
    const fn counted(&self) -> u64 {
        self.seen.ordinals.len() as u64 + self.not_yet_valid + self.expired
    }

    fn add(&mut self, ordinal: u32) {
        self.seen.insert(ordinal);
    }

    /// Whether nothing was counted in this scope, valid or not.
    const fn is_empty(&self) -> bool {
        self.seen.ordinals.is_empty() && self.withheld.ordinals.is_empty()
    }
}

/// Ordinals, each once, in the order in which they came.
#[derive(Debug, Default)]
struct Distinct {
    ordinals: Vec<u32>,
    /// The same once there are more than a [`FEW`]; empty before.
    many: HashSet<u32>,
}

/// Ordinals that are looked through one by one, which beats hashing.
const FEW: usize = 32;

impl Distinct {
    #[inline]
    fn clear(&mut self) {
        self.ordinals.clear();
        self.many.clear();
    }

    /// Adds one; whether it is new.
    fn insert(&mut self, ordinal: u32) -> bool {
        let known = if self.ordinals.len() <= FEW {
            self.ordinals.contains(&ordinal)
        } else {
            if self.many.is_empty() {
                self.many.extend(&self.ordinals);
            }
            !self.many.insert(ordinal)
        };
        if !known {
            self.ordinals.push(ordinal);
        }
        !known
    }
}

impl Matcher {
    /// Makes a set ready to be looked up in.
    pub fn new(set: Arc<IndicatorSet>, clock: Clock, subdomains: SubdomainPolicy) -> Self {
        let programs = Programs::of(&set);
        let reads = programs.reads;
        let certificates = [
            KeyKind::CertificateMd5,
            KeyKind::CertificateSha1,
            KeyKind::CertificateSha256,
        ];
        let addresses = set.has_addresses() || programs.scans(ObjectKind::Address);
        let wants = Wants {
            md5: set.has(KeyKind::FileMd5) || reads.md5,
            sha1: set.has(KeyKind::FileSha1) || reads.sha1,
            sha256: set.has(KeyKind::FileSha256) || reads.sha256,
            file_names: set.has(KeyKind::FileName) || reads.files,
            links: set.has(KeyKind::Domain)
                || set.has(KeyKind::Url)
                || addresses
                || programs.scans(ObjectKind::Domain)
                || programs.scans(ObjectKind::Url),
            certificates: certificates.into_iter().any(|k| set.has(k)) || reads.certificates,
            ja3: set.has(KeyKind::Ja3) || reads.ja3,
            ja3s: set.has(KeyKind::Ja3s) || reads.ja3s,
            ja4: set.has(KeyKind::Ja4) || reads.ja4,
            hassh: set.has(KeyKind::Hassh) || reads.hassh,
            hassh_server: set.has(KeyKind::HasshServer) || reads.hassh_server,
            deep: false,
        };
        let walks_parents =
            subdomains.always || subdomains.always_of_source.contains(&true) || set.has_subtrees();
        Self {
            programs,
            clock,
            subdomains,
            walks_parents,
            addresses,
            wants,
            set,
        }
    }

    /// Has mail, SMB and FTP read as well.
    #[must_use]
    pub const fn with_deep(mut self, deep: bool) -> Self {
        self.wants.deep = deep;
        self
    }

    /// The set that is looked up in.
    pub fn set(&self) -> &Arc<IndicatorSet> {
        &self.set
    }

    /// What parsers must work out for this set.
    pub const fn wants(&self) -> Wants {
        self.wants
    }

    /// Whether patterns ask which addresses a name resolves to.
    pub const fn wants_resolved(&self) -> bool {
        self.programs.reads.resolved
    }

    /// Brings what a look-up of an address reads first into the cache.
    #[inline]
    pub fn touch(&self, address: Address) {
        if address.is_v4() {
            self.set.v4().touch(self.set.key(), address.bits() as u32);
        }
    }

    /// An address, wherever it was seen.
    #[inline]
    pub fn address(&self, address: IpAddr, now: Timestamp, hits: &mut Hits) {
        self.each_address_posting(address, &mut |posting| {
            self.settle(
                posting,
                ObjectKind::Address,
                &AddressView(address),
                now,
                hits,
            );
        });
        if self.programs.scans(ObjectKind::Address) {
            let view = AddressView(address);
            let text = address.to_string();
            self.scan(ObjectKind::Address, text.as_bytes(), &view, now, hits);
        }
    }

    /// A domain name in normal form. `resolves_to`: the addresses that the message gives it.
    #[inline]
    pub fn domain(&self, name: &str, resolves_to: &[IpAddr], now: Timestamp, hits: &mut Hits) {
        let hash = self.set.key().bytes(name.as_bytes());
        let (before, already) = (hits.counted(), !hits.is_empty());
        if *hits.quiet_name(hash) == hash {
            return;
        }
        self.domain_with_parents(name, hash, resolves_to, now, hits);
        // what was seen in this scope before does not count again, so only an empty scope proves
        // that a name matches nothing
        if hits.counted() == before && !already && !self.programs.reads.resolved {
            *hits.quiet_name(hash) = hash;
        }
    }

    fn domain_with_parents(
        &self,
        name: &str,
        hash: u64,
        resolves_to: &[IpAddr],
        now: Timestamp,
        hits: &mut Hits,
    ) {
        let table = self.set.table(KeyKind::Domain);
        let key = self.set.key();
        let view = DomainView { name, resolves_to };
        if let Some(packed) = table.find(hash, name.as_bytes()) {
            self.set.unpack(packed, &mut |posting| {
                self.settle(posting, ObjectKind::Domain, &view, now, hits);
            });
        }
        if self.walks_parents {
            for (dot, _) in name.match_indices('.') {
                let parent = name.get(dot + 1..).unwrap_or_default().as_bytes();
                if let Some(packed) = table.find(key.bytes(parent), parent) {
                    self.set
                        .unpack(packed, &mut |posting| self.below(posting, now, hits));
                }
            }
        }
        if self.programs.scans(ObjectKind::Domain) {
            self.scan(ObjectKind::Domain, name.as_bytes(), &view, now, hits);
        }
    }

    /// A URL in normal form.
    pub fn url(&self, url: &str, now: Timestamp, hits: &mut Hits) {
        self.key(
            KeyKind::Url,
            url.as_bytes(),
            ObjectKind::Url,
            &UrlView(url),
            now,
            hits,
        );
        if self.programs.scans(ObjectKind::Url) {
            self.scan(ObjectKind::Url, url.as_bytes(), &UrlView(url), now, hits);
        }
    }

    /// Whether mail addresses are looked up in any way.
    pub fn wants_mailboxes(&self) -> bool {
        self.set.has(KeyKind::EmailAddr) || self.programs.scans(ObjectKind::Mailbox)
    }

    /// Whether mails as a whole are looked at in any way.
    pub fn wants_mails(&self) -> bool {
        self.wants_mailboxes()
            || self.set.has(KeyKind::EmailSubject)
            || self.programs.scans(ObjectKind::Mail)
    }

    /// Whether addresses are looked up in any way.
    pub const fn wants_addresses(&self) -> bool {
        self.addresses
    }

    /// A mail address in normal form; `display_name`: beside it, empty where there is none.
    pub fn mailbox(&self, address: &str, display_name: &str, now: Timestamp, hits: &mut Hits) {
        let view = MailboxView {
            address,
            display_name,
        };
        let value = address.as_bytes();
        self.key(
            KeyKind::EmailAddr,
            value,
            ObjectKind::Mailbox,
            &view,
            now,
            hits,
        );
        if self.programs.scans(ObjectKind::Mailbox) {
            self.scan(ObjectKind::Mailbox, value, &view, now, hits);
        }
    }

    /// A mail as a whole: its subject, and patterns over it.
    pub fn mail(&self, view: &MailView<'_>, now: Timestamp, hits: &mut Hits) {
        if let Some(subject) = view.subject() {
            self.key(
                KeyKind::EmailSubject,
                subject.as_bytes(),
                ObjectKind::Mail,
                view,
                now,
                hits,
            );
        }
        for address in view.addresses() {
            self.each_posting(KeyKind::EmailAddr, address.as_bytes(), &mut |posting| {
                // an address alone is what `mailbox` looks up
                if let Posting::Program(number) = posting {
                    self.run(number, ObjectKind::Mail, view, now, hits);
                }
            });
        }
        if self.programs.scans(ObjectKind::Mail) {
            self.scan(ObjectKind::Mail, view.text().as_bytes(), view, now, hits);
        }
    }

    /// One digest of a transferred file, or its name.
    pub fn file_value(
        &self,
        kind: KeyKind,
        value: &[u8],
        file: &File<'_>,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        self.key(kind, value, ObjectKind::File, &file_view(file), now, hits);
    }

    /// A transferred file by all but its digests: its name, and patterns over it.
    pub fn file(&self, file: &File<'_>, now: Timestamp, hits: &mut Hits) {
        self.file_object(&file_view(file), now, hits);
    }

    /// The name of a file of which nothing else is known.
    pub fn file_name(&self, name: &str, now: Timestamp, hits: &mut Hits) {
        let view = FileView {
            name: Some(name),
            size: None,
            mime_type: None,
            hashes: Hashes::default(),
        };
        self.file_object(&view, now, hits);
    }

    fn file_object(&self, view: &FileView<'_>, now: Timestamp, hits: &mut Hits) {
        let name = view.name.unwrap_or_default().as_bytes();
        if view.name.is_some() {
            self.key(KeyKind::FileName, name, ObjectKind::File, view, now, hits);
        }
        if self.programs.scans(ObjectKind::File) {
            self.scan(ObjectKind::File, name, view, now, hits);
        }
    }

    /// One digest of a certificate; `hashes` are all that [`Matcher::certificate_hashes`] made.
    pub fn certificate_digest(
        &self,
        kind: KeyKind,
        digest: &[u8],
        certificate: &Certificate<'_>,
        hashes: &Hashes,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        let view = CertificateView {
            certificate,
            hashes: *hashes,
        };
        self.key(kind, digest, ObjectKind::Certificate, &view, now, hits);
    }

    /// A certificate by all but its digests: patterns over it.
    pub fn certificate(
        &self,
        certificate: &Certificate<'_>,
        hashes: &Hashes,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        if self.programs.scans(ObjectKind::Certificate) {
            let view = CertificateView {
                certificate,
                hashes: *hashes,
            };
            self.scan(ObjectKind::Certificate, b"", &view, now, hits);
        }
    }

    /// The digests of a certificate that the set, or a pattern in it, asks for.
    pub fn certificate_hashes(&self, certificate: &Certificate<'_>) -> Hashes {
        let any = self.programs.reads.certificates;
        Hashes {
            md5: (any || self.set.has(KeyKind::CertificateMd5)).then(|| certificate.md5()),
            sha1: (any || self.set.has(KeyKind::CertificateSha1)).then(|| certificate.sha1()),
            sha256: (any || self.set.has(KeyKind::CertificateSha256)).then(|| certificate.sha256()),
        }
    }

    /// A fingerprint or user agent; `view` is the flow that it was seen in.
    pub fn text(
        &self,
        kind: KeyKind,
        value: &[u8],
        view: &TrafficView<'_>,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        self.key(kind, value, ObjectKind::Traffic, view, now, hits);
    }

    /// Whether values of a kind are looked up.
    pub fn looks_up(&self, kind: KeyKind) -> bool {
        self.set.has(kind)
    }

    /// Whether patterns ask of flows as such, at the first packet.
    #[inline]
    pub fn wants_flow_start(&self) -> bool {
        self.programs.wants_stage(Stage::Flow)
    }

    /// Whether patterns ask which protocol a flow carries.
    #[inline]
    pub fn wants_protocol(&self) -> bool {
        self.programs.wants_stage(Stage::Protocol)
    }

    /// Patterns over a flow, at its first packet.
    pub fn flow_start(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::Flow, view, now, hits);
    }

    /// Patterns over a flow, once its protocol is known or given up.
    pub fn flow_protocol(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::Protocol, view, now, hits);
    }

    /// Patterns over an HTTP request.
    pub fn http_request(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::HttpRequest, view, now, hits);
    }

    /// Patterns over a ClientHello.
    pub fn client_hello(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::ClientHello, view, now, hits);
    }

    /// Patterns over a ServerHello.
    pub fn server_hello(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::ServerHello, view, now, hits);
    }

    /// Patterns over an SSH client's key exchange.
    pub fn client_kex(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::ClientKex, view, now, hits);
    }

    /// Patterns over an SSH server's key exchange.
    pub fn server_kex(&self, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        self.traffic(Stage::ServerKex, view, now, hits);
    }

    fn traffic(&self, stage: Stage, view: &TrafficView<'_>, now: Timestamp, hits: &mut Hits) {
        if !self.programs.wants_stage(stage) {
            return;
        }
        for number in self.programs.unanchored_at(stage) {
            self.run(*number, ObjectKind::Traffic, view, now, hits);
        }
        if !self.programs.anchored_at(stage) {
            return;
        }
        let mut call = |posting: Posting| {
            if let Posting::Program(number) = posting
                && self
                    .programs
                    .program(number)
                    .is_some_and(|p| p.stage == stage)
            {
                self.run(number, ObjectKind::Traffic, view, now, hits);
            }
        };
        for end in [view.client, view.server] {
            self.each_address_posting(end.address(), &mut call);
        }
        let ports = [
            (KeyKind::SourcePort, view.client),
            (KeyKind::DestinationPort, view.server),
        ];
        for (kind, end) in ports {
            self.each_posting(kind, &End::port(&end).to_be_bytes(), &mut call);
        }
        for (kind, text) in [
            (KeyKind::Ja3, view.ja3),
            (KeyKind::Ja3s, view.ja3s),
            (KeyKind::Hassh, view.hassh),
            (KeyKind::HasshServer, view.hassh_server),
        ] {
            if let Some(digest) = text.and_then(|t| u128::from_str_radix(t, 16).ok()) {
                self.each_posting(kind, &digest.to_be_bytes(), &mut call);
            }
        }
        if let Some(ja4) = view.ja4 {
            self.each_posting(KeyKind::Ja4, ja4.as_bytes(), &mut call);
        }
        if let Some(agent) = view.http.and_then(|http| http.header("user-agent")) {
            self.each_posting(KeyKind::UserAgent, agent, &mut call);
        }
    }

    fn each_posting(&self, kind: KeyKind, value: &[u8], call: &mut dyn FnMut(Posting)) {
        if let Some(packed) = self
            .set
            .table(kind)
            .find(self.set.key().bytes(value), value)
        {
            self.set.unpack(packed, &mut |posting| call(posting));
        }
    }

    #[inline]
    fn each_address_posting(&self, address: IpAddr, call: &mut dyn FnMut(Posting)) {
        match address {
            IpAddr::V4(v4) => {
                let number = v4.to_bits();
                if let Some(packed) = self.set.v4().find(self.set.key(), number) {
                    self.set.unpack(packed, &mut |posting| call(posting));
                }
                self.set
                    .prefixes(PREFIXES_V4)
                    .find_v4(number, &mut |packed| {
                        self.set.unpack(packed, &mut |posting| call(posting));
                    });
            }
            IpAddr::V6(v6) => {
                self.each_posting(KeyKind::Ipv6, &v6.octets(), call);
                self.set
                    .prefixes(PREFIXES_V6)
                    .find_v6(v6.to_bits(), &mut |packed| {
                        self.set.unpack(packed, &mut |posting| call(posting));
                    });
            }
        }
    }

    fn key(
        &self,
        kind: KeyKind,
        value: &[u8],
        object: ObjectKind,
        view: &dyn ObjectView,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        self.each_posting(kind, value, &mut |posting| {
            // an entry of traffic programs is an anchor only: they are run stage by stage
            if object != ObjectKind::Traffic || !matches!(posting, Posting::Program(_)) {
                self.settle(posting, object, view, now, hits);
            }
        });
    }

    fn scan(
        &self,
        object: ObjectKind,
        text: &[u8],
        view: &dyn ObjectView,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        let mut seen = std::mem::take(&mut hits.seen_texts);
        self.programs.scan(object, text, &mut seen, &mut |number| {
            self.run(number, object, view, now, hits)
        });
        hits.seen_texts = seen;
    }

    /// A value was found: counts its indicator, or runs its program.
    fn settle(
        &self,
        posting: Posting,
        object: ObjectKind,
        view: &dyn ObjectView,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        match posting {
            Posting::Indicator { ordinal, .. } => self.count(ordinal, now, hits),
            Posting::Program(number) => self.run(number, object, view, now, hits),
        }
    }

    /// A name above the one seen was found.
    fn below(&self, posting: Posting, now: Timestamp, hits: &mut Hits) {
        let Posting::Indicator { ordinal, subtree } = posting else {
            return;
        };
        let of_source = || {
            let source = self.set.attributes(ordinal).source as usize;
            self.subdomains
                .always_of_source
                .get(source)
                .copied()
                .unwrap_or(false)
        };
        if subtree || self.subdomains.always || of_source() {
            self.count(ordinal, now, hits);
        }
    }

    fn run(
        &self,
        number: u32,
        object: ObjectKind,
        view: &dyn ObjectView,
        now: Timestamp,
        hits: &mut Hits,
    ) {
        if let Some(program) = self.programs.program(number)
            && program.object == object
            && program.test.matches(view)
        {
            self.count(program.ordinal, now, hits);
        }
    }

    /// Counts an indicator if it is valid: from `valid_from` on and before `valid_until`.
    fn count(&self, ordinal: u32, now: Timestamp, hits: &mut Hits) {
        let now = match self.clock {
            Clock::Capture => now,
            Clock::At(instant) => instant,
            Clock::Ignore => return hits.add(ordinal),
        };
        let attributes = self.set.attributes(ordinal);
        if now < attributes.valid_from {
            hits.not_yet_valid += u64::from(hits.withheld.insert(ordinal));
        } else if now >= attributes.valid_until {
            hits.expired += u64::from(hits.withheld.insert(ordinal));
        } else {
            hits.add(ordinal);
        }
    }
}

const fn file_view<'f>(file: &'f File<'_>) -> FileView<'f> {
    FileView {
        name: file.name,
        size: Some(file.size),
        mime_type: file.mime_type,
        hashes: file.hashes,
    }
}
