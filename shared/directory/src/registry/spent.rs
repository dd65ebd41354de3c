//! What was somebody's is never another's: an id stands in readings, in the audit log and in other systems for whom it stood.
//!
//! Judged when a change is made: entries of older versions that gave an id again are followed.

use super::{Change, Device, Refused, State, User};

/// Refuses a person or a device under an id that somebody had who is gone, a person as a patient under another's, and a new
/// device under anybody's.
pub(super) fn check(state: &State, change: &Change) -> Result<(), Refused> {
    let (id, patient) = match change {
        Change::User(User { id, patient, .. }) => (id, patient),
        Change::Device(Device { id, .. }) if state.device(id).is_none() => {
            if state.is_gone(id) || state.user(id).is_some() || state.was_patient(id).is_some() {
                let text = "a person or a patient has or had this id, and ids are not given again; leave it empty for a new one";
                return Err(Refused::new("ID_TAKEN", "device_id", text));
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
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
