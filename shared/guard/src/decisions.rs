//! Whether a caller may do something: decided once, by the directory of one instant, and written down once.
//!
//! A handler gets what was permitted only through here. A [`Decision`] has to be recorded, which gives what it permits when
//! that is durable; one that permits reading can be recorded beside the reading ([`Decision::permitted`]), and nothing
//! leaves before both are done ([`Unwritten::beside`]).

use crate::{RequestId, errors};
use directory::{Directory, LiveDirectory};
use futures::{StreamExt, TryStreamExt, stream};
use model::{
    Clock, DeviceId, Nanos, PatientId, Permit,
    access::{Action, Denied, Facts, Principal, Purpose, Subject, decide, decide_any, decide_system, decide_write},
    audit::Event,
};
use proto::problem;
use std::{collections::BTreeSet, sync::Arc};
use store::{Auditor, Refusals};
use tonic::{Code, Status};

/// Patients of a list that are written down at once: they share an append.
const AT_ONCE: usize = 64;

/// Decides for all rpcs of a service. Cheap to clone.
#[derive(Clone)]
pub struct Decisions {
    directory: LiveDirectory,
    audit: Auditor,
    clock: Clock,
}

/// A decision that nobody was told of yet.
#[must_use = "a decision counts when it is written down"]
pub struct Decision<'a, T> {
    of: &'a Decisions,
    event: Event,
    outcome: Result<T, Status>,
}

/// That somebody reads what is permitted: to be written down beside the reading.
#[must_use = "what is read is to be written down"]
pub struct Unwritten<'a> {
    of: &'a Decisions,
    event: Event,
}

impl Decisions {
    /// By what `directory` knows at the time; each decision is told to `audit`.
    pub fn new(directory: LiveDirectory, audit: Auditor, clock: Clock) -> Self {
        Self { directory, audit, clock }
    }

    /// What it goes by, as it is now.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.get()
    }

    /// The directory that is gone by, to follow and to add to.
    pub fn live(&self) -> &LiveDirectory {
        &self.directory
    }

    /// Where refusals of those are written down who have proved nothing.
    pub fn refusals(&self) -> Refusals {
        Refusals::new(self.audit.clone())
    }

    /// The time that it goes by.
    pub fn now(&self) -> Nanos {
        (self.clock)()
    }

    /// Whether a caller may do something with what is kept of a patient.
    pub fn on_patient(&self, caller: &Principal, action: Action, patient: PatientId) -> Decision<'_, Permit> {
        let (facts, now) = (self.directory.get().facts(caller, patient), self.now());
        let decided = decide(caller, action, patient, &facts, now);
        self.decided(caller, action, Some(patient), (&facts, now), decided)
    }

    /// The same with what was read already: `patient` and the facts are of one directory, the decision was made at that time.
    pub fn decided(
        &self,
        caller: &Principal,
        action: Action,
        patient: Option<PatientId>,
        (facts, now): (&Facts, Nanos),
        decided: Result<Permit, Denied>,
    ) -> Decision<'_, Permit> {
        let event = event(caller, action, patient, decided.map(|permit| Some(permit.purpose())), now);
        Decision {
            of: self,
            event,
            outcome: decided.map_err(|denied| errors::refused(caller, action, facts, denied, now)),
        }
    }

    /// A patient whom a list shows, by a permit that was decided on when the list was made.
    pub fn shown(&self, caller: &Principal, permit: Permit) -> Decision<'_, Permit> {
        let facts = (&Facts::default(), self.now());
        self.decided(caller, permit.action(), Some(permit.patient()), facts, Ok(permit))
    }

    /// The patients whom a list shows that was permitted as a whole: each is written down when this returns.
    ///
    /// # Errors
    /// UNAVAILABLE when one could not be written down: nothing may be shown.
    pub async fn shows(
        &self,
        caller: &Principal,
        (action, purpose): (Action, Option<Purpose>),
        patients: impl IntoIterator<Item = PatientId>,
        detail: &str,
    ) -> Result<(), Status> {
        // each once
        let patients: BTreeSet<_> = patients.into_iter().collect();
        let things = patients.into_iter().map(|patient| (Some(patient), detail.to_owned()));
        self.each(caller, (action, purpose), things).await
    }

    /// What is done to each of several things, permitted as a whole: the patient whom it touches, and the detail that names it.
    /// Each is written down when this returns.
    ///
    /// # Errors
    /// UNAVAILABLE when one could not be written down: nothing may be done.
    pub async fn each(
        &self,
        caller: &Principal,
        (action, purpose): (Action, Option<Purpose>),
        things: impl IntoIterator<Item = (Option<PatientId>, String)>,
    ) -> Result<(), Status> {
        let entries: Vec<_> = things
            .into_iter()
            .map(|(patient, detail)| {
                let decision = self.with_purpose(caller, action, patient, Ok(purpose));
                async move { decision.written(&detail).await }
            })
            .collect();
        stream::iter(entries).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Whether a caller may do something with the system; `about`: the patient whom it touches.
    pub fn on_system(&self, caller: &Principal, action: Action, about: Option<PatientId>) -> Decision<'_, ()> {
        let now = self.now();
        self.made(caller, action, about, decide_system(caller, action, now).map(|()| None), now)
    }

    /// Whether a caller may do something anywhere: what exactly is decided one by one then.
    pub fn anywhere(&self, caller: &Principal, action: Action) -> Decision<'_, ()> {
        let now = self.now();
        self.made(caller, action, None, decide_any(caller, action, now).map(|()| None), now)
    }

    /// The device that calls, if its credentials count.
    pub fn as_device(&self, caller: &Principal) -> Decision<'_, DeviceId> {
        let (action, now) = (Action::SendReadings, self.now());
        let Subject::Device(device) = caller.subject else {
            let denied = Denied::Permission(action.needs());
            let text = "only a device does this, for itself";
            let outcome = Err(problem::status(Code::PermissionDenied, "NOT_PERMITTED", text));
            return Decision { of: self, event: event(caller, action, None, Err(denied), now), outcome };
        };
        let written = decide_write(caller, device, now).map(|_| ());
        let event = event(caller, action, None, written.map(|()| None), now);
        let counts = || {
            let revoked =
                |_| problem::status(Code::PermissionDenied, "DEVICE_REVOKED", "claim the device with a new code");
            self.directory.get().assignments(device, caller.issued_at).map(|_| device).map_err(revoked)
        };
        Decision { of: self, event, outcome: written.map_err(errors::denied).and_then(|()| counts()) }
    }

    /// What was decided elsewhere: by a section, by a secret, or by several decisions.
    pub fn plain(
        &self,
        caller: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<(), Denied>,
    ) -> Decision<'_, ()> {
        self.with_purpose(caller, action, patient, decided.map(|()| None))
    }

    /// The same, when a relation to the patient says what it is for (`None`: what the request says, or the usual).
    pub fn with_purpose(
        &self,
        caller: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<Option<Purpose>, Denied>,
    ) -> Decision<'_, ()> {
        self.made(caller, action, patient, decided, self.now())
    }

    fn made(
        &self,
        caller: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<Option<Purpose>, Denied>,
        now: Nanos,
    ) -> Decision<'_, ()> {
        let event = event(caller, action, patient, decided, now);
        Decision { of: self, event, outcome: decided.map(|_| ()).map_err(errors::denied) }
    }

    async fn record(&self, event: Event) -> Result<(), Status> {
        self.audit.record(event).await.map_err(errors::unaudited)
    }
}

impl<T> Decision<'_, T> {
    /// Writes it down, with what it was for in a few words, and gives what is permitted.
    ///
    /// # Errors
    /// The refusal; UNAVAILABLE when it could not be written down.
    pub async fn recorded(self, detail: &str) -> Result<T, Status> {
        self.of.record(Event { detail: detail.into(), ..self.event }).await?;
        self.outcome
    }

    /// Writes it down; the refusal is worded by who asked.
    ///
    /// # Errors
    /// UNAVAILABLE when it could not be written down.
    pub async fn written(self, detail: &str) -> Result<(), Status> {
        self.of.record(Event { detail: detail.into(), ..self.event }).await
    }

    /// Writes it down if it is a refusal: what is permitted then is written down by what it consists of.
    ///
    /// # Errors
    /// As [`Self::recorded`].
    pub async fn refusal_recorded(self, detail: &str) -> Result<T, Status> {
        match self.outcome {
            Ok(permitted) => Ok(permitted),
            Err(_) => self.recorded(detail).await,
        }
    }
}

impl<'a> Decision<'a, Permit> {
    /// What may be read now, and what is to be written down beside the reading. A refusal is written down when this returns.
    ///
    /// # Errors
    /// As [`Self::recorded`].
    pub async fn permitted(self) -> Result<(Permit, Unwritten<'a>), Status> {
        let unwritten = Unwritten { of: self.of, event: self.event.clone() };
        Ok((self.refusal_recorded("").await?, unwritten))
    }
}

impl Unwritten<'_> {
    /// Gives what `reading` finds, once it is durable who accessed what (`detail`). Both happen at once; nothing leaves
    /// before both have.
    ///
    /// # Errors
    /// Of the reading; UNAVAILABLE when it could not be written down.
    pub async fn beside<T>(self, detail: &str, reading: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
        let event = Event { detail: detail.into(), ..self.event };
        let (recorded, found) = tokio::join!(self.of.record(event), reading);
        recorded?;
        found
    }
}

/// The entry of a decision; a purpose that a relation gave stands before what the request says.
fn event(
    caller: &Principal,
    action: Action,
    patient: Option<PatientId>,
    decided: Result<Option<Purpose>, Denied>,
    now: Nanos,
) -> Event {
    let (purpose, outcome) = match decided {
        Ok(purpose) => (purpose, Ok(())),
        Err(denied) => (None, Err(denied)),
    };
    let event = Event::of(caller, action, patient, outcome, now, RequestId::current().into_bytes());
    Event { purpose: purpose.unwrap_or(event.purpose), ..event }
}
