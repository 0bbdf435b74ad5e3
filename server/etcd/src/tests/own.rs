//! The answer to a transaction, which stands for what the watch delivers of it: the same, in order, and once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use pairing_core::Refused;
use pairing_core::clock::ManualClock;
use pairing_core::store::snapshot::Snapshot;
use pairing_core::store::suite::{LIFETIME, Log, START, at_once, wait};
use pairing_core::store::{
    BatchLimits, Change, Changes, CommitError, Foreign, Journal, Limits, NodeClass, PinKey, ReadIndex, Store,
    Update,
};
use protocol::Pin;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::etcd::{self, Process};
use super::{Prefix, RUNTIME, config, journal};
use crate::Etcd;
use crate::layout::{FORMAT, Layout};
use crate::load::Pages;
use crate::start::find;
use crate::watch::{Delivery, Revision};

/// A journal beside another that has it all from the watch: after each commit both know the same.
struct Beside {
    own: Etcd,
    watched: Etcd,
}

impl Journal for Beside {
    const SHARED: bool = true;
    const BATCH: BatchLimits = Etcd::BATCH;

    fn runtime(&self) -> Option<Handle> {
        self.own.runtime()
    }

    async fn commit(&mut self, changes: &Changes) -> Result<Vec<Foreign>, CommitError> {
        let committed = self.own.commit(changes).await?;
        let (revision, versions) = self.own.known();
        if !committed.is_empty() {
            assert!(self.watched.deliver(revision, Instant::now() + Duration::from_secs(30)).await);
            // Within a revision, clusters come in any order.
            let told = |all: &[Foreign]| all.iter().map(|one| format!("{one:?}")).collect::<BTreeSet<_>>();
            assert_eq!(told(&self.watched.foreign().await), told(&committed));
            assert_eq!(self.watched.known(), (revision, versions));
        }
        Ok(committed)
    }

    async fn resolve(&mut self, changes: &Changes) -> Result<bool, Refused> {
        self.own.resolve(changes).await
    }

    async fn foreign(&mut self) -> Vec<Foreign> {
        // All there is comes from this server's commits, which have told of it.
        let foreign = self.own.foreign().await;
        assert!(foreign.is_empty(), "{foreign:?}");
        foreign
    }

    fn taken_in(&mut self) {
        self.own.taken_in();
    }

    fn read_index(&self) -> Option<Arc<dyn ReadIndex>> {
        self.own.read_index()
    }

    fn snapshot(&self) -> Result<Snapshot, Refused> {
        self.own.snapshot()
    }
}

#[test]
fn the_answer_to_each_transaction_says_what_the_watch_delivers_of_it() {
    if !etcd::is_installed() {
        return;
    }
    let etcd = Process::start(&[]);
    let prefix = Prefix::default();
    let both = Beside { own: journal(&etcd.url, &prefix.0), watched: journal(&etcd.url, &prefix.0) };
    let (clock, log) = (Arc::new(ManualClock::at(START)), Arc::new(Log::default()));
    let store = Store::with_journal(both, Limits::default(), clock.clone(), log.clone()).unwrap();
    let pins: Vec<Pin> = at_once(8, |_| wait(store.create_cluster()).unwrap().pin);
    let pin = &pins[0];
    at_once(16, |number| wait(store.create_key(&pins[number % 4], &format!("k{number}"), "1")).unwrap());
    wait(store.update_key(pin, "k0", Update { name: None, value: Some("Ü".to_owned()) })).unwrap();
    wait(store.update_key(pin, "k0", Update { name: Some("new".to_owned()), value: None })).unwrap();
    wait(store.delete_key(pin, "k4")).unwrap();
    at_once(8, |number| {
        wait(store.put_node(
            &pins[number % 2],
            &format!("n{number}"),
            "{}".to_owned(),
            NodeClass::Sealed,
            None,
        ))
        .unwrap();
    });
    wait(store.delete_node(pin, "n0")).unwrap();
    wait(store.delete_cluster(pin)).unwrap();
    assert_eq!(wait(store.cluster(pin)), Err(Refused::UnknownPin));
    log.take();
    clock.advance(LIFETIME);
    assert_eq!(wait(store.cluster(&pins[1])), Err(Refused::UnknownPin));
    assert_eq!(log.take(), [(pins[1].clone(), Change::Expired)]);
}

#[test]
fn an_answer_stands_for_what_is_delivered_next_and_for_nothing_else() {
    if !etcd::is_installed() {
        return;
    }
    // Of its own, since its revisions are counted.
    let etcd = Process::start(&[]);
    let config = config(&etcd.url, &Prefix::default().0);
    let layout = Layout::new(&config.prefix);
    let members = RUNTIME.block_on(find(&config, FORMAT)).unwrap();
    let (journal, watch) = {
        let _entered = RUNTIME.enter();
        Etcd::unwatched(&config, members.clone())
    };
    let (feed, progress) = (watch.deliveries.clone(), watch.progress.clone());
    let send = |delivery: Delivery| feed.blocking_send(delivery).unwrap();
    let mut client = RUNTIME.block_on(Client::connect([&etcd.url], None)).unwrap();
    let mut revision = || RUNTIME.block_on(client.get("any", None)).unwrap().header().unwrap().revision();
    let log = Arc::new(Log::default());
    let clock = Arc::new(ManualClock::at(START));
    let store = Store::with_journal(journal, Limits::default(), clock, log.clone()).unwrap();

    send(Delivery::Loading(progress.begin_load()));
    send(Delivery::Loaded(revision()));
    // Nothing watches, and yet it is answered and can be read.
    let pin = wait(store.create_cluster()).unwrap().pin;
    wait(store.create_key(&pin, "a", "1")).unwrap();
    assert_eq!(wait(store.keys(&pin)).unwrap().len(), 1);
    assert_eq!(log.take().len(), 1);

    // What the watch delivers of it afterwards is passed over, whatever it says.
    let key = PinKey::of(&pin).unwrap();
    let gone = |revision| {
        let foreign = vec![Foreign::Cluster { pin: key, entry: None, expired: false }];
        Delivery::Revision(Revision { revision, foreign, ..Revision::default() })
    };
    send(gone(revision()));
    wait(store.create_key(&pin, "b", "2")).unwrap();
    assert_eq!(wait(store.keys(&pin)).unwrap().len(), 2);
    log.take();

    // Another server was faster: the answer waits for what it has done, and is shown after that.
    let mut other = RUNTIME.block_on(Client::connect([&etcd.url], None)).unwrap();
    RUNTIME.block_on(other.put(layout.head(), [7; 16], None)).unwrap();
    let before = revision();
    std::thread::scope(|scope| {
        let write = scope.spawn(|| wait(store.create_cluster()).unwrap());
        while revision() == before {
            std::thread::yield_now();
        }
        send(gone(before));
        write.join().unwrap();
    });
    assert_eq!(log.take(), [(pin.clone(), Change::Deleted)]);
    assert_eq!(wait(store.cluster(&pin)), Err(Refused::UnknownPin));

    // A load that began before a transaction may show less than that has written.
    let pin = wait(store.create_cluster()).unwrap().pin;
    let (number, mut pages) = (progress.begin_load(), Pages::new(&members, &layout));
    let mut loaded = vec![Delivery::Loading(number)];
    while let Some(page) = RUNTIME.block_on(pages.next()).ok().unwrap() {
        loaded.push(Delivery::Page(page));
    }
    loaded.push(Delivery::Loaded(pages.revision()));
    let before = revision();
    assert_eq!(pages.revision(), before);
    log.take();
    std::thread::scope(|scope| {
        let write = scope.spawn(|| wait(store.create_key(&pin, "c", "3")).unwrap());
        while revision() == before {
            std::thread::yield_now();
        }
        loaded.into_iter().for_each(send);
        // Then the watch goes on behind the load.
        RUNTIME.spawn(watch.run());
        write.join().unwrap();
    });
    let told: Vec<_> = log.take().into_iter().filter(|(found, _)| *found == pin).collect();
    assert!(matches!(&told[..], [(_, Change::KeySet(key))] if key.name == "c"), "{told:?}");
    assert_eq!(wait(store.keys(&pin)).unwrap().len(), 1);
}
