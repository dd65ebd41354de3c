//! People, consents and emergencies.

use super::{Asking, grant, person, refusal, refused, tie};
use anyhow::Context;
use auth::demo_person;
use model::UserId;
use proto::{
    prost_types::FieldMask,
    registry::v1::{
        Billing, Consent, Contact, CreateConsentRequest, CreateUserRequest, DeleteUserRequest, EndRelationRequest,
        ExplainAccessRequest, GetUserRequest, ListBreakGlassRequest, ListConsentsRequest, ListUserVersionsRequest,
        ListUsersRequest, Medical, OpenBreakGlassRequest, Person, ReviewBreakGlassRequest, RevokeConsentRequest,
        UpdateUserRequest, User,
    },
    telemetry::v1::LatestReadingsRequest,
};
use tests::{Sandbox, wait::until, with_token};
use tonic::{Code, Status};
use uuid::Uuid;

async fn get(asking: &mut Asking, user_id: &str) -> Result<User, Status> {
    let request = asking.request(GetUserRequest { user_id: user_id.into() });
    Ok(asking.client.get_user(request).await?.into_inner().user.unwrap_or_default())
}

async fn update(asking: &mut Asking, user: User, paths: &[&str]) -> Result<User, Status> {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let request = asking.request(UpdateUserRequest { user: Some(user), update_mask: Some(FieldMask { paths }) });
    Ok(asking.client.update_user(request).await?.into_inner().user.unwrap_or_default())
}

/// Whether somebody may read a patient's latest values.
async fn reads(sandbox: &Sandbox, user_id: &str, patient_id: &str, purpose: Option<&str>) -> anyhow::Result<bool> {
    let token = sandbox.issuer()?.user_token(UserId::new(user_id.parse()?))?;
    let mut request = with_token(LatestReadingsRequest { patient_id: patient_id.into(), metrics: vec![] }, &token)?;
    if let Some(purpose) = purpose {
        request.metadata_mut().insert("purpose-of-use", purpose.parse()?);
    }
    match sandbox.timeline().await?.latest_readings(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => anyhow::bail!("{status}"),
    }
}

#[tokio::test]
async fn each_sees_and_changes_the_sections_that_are_theirs() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patient = person(&mut admin, "Pat Doe", true).await?;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    let other = person(&mut admin, "Otto Other", false).await?;
    let relation = tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    for (user, role) in [(&patient, "patient"), (&nurse, "nurse"), (&other, "nurse")] {
        grant(&mut admin, &user.user_id, role).await?;
    }
    let billing = Billing { insurer: Some("Mutual".into()), policy_number: Some("P-1".into()), ..Billing::default() };
    let changed = User { billing: Some(billing), ..User { user_id: patient.user_id.clone(), ..User::default() } };
    update(&mut admin, changed, &["billing"]).await?;

    let [mut own, mut nursing, mut stranger] = [
        Asking::user(&sandbox, patient.user_id.parse()?).await?,
        Asking::user(&sandbox, nurse.user_id.parse()?).await?,
        Asking::user(&sandbox, other.user_id.parse()?).await?,
    ];
    let seen = get(&mut own, &patient.user_id).await?;
    assert_eq!(seen.billing.as_ref().map(|billing| billing.insurer()), Some("Mutual"));
    assert!(seen.hidden.is_empty(), "{:?}", seen.hidden);
    let seen = get(&mut nursing, &patient.user_id).await?;
    assert_eq!(
        (seen.person.is_some(), seen.billing.is_some(), &seen.hidden[..]),
        (true, false, &["billing".to_owned()][..])
    );
    let seen = get(&mut admin, &patient.user_id).await?;
    assert_eq!((seen.billing.is_some(), &seen.hidden[..]), (true, &["medical".to_owned()][..]));

    // what one may not see answers as what does not exist, in every byte
    let hidden = get(&mut stranger, &patient.user_id).await.err().context("a refusal")?;
    let missing = get(&mut stranger, &Uuid::new_v4().to_string()).await.err().context("a refusal")?;
    assert_eq!(
        (hidden.code(), hidden.message(), hidden.details()),
        (missing.code(), missing.message(), missing.details())
    );
    assert_eq!(hidden.code(), Code::NotFound);

    let phone = |text: &str, etag: &str| {
        let contact = Some(Contact { phone: Some(text.into()), ..Contact::default() });
        User { user_id: patient.user_id.clone(), contact, etag: etag.into(), ..User::default() }
    };
    let before = get(&mut own, &patient.user_id).await?;
    let after = update(&mut own, phone("+1 555 0100", &before.etag), &["contact.phone"]).await?;
    assert_eq!(after.contact.as_ref().map(|contact| contact.phone()), Some("+1 555 0100"));
    let late = update(&mut own, phone("+1 555 0199", &before.etag), &["contact.phone"]).await;
    refused!(late.map(tonic::Response::new), Aborted, "ETAG_MISMATCH");
    let theirs = update(&mut nursing, phone("+1 555 0199", ""), &["contact.phone"]).await;
    assert_eq!(theirs.err().map(|status| status.code()), Some(Code::PermissionDenied));
    let medical = Some(Medical { height_cm: Some(170.0), allergies: vec!["penicillin".into()], ..Medical::default() });
    let history = User { user_id: patient.user_id.clone(), medical, ..User::default() };
    update(&mut nursing, history.clone(), &["medical.height_cm", "medical.allergies"]).await?;
    let theirs = update(&mut own, history, &["medical"]).await;
    assert_eq!(theirs.err().map(|status| status.code()), Some(Code::PermissionDenied));

    let request = own.request(ListUserVersionsRequest { user_id: patient.user_id.clone(), ..Default::default() });
    let versions = own.client.list_user_versions(request).await?.into_inner().versions;
    let by: Vec<_> = versions.iter().map(|version| version.updated_by.clone()).collect();
    let admin_id = demo_person("administrator").context("nobody")?.uuid();
    let expected = [&nurse.user_id, &patient.user_id, &admin_id.to_string(), &admin_id.to_string()];
    assert_eq!(by, expected.map(|id| format!("user:{id}")));
    assert_eq!(versions[2].contact.as_ref().map(|contact| contact.phone()).unwrap_or_default(), "");

    // the end of a relation closes what it opened, and a deleted person's token opens nothing
    let request = admin.request(EndRelationRequest { relation_id: relation.relation_id, ..Default::default() });
    admin.client.end_relation(request).await?;
    assert_eq!(get(&mut nursing, &patient.user_id).await.err().map(|status| status.code()), Some(Code::NotFound));
    let request = admin.request(DeleteUserRequest { user_id: patient.user_id.clone(), etag: String::new() });
    admin.client.delete_user(request).await?;
    assert!(get(&mut own, &patient.user_id).await.is_err());
    Ok(())
}

#[tokio::test]
async fn bad_people_are_refused_with_the_field() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patient = person(&mut admin, "Pat Doe", true).await?;
    let named = |name: &str, birth_date: &str| {
        let person = Some(Person { name: Some(name.into()), birth_date: Some(birth_date.into()) });
        User { person, ..User::default() }
    };
    let contact = |contact: Contact| User { contact: Some(contact), ..User::default() };
    let cases = [
        (named("A", "2999-01-01"), "person.birth_date"),
        (named("A", "1969-02-30"), "person.birth_date"),
        (named(&"A".repeat(201), ""), "person.name"),
        (named("A\u{7}", ""), "person.name"),
        (contact(Contact { email: Some("e".repeat(255)), ..Contact::default() }), "contact.email"),
        (User { ward: Some("ICU 1".into()), ..User::default() }, "ward"),
        (User { ward: Some("icu".into()), ..User::default() }, "ward"),
        (User { user_id: "x".into(), ..User::default() }, "user.user_id"),
        (User { patient_id: Some("x".into()), ..User::default() }, "patient_id"),
    ];
    for (user, field) in cases {
        let request = admin.request(CreateUserRequest { user: Some(user) });
        let (code, _, found) = refusal(admin.client.create_user(request).await)?;
        assert_eq!((code, found.as_str()), (Code::InvalidArgument, field));
    }
    for (user_id, patient_id, reason) in
        [(&patient.user_id, "", "EXISTS"), (&String::new(), patient.patient_id(), "PATIENT_TAKEN")]
    {
        let user = User { user_id: user_id.clone(), patient_id: Some(patient_id.into()), ..User::default() };
        let request = admin.request(CreateUserRequest { user: Some(user) });
        let (code, found, _) = refusal(admin.client.create_user(request).await)?;
        assert_eq!((code, found.as_str()), (Code::AlreadyExists, reason));
    }
    let bad = update(&mut admin, User { user_id: patient.user_id, ..User::default() }, &["shoe_size"]).await;
    assert_eq!(refused!(bad.map(tonic::Response::new), InvalidArgument, "INVALID_FIELD"), "update_mask.paths[0]");
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let request = nurse.request(ListUsersRequest::default());
    refused!(nurse.client.list_users(request).await, PermissionDenied, "NOT_PERMITTED");
    Ok(())
}

#[tokio::test]
async fn people_are_listed_page_by_page_and_by_what_they_are() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    for number in 0..5 {
        let user = person(&mut admin, &format!("Person {number}"), number < 3).await?;
        if number == 4 {
            grant(&mut admin, &user.user_id, "nurse").await?;
        }
    }
    let mut list = async |filter: &str, page_size| -> anyhow::Result<Vec<usize>> {
        let (mut sizes, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = admin.request(ListUsersRequest { page_size, page_token, filter: filter.into() });
            let page = admin.client.list_users(request).await?.into_inner();
            sizes.push(page.users.len());
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(sizes);
            }
        }
    };
    assert_eq!(list("", 2).await?, [2, 2, 1]);
    assert_eq!(list("ward=\"icu\" AND patient=true", 0).await?, [3]);
    assert_eq!(list("role=\"nurse\"", 0).await?, [1]);
    assert!(list("name=\"Person 1\"", 0).await.is_err());
    Ok(())
}

#[tokio::test]
async fn consent_and_emergencies_count_at_once_and_can_be_explained() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patient = person(&mut admin, "Pat Doe", true).await?;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &patient.user_id, "patient").await?;
    grant(&mut admin, &nurse.user_id, "nurse").await?;
    tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
    let (who, whom) = (nurse.user_id.as_str(), patient.patient_id());
    assert!(reads(&sandbox, who, whom, None).await?);

    let mut own = Asking::user(&sandbox, patient.user_id.parse()?).await?;
    let consent = Consent { patient_id: whom.into(), bars: "anyone".into(), ..Consent::default() };
    let request = own.request(CreateConsentRequest { consent: Some(consent.clone()) });
    let made = own.client.create_consent(request).await?.into_inner().consent.context("a consent")?;
    assert!(!reads(&sandbox, who, whom, None).await?);
    assert!(reads(&sandbox, &patient.user_id, whom, None).await?, "never against oneself");
    let mut explain = async |purpose: &str| {
        let (user_id, patient_id) = (who.to_owned(), whom.to_owned());
        let action = "latest.read".to_owned();
        let request = admin.request(ExplainAccessRequest { user_id, patient_id, action, purpose: purpose.into() });
        admin.client.explain_access(request).await.map(tonic::Response::into_inner)
    };
    let why = explain("").await?;
    assert_eq!((why.allowed, why.denied.as_str()), (false, "CONSENT"));
    let steps = why.steps.join("\n");
    for step in ["holds the role nurse everywhere", "relation care-team holds", "barred everybody, for any purpose"] {
        assert!(steps.contains(step), "{step} in:\n{steps}");
    }

    // an emergency opens it for that purpose alone; the review is somebody else's
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    let open = |text: &str, minutes| OpenBreakGlassRequest {
        patient_id: whom.into(),
        reason: "life-threat".into(),
        text: text.into(),
        minutes,
    };
    for (text, minutes, field) in [("short", 0, "text"), ("no pulse, alone on the ward", 61, "minutes")] {
        let request = nursing.request(open(text, minutes));
        assert_eq!(refusal(nursing.client.open_break_glass(request).await)?.2, field);
    }
    let request = nursing.request(open("no pulse, alone on the ward", 0));
    let emergency = nursing.client.open_break_glass(request).await?.into_inner().break_glass.context("an emergency")?;
    assert!(reads(&sandbox, who, whom, Some("ETREAT")).await?);
    assert!(!reads(&sandbox, who, whom, Some("TREAT")).await?);
    assert!(explain("ETREAT").await?.until.is_some(), "it ends");
    let mut auditor = Asking::demo(&sandbox, "auditor").await?;
    let request = auditor.request(ListBreakGlassRequest { unreviewed: true, ..Default::default() });
    let waiting = auditor.client.list_break_glass(request).await?.into_inner().break_glass;
    assert_eq!(waiting.iter().map(|one| &one.break_glass_id).collect::<Vec<_>>(), [&emergency.break_glass_id]);
    let (break_glass_id, text) = (emergency.break_glass_id, "seen on the ward".to_owned());
    let review = ReviewBreakGlassRequest { break_glass_id, outcome: "justified".into(), text };
    let request = nursing.request(review.clone());
    refused!(nursing.client.review_break_glass(request).await, PermissionDenied, "NOT_PERMITTED");
    let request = auditor.request(review.clone());
    auditor.client.review_break_glass(request).await?;
    let request = auditor.request(review);
    refused!(auditor.client.review_break_glass(request).await, FailedPrecondition, "REVIEWED");

    let (patient_id, consent_id) = (whom.to_owned(), made.consent_id);
    let request = nursing.request(RevokeConsentRequest {
        patient_id: whom.into(),
        consent_id: consent_id.clone(),
        ..Default::default()
    });
    refused!(nursing.client.revoke_consent(request).await, PermissionDenied, "NOT_PERMITTED");
    let request = own.request(RevokeConsentRequest { patient_id, consent_id, ..Default::default() });
    own.client.revoke_consent(request).await?;
    assert!(reads(&sandbox, who, whom, Some("TREAT")).await?);
    let request = own.request(ListConsentsRequest { patient_id: whom.into(), ..Default::default() });
    assert_eq!(own.client.list_consents(request).await?.into_inner().consents.len(), 1, "what was said stays known");
    for (bars, field) in [("self", "consent.bars"), ("the neighbours", "consent.bars")] {
        let consent = Consent { bars: bars.into(), ..consent.clone() };
        let request = own.request(CreateConsentRequest { consent: Some(consent) });
        assert_eq!(refusal(own.client.create_consent(request).await)?.2, field);
    }
    Ok(())
}

#[tokio::test]
async fn a_consent_is_its_patients_and_counts_until_its_end() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    grant(&mut admin, &nurse.user_id, "nurse").await?;
    let mut patients = Vec::new();
    for name in ["Pat", "Otto"] {
        let patient = person(&mut admin, name, true).await?;
        grant(&mut admin, &patient.user_id, "patient").await?;
        tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?;
        patients.push((Asking::user(&sandbox, patient.user_id.parse()?).await?, patient));
    }
    let now = guard::clock::now();
    let second = |seconds: i64| Some(guard::convert::timestamp(now.plus(seconds * model::Nanos::SECOND)));
    let mut ids = Vec::new();
    let over = Consent {
        patient_id: patients[0].1.patient_id().to_owned(),
        bars: "anyone".into(),
        start_time: second(-20),
        end_time: second(-10),
        ..Consent::default()
    };
    let request = patients[0].0.request(CreateConsentRequest { consent: Some(over) });
    assert_eq!(
        refused!(patients[0].0.client.create_consent(request).await, InvalidArgument, "ALREADY_OVER"),
        "end_time"
    );
    // one that is not yet, one that is over soon
    for (from, to) in [(3_600, 7_200), (-20, 3)] {
        let (asking, patient) = &mut patients[0];
        let (patient_id, bars) = (patient.patient_id().to_owned(), "anyone".into());
        let consent =
            Consent { patient_id, bars, start_time: second(from), end_time: second(to), ..Consent::default() };
        let request = asking.request(CreateConsentRequest { consent: Some(consent) });
        let made = asking.client.create_consent(request).await?.into_inner().consent.context("a consent")?;
        let reads = reads(&sandbox, &nurse.user_id, patients[0].1.patient_id(), None).await?;
        assert_eq!(reads, to != 3, "{from} to {to}");
        ids.push(made.consent_id);
    }
    let open = async || reads(&sandbox, &nurse.user_id, patients[0].1.patient_id(), None).await;
    until("its end", open, |reads| *reads).await?;

    // another patient neither sees them nor takes them back
    let (other, patient) = &mut patients[1];
    let request =
        other.request(ListConsentsRequest { patient_id: patient.patient_id().to_owned(), ..Default::default() });
    assert!(other.client.list_consents(request).await?.into_inner().consents.is_empty());
    for id in [&ids[0], &Uuid::new_v4().to_string()] {
        let (patient_id, consent_id) = (patient.patient_id().to_owned(), id.clone());
        let request = other.request(RevokeConsentRequest { patient_id, consent_id, ..Default::default() });
        refused!(other.client.revoke_consent(request).await, NotFound, "NOT_FOUND");
    }
    Ok(())
}

#[tokio::test]
async fn an_emergency_ends_and_is_reviewed_by_another_who_may() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let patient = person(&mut admin, "Pat Doe", true).await?;
    let nurse = person(&mut admin, "Nina Nurse", false).await?;
    for role in ["nurse", "auditor"] {
        grant(&mut admin, &nurse.user_id, role).await?;
    }
    let mut nursing = Asking::user(&sandbox, nurse.user_id.parse()?).await?;
    for (asked, minutes) in [(0, 60), (60, 60), (5, 5)] {
        let request = nursing.request(OpenBreakGlassRequest {
            patient_id: patient.patient_id().to_owned(),
            reason: "life-threat".into(),
            text: "no pulse, alone on the ward".into(),
            minutes: asked,
        });
        let opened = nursing.client.open_break_glass(request).await?.into_inner().break_glass.context("one")?;
        let seconds =
            |stamp: Option<proto::prost_types::Timestamp>| stamp.map(|stamp| stamp.seconds).unwrap_or_default();
        assert_eq!(seconds(opened.end_time) - seconds(opened.start_time), minutes * 60);
        let (break_glass_id, outcome) = (opened.break_glass_id, "justified".to_owned());
        let review = ReviewBreakGlassRequest { break_glass_id, outcome, text: String::new() };
        let request = nursing.request(review.clone());
        refused!(nursing.client.review_break_glass(request).await, PermissionDenied, "SELF_GRANT");
        let request = admin.request(review);
        admin.client.review_break_glass(request).await?;
    }
    let request = admin.request(ListBreakGlassRequest { unreviewed: true, ..Default::default() });
    assert!(admin.client.list_break_glass(request).await?.into_inner().break_glass.is_empty());
    let request = admin.request(ListBreakGlassRequest { unreviewed: false, ..Default::default() });
    assert_eq!(admin.client.list_break_glass(request).await?.into_inner().break_glass.len(), 3);
    Ok(())
}
