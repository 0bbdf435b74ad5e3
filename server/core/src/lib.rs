//! The pairing service without HTTP: what is stored, what is promised of it, and who is woken when it changes.
//!
//! HTTP lives in `cernvm-pairing-server`, which depends on this crate. This crate depends on no HTTP crate, so the
//! compiler keeps status codes, headers and bodies out of the store and the hub.

pub mod clock;
pub mod gather;
pub mod hub;
mod refused;
pub mod store;
pub mod sweeper;

pub use refused::Refused;
