//! Pages join without gap or repeat, and a page token serves for nothing else.

use guard::convert;
use model::Nanos;
use node::services;
use proto::telemetry::v1::{ReadTimelineRequest, ReadTimelineResponse, Series, StoredReading, TimelineLayout};
use std::collections::BTreeSet;
use tests::{
    Bed, Sandbox,
    builders::{everything, pulse, reading},
    http,
    line::Problem,
    wait,
};
use tonic::Code;

const START: Nanos = Nanos(1_700_000_000 * Nanos::SECOND);
const N_READINGS: usize = 3 * 60;

/// Three devices of one patient, whose readings meet at the same instants, over three days with empty hours between.
async fn ward(sandbox: &Sandbox) -> anyhow::Result<Bed> {
    let patient = Bed::numbered(0);
    let beds: Vec<Bed> = (0..3).map(|n| Bed { patient: patient.patient, ..Bed::numbered(n) }).collect();
    let id = patient.patient.uuid();
    let mut text = format!("[[patient]]\nid = \"{id}\"\nward = \"icu\"\n");
    for bed in &beds {
        let device = bed.device.uuid();
        text += &format!("[[device]]\nid = \"{device}\"\nmodel = \"m\"\n");
        text += &format!("[[assignment]]\ndevice = \"{device}\"\npatient = \"{id}\"\n");
    }
    sandbox.write_directory("beds", &text)?;
    let write = async || {
        for bed in &beds {
            for sequence in 0..12u64 {
                // twelve batches of five, six hours apart; two metrics; pairs at the same instant
                let at = START.plus(sequence as i64 * 6 * 3_600 * Nanos::SECOND);
                let readings = (0..5i64).map(|i| {
                    let at = at.plus(i / 2 * 1_700 * Nanos::SECOND);
                    if i == 4 { reading("8310-5", "[degF]", 98.6, at) } else { pulse(60.0 + i as f64, at) }
                });
                sandbox.write(bed, sequence + 1, readings.collect()).await?;
            }
        }
        Ok(())
    };
    wait::until("the ward is known", write, |()| true).await?;
    sandbox.readable(&patient, N_READINGS).await?;
    Ok(patient)
}

async fn ask(
    sandbox: &Sandbox,
    role: &str,
    request: &ReadTimelineRequest,
) -> Result<ReadTimelineResponse, tonic::Status> {
    let fault = |error: anyhow::Error| tonic::Status::internal(error.to_string());
    let mut client = sandbox.timeline().await.map_err(fault)?;
    client.read_timeline(sandbox.as_person(role, request.clone()).map_err(fault)?).await.map(|page| page.into_inner())
}

async fn pages(sandbox: &Sandbox, mut request: ReadTimelineRequest) -> anyhow::Result<Vec<ReadTimelineResponse>> {
    let mut pages = Vec::new();
    let mut client = sandbox.timeline().await?;
    loop {
        let page = client.read_timeline(sandbox.as_person("doctor", request.clone())?).await?.into_inner();
        request.page_token = page.next_page_token.clone();
        anyhow::ensure!(pages.len() <= N_READINGS, "the pages do not end");
        pages.push(page);
        if request.page_token.is_empty() {
            return Ok(pages);
        }
    }
}

type Line = (String, Nanos, u64, String);

fn line(reading: &StoredReading) -> Line {
    let at = reading.measured_at.as_ref().and_then(convert::nanos).unwrap_or(Nanos::MIN);
    let number = match reading.value {
        Some(proto::telemetry::v1::stored_reading::Value::Number(number)) => number.to_bits(),
        _ => 0,
    };
    (reading.metric.clone(), at, number, reading.original.as_ref().map(|o| o.unit.clone()).unwrap_or_default())
}

fn lines(series: &Series) -> Vec<Line> {
    let mut at = 0i64;
    let line = |(delta, number): (&i64, &f64)| {
        at += delta * series.tick_ns;
        (series.metric.clone(), Nanos(at), number.to_bits(), series.original_unit.clone())
    };
    series.measured_at_delta_ticks.iter().zip(&series.numbers).map(line).collect()
}

#[tokio::test]
async fn pages_of_any_size_and_layout_join_to_the_same_readings() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let bed = ward(&sandbox).await?;
    pages_join(&sandbox, &bed).await?;
    Ok(())
}

#[tokio::test]
async fn sealed_hours_read_as_their_rows_did_and_late_data_is_seen_at_once() -> anyhow::Result<()> {
    let flags = ["writer.seal_every_seconds=1", "writer.seal_quiet_seconds=0"];
    let sandbox = Sandbox::with(0, &flags, &services::ALL).await?;
    let bed = ward(&sandbox).await?;
    let before = sandbox.readable(&bed, N_READINGS).await?;
    let hour = |reading: &StoredReading| reading.measured_at.map(|at| at.seconds / 3_600);
    let hours: BTreeSet<_> = before.iter().map(hour).collect();
    // no other test of this process seals
    let sealed = async || http::metric(sandbox.http(), "wardline_store_seals_written_total").await;
    wait::until("sealed hours", sealed, |sealed| *sealed >= hours.len() as f64).await?;
    assert!(sandbox.readable(&bed, N_READINGS).await? == before, "a sealed hour reads otherwise than its rows");
    pages_join(&sandbox, &bed).await?;
    crate::trend::agrees(&sandbox, &bed, &before).await?;
    for late in 0..3 {
        let at = START.plus((late + 1) * Nanos::SECOND);
        sandbox.write(&bed, 13 + late as u64, vec![pulse(50.0, at)]).await?;
        let readings = sandbox.readable(&bed, N_READINGS + late as usize + 1).await?;
        crate::trend::agrees(&sandbox, &bed, &readings).await?;
    }
    Ok(())
}

async fn pages_join(sandbox: &Sandbox, bed: &Bed) -> anyhow::Result<()> {
    let all = pages(sandbox, everything(bed)).await?.remove(0).readings;
    assert_eq!(all.len(), N_READINGS);
    let place = |r: &StoredReading| (line(r).1, r.device_id.clone(), r.stream_id.clone(), r.sequence, r.index);
    let places: Vec<_> = all.iter().map(place).collect();
    assert!(places.is_sorted(), "ascending by time, then device, stream, sequence, index");
    let mut expected: Vec<_> = all.iter().map(line).collect();
    expected.sort();
    for page_size in [1, 7, 1_000] {
        let readings = pages(sandbox, ReadTimelineRequest { page_size, ..everything(bed) }).await?;
        assert!(readings.iter().all(|page| page.readings.len() <= page_size as usize));
        assert_eq!(readings.len(), N_READINGS.div_ceil(page_size as usize));
        let joined: Vec<_> = readings.iter().flat_map(|page| &page.readings).map(place).collect();
        assert_eq!(joined, places, "pages of {page_size}");
        assert!(readings.iter().skip(1).all(|page| page.coverage.is_empty()));

        let layout = TimelineLayout::Columns as i32;
        let columns = pages(sandbox, ReadTimelineRequest { page_size, layout, ..everything(bed) }).await?;
        let series: Vec<_> = columns.iter().flat_map(|page| &page.series).collect();
        for one in &series {
            let n = one.measured_at_delta_ticks.len();
            assert!(n <= page_size as usize && one.measured_at_delta_ticks.iter().skip(1).all(|delta| *delta >= 0));
            assert_eq!(one.original_numbers.len(), if one.metric == "8310-5" { n } else { 0 });
        }
        let mut joined: Vec<_> = series.into_iter().flat_map(lines).collect();
        joined.sort();
        assert_eq!(joined, expected, "columns, pages of {page_size}");
    }
    Ok(())
}

#[tokio::test]
async fn a_metric_filter_pages_too() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let bed = ward(&sandbox).await?;
    // by a synonym of the key; asked for twice
    let metrics = vec!["8310-5".to_owned(), "8310-5".to_owned()];
    let request = ReadTimelineRequest { page_size: 5, metrics, ..everything(&bed) };
    let pages = pages(&sandbox, request).await?;
    let readings: Vec<_> = pages.iter().flat_map(|page| &page.readings).collect();
    assert_eq!(readings.len(), N_READINGS / 5);
    assert!(readings.iter().all(|reading| reading.metric == "8310-5"));
    let coverage: Vec<_> = pages[0].coverage.iter().map(|c| (c.metric.as_str(), c.hours_with_data)).collect();
    assert_eq!(coverage, [("8310-5", 12)]);
    Ok(())
}

#[tokio::test]
async fn a_page_token_serves_only_its_caller_and_its_question() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(0).await?;
    let bed = ward(&sandbox).await?;
    let first = ReadTimelineRequest { page_size: 3, ..everything(&bed) };
    let token = ask(&sandbox, "doctor", &first).await?.next_page_token;
    assert!(!token.is_empty());
    assert!(!token.contains(&bed.patient.uuid().simple().to_string()));
    let next = ReadTimelineRequest { page_token: token.clone(), ..first };
    assert_eq!(ask(&sandbox, "doctor", &next).await?.readings.len(), 3);
    assert_eq!(ask(&sandbox, "doctor", &ReadTimelineRequest { page_size: 9, ..next.clone() }).await?.readings.len(), 9);
    let mut flipped = token.clone().into_bytes();
    flipped[40] = if flipped[40] == b'0' { b'1' } else { b'0' };
    let bad = [
        ("nurse", next.clone()),
        ("doctor", ReadTimelineRequest { metrics: vec!["8310-5".into()], ..next.clone() }),
        ("doctor", ReadTimelineRequest { start_time: Some(convert::timestamp(START)), ..next.clone() }),
        ("doctor", ReadTimelineRequest { end_time: Some(convert::timestamp(START)), ..next.clone() }),
        ("doctor", ReadTimelineRequest { layout: TimelineLayout::Columns as i32, ..next.clone() }),
        ("doctor", ReadTimelineRequest { page_token: String::from_utf8(flipped)?, ..next.clone() }),
        ("doctor", ReadTimelineRequest { page_token: token[..token.len() - 2].to_owned(), ..next.clone() }),
        ("doctor", ReadTimelineRequest { page_token: "next".into(), ..next.clone() }),
    ];
    for (role, request) in bad {
        let problem = Problem::from(ask(&sandbox, role, &request).await)?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, "INVALID_PAGE_TOKEN", "page_token"));
    }
    Ok(())
}

#[tokio::test]
async fn a_question_without_an_answer_is_refused_with_its_field() -> anyhow::Result<()> {
    let sandbox = Sandbox::start(1).await?;
    let bed = Bed::numbered(0);
    let good = everything(&bed);
    let bad = [
        (
            "RANGE_REVERSED",
            "start_time",
            ReadTimelineRequest { start_time: good.end_time, end_time: good.start_time, ..good.clone() },
        ),
        (
            "UNKNOWN_METRIC",
            "metrics[1]",
            ReadTimelineRequest { metrics: vec!["8867-4".into(), "x".into()], ..good.clone() },
        ),
        ("INVALID_PAGE_SIZE", "page_size", ReadTimelineRequest { page_size: -1, ..good.clone() }),
        ("INVALID_LAYOUT", "layout", ReadTimelineRequest { layout: 9, ..good.clone() }),
        ("INVALID_LAYOUT", "layout", ReadTimelineRequest { layout: -1, ..good.clone() }),
        (
            "TIME_OUT_OF_RANGE",
            "end_time",
            ReadTimelineRequest {
                end_time: Some(proto::prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
                ..good.clone()
            },
        ),
    ];
    for (reason, field, request) in bad {
        let problem = Problem::from(ask(&sandbox, "doctor", &request).await)?;
        assert_eq!(problem.parts(), (Code::InvalidArgument, reason, field));
    }
    let empty = ReadTimelineRequest { start_time: good.start_time, end_time: good.start_time, ..good };
    assert_eq!(ask(&sandbox, "doctor", &empty).await?.readings.len(), 0);
    Ok(())
}
