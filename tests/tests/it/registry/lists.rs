//! Lists: every page, each row once, and only what a filter asks for.

use super::{Asking, grant, person, refusal, refused, tie};
use anyhow::Context;
use proto::registry::v1::{
    CreateDeviceRequest, Device, ListDevicesRequest, ListGrantsRequest, ListRelationsRequest, ListUsersRequest,
    RevokeDeviceRequest, UpdateUserRequest, User,
};
use tests::Sandbox;
use tonic::Code;

/// All ids of a list, page by page, in the order in which they came.
async fn all(
    mut page: impl AsyncFnMut(String) -> anyhow::Result<(Vec<String>, String)>,
) -> anyhow::Result<Vec<String>> {
    let (mut all, mut token) = (Vec::new(), String::new());
    for _ in 0..20 {
        let (ids, next) = page(token).await?;
        anyhow::ensure!(ids.len() <= 2, "more than was asked for");
        all.extend(ids);
        if next.is_empty() {
            return Ok(all);
        }
        token = next;
    }
    anyhow::bail!("the pages do not end: {all:?}")
}

fn sorted(ids: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<_> = ids.into_iter().collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn people_and_what_ties_them() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut people = Vec::new();
    for number in 0..5 {
        people.push(person(&mut admin, &format!("Person {number}"), number < 2).await?);
    }
    let user = User { user_id: people[4].user_id.clone(), suspended: Some(true), ..User::default() };
    let update_mask = Some(proto::prost_types::FieldMask { paths: vec!["suspended".into()] });
    let request = admin.request(UpdateUserRequest { user: Some(user), update_mask });
    admin.client.update_user(request).await?;
    let (mut grants, mut relations) = (Vec::new(), Vec::new());
    for nurse in &people[2..4] {
        for role in ["nurse", "auditor"] {
            grants.push(grant(&mut admin, &nurse.user_id, role).await?);
        }
        for patient in &people[..2] {
            relations.push(tie(&mut admin, &nurse.user_id, "care-team", patient.patient_id()).await?);
        }
    }

    let asking = Asking { client: admin.client.clone(), token: admin.token.clone() };
    let users = async |filter: &str| {
        all(async |page_token| {
            let request = asking.request(ListUsersRequest { page_size: 2, page_token, filter: filter.into() });
            let page = asking.client.clone().list_users(request).await?.into_inner();
            Ok((page.users.into_iter().map(|user| user.user_id).collect(), page.next_page_token))
        })
        .await
    };
    let of = |places: &[usize]| sorted(places.iter().map(|place| people[*place].user_id.clone()));
    for (filter, places) in [
        ("", &[0, 1, 2, 3, 4][..]),
        ("ward=\"icu\"", &[0, 1]),
        ("patient=false", &[2, 3, 4]),
        ("role=\"auditor\"", &[2, 3]),
        ("suspended=true", &[4]),
        ("suspended=false AND patient=false", &[2, 3]),
    ] {
        assert_eq!(users(filter).await?, of(places), "{filter}");
    }
    let granted = async |user_id: &str| {
        all(async |page_token| {
            let request = asking.request(ListGrantsRequest { page_size: 2, page_token, user_id: user_id.into() });
            let page = asking.client.clone().list_grants(request).await?.into_inner();
            Ok((page.grants.into_iter().map(|grant| grant.grant_id).collect(), page.next_page_token))
        })
        .await
    };
    assert_eq!(granted("").await?, sorted(grants.iter().map(|grant| grant.grant_id.clone())));
    assert_eq!(granted(&people[3].user_id).await?, sorted(grants[2..].iter().map(|grant| grant.grant_id.clone())));
    let related = async |user_id: &str, patient_id: &str| {
        all(async |page_token| {
            let (user_id, patient_id) = (user_id.to_owned(), patient_id.to_owned());
            let request = asking.request(ListRelationsRequest { page_size: 2, page_token, user_id, patient_id });
            let page = asking.client.clone().list_relations(request).await?.into_inner();
            Ok((page.relations.into_iter().map(|relation| relation.relation_id).collect(), page.next_page_token))
        })
        .await
    };
    let ids = |places: &[usize]| sorted(places.iter().map(|place| relations[*place].relation_id.clone()));
    assert_eq!(related("", "").await?, ids(&[0, 1, 2, 3]));
    assert_eq!(related(&people[2].user_id, "").await?, ids(&[0, 1]));
    assert_eq!(related("", people[1].patient_id()).await?, ids(&[1, 3]));
    assert_eq!(related(&people[2].user_id, people[1].patient_id()).await?, ids(&[1]));
    Ok(())
}

#[tokio::test]
async fn a_filter_for_what_nobody_can_have_is_no_empty_list() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let asking = Asking::demo(&sandbox, "administrator").await?;
    let wards = ["ward=\"ICU\"", "ward=\"i\" AND", "ward=\"nowhere\""];
    for filter in ["role=\"Nurse\"", "role=pilot", "patient=yes", "suspended=FALSE"].into_iter().chain(wards) {
        let request = asking.request(ListUsersRequest { filter: filter.into(), ..Default::default() });
        refused!(asking.client.clone().list_users(request).await, InvalidArgument, "INVALID_FILTER");
    }
    let nil = uuid::Uuid::nil().to_string();
    for page_token in [format!("{{{}}}", uuid::Uuid::from_u128(1)), nil] {
        let request = asking.request(ListUsersRequest { page_token, ..Default::default() });
        refused!(asking.client.clone().list_users(request).await, InvalidArgument, "INVALID_PAGE_TOKEN");
    }
    Ok(())
}

#[tokio::test]
async fn devices() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let mut ids = Vec::new();
    for number in 0..5 {
        let (name, mac) = (Some(format!("Monitor {number}")), Some(format!("00:00:5e:00:53:0{number}")));
        let device = Device { name, mac, model: Some(format!("M-{}", number % 2)), ..Device::default() };
        let request = integrator.request(CreateDeviceRequest { device: Some(device) });
        let made = integrator.client.create_device(request).await?.into_inner().device.context("a device")?;
        ids.push(made.device_id);
    }
    let request =
        integrator.request(RevokeDeviceRequest { device_id: ids[0].clone(), retire: false, ..Default::default() });
    integrator.client.revoke_device(request).await?;
    for (filter, places) in [
        ("", &[0, 1, 2, 3, 4][..]),
        ("status=\"revoked\"", &[0]),
        ("model=\"M-0\"", &[0, 2, 4]),
        ("model=\"M-0\" AND status=\"registered\"", &[2, 4]),
        ("mac=\"00-00-5E-00-53-03\"", &[3]),
    ] {
        let found = all(async |page_token| {
            let request = integrator.request(ListDevicesRequest { page_size: 2, page_token, filter: filter.into() });
            let page = integrator.client.clone().list_devices(request).await?.into_inner();
            Ok((page.devices.into_iter().map(|device| device.device_id).collect(), page.next_page_token))
        });
        assert_eq!(found.await?, sorted(places.iter().map(|place| ids[*place].clone())), "{filter}");
    }
    let models = [format!("model={}", "m".repeat(129)), "model=\"M\u{202e}0\"".to_owned()];
    for filter in ["mac=\"nonsense\"", "status=\"Active\"", "status=lost", "model=M 0"]
        .into_iter()
        .chain(models.iter().map(String::as_str))
    {
        let request = integrator.request(ListDevicesRequest { filter: filter.into(), ..Default::default() });
        refused!(integrator.client.list_devices(request).await, InvalidArgument, "INVALID_FILTER");
    }
    Ok(())
}
