//! Entity tags of keys (RFC 9110 section 8.8.3).

use hyper::HeaderMap;
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use pairing_core::store::Key;

/// Longest value that gets an entity tag: an address and the like, not a file.
pub(super) const TAGGED: usize = 1 << 10;

/// Whether a key has an entity tag.
pub(super) fn is_tagged(key: &Key) -> bool {
    key.value.len() <= TAGGED
}

/// The entity tag of a key (RFC 9110 section 8.8.3): the same on every server that shares the store.
pub(super) fn etag(key: &Key) -> Option<HeaderValue> {
    if !is_tagged(key) {
        return None;
    }
    // FNV-1a: two values of one batch of writes have one time.
    let hash = key.value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // Written from its end, since `format!` costs a fifth of a GET.
    let mut tag = [b'"'; 2 * 16 + 3];
    let at = write_hex(&mut tag, 2 * 16 + 2, hash);
    tag[at - 1] = b'-';
    let at = write_hex(&mut tag, at - 1, key.modified.0);
    HeaderValue::from_bytes(&tag[at - 1..]).ok()
}

/// Writes a number so that it ends before `end`; gives where it begins.
fn write_hex(text: &mut [u8], mut end: usize, mut number: u64) -> usize {
    loop {
        end -= 1;
        text[end] = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
        if number == 0 {
            return end;
        }
    }
}

/// The entity tag of a key, if the request asks only for another one.
pub(super) fn known_etag(headers: &HeaderMap, key: &Key) -> Option<HeaderValue> {
    let lists = headers.iter().filter(|(name, _)| **name == IF_NONE_MATCH);
    let mut lists = lists.filter_map(|(_, value)| value.to_str().ok()).peekable();
    lists.peek()?;
    let etag = etag(key)?;
    lists.any(|list| list.split(',').any(|one| one.trim().as_bytes() == etag.as_bytes())).then_some(etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn tags_a_key_with_its_time_and_the_hash_of_its_value() {
        for (value, modified, expected) in [
            ("", 0, "\"0-cbf29ce484222325\""),
            ("a", 0x1_0000, "\"10000-af63dc4c8601ec8c\""),
            ("10.20.30.40", u64::MAX, "\"ffffffffffffffff-ddf67076f633a3f5\""),
        ] {
            let (name, value) = ("k".to_owned(), value.to_owned());
            let (created, modified) = (Timestamp(0), Timestamp(modified));
            assert_eq!(etag(&Key { name, value, created, modified }).unwrap(), expected);
        }
    }
}
