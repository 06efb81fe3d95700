//! Types of observables, as a user names them.

use crate::observable::ObservableType;
use clap::ValueEnum;

/// A type, by its STIX name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum KindName {
    Ipv4Addr,
    Ipv6Addr,
    DomainName,
    Url,
    EmailAddr,
    /// The subject of a mail, and what else is in its header
    EmailMessage,
    /// Digests and names
    File,
    X509Certificate,
    /// Fingerprints (JA3, JA3S, JA4, HASSH), user agents, ends of flows
    NetworkTraffic,
}

impl KindName {
    pub(super) const fn observable(self) -> ObservableType {
        match self {
            Self::Ipv4Addr => ObservableType::Ipv4Addr,
            Self::Ipv6Addr => ObservableType::Ipv6Addr,
            Self::DomainName => ObservableType::DomainName,
            Self::Url => ObservableType::Url,
            Self::EmailAddr => ObservableType::EmailAddr,
            Self::EmailMessage => ObservableType::EmailMessage,
            Self::File => ObservableType::File,
            Self::X509Certificate => ObservableType::X509Certificate,
            Self::NetworkTraffic => ObservableType::NetworkTraffic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_named_as_stix_names_them() {
        for name in KindName::value_variants() {
            let written = name.to_possible_value().unwrap();
            assert_eq!(written.get_name(), name.observable().as_str());
        }
    }
}
