//! Values that are no plain numbers: bounds, none at all, what lasts, waveforms with gaps. Each comes out as it was meant, by every
//! way out, and never as a number.

use guard::convert;
use model::Nanos;
use proto::telemetry::v1::{
    AbsentReason, Bound, Comparator, LatestReadingsRequest, ReadTimelineRequest, ReadTimelineResponse,
    ReadTrendRequest, Reading, ReadingFlag, SampleWidth, TimelineLayout, Waveform, reading::Value,
    stored_reading::Value as Stored,
};
use tests::{
    Bed, Sandbox,
    builders::{everything, reading},
};

const SECOND: i64 = Nanos::SECOND;
const MINUTE: i64 = 60 * SECOND;
const GLUCOSE: &str = "41653-7";
const ECG: &str = "mdc:131330";
const STEPS: &str = "55423-8";

fn valued(metric: &str, unit: &str, value: Value, at: Nanos) -> Reading {
    Reading { value: Some(value), ..reading(metric, unit, 0.0, at) }
}

fn bound(comparator: Comparator, number: f64) -> Value {
    Value::Bound(Bound { comparator: comparator.into(), number: Some(number) })
}

fn wave(samples: Vec<i32>, missing: Vec<u32>) -> Waveform {
    let width = SampleWidth::Int16.into();
    Waveform { origin: 0.0, period_ns: 10_000_000, scale: 0.01, width, samples, missing }
}

/// Steps from one time to another.
fn steps(number: f64, from: Nanos, until: Nanos) -> Reading {
    Reading { measured_until: Some(convert::timestamp(until)), ..reading(STEPS, "", number, from) }
}

async fn timeline(sandbox: &Sandbox, request: ReadTimelineRequest) -> anyhow::Result<ReadTimelineResponse> {
    Ok(sandbox.timeline().await?.read_timeline(sandbox.as_person("doctor", request)?).await?.into_inner())
}

/// The range from one time to another.
fn range(bed: &Bed, from: Nanos, to: Nanos) -> ReadTimelineRequest {
    let (start_time, end_time) = (Some(convert::timestamp(from)), Some(convert::timestamp(to)));
    ReadTimelineRequest { start_time, end_time, ..everything(bed) }
}

#[tokio::test]
async fn what_a_meter_cannot_measure_is_a_bound_by_every_way_out() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |minutes: i64| now.hour().start().plus(-60 * MINUTE + minutes * MINUTE);
    let low = bound(Comparator::Less, 20.0);
    let readings = vec![
        reading(GLUCOSE, "mg/dL", 100.0, at(1)),
        valued(GLUCOSE, "mg/dL", low, at(2)),
        valued(GLUCOSE, "mmol/L", bound(Comparator::Greater, 30.0), at(3)),
        valued(GLUCOSE, "mg/dL", Value::AbsentReason(AbsentReason::Error.into()), at(4)),
        reading(GLUCOSE, "mg/dL", 110.0, at(0)),
    ];
    let answer = sandbox.write(&bed, 1, readings).await?;
    assert!(answer.refused.is_empty(), "{:?}", answer.refused.iter().map(|one| &one.description).collect::<Vec<_>>());
    let stored = sandbox.readable(&bed, 5).await?;
    let values: Vec<_> = stored.iter().map(|reading| reading.value.clone()).collect();
    assert!(
        matches!(&values[2], Some(Stored::Bound(bound)) if (bound.comparator(), bound.number) == (Comparator::Less, Some(20.0)))
    );
    let Some(Stored::Bound(high)) = &values[3] else { panic!("a bound") };
    assert!(high.comparator() == Comparator::Greater && (high.number() - 540.47).abs() < 0.1, "{}", high.number());
    assert_eq!(stored[3].original.as_ref().map(|sent| (sent.number, sent.unit.as_str())), Some((30.0, "mmol/L")));
    assert!(matches!(values[4], Some(Stored::AbsentReason(reason)) if reason == i32::from(AbsentReason::Error)));

    let columns = ReadTimelineRequest { layout: TimelineLayout::Columns.into(), ..everything(&bed) };
    let page = timeline(&sandbox, columns).await?;
    let numbers: Vec<_> = page.series.iter().flat_map(|series| series.numbers.clone()).collect();
    assert_eq!(numbers, [110.0, 100.0], "no bound among them");
    let bounds: Vec<_> =
        page.series.iter().flat_map(|series| series.comparators().zip(series.bounds.clone())).collect();
    assert!(bounds.len() == 2 && bounds.contains(&(Comparator::Less, 20.0)), "{}", bounds.len());
    let absent: Vec<_> = page.series.iter().flat_map(|series| series.absent_reasons()).collect();
    assert!(absent == [AbsentReason::Error]);

    let patient_id = bed.patient.uuid().to_string();
    let trend = ReadTrendRequest { patient_id: patient_id.clone(), ..Default::default() };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    let hour = &trend.trends[0].hours[0];
    assert_eq!((hour.n_readings, hour.n_bounded, hour.n_absent), (2, 2, 1));
    assert_eq!((hour.min, hour.max, hour.sum), (Some(100.0), Some(110.0), None));
    let latest = LatestReadingsRequest { patient_id, metrics: Vec::new() };
    let latest = sandbox.timeline().await?.latest_readings(sandbox.as_person("doctor", latest)?).await?.into_inner();
    let newest = latest.readings[0].reading.as_ref().and_then(|reading| reading.value.clone());
    assert!(matches!(newest, Some(Stored::AbsentReason(_))), "that there was none is the newest that is known");
    Ok(())
}

#[tokio::test]
async fn what_says_nothing_is_refused_and_how_to_say_it_is_told() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, at) = (Bed::numbered(0), guard::clock::now().plus(-MINUTE));
    let lasting =
        |until: Nanos| Reading { measured_until: Some(convert::timestamp(until)), ..reading(STEPS, "", 5.0, at) };
    let ecg = |change: &dyn Fn(&mut Waveform)| {
        let mut wave = wave(vec![0, 1, 2], vec![]);
        change(&mut wave);
        valued(ECG, "mV", Value::Waveform(wave), at)
    };
    let no_number = Bound { comparator: Comparator::Greater.into(), number: None };
    let cases = [
        ("value", "bound", valued(GLUCOSE, "mg/dL", Value::Code("LO".into()), at)),
        ("number", "absent_reason", reading(GLUCOSE, "mg/dL", f64::NAN, at)),
        ("bound.comparator", "LESS", valued(GLUCOSE, "mg/dL", bound(Comparator::Unspecified, 20.0), at)),
        ("bound.number", "finite", valued(GLUCOSE, "mg/dL", bound(Comparator::Less, f64::INFINITY), at)),
        ("bound.number", "missing; give", valued(GLUCOSE, "mg/dL", Value::Bound(no_number), at)),
        ("absent_reason", "FHIR", valued(GLUCOSE, "mg/dL", Value::AbsentReason(0), at)),
        ("absent_reason", "FHIR", valued(GLUCOSE, "mg/dL", Value::AbsentReason(99), at)),
        ("measured_until", "before", lasting(at.plus(-1))),
        ("measured_until", "instant", lasting(at)),
        ("measured_until", "week", lasting(at.plus(8 * Nanos::DAY))),
        ("waveform.period_ns", "10,000", ecg(&|wave| wave.period_ns = 1)),
        ("waveform.period_ns", "60,000", ecg(&|wave| wave.period_ns = 3_600 * SECOND)),
        ("waveform.samples", "a week", ecg(&|wave| (wave.period_ns, wave.samples) = (MINUTE, vec![0; 20_000]))),
        ("waveform.missing", "ascending", ecg(&|wave| wave.missing = vec![2, 1])),
        ("waveform.missing", "ascending", ecg(&|wave| wave.missing = vec![3])),
        ("waveform.missing", "absent_reason", ecg(&|wave| wave.missing = vec![0, 1, 2])),
    ];
    let answer = sandbox.write(&bed, 1, cases.iter().map(|(.., reading)| reading.clone()).collect()).await?;
    assert_eq!(answer.refused.len(), cases.len());
    for (refusal, (field, hint, _)) in answer.refused.iter().zip(&cases) {
        assert!(
            refusal.field.ends_with(field) && refusal.description.contains(hint),
            "{field}: {}",
            refusal.description
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_waveform_is_found_by_any_range_that_it_overlaps_and_its_gaps_are_marked() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    // ten seconds, over the end of an hour
    let begin = now.hour().start().plus(-60 * MINUTE - 4 * SECOND);
    let samples: Vec<i32> = (0..1_000).map(|n| if n == 7 { 30_000 } else { n % 50 }).collect();
    let off = vec![3, 4, 5];
    sandbox.write(&bed, 1, vec![valued(ECG, "mV", Value::Waveform(wave(samples.clone(), off.clone())), begin)]).await?;
    sandbox
        .write(
            &bed,
            2,
            vec![valued(ECG, "mV", Value::Waveform(wave(samples[10..].to_vec(), vec![])), begin.plus(20 * SECOND))],
        )
        .await?;
    sandbox.readable(&bed, 2).await?;
    for (from, to, n) in
        [(1, 9, 1), (5, 6, 1), (9, 10, 1), (10, 11, 0), (-5, 0, 0), (-5, 1, 1), (12, 19, 0), (5, 25, 2)]
    {
        let page = timeline(&sandbox, range(&bed, begin.plus(from * SECOND), begin.plus(to * SECOND))).await?;
        assert_eq!(page.readings.len(), n, "from {from} to {to} s");
        let columns = range(&bed, begin.plus(from * SECOND), begin.plus(to * SECOND));
        let page =
            timeline(&sandbox, ReadTimelineRequest { layout: TimelineLayout::Columns.into(), ..columns }).await?;
        assert_eq!(page.series.iter().map(|series| series.waveforms.len()).sum::<usize>(), n, "from {from} to {to} s");
    }
    let stored = sandbox.readable(&bed, 2).await?;
    let Some(Stored::Waveform(first)) = &stored[0].value else { panic!("a waveform") };
    assert_eq!((&first.samples, &first.missing), (&samples, &off));
    assert!(stored[0].flags().any(|flag| flag == ReadingFlag::Implausible), "300 mV");
    assert!(stored[1].flags.is_empty());
    Ok(())
}

/// What is missing is not judged: a lead that is off is no voltage.
#[tokio::test]
async fn a_missing_sample_is_not_implausible() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, at) = (Bed::numbered(0), guard::clock::now().plus(-MINUTE));
    let metrics = model::metrics().iter().filter(|metric| metric.kind == model::Kind::Waveform);
    let mut n = 0;
    for (second, metric) in (0..).zip(metrics) {
        let (low, high) = metric.plausible.unwrap_or_else(|| panic!("{} has no plausible range", metric.key));
        let beyond = (high + (high - low)) as i32;
        let samples =
            |missing| Waveform { scale: 1.0, width: SampleWidth::Int32.into(), ..wave(vec![beyond, 1], missing) };
        let value =
            |missing| valued(metric.key, metric.unit, Value::Waveform(samples(missing)), at.plus(second * SECOND));
        sandbox.write(&bed, 2 * n + 1, vec![value(vec![0])]).await?;
        sandbox
            .write(
                &bed,
                2 * n + 2,
                vec![Reading { measured_at: Some(convert::timestamp(at.plus(-second * SECOND - 1))), ..value(vec![]) }],
            )
            .await?;
        n += 1;
    }
    let stored = sandbox.readable(&bed, 2 * n as usize).await?;
    let flagged = stored.iter().filter(|reading| reading.flags().any(|flag| flag == ReadingFlag::Implausible)).count();
    assert_eq!(flagged as u64, n);
    Ok(())
}

#[tokio::test]
async fn what_lasts_has_a_beginning_and_an_end_and_adds_up() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let at = |minutes: i64| now.hour().start().plus(-600 * MINUTE + minutes * MINUTE);
    // ten minutes; over the end of an hour; over five hours
    let readings = vec![steps(500.0, at(10), at(20)), steps(60.0, at(55), at(65)), steps(5.0, at(150), at(430))];
    sandbox.write(&bed, 1, readings).await?;
    let stored = sandbox.readable(&bed, 3).await?;
    assert_eq!(stored[0].measured_until, Some(convert::timestamp(at(20))));
    for (from, to, numbers) in [
        (12, 13, &[500.0][..]),
        (20, 30, &[]),
        (60, 62, &[60.0]),
        (15, 61, &[500.0, 60.0]),
        (400, 405, &[5.0]),
        (430, 440, &[]),
        (0, 600, &[500.0, 60.0, 5.0]),
    ] {
        let page = timeline(&sandbox, range(&bed, at(from), at(to))).await?;
        let found: Vec<_> = page.readings.iter().filter_map(|reading| reading.value.clone()).collect();
        let found: Vec<_> =
            found.iter().map(|value| if let Stored::Number(n) = value { *n } else { f64::NAN }).collect();
        assert_eq!(found, numbers, "from {from} to {to}");
    }
    let columns = ReadTimelineRequest { layout: TimelineLayout::Columns.into(), ..range(&bed, at(0), at(600)) };
    let page = timeline(&sandbox, columns).await?;
    assert_eq!(page.series[0].lasting_ns, [10 * MINUTE, 10 * MINUTE, 280 * MINUTE]);
    // the hours that something lasted through, or into, have data: 0 to 7
    assert_eq!((page.coverage[0].hours_with_data, page.coverage[0].hours_in_range), (8, 10));
    let page = timeline(&sandbox, range(&bed, at(300), at(420))).await?;
    assert_eq!((page.coverage[0].hours_with_data, page.coverage[0].hours_in_range), (2, 2));
    // page by page: what has begun before comes first, and nothing twice
    let mut request = ReadTimelineRequest { page_size: 1, ..range(&bed, at(61), at(600)) };
    let mut n = 0;
    loop {
        let page = timeline(&sandbox, request.clone()).await?;
        n += page.readings.len();
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(n, 2);
    let trend = ReadTrendRequest { patient_id: bed.patient.uuid().to_string(), ..Default::default() };
    let trend = sandbox.timeline().await?.read_trend(sandbox.as_person("doctor", trend)?).await?.into_inner();
    assert_eq!(trend.trends[0].hours.iter().map(|hour| hour.sum).collect::<Vec<_>>(), [Some(560.0), Some(5.0)]);
    Ok(())
}
