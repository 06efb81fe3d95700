//! Statistics: everything that was counted, one JSON object for `--stats`.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;

/// What the sensor counted. Workers count for themselves; [`merge`](Self::merge) sums up.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stats {
    /// Frames read.
    pub packets: u64,
    /// Bytes of the frames read, as captured.
    pub bytes: u64,
    /// Frames that carry no IP.
    pub frames_not_ip: u64,
    /// Flows seen.
    pub flows: u64,
    /// Finished transactions, by protocol ("dns").
    pub transactions: BTreeMap<&'static str, u64>,
    /// Malformed or evasive traffic, by kind ("dns.pointer-loop").
    pub anomalies: BTreeMap<&'static str, u64>,
    /// What was lost and never looked at, by cause.
    pub drops: BTreeMap<&'static str, u64>,
    /// Matches, allowlisted ones too.
    pub matches: u64,
    /// Matches, by verdict ("would-block").
    pub matches_by_verdict: BTreeMap<&'static str, u64>,
    /// What became of the indicators.
    pub indicators: Indicators,
    /// Reading and compiling the indicators, in seconds.
    pub load_seconds: f64,
    /// From the first frame to the last match, in seconds.
    pub process_seconds: f64,
    /// The most memory that the process held at once; `None` where the system does not say.
    pub peak_memory_bytes: Option<u64>,
    /// What was read.
    pub captures: Vec<Capture>,
    /// Threads that followed flows.
    pub workers: usize,
    /// How often another set of indicators took over while packets came.
    pub swaps: u64,
    /// The longest time that this kept a worker from its packets, in seconds.
    pub longest_swap_seconds: f64,
}

/// What became of the indicators.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Indicators {
    /// Can match.
    pub loaded: u64,
    /// Cannot be used, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Matches that validity withheld.
    pub withheld: Withheld,
}

/// Matches that did not count, since their indicator was not valid at that time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Withheld {
    /// Before `valid_from`.
    pub not_yet_valid: u64,
    /// From `valid_until` on.
    pub expired: u64,
}

/// A capture that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// The file, an interface, or `-`.
    pub file: String,
    /// What was odd about it, for people.
    pub warnings: Vec<String>,
}

impl Stats {
    /// Takes in what another part counted: counts add up; times, memory and workers are those
    /// of the whole process, so the greater holds.
    pub fn merge(&mut self, other: Self) {
        // taken apart, so that no field is forgotten
        let Self {
            packets,
            bytes,
            frames_not_ip,
            flows,
            transactions,
            anomalies,
            drops,
            matches,
            matches_by_verdict,
            indicators,
            load_seconds,
            process_seconds,
            peak_memory_bytes,
            captures,
            workers,
            swaps,
            longest_swap_seconds,
        } = other;
        add(&mut self.packets, packets);
        add(&mut self.bytes, bytes);
        add(&mut self.frames_not_ip, frames_not_ip);
        add(&mut self.flows, flows);
        add_all(&mut self.transactions, transactions);
        add_all(&mut self.anomalies, anomalies);
        add_all(&mut self.drops, drops);
        add(&mut self.matches, matches);
        add_all(&mut self.matches_by_verdict, matches_by_verdict);
        add(&mut self.indicators.loaded, indicators.loaded);
        add_all(&mut self.indicators.refused, indicators.refused);
        add(
            &mut self.indicators.withheld.not_yet_valid,
            indicators.withheld.not_yet_valid,
        );
        add(
            &mut self.indicators.withheld.expired,
            indicators.withheld.expired,
        );
        self.load_seconds = self.load_seconds.max(load_seconds);
        self.process_seconds = self.process_seconds.max(process_seconds);
        self.peak_memory_bytes = self.peak_memory_bytes.max(peak_memory_bytes);
        self.captures.extend(captures);
        self.workers = self.workers.max(workers);
        add(&mut self.swaps, swaps);
        self.longest_swap_seconds = self.longest_swap_seconds.max(longest_swap_seconds);
    }
}

/// The most memory that this process held at once, in bytes: VmHWM of proc_pid_status(5).
/// `None` where the system does not say.
pub fn peak_memory() -> Option<u64> {
    peak_memory_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn peak_memory_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn add(total: &mut u64, more: u64) {
    *total = total.saturating_add(more);
}

fn add_all<K: Ord>(totals: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, count) in more {
        add(totals.entry(key).or_default(), count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(n: u64) -> Stats {
        Stats {
            packets: n,
            bytes: 100 * n,
            frames_not_ip: 1,
            flows: n,
            transactions: BTreeMap::from([("dns", n), ("tls", 1)]),
            anomalies: BTreeMap::from([("tcp.overlap", n)]),
            drops: BTreeMap::new(),
            matches: n,
            matches_by_verdict: BTreeMap::from([("report", n)]),
            indicators: Indicators {
                loaded: n,
                refused: BTreeMap::from([("no pattern".to_owned(), n)]),
                withheld: Withheld {
                    not_yet_valid: n,
                    expired: 2 * n,
                },
            },
            load_seconds: 0.5,
            process_seconds: n as f64,
            peak_memory_bytes: Some(n),
            captures: vec![Capture {
                file: format!("{n}.pcap"),
                warnings: Vec::new(),
            }],
            workers: 2,
            swaps: n,
            longest_swap_seconds: 0.001,
        }
    }

    #[test]
    fn merges_and_writes_one_object() {
        let mut total = counted(1);
        total.merge(counted(2));
        assert_eq!(
            serde_json::to_string(&total).unwrap(),
            concat!(
                r#"{"packets":3,"bytes":300,"frames_not_ip":2,"flows":3,"#,
                r#""transactions":{"dns":3,"tls":2},"anomalies":{"tcp.overlap":3},"#,
                r#""drops":{},"matches":3,"matches_by_verdict":{"report":3},"#,
                r#""indicators":{"loaded":3,"refused":{"no pattern":3},"#,
                r#""withheld":{"not_yet_valid":3,"expired":6}},"#,
                r#""load_seconds":0.5,"process_seconds":2.0,"peak_memory_bytes":2,"#,
                r#""captures":[{"file":"1.pcap","warnings":[]},"#,
                r#"{"file":"2.pcap","warnings":[]}],"workers":2,"swaps":3,"longest_swap_seconds":0.001}"#
            )
        );
    }

    #[test]
    fn merging_nothing_changes_nothing() {
        let mut total = Stats::default();
        total.merge(counted(7));
        total.merge(Stats::default());
        assert_eq!(total, counted(7));
        let mut full = Stats {
            packets: u64::MAX,
            ..Stats::default()
        };
        full.merge(counted(1));
        assert_eq!(full.packets, u64::MAX);
    }

    #[test]
    fn reads_peak_memory() {
        let status = "Name:\twatchpost\nVmPeak:\t  999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(peak_memory_in(status), Some(12_345 * 1024));
        for odd in [
            "",
            "VmHWM: kB",
            "VmHWM: 1 MB",
            "VmHWM: 18446744073709551615 kB",
        ] {
            assert_eq!(peak_memory_in(odd), None, "{odd}");
        }
        if cfg!(target_os = "linux") {
            assert!(peak_memory().is_some_and(|bytes| bytes > 100_000));
        }
    }
}
