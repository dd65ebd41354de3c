//! What those who treat a patient should know: that somebody broke the glass.
//!
//! An emergency is noted as told only after its notice is durable in the log, and is told again as long as it is not noted: a
//! notice may come twice (by the same id), never not at all.

use crate::{Registry, check, emergencies};
use auth::registry::{self as kept, Change};
use bus::{Outgoing, Publish};
use model::{
    Nanos, PatientId,
    access::{Action, Principal, decide_any},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{ListNoticesRequest, ListNoticesResponse, Notice},
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

/// How often it is looked for what is not told.
const EVERY: Duration = Duration::from_secs(1);
/// What another node opened is left to it for so long.
const OTHERS_NS: i64 = 15 * Nanos::SECOND;
/// Most emergencies that are listed.
const LISTED_MAX: usize = 1_000;
/// How far back is listed.
const LISTED_NS: i64 = 30 * Nanos::DAY;

/// Where notices go, and what this node has to tell.
#[derive(Clone)]
pub(crate) struct Notices {
    log: Arc<dyn Publish>,
    /// Opened here.
    own: Arc<Mutex<HashSet<Uuid>>>,
    news: Arc<Notify>,
}

impl Notices {
    pub(crate) fn new(log: Arc<dyn Publish>) -> Self {
        Self { log, own: Arc::default(), news: Arc::default() }
    }

    /// There is an emergency to be told at once.
    pub(crate) fn opened(&self, emergency: Uuid) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(emergency);
        self.news.notify_one();
    }

    fn is_own(&self, emergency: &Uuid) -> bool {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).contains(emergency)
    }
}

impl Registry {
    /// Tells of emergencies until `stop`. What cannot be told is tried again.
    pub async fn tell(self, stop: CancellationToken) {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.notices.news.notified() => {}
                _ = due.tick() => {}
            }
            for emergency in self.untold() {
                if let Err(error) = self.tell_one(&emergency).await {
                    metrics::counter!("wardline_registry_notice_failures_total").increment(1);
                    tracing::warn!(error = &*error, "an emergency is not told yet; trying again");
                }
            }
        }
    }

    /// Emergencies of which nobody was told, and that are this node's to tell.
    fn untold(&self) -> Vec<kept::BreakGlass> {
        let (directory, now) = (self.directory.get(), (self.clock)());
        let all = directory.registry().break_glass(None).map(|(_, kept)| &kept.value);
        let due = |one: &&kept::BreakGlass| {
            one.notified.is_none() && (self.notices.is_own(&one.id) || one.from + OTHERS_NS <= now.0)
        };
        all.filter(due).cloned().collect()
    }

    async fn tell_one(&self, emergency: &kept::BreakGlass) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let patient = PatientId::new(emergency.patient);
        let team = self.directory.get().team(patient, (self.clock)());
        let notice = Notice {
            notice_id: emergency.id.to_string(),
            kind: "break-glass".to_owned(),
            patient_id: emergency.patient.to_string(),
            user_id: emergency.user.to_string(),
            reason: emergency.reason.clone(),
            from: check::stamp(emergency.from),
            to: check::stamp(emergency.to),
            recipient_ids: team.iter().map(|user| user.uuid().to_string()).collect(),
        };
        let record = Outgoing { key: patient, payload: notice.encode_to_vec().into() };
        self.notices.log.publish(record).await?.await?;
        let id = emergency.id;
        self.put(None, |directory, now| {
            let kept = directory.registry().emergency(&id).filter(|kept| kept.value.notified.is_none());
            let told = |value: &kept::BreakGlass| kept::BreakGlass { notified: Some(now.0), ..value.clone() };
            Ok((kept.map(|kept| Change::BreakGlass(told(&kept.value))).into_iter().collect(), ()))
        })
        .await?;
        self.notices.own.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        metrics::counter!("wardline_registry_notices_total").increment(1);
        Ok(())
    }

    pub(crate) async fn list_notices(
        &self,
        caller: &Principal,
        request: ListNoticesRequest,
    ) -> Result<ListNoticesResponse, Status> {
        let now = (self.clock)();
        let from = check::instant("from", request.from.as_ref(), now.plus(-LISTED_NS))?;
        let patient = match request.patient_id.as_str() {
            "" => None,
            text => Some(check::patient(text)?),
        };
        match patient {
            // a refusal is written down by what refuses
            Some(patient) => self.permit(caller, Action::ReadNotices, patient, "").await.map(|_| ())?,
            None => {
                let decided = decide_any(caller, Action::ReadNotices, now);
                if decided.is_err() {
                    self.audited(caller, Action::ReadNotices, None, decided, "list").await?;
                }
                decided.map_err(problem::denied)?;
            }
        }
        let directory = self.directory.get();
        let mut decided = BTreeMap::new();
        let mut may_see = |patient: PatientId| {
            *decided.entry(patient).or_insert_with(|| self.decided(caller, Action::ReadNotices, patient).is_ok())
        };
        let all = directory.registry().break_glass(None).rev().map(|(_, kept)| &kept.value);
        let meant = all.filter(|one| one.from >= from.0 && patient.is_none_or(|patient| patient.uuid() == one.patient));
        let shown: Vec<_> = meant.filter(|one| may_see(PatientId::new(one.patient))).take(LISTED_MAX).collect();
        if patient.is_none() {
            let patients: HashSet<_> = shown.iter().map(|one| PatientId::new(one.patient)).collect();
            for patient in patients {
                self.audited(caller, Action::ReadNotices, Some(patient), Ok(()), "list").await?;
            }
        }
        let wire = |one: &kept::BreakGlass| {
            let mut wire = emergencies::wire(one);
            wire.review_text.clear();
            wire
        };
        Ok(ListNoticesResponse { notices: shown.into_iter().map(wire).collect() })
    }
}
