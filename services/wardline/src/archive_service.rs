//! The archive in a node: the log's readings as Parquet files, in a folder or a bucket.

use crate::places;
use analytics::{
    archive::{
        archiver::{Archiver, Settings},
        bucket,
        folder::{Folder, ThisDisk},
        generations::Archive,
        merge,
    },
    metrics,
};
use anyhow::Context;
use bus::Subscribe;
use node::{
    config::Config,
    wiring::{Need, Service, Wiring},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "archive",
    about: "the log's readings as Parquet files",
    needs: &[Need::Store],
    metrics: metrics::ARCHIVE,
    wire,
};

/// How long is waited until a bucket that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, stop) = (wiring.config.clone(), wiring.stop.clone());
    let subscriber = wiring.backends.log.subscriber(&config.archive.group)?;
    wiring.tasks.spawn(async move { run(&config, subscriber, stop).await.context("archive") });
    Ok(())
}

async fn run(config: &Config, subscriber: Box<dyn Subscribe>, stop: CancellationToken) -> anyhow::Result<()> {
    let archive = tokio::select! {
        archive = open(config) => archive?,
        () = stop.cancelled() => return Ok(()),
    };
    let settings = Settings { flush_every: Duration::from_secs(config.archive.flush_seconds), ..Settings::default() };
    let every = Duration::from_secs(config.archive.merge_minutes * 60);
    let archiver = Archiver::new(archive.clone(), settings);
    let merging = keep_merged(&archive, every, settings.merge_from);
    tokio::select! {
        ended = archiver.run(subscriber, stop) => Ok(ended?),
        never = merging => match never {},
    }
}

/// Opens the folder, or the bucket as soon as it answers.
async fn open(config: &Config) -> anyhow::Result<Archive> {
    let Some(bucket) = places::archive_bucket(config) else {
        let dir = config.archive_dir();
        let folder = Folder::open(&dir, Arc::new(ThisDisk));
        return Ok(Archive::new(Arc::new(folder.with_context(|| format!("archive.dir {}", dir.display()))?)));
    };
    let store = bucket.store().map_err(anyhow::Error::msg).context("archive.bucket")?;
    loop {
        match bucket::Bucket::open(store.clone()).await {
            Ok(files) => return Ok(Archive::new(Arc::new(files))),
            Err(analytics::archive::files::Error::Store(error)) => {
                tracing::warn!(%error, "the bucket of the archive does not answer; asking again");
            }
            Err(error) => return Err(error).context("archive.bucket"),
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Makes large files of small ones, now and then.
async fn keep_merged(archive: &Archive, every: Duration, from: usize) -> std::convert::Infallible {
    // the first time at once
    let mut times = interval(every);
    loop {
        times.tick().await;
        if let Err(error) = merge::merge(archive, from).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "files of the archive were not merged");
        }
    }
}
