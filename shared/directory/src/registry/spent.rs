//! What was somebody's is never another's: an id stands in readings, in the audit log and in other systems for whom it stood.
//!
//! Judged when a change is made: entries of older versions that gave an id again are followed.

use super::{Change, Refused, State, User};

/// Refuses a person under an id that somebody had who is gone, or as a patient under another's.
pub(super) fn check(state: &State, change: &Change) -> Result<(), Refused> {
    let Change::User(User { id, patient, .. }) = change else { return Ok(()) };
    if state.is_gone(id) {
        let text = "somebody who was deleted had this id, and ids are not given again; leave it empty for a new one";
        return Err(Refused::new("USER_GONE", "user_id", text));
    }
    if patient.is_some_and(|patient| state.was_patient(&patient).is_some_and(|who| who != *id)) {
        let text = "another person has or had this patient id, and ids are not given again";
        return Err(Refused::new("PATIENT_TAKEN", "patient_id", text));
    }
    Ok(())
}
