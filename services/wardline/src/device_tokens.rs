//! The tokens that devices send with: signed by the demo's issuer, or claimed, and then refreshed before they end.

use crate::operator::calling;
use auth::DemoIssuer;
use client::{Connection, Error, Tokens};
use guard::{clock, convert};
use model::{DeviceId, Nanos};
use proto::{
    prost_types::Timestamp,
    registry::v1::{
        ClaimDeviceResponse, RefreshDeviceRequest, RefreshDeviceResponse,
        enrolment_service_client::EnrolmentServiceClient,
    },
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::sleep};

/// The shortest and the longest time to a refresh. The longest bounds what a clock of ours that is behind can do: a token of a
/// quarter of an hour, which is the default, is refreshed in time by any clock.
const WAIT_MS: (i64, i64) = (500, 600_000);
/// The time to a refresh of what has ended by our clock, which then is ahead: below the shortest life of a token, a minute.
const AHEAD_WAIT: Duration = Duration::from_secs(20);

/// The devices' own tokens.
#[derive(Clone)]
pub enum DeviceTokens {
    /// Signed here, by the demo's issuer, whenever one is needed.
    Demo(Arc<DemoIssuer>),
    /// As they were claimed, and refreshed since.
    Claimed(Arc<Claimed>),
}

impl DeviceTokens {
    /// The tokens of `device`.
    pub fn of(&self, device: DeviceId) -> Tokens {
        match self.clone() {
            Self::Demo(issuer) => Arc::new(move || Ok(issuer.device_token(device)?)),
            Self::Claimed(claimed) => {
                Arc::new(move || Ok(claimed.token(device).ok_or("the device was not admitted")?))
            }
        }
    }
}

/// Where devices claim and refresh their tokens.
#[derive(Clone)]
pub(crate) struct Enrolment {
    pub(crate) client: EnrolmentServiceClient<Connection>,
}

/// Tokens that devices have claimed. They are refreshed until this is dropped.
pub struct Claimed {
    tokens: HashMap<DeviceId, Arc<Mutex<String>>>,
    /// Ends with it.
    _refreshing: JoinSet<()>,
}

impl Claimed {
    /// Keeps what devices were given at the other end of `connection`.
    pub fn new(connection: Connection, given: impl IntoIterator<Item = (DeviceId, ClaimDeviceResponse)>) -> Self {
        let enrolment = Enrolment { client: EnrolmentServiceClient::new(connection) };
        let (mut tokens, mut refreshing) = (HashMap::new(), JoinSet::new());
        for (device, ClaimDeviceResponse { token, expires_at, refresh_token, .. }) in given {
            let token = Arc::new(Mutex::new(token));
            tokens.insert(device, Arc::clone(&token));
            refreshing.spawn(refresh(enrolment.clone(), device, token, refresh_token, expires_at));
        }
        Self { tokens, _refreshing: refreshing }
    }

    /// The token of a device, as it is now; `None`: it has claimed none.
    fn token(&self, device: DeviceId) -> Option<String> {
        self.tokens.get(&device).map(|token| token.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Replaces a device's token before it ends, again and again. Ends when that is refused: the server says why to the device's
/// next stream, too.
async fn refresh(
    enrolment: Enrolment,
    device: DeviceId,
    held: Arc<Mutex<String>>,
    mut refresh_token: String,
    mut expires_at: Option<Timestamp>,
) {
    loop {
        sleep(time_to_refresh(expires_at.as_ref(), clock::now())).await;
        // without an answer the same one is shown again, as the server wants it
        let (device_id, shown) = (device.uuid().to_string(), refresh_token.clone());
        let request = RefreshDeviceRequest { device_id, refresh_token: shown, csr: String::new() };
        match calling!(Always, enrolment.refresh_device(request)) {
            Ok(RefreshDeviceResponse { token, expires_at: ends, refresh_token: next, .. }) => {
                *held.lock().unwrap_or_else(PoisonError::into_inner) = token;
                (refresh_token, expires_at) = (next, ends);
            }
            Err(Error::Unreachable { .. } | Error::NoAnswer { .. } | Error::NotGrpc { .. }) => {}
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a device's token was not refreshed");
                return;
            }
        }
    }
}

/// Two thirds of what is left, so that a server that is away for a while is no end.
fn time_to_refresh(expires_at: Option<&Timestamp>, now: Nanos) -> Duration {
    let left_ms = expires_at.and_then(convert::nanos).map_or(0, |ends| ends.0.saturating_sub(now.0) / 1_000_000);
    match left_ms {
        ..=0 => AHEAD_WAIT,
        _ => Duration::from_millis((left_ms / 3 * 2).clamp(WAIT_MS.0, WAIT_MS.1).unsigned_abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_refreshed_before_it_ends() {
        let now = Nanos(1_700_000_000 * Nanos::SECOND);
        let wait = |seconds: i64| {
            let ends = convert::timestamp(now.plus(seconds * Nanos::SECOND));
            time_to_refresh(Some(&ends), now).as_millis()
        };
        assert_eq!([wait(3), wait(60), wait(900), wait(86_400)], [2_000, 40_000, 600_000, 600_000]);
        // one that has ended, or whose server does not say when
        assert_eq!([wait(0), wait(-86_400), time_to_refresh(None, now).as_millis()], [20_000; 3]);
    }
}
