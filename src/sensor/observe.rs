//! From messages and packets to observables, and from those to matches.

mod mail;
mod tls;

use crate::flow::Direction;
use crate::flow::End;
use crate::flow::FlowKey;
use crate::flow::table::Flow;
use crate::matcher::Evidence;
use crate::matcher::FlowSummary;
use crate::matcher::Hits;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::Observable;
use crate::matcher::object::TrafficView;
use crate::matcher::object::hex;
use crate::matcher::set::KeyKind;
use crate::observable::ObservableType;
use crate::observable::Place;
use crate::observable::name;
use crate::packet::AddressPair;
use crate::protocol::File;
use crate::protocol::FileName;
use crate::protocol::Hashes;
use crate::protocol::Message;
use crate::protocol::Wants;
use crate::protocol::dhcp;
use crate::protocol::dns::DnsItem;
use crate::protocol::dns::DnsMessage;
use crate::protocol::dns::NameBuffers;
use crate::protocol::http::HttpRequest;
use crate::protocol::ssh::KeyExchange;
use crate::sensor::Arrival;
use crate::sensor::Counters;
use crate::sensor::Placed;
use crate::sensor::application::FlowState;
use crate::time::Timestamp;
use siphasher::sip::SipHasher13;
use std::borrow::Cow;
use std::hash::Hasher;
use std::net::IpAddr;
use std::sync::Arc;

/// What a flow is called that carries one file as it is.
pub(super) const FTP_DATA: &str = "ftp-data";

/// The port that an active server sends files from (RFC 959 section 3.2).
const FTP_DATA_PORT: u16 = 20;

/// Ports below this one are given to services (RFC 6335 section 6), so that no data connection of
/// a passive server ends there.
const FIRST_FREE_PORT: u16 = 1024;

/// Longest value that a match carries: a URL of 8 KiB is cut, its match stands.
const MAX_VALUE: usize = 8 << 10;

/// Header values kept as evidence of an HTTP request, each.
const MAX_EVIDENCE: usize = 1 << 10;

/// Addresses of one DNS message that patterns over what a name resolves to see.
const MAX_RESOLVED: usize = 64;

/// What is known of the flow at hand.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowFacts {
    key: FlowKey,
    client_is_low: bool,
    vlan: Option<u16>,
    first_seen: Timestamp,
    pub(super) app_proto: Option<&'static str>,
    pub(super) protocol_told: bool,
}

impl FlowFacts {
    pub(super) const fn of(flow: &Flow<FlowState>) -> Self {
        Self {
            key: flow.key,
            client_is_low: flow.client_is_low,
            vlan: flow.vlan,
            first_seen: flow.first_seen,
            app_proto: flow.state.app_proto,
            protocol_told: flow.state.protocol_told,
        }
    }

    /// Client and server were mistaken for one another.
    pub(super) const fn swap(&mut self) {
        self.client_is_low = !self.client_is_low;
    }

    const fn ends(&self) -> (End, End) {
        if self.client_is_low {
            (self.key.low, self.key.high)
        } else {
            (self.key.high, self.key.low)
        }
    }

    /// Whether the ports are those of an FTP data connection, active or passive.
    pub(super) const fn may_carry_ftp_data(&self) -> bool {
        let (low, high) = (self.key.low.port(), self.key.high.port());
        let active = low == FTP_DATA_PORT || high == FTP_DATA_PORT;
        active || low >= FIRST_FREE_PORT && high >= FIRST_FREE_PORT
    }

    const fn view(&self) -> TrafficView<'static> {
        let (client, server) = self.ends();
        TrafficView {
            client,
            server,
            protocol: self.key.protocol,
            app_proto: self.app_proto,
            start: self.first_seen,
            http: None,
            ja3: None,
            ja3s: None,
            ja4: None,
            hassh: None,
            hassh_server: None,
        }
    }

    /// The flow, seen from the side that sent something in this direction.
    fn summary(&self, direction: Direction) -> FlowSummary {
        let (client, server) = self.ends();
        let (source, destination) = match direction {
            Direction::ToServer => (client, server),
            Direction::ToClient => (server, client),
        };
        FlowSummary {
            id: self.id(),
            source: source.address(),
            source_port: source.port(),
            destination: destination.address(),
            destination_port: destination.port(),
            protocol: self.key.protocol,
            vlan: self.vlan,
            app_proto: self.app_proto,
        }
    }

    /// A number from the key and the start of the flow, the same wherever it is computed.
    fn id(&self) -> u64 {
        // a fixed key: this number is a name, no table hangs on it
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        for end in [self.key.low, self.key.high] {
            match end.address() {
                IpAddr::V4(v4) => hasher.write(&v4.octets()),
                IpAddr::V6(v6) => hasher.write(&v6.octets()),
            }
            hasher.write(&end.port().to_be_bytes());
        }
        hasher.write(&[self.key.protocol]);
        hasher.write(&self.first_seen.as_nanos().to_be_bytes());
        // JSON readers keep 53 bits of a number
        hasher.finish() >> 11
    }
}

/// Turns what is seen into matches.
#[derive(Debug)]
pub(super) struct Observer {
    matcher: Arc<Matcher>,
    hits: Hits,
    url: String,
    /// `None` while a message is walked through.
    names: Option<Box<NameBuffers>>,
    now: Timestamp,
    arrival: Timestamp,
    order: (u32, u8, u32),
    pub(super) found: Vec<Placed>,
    pub(super) counters: Counters,
}

/// What a fresh match is reported with.
struct Sight<'a> {
    kind: ObservableType,
    value: &'a str,
    place: Place,
    property: Option<&'static str>,
    evidence: &'a dyn Fn() -> Evidence,
}

impl<'a> Sight<'a> {
    const fn new(kind: ObservableType, value: &'a str, place: Place) -> Self {
        Self {
            kind,
            value,
            place,
            property: None,
            evidence: &|| Evidence::None,
        }
    }
}

impl Observer {
    pub(super) fn new(matcher: Arc<Matcher>) -> Self {
        Self {
            matcher,
            hits: Hits::default(),
            url: String::new(),
            names: None,
            now: Timestamp::MIN,
            arrival: Timestamp::MIN,
            order: (0, 0, 0),
            found: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub(super) fn set_matcher(&mut self, matcher: Arc<Matcher>) {
        self.matcher = matcher;
        self.hits.forget_set();
    }

    /// What follows is due to this packet.
    pub(super) const fn arrive(&mut self, arrival: &Arrival<'_>) {
        self.now = arrival.timestamp;
        self.arrival = arrival.timestamp;
        self.order = (arrival.position, arrival.shard, 0);
    }

    /// What follows is due to no packet, but to the end of flows of a shard.
    pub(super) const fn arrive_late(&mut self, shard: usize) {
        self.order = (u32::MAX, shard as u8, 0);
    }

    /// What follows belongs to another time than that of the packet at hand.
    pub(super) const fn set_time(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Back to the time of the packet at hand.
    pub(super) const fn restore_time(&mut self) {
        self.now = self.arrival;
    }

    pub(super) fn wants(&self) -> Wants {
        self.matcher.wants()
    }

    pub(super) fn note_anomaly(&mut self, kind: &'static str) {
        *self.counters.anomalies.entry(kind).or_default() += 1;
    }

    pub(super) fn drop_one(&mut self, cause: &'static str) {
        *self.counters.drops.entry(cause).or_default() += 1;
    }

    fn note_transaction(&mut self, protocol: &'static str) {
        *self.counters.transactions.entry(protocol).or_default() += 1;
    }

    /// The first packet of a flow: its addresses, those of the headers around it, its ports.
    pub(super) fn observe_opening(
        &mut self,
        facts: &FlowFacts,
        source_is_low: bool,
        tunnels: &[AddressPair],
        matcher: &Matcher,
    ) {
        self.hits.begin();
        // the packet that opened the flow tells source and destination, whoever is the client
        let opened_by_client = source_is_low == facts.client_is_low;
        let direction = if opened_by_client {
            Direction::ToServer
        } else {
            Direction::ToClient
        };
        let (low, high) = (facts.key.low.address(), facts.key.high.address());
        let (source, destination) = if source_is_low {
            (low, high)
        } else {
            (high, low)
        };
        for (address, place) in [(source, Place::FlowSrc), (destination, Place::FlowDst)] {
            self.observe_address(address, place, facts, direction);
        }
        for pair in tunnels {
            self.observe_address(pair.source.ip(), Place::FlowTunnelSrc, facts, direction);
            self.observe_address(
                pair.destination.ip(),
                Place::FlowTunnelDst,
                facts,
                direction,
            );
        }
        if matcher.wants_flow_start() {
            matcher.flow_start(&facts.view(), self.now, &mut self.hits);
            self.report_flow(facts, direction);
        }
    }

    /// Patterns that ask which protocol a flow carries: evaluated once, when that is settled.
    pub(super) fn observe_protocol_once(&mut self, facts: &mut FlowFacts) {
        if facts.protocol_told {
            return;
        }
        facts.protocol_told = true;
        if self.matcher.wants_protocol() {
            self.hits.begin();
            self.matcher
                .flow_protocol(&facts.view(), self.now, &mut self.hits);
            self.report_flow(facts, Direction::ToServer);
        }
    }

    /// A finished message, sent in this direction.
    pub(super) fn observe(
        &mut self,
        message: Message<'_>,
        direction: Direction,
        facts: &mut FlowFacts,
    ) {
        match message {
            Message::Dns(dns) => self.observe_dns(&dns, facts, direction),
            Message::ClientHello(hello) => self.observe_client_hello(&hello, facts),
            Message::ServerHello(hello) => self.observe_server_hello(&hello, facts),
            Message::Certificate(certificate) => self.observe_certificate(&certificate, facts),
            Message::HttpRequest(request) => self.observe_request(&request, facts),
            Message::HttpResponse(_) => {}
            Message::Ssh(exchange) => self.observe_key_exchange(&exchange, facts),
            Message::EnvelopeAddress(named) => self.observe_envelope(&named, facts),
            Message::Mail(mail) => self.observe_mail(&mail, facts),
            Message::MailLinks(links) => self.observe_links(&links, facts),
            Message::File(file) => self.observe_file(&file, facts),
            Message::FileName(file) => self.observe_file_name(&file, facts),
            Message::Anomaly(anomaly) => self.note_anomaly(anomaly.0),
        }
    }

    fn observe_dns(&mut self, dns: &DnsMessage<'_>, facts: &FlowFacts, direction: Direction) {
        if !dns.is_response() {
            self.note_transaction("dns");
        }
        let matcher = Arc::clone(&self.matcher);
        let mut names = self.names.take().unwrap_or_default();
        let mut resolved: Vec<IpAddr> = Vec::new();
        if matcher.wants_resolved() {
            dns.for_each(&mut names, &mut |item| {
                if let DnsItem::Address { address, .. } = item
                    && resolved.len() < MAX_RESOLVED
                {
                    resolved.push(address);
                }
            });
        }
        self.hits.begin();
        let anomaly = dns.for_each(&mut names, &mut |item| match item {
            DnsItem::Question { name, .. } => {
                matcher.domain(name, &resolved, self.now, &mut self.hits);
                if self.hits.any_fresh() {
                    let sight = Sight::new(ObservableType::DomainName, name, Place::DnsQuery);
                    self.report(&sight, facts, direction);
                }
            }
            DnsItem::Name {
                same_as_question: true,
                ..
            } => {}
            DnsItem::Name { name, .. } => {
                matcher.domain(name, &resolved, self.now, &mut self.hits);
                if self.hits.any_fresh() {
                    let sight = Sight::new(ObservableType::DomainName, name, Place::DnsAnswer);
                    self.report(&sight, facts, direction);
                }
            }
            DnsItem::Address { address, .. } => {
                self.observe_address(address, Place::DnsAnswer, facts, direction);
            }
        });
        self.names = Some(names);
        if let Some(anomaly) = anomaly {
            self.note_anomaly(anomaly.0);
        }
    }

    /// Whether a datagram is one by which a host asks for an address; what it calls itself is
    /// observed. `ports` are those of its flow.
    pub(super) fn observe_dhcp(
        &mut self,
        payload: &[u8],
        ports: (u16, u16),
        direction: Direction,
        facts: &mut FlowFacts,
    ) -> bool {
        let mut names: Vec<String> = Vec::new();
        let is_client = dhcp::client_names(payload, ports, &mut |name| {
            names.extend(name::normalise(name).map(Cow::into_owned));
        });
        if !is_client {
            return false;
        }
        facts.app_proto = Some("dhcp");
        self.observe_protocol_once(facts);
        self.note_transaction("dhcp");
        let matcher = Arc::clone(&self.matcher);
        self.hits.begin();
        for name in &names {
            matcher.domain(name, &[], self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let sight = Sight::new(ObservableType::DomainName, name, Place::DhcpHostName);
                self.report(&sight, facts, direction);
            }
        }
        true
    }

    fn observe_request(&mut self, request: &HttpRequest<'_>, facts: &FlowFacts) {
        self.note_transaction("http");
        let direction = Direction::ToServer;
        let matcher = Arc::clone(&self.matcher);
        let evidence = || http_evidence(request);
        self.hits.begin();
        for host in [request.host, request.other_host].into_iter().flatten() {
            if let Ok(address) = host.parse::<IpAddr>() {
                self.observe_address(address, Place::HttpHeader, facts, direction);
                continue;
            }
            matcher.domain(host, &[], self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let sight = Sight::new(ObservableType::DomainName, host, Place::HttpHost);
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
        let (_, server) = facts.ends();
        let mut buffer = std::mem::take(&mut self.url);
        if let Some(url) = request.url(server.address(), server.port(), &mut buffer) {
            matcher.url(url, self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let sight = Sight::new(ObservableType::Url, url, Place::HttpUrl);
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
        self.url = buffer;
        let view = TrafficView {
            http: Some(request),
            ..facts.view()
        };
        if matcher.looks_up(KeyKind::UserAgent)
            && let Some(agent) = request.header("user-agent")
        {
            matcher.text(KeyKind::UserAgent, agent, &view, self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let value = String::from_utf8_lossy(agent);
                let kind = ObservableType::NetworkTraffic;
                let sight = Sight {
                    property: Some("user_agent"),
                    evidence: &evidence,
                    ..Sight::new(kind, &value, Place::HttpUserAgent)
                };
                self.report(&sight, facts, direction);
            }
        }
        matcher.http_request(&view, self.now, &mut self.hits);
        if self.hits.any_fresh() {
            let value = flow_text(facts);
            let kind = ObservableType::NetworkTraffic;
            let sight = Sight {
                evidence: &evidence,
                ..Sight::new(kind, &value, Place::HttpRequest)
            };
            self.report(&sight, facts, direction);
        }
    }

    fn observe_key_exchange(&mut self, exchange: &KeyExchange<'_>, facts: &FlowFacts) {
        let direction = exchange.direction();
        let matcher = Arc::clone(&self.matcher);
        let digest = exchange.fingerprint();
        let text = hex(&digest);
        self.hits.begin();
        match direction {
            Direction::ToServer => {
                self.note_transaction("ssh");
                let view = TrafficView {
                    hassh: Some(&text),
                    ..facts.view()
                };
                matcher.text(KeyKind::Hassh, &digest, &view, self.now, &mut self.hits);
                self.report_fingerprint(&text, "x_hassh", Place::SshClientKex, facts, direction);
                matcher.client_kex(&view, self.now, &mut self.hits);
            }
            Direction::ToClient => {
                let view = TrafficView {
                    hassh_server: Some(&text),
                    ..facts.view()
                };
                matcher.text(
                    KeyKind::HasshServer,
                    &digest,
                    &view,
                    self.now,
                    &mut self.hits,
                );
                let place = Place::SshServerKex;
                self.report_fingerprint(&text, "x_hassh_server", place, facts, direction);
                matcher.server_kex(&view, self.now, &mut self.hits);
            }
        }
        self.report_flow(facts, direction);
    }

    fn observe_file(&mut self, file: &File<'_>, facts: &FlowFacts) {
        let matcher = Arc::clone(&self.matcher);
        let place = match (facts.app_proto, file.direction) {
            (Some("smb"), _) => Place::SmbFile,
            (Some("smtp"), _) => Place::SmtpAttachment,
            (Some(FTP_DATA), _) => Place::FtpData,
            (_, Direction::ToServer) => Place::HttpRequestBody,
            (_, Direction::ToClient) => Place::HttpResponseBody,
        };
        let evidence = || Evidence::File {
            name: file.name.map(str::to_owned),
            size: file.size,
            mime_type: file.mime_type.map(str::to_owned),
            hashes: file.hashes,
        };
        self.hits.begin();
        for (kind, digest) in [
            (
                KeyKind::FileSha256,
                file.hashes.sha256.as_ref().map(|d| &d[..]),
            ),
            (KeyKind::FileSha1, file.hashes.sha1.as_ref().map(|d| &d[..])),
            (KeyKind::FileMd5, file.hashes.md5.as_ref().map(|d| &d[..])),
        ] {
            let Some(digest) = digest else { continue };
            matcher.file_value(kind, digest, file, self.now, &mut self.hits);
            if self.hits.any_fresh() {
                let value = hex(digest);
                let sight = Sight::new(ObservableType::File, &value, place);
                self.report(
                    &Sight {
                        evidence: &evidence,
                        ..sight
                    },
                    facts,
                    file.direction,
                );
            }
        }
        matcher.file(file, self.now, &mut self.hits);
        if self.hits.any_fresh() {
            let value = file
                .name
                .map_or_else(|| best_digest(&file.hashes), str::to_owned);
            let sight = Sight::new(ObservableType::File, &value, place);
            self.report(
                &Sight {
                    evidence: &evidence,
                    ..sight
                },
                facts,
                file.direction,
            );
        }
    }

    fn observe_file_name(&mut self, file: &FileName<'_>, facts: &FlowFacts) {
        self.note_transaction("ftp");
        let matcher = Arc::clone(&self.matcher);
        self.hits.begin();
        matcher.file_name(file.name, self.now, &mut self.hits);
        if self.hits.any_fresh() {
            let sight = Sight::new(ObservableType::File, file.name, Place::FtpControl);
            self.report(&sight, facts, file.direction);
        }
    }

    #[inline]
    fn observe_address(
        &mut self,
        address: IpAddr,
        place: Place,
        facts: &FlowFacts,
        direction: Direction,
    ) {
        self.matcher.address(address, self.now, &mut self.hits);
        if self.hits.any_fresh() {
            let kind = if address.is_ipv4() {
                ObservableType::Ipv4Addr
            } else {
                ObservableType::Ipv6Addr
            };
            let value = address.to_string();
            self.report(&Sight::new(kind, &value, place), facts, direction);
        }
    }

    fn report_flow(&mut self, facts: &FlowFacts, direction: Direction) {
        if self.hits.any_fresh() {
            let value = flow_text(facts);
            let sight = Sight::new(ObservableType::NetworkTraffic, &value, Place::Flow);
            self.report(&sight, facts, direction);
        }
    }

    /// Writes down the fresh hits, all due to the same sight.
    #[cold]
    fn report(&mut self, sight: &Sight<'_>, facts: &FlowFacts, direction: Direction) {
        let flow = facts.summary(direction);
        let scope = self.hits.scope();
        for indicator in self.hits.take_fresh() {
            self.found.push(Placed {
                order: self.order,
                scope,
                found: Match {
                    timestamp: self.now,
                    flow: flow.clone(),
                    indicator: *indicator,
                    observable: Observable {
                        kind: sight.kind,
                        value: shorten(sight.value, MAX_VALUE).to_owned(),
                        place: sight.place,
                        property: sight.property,
                        evidence: (sight.evidence)(),
                    },
                    observations: Box::default(),
                },
            });
            self.order.2 += 1;
        }
    }

    /// Takes over what the matcher withheld; called before the counters are read.
    pub(super) const fn settle_counters(&mut self) {
        self.counters.not_yet_valid = self.hits.not_yet_valid;
        self.counters.expired = self.hits.expired;
    }
}

/// The flow as the value of a match: its server, which is what patterns over flows mostly name.
fn flow_text(facts: &FlowFacts) -> String {
    let (_, server) = facts.ends();
    match (server.address(), server.port()) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(v4), port) => format!("{v4}:{port}"),
        (IpAddr::V6(v6), port) => format!("[{v6}]:{port}"),
    }
}

fn best_digest(hashes: &Hashes) -> String {
    let sha256 = hashes.sha256.as_ref().map(|d| hex(d));
    let sha1 = hashes.sha1.as_ref().map(|d| hex(d));
    let md5 = hashes.md5.as_ref().map(|d| hex(d));
    sha256.or(sha1).or(md5).unwrap_or_default()
}

fn http_evidence(request: &HttpRequest<'_>) -> Evidence {
    let header = |name: &str| {
        let value = request.header(name)?;
        let text = String::from_utf8_lossy(value);
        Some((name.to_owned(), shorten(&text, MAX_EVIDENCE).to_owned()))
    };
    Evidence::HttpRequest {
        method: request.method.to_owned(),
        target: shorten(request.target, MAX_EVIDENCE).to_owned(),
        version: format!("HTTP/{}.{}", request.version.major, request.version.minor),
        headers: ["Host", "User-Agent"]
            .into_iter()
            .filter_map(header)
            .collect(),
    }
}

/// At most `limit` bytes of a text, cut between characters.
fn shorten(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
