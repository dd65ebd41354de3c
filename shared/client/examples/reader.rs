//! A patient's newest values, and the heart rates of the last hour.
//!
//! `cargo run --example reader -- http://127.0.0.1:50051 PATIENT-UUID TOKEN-FILE`

use futures::TryStreamExt;
use std::{env, error::Error, time::Duration, time::SystemTime};
use wardline_client::{Query, Reader, Remote, proto::telemetry::v1::stored_reading::Value, token_file};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    println!("{}", run(&arguments).await?.join("\n"));
    Ok(())
}

/// Reads a patient's newest readings and the last hour; returns lines to print.
pub async fn run(arguments: &[String]) -> Result<Vec<String>, Box<dyn Error>> {
    let [endpoint, patient, token]: &[String; 3] = arguments.try_into().map_err(|_| "give ENDPOINT PATIENT TOKEN")?;
    let reader = Reader::new(Remote::from(endpoint).connection()?.with_tokens(token_file(token)));
    let (patient, mut lines) = (patient.parse()?, Vec::new());
    for latest in reader.latest(patient, &[]).await? {
        if let (Some(reading), Some(age)) = (latest.reading, latest.age)
            && let Some(Value::Number(number)) = reading.value
        {
            lines.push(format!("{} {number} {}, {} s ago", reading.metric, reading.unit, age.seconds));
        }
    }
    let from = Some((SystemTime::now() - Duration::from_secs(3_600)).into());
    let query = Query { patient, metrics: vec!["8867-4".into()], from, ..Query::default() };
    let mut readings = reader.timeline(query); // asks for the next page when it is needed
    let (mut n, mut sum) = (0_u32, 0.0);
    while let Some(reading) = readings.try_next().await? {
        if let Some(Value::Number(number)) = reading.value {
            (n, sum) = (n + 1, sum + number);
        }
    }
    lines.push(format!("{n} heart rates in the last hour, on average {:.1} /min", sum / f64::from(n.max(1))));
    Ok(lines)
}
