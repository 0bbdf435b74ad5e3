//! The hub, with every order in which a writer and those who wait can come.

use std::pin::pin;

use protocol::node::{NodeRole, NodeState};
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

use super::*;
use crate::clock::Timestamp;
use crate::store::{Node, NodeClass};

const KEY: &str = "master_ip";

fn pin() -> Pin {
    Pin::parse("enico1qq0oey").unwrap()
}

/// What the writer does, each in two steps: it happens in the store, then the hub hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Set,
    SetOther,
    RemoveKey,
    Delete,
    Expire,
    Close,
}

/// What a store would answer, as far as a waiter cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Nothing,
    Key,
    NoPin,
}

/// The steps of a waiter: register, read, wait.
enum Progress<'a> {
    Outside,
    Registered(Waiter<'a>),
    Waiting(Waiter<'a>),
    Answered,
}

fn key() -> Arc<Key> {
    let (name, value) = (KEY.to_owned(), "10.0.0.1".to_owned());
    Arc::new(Key { name, value, created: Timestamp(0), modified: Timestamp(0) })
}

/// Every order in which the steps of several actors can happen: `left` are the steps that each has to do.
fn interleavings(left: &mut [usize], order: &mut Vec<usize>, check: &mut impl FnMut(&[usize])) {
    if left.iter().all(|&steps| steps == 0) {
        return check(order);
    }
    for actor in 0..left.len() {
        if left[actor] > 0 {
            left[actor] -= 1;
            order.push(actor);
            interleavings(left, order, check);
            order.pop();
            left[actor] += 1;
        }
    }
}

/// Plays one order: actor 0 is the writer, actor 1 a waiter, actor 2 one that gives up in the end.
fn play(acts: &[Act], order: &[usize]) {
    let (hub, mut deliveries) = Hub::new(10);
    let pin = pin();
    let mut stored = Stored::Nothing;
    let mut writer = acts.iter().flat_map(|&act| [(act, true), (act, false)]);
    let mut waiters = [Progress::Outside, Progress::Outside];
    for &actor in order {
        if actor == 0 {
            let (act, first) = writer.next().unwrap();
            match (act, first) {
                (Act::Set, true) => stored = if stored == Stored::NoPin { stored } else { Stored::Key },
                (Act::RemoveKey, true) => {
                    stored = if stored == Stored::NoPin { stored } else { Stored::Nothing };
                }
                (Act::Delete | Act::Expire, true) => stored = Stored::NoPin,
                (Act::SetOther | Act::Close, true) => {}
                (Act::Set, false) => hub.changed(&pin, &Change::KeySet(key())),
                (Act::SetOther, false) => {
                    let other = Key { name: "other".to_owned(), ..Key::clone(&key()) };
                    hub.changed(&pin, &Change::KeySet(Arc::new(other)));
                }
                (Act::RemoveKey, false) => hub.changed(&pin, &Change::KeyDeleted(key())),
                (Act::Delete, false) => hub.changed(&pin, &Change::Deleted),
                (Act::Expire, false) => hub.changed(&pin, &Change::Expired),
                (Act::Close, false) => hub.close(),
            }
            continue;
        }
        let progress = &mut waiters[actor - 1];
        *progress = match std::mem::replace(progress, Progress::Answered) {
            Progress::Outside => match hub.wait(&pin, KEY) {
                Ok(waiter) => Progress::Registered(waiter),
                Err(_) => Progress::Answered,
            },
            Progress::Registered(waiter) if stored == Stored::Nothing => Progress::Waiting(waiter),
            // The read has answered it, or it gives up.
            _ => Progress::Answered,
        };
    }
    while let Ok(delivery) = deliveries.try_recv() {
        for (_, waiter) in delivery.waiters {
            let _ = waiter.send(delivery.wake.clone());
        }
    }
    let waker = acts.iter().any(|act| !matches!(act, Act::SetOther | Act::RemoveKey));
    if let Progress::Waiting(waiter) = &mut waiters[0] {
        let woken = waiter.wake.try_recv().is_ok();
        assert_eq!(woken, waker, "{acts:?} {order:?}");
    }
    drop(waiters);
    let state = hub.state();
    assert_eq!((state.waiters, state.pins.len()), (0, 0), "{acts:?} {order:?}");
}

#[test]
fn loses_no_wake_up_and_no_waiter_in_any_order() {
    use Act::{Close, Delete, Expire, RemoveKey, Set, SetOther};
    for acts in [
        &[Set][..],
        &[SetOther],
        &[Delete],
        &[Expire],
        &[Close],
        &[RemoveKey],
        &[Set, Delete],
        &[Set, Close],
        &[SetOther, Set],
        &[RemoveKey, Set],
        &[Delete, Close],
        &[Expire, Close],
        &[SetOther, RemoveKey],
    ] {
        let mut played = 0;
        interleavings(&mut [2 * acts.len(), 2, 3], &mut Vec::new(), &mut |order| {
            play(acts, order);
            played += 1;
        });
        assert!(played >= 200, "{played}");
    }
}

/// A node that is ready; so many of them.
fn nodes(count: usize) -> Change {
    let class = NodeClass::Clear(NodeRole::Slave, NodeState::Ready);
    let mut counts = NodeCounts::default();
    (0..count).for_each(|_| counts.count(class));
    let node = Node { id: "n".into(), report: "{}".into(), class, reported: Timestamp(0) };
    Change::NodeSet { node: Arc::new(node), counts }
}

/// The writer sets two nodes, one after the other; the barrier wants both, and reads after it has registered.
#[test]
fn a_barrier_loses_no_wake_up_in_any_order() {
    let mut played = 0;
    interleavings(&mut [4, 2], &mut Vec::new(), &mut |order| {
        let (hub, mut deliveries) = Hub::new(10);
        let pin = pin();
        let wanted = NodesWanted { at_least: 2, state: Some(NodeState::Joined), role: None };
        let (mut stored, mut written, mut waiter, mut knows) = (0, 0, None, false);
        for &actor in order {
            match (actor, written, &waiter) {
                (0, 0 | 2, _) => (stored, written) = (stored + 1, written + 1),
                (0, ..) => {
                    written += 1;
                    hub.changed(&pin, &nodes(stored));
                }
                (_, _, None) => waiter = Some(hub.wait_for_nodes(&pin, wanted).unwrap()),
                (_, _, Some(_)) => knows = stored == 2,
            }
        }
        let mut waiter = waiter.unwrap();
        while let Ok(delivery) = deliveries.try_recv() {
            for (_, waiter) in delivery.waiters {
                let _ = waiter.send(delivery.wake.clone());
            }
        }
        assert!(knows || matches!(waiter.wake.try_recv(), Ok(Wake::Nodes)), "{order:?}");
        drop(waiter);
        assert_eq!((hub.waiters(), hub.state().pins.len()), (0, 0));
        played += 1;
    });
    assert_eq!(played, 15);
}

#[test]
fn a_barrier_is_woken_by_enough_nodes_by_the_end_of_the_pin_and_by_nothing_else() {
    let wanted = NodesWanted { at_least: 2, state: None, role: Some(NodeRole::Slave) };
    for (change, wakes) in [
        (nodes(1), false),
        (nodes(2), true),
        (Change::KeySet(key()), false),
        (Change::Deleted, true),
        (Change::Expired, true),
    ] {
        let (hub, mut deliveries) = Hub::new(10);
        let pin = pin();
        let barrier = hub.wait_for_nodes(&pin, wanted).unwrap();
        hub.changed(&pin, &change);
        assert_eq!(deliveries.try_recv().is_ok(), wakes, "{change:?}");
        assert_eq!(hub.waiters(), usize::from(!wakes));
        drop(barrier);
        assert_eq!((hub.waiters(), hub.state().pins.len()), (0, 0));
    }
}

#[test]
fn a_subscriber_that_then_reads_misses_no_change_in_any_order() {
    let (writer, subscriber) = (2, 2);
    let mut played = 0;
    interleavings(&mut [writer, subscriber], &mut Vec::new(), &mut |order| {
        let (hub, _deliveries) = Hub::new(10);
        let (mut stored, mut written, mut subscription, mut knows) = (false, 0, None, false);
        for &actor in order {
            match (actor, written, &subscription) {
                (0, 0, _) => (stored, written) = (true, 1),
                (0, ..) => hub.changed(&pin(), &Change::KeySet(key())),
                (_, _, None) => subscription = Some(hub.subscribe(&pin()).unwrap()),
                (_, _, Some(_)) => knows = stored,
            }
        }
        let mut subscription = subscription.unwrap();
        let mut next = || {
            let mut context = Context::from_waker(Waker::noop());
            pin!(subscription.next(Instant::now())).poll(&mut context)
        };
        assert!(knows || matches!(next(), Poll::Ready(HubEvent::Change(Change::KeySet(_)))), "{order:?}");
        drop(subscription);
        assert_eq!((hub.waiters(), hub.state().pins.len()), (0, 0));
        played += 1;
    });
    assert_eq!(played, 6);
}

#[test]
fn has_room_for_so_many_on_a_pin_and_no_more() {
    let (hub, _deliveries) = Hub::new(2);
    let [pin, other] = [pin(), Pin::parse("other1qq0oey").unwrap()];
    let one = hub.wait(&pin, "a").unwrap();
    let two = hub.subscribe(&pin).unwrap();
    assert!(matches!(hub.wait(&pin, "c"), Err(Refused::TooManyWaiters)));
    assert!(matches!(hub.subscribe(&pin), Err(Refused::TooManyWaiters)));
    assert!(hub.wait(&other, "a").is_ok());
    drop(one);
    assert!(hub.wait(&pin, "c").is_ok());
    drop(two);
    assert!(hub.subscribe(&pin).is_ok());
}

#[tokio::test]
async fn wakes_every_one_of_a_thousand_waiters() {
    let (hub, deliveries) = Hub::new(1000);
    let delivery = tokio::spawn(deliver(deliveries));
    let pin = pin();
    let mut waiters: Vec<_> = (0..1000).map(|_| hub.wait(&pin, KEY).unwrap()).collect();
    hub.changed(&pin, &Change::KeySet(key()));
    for waiter in &mut waiters {
        assert!(matches!(waiter.woken().await, Wake::Set(_)));
    }
    delivery.abort();
}
