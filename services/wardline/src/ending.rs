//! How a command ends: with 0, with 1 for an answer that is no, else with [`FAILED`].

use model::on_one_line;
use std::io;

/// `EX_SOFTWARE`: the platform should start it again.
pub const FAILED: u8 = 70;

/// Whether nobody reads any longer what is printed: `| head` has seen enough.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        // these two do not say so by their source
        let json = || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        let csv = || match cause.downcast_ref::<csv::Error>().map(csv::Error::kind) {
            Some(csv::ErrorKind::Io(error)) => Some(error.kind()),
            _ => None,
        };
        io.or_else(json).or_else(csv)
    };
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// An error as it is printed: what was typed or is in a file moves no cursor and turns no text around.
pub fn told(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().map(on_one_line).collect::<Vec<_>>().join("\n")
}

/// A question was answered with no: the process ends with 1, and nothing went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct No(pub String);
