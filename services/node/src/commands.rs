//! Each command: settings in, work done, result on standard output.

use crate::{
    access, audit, bench, certificate,
    cli::{Access, Audit, Cli, Command},
    client::{Files, Remote},
    config::{Config, MANUAL, Sources},
    demo, engines, gateway,
    people::{Clerk, cli::Asking},
    quarantine::Desk,
    recovery, replay,
    run::{Node, Service},
    simulate, telemetry, timeline,
};
use anyhow::{Context, bail};
use auth::{DEMO_PEOPLE, DemoIssuer, demo_person};
use clap::CommandFactory;
use futures::future::LocalBoxFuture;
use serde::Serialize;
use std::{fmt::Display, io::stdout};
use tokio_util::sync::CancellationToken;

/// Reads the settings and does what the command line says.
///
/// Boxed, so that all of it is compiled with this crate and not once more with the binary.
pub fn execute(cli: Cli, stop: CancellationToken) -> LocalBoxFuture<'static, anyhow::Result<()>> {
    Box::pin(dispatch(cli, stop))
}

async fn dispatch(cli: Cli, stop: CancellationToken) -> anyhow::Result<()> {
    let file = cli.settings.config.clone();
    let sources = Sources { file, environment: std::env::vars().collect(), flags: cli.settings.set.clone() };
    if let Some(Command::Completions { shell }) = cli.command {
        clap_complete::generate(shell, &mut Cli::command(), "wardline", &mut stdout());
        return Ok(());
    }
    if let Some(Command::Access { what: Access::Matrix }) = cli.command {
        print!("{}", access::matrix());
        return Ok(());
    }
    if let Some(Command::Openapi) = cli.command {
        print!("{}", gateway::openapi::document()?);
        return Ok(());
    }
    if let Some(Command::Config { manual: true }) = cli.command {
        print!("{MANUAL}");
        return Ok(());
    }
    let config = Config::load(&sources)?;
    telemetry::logs(&config.telemetry)?;
    let files = cli.settings.files;
    let uri = cli.settings.endpoint.unwrap_or_else(|| config.uri(config.server.grpc_listen));
    // only commands that are clients need its files
    let remote = || Remote::new(&uri, &files);
    match cli.command {
        None => demo::run(&config, &files, stop).await,
        Some(Command::Run { services }) => run(&config, &files, &services, stop).await,
        Some(Command::Migrate) => {
            engines::migrate(&config).await?.iter().for_each(|line| println!("{line}"));
            Ok(())
        }
        Some(Command::Config { .. }) => {
            print!("{}", config.shown());
            Ok(())
        }
        Some(Command::Repair(options)) => recovery::repair(&config, options, &mut stdout()).await,
        Some(Command::Health) => health(&remote()?).await,
        Some(Command::Quarantine { action }) => {
            let token = token(&config, "administrator")?;
            Desk::connect(remote()?, &token).await?.act(&action, &mut stdout()).await
        }
        Some(Command::Audit { what: Audit::Key, .. }) => {
            let key = audit::public_key(&config.audit_dir())?;
            println!("{}", key.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            Ok(())
        }
        Some(Command::Audit { what, token: given }) => {
            let token = given.map_or_else(|| token(&config, "auditor"), Ok)?;
            audit::run(&what, remote()?, &token, &config.audit_dir(), &mut stdout()).await
        }
        Some(Command::Users { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.users(&what, &mut stdout()).await
        }
        Some(Command::Devices { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.devices(&what, &mut stdout()).await
        }
        Some(Command::Roles { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.roles(&what, &mut stdout()).await
        }
        Some(Command::Grants { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.grants(&what, &mut stdout()).await
        }
        Some(Command::Relations { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.relations(&what, &mut stdout()).await
        }
        Some(Command::Consents { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.consents(&what, &mut stdout()).await
        }
        Some(Command::Emergencies { what, asking }) => {
            clerk(&config, remote()?, &asking).await?.emergencies(&what, &mut stdout()).await
        }
        Some(Command::Explain { why, asking }) => {
            clerk(&config, remote()?, &asking).await?.explain(&why, &mut stdout()).await
        }
        Some(Command::Replay(options)) => {
            let json = options.json;
            let mut report = replay::run(options, config.target(remote()?)).await?;
            report.quarantined = quarantined(&config, remote()?).await;
            print(&report, json)
        }
        Some(Command::Simulate(options)) => {
            let json = options.json;
            let report = simulate::run(options, config.target(remote()?)).await?;
            print(&report, json)
        }
        Some(Command::Timeline(options)) => {
            let token = match &options.token {
                Some(token) => token.clone(),
                None => token(&config, "doctor")?,
            };
            timeline::run(options, remote()?, &token).await
        }
        Some(Command::Bench(options)) => bench::run(options).await,
        Some(Command::Token { who }) => {
            println!("{}", token(&config, &who)?);
            Ok(())
        }
        Some(Command::Certificate { what }) => certificate::run(&what, &config, &mut stdout()),
        Some(Command::Access { .. } | Command::Openapi | Command::Completions { .. }) => Ok(()),
    }
}

async fn run(config: &Config, files: &Files, services: &[Service], stop: CancellationToken) -> anyhow::Result<()> {
    let services = if services.is_empty() { &Service::ALL } else { services };
    if config.demo() {
        demo::administrator(&config.directory_dir())?;
    }
    let node = match Node::start(config, services, stop.clone()).await {
        // it was still waiting for its store
        Err(error) if stop.is_cancelled() => {
            tracing::info!(error = error.as_ref() as &dyn std::error::Error, "ended before it had started");
            return Ok(());
        }
        started => started?,
    };
    if config.demo() {
        if services.contains(&Service::Registry) {
            demo::staff(config, &Remote::new(&config.uri(node.grpc), files)?).await?;
        }
        println!("{}", demo::banner(config, &node)?);
    }
    node.wait().await
}

/// The registry's desk, for whoever asks.
async fn clerk(config: &Config, remote: Remote, asking: &Asking) -> anyhow::Result<Clerk> {
    let token = asking.token.clone().map_or_else(|| token(config, "administrator"), Ok)?;
    Clerk::connect(remote, &token, asking).await
}

/// A report as one JSON object, or for people.
fn print(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
    } else {
        println!("{report}");
    }
    Ok(())
}

async fn health(remote: &Remote) -> anyhow::Result<()> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let answer = HealthClient::new(remote.connect().await?).check(HealthCheckRequest::default()).await?.into_inner();
    if answer.status != ServingStatus::Serving as i32 {
        bail!("the node does not serve");
    }
    println!("serving");
    Ok(())
}

/// How many records lie in quarantine; `None` when that cannot be known from here.
async fn quarantined(config: &Config, remote: Remote) -> Option<u64> {
    let token = token(config, "administrator").ok()?;
    let mut desk = Desk::connect(remote, &token).await.ok()?;
    let waiting = desk.list().await.ok()?.iter().filter(|record| record.replayed_at.is_none()).count();
    Some(waiting as u64)
}

/// A demo token for a role or a device.
fn token(config: &Config, who: &str) -> anyhow::Result<String> {
    if !config.demo() {
        bail!("the demo issuer is off (auth.demo); give a token of your issuer with --token");
    }
    let issuer = DemoIssuer::open(&config.demo_dir())?;
    if let Some(user) = demo_person(who) {
        return Ok(issuer.user_token(user)?);
    }
    let device = who.parse().with_context(|| {
        let roles: Vec<_> = DEMO_PEOPLE.iter().map(|(role, ..)| *role).collect();
        format!("{who}: must be one of {}, or a device's UUID", roles.join(", "))
    })?;
    Ok(issuer.device_token(device)?)
}
