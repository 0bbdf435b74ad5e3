//! Which of the requests that wait go into one batch of a shared journal.
//!
//! No two of them change the same key, so each server that sees the batch as a whole can still tell every change.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use super::journal::BatchLimits;
use super::operation::{Operation, Subject};
use super::pins::PinKey;

/// What a group uses of one pin.
enum PinUse {
    /// All of it.
    Whole,
    /// These keys and nodes.
    Parts(HashSet<KeyOrNode>),
}

/// A key or a node, by its name.
type KeyOrNode = (bool, Box<str>);

/// Takes the requests that go together out of those that wait. The requests of one key stay in their order.
pub(super) fn take_group<R>(
    waiting: &mut Vec<R>,
    limits: BatchLimits,
    operation: impl Fn(&R) -> Option<&Operation>,
) -> Vec<R> {
    let mut used: HashMap<PinKey, PinUse> = HashMap::new();
    let (mut group, mut left, mut bytes) = (Vec::new(), Vec::new(), 0);
    for request in waiting.drain(..) {
        let Some(wanted) = operation(&request) else {
            group.push(request);
            continue;
        };
        let is_free = is_free(&mut used, wanted);
        let fits =
            group.is_empty() || (group.len() < limits.operations && bytes + wanted.memory() <= limits.bytes);
        if is_free && fits {
            bytes += wanted.memory();
            group.push(request);
        } else {
            left.push(request);
        }
    }
    *waiting = left;
    group
}

/// Whether nothing before has used what this operation uses. From now on it is used.
fn is_free(used: &mut HashMap<PinKey, PinUse>, operation: &Operation) -> bool {
    let (pin, parts) = match operation.subject() {
        Subject::Nothing => return true,
        Subject::Cluster(pin) => (pin, None),
        Subject::Keys(pin, names) => (pin, Some(names.map(|name| name.map(|name| (false, Box::from(name)))))),
        Subject::Node(pin, id) => (pin, Some([Some((true, Box::from(id))), None])),
    };
    // A pin that is none of ours has nothing to change.
    let Some(pin) = PinKey::of(pin) else { return true };
    let parts: Option<HashSet<KeyOrNode>> = parts.map(|parts| parts.into_iter().flatten().collect());
    match (used.entry(pin), parts) {
        (Entry::Vacant(free), None) => drop(free.insert(PinUse::Whole)),
        (Entry::Vacant(free), Some(parts)) => drop(free.insert(PinUse::Parts(parts))),
        (Entry::Occupied(mut taken), None) => {
            taken.insert(PinUse::Whole);
            return false;
        }
        (Entry::Occupied(mut taken), Some(parts)) => {
            let PinUse::Parts(before) = taken.get_mut() else { return false };
            let is_free = before.is_disjoint(&parts);
            before.extend(parts);
            return is_free;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use protocol::Pin;

    use super::*;
    use crate::store::Update;

    const LIMITS: BatchLimits = BatchLimits { operations: 4, bytes: 10_000, swept: 1, removed: 1 };

    fn create(pin: &Pin, name: &str, length: usize) -> Operation {
        Operation::CreateKey {
            pin: pin.clone(),
            name: name.to_owned(),
            value: "v".repeat(length),
            charge: None,
        }
    }

    /// The sizes of the groups that these make.
    #[track_caller]
    fn check(mut waiting: Vec<Operation>, sizes: &[usize]) {
        let mut found = Vec::new();
        while !waiting.is_empty() {
            found.push(take_group(&mut waiting, LIMITS, |operation| Some(operation)).len());
        }
        assert_eq!(found, sizes);
    }

    #[test]
    fn what_changes_one_key_does_not_go_together() {
        let [one, other] = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"].map(|pin| Pin::parse(pin).unwrap());
        let rename = |from: &str, to: &str| Operation::UpdateKey {
            pin: one.clone(),
            name: from.to_owned(),
            update: Update { name: Some(to.to_owned()), value: None },
            charge: None,
        };
        let node = |id: &str| Operation::DeleteNode { pin: one.clone(), id: id.into() };
        check(vec![node("a"), create(&one, "a", 1), node("b"), node("a")], &[3, 1]);
        let delete = |name: &str| Operation::DeleteKey { pin: one.clone(), name: name.to_owned() };
        check(vec![create(&one, "a", 1), create(&one, "b", 1), create(&other, "a", 1)], &[3]);
        check(
            vec![create(&one, "a", 1), delete("a"), create(&other, "a", 1), create(&one, "a", 1)],
            &[2, 1, 1],
        );
        check(vec![rename("a", "b"), rename("c", "d"), rename("d", "a"), create(&one, "b", 1)], &[2, 2]);
        check(
            vec![create(&one, "a", 1), Operation::DeleteCluster(one.clone()), create(&one, "b", 1)],
            &[1, 1, 1],
        );
        check(vec![Operation::Backdate(one.clone(), Duration::ZERO), create(&one, "a", 1)], &[1, 1]);
        check(
            vec![Operation::CreateCluster, Operation::Sweep, Operation::CreateCluster, Operation::Probe],
            &[4],
        );
    }

    #[test]
    fn a_group_is_bounded_and_one_that_is_too_large_goes_alone() {
        let pin = Pin::parse("aaaaaaaaaaaa").unwrap();
        check((0..9).map(|number| create(&pin, &number.to_string(), 1)).collect(), &[4, 4, 1]);
        check((0..3).map(|number| create(&pin, &number.to_string(), 6000)).collect(), &[1, 1, 1]);
        check(vec![create(&pin, "a", 20_000), create(&pin, "b", 1)], &[1, 1]);
    }
}
