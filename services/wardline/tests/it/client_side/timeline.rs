//! Reading back, from a server with pages.

use super::fake::serve;
use clap::Parser;
use guard::convert::{duration, timestamp};
use proto::telemetry::v1::{
    AbsentReason, Bound, LatestReading, LatestReadingsRequest, LatestReadingsResponse, ListPatientsRequest,
    ListPatientsResponse, Original, ReadTimelineRequest, ReadTimelineResponse, ReadTrendRequest, ReadTrendResponse,
    ReadingFlag, Series, StoredReading, TimelineLayout, Waveform,
    stored_reading::Value,
    timeline_service_server::{TimelineService, TimelineServiceServer},
};
use std::sync::{Arc, Mutex};
use tonic::{Request, Response, Status};
use wardline::timeline::{Options, View, read};

const PATIENT: &str = "0191c3c8-7a00-7000-8000-00000000abcd";
const SECOND: i64 = 1_000_000_000;
/// 2026-01-01T12:00:00Z, in seconds since 1970.
const NOON: i64 = 1_767_268_800;

/// Metrics of which, asked for alone, the server has pages of their own.
const ECG: &str = "11524-6";
const GLUCOSE: &str = "2339-0";
const STEPS: &str = "55423-8";
const SPO2: &str = "59408-5";
const PRESSURE: &str = "8480-6";

/// Three pages: one reading, none, one more. Of glucose alone two, with repeats left out of both.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<ReadTimelineRequest>>>);

fn stored(metric: &str, seconds: i64, value: Value) -> StoredReading {
    StoredReading {
        metric: metric.into(),
        measured_at: Some(timestamp(model::Nanos(seconds * SECOND))),
        unit: model::by_code(metric).unwrap().unit.into(),
        value: Some(value),
        device_id: "d".into(),
        ..Default::default()
    }
}

fn temperature() -> StoredReading {
    StoredReading {
        original: Some(Original { number: 98.6, unit: "[degF]".into() }),
        flags: [ReadingFlag::Questionable, ReadingFlag::SuspectUnit, ReadingFlag::UnsetClock].map(i32::from).to_vec(),
        ..stored("8310-5", NOON, Value::Number(37.0))
    }
}

fn wave() -> StoredReading {
    let wave =
        Waveform { origin: 0.0, period_ns: 4_000_000, scale: 0.005, width: 1, samples: vec![7, -1], missing: vec![] };
    stored("11524-6", NOON + 1, Value::Waveform(wave))
}

/// Five of three samples, the one in the middle missing.
fn waves() -> Series {
    let samples = vec![500, -32_768, 300];
    let wave = Waveform { origin: 0.0, period_ns: 4_000_000, scale: 0.001, width: 1, samples, missing: vec![1] };
    Series {
        metric: ECG.into(),
        unit: "mV".into(),
        measured_at_delta_ticks: vec![NOON - 3_600, 60, 60, 60, 60],
        tick_ns: SECOND,
        waveforms: vec![wave; 5],
        ..Default::default()
    }
}

/// Ten minutes each: a strip with a sample a second, which is flat in the first half, and steps.
fn begun_before() -> Vec<Series> {
    let samples = [vec![5_000; 300], vec![200; 100], vec![400; 200]].concat();
    let wave = Waveform { origin: 0.0, period_ns: SECOND, scale: 0.001, width: 1, samples, missing: vec![] };
    let steps = Series {
        metric: STEPS.into(),
        measured_at_delta_ticks: vec![NOON - 3_600],
        tick_ns: SECOND,
        numbers: vec![500.0],
        lasting_ns: vec![600 * SECOND],
        ..Default::default()
    };
    let strip = Series { measured_at_delta_ticks: vec![NOON - 3_600], waveforms: vec![wave], ..waves() };
    vec![strip, steps]
}

/// A pressure, and then what cannot be, what the device doubts and what was a mistake.
fn doubtful() -> Series {
    use model::Quality;
    let flags = [Quality::GOOD, Quality::IMPLAUSIBLE, Quality::QUESTIONABLE, Quality::ENTERED_IN_ERROR];
    Series {
        metric: PRESSURE.into(),
        unit: "mm[Hg]".into(),
        measured_at_delta_ticks: vec![NOON - 3_600, 60, 60, 60],
        tick_ns: SECOND,
        numbers: vec![70.0, 7_000.0, 71.0, 99.0],
        flags: flags.map(Quality::bits).to_vec(),
        ..Default::default()
    }
}

/// Five values and a sixth that is a share, a bound, and one that is withheld: each kind is a series of its own.
fn exceptions() -> Vec<Series> {
    let of = |ticks: &[i64]| Series {
        metric: SPO2.into(),
        unit: "%".into(),
        measured_at_delta_ticks: ticks.to_vec(),
        tick_ns: SECOND,
        ..Default::default()
    };
    let numbers = vec![97.0, 97.0, 97.0, 97.0, 97.0, 0.97];
    let flags = [vec![0; 5], vec![model::Quality::SUSPECT_UNIT.bits()]].concat();
    let comparators = vec![model::Comparator::Less.code().into()];
    vec![
        Series { numbers, flags, ..of(&[NOON - 3_600, 60, 60, 60, 60, 60]) },
        Series { bounds: vec![70.0], comparators, ..of(&[NOON - 1_800]) },
        Series { absent_reasons: vec![AbsentReason::Masked.into()], ..of(&[NOON - 1_700]) },
    ]
}

/// More than a meter can measure.
fn beyond() -> StoredReading {
    let bound = Bound { comparator: model::Comparator::Greater.code().into(), number: Some(500.8448) };
    let original = Some(Original { number: 27.8, unit: "mmol/L".into() });
    StoredReading { original, ..stored(GLUCOSE, NOON, Value::Bound(bound)) }
}

/// By a clock that is ten days ahead.
fn ahead() -> StoredReading {
    let flags = vec![ReadingFlag::Future.into()];
    StoredReading { flags, ..stored("8867-4", NOON + 10 * 86_400, Value::Number(98.0)) }
}

#[tonic::async_trait]
impl TimelineService for Fake {
    async fn read_trend(&self, _: Request<ReadTrendRequest>) -> Result<Response<ReadTrendResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it here"))
    }

    async fn list_patients(&self, _: Request<ListPatientsRequest>) -> Result<Response<ListPatientsResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it here"))
    }

    async fn read_timeline(
        &self,
        request: Request<ReadTimelineRequest>,
    ) -> Result<Response<ReadTimelineResponse>, Status> {
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer secret");
        let request = request.into_inner();
        let mut page = ReadTimelineResponse::default();
        let next = match (request.page_token.as_str(), request.layout()) {
            ("", _) if request.metrics == [GLUCOSE] => {
                (page.readings, page.n_repeats) = (vec![beyond()], 2);
                "2"
            }
            _ if request.metrics == [GLUCOSE] => {
                page.n_repeats = 1;
                ""
            }
            ("", TimelineLayout::Columns) if request.metrics == [STEPS] => {
                page.series = begun_before();
                ""
            }
            ("", TimelineLayout::Columns) if request.metrics == [SPO2] => {
                page.series = exceptions();
                ""
            }
            ("", TimelineLayout::Columns) if request.metrics == [PRESSURE] => {
                page.series.push(doubtful());
                ""
            }
            ("", TimelineLayout::Columns) if request.metrics == [ECG] => {
                page.series.push(waves());
                ""
            }
            ("", TimelineLayout::Columns) => {
                page.series.push(Series {
                    metric: "8867-4".into(),
                    unit: "/min".into(),
                    measured_at_delta_ticks: [NOON - 3_600].into_iter().chain([60; 60]).collect(),
                    tick_ns: SECOND,
                    // the last one is ahead
                    numbers: (0..61).map(|minute| 60.0 + f64::from(minute)).collect(),
                    flags: [vec![0; 60], vec![model::Quality::FUTURE.bits()]].concat(),
                    ..Default::default()
                });
                ""
            }
            ("", _) => {
                page.readings.push(temperature());
                "2"
            }
            ("2", _) => "3",
            _ => {
                page.readings.extend([wave(), ahead()]);
                ""
            }
        };
        page.next_page_token = next.to_owned();
        self.0.lock().unwrap().push(request);
        Ok(Response::new(page))
    }

    async fn latest_readings(
        &self,
        request: Request<LatestReadingsRequest>,
    ) -> Result<Response<LatestReadingsResponse>, Status> {
        if request.get_ref().patient_id != PATIENT {
            return Err(Status::not_found("no such patient"));
        }
        let reading = stored("8867-4", NOON, Value::Number(119.0));
        let latest = LatestReading { reading: Some(reading), age: Some(duration(720 * SECOND)) };
        // of a clock that was never set
        let unset = LatestReading { reading: Some(ahead()), age: Some(duration(720 * SECOND)) };
        Ok(Response::new(LatestReadingsResponse { readings: vec![latest, unset] }))
    }
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

async fn output(arguments: &[&str], view: View) -> (String, Vec<ReadTimelineRequest>) {
    let fake = Fake::default();
    let endpoint = format!("http://{}", serve(TimelineServiceServer::new(fake.clone())).await);
    let options = Cli::parse_from(["timeline"].iter().chain(arguments)).options;
    let mut out = Vec::new();
    match read(&options, view, &endpoint, "secret", &mut out).await {
        Ok(_) => (String::from_utf8(out).unwrap(), fake.0.lock().unwrap().drain(..).collect()),
        Err(error) => (format!("{error}"), Vec::new()),
    }
}

#[tokio::test]
async fn csv_has_all_pages() {
    let (text, requests) = output(&[PATIENT, "--metric", "8310-5", "--metric", "11524-6"], View::Csv).await;
    let expected = "time,metric,name,value,unit,original_value,original_unit,flags,device,until,absent_reason\n\
        2026-01-01T12:00:00Z,8310-5,Body temperature,37,Cel,98.6,[degF],questionable suspect-unit unset-clock,d,,\n\
        2026-01-01T12:00:01Z,11524-6,ECG,0.035 -0.005,mV,,,,d,,\n";
    assert_eq!(text, expected);
    assert_eq!(requests.iter().map(|r| r.page_token.as_str()).collect::<Vec<_>>(), ["", "2", "3"]);
    assert!(requests.iter().all(|r| r.metrics == ["8310-5", "11524-6"]));
    let ends = (requests[0].start_time.as_ref().unwrap().seconds, requests[0].end_time.as_ref().unwrap().nanos);
    assert_eq!(ends, (NOON - 86_400, 1), "the newest reading is in the range, and 24 hours before it");
}

#[tokio::test]
async fn json_is_one_array() {
    let arguments = [PATIENT, "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z"];
    let (text, requests) = output(&arguments, View::Json).await;
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((rows[0]["value"].as_f64(), rows[0]["original_value"].as_f64()), (Some(37.0), Some(98.6)));
    assert_eq!(rows[0]["flags"], serde_json::json!(["questionable", "suspect-unit", "unset-clock"]));
    assert_eq!((rows[1]["value"][0].as_f64(), rows[1]["period_ns"].as_i64()), (Some(0.035), Some(4_000_000)));
    assert_eq!(rows[2]["flags"][0], "future", "up to a time that was given, it is shown");
    assert_eq!(requests[2].start_time.as_ref().unwrap().seconds, NOON - 43_200);
}

#[tokio::test]
async fn a_bound_keeps_its_sign_in_both_units() {
    let (text, _) = output(&[PATIENT, "--metric", GLUCOSE], View::Json).await;
    let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["value"], ">500.8448");
    assert_eq!(rows[0]["original_value"], ">27.8");
    let (text, _) = output(&[PATIENT, "--metric", GLUCOSE], View::Csv).await;
    assert!(text.contains(",>500.8448,mg/dL,>27.8,mmol/L,"), "{text}");
}

/// The program itself: what it says on standard error is not in what it prints.
#[tokio::test]
async fn repeats_that_were_left_out_are_told_beside_the_readings() {
    let endpoint = format!("http://{}", serve(TimelineServiceServer::new(Fake::default())).await);
    let dir = tempfile::tempdir().unwrap();
    let data = format!("data.dir={}", dir.path().display());
    let said = async |metric: &str, view: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_wardline"));
        command.args(["--set", &data, "--endpoint", &endpoint, "timeline", PATIENT, "--token", "secret"]);
        let ended = command.args(["--metric", metric, view]).output().await.unwrap();
        assert!(ended.status.success(), "{ended:?}");
        assert!(!String::from_utf8(ended.stdout).unwrap().contains("repeats"));
        String::from_utf8(ended.stderr).unwrap()
    };
    for view in ["--csv", "--json"] {
        let text = said(GLUCOSE, view).await;
        assert!(text.contains("exact repeats left out: 3"), "{view}: {text}");
        let text = said("8310-5", view).await;
        assert!(!text.contains("repeats"), "{view}: {text}");
    }
    // a plot counts the same
    let options = Cli::parse_from(["timeline", PATIENT, "--metric", GLUCOSE]).options;
    let n_repeats = read(&options, View::Terminal(80), &endpoint, "secret", &mut Vec::new()).await.unwrap();
    assert_eq!(n_repeats, 3);
}

#[tokio::test]
async fn samples_that_are_missing_are_not_drawn_and_a_waveform_counts_once() {
    let (text, _) = output(&[PATIENT, "--metric", ECG], View::Terminal(80)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[2], "ECG (11524-6), 5 readings");
    assert!(lines[3].starts_with("      0.5 ┤") && lines[8].starts_with("      0.3 ┤"), "{text}");
}

#[tokio::test]
async fn what_began_before_the_range_is_drawn_with_what_is_in_it() {
    let between = ["--from", "2026-01-01T11:05:00Z", "--to", "2026-01-01T11:09:00Z"];
    let arguments = [&[PATIENT, "--metric", STEPS][..], &between[..]].concat();
    let (text, _) = output(&arguments, View::Terminal(80)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[2], "ECG (11524-6), 1 readings");
    assert!(lines[3].starts_with("      0.4 ┤") && lines[8].starts_with("      0.2 ┤"), "{text}");
    assert!(lines[12].ends_with("(55423-8), 1 readings"), "{text}");
    let in_the_middle = lines[13..19].iter().filter_map(|line| line.chars().nth(11)).filter(|dots| *dots != '\u{2800}');
    assert_eq!(in_the_middle.count(), 1, "at the left edge: {text}");
}

#[tokio::test]
async fn a_plot_says_what_is_no_plain_value() {
    let (text, _) = output(&[PATIENT, "--metric", SPO2], View::Terminal(80)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[2].ends_with(" (59408-5), 8 readings: 1 suspect unit, 1 bound, 1 without a value"), "{text}");
    assert!(lines[3].starts_with("       97 ┤") && lines[8].starts_with("       70 ┤"), "{text}");
    assert!(lines[8].contains('<'), "{text}");
}

#[tokio::test]
async fn a_plot_says_what_is_against_readings() {
    let (text, _) = output(&[PATIENT, "--metric", PRESSURE], View::Terminal(80)).await;
    let lines: Vec<&str> = text.lines().collect();
    let told = " (8480-6), 4 readings: 1 implausible, 1 questionable, 1 entered in error";
    assert!(lines[2].ends_with(told), "{text}");
    assert!(lines[3].starts_with("       71 ┤") && lines[8].starts_with("       70 ┤"), "{text}");
}

#[tokio::test]
async fn a_terminal_gets_a_plot() {
    let (text, _) = output(&[PATIENT], View::Terminal(80)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "2025-12-31T12:00:00.000000001Z to 2026-01-01T12:00:00.000000001Z (UTC)");
    assert_eq!(lines[2], "Heart rate (8867-4), 60 readings; newest 119 /min, 12 min ago");
    assert!(lines[3].starts_with("      119 ┤") && lines[8].starts_with("       60 ┤"), "{text}");
    assert!(lines[10].trim_start().starts_with("12:00") && lines[10].ends_with("12:00"), "{text}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80));
}

#[tokio::test]
async fn the_latest_and_its_age() {
    let (text, requests) = output(&[PATIENT, "--latest"], View::Terminal(80)).await;
    assert!(text.lines().nth(1).unwrap().starts_with("8867-4  Heart rate  119 /min  2026-01-01T12:00:00Z  12 min"));
    assert!(requests.is_empty());
    let (text, _) = output(&[PATIENT, "--latest"], View::Csv).await;
    assert_eq!(text.lines().count(), 3);
}

#[tokio::test]
async fn mistakes_are_explained() {
    let (text, _) = output(&["0191c3c8-7a00-7000-8000-000000000000"], View::Csv).await;
    assert_eq!(text, "no such patient, or none of yours");
    let (text, _) = output(&[PATIENT, "--from", "now", "--to", "-1h"], View::Csv).await;
    assert_eq!(text, "--from lies after --to");
    let (text, _) = output(&[PATIENT, "--from", "-1w"], View::Csv).await;
    assert!(text.contains("give 2026-01-31T08:00:00Z, now, -24h"), "{text}");
}
