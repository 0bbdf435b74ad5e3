//! How many requests may be held, in all and from one address: waits for a key, and streams of events.
//!
//! Each of them keeps a connection. Were they to take all that there are, a master would find no room for the write
//! that they wait for, and nobody would get on before the first slave gives up. So a share of the connections stays
//! free for those who only ask; who would wait beyond that is told to come again, and comes through with his question.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pairing_core::Refused;

use crate::origin::Source;

/// One in so many connections is never held: hundreds by default, each for some milliseconds at a time.
const FREE: usize = 32;

/// The requests that are held.
pub(crate) struct Holds {
    most: usize,
    most_per_address: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: usize,
    by_address: HashMap<Source, usize>,
}

/// A request that is held; dropping it makes room.
pub(crate) struct Hold {
    holds: Arc<Holds>,
    source: Source,
}

impl Holds {
    /// For so many connections, in all and from one address.
    pub(crate) fn among(connections: usize, per_address: usize) -> Arc<Self> {
        let share = |connections: usize| connections - connections.div_ceil(FREE);
        let (most, most_per_address) = (share(connections), share(per_address));
        Arc::new(Self { most, most_per_address, state: Mutex::default() })
    }

    /// Holds a request of this client.
    ///
    /// # Errors
    /// There are too many already.
    pub(crate) fn hold(self: &Arc<Self>, client: IpAddr) -> Result<Hold, Refused> {
        let source = Source::from(client);
        let mut state = self.state();
        let of_address = state.by_address.get(&source).copied().unwrap_or_default();
        if state.held >= self.most || of_address >= self.most_per_address {
            return Err(Refused::TooManyWaiters);
        }
        state.held += 1;
        state.by_address.insert(source, of_address + 1);
        Ok(Hold { holds: self.clone(), source })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.holds.state();
        state.held -= 1;
        if let Some(of_address) = state.by_address.get_mut(&self.source) {
            *of_address -= 1;
            if *of_address == 0 {
                state.by_address.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    #[test]
    fn leaves_a_share_of_the_connections_free_in_all_and_for_each_address() {
        let holds = Holds::among(64, 33);
        let hold = |last| holds.hold(address(last));
        let mut first: Vec<Hold> = (0..31).map(|_| hold(1).unwrap()).collect();
        assert!(matches!(hold(1), Err(Refused::TooManyWaiters)));
        let mut others: Vec<Hold> = (0..31).map(|_| hold(2).unwrap()).collect();
        assert!(hold(3).is_err());
        others.pop();
        assert!(hold(1).is_err() && hold(3).is_ok());
        first.pop();
        assert!(hold(1).is_ok());
        drop((first, others));
        assert!(holds.state().by_address.is_empty() && holds.state().held == 0);
    }

    #[test]
    fn holds_nothing_where_there_is_no_room_to_spare() {
        assert!(Holds::among(1, 1).hold(address(1)).is_err());
        assert!(Holds::among(2, 2).hold(address(1)).is_ok());
    }
}
