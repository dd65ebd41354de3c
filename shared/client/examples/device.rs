//! A device that keeps its batches on its own disk until the server has them.
//!
//! `cargo run --example device -- http://127.0.0.1:50051 DEVICE-UUID TOKEN-FILE FOLDER`

use std::{env, error::Error, path::Path, time::Duration, time::SystemTime};
use uuid::Uuid;
use wardline_client::{
    Progress, Queue, QueuedSender, Remote,
    proto::telemetry::v1::{ClockQuality, Reading, reading::Value},
    queue::{Options, WhenFull},
    token_file,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [endpoint, device, token, folder] = &arguments[..] else {
        return Err("give ENDPOINT DEVICE-UUID TOKEN-FILE FOLDER".into());
    };
    let progress = run(endpoint, device.parse()?, token.as_ref(), folder.as_ref(), Duration::from_secs(1)).await?;
    println!("{} readings are in the log, {:?} were refused", progress.accepted, progress.refused);
    Ok(())
}

/// Sends ten heart rates, one after each pause. Ended at any point, the next run sends what is left first.
pub async fn run(
    endpoint: &str,
    device: Uuid,
    token: &Path,
    folder: &Path,
    pause: Duration,
) -> Result<Progress, Box<dyn Error>> {
    let queue = Queue::open(folder, device, Options { max_bytes: 64 << 20, when_full: WhenFull::DropOldest })?;
    // several nodes: Remote::from(one).or(another); over TLS: Remote::encrypted
    let connection = Remote::from(endpoint).connection()?;
    let session = QueuedSender::open(connection, token_file(token), queue, ClockQuality::Synchronized);
    for n in 0..10 {
        let (value, measured_at) = (Some(Value::Number(70.0 + f64::from(n))), Some(SystemTime::now().into()));
        let reading = Reading { metric: "8867-4".into(), unit: "/min".into(), value, measured_at, questionable: false };
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
