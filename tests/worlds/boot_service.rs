//! The service under the units that come with it, on Debian machines that have booted: what systemd is told, what it
//! does about it, and what those notice who use the service meanwhile.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::fcntl::OFlag;
use worlds::api::Api;
use worlds::binaries;
use worlds::boot::debian::{Debian, Release};
use worlds::boot::lab::Lab;
use worlds::boot::nspawn::Machine;
use worlds::figures::show;
use worlds::http::{Request, Response};
use worlds::tls::{Certified, answers};
use worlds::wait::until;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 31);
/// Where the units listen.
const SERVICE: SocketAddr = SocketAddr::new(IpAddr::V4(ADDRESS), 8000);
const STATE: &str = "/var/lib/private/cernvm-pairing-server";
/// Settings of the machine, as docs/operations.md has it.
const SETTINGS: &str = "/etc/default/cernvm-pairing-server";
/// Changes to the unit, as `systemctl edit` makes them.
const OVERRIDE: &str = "/etc/systemd/system/cernvm-pairing-server.service.d/override.conf";
const SOCKET_OVERRIDE: &str = "/etc/systemd/system/cernvm-pairing-server.socket.d/override.conf";
/// The most that `systemd-analyze security` may say, in tenths.
const EXPOSURE: u32 = 12;
/// Restarts under load, and answers before the next.
const RESTARTS: usize = 3;
const ANSWERS: usize = 50;

/// A machine with the service installed.
struct Host<'lab> {
    lab: &'lab Lab,
    machine: Machine<'lab>,
}

impl<'lab> Host<'lab> {
    /// One that has booted with this unit enabled.
    fn booted(lab: &'lab Lab, release: Release, unit: &str) -> Self {
        let mut machine = Machine::new(lab, &Debian::root_of(release), "pairing", ADDRESS);
        machine.root().install("server", &binaries::static_server());
        machine.root().sh(&format!("systemctl --quiet enable {unit}"));
        machine.without_cloud_init();
        machine.boot();
        machine.wait_until_booted();
        Self { lab, machine }
    }

    /// Does something on the machine's network.
    fn near<T: Send>(&self, work: impl FnOnce(Api) -> T + Send) -> T {
        self.lab.connected(|| work(Api(SERVICE)))
    }

    fn send(&self, request: &Request) -> std::io::Result<Response> {
        self.near(|api| api.send(request))
    }

    fn status(&self, path: &str) -> Option<u16> {
        self.send(&Request::new("GET", path)).ok().map(|answer| answer.status)
    }

    /// `systemctl` on the service.
    fn systemctl(&self, verb: &str) {
        self.machine.sh(&format!("systemctl {verb} cernvm-pairing-server.service"));
    }

    fn property(&self, name: &str) -> String {
        let show = format!("systemctl show --value --property={name} cernvm-pairing-server.service");
        self.machine.sh(&show).trim().to_owned()
    }

    /// Changes settings and the unit, and restarts the service with them.
    fn change(&self, settings: &str, unit: &str) {
        self.machine.root().write(SETTINGS, settings);
        self.machine.root().write(OVERRIDE, unit);
        self.machine.sh("systemctl daemon-reload; systemctl reset-failed");
        self.systemctl("restart");
    }

    /// Ends or halts its process by a signal that it cannot catch, and waits until another answers in its place.
    fn comes_back_after(&self, signal: &str) {
        let before = self.property("MainPID");
        self.systemctl(&format!("kill --kill-who=main --signal={signal}"));
        until("there is another process", || {
            let now = self.property("MainPID");
            (now != "0" && now != before).then_some(())
        });
        until("it is ready", || (self.status("/readyz") == Some(200)).then_some(()));
    }
}

#[test]
#[ignore = "needs root: boots machines"]
fn the_service_runs_as_the_unit_says_on_debian_12() {
    the_service_runs_as_the_unit_says(Release::Bookworm);
}

#[test]
#[ignore = "needs root: boots machines"]
fn the_service_runs_as_the_unit_says_on_debian_13() {
    the_service_runs_as_the_unit_says(Release::Trixie);
}

fn the_service_runs_as_the_unit_says(release: Release) {
    let lab = Lab::new();
    let host = Host::booted(&lab, release, "cernvm-pairing-server.service");
    assert_eq!(host.property("ActiveState"), "active");
    assert_eq!(host.status("/readyz"), Some(200));
    is_off_what_it_does_not_need(&host);

    let pin = host.near(|api| api.new_pin());
    host.near(|api| api.create_key(&pin, "a", "1"));
    let keeps_its_data = || host.near(|api| assert_eq!(api.value(&pin, "a").as_deref(), Some("1")));
    host.systemctl("restart");
    keeps_its_data();
    // Its user is one that was made up for it, and no other user can read the pins.
    let pid = host.property("MainPID");
    let owner = host.machine.sh(&format!("stat --format='%a %u' {STATE}; stat --format=%u /proc/{pid}"));
    let owner: Vec<&str> = owner.split_whitespace().collect();
    assert!(owner[0] == "700" && owner[1] == owner[2], "{owner:?}");
    assert!((61184..=65519).contains(&owner[1].parse::<u32>().expect("a number")), "{owner:?}");

    is_active_once_it_listens_and_not_before(&host);
    takes_a_new_certificate_on_reload(&host);
    host.change("", "[Service]\nWatchdogSec=4s\n");
    host.comes_back_after("STOP");
    assert!(host.machine.sh("journalctl --unit cernvm-pairing-server").contains("Watchdog timeout"));
    keeps_its_data();
    host.change("", "");
    host.comes_back_after("KILL");
    keeps_its_data();
    is_not_ready_without_room(&host);
}

fn is_off_what_it_does_not_need(host: &Host<'_>) {
    let said = host.machine.sh(&format!(
        "systemd-analyze security --no-pager --threshold={EXPOSURE} cernvm-pairing-server.service 2>&1"
    ));
    let level = said.lines().find_map(|line| line.split_once("Overall exposure level for "));
    let (_, level) = level.unwrap_or_else(|| panic!("it says nothing of the exposure:\n{said}"));
    show(&format!("exposure of {level}"));
}

/// A pipe in place of the token's file holds the service up before it listens.
fn is_active_once_it_listens_and_not_before(host: &Host<'_>) {
    let pipe = "/etc/cernvm-pairing/token";
    host.machine.sh(&format!("mkdir /etc/cernvm-pairing; mkfifo --mode=644 {pipe}"));
    host.machine.root().write(SETTINGS, format!("CERNVM_PAIRING_CREATE_TOKEN_FILE={pipe}\n"));
    host.systemctl("--no-block restart");
    let pipe = host.machine.root().outside(pipe);
    let mut token = until("it reads its token", || {
        OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&pipe).ok()
    });
    assert_eq!(host.property("ActiveState"), "activating");
    assert!(host.status("/readyz").is_none(), "it listens without a token");
    token.write_all(b"0123456789abcdef\n").expect("it reads");
    drop(token);
    // This ends when the start that is under way does.
    host.systemctl("start");
    assert_eq!(host.status("/readyz"), Some(200));
}

/// As docs/operations.md describes it: the key belongs to a group that the service is a member of.
fn takes_a_new_certificate_on_reload(host: &Host<'_>) {
    let (certificate, key) = ("/etc/cernvm-pairing/cert.pem", "/etc/cernvm-pairing/key.pem");
    let root = host.machine.root();
    let renew = || {
        let made = Certified::new(&ADDRESS.to_string());
        made.write(&root.outside(certificate), &root.outside(key));
        made
    };
    let old = renew();
    host.machine
        .sh(&format!("groupadd --system cernvm-pairing; chgrp cernvm-pairing {key}; chmod 640 {key}"));
    host.change(
        &format!("CERNVM_PAIRING_TLS_CERT={certificate}\nCERNVM_PAIRING_TLS_KEY={key}\n"),
        "[Service]\nSupplementaryGroups=cernvm-pairing\n",
    );
    host.near(|_| {
        let mut before = old.connect(SERVICE);
        assert!(answers(&mut before));
        let new = renew();
        host.systemctl("reload");
        until("it has the new certificate", || answers(&mut new.connect(SERVICE)).then_some(()));
        assert!(answers(&mut before), "a connection was lost");
    });
}

/// A small disk in place of its directory.
fn is_not_ready_without_room(host: &Host<'_>) {
    host.systemctl("stop");
    host.machine.sh(&format!("mount -t tmpfs -o size=8m tmpfs {STATE}"));
    host.systemctl("start");
    assert_eq!(host.status("/readyz"), Some(200));
    host.machine.sh(&format!("cat /dev/zero >{STATE}/ballast 2>/dev/null || :"));
    until("it has noticed", || (host.status("/readyz") == Some(507)).then_some(()));
    assert_eq!(host.status("/healthz"), Some(200));
    assert_eq!(host.property("ActiveState"), "active");
    host.machine.sh(&format!("rm {STATE}/ballast"));
    until("it has noticed", || (host.status("/readyz") == Some(200)).then_some(()));
}

#[test]
#[ignore = "needs root: boots machines"]
fn the_socket_starts_the_service_and_a_restart_refuses_nobody() {
    let lab = Lab::new();
    let host = Host::booted(&lab, Release::Bookworm, "cernvm-pairing-server.socket");
    assert_eq!(host.property("ActiveState"), "inactive");
    let pin = host.near(|api| api.new_pin());
    assert_eq!(host.property("ActiveState"), "active");

    let (served, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            host.near(|_| {
                while !stop.load(Ordering::SeqCst) {
                    let mut connection = TcpStream::connect(SERVICE).expect("systemd holds the socket");
                    // A service that ends may close a connection that has not asked yet; no request is refused.
                    if answers(&mut connection) {
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        });
        let is_served = || {
            let enough = served.load(Ordering::SeqCst) + ANSWERS;
            until("the client is served", || {
                assert!(!client.is_finished(), "the client was refused");
                (served.load(Ordering::SeqCst) >= enough).then_some(())
            });
        };
        is_served();
        for _ in 0..RESTARTS {
            host.systemctl("restart");
            is_served();
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(host.near(|api| api.get(&format!("/api/v1/clusters/{pin}")).status), 200);

    // Another port, as docs/operations.md has it.
    host.machine.root().write(SOCKET_OVERRIDE, "[Socket]\nListenStream=\nListenStream=[::]:443\n");
    host.machine.sh("systemctl daemon-reload
        systemctl stop cernvm-pairing-server.socket cernvm-pairing-server.service
        systemctl start cernvm-pairing-server.socket");
    assert!(host.status("/readyz").is_none(), "it still listens on port 8000");
    let elsewhere = SocketAddr::new(SERVICE.ip(), 443);
    assert_eq!(host.near(|_| Api(elsewhere).get(&format!("/api/v1/clusters/{pin}")).status), 200);
}
