//! A dashboard's questions, as it asks them over HTTP: at both paths, permitted, and files as they are.

use super::node::{Node, sample};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
};
use tempfile::TempDir;

/// Asks for a file: its head, and its bytes.
fn file(node: &Node, path: &str) -> anyhow::Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(&node.api)?;
    let token = node.token("doctor")?;
    // by the older protocol a body has no pieces
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n", node.api)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no body")?;
    let body = answer.split_off(at + 4);
    Ok((String::from_utf8(answer)?.to_lowercase(), body))
}

#[test]
fn what_a_dashboard_asks_is_answered_at_both_paths() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(dir.path())?;
    let before = node.ask("doctor", "GET", "/api/v1/hospitals", "")?;
    ensure!(before.0 == 409 && before.1["reason"] == "NOT_IMPORTED", "{before:?}");
    for (kind, name) in [
        ("hospitals", "hospitals.2025.csv.zst"),
        ("readmissions", "readmissions.csv.zst"),
        ("county_population", "county_population.csv.zst"),
    ] {
        ensure!(node.run("administrator", &["import", kind, &sample(name)])?.is_ok(), "{name}");
    }
    for (old, new) in [
        ("/api/v1/hospitals?state=TX&page_size=3", "/v1/hospitals?state=TX&page_size=3"),
        ("/api/v1/hospitals/010001", "/v1/hospitals/010001"),
        ("/api/v1/states", "/v1/states"),
        ("/api/v1/states/TX", "/v1/states/TX"),
        ("/api/v1/analytics/correlations?method=CORRELATION_METHOD_SPEARMAN", "/v1/analytics/correlations"),
        ("/api/v1/analytics/insights", "/v1/analytics/insights"),
        ("/api/v1/dashboard/summary", "/v1/dashboard/summary"),
    ] {
        let new = if new.ends_with("correlations") { old.trim_start_matches("/api") } else { new };
        let (of_old, of_new) = (node.ask("doctor", "GET", old, "")?, node.ask("doctor", "GET", new, "")?);
        ensure!(of_old.0 == 200 && of_old == of_new, "{old}: {of_old:?}\n{of_new:?}");
        ensure!(node.ask("patient", "GET", old, "")?.0 == 403, "{old}");
    }
    let (_, list) = node.ask("doctor", "GET", "/api/v1/hospitals?state=TX&page_size=3&min_rating=1", "")?;
    ensure!(list["hospitals"].as_array().is_some_and(|hospitals| hospitals.len() == 3), "{list}");
    let (_, texas) = node.ask("doctor", "GET", "/api/v1/states/TX", "")?;
    ensure!(texas["state"]["n_hospitals"] == json!(8) && texas["state"].get("life_expectancy").is_none(), "{texas}");
    let (status, refused) = node.ask("doctor", "GET", "/api/v1/hospitals?state=ZZ&min_rating=6", "")?;
    let fields: Vec<_> =
        refused["violations"].as_array().context("none")?.iter().map(|wrong| &wrong["field"]).collect();
    ensure!(status == 400 && fields == ["state", "min_rating"], "{refused}");
    ensure!(node.ask("doctor", "GET", "/api/v1/hospitals/999999", "")?.0 == 404);

    let (head, body) = file(&node, "/api/v1/export/hospitals?format=csv&state=TX")?;
    ensure!(head.starts_with("http/1.0 200") || head.starts_with("http/1.1 200"), "{head}");
    for line in ["content-type: text/csv; charset=utf-8", "content-disposition: attachment; filename=\"hospitals.csv\""]
    {
        ensure!(head.contains(line), "{head}");
    }
    ensure!(head.contains("etag: ") && String::from_utf8(body)?.lines().count() == 1 + 8);
    let (head, body) = file(&node, "/v1/hospitals:export?format=parquet")?;
    ensure!(head.contains("application/vnd.apache.parquet") && body.starts_with(b"PAR1") && body.ends_with(b"PAR1"));
    let (_, body) = file(&node, "/v1/hospitals:export?format=json")?;
    let json: Value = serde_json::from_slice(&body)?;
    ensure!(json["n_rows"] == json!(431), "{}", json["n_rows"]);

    let said = node.run("doctor", &["insights", "--numbers"])?.map_err(|code| anyhow::anyhow!("insights: {code}"))?;
    ensure!(said.contains("best mean rating") && said.contains("wardline report top_states_by_rating"), "{said}");
    let table = node.run("doctor", &["correlations", "population", "n_hospitals", "--method", "spearman"])?;
    ensure!(table.is_ok_and(|text| text.lines().count() == 2 && text.contains("n_hospitals")));
    ensure!(node.run("administrator", &["jobs", "submit", "check_quality", "kind=hospitals", "--watch"])?.is_ok());
    ensure!(node.run("administrator", &["jobs", "submit", "check_quality", "kind=sites", "--watch"])? == Err(1));
    Ok(())
}
