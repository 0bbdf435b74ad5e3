//! Values that programs share: who writes over what, who has a lock, and what a prefix is for.

use super::etcd::{self, Process};
use super::{Prefix, RUNTIME, config};
use crate::{Document, Documents, Error, Written, connect};

const FORMAT: &str = "values-1";

fn open(prefix: &Prefix) -> Documents {
    RUNTIME.block_on(Documents::open(&config(etcd::shared(), &prefix.0), FORMAT)).unwrap()
}

#[test]
fn a_value_is_written_only_over_what_its_writer_has_seen() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let (one, other) = (open(&prefix), open(&prefix));
    RUNTIME.block_on(async {
        assert_eq!(one.get("a/x").await, Ok(None));
        let Written::Done(first) = one.write("a/x", b"1", 0, None).await.unwrap() else { panic!("refused") };
        let there = Document { name: "a/x".into(), value: b"1".into(), revision: first };
        assert_eq!(other.write("a/x", b"2", 0, None).await, Ok(Written::Changed(Some(there.clone()))));
        // The same again is what was sent before.
        assert_eq!(one.write("a/x", b"1", 0, None).await, Ok(Written::Done(first)));
        let Written::Done(second) = other.write("a/x", b"2", first, None).await.unwrap() else {
            panic!("refused")
        };
        assert!(second > first);
        assert_eq!(
            one.write("a/x", b"3", first, None).await,
            Ok(Written::Changed(Some(Document { name: "a/x".into(), value: b"2".into(), revision: second })))
        );
        other.write("a/y", b"4", 0, None).await.unwrap();
        other.write("b", b"5", 0, None).await.unwrap();
        let names: Vec<_> = one.beginning("a/").await.unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["a/x", "a/y"]);
        one.remove("a/x").await.unwrap();
        one.remove("a/x").await.unwrap();
        assert_eq!(other.write("a/x", b"6", second, None).await, Ok(Written::Changed(None)));
    });
}

#[test]
fn a_lock_is_one_holder_s_and_a_write_with_it_fails_when_it_is_lost() {
    if !etcd::is_installed() {
        return;
    }
    let prefix = Prefix::default();
    let (one, other) = (open(&prefix), open(&prefix));
    RUNTIME.block_on(async {
        let held = one.lock("lab").await.unwrap();
        let another = other.lock("other").await.unwrap();
        other.release(another).await;
        let waiting = tokio::spawn({
            let other = other.clone();
            async move { other.lock("lab").await.unwrap() }
        });
        assert!(matches!(one.write("x", b"1", 0, Some(&held)).await, Ok(Written::Done(_))));
        assert!(!waiting.is_finished());
        // As if its holder were gone: the lock ends, and another takes it.
        one.remove("locks/lab").await.unwrap();
        let taken = waiting.await.unwrap();
        assert_eq!(one.write("y", b"2", 0, Some(&held)).await, Ok(Written::Changed(None)));
        assert_eq!(one.get("y").await, Ok(None));
        assert!(matches!(other.write("y", b"3", 0, Some(&taken)).await, Ok(Written::Done(_))));
        other.release(taken).await;
        one.lock("lab").await.unwrap();
    });
}

#[test]
fn a_prefix_is_for_one_kind_of_data() {
    if !etcd::is_installed() {
        return;
    }
    let (values, store) = (Prefix::default(), Prefix::default());
    let opened = |prefix: &Prefix, format: &'static str| {
        RUNTIME.block_on(Documents::open(&config(etcd::shared(), &prefix.0), format)).err()
    };
    assert_eq!(opened(&values, FORMAT), None);
    let later = Error::Format { prefix: values.0.clone(), found: FORMAT.to_owned(), known: "values-2" };
    assert_eq!(opened(&values, "values-2"), Some(later));
    let foreign = |prefix: &Prefix| Some(Error::Foreign { prefix: prefix.0.clone() });
    let as_store = |prefix: &Prefix| RUNTIME.block_on(connect(&config(etcd::shared(), &prefix.0))).err();
    assert_eq!(as_store(&values), foreign(&values));
    assert_eq!(as_store(&store), None);
    assert_eq!(opened(&store, FORMAT), foreign(&store));
}

#[test]
fn an_etcd_that_does_not_answer_is_named_and_used_again() {
    if !etcd::is_installed() {
        return;
    }
    let etcd = Process::start(&[]);
    let values = RUNTIME.block_on(Documents::open(&config(&etcd.url, "/x/"), FORMAT)).unwrap();
    etcd.pause();
    match RUNTIME.block_on(values.get("a")) {
        Err(Error::Unreachable { problems, .. }) => assert!(problems.contains(&etcd.url), "{problems}"),
        other => panic!("{other:?}"),
    }
    etcd.resume();
    assert!(matches!(RUNTIME.block_on(values.write("a", b"1", 0, None)), Ok(Written::Done(_))));
}
