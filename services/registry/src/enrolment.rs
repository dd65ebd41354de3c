//! How a device comes to its token and certificate: a claim code, once; then what it has, renewed before that ends.

use crate::{Credentials, Registry, codes, writing::not_found};
use async_trait::async_trait;
use auth::{
    Directory,
    registry::{self as kept, Change, DeviceStatus},
};
use model::{
    DeviceId, Nanos,
    access::{Action, Denied, Principal, Subject},
};
use proto::{
    convert, problem,
    prost_types::Timestamp,
    registry::v1::{
        ClaimDeviceRequest, ClaimDeviceResponse, RenewDeviceTokenRequest, RenewDeviceTokenResponse,
        enrolment_service_server::EnrolmentService,
    },
};
use std::time::Duration;
use tonic::{Code, Request, Response, Status};

#[async_trait]
impl EnrolmentService for Registry {
    async fn claim_device(
        &self,
        request: Request<ClaimDeviceRequest>,
    ) -> Result<Response<ClaimDeviceResponse>, Status> {
        let request = request.into_inner();
        let device: DeviceId = request
            .device_id
            .parse()
            .map_err(|_| problem::invalid("INVALID_ID", "device_id", "must be the device's UUID"))?;
        self.can_issue(&request.csr)?;
        let code = codes::plain(&request.claim_code);
        let caller = Principal::everywhere(Subject::Device(device), &[], Nanos::MAX);
        let waits = self
            .put(Some(caller.subject), |directory, now| {
                claimed(directory, device, &code, now)?;
                Ok((vec![], ()))
            })
            .await;
        let decided = waits.as_ref().copied().map_err(|_| Denied::Permission(Action::SendReadings.needs()));
        // before the code is used up: who is not answered tries again with the same
        self.audited(&caller, Action::SendReadings, None, decided, "claim").await?;
        waits?;
        let counts_from = self
            .change(&caller, |directory, now| {
                let device = claimed(directory, device, &code, now)?;
                let counts_from = Nanos(device.credentials_from);
                Ok((vec![Change::Device(device)], counts_from))
            })
            .await?;
        // a token says when it was issued to the second: it must not look older than the code
        let wait = counts_from.0.saturating_sub((self.clock)().0);
        tokio::time::sleep(Duration::from_nanos(u64::try_from(wait).unwrap_or(0))).await;
        let Issued { token, expires_at, certificate } = self.issue(device, &request.csr, counts_from)?;
        Ok(Response::new(ClaimDeviceResponse { token, expires_at, certificate }))
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
    pub(crate) async fn renew_device_token(
        &self,
        caller: &Principal,
        request: RenewDeviceTokenRequest,
    ) -> Result<RenewDeviceTokenResponse, Status> {
        self.can_issue(&request.csr)?;
        let device = self.device_itself(caller, "renew").await?;
        let kept = self.directory.get().registry().device(&device.uuid()).map(|kept| kept.value.credentials_from);
        let counts_from = Nanos(kept.ok_or_else(|| not_found("device"))?);
        let Issued { token, expires_at, certificate } = self.issue(device, &request.csr, counts_from)?;
        Ok(RenewDeviceTokenResponse { token, expires_at, certificate })
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

    /// A token and, where one is asked for, a certificate; both not older than `counts_from`.
    fn issue(&self, device: DeviceId, csr: &str, counts_from: Nanos) -> Result<Issued, Status> {
        let failed = |error: auth::Error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a device's credentials could not be signed");
            problem::unavailable("ISSUER_UNAVAILABLE", "nothing could be signed; try again", Duration::from_secs(5))
        };
        let Credentials { tokens: Some(tokens), authority } = &*self.credentials else {
            return Err(problem::unavailable("ISSUER_UNAVAILABLE", "no key to sign with", Duration::from_secs(5)));
        };
        let (token, ends) = tokens.token(device).map_err(failed)?;
        let certificate = match authority {
            Some(authority) if !csr.is_empty() => authority.issue(device, csr, counts_from).map_err(failed)?,
            _ => String::new(),
        };
        Ok(Issued { token, expires_at: Some(convert::timestamp(ends)), certificate })
    }
}

/// A device without its claim code, if this is the code. A wrong code and an unknown device answer alike.
fn claimed(directory: &Directory, device: DeviceId, code: &str, now: Nanos) -> Result<kept::Device, Status> {
    let wrong = || {
        let text = "no device waits for this code; ask for a new one (RotateDevice)";
        problem::unauthenticated("CLAIM_REFUSED", text)
    };
    let kept = directory.registry().device(&device.uuid()).ok_or_else(wrong)?;
    let mut claimed = kept.value.clone();
    if !claimed.claim.take().is_some_and(|claim| claim.is(code)) {
        return Err(wrong());
    }
    claimed.status = DeviceStatus::Active;
    claimed.first_used_at = claimed.first_used_at.or(Some(now.0));
    Ok(claimed)
}
