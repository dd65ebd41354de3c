//! Answers of reports to callers who wait for them: in time, bounded in bytes, and what their failures are to a caller.

use crate::{
    reporting::RunError,
    reports::{self, Answer, output},
};
use guard::errors;
use proto::problem;
use std::{future::Future, io, time::Duration};
use tokio::time::timeout;
use tonic::{Code, Response, Status};

/// Most bytes of rows that are written for an answer.
pub(crate) const BYTES: usize = 6 << 20;
/// How long a report may take that is answered at once.
const TIME: Duration = Duration::from_secs(20);

/// What is asked for, if it is there in time.
pub(crate) async fn in_time<T>(work: impl Future<Output = Result<T, Status>>) -> Result<Response<T>, Status> {
    let late = |_| {
        let text = format!("it takes more than {} s: submit the report as a job", TIME.as_secs());
        Err(problem::status(Code::FailedPrecondition, "TAKES_TOO_LONG", text))
    };
    timeout(TIME, work).await.unwrap_or_else(late).map(Response::new)
}

/// An answer's rows in a format, and how many there are.
pub(crate) async fn written(answer: Answer, format: output::Format) -> Result<(Vec<u8>, usize), Status> {
    let report = answer.report();
    let mut content = Bounded::default();
    match output::write(answer, format, &mut content).await {
        Ok(rows) => Ok((content.bytes, rows)),
        Err(_) if content.is_full => {
            let text = format!("more than {BYTES} bytes: submit a job of the kind {}, or ask for less", report.name);
            Err(problem::status(Code::FailedPrecondition, "TOO_LARGE", text))
        }
        Err(error) => Err(failed(error.into())),
    }
}

/// Takes so much and no more.
#[derive(Default)]
struct Bounded {
    bytes: Vec<u8>,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > BYTES {
            self.is_full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a report's failure is to a caller.
pub(crate) fn failed(error: RunError) -> Status {
    let error = match error {
        RunError::Store(error) => return errors::store(error),
        RunError::Archive(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the archive of readings cannot be read");
            let text = "the archive of readings cannot be reached; try again";
            return problem::unavailable("OBJECTS_UNAVAILABLE", text, Duration::from_secs(1));
        }
        RunError::Report(error) => error,
    };
    let text = error.to_string();
    match error {
        reports::Error::UnknownReport { .. } => problem::field(Code::NotFound, "NO_SUCH_REPORT", "name", &text),
        reports::Error::Parameters { .. } => problem::invalid("INVALID_PARAMETERS", "parameters", text),
        reports::Error::MissingTable { .. } => problem::status(Code::FailedPrecondition, "NOT_IMPORTED", text),
        reports::Error::Memory { .. } | reports::Error::TooManyRows { .. } => {
            problem::status(Code::FailedPrecondition, "TOO_LARGE", text)
        }
        _ => {
            tracing::error!(error = &error as &dyn std::error::Error, "a report cannot be run");
            problem::status(Code::Internal, "REPORT_FAILED", "the report cannot be run; tell the operators")
        }
    }
}
