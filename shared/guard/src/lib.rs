//! The one way into an rpc: who asks, whether they may, within which bounds, and that it is written down.
//!
//! In the order in which a request meets them: [`observe`] (counted, timed, its errors named by its [`RequestId`]), [`methods`] (is there such an rpc, how long may its message and its answer take),
//! [`auth_layer`] (who asks; may they call it at all; was it written down), [`quotas`] (how often), [`bounds`] (how much memory), [`decisions`] (whether they may do this, with this patient). What an
//! rpc is stands in its descriptor ([`proto::rpc`]).

pub mod access;
pub mod auth_layer;
pub mod bounds;
mod caller;
pub mod clock;
pub mod connection_limit;
pub mod convert;
pub mod decisions;
pub mod device;
pub mod errors;
pub mod ids;
pub mod methods;
pub mod metrics;
pub mod observe;
pub mod pages;
pub mod quotas;
pub mod request_id;
pub mod streams;
mod subjects;
mod token;

pub use caller::{Caller, principal};
pub use request_id::RequestId;
pub use subjects::subjects;
pub use token::{FLIGHT, token};
