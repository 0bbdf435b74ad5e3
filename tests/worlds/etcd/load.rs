//! Clients that write and read all the time through every server, and remember what they saw.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use worlds::history::{Event, Operation, is_linearizable};
use worlds::wait::until;

const CLIENTS: usize = 6;
const KEYS: usize = 24;
/// A server that is stopped does not answer; its clients do not wait for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all clients share.
struct Shared {
    servers: [SocketAddr; 3],
    pin: String,
    stop: AtomicBool,
    next_value: AtomicU64,
    acknowledged: AtomicUsize,
    unknown: AtomicUsize,
    refused: AtomicUsize,
    seen: Mutex<Seen>,
}

struct Seen {
    history: HashMap<usize, Vec<Operation>>,
    last: Instant,
    longest_gap: Duration,
    longest_answer: Duration,
}

/// Clients at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// What they saw, in one run of a fault or in several.
#[derive(Default)]
pub(super) struct Outcome {
    runs: usize,
    acknowledged: usize,
    unknown: usize,
    refused: usize,
    longest_gap: Duration,
    longest_answer: Duration,
    histories: usize,
    impossible: usize,
}

impl Outcome {
    /// The head of a table of outcomes.
    pub(super) const HEAD: &str = "runs | acknowledged writes | writes of unknown outcome | requests refused | longest time without an \
        acknowledged write | longest answer | histories | not linearizable";

    /// Whether every key's history is what one key can do. Each key is read through every server at the end, so an
    /// acknowledged write that was lost shows too.
    pub(super) fn is_linearizable(&self) -> bool {
        self.impossible == 0
    }

    /// This and another run.
    pub(super) fn and(self, other: &Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            acknowledged: self.acknowledged + other.acknowledged,
            unknown: self.unknown + other.unknown,
            refused: self.refused + other.refused,
            longest_gap: self.longest_gap.max(other.longest_gap),
            longest_answer: self.longest_answer.max(other.longest_answer),
            histories: self.histories + other.histories,
            impossible: self.impossible + other.impossible,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, acknowledged, unknown, refused, histories, impossible, .. } = self;
        let (gap, answer) = (self.longest_gap.as_secs_f64(), self.longest_answer.as_secs_f64());
        write!(
            f,
            "{runs} | {acknowledged} | {unknown} | {refused} | {gap:.1} s | {answer:.1} s | {histories} | {impossible}"
        )
    }
}

/// Sends a request, and gives status, head and body.
fn exchange(
    server: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: Option<&str>,
    patience: Duration,
) -> io::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    let body = body.unwrap_or_default();
    let length = if method == "POST" || method == "PUT" {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    } else {
        String::new()
    };
    let head = "Host: x\r\nAccept: application/json\r\nConnection: close\r\n";
    write!(stream, "{method} {path} HTTP/1.1\r\n{head}{headers}{length}\r\n{body}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no answer"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((status, head.to_owned(), body.to_owned()))
}

/// Asks a server.
pub(super) fn ask(
    server: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> io::Result<(u16, String)> {
    exchange(server, method, path, "", body, PATIENCE).map(|(status, _, body)| (status, body))
}

/// Waits for a key at a server, and gives the status and the head of the answer.
pub(super) fn wait(server: SocketAddr, path: &str) -> (u16, String) {
    let patience = Duration::from_secs(70);
    let answer = exchange(server, "GET", path, "Prefer: wait=50\r\n", None, patience);
    answer.map(|(status, head, _)| (status, head)).expect("the server answers")
}

/// A new pin, of the first server that makes one.
pub(super) fn new_pin(servers: &[SocketAddr]) -> String {
    let ask = |server: &SocketAddr| {
        let (status, body) = ask(*server, "POST", "/api/v1/clusters", None).ok()?;
        let made: serde_json::Value = serde_json::from_str(&body).ok().filter(|_| status == 201)?;
        Some(made["pin"].as_str().expect("an answer has the pin").to_owned())
    };
    until("a server makes a pin", || servers.iter().find_map(ask))
}

impl Load {
    pub(super) fn start(servers: [SocketAddr; 3]) -> Self {
        let now = Instant::now();
        let seen = Seen {
            history: HashMap::new(),
            last: now,
            longest_gap: Duration::ZERO,
            longest_answer: Duration::ZERO,
        };
        let shared = Arc::new(Shared {
            servers,
            pin: new_pin(&servers),
            stop: AtomicBool::new(false),
            next_value: AtomicU64::new(0),
            acknowledged: AtomicUsize::new(0),
            unknown: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            seen: Mutex::new(seen),
        });
        // Each client has a server: those of one that does not answer keep none from the others.
        let client = |number: usize| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    shared.request(number % 3, fastrand::usize(..KEYS), fastrand::u8(..10));
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self { shared, clients }
    }

    /// Waits until so many more writes are acknowledged.
    pub(super) fn go_on(&self, writes: usize) {
        let before = self.shared.acknowledged.load(Ordering::Relaxed);
        until("writes are acknowledged", || {
            (self.shared.acknowledged.load(Ordering::Relaxed) >= before + writes).then_some(())
        });
    }

    /// Waits until a server says that it cannot answer.
    pub(super) fn until_refused(&self, server: usize) {
        until("a server refuses", || self.shared.read(server, 0).filter(|status| *status == 503));
    }

    /// Waits until every server refuses writes for want of space, and answers reads all the same.
    pub(super) fn until_full(&self) {
        for server in self.shared.servers {
            let keys = format!("/api/v1/clusters/{}/keys", self.shared.pin);
            let write = || ask(server, "POST", &keys, Some(r#"{"key":"full","value":"1"}"#)).ok();
            until("a server is out of space", || write().filter(|(status, _)| *status == 507));
            assert_eq!(ask(server, "GET", &keys, None).expect("it answers").0, 200);
        }
    }

    /// Waits until a server answers reads and writes.
    pub(super) fn until_works(&self, server: usize) {
        until("a server reads", || self.shared.read(server, 0).filter(|status| [200, 404].contains(status)));
        let keys = format!("/api/v1/clusters/{}/keys", self.shared.pin);
        let body = format!(r#"{{"key":"works{server}","value":"1"}}"#);
        let address = self.shared.servers[server];
        until("a server writes", || {
            ask(address, "POST", &keys, Some(&body)).ok().filter(|(status, _)| [201, 409].contains(status))
        });
    }

    /// Ends the clients, reads every key through every server, and says what all of them saw.
    pub(super) fn finish(self) -> Outcome {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
        for server in 0..3 {
            for key in 0..KEYS {
                assert!(self.shared.read(server, key).is_some_and(|status| status < 500));
            }
        }
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let seen = self.shared.seen();
        Outcome {
            runs: 1,
            acknowledged: read(&self.shared.acknowledged),
            unknown: read(&self.shared.unknown),
            refused: read(&self.shared.refused),
            longest_gap: seen.longest_gap,
            longest_answer: seen.longest_answer,
            histories: seen.history.len(),
            impossible: seen.history.values().filter(|history| !is_linearizable(history)).count(),
        }
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: usize) -> String {
        format!("/api/v1/clusters/{}/keys/k{key}", self.pin)
    }

    fn note(&self, key: usize, begun: Instant, event: Event) {
        let operation = Operation { begun, ended: Instant::now(), event };
        self.seen().history.entry(key).or_default().push(operation);
    }

    /// Reads a key through a server, and gives the status of the answer.
    fn read(&self, server: usize, key: usize) -> Option<u16> {
        let begun = Instant::now();
        let (status, body) = ask(self.servers[server], "GET", &self.path(key), None).ok()?;
        let event = match status {
            200 => {
                let found: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
                let value = found["value"].as_str().and_then(|value| value.parse().ok());
                Some(Event::Read(Some(value.expect("it is a number"))))
            }
            404 => Some(Event::Read(None)),
            _ => None,
        };
        if let Some(event) = event {
            self.note(key, begun, event);
        }
        Some(status)
    }

    /// One request, by the number that was drawn for its kind.
    fn request(&self, server: usize, key: usize, kind: u8) {
        let begun = Instant::now();
        let value = self.next_value.fetch_add(1, Ordering::Relaxed);
        let address = self.servers[server];
        let body = format!(r#"{{"key":"k{key}","value":"{value}"}}"#);
        let (sent, done, other, events) = match kind {
            0..4 => {
                if self.read(server, key).is_none_or(|status| status >= 500) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                self.answered(begun);
                return;
            }
            4..7 => {
                let keys = format!("/api/v1/clusters/{}/keys", self.pin);
                let sent = ask(address, "POST", &keys, Some(&body));
                (
                    sent,
                    201,
                    409,
                    [Event::Create(value, true), Event::Create(value, false), Event::MaybeCreate(value)],
                )
            }
            7..9 => {
                let sent = ask(address, "PUT", &self.path(key), Some(&body));
                (
                    sent,
                    200,
                    404,
                    [Event::Update(value, true), Event::Update(value, false), Event::MaybeUpdate(value)],
                )
            }
            _ => {
                let sent = ask(address, "DELETE", &self.path(key), None);
                (sent, 204, 404, [Event::Delete(true), Event::Delete(false), Event::MaybeDelete])
            }
        };
        let [acknowledged, refused, unknown] = events;
        match sent {
            Ok((status, _)) if status == done => {
                self.note(key, begun, acknowledged);
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                let mut seen = self.seen();
                seen.longest_gap = seen.longest_gap.max(seen.last.elapsed());
                seen.last = Instant::now();
            }
            Ok((status, _)) if status == other => self.note(key, begun, refused),
            // Nothing was changed.
            Ok((507, _)) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            Ok((status, body)) if status < 500 => panic!("{kind} of k{key}: {status} {body}"),
            // Nothing was sent.
            Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(_) | Err(_) => {
                self.note(key, begun, unknown);
                self.unknown.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.answered(begun);
    }

    fn answered(&self, begun: Instant) {
        let mut seen = self.seen();
        seen.longest_answer = seen.longest_answer.max(begun.elapsed());
    }
}
