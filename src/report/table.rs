//! The table at the end of a replay: what was seen, by whom, when, and what came of it.
//!
//! [`Summary`] takes matches as they come, in bounded memory, and draws one
//! entry an indicator; [`conclude`] says in plain words what was read and what
//! was withheld or lost. Both are told the width of the terminal and whether
//! it may have colours; neither looks for itself.

use crate::indicator::Details;
use crate::matcher::Match;
use crate::observable::Place;
use crate::report::event::severity;
use crate::report::stats::Stats;
use crate::report::text::columns;
use crate::report::text::counted;
use crate::report::text::grouped;
use crate::report::text::printable;
use crate::report::text::shorten;
use crate::report::text::sized;
use crate::time::Timestamp;
use crate::verdict::Action;
use comfy_table::Attribute;
use comfy_table::Cell;
use comfy_table::Color;
use comfy_table::ContentArrangement;
use comfy_table::LineStyle;
use comfy_table::Table;
use comfy_table::TableStyle;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether colours and bold type are welcome.
    pub colour: bool,
    /// Columns of the terminal; [`Summary::render`] goes no lower than 48.
    pub width: u16,
    /// Entries to show at most.
    pub rows: usize,
    /// What comes first.
    pub order: Order,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            colour: false,
            width: 80,
            rows: 25,
            order: Order::Severity,
        }
    }
}

/// What comes first in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What matched most often.
    Count,
    /// What was or would be blocked, then what its source is most confident of.
    Severity,
}

/// Matches, summed up by indicator for a reader.
#[derive(Debug, Default)]
pub struct Summary {
    entries: BTreeMap<u32, Entry>,
    /// Matches of indicators beyond [`MAX_ENTRIES`].
    beyond: u64,
}

impl Summary {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a match.
    pub fn record(&mut self, found: &Match, action: Action) {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(&found.indicator) {
            self.beyond = self.beyond.saturating_add(1);
            return;
        }
        self.entries
            .entry(found.indicator)
            .or_insert_with(Entry::new)
            .record(found, action);
    }

    /// The table, with its line feeds; empty where nothing matched. `details` explains an
    /// indicator by its ordinal.
    pub fn render(&self, details: &mut dyn FnMut(u32) -> Details, style: Style) -> String {
        if self.entries.is_empty() {
            return String::new();
        }
        let mut shown: Vec<(&Entry, u32, u8)> = self
            .entries
            .iter()
            .map(|(&indicator, entry)| {
                let grave = match style.order {
                    Order::Count => 0,
                    Order::Severity => severity(details(indicator).confidence),
                };
                (entry, indicator, grave)
            })
            .collect();
        shown.sort_by_key(|(entry, indicator, grave)| {
            let strongest = match style.order {
                Order::Count => 0,
                Order::Severity => entry.strongest_rank(),
            };
            let often = Reverse(entry.count);
            (strongest, *grave, often, entry.first, *indicator)
        });
        let left = shown.len().saturating_sub(style.rows);
        shown.truncate(style.rows);
        let shown: Vec<(&Entry, Details)> = shown
            .into_iter()
            .map(|(entry, indicator, _)| (entry, details(indicator)))
            .collect();
        let mut out = draw(&shown, style);
        if left > 0 {
            out.push_str(&format!("and {}\n", counted(left as u64, "more indicator")));
        }
        if self.beyond > 0 {
            let matches = counted(self.beyond, "match");
            out.push_str(&format!("and {matches} of further indicators\n"));
        }
        out
    }
}

/// What was read, found, withheld and lost, in sentences, with line feeds.
pub fn conclude(stats: &Stats, style: Style) -> String {
    let mut out = String::new();
    let mut say = |sentence: &str, code: &str| {
        let wrapped = wrap(sentence, usize::from(style.width.max(MIN_WIDTH)));
        if style.colour && !code.is_empty() {
            out.push_str(&format!("\u{1b}[{code}m{wrapped}\u{1b}[0m\n"));
        } else {
            out.push_str(&wrapped);
            out.push('\n');
        }
    };
    let verdicts: Vec<String> = RANKS
        .into_iter()
        .filter_map(|action| {
            let count = *stats.matches_by_verdict.get(action.as_str())?;
            let done = match action {
                Action::Block => "blocked",
                Action::WouldBlock => "would have been blocked",
                Action::Report => "reported",
                Action::Allowlisted => "allowlisted",
            };
            (count > 0).then(|| format!("{} {done}", grouped(count)))
        })
        .collect();
    let matched = match (stats.matches, verdicts.join(", ")) {
        (0, _) => "No indicator matched.".to_owned(),
        (n, verdicts) if verdicts.is_empty() => format!("{}.", counted(n, "match")),
        (n, verdicts) => format!("{}: {verdicts}.", counted(n, "match")),
    };
    say(&matched, BOLD);
    say(&reading(stats), "");
    say(&loading(stats), "");
    let withheld = &stats.indicators.withheld;
    let sum = withheld.not_yet_valid.saturating_add(withheld.expired);
    if sum > 0 {
        let parts: Vec<String> = [
            (withheld.not_yet_valid, "not yet valid then"),
            (withheld.expired, "that had expired"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} of indicators {what}", grouped(*count)))
        .collect();
        let parts = parts.join(", ");
        say(
            &format!(
                "{} withheld: {parts} \
                 (--validity ignore counts them).",
                counted(sum, "more match")
            ),
            YELLOW,
        );
    }
    if let Some(kinds) = most(&stats.anomalies) {
        say(&format!("Malformed or evasive traffic: {kinds}."), "");
    }
    if let Some(causes) = most(&stats.drops) {
        say(&format!("Lost and not looked at: {causes}."), YELLOW);
    }
    out
}

fn reading(stats: &Stats) -> String {
    let from = match stats.captures.as_slice() {
        [] => String::new(),
        [one] => format!(" from {}", printable(&one.file)),
        many => format!(" from {}", counted(many.len() as u64, "capture")),
    };
    let mut text = format!(
        "Read {} ({}) in {}{from} in {}",
        counted(stats.packets, "packet"),
        sized(stats.bytes),
        counted(stats.flows, "flow"),
        duration(stats.process_seconds),
    );
    if stats.process_seconds > 0.0 {
        let rate = (stats.packets as f64 / stats.process_seconds) as u64;
        text.push_str(&format!(", {} a second", counted(rate, "packet")));
    }
    text.push('.');
    text
}

fn loading(stats: &Stats) -> String {
    let refused = stats
        .indicators
        .refused
        .values()
        .fold(0_u64, |sum, n| sum.saturating_add(*n));
    let mut text = format!(
        "Matched against {}, loaded in {}",
        counted(stats.indicators.loaded, "indicator"),
        duration(stats.load_seconds)
    );
    if refused > 0 {
        text.push_str(&format!(
            "; {} refused (intel check says why)",
            grouped(refused)
        ));
    }
    text.push('.');
    text
}

/// What was seen of one indicator.
#[derive(Debug)]
struct Entry {
    count: u64,
    actions: [u64; RANKS.len()],
    first: Timestamp,
    last: Timestamp,
    /// A bit for each place, in the order of [`Place::ALL`].
    places: u32,
    values: Sample<String, MAX_VALUES>,
    hosts: Sample<IpAddr, MAX_HOSTS>,
    flows: Sample<u64, MAX_FLOWS>,
}

impl Entry {
    fn new() -> Self {
        Self {
            count: 0,
            actions: [0; RANKS.len()],
            first: Timestamp::MAX,
            last: Timestamp::MIN,
            places: 0,
            values: Sample::default(),
            hosts: Sample::default(),
            flows: Sample::default(),
        }
    }

    fn record(&mut self, found: &Match, action: Action) {
        self.count = self.count.saturating_add(1);
        for (counted, ranked) in self.actions.iter_mut().zip(RANKS) {
            if ranked == action {
                *counted = counted.saturating_add(1);
            }
        }
        self.first = self.first.min(found.timestamp);
        self.last = self.last.max(found.timestamp);
        for (bit, place) in Place::ALL.into_iter().enumerate() {
            if place == found.observable.place {
                self.places |= 1 << bit;
            }
        }
        let value = found.observable.value.as_str();
        let cut = &value[..value.floor_char_boundary(MAX_VALUE_BYTES)];
        self.values.add(cut, str::to_owned);
        self.hosts.add(&affected(found), |host| *host);
        self.flows.add(&found.flow.id, |id| *id);
    }

    /// 0 for the strongest action that was taken.
    fn strongest_rank(&self) -> usize {
        self.actions
            .iter()
            .position(|n| *n > 0)
            .unwrap_or(RANKS.len())
    }

    fn strongest(&self) -> Action {
        RANKS
            .get(self.strongest_rank())
            .copied()
            .unwrap_or(Action::Report)
    }

    fn value(&self) -> String {
        let value = self.values.kept.first().map_or("", String::as_str);
        printable(value).into_owned()
    }

    fn places(&self) -> String {
        let names: Vec<&str> = Place::ALL
            .into_iter()
            .enumerate()
            .filter(|(bit, _)| self.places & (1 << bit) != 0)
            .map(|(_, place)| place.as_str())
            .collect();
        names.join(", ")
    }

    /// On one line, what else was seen and where.
    fn where_seen(&self) -> String {
        match self.values.more(1) {
            Some(more) => format!("{more}; {}", self.places()),
            None => self.places(),
        }
    }

    fn hosts(&self, lines: usize) -> Vec<String> {
        let all = self.hosts.kept.len() <= lines && !self.hosts.cut;
        let shown = if all {
            lines
        } else {
            lines.saturating_sub(1).max(1)
        };
        let mut hosts: Vec<String> = self
            .hosts
            .kept
            .iter()
            .take(shown)
            .map(IpAddr::to_string)
            .collect();
        hosts.extend(self.hosts.more(shown));
        hosts
    }

    /// The day and the time of day, or both ends where days pass between them.
    fn when(&self) -> Vec<String> {
        let (first, last) = (self.first.to_rfc3339(0), self.last.to_rfc3339(0));
        let (Some((day, time)), Some((last_day, last_time))) =
            (first.split_once('T'), last.split_once('T'))
        else {
            return Vec::new();
        };
        let (time, last_time) = (time.trim_end_matches('Z'), last_time.trim_end_matches('Z'));
        if day != last_day {
            let minutes = |time: &str| time.get(..5).unwrap_or_default().to_owned();
            return vec![
                format!("{day} {}–", minutes(time)),
                format!("{last_day} {}", minutes(last_time)),
            ];
        }
        if time == last_time {
            return vec![day.to_owned(), time.to_owned()];
        }
        vec![day.to_owned(), format!("{time}–{last_time}")]
    }

    /// Every action taken, the strongest first, with counts where they differ.
    fn verdicts(&self) -> Vec<String> {
        let taken: Vec<(Action, u64)> = RANKS
            .into_iter()
            .zip(self.actions)
            .filter(|(_, n)| *n > 0)
            .collect();
        match taken.as_slice() {
            [(action, _)] => vec![action.as_str().to_owned()],
            several => several
                .iter()
                .map(|(action, n)| format!("{} {}", grouped(*n), action.as_str()))
                .collect(),
        }
    }

    fn flows(&self) -> String {
        let kept = self.flows.kept.len() as u64;
        if self.flows.cut {
            format!("over {}", counted(kept, "flow"))
        } else {
            counted(kept, "flow")
        }
    }
}

/// The first `N` different values.
#[derive(Debug)]
struct Sample<T, const N: usize> {
    kept: Vec<T>,
    /// Whether there were more.
    cut: bool,
}

impl<T, const N: usize> Default for Sample<T, N> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            cut: false,
        }
    }
}

impl<T, const N: usize> Sample<T, N> {
    fn add<B: PartialEq + ?Sized>(&mut self, value: &B, keep: impl FnOnce(&B) -> T)
    where
        T: std::borrow::Borrow<B>,
    {
        if self.kept.iter().any(|kept| kept.borrow() == value) {
            return;
        }
        if self.kept.len() < N {
            self.kept.push(keep(value));
        } else {
            self.cut = true;
        }
    }

    /// What there is beyond the first `shown`.
    fn more(&self, shown: usize) -> Option<String> {
        let more = self.kept.len().saturating_sub(shown);
        match (more, self.cut) {
            (0, false) => None,
            (_, false) => Some(format!("and {more} more")),
            (_, true) => Some(format!("and over {more} more")),
        }
    }
}

/// Where name servers answer from, RFC 1035 section 4.2.
const DNS_PORT: u16 = 53;

/// The end of a flow that a reader will want to look after: the one that asked, or was sent to.
fn affected(found: &Match) -> IpAddr {
    match found.observable.place {
        // a response repeats the question
        Place::DnsQuery if found.flow.source_port == DNS_PORT => found.flow.destination,
        Place::FlowSrc
        | Place::FlowTunnelSrc
        | Place::DnsAnswer
        | Place::TlsServerHello
        | Place::TlsCertificate
        | Place::HttpResponseBody
        | Place::SshServerKex
        | Place::SmbFile
        | Place::FtpData
        | Place::FtpControl => found.flow.destination,
        Place::FlowDst
        | Place::FlowTunnelDst
        | Place::Flow
        | Place::DnsQuery
        | Place::DhcpHostName
        | Place::TlsSni
        | Place::TlsClientHello
        | Place::QuicSni
        | Place::QuicClientHello
        | Place::HttpHost
        | Place::HttpUrl
        | Place::HttpUserAgent
        | Place::HttpHeader
        | Place::HttpRequest
        | Place::HttpRequestBody
        | Place::SshClientKex
        | Place::SmtpMailFrom
        | Place::SmtpRcptTo
        | Place::SmtpHeader
        | Place::SmtpAttachment
        | Place::SmtpLink => found.flow.source,
    }
}

/// What an indicator stands for: what it indicates, else its name.
fn meaning(details: &Details) -> String {
    let mut indicated = details.indicates.iter().filter(|c| !c.name.is_empty());
    if let Some(first) = indicated.next() {
        let text = format!("{} ({})", printable(&first.name), printable(&first.kind));
        return match indicated.count() {
            0 => text,
            more => format!("{text} +{more}"),
        };
    }
    printable(details.name.as_deref().unwrap_or_default()).into_owned()
}

/// Lines of the cells of one entry, column by column.
type Lines = Vec<Vec<String>>;

fn draw(shown: &[(&Entry, Details)], style: Style) -> String {
    let width = usize::from(style.width.max(MIN_WIDTH));
    let wide = width >= WIDE;
    let titles: &[&str] = if wide {
        &[
            "Seen",
            "Hosts",
            "When (UTC)",
            "Matches",
            "Flows",
            "Meaning",
            "Verdict",
        ]
    } else if width >= MIN_WIDTH_WITH_HOSTS {
        &["Seen", "Hosts", "When (UTC)", "Verdict"]
    } else {
        &["Seen", "When (UTC)", "Verdict"]
    };
    let mut entries: Vec<(Lines, Action)> = shown
        .iter()
        .map(|(entry, details)| {
            let lines = titles
                .iter()
                .map(|title| column(title, entry, details, wide))
                .collect();
            (lines, entry.strongest())
        })
        .collect();
    let caps = titles.iter().map(|title| match *title {
        "Seen" => width,
        "Hosts" if wide => 20,
        "Hosts" => 16,
        "Meaning" => 26,
        "Verdict" if width < MIN_WIDTH_WITH_HOSTS => 14,
        _ => 18,
    });
    let mut widths: Vec<usize> = titles
        .iter()
        .zip(caps)
        .enumerate()
        .map(|(i, (title, cap))| {
            let content = entries
                .iter()
                .flat_map(|(lines, _)| lines.get(i).into_iter().flatten())
                .map(|line| columns(line))
                .max();
            columns(title).max(content.unwrap_or(0).min(cap))
        })
        .collect();
    // what was seen may take the rest
    let others: usize = widths.iter().skip(1).sum::<usize>() + GAP * (titles.len() - 1);
    if let Some(seen) = widths.first_mut() {
        *seen = width
            .saturating_sub(others)
            .clamp(MIN_SEEN, (*seen).max(MIN_SEEN));
    }
    for (lines, _) in &mut entries {
        for (cell, width) in lines.iter_mut().zip(&widths) {
            for line in cell {
                *line = shorten(line, *width).into_owned();
            }
        }
    }

    let mut table = Table::new();
    table
        .load_style(RULED)
        .set_content_arrangement(ContentArrangement::Disabled);
    if style.colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table.set_header(
        titles
            .iter()
            .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
    );
    for (i, (lines, action)) in entries.iter().enumerate() {
        if i > 0 {
            table.add_row(titles.iter().map(|_| Cell::new("")));
        }
        let height = lines.iter().map(Vec::len).max().unwrap_or(0);
        for y in 0..height {
            table.add_row(titles.iter().zip(lines).map(|(title, cell)| {
                let text = cell.get(y).map_or("", String::as_str);
                dressed(title, Cell::new(text), y, *action)
            }));
        }
    }
    let last = titles.len() - 1;
    for (i, column) in table.column_iter_mut().enumerate() {
        // the style itself puts one column between columns
        column.set_padding((0, if i == last { 0 } else { GAP as u16 - 1 }));
        if matches!(titles.get(i), Some(&"Matches" | &"Flows")) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let mut out = String::new();
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn column(title: &str, entry: &Entry, details: &Details, wide: bool) -> Vec<String> {
    match title {
        "Seen" => {
            let mut lines = vec![entry.value(), entry.where_seen()];
            if !wide {
                lines.extend(Some(meaning(details)).filter(|m| !m.is_empty()));
            }
            lines
        }
        "Hosts" => entry.hosts(if wide { 2 } else { 3 }),
        "When (UTC)" => entry.when(),
        "Matches" => vec![grouped(entry.count)],
        "Flows" => {
            let kept = grouped(entry.flows.kept.len() as u64);
            vec![if entry.flows.cut {
                format!(">{kept}")
            } else {
                kept
            }]
        }
        "Meaning" => {
            let source = details.source.rsplit('/').next().unwrap_or_default();
            let mut lines = vec![meaning(details)];
            if !source.is_empty() {
                lines.push(format!("from {}", printable(source)));
            }
            lines
        }
        _ => {
            let mut lines = entry.verdicts();
            if !wide {
                if lines.len() == 1 {
                    lines.push(counted(entry.count, "match"));
                }
                lines.push(entry.flows());
            }
            lines
        }
    }
}

/// Bold for what was seen, a colour for the verdict, and what explains them stands back.
fn dressed(title: &str, cell: Cell, line: usize, action: Action) -> Cell {
    match (title, line) {
        _ if cell.content().is_empty() => cell,
        ("Seen", 0) => cell.add_attribute(Attribute::Bold),
        ("Verdict", 0) => match action {
            Action::Block => cell.fg(Color::Red).add_attribute(Attribute::Bold),
            Action::WouldBlock => cell.fg(Color::Yellow).add_attribute(Attribute::Bold),
            Action::Report => cell.fg(Color::Cyan),
            Action::Allowlisted => cell.add_attribute(Attribute::Dim),
        },
        ("Seen" | "Verdict" | "Meaning", _) => cell.add_attribute(Attribute::Dim),
        _ => cell,
    }
}

/// The greatest counts by name, then how much else there is; `None` where there is nothing.
fn most(counts: &BTreeMap<&'static str, u64>) -> Option<String> {
    const SHOWN: usize = 4;
    let mut sorted: Vec<(&str, u64)> = counts
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(name, n)| (*name, *n))
        .collect();
    if sorted.is_empty() {
        return None;
    }
    sorted.sort_by_key(|(name, n)| (Reverse(*n), *name));
    let mut parts: Vec<String> = sorted
        .iter()
        .take(SHOWN)
        .map(|(name, n)| format!("{} {name}", grouped(*n)))
        .collect();
    if sorted.len() > SHOWN {
        parts.push(counted((sorted.len() - SHOWN) as u64, "more kind"));
    }
    Some(parts.join(", "))
}

fn duration(seconds: f64) -> String {
    if seconds >= 120.0 {
        let whole = seconds as u64;
        return format!("{} min {} s", grouped(whole / 60), whole % 60);
    }
    if seconds >= 1.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} ms", seconds * 1_000.0)
    }
}

/// Breaks at spaces so that lines fit, where words do.
fn wrap(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut used = 0;
    for word in text.split(' ') {
        let length = columns(word);
        if used > 0 && used + 1 + length > width {
            out.push_str("\n  ");
            used = 2;
        } else if used > 0 {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

/// One rule beneath the titles; entries stand apart by empty lines.
pub(super) const RULED: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Actions, the strongest first.
const RANKS: [Action; 4] = [
    Action::Block,
    Action::WouldBlock,
    Action::Report,
    Action::Allowlisted,
];

/// Codes of ECMA-48 section 8.3.117.
const BOLD: &str = "1";
const YELLOW: &str = "33";

/// Columns between columns.
const GAP: usize = 2;

/// From here on everything has a column of its own.
const WIDE: usize = 120;

/// Below it a table cannot be read.
const MIN_WIDTH: u16 = 48;

/// Below it names would leave no room for hosts.
const MIN_WIDTH_WITH_HOSTS: usize = 72;

/// Of a name, this much at least.
const MIN_SEEN: usize = 12;

/// Indicators that are summed up, each in about 2 kB: more than anybody reads in a table.
pub const MAX_ENTRIES: usize = 10_000;

/// Values of one indicator that are told apart (a network or a domain can match many).
const MAX_VALUES: usize = 8;

/// Bytes of one value: no terminal shows more on a line.
const MAX_VALUE_BYTES: usize = 512;

/// Hosts of one indicator that are told apart.
const MAX_HOSTS: usize = 16;

/// Flows of one indicator that are told apart.
const MAX_FLOWS: usize = 64;

#[cfg(test)]
mod tests;
