//! What happened: who wanted to do what, to whose data, what for, and what came of it.

use crate::{
    access::{Action, Denied, Principal, Purpose, Subject},
    bytes::{Malformed, Reader, put_signed, put_text},
    id::{DeviceId, PatientId, UserId},
    time::Nanos,
};
use std::ops::Deref;

/// The most bytes of an action's name or of a reason.
pub const MAX_NAME: usize = 64;
/// The most bytes of a detail.
pub const MAX_DETAIL: usize = 512;

/// A short name, such as `readings.timeline`.
pub type Name = Text<MAX_NAME>;
/// A line about an event, without patient data.
pub type Detail = Text<MAX_DETAIL>;

/// A text of at most `MAX` bytes; what is longer is cut between two characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Text<const MAX: usize>(Box<str>);

impl<const MAX: usize> From<&str> for Text<MAX> {
    fn from(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(MAX)].into())
    }
}

impl<const MAX: usize> From<String> for Text<MAX> {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Whom an event is about, and how far that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    /// It was proven, by a token, a certificate or a code.
    Proven(Subject),
    /// The caller said so, and proved nothing: anybody can write anybody's name here.
    Claimed(Subject),
}

impl Who {
    /// Who it is, if that was proven.
    pub fn proven(self) -> Option<Subject> {
        match self {
            Self::Proven(subject) => Some(subject),
            Self::Claimed(_) => None,
        }
    }

    /// Its number in an entry, and the id after it.
    fn code(&self) -> (u8, &[u8; 16]) {
        match self {
            Self::Proven(Subject::User(user)) => (1, user.as_bytes()),
            Self::Proven(Subject::Device(device)) => (2, device.as_bytes()),
            Self::Claimed(Subject::User(user)) => (3, user.as_bytes()),
            Self::Claimed(Subject::Device(device)) => (4, device.as_bytes()),
        }
    }
}

/// Something that somebody did or was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, by our clock.
    pub at: Nanos,
    /// Who; `None` when the caller named nobody, or nobody we know.
    pub subject: Option<Who>,
    /// Whose data; `None` when it is nobody's.
    pub patient: Option<PatientId>,
    /// Name of the action, such as `readings.timeline`.
    pub action: Name,
    /// What the relation serves that opened it; without one, what the caller named or is there for.
    pub purpose: Purpose,
    /// Whether the action was permitted, or why not.
    pub outcome: Outcome,
    /// More about it. The caller promises that it has no patient data.
    pub detail: Detail,
    /// The request, as in the logs: a UUID's bytes.
    pub request: [u8; 16],
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The request was permitted.
    Allowed,
    /// It was refused, with the reason's code.
    Denied(Name),
}

impl Event {
    /// What was decided, about a patient or nobody; there is no detail. `request`: a UUID's bytes.
    pub fn of(
        principal: &Principal,
        action: Action,
        patient: Option<PatientId>,
        decided: Result<(), Denied>,
        at: Nanos,
        request: [u8; 16],
    ) -> Self {
        Self {
            at,
            subject: Some(Who::Proven(principal.subject)),
            patient,
            action: action.name().into(),
            purpose: principal.purpose_of(action),
            outcome: decided.map_or_else(|denied| Outcome::Denied(denied.code().into()), |()| Outcome::Allowed),
            detail: Detail::default(),
            request,
        }
    }

    /// Appends the event's encoding to `out`.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_signed(out, self.at.0);
        let (tag, id) = self.subject.as_ref().map(Who::code).unzip();
        put_tagged(out, tag.unwrap_or(0), id);
        put_tagged(out, u8::from(self.patient.is_some()), self.patient.as_ref().map(PatientId::as_bytes));
        put_text(out, &self.action);
        out.push(purpose_code(self.purpose));
        match &self.outcome {
            Outcome::Allowed => out.push(0),
            Outcome::Denied(reason) => {
                out.push(1);
                put_text(out, reason);
            }
        }
        put_text(out, &self.detail);
        out.extend_from_slice(&self.request);
    }

    /// Reads an event back.
    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            at: Nanos(input.signed()?),
            subject: match input.byte()? {
                0 => None,
                1 => Some(Who::Proven(Subject::User(UserId::from_bytes(input.array()?)))),
                2 => Some(Who::Proven(Subject::Device(DeviceId::from_bytes(input.array()?)))),
                3 => Some(Who::Claimed(Subject::User(UserId::from_bytes(input.array()?)))),
                4 => Some(Who::Claimed(Subject::Device(DeviceId::from_bytes(input.array()?)))),
                _ => return Err(input.malformed("nobody, a user or a device, proven or claimed")),
            },
            patient: match input.byte()? {
                0 => None,
                1 => Some(PatientId::from_bytes(input.array()?)),
                _ => return Err(input.malformed("a patient or none")),
            },
            action: text(input)?,
            purpose: purpose(input)?,
            outcome: match input.byte()? {
                0 => Outcome::Allowed,
                1 => Outcome::Denied(text(input)?),
                _ => return Err(input.malformed("allowed or denied")),
            },
            detail: text(input)?,
            request: input.array()?,
        })
    }
}

fn put_tagged(out: &mut Vec<u8>, tag: u8, id: Option<&[u8; 16]>) {
    out.push(tag);
    out.extend(id.into_iter().flatten());
}

fn text<const MAX: usize>(input: &mut Reader<'_>) -> Result<Text<MAX>, Malformed> {
    let text = input.text()?;
    if text.len() > MAX {
        return Err(input.malformed("a text within its bound"));
    }
    Ok(text.into())
}

fn purpose_code(purpose: Purpose) -> u8 {
    // every purpose is in the list, which is short; new ones come at its end, as these bytes stay for years
    Purpose::ALL.iter().position(|one| *one == purpose).unwrap_or_default() as u8
}

fn purpose(input: &mut Reader<'_>) -> Result<Purpose, Malformed> {
    let code = input.byte()?;
    Purpose::ALL.get(usize::from(code)).copied().ok_or_else(|| input.malformed("a purpose"))
}
