//! Results of jobs that are too large for their last step: objects that go by job and attempt.

use crate::{
    jobs::job::Job,
    objects::{Error, Objects},
    reports::output::Format,
};
use bytes::Bytes;
use object_store::path::Path as Key;
use serde_json::Value;
use uuid::Uuid;

const ROOT: &str = "results";

/// Where the rows of an attempt go.
pub(crate) fn key(job: Uuid, attempt: Uuid, format: Format) -> Key {
    let ending = match format {
        Format::Json => "json",
        Format::Csv => "csv",
        Format::Parquet => "parquet",
        Format::Text => "txt",
    };
    Key::from_iter([ROOT.to_owned(), job.to_string(), format!("{attempt}.{ending}")])
}

/// Where more of an attempt goes, which nobody is given.
pub(crate) fn beside(rows: &Key, what: &str) -> Key {
    Key::from(format!("{rows}.{what}"))
}

/// The media type of rows in a format.
pub(crate) fn media_type(format: Format) -> &'static str {
    match format {
        Format::Json => "application/json",
        Format::Csv => "text/csv; charset=utf-8",
        Format::Parquet => "application/vnd.apache.parquet",
        Format::Text => "text/plain; charset=utf-8",
    }
}

/// What a job says, and which object has its rows: [`part`] reads it.
pub(crate) fn naming(mut what: Value, key: &Key, bytes: u64, format: Format) -> Value {
    what["object"] = key.to_string().into();
    what["bytes"] = bytes.into();
    what["content_type"] = media_type(format).into();
    what
}

/// A part of the object that a job's result names: the bytes from an offset on, at most so many; also how many there are in all,
/// and their media type. `None`: the result names no object.
pub(crate) async fn part(
    objects: &Objects,
    job: &Job,
    offset: u64,
    most: u64,
) -> Result<Option<(Bytes, u64, String)>, Error> {
    let text = |name: &str| job.result.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let Some((object, media_type)) = text("object").zip(text("content_type")) else { return Ok(None) };
    let key = Key::from(object);
    // what a result says is the worker's; where it may point, is not
    if !key.prefix_matches(&below(job.id)) {
        return Ok(None);
    }
    let (bytes, all) = objects.get_part(&key, offset, most).await?;
    Ok(Some((bytes, all, media_type)))
}

/// Removes what all attempts at a job have left.
pub(crate) async fn remove(objects: &Objects, job: Uuid) -> Result<(), Error> {
    objects.remove_all(&below(job)).await
}

fn below(job: Uuid) -> Key {
    Key::from_iter([ROOT.to_owned(), job.to_string()])
}
