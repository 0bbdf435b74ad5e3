//! Who logs in to a cloud, and to which project.

use std::fmt;

use protocol::Trust;
use serde_json::{Value, json};

/// A password or another secret. It shows itself nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretString(String);

impl SecretString {
    /// Hides a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text: for the body of a request, and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(…)")
    }
}

/// A domain, by name or by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    /// By name.
    Name(String),
    /// By id.
    Id(String),
}

impl Domain {
    fn to_json(&self) -> Value {
        match self {
            Self::Name(name) => json!({ "name": name }),
            Self::Id(id) => json!({ "id": id }),
        }
    }
}

/// A user or a project: by id, or by name in a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameOrId {
    /// By id.
    Id(String),
    /// By name.
    Name(String, Domain),
}

impl NameOrId {
    fn to_json(&self) -> Value {
        match self {
            Self::Id(id) => json!({ "id": id }),
            Self::Name(name, domain) => json!({ "name": name, "domain": domain.to_json() }),
        }
    }
}

/// The project that a token is for. `None` with an application credential, which has its own.
pub type TokenScope = Option<NameOrId>;

/// How a user shows who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// By password.
    Password {
        /// Who.
        user: NameOrId,
        /// The password.
        password: SecretString,
    },
    /// By an application credential, which can be taken back without a new password.
    ApplicationCredential {
        /// Its id, or its name with that of its user.
        id: Result<String, (String, NameOrId)>,
        /// Its secret.
        secret: SecretString,
    },
}

/// Which addresses of a service are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interface {
    /// Those for everyone.
    #[default]
    Public,
    /// Those in the cloud's own network.
    Internal,
    /// Those for operators.
    Admin,
}

impl Interface {
    /// Reads a name, with or without the `URL` that old clients put at its end.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix("URL").unwrap_or(text) {
            "public" => Some(Self::Public),
            "internal" => Some(Self::Internal),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// As Keystone's catalogue has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }
}

/// All that it takes to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Keystone's address, with or without `/v3`.
    pub auth_url: String,
    /// Who.
    pub login: Login,
    /// To which project.
    pub scope: TokenScope,
    /// In which region; `None`: the first that has the service.
    pub region: Option<String>,
    /// By which addresses.
    pub interface: Interface,
    /// Which certificates are believed.
    pub trust: Trust,
}

impl Credentials {
    /// The body of a request for a token (Identity API v3, `POST /auth/tokens`).
    #[must_use]
    pub(super) fn to_json(&self) -> Value {
        let identity = match &self.login {
            Login::Password { user, password } => {
                let mut user = user.to_json();
                user["password"] = password.reveal().into();
                json!({ "methods": ["password"], "password": { "user": user } })
            }
            Login::ApplicationCredential { id, secret } => {
                let mut credential = match id {
                    Ok(id) => json!({ "id": id }),
                    Err((name, user)) => json!({ "name": name, "user": user.to_json() }),
                };
                credential["secret"] = secret.reveal().into();
                json!({ "methods": ["application_credential"], "application_credential": credential })
            }
        };
        let mut auth = json!({ "identity": identity });
        if let Some(project) = &self.scope {
            auth["scope"] = json!({ "project": project.to_json() });
        }
        json!({ "auth": auth })
    }
}

/// Why there are no credentials. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Neither a cloud nor `OS_AUTH_URL` is named.
    #[error("no cloud is named")]
    None,
    /// `clouds.yaml` has no such cloud.
    #[error("no cloud {cloud} in {places}")]
    UnknownCloud {
        /// The name.
        cloud: String,
        /// Where it was looked for.
        places: String,
    },
    /// A file cannot be used.
    #[error("cannot use {file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Something has a value that cannot be used.
    #[error("{name} is {value}, which {problem}")]
    Unusable {
        /// Its name.
        name: &'static str,
        /// Its value, which is no secret.
        value: String,
        /// Why.
        problem: &'static str,
    },
}

impl CredentialsError {
    /// What to do next.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::None => {
                "set OS_CLOUD to a cloud of clouds.yaml, or load an openrc file (OS_AUTH_URL and the others)"
            }
            Self::UnknownCloud { .. } => "give --os-cloud or OS_CLOUD a name of clouds.yaml",
            Self::File { .. } => "check the file, and that it may be read",
            Self::Missing(_) => "set it in clouds.yaml below auth, or as OS_ and its name in capitals",
            Self::Unusable { .. } => "correct it in clouds.yaml or in the environment",
        }
    }
}
