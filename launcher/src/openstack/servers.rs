//! What is known of the servers of a project: now and then all are asked for, and in between those that have changed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
    /// By their ids.
    pub(super) known: BTreeMap<String, Server>,
    /// When all of them were told last.
    all: Option<Instant>,
    /// When Nova told something last, by its own clock.
    told: Option<SystemTime>,
}

/// A list of servers with their ids, and when Nova made it, by its own clock.
pub(super) struct Listed {
    pub(super) told: Option<SystemTime>,
    pub(super) servers: Vec<(String, Server)>,
}

impl Servers {
    /// What a list of all servers says that was asked for at `asked`.
    pub(super) fn of_all(asked: Instant, Listed { told, servers }: Listed) -> Self {
        Self { known: servers.into_iter().collect(), all: Some(asked), told }
    }

    /// What is known after a list of those that have changed.
    pub(super) fn updated(mut self, Listed { told, servers }: Listed) -> Self {
        self.known.extend(servers);
        Self { told, ..self }
    }

    /// Since when changes are to be told; `None` when all servers are.
    pub(super) fn since(&self) -> Option<String> {
        let recent = self.all.is_some_and(|all| all.elapsed() < ALL_AFTER);
        let since = self.told.filter(|_| recent)?.checked_sub(OVERLAP)?;
        OffsetDateTime::from(since).format(&Rfc3339).ok()
    }
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
