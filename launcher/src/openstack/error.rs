//! Why a call of the cloud brought nothing.

use std::fmt;

use client::{Failure, FailureKind};

/// A service of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloudService {
    /// Who may do what, and where the others are.
    Keystone,
    /// Servers.
    Nova,
    /// Volumes.
    Cinder,
    /// Images.
    Glance,
    /// Networks.
    Neutron,
    /// Stacks.
    Heat,
}

impl CloudService {
    /// Its type in Keystone's catalogue; of several the first that is there counts.
    pub(super) fn types(self) -> &'static [&'static str] {
        match self {
            Self::Keystone => &["identity"],
            Self::Nova => &["compute"],
            Self::Cinder => &["volumev3", "block-storage", "volume"],
            Self::Glance => &["image"],
            Self::Neutron => &["network"],
            Self::Heat => &["orchestration"],
        }
    }

    /// What paths of a service begin with, where the address in a catalogue may or may not end with it.
    pub(super) fn version(self) -> Option<&'static str> {
        match self {
            Self::Glance => Some("v2"),
            Self::Neutron => Some("v2.0"),
            _ => None,
        }
    }
}

/// As a person knows it.
impl fmt::Display for CloudService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keystone => "Keystone",
            Self::Nova => "Nova",
            Self::Cinder => "Cinder",
            Self::Glance => "Glance",
            Self::Neutron => "Neutron",
            Self::Heat => "Heat",
        })
    }
}

/// What a service says, in one line that a terminal and a log can take.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There is no connection to it, or none that can be trusted.
    Unreachable,
    /// There was no answer in time: what was asked for may still come to be.
    NoAnswer,
    /// The connection ended before the answer was whole: what was asked for may have come to be.
    Broken,
    /// It refuses with this status.
    Status(u16),
    /// The cloud's catalogue does not have it.
    NotOffered,
    /// It answers something that cannot be right.
    Nonsense,
    /// Its address cannot be used.
    Address,
}

/// A call that failed. Holds no password and no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    /// Which service was asked.
    pub service: CloudService,
    /// What it means.
    pub cause: Cause,
    /// What the service calls the error, where it says so: `Bad Request`.
    pub title: Option<String>,
    /// What was said, by the service or of the connection.
    pub said: String,
}

impl CloudError {
    pub(super) fn new(service: CloudService, cause: Cause, said: impl Into<String>) -> Self {
        Self { service, cause, title: None, said: said.into() }
    }

    pub(super) fn of_failure(service: CloudService, failure: &Failure) -> Self {
        match failure.kind {
            FailureKind::Timeout | FailureKind::NoAnswer => {
                let said = "there was no whole answer in time";
                Self::new(service, Cause::NoAnswer, said)
            }
            FailureKind::Nonsense | FailureKind::TooLarge | FailureKind::NeedsTls => {
                Self::new(service, Cause::Nonsense, failure.cause.clone())
            }
            FailureKind::Broken => Self::new(service, Cause::Broken, failure.cause.clone()),
            _ => Self::new(service, Cause::Unreachable, failure.cause.clone()),
        }
    }

    pub(super) fn nonsense(service: CloudService, said: impl Into<String>) -> Self {
        Self::new(service, Cause::Nonsense, said)
    }

    /// Whether what was asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.cause == Cause::Status(404)
    }

    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match (self.service, self.cause) {
            (CloudService::Keystone, Cause::Status(401)) => {
                "check user, password, project and their domains; Keystone does not say which of them is wrong"
            }
            (CloudService::Keystone, Cause::Unreachable | Cause::NoAnswer | Cause::Broken) => {
                "check auth_url, and whether the cloud is up"
            }
            (CloudService::Keystone, Cause::Address) => {
                "give auth_url as http:// or https:// with host and path"
            }
            (_, Cause::NotOffered) => "check the region, or ask the cloud's operator for the service",
            (_, Cause::Status(401 | 403)) => "ask the cloud's operator for a role in the project",
            (CloudService::Heat, Cause::Status(400 | 404 | 409)) => {
                "give other values with --set, or correct the definition of the type"
            }
            _ => "try again later, or ask the cloud's operator",
        }
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, said, .. } = self;
        match self.cause {
            Cause::Status(401) if *service == CloudService::Keystone => {
                write!(f, "{service} refuses the credentials: {said}")
            }
            Cause::Status(status) => write!(f, "{service} answers {status}: {said}"),
            Cause::Unreachable => write!(f, "{service} cannot be reached: {said}"),
            Cause::NoAnswer => write!(f, "{service} does not answer: {said}"),
            Cause::Broken => write!(f, "{service} breaks off: {said}"),
            Cause::NotOffered => write!(f, "the cloud offers no {service}: {said}"),
            Cause::Nonsense => write!(f, "{service} answers what makes no sense: {said}"),
            Cause::Address => write!(f, "the address of {service} cannot be used: {said}"),
        }
    }
}

impl std::error::Error for CloudError {}
