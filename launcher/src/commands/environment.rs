//! What the command line names: the pairing service, the cloud, the records.

use std::env;
use std::fs;
use std::path::Path;

use protocol::error::{Error, Status};
use protocol::url::ServiceUrl;
use protocol::{Fingerprint, Secret, Trust};

use crate::catalogue::Catalogue;
use crate::cli::{CloudArgs, DataDir, PairingArgs, Serve};
use crate::launch::{Launcher, PairingService, Records, RecordsError, Refused};
use crate::openstack::{Credentials, Session, authorities, from_environment};

/// A variable of the environment that is text.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// What launches, with the types below a folder.
pub(super) fn launcher(types: &Path, data: &DataDir, pairing: &PairingArgs) -> Result<Launcher, Error> {
    launcher_of(types, pairing, || records(data))
}

/// That of the API.
pub(super) fn serving(args: &Serve) -> Result<Launcher, Error> {
    launcher_of(&args.types.types, &args.pairing, || {
        if !args.in_memory {
            return records(&args.data);
        }
        log::info!("launches are in memory, and forgotten at the end; their stacks stay in the cloud");
        Ok(Records::in_memory())
    })
}

fn launcher_of(
    types: &Path,
    pairing: &PairingArgs,
    records: impl FnOnce() -> Result<Records, Error>,
) -> Result<Launcher, Error> {
    let (catalogue, pairing) = (Catalogue::new(types.to_owned()), pairing_service(pairing)?);
    Ok(Launcher { catalogue, records: records()?, pairing })
}

fn records(data: &DataDir) -> Result<Records, Error> {
    let refused = |error: RecordsError| Refused::Records(error).to_error();
    let config = data.etcd.config();
    let config = config.map_err(|error| {
        let is_file = matches!(error, pairing_server::Error::File { .. });
        let status = if is_file { Status::File } else { Status::Usage };
        Error::new(status, error.to_string(), error.next_step().to_owned())
    })?;
    match (config, &data.launches_key_file) {
        (Some(config), Some(file)) => Records::in_etcd(&config, &key(file)?, file).map_err(refused),
        _ => Records::in_folder(&data.data_dir).map_err(refused),
    }
}

/// The key of a file, as `keygen` writes it.
fn key(file: &Path) -> Result<Secret, Error> {
    Secret::parse(&first_line(file)?).map_err(|problem| {
        let what = format!("{}: the first line is no key: {problem}", file.display());
        Error::new(Status::Usage, what, "make a key with `cernvm-cluster-launcher keygen FILE`")
    })
}

fn pairing_service(args: &PairingArgs) -> Result<Option<PairingService>, Error> {
    let Some(text) = &args.pairing_url else { return Ok(None) };
    let trust = match (&args.pairing_ca, args.pairing_fingerprint) {
        (Some(path), _) => trust(path)?,
        (None, Some(Fingerprint(digest))) => Trust::Fingerprint(digest),
        (None, None) => Trust::WebPki,
    };
    let secured = trust != Trust::WebPki;
    let from_here = service_url("--pairing-url", text, secured)?;
    let node_url = match &args.node_pairing_url {
        Some(text) => service_url("--node-pairing-url", text, secured)?,
        None => from_here.clone(),
    };
    let token = args.pairing_token_file.as_deref().map(first_line).transpose()?;
    let token = token.filter(|token| !token.is_empty());
    Ok(Some(PairingService { url: from_here, node_url, trust, token }))
}

fn service_url(flag: &str, text: &str, secured: bool) -> Result<ServiceUrl, Error> {
    ServiceUrl::parse(text, secured).map_err(|problem| {
        Error::new(Status::Usage, format!("{flag} {text} {problem}"), "give the URL of a pairing service")
    })
}

/// The URL by which machines reach a pairing service that the launcher runs itself.
pub(super) fn own_node_url(args: &Serve) -> Result<ServiceUrl, Error> {
    let (flag, text) = ("--node-pairing-url", args.pairing.node_pairing_url.as_deref().unwrap_or_default());
    let secured = args.own_pairing.pairing_tls_self_signed;
    // TLS decides what a URL without a scheme is; one with the wrong scheme has an error of its own.
    let url = service_url(flag, text, secured && !text.starts_with("http://"))?;
    let wrong = |problem: &str, next: &'static str| {
        Err(Error::new(Status::Usage, format!("{flag} {text} {problem}"), next))
    };
    if url.is_loopback() {
        return wrong(
            "is no URL for other machines: to each of them it is itself",
            "give the URL by which the machines of a cluster reach --pairing-listen, such as http://192.0.2.10:8000",
        );
    }
    if secured && !url.is_secure() {
        return wrong("is not https, and --pairing-tls-self-signed is given", "write it with https://");
    }
    Ok(url)
}

/// The first line of a file with a secret, without blanks around it; empty if the file is.
pub(super) fn first_line(path: &Path) -> Result<String, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::cannot_read(path, error))?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The CAs of a file.
pub(super) fn trust(path: &Path) -> Result<Trust, Error> {
    authorities(path).map(Trust::Authorities).map_err(|error| Refused::Credentials(error).to_error())
}

/// The credentials that the environment names.
pub(super) fn credentials(cloud: &CloudArgs) -> Result<Credentials, Error> {
    from_environment(&variable, cloud.os_cloud.as_deref())
        .map_err(|error| Refused::Credentials(error).to_error())
}

/// A login at the cloud that the environment names.
pub(super) fn session(cloud: &CloudArgs) -> Result<Session, Error> {
    Session::login(credentials(cloud)?, cloud.limit.cloud_timeout)
        .map_err(|error| Refused::Cloud(error).to_error())
}
