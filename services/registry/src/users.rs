//! People: who there is, what is known of them, and what that was before.

use crate::{
    PAGE, Registry, check, filter,
    profiles::{self, Section},
    writing::{check_etag, etag, not_found},
};
use directory::{
    Directory,
    registry::{self as kept, Kept},
};
use guard::{
    convert, errors, ids,
    pages::{self, Room, page},
};
use model::{
    PatientId, UserId,
    access::{Action, Principal, Purpose, Subject},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        CreateUserRequest, CreateUserResponse, DeleteUserRequest, DeleteUserResponse, GetUserRequest, GetUserResponse,
        ListUserVersionsRequest, ListUserVersionsResponse, ListUsersRequest, ListUsersResponse, UpdateUserRequest,
        UpdateUserResponse, User,
    },
    resource,
    update::Update,
};
use std::collections::BTreeMap;
use tonic::{Code, Status};
use uuid::Uuid;

/// Under which id somebody is a patient, and in which ward.
pub(crate) type Placement = (Option<Uuid>, Option<String>);

/// What is to be done with the person who is looked for.
#[derive(Debug, Clone, Copy)]
enum Sought {
    Get,
    Versions,
    Update,
}

impl Sought {
    /// What the audit log says of it, whether the person may be seen or not.
    fn detail(self, id: Uuid, is_seen: bool) -> String {
        match self {
            Self::Get => format!("get {id}"),
            Self::Versions => format!("versions of {id}"),
            // to read is no update yet: that is written down when nothing is against it
            Self::Update if is_seen => format!("read {id} to update it"),
            Self::Update => update_of(id),
        }
    }
}

/// How the audit log calls a change of a person.
fn update_of(id: Uuid) -> String {
    format!("update {id}")
}

/// What the registry keeps of somebody, and how the caller may see it.
pub(crate) struct Seen {
    kept: Kept<kept::User>,
    sections: Vec<Section>,
}

impl Registry {
    pub(crate) async fn get_user(
        &self,
        caller: &Principal,
        request: GetUserRequest,
    ) -> Result<GetUserResponse, Status> {
        let seen = self.see(caller, &request.user_id, Sought::Get).await?;
        Ok(GetUserResponse { user: Some(self.shown_user(&seen.kept, &seen.sections).await?) })
    }

    pub(crate) async fn list_user_versions(
        &self,
        caller: &Principal,
        request: ListUserVersionsRequest,
    ) -> Result<ListUserVersionsResponse, Status> {
        let Seen { kept, sections } = self.see(caller, &request.user_id, Sought::Versions).await?;
        let (size, after) = (pages::size(request.page_size, PAGE)?, pages::after::<u64>(&request.page_token)?);
        let directory = self.decisions.directory();
        let numbers = directory.registry().versions(&kept.value.id).rev();
        let older = numbers.filter(|number| after.is_none_or(|after| *number < after));
        let (numbers, mut next_page_token) = page(older, size, |_| 0, ToString::to_string);
        let (mut versions, mut room, mut last) = (Vec::new(), Room::default(), String::new());
        for number in numbers {
            let version = self.shown_user(&self.version(&kept.value.id, number).await?, &sections).await?;
            if !room.takes(version.encoded_len()) {
                next_page_token = last;
                break;
            }
            versions.push(version);
            last = number.to_string();
        }
        Ok(ListUserVersionsResponse { versions, next_page_token })
    }

    /// A person as a change left it: the changes are all there, and memory has no more than where.
    async fn version(&self, id: &Uuid, number: u64) -> Result<Kept<kept::User>, Status> {
        let changes = self.store.changes(number, 1).await.map_err(errors::store)?;
        let entry = changes.first().filter(|(found, _)| *found == number).map(|(_, bytes)| kept::Entry::decode(bytes));
        let version = entry.and_then(|entry| entry.ok()?.user(id, number));
        version.ok_or_else(errors::profile_unreadable)
    }

    /// Finds a person for the caller; written down with what is done when this returns, and the same for one who does not
    /// exist.
    async fn see(&self, caller: &Principal, user_id: &str, sought: Sought) -> Result<Seen, Status> {
        let user = check::user(user_id)?;
        let (directory, action) = (self.decisions.directory(), Action::ReadProfile);
        let found = directory.registry().user(&user.uuid()).cloned();
        let patient = found.as_ref().and_then(|kept| kept.value.patient).map(PatientId::new);
        let sections = self.shown(&directory, caller, user, patient);
        let opened = |action| patient.and_then(|patient| self.decided(&directory, caller, action, patient).ok());
        let related = [action, Action::ReadMedical, Action::ReadBilling].into_iter().find_map(opened);
        // without a relation it is for who manages people, or is that person
        let purpose = related.map_or(Purpose::Operations, |permit| permit.purpose());
        let decided = sections.as_ref().map(|_| Some(purpose)).map_err(|denied| *denied);
        let detail = sought.detail(user.uuid(), sections.is_ok());
        self.decisions.with_purpose(caller, action, patient, decided).written(&detail).await?;
        match (sections, found) {
            (Ok(sections), Some(kept)) => Ok(Seen { kept, sections }),
            (Err(denied), _) if !denied.hides() => Err(guard::errors::denied(denied)),
            _ => Err(not_found("person")),
        }
    }

    /// A person on the wire, with the sections that may be shown.
    async fn shown_user(&self, kept: &Kept<kept::User>, sections: &[Section]) -> Result<User, Status> {
        let kept::User { id, patient, ward, suspended, revision } = &kept.value;
        let mut user = User {
            user_id: id.to_string(),
            patient_id: patient.map(|patient| patient.to_string()),
            ward: ward.clone(),
            suspended: Some(*suspended),
            etag: etag(kept.sequence),
            updated_at: Some(convert::timestamp(kept.at)),
            updated_by: kept.by.clone(),
            ..self.profile(UserId::new(*id), *revision).await?
        };
        profiles::hide(&mut user, sections);
        resource::whole(&user)
    }

    pub(crate) async fn list_users(
        &self,
        caller: &Principal,
        request: ListUsersRequest,
    ) -> Result<ListUsersResponse, Status> {
        self.decisions.on_system(caller, Action::ManageUsers, None).recorded("list").await?;
        let directory = self.decisions.directory();
        let conditions = conditions(&directory, &request.filter)?;
        let (size, after) = (pages::size(request.page_size, PAGE)?, pages::after_uuid(&request.page_token)?);
        let fits = |(_, kept): &(&Uuid, &Kept<kept::User>)| {
            conditions.iter().all(|(key, wanted)| has(&directory, &kept.value, key, wanted))
        };
        let people = directory.registry().users(after).filter(fits).map(|(_, kept)| kept.clone());
        let (mut found, mut next_page_token) = page(people, size, |_| 0, |kept| kept.value.id.to_string());
        let (mut users, mut room) = (Vec::new(), Room::default());
        for kept in &found {
            let user = self.shown_user(kept, &[Section::Person, Section::Contact, Section::Billing]).await?;
            if !room.takes(user.encoded_len()) {
                next_page_token = users.last().map(|user: &User| user.user_id.clone()).unwrap_or_default();
                break;
            }
            users.push(user);
        }
        // who does not fit is not shown
        found.truncate(users.len());
        let patients = found.iter().filter_map(|kept| kept.value.patient).map(PatientId::new);
        self.decisions.shows(caller, (Action::ManageUsers, None), patients, "list").await?;
        Ok(ListUsersResponse { users, next_page_token })
    }

    pub(crate) async fn create_user(
        &self,
        caller: &Principal,
        request: CreateUserRequest,
    ) -> Result<CreateUserResponse, Status> {
        let user = request.user.ok_or_else(|| check::bad("user", "must be there"))?;
        let id = check::id_or_new("user.user_id", &user.user_id)?;
        resource::check_sent(&user)?;
        let about = place(&user).ok().and_then(|(patient, _)| patient).map(PatientId::new);
        self.decisions.on_system(caller, Action::ManageUsers, about).recorded(&format!("create {id}")).await?;
        if user.medical.is_some() {
            let text = "medical history is the clinicians' to write, by an update; leave it out";
            return Err(problem::field(Code::PermissionDenied, "NOT_PERMITTED", "user.medical", text));
        }
        let kept = new_person(id, &user, self.checked(&user)?);
        self.change_person(caller, &kept, &user.encode_to_vec(), |directory| {
            if directory.knows(UserId::new(id)) {
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "user.user_id", "somebody has this id"));
            }
            Ok(())
        })
        .await?;
        Ok(CreateUserResponse { user: Some(self.managed_user(&id).await?) })
    }

    /// Checks what is sent of a person: under which id a patient, and in which ward.
    pub(crate) fn checked(&self, user: &User) -> Result<Placement, Status> {
        profiles::check(user, self.decisions.now())?;
        place(user)
    }

    /// A person as those see them who manage people.
    async fn managed_user(&self, id: &Uuid) -> Result<User, Status> {
        let kept = self.decisions.directory().registry().user(id).cloned().ok_or_else(|| not_found("person"))?;
        self.shown_user(&kept, &[Section::Person, Section::Contact, Section::Billing]).await
    }

    pub(crate) async fn update_user(
        &self,
        caller: &Principal,
        request: UpdateUserRequest,
    ) -> Result<UpdateUserResponse, Status> {
        let sent = request.user.ok_or_else(|| check::bad("user", "must be there"))?;
        let update = Update::new(&sent, request.update_mask.as_ref())?;
        let Seen { kept: before, sections } = self.see(caller, &sent.user_id, Sought::Update).await?;
        let (id, user_id) = (before.value.id, UserId::new(before.value.id));
        let patient = before.value.patient.map(PatientId::new);
        let mut changed: Vec<_> = update.fields().map(|field| Section::of(&field)).collect();
        changed.dedup();
        if changed.contains(&Section::Place) && caller.subject == Subject::User(user_id) {
            let text = "nobody makes themselves a patient or moves themselves; ask somebody else who manages people";
            return Err(problem::field(Code::PermissionDenied, "SELF_GRANT", "update_mask", text));
        }
        let permitted = self.may_update(caller, &before.value, &changed).await?;
        check_etag(&sent.etag, before.sequence)?;
        let place = User {
            patient_id: before.value.patient.map(|patient| patient.to_string()),
            ward: before.value.ward.clone(),
            suspended: Some(before.value.suspended),
            ..User::default()
        };
        // one message after the other is both of them
        let mut stored = self.kept_profile(user_id, before.value.revision).await?.to_vec();
        stored.extend(place.encode_to_vec());
        let after = update.apply_encoded(&stored)?;
        let user = profiles::read(&after)?;
        // what an older version took and nobody changes now stays as it is
        let mut changed = user.clone();
        profiles::leave_out_same(&mut changed, &profiles::read(&stored)?);
        let now = new_person(id, &user, self.checked(&changed)?);
        for (action, purpose) in permitted {
            let decision = self.decisions.with_purpose(caller, action, patient, Ok(Some(purpose)));
            decision.recorded(&update_of(id)).await?;
        }
        self.change_person(caller, &now, &after, |directory| {
            // what was read above must still be what is there: a change in between would be undone
            let there = directory.registry().user(&id).ok_or_else(|| not_found("person"))?;
            check_etag(&etag(before.sequence), there.sequence)
        })
        .await?;
        let kept = self.decisions.directory().registry().user(&id).cloned().ok_or_else(|| not_found("person"))?;
        Ok(UpdateUserResponse { user: Some(self.shown_user(&kept, &sections).await?) })
    }

    /// By which actions the caller may change these sections, and what for; a refusal is written down when this returns.
    async fn may_update(
        &self,
        caller: &Principal,
        user: &kept::User,
        sections: &[Section],
    ) -> Result<BTreeMap<Action, Purpose>, Status> {
        let (directory, patient) = (self.decisions.directory(), user.patient.map(PatientId::new));
        let mut permitted = BTreeMap::new();
        for section in sections {
            let action = match section {
                Section::Medical => Action::WriteMedical,
                _ if self.manages(caller) => Action::ManageUsers,
                _ => Action::WriteContact,
            };
            let decided = self.may_set(&directory, caller, *section, UserId::new(user.id), patient);
            let decision = self.decisions.with_purpose(caller, action, patient, decided.map(Some));
            decision.refusal_recorded(&update_of(user.id)).await?;
            permitted.extend(decided.ok().map(|purpose| (action, purpose)));
        }
        Ok(permitted)
    }

    pub(crate) async fn delete_user(
        &self,
        caller: &Principal,
        request: DeleteUserRequest,
    ) -> Result<DeleteUserResponse, Status> {
        let id = check::user(&request.user_id)?.uuid();
        let about = self.decisions.directory().registry().user(&id).and_then(|kept| kept.value.patient);
        let about = about.map(PatientId::new);
        self.decisions.on_system(caller, Action::ManageUsers, about).recorded(&format!("delete {id}")).await?;
        self.put_person(caller, id, None, |directory| {
            let kept = directory.registry().user(&id).ok_or_else(|| not_found("person"))?;
            check_etag(&request.etag, kept.sequence)
        })
        .await?;
        Ok(DeleteUserResponse {})
    }
}

/// A person under a revision of its own, of which nothing is kept yet.
pub(crate) fn new_person(id: Uuid, user: &User, (patient, ward): Placement) -> kept::User {
    kept::User { id, patient, ward, suspended: user.suspended(), revision: Uuid::now_v7() }
}

/// Under which id a person is a patient, and in which ward.
fn place(user: &User) -> Result<Placement, Status> {
    let ward = check::word_or_none("ward", user.ward())?;
    if user.patient_id().is_empty() {
        return match ward {
            None => Ok((None, None)),
            Some(_) => Err(check::bad("ward", "empty for one who is no patient; give a patient_id, too")),
        };
    }
    Ok((Some(ids::uuid("patient_id", user.patient_id())?), ward))
}

fn conditions(directory: &Directory, filter: &str) -> Result<Vec<(String, String)>, Status> {
    let flag = |value: &str| filter::one_of(value, &["true", "false"]);
    let ward = |value: &str| match model::word(value) {
        Ok(()) if directory.has_ward(value) => Ok(()),
        Ok(()) => {
            Err("there is no such ward: one is there from its first patient on; check how it is spelled".to_owned())
        }
        Err(allowed) => Err(allowed.to_string()),
    };
    let role = |value: &str| match directory.registry().role(&value.to_owned()) {
        None if !directory.is_held(value) => {
            Err("the id of a role, spelled as `wardline roles list` shows it".to_owned())
        }
        _ => Ok(()),
    };
    filter::read(filter, &[("ward", &ward), ("role", &role), ("patient", &flag), ("suspended", &flag)])
}

/// Whether a person fulfils a condition of a filter.
fn has(directory: &Directory, user: &kept::User, key: &str, wanted: &str) -> bool {
    match key {
        "ward" => user.ward.as_deref() == Some(wanted),
        "role" => directory.roles_of(UserId::new(user.id)).any(|(role, _)| role == wanted),
        "patient" => user.patient.is_some().to_string() == wanted,
        _ => user.suspended.to_string() == wanted,
    }
}
