//! Devices: registered by integrators, claimed by themselves, changed and taken out by those who manage them.

use crate::{
    PAGE, Registry,
    access::person,
    check, codes, filter,
    writing::{check_etag, etag, not_found},
};
use directory::registry::{self as kept, Change, DeviceStatus, Hashed, Kept};
use guard::{
    convert, ids,
    pages::{self, page},
};
use model::{
    DeviceId, Nanos,
    access::{Action, Principal, Subject, decide_system},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        CreateDeviceRequest, CreateDeviceResponse, Device, GetDeviceRequest, GetDeviceResponse, ListDevicesRequest,
        ListDevicesResponse, ReportDeviceRequest, ReportDeviceResponse, RevokeDeviceRequest, RevokeDeviceResponse,
        RotateDeviceRequest, RotateDeviceResponse, UpdateDeviceRequest, UpdateDeviceResponse,
    },
    resource,
    update::Update,
};
use tonic::{Code, Status};
use uuid::Uuid;

/// Most characters of a model's name.
const MODEL_CHARS: usize = 128;
/// Why the registry does not take an id: what it says of a device counts before what a file says, and would cut that one off.
pub(crate) const IN_A_FILE: &str =
    "this id stands in the directory's files; leave it empty for a new one, or take it out of the file first";

impl Registry {
    pub(crate) async fn get_device(
        &self,
        caller: &Principal,
        request: GetDeviceRequest,
    ) -> Result<GetDeviceResponse, Status> {
        let id = ids::uuid("device_id", &request.device_id)?;
        let sees = self.fleet(caller, &format!("get {id}")).await?;
        Ok(GetDeviceResponse { device: Some(self.device(&id, &sees).await?) })
    }

    pub(crate) async fn list_devices(
        &self,
        caller: &Principal,
        request: ListDevicesRequest,
    ) -> Result<ListDevicesResponse, Status> {
        let sees = self.fleet(caller, "list").await?;
        let conditions = conditions(&request.filter)?;
        let (size, after) = (pages::size(request.page_size, PAGE)?, pages::after_uuid(&request.page_token)?);
        let directory = self.decisions.directory();
        let fits = |kept: &&Kept<kept::Device>| {
            sees.has(&kept.value) && conditions.iter().all(|(key, wanted)| has(&kept.value, key, wanted))
        };
        let devices = directory.registry().devices(after).map(|(_, kept)| kept).filter(fits).map(wire);
        let (mut devices, next_page_token) =
            page(devices, size, Device::encoded_len, |device| device.device_id.clone());
        self.add_last_seen(&mut devices).await?;
        Ok(ListDevicesResponse { devices, next_page_token })
    }

    pub(crate) async fn create_device(
        &self,
        caller: &Principal,
        request: CreateDeviceRequest,
    ) -> Result<CreateDeviceResponse, Status> {
        let sent = request.device.ok_or_else(|| check::bad("device", "must be there"))?;
        resource::check_sent(&sent)?;
        let by = person(caller)?.uuid();
        let (device, claim_code) = new_device(&sent, by)?;
        let id = device.id;
        let sees = self.fleet(caller, &format!("create {id}")).await?;
        self.change(caller, |directory, _| {
            if directory.registry().device(&id).is_some() {
                return Err(problem::field(
                    Code::AlreadyExists,
                    "EXISTS",
                    "device.device_id",
                    "there is such a device",
                ));
            }
            if directory.is_in_files(id) {
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "device.device_id", IN_A_FILE));
            }
            Ok((vec![Change::Device(device.clone())], ()))
        })
        .await?;
        Ok(CreateDeviceResponse { device: Some(self.device(&id, &sees).await?), claim_code })
    }

    pub(crate) async fn update_device(
        &self,
        caller: &Principal,
        request: UpdateDeviceRequest,
    ) -> Result<UpdateDeviceResponse, Status> {
        let sent = request.device.ok_or_else(|| check::bad("device", "must be there"))?;
        let id = ids::uuid("device.device_id", &sent.device_id)?;
        let sees = self.fleet(caller, &format!("update {id}")).await?;
        let update = Update::new(&sent, request.update_mask.as_ref())?;
        self.change(caller, |directory, _| {
            let kept = sees.find(directory.registry(), &id)?;
            check_etag(&sent.etag, kept.sequence)?;
            let after = update.apply(&wire(kept))?;
            let device = kept::Device {
                name: after.name().to_owned(),
                mac: check::mac(after.mac())?,
                model: after.model().to_owned(),
                mdc_type: after.mdc_type().to_owned(),
                ..kept.value.clone()
            };
            check_texts(&device)?;
            Ok((vec![Change::Device(device)], ()))
        })
        .await?;
        Ok(UpdateDeviceResponse { device: Some(self.device(&id, &sees).await?) })
    }

    pub(crate) async fn rotate_device(
        &self,
        caller: &Principal,
        request: RotateDeviceRequest,
    ) -> Result<RotateDeviceResponse, Status> {
        let id = ids::uuid("device_id", &request.device_id)?;
        let sees = self.fleet(caller, &format!("rotate {id}")).await?;
        let claim_code = codes::new();
        let claim = Hashed::of(&codes::plain(&claim_code));
        self.change(caller, |directory, now| {
            let kept = sees.find(directory.registry(), &id)?;
            check_etag(&request.etag, kept.sequence)?;
            let mut device = kept.value.clone();
            not_retired(&device)?;
            end_credentials(&mut device, now);
            device.claim = Some(claim.clone());
            Ok((vec![Change::Device(device)], ()))
        })
        .await?;
        Ok(RotateDeviceResponse { claim_code })
    }

    pub(crate) async fn revoke_device(
        &self,
        caller: &Principal,
        request: RevokeDeviceRequest,
    ) -> Result<RevokeDeviceResponse, Status> {
        let id = ids::uuid("device_id", &request.device_id)?;
        let what = if request.retire { "retire" } else { "revoke" };
        let sees = self.fleet(caller, &format!("{what} {id}")).await?;
        self.change(caller, |directory, now| {
            let kept = sees.find(directory.registry(), &id)?;
            let mut device = kept.value.clone();
            not_retired(&device)?;
            let wanted = if request.retire { DeviceStatus::Retired } else { DeviceStatus::Revoked };
            if device.status == wanted && device.claim.is_none() {
                return Ok((vec![], ()));
            }
            check_etag(&request.etag, kept.sequence)?;
            device.status = wanted;
            end_credentials(&mut device, now);
            Ok((vec![Change::Device(device)], ()))
        })
        .await?;
        Ok(RevokeDeviceResponse { device: Some(self.device(&id, &sees).await?) })
    }

    pub(crate) async fn report_device(
        &self,
        caller: &Principal,
        request: ReportDeviceRequest,
    ) -> Result<ReportDeviceResponse, Status> {
        check::line("firmware_version", &request.firmware_version, 64)?;
        check::line("software_version", &request.software_version, 64)?;
        let detail = match caller.subject {
            Subject::Device(device) => format!("report {}", device.uuid()),
            // refused: it is no device's to do
            Subject::User(_) => "report".to_owned(),
        };
        let id = self.decisions.as_device(caller).recorded(&detail).await?.uuid();
        self.change(caller, |directory, _| {
            let kept = directory.registry().device(&id).ok_or_else(|| not_found("device"))?;
            let mut device = kept.value.clone();
            let set = |field: &mut String, sent: &String| {
                if !sent.is_empty() {
                    field.clone_from(sent);
                }
            };
            set(&mut device.firmware, &request.firmware_version);
            set(&mut device.software, &request.software_version);
            Ok((vec![Change::Device(device)], ()))
        })
        .await?;
        Ok(ReportDeviceResponse { device: Some(self.device(&id, &Fleet::All).await?) })
    }

    /// By what a caller may see devices: all, or those registered by the caller; `None`: by nothing.
    pub(crate) fn sees_fleet_by(&self, caller: &Principal) -> Option<Action> {
        let now = self.decisions.now();
        [Action::ManageDevices, Action::RegisterDevices]
            .into_iter()
            .find(|action| decide_system(caller, *action, now).is_ok())
    }

    /// What is written down when devices are seen or made; of who may not, what that needs at least.
    pub(crate) fn fleet_action(&self, caller: &Principal) -> Action {
        self.sees_fleet_by(caller).unwrap_or(Action::RegisterDevices)
    }

    /// Which devices the caller may see and change; written down when this returns.
    pub(crate) async fn fleet(&self, caller: &Principal, detail: &str) -> Result<Fleet, Status> {
        let action = self.fleet_action(caller);
        self.decisions.on_system(caller, action, None).recorded(detail).await?;
        match action {
            Action::ManageDevices => Ok(Fleet::All),
            _ => Ok(Fleet::Of(person(caller)?.uuid())),
        }
    }

    async fn device(&self, id: &Uuid, sees: &Fleet) -> Result<Device, Status> {
        let mut device = sees.find(self.decisions.directory().registry(), id).map(wire)?;
        self.add_last_seen(std::slice::from_mut(&mut device)).await?;
        Ok(device)
    }

    /// Says of devices when they were heard.
    async fn add_last_seen(&self, devices: &mut [Device]) -> Result<(), Status> {
        let ids: Vec<DeviceId> = devices.iter().filter_map(|device| device.device_id.parse().ok()).collect();
        let seen = self.readings.positions.last_seen(&ids).await.map_err(guard::errors::store)?;
        for (device, at) in devices.iter_mut().zip(seen) {
            device.last_seen_at = at.map(convert::timestamp);
        }
        Ok(())
    }
}

/// The devices of one who registered them, or all.
pub(crate) enum Fleet {
    All,
    Of(Uuid),
}

impl Fleet {
    pub(crate) fn has(&self, device: &kept::Device) -> bool {
        match self {
            Self::All => true,
            Self::Of(user) => device.registered_by == *user,
        }
    }

    /// A device of the fleet; another one answers as one that does not exist.
    pub(crate) fn find<'a>(&self, state: &'a kept::State, id: &Uuid) -> Result<&'a Kept<kept::Device>, Status> {
        state.device(id).filter(|kept| self.has(&kept.value)).ok_or_else(|| not_found("device"))
    }
}

/// A device that was not claimed yet, and what it can be claimed with.
pub(crate) fn new_device(sent: &Device, by: Uuid) -> Result<(kept::Device, String), Status> {
    let claim_code = codes::new();
    let device = kept::Device {
        id: check::id_or_new("device.device_id", &sent.device_id)?,
        name: sent.name().to_owned(),
        mac: check::mac(sent.mac())?,
        model: sent.model().to_owned(),
        mdc_type: sent.mdc_type().to_owned(),
        firmware: String::new(),
        software: String::new(),
        registered_by: by,
        status: DeviceStatus::Registered,
        claim: Some(Hashed::of(&codes::plain(&claim_code))),
        refresh: None,
        credentials_from: i64::MIN,
        first_used_at: None,
    };
    check_texts(&device)?;
    Ok((device, claim_code))
}

fn check_texts(device: &kept::Device) -> Result<(), Status> {
    check::name("device.name", &device.name, 128)?;
    check::line("device.model", &device.model, MODEL_CHARS)?;
    if device.mdc_type.len() > 10 || !device.mdc_type.bytes().all(|c| c.is_ascii_digit()) {
        return Err(check::bad("device.mdc_type", "a code of MDC (up to 10 digits), or nothing"));
    }
    Ok(())
}

fn not_retired(device: &kept::Device) -> Result<(), Status> {
    if device.status != DeviceStatus::Retired {
        return Ok(());
    }
    let text = "the device is retired; register it anew under another id";
    Err(problem::field(Code::FailedPrecondition, "RETIRED", "device_id", text))
}

/// Nothing that the device has counts any more: no code, no refresh token, and of tokens and certificates only those that come
/// after this change. They say so to the second; those of this second are old. A clock that was put back since the change
/// before makes no older ones count again.
pub(crate) fn end_credentials(device: &mut kept::Device, now: Nanos) {
    (device.claim, device.refresh) = (None, None);
    let next_second = (now.0.div_euclid(Nanos::SECOND) + 1).saturating_mul(Nanos::SECOND);
    device.credentials_from = next_second.max(device.credentials_from.saturating_add(Nanos::SECOND));
}

fn conditions(filter: &str) -> Result<Vec<(String, String)>, Status> {
    let statuses =
        [DeviceStatus::Registered, DeviceStatus::Active, DeviceStatus::Revoked, DeviceStatus::Retired].map(status);
    let known = |value: &str| filter::one_of(value, &statuses);
    let mac = |value: &str| match check::mac(value) {
        Ok(Some(_)) => Ok(()),
        _ => Err("six pairs of hexadecimal digits with : or - between them".to_owned()),
    };
    let model = |value: &str| match check::line("model", value, MODEL_CHARS) {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("up to {MODEL_CHARS} characters that can be seen, no space around them")),
    };
    filter::read(filter, &[("status", &known), ("model", &model), ("mac", &mac)])
}

fn has(device: &kept::Device, key: &str, wanted: &str) -> bool {
    match key {
        "status" => status(device.status) == wanted,
        "model" => device.model == wanted,
        _ => check::mac(wanted).is_ok_and(|mac| mac.is_some() && mac == device.mac),
    }
}

fn status(status: DeviceStatus) -> &'static str {
    match status {
        DeviceStatus::Registered => "registered",
        DeviceStatus::Active => "active",
        DeviceStatus::Revoked => "revoked",
        DeviceStatus::Retired => "retired",
    }
}

fn wire(kept: &Kept<kept::Device>) -> Device {
    let device = kept.value.clone();
    Device {
        device_id: device.id.to_string(),
        name: Some(device.name),
        mac: Some(device.mac.unwrap_or_default()),
        model: Some(device.model),
        mdc_type: Some(device.mdc_type),
        firmware_version: device.firmware,
        software_version: device.software,
        first_used_at: device.first_used_at.and_then(check::stamp),
        status: status(device.status).to_owned(),
        registered_by: device.registered_by.to_string(),
        etag: etag(kept.sequence),
        last_seen_at: None,
    }
}
