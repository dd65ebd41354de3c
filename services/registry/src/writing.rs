//! How a change is made: against the last state, at the next place, or not at all.

use crate::{Behind, Registry, follow, profiles};
use auth::{
    Directory,
    registry::{self as kept, Change, Entry, Refused, State},
};
use guard::errors;
use model::{
    Nanos, UserId,
    access::{Principal, Subject},
};
use proto::problem;
use std::time::Duration;
use tonic::{Code, Status};

/// How often a place is lost to another node before the caller is told to try again.
const ATTEMPTS: usize = 20;

impl Registry {
    /// Makes changes, all or none. `decide` sees all that was changed before, and is asked again when somebody else was
    /// faster.
    pub(crate) async fn change<T>(
        &self,
        caller: &Principal,
        decide: impl Fn(&Directory, Nanos) -> Result<(Vec<Change>, T), Status>,
    ) -> Result<T, Status> {
        self.put(Some(caller.subject), |directory, now| judged(directory, now, decide(directory, now)?)).await
    }

    /// Says what is against changes to a person, keeps what is known of the person (an encoded `User`), then makes the
    /// changes: what is refused leaves nothing of the person behind.
    pub(crate) async fn change_person(
        &self,
        caller: &Principal,
        kept: &kept::User,
        profile: &[u8],
        decide: impl Fn(&Directory) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let decide = |directory: &Directory, now| {
            decide(directory)?;
            judged(directory, now, (vec![Change::User(kept.clone())], ()))
        };
        self.put(Some(caller.subject), |directory, now| decide(directory, now).map(|_| (vec![], ()))).await?;
        if self.is_known(kept, profile).await? {
            return Ok(());
        }
        self.keep_profile(UserId::new(kept.id), kept.revision, profile).await?;
        self.put(Some(caller.subject), decide).await
    }

    /// Whether a person is already what a change would make of the person: that is no new version.
    async fn is_known(&self, kept: &kept::User, profile: &[u8]) -> Result<bool, Status> {
        let before = self.directory.get().registry().user(&kept.id).map(|before| before.value.clone());
        let Some(before) = before else { return Ok(false) };
        let revision = before.revision;
        if (kept::User { revision: kept.revision, ..before }) != *kept {
            return Ok(false);
        }
        let (known, user) = (self.profile(UserId::new(kept.id), revision).await?, profiles::read(profile)?);
        Ok(same(&known.person, &user.person)
            && same(&known.contact, &user.contact)
            && same(&known.medical, &user.medical)
            && same(&known.billing, &user.billing))
    }

    /// Makes changes that were judged already; nobody's when the system makes them. Those that change nothing are left out.
    pub(crate) async fn put<T>(
        &self,
        by: Option<Subject>,
        decide: impl Fn(&Directory, Nanos) -> Result<(Vec<Change>, T), Status>,
    ) -> Result<T, Status> {
        let _turn = self.turn.lock().await;
        for _ in 0..ATTEMPTS {
            follow(&self.directory, self.store.as_ref()).await.map_err(behind)?;
            let (directory, now) = (self.directory.get(), (self.clock)());
            let (mut changes, answer) = decide(&directory, now)?;
            changes.retain(|change| !directory.registry().is_so(change));
            if changes.is_empty() {
                return Ok(answer);
            }
            let entry = Entry::new(now, by, changes).encode();
            let sequence = directory.registry().sequence() + 1;
            if self.store.put_change(sequence, &entry).await.map_err(errors::store)? {
                self.directory.follow(&[(sequence, entry)]).map_err(|error| unreadable(&error))?;
                metrics::counter!("wardline_registry_changes_total").increment(1);
                return Ok(answer);
            }
        }
        let text = "others changed the registry all the time; try again";
        Err(problem::unavailable("REGISTRY_BUSY", text, Duration::from_secs(1)))
    }
}

/// A section that is not there and one of which nothing is known are the same.
fn same<T: Default + PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    let empty = T::default();
    one.as_ref().unwrap_or(&empty) == other.as_ref().unwrap_or(&empty)
}

/// Changes, if all of them fit what is there, and leave somebody who manages roles.
fn judged<T>(
    directory: &Directory,
    now: Nanos,
    (changes, answer): (Vec<Change>, T),
) -> Result<(Vec<Change>, T), Status> {
    let mut state = State::clone(directory.registry());
    let changes: Vec<_> =
        state.judge(changes, now).into_iter().collect::<Result<_, _>>().map_err(|refused| status(&refused))?;
    // against the state before the change, which has its place or is thought over again: of two at once one is the last
    if let Some(field) = changes.iter().find_map(Change::takes_from)
        && directory.is_administered()
        && !directory.with_registry(state).is_administered()
    {
        let text = "then nobody would manage roles any more; grant a role with roles.manage to somebody else first";
        return Err(status(&Refused::new("LAST_ADMINISTRATOR", field, text)));
    }
    Ok((changes, answer))
}

/// Why the registry cannot be changed now.
fn behind(cause: Behind) -> Status {
    match cause {
        Behind::Store(error) => errors::store(error),
        Behind::Change(error) => unreadable(&error),
    }
}

fn unreadable(error: &auth::Error) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "a change of the registry cannot be followed");
    problem::status(Code::DataLoss, "REGISTRY_UNREADABLE", "the registry cannot be read; tell the operators")
}

/// What is against a change, on the wire.
pub(crate) fn status(refused: &Refused) -> Status {
    let code = match refused.reason {
        "MAC_TAKEN" | "ALREADY_GRANTED" | "PATIENT_TAKEN" | "ASSIGNMENT_OVERLAPS" => Code::AlreadyExists,
        "ROLE_IN_USE" | "BUILT_IN_ROLE" | "LAST_ADMINISTRATOR" => Code::FailedPrecondition,
        reason if reason.starts_with("NO_SUCH_") => Code::NotFound,
        _ => Code::InvalidArgument,
    };
    problem::field(code, refused.reason, refused.field, &refused.text)
}

/// Nothing has this id.
pub(crate) fn not_found(what: &str) -> Status {
    problem::status(Code::NotFound, "NOT_FOUND", format!("no such {what}"))
}

/// The tag of a version.
pub(crate) fn etag(sequence: u64) -> String {
    sequence.to_string()
}

/// Refuses when the caller has read another version than the one that is there; an empty tag stands for any.
pub(crate) fn check_etag(read: &str, sequence: u64) -> Result<(), Status> {
    if read.is_empty() || read == etag(sequence) {
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
