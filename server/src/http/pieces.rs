//! Long answers, made piece by piece from what the store holds: nothing of them is put together before it is sent, and
//! all clients that read the same value share it.

use std::iter;
use std::sync::Arc;

use bytes::Bytes;
use pairing_core::store::Key;

use super::answer_body::PIECE;

/// Bytes of a value that are escaped at a time: at worst they become six times as many.
const CHUNK: usize = 1 << 10;

/// The value of a key, shared with the store.
struct SharedValue(Arc<Key>);

impl AsRef<[u8]> for SharedValue {
    fn as_ref(&self) -> &[u8] {
        self.0.value.as_bytes()
    }
}

/// The line `key: value`.
pub(super) fn line(key: Arc<Key>) -> impl Iterator<Item = Bytes> + Send {
    let head = Bytes::from(protocol::key::to_line(&key.name, ""));
    let mut rest = Bytes::from_owner(SharedValue(key));
    let value = iter::from_fn(move || (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE))));
    iter::once(head).chain(value)
}

/// A key in JSON.
pub(super) fn object(key: Arc<Key>) -> impl Iterator<Item = Bytes> + Send {
    joined(members(key))
}

/// Keys in JSON.
pub(super) fn list(keys: Vec<Arc<Key>>) -> impl Iterator<Item = Bytes> + Send {
    let opened = keys.into_iter().enumerate().flat_map(|(at, key)| {
        let before = if at == 0 { "[" } else { "," };
        iter::once(before.to_owned()).chain(members(key))
    });
    joined(opened.chain(iter::once("]".to_owned())))
}

/// Joins small parts to pieces.
pub(super) fn joined(mut parts: impl Iterator<Item = String> + Send) -> impl Iterator<Item = Bytes> + Send {
    iter::from_fn(move || {
        let mut piece = String::new();
        while piece.len() < PIECE
            && let Some(part) = parts.next()
        {
            piece.push_str(&part);
        }
        (!piece.is_empty()).then(|| piece.into())
    })
}

/// `{"key":…,"value":…}` in small parts.
fn members(key: Arc<Key>) -> impl Iterator<Item = String> + Send {
    let head = format!("{{\"key\":\"{}\",\"value\":\"", escaped(&key.name));
    let mut sent = 0;
    let value = iter::from_fn(move || {
        let rest = &key.value[sent..];
        let chunk = &rest[..rest.floor_char_boundary(CHUNK)];
        sent += chunk.len();
        (!chunk.is_empty()).then(|| escaped(chunk))
    });
    iter::once(head).chain(value).chain(iter::once("\"}".to_owned()))
}

/// A text as it stands between the quotation marks of JSON.
fn escaped(text: &str) -> String {
    let mut json = serde_json::to_string(text).expect("a string always serialises");
    json.pop();
    json.remove(0);
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use pairing_core::clock::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn key((name, value): (String, String)) -> Arc<Key> {
        Arc::new(Key { name, value, created: Timestamp(0), modified: Timestamp(0) })
    }

    fn keys() -> impl Strategy<Value = Vec<Arc<Key>>> {
        let long = prop_oneof!["\\PC{0,20}", "[\u{0}-\u{ff}]{0,3000}", "☃{0,9000}"];
        prop::collection::vec(("\\PC{1,20}", long).prop_map(key), 1..5)
    }

    fn check(pieces: impl Iterator<Item = Bytes>, whole: &[u8]) -> Result<(), TestCaseError> {
        let pieces: Vec<Bytes> = pieces.collect();
        prop_assert_eq!(pieces.concat(), whole);
        prop_assert!(pieces.iter().all(|piece| piece.len() <= PIECE + 6 * CHUNK));
        Ok(())
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole(keys in keys()) {
            let object = |key: &Arc<Key>| format!(
                "{{\"key\":{},\"value\":{}}}", json!(key.name), json!(key.value)
            );
            let objects: Vec<String> = keys.iter().map(object).collect();
            check(list(keys.clone()), format!("[{}]", objects.join(",")).as_bytes())?;
            for (key, object) in keys.iter().zip(&objects) {
                check(super::object(key.clone()), object.as_bytes())?;
                check(line(key.clone()), protocol::key::to_line(&key.name, &key.value).as_bytes())?;
            }
        }
    }
}
