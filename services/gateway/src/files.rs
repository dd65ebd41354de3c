//! Files that rpcs answer with (`google.api.HttpBody`): their bytes as they are, not as JSON.

use super::transcode::Answer;
use axum::http::HeaderValue;
use bytes::Bytes;
use prost::Message;
use proto::google::api::HttpBody;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The file of an encoded response; `None` when it is no such message. Its entity tag is of its bytes: the same file has the same,
/// whoever made it.
pub(super) fn answer(encoded: Bytes) -> Option<Answer> {
    let file = HttpBody::decode(encoded).ok()?;
    let mut hasher = DefaultHasher::new();
    file.data.hash(&mut hasher);
    let etag = Some(format!("{:016x}", hasher.finish()));
    let media_type = HeaderValue::try_from(file.content_type).ok()?;
    Some(Answer { body: file.data, media_type, etag, created: None })
}
