//! Who asks, whether that is allowed, and the record of it in the audit log.

use crate::Registry;
use model::{
    DeviceId, PatientId, Permit, UserId,
    access::{Action, Denied, Principal, Subject, decide, decide_system, decide_write},
    audit::Event,
};
use proto::problem;
use tonic::{Code, Status};
use uuid::Uuid;

/// The person who asks.
pub(crate) fn person(caller: &Principal) -> Result<UserId, Status> {
    match caller.subject {
        Subject::User(user) => Ok(user),
        Subject::Device(_) => {
            Err(problem::status(Code::PermissionDenied, "NOT_PERMITTED", "a device may act only as itself"))
        }
    }
}

impl Registry {
    /// Leave for something about the system; written down when this returns.
    pub(crate) async fn system(&self, caller: &Principal, action: Action, detail: &str) -> Result<(), Status> {
        self.system_about(caller, action, None, detail).await
    }

    /// The same, about somebody.
    pub(crate) async fn system_about(
        &self,
        caller: &Principal,
        action: Action,
        patient: Option<PatientId>,
        detail: &str,
    ) -> Result<(), Status> {
        let decided = decide_system(caller, action, (self.clock)());
        self.audited(caller, action, patient, decided, detail).await?;
        decided.map_err(guard::errors::denied)
    }

    /// Leave for something about a patient; written down when this returns.
    pub(crate) async fn permit(
        &self,
        caller: &Principal,
        action: Action,
        patient: PatientId,
        detail: &str,
    ) -> Result<Permit, Status> {
        let (facts, now) = (self.directory.get().facts(caller, patient), (self.clock)());
        let decided = decide(caller, action, patient, &facts, now);
        self.audited(caller, action, Some(patient), decided.map(|_| ()), detail).await?;
        // by what was looked at, whatever has changed since
        decided.map_err(|denied| guard::errors::refused(caller, action, &facts, denied, now))
    }

    /// What the policy says, not written down.
    pub(crate) fn decided(&self, caller: &Principal, action: Action, patient: PatientId) -> Result<Permit, Denied> {
        let facts = self.directory.get().facts(caller, patient);
        decide(caller, action, patient, &facts, (self.clock)())
    }

    /// The device that asks, if its credentials count; written down when this returns.
    pub(crate) async fn device_itself(&self, caller: &Principal, detail: &str) -> Result<DeviceId, Status> {
        let Subject::Device(device) = caller.subject else {
            return Err(problem::status(
                Code::PermissionDenied,
                "NOT_PERMITTED",
                "only a device does this, for itself",
            ));
        };
        let decided = decide_write(caller, device, (self.clock)());
        self.audited(caller, Action::SendReadings, None, decided.map(|_| ()), detail).await?;
        decided.map_err(guard::errors::denied)?;
        let directory = self.directory.get();
        let revoked = |_| problem::status(Code::PermissionDenied, "DEVICE_REVOKED", "claim the device with a new code");
        directory.assignments(device, caller.issued_at).map_err(revoked)?;
        Ok(device)
    }

    /// Writes down what was decided.
    pub(crate) async fn audited(
        &self,
        caller: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<(), Denied>,
        detail: &str,
    ) -> Result<(), Status> {
        let event = Event::of(caller, action, patient, decided, (self.clock)(), Uuid::new_v4().into_bytes());
        // a request that names no purpose is for what the relation that opens it is for
        let opened = decided.ok().and(patient).and_then(|patient| self.decided(caller, action, patient).ok());
        let purpose = opened.map_or(event.purpose, |permit| permit.purpose());
        self.audit.record(Event { detail: detail.into(), purpose, ..event }).await.map_err(guard::errors::unaudited)
    }
}
