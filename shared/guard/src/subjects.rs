//! Those who take part in a study, as callers know them: by pseudonyms.

use auth::Pseudonyms;
use directory::Directory;
use model::{
    Nanos, Permit,
    access::{Action, Principal, Subject, decide},
};
use std::collections::BTreeMap;

/// Those of a study whom the caller may read at an instant, by their pseudonyms, ascending.
pub fn subjects(
    directory: &Directory,
    names: &Pseudonyms,
    caller: &Principal,
    study: &str,
    now: Nanos,
) -> BTreeMap<String, Permit> {
    let studied = match caller.subject {
        Subject::User(user) => directory.studied(user, study, now),
        Subject::Device(_) => Vec::new(),
    };
    let readable = studied.into_iter().filter_map(|patient| {
        let facts = directory.facts(caller, patient);
        let permit = decide(caller, Action::ReadDeidentified, patient, &facts, now).ok()?;
        Some((names.subject(study, patient), permit))
    });
    readable.collect()
}
