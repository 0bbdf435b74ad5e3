//! Histories of concurrent requests on one key, and whether they are linearizable: whether each request can have happened at
//! one moment between its beginning and its end, so that together they are what one key can do.
//!
//! The search is Wing and Gong's, with the states that were seen remembered (Lowe, 2017). Writes of unknown outcome, of which a
//! fault makes hundreds, do not make it exponential: those that explain the same count as one.

use std::collections::{HashMap, HashSet};
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

/// A history, sorted by what the search does with its operations. Each list is in the order in which they were sent.
struct Sorted<'a> {
    /// Those that have happened, each with when it was sent and the moment by which it had.
    certain: Vec<(Instant, Instant, Event)>,
    /// Creations of unknown outcome, of values that were never read.
    creations: Vec<&'a Operation>,
    /// Deletions of unknown outcome.
    deletions: Vec<&'a Operation>,
}

impl<'a> Sorted<'a> {
    /// A write of unknown outcome whose value was read has happened, before the end of the first such read. An update whose
    /// value was not read explains nothing: without it there is a key where there was one.
    fn new(history: &'a [Operation]) -> Self {
        let mut first_read: HashMap<u64, Instant> = HashMap::new();
        for operation in history {
            if let Event::Read(Some(value)) = operation.event {
                let first = first_read.entry(value).or_insert(operation.ended);
                *first = operation.ended.min(*first);
            }
        }
        let mut sorted = Self { certain: Vec::new(), creations: Vec::new(), deletions: Vec::new() };
        for operation in history {
            let (event, ended) = match &operation.event {
                Event::MaybeCreate(value) => match first_read.get(value) {
                    Some(read) => (Event::Create(*value, true), *read),
                    None => {
                        sorted.creations.push(operation);
                        continue;
                    }
                },
                Event::MaybeUpdate(value) => match first_read.get(value) {
                    Some(read) => (Event::Update(*value, true), *read),
                    None => continue,
                },
                Event::MaybeDelete => {
                    sorted.deletions.push(operation);
                    continue;
                }
                certain => (certain.clone(), operation.ended),
            };
            sorted.certain.push((operation.begun, ended, event));
        }
        sorted.certain.sort_by_key(|(begun, ..)| *begun);
        sorted.creations.sort_by_key(|operation| operation.begun);
        sorted.deletions.sort_by_key(|operation| operation.begun);
        sorted
    }
}

/// How far the search has come: what was linearized, and what the key is then.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Path {
    /// A bit for each of the certain operations.
    done: Vec<u64>,
    /// How many of the creations and deletions of unknown outcome have happened: they differ only in when they were sent, so
    /// the first can stand for any.
    creations: usize,
    deletions: usize,
    key: Option<u64>,
}

impl Path {
    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }
}

/// Whether a key that was not there at first can have had this history. No two writes in it have the same value.
#[must_use]
pub fn is_linearizable(history: &[Operation]) -> bool {
    let Sorted { certain, creations, deletions } = Sorted::new(history);
    let mut seen = HashSet::new();
    let words = certain.len().div_ceil(64);
    // Depth first. The last that is pushed is tried first: what is certain, in the order in which it was sent.
    let mut paths = vec![Path { done: vec![0; words], creations: 0, deletions: 0, key: None }];
    while let Some(path) = paths.pop() {
        let open: Vec<usize> = (0..certain.len()).filter(|at| !path.is_done(*at)).collect();
        let Some(end) = open.iter().map(|at| certain[*at].1).min() else { return true };
        let mut go_on = |next: Path| {
            if seen.insert(next.clone()) {
                paths.push(next);
            }
        };
        let sent =
            |operations: &[&Operation], at: usize| operations.get(at).is_some_and(|next| next.begun <= end);
        if sent(&creations, path.creations)
            && let Some(key) = creations[path.creations].event.apply(path.key)
        {
            go_on(Path { creations: path.creations + 1, key, ..path.clone() });
        }
        if sent(&deletions, path.deletions)
            && let Some(key) = deletions[path.deletions].event.apply(path.key)
        {
            go_on(Path { deletions: path.deletions + 1, key, ..path.clone() });
        }
        let begun = open.partition_point(|at| certain[*at].0 <= end);
        for at in open[..begun].iter().rev() {
            let Some(key) = certain[*at].2.apply(path.key) else { continue };
            let mut next = Path { key, ..path.clone() };
            next.done[at / 64] |= 1 << (at % 64);
            go_on(next);
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

    /// As when all of etcd is gone for long.
    #[test]
    fn takes_hundreds_of_writes_of_unknown_outcome() {
        let mut long = vec![(0, 1, Create(0, true))];
        for round in 1..200 {
            let at = 10 * round;
            long.push((at, at + 9, MaybeCreate(3 * round)));
            long.push((at + 1, at + 8, MaybeUpdate(3 * round + 1)));
            long.push((at + 2, at + 9, MaybeDelete));
        }
        // One of them has happened long after it was sent, between others that have.
        long.push((3000, 3001, Read(Some(30))));
        long.push((3002, 3003, Create(1, false)));
        long.push((3004, 3005, Create(2, true)));
        assert!(is_linearizable(&history(&long)));
        // After it was read, another is read, and then it again.
        long.push((3006, 3007, Read(Some(30))));
        assert!(!is_linearizable(&history(&long)));
    }
}
