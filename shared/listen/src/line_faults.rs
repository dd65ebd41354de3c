//! What was found in the lines of a connection, and what that is to a caller.

use super::fault::Fault;
use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

pub(super) const BARE_LINE_FEED: u8 = 1;
pub(super) const TWO_LENGTHS: u8 = 2;
pub(super) const MALFORMED: u8 = 4;
pub(super) const CUT: u8 = 8;
pub(super) const BAD_LENGTH: u8 = 16;

/// What was found on a connection; shared with who answers its requests.
#[derive(Clone, Default)]
pub(crate) struct LineFaults(Arc<AtomicU8>);

impl LineFaults {
    /// Why no further request of this connection is served.
    pub(crate) fn fault(&self) -> Option<Fault> {
        let faults = [
            (MALFORMED, Fault::Malformed),
            (BARE_LINE_FEED, Fault::BareLineFeed),
            (BAD_LENGTH, Fault::BadLength),
            (TWO_LENGTHS, Fault::TwoLengths),
        ];
        faults.into_iter().find(|(bit, _)| self.has(*bit)).map(|(_, fault)| fault)
    }

    /// Whether a head was so long that a part of it was left out.
    pub(crate) fn is_cut(&self) -> bool {
        self.has(CUT)
    }

    pub(super) fn has(&self, bit: u8) -> bool {
        self.0.load(Ordering::Acquire) & bit != 0
    }

    pub(super) fn add(&self, bit: u8) {
        self.0.fetch_or(bit, Ordering::AcqRel);
    }
}
