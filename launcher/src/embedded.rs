//! A pairing service in the launcher's own process, for those who run no other: `cernvm-pairing-server` as a library, with a
//! folder, a token and, if wanted, a key of its own.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use pairing_server::config::{Storage, Tls};
use pairing_server::store::Limits;
use pairing_server::token::CreateToken;
use pairing_server::{Config, Server, listen, system};
use protocol::error::{Error, Status};
use protocol::url::ServiceUrl;
use protocol::{Fingerprint, Trust};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::launch::PairingService;

/// The folder of its data below the data directory.
const FOLDER: &str = "pairing";
/// The file of its token in there: the launcher alone makes pins.
const TOKEN: &str = "create-token";
/// The file of its key, as `cernvm-pairing-server` names it.
const KEY: &str = "tls.key";

/// How long a pin lives. The launcher deletes it with its cluster, and until then a machine may boot again: ten years.
const PIN_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A pairing service that runs.
pub struct Embedded {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    trust: Trust,
    token: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), pairing_server::Error>>,
}

impl Embedded {
    /// Starts one on this address, with its data below this directory. With `secured` it speaks TLS, with a key that is made
    /// if there is none. `metrics` is where its metrics may be read, if they may.
    ///
    /// # Errors
    /// Its folder or an address cannot be used.
    pub async fn start(
        data_dir: &Path,
        address: SocketAddr,
        secured: bool,
        metrics: Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let dir = data_dir.join(FOLDER);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|error| Error::cannot_write(&dir, error))?;
        let token_file = dir.join(TOKEN);
        keep_token(&token_file).map_err(|error| Error::cannot_write(&token_file, error))?;
        let token = CreateToken::read(&token_file).map_err(|error| unusable(&error))?;
        let config = Config {
            tls: secured.then(|| Tls::SelfSigned { key: Some(dir.join(KEY)) }),
            storage: Storage::Directory(dir),
            create_token: Some(token.clone()),
            // The token keeps others away.
            creations_per_hour: 0,
            limits: Limits { lifetime: PIN_LIFETIME, ..Limits::default() },
            ..Config::default()
        };
        let config = Config { connections: system::connections(config.connections), ..config };
        let (listener, address) = bind(address)?;
        let metrics = metrics.map(bind).transpose()?;
        let described = config.to_string();
        let mut server = Server::new(config).await.map_err(|error| unusable(&error))?;
        let (metrics_listener, metrics) = metrics.unzip();
        if let Some(listener) = metrics_listener {
            server = server.with_metrics(listener);
        }
        log::info!("pairing service {}, {described}", protocol::VERSION);
        let fingerprint = server.certificate().and_then(|certificate| certificate.fingerprint());
        let trust = match fingerprint.map(|text| text.parse::<Fingerprint>()) {
            Some(Ok(Fingerprint(digest))) => Trust::Fingerprint(digest),
            _ => Trust::WebPki,
        };
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(server.serve(vec![listener], async {
            let _ = stopped.await;
        }));
        Ok(Self { address, metrics, trust, token: token.reveal(), stop, serving })
    }

    /// Where its metrics are, if they may be read.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Its address from this machine.
    ///
    /// # Errors
    /// There is no such address.
    pub fn url(&self) -> Result<ServiceUrl, Error> {
        let host = match self.address.ip() {
            IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            one => one,
        };
        let url = SocketAddr::new(host, self.address.port()).to_string();
        ServiceUrl::parse(&url, self.trust != Trust::WebPki)
            .map_err(|problem| Error::usage(format!("--pairing-listen {url} {problem}")))
    }

    /// The service as the launcher uses it; `node_url` is its address from the machines of a cluster.
    ///
    /// # Errors
    /// As [`Embedded::url`].
    pub fn service(&self, node_url: &ServiceUrl) -> Result<PairingService, Error> {
        Ok(PairingService {
            url: self.url()?,
            node_url: node_url.clone(),
            trust: self.trust.clone(),
            token: Some(self.token.clone()),
        })
    }

    /// Waits until it ends though it was not asked to, and says why. It cannot be stopped after that.
    pub async fn ended(&mut self) -> Error {
        let why = match (&mut self.serving).await {
            Ok(Ok(())) => "without a reason".to_owned(),
            Ok(Err(error)) => format!("{error}; {}", error.next_step()),
            Err(error) => error.to_string(),
        };
        let next = "start the launcher again, as its unit does by itself; the log has more";
        Error::new(Status::File, format!("the pairing service has ended: {why}"), next)
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        match self.serving.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                log::error!("the pairing service ended: {error}\n  next: {}", error.next_step())
            }
            Err(error) => log::error!("the pairing service ended: {error}"),
        }
    }
}

/// Makes a token if there is none, for its owner alone. Of 32 random bytes, so it cannot be guessed.
fn keep_token(path: &Path) -> io::Result<()> {
    if fs::exists(path)? {
        return Ok(());
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    // For its owner alone: tempfile makes files so.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    writeln!(file, "{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let listener = listen::bind(address).map_err(|error| unusable(&error))?;
    let bound = listener.local_addr().map_err(pairing_server::Error::System);
    bound.map(|bound| (listener, bound)).map_err(|error| unusable(&error))
}

fn unusable(error: &pairing_server::Error) -> Error {
    let next = match error {
        pairing_server::Error::Listen { .. } => {
            "stop what listens there, or give another --pairing-listen or --pairing-metrics-listen"
        }
        other => other.next_step(),
    }
    .to_owned();
    Error::new(Status::File, format!("cannot start the pairing service: {error}"), next)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keeps_its_token_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN);
        keep_token(&path).unwrap();
        let first = fs::read_to_string(&path).unwrap();
        keep_token(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        CreateToken::read(&path).unwrap();
    }

    #[tokio::test]
    async fn says_when_it_has_ended_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let mut embedded = Embedded::start(dir.path(), any, false, None).await.unwrap();
        let early = tokio::time::timeout(Duration::from_millis(1), embedded.ended()).await;
        assert!(early.is_err(), "it has not ended");
        embedded.serving.abort();
        let said = embedded.ended().await.to_string();
        assert!(said.contains("the pairing service has ended: "), "{said}");
    }
}
