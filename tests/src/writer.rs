//! A client that writes to the service, knows what must be there, and looks whether it is.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::api::{Api, key_path, keys};
use crate::http::{Request, Response};

/// A new pin after so many keys: well below the limit of a pin.
const KEYS_PER_PIN: usize = 100;

/// One client, what it knows to be stored, and what it cannot know.
#[derive(Debug, Default)]
pub struct Writer {
    clusters: Vec<Cluster>,
    /// Numbers values, so that no two are alike.
    serial: u64,
    /// Whether the service may say that its disk fails. Then, too, it is not known whether a write has happened.
    disk_may_fail: bool,
    /// Writes that were cut off.
    pub doubtful: usize,
    /// Those of them that were found to have happened.
    pub happened: usize,
}

#[derive(Debug, Default)]
struct Cluster {
    pin: String,
    keys: Keys,
    /// The write that was cut off.
    cut_off: Option<Write>,
}

type Keys = BTreeMap<String, String>;

/// What a client can do to the keys of a pin.
#[derive(Debug, Clone)]
enum Write {
    Create { key: String, value: String },
    Update { key: String, value: String },
    Rename { from: String, to: String, value: String },
    Delete { key: String },
}

impl Writer {
    /// One that takes the answer that the disk fails.
    #[must_use]
    pub fn on_a_disk_that_may_fail() -> Self {
        Self { disk_may_fail: true, ..Self::default() }
    }

    /// Writes until the service is gone, or its disk fails where it may.
    ///
    /// # Panics
    /// When an answer is another than it must be.
    pub fn write_until_cut_off(&mut self, api: Api, acknowledged: &AtomicU64) {
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
        match write.send(api, &cluster.pin, self.disk_may_fail) {
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
        let answer = send(api, &Request::new("POST", "/api/v1/clusters"), 201, self.disk_may_fail)?;
        let pin = answer.json()["pin"].as_str().expect("an answer has the pin").to_owned();
        self.clusters.push(Cluster { pin, ..Cluster::default() });
        Ok(())
    }

    /// Compares what is stored with what is known, and learns what became of the write that was cut off. Gives a line for
    /// each pin that is not as it must be, and takes what is there for granted from then on.
    ///
    /// # Panics
    /// When the service does not answer.
    pub fn find_lost(&mut self, api: Api) -> Vec<String> {
        let mut lost = Vec::new();
        self.clusters.retain_mut(|cluster| {
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
            let is_there = stored.is_some();
            cluster.keys = stored.unwrap_or_default();
            is_there
        });
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

    fn send(&self, api: Api, pin: &str, disk_may_fail: bool) -> io::Result<()> {
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
        send(api, &request, expected, disk_may_fail).map(drop)
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

/// Sends a request that has to be answered so, unless the disk may fail.
fn send(api: Api, request: &Request, expected: u16, disk_may_fail: bool) -> io::Result<Response> {
    let answer = api.send(request)?;
    if disk_may_fail && answer.status >= 500 {
        return Err(io::Error::other(answer.text()));
    }
    assert_eq!(answer.status, expected, "{} {}: {}", request.method, request.path, answer.text());
    Ok(answer)
}
