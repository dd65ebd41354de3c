//! The demo's ward: who works there, who lies there, and the devices at the beds.
//!
//! All of it comes into the registry by the rpcs that a hospital would use: the administrator enters people, the
//! integrator registers devices, each device turns its claim code into a token, and the nurse assigns it to a patient.

use crate::{
    device_tokens::{Claimed, DeviceTokens, Enrolment},
    operator::{self, MESSAGE_BYTES_MAX, ask_all, calling, change, plain},
};
use anyhow::{Context, bail};
use auth::{DEMO_PEOPLE, DemoIssuer, demo_person};
use client::{Connection, Error, Remote, Tokens};
use directory::Directory;
use futures::{StreamExt, TryStreamExt, stream};
use guard::convert;
use model::{DeviceId, Nanos, PatientId, UserId};
use proto::registry::v1::{
    Assignment, ClaimDeviceRequest, ClaimDeviceResponse, CreateAssignmentRequest, CreateGrantRequest,
    CreateRelationRequest, CreateUserRequest, Device, Grant, ImportDevicesRequest, ImportUsersRequest,
    ListAssignmentsRequest, ListDevicesRequest, ListUsersRequest, Person, RefusedRow, Relation, RotateDeviceRequest,
    User, enrolment_service_client::EnrolmentServiceClient, registry_service_client::RegistryServiceClient,
};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};
use tonic::Code;
use uuid::Uuid;

/// Name of the ward in which the demo's people work.
pub(crate) const NAME: &str = "icu";
/// The demo's people who treat its patients.
pub(crate) const STAFF: [&str; 2] = ["doctor", "nurse"];
/// The study of the demo's scientist.
const STUDY: &str = "demo";
/// People or devices in one import.
const ROWS: usize = 1_000;
/// Devices that are claimed and assigned at once.
const AT_ONCE: usize = 16;

/// A patient, and a device at the bed.
#[derive(Debug, Clone)]
pub struct Bed {
    /// Id of the patient in this bed.
    pub patient: PatientId,
    /// What the patient is called if nobody is yet.
    pub patient_name: String,
    /// Id of the device at this bed.
    pub device: DeviceId,
    /// What it is called: 1 to 128 characters.
    pub device_name: String,
    /// The manufacturer's name of the device's model; may be empty.
    pub model: String,
    /// From when on its readings are the patient's.
    pub from: Nanos,
}

/// Enters those of the demo's people whom no file of the directory folder names, each with the role, and relates them:
/// doctor and nurse to the ward, the patient to `patient`, whom the scientist studies. Who is there is left alone.
///
/// # Errors
/// The node does not answer, or refuses.
pub async fn staff(remote: &Remote, demo_dir: &Path, files: &Directory, patient: PatientId) -> anyhow::Result<()> {
    let missing: Vec<_> = DEMO_PEOPLE.iter().filter(|(.., id)| !files.knows(*id)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let callers = Callers::Demo(Arc::new(DemoIssuer::open(demo_dir)?));
    let mut admin = callers.at(remote, "administrator").await?;
    let entered = ask_all!(admin.list_users(ListUsersRequest { filter: String::new() }).users);
    let entered: HashSet<_> = entered.into_iter().map(|user| user.user_id).collect();
    // the ward is there from its patient on, and who works there has a relation to it
    for (role, name, id) in &missing {
        if !entered.contains(&id.uuid().to_string()) {
            admin.enter(role, name, *id, patient).await?;
        }
    }
    for (role, _, id) in missing {
        let user_id = id.uuid().to_string();
        let grant = Grant { user_id: user_id.clone(), role_id: (*role).to_owned(), ..Grant::default() };
        // what is there already was made before, so that it may be asked for again
        once(calling!(Always, admin.create_grant(CreateGrantRequest { grant: Some(grant) })))?;
        let relation_id = Uuid::new_v5(&id.uuid(), NAME.as_bytes()).to_string();
        let relation = Relation { relation_id, user_id, ..Relation::default() };
        let relation = match *role {
            "ml-scientist" => Relation {
                kind: "study".to_owned(),
                study: STUDY.to_owned(),
                patient_id: patient.uuid().to_string(),
                ..relation
            },
            role if STAFF.contains(&role) => {
                Relation { kind: "ward-staff".to_owned(), ward: NAME.to_owned(), ..relation }
            }
            _ => continue,
        };
        once(calling!(Always, admin.create_relation(CreateRelationRequest { relation: Some(relation) })))?;
    }
    Ok(())
}

/// Who admits patients and puts devices into service, and whose tokens the devices send with.
#[derive(Clone)]
pub enum Callers {
    /// The demo's administrator, integrator and nurse; the demo's issuer gives each device its tokens.
    Demo(Arc<DemoIssuer>),
    /// One caller who may do all of it; each device claims a token of its own.
    One(Tokens),
}

impl Callers {
    /// The holder of a token, or the demo's people.
    ///
    /// # Errors
    /// The demo's signing key cannot be read.
    pub fn new(tokens: Option<Tokens>, demo_dir: &Path) -> anyhow::Result<Self> {
        match tokens {
            Some(tokens) => Ok(Self::One(tokens)),
            None => Ok(Self::Demo(Arc::new(DemoIssuer::open(demo_dir).context("the demo's issuer")?))),
        }
    }

    /// The one with a role, at the registry.
    async fn at(&self, remote: &Remote, role: &str) -> anyhow::Result<RegistryCaller> {
        let tokens = match self {
            Self::One(tokens) => tokens.clone(),
            Self::Demo(issuer) => {
                let user = demo_person(role).with_context(|| format!("nobody at the demo is {role}"))?;
                client::token(issuer.user_token(user)?)
            }
        };
        let client = RegistryServiceClient::new(operator::connect(remote, tokens).await?);
        Ok(RegistryCaller { client: client.max_decoding_message_size(MESSAGE_BYTES_MAX) })
    }
}

/// Admits patients to the ward and puts their devices into service. What is there already stays as it is, but that a device
/// that must claim its token does so anew; a device that is the patient's later only is the patient's from `from` on.
///
/// # Errors
/// The node does not answer, or refuses.
pub async fn admit(remote: &Remote, callers: &Callers, beds: &[Bed]) -> anyhow::Result<DeviceTokens> {
    let mut admin = callers.at(remote, "administrator").await?;
    let integrator = callers.at(remote, "device-integrator").await?;
    let nurse = callers.at(remote, "nurse").await?;
    let enrolment = remote.connection()?;
    let claiming = Enrolment { client: EnrolmentServiceClient::new(enrolment.clone()) };
    admin.admit(beds).await.context("patients could not be entered")?;
    let mut found = integrator.clone().register(beds).await.context("devices could not be registered")?;
    let must_claim = matches!(callers, Callers::One(_));
    let mut work = Vec::with_capacity(beds.len());
    for bed in beds {
        let found = found.remove(&bed.device).context("a device is there twice")?;
        let set_up = SetUp { enrolment: claiming.clone(), integrator: integrator.clone(), nurse: nurse.clone() };
        work.push(set_up.run(bed.clone(), found, must_claim));
    }
    let claimed: Vec<_> = stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(match callers {
        Callers::Demo(issuer) => DeviceTokens::Demo(issuer.clone()),
        Callers::One(_) => DeviceTokens::Claimed(Arc::new(Claimed::new(enrolment, claimed.into_iter().flatten()))),
    })
}

/// What the registry says of a device.
enum RegisteredDevice {
    /// It has just been registered, with this claim code.
    New(String),
    /// It was there, with this status.
    Known(String),
}

/// Claims a device, and assigns it.
struct SetUp {
    enrolment: Enrolment,
    integrator: RegistryCaller,
    nurse: RegistryCaller,
}

impl SetUp {
    /// The device and what it was given, when it had to claim.
    async fn run(
        mut self,
        bed: Bed,
        found: RegisteredDevice,
        must_claim: bool,
    ) -> anyhow::Result<Option<(DeviceId, ClaimDeviceResponse)>> {
        let device_id = bed.device.uuid().to_string();
        let claimed = self.claim(&device_id, &found, must_claim).await.context("a device could not be claimed")?;
        self.assign(device_id, &bed, &found).await?;
        Ok(claimed.map(|given| (bed.device, given)))
    }

    async fn claim(
        &mut self,
        device_id: &str,
        found: &RegisteredDevice,
        must_claim: bool,
    ) -> anyhow::Result<Option<ClaimDeviceResponse>> {
        let Self { enrolment, integrator, .. } = self;
        let claim_code = match found {
            RegisteredDevice::New(code) => code.clone(),
            // whoever registered it did not come to the claim
            RegisteredDevice::Known(status) if must_claim || status == "registered" => {
                change!(
                    integrator
                        .rotate_device(RotateDeviceRequest { device_id: device_id.to_owned(), ..Default::default() })
                )
                .claim_code
            }
            RegisteredDevice::Known(_) => return Ok(None),
        };
        let claim = ClaimDeviceRequest { device_id: device_id.to_owned(), claim_code, csr: String::new() };
        Ok(Some(change!(enrolment.claim_device(claim))))
    }

    async fn assign(&mut self, device_id: String, bed: &Bed, found: &RegisteredDevice) -> anyhow::Result<()> {
        let Self { integrator, nurse, .. } = self;
        let assignments = match found {
            RegisteredDevice::New(_) => Vec::new(),
            RegisteredDevice::Known(_) => {
                let (device, patient) = (device_id.clone(), String::new());
                ask_all!(
                    integrator
                        .list_assignments(ListAssignmentsRequest {
                            device_id: device.clone(),
                            patient_id: patient.clone()
                        })
                        .assignments
                )
            }
        };
        let from =
            |assignment: &Assignment| assignment.start_time.as_ref().and_then(convert::nanos).unwrap_or(Nanos::MIN);
        let to: Option<Nanos> = assignments.iter().map(from).min();
        if to.is_some_and(|to| to <= bed.from) {
            return Ok(());
        }
        let assignment = Assignment {
            device_id,
            patient_id: bed.patient.uuid().to_string(),
            start_time: Some(convert::timestamp(bed.from)),
            end_time: to.map(convert::timestamp),
            ..Assignment::default()
        };
        change!(nurse.create_assignment(CreateAssignmentRequest { assignment: Some(assignment) }));
        Ok(())
    }
}

/// Somebody at the registry.
#[derive(Clone)]
struct RegistryCaller {
    client: RegistryServiceClient<Connection>,
}

impl RegistryCaller {
    /// Enters one of the demo's people.
    async fn enter(&mut self, role: &str, name: &str, id: UserId, patient: PatientId) -> anyhow::Result<()> {
        let mut user = User {
            user_id: id.uuid().to_string(),
            person: Some(Person { name: Some(name.to_owned()), ..Person::default() }),
            ..User::default()
        };
        if role == "patient" {
            (user.patient_id, user.ward) = (Some(patient.uuid().to_string()), Some(NAME.to_owned()));
        }
        change!(self.create_user(CreateUserRequest { user: Some(user) }));
        Ok(())
    }

    /// Enters the patients who are not there.
    async fn admit(&mut self, beds: &[Bed]) -> anyhow::Result<()> {
        let known = ask_all!(self.list_users(ListUsersRequest { filter: "patient=true".to_owned() }).users);
        let mut known: HashSet<_> = known.into_iter().filter_map(|user| user.patient_id).collect();
        let mut rows = Vec::new();
        for bed in beds {
            let patient = bed.patient.uuid().to_string();
            if known.insert(patient.clone()) {
                rows.push([bed.patient_name.clone(), patient, NAME.to_owned()]);
            }
        }
        for rows in rows.chunks(ROWS) {
            let csv = csv(["name", "patient_id", "ward"], rows)?;
            all_taken(&change!(self.import_users(ImportUsersRequest { csv })).refused)?;
        }
        Ok(())
    }

    /// Registers the devices that are not there; says of all what is known of them.
    async fn register(&mut self, beds: &[Bed]) -> anyhow::Result<HashMap<DeviceId, RegisteredDevice>> {
        let known = ask_all!(self.list_devices(ListDevicesRequest { filter: String::new() }).devices);
        let mut found = HashMap::new();
        for Device { device_id, status, .. } in known {
            found.insert(device_id.parse()?, RegisteredDevice::Known(status));
        }
        let rows = beds.iter().filter(|bed| !found.contains_key(&bed.device));
        let rows: Vec<_> =
            rows.map(|bed| [bed.device_name.clone(), bed.device.uuid().to_string(), bed.model.clone()]).collect();
        for rows in rows.chunks(ROWS) {
            let csv = csv(["name", "device_id", "model"], rows)?;
            let done = change!(self.import_devices(ImportDevicesRequest { csv }));
            all_taken(&done.refused)?;
            for code in done.claim_codes {
                found.insert(code.device_id.parse()?, RegisteredDevice::New(code.claim_code));
            }
        }
        Ok(found)
    }
}

/// What is there already was made before.
fn once<T>(answer: Result<T, Error>) -> anyhow::Result<()> {
    match answer {
        Err(error) if error.code() != Some(Code::AlreadyExists) => Err(plain(error)),
        _ => Ok(()),
    }
}

fn all_taken(refused: &[RefusedRow]) -> anyhow::Result<()> {
    let Some(RefusedRow { row, field, reason, .. }) = refused.first() else { return Ok(()) };
    bail!("{} rows were refused; row {row}, {field}: {reason}", refused.len())
}

fn csv<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(heading)?;
    for row in rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
