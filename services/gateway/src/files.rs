//! Files that rpcs answer with (`google.api.HttpBody`): their bytes as they are, not as JSON.

use super::{conditions, transcode::Answer};
use axum::http::HeaderValue;
use bytes::Bytes;
use prost::Message;
use proto::google::api::HttpBody;

/// The file of an encoded response; `None` when it is no such message. Its entity tag is of its bytes.
pub(super) fn answer(encoded: Bytes) -> Option<Answer> {
    let file = HttpBody::decode(encoded).ok()?;
    let etag = Some(conditions::tag_of(&file.data));
    let media_type = HeaderValue::try_from(file.content_type).ok()?;
    Some(Answer { body: file.data, media_type, etag, created: None })
}
