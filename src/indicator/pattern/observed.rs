//! Whole patterns over a finite list of observed-data in JSON.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use serde_json::Map;
use serde_json::Value as Json;

use super::ast::Comparison;
use super::ast::Pattern;
use super::ast::Qualifier;
use super::ast::Step;
use super::bindings;
use super::bindings::Span;
use super::compare::Value;
use super::encoding;
use super::evaluate::ObjectView;
use super::evaluate::Test;
use super::evaluate::TestError;
use super::goal::Candidates;
use super::goal::Goal;
use super::goal::Window;
use crate::time::Timestamp;

/// Why a pattern can't be evaluated over observed-data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TryError {
    /// A comparison can't be made ready.
    Test(TestError),
    /// A qualifier that can't be met: WITHIN 0 SECONDS or REPEATS 0 TIMES.
    Qualifier(Qualifier),
    /// An observed-data object lacks or garbles what STIX requires of it.
    ObservedData {
        /// Its id, or where it stands in the list.
        object: String,
        /// The property, as a noun phrase.
        what: &'static str,
    },
    /// More work than [`try_pattern`] does for one answer.
    TooMuchWork,
}

impl fmt::Display for TryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Test(error) => error.fmt(f),
            Self::Qualifier(qualifier) => write!(f, "cannot be met: {qualifier}"),
            Self::ObservedData { object, what } => {
                write!(f, "observed-data {object}: missing or malformed {what}")
            }
            Self::TooMuchWork => f.write_str("pattern needs too much work over these observations"),
        }
    }
}

impl std::error::Error for TryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Test(error) => Some(error),
            _ => None,
        }
    }
}

impl From<TestError> for TryError {
    fn from(error: TestError) -> Self {
        Self::Test(error)
    }
}

/// Most steps into JSON for one answer: a few seconds. References in lists of
/// references multiply.
const MAX_WORK: u64 = 10_000_000;

/// Most steps of the search for a binding; about a second in the worst case.
const MAX_STEPS: u64 = 1_000_000;

/// Whether observations meet a pattern.
///
/// Each of `observed` is an observed-data object, a bundle of them with their
/// cyber-observables, or a list of either. Both editions are understood:
/// embedded `objects` (STIX 2.0) and `object_refs` (STIX 2.1), which lead into any
/// of the bundles. A reference from object to object holds within one
/// observed-data only.
pub fn try_pattern(pattern: &Pattern, observed: &[Json]) -> Result<bool, TryError> {
    let mut collection = Collection::default();
    for value in observed {
        collection.add(value);
    }
    let observations = collection.observations()?;
    let work = Cell::new(0);
    let mut planner = Planner {
        observations: &observations,
        spans: observations.iter().map(|o| o.span).collect(),
        order: (0..observations.len()).collect(),
        work: &work,
    };
    planner
        .order
        .sort_by_key(|i| planner.spans.get(*i).map(|span| span.last));
    let goal = Goal::of(&pattern.expression, &mut planner)?;
    if work.get() > MAX_WORK {
        return Err(TryError::TooMuchWork);
    }
    let bound = bindings::bind(&goal, &planner.spans, &mut { MAX_STEPS });
    bound
        .map(|binding| binding.is_some())
        .map_err(|_| TryError::TooMuchWork)
}

/// What was given, taken apart.
#[derive(Default)]
struct Collection<'j> {
    observed: Vec<&'j Map<String, Json>>,
    /// Cyber-observables of bundles, by id.
    objects: HashMap<&'j str, &'j Map<String, Json>>,
}

/// One observed-data.
struct ObservedData<'j> {
    span: Span,
    /// The objects that were observed, by what references call them.
    objects: HashMap<&'j str, &'j Map<String, Json>>,
}

impl<'j> Collection<'j> {
    fn add(&mut self, value: &'j Json) {
        match value {
            // Depth is bounded by what the JSON parser takes.
            Json::Array(values) => values.iter().for_each(|value| self.add(value)),
            Json::Object(object) => match object_type(object) {
                "observed-data" => self.observed.push(object),
                // Containers of before STIX 2.0, still about in test data.
                _ if object.get("objects").is_some_and(Json::is_object) => {
                    self.observed.push(object);
                }
                "bundle" => {
                    let objects = object.get("objects").and_then(Json::as_array);
                    objects
                        .into_iter()
                        .flatten()
                        .for_each(|value| self.add(value));
                }
                // STIX 2.1 section 9.2: patterns ask cyber-observables only.
                object_type if DOMAIN_OBJECTS.contains(&object_type) => {}
                _ => {
                    if let Some(id) = object.get("id").and_then(Json::as_str) {
                        self.objects.insert(id, object);
                    }
                }
            },
            _ => {}
        }
    }

    fn observations(&self) -> Result<Vec<ObservedData<'j>>, TryError> {
        let read = |(i, object): (usize, &&'j Map<String, Json>)| {
            let missing = |what| TryError::ObservedData {
                object: match object.get("id").and_then(Json::as_str) {
                    Some(id) => id.to_owned(),
                    None => format!("number {i}"),
                },
                what,
            };
            let instant = |name: &'static str| {
                let text = object.get(name).and_then(Json::as_str);
                text.and_then(Timestamp::parse_rfc3339)
                    .ok_or_else(|| missing(name))
            };
            let (first, last) = (instant("first_observed")?, instant("last_observed")?);
            if first > last {
                return Err(missing("last_observed"));
            }
            let count = object.get("number_observed").and_then(Json::as_u64);
            let count = count.filter(|count| *count > 0);
            let mut objects = HashMap::new();
            let refs = object.get("object_refs").and_then(Json::as_array);
            for id in refs.into_iter().flatten().filter_map(Json::as_str) {
                if let Some((id, object)) = self.objects.get_key_value(id) {
                    objects.insert(*id, *object);
                }
            }
            let embedded = object.get("objects").and_then(Json::as_object);
            for (key, value) in embedded.into_iter().flatten() {
                if let Some(object) = value.as_object() {
                    objects.insert(key.as_str(), object);
                }
            }
            Ok(ObservedData {
                span: Span {
                    first,
                    last,
                    count: count.ok_or_else(|| missing("number_observed"))?,
                },
                objects,
            })
        };
        self.observed.iter().enumerate().map(read).collect()
    }
}

/// Finds the observations that a pattern can be given.
struct Planner<'o, 'j> {
    observations: &'o [ObservedData<'j>],
    spans: Vec<Span>,
    /// Observations by their last instant.
    order: Vec<usize>,
    work: &'o Cell<u64>,
}

impl Candidates for Planner<'_, '_> {
    /// Sorted as `order`, without duplicates.
    type Choice = Vec<usize>;
    type Error = TryError;

    fn of_test(
        &mut self,
        comparison: &Comparison,
        windows: &[Window],
    ) -> Result<Goal<Vec<usize>>, TryError> {
        let test = Test::new(comparison)?;
        Ok(Goal::Some(self.find(&test, windows), 1))
    }

    fn join(&mut self, choices: Vec<Vec<usize>>) -> Vec<usize> {
        let mut chosen = vec![false; self.order.len()];
        for candidate in choices.into_iter().flatten() {
            if let Some(chosen) = chosen.get_mut(candidate) {
                *chosen = true;
            }
        }
        let is_chosen = |i: &usize| chosen.get(*i).is_some_and(|chosen| *chosen);
        self.order.iter().copied().filter(is_chosen).collect()
    }

    fn of_unmet(&mut self, qualifier: Qualifier) -> Result<Goal<Vec<usize>>, TryError> {
        Err(TryError::Qualifier(qualifier))
    }
}

impl Planner<'_, '_> {
    /// The observations that hold an object for which the test is true.
    fn find(&self, test: &Test, windows: &[Window]) -> Vec<usize> {
        let is_found = |i: &usize| {
            self.observations.get(*i).is_some_and(|observed| {
                let Span { first, last, .. } = observed.span;
                // START is inclusive, STOP is not (STIX 2.1 section 9.3).
                windows
                    .iter()
                    .all(|(start, stop)| start < stop && first < *stop && last >= *start)
                    && observed.objects.values().any(|object| {
                        self.work.get() <= MAX_WORK
                            && test.matches(&JsonObject {
                                object,
                                others: &observed.objects,
                                work: self.work,
                            })
                    })
            })
        };
        self.order.iter().copied().filter(is_found).collect()
    }
}

/// A cyber-observable in JSON.
struct JsonObject<'a, 'j> {
    object: &'j Map<String, Json>,
    /// Where references lead.
    others: &'a HashMap<&'j str, &'j Map<String, Json>>,
    /// Steps taken, over all objects; beyond [`MAX_WORK`] none are.
    work: &'a Cell<u64>,
}

impl ObjectView for JsonObject<'_, '_> {
    fn object_type(&self) -> &str {
        object_type(self.object)
    }

    fn resolve(&self, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        self.walk_object(self.object, steps, visit);
    }
}

impl<'j> JsonObject<'_, 'j> {
    /// Goes to a property and from there on; as deep as the path is long.
    fn enter(
        &self,
        object: &'j Map<String, Json>,
        key: &str,
        rest: &[Step],
        visit: &mut dyn FnMut(Value<'_>),
    ) {
        if let Some(value) = object.get(key) {
            self.enter_property(key, value, rest, visit);
        }
    }

    /// The property's name tells what its value is (STIX 2.1 sections 3.1 and 2.2).
    fn enter_property(
        &self,
        key: &str,
        value: &'j Json,
        rest: &[Step],
        visit: &mut dyn FnMut(Value<'_>),
    ) {
        if key.ends_with("_ref") {
            if let Some(object) = self.dereference(value) {
                self.walk_object(object, rest, visit);
            }
        } else if key.ends_with("_refs") {
            let references = value.as_array().into_iter().flatten();
            let mut objects = references.filter_map(|value| self.dereference(value));
            match rest.split_first() {
                None => {
                    if objects.next().is_some() {
                        visit(Value::Structure);
                    }
                }
                Some((Step::Index(index), rest)) => {
                    if let Some(object) = objects.nth(*index) {
                        self.walk_object(object, rest, visit);
                    }
                }
                Some((Step::Any, rest)) => {
                    objects.for_each(|object| self.walk_object(object, rest, visit));
                }
                Some((Step::Key(_), _)) => {}
            }
        } else if let Some(bytes) = decode_property(key, value) {
            if rest.is_empty() {
                visit(Value::Bytes(&bytes));
            }
        } else {
            self.walk(value, rest, visit);
        }
    }

    fn dereference(&self, reference: &Json) -> Option<&'j Map<String, Json>> {
        self.others.get(reference.as_str()?).copied()
    }

    fn walk(&self, value: &'j Json, steps: &[Step], visit: &mut dyn FnMut(Value<'_>)) {
        let work = self.work.get().saturating_add(1);
        self.work.set(work);
        if work > MAX_WORK {
            return;
        }
        let Some((step, rest)) = steps.split_first() else {
            visit(leaf(value));
            return;
        };
        match (step, value) {
            (_, Json::Object(object)) => self.walk_object(object, steps, visit),
            (Step::Index(index), Json::Array(values)) => {
                if let Some(value) = values.get(*index) {
                    self.walk(value, rest, visit);
                }
            }
            (Step::Any, Json::Array(values)) => {
                values
                    .iter()
                    .for_each(|value| self.walk(value, rest, visit));
            }
            _ => {}
        }
    }

    fn walk_object(
        &self,
        object: &'j Map<String, Json>,
        steps: &[Step],
        visit: &mut dyn FnMut(Value<'_>),
    ) {
        let work = self.work.get().saturating_add(1);
        self.work.set(work);
        if work > MAX_WORK {
            return;
        }
        match steps.split_first() {
            None => visit(Value::Structure),
            Some((Step::Key(key), rest)) => self.enter(object, key, rest, visit),
            Some((Step::Any, rest)) => {
                for (key, value) in object {
                    self.enter_property(key, value, rest, visit);
                }
            }
            Some((Step::Index(_), _)) => {}
        }
    }
}

fn object_type(object: &Map<String, Json>) -> &str {
    object.get("type").and_then(Json::as_str).unwrap_or("")
}

/// The bytes of a property that holds them by its name; `None` for any other, and
/// for one whose text is not what its name says.
fn decode_property(key: &str, value: &Json) -> Option<Vec<u8>> {
    if key.ends_with("_hex") {
        encoding::decode_hex(value.as_str()?.as_bytes())
    } else if key.ends_with("_bin") {
        encoding::decode_base64(value.as_str()?.as_bytes())
    } else {
        None
    }
}

fn leaf(value: &Json) -> Value<'_> {
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Boolean(*value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(float)) => Value::Float(float),
            (None, None) => Value::Null,
        },
        Json::String(text) => Value::String(text),
        Json::Array(_) | Json::Object(_) => Value::Structure,
    }
}

/// Objects that a STIX 2.1 bundle holds beside cyber-observables.
const DOMAIN_OBJECTS: &[&str] = &[
    "attack-pattern",
    "campaign",
    "course-of-action",
    "extension-definition",
    "grouping",
    "identity",
    "incident",
    "indicator",
    "infrastructure",
    "intrusion-set",
    "language-content",
    "location",
    "malware",
    "malware-analysis",
    "marking-definition",
    "note",
    "opinion",
    "relationship",
    "report",
    "sighting",
    "threat-actor",
    "tool",
    "vulnerability",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ast::Spec;
    use super::*;

    fn ask(text: &str, observed: &[Json]) -> Result<bool, TryError> {
        try_pattern(&Pattern::parse(text, Spec::V21).unwrap(), observed)
    }

    /// An observed-data of STIX 2.0, seen at a second of 2020.
    fn embedded(second: u32, count: u64, objects: &Json) -> Json {
        let at = format!("2020-01-01T00:00:{second:02}Z");
        json!({
            "type": "observed-data", "first_observed": at, "last_observed": at,
            "number_observed": count, "objects": objects,
        })
    }

    #[test]
    fn follows_references_within_one_observation() {
        let observed = [
            json!({"type": "bundle", "id": "bundle--1", "objects": [
                {
                    "type": "observed-data", "id": "observed-data--1",
                    "first_observed": "2020-01-01T00:00:00Z",
                    "last_observed": "2020-01-01T00:00:09Z", "number_observed": 1,
                    "object_refs": ["network-traffic--1", "ipv4-addr--1", "ipv4-addr--3"],
                },
                {
                    "type": "network-traffic", "id": "network-traffic--1",
                    "src_ref": "ipv4-addr--1", "dst_ref": "ipv4-addr--2",
                    "encapsulates_refs": ["ipv4-addr--2", "ipv4-addr--1", "ipv4-addr--3"],
                    "extensions": {"e": {"flags_hex": "02ff", "bad_hex": "2"}},
                    "protocols": ["ipv4", "tcp"], "big": 18446744073709551615_u64,
                },
                {"type": "ipv4-addr", "id": "ipv4-addr--1", "value": "192.0.2.1",
                    "loop_ref": "ipv4-addr--1"},
                {"type": "ipv4-addr", "id": "ipv4-addr--2", "value": "192.0.2.2"},
                {"type": "identity", "id": "identity--1", "name": "i"},
            ]}),
            // A reference may lead into another bundle.
            json!({"type": "bundle", "id": "bundle--2", "objects": [
                {"type": "ipv4-addr", "id": "ipv4-addr--3", "value": "192.0.2.3"},
            ]}),
        ];
        for (text, expected) in [
            ("[network-traffic:src_ref.value = '192.0.2.1']", true),
            (
                "[network-traffic:src_ref.loop_ref.loop_ref.value = '192.0.2.1']",
                true,
            ),
            // Not among what this observed-data holds.
            ("[network-traffic:dst_ref.value = '192.0.2.2']", false),
            ("[EXISTS network-traffic:dst_ref]", false),
            ("[EXISTS network-traffic:src_ref]", true),
            (
                "[network-traffic:encapsulates_refs[*].value = '192.0.2.3']",
                true,
            ),
            (
                "[network-traffic:encapsulates_refs[1].value = '192.0.2.3']",
                true,
            ),
            (
                "[network-traffic:encapsulates_refs.value = '192.0.2.3']",
                false,
            ),
            ("[EXISTS network-traffic:encapsulates_refs]", true),
            ("[network-traffic:extensions.e.flags_hex = h'02ff']", true),
            ("[network-traffic:extensions.e.bad_hex = '2']", true),
            ("[network-traffic:extensions[*].bad_hex = '2']", true),
            ("[network-traffic:protocols[*] = 'tcp']", true),
            ("[network-traffic:protocols = 'tcp']", false),
            ("[network-traffic:protocols[0].x = 'tcp']", false),
            ("[network-traffic:big > 18446744073709551614]", false),
            ("[network-traffic:big >= 18446744073709551615]", true),
            ("[ipv4-addr:value = '192.0.2.2']", false),
            ("[identity:name = 'i']", false),
            ("[observed-data:number_observed = 1]", false),
        ] {
            assert_eq!(ask(text, &observed), Ok(expected), "{text}");
        }
    }

    #[test]
    fn takes_lists_and_containers() {
        let object = json!({"0": {"type": "a", "b": 1}});
        for observed in [
            vec![embedded(1, 1, &object)],
            vec![json!([embedded(1, 1, &object)])],
            vec![json!({"type": "bundle", "objects": [embedded(1, 1, &object)]})],
        ] {
            assert_eq!(ask("[a:b = 1]", &observed), Ok(true), "{observed:?}");
        }
        for nothing in [vec![], vec![json!(null)], vec![json!([{}, 1, "x"])]] {
            assert_eq!(ask("[a:b = 1]", &nothing), Ok(false), "{nothing:?}");
        }
    }

    #[test]
    fn obeys_qualifiers() {
        let observed = [
            embedded(5, 1, &json!({"0": {"type": "a", "b": 2}})),
            embedded(1, 2, &json!({"0": {"type": "a", "b": 1}})),
        ];
        for (text, expected) in [
            ("[a:b = 1] FOLLOWEDBY [a:b = 2]", Ok(true)),
            ("[a:b = 2] FOLLOWEDBY [a:b = 1]", Ok(false)),
            ("[a:b = 1] FOLLOWEDBY [a:b = 1]", Ok(true)),
            ("([a:b = 1] AND [a:b = 2]) WITHIN 4 SECONDS", Ok(true)),
            (
                "([a:b = 1] AND [a:b = 2]) WITHIN 3.999999999 SECONDS",
                Ok(false),
            ),
            ("[a:b > 0] REPEATS 3 TIMES", Ok(true)),
            ("[a:b > 0] REPEATS 4 TIMES", Ok(false)),
            ("([a:b = 2] OR [a:b = 1]) REPEATS 3 TIMES", Ok(true)),
            (
                "[a:b = 2] START t'2020-01-01T00:00:05Z' STOP t'2020-01-01T00:00:06Z'",
                Ok(true),
            ),
            (
                "[a:b = 2] START t'2020-01-01T00:00:00Z' STOP t'2020-01-01T00:00:05Z'",
                Ok(false),
            ),
            (
                "([a:b > 0] REPEATS 2 TIMES) START t'2020-01-01T00:00:00Z' STOP t'2020-01-01T00:00:05Z'",
                Ok(true),
            ),
            ("[a:b = 1] WITHIN 1 SECONDS", Ok(true)),
            (
                "[a:b = 1] WITHIN 0 SECONDS",
                Err("cannot be met: WITHIN 0 SECONDS".to_owned()),
            ),
            (
                "[a:b = 1] REPEATS 0 TIMES",
                Err("cannot be met: REPEATS 0 TIMES".to_owned()),
            ),
        ] {
            let outcome = ask(text, &observed).map_err(|error| error.to_string());
            assert_eq!(outcome, expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_stix_forbids() {
        let good = embedded(1, 1, &json!({}));
        for (name, value) in [
            ("number_observed", json!(0)),
            ("number_observed", json!("1")),
            ("first_observed", json!("yesterday")),
            ("last_observed", json!("2019-01-01T00:00:00Z")),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            let error = ask("[a:b = 1]", &[bad]).unwrap_err();
            let expected = format!("observed-data number 0: missing or malformed {name}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn bounds_its_work() {
        // Thirty-two references to itself, eight times over: 2^40 ways.
        let refs = vec!["0"; 32];
        let observed = [embedded(
            1,
            1,
            &json!({"0": {"type": "a", "b_refs": refs, "c": 1}}),
        )];
        let path = format!("b_refs[*]{}", ".b_refs[*]".repeat(7));
        assert_eq!(ask("[a:b_refs[*].b_refs[*].c = 1]", &observed), Ok(true));
        let outcome = ask(&format!("[a:{path}.c = 2]"), &observed);
        assert_eq!(outcome, Err(TryError::TooMuchWork));
    }
}
