//! Readings that an assignment cannot be corrected around: they are kept as its patient's, and stay so.

use crate::Registry;
use guard::{convert, errors};
use model::{DeviceId, HourRange, Nanos, Permit, Range, SheetColumn};
use proto::problem;
use store::{HourEntry, Order};
use tonic::{Code, Status};

/// Most hours that are looked through: six weeks of a patient who is measured all the time.
const HOURS_MAX: usize = 1_000;

impl Registry {
    /// Refuses to end an assignment before readings that are kept as its patient's: those would still be shown as the patient's,
    /// although they were of somebody else, or of nobody. Those of the last seconds, acknowledged and not yet written, are not seen.
    ///
    /// # Errors
    /// FAILED_PRECONDITION: readings of the device are kept for the patient in that range; the last of them is named. UNAVAILABLE:
    /// the store does not answer.
    pub(crate) async fn refuse_before_readings(
        &self,
        permit: &Permit,
        device: DeviceId,
        range: Range,
    ) -> Result<(), Status> {
        let hours: HourRange = range.hours();
        let found = self.timeline.hours(permit, hours, Order::Descending, HOURS_MAX).await.map_err(errors::store)?;
        for entry in &found {
            if let Some(last) = self.last_of(permit, device, range, entry).await? {
                let text = format!(
                    "readings of the device are kept as the patient's up to {}: end it after that, and retract what is of \
                     somebody else (CreateRetraction)",
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

    /// When the last reading of a device in a range and an hour was measured.
    async fn last_of(
        &self,
        permit: &Permit,
        device: DeviceId,
        range: Range,
        entry: &HourEntry,
    ) -> Result<Option<Nanos>, Status> {
        let mut last = None;
        for data in self.timeline.read(permit, std::slice::from_ref(entry)).await.map_err(errors::store)? {
            let sheet = data.sheet(&[]).map_err(|error| errors::unreadable(&error))?;
            let of_device = |column: &SheetColumn| {
                let lines = column.lines.measured_at.iter().zip(&column.batch);
                let is_meant = |(at, batch): &(&Nanos, &u32)| {
                    range.contains(**at) && sheet.batches[**batch as usize].identity.device == device
                };
                lines.filter(is_meant).map(|(at, _)| *at).max()
            };
            last = last.max(sheet.columns.iter().filter_map(of_device).max());
        }
        Ok(last)
    }
}
