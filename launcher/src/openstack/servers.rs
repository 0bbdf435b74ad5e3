//! The servers of a project, kept up to date: now and then all of them, and in between those that have changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use client::types::HeaderMap;
use client::types::header::DATE;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::calls::Call;
use super::error::{CloudError, CloudService, one_line};
use super::nova::{MAX_PAGES, has_next};
use super::session::Session;

/// All servers are asked for after this time, since Nova does not call everything a change: an address that is attached
/// later is none. With looks every 3 s nothing is older than 10 s.
const ALL_AFTER: Duration = Duration::from_secs(7);
/// What has changed for so long before the last answer is asked for again: the clocks of a cloud's hosts differ.
const OVERLAP: Duration = Duration::from_secs(60);

/// A server, as Nova tells it and as a view keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Its id; empty before Heat has said it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `ACTIVE`, `BUILD`, `ERROR`, `DELETED`, …; empty before Nova has said it.
    pub status: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What is known of a project's servers.
#[derive(Default)]
pub(super) struct Servers {
    known: BTreeMap<String, Server>,
    /// When all of them were told last.
    all: Option<Instant>,
    /// When Nova told something last, by its own clock.
    told: Option<SystemTime>,
}

/// A list of servers with their ids, and when Nova made it, by its own clock.
struct Listed {
    told: Option<SystemTime>,
    servers: Vec<(String, Server)>,
}

impl Servers {
    /// Since when changes are to be told; `None` when all servers are.
    fn since(&self) -> Option<String> {
        let recent = self.all.is_some_and(|all| all.elapsed() < ALL_AFTER);
        let since = self.told.filter(|_| recent)?.checked_sub(OVERLAP)?;
        OffsetDateTime::from(since).format(&Rfc3339).ok()
    }
}

impl Session {
    /// The servers of the project by their ids. One that was deleted is not there, or is `DELETED`.
    ///
    /// # Errors
    /// Nova does not tell them.
    pub fn servers(&mut self) -> Result<&BTreeMap<String, Server>, CloudError> {
        let since = self.servers.since();
        let asked = Instant::now();
        // After a failure all are asked for.
        let before = std::mem::take(&mut self.servers);
        let Listed { told, servers } = self.listed(since.as_deref())?;
        let (mut known, all) = match since {
            Some(_) => (before.known, before.all),
            None => (BTreeMap::new(), Some(asked)),
        };
        known.extend(servers);
        self.servers = Servers { known, all, told };
        Ok(&self.servers.known)
    }

    /// Asks Nova for all, or for what has changed.
    fn listed(&mut self, since: Option<&str>) -> Result<Listed, CloudError> {
        let mut servers: Vec<(String, Server)> = Vec::new();
        let mut told = None;
        for page in 0..MAX_PAGES {
            let mut query: Vec<String> = Vec::new();
            query.extend(since.map(|since| format!("changes-since={since}")));
            query.extend(servers.last().map(|(last, _)| format!("marker={last}")));
            let path = format!("servers/detail?{}", query.join("&"));
            let answer = self.ask(CloudService::Nova, &Call::get(path.trim_end_matches('?')))?;
            if page == 0 {
                told = date(&answer.headers);
            }
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let Some(found) = body["servers"].as_array() else {
                return Err(CloudError::nonsense(CloudService::Nova, "no list of servers"));
            };
            servers.extend(found.iter().filter_map(server));
            if !has_next(&body, "servers_links") {
                break;
            }
        }
        Ok(Listed { told, servers })
    }
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

fn server(value: &Value) -> Option<(String, Server)> {
    let networks = value["addresses"].as_object();
    let entries = networks.into_iter().flat_map(|networks| networks.values()).filter_map(Value::as_array);
    let addresses = entries.flatten().filter_map(|entry| entry["addr"].as_str()).map(str::to_owned);
    let server = Server {
        id: value["id"].as_str()?.to_owned(),
        name: one_line(value["name"].as_str().unwrap_or_default()),
        status: value["status"].as_str()?.to_owned(),
        addresses: addresses.collect(),
        fault: value["fault"]["message"].as_str().map(one_line),
    };
    Some((server.id.clone(), server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_all_when_it_must_and_else_for_what_has_changed() {
        let told = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let of = |all, told| Servers { known: BTreeMap::new(), all, told }.since();
        let now = Instant::now();
        assert_eq!(of(Some(now), Some(told)).as_deref(), Some("1970-01-01T00:00:40Z"));
        assert_eq!(of(None, Some(told)), None, "never asked");
        assert_eq!(of(Some(now), None), None, "an answer without a date");
        assert_eq!(of(now.checked_sub(ALL_AFTER), Some(told)), None, "long ago");
    }
}
