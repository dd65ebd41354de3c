//! What an entry's action does to what it is about, as FHIR's AuditEvent and DICOM tell apart: found from the action's name and
//! the first word of its detail, so that entries of all times are read alike.

/// What is done (FHIR R4, value set `audit-event-action`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interaction {
    /// Something is new.
    Create,
    /// Something is shown.
    Read,
    /// Something is changed, or ended.
    Update,
    /// Something is gone.
    Delete,
    /// Something is done, such as a login.
    Execute,
}

impl Interaction {
    /// Its code in FHIR: one letter.
    pub fn code(self) -> &'static str {
        match self {
            Self::Create => "C",
            Self::Read => "R",
            Self::Update => "U",
            Self::Delete => "D",
            Self::Execute => "E",
        }
    }

    /// Of an entry. The detail of what was refused early is the rpc's name (`CreateUser`): its first word counts.
    pub fn of(action: &str, detail: &str) -> Self {
        let word = first_word(detail);
        match (action, word.as_str()) {
            ("login" | "quarantine.replay", _) | ("readings.send", "claim" | "refresh" | "renew") => Self::Execute,
            ("readings.send", "report") | ("contact.write" | "medical.write", _) => Self::Update,
            ("readings.send" | "emergency.open", _) => Self::Create,
            // refused; older versions wrote so of what was permitted, too
            ("profile.read", "update") => Self::Update,
            ("access.explain" | "quarantine.list" | "quarantine.get", _) => Self::Read,
            (action, _) if action.ends_with(".read") => Self::Read,
            (action, word) => by_word(word).unwrap_or_else(|| usual(action)),
        }
    }
}

/// In small letters.
fn first_word(detail: &str) -> String {
    let word = detail.split(' ').next().unwrap_or_default();
    let end = word.char_indices().skip(1).find(|(_, letter)| letter.is_ascii_uppercase());
    word[..end.map_or(word.len(), |(at, _)| at)].to_ascii_lowercase()
}

fn by_word(word: &str) -> Option<Interaction> {
    Some(match word {
        "get" | "list" | "search" | "read" | "assignments" | "versions" | "wait" | "result" | "kinds" | "schedules" => {
            Interaction::Read
        }
        // a pipeline's runs
        "pipeline" => Interaction::Read,
        "create" | "import" | "grant" | "assign" | "register" | "submit" | "upload" => Interaction::Create,
        "update" | "end" | "revoke" | "rotate" | "retire" | "review" | "set" => Interaction::Update,
        "delete" | "clear" => Interaction::Delete,
        "cancel" | "retry" | "run" | "backfill" | "reload" | "refresh" => Interaction::Execute,
        _ => return None,
    })
}

/// Where the detail has no verb: a relation's kind, a job's, or which emergency was reviewed how.
fn usual(action: &str) -> Interaction {
    match action {
        "relations.manage" | "jobs.submit" => Interaction::Create,
        "emergency.review" => Interaction::Update,
        _ => Interaction::Execute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Action;

    #[test]
    fn what_is_done_is_told_apart() {
        let id = "0191c3c8-7a00-7000-8000-00000000abcd";
        for (action, detail, code) in [
            (Action::ReadTimeline, "8867-4", "R"),
            (Action::ReadLatest, "list", "R"),
            (Action::ReadAudit, "search", "R"),
            (Action::ReadProfile, "", "R"),
            (Action::ReadProfile, "versions", "R"),
            (Action::ReadProfile, "update", "U"),
            (Action::ReadProfile, "get {id}", "R"),
            (Action::ReadProfile, "versions of {id}", "R"),
            (Action::ReadProfile, "read {id} to update it", "R"),
            (Action::ReadProfile, "update {id}", "U"),
            (Action::WriteContact, "update", "U"),
            (Action::WriteMedical, "update {id}", "U"),
            (Action::ManageUsers, "update {id}", "U"),
            (Action::ManageUsers, "import {id}", "C"),
            (Action::ManageUsers, "list", "R"),
            (Action::ManageUsers, "create {id}", "C"),
            (Action::ManageUsers, "import 3 rows", "C"),
            (Action::ManageUsers, "ImportUsers", "C"),
            (Action::ManageUsers, "delete {id}", "D"),
            (Action::ManageRoles, "get role", "R"),
            (Action::ManageRoles, "list grants", "R"),
            (Action::ManageRoles, "create role helper", "C"),
            (Action::ManageRoles, "update role helper", "U"),
            (Action::ManageRoles, "grant nurse to {id}", "C"),
            (Action::ManageRoles, "grant {id} of nurse to {id}", "C"),
            (Action::ManageRoles, "delete grant {id}", "D"),
            (Action::ManageRelations, "list", "R"),
            (Action::ManageRelations, "care-team for {id}", "C"),
            (Action::ManageRelations, "care-team {id} for {id}", "C"),
            (Action::ManageRelations, "CreateRelation", "C"),
            (Action::ManageRelations, "end {id}", "U"),
            (Action::ManageConsents, "create", "C"),
            (Action::ManageConsents, "revoke {id}", "U"),
            (Action::AssignDevice, "assign {id}", "C"),
            (Action::AssignDevice, "end {id}", "U"),
            (Action::AssignDevice, "get assignment {id}", "R"),
            (Action::RetractReadings, "create {id}", "C"),
            (Action::RetractReadings, "end {id}", "U"),
            (Action::ReadTimeline, "list retractions", "R"),
            (Action::ManageDevices, "assignments of {id}", "R"),
            (Action::ManageDevices, "rotate {id}", "U"),
            (Action::RegisterDevices, "create {id}", "C"),
            (Action::RegisterDevices, "retire {id}", "U"),
            (Action::OpenBreakGlass, "life-threat", "C"),
            (Action::OpenBreakGlass, "life-threat {id}", "C"),
            (Action::ReviewBreakGlass, "list", "R"),
            (Action::ReviewBreakGlass, "{id} justified", "U"),
            (Action::ExplainAccess, "{id}", "R"),
            (Action::SendReadings, "claim", "E"),
            (Action::SendReadings, "renew", "E"),
            (Action::SendReadings, "report", "U"),
            (Action::SendReadings, "report {id}", "U"),
            (Action::ReplayQuarantined, "readings.v1/0/7", "E"),
            (Action::GetQuarantined, "readings.v1/0/7", "R"),
            (Action::SubmitJobs, "train", "C"),
            (Action::SubmitJobs, "cancel {id}", "E"),
            (Action::SubmitJobs, "train {id}", "C"),
            (Action::ManageJobs, "clear {id}", "D"),
            (Action::ManageData, "delete version", "D"),
            (Action::ManageData, "delete version {id}", "D"),
            (Action::ManageData, "set current version", "U"),
            (Action::ManageData, "upload {id}", "C"),
        ] {
            let detail = detail.replace("{id}", id);
            assert_eq!(Interaction::of(action.name(), &detail).code(), code, "{} {detail}", action.name());
        }
    }

    #[test]
    fn to_log_in_is_to_execute() {
        assert_eq!(Interaction::of("login", "wardline.telemetry.v1.TimelineService"), Interaction::Execute);
    }
}
