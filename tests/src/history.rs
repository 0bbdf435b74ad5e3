//! Histories of concurrent requests on one key, and whether they are linearizable: whether each request can have happened at
//! one moment between its beginning and its end, so that together they are what one key can do.
//!
//! The search is Wing and Gong's, with the states that were seen remembered (Lowe, 2017).

use std::collections::HashSet;
use std::time::Instant;

/// What was asked, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key was to be created with this value: whether it was, or was there already.
    Create(u64, bool),
    /// A key was to get this value: whether it did, or was not there.
    Update(u64, bool),
    /// A key was to be deleted: whether it was, or was not there.
    Delete(bool),
    /// What was read.
    Read(Option<u64>),
    /// A write of which it is not known whether it happened: what the key becomes by it, whatever it was. A creation
    /// happens only where there is no key, an update or a deletion only where there is one.
    MaybeCreate(u64),
    /// See [`Event::MaybeCreate`].
    MaybeUpdate(u64),
    /// See [`Event::MaybeCreate`].
    MaybeDelete,
}

/// A request on a key.
#[derive(Debug, Clone)]
pub struct Operation {
    /// When it was sent.
    pub begun: Instant,
    /// When the answer was there.
    pub ended: Instant,
    /// What it was.
    pub event: Event,
}

impl Event {
    fn is_certain(&self) -> bool {
        !matches!(self, Self::MaybeCreate(_) | Self::MaybeUpdate(_) | Self::MaybeDelete)
    }

    /// What the key is after this, if it can happen to a key that is so.
    fn apply(&self, key: Option<u64>) -> Option<Option<u64>> {
        let happens = match self {
            Self::Create(_, created) => key.is_none() == *created,
            Self::Update(_, done) | Self::Delete(done) => key.is_some() == *done,
            Self::Read(read) => key == *read,
            Self::MaybeCreate(_) => key.is_none(),
            Self::MaybeUpdate(_) | Self::MaybeDelete => key.is_some(),
        };
        happens.then_some(match self {
            Self::Create(value, true) | Self::Update(value, true) => Some(*value),
            Self::MaybeCreate(value) | Self::MaybeUpdate(value) => Some(*value),
            Self::Delete(true) | Self::MaybeDelete => None,
            _ => key,
        })
    }
}

/// Whether a key that was not there at first can have had this history.
#[must_use]
pub fn is_linearizable(history: &[Operation]) -> bool {
    let mut operations: Vec<&Operation> = history.iter().collect();
    operations.sort_by_key(|operation| operation.begun);
    let mut seen = HashSet::new();
    // Depth first: what was linearized, and what the key is then.
    let mut paths = vec![(vec![0_u64; operations.len().div_ceil(64)], None)];
    while let Some((done, key)) = paths.pop() {
        let is_done = |at: usize| done[at / 64] & (1 << (at % 64)) != 0;
        let open: Vec<usize> = (0..operations.len()).filter(|at| !is_done(*at)).collect();
        let Some(end) = open
            .iter()
            .filter(|at| operations[**at].event.is_certain())
            .map(|at| operations[*at].ended)
            .min()
        else {
            return true;
        };
        for at in open.into_iter().take_while(|at| operations[*at].begun <= end) {
            let Some(after) = operations[at].event.apply(key) else { continue };
            let mut next = done.clone();
            next[at / 64] |= 1 << (at % 64);
            if seen.insert((next.clone(), after)) {
                paths.push((next, after));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use Event::*;

    /// Each operation with its beginning and end, in milliseconds.
    fn history(operations: &[(u64, u64, Event)]) -> Vec<Operation> {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let operation = |(begun, ended, event): &(u64, u64, Event)| Operation {
            begun: at(*begun),
            ended: at(*ended),
            event: event.clone(),
        };
        operations.iter().map(operation).collect()
    }

    #[test]
    fn takes_what_one_key_can_do() {
        for good in [
            &[][..],
            &[(0, 1, Create(1, true)), (2, 3, Read(Some(1))), (4, 5, Create(2, false))],
            // At once: either order.
            &[(0, 9, Create(1, true)), (0, 9, Create(2, false)), (1, 2, Read(None)), (3, 4, Read(Some(1)))],
            &[(0, 1, Create(1, true)), (2, 9, Update(2, true)), (3, 4, Read(Some(1))), (5, 6, Read(Some(2)))],
            &[(0, 1, Create(1, true)), (2, 3, Delete(true)), (4, 5, Delete(false)), (6, 7, Read(None))],
            // It may have happened, at any time after it was sent, or not at all.
            &[(0, 1, MaybeCreate(1)), (2, 3, Read(None)), (4, 5, Read(Some(1)))],
            &[(0, 1, MaybeCreate(1)), (2, 3, Read(None)), (4, 5, Create(2, true))],
            &[(0, 1, Create(1, true)), (2, 3, MaybeDelete), (4, 5, Read(Some(1))), (6, 7, Read(None))],
        ] {
            assert!(is_linearizable(&history(good)), "{good:?}");
        }
    }

    #[test]
    fn rejects_what_one_key_cannot_do() {
        for bad in [
            // Created twice.
            &[(0, 1, Create(1, true)), (2, 3, Create(2, true))][..],
            &[(0, 9, Create(1, true)), (0, 9, Create(2, true))],
            // An acknowledged write is lost.
            &[(0, 1, Create(1, true)), (2, 3, Read(None))],
            &[(0, 1, Create(1, true)), (2, 3, Update(2, true)), (4, 5, Read(Some(1)))],
            // An old state after a new one was read.
            &[(0, 1, Create(1, true)), (2, 9, Update(2, true)), (3, 4, Read(Some(2))), (5, 6, Read(Some(1)))],
            // Deleted, and there again.
            &[(0, 1, Create(1, true)), (2, 3, Delete(true)), (4, 5, Read(Some(1)))],
            // Read before it was written.
            &[(0, 1, Read(Some(1))), (2, 3, Create(1, true))],
            // What may have happened cannot have happened twice.
            &[(0, 1, MaybeCreate(1)), (2, 3, Read(Some(1))), (4, 5, Delete(true)), (6, 7, Read(Some(1)))],
            // A key that was refused as there was never made.
            &[(0, 1, Create(1, false))],
            &[(0, 1, Delete(true))],
        ] {
            assert!(!is_linearizable(&history(bad)), "{bad:?}");
        }
    }

    #[test]
    fn finds_one_stale_read_in_a_long_history() {
        let mut long = vec![(0, 1, Create(0, true))];
        for round in 0..150 {
            let at = 10 * round + 10;
            long.push((at, at + 8, Update(round + 1, true)));
            long.push((at + 1, at + 7, Read(Some(round))));
            long.push((at + 2, at + 9, Read(Some(round + 1))));
        }
        assert!(is_linearizable(&history(&long)));
        let last = 10 * 150 + 20;
        long.push((last, last + 1, Read(Some(149))));
        assert!(!is_linearizable(&history(&long)));
    }
}
