//! Why the service does not do what it was asked: in the words of clusters and keys, not of HTTP.

/// Why a call did not do what was asked. The HTTP layer maps each to a status and a sentence for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such pin: never made, deleted or expired.
    #[error("the pin is unknown")]
    UnknownPin,
    /// The pin exists, the key does not.
    #[error("the key is unknown")]
    UnknownKey,
    /// The pin exists, the node does not.
    #[error("the node is unknown")]
    UnknownNode,
    /// The key, or the name that it should get, exists.
    #[error("the key exists")]
    KeyExists,
    /// The pin has [`Limits::keys_per_pin`](crate::store::Limits) keys.
    #[error("too many keys under this pin")]
    TooManyKeys,
    /// The pin would have more than [`Limits::bytes_per_pin`](crate::store::Limits) bytes.
    #[error("too many bytes under this pin")]
    TooManyBytes,
    /// The pin has [`Limits::nodes_per_pin`](crate::store::Limits) nodes.
    #[error("too many nodes under this pin")]
    TooManyNodes,
    /// The nodes of the pin would have more than [`Limits::node_bytes_per_pin`](crate::store::Limits) bytes.
    #[error("too many bytes of nodes under this pin")]
    TooManyNodeBytes,
    /// There are [`Limits::pins`](crate::store::Limits) live pins.
    #[error("too many pins")]
    TooManyPins,
    /// The store would hold more than [`Limits::bytes`](crate::store::Limits), or the writes that wait for the journal
    /// would.
    #[error("too many bytes in all")]
    OutOfMemory,
    /// Too many requests wait, or watch a pin, already.
    #[error("too many waiters")]
    TooManyWaiters,
    /// The service is shutting down.
    #[error("the service is shutting down")]
    ShuttingDown,
    /// No room on the disk. Nothing was changed, and writes work again once there is room.
    #[error("no space: {0}")]
    NoSpace(String),
    /// The journal cannot be reached now. The text is for the log, not for a client.
    #[error("the journal is unreachable: {0}")]
    Unreachable(String),
    /// A later release has written the store's file, in a format that this one does not read. The text is for the log.
    #[error("{0}")]
    LaterFormat(String),
    /// The store itself failed. The text is for the log, not for a client.
    #[error("the store failed: {0}")]
    Failed(String),
}
