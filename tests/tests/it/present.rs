//! The present is not hidden: a clock that is ahead never stands for now, and a correction stands before what it corrects.

use crate::bad_batches::tags;
use guard::convert;
use model::{Block, Nanos, Quality, Record};
use proto::telemetry::v1::{
    LatestReadingsRequest, LatestReadingsResponse, ListSubjectsRequest, ReadSubjectRequest, ReadTimelineRequest,
    ReadTimelineResponse, ReadTrendRequest, Reading,
    ReadingFlag::{Correction, Future, UnsetClock},
    TimelineLayout,
    study_service_client::StudyServiceClient,
};
use std::sync::Arc;
use tests::{
    Bed, Sandbox,
    builders::{block_of, everything, pulse, reading, write},
    fakes::{Front, HeldLog},
};

const HOUR: i64 = 3_600 * Nanos::SECOND;

async fn latest(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<LatestReadingsResponse> {
    let request = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
    Ok(sandbox.timeline().await?.latest_readings(sandbox.as_person("doctor", request)?).await?.into_inner())
}

/// Number, flags and age in whole minutes of each latest reading.
fn shown(latest: &LatestReadingsResponse) -> Vec<(f64, Vec<i32>, i64)> {
    let one = |latest: &proto::telemetry::v1::LatestReading| {
        let age = latest.age.map_or(-1, |age| if age.nanos < 0 { -1 } else { age.seconds.div_euclid(60) });
        latest.reading.as_ref().map(|reading| {
            let (number, flags) = tags(reading);
            (number, flags, age)
        })
    };
    latest.readings.iter().filter_map(one).collect()
}

async fn timeline(sandbox: &Sandbox, request: ReadTimelineRequest) -> anyhow::Result<ReadTimelineResponse> {
    Ok(sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner())
}

fn numbers(page: &ReadTimelineResponse) -> Vec<(f64, Vec<i32>)> {
    page.readings.iter().map(tags).collect()
}

#[tokio::test]
async fn a_reading_measured_ahead_of_its_receipt_is_kept_and_flagged_and_hides_nothing() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    sandbox.write(&bed, 1, vec![pulse(70.0, now.plus(-HOUR))]).await?;
    sandbox.write(&bed, 2, vec![pulse(190.0, now.plus(20 * HOUR)), pulse(191.0, now.plus(-HOUR + 1))]).await?;
    // within what clocks may differ
    sandbox.write(&bed, 3, vec![reading("8310-5", "Cel", 37.5, now.plus(60 * Nanos::SECOND))]).await?;
    let stored = sandbox.readable(&bed, 4).await?;
    let flagged: Vec<_> = stored.iter().map(tags).collect();
    let future = vec![Future as i32];
    assert_eq!(flagged, [(70.0, vec![]), (191.0, vec![]), (37.5, vec![]), (190.0, future.clone())]);
    // the temperature comes first by its code, and its age is not negative
    assert_eq!(shown(&latest(&sandbox, &bed).await?), [(37.5, vec![], 0), (191.0, vec![], 60)]);

    // asked for by its time it is there, and is not the newest of that range
    let ahead = ReadTimelineRequest {
        start_time: Some(convert::timestamp(now.plus(19 * HOUR))),
        end_time: Some(convert::timestamp(now.plus(21 * HOUR))),
        ..everything(&bed)
    };
    let page = timeline(&sandbox, ahead).await?;
    assert_eq!(numbers(&page), [(190.0, future)]);
    assert!(page.coverage.iter().all(|metric| metric.newest_measured_at.is_none() && metric.newest_age.is_none()));
    let trend = ReadTrendRequest {
        patient_id: bed.patient.uuid().to_string(),
        metrics: vec!["8867-4".into()],
        end_time: Some(convert::timestamp(now.plus(21 * HOUR))),
        ..Default::default()
    };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let hours: Vec<_> = trend.trends[0].hours.iter().map(|hour| (hour.n_readings, hour.max, hour.n_doubtful)).collect();
    assert_eq!(hours, [(2, Some(191.0), 0), (0, None, 1)]);
    Ok(())
}

#[tokio::test]
async fn what_is_not_over_at_its_receipt_is_ahead_of_it() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let steps = |number, from: i64, until: i64| {
        let measured_until = Some(convert::timestamp(now.plus(until * HOUR)));
        Reading { measured_until, ..reading("55423-8", "", number, now.plus(from * HOUR)) }
    };
    sandbox.write(&bed, 1, vec![steps(500.0, -2, -1), steps(900.0, -1, 20)]).await?;
    let stored = sandbox.readable(&bed, 2).await?;
    let flagged: Vec<_> = stored.iter().map(tags).collect();
    assert_eq!(flagged, [(500.0, vec![]), (900.0, vec![Future as i32])]);
    assert_eq!(shown(&latest(&sandbox, &bed).await?), [(500.0, vec![], 120)]);
    let patient_id = bed.patient.uuid().to_string();
    let trend = ReadTrendRequest { patient_id, metrics: vec!["55423-8".into()], ..Default::default() };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let hours: Vec<_> = trend.trends[0].hours.iter().map(|hour| (hour.sum, hour.n_doubtful)).collect();
    assert_eq!(hours, [(Some(500.0), 0), (None, 1)]);
    Ok(())
}

#[tokio::test]
async fn a_reading_ahead_of_its_receipt_is_left_out_also_after_its_time_has_come() -> anyhow::Result<()> {
    let flags = ["ingest.max_clock_ahead_seconds=0"];
    let sandbox = Sandbox::with(1, &flags, &node::services::ALL).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    sandbox.write(&bed, 1, vec![pulse(70.0, now.plus(-HOUR))]).await?;
    let soon = now.plus(2 * Nanos::SECOND);
    sandbox.write(&bed, 2, vec![pulse(190.0, soon)]).await?;
    sandbox.readable(&bed, 2).await?;
    let come = || async { Ok(guard::clock::now()) };
    tests::wait::until("that time", come, |at| *at > soon.plus(1)).await?;
    assert_eq!(shown(&latest(&sandbox, &bed).await?), [(70.0, vec![], 60)]);
    // up to now, whatever the beginning; and up to a time that was given
    let present = ReadTimelineRequest { start_time: None, end_time: None, ..everything(&bed) };
    for layout in [TimelineLayout::Readings, TimelineLayout::Columns] {
        let page = timeline(&sandbox, ReadTimelineRequest { layout: layout as i32, ..present.clone() }).await?;
        let columns: Vec<_> = page.series.iter().flat_map(|series| series.numbers.clone()).collect();
        let rows: Vec<_> = numbers(&page).into_iter().map(|(number, _)| number).collect();
        assert_eq!([rows, columns].concat(), [70.0]);
        let ages: Vec<_> = page.coverage.iter().filter_map(|metric| metric.newest_age).collect();
        assert!(ages.len() == 1 && ages[0].seconds >= 3_600, "{ages:?}");
    }
    assert_eq!(numbers(&timeline(&sandbox, everything(&bed)).await?)[1], (190.0, vec![Future as i32]));
    Ok(())
}

#[tokio::test]
async fn where_the_clock_was_never_set_receipt_counts() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    sandbox.write(&bed, 1, vec![pulse(70.0, now.plus(-HOUR))]).await?;
    for (bed, at) in [(bed, Nanos(7 * Nanos::SECOND)), (Bed::numbered(1), now.plus(30 * 24 * HOUR))] {
        let mut batch = write(&bed, 2, vec![pulse(88.0, at)]);
        batch.clock_quality = proto::telemetry::v1::ClockQuality::Unset as i32;
        sandbox.ingest().await?.write_readings(sandbox.as_device(bed.device, batch)?).await?;
    }
    sandbox.readable(&bed, 2).await?;
    sandbox.readable(&Bed::numbered(1), 1).await?;
    assert_eq!(shown(&latest(&sandbox, &bed).await?), [(88.0, vec![UnsetClock as i32], 0)]);
    assert_eq!(shown(&latest(&sandbox, &Bed::numbered(1)).await?), [(88.0, vec![Future as i32, UnsetClock as i32], 0)]);
    Ok(())
}

#[tokio::test]
async fn of_two_values_of_one_instant_the_one_received_later_is_the_latest_and_said_to_be_a_correction()
-> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, at) = (Bed::numbered(0), guard::clock::now().plus(-HOUR));
    let stream = |n: u128| Bed { stream: model::StreamId::new(uuid::Uuid::from_u128(n)), ..bed };
    // the stream's id says nothing: the later one is now the smaller, now the greater
    for (n, stream) in (1..).zip([5, 9, 1, 7].map(stream)) {
        sandbox.write(&stream, 1, vec![pulse(60.0 + f64::from(n), at)]).await?;
        sandbox.readable(&bed, n as usize).await?;
        let flags = if n == 1 { vec![] } else { vec![Correction as i32] };
        assert_eq!(shown(&latest(&sandbox, &bed).await?), [(60.0 + f64::from(n), flags, 60)]);
    }
    let expected: Vec<_> =
        (1..=4).map(|n| (60.0 + f64::from(n), if n == 1 { vec![] } else { vec![Correction as i32] })).collect();
    // in the order of receipt, over pages too
    let mut request = ReadTimelineRequest { page_size: 1, ..everything(&bed) };
    let mut found = Vec::new();
    loop {
        let page = timeline(&sandbox, request.clone()).await?;
        found.extend(numbers(&page));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, expected);
    let columns = ReadTimelineRequest { layout: TimelineLayout::Columns as i32, ..everything(&bed) };
    let series = timeline(&sandbox, columns).await?.series;
    assert_eq!((&series[0].numbers[..], &series[0].flags[..]), (&[61.0, 62.0, 63.0, 64.0][..], &[0, 16, 16, 16][..]));
    Ok(())
}

#[tokio::test]
async fn the_later_of_two_values_is_the_latest_also_in_another_unit() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, at) = (Bed::numbered(0), guard::clock::now().plus(-HOUR));
    // columns by unit: what is found in the one is compared with what is found in the other
    for (n, (stream, unit, number)) in (1..).zip([(9, "Cel", 37.0), (5, "[degF]", 100.4), (1, "Cel", 39.0)]) {
        let bed = Bed { stream: model::StreamId::new(uuid::Uuid::from_u128(stream)), ..bed };
        sandbox.write(&bed, 1, vec![reading("8310-5", unit, number, at)]).await?;
        sandbox.readable(&bed, n).await?;
        let found = shown(&latest(&sandbox, &bed).await?);
        assert!((found[0].0 - (36.0 + n as f64)).abs() < 1e-9, "{found:?}");
    }
    Ok(())
}

#[tokio::test]
async fn trends_and_studies_leave_out_what_was_ahead_by_the_rule_of_the_settings() -> anyhow::Result<()> {
    let flags = ["ingest.max_clock_ahead_seconds=0", "study.max_days=1"];
    let sandbox = Sandbox::with(1, &flags, &node::services::ALL).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    // within what clocks may differ by default
    let soon = now.plus(2 * Nanos::SECOND);
    sandbox.write(&bed, 1, vec![pulse(70.0, now.plus(-2 * Nanos::SECOND)), pulse(190.0, soon)]).await?;
    sandbox.readable(&bed, 2).await?;
    let patient_id = bed.patient.uuid().to_string();
    let to = Some(convert::timestamp(now.plus(HOUR)));
    let trend = ReadTrendRequest { patient_id, metrics: vec!["8867-4".into()], end_time: to, ..Default::default() };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let hours = &trend.trends[0].hours;
    let sum = |of: fn(&proto::telemetry::v1::TrendHour) -> u64| hours.iter().map(of).sum::<u64>();
    assert_eq!((sum(|hour| hour.n_readings), sum(|hour| hour.n_doubtful)), (1, 1));

    let scientist = auth::demo_person("ml-scientist").expect("one of the demo's roles").uuid();
    let patient = bed.patient.uuid();
    sandbox.write_directory(
        "study",
        &format!("[[study]]\nuser = \"{scientist}\"\npatient = \"{patient}\"\nstudy = \"heart\"\n"),
    )?;
    let client = StudyServiceClient::new(sandbox.channel().await?);
    let subjects = async || {
        let request = ListSubjectsRequest { study: "heart".into(), ..Default::default() };
        Ok(client.clone().list_subjects(sandbox.as_person("ml-scientist", request)?).await?.into_inner().subject_ids)
    };
    let subject_id = tests::wait::until("the patient takes part", subjects, |found| found.len() == 1).await?.remove(0);
    let come = || async { Ok(guard::clock::now()) };
    tests::wait::until("that time", come, |at| *at > soon.plus(1)).await?;
    let request = ReadSubjectRequest { study: "heart".into(), subject_id, ..Default::default() };
    let series = client.clone().read_subject(sandbox.as_person("ml-scientist", request)?).await?.into_inner().series;
    assert_eq!(series.iter().flat_map(|series| series.numbers.clone()).collect::<Vec<_>>(), [70.0]);
    Ok(())
}

#[tokio::test]
async fn what_is_ahead_is_marked_on_its_way_in() -> anyhow::Result<()> {
    let (dir, bed, log) = (tempfile::tempdir()?, Bed::numbered(0), Arc::new(HeldLog::default()));
    std::fs::write(dir.path().join("beds.toml"), tests::directory_of(&[bed]))?;
    let front = Front::serve(Arc::clone(&log) as _, dir.path(), ingest::Limits::default()).await?;
    let now = guard::clock::now();
    let batch = write(&bed, 1, vec![pulse(60.0, now.plus(HOUR / 60)), pulse(61.0, now.plus(HOUR / 20))]);
    let (mut client, request) = (front.client().await?, tests::with_token(batch, &bed.device.uuid().to_string())?);
    tokio::spawn(async move { client.write_readings(request).await.map(drop) });
    log.holds(1).await?;
    let record = Record::decode(&log.records()[0].payload)?;
    let mut marks = Vec::new();
    for slice in &record.slices {
        let block = Block::decode(slice.hour, &slice.block)?;
        marks.extend(block.columns.into_iter().flat_map(|column| column.quality));
    }
    // so it stays, also when more is allowed later
    assert_eq!(marks, [Quality::GOOD, Quality::FUTURE]);
    Ok(())
}

#[tokio::test]
async fn rows_of_an_older_program_come_to_what_the_settings_say() -> anyhow::Result<()> {
    let mut sandbox = Sandbox::with(1, &["ingest.max_clock_ahead_seconds=0"], &node::services::ALL).await?;
    sandbox.stop().await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    // ahead by a minute, and nothing says so
    let at = now.plus(-2 * Nanos::SECOND);
    let (metric, block) = block_of("8867-4", 190.0, at);
    let row = model::Row {
        patient: bed.patient,
        hour: at.hour(),
        identity: model::BatchId { device: bed.device, stream: bed.stream, sequence: 1, digest: 1 },
        received_at: at.plus(-60 * Nanos::SECOND),
        clock: model::ClockQuality::Synchronized,
        metrics: vec![metric],
        block: block.into(),
    };
    let store = store::embedded::Store::open(sandbox.config()?.data.dir.join("store"))?;
    store::Append::append(&store, &[row]).await?;
    drop(store);
    sandbox.run().await?;
    let trend = ReadTrendRequest {
        patient_id: bed.patient.uuid().to_string(),
        metrics: vec!["8867-4".into()],
        ..Default::default()
    };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let hours: Vec<_> = trend.trends[0].hours.iter().map(|hour| (hour.n_readings, hour.n_doubtful)).collect();
    assert_eq!(hours, [(0, 1)]);
    assert_eq!(shown(&latest(&sandbox, &bed).await?), []);
    Ok(())
}
