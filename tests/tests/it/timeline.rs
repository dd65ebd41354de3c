//! What comes back is what was sent: values, units, times, owners; ranges end where they say.

use crate::bad_batches::tags;
use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{
    LatestReadingsRequest, ReadTimelineRequest, Reading, SampleWidth, TimelineLayout, Waveform, reading, stored_reading,
};
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading as number},
    wait::until,
};

const DAY: i64 = Nanos::DAY;
const START: Nanos = Nanos(1_700_000_000 * Nanos::SECOND);

async fn numbers(sandbox: &Sandbox, request: ReadTimelineRequest) -> anyhow::Result<Vec<f64>> {
    let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner();
    Ok(page.readings.iter().map(|stored| tags(stored).0).collect())
}

fn between(bed: &Bed, from: Nanos, to: Nanos) -> ReadTimelineRequest {
    let (from, to) = (Some(convert::timestamp(from)), Some(convert::timestamp(to)));
    ReadTimelineRequest { start_time: from, end_time: to, ..everything(bed) }
}

#[tokio::test]
async fn a_range_has_its_first_instant_and_not_its_last() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    // around the turn of an hour and of a day
    let turn = Nanos(START.0.div_euclid(DAY) * DAY);
    let times = [turn.plus(-1), turn, turn.plus(1), turn.plus(DAY - 1), turn.plus(DAY)];
    let readings = times.iter().enumerate().map(|(n, at)| pulse(n as f64, *at)).collect();
    sandbox.write(&bed, 1, readings).await?;
    sandbox.readable(&bed, 5).await?;
    let cases: [(Nanos, Nanos, &[f64]); 7] = [
        (turn, turn.plus(DAY), &[1.0, 2.0, 3.0]),
        (turn.plus(-1), turn, &[0.0]),
        (turn, turn, &[]),
        (turn, turn.plus(1), &[1.0]),
        (turn.plus(1), turn.plus(DAY), &[2.0, 3.0]),
        (turn.plus(1), turn.plus(DAY + 1), &[2.0, 3.0, 4.0]),
        (turn.plus(2), turn.plus(DAY - 1), &[]),
    ];
    for (from, to, expected) in cases {
        assert_eq!(numbers(&sandbox, between(&bed, from, to)).await?, expected, "{from:?} to {to:?}");
        let layout = TimelineLayout::Columns as i32;
        let request = ReadTimelineRequest { layout, ..between(&bed, from, to) };
        let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner();
        let columns: Vec<f64> = page.series.iter().flat_map(|series| series.numbers.clone()).collect();
        assert_eq!(columns, expected, "{from:?} to {to:?}, columns");
    }
    Ok(())
}

#[tokio::test]
async fn late_data_lands_in_its_own_day_and_latest_does_not_go_back() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    sandbox.write(&bed, 1, vec![pulse(80.0, now)]).await?;
    let late = now.plus(-3 * DAY);
    sandbox.write(&bed, 2, vec![pulse(50.0, late), number("8310-5", "Cel", 36.5, late)]).await?;
    // older than "latest" reaches back
    sandbox.write(&bed, 3, vec![number("59408-5", "%", 97.0, now.plus(-401 * DAY))]).await?;
    sandbox.readable(&bed, 4).await?;
    assert_eq!(numbers(&sandbox, between(&bed, late, late.plus(1))).await?, [50.0, 36.5]);
    // no range: the last 24 hours
    assert_eq!(
        numbers(&sandbox, ReadTimelineRequest { start_time: None, end_time: None, ..everything(&bed) }).await?,
        [80.0]
    );
    let mut client = sandbox.timeline().await?;
    let mut latest = async |metrics: &[&str]| {
        let metrics = metrics.iter().map(|&metric| metric.to_owned()).collect();
        let request = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics };
        let answer = client.latest_readings(sandbox.as_person("nurse", request)?).await?.into_inner();
        let line = |latest: proto::telemetry::v1::LatestReading| {
            let days = latest.age.map(|age| (age.seconds + 3_600) / 86_400);
            latest.reading.map(|reading| (reading.metric.clone(), tags(&reading).0, days))
        };
        anyhow::Ok(answer.readings.into_iter().map(line).collect::<Vec<_>>())
    };
    let heart = Some(("8867-4".to_owned(), 80.0, Some(0)));
    let temperature = Some(("8310-5".to_owned(), 36.5, Some(3)));
    assert_eq!(latest(&[]).await?, [temperature.clone(), heart]);
    assert_eq!(latest(&["8310-5"]).await?, [temperature]);
    assert_eq!(latest(&["59408-5"]).await?, []);
    Ok(())
}

#[tokio::test]
async fn coverage_says_how_much_of_the_range_has_data_and_how_old_it_is() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let hour = 3_600 * Nanos::SECOND;
    let readings = [0, 1, 1, 5].map(|hours| pulse(60.0 + hours as f64, now.plus(-hours * hour)));
    sandbox.write(&bed, 1, readings.to_vec()).await?;
    sandbox.write(&bed, 2, vec![number("8310-5", "Cel", 37.0, now.plus(-2 * hour))]).await?;
    sandbox.readable(&bed, 5).await?;
    let request = between(&bed, now.plus(-10 * hour), now.plus(10 * hour));
    let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner();
    let mut found: Vec<_> =
        page.coverage.iter().map(|c| (c.metric.as_str(), c.hours_with_data, c.hours_in_range)).collect();
    found.sort();
    assert_eq!(found, [("8310-5", 1, 11), ("8867-4", 3, 11)], "hours to come do not count");
    for coverage in &page.coverage {
        let at = coverage.newest_measured_at.as_ref().and_then(convert::nanos);
        let age_s = coverage.newest_age.as_ref().map(|age| age.seconds).unwrap_or(-1);
        let (expected, hours) = if coverage.metric == "8867-4" { (now, 0) } else { (now.plus(-2 * hour), 2) };
        assert_eq!(at, Some(expected));
        assert!((hours * 3_600..hours * 3_600 + 60).contains(&age_s), "{age_s}");
    }
    Ok(())
}

#[tokio::test]
async fn coverage_counts_an_hour_into_which_a_reading_only_reaches() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let minute = 60 * Nanos::SECOND;
    let from = now.hour().start().plus(-120 * minute);
    let until = Some(convert::timestamp(from.plus(5 * minute)));
    let begun = from.plus(-5 * minute);
    let steps = Reading { measured_until: until, ..number("55423-8", "", 500.0, begun) };
    // one that is there in both hours is counted once
    let pulses = [-5, 5].map(|minutes| pulse(60.0, from.plus(minutes * minute)));
    sandbox.write(&bed, 1, [vec![steps], pulses.to_vec()].concat()).await?;
    sandbox.readable(&bed, 3).await?;
    for (from, hours) in [(from, 1), (from.plus(-60 * minute), 2)] {
        let request = between(&bed, from, from.plus(hours * 60 * minute));
        let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner();
        let mut found: Vec<_> = page.coverage.iter().map(|c| (c.metric.as_str(), c.hours_with_data)).collect();
        found.sort();
        let hours = hours as u32;
        assert_eq!(found, [("55423-8", hours), ("8867-4", hours)]);
        // the newest of what has a part in the range began before it
        let steps = page.coverage.iter().find(|metric| metric.metric == "55423-8").expect("was found");
        assert_eq!(steps.newest_measured_at, Some(convert::timestamp(begun)));
        assert!(steps.newest_age.as_ref().is_some_and(|age| age.seconds >= 125 * 60), "{:?}", steps.newest_age);
    }
    Ok(())
}

#[tokio::test]
async fn coverage_leaves_out_no_hour_however_many_reach_into_others() -> anyhow::Result<()> {
    const N: i64 = 1_010;
    let sandbox = Sandbox::start(1).await?;
    let (bed, first) = (Bed::numbered(0), START.hour().start());
    let (hour, minute) = (3_600 * Nanos::SECOND, 60 * Nanos::SECOND);
    let steps = (0..N).map(|n| {
        let turn = first.plus((2 * n + 1) * hour);
        let measured_until = Some(convert::timestamp(turn.plus(5 * minute)));
        Reading { measured_until, ..number("55423-8", "", 500.0, turn.plus(-5 * minute)) }
    });
    sandbox.write(&bed, 1, steps.collect()).await?;
    sandbox.readable(&bed, N as usize).await?;
    let request = between(&bed, first, first.plus(2 * N * hour));
    let page = sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner();
    let found: Vec<_> = page.coverage.iter().map(|c| (c.hours_with_data, c.hours_in_range)).collect();
    assert_eq!(found, [(2_020, 2_020)]);
    Ok(())
}

#[tokio::test]
async fn every_kind_of_value_comes_back_with_what_the_device_sent() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let width = SampleWidth::Int16 as i32;
    let samples = vec![0, 1, -1, 32_767, -32_768];
    let wave = Waveform { origin: 0.5, period_ns: 4_000_000, scale: 0.25, width, samples, missing: vec![] };
    let valued = |metric: &str, unit: &str, value: reading::Value, n: i64| Reading {
        value: Some(value),
        ..number(metric, unit, 0.0, START.plus(n))
    };
    let readings = vec![
        number("8310-5", "[degF]", 101.3, START),
        number("8480-6", "kPa", 16.0, START.plus(1)),
        number("8480-6", "mmHg", 120.0, START.plus(2)),
        number("2339-0", "mmol/L", 5.5, START.plus(3)),
        number("29463-7", "[lb_av]", 150.0, START.plus(4)),
        valued("67775-7", "", reading::Value::Code("V".into()), 5),
        valued("11524-6", "mV", reading::Value::Waveform(wave.clone()), 6),
        valued("11524-6", "uV", reading::Value::Waveform(wave.clone()), 7),
        number("8310-5", "", 0.1 + 0.2, START.plus(8)),
    ];
    let written = sandbox.write(&bed, 1, readings).await?;
    assert_eq!(tests::line::outlines(&written.refused), []);
    let stored = sandbox.readable(&bed, 9).await?;
    let units: Vec<_> = stored.iter().map(|s| s.unit.as_str()).collect();
    assert_eq!(units, ["Cel", "mm[Hg]", "mm[Hg]", "mg/dL", "kg", "", "mV", "mV", "Cel"]);
    let originals: Vec<_> = stored.iter().map(|s| s.original.as_ref().map(|o| (o.number, o.unit.as_str()))).collect();
    let expected = [
        Some((101.3, "[degF]")),
        Some((16.0, "kPa")),
        Some((120.0, "mmHg")),
        Some((5.5, "mmol/L")),
        Some((150.0, "[lb_av]")),
        None,
        None,
        Some((0.0, "uV")),
        None,
    ];
    assert_eq!(originals, expected);
    for (n, expected) in [(0, 38.5), (1, 120.010_200_867), (2, 120.0), (3, 99.088), (4, 68.038_855_5), (8, 0.1 + 0.2)] {
        let found = tags(&stored[n]).0;
        assert!((found - expected).abs() < 1e-6, "{n}: {found} is not {expected}");
    }
    assert!(matches!(&stored[5].value, Some(stored_reading::Value::Code(code)) if code == "V"));
    let waves: Vec<_> = [6, 7]
        .iter()
        .filter_map(|&n| match &stored[n].value {
            Some(stored_reading::Value::Waveform(wave)) => Some(wave),
            _ => None,
        })
        .collect();
    assert!(*waves[0] == wave, "bit for bit");
    assert_eq!((waves[1].samples.clone(), waves[1].period_ns), (wave.samples, wave.period_ns));
    assert!((waves[1].origin - 0.000_5).abs() < 1e-12 && (waves[1].scale - 0.000_25).abs() < 1e-12);
    assert!(stored.iter().enumerate().all(|(n, s)| (s.sequence, s.index, s.clock_quality) == (1, n as u32, 1)));
    assert!(
        stored
            .iter()
            .all(|s| s.device_id == bed.device.uuid().to_string() && s.stream_id == bed.stream.uuid().to_string())
    );
    Ok(())
}

#[tokio::test]
async fn events_at_one_instant_all_survive() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    // in one batch and in two batches: same metric, same instant, same value; in another stream it is what was sent before
    sandbox.write(&bed, 1, vec![pulse(60.0, START), pulse(60.0, START)]).await?;
    sandbox.write(&bed, 2, vec![pulse(60.0, START), pulse(61.0, START)]).await?;
    sandbox
        .write(&Bed { stream: Bed::numbered(1).stream, ..bed }, 1, vec![pulse(60.0, START), pulse(62.0, START)])
        .await?;
    sandbox.readable(&bed, 5).await?;
    Ok(())
}

#[tokio::test]
async fn readings_go_to_the_patient_of_their_own_time() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let (first, second) = (Bed::numbered(0), Bed { patient: Bed::numbered(1).patient, ..Bed::numbered(0) });
    let (device, one, two) = (first.device.uuid(), first.patient.uuid(), second.patient.uuid());
    let text = format!(
        r#"
        [[patient]]
        id = "{one}"
        ward = "icu"
        [[patient]]
        id = "{two}"
        ward = "icu"
        [[device]]
        id = "{device}"
        model = "m"
        [[assignment]]
        device = "{device}"
        patient = "{one}"
        from = "2023-11-01T00:00:00Z"
        to = "2023-11-14T22:13:20Z"
        [[assignment]]
        device = "{device}"
        patient = "{two}"
        from = "2023-11-14T22:13:20Z"
        to = "2023-11-20T00:00:00Z"
        "#
    );
    sandbox.write_directory("beds", &text)?;
    // the assignments change at START, in the middle of an hour and of the batch
    let times = [-20 * DAY, -1, 0, 1, 30 * DAY];
    let readings = || times.iter().enumerate().map(|(n, offset)| pulse(n as f64, START.plus(*offset))).collect();
    let written =
        until("the device is known", async || sandbox.write(&first, 1, readings()).await.map(Shown), |_| true).await?.0;
    let refused = tests::line::outlines(&written.refused);
    let not_assigned = |index: u32| (Some(index), "NOT_ASSIGNED");
    assert_eq!(refused.iter().map(|r| (r.0, r.2)).collect::<Vec<_>>(), [not_assigned(0), not_assigned(4)]);
    let of = async |bed: &Bed, n| {
        let stored = sandbox.readable(bed, n).await?;
        anyhow::Ok(stored.iter().map(|stored| tags(stored).0).collect::<Vec<_>>())
    };
    assert_eq!(of(&first, 1).await?, [1.0]);
    assert_eq!(of(&second, 2).await?, [2.0, 3.0]);
    Ok(())
}

/// An answer that may stand in a failure's text: without its contents.
struct Shown(proto::telemetry::v1::WriteReadingsResponse);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} accepted", self.0.accepted_readings)
    }
}
