//! Clusters and keys: what is written is what is read.

use std::future::Future as _;
use std::task::{Context, Waker};
use std::time::Duration;

use protocol::Pin;

use super::{Backend, LIFETIME, START, at_once, fixture, wait};
use crate::Refused;
use crate::store::Change;

pub fn keeps_a_cluster_and_its_keys<B: Backend>() {
    let mut fixture = fixture::<B>();
    let made = wait(fixture.store().create_cluster()).unwrap();
    assert!(made.pin.looks_made());
    assert_eq!((made.created, made.expires), (START, START.after(LIFETIME)));
    fixture.clock.advance(Duration::from_secs(1));
    let created = fixture.create(&made.pin, "master_ip", "10.1.2.3").unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let ready = fixture.create(&made.pin, "master_ready", "").unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    let updated = fixture.update(&made.pin, "master_ip", None, Some("10.1.2.4")).unwrap();
    assert_eq!((created.created, created.modified), (START.after(Duration::from_secs(1)), created.created));
    assert_eq!((updated.created, updated.modified), (created.created, START.after(Duration::from_secs(3))));

    for _ in 0..2 {
        let store = fixture.store();
        assert_eq!(wait(store.cluster(&made.pin)), Ok(made.clone()));
        assert_eq!(wait(store.keys(&made.pin)), Ok(vec![updated.clone(), ready.clone()]));
        assert_eq!(wait(store.key(&made.pin, "master_ip")), Ok(updated.clone()));
        assert_eq!(wait(store.ready()), Ok(()));
        fixture.reopen();
    }
    wait(fixture.store().delete_key(&made.pin, "master_ip")).unwrap();
    fixture.reopen();
    fixture.check_list(&made.pin, &[("master_ready", "")]);
    wait(fixture.store().delete_cluster(&made.pin)).unwrap();
    fixture.reopen();
    assert_eq!(fixture.list(&made.pin), Err(Refused::UnknownPin));
}

pub fn tells_an_unknown_pin_from_an_unknown_key<B: Backend>() {
    let fixture = fixture::<B>();
    let known = fixture.pin();
    for (pin, unknown) in [
        (known, Refused::UnknownKey),
        (Pin::parse("enico1qq0oey").unwrap(), Refused::UnknownPin),
        (Pin::parse("not-as-long-as-ours").unwrap(), Refused::UnknownPin),
        (Pin::parse("AS_long-OURS").unwrap(), Refused::UnknownPin),
    ] {
        assert_eq!(wait(fixture.store().key(&pin, "k")), Err(unknown.clone()));
        assert_eq!(fixture.update(&pin, "k", None, Some("v")), Err(unknown.clone()));
        assert_eq!(fixture.update(&pin, "k", None, None), Err(unknown.clone()));
        assert_eq!(wait(fixture.store().delete_key(&pin, "k")), Err(unknown.clone()));
        if unknown == Refused::UnknownPin {
            assert_eq!(wait(fixture.store().cluster(&pin)), Err(unknown.clone()));
            assert_eq!(fixture.list(&pin), Err(unknown.clone()));
            assert_eq!(fixture.create(&pin, "k", "v"), Err(unknown.clone()));
            assert_eq!(wait(fixture.store().delete_cluster(&pin)), Err(unknown));
        }
    }
    assert_eq!(fixture.log.take(), []);
}

pub fn creates_a_key_once_for_64_who_try_at_once<B: Backend>() {
    let fixture = fixture::<B>();
    let (store, pin) = (fixture.store(), &fixture.pin());
    for round in 0..40 {
        let name = &format!("key{round}");
        let answers = at_once(64, |number| wait(store.create_key(pin, name, &number.to_string())));
        let winners: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(winners.len(), 1, "{answers:?}");
        let refused = answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count();
        assert_eq!(refused, 63, "{answers:?}");
        assert_eq!(wait(store.key(pin, name)).as_ref(), Ok(winners[0]));
    }
    assert_eq!(fixture.log.take().len(), 40);
}

pub fn renames_onto_a_name_once_for_64_who_try_at_once<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    at_once(64, |number| fixture.create(&pin, &number.to_string(), "").unwrap());
    let answers = at_once(64, |number| fixture.update(&pin, &number.to_string(), Some("goal"), None));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| **answer == Err(Refused::KeyExists)).count(), 63);
    let list = fixture.list(&pin).unwrap();
    assert_eq!(list.len(), 64);
    assert_eq!(list.iter().filter(|(name, _)| name == "goal").count(), 1);
}

pub fn changes_values_and_names_and_keeps_what_is_not_named<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.create(&pin, "name", "value").unwrap();
    fixture.log.take();
    for (number, (from, to, value, expected, told)) in [
        ("name", None, Some("new"), ("name", "new"), true),
        ("name", Some("other"), None, ("other", "new"), true),
        ("other", Some("third"), Some("both"), ("third", "both"), true),
        ("third", Some("third"), None, ("third", "both"), true),
        ("third", Some("third"), Some("newer"), ("third", "newer"), true),
        // Nothing was set, so nothing was modified, and there is no change to report.
        ("third", None, None, ("third", "newer"), false),
    ]
    .into_iter()
    .enumerate()
    {
        fixture.clock.advance(Duration::from_micros(1));
        let key = fixture.update(&pin, from, to, value).unwrap();
        assert_eq!((key.name.as_str(), key.value.as_str()), expected);
        assert_eq!(key.created, START);
        assert_eq!(
            key.modified,
            START.after(Duration::from_micros(if told { number as u64 + 1 } else { 5 }))
        );
        let change = if from == key.name {
            Change::KeySet(key.clone())
        } else {
            Change::KeyRenamed { from: from.to_owned(), key: key.clone() }
        };
        assert_eq!(fixture.log.take(), if told { vec![(pin.clone(), change)] } else { vec![] });
        fixture.reopen();
        assert_eq!(wait(fixture.store().keys(&pin)), Ok(vec![key]));
        if from != expected.0 {
            assert_eq!(wait(fixture.store().key(&pin, from)), Err(Refused::UnknownKey));
        }
    }
}

pub fn a_rename_onto_another_key_changes_nothing<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    fixture.create(&pin, "one", "1").unwrap();
    fixture.create(&pin, "two", "2").unwrap();
    fixture.log.take();
    assert_eq!(fixture.update(&pin, "one", Some("two"), Some("3")), Err(Refused::KeyExists));
    assert_eq!(fixture.log.take(), []);
    fixture.reopen();
    fixture.check_list(&pin, &[("one", "1"), ("two", "2")]);
}

pub fn lists_keys_in_the_order_of_creation<B: Backend>() {
    let mut fixture = fixture::<B>();
    let pin = fixture.pin();
    for name in ["z", "m", "a", "k"] {
        fixture.create(&pin, name, "").unwrap();
    }
    fixture.update(&pin, "z", Some("y"), None).unwrap();
    fixture.update(&pin, "a", None, Some("!")).unwrap();
    wait(fixture.store().delete_key(&pin, "m")).unwrap();
    fixture.create(&pin, "m", "again").unwrap();
    for _ in 0..2 {
        fixture.check_list(&pin, &[("y", ""), ("a", "!"), ("k", ""), ("m", "again")]);
        fixture.reopen();
    }
}

pub fn a_write_whose_asker_has_gone_leaves_the_store_whole<B: Backend>() {
    let fixture = fixture::<B>();
    let pin = fixture.pin();
    for round in 0..50 {
        let name = format!("k{round}");
        // Begun, then dropped, as when a client hangs up.
        let mut begun = Box::pin(fixture.store().create_key(&pin, &name, "v"));
        let _ = begun.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(begun);
        let again = fixture.create(&pin, &name, "v");
        assert!(matches!(again, Ok(_) | Err(Refused::KeyExists)), "{again:?}");
    }
    assert_eq!(fixture.list(&pin).unwrap().len(), 50);
}
