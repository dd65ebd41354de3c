//! The files of the directory: what is set up with a node and not by its registry.
//!
//! A folder of TOML files, merged. What they say is in force beside what the registry says, and cannot be changed through it:
//!
//! ```toml
//! [[role]]        # name, permissions ("readings.read", ...); beside those of `model::access::ROLES`
//! [[user]]        # id, name, roles (held everywhere), patient (when the person is one)
//! [[grant]]       # user, role, ward: a role held in one ward
//! [[patient]]     # id, ward
//! [[care_team]]   # user, ward or patient, from, to (RFC 3339, both optional, half-open)
//! [[proxy]]       # user, patient, from, to: who acts for the patient
//! [[study]]       # user, patient, study ("demo" when it says nothing), from, to: in whose study the patient takes part
//! [[consent]]     # patient, bars ("anyone", a user's id, "care-team", ...), purpose ("TREAT", ...; none: any), from, to
//! [[device]]      # id, model
//! [[assignment]]  # device, patient, from, to
//! ```
//!
//! Roles, wards and studies are written as [`model::word`] says, ids as [`model::uuid`] does, like everywhere.
//!
//! The same relation or consent twice in any of its time is refused, as an assignment is that meets another of its device, and so is
//! a consent that bars nobody. Whether anybody has an id that is named is not asked: it may be of the registry.

use crate::{
    Error,
    links::{Links, Span},
    registry::{Refused, against_consent, at_least_granted, bars_another},
};
use model::{
    DeviceId, Nanos, PatientId, UserId,
    access::{Barred, Consent, Permission, Purpose, RelationKind, Scope},
    quoted,
};
use serde::Deserialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The files of a folder, as they were found: path, time of the last change, length.
pub(super) type Fingerprint = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// Reads all `*.toml` files of a folder, in the order of their names. No folder: nothing.
pub(super) fn read(dir: &Path) -> Result<Links, Error> {
    let mut links = Links::default();
    for path in files(dir)? {
        let text = fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        add(&mut links, &path.display().to_string(), &text)?;
    }
    Ok(links)
}

/// What changes when a file does.
pub(super) fn fingerprint(dir: &Path) -> Result<Fingerprint, Error> {
    let stat = |path: PathBuf| match fs::metadata(&path) {
        Ok(meta) => (path, meta.modified().ok(), meta.len()),
        Err(_) => (path, None, 0),
    };
    Ok(files(dir)?.into_iter().map(stat).collect())
}

/// Adds the tables of one file.
pub(super) fn add(links: &mut Links, file: &str, text: &str) -> Result<(), Error> {
    let wrong = |what: String| Error::Contents { file: file.to_owned(), what };
    let tables: Tables = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
    for role in tables.role {
        let permission = |name: &String| {
            Permission::from_name(name).ok_or_else(|| {
                let known: Vec<_> = Permission::ALL.iter().map(|p| p.name()).collect();
                let (role, name) = (&role.name.0, quoted(name));
                wrong(format!("role {role}: permission {name} is none of {}", known.join(", ")))
            })
        };
        let permissions = role.permissions.iter().map(permission).collect::<Result<_, _>>()?;
        let permissions = at_least_granted(&role.name.0, permissions);
        links.roles.insert(role.name.0, permissions);
    }
    for user in tables.user {
        let id = UserId::new(user.id.0);
        links.users.entry(id).or_default().extend(user.roles.into_iter().map(|role| (role.0, Scope::Everywhere)));
        if let Some(patient) = user.patient.map(|patient| PatientId::new(patient.0)) {
            links.myself.insert(id, patient);
            links.people.insert(patient, id);
        }
    }
    for grant in tables.grant {
        let scope = Scope::Ward(grant.ward.0.into());
        links.users.entry(UserId::new(grant.user.0)).or_default().push((grant.role.0, scope));
    }
    for patient in tables.patient {
        links.set_ward(PatientId::new(patient.id.0), Some(&patient.ward.0));
    }
    add_relations(links, tables.care_team, tables.proxy, tables.study).map_err(&wrong)?;
    add_consents(links, tables.consent).map_err(&wrong)?;
    for device in &tables.device {
        links.devices.insert(DeviceId::new(device.id.0), Some(Nanos::MIN));
    }
    for row in tables.assignment {
        let span = span(&row.from, &row.to).map_err(&wrong)?;
        if !links.assign(DeviceId::new(row.device.0), PatientId::new(row.patient.0), span) {
            return Err(wrong(format!("assignment: device {} has another patient in that time", row.device.0)));
        }
    }
    Ok(())
}

/// Adds who has a relation to whom. One that is there already is refused: to end one of two would leave the other in force.
fn add_relations(
    links: &mut Links,
    teams: Vec<CareTeam>,
    proxies: Vec<ProxyRow>,
    parts: Vec<Part>,
) -> Result<(), String> {
    let twice = |table: &str, user: Id, whom: &str| {
        format!("{table}: user {} has {whom} in that time already; give it once, or ranges that do not meet", user.0)
    };
    for team in teams {
        let ward = team.ward.as_ref().map(|ward| ward.0.as_str());
        let (kind, whom) = match (ward, team.patient) {
            (Some(ward), None) => (RelationKind::WardStaff, format!("ward {ward:?}")),
            (None, Some(patient)) => (RelationKind::CareTeam, format!("patient {}", patient.0)),
            _ => return Err("care_team: give either ward or patient".to_owned()),
        };
        let span = span(&team.from, &team.to)?;
        let (user, patient) = (UserId::new(team.user.0), team.patient.map(|one| one.0));
        if links.has_relation(user, patient, ward, (kind, span), Nanos::MIN) {
            return Err(twice("care_team", team.user, &whom));
        }
        links.relate(user, patient, ward, span.relation(kind), true);
    }
    for proxy in proxies {
        let (span, kind) = (span(&proxy.from, &proxy.to)?, RelationKind::Proxy);
        let (user, patient) = (UserId::new(proxy.user.0), Some(proxy.patient.0));
        if links.has_relation(user, patient, None, (kind, span), Nanos::MIN) {
            return Err(twice("proxy", proxy.user, &format!("patient {}", proxy.patient.0)));
        }
        links.relate(user, patient, None, span.relation(kind), true);
    }
    for part in parts {
        let span = span(&part.from, &part.to)?;
        let (user, patient, study) = (UserId::new(part.user.0), PatientId::new(part.patient.0), &part.study.0);
        if links.is_enrolled(user, patient, study, span, Nanos::MIN) {
            return Err(twice("study", part.user, &format!("patient {} in study {study:?}", part.patient.0)));
        }
        // of two studies each is a relation of its own
        links.relate(user, Some(part.patient.0), None, span.relation(RelationKind::Study), true);
        links.enrol(user, patient, study, span, true);
    }
    Ok(())
}

/// Adds what patients do not want, as the registry would take it.
fn add_consents(links: &mut Links, rows: Vec<ConsentRow>) -> Result<(), String> {
    let refused = |patient: PatientId, what: Refused| format!("consent of patient {}: {what}", patient.uuid());
    for row in rows {
        let (patient, consent) = (PatientId::new(row.patient.0), row.read()?);
        against_consent(links, patient, &consent, Nanos::MIN).map_err(|what| refused(patient, what))?;
        links.consents.entry(patient).or_default().push(consent);
    }
    // which person is the patient may stand in a later file than the consent
    let links = &*links;
    for (patient, held) in &links.consents {
        let barred = held.iter().try_for_each(|consent| bars_another(links, *patient, consent));
        barred.map_err(|what| refused(*patient, what))?;
    }
    Ok(())
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::File { path: dir.to_owned(), source }),
    };
    let paths = entries.map(|entry| entry.map(|e| e.path()));
    let mut paths: Vec<_> =
        paths.collect::<Result<_, _>>().map_err(|source| Error::File { path: dir.to_owned(), source })?;
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    Ok(paths)
}

fn span(from: &Option<String>, to: &Option<String>) -> Result<Span, String> {
    let instant = |text: &Option<String>, open: Nanos| match text {
        None => Ok(open),
        Some(text) => {
            let unreadable = || format!("{} is no RFC 3339 time", quoted(text));
            let at = model::exact_time(text).ok_or_else(unreadable)?;
            let at: jiff::Timestamp = at.parse().map_err(|_| unreadable())?;
            i64::try_from(at.as_nanosecond())
                .map(Nanos)
                .map_err(|_| format!("{} lies outside 1678 to 2261", quoted(text)))
        }
    };
    let (from, to) = (instant(from, Nanos::MIN)?, instant(to, Nanos::MAX)?);
    Span::new(from.0, to.0).ok_or_else(|| "from must lie before to".to_owned())
}

/// An id as it is spelled everywhere.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Id(uuid::Uuid);

impl TryFrom<String> for Id {
    type Error = model::NoId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        model::uuid(&text).map(Self)
    }
}

/// A role, a ward or a study as it is spelled everywhere.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Word(String);

impl TryFrom<String> for Word {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        model::word(&text).map_err(|allowed| format!("must be {allowed}"))?;
        Ok(Self(text))
    }
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
    proxy: Vec<ProxyRow>,
    #[serde(default)]
    study: Vec<Part>,
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
    name: Word,
    permissions: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    id: Id,
    #[expect(dead_code, reason = "for people who read the file")]
    name: String,
    roles: Vec<Word>,
    patient: Option<Id>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantRow {
    user: Id,
    role: Word,
    ward: Word,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProxyRow {
    user: Id,
    patient: Id,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    user: Id,
    patient: Id,
    #[serde(default = "demo")]
    study: Word,
    from: Option<String>,
    to: Option<String>,
}

fn demo() -> Word {
    Word("demo".to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentRow {
    patient: Id,
    bars: String,
    purpose: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

impl ConsentRow {
    fn read(&self) -> Result<Consent, String> {
        let barred = match (self.bars.as_str(), RelationKind::from_name(&self.bars), model::uuid(&self.bars)) {
            ("anyone", ..) => Barred::Anyone,
            (_, Some(kind), _) => Barred::Kind(kind),
            (.., Ok(user)) => Barred::User(UserId::new(user)),
            (text, ..) => {
                let kinds: Vec<_> = RelationKind::ALL.iter().map(|kind| kind.name()).collect();
                return Err(format!(
                    "consent: bars {} is neither anyone, a user's UUID nor {}",
                    quoted(text),
                    kinds.join(", ")
                ));
            }
        };
        let purpose = self.purpose.as_deref().map(|code| {
            let known: Vec<_> = Purpose::ALL.iter().map(|purpose| purpose.code()).collect();
            let refused = || format!("consent: purpose {} is none of {}", quoted(code), known.join(", "));
            Purpose::from_code(code).ok_or_else(refused)
        });
        let Span { from, to } = span(&self.from, &self.to)?;
        Ok(Consent { barred, purpose: purpose.transpose()?, from, to })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Patient {
    id: Id,
    ward: Word,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CareTeam {
    user: Id,
    ward: Option<Word>,
    patient: Option<Id>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    id: Id,
    #[expect(dead_code, reason = "for people who read the file")]
    model: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AssignmentRow {
    device: Id,
    patient: Id,
    from: Option<String>,
    to: Option<String>,
}
