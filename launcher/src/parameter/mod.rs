//! The parameters of a cluster type: their schemas, and whether a value fits.

mod pairing_tags;
mod read;
mod schema;
#[cfg(test)]
mod tests;

pub use pairing_tags::PairingTags;
pub(crate) use read::{read, read_overrides};
#[cfg(test)]
pub(crate) use schema::KEYS;
pub(crate) use schema::Schema;
