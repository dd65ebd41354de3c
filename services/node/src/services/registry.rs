//! People, devices and what ties them; the devices' way to their credentials; and telling of emergencies.

use super::{Wiring, spawn};
use crate::run::Service;
use anyhow::Context;
use registry::Registry;

pub(super) fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (store, (auth, decisions)) = (&wiring.backends.store, wiring.audited()?);
    let registry = Registry::new(
        store.registry.clone(),
        store.positions.clone(),
        decisions,
        wiring.config.credentials()?,
        wiring.backends.notices.clone().context("the registry tells of emergencies, and has no log")?,
    );
    spawn(wiring.tasks, registry.clone().tell(wiring.stop.clone()));
    // a device that claims has no token yet: its code is checked by the service
    wiring.serve(Service::Registry, wiring.quotas.before(registry.clone().enrolment()));
    wiring.serve(Service::Registry, auth.before(registry.service()));
    Ok(())
}
