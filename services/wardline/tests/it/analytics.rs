//! Analytics as people use it: the very binary, its commands, and the paths of the systems that it replaces.

use anyhow::{Context, ensure};
use auth::{DemoIssuer, demo_person};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(90);

fn wardline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.stderr(Stdio::null()).env_remove("WARDLINE_TOKEN");
    command
}

/// A node with registry and analytics, in a process of its own.
pub(super) struct Node {
    child: Child,
    dir: PathBuf,
    grpc: String,
    pub(super) api: String,
}

impl Node {
    pub(super) fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut command = wardline();
        command.args(["run", "--service", "registry", "--service", "analytics"]);
        for setting in ["server.grpc_listen", "server.api_listen", "server.http_listen"] {
            command.args(["--set", &format!("{setting}=127.0.0.1:0")]);
        }
        command.args(["--set", "analytics.lease_seconds=1", "--set", "quotas.writes_a_second=0"]);
        command.args(["--set", &format!("data.dir={}", dir.display())]);
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut after = |word: &str| -> anyhow::Result<String> {
            let found = lines.find_map(|line| Some(line.ok()?.split_once(word)?.1.trim().to_owned()));
            let text = found.with_context(|| format!("the banner does not say {word}"))?;
            Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
        };
        let (grpc, api) = (after("gRPC")?, after("JSON")?);
        // the rest of the banner has to go somewhere
        std::thread::spawn(move || lines.for_each(drop));
        let api = api.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
        Ok(Self { child, dir: dir.to_owned(), grpc: format!("http://{grpc}"), api })
    }

    pub(super) fn token(&self, role: &str) -> anyhow::Result<String> {
        Ok(DemoIssuer::open(&self.dir.join("demo"))?.user_token(demo_person(role).context("nobody")?)?)
    }

    /// What a command prints; its exit code when it fails.
    pub(super) fn run(&self, role: &str, arguments: &[&str]) -> anyhow::Result<Result<String, i32>> {
        let mut command = wardline();
        command.args(["--endpoint", &self.grpc]).args(arguments).env("WARDLINE_TOKEN", self.token(role)?);
        let output = command.output()?;
        let text = String::from_utf8(output.stdout)?;
        Ok(if output.status.success() { Ok(text) } else { Err(output.status.code().unwrap_or(-1)) })
    }

    /// Asks the JSON API: status and body.
    pub(super) fn ask(&self, role: &str, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
        self.ask_with(&format!("Authorization: Bearer {}\r\n", self.token(role)?), method, path, body)
    }

    /// The same, with this header or none.
    fn ask_with(&self, header: &str, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(&self.api)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{header}Connection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.api
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
        let status = head.split_whitespace().nth(1).context("no status")?.parse()?;
        // a chunked body has its sizes between the lines
        let start = body.find('{').unwrap_or_default();
        let end = body.rfind('}').map_or(start, |end| end + 1);
        Ok((status, serde_json::from_str(&body[start..end]).unwrap_or(Value::Null)))
    }

    /// Waits for a job's end.
    fn ended(&self, id: &str) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let (status, answer) = self.ask("administrator", "GET", &format!("/api/v1/jobs/{id}:wait"), "")?;
            if status == 200 {
                return Ok(answer["job"].clone());
            }
            ensure!(status == 504 && began.elapsed() < PATIENCE, "{status} {answer}");
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn sample(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../analytics/samples").join(name).display().to_string()
}

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
    ensure!(node.run(admin, &["import", "sites", &sample("sites.daily.csv")])?.is_ok());
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
        ensure!(status == 200, "{status} {answer}");
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
