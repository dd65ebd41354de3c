//! What can go wrong, for senders and readers alike.

use crate::queue;
use std::{sync::Arc, time::Duration};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why sending ended, or reading failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no token.
    #[error("there is no token")]
    Token(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// The server said no, and would say so again.
    #[error("the server refuses: {} ({:?})", .0.message(), .0.code())]
    Refused(#[source] Arc<Status>),
    /// It is not a URI such as `http://127.0.0.1:7300`, or its certificates cannot be used.
    #[error("{uri} cannot be connected to")]
    Address {
        /// As it was given.
        uri: String,
        /// What is wrong with the URI or with the certificates.
        #[source]
        cause: Arc<tonic::transport::Error>,
    },
    /// Nobody is at the address now.
    #[error("no node answers at {uri}")]
    NoAnswer {
        /// URI that was tried.
        uri: String,
        /// What the attempt came to.
        #[source]
        cause: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// Something else than a node's gRPC port is at the address, and would answer so again.
    #[error(
        "what answers at {uri} does not speak gRPC ({}); give the address of a node's gRPC port \
         (server.grpc_listen, 50051 if nothing else is set), not that of its JSON API or of a page",
        .status.map_or_else(|| "nor HTTP/2".to_owned(), |status| format!("HTTP status {status}"))
    )]
    NotGrpc {
        /// URI that was asked; several, where one of them it was.
        uri: String,
        /// Status of HTTP that was answered; `None`: it does not even speak HTTP/2.
        status: Option<u16>,
    },
    /// A [`crate::Remote`] without an address.
    #[error("there is no endpoint to connect to")]
    NoEndpoint,
    /// The server has answered what makes no sense.
    #[error("the server's answer makes no sense: {0}")]
    Answer(&'static str),
    /// No server answered in time.
    #[error("no server answered within {} s", .waited.as_secs())]
    Unreachable {
        /// How long it was tried.
        waited: Duration,
        /// What the last attempt said.
        #[source]
        last: Option<Arc<Status>>,
    },
    /// Not everything was acknowledged in time.
    #[error("{left} batches are not acknowledged yet (all up to {through} are)")]
    Deadline {
        /// The last acknowledged sequence.
        through: u64,
        /// How many batches wait in the queue.
        left: usize,
    },
    /// The batch does not fit into a message; it was not sent.
    #[error("the batch has {bytes} bytes, the server takes {limit}: send smaller batches")]
    TooLarge {
        /// Bytes of the message.
        bytes: usize,
        /// Most bytes that the server takes: its `Limits.max_message_bytes`.
        limit: usize,
    },
    /// The sender has been closed.
    #[error("the sender is closed")]
    Closed,
    /// The queue on the device's disk.
    #[error("the queue on the disk")]
    Queue(
        #[from]
        #[source]
        queue::Error,
    ),
}

impl Error {
    /// `ErrorInfo.reason` of the server's answer (UPPER_SNAKE_CASE), if it gave one.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Refused(status) => status.get_details_error_info().map(|info| info.reason),
            _ => None,
        }
    }

    /// For how long the server wants to be left alone, if it answered so until the end.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unreachable { last: Some(status), .. } => {
                Some(status.get_details_retry_info()?.retry_delay.unwrap_or_default())
            }
            _ => None,
        }
    }

    /// The server's status code, if it refused.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(status) => Some(status.code()),
            _ => None,
        }
    }
}
