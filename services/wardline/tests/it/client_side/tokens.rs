//! Claimed tokens are refreshed before they end, by the refresh token that was given last.

use super::fake::serve;
use async_trait::async_trait;
use client::Remote;
use model::{DeviceId, Nanos};
use proto::{
    prost_types::Timestamp,
    registry::v1::{
        ClaimDeviceRequest, ClaimDeviceResponse, RefreshDeviceRequest, RefreshDeviceResponse,
        enrolment_service_server::{EnrolmentService, EnrolmentServiceServer},
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};
use uuid::Uuid;
use wardline::device_tokens::{Claimed, DeviceTokens};

/// Gives tokens of 600 ms, and takes each refresh token once; of the second refresh the first answer is lost.
#[derive(Clone, Default)]
struct Enrolment(Arc<Mutex<Vec<String>>>);

impl Enrolment {
    fn shown(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn soon() -> Option<Timestamp> {
    Some(guard::convert::timestamp(guard::clock::now().plus(600 * Nanos::SECOND / 1_000)))
}

#[async_trait]
impl EnrolmentService for Enrolment {
    async fn claim_device(&self, _: Request<ClaimDeviceRequest>) -> Result<Response<ClaimDeviceResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn refresh_device(
        &self,
        request: Request<RefreshDeviceRequest>,
    ) -> Result<Response<RefreshDeviceResponse>, Status> {
        let mut shown = self.0.lock().unwrap();
        shown.push(request.into_inner().refresh_token);
        match shown.len() {
            2 => Err(Status::unavailable("the answer is lost")),
            4.. => Err(Status::permission_denied("revoked")),
            n => {
                let (token, refresh_token) = (format!("token {n}"), format!("refresh {n}"));
                let answer = RefreshDeviceResponse { token, refresh_token, expires_at: soon(), ..Default::default() };
                Ok(Response::new(answer))
            }
        }
    }
}

#[tokio::test]
async fn a_claimed_token_is_replaced_before_it_ends() {
    let enrolment = Enrolment::default();
    let endpoint = format!("http://{}", serve(EnrolmentServiceServer::new(enrolment.clone())).await);
    let device = DeviceId::new(Uuid::from_u128(7));
    let (token, refresh_token) = ("token 0".to_owned(), "refresh 0".to_owned());
    let given = ClaimDeviceResponse { token, refresh_token, expires_at: soon(), ..Default::default() };
    let connection = Remote::from(&*endpoint).connection().unwrap();
    let tokens = DeviceTokens::Claimed(Arc::new(Claimed::new(connection, [(device, given)])));
    let (own, other) = (tokens.of(device), tokens.of(DeviceId::new(Uuid::from_u128(8))));
    drop(tokens);
    assert!(other().is_err());
    let (mut seen, began) = (vec![own().unwrap()], Instant::now());
    while enrolment.shown().len() < 4 {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", enrolment.shown());
        tokio::time::sleep(Duration::from_millis(10)).await;
        let token = own().unwrap();
        if seen.last() != Some(&token) {
            seen.push(token);
        }
    }
    // the last one was refused: what there is stays, and nobody asks again
    assert_eq!(seen, ["token 0", "token 1", "token 3"]);
    assert_eq!(enrolment.shown(), ["refresh 0", "refresh 1", "refresh 1", "refresh 3"]);
}
