//! The servers of the stand-in for a cloud, and the clock that it tells changes by.

use serde_json::{Value, json};
use worlds::http::Headers;
use worlds::mock_server::Reply;

/// How far the clock goes on with each list: farther than a client may look back, so that it must not confuse this clock
/// with its own.
const STEP: u32 = 100;

/// A server.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: &'static str,
    pub(crate) address: &'static str,
    fault: Option<&'static str>,
    changed: u32,
}

/// What Nova has.
#[derive(Default)]
pub(crate) struct Servers {
    all: Vec<Server>,
    /// Seconds of its day.
    clock: u32,
    /// How many servers were in each list of changes.
    pub(crate) told: Vec<usize>,
}

impl Servers {
    /// Makes the servers of a stack.
    pub(crate) fn make(&mut self, stack: &str, names: &[String]) {
        self.all.extend(names.iter().map(|name| Server {
            id: format!("{stack}-{name}"),
            name: name.clone(),
            status: "BUILD",
            address: "10.77.0.5",
            fault: None,
            changed: self.clock,
        }));
    }

    /// Changes the servers with this name, or of this stack.
    pub(crate) fn change(&mut self, whose: &str, status: &'static str, fault: Option<&'static str>) {
        let meant = |server: &&mut Server| server.name == whose || server.id.starts_with(whose);
        for server in self.all.iter_mut().filter(meant).filter(|server| server.status != status) {
            (server.status, server.fault, server.changed) = (status, fault, self.clock);
        }
    }

    /// Gives a server an address, which is no change to Nova.
    pub(crate) fn attach(&mut self, name: &str, address: &'static str) {
        self.all.iter_mut().filter(|server| server.name == name).for_each(|server| server.address = address);
    }

    /// Answers `servers/detail`: all that are there, or those that have changed, also deleted ones.
    pub(crate) fn list(&mut self, query: &str) -> Reply {
        self.clock += STEP;
        let clock = |separator: &str, end: &str, seconds: u32| {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            format!("{separator}{hours:02}:{minutes:02}:{:02}{end}", seconds % 60)
        };
        let since = query.split('&').find_map(|part| part.strip_prefix("changes-since="));
        let found: Vec<Value> = self
            .all
            .iter()
            .filter(|server| match since {
                Some(since) => clock("2031-05-01T", "Z", server.changed).as_str() >= since,
                None => server.status != "DELETED",
            })
            .map(shown)
            .collect();
        if since.is_some() {
            self.told.push(found.len());
        }
        let headers = vec![
            ("Content-Type".to_owned(), "application/json".to_owned()),
            ("Date".to_owned(), clock("Thu, 01 May 2031 ", " GMT", self.clock)),
        ];
        Reply::Answer(200, Headers(headers), json!({ "servers": found }).to_string().into_bytes())
    }
}

fn shown(server: &Server) -> Value {
    let mut shown = json!({
        "id": server.id, "name": server.name, "status": server.status,
        "addresses": { "net": [{ "addr": server.address, "version": 4 }] },
    });
    if let Some(fault) = server.fault {
        shown["fault"] = json!({ "message": fault, "code": 500, "created": "2031-05-01T00:00:00Z" });
    }
    shown
}
