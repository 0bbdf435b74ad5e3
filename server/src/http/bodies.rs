//! Bodies that are put together before they are sent.

use pairing_core::store;
use protocol::bodies::KeyValue;
use serde::Serialize;

use super::negotiation::Format;

/// A short key, as it is sent.
pub(super) fn key_bytes(key: &store::Key, format: Format) -> Vec<u8> {
    match format {
        Format::Text => protocol::key::to_line(&key.name, &key.value).into_bytes(),
        Format::Json | Format::Events => to_json(&key_value(key)),
    }
}

/// A key, for JSON.
pub(super) fn key_value(key: &store::Key) -> KeyValue<'_> {
    KeyValue { key: key.name.as_str().into(), value: key.value.as_str().into() }
}

/// A value in JSON.
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings under fixed names always serialise")
}
