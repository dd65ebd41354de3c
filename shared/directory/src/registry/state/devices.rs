//! Devices, and whose readings they send.

use super::State;
use crate::{
    links::Span,
    registry::{Assignment, Device, DeviceStatus, Entry, Refused},
};
use model::{DeviceId, Nanos, PatientId};

impl State {
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
        if let Some(before) = self.assignments.get(&assignment.id).map(|kept| &kept.value) {
            let before = Span::new(before.from, before.to);
            let held = self.links.assignments.entry(device).or_default();
            if let Some(place) = held.iter().position(|one| Some(one.span()) == before) {
                let taken = held.remove(place);
                if !self.links.assign(device, PatientId::new(assignment.patient), span) {
                    self.links.assign(device, taken.patient, taken.span());
                    return Err(overlapping());
                }
            }
        } else if !self.links.assign(device, PatientId::new(assignment.patient), span) {
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
