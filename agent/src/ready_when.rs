//! What a master waits for before it says that it is ready: `cvm_master_ready_when`.
//!
//! Nothing of the user-data runs for it: a port is connected to, systemd is asked for a unit, a file is looked for.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use context::settings::ReadyWhen;
use protocol::error::Error;

use crate::backoff::{Clock, Deadline};
use crate::root::Root;
use crate::session::Session;
use client::Service;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Longest time for a connection to this machine itself.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// Where a master looks.
pub struct LocalProbe<'a> {
    /// Below which its files are.
    pub root: &'a Root,
    /// The addresses at which slaves may find its ports: one of them has to answer.
    pub addresses: Vec<IpAddr>,
}

impl<'a> LocalProbe<'a> {
    /// A machine that holds these addresses and whose slaves go to `address`: to that one alone where the machine holds it,
    /// else, behind a translation of addresses, to any of its own.
    #[must_use]
    pub fn new(root: &'a Root, address: IpAddr, held: &[IpAddr]) -> Self {
        let others = if held.contains(&address) { &[] } else { held };
        Self { root, addresses: std::iter::once(address).chain(others.iter().copied()).collect() }
    }

    /// Whether it is so now.
    #[must_use]
    pub fn is_met(&self, condition: &ReadyWhen) -> bool {
        match condition {
            ReadyWhen::Tcp(port) => self.addresses.iter().any(|address| {
                TcpStream::connect_timeout(&SocketAddr::new(*address, *port), CONNECT_LIMIT).is_ok()
            }),
            // The systemd that answers is that of this machine, whatever the root.
            ReadyWhen::Unit(unit) => *self.root == Root::default() && is_active("systemctl", unit),
            ReadyWhen::File(file) => self.root.path(file).exists(),
        }
    }

    /// Those that are not met, as the section has them.
    #[must_use]
    pub fn unmet(&self, conditions: &[ReadyWhen]) -> Vec<String> {
        conditions.iter().filter(|condition| !self.is_met(condition)).map(ToString::to_string).collect()
    }

    /// Waits until all are met at once.
    ///
    /// # Errors
    /// 75 with those that are not, at the deadline.
    pub fn await_all<S: Service, C: Clock>(
        &self,
        conditions: &[ReadyWhen],
        session: &mut Session<S, C>,
        deadline: &Deadline,
    ) -> Result<(), Error> {
        loop {
            let unmet = self.unmet(conditions).join(", ");
            if unmet.is_empty() {
                return Ok(());
            }
            session.say_waiting(&format!("waiting for {unmet} before this master is ready"), deadline);
            let left = deadline.left(session.clock());
            if left.is_zero() {
                let what = format!("this master is not said to be ready, since {unmet} is not there");
                let next = "see why it has not started; cvm_master_ready_when in the section asks for it";
                return Err(Error::timed_out(&what, deadline.tried(session.clock()), next));
            }
            session.clock().sleep(left.min(PAUSE));
        }
    }
}

/// Whether systemd has a unit as active.
fn is_active(systemctl: impl AsRef<Path>, unit: &str) -> bool {
    let mut command = Command::new(systemctl.as_ref());
    command.args(["is-active", "--quiet", "--", unit]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fake::{FakeSession, done};
    use protocol::error::Status;
    use std::net::{Ipv4Addr, TcpListener};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn looks_for_ports_where_slaves_would() {
        let root = Root::default();
        let listener = TcpListener::bind((HERE, 0)).unwrap();
        let port = ReadyWhen::Tcp(listener.local_addr().unwrap().port());
        let another = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
        assert!(LocalProbe::new(&root, HERE, &[HERE]).is_met(&port));
        assert!(
            !LocalProbe::new(&root, another, &[HERE, another]).is_met(&port),
            "it listens on another address"
        );
        // A floating address: this one stands for one that the machine does not hold.
        assert!(LocalProbe::new(&root, another, &[HERE]).is_met(&port));
        drop(listener);
        assert!(!LocalProbe::new(&root, HERE, &[HERE]).is_met(&port));
    }

    #[test]
    fn looks_for_files_below_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::from(dir.path().as_os_str().to_owned());
        let file = ReadyWhen::File("/run/ready".into());
        let here = LocalProbe::new(&root, HERE, &[]);
        assert!(!here.is_met(&file));
        std::fs::create_dir(dir.path().join("run")).unwrap();
        std::fs::write(dir.path().join("run/ready"), "").unwrap();
        assert!(here.is_met(&file));
        assert!(!here.is_met(&ReadyWhen::Unit("init.scope".to_owned())), "that is the host's");
    }

    #[test]
    fn asks_systemd_for_one_unit() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/systemctl");
        assert!(is_active(fixtures.join("systemctl"), "slurmctld.service"));
        assert!(!is_active(fixtures.join("systemctl"), "munge.service"));
        assert!(!is_active(fixtures.join("nothing"), "slurmctld.service"));
    }

    #[test]
    fn gives_up_at_the_deadline_with_what_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::from(dir.path().as_os_str().to_owned());
        std::fs::write(dir.path().join("b"), "").unwrap();
        let mut fake = FakeSession::new(&["pair"], 30, |_| done());
        let conditions: Vec<_> = ["/a", "/b", "/c"].map(|file| ReadyWhen::File(file.into())).into();
        let here = LocalProbe::new(&root, HERE, &[]);
        let deadline = fake.session.deadline();
        let error = here.await_all(&conditions, &mut fake.session, &deadline).unwrap_err();
        assert_eq!(error.status(), Status::TimedOut);
        assert!(error.to_string().contains("since file:/a, file:/c is not there after 30 s"), "{error}");
        assert!(fake.seen().is_empty(), "this asks the service nothing");
        here.await_all(&conditions[1..2], &mut fake.session, &deadline).unwrap();
    }
}
