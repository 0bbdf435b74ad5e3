//! The cluster pairing service.
#![allow(missing_docs, reason = "the skeleton")]
pub mod clock;
pub mod store;
