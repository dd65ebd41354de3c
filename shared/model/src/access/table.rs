//! The policy as a table that a clinician or an auditor can read: what the seeded roles may do, asked of the policy itself.

use super::{About, Action, Facts, Permission, Principal, Purpose, ROLES, Relation, RelationKind, SeededRole, Subject};
use crate::{
    id::{DeviceId, PatientId, UserId},
    time::Nanos,
};
use std::fmt::Write;

const NOW: Nanos = Nanos(0);
const HEAD: &str = "\
What a role may do, through which relation to the patient, and for which purpose (codes of HL7 v3 PurposeOfUse).
A dash: the patient does not exist for that person. The token must be alive, its scope must not leave the permission out,
a role granted for a ward or a study reaches its patients only, and what a patient barred is not shown, except to the patient
and, unless that bars the purpose ETREAT, the person or the kind, to who declared an emergency.
";

/// All roles and actions, and what devices may do.
pub fn table() -> String {
    let mut text = HEAD.to_owned();
    let user = Subject::User(UserId::from_bytes([1; 16]));
    let device = DeviceId::from_bytes([1; 16]);
    for role in &ROLES {
        let principal = Principal::everywhere(user, role.permissions, Nanos::MAX);
        add(&mut text, role, &principal, device);
    }
    let principal = Principal::everywhere(Subject::Device(device), &[Action::SendReadings.needs()], Nanos::MAX);
    add(
        &mut text,
        &SeededRole { id: "a device", category: "device", permissions: &[], may_grant: &[] },
        &principal,
        device,
    );
    text
}

fn add(text: &mut String, role: &SeededRole, principal: &Principal, device: DeviceId) {
    // writing to a string cannot fail
    let _ = writeln!(text, "\n{} ({})", role.id, role.category);
    let row =
        |cells: [&str; RelationKind::ALL.len()]| cells.map(|cell| format!("{cell:<14}")).concat().trim_end().to_owned();
    let cells = |action: Action| match action.about() {
        About::Patient => {
            super::granted(principal, action, NOW).ok()?;
            let cells = RelationKind::ALL.map(|kind| purposes(principal, action, kind));
            Some(row(cells.each_ref().map(String::as_str)))
        }
        About::Device => super::decide_write(principal, device, NOW).ok().map(|_| "as itself only".to_owned()),
        About::System => {
            super::decide_system(principal, action, NOW).ok().map(|()| "when granted everywhere".to_owned())
        }
    };
    let lines: Vec<_> = Action::ALL.into_iter().filter_map(|action| Some((action, cells(action)?))).collect();
    if lines.iter().any(|(action, _)| action.about() == About::Patient) {
        let _ = writeln!(text, "  {:<20}{}", "", row(RelationKind::ALL.map(RelationKind::name)));
    }
    for (action, cells) in &lines {
        let _ = writeln!(text, "  {:<20}{cells}", action.name());
    }
    if !role.may_grant.is_empty() {
        let all = role.may_grant.len() == Permission::ALL.len();
        let names: Vec<_> = role.may_grant.iter().map(|permission| permission.name()).collect();
        let names = if all { "every permission".to_owned() } else { names.join(" ") };
        let _ = writeln!(text, "  {:<20}{names}", "may grant to others");
    }
    if lines.is_empty() {
        let _ = writeln!(text, "  nothing yet");
    }
}

/// The purposes for which one relation opens an action.
fn purposes(principal: &Principal, action: Action, kind: RelationKind) -> String {
    let relation = Relation { kind, from: Nanos::MIN, to: Nanos::MAX };
    let facts = Facts { relations: vec![relation], ..Facts::default() };
    let opens = |purpose: &Purpose| {
        let principal = Principal { purpose: Some(*purpose), ..principal.clone() };
        super::decide(&principal, action, PatientId::from_bytes([2; 16]), &facts, NOW).is_ok()
    };
    let codes: Vec<_> = Purpose::ALL.iter().filter(|purpose| opens(purpose)).map(|purpose| purpose.code()).collect();
    if codes.is_empty() { "-".to_owned() } else { codes.join(" ") }
}
