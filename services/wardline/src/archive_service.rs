//! The archive in a node: the log's readings as Parquet files, in a folder or a bucket.

use crate::places;
use analytics::{
    archive::{
        archiver::{Archiver, Settings},
        bucket::Bucket,
        folder::{Folder, ThisDisk},
        generations::Archive,
        merge,
        reading::Readings,
    },
    metrics,
};
use anyhow::Context;
use bus::Subscribe;
use disk::Space;
use node::{
    config::Config,
    wiring::{Need, Service, Wiring},
};
use object_store::{ObjectStore, local::LocalFileSystem};
use std::{io, path::Path, sync::Arc, time::Duration};
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
    let subscriber = wiring.backends.log.subscriber(&config.archive_group())?;
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

/// The archive as a table of reports.
pub(crate) fn readings(config: &Config) -> anyhow::Result<Readings> {
    let Some(store) = bucket(config)? else {
        let dir = config.archive_dir();
        let archive = folder(&dir, config)?;
        let store = LocalFileSystem::new_with_prefix(&dir).with_context(|| format!("archive.dir {}", dir.display()))?;
        return Ok(Readings::new(archive, Arc::new(store)));
    };
    Ok(Readings::new(Archive::new(Arc::new(Bucket::trusted(Arc::clone(&store)))), store))
}

fn bucket(config: &Config) -> anyhow::Result<Option<Arc<dyn ObjectStore>>> {
    let store = places::archive_bucket(config).map(|bucket| bucket.store().map_err(anyhow::Error::msg)).transpose();
    store.context("archive.bucket")
}

fn folder(dir: &Path, config: &Config) -> anyhow::Result<Archive> {
    let folder = Folder::open(dir, Arc::new(ThisDisk)).with_context(|| format!("archive.dir {}", dir.display()))?;
    // it stops before the engines do, which may have their files on the same disk
    let space = Space::new(dir, 2 * (config.data.reserve_mib << 20));
    let has_room = move || space.check(disk::Need::Data).map_err(io::Error::other);
    Ok(Archive::new(Arc::new(folder.within(Arc::new(has_room)))))
}

/// Opens the folder, or the bucket as soon as it answers.
async fn open(config: &Config) -> anyhow::Result<Archive> {
    let Some(store) = bucket(config)? else { return folder(&config.archive_dir(), config) };
    loop {
        match Bucket::open(store.clone()).await {
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
