//! STIX objects in the making and their deterministic identifiers.

use serde::Serialize;
use serde::Serializer;
use serde_json::Value;
use std::fmt::Write as _;
use uuid::Uuid;

/// A STIX object: its properties, in the order in which they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    kind: &'static str,
    id: String,
    properties: Vec<(&'static str, Value)>,
}

impl Object {
    /// An object whose identifier is known: it begins with its type, version and identifier.
    pub(super) fn with_id(kind: &'static str, id: String) -> Self {
        let properties = vec![
            ("type", Value::from(kind)),
            ("spec_version", Value::from("2.1")),
            ("id", Value::from(id.as_str())),
        ];
        Self {
            kind,
            id,
            properties,
        }
    }

    /// One of our own objects, identified by all that it says: who has seen the identifier
    /// has seen this very object.
    pub(super) fn of_ours(kind: &'static str, properties: Vec<(&'static str, Value)>) -> Self {
        let mut name = String::new();
        canonical_members(&properties, &mut name);
        let mut object = Self::with_id(kind, identifier(kind, name.as_bytes()));
        object.properties.extend(properties);
        object
    }

    /// A cyber-observable, identified by its contributing properties (STIX 2.1 section 2.9).
    pub(super) fn cyber_observable(
        kind: &'static str,
        contributing: &[(&'static str, Value)],
        properties: Vec<(&'static str, Value)>,
    ) -> Self {
        let mut name = String::new();
        canonical_members(contributing, &mut name);
        let id = format!("{kind}--{}", Uuid::new_v5(&STIX_NAMESPACE, name.as_bytes()));
        let mut object = Self::with_id(kind, id);
        object.properties.extend(properties);
        object
    }

    pub(super) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.properties.push((name, value.into()));
    }

    /// What tells it apart from others, in little memory.
    pub(super) fn key(&self) -> (&'static str, u128) {
        let uuid = self.id.split_once("--").and_then(|(_, u)| u.parse().ok());
        let uuid = uuid.unwrap_or_else(|| Uuid::new_v5(&NAMESPACE, self.id.as_bytes()));
        (self.kind, uuid.as_u128())
    }

    /// Its type.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Its identifier: `type--uuid`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A property by name; `None` where the object has none of that name.
    pub fn property(&self, name: &str) -> Option<&Value> {
        self.properties
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, value)| value)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.properties.iter().map(|(name, value)| (name, value)))
    }
}

/// An identifier of ours for what a name stands for.
pub(super) fn identifier(kind: &str, name: &[u8]) -> String {
    let name = [kind.as_bytes(), name].concat();
    format!("{kind}--{}", Uuid::new_v5(&NAMESPACE, &name))
}

/// JSON as RFC 8785 writes it, of what occurs here: no number is other than an integer.
pub(super) fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let members: Vec<(&str, &Value)> =
                members.iter().map(|(k, v)| (k.as_str(), v)).collect();
            write_members(members, out);
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        // serde_json escapes strings as RFC 8785 section 3.2.2.2 does
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

fn canonical_members(members: &[(&'static str, Value)], out: &mut String) {
    write_members(members.iter().map(|(k, v)| (*k, v)).collect(), out);
}

fn write_members(mut members: Vec<(&str, &Value)>, out: &mut String) {
    // RFC 8785 section 3.2.3: sorted by UTF-16 code units
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    out.push('{');
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        let _ = write!(out, "{}:", Value::from(name));
        canonical(value, out);
    }
    out.push('}');
}

/// The namespace of identifiers of cyber-observables (STIX 2.1 section 2.9).
const STIX_NAMESPACE: Uuid = Uuid::from_u128(0x00ab_edb4_aa42_466c_9c01_fed2_3315_a9b7);

/// The namespace of identifiers of our own objects.
const NAMESPACE: Uuid = Uuid::from_u128(0xa206_11a1_e37f_45be_a6d5_6d49_a3b0_26da);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn identifies_cyber_observables_as_stix_does() {
        // computed with the OASIS stix2 library
        for (kind, contributing, id) in [
            (
                "ipv4-addr",
                vec![("value", json!("192.0.2.10"))],
                "ipv4-addr--a2fbe2c6-009e-52e0-b452-90b71e3109c2",
            ),
            (
                "domain-name",
                vec![("value", json!("c2.example.com"))],
                "domain-name--18658069-b22f-5128-b69d-1b79b8f22823",
            ),
            (
                "url",
                vec![("value", json!("http://c2.example.com/gate.php"))],
                "url--d8bfcff6-f6f9-505d-9fe7-6fe7884e42ab",
            ),
        ] {
            assert_eq!(
                Object::cyber_observable(kind, &contributing, Vec::new()).id(),
                id
            );
        }
    }

    #[test]
    fn writes_canonical_json() {
        for (value, text) in [
            (
                json!({"b": 1, "a": [true, null, "x"]}),
                r#"{"a":[true,null,"x"],"b":1}"#,
            ),
            // RFC 8785 section 3.2.3: by UTF-16 code units an emoji comes before U+FB33
            (
                json!({"\u{fb33}": 1, "\u{1f600}": 2, "\u{80}": 3}),
                "{\"\u{80}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}",
            ),
            (
                json!("\u{8}\t\n\u{c}\r\u{1f}\"\\/\u{7f}é\u{2028}"),
                "\"\\b\\t\\n\\f\\r\\u001f\\\"\\\\/\u{7f}é\u{2028}\"",
            ),
        ] {
            let mut out = String::new();
            canonical(&value, &mut out);
            assert_eq!(out, text);
        }
    }
}
