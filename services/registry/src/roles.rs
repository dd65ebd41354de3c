//! Roles, and who holds them. Nobody passes on what they may not pass on, and nobody gives anything to themselves.

use crate::{
    PAGE, Registry,
    access::person,
    check,
    writing::{check_etag, etag, need_etag, not_found},
};
use directory::{
    Directory,
    registry::{self as kept, Change, Kept},
};
use guard::{
    ids,
    pages::{self, page},
};
use model::{
    UserId,
    access::{Action, Permission, Principal, Scope},
};
use prost::Message;
use proto::{
    problem,
    registry::v1::{
        CreateGrantRequest, CreateGrantResponse, CreateRoleRequest, CreateRoleResponse, DeleteGrantRequest,
        DeleteGrantResponse, DeleteRoleRequest, DeleteRoleResponse, GetGrantRequest, GetGrantResponse, GetRoleRequest,
        GetRoleResponse, Grant, ListGrantsRequest, ListGrantsResponse, ListRolesRequest, ListRolesResponse, Role,
        UpdateRoleRequest, UpdateRoleResponse,
    },
    resource,
    update::Update,
};
use tonic::{Code, Status};
use uuid::Uuid;

impl Registry {
    pub(crate) async fn get_role(
        &self,
        caller: &Principal,
        request: GetRoleRequest,
    ) -> Result<GetRoleResponse, Status> {
        check::word("role_id", &request.role_id)?;
        let detail = format!("get role {}", request.role_id);
        self.decisions.on_system(caller, Action::ManageRoles, None).recorded(&detail).await?;
        Ok(GetRoleResponse { role: Some(self.role(&request.role_id)?) })
    }

    pub(crate) async fn list_roles(
        &self,
        caller: &Principal,
        _: ListRolesRequest,
    ) -> Result<ListRolesResponse, Status> {
        self.decisions.on_system(caller, Action::ManageRoles, None).recorded("list roles").await?;
        Ok(ListRolesResponse {
            roles: self.decisions.directory().registry().roles(None).map(|(_, kept)| wire(kept)).collect(),
        })
    }

    pub(crate) async fn create_role(
        &self,
        caller: &Principal,
        request: CreateRoleRequest,
    ) -> Result<CreateRoleResponse, Status> {
        let role = request.role.ok_or_else(|| check::bad("role", "must be there"))?;
        check::word("role.role_id", &role.role_id)?;
        resource::check_sent(&role)?;
        each_once(&role)?;
        self.decisions
            .on_system(caller, Action::ManageRoles, None)
            .recorded(&format!("create role {}", role.role_id))
            .await?;
        let author = person(caller)?;
        let role = read(role)?;
        self.change(caller, |directory, _| {
            if directory.registry().role(&role.id).is_some() {
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "role.role_id", "there is such a role"));
            }
            passes_on(directory, author, &role, &Scope::Everywhere).map_err(lacking)?;
            Ok((vec![Change::Role(role.clone())], ()))
        })
        .await?;
        Ok(CreateRoleResponse { role: Some(self.role(&role.id)?) })
    }

    pub(crate) async fn update_role(
        &self,
        caller: &Principal,
        request: UpdateRoleRequest,
    ) -> Result<UpdateRoleResponse, Status> {
        let sent = request.role.ok_or_else(|| check::bad("role", "must be there"))?;
        check::word("role.role_id", &sent.role_id)?;
        each_once(&sent)?;
        self.decisions
            .on_system(caller, Action::ManageRoles, None)
            .recorded(&format!("update role {}", sent.role_id))
            .await?;
        let author = person(caller)?;
        let update = Update::new(&sent, request.update_mask.as_ref())?;
        self.change(caller, |directory, _| {
            let kept = directory.registry().role(&sent.role_id).ok_or_else(|| not_found("role"))?;
            need_etag(&sent.etag, kept.sequence)?;
            let role = read(update.apply(&wire(kept))?)?;
            let mut added = role.clone();
            added.permissions.retain(|name| !kept.value.permissions.contains(name));
            added.may_grant.retain(|name| !kept.value.may_grant.contains(name));
            passes_on(directory, author, &added, &Scope::Everywhere).map_err(lacking)?;
            let holds = directory.roles_of(author).any(|(held, _)| *held == role.id);
            if holds && !(added.permissions.is_empty() && added.may_grant.is_empty()) {
                return Err(self_grant("permissions", "you hold this role; somebody else must add to it"));
            }
            Ok((vec![Change::Role(role)], ()))
        })
        .await?;
        Ok(UpdateRoleResponse { role: Some(self.role(&sent.role_id)?) })
    }

    pub(crate) async fn delete_role(
        &self,
        caller: &Principal,
        request: DeleteRoleRequest,
    ) -> Result<DeleteRoleResponse, Status> {
        check::word("role_id", &request.role_id)?;
        self.decisions
            .on_system(caller, Action::ManageRoles, None)
            .recorded(&format!("delete role {}", request.role_id))
            .await?;
        self.change(caller, |directory, _| {
            let kept = directory.registry().role(&request.role_id).ok_or_else(|| not_found("role"))?;
            if kept::is_built_in(&request.role_id) {
                let text =
                    "this role is there from the start, and stays; delete its grants, or take permissions out of it";
                return Err(problem::field(Code::FailedPrecondition, "BUILT_IN_ROLE", "role_id", text));
            }
            need_etag(&request.etag, kept.sequence)?;
            // the state knows of its own grants alone; files name holders, too
            if directory.is_held(&request.role_id) {
                let text = "somebody holds this role; delete those grants, or take it out of the directory's files";
                return Err(problem::field(Code::FailedPrecondition, "ROLE_IN_USE", "role_id", text));
            }
            Ok((vec![Change::RoleRemoved(request.role_id.clone())], ()))
        })
        .await?;
        Ok(DeleteRoleResponse {})
    }

    pub(crate) async fn get_grant(
        &self,
        caller: &Principal,
        request: GetGrantRequest,
    ) -> Result<GetGrantResponse, Status> {
        let id = ids::uuid("grant_id", &request.grant_id)?;
        self.decisions.on_system(caller, Action::ManageRoles, None).recorded(&format!("get grant {id}")).await?;
        Ok(GetGrantResponse { grant: Some(self.grant(&id)?) })
    }

    pub(crate) async fn list_grants(
        &self,
        caller: &Principal,
        request: ListGrantsRequest,
    ) -> Result<ListGrantsResponse, Status> {
        self.decisions.on_system(caller, Action::ManageRoles, None).recorded("list grants").await?;
        let user = if request.user_id.is_empty() { None } else { Some(check::user(&request.user_id)?.uuid()) };
        let (size, after) = (pages::size(request.page_size, PAGE)?, pages::after_uuid(&request.page_token)?);
        let directory = self.decisions.directory();
        let grants = directory.registry().grants(after).map(|(_, kept)| kept);
        let grants = grants.filter(|kept| user.is_none_or(|user| kept.value.user == user)).map(wire_grant);
        let (grants, next_page_token) = page(grants, size, Grant::encoded_len, |grant| grant.grant_id.clone());
        Ok(ListGrantsResponse { grants, next_page_token })
    }

    pub(crate) async fn create_grant(
        &self,
        caller: &Principal,
        request: CreateGrantRequest,
    ) -> Result<CreateGrantResponse, Status> {
        let sent = request.grant.ok_or_else(|| check::bad("grant", "must be there"))?;
        resource::check_sent(&sent)?;
        let (id, user) =
            (check::id_or_new("grant.grant_id", &sent.grant_id)?, ids::uuid("grant.user_id", &sent.user_id)?);
        check::word("grant.role_id", &sent.role_id)?;
        let ward = check::word_or_none("grant.ward", &sent.ward)?;
        let study = check::word_or_none("grant.study", &sent.study)?;
        if ward.is_some() && study.is_some() {
            return Err(check::bad("grant.study", "empty when there is a ward: a grant is for one of both"));
        }
        self.decisions.on_system(caller, Action::ManageRoles, None).recorded(&granted(id, &sent.role_id, user)).await?;
        let author = person(caller)?;
        let grant = kept::Grant { id, user, role: sent.role_id, ward, study };
        self.change(caller, |directory, _| {
            if directory.registry().grant(&id).is_some() {
                return Err(problem::field(Code::AlreadyExists, "EXISTS", "grant.grant_id", "there is such a grant"));
            }
            if !directory.knows(UserId::new(user)) {
                return Err(problem::field(Code::NotFound, "NO_SUCH_USER", "grant.user_id", "nobody has this id"));
            }
            may_give(directory, author, &grant)?;
            if let Some(ward) = grant.ward.as_deref() {
                check::ward(directory, "grant.ward", ward)?;
            }
            if let Some(study) = grant.study.as_deref() {
                check::study(directory, "grant.study", study)?;
            }
            Ok((vec![Change::Grant(grant.clone())], ()))
        })
        .await?;
        Ok(CreateGrantResponse { grant: Some(self.grant(&id)?) })
    }

    pub(crate) async fn delete_grant(
        &self,
        caller: &Principal,
        request: DeleteGrantRequest,
    ) -> Result<DeleteGrantResponse, Status> {
        let id = ids::uuid("grant_id", &request.grant_id)?;
        self.decisions.on_system(caller, Action::ManageRoles, None).recorded(&format!("delete grant {id}")).await?;
        self.change(caller, |directory, _| {
            // that it is not there is said when the change is judged
            if let Some(kept) = directory.registry().grant(&id) {
                check_etag(&request.etag, kept.sequence)?;
            }
            Ok((vec![Change::GrantRemoved(id)], ()))
        })
        .await?;
        Ok(DeleteGrantResponse {})
    }

    fn grant(&self, id: &Uuid) -> Result<Grant, Status> {
        self.decisions.directory().registry().grant(id).map(wire_grant).ok_or_else(|| not_found("grant"))
    }

    fn role(&self, id: &str) -> Result<Role, Status> {
        let directory = self.decisions.directory();
        directory.registry().role(&id.to_owned()).map(wire).ok_or_else(|| not_found("role"))
    }
}

/// How the audit log calls a new grant, however it comes about.
pub(crate) fn granted(id: Uuid, role: &str, user: Uuid) -> String {
    format!("grant {id} of {role} to {user}")
}

/// Refuses a grant that its author may not give.
pub(crate) fn may_give(directory: &Directory, author: UserId, grant: &kept::Grant) -> Result<(), Status> {
    let unknown = || {
        let text = "no role has this id; `wardline roles list` shows all";
        problem::field(Code::NotFound, "NO_SUCH_ROLE", "grant.role_id", text)
    };
    let role = directory.registry().role(&grant.role).ok_or_else(unknown)?;
    passes_on(directory, author, &role.value, &grant.scope()).map_err(|(_, text)| lacking(("grant.role_id", text)))?;
    if grant.user == author.uuid() {
        return Err(self_grant("grant.user_id", "nobody grants anything to themselves; ask another administrator"));
    }
    Ok(())
}

/// Says what a role has and its author may not pass on there, and in which of the role's fields.
fn passes_on(
    directory: &Directory,
    author: UserId,
    role: &kept::Role,
    scope: &Scope,
) -> Result<(), (&'static str, String)> {
    let may = directory.may_grant(author);
    let covers = |held: &Scope| *held == Scope::Everywhere || held == scope;
    for (field, names) in [("permissions", &role.permissions), ("may_grant", &role.may_grant)] {
        for name in names {
            // one that nobody knows is refused with the names that there are, when the change is judged
            let Some(permission) = Permission::from_name(name) else { continue };
            if !may.iter().any(|grant| grant.permission == permission && covers(&grant.scope)) {
                return Err((
                    field,
                    format!("you may not pass on {name} there; leave it out, or ask somebody who may"),
                ));
            }
        }
    }
    Ok(())
}

fn lacking((field, text): (&str, String)) -> Status {
    problem::field(Code::PermissionDenied, "LACKS_PERMISSION", field, &text)
}

fn self_grant(field: &str, text: &str) -> Status {
    problem::field(Code::PermissionDenied, "SELF_GRANT", field, text)
}

/// Refuses a permission that is named twice: who takes one of them out would leave it in.
fn each_once(sent: &Role) -> Result<(), Status> {
    for (field, names) in [("permissions", &sent.permissions), ("may_grant", &sent.may_grant)] {
        if names.iter().enumerate().any(|(place, name)| names[..place].contains(name)) {
            return Err(check::bad(&format!("role.{field}"), "each permission once"));
        }
    }
    Ok(())
}

/// A role as it is kept.
fn read(role: Role) -> Result<kept::Role, Status> {
    check::line("role.category", role.category(), 64)?;
    let Role { role_id: id, category, permissions, may_grant, .. } = role;
    Ok(kept::Role { id, category: category.unwrap_or_default(), permissions, may_grant })
}

fn wire(kept: &Kept<kept::Role>) -> Role {
    let kept::Role { id, category, permissions, may_grant } = kept.value.clone();
    Role { role_id: id, category: Some(category), permissions, may_grant, etag: etag(kept.sequence) }
}

fn wire_grant(kept: &Kept<kept::Grant>) -> Grant {
    let kept::Grant { id, user, role, ward, study } = kept.value.clone();
    let (ward, study) = (ward.unwrap_or_default(), study.unwrap_or_default());
    Grant { grant_id: id.to_string(), user_id: user.to_string(), role_id: role, ward, study, etag: etag(kept.sequence) }
}
