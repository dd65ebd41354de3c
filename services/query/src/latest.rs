//! `LatestReadings`: the last measured value of each metric, found from the hour index and read from the rows. There is
//! no stored "latest" that could be wrong: late and repeated data make it right, and it never goes backwards.

use crate::{
    Query, failed,
    readings::{Key, Readings},
    unreadable,
};
use model::{MetricId, Nanos, Permit, Range};
use proto::{
    convert,
    telemetry::v1::{LatestReading, LatestReadingsResponse, StoredReading},
};
use std::collections::BTreeMap;
use store::Order;
use tonic::Status;

/// How far back "latest" looks, in nanoseconds: 400 days. What is older is history.
const LOOK_BACK_NS: i64 = 400 * Nanos::DAY;
/// Entries of the hour index read in one go: most answers are in the first few.
const INDEX_AT_ONCE: usize = 256;

/// The newest reading of one metric.
pub(crate) struct Found {
    pub key: Key,
    pub reading: StoredReading,
}

pub(crate) async fn read(
    query: &Query,
    permit: &Permit,
    metrics: &[MetricId],
) -> Result<LatestReadingsResponse, Status> {
    let now = (query.clock)();
    // a reading of up to a day ahead counts; what lies further ahead was marked when it came
    let range = Range::new(now.plus(-LOOK_BACK_NS), now.plus(Nanos::DAY)).unwrap_or(Range::ALL);
    let found = newest(query, permit, range, metrics, true).await?;
    let mut readings: Vec<_> = found
        .into_values()
        .map(|found| {
            let age = convert::duration(now.0.saturating_sub(found.key.at.0));
            LatestReading { reading: Some(found.reading), age: Some(age) }
        })
        .collect();
    let key = |latest: &LatestReading| latest.reading.as_ref().map(|reading| reading.metric.clone());
    readings.sort_by_key(key);
    Ok(LatestReadingsResponse { readings })
}

/// The newest reading of each metric in a range (`metrics` empty: of all there are), walking the hours backwards.
pub(crate) async fn newest(
    query: &Query,
    permit: &Permit,
    range: Range,
    metrics: &[MetricId],
    credible_only: bool,
) -> Result<BTreeMap<MetricId, Found>, Status> {
    let mut found: BTreeMap<MetricId, Found> = BTreeMap::new();
    let mut hours = range.hours();
    loop {
        let entries = query.store.hours(permit, hours, Order::Descending, INDEX_AT_ONCE).await.map_err(failed)?;
        for entry in &entries {
            let missing: Vec<_> = entry
                .metrics
                .iter()
                .filter(|m| metrics.is_empty() || metrics.binary_search(m).is_ok())
                .filter(|m| !found.contains_key(m))
                .copied()
                .collect();
            if missing.is_empty() {
                continue;
            }
            let data = query.store.read(permit, std::slice::from_ref(entry)).await.map_err(failed)?;
            for hour in &data {
                let readings = Readings::new(hour, range, None, &missing).map_err(|error| unreadable(&error))?;
                keep_newest(&readings, credible_only, &mut found);
            }
        }
        let done = !metrics.is_empty() && metrics.iter().all(|metric| found.contains_key(metric));
        let Some(oldest) = entries.last().filter(|_| entries.len() == INDEX_AT_ONCE && !done) else {
            return Ok(found);
        };
        hours.end = oldest.hour;
    }
}

fn keep_newest(readings: &Readings, credible_only: bool, found: &mut BTreeMap<MetricId, Found>) {
    for (metric, key, reading) in readings.newest(credible_only) {
        // a metric may have columns in several units
        if found.get(&metric).is_none_or(|held| held.key < key) {
            found.insert(metric, Found { key, reading });
        }
    }
}
