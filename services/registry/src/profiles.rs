//! What is known of a person, section by section: who may see it, how it is kept, what can be set.

use crate::{Registry, check};
use bytes::Bytes;
use directory::Directory;
use guard::errors;
use model::{
    Nanos, PatientId, UserId,
    access::{Action, Denied, Principal, Purpose, Subject, decide_system},
};
use prost::Message;
use proto::{
    registry::v1::{ContactPerson, User},
    resource,
};
use tonic::Status;
use uuid::Uuid;

/// The parts of what is known of a person that follow rules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Person,
    Contact,
    Medical,
    Billing,
    /// Patient id, ward and suspension: for who manages people.
    Place,
}

impl Section {
    pub(crate) const SHOWN: [Self; 4] = [Self::Person, Self::Contact, Self::Medical, Self::Billing];

    /// That of a field, as a mask names it. What is in none of the others is for who manages people.
    pub(crate) fn of(field: &str) -> Self {
        let top = field.split('.').next().unwrap_or(field);
        Self::SHOWN.into_iter().find(|section| section.name() == top).unwrap_or(Self::Place)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Contact => "contact",
            Self::Medical => "medical",
            Self::Billing => "billing",
            Self::Place => "place",
        }
    }

    /// The permission needed to see it, as one with a relation to the patient.
    fn read(self) -> Option<Action> {
        match self {
            Self::Person | Self::Contact => Some(Action::ReadProfile),
            Self::Medical => Some(Action::ReadMedical),
            Self::Billing => Some(Action::ReadBilling),
            Self::Place => None,
        }
    }

    /// The permission needed to change it, as one with a relation to the patient.
    fn write(self) -> Option<Action> {
        match self {
            Self::Contact => Some(Action::WriteContact),
            Self::Medical => Some(Action::WriteMedical),
            Self::Person | Self::Billing | Self::Place => None,
        }
    }
}

/// Refuses what cannot be, field by field.
pub(crate) fn check(user: &User, now: Nanos) -> Result<(), Status> {
    check::word_or_none("ward", user.ward())?;
    if let Some(person) = &user.person {
        check::line("person.name", person.name(), 200)?;
        check::birth_date(person.birth_date(), now)?;
    }
    if let Some(contact) = &user.contact {
        check::line("contact.address", contact.address(), 400)?;
        check::line("contact.phone", contact.phone(), 64)?;
        check::line("contact.email", contact.email(), 254)?;
        check::line("contact.primary_care_provider", contact.primary_care_provider(), 200)?;
        check::county(contact.county())?;
        people("contact.family_members", &contact.family_members)?;
        people("contact.emergency_contacts", &contact.emergency_contacts)?;
    }
    if let Some(medical) = &user.medical {
        check::number("medical.height_cm", medical.height_cm(), 20.0, 260.0)?;
        check::number("medical.weight_kg", medical.weight_kg(), 0.2, 500.0)?;
        if !["", "male", "female", "other", "unknown"].contains(&medical.gender()) {
            return Err(check::bad("medical.gender", "male, female, other, unknown or nothing"));
        }
        lines("medical.medications", &medical.medications)?;
        lines("medical.allergies", &medical.allergies)?;
        check::line("medical.medical_card", medical.medical_card(), 64)?;
    }
    if let Some(billing) = &user.billing {
        check::line("billing.address", billing.address(), 400)?;
        check::line("billing.insurer", billing.insurer(), 200)?;
        check::line("billing.policy_number", billing.policy_number(), 64)?;
    }
    Ok(())
}

/// Takes the sections away that are as they were.
pub(crate) fn leave_out_same(user: &mut User, before: &User) {
    user.person.take_if(|section| before.person.as_ref().is_some_and(|before| before == section));
    user.contact.take_if(|section| before.contact.as_ref().is_some_and(|before| before == section));
    user.medical.take_if(|section| before.medical.as_ref().is_some_and(|before| before == section));
    user.billing.take_if(|section| before.billing.as_ref().is_some_and(|before| before == section));
}

fn people(field: &str, people: &[ContactPerson]) -> Result<(), Status> {
    if people.len() > 20 {
        return Err(check::bad(field, "up to 20"));
    }
    for (index, ContactPerson { name, relationship, phone }) in people.iter().enumerate() {
        check::name(&format!("{field}[{index}].name"), name, 200)?;
        check::line(&format!("{field}[{index}].relationship"), relationship, 64)?;
        check::line(&format!("{field}[{index}].phone"), phone, 64)?;
    }
    Ok(())
}

fn lines(field: &str, lines: &[String]) -> Result<(), Status> {
    if lines.len() > 100 {
        return Err(check::bad(field, "up to 100"));
    }
    lines.iter().enumerate().try_for_each(|(index, line)| check::name(&format!("{field}[{index}]"), line, 200))
}

/// Takes away what must not be shown, and says what that is.
pub(crate) fn hide(user: &mut User, shown: &[Section]) {
    let hidden = |section: &Section| !shown.contains(section);
    for section in Section::SHOWN.into_iter().filter(hidden) {
        match section {
            Section::Person => user.person = None,
            Section::Contact => user.contact = None,
            Section::Medical => user.medical = None,
            Section::Billing | Section::Place => user.billing = None,
        }
        user.hidden.push(section.name().to_owned());
    }
}

/// A person as the store or an update left it.
pub(crate) fn read(encoded: &[u8]) -> Result<User, Status> {
    User::decode(encoded).map_err(|_| errors::profile_unreadable())
}

impl Registry {
    /// What is kept of a person under a revision, as it is kept.
    pub(crate) async fn kept_profile(&self, user: UserId, revision: Uuid) -> Result<Bytes, Status> {
        let stored = self.store.profile(user, revision.into_bytes()).await.map_err(errors::store)?;
        stored.ok_or_else(errors::profile_unreadable)
    }

    /// What is kept of a person under a revision.
    pub(crate) async fn profile(&self, user: UserId, revision: Uuid) -> Result<User, Status> {
        read(&self.kept_profile(user, revision).await?)
    }

    /// Keeps the sections of a person (an encoded `User`) under a revision of its own, which nothing names yet.
    pub(crate) async fn keep_profile(&self, user: UserId, revision: Uuid, profile: &[u8]) -> Result<(), Status> {
        let kept = resource::sections::<User>(profile)?;
        self.store.put_profile(user, revision.into_bytes(), &kept).await.map_err(errors::store)
    }

    /// The sections that the caller may see, or why none.
    pub(crate) fn shown(
        &self,
        directory: &Directory,
        caller: &Principal,
        user: UserId,
        patient: Option<PatientId>,
    ) -> Result<Vec<Section>, Denied> {
        let suspended = directory.registry().user(&user.uuid()).is_some_and(|kept| kept.value.suspended);
        let may = |section: Section| {
            let managed = section != Section::Medical && self.manages(caller);
            let oneself = caller.subject == Subject::User(user)
                && !suspended
                && matches!(section, Section::Person | Section::Contact);
            if managed || oneself {
                return Ok(());
            }
            // who is no patient answers as one to whom there is no relation
            let patient = patient.unwrap_or(PatientId::from_bytes([0; 16]));
            let action = section.read().ok_or(Denied::NoRelation)?;
            self.decided(directory, caller, action, patient).map(|_| ())
        };
        let shown: Vec<_> = Section::SHOWN.into_iter().filter(|section| may(*section).is_ok()).collect();
        if shown.is_empty() { Err(may(Section::Person).err().unwrap_or(Denied::NoRelation)) } else { Ok(shown) }
    }

    /// What for the caller may change a section, or why not.
    pub(crate) fn may_set(
        &self,
        directory: &Directory,
        caller: &Principal,
        section: Section,
        user: UserId,
        patient: Option<PatientId>,
    ) -> Result<Purpose, Denied> {
        if section != Section::Medical && self.manages(caller) {
            return Ok(Purpose::Operations);
        }
        match (section.write(), patient) {
            (Some(action), Some(patient)) => {
                self.decided(directory, caller, action, patient).map(|permit| permit.purpose())
            }
            (Some(Action::WriteContact), None) if caller.subject == Subject::User(user) => Ok(Purpose::Operations),
            _ => Err(Denied::Permission(Action::ManageUsers.needs())),
        }
    }

    pub(crate) fn manages(&self, caller: &Principal) -> bool {
        decide_system(caller, Action::ManageUsers, self.decisions.now()).is_ok()
    }
}
