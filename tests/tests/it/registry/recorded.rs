//! No call of the registry without its record: who did what, and who was refused.

use super::{Asking, grant, person, tie};
use anyhow::Context;
use auth::demo_person;
use model::UserId;
use proto::{
    operations::v1::{AuditRecord, SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    registry::v1::{
        Assignment, ClaimDeviceRequest, Consent, Contact, CreateAssignmentRequest, CreateConsentRequest,
        CreateDeviceRequest, CreateGrantRequest, CreateRelationRequest, CreateRetractionRequest, CreateRoleRequest,
        CreateUserRequest, DeleteGrantRequest, DeleteRoleRequest, DeleteUserRequest, Device, EndAssignmentRequest,
        EndRelationRequest, EndRetractionRequest, ExplainAccessRequest, GetConsentRequest, GetDeviceRequest,
        GetGrantRequest, GetRelationRequest, GetRetractionRequest, GetRoleRequest, GetUserRequest, Grant,
        ImportDevicesRequest, ImportUsersRequest, ListAssignmentsRequest, ListBreakGlassRequest, ListConsentsRequest,
        ListDevicesRequest, ListGrantsRequest, ListRelationsRequest, ListRetractionsRequest, ListRolesRequest,
        ListUserVersionsRequest, ListUsersRequest, Medical, OpenBreakGlassRequest, Relation, RenewDeviceTokenRequest,
        ReportDeviceRequest, Retraction, ReviewBreakGlassRequest, RevokeConsentRequest, RevokeDeviceRequest, Role,
        RotateDeviceRequest, UpdateDeviceRequest, UpdateRoleRequest, UpdateUserRequest, User,
        enrolment_service_client::EnrolmentServiceClient,
    },
};
use tests::Sandbox;
use tonic::transport::Channel;
use uuid::Uuid;

/// The audit log, as an auditor reads it.
struct Log {
    client: AuditServiceClient<Channel>,
    token: String,
}

impl Log {
    /// The newest record that is not about reading the log.
    async fn last(&self) -> anyhow::Result<AuditRecord> {
        let request = tests::with_token(SearchAuditLogRequest::default(), &self.token)?;
        let records = self.client.clone().search_audit_log(request).await?.into_inner().records;
        let own = |record: &AuditRecord| ["audit.read", "login"].contains(&record.action.as_str());
        records.into_iter().find(|record| !own(record)).context("no record")
    }
}

/// Calls an rpc as somebody who may, then as somebody who may not, and asserts that both were written down.
macro_rules! recorded {
    ($log:ident, $who:expr, $stranger:ident, $rpc:ident($message:expr), $action:literal) => {{
        for (allowed, (asking, id)) in [(true, &mut $who), (false, &mut $stranger)] {
            let before = $log.last().await?;
            let request = asking.request($message);
            // what comes of it matters less than that it was tried
            let _ = asking.client.$rpc(request).await;
            let record = $log.last().await?;
            assert_ne!((&record.writer_id, record.sequence), (&before.writer_id, before.sequence), stringify!($rpc));
            let said = (record.subject.as_str(), record.action.as_str(), record.denied.is_empty());
            assert_eq!(said, (format!("user:{id}").as_str(), $action, allowed), stringify!($rpc));
        }
    }};
}

#[tokio::test]
async fn each_call_and_each_refusal_is_written_down() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let demo = async |role: &str| -> anyhow::Result<_> {
        Ok((Asking::demo(&sandbox, role).await?, demo_person(role).context("nobody")?.uuid()))
    };
    let (mut admin, mut integrator) = (demo("administrator").await?, demo("device-integrator").await?);
    let mut auditor = demo("auditor").await?;
    let client = AuditServiceClient::new(sandbox.channel().await?);
    let log = Log { client, token: sandbox.issuer()?.user_token(UserId::new(auditor.1))? };
    let mut made = Vec::new();
    for (name, role) in [("Pat", "patient"), ("Nina", "nurse"), ("Sam", "")] {
        let user = person(&mut admin.0, name, role == "patient").await?;
        if !role.is_empty() {
            grant(&mut admin.0, &user.user_id, role).await?;
        }
        let id: Uuid = user.user_id.parse()?;
        made.push((Asking::user(&sandbox, id).await?, id));
    }
    let [mut patient, mut nurse, mut stranger] =
        <[(Asking, Uuid); 3]>::try_from(made).map_err(|_| anyhow::anyhow!("three people"))?;
    let request = admin.0.request(GetUserRequest { user_id: patient.1.to_string() });
    let patient_id =
        admin.0.client.get_user(request).await?.into_inner().user.context("a user")?.patient_id().to_owned();
    tie(&mut admin.0, &nurse.1.to_string(), "care-team", &patient_id).await?;
    let (some, whom) = (|| Uuid::new_v4().to_string(), || patient_id.clone());
    let pat = || patient.1.to_string();

    recorded!(log, nurse, stranger, get_user(GetUserRequest { user_id: pat() }), "profile.read");
    for (asking, purpose) in [(&mut patient.0, "PATRQT"), (&mut nurse.0, "TREAT")] {
        let request = asking.request(GetUserRequest { user_id: pat() });
        asking.client.get_user(request).await?;
        assert_eq!(log.last().await?.purpose, purpose);
    }
    let history = || User {
        user_id: pat(),
        medical: Some(Medical { height_cm: Some(170.0), ..Medical::default() }),
        ..User::default()
    };
    let update = || UpdateUserRequest { user: Some(history()), update_mask: None };
    let said = |record: AuditRecord| (record.action, record.denied, record.detail, record.purpose);
    let line = |action: &str, denied: &str, detail: String, purpose: &str| {
        (action.to_owned(), denied.to_owned(), detail, purpose.to_owned())
    };
    for (asking, action, denied, purpose) in
        [(&mut nurse.0, "medical.write", "", "TREAT"), (&mut stranger.0, "profile.read", "PERMISSION", "HOPERAT")]
    {
        let request = asking.request(update());
        assert_eq!(asking.client.update_user(request).await.is_ok(), denied.is_empty());
        assert_eq!(said(log.last().await?), line(action, denied, format!("update {}", pat()), purpose));
    }
    let contact = Some(Contact { phone: Some("+1 555 0100".into()), ..Contact::default() });
    let theirs = User { user_id: pat(), contact, ..User::default() };
    let request = nurse.0.request(UpdateUserRequest { user: Some(theirs), update_mask: None });
    assert!(nurse.0.client.update_user(request).await.is_err());
    let record = log.last().await?;
    assert_eq!((record.action.as_str(), record.denied.as_str()), ("contact.write", "PERMISSION"));
    assert_eq!(record.detail, format!("update {}", pat()));
    recorded!(
        log,
        nurse,
        stranger,
        list_user_versions(ListUserVersionsRequest { user_id: pat(), ..Default::default() }),
        "profile.read"
    );
    recorded!(log, admin, stranger, list_users(ListUsersRequest::default()), "users.manage");
    recorded!(log, admin, stranger, create_user(CreateUserRequest { user: Some(User::default()) }), "users.manage");
    let delete = || DeleteUserRequest { user_id: some(), etag: String::new() };
    recorded!(log, admin, stranger, delete_user(delete()), "users.manage");
    recorded!(log, admin, stranger, import_users(ImportUsersRequest { csv: "name\nA\n".into() }), "users.manage");

    recorded!(log, admin, stranger, get_role(GetRoleRequest { role_id: "nurse".into() }), "roles.manage");
    assert_eq!(log.last().await?.detail, "get role nurse");
    recorded!(log, admin, stranger, list_roles(ListRolesRequest {}), "roles.manage");
    let role = || Some(Role { role_id: "helper".into(), category: Some("clinician".into()), ..Role::default() });
    recorded!(log, admin, stranger, create_role(CreateRoleRequest { role: role() }), "roles.manage");
    let update = || UpdateRoleRequest { role: role(), update_mask: None };
    recorded!(log, admin, stranger, update_role(update()), "roles.manage");
    let delete = || DeleteRoleRequest { role_id: "helper".into(), etag: String::new() };
    recorded!(log, admin, stranger, delete_role(delete()), "roles.manage");
    recorded!(log, admin, stranger, get_grant(GetGrantRequest { grant_id: some() }), "roles.manage");
    recorded!(log, admin, stranger, list_grants(ListGrantsRequest::default()), "roles.manage");
    let held = || Some(Grant { user_id: some(), role_id: "nurse".into(), ..Grant::default() });
    recorded!(log, admin, stranger, create_grant(CreateGrantRequest { grant: held() }), "roles.manage");
    recorded!(
        log,
        admin,
        stranger,
        delete_grant(DeleteGrantRequest { grant_id: some(), ..Default::default() }),
        "roles.manage"
    );

    recorded!(log, admin, stranger, get_relation(GetRelationRequest { relation_id: some() }), "relations.manage");
    recorded!(log, admin, stranger, list_relations(ListRelationsRequest::default()), "relations.manage");
    let tied = || {
        let (user_id, kind, patient_id) = (some(), "proxy".into(), whom());
        CreateRelationRequest { relation: Some(Relation { user_id, kind, patient_id, ..Relation::default() }) }
    };
    recorded!(log, admin, stranger, create_relation(tied()), "relations.manage");
    recorded!(
        log,
        admin,
        stranger,
        end_relation(EndRelationRequest { relation_id: some(), ..Default::default() }),
        "relations.manage"
    );

    let get = || GetConsentRequest { patient_id: whom(), consent_id: some() };
    recorded!(log, patient, stranger, get_consent(get()), "consents.manage");
    recorded!(
        log,
        patient,
        stranger,
        list_consents(ListConsentsRequest { patient_id: whom(), ..Default::default() }),
        "consents.manage"
    );
    let consent =
        || Some(Consent { patient_id: whom(), bars: "anyone".into(), purpose: "HRESCH".into(), ..Consent::default() });
    recorded!(log, patient, stranger, create_consent(CreateConsentRequest { consent: consent() }), "consents.manage");
    let consent_id = some();
    let consent = consent().map(|consent| Consent { consent_id: consent_id.clone(), ..consent });
    let request = stranger.0.request(CreateConsentRequest { consent });
    assert!(stranger.0.client.create_consent(request).await.is_err());
    assert_eq!(log.last().await?.detail, format!("create {consent_id}"));
    let revoke = || RevokeConsentRequest { patient_id: whom(), consent_id: some(), ..Default::default() };
    recorded!(log, patient, stranger, revoke_consent(revoke()), "consents.manage");

    let get = || GetRetractionRequest { patient_id: whom(), retraction_id: some() };
    recorded!(log, nurse, stranger, get_retraction(get()), "timeline.read");
    let list = || ListRetractionsRequest { patient_id: whom(), ..Default::default() };
    recorded!(log, nurse, stranger, list_retractions(list()), "timeline.read");
    let retract =
        || CreateRetractionRequest { retraction: Some(Retraction { patient_id: whom(), ..Retraction::default() }) };
    recorded!(log, nurse, stranger, create_retraction(retract()), "readings.retract");
    let end = || EndRetractionRequest { patient_id: whom(), retraction_id: some(), ..Default::default() };
    recorded!(log, nurse, stranger, end_retraction(end()), "readings.retract");

    let open = || {
        let (reason, text) = ("life-threat".into(), "no pulse, alone on the ward".into());
        OpenBreakGlassRequest { patient_id: whom(), reason, text, minutes: 1 }
    };
    recorded!(log, nurse, stranger, open_break_glass(open()), "emergency.open");
    recorded!(log, auditor, stranger, list_break_glass(ListBreakGlassRequest::default()), "emergency.review");
    let review = || ReviewBreakGlassRequest { break_glass_id: some(), outcome: "unclear".into(), ..Default::default() };
    recorded!(log, auditor, stranger, review_break_glass(review()), "emergency.review");
    let explain = || {
        let (user_id, action) = (some(), "latest.read".into());
        ExplainAccessRequest { user_id, patient_id: whom(), action, purpose: String::new() }
    };
    recorded!(log, auditor, stranger, explain_access(explain()), "access.explain");

    let device = || Some(Device { device_id: some(), name: Some("Monitor".into()), ..Device::default() });
    let create = || CreateDeviceRequest { device: device() };
    recorded!(log, integrator, stranger, create_device(create()), "devices.register");
    recorded!(log, integrator, stranger, get_device(GetDeviceRequest { device_id: some() }), "devices.register");
    recorded!(log, integrator, stranger, list_devices(ListDevicesRequest::default()), "devices.register");
    let update = || UpdateDeviceRequest { device: device(), update_mask: None };
    recorded!(log, integrator, stranger, update_device(update()), "devices.register");
    let import = || ImportDevicesRequest { csv: "name\nA\n".into() };
    recorded!(log, integrator, stranger, import_devices(import()), "devices.register");
    recorded!(
        log,
        integrator,
        stranger,
        rotate_device(RotateDeviceRequest { device_id: some(), ..Default::default() }),
        "devices.register"
    );
    let revoke = || RevokeDeviceRequest { device_id: some(), retire: false, ..Default::default() };
    recorded!(log, integrator, stranger, revoke_device(revoke()), "devices.register");

    let list = || ListAssignmentsRequest { patient_id: whom(), device_id: String::new(), ..Default::default() };
    recorded!(log, nurse, stranger, list_assignments(list()), "device.assign");
    let assign = || {
        let assignment = Assignment { device_id: some(), patient_id: whom(), ..Assignment::default() };
        CreateAssignmentRequest { assignment: Some(assignment) }
    };
    recorded!(log, nurse, stranger, create_assignment(assign()), "device.assign");
    let end = |assignment_id| EndAssignmentRequest { assignment_id, at: None, ..Default::default() };
    let request = stranger.0.request(end(some()));
    assert!(stranger.0.client.end_assignment(request).await.is_err());
    assert_eq!((log.last().await?.action.as_str(), log.last().await?.denied.as_str()), ("device.assign", "PERMISSION"));
    Ok(())
}

#[tokio::test]
async fn what_a_device_does_is_written_down_too() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let auditor = demo_person("auditor").context("nobody")?;
    let client = AuditServiceClient::new(sandbox.channel().await?);
    let log = Log { client, token: sandbox.issuer()?.user_token(auditor)? };
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let request = integrator
        .request(CreateDeviceRequest { device: Some(Device { name: Some("Monitor".into()), ..Device::default() }) });
    let made = integrator.client.create_device(request).await?.into_inner();
    let device_id = made.device.context("a device")?.device_id;
    let last = async || -> anyhow::Result<_> {
        let AuditRecord { subject, claimed_subject, action, denied, detail, .. } = log.last().await?;
        let device = format!("device:{device_id}");
        let named = if denied.is_empty() { (device, String::new()) } else { (String::new(), device) };
        assert_eq!(
            ((subject, claimed_subject), action.as_str()),
            (named, "readings.send"),
            "who proved nothing claims it"
        );
        Ok((detail, denied))
    };
    let mut enrolment = EnrolmentServiceClient::new(sandbox.channel().await?);
    let claim = |code: &str| {
        let (device_id, claim_code) = (device_id.clone(), code.to_owned());
        ClaimDeviceRequest { device_id, claim_code, csr: String::new() }
    };
    assert!(enrolment.claim_device(claim("WRONG")).await.is_err());
    assert_eq!(last().await?, ("claim".to_owned(), "PERMISSION".to_owned()));
    let token = enrolment.claim_device(claim(&made.claim_code)).await?.into_inner().token;
    assert_eq!(last().await?, ("claim".to_owned(), String::new()));
    let mut itself = Asking::with(&sandbox, token).await?;
    let request = itself.request(RenewDeviceTokenRequest::default());
    itself.client.renew_device_token(request).await?;
    assert_eq!(last().await?, ("renew".to_owned(), String::new()));
    let request = itself.request(ReportDeviceRequest::default());
    itself.client.report_device(request).await?;
    assert_eq!(last().await?, (format!("report {device_id}"), String::new()));
    Ok(())
}
