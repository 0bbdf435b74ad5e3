//! The promises as far as they concern nodes: part of the suite.

use std::time::Duration;

use protocol::node::{NodeRole, NodeState};

use super::{Backend, Fixture, LIFETIME, at_once, wait};
use crate::Refused;
use crate::store::{Change, Limits, NodeClass, NodesWanted};

const READY: NodeClass = NodeClass::Clear(NodeRole::Slave, NodeState::Ready);
const JOINED: NodeClass = NodeClass::Clear(NodeRole::Slave, NodeState::Joined);

fn put<B: Backend>(
    fixture: &Fixture<B>,
    pin: &protocol::Pin,
    id: &str,
    report: &str,
    class: NodeClass,
) -> Result<(), Refused> {
    wait(fixture.store().put_node(pin, id, report.to_owned(), class, None))
}

pub fn keeps_what_nodes_report_until_they_or_their_cluster_go<B: Backend>() {
    let mut fixture = Fixture::<B>::new(Limits::default());
    let pin = fixture.pin();
    let list = |fixture: &Fixture<B>| {
        let listing = wait(fixture.store().nodes(&pin, None)).unwrap();
        assert!(listing.whole);
        assert_eq!(
            (listing.counts.total(), fixture.store().stats().nodes),
            (listing.nodes.len(), listing.nodes.len())
        );
        let shown = listing.nodes.iter();
        shown
            .map(|node| (node.id.to_string(), node.report.to_string(), node.class, node.reported))
            .collect::<Vec<_>>()
    };
    let empty = fixture.store().stats().bytes;
    assert_eq!(list(&fixture), []);
    let begun = fixture.store().now();
    put(&fixture, &pin, "b", "{1}", JOINED).unwrap();
    put(&fixture, &pin, "a", "v1.x", NodeClass::Sealed).unwrap();
    fixture.clock.advance(Duration::from_secs(1));
    put(&fixture, &pin, "b", "{22}", READY).unwrap();
    let expected = [
        ("a".to_owned(), "v1.x".to_owned(), NodeClass::Sealed, begun),
        ("b".to_owned(), "{22}".to_owned(), READY, begun.after(Duration::from_secs(1))),
    ];
    assert_eq!(list(&fixture), expected);
    fixture.reopen();
    assert_eq!(list(&fixture), expected);
    assert_eq!(wait(fixture.store().keys(&pin)), Ok(vec![]));
    fixture.log.take();
    wait(fixture.store().delete_node(&pin, "a")).unwrap();
    assert!(matches!(fixture.log.take()[..], [(_, Change::NodeDeleted { .. })]));
    assert_eq!(wait(fixture.store().delete_node(&pin, "a")), Err(Refused::UnknownNode));
    fixture.reopen();
    assert_eq!(list(&fixture), expected[1..]);
    wait(fixture.store().delete_node(&pin, "b")).unwrap();
    assert_eq!(fixture.store().stats().bytes, empty);
    put(&fixture, &pin, "b", "{1}", JOINED).unwrap();
    wait(fixture.store().delete_cluster(&pin)).unwrap();
    assert_eq!(wait(fixture.store().nodes(&pin, None)), Err(Refused::UnknownPin));
    assert_eq!(put(&fixture, &pin, "b", "{1}", JOINED), Err(Refused::UnknownPin));
    assert_eq!(wait(fixture.store().delete_node(&pin, "b")), Err(Refused::UnknownPin));
    for _ in 0..2 {
        let stats = fixture.store().stats();
        assert_eq!((stats.nodes, stats.bytes), (0, 0));
        fixture.reopen();
    }
    let pin = fixture.pin();
    put(&fixture, &pin, "b", "{1}", JOINED).unwrap();
    fixture.clock.advance(LIFETIME);
    assert_eq!(wait(fixture.store().nodes(&pin, None)), Err(Refused::UnknownPin));
    assert_eq!(put(&fixture, &pin, "c", "{1}", JOINED), Err(Refused::UnknownPin));
    wait(fixture.store().sweep()).unwrap();
    assert_eq!((fixture.store().stats().nodes, fixture.store().stats().bytes), (0, 0));
}

pub fn refuses_nodes_past_a_limit_and_changes_nothing<B: Backend>() {
    let limits = Limits { nodes_per_pin: 2, node_bytes_per_pin: 20, keys_per_pin: 1, ..Limits::default() };
    let fixture = Fixture::<B>::new(limits);
    let pin = fixture.pin();
    put(&fixture, &pin, "a", "12345", READY).unwrap();
    put(&fixture, &pin, "b", "12345", READY).unwrap();
    let before = wait(fixture.store().nodes(&pin, None)).unwrap();
    let bytes = fixture.store().stats().bytes;
    fixture.log.take();
    assert_eq!(put(&fixture, &pin, "c", "", READY), Err(Refused::TooManyNodes));
    assert_eq!(put(&fixture, &pin, "b", &"x".repeat(14), READY), Err(Refused::TooManyNodeBytes));
    assert_eq!(wait(fixture.store().nodes(&pin, None)), Ok(before));
    assert_eq!((fixture.store().stats().bytes, fixture.log.take()), (bytes, vec![]));
    // One that is there may still say how it is, and the limits of keys are others.
    put(&fixture, &pin, "b", &"x".repeat(13), READY).unwrap();
    wait(fixture.store().create_key(&pin, "k", &"v".repeat(100))).unwrap();
    // What counts for all clusters counts nodes too.
    let limits = Limits { bytes: 2000, ..Limits::default() };
    let fixture = Fixture::<B>::new(limits);
    let pin = fixture.pin();
    assert_eq!(put(&fixture, &pin, "a", &"x".repeat(2000), READY), Err(Refused::OutOfMemory));
    put(&fixture, &pin, "a", &"x".repeat(1000), READY).unwrap();
    assert_eq!(put(&fixture, &pin, "b", &"x".repeat(500), READY), Err(Refused::OutOfMemory));
    wait(fixture.store().delete_node(&pin, "a")).unwrap();
    put(&fixture, &pin, "b", &"x".repeat(500), READY).unwrap();
}

pub fn counts_64_nodes_that_report_at_once_and_tells_the_counts_in_order<B: Backend>() {
    let fixture = Fixture::<B>::new(Limits::default());
    let pin = fixture.pin();
    for (round, class) in [JOINED, READY].into_iter().enumerate() {
        at_once(64, |number| put(&fixture, &pin, &number.to_string(), "{}", class).unwrap());
        let all = |at_least, state| NodesWanted { at_least, state: Some(state), role: None };
        let mut reached = 0;
        for (_, change) in fixture.log.take() {
            let Change::NodeSet { counts, .. } = change else { panic!("{change:?}") };
            let state = if round == 0 { NodeState::Joined } else { NodeState::Ready };
            reached += 1;
            assert!(all(reached, state).are_met(&counts) && !all(reached + 1, state).are_met(&counts));
        }
        assert_eq!(reached, 64);
    }
    assert_eq!(wait(fixture.store().nodes(&pin, None)).unwrap().nodes.len(), 64);
}
