//! The clusters that are looked at again and again, so that what the API shows of them is not old.
//!
//! The credentials of a request are in memory alone, for as long as the launcher runs. After a restart the cloud is asked
//! with credentials of the launcher's own, if it has some for the same project; the nodes are asked in any case.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::Service;
use crate::launch::Record;
use crate::openstack::Session;
use crate::view::{ClusterState, View, look};

/// Time between two looks at a cluster.
const PAUSE: Duration = Duration::from_secs(3);

/// What is followed, by the names of the stacks.
#[derive(Default)]
pub(super) struct Followed(Mutex<HashMap<String, Arc<Entry>>>);

/// A cluster.
#[derive(Default)]
pub(super) struct Entry {
    /// A lock of its own: a look may take a minute, and what was seen last can be shown meanwhile.
    session: Mutex<Option<Session>>,
    view: Mutex<View>,
}

impl Followed {
    /// How a cluster looked when it was looked at last.
    pub(super) fn view(&self, record: &Record) -> View {
        match self.entry(&record.stack_name) {
            Some(entry) => lock(&entry.view).clone(),
            None => View::from_record(record),
        }
    }

    /// How many clusters are in each state.
    pub(super) fn states(&self) -> HashMap<ClusterState, usize> {
        let mut states = HashMap::new();
        for entry in lock(&self.0).values() {
            *states.entry(lock(&entry.view).state).or_default() += 1;
        }
        states
    }

    /// Stops to follow.
    pub(super) fn forget(&self, record: &Record) {
        lock(&self.0).remove(&record.stack_name);
    }

    fn entry(&self, stack_name: &str) -> Option<Arc<Entry>> {
        lock(&self.0).get(stack_name).cloned()
    }
}

/// The session for a cluster, held until it is dropped; `None` when there is none.
pub(super) fn session(service: &Service, record: &Record) -> Option<OwnedSession> {
    let entry = service.followed.entry(&record.stack_name)?;
    let taken = lock(&entry.session).take()?;
    Some(OwnedSession { entry, session: Some(taken) })
}

/// A session that goes back to its cluster at the end.
pub(super) struct OwnedSession {
    entry: Arc<Entry>,
    session: Option<Session>,
}

impl OwnedSession {
    pub(super) fn as_mut(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }
}

impl Drop for OwnedSession {
    fn drop(&mut self) {
        *lock(&self.entry.session) = self.session.take();
    }
}

/// Follows the clusters that earlier runs have launched.
pub(super) fn resume(service: &Arc<Service>) {
    match service.config.launcher.records.all() {
        Ok(records) => records.into_iter().for_each(|record| follow(service, record, None)),
        Err(error) => log::error!("{error}\n  next: {}", error.next_step()),
    }
}

/// Follows a cluster until it is gone.
pub(super) fn follow(service: &Arc<Service>, record: Record, session: Option<Session>) {
    let entry =
        Arc::new(Entry { session: Mutex::new(session), view: Mutex::new(View::from_record(&record)) });
    lock(&service.followed.0).insert(record.stack_name.clone(), entry);
    let service = Arc::downgrade(service);
    Handle::current().spawn(async move {
        loop {
            let Some(service) = service.upgrade() else { return };
            let name = record.stack_name.clone();
            match spawn_blocking(move || look_again(&service, &name)).await {
                Ok(true) => tokio::time::sleep(PAUSE).await,
                _ => return,
            }
        }
    });
}

/// Looks at a cluster; `false` when there is nothing more to see.
fn look_again(service: &Service, stack_name: &str) -> bool {
    let Some(entry) = service.followed.entry(stack_name) else { return false };
    let launcher = &service.config.launcher;
    let Ok(Some(mut record)) = launcher.records.find(stack_name) else {
        service.followed.0.lock().unwrap_or_else(PoisonError::into_inner).remove(stack_name);
        return false;
    };
    let before = lock(&entry.view).clone();
    let mut session = lock(&entry.session).take().or_else(|| own(service, &record));
    let view = look(launcher, session.as_mut(), &mut record, &before, None);
    if session.is_some() {
        *lock(&entry.session) = session;
    }
    let changed = (view.state, &view.detail) != (before.state, &before.detail);
    if changed {
        record.note(format!("{}: {}", view.state.as_str(), view.detail));
        log::info!("{stack_name} is {}: {}", view.state.as_str(), view.detail);
    }
    *lock(&entry.view) = view.clone();
    // A cluster that was deleted meanwhile has no record any more, and must not get one again.
    let is_there = matches!(launcher.records.find(stack_name), Ok(Some(_)));
    if changed && is_there {
        record.last_view = serde_json::to_value(&view).unwrap_or_default();
        if let Err(error) = launcher.records.save(&record) {
            log::error!("{error}\n  next: {}", error.next_step());
        }
    }
    if view.state == ClusterState::Gone {
        if let Some(paired) = &record.paired {
            launcher.forget(paired);
        }
        return false;
    }
    is_there
}

/// A session with the launcher's own credentials, if they are for the project of a cluster.
fn own(service: &Service, record: &Record) -> Option<Session> {
    let credentials = service.config.own.clone()?;
    let session = Session::login(credentials).ok()?;
    (session.project_id() == record.project_id).then_some(session)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
