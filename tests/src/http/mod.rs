//! HTTP/1.1 by hand, so that a test sends exactly the bytes it means and sees exactly what came back.

mod client;
mod message;

pub use client::{Request, Response};
pub use message::{Head, Headers, read_body, read_head, write_head};
