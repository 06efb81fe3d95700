//! Malformed or evasive mail traffic, by name.

use crate::protocol::Anomaly;
use crate::protocol::Message;
use crate::protocol::Sink;

/// A command line beyond what is kept of one.
pub(super) const LONG_COMMAND: Anomaly = Anomaly("smtp.long-command");
/// A dot alone on a line that some servers take for the end of the mail and others do not.
pub(super) const BARE_LF_DOT: Anomaly = Anomaly("smtp.bare-lf-dot");
/// Commands after STARTTLS that did not wait for its answer.
pub(super) const STARTTLS_INJECTION: Anomaly = Anomaly("smtp.starttls-injection");
/// Bytes that were never seen, where commands or mail should have been.
pub(super) const GAP: Anomaly = Anomaly("smtp.gap");
/// A mail that ended with the connection.
pub(super) const MAIL_CUT: Anomaly = Anomaly("smtp.mail-cut");
/// A BDAT command whose size is no number.
pub(super) const CHUNK_SIZE: Anomaly = Anomaly("smtp.chunk-size");
/// A header beyond what is kept of one.
pub(super) const HEADER_CAP: Anomaly = Anomaly("mime.header-cap");
/// More parts in a mail than are looked at.
pub(super) const PART_CAP: Anomaly = Anomaly("mime.part-cap");
/// Parts nested deeper than is followed.
pub(super) const DEPTH_CAP: Anomaly = Anomaly("mime.depth-cap");
/// Content after the padding that ends base64.
pub(super) const AFTER_PADDING: Anomaly = Anomaly("mime.base64-after-padding");

pub(super) fn report(anomaly: Anomaly, sink: &mut Sink<'_>) {
    sink(Message::Anomaly(anomaly));
}
