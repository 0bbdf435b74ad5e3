//! The service is killed again and again while clients write: every acknowledged write is there afterwards, and an
//! interrupted write has happened as a whole or not at all.
//!
//! Here the process dies. Power cuts, which also lose what the kernel has not written yet, are in the store's own tests.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use worlds::api::{Api, key_path, keys};
use worlds::figures;
use worlds::http::Request;
use worlds::service::Service;
use worlds::wait::until;

const KILLS: usize = 40;
const WRITERS: usize = 8;
/// The kill comes after so many acknowledged writes at most; sometimes before the first.
const WRITES_PER_LIFE: u64 = 300;
/// A new pin after so many keys: well below the limit of a pin.
const KEYS_PER_PIN: usize = 100;

#[test]
fn keeps_every_acknowledged_write_through_every_kill() {
    let mut service = Service::start();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|_| Writer::default()).collect();
    let acknowledged = AtomicU64::new(0);
    for _ in 0..KILLS {
        let kill_at = acknowledged.load(Ordering::SeqCst) + fastrand::u64(0..WRITES_PER_LIFE);
        let api = service.api();
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| writer.write_until_cut_off(api, &acknowledged));
            }
            until("enough is written", || (acknowledged.load(Ordering::SeqCst) >= kill_at).then_some(()));
            service.kill();
        });
        service.resume_elsewhere();
        let lost: Vec<_> = writers.iter_mut().flat_map(|writer| writer.find_lost(service.api())).collect();
        assert!(lost.is_empty(), "acknowledged, but lost:\n{}", lost.join("\n"));
    }
    let acknowledged = acknowledged.into_inner();
    let doubtful: usize = writers.iter().map(|writer| writer.doubtful).sum();
    let happened: usize = writers.iter().map(|writer| writer.happened).sum();
    figures::show(&format!(
        "{KILLS} kills, {acknowledged} acknowledged writes, 0 lost; {doubtful} were cut off, of which {happened} happened"
    ));
    assert!(acknowledged > KILLS as u64 && doubtful > KILLS, "the kills must come in the middle of writes");
}

/// One client, what it knows to be stored, and what it cannot know.
#[derive(Default)]
struct Writer {
    clusters: Vec<Cluster>,
    /// Numbers values, so that no two are alike.
    serial: u64,
    /// Writes that were cut off.
    doubtful: usize,
    /// Those of them that were found to have happened.
    happened: usize,
}

#[derive(Default)]
struct Cluster {
    pin: String,
    keys: Keys,
    /// The write that was cut off.
    cut_off: Option<Write>,
}

type Keys = BTreeMap<String, String>;

/// What a client can do to the keys of a pin.
#[derive(Clone)]
enum Write {
    Create { key: String, value: String },
    Update { key: String, value: String },
    Rename { from: String, to: String, value: String },
    Delete { key: String },
}

impl Writer {
    /// Writes until the service is gone.
    fn write_until_cut_off(&mut self, api: Api, acknowledged: &AtomicU64) {
        while self.write(api).is_ok() {
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn write(&mut self, api: Api) -> io::Result<()> {
        if self.clusters.last().is_none_or(|cluster| cluster.keys.len() >= KEYS_PER_PIN) {
            return self.new_cluster(api);
        }
        self.serial += 1;
        let cluster = self.clusters.last_mut().expect("made above");
        let write = Write::any(&cluster.keys, self.serial);
        match write.send(api, &cluster.pin) {
            Ok(()) => write.apply(&mut cluster.keys),
            Err(e) => {
                cluster.cut_off = Some(write);
                return Err(e);
            }
        }
        Ok(())
    }

    /// A pin whose creation was cut off was never answered.
    fn new_cluster(&mut self, api: Api) -> io::Result<()> {
        let answer = api.send(&Request::new("POST", "/api/v1/clusters"))?;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let pin = answer.json()["pin"].as_str().expect("an answer has the pin").to_owned();
        self.clusters.push(Cluster { pin, ..Cluster::default() });
        Ok(())
    }

    /// Compares what is stored with what is known, and learns what became of the write that was cut off.
    fn find_lost(&mut self, api: Api) -> Vec<String> {
        let mut lost = Vec::new();
        for cluster in &mut self.clusters {
            let stored = stored_keys(api, &cluster.pin);
            if let Some(write) = cluster.cut_off.take() {
                self.doubtful += 1;
                let mut with_it = cluster.keys.clone();
                write.apply(&mut with_it);
                if stored.as_ref() == Some(&with_it) {
                    self.happened += 1;
                    cluster.keys = with_it;
                }
            }
            if stored.as_ref() != Some(&cluster.keys) {
                lost.push(format!("{}: known {:?}, stored {stored:?}", cluster.pin, cluster.keys));
            }
        }
        lost
    }
}

/// The keys of a pin; `None` when the pin is unknown.
fn stored_keys(api: Api, pin: &str) -> Option<Keys> {
    let answer = api.get(&keys(pin));
    let json = answer.json();
    let text = |entry: &serde_json::Value, field: &str| {
        entry[field].as_str().expect("an entry has texts").to_owned()
    };
    let listed = json.as_array().filter(|_| answer.status == 200)?;
    Some(listed.iter().map(|entry| (text(entry, "key"), text(entry, "value"))).collect())
}

impl Write {
    /// Mostly creates, so that the keys grow.
    fn any(keys: &Keys, serial: u64) -> Self {
        let value = format!("v{serial}");
        let new_key = format!("k{serial}");
        let Some(key) = fastrand::choice(keys.keys()).cloned() else {
            return Self::Create { key: new_key, value };
        };
        match fastrand::u8(0..8) {
            0 => Self::Delete { key },
            1 => Self::Rename { from: key, to: new_key, value },
            2..4 => Self::Update { key, value },
            _ => Self::Create { key: new_key, value },
        }
    }

    fn send(&self, api: Api, pin: &str) -> io::Result<()> {
        let (request, expected) = match self {
            Self::Create { key, value } => {
                (Request::new("POST", &keys(pin)).json(&json!({ "key": key, "value": value })), 201)
            }
            Self::Update { key, value } => {
                (Request::new("PATCH", &key_path(pin, key)).json(&json!({ "value": value })), 200)
            }
            Self::Rename { from, to, value } => {
                (Request::new("PUT", &key_path(pin, from)).json(&json!({ "key": to, "value": value })), 200)
            }
            Self::Delete { key } => (Request::new("DELETE", &key_path(pin, key)), 204),
        };
        let answer = api.send(&request)?;
        assert_eq!(answer.status, expected, "{} {}: {}", request.method, request.path, answer.text());
        Ok(())
    }

    fn apply(&self, keys: &mut Keys) {
        match self {
            Self::Create { key, value } | Self::Update { key, value } => {
                keys.insert(key.clone(), value.clone());
            }
            Self::Rename { from, to, value } => {
                keys.remove(from);
                keys.insert(to.clone(), value.clone());
            }
            Self::Delete { key } => {
                keys.remove(key);
            }
        }
    }
}
