//! Full virtual machines: a Debian root on a disk of its own, booted by its own kernel under QEMU's own processor (TCG),
//! with cloud-init reading its seed as a cloud's image would.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::binaries;
use crate::boot::debian::Debian;
use crate::boot::lab::{BRIDGE, BRIDGE_NAME, Lab};
use crate::boot::root::Root;
use crate::process::Process;

/// cloud-init knows the interface by its Ethernet address, whatever name the kernel gives it.
const NETWORK: &str = "\
version: 1
config:
  - type: physical
    name: eth0
    mac_address: '02:00:00:77:00:NUMBER'
    subnets: [{type: static, address: ADDRESS/24, gateway: BRIDGE}]
";

/// Most of a boot under an emulated processor is mitigations and services that are not needed here. `no_timer_check`: see
/// `microvm.rs`.
const KERNEL_WORDS: &str = "root=/dev/vda rw console=ttyS0 quiet no_timer_check mitigations=off net.ifnames=0 \
    systemd.show_status=1 systemd.mask=systemd-binfmt.service";

/// A machine that boots once.
#[derive(Debug)]
pub struct FullVm {
    name: String,
    process: Process,
    began: Instant,
    /// What was seen on its console, and when.
    seen: Vec<(&'static str, Duration)>,
}

impl FullVm {
    /// Makes its disk, with the agent installed as a package would and a NoCloud seed, and boots it. `name` is at most 11
    /// characters long.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn boot(lab: &Lab, debian: &Debian, name: &str, address: Ipv4Addr, user_data: &str) -> Self {
        let disk = make_disk(lab, debian, name, address, user_data);
        lab.sh(
            "ip tuntap add dev \"tap-$1\" mode tap
            ip link set \"tap-$1\" master \"$2\" up",
            &[name.as_ref(), BRIDGE_NAME.as_ref()],
        );
        let [.., number] = address.octets();
        let boot = debian.root().join("boot");
        let mut command = lab.command("qemu-system-x86_64");
        command.args(["-accel", "tcg,thread=multi", "-cpu", "qemu64,-cx16", "-m", "1024", "-smp", "2"]);
        command.args(["-display", "none", "-monitor", "none", "-no-reboot", "-serial", "stdio"]);
        for (option, file) in [("-kernel", "vmlinuz-"), ("-initrd", "initrd.img-")] {
            let found = std::fs::read_dir(&boot).expect("the root has a kernel").find_map(|entry| {
                let path = entry.expect("it can be listed").path();
                path.file_name()?.to_str()?.starts_with(file).then_some(path)
            });
            command.arg(option).arg(found.expect("the root has a kernel and its initramfs"));
        }
        command.args(["-append", KERNEL_WORDS]);
        command.args(["-drive", &format!("file={},if=virtio,format=raw", disk.display())]);
        command.args(["-netdev", &format!("tap,id=net,ifname=tap-{name},script=no,downscript=no")]);
        command.arg("-device");
        command.arg(format!("virtio-net-pci,netdev=net,romfile=,mac=02:00:00:77:00:{number:02x}"));
        command.args(["-device", "virtio-rng-pci"]);
        let began = Instant::now();
        Self { name: name.into(), process: Process::start(name, &mut command), began, seen: Vec::new() }
    }

    /// Looks at the console for these words; true once the last of them is there.
    ///
    /// # Panics
    /// When the machine has ended without saying them.
    pub fn look_for(&mut self, words: &[&'static str]) -> bool {
        let ended = self.process.has_ended();
        let console = self.process.stdout();
        for word in words {
            if console.contains(word) && !self.seen.iter().any(|(seen, _)| seen == word) {
                self.seen.push((word, self.began.elapsed()));
            }
        }
        let last = words.last().expect("there is something to look for");
        let done = self.seen.iter().any(|(seen, _)| seen == last);
        assert!(done || !ended, "{} ended without saying {last:?}", self.name);
        done
    }

    /// When each of the words came, for a person.
    #[must_use]
    pub fn time_line(&self) -> String {
        let lines = self.seen.iter().map(|(words, at)| format!("{:>8.1} s  {words}", at.as_secs_f64()));
        format!("{}\n{}", self.name, lines.collect::<Vec<_>>().join("\n"))
    }
}

fn make_disk(lab: &Lab, debian: &Debian, name: &str, address: Ipv4Addr, user_data: &str) -> PathBuf {
    let root = Root::new(lab, debian, name);
    root.install("agent", &binaries::static_agent());
    root.sh("systemctl --quiet enable cernvm-cluster-contextualization cernvm-cluster-master-ready");
    root.write("/etc/hostname", name);
    root.write("/etc/fstab", "/dev/vda / ext4 defaults 0 0\n");
    let [.., number] = address.octets();
    let network =
        NETWORK.replace("NUMBER", &format!("{number:02x}")).replace("ADDRESS", &address.to_string());
    let seed = "/var/lib/cloud/seed/nocloud";
    root.write(&format!("{seed}/network-config"), network.replace("BRIDGE", &BRIDGE.to_string()));
    root.write(&format!("{seed}/meta-data"), format!("instance-id: i-{name}\n"));
    root.write(&format!("{seed}/user-data"), user_data);
    let disk = lab.dir().join(format!("{name}.disk"));
    lab.sh(
        "mkfs.ext4 -q -F -O ^has_journal -d \"$1\" \"$2\" 1800M",
        &[root.path().as_os_str(), disk.as_os_str()],
    );
    disk
}
