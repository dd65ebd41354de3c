//! A node to attack: a folder of its own with people, beds and what the registry knows, and the real binary on it.

use super::target::Credentials;
use crate::{
    Bed, builders,
    torture::child::{Child, Spec, free_address},
    wait::until,
    with_token,
};
use anyhow::Context;
use auth::{DemoIssuer, demo_person};
use futures::{StreamExt, TryStreamExt, stream};
use guard::{clock, convert};
use model::{DeviceId, Nanos, PatientId, StreamId, UserId};
use node::config::{Config, Sources};
use proto::{
    registry::v1::{
        ClaimDeviceRequest, CreateDeviceRequest, CreateGrantRequest, CreateUserRequest, Device, Grant, Person, User,
        enrolment_service_client::EnrolmentServiceClient, registry_service_client::RegistryServiceClient,
    },
    telemetry::v1::{
        ReadTimelineRequest, Reading, TimelineLayout, ingest_service_client::IngestServiceClient,
        timeline_service_client::TimelineServiceClient,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;
use wardline::{demo, simulate::DEFAULT_METRICS};

/// Beds: two of the well-behaved devices, that of the full day, the attacker's.
const BEDS: u32 = 4;
const FULL: u32 = 2;
const HOSTILE: u32 = 3;
/// A second doctor of the ward, who is up to no good.
const DOCTOR: Uuid = Uuid::from_u128(0xbad0_0000_0000_4000_8000_0000_0000_0001);
/// A patient whom the registry knows.
const PATIENT: Uuid = Uuid::from_u128(0xbad0_0000_0000_4000_8000_0000_0000_0002);
/// Readings of the full day: five metrics at 1 Hz.
const DAY_SECONDS: i64 = 86_400;
const N_METRICS: usize = 5;
/// Seconds in one batch of the day: as many as fit into 4,096 readings.
const BATCH_SECONDS: i64 = 800;
const AT_ONCE: usize = 4;
const MESSAGE_BYTES: usize = 64 << 20;

/// A folder that nodes are started on.
pub struct World {
    dir: TempDir,
    binary: PathBuf,
    issuer: DemoIssuer,
    registered: DeviceId,
}

/// A running node, and where it listens.
pub struct Node {
    /// Process of the node.
    pub child: Child,
    /// Address of the gRPC port.
    pub grpc: SocketAddr,
    /// Address of the JSON API.
    pub api: SocketAddr,
    /// Address of the internal port.
    pub http: SocketAddr,
    /// What it writes on standard error.
    pub log: PathBuf,
}

impl World {
    /// People, beds and devices; with `has_day`, a patient with five metrics at 1 Hz over the last 24 hours.
    ///
    /// # Errors
    /// The binary does not start, or does not take what it is given.
    pub async fn make(binary: &Path, seed: u64, has_day: bool) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let data = format!("data.dir={}", dir.path().join("data").display());
        let config = Config::load(&Sources { file: None, environment: Vec::new(), flags: vec![data] })?;
        let folder = config.directory_dir();
        demo::people(&folder)?;
        fs::write(folder.join("beds.toml"), crate::directory_of(&(0..BEDS).map(Bed::numbered).collect::<Vec<_>>()))?;
        let doctor = format!(
            "[[user]]\nid = \"{DOCTOR}\"\nname = \"Dr. Mallory\"\nroles = [\"doctor\"]\n\
             [[care_team]]\nuser = \"{DOCTOR}\"\nward = \"{}\"\n",
            crate::WARD
        );
        fs::write(folder.join("doctor.toml"), doctor)?;
        let issuer = DemoIssuer::open(&config.demo_dir())?;
        let registered = DeviceId::new(Uuid::nil());
        let mut world = Self { dir, binary: binary.to_owned(), issuer, registered };
        let settings = [
            "writer.seal_every_seconds=1",
            "writer.seal_quiet_seconds=0",
            // a day comes at once
            "quotas.device_readings_a_second=0",
            "quotas.device_bytes_a_second=0",
        ];
        let mut node = world.start("prepared", None, &settings)?;
        node.child.ready().await?;
        let channel = Endpoint::from_shared(node.child.endpoint())?.connect().await?;
        world.registered = world.register(channel.clone()).await.context("what the registry should know")?;
        if has_day {
            world.fill(channel, seed).await.context("the full day")?;
        }
        node.child.stop().await?;
        Ok(world)
    }

    /// Starts a node on it, perhaps with a lower soft limit of descriptors.
    ///
    /// # Errors
    /// There is no such binary, or no port is free.
    pub fn start(&self, name: &str, soft_descriptors: Option<u32>, settings: &[&str]) -> anyhow::Result<Node> {
        let (grpc, api, http) = (free_address()?, free_address()?, free_address()?);
        let mut all = vec![
            format!("server.grpc_listen={grpc}"),
            format!("server.api_listen={api}"),
            format!("server.http_listen={http}"),
            format!("data.dir={}", self.dir.path().join("data").display()),
        ];
        all.extend(settings.iter().map(|&setting| setting.to_owned()));
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(all.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        let mut binary = self.binary.clone();
        if let Some(limit) = soft_descriptors {
            let shell = format!("ulimit -Sn {limit}; exec \"$0\" \"$@\"");
            arguments.splice(0..0, ["-c".to_owned(), shell, binary.display().to_string()]);
            binary = "/bin/sh".into();
        }
        let log = self.dir.path().join(format!("{name}.log"));
        let child = Child::start(Spec { name: name.to_owned(), binary, arguments, grpc, http, log: log.clone() })?;
        Ok(Node { child, grpc, api, http, log })
    }

    /// What an attacker has; device tokens are for 15 minutes from now.
    ///
    /// # Errors
    /// A token cannot be signed.
    pub fn credentials(&self) -> anyhow::Result<Credentials> {
        let hostile = Bed::numbered(HOSTILE).device;
        Ok(Credentials {
            doctor: self.issuer.user_token(UserId::new(DOCTOR))?,
            stranger: self.person("application-developer")?,
            device: (hostile, self.issuer.device_token(hostile)?),
            registered: (self.registered, self.issuer.device_token(self.registered)?),
            patient: (PATIENT, self.issuer.user_token(UserId::new(PATIENT))?),
            full: Bed::numbered(FULL).patient,
            named: Bed::numbered(0).device,
        })
    }

    /// A token of one of the demo's people, by role.
    ///
    /// # Errors
    /// Nobody has the role.
    pub fn person(&self, role: &str) -> anyhow::Result<String> {
        Ok(self.issuer.user_token(demo_person(role).context("no such role")?)?)
    }

    /// A device's token, for 15 minutes.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn device(&self, device: DeviceId) -> anyhow::Result<String> {
        Ok(self.issuer.device_token(device)?)
    }

    /// A patient who may edit, and a device that may report.
    async fn register(&self, channel: Channel) -> anyhow::Result<DeviceId> {
        let mut registry = RegistryServiceClient::new(channel.clone());
        let admin = self.person("administrator")?;
        let user = User {
            user_id: PATIENT.to_string(),
            patient_id: Some(Uuid::new_v4().to_string()),
            ward: Some(crate::WARD.to_owned()),
            person: Some(Person { name: Some("Pat Hasty".to_owned()), birth_date: Some("1969-12-31".to_owned()) }),
            ..User::default()
        };
        registry.create_user(with_token(CreateUserRequest { user: Some(user) }, &admin)?).await?;
        let grant = Grant { user_id: PATIENT.to_string(), role_id: "patient".to_owned(), ..Grant::default() };
        registry.create_grant(with_token(CreateGrantRequest { grant: Some(grant) }, &admin)?).await?;
        let device = Device { name: Some("Monitor 7".to_owned()), ..Device::default() };
        let create = with_token(CreateDeviceRequest { device: Some(device) }, &self.person("device-integrator")?)?;
        let made = registry.create_device(create).await?.into_inner();
        let device_id = made.device.context("a device")?.device_id;
        let claim =
            ClaimDeviceRequest { device_id: device_id.clone(), claim_code: made.claim_code, csr: String::new() };
        EnrolmentServiceClient::new(channel).claim_device(claim).await?;
        Ok(DeviceId::new(device_id.parse()?))
    }

    /// Writes the full day, and waits until all of it is read.
    async fn fill(&self, channel: Channel, seed: u64) -> anyhow::Result<()> {
        let bed = Bed::numbered(FULL);
        let begins = clock::now().plus(-(DAY_SECONDS + 1) * Nanos::SECOND);
        let token = self.device(bed.device)?;
        let client = IngestServiceClient::new(channel.clone());
        let n_batches = DAY_SECONDS / BATCH_SECONDS;
        let batches = (0..n_batches).map(|number| {
            let (mut client, token) = (client.clone(), token.clone());
            async move {
                let readings = batch(begins, number, seed);
                let n_readings = readings.len() as u64;
                let request = with_token(builders::write(&bed, number as u64 + 1, readings), &token)?;
                let taken = client.write_readings(request).await?.into_inner();
                anyhow::ensure!(taken.accepted_readings == n_readings, "{} readings refused", taken.refused.len());
                Ok(())
            }
        });
        stream::iter(batches).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        let reader = TimelineServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
        let doctor = self.person("doctor")?;
        let seen = async || {
            let request = ReadTimelineRequest {
                patient_id: bed.patient.uuid().to_string(),
                start_time: Some(convert::timestamp(begins)),
                page_size: 500_000,
                layout: TimelineLayout::Columns.into(),
                ..ReadTimelineRequest::default()
            };
            let page = reader.clone().read_timeline(with_token(request, &doctor)?).await?.into_inner();
            Ok(page.series.iter().map(|series| series.numbers.len()).sum())
        };
        until("the full day", seen, |n: &usize| *n == DAY_SECONDS as usize * N_METRICS).await?;
        Ok(())
    }
}

/// Readings of some minutes: five metrics, once a second.
fn batch(begins: Nanos, number: i64, seed: u64) -> Vec<Reading> {
    let mut random = StdRng::seed_from_u64(seed ^ number as u64);
    let seconds = number * BATCH_SECONDS..(number + 1) * BATCH_SECONDS;
    seconds
        .flat_map(|second| DEFAULT_METRICS[..N_METRICS].iter().map(move |metric| (second, metric)))
        .map(|(second, metric)| {
            let value = f64::from(random.random_range(300..420)) / 10.0;
            builders::reading(metric, "", value, begins.plus(second * Nanos::SECOND))
        })
        .collect()
}

/// One of the two beds whose devices behave well, for a run of its own.
pub fn well_behaved(number: u32) -> Bed {
    Bed { stream: StreamId::new(Uuid::new_v4()), ..Bed::numbered(number) }
}

/// The patient whose readings the well-behaved doctor reads.
pub fn read_patient() -> PatientId {
    Bed::numbered(0).patient
}
