//! How many connections are open, in all and of each address.

use metrics::gauge;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Room for connections.
pub(super) struct Room {
    max: usize,
    /// 0: as many as `max`.
    max_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    n_all: usize,
    /// Only those that have a connection: it cannot grow beyond `max`.
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; given up when dropped.
pub(super) struct Place {
    room: Arc<Room>,
    address: IpAddr,
}

/// What there is no room for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// Any connection.
    All,
    /// One more of this address.
    Address,
}

impl Room {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self { max, max_per_address, taken: Mutex::default() }
    }

    /// A place, if there is one.
    pub(super) fn enter(self: &Arc<Self>, from: IpAddr) -> Result<Place, Full> {
        let address = counted(from);
        let mut taken = self.lock();
        if taken.n_all >= self.max {
            return Err(Full::All);
        }
        let n_here = taken.by_address.get(&address).copied().unwrap_or(0);
        if self.max_per_address > 0 && n_here >= self.max_per_address {
            return Err(Full::Address);
        }
        taken.by_address.insert(address, n_here + 1);
        taken.n_all += 1;
        gauge!("wardline_connections_open").increment(1);
        Ok(Place { room: Arc::clone(self), address })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The address that it counts for.
    pub(super) fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.n_all -= 1;
        if let Some(n_here) = taken.by_address.get_mut(&self.address) {
            *n_here -= 1;
            if *n_here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
        gauge!("wardline_connections_open").decrement(1);
    }
}

/// What counts as one address: whoever has an IPv6 address has the other 2^64 of its network, too (RFC 4291, 2.5.4).
fn counted(address: IpAddr) -> IpAddr {
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
        let room = Arc::new(Room::new(3, 2));
        let enter = |text: &str| room.enter(address(text));
        let first = enter("10.0.0.1").unwrap();
        // the same address in IPv6's clothes
        let _second = enter("::ffff:10.0.0.1").unwrap();
        assert_eq!(enter("10.0.0.1").err(), Some(Full::Address));
        let third = enter("10.0.0.2").unwrap();
        assert_eq!(enter("10.0.0.3").err(), Some(Full::All));
        drop(third);
        drop(first);
        let _again = enter("10.0.0.1").unwrap();
        assert_eq!(enter("10.0.0.1").err(), Some(Full::Address));
        assert_eq!(room.lock().by_address.len(), 1, "who has left is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let room = Arc::new(Room::new(9, 1));
        let _first = room.enter(address("2001:db8:0:1::1")).unwrap();
        assert_eq!(room.enter(address("2001:db8:0:1:ffff::2")).err(), Some(Full::Address));
        assert!(room.enter(address("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn zero_is_no_limit_of_an_address() {
        let room = Arc::new(Room::new(3, 0));
        let places: Vec<_> = (0..3).map(|_| room.enter(address("::1")).unwrap()).collect();
        assert_eq!(room.enter(address("::1")).err(), Some(Full::All));
        assert_eq!(places.len(), 3);
    }
}
