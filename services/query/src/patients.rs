//! `ListPatients`: whom the caller may see, and how old the newest of each is.

use crate::{Query, latest};
use futures::{StreamExt, TryStreamExt, stream};
use guard::{convert, errors, ids, pages};
use model::{
    PatientId, Permit, UserId,
    access::{Action, Principal, decide},
    age,
};
use prost::Message;
use proto::{
    registry::v1::User,
    telemetry::v1::{ListPatientsRequest, ListPatientsResponse, ListedPatient},
};
use store::Revision;
use tonic::Status;

/// Default and most patients of a page.
pub const PAGE: (usize, usize) = (50, 200);
/// Patients of a page that are looked up at once.
const AT_ONCE: usize = 8;

/// A patient whom the caller may see.
struct Seen {
    permit: Permit,
    ward: String,
    /// The person and the revision, where the caller may know who it is.
    person: Option<(UserId, Revision)>,
}

pub(crate) async fn list(
    query: &Query,
    caller: &Principal,
    request: &ListPatientsRequest,
) -> Result<ListPatientsResponse, Status> {
    query.decisions.anywhere(caller, Action::ReadLatest).refusal_recorded("list").await?;
    let size = pages::size(request.page_size, PAGE)?;
    let after = pages::after(&request.page_token)?;
    if !request.ward.is_empty() {
        ids::word("ward", &request.ward)?;
    }
    let (seen, next_page_token) = visible(query, caller, request, size, after);
    let listing: Vec<_> = seen.iter().map(|one| listed(query, caller, one)).collect();
    let patients = stream::iter(listing).buffered(AT_ONCE).try_collect().await?;
    Ok(ListPatientsResponse { patients, next_page_token })
}

/// The first patients after one whom the caller may see, ascending by id, and the token of the next page.
fn visible(
    query: &Query,
    caller: &Principal,
    request: &ListPatientsRequest,
    size: usize,
    after: Option<PatientId>,
) -> (Vec<Seen>, String) {
    let (directory, now) = (query.decisions.directory(), query.decisions.now());
    let registry = directory.registry();
    let seen = |patient: PatientId| {
        let facts = directory.facts(caller, patient);
        let permit = decide(caller, Action::ReadLatest, patient, &facts, now).ok()?;
        let may_know = decide(caller, Action::ReadProfile, patient, &facts, now).is_ok();
        let kept = registry.person_of(patient).filter(|_| may_know).and_then(|user| registry.user(&user.uuid()));
        let person = kept.map(|kept| (UserId::new(kept.value.id), kept.value.revision.into_bytes()));
        let ward = facts.ward.as_deref().unwrap_or_default().to_owned();
        Some(Seen { permit, ward, person }).filter(|one| request.ward.is_empty() || one.ward == request.ward)
    };
    let related = directory.related(caller.subject, after).into_iter().filter_map(seen);
    // a name and a few words of each: a page of the most patients is small
    pages::page(related, size, |_| 0, |one| one.permit.patient().uuid().to_string())
}

/// What is shown of a patient, once it is durable that it is.
async fn listed(query: &Query, caller: &Principal, one: &Seen) -> Result<ListedPatient, Status> {
    let (permit, unwritten) = query.decisions.shown(caller, one.permit).permitted().await?;
    let reading = async { tokio::try_join!(latest::newest_of_any(query, &permit), name(query, one)) };
    let (newest, name) = unwritten.beside("list", reading).await?;
    let now = query.decisions.now();
    Ok(ListedPatient {
        patient_id: permit.patient().uuid().to_string(),
        name,
        ward: one.ward.clone(),
        newest_measured_at: newest.as_ref().map(|found| convert::timestamp(found.measured_at)),
        newest_age: newest.map(|found| convert::duration(age(found.recency.at, now))),
    })
}

/// The person's name; empty where none is kept or it is not for the caller.
async fn name(query: &Query, one: &Seen) -> Result<String, Status> {
    let Some((user, revision)) = one.person else { return Ok(String::new()) };
    let stored = query.profiles.profile(user, revision).await.map_err(crate::failed)?;
    let stored = stored.ok_or_else(errors::profile_unreadable)?;
    let user = User::decode(stored).map_err(|_| errors::profile_unreadable())?;
    Ok(user.person.and_then(|person| person.name).unwrap_or_default())
}
