//! Why a cluster is not launched: as the API says it, and as the command does.

use protocol::error::{Error, Status};

use super::not_there::NotThere;
use super::records::RecordsError;
use crate::catalogue::FindError;
use crate::openstack::{Cause, CloudError, CloudService, CredentialsError};
use crate::stack::StackError;
use crate::stack::{Fault, FaultKind};

/// Why a cluster is not launched. Holds no secret.
#[derive(Debug)]
pub enum Refused {
    /// There is no such type.
    UnknownType(FindError),
    /// The name cannot be that of a stack.
    Name(String),
    /// Answers or selections are wrong.
    Answers(Vec<Fault>),
    /// The definition makes no stack.
    Stack(StackError),
    /// The contexts of the definition do not work: what `check` says of them.
    Contexts(Vec<String>),
    /// The type pairs, and the launcher has no pairing service.
    NoPairing,
    /// The pairing service makes no pin.
    Pairing(Error),
    /// Keystone's address is not one that the launcher may speak to.
    AuthUrl,
    /// There are no credentials.
    Credentials(CredentialsError),
    /// A service of the cloud does not do as it is asked.
    Cloud(CloudError),
    /// The project has not enough left: the original's words.
    Limits(String),
    /// What the request names and the project does not have.
    NotThere(Vec<NotThere>),
    /// The account has no credits.
    NoCredits,
    /// The billing service does not do as it is asked.
    Billing(String),
    /// What is known of launches cannot be kept.
    Records(RecordsError),
    /// The system has no randomness to give.
    Random(getrandom::Error),
}

/// One error of an answer of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The HTTP status.
    pub status: u16,
    /// What kind of error it is.
    pub title: String,
    /// What is wrong.
    pub detail: String,
    /// Where in the request: a JSON pointer.
    pub pointer: Option<String>,
}

impl Complaint {
    /// An error of the whole request.
    #[must_use]
    pub fn new(status: u16, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { status, title: title.into(), detail: detail.into(), pointer: None }
    }

    /// An error of a part of the request.
    #[must_use]
    pub fn at(self, pointer: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..self }
    }
}

/// What a request is that has something wrong in it.
const BAD_REQUEST: &str = "Bad Request";

impl Refused {
    /// The errors of the API's answer; at least one.
    #[must_use]
    pub fn complaints(&self) -> Vec<Complaint> {
        let one = |status, title: &str, detail: String| vec![Complaint::new(status, title, detail)];
        match self {
            Self::UnknownType(error) => one(404, "Not Found", error.to_string()),
            Self::Name(problem) => {
                vec![Complaint::new(400, BAD_REQUEST, problem).at("/cluster/name")]
            }
            Self::Answers(faults) => of_faults(faults),
            Self::Stack(error @ StackError::Nothing) => {
                vec![Complaint::new(400, BAD_REQUEST, error.to_string()).at("/cluster/selections")]
            }
            Self::Stack(error @ StackError::Kind(_)) => {
                vec![Complaint::new(400, BAD_REQUEST, error.to_string()).at("/cluster/cluster_type_id")]
            }
            // `Unfit` may hold what was filled in.
            Self::Stack(StackError::Unfit { name, .. }) => one(
                500,
                "Cluster Type Error",
                format!("the parameter {name} does not take what pairing fills in"),
            ),
            Self::Stack(error) => one(500, "Cluster Type Error", error.to_string()),
            Self::Contexts(problems) => one(500, "Cluster Type Error", problems.join("; ")),
            Self::NoPairing => one(503, "Service Unavailable", NO_PAIRING.to_owned()),
            Self::Pairing(error) => one(502, "PairingServiceError", error.to_string()),
            Self::AuthUrl => {
                vec![Complaint::new(400, BAD_REQUEST, AUTH_URL).at("/cloud_env")]
            }
            Self::Credentials(error) => {
                vec![Complaint::new(400, BAD_REQUEST, error.to_string()).at("/cloud_env")]
            }
            Self::Cloud(error) => vec![of_cloud(error)],
            Self::Limits(words) => one(400, "ProjectLimitError", words.clone()),
            Self::NotThere(named) => named.iter().map(of_not_there).collect(),
            Self::NoCredits => {
                one(400, "MiddlewareInsufficientCredits", "Insufficient credits to launch a cluster".into())
            }
            Self::Billing(problem) => one(502, "MiddlewareServiceError", problem.clone()),
            Self::Records(error) => vec![of_records(error, "the launch cannot be recorded")],
            Self::Random(_) => one(500, "Internal Server Error", "the system has no randomness".to_owned()),
        }
    }

    /// The error of the command.
    #[must_use]
    pub fn to_error(&self) -> Error {
        let said = || {
            let of = |complaint: Complaint| match complaint.pointer {
                Some(pointer) => {
                    format!("{}: {}", pointer.rsplit('/').next().unwrap_or_default(), complaint.detail)
                }
                None => complaint.detail,
            };
            self.complaints().into_iter().map(of).collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::UnknownType(_) => Error::new(Status::Usage, said(), "see which there are with `types`"),
            Self::Name(problem) => {
                Error::new(Status::Usage, format!("--name: {problem}"), "give another name")
            }
            Self::Answers(_) => {
                Error::new(Status::BadContext, said(), "give other values with --set PARAMETER=VALUE")
            }
            Self::Stack(StackError::Kind(_)) => {
                Error::new(Status::BadContext, said(), "choose a type of kind heat")
            }
            Self::Stack(_) | Self::Contexts(_) => {
                Error::new(Status::BadContext, said(), "correct the definition of the type")
            }
            Self::NoPairing => Error::new(Status::Usage, NO_PAIRING, "give its URL with --pairing-url"),
            Self::Pairing(error) => {
                Error::new(error.status(), error.to_string(), error.next_step().to_owned())
            }
            Self::AuthUrl => Error::new(Status::Usage, AUTH_URL, "give its address with --allow-auth-url"),
            Self::Credentials(error) => Error::new(Status::Usage, error.to_string(), error.next_step()),
            // Heat names the parameter whose value it does not take.
            Self::Cloud(error) if self.is_about_a_parameter() => {
                Error::new(Status::BadContext, said(), error.next_step())
            }
            Self::Cloud(error) => Error::new(status_of(error), error.to_string(), error.next_step()),
            Self::Limits(_) => {
                let next = "delete what is not needed any more, or ask the cloud's operator for more";
                Error::new(Status::Refused, said(), next)
            }
            Self::NotThere(named) => {
                let mut listings: Vec<_> =
                    named.iter().map(|missing| format!("`{}`", missing.listing())).collect();
                listings.dedup();
                let next = format!("name what the project has: {}", listings.join(", "));
                Error::new(Status::BadContext, said(), next)
            }
            Self::NoCredits | Self::Billing(_) => Error::new(Status::Refused, said(), "ask the operator"),
            Self::Records(error) => {
                Error::new(error.status(), error.to_string(), error.next_step().to_owned())
            }
            Self::Random(error) => Error::new(Status::File, error.to_string(), "try again"),
        }
    }

    fn is_about_a_parameter(&self) -> bool {
        let pointer =
            |complaint: &Complaint| complaint.pointer.as_ref().is_some_and(|at| at.starts_with(PARAMETERS));
        self.complaints().iter().any(pointer)
    }
}

/// Where the pointers of parameters begin.
const PARAMETERS: &str = "/cluster/parameters/";
const NO_PAIRING: &str = "clusters of this type pair, and no pairing service is named";
const AUTH_URL: &str = "auth_url is not the address of a cloud that this launcher may speak to";

/// The exit status of a cloud's error.
fn status_of(error: &CloudError) -> Status {
    match error.cause {
        Cause::Unreachable | Cause::Broken | Cause::NotOffered => Status::Unreachable,
        Cause::NoAnswer => Status::TimedOut,
        Cause::Status(500..) => Status::Unreachable,
        Cause::Status(_) => Status::Refused,
        Cause::Nonsense => Status::Nonsense,
        Cause::Address => Status::Usage,
    }
}

/// Missing parameters make one error, as with the original; every other fault is one of its own.
fn of_faults(faults: &[Fault]) -> Vec<Complaint> {
    let missing: Vec<_> = faults.iter().filter(|fault| fault.kind == FaultKind::Missing).collect();
    let mut complaints = Vec::new();
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|fault| fault.name.as_str()).collect();
        complaints.push(Complaint::new(
            400,
            BAD_REQUEST,
            format!("Missing parameters: {}", names.join(", ")),
        ));
    }
    let others = faults.iter().filter(|fault| fault.kind != FaultKind::Missing);
    complaints
        .extend(others.map(|fault| Complaint::new(400, BAD_REQUEST, &fault.message).at(&fault.pointer)));
    complaints
}

fn of_not_there(missing: &NotThere) -> Complaint {
    let complaint = Complaint::new(400, BAD_REQUEST, &missing.message);
    match &missing.pointer {
        Some(pointer) => complaint.at(pointer),
        None => complaint,
    }
}

/// What is known of launches cannot be used: what that means for the caller. The reason is for the log alone.
pub(crate) fn of_records(error: &RecordsError, otherwise: &str) -> Complaint {
    let detail = match error {
        RecordsError::Etcd(_) if error.is_in_doubt() => {
            "The launches are kept in etcd, which cannot be reached now. Ask again in some seconds."
        }
        RecordsError::Etcd(_) if error.status() == Status::Refused => {
            "The launches are kept in etcd, which refuses the launcher now. Ask the launcher's operator."
        }
        _ => return Complaint::new(500, "Internal Server Error", otherwise),
    };
    Complaint::new(503, "Service Unavailable", detail)
}

/// A cloud's error as the original says it: the status and the title of the service, or of the connection.
fn of_cloud(error: &CloudError) -> Complaint {
    let detail = error.to_string();
    match (error.service, error.cause) {
        // What the connection said holds the address, which is for the log alone.
        (service, Cause::Unreachable) => {
            Complaint::new(502, "ConnectFailure", format!("{service} cannot be reached"))
        }
        (_, Cause::Broken) => Complaint::new(502, "ConnectFailure", detail),
        (_, Cause::NoAnswer) => Complaint::new(502, "ConnectTimeout", detail),
        (_, Cause::NotOffered) => Complaint::new(502, "EndpointNotFound", detail),
        // What answers there is no Keystone, or has no project for this user.
        (CloudService::Keystone, Cause::Address | Cause::Nonsense) => {
            Complaint::new(400, BAD_REQUEST, detail).at("/cloud_env")
        }
        (_, Cause::Nonsense | Cause::Address) => Complaint::new(502, "Bad Gateway", detail),
        (CloudService::Heat, Cause::Status(status)) => of_heat(error, status),
        (CloudService::Keystone, Cause::Status(status)) => {
            let title = error.title.clone().unwrap_or_else(|| title_of(status));
            Complaint::new(status, title, detail)
        }
        // What Nova and Cinder refuse is not the fault of the request.
        (_, Cause::Status(status)) => Complaint::new(502, title_of(status), detail),
    }
}

/// A refusal of Heat, which is about a parameter where it names one.
fn of_heat(error: &CloudError, status: u16) -> Complaint {
    if let Some((name, words)) =
        error.said.strip_prefix("Parameter '").and_then(|rest| rest.split_once("' is invalid: "))
    {
        let words = if words.is_empty() { &error.said } else { words };
        return Complaint::new(400, BAD_REQUEST, words).at(format!("{PARAMETERS}{name}"));
    }
    let title = error.title.clone().unwrap_or_else(|| title_of(status));
    Complaint::new(status, title, error.said.clone())
}

/// `ServiceUnavailable`: the name of a status as the original's client has it.
fn title_of(status: u16) -> String {
    let known = client::types::StatusCode::from_u16(status).ok().and_then(|known| known.canonical_reason());
    known.unwrap_or("Error").replace(' ', "")
}
