//! Marking definitions of the traffic light protocol, as the specifications fix them.

use super::identifier::Object;
use crate::indicator::Details;
use crate::indicator::Tlp;
use serde_json::Value;
use serde_json::json;

/// The markings that everything said of an indicator carries: its well-known ones, and that
/// of its level where it says the level in another way (a label, a marking of its own).
pub(super) fn markings_of(details: &Details) -> Vec<&'static Marking> {
    let mut markings: Vec<&'static Marking> = Vec::new();
    for marking in details
        .markings
        .iter()
        .filter_map(|id| MARKINGS.iter().find(|m| m.id == id))
    {
        if !markings.iter().any(|m| m.id == marking.id) {
            markings.push(marking);
        }
    }
    if let Some(tlp) = details.tlp
        && !markings.iter().any(|m| m.tlp == tlp)
        && let Some(marking) = MARKINGS.iter().find(|m| m.tlp == tlp && m.version == 2)
    {
        markings.push(marking);
    }
    markings
}

/// A well-known marking definition.
#[derive(Debug)]
pub(super) struct Marking {
    pub(super) id: &'static str,
    tlp: Tlp,
    version: u8,
    level: &'static str,
}

impl Marking {
    /// The object, to the letter.
    pub(super) fn object(&self) -> Object {
        let mut object = Object::with_id("marking-definition", self.id.to_owned());
        if self.version == 1 {
            // STIX 2.1 section 7.2.1.4
            object.set("created", "2017-01-20T00:00:00.000Z");
            object.set("definition_type", "tlp");
            object.set("name", format!("TLP:{}", self.level.to_ascii_uppercase()));
            object.set("definition", json!({"tlp": self.level}));
        } else {
            // OASIS cti-stix-common-objects, TLP 2.0
            object.set("created", "2022-10-01T00:00:00.000Z");
            object.set("name", self.tlp.as_str());
            let mut extensions = serde_json::Map::new();
            extensions.insert(
                TLP_2_EXTENSION.to_owned(),
                json!({"extension_type": "property-extension", "tlp_2_0": self.level}),
            );
            object.set("extensions", Value::Object(extensions));
        }
        object
    }
}

const TLP_2_EXTENSION: &str = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d";

const MARKINGS: [Marking; 9] = [
    Marking {
        id: "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9",
        tlp: Tlp::Clear,
        version: 1,
        level: "white",
    },
    Marking {
        id: "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da",
        tlp: Tlp::Green,
        version: 1,
        level: "green",
    },
    Marking {
        id: "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82",
        tlp: Tlp::Amber,
        version: 1,
        level: "amber",
    },
    Marking {
        id: "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed",
        tlp: Tlp::Red,
        version: 1,
        level: "red",
    },
    Marking {
        id: "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487",
        tlp: Tlp::Clear,
        version: 2,
        level: "clear",
    },
    Marking {
        id: "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb",
        tlp: Tlp::Green,
        version: 2,
        level: "green",
    },
    Marking {
        id: "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421",
        tlp: Tlp::Amber,
        version: 2,
        level: "amber",
    },
    Marking {
        id: "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003",
        tlp: Tlp::AmberStrict,
        version: 2,
        level: "amber+strict",
    },
    Marking {
        id: "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1",
        tlp: Tlp::Red,
        version: 2,
        level: "red",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_levels_of_markings() {
        for marking in &MARKINGS {
            assert_eq!(Tlp::from_marking(marking.id), Some(marking.tlp));
        }
    }

    #[test]
    fn keeps_the_level_however_it_was_said() {
        let of = |markings: &[&str], tlp| {
            let details = Details {
                markings: markings.iter().map(ToString::to_string).collect(),
                tlp,
                ..Details::default()
            };
            let ids: Vec<&str> = markings_of(&details).iter().map(|m| m.id).collect();
            ids
        };
        let amber_1 = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82";
        let red_2 = "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1";
        let own = "marking-definition--00000000-0000-4000-8000-000000000000";
        assert_eq!(of(&[], None), Vec::<&str>::new());
        assert_eq!(of(&[amber_1, amber_1], Some(Tlp::Amber)), [amber_1]);
        assert_eq!(of(&[own], Some(Tlp::Red)), [red_2]);
        assert_eq!(of(&[amber_1, own], Some(Tlp::Red)), [amber_1, red_2]);
    }
}
