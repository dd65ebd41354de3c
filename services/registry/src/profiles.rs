//! What is known of a person, section by section: who may see it, how it is kept, what can be set.

use crate::{Registry, check, writing::failed};
use model::{
    Nanos, PatientId, UserId,
    access::{Action, Denied, Principal, Subject, decide_system},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{Billing, Contact, ContactPerson, Medical, Person, User},
};
use tonic::{Code, Status};
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

    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Contact => "contact",
            Self::Medical => "medical",
            Self::Billing => "billing",
            Self::Place => "patient_id, ward, suspended",
        }
    }

    /// What one needs leave for to see it, as one with a relation to the patient.
    fn read(self) -> Option<Action> {
        match self {
            Self::Person | Self::Contact => Some(Action::ReadProfile),
            Self::Medical => Some(Action::ReadMedical),
            Self::Billing => Some(Action::ReadBilling),
            Self::Place => None,
        }
    }

    /// What one needs leave for to change it, as one with a relation to the patient.
    fn write(self) -> Option<Action> {
        match self {
            Self::Contact => Some(Action::WriteContact),
            Self::Medical => Some(Action::WriteMedical),
            Self::Person | Self::Billing | Self::Place => None,
        }
    }
}

/// The fields that can be set, and the section of each.
const FIELDS: [(&str, Section); 20] = [
    ("patient_id", Section::Place),
    ("ward", Section::Place),
    ("suspended", Section::Place),
    ("person.name", Section::Person),
    ("person.birth_date", Section::Person),
    ("contact.address", Section::Contact),
    ("contact.phone", Section::Contact),
    ("contact.email", Section::Contact),
    ("contact.primary_care_provider", Section::Contact),
    ("contact.family_members", Section::Contact),
    ("contact.emergency_contacts", Section::Contact),
    ("medical.height_cm", Section::Medical),
    ("medical.weight_kg", Section::Medical),
    ("medical.gender", Section::Medical),
    ("medical.medications", Section::Medical),
    ("medical.allergies", Section::Medical),
    ("medical.medical_card", Section::Medical),
    ("billing.address", Section::Billing),
    ("billing.insurer", Section::Billing),
    ("billing.policy_number", Section::Billing),
];

/// The fields that a mask names, a section standing for all of its own; without a mask those of the sections that were sent.
pub(crate) fn masked(paths: &[String], sent: &User) -> Result<Vec<(&'static str, Section)>, Status> {
    if paths.is_empty() {
        let there = |section| match section {
            Section::Person => sent.person.is_some(),
            Section::Contact => sent.contact.is_some(),
            Section::Medical => sent.medical.is_some(),
            Section::Billing => sent.billing.is_some(),
            Section::Place => false,
        };
        return Ok(FIELDS.into_iter().filter(|(_, section)| there(*section)).collect());
    }
    let mut fields = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let named = |(field, section): &(&str, Section)| field == path || section.name() == path;
        let before = fields.len();
        fields.extend(FIELDS.into_iter().filter(named));
        if fields.len() == before {
            let known: Vec<_> = FIELDS.iter().map(|(field, _)| *field).collect();
            let field = format!("update_mask.paths[{index}]");
            return Err(check::bad(&field, format!("one of {}", known.join(", "))));
        }
    }
    Ok(fields)
}

/// Sets fields of `user` to what `from` has.
pub(crate) fn set(user: &mut User, from: &User, fields: &[(&'static str, Section)]) {
    let (person, contact) = (from.person.clone().unwrap_or_default(), from.contact.clone().unwrap_or_default());
    let (medical, billing) = (from.medical.clone().unwrap_or_default(), from.billing.clone().unwrap_or_default());
    for (field, section) in fields {
        match section {
            Section::Place => set_place(user, from, field),
            Section::Person => set_person(user.person.get_or_insert_default(), &person, field),
            Section::Contact => set_contact(user.contact.get_or_insert_default(), &contact, field),
            Section::Medical => set_medical(user.medical.get_or_insert_default(), &medical, field),
            Section::Billing => set_billing(user.billing.get_or_insert_default(), &billing, field),
        }
    }
}

fn set_place(user: &mut User, from: &User, field: &str) {
    match field {
        "patient_id" => user.patient_id.clone_from(&from.patient_id),
        "ward" => user.ward.clone_from(&from.ward),
        "suspended" => user.suspended = from.suspended,
        _ => {}
    }
}

fn set_person(person: &mut Person, from: &Person, field: &str) {
    match field {
        "person.name" => person.name.clone_from(&from.name),
        "person.birth_date" => person.birth_date.clone_from(&from.birth_date),
        _ => {}
    }
}

fn set_contact(contact: &mut Contact, from: &Contact, field: &str) {
    match field {
        "contact.address" => contact.address.clone_from(&from.address),
        "contact.phone" => contact.phone.clone_from(&from.phone),
        "contact.email" => contact.email.clone_from(&from.email),
        "contact.primary_care_provider" => contact.primary_care_provider.clone_from(&from.primary_care_provider),
        "contact.family_members" => contact.family_members.clone_from(&from.family_members),
        "contact.emergency_contacts" => contact.emergency_contacts.clone_from(&from.emergency_contacts),
        _ => {}
    }
}

fn set_medical(medical: &mut Medical, from: &Medical, field: &str) {
    match field {
        "medical.height_cm" => medical.height_cm = from.height_cm,
        "medical.weight_kg" => medical.weight_kg = from.weight_kg,
        "medical.gender" => medical.gender.clone_from(&from.gender),
        "medical.medications" => medical.medications.clone_from(&from.medications),
        "medical.allergies" => medical.allergies.clone_from(&from.allergies),
        "medical.medical_card" => medical.medical_card.clone_from(&from.medical_card),
        _ => {}
    }
}

fn set_billing(billing: &mut Billing, from: &Billing, field: &str) {
    match field {
        "billing.address" => billing.address.clone_from(&from.address),
        "billing.insurer" => billing.insurer.clone_from(&from.insurer),
        "billing.policy_number" => billing.policy_number.clone_from(&from.policy_number),
        _ => {}
    }
}

/// Refuses what cannot be, field by field.
pub(crate) fn check(user: &User, now: Nanos) -> Result<(), Status> {
    check::word_or_none("ward", &user.ward)?;
    if let Some(Person { name, birth_date }) = &user.person {
        check::line("person.name", name, 200)?;
        check::birth_date(birth_date, now)?;
    }
    if let Some(contact) = &user.contact {
        check::line("contact.address", &contact.address, 400)?;
        check::line("contact.phone", &contact.phone, 64)?;
        check::line("contact.email", &contact.email, 254)?;
        check::line("contact.primary_care_provider", &contact.primary_care_provider, 200)?;
        people("contact.family_members", &contact.family_members)?;
        people("contact.emergency_contacts", &contact.emergency_contacts)?;
    }
    if let Some(medical) = &user.medical {
        check::number("medical.height_cm", medical.height_cm, 20.0, 260.0)?;
        check::number("medical.weight_kg", medical.weight_kg, 0.2, 500.0)?;
        if !["", "male", "female", "other", "unknown"].contains(&medical.gender.as_str()) {
            return Err(check::bad("medical.gender", "male, female, other, unknown or nothing"));
        }
        lines("medical.medications", &medical.medications)?;
        lines("medical.allergies", &medical.allergies)?;
        check::line("medical.medical_card", &medical.medical_card, 64)?;
    }
    if let Some(billing) = &user.billing {
        check::line("billing.address", &billing.address, 400)?;
        check::line("billing.insurer", &billing.insurer, 200)?;
        check::line("billing.policy_number", &billing.policy_number, 64)?;
    }
    Ok(())
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

impl Registry {
    /// What is kept of a person under a revision.
    pub(crate) async fn profile(&self, user: UserId, revision: Uuid) -> Result<User, Status> {
        let stored = self.store.profile(user, revision.into_bytes()).await.map_err(failed)?;
        let unreadable = || {
            tracing::error!("what is kept of a person cannot be read");
            problem::status(Code::DataLoss, "PROFILE_UNREADABLE", "what is kept of the person cannot be read")
        };
        User::decode(stored.ok_or_else(unreadable)?).map_err(|_| unreadable())
    }

    /// Keeps the sections of a person under a revision of its own, which nothing names yet.
    pub(crate) async fn keep_profile(&self, user: UserId, revision: Uuid, profile: &User) -> Result<(), Status> {
        let User { person, contact, medical, billing, .. } = profile.clone();
        let kept = User { person, contact, medical, billing, ..User::default() };
        self.store.put_profile(user, revision.into_bytes(), &kept.encode_to_vec()).await.map_err(failed)
    }

    /// The sections that the caller may see, or why none.
    pub(crate) fn shown(
        &self,
        caller: &Principal,
        user: UserId,
        patient: Option<PatientId>,
    ) -> Result<Vec<Section>, Denied> {
        let suspended = self.directory.get().registry().user(&user.uuid()).is_some_and(|kept| kept.value.suspended);
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
            section.read().map_or(Err(Denied::NoRelation), |action| self.decided(caller, action, patient).map(|_| ()))
        };
        let shown: Vec<_> = Section::SHOWN.into_iter().filter(|section| may(*section).is_ok()).collect();
        if shown.is_empty() { Err(may(Section::Person).err().unwrap_or(Denied::NoRelation)) } else { Ok(shown) }
    }

    /// Whether the caller may change a section, or why not.
    pub(crate) fn may_set(
        &self,
        caller: &Principal,
        section: Section,
        user: UserId,
        patient: Option<PatientId>,
    ) -> Result<(), Denied> {
        if section != Section::Medical && self.manages(caller) {
            return Ok(());
        }
        match (section.write(), patient) {
            (Some(action), Some(patient)) => self.decided(caller, action, patient).map(|_| ()),
            (Some(Action::WriteContact), None) if caller.subject == Subject::User(user) => Ok(()),
            _ => Err(Denied::Permission(Action::ManageUsers.needs())),
        }
    }

    pub(crate) fn manages(&self, caller: &Principal) -> bool {
        decide_system(caller, Action::ManageUsers, (self.clock)()).is_ok()
    }
}
