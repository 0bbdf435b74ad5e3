//! The URL of a pairing service, as `cvm_service_url` gives it.

/// A service's base URL: scheme, host, port and perhaps a path under which the API lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);
