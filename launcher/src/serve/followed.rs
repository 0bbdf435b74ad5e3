//! The clusters that are looked at again and again, so that what the API shows of them is not old.
//!
//! The credentials of a request are in memory alone, for as long as the launcher runs. After a restart the cloud is asked
//! with credentials of the launcher's own, if it has some for the same project; the nodes are asked in any case.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

use super::Service;
use crate::launch::{Record, RecordsError, Removal, Written, remove};
use crate::notifications::{Subject, Wake};
use crate::openstack::Session;
use crate::view::{ClusterState, View, keep, look};

/// Shortest time between two looks at a cluster, however many notifications come.
const SHORTEST_PAUSE: Duration = Duration::from_millis(300);
/// Time after which a cluster is looked at again that a notification was about: Heat sends it before it writes down the state.
const SETTLED: Duration = Duration::from_secs(2);
/// Longest time between two looks while something cannot be asked: a user who fails to log in too often may be locked out.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long a stack may come after Heat gave no answer: Heat's API waits a minute for its engine.
const MAY_COME: Duration = Duration::from_secs(300);
/// How long one try to delete such a stack may take; there are more.
const REAP_LIMIT: Duration = Duration::from_secs(10);

/// What is followed, by the names of the stacks.
#[derive(Default)]
pub(super) struct Followed {
    clusters: Mutex<HashMap<String, Arc<FollowedCluster>>>,
    /// Whether the records cannot be read.
    unreadable: AtomicBool,
    /// Launches that were answered with an error, and whose records do not say so yet.
    doubted: Mutex<Vec<(Record, Session)>>,
}

/// A cluster.
pub(super) struct FollowedCluster {
    /// Held during a look, which may take a minute; what was seen last can be shown meanwhile.
    session: Mutex<Option<Session>>,
    view: Mutex<View>,
    /// The id of its project.
    project_id: String,
    /// Told that there is something to see.
    woken: Notify,
}

impl FollowedCluster {
    /// Waits until it is time for the next look. Only without trouble does a notification bring it forward: a user who fails
    /// to log in too often may be locked out. `true`: one did.
    async fn rest(&self, pause: Duration, is_troubled: bool) -> bool {
        if is_troubled {
            tokio::time::sleep(pause).await;
            return false;
        }
        let least = pause.min(SHORTEST_PAUSE);
        tokio::time::sleep(least).await;
        tokio::select! {
            () = tokio::time::sleep(pause - least) => false,
            () = self.woken.notified() => true,
        }
    }
}

impl Followed {
    /// How a cluster looked when it was looked at last.
    pub(super) fn view(&self, record: &Record) -> View {
        match self.entry(&record.stack_name) {
            Some(entry) => lock(&entry.view).clone(),
            None => View::from_record(record),
        }
    }

    /// Whether the records could be read when that was tried last.
    pub(super) fn is_readable(&self) -> bool {
        !self.unreadable.load(Ordering::Relaxed)
    }

    /// How many clusters are in each state.
    pub(super) fn states(&self) -> HashMap<ClusterState, usize> {
        let mut states = HashMap::new();
        for entry in lock(&self.clusters).values() {
            *states.entry(lock(&entry.view).state).or_default() += 1;
        }
        states
    }

    /// Has the clusters looked at that a notification is about. Says how many these are.
    pub(super) fn wake(&self, wake: &Wake<'_>) -> usize {
        let entries = lock(&self.clusters);
        let woken: Vec<_> = match wake {
            Wake::All => entries.values().collect(),
            Wake::About(event) => {
                let of_project = |entry: &FollowedCluster| match &event.project {
                    Some(project) => entry.project_id == *project,
                    None => true,
                };
                let of_project = entries.iter().filter(|(_, entry)| of_project(entry));
                match &event.subject {
                    Subject::Stack { name } => {
                        of_project.filter(|(own, _)| is_within(name, own)).map(|(_, entry)| entry).collect()
                    }
                    Subject::Server { id } => {
                        let (known, others): (Vec<_>, Vec<_>) =
                            of_project.map(|(_, entry)| entry).partition(|entry| {
                                lock(&entry.view).servers.iter().any(|server| server.id == *id)
                            });
                        // A server that no cluster has may belong to one whose servers are not all known.
                        let unsettled =
                            |entry: &&Arc<FollowedCluster>| lock(&entry.view).state == ClusterState::Building;
                        if known.is_empty() { others.into_iter().filter(unsettled).collect() } else { known }
                    }
                }
            }
        };
        woken.iter().for_each(|entry| entry.woken.notify_one());
        woken.len()
    }

    /// Stops to follow.
    pub(super) fn forget(&self, record: &Record) {
        lock(&self.clusters).remove(&record.stack_name);
    }

    fn entry(&self, stack_name: &str) -> Option<Arc<FollowedCluster>> {
        lock(&self.clusters).get(stack_name).cloned()
    }
}

/// Does something with the session of a cluster, when the look that is under way has ended; `None` without a session.
pub(super) fn with_session<T>(
    service: &Service,
    record: &Record,
    act: impl FnOnce(&mut Session) -> T,
) -> Option<T> {
    let Some(entry) = service.followed.entry(&record.stack_name) else {
        return own(service, record).as_mut().map(act);
    };
    let mut session = lock(&entry.session);
    if session.is_none() {
        *session = own(service, record);
    }
    session.as_mut().map(act)
}

/// Follows the clusters of all records: those of earlier runs, of commands and of other launchers. Again and again, for as
/// long as the service is there; gives back when they were read first, or could not be read.
pub(super) async fn discover(service: &Arc<Service>) {
    let interval = service.config.poll_interval;
    discover_once(service).await;
    let service = Arc::downgrade(service);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(interval).await;
            let Some(service) = service.upgrade() else { return };
            discover_once(&service).await;
        }
    });
}

async fn discover_once(service: &Arc<Service>) {
    let worker = Arc::clone(service);
    let Ok(read) = spawn_blocking(move || read_all(&worker)).await else { return };
    let was_unreadable = service.followed.unreadable.swap(read.is_err(), Ordering::Relaxed);
    match read {
        Err(error) if !was_unreadable => log::error!("{error}\n  next: {}", error.next_step()),
        Ok(()) if was_unreadable => log::info!("the launches can be read again"),
        _ => {}
    }
}

fn read_all(service: &Arc<Service>) -> Result<(), RecordsError> {
    service.config.launcher.records.check()?;
    let doubted = std::mem::take(&mut *lock(&service.followed.doubted));
    doubted.into_iter().for_each(|(record, session)| abandon(service, record, session));
    let records = service.config.launcher.records.all()?;
    lock(&service.followed.clusters).retain(|name, entry| {
        let is_gone = lock(&entry.view).state == ClusterState::Gone;
        !is_gone || records.iter().any(|record| record.stack_name == *name)
    });
    for record in records {
        let is_there = View::from_record(&record).state != ClusterState::Gone;
        if is_there && service.followed.entry(&record.stack_name).is_none() {
            follow(service, record, None);
        }
    }
    Ok(())
}

/// The caller is told that there is no cluster: should its stack or its record come all the same, it is deleted.
pub(super) fn abandon(service: &Arc<Service>, mut record: Record, session: Session) {
    match service.config.launcher.records.update(&mut record, |record| record.abandoned = true) {
        Ok(true) => follow(service, record, Some(session)),
        Ok(false) if record.is_older_than(MAY_COME) => {
            if let Some(paired) = &record.paired {
                service.config.launcher.forget(paired);
            }
        }
        // What was sent to etcd may be written yet: the next reading of the records sees to it.
        _ => lock(&service.followed.doubted).push((record, session)),
    }
}

/// Follows a cluster until it is gone. One that is followed already gets the session.
pub(super) fn follow(service: &Arc<Service>, record: Record, session: Option<Session>) {
    let entry = {
        let mut clusters = lock(&service.followed.clusters);
        if let Some(entry) = clusters.get(&record.stack_name).cloned() {
            drop(clusters);
            if session.is_some() {
                *lock(&entry.session) = session;
                entry.woken.notify_one();
            }
            return;
        }
        let entry = Arc::new(FollowedCluster {
            session: Mutex::new(session),
            view: Mutex::new(View::from_record(&record)),
            project_id: record.project_id.clone(),
            woken: Notify::new(),
        });
        clusters.insert(record.stack_name.clone(), entry.clone());
        entry
    };
    let interval = service.config.poll_interval;
    let service = Arc::downgrade(service);
    Handle::current().spawn(async move {
        let mut pause = interval;
        let mut was_woken = false;
        loop {
            let Some(service) = service.upgrade() else { return };
            let name = record.stack_name.clone();
            let is_troubled = match spawn_blocking(move || look_again(&service, &name)).await {
                Ok(Next::Look) => false,
                Ok(Next::LookLater) => true,
                Ok(Next::Stop) | Err(_) => return,
            };
            pause = match (is_troubled, was_woken) {
                (true, _) => (pause * 2).min(LONGEST_PAUSE.max(interval)),
                (false, true) => interval.min(SETTLED),
                (false, false) => interval,
            };
            was_woken = entry.rest(pause, is_troubled).await;
        }
    });
}

/// What comes after a look.
enum Next {
    /// Another one.
    Look,
    /// Another one, after a longer pause: something could not be asked.
    LookLater,
    /// Nothing: there is no more to see.
    Stop,
}

/// Looks at a cluster.
fn look_again(service: &Service, stack_name: &str) -> Next {
    let Some(entry) = service.followed.entry(stack_name) else { return Next::Stop };
    let launcher = &service.config.launcher;
    let mut record = match launcher.records.of_stack(stack_name) {
        Ok(Some(record)) => record,
        Ok(None) => {
            lock(&service.followed.clusters).remove(stack_name);
            return Next::Stop;
        }
        // That is logged where all of them are read.
        Err(_) => return Next::Look,
    };
    let shown = lock(&entry.view).clone();
    // Another launcher may have seen more: it may have credentials that are not here.
    let before = shown.clone().newer(View::from_record(&record));
    let had_id = record.stack_id.is_some();
    let view = {
        let mut session = lock(&entry.session);
        if session.is_none() {
            *session = own(service, &record);
        }
        look(launcher, session.as_mut(), &mut record, &before, None)
    };
    let mut is_there = true;
    match keep(&launcher.records, &mut record, &view, had_id) {
        Ok(Some(Written::Changed)) => return Next::Look,
        // A cluster that was deleted meanwhile must not get a record again.
        Ok(Some(Written::Gone)) => is_there = false,
        Ok(_) => {}
        Err(error) => log::error!("{error}\n  next: {}", error.next_step()),
    }
    if (view.state, &view.detail) != (shown.state, &shown.detail) {
        log::info!("{stack_name} is {}: {}", view.state.as_str(), view.detail);
    }
    // After the record, so that who sees a state finds it in the log.
    *lock(&entry.view) = view.clone();
    if record.abandoned {
        return if reap(service, &record, &entry) { Next::Stop } else { Next::Look };
    }
    if view.state == ClusterState::Gone {
        if let Some(paired) = &record.paired {
            launcher.forget(paired);
        }
        return Next::Stop;
    }
    match (is_there, &view.trouble) {
        (false, _) => {
            service.followed.forget(&record);
            Next::Stop
        }
        (true, None) => Next::Look,
        (true, Some(_)) => Next::LookLater,
    }
}

/// Removes what came of a launch that was answered with an error. `true` when nothing of it is left, and nothing is waited
/// for any more.
fn reap(service: &Service, record: &Record, entry: &FollowedCluster) -> bool {
    let has_come = record.stack_id.is_some();
    if !has_come && !record.is_older_than(MAY_COME) {
        return false;
    }
    let removed = lock(&entry.session)
        .as_mut()
        .map(|session| remove(&service.config.launcher, session, record, REAP_LIMIT));
    match removed {
        Some(Ok(Removal::Gone)) => {
            log::info!("nothing is left of the launch {}", record.stack_name);
            service.followed.forget(record);
            true
        }
        Some(Err(refused)) => {
            log::warn!("{} stays for now: {}", record.stack_name, refused.to_error());
            false
        }
        _ => false,
    }
}

/// A session with the launcher's own credentials, if they are for the project of a cluster.
fn own(service: &Service, record: &Record) -> Option<Session> {
    let credentials = service.config.own.clone()?;
    let session = Session::login(credentials, service.config.cloud_limit).ok()?;
    (session.project_id() == record.project_id).then_some(session)
}

/// Whether a stack is this one, or is nested in it: Heat names those `<outer>-<resource>-<id>`.
fn is_within(name: &str, outer: &str) -> bool {
    name.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
