//! Starts services in this process and stops them together: one failing stops all, draining has a deadline.

use crate::{
    audit,
    config::Config,
    descriptors,
    engines::{Log, Store},
    http, json,
    metrics::Metrics,
    probes,
    ready::{Condition, Needed, Ready, Steady},
    routes, telemetry,
    wiring::{Backends, Need, Service, Tasks, Wiring, spawn},
};
use anyhow::{Context, anyhow};
use auth::{DemoIssuer, Verifier};
use bus::Publish;
use directory::LiveDirectory;
use futures::future::BoxFuture;
use gateway::Gateway;
use guard::{RequestId, auth_layer::AuthLayer, bounds::Bounds};
use hyper::{HeaderMap, Request, Response, body::Incoming};
use listen::{
    Admission, Answers, Fault, Listener, Terms,
    tls::{Speaks, Tls},
};
use proto::problem;
use std::{collections::BTreeSet, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tonic::{Code, body::Body, codegen::Service as _, service::Routes};
use writer::recovery;

/// How often histograms are folded: until then each sample is kept, however seldom somebody asks for `/metrics`.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked whether the audit log can be written.
const AUDIT_EVERY: Duration = Duration::from_secs(1);

/// A node that runs: its addresses, and the tasks that end with it.
pub struct Node {
    /// Where gRPC is served.
    pub grpc: SocketAddr,
    /// Where the JSON API is served, if it is.
    pub api: Option<SocketAddr>,
    /// Where `/metrics`, `/live` and `/ready` are served.
    pub http: SocketAddr,
    tasks: Tasks,
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
        Box::pin(async move {
            let mut tasks = JoinSet::new();
            match Self::begin(config, services, stop, &mut tasks).await {
                Ok(node) => Ok(Self { tasks, ..node }),
                Err(error) => {
                    // a start that failed holds nothing any more: the engines' folders can be opened again
                    tasks.shutdown().await;
                    Err(error)
                }
            }
        })
    }

    async fn begin(
        config: &Config,
        services: &[Service],
        stop: CancellationToken,
        tasks: &mut Tasks,
    ) -> anyhow::Result<Self> {
        let metrics = Metrics::of(services)?;
        let tls = config.tls.settings().map(Tls::open).transpose()?;
        let listeners = Listeners::bind(config, tls.as_ref()).await?;
        let directory = LiveDirectory::open(&config.directory_dir()).context("directory")?;
        let verifier = Arc::new(verifier(config)?);
        let bounds = Bounds::new(&config.memory);
        let auth = AuthLayer::new(Arc::clone(&verifier), directory.clone(), bounds.clone());
        let (ready, terms) = (Ready::new(services), config.terms());
        let running = ready.condition("running", Needed::ByAll);
        running.fail("starting");
        tasks.spawn(serve_http(listeners.internal, terms, metrics, ready.clone(), stop.clone()));
        let (backends, auditing) = backends(config, services, &directory, &ready, tasks, &stop).await?;
        let (following, keeping) = (stop.clone(), bounds.clone().keep(stop.clone()));
        spawn(tasks, async move { following.run_until_cancelled(verifier.follow()).await });
        spawn(tasks, keeping);
        if let Some(tls) = tls {
            spawn(tasks, tls.follow(stop.clone()));
        }
        let routes = routes::routes(Wiring::new(config, &backends, &auth, tasks, &stop), services, &ready).await?;
        // what is shown while the node drains is written down, too
        let served = CancellationToken::new();
        let no_more = Arc::new(served.clone().drop_guard());
        let (grpc, api, http) = (listeners.grpc_at, listeners.api_at, listeners.http_at);
        if let Some(listener) = listeners.api {
            let processes = described(config, services);
            let settings = gateway::Settings { origins: config.server.api_origins.0.clone(), processes };
            let gateway = Gateway::new(routes.clone(), bounds, settings).context("JSON API")?;
            tasks.spawn(json::run(listener, gateway, terms, stop.clone(), Arc::clone(&no_more)));
        }
        let serving = listen::serve(listeners.grpc, terms, Rpcs(routes), stop.clone());
        spawn(tasks, async move {
            serving.await;
            drop(no_more);
        });
        if let Some(auditing) = auditing {
            tasks.spawn(async move { auditing.run(served).await.context("audit log") });
        }
        running.hold();
        tracing::info!(%grpc, api = api.map(tracing::field::display), %http, ?services, "started");
        let draining = stop.clone();
        spawn(tasks, async move {
            draining.cancelled().await;
            running.fail("draining");
        });
        let (tasks, drain) = (JoinSet::new(), Duration::from_secs(config.server.drain_seconds));
        let Backends { publisher, log, .. } = backends;
        Ok(Self { grpc, api, http, tasks, stop, drain, publisher, log })
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

/// Where a node is reached.
struct Listeners {
    grpc: Listener,
    grpc_at: SocketAddr,
    api: Option<Listener>,
    api_at: Option<SocketAddr>,
    internal: Listener,
    http_at: SocketAddr,
}

impl Listeners {
    async fn bind(config: &Config, tls: Option<&Arc<Tls>>) -> anyhow::Result<Self> {
        let admission = Admission::new(config.limits(descriptors::connections(config)?));
        let grpc = TcpListener::bind(config.server.grpc_listen).await;
        let grpc = grpc.with_context(|| format!("server.grpc_listen {}", config.server.grpc_listen))?;
        let internal = TcpListener::bind(config.server.http_listen).await;
        let internal = internal.with_context(|| format!("server.http_listen {}", config.server.http_listen))?;
        let api = json::listen(config.server.api_listen).await?;
        let api_tls = tls.filter(|_| config.api_is_encrypted());
        Ok(Self {
            grpc_at: grpc.local_addr()?,
            api_at: api.as_ref().map(TcpListener::local_addr).transpose()?,
            http_at: internal.local_addr()?,
            grpc: Listener::new(grpc, tls.cloned(), Speaks::Http2, &admission),
            api: api.map(|api| Listener::new(api, api_tls.cloned(), Speaks::Http, &admission)),
            internal: Listener::new(internal, None, Speaks::Http, &admission.apart(http::MAX_CONNECTIONS)),
        })
    }
}

/// Opens log, store and audit log; the work of the last, which must run for as long as anything is shown.
async fn backends(
    config: &Config,
    services: &[Service],
    directory: &LiveDirectory,
    ready: &Ready,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> anyhow::Result<(Backends, Option<store::Work>)> {
    let log = Log::open(config)?;
    // who only reads needs no way into the log
    let needed = |need| services.iter().any(|service| service.needs(need));
    let publisher = needed(Need::Log).then(|| log.publisher()).transpose()?;
    let notices = needed(Need::Notices).then(|| log.notices(config)).transpose()?;
    let store = watch(config, directory, (publisher.clone(), notices.clone()), ready, tasks, stop).await?;
    if let (Log::Embedded(log), Some(store)) = (&log, &store.embedded) {
        recovery::compare(log, store, &config.writer.group).await?;
    }
    // who only takes readings shows nothing; before anything runs, for this may refuse the start
    let (auditor, auditing) = match needed(Need::Audit) {
        true => Some(audit::open(config, &store).await?).unzip(),
        false => (None, None),
    };
    if let Some(auditor) = auditor.clone() {
        let written = ready.condition("audit", Needed::For(Need::Audit));
        written.hold();
        tasks.spawn(watch_audit(auditor, written, stop.clone()));
    }
    Ok((Backends { publisher, notices, log, store, auditor }, auditing))
}

fn flatten(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Result<()> {
    ended.unwrap_or_else(|panic| Err(anyhow::Error::new(panic).context("a task panicked")))
}

async fn serve_http(
    listener: Listener,
    terms: Terms,
    metrics: Metrics,
    ready: Ready,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let upkeep = metrics.clone();
    let kept_up = async {
        let mut due = tokio::time::interval(UPKEEP_EVERY);
        loop {
            due.tick().await;
            upkeep.upkeep();
            telemetry::tell_left_out();
        }
    };
    tokio::select! {
        () = http::serve(listener, terms, metrics, ready, stop) => Ok(()),
        never = kept_up => never,
    }
}

/// Takes the node out of service while what is shown cannot be written down, or not be signed.
async fn watch_audit(auditor: store::Auditor, condition: Condition, stop: CancellationToken) -> anyhow::Result<()> {
    let mut due = tokio::time::interval(AUDIT_EVERY);
    while stop.run_until_cancelled(due.tick()).await.is_some() {
        match auditor.trouble() {
            Some(why) => condition.fail(why),
            None => condition.hold(),
        }
    }
    Ok(())
}

/// The processes whose rpcs the API describes: where the cluster has one address, all there are.
fn described(config: &Config, services: &[Service]) -> Vec<String> {
    let here = services.iter().map(|service| service.name.to_owned());
    let all = proto::rpc::all().iter().map(|rpc| rpc.process.clone());
    let described: BTreeSet<_> = if config.server.one_address { all.collect() } else { here.collect() };
    described.into_iter().collect()
}

/// A way into a log.
type Publisher = Arc<dyn Publish>;

/// Opens the store, when it is there, and goes on asking the engines whether they are: conditions of readiness.
///
/// Readings are taken while the store is away, and by what was known of the directory: they wait in the log.
async fn watch(
    config: &Config,
    directory: &LiveDirectory,
    (publisher, notices): (Option<Publisher>, Option<Publisher>),
    ready: &Ready,
    tasks: &mut Tasks,
    stop: &CancellationToken,
) -> anyhow::Result<Store> {
    let reachable = ready.condition("store", Needed::For(Need::Store));
    let followed = ready.condition("directory", Needed::For(Need::Directory));
    let store = probes::open_store(config, directory, &reachable, stop).await?;
    followed.hold();
    tasks.spawn(probes::store(store.clone(), stop.clone()));
    let steady = (Steady::new(followed), Steady::new(reachable));
    tasks.spawn(probes::directory(directory.clone(), store.registry.clone(), steady, stop.clone()));
    let logs = [(publisher, "log", Need::Log), (notices, "notices", Need::Notices)];
    for (log, name, need) in logs {
        let Some(log) = log else { continue };
        let mut steady = Steady::new(ready.condition(name, Needed::For(need)));
        probes::ask_log(log.as_ref(), &mut steady).await;
        tasks.spawn(probes::log(log, steady, stop.clone()));
    }
    Ok(store)
}

/// Serves rpcs on a listener of their own as a node does, but for whoever asks: for a benchmark, what gRPC alone can do.
pub fn serve_alone(
    listener: TcpListener,
    routes: Routes,
    config: &Config,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let admission = Admission::new(config.limits(config.server.max_connections));
    let listener = Listener::new(listener, None, Speaks::Http2, &admission);
    listen::serve(listener, config.terms(), Rpcs(routes), stop)
}

/// The gRPC port: services as they are.
#[derive(Clone)]
pub(crate) struct Rpcs(pub(crate) Routes);

impl Answers for Rpcs {
    type Body = Body;

    async fn answer(mut self, request: Request<Incoming>) -> Response<Body> {
        // always ready, and cannot fail
        self.0.call(request).await.unwrap_or_else(|never: Infallible| match never {})
    }

    fn refuse(&self, fault: Fault, id: RequestId, _: &HeaderMap) -> Response<Body> {
        let code = match fault {
            Fault::TooLarge(_) | Fault::UrlTooLong(_) | Fault::TooManyStreams(_) => Code::ResourceExhausted,
            _ => Code::InvalidArgument,
        };
        id.named(&problem::status(code, fault.reason(), fault.text())).into_http()
    }
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
