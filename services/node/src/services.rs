//! The services of this node, each wired in a file of its own: what it stands on, its rpcs behind the way in, and its tasks,
//! all of which end with the node, and end it when they fail.

mod ingest;
mod query;
mod registry;
mod writer;

use crate::{
    config::Config,
    engines::{Log, Store},
    ready::Ready,
    run::Service,
};
use anyhow::Context;
use bus::Publish;
use guard::{
    auth_layer::{AuthLayer, Logins},
    clock,
    decisions::Decisions,
    methods::Methods,
    quotas::Quotas,
};
use std::{convert::Infallible, sync::Arc};
use store::Auditor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service as Answers, http},
    server::NamedService,
    service::{Routes, RoutesBuilder},
};

/// What services work with.
pub(crate) struct Backends {
    /// For readings; none where nothing is published.
    pub(crate) publisher: Option<Arc<dyn Publish>>,
    /// For notices; with the registry.
    pub(crate) notices: Option<Arc<dyn Publish>>,
    /// Where readings wait.
    pub(crate) log: Log,
    /// Where everything is kept.
    pub(crate) store: Store,
    /// Where something is shown.
    pub(crate) auditor: Option<Auditor>,
}

/// Tasks of a node: when one ends before it is told to, the node ends.
pub(crate) type Tasks = JoinSet<anyhow::Result<()>>;

/// Starts a task that cannot fail.
pub(crate) fn spawn(tasks: &mut Tasks, task: impl Future<Output = impl Send> + Send + 'static) {
    tasks.spawn(async move {
        task.await;
        Ok(())
    });
}

/// A node while its services are put together.
pub(crate) struct Wiring<'a> {
    config: &'a Config,
    backends: &'a Backends,
    auth: AuthLayer,
    quotas: Quotas,
    tasks: &'a mut Tasks,
    stop: &'a CancellationToken,
    routes: RoutesBuilder,
    /// What health tells of: rpc services, and the service of the node that each belongs to.
    names: Vec<(&'static str, Option<Service>)>,
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
        let auth = auth.clone().limited(quotas.clone());
        let (routes, names) = (Routes::builder(), vec![("", None)]);
        Self { config, backends, auth, quotas, tasks, stop, routes, names }
    }

    /// Wires services, then health and reflection, and puts the limits of each rpc before all of them.
    pub(crate) async fn routes(mut self, services: &[Service], ready: &Ready) -> anyhow::Result<Routes> {
        for service in Service::ALL.into_iter().filter(|service| services.contains(service)) {
            match service {
                Service::Ingest => ingest::wire(&mut self)?,
                Service::Writer => writer::wire(&mut self)?,
                Service::Query => query::wire(&mut self)?,
                Service::Registry => registry::wire(&mut self)?,
            }
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        self.routes.add_service(self.quotas.before(health_service));
        let descriptors = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
                // so that a client can show what an error's details say
                .register_encoded_file_descriptor_set(proto::ERROR_DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        // older tools ask for v1alpha
        self.routes.add_service(self.quotas.before(descriptors().build_v1()?));
        self.routes.add_service(self.quotas.before(descriptors().build_v1alpha()?));
        ready.report(&health, &self.names).await;
        let reporting = ready.clone().keep_reporting(health, self.names, self.stop.clone());
        spawn(self.tasks, reporting);
        Ok(Methods::new(&self.config.methods(), self.stop.clone()).before(self.routes.routes()))
    }

    /// Where something is shown: the way in, which writes a login down, and who decides what may be shown, and writes it down.
    fn audited(&self) -> anyhow::Result<(AuthLayer, Decisions)> {
        let auditor = self.backends.auditor.clone().context("something is shown, and there is no audit log")?;
        let auth = self.auth.clone().watched(Logins::new(auditor.clone()));
        let decisions = Decisions::new(auth.directory().clone(), auditor, clock::now);
        Ok((auth, decisions))
    }

    /// Serves rpcs, which are behind a way in already.
    fn serve<S>(&mut self, of: Service, service: S)
    where
        S: Answers<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push((S::NAME, Some(of)));
        self.routes.add_service(service);
    }
}
