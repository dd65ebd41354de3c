//! Bytes that may be held at once: of a node, of an address, and of a caller.
//!
//! The promise: at no time is more out than a share allows, and what is out comes back when its permit is dropped. Who wants
//! more waits, a while; more than `MAX_WAITING` of one caller do not wait at all. A caller's share is taken before the
//! node's, so that a caller who holds all of its own stands in nobody else's way. A caller who holds nothing costs nothing.

use model::access::Subject;
use proto::problem::exhausted;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tonic::Status;

/// Requests of one caller, or of one address, that wait: each is a task, and HTTP/2 takes up to a window of its body.
const MAX_WAITING: usize = 64;
/// When somebody who did not get a share should ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How much may be out at once, in bytes; a share that is 0 is as large as the node's.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Bytes that all callers together may hold.
    pub node: u32,
    /// Bytes that the callers of one address may hold together.
    pub address: u32,
    /// Bytes that one caller may hold.
    pub caller: u32,
}

/// Whose a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Caller(Subject),
    Address(IpAddr),
}

/// A budget. Clones are the same.
#[derive(Clone)]
pub struct Budget(Arc<Inner>);

struct Inner {
    /// What it is of, as in the names of the settings.
    what: &'static str,
    shares: Shares,
    node: Arc<Share>,
    /// Only of those who hold or want something.
    others: Mutex<HashMap<Key, Arc<Share>>>,
}

/// What one may hold.
struct Share {
    room: Semaphore,
    max: u32,
    n_waiting: AtomicUsize,
    /// Accounts; changed under the lock of the map.
    n_accounts: AtomicUsize,
}

/// What counts for one request: its caller's share, its address's and the node's.
#[derive(Clone)]
pub struct Account(Arc<Holder>);

struct Holder {
    budget: Budget,
    keys: Vec<Key>,
    /// The smallest first; the node's is the last.
    shares: Vec<Arc<Share>>,
}

/// Bytes that are out; they come back when it is dropped.
pub struct Permit {
    account: Account,
    /// As asked for. A share that is smaller gave all it has.
    bytes: u32,
    /// Bytes of each share.
    held: [u32; 3],
}

/// A share is used up.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    what: &'static str,
    whose: Whose,
}

/// The share of a budget that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The share of the caller, by its token or certificate.
    Caller,
    /// Of the address that it comes from.
    Address,
    /// All of the node's budget.
    Node,
}

impl Budget {
    /// One with all of its bytes; `what` is named to those who do not get some.
    pub fn new(what: &'static str, shares: Shares) -> Self {
        let node = Arc::new(Share::new(shares.node));
        Self(Arc::new(Inner { what, shares, node, others: Mutex::default() }))
    }

    /// What counts for a request of a caller (as far as known) at an address.
    pub fn account(&self, caller: Option<Subject>, address: Option<IpAddr>) -> Account {
        let Shares { node, address: of_address, caller: of_caller } = self.0.shares;
        let wanted = [(caller.map(Key::Caller), of_caller), (address.map(Key::Address), of_address)];
        let wanted =
            wanted.into_iter().filter_map(|(key, max)| Some((key?, max))).filter(|(_, max)| (1..node).contains(max));
        let (mut keys, mut shares) = (Vec::with_capacity(2), Vec::with_capacity(3));
        let mut others = self.lock();
        for (key, max) in wanted {
            let share = others.entry(key).or_insert_with(|| Arc::new(Share::new(max)));
            share.n_accounts.fetch_add(1, Ordering::Relaxed);
            keys.push(key);
            shares.push(Arc::clone(share));
        }
        drop(others);
        shares.push(Arc::clone(&self.0.node));
        Account(Arc::new(Holder { budget: self.clone(), keys, shares }))
    }

    /// Bytes that permits hold now.
    pub fn out(&self) -> usize {
        self.0.shares.node as usize - self.0.node.room.available_permits()
    }

    /// Most bytes that permits may hold at once.
    pub fn limit(&self) -> usize {
        self.0.shares.node as usize
    }

    /// Callers and addresses that are known.
    #[cfg(test)]
    pub fn n_known(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Share>>> {
        self.0.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn new(max: u32) -> Self {
        let (n_waiting, n_accounts) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { room: Semaphore::new(max as usize), max, n_waiting, n_accounts }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut others = self.budget.lock();
        for (key, share) in self.keys.iter().zip(&self.shares) {
            if share.n_accounts.fetch_sub(1, Ordering::Relaxed) == 1 {
                others.remove(key);
            }
        }
    }
}

/// One that waits, counted.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Account {
    /// So many bytes, as soon as they are there; more than a share is all of it, alone.
    pub async fn take(&self, bytes: u32, wait: Duration) -> Result<Permit, Full> {
        self.none().grown(bytes, wait).await
    }

    /// So many bytes, if they are there.
    #[cfg(test)]
    pub fn take_now(&self, bytes: u32) -> Option<Permit> {
        let mut permit = self.none();
        permit.grow_now(bytes).then_some(permit)
    }

    /// A permit for nothing yet.
    pub fn none(&self) -> Permit {
        Permit { account: self.clone(), bytes: 0, held: [0; 3] }
    }

    fn full(&self, place: usize) -> Full {
        let whose = match self.0.keys.get(place) {
            Some(Key::Caller(_)) => Whose::Caller,
            Some(Key::Address(_)) => Whose::Address,
            None => Whose::Node,
        };
        Full { what: self.0.budget.0.what, whose }
    }
}

impl Permit {
    /// With so many bytes more, as soon as they are there.
    pub async fn grown(mut self, bytes: u32, wait: Duration) -> Result<Self, Full> {
        if self.grow_now(bytes) {
            return Ok(self);
        }
        let account = self.account.clone();
        let shares = &account.0.shares;
        let waiting = Waiting(&shares[0].n_waiting);
        if waiting.0.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(account.full(0));
        }
        let deadline = Instant::now() + wait;
        for (place, share) in shares.iter().enumerate() {
            let n = self.missing(place, bytes);
            match timeout_at(deadline, share.room.acquire_many(n)).await {
                Ok(Ok(room)) => room.forget(),
                // nothing closes a share
                Ok(Err(_)) | Err(_) => return Err(account.full(place)),
            }
            self.held[place] += n;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(self)
    }

    /// Takes so many bytes more, if they are there.
    pub fn grow_now(&mut self, bytes: u32) -> bool {
        let before = self.held;
        for place in 0..self.account.0.shares.len() {
            let n = self.missing(place, bytes);
            let Ok(room) = self.account.0.shares[place].room.try_acquire_many(n) else {
                for (place, before) in before.into_iter().enumerate().take(place) {
                    self.account.0.shares[place].room.add_permits((self.held[place] - before) as usize);
                }
                self.held = before;
                return false;
            };
            room.forget();
            self.held[place] += n;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// What a share must give for so many bytes more: never more than it has in all.
    fn missing(&self, place: usize, bytes: u32) -> u32 {
        let wanted = self.bytes.saturating_add(bytes).min(self.account.0.shares[place].max);
        wanted.saturating_sub(self.held[place])
    }

    /// Takes some bytes off, which come back by themselves.
    pub fn split(&mut self, bytes: u32) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut held = [0; 3];
        for (taken, left) in held.iter_mut().zip(&mut self.held) {
            // of a share that is smaller the last bytes are counted
            *taken = left.saturating_sub(self.bytes);
            *left -= *taken;
        }
        Self { account: self.account.clone(), bytes, held }
    }

    /// For so many bytes, whatever it was for.
    pub async fn fitted(mut self, bytes: u32, wait: Duration) -> Result<Self, Full> {
        self.shrink(bytes);
        let missing = bytes - self.bytes;
        self.grown(missing, wait).await
    }

    /// Gives back what is more than this.
    pub fn shrink(&mut self, bytes: u32) {
        drop(self.split(self.bytes.saturating_sub(bytes)));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for (share, held) in self.account.0.shares.iter().zip(self.held) {
            share.room.add_permits(held as usize);
        }
    }
}

impl Full {
    /// RESOURCE_EXHAUSTED: which limit it was, and when to ask again.
    pub fn status(&self) -> Status {
        let Self { what, whose } = self;
        let (whose, setting) = match whose {
            Whose::Caller => ("caller", "_mib_per_caller"),
            Whose::Address => ("address", "_mib_per_address"),
            Whose::Node => ("node", "_mib"),
        };
        crate::metrics::memory_refused(what, whose);
        let reason = format!("{what}_OF_{whose}").to_uppercase();
        let text = format!(
            "this {whose} has as much memory in {what} under way as memory.{what}{setting} allows; take the answers that are due, and ask for less at once"
        );
        exhausted(&reason, &text, RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests;
