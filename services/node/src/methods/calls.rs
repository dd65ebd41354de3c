//! The table at work: around all services, before the gate.

use super::{
    Bounds, bounds, open_calls,
    watched::{Answers, Asked, Said},
};
use crate::{
    accept::{
        Caller,
        room::{Place, Room},
        serving::end_stream_at,
    },
    config::Config,
};
use axum::{
    body::Body,
    extract::{Request, State},
    http::HeaderMap,
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use proto::problem;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, service::Routes};
use tonic_types::{ErrorDetails, StatusExt};

/// How long a client may take for an answer that is there; an HTTP/2 stream that lasts longer is reset.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);
/// When to try again where too many ask at once.
const RETRY: Duration = Duration::from_secs(1);

/// What stands before all services. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Methods(Arc<Inner>);

struct Inner {
    by_path: HashMap<String, Bounds>,
    open: Arc<Room>,
    stop: CancellationToken,
}

impl Methods {
    /// The table with the settings. After `stop`, streams that are open to all end.
    pub(crate) fn new(config: &Config, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { by_path: bounds(config).collect(), open: open_calls(config), stop }))
    }

    /// Puts itself before services.
    pub(crate) fn before(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(from_fn_with_state(self, bounded)))
    }

    /// A place among the calls that need no token.
    fn enter(&self, request: &Request) -> Result<Option<Place>, Status> {
        // calls of this process come from nowhere
        let Some(caller) = request.extensions().get::<Caller>() else { return Ok(None) };
        self.0.open.enter(caller.address()).map(Some).map_err(|_| {
            metrics::counter!("wardline_open_calls_refused_total").increment(1);
            let text = "too many calls without a token are under way, of your address or in all; try again";
            let mut details = ErrorDetails::with_error_info("TOO_MANY_CALLS", problem::DOMAIN, HashMap::new());
            details.set_retry_info(Some(RETRY));
            Status::with_error_details(Code::ResourceExhausted, text, details)
        })
    }
}

/// One call within its bounds.
async fn bounded(State(methods): State<Methods>, request: Request, next: Next) -> Response {
    let Some(&bounds) = methods.0.by_path.get(request.uri().path()) else {
        return problem::status(Code::Unimplemented, "UNKNOWN_METHOD", "there is no such method here").into_http();
    };
    let place = match bounds.is_open.then(|| methods.enter(&request)).transpose() {
        Ok(place) => place.flatten(),
        Err(full) => return full.into_http(),
    };
    let began = Instant::now();
    let wanted = wanted(request.headers());
    let said = Said::default();
    let request = request.map(|body| Body::new(Asked::new(body, bounds, said.clone())));
    // the client's own deadline holds when it is the earlier one
    let answer = bounds.answer.map(|limit| wanted.map_or(limit, |wanted| wanted.min(limit))).or(wanted);
    if bounds.lifetime.is_none()
        && let Some(limit) = bounds.answer
    {
        end_stream_at(began + limit + TAKEN_WITHIN);
    }
    let response = match answer {
        None => next.run(request).await,
        Some(limit) => match timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => return late(limit).into_http(),
        },
    };
    if bounds.lifetime.is_none() && bounds.is_single {
        return response;
    }
    let lifetime = [bounds.lifetime, wanted].into_iter().flatten().min();
    if let Some(lifetime) = lifetime {
        end_stream_at(began + lifetime + TAKEN_WITHIN);
    }
    let stop = bounds.is_open.then(|| methods.0.stop.clone());
    response.map(|body| Body::new(Answers::new(body, said, lifetime.map(|lifetime| began + lifetime), stop, place)))
}

/// DEADLINE_EXCEEDED: `limit` was not enough.
pub(super) fn late(limit: Duration) -> Status {
    let text = format!("not answered within {limit:?}; send the whole request at once, ask for less, or try again");
    problem::status(Code::DeadlineExceeded, "DEADLINE", text)
}

/// What a client wants to wait at most: `grpc-timeout`, up to eight digits and a unit.
fn wanted(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_deadline_is_read_as_grpc_writes_it() {
        let of = |text: &str| wanted(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]));
        assert_eq!([of("3S"), of("250m")], [Some(Duration::from_secs(3)), Some(Duration::from_millis(250))]);
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "S", "3", "3s", "-3S", "999999999S", "3.5S", "3\u{e9}"] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", axum::http::HeaderValue::from_bytes(wrong.as_bytes()).unwrap());
            assert_eq!(wanted(&headers), None, "{wrong:?}");
        }
    }
}
