//! Break-glass: one patient, an hour at most, for a reason, and somebody else reviews it afterwards.

use crate::{Registry, access::person, check, metrics, writing::not_found};
use directory::registry::{self as kept, Change};
use guard::{convert, ids};
use model::{
    Nanos, PatientId,
    access::{Action, Principal},
};
use proto::{
    problem,
    registry::v1::{
        BreakGlass, ListBreakGlassRequest, ListBreakGlassResponse, OpenBreakGlassRequest, OpenBreakGlassResponse,
        ReviewBreakGlassRequest, ReviewBreakGlassResponse,
    },
};
use tonic::{Code, Status};
use uuid::Uuid;

const REASONS: [&str; 4] = ["unconscious", "life-threat", "no-staff", "other"];
const OUTCOMES: [&str; 3] = ["justified", "unjustified", "unclear"];
const MINUTES_MAX: i32 = 60;
const TEXT_MAX: usize = 500;
const LISTED_MAX: usize = 1_000;

impl Registry {
    /// Whether the patient exists is not said: an emergency for nobody opens nothing.
    pub(crate) async fn open_break_glass(
        &self,
        caller: &Principal,
        request: OpenBreakGlassRequest,
    ) -> Result<OpenBreakGlassResponse, Status> {
        let patient = check::patient(&request.patient_id)?;
        one_of("reason", &request.reason, &REASONS)?;
        check::line("text", &request.text, TEXT_MAX)?;
        if request.text.chars().count() < 10 {
            return Err(check::bad("text", format!("10 to {TEXT_MAX} characters: why, for those who review it")));
        }
        let minutes = match request.minutes {
            0 => MINUTES_MAX,
            minutes if (1..=MINUTES_MAX).contains(&minutes) => minutes,
            _ => return Err(check::bad("minutes", format!("1 to {MINUTES_MAX}, or 0 for {MINUTES_MAX}"))),
        };
        let user = person(caller)?.uuid();
        self.decisions.on_system(caller, Action::OpenBreakGlass, Some(patient)).recorded(&request.reason).await?;
        let id = Uuid::now_v7();
        let emergency = self
            .change(caller, |_, now| {
                let emergency = kept::BreakGlass {
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
                Ok((vec![Change::BreakGlass(emergency.clone())], emergency))
            })
            .await?;
        metrics::emergency();
        self.notices.opened(id);
        Ok(OpenBreakGlassResponse { break_glass: Some(wire(&emergency)) })
    }

    pub(crate) async fn list_break_glass(
        &self,
        caller: &Principal,
        request: ListBreakGlassRequest,
    ) -> Result<ListBreakGlassResponse, Status> {
        self.decisions.on_system(caller, Action::ReviewBreakGlass, None).recorded("list").await?;
        let directory = self.decisions.directory();
        let all = directory.registry().break_glass(None).rev().map(|(_, kept)| &kept.value);
        let wanted = all.filter(|emergency| !request.unreviewed || emergency.review.is_none());
        Ok(ListBreakGlassResponse { break_glass: wanted.take(LISTED_MAX).map(wire).collect() })
    }

    pub(crate) async fn review_break_glass(
        &self,
        caller: &Principal,
        request: ReviewBreakGlassRequest,
    ) -> Result<ReviewBreakGlassResponse, Status> {
        let id = ids::uuid("break_glass_id", &request.break_glass_id)?;
        one_of("outcome", &request.outcome, &OUTCOMES)?;
        check::line("text", &request.text, TEXT_MAX)?;
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
                let emergency = kept::BreakGlass { review, ..kept.value.clone() };
                Ok((vec![Change::BreakGlass(emergency.clone())], emergency))
            })
            .await?;
        Ok(ReviewBreakGlassResponse { break_glass: Some(wire(&emergency)) })
    }
}

fn one_of(field: &str, text: &str, known: &[&str]) -> Result<(), Status> {
    if known.contains(&text) { Ok(()) } else { Err(check::bad(field, format!("one of {}", known.join(", ")))) }
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
