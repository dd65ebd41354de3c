//! Starts services in this process and stops them together: one failing stops all, draining has a deadline.

use crate::{
    accept::{Door, Speaks},
    audit, clock,
    config::Config,
    engines::{Log, Store},
    gate::Gate,
    gateway,
    http::{self, Ready},
    recovery,
    rpcs::{self, Backends},
    telemetry,
    tls::Tls,
};
use anyhow::{Context, anyhow};
use auth::{DemoIssuer, Shared, Verifier};
use bus::Publish;
use futures::future::BoxFuture;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};
use writer::{HourSealer, Writer};

/// How often the directory's files and the registry are looked at: a change holds within five seconds.
const DIRECTORY_EVERY: Duration = Duration::from_secs(1);
/// How often histograms are folded: until then each sample is kept, however seldom somebody asks for `/metrics`.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked whether the log has failed for good.
const FATAL_EVERY: Duration = Duration::from_secs(1);
/// Largest header list: a token and a few more.
pub(crate) const MAX_HEADER_LIST_BYTES: u32 = 8 * 1024;
/// Resets that a peer may cause before its connection ends (rapid reset); tonic would leave them unlimited.
pub(crate) const MAX_RESETS: (usize, usize) = (20, 128);
/// HTTP/2 windows of a stream and of a connection: a whole message, and a few of them.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// A service that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Service {
    /// gRPC in, log out.
    Ingest,
    /// Log in, store out.
    Writer,
    /// Store in, gRPC out.
    Query,
    /// People, devices and what ties them.
    Registry,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Writer, Self::Query, Self::Registry];
}

/// A running node.
pub struct Node {
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where the JSON API is served, if it is.
    pub api: Option<SocketAddr>,
    /// Where `/metrics`, `/live` and `/ready` are served.
    pub http: SocketAddr,
    tasks: JoinSet<anyhow::Result<()>>,
    stop: CancellationToken,
    drain: Duration,
    publisher: Option<Arc<dyn Publish>>,
    /// Kept open until everything has stopped.
    log: Log,
}

impl Node {
    /// Starts services; returns when they take work. `stop` ends them.
    ///
    /// Boxed, so that all services are compiled with this crate and not once more with every user of it.
    pub fn start<'a>(
        config: &'a Config,
        services: &'a [Service],
        stop: CancellationToken,
    ) -> BoxFuture<'a, anyhow::Result<Self>> {
        Box::pin(Self::begin(config, services, stop))
    }

    async fn begin(config: &Config, services: &[Service], stop: CancellationToken) -> anyhow::Result<Self> {
        let metrics = telemetry::recorder()?;
        let grpc = TcpListener::bind(config.server.grpc_listen).await;
        let grpc = grpc.with_context(|| format!("server.grpc_listen {}", config.server.grpc_listen))?;
        let internal = TcpListener::bind(config.server.http_listen).await;
        let internal = internal.with_context(|| format!("server.http_listen {}", config.server.http_listen))?;
        let api = gateway::listen(config.server.api_listen).await?;
        let (grpc_addr, http_addr) = (grpc.local_addr()?, internal.local_addr()?);
        let tls = Tls::open(&config.tls)?;
        let door = Door::new(config, grpc, tls.clone(), Speaks::Http2);
        let api_addr = api.as_ref().map(TcpListener::local_addr).transpose()?;
        let api_tls = tls.clone().filter(|_| config.api_is_encrypted());
        let api_door = api.map(|api| Door::new(config, api, api_tls, Speaks::Http));
        let directory = Shared::open(&config.directory_dir()).context("directory")?;
        let verifier = Arc::new(verifier(config)?);
        let gate = Gate::new(Arc::clone(&verifier), directory.clone());
        let log = Log::open(config)?;
        // who only reads needs no way into the log
        let publishes = services.iter().any(|service| matches!(service, Service::Ingest | Service::Writer));
        let publisher = if publishes { Some(log.publisher()?) } else { None };
        let notices = services.contains(&Service::Registry).then(|| log.notices(config)).transpose()?;
        let store = Store::open(config).await?;
        if let Some(store) = &store.embedded {
            recovery::registry_is_whole(store).await?;
        }
        if let (Log::Embedded(log), Some(store)) = (&log, &store.embedded) {
            recovery::compare(log, store, &config.writer.group).await?;
        }
        // nobody is let in, or kept out, by what was known before the last change
        registry::follow(&directory, store.registry.as_ref()).await?;

        // who only takes readings shows nothing; before anything runs, for this may refuse the start
        let shows = services.iter().any(|&service| service != Service::Ingest);
        let (auditor, auditing) = match shows {
            true => Some(audit::open(config, &store).await?).unzip(),
            false => (None, None),
        };

        let ready = Ready::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_http(internal, metrics, ready.clone(), stop.clone()));
        tasks.spawn(watch(directory.clone(), store.clone(), publisher.clone(), stop.clone()));
        tasks.spawn({
            let stop = stop.clone();
            async move {
                stop.run_until_cancelled(verifier.follow()).await;
                Ok(())
            }
        });
        if let Some(tls) = tls {
            tasks.spawn(tls.follow(stop.clone()));
        }
        if services.contains(&Service::Writer) {
            let writer =
                Writer::new(store.append.clone(), store.quarantine.clone(), store.positions.clone(), clock::now)
                    .of_topic(log.topic());
            let subscriber = log.subscriber(&config.writer.group)?;
            let stop = stop.clone();
            let [every, quiet] = [config.writer.seal_every_seconds, config.writer.seal_quiet_seconds];
            let sealer = HourSealer::new(store.seal.clone(), Duration::from_secs(every), Duration::from_secs(quiet));
            let sealing = sealer.run(stop.clone());
            tasks.spawn(async move {
                sealing.await;
                Ok(())
            });
            tasks.spawn(async move { writer.run(subscriber, stop).await.context("writer") });
        }
        if let Some(auditor) = auditor.clone() {
            tasks.spawn(watch_audit(auditor, ready.clone(), stop.clone()));
        }
        let backends = Backends { publisher: publisher.as_ref(), notices, store: &store, gate, auditor };
        let routes = rpcs::routes(config, services, backends, &stop).await?;
        let drain = Duration::from_secs(config.server.drain_seconds);
        // what is shown while the node drains is written down, too
        let served = CancellationToken::new();
        let no_more = Arc::new(served.clone().drop_guard());
        if let Some(api_door) = api_door {
            tasks.spawn(gateway::run(api_door, routes.clone(), drain, stop.clone(), Arc::clone(&no_more)));
        }
        let serving = serve_grpc(config, door, routes, stop.clone());
        tasks.spawn(async move {
            let outcome = serving.await;
            drop(no_more);
            outcome
        });
        if let Some(auditing) = auditing {
            tasks.spawn(async move { auditing.run(served).await.context("audit log") });
        }
        ready.set(true);
        tracing::info!(grpc = %grpc_addr, api = api_addr.map(tracing::field::display), http = %http_addr, ?services, "started");
        tasks.spawn({
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                ready.set(false);
                Ok(())
            }
        });
        Ok(Self { grpc: grpc_addr, api: api_addr, http: http_addr, tasks, stop, drain, publisher, log })
    }

    /// Waits until all has stopped: because it was told to, or because something failed (then that is the error).
    pub async fn wait(mut self) -> anyhow::Result<()> {
        let mut outcome = Ok(());
        let first = tokio::select! {
            first = self.tasks.join_next() => first,
            () = self.stop.cancelled() => None,
        };
        if let Some(first) = first {
            let told = self.stop.is_cancelled();
            outcome = flatten(first).and_then(|()| match told {
                true => Ok(()),
                false => Err(anyhow!("a service ended without being told to")),
            });
            self.stop.cancel();
        }
        let rest = async {
            while let Some(ended) = self.tasks.join_next().await {
                // the first failure is the cause; what follows from it is only said
                match flatten(ended) {
                    Err(error) if outcome.is_ok() => outcome = Err(error),
                    Err(error) => tracing::warn!(error = format!("{error:#}"), "also failed while stopping"),
                    Ok(()) => {}
                }
            }
            outcome
        };
        let outcome = tokio::time::timeout(self.drain, rest).await;
        if let Some(publisher) = &self.publisher
            && let Err(error) = publisher.flush(self.drain).await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "not everything published was reported durable");
        }
        drop(self.log);
        outcome.unwrap_or_else(|_| Err(anyhow!("work under way did not end within server.drain_seconds")))
    }
}

fn flatten(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    ended.unwrap_or_else(|panic| Err(anyhow::Error::new(panic).context("a task panicked")))
}

async fn serve_http(
    listener: TcpListener,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    ready: Ready,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let upkeep = metrics.clone();
    let kept_up = async {
        let mut due = tokio::time::interval(UPKEEP_EVERY);
        loop {
            due.tick().await;
            upkeep.run_upkeep();
        }
    };
    tokio::select! {
        served = http::serve(listener, metrics, ready, stop) => served.context("internal port"),
        never = kept_up => never,
    }
}

/// Follows the directory's files and the registry, and ends the node when its log or store has failed for good.
async fn watch(
    directory: Shared,
    store: Store,
    log: Option<Arc<dyn Publish>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut directory_due = tokio::time::interval(DIRECTORY_EVERY);
    let mut fatal_due = tokio::time::interval(FATAL_EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = directory_due.tick() => {
                if let Err(error) = registry::follow(&directory, store.registry.as_ref()).await {
                    metrics::counter!("wardline_registry_follow_failures_total").increment(1);
                    tracing::error!(error = &error as &dyn std::error::Error, "the registry is not followed; what was known counts");
                }
                let directory = directory.clone();
                match tokio::task::spawn_blocking(move || directory.refresh()).await? {
                    Ok(true) => tracing::info!("the directory was read again"),
                    Ok(false) => {}
                    Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "the directory stays as it was"),
                }
            }
            _ = fatal_due.tick() => {
                if let Some(reason) = log.as_ref().and_then(|log| log.fatal()) {
                    return Err(anyhow!("the log failed for good: {reason}"));
                }
                if let Some(reason) = store.failed() {
                    return Err(anyhow!("the store failed for good: {reason}"));
                }
            }
        }
    }
}

/// Takes the node out of service while what is shown cannot be written down, or not be signed.
async fn watch_audit(auditor: store::Auditor, ready: Ready, stop: CancellationToken) -> anyhow::Result<()> {
    let mut due = tokio::time::interval(FATAL_EVERY);
    while stop.run_until_cancelled(due.tick()).await.is_some() {
        ready.trouble(auditor.trouble().map(|why| format!("the audit log: {why}")));
    }
    Ok(())
}

/// A server with our limits for HTTP/2.
pub(crate) fn http2(max_streams: u32) -> Server {
    Server::builder()
        .max_concurrent_streams(max_streams)
        .http2_max_header_list_size(MAX_HEADER_LIST_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS.0))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS.1))
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
}

fn serve_grpc(
    config: &Config,
    door: Door,
    routes: Routes,
    stop: CancellationToken,
) -> impl Future<Output = anyhow::Result<()>> + use<> {
    let mut server = http2(config.server.max_streams);
    if config.server.connection_age_minutes > 0 {
        // a tenth more or less, so that a restart's connections do not all end together
        let seconds = config.server.connection_age_minutes * 60;
        let jitter = clock::now().0.unsigned_abs() % (seconds / 5).max(1);
        server = server
            .max_connection_age(Duration::from_secs(seconds - seconds / 10 + jitter))
            .max_connection_age_grace(Duration::from_secs(config.server.drain_seconds));
    }
    let serving = server.add_routes(routes).serve_with_incoming_shutdown(door.connections(), stop.cancelled_owned());
    async move { serving.await.context("gRPC") }
}

fn verifier(config: &Config) -> anyhow::Result<Verifier> {
    let issuers: Result<Vec<_>, _> =
        config.auth.issuers.iter().map(|issuer| issuer.build(config.auth.pace())).collect();
    let mut issuers = issuers.context("auth.issuers")?;
    if config.demo() {
        issuers.push(DemoIssuer::open(&config.demo_dir()).context("demo issuer")?.issuer());
    }
    issuers.extend(config.devices.issuer()?);
    Ok(Verifier::new(issuers))
}
