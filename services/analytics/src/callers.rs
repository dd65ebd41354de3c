//! Who calls: permission for what is asked, written down, and the name under which a caller is kept.

use guard::decisions::Decisions;
use model::access::{Action, Principal, Subject, decide_system};
use tonic::{Extensions, Status};

/// A caller, as jobs and versions are kept under.
pub(crate) fn caller_name(caller: &Principal) -> String {
    match caller.subject {
        Subject::User(user) => format!("user:{}", user.uuid()),
        Subject::Device(device) => format!("device:{}", device.uuid()),
    }
}

/// UUID of the caller of a [`caller_name`]; empty for what no caller made: a schedule, a pipeline.
pub(crate) fn caller_id(name: &str) -> String {
    let id = name.split_once(':').filter(|(what, _)| matches!(*what, "user" | "device")).map(|(_, id)| id.to_owned());
    id.unwrap_or_default()
}

/// What is done to the thing of an id, as it is written down: what is no id may be anything, and is left out.
pub(crate) fn done_to(done: &str, id: &str) -> String {
    model::uuid(id).map_or_else(|_| done.to_owned(), |id| format!("{done} {id}"))
}

/// Permission for an action, written down when this returns; the caller's name.
pub(crate) async fn permit(
    decisions: &Decisions,
    extensions: &Extensions,
    action: Action,
    detail: &str,
) -> Result<String, Status> {
    let caller = guard::principal(extensions)?;
    decisions.on_system(caller, action, None).recorded(detail).await?;
    Ok(caller_name(caller))
}

/// Permission for an action on one's own jobs, or on everybody's, written down when this returns; whether it is for everybody's,
/// and the caller's name.
pub(crate) async fn permit_jobs(
    decisions: &Decisions,
    extensions: &Extensions,
    action: Action,
    detail: &str,
) -> Result<(bool, String), Status> {
    let caller = guard::principal(extensions)?;
    let manages = decide_system(caller, Action::ManageJobs, decisions.now()).is_ok();
    let action = if manages { Action::ManageJobs } else { action };
    permit(decisions, extensions, action, detail).await.map(|name| (manages, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_down_and_nothing_else_is() {
        let id = "0191c3c8-7a00-7000-8000-00000000abcd";
        assert_eq!(done_to("delete version", id), format!("delete version {id}"));
        assert_eq!(done_to("delete version", &id.to_uppercase()), format!("delete version {id}"));
        for other in ["", "Ada Okafor", "00000000-0000-0000-0000-000000000000"] {
            assert_eq!(done_to("delete version", other), "delete version");
        }
    }
}
