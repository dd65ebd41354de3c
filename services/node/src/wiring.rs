//! A node while its services are put together: what they work with, their rpcs behind the way in, and their tasks.

use crate::{
    config::{Check, Config},
    engines::{Log, Store},
};
use anyhow::Context;
use bus::Publish;
use guard::{
    auth_layer::{AuthLayer, Logins},
    clock,
    decisions::Decisions,
    quotas::Quotas,
};
use model::telemetry::Instrument;
use std::{convert::Infallible, fmt, sync::Arc};
use store::Auditor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service as Answers, http},
    server::NamedService,
    service::{Routes, RoutesBuilder},
};

/// A service: its name, what it stands on, and how it is wired into a node.
#[derive(Clone, Copy)]
pub struct Service {
    /// On the command line, in health and in conditions of readiness: one lower-case word.
    pub name: &'static str,
    /// One line about the service, for operators.
    pub about: &'static str,
    /// What a node that runs it opens for it.
    pub needs: &'static [Need],
    /// What it tells about itself, beside what every node does.
    pub metrics: &'static [Instrument],
    /// Of sections of the settings that this crate does not read; `None`: it has no such section.
    pub check: Option<Check>,
    /// Puts its rpcs and its tasks into the node; called once, when all that it needs is open.
    pub wire: fn(&mut Wiring<'_>) -> anyhow::Result<()>,
}

/// What a service stands on. But for notices, it is not ready while this is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A way to publish readings.
    Log,
    /// A way to publish notices; they wait for the log by themselves.
    Notices,
    /// The store, to work at all. (Every node opens it: a device's positions are there.)
    Store,
    /// A directory that follows the registry's changes.
    Directory,
    /// The audit log: it shows something.
    Audit,
}

impl Service {
    /// Whether it stands on something.
    pub fn needs(&self, need: Need) -> bool {
        self.needs.contains(&need)
    }

    /// Whether it cannot work while something is not there.
    pub(crate) fn waits_for(&self, need: Need) -> bool {
        need != Need::Notices && self.needs(need)
    }
}

/// A service is known by its name.
impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Service {}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The engines that the services of a node work with.
pub struct Backends {
    /// For readings; none where nothing is published.
    pub publisher: Option<Arc<dyn Publish>>,
    /// Publisher of notices; `None` where no service publishes them.
    pub notices: Option<Arc<dyn Publish>>,
    /// The log of readings.
    pub log: Log,
    /// The store of readings, people and the audit log.
    pub store: Store,
    /// Writes the audit log; `None` where no service shows or changes anything.
    pub auditor: Option<Auditor>,
}

/// Tasks of a node: when one ends before it is told to, the node ends.
pub type Tasks = JoinSet<anyhow::Result<()>>;

/// Starts a task that cannot fail.
pub fn spawn(tasks: &mut Tasks, task: impl Future<Output = impl Send> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        Ok(())
    });
}

/// What a service is wired with.
pub struct Wiring<'a> {
    /// The settings of the node.
    pub config: &'a Config,
    /// The engines of the node, and what was opened of them.
    pub backends: &'a Backends,
    /// Who asks, and how often; what shows something takes [`Wiring::audited`].
    pub auth: AuthLayer,
    /// How often somebody may call who has proved nothing.
    pub quotas: Quotas,
    /// Tasks of the node: when one ends before it is told to, the node ends.
    pub tasks: &'a mut Tasks,
    /// Cancelled when the node is to end.
    pub stop: &'a CancellationToken,
    pub(crate) routes: RoutesBuilder,
    /// The one that is being wired.
    pub(crate) wired: Option<Service>,
    /// What health tells of: rpc services, and the service of the node that each belongs to.
    pub(crate) names: Vec<(&'static str, Option<Service>)>,
}

impl<'a> Wiring<'a> {
    pub(crate) fn new(
        config: &'a Config,
        backends: &'a Backends,
        auth: &AuthLayer,
        tasks: &'a mut Tasks,
        stop: &'a CancellationToken,
    ) -> Self {
        let quotas = Quotas::new(&config.quotas.calls());
        let registry = Arc::clone(&backends.store.registry);
        let auth = auth.clone().limited(quotas.clone()).following(registry);
        let (routes, names) = (Routes::builder(), vec![("", None)]);
        Self { config, backends, auth, quotas, tasks, stop, routes, wired: None, names }
    }

    /// Where something is shown: the way in, which writes a login down, and who decides what may be shown, and writes it down.
    ///
    /// # Errors
    /// The service does not say that it needs `Need::Audit`.
    pub fn audited(&self) -> anyhow::Result<(AuthLayer, Decisions)> {
        let auditor = self.backends.auditor.clone().context("something is shown, and there is no audit log")?;
        let auth = self.auth.clone().watched(Logins::new(auditor.clone()));
        let decisions = Decisions::new(auth.directory().clone(), auditor, clock::now);
        Ok((auth, decisions))
    }

    /// Serves rpcs, which are behind a way in already.
    pub fn serve<S>(&mut self, service: S)
    where
        S: Answers<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push((S::NAME, self.wired));
        self.routes.add_service(service);
    }
}
