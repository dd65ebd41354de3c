//! Logs: JSON on standard error, without patient data.
//!
//! What a peer does again and again is not said each time: each line of the code, ours or a library's, writes at most
//! `MAX_LINES` in `EVERY`, and then how many were left out.

mod left_out;

pub(crate) use left_out::tell as tell_left_out;

use crate::config::{Format, Telemetry};
use anyhow::Context;
use guard::request_id::SPAN;
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer as _,
    filter::Targets,
    fmt::{
        FmtContext, FormatEvent, FormatFields, MakeWriter,
        format::{FmtSpan, Writer},
        layer,
    },
    layer::SubscriberExt,
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// Starts logging. A second call changes nothing (tests run several nodes in one process).
pub fn logs(settings: &Telemetry) -> anyhow::Result<()> {
    let _ = subscriber(settings, std::io::stderr)?.try_init();
    Ok(())
}

/// What writes lines at the level and in the format of the settings.
fn subscriber<W>(settings: &Telemetry, writer: W) -> anyhow::Result<impl Subscriber + Send + Sync + use<W>>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let levels: Targets = settings.level.parse().context("telemetry.level")?;
    // a span is a line when it ends, with its fields and how long it took: libraries have some at `debug` and `trace`
    let output = layer().with_writer(writer).with_span_events(FmtSpan::CLOSE);
    // said on standard error, which is what has failed: that would end the thread
    let output = output.log_internal_errors(false);
    let output = match settings.format {
        Format::Json => {
            let output = output.json().flatten_event(true).map_event_format(BesidesRequests);
            output.with_filter(left_out::AtMost).boxed()
        }
        Format::Text => output.map_event_format(BesidesRequests).with_filter(left_out::AtMost).boxed(),
    };
    Ok(registry().with(levels).with(output))
}

/// Writes no line for the end of a request's span, which is on at every level: it is there for the lines within it.
struct BesidesRequests<F>(F);

impl<S, N, F> FormatEvent<S, N> for BesidesRequests<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match event.metadata().target() {
            SPAN => Ok(()),
            _ => self.0.format_event(context, writer, event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard::RequestId;
    use std::sync::{Arc, Mutex};

    #[test]
    fn every_line_of_a_request_has_its_id_also_where_only_warnings_are_written() {
        let settings = |format| Telemetry { level: "warn".to_owned(), format };
        for format in [Format::Json, Format::Text] {
            let (lines, id) = (Arc::new(Mutex::new(Vec::new())), RequestId::current());
            let to = Arc::clone(&lines);
            let subscriber = subscriber(&settings(format), move || Appended(Arc::clone(&to))).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                id.span().in_scope(|| {
                    tracing::info!("not written");
                    tracing::warn!("something is wrong");
                });
            });
            let lines = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
            assert_eq!(lines.lines().count(), 1, "{lines}");
            assert!(lines.contains("something is wrong") && lines.contains(&id.to_string()), "{lines}");
        }
    }

    /// What was written.
    struct Appended(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Appended {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
