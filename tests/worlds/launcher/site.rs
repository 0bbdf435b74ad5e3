//! A site of two launchers that share an etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;
use worlds::etcd::{Member, is_installed};
use worlds::mock_server::MockServer;
use worlds::process::Process;
use worlds::relay::forward;
use worlds::service::Service;
use worlds::wait::until;

use crate::api::Api;
use crate::cloud::{Cloud, Manners};
use crate::home::{Done, Home, launch};

/// Two launchers' homes, an etcd, a cloud and a pairing service.
pub(crate) struct Site {
    pub(crate) etcd: Arc<Member>,
    pub(crate) cloud: Cloud,
    pub(crate) service: Service,
    /// Stands before the service, and counts.
    pub(crate) pairing: MockServer,
    /// Whether etcd stops as soon as a pin is made.
    pub(crate) stops: Arc<AtomicBool>,
    /// Whether a request for a pin has to wait.
    pub(crate) holds: Arc<AtomicBool>,
    pub(crate) homes: [Home; 2],
}

impl Site {
    /// `None` where there is no etcd.
    pub(crate) fn new(manners: Manners) -> Option<Self> {
        if !is_installed() {
            return None;
        }
        let service = Service::start();
        let api = service.api();
        let etcd = Arc::new(Member::start(&[]));
        let (stops, holds) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (stopped, stop, hold) = (Arc::clone(&etcd), Arc::clone(&stops), Arc::clone(&holds));
        let pairing = MockServer::start(move |seen, _| {
            if seen.method == "POST" {
                until("it need not wait", || (!hold.load(Ordering::Relaxed)).then_some(()));
            }
            if seen.method == "POST" && stop.load(Ordering::Relaxed) {
                stopped.signal(Signal::SIGSTOP);
            }
            forward(api, seen.clone())
        });
        let (cloud, homes) = (Cloud::start(manners), [Home::new(), Home::new()]);
        let site = Self { etcd, cloud, service, pairing, stops, holds, homes };
        let key = site.key();
        site.homes[0].run(&site.cloud, &["keygen", &key]).expect(0, "");
        Some(site)
    }

    pub(crate) fn key(&self) -> String {
        self.homes[0].path().join("launches.key").display().to_string()
    }

    pub(crate) fn flags(&self, pairing: bool) -> Vec<String> {
        let mut flags =
            vec!["--etcd".to_owned(), self.etcd.url(), "--launches-key-file".to_owned(), self.key()];
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

    /// All that etcd has.
    pub(crate) fn kept(&self) -> String {
        self.etcd.etcdctl(&["get", "--prefix", ""])
    }

    pub(crate) fn pins_made(&self) -> usize {
        self.pairing.lines().iter().filter(|line| *line == "POST /api/v1/clusters").count()
    }

    /// No launcher has kept anything on its own machine.
    pub(crate) fn nothing_is_on_a_disk(&self) {
        assert!(self.homes.iter().all(|home| !home.path().join("data").exists()), "there is a folder");
    }
}
