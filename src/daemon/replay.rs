//! Replay: captures in, matches out, in the order of the capture.
//!
//! One thread reads blocks and decodes their frames, which settles the shard
//! of each packet; a block goes, shared, to every worker that owns one of its
//! shards; a collector puts what they found in order. The block's number and
//! each packet's place in it order the matches, so the number of workers
//! changes nothing. Blocks come back to the reader when the last worker is
//! done with them: how many exist bounds the memory.

use crate::capture::Block;
use crate::capture::CaptureReader;
use crate::capture::Input;
use crate::capture::live::LiveCapture;
use crate::daemon::filter::Filter;
use crate::daemon::filter::FilterError;
use crate::flow::table::SHARDS;
use crate::matcher::Match;
use crate::matcher::Matcher;
use crate::matcher::set::IndicatorSet;
use crate::matcher::temporal::Origin;
use crate::matcher::temporal::Temporal;
use crate::packet::AddressPair;
use crate::packet::Decoder;
use crate::packet::HashKey;
use crate::packet::LinkType;
use crate::packet::Outcome;
use crate::packet::Packet;
use crate::packet::flow_hash;
use crate::packet::flow_shard;
use crate::report::stats::Stats;
use crate::sensor::Arrival;
use crate::sensor::Counters;
use crate::sensor::Placed;
use crate::sensor::Sensor;
use crate::time::Timestamp;
use crossbeam_channel::Receiver;
use crossbeam_channel::Sender;
use crossbeam_channel::bounded;
use crossbeam_channel::unbounded;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::hash::Hasher;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Blocks after which a worker reports what it found, and that there was nothing else: waking the
/// collector for every block costs more than most blocks.
const REPORT_EVERY: u64 = 32;

/// Matches after which it reports at once.
const REPORT_MATCHES: usize = 256;

/// Blocks that wait for one worker: enough to ride out an uneven block, little enough to stay
/// in a shared cache.
const QUEUE: usize = 4;

/// Packets whose flows are brought into the cache together: about as many as a core has loads
/// under way at once.
const TOUCHED: usize = 16;

/// [`flow_shard`] gives as many.
const _: () = assert!(SHARDS == 64);

/// Where frames come from.
pub enum Frames {
    /// Captures, in order.
    Recorded(Vec<Input>),
    /// Interfaces, until somebody sets `stop`.
    Live {
        /// The interfaces.
        capture: Box<LiveCapture>,
        /// Set: enough.
        stop: Arc<AtomicBool>,
        /// Told what happens to interfaces.
        news: Box<dyn FnMut(String)>,
    },
}

/// What to replay and how.
pub struct Replay {
    /// Where frames come from.
    pub frames: Frames,
    /// Only frames that pass; `None`: all.
    pub filter: Option<Filter>,
    /// Threads that follow flows; between 1 and [`SHARDS`].
    pub workers: usize,
}

/// What cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The filter does not fit a link type of the capture.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The system gave no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
    /// A thread ended before its time: a fault of ours.
    #[error("internal error: a worker stopped; please report this with the capture")]
    Stopped,
}

/// What came of a capture.
#[derive(Debug)]
pub struct CaptureReport {
    /// The capture's name.
    pub file: String,
    /// Why it gave nothing; `None`: it was read.
    pub fatal: Option<String>,
    /// What was odd, for people.
    pub warnings: Vec<String>,
}

/// How far the reading has come.
#[derive(Clone, Copy, Debug)]
pub struct ReplayProgress<'a> {
    /// The capture being read.
    pub file: &'a str,
    /// Bytes read of it.
    pub consumed: u64,
    /// Its length; `None` for a pipe.
    pub total: Option<u64>,
    /// Packets read of all captures.
    pub packets: u64,
}

/// A packet on its way to a worker.
#[derive(Clone, Copy)]
struct Record {
    packet: Packet,
    timestamp: Timestamp,
    hash: u64,
    position: u32,
    /// Place and number among the block's tunnel headers.
    tunnels: (u32, u8),
    shard: u8,
}

/// A block with what was decoded of it.
#[derive(Default)]
struct Batch {
    number: u64,
    block: Block,
    /// Packets by worker.
    packets: Vec<Vec<Record>>,
    /// Payloads of datagrams that were put together, one after the other.
    reassembled: Vec<u8>,
    tunnels: Vec<AddressPair>,
    /// Capture time of the block, by which flows end.
    now: Timestamp,
    /// What matches from this block on; `None`: what did before.
    swap: Option<Arc<Matcher>>,
    /// Whether what is found in it is waited for.
    is_live: bool,
}

impl Batch {
    fn clear(&mut self, workers: usize) {
        self.packets.resize_with(workers, Vec::new);
        self.packets.iter_mut().for_each(Vec::clear);
        self.reassembled.clear();
        self.tunnels.clear();
    }
}

/// What one worker found.
struct Found {
    worker: usize,
    /// All batches before this one are covered.
    before: u64,
    /// Each with the number of its batch, ascending.
    matches: Vec<(u64, Placed)>,
}

/// A new matcher, from a batch on.
struct Swap {
    from: u64,
    matcher: Arc<Matcher>,
}

/// Asked before each block, with the capture time of its first frame: what is to match from this
/// block on; `None`: what did before.
pub type NextMatcher<'a> = dyn FnMut(Timestamp) -> Option<Arc<Matcher>> + 'a;

/// Takes matches in the order of the capture, each with the set that it came from.
pub type Take<'a> = dyn FnMut(Match, &Arc<IndicatorSet>) + Send + 'a;

impl Replay {
    /// Replays. `take` is called on a thread of its own.
    pub fn run(
        mut self,
        matcher: &Arc<Matcher>,
        next_matcher: &mut NextMatcher<'_>,
        take: &mut Take<'_>,
        progress: &mut dyn FnMut(ReplayProgress<'_>),
    ) -> Result<(Stats, Vec<CaptureReport>), ReplayError> {
        let workers = self.workers.clamp(1, SHARDS);
        // a swap goes ahead of its batch; those that wait are few, since batches are
        let (swap_sender, swap_receiver) = unbounded();
        let (found_sender, found_receiver) = bounded(QUEUE * workers);
        let (free_sender, free_receiver) = bounded(QUEUE * 2 + 2);
        for _ in 0..QUEUE * 2 + 2 {
            // there is room for all of them
            let _ = free_sender.send(Batch::default());
        }
        thread::scope(|scope| {
            let mut queues: Vec<Sender<Arc<Batch>>> = Vec::with_capacity(workers);
            let mut handles = Vec::with_capacity(workers);
            for worker in 0..workers {
                let (sender, batches) = bounded(QUEUE);
                queues.push(sender);
                let (found, free) = (found_sender.clone(), free_sender.clone());
                let sensor = Sensor::new(Arc::clone(matcher));
                handles.push(
                    thread::Builder::new()
                        .name(format!("worker-{worker}"))
                        .spawn_scoped(scope, move || {
                            work(worker, sensor, &batches, &found, &free)
                        })?,
                );
            }
            drop((found_sender, free_sender));
            let mut collector = Collector::new(Arc::clone(matcher), swap_receiver, workers);
            let collector = thread::Builder::new()
                .name("collector".into())
                .spawn_scoped(scope, move || {
                    let count = collector.collect(&found_receiver, take);
                    (count, collector.temporal.drops())
                })?;
            let mut reader = Reader::new(queues, free_receiver, workers, swap_sender);
            let read = match self.frames {
                Frames::Recorded(inputs) => {
                    reader.read_all(&inputs, &mut self.filter, next_matcher, progress)
                }
                Frames::Live {
                    mut capture,
                    stop,
                    mut news,
                } => reader.watch(
                    &mut capture,
                    &stop,
                    &mut news,
                    &mut self.filter,
                    next_matcher,
                    progress,
                ),
            };
            let Reader {
                queues,
                mut stats,
                reports,
                ..
            } = reader;
            drop(queues);
            for handle in handles {
                let (counters, pause) = handle.join().map_err(|_| ReplayError::Stopped)?;
                add_counters(&mut stats, counters);
                stats.longest_swap_seconds = stats.longest_swap_seconds.max(pause.as_secs_f64());
            }
            let (count, drops) = collector.join().map_err(|_| ReplayError::Stopped)?;
            stats.matches = count;
            for (cause, count) in drops {
                note_drops(&mut stats, cause, count);
            }
            stats.workers = workers;
            read.map(|()| (stats, reports))
        })
    }
}

/// Reads and decodes, on the calling thread.
struct Reader {
    queues: Vec<Sender<Arc<Batch>>>,
    free: Receiver<Batch>,
    /// A batch that a capture's end left unused.
    spare: Option<Batch>,
    workers: usize,
    /// By shard: a look-up where the remainder of a division would take as long as a hash.
    worker_of: [u8; SHARDS],
    decoder: Decoder,
    table_key: HashKey,
    swaps: Sender<Swap>,
    number: u64,
    stats: Stats,
    reports: Vec<CaptureReport>,
}

impl Reader {
    fn new(
        queues: Vec<Sender<Arc<Batch>>>,
        free: Receiver<Batch>,
        workers: usize,
        swaps: Sender<Swap>,
    ) -> Self {
        let state = RandomState::new();
        let draw = |n: u8| {
            let mut hasher = state.build_hasher();
            hasher.write_u8(n);
            hasher.finish()
        };
        Self {
            queues,
            free,
            spare: None,
            workers,
            worker_of: std::array::from_fn(|shard| (shard % workers) as u8),
            decoder: Decoder::new(),
            table_key: HashKey::new([draw(1), draw(2)]),
            swaps,
            number: 0,
            stats: Stats::default(),
            reports: Vec::new(),
        }
    }

    fn read_all(
        &mut self,
        inputs: &[Input],
        filter: &mut Option<Filter>,
        next_matcher: &mut NextMatcher<'_>,
        progress: &mut dyn FnMut(ReplayProgress<'_>),
    ) -> Result<(), ReplayError> {
        for input in inputs {
            let file = input.to_string();
            let mut report = CaptureReport {
                file: file.clone(),
                fatal: None,
                warnings: Vec::new(),
            };
            match CaptureReader::open(input.clone()) {
                Err(error) => report.fatal = Some(error.to_string()),
                Ok(mut capture) => {
                    if let Err(error) =
                        self.read(&mut capture, &file, filter, next_matcher, progress)?
                    {
                        report.fatal = Some(error);
                    }
                    report.warnings = capture.warnings().iter().map(ToString::to_string).collect();
                    if capture.warnings_left_out() > 0 {
                        let more = capture.warnings_left_out();
                        report
                            .warnings
                            .push(format!("{file}: {more} more like these"));
                    }
                }
            }
            self.reports.push(report);
        }
        self.note_fragments();
        Ok(())
    }

    fn note_fragments(&mut self) {
        let counters = self.decoder.fragment_counters();
        let losses = [
            ("fragments-expired", counters.expired),
            ("fragments-evicted", counters.evicted),
            (
                "fragments-incomplete",
                self.decoder.fragmented_datagrams() as u64,
            ),
        ];
        for (cause, count) in losses {
            note_drops(&mut self.stats, cause, count);
        }
        if counters.overlapping > 0 {
            *self
                .stats
                .anomalies
                .entry("ip.fragment-overlap")
                .or_default() += counters.overlapping;
        }
    }

    /// Watches interfaces until somebody says stop.
    fn watch(
        &mut self,
        capture: &mut LiveCapture,
        stop: &AtomicBool,
        news: &mut dyn FnMut(String),
        filter: &mut Option<Filter>,
        next_matcher: &mut NextMatcher<'_>,
        progress: &mut dyn FnMut(ReplayProgress<'_>),
    ) -> Result<(), ReplayError> {
        while !stop.load(Ordering::Relaxed) {
            let mut batch = match self.spare.take() {
                Some(batch) => batch,
                None => self.free.recv().map_err(|_| ReplayError::Stopped)?,
            };
            capture.next_block(&mut batch.block);
            capture.news().into_iter().for_each(&mut *news);
            let now = clock();
            batch.swap = next_matcher(now);
            self.decode(&mut batch, filter)?;
            // flows end by the clock, whether or not anything comes
            batch.now = now;
            batch.is_live = true;
            self.hand_out(batch)?;
            progress(ReplayProgress {
                file: "",
                consumed: self.stats.bytes,
                total: None,
                packets: self.stats.packets,
            });
        }
        for stats in capture.stats() {
            note_drops(&mut self.stats, "kernel", stats.dropped_by_kernel);
            note_drops(&mut self.stats, "interface", stats.dropped_by_interface);
            self.reports.push(CaptureReport {
                file: stats.interface,
                fatal: None,
                warnings: Vec::new(),
            });
        }
        self.note_fragments();
        Ok(())
    }

    /// Reads one capture; the inner error is that of the capture.
    fn read(
        &mut self,
        capture: &mut CaptureReader,
        file: &str,
        filter: &mut Option<Filter>,
        next_matcher: &mut NextMatcher<'_>,
        progress: &mut dyn FnMut(ReplayProgress<'_>),
    ) -> Result<Result<(), String>, ReplayError> {
        loop {
            let mut batch = match self.spare.take() {
                Some(batch) => batch,
                None => self.free.recv().map_err(|_| ReplayError::Stopped)?,
            };
            let read = capture.next_block(&mut batch.block);
            if !matches!(read, Ok(true)) {
                self.spare = Some(batch);
                return Ok(read.map(|_| ()).map_err(|e| e.to_string()));
            }
            let first = batch.block.frames.first().map(|frame| frame.timestamp);
            batch.swap = first.and_then(&mut *next_matcher);
            self.decode(&mut batch, filter)?;
            self.hand_out(batch)?;
            let at = capture.progress();
            progress(ReplayProgress {
                file,
                consumed: at.consumed,
                total: at.total,
                packets: self.stats.packets,
            });
        }
    }

    fn decode(
        &mut self,
        batch: &mut Batch,
        filter: &mut Option<Filter>,
    ) -> Result<(), ReplayError> {
        batch.clear(self.workers);
        let Batch {
            block,
            packets,
            reassembled,
            tunnels,
            ..
        } = batch;
        let mut packet = Packet::default();
        for (position, frame) in block.frames.iter().enumerate() {
            let bytes = block.frame(frame);
            if let Some(filter) = filter
                && !filter.passes(frame.link, bytes)?
            {
                continue;
            }
            self.stats.packets += 1;
            self.stats.bytes += bytes.len() as u64;
            let link = LinkType(frame.link);
            let outcome = self.decoder.decode(
                link,
                frame.timestamp,
                bytes,
                frame.original_length,
                &mut packet,
            );
            match outcome {
                Outcome::Packet => {}
                Outcome::Fragment => continue,
                Outcome::NotIp => {
                    self.stats.frames_not_ip += 1;
                    continue;
                }
                Outcome::Anomaly(kind) => {
                    *self.stats.anomalies.entry(kind).or_default() += 1;
                    continue;
                }
                Outcome::Unsupported(_) => {
                    *self.stats.drops.entry("link-type-unknown").or_default() += 1;
                    continue;
                }
            }
            if let Some(kind) = self.decoder.inner_anomaly() {
                *self.stats.anomalies.entry(kind).or_default() += 1;
            }
            if packet.reassembled {
                let start = reassembled.len() as u32;
                reassembled.extend_from_slice(packet.payload.within(self.decoder.reassembled()));
                packet.payload.start = start;
            } else {
                packet.payload.start += frame.start;
            }
            let headers = self.decoder.tunnels();
            let at = (tunnels.len() as u32, headers.len() as u8);
            tunnels.extend_from_slice(headers);
            let shard = flow_shard(&packet);
            let record = Record {
                packet,
                timestamp: frame.timestamp,
                hash: flow_hash(&packet, &self.table_key),
                position: position as u32,
                tunnels: at,
                shard,
            };
            let worker = self.worker_of.get(usize::from(shard)).copied();
            if let Some(queue) = packets.get_mut(usize::from(worker.unwrap_or_default())) {
                queue.push(record);
            }
        }
        batch.now = time_of(&batch.block);
        self.decoder.expire(batch.now);
        Ok(())
    }

    fn hand_out(&mut self, mut batch: Batch) -> Result<(), ReplayError> {
        batch.number = self.number;
        self.number += 1;
        if let Some(matcher) = &batch.swap {
            self.stats.swaps += 1;
            let swap = Swap {
                from: batch.number,
                matcher: Arc::clone(matcher),
            };
            self.swaps.send(swap).map_err(|_| ReplayError::Stopped)?;
        }
        let batch = Arc::new(batch);
        // the last worker is given our own share: whoever is done last then returns the batch
        let Some((last, others)) = self.queues.split_last() else {
            return Err(ReplayError::Stopped);
        };
        for queue in others {
            queue
                .send(Arc::clone(&batch))
                .map_err(|_| ReplayError::Stopped)?;
        }
        last.send(batch).map_err(|_| ReplayError::Stopped)?;
        Ok(())
    }
}

/// The time of the clock.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::MIN + since.unwrap_or_default()
}

/// The time of a block: the median of its first, middle and last frame, so that one absurd
/// timestamp does not end every flow.
fn time_of(block: &Block) -> Timestamp {
    let frames = &block.frames;
    let at = |n: usize| {
        frames
            .get(n)
            .map_or(Timestamp::MIN, |frame| frame.timestamp)
    };
    let mut three = [
        at(0),
        at(frames.len() / 2),
        at(frames.len().saturating_sub(1)),
    ];
    three.sort_unstable();
    three[1]
}

/// One worker: its packets of every batch, in order. Gives back what it counted, and the longest
/// time that a new matcher kept it.
fn work(
    worker: usize,
    mut sensor: Sensor,
    batches: &Receiver<Arc<Batch>>,
    found: &Sender<Found>,
    free: &Sender<Batch>,
) -> (Counters, Duration) {
    let mut matches: Vec<(u64, Placed)> = Vec::new();
    let mut next = 0;
    let mut pause = Duration::ZERO;
    for batch in batches {
        if let Some(matcher) = &batch.swap {
            let begin = Instant::now();
            sensor.set_matcher(Arc::clone(matcher));
            pause = pause.max(begin.elapsed());
        }
        let records = batch.packets.get(worker).map_or(&[][..], Vec::as_slice);
        for (n, record) in records.iter().enumerate() {
            if n.is_multiple_of(TOUCHED) {
                for next in records.iter().skip(n).take(TOUCHED) {
                    sensor.touch(next.shard, next.hash, &next.packet);
                }
            }
            let bytes = if record.packet.reassembled {
                &batch.reassembled
            } else {
                &batch.block.bytes
            };
            let (start, count) = record.tunnels;
            let tunnels = start as usize..start as usize + usize::from(count);
            sensor.handle_packet(&Arrival {
                timestamp: record.timestamp,
                position: record.position,
                shard: record.shard,
                hash: record.hash,
                packet: &record.packet,
                payload: record.packet.payload.within(bytes),
                tunnels: batch.tunnels.get(tunnels).unwrap_or_default(),
            });
        }
        sensor.handle_timeout(batch.now);
        let number = batch.number;
        next = number + 1;
        let is_live = batch.is_live;
        if let Some(mut batch) = Arc::into_inner(batch) {
            batch.swap = None;
            // the reader is gone at the end, and needs it no more
            let _ = free.send(batch);
        }
        matches.extend(sensor.drain().into_iter().map(|placed| (number, placed)));
        // what one worker found waits until the others have passed it
        if is_live || next.is_multiple_of(REPORT_EVERY) || matches.len() >= REPORT_MATCHES {
            let matches = std::mem::take(&mut matches);
            if found
                .send(Found {
                    worker,
                    before: next,
                    matches,
                })
                .is_err()
            {
                break;
            }
        }
    }
    sensor.finish();
    matches.extend(sensor.drain().into_iter().map(|placed| (next, placed)));
    // a collector that is gone has failed, which its join tells
    let _ = found.send(Found {
        worker,
        before: u64::MAX,
        matches,
    });
    (sensor.counters().clone(), pause)
}

/// Puts the matches of all workers in order, and the observations among them together to
/// patterns.
struct Collector {
    /// What matched in the batch at hand. Kept here until every worker has passed on to the next,
    /// so that none of them has to give back the memory of a set.
    matcher: Arc<Matcher>,
    swaps: Receiver<Swap>,
    next_swap: Option<Swap>,
    temporal: Temporal,
    workers: usize,
}

impl Collector {
    fn new(matcher: Arc<Matcher>, swaps: Receiver<Swap>, workers: usize) -> Self {
        Self {
            temporal: Temporal::new(Arc::clone(matcher.set())),
            matcher,
            swaps,
            next_swap: None,
            workers,
        }
    }

    /// Hands on what is a match, and returns how many there were.
    fn collect(&mut self, found: &Receiver<Found>, take: &mut Take<'_>) -> u64 {
        let mut waiting: BTreeMap<u64, Vec<Placed>> = BTreeMap::new();
        let mut covered = vec![0; self.workers];
        let mut count = 0;
        for part in found {
            for (number, placed) in part.matches {
                waiting.entry(number).or_default().push(placed);
            }
            if let Some(before) = covered.get_mut(part.worker) {
                *before = part.before;
            }
            let ready = covered.iter().copied().min().unwrap_or(u64::MAX);
            while let Some(entry) = waiting.first_entry().filter(|e| *e.key() < ready) {
                let batch = *entry.key();
                self.swap_before(batch);
                count += self.take_batch(batch, entry.remove(), take);
            }
            // whoever reports a batch has swapped before it
            self.swap_before(ready.saturating_sub(1));
        }
        count
    }

    /// Takes up every matcher that came before this batch or with it.
    fn swap_before(&mut self, batch: u64) {
        loop {
            if self.next_swap.is_none() {
                self.next_swap = self.swaps.try_recv().ok();
            }
            match self.next_swap.take_if(|swap| swap.from <= batch) {
                None => return,
                Some(swap) => {
                    self.temporal.set_set(Arc::clone(swap.matcher.set()));
                    self.matcher = swap.matcher;
                }
            }
        }
    }

    fn take_batch(&mut self, batch: u64, mut matches: Vec<Placed>, take: &mut Take<'_>) -> u64 {
        let mut count = 0;
        matches.sort_by_key(|placed| placed.order);
        for Placed {
            order,
            scope,
            found,
        } in matches
        {
            let (position, shard, _) = order;
            let origin = Origin {
                batch,
                position,
                shard,
                scope,
            };
            if let Some(found) = self.temporal.take(found, origin) {
                count += 1;
                take(found, self.matcher.set());
            }
        }
        count
    }
}

fn note_drops(stats: &mut Stats, cause: &'static str, count: u64) {
    if count > 0 {
        *stats.drops.entry(cause).or_default() += count;
    }
}

fn add_counters(stats: &mut Stats, counters: Counters) {
    stats.flows += counters.flows;
    stats.indicators.withheld.not_yet_valid += counters.not_yet_valid;
    stats.indicators.withheld.expired += counters.expired;
    for (totals, more) in [
        (&mut stats.transactions, counters.transactions),
        (&mut stats.anomalies, counters.anomalies),
        (&mut stats.drops, counters.drops),
    ] {
        for (name, count) in more {
            *totals.entry(name).or_default() += count;
        }
    }
}
