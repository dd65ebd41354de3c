//! The way back when nobody administers any more: a file in the directory folder, whatever older versions let happen.

use super::{Asking, grant, person, refusal, refused};
use directory::registry::{Change, Entry, Role};
use model::Nanos;
use proto::registry::v1::{ListRolesRequest, Role as WireRole, UpdateRoleRequest};
use std::fs;
use store::Registry as _;
use tests::{Sandbox, wait::until};
use tonic::Code;
use uuid::Uuid;

#[tokio::test]
async fn a_file_makes_an_administrator_where_the_role_had_been_emptied() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(0).await?;
    sandbox.stop().await?;
    // as an older version could leave it: nobody is anything, and the role is empty
    let config = sandbox.config()?;
    for file in fs::read_dir(config.directory_dir())? {
        fs::remove_file(file?.path())?;
    }
    let store = store::embedded::Store::open(config.data.dir.join("store"))?;
    let n_changes = store.changes(1, 1_000).await?.len() as u64;
    let (id, category) = ("administrator".to_owned(), "operator".to_owned());
    let emptied = Role { id, category, permissions: vec![], may_grant: vec![] };
    let entry = Entry::new(Nanos(1), None, vec![Change::Role(emptied)]).encode();
    assert!(store.put_change(n_changes + 1, &entry).await?);
    drop(store);
    sandbox.run().await?;
    let id = Uuid::new_v4();
    let mut lost = Asking::user(&sandbox, id).await?;
    let request = lost.request(ListRolesRequest {});
    refused!(lost.client.list_roles(request).await, PermissionDenied, "NOT_PERMITTED");

    // the one file of the README, while the node runs
    sandbox.write_directory(
        "recovery",
        &format!("[[user]]\nid = \"{id}\"\nname = \"Alex\"\nroles = [\"administrator\"]\n"),
    )?;
    let (client, token) = (lost.client.clone(), lost.token.clone());
    let lists = async || {
        let request = tests::with_token(ListRolesRequest {}, &token)?;
        Ok(client.clone().list_roles(request).await.is_ok())
    };
    until("the file to count", lists, |lists| *lists).await?;
    // that person can make others, and these can put the role right
    let other = person(&mut lost, "Olga", false).await?;
    grant(&mut lost, &other.user_id, "administrator").await?;
    let mut olga = Asking::user(&sandbox, other.user_id.parse()?).await?;
    let nurse = olga.role("nurse").await?;
    let role = Some(WireRole {
        category: Some("carer".into()),
        role_id: nurse.role_id,
        etag: nurse.etag,
        ..WireRole::default()
    });
    let request = olga.request(UpdateRoleRequest { role, update_mask: None });
    olga.client.update_role(request).await?;
    Ok(())
}
