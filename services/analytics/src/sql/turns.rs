//! How many statements run at once: so many in all, and of one caller half of them. The others wait.

use model::access::Subject;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of all callers. Clones are the same.
#[derive(Clone)]
pub struct Turns {
    all: Arc<Semaphore>,
    of_caller: usize,
    callers: Arc<Mutex<HashMap<Subject, Weak<Semaphore>>>>,
}

/// The right to run, until it is dropped.
pub(super) struct Turn {
    _of_caller: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Turns {
    /// So many at once, at least one.
    pub fn new(at_once: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(at_once)), of_caller: at_once.div_ceil(2), callers: Arc::default() }
    }

    /// The caller's next turn. First come, first served: of the caller, and then of all.
    pub(super) async fn next(&self, caller: Subject) -> Option<Turn> {
        let own = self.own(caller);
        // nobody closes them
        let of_caller = own.acquire_owned().await.ok()?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _of_caller: of_caller, _of_all: of_all })
    }

    fn own(&self, caller: Subject) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = callers.get(&caller).and_then(Weak::upgrade) {
            return own;
        }
        callers.retain(|_, own| own.strong_count() > 0);
        let own = Arc::new(Semaphore::new(self.of_caller));
        callers.insert(caller, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use model::UserId;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_caller_has_half_of_the_turns_and_who_waits_gets_the_next() {
        let turns = Turns::new(3);
        let [one, other] = [1, 2].map(|number| Subject::User(UserId::new(Uuid::from_u128(number))));
        let first = turns.next(one).await.unwrap();
        let _second = turns.next(one).await.unwrap();
        let mut third = Box::pin(turns.next(one));
        assert!((&mut third).now_or_never().is_none(), "two of three are one caller's");
        let _others = turns.next(other).await.unwrap();
        drop(first);
        let third = third.now_or_never().flatten();
        assert!(third.is_some());
        assert!(turns.next(other).now_or_never().is_none(), "three run");
        drop(third);
        assert!(turns.next(other).now_or_never().is_some());
        assert_eq!(Turns::new(0).of_caller, 1);
    }
}
