//! What keeps a server from using an etcd cluster, and what etcd's answers mean.

use std::error::Error as _;

use etcd_client::Error as ClientError;
use pairing_core::Refused;

/// Why an etcd cluster cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No member has answered in time, or none that knows a leader.
    #[error("no answer from etcd in {seconds} s: {problems}")]
    Unreachable {
        /// How long it was tried, in seconds.
        seconds: u64,
        /// What each member's last problem was.
        problems: String,
    },
    /// etcd does not let this user in.
    #[error("etcd at {url} refuses {who}: {problem}")]
    Access {
        /// Which member.
        url: String,
        /// The user, or that none was named.
        who: String,
        /// etcd's words.
        problem: String,
    },
    /// A certificate that is not believed, or is no certificate.
    #[error("no TLS with etcd at {url}: {problem}")]
    Tls {
        /// Which member.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// There is something else where the store should be.
    #[error("etcd has keys of another application below {prefix}")]
    Foreign {
        /// Where.
        prefix: String,
    },
    /// The store was written by a later release.
    #[error("the store in etcd below {prefix} has format {found}, this release reads format {known}")]
    Format {
        /// Where.
        prefix: String,
        /// The format found.
        found: String,
        /// The format that this release has.
        known: &'static str,
    },
    /// The URLs belong to different clusters.
    #[error("{one} and {other} are members of different etcd clusters")]
    TwoClusters {
        /// A member.
        one: String,
        /// One of another cluster.
        other: String,
    },
    /// A record cannot be read.
    #[error("the record {key} in etcd is damaged")]
    Damaged {
        /// Its key, without the pin.
        key: String,
    },
    /// A copy goes into a store that has pins.
    #[error("the store in etcd below {prefix} is not empty")]
    NotEmpty {
        /// Where.
        prefix: String,
    },
    /// The store to copy from, or to, failed.
    #[error(transparent)]
    Store(#[from] Refused),
}

impl Error {
    /// What to do about it. There is no catch-all, so a new failure does not compile without.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            // Without a certificate that it asks for, etcd closes the connection, as it does at the wrong scheme.
            Self::Unreachable { .. } => {
                "look whether a majority of etcd runs, at the URLs (host, port, http or https), and whether etcd asks for \
                 --etcd-cert; --etcd-timeout makes the start wait longer"
            }
            Self::Access { .. } => {
                "look at --etcd-user and --etcd-password-file, and at the role of that user: it takes readwrite on the prefix"
            }
            Self::Tls { .. } => {
                "give the authority that signed etcd's certificates with --etcd-ca, and --etcd-cert and --etcd-key if etcd asks for them"
            }
            Self::Foreign { .. } => "give a prefix of its own with --etcd-prefix",
            Self::Format { .. } => "run the release that wrote it, or give another prefix with --etcd-prefix",
            Self::TwoClusters { .. } => "give --etcd the URLs of one cluster",
            Self::Damaged { .. } => {
                "restore the store from a backup with `copy`, below another --etcd-prefix"
            }
            Self::NotEmpty { .. } => "give a prefix where nothing is with --etcd-prefix",
            Self::Store(_) => "look at etcd's log, then try again",
        }
    }
}

/// What to make of an answer of etcd's that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Another member, or the same one later, may answer. What was asked may or may not have happened.
    Unreachable(String),
    /// etcd has no room.
    NoSpace(String),
    /// The lease is gone.
    LeaseGone,
    /// The revision was compacted.
    Compacted,
    /// The user may not do that.
    Access(String),
    /// TLS fails.
    Tls(String),
    /// Anything else: it happens again when it is tried again.
    Final(String),
}

impl Failure {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Unreachable(text)
            | Self::NoSpace(text)
            | Self::Access(text)
            | Self::Tls(text)
            | Self::Final(text) => text,
            Self::LeaseGone => "a lease is gone",
            Self::Compacted => "a revision was compacted",
        }
    }

    pub(crate) fn refused(self) -> Refused {
        match self {
            Self::NoSpace(text) => Refused::NoSpace(text),
            Self::Unreachable(text) => Refused::Unreachable(text),
            other => Refused::Failed(format!("etcd: {}", other.text())),
        }
    }
}

/// gRPC's codes, as far as etcd uses them.
mod code {
    pub(super) const INVALID_ARGUMENT: i32 = 3;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const PERMISSION_DENIED: i32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: i32 = 8;
    pub(super) const FAILED_PRECONDITION: i32 = 9;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

impl From<ClientError> for Failure {
    fn from(err: ClientError) -> Self {
        let ClientError::GRpcStatus(status) = err else {
            return connection(&err);
        };
        let text = status.message().trim_start_matches("etcdserver: ").to_owned();
        match i32::from(status.code()) {
            code::RESOURCE_EXHAUSTED if text.contains("space exceeded") => {
                Self::NoSpace(format!("etcd: {text}"))
            }
            code::NOT_FOUND if text.contains("lease not found") => Self::LeaseGone,
            code::OUT_OF_RANGE if text.contains("compacted") => Self::Compacted,
            code::PERMISSION_DENIED | code::UNAUTHENTICATED => Self::Access(text),
            code::INVALID_ARGUMENT | code::FAILED_PRECONDITION
                if ["user", "authentication", "password"].iter().any(|word| text.contains(word)) =>
            {
                Self::Access(text)
            }
            code::INVALID_ARGUMENT => Self::Final(text),
            _ if status.source().is_some() => connection(&status),
            _ => Self::Unreachable(text),
        }
    }
}

/// What a connection came to: the deepest cause says most.
fn connection(err: &dyn std::error::Error) -> Failure {
    let mut texts = vec![err.to_string()];
    let mut cause = err.source();
    while let Some(err) = cause {
        texts.push(err.to_string());
        cause = err.source();
    }
    let deepest = texts.pop().unwrap_or_default();
    // rustls' words for a certificate that it does not take, and for a peer that speaks no TLS.
    let is_tls = ["certificate", "InvalidContentType", "corrupt message", "alert"];
    if is_tls.iter().any(|word| deepest.contains(word)) {
        Failure::Tls(deepest)
    } else {
        Failure::Unreachable(deepest)
    }
}
