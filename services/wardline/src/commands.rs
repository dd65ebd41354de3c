//! Each command: settings in, work done, result on standard output.

use crate::{
    audit, certificate,
    cli::{Access, Audit, Cli, Command, Files},
    demo,
    ending::No,
    metrics_table,
    operator::TokenArgs,
    people::RegistryCli,
    quarantine::QuarantineClient,
    repair,
    replay::{self, Target},
    settings, simulate, timeline,
};
use anyhow::{Context, anyhow, bail};
use auth::{DEMO_PEOPLE, DemoIssuer, demo_person};
use clap::CommandFactory;
use client::{Remote, Tokens};
use futures::future::LocalBoxFuture;
use guard::access;
use model::quoted;
use node::{
    config::{Config, MANUAL, Sources},
    run::Node,
    services, telemetry,
    wiring::Service,
};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{Write, stdout},
    time::Duration,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Reads the settings and does what the command line says.
///
/// Boxed, so that all of it is compiled with this crate and not once more with the binary.
pub fn execute(
    cli: Cli,
    known: &'static [Service],
    stop: CancellationToken,
) -> LocalBoxFuture<'static, anyhow::Result<()>> {
    Box::pin(async move {
        let asks = cli.command.as_ref().is_some_and(only_asks);
        let done = dispatch(cli, known, stop.clone());
        if asks { unless_stopped(&stop, done).await } else { done.await }
    })
}

/// Whether a command does nothing but call a node, which may let it wait.
fn only_asks(command: &Command) -> bool {
    matches!(command, Command::Registry(_) | Command::Quarantine { .. } | Command::Audit { .. } | Command::Analytics(_))
}

/// Does something until it is done, or until the process is told to stop.
async fn unless_stopped(
    stop: &CancellationToken,
    doing: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    tokio::select! {
        done = doing => done,
        () = stop.cancelled() => bail!("stopped; what it was asking for may have been done already"),
    }
}

async fn dispatch(cli: Cli, known: &'static [Service], stop: CancellationToken) -> anyhow::Result<()> {
    let file = cli.settings.config.clone();
    let sources = Sources { file, environment: std::env::vars().collect(), flags: cli.settings.set.clone() };
    if let Some(text) = cli.command.as_ref().and_then(|command| printed(command, known)) {
        return say(text?);
    }
    let config = Config::load_for(&sources, known.iter().filter_map(|service| service.check))?;
    telemetry::logs(&config.telemetry)?;
    let files = cli.settings.files;
    let (uris, own) = (cli.settings.endpoints, config.uri(config.server.grpc_listen));
    // only commands that are clients need its files
    let remote = || files.remotes(&uris, &own);
    let tokens = |given: &TokenArgs, role| given.tokens().map_or_else(|| demo_tokens(&config, role), Ok);
    match cli.command {
        None => demo::run(&config, &files, known, stop).await,
        Some(Command::Run { services }) => run(&config, &files, &chosen(known, &services)?, stop).await,
        Some(Command::Migrate) => {
            settings::migrate(&config).await?.iter().try_for_each(|line| say(format!("{line}\n")))
        }
        Some(Command::Config { .. }) => say(config.shown()),
        Some(Command::Repair { write, begin_anew }) => {
            repair::run(&config, repair::Options { write, begin_anew }, &mut stdout()).await
        }
        Some(Command::Health) => health(&remote()?).await,
        Some(Command::Quarantine { action, access }) => {
            let tokens = tokens(&access, "administrator")?;
            QuarantineClient::connect(remote()?, tokens).await?.act(&action, &mut stdout()).await
        }
        Some(Command::Audit { what: Audit::Key, .. }) => {
            let key = audit::public_key(&config.audit_dir())?;
            say(key.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        }
        Some(Command::Audit { what, access }) => {
            let tokens = tokens(&access, "auditor")?;
            audit::run(&what, remote()?, tokens, &config.audit_dir(), &mut stdout()).await
        }
        Some(Command::Analytics(command)) => {
            let tokens = tokens(command.access(), "administrator")?;
            command.act(remote()?, tokens, &mut stdout()).await
        }
        Some(Command::Registry(command)) => {
            let tokens = tokens(&command.caller().access, "administrator")?;
            RegistryCli::connect(remote()?, tokens, command.caller()).await?.act(&command, &mut stdout()).await
        }
        Some(Command::Replay { options, sending }) => {
            let (json, target) = (options.json, Target::of(&config, remote()?).with(&sending));
            let mut report = replay::run(options, target).await?;
            report.quarantined = quarantined(remote()?, tokens(&sending.access, "administrator").ok()).await;
            print(&report, json)
        }
        Some(Command::Simulate { other: Some(simulate::Other::Prescribers(options)), .. }) => {
            simulate::prescribers::write(&options)
        }
        Some(Command::Simulate { other: None, options, sending }) => {
            let (json, target) = (options.json, Target::of(&config, remote()?).with(&sending));
            let report = simulate::run(options, target).await?;
            print(&report, json)
        }
        Some(Command::Timeline(options)) => {
            let tokens = tokens(&options.access, "doctor")?;
            timeline::run(options, remote()?, tokens).await
        }
        Some(Command::Token { who }) => say(token(&config, &who)? + "\n"),
        Some(Command::Certificate { what }) => certificate::run(&what, &config, &mut stdout()),
        Some(Command::Access { .. } | Command::Openapi | Command::Metrics | Command::Completions { .. }) => Ok(()),
    }
}

/// What is the same for every node, and needs no settings.
fn printed(command: &Command, known: &[Service]) -> Option<anyhow::Result<String>> {
    Some(match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "wardline", &mut script);
            String::from_utf8(script).map_err(Into::into)
        }
        Command::Access { what: Access::Matrix } => Ok(access::matrix()),
        Command::Openapi => gateway::openapi::document(),
        Command::Metrics => Ok(metrics_table::table(known)),
        Command::Config { manual: true } => Ok(MANUAL.to_owned()),
        _ => return None,
    })
}

/// The services that were named, in the order in which they are known; all when none was.
fn chosen(known: &'static [Service], named: &[String]) -> anyhow::Result<Vec<Service>> {
    if let Some(unknown) = named.iter().find(|name| known.iter().all(|service| service.name != **name)) {
        let known: Vec<_> = known.iter().map(|service| format!("{} ({})", service.name, service.about)).collect();
        bail!("--service {}: there is none of this name; give one of {}", quoted(unknown), known.join(", "));
    }
    let is_chosen = |service: &&Service| named.is_empty() || named.iter().any(|name| service.name == name);
    Ok(known.iter().filter(is_chosen).copied().collect())
}

async fn run(config: &Config, files: &Files, services: &[Service], stop: CancellationToken) -> anyhow::Result<()> {
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
        if services.contains(&services::REGISTRY) {
            demo::staff(config, &files.remote(&config.uri(node.grpc))?).await?;
        }
        // the node goes on when nobody reads it
        let _ = say(demo::banner(config, &node)? + "\n");
    }
    node.wait().await
}

/// A report as one JSON object, or for people.
fn print(report: &(impl Serialize + Display), json: bool) -> anyhow::Result<()> {
    say(if json { serde_json::to_string(report)? } else { report.to_string() } + "\n")
}

/// Prints; a reader that has gone is an error like any other.
fn say(text: impl AsRef<str>) -> anyhow::Result<()> {
    Ok(stdout().write_all(text.as_ref().as_bytes())?)
}

/// How long a node may take to say whether it serves.
const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

async fn health(remote: &Remote) -> anyhow::Result<()> {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let check = async {
        let connection = remote.connection()?;
        connection.ready().await?;
        let answer = HealthClient::new(connection).check(HealthCheckRequest::default()).await;
        anyhow::Ok(answer.map_err(|status| anyhow!("{} ({:?})", status.message(), status.code()))?.into_inner().status)
    };
    // one that was stopped half-way takes connections and says nothing
    let answer = timeout(HEALTH_PATIENCE, check).await;
    match answer.unwrap_or_else(|_| Err(anyhow!("no answer within {} s", HEALTH_PATIENCE.as_secs()))) {
        Ok(status) if status == ServingStatus::Serving as i32 => say("serving\n"),
        Ok(_) => Err(No(format!("{remote} does not serve")).into()),
        Err(error) => Err(No(format!("{remote}: {error:#}")).into()),
    }
}

/// How many records lie in quarantine; `None` when that cannot be known from here.
async fn quarantined(remote: Remote, tokens: Option<Tokens>) -> Option<u64> {
    let mut quarantine = QuarantineClient::connect(remote, tokens?).await.ok()?;
    let waiting = quarantine.list().await.ok()?.iter().filter(|record| record.replayed_at.is_none()).count();
    Some(waiting as u64)
}

/// Tokens of one of the demo's people.
fn demo_tokens(config: &Config, role: &str) -> anyhow::Result<Tokens> {
    Ok(client::token(token(config, role)?))
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
        format!("{}: must be one of {}, or a device's UUID", quoted(who), roles.join(", "))
    })?;
    Ok(issuer.device_token(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_that_waits_for_a_node_ends_when_it_is_told_to() {
        let stop = CancellationToken::new();
        assert!(unless_stopped(&stop, async { Ok(()) }).await.is_ok());
        stop.cancel();
        let error = unless_stopped(&stop, std::future::pending()).await.unwrap_err();
        assert!(error.to_string().starts_with("stopped"), "{error}");
    }
}
