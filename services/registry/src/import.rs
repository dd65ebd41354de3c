//! Many people or devices at once, as CSV: each row is taken or refused by itself, and the answer says which.

use crate::{
    Registry,
    access::person,
    check,
    devices::{IN_A_FILE, new_device},
    roles::{granted, may_give},
    table::{At, Columns, Table},
    users::new_person,
    writing::{Profile, free},
};
use directory::{
    Directory,
    registry::{self as kept, CHANGES_MAX, Change, Draft},
};
use guard::errors;
use model::{
    PatientId, UserId,
    access::{Action, Principal, decide_system},
};
use prost::Message;
use proto::registry::v1::{
    ClaimCode, Contact, Device, ImportDevicesRequest, ImportDevicesResponse, ImportUsersRequest, ImportUsersResponse,
    Person, RefusedRow, User,
};
use tonic::Status;
use tonic_types::StatusExt;
use uuid::Uuid;

/// Of people: as `wardline users list` prints them, and what it does not print.
const PEOPLE: Columns = Columns {
    taken: &[
        ("user_id", "user"),
        ("patient_id", "patient"),
        ("ward", "ward"),
        ("name", "name"),
        ("birth_date", "birth_date"),
        ("role", "role"),
        ("address", "address"),
        ("phone", "phone"),
        ("email", "email"),
        ("county", "county"),
        ("suspended", "suspended"),
    ],
    skipped: &["updated", "by"],
};
/// Of devices, likewise.
const DEVICES: Columns = Columns {
    taken: &[("device_id", "device"), ("name", "name"), ("mac", "mac"), ("model", "model"), ("mdc_type", "mdc_type")],
    skipped: &["status", "firmware", "last_seen", "claim_code"],
};
/// Refused rows that are named, and the longest reason.
const NAMED_MAX: usize = 20;
const REASON_BYTES_MAX: usize = 500;
/// Rows in one change of the registry; a row of people makes two at most.
const ROWS_AT_ONCE: usize = CHANGES_MAX / 2;
/// Errors after which nothing of a change is in force; after any other that is not known.
const NOTHING_PUT: [&str; 3] = ["REGISTRY_BUSY", "NO_SPACE", "AUDIT_UNAVAILABLE"];

/// A row that can be taken, as far as it alone shows.
struct Row {
    at: At,
    changes: Vec<Change>,
    /// Its id, and what the answer says of it.
    id: Uuid,
    claim_code: String,
    /// What is to be kept of a person.
    user: Option<User>,
}

impl Row {
    fn patient(&self) -> Option<PatientId> {
        match self.changes.first()? {
            Change::User(kept) => kept.patient.map(PatientId::new),
            _ => None,
        }
    }

    fn grant(&self) -> Option<&kept::Grant> {
        self.changes.iter().find_map(|change| match change {
            Change::Grant(grant) => Some(grant),
            _ => None,
        })
    }

    fn profile(&self) -> Option<Profile<'_>> {
        match (self.changes.first()?, &self.user) {
            (Change::User(kept), Some(user)) => Some(Profile { kept, encoded: user.encode_to_vec().into() }),
            _ => None,
        }
    }
}

impl Registry {
    pub(crate) async fn import_users(
        &self,
        caller: &Principal,
        request: ImportUsersRequest,
    ) -> Result<ImportUsersResponse, Status> {
        let table = Table::read(&request.csv, &PEOPLE)?;
        self.decisions
            .on_system(caller, Action::ManageUsers, None)
            .recorded(&format!("import {} rows", table.rows.len()))
            .await?;
        let grants = decide_system(caller, Action::ManageRoles, self.decisions.now()).is_ok();
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        for (at, cells) in &table.rows {
            match self.user_row(caller, &table, cells, grants) {
                Ok((kept, user, grant)) => rows.push(Row {
                    at: *at,
                    id: kept.id,
                    claim_code: String::new(),
                    user: Some(user),
                    changes: [Change::User(kept)].into_iter().chain(grant.map(Change::Grant)).collect(),
                }),
                Err(why) => refused.push(refusal(*at, &why)),
            }
        }
        let taken = self.take(caller, Action::ManageUsers, rows, &mut refused).await?;
        let user_ids: Vec<_> = taken.iter().map(|(id, _)| id.to_string()).collect();
        let refused_more = cut(&mut refused);
        Ok(ImportUsersResponse { imported: user_ids.len() as i32, refused, user_ids, refused_more })
    }

    fn user_row(
        &self,
        caller: &Principal,
        table: &Table,
        cells: &[String],
        grants: bool,
    ) -> Result<(kept::User, User, Option<kept::Grant>), Status> {
        table.check(cells)?;
        let cell = |column| table.cell(cells, column);
        check::name("name", &cell("name"), 200)?;
        let id = check::id_or_new("user_id", &cell("user_id"))?;
        let [address, phone, email, county] = ["address", "phone", "email", "county"].map(|column| Some(cell(column)));
        let contact = Contact { address, phone, email, county, ..Contact::default() };
        let user = User {
            patient_id: Some(cell("patient_id")),
            ward: Some(cell("ward")),
            suspended: Some(yes_or_no("suspended", &cell("suspended"))?),
            person: Some(Person { name: Some(cell("name")), birth_date: Some(cell("birth_date")) }),
            contact: Some(contact),
            ..User::default()
        };
        let checked = self.checked(&user)?;
        let role = cell("role");
        let grant =
            (!role.is_empty()).then(|| kept::Grant { id: Uuid::new_v4(), user: id, role, ward: None, study: None });
        if let Some(grant) = &grant {
            if !grants {
                return Err(check::bad("role", "empty: you may not grant roles"));
            }
            may_give(&self.decisions.directory(), person(caller)?, grant)?;
        }
        Ok((new_person(id, &user, checked), user, grant))
    }

    pub(crate) async fn import_devices(
        &self,
        caller: &Principal,
        request: ImportDevicesRequest,
    ) -> Result<ImportDevicesResponse, Status> {
        let table = Table::read(&request.csv, &DEVICES)?;
        self.fleet(caller, &format!("import {} rows", table.rows.len())).await?;
        let by = person(caller)?.uuid();
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        for (at, cells) in &table.rows {
            let cell = |column| table.cell(cells, column);
            let device = Device {
                device_id: cell("device_id"),
                name: Some(cell("name")),
                mac: Some(cell("mac")),
                model: Some(cell("model")),
                mdc_type: Some(cell("mdc_type")),
                ..Device::default()
            };
            match table.check(cells).and_then(|()| new_device(&device, by)) {
                Ok((device, claim_code)) => {
                    rows.push(Row {
                        at: *at,
                        id: device.id,
                        changes: vec![Change::Device(device)],
                        claim_code,
                        user: None,
                    });
                }
                Err(why) => refused.push(refusal(*at, &why)),
            }
        }
        let taken = self.take(caller, self.fleet_action(caller), rows, &mut refused).await?;
        let code = |(id, claim_code): (Uuid, String)| ClaimCode { device_id: id.to_string(), claim_code };
        let claim_codes: Vec<_> = taken.into_iter().map(code).collect();
        let refused_more = cut(&mut refused);
        Ok(ImportDevicesResponse { imported: claim_codes.len() as i32, refused, claim_codes, refused_more })
    }

    /// Takes the rows that fit what is there and each other, part by part; the others are refused, and so is what is left when a
    /// part cannot be put: those before it are in force, and only this answer has their ids and claim codes, which it returns.
    ///
    /// # Errors
    /// Why the first part could not be put.
    async fn take(
        &self,
        caller: &Principal,
        action: Action,
        rows: Vec<Row>,
        refused: &mut Vec<RefusedRow>,
    ) -> Result<Vec<(Uuid, String)>, Status> {
        // a row that is refused is not written down as done; what others change in between can only refuse more of them
        let (directory, mut draft) = self.draft(Some(caller.subject)).await?;
        let (fit, not) = fitting(&directory, &mut draft, &rows);
        refused.extend(not);
        let (mut taken, mut rest, mut ended_at) = (Vec::with_capacity(fit.len()), &fit[..], None);
        while let Some(first) = rest.first() {
            let (part, later) = rest.split_at(rest.len().min(ROWS_AT_ONCE));
            match self.take_part(caller, action, part).await {
                Ok((fit, not)) => {
                    taken.extend(fit.into_iter().map(|row| (row.id, row.claim_code.clone())));
                    refused.extend(not);
                    rest = later;
                }
                Err(why) if rest.len() == fit.len() => return Err(why),
                Err(why) => {
                    refused.extend(left(part, later, &why));
                    ended_at = Some(first.at.row);
                    break;
                }
            }
        }
        refused.sort_by_key(|row| row.row);
        // it is named in any case, for it tells of all after it
        let ended_at = ended_at.and_then(|at| refused.iter().position(|row| row.row == at));
        if let Some(place) = ended_at.filter(|place| *place >= NAMED_MAX) {
            refused.swap(NAMED_MAX - 1, place);
        }
        Ok(taken)
    }

    /// Writes down that these rows are taken, with what they grant, and puts them: those that still fit, and why not the others.
    async fn take_part<'a>(
        &self,
        caller: &Principal,
        action: Action,
        part: &[&'a Row],
    ) -> Result<(Vec<&'a Row>, Vec<RefusedRow>), Status> {
        let things: Vec<_> = part.iter().map(|row| (row.patient(), format!("import {}", row.id))).collect();
        self.decisions.each(caller, (action, None), things).await?;
        let grants = part.iter().filter_map(|row| row.grant());
        let grants: Vec<_> = grants.map(|grant| (None, granted(grant.id, &grant.role, grant.user))).collect();
        self.decisions.each(caller, (Action::ManageRoles, None), grants).await?;
        let decide = |directory: &Directory, draft: &mut Draft| {
            let (fit, not) = fitting(directory, draft, part.iter().copied());
            let profiles = fit.iter().filter_map(|row| row.profile()).collect();
            Ok(((fit, not), profiles))
        };
        self.put(Some(caller.subject), decide).await
    }
}

/// Adds the rows to a draft that fit what is there and each other: these, and why not the others.
fn fitting<'a>(
    directory: &Directory,
    draft: &mut Draft,
    rows: impl IntoIterator<Item = &'a Row>,
) -> (Vec<&'a Row>, Vec<RefusedRow>) {
    let (mut fit, mut not) = (Vec::new(), Vec::new());
    for row in rows {
        let state = draft.state();
        if directory.knows(UserId::new(row.id)) || state.device(&row.id).is_some() || state.user(&row.id).is_some() {
            let column = if row.user.is_some() { "user_id" } else { "device_id" };
            not.push(refused_row(row.at, column, "this id is taken"));
            continue;
        }
        if row.user.is_none() && directory.is_in_files(row.id) {
            not.push(refused_row(row.at, "device_id", IN_A_FILE));
            continue;
        }
        let is_free = match row.changes.first() {
            Some(Change::User(user)) => free(directory, user),
            _ => Ok(()),
        };
        match is_free.and_then(|()| draft.add(row.changes.iter().cloned())) {
            Ok(()) => fit.push(row),
            Err(why) => not.push(refusal(row.at, &errors::change(&why))),
        }
    }
    (fit, not)
}

/// Refuses the rows of a part that could not be put, and those after it: each says what holds of it and of those that follow, for
/// not all are named.
fn left(part: &[&Row], later: &[&Row], why: &Status) -> Vec<RefusedRow> {
    let reason = why.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    let is_known = NOTHING_PUT.contains(&reason.as_str());
    let row_of = |row: Option<&&Row>| row.map_or(0, |row| row.at.row);
    let (part_end, end) = (row_of(part.last()), row_of(later.last().or(part.last())));
    let these = |at: At, end: i32| match end - at.row {
        0 => "this row".to_owned(),
        n => format!("this row and the next {n}"),
    };
    let not_put = |at: At| format!("not in force: {}; send these rows again", these(at, end));
    let perhaps = |at: At| {
        let after = match end - part_end {
            0 => String::new(),
            n => format!("; not in force: the {n} after these, which are to be sent again"),
        };
        let these = these(at, part_end);
        format!("perhaps in force: {these}; look for these rows before you send them again{after}")
    };
    let refused = |at: At, advice: String| {
        let row = refusal(at, why);
        refused_row(at, &row.field, &format!("{advice} ({})", row.reason))
    };
    let of_part = part.iter().map(|row| refused(row.at, if is_known { not_put(row.at) } else { perhaps(row.at) }));
    of_part.chain(later.iter().map(|row| refused(row.at, not_put(row.at)))).collect()
}

/// As a list prints it, or as JSON does; nothing is no.
fn yes_or_no(field: &str, text: &str) -> Result<bool, Status> {
    match text {
        "yes" | "true" => Ok(true),
        "" | "no" | "false" => Ok(false),
        _ => Err(check::bad(field, "yes, no or nothing")),
    }
}

/// Leaves as many as are named; how many there were besides.
fn cut(refused: &mut Vec<RefusedRow>) -> i32 {
    let more = refused.len().saturating_sub(NAMED_MAX);
    refused.truncate(NAMED_MAX);
    // at most as many as there are rows
    more as i32
}

/// A cell may be in the reason, and a cell may be long.
fn refused_row(at: At, field: &str, reason: &str) -> RefusedRow {
    let shown = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    RefusedRow { row: at.row, field: field.to_owned(), reason: shown.to_owned(), line: at.line }
}

/// Why a row was not taken, in the words of the request for one.
fn refusal(at: At, why: &Status) -> RefusedRow {
    let violations = why.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let field = violations.first().map(|violation| violation.field.clone()).unwrap_or_default();
    let field = match field.rsplit('.').next().unwrap_or_default() {
        "role_id" => "role",
        column => column,
    };
    let reason = violations.first().map_or(why.message(), |violation| violation.description.as_str());
    refused_row(at, field, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_refused_rows_are_named_and_a_long_cell_is_not_said_again_in_full() {
        let mut refused: Vec<_> =
            (1..=5_000).map(|row| refused_row(At { row, line: row + 1 }, "role", &"é".repeat(1_000))).collect();
        assert_eq!((cut(&mut refused), refused.len(), refused[19].row), (4_980, 20, 20));
        assert_eq!(refused[0].reason.len(), REASON_BYTES_MAX);
        assert_eq!((cut(&mut refused), refused.len()), (0, 20));
    }
}
