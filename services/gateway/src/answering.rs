//! What an rpc answered becomes an answer of HTTP: JSON or a file, perhaps compressed, with its headers.

use super::{
    Inner,
    call::Called,
    compress, conditions,
    conditions::Condition,
    files,
    intake::refused,
    problem::Problem,
    transcode::{Answer, Served},
};
use axum::{
    body::{Body, Bytes},
    http::{
        HeaderMap, HeaderValue, Response, StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION, VARY},
    },
};
use guard::bounds::{InProcess, answer::Answer as Held};
use std::sync::Arc;

/// KiB of encoded answers that are turned into JSON at once: in between they take up to fifty times as much.
pub(super) const TURNED_KIB: u32 = 2 << 10;
/// An encoded answer that is turned into JSON, or JSON that is compressed, where it came: a millisecond's work.
const INLINE_BYTES: usize = 64 << 10;

/// What a request wants to know of its answer.
pub(super) struct Wanted {
    /// The request's path, as it was sent.
    pub(super) path: String,
    /// Of what is read, only these versions (`If-Match`).
    only: Option<Condition>,
    /// Nothing that the caller has already (`If-None-Match`).
    unless: Option<Condition>,
    /// Whether the answer may be compressed at all, for some callers.
    varies: bool,
    gzip: bool,
}

impl Wanted {
    /// As the request's headers say.
    ///
    /// # Errors
    /// When `If-Match` or `If-None-Match` is no list of entity tags.
    pub(super) fn new(path: &str, served: &Served, headers: &HeaderMap) -> Result<Self, Problem> {
        let is_read = served.is_read();
        let only = if is_read { Condition::of(headers, &IF_MATCH)? } else { None };
        let unless = if is_read { Condition::of(headers, &IF_NONE_MATCH)? } else { None };
        // of a secret, such as a token, nothing is to be learnt from the answer's length
        let varies = !served.has_secret();
        Ok(Self { path: path.to_owned(), only, unless, varies, gzip: varies && compress::is_accepted(headers) })
    }
}

impl Inner {
    /// The answer as it is sent, when there is room for it, and held until it is taken.
    pub(super) async fn answered(
        &self,
        served: &Arc<Served>,
        caller: &InProcess,
        called: Called,
        wanted: &Wanted,
    ) -> Result<Response<Body>, Problem> {
        let turned = self.turn(served, called.message, wanted.gzip).await;
        let (Answer { body, media_type, etag, created }, is_compressed) = turned.ok_or_else(|| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", "the answer could not be written")
        })?;
        let tag = etag.as_deref().and_then(conditions::quoted);
        let vary = wanted.varies.then(|| HeaderValue::from_static("accept-encoding"));
        // in this order (RFC 9110, 13.2.2), and only of what would be answered otherwise
        conditions::require(wanted.only.as_ref(), etag.as_deref())?;
        let held = wanted.unless.as_ref().zip(etag.as_deref()).and_then(|(unless, etag)| unless.listed(etag));
        // `*`: there is something, with an entity tag or without
        if held.is_some() || wanted.unless == Some(Condition::Any) {
            let same = [(ETAG, held.and_then(conditions::quoted)), (VARY, vary)];
            return Ok(headed(Response::new(Body::empty()), StatusCode::NOT_MODIFIED, same));
        }
        // set aside before the call, but for rpcs that are open to all
        let permit = caller.answer().unwrap_or_else(|| self.bounds.answers.account(None, None).none());
        let n_bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let permit = permit.fitted(n_bytes, self.bounds.wait).await.map_err(refused)?;
        let body = Held::new(vec![body], None, permit, &self.bounds.untaken);
        let response = Response::new(Body::new(body));
        let location = created.and_then(|made| served.place.as_ref()?.location(&made, &served.path, &wanted.path));
        let location = location.and_then(|path| HeaderValue::try_from(path).ok());
        let status = if served.creates() { StatusCode::CREATED } else { StatusCode::OK };
        let coding = is_compressed.then(|| HeaderValue::from_static("gzip"));
        let more = [
            (CONTENT_TYPE, Some(media_type)),
            (CONTENT_DISPOSITION, called.disposition.filter(|_| served.is_file())),
            (ETAG, tag),
            (LOCATION, location),
            (CONTENT_ENCODING, coding),
            (VARY, vary),
        ];
        Ok(headed(response, status, more))
    }

    /// A large one on a thread of its own: others are not to wait for it. Whether it is compressed, too.
    ///
    /// A compressed form has an entity tag of its own, which names the same version (`conditions.rs`).
    async fn turn(&self, served: &Arc<Served>, encoded: Bytes, gzip: bool) -> Option<(Answer, bool)> {
        let kib = u32::try_from(encoded.len() >> 10).unwrap_or(u32::MAX).clamp(1, TURNED_KIB);
        let _room = self.turned.acquire_many(kib).await.ok()?;
        let answer = if encoded.len() <= INLINE_BYTES {
            answer(served, encoded)?
        } else {
            let served = Arc::clone(served);
            tokio::task::spawn_blocking(move || answer(&served, encoded)).await.ok()??
        };
        let may_be = !served.is_file() || compress::is_text(&answer.media_type);
        if !gzip || !may_be || !compress::is_worth_it(answer.body.len()) {
            return Some((answer, false));
        }
        let packed = |answer: Answer| {
            let etag = answer.etag.as_deref().map(conditions::gzip_tag);
            Some((Answer { body: compress::gzip(&answer.body).ok()?.into(), etag, ..answer }, true))
        };
        match answer.body.len() {
            ..=INLINE_BYTES => packed(answer),
            _ => tokio::task::spawn_blocking(move || packed(answer)).await.ok()?,
        }
    }
}

fn answer(served: &Served, encoded: Bytes) -> Option<Answer> {
    if served.is_file() { files::answer(encoded) } else { served.answer(&encoded) }
}

/// An answer with this status, and with those of the headers that have a value.
pub(super) fn headed<const N: usize>(
    mut response: Response<Body>,
    status: StatusCode,
    headers: [(axum::http::HeaderName, Option<HeaderValue>); N],
) -> Response<Body> {
    *response.status_mut() = status;
    let given = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    response.headers_mut().extend(given);
    response
}
