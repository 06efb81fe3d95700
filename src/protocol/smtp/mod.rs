//! Mail over SMTP (RFC 5321), and what it holds (RFC 5322, MIME: RFC 2045 to 2049).
//!
//! The dialogue (`dialogue`, `probe`) is followed from the client's commands; of the server only
//! those answers count that decide what the client's next bytes are. So one side alone gives
//! what it can. A mail streams through `body`, line by line (`line`): its header is kept until
//! it is complete (`mail`, `address`, `word`, `charset`), its parts (`part`, `parameter`) are
//! decoded (`transfer`), digested and searched for links (`link`) as they come, and never kept.
//!
//! After a gap in a mail, its content goes on without digests; its end is where a dot says so,
//! or where the next command or the server's answer shows that it was missed.

mod address;
mod body;
mod charset;
mod dialogue;
mod line;
mod link;
mod mail;
mod oddity;
mod parameter;
mod part;
mod probe;
mod transfer;
mod word;

#[cfg(test)]
mod tests;

pub use crate::protocol::smtp::address::Mailbox;
pub use crate::protocol::smtp::body::MAX_DEPTH;
pub use crate::protocol::smtp::body::MAX_HEADER;
pub use crate::protocol::smtp::body::MAX_PARTS;
pub use crate::protocol::smtp::dialogue::SmtpParser;
pub use crate::protocol::smtp::link::MAX_LINK;
pub use crate::protocol::smtp::link::MAX_LINKS;
pub use crate::protocol::smtp::link::MailLinks;
pub use crate::protocol::smtp::mail::Envelope;
pub use crate::protocol::smtp::mail::EnvelopeAddress;
pub use crate::protocol::smtp::mail::MAX_ADDRESSES;
pub use crate::protocol::smtp::mail::MAX_FIELDS;
pub use crate::protocol::smtp::mail::MAX_RECIPIENTS;
pub use crate::protocol::smtp::mail::Mail;
pub use crate::protocol::smtp::mail::Role;
pub use crate::protocol::smtp::mail::decode_value;
