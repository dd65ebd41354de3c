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
    let here: Vec<_> = services.iter().map(|service| service.name).collect();
    move |uri: Uri| {
        let Some(rpc) = rpc::find(uri.path()) else {
            let text = "there is no such method here";
            return ready(problem::status(Code::Unimplemented, "UNKNOWN_METHOD", text).into_http());
        };
        let (name, process) = (rpc.path[1..].replace('/', "."), &rpc.process);
        let text = if here.contains(&process.as_str()) {
            format!("{name} is not offered: a setting that it needs is missing")
        } else {
            format!("{name} is served by `{process}`, not by this process ({})", here.join(", "))
        };
        ready(problem::status(Code::Unimplemented, "NOT_SERVED_HERE", text).into_http())
    }
}
