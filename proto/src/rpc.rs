//! What the descriptors say of each rpc: who may call it, how it is called over HTTP, within which bounds.

use crate::{
    google::api::{HttpRule, http_rule::Pattern},
    options::v1 as options,
};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use std::{collections::HashMap, sync::LazyLock, time::Duration};

pub use crate::options::v1::Quota;

/// An rpc of ours.
#[derive(Clone, PartialEq, Eq)]
pub struct Rpc {
    /// Path of the rpc on the wire: `/package.Service/Method`.
    pub path: String,
    /// The service of a node that serves it, as in `wardline run --service`.
    pub process: String,
    /// Whether its client, and whether its server sends more than one message.
    pub streams: (bool, bool),
    /// How it is called as plain HTTP, the path of this API first; none: it is not.
    pub http: Vec<Http>,
    /// Names of the actions for one of which its caller needs permission.
    pub actions: Vec<String>,
    /// Whether anybody may call it, without a token.
    pub is_open: bool,
    /// The limit of rate that it counts against.
    pub quota: Quota,
    /// Largest message of a request; `None`: `ingest.max_message_kib`.
    pub max_bytes: Option<usize>,
    /// Until when it is answered; `None`: a stream of readings.
    pub answered_in: Option<Duration>,
    /// How long it may last when it is more than one answer; `None`: one answer, or a stream of readings.
    pub lasts: Option<Duration>,
    /// What it takes to answer a call, at most.
    pub memory_bytes: u32,
    /// Media types of the file that it answers with; none: it answers with a message.
    pub media_types: Vec<String>,
    /// Whether it answers with one thing that it makes, or made before for the same key.
    pub makes: bool,
}

/// An HTTP request that is an rpc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// HTTP method, in capitals.
    pub method: &'static str,
    /// With `{field}` for what fills the request.
    pub path: String,
    /// The part of the request that the body holds.
    pub body: Body,
}

/// The part of a request that the HTTP body holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// No body: the request's other fields are query parameters.
    Nothing,
    /// The rpc's request, but for what the path says. Empty: an empty request.
    Whole,
    /// This field of the rpc's request; its other fields are query parameters.
    Field(String),
}

/// Every rpc whose descriptor says what it is, ascending by path. One that does not say is not served: a test names it.
static ALL: LazyLock<Vec<Rpc>> = LazyLock::new(|| {
    let services = crate::pool().into_iter().flat_map(DescriptorPool::services);
    let mut all: Vec<_> = services
        .flat_map(|service| service.methods().filter_map(|method| Rpc::of(&method)).collect::<Vec<_>>())
        .collect();
    all.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    all
});

/// Every rpc, ascending by path.
pub fn all() -> &'static [Rpc] {
    &ALL
}

/// The rpc at a path, `/package.Service/Method`.
pub fn find(path: &str) -> Option<&'static Rpc> {
    static BY_PATH: LazyLock<HashMap<&str, &Rpc>> =
        LazyLock::new(|| ALL.iter().map(|rpc| (rpc.path.as_str(), rpc)).collect());
    BY_PATH.get(path).copied()
}

impl Rpc {
    /// The service's full name and the method's: `package.Service` and `Method`.
    pub fn names(&self) -> (&str, &str) {
        self.path[1..].split_once('/').unwrap_or_default()
    }

    fn of(method: &MethodDescriptor) -> Option<Self> {
        let options: options::Rpc = option(method, "wardline.options.v1.rpc")?;
        let quota = options.quota();
        let options::Rpc { actions, open, max_kib, seconds, stream_seconds, memory_kib, media_types, makes, .. } =
            options;
        Some(Self {
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            process: process(method.parent_service()),
            streams: (method.is_client_streaming(), method.is_server_streaming()),
            http: option(method, "google.api.http").map(Http::all).unwrap_or_default(),
            actions,
            is_open: open,
            quota,
            max_bytes: (max_kib > 0).then_some(max_kib as usize * 1_024),
            answered_in: (seconds > 0).then(|| Duration::from_secs(seconds.into())),
            lasts: (stream_seconds > 0).then(|| Duration::from_secs(stream_seconds.into())),
            memory_bytes: memory_kib * 1_024,
            media_types,
            makes,
        })
    }
}

impl Http {
    /// The rule's own, then its additional bindings.
    fn all(mut rule: HttpRule) -> Vec<Self> {
        let others = std::mem::take(&mut rule.additional_bindings);
        std::iter::once(rule).chain(others).filter_map(Self::of).collect()
    }

    fn of(rule: HttpRule) -> Option<Self> {
        let (method, path) = match rule.pattern? {
            Pattern::Get(path) => ("GET", path),
            Pattern::Put(path) => ("PUT", path),
            Pattern::Post(path) => ("POST", path),
            Pattern::Delete(path) => ("DELETE", path),
            Pattern::Patch(path) => ("PATCH", path),
        };
        let body = match rule.body.as_str() {
            "" => Body::Nothing,
            "*" => Body::Whole,
            field => Body::Field(field.to_owned()),
        };
        Some(Self { method, path, body })
    }
}

/// The service of a node that serves a service of rpcs; empty: its descriptor does not say, which a test names.
fn process(service: &ServiceDescriptor) -> String {
    let extension = service.parent_pool().get_extension_by_name("wardline.options.v1.process");
    let said = extension.map(|extension| service.options().get_extension(&extension).into_owned());
    said.and_then(|said| said.as_str().map(str::to_owned)).unwrap_or_default()
}

/// An option of a method.
fn option<M: prost::Message + Default>(method: &MethodDescriptor, name: &str) -> Option<M> {
    let extension = method.parent_pool().get_extension_by_name(name)?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return None;
    }
    options.get_extension(&extension).as_message()?.transcode_to().ok()
}
