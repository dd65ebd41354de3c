//! Which HTTP request is which rpc: a table, and finding a request's place in it.
//!
//! Paths follow Google's AIPs: resources below `/v1`, and `:verb` for what is no plain create, read, update or delete. A
//! variable names the field of the rpc's request that it fills; `{name=**}` reaches to the end of the path.

use Body::{Field, Nothing, Whole};

/// What a request's body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// No body: the request's other fields are query parameters.
    Nothing,
    /// The rpc's request, but for what the path says. Empty: an empty request.
    Whole,
    /// This field of the rpc's request; its other fields are query parameters.
    Field(&'static str),
}

/// A method and a path, and the rpc that answers.
pub(crate) struct Route {
    /// The HTTP method.
    pub(crate) method: &'static str,
    /// With variables.
    pub(crate) path: &'static str,
    /// Its name in its service.
    pub(crate) rpc: &'static str,
    /// What the body holds.
    pub(crate) body: Body,
}

const fn get(path: &'static str, rpc: &'static str) -> Route {
    Route { method: "GET", path, rpc, body: Nothing }
}

const fn delete(path: &'static str, rpc: &'static str) -> Route {
    Route { method: "DELETE", path, rpc, body: Nothing }
}

const fn post(path: &'static str, rpc: &'static str, body: Body) -> Route {
    Route { method: "POST", path, rpc, body }
}

const fn patch(path: &'static str, rpc: &'static str, field: &'static str) -> Route {
    Route { method: "PATCH", path, rpc, body: Field(field) }
}

/// Every route, by service. Streams have none.
pub(crate) const SERVICES: [(&str, &[Route]); 7] = [
    ("wardline.telemetry.v1.IngestService", &INGEST),
    ("wardline.telemetry.v1.TimelineService", &TIMELINE),
    ("wardline.telemetry.v1.StudyService", &STUDY),
    ("wardline.registry.v1.RegistryService", &REGISTRY),
    ("wardline.registry.v1.EnrolmentService", &ENROLMENT),
    ("wardline.operations.v1.AuditService", &AUDIT),
    ("wardline.operations.v1.QuarantineService", &QUARANTINE),
];

const INGEST: [Route; 1] = [post("/v1/devices/{device_id}/readings", "WriteReadings", Whole)];

const TIMELINE: [Route; 3] = [
    get("/v1/patients/{patient_id}/timeline", "ReadTimeline"),
    get("/v1/patients/{patient_id}/trend", "ReadTrend"),
    get("/v1/patients/{patient_id}/latest", "LatestReadings"),
];

const STUDY: [Route; 2] = [
    get("/v1/studies/{study}/subjects", "ListSubjects"),
    get("/v1/studies/{study}/subjects/{subject_id}", "ReadSubject"),
];

const AUDIT: [Route; 4] = [
    get("/v1/audit/records", "SearchAuditLog"),
    get("/v1/audit/writers", "ListAuditWriters"),
    get("/v1/audit/writers/{writer_id}/entries", "ReadAuditChain"),
    get("/v1/patients/{patient_id}/accesses", "ListAccesses"),
];

const QUARANTINE: [Route; 3] = [
    get("/v1/quarantine", "ListQuarantined"),
    get("/v1/quarantine/{place=**}", "GetQuarantined"),
    post("/v1/quarantine/{place=**}:replay", "ReplayQuarantined", Whole),
];

const ENROLMENT: [Route; 2] = [
    post("/v1/devices/{device_id}:claim", "ClaimDevice", Whole),
    post("/v1/devices/{device_id}:refresh", "RefreshDevice", Whole),
];

const REGISTRY: [Route; 38] = [
    get("/v1/users", "ListUsers"),
    post("/v1/users", "CreateUser", Field("user")),
    post("/v1/users:import", "ImportUsers", Whole),
    get("/v1/users/{user_id}", "GetUser"),
    patch("/v1/users/{user.user_id}", "UpdateUser", "user"),
    delete("/v1/users/{user_id}", "DeleteUser"),
    get("/v1/users/{user_id}/versions", "ListUserVersions"),
    get("/v1/roles", "ListRoles"),
    post("/v1/roles", "CreateRole", Field("role")),
    get("/v1/roles/{role_id}", "GetRole"),
    patch("/v1/roles/{role.role_id}", "UpdateRole", "role"),
    delete("/v1/roles/{role_id}", "DeleteRole"),
    get("/v1/grants", "ListGrants"),
    post("/v1/grants", "CreateGrant", Field("grant")),
    delete("/v1/grants/{grant_id}", "DeleteGrant"),
    get("/v1/relations", "ListRelations"),
    post("/v1/relations", "CreateRelation", Field("relation")),
    post("/v1/relations/{relation_id}:end", "EndRelation", Whole),
    get("/v1/patients/{patient_id}/consents", "ListConsents"),
    post("/v1/patients/{consent.patient_id}/consents", "CreateConsent", Field("consent")),
    post("/v1/patients/{patient_id}/consents/{consent_id}:revoke", "RevokeConsent", Whole),
    get("/v1/break-glass", "ListBreakGlass"),
    post("/v1/break-glass", "OpenBreakGlass", Whole),
    post("/v1/break-glass/{break_glass_id}:review", "ReviewBreakGlass", Whole),
    get("/v1/notices", "ListNotices"),
    // asks about a person and a patient: both stay out of the address
    post("/v1/access:explain", "ExplainAccess", Whole),
    get("/v1/devices", "ListDevices"),
    post("/v1/devices", "CreateDevice", Field("device")),
    post("/v1/devices:import", "ImportDevices", Whole),
    // the device is the caller
    post("/v1/devices:renew", "RenewDeviceToken", Whole),
    post("/v1/devices:report", "ReportDevice", Whole),
    get("/v1/devices/{device_id}", "GetDevice"),
    patch("/v1/devices/{device.device_id}", "UpdateDevice", "device"),
    post("/v1/devices/{device_id}:rotate", "RotateDevice", Whole),
    post("/v1/devices/{device_id}:revoke", "RevokeDevice", Whole),
    get("/v1/assignments", "ListAssignments"),
    post("/v1/assignments", "CreateAssignment", Field("assignment")),
    post("/v1/assignments/{assignment_id}:end", "EndAssignment", Whole),
];

/// Each route with its service.
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static Route)> {
    SERVICES.into_iter().flat_map(|(service, routes)| routes.iter().map(move |route| (service, route)))
}

/// A part of a path, between slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segment {
    Literal(&'static str),
    /// Fills `field`, up to `verb`; `rest`: all that is left of the path.
    Variable {
        field: &'static str,
        verb: &'static str,
        rest: bool,
    },
}

/// A path of the table, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Path(Vec<Segment>);

impl Path {
    /// Takes a path of the table apart.
    pub(crate) fn new(path: &'static str) -> Self {
        let segment = |text: &'static str| {
            let variable = text.strip_prefix('{').and_then(|text| text.split_once('}'));
            let Some((name, verb)) = variable else { return Segment::Literal(text) };
            let whole = name.strip_suffix("=**");
            Segment::Variable { field: whole.unwrap_or(name), verb, rest: whole.is_some() }
        };
        Self(path.split('/').skip(1).map(segment).collect())
    }

    /// The fields that it fills, as dotted names.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Variable { field, .. } => Some(*field),
            Segment::Literal(_) => None,
        })
    }

    /// As OpenAPI writes it: variables by the last part of their names.
    pub(crate) fn shown(&self) -> String {
        let segments = self.0.iter().map(|segment| match segment {
            Segment::Literal(text) => format!("/{text}"),
            Segment::Variable { field, verb, .. } => format!("/{{{}}}{verb}", last(field)),
        });
        segments.collect()
    }

    /// The variables' values when a path (as it was sent) is this one. A colon in a value is written `%3A`: what follows
    /// a colon is a verb.
    pub(crate) fn matched(&self, path: &str) -> Option<Vec<(&'static str, String)>> {
        let mut values = Vec::new();
        let mut left = path.strip_prefix('/');
        for segment in &self.0 {
            let (text, after) = match (left?, segment) {
                (text, Segment::Variable { rest: true, .. }) => (text, None),
                (text, _) => text.split_once('/').map_or((text, None), |(text, after)| (text, Some(after))),
            };
            match segment {
                Segment::Literal(literal) if *literal == text => {}
                Segment::Literal(_) => return None,
                Segment::Variable { field, verb, .. } => {
                    let value = text.strip_suffix(verb).filter(|value| !value.is_empty() && !value.contains(':'))?;
                    values.push((*field, decoded(value, false)?));
                }
            }
            left = after;
        }
        left.is_none().then_some(values)
    }
}

/// The last part of a dotted name.
pub(crate) fn last(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// Text without its %-escapes; `None` when they are not UTF-8 or no escapes. In queries a plus is a space.
pub(crate) fn decoded(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if query => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_reflect::{DescriptorPool, MessageDescriptor};
    use std::collections::BTreeSet;

    fn has_field(message: &MessageDescriptor, path: &str) -> bool {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let Some(field) = message.get_field_by_name(name) else { return false };
        rest.is_none_or(|rest| field.kind().as_message().is_some_and(|message| has_field(message, rest)))
    }

    #[test]
    fn every_rpc_that_is_no_stream_has_a_route_and_every_route_an_rpc() {
        let pool = DescriptorPool::decode(proto::DESCRIPTORS).unwrap();
        let methods = || pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let unary = methods().filter(|method| !method.is_client_streaming() && !method.is_server_streaming());
        let offered: BTreeSet<_> = unary.map(|method| method.full_name().to_owned()).collect();
        let routed: Vec<_> = all().map(|(service, route)| format!("{service}.{}", route.rpc)).collect();
        assert_eq!(offered, routed.iter().cloned().collect(), "left: the descriptors, right: the table");
        assert_eq!(routed.len(), offered.len(), "an rpc has two routes");

        for (name, (_, route)) in routed.iter().zip(all()) {
            let input = methods().find(|method| method.full_name() == name).unwrap().input();
            for field in Path::new(route.path).fields() {
                assert!(has_field(&input, field), "{} of {} is no field of {}", field, route.path, input.full_name());
            }
            if let Body::Field(field) = route.body {
                assert!(has_field(&input, field), "the body of {} is no field of {}", route.path, input.full_name());
            }
        }
    }

    #[test]
    fn no_request_has_two_answers() {
        let sample = |path: &str| {
            let segment = |text: &str| text.find('}').map_or(text.to_owned(), |end| format!("a-1{}", &text[end + 1..]));
            path.split('/').map(segment).collect::<Vec<_>>().join("/")
        };
        for (_, route) in all() {
            let path = sample(route.path);
            let found: Vec<_> = all()
                .filter(|(_, other)| other.method == route.method && Path::new(other.path).matched(&path).is_some())
                .map(|(_, other)| other.path)
                .collect();
            assert_eq!(found, [route.path], "{} {path}", route.method);
        }
    }

    #[test]
    fn paths_are_taken_literally() {
        let path = Path::new("/v1/devices/{device_id}:claim");
        assert_eq!(path.matched("/v1/devices/x%2Fy:claim"), Some(vec![("device_id", "x/y".to_owned())]));
        for other in ["/v1/devices/x", "/v1/devices/:claim", "/v1/devices/x:claim/", "/v1//devices/x:claim", "v1", ""] {
            assert_eq!(path.matched(other), None, "{other}");
        }
        for broken in ["/v1/devices/%zz:claim", "/v1/devices/%ff:claim", "/v1/devices/%4:claim"] {
            assert_eq!(path.matched(broken), None, "{broken}");
        }
        let place = Path::new("/v1/quarantine/{place=**}:replay");
        for (path, value) in [("a/0/7", "a/0/7"), ("a%2F0%2F7", "a/0/7")] {
            assert_eq!(
                place.matched(&format!("/v1/quarantine/{path}:replay")),
                Some(vec![("place", value.to_owned())])
            );
        }
        assert_eq!(Path::new("/v1/users/{user.user_id}").shown(), "/v1/users/{user_id}");
    }
}
