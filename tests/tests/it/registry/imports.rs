//! Many rows at once: a bad one is refused by itself.

use super::{Asking, grant, person, refusal, refused};
use proto::registry::v1::{CreateRoleRequest, ImportDevicesRequest, ImportUsersRequest, ListUsersRequest, Role};
use tests::Sandbox;
use tonic::Code;

#[tokio::test]
async fn of_a_thousand_people_the_bad_ones_are_named_and_the_rest_is_there() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut csv = String::from("name,birth_date,role,patient_id,ward\n");
    for row in 1..=1_000 {
        let (name, birth_date, role, patient, ward) = match row {
            500 => ("Row 500".to_owned(), "2999-01-01", "", String::new(), ""),
            600 => ("Row 600".to_owned(), "", "pilot", String::new(), ""),
            700 => (String::new(), "", "", String::new(), ""),
            800 | 801 => {
                (format!("Row {row}"), "", "patient", "0191c3c8-7a00-7000-8000-00000000abcd".to_owned(), "icu")
            }
            row => (format!("Row {row}"), "1970-01-01", "nurse", String::new(), ""),
        };
        csv += &format!("{name},{birth_date},{role},{patient},{ward}\n");
    }
    let request = admin.request(ImportUsersRequest { csv });
    let report = admin.client.import_users(request).await?.into_inner();
    let refused: Vec<_> = report.refused.iter().map(|row| (row.row, row.field.as_str())).collect();
    assert_eq!(refused, [(500, "birth_date"), (600, "role"), (700, "name"), (801, "patient_id")]);
    assert_eq!((report.imported, report.user_ids.len()), (996, 996));
    assert!(report.refused.iter().all(|row| !row.reason.is_empty()));
    let request =
        admin.request(ListUsersRequest { page_size: 1_000, filter: "role=\"nurse\"".into(), ..Default::default() });
    assert_eq!(admin.client.list_users(request).await?.into_inner().users.len(), 995);

    for csv in ["birth_date\n1970-01-01\n", "name,name\na,b\n", "name,shoe_size\na,7\n"] {
        let request = admin.request(ImportUsersRequest { csv: csv.into() });
        assert_eq!(refused!(admin.client.import_users(request).await, InvalidArgument, "INVALID_CSV"), "csv");
    }
    Ok(())
}

#[tokio::test]
async fn devices_come_with_their_claim_codes() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut integrator = Asking::demo(&sandbox, "device-integrator").await?;
    let csv = "name,mac\nOne,00:00:5e:00:53:01\nTwo,00:00:5e:00:53:01\nThree,\nFour,nonsense\n".to_owned();
    let request = integrator.request(ImportDevicesRequest { csv });
    let report = integrator.client.import_devices(request).await?.into_inner();
    assert_eq!(
        report.refused.iter().map(|row| (row.row, row.field.as_str())).collect::<Vec<_>>(),
        [(2, "mac"), (4, "mac")]
    );
    assert_eq!(report.claim_codes.len(), 2);
    assert!(report.claim_codes.iter().all(|code| code.claim_code.len() == 23));
    let mut nurse = Asking::demo(&sandbox, "nurse").await?;
    let request = nurse.request(ImportDevicesRequest { csv: "name\nOne\n".into() });
    refused!(nurse.client.import_devices(request).await, PermissionDenied, "NOT_PERMITTED");
    Ok(())
}

#[tokio::test]
async fn an_import_grants_no_more_than_a_grant_would() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    for (id, permissions, field) in
        [("clerk", &["users.manage"][..], "role"), ("granter", &["users.manage", "roles.manage"], "role")]
    {
        let user = person(&mut admin, id, false).await?;
        let permissions = permissions.iter().map(|&name| name.to_owned()).collect();
        let role = Role { role_id: id.into(), permissions, ..Role::default() };
        let request = admin.request(CreateRoleRequest { role: Some(role) });
        admin.client.create_role(request).await?;
        grant(&mut admin, &user.user_id, id).await?;
        let mut importing = Asking::user(&sandbox, user.user_id.parse()?).await?;
        let csv = format!("user_id,name,role\n,A,nurse\n,B,\n{},C,\n", user.user_id);
        let request = importing.request(ImportUsersRequest { csv });
        let report = importing.client.import_users(request).await?.into_inner();
        let refused: Vec<_> = report.refused.iter().map(|row| (row.row, row.field.as_str())).collect();
        assert_eq!((report.imported, &refused[..]), (1, &[(1, field), (3, "id")][..]), "{id}");
    }
    Ok(())
}
