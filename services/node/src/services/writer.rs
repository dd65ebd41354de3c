//! From the log to the store; seals and rollups; and the quarantine, for operators.

use super::Wiring;
use crate::run::Service;
use anyhow::Context;
use guard::clock;
use std::time::Duration;
use writer::{HourSealer, QuarantineRpcs, Writer};

pub(super) fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, store, log) = (&wiring.config.writer, &wiring.backends.store, &wiring.backends.log);
    let (append, quarantine) = (store.append.clone(), store.quarantine.clone());
    let (positions, identities) = (store.positions.clone(), store.identities.clone());
    let writer = Writer::new(append, quarantine.clone(), positions, identities, clock::now).of_topic(log.topic());
    let subscriber = log.subscriber(&config.group)?;
    let seconds = Duration::from_secs;
    let sealer =
        HourSealer::new(store.seal.clone(), seconds(config.seal_every_seconds), seconds(config.seal_quiet_seconds));
    let (sealing, stop) = (sealer.run(wiring.stop.clone()), wiring.stop.clone());
    wiring.spawn(async move {
        sealing.await;
        Ok(())
    });
    wiring.spawn(async move { writer.run(subscriber, stop).await.context("writer") });
    let publisher = wiring.backends.publisher.clone().context("the writer publishes again, and has no log")?;
    let auditor = wiring.backends.auditor.clone().context("the quarantine is shown, and there is no audit log")?;
    let desk = QuarantineRpcs::new(quarantine, publisher, auditor, clock::now);
    wiring.serve(&wiring.watched(), Service::Writer, desk.service());
    Ok(())
}
