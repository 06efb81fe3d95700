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

/// How long frames may wait for others before they are looked at.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// Bytes that the kernel keeps for each interface: a tenth of a second at 3 Gbit/s.
const KERNEL_BUFFER: i32 = 32 << 20;

/// Empty blocks between two attempts to open an interface that has gone: about a second.
const RETRY_AFTER: u32 = 50;

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
    /// Frames that reached us.
    pub received: u64,
    /// Frames that the kernel dropped, since we did not keep up.
    pub dropped_by_kernel: u64,
    /// Frames that the interface dropped, where it tells.
    pub dropped_by_interface: u64,
}

/// Interfaces that are watched together.
pub struct LiveCapture {
    interfaces: Vec<Interface>,
    options: LiveOptions,
    /// What happened to interfaces and was not told yet.
    news: Vec<String>,
}

struct Interface {
    name: String,
    /// `None`: it has gone, and is waited for.
    handle: Option<Capture<Active>>,
    link: u16,
    /// Empty blocks since it went.
    waited: u32,
    /// Of handles that are closed, and of this one.
    closed: LiveStats,
    current: LiveStats,
}

impl LiveCapture {
    /// Opens interfaces, each by its name.
    ///
    /// # Errors
    /// When one of them cannot be opened, with what to do.
    pub fn open(names: &[String], options: LiveOptions) -> Result<Self, LiveError> {
        let mut interfaces = Vec::with_capacity(names.len());
        for name in names {
            let (handle, link) = open(name, &options)?;
            interfaces.push(Interface {
                name: name.clone(),
                handle: Some(handle),
                link,
                waited: 0,
                closed: LiveStats {
                    interface: name.clone(),
                    ..LiveStats::default()
                },
                current: LiveStats::default(),
            });
        }
        Ok(Self {
            interfaces,
            options,
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
        self.reopen();
        let mut used = self.drain(block, 0);
        if used == 0 && self.wait() {
            used = self.drain(block, used);
        }
        let idle = used == 0;
        for interface in &mut self.interfaces {
            interface.waited += u32::from(interface.handle.is_none() && idle);
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
                let (closed, current) = (&interface.closed, &interface.current);
                LiveStats {
                    interface: interface.name.clone(),
                    received: closed.received + current.received,
                    dropped_by_kernel: closed.dropped_by_kernel + current.dropped_by_kernel,
                    dropped_by_interface: closed.dropped_by_interface
                        + current.dropped_by_interface,
                }
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
    fn drain(&mut self, block: &mut Block, mut used: usize) -> usize {
        for interface in &mut self.interfaces {
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
                interface.close();
                let name = &interface.name;
                self.news.push(format!(
                    "{name}: gone ({error}); waiting for it to come back"
                ));
            }
        }
        used
    }

    /// Tries interfaces that have gone.
    fn reopen(&mut self) {
        for interface in &mut self.interfaces {
            if interface.handle.is_some() || interface.waited < RETRY_AFTER {
                continue;
            }
            interface.waited = 0;
            if let Ok((handle, link)) = open(&interface.name, &self.options) {
                interface.handle = Some(handle);
                interface.link = link;
                self.news.push(format!("{}: back", interface.name));
            }
        }
    }
}

impl Interface {
    /// Reads the counters of the handle.
    fn count(&mut self) {
        if let Some(handle) = &mut self.handle
            && let Ok(stat) = handle.stats()
        {
            self.current.received = u64::from(stat.received);
            self.current.dropped_by_kernel = u64::from(stat.dropped);
            self.current.dropped_by_interface = u64::from(stat.if_dropped);
        }
    }

    fn close(&mut self) {
        self.count();
        self.closed.received += self.current.received;
        self.closed.dropped_by_kernel += self.current.dropped_by_kernel;
        self.closed.dropped_by_interface += self.current.dropped_by_interface;
        self.current = LiveStats::default();
        self.handle = None;
        self.waited = 0;
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
