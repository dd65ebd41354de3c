//! People, devices and what ties them; the devices' way to their credentials; and telling of emergencies.

use super::Wiring;
use crate::run::Service;
use anyhow::Context;
use guard::clock;
use registry::Registry;

pub(super) fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (store, auth) = (&wiring.backends.store, wiring.watched());
    let auditor = wiring.backends.auditor.clone().context("people are shown, and there is no audit log")?;
    let registry = Registry::new(
        store.registry.clone(),
        store.positions.clone(),
        auth.directory().clone(),
        auditor,
        wiring.config.credentials()?,
        wiring.backends.notices.clone().context("the registry tells of emergencies, and has no log")?,
        clock::now,
    );
    let telling = registry.clone().tell(wiring.stop.clone());
    wiring.spawn(async move {
        telling.await;
        Ok(())
    });
    // a device that claims has no token yet: its code is checked by the service
    let enrolment = registry.clone().enrolment();
    wiring.names.push((super::name(&enrolment), Some(Service::Registry)));
    wiring.routes.add_service(wiring.quotas.before(enrolment));
    wiring.serve(&auth, Service::Registry, registry.service());
    Ok(())
}
