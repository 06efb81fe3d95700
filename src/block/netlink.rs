//! Netlink: messages written and read, and a socket that speaks them.
//!
//! Layout: `linux/netlink.h`, RFC 3549 section 2. Headers and lengths are in the byte order of
//! the host; what nf_tables puts into attributes is in that of the network.

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use rustix::net::netlink;
use rustix::net::sockopt;
use std::io;
use std::time::Duration;

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Bit of an attribute's type: it holds attributes.
const NESTED: u16 = 1 << 15;

/// Bit of an attribute's type: its value is in network byte order.
const NET_ORDER: u16 = 1 << 14;

/// Types of messages that netlink itself uses.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Flags of messages.
pub(super) const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
pub(super) const DUMP: u16 = 0x300;
pub(super) const CREATE: u16 = 0x400;
/// An answer: a dump may be inconsistent, since things changed meanwhile.
const DUMP_INTERRUPTED: u16 = 0x10;

/// Bytes of one answer: an error repeats the message that it is about (no attribute of ours, so no
/// message, reaches 64 KiB); dumps come in pieces of at most 32 KiB (`NETLINK_GOODSIZE` and
/// `max_recvmsg_len` in net/netlink/af_netlink.c).
const RECEIVE: usize = 128 << 10;

/// Bytes of an answer about one table or element, or of an error with the question repeated:
/// some hundreds.
const ONE_ANSWER: usize = 8 << 10;

/// Bytes of a dump: an element takes about 200, and 2 million may be held.
const MAX_DUMP: usize = 1 << 30;

/// How long the kernel may take to answer: a commit of a million elements took three seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a batch, which the kernel takes in one piece: what the largest transaction has.
const SEND_BUFFER: usize = 256 << 20;

/// Bytes of answers that may wait to be read: one for each message of a batch that failed.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Messages being written one after the other.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    /// Where the message in hand begins.
    message: usize,
    /// Number of the message in hand; the first is 1.
    sequence: u32,
}

/// An attribute that is still being written: where it begins.
#[must_use]
pub(super) struct Open(usize);

impl Messages {
    /// Begins a message with its fixed part. Returns its sequence number.
    pub(super) fn begin(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> u32 {
        self.message = self.bytes.len();
        self.sequence += 1;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        // the kernel is port 0
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        self.pad();
        self.sequence
    }

    /// Ends the message in hand.
    pub(super) fn end(&mut self) {
        let length = (self.bytes.len() - self.message) as u32;
        self.bytes[self.message..self.message + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Makes the message in hand ask for an acknowledgement.
    pub(super) fn ask_acknowledgement(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.message + 6..self.message + 8) {
            let now = u16::from_ne_bytes([flags[0], flags[1]]);
            flags.copy_from_slice(&(now | ACK).to_ne_bytes());
        }
    }

    /// Writes an attribute.
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        let open = self.header(kind);
        self.bytes.extend_from_slice(value);
        self.close(open);
    }

    /// Writes a number, in network byte order.
    pub(super) fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Writes a number, in network byte order.
    pub(super) fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Writes a text with the zero that ends it.
    pub(super) fn put_text(&mut self, kind: u16, value: &str) {
        let open = self.header(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(open);
    }

    /// Writes a value within an attribute of its own, as nf_tables takes keys
    /// (`NFTA_DATA_VALUE`).
    pub(super) fn put_data(&mut self, kind: u16, value: &[u8]) {
        let open = self.open(kind);
        self.put(1, value);
        self.close(open);
    }

    /// Begins an attribute that holds attributes.
    pub(super) fn open(&mut self, kind: u16) -> Open {
        self.header(kind | NESTED)
    }

    /// Ends it.
    pub(super) fn close(&mut self, open: Open) {
        // callers keep what they put into one attribute below 64 KiB
        let length = (self.bytes.len() - open.0) as u16;
        self.bytes[open.0..open.0 + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    /// Appends what was written elsewhere.
    #[cfg(test)]
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// What was written.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn header(&mut self, kind: u16) -> Open {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        Open(at)
    }

    /// All parts begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message that was received.
#[derive(Clone, Copy)]
pub(super) struct Message<'b> {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// What follows the header.
    body: &'b [u8],
}

/// The messages in what was received, in order; what is cut short ends them.
struct Received<'b>(&'b [u8]);

impl<'b> Iterator for Received<'b> {
    type Item = Message<'b>;

    fn next(&mut self) -> Option<Message<'b>> {
        let length = u32::from_ne_bytes(fixed(self.0, 0)?) as usize;
        let body = self.0.get(HEADER..length)?;
        let message = Message {
            kind: u16::from_ne_bytes(fixed(self.0, 4)?),
            flags: u16::from_ne_bytes(fixed(self.0, 6)?),
            sequence: u32::from_ne_bytes(fixed(self.0, 8)?),
            body,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// The attributes of a message or of an attribute: type and value. What is cut short ends them.
#[derive(Clone, Copy)]
pub(super) struct Attributes<'b>(pub(super) &'b [u8]);

impl<'b> Iterator for Attributes<'b> {
    type Item = (u16, &'b [u8]);

    fn next(&mut self) -> Option<(u16, &'b [u8])> {
        let length = usize::from(u16::from_ne_bytes(fixed(self.0, 0)?));
        let kind = u16::from_ne_bytes(fixed(self.0, 2)?) & !(NESTED | NET_ORDER);
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'b> Attributes<'b> {
    /// The value of the first attribute of a type.
    pub(super) fn value(mut self, kind: u16) -> Option<&'b [u8]> {
        self.find(|(found, _)| *found == kind)
            .map(|(_, value)| value)
    }

    /// The attributes within the first attribute of a type.
    pub(super) fn within(self, kind: u16) -> Option<Self> {
        self.value(kind).map(Self)
    }

    /// A number in network byte order.
    pub(super) fn number_u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(fixed(self.value(kind)?, 0)?))
    }

    /// A number in network byte order.
    pub(super) fn number_u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(fixed(self.value(kind)?, 0)?))
    }

    /// A text, up to the zero that ends it.
    pub(super) fn text(self, kind: u16) -> Option<&'b str> {
        let value = self.value(kind)?;
        let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
        std::str::from_utf8(value.get(..end)?).ok()
    }
}

/// A few bytes from a place.
pub(super) fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// An error that the kernel gave, and the sequence number of the message that it is about.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) sequence: u32,
    pub(super) error: io::Error,
}

/// A netlink socket.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// Opens one to nf_tables.
    pub(super) fn netfilter() -> io::Result<Self> {
        Self::open(Some(netlink::NETFILTER))
    }

    /// Opens one to addresses and routes.
    pub(super) fn route() -> io::Result<Self> {
        Self::open(None)
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        rustix::net::bind(&socket, &netlink::SocketAddrNetlink::new(0, 0))?;
        // without the right to force these, small transactions still work
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER);
        let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    /// Sends messages of which the one numbered `last` asks for an acknowledgement, and waits
    /// for it. The error is that of the first message that was refused.
    pub(super) fn exchange(&self, messages: &Messages, last: u32) -> Result<(), Refused> {
        let local = |error: io::Error| Refused { sequence: 0, error };
        self.discard();
        self.send(messages.bytes()).map_err(local)?;
        let mut buffer = vec![0; RECEIVE];
        loop {
            let length = self.receive(&mut buffer).map_err(local)?;
            for message in Received(buffer.get(..length).unwrap_or_default()) {
                if message.kind != NLMSG_ERROR {
                    continue;
                }
                if let Some(error) = error_of(message.body) {
                    // what else was refused waits to be discarded
                    return Err(Refused {
                        sequence: message.sequence,
                        error,
                    });
                }
                if message.sequence == last {
                    return Ok(());
                }
            }
        }
    }

    /// Asks for a dump and hands each message's body to `each`. Returns whether all of it is of
    /// one moment.
    pub(super) fn dump(&self, request: &Messages, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        self.discard();
        self.send(request.bytes())?;
        let mut buffer = vec![0; RECEIVE];
        let mut total = 0_usize;
        let mut consistent = true;
        loop {
            let length = self.receive(&mut buffer)?;
            total = total.saturating_add(length);
            if total > MAX_DUMP {
                return Err(io::Error::other("the answer is longer than 1 GiB"));
            }
            for message in Received(buffer.get(..length).unwrap_or_default()) {
                consistent &= message.flags & DUMP_INTERRUPTED == 0;
                match message.kind {
                    NLMSG_DONE => {
                        return match error_of(message.body) {
                            Some(error) => Err(error),
                            None => Ok(consistent),
                        };
                    }
                    NLMSG_ERROR => match error_of(message.body) {
                        Some(error) => return Err(error),
                        None => return Ok(consistent),
                    },
                    _ => each(message.body),
                }
            }
        }
    }

    /// Asks for one answer, and returns its body.
    pub(super) fn ask(&self, request: &Messages) -> io::Result<Vec<u8>> {
        self.discard();
        self.send(request.bytes())?;
        let mut buffer = [0; ONE_ANSWER];
        let length = self.receive(&mut buffer)?;
        let message = Received(buffer.get(..length).unwrap_or_default())
            .next()
            .ok_or_else(|| io::Error::other("an answer is cut short"))?;
        match message.kind {
            NLMSG_ERROR => {
                Err(error_of(message.body).unwrap_or_else(|| io::Error::other("an empty answer")))
            }
            _ => Ok(message.body.to_vec()),
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = loop {
            match rustix::net::send(&self.0, bytes, SendFlags::empty()) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::Error::other("a message was not taken whole"))
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::net::recv(&self.0, &mut *buffer, RecvFlags::TRUNC) {
                // answers that found no room come after the one that is looked for: the first
                Err(Errno::INTR | Errno::NOBUFS) => {}
                // the kernel answers while it takes the request, but for dumps; so it is stuck
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Ok((_, length)) if length > buffer.len() => {
                    return Err(io::Error::other("an answer is larger than any is made"));
                }
                Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, length)) => return Ok(length),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Throws away what earlier requests left behind.
    fn discard(&self) {
        let mut buffer = [0; 64];
        // until nothing is left; anything else that is wrong, the next call tells
        while rustix::net::recv(&self.0, &mut buffer, RecvFlags::DONTWAIT).is_ok() {}
    }
}

/// The error in the body of an error message; `None`: an acknowledgement.
fn error_of(body: &[u8]) -> Option<io::Error> {
    match fixed(body, 0).map(i32::from_ne_bytes) {
        Some(0) => None,
        Some(code) => Some(io::Error::from_raw_os_error(code.saturating_neg())),
        None => Some(io::Error::other("an error is cut short")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut messages = Messages::default();
        assert_eq!(messages.begin(7, REQUEST, &[1, 2, 3, 4]), 1);
        messages.put_text(1, "abc");
        let open = messages.open(2);
        messages.put_u32(1, 5);
        messages.put_u64(2, 6);
        messages.put(3, &[9]);
        messages.close(open);
        messages.end();
        assert_eq!(messages.begin(8, 0, &[]), 2);
        messages.end();
        assert_eq!(messages.bytes().len() % 4, 0);

        let read: Vec<Message<'_>> = Received(messages.bytes()).collect();
        let [first, second] = read[..] else {
            panic!("{} messages", read.len());
        };
        assert_eq!((first.kind, first.sequence, first.flags), (7, 1, REQUEST));
        assert_eq!((second.kind, second.sequence), (8, 2));
        assert!(second.body.is_empty());
        let attributes = Attributes(&first.body[4..]);
        assert_eq!(attributes.text(1), Some("abc"));
        let within = attributes.within(2).unwrap();
        assert_eq!(within.number_u32(1), Some(5));
        assert_eq!(within.number_u64(2), Some(6));
        assert_eq!(within.value(3), Some(&[9][..]));
        assert_eq!(within.value(4), None);
        assert_eq!(within.number_u64(1), None);
    }

    #[test]
    fn what_is_cut_short_or_broken_ends_the_reading() {
        let mut messages = Messages::default();
        messages.begin(7, 0, &[0; 4]);
        messages.put_text(1, "abc");
        messages.put_u32(2, 5);
        messages.end();
        let whole = messages.bytes();
        for length in 0..whole.len() {
            assert_eq!(Received(&whole[..length]).count(), 0, "{length}");
            let body = whole[..length].get(HEADER + 4..).unwrap_or_default();
            assert!(Attributes(body).count() < 2, "{length}");
        }
        // lengths that are less than their own headers, or none
        for length in 0..HEADER as u8 {
            let mut broken = whole.to_vec();
            broken[0] = length;
            assert_eq!(Received(&broken).count(), 0);
        }
        for length in 0..4 {
            assert_eq!(Attributes(&[length, 0, 1, 0, 1, 2, 3, 4]).count(), 0);
        }
    }
}
