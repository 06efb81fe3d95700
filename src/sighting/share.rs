//! Who may be told of a sighting.

use crate::indicator::Details;
use crate::indicator::Tlp;
use std::fmt;

/// An exchange that sightings could go to.
#[derive(Clone, Debug, Default)]
pub struct Destination {
    /// Its name, as in [`Details::source`] of the indicators that came from it.
    pub name: String,
    /// Whether it takes sightings at all.
    pub takes_sightings: bool,
    /// Markings of indicators whose sightings may go there; `None` among them: unmarked ones.
    pub markings: Vec<Option<Tlp>>,
    /// Exchanges whose indicators' sightings go there as well, each with the markings that its own
    /// policy allows.
    pub also_from: Vec<(String, Vec<Option<Tlp>>)>,
}

/// Why a sighting does not go to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The indicator came from another exchange, and policy does not send its sightings here.
    OtherSource,
    /// The exchange is given no place for sightings.
    NoSightings,
    /// An allowlist covers what matched.
    Allowlisted,
    /// The policy of the exchange does not name this marking.
    Marking(Option<Tlp>),
    /// The marking keeps it between the source and us.
    SourceAlone(Option<Tlp>),
    /// So does its PAP label.
    Pap,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = |marking: &Option<Tlp>| marking.map_or("unmarked", Tlp::as_str);
        match self {
            Self::OtherSource => f.write_str("the indicator is not from this exchange"),
            Self::NoSightings => {
                f.write_str("it is given no place for sightings (key `sightings`)")
            }
            Self::Allowlisted => f.write_str("an allowlist covers what matched"),
            Self::Marking(marking) => {
                write!(
                    f,
                    "{} is not among the markings of key `share`",
                    level(marking)
                )
            }
            Self::SourceAlone(marking) => {
                write!(f, "{} goes back to its source alone", level(marking))
            }
            Self::Pap => f.write_str("its PAP label lets it go back to its source alone"),
        }
    }
}

/// Whether the sighting of an indicator may go to an exchange.
///
/// To the exchange that gave the indicator, if that takes sightings and its policy names the
/// marking. To another only if policy says so and the marking lets the community know: TLP 2.0
/// keeps AMBER within an organisation and its clients, and RED between those who exchanged it;
/// PAP:AMBER and PAP:RED likewise.
///
/// # Errors
/// Why it may not.
pub fn may_go(details: &Details, allowlisted: bool, to: &Destination) -> Result<(), Held> {
    let is_source = details.source == to.name;
    let also = to
        .also_from
        .iter()
        .find(|(name, _)| *name == details.source);
    if !is_source && also.is_none() {
        return Err(Held::OtherSource);
    }
    if !to.takes_sightings {
        return Err(Held::NoSightings);
    }
    if allowlisted {
        return Err(Held::Allowlisted);
    }
    if !is_source {
        if !matches!(details.tlp, Some(Tlp::Clear | Tlp::Green)) {
            return Err(Held::SourceAlone(details.tlp));
        }
        if details.labels.iter().any(|label| is_strict_pap(label)) {
            return Err(Held::Pap);
        }
    }
    let source_allows = also.is_none_or(|(_, markings)| markings.contains(&details.tlp));
    if !to.markings.contains(&details.tlp) || !source_allows {
        return Err(Held::Marking(details.tlp));
    }
    Ok(())
}

/// PAP:AMBER and PAP:RED, as the taxonomy of MISP writes them.
fn is_strict_pap(label: &str) -> bool {
    let lower = label.trim().to_ascii_lowercase();
    let level = ["pap:", "misp:pap="]
        .iter()
        .find_map(|prefix| lower.strip_prefix(prefix));
    let level = level.unwrap_or_default().trim().trim_matches('"');
    matches!(level, "amber" | "red")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_know() {
        let all = [
            None,
            Some(Tlp::Clear),
            Some(Tlp::Green),
            Some(Tlp::Amber),
            Some(Tlp::AmberStrict),
            Some(Tlp::Red),
        ];
        let to = |name: &str, markings: &[Option<Tlp>], also_from: &[&str]| Destination {
            name: name.into(),
            takes_sightings: true,
            markings: markings.to_vec(),
            also_from: also_from
                .iter()
                .map(|name| (name.to_string(), all.to_vec()))
                .collect(),
        };
        let of = |tlp, labels: &[&str]| Details {
            source: "ec3".into(),
            tlp,
            labels: labels.iter().map(ToString::to_string).collect(),
            ..Details::default()
        };
        for tlp in all {
            let source = to("ec3", &all, &[]);
            assert_eq!(may_go(&of(tlp, &["PAP:RED"]), false, &source), Ok(()));
            let held = Err(Held::Allowlisted);
            assert_eq!(may_go(&of(tlp, &[]), true, &source), held);
            let none = to("ec3", &[], &[]);
            let held = Err(Held::Marking(tlp));
            assert_eq!(may_go(&of(tlp, &[]), false, &none), held);
            let closed = Destination {
                takes_sightings: false,
                ..source
            };
            let held = Err(Held::NoSightings);
            assert_eq!(may_go(&of(tlp, &[]), false, &closed), held);
            let other = to("cert", &all, &[]);
            let held = Err(Held::OtherSource);
            assert_eq!(may_go(&of(tlp, &[]), false, &other), held);
            let named = to("cert", &all, &["ec3"]);
            let open = matches!(tlp, Some(Tlp::Clear | Tlp::Green));
            let expected = if open {
                Ok(())
            } else {
                Err(Held::SourceAlone(tlp))
            };
            assert_eq!(may_go(&of(tlp, &["pap:green"]), false, &named), expected);
            for pap in ["PAP:AMBER", "PAP: RED ", "misp:pap=\"RED\""] {
                assert!(may_go(&of(tlp, &[pap]), false, &named).is_err(), "{pap}");
            }
            let closed = Destination {
                also_from: vec![("ec3".into(), Vec::new())],
                ..named
            };
            assert!(may_go(&of(tlp, &[]), false, &closed).is_err());
        }
    }
}
