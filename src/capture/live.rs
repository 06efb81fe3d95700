//! Interfaces as they are: frames in blocks, as they come.
//!
//! Unlike those of a recorded capture, blocks depend on when frames come. A block is handed over
//! when it is full, or after [`PATIENCE`] with what is there, which may be nothing.

use crate::capture::BLOCK_SIZE;
use crate::capture::Block;
use crate::capture::FrameRecord;
use crate::capture::MAX_FRAME;
use crate::time::Timestamp;
use pcap::Active;
use pcap::Capture;
use pcap::Precision;
use rustix::event::PollFd;
use rustix::event::PollFlags;
use rustix::event::Timespec;
use rustix::event::poll;
use std::os::fd::AsFd;
use std::time::Duration;
use std::time::Instant;

/// How long frames may wait for others before they are looked at.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// Bytes that the kernel keeps for each interface: a tenth of a second at 3 Gbit/s.
const KERNEL_BUFFER: i32 = 32 << 20;

/// Time between two attempts to open an interface that has gone, however busy the others are.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often losses are counted: before a counter of 32 bits can wrap, which takes minutes at
/// 10 Gbit/s, and no more often than a person wants to be told of them.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// What an interface is asked for.
#[derive(Clone, Debug, Default)]
pub struct LiveOptions {
    /// Whether frames for other hosts of the segment are taken, too.
    pub promiscuous: bool,
    /// Only frames that pass this expression of pcap-filter(7), in the kernel; `None`: all.
    pub filter: Option<String>,
}

/// An interface that cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("{interface}: cannot be watched: {reason}")]
pub struct LiveError {
    /// Its name.
    pub interface: String,
    /// Why, and what to do.
    pub reason: String,
}

/// What an interface lost, since it was opened first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveStats {
    /// Its name.
    pub interface: String,
    /// Frames that the kernel dropped, since we did not keep up.
    pub dropped_by_kernel: u64,
    /// Frames that the interface dropped, where it tells.
    pub dropped_by_interface: u64,
}

/// Interfaces that are watched together.
pub struct LiveCapture {
    interfaces: Vec<Interface>,
    /// The interface that the next block begins with, so that a flood on one starves no other.
    first: usize,
    options: LiveOptions,
    /// When losses were last counted and told.
    counted: Instant,
    /// What happened to interfaces and was not told yet.
    news: Vec<String>,
}

struct Interface {
    /// `None`: it has gone, and is waited for.
    handle: Option<Capture<Active>>,
    link: u16,
    /// When it went, or was last tried since.
    tried: Instant,
    /// Its name, and what it lost through all of its handles.
    total: LiveStats,
    /// Losses that are in the total and were not told yet.
    untold: u64,
    /// The counters of this handle, which wrap, as they were last read.
    last: Counters,
}

#[derive(Default)]
struct Counters {
    kernel: u32,
    interface: u32,
}

impl LiveCapture {
    /// Opens interfaces, each by its name.
    ///
    /// # Errors
    /// When one of them cannot be opened, with what to do.
    pub fn open(names: &[String], options: LiveOptions) -> Result<Self, LiveError> {
        let now = Instant::now();
        let mut interfaces = Vec::with_capacity(names.len());
        for name in names {
            let (handle, link) = open(name, &options)?;
            interfaces.push(Interface {
                handle: Some(handle),
                link,
                tried: now,
                total: LiveStats {
                    interface: name.clone(),
                    ..LiveStats::default()
                },
                untold: 0,
                last: Counters::default(),
            });
        }
        Ok(Self {
            interfaces,
            first: 0,
            options,
            counted: now,
            news: Vec::new(),
        })
    }

    /// Refills `block` with the frames that came; none where none did for a while.
    pub fn next_block(&mut self, block: &mut Block) {
        block.frames.clear();
        // a frame that begins below the mark always fits
        let size = BLOCK_SIZE + MAX_FRAME as usize;
        if block.bytes.len() < size {
            block.bytes.resize(size, 0);
        }
        let now = Instant::now();
        self.reopen(now);
        self.count(now);
        if self.drain(block, now) == 0 && self.wait() {
            self.drain(block, now);
        }
        self.first += 1;
        if self.first >= self.interfaces.len() {
            self.first = 0;
        }
    }

    /// What happened to interfaces since this was asked last, for people.
    pub fn news(&mut self) -> Vec<String> {
        std::mem::take(&mut self.news)
    }

    /// What each interface lost.
    pub fn stats(&mut self) -> Vec<LiveStats> {
        self.interfaces
            .iter_mut()
            .map(|interface| {
                interface.count();
                interface.total.clone()
            })
            .collect()
    }

    /// Waits for a frame; whether there may be one.
    fn wait(&self) -> bool {
        let mut waiting: Vec<PollFd<'_>> = self
            .interfaces
            .iter()
            .filter_map(|interface| interface.handle.as_ref())
            .map(|handle| PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN))
            .collect();
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(PATIENCE.subsec_nanos()),
        };
        // an interrupted wait is a short one
        poll(&mut waiting, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    /// Takes what is there, until the block is full; gives the bytes that are used.
    fn drain(&mut self, block: &mut Block, now: Instant) -> usize {
        let mut used = 0;
        let (later, sooner) = self.interfaces.split_at_mut(self.first);
        for interface in sooner.iter_mut().chain(later) {
            let Some(handle) = &mut interface.handle else {
                continue;
            };
            let gone = loop {
                if used >= BLOCK_SIZE {
                    break None;
                }
                let packet = match handle.next_packet() {
                    Ok(packet) => packet,
                    Err(pcap::Error::TimeoutExpired) => break None,
                    Err(error) => break Some(error),
                };
                let room = block.bytes.get_mut(used..).unwrap_or_default();
                let length = packet.data.len().min(room.len());
                let (Some(to), Some(from)) = (room.get_mut(..length), packet.data.get(..length))
                else {
                    break None;
                };
                to.copy_from_slice(from);
                block.frames.push(FrameRecord {
                    timestamp: time_of(packet.header),
                    start: used as u32,
                    length: length as u32,
                    original_length: packet.header.len.max(length as u32),
                    link: interface.link,
                    interface: 0,
                });
                used += length;
            };
            if let Some(error) = gone {
                interface.close(now);
                let name = &interface.total.interface;
                self.news.push(format!(
                    "{name}: gone ({error}); waiting for it to come back"
                ));
            }
        }
        used
    }

    /// Tries interfaces that have gone.
    fn reopen(&mut self, now: Instant) {
        for interface in &mut self.interfaces {
            if interface.handle.is_some() || now.duration_since(interface.tried) < RETRY_AFTER {
                continue;
            }
            interface.tried = now;
            let name = &interface.total.interface;
            if let Ok((handle, link)) = open(name, &self.options) {
                interface.handle = Some(handle);
                interface.link = link;
                self.news.push(format!("{name}: back"));
            }
        }
    }

    /// Counts losses and tells of them, when it is time.
    fn count(&mut self, now: Instant) {
        if now.duration_since(self.counted) < COUNT_EVERY {
            return;
        }
        self.counted = now;
        for interface in &mut self.interfaces {
            interface.count();
            let lost = std::mem::take(&mut interface.untold);
            if lost > 0 {
                let name = &interface.total.interface;
                self.news.push(format!(
                    "{name}: {lost} frames were lost in the last minute: more came than this \
                     sensor could take"
                ));
            }
        }
    }
}

impl Interface {
    /// Adds what the handle lost since its counters were last read.
    fn count(&mut self) {
        if let Some(handle) = &mut self.handle
            && let Ok(stat) = handle.stats()
        {
            let by_kernel = risen(self.last.kernel, stat.dropped);
            let by_interface = risen(self.last.interface, stat.if_dropped);
            self.total.dropped_by_kernel += by_kernel;
            self.total.dropped_by_interface += by_interface;
            self.untold += by_kernel + by_interface;
            self.last = Counters {
                kernel: stat.dropped,
                interface: stat.if_dropped,
            };
        }
    }

    fn close(&mut self, now: Instant) {
        self.count();
        self.last = Counters::default();
        self.handle = None;
        self.tried = now;
    }
}

/// How far a counter of 32 bits rose. One that went back has not: an interface that is gone has
/// lost nothing.
fn risen(last: u32, now: u32) -> u64 {
    match now.wrapping_sub(last) {
        risen if risen <= u32::MAX / 2 => u64::from(risen),
        _ => 0,
    }
}

fn open(name: &str, options: &LiveOptions) -> Result<(Capture<Active>, u16), LiveError> {
    let fail = |error: &dyn std::fmt::Display| {
        let mut reason = error.to_string();
        let lower = reason.to_ascii_lowercase();
        if lower.contains("permission") || lower.contains("not permitted") {
            reason = "no permission: run as root or with CAP_NET_RAW".into();
        } else if lower.contains("no such device") {
            reason = "there is no such interface; 'ip link' names those that there are".into();
        }
        LiveError {
            interface: name.to_owned(),
            reason,
        }
    };
    let opened = Capture::from_device(name).and_then(|capture| {
        capture
            .promisc(options.promiscuous)
            .snaplen(MAX_FRAME as i32)
            .buffer_size(KERNEL_BUFFER)
            .timeout(PATIENCE.subsec_millis() as i32)
            .precision(Precision::Nano)
            .open()
    });
    let mut handle = opened
        .and_then(Capture::setnonblock)
        .map_err(|e| fail(&e))?;
    if let Some(filter) = &options.filter {
        handle.filter(filter, true).map_err(|e| fail(&e))?;
    }
    let link = handle.get_datalink().0;
    let link = u16::try_from(link).map_err(|_| fail(&"its link type is not known"))?;
    Ok((handle, link))
}

/// The header holds nanoseconds where libpcap speaks of microseconds.
fn time_of(header: &pcap::PacketHeader) -> Timestamp {
    let seconds = u64::try_from(header.ts.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(header.ts.tv_usec).unwrap_or_default();
    Timestamp::from_parts(seconds, nanos)
}
