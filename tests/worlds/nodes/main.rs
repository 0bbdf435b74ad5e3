//! Nodes: what real agents report to a real service, what is made of it, and what waits for it.

mod bad_input;
mod barriers;
mod files;
mod follow;
mod old_service;
mod reports;
mod status;
mod watch;

use worlds::machine;
