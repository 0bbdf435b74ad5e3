//! What a VM has of its cluster: a root directory with a context, and the agent that reads it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tempfile::TempDir;

use crate::error::{Result, WithContext};
use crate::load::connection::Target;
use crate::peers::{Bench, VALUE};
use crate::tls::Certificate;

/// Where the agent finds the context by itself, below the root.
const USER_DATA: &str = "mnt/.rw/context/user-data";

/// A guest's files.
#[derive(Debug)]
pub(super) struct Guest {
    root: TempDir,
    context: String,
}

/// What a guest is in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Master,
    Slave,
}

impl Guest {
    /// A guest that boots for the first time.
    pub(super) fn boot(
        bench: &Bench,
        role: Role,
        pin: &str,
        target: &Target,
        certificate: Option<&Certificate>,
    ) -> Result<Self> {
        let root = bench.directory()?;
        let mut section = format!("cvm_cluster_pin={pin}\ncvm_service_url={}\n", url(target));
        if let Some(certificate) = certificate {
            section += &format!("cvm_service_ca={}\n", BASE64_STANDARD.encode(&certificate.pem));
        }
        if role == Role::Master {
            section += &format!("cvm_cluster_master=yes\ncvm_cluster_master_ip={VALUE}\n");
        }
        let script = "#!/bin/sh\necho ###MASTER_IP_PLACEHOLDER### >/etc/master\nexit\n";
        let context = format!("{script}[ucernvm-begin]\n{section}[ucernvm-end]\n");
        let guest = Self { root, context };
        let path = guest.user_data();
        let directory = path.parent().expect("it has one");
        fs::create_dir_all(directory).context_on("create", directory)?;
        fs::write(&path, &guest.context).context_on("write", &path)?;
        Ok(guest)
    }

    /// Its context, outside.
    pub(super) fn user_data(&self) -> PathBuf {
        self.root.path().join(USER_DATA)
    }

    /// Whether the placeholder was replaced, and nothing else was touched.
    pub(super) fn is_substituted(&self) -> Result<bool> {
        let path = self.user_data();
        let text = fs::read_to_string(&path).context_on("read", &path)?;
        Ok(text == self.context.replace("###MASTER_IP_PLACEHOLDER###", VALUE))
    }

    /// The agent in it, as the boot runs it.
    pub(super) fn contextualize(&self, bench: &Bench) -> Result<Command> {
        let mut command = self.agent(bench)?;
        command.args(["contextualize", "--user-data", &format!("/{USER_DATA}")]);
        Ok(command)
    }

    /// The agent in it, as the end of the boot runs it.
    pub(super) fn master_ready(&self, bench: &Bench) -> Result<Command> {
        let mut command = self.agent(bench)?;
        command.arg("master-ready");
        Ok(command)
    }

    fn agent(&self, bench: &Bench) -> Result<Command> {
        let mut command = Command::new(bench.small("cernvm-cluster-agent")?);
        command.arg("--root").arg(self.root.path());
        let log = self.root.path().join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(&log).context_on("create", &log)?);
        Ok(command)
    }

    /// What the agent said last.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("log")).unwrap_or_default().replace('\n', " | ")
    }
}

/// A server's URL.
pub(super) fn url(target: &Target) -> String {
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", target.address)
}
