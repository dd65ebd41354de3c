//! The limits that the manual names are the true ones, devices are told them, and who is over one is told so.

use anyhow::Context;
use model::StreamId;
use proto::telemetry::v1::ingest_service_client::IngestServiceClient;
use std::time::Duration;
use tests::{
    Bed, Sandbox,
    line::{Line, Problem},
    wait::until,
};
use tonic::Code;

const MANUAL: &str = include_str!("../../../proto/README.md");
const TIMELINE: &str = include_str!("../../../proto/wardline/telemetry/v1/timeline.proto");
const STUDY: &str = include_str!("../../../proto/wardline/telemetry/v1/study.proto");
const INGEST: &str = include_str!("../../../proto/wardline/telemetry/v1/ingest.proto");

/// 1,000 for 1000, as the manual writes it.
fn written(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The manual's limits: what is limited, and how.
fn manual() -> Vec<(String, String)> {
    let rows = MANUAL.lines().skip_while(|line| !line.starts_with("| Limit | Default")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            (cells[0].to_owned(), cells[1].to_owned())
        })
        .collect()
}

#[test]
fn the_manual_s_limits_are_those_of_the_program() -> anyhow::Result<()> {
    let config = node::config::Config::load(&node::config::Sources::default())?;
    let limits = ingest::Limits::default();
    let page = |page: (usize, usize)| format!("{}, at most {}", written(page.0 as u64), written(page.1 as u64));
    let seconds = |length: Duration| format!("{} s", length.as_secs());
    let expected = [
        ("batches of a stream that are not acknowledged", written(limits.max_in_flight.into())),
        ("readings of a batch", written(limits.max_readings.into())),
        ("bytes of a message", written(limits.max_message_bytes.into())),
        ("streams of a device", written(limits.max_streams.into())),
        ("streams of a connection", written(limits.max_streams_of_connection.into())),
        ("silence of a stream", seconds(limits.idle)),
        ("PING of a quiet connection", seconds(limits.keepalive)),
        ("a clock ahead of ours", format!("{} s", limits.tolerance.max_ahead_ns() / 1_000_000_000)),
        ("samples of a waveform", written(ingest::MAX_SAMPLES as u64)),
        ("bytes of a unit", written(ingest::units::UNIT_MAX_BYTES as u64)),
        ("refusals written out of a batch", written(ingest::NAMED_MAX as u64)),
        ("readings of a page", page(query::PAGE_READINGS)),
        ("readings of a page as columns", page(query::PAGE_COLUMNS)),
        ("hours of a page of trends", page(query::PAGE_TREND)),
        ("patients of a page", page(query::PAGE_PATIENTS)),
        ("subjects of a page", page(query::PAGE_SUBJECTS)),
    ];
    let found = manual();
    let found: Vec<_> = found.iter().map(|(what, limit)| (what.as_str(), limit.clone())).collect();
    assert_eq!(found, expected);
    // what the crate has by itself is what the settings say
    let set = (config.ingest.max_in_flight, config.ingest.max_readings, config.ingest.max_message_kib * 1_024);
    assert_eq!(set, (limits.max_in_flight, limits.max_readings, limits.max_message_bytes));
    assert_eq!(config.ingest.max_streams_per_device, limits.max_streams);
    assert_eq!(
        (config.server.max_streams, config.ingest.idle_seconds),
        (limits.max_streams_of_connection, limits.idle.as_secs())
    );
    assert_eq!(config.tolerance(), limits.tolerance);
    Ok(())
}

#[test]
fn the_pages_that_the_proto_files_name_are_those_of_the_program() {
    let of = |page: (usize, usize)| (written(page.0 as u64), written(page.1 as u64));
    let (few, most) = of(query::PAGE_READINGS);
    let (few_columns, most_columns) = of(query::PAGE_COLUMNS);
    let text = format!("1 to {most} as readings (default {few}), to {most_columns} as columns (default {few_columns})");
    assert!(TIMELINE.contains(&text), "{text}");
    let (few, most) = of(query::PAGE_TREND);
    assert!(TIMELINE.contains(&format!("1 to {most} (default {few}; more is cut to that)")));
    let (few, most) = of(query::PAGE_PATIENTS);
    assert!(TIMELINE.contains(&format!("Patients a page: 1 to {most} (default {few}; more is cut to {most})")));
    assert!(STUDY.contains(&format!("1 to {most_columns}, 0: {few_columns}")));
    let (few, most) = of(query::PAGE_SUBJECTS);
    assert!(STUDY.contains(&format!("1 to {most}; 0: {few}")));
    assert_eq!((ingest::NAMED_MAX, INGEST.matches("the first hundred").count()), (100, 2));
}

#[tokio::test]
async fn a_device_is_told_all_limits_of_its_stream() -> anyhow::Result<()> {
    let flags = ["ingest.idle_seconds=77", "server.max_streams=9", "ingest.max_streams_per_device=3"];
    let sandbox = Sandbox::with(1, &flags, &[node::services::INGEST]).await?;
    let (_line, opened) = sandbox.line(&Bed::numbered(0), 0).await?;
    let limits = opened.limits.context("its limits")?;
    let told = (limits.idle_seconds, limits.max_streams_of_connection, limits.max_streams_of_device);
    let keepalive = ingest::Limits::default().keepalive.as_secs();
    assert_eq!((told, u64::from(limits.keepalive_seconds)), ((77, 9, 3), keepalive));
    Ok(())
}

#[tokio::test]
async fn one_stream_more_than_a_connection_may_have_is_told_so_and_calls_that_end_do_not_notice() -> anyhow::Result<()>
{
    let sandbox = Sandbox::with(1, &["server.max_streams=2"], &[node::services::INGEST]).await?;
    let (bed, channel) = (Bed::numbered(0), sandbox.channel().await?);
    let token = sandbox.device_token(bed.device)?;
    let open = async |n: u8| {
        let bed = Bed { stream: StreamId::from_bytes([n; 16]), ..bed };
        Line::open(IngestServiceClient::new(channel.clone()), &token, &bed, 0).await
    };
    let (_first, second) = (open(1).await?, open(2).await?);
    let refused = tokio::time::timeout(Duration::from_secs(20), open(3)).await.context("it is left hanging")?;
    let status = refused.err().context("a third stream")?.downcast::<tonic::Status>()?;
    let problem = Problem::of(&status);
    assert_eq!((status.code(), problem.reason.as_str()), (Code::ResourceExhausted, "STREAMS_OF_CONNECTION"));
    assert!(status.message().contains("2 streams"), "{status:?}");
    drop(second);
    until("a place on the connection", async || Ok(open(3).await.is_ok()), |opened| *opened).await?;
    Ok(())
}
