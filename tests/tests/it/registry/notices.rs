//! An emergency access is told to those who treat the patient.

use super::{Asking, grant, person, refusal, refused};
use anyhow::Context;
use auth::demo_person;
use bus::{Subscribe, embedded};
use prost::Message;
use proto::registry::v1::{BreakGlass, ListNoticesRequest, Notice, OpenBreakGlassRequest};
use std::time::Duration;
use tests::{Sandbox, wait::until};
use tonic::{Code, Status};
use uuid::Uuid;

async fn notices(asking: &mut Asking, patient_id: &str) -> Result<Vec<BreakGlass>, Status> {
    let request =
        asking.request(ListNoticesRequest { patient_id: patient_id.into(), start_time: None, ..Default::default() });
    Ok(asking.client.list_notices(request).await?.into_inner().notices)
}

async fn emergency(asking: &mut Asking, patient_id: &str) -> anyhow::Result<BreakGlass> {
    let (reason, text) = ("unconscious".to_owned(), "found on the floor, nobody else there".to_owned());
    let request = asking.request(OpenBreakGlassRequest { patient_id: patient_id.into(), reason, text, minutes: 5 });
    asking.client.open_break_glass(request).await?.into_inner().break_glass.context("an emergency")
}

/// All that is in the log of notices of a node that has stopped.
async fn published(sandbox: &Sandbox) -> anyhow::Result<Vec<Notice>> {
    let settings = embedded::Settings { partitions: 1, ..Default::default() };
    let log = embedded::Log::open(&sandbox.config()?.data.dir.join("notices"), settings)?;
    let deliveries = log.subscribe("reader")?.poll(100, 1 << 20, Duration::from_secs(5)).await?;
    Ok(deliveries.iter().map(|delivery| Notice::decode(delivery.payload.clone())).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn who_treats_a_patient_is_told_that_somebody_broke_the_glass() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let [here, elsewhere] = [person(&mut admin, "Here", true).await?, person(&mut admin, "There", true).await?];
    for patient in [&here, &elsewhere] {
        grant(&mut admin, &patient.user_id, "patient").await?;
    }
    let dora = person(&mut admin, "Dora Doctor", false).await?;
    grant(&mut admin, &dora.user_id, "doctor").await?;
    let mut dora_asks = Asking::user(&sandbox, dora.user_id.parse()?).await?;
    let opened = emergency(&mut dora_asks, here.patient_id()).await?;
    // an emergency for nobody is nobody's to be told, and answers like any other
    let nobodys = emergency(&mut dora_asks, &Uuid::new_v4().to_string()).await?;

    let mut nursing = Asking::demo(&sandbox, "nurse").await?;
    let told = async || {
        let seen = notices(&mut Asking::demo(&sandbox, "nurse").await?, "").await?;
        Ok(seen.into_iter().map(|one| (one.break_glass_id, one.user_id, one.notified_at.is_some())).collect::<Vec<_>>())
    };
    let expected = vec![(opened.break_glass_id.clone(), dora.user_id.clone(), true)];
    assert_eq!(until("the ward's nurse is told", told, |seen| *seen == expected).await?, expected);
    assert_eq!(notices(&mut nursing, here.patient_id()).await?.len(), 1);

    let mut own = Asking::user(&sandbox, here.user_id.parse()?).await?;
    assert_eq!(notices(&mut own, "").await?[0].text, "found on the floor, nobody else there");
    let mut other = Asking::user(&sandbox, elsewhere.user_id.parse()?).await?;
    assert!(notices(&mut other, "").await?.is_empty());
    let hidden = notices(&mut other, here.patient_id()).await.err().context("a refusal")?;
    let missing = notices(&mut other, &Uuid::new_v4().to_string()).await.err().context("a refusal")?;
    assert_eq!(
        (hidden.code(), hidden.message(), hidden.details()),
        (missing.code(), missing.message(), missing.details())
    );
    // an emergency opens the patient, not who else had one
    assert!(notices(&mut dora_asks, "").await?.is_empty());
    let request = admin.request(ListNoticesRequest::default());
    refused!(admin.client.list_notices(request).await, PermissionDenied, "NOT_PERMITTED");

    sandbox.stop().await?;
    let mut all = published(&sandbox).await?;
    all.sort_by_key(|notice| notice.notice_id != opened.break_glass_id);
    let ids: Vec<_> = all.iter().map(|notice| notice.notice_id.as_str()).collect();
    assert_eq!(ids, [opened.break_glass_id.as_str(), nobodys.break_glass_id.as_str()]);
    let ward: Vec<_> = ["doctor", "nurse"].iter().filter_map(|role| demo_person(role)).collect();
    assert_eq!(all[0].recipient_ids, ward.iter().map(|user| user.uuid().to_string()).collect::<Vec<_>>());
    assert_eq!((all[0].kind.as_str(), all[0].patient_id.as_str()), ("break-glass", here.patient_id()));
    assert!(all[1].recipient_ids.is_empty());
    Ok(())
}
