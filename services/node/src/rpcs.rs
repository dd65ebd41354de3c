//! All gRPC services of this node, each behind the gate but for those that are open to all, and all behind the table of
//! what an rpc may be asked ([`methods`](crate::methods)).

use crate::{
    clock,
    config::Config,
    engines::{KnownPositions, Store},
    gate::{Gate, Logins},
    methods::Methods,
    quotas::Quotas,
    ready::Ready,
    run::Service,
};
use anyhow::Context;
use auth::{Pseudonyms, Sealer};
use bus::Publish;
use ingest::Ingest;
use proto::telemetry::v1::{
    ingest_service_server::IngestServiceServer, timeline_service_server::TimelineServiceServer,
};
use query::{AuditDesk, Query, StudyDesk};
use registry::Registry;
use std::{sync::Arc, time::Duration};
use store::Auditor;
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes};
use writer::QuarantineDesk;

/// What the services work with.
pub(crate) struct Backends<'a> {
    /// For readings; none where nothing is published.
    pub(crate) publisher: Option<&'a Arc<dyn Publish>>,
    /// For notices; with the registry.
    pub(crate) notices: Option<Arc<dyn Publish>>,
    /// Where everything is kept.
    pub(crate) store: &'a Store,
    /// Before each service.
    pub(crate) gate: Gate,
    /// Where something is shown.
    pub(crate) auditor: Option<Auditor>,
}

/// All gRPC services of this node, with health and reflection.
pub(crate) async fn routes(
    config: &Config,
    services: &[Service],
    backends: Backends<'_>,
    ready: &Ready,
    stop: &CancellationToken,
) -> anyhow::Result<Routes> {
    let Backends { publisher, notices, store, gate, auditor } = backends;
    let quotas = Quotas::new(&config.quotas);
    let gate = gate.limited(quotas.clone());
    let (health, health_service) = tonic_health::server::health_reporter();
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            // so that a client can show what an error's details say
            .register_encoded_file_descriptor_set(proto::ERROR_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    // what is told of each service, and of the node as a whole
    let mut names = vec![("", None)];
    routes.add_service(quotas.before(health_service));
    // older tools ask for v1alpha
    routes.add_service(quotas.before(descriptors().build_v1()?));
    routes.add_service(quotas.before(descriptors().build_v1alpha()?));
    if let Some(publisher) = publisher
        && services.contains(&Service::Ingest)
    {
        let limits = ingest::Limits {
            max_in_flight: config.ingest.max_in_flight,
            max_readings: config.ingest.max_readings,
            max_message_bytes: config.ingest.max_message_kib * 1_024,
            idle: Duration::from_secs(config.ingest.idle_seconds),
            tolerance: config.tolerance(),
            max_streams: config.ingest.max_streams_per_device,
            stall: Duration::from_secs(config.memory.stall_seconds),
        };
        let positions = Arc::new(KnownPositions(store.positions.clone(), store.identities.clone()));
        let ingest =
            Ingest::new(Arc::clone(publisher), gate.directory().clone(), positions, limits, clock::now, stop.clone());
        let ingest = ingest.with_rates(Quotas::rates(&config.quotas));
        routes.add_service(gate.before(ingest.service()));
        names.push((IngestServiceServer::<Ingest>::NAME, Some(Service::Ingest)));
    }
    // readings are taken also while the audit log is not there: who only sends is not shown anything
    let gate = match &auditor {
        Some(auditor) => gate.watched(Logins::new(auditor.clone())),
        None => gate,
    };
    if let Some(auditor) = &auditor
        && services.contains(&Service::Query)
    {
        let sealer = match config.cursor_key() {
            Some(key) => Sealer::new(&key),
            None => Sealer::random(),
        };
        let sealer = sealer.context("query.cursor_key")?;
        let query = Query::new(store.timeline.clone(), gate.directory().clone(), sealer, auditor.clone(), clock::now)
            .with_tolerance(config.tolerance());
        let query = Arc::new(query);
        let desk = AuditDesk::new(Arc::clone(&query), store.audit.clone()).service();
        names.push((name(&desk), Some(Service::Query)));
        routes.add_service(gate.before(desk));
        if let Some(key) = config.study_key_file() {
            let pseudonyms = Pseudonyms::open(&key, config.study.max_days).context("study.key_file")?;
            let study = StudyDesk::new(Arc::clone(&query), pseudonyms).service();
            names.push((name(&study), Some(Service::Query)));
            routes.add_service(gate.before(study));
        }
        routes.add_service(gate.before(query.service()));
        names.push((TimelineServiceServer::<Query>::NAME, Some(Service::Query)));
    }
    if let Some(auditor) = &auditor
        && services.contains(&Service::Registry)
    {
        let registry = Registry::new(
            store.registry.clone(),
            store.positions.clone(),
            gate.directory().clone(),
            auditor.clone(),
            config.credentials()?,
            notices.context("the registry tells of emergencies, and has no log")?,
            clock::now,
        );
        tokio::spawn(registry.clone().tell(stop.clone()));
        // a device that claims has no token yet: its code is checked by the service
        let enrolment = registry.clone().enrolment();
        let registry = registry.service();
        names.extend([name(&enrolment), name(&registry)].map(|name| (name, Some(Service::Registry))));
        routes.add_service(quotas.before(enrolment));
        routes.add_service(gate.before(registry));
    }
    if let (Some(publisher), Some(auditor)) = (publisher, auditor)
        && services.contains(&Service::Writer)
    {
        let desk = QuarantineDesk::new(store.quarantine.clone(), Arc::clone(publisher), auditor, clock::now).service();
        names.push((name(&desk), Some(Service::Writer)));
        routes.add_service(gate.before(desk));
    }
    let methods = Methods::new(config, stop.clone());
    ready.report(&health, &names).await;
    tokio::spawn(ready.clone().keep_reporting(health, names, stop.clone()));
    Ok(methods.before(routes.routes()))
}

fn name<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}
