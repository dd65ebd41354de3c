//! Trends say of each hour what its readings say, late and doubtful ones included.

use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{
    self as wire, ReadTimelineRequest, ReadTrendRequest, ReadTrendResponse, Reading, StoredReading, stored_reading,
};
use std::collections::BTreeMap;
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading},
    line::Problem,
};
use tonic::{Code, Status};

const START: Nanos = Nanos(1_700_000_000 * Nanos::SECOND);

fn question(bed: &Bed) -> ReadTrendRequest {
    let ReadTimelineRequest { patient_id, start_time: from, end_time: to, .. } = everything(bed);
    ReadTrendRequest { patient_id, start_time: from, end_time: to, ..Default::default() }
}

async fn ask(sandbox: &Sandbox, role: &str, request: &ReadTrendRequest) -> Result<ReadTrendResponse, Status> {
    let fault = |error: anyhow::Error| Status::internal(error.to_string());
    let mut client = sandbox.timeline().await.map_err(fault)?;
    client.read_trend(sandbox.as_person(role, request.clone()).map_err(fault)?).await.map(|page| page.into_inner())
}

/// Metric and seconds of the hour's start; good numbers, doubtful ones.
type Hours = BTreeMap<(String, i64), (Vec<f64>, u64)>;

/// What readings come to.
fn hours_of(readings: &[StoredReading]) -> Hours {
    let mut hours = Hours::new();
    for reading in readings {
        let (Some(stored_reading::Value::Number(number)), Some(at)) = (&reading.value, &reading.measured_at) else {
            continue;
        };
        let (good, n_doubtful) =
            hours.entry((reading.metric.clone(), at.seconds.div_euclid(3_600) * 3_600)).or_default();
        match reading.flags.is_empty() {
            true => good.push(*number),
            false => *n_doubtful += 1,
        }
    }
    hours
}

/// Reads a patient's trend in pages of several sizes and compares it with the readings.
pub async fn agrees(sandbox: &Sandbox, bed: &Bed, readings: &[StoredReading]) -> anyhow::Result<()> {
    let expected = hours_of(readings);
    for page_size in [1, 3, 0] {
        let mut request = ReadTrendRequest { page_size, ..question(bed) };
        let mut left = expected.clone();
        loop {
            let page = ask(sandbox, "doctor", &request).await?;
            for trend in &page.trends {
                assert_eq!(model::by_code(&trend.metric).map(|metric| metric.unit), Some(&*trend.unit));
                assert!(trend.hours.is_sorted_by_key(|hour| hour.start.map(|at| at.seconds)));
                for hour in &trend.hours {
                    let start = hour.start.map(|at| at.seconds).unwrap_or_default();
                    let (good, n_doubtful) = left.remove(&(trend.metric.clone(), start)).expect("an hour, once");
                    assert_eq!((hour.n_readings, hour.n_doubtful), (good.len() as u64, n_doubtful));
                    let edges = [good.iter().copied().reduce(f64::min), good.iter().copied().reduce(f64::max)];
                    assert_eq!([hour.min, hour.max], edges);
                    match hour.mean {
                        Some(mean) => assert!((mean - good.iter().sum::<f64>() / good.len() as f64).abs() < 1e-9),
                        None => assert!(good.is_empty()),
                    }
                }
            }
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                break;
            }
            assert!(page_size != 0 && !page.trends.is_empty(), "a page for nothing");
        }
        assert!(left.is_empty(), "{left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_trend_says_what_the_readings_say() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let at = |minutes: i64| START.plus(minutes * 60 * Nanos::SECOND);
    let mut questionable = pulse(140.0, at(3));
    questionable.questionable = true;
    let alert = Reading {
        metric: "67775-7".into(),
        unit: String::new(),
        value: Some(wire::reading::Value::Code("A".into())),
        ..pulse(0.0, at(4))
    };
    let written = vec![
        // one implausible, one the device doubts, one alone with an hour and implausible
        vec![pulse(60.0, at(0)), pulse(900.0, at(1)), pulse(71.5, at(2)), questionable],
        vec![reading("8310-5", "[degF]", 98.6, at(1)), reading("8310-5", "Cel", 38.5, at(2))],
        vec![pulse(800.0, at(300))],
        (0..50).map(|n| pulse(60.0 + n as f64, at(600 + n * 7))).collect(),
        vec![alert],
    ];
    let mut n_readings = 0;
    for (sequence, readings) in (1..).zip(written) {
        n_readings += readings.len();
        let answer = sandbox.write(&bed, sequence, readings).await?;
        assert!(answer.refused.is_empty(), "{:?}", answer.refused.len());
    }
    agrees(&sandbox, &bed, &sandbox.readable(&bed, n_readings).await?).await?;

    let one = ReadTrendRequest { metrics: vec!["8310-5".into()], ..question(&bed) };
    let trends = ask(&sandbox, "doctor", &one).await?.trends;
    let named: Vec<_> = trends.iter().map(|trend| (&*trend.metric, trend.hours.len())).collect();
    assert_eq!(named, [("8310-5", 1)]);
    // an hour that the range touches counts whole
    let from = Some(convert::timestamp(at(2)));
    let to = Some(convert::timestamp(at(2).plus(1)));
    let touched = ReadTrendRequest { start_time: from, end_time: to, ..one };
    assert!(ask(&sandbox, "doctor", &touched).await?.trends == trends);
    Ok(())
}

#[tokio::test]
async fn of_a_value_and_what_corrects_it_the_later_one_is_added_up() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let at = |minutes: i64| START.plus(minutes * 60 * Nanos::SECOND).hour().start();
    let steps = |number: f64, hours: i64, minutes: i64| {
        let begun = at(60 * hours);
        let measured_until = Some(convert::timestamp(begun.plus(minutes * 60 * Nanos::SECOND)));
        vec![Reading { measured_until, ..reading("55423-8", "", number, begun) }]
    };
    // the same time with another number; the same beginning, and a later end
    for (sequence, readings) in
        (1..).zip([steps(600.0, 0, 10), steps(650.0, 0, 10), steps(600.0, 1, 10), steps(800.0, 1, 15)])
    {
        assert!(sandbox.write(&bed, sequence, readings).await?.refused.is_empty());
    }
    sandbox.readable(&bed, 4).await?;
    let trends = ask(&sandbox, "doctor", &question(&bed)).await?.trends;
    let hours: Vec<_> = trends[0].hours.iter().map(|hour| (hour.n_readings, hour.sum, hour.n_doubtful)).collect();
    assert_eq!(hours, [(1, Some(650.0), 0), (1, Some(800.0), 0)]);
    Ok(())
}

#[tokio::test]
async fn a_trend_is_not_for_everybody_and_its_pages_for_no_other_question() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    sandbox.write(&bed, 1, (0..5).map(|n| pulse(60.0, START.plus(n * 3_600 * Nanos::SECOND))).collect()).await?;
    sandbox.readable(&bed, 5).await?;
    let first = ReadTrendRequest { page_size: 2, ..question(&bed) };
    let token = ask(&sandbox, "doctor", &first).await?.next_page_token;
    let next = ReadTrendRequest { page_token: token.clone(), ..first.clone() };
    assert_eq!(ask(&sandbox, "doctor", &next).await?.trends[0].hours.len(), 2);
    let timeline = ReadTimelineRequest { page_size: 2, page_token: token, ..everything(&bed) };
    let mut client = sandbox.timeline().await?;
    let timeline = client.read_timeline(sandbox.as_person("doctor", timeline)?).await;
    for problem in [
        Problem::from(ask(&sandbox, "nurse", &next).await)?,
        Problem::from(ask(&sandbox, "doctor", &ReadTrendRequest { start_time: None, ..next }).await)?,
        Problem::from(timeline)?,
    ] {
        assert_eq!(problem.parts(), (Code::InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"));
    }
    let stranger = ask(&sandbox, "doctor", &question(&Bed::numbered(99))).await.map(|_| ()).expect_err("a stranger");
    assert_eq!((stranger.code(), stranger.message()), (Code::NotFound, "no such patient"));
    let reversed = ReadTrendRequest { start_time: first.end_time, end_time: first.start_time, ..first };
    let problem = Problem::from(ask(&sandbox, "doctor", &reversed).await)?;
    assert_eq!(problem.parts(), (Code::InvalidArgument, "RANGE_REVERSED", "start_time"));
    Ok(())
}
