//! The command line.

mod etcd;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Parser, Subcommand};
use log::LevelFilter;
use pairing_server::cli::listen_address;
use protocol::Fingerprint;

use crate::serve::AllowedUrl;

pub use etcd::LaunchesInEtcd;

/// Launches clusters of known types on OpenStack, and follows them until every node is ready.
#[derive(Debug, Parser)]
#[command(version = protocol::VERSION, about, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log: off, error, warn, info or debug.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info", env = "CERNVM_LAUNCHER_LOG")]
    pub log: LevelFilter,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the cluster types, and what is wrong with those that cannot be offered.
    Types(Types),
    /// Launch a cluster, and follow it until every node is ready. Again with the same name, it goes on where it stopped.
    Launch(Box<Launch>),
    /// Show the clusters that were launched from here.
    List(List),
    /// Show one cluster: its stack, its servers and its nodes.
    Show(Show),
    /// Delete a cluster: its stack, its pin and what is known of it here.
    Delete(Delete),
    /// Run the cluster builder's API.
    Serve(Box<Serve>),
    /// Make a key with which launches are sealed in etcd.
    Keygen(Keygen),
}

/// Where the definitions are.
#[derive(Debug, Args)]
pub struct TypesDir {
    /// The folder that holds cluster-types-enabled.
    #[arg(long, value_name = "DIR", default_value = ".", env = "CERNVM_LAUNCHER_TYPES")]
    pub types: PathBuf,
}

/// Which types there are.
#[derive(Debug, Args)]
pub struct Types {
    /// Where they are.
    #[command(flatten)]
    pub dir: TypesDir,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Where launches are kept.
#[derive(Debug, Args)]
pub struct DataDir {
    /// Folder for what is known of launches, with their pins and secrets, if that is not in etcd.
    #[arg(
        long,
        value_name = "DIR",
        default_value = "cernvm-launcher-data",
        env = "CERNVM_LAUNCHER_DATA_DIR",
        help_heading = LaunchesInEtcd::HEADING
    )]
    pub data_dir: PathBuf,
    /// The etcd cluster that has them, if one does.
    #[command(flatten)]
    pub etcd: LaunchesInEtcd,
    /// File with the key that seals launches in etcd, the same for every launcher; `keygen` makes one.
    #[arg(long, value_name = "FILE", requires = "etcd", env = "CERNVM_LAUNCHER_LAUNCHES_KEY_FILE")]
    #[arg(help_heading = LaunchesInEtcd::HEADING)]
    pub launches_key_file: Option<PathBuf>,
}

/// Where the key goes.
#[derive(Debug, Args)]
pub struct Keygen {
    /// File to write, for its owner alone. One that is there is left as it is.
    pub file: PathBuf,
}

/// The pairing service.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pairing service")]
pub struct PairingArgs {
    /// URL of the pairing service; without a scheme http://, or https:// with a CA or a fingerprint.
    #[arg(long, value_name = "URL", env = "CERNVM_PAIRING_URL")]
    pub pairing_url: Option<String>,
    /// URL by which the machines of a cluster reach it, if that is another one.
    #[arg(long, value_name = "URL", env = "CERNVM_LAUNCHER_NODE_PAIRING_URL")]
    pub node_pairing_url: Option<String>,
    /// Trust the certificates that the authorities in this PEM file signed, and no others.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "pairing_fingerprint",
        env = "CERNVM_LAUNCHER_PAIRING_CA"
    )]
    pub pairing_ca: Option<PathBuf>,
    /// Trust the key with this fingerprint alone: sha256: and 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256", env = "CERNVM_LAUNCHER_PAIRING_FINGERPRINT")]
    pub pairing_fingerprint: Option<Fingerprint>,
    /// File with the token that the pairing service asks of those who make pins.
    #[arg(long, value_name = "FILE", env = "CERNVM_PAIRING_CREATE_TOKEN_FILE")]
    pub pairing_token_file: Option<PathBuf>,
}

/// The cloud.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cloud")]
pub struct CloudArgs {
    /// A cloud of clouds.yaml; without, OS_CLOUD or the other OS_* variables name it.
    #[arg(long, value_name = "NAME")]
    pub os_cloud: Option<String>,
    /// How long one call of the cloud may take.
    #[command(flatten)]
    pub limit: CloudLimit,
}

/// How long one call of a cloud may take.
#[derive(Debug, Args)]
pub struct CloudLimit {
    /// Longest time for one call of the cloud, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    #[arg(env = "CERNVM_LAUNCHER_CLOUD_TIMEOUT")]
    pub cloud_timeout: Duration,
}

/// What a command about clusters needs besides the cluster.
#[derive(Debug, Args)]
pub struct AccessArgs {
    /// Where launches are kept.
    #[command(flatten)]
    pub data: DataDir,
    /// The pairing service.
    #[command(flatten)]
    pub pairing: PairingArgs,
    /// The cloud.
    #[command(flatten)]
    pub cloud: CloudArgs,
}

/// What to launch.
#[derive(Debug, Args)]
pub struct Launch {
    /// The id of the type.
    #[arg(value_name = "TYPE")]
    pub cluster_type: String,
    /// What the cluster is called.
    #[arg(long)]
    pub name: String,
    /// A parameter with its value; may be given several times. JSON is read as such for parameters that are no texts.
    #[arg(long, value_name = "PARAMETER=VALUE", value_parser = assignment)]
    pub set: Vec<(String, String)>,
    /// An optional component that is wanted; may be given several times.
    #[arg(long, value_name = "COMPONENT")]
    pub select: Vec<String>,
    /// Leave what was made when the launch fails.
    #[arg(long)]
    pub keep_on_failure: bool,
    /// How long it may take until every node is ready, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds)]
    pub timeout: Duration,
    /// How many nodes to wait for; as many as the stack has servers if not given.
    #[arg(long, value_name = "N")]
    pub nodes: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the definitions are.
    #[command(flatten)]
    pub types: TypesDir,
    /// Where launches are kept, the pairing service and the cloud.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Which clusters to show.
#[derive(Debug, Args)]
pub struct List {
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where launches are kept, the pairing service and the cloud.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// Which cluster to show.
#[derive(Debug, Args)]
pub struct Show {
    /// The cluster's name, its stack's, or the stack's id.
    pub name: String,
    /// How to show it.
    #[command(flatten)]
    pub list: List,
}

/// Which cluster to delete.
#[derive(Debug, Args)]
pub struct Delete {
    /// The cluster's name, its stack's, or the stack's id.
    pub name: String,
    /// How long it may take until the stack is gone, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub timeout: Duration,
    /// Where launches are kept, the pairing service and the cloud.
    #[command(flatten)]
    pub access: AccessArgs,
}

/// How to run the API. Tokens are checked with JWT_SECRET of the environment.
#[derive(Debug, Args)]
pub struct Serve {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:42378", env = "CERNVM_LAUNCHER_LISTEN")]
    #[arg(value_parser = listen_address)]
    pub listen: SocketAddr,
    /// Certificate for TLS with its chain, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "CERNVM_LAUNCHER_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "CERNVM_LAUNCHER_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Keystone's address of a cloud that requests may name, with all below it; may be given several times. `*` in place of
    /// the port allows every port of the host. Without, OS_AUTH_URL and the clouds of clouds.yaml are allowed.
    #[arg(long, value_name = "URL", env = "CERNVM_LAUNCHER_ALLOW_AUTH_URL", value_delimiter = ',')]
    pub allow_auth_url: Vec<AllowedUrl>,
    /// Trust the clouds' certificates that the authorities in this PEM file signed, and no others.
    #[arg(long, value_name = "FILE", env = "CERNVM_LAUNCHER_CLOUD_CA")]
    pub cloud_ca: Option<PathBuf>,
    /// How long one call of a cloud may take.
    #[command(flatten)]
    pub limit: CloudLimit,
    /// Address of a billing service that requests may name, in the same form. Without, nothing is billed.
    #[arg(long, value_name = "URL", env = "CERNVM_LAUNCHER_MIDDLEWARE_URL", value_delimiter = ',')]
    pub middleware_url: Vec<AllowedUrl>,
    /// Time between two looks at a cluster, in seconds. Notifications bring a look forward.
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = interval)]
    #[arg(env = "CERNVM_LAUNCHER_POLL_INTERVAL")]
    pub poll_interval: Duration,
    /// Where the definitions are.
    #[command(flatten)]
    pub types: TypesDir,
    /// Where the cloud's notifications come from.
    #[command(flatten)]
    pub notifications: NotificationArgs,
    /// Where launches are kept.
    #[command(flatten)]
    pub data: DataDir,
    /// Keep launches in memory, and forget them at the end.
    #[arg(long, env = "CERNVM_LAUNCHER_IN_MEMORY", value_parser = BoolishValueParser::new())]
    #[arg(conflicts_with_all = ["etcd", "pairing_listen"], help_heading = LaunchesInEtcd::HEADING)]
    pub in_memory: bool,
    /// The pairing service.
    #[command(flatten)]
    pub pairing: PairingArgs,
    /// The same, if the launcher runs it.
    #[command(flatten)]
    pub own_pairing: OwnPairingArgs,
}

/// A pairing service in the launcher's own process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pairing service")]
pub struct OwnPairingArgs {
    /// Run a pairing service too, on this address and port; the machines of a cluster must reach it at --node-pairing-url.
    /// Its data are in the folder `pairing` of --data-dir.
    #[arg(long, value_name = "ADDR", env = "CERNVM_LAUNCHER_PAIRING_LISTEN", requires = "node_pairing_url")]
    #[arg(value_parser = listen_address)]
    #[arg(conflicts_with_all = ["pairing_url", "pairing_ca", "pairing_fingerprint", "pairing_token_file"])]
    pub pairing_listen: Option<SocketAddr>,
    /// TLS for it, with a key of its own, whose fingerprint clusters get.
    #[arg(long, env = "CERNVM_LAUNCHER_PAIRING_TLS_SELF_SIGNED", requires = "pairing_listen")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub pairing_tls_self_signed: bool,
    /// Address and port on which Prometheus may read its /metrics. Every client that reaches it can read it.
    #[arg(long, value_name = "ADDR", env = "CERNVM_LAUNCHER_PAIRING_METRICS_LISTEN")]
    #[arg(value_parser = listen_address, requires = "pairing_listen")]
    pub pairing_metrics_listen: Option<SocketAddr>,
}

/// The cloud's notifications.
#[derive(Debug, Args)]
#[command(next_help_heading = "Notifications")]
pub struct NotificationArgs {
    /// RabbitMQ to which the cloud's services send notifications, so that changes show at once:
    /// amqp://USER@HOST[:PORT][,HOST[:PORT]...][/VHOST], or amqps:// for TLS.
    #[arg(long, value_name = "URL", requires = "notifications_password_file")]
    #[arg(env = "CERNVM_LAUNCHER_NOTIFICATIONS_URL")]
    pub notifications_url: Option<String>,
    /// File with the password of that user.
    #[arg(long, value_name = "FILE", requires = "notifications_url")]
    #[arg(env = "CERNVM_LAUNCHER_NOTIFICATIONS_PASSWORD_FILE")]
    pub notifications_password_file: Option<PathBuf>,
    /// Trust the certificates of RabbitMQ that the authorities in this PEM file signed, and no others.
    #[arg(long, value_name = "FILE", requires = "notifications_url")]
    #[arg(env = "CERNVM_LAUNCHER_NOTIFICATIONS_CA")]
    pub notifications_ca: Option<PathBuf>,
    /// Exchange that the notifications come from; may be given several times.
    #[arg(long, value_name = "NAME", default_values = ["heat", "nova"], value_delimiter = ',')]
    #[arg(env = "CERNVM_LAUNCHER_NOTIFICATIONS_EXCHANGE")]
    pub notifications_exchange: Vec<String>,
}

/// Reads `PARAMETER=VALUE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("there is no '=' in it")?;
    if name.is_empty() {
        return Err("there is no parameter before the '='".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "it is no whole number of seconds".to_owned())
}

/// The same, at least one.
fn interval(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|span| if span.is_zero() { Err("it is 0".to_owned()) } else { Ok(span) })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
        assert_eq!(assignment("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(assignment("a").is_err() && assignment("=b").is_err());
    }
}
