//! `serve`: the API.

use std::process::ExitCode;

use protocol::Trust;
use protocol::error::{Error, Status};
use tokio::runtime::Runtime;

use super::environment::{self, variable};
use super::notifications;
use super::say;
use crate::cli::Serve;
use crate::embedded::Embedded;
use crate::launch::{Launcher, Refused};
use crate::openstack::{auth_urls, from_environment};
use crate::serve::{AllowedUrl, Config, serve as run};
use crate::token::TokenKey;

/// Runs the API until it is asked to stop.
///
/// # Errors
/// It cannot start.
pub fn serve(args: &Serve) -> Result<ExitCode, Error> {
    let key = variable("JWT_SECRET").and_then(|secret| TokenKey::new(&secret));
    if key.is_none() {
        log::warn!("JWT_SECRET is not set: every launch is refused");
    }
    let auth_urls = match args.allow_auth_url.as_slice() {
        [] => known_clouds()?,
        given => given.to_vec(),
    };
    if auth_urls.is_empty() {
        log::warn!(
            "no cloud is allowed: every launch is refused. Next: give Keystone's address with --allow-auth-url"
        );
    }
    let mut launcher = environment::serving(args)?;
    let runtime = Runtime::new().map_err(|error| unusable(args, &error))?;
    let mut embedded = embedded(args, &runtime, &mut launcher)?;
    let config = Config {
        launcher,
        key,
        auth_urls,
        middleware_urls: args.middleware_url.clone(),
        trust: args.cloud_ca.as_deref().map_or(Ok(Trust::WebPki), environment::trust)?,
        cloud_limit: args.limit.cloud_timeout,
        own: from_environment(&variable, None).ok(),
        poll_interval: args.poll_interval,
        notifications: notifications::broker(&args.notifications)?,
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
    };
    let ready = |address, scheme| say(&format!("listening on {scheme}://{address}"));
    let pairing_ended = async {
        match &mut embedded {
            Some(embedded) => embedded.ended().await,
            None => std::future::pending().await,
        }
    };
    let served = runtime.block_on(run(config, args.listen, ready, pairing_ended));
    if let Ok(Some(error)) = served {
        return Err(error);
    }
    // After the API: a launch that ends now makes its pin yet.
    if let Some(embedded) = embedded {
        runtime.block_on(embedded.stop());
    }
    served.map_err(|error| unusable(args, &error))?;
    Ok(ExitCode::SUCCESS)
}

/// The pairing service of the launcher's own, if it is to run one.
fn embedded(args: &Serve, runtime: &Runtime, launcher: &mut Launcher) -> Result<Option<Embedded>, Error> {
    let Some(address) = args.own_pairing.pairing_listen else { return Ok(None) };
    let node_url = environment::own_node_url(args)?;
    let secured = args.own_pairing.pairing_tls_self_signed;
    let metrics = args.own_pairing.pairing_metrics_listen;
    let embedded = runtime.block_on(Embedded::start(&args.data.data_dir, address, secured, metrics))?;
    if let Some(address) = embedded.metrics() {
        say(&format!("pairing metrics on http://{address}/metrics"));
    }
    say(&format!("pairing on {}, for machines at {node_url}", embedded.url()?));
    launcher.pairing = Some(embedded.service(&node_url)?);
    Ok(Some(embedded))
}

fn unusable(args: &Serve, error: &std::io::Error) -> Error {
    Error::new(
        Status::File,
        format!("cannot serve on {}: {error}", args.listen),
        "check --listen, --tls-cert and --tls-key",
    )
}

/// The clouds that the environment knows. An address that cannot be one is left out.
fn known_clouds() -> Result<Vec<AllowedUrl>, Error> {
    let urls = auth_urls(&variable).map_err(|error| Refused::Credentials(error).to_error())?;
    let read = |url: &String| match url.parse() {
        Ok(allowed) => Some(allowed),
        Err(problem) => {
            log::warn!("the cloud {url} is not allowed: it {problem}");
            None
        }
    };
    Ok(urls.iter().filter_map(read).collect())
}
