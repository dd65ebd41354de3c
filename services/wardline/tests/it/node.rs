//! A node of analytics in a process of its own, and ways to ask it.

use anyhow::{Context, ensure};
use auth::{DemoIssuer, demo_person};
use model::DeviceId;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

fn wardline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wardline"));
    command.stderr(Stdio::null()).env_remove("WARDLINE_TOKEN");
    command
}

/// A node with registry and analytics, in a process of its own.
pub(super) struct Node {
    pub(super) child: Child,
    dir: PathBuf,
    grpc: String,
    pub(super) api: String,
}

impl Node {
    pub(super) fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, &[])
    }

    /// The same with other arguments.
    pub(super) fn start_with(dir: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = wardline();
        command.args(["run", "--service", "registry", "--service", "analytics"]);
        for setting in ["server.grpc_listen", "server.api_listen", "server.http_listen"] {
            command.args(["--set", &format!("{setting}=127.0.0.1:0")]);
        }
        command.args(["--set", "analytics.lease_seconds=1", "--set", "quotas.writes_a_second=0"]);
        command.args(["--set", &format!("data.dir={}", dir.display())]).args(more);
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

    /// The same of a device.
    pub(super) fn device_token(&self, device: DeviceId) -> anyhow::Result<String> {
        Ok(DemoIssuer::open(&self.dir.join("demo"))?.device_token(device)?)
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
    pub(super) fn ask_with(&self, header: &str, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
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
    pub(super) fn ended(&self, id: &str) -> anyhow::Result<Value> {
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
