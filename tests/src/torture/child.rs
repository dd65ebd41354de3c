//! `wardline` as a process of its own: started, killed, frozen, asked.

use crate::http;
use anyhow::Context;
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpSocket,
    process::{Child as Process, Command},
    time::{Instant, sleep, timeout},
};

/// How long a node may take to be ready, its engines being there.
pub const READY_LIMIT: Duration = Duration::from_secs(120);
/// How long a node may take to end when it is told to.
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The most that one request to the internal port may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(10);
/// A node that ends by itself (its engine is away) is started again after this, as a platform would.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
/// Below the ports that systems give out by themselves: a device that asks for a dead node must not find itself.
const PORTS: std::ops::Range<u16> = 21_000..32_000;

/// How a process is started, each time.
#[derive(Debug, Clone)]
pub struct Spec {
    /// What it is called, in file names and messages.
    pub name: String,
    /// Path of the binary `wardline`.
    pub binary: PathBuf,
    /// The command and its arguments.
    pub arguments: Vec<String>,
    /// Where it serves gRPC.
    pub grpc: SocketAddr,
    /// Where it serves `/ready` and `/metrics`.
    pub http: SocketAddr,
    /// Gets what it writes.
    pub log: PathBuf,
}

/// A running (or just ended) process.
pub struct Child {
    spec: Spec,
    process: Process,
    n_own_ends: u32,
}

impl Child {
    /// Starts it, without waiting for anything.
    pub fn start(spec: Spec) -> anyhow::Result<Self> {
        let process = spawn(&spec)?;
        Ok(Self { spec, process, n_own_ends: 0 })
    }

    /// Where it serves gRPC, as a URI.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.spec.grpc)
    }

    /// Its process; `None` once it has ended.
    pub fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// How often it ended without being told to.
    pub fn n_own_ends(&self) -> u32 {
        self.n_own_ends
    }

    /// Waits until it says that it is ready; one that has ended is started again.
    pub async fn ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_LIMIT;
        while !matches!(self.get("/ready").await, Ok((200, _))) {
            if let Some(status) = self.process.try_wait()? {
                self.n_own_ends += 1;
                tracing::info!(name = self.spec.name, %status, "ended by itself; starting it again");
                sleep(RESTART_PAUSE).await;
                self.process = spawn(&self.spec)?;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{} is not ready; its log ends:\n{}",
                self.spec.name,
                self.tail()
            );
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until it says that it is ready; `false` when it ended instead.
    pub async fn ready_or_ended(&mut self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + READY_LIMIT;
        while !matches!(self.get("/ready").await, Ok((200, _))) {
            if self.process.try_wait()?.is_some() {
                return Ok(false);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "{} neither ends nor is ready:\n{}",
                self.spec.name,
                self.tail()
            );
            sleep(ASK_EVERY).await;
        }
        Ok(true)
    }

    /// Kills the process (SIGKILL).
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        if self.process.try_wait()?.is_some() {
            self.n_own_ends += 1;
            return Ok(());
        }
        Ok(self.process.kill().await?)
    }

    /// Starts it again, after [`Child::kill`] or [`Child::stop`].
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.process = spawn(&self.spec)?;
        Ok(())
    }

    /// SIGTERM, and waits: it must end well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal("-TERM").await?;
        let status: ExitStatus = timeout(STOP_LIMIT, self.process.wait())
            .await
            .with_context(|| format!("{} does not stop; its log ends:\n{}", self.spec.name, self.tail()))??;
        anyhow::ensure!(status.success(), "{} ended with {status}; its log ends:\n{}", self.spec.name, self.tail());
        Ok(())
    }

    /// SIGSTOP: alive, and does nothing.
    pub async fn freeze(&self) -> anyhow::Result<()> {
        self.signal("-STOP").await
    }

    /// Lets the process go on (SIGCONT).
    pub async fn thaw(&self) -> anyhow::Result<()> {
        self.signal("-CONT").await
    }

    async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.process.id().with_context(|| format!("{} does not run", self.spec.name))?;
        let sent = Command::new("kill").args([signal, &pid.to_string()]).status().await?;
        anyhow::ensure!(sent.success(), "kill {signal} {pid}");
        Ok(())
    }

    /// The most memory it ever held, in MiB (VmHWM).
    pub fn peak_mib(&self) -> anyhow::Result<f64> {
        let pid = self.process.id().with_context(|| format!("{} does not run", self.spec.name))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(peak.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
    }

    /// The sum of a metric over its labels; 0 when it has not been counted yet.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        timeout(ASK_LIMIT, http::metric(self.spec.http, name)).await?
    }

    /// Status and text of a page of the internal port.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        timeout(ASK_LIMIT, http::get(self.spec.http, path)).await?
    }

    /// The end of what it wrote.
    pub fn tail(&self) -> String {
        let text = fs::read(&self.spec.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

fn spawn(spec: &Spec) -> anyhow::Result<Process> {
    let log = fs::OpenOptions::new().create(true).append(true).open(&spec.log)?;
    let process = Command::new(&spec.binary)
        .args(&spec.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn();
    process.with_context(|| format!("{} cannot be started", spec.binary.display()))
}

/// An address on loopback where nobody listens, and that is given to nobody else while this process lives: not by this
/// function, and not by the system to a connection.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    static RESERVED: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    for _ in 0..1_000 {
        let (address, socket) =
            (SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS))), TcpSocket::new_v4()?);
        if socket.bind(address).is_ok() {
            socket.set_reuseaddr(true)?; // after the bind: who is started with the address may listen, no other may reserve
            RESERVED.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
            return Ok(address);
        }
    }
    anyhow::bail!("no port is free")
}
