//! The launcher: the builder's recorded API, and launches to a joined cluster. Pairing service and agents are the real ones;
//! the cloud is a stand-in whose answers have the form of a real one's (`cloud.rs`).

mod api;
mod cloud;
mod cluster;
mod described;
mod failures;
mod home;
mod named;
mod notifications;
mod notifier;
mod page;
mod pairing;
mod replay;
mod things;
mod types;
