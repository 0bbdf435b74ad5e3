//! Sizes that both sides hold each other to.

/// Longest key name, in characters (the original service's).
pub const KEY_MAX_CHARS: usize = 100;
/// Longest value by default, in characters. A munge key in base64 has 1368 and a k3s CA bundle some thousands, so
/// the original's [`ORIGINAL_VALUE_MAX_CHARS`] would be too little.
pub const VALUE_MAX_CHARS: usize = 65_536;
/// Longest value of the original service, in characters.
pub const ORIGINAL_VALUE_MAX_CHARS: usize = 1000;
/// Most keys under one pin.
pub const KEYS_PER_PIN: usize = 256;
/// Most bytes, names and values together, under one pin.
pub const BYTES_PER_PIN: usize = 1 << 20;
