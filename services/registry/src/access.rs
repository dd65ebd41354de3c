//! Who asks, and what the policy says to it.

use crate::Registry;
use directory::Directory;
use model::{
    PatientId, Permit, UserId,
    access::{Action, Denied, Principal, Subject, decide},
};
use proto::problem;
use tonic::{Code, Status};

/// The person who asks; a device is refused with NOT_PERMITTED.
pub(crate) fn person(caller: &Principal) -> Result<UserId, Status> {
    match caller.subject {
        Subject::User(user) => Ok(user),
        Subject::Device(_) => {
            Err(problem::status(Code::PermissionDenied, "NOT_PERMITTED", "a device may act only as itself"))
        }
    }
}

impl Registry {
    /// What the policy says, by a directory that was read; not written down.
    pub(crate) fn decided(
        &self,
        directory: &Directory,
        caller: &Principal,
        action: Action,
        patient: PatientId,
    ) -> Result<Permit, Denied> {
        decide(caller, action, patient, &directory.facts(caller, patient), self.decisions.now())
    }
}
