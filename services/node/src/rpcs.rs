//! All gRPC services of this node, each behind the gate but for those that are open to all.

use crate::{
    clock,
    config::Config,
    engines::{KnownPositions, Store},
    gate::Gate,
    run::Service,
};
use anyhow::Context;
use auth::{DemoIssuer, Sealer};
use bus::Publish;
use ingest::Ingest;
use proto::telemetry::v1::{
    ingest_service_server::IngestServiceServer, timeline_service_server::TimelineServiceServer,
};
use query::{AuditDesk, Query};
use registry::Registry;
use std::{sync::Arc, time::Duration};
use store::Auditor;
use tokio_util::sync::CancellationToken;
use tonic::{server::NamedService, service::Routes};
use writer::QuarantineDesk;

/// All gRPC services of this node, with health and reflection.
pub(crate) async fn routes(
    config: &Config,
    services: &[Service],
    publisher: Option<&Arc<dyn Publish>>,
    store: &Store,
    gate: Gate,
    auditor: Option<Auditor>,
    stop: &CancellationToken,
) -> anyhow::Result<Routes> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            // so that a client can show what an error's details say
            .register_encoded_file_descriptor_set(proto::ERROR_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let mut routes = Routes::builder();
    routes.add_service(health_service);
    // older tools ask for v1alpha
    routes.add_service(descriptors().build_v1()?).add_service(descriptors().build_v1alpha()?);
    if let Some(publisher) = publisher
        && services.contains(&Service::Ingest)
    {
        let limits = ingest::Limits {
            max_in_flight: config.ingest.max_in_flight,
            max_readings: config.ingest.max_readings,
            max_message_bytes: config.ingest.max_message_kib * 1_024,
            idle: Duration::from_secs(config.ingest.idle_seconds),
        };
        let positions = Arc::new(KnownPositions(store.positions.clone()));
        let ingest =
            Ingest::new(Arc::clone(publisher), gate.directory().clone(), positions, limits, clock::now, stop.clone());
        routes.add_service(gate.before(ingest.service()));
        health.set_serving::<IngestServiceServer<Ingest>>().await;
    }
    if let Some(auditor) = &auditor
        && services.contains(&Service::Query)
    {
        let sealer = match config.cursor_key() {
            Some(key) => Sealer::new(&key),
            None => Sealer::random(),
        };
        let sealer = sealer.context("query.cursor_key")?;
        let query =
            Arc::new(Query::new(store.timeline.clone(), gate.directory().clone(), sealer, auditor.clone(), clock::now));
        let desk = AuditDesk::new(Arc::clone(&query), store.audit.clone()).service();
        health.set_service_status(name(&desk), tonic_health::ServingStatus::Serving).await;
        routes.add_service(gate.before(desk));
        routes.add_service(gate.before(query.service()));
        health.set_serving::<TimelineServiceServer<Query>>().await;
    }
    if let Some(auditor) = &auditor
        && services.contains(&Service::Registry)
    {
        let issuer = config.demo().then(|| DemoIssuer::open(&config.demo_dir())).transpose()?.map(Arc::new);
        let registry =
            Registry::new(store.registry.clone(), gate.directory().clone(), auditor.clone(), issuer, clock::now);
        // a device that claims has no token yet: its code is checked by the service
        let enrolment = registry.clone().enrolment();
        let registry = registry.service();
        for name in [name(&enrolment), name(&registry)] {
            health.set_service_status(name, tonic_health::ServingStatus::Serving).await;
        }
        routes.add_service(enrolment);
        routes.add_service(gate.before(registry));
    }
    if let (Some(publisher), Some(auditor)) = (publisher, auditor)
        && services.contains(&Service::Writer)
    {
        let desk = QuarantineDesk::new(store.quarantine.clone(), Arc::clone(publisher), auditor, clock::now).service();
        health.set_service_status(name(&desk), tonic_health::ServingStatus::Serving).await;
        routes.add_service(gate.before(desk));
    }
    let stop = stop.clone();
    let names = [IngestServiceServer::<Ingest>::NAME, TimelineServiceServer::<Query>::NAME, ""];
    tokio::spawn(async move {
        stop.cancelled().await;
        for name in names {
            health.set_service_status(name, tonic_health::ServingStatus::NotServing).await;
        }
    });
    Ok(routes.routes())
}

fn name<S: NamedService>(_: &S) -> &'static str {
    S::NAME
}
