//! The archive in a node: the log's readings as Parquet files, in a folder or a bucket.

use crate::places;
use analytics::{
    archive::{
        archiver::{self, Archiver},
        audit_counts,
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
use guard::clock;
use node::{
    config::Config,
    wiring::{Need, Service, Wiring},
};
use object_store::{ObjectStore, local::LocalFileSystem};
use std::{io, path::Path, sync::Arc, time::Duration};
use store::Audit;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;
use wardline::settings::Settings;

/// How it is put into a node.
pub const SERVICE: Service = Service {
    name: "archive",
    about: "the log's readings as Parquet files",
    needs: &[Need::Store],
    metrics: metrics::ARCHIVE,
    // its sections are checked with those of analytics
    check: None,
    wire,
};

/// How long is waited until a bucket that does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// How often is looked whether a day is over whose entries of the audit log are not counted.
const COUNT_EVERY: Duration = Duration::from_secs(600);

fn wire(wiring: &mut Wiring<'_>) -> anyhow::Result<()> {
    let (config, stop) = (wiring.config.clone(), wiring.stop.clone());
    let settings = Settings::of(&config)?;
    let subscriber = wiring.backends.log.subscriber(&settings.archive_group(&config))?;
    let log = wiring.backends.store.audit.clone();
    wiring.tasks.spawn(async move { run(&config, &settings, (subscriber, log), stop).await.context("archive") });
    Ok(())
}

async fn run(
    config: &Config,
    settings: &Settings,
    (subscriber, log): (Box<dyn Subscribe>, Arc<dyn Audit>),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let archive = tokio::select! {
        archive = open(config, settings) => archive?,
        () = stop.cancelled() => return Ok(()),
    };
    let flush_every = Duration::from_secs(settings.archive.flush_seconds);
    let pace = archiver::Settings { flush_every, ..archiver::Settings::default() };
    let every = Duration::from_secs(settings.archive.merge_minutes * 60);
    let archiver = Archiver::new(archive.clone(), pace);
    let merging = keep_merged(&archive, every, pace.merge_from);
    tokio::select! {
        ended = archiver.run(subscriber, stop) => Ok(ended?),
        never = merging => match never {},
        never = keep_counted(&archive, log.as_ref()) => match never {},
    }
}

/// The archive as a table of reports.
pub(crate) fn readings(config: &Config, settings: &Settings) -> anyhow::Result<Readings> {
    let Some(store) = bucket(settings)? else {
        let dir = settings.archive_dir(config);
        let archive = folder(&dir, config)?;
        let store = LocalFileSystem::new_with_prefix(&dir).with_context(|| format!("archive.dir {}", dir.display()))?;
        return Ok(Readings::new(archive, Arc::new(store)));
    };
    Ok(Readings::new(Archive::new(Arc::new(Bucket::trusted(Arc::clone(&store)))), store))
}

fn bucket(settings: &Settings) -> anyhow::Result<Option<Arc<dyn ObjectStore>>> {
    let store = places::archive_bucket(settings).map(|bucket| bucket.store().map_err(anyhow::Error::msg)).transpose();
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
async fn open(config: &Config, settings: &Settings) -> anyhow::Result<Archive> {
    let Some(store) = bucket(settings)? else { return folder(&settings.archive_dir(config), config) };
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

/// Counts the audit log's entries of days that are over.
async fn keep_counted(archive: &Archive, log: &dyn Audit) -> std::convert::Infallible {
    let mut times = interval(COUNT_EVERY);
    loop {
        times.tick().await;
        if let Err(error) = audit_counts::count(archive, log, clock::now()).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "entries of the audit log were not counted");
        }
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
