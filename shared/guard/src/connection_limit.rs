//! How many of something are open, in all and of each address: connections of all ports together, calls that need no token.

use metrics::Gauge;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// A limit of how many things there may be at once, in all and of one address.
pub struct ConnectionLimit {
    max: usize,
    /// 0: as many as `max`.
    max_per_address: usize,
    /// How many places are taken.
    open: Gauge,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    n_all: usize,
    /// Only those that have a place: it cannot grow beyond `max`.
    by_address: HashMap<IpAddr, usize>,
}

/// One place; given up when dropped.
pub struct Slot {
    room: Arc<ConnectionLimit>,
    address: IpAddr,
}

/// What there is no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Anything: so many there are at most.
    All(usize),
    /// One more of this address: so many it has at most.
    Address(usize),
}

impl ConnectionLimit {
    /// A limit of `max`, of one address for `max_per_address` (0: for `max`, too); `open` shows how many places are taken.
    pub fn new(max: usize, max_per_address: usize, open: Gauge) -> Arc<Self> {
        Arc::new(Self { max, max_per_address, open, taken: Mutex::default() })
    }

    /// A place, if there is one.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Slot, Full> {
        let address = counted(from);
        let mut taken = self.lock();
        if taken.n_all >= self.max {
            return Err(Full::All(self.max));
        }
        let n_here = taken.by_address.get(&address).copied().unwrap_or(0);
        if self.max_per_address > 0 && n_here >= self.max_per_address {
            return Err(Full::Address(self.max_per_address));
        }
        taken.by_address.insert(address, n_here + 1);
        taken.n_all += 1;
        self.open.increment(1);
        Ok(Slot { room: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.n_all -= 1;
        if let Some(n_here) = taken.by_address.get_mut(&self.address) {
            *n_here -= 1;
            if *n_here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        self.room.open.decrement(1);
    }
}

/// What counts as one address: whoever has an IPv6 address has the other 2^64 of its network, too (RFC 4291, 2.5.4).
pub fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_place_is_given_up_and_taken_again() {
        let room = ConnectionLimit::new(3, 2, Gauge::noop());
        let enter = |text: &str| room.enter(address(text));
        let first = enter("10.0.0.1").unwrap();
        // the same address in IPv6's clothes
        let _second = enter("::ffff:10.0.0.1").unwrap();
        assert_eq!(enter("10.0.0.1").err(), Some(Full::Address(2)));
        let third = enter("10.0.0.2").unwrap();
        assert_eq!(enter("10.0.0.3").err(), Some(Full::All(3)));
        drop(third);
        drop(first);
        let _again = enter("10.0.0.1").unwrap();
        assert_eq!(enter("10.0.0.1").err(), Some(Full::Address(2)));
        assert_eq!(room.lock().by_address.len(), 1, "who has left is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let room = ConnectionLimit::new(9, 1, Gauge::noop());
        let _first = room.enter(address("2001:db8:0:1::1")).unwrap();
        assert_eq!(room.enter(address("2001:db8:0:1:ffff::2")).err(), Some(Full::Address(1)));
        assert!(room.enter(address("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn zero_is_no_limit_of_an_address() {
        let room = ConnectionLimit::new(3, 0, Gauge::noop());
        let places: Vec<_> = (0..3).map(|_| room.enter(address("::1")).unwrap()).collect();
        assert_eq!(room.enter(address("::1")).err(), Some(Full::All(3)));
        assert_eq!(places.len(), 3);
    }
}
