//! Entries of the audit log as FHIR R4 AuditEvents, after the profiles of IHE BALP: what was done (create, read, update, delete,
//! execute), by whom, what for, and to what.

use crate::operator::shown;
use model::audit::Interaction;
use proto::operations::v1::AuditRecord;
use serde_json::{Value, json};
use uuid::Uuid;

/// Codes of DICOM: kinds of events.
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const ENTITY_TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-entity-type";
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/object-role";

/// An entry of the audit log as an AuditEvent, whose id is `WRITER-SEQUENCE`.
pub(super) fn event(record: &AuditRecord) -> Value {
    let interaction = Interaction::of(&record.action, &record.detail);
    let (kind, subtype) = kind(record, interaction);
    let mut event = json!({
        "resourceType": "AuditEvent",
        "id": format!("{}-{}", record.writer_id, record.sequence),
        "type": kind,
        "subtype": [subtype, coding("urn:wardline:action", &record.action)],
        "action": interaction.code(),
        "recorded": shown(record.at),
        // success, or serious failure
        "outcome": if record.denied.is_empty() { "0" } else { "8" },
        "purposeOfEvent": [{"coding": [coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", &record.purpose)]}],
        "agent": [{"who": who(record), "requestor": true}],
        "source": {"observer": {"identifier": {"value": format!("urn:uuid:{}", record.writer_id)}}},
        "entity": entities(record),
    });
    if !record.denied.is_empty() {
        event["outcomeDesc"] = json!(record.denied);
    }
    event
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

/// The event's type and subtype: logins and emergencies as DICOM names them, all else as a call of a REST API.
fn kind(record: &AuditRecord, interaction: Interaction) -> (Value, Value) {
    let done = match (interaction, first_word(record)) {
        (Interaction::Create, _) => "create",
        (Interaction::Read, "list" | "search") => "search-type",
        (Interaction::Read, "versions") => "history-instance",
        (Interaction::Read, _) => "read",
        (Interaction::Update, _) => "update",
        (Interaction::Delete, _) => "delete",
        (Interaction::Execute, _) => "operation",
    };
    match record.action.as_str() {
        // user authentication: login
        "login" => (coding(DICOM, "110114"), coding(DICOM, "110122")),
        // security alert: emergency override started
        "emergency.open" => (coding(DICOM, "110113"), coding(DICOM, "110127")),
        _ => (
            coding("http://terminology.hl7.org/CodeSystem/audit-event-type", "rest"),
            coding("http://hl7.org/fhir/restful-interaction", done),
        ),
    }
}

/// Who did it. Of whom nothing is proven there is no reference: nothing says that it was that one.
fn who(record: &AuditRecord) -> Value {
    let unknown = |display: String| {
        let url = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";
        json!({"extension": [{"url": url, "valueCode": "unknown"}], "display": display})
    };
    match (record.subject.split_once(':'), record.claimed_subject.as_str()) {
        (Some(("device", id)), _) => json!({"reference": format!("Device/{id}")}),
        (Some((_, id)), _) => json!({"identifier": urn(id)}),
        (None, "") => unknown("not known".to_owned()),
        (None, claimed) => unknown(format!("claims to be {claimed}, not proven")),
    }
}

fn urn(id: &str) -> Value {
    json!({"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{id}")})
}

/// What it was done to: the patient whose data it is, and the thing that is one of the patient's or the system's.
fn entities(record: &AuditRecord) -> Vec<Value> {
    let patient = (!record.patient_id.is_empty()).then(|| {
        json!({
            "what": {"reference": format!("Patient/{}", record.patient_id)},
            // a person, the patient
            "type": coding(ENTITY_TYPES, "1"),
            "role": coding(ROLES, "1"),
        })
    });
    patient.into_iter().chain([target(record)]).collect()
}

/// The thing: what kind of thing its action is about, and its id where the detail has one.
fn target(record: &AuditRecord) -> Value {
    let kind = record.action.split('.').next().unwrap_or_default();
    let words = || record.detail.split([' ', '/']);
    // a system object: a resource, or one by which others are kept safe
    let role = if matches!(kind, "login" | "audit" | "access" | "roles") { "13" } else { "4" };
    let mut target = json!({
        "type": coding(ENTITY_TYPES, "2"),
        "role": coding(ROLES, role),
        "name": kind,
    });
    // to whom a role or a relation is given is not that which is given
    let is_given = matches!(kind, "relations" | "roles");
    let names_it = |word: &&str| !(is_given && ["for", "to"].contains(word));
    let id = words().take_while(names_it).find(|word| Uuid::try_parse(word).is_ok());
    // the last one: as it is refused before its message is read
    let is_assignment =
        ["end ", "get assignment ", "EndAssignment "].iter().any(|start| record.detail.starts_with(start));
    let role_id = || (kind == "roles").then(|| words().skip_while(|word| *word != "role").nth(1)).flatten();
    if let Some(id) = id {
        target["what"] = match kind {
            "readings" if record.action == "readings.send" => json!({"reference": format!("Device/{id}")}),
            "devices" | "device" if !is_assignment => json!({"reference": format!("Device/{id}")}),
            _ => json!({"identifier": urn(id)}),
        };
    } else if let Some(role) = role_id() {
        target["what"] = json!({"identifier": {"system": "urn:wardline:role", "value": role}});
    }
    if !record.detail.is_empty() {
        target["description"] = json!(record.detail);
    }
    target
}

fn first_word(record: &AuditRecord) -> &str {
    record.detail.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0191c3c8-7a00-7000-8000-00000000abcd";
    const PATIENT: &str = "9fc9151b-a5c2-5138-abc7-db04232ac801";

    fn record(action: &str, detail: &str) -> AuditRecord {
        AuditRecord {
            subject: format!("user:{ID}"),
            action: action.into(),
            detail: detail.into(),
            purpose: "HOPERAT".into(),
            ..AuditRecord::default()
        }
    }

    #[test]
    fn what_was_done_and_to_what_is_said() {
        for (action, detail, code, subtype, what) in [
            ("timeline.read", "8867-4", "R", "read", Value::Null),
            ("latest.read", "list", "R", "search-type", Value::Null),
            ("profile.read", "versions", "R", "history-instance", Value::Null),
            ("profile.read", "update", "U", "update", Value::Null),
            ("profile.read", "get {id}", "R", "read", json!({"identifier": urn(ID)})),
            ("profile.read", "versions of {id}", "R", "history-instance", json!({"identifier": urn(ID)})),
            ("profile.read", "read {id} to update it", "R", "read", json!({"identifier": urn(ID)})),
            ("users.manage", "update {id}", "U", "update", json!({"identifier": urn(ID)})),
            ("users.manage", "import {id}", "C", "create", json!({"identifier": urn(ID)})),
            ("consents.manage", "create {id}", "C", "create", json!({"identifier": urn(ID)})),
            ("users.manage", "create {id}", "C", "create", json!({"identifier": urn(ID)})),
            ("users.manage", "delete {id}", "D", "delete", json!({"identifier": urn(ID)})),
            ("users.manage", "list", "R", "search-type", Value::Null),
            ("relations.manage", "care-team {id} for {person}", "C", "create", json!({"identifier": urn(ID)})),
            ("relations.manage", "care-team for {person}", "C", "create", Value::Null),
            ("roles.manage", "grant {id} of nurse to {person}", "C", "create", json!({"identifier": urn(ID)})),
            ("roles.manage", "grant nurse to {person}", "C", "create", Value::Null),
            ("relations.manage", "end {id}", "U", "update", json!({"identifier": urn(ID)})),
            ("devices.manage", "rotate {id}", "U", "update", json!({"reference": format!("Device/{ID}")})),
            ("devices.register", "import {id}", "C", "create", json!({"reference": format!("Device/{ID}")})),
            ("device.assign", "assign {id}", "C", "create", json!({"reference": format!("Device/{ID}")})),
            ("device.assign", "get assignment {id}", "R", "read", json!({"identifier": urn(ID)})),
            ("devices.manage", "get assignment {id}", "R", "read", json!({"identifier": urn(ID)})),
            ("readings.send", "report {id}", "U", "update", json!({"reference": format!("Device/{ID}")})),
            ("readings.retract", "end {id}", "U", "update", json!({"identifier": urn(ID)})),
            ("device.assign", "EndAssignment {id}", "U", "update", json!({"identifier": urn(ID)})),
            ("devices.manage", "RevokeDevice {id}", "U", "update", json!({"reference": format!("Device/{ID}")})),
            ("relations.manage", "EndRelation {id}", "U", "update", json!({"identifier": urn(ID)})),
            (
                "roles.manage",
                "update role helper",
                "U",
                "update",
                json!({"identifier": {"system": "urn:wardline:role", "value": "helper"}}),
            ),
            ("quarantine.replay", "readings.v1/0/7", "E", "operation", Value::Null),
            ("login", "wardline.telemetry.v1.TimelineService", "E", "110122", Value::Null),
            ("data.manage", "delete version {id}", "D", "delete", json!({"identifier": urn(ID)})),
            ("data.manage", "set current model version {id}", "U", "update", json!({"identifier": urn(ID)})),
            ("data.manage", "upload {id}", "C", "create", json!({"identifier": urn(ID)})),
            ("jobs.submit", "task {id}", "C", "create", json!({"identifier": urn(ID)})),
            ("jobs.manage", "clear {id}", "D", "delete", json!({"identifier": urn(ID)})),
            ("emergency.open", "life-threat {id}", "C", "110127", json!({"identifier": urn(ID)})),
            ("emergency.open", "life-threat", "C", "110127", Value::Null),
        ] {
            let event = event(&record(action, &detail.replace("{id}", ID).replace("{person}", PATIENT)));
            assert_eq!((&event["action"], &event["subtype"][0]["code"]), (&json!(code), &json!(subtype)), "{action}");
            let entities = event["entity"].as_array().unwrap();
            assert_eq!((entities.len(), &entities[0]["what"]), (1, &what), "{action} {detail}");
        }
    }

    #[test]
    fn a_patient_is_there_beside_what_was_done() {
        let event = event(&AuditRecord { patient_id: PATIENT.into(), ..record("timeline.read", "8867-4") });
        assert_eq!(event["entity"][0]["what"]["reference"], format!("Patient/{PATIENT}"));
        assert_eq!(event["entity"][1]["name"], "timeline");
        assert_eq!(event["purposeOfEvent"][0]["coding"][0]["code"], "HOPERAT");
    }

    #[test]
    fn who_is_not_proven_is_unknown() {
        let nobody = AuditRecord { subject: String::new(), denied: "INVALID_TOKEN".into(), ..record("login", "x") };
        let claimed = AuditRecord { claimed_subject: format!("device:{ID}"), ..nobody.clone() };
        for (record, display) in
            [(nobody, "not known".to_owned()), (claimed, format!("claims to be device:{ID}, not proven"))]
        {
            let who = event(&record)["agent"][0]["who"].clone();
            assert_eq!((&who["display"], &who["extension"][0]["valueCode"]), (&json!(display), &json!("unknown")));
            assert!(who.get("reference").is_none() && who.get("identifier").is_none(), "{who}");
        }
    }
}
