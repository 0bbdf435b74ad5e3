//! `contexts`: a pin, and the contexts of a master and of its slaves around it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use context::settings::Role;
use context::write::{ContextWriter, MASTER_STARTER, SLAVE_STARTER, ServiceIdentity};
use protocol::url::ServiceUrl;
use protocol::{Pin, Secret};

use super::agentless;
use super::connect::Access;
use crate::error::Error;
use crate::secret;
use crate::slave_contexts::SLAVE_CONTEXT;

/// Where to write contexts.
#[derive(Debug, Args)]
pub struct Contexts {
    /// What they are made from.
    #[command(flatten)]
    cluster: NewCluster,
    /// File for the master's context.
    #[arg(long, value_name = "FILE", default_value = "master-context.txt")]
    master: PathBuf,
    /// File for the slaves' context.
    #[arg(long, value_name = "FILE", default_value = "slave-context.txt")]
    slave: PathBuf,
    /// For images without cernvm-cluster-agent: the slaves' cloud-init gets its context (--from, a cloud-config) from the
    /// service once the master is ready. Such a cluster cannot be sealed.
    #[arg(long, conflicts_with_all = ["template", "no_seal", "ca", "fingerprint"])]
    agentless: bool,
}

/// What a new cluster is made from.
#[derive(Debug, Args)]
pub struct NewCluster {
    /// URL of the service, as the VMs reach it; without a scheme http://, or https:// with --ca or --fingerprint.
    #[arg(long, value_name = "URL", env = "CERNVM_PAIRING_URL")]
    url: String,
    /// URL that goes into the contexts, where this machine reaches the service by another one.
    #[arg(long, value_name = "URL", env = "CERNVM_PAIRING_PUBLIC_URL")]
    public_url: Option<String>,
    /// How the service is known; goes into the contexts.
    #[command(flatten)]
    pub(super) access: Access,
    /// A context of yours, which both contexts are made from.
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    from: Option<PathBuf>,
    /// A shipped example that the contexts are made from.
    #[arg(long, value_enum)]
    template: Option<Template>,
    /// Write contexts without a secret. With one, which is the default, the service cannot read or change the cluster's
    /// values, and every node needs cernvm-cluster-agent: the original agent puts sealed text into the context.
    #[arg(long)]
    no_seal: bool,
}

/// A cluster that the service knows now.
pub(super) struct MadeCluster {
    pub(super) pin: Pin,
    pub(super) secret: Option<Secret>,
    /// The service as this machine reaches it.
    pub(super) url: ServiceUrl,
    /// The service as the VMs reach it.
    pub(super) public: ServiceUrl,
    /// The contexts of master and slaves.
    pub(super) contexts: [String; 2],
}

/// The examples of `cloud-init/examples`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Template {
    /// An HTCondor central manager and the machines that run its jobs.
    Htcondor,
    /// A k3s server and its agents.
    K3s,
    /// A Slurm controller and its nodes.
    Slurm,
}

impl Template {
    /// The master's context, and the slaves'.
    fn contexts(self) -> [&'static str; 2] {
        match self {
            Self::Htcondor => [
                include_str!("../../../cloud-init/examples/htcondor-master.mime"),
                include_str!("../../../cloud-init/examples/htcondor-slave.mime"),
            ],
            Self::K3s => [
                include_str!("../../../cloud-init/examples/k3s-master.yaml"),
                include_str!("../../../cloud-init/examples/k3s-slave.yaml"),
            ],
            Self::Slurm => [
                include_str!("../../../cloud-init/examples/slurm-master.mime"),
                include_str!("../../../cloud-init/examples/slurm-slave.mime"),
            ],
        }
    }
}

impl Contexts {
    /// Makes a pin and a secret, and writes both contexts, readable for this user alone; an existing file is not written
    /// over. The service makes the pin and does not get the secret. Gives what to print.
    ///
    /// # Errors
    /// No VM could use the URL, no pin or secret can be made, or a file cannot be read or written.
    pub fn run(&self) -> Result<String, Error> {
        refuse_existing([&self.master, &self.slave])?;
        if self.agentless {
            return self.run_agentless();
        }
        let made = self.cluster.make()?;
        let [master, slave] = &made.contexts;
        write_new(&self.master, master)?;
        write_new(&self.slave, slave)?;
        let wrote = format!("wrote {} and {}", self.master.display(), self.slave.display());
        Ok(match made.secret {
            Some(_) => format!("{wrote}; the cluster is sealed: every node needs cernvm-cluster-agent"),
            None => wrote,
        })
    }

    /// The contexts of VMs without the agent. The service keeps that of the slaves, and their user-data names it.
    fn run_agentless(&self) -> Result<String, Error> {
        let (url, public) = self.cluster.urls()?;
        let from = &self.cluster.from;
        let context = match from {
            Some(path) => fs::read_to_string(path).map_err(|err| Error::file("read", path, err))?,
            None => agentless::SAMPLE.to_owned(),
        };
        let name = from.as_ref().map_or("the sample".to_owned(), |path| path.display().to_string());
        agentless::check(&name, &context).map_err(Error::Request)?;
        let mut service = self.cluster.access.service(url)?;
        let pin = service.create()?;
        service.create_key(&pin, SLAVE_CONTEXT, &context)?;
        write_new(&self.master, &agentless::master(&pin, &public))?;
        write_new(&self.slave, &agentless::slave(&pin, &public))?;
        Ok(format!(
            "wrote {} and {}; the service has the slaves' context and can read it",
            self.master.display(),
            self.slave.display()
        ))
    }
}

impl NewCluster {
    /// Makes a pin and a secret, and the contexts around them.
    ///
    /// # Errors
    /// No VM could use the URL, no pin or secret can be made, or a file cannot be read.
    pub(super) fn make(&self) -> Result<MadeCluster, Error> {
        let (url, public) = self.urls()?;
        let trust = self.trust()?;
        let templates = self.templates()?;
        let secret = (!self.no_seal).then(secret::make).transpose().map_err(Error::NoRandomness)?;
        let pin = self.access.service(url.clone())?.create()?;
        let contexts = made_of(&templates, &pin, secret.as_ref(), &public, &trust)?;
        Ok(MadeCluster { pin, secret, url, public, contexts })
    }

    /// The service as this machine reaches it, and as the VMs do.
    fn urls(&self) -> Result<(ServiceUrl, ServiceUrl), Error> {
        let url = self.access.read_url("--url", &self.url)?;
        let public = match &self.public_url {
            Some(text) => self.access.read_url("--public-url", text)?,
            None => url.clone(),
        };
        if public.is_loopback() {
            return Err(Error::Loopback { url: public.to_string() });
        }
        Ok((url, public))
    }

    /// How the agents are to know the service.
    fn trust(&self) -> Result<ServiceIdentity, Error> {
        match (&self.access.fingerprint, &self.access.ca) {
            (Some(fingerprint), _) => Ok(ServiceIdentity::Fingerprint(fingerprint.to_string())),
            (None, Some(path)) => {
                let pem = fs::read(path).map_err(|err| Error::file("read", path, err))?;
                Ok(ServiceIdentity::Ca(STANDARD.encode(pem)))
            }
            (None, None) => Ok(ServiceIdentity::Public),
        }
    }

    /// What the contexts of master and slaves are made from: their names and texts.
    fn templates(&self) -> Result<[(String, String); 2], Error> {
        if let Some(path) = &self.from {
            let text = fs::read_to_string(path).map_err(|err| Error::file("read", path, err))?;
            let named = (path.display().to_string(), text);
            return Ok([named.clone(), named]);
        }
        let [master, slave] = self.template.map_or([MASTER_STARTER, SLAVE_STARTER], Template::contexts);
        Ok([("master".to_owned(), master.to_owned()), ("slave".to_owned(), slave.to_owned())])
    }
}

/// # Errors
/// One of the files is there already.
pub(super) fn refuse_existing<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), Error> {
    match paths.into_iter().find(|path| path.exists()) {
        Some(path) => Err(Error::Exists { path: path.clone() }),
        None => Ok(()),
    }
}

/// The contexts of master and slaves.
fn made_of(
    templates: &[(String, String); 2],
    pin: &Pin,
    secret: Option<&Secret>,
    service: &ServiceUrl,
    trust: &ServiceIdentity,
) -> Result<[String; 2], Error> {
    let cluster = ContextWriter { pin, secret, service, trust: trust.clone() };
    let write = |name: &str, text: &str, role| cluster.write(name, text, role).map_err(Error::Request);
    let [master, slave] = templates;
    Ok([write(&master.0, &master.1, Role::Master)?, write(&slave.0, &slave.1, Role::Slave)?])
}

/// Writes a file that only this user can read, and never over another.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().map_err(|err| match err.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: path.to_owned() },
        _ => Error::file("write", path, err),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_the_documentation_shows() {
        let pin = Pin::parse("enico1qq0oey").unwrap();
        let service = ServiceUrl::parse("https://pair.example.org", false).unwrap();
        let templates = [("m".to_owned(), String::new()), ("s".to_owned(), SLAVE_STARTER.to_owned())];
        let trust = ServiceIdentity::Fingerprint(format!("sha256:{}", "ab".repeat(32)));
        let [master, _] = made_of(&templates, &pin, None, &service, &trust).unwrap();
        let digest = "ab".repeat(32);
        assert_eq!(
            master,
            format!(
                "[ucernvm-begin]\ncvm_cluster_master=yes\ncvm_cluster_pin=enico1qq0oey\n\
             cvm_service_url=https://pair.example.org\ncvm_service_fingerprint=sha256:{digest}\n[ucernvm-end]\n"
            )
        );
        let service = ServiceUrl::parse("http://pair.example.org:8000", false).unwrap();
        let secret = Secret::from_bytes([0; 32]);
        let [_, slave] =
            made_of(&templates, &pin, Some(&secret), &service, &ServiceIdentity::Public).unwrap();
        assert_eq!(
            slave,
            "[example_section]\nmy_master_ip=###MASTER_IP_PLACEHOLDER###\n\n[ucernvm-begin]\n\
             cvm_cluster_pin=enico1qq0oey\ncvm_cluster_secret=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\
             cvm_service_url=http://pair.example.org:8000\n[ucernvm-end]\n"
        );
    }

    #[test]
    fn writes_over_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("context");
        write_new(&path, "one").unwrap();
        assert!(matches!(write_new(&path, "two"), Err(Error::Exists { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
