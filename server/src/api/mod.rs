//! What the endpoints do: one file for each thing that the API knows. HTTP stays outside, in `http/`.

pub(crate) mod clusters;
pub(crate) mod events;
pub(crate) mod keys;
pub(crate) mod wait;
