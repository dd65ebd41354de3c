//! Devices, and whose readings they send.

use super::State;
use crate::{
    links::Span,
    registry::{Assignment, Device, DeviceStatus, Entry, Refused},
};
use model::{DeviceId, Nanos, PatientId};
use std::collections::BTreeSet;
use uuid::Uuid;

impl State {
    /// The assignments of a patient's that hold at an instant or later, by their ids.
    pub fn open_assignments(&self, patient: PatientId, at: Nanos) -> BTreeSet<Uuid> {
        let own = self.assignments.values().map(|kept| &kept.value).filter(|one| one.patient == patient.uuid());
        own.filter(|one| one.from < one.to && at.0 < one.to).map(|one| one.id).collect()
    }

    /// Ends the assignments of a patient id that is nobody's now. One that has not begun never holds: it ends where it begins.
    pub(super) fn end_assignments(&mut self, patient: PatientId, entry: &Entry) {
        for id in self.open_assignments(patient, entry.at()) {
            let Some(before) = self.assignments.get(&id).map(|kept| kept.value.clone()) else { continue };
            self.take_out(&before);
            let ended = Assignment { to: before.from.max(entry.at().0), ..before };
            if let Some(span) = Span::new(ended.from, ended.to) {
                self.links.assign(DeviceId::new(ended.device), patient, span);
            }
            let kept = self.kept(self.assignments.get(&id), ended, entry);
            self.assignments.insert(id, kept);
        }
    }

    /// Takes an assignment out of what is in force, if it is; what it was there.
    fn take_out(&mut self, assignment: &Assignment) -> Option<crate::Assignment> {
        let span = Span::new(assignment.from, assignment.to)?;
        let held = self.links.assignments.get_mut(&DeviceId::new(assignment.device))?;
        let place = held.iter().position(|one| one.span() == span)?;
        Some(held.remove(place))
    }

    pub(super) fn apply_device(&mut self, device: &Device, entry: &Entry) -> Result<(), Refused> {
        if let Some(mac) = &device.mac
            && self.macs.get(mac).is_some_and(|holder| *holder != device.id)
        {
            return Err(Refused::new("MAC_TAKEN", "mac", "another device has this MAC address; retire that one first"));
        }
        // that of a retired one may be another's by now
        if let Some(mac) = self.devices.get(&device.id).and_then(|kept| kept.value.mac.as_ref())
            && self.macs.get(mac) == Some(&device.id)
        {
            self.macs.remove(mac);
        }
        if let Some(mac) = device.mac.as_ref().filter(|_| device.status != DeviceStatus::Retired) {
            self.macs.insert(mac.clone(), device.id);
        }
        let id = DeviceId::new(device.id);
        let sends = device.status == DeviceStatus::Active;
        self.links.devices.insert(id, sends.then_some(Nanos(device.credentials_from)));
        self.devices.insert(device.id, self.kept(self.devices.get(&device.id), device.clone(), entry));
        Ok(())
    }

    pub(super) fn apply_assignment(&mut self, assignment: &Assignment, entry: &Entry) -> Result<(), Refused> {
        let Some(span) = Span::new(assignment.from, assignment.to) else {
            return Err(Refused::new("TIMES_REVERSED", "end_time", "must lie after `start_time`"));
        };
        let device = DeviceId::new(assignment.device);
        if !self.links.devices.contains_key(&device) {
            return Err(Refused::new("NO_SUCH_DEVICE", "device_id", "no device has this id; register it first"));
        }
        let before = self.assignments.get(&assignment.id).map(|kept| kept.value.clone());
        let taken = before.as_ref().and_then(|before| self.take_out(before));
        if !self.links.assign(device, PatientId::new(assignment.patient), span) {
            if let Some((before, taken)) = before.zip(taken) {
                self.links.assign(DeviceId::new(before.device), taken.patient, taken.span());
            }
            return Err(overlapping());
        }
        let kept = self.kept(self.assignments.get(&assignment.id), assignment.clone(), entry);
        self.assignments.insert(assignment.id, kept);
        Ok(())
    }
}

fn overlapping() -> Refused {
    let text = "the device is assigned already in that time; end that assignment first";
    Refused::new("ASSIGNMENT_OVERLAPS", "start_time", text)
}
