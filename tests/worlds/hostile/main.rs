//! A service that is against its users: what a sealed cluster makes of it.

mod attacks;
mod cluster;
mod contexts;
mod phases;
mod secrets;
mod service;
