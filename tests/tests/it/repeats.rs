//! A device that has lost its state: it is told where its last stream stood, and what it sends again is shown once.

use anyhow::Context;
use guard::convert;
use model::{Nanos, StreamId};
use proto::telemetry::v1::{
    AbsentReason, Bound, Comparator, GetLastStreamRequest, LatestReadingsRequest, ReadTimelineRequest,
    ReadTrendRequest, Reading, TimelineLayout, reading::Value,
};
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading},
};
use tonic::Code;
use uuid::Uuid;

const MINUTE: i64 = 60 * Nanos::SECOND;

#[tokio::test]
async fn what_is_sent_again_in_a_new_stream_is_shown_once_and_counted() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    // of one hour, so that one hour has all
    let at = |minutes: i64| now.hour().start().plus(-60 * MINUTE + minutes * MINUTE);
    sandbox.write(&bed, 1, vec![pulse(70.0, at(1)), pulse(71.0, at(2))]).await?;
    // its state is lost: all again, and what came since; one value is another now
    let again = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    sandbox.write(&again, 1, vec![pulse(70.0, at(1)), pulse(75.0, at(2)), pulse(72.0, at(3))]).await?;
    sandbox.readable(&bed, 4).await?;

    let read = |layout: TimelineLayout| ReadTimelineRequest { layout: layout as i32, ..everything(&bed) };
    let mut timeline = sandbox.timeline().await?;
    let page = timeline.read_timeline(sandbox.as_person("doctor", read(TimelineLayout::Readings))?).await?.into_inner();
    let shown: Vec<_> = page.readings.iter().filter_map(|reading| reading.measured_at).collect();
    let expected = [1, 2, 2, 3].map(|minutes| convert::timestamp(at(minutes)));
    assert_eq!((shown, page.n_repeats), (expected.to_vec(), 1));
    assert_eq!(page.readings[0].stream_id, bed.stream.uuid().to_string(), "what was sent first stands");
    let page = timeline.read_timeline(sandbox.as_person("doctor", read(TimelineLayout::Columns))?).await?.into_inner();
    assert_eq!((&page.series[0].numbers[..], page.n_repeats), (&[70.0, 71.0, 75.0, 72.0][..], 1));

    let patient_id = bed.patient.uuid().to_string();
    let trend = ReadTrendRequest { patient_id: patient_id.clone(), ..Default::default() };
    let trend = timeline.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let hours: Vec<_> = trend.trends[0].hours.iter().map(|hour| (hour.n_readings, hour.n_repeats, hour.mean)).collect();
    // of the corrected value and its correction the later one
    assert_eq!(hours, [(3, 1, Some(217.0 / 3.0))]);
    let latest = LatestReadingsRequest { patient_id, metrics: Vec::new() };
    let latest = timeline.latest_readings(sandbox.as_person("doctor", latest)?).await?.into_inner();
    let newest = latest.readings[0].reading.as_ref().and_then(|reading| reading.measured_at);
    assert_eq!(newest, Some(convert::timestamp(at(3))));
    Ok(())
}

/// How many readings all pages together show, and how many repeats they tell of.
async fn counted(sandbox: &Sandbox, bed: &Bed, page_size: i32) -> anyhow::Result<(usize, u64)> {
    let (mut request, mut n_shown, mut n_repeats) = (ReadTimelineRequest { page_size, ..everything(bed) }, 0, 0);
    loop {
        let asked = sandbox.as_person("doctor", request.clone())?;
        let page = sandbox.timeline().await?.read_timeline(asked).await?.into_inner();
        (n_shown, n_repeats) = (n_shown + page.readings.len(), n_repeats + page.n_repeats);
        if page.next_page_token.is_empty() {
            return Ok((n_shown, n_repeats));
        }
        request.page_token = page.next_page_token;
    }
}

/// Page by page each repeat is counted once.
#[tokio::test]
async fn repeats_are_counted_once_over_all_pages() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |n: i64| now.hour().start().plus(-60 * MINUTE + n * Nanos::SECOND);
    let readings: Vec<_> = (0..10).map(|n| pulse(60.0 + n as f64, at(n))).collect();
    sandbox.write(&bed, 1, readings.clone()).await?;
    let again = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    sandbox.write(&again, 1, [readings, vec![pulse(99.0, at(20))]].concat()).await?;
    sandbox.readable(&bed, 11).await?;
    assert_eq!(counted(&sandbox, &bed, 4).await?, (11, 10));
    Ok(())
}

/// A sensor's hour with values, without and below its scale, sent again in other batches, by two streams.
#[tokio::test]
async fn readings_of_all_kinds_are_shown_once_whatever_batches_they_are_sent_again_in() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let hour = now.hour().start().plus(-120 * MINUTE);
    let glucose = |n: i64| {
        let reading = reading("41653-7", "mg/dL", 100.0 + n as f64, hour.plus(n * 5 * MINUTE));
        let value = match n % 4 {
            1 => Value::Bound(Bound { comparator: Comparator::Less.into(), number: Some(40.0) }),
            2 => Value::AbsentReason(AbsentReason::Error.into()),
            _ => return reading,
        };
        Reading { value: Some(value), ..reading }
    };
    let all: Vec<_> = (0..12).map(glucose).collect();
    let again = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    let once_more = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    for (of, size) in [(&bed, 3), (&again, 4), (&once_more, 5)] {
        for (sequence, batch) in (1..).zip(all.chunks(size)) {
            sandbox.write(of, sequence, batch.to_vec()).await?;
        }
    }
    // the hour that follows, so that a page can end where an hour does
    sandbox.write(&again, 9, vec![pulse(60.0, hour.plus(61 * MINUTE))]).await?;
    sandbox.write(&once_more, 9, vec![pulse(60.0, hour.plus(61 * MINUTE))]).await?;
    sandbox.readable(&bed, 13).await?;
    for page_size in [0, 1, 5, 12, 13] {
        assert_eq!(counted(&sandbox, &bed, page_size).await?, (13, 25), "pages of {page_size}");
    }
    let trend = ReadTrendRequest { patient_id: bed.patient.uuid().to_string(), ..Default::default() };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let of_glucose = trend.trends.iter().find(|trend| trend.metric == "41653-7").context("a trend")?;
    let hour = &of_glucose.hours[0];
    assert_eq!((hour.n_readings, hour.n_bounded, hour.n_absent, hour.n_repeats), (6, 3, 3, 24));
    Ok(())
}

#[tokio::test]
async fn a_device_is_told_where_its_last_stream_stood() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let (bed, other, now) = (Bed::numbered(0), Bed::numbered(1), guard::clock::now());
    let asked = |of: &Bed| GetLastStreamRequest { device_id: of.device.uuid().to_string() };
    let mut ingest = sandbox.ingest().await?;
    let none = ingest.get_last_stream(sandbox.as_device(bed.device, asked(&bed))?).await.err().unwrap();
    assert_eq!(none.code(), Code::NotFound);
    let not_itself = ingest.get_last_stream(sandbox.as_device(other.device, asked(&bed))?).await.err().unwrap();
    assert_eq!(not_itself.code(), Code::PermissionDenied);
    sandbox.write(&bed, 1, vec![pulse(70.0, now.plus(-2 * MINUTE))]).await?;
    let second = Bed { stream: StreamId::new(Uuid::new_v4()), ..bed };
    for sequence in 1..=3 {
        sandbox.write(&second, sequence, vec![pulse(70.0 + sequence as f64, now.plus(-MINUTE))]).await?;
    }
    let stands = || async {
        let answer = sandbox.ingest().await?.get_last_stream(sandbox.as_device(bed.device, asked(&bed))?).await;
        let last = answer.map(tonic::Response::into_inner).ok();
        Ok(last.map(|last| (last.stream_id, last.highest_sequence, last.received_at)))
    };
    let expected = second.stream.uuid().to_string();
    let is_known = |last: &Option<_>| matches!(last, Some((stream, 3, _)) if *stream == expected);
    let last = tests::wait::until("where the stream stood", stands, is_known).await?.unwrap();
    assert!(last.2.as_ref().and_then(convert::nanos).is_some_and(|at| at >= now));
    Ok(())
}

/// What the process acknowledged it says at once, as it does to who opens the stream again.
#[tokio::test]
async fn a_device_is_told_all_that_was_acknowledged_of_its_last_stream() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let (mut line, _) = sandbox.line(&bed, 0).await?;
    for sequence in 1..=5 {
        line.batch(sequence, vec![pulse(70.0 + sequence as f64, now.plus(-MINUTE))]).await;
    }
    line.acked(5).await?;
    let stands = || async {
        let asked = GetLastStreamRequest { device_id: bed.device.uuid().to_string() };
        let answer = sandbox.ingest().await?.get_last_stream(sandbox.as_device(bed.device, asked)?).await;
        let last = answer.map(tonic::Response::into_inner).ok();
        Ok(last.map(|last| (last.last_durable, last.highest_sequence)))
    };
    // the first answer that knows the stream knows all of it
    let last = tests::wait::until("that there is a stream", stands, Option::is_some).await?.context("a stream")?;
    assert_eq!(last, (5, 5));
    let (_, opened) = sandbox.line(&bed, 0).await?;
    assert_eq!(opened.last_durable, 5);
    Ok(())
}
