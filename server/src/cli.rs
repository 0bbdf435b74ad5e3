//! The command line of the service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{ArgGroup, Args, Parser, Subcommand};
use log::LevelFilter;
use protocol::url::ServiceUrl;

use crate::commands::{
    Create, Delete, Show, check::Check, contexts::Contexts, copy::Copy, new::New, watch::Watch,
};
use crate::config::{CONNECTIONS, CREATIONS_PER_HOUR, Config, Network, Tls};
use crate::duration;
use crate::error::Error;
pub use crate::flag_values::listen_address;
use crate::flag_values::{at_least_one, bytes, public_url, switch};
use crate::storage::StorageArgs;
use crate::store::{Limits, PINS};
use crate::token::CreateToken;

/// The cluster pairing service: keys under a pin, with which the master and the slaves of a cluster find each other.
#[derive(Debug, Parser)]
#[command(version = protocol::VERSION, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", env = "CERNVM_PAIRING_LOG")]
    #[arg(value_parser = PossibleValuesParser::new(LEVELS).try_map(|level| level.parse::<LevelFilter>()))]
    pub log: LevelFilter,
    /// The form of log lines.
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        default_value = "text",
        env = "CERNVM_PAIRING_LOG_FORMAT"
    )]
    pub log_format: crate::console::LogFormat,
}

/// How much can be logged.
const LEVELS: [&str; 5] = ["off", "error", "warn", "info", "debug"];

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service.
    Serve(Box<Serve>),
    /// Make a cluster: a pin, a secret, the contexts of master and slaves, and what to run next.
    New(New),
    /// Create a pin and write the contexts of a master and of its slaves.
    Contexts(Contexts),
    /// Look contexts over before a VM boots them, as the agent's `check` does.
    Check(Check),
    /// Create a pin and print it.
    Pin(Create),
    /// Show since when a pin is there, and its keys.
    Show(Show),
    /// Show a cluster as it comes up, until it is ready: exit status 0, or 75 after --timeout.
    Watch(Watch),
    /// Delete a pin with all its keys, or one key of it.
    Delete(Delete),
    /// Copy the store to a file, while the service runs or while it does not.
    #[command(after_help = RESTORE)]
    Backup(Backup),
    /// Say whether the service of a data directory is ready: exit status 0, or 69 and the reason.
    Health(Health),
    /// Copy a store between a data directory, a file and an etcd cluster, while no service writes to it.
    Copy(Copy),
    /// Show how much is in the store of a service that does not run.
    Stats(Stats),
    /// Delete expired and oversized pins from the store of a service that does not run.
    Purge(Purge),
}

/// What to do with a backup.
const RESTORE: &str = "\
To restore, stop the service, put FILE into the data directory as pairing.redb, owned by the user that the service runs
as, and start it again.";

/// How to run the service.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("protection").args(["tls_cert", "tls_self_signed"]))]
pub struct Serve {
    /// Address and port to listen on; may be given several times. Sockets that systemd hands over are used instead.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000", value_delimiter = ',')]
    #[arg(env = "CERNVM_PAIRING_LISTEN", value_parser = listen_address)]
    #[arg(help_heading = "Listening")]
    pub listen: Vec<SocketAddr>,

    #[command(flatten)]
    storage: StorageArgs,

    /// Certificate for TLS with its chain, in PEM. Read again on SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "CERNVM_PAIRING_TLS_CERT")]
    #[arg(help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "CERNVM_PAIRING_TLS_KEY")]
    #[arg(help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// TLS with a key of our own. Prints the line with its fingerprint, which goes into the contexts.
    #[arg(long, env = "CERNVM_PAIRING_TLS_SELF_SIGNED", value_parser = switch)]
    #[arg(help_heading = "TLS")]
    tls_self_signed: bool,

    /// How long a pin lives: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration::parse)]
    #[arg(env = "CERNVM_PAIRING_PIN_LIFETIME")]
    #[arg(help_heading = "Limits")]
    pin_lifetime: Duration,
    /// Longest value, in characters.
    #[arg(long, value_name = "N", default_value_t = protocol::limits::VALUE_MAX_CHARS)]
    #[arg(env = "CERNVM_PAIRING_MAX_VALUE_LENGTH")]
    #[arg(help_heading = "Limits")]
    max_value_length: usize,
    /// Most connections at a time.
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS, value_parser = at_least_one)]
    #[arg(env = "CERNVM_PAIRING_MAX_CONNECTIONS")]
    #[arg(help_heading = "Limits")]
    max_connections: usize,
    /// Memory for what clients make the service hold: a number of bytes, or one with K, M or G. Half of the memory that
    /// the control group or the machine has if not given.
    #[arg(long, value_name = "BYTES", value_parser = bytes, env = "CERNVM_PAIRING_MEMORY_BUDGET")]
    #[arg(help_heading = "Limits")]
    memory_budget: Option<u64>,
    /// Most connections at a time from one address; three quarters of all of them if not given.
    #[arg(long, value_name = "N", value_parser = at_least_one, env = "CERNVM_PAIRING_MAX_CONNECTIONS_PER_ADDRESS")]
    #[arg(help_heading = "Limits")]
    max_connections_per_address: Option<usize>,
    /// Most waits and event streams on one pin; three quarters of the connections if not given.
    #[arg(long, value_name = "N", value_parser = at_least_one, env = "CERNVM_PAIRING_MAX_WAITERS_PER_PIN")]
    #[arg(help_heading = "Limits")]
    max_waiters_per_pin: Option<usize>,
    /// Most pins at a time.
    #[arg(long, value_name = "N", default_value_t = PINS, value_parser = at_least_one, env = "CERNVM_PAIRING_MAX_PINS")]
    #[arg(help_heading = "Limits")]
    max_pins: usize,
    /// Most pins that one address may make in an hour; 0 means as many as it likes.
    #[arg(long, value_name = "N", default_value_t = CREATIONS_PER_HOUR)]
    #[arg(env = "CERNVM_PAIRING_MAX_CREATIONS_PER_HOUR")]
    #[arg(help_heading = "Limits")]
    max_creations_per_hour: u32,
    /// File with the token that it takes to make a pin (Authorization: Bearer); read again on SIGHUP. Without it, every client may make one.
    #[arg(long, value_name = "FILE", env = "CERNVM_PAIRING_CREATE_TOKEN_FILE")]
    #[arg(help_heading = "Access")]
    create_token_file: Option<PathBuf>,
    /// Address or network of a proxy whose X-Forwarded-For is believed; may be given several times.
    #[arg(long, value_name = "ADDR", value_delimiter = ',', env = "CERNVM_PAIRING_TRUSTED_PROXY")]
    #[arg(help_heading = "Access")]
    trusted_proxy: Vec<Network>,
    /// URL by which the VMs reach the service: the page writes it into contexts, with its path if a proxy adds one.
    #[arg(help_heading = "Access")]
    #[arg(long, value_name = "URL", env = "CERNVM_PAIRING_PUBLIC_URL", value_parser = public_url)]
    public_url: Option<ServiceUrl>,
    /// Address and port on which Prometheus may read /metrics. Every client that reaches it can read it.
    #[arg(long, value_name = "ADDR", env = "CERNVM_PAIRING_METRICS_LISTEN", value_parser = listen_address)]
    #[arg(help_heading = "Operations")]
    pub metrics_listen: Option<SocketAddr>,
    /// Log one line for each request.
    #[arg(long, env = "CERNVM_PAIRING_ACCESS_LOG", value_parser = switch)]
    #[arg(help_heading = "Operations")]
    access_log: bool,
}

/// What to copy, and where to.
#[derive(Debug, Args)]
pub struct Backup {
    /// Directory with the service's data.
    #[arg(long, value_name = "DIR", default_value = "cernvm-pairing-data", env = "CERNVM_PAIRING_DATA_DIR")]
    pub data_dir: PathBuf,
    /// File for the copy, readable for this user alone; an earlier copy of that name is replaced.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Which service to ask.
#[derive(Debug, Args)]
pub struct Health {
    /// Directory with the service's data.
    #[arg(long, value_name = "DIR", default_value = "cernvm-pairing-data", env = "CERNVM_PAIRING_DATA_DIR")]
    pub data_dir: PathBuf,
}

/// Which store to look at.
#[derive(Debug, Args)]
pub struct Stats {
    /// Directory with the service's data.
    #[arg(long, value_name = "DIR", default_value = "cernvm-pairing-data", env = "CERNVM_PAIRING_DATA_DIR")]
    pub data_dir: PathBuf,
}

/// What to delete, and from where.
#[derive(Debug, Args)]
pub struct Purge {
    /// Directory with the service's data.
    #[arg(long, value_name = "DIR", default_value = "cernvm-pairing-data", env = "CERNVM_PAIRING_DATA_DIR")]
    pub data_dir: PathBuf,
    /// Delete pins that take more than so many bytes too, though they have not expired.
    #[arg(long, value_name = "BYTES")]
    pub larger_than: Option<usize>,
}

impl Serve {
    /// Whether TLS gets a key that is not kept.
    #[must_use]
    pub fn key_is_lost(&self) -> bool {
        self.tls_self_signed && self.storage.in_memory
    }

    /// The service that these flags describe.
    ///
    /// # Errors
    /// The file of the token cannot be used.
    pub fn config(&self) -> Result<Config, Error> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(Tls::Files { certificate: certificate.clone(), key: key.clone() })
            }
            _ => self.tls_self_signed.then(|| Tls::SelfSigned {
                key: (!self.storage.in_memory).then(|| self.storage.data_dir.join("tls.key")),
            }),
        };
        Ok(Config {
            storage: self.storage.storage()?,
            admin_dir: Some(self.storage.data_dir.clone()),
            limits: Limits { lifetime: self.pin_lifetime, pins: self.max_pins, ..Limits::default() },
            value_max_chars: self.max_value_length,
            connections: self.max_connections,
            memory_budget: self.memory_budget.unwrap_or_else(crate::budget::default_budget),
            connections_per_address: self.max_connections_per_address,
            waiters_per_pin: self.max_waiters_per_pin,
            creations_per_hour: self.max_creations_per_hour,
            create_token: self.create_token_file.as_deref().map(CreateToken::read).transpose()?,
            proxies: self.trusted_proxy.clone(),
            public_url: self.public_url.clone(),
            access_log: self.access_log,
            tls,
            ..Config::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Storage;
    use clap::CommandFactory as _;

    fn serve(flags: &[&str]) -> Result<Config, clap::Error> {
        let line = ["cernvm-pairing-server", "serve"].iter().chain(flags);
        match Cli::try_parse_from(line)?.command {
            Command::Serve(serve) => Ok(serve.config().unwrap()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn is_a_command_line_that_clap_can_take() {
        Cli::command().debug_assert();
    }

    #[test]
    fn keeps_data_in_a_directory_unless_told_otherwise() {
        assert_eq!(serve(&[]).unwrap().storage, Storage::Directory("cernvm-pairing-data".into()));
        assert_eq!(serve(&["--data-dir", "/d"]).unwrap().storage, Storage::Directory("/d".into()));
        assert_eq!(serve(&["--in-memory"]).unwrap().storage, Storage::Memory);
    }

    #[test]
    fn has_the_limits_that_it_is_told() {
        assert_eq!(serve(&[]).unwrap().limits, Limits::default());
        assert_eq!(serve(&["--max-pins", "7"]).unwrap().limits.pins, 7);
        assert_eq!(serve(&["--pin-lifetime", "1h"]).unwrap().limits.lifetime, Duration::from_secs(3600));
        assert_eq!(serve(&["--max-waiters-per-pin", "7"]).unwrap().waiters_per_pin, Some(7));
        assert_eq!(serve(&["--max-connections", "7"]).unwrap().connections, 7);
        assert_eq!(serve(&["--max-connections-per-address", "7"]).unwrap().connections_per_address, Some(7));
        assert_eq!(serve(&["--max-creations-per-hour", "7"]).unwrap().creations_per_hour, 7);
        assert_eq!(serve(&["--max-value-length", "7"]).unwrap().value_max_chars, 7);
        for flag in
            ["--max-pins", "--max-waiters-per-pin", "--max-connections", "--max-connections-per-address"]
        {
            assert!(serve(&[flag, "0"]).is_err() && serve(&[flag, "many"]).is_err(), "{flag}");
        }
    }

    #[test]
    fn reads_a_memory_budget() {
        for (text, bytes) in
            [("67108864", 64 << 20), ("65536K", 64 << 20), ("64M", 64 << 20), ("2G", 2 << 30)]
        {
            assert_eq!(serve(&["--memory-budget", text]).unwrap().memory_budget, bytes, "{text}");
        }
        for wrong in ["", "M", "15M", "64MB", "-1", "1e9", "99999999999G"] {
            assert!(serve(&["--memory-budget", wrong]).is_err(), "{wrong}");
        }
        assert!(serve(&[]).unwrap().memory_budget >= crate::budget::SMALLEST);
    }

    #[test]
    fn has_no_half_of_tls() {
        assert_eq!(serve(&[]).unwrap().tls, None);
        let files = Tls::Files { certificate: "c".into(), key: "k".into() };
        assert_eq!(serve(&["--tls-cert", "c", "--tls-key", "k"]).unwrap().tls, Some(files));
        let own = |key| Some(Tls::SelfSigned { key });
        assert_eq!(
            serve(&["--tls-self-signed"]).unwrap().tls,
            own(Some("cernvm-pairing-data/tls.key".into()))
        );
        assert_eq!(serve(&["--tls-self-signed", "--in-memory"]).unwrap().tls, own(None));
        for wrong in [
            &["--tls-cert", "c"][..],
            &["--tls-key", "k"],
            &["--tls-self-signed", "--tls-cert", "c", "--tls-key", "k"],
        ] {
            assert!(serve(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn believes_proxies_and_asks_for_tokens_only_when_told_to() {
        let by_default = serve(&[]).unwrap();
        assert!(by_default.proxies.is_empty() && by_default.create_token.is_none());
        let told = serve(&["--trusted-proxy", "127.0.0.1,10.0.0.0/8"]).unwrap();
        assert_eq!(told.proxies, ["127.0.0.1".parse().unwrap(), "10.0.0.0/8".parse().unwrap()]);
        assert!(serve(&["--trusted-proxy", "proxy.example.org"]).is_err());
    }

    #[test]
    fn explains_addresses_and_switches() {
        assert!(listen_address("[::]:8000").is_ok() && listen_address("127.0.0.1:0").is_ok());
        for (text, advice) in [
            ("8001", "127.0.0.1:8001,"),
            (":8001", "127.0.0.1:8001,"),
            ("localhost:8000", "127.0.0.1:8000,"),
            ("127.0.0.1", "127.0.0.1:8000,"),
        ] {
            assert!(listen_address(text).unwrap_err().contains(advice), "{text}");
        }
        assert_eq!((switch("Yes"), switch("0"), switch("")), (Ok(true), Ok(false), Ok(false)));
        assert!(switch("nope").is_err());
    }
}
