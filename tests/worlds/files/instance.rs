//! A slave that cloud-init sets up, with the files of its instance.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;

use worlds::guest::{Agent, Finished, Guest};
use worlds::service::Service;

pub(crate) const IP: &str = "###MASTER_IP_PLACEHOLDER###";
pub(crate) const TOKEN: &str = "###JOIN_TOKEN_PLACEHOLDER###";
pub(crate) const ADDRESS: &str = "192.0.2.1";
pub(crate) const SECRET: &str = "s3cr3t-t0k3n";
const DIRECTORY: &str = "/var/lib/cloud/instances/iid-files";

/// A slave and its service.
pub(crate) struct Instance {
    pub(crate) guest: Guest,
    pub(crate) service: Service,
    pin: String,
    context: String,
    cloud_config: String,
}

impl Instance {
    /// A slave whose cloud-config is this, and whose master is not ready yet.
    pub(crate) fn new(cloud_config: &str) -> Self {
        Self::with_setting("", cloud_config)
    }

    /// The same, with a further line in its section.
    pub(crate) fn with_setting(setting: &str, cloud_config: &str) -> Self {
        let service = Service::start();
        let pin = service.api().new_pin();
        // A script, of which cloud-init's final stage reads every line.
        let context = format!(
            "#!/bin/sh\n: <<'CONTEXT'\n[ucernvm-begin]\ncvm_cluster_pin={pin}\ncvm_service_url={}\n\
             cvm_cluster_timeout=60\n{setting}\n[ucernvm-end]\n{IP}\nCONTEXT\n",
            service.url()
        );
        let guest = Guest::with_files("slave", &[("/context", context.as_bytes())]);
        guest.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\nalice:x:65534:65534::/home/alice:/bin/sh\n");
        guest.write("/etc/group", "root:x:0:\nalice:x:65534:\n");
        let instance = Self { guest, service, pin, context, cloud_config: cloud_config.to_owned() };
        instance.guest.write(&instance.file("boot-finished"), "");
        symlink(DIRECTORY, instance.guest.path("/var/lib/cloud/instance")).expect("a link can be made");
        instance
    }

    /// A file of cloud-init's instance.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{DIRECTORY}/{name}")
    }

    /// What cloud-init's network stage writes at every boot.
    pub(crate) fn lay_down(&self) {
        self.guest.write(&self.file("user-data.txt"), &self.context);
        self.guest.write(&self.file("user-data.txt.i"), &self.context);
        self.guest.write(&self.file("cloud-config.txt"), &self.cloud_config);
    }

    pub(crate) fn start(&self) -> Agent {
        self.guest.start(&["contextualize", "--cloud-init"])
    }

    pub(crate) fn boot(&self) -> Finished {
        self.lay_down();
        self.start().finish()
    }

    /// The next boot is a first one, and its master not ready.
    pub(crate) fn forget(&self) {
        let _ = std::fs::remove_file(self.guest.path(&self.file("cernvm-cluster.json")));
        for key in ["join_token", "master_ip", "master_ready"] {
            let _ = self.service.api().delete(&worlds::api::key_path(&self.pin, key));
        }
    }

    /// The master is ready, and has published its token.
    pub(crate) fn master_is_ready(&self) {
        for (key, value) in [("join_token", SECRET), ("master_ip", ADDRESS), ("master_ready", ADDRESS)] {
            self.service.api().create_key(&self.pin, key, value);
        }
    }

    pub(crate) fn text(&self, inside: &str) -> String {
        String::from_utf8(self.guest.read(inside)).expect("it is text")
    }

    #[track_caller]
    pub(crate) fn has(&self, inside: &str, text: &str) {
        assert_eq!(self.text(inside), text, "{inside}");
    }
}

/// cloud-init's dump of a configuration with these entries: path, content, and further lines.
pub(crate) fn dump(entries: &[(&str, &str, &str)]) -> String {
    let mut dump = "#cloud-config\n\n# from 1 files\n# part-001\n\n---\nwrite_files:\n".to_owned();
    for (path, content, more) in entries {
        let content = content.replace('\n', "\\n");
        writeln!(dump, "-   content: \"{content}\"\n    path: {path}").expect("a string takes all");
        for line in more.lines() {
            writeln!(dump, "    {line}").expect("a string takes all");
        }
    }
    dump + "...\n"
}
