//! A site of two launchers that share an etcd.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::Signal;
use worlds::etcd::{Member, is_installed};
use worlds::mock_server::{MockServer, Seen};
use worlds::process::Process;
use worlds::relay::forward;
use worlds::service::Service;
use worlds::wait::until;

use crate::api::Api;
use crate::cloud::{Cloud, Manners};
use crate::home::{Done, Home, launch};

/// A moment in the life of a cluster, before a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// A pin is asked for.
    Pin,
    /// The stack is asked for.
    Stack,
    /// The stack is to be deleted.
    Delete,
}

impl Moment {
    fn of(seen: &Seen) -> Option<Self> {
        match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", "/api/v1/clusters") => Some(Self::Pin),
            ("POST", "/heat/stacks") => Some(Self::Stack),
            ("DELETE", path) if path.starts_with("/heat/stacks/") => Some(Self::Delete),
            _ => None,
        }
    }
}

/// Two launchers' homes, an etcd, a cloud and a pairing service.
pub(crate) struct Site<E = Arc<Member>> {
    pub(crate) etcd: E,
    /// The flags that name it.
    named: Vec<String>,
    pub(crate) cloud: Cloud,
    pub(crate) service: Service,
    /// Stands before the service, and counts.
    pub(crate) pairing: MockServer,
    /// When something is done to etcd, once.
    next: Arc<Mutex<Option<Moment>>>,
    /// Whether a request for a pin has to wait.
    pub(crate) holds: Arc<AtomicBool>,
    pub(crate) homes: [Home; 2],
}

impl Site {
    /// One whose etcd can stop; `None` where there is no etcd.
    pub(crate) fn new(manners: Manners) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let etcd = Arc::new(Member::start(&[]));
        let (named, stopped) = (vec!["--etcd".to_owned(), etcd.url()], Arc::clone(&etcd));
        Some(Self::with(etcd, named, manners, move || stopped.signal(Signal::SIGSTOP)))
    }

    /// All that etcd has.
    pub(crate) fn kept(&self) -> String {
        self.etcd.etcdctl(&["get", "--prefix", ""])
    }
}

impl<E> Site<E> {
    /// One with this etcd, which these flags name; `act` is what is done at a moment of [`Site::at`].
    pub(crate) fn with(
        etcd: E,
        named: Vec<String>,
        manners: Manners,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let service = Service::start();
        let api = service.api();
        let (next, holds) = (Arc::<Mutex<Option<Moment>>>::default(), Arc::<AtomicBool>::default());
        let (wanted, hold) = (Arc::clone(&next), Arc::clone(&holds));
        let act = Arc::new(move |seen: &Seen| {
            let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if wanted.is_some() && *wanted == Moment::of(seen) {
                *wanted = None;
                act();
            }
        });
        let before = Arc::clone(&act);
        let pairing = MockServer::start(move |seen, _| {
            if seen.method == "POST" {
                until("it need not wait", || (!hold.load(Ordering::Relaxed)).then_some(()));
            }
            before(seen);
            forward(api, seen.clone())
        });
        let cloud = Cloud::watched(manners, move |seen| act(seen));
        let homes = [Home::new(), Home::new()];
        let site = Self { etcd, named, cloud, service, pairing, next, holds, homes };
        let key = site.key();
        site.homes[0].run(&site.cloud, &["keygen", &key]).expect(0, "");
        site
    }

    /// Does something to etcd when this moment comes.
    pub(crate) fn at(&self, moment: Moment) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }

    /// Whether it has come.
    pub(crate) fn is_past(&self) -> bool {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    pub(crate) fn key(&self) -> String {
        self.homes[0].path().join("launches.key").display().to_string()
    }

    pub(crate) fn flags(&self, pairing: bool) -> Vec<String> {
        let mut flags = self.named.clone();
        flags.extend(["--launches-key-file".to_owned(), self.key()]);
        if pairing {
            flags.extend(["--pairing-url".to_owned(), self.pairing.url()]);
        }
        flags
    }

    pub(crate) fn serve(&self, home: usize) -> Api {
        let flags = self.flags(true);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        Api::serve(&self.homes[home], &self.cloud, &[&flags[..], &["--poll-interval", "1"]].concat())
    }

    pub(crate) fn run(&self, home: usize, args: &[&str]) -> Done {
        let flags = self.flags(true);
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        self.homes[home].run(&self.cloud, &[args, &flags[..]].concat())
    }

    pub(crate) fn launch(&self, home: usize) -> Process {
        let (url, flags) = (self.pairing.url(), self.flags(false));
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        self.homes[home].start(&self.cloud, &launch("lab", &url, &flags))
    }

    pub(crate) fn pins_made(&self) -> usize {
        self.pairing.lines().iter().filter(|line| *line == "POST /api/v1/clusters").count()
    }

    /// No launcher has kept anything on its own machine.
    pub(crate) fn nothing_is_on_a_disk(&self) {
        assert!(self.homes.iter().all(|home| !home.path().join("data").exists()), "there is a folder");
    }
}
