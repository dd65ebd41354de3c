//! A subject's readings out of the archive, hour by hour in the order of time.

use super::{
    judge::{Judgement, TakenBack, judge},
    rows::{Rows, query},
};
use crate::reports::{Error, Session};
use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        compute::concat_batches,
        datatypes::TimestampMicrosecondType,
        error::ArrowError,
    },
    error::DataFusionError,
};
use futures::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use model::{ClockTolerance, Hour, Metric, Nanos, PatientId, Quality};
use std::{collections::VecDeque, pin::pin, sync::Arc};

/// Whose readings, and how they are seen.
pub(crate) struct Reader {
    pub patient: PatientId,
    /// Nanoseconds by which the subject's times are moved back.
    pub moved_by: i64,
    /// Nothing is shown of what is not over before it, by true time.
    pub ended_before: Nanos,
    /// Of these metrics alone; none: of all.
    pub metrics: Vec<&'static Metric>,
    pub taken_back: Arc<[TakenBack]>,
    pub tolerance: ClockTolerance,
}

/// An hour of a subject's readings.
pub(crate) struct SubjectHour {
    /// The archive's rows.
    pub(super) batch: RecordBatch,
    /// The same by column.
    pub(super) rows: Rows,
    pub(super) judgement: Judgement,
    /// Whether a row is shown.
    pub(super) shown: Vec<bool>,
    /// Nanoseconds by which its times are moved back.
    pub(super) moved_by: i64,
}

impl SubjectHour {
    /// Repeats that were left out, of what would be shown.
    pub(super) fn n_repeats(&self) -> u64 {
        // of false times nothing is told, not even how many there are
        let is_told = |quality: &&Quality| quality.has(Quality::REPEAT) && !quality.has_any(Quality::FALSE_TIME);
        self.judgement.quality.iter().filter(is_told).count() as u64
    }
}

impl Reader {
    /// Hands over each hour in which there are readings, in a range of true time.
    pub(super) async fn each(
        self,
        session: &Session,
        range: (Nanos, Nanos),
        mut each: impl FnMut(SubjectHour) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut hours = pin!(self.hours(session, range).await?);
        while let Some(hour) = hours.try_next().await? {
            each(hour)?;
        }
        Ok(())
    }

    /// The hours in which there are readings, in a range of true time.
    pub(crate) async fn hours(
        self,
        session: &Session,
        range: (Nanos, Nanos),
    ) -> Result<impl Stream<Item = Result<SubjectHour, Error>> + Send + use<>, Error> {
        let rows = session.rows(&query(self.patient, &self.metrics, range)).await?.boxed();
        let cut = Cut { rows, parts: VecDeque::new(), is_over: false };
        Ok(stream::try_unfold((cut, self), |(mut cut, reader)| async move {
            let Some(parts) = cut.hour().await? else { return Ok(None) };
            Ok(Some((reader.hour(parts.0, &parts.1)?, (cut, reader))))
        }))
    }

    fn hour(&self, hour: Hour, parts: &[RecordBatch]) -> Result<SubjectHour, Error> {
        let batch = concat_batches(&parts[0].schema(), parts).map_err(engine)?;
        let rows = Rows::of(&batch).map_err(engine)?;
        let judgement = judge(hour, &rows, self.tolerance, &self.taken_back);
        // false times are known to everybody: moved, they would tell by how much
        let is_shown = |row: usize| {
            !judgement.quality[row].has_any(Quality::REPEAT.with(Quality::FALSE_TIME))
                && rows.until(row).is_none_or(|until| until < self.ended_before)
        };
        let shown = (0..rows.len()).map(is_shown).collect();
        Ok(SubjectHour { batch, rows, judgement, shown, moved_by: self.moved_by })
    }
}

/// Rows in the order of time, cut into hours.
struct Cut {
    rows: BoxStream<'static, Result<RecordBatch, Error>>,
    parts: VecDeque<(Hour, RecordBatch)>,
    is_over: bool,
}

impl Cut {
    /// All parts of the next hour.
    async fn hour(&mut self) -> Result<Option<(Hour, Vec<RecordBatch>)>, Error> {
        loop {
            let ends = self.parts.front().zip(self.parts.back()).map(|(first, last)| (first.0, last.0));
            // the last hour of a batch may go on in the next one
            if let Some((hour, _)) = ends.filter(|(first, last)| self.is_over || first != last) {
                let n_parts = self.parts.iter().take_while(|(of, _)| *of == hour).count();
                return Ok(Some((hour, self.parts.drain(..n_parts).map(|(_, part)| part).collect())));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.rows.try_next().await? {
                Some(batch) => self.parts.extend(by_hour(&batch)?),
                None => self.is_over = true,
            }
        }
    }
}

pub(super) fn engine(error: ArrowError) -> Error {
    Error::Engine(Box::new(DataFusionError::from(error)))
}

/// The rows, which are in the order of time, cut where an hour ends.
fn by_hour(batch: &RecordBatch) -> Result<Vec<(Hour, RecordBatch)>, Error> {
    let at =
        batch.column_by_name("measured_at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let at = at.ok_or_else(|| engine(ArrowError::SchemaError("no measured_at".to_owned())))?;
    let hours: Vec<_> = at.values().iter().map(|at| Nanos(at.saturating_mul(1_000)).hour()).collect();
    let mut first = 0;
    let part = |same: &[Hour]| {
        first += same.len();
        (same[0], batch.slice(first - same.len(), same.len()))
    };
    Ok(hours.chunk_by(|a, b| a == b).map(part).collect())
}
