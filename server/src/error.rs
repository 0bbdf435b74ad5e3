//! What keeps the service from starting or going on, said to the person who started it.

use std::io;
use std::net::SocketAddr;

use crate::store::StoreError;

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] StoreError),

    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}
