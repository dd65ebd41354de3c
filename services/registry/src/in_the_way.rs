//! Readings that an assignment cannot be corrected around: they are kept as its patient's, and stay so. And those that a
//! retraction keeps from being shown as a patient's whose they are not.

use crate::Registry;
use directory::Directory;
use guard::{convert, errors};
use model::{
    ClockTolerance, DeviceId, HourRange, Nanos, Permit, Quality, Range, Reach, Retraction, Sheet, SheetColumn,
};
use proto::problem;
use std::time::Duration;
use store::{HourEntry, Order};
use tonic::{Code, Status};
use uuid::Uuid;

/// How long the writer is waited for.
const WRITER_LIMIT: Duration = Duration::from_secs(5);
/// Most hours that are looked through: six weeks of a patient who is measured all the time.
const HOURS_MAX: usize = 1_000;

/// Id of a retraction in force, and what it is about.
pub(crate) type InForce = (Uuid, Retraction);

/// What a new retraction would change.
pub(crate) enum Effect {
    /// Readings would count no more, or it may be so.
    Something,
    /// It is about no reading, or about such alone as this one in force, or others, are about.
    Nothing {
        /// One of those in force.
        retracted_by: Option<Uuid>,
    },
}

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

    /// What a retraction would take back beside those in force. Where the writer is behind, what is acknowledged cannot be looked at,
    /// and may be something.
    ///
    /// # Errors
    /// UNAVAILABLE: log or store does not answer.
    pub(crate) async fn effect(
        &self,
        permit: &Permit,
        retraction: &Retraction,
        in_force: &[InForce],
    ) -> Result<Effect, Status> {
        if let Effect::Something = self.effect_on_written(permit, retraction, in_force).await? {
            return Ok(Effect::Something);
        }
        let written = self.readings.written.as_ref();
        match bus::catches_up(written, permit.patient(), WRITER_LIMIT).await.map_err(|error| errors::log(&error))? {
            true => self.effect_on_written(permit, retraction, in_force).await,
            false => Ok(Effect::Something),
        }
    }

    async fn effect_on_written(
        &self,
        permit: &Permit,
        retraction: &Retraction,
        in_force: &[InForce],
    ) -> Result<Effect, Status> {
        let timeline = &self.readings.timeline;
        let wanted = retraction.metrics.as_deref().unwrap_or_default();
        // a retraction has fewer hours than that
        let hours: HourRange = retraction.range.hours();
        let found = timeline.hours(permit, hours, Order::Descending, HOURS_MAX).await.map_err(errors::store)?;
        let directory = self.decisions.directory();
        let is_theirs = |device, span| directory.was_assigned_during(device, permit.patient(), span);
        let mut effect = Effect::Nothing { retracted_by: None };
        for entry in &found {
            let others: Vec<_> = in_force.iter().filter(|(_, one)| one.concerns(entry.hour, wanted)).collect();
            for data in timeline.read(permit, std::slice::from_ref(entry)).await.map_err(errors::store)? {
                let sheet = data.sheet(wanted).map_err(|error| errors::unreadable(&error))?;
                match effect_on(&sheet, retraction, &others, is_theirs) {
                    Effect::Something => return Ok(Effect::Something),
                    Effect::Nothing { retracted_by: None } => {}
                    retracted => effect = retracted,
                }
            }
        }
        Ok(effect)
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

/// What a retraction would take back of a sheet. Of readings that are retracted already it is those whose device was not the
/// patient's then, where each retraction of them is a wider one: such are retracted alone, so that the wider one can be ended
/// ([`Registry::refuse_before_others`]).
fn effect_on(
    sheet: &Sheet,
    retraction: &Retraction,
    in_force: &[&InForce],
    is_theirs: impl Fn(DeviceId, (Nanos, Nanos)) -> bool,
) -> Effect {
    let mut retracted_by = None;
    for SheetColumn { lines, batch } in &sheet.columns {
        for (line, (at, batch)) in lines.measured_at.iter().zip(batch).enumerate() {
            let batch = &sheet.batches[*batch as usize];
            let is_about = |one: &Retraction| one.is_about_one(lines.metric, batch, *at);
            if !is_about(retraction) {
                continue;
            }
            let already = || in_force.iter().filter(|(_, one)| is_about(one));
            let Some((id, _)) = already().next() else { return Effect::Something };
            if already().all(|(_, one)| one.covers(retraction) && !retraction.covers(one))
                && !is_theirs(batch.identity.device, (*at, lines.end(line)))
            {
                return Effect::Something;
            }
            retracted_by = Some(*id);
        }
    }
    Effect::Nothing { retracted_by }
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
