//! An update changes what it names and nothing else: over gRPC and over JSON, for every field that there is.

use super::{Asking, grant, person, refusal, refused, tie};
use anyhow::Context;
use proto::{
    prost_types::FieldMask,
    registry::v1::{
        Assignment, Billing, Contact, ContactPerson, CreateAssignmentRequest, CreateDeviceRequest, CreateRoleRequest,
        CreateUserRequest, Device, GetDeviceRequest, GetRoleRequest, GetUserRequest, Medical, Person, Role,
        UpdateDeviceRequest, UpdateRoleRequest, UpdateUserRequest, User,
    },
    resource::{self, Resource},
    update::Update,
};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tests::{Sandbox, http};
use tonic::{Code, Response, Status};
use uuid::Uuid;

/// A person with a value in every field that can be set.
fn full(text: &str, number: f64) -> User {
    let some = |field: &str| Some(format!("{field} {text}"));
    let relative = |name: &str| {
        vec![ContactPerson { name: format!("{name} {text}"), relationship: String::new(), phone: String::new() }]
    };
    User {
        patient_id: Some(Uuid::new_v4().to_string()),
        ward: Some(format!("ward-{text}")),
        suspended: Some(number > 100.0),
        person: Some(Person { name: some("name"), birth_date: Some(format!("{}-12-31", 1_900.0 + number / 2.0)) }),
        contact: Some(Contact {
            address: some("address"),
            phone: some("phone"),
            email: some("email"),
            primary_care_provider: some("provider"),
            family_members: relative("family"),
            emergency_contacts: relative("emergency"),
            county: Some(if number > 100.0 { "06037" } else { "48201" }.into()),
        }),
        medical: Some(Medical {
            height_cm: Some(number),
            weight_kg: Some(number / 2.0),
            gender: Some(if number > 100.0 { "female" } else { "male" }.into()),
            medications: vec![format!("medication {text}")],
            allergies: vec![format!("allergy {text}")],
            medical_card: some("card"),
        }),
        billing: Some(Billing { address: some("billing"), insurer: some("insurer"), policy_number: some("policy") }),
        ..User::default()
    }
}

fn only<R: Resource>(of: &R, field: &str) -> anyhow::Result<R> {
    let mask = FieldMask { paths: vec![field.to_owned()] };
    Ok(Update::new(of, Some(&mask))?.apply(&R::default())?)
}

/// What each field of a resource holds, by its path; what the server sets is left out.
fn fields<R: Resource>(of: &R) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let own = |field: String| Ok((field.clone(), only(of, &field)?.encode_to_vec()));
    resource::fields::<R>()?.into_iter().map(own).collect()
}

/// Asserts that one field is what `sent` has, and all others are what they were.
fn only_changed<R: Resource>(field: &str, before: &R, sent: &R, after: &R) -> anyhow::Result<()> {
    let mut expected = fields(before)?;
    expected.insert(field.to_owned(), only(sent, field)?.encode_to_vec());
    for (path, bytes) in fields(after)? {
        assert!(expected.get(&path) == Some(&bytes), "{path}, after {field} was sent");
    }
    Ok(())
}

/// A patient with everything, who sees people's places, and who sees their illness.
struct Ward {
    sandbox: Sandbox,
    admin: Asking,
    nurse: Asking,
    user_id: String,
}

impl Ward {
    async fn new() -> anyhow::Result<Self> {
        let sandbox = Sandbox::start(0).await?;
        let mut admin = Asking::demo(&sandbox, "administrator").await?;
        let told = full("before", 50.0);
        let user = Some(User { medical: None, ..told.clone() });
        let request = admin.request(CreateUserRequest { user });
        let made = admin.client.create_user(request).await?.into_inner().user.context("a user")?;
        let nurse = person(&mut admin, "Nina Nurse", false).await?;
        grant(&mut admin, &nurse.user_id, "nurse").await?;
        tie(&mut admin, &nurse.user_id, "care-team", made.patient_id()).await?;
        let nurse = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
        let mut ward = Self { sandbox, admin, nurse, user_id: made.user_id };
        ward.update(User { medical: told.medical, ..User::default() }, None).await?;
        Ok(ward)
    }

    /// As the administrator or, when it is about an illness, as the nurse.
    async fn update(&mut self, user: User, mask: Option<&str>) -> Result<User, Status> {
        let ill = user.medical.is_some() || mask.is_some_and(|mask| mask.starts_with("medical"));
        let asking = if ill { &mut self.nurse } else { &mut self.admin };
        let user = Some(User { user_id: self.user_id.clone(), ..user });
        let update_mask = mask.map(|path| FieldMask { paths: vec![path.to_owned()] });
        let request = asking.request(UpdateUserRequest { user, update_mask });
        Ok(asking.client.update_user(request).await?.into_inner().user.unwrap_or_default())
    }

    /// All that is known of the patient.
    async fn all(&mut self) -> anyhow::Result<User> {
        let mut seen = Vec::new();
        for asking in [&mut self.admin, &mut self.nurse] {
            let request = asking.request(GetUserRequest { user_id: self.user_id.clone() });
            seen.push(asking.client.get_user(request).await?.into_inner().user.context("a user")?);
        }
        let medical = seen[1].medical.clone();
        let whole = User { medical, ..seen.swap_remove(0) };
        let User { patient_id, ward, suspended, person, contact, medical, billing, .. } = whole;
        Ok(User { patient_id, ward, suspended, person, contact, medical, billing, ..User::default() })
    }
}

#[tokio::test]
async fn of_a_person_only_what_is_named_changes() -> anyhow::Result<()> {
    let mut ward = Ward::new().await?;
    // with another patient id or ward the nurse would not see the patient any more
    let movable = |field: &str| !["patient_id", "ward"].contains(&field);
    for (round, masked) in [false, true].into_iter().enumerate() {
        let sent = full(&format!("after-{round}"), 150.0 - 100.0 * round as f64);
        for field in resource::fields::<User>()?.into_iter().filter(|field| movable(field)) {
            let before = ward.all().await?;
            // without a mask it is the only one that is there; with one the others are there and do not count
            let section = field.split('.').next().unwrap_or_default();
            let user = if masked { only(&sent, section)? } else { only(&sent, &field)? };
            ward.update(user, masked.then_some(&field)).await.with_context(|| field.clone())?;
            only_changed(&field, &before, &sent, &ward.all().await?)?;
        }
    }
    // masked and absent: emptied
    let before = ward.all().await?;
    let emptied = User { medical: Some(Medical::default()), ..User::default() };
    ward.update(emptied, Some("medical.weight_kg")).await?;
    let zero = User { medical: Some(Medical { weight_kg: Some(0.0), ..Medical::default() }), ..User::default() };
    only_changed("medical.weight_kg", &before, &zero, &ward.all().await?)
}

#[tokio::test]
async fn of_roles_and_devices_only_what_is_named_changes() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let role = |category: &str, names: &[&str]| {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let category = Some(category.to_owned());
        Role { role_id: "porter".into(), category, permissions: names.clone(), may_grant: names, ..Role::default() }
    };
    let device = |text: &str, number: u8| Device {
        name: Some(format!("name {text}")),
        mac: Some(format!("00:00:5e:00:53:{number:02x}")),
        model: Some(format!("model {text}")),
        mdc_type: Some(number.to_string()),
        ..Device::default()
    };
    let request = admin.request(CreateRoleRequest { role: Some(role("before", &["profile.read"])) });
    let mut held = admin.client.create_role(request).await?.into_inner().role.context("a role")?;
    let sent = role("after", &["profile.read", "medical.read"]);
    for field in resource::fields::<Role>()? {
        let change = Role { role_id: "porter".into(), etag: held.etag.clone(), ..only(&sent, &field)? };
        let request = admin.request(UpdateRoleRequest { role: Some(change), update_mask: None });
        admin.client.update_role(request).await.with_context(|| field.clone())?;
        let request = admin.request(GetRoleRequest { role_id: "porter".into() });
        let after = admin.client.get_role(request).await?.into_inner().role.context("a role")?;
        only_changed(&field, &held, &sent, &after)?;
        held = after;
    }
    // the role that `{}` emptied
    let nothing = Role { role_id: "porter".into(), etag: held.etag.clone(), ..Role::default() };
    let request = admin.request(UpdateRoleRequest { role: Some(nothing), update_mask: None });
    refused!(admin.client.update_role(request).await, InvalidArgument, "EMPTY_CHANGE");
    let request = integrator.request(CreateDeviceRequest { device: Some(device("before", 1)) });
    let made = integrator.client.create_device(request).await?.into_inner().device.context("a device")?;
    let (device_id, bare) = (made.device_id.clone(), |all: Device| Device {
        name: all.name,
        mac: all.mac,
        model: all.model,
        mdc_type: all.mdc_type,
        ..Device::default()
    });
    let (mut held, sent) = (bare(made), device("after", 2));
    for field in resource::fields::<Device>()? {
        let change = Device { device_id: device_id.clone(), ..only(&sent, &field)? };
        let request = integrator.request(UpdateDeviceRequest { device: Some(change), update_mask: None });
        integrator.client.update_device(request).await.with_context(|| field.clone())?;
        let request = integrator.request(GetDeviceRequest { device_id: device_id.clone() });
        let after = bare(integrator.client.get_device(request).await?.into_inner().device.context("a device")?);
        only_changed(&field, &held, &sent, &after)?;
        held = after;
    }
    Ok(())
}

/// One request as JSON; status and body.
async fn call(
    sandbox: &Sandbox,
    asking: &Asking,
    method: &str,
    path: &str,
    body: &str,
) -> anyhow::Result<(u16, Value)> {
    let token = format!("Bearer {}", asking.token);
    let mut headers = vec![("authorization", token.as_str())];
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    let answer = http::ask(sandbox.api()?, method, path, &headers, body).await?;
    Ok((answer.status, answer.json()?))
}

/// Every value of an object by its path, apart from what an update sets by itself.
fn flat(json: &Value, above: &str, found: &mut BTreeMap<String, Value>) {
    for (name, value) in json.as_object().into_iter().flatten() {
        let path = format!("{above}{name}");
        match value {
            Value::Object(_) => flat(value, &format!("{path}."), found),
            _ if ["etag", "updated_at", "updated_by"].contains(&name.as_str()) => {}
            _ => drop(found.insert(path, value.clone())),
        }
    }
}

#[tokio::test]
async fn as_json_only_what_is_in_the_body_changes() -> anyhow::Result<()> {
    let mut ward = Ward::new().await?;
    let path = format!("/v1/users/{}", ward.user_id);
    ward.all().await?;
    let changes = [
        ("nurse", "", json!({"medical": {"weight_kg": 71}}), "medical.weight_kg", json!(71.0)),
        ("nurse", "", json!({"medical": {"allergies": []}}), "medical.allergies", json!([])),
        ("nurse", "", json!({"medical": {"heightCm": 171, "gender": null}}), "medical.height_cm", json!(171.0)),
        ("nurse", "?update_mask=medical.gender", json!({"medical": {"height_cm": 1}}), "medical.gender", json!("")),
        ("admin", "", json!({"contact": {"phone": ""}, "person": {}}), "contact.phone", json!("")),
        ("admin", "", json!({"suspended": true, "ward": null}), "suspended", json!(true)),
    ];
    for (who, query, body, field, value) in changes {
        let asking = if who == "nurse" { &ward.nurse } else { &ward.admin };
        let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
        flat(&call(&ward.sandbox, asking, "GET", &path, "").await?.1, "", &mut before);
        let (status, answer) =
            call(&ward.sandbox, asking, "PATCH", &format!("{path}{query}"), &body.to_string()).await?;
        assert_eq!(status, 200, "{body} {answer}");
        flat(&call(&ward.sandbox, asking, "GET", &path, "").await?.1, "", &mut after);
        before.insert(field.to_owned(), value);
        assert_eq!(before, after, "{body}");
    }
    let refused = [
        (json!({}), "EMPTY_CHANGE", "update_mask"),
        (json!({"medical": {}, "ward": null}), "EMPTY_CHANGE", "update_mask"),
        (json!({"updated_by": "x", "suspended": true}), "OUTPUT_ONLY", "updated_by"),
        (json!({"hidden": [], "suspended": true}), "OUTPUT_ONLY", "hidden"),
        (json!({"updated_at": "2026-01-31T12:00:00Z"}), "OUTPUT_ONLY", "updated_at"),
    ];
    for (body, reason, field) in refused {
        let (status, problem) = call(&ward.sandbox, &ward.admin, "PATCH", &path, &body.to_string()).await?;
        let said = (status, problem["reason"].as_str(), problem["violations"][0]["field"].as_str());
        assert_eq!(said, (400, Some(reason), Some(field)), "{body}");
    }
    let body = json!({"registered_by": "x", "name": "y", "status": "active"}).to_string();
    let (status, problem) = call(&ward.sandbox, &ward.admin, "POST", "/v1/devices", &body).await?;
    assert_eq!((status, problem["violations"].as_array().map(Vec::len)), (400, Some(2)), "{problem}");
    // a role is changed by who has read it, and never emptied by silence
    let role = "/v1/roles/nurse";
    let (status, problem) = call(&ward.sandbox, &ward.admin, "PATCH", role, r#"{"category": "x"}"#).await?;
    assert_eq!((status, problem["reason"].as_str()), (428, Some("ETAG_REQUIRED")));
    let (_, before) = call(&ward.sandbox, &ward.admin, "GET", role, "").await?;
    let change = json!({"category": "carer", "etag": before["etag"]}).to_string();
    let (status, after) = call(&ward.sandbox, &ward.admin, "PATCH", role, &change).await?;
    assert_eq!((status, &after["permissions"], &after["category"]), (200, &before["permissions"], &json!("carer")));
    let emptied = json!({"permissions": [], "etag": after["etag"]}).to_string();
    let (status, problem) = call(&ward.sandbox, &ward.admin, "PATCH", role, &emptied).await?;
    assert_eq!((status, problem["reason"].as_str()), (409, Some("BUILT_IN_ROLE")));
    let (status, _) = call(&ward.sandbox, &ward.admin, "PATCH", role, &change).await?;
    assert_eq!(status, 412);
    Ok(())
}

#[tokio::test]
async fn the_document_marks_what_is_the_servers() -> anyhow::Result<()> {
    let document: Value = serde_json::from_str(&gateway::openapi::document()?)?;
    let of = |schema: &str, field: &str| document["components"]["schemas"][schema]["properties"][field].clone();
    for (schema, field) in
        [("User", "updated_by"), ("User", "hidden"), ("Device", "status"), ("Assignment", "assigned_by")]
    {
        assert_eq!(of(schema, field)["readOnly"], json!(true), "{schema}.{field}");
    }
    let no_map = Map::new();
    for (schema, field) in [("User", "ward"), ("User", "user_id"), ("User", "etag"), ("Device", "name")] {
        let found = of(schema, field);
        assert!(!found.as_object().unwrap_or(&no_map).contains_key("readOnly"), "{schema}.{field}");
    }
    Ok(())
}

#[tokio::test]
async fn who_manages_people_is_told_that_illness_is_not_theirs_to_enter() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let request = admin.request(CreateUserRequest { user: Some(full("x", 50.0)) });
    let answer = admin.client.create_user(request).await.map(Response::into_inner).map(Response::new);
    assert_eq!(refused!(answer, PermissionDenied, "NOT_PERMITTED"), "user.medical");
    Ok(())
}

#[tokio::test]
async fn what_the_server_sets_is_refused_also_of_what_is_new() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let user = User { hidden: vec!["medical".into()], ..User::default() };
    let request = admin.request(CreateUserRequest { user: Some(user) });
    assert_eq!(refused!(admin.client.create_user(request).await, InvalidArgument, "OUTPUT_ONLY"), "user.hidden");
    let id = || Uuid::new_v4().to_string();
    let assignment = Assignment { device_id: id(), patient_id: id(), assigned_by: id(), ..Assignment::default() };
    let request = admin.request(CreateAssignmentRequest { assignment: Some(assignment) });
    let field = refused!(admin.client.create_assignment(request).await, InvalidArgument, "OUTPUT_ONLY");
    assert_eq!(field, "assignment.assigned_by");
    let device = Device { status: "active".into(), ..Device::default() };
    let request = admin.request(CreateDeviceRequest { device: Some(device) });
    assert_eq!(refused!(admin.client.create_device(request).await, InvalidArgument, "OUTPUT_ONLY"), "device.status");
    Ok(())
}
