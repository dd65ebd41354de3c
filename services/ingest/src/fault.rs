//! Why a reading is refused.

/// Field (empty: the reading as a whole), reason, description.
pub(crate) struct Fault(pub(crate) &'static str, pub(crate) &'static str, pub(crate) String);

impl Fault {
    pub(crate) fn new(field: &'static str, reason: &'static str, description: impl Into<String>) -> Self {
        Self(field, reason, description.into())
    }
}
