//! People who mean harm, and things that run out: the service stays itself, keeps what it has, and goes on serving an
//! honest client beside them.
//!
//! What one connection may hold is played in a second or two; what waits for a time limit to pass is the unit tests'
//! business, since they can move the clock. Only those who stop reading are waited for, for a minute: what their sockets
//! hold no clock can tell.

mod bytes;
mod crowds;
mod honest;
mod limits;
mod raw;
mod scarcity;
mod stalled;
