//! Analytics as people use it: the very binary, its commands, and the paths of the systems that it replaces.

use super::node::{Node, PATIENCE, sample};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};
use tempfile::TempDir;

#[test]
fn what_is_imported_is_reported_on_by_command_and_by_the_old_paths() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(dir.path())?;
    let admin = "administrator";
    let imported = node.run(admin, &["import", "cities", &sample("cities.csv.zst")])?;
    let text = imported.map_err(|code| anyhow::anyhow!("import: {code}"))?;
    ensure!(text.contains("succeeded") && text.contains("\"refused\""), "{text}");
    for name in ["sites.2020.csv.zst", "prescribers.years-of-exp.csv.zst"] {
        let kind = name.split('.').next().unwrap_or_default();
        let text =
            node.run(admin, &["import", kind, &sample(name)])?.map_err(|code| anyhow::anyhow!("{name}: {code}"))?;
        ensure!(text.contains("rows accepted"), "{text}");
    }
    let table =
        node.run("doctor", &["report", "sites_by_state", "--state", "TX"])?.map_err(|_| anyhow::anyhow!("report"))?;
    ensure!(table.lines().count() > 2, "{table}");
    ensure!(node.run("doctor", &["report", "sites_by_state", "--state", "Texas"])?.is_err());
    ensure!(node.run("doctor", &["report", "hospitals_by_type"])?.is_err(), "nothing is imported of it");
    // who may not import, or submit, or see another's job
    ensure!(node.run("ml-scientist", &["import", "cities", &sample("cities.csv.zst")])?.is_err());
    ensure!(node.run("doctor", &["jobs", "submit", "task"])?.is_err());
    let (status, answer) = node.ask("ml-scientist", "POST", "/jobs/get_sites_by_state-TX", "")?;
    ensure!(status == 200, "{status} {answer}");
    let id = answer["job"]["job_id"].as_str().context("no id")?.to_owned();
    ensure!(node.ask("application-developer", "GET", &format!("/jobs/{id}"), "")?.0 == 404);
    let job = node.ended(&id)?;
    ensure!(job["state"] == "JOB_STATE_SUCCEEDED", "{job}");
    let (status, rows) = node.ask("ml-scientist", "GET", &format!("/v1/jobs/{id}/result"), "")?;
    ensure!(status == 200 && rows["content_type"] == "application/json", "{status} {rows}");
    // a task is answered at once, and done
    let (status, answer) = node.ask(admin, "GET", "/task?n=41", "")?;
    ensure!(status == 200 && answer["job"]["state"] == "JOB_STATE_QUEUED", "{status} {answer}");
    let job = node.ended(answer["job"]["job_id"].as_str().context("no id")?)?;
    ensure!(job["result"] == json!("{\"n\":42}"), "{job}");
    let (_, listed) = node.ask(admin, "GET", "/jobs", "")?;
    ensure!(listed["jobs"].as_array().is_some_and(|jobs| jobs.len() >= 5), "{listed}");
    let (status, cleared) = node.ask(admin, "DELETE", "/jobs/clear", "")?;
    ensure!(status == 200 && cleared["cleared"].as_u64() >= Some(5), "{status} {cleared}");
    ensure!(node.ask(admin, "GET", &format!("/jobs/{id}"), "")?.0 == 404);
    // versions: imported again, rolled back, and all of it deleted
    // four of its twelve cities are unknown: what is in use stays, unless that is asked for
    let daily = node.run(admin, &["import", "sites", &sample("sites.daily.csv"), "--always"])?;
    ensure!(daily.as_ref().is_ok_and(|text| text.contains("\"in_use\":true")), "{daily:?}");
    let (_, found) = node.ask("doctor", "GET", "/v1/datasets/sites", "")?;
    let versions = found["versions"].as_array().context("no versions")?;
    ensure!(versions.len() == 2 && found["data_set"]["current"]["version_id"] == versions[0]["version_id"], "{found}");
    let older = versions[1]["version_id"].as_str().context("no id")?;
    ensure!(node.run(admin, &["datasets", "use", "sites", older])?.is_ok());
    let (status, deleted) = node.ask(admin, "DELETE", "/data", "")?;
    ensure!(status == 200 && deleted["deleted"].as_u64() == Some(4), "{status} {deleted}");
    ensure!(node.run("doctor", &["report", "sites_by_state", "--state", "TX"])?.is_err());
    Ok(())
}

#[test]
fn what_is_no_message_is_the_callers_fault_at_every_service() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(dir.path())?;
    let token = node.token("administrator")?;
    let mut rpcs = vec!["ReportService/ListReports", "DashboardService/ListStates", "DataService/ListDataSets"];
    rpcs.extend(["JobService/ListJobs", "ModelService/ListModels", "ScheduleService/ListSchedules"]);
    for rpc in rpcs {
        for body in ["", "\0\0\0\0\x05abc", "\x07\0\0\0\0"] {
            let mut stream = TcpStream::connect(&node.api)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            write!(
                stream,
                "POST /wardline.analytics.v1.{rpc} HTTP/1.0\r\nHost: w\r\nAuthorization: Bearer {token}\r\n\
                 Content-Type: application/grpc-web+proto\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            let is_refused = answer.contains("grpc-status: 3\r\n") && answer.contains("grpc-status-details-bin");
            ensure!(is_refused, "{rpc} {body:?}: {answer}");
        }
    }
    Ok(())
}

#[test]
fn made_samples_are_called_so_from_the_import_to_the_report() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(dir.path())?;
    let said = |who: &str, words: &[&str]| node.run(who, words)?.map_err(|code| anyhow::anyhow!("{words:?}: {code}"));
    for (kind, name, is_made) in [("premiums", "premiums.csv", true), ("sites", "sites.daily.csv", false)] {
        said("administrator", &["import", kind, &sample(name)])?;
        let shown = said("doctor", &["datasets", "show", kind])?;
        ensure!(shown.contains("made sample data") == is_made, "{shown}");
    }
    let table = said("doctor", &["report", "premium_trends"])?;
    ensure!(table.contains("made sample data: premiums"), "{table}");
    let table = said("doctor", &["report", "site_releases"])?;
    ensure!(!table.contains("made sample data"), "{table}");
    let (_, found) = node.ask("doctor", "GET", "/v1/reports/premium_trends:run", "")?;
    ensure!(found["made_sample_data"] == json!(["premiums"]), "{found}");
    Ok(())
}

#[test]
fn what_is_made_changed_and_deleted_is_named_in_the_audit_log() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start_with(dir.path(), &["--service", "query"])?;
    let admin = "administrator";
    for name in ["sites.2020.csv.zst", "sites.daily.csv"] {
        ensure!(node.run(admin, &["import", "sites", &sample(name)])?.is_ok(), "{name}");
    }
    let (_, found) = node.ask("doctor", "GET", "/v1/datasets/sites", "")?;
    let [newer, older] = [0, 1].map(|n: usize| found["versions"][n]["version_id"].as_str().unwrap_or_default());
    let imported = found["versions"][0]["job_id"].as_str().context("no job")?;
    ensure!(node.run(admin, &["datasets", "use", "sites", older])?.is_ok());
    let path = format!("/v1/datasets/sites/versions/{newer}");
    ensure!(node.ask("doctor", "DELETE", &path, "")?.0 == 403);
    ensure!(node.ask(admin, "DELETE", &path, "")?.0 == 200);
    let (_, answer) = node.ask(admin, "GET", "/task?n=41", "")?;
    let task = answer["job"]["job_id"].as_str().context("no id")?;
    node.ended(task)?;
    ensure!(node.ask(admin, "DELETE", "/jobs/clear", "")?.0 == 200);
    let (_, log) = node.ask("auditor", "GET", "/v1/audit/records", "")?;
    let records = log["records"].as_array().context("no records")?;
    let n_uploads = records.iter().filter(|record| record["detail"].to_string().contains("upload ")).count();
    ensure!(n_uploads >= 2, "{log}");
    for (detail, n) in [
        // jobs.submit and data.manage
        (format!("import {imported}"), 2),
        (format!("set current version {older}"), 1),
        // refused, and done
        (format!("delete version {newer}"), 2),
        (format!("task {task}"), 1),
        (format!("clear {task}"), 1),
    ] {
        let found = records.iter().filter(|record| record["detail"] == json!(detail)).count();
        ensure!(found == n, "{detail}: {found} in {log}");
    }
    Ok(())
}

/// A publisher of one file, which it gives to whoever does not have it yet.
fn publisher(body: &'static str) -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            // all of it: a connection that is closed over something unread is reset
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let is_known = head.iter().any(|line| line.ends_with(": \"v1\""));
            let (status, body) = if is_known { ("304 Not Modified", "") } else { ("200 OK", body) };
            let length = body.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nETag: \"v1\"\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
        }
    });
    Ok(port)
}

#[test]
fn data_is_reloaded_from_the_web_when_it_has_changed() -> anyhow::Result<()> {
    let (dir, admin) = (TempDir::new()?, "administrator");
    let port = publisher("Location,2020,2021,2022,2023,2024\nTexas,$1,$2,$3,$4,$5\n")?;
    let keys = format!("url = \"http://127.0.0.1:{port}/premiums.csv\", allowed_hosts = [\"127.0.0.1\"]");
    let sources = format!("analytics.sources=[{{name = \"web\", kind = \"premiums\", {keys}}}]");
    let node = Node::start_with(dir.path(), &["--set", &sources])?;
    for nothing_new in [false, true] {
        let (status, answer) = node.ask(admin, "POST", "/data", "")?;
        ensure!(status == 200 && answer["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1), "{status} {answer}");
        let job = node.ended(answer["jobs"][0]["job_id"].as_str().context("no id")?)?;
        let result: Value = serde_json::from_str(job["result"].as_str().unwrap_or_default())?;
        ensure!(job["state"] == "JOB_STATE_SUCCEEDED" && result["nothing_new"] == nothing_new, "{job}");
        let (_, found) = node.ask("doctor", "GET", "/v1/datasets/premiums", "")?;
        ensure!(found["versions"].as_array().is_some_and(|versions| versions.len() == 1), "{found}");
    }
    ensure!(node.ask("doctor", "POST", "/data", "")?.0 == 403);
    Ok(())
}

#[test]
fn a_file_that_is_not_what_it_says_is_refused_by_name_and_a_link_is_not_followed() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(&dir.path().join("node"))?;
    let wrong = dir.path().join("cities.csv");
    fs::write(&wrong, "town,country\nFairlee,US\n")?;
    let (path, admin) = (wrong.display().to_string(), "administrator");
    // none of its paths is open
    for route in proto::rpc::all().iter().filter(|rpc| rpc.process == "analytics").flat_map(|rpc| &rpc.http) {
        let asked = route.path.replace(['{', '}'], "");
        ensure!(node.ask_with("", route.method, &asked, "")?.0 == 401, "{} {asked}", route.method);
    }
    ensure!(node.run(admin, &["import", "cities", &path])? == Err(1));
    let (_, listed) = node.ask(admin, "GET", "/v1/jobs?kind=import", "")?;
    for unknown in ["Import", "foo"] {
        let (status, refused) = node.ask(admin, "GET", &format!("/v1/jobs?kind={unknown}"), "")?;
        let said = refused.to_string();
        ensure!(status == 400 && said.contains("must be one of ") && said.contains("check_quality"), "{status} {said}");
    }
    ensure!(node.ask(admin, "GET", "/v1/jobs?kind=check_quality", "")?.0 == 200, "none of a kind that there is");
    let error = listed["jobs"][0]["error"].as_str().context("no error")?;
    ensure!(error.contains("cities.csv") && error.contains("city"), "{error}");
    let folder = dir.path().join("folder");
    fs::create_dir(&folder)?;
    std::os::unix::fs::symlink("/etc/hostname", folder.join("cities.csv"))?;
    ensure!(node.run(admin, &["import", "cities", &folder.display().to_string()])?.is_err());
    ensure!(node.run("doctor", &["datasets", "show", "cities"])?.is_ok_and(|text| text.lines().count() == 1));
    Ok(())
}

#[test]
fn a_model_is_trained_and_asked_by_command_and_by_path() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let node = Node::start(dir.path())?;
    let (admin, name) = ("administrator", "state_segments");
    let features = json!({
        "median_income": 62248, "poverty_percent": 15.7, "unemployment_rate": 3.1, "uninsured_percent": 9.4,
        "population": 5108468, "life_expectancy": null,
    });
    let asked = json!({ "features": features }).to_string();
    let (status, answer) = node.ask("doctor", "POST", "/api/v1/predict/state-segments", &asked)?;
    ensure!(status == 409 && answer.to_string().contains("submit the job train with model=state_segments"), "{answer}");
    // nothing is imported yet
    let (status, answer) = node.ask(admin, "POST", "/jobs/train-state_segments", "")?;
    ensure!(status == 200, "{status} {answer}");
    let job = node.ended(answer["job"]["job_id"].as_str().context("no id")?)?;
    ensure!(
        job["state"] == "JOB_STATE_FAILED" && job["error"].to_string().contains("wardline import coverage"),
        "{job}"
    );
    for file in [
        "coverage.2022.csv.zst",
        "life_expectancy.2021.csv",
        "poverty_income.csv.zst",
        "state_population.csv",
        "unemployment.csv.zst",
    ] {
        let kind = file.split('.').next().unwrap_or_default();
        ensure!(node.run(admin, &["import", kind, &sample(file)])?.is_ok(), "{file}");
    }
    ensure!(node.run("doctor", &["models", "train", name])?.is_err(), "who may not manage data");
    let trained = node.run(admin, &["models", "train", "state-segments", "--watch"])?;
    let text = trained.map_err(|code| anyhow::anyhow!("train: {code}"))?;
    ensure!(text.contains("promoted: the first model; explained_share"), "{text}");
    let listed = node.run("doctor", &["models", "list"])?.map_err(|_| anyhow::anyhow!("list"))?;
    ensure!(listed.lines().count() == 6 && listed.contains("hospital_rating          no version in use"), "{listed}");
    let shown = node.run("doctor", &["models", "show", name])?.map_err(|_| anyhow::anyhow!("show"))?;
    ensure!(shown.contains("learns segments by k_means") && shown.contains("explained_share"), "{shown}");
    let told = node.run(
        "doctor",
        &[
            "models",
            "predict",
            name,
            "median_income=62248",
            "poverty_percent=15.7",
            "uninsured_percent=9.4",
            "population=5108468",
        ],
    )?;
    let told = told.map_err(|_| anyhow::anyhow!("predict"))?;
    ensure!(told.starts_with("segment      ") && told.matches("stands in").count() == 2, "{told}");
    for path in ["/api/v1/predict/state-segments", "/v1/models/state_segments:predict"] {
        let (status, answer) = node.ask("doctor", "POST", path, &asked)?;
        let is_whole = answer["segment"].as_u64().is_some_and(|segment| segment < 4)
            && answer["distances"].as_array().is_some_and(|distances| distances.len() == 4)
            && answer["warnings"][0]["kind"] == "MODEL_WARNING_KIND_STOOD_IN"
            && answer["trained_at"].is_string();
        ensure!(status == 200 && is_whole, "{status} {answer}");
    }
    // every mistake at once
    let wrong =
        json!({ "features": { "median_income": "much", "poverty_percent": [1], "uninsured_percent": 9, "mood": 1 } });
    let (status, answer) = node.ask("doctor", "POST", "/api/v1/predict/state-segments", &wrong.to_string())?;
    let text = answer.to_string();
    let named = ["features.median_income", "features.poverty_percent", "features.mood"];
    ensure!(status == 400 && named.iter().all(|field| text.contains(field)), "{status} {answer}");
    ensure!(node.ask("doctor", "POST", "/api/v1/predict/weather", &asked)?.0 == 404);
    a_version_is_used_again_and_deleted(&node, name)
}

/// Forth and back.
fn a_version_is_used_again_and_deleted(node: &Node, name: &str) -> anyhow::Result<()> {
    let admin = "administrator";
    ensure!(node.run(admin, &["models", "train", name, "--promote", "always", "--watch"])?.is_ok());
    let (_, found) = node.ask("doctor", "GET", "/v1/models/state_segments", "")?;
    let versions = found["versions"].as_array().context("no versions")?;
    ensure!(versions.len() == 2 && found["model"]["current"] == versions[0], "{found}");
    let card: Value = serde_json::from_str(found["card"].as_str().context("no card")?)?;
    ensure!(card["name"] == name && found["card_version_id"] == versions[0]["version_id"], "{card}");
    let [newer, older] = [0, 1].map(|n: usize| versions[n]["version_id"].as_str().unwrap_or_default());
    ensure!(node.run("doctor", &["models", "use", name, older])?.is_err());
    ensure!(node.run(admin, &["models", "use", name, older])?.is_ok_and(|text| text.contains(older)));
    ensure!(node.run(admin, &["models", "delete", name, older])?.is_err(), "it is in use");
    ensure!(node.run(admin, &["models", "delete", name, newer])?.is_ok());
    Ok(())
}

/// A node is killed while it works; another one takes its jobs over, and each is done once.
#[test]
fn jobs_of_a_node_that_was_killed_are_done_by_the_next_one() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let mut ids = Vec::new();
    let mut node = Node::start(dir.path())?;
    for n in 0..6 {
        let submission = json!({ "kind": "task", "parameters": { "n": n.to_string() }, "request_id": format!("k{n}") });
        let (status, answer) = node.ask("administrator", "POST", "/v1/jobs", &submission.to_string())?;
        ensure!(status == 201, "{status} {answer}");
        ids.push(answer["job"]["job_id"].as_str().context("no id")?.to_owned());
    }
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(700));
        node.child.kill()?;
        node.child.wait()?;
        node = Node::start(dir.path())?;
    }
    for (n, id) in ids.iter().enumerate() {
        let job = node.ended(id)?;
        ensure!(
            job["state"] == "JOB_STATE_SUCCEEDED" && job["result"] == json!(format!("{{\"n\":{}}}", n + 1)),
            "{job}"
        );
        // a submission whose answer was lost, sent again
        let submission = json!({ "kind": "task", "parameters": { "n": n.to_string() }, "request_id": format!("k{n}") });
        let (_, answer) = node.ask("administrator", "POST", "/v1/jobs", &submission.to_string())?;
        ensure!(answer["job"]["job_id"] == json!(id), "{answer}");
    }
    Ok(())
}

/// Schedules of the settings: listed, backfilled once, and for whom it may be.
#[test]
fn schedules_are_listed_and_backfilled_and_a_pipeline_is_known_by_its_name() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    let config = dir.path().join("node.toml");
    let daily = "name = \"daily\"\ncron = \"0 2 * * *\"\ntime_zone = \"America/New_York\"\npipeline = \"daily\"\n";
    let count =
        "name = \"count\"\ncron = \"30 1 * * *\"\nkind = \"task\"\nparameters = { n = \"4\" }\nmissed = \"skip\"\n";
    fs::write(&config, format!("[[analytics.schedules]]\n{daily}[[analytics.schedules]]\n{count}"))?;
    let node = Node::start_with(&dir.path().join("node"), &["--config", &config.display().to_string()])?;
    let admin = "administrator";
    let began = Instant::now();
    let text = loop {
        let text = node.run(admin, &["schedules"])?.map_err(|code| anyhow::anyhow!("schedules: {code}"))?;
        // they begin when the node does
        if !text.contains("never") {
            break text;
        }
        ensure!(began.elapsed() < PATIENCE, "{text}");
    };
    ensure!(text.contains("America/New_York  pipeline daily; missed ones are caught up"), "{text}");
    let (status, listed) = node.ask(admin, "GET", "/v1/schedules", "")?;
    ensure!(status == 200 && listed["schedules"][1]["kind"] == "task", "{listed}");
    ensure!(listed["schedules"][1]["missed"] == "MISSED_SKIP" && listed["schedules"][1]["last"].is_null(), "{listed}");
    let backfill = |role| node.run(role, &["pipeline", "backfill", "count", "2026-01-01", "2026-01-03"]);
    let (first, second) = (backfill(admin)?, backfill(admin)?);
    let first = first.map_err(|code| anyhow::anyhow!("backfill: {code}"))?;
    let ids = |text: &str| text.lines().skip(1).map(|line| line[..36].to_owned()).collect::<Vec<_>>();
    ensure!(ids(&first).len() == 3 && second.as_deref().map(ids) == Ok(ids(&first)), "{first} {second:?}");
    let job = node.ended(&ids(&first)[1])?;
    ensure!(job["result"] == json!("{\"n\":5}") && job["date"] == "2026-01-02" && job["schedule"] == "count", "{job}");
    // the doctor may not; who may submit jobs may not for that import data
    ensure!(backfill("doctor")?.is_err());
    ensure!(backfill("ml-scientist")?.is_ok());
    let over_http = json!({ "start_date": "2026-01-03", "end_date": "2026-01-01" }).to_string();
    let (status, answer) = node.ask(admin, "POST", "/v1/schedules/count:backfill", &over_http)?;
    ensure!(status == 400 && answer["violations"][0]["field"] == "end_date", "{status} {answer}");
    let (status, answer) = node.ask("doctor", "GET", "/v1/pipelines/daily/runs", "")?;
    ensure!(status == 403, "{status} {answer}");
    let (status, answer) = node.ask(admin, "GET", "/v1/pipelines/daily/runs", "")?;
    ensure!(status == 200 && answer["runs"].as_array().is_none_or(Vec::is_empty), "{status} {answer}");
    let (status, answer) = node.ask(admin, "POST", "/v1/pipelines/weekly:run", "{}")?;
    ensure!(status == 404, "{status} {answer}");
    for date in ["2999-01-01", "20260101", "2026-02-30"] {
        let (status, answer) =
            node.ask(admin, "POST", "/v1/pipelines/daily:run", &json!({ "date": date }).to_string())?;
        ensure!(status == 400, "{date}: {status} {answer}");
    }
    let of_run = "/v1/pipelines/daily/runs/3b241101-e2bb-4255-8caf-4136c566a962";
    ensure!(node.ask(admin, "GET", of_run, "")?.0 == 404);
    ensure!(node.ask(admin, "POST", &format!("{of_run}:retry"), "")?.0 == 404);
    Ok(())
}
