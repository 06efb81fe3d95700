//! The bundle: everything that was sighted, in STIX 2.1.

use super::Observation;
use super::Reporter;
use super::Seen;
use super::identifier::Object;
use super::identifier::identifier;
use super::marking::markings_of;
use super::observed::TRAFFIC_EXTENSION;
use super::observed::cyber_observables;
use super::privacy::places;
use crate::indicator::Details;
use crate::time::Timestamp;
use serde::Serialize;
use serde::Serializer;
use serde::ser::SerializeStruct;
use sha2::Digest as _;
use sha2::Sha256;
use std::collections::HashSet;
use std::io;

/// A STIX 2.1 bundle; serialises as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Bundle {
    id: String,
    objects: Vec<Object>,
}

impl Bundle {
    pub(super) fn new(objects: Vec<Object>) -> Self {
        let mut id = BundleIdentifier::new();
        for object in &objects {
            id.add(object);
        }
        Self {
            id: id.finish(),
            objects,
        }
    }

    /// `bundle--<uuid>`, derived from the identifiers of its objects.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its objects: whatever one refers to comes before it.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }
}

impl Serialize for Bundle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bundle = serializer.serialize_struct("Bundle", 3)?;
        bundle.serialize_field("type", "bundle")?;
        bundle.serialize_field("id", &self.id)?;
        bundle.serialize_field("objects", &self.objects)?;
        bundle.end()
    }
}

/// The identifier of a bundle in the making.
pub(super) struct BundleIdentifier(Sha256);

impl BundleIdentifier {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn add(&mut self, object: &Object) {
        self.add_id(object.id());
    }

    pub(super) fn add_id(&mut self, id: &str) {
        self.0.update(id);
        self.0.update("\n");
    }

    pub(super) fn finish(self) -> String {
        identifier("bundle", &self.0.finalize())
    }
}

/// Says what was seen, indicator by indicator, and each object once.
pub(super) struct Teller<'a> {
    emit: &'a mut dyn FnMut(Object) -> io::Result<()>,
    /// The identity of the reporter.
    reporter: String,
    there: HashSet<(&'static str, u128)>,
    /// Whether a sighting says in words at which places its indicator was seen.
    pub(super) describes: bool,
}

impl<'a> Teller<'a> {
    pub(super) fn new(
        reporter: &Reporter,
        emit: &'a mut dyn FnMut(Object) -> io::Result<()>,
    ) -> io::Result<Self> {
        let identity = reporting_identity(reporter);
        let mut teller = Self {
            emit,
            reporter: identity.id().to_owned(),
            there: HashSet::new(),
            describes: false,
        };
        teller.add(identity)?;
        Ok(teller)
    }

    fn add(&mut self, object: Object) -> io::Result<()> {
        if self.there.insert(object.key()) {
            (self.emit)(object)
        } else {
            Ok(())
        }
    }

    pub(super) fn tell(
        &mut self,
        details: &Details,
        allowlisted: bool,
        seen: &Seen,
    ) -> io::Result<()> {
        let mut markings = Vec::new();
        for marking in markings_of(details) {
            self.add(marking.object())?;
            markings.push(marking.id);
        }
        if details.derived_id {
            self.add(indicator(details, &markings))?;
        }
        let modified = seen.window.last.to_rfc3339(3);
        let mut evidence: Vec<String> = Vec::with_capacity(seen.observations.len());
        for observation in &seen.observations {
            let observed = self.observe(&markings, &modified, observation)?;
            // what is too large to tell apart can come out the same
            evidence.extend(observed.filter(|id| !evidence.contains(id)));
        }
        let mut properties = vec![
            ("created_by_ref", self.reporter.as_str().into()),
            ("created", modified.clone().into()),
            ("modified", modified.into()),
            ("first_seen", seen.window.first.to_rfc3339(6).into()),
            ("last_seen", seen.window.last.to_rfc3339(6).into()),
            ("count", seen.window.stix_count().into()),
            ("sighting_of_ref", details.id.as_str().into()),
        ];
        // no list is empty (STIX 2.1 section 2.8)
        if !evidence.is_empty() {
            properties.push(("observed_data_refs", evidence.into()));
        }
        properties.push(("where_sighted_refs", vec![self.reporter.as_str()].into()));
        let places = places(&seen.observations);
        if self.describes && !places.is_empty() {
            properties.push(("description", format!("seen at {places}").into()));
        }
        if allowlisted {
            properties.push(("labels", vec!["allowlisted"].into()));
        }
        if !markings.is_empty() {
            properties.push(("object_marking_refs", markings.into()));
        }
        self.add(Object::of_ours("sighting", properties))
    }

    /// Adds the objects of an observation and gives the identifier of its observed-data; `None`
    /// where nothing of it may be told.
    fn observe(
        &mut self,
        markings: &[&str],
        modified: &str,
        observation: &Observation,
    ) -> io::Result<Option<String>> {
        let (objects, extended) = cyber_observables(observation);
        if objects.is_empty() {
            return Ok(None);
        }
        if extended {
            self.add(project_identity())?;
            self.add(traffic_extension())?;
        }
        let refs: Vec<&str> = objects.iter().map(Object::id).collect();
        let mut properties = vec![
            ("created_by_ref", self.reporter.as_str().into()),
            ("created", modified.into()),
            ("modified", modified.into()),
            (
                "first_observed",
                observation.window.first.to_rfc3339(6).into(),
            ),
            (
                "last_observed",
                observation.window.last.to_rfc3339(6).into(),
            ),
            ("number_observed", observation.window.stix_count().into()),
            ("object_refs", refs.into()),
        ];
        if !markings.is_empty() {
            properties.push(("object_marking_refs", markings.into()));
        }
        let observed = Object::of_ours("observed-data", properties);
        let id = observed.id().to_owned();
        for object in objects {
            self.add(object)?;
        }
        self.add(observed)?;
        Ok(Some(id))
    }
}

/// What an operator who calls an indicator false says of it: an opinion (STIX 2.1 section 4.15)
/// behind the objects that it refers to.
pub(super) fn opinion(
    reporter: &Reporter,
    details: &Details,
    at: Timestamp,
    why: &str,
) -> Vec<Object> {
    let identity = reporting_identity(reporter);
    let at = at.to_rfc3339(3);
    let mut properties = vec![
        ("created_by_ref", identity.id().into()),
        ("created", at.clone().into()),
        ("modified", at.into()),
        ("opinion", "strongly-disagree".into()),
        ("object_refs", vec![details.id.as_str()].into()),
    ];
    if !why.is_empty() {
        properties.push(("explanation", why.into()));
    }
    let mut objects = vec![identity];
    let mut markings = Vec::new();
    for marking in markings_of(details) {
        objects.push(marking.object());
        markings.push(marking.id);
    }
    if !markings.is_empty() {
        properties.push(("object_marking_refs", markings.into()));
    }
    objects.push(Object::of_ours("opinion", properties));
    objects
}

/// Who reports. Identified by its names, so that it is the same in every bundle.
fn reporting_identity(reporter: &Reporter) -> Object {
    let description = match &reporter.organisation {
        Some(organisation) => format!("network sensor of {organisation}"),
        None => "network sensor".to_owned(),
    };
    Object::of_ours(
        "identity",
        vec![
            ("created", TIMELESS.into()),
            ("modified", TIMELESS.into()),
            ("name", reporter.name.as_str().into()),
            ("description", description.into()),
            ("identity_class", "system".into()),
        ],
    )
}

/// Who defines [`TRAFFIC_EXTENSION`]: not each reporter anew, since an object of one
/// identifier must be the same wherever it is.
fn project_identity() -> Object {
    Object::of_ours(
        "identity",
        vec![
            ("created", TIMELESS.into()),
            ("modified", TIMELESS.into()),
            ("name", "watchpost".into()),
            ("description", "the authors of the watchpost sensor".into()),
            ("identity_class", "group".into()),
        ],
    )
}

fn traffic_extension() -> Object {
    let mut object = Object::with_id("extension-definition", TRAFFIC_EXTENSION.to_owned());
    object.set("created_by_ref", project_identity().id());
    object.set("created", TIMELESS);
    object.set("modified", TIMELESS);
    object.set("name", "Fingerprints and values in network traffic");
    object.set(
        "description",
        "Adds to network-traffic what STIX has no property for: fingerprints of clients and \
         servers, and values that no cyber-observable may hold.",
    );
    object.set(
        "schema",
        "Properties of the extension, all optional and all strings: x_ja3_hash (JA3 of a TLS \
         ClientHello: MD5 in lower-case hexadecimal), x_ja3s_hash (JA3S of a TLS ServerHello, \
         likewise), x_ja4 (JA4 of a TLS client: a_b_c), x_hassh (HASSH of an SSH client: MD5 \
         in lower-case hexadecimal), x_hassh_server (HASSH of an SSH server, likewise), \
         x_user_agent (User-Agent of an HTTP request, as sent), \
         x_value (a name or URL that matched but breaks the rules of its kind, as seen).",
    );
    object.set("version", "1.0.0");
    object.set("extension_types", vec!["property-extension"]);
    object
}

/// An indicator whose identifier was derived here: nobody else could resolve it.
fn indicator(details: &Details, markings: &[&str]) -> Object {
    let mut object = Object::with_id("indicator", details.id.clone());
    object.set("created", details.created.to_rfc3339(3));
    object.set(
        "modified",
        details.modified.max(details.created).to_rfc3339(3),
    );
    let name = details.name.as_deref().unwrap_or(&details.pattern);
    object.set("name", name);
    // the path to a list is nobody else's business
    let source = details.source.rsplit('/').next().unwrap_or_default();
    object.set("description", format!("listed in {source}"));
    object.set("pattern", details.pattern.as_str());
    object.set("pattern_type", "stix");
    object.set("pattern_version", "2.1");
    object.set("valid_from", validity(details.valid_from));
    // STIX 2.1 section 4.7.1: later than valid_from, as written
    if let Some(until) = details
        .valid_until
        .filter(|u| u.as_nanos() / 1_000 > details.valid_from.as_nanos() / 1_000)
    {
        object.set("valid_until", validity(until));
    }
    if let Some(confidence) = details.confidence {
        object.set("confidence", confidence.min(100));
    }
    if !details.labels.is_empty() {
        object.set("labels", details.labels.clone());
    }
    if !markings.is_empty() {
        object.set("object_marking_refs", markings);
    }
    object
}

/// Whole seconds where there is no fraction.
fn validity(at: Timestamp) -> String {
    let whole = at.as_nanos().is_multiple_of(1_000_000_000);
    at.to_rfc3339(if whole { 0 } else { 6 })
}

/// `created` and `modified` of objects that say nothing of a time.
const TIMELESS: &str = "1970-01-01T00:00:00.000Z";
