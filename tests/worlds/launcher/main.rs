//! The launcher: the builder's recorded API, and launches to a joined cluster. Pairing service and agents are the real ones;
//! the cloud is a stand-in whose answers have the form of a real one's (`cloud.rs`).

mod abandoned;
mod api;
mod builder;
mod cloud;
mod cluster;
mod described;
mod different;
mod failures;
mod home;
mod limits;
mod named;
mod notifications;
mod notifier;
mod original;
mod page;
mod pairing;
mod replay;
mod servers;
mod shared;
mod shipped;
mod site;
mod things;
mod types;
mod view;
