//! What the command line names: the pairing service, the cloud, the records.

use std::env;
use std::fs;
use std::path::Path;

use protocol::error::{Error, Status};
use protocol::url::ServiceUrl;
use protocol::{Fingerprint, Trust};

use crate::catalogue::Catalogue;
use crate::cli::{Cloud, DataDir, Pairing};
use crate::launch::{Launcher, PairingService, Records, Refused};
use crate::openstack::{Credentials, Session, authorities, from_environment};

/// A variable of the environment that is text.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// What launches, with the types below a folder.
pub(super) fn launcher(types: &Path, data: &DataDir, pairing: &Pairing) -> Result<Launcher, Error> {
    let records = Records::open(&data.data_dir).map_err(|error| Refused::Records(error).to_error())?;
    Ok(Launcher { catalogue: Catalogue::new(types.to_owned()), records, pairing: pairing_service(pairing)? })
}

fn pairing_service(args: &Pairing) -> Result<Option<PairingService>, Error> {
    let Some(text) = &args.pairing_url else { return Ok(None) };
    let trust = match (&args.pairing_ca, args.pairing_fingerprint) {
        (Some(path), _) => trust(path)?,
        (None, Some(Fingerprint(digest))) => Trust::Fingerprint(digest),
        (None, None) => Trust::WebPki,
    };
    let url = |flag: &str, text: &str| {
        ServiceUrl::parse(text, trust != Trust::WebPki).map_err(|problem| {
            Error::new(Status::Usage, format!("{flag} {text} {problem}"), "give the URL of a pairing service")
        })
    };
    let from_here = url("--pairing-url", text)?;
    let node_url = match &args.node_pairing_url {
        Some(text) => url("--node-pairing-url", text)?,
        None => from_here.clone(),
    };
    let token = match &args.pairing_token_file {
        None => None,
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| Error::cannot_read(path, error))?;
            text.lines().next().map(|line| line.trim().to_owned())
        }
    };
    Ok(Some(PairingService { url: from_here, node_url: node_url.to_string(), trust, token }))
}

/// The CAs of a file.
pub(super) fn trust(path: &Path) -> Result<Trust, Error> {
    authorities(path).map(Trust::Authorities).map_err(|error| Refused::Credentials(error).to_error())
}

/// The credentials that the environment names.
pub(super) fn credentials(cloud: &Cloud) -> Result<Credentials, Error> {
    from_environment(&variable, cloud.os_cloud.as_deref())
        .map_err(|error| Refused::Credentials(error).to_error())
}

/// A login at the cloud that the environment names.
pub(super) fn session(cloud: &Cloud) -> Result<Session, Error> {
    Session::login(credentials(cloud)?, cloud.limit.cloud_timeout)
        .map_err(|error| Refused::Cloud(error).to_error())
}
