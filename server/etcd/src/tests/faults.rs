//! Several servers on one etcd, and an etcd in trouble: what the stores answer, and that they are whole afterwards.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::Client;
use pairing_core::Refused;
use pairing_core::clock::ManualClock;
use pairing_core::store::suite::{LIFETIME, Log, START, at_once, wait};
use pairing_core::store::{Change, Foreign, Journal as _, Limits, PinKey, Store};
use protocol::Pin;
use tokio::time::Instant;

use super::etcd::{self, Process};
use super::{Prefix, RUNTIME, journal};
use crate::layout::ClusterRecord;
use crate::load::{ClusterVersion, Loaded};
use crate::watch::Delivery;

/// A server's store, its clock, and what its observer has heard.
struct Server {
    store: Store,
    clock: Arc<ManualClock>,
    log: Arc<Log>,
}

fn server(url: &str, prefix: &Prefix) -> Server {
    let (clock, log) = (Arc::new(ManualClock::at(START)), Arc::new(Log::default()));
    let store =
        Store::with_journal(journal(url, &prefix.0), Limits::default(), clock.clone(), log.clone()).unwrap();
    wait(store.caught_up()).unwrap();
    log.take();
    Server { store, clock, log }
}

/// Tries until it works.
fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_key_is_created_once_among_servers_that_all_try_at_once() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let servers: Vec<_> = (0..4).map(|_| server(etcd::shared(), &prefix)).collect();
    let pin = wait(servers[0].store.create_cluster()).unwrap().pin;
    for round in 0..20 {
        let name = &format!("key{round}");
        let answers =
            at_once(8, |number| wait(servers[number % 4].store.create_key(&pin, name, &number.to_string())));
        let won: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count(), 7);
        for server in &servers {
            assert_eq!(wait(server.store.key(&pin, name)).as_ref(), Ok(won[0]));
        }
    }
    for server in &servers {
        let told = server.log.take();
        assert_eq!(told.len(), 20, "{told:?}");
    }
}

#[test]
fn every_server_knows_at_once_what_another_has_answered() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let servers: Vec<_> = (0..3).map(|_| server(etcd::shared(), &prefix)).collect();
    for round in 0..30 {
        let (one, other) = (&servers[round % 3].store, &servers[(round + 1) % 3].store);
        let pin = wait(one.create_cluster()).unwrap().pin;
        let key = wait(other.create_key(&pin, "k", "1")).unwrap();
        assert_eq!(wait(one.create_key(&pin, "k", "2")), Err(Refused::KeyExists));
        assert_eq!(wait(one.keys(&pin)), Ok(vec![key]));
        wait(one.delete_cluster(&pin)).unwrap();
        assert_eq!(wait(other.delete_key(&pin, "k")), Err(Refused::UnknownPin));
        assert_eq!(wait(other.cluster(&pin)), Err(Refused::UnknownPin));
    }
}

#[test]
fn a_pin_that_one_server_calls_gone_is_gone_for_all_whatever_their_clocks_show() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let (slow, fast) = (server(etcd::shared(), &prefix), server(etcd::shared(), &prefix));
    let pin = wait(slow.store.create_cluster()).unwrap().pin;
    assert!(wait(fast.store.cluster(&pin)).is_ok());
    fast.clock.advance(LIFETIME);
    assert!(wait(slow.store.cluster(&pin)).is_ok());
    assert_eq!(wait(fast.store.cluster(&pin)), Err(Refused::UnknownPin));
    assert_eq!(wait(slow.store.cluster(&pin)), Err(Refused::UnknownPin));
    assert_eq!(slow.log.take(), [(pin, Change::Expired)]);
}

#[test]
fn what_another_program_has_changed_is_loaded_and_told() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let server = server(etcd::shared(), &prefix);
    let (kept, gone) =
        (wait(server.store.create_cluster()).unwrap().pin, wait(server.store.create_cluster()).unwrap().pin);
    let key = wait(server.store.create_key(&kept, "a", "1")).unwrap();
    wait(server.store.create_key(&kept, "b", "2")).unwrap();
    server.log.take();
    RUNTIME.block_on(async {
        let mut etcd = Client::connect([etcd::shared()], None).await.unwrap();
        let below = etcd_client::DeleteOptions::new().with_prefix();
        etcd.delete(format!("{}p/{}", prefix.0, gone.reveal()), Some(below.clone())).await.unwrap();
        let keys = format!("{}p/{}/k/", prefix.0, kept.reveal());
        let all = etcd_client::GetOptions::new().with_prefix().with_keys_only();
        let first = etcd.get(keys, Some(all)).await.unwrap().kvs()[0].key().to_vec();
        etcd.delete(first, None).await.unwrap();
    });
    let mut told = Vec::new();
    until(|| {
        told.extend(server.log.take());
        (told.len() == 2).then_some(())
    });
    assert_eq!(told, [(gone.clone(), Change::Deleted), (kept.clone(), Change::KeyDeleted(key))]);
    assert_eq!(wait(server.store.cluster(&gone)), Err(Refused::UnknownPin));
    assert_eq!(wait(server.store.keys(&kept)).unwrap().len(), 1);
    wait(server.store.create_key(&kept, "a", "3")).unwrap();
}

#[test]
fn a_server_that_hears_nothing_from_etcd_says_so_and_goes_on_when_it_does() {
    if !etcd::is_installed() {
        return;
    }
    let etcd = Process::start(&[]);
    let prefix = Prefix::default();
    let server = server(&etcd.url, &prefix);
    let pin = wait(server.store.create_cluster()).unwrap().pin;
    let key = wait(server.store.create_key(&pin, "a", "1")).unwrap();
    etcd.pause();
    assert!(matches!(wait(server.store.key(&pin, "a")), Err(Refused::Unreachable(_))));
    assert!(matches!(wait(server.store.create_key(&pin, "b", "2")), Err(Refused::Unreachable(_))));
    assert!(wait(server.store.ready()).is_err());
    // A write is refused by its own outcome. A check before it would double the time.
    assert_eq!(wait(server.store.expect_key(&pin, "a")), Ok(()));
    assert!(matches!(wait(server.store.expect_key(&pin, "unknown")), Err(Refused::Unreachable(_))));
    assert_eq!(wait(server.store.expect_cluster(&pin)), Ok(()));
    etcd.resume();
    assert_eq!(until(|| wait(server.store.key(&pin, "a")).ok()), key);
    until(|| wait(server.store.create_key(&pin, "c", "3")).ok());
    // The write that was refused may have happened, whole or not at all.
    let names: Vec<_> = wait(server.store.keys(&pin)).unwrap().iter().map(|key| key.name.clone()).collect();
    assert!(["a c", "a b c"].contains(&names.join(" ").as_str()), "{names:?}");
}

#[test]
fn a_full_etcd_refuses_writes_and_answers_reads() {
    if !etcd::is_installed() {
        return;
    }
    let etcd = Process::start(&["--quota-backend-bytes", "4194304"]);
    let server = server(&etcd.url, &Prefix::default());
    let pin = wait(server.store.create_cluster()).unwrap().pin;
    let value = "v".repeat(20_000);
    wait(server.store.create_key(&pin, "a", &value)).unwrap();
    let refused = until(|| {
        wait(server.store.update_key(
            &pin,
            "a",
            pairing_core::store::Update { name: None, value: Some(value.clone()) },
        ))
        .err()
    });
    assert!(matches!(refused, Refused::NoSpace(_)), "{refused:?}");
    assert_eq!(wait(server.store.key(&pin, "a")).unwrap().value, value);
    assert!(matches!(wait(server.store.ready()), Err(Refused::NoSpace(_))));
}

#[test]
fn what_a_commit_has_heard_before_it_failed_is_not_lost() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let other = server(etcd::shared(), &prefix);
    let mut journal = journal(etcd::shared(), &prefix.0);
    let pin = wait(other.store.create_cluster()).unwrap().pin;
    let pin = PinKey::of(&pin).unwrap();
    let foreign = RUNTIME.block_on(async {
        // As a commit waits for its revision, which does not come in time.
        while !journal.has_cluster(pin) {
            assert!(!journal.deliver(i64::MAX, Instant::now() + Duration::from_millis(20)).await);
        }
        journal.foreign().await
    });
    let is_it = |foreign: &Foreign| matches!(foreign, Foreign::Cluster { pin: found, .. } | Foreign::Keys { pin: found, .. } if *found == pin);
    assert!(foreign.iter().any(is_it), "{foreign:?}");
}

#[test]
fn what_a_load_has_seen_that_failed_half_way_does_not_count_for_the_next() {
    if !etcd::is_installed() {
        return;
    }
    let mut journal = journal(etcd::shared(), &Prefix::default().0);
    let [gone, left] =
        ["aaaaaaaaaaaa", "bbbbbbbbbbbb"].map(|pin| PinKey::of(&Pin::parse(pin).unwrap()).unwrap());
    let page = |pins: &[PinKey]| {
        let load = |&pin| Loaded {
            pin,
            version: ClusterVersion { revision: 1, lease: 0 },
            record: ClusterRecord { created: START, expires: START, next_id: 1 },
            keys: Vec::new(),
            nodes: Vec::new(),
        };
        Delivery::Page(pins.iter().map(load).collect())
    };
    let loads =
        [Delivery::Loading, page(&[gone]), Delivery::Loading, page(&[left]), Delivery::Loaded(i64::MAX)];
    loads.into_iter().for_each(|delivery| journal.apply(delivery));
    assert!(journal.has_cluster(left) && !journal.has_cluster(gone));
    let foreign = RUNTIME.block_on(journal.foreign());
    let is_gone =
        |foreign: &Foreign| matches!(foreign, Foreign::Cluster { pin, entry: None, .. } if *pin == gone);
    assert!(foreign.iter().any(is_gone), "{foreign:?}");
}
