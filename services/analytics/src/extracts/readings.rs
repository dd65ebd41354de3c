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
use model::{ClockTolerance, Hour, Metric, Nanos, PatientId, Quality};

/// Whose readings, and how they are seen.
pub(super) struct Reader<'a> {
    pub patient: PatientId,
    /// Nanoseconds by which the subject's times are moved back.
    pub moved_by: i64,
    /// Nothing is shown of what is not over before it, by true time.
    pub ended_before: Nanos,
    pub metrics: &'a [&'static Metric],
    pub taken_back: &'a [TakenBack],
    pub tolerance: ClockTolerance,
}

/// An hour of a subject's readings.
pub(super) struct SubjectHour {
    /// The archive's rows.
    pub batch: RecordBatch,
    /// The same by column.
    pub rows: Rows,
    pub judgement: Judgement,
    /// Whether a row is shown.
    pub shown: Vec<bool>,
    /// Nanoseconds by which its times are moved back.
    pub moved_by: i64,
}

impl SubjectHour {
    /// Repeats that were left out, of what would be shown.
    pub(super) fn n_repeats(&self) -> u64 {
        // of false times nothing is told, not even how many there are
        let is_told = |quality: &&Quality| quality.has(Quality::REPEAT) && !quality.has_any(Quality::FALSE_TIME);
        self.judgement.quality.iter().filter(is_told).count() as u64
    }
}

impl Reader<'_> {
    /// Hands over each hour in which there are readings, in a range of true time.
    pub(super) async fn each(
        &self,
        session: &Session,
        range: (Nanos, Nanos),
        mut each: impl FnMut(SubjectHour) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut now, mut waiting) = (None, Vec::new());
        let sql = query(self.patient, self.metrics, range);
        session
            .select(&sql, |batch| {
                for (hour, part) in by_hour(batch)? {
                    if let Some(ended) = now.replace(hour).filter(|before| *before != hour) {
                        each(self.hour(ended, &std::mem::take(&mut waiting))?)?;
                    }
                    waiting.push(part);
                }
                Ok::<_, Error>(())
            })
            .await?;
        now.map_or(Ok(()), |last| each(self.hour(last, &waiting)?))
    }

    fn hour(&self, hour: Hour, parts: &[RecordBatch]) -> Result<SubjectHour, Error> {
        let batch = concat_batches(&parts[0].schema(), parts).map_err(engine)?;
        let rows = Rows::of(&batch).map_err(engine)?;
        let judgement = judge(hour, &rows, self.tolerance, self.taken_back);
        // false times are known to everybody: moved, they would tell by how much
        let is_shown = |row: usize| {
            !judgement.quality[row].has_any(Quality::REPEAT.with(Quality::FALSE_TIME))
                && rows.until(row).is_none_or(|until| until < self.ended_before)
        };
        let shown = (0..rows.len()).map(is_shown).collect();
        Ok(SubjectHour { batch, rows, judgement, shown, moved_by: self.moved_by })
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
