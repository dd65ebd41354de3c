//! Small files become larger ones, in a new generation. Large ones are linked there as they are.
//!
//! What counts is never changed: readers of the old generation find its files for some time. Whoever puts a file into the
//! old one while the new one is made sees afterwards that another one counts, and puts it there, too.

use super::{
    Error,
    encode::Encoder,
    generations::{Archive, Generation, Held, damaged, new_folder},
    names::{self, Offsets},
    seen::Seen,
};
use crate::metrics;
use bus::Partition;
use bytes::Bytes;
use datafusion::{
    arrow::{
        array::{RecordBatch, new_null_array},
        compute::cast,
        datatypes::{FieldRef, SchemaRef},
    },
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream,
        memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool},
    },
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::Column},
    physical_plan::{
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet},
        sorts::streaming_merge::StreamingMergeBuilder,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, stream};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::{collections::BTreeSet, sync::Arc};

/// A file of so many bytes is left as it is.
const LARGE_BYTES: u64 = 64 << 20;
/// Rows that are merged at once.
const BATCH_ROWS: usize = 8_192;

/// Merges if a partition has so many small files; `false`: none has, or another one was faster.
///
/// # Errors
/// The files, or what is in them.
pub async fn merge(archive: &Archive, from: usize) -> Result<bool, Error> {
    let old = archive.generation().await?;
    let held = archive.held(&old.folder).await?;
    if !held.values().any(|held| is_worth(held, from)) {
        return Ok(false);
    }
    let new = Generation { number: old.number + 1, folder: new_folder(old.number + 1) };
    for (partition, held) in &held {
        one(archive, (&old, &new), *partition, held).await?;
    }
    // what came meanwhile; what comes from now on is put into the new one by who puts it
    for (partition, now) in archive.held(&old.folder).await? {
        let known = held.get(&partition);
        let come = now.files.keys().filter(|range| known.is_none_or(|known| !known.files.contains_key(range)));
        for range in come {
            copy(archive, (&old, &new), partition, *range).await?;
        }
    }
    if !archive.name(new.number, &new.folder).await? {
        remove_folder(archive, &new.folder).await?;
        return Ok(false);
    }
    tidy(archive, &new).await?;
    metrics::archive_merged();
    Ok(true)
}

fn is_worth(held: &Held, from: usize) -> bool {
    runs(held).iter().any(|run| run.len() >= from)
}

/// Small files that follow each other and become one: at most so many that it is a large one.
fn runs(held: &Held) -> Vec<Vec<Offsets>> {
    let mut runs: Vec<Vec<Offsets>> = Vec::new();
    let (mut bytes, mut end) = (0, None);
    for (range, size) in &held.files {
        let is_small = *size < LARGE_BYTES;
        match runs.last_mut().filter(|_| end == Some(range.from) && is_small && bytes + size <= 2 * LARGE_BYTES) {
            Some(run) => run.push(*range),
            None => {
                runs.push(vec![*range]);
                bytes = 0;
            }
        }
        bytes += size;
        // nothing is added to a large one
        end = is_small.then_some(range.to);
    }
    runs
}

/// A partition in the new generation.
async fn one(
    archive: &Archive,
    (old, new): (&Generation, &Generation),
    partition: Partition,
    held: &Held,
) -> Result<(), Error> {
    let from = names::partition(&old.folder, partition);
    let to = names::partition(&new.folder, partition);
    for run in runs(held) {
        let [first, .., last] = run[..] else {
            for range in run {
                copy(archive, (old, new), partition, range).await?;
            }
            continue;
        };
        let mut files = Vec::with_capacity(run.len());
        for range in &run {
            let key = names::file(&from, *range);
            let bytes = archive.there(&key).await?;
            files.push((key, bytes));
        }
        let whole = Offsets { from: first.from, to: last.to };
        archive.files.put(&names::file(&to, whole), merged(files).await?).await?;
    }
    if held.files.is_empty() {
        return Ok(());
    }
    let seen = Seen::load(archive, &from, held).await?;
    Ok(archive.files.put(&names::seen(&to, held.end()), seen.encode()).await?)
}

async fn copy(
    archive: &Archive,
    (old, new): (&Generation, &Generation),
    partition: Partition,
    range: Offsets,
) -> Result<(), Error> {
    let key = |generation: &Generation| names::file(&names::partition(&generation.folder, partition), range);
    Ok(archive.files.copy(&key(old), &key(new)).await?)
}

/// One file of the rows of several, in their order.
async fn merged(files: Vec<(String, Bytes)>) -> Result<Bytes, Error> {
    let streams: Vec<_> = files.into_iter().map(|(key, bytes)| rows(&key, bytes)).collect::<Result<_, _>>()?;
    let schema = Arc::clone(&super::columns::SCHEMA);
    let order = order(&schema)?;
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let mut merged = StreamingMergeBuilder::new()
        .with_streams(streams)
        .with_schema(Arc::clone(&schema))
        .with_expressions(&order)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(BATCH_ROWS)
        .with_reservation(MemoryConsumer::new("archive").register(&pool))
        .build()?;
    let mut encoder = Encoder::new(&schema)?;
    while let Some(batch) = merged.next().await {
        let batch = batch?;
        encoder = tokio::task::spawn_blocking(move || encoder.add(&batch).map(|()| encoder))
            .await
            .map_err(|cause| DataFusionError::External(cause.into()))??;
    }
    Ok(encoder.end()?)
}

/// The order of rows: see the columns.
fn order(schema: &SchemaRef) -> Result<LexOrdering, Error> {
    let names =
        ["patient_id", "metric", "measured_at", "measured_at_ns", "device_id", "stream_id", "sequence", "place"];
    let by = |name: &str| {
        Ok::<_, DataFusionError>(PhysicalSortExpr::new_default(Arc::new(Column::new_with_schema(name, schema)?)))
    };
    let by: Vec<_> = names.into_iter().map(by).collect::<Result<_, _>>()?;
    Ok(LexOrdering::new(by).ok_or_else(|| DataFusionError::Internal("an order of nothing".into()))?)
}

/// The rows of a file, in the columns of today: one that it does not have is null.
fn rows(key: &str, bytes: Bytes) -> Result<SendableRecordBatchStream, Error> {
    let schema = Arc::clone(&super::columns::SCHEMA);
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .map_err(|error| damaged(key, &error.to_string()))?
        .with_batch_size(BATCH_ROWS)
        .build()?;
    let today = Arc::clone(&schema);
    let batches = reader.map(move |batch| of_today(&batch?, &today));
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter(batches))))
}

fn of_today(batch: &RecordBatch, today: &SchemaRef) -> Result<RecordBatch, DataFusionError> {
    let column = |field: &FieldRef| match batch.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
    };
    let columns = today.fields().iter().map(column).collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(today), columns)?)
}

/// What nobody reads any more: generations before the one that counted until now, those that were never named, and intents that
/// are done.
async fn tidy(archive: &Archive, new: &Generation) -> Result<(), Error> {
    let mut kept = vec![new.folder.clone()];
    for object in archive.files.list(&names::generations()).await? {
        let number: Option<u64> = names::last(&object.key).parse().ok();
        match number {
            Some(number) if number + 1 < new.number => archive.files.remove(&object.key).await?,
            _ => kept.extend(archive.folder(&object.key).await?),
        }
    }
    archive.files.sweep(names::ROOT).await?;
    let all = archive.files.list(names::ROOT).await?;
    let folders: BTreeSet<_> = all.iter().filter_map(|object| object.key.split('/').nth(1)).collect();
    // a later one is being made
    let is_over = |folder: &&&str| names::number_of(folder).is_some_and(|number| number <= new.number);
    for folder in folders.iter().filter(is_over).filter(|folder| !kept.iter().any(|kept| kept == **folder)) {
        remove_folder(archive, folder).await?;
    }
    for (partition, held) in archive.held(&new.folder).await? {
        let intents = archive.files.list(&names::log(partition)).await?;
        // the last one says how far it is, whatever happens
        for object in intents.iter().rev().skip(1) {
            let from = names::last(&object.key).parse::<i64>().unwrap_or(i64::MAX);
            if held.seen_to.is_some_and(|to| from < to) {
                archive.files.remove(&object.key).await?;
            }
        }
    }
    Ok(())
}

async fn remove_folder(archive: &Archive, folder: &str) -> Result<(), Error> {
    for object in archive.files.list(&names::generation_folder(folder)).await? {
        archive.files.remove(&object.key).await?;
    }
    Ok(())
}
