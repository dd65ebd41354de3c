//! The rpcs of a node: its services, health and reflection, with the limits of each method before them.

use crate::{
    elsewhere,
    ready::Ready,
    wiring::{Service, Wiring, spawn},
};
use anyhow::Context;
use guard::{
    methods::{FOREIGN, Methods},
    observe,
};
use std::collections::BTreeSet;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

/// Wires services, then health and reflection, and puts the limits of each rpc before all of them.
pub(crate) async fn routes(mut wiring: Wiring<'_>, services: &[Service], ready: &Ready) -> anyhow::Result<Routes> {
    for service in services {
        wiring.wired = Some(*service);
        (service.wire)(&mut wiring).with_context(|| format!("service {}", service.name))?;
    }
    let reporter = HealthReporter::new();
    wiring.routes.add_service(wiring.quotas.before(gateway::health::service(&reporter, elsewhere::names(services))));
    let descriptors = || {
        // what this process serves, and nothing else
        let ours = wiring.names.iter().map(|(name, _)| *name).filter(|name| !name.is_empty());
        let served: BTreeSet<_> = ours.chain(FOREIGN.iter().map(|foreign| foreign.service())).collect();
        let builder = tonic_reflection::server::Builder::configure();
        let builder = served.into_iter().fold(builder, |builder, name| builder.with_service_name(name));
        builder
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            // so that a client can show what an error's details say
            .register_encoded_file_descriptor_set(proto::ERROR_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // older tools ask for v1alpha
    wiring.routes.add_service(wiring.quotas.before(descriptors().build_v1()?));
    wiring.routes.add_service(wiring.quotas.before(descriptors().build_v1alpha()?));
    ready.report(&reporter, &wiring.names).await;
    let reporting = ready.clone().keep_reporting(reporter, wiring.names, wiring.stop.clone());
    spawn(wiring.tasks, reporting);
    let routes = Routes::from(wiring.routes.routes().into_axum_router().fallback(elsewhere::answer(services)));
    let bounded = Methods::new(&wiring.config.methods(), wiring.stop.clone()).before(routes);
    Ok(observe::around(bounded))
}
