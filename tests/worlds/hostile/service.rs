//! A pairing service that keeps what it gets and answers what its operator likes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use worlds::http::Headers;
use worlds::mock_server::{MockServer, Reply, Seen};

/// What the service was given: the values of every key, the last one at the end.
pub(crate) type Kept = BTreeMap<(String, String), Vec<String>>;

/// What it answers to a GET of a key, beside the honest answer.
pub(crate) type Attack = fn(&Kept, pin: &str, key: &str) -> Reply;

/// The service.
pub(crate) struct Hostile {
    http: MockServer,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    kept: Kept,
    deleted: Vec<(String, String)>,
    attack: Attack,
}

impl Hostile {
    /// A service that is honest until it is told otherwise. It knows every pin.
    pub(crate) fn start() -> Self {
        let shared = Shared { kept: Kept::new(), deleted: Vec::new(), attack: honest };
        let shared = Arc::new(Mutex::new(shared));
        let script = Arc::clone(&shared);
        let http = MockServer::start(move |seen, _| {
            script.lock().unwrap_or_else(PoisonError::into_inner).answer(seen)
        });
        Self { http, shared }
    }

    pub(crate) fn url(&self) -> String {
        self.http.url()
    }

    /// Answers so from now on.
    pub(crate) fn play(&self, attack: Attack) {
        self.lock().attack = attack;
    }

    /// What it holds of a key.
    pub(crate) fn value(&self, pin: &str, key: &str) -> Option<String> {
        self.lock().value(pin, key)
    }

    /// Everything that came to it, as text.
    pub(crate) fn everything_seen(&self) -> String {
        let line = |seen: &Seen| {
            format!(
                "{} {} {:?} {}",
                seen.method,
                seen.path,
                seen.headers,
                String::from_utf8_lossy(&seen.body)
            )
        };
        self.http.seen().iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.http.seen().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn value(&self, pin: &str, key: &str) -> Option<String> {
        let of = (pin.to_owned(), key.to_owned());
        if self.deleted.contains(&of) { None } else { last(&self.kept, pin, key) }
    }

    fn answer(&mut self, seen: &Seen) -> Reply {
        let words: Vec<&str> = seen.path.trim_start_matches("/api/v1/clusters/").split('/').collect();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let value = body["value"].as_str().unwrap_or_default().to_owned();
        match (seen.method.as_str(), words.as_slice()) {
            ("GET", [pin]) => Reply::json(200, &json!({"pin": pin, "creation_time": "2026-08-01T00:00:00Z"})),
            ("GET", [pin, "keys", key]) => match self.value(pin, key) {
                // An attack may also make a key up, but only where a slave would not wait for it in vain.
                None => Reply::status(404),
                Some(_) => (self.attack)(&self.kept, pin, key),
            },
            ("POST", [pin, "keys"]) => {
                let key = body["key"].as_str().unwrap_or_default();
                match self.value(pin, key) {
                    Some(_) => Reply::json(409, &json!({})),
                    None => self.keep(pin, key, value, 201),
                }
            }
            ("PUT", [pin, "keys", key]) if self.value(pin, key).is_some() => self.keep(pin, key, value, 200),
            ("DELETE", [pin, "keys", key]) if self.value(pin, key).is_some() => {
                self.deleted.push(((*pin).to_owned(), (*key).to_owned()));
                Reply::status(204)
            }
            _ => Reply::json(404, &json!({"detail": "Not found."})),
        }
    }

    fn keep(&mut self, pin: &str, key: &str, value: String, status: u16) -> Reply {
        let of = (pin.to_owned(), key.to_owned());
        self.deleted.retain(|deleted| *deleted != of);
        self.kept.entry(of).or_default().push(value);
        Reply::json(status, &json!({}))
    }
}

/// Answers what it was given.
pub(crate) fn honest(kept: &Kept, pin: &str, key: &str) -> Reply {
    answer(key, &last(kept, pin, key).unwrap_or_default())
}

/// The last value of a key, deleted or not.
pub(crate) fn last(kept: &Kept, pin: &str, key: &str) -> Option<String> {
    kept.get(&(pin.to_owned(), key.to_owned()))?.last().cloned()
}

/// The first value of a key.
pub(crate) fn first(kept: &Kept, pin: &str, key: &str) -> String {
    kept[&(pin.to_owned(), key.to_owned())][0].clone()
}

/// The answer with this value of a key.
pub(crate) fn answer(key: &str, value: &str) -> Reply {
    let headers = Headers(vec![("Content-Type".into(), "text/plain; charset=utf-8".into())]);
    Reply::Answer(200, headers, format!("{key}: {value}").into_bytes())
}
