//! How many requests may be held, in all and from one source: waits for a key, and streams of events.
//!
//! Each of them keeps a connection. If they took all connections, a master could not send the value that they wait for.
//! So a share of the connections is never held. Beyond that a wait is refused with 503 and `Retry-After`; a plain GET
//! still gets through.

use std::net::IpAddr;
use std::sync::Arc;

use crate::sources::{Exhausted, SourceCounter, SourcePermit};

/// One in so many connections is never held: hundreds by default, each for some milliseconds at a time.
const FREE: usize = 32;

/// The requests that are held.
pub(crate) struct HeldRequests(Arc<SourceCounter>);

/// A request that is held; dropping it makes room.
pub(crate) struct HoldPermit(#[expect(dead_code, reason = "it is there to be dropped")] SourcePermit);

impl HeldRequests {
    /// For so many connections, in all and from one source.
    pub(crate) fn among(connections: usize, per_source: usize) -> Self {
        let share = |connections: usize| (connections - connections.div_ceil(FREE)) as u64;
        Self(SourceCounter::new(share(connections), share(per_source)))
    }

    /// Holds a request of this client.
    ///
    /// # Errors
    /// There are too many already.
    pub(crate) fn hold(&self, client: IpAddr) -> Result<HoldPermit, Exhausted> {
        self.0.acquire(Some(client), 1).map(HoldPermit)
    }

    #[cfg(test)]
    fn count(&self) -> u64 {
        self.0.used()
    }

    /// How many may be held.
    pub(crate) fn limit(&self) -> u64 {
        self.0.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn leaves_a_share_of_the_connections_free_in_all_and_for_each_source() {
        let held = HeldRequests::among(64, 33);
        let hold = |last| held.hold(address(last));
        let mut first: Vec<_> = (0..31).map(|_| hold(1).unwrap()).collect();
        assert!(matches!(hold(1), Err(Exhausted::Source(_))));
        let mut others: Vec<_> = (0..31).map(|_| hold(2).unwrap()).collect();
        assert!(held.count() == held.limit() && matches!(hold(3), Err(Exhausted::Total)));
        others.pop();
        assert!(hold(1).is_err() && hold(3).is_ok());
        first.pop();
        assert!(hold(1).is_ok());
        drop((first, others));
        assert_eq!(held.count(), 0);
    }

    #[test]
    fn holds_nothing_where_there_is_no_room_to_spare() {
        assert!(HeldRequests::among(1, 1).hold(address(1)).is_err());
        assert!(HeldRequests::among(2, 2).hold(address(1)).is_ok());
    }
}
