//! A request's body, read when its rpc reads it: after the auth layer has let the caller in, and never when it has not.

use super::{
    Condition, Inner, json,
    problem::Problem,
    transcode::{Asked, Served},
};
use axum::{
    body::Body,
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH},
    },
};
use futures::StreamExt;
use guard::bounds::{InProcess, budget::Permit};
use hyper::body::Body as _;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Largest body of a request, and of one that anybody may send.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;
pub(super) const MAX_OPEN_BODY_BYTES: usize = 8 << 10;
/// What a body may take while it is taken apart: a megabyte of samples needs more, 4,096 readings half of it.
const MAX_PARSED_BYTES: usize = 32 << 20;
/// So much of what was not read is read and thrown away, so long: who is still sending could not read the answer.
const MAX_DISCARDED_BYTES: usize = 2 << 20;
const DISCARD_FOR: Duration = Duration::from_secs(5);
/// Memory for each byte of a message when it is decoded (as for gRPC).
const DECODED_WEIGHT: usize = 16;

/// What was sent, apart from the body.
pub(super) struct Sent {
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) address: Option<IpAddr>,
    pub(super) caller: InProcess,
}

/// A body on its way. Clones are the same.
#[derive(Clone)]
pub(super) struct Intake(Arc<Mutex<State>>);

struct State {
    /// As long as it is not being read.
    body: Option<Body>,
    problem: Option<Problem>,
    /// For the body's bytes and what became of them.
    held: Vec<Permit>,
    /// Other versions that the caller would take, and the request that names the first.
    others: Option<(Vec<String>, Vec<u8>)>,
}

impl Intake {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(State { body: Some(body), problem: None, held: Vec::new(), others: None })))
    }

    /// The rpc's request; nothing when there is a problem.
    pub(super) async fn request(&self, gateway: &Inner, served: &Served, sent: &Sent) -> Option<Vec<u8>> {
        let body = self.state().body.take();
        let mut body = body.unwrap_or_default();
        let read = self.read(gateway, served, sent, &mut body).await;
        let mut state = self.state();
        state.body = Some(body);
        match read {
            Ok(request) => Some(request),
            Err(problem) => {
                sent.caller.refuse(problem.counted());
                state.problem = Some(problem);
                None
            }
        }
    }

    /// The request once more for each further version that the caller would take (`If-Match` with several).
    pub(super) fn others<'a>(&self, served: &'a Served) -> impl Iterator<Item = Vec<u8>> + use<'a> {
        let others = self.state().others.take();
        let others = others.into_iter().flat_map(|(tags, first)| tags.into_iter().map(move |tag| (tag, first.clone())));
        others.filter_map(|(tag, first)| served.with_etag(&first, tag))
    }

    /// What was wrong with the request, if it was read. The rest of its body, or all of it, is thrown away.
    pub(super) fn finish(&self) -> Option<Problem> {
        let mut state = self.state();
        if let Some(body) = state.body.take().filter(|body| !body.is_end_stream()) {
            tokio::spawn(async move { tokio::time::timeout(DISCARD_FOR, discard(body)).await });
        }
        state.held.clear();
        state.problem.take()
    }

    async fn read(&self, gateway: &Inner, served: &Served, sent: &Sent, body: &mut Body) -> Result<Vec<u8>, Problem> {
        // of what is read the answer decides
        let if_match = if served.is_read() { None } else { Condition::of(&sent.headers, &IF_MATCH)? };
        check_none_match(served, &sent.headers)?;
        let is_open = served.rpc().is_open;
        let max = if is_open { MAX_OPEN_BODY_BYTES } else { MAX_BODY_BYTES };
        let text = self.whole(gateway, sent, max, body).await?;
        let weight = json::weight(&text) * if served.is_free_form() { json::FREE_FORM } else { 1 };
        if weight > MAX_PARSED_BYTES {
            let detail = "too many values for one request; send less at once";
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail));
        }
        let account = gateway.bounds.api_parsed.account(sent.caller.caller(), sent.address);
        // below the largest
        let mut parsed = account.take(weight as u32, gateway.bounds.wait).await.map_err(refused)?;
        let if_match = if_match.as_ref();
        let request =
            served.request(&Asked { variables: &sent.variables, query: &sent.query, if_match, body: &text })?;
        parsed.shrink(u32::try_from(request.len() * DECODED_WEIGHT).unwrap_or(u32::MAX));
        let mut state = self.state();
        // the text is gone when this returns
        state.held = vec![parsed];
        if let [_, others @ ..] = if_match.map(Condition::strong).unwrap_or_default().as_slice()
            && !others.is_empty()
        {
            state.others = Some((others.iter().map(|tag| (*tag).to_owned()).collect(), request.clone()));
        }
        Ok(request)
    }

    /// All of a body, if it is JSON and not too large.
    async fn whole(&self, gateway: &Inner, sent: &Sent, max: usize, body: &mut Body) -> Result<Vec<u8>, Problem> {
        let too_large = || {
            let detail = format!("a body has at most {max} bytes here; send less at once");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
        };
        let announced = sent.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let account = gateway.bounds.api_requests.account(sent.caller.caller(), sent.address);
        let (mut whole, mut data) = (Vec::new(), std::mem::take(body).into_data_stream());
        let outcome = loop {
            let Some(piece) = data.next().await else { break Ok(()) };
            let Ok(piece) = piece else {
                let detail = "the body ended before its end";
                break Err(Problem::new(StatusCode::BAD_REQUEST, "BODY_INCOMPLETE", detail));
            };
            if whole.is_empty() && !piece.is_empty() && !is_json(&sent.headers) {
                let detail = "send `content-type: application/json`, in UTF-8 and without content-encoding";
                break Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", detail));
            }
            if whole.len() + piece.len() > max {
                break Err(too_large());
            }
            let held = self.state().held.pop().unwrap_or_else(|| account.none());
            // below the largest
            match held.grown(piece.len() as u32, gateway.bounds.wait).await {
                Ok(held) => self.state().held.push(held),
                Err(full) => break Err(refused(full)),
            }
            whole.extend_from_slice(&piece);
        };
        *body = Body::from_stream(data);
        outcome.map(|()| whole)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// 429, as gRPC's status says it.
pub(super) fn refused(full: guard::bounds::budget::Full) -> Problem {
    Problem::of(&full.status(), None)
}

async fn discard(body: Body) {
    let (mut data, mut n_bytes) = (body.into_data_stream(), 0);
    while let Some(Ok(piece)) = data.next().await {
        n_bytes += piece.len();
        if n_bytes > MAX_DISCARDED_BYTES {
            return;
        }
    }
}

/// Of what changes something, `If-None-Match: *` asks that nothing is there yet, as every create does; more it cannot ask.
fn check_none_match(served: &Served, headers: &HeaderMap) -> Result<(), Problem> {
    if served.is_read() {
        return Ok(());
    }
    match Condition::of(headers, &IF_NONE_MATCH)? {
        None => Ok(()),
        Some(Condition::Any) if served.creates() => Ok(()),
        Some(_) => {
            let mut wrong = super::problem::Violations::default();
            wrong.push("If-None-Match", "is for GET, and as * for what is created; leave it out");
            Err(Problem::fields(wrong))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    is_json && parts.all(is_utf8) && !headers.contains_key(CONTENT_ENCODING)
}

fn is_utf8(parameter: &str) -> bool {
    let charset = parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    charset.is_none_or(|(_, name)| name.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"))
}
