//! Pages join without gap or repeat, late data lands in its place, ranges are half-open: on CQL, through the API.

use crate::{PATIENCE, Services, now};
use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{ReadTimelineRequest, StoredReading};
use tests::{
    Bed,
    builders::{everything, pulse},
};

const HOUR: i64 = 3_600 * Nanos::SECOND;

fn at(reading: &StoredReading) -> Nanos {
    reading.measured_at.as_ref().and_then(convert::nanos).expect("a time")
}

#[tokio::test]
#[ignore = "needs Kafka and a CQL server"]
async fn pages_join_and_late_data_lands_in_its_day() -> anyhow::Result<()> {
    let mut services = Services::start(1).await?;
    let (bed, now) = (Bed::numbered(0), now());
    let device = services.device(&bed)?;
    let begin = now.plus(-5 * Nanos::DAY);
    // over hour and day borders; the second batch is three days late, the third has the times of the first
    let mut times = Vec::new();
    for (sequence, start) in [(1, begin.plus(3 * Nanos::DAY)), (2, begin), (3, begin.plus(3 * Nanos::DAY))] {
        let batch: Vec<_> = (0..40).map(|n| start.plus(n * HOUR / 2)).collect();
        let readings = batch.iter().zip(0..).map(|(at, n)| pulse(50.0 + f64::from(n), *at)).collect();
        device.write(sequence, readings, PATIENCE).await?;
        times.extend(batch);
    }
    times.sort();
    let whole = services.all(&bed, times.len()).await?;
    assert_eq!(whole.iter().map(at).collect::<Vec<_>>(), times);

    for page_size in [1, 7, 40, 41] {
        let pages = services.pages(ReadTimelineRequest { page_size, ..everything(&bed) }).await?;
        assert!(pages.iter().all(|page| page.len() <= page_size as usize));
        assert!(pages.concat() == whole, "pages of {page_size}");
    }
    let (from, to) = (times[10], times[30]);
    let range = ReadTimelineRequest {
        start_time: Some(convert::timestamp(from)),
        end_time: Some(convert::timestamp(to)),
        page_size: 3,
        ..everything(&bed)
    };
    let within: Vec<_> = whole.iter().filter(|reading| at(reading) >= from && at(reading) < to).cloned().collect();
    assert!(services.pages(range).await?.concat() == within, "of a range");
    services.stop().await
}
