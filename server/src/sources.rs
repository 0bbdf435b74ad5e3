//! Counting by source: how much the clients of one address use of a resource, with a permit that gives it back when it
//! is dropped.
//!
//! An IPv4 client is its address. An IPv6 client counts three times, for its /64, /56 and /48: one machine has a /64,
//! one customer often has a /56 or a /48 and could otherwise count as 65,536 clients.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much more than one source the wider prefixes of IPv6 may use: /64, /56, /48.
pub(crate) const FACTORS: [u64; 3] = [1, 2, 4];
const V4: &[u8] = &[128];
const V6: &[u8] = &[64, 56, 48];

/// The addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressPrefix {
    bits: u128,
    length: u8,
}

impl AddressPrefix {
    fn is_widest(self) -> bool {
        Some(&self.length) == V6.last() || V4.contains(&self.length)
    }
}

/// The prefixes that a client counts for, the narrowest first.
pub(crate) fn prefixes(client: IpAddr) -> impl Iterator<Item = AddressPrefix> + Clone {
    let (bits, lengths) = match client.to_canonical() {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), V4),
        IpAddr::V6(address) => (address.to_bits(), V6),
    };
    lengths.iter().map(move |&length| AddressPrefix { bits: bits & (u128::MAX << (128 - length)), length })
}

/// A resource that is counted in all and by source.
#[derive(Debug)]
pub(crate) struct SourceCounter {
    total: u64,
    /// The limit of a /64 (or an IPv4 address), of a /56 and of a /48.
    limits: [u64; FACTORS.len()],
    counts: Mutex<Counts>,
    /// How many sources use it: read at every request, so without the lock.
    sources: AtomicUsize,
}

#[derive(Debug, Default)]
struct Counts {
    used: u64,
    by_prefix: HashMap<AddressPrefix, u64>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// That of all sources together.
    Total,
    /// That of one source, which has this prefix.
    Source(AddressPrefix),
}

/// A part of the resource in use; dropping it gives the part back.
#[derive(Debug)]
pub(crate) struct SourcePermit {
    counter: Arc<SourceCounter>,
    source: Option<IpAddr>,
    amount: u64,
}

impl SourceCounter {
    /// A counter with a limit in all and one for each source. The wider prefixes of IPv6 may use more than one source,
    /// but not all.
    pub(crate) fn new(total: u64, per_source: u64) -> Arc<Self> {
        let limits =
            FACTORS.map(|factor| per_source.max((per_source.saturating_mul(factor)).min(total / 4 * 3)));
        Arc::new(Self { total, limits, counts: Mutex::default(), sources: AtomicUsize::new(0) })
    }

    /// Takes a part. `source` is `None` for what counts for no client, such as the connections of a trusted proxy.
    ///
    /// # Errors
    /// The limit that the part would exceed.
    pub(crate) fn acquire(
        self: &Arc<Self>,
        source: Option<IpAddr>,
        amount: u64,
    ) -> Result<SourcePermit, Exhausted> {
        let mut permit = SourcePermit { counter: self.clone(), source, amount: 0 };
        permit.grow(amount)?;
        Ok(permit)
    }

    /// How much is in use.
    pub(crate) fn used(&self) -> u64 {
        self.counts().used
    }

    /// How much may be in use.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// How many sources use it. A permit that counts for no client stands for a source of its own.
    pub(crate) fn sources(&self) -> usize {
        self.sources.load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Nothing that is done under the lock can panic half-way.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SourcePermit {
    /// Takes more.
    ///
    /// # Errors
    /// The limit that this would exceed; the permit is as it was.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), Exhausted> {
        let counter = &*self.counter;
        let mut counts = counter.counts();
        if counts.used.saturating_add(more) > counter.total {
            return Err(Exhausted::Total);
        }
        let prefixes = self.source.into_iter().flat_map(prefixes);
        for (prefix, limit) in prefixes.clone().zip(counter.limits) {
            let used = counts.by_prefix.get(&prefix).copied().unwrap_or_default();
            if used.saturating_add(more) > limit {
                return Err(Exhausted::Source(prefix));
            }
        }
        counts.used += more;
        if self.source.is_none() && self.amount == 0 && more > 0 {
            counter.sources.fetch_add(1, Ordering::Relaxed);
        }
        if more > 0 {
            for prefix in prefixes {
                let used = counts.by_prefix.entry(prefix).or_default();
                // Each source of IPv6 has an entry for each of its prefixes.
                if *used == 0 && prefix.is_widest() {
                    counter.sources.fetch_add(1, Ordering::Relaxed);
                }
                *used += more;
            }
        }
        self.amount += more;
        Ok(())
    }

    /// Gives a part back, so that `amount` is left.
    pub(crate) fn shrink_to(&mut self, amount: u64) {
        let less = self.amount.saturating_sub(amount);
        if less == 0 {
            return;
        }
        self.amount = amount;
        let mut counts = self.counter.counts();
        counts.used -= less;
        if self.source.is_none() && amount == 0 {
            self.counter.sources.fetch_sub(1, Ordering::Relaxed);
        }
        for prefix in self.source.into_iter().flat_map(prefixes) {
            if let Some(used) = counts.by_prefix.get_mut(&prefix) {
                *used -= less;
                if *used == 0 {
                    counts.by_prefix.remove(&prefix);
                    if prefix.is_widest() {
                        self.counter.sources.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// How much it holds.
    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }

    /// The client that it counts for.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        self.source
    }
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_mapped_v4_address_is_itself_and_a_v6_address_its_prefixes() {
        for (one, other, shared) in [
            ("10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.1", "10.0.0.2", 0),
            ("10.0.0.1", "::ffff:10.0.0.1", 1),
            ("2001:db8::1", "2001:db8::2:0:0:0", 3),
            ("2001:db8::1", "2001:db8:0:1::1", 2),
            ("2001:db8::1", "2001:db8:0:100::1", 1),
            ("2001:db8::1", "2001:db8:1::1", 0),
        ] {
            let others: Vec<_> = prefixes(ip(other)).collect();
            let both = prefixes(ip(one)).filter(|prefix| others.contains(prefix)).count();
            assert_eq!(both, shared, "{one} {other}");
        }
    }

    #[test]
    fn limits_all_and_each_source() {
        let counter = SourceCounter::new(3, 2);
        let one = counter.acquire(Some(ip("192.0.2.1")), 2).unwrap();
        assert!(matches!(counter.acquire(Some(ip("192.0.2.1")), 1), Err(Exhausted::Source(_))));
        assert_eq!(counter.sources(), 1);
        let two = counter.acquire(Some(ip("192.0.2.2")), 1).unwrap();
        assert_eq!(counter.acquire(Some(ip("192.0.2.3")), 1).unwrap_err(), Exhausted::Total);
        assert_eq!(counter.sources(), 2);
        drop(one);
        assert_eq!(counter.sources(), 1);
        let proxied = counter.acquire(None, 2).unwrap();
        assert_eq!(counter.sources(), 2);
        assert_eq!(counter.acquire(None, 1).unwrap_err(), Exhausted::Total);
        drop((two, proxied));
        let neighbours = ["2001:db8::1", "2001:db8:0:1::1"].map(|text| counter.acquire(Some(ip(text)), 1));
        assert_eq!(counter.sources(), 1);
        drop(neighbours);
        assert_eq!(counter.sources(), 0);
        assert!(counter.used() == 0 && counter.counts().by_prefix.is_empty());
    }

    /// 65,536 networks of one customer are not 65,536 clients.
    #[test]
    fn a_v6_prefix_has_a_limit_of_its_own() {
        let counter = SourceCounter::new(10_000, 100);
        let of = |network: u16| ip(&format!("2001:db8:0:{network:x}::1"));
        let taken: Vec<_> = (0..=u16::MAX).filter_map(|n| counter.acquire(Some(of(n)), 1).ok()).collect();
        assert_eq!(taken.len(), 400);
        assert!(counter.acquire(Some(ip("2001:db8:1::1")), 100).is_ok());
        assert!(counter.acquire(Some(ip("192.0.2.1")), 100).is_ok());
        drop(taken);
        let of_one_56: Vec<_> = (0..256).filter_map(|n| counter.acquire(Some(of(n)), 1).ok()).collect();
        assert_eq!(of_one_56.len(), 200);
        // One customer alone never has all there is.
        let small = SourceCounter::new(8, 4);
        let taken: Vec<_> = (0..16).filter_map(|n| small.acquire(Some(of(n << 8)), 1).ok()).collect();
        assert_eq!(taken.len(), 6);
    }

    #[test]
    fn a_permit_grows_and_shrinks() {
        let counter = SourceCounter::new(10, 8);
        let mut permit = counter.acquire(Some(ip("192.0.2.1")), 5).unwrap();
        assert!(matches!(permit.grow(4), Err(Exhausted::Source(_))));
        assert_eq!(permit.amount(), 5);
        permit.grow(3).unwrap();
        permit.shrink_to(2);
        permit.shrink_to(7);
        assert_eq!((permit.amount(), counter.used()), (2, 2));
        drop(permit);
        assert_eq!(counter.used(), 0);
    }
}
