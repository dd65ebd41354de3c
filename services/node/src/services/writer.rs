//! From the log to the store; seals and rollups; and the quarantine, for operators.

use crate::wiring::{Need, Service, Wiring, spawn};
use anyhow::Context;
use guard::clock;
use std::time::Duration;
use writer::{HourSealer, QuarantineRpcs, Writer};

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "writer",
    about: "from the log to the store; the quarantine",
    needs: &[Need::Log, Need::Store, Need::Audit],
    metrics: writer::metrics::METRICS,
    check: None,
    wire,
};

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, store, log) = (&wiring.config.writer, &wiring.backends.store, &wiring.backends.log);
    let (append, quarantine) = (store.append.clone(), store.quarantine.clone());
    let (positions, identities) = (store.positions.clone(), store.identities.clone());
    let writer = Writer::new(append, quarantine.clone(), positions, identities, clock::now).of_topic(log.topic());
    let subscriber = log.subscriber(&config.group)?;
    let seconds = Duration::from_secs;
    let sealer =
        HourSealer::new(store.seal.clone(), seconds(config.seal_every_seconds), seconds(config.seal_quiet_seconds));
    spawn(wiring.tasks, sealer.run(wiring.stop.clone()));
    let stop = wiring.stop.clone();
    wiring.tasks.spawn(async move { writer.run(subscriber, stop).await.context("writer") });
    let publisher = wiring.backends.publisher.clone().context("the writer publishes again, and has no log")?;
    let (auth, decisions) = wiring.audited()?;
    let quarantine = QuarantineRpcs::new(quarantine, publisher, decisions);
    wiring.serve(auth.before(quarantine.service()));
    Ok(())
}
