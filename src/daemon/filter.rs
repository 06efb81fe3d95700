//! Capture filters in the language of libpcap (pcap-filter(7)).

use pcap::BpfProgram;
use pcap::Capture;
use pcap::Linktype;
use std::collections::BTreeMap;

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "filter '{expression}' for link type {link}: {reason}; the language is that of tcpdump, see pcap-filter(7)"
)]
pub struct FilterError {
    expression: String,
    link: u16,
    reason: String,
}

/// A filter expression, compiled for each link type that it meets.
pub struct Filter {
    expression: String,
    programs: BTreeMap<u16, BpfProgram>,
}

impl Filter {
    /// Checks an expression by compiling it for some link type: some ask for what only one has.
    pub fn new(expression: &str) -> Result<Self, FilterError> {
        let mut filter = Self {
            expression: expression.to_owned(),
            programs: BTreeMap::new(),
        };
        let first = filter.program(ETHERNET).map(|_| ());
        if first.is_err() && !OTHER_LINKS.iter().any(|link| filter.program(*link).is_ok()) {
            first?;
        }
        Ok(filter)
    }

    /// Whether a frame passes.
    pub fn passes(&mut self, link: u16, frame: &[u8]) -> Result<bool, FilterError> {
        Ok(self.program(link)?.filter(frame))
    }

    fn program(&mut self, link: u16) -> Result<&BpfProgram, FilterError> {
        // not the entry API, since compiling can fail
        if !self.programs.contains_key(&link) {
            let program = self.compile(link).map_err(|error| FilterError {
                expression: self.expression.escape_debug().to_string(),
                link,
                reason: error.to_string(),
            })?;
            self.programs.insert(link, program);
        }
        Ok(&self.programs[&link])
    }

    fn compile(&self, link: u16) -> Result<BpfProgram, pcap::Error> {
        Capture::dead(Linktype(i32::from(link)))?.compile(&self.expression, true)
    }
}

const ETHERNET: u16 = 1;

/// 802.11, with radiotap before it, PPP, Linux cooked, NFLOG: link types with terms of their own.
const OTHER_LINKS: [u16; 5] = [105, 127, 9, 113, 239];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_what_the_expression_says() {
        let mut filter = Filter::new("arp").expect("it is an expression");
        let mut frame = [0_u8; 60];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert!(filter.passes(1, &frame).expect("it compiles"));
        frame[13] = 0;
        assert!(!filter.passes(1, &frame).expect("it compiles"));
    }

    #[test]
    fn a_broken_expression_is_told() {
        assert!(Filter::new("wlan type data").is_ok());
        let error = Filter::new("port port").err().expect("it is broken");
        assert!(error.to_string().contains("port port"), "{error}");
    }
}
