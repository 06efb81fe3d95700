//! Hosts files: an address of the own host, then the names that are to lead nowhere.

use super::error::LoadError;
use super::lines::LineReader;
use super::lines::Output;
use super::list::text_without_comment;
use super::tally::quote;
use super::value::HostBits;
use super::value::Value;
use std::net::IpAddr;

/// Names that every such file gives the own host and its networks: they say nothing.
const BOILERPLATE: [&str; 10] = [
    "0.0.0.0",
    "broadcasthost",
    "ip6-allhosts",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-localhost",
    "ip6-localnet",
    "ip6-loopback",
    "ip6-mcastprefix",
    "local",
];

/// A hosts file being read.
#[derive(Debug, Default)]
pub(super) struct Hosts;

/// The names of a line that leads them nowhere; `None`: it is no such line.
pub(super) fn names_of(line: &str) -> Option<impl Iterator<Item = &str>> {
    let mut words = text_without_comment(line).split_ascii_whitespace();
    let address: IpAddr = words.next()?.parse().ok()?;
    let mut names = words.peekable();
    names.peek()?;
    (address.is_unspecified() || address.is_loopback()).then_some(names)
}

impl LineReader for Hosts {
    fn line(&mut self, number: u64, line: &str, output: &mut Output<'_>) {
        let text = text_without_comment(line);
        if text.is_empty() {
            return;
        }
        let Some(names) = names_of(text) else {
            let mut names = text.split_ascii_whitespace().skip(1).peekable();
            // ff02::1 ip6-allnodes and the like
            if names.peek().is_none() || !names.all(is_boilerplate) {
                let shown = quote(text);
                let reason = format!("{shown} is not 0.0.0.0 or 127.0.0.1 and a name behind it");
                output.refuse(number, reason);
            }
            return;
        };
        for name in names.filter(|name| !is_boilerplate(name)) {
            match Value::parse(name) {
                Ok((value @ Value::Name { .. }, _)) => {
                    output.value(number, &value, HostBits(false), None);
                }
                Ok(_) => output.refuse(number, format!("{} is no domain name", quote(name))),
                Err(no_value) => output.refuse(number, no_value.reason),
            }
        }
    }

    fn finish(&mut self, _: &str, _: &mut Output<'_>) -> Result<(), LoadError> {
        Ok(())
    }
}

fn is_boilerplate(name: &str) -> bool {
    name.starts_with("localhost") || BOILERPLATE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_lead_nowhere() {
        for (line, names) in [
            ("0.0.0.0 a.example", Some(vec!["a.example"])),
            (
                "127.0.0.1\ta.example b.example # c",
                Some(vec!["a.example", "b.example"]),
            ),
            ("::1 localhost", Some(vec!["localhost"])),
            (":: a.example", Some(vec!["a.example"])),
            ("192.0.2.1 a.example", None),
            ("0.0.0.0", None),
            ("127.0.0.1 # a.example", None),
            ("a.example", None),
            ("", None),
        ] {
            assert_eq!(
                names_of(line).map(Iterator::collect::<Vec<_>>),
                names,
                "{line}"
            );
        }
    }
}
