//! Somebody always manages roles, whichever way it is tried, and on two nodes at once.

use super::*;
use directory::registry::{Change, Entry};
use proto::prost_types::FieldMask;
use store::Registry as _;
use tonic::Status;
use tonic_types::StatusExt;

const ANN: Uuid = Uuid::from_u128(10);
const BOB: Uuid = Uuid::from_u128(11);
/// Holds a role with everything, in one ward alone.
const WARD: Uuid = Uuid::from_u128(12);

fn user(id: Uuid) -> Change {
    let revision = Uuid::from_u128(99);
    Change::User(directory::registry::User { id, patient: None, ward: None, suspended: false, revision })
}

fn held(id: u128, user: Uuid, role: &str, ward: Option<&str>) -> Change {
    let (id, ward) = (Uuid::from_u128(id), ward.map(str::to_owned));
    Change::Grant(directory::registry::Grant { id, user, role: role.into(), ward, study: None })
}

/// A registry in which these people hold these roles.
async fn store(changes: Vec<Change>) -> Arc<Memory> {
    let store = Arc::new(Memory::default());
    store.kept.lock().unwrap().insert(Uuid::from_u128(99).into_bytes(), Bytes::new());
    assert!(store.put_change(1, &Entry::new(NOW(), None, changes).encode()).await.unwrap());
    store
}

/// A node that knows all that was changed.
async fn up_to_date(store: &Arc<Memory>) -> Registry {
    let registry = running(store);
    directory::follow(registry.decisions.live(), store.as_ref()).await.unwrap();
    registry
}

fn reason<T>(answer: Result<T, Status>) -> Option<String> {
    answer.err().map(|status| status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}

fn grant_of(id: u128) -> DeleteGrantRequest {
    DeleteGrantRequest { grant_id: Uuid::from_u128(id).to_string(), ..Default::default() }
}

fn suspended(id: Uuid) -> UpdateUserRequest {
    let user = Some(User { user_id: id.to_string(), suspended: Some(true), ..User::default() });
    UpdateUserRequest { user, update_mask: None }
}

fn boss(permissions: &[&str]) -> Change {
    let permissions = permissions.iter().map(|&name| name.to_owned()).collect();
    Change::Role(directory::registry::Role {
        id: "boss".into(),
        category: String::new(),
        permissions,
        may_grant: vec![],
    })
}

#[tokio::test]
async fn the_last_who_manages_roles_cannot_lose_it_by_any_call() {
    let people = vec![
        boss(&["roles.manage", "users.manage"]),
        user(ANN),
        user(WARD),
        held(1, ANN, "boss", None),
        held(2, WARD, "administrator", Some("icu")),
    ];
    let store = store(people).await;
    let registry = up_to_date(&store).await;
    let etag =
        registry.get_role(&caller(), GetRoleRequest { role_id: "boss".into() }).await.unwrap().role.unwrap().etag;
    let less = |permissions: &[&str], paths: &[&str]| {
        let permissions = permissions.iter().map(|&name| name.to_owned()).collect();
        let role = Some(Role { role_id: "boss".into(), etag: etag.clone(), permissions, ..Role::default() });
        let paths: Vec<_> = paths.iter().map(|&path| path.to_owned()).collect();
        UpdateRoleRequest { role, update_mask: (!paths.is_empty()).then_some(FieldMask { paths }) }
    };
    let delete = DeleteUserRequest { user_id: ANN.to_string(), etag: String::new() };
    let n_changes = store.changes.lock().unwrap().len();
    let refused = [
        reason(registry.delete_grant(&caller(), grant_of(1)).await),
        reason(registry.delete_user(&caller(), delete.clone()).await),
        reason(registry.update_user(&caller(), suspended(ANN)).await),
        reason(registry.update_role(&caller(), less(&["users.manage"], &[])).await),
        reason(registry.update_role(&caller(), less(&[], &["permissions"])).await),
    ];
    assert_eq!(refused, [const { Some("LAST_ADMINISTRATOR") }; 5].map(|reason| reason.map(str::to_owned)));
    assert_eq!(store.changes.lock().unwrap().len(), n_changes, "something was changed");

    // with another one it may go
    let another = Entry::new(NOW(), None, vec![user(BOB), held(3, BOB, "administrator", None)]);
    assert!(store.put_change(n_changes as u64 + 1, &another.encode()).await.unwrap());
    registry.update_user(&caller(), suspended(ANN)).await.unwrap();
    assert_eq!(reason(registry.delete_grant(&caller(), grant_of(3)).await).as_deref(), Some("LAST_ADMINISTRATOR"));
    // who is suspended does not count, and what takes nothing is free
    registry.delete_user(&caller(), delete).await.unwrap();
    registry.delete_grant(&caller(), grant_of(2)).await.unwrap();
}

#[tokio::test]
async fn of_two_changes_at_once_on_two_nodes_one_leaves_an_administrator() {
    for round in 0..20 {
        let people =
            vec![user(ANN), user(BOB), held(1, ANN, "administrator", None), held(2, BOB, "administrator", None)];
        let store = store(people).await;
        let (one, other) = (up_to_date(&store).await, up_to_date(&store).await);
        let (caller, delete) = (caller(), DeleteUserRequest { user_id: BOB.to_string(), etag: String::new() });
        let both = match round % 2 {
            0 => {
                let (a, b) =
                    tokio::join!(one.delete_grant(&caller, grant_of(1)), other.delete_grant(&caller, grant_of(2)));
                [reason(a), reason(b)]
            }
            _ => {
                let (a, b) = tokio::join!(one.update_user(&caller, suspended(ANN)), other.delete_user(&caller, delete));
                [reason(a), reason(b)]
            }
        };
        let refused: Vec<_> = both.iter().flatten().collect();
        assert_eq!(refused, ["LAST_ADMINISTRATOR"], "round {round}");
    }
}

#[tokio::test]
async fn roles_from_the_start_neither_go_nor_become_empty() {
    let store = store(vec![user(ANN), held(1, ANN, "administrator", None)]).await;
    let registry = up_to_date(&store).await;
    let role = async |id: &str| {
        registry.get_role(&caller(), GetRoleRequest { role_id: id.into() }).await.unwrap().role.unwrap()
    };
    let set = async |role: Role, path: &str| {
        let update_mask = Some(FieldMask { paths: vec![path.into()] });
        reason(registry.update_role(&caller(), UpdateRoleRequest { role: Some(role), update_mask }).await)
    };
    for model::access::SeededRole { id, permissions, .. } in model::access::ROLES {
        let kept = role(id).await;
        let delete = DeleteRoleRequest { role_id: id.into(), etag: kept.etag.clone() };
        assert_eq!(reason(registry.delete_role(&caller(), delete).await).as_deref(), Some("BUILT_IN_ROLE"), "{id}");
        let empty = Role { permissions: vec![], ..kept };
        let expected = (!permissions.is_empty()).then_some("BUILT_IN_ROLE");
        assert_eq!(set(empty, "permissions").await.as_deref(), expected, "{id}");
    }
    // a nurse may do less; an administrator, and who is made one when nobody else is left, may not
    let fewer = |role: Role| Role { permissions: role.permissions[1..].to_vec(), ..role };
    assert_eq!(set(fewer(role("nurse").await), "permissions").await, None);
    let administrator = role("administrator").await;
    assert_eq!(set(fewer(administrator.clone()), "permissions").await.as_deref(), Some("BUILT_IN_ROLE"));
    let grants_less = Role { may_grant: administrator.may_grant[1..].to_vec(), ..administrator };
    assert_eq!(set(grants_less, "may_grant").await.as_deref(), Some("BUILT_IN_ROLE"));
}

#[tokio::test]
async fn a_role_is_changed_by_who_has_read_it() {
    let store = store(vec![user(ANN), held(1, ANN, "administrator", None), boss(&["users.manage"])]).await;
    let registry = up_to_date(&store).await;
    let update = async |etag: &str| {
        let category = Some(format!("after {etag}"));
        let role = Some(Role { role_id: "boss".into(), etag: etag.into(), category, ..Role::default() });
        registry.update_role(&caller(), UpdateRoleRequest { role, update_mask: None }).await
    };
    let delete = async |etag: &str| {
        registry.delete_role(&caller(), DeleteRoleRequest { role_id: "boss".into(), etag: etag.into() }).await
    };
    assert_eq!(update("").await.map(drop).map_err(|status| status.code()), Err(Code::FailedPrecondition));
    assert_eq!(reason(update("").await).as_deref(), Some("ETAG_REQUIRED"));
    assert_eq!(reason(delete("").await).as_deref(), Some("ETAG_REQUIRED"));
    let changed = update("1").await.unwrap().role.unwrap();
    assert_eq!(changed.permissions, ["users.manage"], "the permissions were not named");
    assert_eq!(
        [reason(update("1").await), reason(delete("1").await)],
        [const { Some("ETAG_MISMATCH") }; 2].map(|one| one.map(str::to_owned))
    );
    let changed = update("*").await.unwrap().role.unwrap();
    delete(&changed.etag).await.unwrap();
    assert_eq!(reason(delete("*").await).as_deref(), Some("NOT_FOUND"));
}
