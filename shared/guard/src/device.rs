//! Whether a device may send readings: as itself, while it is registered.

use crate::ids;
use directory::{Assignment, Directory, NoDevice};
use model::{
    DeviceId, Nanos,
    access::{Denied, Principal, WritePermit, decide_write},
};
use proto::problem;
use tonic::Status;

/// Whether a principal may send readings as a device that is named before its message is read.
pub fn admitted(principal: &Principal, device_id: &str, directory: &Directory, now: Nanos) -> Result<(), Status> {
    let permit = permit(principal, device_id, now)?;
    assignments(directory, permit.device(), permit.issued_at()).map(drop)
}

/// Permission to send as the device of that id: the principal must be it.
pub fn permit(principal: &Principal, device_id: &str, now: Nanos) -> Result<WritePermit, Status> {
    let device: DeviceId = ids::id("device_id", device_id)?;
    decide_write(principal, device, now).map_err(|denied| match denied {
        Denied::NotItself => problem::status(
            tonic::Code::PermissionDenied,
            "WRONG_DEVICE",
            "device_id: a device may write only as itself; use the id that the token was issued for",
        ),
        denied => crate::errors::denied(denied),
    })
}

/// Whose the device's readings are, from when to when.
///
/// # Errors
/// PERMISSION_DENIED: the device is not registered, or was revoked.
pub fn assignments(directory: &Directory, device: DeviceId, issued_at: Nanos) -> Result<&[Assignment], Status> {
    directory.assignments(device, issued_at).map_err(|no_device| {
        let (reason, text) = match no_device {
            NoDevice::Unknown => ("UNKNOWN_DEVICE", "the device is not registered; register and assign it first"),
            NoDevice::Revoked => ("DEVICE_REVOKED", "the device's credentials were revoked; claim it with a new code"),
        };
        problem::status(tonic::Code::PermissionDenied, reason, format!("device_id: {text}"))
    })
}
