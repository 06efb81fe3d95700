//! Laws of rules, for files of any kind.

use crate::observable::ObservableType;
use crate::verdict::Rules;

/// Values to ask allowlists for.
const ASKED: [(ObservableType, &str); 9] = [
    (ObservableType::Ipv4Addr, "192.0.2.1"),
    (ObservableType::Ipv4Addr, "10.0.0.0/8"),
    (ObservableType::Ipv6Addr, "2001:db8::1"),
    (ObservableType::DomainName, "a.example"),
    (ObservableType::DomainName, "www.a.example"),
    (ObservableType::Url, "http://www.a.example/b?c"),
    (ObservableType::File, "d41d8cd98f00b204e9800998ecf8427e"),
    (ObservableType::EmailAddr, "a@a.example"),
    (ObservableType::NetworkTraffic, "curl/8"),
];

/// Law: whatever a file is named, it is read or refused, with words for people; read twice it
/// covers the same, and so does a list with the line ends of another system, or in reverse.
pub(crate) fn read(input: &[u8], seen: &mut dyn FnMut(&str)) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    for name in ["x", "x.toml", "x.json", "x.txt"] {
        let rules = Rules::from_files(vec![(name.to_owned(), text.to_owned())]);
        match &rules {
            Ok(rules) => {
                seen(&format!("{name} {:?}", rules.matching));
                for warning in rules.warnings() {
                    seen(warning);
                }
            }
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !error.contains(char::is_control) || error.contains('\n'),
                    "{error:?}"
                );
                seen(&error);
            }
        }
        let Some(covered) = rules.ok().map(|rules| covered(&rules)) else {
            continue;
        };
        seen(&format!("{covered:?}"));
        if name == "x.txt" && !text.contains('\r') {
            let mut lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
            lines.reverse();
            for text in [text.replace('\n', "\r\n"), lines.join("\n")] {
                let other = Rules::from_files(vec![(name.to_owned(), text)]).unwrap();
                assert_eq!(self::covered(&other), covered);
            }
        }
    }
}

/// Which of the values are covered.
fn covered(rules: &Rules) -> Vec<bool> {
    ASKED
        .iter()
        .map(|(kind, value)| rules.allows(*kind, value).is_some())
        .collect()
}
