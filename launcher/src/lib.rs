//! From a request for a cluster of a known type to its stack.
//!
//! [`catalogue::Catalogue`] reads the definitions of cluster types, in the format of the original cluster builder
//! (docs/cluster-types.md). A [`definition::ClusterType`] checks the answers of a request as Heat does, and makes the
//! [`stack::Stack`] that Heat is asked for.

pub mod catalogue;
pub mod cli;
pub mod commands;
mod component;
pub mod constraint;
pub mod definition;
pub mod embedded;
pub mod launch;
pub mod notifications;
pub mod openstack;
pub mod parameter;
pub mod quota;
pub mod review;
pub mod serve;
pub mod stack;
pub mod token;
mod value;
pub mod view;
mod yaml;
