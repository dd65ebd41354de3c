//! Around a service, behind the auth layer: a call waits for room before its request is read, and its answer until it is taken.

use super::{
    Bounds,
    answer::Answer,
    budget::{Full, Permit},
    request::{Counted, Held},
};
use crate::{Caller, access};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use hyper::body::{Body as _, Frame, SizeHint};
use model::access::{Principal, Subject};
use proto::rpc;
use std::{
    convert::Infallible,
    future::poll_fn,
    mem,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

/// What a request of one message becomes when it is decoded: a few bytes may stand for a reading, or a name, of a hundred.
const DECODED_WEIGHT: u32 = 16;

/// With a call of the JSON port: its request is counted there, its answer is taken at once. Clones are the same.
#[derive(Clone, Default)]
pub struct InProcess(Arc<Handed>);

#[derive(Default)]
struct Handed {
    caller: OnceLock<Subject>,
    refusal: OnceLock<Status>,
    answer: Mutex<Option<Permit>>,
}

impl InProcess {
    /// Who the caller is, once the auth layer has found out.
    pub fn caller(&self) -> Option<Subject> {
        self.0.caller.get().copied()
    }

    /// Says why the rpc gets no request: what was sent to the JSON port cannot become one.
    pub fn refuse(&self, refusal: Status) {
        // read once
        let _ = self.0.refusal.set(refusal);
    }

    /// Why the rpc got no request, if it got none.
    pub fn refusal(&self) -> Option<Status> {
        self.0.refusal.get().cloned()
    }

    /// What was set aside for the answer.
    pub fn answer(&self) -> Option<Permit> {
        self.0.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A service whose calls are bounded.
#[derive(Clone)]
pub struct Bounded<S> {
    service: S,
    bounds: Bounds,
}

impl<S> Bounded<S> {
    /// Puts the budgets around a service.
    pub fn new(service: S, bounds: Bounds) -> Self {
        Self { service, bounds }
    }
}

type Response = http::Response<Body>;

impl<S> Service<http::Request<Body>> for Bounded<S>
where
    S: Service<http::Request<Body>, Response = Response, Error = Infallible> + Clone + Send + NamedService + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if access::is_stream(request.uri().path()) {
            return self.service.call(request).boxed();
        }
        // the one that is ready is the one to call
        let fresh = self.service.clone();
        let service = mem::replace(&mut self.service, fresh);
        unary(service, request, self.bounds.clone()).boxed()
    }
}

async fn unary<S>(mut service: S, request: http::Request<Body>, bounds: Bounds) -> Result<Response, Infallible>
where
    S: Service<http::Request<Body>, Response = Response, Error = Infallible>,
{
    let (caller, address) = asker(request.extensions());
    let in_process = request.extensions().get::<InProcess>().cloned();
    let (size, wait) = (estimate(request.uri().path()), bounds.wait);
    // first of the caller's own, of which nothing comes back while the caller takes no answers: who waits here holds nothing else
    let room = async {
        let answer = bounds.answers.account(caller, None).take(size / 2, wait).await?;
        let call = bounds.calls.account(caller, None).take(size, wait).await?;
        Ok::<_, Full>((answer, call))
    };
    let (answer, call) = match room.await {
        Ok(room) => room,
        Err(full) => return Ok(full.status().into_http()),
    };
    if let Some(InProcess(handed)) = in_process {
        if let Some(caller) = caller {
            // asked once
            let _ = handed.caller.set(caller);
        }
        let response = service.call(request).await?;
        *handed.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        return Ok(response.map(|body| Body::new(Holding { body, _call: call })));
    }
    let held = Held::default();
    let account = bounds.requests.account(caller, address);
    let counted = |body| Body::new(Counted::new(body, account, DECODED_WEIGHT, bounds.wait, Arc::clone(&held)));
    let response = service.call(request.map(counted)).await?;
    drop(held);
    if response.body().is_end_stream() {
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    Ok(match whole(body, answer, &bounds).await {
        Ok(answer) => http::Response::from_parts(parts, Body::new(answer)),
        Err(status) => status.into_http(),
    })
}

/// Who asks, as far as it is known, and from where.
fn asker(extensions: &http::Extensions) -> (Option<Subject>, Option<IpAddr>) {
    let caller = extensions.get::<Principal>().map(|principal| principal.subject);
    (caller, extensions.get::<Caller>().map(Caller::address))
}

/// Encodes all of an answer, and holds it when there is room.
async fn whole(mut body: Body, answer: Permit, bounds: &Bounds) -> Result<Answer, Status> {
    let (mut frames, mut trailers, mut n_bytes) = (Vec::new(), None, 0usize);
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        match frame?.into_data() {
            Ok(data) => {
                n_bytes += data.len();
                frames.push(data);
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let n_bytes = u32::try_from(n_bytes).unwrap_or(u32::MAX);
    let answer = answer.fitted(n_bytes, bounds.wait).await.map_err(|full| full.status())?;
    Ok(Answer::new(frames, trailers, answer, &bounds.untaken))
}

/// What is held while a call is worked on, in bytes, until its answer is encoded: readings as they are read and decoded, a page
/// of them, and the message. Half of it is set aside for the answer.
fn estimate(path: &str) -> u32 {
    const OTHER: u32 = 128 << 10;
    rpc::find(path).map_or(OTHER, |rpc| rpc.memory_bytes)
}

/// A body, and what is held until it has ended.
struct Holding {
    body: Body,
    _call: Permit,
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Inner,
            answer::Untaken,
            budget::{Budget, Shares},
        },
        *,
    };
    use model::{Nanos, UserId};
    use std::time::Duration;
    use tonic::Code;
    use uuid::Uuid;

    const KIB: u32 = 1 << 10;
    const WAIT: Duration = Duration::from_secs(5);
    const READ: &str = "/wardline.registry.v1.RegistryService/GetUser";

    /// Room for two calls and 192 KiB of answers of one caller, and for twice as much in all.
    fn bounds() -> Bounds {
        let budget = |what, bytes: u32| Budget::new(what, Shares { node: 2 * bytes, address: 0, caller: bytes });
        let requests = || budget("requests", 64 * KIB);
        Bounds(Arc::new(Inner {
            requests: requests(),
            api_requests: requests(),
            api_parsed: requests(),
            calls: budget("calls", 2 * estimate(READ)),
            answers: budget("answers", 192 * KIB),
            untaken: Untaken::default(),
            wait: WAIT,
            stall: Duration::from_secs(30),
        }))
    }

    /// Reads all that it is sent, waits until it may answer, and answers so many bytes.
    #[derive(Clone)]
    struct Reader {
        answer_bytes: usize,
        go: Arc<tokio::sync::Semaphore>,
    }

    impl NamedService for Reader {
        const NAME: &'static str = "reader";
    }

    impl Service<http::Request<Body>> for Reader {
        type Response = Response;
        type Error = Infallible;
        type Future = BoxFuture<'static, Result<Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let Self { answer_bytes, go } = self.clone();
            async move {
                let mut body = request.into_body();
                while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
                    if let Err(status) = frame {
                        return Ok(status.into_http());
                    }
                }
                go.acquire().await.unwrap().forget();
                Ok(http::Response::new(Body::new(axum::body::Body::from(vec![0; answer_bytes]))))
            }
            .boxed()
        }
    }

    fn reader(bounds: &Bounds, answer_bytes: usize, n_go: usize) -> Bounded<Reader> {
        let go = Arc::new(tokio::sync::Semaphore::new(n_go));
        Bounded::new(Reader { answer_bytes, go }, bounds.clone())
    }

    async fn call(service: &Bounded<Reader>, user: u128, request_bytes: usize) -> Result<Body, Status> {
        let body = axum::body::Body::from(vec![0; request_bytes]);
        let mut request = http::Request::post(READ).body(Body::new(body)).unwrap();
        let user = Subject::User(UserId::new(Uuid::from_u128(user)));
        request.extensions_mut().insert(Principal::everywhere(user, &[], Nanos::MAX));
        let answer = service.clone().call(request).await.unwrap();
        match Status::from_header_map(answer.headers()) {
            Some(status) => Err(status),
            None => Ok(answer.into_body()),
        }
    }

    async fn refused(service: &Bounded<Reader>, user: u128, request_bytes: usize) -> String {
        use tonic_types::StatusExt;
        let status = call(service, user, request_bytes).await.err().unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.get_details_retry_info().is_some());
        status.get_details_error_info().unwrap().reason
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_bounded_and_another_caller_has_room() {
        let bounds = bounds();
        let service = reader(&bounds, 100 << 10, 100);
        let first = call(&service, 1, 100).await.unwrap();
        assert_eq!((bounds.answers.out(), bounds.calls.out(), bounds.requests.out()), (100 << 10, 0, 0));
        assert_eq!(refused(&service, 1, 100).await, "ANSWERS_OF_CALLER");
        let other = call(&service, 2, 100).await.unwrap();
        assert_eq!(bounds.answers.out(), 200 << 10);
        drop(first);
        let again = call(&service, 1, 100).await.unwrap();
        drop((other, again));
        assert_eq!((bounds.answers.out(), bounds.calls.out(), bounds.requests.out()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_has_a_few_calls_at_once_and_the_others_of_the_same_caller_wait() {
        let bounds = bounds();
        let service = reader(&bounds, 10, 0);
        let begin = |user| {
            let service = service.clone();
            tokio::spawn(async move { call(&service, user, 100).await.is_ok() })
        };
        let under_way = [begin(1), begin(1)];
        while bounds.calls.out() < 2 * estimate(READ) as usize {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(&service, 1, 100).await, "CALLS_OF_CALLER");
        let (waiting, other) = (begin(1), begin(2));
        while bounds.calls.out() < 3 * estimate(READ) as usize {
            tokio::task::yield_now().await;
        }
        service.service.go.add_permits(4);
        for call in under_way.into_iter().chain([waiting, other]) {
            assert!(call.await.unwrap());
        }
        assert_eq!((bounds.calls.out(), bounds.calls.n_known()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_worked_on_are_bounded() {
        let bounds = bounds();
        let service = reader(&bounds, 10, 0);
        let begun = tokio::spawn({
            let service = service.clone();
            async move { call(&service, 1, 3 << 10).await.is_ok() }
        });
        // for what it becomes it counts sixteen times
        while bounds.requests.out() < 48 << 10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(refused(&service, 1, 3 << 10).await, "REQUESTS_OF_CALLER");
        service.service.go.add_permits(1);
        assert!(begun.await.unwrap());
        assert_eq!(bounds.requests.out(), 0);
    }
}
