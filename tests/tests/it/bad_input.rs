//! A bad reading is refused by itself, with field and reason; a doubtful one is kept and marked. Nothing else is lost.

use crate::bad_batches::tags;
use model::Nanos;
use proto::{
    prost_types::Timestamp,
    telemetry::v1::{
        LatestReadingsRequest, Reading, ReadingFlag, SampleWidth, StoredReading, Waveform, reading::Value,
    },
};
use tests::{
    Bed, Sandbox,
    builders::{pulse, reading},
    line::outlines,
    wait::until,
};

const ECG: &str = "11524-6";
const ACVPU: &str = "67775-7";
const PRESSURE_PANEL: &str = "85354-9";

fn valued(metric: &str, unit: &str, value: Option<Value>, at: Nanos) -> Reading {
    Reading { value, ..reading(metric, unit, 0.0, at) }
}

fn wave(at: Nanos, change: impl FnOnce(&mut Waveform)) -> Reading {
    let width = SampleWidth::Int16 as i32;
    let mut wave =
        Waveform { origin: 0.0, period_ns: 4_000_000, scale: 0.005, width, samples: vec![0, 20, -7], missing: vec![] };
    change(&mut wave);
    valued(ECG, "mV", Some(Value::Waveform(wave)), at)
}

fn timed(measured_at: Option<Timestamp>) -> Reading {
    Reading { measured_at, ..pulse(60.0, Nanos(0)) }
}

fn code(code: &str, at: Nanos) -> Reading {
    valued(ACVPU, "", Some(Value::Code(code.to_owned())), at)
}

/// Each bad reading with the field and the reason that it must be refused for.
fn bad(at: Nanos) -> Vec<(&'static str, &'static str, Reading)> {
    let stamp = |seconds, nanos| timed(Some(Timestamp { seconds, nanos }));
    // the year 1600; after 2262
    let (early, late) = (-11_676_096_000, 9_300_000_000);
    vec![
        ("metric", "UNKNOWN_METRIC", reading("0000-0", "", 1.0, at)),
        ("metric", "UNKNOWN_METRIC", reading("", "", 1.0, at)),
        ("metric", "UNKNOWN_METRIC", reading(&"é".repeat(4_000), "", 1.0, at)),
        ("unit", "UNKNOWN_UNIT", reading("8867-4", "furlong-ish", 1.0, at)),
        ("unit", "UNKNOWN_UNIT", reading("8867-4", &"x".repeat(9_000), 1.0, at)),
        ("unit", "WRONG_DIMENSION", reading("8867-4", "mm[Hg]", 1.0, at)),
        ("unit", "WRONG_DIMENSION", reading("8310-5", "kg", 1.0, at)),
        ("number", "NOT_FINITE", pulse(f64::NAN, at)),
        ("number", "NOT_FINITE", pulse(f64::INFINITY, at)),
        ("number", "NOT_FINITE", pulse(f64::NEG_INFINITY, at)),
        ("value", "VALUE_MISSING", valued("8867-4", "", None, at)),
        ("value", "WRONG_VALUE_KIND", valued("8867-4", "", Some(Value::Code("A".into())), at)),
        ("value", "WRONG_VALUE_KIND", valued(ACVPU, "", Some(Value::Number(1.0)), at)),
        ("value", "WRONG_VALUE_KIND", valued(ECG, "mV", Some(Value::Number(1.0)), at)),
        ("value", "WRONG_VALUE_KIND", valued(PRESSURE_PANEL, "", Some(Value::Number(120.0)), at)),
        ("code", "UNKNOWN_CODE", code("a", at)),
        ("code", "UNKNOWN_CODE", code(&"Ω".repeat(500), at)),
        ("waveform.samples", "BAD_WAVEFORM", wave(at, |wave| wave.samples.clear())),
        ("waveform.samples", "BAD_WAVEFORM", wave(at, |wave| wave.samples.push(40_000))),
        ("waveform.samples", "BAD_WAVEFORM", wave(at, |wave| wave.samples = vec![0; 65_537])),
        ("waveform.period_ns", "BAD_WAVEFORM", wave(at, |wave| wave.period_ns = 0)),
        ("waveform.scale", "BAD_WAVEFORM", wave(at, |wave| wave.scale = 0.0)),
        ("waveform.scale", "BAD_WAVEFORM", wave(at, |wave| wave.scale = f64::NAN)),
        ("waveform.scale", "BAD_WAVEFORM", wave(at, |wave| wave.origin = f64::INFINITY)),
        ("measured_at", "TIME_MISSING", timed(None)),
        ("measured_at", "TIME_OUT_OF_RANGE", stamp(early, 0)),
        ("measured_at", "TIME_OUT_OF_RANGE", stamp(late, 0)),
        ("measured_at", "TIME_OUT_OF_RANGE", stamp(0, -1)),
        ("measured_at", "TIME_OUT_OF_RANGE", stamp(0, 1_000_000_000)),
        ("measured_at", "TIME_OUT_OF_RANGE", stamp(i64::MAX, i32::MAX)),
    ]
}

#[tokio::test]
async fn each_bad_reading_is_refused_by_itself_and_the_rest_is_kept() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(2).await?;
    let now = guard::clock::now();
    let bad = bad(now);
    // good, bad, good, bad, good ...: each good one by its value
    let mut readings = vec![pulse(0.0, now)];
    let mut expected = Vec::new();
    for (n, (field, reason, reading)) in bad.iter().enumerate() {
        expected.push((Some(readings.len() as u32), format!("readings[{}].{field}", readings.len()), *reason));
        readings.push(reading.clone());
        readings.push(pulse((n + 1) as f64, now));
    }
    let expected: Vec<_> = expected.iter().map(|(index, field, reason)| (*index, field.as_str(), *reason)).collect();
    let kept = bad.len() + 1;
    let numbers: Vec<_> = (0..kept).map(|n| n as f64).collect();

    let written = sandbox.write(&Bed::numbered(0), 1, readings.clone()).await?;
    assert_eq!(outlines(&written.refused), expected);
    assert_eq!(written.accepted_readings, kept as u64);
    assert!(written.refused.iter().all(|r| r.sequence == 1 && !r.description.is_empty()));
    let longest = written.refused.iter().map(|r| r.description.len()).max();
    assert!(longest < Some(600), "an answer shows at most a little of what was sent: {longest:?}");

    let (mut line, _) = sandbox.line(&Bed::numbered(1), 0).await?;
    line.batch(1, readings).await;
    line.batch(2, vec![pulse(1.0, now)]).await;
    let acked = line.acked(2).await?;
    assert_eq!(outlines(&acked.refused), expected);
    assert_eq!(acked.accepted, kept as u64 + 1);

    let stored = sandbox.readable(&Bed::numbered(0), kept).await?;
    assert_eq!(stored.iter().map(tags).map(|(number, _)| number).collect::<Vec<_>>(), numbers);
    sandbox.readable(&Bed::numbered(1), kept + 1).await?;
    sandbox.write(&Bed::numbered(0), 2, vec![pulse(1.0, now)]).await?;
    Ok(())
}

#[tokio::test]
async fn doubtful_readings_are_kept_and_marked_and_those_of_impossible_times_are_never_latest() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    let ancient = Nanos(Nanos::YEAR_1900.0 - 1);
    let readings = vec![
        pulse(400.0, now),
        pulse(-1.0, now.plus(-3)),
        Reading { questionable: true, ..pulse(61.0, now.plus(-1)) },
        pulse(62.0, ancient),
        pulse(63.0, Nanos::YEAR_1900),
        pulse(64.0, now.plus(Nanos::DAY + 600 * Nanos::SECOND)),
        pulse(65.0, now.plus(-2)),
        Reading { questionable: true, ..pulse(900.0, ancient) },
    ];
    let written = sandbox.write(&bed, 1, readings).await?;
    assert_eq!((written.accepted_readings, written.refused.len()), (8, 0));
    use ReadingFlag::{Ancient, Future, Implausible, Questionable, UnsetClock};
    let stored = sandbox.readable(&bed, 8).await?;
    let expected: [(f64, &[ReadingFlag]); 8] = [
        (62.0, &[Ancient]),
        (900.0, &[Implausible, Ancient, Questionable]),
        (63.0, &[UnsetClock]),
        (-1.0, &[Implausible]),
        (65.0, &[]),
        (61.0, &[Questionable]),
        (400.0, &[Implausible]),
        (64.0, &[Future]),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(number, flags)| (*number, flags.iter().map(|f| *f as i32).collect())).collect();
    assert_eq!(stored.iter().map(tags).collect::<Vec<_>>(), expected);

    let only_wrong_times = vec![
        reading("8310-5", "Cel", 37.0, ancient),
        reading("8310-5", "Cel", 38.0, now.plus(Nanos::DAY + 600 * Nanos::SECOND)),
    ];
    sandbox.write(&bed, 2, only_wrong_times).await?;
    sandbox.readable(&bed, 10).await?;
    let latest = LatestReadingsRequest { patient_id: bed.patient.uuid().to_string(), metrics: vec![] };
    let latest = sandbox.timeline().await?.latest_readings(sandbox.as_person("doctor", latest)?).await?.into_inner();
    let latest: Vec<StoredReading> = latest.readings.into_iter().filter_map(|latest| latest.reading).collect();
    assert_eq!(latest.len(), 1, "a metric whose times are all impossible has no latest value");
    assert_eq!(tags(&latest[0]), (400.0, vec![Implausible as i32]));
    Ok(())
}

#[tokio::test]
async fn a_number_that_does_not_survive_its_conversion_is_refused() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let (bed, now) = (Bed::numbered(0), guard::clock::now());
    // kPa to mm[Hg] multiplies by 7.5
    let written = sandbox.write(&bed, 1, vec![reading("8480-6", "kPa", f64::MAX, now), pulse(60.0, now)]).await?;
    assert_eq!(outlines(&written.refused), [(Some(0), "readings[0].number", "NOT_FINITE")]);
    let stored = sandbox.readable(&bed, 1).await?;
    assert_eq!(tags(&stored[0]).0, 60.0);
    Ok(())
}

#[tokio::test]
async fn a_reading_that_was_refused_for_want_of_a_patient_is_taken_when_it_has_one() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    // a device that is registered and assigned to nobody
    let (bed, now) = (Bed { device: Bed::numbered(7).device, ..Bed::numbered(0) }, guard::clock::now());
    let (device, patient) = (bed.device.uuid(), bed.patient.uuid());
    sandbox.write_directory("late", &format!("[[device]]\nid = \"{device}\"\nmodel = \"late\"\n"))?;
    let send = async || {
        sandbox.write(&bed, 1, vec![pulse(61.0, now)]).await.map(|answer| {
            let reasons: Vec<_> = answer.refused.into_iter().map(|refusal| refusal.reason).collect();
            (answer.accepted_readings, reasons)
        })
    };
    let refused = until("the device is registered", send, |_| true).await?;
    assert_eq!(refused, (0, vec!["NOT_ASSIGNED".to_owned()]));
    sandbox.write_directory("later", &format!("[[assignment]]\ndevice = \"{device}\"\npatient = \"{patient}\"\n"))?;
    until("the device is assigned", send, |answer| answer.0 == 1).await?;
    sandbox.readable(&bed, 1).await?;
    Ok(())
}
