//! `wardline users`, `devices`, `roles`, `grants` and relations: the registry from a shell.

pub mod cli;
mod imports;
mod parts;
mod relations;
mod retractions;
mod rows;

use crate::operator::{self, Id, MESSAGE_BYTES_MAX, Token, ask, ask_all, change, shown};
use anyhow::Context;
use cli::{CallerArgs, Command, Devices, Format, Grants, Roles, Users};
use client::{Connection, Remote};
use proto::registry::v1::{
    Assignment, CreateAssignmentRequest, CreateDeviceRequest, CreateGrantRequest, CreateRoleRequest, CreateUserRequest,
    DeleteGrantRequest, DeleteRoleRequest, DeleteUserRequest, Device, GetDeviceRequest, GetRoleRequest, GetUserRequest,
    Grant, ListDevicesRequest, ListGrantsRequest, ListRolesRequest, ListUserVersionsRequest, ListUsersRequest, Person,
    RevokeDeviceRequest, Role, RotateDeviceRequest, UpdateUserRequest, User,
    registry_service_client::RegistryServiceClient,
};
use rows::Rows;
use std::io::Write;
use uuid::Uuid;

/// Speaks to the registry with one token, and prints what it says.
pub struct RegistryCli {
    client: RegistryServiceClient<Connection>,
    format: Format,
}

impl RegistryCli {
    /// Does what the command line says.
    ///
    /// # Errors
    /// The registry refuses, or nobody reads what is printed.
    pub async fn act(&mut self, command: &Command, out: &mut impl Write) -> anyhow::Result<()> {
        match command {
            Command::Users { what, .. } => self.users(what, out).await,
            Command::Devices { what, .. } => self.devices(what, out).await,
            Command::Roles { what, .. } => self.roles(what, out).await,
            Command::Grants { what, .. } => self.grants(what, out).await,
            Command::Relations { what, .. } => self.relations(what, out).await,
            Command::Consents { what, .. } => self.consents(what, out).await,
            Command::Retractions { what, .. } => self.retractions(what, out).await,
            Command::Emergencies { what, .. } => self.emergencies(what, out).await,
            Command::Explain { why, .. } => self.explain(why, out).await,
        }
    }

    /// Connects to the registry as the caller of the token.
    pub async fn connect(
        remote: impl Into<Remote>,
        token: impl Into<Token>,
        caller: &CallerArgs,
    ) -> anyhow::Result<Self> {
        let connection = operator::connect(remote, token).await?;
        let client = RegistryServiceClient::new(connection).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, format: caller.output })
    }

    /// Runs a command of `wardline users` and prints the result.
    pub async fn users(&mut self, what: &Users, out: &mut impl Write) -> anyhow::Result<()> {
        let found = match what {
            Users::List { filter } => ask_all!(self.list_users(ListUsersRequest { filter: filter.clone() }).users),
            Users::Get { user } => vec![self.user(*user).await?],
            Users::Versions { user } => {
                ask_all!(self.list_user_versions(ListUserVersionsRequest { user_id: user.to_string() }).versions)
            }
            Users::Create { name, birth_date, patient, ward } => {
                let person = Some(Person { name: Some(name.clone()), birth_date: Some(birth_date.clone()) });
                let patient_id = if patient == "new" { Uuid::new_v4().to_string() } else { patient.clone() };
                let (patient_id, ward) = (Some(patient_id), Some(ward.clone()));
                let user = User { person, patient_id, ward, ..User::default() };
                change!(self.create_user(CreateUserRequest { user: Some(user) })).user.into_iter().collect()
            }
            Users::Suspend { user } => vec![self.suspend(*user, true).await?],
            Users::Resume { user } => vec![self.suspend(*user, false).await?],
            Users::Delete { user } => {
                change!(self.delete_user(DeleteUserRequest { user_id: user.to_string(), etag: String::new() }));
                vec![]
            }
            Users::Import { file } => return self.import_users(file, out).await,
        };
        let mut rows = Rows::new(&["user", "name", "birth_date", "patient", "ward", "suspended", "updated", "by"]);
        for user in found {
            let person = user.person.clone().unwrap_or_default();
            let updated = shown(user.updated_at).unwrap_or_default();
            rows.push([
                &user.user_id,
                person.name(),
                person.birth_date(),
                user.patient_id(),
                user.ward(),
                if user.suspended() { "yes" } else { "no" },
                &updated,
                &user.updated_by,
            ]);
        }
        rows.print(self.format, out)
    }

    async fn user(&mut self, user: Id) -> anyhow::Result<User> {
        ask!(self.get_user(GetUserRequest { user_id: user.to_string() })).user.context("an answer without a person")
    }

    /// Changes what was read, and nothing else.
    async fn suspend(&mut self, user: Id, suspended: bool) -> anyhow::Result<User> {
        let User { user_id, etag, .. } = self.user(user).await?;
        let user = Some(User { user_id, etag, suspended: Some(suspended), ..User::default() });
        change!(self.update_user(UpdateUserRequest { user, update_mask: None }))
            .user
            .context("an answer without a person")
    }

    /// Runs a command of `wardline devices` and prints the result.
    pub async fn devices(&mut self, what: &Devices, out: &mut impl Write) -> anyhow::Result<()> {
        let (mut found, mut code) = (Vec::new(), String::new());
        match what {
            Devices::List { filter } => {
                found = ask_all!(self.list_devices(ListDevicesRequest { filter: filter.clone() }).devices);
            }
            Devices::Get { device } => {
                found.extend(ask!(self.get_device(GetDeviceRequest { device_id: device.to_string() })).device);
            }
            Devices::Create { name, mac, model, mdc_type } => {
                let [name, mac, model, mdc_type] = [name, mac, model, mdc_type].map(|text| Some(text.clone()));
                let device = Some(Device { name, mac, model, mdc_type, ..Device::default() });
                let made = change!(self.create_device(CreateDeviceRequest { device }));
                code = made.claim_code;
                found.extend(made.device);
            }
            Devices::Rotate { device } => {
                code = change!(
                    self.rotate_device(RotateDeviceRequest { device_id: device.to_string(), ..Default::default() })
                )
                .claim_code;
                found.extend(ask!(self.get_device(GetDeviceRequest { device_id: device.to_string() })).device);
            }
            Devices::Revoke { device, retire } => {
                let request =
                    RevokeDeviceRequest { device_id: device.to_string(), retire: *retire, ..Default::default() };
                found.extend(change!(self.revoke_device(request)).device);
            }
            Devices::Assign { device, patient } => {
                let (device_id, patient_id) = (device.to_string(), patient.to_string());
                let assignment = Some(Assignment { device_id, patient_id, ..Assignment::default() });
                let made = change!(self.create_assignment(CreateAssignmentRequest { assignment })).assignment;
                let made = made.context("an answer without an assignment")?;
                let mut rows = Rows::new(&["assignment", "device", "patient", "from"]);
                let from = shown(made.start_time).unwrap_or_default();
                rows.push([&made.assignment_id, &made.device_id, &made.patient_id, &from]);
                return rows.print(self.format, out);
            }
            Devices::Import { file } => return self.import_devices(file, out).await,
        }
        let mut rows = Rows::new(&["device", "name", "mac", "model", "status", "firmware", "last_seen", "claim_code"]);
        for device in found {
            let seen = shown(device.last_seen_at).unwrap_or_default();
            let Device { device_id, status, firmware_version, .. } = &device;
            let [name, mac, model] = [device.name(), device.mac(), device.model()];
            rows.push([device_id, name, mac, model, status, firmware_version, &seen, &code]);
        }
        rows.print(self.format, out)
    }

    /// Runs a command of `wardline roles` and prints the result.
    pub async fn roles(&mut self, what: &Roles, out: &mut impl Write) -> anyhow::Result<()> {
        let found = match what {
            Roles::List => ask!(self.list_roles(ListRolesRequest {})).roles,
            Roles::Create { role, category, permissions, may_grant } => {
                let (permissions, may_grant) = (permissions.clone(), may_grant.clone());
                let role = Role {
                    role_id: role.clone(),
                    category: Some(category.clone()),
                    permissions,
                    may_grant,
                    ..Role::default()
                };
                change!(self.create_role(CreateRoleRequest { role: Some(role) })).role.into_iter().collect()
            }
            Roles::Delete { role } => {
                let found = ask!(self.get_role(GetRoleRequest { role_id: role.clone() })).role;
                let etag = found.unwrap_or_default().etag;
                change!(self.delete_role(DeleteRoleRequest { role_id: role.clone(), etag }));
                vec![]
            }
        };
        let mut rows = Rows::new(&["role", "category", "permissions", "may_grant"]);
        for role in found {
            rows.push([&role.role_id, role.category(), &role.permissions.join(" "), &role.may_grant.join(" ")]);
        }
        rows.print(self.format, out)
    }

    /// Runs a command of `wardline grants` and prints the result.
    pub async fn grants(&mut self, what: &Grants, out: &mut impl Write) -> anyhow::Result<()> {
        let mut found = Vec::new();
        match what {
            Grants::List { user } => {
                let user_id = user.map(|user| user.to_string()).unwrap_or_default();
                found = ask_all!(self.list_grants(ListGrantsRequest { user_id: user_id.clone() }).grants);
            }
            Grants::Create { user, role, ward, study } => {
                let (user_id, role_id) = (user.to_string(), role.clone());
                let grant = Grant { user_id, role_id, ward: ward.clone(), study: study.clone(), ..Grant::default() };
                found.extend(change!(self.create_grant(CreateGrantRequest { grant: Some(grant) })).grant);
            }
            Grants::Delete { grant } => {
                change!(self.delete_grant(DeleteGrantRequest { grant_id: grant.to_string(), ..Default::default() }));
            }
        }
        let mut rows = Rows::new(&["grant", "user", "role", "ward", "study"]);
        for grant in found {
            rows.push([&grant.grant_id, &grant.user_id, &grant.role_id, &grant.ward, &grant.study]);
        }
        rows.print(self.format, out)
    }
}
