//! How a device comes to its token and certificate: a claim code, once; then what it has, renewed before that ends; and a
//! refresh token for a device that was away for longer.
//!
//! What the clock says decides nothing here: a token comes after the last change of the device's credentials because it says
//! so, and nobody waits. What is given is signed before the code or the refresh token is used up.

use crate::{Credentials, Registry, codes, devices::end_credentials, metrics, writing::not_found};
use async_trait::async_trait;
use directory::{
    Directory,
    registry::{self as kept, Change, DeviceStatus, Refresh, Unusable},
};
use guard::{RequestId, convert, ids};
use model::{
    DeviceId, Nanos,
    access::{Action, Denied, Principal, Subject},
    audit::{Event, Outcome, Who},
};
use proto::{
    problem,
    prost_types::Timestamp,
    registry::v1::{
        ClaimDeviceRequest, ClaimDeviceResponse, RefreshDeviceRequest, RefreshDeviceResponse, RenewDeviceTokenRequest,
        RenewDeviceTokenResponse, enrolment_service_server::EnrolmentService,
    },
};
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

/// Why a refresh token that was used up is refused, in the audit log.
const REUSED: &str = "REFRESH_REUSED";

#[async_trait]
impl EnrolmentService for Registry {
    async fn claim_device(
        &self,
        request: Request<ClaimDeviceRequest>,
    ) -> Result<Response<ClaimDeviceResponse>, Status> {
        let ClaimDeviceRequest { device_id, claim_code, csr } = request.into_inner();
        let shown = self.open(&device_id, &csr, Proof::Code(codes::plain(&claim_code))).await?;
        let (Issued { token, expires_at, certificate }, refresh_token) = shown;
        Ok(Response::new(ClaimDeviceResponse { token, expires_at, certificate, refresh_token }))
    }

    async fn refresh_device(
        &self,
        request: Request<RefreshDeviceRequest>,
    ) -> Result<Response<RefreshDeviceResponse>, Status> {
        let RefreshDeviceRequest { device_id, refresh_token, csr } = request.into_inner();
        let shown = self.open(&device_id, &csr, Proof::Refresh(refresh_token)).await?;
        let (Issued { token, expires_at, certificate }, refresh_token) = shown;
        Ok(Response::new(RefreshDeviceResponse { token, expires_at, certificate, refresh_token }))
    }
}

/// What a device without a token shows.
enum Proof {
    /// A claim code, which is used up by the claim.
    Code(String),
    /// A refresh token, which is replaced by the next.
    Refresh(String),
}

impl Proof {
    /// In the audit log.
    fn name(&self) -> &'static str {
        match self {
            Self::Code(_) => "claim",
            Self::Refresh(_) => "refresh",
        }
    }
}

/// What a device is given.
struct Issued {
    token: String,
    expires_at: Option<Timestamp>,
    /// Empty when none was asked for.
    certificate: String,
}

impl Registry {
    /// What a device gets for what it shows, and its next refresh token.
    async fn open(&self, device_id: &str, csr: &str, proof: Proof) -> Result<(Issued, String), Status> {
        let device: DeviceId = ids::id("device_id", device_id)?;
        self.can_issue(csr)?;
        let refresh_token = codes::refresh_token();
        let opened = |directory: &Directory, now| opened(directory, device, &proof, &refresh_token, now);
        let (directory, draft) = self.draft(None).await?;
        if let Err(unusable) = opened(&directory, draft.at()) {
            return Err(self.refuse(device, &proof, unusable).await?);
        }
        let caller = Principal::everywhere(Subject::Device(device), &[], Nanos::MAX);
        // before anything is used up: who is not answered tries again with the same
        self.decisions.plain(&caller, Action::SendReadings, None, Ok(())).written(proof.name()).await?;
        let counts_from = self.counts_from(device)?;
        let issued = self.issue(device, csr, counts_from)?;
        self.change(&caller, |directory, now| {
            // rotated in between: what was signed does not count
            let device = opened(directory, now).ok().filter(|device| device.credentials_from == counts_from.0);
            Ok((vec![Change::Device(device.ok_or_else(refused)?)], ()))
        })
        .await?;
        Ok((issued, refresh_token))
    }

    pub(crate) async fn renew_device_token(
        &self,
        caller: &Principal,
        request: RenewDeviceTokenRequest,
    ) -> Result<RenewDeviceTokenResponse, Status> {
        self.can_issue(&request.csr)?;
        let device = self.decisions.as_device(caller).recorded("renew").await?;
        let counts_from = self.counts_from(device)?;
        let Issued { token, expires_at, certificate } = self.issue(device, &request.csr, counts_from)?;
        let refresh_token = self.first_refresh_token(caller, device, counts_from).await?;
        Ok(RenewDeviceTokenResponse { token, expires_at, certificate, refresh_token })
    }

    /// A refresh token for a device that has none; else an empty text.
    async fn first_refresh_token(
        &self,
        caller: &Principal,
        device: DeviceId,
        counts_from: Nanos,
    ) -> Result<String, Status> {
        let lacks_one = |device: &kept::Device| {
            device.refresh.is_none()
                && device.status == DeviceStatus::Active
                && device.credentials_from == counts_from.0
        };
        let known = |directory: &Directory| {
            directory.registry().device(&device.uuid()).map(|kept| kept.value.clone()).filter(lacks_one)
        };
        // mostly: nothing is changed, and the store not asked
        if known(&self.decisions.directory()).is_none() {
            return Ok(String::new());
        }
        let refresh_token = codes::refresh_token();
        self.change(caller, |directory, _| {
            let Some(device) = known(directory) else { return Ok((vec![], String::new())) };
            let refresh = Some(Refresh::first(&refresh_token));
            Ok((vec![Change::Device(kept::Device { refresh, ..device })], refresh_token.clone()))
        })
        .await
    }

    /// After which change of the device its credentials must come.
    fn counts_from(&self, device: DeviceId) -> Result<Nanos, Status> {
        let kept = self.decisions.directory().registry().device(&device.uuid()).map(|kept| kept.value.credentials_from);
        kept.map(Nanos).ok_or_else(|| not_found("device"))
    }

    /// Writes down that a device's claim or refresh token was refused. Nothing says that it was that device. One that was
    /// used up has been copied: what the device has counts no more.
    async fn refuse(&self, device: DeviceId, proof: &Proof, unusable: Unusable) -> Result<Status, Status> {
        let reason = match unusable {
            Unusable::Unknown => Denied::Permission(Action::SendReadings.needs()).code(),
            Unusable::Spent => REUSED,
        };
        let subject = Subject::Device(device);
        let caller = Principal::everywhere(subject, &[], Nanos::MAX);
        let request = RequestId::current().into_bytes();
        let event = Event {
            subject: Some(Who::Claimed(subject)),
            outcome: Outcome::Denied(reason.into()),
            detail: proof.name().into(),
            ..Event::of(&caller, Action::SendReadings, None, Ok(()), self.decisions.now(), request)
        };
        self.refusals.record(event).await.map_err(guard::errors::unaudited)?;
        if let (Unusable::Spent, Proof::Refresh(shown)) = (unusable, proof) {
            self.change_as(None, |directory, now| {
                let kept = directory.registry().device(&device.uuid()).map(|kept| &kept.value);
                let spent = |kept: &&kept::Device| {
                    let refresh = kept.refresh.as_ref();
                    refresh.is_some_and(|refresh| refresh.next(shown, "").err() == Some(Unusable::Spent))
                };
                let ended = kept.filter(spent).map(|kept| {
                    let mut device = kept::Device { status: DeviceStatus::Revoked, ..kept.clone() };
                    end_credentials(&mut device, now);
                    Change::Device(device)
                });
                Ok((ended.into_iter().collect(), ()))
            })
            .await?;
            metrics::refresh_reused();
            tracing::warn!("a refresh token was shown that had been used up: the device is revoked");
        }
        Ok(refused())
    }

    /// Whether there is what a device asks for, before anything is used up.
    fn can_issue(&self, csr: &str) -> Result<(), Status> {
        if self.credentials.tokens.is_none() {
            let text = "this node issues no tokens (devices.token_key_file): devices get theirs from your own issuer, or use \
                        certificates";
            return Err(problem::status(Code::FailedPrecondition, "NO_ISSUER", text));
        }
        if csr.is_empty() {
            return Ok(());
        }
        if self.credentials.authority.is_none() {
            let text = "this node has no certificate authority (devices.ca_cert_file); leave it empty, or use a certificate of \
                        your own with the device's URI";
            return Err(problem::field(Code::FailedPrecondition, "NO_AUTHORITY", "csr", text));
        }
        let bad = |error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "a signing request was refused");
            problem::invalid("INVALID_CSR", "csr", "a request in PEM (PKCS#10), signed with its own key")
        };
        auth::DeviceCa::check(csr).map_err(bad)
    }

    /// A token and, where one is asked for, a certificate; both come after `counts_from`.
    fn issue(&self, device: DeviceId, csr: &str, counts_from: Nanos) -> Result<Issued, Status> {
        let failed = |error: auth::Error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a device's credentials could not be signed");
            problem::unavailable("ISSUER_UNAVAILABLE", "nothing could be signed; try again", Duration::from_secs(5))
        };
        let Credentials { tokens: Some(tokens), authority } = &*self.credentials else {
            return Err(problem::unavailable("ISSUER_UNAVAILABLE", "no key to sign with", Duration::from_secs(5)));
        };
        let (token, ends) = tokens.token(device, counts_from).map_err(failed)?;
        let certificate = match authority {
            Some(authority) if !csr.is_empty() => authority.issue(device, csr, counts_from).map_err(failed)?,
            _ => String::new(),
        };
        Ok(Issued { token, expires_at: Some(convert::timestamp(ends)), certificate })
    }
}

/// A device as it is after its claim or refresh, with a new refresh token, if what it shows is right.
fn opened(
    directory: &Directory,
    device: DeviceId,
    proof: &Proof,
    refresh_token: &str,
    now: Nanos,
) -> Result<kept::Device, Unusable> {
    let kept = directory.registry().device(&device.uuid()).ok_or(Unusable::Unknown)?;
    let mut device = kept.value.clone();
    match proof {
        Proof::Code(code) => {
            device.claim.take().filter(|claim| claim.is(code)).ok_or(Unusable::Unknown)?;
            device.status = DeviceStatus::Active;
            device.first_used_at = device.first_used_at.or(Some(now.0));
            device.refresh = Some(Refresh::first(refresh_token));
        }
        Proof::Refresh(shown) => {
            let refresh = device.refresh.filter(|_| device.status == DeviceStatus::Active);
            device.refresh = Some(refresh.ok_or(Unusable::Unknown)?.next(shown, refresh_token)?);
        }
    }
    Ok(device)
}

/// A wrong code, a wrong refresh token and an unknown device answer alike.
fn refused() -> Status {
    let text = "no device waits for this code or has this refresh token; ask for a new code (RotateDevice)";
    problem::unauthenticated("CLAIM_REFUSED", text)
}
