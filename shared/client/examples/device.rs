//! A device that keeps its batches on its own disk until the server has them.
//!
//! `cargo run --example device -- http://127.0.0.1:50051 DEVICE-UUID TOKEN-FILE FOLDER`

use std::{env, error::Error, time::Duration, time::SystemTime};
use wardline_client::queue::{Options, WhenFull};
use wardline_client::{Progress, Queue, QueuedSender, Remote, proto::telemetry::v1, token_file};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let progress = run(&arguments, Duration::from_secs(1)).await?;
    println!("{} readings are in the log, {:?} were refused", progress.accepted, progress.refused);
    Ok(())
}

/// Sends ten heart rates, one after each pause. Ended at any point, the next run sends what is left first.
pub async fn run(arguments: &[String], pause: Duration) -> Result<Progress, Box<dyn Error>> {
    let [endpoint, device, token, folder]: &[String; 4] =
        arguments.try_into().map_err(|_| "give ENDPOINT DEVICE TOKEN FOLDER")?;
    let options = Options { max_bytes: 64 << 20, when_full: WhenFull::DropOldest };
    let queue = Queue::open(folder, device.parse()?, options)?;
    // several nodes: Remote::from(one).or(another); over TLS: Remote::encrypted
    let connection = Remote::from(endpoint).connection()?;
    let session = QueuedSender::open(connection, token_file(token), queue, v1::ClockQuality::Synchronized);
    for n in 0..10 {
        let (value, at) = (v1::reading::Value::Number(70.0 + f64::from(n)), SystemTime::now().into());
        let (metric, unit) = ("8867-4".into(), "/min".into());
        let reading = v1::Reading { metric, unit, value: Some(value), measured_at: Some(at), ..Default::default() };
        let stored = session.send(vec![reading]).await?; // on the disk now: no power failure loses it
        if stored.dropped_batches > 0 {
            eprintln!("the server was away for too long: {} old batches made room", stored.dropped_batches);
        }
        for refusal in session.take_refusals() {
            eprintln!("batch {}: {}: {}", refusal.sequence, refusal.reason, refusal.description);
        }
        tokio::time::sleep(pause).await;
    }
    Ok(session.close(Duration::from_secs(30)).await?)
}
