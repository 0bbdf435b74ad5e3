//! What the observer is told, and in which order.

use std::sync::{Arc, OnceLock, Weak};

use protocol::Pin;

use super::{Backend, LIFETIME, Log, START, at_once, fixture, wait};
use crate::Refused;
use crate::clock::ManualClock;
use crate::store::{Change, Limits, NodeClass, NodeCounts, Observer, Store, Update};

/// Reads what it is told of.
struct ReadingObserver {
    store: OnceLock<Weak<Store>>,
    log: Log,
    /// Behind a shared journal a read waits for what the store takes in, and so for the observer.
    reads: bool,
}

impl Observer for ReadingObserver {
    fn changed(&self, pin: &Pin, change: &Change) {
        if !self.reads {
            return self.log.changed(pin, change);
        }
        let store = self.store.get().unwrap().upgrade().unwrap();
        let read = |name: &str| wait(store.key(pin, name));
        match change {
            Change::KeySet(key) => assert_eq!(read(&key.name).as_ref(), Ok(key)),
            Change::KeyRenamed { from, key } => {
                assert_eq!(read(&key.name).as_ref(), Ok(key));
                assert_eq!(read(from), Err(Refused::UnknownKey));
            }
            Change::KeyDeleted(key) => assert_eq!(read(&key.name), Err(Refused::UnknownKey)),
            Change::NodeSet { node, .. } => {
                assert_eq!(wait(store.nodes(pin, None)).unwrap().nodes.first(), Some(node));
            }
            Change::NodeDeleted { .. } => assert_eq!(wait(store.nodes(pin, None)).unwrap().nodes, []),
            Change::Deleted | Change::Expired => assert_eq!(read("k"), Err(Refused::UnknownPin)),
        }
        self.log.changed(pin, change);
    }
}

pub fn tells_every_change_in_order_after_it_can_be_read<B: Backend>() {
    let (place, clock) = (B::default(), Arc::new(ManualClock::at(START)));
    let reader = Arc::new(ReadingObserver { store: OnceLock::new(), log: Log::default(), reads: !B::SHARED });
    let store = Arc::new(place.open(Limits::default(), clock.clone(), reader.clone()));
    reader.store.set(Arc::downgrade(&store)).unwrap();

    let pin = &wait(store.create_cluster()).unwrap().pin;
    let set = wait(store.create_key(pin, "k", "1")).unwrap();
    let changed = wait(store.update_key(pin, "k", Update { name: None, value: Some("2".into()) })).unwrap();
    let renamed = wait(store.update_key(pin, "k", Update { name: Some("l".into()), value: None })).unwrap();
    wait(store.delete_key(pin, "l")).unwrap();
    wait(store.put_node(pin, "n", "v1.x".to_owned(), NodeClass::Sealed, None)).unwrap();
    let listing = wait(store.nodes(pin, None)).unwrap();
    let (node, counts) = (listing.nodes[0].clone(), listing.counts);
    wait(store.delete_node(pin, "n")).unwrap();
    wait(store.delete_cluster(pin)).unwrap();
    let due = &wait(store.create_cluster()).unwrap().pin;
    clock.set(START.after(LIFETIME));
    assert_eq!(wait(store.cluster(due)), Err(Refused::UnknownPin));
    wait(store.sweep()).unwrap();
    let expected = [
        (pin, Change::KeySet(set)),
        (pin, Change::KeySet(changed)),
        (pin, Change::KeyRenamed { from: "k".to_owned(), key: renamed.clone() }),
        (pin, Change::KeyDeleted(renamed)),
        (pin, Change::NodeSet { node: node.clone(), counts }),
        (pin, Change::NodeDeleted { node, counts: NodeCounts::default() }),
        (pin, Change::Deleted),
        (due, Change::Expired),
    ];
    assert_eq!(reader.log.take(), expected.map(|(pin, change)| (pin.clone(), change)));
}

pub fn tells_the_changes_of_one_pin_in_the_order_of_64_who_write_at_once<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    at_once(64, |number| fixture.create(&pin, &number.to_string(), "").unwrap());
    let created = wait(fixture.store().keys(&pin)).unwrap();
    let told: Vec<_> = created.into_iter().map(|key| (pin.clone(), Change::KeySet(key))).collect();
    assert_eq!(fixture.log.take(), told);
    at_once(64, |number| fixture.update(&pin, "0", None, Some(&number.to_string())).unwrap());
    let last = wait(fixture.store().key(&pin, "0")).unwrap();
    assert_eq!(fixture.log.take().pop(), Some((pin, Change::KeySet(last))));
}
