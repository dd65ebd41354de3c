//! How a device comes to its token: a claim code, once; then its own token, renewed before it ends.

use crate::{Registry, codes, writing::not_found};
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
        if !request.csr.is_empty() {
            let text = "this node has no certificate authority; leave it empty, or bind a certificate of your own";
            return Err(problem::field(Code::FailedPrecondition, "NO_AUTHORITY", "csr", text));
        }
        self.issuer()?;
        let code = codes::plain(&request.claim_code);
        let caller = Principal::everywhere(Subject::Device(device), &[], Nanos::MAX);
        let waits = self
            .put(&caller, |directory, now| {
                claimed(directory, device, &code, now)?;
                Ok((vec![], ()))
            })
            .await;
        let decided = waits.as_ref().map(|()| ()).map_err(|_| Denied::Permission(Action::SendReadings.needs()));
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
        let (token, expires_at) = self.token(device)?;
        let expires_at = Some(convert::timestamp(expires_at));
        Ok(Response::new(ClaimDeviceResponse { token, expires_at, certificate: String::new() }))
    }
}

impl Registry {
    pub(crate) async fn renew_device_token(
        &self,
        caller: &Principal,
        _: RenewDeviceTokenRequest,
    ) -> Result<RenewDeviceTokenResponse, Status> {
        let device = self.device_itself(caller, "renew").await?;
        if self.directory.get().registry().device(&device.uuid()).is_none() {
            return Err(not_found("device"));
        }
        let (token, expires_at) = self.token(device)?;
        Ok(RenewDeviceTokenResponse { token, expires_at: Some(convert::timestamp(expires_at)) })
    }

    fn issuer(&self) -> Result<&auth::DemoIssuer, Status> {
        let text = "this node issues no tokens: devices get theirs from your own issuer, or use certificates";
        self.issuer.as_deref().ok_or_else(|| problem::status(Code::FailedPrecondition, "NO_ISSUER", text))
    }

    /// A token, and when it ends.
    fn token(&self, device: DeviceId) -> Result<(String, Nanos), Status> {
        self.issuer()?.device_token_until(device).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a device's token could not be signed");
            problem::unavailable("ISSUER_UNAVAILABLE", "no token could be signed; try again", Duration::from_secs(5))
        })
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
