//! `ListPatients`: a clinician sees whom a relation opens and nobody else, and each of them is in the audit log.

use anyhow::Context;
use auth::demo_person;
use model::Nanos;
use proto::{
    operations::v1::{SearchAuditLogRequest, audit_service_client::AuditServiceClient},
    registry::v1::{CreateUserRequest, Person, User, registry_service_client::RegistryServiceClient},
    telemetry::v1::{ClockQuality, ListPatientsRequest, ListPatientsResponse},
};
use tests::{
    Bed, Sandbox,
    builders::{pulse, write},
    wait::until,
};
use tonic::Code;

async fn list(sandbox: &Sandbox, role: &str, request: ListPatientsRequest) -> anyhow::Result<ListPatientsResponse> {
    Ok(sandbox.timeline().await?.list_patients(sandbox.as_person(role, request)?).await?.into_inner())
}

fn ids(answer: &ListPatientsResponse) -> Vec<&str> {
    answer.patients.iter().map(|patient| patient.patient_id.as_str()).collect()
}

#[tokio::test]
async fn a_clinician_lists_whom_a_relation_opens_and_leaves_an_entry_for_each() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(3).await?;
    let beds = [0, 1, 2].map(Bed::numbered);
    let elsewhere = uuid::Uuid::from_u128(77);
    sandbox.write_directory("elsewhere", &format!("[[patient]]\nid = \"{elsewhere}\"\nward = \"elsewhere\"\n"))?;
    // who one of them is; of the others nobody has said it
    let user = User {
        patient_id: Some(beds[1].patient.uuid().to_string()),
        ward: Some(tests::WARD.into()),
        person: Some(Person { name: Some("Jo Bloggs".into()), ..Person::default() }),
        ..User::default()
    };
    let request = CreateUserRequest { user: Some(user) };
    let mut registry = RegistryServiceClient::new(sandbox.channel().await?);
    registry.create_user(sandbox.as_person("administrator", request)?).await?;
    let measured = guard::clock::now().plus(-60 * Nanos::SECOND);
    sandbox.write(&beds[2], 1, vec![pulse(60.0, measured)]).await?;
    sandbox.readable(&beds[2], 1).await?;

    let all = list(&sandbox, "doctor", ListPatientsRequest::default()).await?;
    let mut mine = beds.map(|bed| bed.patient.uuid().to_string());
    mine.sort_unstable();
    assert_eq!(ids(&all), mine);
    assert!(all.patients.iter().all(|patient| patient.ward == tests::WARD));
    let named = |id: &str| all.patients.iter().find(|patient| patient.patient_id == id).context("not listed");
    assert_eq!(named(&mine[1])?.name, "Jo Bloggs");
    assert_eq!((named(&mine[0])?.name.as_str(), named(&mine[0])?.newest_age), ("", None));
    let age = named(&mine[2])?.newest_age.context("no age")?;
    assert!((60..600).contains(&age.seconds), "{age:?}");
    assert_eq!(named(&mine[2])?.newest_measured_at, Some(guard::convert::timestamp(measured)));

    // pages join, the filter holds, and a ward in which nobody is that the caller may see is empty
    let mut paged = Vec::new();
    let mut request = ListPatientsRequest { page_size: 2, ..ListPatientsRequest::default() };
    loop {
        let page = list(&sandbox, "doctor", request.clone()).await?;
        paged.extend(page.patients.into_iter().map(|patient| patient.patient_id));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(paged, mine);
    let of_ward = |ward: &str| ListPatientsRequest { ward: ward.into(), ..ListPatientsRequest::default() };
    assert_eq!(list(&sandbox, "nurse", of_ward(tests::WARD)).await?.patients.len(), 3);
    assert!(list(&sandbox, "doctor", of_ward("elsewhere")).await?.patients.is_empty());
    // as one that is not there: which wards there are is not for who lists patients
    assert!(list(&sandbox, "doctor", of_ward("nowhere")).await?.patients.is_empty());
    let refused = list(&sandbox, "doctor", of_ward("ICU")).await.err().context("no ward is spelled so")?;
    assert_eq!(refused.downcast_ref::<tonic::Status>().map(tonic::Status::code), Some(Code::InvalidArgument));

    // each is written down, page by page
    let about = SearchAuditLogRequest { patient_id: mine[0].clone(), ..SearchAuditLogRequest::default() };
    let client = AuditServiceClient::new(sandbox.channel().await?);
    let doctor = format!("user:{}", demo_person("doctor").context("nobody")?.uuid());
    let entries = async || {
        let request = sandbox.as_person("auditor", about.clone())?;
        let records = client.clone().search_audit_log(request).await?.into_inner().records;
        Ok(records.into_iter().filter(|record| record.subject == doctor && record.detail == "list").count())
    };
    until("entries", entries, |n| *n >= 2).await?;
    Ok(())
}

#[tokio::test]
async fn who_treats_nobody_lists_nobody_and_who_may_not_is_refused() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let refused = list(&sandbox, "administrator", ListPatientsRequest::default()).await.err().context("listed")?;
    assert_eq!(refused.downcast_ref::<tonic::Status>().map(tonic::Status::code), Some(Code::PermissionDenied));
    let of_size = |page_size| ListPatientsRequest { page_size, ..ListPatientsRequest::default() };
    assert_eq!(list(&sandbox, "doctor", of_size(i32::MAX)).await?.patients.len(), 1, "more is cut");
    let refused = list(&sandbox, "doctor", of_size(-1)).await.err().context("listed")?;
    let text = refused.downcast_ref::<tonic::Status>().map(tonic::Status::message).unwrap_or_default();
    assert!(text.contains("200; more is cut"), "{text}");
    let bad = ListPatientsRequest { page_token: "x".into(), ..ListPatientsRequest::default() };
    let refused = list(&sandbox, "doctor", bad).await.err().context("listed")?;
    assert_eq!(refused.downcast_ref::<tonic::Status>().map(tonic::Status::code), Some(Code::InvalidArgument));
    Ok(())
}

/// As `LatestReadings` decides it: where the clock was never set, the time of receipt counts.
#[tokio::test]
async fn the_newest_of_a_device_without_a_clock_is_as_old_as_its_receipt() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let mut batch = write(&bed, 1, vec![pulse(60.0, Nanos(5 * Nanos::SECOND))]);
    batch.clock_quality = ClockQuality::Unset as i32;
    sandbox.ingest().await?.write_readings(sandbox.as_device(bed.device, batch)?).await?;
    sandbox.readable(&bed, 1).await?;
    let listed = list(&sandbox, "doctor", ListPatientsRequest::default()).await?;
    let age = listed.patients[0].newest_age.context("no age")?;
    assert!((0..600).contains(&age.seconds), "{age:?}");
    Ok(())
}
