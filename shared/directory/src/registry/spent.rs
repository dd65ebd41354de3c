//! What was somebody's is never another's: an id stands in readings, in the audit log and in other systems for whom it stood.
//!
//! Judged when a change is made: entries of older versions that gave an id again are followed.

use super::{Change, Device, Refused, State, User};
use uuid::Uuid;

/// Refuses a person or a device under an id that somebody had who is gone, a person as a patient under another's, and whom
/// nobody knows yet, as a person, as a patient or as a device, under an id that stands or stood for another in whatever role.
pub(super) fn check(state: &State, change: &Change) -> Result<(), Refused> {
    match change {
        Change::User(user) => check_person(state, user),
        Change::Device(Device { id, .. }) if state.device(id).is_none() => {
            if state.is_gone(id) || state.user(id).is_some() || state.was_patient(id).is_some() {
                let text = "a person or a patient has or had this id, and ids are not given again; leave it empty for a new one";
                return Err(Refused::new("ID_TAKEN", "device_id", text));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn check_person(state: &State, User { id, patient, .. }: &User) -> Result<(), Refused> {
    if state.is_gone(id) {
        let text = "somebody who was deleted had this id, and ids are not given again; leave it empty for a new one";
        return Err(Refused::new("USER_GONE", "user_id", text));
    }
    let is_anothers = |holder: Option<Uuid>| holder.is_some_and(|who| who != *id);
    if state.user(id).is_none() && (is_anothers(state.was_patient(id)) || state.device(id).is_some()) {
        let text =
            "a patient or a device has or had this id, and ids are not given again; leave it empty for a new one";
        return Err(Refused::new("ID_TAKEN", "user_id", text));
    }
    let Some(patient) = patient else { return Ok(()) };
    let holder = state.was_patient(patient);
    if is_anothers(holder) {
        let text = "another person has or had this patient id, and ids are not given again";
        return Err(Refused::new("PATIENT_TAKEN", "patient_id", text));
    }
    // the person's own id may be the patient's, too
    let stands_for_another =
        || state.is_gone(patient) || state.user(patient).is_some() || state.device(patient).is_some();
    if holder.is_none() && patient != id && stands_for_another() {
        let text = "another person or a device has or had this id, and ids are not given again; choose another";
        return Err(Refused::new("ID_TAKEN", "patient_id", text));
    }
    Ok(())
}
