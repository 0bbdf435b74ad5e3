//! A cloud: the few calls of Keystone, Nova, Cinder, Glance, Neutron and Heat that a launch and a view need.
//!
//! They are written by hand over the project's own HTTP client. The SDK for Rust brings some two hundred crates for all of
//! OpenStack, and these calls are a few hundred lines.

mod calls;
mod clouds_yaml;
mod credentials;
mod environment;
mod error;
mod heat;
mod keystone;
mod matches;
mod nova;
mod servers;
mod session;
#[cfg(test)]
mod tests;

pub use clouds_yaml::auth_urls;
pub use credentials::{
    Credentials, CredentialsError, Domain, Interface, Login, NameOrId, SecretString, TokenScope,
};
pub use environment::{authorities, from_environment};
pub(crate) use error::one_line;
pub use error::{Cause, CloudError, CloudService};
pub use heat::{Resource, StackStatus, StackSummary};
pub use matches::Matches;
pub use nova::Flavour;
pub use servers::Server;
pub use session::Session;
