//! The table at work: around all services, before the auth layer.

use super::{
    Bounds, Settings, bounds, open_calls,
    watched::{Answers, Asked, Said, late},
};
use crate::{
    Caller,
    bounds::InProcess,
    connection_limit::{ConnectionLimit, Slot},
    streams::{TAKEN_WITHIN, end_stream_at},
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

/// When to try again where too many ask at once.
const RETRY: Duration = Duration::from_secs(1);

/// What stands before all services. Cheap to clone.
#[derive(Clone)]
pub struct Methods(Arc<Inner>);

struct Inner {
    by_path: HashMap<String, Bounds>,
    open: Arc<ConnectionLimit>,
    stop: CancellationToken,
}

impl Methods {
    /// The table with the settings. After `stop`, streams that are open to all end.
    pub fn new(settings: &Settings, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner { by_path: bounds(settings).collect(), open: open_calls(settings), stop }))
    }

    /// Puts itself before services.
    pub fn before(self, routes: Routes) -> Routes {
        Routes::from(routes.into_axum_router().layer(from_fn_with_state(self, bounded)))
    }

    /// A place among the calls that need no token.
    fn enter(&self, request: &Request) -> Result<Option<Slot>, Status> {
        // calls of this process come from nowhere
        let Some(caller) = request.extensions().get::<Caller>() else { return Ok(None) };
        self.0.open.enter(caller.address()).map(Some).map_err(|_| {
            crate::metrics::tokenless_refused();
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
    let in_process = request.extensions().get::<InProcess>().cloned();
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
    let response = in_our_words(response, bounds.max_message_bytes, in_process.as_ref());
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

/// Says what was wrong with a request that could not be read.
///
/// tonic reads a single request before its handler runs, and answers by itself when that fails: INTERNAL to broken framing or
/// compression and to no message at all, OUT_OF_RANGE or RESOURCE_EXHAUSTED to a large one. A caller would take the first for a
/// fault of ours, and send the same bytes for ever; and so would who reads the counts.
fn in_our_words(response: Response, max_message_bytes: usize, in_process: Option<&InProcess>) -> Response {
    // an answer of ours that is an error has details; one that is none has no status in its head
    let bare = Status::from_header_map(response.headers()).filter(|status| status.details().is_empty());
    let Some(bare) = bare else { return response };
    // of the JSON port's requests the gateway knows it better
    let better = in_process.and_then(InProcess::refusal).or_else(|| problem::unreadable(bare, max_message_bytes));
    better.map_or(response, Status::into_http)
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
        // nothing here is measured finer
        "n" => Duration::from_micros(count.div_ceil(1_000)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::{bounds, tests::settings};
    use axum::{Router, body::to_bytes};
    use futures::{StreamExt, stream};
    use std::convert::Infallible;
    use tonic::codegen::Service;

    /// Services that wait for the whole request, and answer what was wrong with it.
    fn reading() -> Routes {
        Routes::from(Router::new().fallback(async |request: Request| {
            match to_bytes(request.into_body(), usize::MAX).await {
                Ok(_) => Status::ok("read").into_http::<Body>(),
                Err(error) => Status::from_error(error.into()).into_http(),
            }
        }))
    }

    async fn ask(routes: &Routes, path: &str, wanted: Option<&str>, bytes: &[u8]) -> Status {
        let begun = stream::once(std::future::ready(Ok::<_, Infallible>(bytes.to_vec()))).chain(stream::pending());
        let mut request = Request::post(path);
        if let Some(wanted) = wanted {
            request = request.header("grpc-timeout", wanted);
        }
        let response = routes.clone().call(request.body(Body::from_stream(begun)).unwrap()).await.unwrap();
        Status::from_header_map(response.headers()).expect("no status")
    }

    #[tokio::test(start_paused = true)]
    async fn no_method_waits_for_ever_or_keeps_what_is_too_long() {
        let settings = settings();
        let routes = Methods::new(&settings, CancellationToken::new()).before(reading());
        for (path, of) in bounds(&settings) {
            let (max, began) = (of.max_message_bytes as u32, Instant::now());
            let prefix = |n_bytes: u32| [&[0][..], &n_bytes.to_be_bytes()].concat();
            let status = ask(&routes, &path, None, &prefix(max + 1)).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{path}: {status:?}");
            assert_eq!(began.elapsed(), Duration::ZERO, "{path}: refused at once");
            // the rest never comes, whatever the client would wait for
            for wanted in [None, Some("1H")] {
                let status = ask(&routes, &path, wanted, &prefix(max)).await;
                assert_eq!(status.code(), Code::DeadlineExceeded, "{path} {of:?}: {status:?}");
            }
            assert!(began.elapsed() <= Duration::from_secs(2 * 310 + 1), "{path} {of:?}: {:?}", began.elapsed());
            if path == "/grpc.health.v1.Health/Check" {
                assert_eq!(began.elapsed().as_secs(), 10, "{path}");
            }
            let began = Instant::now();
            ask(&routes, &path, Some("20m"), &prefix(max)).await;
            assert_eq!(began.elapsed().as_millis() / 10, 2, "{path}: the client's own deadline");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_the_callers_fault_and_what_a_service_says_stays() {
        let path = "/wardline.registry.v1.RegistryService/GetUser";
        let answer = async |said: Status, handed: Option<InProcess>| {
            let says = move || std::future::ready(said.clone().into_http::<Body>());
            let services = Routes::from(Router::new().fallback(says));
            let mut routes = Methods::new(&settings(), CancellationToken::new()).before(services);
            let mut request = Request::post(path).body(Body::empty()).unwrap();
            if let Some(handed) = handed {
                request.extensions_mut().insert(handed);
            }
            let status = Status::from_header_map(routes.call(request).await.unwrap().headers()).unwrap();
            (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
        };
        let missing = || Status::internal("Missing request message.");
        let mut gzip = Status::unimplemented("Content is compressed with `gzip` which isn't supported");
        gzip.metadata_mut().insert("grpc-accept-encoding", "identity".parse().unwrap());
        let ours = problem::status(Code::Internal, "INTERNAL", "a fault of ours");
        for (said, code, reason) in [
            (missing(), Code::InvalidArgument, "MALFORMED_MESSAGE"),
            (Status::out_of_range("too large"), Code::InvalidArgument, "MESSAGE_TOO_LARGE"),
            (gzip, Code::Unimplemented, "UNSUPPORTED_ENCODING"),
            (Status::unimplemented("no such method"), Code::Unimplemented, ""),
            (Status::not_found("health says so"), Code::NotFound, ""),
            (ours, Code::Internal, "INTERNAL"),
        ] {
            assert_eq!(answer(said.clone(), None).await, (code, reason.to_owned()), "{said:?}");
        }
        // with what the gateway hands in
        let handed = InProcess::default();
        assert_eq!(answer(missing(), Some(handed.clone())).await.1, "MALFORMED_MESSAGE");
        handed.refuse(problem::status(Code::ResourceExhausted, "BODY_TOO_LARGE", ""));
        let expected = (Code::ResourceExhausted, "BODY_TOO_LARGE".to_owned());
        assert_eq!(answer(missing(), Some(handed)).await, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn of_an_unknown_method_nothing_is_read() {
        let settings = settings();
        let routes = Methods::new(&settings, CancellationToken::new()).before(reading());
        let began = Instant::now();
        for path in ["/wardline.registry.v1.RegistryService/GetEverything", "/", "/grpc.health.v1.Health/Check/"] {
            assert_eq!(ask(&routes, path, None, &[0; 4]).await.code(), Code::Unimplemented, "{path}");
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

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

    #[tokio::test(start_paused = true)]
    async fn a_stream_of_answers_ends_in_time() {
        use hyper::body::Body as _;
        let settings = settings();
        // its head at once, and then nothing
        let silent = Routes::from(
            Router::new()
                .fallback(async || Response::new(Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>()))),
        );
        let routes = Methods::new(&settings, CancellationToken::new()).before(silent);
        let mut n_found = 0;
        for (path, of) in bounds(&settings) {
            let Some(lifetime) = of.lifetime else { continue };
            let began = Instant::now();
            let request = Request::post(&path).body(Body::empty()).unwrap();
            let mut body = routes.clone().call(request).await.unwrap().into_body();
            let last = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
            let last = timeout(Duration::from_secs(86_400), last).await.expect("it has no end").unwrap().unwrap();
            let trailers = last.into_trailers().unwrap();
            assert_eq!(Status::from_header_map(&trailers).unwrap().code(), Code::DeadlineExceeded, "{path}");
            assert_eq!(began.elapsed(), lifetime, "{path}");
            n_found += 1;
        }
        assert_eq!(n_found, 6);
    }
}
