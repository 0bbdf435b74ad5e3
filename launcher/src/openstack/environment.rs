//! Credentials as every OpenStack client takes them: `OS_*` variables, or a cloud of `clouds.yaml`.

use std::fs;
use std::path::{Path, PathBuf};

use protocol::Trust;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::clouds_yaml;
use super::credentials::{Credentials, CredentialsError, Domain, Interface, Login, NameOrId, SecretString};

/// The domain that a cloud without others has.
const DEFAULT_DOMAIN: &str = "default";

/// The credentials that the environment names: those of the cloud `cloud`, of `OS_CLOUD`, or of the other `OS_*`.
/// `variable` reads the environment.
///
/// # Errors
/// [`CredentialsError`].
pub fn from_environment(
    variable: &dyn Fn(&str) -> Option<String>,
    cloud: Option<&str>,
) -> Result<Credentials, CredentialsError> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(cloud) = cloud.map(str::to_owned).or_else(|| set("OS_CLOUD")) {
        let fields = clouds_yaml::cloud(&set, &cloud)?;
        // A variable counts for less than the file, as with the OpenStack SDK: only the password may come from there.
        return credentials(&|name| {
            fields.get(name).cloned().or_else(|| (name == "password").then(|| set("OS_PASSWORD"))?)
        });
    }
    if set("OS_AUTH_URL").is_none() {
        return Err(CredentialsError::None);
    }
    credentials(&|name| set(&format!("OS_{}", name.to_ascii_uppercase())))
}

/// Credentials of fields that are named as in `clouds.yaml`.
pub(super) fn credentials(field: &dyn Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
    let first = |names: &[&str]| names.iter().find_map(|name| field(name));
    if first(&["verify"]).is_some_and(|verify| verify == "false")
        || first(&["insecure"]).is_some_and(|on| on == "true")
    {
        return Err(CredentialsError::Unusable {
            name: "verify",
            value: "false".to_owned(),
            problem: "would send the password to an unknown peer; give the cloud's CA as cacert",
        });
    }
    let domain = |what: &str| {
        let [name, id] = ["name", "id"].map(|by| first(&[format!("{what}_domain_{by}").as_str()]));
        match (id, name) {
            (Some(id), _) => Domain::Id(id),
            (None, Some(name)) => Domain::Name(name),
            (None, None) => {
                Domain::Id(first(&["default_domain", "default_domain_id"]).unwrap_or(DEFAULT_DOMAIN.into()))
            }
        }
    };
    let user = || match (first(&["user_id"]), first(&["username"])) {
        (Some(id), _) => Ok(NameOrId::Id(id)),
        (None, Some(name)) => Ok(NameOrId::Name(name, domain("user"))),
        (None, None) => Err(CredentialsError::Missing("username")),
    };
    let kind = first(&["auth_type"]).unwrap_or_default();
    let (by_id, by_name) = (first(&["application_credential_id"]), first(&["application_credential_name"]));
    let (login, scope) = match kind.as_str() {
        "" | "password" | "v3password" | "v3applicationcredential" => {
            if kind == "v3applicationcredential" || kind.is_empty() && (by_id.is_some() || by_name.is_some())
            {
                let id = match (by_id, by_name) {
                    (Some(id), _) => Ok(id),
                    (None, Some(name)) => Err((name, user()?)),
                    (None, None) => return Err(CredentialsError::Missing("application_credential_id")),
                };
                let secret = first(&["application_credential_secret"]);
                let secret = secret.ok_or(CredentialsError::Missing("application_credential_secret"))?;
                (Login::ApplicationCredential { id, secret: SecretString::new(secret) }, None)
            } else {
                let password = first(&["password"]).ok_or(CredentialsError::Missing("password"))?;
                let project =
                    match (first(&["project_id", "tenant_id"]), first(&["project_name", "tenant_name"])) {
                        (Some(id), _) => NameOrId::Id(id),
                        (None, Some(name)) => NameOrId::Name(name, domain("project")),
                        (None, None) => return Err(CredentialsError::Missing("project_name")),
                    };
                (Login::Password { user: user()?, password: SecretString::new(password) }, Some(project))
            }
        }
        _ => {
            let problem = "is not supported; password and v3applicationcredential are";
            return Err(CredentialsError::Unusable { name: "auth_type", value: kind, problem });
        }
    };
    let interface = match first(&["interface", "endpoint_type"]) {
        None => Interface::default(),
        Some(text) => Interface::parse(&text).ok_or_else(|| CredentialsError::Unusable {
            name: "interface",
            value: text.clone(),
            problem: "is none of public, internal and admin",
        })?,
    };
    let trust = match first(&["cacert"]) {
        None => Trust::WebPki,
        Some(path) => Trust::Authorities(authorities(Path::new(&path))?),
    };
    let auth_url = first(&["auth_url"]).ok_or(CredentialsError::Missing("auth_url"))?;
    Ok(Credentials { auth_url, login, scope, region: first(&["region_name"]), interface, trust })
}

/// The CAs of a PEM file.
///
/// # Errors
/// The file cannot be read, or has none.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialsError> {
    let unusable = |problem: String| CredentialsError::File { file: path.display().to_string(), problem };
    let pem = fs::read(expanded(path)).map_err(|error| unusable(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable("there is no certificate in PEM in it".to_owned())),
    }
}

/// A path of the home directory may begin with `~/`.
fn expanded(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => path.to_owned(),
    }
}
