//! Keystone: a token, and where the other services are.

use std::time::SystemTime;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::calls::CloudAnswer;
use super::credentials::{Credentials, SecretString};
use super::error::{CloudError, CloudService};

/// A token with the catalogue that came with it.
pub(super) struct Token {
    pub(super) id: SecretString,
    pub(super) ends: SystemTime,
    pub(super) project_id: String,
    catalogue: Value,
}

impl Token {
    /// The address of a service, as the credentials want it.
    pub(super) fn endpoint(&self, service: CloudService, credentials: &Credentials) -> Option<&str> {
        let fits = |endpoint: &&Value| {
            let region = endpoint["region_id"].as_str().or(endpoint["region"].as_str());
            endpoint["interface"] == credentials.interface.name()
                && credentials.region.as_deref().is_none_or(|wanted| region == Some(wanted))
        };
        service.types().iter().find_map(|kind| {
            let mut services = self.catalogue.as_array()?.iter().filter(|entry| entry["type"] == *kind);
            services.find_map(|entry| entry["endpoints"].as_array()?.iter().find(fits)?["url"].as_str())
        })
    }
}

/// Where tokens are had: `auth_url` is given with or without `/v3`.
pub(super) fn tokens_url(auth_url: &str) -> String {
    let base = auth_url.trim_end_matches('/');
    let base = base.strip_suffix("/v3").unwrap_or(base);
    format!("{base}/v3/auth/tokens")
}

/// Reads the answer to a login.
pub(super) fn read(answer: &CloudAnswer) -> Result<Token, CloudError> {
    let nonsense = |said: &str| CloudError::nonsense(CloudService::Keystone, said);
    let id = answer.headers.get("x-subject-token").and_then(|value| value.to_str().ok());
    let id = id.ok_or_else(|| nonsense("an answer without a token"))?;
    let mut body: Value =
        serde_json::from_slice(&answer.body).map_err(|_| nonsense("a token without JSON"))?;
    let token = body["token"].take();
    let ends = token["expires_at"].as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
    let ends = ends.ok_or_else(|| nonsense("a token without its end"))?;
    let Some(project_id) = token["project"]["id"].as_str() else {
        return Err(nonsense("a token that is for no project; name one"));
    };
    let project_id = project_id.to_owned();
    Ok(Token {
        id: SecretString::new(id),
        ends: ends.into(),
        project_id,
        catalogue: token["catalog"].clone(),
    })
}
