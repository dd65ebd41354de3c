//! What somebody is there for in general: what counts where no relation to a patient says it.

use super::{About, Action, Permission, Principal, Purpose, Subject};

/// Who holds one of these treats patients.
const TREATS: &[Permission] =
    &[Permission::WriteMedical, Permission::AssignDevices, Permission::RetractReadings, Permission::OpenBreakGlass];
/// Who holds one of these is a patient, or acts for one.
const IS_PATIENT: &[Permission] =
    &[Permission::ReadAccesses, Permission::ReadBilling, Permission::WriteContact, Permission::ManageConsents];
/// Who holds one of these, and none of the others, reads what others wrote: to treat.
const READS: &[Permission] = &[Permission::ReadReadings, Permission::ReadProfile, Permission::ReadMedical];

impl Principal {
    /// For what a request counts that no relation to a patient opens: what it says where that can be, else what its action or
    /// its caller is there for. Who runs the place does not treat by it, whatever the request says.
    pub(crate) fn purpose_of(&self, action: Action) -> Purpose {
        let is_for_patients =
            |purpose: &Purpose| matches!(purpose, Purpose::Treatment | Purpose::Emergency | Purpose::PatientRequest);
        let usual = match action {
            // who runs the place is refused
            Action::OpenBreakGlass if self.is_there_for() != Purpose::Operations => return Purpose::Emergency,
            Action::ReadDeidentified => Purpose::Research,
            action if action.about() == About::System => Purpose::Operations,
            _ => self.is_there_for(),
        };
        // also what is refused of a patient
        let runs_the_place = action.about() == About::System || self.is_there_for() == Purpose::Operations;
        self.purpose.filter(|purpose| !(runs_the_place && is_for_patients(purpose))).unwrap_or(usual)
    }

    fn is_there_for(&self) -> Purpose {
        let holds = |some: &[Permission]| self.grants.iter().any(|grant| some.contains(&grant.permission));
        if matches!(self.subject, Subject::Device(_)) || holds(TREATS) {
            Purpose::Treatment
        } else if holds(IS_PATIENT) {
            Purpose::PatientRequest
        } else if holds(&[Permission::ReadDeidentified]) {
            Purpose::Research
        } else if holds(READS) {
            Purpose::Treatment
        } else {
            Purpose::Operations
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::ROLES,
        id::{DeviceId, UserId},
        time::Nanos,
    };

    fn of(role: &str) -> Principal {
        let role = ROLES.iter().find(|one| one.id == role).unwrap();
        Principal::everywhere(Subject::User(UserId::from_bytes([1; 16])), role.permissions, Nanos::MAX)
    }

    #[test]
    fn each_role_is_there_for_something_of_its_own() {
        for (role, purpose) in [
            ("patient", Purpose::PatientRequest),
            ("nurse", Purpose::Treatment),
            ("doctor", Purpose::Treatment),
            ("administrator", Purpose::Operations),
            ("application-developer", Purpose::Operations),
            ("device-integrator", Purpose::Operations),
            ("ml-scientist", Purpose::Research),
            ("auditor", Purpose::Operations),
        ] {
            assert_eq!(of(role).purpose_of(Action::ReadTimeline), purpose, "{role}");
            assert_eq!(of(role).purpose_of(Action::ManageUsers), Purpose::Operations, "{role}");
            assert_eq!(of(role).purpose_of(Action::ReadDeidentified), Purpose::Research, "{role}");
        }
        let nobody = Principal { grants: vec![], ..of("nurse") };
        assert_eq!(nobody.purpose_of(Action::ReadTimeline), Purpose::Operations);
        let device = Principal { subject: Subject::Device(DeviceId::from_bytes([1; 16])), ..nobody };
        assert_eq!(device.purpose_of(Action::SendReadings), Purpose::Treatment);
    }

    #[test]
    fn who_runs_the_place_does_not_treat_by_it_and_an_emergency_is_one() {
        let says = |role: &str, purpose| Principal { purpose: Some(purpose), ..of(role) };
        for purpose in [Purpose::Treatment, Purpose::Emergency, Purpose::PatientRequest] {
            assert_eq!(says("administrator", purpose).purpose_of(Action::ManageUsers), Purpose::Operations);
            assert_eq!(says("administrator", purpose).purpose_of(Action::ReadTimeline), Purpose::Operations, "refused");
            assert_eq!(says("administrator", purpose).purpose_of(Action::ReadDeidentified), Purpose::Research);
            assert_eq!(says("nurse", purpose).purpose_of(Action::ReadTimeline), purpose, "as it was refused");
        }
        assert_eq!(says("auditor", Purpose::Research).purpose_of(Action::ReadTimeline), Purpose::Research);
        assert_eq!(says("ml-scientist", Purpose::Research).purpose_of(Action::SubmitJobs), Purpose::Research);
        for said in [None, Some(Purpose::Treatment), Some(Purpose::Operations)] {
            let doctor = Principal { purpose: said, ..of("doctor") };
            assert_eq!(doctor.purpose_of(Action::OpenBreakGlass), Purpose::Emergency, "{said:?}");
            for role in ["administrator", "auditor", "application-developer"] {
                let refused = Principal { purpose: said, ..of(role) };
                assert_eq!(refused.purpose_of(Action::OpenBreakGlass), Purpose::Operations, "{role} {said:?}");
            }
        }
    }
}
