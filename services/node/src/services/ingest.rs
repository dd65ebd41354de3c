//! Readings in: to the log.

use crate::wiring::{Need, Service, Wiring};
use crate::{config::Quotas, engines::KnownPositions};
use anyhow::Context;
use guard::{clock, quotas::rate};
use ingest::{Allowed, Ingest, Limits, Rates};
use std::{sync::Arc, time::Duration};

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "ingest",
    about: "readings in: to the log",
    needs: &[Need::Log],
    metrics: ingest::metrics::METRICS,
    check: None,
    wire,
};

/// Readings are taken also while the audit log is not there: who only sends is not shown anything.
fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, store, auth) = (wiring.config, &wiring.backends.store, wiring.auth.clone());
    let publisher = wiring.backends.publisher.clone().context("ingest publishes, and has no log")?;
    let limits = Limits {
        max_in_flight: config.ingest.max_in_flight,
        max_readings: config.ingest.max_readings,
        max_message_bytes: config.ingest.max_message_kib * 1_024,
        idle: Duration::from_secs(config.ingest.idle_seconds),
        tolerance: config.tolerance(),
        max_streams: config.ingest.max_streams_per_device,
        stall: Duration::from_secs(config.memory.stall_seconds),
        max_streams_of_connection: config.server.max_streams,
        keepalive: listen::KEEPALIVE.0,
    };
    let positions = Arc::new(KnownPositions(store.positions.clone(), store.identities.clone()));
    let ingest = Ingest::new(publisher, auth.directory().clone(), positions, limits, clock::now, wiring.stop.clone());
    let ingest = ingest.with_rates(rates(&config.quotas));
    wiring.serve(auth.before(ingest.service()));
    Ok(())
}

/// What devices and organisations may send.
fn rates(settings: &Quotas) -> Rates {
    let allowed = |readings, bytes| Allowed { readings: rate(readings), bytes: rate(bytes) };
    Rates {
        device: allowed(settings.device_readings_a_second, settings.device_bytes_a_second),
        organisation: allowed(settings.organisation_readings_a_second, settings.organisation_bytes_a_second),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn what_may_be_sent_is_as_the_settings_say() {
        let of = |name: &str| {
            let flag = format!("quotas.{name}_a_second=7");
            let none = ["device_readings", "device_bytes", "organisation_readings", "organisation_bytes"];
            let flags = none.iter().map(|none| format!("quotas.{none}_a_second=0")).chain([flag]).collect();
            let Rates { device, organisation } =
                rates(&Config::load(&Sources { flags, ..Sources::default() }).unwrap().quotas);
            [device.readings, device.bytes, organisation.readings, organisation.bytes]
                .map(|rate| rate.map(|rate| rate.a_second()))
        };
        assert_eq!(of("device_readings"), [Some(7), None, None, None]);
        assert_eq!(of("device_bytes"), [None, Some(7), None, None]);
        assert_eq!(of("organisation_readings"), [None, None, Some(7), None]);
        assert_eq!(of("organisation_bytes"), [None, None, None, Some(7)]);
    }
}
