//! The open files of one connection, and the requests that wait for their answers.

use crate::flow::Direction;
use crate::protocol::Sink;
use crate::protocol::Wants;
use crate::protocol::digest::Digester;
use crate::protocol::smb::transfer::Repeats;
use crate::protocol::smb::transfer::Transfer;
use crate::protocol::smb::wire::Command;
use crate::protocol::smb::wire::FileId;
use crate::protocol::smb::wire::Header;
use crate::protocol::smb::wire::Opened;
use crate::protocol::smb::wire::SAME_FILE;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;

/// Files that one connection may have open: programs have dozens; of more, the oldest is given
/// up.
const MAX_OPENS: usize = 256;

/// Requests that may wait for their answers: servers grant 512 credits as a rule (MS-SMB2
/// section 3.3.1.2); of more, the oldest is forgotten.
const MAX_PENDING: usize = 512;

/// What an open file takes, in bytes: itself, its digests of both ways, and its name.
const OPEN_MEMORY: usize = size_of::<Open>() + 2 * size_of::<Digester>() + 256;

/// Shares of pipes that are remembered: there is one a server, IPC$.
const MAX_PIPE_TREES: usize = 8;

/// Open files and outstanding requests.
#[derive(Debug, Default)]
pub(super) struct Opens {
    /// By a number of our own, oldest first.
    opens: BTreeMap<u64, Open>,
    numbers: HashMap<FileId, u64>,
    latest: u64,
    /// By number of message.
    pending: BTreeMap<u64, Pending>,
    /// Trees that carry remote procedure calls, not files.
    pipe_trees: VecDeque<u32>,
    /// The file of the request before in the same compound.
    chain: Option<u64>,
    /// Bytes that all files hold back.
    held: usize,
}

#[derive(Debug)]
struct Open {
    /// `None`: the server has not answered yet.
    file: Option<FileId>,
    /// Whether it was met before the answer to its opening, which may not come.
    is_early: bool,
    name: Option<String>,
    /// Length of the file; `None`: nobody said.
    end: Option<u64>,
    reads: Transfer,
    writes: Transfer,
}

#[derive(Clone, Copy, Debug)]
enum Pending {
    Open(u64),
    Read { open: u64, offset: u64, length: u64 },
    Close(u64),
}

/// Content that is about to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    open: u64,
    written: bool,
    offset: u64,
    /// Where in the message it begins.
    pub(super) at: usize,
    /// Bytes.
    pub(super) length: u64,
}

impl Opens {
    /// Bytes of memory that files and requests take.
    pub(super) fn memory(&self) -> usize {
        self.held
            + self.opens.len() * OPEN_MEMORY
            + self.numbers.capacity() * size_of::<(FileId, u64)>()
            + self.pending.len() * size_of::<(u64, Pending)>()
    }

    /// What follows is the first request of a compound.
    pub(super) const fn begin_compound(&mut self) {
        self.chain = None;
    }

    /// Takes a message; returns the content that it carries.
    pub(super) fn handle(
        &mut self,
        header: &Header,
        command: Command,
        sink: &mut Sink<'_>,
    ) -> Option<Content> {
        match command {
            Command::Tree { pipes } => self.note_tree(header.tree, pipes),
            Command::Open { name } => {
                self.chain = None;
                if !self.pipe_trees.contains(&header.tree) {
                    let open = self.insert(Open::new(None, name), sink);
                    self.chain = Some(open);
                    self.wait(header.message, Pending::Open(open));
                }
            }
            Command::Opened(opened) => {
                if let Some(Pending::Open(open)) = self.pending.remove(&header.message) {
                    self.settle_open(open, opened, sink);
                }
            }
            Command::Read {
                file,
                offset,
                length,
            } => {
                let open = self.find(header, file, sink)?;
                self.wait(
                    header.message,
                    Pending::Read {
                        open,
                        offset,
                        length,
                    },
                );
            }
            Command::Content { at, length } => {
                let pending = self.pending.remove(&header.message)?;
                let Pending::Read {
                    open,
                    offset,
                    length: asked,
                } = pending
                else {
                    return None;
                };
                let file = self.opens.get_mut(&open)?;
                if file.end.is_none() && length < asked {
                    // MS-SMB2 section 3.3.5.12: fewer bytes come where the file ends
                    file.end = offset.checked_add(length);
                }
                return Some(Content {
                    open,
                    written: false,
                    offset,
                    at,
                    length,
                });
            }
            Command::PastEnd => {
                let pending = self.pending.remove(&header.message)?;
                let Pending::Read { open, offset, .. } = pending else {
                    return None;
                };
                let file = self.opens.get_mut(&open)?;
                if file.end.is_none() && file.reads.is_whole(offset) {
                    file.end = Some(offset);
                    self.finish_reading(open, sink);
                }
            }
            Command::ReadFailed => {
                self.pending.remove(&header.message);
            }
            Command::Write {
                file,
                offset,
                at,
                length,
            } => {
                let open = self.find(header, file, sink)?;
                return Some(Content {
                    open,
                    written: true,
                    offset,
                    at,
                    length,
                });
            }
            Command::Resize { file, end } => {
                let open = self.find(header, file, sink)?;
                self.opens.get_mut(&open)?.end = Some(end);
            }
            Command::Close { file } => {
                if let Some(open) = self.known(file) {
                    self.wait(header.message, Pending::Close(open));
                }
            }
            Command::Closed => {
                if let Some(Pending::Close(open)) = self.pending.remove(&header.message) {
                    self.close(open, sink);
                }
            }
        }
        None
    }

    /// The next bytes of some content.
    pub(super) fn take(
        &mut self,
        content: &mut Content,
        direction: Direction,
        bytes: &[u8],
        wants: &Wants,
        sink: &mut Sink<'_>,
    ) {
        let offset = content.offset;
        content.offset = offset.saturating_add(bytes.len() as u64);
        content.length = content.length.saturating_sub(bytes.len() as u64);
        let Some(file) = self.opens.get_mut(&content.open) else {
            return;
        };
        if content.written {
            file.writes
                .take(direction, offset, bytes, wants, &mut self.held);
        } else {
            file.reads
                .take(direction, offset, bytes, wants, &mut self.held);
            // more may come of this content than the file was said to have
            if content.length == 0 {
                self.finish_reading(content.open, sink);
            }
        }
    }

    /// Content did not come as announced.
    pub(super) fn give_up(&mut self, content: &Content) {
        if let Some(file) = self.opens.get_mut(&content.open) {
            let transfer = if content.written {
                &mut file.writes
            } else {
                &mut file.reads
            };
            transfer.give_up(&mut self.held);
        }
    }

    /// Hands on what is open: the connection has ended.
    pub(super) fn finish(&mut self, sink: &mut Sink<'_>) {
        while let Some((_, file)) = self.opens.pop_first() {
            self.hand_on(file, sink);
        }
        self.pending.clear();
    }

    /// A file that is read to its end is handed on at once.
    fn finish_reading(&mut self, open: u64, sink: &mut Sink<'_>) {
        if let Some(file) = self.opens.get_mut(&open)
            && let Some(end) = file.end
            && file.reads.is_whole(end)
        {
            file.reads
                .finish(file.name.as_deref(), file.end, &mut self.held, sink);
        }
    }

    fn note_tree(&mut self, tree: u32, pipes: bool) {
        self.pipe_trees.retain(|known| *known != tree);
        if pipes {
            self.pipe_trees.truncate(MAX_PIPE_TREES - 1);
            self.pipe_trees.push_front(tree);
        }
    }

    fn wait(&mut self, message: u64, pending: Pending) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.pop_first();
        }
        self.pending.insert(message, pending);
    }

    fn known(&self, file: FileId) -> Option<u64> {
        if file == SAME_FILE {
            self.chain
        } else {
            self.numbers.get(&file).copied()
        }
    }

    /// The open file that a request is about. One whose opening was not seen is taken in.
    fn find(&mut self, header: &Header, file: FileId, sink: &mut Sink<'_>) -> Option<u64> {
        let known = self.known(file);
        let unknown = known.is_none() && file != SAME_FILE;
        if unknown && !self.pipe_trees.contains(&header.tree) {
            self.chain = Some(self.insert(Open::new(Some(file), None), sink));
            return self.chain;
        }
        self.chain = known;
        known
    }

    fn insert(&mut self, open: Open, sink: &mut Sink<'_>) -> u64 {
        if self.opens.len() >= MAX_OPENS
            && let Some((_, oldest)) = self.opens.pop_first()
        {
            self.hand_on(oldest, sink);
        }
        self.latest += 1;
        if let Some(file) = open.file {
            self.numbers.insert(file, self.latest);
        }
        self.opens.insert(self.latest, open);
        self.latest
    }

    /// The server has answered a request to open a file.
    fn settle_open(&mut self, open: u64, opened: Option<Opened>, sink: &mut Sink<'_>) {
        let Some(Opened { file, end }) = opened else {
            self.forget(open);
            return;
        };
        if let Some(former) = self.numbers.get(&file).copied() {
            if self
                .opens
                .get(&former)
                .is_some_and(|former| former.is_early)
            {
                // this answer is late: requests about the file were seen before it
                let name = self.forget(open).and_then(|opened| opened.name);
                if let Some(known) = self.opens.get_mut(&former) {
                    known.is_early = false;
                    known.name = name;
                    known.end = Some(known.end.unwrap_or(0).max(end));
                }
                return;
            }
            // its closing was not seen
            self.close(former, sink);
        }
        if let Some(known) = self.opens.get_mut(&open) {
            known.file = Some(file);
            // a compound may have written or resized it before
            known.end = Some(known.end.unwrap_or(0).max(end));
            self.numbers.insert(file, open);
        }
    }

    /// Takes an open file out without handing it on.
    fn forget(&mut self, open: u64) -> Option<Open> {
        let mut file = self.opens.remove(&open)?;
        file.reads.give_up(&mut self.held);
        file.writes.give_up(&mut self.held);
        Some(file)
    }

    fn close(&mut self, open: u64, sink: &mut Sink<'_>) {
        if let Some(file) = self.opens.remove(&open) {
            self.hand_on(file, sink);
        }
    }

    fn hand_on(&mut self, mut file: Open, sink: &mut Sink<'_>) {
        if let Some(id) = file.file {
            self.numbers.remove(&id);
        }
        let name = file.name.as_deref();
        if file.end.is_none() {
            // how much there was to read is not known
            file.reads.give_up(&mut self.held);
        }
        // writing may have made the file longer
        let end = file.end.map(|end| end.max(file.writes.reach()));
        file.reads.finish(name, end, &mut self.held, sink);
        file.writes.finish(name, end, &mut self.held, sink);
    }
}

impl Open {
    const fn new(file: Option<FileId>, name: Option<String>) -> Self {
        Self {
            file,
            is_early: file.is_some(),
            name,
            end: None,
            reads: Transfer::new(Repeats::AreTheSame),
            writes: Transfer::new(Repeats::Replace),
        }
    }
}

#[cfg(test)]
impl Opens {
    /// Whether every limit holds, and what is held back is what is counted.
    pub(super) fn is_bounded(&self) -> bool {
        let held: usize = self
            .opens
            .values()
            .map(|open| open.reads.held() + open.writes.held())
            .sum();
        held == self.held
            && held <= super::transfer::MAX_HELD
            && self.opens.len() <= MAX_OPENS
            && self.numbers.len() <= MAX_OPENS
            && self.pending.len() <= MAX_PENDING
            && self.pipe_trees.len() <= MAX_PIPE_TREES
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }
}
