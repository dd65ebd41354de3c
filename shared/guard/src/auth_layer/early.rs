//! What no message can make permitted, refused before a byte of it is read.
//!
//! Which action an rpc needs is known from its path, and what a person's roles grant from the token. The patient is mostly in the
//! message: where that is small and all that is read, the service decides, and its entry in the audit log names the
//! patient. Here it is decided for requests with a body of the JSON port (its path is known: [`Named`]), for imports, and for
//! what devices send. The status is the one that the service would give, and the refusal is in the audit log once.

use super::{AuthLayer, Logins};
use crate::{RequestId, access, clock, device};
use model::{
    PatientId,
    access::{Action, Principal, decide_any},
    audit::Event,
};
use proto::problem;
use tonic::{Status, body::Body, codegen::http};

/// What the path of the JSON port names, with a request that has a body.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// The patient that the path names.
    pub patient: Option<PatientId>,
    /// The device that writes readings.
    pub device: Option<String>,
    /// What else it names, as the audit log has it: an id, or `role` and a role's.
    pub thing: Option<String>,
}

/// A refusal, and what is written down of it.
pub(super) struct Refused {
    status: Status,
    event: Option<Event>,
}

impl AuthLayer {
    /// Why a request cannot be permitted, whatever its message says.
    pub(super) fn refused_early(&self, request: &http::Request<Body>) -> Option<Refused> {
        let path = request.uri().path();
        let (actions, named) = (access::actions(path), request.extensions().get::<Named>());
        let principal = request.extensions().get::<Principal>()?;
        let rpc = path.rsplit('/').next().unwrap_or_default();
        if named.is_none() && actions != [Action::SendReadings] && !rpc.starts_with("Import") {
            return None;
        }
        let (directory, now) = (self.directory.get(), clock::now());
        if let Some(named) = named.and_then(|named| named.device.as_deref()) {
            let refused = device::admitted(principal, named, &directory, now).err();
            return refused.map(|status| Refused { status, event: None });
        }
        let first = *actions.first()?;
        if actions.iter().any(|action| decide_any(principal, *action, now).is_ok()) {
            return None;
        }
        let denied = decide_any(principal, first, now).err()?;
        let patient = named.and_then(|named| named.patient);
        let status = match patient {
            Some(patient) => {
                crate::errors::refused(principal, first, &directory.facts(principal, patient), denied, now)
            }
            None => crate::errors::denied(denied),
        };
        // what devices send is in no audit log
        let detail = || match named.and_then(|named| named.thing.as_ref()) {
            Some(thing) => format!("{rpc} {thing}"),
            None => rpc.to_owned(),
        };
        let event = (first != Action::SendReadings).then(|| Event {
            detail: detail().into(),
            ..Event::of(principal, first, patient, Err(denied), now, RequestId::current().into_bytes())
        });
        Some(Refused { status, event })
    }
}

impl Refused {
    /// The answer, once it is written down.
    pub(super) async fn answered(self, logins: Option<Logins>) -> Status {
        match (self.event, logins) {
            (Some(event), Some(logins)) => {
                logins.wrote(event).await.err().map_or(self.status, |_| problem::unaudited())
            }
            _ => self.status,
        }
    }
}
