//! Readings that an assignment cannot be corrected around: they are kept as its patient's, and stay so. And those that a
//! retraction keeps from being shown as a patient's whose they are not.

use crate::{Readings, Registry};
use directory::Directory;
use guard::{convert, errors};
use model::{
    ClockTolerance, DeviceId, HourRange, Nanos, Permit, Quality, Range, Reach, Retraction, Sheet, SheetColumn,
};
use proto::problem;
use std::time::Duration;
use store::{HourEntry, Order};
use tonic::{Code, Status};

/// How long the writer is waited for.
const WRITER_LIMIT: Duration = Duration::from_secs(5);
/// Most hours that are looked through: six weeks of a patient who is measured all the time.
const HOURS_MAX: usize = 1_000;

impl Registry {
    /// Refuses to end an assignment before readings that are kept as its patient's: those would still be shown as the patient's,
    /// although they were of somebody else, or of nobody. Nor in the middle of one that lasts. Not before those that count no more:
    /// taken back, retracted, or measured far ahead of their receipt. Readings that are acknowledged and not yet written are waited
    /// for.
    ///
    /// # Errors
    /// FAILED_PRECONDITION: readings of the device are kept for the patient in that range, or reach into it; the last of them is named.
    /// UNAVAILABLE: log or store does not answer, or the writer is behind.
    pub(crate) async fn refuse_before_readings(
        &self,
        permit: &Permit,
        device: DeviceId,
        range: Range,
    ) -> Result<(), Status> {
        self.all_written(permit, "at").await?;
        let hours: HourRange = range.hours();
        let found =
            self.readings.timeline.hours(permit, hours, Order::Descending, HOURS_MAX).await.map_err(errors::store)?;
        let directory = self.decisions.directory();
        let retractions = directory.retractions(permit.patient());
        let begun_before = self.reaching_into(permit, hours).await?;
        for entry in found.iter().chain(&begun_before) {
            if let Some(last) = self.last_of(permit, (device, range), entry, retractions).await? {
                let text = format!(
                    "readings of the device are kept as the patient's up to {}: end it after that, or retract what is of \
                     somebody else (CreateRetraction, of the time of its beginning) and try again",
                    convert::timestamp(last)
                );
                return Err(problem::status(Code::FailedPrecondition, "READINGS_IN_THE_WAY", format!("at: {text}")));
            }
        }
        match found.len() < HOURS_MAX {
            true => Ok(()),
            false => {
                let text =
                    format!("at: lies before more than {HOURS_MAX} hours of readings, which are not looked through");
                Err(problem::status(Code::FailedPrecondition, "TOO_FAR_BACK", text))
            }
        }
    }

    /// Refuses to end a retraction of readings whose device was not the patient's while they were measured: it was made for them,
    /// and they would be shown as the patient's again. Not where another retraction is about them, too.
    ///
    /// # Errors
    /// FAILED_PRECONDITION: there are such readings; the last of them is named. UNAVAILABLE: as above.
    pub(crate) async fn refuse_before_others(
        &self,
        permit: &Permit,
        directory: &Directory,
        ending: &Retraction,
    ) -> Result<(), Status> {
        self.all_written(permit, "retraction_id").await?;
        // a retraction has fewer hours than that
        let hours: HourRange = ending.range.hours();
        let found =
            self.readings.timeline.hours(permit, hours, Order::Descending, HOURS_MAX).await.map_err(errors::store)?;
        let mut others = directory.retractions(permit.patient()).to_vec();
        if let Some(place) = others.iter().position(|one| one == ending) {
            others.remove(place);
        }
        let is_theirs = |device, span| directory.was_assigned_during(device, permit.patient(), span);
        for entry in &found {
            let sheets = self.counting(permit, entry, &others).await?.into_iter();
            if let Some((at, device)) = sheets.filter_map(|sheet| last_of_others(sheet, ending, is_theirs)).max() {
                let text = format!(
                    "readings of the device {} up to {} would count as the patient's again, and the device was not the \
                     patient's for all of that time: leave it, or retract those alone first (CreateRetraction) and try again",
                    device.uuid(),
                    convert::timestamp(at)
                );
                return Err(problem::field(Code::FailedPrecondition, "READINGS_IN_THE_WAY", "retraction_id", &text));
            }
        }
        Ok(())
    }

    /// Whether a retraction is about any reading that was received after an instant, or perhaps is: where the writer is behind, what
    /// is acknowledged cannot be looked at.
    ///
    /// # Errors
    /// UNAVAILABLE: log or store does not answer.
    pub(crate) async fn is_about_later(
        &self,
        permit: &Permit,
        retraction: &Retraction,
        since: Nanos,
    ) -> Result<bool, Status> {
        self.any_of(permit, retraction, |sheet| is_about_later(&sheet, retraction, since)).await
    }

    /// The same, or whether it is about any whose device was not the patient's then: such are retracted alone, so that one of more
    /// can be ended ([`Self::refuse_before_others`]).
    ///
    /// # Errors
    /// As [`Self::is_about_later`].
    pub(crate) async fn is_about_later_or_others(
        &self,
        permit: &Permit,
        retraction: &Retraction,
        since: Nanos,
    ) -> Result<bool, Status> {
        let directory = self.decisions.directory();
        let is_theirs = |device, span| directory.was_assigned_during(device, permit.patient(), span);
        let is_it = |sheet: Sheet| {
            is_about_later(&sheet, retraction, since) || last_of_others(sheet, retraction, is_theirs).is_some()
        };
        self.any_of(permit, retraction, is_it).await
    }

    /// Whether any hour of a retraction's range is as `is_it` says, or may be.
    async fn any_of(
        &self,
        permit: &Permit,
        retraction: &Retraction,
        is_it: impl Fn(Sheet) -> bool,
    ) -> Result<bool, Status> {
        let Readings { written, timeline, .. } = &self.readings;
        if !bus::catches_up(&**written, permit.patient(), WRITER_LIMIT).await.map_err(|error| errors::log(&error))? {
            return Ok(true);
        }
        let wanted = retraction.metrics.as_deref().unwrap_or_default();
        // a retraction has fewer hours than that
        let hours: HourRange = retraction.range.hours();
        let found = timeline.hours(permit, hours, Order::Descending, HOURS_MAX).await.map_err(errors::store)?;
        for entry in &found {
            for data in timeline.read(permit, std::slice::from_ref(entry)).await.map_err(errors::store)? {
                let sheet = data.sheet(wanted).map_err(|error| errors::unreadable(&error))?;
                if is_it(sheet) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Waits until all that is acknowledged of a patient is in the timeline; what for is said of a field.
    async fn all_written(&self, permit: &Permit, field: &str) -> Result<(), Status> {
        let written = self.readings.written.as_ref();
        match bus::catches_up(written, permit.patient(), WRITER_LIMIT).await.map_err(|error| errors::log(&error))? {
            true => Ok(()),
            false => {
                let text = format!(
                    "{field}: there may be acknowledged readings that the writer has not written yet, and they may be in \
                     the way: try again"
                );
                Err(problem::unavailable("READINGS_NOT_WRITTEN", &text, WRITER_LIMIT))
            }
        }
    }

    /// The hours before others in which something has begun that reaches into them, the last one first.
    async fn reaching_into(&self, permit: &Permit, hours: HourRange) -> Result<Vec<HourEntry>, Status> {
        let before = Reach::before(hours.first);
        // a week has fewer hours than that
        let found = self.readings.timeline.hours(permit, before, Order::Descending, HOURS_MAX).await;
        let mut found = found.map_err(errors::store)?;
        found.retain(|entry| entry.reach.reaches(entry.hour, hours.first));
        Ok(found)
    }

    /// When the last reading of a device was over that has a part in a range, has begun in an hour, and counts.
    async fn last_of(
        &self,
        permit: &Permit,
        (device, range): (DeviceId, Range),
        entry: &HourEntry,
        retractions: &[Retraction],
    ) -> Result<Option<Nanos>, Status> {
        let mut last = None;
        for sheet in self.counting(permit, entry, retractions).await? {
            let of_device = |column: &SheetColumn| {
                let is_meant = |line: &usize| {
                    let batch = &sheet.batches[column.batch[*line] as usize];
                    batch.identity.device == device && column.lines.overlaps(*line, range)
                };
                (0..column.batch.len()).filter(is_meant).map(|line| column.lines.end(line)).max()
            };
            last = last.max(sheet.columns.iter().filter_map(of_device).max());
        }
        Ok(last)
    }

    /// The readings of an hour that count: not taken back, not retracted, and not measured far ahead of their receipt.
    async fn counting(
        &self,
        permit: &Permit,
        entry: &HourEntry,
        retractions: &[Retraction],
    ) -> Result<Vec<Sheet>, Status> {
        let found = self.readings.timeline.read(permit, std::slice::from_ref(entry)).await.map_err(errors::store)?;
        let mut sheets = Vec::with_capacity(found.len());
        for data in found {
            let mut sheet = data.sheet(&[]).map_err(|error| errors::unreadable(&error))?;
            ClockTolerance::EVERYTHING.mark(&mut sheet);
            retractions.iter().for_each(|retraction| retraction.mark(&mut sheet));
            sheet.leave_out(Quality::ENTERED_IN_ERROR.with(Quality::FUTURE));
            sheets.push(sheet);
        }
        Ok(sheets)
    }
}

/// Whether a retraction is about any reading of a sheet that was received after an instant.
fn is_about_later(sheet: &Sheet, retraction: &Retraction, since: Nanos) -> bool {
    sheet.columns.iter().any(|SheetColumn { lines, batch }| {
        lines.measured_at.iter().zip(batch).any(|(at, batch)| {
            let batch = &sheet.batches[*batch as usize];
            batch.received_at > since && retraction.is_about_one(lines.metric, batch, *at)
        })
    })
}

/// The last reading that a retraction is about and whose device was not the patient's for all of it: when it was over, and the
/// device.
fn last_of_others(
    mut sheet: Sheet,
    ending: &Retraction,
    is_theirs: impl Fn(DeviceId, (Nanos, Nanos)) -> bool,
) -> Option<(Nanos, DeviceId)> {
    ending.mark(&mut sheet);
    let of_others = |column: &SheetColumn| {
        let is_about = |line: &usize| column.lines.quality[*line].has(Quality::ENTERED_IN_ERROR);
        let device = |line: usize| sheet.batches[column.batch[line] as usize].identity.device;
        let span = |line: usize| (column.lines.measured_at[line], column.lines.end(line));
        let others = (0..column.batch.len()).filter(is_about).filter(|line| !is_theirs(device(*line), span(*line)));
        others.map(|line| (span(line).1, device(line))).max()
    };
    sheet.columns.iter().filter_map(of_others).max()
}
