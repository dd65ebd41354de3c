//! `StudyService`: readings of those who take part in a study, without their names and times.
//!
//! Times are moved back by a secret number of days, and nothing is shown before it is older than the longest such move, of what
//! lasts its end: otherwise a subject's newest reading would tell how far the times were moved.

use crate::{
    Query, listed, metrics,
    page::{Cursor, Question},
    range,
    readings::Selection,
    series::pack,
    timeline::{PAGE_COLUMNS, Page},
};
use async_trait::async_trait;
use auth::Pseudonyms;
use guard::{decisions::Decision, ids, pages};
use model::{
    Nanos, Permit, Quality, Range, UserId,
    access::{Action, Denied, Principal, Subject, decide, decide_any},
};
use proto::telemetry::v1::{
    ListSubjectsRequest, ListSubjectsResponse, ReadSubjectRequest, ReadSubjectResponse,
    study_service_server::{StudyService, StudyServiceServer},
};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    str::FromStr,
    sync::Arc,
};
use tonic::{Request, Response, Status};

/// Default and most subjects of a page.
pub const PAGE_SUBJECTS: (usize, usize) = (1_000, 10_000);

/// Serves `StudyService`: readings of a study's participants, under pseudonyms.
pub struct StudyRpcs {
    query: Arc<Query>,
    names: Pseudonyms,
}

impl StudyRpcs {
    /// Reads, decides and writes down as `query` does; subjects go by `names`.
    pub fn new(query: Arc<Query>, names: Pseudonyms) -> Self {
        Self { query, names }
    }

    /// The gRPC service, to be put behind the auth layer.
    pub fn service(self) -> StudyServiceServer<Self> {
        StudyServiceServer::new(self).max_decoding_message_size(64 * 1024)
    }

    /// Whether a caller may read a subject. A refusal is written down by the patient's own id.
    fn on_subject(&self, caller: &Principal, study: &str, subject: &str) -> Decision<'_, Permit> {
        let (action, decisions) = (Action::ReadDeidentified, &self.query.decisions);
        let (directory, now) = (decisions.directory(), decisions.now());
        let studied = user(caller).map(|user| directory.studied(user, study, now));
        let mut studied = studied.into_iter().flatten();
        let patient = studied.find(|patient| self.names.subject(study, *patient).eq_ignore_ascii_case(subject));
        let facts = patient.map(|patient| directory.facts(caller, patient)).unwrap_or_default();
        let decided = match patient {
            Some(patient) => decide(caller, action, patient, &facts, now),
            None => decide_any(caller, action, now).and(Err(Denied::NoRelation)),
        };
        decisions.decided(caller, action, patient, (&facts, now), decided)
    }

    /// Those of a study whom the caller may read, by their names, ascending.
    fn subjects(&self, principal: &Principal, study: &str) -> BTreeMap<String, Permit> {
        let decisions = &self.query.decisions;
        guard::subjects(&decisions.directory(), &self.names, principal, study, decisions.now())
    }

    async fn read(
        &self,
        permit: &Permit,
        principal: &Principal,
        request: &ReadSubjectRequest,
    ) -> Result<ReadSubjectResponse, Status> {
        let (query, now) = (&*self.query, self.query.decisions.now());
        let moved_by = self.names.moved_by(&request.study, permit.patient());
        let metrics = metrics(&request.metrics)?;
        let bounds = (request.start_time.as_ref(), request.end_time.as_ref());
        // a study's id has no slash
        let subject = format!("{}/{}", request.study, request.subject_id.to_ascii_lowercase());
        let question = Question { of: "subject", patient_id: &subject, metrics: &request.metrics, bounds };
        let context = question.context(principal);
        let size = pages::size(request.page_size, PAGE_COLUMNS)?;
        let shown_until = now.plus(-self.names.longest());
        let (range, after) = if request.page_token.is_empty() {
            (measured(range(bounds, Nanos::DAY, shown_until)?, shown_until, moved_by), None)
        } else {
            let cursor = Cursor::decrypt(&request.page_token, &query.cipher, &context, now)?;
            (cursor.range, Some(cursor.after))
        };
        let mut page = Page::new(size);
        let directory = query.decisions.directory();
        let retractions = directory.retractions(permit.patient());
        let ended_before = Some(shown_until.plus(moved_by));
        // false times are known: 1 January 1970 as it is shown would tell how far all are moved
        let left_out = Quality::FALSE_TIME;
        let selection = Selection { range, after, metrics: &metrics, retractions, left_out, ended_before };
        let full = page.fill(query, permit, selection).await?;
        let mut response =
            ReadSubjectResponse { series: pack(&page.held), n_repeats: page.n_repeats(), ..Default::default() };
        for series in &mut response.series {
            // whole days are whole ticks
            if let Some(first) = series.measured_at_delta_ticks.first_mut() {
                *first = first.saturating_sub(moved_by / series.tick_ns);
            }
        }
        if let (true, Some(after)) = (full, page.last) {
            response.next_page_token = Cursor { range, after }.encrypt(&query.cipher, &context, now)?;
        }
        Ok(response)
    }
}

/// The range in which it was measured what is asked for in moved time: not what is not shown yet.
fn measured(asked: Range, shown_until: Nanos, moved_by: i64) -> Range {
    let to = asked.to().min(shown_until).max(asked.from());
    Range::new(asked.from().plus(moved_by), to.plus(moved_by)).unwrap_or(asked)
}

/// What a study calls a subject, as a page token.
struct Name(String);

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Pseudonyms::is_name(text).then(|| Self(text.to_owned())).ok_or(())
    }
}

fn user(principal: &Principal) -> Option<UserId> {
    match principal.subject {
        Subject::User(user) => Some(user),
        Subject::Device(_) => None,
    }
}

#[async_trait]
impl StudyService for StudyRpcs {
    async fn list_subjects(
        &self,
        request: Request<ListSubjectsRequest>,
    ) -> Result<Response<ListSubjectsResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let principal = guard::principal(&extensions)?;
        self.query.decisions.anywhere(principal, Action::ReadDeidentified).recorded("list").await?;
        let size = pages::size(request.page_size, PAGE_SUBJECTS)?;
        let after = pages::after::<Name>(&request.page_token)?;
        let after = (after.as_ref().map_or(Unbounded, |Name(last)| Excluded(last.as_str())), Unbounded);
        ids::word("study", &request.study)?;
        let subjects = self.subjects(principal, &request.study);
        let mut listed = subjects.range::<str, _>(after);
        let page: Vec<_> = listed.by_ref().take(size).collect();
        let more = listed.next().is_some();
        let patients = page.iter().map(|(_, permit)| permit.patient());
        let purpose = page.first().map(|(_, permit)| permit.purpose());
        self.query.decisions.shows(principal, (Action::ReadDeidentified, purpose), patients, "list").await?;
        let subject_ids: Vec<_> = page.into_iter().map(|(name, _)| name.clone()).collect();
        let next_page_token = subject_ids.last().filter(|_| more).cloned().unwrap_or_default();
        Ok(Response::new(ListSubjectsResponse { subject_ids, next_page_token }))
    }

    async fn read_subject(
        &self,
        request: Request<ReadSubjectRequest>,
    ) -> Result<Response<ReadSubjectResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let principal = guard::principal(&extensions)?;
        let decision = self.on_subject(principal, &request.study, &request.subject_id);
        let (permit, unwritten) = decision.permitted().await?;
        let reading = self.read(&permit, principal, &request);
        unwritten.beside(&listed(&request.metrics), reading).await.map(Response::new)
    }
}
