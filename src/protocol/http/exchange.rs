//! Which request a response answers.

use std::collections::VecDeque;

use crate::protocol::http::file::MAX_NAME;

/// What a response must know of its request.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The request's method.
    pub(super) method: Method,
    /// Whether the request asked for another protocol.
    pub(super) upgrade: bool,
    /// What the answer is called if it does not say; empty when nothing does.
    pub(super) name: String,
}

/// The most requests without a response that are remembered: browsers that pipelined
/// kept to 32 and fewer.
const MAX_OPEN: usize = 32;

/// Requests that wait for their responses, which come in the same order (RFC 9112 9.3).
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: VecDeque<Exchange>,
    /// Requests after those in `open` that were not remembered.
    forgotten: u64,
    /// A name's buffer, to be used again.
    spare: String,
}

impl Exchanges {
    /// Adds a request, which `write_name` gives a name; `false` when it is not remembered.
    pub(super) fn push(
        &mut self,
        method: Method,
        upgrade: bool,
        write_name: impl FnOnce(&mut String),
    ) -> bool {
        // behind a forgotten one there is no place: responses would be taken for others'
        if self.forgotten > 0 || self.open.len() >= MAX_OPEN {
            self.forgotten = self.forgotten.saturating_add(1);
            return false;
        }
        let mut name = std::mem::take(&mut self.spare);
        write_name(&mut name);
        self.open.push_back(Exchange {
            method,
            upgrade,
            name,
        });
        true
    }

    /// Bytes of memory that they take.
    pub(super) fn held(&self) -> usize {
        self.open.capacity() * size_of::<Exchange>() + self.open.len() * MAX_NAME
    }

    /// The request that the next response answers; `None` when it is not known.
    pub(super) fn oldest(&self) -> Option<&Exchange> {
        self.open.front()
    }

    /// The next response has come, and whole.
    pub(super) fn pop(&mut self) {
        match self.open.pop_front() {
            Some(exchange) => {
                self.spare = exchange.name;
                self.spare.clear();
            }
            None => self.forgotten = self.forgotten.saturating_sub(1),
        }
    }

    /// Forgets all requests but the last, when responses may have been missed.
    pub(super) fn keep_newest(&mut self) {
        let keep = usize::from(self.forgotten == 0);
        let drop = self.open.len().saturating_sub(keep);
        self.open.drain(..drop);
        self.forgotten = 0;
    }
}

/// The methods of RFC 9110 and RFC 5789.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
    /// Any other.
    Other,
}

impl Method {
    /// The method of that name, which is case-sensitive (RFC 9110 9.1).
    pub(in crate::protocol) fn named(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Its name; `None` for any other.
    pub(in crate::protocol) const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(exchanges: &mut Exchanges, name: &str) -> bool {
        exchanges.push(Method::Get, false, |out| out.push_str(name))
    }

    #[test]
    fn responses_keep_their_place_behind_forgotten_requests() {
        let mut exchanges = Exchanges::default();
        for at in 0..MAX_OPEN + 2 {
            assert_eq!(push(&mut exchanges, &at.to_string()), at < MAX_OPEN);
        }
        for at in 0..MAX_OPEN {
            let name = exchanges.oldest().map(|exchange| exchange.name.clone());
            assert_eq!(name, Some(at.to_string()));
            exchanges.pop();
        }
        exchanges.pop();
        assert!(!push(&mut exchanges, "still behind one"));
        exchanges.pop();
        exchanges.pop();
        assert!(push(&mut exchanges, "known"));
        assert_eq!(exchanges.oldest().map(|e| e.name.as_str()), Some("known"));
    }

    #[test]
    fn after_a_gap_the_last_request_counts() {
        let mut exchanges = Exchanges::default();
        push(&mut exchanges, "a");
        push(&mut exchanges, "b");
        exchanges.keep_newest();
        assert_eq!(exchanges.oldest().map(|e| e.name.as_str()), Some("b"));
    }
}
