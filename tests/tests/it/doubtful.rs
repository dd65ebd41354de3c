//! A label that names another unit, and a clock that was never set: kept, flagged at every way in, and part of no trend.

use crate::bad_batches::tags;
use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{
    LatestReadingsRequest, ReadTimelineRequest, ReadTrendRequest, ReadTrendResponse,
    ReadingFlag::{SuspectUnit, UnsetClock},
    TimelineLayout,
};
use tests::{
    Bed, Sandbox,
    builders::{block_of, everything, reading},
};

const SPO2: &str = "59408-5";
const GLUCOSE: &str = "41653-7";

/// 2015-01-01T00:00:09Z, as firmware's default was.
const BUILT: Nanos = Nanos(1_420_070_409 * Nanos::SECOND);

pub(crate) async fn trend(
    sandbox: &Sandbox,
    bed: &Bed,
    metric: &str,
    from: Nanos,
    to: Nanos,
) -> anyhow::Result<ReadTrendResponse> {
    let trend = ReadTrendRequest {
        patient_id: bed.patient.uuid().to_string(),
        metrics: vec![metric.into()],
        start_time: Some(convert::timestamp(from)),
        end_time: Some(convert::timestamp(to)),
        ..Default::default()
    };
    Ok(sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner())
}

/// Good and doubtful readings of a trend.
pub(crate) fn counts(trend: &ReadTrendResponse) -> (u64, u64) {
    let hours = || trend.trends.iter().flat_map(|trend| &trend.hours);
    (hours().map(|hour| hour.n_readings).sum(), hours().map(|hour| hour.n_doubtful).sum())
}

/// Number and flags of the latest reading of each metric.
pub(crate) async fn latest(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<Vec<(f64, Vec<i32>)>> {
    let request = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
    let latest = sandbox.timeline().await?.latest_readings(sandbox.as_person("doctor", request)?).await?.into_inner();
    Ok(latest.readings.iter().filter_map(|latest| latest.reading.as_ref()).map(tags).collect())
}

/// Values and flags of a metric as columns.
pub(crate) async fn columns(sandbox: &Sandbox, bed: &Bed, metric: &str) -> anyhow::Result<Vec<(Vec<f64>, Vec<u8>)>> {
    let layout = TimelineLayout::Columns as i32;
    let request = ReadTimelineRequest { layout, metrics: vec![metric.into()], ..everything(bed) };
    let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner();
    Ok(page.series.into_iter().map(|series| (series.numbers, series.flags)).collect())
}

#[tokio::test]
async fn a_number_that_is_in_another_unit_than_its_label_says_is_flagged_at_every_way_in() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |second: i64| now.plus(second * Nanos::SECOND);
    let readings = vec![
        reading(SPO2, "%", 96.0, at(-3)),
        reading(SPO2, "%", 0.97, at(-2)),
        reading(GLUCOSE, "mg/dL", 99.0, at(-3)),
        reading(GLUCOSE, "mg/dL", 5.5, at(-2)),
        // the right label
        reading(SPO2, "1", 0.98, at(-1)),
    ];
    let written = sandbox.write(&bed, 1, readings).await?;
    assert_eq!((written.accepted_readings, written.refused.len()), (5, 0));
    let suspect = vec![SuspectUnit as i32];
    let stored = sandbox.readable(&bed, 5).await?;
    let mut found: Vec<_> = stored.iter().map(tags).collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let good = Vec::new;
    assert_eq!(
        found,
        [(0.97, suspect.clone()), (5.5, suspect.clone()), (96.0, good()), (98.0, good()), (99.0, good())]
    );
    assert_eq!(columns(&sandbox, &bed, GLUCOSE).await?, [(vec![99.0, 5.5], vec![0, 32])]);
    assert_eq!(latest(&sandbox, &bed).await?, [(5.5, suspect), (98.0, good())], "shown, and flagged");
    let (from, to) = (now.plus(-3_600 * Nanos::SECOND), now.plus(1));
    assert_eq!(counts(&trend(&sandbox, &bed, SPO2, from, to).await?), (2, 1));
    assert_eq!(counts(&trend(&sandbox, &bed, GLUCOSE, from, to).await?), (1, 1));
    Ok(())
}

#[tokio::test]
async fn what_a_clock_measured_that_was_never_set_is_flagged_and_never_the_present() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let never_set =
        [Nanos(5 * Nanos::SECOND), Nanos(315_964_800 * Nanos::SECOND), Nanos(946_684_805 * Nanos::SECOND), BUILT];
    let readings = never_set.map(|at| reading("8310-5", "Cel", 37.0, at)).to_vec();
    sandbox.write(&bed, 1, [readings, vec![reading(SPO2, "%", 96.0, now)]].concat()).await?;
    let stored = sandbox.readable(&bed, 5).await?;
    let flagged = (37.0, vec![UnsetClock as i32]);
    let expected = [flagged.clone(), flagged.clone(), flagged.clone(), flagged, (96.0, vec![])];
    assert_eq!(stored.iter().map(tags).collect::<Vec<_>>(), expected);
    assert_eq!(columns(&sandbox, &bed, "8310-5").await?, [(vec![37.0; 4], vec![64; 4])]);
    assert_eq!(latest(&sandbox, &bed).await?, [(96.0, vec![])]);
    for at in never_set {
        let (from, to) = (at.plus(-3_600 * Nanos::SECOND), at.plus(3_600 * Nanos::SECOND));
        assert_eq!(counts(&trend(&sandbox, &bed, "8310-5", from, to).await?), (0, 1), "{at:?}");
    }
    Ok(())
}

#[tokio::test]
async fn rows_of_an_older_program_are_judged_by_the_rule_of_clocks_too() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::start(1).await?;
    sandbox.stop().await?;
    let bed = Bed::numbered(0);
    // as it was stored before there was such a flag
    let (metric, block) = block_of("8310-5", 37.0, BUILT);
    let row = model::Row {
        patient: bed.patient,
        hour: BUILT.hour(),
        identity: model::BatchId { device: bed.device, stream: bed.stream, sequence: 1, digest: 1 },
        received_at: guard::clock::now(),
        clock: model::ClockQuality::Unknown,
        metrics: vec![metric],
        block: block.into(),
    };
    let store = store::embedded::Store::open(sandbox.config()?.data.dir.join("store"))?;
    store::Append::append(&store, &[row]).await?;
    drop(store);
    sandbox.run().await?;
    let stored = sandbox.readable(&bed, 1).await?;
    assert_eq!(stored.iter().map(tags).collect::<Vec<_>>(), [(37.0, vec![UnsetClock as i32])]);
    let (from, to) = (BUILT.plus(-1), BUILT.plus(1));
    assert_eq!(counts(&trend(&sandbox, &bed, "8310-5", from, to).await?), (0, 1));
    Ok(())
}
