//! Debian machines under systemd-nspawn: real systemd, real cloud-init, a root that outlives the boots.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::boot::debian::Debian;
use crate::boot::lab::{BRIDGE, BRIDGE_NAME, Lab};
use crate::boot::root::Root;
use crate::process::Process;
use crate::wait::until;

/// What a machine says on its console when it has booted and cloud-init and our units have had their turn.
const BOOTED: &str = "This machine has booted.";

/// The unit that says so. It declares itself after `multi-user.target`, or that target would wait for it.
const BOOTED_UNIT: &str = "\
[Unit]
After=multi-user.target cloud-final.service cernvm-cluster-contextualization.service cernvm-cluster-master-ready.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo \"This machine has booted.\" >/dev/console'
[Install]
WantedBy=multi-user.target
";

/// A static address, since there is no DHCP on the bridge.
const NETWORK: &str = "\
version: 1
config:
  - type: physical
    name: host0
    subnets: [{type: static, address: ADDRESS/24, gateway: BRIDGE}]
";

/// The same for a machine without cloud-init, by systemd itself.
const NETWORKD: &str = "\
[Match]
Name=host0
[Network]
Address=ADDRESS/24
Gateway=BRIDGE
";

/// What a person wants to see of a machine that did not do as the test says.
const POST_MORTEM: &str = "
    systemctl list-jobs --no-pager
    systemctl list-units --failed --no-pager
    systemctl status --no-pager --full machine-has-booted.service || :
    journalctl --no-pager --boot --lines=200
";

/// A machine: an overlay over a cached root, and a place on the lab's bridge.
#[derive(Debug)]
pub struct Machine<'lab> {
    lab: &'lab Lab,
    name: String,
    address: Ipv4Addr,
    root: Root<'lab>,
    running: Option<Process>,
    console: String,
    began: Instant,
}

impl<'lab> Machine<'lab> {
    /// A machine that has never booted, with the agent installed as a package would.
    ///
    /// `name` is at most 11 characters long, since an interface bears it.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(lab: &'lab Lab, debian: &Debian, name: &str, address: Ipv4Addr) -> Self {
        let root = Root::new(lab, debian, name);
        // With no id, or an empty one, systemd takes it for a first boot of the image and presets every unit.
        let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel makes ids");
        root.write("/etc/machine-id", id.replace('-', ""));
        root.write("/etc/hostname", name);
        root.write("/etc/systemd/system/machine-has-booted.service", BOOTED_UNIT);
        root.sh("systemctl --quiet enable machine-has-booted.service");
        // A getty hangs the line up when it starts, and what comes after that may not be seen any more.
        root.sh("systemctl --quiet mask console-getty.service");
        Self {
            lab,
            name: name.into(),
            address,
            root,
            running: None,
            console: String::new(),
            began: Instant::now(),
        }
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its root file system.
    #[must_use]
    pub fn root(&self) -> &Root<'lab> {
        &self.root
    }

    /// Gives it a NoCloud seed: what a cloud would know of it. Another instance-id makes it a clone.
    pub fn seed(&self, instance_id: &str, user_data: impl AsRef<[u8]>) {
        let network = NETWORK.replace("ADDRESS", &self.address.to_string());
        let seed = "/var/lib/cloud/seed/nocloud";
        self.root.write(&format!("{seed}/network-config"), network.replace("BRIDGE", &BRIDGE.to_string()));
        self.root.write(&format!("{seed}/meta-data"), format!("instance-id: {instance_id}\n"));
        self.root.write(&format!("{seed}/user-data"), user_data);
    }

    /// Has systemd see to its network, and no cloud-init at all.
    pub fn without_cloud_init(&self) {
        let network = NETWORKD.replace("ADDRESS", &self.address.to_string());
        self.root
            .write("/etc/systemd/network/10-host0.network", network.replace("BRIDGE", &BRIDGE.to_string()));
        self.root.write("/etc/cloud/cloud-init.disabled", "");
        self.root.sh("systemctl --quiet enable systemd-networkd.service
            systemctl --quiet add-wants multi-user.target network-online.target");
        // It would be cloud-init that makes its keys.
        self.root.sh("systemctl --quiet mask ssh.service");
    }

    /// Boots it.
    ///
    /// # Panics
    /// When it runs already.
    pub fn boot(&mut self) {
        assert!(self.running.is_none(), "{} runs", self.name);
        let mut command = self.nspawn();
        self.began = Instant::now();
        self.running = Some(Process::start(&self.name, &mut command));
    }

    /// `--private-network` keeps its hands off the host's interfaces; a console that is a terminal, but not for input,
    /// makes what `StandardOutput=journal+console` sends there appear in this program's output.
    fn nspawn(&self) -> Command {
        let mut command = self.lab.grouped(&self.name, "systemd-nspawn");
        command.args(["--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only"]);
        command.arg("--private-network").arg(format!("--network-bridge={BRIDGE_NAME}"));
        command.arg("--machine").arg(&self.name).arg("--directory").arg(self.root.path());
        command
    }

    /// Waits until it has booted, and says how long that took.
    ///
    /// # Panics
    /// When it ends before, or does not boot in all patience.
    pub fn wait_until_booted(&mut self) -> Duration {
        self.wait_until_console_says(BOOTED);
        self.began.elapsed()
    }

    /// Waits for words on its console.
    ///
    /// # Panics
    /// When it ends without saying them, or does not say them in all patience.
    pub fn wait_until_console_says(&mut self, words: &str) {
        let running = self.running.as_mut().expect("it was booted");
        let name = &self.name;
        until(&format!("{name} says {words:?} on its console"), || {
            let ended = running.has_ended();
            let said = running.stdout().contains(words);
            assert!(said || !ended, "{name} ended without saying {words:?} on its console");
            said.then_some(())
        });
    }

    /// Runs a shell script in it while it runs, and gives what that printed.
    ///
    /// # Panics
    /// When the script fails.
    pub fn sh(&self, script: &str) -> String {
        let output = self.lab.inside(&self.name, script).output().expect("nsenter starts");
        let said = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
        assert!(output.status.success(), "{}: {script}\n{}\n{stdout}{stderr}", self.name, output.status);
        stdout
    }

    /// Shuts it down in good order and waits for its end.
    ///
    /// # Panics
    /// When it does not run.
    pub fn power_off(&mut self) {
        let mut running = self.running.take().expect("it was booted");
        self.lab.signal(&self.name, "TERM");
        running.wait();
        self.console = running.stdout();
    }

    /// What it said on its console, in its last boot once it has ended.
    #[must_use]
    pub fn console(&self) -> String {
        self.running.as_ref().map_or_else(|| self.console.clone(), Process::stdout)
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.running.as_mut().is_some_and(|running| !running.has_ended()) {
            let script = format!("timeout 10 sh -c '{POST_MORTEM}' 2>&1");
            let seen = self.lab.inside(&self.name, &script).output();
            let seen = seen.map(|seen| String::from_utf8_lossy(&seen.stdout).into_owned());
            println!("{} as it is:\n{}", self.name, seen.unwrap_or_else(|e| e.to_string()));
        }
    }
}
