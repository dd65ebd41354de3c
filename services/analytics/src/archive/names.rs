//! How objects of the archive are called. Numbers have their zeros, so that lists are in their order.

use bus::Partition;

/// Below it is all of the archive of readings.
pub(crate) const ROOT: &str = "readings";

/// A contiguous part of a partition: `from` is in it, `to` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Offsets {
    pub from: i64,
    pub to: i64,
}

/// Below it are the intents of a partition.
pub(crate) fn log(partition: Partition) -> String {
    format!("{ROOT}/_log/{:05}", partition.0)
}

/// The intent of a range that begins here.
pub(crate) fn intent(partition: Partition, from: i64) -> String {
    format!("{}/{from:020}", log(partition))
}

/// Below it are the generations' names.
pub(crate) fn generations() -> String {
    format!("{ROOT}/_generations")
}

/// What names a generation.
pub(crate) fn generation(number: u64) -> String {
    format!("{}/{number:010}", generations())
}

/// Below it are the files of a generation.
pub(crate) fn generation_folder(folder: &str) -> String {
    format!("{ROOT}/{folder}")
}

/// Below it are the files of a partition, in a generation's folder.
pub(crate) fn partition(folder: &str, partition: Partition) -> String {
    format!("{}/p{:05}", generation_folder(folder), partition.0)
}

/// The file of a range.
pub(crate) fn file(below: &str, range: Offsets) -> String {
    format!("{below}/{:020}-{:020}.parquet", range.from, range.to)
}

/// What was seen in all files of a merged partition up to an offset.
pub(crate) fn seen(below: &str, to: i64) -> String {
    format!("{below}/_seen-{to:020}")
}

/// The last part of a key.
pub(crate) fn last(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or_default()
}

/// The range that a file is named by; `None`: it is no file of readings.
pub(crate) fn range(key: &str) -> Option<Offsets> {
    let (from, to) = last(key).strip_suffix(".parquet")?.split_once('-')?;
    Some(Offsets { from: from.parse().ok()?, to: to.parse().ok()? })
}

/// The offset up to which [`seen`] says it; `None`: it is another file.
pub(crate) fn seen_to(key: &str) -> Option<i64> {
    last(key).strip_prefix("_seen-")?.parse().ok()
}

/// The number of a generation whose folder is called so: `g0000000002-9f3c`.
pub(crate) fn number_of(folder: &str) -> Option<u64> {
    folder.strip_prefix('g')?.split_once('-')?.0.parse().ok()
}

/// The partition whose folder it is: `p00003`.
pub(crate) fn partition_of(part: &str) -> Option<Partition> {
    part.strip_prefix('p')?.parse().ok().map(Partition)
}
