//! A reader joins pages, renews tokens and calls again where that can help, and nowhere else.

use crate::fake::serve;
use futures::TryStreamExt;
use proto::{
    problem,
    telemetry::v1::{
        LatestReading, LatestReadingsRequest, LatestReadingsResponse, ListPatientsRequest, ListPatientsResponse,
        ListedPatient, ReadTimelineRequest, ReadTimelineResponse, ReadTrendRequest, ReadTrendResponse, Series,
        StoredReading, TimelineLayout, Trend,
        timeline_service_server::{TimelineService, TimelineServiceServer},
    },
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;
use wardline_client::{Error, Query, Reader, Remote, Repeat, Tokens, call, token};

const MILLISECOND: Duration = Duration::from_millis(1);

/// What a call is refused with, by its number from 1.
type Refuse = Arc<dyn Fn(usize) -> Option<Status> + Send + Sync>;

/// Three pages, one of them empty, each as its token says; after the last it begins again when `is_endless`.
#[derive(Clone)]
struct Pages {
    refuse: Refuse,
    is_endless: bool,
    /// Token and page token of each call.
    calls: Arc<Mutex<Vec<(String, String)>>>,
}

impl Pages {
    fn new(refuse: impl Fn(usize) -> Option<Status> + Send + Sync + 'static) -> Self {
        Self { refuse: Arc::new(refuse), is_endless: false, calls: Arc::default() }
    }

    async fn reader(&self, tokens: Tokens) -> Reader {
        let address = serve(TimelineServiceServer::new(self.clone())).await;
        let remote = Remote::from(format!("http://{address}"));
        Reader::new(remote.connection().unwrap().with_tokens(tokens)).with_patience(Duration::from_secs(5))
    }

    /// Notes the call; the sequences of its page, and the token of the next.
    fn page<T>(&self, request: &Request<T>, page_token: &str) -> Result<(Vec<u64>, String), Status> {
        let bearer = request.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
        let mut calls = self.calls.lock().unwrap();
        calls.push((bearer, page_token.to_owned()));
        if let Some(status) = (self.refuse)(calls.len()) {
            return Err(status);
        }
        Ok(match page_token {
            "" => (vec![1, 2], "b".to_owned()),
            "b" => (vec![], "c".to_owned()),
            _ => (vec![3], if self.is_endless { "c".to_owned() } else { String::new() }),
        })
    }

    fn page_tokens(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(_, page_token)| page_token.clone()).collect()
    }
}

#[tonic::async_trait]
impl TimelineService for Pages {
    async fn read_timeline(
        &self,
        request: Request<ReadTimelineRequest>,
    ) -> Result<Response<ReadTimelineResponse>, Status> {
        let message = request.get_ref();
        let (sequences, next_page_token) = self.page(&request, &message.page_token)?;
        let mut page = ReadTimelineResponse { next_page_token, ..Default::default() };
        if message.layout() == TimelineLayout::Columns {
            page.series = sequences.iter().map(|n| Series { tick_ns: *n as i64, ..Default::default() }).collect();
        } else {
            page.readings = sequences.iter().map(|n| StoredReading { sequence: *n, ..Default::default() }).collect();
        }
        Ok(Response::new(page))
    }

    async fn read_trend(&self, request: Request<ReadTrendRequest>) -> Result<Response<ReadTrendResponse>, Status> {
        let (sequences, next_page_token) = self.page(&request, &request.get_ref().page_token)?;
        let trends = sequences.iter().map(|n| Trend { metric: n.to_string(), ..Default::default() }).collect();
        Ok(Response::new(ReadTrendResponse { trends, next_page_token }))
    }

    async fn list_patients(
        &self,
        request: Request<ListPatientsRequest>,
    ) -> Result<Response<ListPatientsResponse>, Status> {
        let (sequences, next_page_token) = self.page(&request, &request.get_ref().page_token)?;
        let patient = |n: &u64| ListedPatient { patient_id: n.to_string(), ..Default::default() };
        Ok(Response::new(ListPatientsResponse { patients: sequences.iter().map(patient).collect(), next_page_token }))
    }

    async fn latest_readings(
        &self,
        request: Request<LatestReadingsRequest>,
    ) -> Result<Response<LatestReadingsResponse>, Status> {
        self.page(&request, "latest")?;
        Ok(Response::new(LatestReadingsResponse { readings: vec![LatestReading::default()] }))
    }
}

async fn sequences(reader: &Reader) -> Result<Vec<u64>, Error> {
    reader.timeline(Query::default()).map_ok(|reading| reading.sequence).try_collect().await
}

#[tokio::test]
async fn pages_are_one_stream() {
    let fake = Pages::new(|_| None);
    let reader = fake.reader(token("t")).await;
    assert_eq!(sequences(&reader).await.unwrap(), [1, 2, 3]);
    assert_eq!(fake.page_tokens(), ["", "b", "c"]);
    let columns: Vec<_> = reader.columns(Query::default()).map_ok(|series| series.tick_ns).try_collect().await.unwrap();
    assert_eq!(columns, [1, 2, 3]);
    let trend: Vec<_> = reader.trend(Query::default()).map_ok(|trend| trend.metric).try_collect().await.unwrap();
    assert_eq!(trend, ["1", "2", "3"]);
    let patients: Vec<_> = reader.patients("icu").map_ok(|patient| patient.patient_id).try_collect().await.unwrap();
    assert_eq!(patients, ["1", "2", "3"]);
    // nobody who stops early pays for the rest
    fake.calls.lock().unwrap().clear();
    let first = reader.timeline(Query::default()).try_next().await.unwrap();
    assert_eq!((first.map(|first| first.sequence), fake.page_tokens().len()), (Some(1), 1));

    let endless = Pages { is_endless: true, ..Pages::new(|_| None) };
    let error = sequences(&endless.reader(token("t")).await).await.unwrap_err();
    assert!(matches!(error, Error::Answer(_)), "{error}");
}

#[tokio::test]
async fn a_page_is_asked_for_again_by_the_contract() {
    let soon = tonic_types::ErrorDetails::with_retry_info(Some(MILLISECOND));
    let fake = Pages::new(move |n| match n {
        1 => Some(problem::unavailable("STORE_UNAVAILABLE", "", MILLISECOND)),
        3 => Some(Status::aborted("")),
        4 => Some(Status::deadline_exceeded("")),
        6 => {
            use tonic_types::StatusExt;
            Some(Status::with_error_details(Code::ResourceExhausted, "", soon.clone()))
        }
        _ => None,
    });
    assert_eq!(sequences(&fake.reader(token("t")).await).await.unwrap(), [1, 2, 3]);
    assert_eq!(fake.page_tokens(), ["", "", "b", "b", "b", "c", "c"]);
    for code in [Code::ResourceExhausted, Code::PermissionDenied, Code::NotFound, Code::InvalidArgument, Code::Internal]
    {
        let fake = Pages::new(move |_| Some(problem::status(code, "REASON", "no")));
        let error = fake.reader(token("t")).await.latest(Uuid::nil(), &[]).await.err().unwrap();
        assert_eq!((error.code(), error.reason().as_deref()), (Some(code), Some("REASON")));
        assert_eq!(fake.page_tokens().len(), 1, "{code:?} is not tried again");
    }
}

#[tokio::test]
async fn a_token_is_renewed() {
    let numbered = || {
        let n = AtomicU64::new(0);
        let tokens: Tokens = Arc::new(move || Ok(format!("t{}", n.fetch_add(1, Ordering::Relaxed) + 1)));
        tokens
    };
    let expired = || problem::unauthenticated("TOKEN_EXPIRED", "expired");
    let fake = Pages::new(move |n| (n == 1).then(expired));
    fake.reader(numbered()).await.latest(Uuid::nil(), &[]).await.unwrap();
    let bearers: Vec<_> = fake.calls.lock().unwrap().iter().map(|(bearer, _)| bearer.clone()).collect();
    assert_eq!(bearers, ["Bearer t1", "Bearer t2"]);
    let fake = Pages::new(move |_| Some(expired()));
    let error = fake.reader(numbered()).await.latest(Uuid::nil(), &[]).await.err().unwrap();
    assert_eq!((error.reason().as_deref(), fake.page_tokens().len()), (Some("TOKEN_EXPIRED"), 2));
    let error = Pages::new(|_| None).reader(Arc::new(|| Err("the vault is closed".into()))).await;
    let error = error.latest(Uuid::nil(), &[]).await.err().unwrap();
    assert!(matches!(&error, Error::Token(cause) if cause.to_string() == "the vault is closed"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let fake = Pages::new(|_| None);
    let reader = fake.reader(wardline_client::token_file(&path)).await;
    for text in ["one\n", "two\n"] {
        std::fs::write(&path, text).unwrap();
        reader.latest(Uuid::nil(), &[]).await.unwrap();
    }
    let bearers: Vec<_> = fake.calls.lock().unwrap().iter().map(|(bearer, _)| bearer.clone()).collect();
    assert_eq!(bearers, ["Bearer one", "Bearer two"]);
}

/// How often a call is made that fails so, and how it ends.
async fn tried(repeat: Repeat, status: Status) -> (u64, Error) {
    let n = AtomicU64::new(0);
    let ended = call::<(), _>(repeat, Duration::from_millis(300), || {
        n.fetch_add(1, Ordering::Relaxed);
        let status = status.clone();
        async move { Err(status) }
    });
    let error = ended.await.err().unwrap();
    (n.into_inner(), error)
}

#[tokio::test]
async fn patience_ends_and_what_may_have_been_done_is_not_done_twice() {
    let (n, error) = tried(Repeat::Always, Status::unavailable("")).await;
    assert!(n > 1 && matches!(error, Error::Unreachable { .. }), "{n} {error}");
    let (n, error) = tried(Repeat::Unbegun, Status::unavailable("")).await;
    assert!(n == 1 && matches!(error, Error::Unreachable { .. }), "{n} {error}");
    // nobody listens: nothing was begun
    let remote = Remote::from("http://127.0.0.1:1").or("http://127.0.0.1:2");
    for remote in [Remote::from("http://127.0.0.1:1"), remote] {
        let client =
            proto::telemetry::v1::timeline_service_client::TimelineServiceClient::new(remote.connection().unwrap());
        let n = AtomicU64::new(0);
        let ended = call(Repeat::Unbegun, Duration::from_millis(300), || {
            n.fetch_add(1, Ordering::Relaxed);
            let mut client = client.clone();
            async move { client.latest_readings(LatestReadingsRequest::default()).await }
        });
        assert!(matches!(ended.await.err().unwrap(), Error::Unreachable { .. }));
        assert!(n.into_inner() > 1, "{remote}");
    }
}
