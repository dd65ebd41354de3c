//! A ward for processes: a folder with demo people and beds, settings, tokens.

use super::{
    binary,
    child::{Child, Spec, free_address},
    engines::{Engines, Kind},
};
use crate::Bed;
use anyhow::Context;
use auth::{DemoIssuer, demo_person};
use client::Tokens;
use model::{DeviceId, UserId};
use node::config::{Config, Sources};
use std::{fs, path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::process::Command;
use wardline::demo;

/// Beds, people, engines; processes are made from it.
pub struct Ward {
    /// Everything that is kept on this side; logs of the processes too.
    pub dir: TempDir,
    /// Who sends, and whose readings.
    pub beds: Vec<Bed>,
    /// What the processes stand on.
    pub engines: Engines,
    /// The key and the checkpoints of the processes' audit log.
    pub audit_dir: PathBuf,
    binary: PathBuf,
    issuer: Arc<DemoIssuer>,
}

impl Ward {
    /// A ward of `n_beds`, on engines that are brought up to date.
    pub async fn new(kind: Kind, n_beds: u32) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let binary = tokio::task::spawn_blocking(binary::fresh).await??;
        let sources = Sources {
            file: None,
            environment: Vec::new(),
            flags: vec![format!("data.dir={}", dir.path().join("data").display())],
        };
        let config = Config::load(&sources)?;
        let beds: Vec<_> = (0..n_beds).map(Bed::numbered).collect();
        demo::people(&config.directory_dir())?;
        fs::write(config.directory_dir().join("beds.toml"), crate::directory_of(&beds))?;
        let issuer = Arc::new(DemoIssuer::open(&config.demo_dir())?);
        let ward = Self { dir, beds, engines: Engines::new(kind), audit_dir: config.audit_dir(), binary, issuer };
        ward.migrate("writer").await?;
        Ok(ward)
    }

    /// `wardline migrate`, for a consumer group.
    pub async fn migrate(&self, group: &str) -> anyhow::Result<()> {
        let mut command = Command::new(&self.binary);
        let done = command.arg("migrate").args(self.flags(group)).kill_on_drop(true).output().await?;
        anyhow::ensure!(done.status.success(), "wardline migrate: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    /// Starts a process with services (none: all), its writer in a consumer group.
    pub fn start(&self, name: &str, services: &[&str], group: &str) -> anyhow::Result<Child> {
        self.start_with(name, services, group, &[])
    }

    /// The same with more settings.
    pub fn start_with(&self, name: &str, services: &[&str], group: &str, settings: &[String]) -> anyhow::Result<Child> {
        let (grpc, http) = (free_address()?, free_address()?);
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(services.iter().flat_map(|&service| ["--service".to_owned(), service.to_owned()]));
        arguments.extend(self.flags(group));
        let listeners = [
            format!("server.grpc_listen={grpc}"),
            format!("server.http_listen={http}"),
            "server.api_listen=".to_owned(),
        ];
        for setting in listeners.iter().chain(settings) {
            arguments.extend(["--set".to_owned(), setting.clone()]);
        }
        let log = self.dir.path().join(format!("{name}.log"));
        Child::start(Spec { name: name.to_owned(), binary: self.binary.clone(), arguments, grpc, http, log })
    }

    /// Where its processes keep everything.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs a command to its end, with the settings of its processes.
    pub async fn wardline(&self, command: &[&str], group: &str) -> anyhow::Result<std::process::Output> {
        let mut process = Command::new(&self.binary);
        Ok(process.args(command).args(self.flags(group)).kill_on_drop(true).output().await?)
    }

    /// Settings that lead to its engines and its folder.
    pub fn settings(&self) -> Vec<String> {
        let mut settings = self.engines.settings();
        settings.push(format!("data.dir={}", self.data_dir().display()));
        settings
    }

    fn flags(&self, group: &str) -> Vec<String> {
        let mut settings = self.settings();
        settings.push(format!("writer.group={}", self.engines.group(group)));
        // hours are sealed, and unsealed by what comes late, all the while
        settings.extend(["writer.seal_every_seconds=1".to_owned(), "writer.seal_quiet_seconds=0".to_owned()]);
        settings.push("telemetry.level=warn".to_owned());
        // the judge reads everything at once
        settings.extend(["reads", "writes", "batches"].map(|what| format!("quotas.{what}_a_second=0")));
        settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]).collect()
    }

    /// Tokens for a device, a new one each time.
    pub fn tokens(&self, device: DeviceId) -> Tokens {
        let issuer = Arc::clone(&self.issuer);
        Arc::new(move || Ok(issuer.device_token(device)?))
    }

    /// A token for a device.
    pub fn token(&self, device: DeviceId) -> anyhow::Result<String> {
        Ok(self.issuer.device_token(device)?)
    }

    /// A token for anybody.
    pub fn user(&self, user: UserId) -> anyhow::Result<String> {
        Ok(self.issuer.user_token(user)?)
    }

    /// A token for one of the demo's people, by role.
    pub fn person(&self, role: &str) -> anyhow::Result<String> {
        let user = demo_person(role).context("no such role")?;
        self.user(user)
    }
}
