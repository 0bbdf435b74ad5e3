//! Copies between a store file and etcd, both ways.

use std::fs::File;
use std::sync::Arc;

use pairing_core::clock::Timestamp;
use pairing_core::store::copy::{StoreCopy, WholeCluster};
use pairing_core::store::suite::{LIFETIME, START};
use pairing_core::store::{AtRest, Key, Node, NodeClass, PinKey};

use super::{Prefix, RUNTIME, config, etcd};
use crate::{Error, Import, export};

/// So many pins, or as many as the environment says: PINS=100000.
fn pins() -> usize {
    std::env::var("PINS").map_or(2000, |pins| pins.parse().expect("it is a number"))
}

fn pin(number: usize) -> PinKey {
    PinKey::from_bytes(format!("{number:012}").into_bytes().try_into().unwrap()).unwrap()
}

fn cluster(number: usize) -> WholeCluster {
    let created = Timestamp(START.0 + number as u64);
    let key = |at: usize| {
        let (name, value) = (format!("key{at}"), "v".repeat(number % 50));
        Arc::new(Key { name, value, created, modified: created })
    };
    let node = |at: usize| {
        let class = NodeClass::from_number(u8::try_from(at % 9).unwrap()).unwrap();
        Arc::new(Node { id: format!("node{at}").into(), report: "{}".into(), class, reported: created })
    };
    // Now and then more than one transaction takes.
    let (keys, nodes) = if number.is_multiple_of(997) { (200, 300) } else { (2, number % 3) };
    let mut nodes: Vec<_> = (0..nodes).map(node).collect();
    nodes.sort_by(|one, other| one.id.cmp(&other.id));
    let expires = created.after(LIFETIME);
    WholeCluster { pin: pin(number), created, expires, keys: (0..keys).map(key).collect(), nodes }
}

#[test]
fn every_pin_comes_back_as_it_was() {
    if !etcd::is_installed() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (there, back) = (dir.path().join("there"), dir.path().join("back"));
    let begin = |path| StoreCopy::begin(File::create_new(path).unwrap(), "a copy".to_owned()).unwrap();
    let mut file = begin(&there);
    for number in 0..pins() {
        file.add_cluster(&cluster(number)).unwrap();
    }
    assert_eq!(file.finish().unwrap().pins, pins());

    let prefix = Prefix::default();
    let config = config(etcd::shared(), &prefix.0);
    let clusters = AtRest::open_file(&there).unwrap().clusters().unwrap();
    let begun = std::time::Instant::now();
    RUNTIME.block_on(async {
        let mut import = Import::begin(&config, START).await.unwrap();
        for cluster in &clusters {
            import.add(cluster).await.unwrap();
        }
        import.finish().await.unwrap();
    });
    println!("{} pins into etcd in {:?}", clusters.len(), begun.elapsed());
    let begun = std::time::Instant::now();
    let mut file = begin(&back);
    RUNTIME.block_on(export(&config, |cluster| file.add_cluster(&cluster).map_err(Error::Store))).unwrap();
    file.finish().unwrap();
    println!("and out of it in {:?}", begun.elapsed());
    let mut found = AtRest::open_file(&back).unwrap().clusters().unwrap();
    // etcd has them in the order of their pins.
    found.sort_by_key(|cluster| cluster.created);
    assert!(found == clusters, "a pin is not as it was");

    let again = RUNTIME.block_on(Import::begin(&config, START)).map(drop);
    assert_eq!(again, Err(Error::NotEmpty { prefix: prefix.0 }));
}
