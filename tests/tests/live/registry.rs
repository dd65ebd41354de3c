//! Two registries on one store agree, and what they change counts in other processes within five seconds; whom they let in
//! is let in there at once.

use crate::{Services, now};
use client::channel;
use model::UserId;
use proto::{
    registry::v1::{
        ClaimDeviceRequest, CreateDeviceRequest, CreateGrantRequest, CreateRelationRequest, CreateUserRequest, Device,
        EndRelationRequest, Grant, ListUsersRequest, Person, Relation, User,
        enrolment_service_client::EnrolmentServiceClient, registry_service_client::RegistryServiceClient,
    },
    telemetry::v1::{
        LatestReadingsRequest, ingest_service_client::IngestServiceClient,
        timeline_service_client::TimelineServiceClient,
    },
};
use std::time::Duration;
use tests::{
    Bed,
    builders::{pulse, write},
    identified,
    line::Problem,
    torture::child::Child,
    wait::until,
    with_token,
};
use tokio::time::Instant;
use tonic::{Code, transport::Channel};
use uuid::Uuid;

/// How soon a change counts everywhere.
const EFFECT: Duration = Duration::from_secs(5);
const PEOPLE: usize = 15;
const DEVICES: usize = 20;

struct Admin {
    client: RegistryServiceClient<Channel>,
    token: String,
}

impl Admin {
    async fn person(&mut self, name: &str) -> anyhow::Result<String> {
        let person = Some(Person { name: Some(name.into()), birth_date: None });
        let user = Some(User { person, ..User::default() });
        let made = self.client.create_user(with_token(CreateUserRequest { user }, &self.token)?).await?;
        Ok(made.into_inner().user.unwrap_or_default().user_id)
    }
}

/// Devices that are claimed at a registry and send to another process at once, which has not heard of them: each is let in, or
/// told to try again. `PERMISSION_DENIED` would say that it never will be.
async fn who_was_claimed_a_moment_ago_is_never_refused_for_good(
    services: &Services,
    registry: &Child,
) -> anyhow::Result<()> {
    let integrator = services.ward.person("device-integrator")?;
    let channel_to_registry = channel(registry.endpoint())?;
    let mut devices = RegistryServiceClient::new(channel_to_registry.clone());
    let mut enrolment = EnrolmentServiceClient::new(channel_to_registry);
    let mut ingest = IngestServiceClient::new(channel(services.ingest.endpoint())?);
    for number in 0..DEVICES {
        let device = Some(Device { name: Some(format!("monitor {number}")), ..Device::default() });
        let made = devices.create_device(with_token(CreateDeviceRequest { device }, &integrator)?).await?.into_inner();
        let device_id = made.device.unwrap_or_default().device_id;
        let bed = Bed { device: model::DeviceId::new(device_id.parse()?), ..services.ward.beds[0] };
        let claim = ClaimDeviceRequest { device_id, claim_code: made.claim_code, csr: String::new() };
        let token = enrolment.claim_device(identified(claim)?).await?.into_inner().token;
        let batch = write(&bed, 1, vec![pulse(60.0, now())]);
        while let Err(status) = ingest.write_readings(with_token(batch.clone(), &token)?).await {
            let problem = Problem::of(&status);
            assert_eq!((problem.code, problem.reason.as_str()), (Code::Unavailable, "REGISTRY_BEHIND"), "{status}");
            tokio::time::sleep(problem.retry_after.expect("when to try again")).await;
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs Kafka and a CQL server"]
async fn two_registries_agree_and_the_others_follow_within_seconds() -> anyhow::Result<()> {
    let mut services = Services::start(1).await?;
    let patient_id = services.ward.beds[0].patient.uuid().to_string();
    let mut registries = [
        services.ward.start("registry-1", &["registry"], "writer")?,
        services.ward.start("registry-2", &["registry"], "writer")?,
    ];
    let mut admins = Vec::new();
    for registry in &mut registries {
        registry.ready().await?;
        let client = RegistryServiceClient::new(channel(registry.endpoint())?);
        admins.push(Admin { client, token: services.ward.person("administrator")? });
    }
    let [mut first, mut second] = <[Admin; 2]>::try_from(admins).map_err(|_| anyhow::anyhow!("two registries"))?;

    // both change it at once: each change has a place of its own, and both know all of them
    let run = Uuid::new_v4();
    let many = |mut admin: Admin, name: String| async move {
        for number in 0..PEOPLE {
            admin.person(&format!("{name} {number}")).await?;
        }
        anyhow::Ok(admin)
    };
    let both = tokio::join!(many(first, format!("a {run}")), many(second, format!("b {run}")));
    (first, second) = (both.0?, both.1?);
    for admin in [&mut first, &mut second] {
        let (client, token) = (admin.client.clone(), admin.token.clone());
        let known = async || -> anyhow::Result<usize> {
            let request = ListUsersRequest { page_size: 1_000, ..ListUsersRequest::default() };
            let page = client.clone().list_users(with_token(request, &token)?).await?.into_inner();
            let ours =
                |user: &&User| user.person.as_ref().is_some_and(|person| person.name().contains(&run.to_string()));
            Ok(page.users.iter().filter(ours).count())
        };
        until("everybody", known, |known| *known == 2 * PEOPLE).await?;
    }

    // a relation made by one is ended by the other, and the query process follows both
    let user_id = first.person("nurse").await?;
    let grant = Some(Grant { user_id: user_id.clone(), role_id: "nurse".into(), ..Grant::default() });
    first.client.create_grant(with_token(CreateGrantRequest { grant }, &first.token)?).await?;
    let reader = services.ward.user(UserId::new(user_id.parse()?))?;
    let query = TimelineServiceClient::new(channel(services.query.endpoint())?);
    let reads = async || -> anyhow::Result<bool> {
        let request = LatestReadingsRequest { patient_id: patient_id.clone(), metrics: vec![] };
        match query.clone().latest_readings(with_token(request, &reader)?).await {
            Ok(_) => Ok(true),
            Err(status) if [Code::NotFound, Code::PermissionDenied].contains(&status.code()) => Ok(false),
            Err(status) => Err(status.into()),
        }
    };
    let relation =
        Some(Relation { user_id, kind: "care-team".into(), patient_id: patient_id.clone(), ..Relation::default() });
    let made = first.client.create_relation(with_token(CreateRelationRequest { relation }, &first.token)?).await?;
    let began = Instant::now();
    until("the relation to count", reads, |reads| *reads).await?;
    assert!(began.elapsed() < EFFECT, "{:?}", began.elapsed());
    let relation_id = made.into_inner().relation.unwrap_or_default().relation_id;
    let request = EndRelationRequest { relation_id, etag: String::new() };
    second.client.end_relation(with_token(request, &second.token)?).await?;
    let began = Instant::now();
    until("the end of the relation to count", reads, |reads| !reads).await?;
    assert!(began.elapsed() < EFFECT, "{:?}", began.elapsed());
    who_was_claimed_a_moment_ago_is_never_refused_for_good(&services, &registries[0]).await?;
    for registry in &mut registries {
        registry.stop().await?;
    }
    services.stop().await
}
