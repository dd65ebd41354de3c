//! A node while its services are put together: what they work with, their rpcs behind the way in, and their tasks.

use crate::{
    config::Config,
    elsewhere,
    engines::{Log, Store},
    ready::Ready,
    service::Service,
};
use anyhow::Context;
use bus::Publish;
use guard::{
    auth_layer::{AuthLayer, Logins},
    clock,
    decisions::Decisions,
    methods::Methods,
    observe,
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

/// Services of rpcs that are there in every process.
const FOREIGN: [&str; 3] =
    ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/// What services work with.
pub struct Backends {
    /// For readings; none where nothing is published.
    pub publisher: Option<Arc<dyn Publish>>,
    /// For notices; with the registry.
    pub notices: Option<Arc<dyn Publish>>,
    /// Where readings wait.
    pub log: Log,
    /// Where everything is kept.
    pub store: Store,
    /// Where something is shown.
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
    routes: RoutesBuilder,
    /// The one that is being wired.
    wired: Option<Service>,
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
        Self { config, backends, auth, quotas, tasks, stop, routes, wired: None, names }
    }

    /// Wires services, then health and reflection, and puts the limits of each rpc before all of them.
    pub(crate) async fn routes(mut self, services: &[Service], ready: &Ready) -> anyhow::Result<Routes> {
        for service in services {
            self.wired = Some(*service);
            (service.wire)(&mut self).with_context(|| format!("service {}", service.name))?;
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        self.routes.add_service(self.quotas.before(health_service));
        let descriptors = || {
            let served = self.names.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
            // what this process serves, and nothing else
            let builder = served
                .chain(FOREIGN)
                .fold(tonic_reflection::server::Builder::configure(), |builder, name| builder.with_service_name(name));
            builder
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
        let routes = Routes::from(self.routes.routes().into_axum_router().fallback(elsewhere::answer(services)));
        let bounded = Methods::new(&self.config.methods(), self.stop.clone()).before(routes);
        Ok(observe::around(bounded))
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
