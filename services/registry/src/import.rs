//! Many people or devices at once, as CSV: each row is taken or refused by itself, and the answer says which.

use crate::{
    Registry, access::person, check, devices::new_device, roles::may_give, users::new_person, writing::Profile,
};
use directory::{
    Directory,
    registry::{self as kept, CHANGES_MAX, Change, Draft},
};
use guard::errors;
use model::{
    UserId,
    access::{Action, Principal, decide_system},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        ClaimCode, Contact, Device, ImportDevicesRequest, ImportDevicesResponse, ImportUsersRequest,
        ImportUsersResponse, Person, RefusedRow, User,
    },
};
use tonic::Status;
use tonic_types::StatusExt;
use uuid::Uuid;

const ROWS_MAX: usize = 5_000;
/// Refused rows that are named, and the longest reason.
const NAMED_MAX: usize = 20;
const REASON_BYTES_MAX: usize = 500;
/// Rows in one change of the registry; a row of people makes two at most.
const ROWS_AT_ONCE: usize = CHANGES_MAX / 2;

/// A row that can be taken, as far as it alone shows.
struct Row {
    number: i32,
    changes: Vec<Change>,
    /// Its id, and what the answer says of it.
    id: Uuid,
    claim_code: String,
    /// What is to be kept of a person.
    user: Option<User>,
}

impl Row {
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
        let known = ["user_id", "patient_id", "ward", "name", "birth_date", "role", "address", "phone", "email"];
        let table = Table::read(&request.csv, &known)?;
        self.decisions
            .on_system(caller, Action::ManageUsers, None)
            .recorded(&format!("import {} rows", table.rows.len()))
            .await?;
        let grants = decide_system(caller, Action::ManageRoles, self.decisions.now()).is_ok();
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        for (number, cells) in (1..).zip(&table.rows) {
            match self.user_row(caller, &table, cells, grants) {
                Ok((kept, user, grant)) => rows.push(Row {
                    number,
                    id: kept.id,
                    claim_code: String::new(),
                    user: Some(user),
                    changes: [Change::User(kept)].into_iter().chain(grant.map(Change::Grant)).collect(),
                }),
                Err(why) => refused.push(refusal(number, &why)),
            }
        }
        let taken = self.take(caller, rows, &mut refused).await?;
        let user_ids: Vec<_> = taken.iter().map(|(id, _)| id.to_string()).collect();
        let refused_more = cut(&mut refused);
        Ok(ImportUsersResponse { imported: user_ids.len() as i32, refused, user_ids, refused_more })
    }

    fn user_row(
        &self,
        caller: &Principal,
        table: &Table,
        cells: &csv::StringRecord,
        grants: bool,
    ) -> Result<(kept::User, User, Option<kept::Grant>), Status> {
        let cell = |column| table.cell(cells, column);
        check::name("name", &cell("name"), 200)?;
        let id = check::id_or_new("user_id", &cell("user_id"))?;
        let [address, phone, email] = ["address", "phone", "email"].map(|column| Some(cell(column)));
        let contact = Contact { address, phone, email, ..Contact::default() };
        let user = User {
            patient_id: Some(cell("patient_id")),
            ward: Some(cell("ward")),
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
        let table = Table::read(&request.csv, &["device_id", "name", "mac", "model", "mdc_type"])?;
        self.fleet(caller, &format!("import {} rows", table.rows.len())).await?;
        let by = person(caller)?.uuid();
        let (mut rows, mut refused) = (Vec::new(), Vec::new());
        for (number, cells) in (1..).zip(&table.rows) {
            let cell = |column| table.cell(cells, column);
            let device = Device {
                device_id: cell("device_id"),
                name: Some(cell("name")),
                mac: Some(cell("mac")),
                model: Some(cell("model")),
                mdc_type: Some(cell("mdc_type")),
                ..Device::default()
            };
            match new_device(&device, by) {
                Ok((device, claim_code)) => {
                    rows.push(Row {
                        number,
                        id: device.id,
                        changes: vec![Change::Device(device)],
                        claim_code,
                        user: None,
                    });
                }
                Err(why) => refused.push(refusal(number, &why)),
            }
        }
        let taken = self.take(caller, rows, &mut refused).await?;
        let code = |(id, claim_code): (Uuid, String)| ClaimCode { device_id: id.to_string(), claim_code };
        let claim_codes: Vec<_> = taken.into_iter().map(code).collect();
        let refused_more = cut(&mut refused);
        Ok(ImportDevicesResponse { imported: claim_codes.len() as i32, refused, claim_codes, refused_more })
    }

    /// Takes the rows that fit what is there and each other; the others are refused. Returns ids and claim codes.
    async fn take(
        &self,
        caller: &Principal,
        rows: Vec<Row>,
        refused: &mut Vec<RefusedRow>,
    ) -> Result<Vec<(Uuid, String)>, Status> {
        let mut taken = Vec::with_capacity(rows.len());
        for some in rows.chunks(ROWS_AT_ONCE) {
            let decide = |directory: &Directory, draft: &mut Draft| {
                let (fit, not) = fitting(directory, draft, some);
                let profiles = fit.iter().filter_map(|row| row.profile()).collect();
                Ok(((fit, not), profiles))
            };
            let (fit, not) = self.put(Some(caller.subject), decide).await?;
            taken.extend(fit.into_iter().map(|row| (row.id, row.claim_code.clone())));
            refused.extend(not);
        }
        refused.sort_by_key(|row| row.row);
        Ok(taken)
    }
}

/// Adds the rows to a draft that fit what is there and each other: these, and why not the others.
fn fitting<'a>(directory: &Directory, draft: &mut Draft, rows: &'a [Row]) -> (Vec<&'a Row>, Vec<RefusedRow>) {
    let (mut fit, mut not) = (Vec::new(), Vec::new());
    for row in rows {
        let state = draft.state();
        if directory.knows(UserId::new(row.id)) || state.device(&row.id).is_some() || state.user(&row.id).is_some() {
            not.push(refused_row(row.number, "id", "this id is taken"));
            continue;
        }
        match draft.add(row.changes.iter().cloned()) {
            Ok(()) => fit.push(row),
            Err(why) => not.push(refusal(row.number, &errors::change(&why))),
        }
    }
    (fit, not)
}

/// CSV with a heading.
struct Table {
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    fn read(text: &str, known: &[&str]) -> Result<Self, Status> {
        let wrong = |what: String| problem::invalid("INVALID_CSV", "csv", what);
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
        let heading = reader.headers().map_err(|error| wrong(error.to_string()))?;
        let columns: Vec<_> = heading.iter().map(|column| column.trim().to_owned()).collect();
        let unknown = columns.iter().find(|column| !known.contains(&column.as_str()));
        let twice = columns.iter().enumerate().any(|(place, column)| columns[..place].contains(column));
        if unknown.is_some() || twice || !columns.iter().any(|column| column == "name") {
            return Err(wrong(format!("the heading must have `name` and, each once, any of {}", known.join(", "))));
        }
        let rows: Vec<_> = reader.records().collect::<Result<_, _>>().map_err(|error| {
            // the error's own text could show a cell
            let line = error.position().map_or(0, csv::Position::line);
            wrong(format!("line {line} is not CSV in UTF-8"))
        })?;
        if rows.len() > ROWS_MAX {
            return Err(wrong(format!("{} rows; send at most {ROWS_MAX} at once", rows.len())));
        }
        Ok(Self { columns, rows })
    }

    fn cell(&self, row: &csv::StringRecord, column: &str) -> String {
        let place = self.columns.iter().position(|one| one == column);
        place.and_then(|place| row.get(place)).unwrap_or_default().trim().to_owned()
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
fn refused_row(row: i32, field: &str, reason: &str) -> RefusedRow {
    let shown = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
    RefusedRow { row, field: field.to_owned(), reason: shown.to_owned() }
}

/// Why a row was not taken, in the words of the request for one.
fn refusal(row: i32, why: &Status) -> RefusedRow {
    let violations = why.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
    let field = violations.first().map(|violation| violation.field.clone()).unwrap_or_default();
    let field = match field.rsplit('.').next().unwrap_or_default() {
        "role_id" => "role",
        column => column,
    };
    let reason = violations.first().map_or(why.message(), |violation| violation.description.as_str());
    refused_row(row, field, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_refused_rows_are_named_and_a_long_cell_is_not_said_again_in_full() {
        let mut refused: Vec<_> = (1..=5_000).map(|row| refused_row(row, "role", &"é".repeat(1_000))).collect();
        assert_eq!((cut(&mut refused), refused.len(), refused[19].row), (4_980, 20, 20));
        assert_eq!(refused[0].reason.len(), REASON_BYTES_MAX);
        assert_eq!((cut(&mut refused), refused.len()), (0, 20));
    }
}
