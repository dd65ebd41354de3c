//! What an rpc is answered that this process does not serve: which one does.

use crate::wiring::Service;
use axum::body::Body;
use proto::{problem, rpc};
use std::future::{Ready, ready};
use tonic::{
    Code,
    codegen::http::{Response, Uri},
};

/// Answers whatever the services of this process do not.
pub(crate) fn answer(services: &[Service]) -> impl Fn(Uri) -> Ready<Response<Body>> + Clone + Send + Sync + 'static {
    let here = names(services);
    move |uri: Uri| {
        let Some(rpc) = rpc::find(uri.path()) else {
            let text = "there is no such method here";
            return ready(problem::status(Code::Unimplemented, "UNKNOWN_METHOD", text).into_http());
        };
        ready(problem::not_served_here(&rpc.path[1..].replace('/', "."), &rpc.process, &here).into_http())
    }
}

/// The names of these services (`wardline run --service`).
pub(crate) fn names(services: &[Service]) -> Vec<&'static str> {
    services.iter().map(|service| service.name).collect()
}
