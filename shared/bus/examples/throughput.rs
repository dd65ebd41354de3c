//! How fast a log takes and gives records: `cargo run --release -p bus --example throughput`.
//! Arguments: records (default 3,000,000), bytes of each (200), publishing tasks (4), and where: a folder (a new one),
//! or `kafka:HOST:PORT`, where a topic of its own is made.

use bus::{
    Commits, Outgoing, Publish, Subscribe, embedded,
    kafka::{self, KafkaConsumer, KafkaPublisher},
};
use bytes::Bytes;
use model::PatientId;
use std::{
    collections::VecDeque,
    error::Error,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Receipts each task lets wait: the bytes in flight are the bound that counts.
const WINDOW: usize = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, default: usize| arguments.get(place).map_or(Ok(default), |text| text.parse());
    let (n_records, bytes, n_tasks) = (number(0, 3_000_000)?, number(1, 200)?, number(2, 4)?.max(1));
    let temporary = tempfile::tempdir()?;
    let place = arguments.get(3).map(String::as_str);
    let (publisher, mut consumer) = match place.and_then(|place| place.strip_prefix("kafka:")) {
        Some(brokers) => on_kafka(brokers).await?,
        None => embedded(place.map_or(temporary.path(), Path::new))?,
    };

    let start = Instant::now();
    let tasks = (0..n_tasks).map(|task| tokio::spawn(publish(publisher.clone(), task, n_records / n_tasks, bytes)));
    for task in futures::future::try_join_all(tasks).await? {
        task?;
    }
    let published = start.elapsed();

    let start = Instant::now();
    let (mut n_read, n_published) = (0, n_records / n_tasks * n_tasks);
    while n_read < n_published {
        let deliveries = consumer.poll(10_000, 4 << 20, Duration::from_secs(10)).await?;
        let mut commits = Commits::default();
        deliveries.iter().for_each(|delivery| commits.add(delivery));
        consumer.commit(&commits).await?;
        n_read += deliveries.len();
    }
    let rate = |took: Duration| (n_published as f64 / took.as_secs_f64()) as u64;
    writeln!(
        std::io::stdout(),
        "{n_published} records of {bytes} B, {n_tasks} tasks: {}/s durable, {}/s read and committed",
        rate(published),
        rate(start.elapsed())
    )?;
    Ok(())
}

type Ends = (Arc<dyn Publish>, Box<dyn Subscribe>);

fn embedded(folder: &Path) -> Result<Ends, bus::Error> {
    let log = embedded::Log::open(folder, embedded::Settings::default())?;
    Ok((Arc::new(log.clone()), Box::new(log.subscribe("throughput")?)))
}

async fn on_kafka(brokers: &str) -> Result<Ends, bus::Error> {
    let name = format!("throughput-{}", Uuid::new_v4());
    let settings = kafka::Settings {
        brokers: brokers.into(),
        topic: name.clone(),
        replication_factor: 1,
        min_insync_replicas: 1,
        ..kafka::Settings::default()
    };
    kafka::ensure_topic(&settings).await?;
    kafka::ensure_group(&settings, &name).await?;
    Ok((Arc::new(KafkaPublisher::open(settings.clone())?), Box::new(KafkaConsumer::open(settings, &name)?)))
}

async fn publish(log: Arc<dyn Publish>, task: usize, n_records: usize, bytes: usize) -> Result<(), bus::Error> {
    let keys: Vec<_> = (0..100u128).map(|n| PatientId::new(Uuid::from_u128(n * 1000 + task as u128))).collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    })
    .take(bytes + 64)
    .collect();
    let noise = Bytes::from(noise);
    let mut waiting = VecDeque::with_capacity(WINDOW);
    for n in 0..n_records {
        let payload = noise.slice(n % 64..n % 64 + bytes);
        waiting.push_back(log.publish(Outgoing { key: keys[n % keys.len()], payload }).await?);
        if waiting.len() == WINDOW
            && let Some(receipt) = waiting.pop_front()
        {
            receipt.await?;
        }
    }
    for receipt in waiting {
        receipt.await?;
    }
    Ok(())
}
