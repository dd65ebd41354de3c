//! People, devices and their relations; the devices' way to their credentials; and telling of emergencies.

use crate::wiring::{Need, Service, Wiring, spawn};
use anyhow::Context;
use registry::{Readings, Registry};

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "registry",
    about: "people, devices and their relations",
    needs: &[Need::Notices, Need::Store, Need::Directory, Need::Audit],
    metrics: registry::metrics::METRICS,
    check: None,
    wire,
};

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (store, (auth, decisions)) = (&wiring.backends.store, wiring.audited()?);
    let readings = Readings {
        positions: store.positions.clone(),
        timeline: store.timeline.clone(),
        written: wiring.backends.log.progress_of(&wiring.config.writer.group),
    };
    let registry = Registry::new(
        store.registry.clone(),
        readings,
        decisions,
        wiring.config.credentials()?,
        wiring.backends.notices.clone().context("the registry tells of emergencies, and has no log")?,
    );
    spawn(wiring.tasks, registry.clone().tell(wiring.stop.clone()));
    // a device that claims has no token yet: its code is checked by the service
    wiring.serve(wiring.quotas.before(registry.clone().enrolment()));
    wiring.serve(auth.before(registry.service()));
    Ok(())
}
