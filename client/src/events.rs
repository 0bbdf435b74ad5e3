//! What happens to a cluster, as the service tells it: Server-Sent Events (HTML standard, section 9.2).

use std::fmt;
use std::io::{BufRead, Read as _};

use serde::Deserialize;

use super::connector;
use super::failure::{Failure, FailureKind};

/// Longest line of the stream, in bytes: the state with every key that a pin may have.
const MAX_LINE: u64 = 1 << 20;

/// Something that the service tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterEvent {
    /// The whole state, which comes first.
    State(ClusterState),
    /// A key was set, renamed or deleted.
    Key(KeyEvent),
    /// So many requests wait now.
    Waiting(usize),
    /// The pin is gone. Nothing comes after it.
    Gone,
    /// The service is still there.
    Alive,
}

/// The state of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterState {
    /// When the pin expires, in RFC 3339.
    pub expires: String,
    /// How many requests wait.
    pub waiting: usize,
    /// Its keys.
    pub keys: Vec<WatchedKey>,
}

/// A key, mostly without its value.
#[derive(Debug, Clone, PartialEq)]
pub struct WatchedKey {
    /// Its name.
    pub key: String,
    /// When its value was set, in RFC 3339.
    pub modified: String,
    /// There for the address of the master, and that which is ready.
    pub value: Option<String>,
}

/// What has become of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyEvent {
    /// `set`, `renamed` or `deleted`.
    pub change: String,
    /// The name that it had before.
    pub from: Option<String>,
    /// The key as it is, or as it last was.
    pub key: WatchedKey,
}

/// What stands in the data of an event, of whatever name. One type for all keeps the agent small.
#[derive(Deserialize)]
struct Data {
    expiry_time: Option<String>,
    waiting: Option<usize>,
    keys: Option<Vec<Data>>,
    change: Option<String>,
    from: Option<String>,
    key: Option<String>,
    modified: Option<String>,
    value: Option<String>,
}

impl Data {
    fn state(self) -> Option<ClusterState> {
        let keys = self.keys?.into_iter().map(Self::key).collect::<Option<_>>()?;
        Some(ClusterState { expires: self.expiry_time?, waiting: self.waiting?, keys })
    }

    fn key(self) -> Option<WatchedKey> {
        Some(WatchedKey { key: self.key?, modified: self.modified?, value: self.value })
    }

    fn key_event(mut self) -> Option<KeyEvent> {
        let (change, from) = (self.change.take()?, self.from.take());
        Some(KeyEvent { change, from, key: self.key()? })
    }
}

/// Reads the events of a stream, one after the other.
pub(super) struct EventReader<R> {
    lines: R,
    name: String,
    data: String,
}

impl<R: BufRead> EventReader<R> {
    /// The events in these lines.
    pub(super) fn new(lines: R) -> Self {
        Self { lines, name: String::new(), data: String::new() }
    }

    /// The next event that is known; `None` at the end of the stream. Nodes are not told of here: they may be sealed, and
    /// have a list of their own.
    ///
    /// # Errors
    /// `Broken` when the stream cannot be read on, `Nonsense` when an event is not as API v1 has it.
    pub(super) fn next(&mut self) -> Result<Option<ClusterEvent>, Failure> {
        loop {
            let mut line = Vec::new();
            let read = self
                .lines
                .by_ref()
                .take(MAX_LINE)
                .read_until(b'\n', &mut line)
                .map_err(|error| connector::failure(error.into()))?;
            if read == 0 {
                return Ok(None);
            }
            let line = str::from_utf8(&line).map_err(|_| nonsense("an event that is not UTF-8"))?;
            let Some(line) = line.strip_suffix('\n') else {
                return Err(nonsense("an event that is cut short or too long"));
            };
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if let Some(event) = parse(&name, &data)? {
                    return Ok(Some(event));
                }
            } else if line.starts_with(':') {
                return Ok(Some(ClusterEvent::Alive));
            } else if let Some(name) = line.strip_prefix("event: ") {
                name.clone_into(&mut self.name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                self.data += data;
            }
        }
    }
}

fn nonsense(what: &str) -> Failure {
    Failure::new(FailureKind::Nonsense, what)
}

/// An event by its name; `None` for one that a later service may send.
fn parse(name: &str, data: &str) -> Result<Option<ClusterEvent>, Failure> {
    if !["state", "key", "counts", "gone"].contains(&name) {
        return Ok(None);
    }
    let wrong = |why: &dyn fmt::Display| nonsense(&format!("an event {name:?} that cannot be read: {why}"));
    let data: Data = serde_json::from_str(data).map_err(|error| wrong(&error))?;
    let event = match name {
        "state" => data.state().map(ClusterEvent::State),
        "key" => data.key_event().map(ClusterEvent::Key),
        "counts" => data.waiting.map(ClusterEvent::Waiting),
        _ => Some(ClusterEvent::Gone),
    };
    event.map(Some).ok_or_else(|| wrong(&"something is missing in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<ClusterEvent>, Failure> {
        let mut reader = EventReader::new(text.as_bytes());
        let mut events = Vec::new();
        while let Some(event) = reader.next()? {
            events.push(event);
        }
        Ok(events)
    }

    #[test]
    fn reads_what_the_service_tells() {
        let stream = concat!(
            "event: state\ndata: {\"creation_time\":\"a\",\"expiry_time\":\"b\",\"waiting\":1,\"keys\":[]}\n\n",
            ": \n\n",
            "event: key\ndata: {\"change\":\"set\",\"key\":\"master_ip\",\"created\":\"c\",\"modified\":\"m\",\"value\":\"10.0.0.1\"}\n\n",
            "event: of-a-later-service\ndata: x\n\n",
            "event: node\ndata: {\"change\":\"set\",\"id\":\"n\",\"reported\":\"r\",\"report\":{\"role\":\"slave\",\"state\":\"joined\"}}\n\n",
            "event: counts\ndata: {\"waiting\":7}\n\n",
            "event: gone\ndata: {\"reason\":\"expired\"}\n\n",
        );
        let events = events(stream).unwrap();
        let state = ClusterState { expires: "b".to_owned(), waiting: 1, keys: Vec::new() };
        assert_eq!(events[0], ClusterEvent::State(state));
        assert_eq!(events[1], ClusterEvent::Alive);
        assert!(matches!(&events[2], ClusterEvent::Key(key) if key.key.value.as_deref() == Some("10.0.0.1")));
        assert_eq!(events[3..], [ClusterEvent::Waiting(7), ClusterEvent::Gone]);
    }

    #[test]
    fn refuses_what_is_no_stream_of_the_service() {
        for stream in
            ["event: state\ndata: {}\n\n", "event: counts\ndata: x\n\n", "event: cou", "\u{0}\n\u{ff}"]
        {
            assert!(events(stream).is_err(), "{stream:?}");
        }
        assert!(events("hello\n\n").unwrap().is_empty());
    }
}
