//! How a change is made: against the last state, at the next place, or not at all.

use crate::{Registry, metrics, profiles};
use directory::{
    Directory, follow,
    registry::{self as kept, Change, Draft, Refused},
};
use guard::errors;
use model::{
    Nanos, PatientId, UserId,
    access::{Action, Principal, Purpose, Subject},
};
use proto::problem;
use std::{borrow::Cow, collections::BTreeSet, sync::Arc, time::Duration};
use tonic::{Code, Status};
use uuid::Uuid;

/// How often a place is lost to another node before the caller is told to try again.
const ATTEMPTS: usize = 20;

/// What is to be kept of a person beside a change.
pub(crate) struct Profile<'a> {
    /// The person, as the change has it.
    pub(crate) kept: &'a kept::User,
    /// The person's sections: an encoded `wardline.registry.v1.User`.
    pub(crate) encoded: Cow<'a, [u8]>,
}

impl Registry {
    /// Makes changes, all or none. `decide` sees all that was changed before, and is asked again when somebody else was
    /// faster.
    pub(crate) async fn change<T>(
        &self,
        caller: &Principal,
        decide: impl Fn(&Directory, Nanos) -> Result<(Vec<Change>, T), Status>,
    ) -> Result<T, Status> {
        self.change_as(Some(caller.subject), decide).await
    }

    /// The same; `by` nobody: the system changes it.
    pub(crate) async fn change_as<T>(
        &self,
        by: Option<Subject>,
        decide: impl Fn(&Directory, Nanos) -> Result<(Vec<Change>, T), Status>,
    ) -> Result<T, Status> {
        let decide = |directory: &Directory, draft: &mut Draft| {
            let (changes, answer) = decide(directory, draft.at())?;
            draft.add(changes).map_err(|refused| errors::change(&refused))?;
            Ok((answer, vec![]))
        };
        self.put(by, decide).await
    }

    /// Changes a person, and keeps what is known of the person (an encoded `User`): before anything names it, and only
    /// when nothing is against the change.
    pub(crate) async fn change_person(
        &self,
        caller: &Principal,
        kept: &kept::User,
        profile: &[u8],
        decide: impl Fn(&Directory) -> Result<(), Status>,
    ) -> Result<(), Status> {
        self.put_person(caller, kept.id, Some((kept, profile)), |directory| {
            decide(directory)?;
            free(directory, kept).map_err(|refused| errors::change(&refused))
        })
        .await
    }

    /// Makes of a person what is `now`, with the person's profile; `None` removes the person. Assignments under a patient id that
    /// is nobody's then end with that: each is written down before.
    pub(crate) async fn put_person(
        &self,
        caller: &Principal,
        id: Uuid,
        now: Option<(&kept::User, &[u8])>,
        decide: impl Fn(&Directory) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let change = now.map_or(Change::UserRemoved(id), |(kept, _)| Change::User(kept.clone()));
        let mut written = BTreeSet::new();
        loop {
            let (patient, ended) = self
                .put(Some(caller.subject), |directory, draft| {
                    decide(directory)?;
                    let before = directory.registry().user(&id).and_then(|kept| kept.value.patient);
                    let left = before.filter(|before| now.and_then(|(kept, _)| kept.patient) != Some(*before));
                    let left = left.map(PatientId::new);
                    let ended = left.map(|patient| directory.registry().open_assignments(patient, draft.at()));
                    let ended = ended.unwrap_or_default();
                    if !ended.is_subset(&written) {
                        return Ok(((left, ended), vec![]));
                    }
                    draft.add([change.clone()]).map_err(|refused| errors::change(&refused))?;
                    let profile = now.map(|(kept, profile)| Profile { kept, encoded: profile.into() });
                    Ok(((left, ended), profile.into_iter().collect()))
                })
                .await?;
            let unwritten: Vec<_> = ended.difference(&written).copied().collect();
            if unwritten.is_empty() {
                return Ok(());
            }
            let things: Vec<_> = unwritten.iter().map(|one| (patient, format!("end {one}"))).collect();
            let why = (Action::AssignDevice, Some(Purpose::Operations));
            self.decisions.each(caller, why, things).await?;
            written.extend(unwritten);
        }
    }

    /// Whether a person is already what a change would make of the person: that is no new version.
    async fn is_known(&self, directory: &Directory, Profile { kept, encoded }: &Profile<'_>) -> Result<bool, Status> {
        let Some(before) = directory.registry().user(&kept.id).map(|before| before.value.clone()) else {
            return Ok(false);
        };
        let revision = before.revision;
        if (kept::User { revision: kept.revision, ..before }) != **kept {
            return Ok(false);
        }
        let (known, user) = (self.profile(UserId::new(kept.id), revision).await?, profiles::read(encoded)?);
        Ok(same(&known.person, &user.person)
            && same(&known.contact, &user.contact)
            && same(&known.medical, &user.medical)
            && same(&known.billing, &user.billing))
    }

    /// Lets `decide` draft the next entry, and stores it. What is to be kept of people is kept before anything names it. Each
    /// change is applied once, to the draft's copy; `decide` is asked again when another node was faster.
    pub(crate) async fn put<'p, T>(
        &self,
        by: Option<Subject>,
        decide: impl Fn(&Directory, &mut Draft) -> Result<(T, Vec<Profile<'p>>), Status>,
    ) -> Result<T, Status> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let (directory, mut draft) = self.draft(by).await?;
            let (answer, profiles) = decide(&directory, &mut draft)?;
            for change in draft.changes() {
                directory.check_files(change, draft.at()).map_err(|refused| errors::change(&refused))?;
            }
            someone_administers(&directory, &draft)?;
            let mut n_known = 0;
            for profile in &profiles {
                n_known += usize::from(self.is_known(&directory, profile).await?);
            }
            // a person who stays the same is no new version
            if draft.changes().len() == n_known {
                return Ok(answer);
            }
            for Profile { kept, encoded } in &profiles {
                self.keep_profile(UserId::new(kept.id), kept.revision, encoded).await?;
            }
            let (sequence, entry, state) = draft.finish();
            if self.store.put_change(sequence, &entry).await.map_err(errors::store)? {
                self.decisions.live().adopt(state);
                metrics::changed();
                return Ok(answer);
            }
        }
        let text = "others changed the registry all the time; try again";
        Err(problem::unavailable("REGISTRY_BUSY", text, Duration::from_secs(1)))
    }

    /// All that was changed until now, and the next entry.
    pub(crate) async fn draft(&self, by: Option<Subject>) -> Result<(Arc<Directory>, Draft), Status> {
        follow(self.decisions.live(), self.store.as_ref()).await.map_err(errors::behind)?;
        let directory = self.decisions.directory();
        let draft = directory.registry().draft(self.decisions.now(), by);
        Ok((directory, draft))
    }
}

/// Refuses what a file of the directory has against a person's ids. The registry knows of its own.
///
/// A new id is that of nobody else, in whatever role: but a patient of whom no file says who it is may become known. Not in another
/// ward than the file's: who works there would lose the patient, for the registry's ward counts before the file's.
pub(crate) fn free(directory: &Directory, user: &kept::User) -> Result<(), Refused> {
    let before = directory.registry().user(&user.id).map(|before| before.value.patient);
    // the person's own id may be the patient's, too
    let stands_for_another = directory.is_device_of_files(user.id)
        || user.patient != Some(user.id) && directory.is_patient_of_files(user.id);
    if before.is_none() && stands_for_another {
        let text = "a patient or a device of the directory's files has this id; leave it empty for a new one";
        return Err(Refused::new("ID_TAKEN", "user_id", text));
    }
    let Some(id) = user.patient else { return Ok(()) };
    let patient = PatientId::new(id);
    if directory.is_anothers(patient, UserId::new(user.id)) {
        return Err(Refused::new("PATIENT_TAKEN", "patient_id", "another person has this patient id"));
    }
    let stands_for_another = directory.is_device_of_files(id) || id != user.id && directory.is_user_of_files(id);
    if before.flatten() != Some(id) && stands_for_another {
        let text = "another person or a device of the directory's files has this id; choose another";
        return Err(Refused::new("ID_TAKEN", "patient_id", text));
    }
    if user.ward.as_ref().is_some_and(|ward| directory.is_in_another_ward(patient, ward)) {
        let text = "a patient of the directory's files has this id, in another ward; say that ward or none, or choose another id";
        return Err(Refused::new("PATIENT_TAKEN", "patient_id", text));
    }
    Ok(())
}

/// A section that is not there and one of which nothing is known are the same.
fn same<T: Default + PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    let empty = T::default();
    one.as_ref().unwrap_or(&empty) == other.as_ref().unwrap_or(&empty)
}

/// Refuses a draft after which nobody manages roles any more.
fn someone_administers(directory: &Directory, draft: &Draft) -> Result<(), Status> {
    // against the state before the change, which has its place or is thought over again: of two at once one is the last
    let Some(field) = draft.changes().iter().find_map(Change::takes_from) else { return Ok(()) };
    if directory.is_administered() && !directory.with_registry(draft.state().clone()).is_administered() {
        let text = "then nobody would manage roles any more; grant a role with roles.manage to somebody else first";
        return Err(errors::change(&Refused::new("LAST_ADMINISTRATOR", field, text)));
    }
    Ok(())
}

/// NOT_FOUND: there is no such resource.
pub(crate) fn not_found(what: &str) -> Status {
    problem::status(Code::NotFound, "NOT_FOUND", format!("no such {what}"))
}

/// The etag of the version that a change made: the change's sequence.
pub(crate) fn etag(sequence: u64) -> String {
    sequence.to_string()
}

/// Refuses when the caller has read another version than the one that is there; an empty tag stands for any, and so does `*`, as over
/// HTTP.
pub(crate) fn check_etag(read: &str, sequence: u64) -> Result<(), Status> {
    if read.is_empty() || read == "*" || read == etag(sequence) {
        return Ok(());
    }
    let text = "somebody else changed it; read it again and repeat your change";
    Err(problem::field(Code::Aborted, "ETAG_MISMATCH", "etag", text))
}

/// The same where many depend on what is changed: who changes it has read it, and says so.
pub(crate) fn need_etag(read: &str, sequence: u64) -> Result<(), Status> {
    if read.is_empty() {
        let text = "send the etag that you read (over HTTP: If-Match), so that two changes do not undo each other";
        return Err(problem::field(Code::FailedPrecondition, "ETAG_REQUIRED", "etag", text));
    }
    check_etag(read, sequence)
}
