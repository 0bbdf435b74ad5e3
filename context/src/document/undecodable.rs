//! Why an encoding cannot be undone.

/// Why encoded bytes could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undecodable {
    /// There is more behind them than was allowed.
    TooLarge,
    /// They are not what they claim to be, and how so.
    Damaged(&'static str),
}
