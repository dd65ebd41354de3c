//! Many rows at once: a bad one is refused by itself.

use super::{Asking, grant, person, refusal, refused};
use anyhow::Context;
use auth::demo_person;
use clap::Parser;
use proto::registry::v1::{CreateRoleRequest, ImportDevicesRequest, ImportUsersRequest, ListUsersRequest, Role};
use tests::Sandbox;
use tonic::Code;
use wardline::{
    cli::{Cli, Command},
    people::RegistryCli,
};

#[tokio::test]
async fn of_a_thousand_people_the_bad_ones_are_named_and_the_rest_is_there() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    let mut csv = String::from("name,birth_date,role,patient_id,ward\n");
    for row in 1..=1_000 {
        let (name, birth_date, role, patient, ward) = match row {
            500 => ("Row 500".to_owned(), "2999-01-01", "", String::new(), ""),
            600 => ("Row 600".to_owned(), "", "pilot", String::new(), ""),
            700 => (String::new(), "1970-01-01", "", String::new(), ""),
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

    for csv in [
        "birth_date\n1970-01-01\n",
        "name,name\na,b\n",
        "name,shoe_size\na,7\n",
        "name;ward\na;b\n",
        "name\n\"a\" b\n",
        "name\n\"a\n",
    ] {
        let request = admin.request(ImportUsersRequest { csv: csv.into() });
        assert_eq!(refused!(admin.client.import_users(request).await, InvalidArgument, "INVALID_CSV"), "csv");
    }
    Ok(())
}

#[tokio::test]
async fn a_row_is_named_by_its_line_and_what_is_not_there_is_no_row() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let mut admin = Asking::demo(&sandbox, "administrator").await?;
    // as a list prints it, with an empty line, an empty row, a cell too few, one too many, and one that nobody is called
    let csv = "user,name,birth_date,patient,ward,suspended,updated,by\n\
        ,Ada,1969,,,yes,2024-01-01T00:00:00Z,user:x\n\n,,,,,,,\n,Bob,,\n,Carl,1969-12,,,no,,,\n,\"'=1+1\",1969-12,,,no,,\n\
        ,\u{202e}eve,,,,,,\n,Dan,,,,maybe,,\n";
    let request = admin.request(ImportUsersRequest { csv: csv.into() });
    let report = admin.client.import_users(request).await?.into_inner();
    let refused: Vec<_> = report.refused.iter().map(|row| (row.row, row.line, row.field.as_str())).collect();
    assert_eq!(refused, [(2, 5, ""), (3, 6, ""), (5, 8, "name"), (6, 9, "suspended")]);
    let request = admin.request(ListUsersRequest::default());
    let users = admin.client.list_users(request).await?.into_inner().users;
    let mut found: Vec<_> = users.into_iter().map(|user| (user.person.unwrap_or_default(), user.suspended)).collect();
    found.sort_by_key(|(person, _)| person.name.clone());
    let found: Vec<_> = found.iter().map(|(one, suspended)| (one.name(), one.birth_date(), *suspended)).collect();
    assert_eq!(found, [("=1+1", "1969-12", Some(false)), ("Ada", "1969", Some(true))]);
    Ok(())
}

/// Runs `wardline ...` as the administrator; what it printed, and how it ended.
async fn command(sandbox: &Sandbox, arguments: &[&str]) -> anyhow::Result<(String, anyhow::Result<()>)> {
    let Some(Command::Registry(command)) = Cli::try_parse_from([&["wardline"], arguments].concat())?.command else {
        anyhow::bail!("not a command of the registry");
    };
    let token = sandbox.issuer()?.user_token(demo_person("administrator").context("nobody")?)?;
    let mut out = Vec::new();
    let mut cli = RegistryCli::connect(&sandbox.endpoint(), &token, command.caller()).await?;
    let ended = cli.act(&command, &mut out).await;
    Ok((String::from_utf8(out)?, ended))
}

#[tokio::test]
async fn what_one_node_prints_another_takes_and_a_large_file_is_sent_in_parts() -> anyhow::Result<()> {
    let (one, other) = (Sandbox::start(0).await?, Sandbox::start(0).await?);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("people.csv");
    let path = file.to_str().context("a path")?;
    let rows: String = (1..=1_500).map(|row| format!("\"=SUM({row})\"\n")).collect();
    std::fs::write(&file, format!("name\n{rows}\u{202e}\n"))?;
    let (printed, ended) = command(&one, &["users", "import", path, "--output", "csv"]).await?;
    assert_eq!(printed.lines().count(), 1_501);
    let said = ended.err().context("a row is refused")?.to_string();
    assert!(said.contains("1 rows were refused") && said.contains("line 1502: name:"), "{said}");

    let (listed, ended) = command(&one, &["users", "list", "--output", "csv"]).await?;
    ended?;
    assert!(listed.contains("'=SUM(7)"), "no formula");
    std::fs::write(&file, &listed)?;
    let (_, ended) = command(&other, &["users", "import", path]).await?;
    ended?;
    let (again, _) = command(&other, &["users", "list", "--output", "csv"]).await?;
    let known = |text: &str| {
        let rows = text.lines().map(|line| line.split(',').take(6).collect::<Vec<_>>().join(","));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(known(&again), known(&listed));
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
    let csv = format!("device_id,name\n{},Again\n", report.claim_codes[0].device_id);
    let request = integrator.request(ImportDevicesRequest { csv });
    let again = integrator.client.import_devices(request).await?.into_inner().refused;
    assert_eq!(again.iter().map(|row| row.field.as_str()).collect::<Vec<_>>(), ["device_id"]);
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
        assert_eq!((report.imported, &refused[..]), (1, &[(1, field), (3, "user_id")][..]), "{id}");
    }
    Ok(())
}
