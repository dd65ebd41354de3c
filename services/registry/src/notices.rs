//! What those who treat a patient should know: that somebody broke the glass.
//!
//! An emergency is noted as told only after its notice is durable in the log, and is told again as long as it is not noted: a
//! notice may come twice (by the same id), never not at all.

use crate::{
    Registry, check,
    emergencies::{self, place},
    metrics,
    newest::{self, newest_first},
};
use bus::{Outgoing, Publish};
use directory::registry::{self as kept, Change};
use guard::pages::{self, page};
use model::{
    Nanos, PatientId,
    access::{Action, Principal},
};
use prost::Message;
use proto::registry::v1::{ListNoticesRequest, ListNoticesResponse, Notice};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

/// Between two searches for emergencies of which nobody was told.
const EVERY: Duration = Duration::from_secs(1);
/// What another node opened is left to it for so long, from when this one saw it: what their clocks say does not matter.
const OTHERS: Duration = Duration::from_secs(15);
/// How far back is listed.
const LISTED_NS: i64 = 30 * Nanos::DAY;

/// Where notices go, and what this node has to tell.
#[derive(Clone)]
pub(crate) struct Notices {
    log: Arc<dyn Publish>,
    /// From when on each that nobody was told of is this node's to tell.
    due: Arc<Mutex<HashMap<Uuid, Instant>>>,
    news: Arc<Notify>,
}

impl Notices {
    pub(crate) fn new(log: Arc<dyn Publish>) -> Self {
        Self { log, due: Arc::default(), news: Arc::default() }
    }

    /// There is an emergency to be told at once.
    pub(crate) fn opened(&self, emergency: Uuid) {
        self.due().insert(emergency, Instant::now());
        self.news.notify_one();
    }

    fn due(&self) -> MutexGuard<'_, HashMap<Uuid, Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Tells of emergencies until `stop`. What cannot be told is tried again.
    pub async fn tell(self, stop: CancellationToken) {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // what is found at the start may have been left behind by a node that is no more
        let mut left = Duration::ZERO;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.notices.news.notified() => {}
                _ = due.tick() => {}
            }
            for emergency in self.untold(std::mem::replace(&mut left, OTHERS)) {
                if let Err(error) = self.tell_one(&emergency).await {
                    metrics::notice_failed();
                    tracing::warn!(error = &*error, "an emergency is not told yet; trying again");
                }
            }
        }
    }

    /// Emergencies of which nobody was told, and that are this node's to tell. New ones of others are left to them for `left`.
    fn untold(&self, left: Duration) -> Vec<kept::BreakGlass> {
        let (directory, now) = (self.decisions.directory(), Instant::now());
        let all = directory.registry().break_glass(None).map(|(_, kept)| &kept.value);
        let untold: Vec<_> = all.filter(|one| one.notified.is_none()).cloned().collect();
        let mut due = self.notices.due();
        let open: HashSet<_> = untold.iter().map(|one| one.id).collect();
        due.retain(|id, _| open.contains(id));
        untold.into_iter().filter(|one| *due.entry(one.id).or_insert(now + left) <= now).collect()
    }

    async fn tell_one(&self, emergency: &kept::BreakGlass) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let patient = PatientId::new(emergency.patient);
        let team = self.decisions.directory().team(patient, self.decisions.now());
        let notice = Notice {
            notice_id: emergency.id.to_string(),
            kind: "break-glass".to_owned(),
            patient_id: emergency.patient.to_string(),
            user_id: emergency.user.to_string(),
            reason: emergency.reason.clone(),
            start_time: check::stamp(emergency.from),
            end_time: check::stamp(emergency.to),
            recipient_ids: team.iter().map(|user| user.uuid().to_string()).collect(),
        };
        let record = Outgoing { key: patient, payload: notice.encode_to_vec().into() };
        self.notices.log.publish(record).await?.await?;
        let id = emergency.id;
        self.change_as(None, |directory, now| {
            let kept = directory.registry().emergency(&id).filter(|kept| kept.value.notified.is_none());
            let told = |value: &kept::BreakGlass| kept::BreakGlass { notified: Some(now.0), ..value.clone() };
            Ok((kept.map(|kept| Change::BreakGlass(told(&kept.value))).into_iter().collect(), ()))
        })
        .await?;
        metrics::noticed();
        Ok(())
    }

    pub(crate) async fn list_notices(
        &self,
        caller: &Principal,
        request: ListNoticesRequest,
    ) -> Result<ListNoticesResponse, Status> {
        let now = self.decisions.now();
        let from = check::instant("start_time", request.start_time.as_ref(), now.plus(-LISTED_NS))?;
        let patient = match request.patient_id.as_str() {
            "" => None,
            text => Some(check::patient(text)?),
        };
        match patient {
            // a refusal is written down by what refuses
            Some(patient) => {
                self.decisions.on_patient(caller, Action::ReadNotices, patient).recorded("").await.map(|_| ())?
            }
            None => {
                self.decisions.anywhere(caller, Action::ReadNotices).refusal_recorded("list").await?;
            }
        }
        let (size, after) = (pages::size(request.page_size, newest::PAGE)?, pages::after(&request.page_token)?);
        let directory = self.decisions.directory();
        let mut decided = BTreeMap::new();
        let mut may_see = |patient: PatientId| {
            let decide = || self.decided(&directory, caller, Action::ReadNotices, patient).ok();
            decided.entry(patient).or_insert_with(decide).is_some()
        };
        let all = directory.registry().break_glass(None).map(|(_, kept)| &kept.value);
        let meant = all.filter(|one| one.from >= from.0 && patient.is_none_or(|patient| patient.uuid() == one.patient));
        let seen = newest_first(meant, place, after).filter(|one| may_see(PatientId::new(one.patient)));
        let wire = |one: &kept::BreakGlass| {
            let mut wire = emergencies::wire(one);
            wire.review_text.clear();
            wire
        };
        let (shown, next_page_token) = page(seen, size, |one| wire(one).encoded_len(), |one| place(one).to_string());
        if patient.is_none() {
            let patients: HashSet<_> = shown.iter().map(|one| PatientId::new(one.patient)).collect();
            for permit in patients.iter().filter_map(|patient| decided[patient]) {
                self.decisions.shown(caller, permit).recorded("list").await?;
            }
        }
        Ok(ListNoticesResponse { notices: shown.into_iter().map(wire).collect(), next_page_token })
    }
}
