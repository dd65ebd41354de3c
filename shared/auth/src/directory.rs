//! The directory: roles, people, wards, care teams, devices and whom each device is assigned to, from when to when.
//!
//! For now it is read from a folder of TOML files, merged:
//!
//! ```toml
//! [[role]]        # name, permissions ("readings.read", ...); beside those of `model::access::ROLES`
//! [[user]]        # id, name, roles (held everywhere), patient (when the person is one)
//! [[grant]]       # user, role, ward: a role held in one ward
//! [[patient]]     # id, ward
//! [[care_team]]   # user, ward or patient, from, to (RFC 3339, both optional, half-open)
//! [[proxy]]       # user, patient, from, to: who acts for the patient
//! [[study]]       # user, patient, from, to: in whose study the patient takes part
//! [[consent]]     # patient, bars ("anyone", a user's id, "care-team", ...), purpose ("TREAT", ...; none: any), from, to
//! [[device]]      # id, model
//! [[assignment]]  # device, patient, from, to
//! ```

use crate::{Error, Identity};
use model::{
    DeviceId, Nanos, PatientId, UserId,
    access::{
        Barred, Consent, Facts, Grant, Permission, Principal, Purpose, ROLES, Relation, RelationKind, Scope, Subject,
    },
};
use serde::Deserialize;
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, RwLock},
    time::SystemTime,
};

/// A device's assignment to a patient, for a time (half-open).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assignment {
    /// Whose readings they are.
    pub patient: PatientId,
    /// First instant.
    pub from: Nanos,
    /// First instant after.
    pub to: Nanos,
}

/// What is known of people and devices, at one moment.
#[derive(Debug)]
pub struct Directory {
    roles: HashMap<String, Vec<Permission>>,
    /// Which roles, and where.
    users: HashMap<UserId, Vec<(String, Scope)>>,
    myself: HashMap<UserId, PatientId>,
    wards: HashMap<PatientId, Arc<str>>,
    ward_staff: HashMap<(UserId, Arc<str>), Vec<Relation>>,
    relations: HashMap<(UserId, PatientId), Vec<Relation>>,
    consents: HashMap<PatientId, Vec<Consent>>,
    devices: HashSet<DeviceId>,
    assignments: HashMap<DeviceId, Vec<Assignment>>,
}

impl Default for Directory {
    /// Nobody, and the roles that are there from the start.
    fn default() -> Self {
        Self {
            roles: ROLES.iter().map(|role| (role.id.to_owned(), role.permissions.to_vec())).collect(),
            users: HashMap::new(),
            myself: HashMap::new(),
            wards: HashMap::new(),
            ward_staff: HashMap::new(),
            relations: HashMap::new(),
            consents: HashMap::new(),
            devices: HashSet::new(),
            assignments: HashMap::new(),
        }
    }
}

impl Directory {
    /// Reads all `*.toml` files of a folder, in the order of their names. No folder: an empty directory.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let mut directory = Self::default();
        for path in files(dir)? {
            let text = fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
            directory.add(&path.display().to_string(), &text)?;
        }
        Ok(directory)
    }

    /// Adds the tables of one file.
    pub fn add(&mut self, file: &str, text: &str) -> Result<(), Error> {
        let wrong = |what: String| Error::Directory { file: file.to_owned(), what };
        let tables: Tables = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for role in tables.role {
            let permission = |name: &String| {
                Permission::from_name(name).ok_or_else(|| {
                    let known: Vec<_> = Permission::ALL.iter().map(|p| p.name()).collect();
                    wrong(format!("role {}: permission {name:?} is none of {}", role.name, known.join(", ")))
                })
            };
            let permissions = role.permissions.iter().map(permission).collect::<Result<_, _>>()?;
            self.roles.insert(role.name.clone(), permissions);
        }
        for user in tables.user {
            let id = UserId::new(user.id);
            self.users.entry(id).or_default().extend(user.roles.into_iter().map(|role| (role, Scope::Everywhere)));
            if let Some(patient) = user.patient {
                self.myself.insert(id, PatientId::new(patient));
            }
        }
        for grant in tables.grant {
            let scope = Scope::Ward(grant.ward.into());
            self.users.entry(UserId::new(grant.user)).or_default().push((grant.role, scope));
        }
        for patient in tables.patient {
            self.wards.insert(PatientId::new(patient.id), patient.ward.into());
        }
        for team in tables.care_team {
            let (from, to) = span(&team.from, &team.to).map_err(&wrong)?;
            let user = UserId::new(team.user);
            match (team.ward, team.patient) {
                (Some(ward), None) => {
                    let relation = Relation { kind: RelationKind::WardStaff, from, to };
                    self.ward_staff.entry((user, ward.into())).or_default().push(relation);
                }
                (None, Some(patient)) => {
                    let relation = Relation { kind: RelationKind::CareTeam, from, to };
                    self.relations.entry((user, PatientId::new(patient))).or_default().push(relation);
                }
                _ => return Err(wrong("care_team: give either ward or patient".to_owned())),
            }
        }
        let ties = tables.proxy.into_iter().map(|tie| (RelationKind::Proxy, tie));
        for (kind, tie) in ties.chain(tables.study.into_iter().map(|tie| (RelationKind::Study, tie))) {
            let (from, to) = span(&tie.from, &tie.to).map_err(&wrong)?;
            let between = (UserId::new(tie.user), PatientId::new(tie.patient));
            self.relations.entry(between).or_default().push(Relation { kind, from, to });
        }
        for consent in tables.consent {
            let patient = PatientId::new(consent.patient);
            self.consents.entry(patient).or_default().push(consent.read().map_err(&wrong)?);
        }
        self.devices.extend(tables.device.iter().map(|d| DeviceId::new(d.id)));
        for row in tables.assignment {
            let (from, to) = span(&row.from, &row.to).map_err(&wrong)?;
            let held = self.assignments.entry(DeviceId::new(row.device)).or_default();
            if held.iter().any(|a| a.from < to && from < a.to) {
                return Err(wrong(format!("assignment: device {} has another patient in that time", row.device)));
            }
            held.push(Assignment { patient: PatientId::new(row.patient), from, to });
            held.sort_by_key(|a| a.from);
        }
        Ok(())
    }

    /// The principal for a token: what all its roles grant, as far as the token's scope leaves it. A device may write, a
    /// person what the roles say.
    pub fn principal(&self, identity: &Identity, purpose: Option<Purpose>) -> Principal {
        let mut grants = match identity.subject {
            Subject::Device(_) => vec![Grant { permission: Permission::WriteReadings, scope: Scope::Everywhere }],
            Subject::User(user) => {
                let roles = self.users.get(&user).into_iter().flatten();
                let grants = roles.filter_map(|(role, scope)| Some((self.roles.get(role)?, scope)));
                let grant =
                    |permission: &Permission, scope: &Scope| Grant { permission: *permission, scope: scope.clone() };
                grants.flat_map(|(permissions, scope)| permissions.iter().map(move |p| grant(p, scope))).collect()
            }
        };
        if let Some(scope) = &identity.scope {
            grants.retain(|grant| scope.contains(&grant.permission));
        }
        Principal { subject: identity.subject, grants, purpose, expires_at: identity.expires_at }
    }

    /// What matters of a patient to a principal, at any time.
    pub fn facts(&self, principal: &Principal, patient: PatientId) -> Facts {
        let ward = self.wards.get(&patient).cloned();
        let mut relations = Vec::new();
        if let Subject::User(user) = principal.subject {
            if self.myself.get(&user) == Some(&patient) {
                relations.push(Relation { kind: RelationKind::Myself, from: Nanos::MIN, to: Nanos::MAX });
            }
            relations.extend(self.relations.get(&(user, patient)).into_iter().flatten());
            if let Some(ward) = &ward {
                relations.extend(self.ward_staff.get(&(user, Arc::clone(ward))).into_iter().flatten());
            }
        }
        Facts { ward, relations, consents: self.consents.get(&patient).cloned().unwrap_or_default() }
    }

    /// A device's assignments, ascending by time and without overlap; `None` when the device is not registered.
    pub fn assignments(&self, device: DeviceId) -> Option<&[Assignment]> {
        if !self.devices.contains(&device) {
            return None;
        }
        Some(self.assignments.get(&device).map_or(&[], Vec::as_slice))
    }
}

/// The directory of a running process: cheap to read, replaced as a whole when the files change.
#[derive(Clone)]
pub struct Shared {
    dir: PathBuf,
    state: Arc<RwLock<State>>,
}

struct State {
    directory: Arc<Directory>,
    seen: Vec<(PathBuf, Option<SystemTime>, u64)>,
}

impl Shared {
    /// Reads the folder for the first time.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let seen = fingerprint(dir)?;
        let directory = Arc::new(Directory::read(dir)?);
        Ok(Self { dir: dir.to_owned(), state: Arc::new(RwLock::new(State { directory, seen })) })
    }

    /// The directory as it is now.
    pub fn get(&self) -> Arc<Directory> {
        let state = self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&state.directory)
    }

    /// Reads the folder again if a file changed; says whether it did. On an error the old directory stays.
    pub fn refresh(&self) -> Result<bool, Error> {
        let now = fingerprint(&self.dir)?;
        if now == self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner).seen {
            return Ok(false);
        }
        let directory = Arc::new(Directory::read(&self.dir)?);
        *self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner) = State { directory, seen: now };
        Ok(true)
    }
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::File { path: dir.to_owned(), source }),
    };
    let paths = entries.map(|entry| entry.map(|e| e.path()));
    let mut paths: Vec<_> =
        paths.collect::<Result<_, _>>().map_err(|source| Error::File { path: dir.to_owned(), source })?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    Ok(paths)
}

fn fingerprint(dir: &Path) -> Result<Vec<(PathBuf, Option<SystemTime>, u64)>, Error> {
    let stat = |path: PathBuf| match fs::metadata(&path) {
        Ok(meta) => (path, meta.modified().ok(), meta.len()),
        Err(_) => (path, None, 0),
    };
    Ok(files(dir)?.into_iter().map(stat).collect())
}

fn span(from: &Option<String>, to: &Option<String>) -> Result<(Nanos, Nanos), String> {
    let instant = |text: &Option<String>, open: Nanos| match text {
        None => Ok(open),
        Some(text) => {
            let at: jiff::Timestamp = text.parse().map_err(|_| format!("{text:?} is no RFC 3339 time"))?;
            i64::try_from(at.as_nanosecond()).map(Nanos).map_err(|_| format!("{text:?} lies outside 1678 to 2261"))
        }
    };
    let (from, to) = (instant(from, Nanos::MIN)?, instant(to, Nanos::MAX)?);
    if from < to { Ok((from, to)) } else { Err("from must lie before to".to_owned()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    #[serde(default)]
    role: Vec<Role>,
    #[serde(default)]
    user: Vec<User>,
    #[serde(default)]
    grant: Vec<GrantRow>,
    #[serde(default)]
    patient: Vec<Patient>,
    #[serde(default)]
    proxy: Vec<Tie>,
    #[serde(default)]
    study: Vec<Tie>,
    #[serde(default)]
    consent: Vec<ConsentRow>,
    #[serde(default)]
    care_team: Vec<CareTeam>,
    #[serde(default)]
    device: Vec<Device>,
    #[serde(default)]
    assignment: Vec<AssignmentRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    name: String,
    permissions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    id: uuid::Uuid,
    #[expect(dead_code, reason = "for people who read the file")]
    name: String,
    roles: Vec<String>,
    patient: Option<uuid::Uuid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRow {
    user: uuid::Uuid,
    role: String,
    ward: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tie {
    user: uuid::Uuid,
    patient: uuid::Uuid,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentRow {
    patient: uuid::Uuid,
    bars: String,
    purpose: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl ConsentRow {
    fn read(&self) -> Result<Consent, String> {
        let barred = match (self.bars.as_str(), RelationKind::from_name(&self.bars), self.bars.parse()) {
            ("anyone", ..) => Barred::Anyone,
            (_, Some(kind), _) => Barred::Kind(kind),
            (.., Ok(user)) => Barred::User(UserId::new(user)),
            (text, ..) => {
                let kinds: Vec<_> = RelationKind::ALL.iter().map(|kind| kind.name()).collect();
                return Err(format!(
                    "consent: bars {text:?} is neither anyone, a user's UUID nor {}",
                    kinds.join(", ")
                ));
            }
        };
        let purpose = self.purpose.as_deref().map(|code| {
            let known: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.code()).collect();
            Purpose::from_code(code).ok_or_else(|| format!("consent: purpose {code:?} is none of {}", known.join(", ")))
        });
        let (from, to) = span(&self.from, &self.to)?;
        Ok(Consent { barred, purpose: purpose.transpose()?, from, to })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patient {
    id: uuid::Uuid,
    ward: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CareTeam {
    user: uuid::Uuid,
    ward: Option<String>,
    patient: Option<uuid::Uuid>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: uuid::Uuid,
    #[expect(dead_code, reason = "for people who read the file")]
    model: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignmentRow {
    device: uuid::Uuid,
    patient: uuid::Uuid,
    from: Option<String>,
    to: Option<String>,
}

#[cfg(test)]
mod tests;
