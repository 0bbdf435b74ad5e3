//! What keeps the service, or its command, from doing what was asked: what failed, on what, why, and what to do next.
//!
//! Each variant has its exit status (sysexits.h) and its next step; neither has a catch-all, so a new variant does not
//! compile without both.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use pairing_core::Refused;
use protocol::InvalidPin;

/// Why it did not work. Never holds a pin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened.
    #[error("cannot open the store: {0}")]
    Store(#[from] Refused),

    /// The store outside this machine cannot be used. The module that opens it knows the rest, such as `etcd.rs`.
    #[error("{problem}")]
    RemoteStore {
        /// What failed.
        problem: String,
        /// What to do about it.
        next: &'static str,
        /// The exit status.
        code: u8,
    },

    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },

    /// A file on this machine.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// What was to be done: `read`, `write`, …
        verb: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// A data directory without a store.
    #[error("there is no store in {}", dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },

    /// A copy would take the place of something else.
    #[error("{}: it is there", path.display())]
    StoreExists {
        /// What is there.
        path: PathBuf,
    },

    /// A copy is to come from or go to an etcd cluster that is not named.
    #[error("no etcd cluster is named")]
    NoCluster,

    /// A copy is to come from and go to the same etcd cluster.
    #[error("--from and --to are the same etcd cluster")]
    SamePlace,

    /// A backup would take the place of something else.
    #[error("{}: it exists and is not an earlier backup", path.display())]
    Taken {
        /// What is there.
        path: PathBuf,
    },

    /// A backup would take the place of a file that another process has open.
    #[error("{}: another process has it open, such as the service whose store it is", path.display())]
    InUse {
        /// What is there.
        path: PathBuf,
    },

    /// A backup cannot be written.
    #[error("cannot write the backup: {0}")]
    Copy(Refused),

    /// A service did not hand over all that a backup needs.
    #[error("no backup from the service at {}: {problem}", socket.display())]
    Handed {
        /// Its socket.
        socket: PathBuf,
        /// What went wrong.
        problem: String,
    },

    /// The service of a data directory is not ready.
    #[error("the service at {} is not ready: {problem}", socket.display())]
    NotReady {
        /// Its socket.
        socket: PathBuf,
        /// What it said, or why it said nothing.
        problem: String,
    },

    /// A key or certificate that is no use.
    #[error("{place}: {problem}")]
    Tls {
        /// The file, or what else it is.
        place: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A certificate or key for etcd that is no use.
    #[error("{}: {problem}", path.display())]
    EtcdTls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A file that holds no token.
    #[error("{}: the first line is not a token", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },

    /// A file that holds no password.
    #[error("{}: the first line is not a password", path.display())]
    Password {
        /// The file.
        path: PathBuf,
    },

    /// The system does not give what a service needs.
    #[error("cannot start: {0}")]
    System(io::Error),

    /// The URL of a service makes no sense.
    #[error("{flag} {url} {problem}")]
    Url {
        /// The flag that gave it.
        flag: &'static str,
        /// As it was given.
        url: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A context would have a URL that means the VM itself.
    #[error("no VM can use {url}: on a VM it means the VM itself")]
    Loopback {
        /// The URL.
        url: String,
    },

    /// A file to write is there already.
    #[error("{} exists, and is not written over", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },

    /// A secret cannot be made.
    #[error("cannot make a secret: the system gives no random numbers: {0}")]
    NoRandomness(getrandom::Error),

    /// What was given as a pin is none.
    #[error("this is not a pin: {0}")]
    Pin(InvalidPin),

    /// A request to a service failed, or a context cannot be written into.
    #[error(transparent)]
    Request(#[from] protocol::error::Error),
}

impl Error {
    /// A failure with a file.
    pub(crate) fn file(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { verb, path: path.to_owned(), source }
    }

    /// What to do about it, for the person who reads the message.
    #[must_use]
    pub fn next_step(&self) -> &str {
        match self {
            Self::Store(Refused::LaterFormat(_)) => {
                "run the release that wrote it, or move the file away to begin with an empty store"
            }
            Self::Store(_) => "look at the data directory: its owner, its free space, who else uses it",
            Self::RemoteStore { next, .. } => next,
            Self::Listen { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "stop what listens there, or give another --listen",
                io::ErrorKind::PermissionDenied => {
                    "take a port above 1023, or have systemd open it (cernvm-pairing-server.socket)"
                }
                _ => "give an address of this machine with --listen, such as 0.0.0.0:8000",
            },
            Self::File { .. } => "look at the file, its directory, and who owns them",
            Self::NoStore { .. } => {
                "give the directory that the service has, with --data-dir; for the packaged unit /var/lib/cernvm-pairing-server"
            }
            Self::InUse { .. } => "give another name; a store that a service has open must stay where it is",
            Self::Taken { .. } => "give a name that is free, or that of an earlier backup",
            Self::Copy(_) => "look whether the disk has room; what was there under that name is still there",
            Self::NotReady { .. } => {
                "look at the service's log; with --in-memory or --etcd there is a socket only if --data-dir exists when the service starts"
            }
            Self::Handed { .. } => "look at the service's log, then try again",
            Self::Tls { .. } => {
                "give the certificate with its chain and the key that belongs to it, in PEM, or use --tls-self-signed"
            }
            Self::EtcdTls { .. } => {
                "give the authority of etcd's certificates with --etcd-ca, and a certificate and the key that belongs to it with \
                 --etcd-cert and --etcd-key, in PEM"
            }
            Self::Token { .. } => {
                "write 16 or more visible ASCII characters into it, as `openssl rand -hex 16` makes them"
            }
            Self::Password { .. } => "write the password of etcd's user into its first line",
            Self::System(_) => "look at the limits of this process (ulimit -a)",
            Self::Url { flag: "--etcd", .. } => {
                "give the URLs of one etcd cluster, all with http:// or all with https:// and --etcd-ca"
            }
            Self::Url { .. } => "give a URL such as http://192.0.2.7:8000 or https://pairing.example.org",
            Self::Loopback { .. } => {
                "give the URL by which the VMs reach the service, with --url or --public-url"
            }
            Self::StoreExists { .. } => "give a directory without a store, or a name that is free",
            Self::NoCluster => "give its URLs with --etcd",
            Self::SamePlace => "copy to a file first, then from the file to the other cluster",
            Self::Exists { .. } => "remove it, or give other names with --master and --slave",
            Self::NoRandomness(_) => "look whether this program may open /dev/urandom",
            Self::Pin(_) => {
                "give the 12 letters and digits that `pin` printed, or - and the pin on standard input"
            }
            Self::Request(error) => error.next_step(),
        }
    }

    /// Exit status of the command.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::RemoteStore { code, .. } => *code,
            // EX_USAGE
            Self::Url { .. } | Self::Loopback { .. } | Self::Pin(_) | Self::NoCluster | Self::SamePlace => 64,
            // EX_NOINPUT
            Self::NoStore { .. } => 66,
            // EX_UNAVAILABLE
            Self::Handed { .. } | Self::NotReady { .. } => 69,
            // EX_OSERR
            Self::Listen { .. } | Self::System(_) | Self::NoRandomness(_) => 71,
            // EX_CANTCREAT
            Self::Taken { .. } | Self::InUse { .. } | Self::Exists { .. } | Self::StoreExists { .. } => 73,
            // EX_IOERR
            Self::Store(_) | Self::File { .. } | Self::Copy(_) => 74,
            // EX_CONFIG
            Self::Tls { .. } | Self::EtcdTls { .. } | Self::Token { .. } | Self::Password { .. } => 78,
            Self::Request(error) => error.status().code(),
        }
    }
}
