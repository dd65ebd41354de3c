//! Break-glass: one patient, an hour at most, for a reason, and somebody else reviews it afterwards.

use crate::{
    Registry,
    access::person,
    check, metrics,
    newest::{self, ListPosition, newest_first},
    writing::not_found,
};
use directory::registry::{self as kept, Change, State};
use guard::{
    convert, ids,
    pages::{self, page},
};
use model::{
    Nanos, PatientId,
    access::{Action, Denied, Principal},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        BreakGlass, ListBreakGlassRequest, ListBreakGlassResponse, OpenBreakGlassRequest, OpenBreakGlassResponse,
        ReviewBreakGlassRequest, ReviewBreakGlassResponse,
    },
};
use std::time::Duration;
use tonic::{Code, Status};
use uuid::Uuid;

const REASONS: [&str; 4] = ["unconscious", "life-threat", "no-staff", "other"];
const UNJUSTIFIED: &str = "unjustified";
const OUTCOMES: [&str; 3] = ["justified", UNJUSTIFIED, "unclear"];
const MINUTES_MAX: i32 = 60;
const TEXT_MIN: usize = 10;
const TEXT_MAX: usize = 500;
/// Emergencies that one caller opens in an hour, on all nodes: more than anybody treats, and few for one who wants to look around.
const IN_AN_HOUR: usize = 10;
/// How long a review as unjustified bars its person from the next.
const BARRED_NS: i64 = Nanos::DAY;

impl Registry {
    /// Whether the patient exists is not said: an emergency for nobody opens nothing, and neither does one for somebody who is a
    /// patient no more, of whom there are readings.
    pub(crate) async fn open_break_glass(
        &self,
        caller: &Principal,
        request: OpenBreakGlassRequest,
    ) -> Result<OpenBreakGlassResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        one_of("reason", &request.reason, &REASONS)?;
        check::reason("text", &request.text, TEXT_MIN, TEXT_MAX)?;
        let minutes = match request.minutes {
            0 => MINUTES_MAX,
            minutes if (1..=MINUTES_MAX).contains(&minutes) => minutes,
            _ => return Err(check::bad("minutes", format!("1 to {MINUTES_MAX}, or 0 for {MINUTES_MAX}"))),
        };
        let user = person(caller)?.uuid();
        let id = Uuid::now_v7();
        let detail = format!("{} {id}", request.reason);
        let decision = || self.decisions.on_system(caller, Action::OpenBreakGlass, Some(patient));
        decision().refusal_recorded(&detail).await?;
        // who may open none now is written down as refused, and never as allowed
        let (directory, _) = self.draft(Some(caller.subject)).await?;
        if let Err(refused) = may_open(directory.registry(), user, self.decisions.now()) {
            return Err(self.not_opened(caller, patient, &detail, refused).await);
        }
        decision().recorded(&detail).await?;
        let opened = self
            .change(caller, |directory, now| {
                // the person may have opened others in between, on another node
                if let Err(refused) = may_open(directory.registry(), user, now) {
                    return Ok((vec![], Err(refused)));
                }
                let asked = kept::BreakGlass {
                    id,
                    user,
                    patient: patient.uuid(),
                    reason: request.reason.clone(),
                    text: request.text.clone(),
                    from: now.0,
                    to: now.plus(i64::from(minutes) * 60 * Nanos::SECOND).0,
                    review: None,
                    notified: None,
                };
                // over before it begins, and answered as every other
                let never = || kept::BreakGlass { from: now.0 - 1, to: now.0, ..asked.clone() };
                let kept = if directory.is_patient_no_more(patient) { never() } else { asked.clone() };
                Ok((vec![Change::BreakGlass(kept)], Ok(asked)))
            })
            .await?;
        let emergency = match opened {
            Ok(emergency) => emergency,
            Err(refused) => return Err(self.not_opened(caller, patient, &detail, refused).await),
        };
        metrics::emergency();
        self.notices.opened(id);
        Ok(OpenBreakGlassResponse { break_glass: Some(wire(&emergency)) })
    }

    /// Writes down that an emergency was refused, and why; gives the answer to who asked for it.
    async fn not_opened(
        &self,
        caller: &Principal,
        patient: PatientId,
        detail: &str,
        (denied, refused): (Denied, Status),
    ) -> Status {
        let decision = self.decisions.plain(caller, Action::OpenBreakGlass, Some(patient), Err(denied));
        decision.written(detail).await.err().unwrap_or(refused)
    }

    pub(crate) async fn list_break_glass(
        &self,
        caller: &Principal,
        request: ListBreakGlassRequest,
    ) -> Result<ListBreakGlassResponse, Status> {
        self.decisions.on_system(caller, Action::ReviewBreakGlass, None).recorded("list").await?;
        let (size, after) = (pages::size(request.page_size, newest::PAGE)?, pages::after(&request.page_token)?);
        let directory = self.decisions.directory();
        let all = directory.registry().break_glass(None).map(|(_, kept)| &kept.value);
        let wanted = all.filter(|emergency| !request.unreviewed || emergency.review.is_none());
        let (found, next_page_token) =
            page(newest_first(wanted, place, after), size, |one| wire(one).encoded_len(), |one| place(one).to_string());
        let patients = found.iter().map(|emergency| PatientId::new(emergency.patient));
        self.decisions.shows(caller, (Action::ReviewBreakGlass, None), patients, "list").await?;
        Ok(ListBreakGlassResponse { break_glass: found.into_iter().map(wire).collect(), next_page_token })
    }

    pub(crate) async fn review_break_glass(
        &self,
        caller: &Principal,
        request: ReviewBreakGlassRequest,
    ) -> Result<ReviewBreakGlassResponse, Status> {
        let id = ids::uuid("break_glass_id", &request.break_glass_id)?;
        one_of("outcome", &request.outcome, &OUTCOMES)?;
        check::reason("text", &request.text, 0, TEXT_MAX)?;
        let about = self.decisions.directory().registry().emergency(&id).map(|kept| PatientId::new(kept.value.patient));
        self.decisions
            .on_system(caller, Action::ReviewBreakGlass, about)
            .recorded(&format!("{id} {}", request.outcome))
            .await?;
        let by = person(caller)?.uuid();
        let emergency = self
            .change(caller, |directory, now| {
                let kept = directory.registry().emergency(&id).ok_or_else(|| not_found("emergency"))?;
                if kept.value.user == by {
                    let text = "nobody reviews their own; ask another reviewer";
                    return Err(problem::field(Code::PermissionDenied, "SELF_GRANT", "break_glass_id", text));
                }
                if kept.value.review.is_some() {
                    let text = "it was reviewed already";
                    return Err(problem::field(Code::FailedPrecondition, "REVIEWED", "break_glass_id", text));
                }
                let (outcome, text) = (request.outcome.clone(), request.text.clone());
                let review = Some(kept::Review { by, at: now.0, outcome, text });
                let mut emergency = kept::BreakGlass { review, ..kept.value.clone() };
                let mut changes = Vec::new();
                if request.outcome == UNJUSTIFIED {
                    let ended = |one: &kept::BreakGlass| one.to.min(now.0.max(one.from + 1));
                    emergency.to = ended(&emergency);
                    // the same person may have opened the same patient once more
                    let all = directory.registry().break_glass(None).map(|(_, kept)| &kept.value);
                    let twins = all.filter(|one| {
                        (one.user, one.patient) == (emergency.user, emergency.patient) && one.id != id && one.to > now.0
                    });
                    let twins = twins.map(|one| kept::BreakGlass { to: ended(one), ..one.clone() });
                    changes.extend(twins.map(Change::BreakGlass));
                }
                changes.push(Change::BreakGlass(emergency.clone()));
                Ok((changes, emergency))
            })
            .await?;
        Ok(ReviewBreakGlassResponse { break_glass: Some(wire(&emergency)) })
    }
}

/// Refuses one more to who has opened too many, and to whom a review has barred from it.
fn may_open(state: &State, user: Uuid, now: Nanos) -> Result<(), (Denied, Status)> {
    let own = || state.break_glass(None).map(|(_, kept)| &kept.value).filter(move |one| one.user == user);
    let unjustified = own().filter_map(|one| one.review.as_ref()).filter(|review| review.outcome == UNJUSTIFIED);
    if let Some(until) = unjustified.map(|review| Nanos(review.at).plus(BARRED_NS)).max().filter(|until| now < *until) {
        let hours = (until.0 - now.0) / (3_600 * Nanos::SECOND) + 1;
        let text = format!(
            "a review found an emergency of yours unjustified: no other for a day, which ends in {hours} h; ask a colleague"
        );
        let refused = problem::status(Code::PermissionDenied, "BARRED_BY_REVIEW", text);
        return Err((Denied::BarredByReview, refused));
    }
    // a clock that was put back bars nobody: what begins later than now is not counted
    let hour_ns = 3_600 * Nanos::SECOND;
    let mut begun: Vec<_> =
        own().map(|one| one.from).filter(|from| (now.0 - hour_ns + 1..=now.0).contains(from)).collect();
    begun.sort_unstable();
    let Some(place) = begun.len().checked_sub(IN_AN_HOUR) else { return Ok(()) };
    let wait = Duration::from_secs((begun[place] + hour_ns).abs_diff(now.0).div_ceil(Nanos::SECOND.unsigned_abs()));
    let text = format!("{IN_AN_HOUR} emergencies in an hour are the most of one person; ask a colleague, or wait");
    Err((Denied::TooManyEmergencies, problem::exhausted("TOO_MANY_EMERGENCIES", &text, wait)))
}

fn one_of(field: &str, text: &str, known: &[&str]) -> Result<(), Status> {
    if known.contains(&text) { Ok(()) } else { Err(check::bad(field, format!("one of {}", known.join(", ")))) }
}

/// By when it began.
pub(crate) fn place(emergency: &&kept::BreakGlass) -> ListPosition {
    ListPosition { at: emergency.from, id: emergency.id }
}

pub(crate) fn wire(emergency: &kept::BreakGlass) -> BreakGlass {
    let kept::BreakGlass { id, user, patient, reason, text, from, to, review, notified } = emergency.clone();
    let mut wire = BreakGlass {
        break_glass_id: id.to_string(),
        user_id: user.to_string(),
        patient_id: patient.to_string(),
        reason,
        text,
        start_time: check::stamp(from),
        end_time: check::stamp(to),
        notified_at: notified.and_then(check::stamp),
        ..BreakGlass::default()
    };
    if let Some(kept::Review { by, at, outcome, text }) = review {
        wire.outcome = outcome;
        wire.reviewed_by = by.to_string();
        wire.reviewed_at = Some(convert::timestamp(Nanos(at)));
        wire.review_text = text;
    }
    wire
}
