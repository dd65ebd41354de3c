//! Seals quiet hours, so that old timelines are read quickly: beside the writer, never in its way.

use std::{sync::Arc, time::Duration};
use store::Seal;
use tokio_util::sync::CancellationToken;

/// Seals what one store has to seal.
pub struct HourSealer {
    store: Arc<dyn Seal>,
    every: Duration,
    quiet: Duration,
}

impl HourSealer {
    /// Looks `every` so often for hours of `store` that did not change for `quiet`.
    pub fn new(store: Arc<dyn Seal>, every: Duration, quiet: Duration) -> Self {
        Self { store, every, quiet }
    }

    /// Runs until `stop`. What it could not do is tried again the next time: an unsealed hour is read from its rows.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stop.cancelled() => return,
            }
            let sealed = tokio::select! {
                sealed = self.store.seal(self.quiet) => sealed,
                () = stop.cancelled() => return,
            };
            // the store counts what was sealed
            if let Err(error) = sealed {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "quiet hours were not sealed; trying again");
            }
        }
    }
}
