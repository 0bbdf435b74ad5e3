//! A login at a cloud: the token, where the services are, and calls of them.

use std::time::{Duration, SystemTime};

use client::types::Method;
use serde_json::Value;

use super::calls::{Call, CloudAnswer, ConnectionPool, refusal};
use super::credentials::Credentials;
use super::error::{Cause, CloudError, CloudService};
use super::keystone::{self, Token};
use super::servers::Servers;

/// A token is renewed so long before it ends.
const BEFORE_END: Duration = Duration::from_secs(120);

/// A user in a project. Logs in again when the token has ended.
pub struct Session {
    credentials: Credentials,
    token: Token,
    connections: ConnectionPool,
    pub(super) servers: Servers,
}

impl Session {
    /// Logs in. `limit` is the longest time for each call.
    ///
    /// # Errors
    /// Keystone cannot be reached, or refuses.
    pub fn login(credentials: Credentials, limit: Duration) -> Result<Self, CloudError> {
        let mut connections = ConnectionPool::new(limit);
        let token = log_in(&credentials, &mut connections)?;
        Ok(Self { credentials, token, connections, servers: Servers::default() })
    }

    /// The id of the project.
    #[must_use]
    pub fn project_id(&self) -> &str {
        &self.token.project_id
    }

    /// Keystone's address, as it was given.
    #[must_use]
    pub fn auth_url(&self) -> &str {
        &self.credentials.auth_url
    }

    /// Whether the cloud has a service.
    #[must_use]
    pub fn offers(&self, service: CloudService) -> bool {
        self.token.endpoint(service, &self.credentials).is_some()
    }

    /// Asks a service, and gives whatever it answers but a 401: then it logs in again, once.
    fn call(&mut self, service: CloudService, call: &Call<'_>) -> Result<CloudAnswer, CloudError> {
        let fresh = if self.token.ends <= SystemTime::now() + BEFORE_END {
            self.token = log_in(&self.credentials, &mut self.connections)?;
            true
        } else {
            false
        };
        let answer = self.call_once(service, call)?;
        if answer.status != 401 || fresh {
            return Ok(answer);
        }
        self.token = log_in(&self.credentials, &mut self.connections)?;
        self.call_once(service, call)
    }

    fn call_once(&mut self, service: CloudService, call: &Call<'_>) -> Result<CloudAnswer, CloudError> {
        let Some(base) = self.token.endpoint(service, &self.credentials) else {
            let said = match &self.credentials.region {
                Some(region) => format!("the catalogue has no address of it in the region {region}"),
                None => "the catalogue has no address of it".to_owned(),
            };
            return Err(CloudError::new(service, Cause::NotOffered, said));
        };
        let base = base.trim_end_matches('/');
        let path = call.path.trim_start_matches('/');
        let url = match service.version() {
            Some(version) => {
                let base = base.strip_suffix(&format!("/{version}")).unwrap_or(base);
                format!("{base}/{version}/{path}")
            }
            None => format!("{base}/{path}"),
        };
        let mut headers = vec![("x-auth-token", self.token.id.reveal())];
        headers.extend(call.version);
        self.connections.send(service, &self.credentials, &call.method, &url, &headers, call.body)
    }

    /// Asks a service; every status but 2xx is an error, in the service's own words.
    pub(super) fn ask(&mut self, service: CloudService, call: &Call<'_>) -> Result<CloudAnswer, CloudError> {
        let answer = self.call(service, call)?;
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(refusal(service, &answer)) }
    }

    /// Asks a service for JSON.
    pub(super) fn json(&mut self, service: CloudService, call: &Call<'_>) -> Result<Value, CloudError> {
        let answer = self.ask(service, call)?;
        serde_json::from_slice(&answer.body)
            .map_err(|_| CloudError::nonsense(service, format!("{} without JSON", answer.status)))
    }

    /// Whether something is there: 404 says no.
    pub(super) fn has(&mut self, service: CloudService, path: &str) -> Result<bool, CloudError> {
        match self.ask(service, &Call::get(path)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn log_in(credentials: &Credentials, connections: &mut ConnectionPool) -> Result<Token, CloudError> {
    let url = keystone::tokens_url(&credentials.auth_url);
    let body = credentials.to_json();
    let answer =
        connections.send(CloudService::Keystone, credentials, &Method::POST, &url, &[], Some(&body))?;
    if answer.status != 201 && answer.status != 200 {
        return Err(refusal(CloudService::Keystone, &answer));
    }
    keystone::read(&answer)
}
