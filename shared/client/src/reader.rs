//! A patient's readings, for programs that read: pages are joined, tokens renewed, calls repeated where that can help.

use crate::{Connection, Error, Repeat, call};
use futures::{
    Stream, StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use proto::{
    prost_types::Timestamp,
    telemetry::v1::{
        LatestReading, LatestReadingsRequest, ListPatientsRequest, ListedPatient, ReadTimelineRequest,
        ReadTimelineResponse, ReadTrendRequest, Series, StoredReading, TimelineLayout, Trend,
        timeline_service_client::TimelineServiceClient,
    },
};
use std::time::Duration;
use uuid::Uuid;

/// The largest answer that is taken: a page of columns of waveforms.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// How long a call is tried, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which readings of which patient to read.
#[derive(Clone, Default)]
pub struct Query {
    /// Id of the patient.
    pub patient: Uuid,
    /// Metric keys, such as LOINC codes; none means all.
    pub metrics: Vec<String>,
    /// First instant; when absent 24 hours before `to`, for trends 30 days.
    pub from: Option<Timestamp>,
    /// First instant after; now when absent, without readings whose device's clock was ahead.
    pub to: Option<Timestamp>,
    /// Readings in a page, which is what is held in memory; the server's default when 0.
    pub page_size: i32,
}

/// Reads with the tokens of a [`Connection`]. Cloning it is cheap.
#[derive(Clone)]
pub struct Reader {
    client: TimelineServiceClient<Connection>,
    patience: Duration,
}

impl Reader {
    /// Over a connection with tokens; each call is tried for 30 s.
    pub fn new(connection: impl Into<Connection>) -> Self {
        let client = TimelineServiceClient::new(connection.into()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Self { client, patience: PATIENCE }
    }

    /// How long each call is tried.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The newest reading of each metric, ascending by metric key.
    ///
    /// # Errors
    /// As [`call`]. A patient to whom the caller has no relation is [`Error::Refused`] with `NOT_FOUND`.
    pub async fn latest(&self, patient: Uuid, metrics: &[String]) -> Result<Vec<LatestReading>, Error> {
        let request = LatestReadingsRequest { patient_id: patient.to_string(), metrics: metrics.to_vec() };
        let answer = call(Repeat::Always, self.patience, || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.latest_readings(request).await }
        });
        Ok(answer.await?.readings)
    }

    /// The patients whom the caller may see, ascending by their id; of one ward, or of all when it is empty.
    ///
    /// # Errors
    /// As [`Reader::timeline`].
    pub fn patients(&self, ward: &str) -> BoxStream<'static, Result<ListedPatient, Error>> {
        let (this, ward) = (self.clone(), ward.to_owned());
        let pages = pages(move |page_token| {
            let request = ListPatientsRequest { ward: ward.clone(), page_size: 0, page_token };
            let this = this.clone();
            async move {
                let answer = call(Repeat::Always, this.patience, || {
                    let (mut client, request) = (this.client.clone(), request.clone());
                    async move { client.list_patients(request).await }
                });
                answer.await.map(|page| (page.next_page_token, page.patients))
            }
        });
        pages.map_ok(|patients| stream::iter(patients).map(Ok)).try_flatten().boxed()
    }

    /// Readings, oldest first. The next page is asked for when the one before has been taken; the stream ends after an error.
    ///
    /// # Errors
    /// As [`Reader::latest`], and [`Error::Answer`].
    pub fn timeline(&self, query: Query) -> BoxStream<'static, Result<StoredReading, Error>> {
        let pages = self.timeline_pages(query, TimelineLayout::Readings);
        pages.map_ok(|page| stream::iter(page.readings).map(Ok)).try_flatten().boxed()
    }

    /// The same as packed columns, of each page one for each metric and unit: for plots and programs.
    ///
    /// # Errors
    /// As [`Reader::timeline`].
    pub fn columns(&self, query: Query) -> BoxStream<'static, Result<Series, Error>> {
        let pages = self.timeline_pages(query, TimelineLayout::Columns);
        pages.map_ok(|page| stream::iter(page.series).map(Ok)).try_flatten().boxed()
    }

    /// What the numbers of each metric came to in each hour, oldest first; a metric comes once for each page that has hours of it.
    ///
    /// # Errors
    /// As [`Reader::timeline`].
    pub fn trend(&self, query: Query) -> BoxStream<'static, Result<Trend, Error>> {
        let this = self.clone();
        let pages = pages(move |page_token| {
            let Query { patient, metrics, from: start_time, to: end_time, page_size } = query.clone();
            let patient_id = patient.to_string();
            let request = ReadTrendRequest { patient_id, metrics, start_time, end_time, page_size, page_token };
            let this = this.clone();
            async move {
                let answer = call(Repeat::Always, this.patience, || {
                    let (mut client, request) = (this.client.clone(), request.clone());
                    async move { client.read_trend(request).await }
                });
                answer.await.map(|page| (page.next_page_token, page.trends))
            }
        });
        pages.map_ok(|trends| stream::iter(trends).map(Ok)).try_flatten().boxed()
    }

    /// The pages themselves, for who wants what each says beside its readings, such as `n_repeats`.
    ///
    /// # Errors
    /// As [`Reader::timeline`].
    pub fn timeline_pages(
        &self,
        query: Query,
        layout: TimelineLayout,
    ) -> BoxStream<'static, Result<ReadTimelineResponse, Error>> {
        let this = self.clone();
        let pages = pages(move |page_token| {
            let Query { patient, metrics, from: start_time, to: end_time, page_size } = query.clone();
            let (patient_id, layout) = (patient.to_string(), layout.into());
            let request =
                ReadTimelineRequest { patient_id, metrics, start_time, end_time, page_size, page_token, layout };
            let this = this.clone();
            async move {
                let answer = call(Repeat::Always, this.patience, || {
                    let (mut client, request) = (this.client.clone(), request.clone());
                    async move { client.read_timeline(request).await }
                });
                answer.await.map(|page| (page.next_page_token.clone(), page))
            }
        });
        pages.boxed()
    }
}

/// Pages, each asked for with the token of the one before. An empty page is not the last one.
fn pages<T, F>(ask: impl Fn(String) -> F) -> impl Stream<Item = Result<T, Error>>
where
    F: Future<Output = Result<(String, T), Error>>,
{
    stream::try_unfold((Some(String::new()), ask), |(page_token, ask)| async move {
        let Some(page_token) = page_token else { return Ok(None) };
        let (next, page) = ask(page_token.clone()).await?;
        if !next.is_empty() && next == page_token {
            return Err(Error::Answer("the same page again and again"));
        }
        Ok(Some((page, (Some(next).filter(|next| !next.is_empty()), ask))))
    })
}
