//! Micro VMs: Debian's cloud kernel and an initramfs whose `/init` is the µCernVM boot loader's, under QEMU's own
//! processor (TCG), with a disk that outlives the boots.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::boot::debian::Debian;
use crate::boot::lab::{BRIDGE_NAME, Lab};
use crate::boot::ucernvm;
use crate::process::Process;
use crate::wait::until;

/// What a machine says on its console when its boot loader is through and the system has started.
const BOOTED: &str = "This machine has booted.";

/// The drivers for the disk and the network; all else that is needed is in the kernel.
const MODULES: &str = "virtio_pci virtio_blk virtio_net";

/// Makes an initramfs: `$1` its tree, `$2` Debian's root, `$3` the image.
const PACK: &str = "
    mkdir -p \"$1/bin\" \"$1/modules\"
    cp \"$2/bin/busybox\" \"$1/bin/\"
    kernel=$(ls \"$2/lib/modules\")
    chroot \"$2\" modprobe --set-version \"$kernel\" --show-depends --all $MODULES |
        awk '$1 == \"insmod\" && !seen[$2]++ { print $2 }' |
        { number=100; while read -r module; do
            number=$((number + 1))
            cp \"$2$module\" \"$1/modules/$number-${module##*/}\"
        done; }
";

/// A kernel and an initramfs.
#[derive(Debug, Clone)]
pub struct Image {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Image {
    /// Builds a boot loader that has the agent in it.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn build(lab: &Lab, debian: &Debian, agent: &Path) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (tree, files) = (lab.dir().join("cernvm-micro"), lab.dir().join("initramfs"));
        let initramfs = lab.dir().join("initramfs.cpio");
        lab.sh(
            "cp -r \"$1\" \"$2\"
            DESTDIR=\"$2\" \"$3\" ucernvm \"$4\"",
            &[
                manifest.join("fixtures/ucernvm").as_os_str(),
                tree.as_os_str(),
                manifest.join("../packaging/install.sh").as_os_str(),
                agent.as_os_str(),
            ],
        );
        let root = debian.root();
        lab.sh(&PACK.replace("$MODULES", MODULES), &[files.as_os_str(), root.as_os_str()]);
        ucernvm::build(&tree, &files);
        archive(lab, &files, &initramfs);
        let kernel = fs::read_dir(root.join("boot")).expect("the root has a kernel").find_map(|entry| {
            let path = entry.expect("it can be listed").path();
            path.file_name()?.to_str()?.starts_with("vmlinuz-").then_some(path)
        });
        Self { kernel: kernel.expect("the root has a kernel"), initramfs }
    }
}

/// Packs a directory as the kernel unpacks it.
fn archive(lab: &Lab, directory: &Path, archive: &Path) {
    lab.sh(
        "cd \"$1\" && find . | cpio --quiet --create --format=newc >\"$2\"",
        &[directory.as_os_str(), archive.as_os_str()],
    );
}

/// A virtual machine on the lab's bridge.
#[derive(Debug)]
pub struct MicroVm<'lab> {
    lab: &'lab Lab,
    image: Image,
    name: String,
    address: Ipv4Addr,
    /// Ends its DMI product UUID.
    serial: u8,
    dir: PathBuf,
    running: Option<Process>,
}

impl<'lab> MicroVm<'lab> {
    /// A machine that has never booted, with an empty disk. `name` is at most 11 characters long.
    #[must_use]
    pub fn new(lab: &'lab Lab, image: &Image, name: &str, address: Ipv4Addr) -> Self {
        let dir = lab.dir().join(name);
        lab.sh(
            "mkdir -p \"$1/seed/seed\"
            truncate -s 64M \"$1/disk\"
            mkfs.ext4 -q \"$1/disk\"
            ip tuntap add dev \"tap-$2\" mode tap
            ip link set \"tap-$2\" master \"$3\" up",
            &[dir.as_os_str(), name.as_ref(), BRIDGE_NAME.as_ref()],
        );
        let [.., serial] = address.octets();
        Self { lab, image: image.clone(), name: name.into(), address, serial, dir, running: None }
    }

    /// From the next boot on its disk is that of another machine.
    pub fn become_a_clone(&mut self) {
        self.serial = !self.serial;
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Gives it user-data, from the next boot on.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn seed(&self, user_data: impl AsRef<[u8]>) {
        fs::write(self.dir.join("seed/seed/user-data"), user_data).expect("it can be written");
    }

    /// Gives it injected user-data besides.
    ///
    /// # Panics
    /// When there is no room for it.
    pub fn inject(&self, user_data: impl AsRef<[u8]>) {
        fs::write(self.dir.join("seed/seed/extra-user-data"), user_data).expect("it can be written");
    }

    /// Boots it, with further words on the kernel's command line.
    ///
    /// # Panics
    /// When it runs already.
    pub fn boot(&mut self, words: &str) {
        assert!(self.running.is_none(), "{} runs", self.name);
        let seed = self.dir.join("seed.cpio");
        archive(self.lab, &self.dir.join("seed"), &seed);
        self.lab.sh(
            "cat \"$1\" \"$2\" >\"$3\"",
            &[
                self.image.initramfs.as_os_str(),
                seed.as_os_str(),
                self.dir.join("initramfs.cpio").as_os_str(),
            ],
        );
        let mut command = self.qemu(words);
        self.running = Some(Process::start(&self.name, &mut command));
    }

    /// An Ethernet address and a DMI product UUID of its own, the same at every boot. The processor has no `cmpxchg16b`,
    /// over whose emulation Debian 13's kernel dies now and then. `no_timer_check`: on a busy machine the kernel sees too few
    /// ticks while it counts them, takes the timer for broken and panics ("IO-APIC + timer doesn't work").
    fn qemu(&self, words: &str) -> Command {
        let mut command = self.lab.resident(&self.name, "qemu-system-x86_64");
        let [.., number] = self.address.octets();
        command.args(["-accel", "tcg", "-cpu", "qemu64,-cx16", "-m", "192", "-nodefaults", "-no-reboot"]);
        command.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
        command.args(["-uuid", &format!("7b1c3c53-0000-4000-8000-0000000000{:02x}", self.serial)]);
        command.arg("-kernel").arg(&self.image.kernel);
        command.arg("-initrd").arg(self.dir.join("initramfs.cpio"));
        let address = self.address;
        let kernel = "console=ttyS0 quiet no_timer_check panic=-1";
        command.args(["-append", &format!("{kernel} address={address} {words}")]);
        let disk = self.dir.join("disk");
        command.args(["-drive", &format!("file={},if=virtio,format=raw", disk.display())]);
        let tap = format!("tap,id=net,ifname=tap-{},script=no,downscript=no", self.name);
        command.args(["-netdev", &tap, "-device"]);
        command.arg(format!("virtio-net-pci,netdev=net,romfile=,mac=02:00:00:77:00:{number:02x}"));
        command.args(["-device", "virtio-rng-pci"]);
        command
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

    /// Waits until it has booted, then cuts its power; gives all that it said on its console.
    pub fn boot_ends(&mut self) -> String {
        self.wait_until_console_says(BOOTED);
        self.cut_power()
    }

    /// Cuts its power, and gives all that it said on its console.
    ///
    /// # Panics
    /// When it was not booted.
    pub fn cut_power(&mut self) -> String {
        let mut running = self.running.take().expect("it was booted");
        running.kill();
        running.stdout()
    }

    /// Reads a file of its disk, which is the read-write area; `None` when there is none.
    ///
    /// # Panics
    /// When `debugfs` cannot be started.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let disk = self.dir.join("disk");
        let mut command = self.lab.command("debugfs");
        let read = command.args(["-R", &format!("cat {path}")]).arg(disk).output().expect("nsenter starts");
        let missing = String::from_utf8_lossy(&read.stderr).contains("File not found");
        (!missing).then(|| String::from_utf8_lossy(&read.stdout).into_owned())
    }

    /// The permissions of a file of its disk.
    ///
    /// # Panics
    /// When there is no such file.
    #[must_use]
    pub fn mode(&self, path: &str) -> u32 {
        let disk = self.dir.join("disk");
        let said = self.lab.sh("debugfs -R \"stat $1\" \"$2\"", &[path.as_ref(), disk.as_os_str()]);
        let mode = said.split_once("Mode:").and_then(|(_, rest)| rest.split_whitespace().next());
        let mode = mode.and_then(|mode| u32::from_str_radix(mode, 8).ok());
        mode.unwrap_or_else(|| panic!("{path}: {said}"))
    }
}
