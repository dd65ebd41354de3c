//! What a call costs: which limit of rate it counts against.

use super::Settings;
use crate::methods::Foreign;
use proto::rpc::{self, Quota};

/// What a call costs, and so which limit it counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Health and reflection, which anybody may ask: of an address.
    Probe,
    /// Claims and refreshes, which need no token, and leave an entry in the audit log: of an address.
    Claim,
    /// Something is shown, and that is written into the audit log.
    Read,
    /// Something is changed for good.
    Write,
    /// A device's calls about itself: each may be a change, and no device has reason for many.
    Device,
    /// A batch of readings, or a stream that is opened.
    Batch,
}

impl Class {
    /// Its setting, and how many calls a second that is; 0: no limit.
    pub(super) fn limit(self, settings: &Settings) -> (&'static str, u64) {
        match self {
            Self::Probe => ("quotas.probes_a_second", settings.probes_a_second),
            Self::Claim => ("quotas.claims_a_second", settings.claims_a_second),
            Self::Read => ("quotas.reads_a_second", settings.reads_a_second),
            Self::Write => ("quotas.writes_a_second", settings.writes_a_second),
            Self::Device => ("quotas.device_calls_a_second", settings.device_calls_a_second),
            Self::Batch => ("quotas.batches_a_second", settings.batches_a_second),
        }
    }
}

/// The class of the rpc at a path (`/package.Service/Rpc`); `None`: there is no such rpc.
pub fn class(path: &str) -> Option<Class> {
    if Foreign::find(path).is_some() {
        return Some(Class::Probe);
    }
    match rpc::find(path)?.quota {
        Quota::Claims => Some(Class::Claim),
        Quota::Reads => Some(Class::Read),
        Quota::Writes => Some(Class::Write),
        Quota::DeviceCalls => Some(Class::Device),
        Quota::Batches => Some(Class::Batch),
        Quota::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_a_class() {
        assert!(rpc::all().iter().all(|rpc| class(&rpc.path).is_some()));
        assert_eq!(class("/grpc.health.v1.Health/Check"), Some(Class::Probe));
        assert_eq!(class("/wardline.registry.v1.EnrolmentService/ClaimDevice"), Some(Class::Claim));
        assert_eq!(class("/wardline.registry.v1.RegistryService/NoSuchRpc"), None);
        assert_eq!(class(""), None);
    }
}
