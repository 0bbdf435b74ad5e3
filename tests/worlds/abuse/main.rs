//! Hostile clients and exhausted resources: the service keeps its data, and goes on serving an honest client meanwhile.
//!
//! Here are the attacks of a second or two. The unit tests, which can move the clock, cover the time limits. Only clients
//! that stop reading are tested over a minute here, since the kernel's socket buffers have no clock that a test can move.

mod bytes;
mod crowds;
mod honest;
mod hung_disk;
mod limits;
mod raw;
mod scarcity;
mod stalled;
