//! The requests of API v1 that nearly every world makes.

use std::io;
use std::net::SocketAddr;

use serde_json::json;

use crate::http::{Request, Response};

/// A service that is somewhere.
#[derive(Debug, Clone, Copy)]
pub struct Api(pub SocketAddr);

impl Api {
    /// Sends a request.
    ///
    /// # Errors
    /// What the connection says.
    pub fn send(&self, request: &Request) -> io::Result<Response> {
        request.send(self.0)
    }

    /// Sends a request that must be answered.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn ask(&self, request: &Request) -> Response {
        self.send(request).unwrap_or_else(|e| panic!("no answer to {} {}: {e}", request.method, request.path))
    }

    /// The answer to a GET.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn get(&self, path: &str) -> Response {
        self.ask(&Request::new("GET", path))
    }

    /// The answer to a DELETE.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn delete(&self, path: &str) -> Response {
        self.ask(&Request::new("DELETE", path))
    }

    /// A new pin.
    ///
    /// # Panics
    /// When the service makes none.
    #[must_use]
    pub fn new_pin(&self) -> String {
        let made = self.ask(&Request::new("POST", "/api/v1/clusters"));
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["pin"].as_str().expect("an answer has the pin").to_owned()
    }

    /// The answer to a POST of a key.
    ///
    /// # Errors
    /// What the connection says.
    pub fn post_key(&self, pin: &str, key: &str, value: &str) -> io::Result<Response> {
        self.send(&Request::new("POST", &keys(pin)).json(&json!({ "key": key, "value": value })))
    }

    /// Creates a key.
    ///
    /// # Panics
    /// When the service refuses.
    pub fn create_key(&self, pin: &str, key: &str, value: &str) {
        let answer = self.post_key(pin, key, value).expect("the service answers");
        assert_eq!(answer.status, 201, "{key}: {}", answer.text());
    }

    /// Deletes a pin.
    ///
    /// # Panics
    /// When it was not there.
    pub fn delete_pin(&self, pin: &str) {
        let answer = self.ask(&Request::new("DELETE", &format!("/api/v1/clusters/{pin}")));
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    /// The value of a key; `None` when it is not there.
    ///
    /// # Panics
    /// When the service answers anything else.
    #[must_use]
    pub fn value(&self, pin: &str, key: &str) -> Option<String> {
        let answer = self.ask(&Request::new("GET", &key_path(pin, key)).header("Accept", "application/json"));
        match answer.status {
            200 => Some(answer.json()["value"].as_str().expect("a key has a value").to_owned()),
            404 => None,
            other => panic!("GET of {key}: {other} {}", answer.text()),
        }
    }
}

/// The path of a pin's keys.
#[must_use]
pub fn keys(pin: &str) -> String {
    format!("/api/v1/clusters/{pin}/keys")
}

/// The path of a key.
#[must_use]
pub fn key_path(pin: &str, key: &str) -> String {
    format!("/api/v1/clusters/{pin}/keys/{key}")
}
