//! A change that is being made: judged and applied once, to a copy, which takes the place of the state when it is stored.

use super::{Change, Entry, Refused, State, floor, new_relations, spent};
use model::{Nanos, access::Subject};

/// The next entry, and what the registry will amount to with it.
pub struct Draft {
    state: State,
    entry: Entry,
}

impl State {
    /// The next entry, still without a change; `by` nobody: the system's.
    pub fn draft(&self, at: Nanos, by: Option<Subject>) -> Draft {
        let mut state = self.clone();
        state.sequence += 1;
        Draft { state, entry: Entry::new(at, by, vec![]) }
    }
}

impl Draft {
    /// Adds changes, all or none. Each is judged against those before it; what changes nothing is judged, and left out.
    ///
    /// # Errors
    /// What is against the first one that does not fit.
    pub fn add(&mut self, changes: impl IntoIterator<Item = Change>) -> Result<(), Refused> {
        // copies share what is the same
        let mut state = self.state.clone();
        let mut added = Vec::new();
        for change in changes {
            floor::check(&change)?;
            spent::check(&state, &change)?;
            new_relations::check(&state, &change, self.at())?;
            if state.is_so(&change) {
                state.clone().apply(&change, &self.entry)?;
            } else {
                state.apply(&change, &self.entry)?;
                added.push(change);
            }
        }
        self.state = state;
        self.entry.changes.append(&mut added);
        Ok(())
    }

    /// What the registry amounts to with all that was added.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was added, in its order.
    pub fn changes(&self) -> &[Change] {
        &self.entry.changes
    }

    /// When the change is made, by our clock.
    pub fn at(&self) -> Nanos {
        self.entry.at()
    }

    /// Under which number it is to be stored, its bytes, and the state to go on with once they are.
    pub fn finish(self) -> (u64, Vec<u8>, State) {
        (self.state.sequence, self.entry.encode(), self.state)
    }
}
