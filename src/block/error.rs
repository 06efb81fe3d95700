//! Why the firewall could not be changed or read.

use crate::block::plan::Key;
use std::io;

/// Why the firewall could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The process may not change the firewall.
    #[error("the firewall cannot be changed: run as root or with CAP_NET_ADMIN")]
    NotPermitted,
    /// The kernel has no nf_tables, or not what our rules need of it.
    #[error(
        "{what}: the kernel lacks it: nftables with the inet family, sets and reject is needed \
         (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET)"
    )]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// The kernel refused one element.
    #[error("{key}: the kernel refused this element: {error}")]
    Element {
        /// The first that was refused; none of its transaction is held.
        key: Key,
        /// What the kernel answered.
        error: io::Error,
    },
    /// More elements than one backend holds.
    #[error("{wanted} elements are to be blocked: at most {most} can be held; share fewer")]
    TooMany {
        /// How many were asked for.
        wanted: usize,
        /// How many can be held.
        most: usize,
    },
    /// Somebody else changed the firewall again and again while we tried.
    #[error("others kept changing the firewall meanwhile: try again")]
    Contended,
    /// Anything else.
    #[error("{doing}: {error}")]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// What the system answered.
        error: io::Error,
    },
}
